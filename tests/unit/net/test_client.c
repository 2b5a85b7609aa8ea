/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "net/net_internal.h"
#include "net_rig.h"
#include "support/check.h"
#include "wire/pack.h"

enum { MIB = 1 << 20 };

static int setup(void **state)
{
    *state = rig_new(9);
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static struct net_stats stats_of(const struct rig_store *store)
{
    struct net_stats stats;
    net_stats(store->net, &stats);
    return stats;
}

static int reply(struct rig_store *store, uint64_t client, uint64_t seq, size_t len)
{
    struct buf buf;
    buf_init(&buf, (size_t)64 << 20);
    rig_frame(&buf, MSG_RESPONSE, seq, len);
    int code = net_client_reply(store->net, client, buf_slice(&buf));
    buf_fini(&buf);
    return code;
}

static void test_requests_are_answered_in_one_write_a_turn(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    a->must_reply = true;
    a->reply_len = 100;
    struct buf requests; /* one write, so that all come in one turn */
    buf_init(&requests, 10000);
    for (uint64_t seq = 1; seq <= 50; seq++)
        rig_frame(&requests, MSG_REQUEST, seq, 20);
    rig_client_write(&client, &requests);
    buf_fini(&requests);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->seen_count, 50);
    assert_int_equal(client.seen_count, 50);
    assert_int_equal(client.reads, 1);
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(client.seen[i].kind, MSG_RESPONSE);
        assert_int_equal(client.seen[i].seq, i + 1);
    }
    assert_non_null(strstr(net_client_address(a->net, a->seen[0].from), "outside"));
    assert_int_equal(net_client_pending(a->net, a->seen[0].from), 0);
    rig_client_close(&client);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->gone, 1);
    assert_int_equal(a->refused, 0); /* an ordinary end */
    assert_string_equal(net_client_address(a->net, a->seen[0].from), "");
}

/* More than a turn takes: the rest comes in the next ones, all of it and in order. */
static void test_a_flood_is_read_in_turns(void **state)
{
    enum { COUNT = NET_TURN_REQUESTS + NET_TURN_REQUESTS / 2 };
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    a->must_reply = true;
    struct buf requests;
    buf_init(&requests, MIB);
    for (uint64_t seq = 1; seq <= COUNT; seq++)
        rig_frame(&requests, MSG_REQUEST, seq, 1);
    rig_client_write(&client, &requests);
    buf_fini(&requests);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->seen_count, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(a->seen[i].seq, i + 1);
    assert_int_equal(client.seen_count, COUNT);
    assert_int_equal(stats_of(a).clients_paused, 0);
    rig_client_close(&client);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->gone, 1);
    assert_int_equal(a->refused, 0);
}

/* Memory runs out in the middle of a reply, behind a whole one: no half of a frame leaves. */
static void test_half_a_reply_ends_the_client(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    struct net_reply half;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    rig_client_request(&client, 1, 1);
    rig_client_request(&client, 2, 1);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->seen_count, 2);
    uint64_t number = a->seen[0].from;
    assert_int_equal(net_client_reply_begin(a->net, number, &half), 0);
    rig_frame(half.out, MSG_RESPONSE, 1, 100);
    size_t len = half.out->len;
    assert_int_equal(net_client_reply_end(&half), len);
    assert_int_equal(net_client_reply_begin(a->net, number, &half), 0);
    size_t start = frame_begin(half.out);
    buf_append_str(half.out, "half");
    half.out->failed = true;
    frame_end(half.out, start, true);
    net_client_reply_end(&half);
    assert_int_equal(net_client_reply_begin(a->net, number, &half), ERR_NOT_FOUND);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->gone, 1);
    assert_int_equal(stats_of(a).clients_memory, 0);
    for (size_t i = 0; i < client.seen_count; i++)
        assert_int_equal(client.seen[i].kind, MSG_ERROR);
    rig_client_close(&client);
}

/* Frames that were made before leave in their turn, behind those that were said before and before
 * those after; of who is gone they are not taken. */
