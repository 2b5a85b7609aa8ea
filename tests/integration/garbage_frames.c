/* SPDX-License-Identifier: Apache-2.0 */
#include "garbage_frames.h"

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "range/meta.h"
#include "range/stream.h"
#include "support/wire_samples.h"
#include "wire/command.h"
#include "wire/frame.h"
#include "wire/peer_msg.h"
#include "wire/request.h"
#include "wire/snapshot_msg.h"

enum { LARGE = 3 * FRAME_LZ4_MIN };

static const uint8_t large[LARGE] = "a value that compresses well";

void garbage_maker_init(struct garbage_maker *m, struct rng *rng)
{
    *m = (struct garbage_maker){.rng = rng};
    buf_init(&m->body, 1 << 16);
    buf_init(&m->part, 1 << 16);
}

void garbage_maker_fini(struct garbage_maker *m)
{
    buf_fini(&m->body);
    buf_fini(&m->part);
}

/* Short, or long enough to be compressed. */
static struct slice some_bytes(struct garbage_maker *m)
{
    return slice_of(large, rng_chance(m->rng, 1, 6) ? LARGE : rng_below(m->rng, 40));
}

/* ---- what clients say ----------------------------------------------------------- */

static void make_write(struct garbage_maker *m, struct request *request)
{
    struct op ops[] = {
        {.kind = OP_PUT, .key = slice_str("garbage:a"), .value = some_bytes(m)},
        {.kind = OP_INCREMENT, .key = slice_str("garbage:n"), .delta = 1},
    };
    buf_clear(&m->part);
    command_encode(&m->part,
                   &(struct command){.op_count = (uint32_t)rng_between(m->rng, 1, 2), .ops = ops});
    request->kind = REQUEST_WRITE;
    request->write.command = buf_slice(&m->part);
}

static void make_request(struct garbage_maker *m)
{
    struct request request = {.id = rng_between(m->rng, 1, 1000),
                              .timeout_ms = (uint32_t)rng_between(m->rng, 1, 2000)};
    switch (rng_below(m->rng, 4)) {
    case 0:
        make_write(m, &request);
        break;
    case 1:
        request.kind = REQUEST_GET;
        request.get.key = slice_str("garbage:a");
        break;
    case 2:
        request.kind = REQUEST_SCAN;
        request.scan.limit_keys = (uint32_t)rng_below(m->rng, 20);
        break;
    default:
        request.kind = rng_chance(m->rng, 1, 2) ? REQUEST_STATUS : REQUEST_STATS;
    }
    request_encode(&m->body, &request);
}

/* Would it change who is a member, or who leads? Then it is not sent. */
static bool is_administrative(struct slice body)
{
    struct request request;
    if (request_decode(body, &request, NULL) != 0)
        return false;
    return request.kind == REQUEST_BOOTSTRAP || request.kind == REQUEST_CHANGE_MEMBER ||
           request.kind == REQUEST_TRANSFER_LEADER;
}

/* ---- what peers say --------------------------------------------------------------- */

/* The value or one beside it; or one at the edge of what an encoder takes. Beyond it is
 * what mutation is for. */
static uint64_t near(struct garbage_maker *m, uint64_t value)
{
    static const uint64_t edges[] = {0, 1, UINT32_MAX, PEER_NUMBER_MAX - 3, PEER_NUMBER_MAX};
    if (rng_chance(m->rng, 1, 8))
        return edges[rng_below(m->rng, ARRAY_LEN(edges))];
    uint64_t step = rng_below(m->rng, 5);
    return value + step > 2 ? value + step - 2 : 0;
}

static void make_append(struct garbage_maker *m, struct peer_msg *msg)
{
    struct peer_entry entries[4];
    uint32_t n = (uint32_t)rng_below(m->rng, ARRAY_LEN(entries) + 1);
    for (uint32_t i = 0; i < n; i++)
        entries[i] = (struct peer_entry){.term = near(m, m->truth.term),
                                         .type = (enum peer_entry_type)rng_between(m->rng, 1, 3),
                                         .data = some_bytes(m)};
    msg->append_entries = (struct append_entries){.term = near(m, m->truth.term),
                                                  .prev_log_index = near(m, m->truth.last_index),
                                                  .prev_log_term = near(m, m->truth.term),
                                                  .leader_commit = near(m, m->truth.last_index),
                                                  .entry_count = n,
                                                  .entries = entries};
    peer_msg_encode(&m->body, msg);
}

static void make_vote(struct garbage_maker *m, struct peer_msg *msg)
{
    msg->request_vote = (struct request_vote){.term = near(m, m->truth.term),
                                              .candidate_id = near(m, m->truth.from_replica),
                                              .last_log_index = near(m, m->truth.last_index),
                                              .last_log_term = near(m, m->truth.term),
                                              .disrupt_leader = rng_chance(m->rng, 1, 4),
                                              .pre_vote = rng_chance(m->rng, 1, 2)};
    peer_msg_encode(&m->body, msg);
}

