/* SPDX-License-Identifier: Apache-2.0 */
/* Two neighbours become one: what is refused, what is served, and crashes in between. */
#include <stdio.h>

#include "consensus/consensus.h"
#include "range/range.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

enum { RIGHT = 77, FIRST_ID = 7700, THIRD = 88, THIRD_ID = 8800 };

static struct rig rig;

static const struct range_descriptor *descriptor(size_t at, uint64_t range_id)
{
    struct range *range = store_range_of(rig.stores[at], range_id);
    return range == NULL ? NULL : range_descriptor(range);
}

static size_t leader_of(uint64_t range_id)
{
    for (size_t i = 0; i < rig.count; i++) {
        struct cons_status s = {0};
        if (rig.stores[i] != NULL)
            store_cons_status(rig.stores[i], range_id, &s);
        if (s.state == CONS_LEADER && s.is_ready)
            return i;
    }
    return rig.count;
}

static size_t wait_for_leader(uint64_t range_id)
{
    for (int tries = 0; tries < 200 && leader_of(range_id) == rig.count; tries++)
        rig_run(&rig, 50 * RIG_MS);
    assert_true(leader_of(range_id) < rig.count);
    return leader_of(range_id);
}

static void split_at(const char *key, uint64_t range_id, uint64_t new_range_id, uint64_t first_id)
{
    uint8_t raw[RIG_TEXT_MAX];
    struct request request;
    size_t at = wait_for_leader(range_id);
    rig_fill_split(&rig, at, key, range_id, new_range_id, raw, &request);
    for (uint32_t i = 0; i < request.split.child_count; i++)
        request.split.children[i].replica_id = first_id + i;
    struct rig_answer *answer = rig_ask(&rig, at, &request);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(answer->status, 0);
    wait_for_leader(new_range_id);
}

/* Three stores, cut at "m", with a value on each side; the left's leader. */
static size_t open_cut(void)
{
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    rig_put(&rig, leader, "a", "1", 0);
    rig_put(&rig, leader, "x", "2", 0);
    rig_run(&rig, 500 * RIG_MS);
    split_at("m", STORE_FIRST_RANGE_ID, RIGHT, FIRST_ID);
    return wait_for_leader(STORE_FIRST_RANGE_ID);
}

static struct request merge_of(size_t at, uint64_t left_range, uint64_t right_range)
{
    const struct range_descriptor *left = descriptor(at, left_range);
    const struct range_descriptor *right = descriptor(at, right_range);
    return (struct request){
        .kind = REQUEST_MERGE,
        .range_id = left_range,
        .span_epoch = left->epoch.span,
        .merge = {.conf_epoch = left->epoch.conf,
                  .right_range = right_range,
                  .right_conf = right->epoch.conf,
                  .right_span = right->epoch.span},
    };
}

static struct request merge_request(size_t at)
{
    return merge_of(at, STORE_FIRST_RANGE_ID, RIGHT);
}

static void assert_value(const char *key, const char *want)
{
    size_t at = wait_for_leader(STORE_FIRST_RANGE_ID);
    rig_reconnect(&rig, at);
    rig_run(&rig, 300 * RIG_MS);
    struct rig_answer *get = rig_get(&rig, at, key, 5000);
    for (int i = 0; i < 100 && get->count == 0; i++)
        rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(get->status, 0);
    assert_string_equal(get->value, want);
}

static void assert_whole(void)
{
    for (size_t i = 0; i < rig.count; i++) {
        assert_int_equal(store_range_at(rig.stores[i], 0), STORE_FIRST_RANGE_ID);
        assert_int_equal(store_range_at(rig.stores[i], 1), 0);
        store_check(rig.stores[i]);
    }
}

/* The store hears of no other any more; they hear of it. */
static void stop_hearing(size_t away)
{
    for (size_t k = 0; k < rig.count; k++) {
        if (k != away)
            sim_net_partition(rig.sim, rig.nodes[k], rig.nodes[away], true);
    }
}

