/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranges that sleep: who may, what wakes them, and that they are as they were.
 */
#include <stdio.h>

#include "support/check.h"

#include "consensus/consensus.h"
#include "range/range.h"
#include "store/store_internal.h"
#include "store_rig.h"

enum { AFTER_MS = 300, SETTLE_MS = 3000 };

/* Three stores whose range sleeps soon. */
static size_t open_sleepy(struct rig *rig, uint32_t check_ms)
{
    rig_open(rig, 3);
    rig->options.hibernate_after_ms = AFTER_MS;
    rig->options.hibernate_check_ms = check_ms;
    return rig_start_cluster(rig);
}

static struct store_sleep_stats stats_of(const struct rig *rig, size_t i)
{
    struct store_sleep_stats s;
    store_sleep_stats(rig->stores[i], &s);
    return s;
}

/* Of its consensus, parked or not. */
static struct cons_status status_of(const struct rig *rig, size_t i)
{
    struct cons_status s = {0};
    store_cons_status(rig->stores[i], STORE_FIRST_RANGE_ID, &s);
    return s;
}

static bool leads(const struct rig *rig, size_t i)
{
    return status_of(rig, i).state == CONS_LEADER;
}

static uint32_t asleep(const struct rig *rig)
{
    uint32_t n = 0;
    for (size_t i = 0; i < rig->count; i++)
        n += rig->stores[i] == NULL ? 0 : stats_of(rig, i).asleep;
    return n;
}

static uint32_t parked(const struct rig *rig)
{
    uint32_t n = 0;
    for (size_t i = 0; i < rig->count; i++)
        n += rig->stores[i] == NULL ? 0 : stats_of(rig, i).parked;
    return n;
}

static void run_until_asleep(struct rig *rig, uint32_t count)
{
    for (int i = 0; i < SETTLE_MS / 20 && asleep(rig) < count; i++)
        rig_run(rig, 20 * RIG_MS);
    assert_int_equal(asleep(rig), count);
}

static void assert_put(struct rig *rig, size_t at, const char *key, const char *value)
{
    struct rig_answer *answer = rig_put(rig, at, key, value, 5000);
    for (int i = 0; i < 100 && answer->count == 0; i++)
        rig_run(rig, 50 * RIG_MS);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, 0);
}

static void assert_get(struct rig *rig, size_t at, const char *key, const char *value)
{
    struct rig_answer *answer = rig_get(rig, at, key, 5000);
    for (int i = 0; i < 100 && answer->count == 0; i++)
        rig_run(rig, 50 * RIG_MS);
    assert_int_equal(answer->status, 0);
    assert_string_equal(answer->value, value);
}

/* All sleep, parked, the leader too; work wakes them, and they sleep again. */
static void test_sleeps_and_wakes(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000);
    run_until_asleep(&rig, 3);
    assert_int_equal(parked(&rig), 3);
    uint64_t term = status_of(&rig, leader).term;
    rig_run(&rig, 20000 * RIG_MS);
    assert_int_equal(asleep(&rig), 3); /* nothing stirs them */
    struct rig_answer *put = rig_put(&rig, leader, "a", "1", 5000);
    rig_run(&rig, 10 * RIG_MS);
    assert_int_equal(put->count, 1); /* at once */
    assert_int_equal(put->status, 0);
    run_until_asleep(&rig, 3);
    assert_get(&rig, leader, "a", "1");
    run_until_asleep(&rig, 3);
    assert_true(status_of(&rig, leader).term == term);
    for (size_t i = 0; i < 3; i++) {
        assert_true(stats_of(&rig, i).woken_by_silence + stats_of(&rig, i).woken_by_boot == 0);
        store_check(rig.stores[i]);
    }
    rig_close(&rig);
}

/* A follower asleep still says who leads. */
static void test_hint_of_a_sleeper(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000);
    run_until_asleep(&rig, 3);
    size_t other = (leader + 1) % 3;
    struct rig_answer *get = rig_get(&rig, other, "a", 1000);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(get->status, ERR_NOT_LEADER);
    assert_true(get->leader_store == leader + 1);
    assert_int_equal(asleep(&rig), 3);
    rig_close(&rig);
}

/* The leader's store dies while all sleep: the others elect another within a few time-outs,
 * and serve. */
static void test_leader_dies(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000);
    assert_put(&rig, leader, "a", "1");
    run_until_asleep(&rig, 3);
    rig_crash(&rig, leader, SIM_CRASH_POWER);
    rig_run(&rig, 4 * rig.options.election_timeout_ms * RIG_MS);
    size_t next = rig_leader(&rig);
    assert_true(next < 3 && next != leader);
    assert_get(&rig, next, "a", "1");
    rig_run(&rig, 5000 * RIG_MS);
    assert_int_equal(asleep(&rig), 0); /* not while a member is away */
    assert_int_equal(rig_start(&rig, leader, NULL), 0);
    run_until_asleep(&rig, 3);
    rig_close(&rig);
}

