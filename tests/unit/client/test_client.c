/* SPDX-License-Identifier: Apache-2.0 */
/* The client's core in the simulated world, against stores that misbehave. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "client/client_internal.h"
#include "env/sim/sim.h"
#include "support/fake_store.h"

enum { OPS_MAX = 3000, CLOCK_MS = 5000000 };

struct fixture {
    struct sim *sim;
    struct sim_node *nodes[FAKE_STORES_MAX];
    struct sim_node *client_node;
    struct fake_cluster cluster;
    struct client *client;
    struct probe_op *ops;
    uint32_t op_count;
};

/* An op and what came of it. */
struct probe_op {
    struct client_op op;
    struct buf command;
    int calls;
    int status;
    uint64_t done_us;
    char value[64];
    char text[128];
    struct fixture *fixture;
};

static void start(struct fixture *f, uint32_t stores, const struct client_options *extra)
{
    static const char *const hosts[] = {"s1", "s2", "s3", "s4", "s5"};
    const char *endpoints[FAKE_STORES_MAX];
    *f = (struct fixture){.sim = sim_new(NULL, 42)};
    f->ops = calloc(OPS_MAX, sizeof *f->ops);
    fake_cluster_init(&f->cluster);
    for (uint32_t i = 0; i < stores; i++) {
        char address[32];
        snprintf(address, sizeof address, "%s:7000", hosts[i]);
        f->nodes[i] = sim_node_new(f->sim, hosts[i]);
        endpoints[i] = fake_store_new(&f->cluster, sim_node_env(f->nodes[i]), address)->address;
    }
    f->cluster.leader = f->cluster.stores[0];
    f->client_node = sim_node_new(f->sim, "c");
    struct client_options options = extra != NULL ? *extra : (struct client_options){0};
    if (options.endpoints == NULL) {
        options.endpoints = endpoints;
        options.endpoint_count = stores;
    }
    assert_int_equal(client_new(sim_node_env(f->client_node), &options, &f->client, NULL), 0);
}

static void finish(struct fixture *f)
{
    client_check(f->client);
    env_stop(sim_node_env(f->client_node));
    client_free(f->client);
    for (uint32_t i = 0; i < FAKE_STORES_MAX; i++) {
        if (f->nodes[i] != NULL)
            env_stop(sim_node_env(f->nodes[i]));
    }
    fake_cluster_fini(&f->cluster);
    for (uint32_t i = 0; i < f->op_count; i++)
        buf_fini(&f->ops[i].command);
    free(f->ops);
    sim_free(f->sim);
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    struct probe_op *p = op->data;
    p->calls++;
    p->status = result->status;
    p->done_us = sim_now_us(p->fixture->sim);
    snprintf(p->text, sizeof p->text, "%.*s", (int)result->text.len,
             (const char *)result->text.data);
    const struct response *r = result->response;
    if (r != NULL && r->status == 0 && r->kind == REQUEST_GET) {
        struct row row;
        struct unpack u = unpack_of(r->rows.rows.raw);
        row_next(&u, &row);
        p->status = row.status;
        snprintf(p->value, sizeof p->value, "%.*s", (int)row.value.len,
                 (const char *)row.value.data);
    }
}

static struct probe_op *op_new(struct fixture *f, enum request_kind kind, uint32_t timeout_ms)
{
    assert_true(f->op_count < OPS_MAX);
    struct probe_op *p = &f->ops[f->op_count++];
    p->fixture = f;
    buf_init(&p->command, 32 << 20);
    p->op.data = p;
    p->op.cb = on_done;
    p->op.timeout_ms = timeout_ms;
    p->op.request.kind = kind;
    return p;
}

static struct probe_op *put(struct fixture *f, const char *key, const char *value,
                            uint32_t timeout_ms)
{
    struct probe_op *p = op_new(f, REQUEST_WRITE, timeout_ms);
    struct op op = {.kind = OP_PUT, .key = slice_str(key), .value = slice_str(value)};
    command_encode(&p->command, &(struct command){.op_count = 1, .ops = &op});
    p->op.key = slice_str(key);
    p->op.request.write.command = buf_slice(&p->command);
    assert_int_equal(client_submit(f->client, &p->op), 0);
    assert_int_equal(p->calls, 0); /* never from inside */
    return p;
}

static struct probe_op *get(struct fixture *f, const char *key, uint32_t timeout_ms)
{
    struct probe_op *p = op_new(f, REQUEST_GET, timeout_ms);
    p->op.request.get.key = slice_str(key);
    assert_int_equal(client_submit(f->client, &p->op), 0);
    return p;
}

static bool is_open(void *data)
{
    return ((struct probe_op *)data)->calls == 0;
}