static void test_one_range_again(void **state)
{
    (void)state;
    size_t leader = open_cut();
    rig_put(&rig, leader_of(RIGHT), "y", "3", 0);
    rig_run(&rig, 300 * RIG_MS);
    struct request request = merge_request(leader);
    struct rig_answer *answer = rig_ask(&rig, leader, &request);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(answer->status, 0);
    assert_whole();
    assert_value("a", "1");
    assert_value("x", "2");
    assert_value("y", "3");
    rig_put(&rig, leader, "x", "4", 0);
    rig_run(&rig, 300 * RIG_MS);
    assert_value("x", "4");
    const struct range_meta *meta = range_meta(store_range_of(rig.stores[leader], 2));
    struct store_ended ended = {0};
    uint32_t cursor = 0;
    assert_true(store_next_ended(rig.stores[leader], &cursor, &ended));
    assert_true(ended.range_id == RIGHT && ended.into_range == STORE_FIRST_RANGE_ID);
    assert_true(ended.span_epoch == meta->descriptor.epoch.span);
    assert_false(store_next_ended(rig.stores[leader], &cursor, &ended));
    assert_int_equal(merges_committed(&meta->merges), 1);
    rig_simple(&rig, 0, REQUEST_FLUSH);
    rig_simple(&rig, 1, REQUEST_FLUSH);
    rig_simple(&rig, 2, REQUEST_FLUSH);
    rig_run(&rig, 5000 * RIG_MS); /* gone everywhere, for good: it is forgotten */
    assert_int_equal(merges_committed(&meta->merges), 0);
    split_at("m", STORE_FIRST_RANGE_ID, 88, 8800); /* and it can be cut again */
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Nobody writes after it: the end of the right one becomes durable all the same, and the merge is
 * over. */
static void test_over_in_quiet(void **state)
{
    (void)state;
    size_t leader = open_cut();
    struct request request = merge_request(leader);
    struct rig_answer *answer = rig_ask(&rig, leader, &request);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(answer->status, 0);
    assert_whole();
    const struct range_meta *meta = range_meta(store_range_of(rig.stores[leader], 2));
    assert_int_equal(merges_committed(&meta->merges), 1);
    rig_run(&rig, UINT64_C(60000) * RIG_MS);
    for (size_t i = 0; i < rig.count; i++)
        assert_true(list_is_empty(&rig.stores[i]->merged));
    assert_int_equal(merges_committed(&meta->merges), 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    size_t leader = open_cut();
    struct request request = merge_request(leader);
    struct rig_answer *not_leader = rig_ask(&rig, (leader + 1) % 3, &request);
    request.span_epoch++;
    struct rig_answer *old = rig_ask(&rig, leader, &request);
    request.span_epoch--;
    request.merge.conf_epoch++;
    struct rig_answer *old_conf = rig_ask(&rig, leader, &request);
    request.merge.conf_epoch--;
    request.merge.right_range = 9;
    struct rig_answer *nobody = rig_ask(&rig, leader, &request);
    request.merge.right_range = STORE_FIRST_RANGE_ID;
    struct rig_answer *itself = rig_ask(&rig, leader, &request);
    request.merge.right_range = RIGHT;
    request.merge.right_span++;
    struct rig_answer *old_right = rig_ask(&rig, leader, &request);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(not_leader->status, ERR_NOT_LEADER);
    assert_int_equal(old->status, ERR_RANGE_CHANGED);
    assert_int_equal(old_conf->status, ERR_RANGE_CHANGED);
    assert_int_equal(nobody->status, ERR_INVALID);
    assert_int_equal(itself->status, ERR_INVALID);
    assert_int_equal(old_right->status, ERR_RANGE_CHANGED);
    assert_int_equal(store_range_at(rig.stores[leader], 1), RIGHT);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* A member is away: not all hold the frozen index, so after a while it is given up, and the
 * right serves again. */
static void test_given_up(void **state)
{
    (void)state;
    size_t leader = open_cut();
    size_t away = (leader + 1) % 3;
    if (away == leader_of(RIGHT))
        away = (leader + 2) % 3;
    struct request request = merge_request(leader);
    rig_crash(&rig, away, SIM_CRASH_KILL);
    struct rig_answer *answer = rig_ask(&rig, leader, &request);
    rig_run(&rig, 300 * RIG_MS);
    size_t right = leader_of(RIGHT);
    struct rig_answer *frozen = rig_get(&rig, right, "x", 1000);
    struct rig_answer *refused = rig_put(&rig, right, "x", "9", 1000);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(frozen->status, ERR_RANGE_CHANGED);
    assert_int_equal(refused->status, ERR_RANGE_CHANGED);
    rig_run(&rig, 4000 * RIG_MS);
    assert_int_equal(answer->status, ERR_TIMEOUT);
    struct rig_answer *served = rig_get(&rig, wait_for_leader(RIGHT), "x", 1000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(served->status, 0);
    assert_string_equal(served->value, "2");
    assert_int_equal(rig_start(&rig, away, NULL), 0);
    rig_run(&rig, 2000 * RIG_MS);
    leader = wait_for_leader(STORE_FIRST_RANGE_ID);
    request = merge_request(leader); /* the epoch has grown */
    answer = rig_ask(&rig, leader, &request);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(answer->status, 0);
    assert_whole();
    assert_value("x", "2");
    rig_close(&rig);
}

/* The disks fill up while the right is frozen: it is given up and thawed all the same. */
static void test_thawed_on_full_disks(void **state)
{
    (void)state;
    size_t leader = open_cut();
    size_t away = (leader + 1) % 3;
    if (away == leader_of(RIGHT))
        away = (leader + 2) % 3;
    struct request request = merge_request(leader);
    rig_crash(&rig, away, SIM_CRASH_KILL);
    rig_ask(&rig, leader, &request);
    rig_run(&rig, 300 * RIG_MS);
    size_t right = leader_of(RIGHT);
    assert_true(range_meta(store_range_of(rig.stores[right], RIGHT))->merges.frozen.attempt != 0);
    for (size_t i = 0; i < rig.count; i++) {
        struct sim_disk *disk = sim_node_disk(rig.nodes[i]);
        sim_disk_set_capacity(disk, sim_disk_used(disk) + ((uint64_t)64 << 20));
    }
    rig_run(&rig, 6000 * RIG_MS);
    right = wait_for_leader(RIGHT);
    struct rig_answer *put = rig_put(&rig, right, "x", "9", 1000);
    struct rig_answer *get = rig_get(&rig, right, "x", 1000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(put->status, ERR_NO_SPACE);
    assert_int_equal(get->status, 0);
    assert_string_equal(get->value, "2");
    rig_close(&rig);
}

/* The left's leader dies in the middle: nobody drives on, and the right asks. */
static void test_nobody_drives_on(void **state)
{
    (void)state;
    size_t leader = open_cut();
    struct request transfer = {.kind = REQUEST_TRANSFER_LEADER, .range_id = RIGHT};
    if (leader_of(RIGHT) == leader) {
        rig_ask(&rig, leader, &transfer);
        rig_run(&rig, 1000 * RIG_MS);
    }
    size_t right = wait_for_leader(RIGHT);
    assert_true(right != leader);
    size_t third = 3 - leader - right;
    struct request request = merge_request(leader);
    sim_net_partition(rig.sim, rig.nodes[right], rig.nodes[third], true);
    sim_net_partition(rig.sim, rig.nodes[third], rig.nodes[right], true);
    rig_ask(&rig, leader, &request);
    for (int i = 0; i < 100; i++) {
        rig_run(&rig, 5 * RIG_MS);
        if (range_meta(store_range_of(rig.stores[right], RIGHT))->merges.frozen.attempt != 0)
            break;
    }
    assert_true(range_meta(store_range_of(rig.stores[right], RIGHT))->merges.frozen.attempt != 0);
    rig_crash(&rig, leader, SIM_CRASH_POWER);
    sim_net_heal(rig.sim, NULL, NULL);
    for (int i = 0; i < 400; i++) {
        rig_run(&rig, 50 * RIG_MS);
        size_t at = leader_of(RIGHT);
        if (at < rig.count &&
            range_meta(store_range_of(rig.stores[at], RIGHT))->merges.frozen.attempt == 0)
            break;
    }
    right = wait_for_leader(RIGHT);
    rig_reconnect(&rig, right);
    rig_run(&rig, 100 * RIG_MS);
    struct rig_answer *served = rig_get(&rig, right, "x", 2000);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(served->status, 0);
    assert_string_equal(served->value, "2");
    rig_close(&rig);
}

/* Power is lost on all stores at any moment of it: there are two ranges or one, nothing is
 * lost, and in the end it can be merged. */
static void test_power_lost(void **state)
{
    (void)state;
    for (uint64_t after = 0; after < 60; after += 3) {
        size_t leader = open_cut();
        struct request request = merge_request(leader);
        rig_ask(&rig, leader, &request);
        rig_run(&rig, after * RIG_MS);
        for (size_t i = 0; i < 3; i++)
            rig_crash(&rig, i, SIM_CRASH_POWER);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(rig_start(&rig, i, NULL), 0);
        rig_run(&rig, 6000 * RIG_MS);
        leader = wait_for_leader(STORE_FIRST_RANGE_ID);
        if (store_range_at(rig.stores[leader], 1) != 0) {
            wait_for_leader(RIGHT);
            request = merge_request(leader);
            struct rig_answer *answer = rig_ask(&rig, leader, &request);
            rig_run(&rig, 3000 * RIG_MS);
            if (answer->status != 0)
                fail_msg("after %llu ms: %s (%s)", (unsigned long long)after,
                         err_name(answer->status), answer->text);
        }
        assert_whole();
        assert_value("a", "1");
        assert_value("x", "2");
        rig_close(&rig);
    }
}

/* A store is away while its ranges are merged: it comes in by the log, or by a snapshot that
 * takes the right one's place. */
static void away_meanwhile(uint64_t kept_bytes)
{
    rig_open(&rig, 3);
    rig.options.log_kept_bytes = kept_bytes;
    size_t leader = rig_start_cluster(&rig);
    rig_put(&rig, leader, "x", "2", 0);
    rig_run(&rig, 300 * RIG_MS);
    split_at("m", STORE_FIRST_RANGE_ID, RIGHT, FIRST_ID);
    leader = wait_for_leader(STORE_FIRST_RANGE_ID);
    size_t away = (leader + 1) % 3;
    if (away == leader_of(RIGHT))
        away = (leader + 2) % 3;
    struct request request = merge_request(leader);
    struct rig_answer *answer = rig_ask(&rig, leader, &request);
    /* It has the right's frozen entry, and not yet the left's COMMIT_MERGE. */
    for (int i = 0; i < 200 && answer->count == 0; i++) {
        const struct range_meta *right = range_meta(store_range_of(rig.stores[away], RIGHT));
        rig_run(&rig, RIG_MS);
        if (right->merges.frozen.attempt == 0)
            continue;
        stop_hearing(away); /* the others still hear that it has that */
        break;
    }
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, 0);
    for (int i = 0; i < 50; i++) {
        rig_put(&rig, leader_of(STORE_FIRST_RANGE_ID), "x", "5", 0);
        rig_run(&rig, 10 * RIG_MS);
    }
    rig_simple(&rig, leader, REQUEST_FLUSH);
    rig_run(&rig, 1000 * RIG_MS);
    split_at("p", STORE_FIRST_RANGE_ID, 88, 8800); /* right in the middle of what it was */
    sim_net_heal(rig.sim, NULL, NULL);
    for (int i = 0; i < 400 && (store_range_at(rig.stores[away], 0) != STORE_FIRST_RANGE_ID ||
                                store_range_at(rig.stores[away], 1) != 88);
         i++)
        rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(store_range_at(rig.stores[away], 0), STORE_FIRST_RANGE_ID);
    assert_int_equal(store_range_at(rig.stores[away], 1), 88);
    assert_int_equal(store_range_at(rig.stores[away], 2), 0);
    store_check(rig.stores[away]);
    rig_close(&rig);
}

static void test_away_meanwhile(void **state)
{
    (void)state;
    away_meanwhile((uint64_t)64 << 20);
    away_meanwhile(0);
}

static struct replica *replica_of(size_t at, uint64_t range_id)
{
    return replicas_of_range(&rig.stores[at]->replicas, range_id);
}

static void lead_at(uint64_t range_id, size_t at)
{
    for (int i = 0; i < 50 && leader_of(range_id) != at; i++) {
        struct request transfer = {
            .kind = REQUEST_TRANSFER_LEADER,
            .range_id = range_id,
            .transfer_leader = {.target_replica = replica_of(at, range_id)->replica_id},
        };
        rig_ask(&rig, wait_for_leader(range_id), &transfer);
        rig_run(&rig, 1000 * RIG_MS);
    }
    assert_int_equal(leader_of(range_id), at);
}

/* Does the log of the right replica there hold what froze it at the leader? */
static bool holds_frozen(size_t at, size_t leader)
{
    struct raftlog_group_state log = {0};
    const struct range *range = store_range_of(rig.stores[leader], RIGHT);
    uint64_t index = range == NULL ? 0 : range_meta(range)->merges.frozen.index;
    uint64_t id = replica_of(at, RIGHT)->replica_id;
    assert_int_equal(raftlog_group_state(rig.stores[at]->log, id, &log), 0);
    return index != 0 && log.last_index >= index;
}

/* A write is done, and its store does not know yet when a snapshot takes the place of the
 * right replica there: it must not hear that nothing was done. */
static void test_swallowed_with_a_write(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    rig.options.log_kept_bytes = 0;
    size_t leader = rig_start_cluster(&rig);
    split_at("m", STORE_FIRST_RANGE_ID, RIGHT, FIRST_ID);
    leader = wait_for_leader(STORE_FIRST_RANGE_ID);
    size_t away = (leader + 1) % 3;
    lead_at(RIGHT, away);
    struct replica *right = replica_of(away, RIGHT);
    right->apply = APPLY_LOG_READ; /* a disk that takes its time */
    struct rig_answer *put = rig_put(&rig, away, "y", "1", 60000);
    rig_run(&rig, 200 * RIG_MS);
    lead_at(RIGHT, leader);
    assert_int_equal(put->count, 0);
    struct request request = merge_request(leader);
    struct rig_answer *answer = rig_ask(&rig, leader, &request);
    for (int i = 0; i < 2000 && !holds_frozen(away, leader); i++)
        rig_run(&rig, RIG_MS / 10);
    stop_hearing(away);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, 0);
    assert_value("y", "1");
    for (int i = 0; i < 50; i++) {
        rig_put(&rig, leader_of(STORE_FIRST_RANGE_ID), "x", "5", 0);
        rig_run(&rig, 10 * RIG_MS);
    }
    rig_simple(&rig, leader, REQUEST_FLUSH);
    rig_run(&rig, 1000 * RIG_MS);
    sim_net_heal(rig.sim, NULL, NULL);
    for (int i = 0; i < 400 && right->state != REPLICA_ABSORBED; i++)
        rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(right->state, REPLICA_ABSORBED);
    assert_int_equal(right->absorbed.to_index, 0);
    right->read_count++; /* and a read from there */
    right->apply = APPLY_IDLE;
    replica_apply_wake(right);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(right->state, REPLICA_ABSORBED);
    right->read_count--;
    rig_run(&rig, 5000 * RIG_MS);
    assert_int_equal(store_range_at(rig.stores[away], 0), STORE_FIRST_RANGE_ID);
    assert_int_equal(store_range_at(rig.stores[away], 1), 0);
    assert_int_equal(put->count, 1);
    assert_int_equal(put->status, ERR_UNDETERMINED);
    rig_close(&rig);
}

/* The left replica leaves its store while it waits for the right one to get where it was
 * frozen: that goes on alone, hears that its range is over, and leaves too. */
static void test_left_behind(void **state)
{
    (void)state;
    size_t leader = open_cut();
    size_t at = (leader + 1) % 3;
    lead_at(RIGHT, leader);
    struct replica *right = replica_of(at, RIGHT);
    right->apply = APPLY_LOG_READ; /* a disk that takes its time */
    struct request request = merge_request(leader);
    struct rig_answer *answer = rig_ask(&rig, leader, &request);
    for (int i = 0; i < 100 && right->state != REPLICA_ABSORBED; i++)
        rig_run(&rig, 10 * RIG_MS);
    assert_int_equal(right->state, REPLICA_ABSORBED);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, 0);
    struct replica *left = replica_of(at, STORE_FIRST_RANGE_ID);
    replica_remove(left, left->replica_id + 1);
    rig_run(&rig, 500 * RIG_MS);
    right->apply = APPLY_IDLE;
    replica_apply_wake(right);
    for (int i = 0; i < 200 && store_range_of(rig.stores[at], RIGHT) != NULL; i++)
        rig_run(&rig, 100 * RIG_MS);
    assert_null(store_range_of(rig.stores[at], RIGHT));
    store_check(rig.stores[at]);
    rig_close(&rig);
}

/* So many merges of the range are not over that no other can be. */
static void fill_merges_of(uint64_t range_id)
{
    for (size_t i = 0; i < rig.count; i++) {
        const struct range_meta *meta = range_meta(store_range_of(rig.stores[i], range_id));
        for (uint64_t k = 0; k < MERGES_COMMITTED_MAX; k++) {
            struct merge_outcome stuck = {.attempt = 1 + k,
                                          .right_range = 1000 + k,
                                          .is_committed = true,
                                          .into_range = range_id,
                                          .span_epoch = meta->descriptor.epoch.span,
                                          .count = 1,
                                          .right = {{.store_id = 9, .replica_id = 6600}}};
            assert_int_equal(merges_add((struct merges *)&meta->merges, &stuck), 0);
        }
    }
}

/* A right replica stands still for a merge that is refused, and before its store comes to that
 * the left one is sent a snapshot of after it: the right one is another range, and goes on. */
static void test_refused_before_a_snapshot(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    rig.options.log_kept_bytes = 0;
    size_t leader = rig_start_cluster(&rig);
    split_at("m", STORE_FIRST_RANGE_ID, RIGHT, FIRST_ID);
    leader = wait_for_leader(STORE_FIRST_RANGE_ID);
    size_t away = (leader + 1) % 3;
    lead_at(RIGHT, leader);
    fill_merges_of(RIGHT);
    struct replica *right = replica_of(away, RIGHT);
    right->apply = APPLY_LOG_READ; /* a disk that takes its time */
    rig_put(&rig, leader, "x", "2", 0);
    struct request request = merge_request(leader);
    struct rig_answer *answer = rig_ask(&rig, leader, &request);
    for (int i = 0; i < 1000 && right->state != REPLICA_ABSORBED; i++)
        rig_run(&rig, RIG_MS);
    assert_int_equal(right->state, REPLICA_ABSORBED);
    stop_hearing(away);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, ERR_BUSY);
    for (int i = 0; i < 50; i++) {
        rig_put(&rig, leader, "a", "5", 0);
        rig_run(&rig, 10 * RIG_MS);
    }
    rig_simple(&rig, leader, REQUEST_FLUSH);
    rig_run(&rig, 1000 * RIG_MS);
    uint64_t sent =
        range_meta(store_range_of(rig.stores[leader], STORE_FIRST_RANGE_ID))->applied_index;
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 3000 * RIG_MS);
    right->apply = APPLY_IDLE;
    replica_apply_wake(right);
    rig_run(&rig, 5000 * RIG_MS);
    const struct range *left = store_range_of(rig.stores[away], STORE_FIRST_RANGE_ID);
    assert_true(range_meta(left)->applied_index >= sent);
    assert_true(rig.stores[away]->snapshots_begun > 0);
    assert_ptr_equal(replica_of(away, RIGHT), right);
    assert_int_equal(right->state, REPLICA_RUNNING);
    assert_int_equal(range_meta(right->range)->merges.frozen.attempt, 0);
    lead_at(RIGHT, away);
    struct rig_answer *get = rig_get(&rig, away, "x", 1000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(get->status, 0);
    assert_string_equal(get->value, "2");
    store_check(rig.stores[away]);
    rig_close(&rig);
}

/* Two ranges become one on all stores but one, whose right replica holds what froze it; that store
 * is cut off then, and the log goes on. The left's leader, which leads the right too, and that
 * store. */
static size_t merge_without_one(uint64_t log_kept_bytes, size_t *ret_away)
{
    rig_open(&rig, 3);
    rig.options.log_kept_bytes = log_kept_bytes;
    rig_start_cluster(&rig);
    split_at("m", STORE_FIRST_RANGE_ID, RIGHT, FIRST_ID);
    size_t leader = wait_for_leader(STORE_FIRST_RANGE_ID);
    size_t away = (leader + 1) % 3;
    lead_at(RIGHT, leader);
    rig_put(&rig, leader, "x", "2", 0);
    rig_run(&rig, 300 * RIG_MS);
    struct request request = merge_request(leader);
    struct rig_answer *answer = rig_ask(&rig, leader, &request);
    for (int i = 0; i < 2000 && !holds_frozen(away, leader); i++)
        rig_run(&rig, RIG_MS / 10);
    stop_hearing(away);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, 0);
    assert_int_equal(store_range_at(rig.stores[away], 1), RIGHT);
    for (int i = 0; i < 50; i++) {
        rig_put(&rig, leader, "a", "5", 0);
        rig_run(&rig, 10 * RIG_MS);
    }
    rig_simple(&rig, leader, REQUEST_FLUSH);
    rig_run(&rig, 1000 * RIG_MS);
    *ret_away = away;
    return leader;
}