/* It is back before anybody missed it: its boot number is another. */
static void test_leader_restarts(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000);
    run_until_asleep(&rig, 3);
    uint64_t term = status_of(&rig, leader).term;
    rig_crash(&rig, leader, SIM_CRASH_KILL);
    assert_int_equal(rig_start(&rig, leader, NULL), 0);
    uint64_t by_silence = 0;
    bool is_woken = false;
    for (uint32_t i = 0; i < 4 * rig.options.election_timeout_ms; i++) {
        rig_run(&rig, RIG_MS);
        is_woken = is_woken || asleep(&rig) == 0; /* by its boot number, or for a vote */
    }
    for (size_t i = 0; i < 3; i++)
        by_silence += stats_of(&rig, i).woken_by_silence;
    assert_true(is_woken);
    assert_int_equal(by_silence, 0);
    size_t next = (leader + 1) % 3;
    assert_put(&rig, next, "a", "1");
    next = rig_leader(&rig);
    assert_true(next < 3);
    assert_true(status_of(&rig, next).term > term);
    assert_put(&rig, next, "a", "2");
    run_until_asleep(&rig, 3);
    rig_close(&rig);
}

/* A follower's store dies: its leader wakes, so that placement hears of it; nothing else
 * changes, and it is told what it has missed when it is back. */
static void test_follower_dies(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000);
    run_until_asleep(&rig, 3);
    uint64_t term = status_of(&rig, leader).term;
    size_t other = (leader + 1) % 3;
    rig_crash(&rig, other, SIM_CRASH_POWER);
    rig_run(&rig, 3000 * RIG_MS);
    assert_false(consensus_is_asleep(store_consensus(rig.stores[leader])));
    assert_put(&rig, leader, "a", "3");
    assert_int_equal(rig_start(&rig, other, NULL), 0);
    run_until_asleep(&rig, 3);
    assert_true(status_of(&rig, leader).term == term);
    assert_true(range_meta(store_range(rig.stores[other]))->applied_index ==
                range_meta(store_range(rig.stores[leader]))->applied_index);
    rig_close(&rig);
}

/* Who sleeps through a partition of all finds its way out of it. */
static void test_partition(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000);
    assert_put(&rig, leader, "a", "1");
    run_until_asleep(&rig, 3);
    sim_net_partition(rig.sim, rig.nodes[leader], rig.nodes[(leader + 1) % 3], false);
    sim_net_partition(rig.sim, rig.nodes[leader], rig.nodes[(leader + 2) % 3], false);
    rig_run(&rig, 5000 * RIG_MS);
    size_t next = (leader + 1) % 3;
    if (!leads(&rig, next))
        next = (leader + 2) % 3;
    assert_put(&rig, next, "a", "2");
    struct rig_answer *get = rig_get(&rig, leader, "a", 1000);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_not_equal(get->status, 0); /* the old one serves nothing */
    sim_net_heal(rig.sim, NULL, NULL);
    for (int i = 0; i < 100 && asleep(&rig) < 3; i++)
        rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(asleep(&rig), 3);
    assert_get(&rig, next, "a", "2");
    rig_close(&rig);
}

/* Switched off, nobody sleeps; a watched range does not either. */
static void test_stays_awake(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 3);
    rig.options.hibernate_after_ms = 0;
    rig_start_cluster(&rig);
    rig_run(&rig, 10000 * RIG_MS);
    assert_int_equal(asleep(&rig), 0);
    rig_close(&rig);
    size_t leader = open_sleepy(&rig, 300000);
    rig_watch(&rig, leader, "", "", 0, 20000);
    rig_run(&rig, 10000 * RIG_MS);
    assert_int_equal(asleep(&rig), 0);
    rig_close(&rig);
}

/* Looked at now and then: everybody is still what he was, and sleeps on. */
static void test_looked_at(void **state)
{
    (void)state;
    struct rig rig;
    open_sleepy(&rig, 1000);
    run_until_asleep(&rig, 3);
    rig_run(&rig, 30000 * RIG_MS);
    assert_int_equal(asleep(&rig), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(stats_of(&rig, i).slept, 1);
    rig_close(&rig);
}

/* Stopped in good order, the leader hands over though it slept. */
static void test_drained(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000);
    run_until_asleep(&rig, 3);
    rig_drain(&rig, leader, 5000);
    rig_run(&rig, 300 * RIG_MS);
    assert_int_equal(rig.drained, 1);
    size_t next = (leader + 1) % 3;
    assert_true(leads(&rig, next) || leads(&rig, (leader + 2) % 3));
    rig_close(&rig);
}

/* Of two that are asked, one agrees, begins another life, and only then agrees the other: what
 * the first has said counts no more. */
