/* SPDX-License-Identifier: Apache-2.0 */
#include "raftlog/record.h"

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/plant.h"

void head_encode(const struct head *head, uint8_t out[HEAD_LEN])
{
    ASSERT(head->number > 0);
    ASSERT(head->first_live > 0 && head->first_live <= head->number);
    memset(out, 0, HEAD_LEN);
    put_u32(out + 4, HEAD_MAGIC);
    put_u32(out + 8, HEAD_VERSION);
    put_u32(out + 12, head->flags);
    put_u64(out + 16, head->number);
    put_u64(out + 24, head->salt);
    put_u64(out + 32, head->first_live);
    put_u64(out + 40, head->batch);
    put_u32(out + 48, head->prev_len);
    put_u32(out + 52, head->prev_chain);
    put_u32(out, crc32c(0, out + 4, HEAD_LEN - 4));
}

bool head_decode(const uint8_t in[HEAD_LEN], struct head *ret_head)
{
    if (get_u32(in) != crc32c(0, in + 4, HEAD_LEN - 4))
        return false;
    if (get_u32(in + 4) != HEAD_MAGIC || get_u32(in + 8) != HEAD_VERSION)
        return false;
    struct head head = {
        .flags = get_u32(in + 12),
        .number = get_u64(in + 16),
        .salt = get_u64(in + 24),
        .first_live = get_u64(in + 32),
        .batch = get_u64(in + 40),
        .prev_len = get_u32(in + 48),
        .prev_chain = get_u32(in + 52),
    };
    if (head.number == 0 || head.number >= UINT32_MAX || head.first_live == 0 ||
        head.first_live > head.number)
        return false;
    *ret_head = head;
    return true;
}

uint32_t record_seed(uint64_t salt, uint64_t number)
{
    uint8_t raw[16];
    put_u64(raw, salt);
    put_u64(raw + 8, PLANTED(recycled_tail_read) ? 0 : number);
    return crc32c(0, raw, sizeof raw);
}

size_t record_head_len(enum record_type type, uint8_t flags, uint32_t count)
{
    size_t len = RECORD_LEN;
    if (flags & RECORD_BASE)
        len += RECORD_BASE_LEN;
    if (type == RECORD_COPY)
        len += (size_t)8 * count;
    return len;
}

uint64_t record_len(enum record_type type, uint8_t flags, uint32_t count, uint64_t data_len)
{
    uint64_t len = record_head_len(type, flags, count) + (uint64_t)count * ENTRY_LEN + data_len;
    return (len + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1);
}

uint32_t record_encode(const struct record *record, const uint64_t *sources, uint32_t seed,
                       uint8_t *out)
{
    size_t head_len = record_head_len(record->type, record->flags, record->count);
    ASSERT(record->type > 0 && record->type < RECORD_TYPE_NR);
    ASSERT(record->length % RECORD_ALIGN == 0 && record->length >= head_len);
    ASSERT((record->type == RECORD_COPY) == (sources != NULL));
    uint8_t *ext = out + RECORD_LEN;
    if (record->flags & RECORD_BASE) {
        put_u64(ext, record->base_index);
        put_u64(ext + 8, record->base_term);
        ext += RECORD_BASE_LEN;
    }
    for (uint32_t i = 0; sources != NULL && i < record->count; i++, ext += 8)
        put_u64(ext, sources[i]);
    ASSERT(ext == out + head_len);
    put_u32(out + 4, record->length);
    out[8] = (uint8_t)record->type;
    out[9] = record->flags;
    put_u16(out + 10, 0);
    put_u32(out + 12, record->count);
    put_u64(out + 16, record->group);
    put_u64(out + 24, record->batch);
    put_u32(out + 32, record->batch_start);
    put_u32(out + 36, crc32c(0, out + RECORD_LEN, head_len - RECORD_LEN));
    put_u64(out + 40, record->first_index);
    put_u64(out + 48, record->term);
    put_u64(out + 56, record->vote);
    put_u64(out + 64, record->hint);
    uint32_t crc = crc32c(seed, out + 4, RECORD_LEN - 4);
    put_u32(out, crc);
    return crc;
}

/* The cheap questions first: a resynchronising scan asks at every eighth byte. */
static bool record_is_plausible(const uint8_t *p, size_t left)
{
    uint32_t length = get_u32(p + 4);
    if (length < RECORD_LEN || length > left || length % RECORD_ALIGN != 0)
        return false;
    return p[8] > 0 && p[8] < RECORD_TYPE_NR && (p[9] & ~RECORD_FLAGS) == 0 && get_u16(p + 10) == 0;
}

