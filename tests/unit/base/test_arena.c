/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/arena.h"

#include "base/rng.h"

static void test_alloc(void **state)
{
    (void)state;
    struct arena arena;
    struct rng rng;
    rng_init(&rng, 5);
    arena_init(&arena, 1024, 1 << 20);
    uint8_t *given[200];
    size_t lens[200];
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        lens[i] = rng_chance(&rng, 1, 20) ? 3000 : rng_below(&rng, 100);
        given[i] = arena_alloc(&arena, lens[i]);
        assert_non_null(given[i]);
        assert_int_equal((uintptr_t)given[i] % ARENA_ALIGN, 0);
        memset(given[i], (int)i, lens[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(given); i++) { /* nothing overlaps */
        for (size_t k = 0; k < lens[i]; k++)
            assert_int_equal(given[i][k], (uint8_t)i);
    }
    assert_true(arena.used <= arena.taken);
    arena_fini(&arena);
    assert_int_equal(arena.taken, 0);
}

static void test_bound(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 256, 1000);
    size_t got = 0;
    while (arena_alloc(&arena, 16) != NULL)
        got += 16;
    assert_true(got > 800);
    assert_true(arena.taken <= 1000);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX - ARENA_ALIGN));
    struct slice copy = slice_str("untouched");
    assert_false(arena_copy(&arena, slice_str("does not fit any more"), &copy));
    assert_true(slice_equal(copy, slice_str("untouched")));
    arena_reset(&arena);
    assert_int_equal(arena.used, 0);
    assert_true(arena.taken <= 256);
    assert_true(arena_copy(&arena, slice_str("fits again"), &copy));
    assert_true(slice_equal(copy, slice_str("fits again")));
    assert_null(arena_alloc(&arena, 1000));
    arena_fini(&arena);
    arena_fini(&arena);
}

static void test_reset_keeps_one(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 512, 1 << 20);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++)
            assert_non_null(arena_alloc(&arena, 100));
        assert_non_null(arena_alloc(&arena, 5000));
        arena_reset(&arena);
        assert_int_equal(arena.taken, 512);
    }
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_reset_keeps_one),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