static void test_agreed_in_an_earlier_life(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, 3);
    rig.options.hibernate_after_ms = 0;
    rig.options.election_timeout_ms = 6000; /* a leader asks for half of that */
    size_t leader = rig_start_cluster(&rig);
    size_t first = (leader + 1) % 3, last = (leader + 2) % 3;
    rig.stores[leader]->opt.hibernate_after_ms = AFTER_MS;
    rig.stores[first]->opt.hibernate_after_ms = AFTER_MS;
    for (int i = 0; i < 20000 && stats_of(&rig, first).asleep == 0; i++)
        rig_run(&rig, RIG_MS);
    assert_int_equal(stats_of(&rig, first).asleep, 1);
    const struct neighbour *n = pulse_of(rig.stores[leader], first + 1);
    uint64_t boot = n->boot;
    rig_crash(&rig, first, SIM_CRASH_KILL);
    assert_int_equal(rig_start(&rig, first, NULL), 0);
    for (int i = 0; i < 3000 && n->boot == boot; i++)
        rig_run(&rig, RIG_MS);
    assert_true(n->boot > boot);
    rig.stores[last]->opt.hibernate_after_ms = AFTER_MS;
    for (int i = 0; i < 1000; i++) {
        rig_run(&rig, RIG_MS);
        assert_int_equal(stats_of(&rig, leader).asleep, 0);
    }
    rig_close(&rig);
}

/* ---- many --------------------------------------------------------------------------------- */

enum { MANY = 150, MANY_FIRST_ID = 1000 };

static uint64_t nth_range(uint32_t n)
{
    return n == 0 ? (uint64_t)STORE_FIRST_RANGE_ID : MANY_FIRST_ID + n;
}

static const struct replica *replica_at(const struct rig *rig, size_t i, uint32_t n)
{
    return replicas_of_range(&rig->stores[i]->replicas, nth_range(n));
}

/* Cut what is above key `n` off the range before it. */
static void split_off(struct rig *rig, size_t at, uint32_t n)
{
    char key[16];
    snprintf(key, sizeof key, "k%04u", (unsigned)n);
    struct rig_answer *answer = rig_split(rig, at, key, nth_range(n - 1), nth_range(n));
    for (int i = 0; i < 50 && (answer->count == 0 || !replica_is_leader(replica_at(rig, at, n)));
         i++)
        rig_run(rig, 20 * RIG_MS);
    assert_int_equal(answer->status, 0);
}

/* MANY ranges on three stores, all asleep and led by one of them, whose place is returned. */
static size_t open_many(struct rig *rig)
{
    size_t leader = open_sleepy(rig, 300000);
    for (uint32_t n = 1; n < MANY; n++)
        split_off(rig, leader, n);
    run_until_asleep(rig, 3 * MANY);
    return leader;
}

static uint64_t term_of(const struct replica *r)
{
    if (r->cons != NULL)
        return consensus_term(r->cons);
    return r->nap.parked == NULL ? 0 : r->nap.parked->term;
}

/* The sum, over the ranges, of the greatest term that a store is in. */
static uint64_t terms(const struct rig *rig)
{
    uint64_t sum = 0;
    for (uint32_t n = 0; n < MANY; n++) {
        uint64_t most = 0;
        for (size_t i = 0; i < rig->count; i++)
            most = rig->stores[i] == NULL ? most : MAX(most, term_of(replica_at(rig, i, n)));
        sum += most;
    }
    return sum;
}

/* Of how many ranges another store than `except` leads. */
static uint32_t led(const struct rig *rig, size_t except)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < MANY; n++) {
        bool is_led = false;
        for (size_t i = 0; i < rig->count; i++)
            is_led = is_led || (i != except && rig->stores[i] != NULL &&
                                replica_is_leader(replica_at(rig, i, n)));
        count += is_led;
    }
    return count;
}

/* Run until all are led. Meanwhile no store has more elections under way than it may. */
static void run_until_led(struct rig *rig, size_t except)
{
    for (int i = 0; i < 10000 && led(rig, except) < MANY; i++) {
        rig_run(rig, RIG_MS);
        for (size_t k = 0; k < rig->count; k++)
            assert_true(rig->stores[k] == NULL || rig->stores[k]->rousing.going_count <= ROUSE_MAX);
    }
    assert_int_equal(led(rig, except), MANY);
}

static uint64_t woken_by_loss(const struct rig *rig)
{
    uint64_t n = 0;
    for (size_t i = 0; i < rig->count; i++)
        n += stats_of(rig, i).woken_by_silence + stats_of(rig, i).woken_by_boot;
    return n;
}

/* All stand still for longer than any time-out, as a machine does that sleeps: nobody was
 * silent, so nobody wakes, and nobody is elected. */
