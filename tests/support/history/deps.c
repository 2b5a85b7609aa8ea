/* SPDX-License-Identifier: Apache-2.0 */
#include "support/history/deps.h"

#include <stdlib.h>

enum {
    STARTS_MAX = 2000,      /* edges of a component that a cycle is looked for through */
    SHORTEST_TRIES = 32,    /* … once one is found, for a shorter one */
    VISITS_MAX = 100 << 20, /* edges looked at in all searches of one class */
};

static void *alloc(size_t count, size_t size)
{
    void *p = calloc(count + 1, size);
    ASSERT(p != NULL);
    return p;
}

const char *deps_class_name(enum deps_class c)
{
    static const char *const names[] = {"G0", "G1c", "G-single", "G2"};
    return names[c];
}

void deps_init(struct deps *d, uint32_t txns)
{
    *d = (struct deps){.txns = txns, .nodes = txns};
}

void deps_fini(struct deps *d)
{
    free(d->edges);
    free(d->first);
    free(d->part);
    *d = (struct deps){0};
}

void deps_add(struct deps *d, uint32_t from, uint32_t to, enum deps_kind kind, uint32_t key,
              int64_t element)
{
    if (from == to)
        return;
    if (d->count == d->cap) {
        d->cap = d->cap == 0 ? 1024 : d->cap * 2;
        d->edges = realloc(d->edges, d->cap * sizeof *d->edges);
        ASSERT(d->edges != NULL);
    }
    d->edges[d->count++] = (struct deps_edge){from, to, key, kind, element};
}

/* ---- real time ------------------------------------------------------------------------ */

struct moment {
    uint64_t time;
    uint32_t txn;
    bool is_end;
};

static int compare_moments(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return x->is_end - y->is_end; /* what shares an instant is concurrent */
}

/* Edges by their first node: a counting sort. */
static void index_edges(struct deps *d)
{
    struct deps_edge *sorted = alloc(d->count, sizeof *sorted);
    d->first = alloc(d->nodes + 1, sizeof *d->first);
    for (size_t i = 0; i < d->count; i++)
        d->first[d->edges[i].from + 1]++;
    for (uint32_t n = 0; n < d->nodes; n++)
        d->first[n + 1] += d->first[n];
    uint32_t *next = alloc(d->nodes, sizeof *next);
    memcpy(next, d->first, d->nodes * sizeof *next);
    for (size_t i = 0; i < d->count; i++)
        sorted[next[d->edges[i].from]++] = d->edges[i];
    free(next);
    free(d->edges);
    d->edges = sorted;
    d->part = alloc(d->nodes, sizeof *d->part);
}

void deps_add_times(struct deps *d, const struct deps_time *times)
{
    struct moment *moments = alloc(2 * (size_t)d->txns, sizeof *moments);
    size_t n = 0;
    uint32_t point = 0; /* the last one; 0: none yet */
    bool is_open = false;
    for (uint32_t t = 0; t < d->txns; t++) {
        if (!times[t].is_in)
            continue;
        moments[n++] = (struct moment){times[t].invoke, t, false};
        if (times[t].ret != UINT64_MAX)
            moments[n++] = (struct moment){times[t].ret, t, true};
    }
    qsort(moments, n, sizeof *moments, compare_moments);
    for (size_t i = 0; i < n; i++) {
        if (!moments[i].is_end) {
            is_open = false;
            if (point != 0)
                deps_add(d, point, moments[i].txn, DEPS_RT, 0, 0);
            continue;
        }
        if (!is_open) { /* ends with no beginning between them share a point */
            uint32_t next = d->nodes++;
            if (point != 0)
                deps_add(d, point, next, DEPS_RT, 0, 0);
            point = next;
            is_open = true;
        }
        deps_add(d, moments[i].txn, point, DEPS_RT, 0, 0);
    }
    free(moments);
    index_edges(d);
}

/* ---- components (Tarjan 1972, without recursion) ------------------------------------------ */

struct tarjan {
    struct deps *d;
    unsigned kinds;
    uint32_t *order; /* 0: not met */
    uint32_t *low;
    uint32_t *edge; /* next to look at */
    uint32_t *stack, *path;
    uint8_t *is_on;
    uint32_t stack_len, path_len, met, parts;
};

