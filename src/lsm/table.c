/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/table.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "lsm/between.h"
#include "lsm/block.h"
#include "lsm/fences.h"
#include "lsm/filter.h"
#include "lsm/lsm.h"
#include "lsm/table_read.h"
#include "lsm/values.h"

/* ---- open --------------------------------------------------------------- */

static int load_footer(struct table *t, struct err *err)
{
    uint8_t raw[TABLE_FOOTER];
    size_t got = 0;
    if (t->size < TABLE_FOOTER)
        return err_set(err, ERR_CORRUPT, "%llu bytes are no table", (unsigned long long)t->size);
    int rv = env_file_read(t->file, t->size - TABLE_FOOTER, raw, sizeof raw, &got, err);
    if (rv != 0)
        return rv;
    rv = table_footer_decode(slice_of(raw, got), t->size, &t->footer, err);
    if (rv == 0 && t->footer.is_values != t->is_values)
        rv = err_set(err, ERR_CORRUPT, "this is a %s",
                     t->footer.is_values ? "value file, no table" : "table, no value file");
    return rv;
}

/* A hint: without it the table is whole. That the block is damaged was noted, and verify_frame()
 * says so. */
static int load_stale(struct table *t, struct err *err)
{
    struct table_handle handle;
    struct block *block = NULL;
    struct err why = {0};
    if (!table_stale_handle(&t->footer, &handle))
        return 0;
    int rv = table_read_block(t, handle, &block, &why);
    if (rv == 0 && stale_decode(block_slice(block), &t->props.stale) != 0)
        rv = ERR_CORRUPT;
    block_unref(block);
    if (rv == 0)
        return 0;
    stale_init(&t->props.stale);
    return rv == ERR_CORRUPT ? 0 : err_set(err, rv, "%s", why.msg);
}

/* ERR_CORRUPT: the frame is damaged. */
static int load_frame(struct table *t, struct err *err)
{
    struct block *props = NULL, *top = NULL;
    int rv = load_footer(t, err);
    if (rv != 0 || t->is_values)
        return rv;
    rv = table_read_block(t, t->footer.props, &props, err);
    if (rv == 0)
        rv = table_props_decode(block_slice(props), &t->props, err);
    if (rv == 0)
        rv = table_read_block(t, t->footer.top, &top, err);
    if (rv == 0)
        rv = table_parts_load(&t->parts, block_slice(top), err);
    block_unref(props);
    block_unref(top);
    if (rv == ERR_CORRUPT)
        return table_bad_block(t, t->footer.top.offset, "not an index", err);
    return rv == 0 ? load_stale(t, err) : rv;
}

static int check_size(struct table *t, uint64_t want, struct err *err)
{
    uint64_t have = 0;
    int rv = env_file_size(t->file, &have, err);
    if (rv != 0)
        return rv;
    t->size = want == 0 ? have : want;
    if (have != t->size)
        return err_set(err, ERR_CORRUPT, "%llu bytes long, the manifest says %llu",
                       (unsigned long long)have, (unsigned long long)want);
    return 0;
}

static struct table *table_new(struct env *env, struct cache *cache, const char *path,
                               enum disk_kind kind, uint64_t number)
{
    struct table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    atomic_init(&t->refs, 1);
    list_init(&t->in_dead);
    t->env = env;
    t->cache = cache;
    t->number = number;
    t->is_values = kind == DISK_VALUES;
    table_props_init(&t->props);
    const char *slash = strrchr(path, '/');
    if (number != 0)
        disk_name(kind, number, t->name);
    else
        snprintf(t->name, sizeof t->name, "%.*s", DISK_NAME_MAX - 1,
                 slash != NULL ? slash + 1 : path);
    return t;
}

static void set_damage(struct table *t, const char *text)
{
    snprintf(t->damage, sizeof t->damage, "%s", text);
    atomic_store_explicit(&t->is_bad, true, memory_order_relaxed);
}

