/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "env/env.h"
#include "env/sim/sim.h"

enum { SEEDS = 40, SECOND = 1000000, ACCEPTS_MAX = 200 };

/* One end of a connection as a process sees it. Bytes are a running counter, so
 * that any gap, repeat or swap shows (S2). */
struct end {
    struct env_conn *conn; /* NULL: none, or closed */
    int opens;
    int reads;
    int drains;
    int closes;
    int status;
    uint64_t sent;
    uint64_t got;
    int placed;        /* reads that brought bytes where it wanted them */
    uint8_t room[100]; /* where it wants them, … */
    bool has_room;     /* … if it does */
};

static void on_open(void *data)
{
    struct end *e = data;
    e->opens++;
}

static uint8_t *on_room(void *data, size_t *ret_len)
{
    struct end *e = data;
    *ret_len = sizeof e->room;
    return e->has_room ? e->room : NULL;
}

static void on_read(void *data, struct slice bytes)
{
    struct end *e = data;
    assert_true(bytes.len > 0);
    assert_true(bytes.data != e->room || bytes.len <= sizeof e->room);
    e->placed += bytes.data == e->room;
    assert_int_equal(e->closes, 0);
    for (size_t i = 0; i < bytes.len; i++)
        assert_int_equal(bytes.data[i], (uint8_t)(e->got + i));
    e->got += bytes.len;
    e->reads++;
}

static void on_drain(void *data)
{
    struct end *e = data;
    assert_int_equal(env_conn_pending(e->conn), 0);
    e->drains++;
}

static void on_close(void *data, int status, const char *reason)
{
    struct end *e = data;
    assert_non_null(reason);
    assert_int_equal(e->closes, 0);
    e->closes++;
    e->status = status;
    e->conn = NULL;
}

static const struct env_conn_handler handler = {
    .on_open = on_open,
    .on_room = on_room,
    .on_read = on_read,
    .on_drain = on_drain,
    .on_close = on_close,
};

static void send_bytes(struct end *e, size_t len)
{
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(e->sent + i);
    e->sent += len;
    env_conn_write(e->conn, bytes, len);
}

/* Two nodes, a listener on b, and a connection from a. */
struct fixture {
    struct sim *sim;
    struct sim_node *a;
    struct sim_node *b;
    struct env_listener *listener;
    struct end client;
    struct end *server; /* the newest of servers */
    struct end servers[ACCEPTS_MAX];
    int accepts;
    bool is_refusing;
};

static void on_accept(void *data, struct env_conn *conn, const char *peer)
{
    struct fixture *f = data;
    f->accepts++;
    assert_memory_equal(peer, "a:", 2);
    if (f->is_refusing) {
        env_conn_close(conn);
        return;
    }
    assert_true(f->accepts < ACCEPTS_MAX);
    f->server = &f->servers[f->accepts];
    *f->server = (struct end){.conn = conn};
    env_conn_accept(conn, &handler, f->server);
}

static void dial(struct fixture *f, const char *address)
{
    f->client = (struct end){0};
    assert_int_equal(
        env_connect(sim_node_env(f->a), address, &handler, &f->client, &f->client.conn, NULL), 0);
}

static void listen_b(struct fixture *f)
{
    assert_int_equal(
        env_listen(sim_node_env(f->b), "0.0.0.0:7000", on_accept, f, &f->listener, NULL), 0);
    assert_string_equal(env_listener_address(f->listener), "b:7000");
}

static void run(struct fixture *f, uint64_t us)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + us);
}

static void setup_with(struct fixture *f, uint64_t seed, const struct sim_options *options)
{
    *f = (struct fixture){.sim = sim_new(options, seed)};
    f->server = &f->servers[0];
    f->a = sim_node_new(f->sim, "a");
    f->b = sim_node_new(f->sim, "b");
    listen_b(f);
    dial(f, "b:7000");
}

static void setup(struct fixture *f, uint64_t seed)
{
    setup_with(f, seed, NULL);
    run(f, SECOND);
    assert_int_equal(f->client.opens, 1);
    assert_int_equal(f->accepts, 1);
}

