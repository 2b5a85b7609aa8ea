/* SPDX-License-Identifier: Apache-2.0 */
#include "range/merges.h"

#include <stdlib.h>

void merges_init(struct merges *m)
{
    *m = (struct merges){0};
}

void merges_fini(struct merges *m)
{
    free(m->outcomes);
    merges_init(m);
}

bool merges_is_empty(const struct merges *m)
{
    return m->frozen.attempt == 0 && m->count == 0;
}

const struct merge_outcome *merges_find(const struct merges *m, uint64_t attempt)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->outcomes[i].attempt == attempt)
            return &m->outcomes[i];
    }
    return NULL;
}

const struct merge_outcome *merges_ended(const struct merges *m, uint64_t range_id)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->outcomes[i].right_range == range_id && m->outcomes[i].is_committed)
            return &m->outcomes[i];
    }
    return NULL;
}

uint32_t merges_committed(const struct merges *m)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->count; i++)
        count += m->outcomes[i].is_committed;
    return count;
}

static void remove_at(struct merges *m, uint32_t at)
{
    ASSERT(at < m->count);
    m->count--;
    memmove(&m->outcomes[at], &m->outcomes[at + 1], (m->count - at) * sizeof m->outcomes[0]);
}

static void forget_oldest_aborted(struct merges *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->outcomes[i].is_committed)
            continue;
        remove_at(m, i);
        return;
    }
}

int merges_add(struct merges *m, const struct merge_outcome *outcome)
{
    ASSERT(outcome->attempt != 0);
    ASSERT(merges_find(m, outcome->attempt) == NULL);
    ASSERT(!outcome->is_committed || merges_committed(m) < MERGES_COMMITTED_MAX);
    struct merge_outcome *grown = realloc(m->outcomes, (m->count + 1) * sizeof *grown);
    if (grown == NULL)
        return ERR_NOMEM;
    m->outcomes = grown;
    bool is_over = m->count - merges_committed(m) >= MERGES_ABORTED_MAX;
    if (!outcome->is_committed && is_over)
        forget_oldest_aborted(m);
    m->outcomes[m->count++] = *outcome;
    return 0;
}

int merges_copy(struct merges *m, const struct merges *from)
{
    struct merges copy = *from;
    copy.outcomes = NULL;
    if (from->count > 0) {
        copy.outcomes = malloc(from->count * sizeof copy.outcomes[0]);
        if (copy.outcomes == NULL)
            return ERR_NOMEM;
        memcpy(copy.outcomes, from->outcomes, from->count * sizeof copy.outcomes[0]);
    }
    *m = copy;
    return 0;
}

int merges_unite(struct merges *m, const struct merges *from)
{
    struct merges both;
    int rv = merges_copy(&both, m);
    for (uint32_t i = 0; rv == 0 && i < from->count; i++) {
        if (merges_find(&both, from->outcomes[i].attempt) == NULL)
            rv = merges_add(&both, &from->outcomes[i]);
    }
    if (rv != 0) {
        merges_fini(&both);
        return rv;
    }
    merges_fini(m);
    *m = both;
    return 0;
}

void merges_forget(struct merges *m, uint64_t attempt)
{
    const struct merge_outcome *outcome = merges_find(m, attempt);
    if (outcome != NULL)
        remove_at(m, (uint32_t)(outcome - m->outcomes));
}

/* ---- bytes ------------------------------------------------------------------------- */

static void outcome_encode(const struct merge_outcome *o, struct buf *out)
{
    buf_append_u64(out, o->attempt);
    buf_append_u64(out, o->right_range);
    buf_append_u8(out, o->is_committed);
    if (!o->is_committed)
        return;
    buf_append_u64(out, o->into_range);
    buf_append_u64(out, o->span_epoch);
    buf_append_u8(out, (uint8_t)o->count);
    for (uint32_t i = 0; i < o->count; i++) {
        buf_append_u64(out, o->right[i].store_id);
        buf_append_u64(out, o->right[i].replica_id);
    }
}