static int open_as(struct table **ret_table, struct env *env, struct cache *cache, const char *path,
                   enum disk_kind kind, uint64_t number, uint64_t size, struct err *err)
{
    struct err why = {0};
    struct table *t = table_new(env, cache, path, kind, number);
    if (t == NULL)
        return err_set(err, ERR_NOMEM, "table");
    int rv = env_file_open(env, path, ENV_OPEN_READ, &t->file, &why);
    if (rv == 0)
        rv = check_size(t, size, &why);
    if (rv == 0)
        rv = load_frame(t, &why);
    if (rv == ERR_CORRUPT) {
        set_damage(t, why.msg);
    } else if (rv != 0) {
        table_unref(t);
        err_set(err, rv, "%s", why.msg);
        return err_wrap(err, rv, "open table '%s'", path);
    }
    *ret_table = t;
    return 0;
}

int table_open(struct table **ret_table, struct env *env, struct cache *cache, const char *path,
               uint64_t number, uint64_t size, struct err *err)
{
    return open_as(ret_table, env, cache, path, DISK_TABLE, number, size, err);
}

int table_open_values(struct table **ret_table, struct env *env, struct cache *cache,
                      const char *path, uint64_t number, uint64_t size, struct err *err)
{
    return open_as(ret_table, env, cache, path, DISK_VALUES, number, size, err);
}

struct table *table_unreadable(struct env *env, struct cache *cache, const char *path,
                               bool is_values, uint64_t number, const char *text)
{
    struct table *t = table_new(env, cache, path, is_values ? DISK_VALUES : DISK_TABLE, number);
    if (t != NULL)
        set_damage(t, text);
    return t;
}

struct table *table_ref(struct table *t)
{
    unsigned before = atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return t;
}