static void test_both_ways(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 1);
    assert_false(env_conn_is_loopback(f.client.conn));
    send_bytes(&f.client, 10);
    send_bytes(&f.client, 100000);
    send_bytes(f.server, 3);
    assert_int_equal(env_conn_pending(f.client.conn), 100010);
    run(&f, SECOND);
    assert_int_equal(env_conn_pending(f.client.conn), 0);
    assert_int_equal(f.server->got, 100010);
    assert_int_equal(f.client.got, 3);
    assert_true(f.client.drains > 0);
    env_conn_close(f.client.conn);
    run(&f, SECOND);
    assert_int_equal(f.client.closes, 0); /* not after one's own close */
    assert_int_equal(f.server->closes, 1);
    assert_int_equal(f.server->status, ERR_EOF);
    sim_free(f.sim);
}

/* Whatever the network's mood: all bytes, in order, in pieces. */
static void test_order(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim_options options;
        struct fixture f;
        sim_options_swarm(&options, seed);
        options.reset_ppm = options.connect_error_ppm = 0;
        setup_with(&f, seed, &options);
        send_bytes(&f.client, 100); /* before it stands */
        run(&f, 2 * SECOND);
        for (int i = 0; i < 200; i++) {
            struct end *e = rng_chance(sim_rng(f.sim), 1, 2) ? &f.client : f.server;
            send_bytes(e, (size_t)rng_between(sim_rng(f.sim), 1, 2000));
            run(&f, rng_below(sim_rng(f.sim), 2000));
        }
        run(&f, 600 * (uint64_t)SECOND);
        assert_int_equal(f.client.closes + f.server->closes, 0);
        assert_true(f.server->got == f.client.sent);
        assert_true(f.client.got == f.server->sent);
        sim_free(f.sim);
    }
}

static void test_segmentation(void **state)
{
    (void)state;
    struct sim_options options;
    struct fixture f;
    sim_options_init(&options);
    options.segment_ppm = 1000000;
    setup_with(&f, 2, &options);
    run(&f, SECOND);
    for (int i = 0; i < 10; i++)
        send_bytes(&f.client, 1000);
    run(&f, SECOND);
    assert_int_equal(f.server->got, 10000);
    assert_true(f.server->reads > 20);
    sim_free(f.sim);
}

/* Where the reader wants them, if all fit there. */
static void test_room(void **state)
{
    (void)state;
    struct sim_options options;
    struct fixture f;
    sim_options_init(&options);
    setup_with(&f, 2, &options);
    run(&f, SECOND);
    f.server->has_room = true;
    send_bytes(&f.client, sizeof f.server->room);
    run(&f, SECOND);
    assert_int_equal(f.server->reads, 1);
    assert_int_equal(f.server->placed, 1);
    send_bytes(&f.client, sizeof f.server->room + 1);
    run(&f, SECOND);
    assert_int_equal(f.server->placed, 1);
    assert_int_equal(f.server->got, f.client.sent);
    sim_free(f.sim);
}

/* A reader that pauses fills the window, then the sender's queue; nothing is lost. */
static void test_back_pressure(void **state)
{
    (void)state;
    struct sim_options options;
    struct fixture f;
    sim_options_init(&options);
    options.window_max = 1000;
    setup_with(&f, 3, &options);
    run(&f, SECOND);
    env_conn_pause(f.server->conn);
    send_bytes(&f.client, 5000);
    run(&f, 100 * (uint64_t)SECOND);
    assert_int_equal(f.server->got, 0);
    assert_int_equal(env_conn_pending(f.client.conn), 4000);
    assert_int_equal(f.client.drains, 0);
    assert_int_equal(f.client.closes, 0); /* a slow reader is not a dead one */
    env_conn_resume(f.server->conn);
    run(&f, SECOND);
    assert_int_equal(f.server->got, 5000);
    assert_int_equal(env_conn_pending(f.client.conn), 0);
    assert_int_equal(f.client.drains, 1);
    sim_free(f.sim);
}

static const struct {
    const char *name;
    const char *address;
    int want;
} dials[] = {
    {"nobody listens", "b:7001", ERR_IO},
    {"no such host", "c:7000", ERR_IO},
    {"own host", "127.0.0.1:7000", ERR_IO},
};

