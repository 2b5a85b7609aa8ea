/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/cache.h"

#include <pthread.h>

#include "base/rng.h"
#include "support/check.h"

enum { BLOCK = 4000 };

static void put(struct cache *cache, uint64_t file, uint64_t offset)
{
    struct block *block = block_new(BLOCK);
    assert_non_null(block);
    memset(block->data, (int)offset, BLOCK);
    cache_put(cache, file, offset, block);
    block_unref(block);
}

static bool has(struct cache *cache, uint64_t file, uint64_t offset)
{
    struct block *block = cache_get(cache, file, offset);
    bool found = block != NULL;
    if (found)
        assert_int_equal(block->data[17], (uint8_t)offset);
    block_unref(block);
    return found;
}

/* Never over budget; and the cache of nothing keeps nothing. */
static void test_budget(void **state)
{
    (void)state;
    struct cache *cache = cache_new(100 * BLOCK);
    struct cache_stats stats;
    for (uint64_t i = 0; i < 1000; i++) {
        put(cache, 1, i);
        cache_check(cache);
    }
    cache_stats(cache, &stats);
    assert_true(stats.bytes <= 100 * BLOCK);
    assert_true(stats.blocks >= 80);
    cache_free(cache);
    cache = cache_new(0);
    put(cache, 1, 1);
    assert_false(has(cache, 1, 1));
    cache_free(cache);
}

/* A working set that was used twice outlives a scan ten times the cache. */
static void test_scan_resistance(void **state)
{
    (void)state;
    struct cache *cache = cache_new(100 * BLOCK);
    unsigned kept = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 40; i++) {
            if (!has(cache, 1, i))
                put(cache, 1, i);
        }
    }
    for (uint64_t i = 0; i < 1000; i++)
        put(cache, 2, i);
    for (uint64_t i = 0; i < 40; i++)
        kept += has(cache, 1, i);
    assert_true(kept >= 38);
    cache_check(cache);
    cache_free(cache);
}

/* An evicted block lives on for who reads it. */
static void test_pinned(void **state)
{
    (void)state;
    struct cache *cache = cache_new(10 * BLOCK);
    put(cache, 1, 7);
    struct block *pinned = cache_get(cache, 1, 7);
    assert_non_null(pinned);
    for (uint64_t i = 100; i < 200; i++)
        put(cache, 1, i);
    assert_int_equal(pinned->data[BLOCK - 1], 7);
    cache_free(cache);
    assert_int_equal(pinned->data[0], 7);
    block_unref(pinned);
}

/* The first of two blocks of one name stays. */
static void test_same_name(void **state)
{
    (void)state;
    struct cache *cache = cache_new(10 * BLOCK);
    struct cache_stats stats;
    put(cache, 1, 7);
    put(cache, 1, 7);
    cache_stats(cache, &stats);
    assert_int_equal(stats.blocks, 1);
    cache_check(cache);
    cache_free(cache);
}

static void *hammer(void *data)
{
    struct cache *cache = data;
    struct rng rng;
    rng_init(&rng, 1);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t offset = rng_below(&rng, 300);
        if (!has(cache, 1, offset))
            put(cache, 1, offset);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct cache *cache = cache_new(100 * BLOCK);
    pthread_t threads[3];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, cache), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    cache_check(cache);
    cache_free(cache);
}

static uint64_t reserved_bytes(struct cache *cache)
{
    struct cache_stats stats;
    cache_stats(cache, &stats);
    assert_int_equal(stats.reserved, cache_reserved(cache));
    return stats.reserved;
}

/* Small reservations come out of large ones; never more than half, and all comes back. */
static void test_reserve(void **state)
{
    (void)state;
    static const size_t budgets[] = {0, 1000, 100 * BLOCK, 20 << 20};
    for (size_t b = 0; b < ARRAY_LEN(budgets); b++) {
        struct cache *cache = cache_new(budgets[b]);
        size_t in_use = 0, changes = 0, n = 0;
        enum { STEP = 700 };
        for (uint64_t i = 0; i < 2000; i++)
            put(cache, 1, i);
        for (uint64_t last = 0; cache_reserve(cache, STEP); n++) {
            in_use += STEP;
            assert_true(reserved_bytes(cache) >= in_use);
            assert_true(reserved_bytes(cache) <= budgets[b] / 2);
            changes += reserved_bytes(cache) != last;
            last = reserved_bytes(cache);
            if (n % 64 == 0)
                cache_check(cache);
        }
        assert_true(in_use + STEP + 16 > budgets[b] / 2);
        assert_true(changes <= 135);
        assert_false(cache_reserve(cache, SIZE_MAX));
        for (; n > 0; n--) {
            cache_release(cache, STEP);
            in_use -= STEP;
            assert_true(reserved_bytes(cache) <= in_use + budgets[b] / 128 + 64);
        }
        assert_int_equal(reserved_bytes(cache), 0);
        for (uint64_t i = 0; i < 2000; i++)
            put(cache, 2, i);
        cache_check(cache);
        cache_free(cache);
    }
}

