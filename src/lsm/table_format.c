/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/table_format.h"

#include <lz4.h>
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "lsm/lsm.h"

enum {
    FOOTER_SUMMED = TABLE_FOOTER - 12,
    PLAIN_MAX = LSM_VALUE_MAX + LSM_KEY_MAX * 8 + (2 << 20),
    LZ4_RATIO_MAX = 256, /* the format cannot expand more */
};

static uint8_t *put_handle(uint8_t *p, struct table_handle h)
{
    put_u64(p, h.offset);
    put_u32(p + 8, h.len);
    return p + 12;
}

void table_footer_encode(const struct table_footer *footer, uint8_t out[TABLE_FOOTER])
{
    uint8_t *p = out;
    p = put_handle(p, footer->top);
    p = put_handle(p, footer->filter);
    p = put_handle(p, footer->props);
    put_u32(p, TABLE_FORMAT);
    put_u32(p + 4, footer->is_values);
    p += 8;
    ASSERT(p == out + FOOTER_SUMMED);
    put_u32(p, crc32c(0, out, FOOTER_SUMMED));
    put_u64(p + 4, TABLE_MAGIC);
}

static bool handle_is_sane(struct table_handle h, uint64_t file_size)
{
    uint64_t room = file_size - TABLE_FOOTER;
    return h.offset <= room && (uint64_t)h.len + TABLE_BLOCK_TAIL <= room - h.offset;
}

static struct table_handle read_handle(struct reader *r)
{
    struct table_handle h;
    h.offset = read_u64(r);
    h.len = read_u32(r);
    return h;
}

int table_footer_decode(struct slice raw, uint64_t file_size, struct table_footer *ret_footer,
                        struct err *err)
{
    if (raw.len != TABLE_FOOTER || file_size < TABLE_FOOTER)
        return err_set(err, ERR_CORRUPT, "footer of %zu bytes", raw.len);
    struct reader r = reader_of(raw);
    struct table_footer footer;
    footer.top = read_handle(&r);
    footer.filter = read_handle(&r);
    footer.props = read_handle(&r);
    uint32_t format = read_u32(&r);
    uint32_t kind = read_u32(&r);
    uint32_t crc = read_u32(&r);
    uint64_t magic = read_u64(&r);
    ASSERT(!r.bad);
    if (magic != TABLE_MAGIC)
        return err_set(err, ERR_CORRUPT, "footer: bad magic");
    if (crc != crc32c(0, raw.data, FOOTER_SUMMED))
        return err_set(err, ERR_CORRUPT, "footer: bad crc");
    if (format != TABLE_FORMAT || kind > 1)
        return err_set(err, ERR_CORRUPT, "footer: format %u, kind %u are not known here", format,
                       kind);
    footer.is_values = kind == 1;
    if (!handle_is_sane(footer.top, file_size) || !handle_is_sane(footer.props, file_size) ||
        (footer.filter.len > 0 && !handle_is_sane(footer.filter, file_size)))
        return err_set(err, ERR_CORRUPT, "footer: a block lies outside of the file");
    *ret_footer = footer;
    return 0;
}

bool table_stale_handle(const struct table_footer *footer, struct table_handle *ret_handle)
{
    uint64_t start = footer->props.offset + footer->props.len + TABLE_BLOCK_TAIL;
    if (footer->is_values || footer->top.offset < start + TABLE_BLOCK_TAIL)
        return false;
    uint64_t len = footer->top.offset - start - TABLE_BLOCK_TAIL;
    if (len == 0 || len > UINT32_MAX)
        return false;
    *ret_handle = (struct table_handle){.offset = start, .len = (uint32_t)len};
    return true;
}

void table_props_init(struct table_props *props)
{
    *props = (struct table_props){.version_min = UINT64_MAX};
    stale_init(&props->stale);
    buf_init(&props->smallest, LSM_KEY_MAX);
    buf_init(&props->largest, LSM_KEY_MAX);
}

void table_props_fini(struct table_props *props)
{
    buf_fini(&props->smallest);
    buf_fini(&props->largest);
    free(props->refs);
    props->refs = NULL;
    props->ref_count = props->ref_cap = 0;
}

int table_props_refer(struct table_props *props, uint64_t file, uint64_t bytes)
{
    size_t lo = 0, hi = props->ref_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (props->refs[mid].file < file)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < props->ref_count && props->refs[lo].file == file) {
        props->refs[lo].bytes += bytes;
        return 0;
    }
    if (props->ref_count == props->ref_cap) {
        size_t cap = MAX(props->ref_cap * 2, (size_t)4);
        struct table_ref *more = realloc(props->refs, cap * sizeof *more);
        if (more == NULL)
            return ERR_NOMEM;
        props->refs = more;
        props->ref_cap = cap;
    }
    memmove(&props->refs[lo + 1], &props->refs[lo], (props->ref_count - lo) * sizeof *props->refs);
    props->refs[lo] = (struct table_ref){.file = file, .bytes = bytes};
    props->ref_count++;
    return 0;
}