/* That store begins again, and hears of the others; a write of the right one's log takes its
 * time, and until it is done that replica does not run. */
static struct replica *begin_with_a_late_write(size_t away, struct list *write)
{
    rig_crash(&rig, away, SIM_CRASH_KILL);
    sim_net_heal(rig.sim, NULL, NULL);
    assert_int_equal(rig_start(&rig, away, NULL), 0);
    for (int i = 0; i < 100000 && replica_of(away, RIGHT) == NULL; i++)
        rig_run(&rig, 1);
    struct replica *right = replica_of(away, RIGHT);
    assert_int_equal(right->state, REPLICA_REPLAYING);
    list_init(write);
    list_push_back(&right->log_writes, write);
    return right;
}

static void must_end_as_one(size_t away)
{
    for (int i = 0; i < 200 && store_range_at(rig.stores[away], 1) != 0; i++)
        rig_run(&rig, 50 * RIG_MS);
    assert_whole();
    assert_int_equal(store_state(rig.stores[away]), STORE_RUNNING);
    lead_at(STORE_FIRST_RANGE_ID, away);
    assert_value("x", "2");
    assert_value("a", "5");
    rig_close(&rig);
}

/* A store begins again, and of its replicas the right one alone still replays when the left one
 * takes it in: nothing is left to wait for, and the store serves. */
