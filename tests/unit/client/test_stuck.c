/* SPDX-License-Identifier: Apache-2.0 */
/* One store is stuck, pushes back or breaks off; what is for the others goes on. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/client_internal.h"
#include "env/sim/sim.h"
#include "support/fake_store.h"

enum { STORES = 3, OPS_MAX = 600, WINDOW_FEW = 40 };

struct world {
    struct sim *sim;
    struct sim_node *nodes[STORES];
    struct sim_node *client_node;
    struct fake_cluster cluster;
    struct client *client;
    struct client_op ops[OPS_MAX];
    int status[OPS_MAX]; /* 1: not over yet */
    uint64_t done_us[OPS_MAX];
    uint32_t count;
};

static uint32_t requests_max; /* of all stores of the next world */

static struct world w;

/* Keys from "m" on are of a range that the second store leads. */
static void start(uint32_t in_flight_max)
{
    static const char *const hosts[] = {"s1", "s2", "s3"};
    const char *endpoints[STORES];
    memset(&w, 0, sizeof w);
    w.sim = sim_new(NULL, 42);
    fake_cluster_init(&w.cluster);
    for (uint32_t i = 0; i < STORES; i++) {
        char address[32];
        snprintf(address, sizeof address, "%s:7000", hosts[i]);
        w.nodes[i] = sim_node_new(w.sim, hosts[i]);
        struct fake_store *store = fake_store_new(&w.cluster, sim_node_env(w.nodes[i]), address);
        store->requests_max = requests_max;
        endpoints[i] = store->address;
    }
    w.cluster.leader = w.cluster.stores[0];
    w.cluster.split = "m";
    w.cluster.split_leader = w.cluster.stores[1];
    w.client_node = sim_node_new(w.sim, "c");
    struct client_options options = {
        .endpoints = endpoints, .endpoint_count = STORES, .in_flight_max = in_flight_max};
    assert_int_equal(client_new(sim_node_env(w.client_node), &options, &w.client, NULL), 0);
}

static void finish(void)
{
    client_check(w.client);
    env_stop(sim_node_env(w.client_node));
    client_free(w.client);
    for (uint32_t i = 0; i < STORES; i++)
        env_stop(sim_node_env(w.nodes[i]));
    fake_cluster_fini(&w.cluster);
    sim_free(w.sim);
}

static void run_ms(uint64_t ms)
{
    uint64_t until = sim_now_us(w.sim) + ms * 1000;
    while (sim_now_us(w.sim) < until) {
        sim_run_until(w.sim, sim_now_us(w.sim) + 1000);
        client_check(w.client);
    }
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    size_t i = (size_t)(op - w.ops);
    assert_int_equal(w.status[i], 1);
    w.status[i] = result->status == ERR_NOT_FOUND ? 0 : result->status;
    w.done_us[i] = sim_now_us(w.sim);
}

/* Ask for a key; its place, or where it was refused, with that status. */
static uint32_t get(const char *key, uint32_t timeout_ms)
{
    uint32_t i = w.count++;
    assert_in_range(i, 0, OPS_MAX - 1);
    w.ops[i].request.kind = REQUEST_GET;
    w.ops[i].request.get.key = slice_str(key);
    w.ops[i].timeout_ms = timeout_ms;
    w.ops[i].cb = on_done;
    w.status[i] = 1;
    int rv = client_submit(w.client, &w.ops[i]);
    if (rv != 0)
        w.status[i] = rv;
    return i;
}

static uint32_t count_of(uint32_t from, uint32_t to, int status)
{
    uint32_t n = 0;
    for (uint32_t i = from; i < to; i++)
        n += w.status[i] == status;
    return n;
}

/* All that may be in flight hangs on a store that does not answer: others are asked as before,
 * and whoever comes with more for it hears BUSY. */
static void test_silent_store(void **state)
{
    (void)state;
    start(100);
    get("a", 0);
    get("z", 0);
    run_ms(100);
    assert_int_equal(count_of(0, 2, 0), 2);
    w.cluster.stores[0]->mood = FAKE_SWALLOW;
    for (int i = 0; i < 100; i++)
        get("a", 10000);
    run_ms(20);
    assert_int_equal(w.status[get("z", 0)], ERR_BUSY); /* nobody knows yet that it hangs */
    run_ms(900);
    for (int round = 0; round < 3; round++) { /* silent, then suspect, then nobody leads */
        uint32_t from = w.count;
        for (int i = 0; i < 49; i++)
            get("z", 1000);
        run_ms(50);
        assert_int_equal(count_of(from, w.count, 0), 49);
        uint32_t more = get("b", 1000);
        run_ms(50);
        assert_int_equal(w.status[more], ERR_BUSY);
        run_ms(1000);
    }
    finish();
}