static void test_all_stand_still(void **state)
{
    (void)state;
    struct rig rig;
    open_many(&rig);
    uint64_t before = terms(&rig);
    for (size_t i = 0; i < rig.count; i++)
        sim_node_pause(rig.nodes[i]);
    rig_run(&rig, 5 * rig.options.election_timeout_ms * RIG_MS);
    for (size_t i = 0; i < rig.count; i++)
        sim_node_resume(rig.nodes[i]);
    rig_run(&rig, 3000 * RIG_MS);
    assert_true(terms(&rig) == before);
    assert_true(woken_by_loss(&rig) == 0);
    assert_int_equal(asleep(&rig), 3 * MANY);
    rig_close(&rig);
}

/* One stands still: the others elect, once for each range. It has heard nobody meanwhile,
 * which is its own fault: nothing that it follows wakes for it. */
static void test_one_stands_still(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_many(&rig);
    size_t other = (leader + 1) % 3;
    uint64_t before = terms(&rig);
    sim_node_pause(rig.nodes[other]);
    rig_run(&rig, 5 * rig.options.election_timeout_ms * RIG_MS);
    sim_node_resume(rig.nodes[other]);
    rig_run(&rig, 8000 * RIG_MS);
    assert_true(terms(&rig) == before); /* who leads is not in doubt */
    assert_true(stats_of(&rig, other).woken_by_silence == 0);
    sim_node_pause(rig.nodes[leader]);
    run_until_led(&rig, leader);
    sim_node_resume(rig.nodes[leader]);
    rig_run(&rig, 8000 * RIG_MS);
    assert_true(terms(&rig) >= before + MANY);
    assert_true(terms(&rig) <= before + MANY + MANY / 10);
    run_until_asleep(&rig, 3 * MANY);
    rig_close(&rig);
}

/* All stand still while a follower flushes, and the first that it does then is to compact its
 * log: what others have said meanwhile has still to be read, and nobody stands for election. */
static void test_compacts_after_standing_still(void **state)
{
    (void)state;
    struct rig rig;
    uint32_t compacted = 0;
    rig_open(&rig, 3);
    rig.options.hibernate_after_ms = 0;
    rig.options.log_kept_bytes = 1; /* so that there is something to cut */
    size_t other = (rig_start_cluster(&rig) + 1) % 3;
    for (uint64_t after_us = 100; after_us < 4000; after_us += 300) {
        assert_put(&rig, rig_leader(&rig), "k", "v");
        rig_run(&rig, 200 * RIG_MS);
        rig_simple(&rig, other, REQUEST_FLUSH);
        rig_run(&rig, after_us);
        uint64_t before = status_of(&rig, other).snapshot_index;
        for (size_t i = 0; i < rig.count; i++)
            sim_node_pause(rig.nodes[i]);
        rig_run(&rig, 5 * rig.options.election_timeout_ms * RIG_MS);
        for (size_t i = 0; i < rig.count; i++)
            sim_node_resume(rig.nodes[i]);
        rig_run(&rig, 0);
        compacted += status_of(&rig, other).snapshot_index > before;
        for (int i = 0; i < 300; i++) {
            assert_int_equal(status_of(&rig, other).state, CONS_FOLLOWER);
            rig_run(&rig, RIG_MS);
        }
    }
    assert_true(compacted > 0);
    rig_close(&rig);
}

/* The store that led all of them dies for good: as many elections as there are ranges, shared
 * by the two that live, a few at a time. */
static void test_death_of_who_led_all(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_many(&rig);
    uint64_t before = terms(&rig);
    rig_crash(&rig, leader, SIM_CRASH_POWER);
    run_until_led(&rig, leader);
    rig_run(&rig, 3000 * RIG_MS);
    assert_true(terms(&rig) >= before + MANY);
    assert_true(terms(&rig) <= before + MANY + MANY / 10);
    for (size_t i = 0; i < rig.count; i++) {
        uint32_t own = 0;
        for (uint32_t n = 0; n < MANY && rig.stores[i] != NULL; n++)
            own += replica_is_leader(replica_at(&rig, i, n));
        assert_true(i == leader || own >= MANY / 3);
    }
    assert_int_equal(rig_start(&rig, leader, NULL), 0);
    run_until_asleep(&rig, 3 * MANY);
    assert_true(terms(&rig) <= before + MANY + MANY / 10);
    rig_close(&rig);
}

/* A follower's store is away, so that nobody may sleep: who leads says so seldom, and at once
 * when there is something else to say. */
