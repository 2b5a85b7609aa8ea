/* SPDX-License-Identifier: Apache-2.0
 *
 * One entry: add ─▶ data block; full ─▶ cut_data() writes it and leaves its index
 * entry pending until the next key is known (a short separator), then into the
 * partition; partition full ─▶ cut_partition() writes that and enters it in the top
 * index. finish: last blocks, filter, properties, top index, footer, sync.
 */
#include "lsm/table_builder.h"

#include <stdlib.h>

#include "base/coding.h"
#include "lsm/block.h"
#include "lsm/block_writer.h"
#include "lsm/filter.h"
#include "lsm/lsm.h"
#include "lsm/values.h"

enum {
    INDEX_RESTART_EVERY = 4,
    OUT_MAX = 1 << 30,
    /* Of values that one partition of the index may refer to: the parts are what a span's size
     * is estimated by, and few records of large values are in few blocks. */
    PART_VALUE_BYTES = 4 << 20,
    TOP_BYTES = 16 << 20, /* of the top index: half of what a block may have */
    /* A partition beyond that, of one key with very many versions, which no other table may begin
     * in: the other half of the top index is enough for a hundred times what the first tells. */
    PART_BYTES_BEYOND = 1 << 20,
};

struct table_builder {
    struct table_options options;
    struct block_writer writer;
    struct block_builder data, part, top;
    struct buf last_ikey;
    struct buf hashes; /* u64 each, native */
    bool index_is_pending;
    struct table_handle pending; /* data block without an index entry yet */
    uint64_t part_data_bytes, part_records;
    uint64_t part_value_bytes; /* in value files … */
    uint64_t part_ref_bytes;   /* … what they take there */
    uint64_t block_records;
    struct table_props props;
    struct stale_notes notes;
    bool is_finished;
};

static int cut_partition(struct table_builder *b, struct err *err)
{
    struct slice plain;
    struct table_handle handle;
    struct slice last = buf_slice(&b->part.last_key);
    int rv = block_builder_finish(&b->part, &plain);
    if (rv != 0)
        return err_set(err, rv, "index partition");
    rv = block_writer_add(&b->writer, plain, true, &handle, err);
    if (rv != 0)
        return rv;
    uint8_t value[5 * VARINT_MAX];
    size_t n = put_varint(value, handle.offset);
    n += put_varint(value + n, handle.len);
    n += put_varint(value + n, b->part_data_bytes);
    n += put_varint(value + n, b->part_records);
    n += put_varint(value + n, b->part_ref_bytes);
    block_builder_add(&b->top, last, slice_of(value, n), (struct slice){0});
    block_builder_reset(&b->part);
    b->part_data_bytes = 0;
    b->part_records = 0;
    b->part_value_bytes = 0;
    b->part_ref_bytes = 0;
    return 0;
}

static bool partition_is_full(const struct table_builder *b)
{
    size_t bytes = block_builder_bytes(&b->part);
    if (table_builder_is_full(b))
        return bytes >= MAX(b->options.block_bytes, (size_t)PART_BYTES_BEYOND);
    return bytes >= b->options.block_bytes || b->part_value_bytes >= PART_VALUE_BYTES;
}

/* Enter the pending data block into the partition under `separator`. */
static int index_pending(struct table_builder *b, struct slice separator, struct err *err)
{
    ASSERT(b->index_is_pending);
    uint8_t value[2 * VARINT_MAX];
    size_t n = put_varint(value, b->pending.offset);
    n += put_varint(value + n, b->pending.len);
    block_builder_add(&b->part, separator, slice_of(value, n), (struct slice){0});
    b->part_data_bytes += b->pending.len + TABLE_BLOCK_TAIL;
    b->part_records += b->block_records;
    b->block_records = 0;
    b->index_is_pending = false;
    return partition_is_full(b) ? cut_partition(b, err) : 0;
}

/* A short encoded key >= last_ikey and < every key from `next` on: cut behind the
 * first byte that differs, if that can be counted up; else the last key itself. */
static struct slice separator(struct table_builder *b, struct slice next, uint8_t *room)
{
    struct slice last = ikey_key(buf_slice(&b->last_ikey));
    size_t i = 0;
    while (i < last.len && i < next.len && last.data[i] == next.data[i])
        i++;
    if (i >= last.len || i >= next.len || last.data[i] + 1 >= next.data[i] || i + 1 >= last.len)
        return buf_slice(&b->last_ikey);
    memcpy(room, last.data, i + 1);
    room[i]++;
    put_u64be(room + i + 1, UINT64_MAX);
    return slice_of(room, i + 1 + IKEY_TRAILER);
}