static void test_refused(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 4);
    for (size_t i = 0; i < ARRAY_LEN(dials); i++) {
        env_conn_close(f.client.conn);
        dial(&f, dials[i].address);
        assert_int_equal(f.client.closes, 0);
        run(&f, SECOND);
        if (f.client.closes != 1 || f.client.status != dials[i].want)
            fail_msg("%s: %d closes, status %d", dials[i].name, f.client.closes, f.client.status);
    }
    struct env_conn *conn = NULL;
    struct env *env = sim_node_env(f.a);
    assert_int_equal(env_connect(env, "b", &handler, &f, &conn, NULL), ERR_INVALID);
    assert_int_equal(env_connect(env, "b:0", &handler, &f, &conn, NULL), ERR_INVALID);
    assert_int_equal(env_connect(env, "b:99999", &handler, &f, &conn, NULL), ERR_INVALID);
    struct env_listener *other = NULL;
    assert_int_equal(env_listen(sim_node_env(f.b), "b:7000", on_accept, &f, &other, NULL), ERR_IO);
    assert_int_equal(env_listen(sim_node_env(f.b), "a:1", on_accept, &f, &other, NULL), ERR_IO);
    f.is_refusing = true;
    dial(&f, "b:7000");
    run(&f, SECOND);
    assert_int_equal(f.client.closes, 1);
    sim_free(f.sim);
}

/* Bytes wait behind a cut and go on when it heals. */
static void test_partition(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 5);
    sim_net_partition(f.sim, f.a, f.b, false);
    assert_true(sim_net_is_cut(f.sim, f.a, f.b));
    assert_true(sim_net_is_cut(f.sim, f.b, f.a));
    send_bytes(&f.client, 100);
    send_bytes(f.server, 50);
    run(&f, SECOND);
    assert_int_equal(f.server->got, 0);
    assert_int_equal(f.client.got, 0);
    sim_net_heal(f.sim, NULL, NULL);
    assert_false(sim_net_is_cut(f.sim, f.a, f.b));
    run(&f, SECOND);
    assert_int_equal(f.server->got, 100);
    assert_int_equal(f.client.got, 50);
    run(&f, 100 * (uint64_t)SECOND);
    assert_int_equal(f.client.closes, 0);
    sim_free(f.sim);
}

/* A narrow link carries bit by bit what all connections send together; most of it waits with
 * the sender. Healed, it carries the rest at once. */
static void test_narrow(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 15);
    run(&f, SECOND);
    sim_net_narrow(f.sim, f.a, f.b, 10000);
    send_bytes(&f.client, 100000);
    send_bytes(f.server, 100000);
    run(&f, SECOND);
    assert_int_equal(f.client.got, 100000); /* the way back is wide */
    assert_in_range(f.server->got, 8000, 10000);
    assert_true(f.server->reads > 20);
    assert_in_range(env_conn_pending(f.client.conn), 80000, 90000);
    struct end other = {0}, *first = f.server;
    struct env *env = sim_node_env(f.a);
    assert_int_equal(env_connect(env, "b:7000", &handler, &other, &other.conn, NULL), 0);
    run(&f, SECOND);
    send_bytes(&other, 100000);
    uint64_t before = first->got;
    run(&f, 4 * (uint64_t)SECOND);
    assert_in_range(first->got - before + f.server->got, 36000, 42000);
    assert_true(f.server->got > 8000);
    sim_net_heal(f.sim, NULL, NULL);
    run(&f, 2 * (uint64_t)SECOND);
    assert_int_equal(first->got, 100000);
    assert_int_equal(f.server->got, 100000);
    sim_free(f.sim);
}

static void test_one_way(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 6);
    sim_net_partition(f.sim, f.a, f.b, true);
    assert_false(sim_net_is_cut(f.sim, f.b, f.a));
    send_bytes(&f.client, 100);
    send_bytes(f.server, 50);
    run(&f, SECOND);
    assert_int_equal(f.server->got, 0);
    assert_int_equal(f.client.got, 50);
    /* b's bytes arrive, but their acknowledgements do not: both give up. */
    run(&f, 60 * (uint64_t)SECOND);
    assert_int_equal(f.client.status, ERR_TIMEOUT);
    assert_int_equal(f.server->status, ERR_TIMEOUT);
    sim_free(f.sim);
}