static void test_calm_without_a_member(void **state)
{
    enum { SECONDS = 5 };
    (void)state;
    struct rig rig;
    size_t leader = open_many(&rig);
    size_t away = (leader + 1) % 3;
    uint64_t before = terms(&rig);
    rig_crash(&rig, away, SIM_CRASH_KILL);
    rig_run(&rig, 8000 * RIG_MS);
    assert_int_equal(asleep(&rig), 0);
    uint64_t items = rig.stores[leader]->pulses.items;
    rig_run(&rig, SECONDS * 1000 * RIG_MS);
    items = rig.stores[leader]->pulses.items - items;
    uint64_t each_s = 3 * 1000 / rig.options.election_timeout_ms;
    assert_in_range(items, (uint64_t)MANY * SECONDS * (each_s - 1),
                    (uint64_t)MANY * SECONDS * (each_s + 1));
    struct rig_answer *put = rig_put(&rig, leader, "a", "1", 1000);
    rig_run(&rig, 20 * RIG_MS);
    assert_int_equal(put->count, 1);
    assert_int_equal(put->status, 0);
    assert_true(terms(&rig) == before);
    assert_int_equal(rig_start(&rig, away, NULL), 0);
    run_until_asleep(&rig, 3 * MANY);
    assert_true(terms(&rig) == before);
    rig_close(&rig);
}

/* All start together: dormant until it is their turn, but whoever is asked for serves soon. */
static void test_start_of_all(void **state)
{
    (void)state;
    struct rig rig;
    open_many(&rig);
    uint64_t before = terms(&rig);
    for (size_t i = 0; i < rig.count; i++)
        rig_crash(&rig, i, SIM_CRASH_KILL);
    for (size_t i = 0; i < rig.count; i++)
        assert_int_equal(rig_start(&rig, i, NULL), 0);
    rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(parked(&rig), 3 * MANY);
    run_until_led(&rig, rig.count);
    rig_run(&rig, 1000 * RIG_MS);
    assert_true(terms(&rig) >= before + MANY);
    assert_true(terms(&rig) <= before + MANY + MANY / 10);
    run_until_asleep(&rig, 3 * MANY);
    for (size_t i = 0; i < rig.count; i++) {
        assert_true(stats_of(&rig, i).woken_by_start > 0);
        store_check(rig.stores[i]);
    }
    rig_close(&rig);
}

/* Take the member on that store out of range `n`; what came of it. */
static int try_to_remove(struct rig *rig, size_t at, uint32_t n, size_t gone)
{
    const struct range_descriptor *d =
        range_descriptor(store_range_of(rig->stores[at], nth_range(n)));
    struct request request = {.kind = REQUEST_CHANGE_MEMBER,
                              .range_id = nth_range(n),
                              .change_member = {.action = MEMBER_REMOVE}};
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (d->replicas[i].store_id == gone + 1)
            request.change_member.replica_id = d->replicas[i].replica_id;
    }
    struct rig_answer *answer = rig_ask(rig, at, &request);
    for (int i = 0; i < 100 && answer->count == 0; i++)
        rig_run(rig, 20 * RIG_MS);
    return answer->status;
}

static void remove_member(struct rig *rig, size_t at, uint32_t n, size_t gone)
{
    int rv = try_to_remove(rig, at, n, gone);
    if (rv == ERR_BUSY) { /* it slept */
        rig_run(rig, 2 * rig->options.heartbeat_ms * RIG_MS);
        rv = try_to_remove(rig, at, n, gone);
    }
    assert_int_equal(rv, 0);
}

/* What the leader knew when it fell asleep is not enough for a change, and it does not fall asleep
 * again before it is asked for it again, as late as placement does. */
static void test_change_asleep(void **state)
{
    enum { AGAIN_MS = 2000 + 1000 };
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000);
    run_until_asleep(&rig, 3);
    size_t gone = (leader + 1) % 3;
    assert_int_equal(try_to_remove(&rig, leader, 0, gone), ERR_BUSY);
    rig_run(&rig, AGAIN_MS * RIG_MS);
    assert_int_equal(asleep(&rig), 0);
    assert_int_equal(try_to_remove(&rig, leader, 0, gone), 0);
    rig_run(&rig, SLEEP_PUT_OFF_MS * RIG_MS);
    assert_int_equal(asleep(&rig), 2);
    rig_close(&rig);
}

/* … and those that died meanwhile are not counted on: with one of them back the group goes on. */
static void test_change_asleep_of_the_dead(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000);
    assert_put(&rig, leader, "a", "1");
    run_until_asleep(&rig, 3);
    size_t one = (leader + 1) % 3;
    rig_crash(&rig, one, SIM_CRASH_POWER);
    rig_crash(&rig, (leader + 2) % 3, SIM_CRASH_POWER);
    assert_int_equal(try_to_remove(&rig, leader, 0, one), ERR_BUSY);
    rig_run(&rig, SETTLE_MS * RIG_MS);
    assert_int_equal(rig_start(&rig, one, NULL), 0);
    for (int i = 0; i < SETTLE_MS / 20 && rig_leader(&rig) == rig.count; i++)
        rig_run(&rig, 20 * RIG_MS);
    assert_put(&rig, rig_leader(&rig), "a", "2");
    rig_close(&rig);
}