static int cut_data(struct table_builder *b, struct err *err)
{
    struct slice plain;
    int rv = block_builder_finish(&b->data, &plain);
    if (rv != 0)
        return err_set(err, rv, "data block");
    b->block_records = b->data.count;
    rv = block_writer_add(&b->writer, plain, true, &b->pending, err);
    if (rv != 0)
        return rv;
    b->index_is_pending = true;
    b->props.data_blocks++;
    b->props.data_bytes += b->pending.len + TABLE_BLOCK_TAIL;
    block_builder_reset(&b->data);
    return 0;
}

int table_builder_open(struct table_builder **ret_builder, struct env *env, const char *path,
                       const struct table_options *options, struct err *err)
{
    ASSERT(options->block_bytes > 0);
    struct table_builder *b = calloc(1, sizeof *b);
    if (b == NULL)
        return err_set(err, ERR_NOMEM, "table builder");
    int rv = block_writer_open(&b->writer, env, path, options->no_compression, err);
    if (rv != 0) {
        free(b);
        return rv;
    }
    b->options = *options;
    block_builder_init(&b->data, options->restart_every);
    block_builder_init(&b->part, INDEX_RESTART_EVERY);
    block_builder_init(&b->top, INDEX_RESTART_EVERY);
    buf_init(&b->last_ikey, LSM_KEY_MAX + IKEY_TRAILER);
    buf_init(&b->hashes, SIZE_MAX / 2);
    table_props_init(&b->props);
    *ret_builder = b;
    return 0;
}

static int count_value(struct table_builder *b, const struct entry *e)
{
    struct table_props *props = &b->props;
    if (!e->is_ref) {
        bool is_large = b->options.value_bytes > 0 && e->value.len >= b->options.value_bytes;
        props->large_bytes += is_large ? e->value.len : 0;
        props->value_bytes += e->value.len;
        return 0;
    }
    struct value_ref ref = value_ref_decode(e->value);
    props->value_bytes += ref.size;
    b->part_value_bytes += ref.size;
    b->part_ref_bytes += value_ref_charge(&ref);
    return table_props_refer(props, ref.file, value_ref_charge(&ref));
}

/* `newer`: the version of the record before, of the same key; 0: it is the newest. */
static void note_stale(struct table_builder *b, const struct entry *e, uint64_t newer)
{
    if (newer != 0)
        stale_note_hidden(&b->notes, newer);
    else if (e->kind == ENTRY_DELETE)
        stale_note_hidden(&b->notes, e->version);
    else if (e->kind == ENTRY_PUT_EXPIRES)
        stale_note_expiring(&b->notes, e->expiry_ms);
}

static void count_entry(struct table_builder *b, const struct entry *e, bool is_new_key)
{
    struct table_props *props = &b->props;
    if (props->records == 0)
        buf_append_slice(&props->smallest, e->key);
    props->records++;
    props->deletes += e->kind == ENTRY_DELETE;
    props->expiring += e->kind == ENTRY_PUT_EXPIRES;
    props->expiry_max = MAX(props->expiry_max, e->expiry_ms);
    props->keys += is_new_key;
    props->version_min = MIN(props->version_min, e->version);
    props->version_max = MAX(props->version_max, e->version);
    props->key_bytes += e->key.len;
    if (is_new_key && b->options.filter_bits > 0) {
        uint64_t hash = filter_hash(e->key);
        buf_append(&b->hashes, &hash, sizeof hash);
    }
}

int table_builder_add(struct table_builder *b, const struct entry *e, struct err *err)
{
    ASSERT(!b->is_finished);
    ASSERT(e->key.len > 0 && e->key.len <= LSM_KEY_MAX);
    bool is_new_key = true;
    uint64_t newer = 0;
    if (b->props.records > 0) {
        struct slice last = buf_slice(&b->last_ikey);
        ASSERT(entry_compare(ikey_key(last), ikey_version(last), e->key, e->version) < 0);
        is_new_key = !slice_equal(ikey_key(last), e->key);
        newer = is_new_key ? 0 : ikey_version(last);
    }
    if (b->index_is_pending) {
        uint8_t room[LSM_KEY_MAX + IKEY_TRAILER];
        int rv = index_pending(b, separator(b, e->key, room), err);
        if (rv != 0)
            return rv;
    }
    buf_clear(&b->last_ikey);
    ikey_append(&b->last_ikey, e->key, e->version);
    uint8_t head[ENTRY_HEAD_MAX];
    size_t head_len = entry_encode_head(e, head);
    if (b->last_ikey.failed)
        return err_set(err, ERR_NOMEM, "key of %zu bytes", e->key.len);
    block_builder_add(&b->data, buf_slice(&b->last_ikey), slice_of(head, head_len), e->value);
    count_entry(b, e, is_new_key);
    note_stale(b, e, newer);
    if (count_value(b, e) != 0)
        return err_set(err, ERR_NOMEM, "references of '%s'", b->writer.path);
    return block_builder_bytes(&b->data) >= b->options.block_bytes ? cut_data(b, err) : 0;
}

uint64_t table_builder_bytes(const struct table_builder *b)
{
    return block_writer_offset(&b->writer) + block_builder_bytes(&b->data);
}