static void tarjan_enter(struct tarjan *t, uint32_t n)
{
    t->order[n] = t->low[n] = ++t->met;
    t->edge[n] = t->d->first[n];
    t->stack[t->stack_len++] = n;
    t->is_on[n] = 1;
    t->path[t->path_len++] = n;
}

static void tarjan_leave(struct tarjan *t, uint32_t n)
{
    t->path_len--;
    if (t->path_len > 0) {
        uint32_t up = t->path[t->path_len - 1];
        t->low[up] = MIN(t->low[up], t->low[n]);
    }
    if (t->low[n] != t->order[n])
        return;
    bool is_alone = t->stack[t->stack_len - 1] == n;
    uint32_t number = is_alone ? 0 : ++t->parts, m;
    do {
        m = t->stack[--t->stack_len];
        t->is_on[m] = 0;
        t->d->part[m] = number;
    } while (m != n);
}

static void tarjan_walk(struct tarjan *t, uint32_t root)
{
    const struct deps *d = t->d;
    tarjan_enter(t, root);
    while (t->path_len > 0) {
        uint32_t n = t->path[t->path_len - 1];
        if (t->edge[n] == d->first[n + 1]) {
            tarjan_leave(t, n);
            continue;
        }
        const struct deps_edge *e = &d->edges[t->edge[n]++];
        if ((e->kind & t->kinds) == 0)
            continue;
        if (t->order[e->to] == 0)
            tarjan_enter(t, e->to);
        else if (t->is_on[e->to])
            t->low[n] = MIN(t->low[n], t->order[e->to]);
    }
}

/* Number the components over edges of these kinds. Returns how many have several nodes. */
static uint32_t find_parts(struct deps *d, unsigned kinds)
{
    struct tarjan t = {.d = d, .kinds = kinds};
    uint32_t **arrays[] = {&t.order, &t.low, &t.edge, &t.stack, &t.path};
    for (size_t i = 0; i < ARRAY_LEN(arrays); i++)
        *arrays[i] = alloc(d->nodes, sizeof(uint32_t));
    t.is_on = alloc(d->nodes, 1);
    for (uint32_t n = 0; n < d->nodes; n++)
        if (t.order[n] == 0)
            tarjan_walk(&t, n);
    for (size_t i = 0; i < ARRAY_LEN(arrays); i++)
        free(*arrays[i]);
    free(t.is_on);
    return t.parts;
}

/* ---- cycles ------------------------------------------------------------------------------- */

/* A search for the shortest way back. Nodes are met twice: before and after real time. */
struct search {
    const struct deps *d;
    uint32_t *met;  /* number of the search that met it, for node * 2 + has_rt */
    uint32_t *from; /* edge that led there */
    uint32_t *queue;
    uint32_t number;
    uint64_t visits;
};

static void search_init(struct search *s, const struct deps *d)
{
    *s = (struct search){.d = d};
    s->met = alloc(2 * (size_t)d->nodes, sizeof *s->met);
    s->from = alloc(2 * (size_t)d->nodes, sizeof *s->from);
    s->queue = alloc(2 * (size_t)d->nodes, sizeof *s->queue);
}

static void search_fini(struct search *s)
{
    free(s->met);
    free(s->from);
    free(s->queue);
}

/* The way that was found, from its end; then the edge that it began with in front. */
static void take_cycle(const struct search *s, uint32_t at, const struct deps_edge *begin,
                       uint32_t start, struct deps_cycle *ret)
{
    size_t n = 1;
    for (uint32_t a = at; a != start; n++) {
        const struct deps_edge *e = &s->d->edges[s->from[a] >> 1];
        a = e->from * 2 + (s->from[a] & 1);
    }
    free(ret->edges);
    ret->edges = alloc(n, sizeof *ret->edges);
    ret->count = n;
    for (uint32_t a = at; a != start;) {
        const struct deps_edge *e = &s->d->edges[s->from[a] >> 1];
        ret->edges[--n] = *e;
        a = e->from * 2 + (s->from[a] & 1);
    }
    ret->edges[0] = *begin;
}

/* The shortest way from the end of `begin` back to its start over edges of `kinds` inside
 * its component, with real time on it if `with_rt`; kept if shorter than *ret. */