bool record_decode(struct slice in, uint32_t seed, struct record *ret_record)
{
    const uint8_t *p = in.data;
    if (in.len < RECORD_LEN || !record_is_plausible(p, in.len))
        return false;
    if (get_u32(p) != crc32c(seed, p + 4, RECORD_LEN - 4))
        return false;
    struct record r = {
        .type = (enum record_type)p[8],
        .flags = p[9],
        .length = get_u32(p + 4),
        .count = get_u32(p + 12),
        .group = get_u64(p + 16),
        .batch = get_u64(p + 24),
        .batch_start = get_u32(p + 32),
        .first_index = get_u64(p + 40),
        .term = get_u64(p + 48),
        .vote = get_u64(p + 56),
        .hint = get_u64(p + 64),
    };
    bool has_group = r.type <= RECORD_REMOVE;
    if (has_group != (r.group != 0) || r.count > r.length / ENTRY_LEN)
        return false;
    if (r.count > 0 && has_group && (r.first_index == 0 || r.first_index > UINT64_MAX / 2))
        return false;
    size_t head_len = record_head_len(r.type, r.flags, r.count);
    if (head_len > r.length || get_u32(p + 36) != crc32c(0, p + RECORD_LEN, head_len - RECORD_LEN))
        return false;
    if (r.flags & RECORD_BASE) {
        r.base_index = get_u64(p + RECORD_LEN);
        r.base_term = get_u64(p + RECORD_LEN + 8);
    }
    *ret_record = r;
    return true;
}

uint64_t record_source(const struct record *record, const uint8_t *in, uint32_t i)
{
    ASSERT(record->type == RECORD_COPY);
    ASSERT(i < record->count);
    size_t skip = RECORD_LEN + (record->flags & RECORD_BASE ? RECORD_BASE_LEN : 0);
    return get_u64(in + skip + (size_t)8 * i);
}

static uint32_t entry_crc(uint64_t group, uint64_t index, const uint8_t *raw, struct slice data)
{
    uint8_t place[16];
    put_u64(place, group);
    put_u64(place + 8, index);
    uint32_t crc = crc32c(0, place, sizeof place);
    crc = crc32c(crc, raw + 4, ENTRY_LEN - 4);
    return crc32c(crc, data.data, data.len);
}

size_t entry_encode(uint64_t group, uint64_t index, uint64_t term, uint8_t type, struct slice data,
                    uint8_t *out)
{
    ASSERT(data.len < UINT32_MAX);
    put_u32(out + 4, (uint32_t)data.len);
    put_u64(out + 8, term);
    out[16] = type;
    memset(out + 17, 0, 7);
    if (data.len > 0)
        memcpy(out + ENTRY_LEN, data.data, data.len);
    put_u32(out, entry_crc(group, index, out, slice_of(out + ENTRY_LEN, data.len)));
    return ENTRY_LEN + data.len;
}

bool entry_decode(struct slice in, uint64_t group, uint64_t index, struct entry_head *ret_entry,
                  struct slice *ret_data)
{
    if (in.len < ENTRY_LEN)
        return false;
    struct entry_head entry = {
        .crc = get_u32(in.data),
        .len = get_u32(in.data + 4),
        .term = get_u64(in.data + 8),
        .type = in.data[16],
    };
    if (entry.len > in.len - ENTRY_LEN)
        return false;
    struct slice data = slice_of(in.data + ENTRY_LEN, entry.len);
    if (entry.crc != entry_crc(group, index, in.data, data) && !PLANTED(torn_tail_taken))
        return false;
    *ret_entry = entry;
    *ret_data = data;
    return true;
}

bool record_walk(const struct record *record, struct slice in, record_each_cb each, void *data)
{
    ASSERT(in.len == record->length);
    size_t pos = record_head_len(record->type, record->flags, record->count);
    for (uint32_t i = 0; i < record->count; i++) {
        struct entry_head entry;
        struct slice bytes;
        uint64_t index = record->first_index + i;
        struct slice rest = slice_of(in.data + pos, in.len - pos);
        if (!entry_decode(rest, record->group, index, &entry, &bytes))
            return false;
        if (each != NULL)
            each(data, index, (uint32_t)pos, &entry, bytes);
        pos += ENTRY_LEN + bytes.len;
    }
    if (in.len - pos >= RECORD_ALIGN)
        return false;
    for (; pos < in.len; pos++) {
        if (in.data[pos] != 0)
            return false;
    }
    return true;
}

struct scan scan_of(struct slice bytes, uint32_t seed)
{
    return (struct scan){.bytes = bytes, .seed = seed, .pos = HEAD_LEN, .at = HEAD_LEN};
}

enum scan_result scan_next(struct scan *scan, struct record *ret_record)
{
    scan->at = scan->pos;
    size_t len = scan->bytes.len;
    for (uint64_t pos = scan->pos; pos + RECORD_LEN <= len; pos += RECORD_ALIGN) {
        struct record record;
        if (!record_decode(slice_of(scan->bytes.data + pos, len - pos), scan->seed, &record))
            continue;
        if (pos > scan->at) {
            scan->pos = (uint32_t)pos;
            return SCAN_GAP;
        }
        scan->pos = (uint32_t)(pos + record.length);
        *ret_record = record;
        bool is_good = record_walk(&record, scan_record_bytes(scan, &record), NULL, NULL);
        return is_good ? SCAN_RECORD : SCAN_BODY;
    }
    return SCAN_END;
}
