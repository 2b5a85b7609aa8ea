/* SPDX-License-Identifier: Apache-2.0 */
/* What placement is asked, where a connection is lost: questions are asked again, words are not. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/client_internal.h"
#include "env/sim/sim.h"
#include "support/fake_store.h"

struct world {
    struct sim *sim;
    struct sim_node *node;
    struct sim_node *client_node;
    struct fake_cluster cluster;
    struct client *client;
    struct client_op op;
    int status; /* 1: not over yet */
};

static void start(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->sim = sim_new(NULL, 7);
    fake_cluster_init(&w->cluster);
    w->node = sim_node_new(w->sim, "s1");
    struct fake_store *store = fake_store_new(&w->cluster, sim_node_env(w->node), "s1:7000");
    const char *endpoint = store->address;
    w->cluster.leader = store;
    w->client_node = sim_node_new(w->sim, "c");
    struct client_options options = {.endpoints = &endpoint, .endpoint_count = 1};
    assert_int_equal(client_new(sim_node_env(w->client_node), &options, &w->client, NULL), 0);
}

static void finish(struct world *w)
{
    client_check(w->client);
    env_stop(sim_node_env(w->client_node));
    client_free(w->client);
    env_stop(sim_node_env(w->node));
    fake_cluster_fini(&w->cluster);
    sim_free(w->sim);
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    struct world *w = op->data;
    w->status = result->status;
}

static int ask(struct world *w, enum placement_verb verb, const char *endpoint)
{
    w->op = (struct client_op){.data = w, .cb = on_done, .endpoint = endpoint};
    w->op.request.kind = REQUEST_PLACEMENT;
    w->op.request.placement.verb = verb;
    w->op.request.placement.name = slice_str("ks1");
    w->status = 1;
    assert_int_equal(client_submit(w->client, &w->op), 0);
    sim_run_until(w->sim, sim_now_us(w->sim) + 6000000);
    assert_true(w->status <= 0);
    return w->status;
}

static void test_lost_connection(void **state)
{
    (void)state;
    static const struct {
        enum placement_verb verb;
        bool is_question;
    } rows[] = {
        {VERB_KEYSPACES, true}, {VERB_STORES, true},   {VERB_STATUS, true},
        {VERB_PLAN, true},      {VERB_SET, false},     {VERB_KEYSPACE_CREATE, false},
        {VERB_DRAIN, false},    {VERB_COMMAND, false},
    };
    struct world w;
    start(&w);
    struct fake_store *store = w.cluster.leader;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        store->asks_lost = 1;
        uint64_t asked = store->requests;
        assert_int_equal(ask(&w, rows[i].verb, NULL), rows[i].is_question ? 0 : ERR_UNDETERMINED);
        assert_int_equal(store->requests - asked, rows[i].is_question ? 2 : 1);
        store->asks_lost = 1; /* of one store alone: not again, but nothing is open */
        assert_int_equal(ask(&w, rows[i].verb, store->address),
                         rows[i].is_question ? ERR_UNAVAILABLE : ERR_UNDETERMINED);
    }
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_connection),
    };
    return cmocka_run_group_tests_name("placement", tests, NULL, NULL);
}
