/* SPDX-License-Identifier: Apache-2.0 */
/* A range is cut in two: what is refused, what each half serves, and crashes. */
#include <stdio.h>

#include "consensus/consensus.h"
#include "range/range.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

enum { NEW_RANGE = 77 };

static struct rig rig;

static struct rig_answer *split(size_t at, const char *key, uint64_t range_id,
                                uint64_t new_range_id)
{
    return rig_split(&rig, at, key, range_id, new_range_id);
}

/* Which store leads the range; rig.count if none does. */
static size_t leader_of(uint64_t range_id)
{
    for (size_t i = 0; i < rig.count; i++) {
        struct cons_status s;
        if (rig.stores[i] != NULL && store_cons_status(rig.stores[i], range_id, &s) &&
            s.state == CONS_LEADER)
            return i;
    }
    return rig.count;
}

static size_t wait_for_leader(uint64_t range_id)
{
    for (int tries = 0; tries < 100 && leader_of(range_id) == rig.count; tries++)
        rig_run(&rig, 50 * RIG_MS);
    assert_true(leader_of(range_id) < rig.count);
    rig_run(&rig, 300 * RIG_MS); /* an entry of its term is applied */
    return leader_of(range_id);
}

static void assert_value(size_t at, const char *key, const char *want)
{
    struct rig_answer *get = rig_get(&rig, at, key, 2000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(get->status, 0);
    assert_string_equal(get->value, want);
}

static void test_both_halves_serve(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    rig_put(&rig, leader, "a", "1", 0);
    rig_put(&rig, leader, "x", "2", 0);
    rig_run(&rig, 500 * RIG_MS);
    struct rig_answer *answer = split(leader, "m", STORE_FIRST_RANGE_ID, NEW_RANGE);
    rig_run(&rig, 250 * RIG_MS);
    assert_int_equal(answer->status, 0);
    assert_int_equal(leader_of(NEW_RANGE), leader); /* it stood at once, and won */
    rig_run(&rig, 250 * RIG_MS);
    for (size_t i = 0; i < rig.count; i++) {
        assert_int_equal(store_range_at(rig.stores[i], 0), STORE_FIRST_RANGE_ID);
        assert_int_equal(store_range_at(rig.stores[i], 1), NEW_RANGE);
        assert_int_equal(store_range_at(rig.stores[i], 2), 0);
        store_check(rig.stores[i]);
    }
    assert_value(leader, "a", "1");
    assert_value(leader, "x", "2");
    rig_put(&rig, leader, "lzz", "3", 0);
    rig_put(&rig, leader, "m", "4", 0);
    rig_run(&rig, 500 * RIG_MS);
    assert_value(leader, "lzz", "3");
    assert_value(leader, "m", "4");
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct request request;
    uint8_t raw[RIG_TEXT_MAX];
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    rig_fill_split(&rig, rig_leader(&rig), "m", STORE_FIRST_RANGE_ID, NEW_RANGE, raw, &request);
    struct rig_answer *not_leader = rig_ask(&rig, (leader + 1) % 3, &request);
    request.span_epoch++;
    struct rig_answer *old = rig_ask(&rig, leader, &request);
    request.span_epoch--;
    request.split.conf_epoch++;
    struct rig_answer *old_conf = rig_ask(&rig, leader, &request);
    request.split.conf_epoch--;
    request.range_id = 9;
    struct rig_answer *elsewhere = rig_ask(&rig, leader, &request);
    request.range_id = STORE_FIRST_RANGE_ID;
    request.split.child_count--;
    struct rig_answer *few = rig_ask(&rig, leader, &request);
    request.split.child_count++;
    request.split.children[0].replica_id = request.split.children[1].replica_id;
    struct rig_answer *twice = rig_ask(&rig, leader, &request);
    request.split.new_range_id = STORE_FIRST_RANGE_ID;
    struct rig_answer *used = rig_ask(&rig, leader, &request);
    request.split.key = slice_of("\x02\0\0\1", 4);
    struct rig_answer *too_short = rig_ask(&rig, leader, &request);
    uint8_t long_key[RANGE_KEY_MAX];
    memset(long_key, 'm', sizeof long_key);
    memcpy(long_key, "\x02\0\0\0", RANGE_USER_KEY_PREFIX);
    request.split.key = slice_of(long_key, RANGE_USER_KEY_PREFIX + KEY_WIRE_MAX + 1);
    struct rig_answer *too_long = rig_ask(&rig, leader, &request);
    request.split.key = slice_of(long_key, sizeof long_key);
    struct rig_answer *longest = rig_ask(&rig, leader, &request);
    request.split.key = slice_of(long_key, RANGE_USER_KEY_PREFIX + KEY_WIRE_MAX);
    struct rig_answer *long_enough = rig_ask(&rig, leader, &request);
    request.split.key = slice_of("\x01zzzz", 5);
    struct rig_answer *outside = rig_ask(&rig, leader, &request);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(not_leader->status, ERR_NOT_LEADER);
    assert_int_equal(old->status, ERR_RANGE_CHANGED);
    assert_int_equal(old_conf->status, ERR_RANGE_CHANGED);
    assert_int_equal(elsewhere->status, ERR_RANGE_CHANGED);
    assert_int_equal(few->status, ERR_INVALID);
    assert_int_equal(twice->status, ERR_INVALID);
    assert_int_equal(used->status, ERR_INVALID);
    assert_int_equal(too_short->status, ERR_INVALID);
    assert_int_equal(too_long->status, ERR_TOO_LARGE);
    assert_int_equal(longest->status, ERR_TOO_LARGE);
    assert_int_equal(long_enough->status, ERR_INVALID); /* for the id */
    assert_int_equal(outside->status, ERR_RANGE_CHANGED);
    assert_int_equal(store_range_at(rig.stores[leader], 1), 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void lead(size_t at)
{
    for (int tries = 0; tries < 50 && leader_of(STORE_FIRST_RANGE_ID) != at; tries++) {
        size_t now = wait_for_leader(STORE_FIRST_RANGE_ID);
        struct replica *from = replicas_of_range(&rig.stores[now]->replicas, STORE_FIRST_RANGE_ID);
        struct replica *to = replicas_of_range(&rig.stores[at]->replicas, STORE_FIRST_RANGE_ID);
        if (now != at)
            consensus_transfer(from->cons, replica_now_ms(from), to->replica_id);
        rig_run(&rig, 100 * RIG_MS);
    }
    assert_int_equal(leader_of(STORE_FIRST_RANGE_ID), at);
    rig_run(&rig, 300 * RIG_MS);
}

/* It was proposed far ahead of what was committed, and is overwritten: whoever proposed it leads
 * again, and does not wait for what never comes. */
static void test_one_that_was_overwritten(void **state)
{
    enum { AHEAD = 30 };
    (void)state;
    rig_open(&rig, 3);
    rig.options.hibernate_after_ms = 0;
    size_t leader = rig_start_cluster(&rig);
    for (size_t i = 0; i < rig.count; i++) {
        if (i != leader)
            sim_net_partition(rig.sim, rig.nodes[leader], rig.nodes[i], false);
    }
    for (int i = 0; i < AHEAD; i++) { /* an entry each */
        rig_put(&rig, leader, "a", "1", 100);
        rig_run(&rig, RIG_MS);
    }
    split(leader, "m", STORE_FIRST_RANGE_ID, NEW_RANGE);
    rig_run(&rig, 5000 * RIG_MS);
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 1000 * RIG_MS);
    lead(leader);
    rig_reconnect(&rig, leader);
    struct rig_answer *again = split(leader, "m", STORE_FIRST_RANGE_ID, NEW_RANGE);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(again->status, 0);
    assert_int_equal(store_range_at(rig.stores[leader], 1), NEW_RANGE);
    rig_close(&rig);
}

/* A write for a key that is the other half's by the time it is applied: not done. */
static void test_writes_ordered_behind_the_split(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    struct rig_answer *answer = split(leader, "m", STORE_FIRST_RANGE_ID, NEW_RANGE);
    struct rig_answer *left = rig_put(&rig, leader, "b", "1", 0);
    struct rig_answer *right = rig_put(&rig, leader, "y", "2", 0);
    struct rig_answer *again = split(leader, "c", STORE_FIRST_RANGE_ID, NEW_RANGE + 1);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(answer->status, 0);
    assert_int_equal(left->status, 0);
    assert_int_equal(right->status, ERR_RANGE_CHANGED);
    assert_int_equal(again->status, ERR_BUSY); /* one at a time */
    assert_value(leader, "b", "1");
    struct rig_answer *none = rig_get(&rig, leader, "y", 2000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(none->status, 0);
    assert_string_equal(none->value, "");
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* All stores lose power (or are killed) at any moment behind the split: both halves
 * come back with all that was acknowledged, once the split was. */
static void test_crashes(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 24; n++) {
        rig_open(&rig, 3);
        rig.options.lsm.memtable_bytes = 1 << 10;
        size_t leader = rig_start_cluster(&rig);
        rig_put(&rig, leader, "a", "1", 0);
        rig_put(&rig, leader, "x", "2", 0);
        rig_run(&rig, 300 * RIG_MS);
        struct rig_answer *answer = split(leader, "m", STORE_FIRST_RANGE_ID, NEW_RANGE);
        rig_run(&rig, n * RIG_MS / 2);
        if (n % 3 == 0) { /* the right half gets entries of its own, and is flushed */
            wait_for_leader(NEW_RANGE);
            for (int i = 0; i < 30; i++) {
                rig_put(&rig, leader, "xx", "filler that makes the small memtable full", 0);
                rig_run(&rig, 20 * RIG_MS);
            }
        }
        bool was_acked = answer->count == 1 && answer->status == 0;
        for (size_t i = 0; i < rig.count; i++)
            rig_crash(&rig, i, n % 2 == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL);
        for (size_t i = 0; i < rig.count; i++)
            assert_int_equal(rig_start(&rig, i, NULL), 0);
        size_t left = wait_for_leader(STORE_FIRST_RANGE_ID);
        assert_value(left, "a", "1");
        bool is_split = store_range_at(rig.stores[left], 1) == NEW_RANGE;
        assert_true(is_split || !was_acked);
        assert_value(is_split ? wait_for_leader(NEW_RANGE) : left, "x", "2");
        rig_close(&rig);
    }
}

static void flush_all(void)
{
    struct request request = {.kind = REQUEST_FLUSH};
    for (size_t i = 0; i < rig.count; i++)
        rig_ask(&rig, i, &request);
}

/* The engine makes the right half durable at once while syncs of the log are late, and power goes:
 * no store comes back with a replica of which its log knows nothing. */
static void test_flush_behind_a_late_sync(void **state)
{
    (void)state;
    uint32_t held = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        rig_open_seeded(&rig, 3, seed);
        size_t leader = rig_start_cluster(&rig);
        rig_put(&rig, leader, "x", "2", 0);
        rig_run(&rig, 300 * RIG_MS);
        struct sim_options slow = *sim_get_options(rig.sim);
        slow.work_us_max = 2 * RIG_MS;
        slow.work_spike_ppm = 300 * 1000;
        sim_set_options(rig.sim, &slow);
        struct rig_answer *answer = split(leader, "m", STORE_FIRST_RANGE_ID, NEW_RANGE);
        for (int tries = 0; tries < 1000 && answer->count == 0; tries++)
            rig_run(&rig, RIG_MS / 10);
        assert_int_equal(answer->status, 0);
        flush_all();
        for (uint64_t t = 0; t < seed; t++) {
            rig_run(&rig, 2 * RIG_MS);
            held += replica_log_holds(rig.stores[leader], UINT64_MAX);
        }
        for (size_t i = 0; i < rig.count; i++)
            rig_crash(&rig, i, SIM_CRASH_POWER);
        sim_options_init(&slow);
        sim_set_options(rig.sim, &slow);
        for (size_t i = 0; i < rig.count; i++)
            assert_int_equal(rig_start(&rig, i, NULL), 0);
        wait_for_leader(STORE_FIRST_RANGE_ID);
        assert_value(wait_for_leader(NEW_RANGE), "x", "2");
        rig_close(&rig);
    }
    assert_true(held > 0);
}

/* A store that was away comes back and is brought through the split by the log. */
static void test_a_store_that_missed_it(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    size_t away = (leader + 1) % 3;
    rig_put(&rig, leader, "x", "2", 0);
    rig_run(&rig, 300 * RIG_MS);
    rig_crash(&rig, away, SIM_CRASH_POWER);
    struct rig_answer *answer = split(leader, "m", STORE_FIRST_RANGE_ID, NEW_RANGE);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(answer->status, 0);
    wait_for_leader(NEW_RANGE);
    assert_int_equal(rig_start(&rig, away, NULL), 0);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(store_range_at(rig.stores[away], 1), NEW_RANGE);
    size_t other = (leader + 2) % 3;
    rig_crash(&rig, other, SIM_CRASH_POWER);
    rig_put(&rig, wait_for_leader(NEW_RANGE), "x", "3", 0);
    rig_run(&rig, 2000 * RIG_MS);
    assert_value(wait_for_leader(NEW_RANGE), "x", "3");
    assert_int_equal(rig_start(&rig, other, NULL), 0);
    rig_run(&rig, 100 * RIG_MS);
    rig_close(&rig);
}

/* A store dies behind a split and starts again: the right half is made anew from the left's
 * log, but it has lived before, and may have promised its leader to vote for nobody. */
static void test_a_right_that_promised(void **state)
{
    (void)state;
    struct cons_status s;
    const struct consensus *c = NULL;
    rig_open(&rig, 3);
    rig.options.has_leases = true;
    rig.options.hibernate_after_ms = 0; /* it runs at once when it is there again */
    size_t leader = rig_start_cluster(&rig);
    size_t other = (leader + 1) % 3;
    struct rig_answer *answer = split(leader, "m", STORE_FIRST_RANGE_ID, NEW_RANGE);
    rig_run(&rig, 250 * RIG_MS);
    assert_int_equal(answer->status, 0);
    assert_int_equal(leader_of(NEW_RANGE), leader);
    rig_crash(&rig, other, SIM_CRASH_KILL);
    for (size_t i = 0; i < rig.count; i++) {
        if (i != other)
            sim_net_partition(rig.sim, rig.nodes[i], rig.nodes[other], false);
    }
    assert_int_equal(rig_start(&rig, other, NULL), 0);
    for (int tries = 0; tries < 100 && c == NULL; tries++) {
        rig_run(&rig, RIG_MS);
        c = store_consensus_of(rig.stores[other], NEW_RANGE);
    }
    assert_non_null(c);
    consensus_status(c, &s);
    assert_true(s.term > 5); /* it has followed somebody */
    struct cons_msg vote = {
        .type = CONS_MSG_VOTE,
        .version = 2,
        .group_id = NEW_RANGE,
        .from = s.members[s.members[0].replica_id == s.replica_id].replica_id,
        .to = s.replica_id,
        .term = s.term + 1,
        .vote = {.last_index = s.last_index, .last_term = s.term},
    };
    uint64_t now_ms = env_now_us(sim_node_env(rig.nodes[other])) / 1000;
    assert_int_equal(consensus_receive((struct consensus *)(uintptr_t)c, now_ms, &vote, NULL), 0);
    assert_true(consensus_term(c) == s.term);
    rig_close(&rig);
}

/* A split that is committed is done by every store, however many replicas it has. None is proposed
 * where there are as many as may be. */
static void test_as_many_as_may_be(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    uint32_t count = replicas_count(&rig.stores[leader]->replicas);
    for (size_t i = 0; i < rig.count; i++) {
        if (i != leader)
            rig.stores[i]->replicas.limit = count;
    }
    struct rig_answer *answer = split(leader, "m", STORE_FIRST_RANGE_ID, NEW_RANGE);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(answer->status, 0);
    for (size_t i = 0; i < rig.count; i++) {
        assert_int_equal(replicas_count(&rig.stores[i]->replicas), count + 1);
        assert_string_equal(sim_node_fatal_message(rig.nodes[i]), "");
    }
    rig.stores[leader]->replicas.limit = count + 1;
    answer = split(leader, "g", STORE_FIRST_RANGE_ID, NEW_RANGE + 1);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(answer->status, ERR_BUSY);
    assert_int_equal(replicas_count(&rig.stores[leader]->replicas), count + 1);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_halves_serve),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_one_that_was_overwritten),
        cmocka_unit_test(test_writes_ordered_behind_the_split),
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_flush_behind_a_late_sync),
        cmocka_unit_test(test_a_store_that_missed_it),
        cmocka_unit_test(test_a_right_that_promised),
        cmocka_unit_test(test_as_many_as_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