static void test_serves_without_the_right(void **state)
{
    (void)state;
    size_t away;
    struct list write;
    merge_without_one((uint64_t)64 << 20, &away);
    struct replica *right = begin_with_a_late_write(away, &write);
    for (int i = 0; i < 500 && right->state == REPLICA_REPLAYING; i++)
        rig_run(&rig, 10 * RIG_MS);
    assert_true(right->state == REPLICA_ABSORBED || right->state == REPLICA_MERGED);
    rig_run(&rig, 10 * RIG_MS);
    assert_int_equal(store_state(rig.stores[away]), STORE_RUNNING);
    list_remove(&write);
    replica_wake(right);
    must_end_as_one(away);
}

/* Is more of the range's log kept there than of others? */
static bool is_favoured(size_t at)
{
    const struct replica *r = replica_of(at, STORE_FIRST_RANGE_ID);
    const struct log_favoured *all = rig.stores[at]->log_favoured;
    for (size_t i = 0; i < LOG_FAVOURED_MAX; i++) {
        if (all[i].replica_id == r->replica_id && all[i].until_us > env_now_us(r->store->env))
            return true;
    }
    return false;
}

static void count_failed(void *data, enum log_level level, const char *line)
{
    uint32_t *count = data;
    (void)level;
    *count += strstr(line, "snapshot_failed") != NULL;
}