static void test_replies_made_before(void **state)
{
    enum { COUNT = 6 };
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    struct buf made;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    for (uint64_t seq = 1; seq <= COUNT; seq++)
        rig_client_request(&client, seq, 1);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->seen_count, COUNT);
    uint64_t number = a->seen[0].from;
    for (uint64_t seq = 1; seq <= COUNT; seq++) {
        if (seq % 3 == 1) {
            assert_int_equal(reply(a, number, seq, 100), 0);
            continue;
        }
        buf_init(&made, (size_t)4 << 20);
        rig_frame(&made, MSG_RESPONSE, seq, 300000);
        size_t len = made.len;
        assert_int_equal(net_client_reply_take(a->net, number, &made), len);
        assert_int_equal(made.len, 0);
        buf_fini(&made);
    }
    assert_true(net_client_pending(a->net, number) > 4 * 300000);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(client.seen_count, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(client.seen[i].seq, i + 1);
    assert_int_equal(net_client_pending(a->net, number), 0);
    rig_client_close(&client);
    rig_run(rig, RIG_SECOND);
    buf_init(&made, 10000);
    rig_frame(&made, MSG_RESPONSE, 1, 100);
    assert_int_equal(net_client_reply_take(a->net, number, &made), 0);
    buf_fini(&made);
}

static void test_a_late_reply_finds_nobody(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client first, second;
    rig_start(rig, 0);
    rig_client_greet(&first, rig, 0);
    rig_client_request(&first, 1, 1);
    rig_run(rig, RIG_SECOND);
    rig_client_close(&first);
    rig_run(rig, RIG_SECOND);
    rig_client_greet(&second, rig, 0);
    rig_client_request(&second, 2, 1);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->seen_count, 2);
    assert_int_not_equal(a->seen[0].from, a->seen[1].from);
    assert_int_equal(reply(a, a->seen[0].from, 1, 1), ERR_NOT_FOUND);
    assert_int_equal(reply(a, a->seen[1].from, 2, 1), 0);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(second.seen_count, 1);
    assert_int_equal(second.seen[0].seq, 2);
    rig_client_close(&second);
}

static void test_requests_in_flight_are_bounded(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    a->options.limits.requests_max = 10;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    for (uint64_t seq = 1; seq <= 40; seq++)
        rig_client_request(&client, seq, 2000);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->seen_count, 10);
    assert_int_equal(stats_of(a).clients_paused, 1);
    size_t replied = 0;
    for (; replied < 4; replied++)
        assert_int_equal(reply(a, a->seen[replied].from, replied + 1, 1), 0);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->seen_count, 10); /* not before half is done */
    while (replied < a->seen_count) {
        assert_int_equal(reply(a, a->seen[replied].from, replied + 1, 1), 0);
        replied++;
        rig_run(rig, RIG_SECOND / 10);
        assert_true(a->seen_count - replied <= 10);
    }
    assert_int_equal(a->seen_count, 40);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(a->seen[i].seq, i + 1);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(client.seen_count, 40);
    assert_int_equal(stats_of(a).clients_paused, 0);
    rig_client_close(&client);
}

/* Requests that wait for something to happen do not keep others of theirs from being read. */
static void test_parked_requests_do_not_count(void **state)
{
    enum { PARKED = 25, MAX = 10 };
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    a->options.limits.requests_max = MAX;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    for (uint64_t seq = 1; seq <= PARKED; seq++) {
        rig_client_request(&client, seq, 100);
        rig_run(rig, RIG_SECOND / 100);
        assert_int_equal(a->seen_count, seq);
        net_client_park(a->net, a->seen[seq - 1].from);
    }
    for (uint64_t seq = PARKED + 1; seq <= PARKED + 2 * MAX; seq++)
        rig_client_request(&client, seq, 2000);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->seen_count, PARKED + MAX);
    assert_int_equal(stats_of(a).clients_paused, 1);
    uint64_t from = a->seen[0].from;
    for (uint64_t seq = 1; seq <= PARKED; seq++) { /* their answers let nobody in, … */
        net_client_unpark(a->net, from);
        assert_int_equal(reply(a, from, seq, 1), 0);
    }
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->seen_count, PARKED + MAX);
    for (uint64_t seq = PARKED + 1; seq <= PARKED + MAX / 2; seq++) /* … those of the others do */
        assert_int_equal(reply(a, from, seq, 1), 0);
    rig_run(rig, RIG_SECOND);
    assert_in_range(a->seen_count, PARKED + MAX + 1, PARKED + 2 * MAX);
    for (uint64_t seq = PARKED + MAX / 2 + 1; seq <= PARKED + 2 * MAX; seq++) {
        assert_int_equal(reply(a, from, seq, 1), 0);
        rig_run(rig, RIG_SECOND / 10);
    }
    assert_int_equal(a->seen_count, PARKED + 2 * MAX);
    assert_int_equal(client.seen_count, PARKED + 2 * MAX);
    assert_int_equal(stats_of(a).clients_paused, 0);
    net_client_park(a->net, from + 1); /* nobody */
    net_client_unpark(a->net, from + 1);
    rig_client_close(&client);
}