/* Ranges that are all unknown are found one after the other, without a pause in between. */
static void test_lookups_follow_each_other(void **state)
{
    (void)state;
    start(100);
    get("a", 1000);
    get("z", 1000);
    run_ms(100);
    assert_int_equal(count_of(0, 2, 0), 2);
    uint64_t between_us = w.done_us[1] - w.done_us[0];
    assert_in_range(between_us, 0, 5000);
    finish();
}

/* A range has no leader at all; that of another changes and must be looked for meanwhile. */
static void test_lookups_take_turns(void **state)
{
    (void)state;
    start(100);
    get("z", 0);
    run_ms(100);
    w.cluster.leader = NULL;
    for (int i = 0; i < 60; i++)
        get("a", 10000);
    run_ms(2000);
    w.cluster.stores[1]->is_ignorant = true;
    w.cluster.split_leader = w.cluster.stores[2];
    uint32_t from = w.count;
    uint64_t since = sim_now_us(w.sim);
    for (int i = 0; i < 10; i++)
        get("z", 5000);
    run_ms(2500);
    assert_int_equal(count_of(from, w.count, 0), 10);
    for (uint32_t i = from; i < w.count; i++)
        assert_in_range(w.done_us[i] - since, 0, 1500000);
    w.cluster.leader = w.cluster.stores[2];
    run_ms(1500);
    assert_int_equal(count_of(0, w.count, 0), w.count);
    finish();
}

/* A store that pushes back is asked for less at a time, and none of it is lost. */
static void test_window_follows_push_back(void **state)
{
    (void)state;
    start(400);
    get("a", 0);
    run_ms(100);
    w.cluster.stores[0]->mood = FAKE_BUSY;
    w.cluster.stores[0]->busy_ms = 20;
    w.cluster.stores[0]->moods_left = 50;
    for (int i = 0; i < 300; i++)
        get("a", 5000);
    uint32_t other = get("z", 1000);
    run_ms(20);
    assert_int_equal(w.status[other], 0);
    run_ms(3000);
    assert_int_equal(count_of(0, w.count, 0), w.count);
    struct client_stats stats;
    client_stats_get(w.client, &stats);
    assert_int_equal(stats.pushed_back, 50);
    assert_in_range(w.client->peers[0]->window, 1, 400);
    /* It serves nothing: what is held back ends as BUSY, and only its own. */
    w.cluster.stores[0]->mood = FAKE_BUSY;
    w.cluster.stores[0]->busy_ms = 300;
    w.cluster.stores[0]->moods_left = 0;
    uint64_t sendings = stats.sendings;
    uint32_t from = w.count;
    for (int i = 0; i < 100; i++)
        get("a", 1000);
    run_ms(500);
    for (int i = 0; i < 50; i++)
        get("a", 500);
    run_ms(1000);
    assert_int_equal(count_of(from, w.count, ERR_BUSY), 150);
    client_stats_get(w.client, &stats);
    assert_in_range(stats.sendings - sendings, 1, 300);
    finish();
}

/* What a window lets out may end without being sent: then it is the turn of the next. */
static void test_window_passes_its_turn_on(void **state)
{
    (void)state;
    start(400);
    get("a", 0);
    run_ms(100);
    w.client->peers[0]->window = 1;
    w.cluster.stores[0]->mood = FAKE_BUSY;
    w.cluster.stores[0]->busy_ms = 500;
    w.cluster.stores[0]->moods_left = 1;
    uint32_t first = get("a", 300); /* is pushed back for longer than it may wait */
    uint32_t second = get("a", 300);
    uint32_t third = get("a", 5000);
    uint32_t fourth = get("a", 5000);
    run_ms(400);
    assert_int_equal(w.status[first], ERR_BUSY);
    assert_int_equal(w.status[second], ERR_BUSY);
    run_ms(600);
    assert_int_equal(w.status[third], 0);
    assert_int_equal(w.status[fourth], 0);
    finish();
}