static void *reserve_and_release(void *data)
{
    struct cache *cache = data;
    struct rng rng;
    size_t mine[50] = {0};
    rng_init(&rng, 2);
    for (unsigned i = 0; i < 20000; i++) {
        size_t *one = &mine[rng_below(&rng, ARRAY_LEN(mine))];
        if (*one > 0)
            cache_release(cache, *one);
        *one = rng_between(&rng, 1, 5000);
        if (!cache_reserve(cache, *one))
            *one = 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(mine); i++)
        cache_release(cache, mine[i]);
    return NULL;
}

static void test_reserve_threads(void **state)
{
    (void)state;
    struct cache *cache = cache_new(100 * BLOCK);
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *(*what)(void *) = i % 2 == 0 ? hammer : reserve_and_release;
        assert_int_equal(pthread_create(&threads[i], NULL, what, cache), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(reserved_bytes(cache), 0);
    cache_check(cache);
    cache_free(cache);
}

/* ---- the duel: what is worth the place of another -------------------------------------- */

enum { DUEL_CACHE = 64 << 20, DUEL_BLOCKS = DUEL_CACHE / BLOCK };

/* Reads of blocks `first`.. at random, those that miss offered. Returns how many hit. */
static unsigned read_evenly(struct cache *cache, struct rng *rng, uint64_t first, uint64_t count,
                            unsigned reads)
{
    unsigned hits = 0;
    for (unsigned i = 0; i < reads; i++) {
        uint64_t offset = first + rng_below(rng, count);
        struct block *block = cache_get(cache, 1, offset);
        hits += block != NULL;
        if (block == NULL) {
            block = block_new(BLOCK);
            assert_non_null(block);
            cache_offer(cache, 1, offset, block);
        }
        block_unref(block);
    }
    return hits;
}

/* Reads that are even over twice the cache hit as often as they can, and change little. */
static void test_even_reads(void **state)
{
    (void)state;
    struct cache *cache = cache_new(DUEL_CACHE);
    struct cache_stats before, after;
    struct rng rng;
    rng_init(&rng, 1);
    read_evenly(cache, &rng, 0, 2 * DUEL_BLOCKS, 8 * DUEL_BLOCKS);
    cache_stats(cache, &before);
    unsigned hits = read_evenly(cache, &rng, 0, 2 * DUEL_BLOCKS, 8 * DUEL_BLOCKS);
    cache_stats(cache, &after);
    uint64_t misses = after.misses - before.misses;
    assert_true(hits > 8 * DUEL_BLOCKS * 45 / 100);
    assert_true(after.passed - before.passed > misses * 3 / 4);
    cache_check(cache);
    cache_free(cache);
}

/* After even reads a working set that fits comes in, again and again. */
static void test_working_set_moves(void **state)
{
    (void)state;
    struct cache *cache = cache_new(DUEL_CACHE);
    struct rng rng;
    rng_init(&rng, 1);
    read_evenly(cache, &rng, 0, 2 * DUEL_BLOCKS, 12 * DUEL_BLOCKS);
    for (unsigned i = 1; i < 4; i++) {
        uint64_t first = (uint64_t)i * 4 * DUEL_BLOCKS, count = DUEL_BLOCKS * 6 / 10;
        read_evenly(cache, &rng, first, count, 6 * DUEL_BLOCKS);
        unsigned hits = read_evenly(cache, &rng, first, count, DUEL_BLOCKS);
        assert_true(hits > DUEL_BLOCKS * 91 / 100);
    }
    cache_check(cache);
    cache_free(cache);
}

/* What must be kept is; and a small cache holds no duel. */
static void test_kept(void **state)
{
    (void)state;
    struct cache *cache = cache_new(DUEL_CACHE), *small = cache_new(DUEL_CACHE / 4);
    struct cache_stats stats;
    struct rng rng;
    rng_init(&rng, 1);
    read_evenly(cache, &rng, 0, 2 * DUEL_BLOCKS, 12 * DUEL_BLOCKS);
    for (uint64_t i = 0; i < 100; i++) {
        put(cache, 2, i);
        assert_true(has(cache, 2, i));
    }
    read_evenly(small, &rng, 0, DUEL_BLOCKS / 2, 4 * DUEL_BLOCKS);
    cache_stats(small, &stats);
    assert_int_equal(stats.passed, 0);
    cache_free(cache);
    cache_free(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_scan_resistance),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_same_name),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_even_reads),
        cmocka_unit_test(test_working_set_moves),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_reserve_threads),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
