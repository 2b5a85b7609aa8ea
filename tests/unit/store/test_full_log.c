/* SPDX-License-Identifier: Apache-2.0
 *
 * Logs that are full when their processes die: what is applied can be cut, and what is not finds
 * the room to be.
 */
#include <stdio.h>
#include <string.h>

#include "support/check.h"

#include "consensus/consensus.h"
#include "range/range.h"
#include "store/store_internal.h"
#include "store_rig.h"

enum { VALUE = 1000, BURST = 400, MOMENTS = 15, SETTLE_MS = 3000, RIGHT = 77, RESETS = 60 };

static struct rig rig;

/* Nothing is flushed but for the log's sake. */
static void small_log(uint64_t budget_bytes)
{
    rig.options.log.segment_bytes = 16 << 10;
    rig.options.log.budget_bytes = budget_bytes;
    rig.options.log.limit_bytes = 2 * budget_bytes;
}

static void burst(size_t at, char first)
{
    char key[16];
    char value[VALUE + 1];
    memset(value, 'v', VALUE);
    value[VALUE] = '\0';
    for (int i = 0; i < BURST; i++) {
        snprintf(key, sizeof key, "%c%05d", first, i);
        rig_put(&rig, at, key, value, 1000);
    }
}

static void restart_all(void)
{
    struct err err = {0};
    for (size_t i = 0; i < rig.count; i++)
        rig_crash(&rig, i, SIM_CRASH_KILL);
    for (size_t i = 0; i < rig.count; i++)
        assert_int_equal(rig_start(&rig, i, &err), 0);
}

/* Which store leads the range; rig.count if none does. */
static size_t leader_of(uint64_t range_id)
{
    struct cons_status s;
    for (size_t i = 0; i < rig.count; i++) {
        if (rig.stores[i] != NULL && store_cons_status(rig.stores[i], range_id, &s) &&
            s.state == CONS_LEADER)
            return i;
    }
    return rig.count;
}

static void assert_serves(uint64_t range_id, const char *key)
{
    rig_run(&rig, SETTLE_MS * RIG_MS);
    size_t leader = leader_of(range_id);
    assert_true(leader < rig.count);
    const struct rig_answer *a = rig_put(&rig, leader, key, "v", 1000);
    rig_run(&rig, 1100 * RIG_MS);
    assert_int_equal(a->count, 1);
    assert_int_equal(a->status, 0);
}

/* All die at a moment of a burst, with whatever their logs hold then: entries that no leader of
 * theirs will commit but with one of its own, too. */
static void test_all_die(void **state)
{
    (void)state;
    static const uint32_t entry_bytes[] = {1 << 10, 1 << 13, 1 << 15, 1 << 20};
    uint32_t full = 0;
    for (size_t row = 0; row < ARRAY_LEN(entry_bytes); row++) {
        for (uint64_t moment = 1; moment <= MOMENTS; moment++) {
            rig_open(&rig, 3);
            small_log(64 << 10);
            rig.options.entry_bytes_max = entry_bytes[row];
            burst(rig_start_cluster(&rig), 'k');
            rig_run(&rig, 2 * moment * RIG_MS);
            for (size_t i = 0; i < rig.count; i++)
                full += !raftlog_has_room(rig.stores[i]->log, 200);
            restart_all();
            for (int i = 0; i < RESETS; i++) { /* acknowledgements are lost, too */
                rig_run(&rig, 37 * RIG_MS);
                for (size_t n = 0; n < rig.count; n++)
                    sim_net_reset(rig.sim, rig.nodes[n], rig.nodes[(n + 1) % rig.count]);
            }
            assert_serves(STORE_FIRST_RANGE_ID, "k");
            rig_close(&rig);
        }
    }
    assert_true(full > MOMENTS); /* they were full where it matters */
}

/* Of two stores each leads a range, and has its log full of what the other is to take; the third is
 * dead. Both hear of each other, so there is no other term in which something could go on. */
static void test_two_wait_for_each_other(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    small_log(64 << 10);
    size_t first = rig_start_cluster(&rig);
    rig_split(&rig, first, "m", STORE_FIRST_RANGE_ID, RIGHT);
    rig_run(&rig, 1000 * RIG_MS);
    if (leader_of(RIGHT) == first) {
        struct request transfer = {.kind = REQUEST_TRANSFER_LEADER, .range_id = RIGHT};
        rig_ask(&rig, first, &transfer);
        rig_run(&rig, 1000 * RIG_MS);
    }
    size_t second = leader_of(RIGHT);
    assert_true(second < rig.count && second != first);
    rig_crash(&rig, 3 - first - second, SIM_CRASH_KILL);
    burst(first, 'k');
    burst(second, 'n');
    rig_run(&rig, 20 * RIG_MS);
    assert_false(raftlog_has_room(rig.stores[first]->log, 200));
    assert_false(raftlog_has_room(rig.stores[second]->log, 200));
    assert_serves(STORE_FIRST_RANGE_ID, "k");
    assert_serves(RIGHT, "n");
    assert_true(leader_of(STORE_FIRST_RANGE_ID) == first && leader_of(RIGHT) == second);
    rig_close(&rig);
}

