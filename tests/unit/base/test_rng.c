/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/rng.h"

/* The stream is part of what a seed means: it must never change. (Computed from
 * the authors' reference code of xoshiro256** and splitmix64.) */
static void test_stream_is_fixed(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 0);
    static const uint64_t seeded[] = {UINT64_C(0xe220a8397b1dcdaf), UINT64_C(0x6e789e6aa1b965f4),
                                      UINT64_C(0x06c45d188009454f), UINT64_C(0xf88bb8a8724c81ec)};
    for (size_t i = 0; i < 4; i++)
        assert_true(rng.s[i] == seeded[i]);
    rng = (struct rng){{1, 2, 3, 4}};
    static const uint64_t want[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240)};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_true(rng_u64(&rng) == want[i]);
}

static void test_bounds(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    unsigned seen[6] = {0};
    for (int i = 0; i < 6000; i++) {
        seen[rng_below(&rng, 6)]++;
        uint64_t v = rng_between(&rng, 10, 12);
        assert_in_range(v, 10, 12);
    }
    for (size_t i = 0; i < 6; i++)
        assert_in_range(seen[i], 800, 1200);
    assert_int_equal(rng_below(&rng, 1), 0);
    assert_int_equal(rng_between(&rng, 5, 5), 5);
    rng_between(&rng, 0, UINT64_MAX);
    assert_false(rng_chance(&rng, 0, 10));
    assert_true(rng_chance(&rng, 10, 10));
}

static void test_same_seed_same_bytes(void **state)
{
    (void)state;
    struct rng a, b;
    uint8_t x[37], y[37];
    rng_init(&a, 42);
    rng_init(&b, 42);
    rng_fill(&a, x, sizeof x);
    rng_fill(&b, y, sizeof y);
    assert_memory_equal(x, y, sizeof x);
    rng_init(&b, 43);
    rng_fill(&b, y, sizeof y);
    assert_memory_not_equal(x, y, sizeof x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_is_fixed),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_same_seed_same_bytes),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
