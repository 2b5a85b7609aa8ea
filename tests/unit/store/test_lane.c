/* SPDX-License-Identifier: Apache-2.0
 *
 * What is read from files, on a whole store that keeps no large value in memory: who wants much of
 * that does not keep others from little, nor from much for ever.
 */
#include <stdio.h>

#include "base/rng.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

enum { HEAVY_FROM = 1, HEAVY_TO = 5, EACH = 60, ALL = (HEAVY_TO - HEAVY_FROM) * EACH };
enum { SMALL = 8 << 10, SMALLS = 8, LARGE = 200 << 10, LARGES = 5, VAST = 4 << 20 };

static char small[SMALL + 1], large[LARGE + 1], vast[VAST + 1];

static void fill(struct rng *rng, char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) /* it does not shrink on its way */
        text[i] = (char)(1 + rng_below(rng, 255));
}

static void put(struct rig *rig, size_t leader, const char *key, int number, const char *value)
{
    char name[16];
    snprintf(name, sizeof name, "%s%d", key, number);
    const struct rig_answer *answer = rig_put(rig, leader, name, value, 60000);
    for (int i = 0; i < 10000 && answer->count == 0; i++)
        rig_run(rig, RIG_MS);
    assert_true(answer->count == 1 && answer->status == 0);
}

/* All values stand in files, each of which takes `work_us` to be read, and as much to be handed
 * over, by each of four threads. */
static size_t start(struct rig *rig, uint64_t work_us)
{
    struct rng rng;
    rng_init(&rng, 1);
    fill(&rng, small, SMALL);
    fill(&rng, large, LARGE);
    fill(&rng, vast, VAST);
    rig_open(rig, 1);
    rig->options.lsm.memtable_bytes = VAST + VAST / 2;
    rig->options.lsm.table_bytes = 1 << 20;
    rig->options.lsm.cache_bytes = 64 << 10;
    size_t leader = rig_start_cluster(rig);
    for (int i = 0; i < SMALLS; i++)
        put(rig, leader, "small", i, small);
    for (int i = 0; i < LARGES; i++)
        put(rig, leader, "large", i, large);
    for (int i = 0; i < 3; i++) { /* until all but the last of them are flushed */
        put(rig, leader, "vast", i, vast);
        rig_run(rig, 2000 * RIG_MS);
    }
    struct lsm_stats stats;
    lsm_stats(rig->stores[leader]->lsm, &stats);
    print_message("%u KiB in value files\n", (unsigned)(stats.value_bytes >> 10));
    assert_true(stats.value_bytes > VAST);
    for (size_t c = HEAVY_FROM; c < HEAVY_TO; c++)
        rig_connect_too(rig, c, leader);
    rig_run(rig, 100 * RIG_MS);
    struct sim_options options = *sim_get_options(rig->sim);
    options.work_us_min = options.work_us_max = work_us;
    sim_set_options(rig->sim, &options);
    return leader;
}

static void ask_for_much(struct rig *rig, struct rig_answer *much[ALL], uint32_t timeout_ms)
{
    for (size_t i = 0; i < ALL; i++)
        much[i] = rig_get(rig, HEAVY_FROM + i % (HEAVY_TO - HEAVY_FROM), "large0", timeout_ms);
}

static size_t with_status(struct rig_answer *const much[ALL], int status)
{
    size_t n = 0;
    for (size_t i = 0; i < ALL; i++)
        n += much[i]->count == 1 && much[i]->status == status;
    return n;
}

static uint64_t time_until(struct rig *rig, const struct rig_answer *answer)
{
    uint64_t began_us = sim_now_us(rig->sim);
    for (int i = 0; i < 20000 && answer->count == 0; i++) {
        rig_run(rig, RIG_MS / 2);
        store_check(rig->stores[0]);
    }
    assert_int_equal(answer->count, 1);
    return (sim_now_us(rig->sim) - began_us) / RIG_MS;
}

