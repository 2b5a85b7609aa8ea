/* SPDX-License-Identifier: Apache-2.0 */
/* Gets of several keys that lie in two ranges, each led by a store of its own. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/client_internal.h"
#include "env/sim/sim.h"
#include "support/fake_store.h"

enum { STORES = 2, KEYS_MAX = 400 };

struct world {
    struct sim *sim;
    struct sim_node *nodes[STORES];
    struct sim_node *client_node;
    struct fake_cluster cluster;
    struct client *client;
    struct client_op op;
    struct buf raw;
    bool is_over;
    int status;
    uint64_t version;
    uint32_t count;
    uint64_t done_us;
    char text[128];
    char seen[KEYS_MAX * 8]; /* "a=1 q=- …" without the keys: "1 - …" */
};

static struct world w;

static void start(void)
{
    static const char *const hosts[] = {"s1", "s2"};
    const char *endpoints[STORES];
    memset(&w, 0, sizeof w);
    w.sim = sim_new(NULL, 7);
    fake_cluster_init(&w.cluster);
    for (uint32_t i = 0; i < STORES; i++) {
        char address[32];
        snprintf(address, sizeof address, "%s:7000", hosts[i]);
        w.nodes[i] = sim_node_new(w.sim, hosts[i]);
        endpoints[i] = fake_store_new(&w.cluster, sim_node_env(w.nodes[i]), address)->address;
    }
    w.cluster.leader = w.cluster.stores[0];
    w.cluster.split = "m";
    w.cluster.split_leader = w.cluster.stores[1];
    w.client_node = sim_node_new(w.sim, "c");
    struct client_options options = {.endpoints = endpoints, .endpoint_count = STORES};
    assert_int_equal(client_new(sim_node_env(w.client_node), &options, &w.client, NULL), 0);
    buf_init(&w.raw, 1 << 20);
}

static void finish(void)
{
    client_check(w.client);
    env_stop(sim_node_env(w.client_node));
    client_free(w.client);
    for (uint32_t i = 0; i < STORES; i++)
        env_stop(sim_node_env(w.nodes[i]));
    fake_cluster_fini(&w.cluster);
    buf_fini(&w.raw);
    sim_free(w.sim);
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    (void)op;
    assert_false(w.is_over);
    w.is_over = true;
    w.status = result->status;
    w.done_us = sim_now_us(w.sim);
    snprintf(w.text, sizeof w.text, "%.*s", (int)result->text.len, (const char *)result->text.data);
    if (result->status != 0 || result->response->kind != REQUEST_MULTI_GET)
        return;
    struct unpack u = unpack_of(result->response->rows.rows.raw);
    w.version = result->response->rows.version;
    w.count = result->response->rows.rows.count;
    size_t at = 0;
    for (uint32_t i = 0; i < w.count; i++) {
        struct row row;
        row_next(&u, &row);
        at += (size_t)snprintf(w.seen + at, sizeof w.seen - at, "%s%.*s", i > 0 ? " " : "",
                               row.status == 0 ? (int)row.value.len : 1,
                               row.status == 0 ? (const char *)row.value.data : "-");
    }
    assert_int_equal(u.left, 0);
}

static void begin(enum request_kind kind, uint32_t timeout_ms)
{
    w.op = (struct client_op){.request = {.kind = kind}, .timeout_ms = timeout_ms, .cb = on_done};
    w.is_over = false;
    w.seen[0] = 0;
    buf_clear(&w.raw);
}

static void await(void)
{
    uint64_t until = sim_now_us(w.sim) + 20000000;
    assert_int_equal(client_submit(w.client, &w.op), 0);
    while (!w.is_over && sim_now_us(w.sim) < until) {
        sim_run_until(w.sim, sim_now_us(w.sim) + 1000);
        client_check(w.client);
    }
    assert_true(w.is_over);
}

static void put(const char *key, const char *value)
{
    struct op op = {.kind = OP_PUT, .key = slice_str(key), .value = slice_str(value)};
    begin(REQUEST_WRITE, 0);
    command_encode(&w.raw, &(struct command){.op_count = 1, .ops = &op});
    w.op.request.write.command = buf_slice(&w.raw);
    w.op.key = slice_str(key);
    await();
    assert_int_equal(w.status, 0);
}

static void ask(const char *const *keys, uint32_t count, uint32_t timeout_ms)
{
    begin(REQUEST_MULTI_GET, timeout_ms);
    for (uint32_t i = 0; i < count; i++)
        request_key_append(&w.raw, slice_str(keys[i]));
    w.op.request.multi_get.keys = (struct pack_list){.count = count, .raw = buf_slice(&w.raw)};
}

static void want(const char *const *keys, uint32_t count, const char *seen)
{
    ask(keys, count, 0);
    await();
    assert_int_equal(w.status, 0);
    assert_string_equal(w.seen, seen);
    assert_int_equal(w.client->parts_active, 0);
}

