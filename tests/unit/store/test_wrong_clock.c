/* SPDX-License-Identifier: Apache-2.0
 *
 * Three stores in a simulated world, one of whose wall clocks is wrong.
 */
#include <stdio.h>
#include <stdlib.h>

#include "consensus/consensus.h"
#include "env/sim/sim.h"
#include "range/range.h"
#include "store/store_internal.h"
#include "support/check.h"

enum { STORES = 3 };
#define SECOND_US UINT64_C(1000000)
#define HOUR_MS INT64_C(3600000)
#define YEAR_MS (365 * 24 * HOUR_MS)

struct world {
    struct sim *sim;
    struct sim_node *nodes[STORES];
    struct store *stores[STORES];
    struct store_options options[STORES];
    char addresses[STORES][16];
};

static void store_up(struct world *w, size_t i)
{
    struct err err = {0};
    int rv = store_open(&w->stores[i], sim_node_env(w->nodes[i]), &w->options[i], &err);
    if (rv != 0)
        fail_msg("store %zu: %s", i + 1, err.msg);
}

static void store_down(struct world *w, size_t i)
{
    sim_node_crash(w->nodes[i], SIM_CRASH_KILL);
    store_free(w->stores[i]);
    w->stores[i] = NULL;
}

static void fill_options(struct world *w, size_t i)
{
    struct store_options *o = &w->options[i];
    store_options_init(o);
    o->data_dir = "data";
    o->listen = w->addresses[i];
    o->store_id = i + 1;
    o->secret = slice_str("secret");
    o->water = (struct watermark_limits){0};
    o->log.segment_bytes = 1 << 16;
    o->log.budget_bytes = 1 << 18;
    o->log.limit_bytes = 1 << 20;
}

/* What a bootstrap writes into the folder of every store. */
static void bootstrap(struct world *w)
{
    struct identity ids[STORES];
    struct identity_member members[STORES] = {0};
    for (size_t i = 0; i < STORES; i++) {
        struct env *env = sim_node_env(w->nodes[i]);
        assert_int_equal(env_dir_make(env, "data", NULL), 0);
        assert_int_equal(identity_open(env, "data", i + 1, &ids[i], NULL), 0);
        members[i].replica_id = members[i].store_id = i + 1;
        memcpy(members[i].uuid, ids[i].uuid, sizeof members[i].uuid);
        snprintf(members[i].address, sizeof members[i].address, "%s", w->addresses[i]);
    }
    for (size_t i = 0; i < STORES; i++) {
        struct env *env = sim_node_env(w->nodes[i]);
        assert_int_equal(identity_bootstrap(env, "data", &ids[i], 7, members, STORES, NULL), 0);
    }
}

static void run(struct world *w, uint64_t seconds)
{
    sim_run_until(w->sim, sim_now_us(w->sim) + seconds * SECOND_US);
}

/* Which of them leads; STORES if none does. */
static size_t leader_of(const struct world *w)
{
    for (size_t i = 0; i < STORES; i++) {
        struct cons_status s;
        if (w->stores[i] != NULL && store_cons_status(w->stores[i], STORE_FIRST_RANGE_ID, &s) &&
            s.state == CONS_LEADER)
            return i;
    }
    return STORES;
}

static uint64_t term_at(const struct world *w, size_t i)
{
    struct cons_status s = {0};
    store_cons_status(w->stores[i], STORE_FIRST_RANGE_ID, &s);
    return s.term;
}

static int setup(void **state)
{
    struct sim_options calm;
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    sim_options_init(&calm);
    w->sim = sim_new(&calm, 3);
    for (size_t i = 0; i < STORES; i++) {
        char host[8];
        snprintf(host, sizeof host, "n%zu", i + 1);
        snprintf(w->addresses[i], sizeof w->addresses[i], "%s:7000", host);
        w->nodes[i] = sim_node_new(w->sim, host);
    }
    for (size_t i = 0; i < STORES; i++)
        fill_options(w, i);
    bootstrap(w);
    for (size_t i = 0; i < STORES; i++)
        store_up(w, i);
    run(w, 10);
    assert_true(leader_of(w) < STORES);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < STORES; i++)
        store_down(w, i);
    sim_free(w->sim);
    free(w);
    return 0;
}

static void test_start_years_off(void **state)
{
    static const struct {
        int64_t skew_ms;
        const char *want;
    } rows[] = {
        {YEAR_MS, " s ahead of those of a majority of the stores: set it"},
        {-YEAR_MS, " s behind those of a majority of the stores: set it"},
        {25 * HOUR_MS, " s ahead of those of a majority of the stores: set it"},
    };
    struct world *w = *state;
    size_t lost = (leader_of(w) + 1) % STORES;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        store_down(w, lost);
        sim_node_restart(w->nodes[lost]);
        sim_node_set_wall_skew(w->nodes[lost], rows[i].skew_ms);
        store_up(w, lost);
        run(w, 5);
        assert_true(sim_node_is_dead(w->nodes[lost]));
        const char *message = sim_node_fatal_message(w->nodes[lost]);
        if (strstr(message, rows[i].want) == NULL)
            fail_msg("'%s' instead of '… %s'", message, rows[i].want);
        assert_true(leader_of(w) != lost && leader_of(w) < STORES);
    }
    store_down(w, lost);
    sim_node_restart(w->nodes[lost]);
    sim_node_set_wall_skew(w->nodes[lost], 0);
    store_up(w, lost);
    run(w, 5);
    assert_false(sim_node_is_dead(w->nodes[lost]));
    assert_int_equal(store_state(w->stores[lost]), STORE_RUNNING);
}