static void test_who_does_not_read_is_pushed_back_then_closed(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client lazy, good;
    a->options.limits.replies_pause = 2 * MIB;
    rig_start(rig, 0);
    rig_client_greet(&lazy, rig, 0);
    rig_client_greet(&good, rig, 0);
    a->must_reply = true;
    a->reply_len = MIB / 2;
    env_conn_pause(lazy.conn);
    for (uint64_t seq = 1; seq <= 100; seq++)
        rig_client_request(&lazy, seq, 100);
    rig_run(rig, 5 * RIG_SECOND);
    assert_in_range(a->seen_count, 3, 8); /* not a hundred */
    assert_int_equal(stats_of(a).clients_paused, 1);
    assert_in_range(stats_of(a).clients_memory, MIB, 4 * MIB);
    rig_client_request(&good, 1, 100);
    rig_run(rig, 5 * RIG_SECOND);
    assert_int_equal(good.seen_count, 1); /* the others do not notice */
    rig_run(rig, 18 * RIG_SECOND);
    assert_int_equal(a->gone, 0);
    rig_run(rig, 5 * RIG_SECOND);
    assert_int_equal(a->gone, 1);
    assert_non_null(strstr(a->refused_reason, "replies wait"));
    rig_client_request(&good, 2, 100);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(good.seen_count, 2);
    assert_int_equal(stats_of(a).clients_memory, 0);
    rig_client_close(&lazy);
    rig_client_close(&good);
}

/* Whoever answers may stop long before replies_pause is met: that keeps no connection. */
static void test_who_takes_nothing_is_closed(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client lazy, slow;
    rig_start(rig, 0);
    rig_client_greet(&lazy, rig, 0);
    rig_client_greet(&slow, rig, 0);
    a->must_reply = true;
    a->reply_len = MIB / 4;
    env_conn_pause(lazy.conn);
    env_conn_pause(slow.conn);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        rig_client_request(&lazy, seq, 100);
        rig_client_request(&slow, seq, 100);
    }
    for (int i = 0; i < 4; i++) {
        rig_run(rig, 20 * RIG_SECOND);
        env_conn_resume(slow.conn);
        rig_run(rig, RIG_SECOND);
        env_conn_pause(slow.conn);
        rig_client_request(&slow, 5 + (uint64_t)i, 100);
    }
    assert_int_equal(a->gone, 1);
    assert_non_null(strstr(a->refused_reason, "replies wait"));
    env_conn_resume(slow.conn);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(slow.seen_count, 8);
    rig_client_close(&lazy);
    rig_client_close(&slow);
}

static void test_who_reads_again_in_time_is_served_on(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    a->options.limits.replies_pause = 2 * MIB;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    a->must_reply = true;
    a->reply_len = MIB / 2;
    env_conn_pause(client.conn);
    for (uint64_t seq = 1; seq <= 60; seq++)
        rig_client_request(&client, seq, 100);
    rig_run(rig, 20 * RIG_SECOND);
    env_conn_resume(client.conn);
    rig_run(rig, 60 * RIG_SECOND);
    assert_int_equal(client.seen_count, 60);
    assert_int_equal(client.seen[59].seq, 60);
    assert_int_equal(a->refused, 0);
    assert_int_equal(stats_of(a).clients_paused, 0);
    rig_client_close(&client);
}

static void test_the_hard_bound_of_replies_closes_at_once(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    a->options.limits.replies_max = 8 * MIB;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    for (uint64_t seq = 1; seq <= 20; seq++)
        rig_client_request(&client, seq, 1);
    rig_run(rig, RIG_SECOND);
    int served = 0;
    for (uint64_t i = 0; i < 20; i++)
        served += reply(a, a->seen[i].from, i + 1, MIB) == 0;
    assert_in_range(served, 7, 9);
    assert_int_equal(a->gone, 0); /* not from inside a call */
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->gone, 1);
    assert_non_null(strstr(a->refused_reason, "too many replies"));
    assert_int_equal(stats_of(a).clients_memory, 0);
    rig_client_close(&client);
}

