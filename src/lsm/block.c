/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/block.h"

#include <stdlib.h>

#include "base/err.h"
#include "lsm/lsm.h"

enum { BLOCK_BYTES_MAX = LSM_VALUE_MAX + LSM_KEY_MAX * 4 + (1 << 20) };

/* ---- builder ------------------------------------------------------------ */

void block_builder_init(struct block_builder *b, unsigned restart_every)
{
    ASSERT(restart_every > 0);
    *b = (struct block_builder){.restart_every = restart_every};
    buf_init(&b->buf, BLOCK_BYTES_MAX);
    buf_init(&b->restarts, BLOCK_BYTES_MAX);
    buf_init(&b->last_key, LSM_KEY_MAX + IKEY_TRAILER);
}

void block_builder_fini(struct block_builder *b)
{
    buf_fini(&b->buf);
    buf_fini(&b->restarts);
    buf_fini(&b->last_key);
}

void block_builder_reset(struct block_builder *b)
{
    buf_clear(&b->buf);
    buf_clear(&b->restarts);
    buf_clear(&b->last_key);
    b->count = 0;
    b->since_restart = 0;
}

static size_t shared_prefix(struct slice a, struct slice b)
{
    size_t n = MIN(a.len, b.len);
    size_t i = 0;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

void block_builder_add(struct block_builder *b, struct slice ikey, struct slice head,
                       struct slice value)
{
    ASSERT(ikey_is_sane(ikey));
    ASSERT(b->count == 0 || b->buf.failed || b->last_key.failed ||
           ikey_compare(buf_slice(&b->last_key), ikey) <= 0);
    size_t shared = 0;
    if (b->count == 0 || b->since_restart == b->restart_every) {
        buf_append_u32(&b->restarts, (uint32_t)b->buf.len);
        b->since_restart = 0;
    } else {
        shared = shared_prefix(buf_slice(&b->last_key), ikey);
    }
    buf_append_varint(&b->buf, shared);
    buf_append_varint(&b->buf, ikey.len - shared);
    buf_append_varint(&b->buf, head.len + value.len);
    buf_append(&b->buf, ikey.data + shared, ikey.len - shared);
    buf_append_slice(&b->buf, head);
    buf_append_slice(&b->buf, value);
    buf_clear(&b->last_key);
    buf_append_slice(&b->last_key, ikey);
    b->since_restart++;
    b->count++;
}

size_t block_builder_bytes(const struct block_builder *b)
{
    return b->buf.len + b->restarts.len + 4;
}

int block_builder_finish(struct block_builder *b, struct slice *ret_block)
{
    ASSERT(b->count > 0);
    uint32_t restart_count = (uint32_t)(b->restarts.len / 4);
    buf_append_slice(&b->buf, buf_slice(&b->restarts));
    buf_append_u32(&b->buf, restart_count);
    if (b->buf.failed || b->restarts.failed || b->last_key.failed)
        return ERR_NOMEM;
    *ret_block = buf_slice(&b->buf);
    return 0;
}

/* ---- iterator ----------------------------------------------------------- */

int block_iter_init(struct block_iter *it, struct slice block)
{
    it->key = it->inline_key;
    it->key_cap = sizeof it->inline_key;
    it->key_len = 0;
    it->is_valid = false;
    it->is_corrupt = true;
    it->value = (struct slice){0};
    if (block.len < 4)
        return ERR_CORRUPT;
    uint32_t count = get_u32(block.data + block.len - 4);
    if (count == 0 || count > (block.len - 4) / 4)
        return ERR_CORRUPT;
    size_t entries_len = block.len - 4 - (size_t)count * 4;
    it->entries = slice_of(block.data, entries_len);
    it->restarts = block.data + entries_len;
    it->restart_count = count;
    it->is_corrupt = false;
    return 0;
}

void block_iter_fini(struct block_iter *it)
{
    if (it->key != it->inline_key)
        free(it->key);
    it->key = NULL;
    it->is_valid = false;
}

static void set_corrupt(struct block_iter *it)
{
    it->is_corrupt = true;
    it->is_valid = false;
}

static bool key_reserve(struct block_iter *it, size_t len)
{
    if (len <= it->key_cap)
        return true;
    if (len > LSM_KEY_MAX + IKEY_TRAILER)
        return false;
    uint8_t *key = malloc(LSM_KEY_MAX + IKEY_TRAILER);
    if (key == NULL)
        return false;
    memcpy(key, it->key, it->key_len);
    it->key = key;
    it->key_cap = LSM_KEY_MAX + IKEY_TRAILER;
    return true;
}

/* One varint below 2^32 at the cursor: nearly always a single byte. */
static inline bool take_varint(const uint8_t **p, const uint8_t *end, uint32_t *ret)
{
    if (*p < end && **p < 0x80) {
        *ret = *(*p)++;
        return true;
    }
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 35 && *p < end; shift += 7) {
        uint8_t byte = *(*p)++;
        if (shift == 28 && byte > 0x0f)
            return false;
        v |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = v;
            return true;
        }
    }
    return false;
}

