/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever sends whatever: an error and a closed connection at worst, a reason for
 * the log, nothing kept, and nobody else notices. */
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/rng.h"
#include "net_rig.h"
#include "support/check.h"
#include "wire/peer_msg.h"
#include "wire/request.h"
#include "wire/snapshot_msg.h"

enum { FRAMES = 100000, ENDS = 64, FRAMES_PER_END = 2 };

enum greeting { GREET_NONE, GREET_CLIENT, GREET_PEER, GREET_STREAM, GREET_NR };

static void frame_request(struct buf *buf)
{
    struct request request = {
        .id = 7, .timeout_ms = 100, .kind = REQUEST_GET, .get = {.key = slice_str("a key")}};
    request_encode(buf, &request);
}

static void frame_entries(struct buf *buf)
{
    struct peer_entry entries[3];
    for (size_t i = 0; i < ARRAY_LEN(entries); i++)
        entries[i] = (struct peer_entry){
            .term = 3, .type = PEER_ENTRY_COMMAND, .data = slice_str("an entry's data")};
    struct peer_msg msg = {.group = 1,
                           .from_replica = 1,
                           .to_replica = 2,
                           .kind = MSG_APPEND_ENTRIES,
                           .append_entries = {.version = 1,
                                              .term = 3,
                                              .prev_log_index = 4,
                                              .prev_log_term = 2,
                                              .entry_count = ARRAY_LEN(entries),
                                              .entries = entries}};
    peer_msg_encode(buf, &msg);
}

static void frame_chunk(struct buf *buf)
{
    struct snapshot_chunk chunk = {.stream = 1, .data = slice_str("some data of a snapshot")};
    snapshot_chunk_encode(buf, &chunk);
}

static void frame_hello(struct buf *buf)
{
    struct hello hello = {.protocol_min = 1,
                          .protocol_max = 1,
                          .purpose = HELLO_PEER,
                          .store_id = 2,
                          .name = slice_str("again")};
    hello_encode(buf, &hello);
}

static void frame_ping(struct buf *buf)
{
    ping_encode(buf, &(struct ping){.token = 3});
}

static void frame_error(struct buf *buf)
{
    error_msg_encode(buf, &(struct error_msg){.code = ERR_IO, .text = slice_str("so long")});
}

static void frame_auth(struct buf *buf)
{
    auth_encode(buf, &(struct auth){.proof = {1}});
}

static void (*const FRAME_MAKERS[])(struct buf *) = {
    frame_request, frame_entries, frame_chunk, frame_hello, frame_ping, frame_error, frame_auth};

static void fix_crc(uint8_t *frame, size_t len)
{
    if (len >= FRAME_PREFIX_LEN)
        put_u32(frame + 4, crc32c(0, frame + FRAME_HEADER_LEN, len - FRAME_HEADER_LEN));
}

/* Append one frame that is damaged in one of many ways, or not at all. */
static void damaged_frame(struct buf *buf, struct rng *rng)
{
    size_t start = frame_begin(buf);
    FRAME_MAKERS[rng_below(rng, ARRAY_LEN(FRAME_MAKERS))](buf);
    frame_end(buf, start, rng_chance(rng, 1, 4));
    uint8_t *frame = buf->data + start;
    size_t len = buf->len - start;
    uint64_t how = rng_below(rng, 8);
    if (how <= 3) { /* some bytes differ, under a good checksum or not */
        for (uint64_t n = rng_between(rng, 1, 4); n > 0; n--)
            frame[rng_between(rng, how == 0 ? 0 : FRAME_HEADER_LEN, len - 1)] =
                (uint8_t)rng_u64(rng);
        if (how > 0)
            fix_crc(frame, len);
    } else if (how == 4) { /* cut short */
        buf->len -= rng_between(rng, 1, len);
    } else if (how == 5) { /* shorter, and consistent */
        size_t keep = rng_between(rng, FRAME_PREFIX_LEN, len);
        buf->len = start + keep;
        put_u32(frame, (uint32_t)(keep - FRAME_HEADER_LEN));
        fix_crc(frame, keep);
    } else if (how == 6) { /* nothing but noise, behind a plausible length */
        rng_fill(rng, frame, len);
        put_u32(frame, (uint32_t)(len - FRAME_HEADER_LEN));
        if (rng_chance(rng, 1, 2))
            fix_crc(frame, len);
    } else if (rng_chance(rng, 1, 2)) { /* another length */
        put_u32(frame, (uint32_t)rng_u64(rng) >> rng_below(rng, 32));
    } /* else: whole */
}