/* Run until the op is over, checking the client after each event. */
static int await(struct fixture *f, struct probe_op *p)
{
    uint64_t limit = sim_now_us(f->sim) + 60 * 1000000;
    while (is_open(p) && sim_now_us(f->sim) < limit && sim_step(f->sim))
        client_check(f->client);
    assert_int_equal(p->calls, 1);
    return p->status;
}

static void run_ms(struct fixture *f, uint64_t ms)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + ms * 1000);
    client_check(f->client);
}

static struct client_stats stats_of(struct fixture *f)
{
    struct client_stats stats;
    client_stats_get(f->client, &stats);
    return stats;
}

static void expect_status(const struct probe_op *p, int want)
{
    if (p->status != want)
        fail_msg("%s (%s), want %s", err_name(p->status), p->text, err_name(want));
}

/* ---- the ways that end well --------------------------------------------------------- */

static void test_put_then_get(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 3, NULL);
    expect_status((await(&f, put(&f, "k", "v", 0)), &f.ops[0]), 0);
    struct probe_op *g = get(&f, "k", 0);
    await(&f, g);
    expect_status(g, 0);
    assert_string_equal(g->value, "v");
    struct probe_op *none = get(&f, "none", 0);
    assert_int_equal(await(&f, none), ERR_NOT_FOUND);
    assert_int_equal(client_cluster_id(f.client), FAKE_CLUSTER_ID);
    assert_int_equal(stats_of(&f).in_flight, 0);
    finish(&f);
}

static void test_leader_is_found_from_any_endpoint(void **state)
{
    (void)state;
    static const char *const one[] = {"s3:7000"};
    struct fixture f;
    start(&f, 3, &(struct client_options){.endpoints = one, .endpoint_count = 1});
    f.cluster.leader = f.cluster.stores[1];
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    assert_int_equal(f.cluster.stores[1]->requests, 1);
    assert_int_equal(f.cluster.stores[2]->requests, 0); /* only asked who leads */
    finish(&f);
}

static void test_change_of_leader_is_followed(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 3, NULL);
    assert_int_equal(await(&f, put(&f, "k", "1", 0)), 0);
    f.cluster.leader = f.cluster.stores[2];
    f.cluster.term++;
    assert_int_equal(await(&f, put(&f, "k", "2", 0)), 0);
    assert_int_equal(stats_of(&f).not_leader, 1);
    /* With nobody who knows, it keeps asking until somebody leads. */
    f.cluster.leader = NULL;
    struct probe_op *p = put(&f, "k", "3", 0);
    run_ms(&f, 1500);
    assert_int_equal(p->calls, 0);
    f.cluster.leader = f.cluster.stores[1];
    f.cluster.term++;
    assert_int_equal(await(&f, p), 0);
    assert_true(p->done_us < 3000000);
    assert_int_equal(f.cluster.applied, 3);
    finish(&f);
}

static void test_pipelining_in_one_write(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1, NULL);
    assert_int_equal(await(&f, put(&f, "warm", "v", 0)), 0);
    uint64_t writes = stats_of(&f).writes;
    for (int i = 0; i < 500; i++)
        put(&f, "k", "v", 0);
    await(&f, &f.ops[500]);
    assert_int_equal(stats_of(&f).writes - writes, 1);
    assert_int_equal(f.cluster.applied, 501);
    finish(&f);
}

/* Many large ones are handed over in pieces, so that none has to grow. */
static void test_large_ones_leave_in_pieces(void **state)
{
    (void)state;
    static char large[50000];
    struct fixture f;
    struct rng rng;
    start(&f, 1, NULL);
    rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof large - 1; i++) /* not to be compressed */
        large[i] = (char)(1 + rng_below(&rng, 255));
    assert_int_equal(await(&f, put(&f, "warm", "v", 0)), 0);
    uint64_t writes = stats_of(&f).writes;
    for (int i = 0; i < 20; i++)
        put(&f, "k", large, 0);
    await(&f, &f.ops[20]);
    assert_in_range(stats_of(&f).writes - writes, 2, 10);
    finish(&f);
}

static void test_refused_for_certain_is_tried_again(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 3, NULL);
    f.cluster.stores[0]->mood = FAKE_NO_MAJORITY;
    f.cluster.stores[0]->moods_left = 3;
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    assert_int_equal(f.cluster.applied, 1);
    finish(&f);
}