void table_unref(struct table *t)
{
    if (t == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    ASSERT(!list_is_linked(&t->in_dead));
    env_file_close(t->file);
    table_parts_fini(&t->parts, t->cache);
    table_pin_fini(&t->filter, t->cache);
    table_props_fini(&t->props);
    free(t);
}

static int frame_status(const struct table *t, struct err *err)
{
    if (t->damage[0] == 0)
        return 0;
    return err_set(err, ERR_CORRUPT, "table '%s': %s", t->name, t->damage);
}

/* ---- get ---------------------------------------------------------------- */

int table_may_contain(struct table *t, uint64_t hash, unsigned flags, struct err *err)
{
    struct block *filter = NULL, *own = NULL;
    int rv = frame_status(t, err);
    if (rv != 0)
        return rv;
    if (t->footer.filter.len == 0)
        return 1;
    rv = table_pinned_block(t, &t->filter, t->footer.filter, false,
                            flags & ~(unsigned)LSM_READ_NO_FILL, &filter, &own, err);
    if (rv != 0)
        return rv;
    if (filter_is_sane(block_slice(filter)))
        rv = filter_may_contain(block_slice(filter), hash);
    else
        rv = table_bad_block(t, t->footer.filter.offset, "not a filter", err);
    block_unref(own);
    return rv;
}

void table_prefetch_filter(struct table *t, uint64_t hash)
{
    struct block *filter = table_pin_get(&t->filter);
    if (filter != NULL)
        filter_prefetch(block_slice(filter), hash);
}

enum { WARM_SHARE = 4 };

static int warm_one(struct table *t, struct table_pin *pin, struct table_handle at,
                    bool is_partition, struct err *err)
{
    struct block *block = NULL, *own = NULL;
    if (cache_reserved(t->cache) >= cache_budget(t->cache) / WARM_SHARE)
        return ERR_BUSY;
    int rv = table_pinned_block(t, pin, at, is_partition, 0, &block, &own, err);
    block_unref(own);
    return rv;
}

int table_warm(struct table *t, struct err *err)
{
    struct err why = {0};
    int rv = frame_status(t, &why);
    if (rv == 0 && t->footer.filter.len > 0)
        rv = warm_one(t, &t->filter, t->footer.filter, false, &why);
    for (size_t i = 0; rv == 0 && i < t->parts.count; i++)
        rv = warm_one(t, &t->parts.items[i].pin, t->parts.items[i].at.handle, true, &why);
    return rv == ERR_CORRUPT ? err_set(err, rv, "%s", why.msg) : 0;
}

/* Why a walk over the entries of the block at `offset` ended early. */
static int walk_failed(struct table *t, uint64_t offset, int status, const char *text,
                       struct err *err)
{
    ASSERT(status == ERR_NOMEM || status == ERR_CORRUPT);
    if (status == ERR_NOMEM)
        return err_set(err, status, "key of table '%s'", t->name);
    return table_bad_block(t, offset, text, err);
}

static int data_seek(struct table *t, struct block *data, struct table_handle h, struct slice key,
                     uint64_t version, struct entry *ret_entry, struct err *err)
{
    struct block_iter it;
    struct entry found;
    int rv = block_iter_init(&it, block_slice(data));
    if (rv == 0)
        block_iter_seek(&it, key, version);
    if (it.status != 0)
        rv = walk_failed(t, h.offset, it.status, "entries make no sense", err);
    else if (!it.is_valid || !slice_equal(ikey_key(block_iter_key(&it)), key))
        rv = ERR_NOT_FOUND;
    else if (!entry_decode(block_iter_key(&it), it.value, &found))
        rv = table_bad_block(t, h.offset, "an entry makes no sense", err);
    if (rv == 0) {
        ASSERT(found.version <= version);
        found.key = (struct slice){0}; /* stood in the iterator */
        *ret_entry = found;
    }
    block_iter_fini(&it);
    return rv;
}

int table_get(struct table *t, struct slice key, uint64_t version_max, unsigned flags,
              struct entry *ret_entry, struct block **ret_block, struct err *err)
{
    struct block *part = NULL, *own = NULL, *data = NULL;
    int rv = frame_status(t, err);
    if (rv != 0)
        return rv;
    size_t i = table_parts_find(&t->parts, key, version_max);
    if (i == t->parts.count)
        return ERR_NOT_FOUND;
    struct table_part *at = &t->parts.items[i];
    rv = table_pinned_block(t, &at->pin, at->at.handle, true, flags, &part, &own, err);
    if (rv != 0)
        return rv;
    struct fences fences = fences_of(part);
    size_t n = fences_find(&fences, key, version_max);
    struct table_handle data_at = {0};
    if (n < fences.count)
        data_at = fences_handle(&fences, n);
    block_unref(own);
    if (n == fences.count)
        return ERR_NOT_FOUND;
    rv = table_block(t, data_at, flags, &data, err);
    if (rv == 0)
        rv = data_seek(t, data, data_at, key, version_max, ret_entry, err);
    if (rv == 0)
        *ret_block = data;
    else
        block_unref(data);
    return rv;
}

/* ---- estimates ---------------------------------------------------------- */

/* `share` of `n`; something of what is there at all. What a damaged table tells may be so much
 * that the product is no integer: neither of the whole nor where rounding made a share negative. */
static uint64_t share_of(uint64_t n, double share)
{
    if (share >= 1)
        return n;
    return MAX((uint64_t)((double)n * MAX(share, 0.0)), (uint64_t)(n > 0));
}

struct table_estimate table_estimate(const struct table *t, struct slice start, struct slice end)
{
    struct table_estimate e = {0};
    struct slice lo = buf_slice(&t->props.smallest);
    for (size_t i = 0; i < t->parts.count && t->damage[0] == 0; i++) {
        const struct table_part *part = &t->parts.items[i];
        bool ends_after = end.len > 0 && slice_compare(part->key, end) >= 0;
        if (slice_compare(part->key, start) >= 0) {
            struct between b = between_of(lo, part->key);
            double share = (ends_after ? between_share(&b, end) : 1) - between_share(&b, start);
            bool is_told =
                e.value_bytes != TABLE_VALUES_UNTOLD && part->at.value_bytes != TABLE_VALUES_UNTOLD;
            e.bytes += share_of(part->at.data_bytes, share);
            e.records += share_of(part->at.records, share);
            e.value_bytes = is_told ? e.value_bytes + share_of(part->at.value_bytes, share)
                                    : TABLE_VALUES_UNTOLD;
        }
        if (ends_after)
            break;
        lo = part->key;
    }
    return e;
}

void table_approximate(const struct table *t, struct slice start, struct slice end,
                       uint64_t *ret_bytes, uint64_t *ret_records)
{
    struct table_estimate e = table_estimate(t, start, end);
    *ret_bytes = e.bytes;
    *ret_records = e.records;
}

/* ---- verify ------------------------------------------------------------- */

enum { SCRUB_BYTES = 256 << 10 }; /* of values, in one go */

struct verify {
    struct table *table;
    table_bad_fn on_bad;
    void *data;
    struct err *err; /* the first */
    int rv;
    uint64_t bytes; /* of blocks read */
    struct table_ahead ahead;
};

/* An error counts and is told; the first one is kept. */
static void verify_note(struct verify *v, uint64_t offset, int rv, const struct err *why)
{
    if (rv == 0)
        return;
    if (v->on_bad != NULL)
        v->on_bad(v->data, v->table->name, offset, why->msg);
    if (v->rv == 0)
        v->rv = err_set(v->err, rv, "%s", why->msg);
}

static struct block *verify_block(struct verify *v, struct table_handle h)
{
    struct err why = {0};
    struct block *block = NULL;
    int rv =
        table_block_ahead(v->table, &v->ahead, h, LSM_READ_NO_FILL | TABLE_READ_PAST, &block, &why);
    v->bytes += (uint64_t)h.len + TABLE_BLOCK_TAIL;
    verify_note(v, h.offset, rv, &why);
    return block;
}

static void verify_partition(struct verify *v, struct table_handle at)
{
    struct block *part = verify_block(v, at);
    struct block_iter it;
    if (part == NULL)
        return;
    bool bad = block_iter_init(&it, block_slice(part)) != 0;
    for (block_iter_first(&it); !bad && it.is_valid; block_iter_next(&it)) {
        struct table_handle h;
        bad = !table_partition_decode(it.value, &h);
        if (!bad)
            block_unref(verify_block(v, h));
    }
    if (bad || it.status != 0) {
        struct err why = {0};
        int rv = walk_failed(v->table, at.offset, bad ? ERR_CORRUPT : it.status,
                             "index entries make no sense", &why);
        verify_note(v, at.offset, rv, &why);
    }
    block_iter_fini(&it);
    block_unref(part);
}

/* Opening read it; is it still the same? */
static void verify_footer(struct verify *v)
{
    struct table *t = v->table;
    uint8_t raw[TABLE_FOOTER], same[TABLE_FOOTER];
    struct err why = {0};
    size_t got = 0;
    uint64_t offset = t->size - TABLE_FOOTER;
    int rv = env_file_read(t->file, offset, raw, sizeof raw, &got, &why);
    table_footer_encode(&t->footer, same);
    if (rv == 0 && (got != sizeof raw || memcmp(raw, same, sizeof raw) != 0))
        rv = table_bad_block(t, offset, "bad footer", &why);
    v->bytes += TABLE_FOOTER;
    verify_note(v, offset, rv, &why);
}

/* Blocks of a value file from its `first` on, until `bytes` of them were read; how many.
 * *ret_more: there are others behind them. */
static size_t verify_values(struct verify *v, size_t first, uint64_t bytes, bool *ret_more)
{
    struct block *directory = verify_block(v, v->table->footer.top);
    struct values_walk walk = {.size = v->table->size};
    size_t n = 0;
    uint64_t until = v->bytes + bytes;
    *ret_more = false;
    if (directory == NULL)
        return 0;
    walk.raw = block_slice(directory);
    for (; values_walk(&walk); n++) {
        *ret_more = n >= first && v->bytes >= until;
        if (*ret_more)
            break;
        if (n >= first)
            block_unref(verify_block(v, walk.at));
    }
    if (walk.is_bad || (!*ret_more && walk.next != v->table->footer.top.offset)) {
        struct err why = {0};
        int rv = table_bad_block(v->table, v->table->footer.top.offset, "no directory", &why);
        verify_note(v, v->table->footer.top.offset, rv, &why);
    }
    block_unref(directory);
    return n - MIN(n, first);
}

static void verify_frame(struct verify *v)
{
    struct table *t = v->table;
    verify_footer(v);
    if (t->is_values)
        return;
    if (t->footer.filter.len > 0)
        block_unref(verify_block(v, t->footer.filter));
    block_unref(verify_block(v, t->footer.props));
    struct table_handle stale;
    if (table_stale_handle(&t->footer, &stale))
        block_unref(verify_block(v, stale));
    block_unref(verify_block(v, t->footer.top));
}

static void verify_blocks(struct verify *v)
{
    bool more;
    verify_frame(v);
    if (v->table->is_values)
        verify_values(v, 0, UINT64_MAX / 2, &more);
    for (size_t i = 0; i < v->table->parts.count; i++)
        verify_partition(v, v->table->parts.items[i].at.handle);
}

int table_scrub(struct table *t, size_t *part, uint64_t *ret_bytes, struct err *err)
{
    struct verify v = {.table = t, .err = err};
    *ret_bytes = 0;
    int rv = frame_status(t, err);
    if (rv != 0)
        return rv;
    bool more = *part < t->parts.count;
    if (t->is_values) {
        *part += verify_values(&v, *part, SCRUB_BYTES, &more);
        if (!more)
            verify_footer(&v);
    } else if (more) {
        verify_partition(&v, t->parts.items[(*part)++].at.handle);
    } else {
        verify_frame(&v);
    }
    table_ahead_fini(&v.ahead);
    *ret_bytes = v.bytes;
    return v.rv != 0 ? v.rv : more;
}

static void verify_whole(struct verify *v, uint32_t want)
{
    enum { CHUNK = 64 << 10 };
    struct table *t = v->table;
    struct err why = {0};
    uint32_t crc = 0;
    int rv = 0;
    uint8_t *chunk = malloc(CHUNK);
    if (chunk == NULL)
        rv = err_set(&why, ERR_NOMEM, "verify '%s'", t->name);
    uint64_t offset = 0;
    while (rv == 0 && offset < t->size) {
        size_t got = 0;
        size_t len = (size_t)MIN(t->size - offset, (uint64_t)CHUNK);
        rv = env_file_read(t->file, offset, chunk, len, &got, &why);
        if (rv == 0 && got != len)
            rv = table_bad_block(t, offset + got, "the file ends here", &why);
        if (rv == 0)
            crc = crc32c(crc, chunk, got);
        offset += got;
    }
    if (rv == 0 && crc != want)
        rv = err_set(&why, ERR_CORRUPT, "table '%s': the whole file's crc is not the manifest's",
                     t->name);
    verify_note(v, offset, rv, &why);
    free(chunk);
}

int table_verify(struct table *t, const uint32_t *crc, table_bad_fn on_bad, void *data,
                 struct err *err)
{
    struct verify v = {.table = t, .on_bad = on_bad, .data = data, .err = err};
    struct err why = {0};
    int rv = frame_status(t, &why);
    if (rv != 0)
        verify_note(&v, t->size, rv, &why);
    else
        verify_blocks(&v);
    table_ahead_fini(&v.ahead);
    if (crc != NULL)
        verify_whole(&v, *crc);
    return v.rv;
}

/* ---- cursor ------------------------------------------------------------- */

/* parts ─▶ partition ─▶ data; each lower one is loaded for the entry that the upper one
 * stands on. */
struct table_cursor {
    struct cursor base;
    struct table *table;
    struct slice lower, upper;
    unsigned flags;
    size_t part_index; /* in the table's parts; its count (or SIZE_MAX) for none */
    struct entry entry;
    struct fences part;
    size_t fence_index; /* in `part`; its count (or SIZE_MAX) for none */
    struct block_iter data;
    struct block *part_own, *data_block; /* references; a pinned partition needs none */
    struct table_handle data_at;
    struct table_ahead ahead;
};

static void tc_fail(struct table_cursor *c, int status)
{
    ASSERT(status != 0);
    c->base.status = status;
    c->base.is_valid = false;
}

static void drop_data(struct table_cursor *c)
{
    block_iter_fini(&c->data);
    block_unref(c->data_block);
    c->data_block = NULL;
}

static void drop_part(struct table_cursor *c)
{
    drop_data(c);
    block_unref(c->part_own);
    c->part_own = NULL;
}

/* True and `part` ready to be moved if there is a partition `part_index`. */
static bool load_part(struct table_cursor *c)
{
    struct block *block = NULL;
    drop_part(c);
    if (c->part_index >= c->table->parts.count)
        return false;
    struct table_part *part = &c->table->parts.items[c->part_index];
    int rv = table_pinned_block(c->table, &part->pin, part->at.handle, true, c->flags, &block,
                                &c->part_own, c->base.err);
    if (rv != 0) {
        tc_fail(c, rv);
        return false;
    }
    c->part = fences_of(block);
    return true;
}

static bool load_data(struct table_cursor *c)
{
    drop_data(c);
    if (c->fence_index >= c->part.count)
        return false;
    c->data_at = fences_handle(&c->part, c->fence_index);
    int rv =
        table_block_ahead(c->table, &c->ahead, c->data_at, c->flags, &c->data_block, c->base.err);
    if (rv == 0 && block_iter_init(&c->data, block_slice(c->data_block)) != 0)
        rv = table_bad_block(c->table, c->data_at.offset, "not a block of entries", c->base.err);
    if (rv != 0)
        tc_fail(c, rv);
    return rv == 0;
}

/* `data` ran off its end: stand on the first entry of the next block that has one. */
static void settle_forward(struct table_cursor *c)
{
    while (c->base.status == 0 && c->data_block != NULL && !c->data.is_valid &&
           c->data.status == 0) {
        c->fence_index++;
        if (c->fence_index >= c->part.count) {
            c->part_index++;
            if (!load_part(c))
                return;
            c->fence_index = 0;
        }
        if (!load_data(c))
            return;
        block_iter_first(&c->data);
    }
}

static void settle_backward(struct table_cursor *c)
{
    while (c->base.status == 0 && c->data_block != NULL && !c->data.is_valid &&
           c->data.status == 0) {
        c->fence_index--; /* below the first: SIZE_MAX */
        if (c->fence_index >= c->part.count) {
            c->part_index--;
            if (!load_part(c))
                return;
            c->fence_index = c->part.count - 1;
        }
        if (!load_data(c))
            return;
        block_iter_last(&c->data);
    }
}

/* Show where `data` stands, if that is inside the bound that lies ahead. */
static void show(struct table_cursor *c, bool is_forward)
{
    c->base.is_valid = false;
    if (c->base.status != 0 || c->data_block == NULL)
        return;
    if (c->data.status != 0) {
        tc_fail(c, walk_failed(c->table, c->data_at.offset, c->data.status, "entries make no sense",
                               c->base.err));
        return;
    }
    if (!c->data.is_valid)
        return;
    if (!entry_decode(block_iter_key(&c->data), c->data.value, &c->entry)) {
        tc_fail(c, table_bad_block(c->table, c->data_at.offset, "an entry makes no sense",
                                   c->base.err));
        return;
    }
    struct slice key = c->entry.key;
    if (is_forward)
        c->base.is_valid = c->upper.len == 0 || slice_compare(key, c->upper) < 0;
    else
        c->base.is_valid = c->lower.len == 0 || slice_compare(key, c->lower) >= 0;
}

static bool tc_begin(struct table_cursor *c)
{
    c->base.is_valid = false;
    c->base.status = 0;
    drop_part(c);
    c->data.status = 0; /* what failed before says nothing of what comes */
    int rv = frame_status(c->table, c->base.err);
    if (rv != 0)
        tc_fail(c, rv);
    return rv == 0;
}

/* Without looking at the bounds. */
static void raw_seek(struct table_cursor *c, struct slice key, uint64_t version)
{
    c->part_index = table_parts_find(&c->table->parts, key, version);
    if (!load_part(c))
        return;
    c->fence_index = fences_find(&c->part, key, version);
    if (!load_data(c))
        return;
    block_iter_seek(&c->data, key, version);
    settle_forward(c);
}

static void raw_last(struct table_cursor *c)
{
    c->part_index = c->table->parts.count - 1;
    if (!load_part(c))
        return;
    c->fence_index = c->part.count - 1;
    if (!load_data(c))
        return;
    block_iter_last(&c->data);
    settle_backward(c);
}

static void raw_prev(struct table_cursor *c)
{
    block_iter_prev(&c->data);
    settle_backward(c);
}

static void tc_seek(struct cursor *base, struct slice key, uint64_t version)
{
    struct table_cursor *c = container_of(base, struct table_cursor, base);
    if (!tc_begin(c))
        return;
    if (slice_compare(key, c->lower) < 0) {
        key = c->lower;
        version = UINT64_MAX;
    }
    raw_seek(c, key, version);
    show(c, true);
}

static void tc_seek_before(struct cursor *base, struct slice key, uint64_t version)
{
    struct table_cursor *c = container_of(base, struct table_cursor, base);
    if (!tc_begin(c))
        return;
    if (c->upper.len > 0 && slice_compare(key, c->upper) >= 0) {
        key = c->upper;
        version = UINT64_MAX;
    }
    raw_seek(c, key, version);
    if (c->base.status != 0)
        return;
    if (c->data_block != NULL && c->data.is_valid)
        raw_prev(c);
    else if (c->data.status == 0)
        raw_last(c);
    show(c, false);
}

static void tc_last(struct cursor *base)
{
    struct table_cursor *c = container_of(base, struct table_cursor, base);
    if (c->upper.len > 0) {
        tc_seek_before(base, c->upper, UINT64_MAX);
        return;
    }
    if (!tc_begin(c))
        return;
    raw_last(c);
    show(c, false);
}

static void tc_next(struct cursor *base)
{
    struct table_cursor *c = container_of(base, struct table_cursor, base);
    block_iter_next(&c->data);
    settle_forward(c);
    show(c, true);
}

static void tc_prev(struct cursor *base)
{
    struct table_cursor *c = container_of(base, struct table_cursor, base);
    raw_prev(c);
    show(c, false);
}

static void tc_free(struct cursor *base)
{
    struct table_cursor *c = container_of(base, struct table_cursor, base);
    drop_part(c);
    table_ahead_fini(&c->ahead);
    table_unref(c->table);
    free(c);
}

static const struct cursor_ops table_cursor_ops = {
    .seek = tc_seek,
    .seek_before = tc_seek_before,
    .last = tc_last,
    .next = tc_next,
    .prev = tc_prev,
    .free = tc_free,
};

struct cursor *table_cursor(struct table *table, struct slice lower, struct slice upper,
                            unsigned flags, struct err *err)
{
    struct table_cursor *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->base.ops = &table_cursor_ops;
    c->base.at = &c->entry;
    c->base.err = err;
    c->table = table_ref(table);
    c->lower = lower;
    c->upper = upper;
    c->flags = flags;
    return &c->base;
}