static void make_answer(struct garbage_maker *m, struct peer_msg *msg)
{
    if (msg->kind == MSG_APPEND_ENTRIES_RESULT)
        msg->append_entries_result =
            (struct append_entries_result){.term = near(m, m->truth.term),
                                           .rejected = rng_below(m->rng, 2) * near(m, 3),
                                           .last_log_index = near(m, m->truth.last_index)};
    else if (msg->kind == MSG_REQUEST_VOTE_RESULT)
        msg->request_vote_result =
            (struct request_vote_result){.term = near(m, m->truth.term),
                                         .vote_granted = rng_chance(m->rng, 1, 2),
                                         .pre_vote = rng_chance(m->rng, 1, 2)};
    else
        msg->probe_result =
            (struct probe_result){.term = near(m, m->truth.term), .number = rng_below(m->rng, 100)};
    peer_msg_encode(&m->body, msg);
}

static void make_order(struct garbage_maker *m, struct peer_msg *msg)
{
    if (msg->kind == MSG_INSTALL_SNAPSHOT)
        msg->install_snapshot =
            (struct install_snapshot){.term = near(m, m->truth.term),
                                      .last_index = near(m, m->truth.last_index),
                                      .last_term = near(m, m->truth.term),
                                      .conf_index = near(m, 1),
                                      .configuration = some_bytes(m)};
    else if (msg->kind == MSG_TIMEOUT_NOW)
        msg->timeout_now = (struct timeout_now){.term = near(m, m->truth.term),
                                                .last_log_index = near(m, m->truth.last_index),
                                                .last_log_term = near(m, m->truth.term)};
    else
        msg->probe = (struct probe){.term = near(m, m->truth.term), .number = rng_u64(m->rng) >> 8};
    peer_msg_encode(&m->body, msg);
}

static void make_raft(struct garbage_maker *m)
{
    static const enum msg_kind kinds[] = {
        MSG_APPEND_ENTRIES,      MSG_APPEND_ENTRIES, MSG_APPEND_ENTRIES_RESULT, MSG_REQUEST_VOTE,
        MSG_REQUEST_VOTE_RESULT, MSG_TIMEOUT_NOW,    MSG_INSTALL_SNAPSHOT,      MSG_PROBE,
        MSG_PROBE_RESULT};
    struct peer_msg msg = {.kind = kinds[rng_below(m->rng, ARRAY_LEN(kinds))],
                           .group = m->truth.group,
                           .from_replica = m->truth.from_replica,
                           .to_replica = m->truth.to_replica};
    if (rng_chance(m->rng, 1, 10)) /* … or for a replica of another store */
        msg.from_replica =
            rng_chance(m->rng, 1, 2) ? near(m, msg.from_replica) : m->truth.to_replica;
    if (msg.kind == MSG_APPEND_ENTRIES)
        make_append(m, &msg);
    else if (msg.kind == MSG_REQUEST_VOTE)
        make_vote(m, &msg);
    else if (msg.kind == MSG_PROBE || msg.kind == MSG_TIMEOUT_NOW ||
             msg.kind == MSG_INSTALL_SNAPSHOT)
        make_order(m, &msg);
    else
        make_answer(m, &msg);
}

/* Whole, in the name of another store's replica. */
static void make_claim(struct garbage_maker *m)
{
    struct peer_msg msg = {.kind = MSG_PROBE,
                           .group = m->truth.group,
                           .from_replica = m->truth.to_replica,
                           .to_replica = m->truth.to_replica,
                           .probe = {.term = m->truth.term, .number = 1}};
    peer_msg_encode(&m->body, &msg);
}

/* ---- what a snapshot stream says -------------------------------------------------- */

static void make_begin(struct garbage_maker *m)
{
    struct range_meta meta;
    range_meta_init(&meta);
    meta.applied_index = near(m, m->truth.last_index) + 1000;
    meta.applied_term = m->truth.term;
    const struct range_replica replicas[] = {
        {1, 1, RANGE_ROLE_VOTER}, {2, 2, RANGE_ROLE_VOTER}, {3, 3, RANGE_ROLE_VOTER}};
    const struct range_span span = {slice_str("\x02"), slice_str("\x03")};
    const struct range_epoch epoch = {1, 1};
    ASSERT(range_descriptor_init(&meta.descriptor, m->truth.group, epoch, span, replicas,
                                 ARRAY_LEN(replicas), NULL) == 0);
    buf_clear(&m->part);
    range_meta_encode(&meta, &m->part);
    struct snapshot_begin begin = {.group = m->truth.group,
                                   .from_replica = m->truth.from_replica,
                                   .to_replica = m->truth.to_replica,
                                   .stream = 1,
                                   .term = near(m, m->truth.term),
                                   .last_index = meta.applied_index,
                                   .last_term = meta.applied_term,
                                   .conf_index = 1,
                                   .configuration = slice_str("configuration"),
                                   .meta = buf_slice(&m->part)};
    snapshot_begin_encode(&m->body, &begin);
    range_meta_fini(&meta);
}