static struct rig_answer *merge(struct rig *rig, size_t at, uint32_t left, uint32_t right)
{
    struct range_epoch l =
        range_descriptor(store_range_of(rig->stores[at], nth_range(left)))->epoch;
    struct range_epoch r =
        range_descriptor(store_range_of(rig->stores[at], nth_range(right)))->epoch;
    struct request request = {
        .kind = REQUEST_MERGE,
        .range_id = nth_range(left),
        .span_epoch = l.span,
        .merge = {.conf_epoch = l.conf,
                  .right_range = nth_range(right),
                  .right_conf = r.conf,
                  .right_span = r.span},
    };
    return rig_ask(rig, at, &request);
}

/* A merge is given up as a member of the right one is away: both sleep when it is back. */
static void test_after_a_merge_given_up(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000);
    split_off(&rig, leader, 1);
    size_t away = (leader + 1) % 3;
    rig_crash(&rig, away, SIM_CRASH_KILL);
    struct rig_answer *answer = merge(&rig, leader, 0, 1);
    rig_run(&rig, 500 * RIG_MS);
    struct replica *right = replicas_of_range(&rig.stores[leader]->replicas, nth_range(1));
    assert_true(range_meta(right->range)->merges.frozen.attempt != 0);
    rig_run(&rig, 4000 * RIG_MS);
    assert_int_equal(answer->status, ERR_TIMEOUT);
    assert_int_equal(range_meta(right->range)->merges.frozen.attempt, 0);
    assert_int_equal(rig_start(&rig, away, NULL), 0);
    rig_run(&rig, SETTLE_MS * RIG_MS);
    assert_true(replica_leads(right)); /* as before: nothing was forgotten with a term */
    run_until_asleep(&rig, 3 * 2);
    rig_close(&rig);
}

/* Of most ranges too few members start: they wait, and are in nobody's way. Of the others some
 * have their first on a store that does not start, and go all the same. */
static void test_start_of_a_part(void **state)
{
    enum { ALL = 24, STUCK = 12 };
    (void)state;
    struct rig rig;
    rig_open(&rig, 5);
    rig.options.hibernate_after_ms = AFTER_MS;
    size_t leader = rig_start_cluster(&rig);
    for (uint32_t n = 1; n < ALL; n++)
        split_off(&rig, leader, n);
    for (uint32_t n = STUCK; n < ALL; n++) {
        remove_member(&rig, leader, n, (leader + 3) % 5);
        remove_member(&rig, leader, n, (leader + 4) % 5);
        char key[16];
        snprintf(key, sizeof key, "k%04u", (unsigned)n);
        assert_put(&rig, leader, key, "1");
        assert_put(&rig, leader, key, "2"); /* its log says that the changes are committed */
    }
    rig_run(&rig, SETTLE_MS * RIG_MS);
    for (size_t i = 0; i < rig.count; i++)
        rig_crash(&rig, i, SIM_CRASH_KILL);
    for (size_t i = 1; i <= 2; i++)
        assert_int_equal(rig_start(&rig, (leader + i) % 5, NULL), 0);
    rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(parked(&rig), 2 * ALL);
    rig_run(&rig, 8 * ROUSE_TIMEOUTS * rig.options.election_timeout_ms * RIG_MS);
    for (uint32_t n = 0; n < ALL; n++) {
        uint32_t leaders = 0;
        for (size_t i = 1; i <= 2; i++)
            leaders += replica_is_leader(replica_at(&rig, (leader + i) % 5, n));
        assert_int_equal(leaders, n >= STUCK);
    }
    for (size_t i = 1; i <= 2; i++) {
        const struct rousing *line = &rig.stores[(leader + i) % 5]->rousing;
        assert_int_equal(line->count, STUCK);
        assert_false(list_is_empty(&line->first));
    }
    rig_close(&rig);
}

/* Who is in line since a store is silent sleeps on when that store is heard again, unless it
 * has begun another life meanwhile, in which it leads nothing. */
static void test_only_late(void **state)
{
    (void)state;
    struct rig rig;
    struct store *store;
    size_t leader = open_sleepy(&rig, 300000);
    assert_put(&rig, leader, "k", "v");
    run_until_asleep(&rig, 3);
    store = rig.stores[(leader + 1) % 3];
    struct replica *r = replicas_of_range(&store->replicas, STORE_FIRST_RANGE_ID);
    rouse_put(r, SLEEP_WOKEN_BY_SILENCE);
    rouse_on_alive(store);
    assert_int_equal(store->rousing.count, 0);
    rouse_put(r, SLEEP_WOKEN_BY_SILENCE);
    rouse_put(r, SLEEP_WOKEN_BY_BOOT);
    rouse_on_alive(store);
    assert_int_equal(store->rousing.count, 1);
    rouse_check(store);
    rig_close(&rig);
}