/* Decode the entry at `offset`, whose predecessor's key stands in it->key. */
static void parse_at(struct block_iter *it, size_t offset)
{
    if (offset >= it->entries.len) {
        it->is_valid = false;
        return;
    }
    const uint8_t *p = it->entries.data + offset;
    const uint8_t *end = it->entries.data + it->entries.len;
    uint32_t shared, unshared, value_len;
    if (!take_varint(&p, end, &shared) || !take_varint(&p, end, &unshared) ||
        !take_varint(&p, end, &value_len) || shared > it->key_len || unshared > (size_t)(end - p) ||
        value_len > (size_t)(end - p) - unshared || (size_t)shared + unshared <= IKEY_TRAILER ||
        !key_reserve(it, (size_t)shared + unshared)) {
        set_corrupt(it);
        return;
    }
    memcpy(it->key + shared, p, unshared);
    it->key_len = (size_t)shared + unshared;
    it->value = slice_of(p + unshared, value_len);
    it->offset = offset;
    it->next_offset = (size_t)(p + unshared + value_len - it->entries.data);
    it->is_valid = true;
}

static void go_restart(struct block_iter *it, uint32_t restart)
{
    ASSERT(restart < it->restart_count);
    size_t offset = get_u32(it->restarts + 4 * (size_t)restart);
    it->key_len = 0;
    it->restart = restart;
    if (offset >= it->entries.len)
        set_corrupt(it);
    else
        parse_at(it, offset);
}

static void step(struct block_iter *it)
{
    size_t next = it->next_offset;
    if (it->restart + 1 < it->restart_count &&
        next >= get_u32(it->restarts + 4 * (size_t)(it->restart + 1)))
        it->restart++;
    parse_at(it, next);
}

void block_iter_first(struct block_iter *it)
{
    if (!it->is_corrupt)
        go_restart(it, 0);
}

void block_iter_last(struct block_iter *it)
{
    if (it->is_corrupt)
        return;
    go_restart(it, it->restart_count - 1);
    while (it->is_valid && it->next_offset < it->entries.len)
        step(it);
}

void block_iter_next(struct block_iter *it)
{
    ASSERT(it->is_valid);
    step(it);
}

void block_iter_prev(struct block_iter *it)
{
    ASSERT(it->is_valid);
    size_t target = it->offset;
    uint32_t restart = it->restart;
    while (restart > 0 && get_u32(it->restarts + 4 * (size_t)restart) >= target)
        restart--;
    if (get_u32(it->restarts + 4 * (size_t)restart) >= target) {
        it->is_valid = false; /* it was the first */
        return;
    }
    go_restart(it, restart);
    while (it->is_valid && it->next_offset < target)
        step(it);
}

/* Compare the key at a restart point (stored whole) with the target. */
static bool restart_is_before(struct block_iter *it, uint32_t restart, struct slice key,
                              uint64_t version)
{
    go_restart(it, restart);
    if (!it->is_valid)
        return false;
    struct slice ikey = block_iter_key(it);
    return entry_compare(ikey_key(ikey), ikey_version(ikey), key, version) < 0;
}

void block_iter_seek(struct block_iter *it, struct slice key, uint64_t version)
{
    if (it->is_corrupt)
        return;
    /* Last restart whose key is < target; the answer is in its run or begins the next. */
    uint32_t lo = 0, hi = it->restart_count - 1;
    while (lo < hi && !it->is_corrupt) {
        uint32_t mid = lo + (hi - lo + 1) / 2;
        if (restart_is_before(it, mid, key, version))
            lo = mid;
        else
            hi = mid - 1;
    }
    if (it->is_corrupt)
        return;
    go_restart(it, lo);
    while (it->is_valid) {
        struct slice ikey = block_iter_key(it);
        if (entry_compare(ikey_key(ikey), ikey_version(ikey), key, version) >= 0)
            break;
        step(it);
    }
}
