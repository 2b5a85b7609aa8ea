/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "raftlog/internal.h"

/* Place of the first group with an id of at least `id`. */
static size_t group_place(const struct raftlog *log, uint64_t id)
{
    size_t lo = 0, hi = log->n_groups;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (log->groups[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct group *group_find(const struct raftlog *log, uint64_t id)
{
    size_t at = group_place(log, id);
    return at < log->n_groups && log->groups[at]->id == id ? log->groups[at] : NULL;
}

struct group *group_obtain(struct raftlog *log, uint64_t id)
{
    ASSERT(id != 0);
    size_t at = group_place(log, id);
    if (at < log->n_groups && log->groups[at]->id == id)
        return log->groups[at];
    struct group *g = log_alloc(log, sizeof *g);
    g->id = id;
    log_grow(log, &log->groups, log->n_groups, &log->cap_groups, sizeof *log->groups);
    memmove(&log->groups[at + 1], &log->groups[at], (log->n_groups - at) * sizeof *log->groups);
    log->groups[at] = g;
    log->n_groups++;
    return g;
}

void group_free(struct group *g)
{
    if (g == NULL)
        return;
    free(g->refs);
    free(g);
}

void group_drop(struct raftlog *log, struct group *g)
{
    size_t at = group_place(log, g->id);
    ASSERT(at < log->n_groups && log->groups[at] == g);
    group_truncate(log, g, g->base_index + 1);
    if (g->is_damaged) {
        ASSERT(log->n_damaged > 0);
        log->n_damaged--;
    }
    log->n_groups--;
    memmove(&log->groups[at], &log->groups[at + 1], (log->n_groups - at) * sizeof *log->groups);
    group_free(g);
}

uint64_t group_last(const struct group *g)
{
    return g->base_index + g->count;
}

void group_set_damaged(struct raftlog *log, struct group *g)
{
    if (g->is_damaged)
        return;
    g->is_damaged = true;
    log->n_damaged++;
}

struct ref *group_ref(const struct group *g, uint64_t index)
{
    if (index <= g->base_index || index > group_last(g))
        return NULL;
    return &g->refs[g->head + (index - g->base_index - 1)];
}

/* The only two places that count what lives in a segment. */
static void group_live_add(struct raftlog *log, struct group *g, const struct ref *ref)
{
    g->bytes += ref_bytes(ref);
    struct segment *s = segment_find(log, ref->segment);
    ASSERT(s != NULL);
    s->live_count++;
    s->live_bytes += ref_bytes(ref);
}

static void group_live_remove(struct raftlog *log, struct group *g, const struct ref *ref)
{
    ASSERT(g->bytes >= ref_bytes(ref));
    g->bytes -= ref_bytes(ref);
    struct segment *s = segment_find(log, ref->segment);
    ASSERT(s != NULL && s->live_count > 0 && s->live_bytes >= ref_bytes(ref));
    s->live_count--;
    s->live_bytes -= ref_bytes(ref);
}

void group_push(struct raftlog *log, struct group *g, const struct ref *ref)
{
    ASSERT(ref->segment != 0);
    ASSERT(g->head + g->count <= g->cap);
    if (g->head + g->count == g->cap) {
        if (g->head > g->cap / 2) {
            memmove(g->refs, &g->refs[g->head], g->count * sizeof *g->refs);
            g->head = 0;
        } else {
            ASSERT(g->cap < UINT32_MAX / 2);
            g->cap = MAX(2 * g->cap, UINT32_C(8));
            g->refs = log_realloc(log, g->refs, g->cap * sizeof *g->refs);
        }
    }
    g->refs[g->head + g->count] = *ref;
    g->count++;
    group_live_add(log, g, ref);
}

void group_move(struct raftlog *log, struct group *g, uint64_t index, const struct ref *ref)
{
    struct ref *old = group_ref(g, index);
    ASSERT(old != NULL);
    ASSERT(old->term == ref->term && old->len == ref->len && old->type == ref->type);
    group_live_remove(log, g, old);
    *old = *ref;
    group_live_add(log, g, ref);
}

/* Memory of an idle group goes back. */
static void group_shrink(struct group *g)
{
    if (g->count > 0)
        return;
    g->head = 0;
    if (g->cap > 64) {
        free(g->refs);
        g->refs = NULL;
        g->cap = 0;
    }
}

void group_truncate(struct raftlog *log, struct group *g, uint64_t first)
{
    ASSERT(first > g->base_index);
    while (group_last(g) >= first) {
        group_live_remove(log, g, group_ref(g, group_last(g)));
        g->count--;
    }
    group_shrink(g);
}

void group_compact(struct raftlog *log, struct group *g, uint64_t first_kept)
{
    ASSERT(first_kept > 0 && first_kept - 1 <= group_last(g));
    while (g->base_index + 1 < first_kept) {
        struct ref *ref = group_ref(g, g->base_index + 1);
        g->base_term = ref->term;
        group_live_remove(log, g, ref);
        g->base_index++;
        g->head++;
        g->count--;
    }
    if (g->hint < g->base_index)
        g->hint = g->base_index;
    group_shrink(g);
}

void group_reset(struct raftlog *log, struct group *g, uint64_t base_index, uint64_t base_term)
{
    group_truncate(log, g, g->base_index + 1);
    g->base_index = base_index;
    g->base_term = base_term;
    g->hint = base_index;
    g->commit = base_index;
    g->is_frozen = false;
}

uint64_t group_next_hint(const struct group *g)
{
    if (g->is_frozen)
        return g->hint;
    uint64_t hint = MAX(g->hint, MIN(g->commit, group_last(g)));
    ASSERT(hint <= group_last(g));
    return hint;
}
