/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "net_rig.h"
#include "support/check.h"

enum { CHUNK = 256 << 10, CHUNKS = 100 };

/* A sender of CHUNKS chunks. */
struct sender {
    struct net_stream *stream; /* NULL when it ended */
    int opens, rooms, acks;
    uint64_t sent;
    size_t waiting_max;
    int status;
    char reason[256];
};

static int setup(void **state)
{
    *state = rig_new(13);
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static void send_more(struct sender *sender)
{
    while (sender->sent < CHUNKS) {
        struct buf buf;
        buf_init(&buf, 2 * CHUNK);
        rig_frame(&buf, MSG_SNAPSHOT_CHUNK, sender->sent + 1, CHUNK);
        int code = net_stream_send(sender->stream, buf_slice(&buf));
        buf_fini(&buf);
        if (code != 0) {
            assert_int_equal(code, ERR_BUSY);
            return;
        }
        sender->sent++;
    }
}

static void on_open(void *data, const struct net_identity *who)
{
    struct sender *sender = data;
    assert_int_equal(who->store_id, 2);
    sender->opens++;
    send_more(sender);
}

static int on_frame(void *data, uint32_t kind, struct slice body, struct err *err)
{
    struct sender *sender = data;
    (void)body;
    (void)err;
    assert_int_equal(kind, MSG_SNAPSHOT_ACK);
    sender->acks++;
    return 0;
}

static void on_room(void *data)
{
    struct sender *sender = data;
    sender->rooms++;
    send_more(sender);
}

static void on_close(void *data, int status, const char *reason)
{
    struct sender *sender = data;
    sender->stream = NULL;
    sender->status = status;
    snprintf(sender->reason, sizeof sender->reason, "%s", reason);
}

static const struct net_stream_handler HANDLER = {
    .on_open = on_open, .on_frame = on_frame, .on_room = on_room, .on_close = on_close};

static void open_stream(struct rig *rig, struct sender *sender)
{
    *sender = (struct sender){0};
    assert_int_equal(
        net_stream_open(rig->stores[0].net, 2, "b:7000", &HANDLER, sender, &sender->stream, NULL),
        0);
    assert_int_equal(net_stream_room(sender->stream), 0);
    assert_int_equal(net_stream_send(sender->stream, slice_str("not yet")), ERR_UNAVAILABLE);
}

static void start_ab(struct rig *rig)
{
    rig_start(rig, 0);
    rig_start(rig, 1);
}

static void test_chunks_flow_through_the_window_in_order(void **state)
{
    struct rig *rig = *state;
    struct rig_store *b = &rig->stores[1];
    struct sender sender;
    start_ab(rig);
    open_stream(rig, &sender);
    rig_run(rig, 60 * RIG_SECOND);
    assert_int_equal(sender.opens, 1);
    assert_int_equal(sender.sent, CHUNKS);
    assert_true(sender.rooms > 3); /* 25 MiB through 4 MiB */
    assert_int_equal(b->seen_count, CHUNKS);
    for (size_t i = 0; i < CHUNKS; i++)
        assert_int_equal(b->seen[i].seq, i + 1);

    struct buf ack;
    buf_init(&ack, 1000);
    rig_frame(&ack, MSG_SNAPSHOT_ACK, 1, 1);
    assert_int_equal(net_stream_send(b->stream, buf_slice(&ack)), 0);
    net_stream_close(b->stream, 0, "");
    b->stream = NULL;
    buf_fini(&ack);
    rig_run(rig, 5 * RIG_SECOND);
    assert_int_equal(sender.acks, 1); /* what was sent before the end arrives */
    assert_int_equal(sender.status, ERR_EOF);
    struct net_stats stats;
    net_stats(b->net, &stats);
    assert_int_equal(stats.streams, 0);
    assert_int_equal(b->refused, 0);
    net_stream_close(NULL, 0, "");
}

static void test_a_receiver_that_pauses_holds_the_sender(void **state)
{
    struct rig *rig = *state;
    struct rig_store *b = &rig->stores[1];
    struct sender sender;
    start_ab(rig);
    b->must_pause = true;
    open_stream(rig, &sender);
    rig_run(rig, 20 * RIG_SECOND);
    assert_int_equal(b->seen_count, 1);
    assert_in_range(sender.sent, 10, 25);
    for (size_t i = 2; i <= 5; i++) {
        net_stream_resume(b->stream);
        rig_run(rig, RIG_SECOND);
        assert_int_equal(b->seen_count, i); /* pauses again after each */
    }
    b->must_pause = false;
    net_stream_resume(b->stream);
    rig_run(rig, 60 * RIG_SECOND);
    assert_int_equal(b->seen_count, CHUNKS);
    assert_int_equal(sender.status, 0);
    net_stream_close(sender.stream, 0, "");
}

static void test_either_side_tells_why_it_ends(void **state)
{
    struct rig *rig = *state;
    struct rig_store *b = &rig->stores[1];
    struct sender sender;
    start_ab(rig);
    open_stream(rig, &sender);
    rig_run(rig, RIG_SECOND / 100);
    net_stream_close(sender.stream, ERR_CANCELED, "no longer the leader");
    rig_run(rig, 30 * RIG_SECOND);
    assert_int_equal(b->stream_status, ERR_CANCELED);
    assert_non_null(strstr(b->stream_reason, "no longer the leader"));

    b->message_code = ERR_NO_SPACE;
    open_stream(rig, &sender);
    rig_run(rig, 5 * RIG_SECOND);
    assert_int_equal(sender.status, ERR_NO_SPACE);
    assert_non_null(strstr(sender.reason, "no stream for me"));
    assert_int_equal(sender.opens, 0);
}

/* A later version may say what is not known here, and anybody what only our functions say. */
static void test_strange_reasons_are_heard(void **state)
{
    static const struct {
        int said;
        int want;
    } rows[] = {{ERR_LAST, ERR_UNAVAILABLE}, {ERR_SHORT, ERR_CORRUPT}, {ERR_EOF, ERR_CORRUPT}};
    struct rig *rig = *state;
    struct rig_store *b = &rig->stores[1];
    struct sender sender;
    start_ab(rig);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        open_stream(rig, &sender);
        rig_run(rig, RIG_SECOND / 100);
        assert_non_null(b->stream);
        net_stream_close(b->stream, rows[i].said, "strange");
        b->stream = NULL;
        rig_run(rig, 30 * RIG_SECOND);
        assert_int_equal(sender.status, rows[i].want);
        assert_non_null(strstr(sender.reason, "strange"));
    }
}