static void test_push_back_is_obeyed(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1, NULL);
    assert_int_equal(await(&f, put(&f, "warm", "v", 0)), 0);
    f.cluster.stores[0]->mood = FAKE_BUSY;
    f.cluster.stores[0]->busy_ms = 700;
    f.cluster.stores[0]->moods_left = 1;
    uint64_t before = sim_now_us(f.sim);
    struct probe_op *first = put(&f, "k", "v", 0);
    run_ms(&f, 100);
    struct probe_op *second = put(&f, "k", "w", 0); /* it must wait as well */
    assert_int_equal(await(&f, first), 0);
    await(&f, second);
    assert_true(first->done_us - before >= 700000);
    assert_true(second->done_us - before >= 700000);
    assert_int_equal(stats_of(&f).pushed_back, 1);
    /* A hint beyond the deadline is an answer at once. */
    f.cluster.stores[0]->mood = FAKE_BUSY;
    f.cluster.stores[0]->busy_ms = 60000;
    f.cluster.stores[0]->moods_left = 0;
    before = sim_now_us(f.sim);
    struct probe_op *third = put(&f, "k", "x", 0);
    assert_int_equal(await(&f, third), ERR_BUSY);
    assert_true(third->done_us - before < 100000);
    finish(&f);
}

/* ---- lost on the way ------------------------------------------------------------------ */

static void test_lost_write_is_undetermined(void **state)
{
    (void)state;
    static const enum fake_mood moods[] = {FAKE_RESET, FAKE_DO_RESET};
    for (size_t i = 0; i < ARRAY_LEN(moods); i++) {
        struct fixture f;
        start(&f, 3, NULL);
        assert_int_equal(await(&f, put(&f, "warm", "v", 0)), 0);
        f.cluster.stores[0]->mood = moods[i];
        f.cluster.stores[0]->moods_left = 1;
        struct probe_op *p = put(&f, "k", "v", 0);
        assert_int_equal(await(&f, p), ERR_UNDETERMINED);
        assert_int_equal(f.cluster.applied, 1 + i); /* once at most */
        run_ms(&f, 10000);
        assert_int_equal(f.cluster.applied, 1 + i); /* and never later */
        assert_int_equal(p->calls, 1);
        assert_int_equal(stats_of(&f).undetermined, 1);
        finish(&f);
    }
}

static void test_lost_read_is_read_again(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 3, NULL);
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    f.cluster.stores[0]->mood = FAKE_RESET;
    f.cluster.stores[0]->moods_left = 2;
    struct probe_op *p = get(&f, "k", 0);
    assert_int_equal(await(&f, p), 0);
    assert_string_equal(p->value, "v");
    finish(&f);
}

static void test_undetermined_is_not_hidden(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1, NULL);
    f.cluster.stores[0]->mood = FAKE_UNDECIDED;
    f.cluster.stores[0]->moods_left = 1;
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), ERR_UNDETERMINED);
    f.cluster.stores[0]->mood = FAKE_UNDECIDED;
    f.cluster.stores[0]->moods_left = 1;
    assert_int_equal(await(&f, get(&f, "k", 0)), ERR_NOT_FOUND); /* a read goes on */
    finish(&f);
}

static void test_crash_of_the_leader(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 3, NULL);
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    struct probe_op *lost = put(&f, "k", "w", 0);
    struct probe_op *read = get(&f, "k", 0);
    f.cluster.stores[0]->mood = FAKE_SWALLOW;
    run_ms(&f, 50);
    sim_node_crash(f.nodes[0], SIM_CRASH_KILL);
    f.cluster.leader = f.cluster.stores[1];
    f.cluster.term++;
    assert_int_equal(await(&f, lost), ERR_UNDETERMINED);
    assert_int_equal(await(&f, read), 0);
    struct probe_op *after = put(&f, "k", "x", 0);
    assert_int_equal(await(&f, after), 0);
    assert_true(after->done_us < 1000000);
    finish(&f);
}

/* A store that is stopped keeps its connections and says nothing. Others take over. */
static void test_silent_leader(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 3, NULL);
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    sim_node_pause(f.nodes[0]);
    uint64_t before = sim_now_us(f.sim);
    struct probe_op *lost = put(&f, "k", "w", 0);
    struct probe_op *read = get(&f, "k", 0);
    run_ms(&f, 1000);
    f.cluster.leader = f.cluster.stores[1];
    f.cluster.term++;
    assert_int_equal(await(&f, read), 0);
    assert_true(read->done_us - before < 3000000);
    struct probe_op *after = put(&f, "k", "x", 0);
    assert_int_equal(await(&f, after), 0);
    assert_true(after->done_us - before < 3500000);
    assert_int_equal(await(&f, lost), ERR_UNDETERMINED);
    assert_true(lost->done_us - before >= 5000000);
    /* It comes back, as a follower, and is of use again. */
    sim_node_resume(f.nodes[0]);
    run_ms(&f, 3000);
    f.cluster.leader = f.cluster.stores[0];
    f.cluster.term++;
    assert_int_equal(await(&f, put(&f, "k", "y", 0)), 0);
    finish(&f);
}

/* ---- deadlines ---------------------------------------------------------------------------- */