/* All that may be in flight waits for a store that pushes back: others are asked as before. */
static void test_push_back_leaves_room(void **state)
{
    (void)state;
    start(100);
    get("a", 0);
    get("z", 0);
    run_ms(100);
    w.cluster.stores[0]->mood = FAKE_BUSY;
    w.cluster.stores[0]->busy_ms = 300;
    for (int i = 0; i < 100; i++)
        get("a", 20000);
    run_ms(50);
    assert_int_equal(count_of(2, w.count, 1), 100);
    for (int round = 0; round < 5; round++) {
        uint32_t from = w.count;
        for (int i = 0; i < 49; i++)
            get("z", 200);
        run_ms(50);
        assert_int_equal(count_of(from, w.count, 0), 49);
        uint32_t more = get("b", 1000);
        run_ms(400);
        assert_int_equal(w.status[more], ERR_BUSY);
    }
    w.cluster.stores[0]->mood = FAKE_SERVE;
    run_ms(15000);
    assert_int_equal(count_of(2, 102, 0), 100); /* none of them is lost */
    finish();
}

/* What a store that pushes back cannot answer in time is not sent; but one is, so that it shows
 * when it is faster. */
static void test_hopeless_is_not_sent(void **state)
{
    (void)state;
    start(100);
    get("a", 0);
    run_ms(100);
    struct client_peer *peer = w.client->peers[0];
    peer->window = 10;
    peer->shrunk_us = env_now_us(sim_node_env(w.client_node));
    peer->took_us = 400 * 1000;
    w.cluster.stores[0]->mood = FAKE_LATE;
    w.cluster.stores[0]->busy_ms = 400;
    uint64_t before = w.cluster.stores[0]->requests;
    uint32_t slow = get("a", 2000);
    uint32_t hasty = get("a", 500);
    run_ms(20);
    assert_int_equal(w.status[slow], 1);
    assert_int_equal(w.status[hasty], ERR_BUSY);
    assert_int_equal(w.cluster.stores[0]->requests - before, 1);
    run_ms(500);
    assert_int_equal(w.status[slow], 0);
    w.cluster.stores[0]->mood = FAKE_SERVE;
    for (int i = 0; i < 10; i++) {
        get("a", 20);
        run_ms(20);
    }
    assert_int_equal(count_of(w.count - 10, w.count, 0), 10);
    assert_in_range(peer->took_us, 0, 10 * 1000);
    finish();
}

/* How much a store can take shows bit by bit: by windows that were full and were answered. And it
 * is never so much that the store stops reading the connection. */
static void test_window_begins_small(void **state)
{
    (void)state;
    requests_max = 561;
    start(OPS_MAX);
    requests_max = 0;
    get("a", 0);
    run_ms(100);
    struct client_peer *peer = w.client->peers[0];
    assert_int_equal(peer->window_max, 560);
    assert_int_equal(peer->window, 512);
    for (int i = 0; i < 50; i++) { /* a few at a time say nothing of many */
        for (int k = 0; k < 10; k++)
            get("a", 1000);
        run_ms(20);
    }
    assert_int_equal(count_of(0, w.count, 0), w.count);
    assert_int_equal(peer->window, 512);
    w.count = 0;
    w.cluster.stores[0]->mood = FAKE_LATE;
    w.cluster.stores[0]->busy_ms = 50;
    uint64_t before = w.cluster.stores[0]->requests;
    for (int i = 0; i < 590; i++)
        get("a", 1000);
    run_ms(25);
    assert_int_equal(w.cluster.stores[0]->requests - before, 512);
    run_ms(500);
    assert_int_equal(count_of(0, w.count, 0), w.count);
    w.count = 0;
    for (int i = 0; i < 590; i++)
        get("a", 1000);
    run_ms(200);
    assert_int_equal(peer->window, 560);
    assert_int_equal(count_of(0, w.count, 0), w.count);
    finish();
}

/* `count` ask at once, and hear after so long. */
static void round_of(uint32_t count, uint32_t late_ms, uint32_t timeout_ms)
{
    w.count = 0;
    w.cluster.stores[0]->mood = FAKE_LATE;
    w.cluster.stores[0]->busy_ms = late_ms;
    for (uint32_t i = 0; i < count; i++)
        get("a", timeout_ms);
    run_ms(late_ms + 50);
    assert_int_equal(count_of(0, w.count, 0), w.count);
}