static void say_hello(struct rig_client *end, enum greeting greeting, uint64_t id)
{
    static const enum hello_purpose PURPOSES[GREET_NR] = {
        [GREET_CLIENT] = HELLO_CLIENT, [GREET_PEER] = HELLO_PEER, [GREET_STREAM] = HELLO_SNAPSHOT};
    struct buf buf;
    if (greeting == GREET_NONE)
        return;
    buf_init(&buf, 1000);
    rig_hello(&buf, PURPOSES[greeting], RIG_CLUSTER, greeting == GREET_CLIENT ? 0 : id);
    rig_client_write(end, &buf);
    buf_fini(&buf);
}

/* A batch of ends that each send a few frames; returns how many the store refused. */
static size_t batch(struct rig *rig, struct rng *rng)
{
    struct rig_client *ends = calloc(ENDS, sizeof *ends);
    size_t closed = 0;
    assert_non_null(ends);
    for (size_t i = 0; i < ENDS; i++) {
        rig_client_open(&ends[i], rig, rig->stores[0].node, 0); /* from loopback's node */
        say_hello(&ends[i], (enum greeting)(i % GREET_NR), i + 10);
    }
    rig_run(rig, RIG_SECOND / 20);
    for (size_t i = 0; i < ENDS; i++) {
        struct buf buf;
        buf_init(&buf, 1 << 20);
        for (int n = 0; n < FRAMES_PER_END; n++)
            damaged_frame(&buf, rng);
        rig_client_write(&ends[i], &buf);
        buf_fini(&buf);
    }
    rig_run(rig, RIG_SECOND / 10);
    for (size_t i = 0; i < ENDS; i++) {
        closed += ends[i].conn == NULL || ends[i].error_code != 0;
        assert_false(ends[i].is_broken); /* whatever it says back is well formed */
        rig_client_close(&ends[i]);
    }
    free(ends);
    return closed;
}

static void test_a_hundred_thousand_bad_frames(void **state)
{
    (void)state;
    struct rig *rig = rig_new(21);
    struct rig_store *a = &rig->stores[0];
    struct rig_client good;
    struct rng rng;
    rng_init(&rng, 77);
    a->options.secret = (struct slice){0};
    a->options.limits.streams_max = ENDS;
    a->must_decode = true;
    a->must_reply = true;
    rig_start(rig, 0);
    rig_client_greet(&good, rig, 0);

    size_t closed = 0;
    uint64_t asked = 0;
    for (size_t sent = 0; sent < FRAMES; sent += (size_t)ENDS * FRAMES_PER_END) {
        struct buf buf;
        closed += batch(rig, &rng);
        buf_init(&buf, 1000);
        size_t start = frame_begin(&buf);
        frame_request(&buf);
        frame_end(&buf, start, false);
        rig_client_write(&good, &buf);
        buf_fini(&buf);
        asked++;
    }
    rig_run(rig, 70 * RIG_SECOND);
    assert_non_null(good.conn);
    assert_int_equal(good.seen_count, asked);
    /* Most ends sent something that is refused, and each refusal has its reason. */
    assert_true(closed > FRAMES / FRAMES_PER_END / 2);
    assert_true((size_t)a->refused >= closed);
    struct net_stats stats;
    net_stats(a->net, &stats);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.clients, 1);
    assert_int_equal(stats.streams, 0);
    assert_int_equal(stats.clients_memory, 0);
    rig_client_close(&good);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_hundred_thousand_bad_frames)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
