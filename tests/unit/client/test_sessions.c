/* SPDX-License-Identifier: Apache-2.0 */
/* How many sessions a client goes through that has much in flight. */
#include <stdio.h>
#include <stdlib.h>

#include "client/client_internal.h"
#include "env/sim/sim.h"
#include "support/check.h"
#include "support/fake_store.h"

enum { OPS = 2 * CLIENT_SESSION_WINDOW + 64, CHANGES = 5 * CLIENT_SESSION_WINDOW };

struct probe {
    struct client_op op;
    struct buf command;
};

static struct {
    struct sim *sim;
    struct sim_node *node, *client_node;
    struct fake_cluster cluster;
    struct client *client;
    struct probe probes[OPS];
    uint64_t sessions[CHANGES / CLIENT_SESSION_WINDOW + 8];
    uint32_t session_count;
    uint32_t begun, done, failed;
    uint64_t most; /* in flight of all sessions at a time, stamped and not answered */
} w;

static void note_session(uint64_t id)
{
    for (uint32_t i = 0; i < w.session_count; i++) {
        if (w.sessions[i] == id)
            return;
    }
    assert_in_range(w.session_count, 0, ARRAY_LEN(w.sessions) - 1);
    w.sessions[w.session_count++] = id;
}

static uint64_t open_of_all(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < CLIENT_SESSIONS; i++)
        sum += w.client->sessions[i].next - w.client->sessions[i].lowest;
    return sum;
}

static void put(struct probe *p)
{
    w.begun++;
    assert_int_equal(client_submit(w.client, &p->op), 0);
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    struct probe *p = container_of(op, struct probe, op);
    w.done++;
    w.failed += result->status != 0;
    note_session(op->stamp.session);
    w.most = MAX(w.most, open_of_all());
    if (w.begun < CHANGES)
        put(p);
}

static void start(void)
{
    memset(&w, 0, sizeof w);
    w.sim = sim_new(NULL, 7);
    fake_cluster_init(&w.cluster);
    w.node = sim_node_new(w.sim, "s1");
    struct fake_store *store = fake_store_new(&w.cluster, sim_node_env(w.node), "s1:7000");
    w.cluster.leader = store;
    w.cluster.clock_ms = 1700000000000;
    w.client_node = sim_node_new(w.sim, "c");
    const char *endpoints[] = {store->address};
    struct client_options options = {
        .endpoints = endpoints, .endpoint_count = 1, .in_flight_max = OPS};
    assert_int_equal(client_new(sim_node_env(w.client_node), &options, &w.client, NULL), 0);
}

static void finish(void)
{
    client_check(w.client);
    env_stop(sim_node_env(w.client_node));
    client_free(w.client);
    env_stop(sim_node_env(w.node));
    fake_cluster_fini(&w.cluster);
    sim_free(w.sim);
    for (uint32_t i = 0; i < OPS; i++)
        buf_fini(&w.probes[i].command);
}

/* Each takes memory of a range until it has been unused for minutes: a few take turns. */
static void test_few_take_turns(void **state)
{
    struct op put_op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v")};
    (void)state;
    start();
    sim_run_until(w.sim, 100000); /* connected: the hello tells the time */
    for (uint32_t i = 0; i < OPS; i++) {
        struct probe *p = &w.probes[i];
        buf_init(&p->command, 1024);
        command_encode(&p->command, &(struct command){.op_count = 1, .ops = &put_op});
        p->op = (struct client_op){.key = put_op.key, .timeout_ms = 60000, .cb = on_done};
        p->op.request.kind = REQUEST_WRITE;
        p->op.request.write.command = buf_slice(&p->command);
        put(p);
    }
    while (w.done < CHANGES)
        sim_run_until(w.sim, sim_now_us(w.sim) + 1000);
    assert_int_equal(w.failed, 0);
    assert_true(w.most > CLIENT_SESSION_WINDOW);
    assert_in_range(w.session_count, 2, OPS / CLIENT_SESSION_WINDOW + 1);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_few_take_turns)};
    return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