/* Answers that take most of the time that they have, and far more than the quickest did, tell of
 * a line that the store does not see: fewer are sent, as many as would be answered in half of
 * the time. When answers are quick again, there are more again. */
static void test_window_follows_long_lines(void **state)
{
    (void)state;
    start(OPS_MAX);
    get("a", 0);
    run_ms(100);
    struct client_peer *peer = w.client->peers[0];
    peer->window = peer->window_max = 512;
    round_of(400, 450, 1000);
    assert_int_equal(peer->window, 512);
    round_of(400, 800, 1000);
    assert_in_range(peer->window, 400 * 5 / 9, 400 * 5 / 7); /* once, not for each answer */
    uint32_t window = peer->window;
    for (int i = 0; i < 40; i++)
        round_of(400, 10, 5000);
    assert_in_range(peer->window, window + window / 4, 512);
    round_of(WINDOW_FEW, 900, 1000); /* of a few nobody is in the way */
    assert_in_range(peer->window, window + window / 4, 512);
    finish();
}

/* A store that is far away is no long line, however close the deadlines are. */
static void test_far_away_is_no_line(void **state)
{
    (void)state;
    start(OPS_MAX);
    w.cluster.stores[0]->mood = FAKE_LATE;
    w.cluster.stores[0]->busy_ms = 300;
    get("a", 0);
    run_ms(2000);
    assert_int_equal(w.status[0], 0);
    w.client->peers[0]->least_us = 300 * 1000;
    round_of(500, 310, 500);
    assert_int_equal(w.client->peers[0]->window, 512);
    finish();
}

/* Who would wait too long behind others that the window holds back hears so at once. */
static void test_too_many_wait_already(void **state)
{
    (void)state;
    start(400);
    get("a", 0);
    run_ms(100);
    struct client_peer *peer = w.client->peers[0];
    peer->window = 10;
    peer->shrunk_us = env_now_us(sim_node_env(w.client_node));
    w.cluster.stores[0]->mood = FAKE_LATE;
    w.cluster.stores[0]->busy_ms = 100;
    for (int i = 0; i < 100; i++)
        get("a", 20000);
    run_ms(350); /* 10 each 100 ms by now: of 60 or so that wait the last has 600 ms to go */
    uint32_t hasty = get("a", 400);
    uint32_t other = get("z", 400);
    uint32_t patient = get("a", 5000);
    run_ms(30);
    assert_int_equal(w.status[hasty], ERR_BUSY);
    assert_int_equal(w.status[other], 0);
    assert_int_equal(w.status[patient], 1);
    run_ms(3000);
    assert_int_equal(count_of(0, w.count, 0), w.count - 1);
    finish();
}

/* Ask for changes behind the last one, with an answer only after so long. */
static uint32_t watch_late(const char *key, uint32_t busy_ms)
{
    w.cluster.stores[0]->mood = FAKE_LATE;
    w.cluster.stores[0]->busy_ms = busy_ms;
    w.cluster.stores[0]->moods_left = 1;
    uint32_t i = w.count++;
    w.ops[i].request.kind = REQUEST_WATCH;
    w.ops[i].request.watch = (struct request_watch){
        .start = slice_str(key), .end = slice_str("b"), .wait_ms = busy_ms, .limit_bytes = 4096};
    w.ops[i].timeout_ms = busy_ms + 5000;
    w.ops[i].cb = on_done;
    w.status[i] = 1;
    assert_int_equal(client_submit(w.client, &w.ops[i]), 0);
    run_ms(20);
    return i;
}

/* A request that waits for changes takes nobody's place at a store that pushes back, and how long
 * it waits says nothing of how fast the store is. */