static bool find_back(struct search *s, const struct deps_edge *begin, unsigned kinds, bool with_rt,
                      struct deps_cycle *ret)
{
    const struct deps *d = s->d;
    uint32_t part = d->part[begin->from], start = begin->to * 2, want = begin->from * 2 + with_rt;
    size_t head = 0, tail = 0;
    s->number++;
    s->met[start] = s->number;
    s->queue[tail++] = start;
    while (head < tail && s->visits < VISITS_MAX) {
        uint32_t at = s->queue[head++], node = at / 2;
        if (at == want) {
            bool is_shorter = ret->edges == NULL;
            size_t n = 1;
            for (uint32_t a = at; a != start; n++)
                a = d->edges[s->from[a] >> 1].from * 2 + (s->from[a] & 1);
            is_shorter |= n < ret->count;
            if (is_shorter)
                take_cycle(s, at, begin, start, ret);
            return true;
        }
        for (uint32_t i = d->first[node]; i < d->first[node + 1]; i++) {
            const struct deps_edge *e = &d->edges[i];
            uint32_t next = e->to * 2 + (with_rt && ((at & 1) != 0 || e->kind == DEPS_RT));
            s->visits++;
            if ((e->kind & kinds) == 0 || d->part[e->to] != part || s->met[next] == s->number)
                continue;
            s->met[next] = s->number;
            s->from[next] = i << 1 | (at & 1);
            s->queue[tail++] = next;
        }
    }
    return false;
}

static const struct {
    unsigned kinds;   /* in the component */
    unsigned through; /* one edge of this kind must be in the cycle */
    unsigned back;    /* the way back */
} classes[] = {
    [DEPS_G0] = {DEPS_WW, DEPS_WW, DEPS_WW},
    [DEPS_G1C] = {DEPS_WW | DEPS_WR, DEPS_WR, DEPS_WW | DEPS_WR},
    [DEPS_G_SINGLE] = {DEPS_WW | DEPS_WR | DEPS_RW, DEPS_RW, DEPS_WW | DEPS_WR},
    [DEPS_G2] = {DEPS_WW | DEPS_WR | DEPS_RW, DEPS_RW, DEPS_WW | DEPS_WR | DEPS_RW},
};

static size_t count_rw(const struct deps_cycle *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->count; i++)
        n += c->edges[i].kind == DEPS_RW;
    return n;
}

/* Edges that cycles of the class may go through, at most STARTS_MAX of each component. */
static bool try_edge(struct search *s, enum deps_class c, const struct deps_edge *e, bool with_rt,
                     struct deps_cycle *ret)
{
    struct deps_cycle found = {0};
    unsigned rt = with_rt ? DEPS_RT : 0;
    bool is_found = find_back(s, e, classes[c].back | rt, with_rt, &found);
    if (is_found && c == DEPS_G2 && count_rw(&found) < 2)
        is_found = false; /* that is another class */
    if (is_found && (ret->edges == NULL || found.count < ret->count)) {
        free(ret->edges);
        *ret = found;
    } else {
        free(found.edges);
    }
    return is_found;
}

bool deps_find(struct deps *d, enum deps_class c, bool with_rt, struct deps_cycle *ret_cycle,
               size_t *ret_components)
{
    uint32_t parts = find_parts(d, classes[c].kinds | (with_rt ? DEPS_RT : 0u));
    struct search s;
    *ret_cycle = (struct deps_cycle){0};
    *ret_components = 0;
    if (parts == 0)
        return false;
    uint32_t *tried = alloc(parts + 1, sizeof *tried);
    uint32_t *found = alloc(parts + 1, sizeof *found);
    search_init(&s, d);
    for (size_t i = 0; i < d->count && s.visits < VISITS_MAX; i++) {
        const struct deps_edge *e = &d->edges[i];
        uint32_t part = d->part[e->from];
        if (part == 0 || part != d->part[e->to] || (e->kind & classes[c].through) == 0 ||
            tried[part] >= (found[part] > 0 ? SHORTEST_TRIES : STARTS_MAX))
            continue;
        tried[part]++;
        if (try_edge(&s, c, e, with_rt, ret_cycle) && found[part]++ == 0)
            ++*ret_components;
    }
    free(tried);
    free(found);
    search_fini(&s);
    return ret_cycle->edges != NULL;
}