static void test_when_all_hold_too_much_the_greediest_goes(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client clients[3];
    a->options.limits.memory_max = 6 * MIB;
    rig_start(rig, 0);
    for (size_t i = 0; i < 3; i++) {
        rig_client_greet(&clients[i], rig, 0);
        env_conn_pause(clients[i].conn);
        for (uint64_t seq = 1; seq <= 10; seq++)
            rig_client_request(&clients[i], seq, 1);
        rig_run(rig, RIG_SECOND);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(reply(a, a->seen[i].from, 1, MIB), 0); /* client 0 */
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->gone, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(reply(a, a->seen[10 + i].from, 1, MIB), 0);
        assert_int_equal(reply(a, a->seen[20 + i].from, 1, MIB), 0);
    }
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->gone, 1);
    assert_non_null(strstr(a->refused_reason, "most of the clients' memory"));
    assert_string_equal(net_client_address(a->net, a->seen[0].from), "");
    assert_int_equal(stats_of(a).clients, 2);
    for (size_t i = 0; i < 3; i++)
        rig_client_close(&clients[i]);
}

static void test_unfinished_requests_count_as_memory(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    a->options.limits.memory_max = 4 * MIB;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    rig_client_request(&client, 1, 16 * MIB);
    rig_run(rig, 30 * RIG_SECOND);
    assert_int_equal(a->gone, 1);
    assert_int_equal(a->seen_count, 0);
    assert_int_equal(stats_of(a).clients_memory, 0);
    rig_client_close(&client);
}

/* What counts is the memory that is held for them: of a large frame more than what came of it. */
static void test_room_for_requests_counts_as_memory(void **state)
{
    enum { CAME = 600 << 10, ROOM = MIB };
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    struct buf frame;
    a->options.limits.memory_max = ROOM;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    buf_init(&frame, 32 * MIB);
    rig_frame(&frame, MSG_REQUEST, 1, 16 * MIB);
    uint8_t *part = malloc(CAME);
    assert_non_null(part);
    memcpy(part, frame.data, CAME);
    buf_fini(&frame);
    env_conn_write(client.conn, part, CAME);
    rig_run(rig, 5 * RIG_SECOND);
    assert_int_equal(a->gone, 1);
    assert_non_null(strstr(a->refused_reason, "most of the clients' memory"));
    assert_int_equal(stats_of(a).clients_memory, 0);
    rig_client_close(&client);
}

/* What a client's large request took is given back when it has come. */
static void test_idle_clients_hold_no_memory(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    a->must_reply = true;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        rig_client_request(&client, seq, 200 << 10);
        rig_run(rig, RIG_SECOND);
        assert_int_equal(client.seen_count, seq);
        assert_int_equal(stats_of(a).clients_memory, 0);
    }
    rig_client_close(&client);
}

/* What readers keep for the next frame is nobody's: it is given back before anybody goes for it. */
static void test_no_client_goes_for_memory_that_is_kept(void **state)
{
    enum { CLIENTS = 12, LEN = 200 << 10, SOON_MS = 20 };
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client clients[CLIENTS];
    a->must_reply = true;
    a->options.limits.memory_max = MIB;
    rig_start(rig, 0);
    for (size_t i = 0; i < CLIENTS; i++)
        rig_client_greet(&clients[i], rig, 0);
    for (size_t i = 0; i < CLIENTS; i++) { /* one after another, and none is idle for long */
        struct buf frame;
        buf_init(&frame, MIB);
        rig_frame(&frame, MSG_REQUEST, i + 1, LEN);
        rig_client_write(&clients[i], &(struct buf){.data = frame.data, .len = LEN / 2});
        rig_run(rig, SOON_MS * RIG_SECOND / 2000);
        rig_client_write(&clients[i],
                         &(struct buf){.data = frame.data + LEN / 2, .len = frame.len - LEN / 2});
        rig_run(rig, SOON_MS * RIG_SECOND / 2000);
        buf_fini(&frame);
        assert_int_equal(a->seen_count, i + 1);
        assert_true(stats_of(a).clients_memory <= MIB);
    }
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->gone, 0);
    assert_int_equal(stats_of(a).clients_memory, 0);
    for (size_t i = 0; i < CLIENTS; i++)
        rig_client_close(&clients[i]);
}