static void test_watches_are_no_load(void **state)
{
    (void)state;
    start(100);
    get("a", 0);
    run_ms(100);
    uint32_t watch = watch_late("a", 10000);
    w.cluster.stores[0]->mood = FAKE_BUSY;
    w.cluster.stores[0]->busy_ms = 20;
    w.cluster.stores[0]->moods_left = 1;
    uint32_t one = get("a", 1000); /* is all that the store has of it, but for the watch */
    run_ms(10);
    uint32_t two = get("a", 1000);
    run_ms(900);
    assert_int_equal(w.status[watch], 1);
    assert_int_equal(w.status[one], 0);
    assert_int_equal(w.status[two], 0);
    run_ms(10000);
    assert_int_equal(w.status[watch], 0);
    assert_in_range(w.client->peers[0]->window, 1, 99);
    assert_in_range(w.client->peers[0]->took_us, 0, 50 * 1000);
    w.client->peers[0]->took_us = 400 * 1000; /* it was slow, and is not any more */
    watch = watch_late("a", 10000);
    one = get("a", 700);
    run_ms(100);
    assert_int_equal(w.status[watch], 1);
    assert_int_equal(w.status[one], 0);
    finish();
}

/* A watch that was once pushed back, and waits for changes since, makes its store no slow one:
 * while others are stuck, that store is asked beyond the bound. */
static void test_watches_are_not_stuck(void **state)
{
    (void)state;
    start(100);
    get("a", 0);
    get("z", 0);
    run_ms(100);
    struct fake_store *store = w.cluster.stores[0];
    store->mood = FAKE_BUSY;
    store->busy_ms = 200;
    store->moods_left = 1;
    uint32_t watch = w.count++;
    w.ops[watch].request.kind = REQUEST_WATCH;
    w.ops[watch].request.watch = (struct request_watch){
        .start = slice_str("a"), .end = slice_str("b"), .wait_ms = 9000, .limit_bytes = 4096};
    w.ops[watch].timeout_ms = 10000;
    w.ops[watch].cb = on_done;
    w.status[watch] = 1;
    assert_int_equal(client_submit(w.client, &w.ops[watch]), 0);
    run_ms(50);
    assert_int_equal(w.client->stuck_count, 1); /* as long as it waits to be sent again */
    store->mood = FAKE_LATE;
    store->busy_ms = 9000;
    store->moods_left = 1;
    run_ms(500);
    assert_int_equal(w.client->stuck_count, 0);
    w.cluster.stores[1]->mood = FAKE_SWALLOW;
    for (int i = 0; i < 99; i++)
        get("z", 10000);
    run_ms(1000);
    uint32_t from = w.count;
    for (int i = 0; i < 45; i++)
        get("a", 1000);
    run_ms(50);
    assert_int_equal(count_of(from, w.count, 0), 45);
    assert_int_equal(w.status[watch], 1);
    finish();
}

/* However many stores it has asked, there is a place for the next; those that were given stay. */
static void test_places_are_given_on(void **state)
{
    static char names[3 * CLIENT_PEERS_MAX][24];
    (void)state;
    start(100);
    get("a", 0);
    get("z", 0);
    run_ms(100);
    for (uint32_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(names[i], sizeof names[i], "gone-%u:7000", i);
        uint32_t at = w.count++;
        w.ops[at].request.kind = REQUEST_STATUS;
        w.ops[at].endpoint = names[i];
        w.ops[at].timeout_ms = 50;
        w.ops[at].cb = on_done;
        w.status[at] = 1;
        assert_int_equal(client_submit(w.client, &w.ops[at]), 0);
        run_ms(2);
        assert_in_range(w.client->peer_count, 3, CLIENT_PEERS_MAX);
    }
    run_ms(1500);
    assert_int_equal(count_of(2, w.count, 1), 0);
    uint32_t from = w.count;
    get("a", 1000);
    get("z", 1000);
    run_ms(100);
    assert_int_equal(count_of(from, w.count, 0), 2);
    for (uint32_t i = 0; i < STORES; i++)
        assert_true(w.client->peers[i]->is_given);
    finish();
}

/* A store that breaks off again and again gets no more repeats than the budget has. */
static void test_repeats_are_rationed(void **state)
{
    (void)state;
    start(20);
    get("a", 0);
    run_ms(100);
    struct client_stats before, after;
    client_stats_get(w.client, &before);
    w.cluster.stores[0]->mood = FAKE_RESET;
    for (int i = 0; i < 20; i++)
        get("a", 3000);
    run_ms(3500);
    client_stats_get(w.client, &after);
    uint64_t data = 0; /* requests that came through, but lookups */
    for (uint32_t i = 0; i < STORES; i++)
        data += w.cluster.stores[i]->requests;
    assert_in_range(data, 5, 1 + 20 + 20 + 4 * 5);
    finish();
}

