/* SPDX-License-Identifier: Apache-2.0 */
#include "client/scan_cursor.h"

#include "client/sealed.h"
#include "wire/keyspace.h"

#define CURSOR_MAGIC UINT32_C(0x63736668) /* "hfsc" */

enum {
    CURSOR_FORMAT = 1,
    HEAD_LEN = 4 + 1, /* magic and format */
    FLAG_REVERSE = 1,
    FLAG_KEYS_ONLY = 2,
    FLAG_ANY_REPLICA = 4,
    FLAGS_ALL = 7,
    PART_HAS_PLACE = 4,
};

static void append_key(struct buf *out, struct slice key)
{
    buf_append_varint(out, key.len);
    buf_append_slice(out, key);
}

void scan_part_append(struct buf *parts, const struct scan_part *part)
{
    ASSERT((part->version > 0) == (part->state == SCAN_PART_AT));
    ASSERT(part->place.len <= KEY_WIRE_MAX);
    bool has_place = part->place.len > 0;
    buf_append_u8(parts, (uint8_t)(part->state + (has_place ? PART_HAS_PLACE : 0)));
    if (part->state == SCAN_PART_AT)
        buf_append_u64(parts, part->version);
    if (has_place)
        append_key(parts, part->place);
}

struct scan_part scan_part_next(struct reader *parts)
{
    uint8_t byte = read_u8(parts);
    uint8_t state = byte & (PART_HAS_PLACE - 1);
    struct scan_part part = {.state = (enum scan_part_state)state};
    if (byte >= 2 * PART_HAS_PLACE || state > SCAN_PART_OVER)
        parts->bad = true;
    if (state == SCAN_PART_AT) {
        part.version = read_u64(parts);
        parts->bad |= part.version == 0;
    }
    if (byte & PART_HAS_PLACE) {
        part.place = read_bytes_prefixed(parts);
        parts->bad |= part.place.len == 0;
    }
    return part;
}

void scan_cursor_encode(const struct scan_cursor *c, struct buf *out)
{
    size_t begin = out->len;
    ASSERT(c->start.len <= KEY_WIRE_MAX && c->end.len <= KEY_WIRE_MAX);
    ASSERT(c->position.len <= KEY_WIRE_MAX);
    ASSERT(c->parts.len > 0);
    buf_append_u32(out, CURSOR_MAGIC);
    buf_append_u8(out, CURSOR_FORMAT);
    buf_append_u64(out, c->cluster_id);
    buf_append_varint(out, c->read.keyspace);
    buf_append_u8(out, (uint8_t)((c->is_reverse ? FLAG_REVERSE : 0) |
                                 (c->is_keys_only ? FLAG_KEYS_ONLY : 0) |
                                 (c->read.any_replica ? FLAG_ANY_REPLICA : 0)));
    buf_append_u8(out, (uint8_t)c->read.consistency);
    buf_append_varint(out, c->read.max_age_ms);
    buf_append_varint(out, c->read.at_version);
    append_key(out, c->start);
    append_key(out, c->end);
    append_key(out, c->position);
    buf_append_varint(out, c->slots);
    buf_append_slice(out, c->parts);
    sealed_end(out, begin);
}

/* ---- reading --------------------------------------------------------------------------- */

static bool is_within(const struct scan_cursor *c, struct slice place)
{
    if (place.len == 0)
        return true;
    return place.len <= KEY_WIRE_MAX && slice_compare(place, c->start) >= 0 &&
           (c->end.len == 0 || slice_compare(place, c->end) <= 0);
}

static bool read_is_fine(const struct request_read *read)
{
    return read->consistency <= CONSISTENCY_LAST &&
           (read->max_age_ms > 0) == (read->consistency == READ_STALE) &&
           (read->at_version > 0) == (read->consistency == READ_AT);
}

static bool bounds_are_fine(const struct scan_cursor *c)
{
    return c->start.len <= KEY_WIRE_MAX && c->end.len <= KEY_WIRE_MAX && is_within(c, c->position);
}

/* All parts, one after the other, up to the end. */
static bool parts_are_fine(const struct scan_cursor *c)
{
    struct reader r = reader_of(c->parts);
    for (uint32_t i = 0; i < scan_cursor_parts(c) && !r.bad; i++) {
        struct scan_part part = scan_part_next(&r);
        bool is_known = part.version == 0 || c->cluster_id != 0;
        r.bad |= !is_known || !is_within(c, part.place);
    }
    return !r.bad && r.left == 0;
}

static void read_options(struct reader *r, struct scan_cursor *c)
{
    uint64_t keyspace = read_varint(r);
    uint8_t flags = read_u8(r);
    uint8_t consistency = read_u8(r);
    r->bad |= keyspace > UINT32_MAX || (flags & ~FLAGS_ALL) != 0 || consistency > CONSISTENCY_LAST;
    c->is_reverse = (flags & FLAG_REVERSE) != 0;
    c->is_keys_only = (flags & FLAG_KEYS_ONLY) != 0;
    c->read = (struct request_read){
        .keyspace = (uint32_t)keyspace,
        .consistency = (enum consistency)consistency,
        .any_replica = (flags & FLAG_ANY_REPLICA) != 0,
    };
    c->read.max_age_ms = read_varint(r);
    c->read.at_version = read_varint(r);
}

int scan_cursor_decode(struct slice bytes, struct scan_cursor *ret_cursor, struct err *err)
{
    struct scan_cursor c = {0};
    struct slice inside;
    if (bytes.len < HEAD_LEN + SEALED_SUM_LEN || get_u32(bytes.data) != CURSOR_MAGIC)
        return err_set(err, ERR_CORRUPT, "those are not the bytes of a scan's cursor");
    if (bytes.data[HEAD_LEN - 1] != CURSOR_FORMAT)
        return err_set(err, ERR_UNSUPPORTED, "the cursor is of format %u, and %u is known",
                       bytes.data[HEAD_LEN - 1], CURSOR_FORMAT);
    if (bytes.len > SCAN_CURSOR_MAX || !sealed_open(bytes, &inside))
        return err_set(err, ERR_CORRUPT, "the cursor is damaged, or not whole");
    struct reader r = reader_of(slice_of(inside.data + HEAD_LEN, inside.len - HEAD_LEN));
    c.cluster_id = read_u64(&r);
    read_options(&r, &c);
    c.start = read_bytes_prefixed(&r);
    c.end = read_bytes_prefixed(&r);
    c.position = read_bytes_prefixed(&r);
    uint64_t slots = read_varint(&r);
    c.parts = slice_of(r.pos, r.left);
    if (r.bad || slots > KEYSPACE_SLOTS_MAX || !read_is_fine(&c.read) || !bounds_are_fine(&c))
        return err_set(err, ERR_CORRUPT, "the cursor makes no sense");
    c.slots = (uint32_t)slots;
    if (!parts_are_fine(&c))
        return err_set(err, ERR_CORRUPT, "the parts of the cursor make no sense");
    *ret_cursor = c;
    return 0;
}

bool scan_cursor_is_ahead(const struct scan_cursor *cursor, struct slice a, struct slice b)
{
    if (a.len == 0 || b.len == 0)
        return a.len > 0;
    int order = slice_compare(a, b);
    return cursor->is_reverse ? order < 0 : order > 0;
}