static void greet_in_vain(struct rig *rig, struct rig_client *client)
{
    struct buf buf;
    buf_init(&buf, 4096);
    rig_hello(&buf, HELLO_CLIENT, 0, 0);
    rig_client_open(client, rig, rig->outside, 0);
    rig_client_write(client, &buf);
    buf_fini(&buf);
    rig_run(rig, 3 * RIG_SECOND); /* it is told why, and has the time to hear it */
    assert_null(client->conn);
    assert_int_equal(client->error_code, ERR_BUSY);
}

/* Who says nothing cannot have more of them than that either: the oldest goes. */
static void test_silence_is_bounded(void **state)
{
    enum { ROOM = 3 + NET_BESIDE_MAX };
    static struct rig_client clients[ROOM + 1];
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    a->options.limits.connections_max = 3;
    rig_start(rig, 0);
    for (size_t i = 0; i <= ROOM; i++)
        rig_client_open(&clients[i], rig, rig->outside, 0);
    rig_run(rig, RIG_SECOND);
    assert_non_null(strstr(a->refused_reason, "not greeted yet"));
    assert_int_equal(a->refused, 1);
    assert_int_equal(stats_of(a).connections, ROOM);
    for (size_t i = 0; i <= ROOM; i++)
        rig_client_close(&clients[i]);
}

static void test_connections_are_bounded(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client clients[4];
    a->options.limits.connections_max = 3;
    rig_start(rig, 0);
    for (size_t i = 0; i < 3; i++)
        rig_client_greet(&clients[i], rig, 0);
    greet_in_vain(rig, &clients[3]);
    assert_string_equal(a->refused_reason, "too many connections");
    rig_start(rig, 1); /* another store is let in */
    struct net_peer *peer = rig_dial(rig, 1, 0);
    rig_run(rig, 2 * RIG_SECOND);
    assert_true(net_peer_is_up(peer));
    greet_in_vain(rig, &clients[3]);
    net_peer_remove(peer);
    rig_client_close(&clients[0]);
    rig_client_close(&clients[3]);
    rig_run(rig, 3 * RIG_SECOND);
    rig_client_greet(&clients[0], rig, 0); /* there is room again */
    for (size_t i = 0; i < 3; i++)
        rig_client_close(&clients[i]);
}

/* Writes one byte of `buf` a second, and tells after how many it was closed. */
static size_t trickle(struct rig *rig, struct rig_client *client, const struct buf *buf)
{
    size_t i;
    for (i = 0; i < buf->len && client->conn != NULL; i++) {
        struct buf one = {.data = buf->data + i, .len = 1};
        rig_client_write(client, &one);
        rig_run(rig, RIG_SECOND);
    }
    return i;
}

static void test_slow_greetings_and_frames_are_given_up(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    struct buf buf;
    buf_init(&buf, 10000);
    rig_start(rig, 0);

    rig_client_open(&client, rig, rig->outside, 0); /* says nothing */
    rig_run(rig, 4 * RIG_SECOND);
    assert_non_null(client.conn);
    rig_run(rig, 3 * RIG_SECOND);
    assert_null(client.conn);
    assert_int_equal(client.error_code, ERR_TIMEOUT);
    assert_non_null(strstr(a->refused_reason, "no greeting"));
    rig_client_close(&client);

    rig_hello(&buf, HELLO_CLIENT, 0, 0);
    rig_client_open(&client, rig, rig->outside, 0);
    assert_in_range(trickle(rig, &client, &buf), 5, 8);
    rig_client_close(&client);

    rig_client_greet(&client, rig, 0);
    buf_clear(&buf);
    rig_frame(&buf, MSG_REQUEST, 1, 1000);
    assert_in_range(trickle(rig, &client, &buf), 60, 64);
    assert_non_null(strstr(a->refused_reason, "did not end"));
    rig_client_close(&client);
    buf_fini(&buf);
}

/* A request came half before its connection was not read for long, and the rest of it meanwhile:
 * that it did not end was not its client's doing. */
