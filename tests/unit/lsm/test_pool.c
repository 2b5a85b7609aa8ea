/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/pool.h"

#include <pthread.h>

#include "base/pages.h"
#include "base/rng.h"
#include "support/check.h"

enum { FRAMES = 4000 };

struct held {
    uint8_t *frame;
    size_t size;
    uint8_t mark;
};

static void take(struct pool *pool, struct held *h, size_t size, uint8_t mark)
{
    *h = (struct held){.frame = pool_take(pool, size), .size = size, .mark = mark};
    assert_non_null(h->frame);
    memset(h->frame, mark, size);
}

static void give(struct held *h)
{
    for (size_t i = 0; i < h->size; i++) {
        if (h->frame[i] != h->mark)
            fail_msg("byte %zu of a frame of %zu bytes was written by another", i, h->size);
    }
    pool_give(h->frame);
    h->frame = NULL;
}

/* Frames never overlap, of whatever sizes, and all memory goes back. */
static void test_random(void **state)
{
    (void)state;
    static struct held held[FRAMES];
    struct pool *pool = pool_new();
    struct rng rng;
    rng_init(&rng, 7);
    for (unsigned n = 0; n < 60000; n++) {
        struct held *h = &held[rng_below(&rng, FRAMES)];
        size_t most = n / 1000 % 2 == 0 ? 300 : POOL_FRAME_MAX; /* now small ones, now all */
        if (h->frame != NULL)
            give(h);
        else
            take(pool, h, 1 + rng_below(&rng, most), (uint8_t)n);
        if (n % 5000 == 0)
            pool_check(pool);
    }
    for (size_t i = 0; i < FRAMES; i++) {
        if (held[i].frame != NULL)
            give(&held[i]);
    }
    assert_int_equal(pool_check(pool), 0);
    pool_free(pool);
    pool_free(NULL);
}

/* What a cache does with its budget, oldest out first, and then with another size of block:
 * little more memory than the blocks have. */
static void test_turnover(void **state)
{
    (void)state;
    enum { BUDGET = 24 << 20, SIZE_MIN = 2000 };
    static struct held held[BUDGET / SIZE_MIN];
    struct pool *pool = pool_new();
    const size_t sizes[] = {4200, 4300, 8300, SIZE_MIN, 11000};
    size_t head = 0, count = 0, bytes = 0;
    for (unsigned n = 0; n < 60000; n++) {
        size_t size = sizes[n / 12000];
        for (; bytes + pool_frame(size) > BUDGET; count--) {
            bytes -= pool_frame(held[head].size);
            give(&held[head]);
            head = (head + 1) % ARRAY_LEN(held);
        }
        take(pool, &held[(head + count++) % ARRAY_LEN(held)], size, (uint8_t)n);
        bytes += pool_frame(size);
        size_t got = n % 1000 == 0 ? pool_check(pool) : 0;
        if (got > BUDGET * 11 / 10 + PAGES_LARGE)
            fail_msg("step %u: %zu bytes held for %zu", n, got, bytes);
    }
    for (; count > 0; count--) {
        give(&held[head]);
        head = (head + 1) % ARRAY_LEN(held);
    }
    pool_free(pool);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        size_t size, want;
    } rows[] = {{1, 128}, {128, 128}, {129, 256}, {4129, 4224}, {POOL_FRAME_MAX, POOL_FRAME_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(pool_frame(rows[i].size), rows[i].want);
}

static void *churn(void *data)
{
    struct pool *pool = data;
    struct held held[50] = {0};
    struct rng rng;
    rng_init(&rng, 5);
    for (unsigned n = 0; n < 20000; n++) {
        struct held *h = &held[rng_below(&rng, ARRAY_LEN(held))];
        if (h->frame != NULL)
            give(h);
        else
            take(pool, h, 1 + rng_below(&rng, 5000), (uint8_t)n);
    }
    for (size_t i = 0; i < ARRAY_LEN(held); i++) {
        if (held[i].frame != NULL)
            give(&held[i]);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct pool *pool = pool_new();
    pthread_t threads[3];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, pool), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(pool_check(pool), 0);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_turnover),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
