/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/table_read.h"

#include <stdlib.h>

#include "base/coding.h"
#include "base/plant.h"
#include "env/env.h"
#include "lsm/fences.h"
#include "lsm/lsm.h"

enum { RAW_INLINE = 16 << 10, AHEAD_MIN = 32 << 10, AHEAD_MAX = 256 << 10, AHEAD_GAP = 32 << 10 };

#define PARTITION_NAME (UINT64_C(1) << 63)

/* A compaction has dozens of windows: together they stay below a fourth of the cache. */
enum { AHEAD_SHARE = 128 };

static size_t ahead_max(const struct table *t)
{
    return MIN(MAX(cache_budget(t->cache) / AHEAD_SHARE, (size_t)AHEAD_MIN), (size_t)AHEAD_MAX);
}

int table_bad_block(struct table *t, uint64_t offset, const char *what, struct err *err)
{
    atomic_store_explicit(&t->bad_offset, offset, memory_order_relaxed);
    atomic_store_explicit(&t->is_bad, true, memory_order_release);
    return err_set(err, ERR_CORRUPT, "%s '%s': block at %llu: %s",
                   t->is_values ? "value file" : "table", t->name, (unsigned long long)offset,
                   what);
}

/* A place that the disk fails to read, try after try, for half a minute: it will not come back, and
 * waiting for it would hold up compaction, and so all writes, for good. Then it is damage like any
 * other, which compaction goes round and the owner hears of. (Where the whole device is away for
 * so long the log cannot be written either, and the process ends.) One place of a table is looked
 * at at a time: who fails at another meanwhile says nothing of this one. */
enum { UNREAD_GAP_US = 60 * 1000 * 1000 };

static int note_unread(struct table *t, uint64_t offset, int status, struct err *err)
{
    struct table_unread *u = &t->unread;
    uint64_t now_us = env_now_us(t->env);
    uint64_t last_us = atomic_load(&u->last_us);
    bool is_watched = atomic_load(&u->tries) > 0 && now_us - MIN(last_us, now_us) <= UNREAD_GAP_US;
    if (is_watched && atomic_load(&u->offset) != offset)
        return status;
    atomic_store(&u->last_us, now_us);
    if (!is_watched) {
        atomic_store(&u->offset, offset);
        atomic_store(&u->since_us, now_us);
        atomic_store(&u->tries, 0);
    }
    unsigned tries = atomic_fetch_add(&u->tries, 1) + 1;
    if (tries < TABLE_UNREAD_TRIES || now_us - atomic_load(&u->since_us) < TABLE_UNREAD_US)
        return status;
    return table_bad_block(t, offset, "cannot be read", err);
}

static void note_read(struct table *t, uint64_t offset)
{
    struct table_unread *u = &t->unread;
    bool was_unread = atomic_load_explicit(&u->tries, memory_order_relaxed) > 0;
    if (was_unread && atomic_load(&u->offset) == offset)
        atomic_store(&u->tries, 0);
}

/* The cache that a block is made for; NULL: it is not kept, and needs none of its memory. */
static struct cache *cache_of(const struct table *t, unsigned flags)
{
    return (flags & (LSM_READ_NO_FILL | TABLE_READ_PAST)) == 0 ? t->cache : NULL;
}

/* A block that is in memory already. */
static struct block *cached(struct table *t, uint64_t name, unsigned flags)
{
    return (flags & TABLE_READ_PAST) == 0 ? cache_get(t->cache, t->number, name) : NULL;
}