/* The same with a snapshot in COMMIT_MERGE's place: that swallows nobody who replays, whose log
 * may be written to yet. It waits, the store too, and both go on when the right one runs: with what
 * is staged and was said already, however long that takes, and with the log that is kept for it.
 * Meanwhile others are refused, once a second. */
static void test_a_snapshot_waits_for_the_right(void **state)
{
    (void)state;
    size_t away;
    struct list write;
    uint32_t failed = 0;
    size_t leader = merge_without_one(0, &away);
    const struct logger logger = {.level = LOG_LEVEL_WARN, .sink = count_failed, .data = &failed};
    rig.stores[leader]->logger = &logger;
    struct replica *right = begin_with_a_late_write(away, &write);
    struct store *store = rig.stores[away];
    for (int i = 0; i < 500 && store->snapshots_begun == 0; i++)
        rig_run(&rig, 10 * RIG_MS);
    for (int i = 0; i < 12; i++) {
        rig_run(&rig, 10000 * RIG_MS);
        assert_true(is_favoured(leader));
        assert_int_equal(store->snapshots_begun, 1);
        assert_int_equal(store->snapshots_held, 1);
        store_check(store);
    }
    assert_in_range(failed, 60, 130);
    assert_int_equal(right->state, REPLICA_REPLAYING);
    assert_int_equal(replica_of(away, STORE_FIRST_RANGE_ID)->state, REPLICA_RUNNING);
    assert_int_equal(store_state(store), STORE_REPLAYING);
    list_remove(&write);
    replica_on_replayed(right);
    rig_run(&rig, 10 * RIG_MS);
    assert_int_equal(store_state(store), STORE_RUNNING);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(store->snapshots_held, 0);
    must_end_as_one(away);
}

