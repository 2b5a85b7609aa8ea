/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for the next changes of a span: what they wait for, what ends the wait, what is
 * refused, and what they cost. */
#include <stdio.h>
#include <stdlib.h>

#include "consensus/consensus.h"
#include "range/range.h"
#include "store/watch.h"
#include "store_rig.h"
#include "support/check.h"

enum { NEW_RANGE = 77 };

static struct rig rig;

/* A cluster with a version to start from: a range that nothing was written to has none. */
static size_t start_cluster(void)
{
    size_t leader = rig_start_cluster(&rig);
    rig_put(&rig, leader, "first", "0", 0);
    rig_run(&rig, 200 * RIG_MS);
    return leader;
}

/* How far the first range has come, as its leader says when asked for "now". */
static uint64_t version_of_now(size_t leader)
{
    struct rig_answer *now = rig_watch(&rig, leader, "", "", 0, 0);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(now->count, 1);
    assert_int_equal(now->status, 0);
    assert_int_equal(now->watch.changes.count, 0);
    assert_true(now->watch.version > 0);
    return now->watch.version;
}

static void test_waits_for_a_change(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = start_cluster();
    uint64_t version = version_of_now(leader);
    struct rig_answer *all = rig_watch(&rig, leader, "", "", version, 5000);
    struct rig_answer *one = rig_watch(&rig, leader, "b", "b\x01", version, 5000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(all->count, 0);
    rig_put(&rig, leader, "a", "1", 0);
    rig_run(&rig, 200 * RIG_MS);
    assert_string_equal(all->value, "a=1 ");
    assert_true(all->watch.version > version && !all->watch.has_more);
    assert_int_equal(all->watch.range_id, STORE_FIRST_RANGE_ID);
    assert_int_equal(one->count, 0); /* not its key */
    rig_put(&rig, leader, "b", "2", 0);
    rig_delete(&rig, leader, "a");
    rig_run(&rig, 200 * RIG_MS);
    assert_string_equal(one->value, "b=2 ");
    struct rig_answer *rest = rig_watch(&rig, leader, "", "", all->watch.version, 5000);
    struct rig_answer *again = rig_watch(&rig, leader, "", "", version, 5000);
    rig_run(&rig, 200 * RIG_MS);
    assert_string_equal(rest->value, "b=2 a- "); /* the feed: in order of version */
    assert_string_equal(again->value, "a=1 b=2 a- ");
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Without a change it is answered in time, with how far it has come. */
static void test_wait_ends(void **state)
{
    (void)state;
    rig_open(&rig, 1);
    size_t leader = start_cluster();
    uint64_t version = version_of_now(leader);
    struct rig_answer *at_once = rig_watch(&rig, leader, "k", "l", version, 0);
    struct rig_answer *later = rig_watch(&rig, leader, "k", "l", version, 1000);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(at_once->count, 1);
    assert_true(at_once->watch.version == version && at_once->watch.changes.count == 0);
    rig_put(&rig, leader, "z", "1", 0);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(later->count, 0);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(later->count, 1);
    assert_int_equal(later->status, 0);
    assert_true(later->watch.version > version); /* it knows of "z", which is not its own */
    assert_int_equal(later->watch.changes.count, 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = start_cluster();
    uint64_t version = version_of_now(leader);
    struct rig_answer *follower = rig_watch(&rig, (leader + 1) % 3, "", "", version, 100);
    struct rig_answer *future = rig_watch(&rig, leader, "", "", UINT64_MAX, 100);
    struct rig_answer *ahead =
        rig_watch(&rig, leader, "", "", version + ((uint64_t)1000 << 20), 100);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(follower->status, ERR_NOT_LEADER);
    assert_int_equal(follower->leader_store, leader + 1);
    assert_int_equal(future->status, 0); /* not yet: it waits, and knows no more then */
    assert_int_equal(future->watch.changes.count, 0);
    assert_int_equal(ahead->status, 0); /* another range may well be there already */
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Those who wait hear of it when somebody else leads. */
static void test_leader_changes(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = start_cluster();
    uint64_t version = version_of_now(leader);
    struct rig_answer *waiting = rig_watch(&rig, leader, "", "", version, 20000);
    struct request transfer = {.kind = REQUEST_TRANSFER_LEADER};
    rig_ask(&rig, leader, &transfer);
    for (int i = 0; i < 100 && rig_leader(&rig) == leader; i++)
        rig_run(&rig, 50 * RIG_MS);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(waiting->count, 1);
    assert_int_equal(waiting->status, ERR_NOT_LEADER);
    size_t next = rig_leader(&rig);
    rig_put(&rig, next, "a", "1", 0);
    rig_run(&rig, 300 * RIG_MS);
    struct rig_answer *on = rig_watch(&rig, next, "", "", version, 5000);
    rig_run(&rig, 300 * RIG_MS);
    assert_string_equal(on->value, "a=1 "); /* nothing is known there: from its engine */
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void test_split(void **state)
{
    (void)state;
    rig_open(&rig, 1);
    size_t leader = start_cluster();
    uint64_t version = version_of_now(leader);
    struct rig_answer *waiting = rig_watch(&rig, leader, "y", "z", version, 20000);
    rig_put(&rig, leader, "x", "0", 0);
    rig_run(&rig, 200 * RIG_MS);
    rig_split(&rig, leader, "m", STORE_FIRST_RANGE_ID, NEW_RANGE);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(waiting->count, 1);
    assert_int_equal(waiting->status, ERR_RANGE_CHANGED); /* what it waits for is elsewhere */
    rig_put(&rig, leader, "a", "1", 0);
    rig_put(&rig, leader, "y", "2", 0);
    rig_run(&rig, 500 * RIG_MS);
    struct rig_answer *left = rig_watch(&rig, leader, "", "", version, 5000);
    struct rig_answer *right = rig_watch(&rig, leader, "m", "", version, 5000);
    struct rig_answer *idle = rig_watch(&rig, leader, "", "", version_of_now(leader), 5000);
    rig_run(&rig, 500 * RIG_MS);
    assert_string_equal(left->value, "a=1 ");
    assert_true(left->watch.has_more && left->watch.is_range_end);
    assert_string_equal(left->why, "m");
    assert_string_equal(right->value, "x=0 y=2 ");
    assert_int_equal(right->watch.range_id, NEW_RANGE);
    assert_false(right->watch.has_more);
    assert_int_equal(idle->count, 1); /* it does not wait for a part of what was asked */
    assert_true(idle->watch.is_range_end && idle->watch.changes.count == 0);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* An idle range with a watcher moves its time on; without one it does not. */
static void test_time_moves_for_watchers(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    rig.options.retention_ms = 4000;
    size_t leader = start_cluster();
    uint64_t version = version_of_now(leader);
    rig_run(&rig, 20000 * RIG_MS);
    assert_true(range_meta(store_range(rig.stores[leader]))->last_version == version);
    version = version_of_now(leader); /* a watch does not begin in the past */
    uint64_t wall_ms = env_wall_ms(sim_node_env(rig.nodes[leader]));
    assert_true((version >> RANGE_VERSION_COUNTER_BITS) + 1500 > wall_ms);
    for (int i = 0; i < 20; i++) { /* a watcher that is there all the time is never cut */
        struct rig_answer *idle = rig_watch(&rig, leader, "", "", version, 1000);
        rig_run(&rig, 1500 * RIG_MS);
        assert_int_equal(idle->status, 0);
        assert_true(idle->watch.version >= version);
        version = idle->watch.version;
    }
    uint64_t time_ms = range_meta(store_range(rig.stores[leader]))->time_ms;
    assert_true(version >> RANGE_VERSION_COUNTER_BITS >= time_ms);
    /* … and one who stays away for longer than the retention is told so */
    rig_run(&rig, 90000 * RIG_MS);
    rig_put(&rig, leader, "a", "1", 0);
    rig_run(&rig, 500 * RIG_MS);
    struct rig_answer *gone = rig_watch(&rig, leader, "", "", version, 1000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(gone->status, ERR_VERSION_GONE);
    assert_true(gone->watch.version > version);
    struct rig_answer *on = rig_watch(&rig, leader, "", "", gone->watch.version, 1000);
    rig_run(&rig, 500 * RIG_MS);
    assert_string_equal(on->value, "a=1 ");
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void retain(size_t leader, uint64_t ms)
{
    const struct range_descriptor *d = range_descriptor(store_range(rig.stores[leader]));
    struct request request = {
        .kind = REQUEST_RETAIN,
        .range_id = STORE_FIRST_RANGE_ID,
        .span_epoch = d->epoch.span,
        .retain = {.conf_epoch = d->epoch.conf, .retention_ms = ms},
    };
    const struct rig_answer *answer = rig_ask(&rig, leader, &request);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, 0);
}

/* A shorter retention cuts who is behind it, at once and by name; who has all there is goes on,
 * waiting or between two requests. */
static void test_retention_is_shortened(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = start_cluster();
    uint64_t old = version_of_now(leader);
    rig_put(&rig, leader, "a", "1", 0);
    rig_run(&rig, 30000 * RIG_MS);
    struct rig_answer *kept = rig_watch(&rig, leader, "", "", old, 1000);
    rig_run(&rig, 500 * RIG_MS);
    assert_string_equal(kept->value, "a=1 ");
    uint64_t now = kept->watch.version;
    struct rig_answer *waiting = rig_watch(&rig, leader, "", "", now, 20000);
    rig_run(&rig, 500 * RIG_MS);

    retain(leader, 2000);
    assert_int_equal(waiting->count, 0);
    struct rig_answer *between = rig_watch(&rig, leader, "", "", now, 20000);
    rig_put(&rig, leader, "b", "2", 0);
    rig_run(&rig, 500 * RIG_MS);
    assert_string_equal(waiting->value, "b=2 ");
    assert_string_equal(between->value, "b=2 ");

    rig_crash(&rig, leader, SIM_CRASH_KILL); /* its feed is gone: the engine is asked */
    for (int i = 0; i < 200 && rig_leader(&rig) >= rig.count; i++)
        rig_run(&rig, 50 * RIG_MS);
    size_t next = rig_leader(&rig);
    struct rig_answer *gone = rig_watch(&rig, next, "", "", old, 1000);
    struct request_read at_old = {.consistency = READ_AT, .at_version = kept->watch.version};
    struct rig_answer *read = rig_read(&rig, next, "a", &at_old, 1000);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(gone->status, ERR_VERSION_GONE);
    assert_true(gone->watch.version > old);
    assert_int_equal(read->status, ERR_VERSION_GONE);

    retain(next, 600000); /* it comes too late for what is gone */
    gone = rig_watch(&rig, next, "", "", old, 1000);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(gone->status, ERR_VERSION_GONE);
    struct rig_answer *on = rig_watch(&rig, next, "", "", gone->watch.version, 1000);
    rig_run(&rig, 1500 * RIG_MS);
    assert_int_equal(on->status, 0);
    rig_close(&rig);
}

/* More than may wait on one connection are refused, and room comes back. */
static void test_bounds(void **state)
{
    (void)state;
    rig_open(&rig, 1);
    size_t leader = start_cluster();
    uint64_t version = version_of_now(leader);
    struct rig_answer *last = NULL;
    for (int i = 0; i < STORE_CLIENT_WATCHES_MAX; i++)
        last = rig_watch(&rig, leader, "k", "l", version, 3000);
    struct rig_answer *beyond = rig_watch(&rig, leader, "k", "l", version, 3000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(beyond->status, ERR_BUSY);
    assert_true(beyond->retry_after_ms > 0);
    assert_int_equal(last->count, 0);
    rig_put(&rig, leader, "k", "1", 0);
    rig_run(&rig, 500 * RIG_MS);
    assert_string_equal(last->value, "k=1 ");
    struct rig_answer *again = rig_watch(&rig, leader, "k", "l", version, 3000);
    rig_run(&rig, 500 * RIG_MS);
    assert_string_equal(again->value, "k=1 ");
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* However many watches wait on a connection, other requests of it are read and answered, and so
 * are those watches. */
static void test_others_of_a_watcher(void **state)
{
    enum { REQUESTS_MAX = 4, WATCHES = 50, OTHERS = 20 };
    struct rig_answer *others[OTHERS], *last = NULL;
    (void)state;
    rig_open(&rig, 1);
    rig.options.requests_max = REQUESTS_MAX;
    size_t leader = start_cluster();
    uint64_t version = version_of_now(leader);
    for (int i = 0; i < WATCHES; i++)
        last = rig_watch(&rig, leader, "k", "l", version, 30000);
    for (int i = 0; i < OTHERS; i++)
        others[i] = i % 2 == 0 ? rig_put(&rig, leader, "a", "1", 2000)
                               : rig_get(&rig, leader, "first", 2000);
    rig_run(&rig, 1000 * RIG_MS);
    for (int i = 0; i < OTHERS; i++) {
        assert_int_equal(others[i]->count, 1);
        assert_int_equal(others[i]->status, 0);
    }
    assert_int_equal(last->count, 0);
    rig_put(&rig, leader, "k", "1", 0);
    rig_run(&rig, 500 * RIG_MS);
    assert_string_equal(last->value, "k=1 ");
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Who is gone waits no longer; a store that stops, or loses its range, tells those who wait. */
static void test_ends(void **state)
{
    (void)state;
    rig_open(&rig, 1);
    size_t leader = start_cluster();
    uint64_t version = version_of_now(leader);
    for (int i = 0; i < STORE_CLIENT_WATCHES_MAX; i++)
        rig_watch(&rig, leader, "k", "l", version, 60000);
    rig_run(&rig, 100 * RIG_MS);
    env_conn_close(rig.conns[0].conn);
    rig.conns[0].conn = NULL;
    rig_run(&rig, 500 * RIG_MS);
    rig_reconnect(&rig, 0);
    rig_run(&rig, 500 * RIG_MS);
    uint64_t gone = rig.asked;
    struct rig_answer *waiting = rig_watch(&rig, leader, "k", "l", version, 60000);
    rig_run(&rig, 100 * RIG_MS);
    store_check(rig.stores[0]);
    rig_drain(&rig, 0, 1000);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(rig.drained, 1);
    assert_int_equal(waiting->count, 1);
    assert_int_equal(waiting->status, ERR_NOT_LEADER);
    assert_int_equal(rig.answers[gone].count, 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_for_a_change),
        cmocka_unit_test(test_wait_ends),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_leader_changes),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_time_moves_for_watchers),
        cmocka_unit_test(test_retention_is_shortened),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_others_of_a_watcher),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