static void test_a_frame_s_time_does_not_run_in_a_pause(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    struct buf buf, reply;
    a->options.limits.frame_ms = 2000;
    a->options.limits.replies_pause = 2 * MIB;
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    buf_init(&buf, MIB);
    rig_frame(&buf, MSG_REQUEST, 1, 100);
    size_t first = buf.len;
    rig_frame(&buf, MSG_REQUEST, 2, 1000);
    struct buf begin = {.data = buf.data, .len = first + 200};
    struct buf rest = {.data = buf.data + begin.len, .len = buf.len - begin.len};
    rig_client_write(&client, &begin);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->seen_count, 1);
    env_conn_pause(client.conn);
    buf_init(&reply, 8 * MIB);
    rig_frame(&reply, MSG_RESPONSE, 1, 4 * MIB);
    assert_int_equal(net_client_reply(a->net, a->seen[0].from, buf_slice(&reply)), 0);
    assert_int_equal(stats_of(a).clients_paused, 1);
    rig_client_write(&client, &rest);
    rig_run(rig, 4 * RIG_SECOND);
    assert_int_equal(stats_of(a).clients_paused, 1);
    assert_int_equal(a->seen_count, 1);
    sim_net_slow(rig->sim, a->node, rig->outside, RIG_SECOND / 2); /* the sweep finds room first */
    env_conn_resume(client.conn);
    rig_run(rig, 10 * RIG_SECOND);
    assert_int_equal(stats_of(a).clients_paused, 0);
    assert_int_equal(a->refused, 0);
    assert_int_equal(a->seen_count, 2);
    buf_fini(&buf);
    buf_fini(&reply);
    rig_client_close(&client);
}

static void test_idle_clients_are_let_go_and_busy_ones_kept(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client idle, busy;
    a->options.limits.idle_ms = 20000;
    rig_start(rig, 0);
    rig_client_greet(&idle, rig, 0);
    rig_client_greet(&busy, rig, 0);
    rig_client_request(&busy, 1, 1); /* takes its time */
    rig_run(rig, 19 * RIG_SECOND);
    assert_non_null(idle.conn);
    rig_run(rig, 4 * RIG_SECOND);
    assert_null(idle.conn);
    assert_int_equal(idle.error_code, ERR_TIMEOUT);
    rig_run(rig, 20 * RIG_SECOND);
    assert_non_null(busy.conn);
    assert_int_equal(reply(a, a->seen[0].from, 1, 1), 0);
    rig_run(rig, 24 * RIG_SECOND);
    assert_null(busy.conn);
    rig_client_close(&idle);
    rig_client_close(&busy);
}

static void frame_hello(struct buf *buf, const struct hello *hello)
{
    size_t start = frame_begin(buf);
    hello_encode(buf, hello);
    frame_end(buf, start, false);
}