static void test_deadlines(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1, NULL);
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    f.cluster.stores[0]->mood = FAKE_SWALLOW;
    uint64_t before = sim_now_us(f.sim);
    struct probe_op *w = put(&f, "k", "w", 300);
    struct probe_op *r = get(&f, "k", 400);
    assert_int_equal(await(&f, w), ERR_UNDETERMINED);
    assert_int_equal(w->done_us - before, 300000);
    assert_int_equal(await(&f, r), ERR_UNAVAILABLE);
    assert_int_equal(r->done_us - before, 400000);
    assert_in_range(f.cluster.stores[0]->last_timeout_ms, 390, 400);
    /* Late answers find nobody. */
    finish(&f);
}

/* An answer to an op that gave up is not one to the op that has its place now. */
static void test_late_answers_are_nobodys(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1, NULL);
    assert_int_equal(await(&f, put(&f, "a", "of a", 0)), 0);
    assert_int_equal(await(&f, put(&f, "b", "of b", 0)), 0);
    f.cluster.stores[0]->mood = FAKE_LATE;
    f.cluster.stores[0]->busy_ms = 300;
    assert_int_equal(await(&f, get(&f, "a", 100)), ERR_UNAVAILABLE);
    struct probe_op *b = get(&f, "b", 2000); /* its answer comes 100 ms after that of a */
    assert_int_equal(await(&f, b), 0);
    assert_string_equal(b->value, "of b");
    assert_int_equal(stats_of(&f).late_answers, 1);
    assert_int_equal(await(&f, put(&f, "a", "new", 100)), ERR_UNDETERMINED);
    run_ms(&f, 1000);
    assert_int_equal(stats_of(&f).late_answers, 2);
    finish(&f);
}

static void test_nobody_there(void **state)
{
    (void)state;
    static const char *const none[] = {"s9:7000", "s8:7000"};
    struct fixture f;
    start(&f, 1, &(struct client_options){.endpoints = none, .endpoint_count = 2});
    struct probe_op *p = put(&f, "k", "v", 900);
    assert_int_equal(await(&f, p), ERR_UNAVAILABLE); /* it never left: definite */
    assert_true(p->done_us >= 900000);
    assert_true(p->text[0] != 0);
    finish(&f);
}

static void test_deaf_store_is_given_up(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 2, NULL);
    f.cluster.stores[0]->is_deaf = true;
    f.cluster.leader = f.cluster.stores[1];
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    f.cluster.leader = f.cluster.stores[0];
    assert_int_equal(await(&f, put(&f, "k", "v", 3000)), ERR_UNAVAILABLE);
    assert_true(f.cluster.stores[0]->hellos > 1);
    assert_int_equal(f.cluster.applied, 1);
    finish(&f);
}

static void test_foreign_cluster_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1, &(struct client_options){.cluster_id = FAKE_CLUSTER_ID + 1});
    struct probe_op *p = put(&f, "k", "v", 500);
    assert_int_equal(await(&f, p), ERR_UNAUTHORIZED);
    assert_int_equal(f.cluster.applied, 0);
    finish(&f);
}

/* ---- one store and no other ---------------------------------------------------------------- */

static void test_endpoint(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 3, NULL);
    struct probe_op *p = op_new(&f, REQUEST_STATUS, 0);
    p->op.endpoint = "s2:7000";
    assert_int_equal(client_submit(f.client, &p->op), 0);
    assert_int_equal(await(&f, p), 0);
    assert_int_equal(f.cluster.stores[1]->statuses, 1);
    assert_int_equal(f.cluster.stores[0]->statuses + f.cluster.stores[2]->statuses, 0);
    sim_node_crash(f.nodes[1], SIM_CRASH_KILL);
    run_ms(&f, 2000);
    uint64_t before = sim_now_us(f.sim);
    struct probe_op *gone = op_new(&f, REQUEST_STATUS, 0);
    gone->op.endpoint = "s2:7000";
    assert_int_equal(client_submit(f.client, &gone->op), 0);
    assert_int_equal(await(&f, gone), ERR_UNAVAILABLE);
    assert_true(gone->done_us - before < 1500000); /* at once, not at its deadline */
    struct probe_op *bad = op_new(&f, REQUEST_STATUS, 0);
    bad->op.endpoint = "nonsense";
    assert_int_equal(client_submit(f.client, &bad->op), ERR_INVALID);
    finish(&f);
}

/* ---- bounds -----------------------------------------------------------------------------------
 */

static void test_in_flight_is_bounded(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1, &(struct client_options){.in_flight_max = 10});
    f.cluster.stores[0]->mood = FAKE_SWALLOW;
    for (int i = 0; i < 10; i++)
        get(&f, "k", 1000);
    struct probe_op *over = op_new(&f, REQUEST_GET, 0);
    over->op.request.get.key = slice_str("k");
    assert_int_equal(client_submit(f.client, &over->op), ERR_BUSY);
    run_ms(&f, 1500);
    for (int i = 0; i < 10; i++)
        assert_int_equal(f.ops[i].status, ERR_UNAVAILABLE);
    assert_int_equal(over->calls, 0);
    f.cluster.stores[0]->mood = FAKE_SERVE;
    assert_int_equal(client_submit(f.client, &over->op), 0); /* room again */
    assert_int_equal(await(&f, over), ERR_NOT_FOUND);
    finish(&f);
}

