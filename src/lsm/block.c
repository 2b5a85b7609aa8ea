/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/block.h"

#include <stdlib.h>

#include "base/err.h"
#include "lsm/lsm.h"

/* A record more goes in while there is less than `block_bytes`. */
enum {
    BLOCK_BYTES_MAX = LSM_VALUE_MAX + LSM_KEY_MAX * 4 + LSM_BLOCK_MAX,
    KEY_TAIL = 32,
};

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
    it->status = ERR_CORRUPT;
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
    it->status = 0;
    return 0;
}

void block_iter_fini(struct block_iter *it)
{
    if (it->key != it->inline_key)
        free(it->key);
    it->key = NULL;
    it->is_valid = false;
}

static void fail(struct block_iter *it, int status)
{
    it->status = status;
    it->is_valid = false;
}

/* 0; ERR_CORRUPT: no key is so long; ERR_NOMEM. */
static inline int key_reserve(struct block_iter *it, size_t len)
{
    if (len <= it->key_cap)
        return 0;
    if (len > LSM_KEY_MAX + IKEY_TRAILER)
        return ERR_CORRUPT;
    uint8_t *key = malloc(LSM_KEY_MAX + IKEY_TRAILER);
    if (key == NULL)
        return ERR_NOMEM;
    memcpy(key, it->key, it->key_len);
    it->key = key;
    it->key_cap = LSM_KEY_MAX + IKEY_TRAILER;
    return 0;
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

/* The three lengths in front of an entry; each is nearly always one byte. */
struct head {
    uint32_t shared, unshared, value_len;
};

static inline bool take_head(const uint8_t **p, const uint8_t *end, struct head *h)
{
    const uint8_t *at = *p;
    if (end - at >= 3 && (at[0] | at[1] | at[2]) < 0x80) {
        *h = (struct head){at[0], at[1], at[2]};
        *p = at + 3;
    } else if (!take_varint(p, end, &h->shared) || !take_varint(p, end, &h->unshared) ||
               !take_varint(p, end, &h->value_len)) {
        return false;
    }
    size_t left = (size_t)(end - *p);
    return h->unshared <= left && h->value_len <= left - h->unshared &&
           (size_t)h->shared + h->unshared > IKEY_TRAILER;
}

/* A key's tail is short: 32 bytes at once when both sides have the room. */
static inline void copy_tail(uint8_t *to, size_t to_room, const uint8_t *from, size_t from_room,
                             size_t len)
{
    if (len <= KEY_TAIL && to_room >= KEY_TAIL && from_room >= KEY_TAIL)
        memcpy(to, from, KEY_TAIL);
    else
        memcpy(to, from, len);
}

/* Decode the entry at `offset`, whose predecessor's key stands in it->key. */
static inline void parse_at(struct block_iter *it, size_t offset)
{
    if (offset >= it->entries.len) {
        it->is_valid = false;
        return;
    }
    const uint8_t *p = it->entries.data + offset;
    const uint8_t *end = it->entries.data + it->entries.len;
    struct head h;
    int rv = ERR_CORRUPT;
    if (take_head(&p, end, &h) && h.shared <= it->key_len)
        rv = key_reserve(it, (size_t)h.shared + h.unshared);
    if (rv != 0) {
        fail(it, rv);
        return;
    }
    copy_tail(it->key + h.shared, it->key_cap - h.shared, p, (size_t)(end - p), h.unshared);
    it->shared = h.shared;
    it->key_len = (size_t)h.shared + h.unshared;
    it->value = slice_of(p + h.unshared, h.value_len);
    it->offset = offset;
    it->next_offset = (size_t)(p + h.unshared + h.value_len - it->entries.data);
    it->is_valid = true;
}

static void go_restart(struct block_iter *it, uint32_t restart)
{
    ASSERT(restart < it->restart_count);
    size_t offset = get_u32(it->restarts + 4 * (size_t)restart);
    it->key_len = 0;
    it->restart = restart;
    if (offset >= it->entries.len)
        fail(it, ERR_CORRUPT);
    else
        parse_at(it, offset);
}

static inline void step(struct block_iter *it)
{
    size_t next = it->next_offset;
    if (it->restart + 1 < it->restart_count &&
        next >= get_u32(it->restarts + 4 * (size_t)(it->restart + 1)))
        it->restart++;
    parse_at(it, next);
}

void block_iter_first(struct block_iter *it)
{
    if (it->status == 0)
        go_restart(it, 0);
}

void block_iter_last(struct block_iter *it)
{
    if (it->status != 0)
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

/* What a seek looks for, and how far it agrees with the key that the walk stands on. */
struct target {
    struct slice key;
    uint64_t version;
    size_t same; /* leading bytes of it->key that are those of `key` */
};

static inline uint64_t load_be(const uint8_t *p)
{
    return get_u64be(p);
}

/* Order of `ikey` against the target, whose first `same` bytes are known to agree;
 * *ret_same: how many do. */
static inline int compare_from(struct slice ikey, const struct target *t, size_t same,
                               size_t *ret_same)
{
    struct slice key = ikey_key(ikey);
    size_t n = MIN(key.len, t->key.len), i = same;
    for (; i + 8 <= n; i += 8) {
        uint64_t a = load_be(key.data + i), b = load_be(t->key.data + i);
        if (a != b) {
            *ret_same = i + (size_t)__builtin_clzll(a ^ b) / 8;
            return a < b ? -1 : 1;
        }
    }
    for (; i < n; i++) {
        if (key.data[i] != t->key.data[i]) {
            *ret_same = i;
            return key.data[i] < t->key.data[i] ? -1 : 1;
        }
    }
    *ret_same = n;
    if (key.len != t->key.len)
        return key.len < t->key.len ? -1 : 1;
    uint64_t version = ikey_version(ikey);
    return (version < t->version) - (version > t->version);
}

/* Is the key at a restart point (stored whole: read in place) before the target? */
static bool restart_is_before(struct block_iter *it, uint32_t restart, const struct target *t)
{
    size_t offset = get_u32(it->restarts + 4 * (size_t)restart), same = 0;
    struct head h;
    if (offset < it->entries.len) {
        const uint8_t *p = it->entries.data + offset;
        if (take_head(&p, it->entries.data + it->entries.len, &h) && h.shared == 0)
            return compare_from(slice_of(p, h.unshared), t, 0, &same) < 0;
    }
    fail(it, ERR_CORRUPT);
    return false;
}

/* Walk on from where the run begins to the first entry that is not before the target.
 * The key before was smaller and differed at byte `same`. An entry that shares more than
 * that with it is smaller as well: nothing to compare. */
static void walk_run(struct block_iter *it, struct target *t)
{
    t->same = 0;
    for (size_t before = 0; it->is_valid;) {
        size_t key_len = it->key_len - IKEY_TRAILER;
        bool is_smaller =
            it->shared > t->same && t->same < MIN(before, key_len) && t->same < t->key.len;
        if (!is_smaller) {
            size_t from = MIN(MIN((size_t)it->shared, t->same), MIN(key_len, t->key.len));
            if (compare_from(block_iter_key(it), t, from, &t->same) >= 0)
                return;
        }
        before = key_len;
        step(it);
    }
}

void block_iter_seek(struct block_iter *it, struct slice key, uint64_t version)
{
    struct target t = {.key = key, .version = version};
    if (it->status != 0)
        return;
    /* Last restart whose key is < target; the answer is in its run or begins the next. */
    uint32_t lo = 0, hi = it->restart_count - 1;
    while (lo < hi && it->status == 0) {
        uint32_t mid = lo + (hi - lo + 1) / 2;
        if (restart_is_before(it, mid, &t))
            lo = mid;
        else
            hi = mid - 1;
    }
    if (it->status != 0)
        return;
    go_restart(it, lo);
    walk_run(it, &t);
}
