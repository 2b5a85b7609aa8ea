/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "range/range.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

/* ---- birth -------------------------------------------------------------------- */

/* A store that is not born says who it is, and nothing else. */
static void test_unborn(void **state)
{
    static const enum request_kind kinds[] = {REQUEST_STATUS, REQUEST_TRANSFER_LEADER};
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    assert_int_equal(rig_start(&rig, 0, NULL), 0);
    struct rig_answer *who = rig_simple(&rig, 0, REQUEST_IDENTIFY);
    struct rig_answer *put = rig_put(&rig, 0, "k", "v", 1000);
    struct rig_answer *get = rig_get(&rig, 0, "k", 1000);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        rig_simple(&rig, 0, kinds[i]);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(who->status, 0);
    assert_int_equal(who->identify.store_id, 1);
    assert_int_equal(who->identify.cluster_id, 0);
    assert_false(who->identify.is_born);
    assert_int_equal(put->status, ERR_STATE);
    assert_int_equal(get->status, ERR_STATE);
    assert_int_equal(store_state(rig.stores[0]), STORE_UNBORN);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* What cannot be born is refused before anything is recorded. */
static void test_bootstrap_refused(void **state)
{
    struct rig rig;
    struct request good, bad;
    (void)state;
    rig_open(&rig, 1);
    assert_int_equal(rig_start(&rig, 0, NULL), 0);
    rig_bootstrap_request(&rig, &good);

    bad = good;
    bad.bootstrap.members[0].replica_id = UINT64_MAX;
    struct rig_answer *id = rig_ask(&rig, 0, &bad);
    bad = good;
    bad.bootstrap.members[0].role = MEMBER_LEARNER;
    struct rig_answer *role = rig_ask(&rig, 0, &bad);
    bad = good;
    bad.bootstrap.members[0].store_uuid[0] ^= 1;
    struct rig_answer *uuid = rig_ask(&rig, 0, &bad);
    bad = good;
    bad.bootstrap.members[0].address = slice_of("a\0b:1", 5);
    struct rig_answer *address = rig_ask(&rig, 0, &bad);
    bad = good;
    bad.bootstrap.member_count = 2;
    bad.bootstrap.members[1] = good.bootstrap.members[0];
    bad.bootstrap.members[1].replica_id = 2;
    bad.bootstrap.members[1].store_id = 2;
    struct rig_answer *twin = rig_ask(&rig, 0, &bad);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(id->status, ERR_INVALID);
    assert_int_equal(role->status, ERR_INVALID);
    assert_int_equal(uuid->status, ERR_INVALID);
    assert_int_equal(address->status, ERR_INVALID);
    assert_int_equal(twin->status, ERR_INVALID);
    assert_int_equal(store_state(rig.stores[0]), STORE_UNBORN);

    struct rig_answer *now = rig_ask(&rig, 0, &good);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(now->status, 0);
    assert_int_equal(store_state(rig.stores[0]), STORE_RUNNING);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void test_bootstrap_twice(void **state)
{
    struct rig rig;
    struct request same, other;
    (void)state;
    rig_open(&rig, 1);
    rig_start_cluster(&rig);
    rig_bootstrap_request(&rig, &same);
    other = same;
    other.bootstrap.cluster_id++;
    struct rig_answer *again = rig_ask(&rig, 0, &same);
    struct rig_answer *refused = rig_ask(&rig, 0, &other);
    struct rig_answer *put = rig_put(&rig, 0, "k", "v", 1000);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(again->status, 0);
    assert_int_equal(refused->status, ERR_EXISTS);
    assert_int_equal(put->status, 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* A loss of power or a kill after each disk call of a birth: the next start is born all
 * the same, or asks to be bootstrapped again. */
static void test_birth_crashes(void **state)
{
    bool was_whole = false;
    (void)state;
    for (uint64_t n = 1; !was_whole; n++) {
        struct rig rig;
        struct request boot;
        rig_open(&rig, 1);
        assert_int_equal(rig_start(&rig, 0, NULL), 0);
        rig_run(&rig, 100 * RIG_MS);
        rig_bootstrap_request(&rig, &boot);
        sim_node_crash_after(rig.nodes[0], n);
        rig_ask(&rig, 0, &boot);
        rig_run(&rig, 400 * RIG_MS);
        was_whole = store_state(rig.stores[0]) == STORE_RUNNING;
        rig_crash(&rig, 0, n % 2 == 0 ? SIM_CRASH_KILL : SIM_CRASH_POWER);
        struct err err = {0};
        if (rig_start(&rig, 0, &err) != 0)
            fail_msg("call %llu: %s", (unsigned long long)n, err.msg);
        rig_run(&rig, 100 * RIG_MS);
        struct rig_answer *again = rig_ask(&rig, 0, &boot);
        rig_run(&rig, 4000 * RIG_MS);
        struct rig_answer *put = rig_put(&rig, 0, "k", "v", 1000);
        rig_run(&rig, 200 * RIG_MS);
        assert_int_equal(again->status, 0);
        assert_int_equal(put->status, 0);
        rig_close(&rig);
    }
}

/* ---- answers --------------------------------------------------------------------- */

static void test_write_and_read(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    size_t other = (leader + 1) % 3;
    rig_put(&rig, leader, "k", "one", 1000);
    rig_run(&rig, 100 * RIG_MS);
    struct rig_answer *get = rig_get(&rig, leader, "k", 1000);
    struct rig_answer *no_put = rig_put(&rig, other, "k", "two", 1000);
    struct rig_answer *no_get = rig_get(&rig, other, "k", 1000);
    struct request_read lease = {.consistency = READ_LEASE};
    struct rig_answer *no_lease = rig_read(&rig, other, "k", &lease, 1000);
    struct request stay = {.kind = REQUEST_TRANSFER_LEADER,
                           .transfer_leader = {.target_replica = leader + 1}};
    struct rig_answer *stays = rig_ask(&rig, leader, &stay);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(get->status, 0);
    assert_string_equal(get->value, "one");
    assert_int_equal(no_put->status, ERR_NOT_LEADER);
    assert_int_equal(no_put->leader_store, leader + 1);
    assert_int_equal(no_get->status, ERR_NOT_LEADER);
    assert_int_equal(no_get->leader_store, leader + 1);
    assert_int_equal(stays->status, 0);                  /* it leads already */
    assert_int_equal(no_lease->status, ERR_UNSUPPORTED); /* nor would the leader know better */
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static struct rig_answer *put_in(struct rig *rig, uint64_t session, uint64_t sequence,
                                 uint64_t first_sent_ms)
{
    struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v")};
    struct command command = {.session = session,
                              .sequence = sequence,
                              .lowest_unanswered = 1,
                              .first_sent_ms = first_sent_ms,
                              .op_count = 1,
                              .ops = &op};
    struct buf raw;
    buf_init(&raw, FRAME_BODY_MAX);
    command_encode(&raw, &command);
    struct request request = {
        .kind = REQUEST_WRITE, .timeout_ms = 1000, .write = {.command = buf_slice(&raw)}};
    struct rig_answer *answer = rig_ask(rig, 0, &request);
    buf_fini(&raw);
    rig_run(rig, 200 * RIG_MS);
    return answer;
}

static struct rig_answer *put_in_session(struct rig *rig, uint64_t sequence, uint64_t first_sent_ms)
{
    return put_in(rig, 77, sequence, first_sent_ms);
}

/* All ranges of a store together remember no more sessions than they may. Who is known goes on;
 * and the rest may come when those are forgotten that nobody uses, though nobody writes. */
static void test_sessions_of_a_store(void **state)
{
    enum { KNOWN = 77, NEW = 78 };
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    rig.options.sessions_bytes_max = 256; /* more than the row of one encoded, less than it takes */
    rig_start_cluster(&rig);
    struct env *env = sim_node_env(rig.nodes[0]);
    for (uint64_t sequence = 1; sequence <= 4; sequence++)
        assert_int_equal(put_in(&rig, KNOWN, sequence, env_wall_ms(env))->status, 0);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(put_in(&rig, NEW, 1, env_wall_ms(env))->status, ERR_BUSY);
    assert_int_equal(put_in(&rig, KNOWN, 5, env_wall_ms(env))->status, 0);
    assert_int_equal(rig_put(&rig, 0, "k", "of nobody", 1000)->count, 0);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(put_in(&rig, NEW, 1, env_wall_ms(env))->status, ERR_BUSY);
    rig_run(&rig, (uint64_t)(SESSION_KEEP_MS + 10000) * RIG_MS);
    assert_int_equal(rig.stores[0]->session_bytes, 0);
    rig_reconnect(&rig, 0);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(put_in(&rig, NEW, 2, env_wall_ms(env))->status, 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* A clock that was an hour ahead has left range time there, and with it the floor of the
 * sessions: who asks for a first_sent that the range takes is told of one. */
static void test_time_ahead(void **state)
{
    enum { HOUR_MS = 3600 * 1000 };
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    rig_start_cluster(&rig);
    sim_node_set_wall_skew(rig.nodes[0], HOUR_MS);
    rig_run(&rig, 2000 * RIG_MS);
    struct rig_answer *ahead = rig_put(&rig, 0, "k", "ahead", 1000);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(ahead->status, 0);
    sim_node_set_wall_skew(rig.nodes[0], 0);
    rig_run(&rig, 2000 * RIG_MS);
    uint64_t wall_ms = env_wall_ms(sim_node_env(rig.nodes[0]));
    uint64_t time_ms = range_meta(store_range(rig.stores[0]))->time_ms;
    assert_true(time_ms > wall_ms + HOUR_MS / 2);
    struct rig_answer *now = put_in_session(&rig, 1, wall_ms);
    assert_int_equal(now->status, ERR_SESSION_EXPIRED);
    assert_true(now->time_ms >= time_ms);
    assert_int_equal(put_in_session(&rig, 2, now->time_ms)->status, 0);
    /* … which moves it no further: what is beyond is a wrong clock still, and hears of a time that
     * is taken at once, not of one that is behind the floor. */
    assert_int_equal(range_meta(store_range(rig.stores[0]))->time_ms, time_ms);
    struct rig_answer *beyond = put_in_session(&rig, 3, time_ms + 1000);
    assert_int_equal(beyond->status, ERR_SESSION_EXPIRED);
    assert_int_equal(beyond->time_ms, time_ms);
    assert_int_equal(put_in_session(&rig, 4, beyond->time_ms)->status, 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Alone, the leader can promise nothing: what it proposed is undetermined at the deadline, what it
 * did not is not done, and told before the client must call it undetermined; no read is served. */
static void test_deadlines(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    rig.options.entries_in_flight = 1;
    size_t leader = rig_start_cluster(&rig);
    for (size_t i = 0; i < 3; i++)
        if (i != leader)
            sim_net_partition(rig.sim, rig.nodes[leader], rig.nodes[i], false);
    struct rig_answer *proposed = rig_put(&rig, leader, "k", "v", 300);
    rig_run(&rig, 20 * RIG_MS);
    struct rig_answer *queued = rig_put(&rig, leader, "k", "w", 300);
    struct rig_answer *get = rig_get(&rig, leader, "k", 300);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(proposed->count + queued->count + get->count, 0);
    rig_run(&rig, 85 * RIG_MS);
    assert_int_equal(queued->count, 1); /* 15 ms before its deadline */
    assert_int_equal(queued->status, ERR_TIMEOUT);
    rig_run(&rig, 115 * RIG_MS);
    assert_int_equal(proposed->status, ERR_UNDETERMINED);
    assert_int_equal(queued->status, ERR_TIMEOUT);
    assert_int_equal(get->status, ERR_TIMEOUT);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void test_queue_bounds(void **state)
{
    struct rig rig;
    struct rig_answer *puts[5];
    struct rig_answer *gets[4];
    (void)state;
    rig_open(&rig, 3);
    rig.options.entries_in_flight = 1;
    rig.options.queue_writes_max = 4; /* of which one client gets half */
    rig.options.queue_reads_max = 3;
    size_t leader = rig_start_cluster(&rig);
    for (size_t i = 0; i < 3; i++)
        if (i != leader)
            sim_net_partition(rig.sim, rig.nodes[leader], rig.nodes[i], false);
    for (size_t i = 0; i < ARRAY_LEN(puts); i++) {
        puts[i] = rig_put(&rig, leader, "k", "v", 400);
        rig_run(&rig, 20 * RIG_MS);
    }
    for (size_t i = 0; i < ARRAY_LEN(gets); i++)
        gets[i] = rig_get(&rig, leader, "k", 400);
    rig_run(&rig, 20 * RIG_MS);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(puts[i]->count, 0); /* one in flight, two wait */
    for (size_t i = 3; i < ARRAY_LEN(puts); i++) {
        assert_int_equal(puts[i]->status, ERR_BUSY);
        assert_true(puts[i]->retry_after_ms > 0);
    }
    assert_int_equal(gets[2]->count, 0);
    assert_int_equal(gets[3]->status, ERR_BUSY);
    rig_run(&rig, 1000 * RIG_MS);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* A leader that was cut off with all its places taken leads again later: what it had
 * proposed is decided, and it can propose. */
static void test_lost_proposals(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    rig.options.entries_in_flight = 2;
    size_t first = rig_start_cluster(&rig);
    for (size_t i = 0; i < 3; i++)
        if (i != first)
            sim_net_partition(rig.sim, rig.nodes[first], rig.nodes[i], false);
    struct rig_answer *a = rig_put(&rig, first, "k", "a", 20000);
    rig_run(&rig, 20 * RIG_MS);
    struct rig_answer *b = rig_put(&rig, first, "k", "b", 20000);
    rig_run(&rig, 20 * RIG_MS);
    struct rig_answer *queued = rig_put(&rig, first, "k", "c", 20000);
    rig_run(&rig, 6000 * RIG_MS);
    assert_int_equal(queued->status, ERR_NOT_LEADER);
    assert_int_equal(a->count + b->count, 0); /* they may commit yet */
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 2000 * RIG_MS);
    size_t second = rig_leader(&rig);
    assert_true(second < 3 && second != first);
    struct request hand_over = {.kind = REQUEST_TRANSFER_LEADER,
                                .transfer_leader = {.target_replica = first + 1}};
    struct rig_answer *over = rig_ask(&rig, second, &hand_over);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(over->status, 0);
    assert_int_equal(rig_leader(&rig), first);
    assert_int_equal(a->status, ERR_NOT_LEADER); /* another entry stands there */
    struct rig_answer *d = rig_put(&rig, first, "k", "d", 1000);
    rig_run(&rig, 300 * RIG_MS);
    assert_int_equal(d->status, 0);
    struct rig_answer *get = rig_get(&rig, first, "k", 1000);
    rig_run(&rig, 300 * RIG_MS);
    assert_string_equal(get->value, "d");
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Writes that come while leadership is handed over are not told to come back later, which takes
 * far longer than the hand-over: they hear who leads, or are done when it comes to nothing. */
static void test_writes_in_a_hand_over(void **state)
{
    for (int fails = 0; fails < 2; fails++) {
        struct rig rig;
        struct rig_answer *puts[8];
        (void)state;
        rig_open(&rig, 3);
        size_t first = rig_start_cluster(&rig);
        size_t second = (first + 1) % 3;
        struct request hand_over = {.kind = REQUEST_TRANSFER_LEADER,
                                    .transfer_leader = {.target_replica = second + 1}};
        if (fails)
            sim_net_partition(rig.sim, rig.nodes[first], rig.nodes[second], false);
        struct rig_answer *over = rig_ask(&rig, first, &hand_over);
        for (size_t i = 0; i < ARRAY_LEN(puts); i++)
            puts[i] = rig_put(&rig, first, "k", "v", 8000);
        rig_run(&rig, fails ? 6000 * RIG_MS : 60 * RIG_MS);
        assert_int_equal(over->status, fails ? ERR_UNDETERMINED : 0); /* it waits in the network */
        assert_int_equal(rig_leader(&rig), fails ? first : second);
        for (size_t i = 0; i < ARRAY_LEN(puts); i++) {
            assert_int_equal(puts[i]->count, 1);
            assert_int_equal(puts[i]->status, fails ? 0 : ERR_NOT_LEADER);
        }
        rig_assert_answered(&rig);
        rig_close(&rig);
    }
}

/* Full disk: puts are refused first, deletes later; each clears by itself. */
static void test_watermarks(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    rig_start_cluster(&rig);
    struct sim_disk *disk = sim_node_disk(rig.nodes[0]);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + ((uint64_t)512 << 20));
    rig_run(&rig, 600 * RIG_MS);
    struct rig_answer *put = rig_put(&rig, 0, "k", "v", 1000);
    struct rig_answer *del = rig_delete(&rig, 0, "k");
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(put->status, ERR_NO_SPACE);
    assert_int_equal(del->status, 0);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + ((uint64_t)64 << 20));
    rig_run(&rig, 600 * RIG_MS);
    del = rig_delete(&rig, 0, "k");
    struct rig_answer *get = rig_get(&rig, 0, "k", 1000);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(del->status, ERR_NO_SPACE);
    assert_int_equal(get->status, 0);
    sim_disk_set_capacity(disk, SIM_DISK_CAPACITY_DEFAULT);
    rig_run(&rig, 600 * RIG_MS);
    put = rig_put(&rig, 0, "k", "v", 1000);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(put->status, 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void set_free(struct rig *rig, size_t i, uint64_t bytes)
{
    struct sim_disk *disk = sim_node_disk(rig->nodes[i]);
    sim_disk_set_capacity(disk,
                          bytes == 0 ? SIM_DISK_CAPACITY_DEFAULT : sim_disk_used(disk) + bytes);
}

static int put_status(struct rig *rig, size_t leader)
{
    struct rig_answer *put = rig_put(rig, leader, "k", "v", 1000);
    rig_run(rig, 200 * RIG_MS);
    assert_int_equal(put->count, 1);
    return put->status;
}

/* The leader has room; puts are refused all the same when no majority has, and taken
 * again as soon as one has. */
static void test_followers_full(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    size_t one = (leader + 1) % 3, other = (leader + 2) % 3;
    set_free(&rig, one, (uint64_t)512 << 20);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(put_status(&rig, leader), 0); /* a majority has room */
    set_free(&rig, other, (uint64_t)512 << 20);
    rig_run(&rig, 3000 * RIG_MS);
    struct rig_answer *put = rig_put(&rig, leader, "k", "v", 1000);
    struct rig_answer *del = rig_delete(&rig, leader, "k");
    struct rig_answer *get = rig_get(&rig, leader, "k", 1000);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(put->status, ERR_NO_SPACE);
    assert_non_null(strstr(put->text, "too many stores"));
    assert_int_equal(del->status, 0);
    assert_int_equal(get->status, 0);
    set_free(&rig, one, (uint64_t)64 << 20);
    set_free(&rig, other, (uint64_t)64 << 20);
    rig_run(&rig, 3000 * RIG_MS);
    del = rig_delete(&rig, leader, "k");
    get = rig_get(&rig, leader, "k", 1000);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(del->status, ERR_NO_SPACE);
    assert_int_equal(get->status, 0);
    set_free(&rig, other, 0);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(rig_leader(&rig), leader);
    assert_int_equal(put_status(&rig, leader), 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static uint64_t last_index(const struct rig *rig, size_t i)
{
    uint64_t group = 0;
    struct raftlog_group_state s;
    assert_true(raftlog_next_group(store_log(rig->stores[i]), 0, &group));
    assert_int_equal(raftlog_group_state(store_log(rig->stores[i]), group, &s), 0);
    return s.last_index;
}

/* A follower whose disk is at its end gets no entries while the others suffice, calls no
 * election, is used when it is needed, and catches up when it has space again. */
static void test_follower_spared(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    size_t full = (leader + 1) % 3, other = (leader + 2) % 3;
    set_free(&rig, full, (uint64_t)64 << 20);
    rig_run(&rig, 3000 * RIG_MS);
    uint64_t before = last_index(&rig, full);
    for (int i = 0; i < 5; i++)
        assert_int_equal(put_status(&rig, leader), 0);
    rig_run(&rig, 10000 * RIG_MS);
    assert_int_equal(last_index(&rig, full), before);
    assert_int_equal(rig_leader(&rig), leader);
    sim_net_partition(rig.sim, rig.nodes[other], NULL, false);
    rig_run(&rig, 3000 * RIG_MS);
    assert_true(last_index(&rig, full) >= before + 5);
    struct rig_answer *get = rig_get(&rig, leader, "k", 1000);
    rig_run(&rig, 300 * RIG_MS);
    assert_int_equal(get->status, 0);
    assert_int_equal(put_status(&rig, leader), ERR_NO_SPACE);
    set_free(&rig, full, 0);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(put_status(&rig, leader), 0);
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(last_index(&rig, full), last_index(&rig, rig_leader(&rig)));
    assert_int_equal(last_index(&rig, other), last_index(&rig, rig_leader(&rig)));
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* A leader whose disk is full hands over to one that has room, but not where most have none. */
static void test_full_leader(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig), one = (leader + 1) % 3;
    set_free(&rig, one, (uint64_t)512 << 20);
    set_free(&rig, leader, (uint64_t)512 << 20);
    rig_run(&rig, 12000 * RIG_MS);
    assert_int_equal(rig_leader(&rig), leader);
    assert_int_equal(put_status(&rig, leader), ERR_NO_SPACE);
    set_free(&rig, one, 0);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_not_equal(rig_leader(&rig), leader);
    assert_int_equal(put_status(&rig, rig_leader(&rig)), 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void set_sync(struct rig *rig, size_t i, uint64_t sync_us)
{
    struct sim_disk_options o = {.sync_us = sync_us};
    sim_disk_set_options(sim_node_disk(rig->nodes[i]), &o);
}

static void put_for(struct rig *rig, size_t i, int times)
{
    for (int n = 0; n < times; n++) {
        rig_put(rig, i, "k", "v", 5000);
        rig_run(rig, 200 * RIG_MS);
    }
}

/* A leader whose disk has become slow hands over, if a majority has good ones, and is not
 * chosen again while it is so. */
static void test_slow_disk(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    size_t one = (leader + 1) % 3, other = (leader + 2) % 3;
    put_for(&rig, leader, 15);
    set_sync(&rig, one, 900 * RIG_MS);
    put_for(&rig, leader, 20);
    set_sync(&rig, leader, 900 * RIG_MS);
    put_for(&rig, leader, 20);
    assert_int_equal(rig_leader(&rig), leader); /* no majority is better */
    set_sync(&rig, one, 300);
    put_for(&rig, leader, 30);
    size_t next = rig_leader(&rig);
    assert_true(next == one || next == other);
    for (int i = 0; i < 40; i++)
        assert_int_equal(put_status(&rig, next), 0);
    assert_int_equal(rig_leader(&rig), next);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void test_all_disks_slow(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    put_for(&rig, leader, 15);
    for (size_t i = 0; i < 3; i++)
        set_sync(&rig, i, 700 * RIG_MS);
    put_for(&rig, leader, 60);
    rig_run(&rig, 6000 * RIG_MS);
    assert_int_equal(rig_leader(&rig), leader);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Writes that come faster than the log's next files are made wait; no disk is full. */
static void test_burst(void **state)
{
    enum { PUTS = 200, VALUE_LEN = 4 << 10 };
    struct rig rig;
    char value[VALUE_LEN + 1];
    (void)state;
    memset(value, 'v', VALUE_LEN);
    value[VALUE_LEN] = 0;
    rig_open(&rig, 1);
    rig.options.log.segment_bytes = 1 << 16;
    rig.options.entry_bytes_max = 1 << 14;
    rig_start_cluster(&rig);
    rig_run(&rig, 600 * RIG_MS);
    struct rig_answer *puts[PUTS];
    for (size_t i = 0; i < PUTS; i++)
        puts[i] = rig_put(&rig, 0, "k", value, 5000);
    rig_run(&rig, 4000 * RIG_MS);
    for (size_t i = 0; i < PUTS; i++)
        assert_int_equal(puts[i]->status, 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Of `count` writes at once, how many are acknowledged after 150 ms; all are in the end. */
static size_t soon_written(struct rig *rig, size_t count)
{
    enum { VALUE_LEN = 4 << 10 };
    char value[VALUE_LEN + 1];
    struct rig_answer *puts[200];
    size_t soon = 0;
    assert_true(count <= ARRAY_LEN(puts));
    memset(value, 'v', VALUE_LEN);
    value[VALUE_LEN] = 0;
    for (size_t i = 0; i < count; i++)
        puts[i] = rig_put(rig, 0, "k", value, 9000);
    rig_run(rig, 150 * RIG_MS);
    for (size_t i = 0; i < count; i++)
        soon += puts[i]->count > 0;
    rig_run(rig, 8000 * RIG_MS);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(puts[i]->count, 1);
        assert_int_equal(puts[i]->status, 0);
    }
    return soon;
}

/* An engine whose compaction is behind slows its writers down, long before it stops them. */
static void test_slowed(void **state)
{
    enum { PUTS = 200, FLUSHES = 6 };
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    rig.options.entry_bytes_max = 1 << 14;
    rig.options.lsm.no_auto_compaction = true;
    rig.options.lsm.l0_slow = FLUSHES - 1;
    rig.options.lsm.l0_stop = FLUSHES + 2; /* the birth has made a file, too */
    rig_start_cluster(&rig);
    rig_run(&rig, 600 * RIG_MS);
    assert_int_equal(soon_written(&rig, PUTS), PUTS);
    for (size_t i = 0; i < FLUSHES; i++) {
        rig_put(&rig, 0, "k", "v", 1000);
        rig_run(&rig, 100 * RIG_MS);
        rig_simple(&rig, 0, REQUEST_FLUSH);
        rig_run(&rig, 100 * RIG_MS);
    }
    size_t soon = soon_written(&rig, PUTS); /* at an eighth of LSM_PACE_FIRST */
    if (soon < PUTS / 20 || soon > PUTS * 9 / 10)
        fail_msg("%zu of %d are written at once", soon, PUTS);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* ---- the end ------------------------------------------------------------------------ */

static void test_drain_leader(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    for (int i = 0; i < 8; i++)
        rig_put(&rig, leader, "k", "v", 5000);
    rig_get(&rig, leader, "k", 5000);
    rig_run(&rig, 1 * RIG_MS);
    rig_drain(&rig, leader, 4000);
    struct rig_answer *late = rig_put(&rig, leader, "k", "w", 5000);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(rig.drained, 1);
    assert_int_equal(late->status, ERR_NOT_LEADER);
    assert_true(rig_leader(&rig) != leader);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Alone there is nobody to hand over to: what is on its way is answered, and the next
 * start finds all of it flushed. */
static void test_drain_alone(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    rig_start_cluster(&rig);
    struct rig_answer *put = rig_put(&rig, 0, "k", "v", 5000);
    rig_run(&rig, 1 * RIG_MS);
    rig_drain(&rig, 0, 4000);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(rig.drained, 1);
    assert_int_equal(put->count, 1);
    struct rig_answer *late = rig_get(&rig, 0, "k", 500);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(late->status, ERR_NOT_LEADER);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* A bootstrap that comes while an unborn store stops must not give birth to it. */
/* All are told to stop at once: the last one does not wait for those that have gone. */
static void test_drain_all(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    for (size_t i = 0; i < 3; i++)
        if (i != leader)
            rig_crash(&rig, i, SIM_CRASH_KILL);
    rig_put(&rig, leader, "k", "v", 5000); /* will never be known */
    rig_run(&rig, 1 * RIG_MS);
    rig_drain(&rig, leader, 10000);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(rig.drained, 1);
    rig_close(&rig);
}

static void test_drain_unborn(void **state)
{
    struct rig rig;
    struct request boot;
    (void)state;
    rig_open(&rig, 1);
    assert_int_equal(rig_start(&rig, 0, NULL), 0);
    rig_run(&rig, 100 * RIG_MS);
    rig_bootstrap_request(&rig, &boot);
    rig_drain(&rig, 0, 1000);
    struct rig_answer *refused = rig_ask(&rig, 0, &boot);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(rig.drained, 1);
    assert_int_equal(refused->status, ERR_STATE);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* ---- what must never come back ---------------------------------------------------------- */

static void test_wiped(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    rig_start_cluster(&rig);
    rig_crash(&rig, 2, SIM_CRASH_KILL);
    sim_node_wipe(rig.nodes[2]);
    assert_int_equal(rig_start(&rig, 2, NULL), 0);
    rig_run(&rig, 5000 * RIG_MS);
    assert_true(sim_node_is_dead(rig.nodes[2]));
    assert_non_null(strstr(sim_node_fatal_message(rig.nodes[2]), "wiped or replaced"));
    rig_close(&rig);
}

/* Whose secret is not that of the others ends and says so; they do not. */
static void test_other_secret(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t odd = (rig_start_cluster(&rig) + 1) % 3;
    struct slice good = rig.options.secret;
    struct slice others[] = {slice_str("another secret"), {0}};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        rig_crash(&rig, odd, SIM_CRASH_KILL);
        sim_node_restart(rig.nodes[odd]);
        rig.options.secret = others[i];
        assert_int_equal(rig_start(&rig, odd, NULL), 0);
        rig_run(&rig, 5000 * RIG_MS);
        assert_true(sim_node_is_dead(rig.nodes[odd]));
        assert_non_null(strstr(sim_node_fatal_message(rig.nodes[odd]), "cluster secret"));
    }
    for (size_t i = 0; i < 3; i++)
        assert_true(sim_node_is_dead(rig.nodes[i]) == (i == odd));

    /* Its secret set right, it is as good as any. */
    rig_crash(&rig, odd, SIM_CRASH_KILL);
    sim_node_restart(rig.nodes[odd]);
    rig.options.secret = good;
    assert_int_equal(rig_start(&rig, odd, NULL), 0);
    rig_run(&rig, 3000 * RIG_MS);
    assert_false(sim_node_is_dead(rig.nodes[odd]));
    rig_close(&rig);
}

/* One store that differs is no reason for anybody else to end, born or not. */
static void test_other_secret_of_one(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    struct slice good = rig.options.secret;
    for (size_t i = 0; i < 3; i++) {
        rig.options.secret = i == 0 ? slice_str("another secret") : good;
        assert_int_equal(rig_start(&rig, i, NULL), 0);
    }
    rig_run(&rig, 5000 * RIG_MS);
    assert_true(sim_node_is_dead(rig.nodes[0]));
    assert_non_null(strstr(sim_node_fatal_message(rig.nodes[0]), "cluster secret"));
    assert_false(sim_node_is_dead(rig.nodes[1]));
    assert_false(sim_node_is_dead(rig.nodes[2]));
    rig_close(&rig);
}

/* Two of three come back with another secret: they agree, and the one that was at work
 * all the while does not take itself for the wrong one. */
static void test_other_secret_of_two(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    rig_start_cluster(&rig);
    rig.options.secret = slice_str("another secret");
    for (size_t i = 1; i < 3; i++)
        rig_crash(&rig, i, SIM_CRASH_KILL);
    for (size_t i = 1; i < 3; i++) {
        sim_node_restart(rig.nodes[i]);
        assert_int_equal(rig_start(&rig, i, NULL), 0);
    }
    rig_run(&rig, 5000 * RIG_MS);
    for (size_t i = 0; i < 3; i++)
        assert_false(sim_node_is_dead(rig.nodes[i]));
    assert_true(rig_leader(&rig) == 1 || rig_leader(&rig) == 2);
    rig_close(&rig);
}

static void remove_folder(struct env *env, const char *dir)
{
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(env_dir_list(env, dir, &names, &count, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        char path[ENV_PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        assert_int_equal(env_file_unlink(env, path, NULL), 0);
    }
    free(names);
    assert_int_equal(env_dir_remove(env, dir, NULL), 0);
}

static void test_lost_rooms(void **state)
{
    static const char *const rooms[] = {"data/log", "data/engine"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        struct rig rig;
        struct err err = {0};
        rig_open(&rig, 1);
        rig_start_cluster(&rig);
        rig_crash(&rig, 0, SIM_CRASH_KILL);
        sim_node_restart(rig.nodes[0]);
        remove_folder(sim_node_env(rig.nodes[0]), rooms[i]);
        assert_int_equal(rig_start(&rig, 0, &err), ERR_STATE);
        assert_non_null(strstr(err.msg, "lost its"));
        rig_close(&rig);
    }
}

static void flip_tables(void *data, const char *path, uint64_t size)
{
    char(*paths)[ENV_PATH_MAX] = data;
    (void)size;
    if (strstr(path, "engine/") == NULL || strstr(path, ".tbl") == NULL)
        return;
    for (size_t i = 0; i < 8; i++) {
        if (paths[i][0] != 0)
            continue;
        snprintf(paths[i], ENV_PATH_MAX, "%s", path);
        return;
    }
}

/* A block that is damaged at rest: the replica is given up for life, the others go on. */
static void test_damage(void **state)
{
    struct rig rig;
    char paths[8][ENV_PATH_MAX] = {{0}};
    (void)state;
    rig_open(&rig, 3);
    size_t bad = rig_start_cluster(&rig);
    rig_put(&rig, bad, "k", "v", 1000);
    rig_run(&rig, 200 * RIG_MS);
    rig_simple(&rig, bad, REQUEST_FLUSH);
    rig_run(&rig, 500 * RIG_MS);
    struct sim_disk *disk = sim_node_disk(rig.nodes[bad]);
    sim_disk_each_file(disk, flip_tables, paths);
    assert_true(paths[0][0] != 0);
    for (size_t i = 0; i < 8 && paths[i][0] != 0; i++)
        assert_int_equal(sim_disk_flip_bit(disk, paths[i], 12 * 8), 0);
    struct rig_answer *read = rig_get(&rig, bad, "k", 1000);
    rig_run(&rig, 5000 * RIG_MS);
    assert_int_not_equal(read->status, 0);
    assert_int_equal(store_state(rig.stores[bad]), STORE_DAMAGED);
    size_t leader = rig_leader(&rig);
    assert_true(leader < 3 && leader != bad);
    struct rig_answer *get = rig_get(&rig, leader, "k", 1000);
    rig_run(&rig, 300 * RIG_MS);
    assert_string_equal(get->value, "v");
    rig_crash(&rig, bad, SIM_CRASH_POWER);
    assert_int_equal(rig_start(&rig, bad, NULL), 0);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(store_state(rig.stores[bad]), STORE_DAMAGED);
    assert_null(store_consensus(rig.stores[bad]));
    struct rig_answer *refused = rig_get(&rig, bad, "k", 1000);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_not_equal(refused->status, 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Where a table's index or properties are damaged, opening it already shows. */
static void test_damage_at_open(void **state)
{
    struct rig rig;
    char paths[8][ENV_PATH_MAX] = {{0}};
    uint64_t size = 0;
    struct env_file *file = NULL;
    (void)state;
    rig_open(&rig, 3);
    size_t bad = rig_start_cluster(&rig);
    rig_put(&rig, bad, "k", "v", 1000);
    rig_run(&rig, 200 * RIG_MS);
    rig_simple(&rig, bad, REQUEST_FLUSH);
    rig_run(&rig, 500 * RIG_MS);
    struct sim_disk *disk = sim_node_disk(rig.nodes[bad]);
    sim_disk_each_file(disk, flip_tables, paths);
    struct env *env = sim_node_env(rig.nodes[bad]);
    assert_int_equal(env_file_open(env, paths[0], ENV_OPEN_READ, &file, NULL), 0);
    assert_int_equal(env_file_size(file, &size, NULL), 0);
    env_file_close(file);
    rig_crash(&rig, bad, SIM_CRASH_KILL);
    assert_int_equal(sim_disk_flip_bit(disk, paths[0], size * 8 - 100), 0);
    assert_int_equal(rig_start(&rig, bad, NULL), 0);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(store_state(rig.stores[bad]), STORE_DAMAGED);
    assert_null(store_consensus(rig.stores[bad]));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unborn),
        cmocka_unit_test(test_bootstrap_refused),
        cmocka_unit_test(test_bootstrap_twice),
        cmocka_unit_test(test_birth_crashes),
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_sessions_of_a_store),
        cmocka_unit_test(test_time_ahead),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_queue_bounds),
        cmocka_unit_test(test_lost_proposals),
        cmocka_unit_test(test_writes_in_a_hand_over),
        cmocka_unit_test(test_watermarks),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_slowed),
        cmocka_unit_test(test_slow_disk),
        cmocka_unit_test(test_all_disks_slow),
        cmocka_unit_test(test_followers_full),
        cmocka_unit_test(test_follower_spared),
        cmocka_unit_test(test_full_leader),
        cmocka_unit_test(test_drain_leader),
        cmocka_unit_test(test_drain_alone),
        cmocka_unit_test(test_drain_unborn),
        cmocka_unit_test(test_drain_all),
        cmocka_unit_test(test_wiped),
        cmocka_unit_test(test_other_secret),
        cmocka_unit_test(test_other_secret_of_one),
        cmocka_unit_test(test_other_secret_of_two),
        cmocka_unit_test(test_lost_rooms),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_damage_at_open),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