/* Who follows an older build sends readers to it, for that cannot be asked to confirm, and the
 * older one, which cannot ask, sends them to the newer one that leads. */
static void assert_reads_at_older(struct rig *rig, size_t older)
{
    const struct request_read anywhere = {.any_replica = true};
    size_t leader = rig_leader(rig);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < rig->count; i++) {
            bool is_asked = i != leader && (i == older || leader == older);
            struct rig_answer *read = rig_read(rig, i, "k", &anywhere, 1000);
            rig_run(rig, 200 * RIG_MS);
            assert_int_equal(read->count, 1);
            assert_int_equal(read->status, is_asked ? ERR_NOT_LEADER : 0);
        }
        if (leader == older)
            return;
        struct request transfer = {.kind = REQUEST_TRANSFER_LEADER,
                                   .transfer_leader = {.target_replica = older + 1}};
        struct rig_answer *given = rig_ask(rig, leader, &transfer);
        rig_run(rig, 1000 * RIG_MS);
        assert_int_equal(given->status, 0);
        leader = rig_leader(rig);
        assert_int_equal(leader, older);
    }
}

/* A follower comes back as an older build, which knows no pulses: it is spoken to as before,
 * so connections stand and it follows, and nobody sleeps. As what it was, all sleep. */
static void test_older_store(void **state)
{
    (void)state;
    struct rig rig;
    size_t leader = open_sleepy(&rig, 300000), older = (leader + 1) % 3;
    rig_crash(&rig, older, SIM_CRASH_KILL);
    rig.options.protocol_max = PROTOCOL_PULSE - 1;
    assert_int_equal(rig_start(&rig, older, NULL), 0);
    rig_run(&rig, SETTLE_MS * RIG_MS);
    leader = rig_leader(&rig);
    for (int i = 0; i < SETTLE_MS; i++) {
        for (size_t at = 0; at < 3; at++) {
            if (at == older)
                continue;
            assert_true(net_peer_is_up(net_peer_find(rig.stores[at]->net, older + 1)));
            assert_true(net_peer_is_up(net_peer_find(rig.stores[older]->net, at + 1)));
            assert_false(pulse_is_alive(rig.stores[at], older + 1, 0));
        }
        assert_int_equal(asleep(&rig), 0);
        assert_int_equal(rig_leader(&rig), leader);
        if (i == SETTLE_MS / 2)
            assert_put(&rig, leader, "k", "v");
        rig_run(&rig, RIG_MS);
    }
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(status_of(&rig, older).commit, status_of(&rig, leader).commit);
    assert_reads_at_older(&rig, older);
    rig_crash(&rig, older, SIM_CRASH_KILL);
    rig.options.protocol_max = 0;
    assert_int_equal(rig_start(&rig, older, NULL), 0);
    rig_run(&rig, SETTLE_MS * RIG_MS);
    run_until_asleep(&rig, 3);
    rig_close(&rig);
}

/* All start together, one of them as an older build, and one not at all: who is dormant knows
 * that the older one lives, though it sends no pulses. */
static void test_start_with_older_store(void **state)
{
    (void)state;
    struct rig rig;
    size_t away = (open_sleepy(&rig, 300000) + 1) % 3;
    for (size_t i = 0; i < rig.count; i++)
        rig_crash(&rig, i, SIM_CRASH_KILL);
    assert_int_equal(rig_start(&rig, (away + 1) % 3, NULL), 0);
    rig.options.protocol_max = PROTOCOL_PULSE - 1;
    assert_int_equal(rig_start(&rig, (away + 2) % 3, NULL), 0);
    rig_run(&rig, SETTLE_MS * RIG_MS);
    assert_true(rig_leader(&rig) < rig.count);
    rig_close(&rig);
}

/* Alone, dormant ranges wait for a majority; a client that looks for who leads one of them has
 * it woken, an operator who asks how it is has not. */
static void test_looked_for(void **state)
{
    (void)state;
    struct rig rig;
    open_many(&rig);
    for (size_t i = 0; i < rig.count; i++)
        rig_crash(&rig, i, SIM_CRASH_KILL);
    assert_int_equal(rig_start(&rig, 0, NULL), 0);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(parked(&rig), MANY);
    struct request request = {.kind = REQUEST_STATUS, .range_id = nth_range(MANY / 2)};
    request.status.wants_size = true;
    assert_int_equal(rig_ask(&rig, 0, &request)->status, 0);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(parked(&rig), MANY);
    request.status.wants_size = false;
    assert_int_equal(rig_ask(&rig, 0, &request)->status, 0);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(parked(&rig), MANY - 1);
    assert_non_null(replica_at(&rig, 0, MANY / 2)->cons);
    rig_close(&rig);
}

