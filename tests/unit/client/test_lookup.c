/* SPDX-License-Identifier: Apache-2.0 */
/* Who is believed when it is asked who leads. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/client_internal.h"
#include "env/sim/sim.h"
#include "support/fake_store.h"

enum { STRANGER_ID = FAKE_CLUSTER_ID + 1 };

/* Two clusters, each of one store, which leads. */
struct world {
    struct sim *sim;
    struct sim_node *nodes[2];
    struct sim_node *client_node;
    struct fake_cluster clusters[2];
    struct fake_store *own, *stranger;
    struct client *client;
    struct client_op op;
    int status; /* 1: not over yet */
    char text[128];
};

static struct fake_store *add(struct world *w, int i, const char *host, const char *address)
{
    struct fake_cluster *cluster = &w->clusters[i];
    fake_cluster_init(cluster);
    w->nodes[i] = sim_node_new(w->sim, host);
    cluster->leader = fake_store_new(cluster, sim_node_env(w->nodes[i]), address);
    return cluster->leader;
}

/* The stranger was of no cluster when it was greeted, and is of another one by now, whose leader
 * is of a later term. */
static void start(struct world *w, uint64_t cluster_id, bool is_stranger_alone)
{
    memset(w, 0, sizeof *w);
    w->sim = sim_new(NULL, 11);
    w->own = add(w, 0, "s1", "s1:7000");
    w->stranger = add(w, 1, "s2", "s2:7000");
    w->stranger->cluster_id = STRANGER_ID;
    w->stranger->was_unborn = true;
    w->clusters[1].term = 9;
    w->client_node = sim_node_new(w->sim, "c");
    const char *endpoints[] = {w->stranger->address, w->own->address};
    struct client_options options = {.endpoints = endpoints,
                                     .endpoint_count = is_stranger_alone ? 1 : 2,
                                     .cluster_id = cluster_id};
    assert_int_equal(client_new(sim_node_env(w->client_node), &options, &w->client, NULL), 0);
}

static void finish(struct world *w)
{
    client_check(w->client);
    env_stop(sim_node_env(w->client_node));
    client_free(w->client);
    for (int i = 0; i < 2; i++) {
        env_stop(sim_node_env(w->nodes[i]));
        fake_cluster_fini(&w->clusters[i]);
    }
    sim_free(w->sim);
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    struct world *w = op->data;
    w->status = result->status;
    snprintf(w->text, sizeof w->text, "%.*s", (int)result->text.len,
             (const char *)result->text.data);
}

static int get(struct world *w)
{
    client_op_init(&w->op, REQUEST_GET);
    w->op.data = w;
    w->op.cb = on_done;
    w->op.request.get.key = slice_str("k");
    w->status = 1;
    assert_int_equal(client_submit(w->client, &w->op), 0);
    sim_run_until(w->sim, sim_now_us(w->sim) + 6000000);
    assert_true(w->status <= 0);
    return w->status;
}

/* Nothing that it leads is learned from it, and it is left. */
static void test_stranger_is_not_believed(void **state)
{
    (void)state;
    struct world w;
    start(&w, FAKE_CLUSTER_ID, false);
    fake_cluster_put(&w.clusters[0], slice_str("k"), slice_str("own"));
    for (int i = 0; i < 10; i++) {
        assert_int_equal(get(&w), 0);
        fake_store_disconnect(w.own); /* who leads is asked again */
    }
    assert_true(w.stranger->statuses > 0);
    assert_int_equal(w.stranger->requests, 0);
    finish(&w);
}

static void test_stranger_alone(void **state)
{
    (void)state;
    struct world w;
    start(&w, FAKE_CLUSTER_ID, true);
    assert_int_equal(get(&w), ERR_UNAUTHORIZED);
    assert_non_null(strstr(w.text, "belongs to another cluster"));
    assert_int_equal(w.stranger->requests, 0);
    finish(&w);
}

/* Whoever comes without a cluster takes the first that a store tells of, be it later than in the
 * hello. */
static void test_cluster_of_the_newly_born(void **state)
{
    (void)state;
    struct world w;
    start(&w, 0, true);
    fake_cluster_put(&w.clusters[1], slice_str("k"), slice_str("born"));
    assert_int_equal(get(&w), 0);
    assert_int_equal(client_cluster_id(w.client), STRANGER_ID);
    finish(&w);
}

/* It refuses with a code that nobody here knows, or with a word of our own functions, twice at
 * once: what it says is told, and the other store serves. */
static void test_strange_refusals(void **state)
{
    static const int codes[] = {ERR_LAST, ERR_SHORT, ERR_WOULD_BLOCK, ERR_EOF, -10000};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct world w;
        start(&w, FAKE_CLUSTER_ID, true);
        w.stranger->hello_error = codes[i];
        assert_int_equal(get(&w), ERR_UNAVAILABLE);
        assert_non_null(strstr(w.text, "strange"));
        assert_true(w.stranger->hellos > 1);
        finish(&w);
        start(&w, FAKE_CLUSTER_ID, false);
        w.stranger->hello_error = codes[i];
        fake_cluster_put(&w.clusters[0], slice_str("k"), slice_str("own"));
        assert_int_equal(get(&w), 0);
        finish(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stranger_is_not_believed),
        cmocka_unit_test(test_stranger_alone),
        cmocka_unit_test(test_cluster_of_the_newly_born),
        cmocka_unit_test(test_strange_refusals),
    };
    return cmocka_run_group_tests_name("lookup", tests, NULL, NULL);
}
