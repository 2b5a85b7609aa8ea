/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/history.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TABLE_SIZE = 1 << 16, TABLE_PROBES = 64 };

struct history_entry {
    uint64_t index;
    uint64_t term;
    uint64_t chain;
};

struct history_committed {
    uint64_t term;
    uint64_t chain;
    uint64_t seen_term; /* term of the first member that knew */
};

static const char *violation(struct history *h, const char *fmt, ...) PRINTF_LIKE(2, 3);

static const char *violation(struct history *h, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(h->why, sizeof h->why, fmt, args);
    va_end(args);
    return h->why;
}

void history_init(struct history *h, uint64_t born_index)
{
    *h = (struct history){.n_committed = born_index};
    h->committed = calloc(born_index + 1, sizeof *h->committed);
    h->table = calloc(TABLE_SIZE, sizeof *h->table);
    ASSERT(h->committed != NULL);
    ASSERT(h->table != NULL);
}

void history_fini(struct history *h)
{
    free(h->leaders);
    free(h->table);
    free(h->committed);
}

const char *history_durable(struct history *h, uint64_t index, const struct mentry *e)
{
    uint64_t hash = index * UINT64_C(0x9e3779b97f4a7c15) ^ e->term * UINT64_C(0xc2b2ae3d27d4eb4f);
    hash ^= hash >> 32;
    for (uint32_t i = 0; i < TABLE_PROBES; i++) {
        struct history_entry *k = &h->table[(hash + i) & (TABLE_SIZE - 1)];
        if (k->index == 0)
            *k = (struct history_entry){.index = index, .term = e->term, .chain = e->chain};
        if (k->index != index || k->term != e->term)
            continue;
        if (k->chain != e->chain)
            return violation(h, "log matching: two histories at %llu^%llu", (ull)index,
                             (ull)e->term);
        return NULL;
    }
    return NULL; /* the table is full here: this one is not judged */
}

static void history_grow(struct history *h, uint64_t index)
{
    if (index <= h->n_committed)
        return;
    h->committed = realloc(h->committed, (index + 1) * sizeof *h->committed);
    ASSERT(h->committed != NULL);
    memset(h->committed + h->n_committed + 1, 0, (index - h->n_committed) * sizeof *h->committed);
    h->n_committed = index;
}

/* `m` holds it for committed, with this history up to it. */
static const char *history_note(struct history *h, const struct member *m, uint64_t index,
                                uint64_t term, uint64_t chain)
{
    history_grow(h, index);
    struct history_committed *k = &h->committed[index];
    if (k->term == 0) {
        *k = (struct history_committed){.term = term, .chain = chain, .seen_term = m->term};
        h->n_commits++;
    } else if (k->term != term || k->chain != chain) {
        return violation(h, "state machine safety: %llu committed %llu^%llu, another %llu^%llu",
                         (ull)m->opts.replica_id, (ull)index, (ull)term, (ull)index, (ull)k->term);
    }
    return NULL;
}

const char *history_commits(struct history *h, const struct member *m, uint64_t from, uint64_t to)
{
    for (uint64_t i = from + 1; i <= to; i++) {
        const struct mentry *e = mlog_get(&m->log, i);
        const char *why = e == NULL ? NULL : history_note(h, m, i, e->term, e->chain);
        if (why != NULL)
            return why;
    }
    return NULL;
}

const char *history_applied(struct history *h, const struct member *m, uint64_t index,
                            const struct mentry *e)
{
    const char *why = history_note(h, m, index, e->term, m->state.chain);
    if (why != NULL)
        return why;
    if (e->type == CONS_CHANGE && index > h->config_index) {
        h->config_index = index;
        cons_config_decode(slice_of(e->data->data, e->data->len), &h->config, NULL);
    }
    return NULL;
}

const char *history_leads(struct history *h, const struct member *m, uint64_t term)
{
    uint64_t id = m->opts.replica_id;
    if (term >= h->n_leaders) {
        uint64_t n = term * 2 + 64;
        h->leaders = realloc(h->leaders, n * sizeof *h->leaders);
        ASSERT(h->leaders != NULL);
        memset(h->leaders + h->n_leaders, 0, (n - h->n_leaders) * sizeof *h->leaders);
        h->n_leaders = n;
    }
    if (h->leaders[term] != 0 && h->leaders[term] != id)
        return violation(h, "election safety: %llu and %llu both lead term %llu",
                         (ull)h->leaders[term], (ull)id, (ull)term);
    h->leaders[term] = id;
    for (uint64_t i = h->n_committed; i >= m->log.first; i--) {
        const struct history_committed *k = &h->committed[i];
        const struct mentry *e = mlog_get(&m->log, i);
        if (k->term == 0 || k->seen_term >= term)
            continue;
        if (e == NULL || e->term != k->term)
            return violation(h, "leader completeness: leader %llu of term %llu lacks %llu^%llu",
                             (ull)id, (ull)term, (ull)i, (ull)k->term);
        return NULL; /* log matching covers the rest */
    }
    return NULL;
}