void table_props_encode(const struct table_props *props, struct buf *out)
{
    const uint64_t numbers[] = {
        props->records,     props->deletes,    props->expiring,    props->version_min,
        props->version_max, props->key_bytes,  props->value_bytes, props->data_bytes,
        props->data_blocks, props->expiry_max, props->keys,
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        buf_append_varint(out, numbers[i]);
    buf_append_varint(out, props->smallest.len);
    buf_append_slice(out, buf_slice(&props->smallest));
    buf_append_varint(out, props->largest.len);
    buf_append_slice(out, buf_slice(&props->largest));
    buf_append_varint(out, props->large_bytes);
    buf_append_varint(out, props->ref_count);
    for (size_t i = 0; i < props->ref_count; i++) {
        buf_append_varint(out, props->refs[i].file);
        buf_append_varint(out, props->refs[i].bytes);
    }
}

/* What tables from before value files do not have. */
static int decode_refs(struct reader *r, struct table_props *props)
{
    if (r->left == 0)
        return 0;
    props->large_bytes = read_varint(r);
    uint64_t count = read_varint(r), last = 0;
    if (r->bad || count > r->left)
        return ERR_CORRUPT;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t file = read_varint(r);
        uint64_t bytes = read_varint(r);
        if (r->bad || file <= last || bytes == 0)
            return ERR_CORRUPT;
        if (table_props_refer(props, file, bytes) != 0)
            return ERR_NOMEM;
        last = file;
    }
    return r->left == 0 ? 0 : ERR_CORRUPT;
}

int table_props_decode(struct slice raw, struct table_props *ret_props, struct err *err)
{
    struct reader r = reader_of(raw);
    struct table_props props;
    table_props_init(&props);
    uint64_t *const numbers[] = {
        &props.records,     &props.deletes,    &props.expiring,    &props.version_min,
        &props.version_max, &props.key_bytes,  &props.value_bytes, &props.data_bytes,
        &props.data_blocks, &props.expiry_max, &props.keys,
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        *numbers[i] = read_varint(&r);
    struct slice smallest = read_bytes_prefixed(&r);
    struct slice largest = read_bytes_prefixed(&r);
    if (r.bad || smallest.len == 0 || smallest.len > LSM_KEY_MAX || largest.len > LSM_KEY_MAX ||
        slice_compare(smallest, largest) > 0 || props.records == 0 || props.keys == 0 ||
        props.keys > props.records)
        return err_set(err, ERR_CORRUPT, "properties make no sense");
    buf_append_slice(&props.smallest, smallest);
    buf_append_slice(&props.largest, largest);
    int rv = decode_refs(&r, &props);
    if (props.smallest.failed || props.largest.failed)
        rv = ERR_NOMEM;
    if (rv != 0) {
        table_props_fini(&props);
        return err_set(err, rv, "properties: references to value files");
    }
    *ret_props = props;
    return 0;
}

bool table_partition_decode(struct slice value, struct table_handle *ret_handle)
{
    struct reader r = reader_of(value);
    uint64_t offset = read_varint(&r);
    uint64_t len = read_varint(&r);
    if (r.bad || len > UINT32_MAX)
        return false;
    *ret_handle = (struct table_handle){.offset = offset, .len = (uint32_t)len};
    return true;
}

bool table_top_decode(struct slice value, struct table_top *ret_top)
{
    struct reader r = reader_of(value);
    struct table_top top;
    top.handle.offset = read_varint(&r);
    uint64_t len = read_varint(&r);
    top.data_bytes = read_varint(&r);
    top.records = read_varint(&r);
    top.value_bytes = r.left > 0 ? read_varint(&r) : TABLE_VALUES_UNTOLD;
    if (r.bad || len > UINT32_MAX)
        return false;
    top.handle.len = (uint32_t)len;
    *ret_top = top;
    return true;
}

uint32_t table_block_crc(const uint8_t *payload_and_type, size_t len, uint64_t offset)
{
    uint8_t place[8];
    put_u64(place, offset);
    return crc32c(crc32c(0, payload_and_type, len), place, sizeof place);
}

int table_block_plain_len(struct slice payload, uint8_t type, size_t *ret_len)
{
    if (type == TABLE_BLOCK_PLAIN) {
        *ret_len = payload.len;
        return 0;
    }
    if (type != TABLE_BLOCK_LZ4 || payload.len < 4)
        return ERR_CORRUPT;
    uint32_t len = get_u32(payload.data);
    if (len > PLAIN_MAX || len / LZ4_RATIO_MAX > payload.len)
        return ERR_CORRUPT;
    *ret_len = len;
    return 0;
}

int table_block_plain(struct slice payload, uint8_t type, uint8_t *out, size_t out_len)
{
    if (type == TABLE_BLOCK_PLAIN) {
        ASSERT(out_len == payload.len);
        memcpy(out, payload.data, payload.len);
        return 0;
    }
    ASSERT(payload.len >= 4);
    ASSERT(out_len <= PLAIN_MAX);
    if (payload.len - 4 > INT32_MAX)
        return ERR_CORRUPT;
    int n = LZ4_decompress_safe((const char *)payload.data + 4, (char *)out, (int)(payload.len - 4),
                                (int)out_len);
    return n >= 0 && (size_t)n == out_len ? 0 : ERR_CORRUPT;
}