/* A dial into a cut hangs: healed in time it stands, otherwise it times out. */
static void test_dial_into_cut(void **state)
{
    (void)state;
    for (int row = 0; row < 4; row++) {
        struct fixture f;
        setup(&f, 7);
        env_conn_close(f.client.conn);
        run(&f, SECOND);
        if (row % 2 == 0)
            sim_net_partition(f.sim, f.a, f.b, true);
        else
            sim_net_partition(f.sim, f.b, f.a, true);
        dial(&f, "b:7000");
        run(&f, row < 2 ? 3 * SECOND : 6 * SECOND);
        assert_int_equal(f.client.opens, 0);
        sim_net_heal(f.sim, f.a, f.b);
        run(&f, SECOND);
        assert_int_equal(f.client.opens, row < 2);
        assert_int_equal(f.client.status, row < 2 ? 0 : ERR_TIMEOUT);
        sim_free(f.sim);
    }
}

/* A reset lets any part arrive, in order, and both ends hear of it. */
static void test_reset(void **state)
{
    (void)state;
    bool seen_part = false;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        setup(&f, seed);
        send_bytes(&f.client, 1000);
        send_bytes(&f.client, 1000);
        while (env_conn_pending(f.client.conn) > 0)
            assert_true(sim_step(f.sim));
        sim_net_reset(f.sim, f.a, NULL);
        run(&f, SECOND);
        assert_int_equal(f.client.status, ERR_IO);
        assert_int_equal(f.server->status, ERR_IO);
        assert_true(f.server->got <= 2000);
        seen_part |= f.server->got > 0 && f.server->got < 2000 && f.server->got != 1000;
        sim_free(f.sim);
    }
    assert_true(seen_part);
}

/* A killed process: its peer hears soon, and may have got what was on the way. */
static void test_kill(void **state)
{
    (void)state;
    bool seen_eof = false;
    bool seen_reset = false;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        setup(&f, seed);
        send_bytes(&f.client, 500);
        run(&f, rng_below(sim_rng(f.sim), 1000));
        sim_node_crash(f.a, SIM_CRASH_KILL);
        run(&f, SECOND);
        assert_int_equal(f.server->closes, 1);
        assert_int_equal(f.client.closes, 0); /* S1 */
        seen_eof |= f.server->status == ERR_EOF;
        seen_reset |= f.server->status == ERR_IO;
        sim_free(f.sim);
    }
    assert_true(seen_eof);
    assert_true(seen_reset);
}

/* Loss of power: silence. Writing to the dark host times out; after its restart it
 * answers with a reset. */
static void test_half_open(void **state)
{
    (void)state;
    for (int row = 0; row < 2; row++) {
        struct fixture f;
        setup(&f, 8);
        sim_node_crash(f.b, SIM_CRASH_POWER);
        run(&f, 100 * (uint64_t)SECOND);
        assert_int_equal(f.client.closes, 0); /* nobody told it */
        if (row == 1)
            sim_node_restart(f.b);
        send_bytes(&f.client, 10);
        run(&f, SECOND);
        assert_int_equal(f.client.status, row == 1 ? ERR_IO : 0);
        run(&f, 60 * (uint64_t)SECOND);
        assert_int_equal(f.client.status, row == 1 ? ERR_IO : ERR_TIMEOUT);
        sim_free(f.sim);
    }
}

/* A paused process: its kernel still takes connections and bytes. */
static void test_pause(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 9);
    sim_node_pause(f.b);
    send_bytes(&f.client, 10);
    struct end first = f.client;
    struct end other = {0};
    assert_int_equal(env_connect(sim_node_env(f.a), "b:7000", &handler, &other, &other.conn, NULL),
                     0);
    run(&f, 100 * (uint64_t)SECOND);
    assert_int_equal(f.server->got, 0);
    assert_int_equal(f.client.closes, 0);
    assert_int_equal(other.opens, 1);
    assert_int_equal(f.accepts, 1);
    assert_ptr_equal(first.conn, f.client.conn);
    sim_node_crash(f.b, SIM_CRASH_KILL);
    run(&f, SECOND);
    assert_int_equal(f.client.closes, 1);
    assert_int_equal(other.closes, 1);
    sim_free(f.sim);
}

static void test_pause_resume(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        setup(&f, seed);
        sim_node_pause(f.b);
        for (int i = 0; i < 20; i++) {
            send_bytes(&f.client, 100);
            run(&f, 1000);
        }
        sim_node_resume(f.b);
        run(&f, SECOND);
        assert_int_equal(f.server->got, 2000);
        sim_free(f.sim);
    }
}

/* env_stop(): the process's connections end, nothing is delivered, a restart
 * listens on the same port again. */