/* One store never says that its right replica is gone: the outcomes of other merges are
 * forgotten all the same, and this one when the store is no part of the cluster any more. */
static void test_store_that_never_answers(void **state)
{
    (void)state;
    size_t leader = open_cut();
    const struct range_meta *meta = range_meta(store_range_of(rig.stores[leader], 2));
    struct merge_outcome stuck = {.attempt = 1,
                                  .right_range = 66,
                                  .is_committed = true,
                                  .into_range = STORE_FIRST_RANGE_ID,
                                  .span_epoch = meta->descriptor.epoch.span,
                                  .count = 1,
                                  .right = {{.store_id = 9, .replica_id = 6600}}};
    for (size_t i = 0; i < 3; i++) {
        meta = range_meta(store_range_of(rig.stores[i], STORE_FIRST_RANGE_ID));
        assert_int_equal(merges_add((struct merges *)&meta->merges, &stuck), 0);
    }
    struct request request = merge_request(leader);
    struct rig_answer *answer = rig_ask(&rig, leader, &request);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(answer->status, 0);
    for (size_t i = 0; i < 3; i++)
        rig_simple(&rig, i, REQUEST_FLUSH);
    rig_run(&rig, 10000 * RIG_MS);
    meta = range_meta(store_range_of(rig.stores[leader], STORE_FIRST_RANGE_ID));
    assert_int_equal(merges_committed(&meta->merges), 1);
    assert_non_null(merges_find(&meta->merges, 1));
    struct book_entry gone = {.store_id = 9, .version = 1, .is_removed = true, .address = "x:1"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(book_learn(&rig.stores[i]->book, &gone, NULL), 1);
    rig_run(&rig, 5000 * RIG_MS);
    assert_int_equal(merges_committed(&meta->merges), 0);
    rig_close(&rig);
}

/* As refused_before_a_snapshot, one further: the middle one of three takes the last one in, which
 * is refused, and is taken in by the first itself. A store at which the last one stood still hears
 * of neither, but gets a snapshot of the first. */
static void test_refused_in_what_is_gone(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    rig.options.log_kept_bytes = 0;
    rig_start_cluster(&rig);
    split_at("m", STORE_FIRST_RANGE_ID, RIGHT, FIRST_ID);
    split_at("t", RIGHT, THIRD, THIRD_ID);
    size_t leader = wait_for_leader(STORE_FIRST_RANGE_ID);
    size_t away = (leader + 1) % 3;
    lead_at(RIGHT, leader);
    lead_at(THIRD, leader);
    fill_merges_of(THIRD);
    struct replica *third = replica_of(away, THIRD);
    third->apply = APPLY_LOG_READ; /* a disk that takes its time */
    rig_put(&rig, leader, "x", "2", 0);
    struct request request = merge_of(leader, RIGHT, THIRD);
    struct rig_answer *answer = rig_ask(&rig, leader, &request);
    for (int i = 0; i < 1000 && third->state != REPLICA_ABSORBED; i++)
        rig_run(&rig, RIG_MS);
    assert_int_equal(third->state, REPLICA_ABSORBED);
    rig_run(&rig, 4000 * RIG_MS);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, ERR_BUSY);
    request = merge_of(leader, STORE_FIRST_RANGE_ID, RIGHT);
    answer = rig_ask(&rig, leader, &request);
    for (int i = 0; i < 20000 && !holds_frozen(away, leader); i++)
        rig_run(&rig, RIG_MS / 10);
    stop_hearing(away);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, 0);
    for (int i = 0; i < 50; i++) {
        rig_put(&rig, leader_of(STORE_FIRST_RANGE_ID), "b", "5", 0);
        rig_run(&rig, 10 * RIG_MS);
    }
    rig_simple(&rig, leader, REQUEST_FLUSH);
    rig_run(&rig, 1000 * RIG_MS);
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 5000 * RIG_MS);
    assert_true(rig.stores[away]->snapshots_begun > 0);
    assert_null(replica_of(away, RIGHT));
    third->apply = APPLY_IDLE;
    replica_apply_wake(third);
    rig_run(&rig, 5000 * RIG_MS);
    assert_ptr_equal(replica_of(away, THIRD), third);
    assert_int_equal(third->state, REPLICA_RUNNING);
    assert_int_equal(range_meta(third->range)->merges.frozen.attempt, 0);
    store_check(rig.stores[away]);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_range_again),
        cmocka_unit_test(test_over_in_quiet),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_thawed_on_full_disks),
        cmocka_unit_test(test_nobody_drives_on),
        cmocka_unit_test(test_power_lost),
        cmocka_unit_test(test_away_meanwhile),
        cmocka_unit_test(test_swallowed_with_a_write),
        cmocka_unit_test(test_left_behind),
        cmocka_unit_test(test_refused_before_a_snapshot),
        cmocka_unit_test(test_refused_in_what_is_gone),
        cmocka_unit_test(test_store_that_never_answers),
        cmocka_unit_test(test_serves_without_the_right),
        cmocka_unit_test(test_a_snapshot_waits_for_the_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
