/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as what the range room decodes: a meta record, an entry's payload, records
 * of a snapshot stream, a chunk (its checksum put right). The first byte chooses. What
 * is accepted must pass its own check, and read the same once it is written again. */
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "range/admin.h"
#include "range/entry.h"
#include "range/meta.h"
#include "range/snapshot.h"
#include "range/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CRC_LEN = 4 };

static void fuzz_meta(struct slice in)
{
    struct range_meta meta, again;
    struct buf raw;
    range_meta_init(&meta);
    if (range_meta_decode(in, &meta, NULL) != 0)
        return;
    range_meta_check(&meta);
    buf_init(&raw, RANGE_META_MAX);
    range_meta_encode(&meta, &raw);
    range_meta_init(&again);
    ASSERT(range_meta_decode(buf_slice(&raw), &again, NULL) == 0);
    ASSERT(range_descriptor_equal(&meta.descriptor, &again.descriptor));
    ASSERT(again.history_hash == meta.history_hash);
    buf_fini(&raw);
    range_meta_fini(&again);
    range_meta_fini(&meta);
}

/* An administrative entry that is accepted is written as it was read. */
static void fuzz_admin(struct slice in)
{
    struct range_admin admin;
    struct buf raw;
    if (range_admin_decode(in, &admin, NULL) != 0)
        return;
    ASSERT(range_admin_is(in));
    ASSERT(admin.stamp_ms <= RANGE_TIME_MAX);
    buf_init(&raw, RANGE_ADMIN_MAX);
    range_admin_encode(&admin, &raw);
    ASSERT(!raw.failed && raw.len <= in.len);
    ASSERT(range_admin_decode(buf_slice(&raw), &admin, NULL) == 0);
    buf_fini(&raw);
}

static void fuzz_entry(struct slice in)
{
    struct entry_reader reader;
    uint32_t sum = 0;
    fuzz_admin(in);
    if (entry_reader_init(&reader, in, NULL) != 0)
        return;
    ASSERT(reader.stamp_ms <= RANGE_TIME_MAX);
    for (uint32_t i = 0; i < reader.count; i++) {
        struct slice command = entry_reader_next(&reader);
        sum = crc32c(sum, command.data, command.len);
    }
}

static void fuzz_records(struct slice in)
{
    struct stream_record rec, again;
    size_t len = 0;
    while (stream_record_decode(in, &rec, &len, NULL) == 0) {
        struct buf raw;
        size_t again_len = 0;
        ASSERT(len > 0 && len <= in.len);
        buf_init(&raw, len + 64);
        stream_record_encode(&raw, &rec);
        ASSERT(!raw.failed && raw.len <= len);
        ASSERT(stream_record_decode(buf_slice(&raw), &again, &again_len, NULL) == 0);
        ASSERT(again_len == raw.len && again.kind == rec.kind && again.version == rec.version);
        ASSERT(slice_equal(again.key, rec.key) && slice_equal(again.value, rec.value));
        buf_fini(&raw);
        in = slice_of(in.data + len, in.len - len);
    }
}

static void fuzz_chunk(struct slice in)
{
    uint8_t *copy = malloc(in.len + 1);
    struct slice bytes;
    bool is_last;
    ASSERT(copy != NULL);
    memcpy(copy, in.data, in.len);
    if (in.len >= CRC_LEN)
        put_u32(copy, crc32c(0, copy + CRC_LEN, in.len - CRC_LEN));
    if (stream_chunk_decode(slice_of(copy, in.len), 0, &is_last, &bytes, NULL) == 0)
        fuzz_records(bytes);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const decoders[])(struct slice in) = {
        fuzz_meta,
        fuzz_entry,
        fuzz_records,
        fuzz_chunk,
    };
    if (size > 1)
        decoders[data[0] % ARRAY_LEN(decoders)](slice_of(data + 1, size - 1));
    return 0;
}