static void test_wrong_first_words_are_answered_and_closed(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    rig_start(rig, 0);
    static const struct {
        const char *name;
        int kind; /* 0: a hello */
        uint32_t protocol;
        uint64_t cluster;
        enum hello_purpose purpose;
        size_t len;
        int want;
    } CASES[] = {
        {"a request", MSG_REQUEST, 0, 0, 0, 10, ERR_UNSUPPORTED},
        {"a ping", MSG_PING, 0, 0, 0, 1, ERR_UNSUPPORTED},
        {"a peer message", MSG_APPEND_ENTRIES, 0, 0, 0, 1, ERR_UNSUPPORTED},
        {"an error", MSG_ERROR, 0, 0, 0, 1, ERR_UNSUPPORTED},
        {"a long frame", MSG_HELLO, 0, 0, 0, 5000, ERR_TOO_LARGE},
        {"nonsense in hello", MSG_HELLO, 0, 0, 0, 10, ERR_CORRUPT},
        {"version", 0, 99, 0, HELLO_CLIENT, 0, ERR_UNSUPPORTED},
        {"cluster", 0, 1, 77, HELLO_CLIENT, 0, ERR_UNAUTHORIZED},
        {"peer without id", 0, 1, 0, HELLO_PEER, 0, ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct rig_client client;
        struct buf buf;
        int refused = a->refused;
        buf_init(&buf, 10000);
        struct hello hello = {.protocol_min = CASES[i].protocol,
                              .protocol_max = CASES[i].protocol,
                              .purpose = CASES[i].purpose,
                              .cluster_id = CASES[i].cluster};
        if (CASES[i].kind == 0)
            frame_hello(&buf, &hello);
        else
            rig_frame(&buf, (uint32_t)CASES[i].kind, 1, CASES[i].len);
        rig_client_open(&client, rig, rig->outside, 0);
        rig_client_write(&client, &buf);
        rig_run(rig, 3 * RIG_SECOND);
        if (client.conn != NULL || client.error_code != CASES[i].want)
            fail_msg("%s: %s '%s'", CASES[i].name, err_name(client.error_code), client.error_text);
        assert_int_equal(a->refused, refused + 1);
        rig_client_close(&client);
        buf_fini(&buf);
    }
    assert_int_equal(stats_of(a).connections, 0);
}

static void test_pings_are_answered_and_other_kinds_refused(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client;
    struct buf buf;
    buf_init(&buf, 10000);
    rig_start(rig, 0);
    rig_client_greet(&client, rig, 0);
    size_t start = frame_begin(&buf);
    ping_encode(&buf, &(struct ping){.token = 5});
    frame_end(&buf, start, false);
    rig_client_write(&client, &buf);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(client.seen_count, 1);
    assert_int_equal(client.seen[0].kind, MSG_PONG);
    buf_clear(&buf);
    rig_frame(&buf, MSG_APPEND_ENTRIES, 1, 1);
    rig_client_write(&client, &buf);
    rig_run(rig, 3 * RIG_SECOND);
    assert_null(client.conn);
    assert_int_equal(client.error_code, ERR_UNSUPPORTED);
    assert_int_equal(a->gone, 1);
    rig_client_close(&client);

    rig_client_greet(&client, rig, 0);
    a->message_code = ERR_CORRUPT;
    rig_client_request(&client, 1, 1);
    rig_client_request(&client, 2, 1);
    rig_run(rig, 3 * RIG_SECOND);
    assert_int_equal(client.error_code, ERR_CORRUPT);
    assert_string_equal(client.error_text, "not a request for me");
    assert_int_equal(a->seen_count, 1); /* nothing after the refused one */
    rig_client_close(&client);
    buf_fini(&buf);
}

static void test_the_store_may_close_and_stop_listening(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client client, late;
    rig_start(rig, 0);
    assert_string_equal(net_address(a->net), "a:7000");
    rig_client_greet(&client, rig, 0);
    net_stop_listening(a->net);
    net_stop_listening(a->net);
    rig_client_open(&late, rig, rig->outside, 0);
    rig_client_request(&client, 1, 1);
    rig_run(rig, RIG_SECOND);
    assert_null(late.conn);
    assert_int_equal(a->seen_count, 1);
    net_client_close(a->net, a->seen[0].from, ERR_UNAVAILABLE, "the store stops");
    assert_int_equal(reply(a, a->seen[0].from, 1, 1), ERR_NOT_FOUND);
    rig_run(rig, 3 * RIG_SECOND);
    assert_int_equal(client.error_code, ERR_UNAVAILABLE);
    assert_string_equal(client.error_text, "the store stops");
    assert_int_equal(a->gone, 1);
    rig_client_close(&client);
    rig_client_close(&late);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_requests_are_answered_in_one_write_a_turn),
        TEST(test_a_flood_is_read_in_turns),
        TEST(test_half_a_reply_ends_the_client),
        TEST(test_replies_made_before),
        TEST(test_a_late_reply_finds_nobody),
        TEST(test_requests_in_flight_are_bounded),
        TEST(test_parked_requests_do_not_count),
        TEST(test_who_does_not_read_is_pushed_back_then_closed),
        TEST(test_who_takes_nothing_is_closed),
        TEST(test_who_reads_again_in_time_is_served_on),
        TEST(test_the_hard_bound_of_replies_closes_at_once),
        TEST(test_when_all_hold_too_much_the_greediest_goes),
        TEST(test_unfinished_requests_count_as_memory),
        TEST(test_room_for_requests_counts_as_memory),
        TEST(test_idle_clients_hold_no_memory),
        TEST(test_no_client_goes_for_memory_that_is_kept),
        TEST(test_connections_are_bounded),
        TEST(test_silence_is_bounded),
        TEST(test_slow_greetings_and_frames_are_given_up),
        TEST(test_a_frame_s_time_does_not_run_in_a_pause),
        TEST(test_idle_clients_are_let_go_and_busy_ones_kept),
        TEST(test_wrong_first_words_are_answered_and_closed),
        TEST(test_pings_are_answered_and_other_kinds_refused),
        TEST(test_the_store_may_close_and_stop_listening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