void merges_encode(const struct merges *m, struct buf *out)
{
    const struct merge_frozen *f = &m->frozen;
    merges_check(m);
    buf_append_u8(out, f->attempt != 0);
    if (f->attempt != 0) {
        buf_append_u64(out, f->attempt);
        buf_append_u64(out, f->left_range);
        buf_append_u64(out, f->left.conf);
        buf_append_u64(out, f->left.span);
        buf_append_u64(out, f->index);
        buf_append_u64(out, f->term);
        buf_append_u64(out, f->history_hash);
    }
    buf_append_u8(out, (uint8_t)m->count);
    for (uint32_t i = 0; i < m->count; i++)
        outcome_encode(&m->outcomes[i], out);
}

static void outcome_read(struct reader *r, struct merge_outcome *o)
{
    *o = (struct merge_outcome){.attempt = read_u64(r), .right_range = read_u64(r)};
    uint8_t committed = read_u8(r);
    if (committed > 1 || o->attempt == 0 || o->right_range == 0)
        r->bad = true;
    o->is_committed = committed == 1;
    if (!o->is_committed || r->bad)
        return;
    o->into_range = read_u64(r);
    o->span_epoch = read_u64(r);
    o->count = read_u8(r);
    if (o->count == 0 || o->count > RANGE_REPLICAS_MAX || o->into_range == 0)
        r->bad = true;
    for (uint32_t i = 0; i < o->count && !r->bad; i++)
        o->right[i] = (struct range_place){.store_id = read_u64(r), .replica_id = read_u64(r)};
}

static void frozen_read(struct reader *r, struct merge_frozen *f)
{
    uint8_t is_frozen = read_u8(r);
    if (is_frozen == 1) {
        f->attempt = read_u64(r);
        f->left_range = read_u64(r);
        f->left.conf = read_u64(r);
        f->left.span = read_u64(r);
        f->index = read_u64(r);
        f->term = read_u64(r);
        f->history_hash = read_u64(r);
    }
    if (is_frozen > 1 || (is_frozen == 1 && (f->attempt == 0 || f->index == 0)))
        r->bad = true;
}

/* Room for one more of its kind, and none of this attempt yet. */
static bool may_add(const struct merges *m, const struct merge_outcome *o)
{
    uint32_t committed = merges_committed(m);
    bool has_room = o->is_committed ? committed < MERGES_COMMITTED_MAX
                                    : m->count - committed < MERGES_ABORTED_MAX;
    return has_room && merges_find(m, o->attempt) == NULL;
}

int merges_decode(struct slice in, struct merges *ret, struct err *err)
{
    struct reader r = reader_of(in);
    struct merges m;
    int rv = 0;
    merges_init(&m);
    frozen_read(&r, &m.frozen);
    uint8_t count = read_u8(&r);
    for (uint8_t i = 0; i < count && !r.bad && rv == 0; i++) {
        struct merge_outcome o;
        outcome_read(&r, &o);
        if (!r.bad && !may_add(&m, &o))
            r.bad = true;
        if (!r.bad)
            rv = merges_add(&m, &o);
    }
    if (rv == 0 && (r.bad || r.left != 0))
        rv = err_set(err, ERR_CORRUPT, "merges: malformed");
    else if (rv != 0)
        err_set(err, rv, "merges");
    if (rv != 0) {
        merges_fini(&m);
        return rv;
    }
    *ret = m;
    return 0;
}

void merges_check(const struct merges *m)
{
    uint32_t committed = merges_committed(m);
    ASSERT(committed <= MERGES_COMMITTED_MAX);
    ASSERT(m->count - committed <= MERGES_ABORTED_MAX);
    for (uint32_t i = 0; i < m->count; i++) {
        ASSERT(m->outcomes[i].attempt != 0);
        ASSERT(merges_find(m, m->outcomes[i].attempt) == &m->outcomes[i]);
    }
}