static void make_chunk(struct garbage_maker *m)
{
    struct buf records;
    struct stream_record record = {.kind = (enum stream_kind)rng_between(m->rng, 1, 3),
                                   .key = slice_str("\x02garbage"),
                                   .value = some_bytes(m),
                                   .version = rng_u64(m->rng) >> 20};
    buf_init(&records, 1 << 16);
    stream_record_encode(&records, &record);
    stream_chunk_encode(&m->part, 0, rng_chance(m->rng, 1, 4), buf_slice(&records));
    struct snapshot_chunk chunk = {
        .stream = 1, .seq = m->in_stream - 1, .data = buf_slice(&m->part)};
    snapshot_chunk_encode(&m->body, &chunk);
    buf_fini(&records);
}

static void make_stream(struct garbage_maker *m)
{
    if (m->in_stream++ == 0)
        make_begin(m);
    else if (rng_chance(m->rng, 3, 4))
        make_chunk(m);
    else
        snapshot_end_encode(&m->body, &(struct snapshot_end){.stream = 1,
                                                             .chunks = m->in_stream - 2,
                                                             .bytes = 100 * m->in_stream});
}

/* ---- frames ------------------------------------------------------------------------ */

static void mutate(struct garbage_maker *m, uint8_t *data, size_t *len)
{
    for (uint64_t n = rng_between(m->rng, 1, 4); n > 0 && *len > 0; n--) {
        size_t at = rng_below(m->rng, *len);
        switch (rng_below(m->rng, 4)) {
        case 0:
            data[at] = (uint8_t)rng_u64(m->rng);
            break;
        case 1:
            data[at] ^= (uint8_t)(1u << rng_below(m->rng, 8));
            break;
        case 2: /* the largest counts and lengths of msgpack */
            data[at] = "\xdd\xdf\xc6\xdb\xdc\xde"[rng_below(m->rng, 6)];
            break;
        default:
            *len = at;
        }
    }
}

/* The body as a frame. Some claim to be compressed and are not; some are, and are
 * damaged inside; their checksums are right. */
static void append_frame(struct garbage_maker *m, struct buf *out)
{
    size_t start = frame_begin(out);
    buf_append_slice(out, buf_slice(&m->body));
    frame_end(out, start, m->body.len >= FRAME_LZ4_MIN);
    if (out->failed || !rng_chance(m->rng, 1, 8))
        return;
    uint8_t *flags = out->data + start + FRAME_HEADER_LEN;
    size_t len = out->len - start - FRAME_PREFIX_LEN;
    if (*flags & FRAME_LZ4)
        mutate(m, flags + 1, &len);
    *flags = FRAME_LZ4;
    out->len = start + FRAME_PREFIX_LEN + len;
    put_u32(out->data + start, (uint32_t)(1 + len));
    put_u32(out->data + start + 4, crc32c(0, flags, 1 + len));
}

static void append_random(struct garbage_maker *m, struct buf *out)
{
    uint8_t raw[200];
    size_t len = rng_between(m->rng, 1, sizeof raw);
    rng_fill(m->rng, raw, len);
    if (rng_chance(m->rng, 1, 2)) { /* a header that promises anything up to 4 GiB */
        raw[3] = (uint8_t)(rng_chance(m->rng, 1, 2) ? 0xff : 0);
        raw[2] = 0;
    }
    buf_append(out, raw, len);
}

enum garbage_made garbage_make(struct garbage_maker *m, enum hello_purpose purpose, struct buf *out)
{
    buf_clear(&m->body);
    if (m->claims && purpose == HELLO_PEER) {
        m->claims = false;
        make_claim(m);
        append_frame(m, out);
        return GARBAGE_FRAME;
    }
    uint64_t kind = rng_below(m->rng, 10);
    if (kind == 0) {
        append_random(m, out);
        return GARBAGE_TORN;
    }
    if (kind <= 3)
        wire_samples[rng_below(m->rng, wire_samples_count)].encode(&m->body);
    else if (purpose == HELLO_PEER)
        make_raft(m);
    else if (purpose == HELLO_SNAPSHOT)
        make_stream(m);
    else
        make_request(m);
    if (rng_chance(m->rng, 1, 2))
        mutate(m, m->body.data, &m->body.len);
    if (is_administrative(buf_slice(&m->body)))
        return GARBAGE_NOTHING;
    append_frame(m, out);
    if (!rng_chance(m->rng, 1, 20))
        return GARBAGE_FRAME;
    out->len -= rng_between(m->rng, 1, 9);
    return GARBAGE_TORN;
}