/* A small read is not behind hundreds of large ones: not one of its kind is in front of it. */
static void test_small_beside_large(void **state)
{
    enum { WORK_MS = 2 };
    struct rig_answer *much[ALL];
    struct rig rig;
    (void)state;
    size_t leader = start(&rig, WORK_MS * RIG_MS);
    time_until(&rig, rig_get(&rig, leader, "small7", 5000)); /* the table is in memory then */
    uint64_t alone_ms = time_until(&rig, rig_get(&rig, leader, "small0", 5000));
    assert_in_range(alone_ms, 2 * WORK_MS, 4 * WORK_MS); /* from a file, then */
    ask_for_much(&rig, much, 60000);
    rig_run(&rig, 5 * WORK_MS * RIG_MS);
    const struct lane *lane = &rig.stores[leader]->lane;
    for (int i = 1; i < SMALLS - 1; i++) {
        char name[] = {"small0"};
        name[5] = (char)('0' + i);
        assert_int_equal(lane->lines[LANE_LARGE].under_way, 2);
        assert_true(lane->lines[LANE_LARGE].waiting.count > ALL / 2);
        struct rig_answer *one = rig_get(&rig, leader, name, 5000);
        uint64_t took_ms = time_until(&rig, one);
        assert_int_equal(one->status, 0);
        assert_in_range(took_ms, 2 * WORK_MS, alone_ms + 3 * WORK_MS);
    }
    for (int i = 0; i < 100 && with_status(much, 0) < ALL; i++)
        rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(with_status(much, 0), ALL);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* One who wants 4 MiB would have to save for it until its time is over. */
static void test_vast_in_time(void **state)
{
    enum { WORK_MS = 20, DEADLINE_MS = 700 };
    struct rig_answer *much[ALL];
    struct rig rig;
    (void)state;
    size_t leader = start(&rig, WORK_MS * RIG_MS);
    ask_for_much(&rig, much, 60000);
    rig_run(&rig, 5 * WORK_MS * RIG_MS);
    struct rig_answer *one = rig_get(&rig, leader, "vast0", DEADLINE_MS);
    uint64_t took_ms = time_until(&rig, one);
    print_message("%u ms\n", (unsigned)took_ms);
    assert_int_equal(one->status, 0);
    assert_in_range(took_ms, DEADLINE_MS / 2, DEADLINE_MS + 100);
    assert_in_range(with_status(much, 0), 10, ALL / 2);
    rig_close(&rig); /* with many that wait */
}

/* What waits is told when its time is over; for who is gone nothing is read. */
static void test_late_and_gone(void **state)
{
    enum { WORK_MS = 10, DEADLINE_MS = 300 };
    struct rig_answer *much[ALL];
    struct rig rig;
    (void)state;
    size_t leader = start(&rig, WORK_MS * RIG_MS);
    ask_for_much(&rig, much, DEADLINE_MS);
    rig_run(&rig, (DEADLINE_MS + 300) * RIG_MS);
    store_check(rig.stores[leader]);
    size_t in_time = with_status(much, 0);
    assert_in_range(in_time, DEADLINE_MS / WORK_MS / 2, ALL / 2);
    assert_int_equal(in_time + with_status(much, ERR_TIMEOUT) + with_status(much, ERR_BUSY), ALL);
    ask_for_much(&rig, much, 60000);
    rig_run(&rig, 5 * WORK_MS * RIG_MS);
    for (size_t c = HEAVY_FROM; c < HEAVY_TO; c++)
        rig_connect_too(&rig, c, leader); /* anew: the old ones go */
    rig_run(&rig, 20 * WORK_MS * RIG_MS);
    const struct store *store = rig.stores[leader];
    store_check(store);
    assert_int_equal(store->admit.held_count, 0);
    assert_int_equal(store->lane.lines[LANE_LARGE].waiting.count, 0);
    struct rig_answer *after = rig_get(&rig, leader, "small0", 5000);
    time_until(&rig, after);
    assert_int_equal(after->status, 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_beside_large),
        cmocka_unit_test(test_vast_in_time),
        cmocka_unit_test(test_late_and_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