static void test_stop_and_return(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 10);
    env_stop(sim_node_env(f.b));
    env_stop(sim_node_env(f.b));
    struct env_conn *conn = NULL;
    assert_int_equal(env_connect(sim_node_env(f.b), "a:1", &handler, &f, &conn, NULL),
                     ERR_CANCELED);
    run(&f, SECOND);
    assert_int_equal(f.client.closes, 1);
    assert_int_equal(f.server->closes, 0);
    sim_node_crash(f.b, SIM_CRASH_KILL);
    dial(&f, "b:7000");
    run(&f, SECOND);
    assert_int_equal(f.client.status, ERR_IO);
    sim_node_restart(f.b);
    listen_b(&f);
    dial(&f, "b:7000");
    run(&f, SECOND);
    assert_int_equal(f.client.opens, 1);
    env_listener_close(f.listener);
    dial(&f, "b:7000");
    run(&f, SECOND);
    assert_int_equal(f.client.status, ERR_IO);
    sim_free(f.sim);
}

static void closing_read(void *data, struct slice bytes)
{
    struct end *e = data;
    e->got += bytes.len;
    env_conn_close(e->conn);
    e->conn = NULL;
    assert_int_equal(bytes.data[0], 0); /* still ours until we return */
}

/* An owner may close from inside a callback. */
static void test_close_inside(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim_options options;
        struct fixture f;
        sim_options_swarm(&options, seed);
        options.reset_ppm = options.connect_error_ppm = 0;
        setup_with(&f, seed, &options);
        struct env_conn_handler closing = handler;
        closing.on_read = closing_read;
        env_conn_close(f.client.conn);
        f.client = (struct end){0};
        assert_int_equal(
            env_connect(sim_node_env(f.a), "b:7000", &closing, &f.client, &f.client.conn, NULL), 0);
        run(&f, SECOND);
        send_bytes(f.server, 10);
        send_bytes(f.server, 10000);
        run(&f, 20 * SECOND);
        assert_true(f.client.got > 0);
        assert_int_equal(f.client.closes, 0);
        assert_int_equal(f.server->closes, 1);
        sim_free(f.sim);
    }
}

/* Two nodes that talk, cut, crash and return at random: the same seed gives the
 * same run, and nothing is left over. */
static uint64_t storm(uint64_t seed)
{
    struct sim_options options;
    struct fixture f;
    sim_options_swarm(&options, seed);
    setup_with(&f, seed, &options);
    struct rng *rng = sim_rng(f.sim);
    for (int i = 0; i < 300; i++) {
        run(&f, rng_below(rng, 20000));
        sim_check(f.sim);
        switch (rng_below(rng, 16)) {
        case 0:
            sim_net_partition(f.sim, f.a, f.b, rng_chance(rng, 1, 2));
            break;
        case 1:
        case 2:
            sim_net_heal(f.sim, f.a, f.b);
            break;
        case 3:
            sim_net_reset(f.sim, f.a, f.b);
            break;
        case 4:
            sim_node_crash(f.b, rng_chance(rng, 1, 2) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
            f.server->conn = NULL;
            sim_node_restart(f.b);
            listen_b(&f);
            break;
        case 5:
            sim_node_pause(f.b);
            break;
        case 6:
            sim_node_resume(f.b);
            break;
        default:
            if (f.client.conn == NULL)
                dial(&f, "b:7000");
            send_bytes(&f.client, 1 + (size_t)rng_below(rng, 3000));
            if (f.server->conn != NULL)
                send_bytes(f.server, 1 + (size_t)rng_below(rng, 3000));
        }
    }
    uint64_t hash = sim_hash(f.sim);
    sim_free(f.sim);
    return hash;
}

static void test_storm(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++)
        assert_true(storm(seed) == storm(seed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),     cmocka_unit_test(test_order),
        cmocka_unit_test(test_segmentation),  cmocka_unit_test(test_room),
        cmocka_unit_test(test_back_pressure), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_partition),     cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_one_way),       cmocka_unit_test(test_dial_into_cut),
        cmocka_unit_test(test_reset),         cmocka_unit_test(test_kill),
        cmocka_unit_test(test_half_open),     cmocka_unit_test(test_pause),
        cmocka_unit_test(test_pause_resume),  cmocka_unit_test(test_stop_and_return),
        cmocka_unit_test(test_close_inside),  cmocka_unit_test(test_storm),
    };
    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