static const char *const mixed[] = {"a", "z", "q", "b", "y", "a"};

/* In the order of the keys, whatever is known of the ranges, and whatever becomes of them. */
static void test_rows_of_two_ranges(void **state)
{
    (void)state;
    start();
    want(mixed, 6, "- - - - - -"); /* nothing is known yet */
    put("a", "1");
    put("b", "2");
    put("y", "3");
    put("z", "4");
    want(mixed, 6, "1 4 - 2 3 1");
    assert_int_equal(w.version, 0); /* there is no one version */
    want(mixed + 3, 1, "2");
    assert_true(w.version > 0);
    w.cluster.split = "b"; /* the left range has given some of it to the right one */
    want(mixed, 6, "1 4 - 2 3 1");
    w.cluster.split = "zz"; /* … and got all of it */
    want(mixed, 6, "1 4 - 2 3 1");
    w.cluster.split = NULL;
    w.cluster.leader = w.cluster.stores[1];
    want(mixed, 6, "1 4 - 2 3 1");
    finish();
}

static void put_both(const char *value)
{
    fake_cluster_put(&w.cluster, slice_str("q"), slice_str(value));
    fake_cluster_put(&w.cluster, slice_str("z"), slice_str(value));
}

/* Two keys of a range that is not known yet: one answer is late, and a batch of somebody else comes
 * between it and the other. What is told is of one version all the same. */
static void test_a_batch_between_two_scouts(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "q", "z"};
    start();
    put("a", "1"); /* this range is known */
    put_both("2");
    struct fake_store *second = w.cluster.stores[1];
    second->mood = FAKE_LATE;
    second->busy_ms = 100;
    second->moods_left = 1;
    uint64_t before = second->requests;
    ask(keys, 3, 0);
    assert_int_equal(client_submit(w.client, &w.op), 0);
    while (second->requests < before + 2)
        sim_run_until(w.sim, sim_now_us(w.sim) + 50);
    put_both("3");
    uint64_t until = sim_now_us(w.sim) + 20000000;
    while (!w.is_over && sim_now_us(w.sim) < until) {
        sim_run_until(w.sim, sim_now_us(w.sim) + 1000);
        client_check(w.client);
    }
    assert_true(w.is_over);
    assert_int_equal(w.status, 0);
    assert_string_equal(w.seen, "1 3 3");
    assert_int_equal(w.client->parts_active, 0);
    finish();
}

/* Each range is asked once when all is known. */
static void test_parts_are_few(void **state)
{
    (void)state;
    static char names[KEYS_MAX][8];
    const char *keys[KEYS_MAX];
    start();
    for (int i = 0; i < KEYS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "%c%d", i % 2 == 0 ? 'a' : 'z', i);
        keys[i] = names[i];
    }
    ask(keys, KEYS_MAX, 0);
    await();
    uint64_t before = w.cluster.stores[0]->requests + w.cluster.stores[1]->requests;
    ask(keys, KEYS_MAX, 0);
    await();
    assert_int_equal(w.status, 0);
    assert_int_equal(w.count, KEYS_MAX);
    assert_int_equal(w.cluster.stores[0]->requests + w.cluster.stores[1]->requests - before, 2);
    finish();
}

/* One range cannot be asked: it ends at the deadline, and nothing is left behind. */
static void test_a_part_fails(void **state)
{
    (void)state;
    start();
    want(mixed, 6, "- - - - - -");
    w.cluster.stores[1]->mood = FAKE_SWALLOW;
    ask(mixed, 6, 700);
    await();
    assert_int_equal(w.status, ERR_UNAVAILABLE);
    w.cluster.stores[1]->mood = FAKE_SERVE;
    want(mixed, 6, "- - - - - -");
    w.cluster.stores[1]->mood = FAKE_SWALLOW;
    ask(mixed, 6, 5000);
    assert_int_equal(client_submit(w.client, &w.op), 0);
    sim_run_until(w.sim, sim_now_us(w.sim) + 50000);
    assert_int_equal(w.client->parts_active, 1);
    assert_true(client_cancel(&w.op));
    assert_int_equal(w.client->parts_active, 0);
    client_check(w.client);
    ask(mixed, 6, 5000); /* one more is under way when the client ends */
    assert_int_equal(client_submit(w.client, &w.op), 0);
    sim_run_until(w.sim, sim_now_us(w.sim) + 50000);
    finish();
}

/* All parts end with the whole, at its deadline, which says why; each tells its store what is left
 * of that. */