/* Of many replicas each keeps little of its log, but one of which a snapshot is sent keeps more, as
 * long as it is one of the last few. */
static void test_who_streams_keeps_more(void **state)
{
    enum { BUDGET = 1 << 20, RANGES = 8 };
    (void)state;
    char key[2] = "z";
    rig_open(&rig, 1);
    small_log(BUDGET);
    rig.options.entry_bytes_max = VALUE;
    size_t at = rig_start_cluster(&rig);
    for (uint64_t i = 1; i < RANGES; i++, key[0]--) {
        const struct rig_answer *split = rig_split(&rig, at, key, STORE_FIRST_RANGE_ID, RIGHT + i);
        rig_run(&rig, 300 * RIG_MS);
        assert_int_equal(split->status, 0);
    }
    burst(at, 'a');
    rig_run(&rig, 2000 * RIG_MS);
    struct replicas *all = &rig.stores[at]->replicas;
    struct replica *r = replicas_of_range(all, STORE_FIRST_RANGE_ID);
    uint64_t applied = range_meta(r->range)->applied_index;
    uint32_t kept = log_room_trailing(r, applied);
    assert_in_range(kept, 2, BUDGET / 4 / RANGES / VALUE);
    log_room_favour(r);
    uint32_t more = log_room_trailing(r, applied);
    assert_in_range(more, kept + kept / 2, BUDGET / 2 / LOG_FAVOURED_MAX / VALUE);
    for (uint64_t i = 1; i <= LOG_FAVOURED_MAX; i++) {
        assert_int_equal(log_room_trailing(r, applied), more);
        rig_run(&rig, RIG_MS);
        log_room_favour(replicas_of_range(all, RIGHT + i));
    }
    assert_int_equal(log_room_trailing(r, applied), kept);
    log_room_favour(r);
    rig_run(&rig, 61000 * RIG_MS);
    assert_int_equal(log_room_trailing(r, applied), kept);
    rig_close(&rig);
}

/* One whose log is beyond its budget when it begins, since that was larger, has it cut, though
 * nothing is written any more. */
static void test_cut_without_news(void **state)
{
    (void)state;
    struct err err = {0};
    rig_open(&rig, 3);
    small_log(1 << 20);
    rig.options.hibernate_after_ms = 0;
    size_t leader = rig_start_cluster(&rig);
    burst(leader, 'k');
    rig_run(&rig, 1000 * RIG_MS);
    size_t other = (leader + 1) % rig.count;
    care_force_flush(rig.stores[other]);
    rig_run(&rig, 1000 * RIG_MS);
    const struct range *range = store_range(rig.stores[other]);
    uint64_t applied = range_meta(range)->applied_index;
    assert_int_equal(range_flushed_index(range), applied);
    rig_crash(&rig, other, SIM_CRASH_KILL);
    small_log(64 << 10);
    assert_int_equal(rig_start(&rig, other, &err), 0);
    assert_true(raftlog_is_over_budget(rig.stores[other]->log));
    rig_run(&rig, SETTLE_MS * RIG_MS);
    range = store_range(rig.stores[other]);
    assert_int_equal(range_meta(range)->applied_index, applied);
    assert_int_equal(range_flushed_index(range), applied);
    assert_false(raftlog_is_over_budget(rig.stores[other]->log));
    assert_true(raftlog_has_room(rig.stores[other]->log, VALUE));
    rig_close(&rig);
}

/* What is kept for members that lag is a share of the budget, also where large entries come after
 * many small ones. */
static void test_large_behind_small(void **state)
{
    (void)state;
    enum { SMALL = 100, LARGE = 12, LARGE_BYTES = 4000 };
    char value[LARGE_BYTES + 1];
    memset(value, 'v', LARGE_BYTES);
    value[LARGE_BYTES] = '\0';
    rig_open(&rig, 3);
    small_log(64 << 10);
    size_t leader = rig_start_cluster(&rig);
    for (int i = 0; i < SMALL + LARGE; i++) { /* an entry each */
        rig_put(&rig, leader, "k", i < SMALL ? "v" : value, 1000);
        rig_run(&rig, 20 * RIG_MS);
    }
    rig_assert_answered(&rig);
    for (size_t i = 0; i < rig.count; i++)
        care_force_flush(rig.stores[i]);
    rig_run(&rig, 2000 * RIG_MS);
    for (size_t i = 0; i < rig.count; i++) {
        struct raftlog_stats s;
        raftlog_stats(rig.stores[i]->log, &s);
        assert_true(s.live_bytes <= (64 << 10) / 4 + 2 * LARGE_BYTES); /* the last is not flushed */
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_die),
        cmocka_unit_test(test_two_wait_for_each_other),
        cmocka_unit_test(test_cut_without_news),
        cmocka_unit_test(test_who_streams_keeps_more),
        cmocka_unit_test(test_large_behind_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