static void test_bytes_are_bounded(void **state)
{
    (void)state;
    struct fixture f;
    char *large = malloc(400001);
    memset(large, 'x', 400000);
    large[400000] = 0;
    start(&f, 1, &(struct client_options){.bytes_max = 1000000});
    put(&f, "a", large, 0);
    put(&f, "b", large, 0);
    struct probe_op *p = op_new(&f, REQUEST_WRITE, 0);
    p->op.key = slice_str("c");
    p->op.request.write.command = buf_slice(&f.ops[0].command);
    assert_int_equal(client_submit(f.client, &p->op), ERR_BUSY);
    assert_int_equal(await(&f, &f.ops[0]), 0);
    await(&f, &f.ops[1]);
    assert_int_equal(client_submit(f.client, &p->op), 0);
    assert_int_equal(await(&f, p), 0);
    free(large);
    finish(&f);
}

/* More than a connection may hold: ops wait until it drains, and all get done. */
static void test_full_connection(void **state)
{
    (void)state;
    struct fixture f;
    struct rng rng;
    char *noise = malloc(1000001);
    rng_init(&rng, 3);
    for (size_t i = 0; i < 1000000; i++)
        noise[i] = (char)('!' + rng_below(&rng, 90));
    noise[1000000] = 0;
    start(&f, 1, NULL);
    for (int i = 0; i < 20; i++)
        put(&f, "k", noise, 50000);
    for (int i = 0; i < 20; i++)
        assert_int_equal(f.ops[i].calls == 0 ? await(&f, &f.ops[i]) : f.ops[i].status, 0);
    assert_int_equal(f.cluster.applied, 20);
    free(noise);
    finish(&f);
}

static void test_cancel(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1, NULL);
    struct probe_op *p = put(&f, "k", "v", 0);
    assert_true(client_cancel(&p->op)); /* it has not left */
    assert_true(client_cancel(&p->op));
    run_ms(&f, 1000);
    assert_int_equal(p->calls, 0);
    assert_int_equal(f.cluster.applied, 0);
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    f.cluster.stores[0]->mood = FAKE_SWALLOW;
    struct probe_op *w = put(&f, "k", "v", 0);
    struct probe_op *r = get(&f, "k", 0);
    run_ms(&f, 100);
    assert_false(client_cancel(&w->op)); /* it may have been done */
    assert_true(client_cancel(&r->op));
    run_ms(&f, 10000);
    assert_int_equal(w->calls + r->calls, 0);
    finish(&f);
}

static void test_free_with_ops_in_all_states(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 3, NULL);
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    f.cluster.stores[0]->mood = FAKE_SWALLOW;
    for (int i = 0; i < 50; i++)
        put(&f, "k", "v", 0);
    run_ms(&f, 20);
    f.cluster.stores[0]->mood = FAKE_BUSY;
    f.cluster.stores[0]->busy_ms = 1000;
    for (int i = 0; i < 50; i++)
        get(&f, "k", 0);
    run_ms(&f, 20);
    for (int i = 0; i < 50; i++)
        get(&f, "k", 0);
    finish(&f); /* the leak sanitizer and client_check() judge */
}

/* ---- all of it at once --------------------------------------------------------------------------
 */

/* A rough network, leaders that come and go, stores that crash: every op ends exactly
 * once, in time, and no change is ever done twice. */