static void test_ends_are_heard(void **state)
{
    struct rig *rig = *state;
    struct rig_store *b = &rig->stores[1];
    struct sender sender;
    start_ab(rig);
    open_stream(rig, &sender);
    rig_run(rig, RIG_SECOND / 100);
    sim_net_reset(rig->sim, NULL, NULL);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(sender.status, ERR_IO);
    assert_int_equal(b->stream_status, ERR_IO);

    rig_kill(rig, 1);
    open_stream(rig, &sender); /* nobody listens */
    rig_run(rig, 10 * RIG_SECOND);
    assert_true(sender.status < 0);
    assert_int_equal(sender.opens, 0);

    rig->stores[1].options.self.store_id = 3;
    rig_start(rig, 1);
    open_stream(rig, &sender); /* somebody else does */
    rig_run(rig, RIG_SECOND);
    assert_int_equal(sender.status, ERR_UNAUTHORIZED);
}

static void test_a_dead_end_is_noticed_at_last(void **state)
{
    struct rig *rig = *state;
    struct rig_store *b = &rig->stores[1];
    struct sender sender;
    start_ab(rig);
    open_stream(rig, &sender);
    rig_run(rig, RIG_SECOND / 100);
    sim_net_partition(rig->sim, rig->stores[0].node, b->node, false);
    rig_run(rig, 90 * RIG_SECOND);
    assert_true(sender.status < 0);
    assert_true(b->stream_status < 0);
}

static void test_incoming_streams_are_bounded(void **state)
{
    struct rig *rig = *state;
    struct sender senders[3];
    rig->stores[1].options.limits.streams_max = 2;
    start_ab(rig);
    for (size_t i = 0; i < 3; i++) {
        open_stream(rig, &senders[i]);
        senders[i].sent = CHUNKS; /* nothing to send */
        rig_run(rig, RIG_SECOND);
    }
    assert_int_equal(senders[2].status, ERR_BUSY);
    net_stream_close(senders[0].stream, 0, "");
    rig_run(rig, 5 * RIG_SECOND);
    open_stream(rig, &senders[2]);
    senders[2].sent = CHUNKS;
    rig_run(rig, 200 * RIG_SECOND);
    assert_int_equal(senders[2].opens, 1);
    assert_int_equal(senders[1].status, 0); /* idle for long, but alive */
    assert_int_equal(senders[2].status, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_chunks_flow_through_the_window_in_order),
        TEST(test_a_receiver_that_pauses_holds_the_sender),
        TEST(test_either_side_tells_why_it_ends),
        TEST(test_strange_reasons_are_heard),
        TEST(test_ends_are_heard),
        TEST(test_a_dead_end_is_noticed_at_last),
        TEST(test_incoming_streams_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