/* A leader hands over, does not come back, even alone with one other, and may lead again
 * when its clock is right. A clock set while it runs ends nobody, however far. */
static void test_leader_goes_wrong(void **state)
{
    static const int64_t skews[] = {HOUR_MS, -HOUR_MS, 20 * YEAR_MS, 11 * 1000};
    struct world *w = *state;
    for (size_t i = 0; i < ARRAY_LEN(skews); i++) {
        size_t wrong = leader_of(w);
        sim_node_set_wall_skew(w->nodes[wrong], skews[i]);
        run(w, 5);
        size_t next = leader_of(w);
        assert_true(next < STORES && next != wrong);
        assert_false(sim_node_is_dead(w->nodes[wrong]));
        sim_node_set_wall_skew(w->nodes[wrong], 0);
        run(w, 5);
        store_down(w, next); /* the others must do, and the one that was wrong may */
        run(w, 10);
        assert_true(leader_of(w) < STORES);
        sim_node_restart(w->nodes[next]);
        store_up(w, next);
        run(w, 5);
    }
}

static void test_small_skews_lead(void **state)
{
    struct world *w = *state;
    size_t leader = leader_of(w);
    uint64_t term = term_at(w, leader);
    sim_node_set_wall_skew(w->nodes[leader], 8000);
    run(w, 30);
    assert_int_equal(leader_of(w), leader);
    assert_int_equal(term_at(w, leader), term);
}

/* Only the one whose clock is wrong has the last entries: it leads for as long as it
 * takes to hand them over. */
static void test_needed(void **state)
{
    struct world *w = *state;
    size_t leader = leader_of(w);
    size_t behind = (leader + 1) % STORES;
    size_t other = (leader + 2) % STORES;
    store_down(w, behind);
    run(w, 1);
    store_down(w, leader); /* `other` leads next, and writes its barrier … */
    sim_node_restart(w->nodes[behind]);
    sim_net_partition(w->sim, w->nodes[behind], NULL, false);
    sim_node_restart(w->nodes[leader]);
    store_up(w, leader);
    run(w, 10);
    assert_true(leader_of(w) < STORES); /* … on these two */
    store_down(w, leader);
    sim_node_set_wall_skew(w->nodes[other], HOUR_MS);
    run(w, 5); /* it leads no more, for it is alone */
    assert_int_equal(leader_of(w), STORES);
    sim_net_heal(w->sim, NULL, NULL);
    store_up(w, behind);
    run(w, 60);
    assert_int_equal(leader_of(w), behind);
    sim_node_restart(w->nodes[leader]);
    store_up(w, leader);
    run(w, 5);
    uint64_t true_ms = env_wall_ms(sim_node_env(w->nodes[leader]));
    assert_true(range_meta(store_range(w->stores[other]))->time_ms < true_ms + 10000);
}

/* A stamp was asked for by a clock that is found to be wrong: once it is right again, no entry has
 * that time. */
static void test_no_wrong_time_is_kept(void **state)
{
    struct world *w = *state;
    size_t wrong = leader_of(w);
    struct replica *r = replicas_of_range(&w->stores[wrong]->replicas, STORE_FIRST_RANGE_ID);
    assert_true(care_may_move_time(r));
    sim_node_set_wall_skew(w->nodes[wrong], HOUR_MS);
    r->needs_stamp = true;
    r->stamp_ms = env_wall_ms(sim_node_env(w->nodes[wrong]));
    replica_wake(r);
    run(w, 5);
    assert_true(w->stores[wrong]->clock.is_off && !care_may_move_time(r));
    assert_false(r->needs_stamp);
    sim_node_set_wall_skew(w->nodes[wrong], 0);
    run(w, 5);
    size_t next = leader_of(w);
    store_down(w, next); /* perhaps it leads again */
    run(w, 10);
    r = replicas_of_range(&w->stores[wrong]->replicas, STORE_FIRST_RANGE_ID);
    assert_int_equal(r->stamp_ms, 0);
    sim_node_restart(w->nodes[next]);
    store_up(w, next);
    run(w, 5);
    uint64_t true_ms = env_wall_ms(sim_node_env(w->nodes[next]));
    assert_true(range_meta(store_range(w->stores[wrong]))->time_ms < true_ms + 10000);
}

/* A clock that leaps is seen before a step of an operator is stamped by it, also between two looks
 * that come with time: none is begun. */
static void test_seen_before_a_step(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    size_t wrong = leader_of(w);
    struct store *store = w->stores[wrong];
    struct replica *r = replicas_of_range(&store->replicas, STORE_FIRST_RANGE_ID);
    sleep_wake(r, SLEEP_WOKEN_BY_WORK);
    sim_run_until(w->sim, sim_now_us(w->sim) + SECOND_US / 20);
    assert_int_equal(replica_check_admin(r, &err), 0);
    sim_node_set_wall_skew(w->nodes[wrong], HOUR_MS);
    assert_false(store->clock.is_off);
    assert_int_equal(replica_check_admin(r, &err), ERR_NOT_LEADER);
    assert_true(store->clock.is_off);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_start_years_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leader_goes_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_skews_lead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_wrong_time_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seen_before_a_step, setup, teardown),
    };
    return cmocka_run_group_tests_name("wrong_clock", tests, NULL, NULL);
}