static void storm(uint64_t seed, bool has_sessions)
{
    struct sim_options options;
    sim_options_swarm(&options, seed);
    struct fixture f;
    start(&f, 3, NULL);
    sim_set_options(f.sim, &options);
    f.cluster.clock_ms = has_sessions ? CLOCK_MS : 0;
    struct rng rng;
    rng_init(&rng, seed);
    static const char *const keys[] = {"a", "b", "c"};
    for (int round = 0; round < 200; round++) {
        for (uint64_t n = rng_below(&rng, 6); n > 0; n--) {
            uint32_t timeout = 100 + (uint32_t)rng_below(&rng, 3000);
            if (rng_chance(&rng, 1, 2))
                put(&f, keys[rng_below(&rng, 3)], "v", timeout);
            else
                get(&f, keys[rng_below(&rng, 3)], timeout);
        }
        struct fake_store *any = f.cluster.stores[rng_below(&rng, 3)];
        switch (rng_below(&rng, 8)) {
        case 0:
            f.cluster.leader = rng_chance(&rng, 1, 4) ? NULL : any;
            f.cluster.term++;
            break;
        case 1:
            any->mood = (enum fake_mood)rng_below(&rng, FAKE_NO_MAJORITY + 1);
            any->busy_ms = (uint32_t)rng_below(&rng, 300);
            any->moods_left = 1 + (uint32_t)rng_below(&rng, 5);
            break;
        case 2:
            fake_store_disconnect(any);
            break;
        case 3:
            sim_net_reset(f.sim, f.client_node, NULL);
            break;
        case 4:
            sim_net_partition(f.sim, f.client_node, f.nodes[rng_below(&rng, 3)], false);
            break;
        case 5:
            sim_net_heal(f.sim, NULL, NULL);
            break;
        default:
            break;
        }
        run_ms(&f, rng_below(&rng, 300));
    }
    run_ms(&f, 10000);
    uint64_t done = 0;
    uint64_t unknown = 0;
    for (uint32_t i = 0; i < f.op_count; i++) {
        const struct probe_op *p = &f.ops[i];
        if (p->calls != 1)
            fail_msg("seed %llu: op %u has %d answers", (unsigned long long)seed, i, p->calls);
        if (p->op.request.kind == REQUEST_WRITE) {
            done += p->status == 0;
            unknown += p->status == ERR_UNDETERMINED;
        } else {
            assert_int_not_equal(p->status, ERR_UNDETERMINED);
        }
    }
    assert_in_range(f.cluster.applied, done, done + unknown);
    assert_int_equal(stats_of(&f).in_flight, 0);
    finish(&f);
}

static void test_storms(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++)
        storm(seed, seed % 2 == 0);
}

/* ---- sessions ------------------------------------------------------------------------ */

static void start_sessions(struct fixture *f, uint32_t stores)
{
    start(f, stores, NULL);
    f->cluster.clock_ms = CLOCK_MS;
    assert_int_equal(await(f, put(f, "warm", "v", 0)), 0);
    assert_true(f->cluster.last.session != 0);
    assert_true(f->cluster.last.first_sent_ms >= CLOCK_MS);
}

/* Lost before or after it was done, or not decided: it is sent again, and done once. */
static void test_lost_change_is_repeated(void **state)
{
    (void)state;
    static const enum fake_mood moods[] = {FAKE_RESET, FAKE_DO_RESET, FAKE_UNDECIDED};
    for (size_t i = 0; i < ARRAY_LEN(moods); i++) {
        struct fixture f;
        start_sessions(&f, 3);
        f.cluster.stores[0]->mood = moods[i];
        f.cluster.stores[0]->moods_left = 2;
        struct probe_op *p = put(&f, "k", "v", 0);
        expect_status(p, await(&f, p));
        assert_int_equal(p->status, 0);
        assert_int_equal(f.cluster.applied, 2);
        assert_int_equal(f.cluster.repeats, moods[i] == FAKE_DO_RESET ? 2 : 0);
        assert_int_equal(stats_of(&f).undetermined, 0);
        finish(&f);
    }
}

/* A leader that is stopped: the change goes to the next one, long before its deadline. */
static void test_change_leaves_silent_leader(void **state)
{
    (void)state;
    struct fixture f;
    start_sessions(&f, 3);
    f.cluster.stores[0]->mood = FAKE_SWALLOW;
    struct probe_op *p = put(&f, "k", "v", 5000);
    run_ms(&f, 100);
    f.cluster.leader = f.cluster.stores[1];
    f.cluster.term++;
    assert_int_equal(await(&f, p), 0);
    assert_true(p->done_us < 3000000);
    assert_int_equal(f.cluster.applied, 2);
    finish(&f);
}

/* What one sending was refused for says nothing of the one before, which may be done. */
static void test_refusal_after_loss_is_undetermined(void **state)
{
    (void)state;
    static const enum fake_mood moods[] = {FAKE_FULL, FAKE_BUSY, FAKE_NO_MAJORITY};
    for (size_t i = 0; i < ARRAY_LEN(moods); i++) {
        struct fixture f;
        start_sessions(&f, 1);
        f.cluster.stores[0]->mood = FAKE_DO_RESET;
        f.cluster.stores[0]->moods_left = 1;
        struct probe_op *p = put(&f, "k", "v", 1000);
        while (f.cluster.stores[0]->mood == FAKE_DO_RESET)
            assert_true(sim_step(f.sim));
        f.cluster.stores[0]->mood = moods[i];
        f.cluster.stores[0]->moods_left = 0;
        f.cluster.stores[0]->busy_ms = 2000;
        assert_int_equal(await(&f, p), ERR_UNDETERMINED);
        assert_int_equal(f.cluster.applied, 2);
        /* Its session is given up: another one's lowest must not pass it. */
        uint64_t session = p->op.stamp.session;
        f.cluster.stores[0]->mood = FAKE_SERVE;
        assert_int_equal(await(&f, put(&f, "k", "w", 5000)), 0);
        assert_true(f.cluster.last.session != session);
        finish(&f);
    }
}

