/* SPDX-License-Identifier: Apache-2.0 */
/* The same room in the real world: two stores and a client on loopback, one loop. */
#include <stdlib.h>

#include "env/uv/env_uv.h"
#include "net_rig.h"
#include "support/check.h"

enum { ROUNDS = 2000 };

struct store {
    struct fixture *f;
    struct net *net;
    int ups;
    uint64_t received;
};

struct fixture {
    struct env *env;
    struct store stores[2];
    struct net_peer *peers[2]; /* of stores[0] to 1, of 1 to 0 */
    struct env_conn *client;
    struct frame_reader reader;
    uint64_t answers;
    uint64_t asked;
    struct env_timer deadline;
};

static void check_done(struct fixture *f)
{
    if (f->answers == ROUNDS)
        env_uv_quit(f->env);
}

static void on_deadline(struct env_timer *timer)
{
    (void)timer;
    fail_msg("the world came to rest before the test was done");
}

static void ask(struct fixture *f)
{
    struct buf buf;
    size_t len;
    buf_init(&buf, 10000);
    rig_frame(&buf, MSG_REQUEST, ++f->asked, 100);
    uint8_t *bytes = buf_take(&buf, &len);
    env_conn_write(f->client, bytes, len);
}

static void on_up(void *data, const struct net_identity *who)
{
    struct store *store = data;
    struct fixture *f = store->f;
    (void)who;
    store->ups++;
    if (f->stores[0].ups == 0 || f->stores[1].ups == 0)
        return;
    for (int i = 0; i < 16; i++) /* so many in flight at a time */
        ask(f);
}

/* A request goes to the other store as bulk, comes back as urgent, is answered. */
static int on_request(void *data, uint64_t client, struct slice body, struct err *err)
{
    struct store *store = data;
    (void)body;
    (void)err;
    return rig_send(store->f->peers[0], NET_BULK, MSG_PROBE, client, 200);
}

static int on_message(void *data, uint64_t from, uint32_t kind, struct slice body, struct err *err)
{
    struct store *store = data;
    struct fixture *f = store->f;
    (void)body;
    (void)err;
    store->received++;
    if (kind == MSG_PROBE) {
        assert_int_equal(from, 1);
        return rig_send(f->peers[1], NET_URGENT, MSG_PROBE_RESULT, 1, 20);
    }
    assert_int_equal(from, 2);
    struct buf buf;
    buf_init(&buf, 10000);
    rig_frame(&buf, MSG_RESPONSE, 1, 10);
    assert_int_equal(net_client_reply(store->net, 1, buf_slice(&buf)), 0);
    buf_fini(&buf);
    return 0;
}

static int on_stream(void *data, struct net_stream *stream, const struct net_identity *from,
                     struct err *err)
{
    (void)data;
    (void)stream;
    (void)from;
    return err_set(err, ERR_UNSUPPORTED, "no streams here");
}

static void on_client_read(void *data, struct slice bytes)
{
    struct fixture *f = data;
    struct slice body;
    uint32_t kind;
    frame_reader_feed(&f->reader, bytes);
    while (frame_reader_next(&f->reader, &body, NULL) == 0) {
        assert_int_equal(msg_kind(body, &kind, NULL), 0);
        if (kind != MSG_RESPONSE)
            continue;
        f->answers++;
        if (f->asked < ROUNDS)
            ask(f);
    }
    check_done(f);
}

static void on_client_close(void *data, int status, const char *reason)
{
    (void)data;
    fail_msg("closed: %s %s", err_name(status), reason);
}

static void start_store(struct fixture *f, size_t i)
{
    struct net_options options = {
        .address = "127.0.0.1:0",
        .name = "test",
        .self = {.cluster_id = 1, .store_id = i + 1, .boot = 1},
        .hooks = {.on_peer_up = on_up,
                  .on_peer_message = on_message,
                  .on_request = on_request,
                  .on_stream = on_stream},
        .data = &f->stores[i],
        .secret = slice_str("shared"),
    };
    f->stores[i].f = f;
    assert_int_equal(net_new(f->env, &options, &f->stores[i].net, NULL), 0);
}

static void test_requests_travel_to_a_peer_and_back(void **state)
{
    (void)state;
    static const struct env_conn_handler HANDLER = {.on_read = on_client_read,
                                                    .on_close = on_client_close};
    struct fixture f = {0};
    assert_int_equal(env_uv_new(NULL, &f.env, NULL), 0);
    start_store(&f, 0);
    start_store(&f, 1);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(net_peer_add(f.stores[i].net, 2 - i, net_address(f.stores[1 - i].net),
                                      &f.peers[i], NULL),
                         0);
    frame_reader_init(&f.reader, FRAME_BODY_MAX);
    assert_int_equal(
        env_connect(f.env, net_address(f.stores[0].net), &HANDLER, &f, &f.client, NULL), 0);
    struct buf buf;
    size_t len;
    buf_init(&buf, 1000);
    rig_hello(&buf, HELLO_CLIENT, 1, 0);
    uint8_t *bytes = buf_take(&buf, &len);
    env_conn_write(f.client, bytes, len);
    env_timer_init(&f.deadline, f.env, on_deadline, NULL);
    env_timer_start(&f.deadline, 60 * RIG_SECOND);
    env_uv_run(f.env);

    assert_int_equal(f.answers, ROUNDS);
    assert_int_equal(f.stores[1].received, ROUNDS);
    net_check(f.stores[0].net);
    net_check(f.stores[1].net);
    env_stop(f.env);
    net_free(f.stores[0].net);
    net_free(f.stores[1].net);
    env_uv_free(f.env);
    frame_reader_fini(&f.reader);
}

static void test_a_port_in_use_names_the_address(void **state)
{
    (void)state;
    struct fixture f = {0};
    struct err err = {0};
    struct net *second = NULL;
    assert_int_equal(env_uv_new(NULL, &f.env, NULL), 0);
    start_store(&f, 0);
    struct net_options options = {
        .address = net_address(f.stores[0].net),
        .self = {.store_id = 9},
        .hooks = {.on_peer_message = on_message, .on_request = on_request, .on_stream = on_stream}};
    assert_int_equal(net_new(f.env, &options, &second, &err), ERR_IO);
    assert_non_null(strstr(err.msg, options.address));
    assert_non_null(strstr(err.msg, "in use"));
    env_stop(f.env);
    net_free(f.stores[0].net);
    net_free(NULL);
    env_uv_free(f.env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_travel_to_a_peer_and_back),
        cmocka_unit_test(test_a_port_in_use_names_the_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