static int decode_block(struct table *t, struct table_handle h, const uint8_t *raw,
                        struct cache *cache, struct block **ret_block, struct err *err)
{
    struct slice payload = slice_of(raw, h.len);
    uint8_t type = raw[h.len];
    size_t plain_len;
    if (get_u32(raw + h.len + 1) != table_block_crc(raw, (size_t)h.len + 1, h.offset) &&
        !PLANTED(checksum_ignored))
        return table_bad_block(t, h.offset, "bad crc", err);
    if (table_block_plain_len(payload, type, &plain_len) != 0)
        return table_bad_block(t, h.offset, "bad type or length", err);
    struct block *block = cache_block_new(cache, h.offset, plain_len);
    if (block == NULL)
        return err_set(err, ERR_NOMEM, "block of %zu bytes", plain_len);
    if (table_block_plain(payload, type, block->data, plain_len) != 0) {
        block_unref(block);
        return table_bad_block(t, h.offset, "bad LZ4 data", err);
    }
    *ret_block = block;
    return 0;
}

static int read_block(struct table *t, struct table_handle h, struct cache *cache,
                      struct block **ret_block, struct err *err)
{
    uint8_t room[RAW_INLINE];
    size_t len = (size_t)h.len + TABLE_BLOCK_TAIL;
    size_t got = 0;
    if (h.offset > t->size || len > t->size - h.offset)
        return table_bad_block(t, h.offset, "lies outside of the file", err);
    uint8_t *raw = len <= sizeof room ? room : malloc(len);
    if (raw == NULL)
        return err_set(err, ERR_NOMEM, "block of %zu bytes", len);
    int rv = env_file_read(t->file, h.offset, raw, len, &got, err);
    if (rv == 0)
        note_read(t, h.offset);
    if (rv != 0)
        rv = err_wrap(err, rv, "table '%s': block at %llu", t->name, (unsigned long long)h.offset);
    if (rv == ERR_IO)
        rv = note_unread(t, h.offset, rv, err);
    else if (rv == 0 && got != len)
        rv = table_bad_block(t, h.offset, "the file ends inside", err);
    else if (rv == 0)
        rv = decode_block(t, h, raw, cache, ret_block, err);
    if (raw != room)
        free(raw);
    return rv;
}

int table_read_block(struct table *t, struct table_handle h, struct block **ret_block,
                     struct err *err)
{
    return read_block(t, h, NULL, ret_block, err);
}

int table_block(struct table *t, struct table_handle h, unsigned flags, struct block **ret_block,
                struct err *err)
{
    struct block *block = NULL;
    if (h.offset < t->size) /* else reading it will say so */
        block = cached(t, h.offset, flags);
    if (block != NULL) {
        *ret_block = block;
        return 0;
    }
    if (flags & LSM_READ_NO_IO)
        return ERR_WOULD_BLOCK;
    struct cache *cache = cache_of(t, flags);
    int rv = read_block(t, h, cache, &block, err);
    if (rv != 0)
        return rv;
    if (cache != NULL)
        cache_offer(cache, t->number, h.offset, block);
    *ret_block = block;
    return 0;
}

/* From the disk; a partition is decoded. */
static int read_pinned(struct table *t, struct table_handle h, bool is_partition,
                       struct cache *cache, struct block **ret_block, struct err *err)
{
    struct block *raw = NULL;
    int rv = read_block(t, h, is_partition ? NULL : cache, &raw, err);
    if (rv != 0)
        return rv;
    if (!is_partition) {
        *ret_block = raw;
        return 0;
    }
    rv = fences_decode(cache, block_slice(raw), ret_block, err);
    if (rv == ERR_CORRUPT)
        rv = table_bad_block(t, h.offset, "index entries make no sense", err);
    block_unref(raw);
    return rv;
}

int table_pinned_block(struct table *t, struct table_pin *pin, struct table_handle h,
                       bool is_partition, unsigned flags, struct block **ret_block,
                       struct block **ret_own, struct err *err)
{
    /* What is decoded has a name of its own: were there a block of data at that place by
     * the word of another index, nothing would be taken for what it is not. */
    uint64_t name = h.offset | (is_partition ? PARTITION_NAME : 0);
    *ret_own = NULL;
    *ret_block = table_pin_get(pin);
    if (*ret_block == NULL)
        *ret_block = *ret_own = cached(t, name, flags);
    if (*ret_block != NULL)
        return 0;
    if (flags & LSM_READ_NO_IO)
        return ERR_WOULD_BLOCK;
    struct cache *cache = cache_of(t, flags);
    int rv = read_pinned(t, h, is_partition, cache, ret_block, err);
    if (rv != 0)
        return rv;
    *ret_own = *ret_block;
    if (cache != NULL && !table_pin_set(pin, cache, *ret_block))
        cache_put(cache, t->number, name, *ret_block);
    return 0;
}