/* A client that has one operation at a time can repeat it for longer than a moment. */
static void test_lone_operation_outlasts_resets(void **state)
{
    (void)state;
    start(1);
    get("a", 0);
    run_ms(100);
    w.cluster.stores[0]->mood = FAKE_RESET;
    uint32_t one = get("a", 5000);
    run_ms(3000);
    assert_int_equal(w.status[one], 1);
    w.cluster.stores[0]->mood = FAKE_SERVE;
    run_ms(1000);
    assert_int_equal(w.status[one], 0);
    finish();
}

/* A client that stood still until after its deadlines finds the answers, not that they are late. */
static void test_answers_before_late_deadlines(void **state)
{
    (void)state;
    start(10);
    get("a", 0);
    run_ms(100);
    w.cluster.stores[0]->mood = FAKE_LATE;
    w.cluster.stores[0]->busy_ms = 50;
    uint32_t one = get("a", 300);
    run_ms(10);
    sim_node_pause(w.client_node);
    sim_run_until(w.sim, sim_now_us(w.sim) + 1000 * 1000);
    sim_node_resume(w.client_node);
    run_ms(50);
    assert_int_equal(w.status[one], 0);
    w.cluster.stores[0]->mood = FAKE_SWALLOW; /* and where there is none, it is over as ever */
    uint32_t none = get("a", 300);
    run_ms(10);
    sim_node_pause(w.client_node);
    sim_run_until(w.sim, sim_now_us(w.sim) + 1000 * 1000);
    sim_node_resume(w.client_node);
    run_ms(50);
    assert_int_equal(w.status[none], ERR_UNAVAILABLE);
    finish();
}

static void test_budget(void **state)
{
    struct budget b;
    (void)state;
    budget_init(&b, 10, 1000);
    for (int i = 0; i < 10; i++)
        assert_true(budget_spend(&b, 1000));
    assert_false(budget_spend(&b, 1000));
    for (int i = 0; i < 10; i++)
        budget_earn(&b);
    assert_true(budget_spend(&b, 1000));
    assert_false(budget_spend(&b, 1000));
    assert_true(budget_spend(&b, 1000 + 400001)); /* a quarter of the bucket a second */
    assert_false(budget_spend(&b, 1000 + 400001));
    for (int i = 0; i < 10; i++)
        assert_true(budget_spend(&b, UINT64_C(1) << 40));
    assert_false(budget_spend(&b, UINT64_C(1) << 40)); /* never more than it holds */
}

/* Only one store has the range: whichever is asked first, that one is come to. */
static void test_who_has_the_range(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < STORES; at++) {
        start(100);
        for (uint32_t i = 0; i < STORES; i++)
            w.cluster.stores[i]->has_no_range = i != at;
        w.ops[0] = (struct client_op){
            .request.kind = REQUEST_STATUS, .range_id = 1, .timeout_ms = 2000, .cb = on_done};
        w.count = w.status[0] = 1;
        assert_int_equal(client_submit(w.client, &w.ops[0]), 0);
        run_ms(2500);
        assert_int_equal(w.status[0], 0);
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent_store),
        cmocka_unit_test(test_lookups_follow_each_other),
        cmocka_unit_test(test_lookups_take_turns),
        cmocka_unit_test(test_window_follows_push_back),
        cmocka_unit_test(test_window_passes_its_turn_on),
        cmocka_unit_test(test_push_back_leaves_room),
        cmocka_unit_test(test_hopeless_is_not_sent),
        cmocka_unit_test(test_window_begins_small),
        cmocka_unit_test(test_window_follows_long_lines),
        cmocka_unit_test(test_far_away_is_no_line),
        cmocka_unit_test(test_too_many_wait_already),
        cmocka_unit_test(test_watches_are_no_load),
        cmocka_unit_test(test_watches_are_not_stuck),
        cmocka_unit_test(test_places_are_given_on),
        cmocka_unit_test(test_repeats_are_rationed),
        cmocka_unit_test(test_lone_operation_outlasts_resets),
        cmocka_unit_test(test_answers_before_late_deadlines),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_who_has_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