static struct probe_op *fence(struct fixture *f, const struct probe_op *of)
{
    struct probe_op *p = op_new(f, REQUEST_WRITE, 1000);
    struct op op = {.kind = OP_FENCE, .key = of->op.key};
    command_encode(&p->command,
                   &(struct command){.session = of->op.stamp.session,
                                     .sequence = of->op.stamp.sequence,
                                     .lowest_unanswered = of->op.stamp.lowest_unanswered,
                                     .first_sent_ms = of->op.stamp.first_sent_ms,
                                     .op_count = 1,
                                     .ops = &op});
    p->op.key = of->op.key;
    p->op.is_stamped = true;
    p->op.request.write.command = buf_slice(&p->command);
    assert_int_equal(client_submit(f->client, &p->op), 0);
    return p;
}

/* What stayed undetermined can be asked for later by the stamp that it had. */
static void test_fence_tells(void **state)
{
    (void)state;
    static const enum fake_mood moods[] = {FAKE_RESET, FAKE_DO_RESET};
    for (size_t i = 0; i < ARRAY_LEN(moods); i++) {
        struct fixture f;
        start_sessions(&f, 1);
        f.cluster.stores[0]->mood = moods[i];
        f.cluster.stores[0]->moods_left = 0;
        struct probe_op *p = put(&f, "k", "v", 300);
        assert_int_equal(await(&f, p), ERR_UNDETERMINED);
        f.cluster.stores[0]->mood = FAKE_RESET; /* the question itself is lost once */
        f.cluster.stores[0]->moods_left = 1;
        struct probe_op *q = fence(&f, p);
        assert_int_equal(await(&f, q), moods[i] == FAKE_RESET ? ERR_FENCED : 0);
        assert_int_equal(f.cluster.applied, 1 + i);
        finish(&f);
    }
}

/* The range knows nothing of times so old: a first sending gets another stamp; of one that
 * may have been done nobody can tell any more. */
static void test_expired(void **state)
{
    (void)state;
    struct fixture f;
    start_sessions(&f, 1);
    f.cluster.floor_ms = f.cluster.last.first_sent_ms + 100000;
    assert_int_equal(await(&f, put(&f, "k", "v", 1000)), 0);
    assert_true(f.cluster.last.first_sent_ms > f.cluster.floor_ms);
    f.cluster.stores[0]->mood = FAKE_RESET;
    f.cluster.stores[0]->moods_left = 1;
    struct probe_op *p = put(&f, "k", "w", 1000);
    while (f.cluster.stores[0]->mood == FAKE_RESET)
        assert_true(sim_step(f.sim));
    f.cluster.floor_ms += 100000;
    assert_int_equal(await(&f, p), ERR_UNDETERMINED);
    assert_non_null(strstr(p->text, "has forgotten the time of the first sending"));
    assert_int_equal(f.cluster.applied, 2);
    finish(&f);
}

/* A range whose time is ahead asks for a stamp of then; what the client hears of the time
 * elsewhere, before it sends again, is not for this range. */
static void test_other_time(void **state)
{
    (void)state;
    struct fixture f;
    start_sessions(&f, 1);
    f.cluster.floor_ms = f.cluster.last.first_sent_ms + 100000;
    struct probe_op *p = put(&f, "k", "v", 1000);
    while (p->op.stamp_ms == 0)
        assert_true(sim_step(f.sim));
    assert_true(p->op.stamp_ms > f.cluster.floor_ms);
    session_set_time(f.client, f.cluster.last.first_sent_ms);
    assert_int_equal(await(&f, p), 0);
    assert_int_equal(p->op.refusals, 1);
    finish(&f);
}

