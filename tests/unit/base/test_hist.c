/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/hist.h"

#include <stdlib.h>

#include "base/rng.h"

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Against the sorted list of all values, over many orders of magnitude. */
static void test_against_sorted(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct hist *hist = malloc(sizeof *hist);
    uint64_t *values = calloc(N, sizeof *values);
    struct rng rng;
    rng_init(&rng, 3);
    hist_init(hist);
    uint64_t sum = 0;
    for (size_t i = 0; i < N; i++) {
        values[i] = rng_u64(&rng) >> rng_between(&rng, 64 - HIST_VALUE_BITS, 64 - 1);
        sum += values[i];
        hist_add(hist, values[i]);
    }
    hist_check(hist);
    qsort(values, N, sizeof *values, compare_u64);
    assert_true(hist->sum == sum);
    assert_true(hist_mean(hist) == sum / N);
    for (unsigned permille = 0; permille <= 1000; permille++) {
        size_t rank = (size_t)permille * N / 1000 + (permille * N % 1000 != 0);
        uint64_t want = values[rank == 0 ? 0 : rank - 1];
        uint64_t got = hist_permille(hist, permille);
        if (got < want || got > want + want / HIST_SUB)
            fail_msg("%u: got %llu want %llu", permille, (unsigned long long)got,
                     (unsigned long long)want);
    }
    assert_true(hist_permille(hist, 1000) == values[N - 1]);
    free(values);
    free(hist);
}

static void test_edges(void **state)
{
    (void)state;
    struct hist *hist = malloc(sizeof *hist);
    hist_init(hist);
    hist_check(hist);
    assert_int_equal(hist_permille(hist, 500), 0);
    assert_int_equal(hist_mean(hist), 0);
    hist_add_many(hist, 7, 0);
    assert_int_equal(hist->count, 0);
    static const uint64_t edges[] = {
        0, 1, HIST_SUB - 1, HIST_SUB, HIST_SUB + 1, 2 * HIST_SUB, HIST_VALUE_MAX};
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        hist_init(hist);
        hist_add_many(hist, edges[i], 3);
        hist_check(hist);
        assert_true(hist_permille(hist, 1) == edges[i]);
        assert_true(hist_permille(hist, 1000) == edges[i]);
    }
    hist_init(hist);
    hist_add(hist, UINT64_MAX);
    assert_true(hist->max == HIST_VALUE_MAX);
    hist_check(hist);
    free(hist);
}

static void test_merge_is_union(void **state)
{
    (void)state;
    struct hist *h = calloc(3, sizeof *h);
    struct rng rng;
    rng_init(&rng, 9);
    for (size_t i = 0; i < 3; i++)
        hist_init(&h[i]);
    for (int i = 0; i < 1000; i++) {
        uint64_t v = rng_below(&rng, 1000000);
        hist_add(&h[0], v);
        hist_add(&h[1 + (i % 2)], v);
    }
    hist_merge(&h[1], &h[2]);
    assert_memory_equal(&h[0], &h[1], sizeof h[0]);
    free(h);
}

static void test_quantile(void **state)
{
    (void)state;
    struct hist *h = malloc(sizeof *h);
    hist_init(h);
    assert_int_equal(hist_quantile(h, 9999, 10000), 0);
    hist_add_many(h, 10, 9998);
    hist_add(h, 50);
    hist_add(h, 100);
    assert_int_equal(hist_quantile(h, 9998, 10000), 10);
    assert_int_equal(hist_quantile(h, 9999, 10000), 50);
    assert_int_equal(hist_quantile(h, 1, 1), 100);
    assert_int_equal(hist_quantile(h, 999, 1000), hist_permille(h, 999));
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantile),
        cmocka_unit_test(test_against_sorted),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_merge_is_union),
    };
    return cmocka_run_group_tests_name("hist", tests, NULL, NULL);
}