uint64_t table_builder_records(const struct table_builder *b)
{
    return b->props.records;
}

size_t table_builder_memory(const struct table_builder *b)
{
    return b->hashes.len + b->part.buf.len + b->top.buf.len;
}

bool table_builder_is_full(const struct table_builder *b)
{
    return block_builder_bytes(&b->top) >= TOP_BYTES;
}

void table_builder_span(const struct table_builder *b, struct slice *ret_first,
                        struct slice *ret_last)
{
    ASSERT(b->props.records > 0);
    *ret_first = buf_slice(&b->props.smallest);
    *ret_last = ikey_key(buf_slice(&b->last_ikey));
}

void table_builder_filtered(struct table_builder *b, uint64_t safe_version, uint64_t range_time_ms)
{
    ASSERT(!b->is_finished);
    b->props.stale.made_safe = safe_version;
    b->props.stale.made_ms = range_time_ms;
}

static int write_filter(struct table_builder *b, struct table_handle *ret_handle, struct err *err)
{
    struct buf filter;
    if (b->options.filter_bits == 0)
        return 0;
    if (b->hashes.failed)
        return err_set(err, ERR_NOMEM, "filter hashes");
    buf_init(&filter, OUT_MAX);
    filter_build(&filter, (const uint64_t *)(const void *)b->hashes.data,
                 b->hashes.len / sizeof(uint64_t), b->options.filter_bits);
    int rv = filter.failed
                 ? err_set(err, ERR_NOMEM, "filter")
                 : block_writer_add(&b->writer, buf_slice(&filter), false, ret_handle, err);
    buf_fini(&filter);
    return rv;
}

static int write_props(struct table_builder *b, struct table_handle *ret_handle, struct err *err)
{
    struct slice last = ikey_key(buf_slice(&b->last_ikey));
    struct buf raw;
    buf_append_slice(&b->props.largest, last);
    buf_init(&raw, OUT_MAX);
    table_props_encode(&b->props, &raw);
    int rv = raw.failed || b->props.largest.failed || b->props.smallest.failed
                 ? err_set(err, ERR_NOMEM, "properties")
                 : block_writer_add(&b->writer, buf_slice(&raw), false, ret_handle, err);
    buf_fini(&raw);
    return rv;
}

static int write_stale(struct table_builder *b, struct err *err)
{
    struct table_handle found_by_place;
    struct buf raw;
    stale_of(&b->notes, b->props.records, &b->props.stale);
    buf_init(&raw, OUT_MAX);
    stale_encode(&b->props.stale, &raw);
    int rv = raw.failed
                 ? err_set(err, ERR_NOMEM, "stale block")
                 : block_writer_add(&b->writer, buf_slice(&raw), false, &found_by_place, err);
    buf_fini(&raw);
    return rv;
}

/* Everything behind the data. */
static int write_tail(struct table_builder *b, struct err *err)
{
    struct table_footer footer = {0};
    struct slice top;
    int rv = write_filter(b, &footer.filter, err);
    if (rv == 0)
        rv = write_props(b, &footer.props, err);
    if (rv == 0)
        rv = write_stale(b, err);
    if (rv == 0 && block_builder_finish(&b->top, &top) != 0)
        rv = err_set(err, ERR_NOMEM, "top index");
    if (rv == 0)
        rv = block_writer_add(&b->writer, top, true, &footer.top, err);
    if (rv != 0)
        return rv;
    uint8_t raw[TABLE_FOOTER];
    table_footer_encode(&footer, raw);
    return block_writer_raw(&b->writer, slice_of(raw, sizeof raw), err);
}

int table_builder_finish(struct table_builder *b, struct table_info *ret_info, struct err *err)
{
    ASSERT(!b->is_finished);
    ASSERT(b->props.records > 0);
    int rv = 0;
    if (b->data.count > 0)
        rv = cut_data(b, err);
    if (rv == 0 && b->index_is_pending)
        rv = index_pending(b, buf_slice(&b->last_ikey), err);
    if (rv == 0 && b->part.count > 0)
        rv = cut_partition(b, err);
    if (rv == 0)
        rv = write_tail(b, err);
    if (rv == 0)
        rv = block_writer_finish(&b->writer, err);
    if (rv != 0)
        return rv;
    b->is_finished = true;
    *ret_info =
        (struct table_info){.size = b->writer.written, .crc = b->writer.crc, .props = b->props};
    table_props_init(&b->props);
    return 0;
}

void table_builder_free(struct table_builder *b, bool keep)
{
    if (b == NULL)
        return;
    block_writer_fini(&b->writer, keep);
    block_builder_fini(&b->data);
    block_builder_fini(&b->part);
    block_builder_fini(&b->top);
    buf_fini(&b->last_ikey);
    buf_fini(&b->hashes);
    table_props_fini(&b->props);
    free(b);
}
