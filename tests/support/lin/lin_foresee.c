/* SPDX-License-Identifier: Apache-2.0
 *
 * Appends: what stands in the register only grows until it is overwritten, so it must be
 * the beginning of something that is still to be seen:
 *  - of an unknown append always: one that nobody sees before the value is overwritten
 *    might as well never have happened;
 *  - of a known one unless it may be overwritten before anybody looks, or nobody looks
 *    any more.
 * The values that share a beginning stand side by side in their order, so that "is
 * anybody left to see one of them" is a difference of two prefix sums (Fenwick 1994).
 */
#include <stdlib.h>

#include "support/lin/lin_internal.h"

struct span {
    uint32_t lo, hi; /* places in order; hi is UINT32_MAX when not computed yet */
};

struct lin_foresight {
    struct lin_values *values;
    uint32_t *order; /* ids of values that are seen, sorted by their bytes */
    uint32_t order_count;
    uint32_t *place; /* by id, of the values there were at the start; 1-based, 0: not seen */
    uint32_t place_count;
    uint32_t *tree;     /* Fenwick: who is still to see the value at a place */
    struct span *spans; /* by id: where the values stand that begin with it */
    uint32_t span_cap;
    uint64_t seers;  /* all that are still to see something */
    uint64_t resets; /* operations without effect that overwrite what stands there */
};

static bool is_reset(const struct lin_item *item)
{
    return !lin_is_pure(item) && item->kind != LIN_APPEND && item->kind != LIN_INCREMENT;
}

/* The value that `item` may have to meet: an unknown compare-and-swap too may be what
 * makes something else right. UINT32_MAX: any will do. */
static uint32_t watched_by(const struct lin_item *item)
{
    bool may_swap = item->outcome == LIN_INFO && item->kind == LIN_CAS;
    return may_swap ? item->expect : lin_seen_by(item);
}

/* A mismatch that does not say what it met may be explained by what nobody sees. */
static bool can_foresee(const struct lin_item *items, size_t count)
{
    bool has_append = false;
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind == LIN_INCREMENT || items[i].op->expect_version != 0)
            return false; /* values or versions are seen that nobody names */
        if (items[i].outcome == LIN_MISMATCH && !items[i].has_result)
            return false;
        has_append = has_append || items[i].kind == LIN_APPEND;
    }
    return has_append;
}

/* ---- order ---------------------------------------------------------------------- */

struct named {
    struct slice bytes;
    uint32_t id;
};

static int compare_named(const void *a, const void *b)
{
    const struct named *x = a;
    const struct named *y = b;
    int c = slice_compare(x->bytes, y->bytes);
    return c != 0 ? c : (x->id > y->id) - (x->id < y->id);
}

static void sort_seen(struct lin_foresight *f, const struct lin_item *items, size_t count)
{
    struct named *named = lin_alloc(f->values->count, sizeof *named);
    uint32_t n = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t id = watched_by(&items[i]);
        if (id == UINT32_MAX || f->place[id] != 0)
            continue;
        f->place[id] = 1;
        named[n++] = (struct named){f->values->values[id].bytes, id};
    }
    qsort(named, n, sizeof *named, compare_named);
    f->order = lin_alloc(n, sizeof *f->order);
    f->tree = lin_alloc((size_t)n + 1, sizeof *f->tree);
    f->order_count = n;
    for (uint32_t i = 0; i < n; i++) {
        f->order[i] = named[i].id;
        f->place[named[i].id] = i + 1;
    }
    free(named);
}

struct lin_foresight *lin_foresight_new(const struct lin_item *items, size_t count,
                                        struct lin_values *values)
{
    if (!can_foresee(items, count))
        return NULL;
    struct lin_foresight *f = lin_alloc(1, sizeof *f);
    f->values = values;
    f->place_count = values->count;
    f->place = lin_alloc(values->count, sizeof *f->place);
    sort_seen(f, items, count);
    for (size_t i = 0; i < count; i++)
        lin_foresight_count(f, &items[i], 1);
    return f;
}

void lin_foresight_free(struct lin_foresight *f)
{
    if (f == NULL)
        return;
    free(f->order);
    free(f->place);
    free(f->tree);
    free(f->spans);
    free(f);
}

/* ---- counting --------------------------------------------------------------------- */

void lin_foresight_count(struct lin_foresight *f, const struct lin_item *item, int by)
{
    uint32_t id = watched_by(item);
    if (is_reset(item))
        f->resets += (uint64_t)by;
    if (id == UINT32_MAX)
        return;
    f->seers += (uint64_t)by;
    for (uint32_t at = f->place[id]; at <= f->order_count; at += at & -at)
        f->tree[at] += (uint32_t)by;
}

/* How many are still to see one of the first `n` values in order. */
static uint32_t seers_up_to(const struct lin_foresight *f, uint32_t n)
{
    uint32_t sum = 0;
    for (; n > 0; n -= n & -n)
        sum += f->tree[n];
    return sum;
}

static bool begins_with(struct slice bytes, struct slice prefix)
{
    return bytes.len >= prefix.len &&
           (prefix.len == 0 || memcmp(bytes.data, prefix.data, prefix.len) == 0);
}

/* Where the values stand that begin with this one. "absent" (id 0) is no beginning of
 * anything here: nothing that was appended to is absent. */
static struct span find_span(const struct lin_foresight *f, struct slice prefix)
{
    uint32_t lo = 0, hi = f->order_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        struct slice bytes = f->values->values[f->order[mid]].bytes;
        if (slice_compare(bytes, prefix) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    struct span span = {lo, lo};
    hi = f->order_count;
    while (span.hi < hi) { /* those behind lo that begin so come first */
        uint32_t mid = span.hi + (hi - span.hi) / 2;
        if (begins_with(f->values->values[f->order[mid]].bytes, prefix))
            span.hi = mid + 1;
        else
            hi = mid;
    }
    return span;
}

static struct span span_of(struct lin_foresight *f, uint32_t id)
{
    if (id >= f->span_cap) {
        uint32_t cap = MAX(f->values->count, f->span_cap * 2);
        f->spans = realloc(f->spans, cap * sizeof *f->spans);
        ASSERT(f->spans != NULL);
        for (uint32_t i = f->span_cap; i < cap; i++)
            f->spans[i].hi = UINT32_MAX;
        f->span_cap = cap;
    }
    if (f->spans[id].hi == UINT32_MAX)
        f->spans[id] = find_span(f, f->values->values[id].bytes);
    return f->spans[id];
}

bool lin_foresight_fits(struct lin_foresight *f, const struct lin_item *item, uint32_t after)
{
    struct span span = span_of(f, after);
    if (seers_up_to(f, span.hi) > seers_up_to(f, span.lo))
        return true;
    return item->outcome != LIN_INFO && (f->resets > 0 || f->seers == 0);
}
