/* SPDX-License-Identifier: Apache-2.0
 *
 * lsm_approximate(): sums over index partitions; and for the middle, all places where they
 * (or, if those are few, their blocks) end, in key order, until half of the bytes is behind.
 */
#include <stdlib.h>

#include "lsm/fences.h"
#include "lsm/lsm_internal.h"
#include "lsm/table_read.h"
#include "lsm/value_gc.h"

enum { COARSE_PARTS = 16 }; /* of one piece in the span: fine enough */

/* Up to `key`, so many bytes more. */
struct place {
    size_t key_at, key_len; /* in `keys` */
    uint64_t bytes;
};

struct places {
    struct slice start, end; /* of the span */
    struct place *items;
    size_t count, cap;
    struct buf keys;

    int rv;
};

static struct slice span_max(struct slice a, struct slice b)
{
    return slice_compare(a, b) >= 0 ? a : b;
}

static struct slice end_min(struct slice a, struct slice b)
{
    return b.len == 0 || slice_compare(a, b) < 0 ? a : b;
}

static void add_place(struct places *places, struct slice key, uint64_t bytes)
{
    if (places->count == places->cap) {
        size_t cap = MAX(places->cap * 2, (size_t)64);
        struct place *more = realloc(places->items, cap * sizeof *more);
        if (more == NULL) {
            places->rv = ERR_NOMEM;
            return;
        }
        places->items = more;
        places->cap = cap;
    }
    places->items[places->count++] =
        (struct place){.key_at = places->keys.len, .key_len = key.len, .bytes = bytes};
    buf_append_slice(&places->keys, key);
}

/* What `bytes` of the table of `p` refer to in value files, if it does not tell where: as if
 * all values that are there stood evenly in its data. */
static uint64_t values_of(const struct piece *p, uint64_t bytes)
{
    uint64_t shown = MAX(p->is_cut ? p->bytes : p->table->props.data_bytes, (uint64_t)1);
    uint64_t share = MIN(bytes, shown) * 1000000 / shown; /* a product of both might not fit */
    uint64_t values = piece_value_bytes(p);
    return values / 1000000 * share + values % 1000000 * share / 1000000;
}

static uint64_t values_of_part(const struct piece *p, const struct table_part *part, uint64_t bytes)
{
    if (part->at.value_bytes == TABLE_VALUES_UNTOLD)
        return values_of(p, bytes);
    if (bytes >= part->at.data_bytes)
        return part->at.value_bytes;
    double share = (double)bytes / (double)part->at.data_bytes;
    return (uint64_t)((double)part->at.value_bytes * share);
}

/* The blocks of one partition; false if that would need a read and may not, or fails. */
static bool add_blocks(struct places *places, const struct piece *p, struct table_part *part,
                       unsigned flags)
{
    struct block *block = NULL, *own = NULL;
    if (table_pinned_block(p->table, &part->pin, part->at.handle, true, flags, &block, &own,
                           NULL) != 0)
        return false;
    struct fences fences = fences_of(block);
    for (size_t i = 0; i < fences.count; i++) {
        struct slice key = ikey_key(fences_key(&fences, i));
        uint64_t bytes = fences_handle(&fences, i).len;
        if (slice_compare(key, span_max(p->lo, places->start)) >= 0)
            add_place(places, key, bytes + values_of_part(p, part, bytes));
        if (slice_compare(key, end_min(p->hi, places->end)) >= 0)
            break;
    }
    block_unref(own);
    return true;
}

static void add_piece(struct places *places, const struct piece *p, unsigned flags)
{
    const struct table_parts *parts = &p->table->parts;
    struct slice lo = span_max(p->lo, places->start), hi = end_min(p->hi, places->end);
    size_t first = table_parts_find(parts, lo, UINT64_MAX), last = first;
    while (last < parts->count &&
           (last == first || slice_compare(parts->items[last - 1].key, hi) < 0))
        last++;
    for (size_t i = first; i < last; i++) {
        struct table_part *part = &parts->items[i];
        if (last - first < COARSE_PARTS && add_blocks(places, p, part, flags))
            continue;
        uint64_t bytes = part->at.data_bytes;
        add_place(places, part->key, bytes + values_of_part(p, part, bytes));
    }
}

/* ---- the middle ----------------------------------------------------------- */

static int compare_place(const void *a, const void *b, void *base)
{
    const struct place *x = a, *y = b;
    const uint8_t *keys = base;
    return slice_compare(slice_of(keys + x->key_at, x->key_len),
                         slice_of(keys + y->key_at, y->key_len));
}

/* The place inside the span that leaves the two sides most alike. */
static void find_middle(struct places *places, struct buf *out)
{
    uint64_t total = 0, before = 0, best = UINT64_MAX;
    const uint8_t *keys = places->keys.data;
    if (places->count == 0)
        return;
    qsort_r(places->items, places->count, sizeof *places->items, compare_place, places->keys.data);
    for (size_t i = 0; i < places->count; i++)
        total += places->items[i].bytes;
    for (size_t i = 0; i < places->count; i++) {
        const struct place *p = &places->items[i];
        struct slice key = slice_of(keys + p->key_at, p->key_len);
        before += p->bytes;
        uint64_t off = before > total - before ? before - (total - before) : total - 2 * before;
        if (off >= best || slice_compare(key, places->start) <= 0 ||
            (places->end.len > 0 && slice_compare(key, places->end) >= 0))
            continue;
        best = off;
        buf_clear(out);
        buf_append_slice(out, key);
    }
}

int lsm_approximate(const struct lsm_view *view, struct slice start, struct slice end,
                    unsigned flags, struct lsm_approx *ret_approx, struct err *err)
{
    const struct version *v = view->version;
    struct places places = {.start = start, .end = end};
    uint64_t bytes = 0, records = 0;
    buf_init(&places.keys, SIZE_MAX / 2);
    for (unsigned level = 0; level < LSM_LEVELS; level++) {
        for (size_t i = 0; i < v->count[level]; i++) {
            const struct piece *p = v->at[level][i];
            if (!piece_overlaps(p, start, end))
                continue;
            struct table_estimate e =
                table_estimate(p->table, span_max(p->lo, start), end_min(p->hi, end));
            bool is_told = e.value_bytes != TABLE_VALUES_UNTOLD;
            bytes += e.bytes + (is_told ? e.value_bytes : values_of(p, e.bytes));
            records += e.records;
            add_piece(&places, p, flags & ~(unsigned)LSM_READ_NO_FILL);
        }
    }
    int rv = places.keys.failed ? ERR_NOMEM : places.rv;
    struct lsm_approx approx = {.bytes = bytes, .records = records};
    buf_init(&approx.middle, LSM_KEY_MAX + 1);
    if (rv == 0)
        find_middle(&places, &approx.middle);
    if (rv == 0 && approx.middle.failed)
        rv = ERR_NOMEM;
    free(places.items);
    buf_fini(&places.keys);
    if (rv == 0) {
        *ret_approx = approx;
        return 0;
    }
    buf_fini(&approx.middle);
    return err_set(err, rv, "estimate");
}