/* ---- walking ------------------------------------------------------------ */

void table_ahead_fini(struct table_ahead *a)
{
    free(a->data);
    *a = (struct table_ahead){0};
}

static bool ahead_has(const struct table_ahead *a, uint64_t offset, size_t len)
{
    return offset >= a->offset && len <= a->len && offset - a->offset <= a->len - len;
}

/* Read the next window, which begins (or ends, on the way back) with the block. False: read
 * the block alone (memory, a damaged place of the disk; what is wrong shows there). */
static bool ahead_fill(struct table *t, struct table_ahead *a, uint64_t offset, size_t len)
{
    a->window = a->window == 0 ? AHEAD_MIN : MIN(a->window * 2, ahead_max(t));
    size_t want = MAX(a->window, len);
    a->len = 0;
    if (want > a->cap) {
        free(a->data);
        a->data = malloc(want);
        a->cap = a->data != NULL ? want : 0;
        if (a->data == NULL)
            return false;
    }
    if (a->is_back)
        offset = offset + len - MIN((uint64_t)want, offset + len);
    want = (size_t)MIN((uint64_t)want, t->size - offset);
    size_t got = 0;
    if (env_file_read(t->file, offset, a->data, want, &got, NULL) != 0)
        return false;
    a->offset = offset;
    a->len = got;
    return true;
}

/* Does the block lie right behind, or right before, the last one? Index partitions lie
 * between the blocks of data. */
static bool ahead_follows(struct table_ahead *a, uint64_t offset, size_t len)
{
    bool forward = offset >= a->next && offset - a->next <= AHEAD_GAP;
    bool back = offset + len <= a->last && a->last - (offset + len) <= AHEAD_GAP;
    bool was_back = a->is_back;
    a->is_back = back;
    return a->next > 0 && (forward || back) && (a->in_row == 0 || back == was_back);
}

int table_block_ahead(struct table *t, struct table_ahead *a, struct table_handle h, unsigned flags,
                      struct block **ret_block, struct err *err)
{
    size_t len = (size_t)h.len + TABLE_BLOCK_TAIL;
    bool is_sane = h.offset <= t->size && len <= t->size - h.offset;
    bool in_row = is_sane && ahead_follows(a, h.offset, len);
    a->last = is_sane ? h.offset : 0;
    a->next = is_sane ? h.offset + len : 0;
    *ret_block = h.offset < t->size ? cached(t, h.offset, flags) : NULL;
    if (*ret_block != NULL)
        return 0;
    if (flags & LSM_READ_NO_IO)
        return ERR_WOULD_BLOCK;
    a->in_row = in_row ? a->in_row + 1 : 0;
    a->window = in_row ? a->window : 0;
    bool is_walk = in_row && (a->in_row > 1 || cache_of(t, flags) == NULL);
    struct cache *cache = cache_of(t, flags);
    int rv;
    bool has_it =
        is_sane && (ahead_has(a, h.offset, len) ||
                    (is_walk && ahead_fill(t, a, h.offset, len) && ahead_has(a, h.offset, len)));
    if (has_it)
        note_read(t, h.offset);
    if (has_it)
        rv = decode_block(t, h, a->data + (h.offset - a->offset), cache, ret_block, err);
    else
        rv = read_block(t, h, cache, ret_block, err);
    if (rv == 0 && cache != NULL)
        cache_offer(cache, t->number, h.offset, *ret_block);
    return rv;
}