static void flip_table(void *data, const char *path, uint64_t size)
{
    char *found = data;
    (void)size;
    if (strstr(path, "engine/") != NULL && strstr(path, ".tbl") != NULL)
        snprintf(found, ENV_PATH_MAX, "%s", path);
}

/* A follower serves what may be old without waking. A damaged block that it meets on the way
 * gives it up as if it were awake. */
static void test_damage_asleep(void **state)
{
    (void)state;
    struct rig rig;
    char path[ENV_PATH_MAX] = "";
    struct request_read stale = {.consistency = READ_STALE, .max_age_ms = 600000};
    size_t bad = (open_sleepy(&rig, 300000) + 1) % 3;
    assert_put(&rig, rig_leader(&rig), "k", "v");
    struct rig_answer *read = rig_read(&rig, bad, "k", &stale, 1000);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(read->status, 0); /* and it knows how old its state is */
    rig_simple(&rig, bad, REQUEST_FLUSH);
    rig_run(&rig, 500 * RIG_MS);
    run_until_asleep(&rig, 3);
    sim_disk_each_file(sim_node_disk(rig.nodes[bad]), flip_table, path);
    assert_int_equal(sim_disk_flip_bit(sim_node_disk(rig.nodes[bad]), path, 12 * 8), 0);
    read = rig_read(&rig, bad, "k", &stale, 1000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(read->status, ERR_CORRUPT);
    assert_int_equal(store_state(rig.stores[bad]), STORE_DAMAGED);
    rig_close(&rig);
}

/* The engine finds that what it has of them is damaged, in a call of its own: they sleep until
 * their turn comes. */
static void test_damage_before_its_turn(void **state)
{
    (void)state;
    struct rig rig;
    struct err err = {0};
    size_t bad = open_sleepy(&rig, 300000);
    struct replica *r = replicas_of_range(&rig.stores[bad]->replicas, STORE_FIRST_RANGE_ID);
    run_until_asleep(&rig, 3);
    err_set(&err, ERR_CORRUPT, "a block of a table is damaged");
    replica_damage(r, "engine", &err);
    assert_true(r->nap.is_asleep && r->nap.parked != NULL);
    store_check(rig.stores[bad]);
    rig_run(&rig, RIG_MS);
    assert_false(r->nap.is_asleep);
    store_check(rig.stores[bad]);
    rig_close(&rig);
}

/* A read that may be old and finds what has expired since all fell asleep: the leader, asleep too,
 * has range time moved. It does not send its client to itself. */
static void test_expired_asleep(void **state)
{
    (void)state;
    struct rig rig;
    struct request_read stale = {.consistency = READ_STALE, .max_age_ms = 600000};
    size_t leader = open_sleepy(&rig, 300000);
    struct op op = {
        .kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v"), .ttl_ms = 2 * SETTLE_MS};
    rig_write(&rig, leader, 0, &op, 5000);
    rig_run(&rig, 100 * RIG_MS);
    assert_get(&rig, leader, "k", "v"); /* and it knows how old its state is */
    run_until_asleep(&rig, 3);
    rig_run(&rig, 3 * SETTLE_MS * RIG_MS);
    assert_int_equal(parked(&rig), 3);
    struct rig_answer *read = rig_read(&rig, leader, "k", &stale, 1000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(read->count, 1);
    assert_int_equal(read->status, 0);
    assert_string_equal(read->value, "");
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sleeps_and_wakes),
        cmocka_unit_test(test_hint_of_a_sleeper),
        cmocka_unit_test(test_leader_dies),
        cmocka_unit_test(test_leader_restarts),
        cmocka_unit_test(test_follower_dies),
        cmocka_unit_test(test_partition),
        cmocka_unit_test(test_stays_awake),
        cmocka_unit_test(test_looked_at),
        cmocka_unit_test(test_drained),
        cmocka_unit_test(test_older_store),
        cmocka_unit_test(test_start_with_older_store),
        cmocka_unit_test(test_looked_for),
        cmocka_unit_test(test_after_a_merge_given_up),
        cmocka_unit_test(test_change_asleep),
        cmocka_unit_test(test_change_asleep_of_the_dead),
        cmocka_unit_test(test_damage_asleep),
        cmocka_unit_test(test_damage_before_its_turn),
        cmocka_unit_test(test_expired_asleep),
        cmocka_unit_test(test_agreed_in_an_earlier_life),
        cmocka_unit_test(test_all_stand_still),
        cmocka_unit_test(test_one_stands_still),
        cmocka_unit_test(test_compacts_after_standing_still),
        cmocka_unit_test(test_death_of_who_led_all),
        cmocka_unit_test(test_calm_without_a_member),
        cmocka_unit_test(test_start_of_all),
        cmocka_unit_test(test_start_of_a_part),
        cmocka_unit_test(test_only_late),
    };
    return cmocka_run_group_tests_name("sleep", tests, NULL, NULL);
}
