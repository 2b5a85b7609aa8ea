/* SPDX-License-Identifier: Apache-2.0 */
#include "range/stream.h"

#include "base/coding.h"
#include "base/crc32c.h"
#include "range/snapshot.h"

enum { CHUNK_FORMAT = 1, CHUNK_LAST = 1, CRC_LEN = 4 };

void stream_record_encode(struct buf *out, const struct stream_record *record)
{
    buf_append_u8(out, (uint8_t)record->kind);
    if (record->kind == STREAM_END) {
        buf_append_u64(out, record->count);
        buf_append_u32(out, record->crc);
        return;
    }
    ASSERT(record->key.len > 0);
    ASSERT(record->kind == STREAM_PUT || record->kind == STREAM_DELETE);
    buf_append_varint(out, record->key.len);
    buf_append_slice(out, record->key);
    buf_append_varint(out, record->version);
    if (record->kind == STREAM_PUT) {
        buf_append_varint(out, record->expiry_ms);
        buf_append_varint(out, record->value.len);
        buf_append_slice(out, record->value);
    }
}

/* A varint length and its bytes. Over `max` is damage, even if more would follow. */
static struct slice read_limited(struct reader *r, size_t max, bool *too_long)
{
    uint64_t len = read_varint(r);
    if (!r->bad && len > max)
        *too_long = true;
    return read_bytes(r, len);
}

int stream_record_decode(struct slice in, struct stream_record *ret_record, size_t *ret_len,
                         struct err *err)
{
    struct reader r = reader_of(in);
    struct stream_record rec = {0};
    bool too_long = false;
    uint8_t kind = read_u8(&r);
    if (r.bad)
        return ERR_SHORT;
    if (kind < STREAM_PUT || kind > STREAM_END)
        return err_set(err, ERR_CORRUPT, "snapshot: record of kind %u", kind);
    rec.kind = (enum stream_kind)kind;
    if (rec.kind == STREAM_END) {
        rec.count = read_u64(&r);
        rec.crc = read_u32(&r);
    } else {
        rec.key = read_limited(&r, RANGE_KEY_MAX, &too_long);
        rec.version = read_varint(&r);
    }
    if (rec.kind == STREAM_PUT) {
        rec.expiry_ms = read_varint(&r);
        rec.value = read_limited(&r, command_limits_default.value_max, &too_long);
    }
    if (too_long)
        return err_set(err, ERR_CORRUPT, "snapshot: key or value over its limit");
    if (r.bad)
        return ERR_SHORT;
    if (rec.kind != STREAM_END && (rec.key.len == 0 || rec.version == 0))
        return err_set(err, ERR_CORRUPT, "snapshot: record without key or version");
    *ret_record = rec;
    *ret_len = in.len - r.left;
    return 0;
}

void stream_chunk_encode(struct buf *out, uint64_t offset, bool is_last, struct slice bytes)
{
    ASSERT(bytes.len <= RANGE_CHUNK_MAX - RANGE_CHUNK_HEAD_LEN);
    buf_clear(out);
    buf_append_u32(out, 0);
    buf_append_u8(out, CHUNK_FORMAT);
    buf_append_u8(out, is_last ? CHUNK_LAST : 0);
    buf_append_u64(out, offset);
    buf_append_slice(out, bytes);
    if (!out->failed)
        put_u32(out->data, crc32c(0, out->data + CRC_LEN, out->len - CRC_LEN));
}

int stream_chunk_decode(struct slice chunk, uint64_t offset, bool *ret_is_last,
                        struct slice *ret_bytes, struct err *err)
{
    struct reader r = reader_of(chunk);
    uint32_t crc = read_u32(&r);
    uint8_t format = read_u8(&r);
    uint8_t flags = read_u8(&r);
    uint64_t at = read_u64(&r);
    if (r.bad || chunk.len > RANGE_CHUNK_MAX)
        return err_set(err, ERR_CORRUPT, "snapshot: chunk of %zu bytes", chunk.len);
    if (crc != crc32c(0, chunk.data + CRC_LEN, chunk.len - CRC_LEN))
        return err_set(err, ERR_CORRUPT, "snapshot: bad checksum of the chunk at %llu",
                       (unsigned long long)offset);
    if (format != CHUNK_FORMAT || (flags & ~CHUNK_LAST) != 0)
        return err_set(err, ERR_CORRUPT, "snapshot: chunk of format %u, flags %u", format, flags);
    if (at != offset)
        return err_set(err, ERR_CORRUPT, "snapshot: chunk at %llu, want %llu",
                       (unsigned long long)at, (unsigned long long)offset);
    *ret_is_last = (flags & CHUNK_LAST) != 0;
    *ret_bytes = slice_of(r.pos, r.left);
    return 0;
}
