/* SPDX-License-Identifier: Apache-2.0
 *
 * writes — what was handed to persist() and is not durable yet.
 *
 * The disk may acknowledge late and in batches, always in order. A write that
 * overwrites (its first index is not behind the end of the one before) takes back
 * what an earlier one made durable, at the moment that it is issued: the old bytes
 * are gone from our log, whatever the disk still holds. So the library hears of
 * persistence only below the first index of every write still under way (T8).
 */
#include <stdlib.h>

#include "consensus/consensus_internal.h"

enum { WRITES_CAP_FIRST = 8, WRITES_CAP_MAX = 4 * CONS_WRITES_MAX };

void writes_init(struct cons_writes *w, uint64_t first_id, uint64_t durable_term,
                 uint64_t durable_last)
{
    *w = (struct cons_writes){
        .next_id = MAX(first_id, 1),
        .durable_term = durable_term,
        .durable_last = durable_last,
    };
    w->durable_id = w->next_id - 1;
}

void writes_fini(struct cons_writes *w)
{
    free(w->ring);
    w->ring = NULL;
    w->n = w->cap = 0;
}

void writes_trim(struct cons_writes *w)
{
    if (w->n > 0)
        return;
    free(w->ring);
    w->ring = NULL;
    w->cap = w->head = 0;
}

bool writes_is_full(const struct cons_writes *w)
{
    return w->n >= CONS_WRITES_MAX;
}

static struct cons_pending_write *write_at(const struct cons_writes *w, uint32_t i)
{
    ASSERT(i < w->n);
    return &w->ring[(w->head + i) & (w->cap - 1)];
}

static bool writes_grow(struct cons_writes *w)
{
    uint32_t cap = w->cap == 0 ? WRITES_CAP_FIRST : w->cap * 2;
    if (cap > WRITES_CAP_MAX)
        return false;
    struct cons_pending_write *ring = malloc(cap * sizeof *ring);
    if (ring == NULL)
        return false;
    for (uint32_t i = 0; i < w->n; i++)
        ring[i] = *write_at(w, i);
    free(w->ring);
    w->ring = ring;
    w->cap = cap;
    w->head = 0;
    return true;
}

uint64_t writes_push(struct cons_writes *w, uint64_t term, uint64_t first, uint32_t n)
{
    ASSERT(term != 0 || n > 0);
    ASSERT(n == 0 || first > 0);
    if (w->n == w->cap && !writes_grow(w))
        return 0;
    w->n++;
    *write_at(w, w->n - 1) = (struct cons_pending_write){
        .id = w->next_id,
        .term = term,
        .first = n > 0 ? first : 0,
        .last = n > 0 ? first + n - 1 : 0,
    };
    if (term != 0)
        w->hard_state_id = w->next_id;
    return w->next_id++;
}

/* The smallest index that a write under way overwrites, less one. */
static uint64_t writes_floor(const struct cons_writes *w)
{
    uint64_t floor = UINT64_MAX;
    for (uint32_t i = 0; i < w->n; i++) {
        const struct cons_pending_write *p = write_at(w, i);
        if (p->first != 0)
            floor = MIN(floor, p->first - 1);
    }
    return floor;
}

uint64_t writes_complete(struct cons_writes *w, uint64_t id, bool use_guard)
{
    uint64_t naive = 0;
    while (w->n > 0 && write_at(w, 0)->id <= id) {
        const struct cons_pending_write *p = write_at(w, 0);
        ASSERT(p->id == w->durable_id + 1);
        w->durable_id = p->id;
        if (p->term != 0) {
            ASSERT(p->term >= w->durable_term);
            w->durable_term = p->term;
        }
        if (p->first != 0) {
            w->durable_last = p->last;
            naive = MAX(naive, p->last);
        }
        w->head = (w->head + 1) & (w->cap - 1);
        w->n--;
    }
    if (!use_guard)
        return naive;
    return MIN(w->durable_last, writes_floor(w));
}

void writes_forget_entries(struct cons_writes *w, uint64_t durable_last)
{
    for (uint32_t i = 0; i < w->n; i++)
        write_at(w, i)->first = 0;
    w->durable_last = durable_last;
}

uint64_t writes_gate(const struct cons_writes *w)
{
    return w->hard_state_id > w->durable_id ? w->hard_state_id : 0;
}