/* Sequences ascend, the lowest follows what is answered, and stays below what is not. */
static void test_lowest_follows(void **state)
{
    (void)state;
    struct fixture f;
    start_sessions(&f, 1);
    uint64_t session = f.cluster.last.session;
    f.cluster.stores[0]->mood = FAKE_LATE;
    f.cluster.stores[0]->busy_ms = 1000;
    f.cluster.stores[0]->moods_left = 1;
    struct probe_op *slow = put(&f, "slow", "v", 5000);
    run_ms(&f, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    assert_true(f.cluster.last.session == session);
    assert_int_equal(slow->calls, 0);
    assert_int_equal(slow->op.stamp.sequence, 2);
    assert_int_equal(f.cluster.last.sequence, 12);
    assert_int_equal(f.cluster.last.lowest_unanswered, 2);
    assert_int_equal(await(&f, slow), 0);
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    assert_int_equal(f.cluster.last.lowest_unanswered, 13);
    finish(&f);
}

/* One that stays open does not hold the others up: at the window's end a session begins. */
static void test_window(void **state)
{
    (void)state;
    struct fixture f;
    start_sessions(&f, 1);
    uint64_t session = f.cluster.last.session;
    f.cluster.stores[0]->mood = FAKE_LATE;
    f.cluster.stores[0]->busy_ms = 4000;
    f.cluster.stores[0]->moods_left = 1;
    struct probe_op *slow = put(&f, "slow", "v", 5000);
    run_ms(&f, 10);
    for (int i = 0; i < CLIENT_SESSION_WINDOW - 1; i++)
        put(&f, "k", "v", 5000);
    run_ms(&f, 100);
    assert_true(f.cluster.last.session == session);
    assert_int_equal(await(&f, put(&f, "k", "v", 5000)), 0);
    assert_true(f.cluster.last.session != session);
    assert_int_equal(f.cluster.last.sequence, 1);
    assert_int_equal(await(&f, slow), 0);
    assert_int_equal(f.cluster.applied, CLIENT_SESSION_WINDOW + 2);
    finish(&f);
}

/* A batch as large as a store takes is none any more once it carries a stamp: the caller hears
 * that at once, and not from a store. */
static void test_room_for_the_stamp(void **state)
{
    const size_t most = command_limits_default.command_max;
    static const struct {
        bool has_no_sessions;
        bool is_stamped;
        size_t over; /* bytes less than the most */
        int want;
    } rows[] = {
        {false, false, 63, ERR_TOO_LARGE},
        {false, false, 64, 0},
        {true, false, 0, 0},
        {false, true, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct client_options options = {.has_no_sessions = rows[i].has_no_sessions};
        start(&f, 1, &options);
        struct probe_op *p = op_new(&f, REQUEST_WRITE, 1000);
        size_t len = most - rows[i].over;
        struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v")};
        command_encode(&p->command, &(struct command){.op_count = 1, .ops = &op});
        assert_non_null(buf_extend(&p->command, len - p->command.len));
        p->op.key = op.key;
        p->op.is_stamped = rows[i].is_stamped;
        p->op.request.write.command = buf_slice(&p->command);
        assert_int_equal(client_submit(f.client, &p->op), rows[i].want);
        client_cancel(&p->op);
        finish(&f);
    }
}

/* … and no stamp takes more than that. */
static void test_stamp_is_as_large(void **state)
{
    struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v")};
    struct command_stamp stamp = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    struct buf plain, stamped;
    (void)state;
    buf_init(&plain, 1 << 10);
    buf_init(&stamped, 1 << 10);
    command_encode(&plain, &(struct command){.op_count = 1, .ops = &op});
    assert_int_equal(command_restamp(&stamped, buf_slice(&plain), &stamp), 0);
    assert_true(stamped.len <= plain.len + 64);
    buf_fini(&plain);
    buf_fini(&stamped);
}

static void test_without_sessions(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1, &(struct client_options){.has_no_sessions = true});
    f.cluster.clock_ms = CLOCK_MS;
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), 0);
    assert_int_equal(f.cluster.last.session, 0);
    f.cluster.stores[0]->mood = FAKE_DO_RESET;
    f.cluster.stores[0]->moods_left = 1;
    assert_int_equal(await(&f, put(&f, "k", "v", 0)), ERR_UNDETERMINED);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_then_get),
        cmocka_unit_test(test_leader_is_found_from_any_endpoint),
        cmocka_unit_test(test_change_of_leader_is_followed),
        cmocka_unit_test(test_pipelining_in_one_write),
        cmocka_unit_test(test_large_ones_leave_in_pieces),
        cmocka_unit_test(test_refused_for_certain_is_tried_again),
        cmocka_unit_test(test_push_back_is_obeyed),
        cmocka_unit_test(test_lost_write_is_undetermined),
        cmocka_unit_test(test_lost_read_is_read_again),
        cmocka_unit_test(test_undetermined_is_not_hidden),
        cmocka_unit_test(test_crash_of_the_leader),
        cmocka_unit_test(test_silent_leader),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_late_answers_are_nobodys),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_deaf_store_is_given_up),
        cmocka_unit_test(test_foreign_cluster_is_refused),
        cmocka_unit_test(test_endpoint),
        cmocka_unit_test(test_in_flight_is_bounded),
        cmocka_unit_test(test_bytes_are_bounded),
        cmocka_unit_test(test_full_connection),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_free_with_ops_in_all_states),
        cmocka_unit_test(test_storms),
        cmocka_unit_test(test_lost_change_is_repeated),
        cmocka_unit_test(test_change_leaves_silent_leader),
        cmocka_unit_test(test_refusal_after_loss_is_undetermined),
        cmocka_unit_test(test_fence_tells),
        cmocka_unit_test(test_expired),
        cmocka_unit_test(test_other_time),
        cmocka_unit_test(test_lowest_follows),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_room_for_the_stamp),
        cmocka_unit_test(test_stamp_is_as_large),
        cmocka_unit_test(test_without_sessions),
    };
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
