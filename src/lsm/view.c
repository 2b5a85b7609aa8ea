/* SPDX-License-Identifier: Apache-2.0
 *
 * Views and point reads. The view of the moment is kept and handed out again while
 * nothing changed; when only writes came in and nobody else holds it, its limit is
 * moved up. A get asks the sources from the newest to the oldest and stops at the
 * first record it finds: versions of a key only grow (L3).
 */
#include <stdlib.h>

#include "lsm/filter.h"
#include "lsm/lsm_internal.h"
#include "lsm/values.h"

static struct lsm_view *view_new(struct lsm *lsm)
{
    size_t count = 1 + lsm->frozen_count, n = 0;
    struct lsm_view *view = calloc(1, sizeof *view + count * sizeof view->mems[0]);
    if (view == NULL)
        return NULL;
    atomic_init(&view->refs, 1);
    view->lsm = lsm;
    view->version = version_ref(lsm->version);
    view->mems[n].mem = memtable_ref(lsm->active);
    view->mems[n++].limit = memtable_writes(lsm->active);
    for (struct list *link = lsm->steps.prev; link != &lsm->steps; link = link->prev) {
        struct step *step = list_entry(link, struct step, in_steps);
        if (step->kind != STEP_FLUSH)
            continue;
        ASSERT(n < count);
        view->mems[n].mem = memtable_ref(step->mem);
        view->mems[n++].limit = memtable_writes(step->mem);
    }
    view->mem_count = n;
    atomic_fetch_add(&lsm->views, 1);
    return view;
}

struct lsm_view *lsm_view_ref(struct lsm_view *view)
{
    unsigned before = atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return view;
}

void lsm_view_unref(struct lsm_view *view)
{
    if (view == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    for (size_t i = 0; i < view->mem_count; i++)
        memtable_unref(view->mems[i].mem);
    version_unref(view->version);
    atomic_fetch_sub(&view->lsm->views, 1);
    free(view);
}

void lsm_view_drop(struct lsm *lsm)
{
    lsm_view_unref(lsm->view);
    lsm->view = NULL;
}

struct lsm_view *lsm_view_take(struct lsm *lsm)
{
    uint32_t writes = memtable_writes(lsm->active);
    struct lsm_view *view = lsm->view;
    if (view != NULL && view->mems[0].limit != writes) {
        /* Nobody can take a reference but through us: 1 stays 1. */
        if (atomic_load_explicit(&view->refs, memory_order_acquire) == 1)
            view->mems[0].limit = writes;
        else
            lsm_view_drop(lsm);
    }
    if (lsm->view == NULL)
        lsm->view = view_new(lsm);
    if (lsm->view == NULL)
        return NULL;
    ASSERT(lsm->view->mems[0].mem == lsm->active);
    return lsm_view_ref(lsm->view);
}

/* ---- get ---------------------------------------------------------------- */

enum { GET_AHEAD = 16 };

struct get {
    struct lsm *lsm; /* for its counters */
    struct slice key;
    uint64_t version_max;
    unsigned flags;
    uint64_t hash;
    struct entry found;
    struct block *pin;
    struct err *err;
};

/* 0 found, ERR_NOT_FOUND: ask the next source. */
static int get_piece(struct get *g, struct piece *p)
{
    int rv = table_may_contain(p->table, g->hash, g->flags, g->err);
    if (rv == 0)
        return ERR_NOT_FOUND;
    if (rv < 0)
        return rv;
    return table_get(p->table, g->key, g->version_max, g->flags, &g->found, &g->pin, g->err);
}

static bool piece_covers(const struct piece *p, struct slice key)
{
    return slice_compare(key, p->lo) >= 0 && slice_compare(key, p->hi) < 0;
}

/* The pieces that show the span of the key, newest first, GET_AHEAD at a time: their
 * filters are fetched from memory side by side. */
static int get_files(struct get *g, const struct version *v)
{
    struct piece *ahead[GET_AHEAD];
    unsigned levels[GET_AHEAD];
    size_t l0 = 0;
    unsigned level = 1;
    int rv = ERR_NOT_FOUND;
    g->hash = filter_hash(g->key);
    while (rv == ERR_NOT_FOUND && (l0 < v->count[0] || level < LSM_LEVELS)) {
        size_t n = 0;
        for (; n < GET_AHEAD && l0 < v->count[0]; l0++) {
            levels[n] = 0;
            if (piece_covers(v->at[0][l0], g->key))
                ahead[n++] = v->at[0][l0];
        }
        for (; n < GET_AHEAD && level < LSM_LEVELS; level++) {
            size_t i = version_find(v, level, g->key);
            levels[n] = level;
            if (i < v->count[level] && piece_covers(v->at[level][i], g->key))
                ahead[n++] = v->at[level][i];
        }
        for (size_t i = 0; i < n; i++)
            table_prefetch_filter(ahead[i]->table, g->hash);
        for (size_t i = 0; rv == ERR_NOT_FOUND && i < n; i++) {
            rv = get_piece(g, ahead[i]);
            if (rv == 0)
                atomic_fetch_add_explicit(&g->lsm->gets[levels[i]], 1, memory_order_relaxed);
        }
    }
    return rv;
}

/* What was found is a reference: the value itself. */
static int get_value(struct get *g, const struct version *v)
{
    struct block *value = NULL;
    int rv = values_get(v, g->found.value, g->flags, &value, g->err);
    block_unref(g->pin); /* the reference stood in it */
    g->pin = value;
    if (rv == 0)
        g->found.value = block_slice(value);
    return rv;
}

int lsm_get(const struct lsm_view *view, struct slice key, uint64_t version_max, unsigned flags,
            struct lsm_value *ret_value, struct err *err)
{
    ASSERT(key.len > 0);
    ASSERT(view->mem_count > 0);
    struct get g = {
        .lsm = view->lsm, .key = key, .version_max = version_max, .flags = flags, .err = err};
    int rv = ERR_NOT_FOUND;
    for (size_t i = 0; rv == ERR_NOT_FOUND && i < view->mem_count; i++) {
        if (memtable_get(view->mems[i].mem, key, version_max, view->mems[i].limit, &g.found))
            rv = 0;
    }
    if (rv == ERR_NOT_FOUND)
        rv = get_files(&g, view->version);
    if (rv == 0 && g.found.kind == ENTRY_DELETE) {
        block_unref(g.pin);
        return ERR_NOT_FOUND;
    }
    if (rv == 0 && g.found.is_ref)
        rv = get_value(&g, view->version);
    if (rv == 0) {
        ASSERT(g.found.version <= version_max);
        *ret_value = (struct lsm_value){
            .data = g.found.value,
            .version = g.found.version,
            .expiry_ms = g.found.expiry_ms,
            .pin = g.pin,
        };
    }
    return rv;
}

void lsm_value_fini(struct lsm_value *value)
{
    block_unref(value->pin);
    *value = (struct lsm_value){0};
}