static void test_one_deadline(void **state)
{
    (void)state;
    start();
    want(mixed, 6, "- - - - - -");
    struct fake_store *slow = w.cluster.stores[1];
    slow->mood = FAKE_BUSY;
    slow->busy_ms = 100;
    slow->moods_left = 2;
    ask(mixed, 6, 700);
    uint64_t begun_us = sim_now_us(w.sim);
    assert_int_equal(client_submit(w.client, &w.op), 0);
    sim_run_until(w.sim, begun_us + 50000);
    slow->mood = FAKE_SWALLOW; /* what is pushed back comes again, and is swallowed */
    slow->moods_left = 0;
    sim_run_until(w.sim, begun_us + 699000);
    assert_false(w.is_over);
    assert_int_equal(w.client->parts_active, 1);
    assert_in_range(slow->last_timeout_ms, 1, 600);
    sim_run_until(w.sim, begun_us + 701000);
    assert_true(w.is_over);
    assert_int_equal(w.done_us, begun_us + 700000);
    assert_int_equal(w.status, ERR_BUSY);
    assert_string_equal(w.text, "no answer from s2:7000 within the deadline");
    assert_int_equal(w.client->parts_active, 0);
    client_check(w.client);
    finish();
}

static uint32_t crowd_over;

static void on_crowd_done(struct client_op *op, const struct client_result *result)
{
    (void)op;
    assert_int_equal(result->status, ERR_UNAVAILABLE);
    crowd_over++;
}

/* All parts that there may be are those of others; when they end, it is the next one's turn. */
static void test_parts_wait_for_room(void **state)
{
    (void)state;
    static struct client_op crowd[CLIENT_PARTS_MAX];
    start();
    want(mixed, 6, "- - - - - -");
    w.cluster.stores[0]->mood = w.cluster.stores[1]->mood = FAKE_SWALLOW;
    ask(mixed, 2, 6000);
    crowd_over = 0;
    for (uint32_t i = 0; i < CLIENT_PARTS_MAX; i++) {
        crowd[i] =
            (struct client_op){.request = w.op.request, .timeout_ms = 300, .cb = on_crowd_done};
        assert_int_equal(client_submit(w.client, &crowd[i]), 0);
    }
    assert_int_equal(client_submit(w.client, &w.op), 0);
    sim_run_until(w.sim, sim_now_us(w.sim) + 250000);
    assert_int_equal(w.client->parts_active, CLIENT_PARTS_MAX);
    w.cluster.stores[0]->mood = w.cluster.stores[1]->mood = FAKE_SERVE;
    sim_run_until(w.sim, sim_now_us(w.sim) + 3000000);
    assert_int_equal(crowd_over, CLIENT_PARTS_MAX);
    assert_true(w.is_over);
    assert_int_equal(w.status, 0);
    finish();
}

static void want_any(const char *const *keys, uint32_t count, const char *seen)
{
    ask(keys, count, 3000);
    w.op.request.multi_get.read.any_replica = true;
    await();
    assert_int_equal(w.status, 0);
    assert_string_equal(w.seen, seen);
}

/* Who may ask any replica, and asks nothing else, hears of splits and merges, too. */
static void test_any_replica_learns_of_ranges(void **state)
{
    (void)state;
    start();
    put("a", "1");
    put("b", "2");
    put("y", "3");
    put("z", "4");
    want_any(mixed, 6, "1 4 - 2 3 1");
    uint64_t before = w.cluster.stores[0]->requests + w.cluster.stores[1]->requests;
    w.cluster.split = "b"; /* the left range has given some of it to the right one */
    want_any(mixed + 3, 1, "2");
    want_any(mixed, 6, "1 4 - 2 3 1");
    w.cluster.split = "y";
    want_any(mixed, 6, "1 4 - 2 3 1");
    assert_in_range(w.cluster.stores[0]->requests + w.cluster.stores[1]->requests - before, 3, 60);
    finish();
}

/* What a change is sent in pieces of is the client's own: nobody else's bytes go out with it. */
static void test_a_command_in_pieces_is_refused(void **state)
{
    (void)state;
    start();
    struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v")};
    command_encode(&w.raw, &(struct command){.op_count = 1, .ops = &op});
    client_op_init(&w.op, REQUEST_WRITE);
    w.op.cb = on_done;
    w.op.key = op.key;
    w.op.request.write = (struct request_write){
        .command = buf_slice(&w.raw),
        .rest = slice_str("x"),
    };
    assert_int_equal(client_submit(w.client, &w.op), ERR_INVALID);
    w.op.request.write.rest = (struct slice){0};
    assert_int_equal(client_submit(w.client, &w.op), 0);
    sim_run_until(w.sim, sim_now_us(w.sim) + 5000000);
    assert_true(w.is_over && w.status == 0);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_of_two_ranges),
        cmocka_unit_test(test_a_batch_between_two_scouts),
        cmocka_unit_test(test_parts_are_few),
        cmocka_unit_test(test_a_part_fails),
        cmocka_unit_test(test_one_deadline),
        cmocka_unit_test(test_parts_wait_for_room),
        cmocka_unit_test(test_any_replica_learns_of_ranges),
        cmocka_unit_test(test_a_command_in_pieces_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
