/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/gc.h"

#include <stdlib.h>

#include "base/plant.h"

static void gc_spans_check(const struct lsm_gc_span *spans, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool has_end = spans[i].end.len > 0;
        ASSERT(!has_end || slice_compare(spans[i].start, spans[i].end) < 0);
        ASSERT(i + 1 == count || has_end);
        if (i + 1 < count)
            ASSERT(slice_compare(spans[i].end, spans[i + 1].start) <= 0);
    }
}

static struct slice copy_key(uint8_t **at, struct slice key)
{
    uint8_t *to = *at;
    if (key.len > 0)
        memcpy(to, key.data, key.len);
    *at += key.len;
    return slice_of(to, key.len);
}

struct gc_table *gc_table_new(const struct lsm_gc_span *spans, size_t count)
{
    gc_spans_check(spans, count);
    size_t bytes = 1;
    for (size_t i = 0; i < count; i++)
        bytes += spans[i].start.len + spans[i].end.len;
    struct gc_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    atomic_init(&t->refs, 1);
    t->spans = calloc(MAX(count, (size_t)1), sizeof(*t->spans));
    t->keys = malloc(bytes);
    if (t->spans == NULL || t->keys == NULL) {
        gc_table_unref(t);
        return NULL;
    }
    uint8_t *at = t->keys;
    for (size_t i = 0; i < count; i++) {
        t->spans[i] = spans[i];
        t->spans[i].start = copy_key(&at, spans[i].start);
        t->spans[i].end = copy_key(&at, spans[i].end);
    }
    t->count = count;
    return t;
}

struct gc_table *gc_table_ref(struct gc_table *t)
{
    unsigned before = atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return t;
}

void gc_table_unref(struct gc_table *t)
{
    if (t == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    free(t->spans);
    free(t->keys);
    free(t);
}

/* First span whose end is above `key`. */
static size_t gc_table_find(const struct gc_table *t, struct slice key)
{
    size_t lo = 0, hi = t->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct lsm_gc_span *s = &t->spans[mid];
        if (s->end.len > 0 && slice_compare(s->end, key) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool gc_table_least(const struct gc_table *t, struct slice start, struct slice end,
                    struct gc_least *ret_least)
{
    ASSERT(end.len > 0);
    struct gc_least least = {.safe_version = UINT64_MAX, .range_time_ms = UINT64_MAX};
    bool is_any = false;
    for (size_t i = gc_table_find(t, start); slice_compare(start, end) < 0; i++) {
        if (i == t->count || slice_compare(t->spans[i].start, start) > 0)
            least.has_gap = true;
        if (i == t->count || slice_compare(t->spans[i].start, end) >= 0)
            break;
        least.safe_version = MIN(least.safe_version, t->spans[i].safe_version);
        least.range_time_ms = MIN(least.range_time_ms, t->spans[i].range_time_ms);
        start = t->spans[i].end.len > 0 ? t->spans[i].end : end;
        is_any = true;
    }
    if (is_any)
        *ret_least = least;
    return is_any;
}

void gc_filter_init(struct gc_filter *f, const struct gc_table *table, gc_below_fn has_below,
                    void *data)
{
    *f = (struct gc_filter){.table = table, .has_below = has_below, .data = data};
    buf_init(&f->key, LSM_KEY_MAX);
}

void gc_filter_fini(struct gc_filter *f)
{
    buf_fini(&f->key);
}

/* The span that holds the present key, or NULL. Keys only ascend. */
static const struct lsm_gc_span *filter_span(struct gc_filter *f, struct slice key)
{
    const struct gc_table *t = f->table;
    size_t was = f->span;
    while (f->span < t->count && t->spans[f->span].end.len > 0 &&
           slice_compare(t->spans[f->span].end, key) <= 0)
        f->span++;
    f->crossed_end = f->span != was;
    if (f->span == t->count || slice_compare(key, t->spans[f->span].start) < 0)
        return NULL;
    return &t->spans[f->span];
}

/* Rules 2 to 4. */
static bool pass_span(struct gc_filter *f, const struct lsm_gc_span *span, struct entry *e)
{
    if (e->version > span->safe_version && !PLANTED(old_version_dropped))
        return true;
    if (f->is_settled)
        return false;
    f->is_settled = true;
    if (e->kind == ENTRY_PUT_EXPIRES && e->expiry_ms <= span->range_time_ms) {
        e->kind = ENTRY_DELETE;
        e->expiry_ms = 0;
        e->value = (struct slice){0};
        e->is_ref = false;
    }
    if (e->kind != ENTRY_DELETE)
        return true;
    return f->has_below == NULL || f->has_below(f->data, e->key);
}

bool gc_filter_pass(struct gc_filter *f, struct entry *e)
{
    bool is_new = !f->has_key || !slice_equal(buf_slice(&f->key), e->key);
    bool keep = true;
    f->crossed_end = false;
    if (is_new) {
        ASSERT(!f->has_key || slice_compare(buf_slice(&f->key), e->key) < 0);
        buf_clear(&f->key);
        buf_append_slice(&f->key, e->key);
        f->has_key = true;
        f->is_settled = false;
    } else {
        ASSERT(e->version <= f->version);
        keep = e->version < f->version;
    }
    f->version = e->version;
    if (keep) {
        const struct lsm_gc_span *span = filter_span(f, e->key);
        keep = span == NULL || pass_span(f, span, e);
    }
    f->dropped += !keep;
    return keep;
}
