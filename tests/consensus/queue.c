/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "consensus/world_internal.h"

/* --- reporting */

void world_fail(struct world *w, const char *fmt, ...)
{
    va_list args;
    if (w->report.is_failed)
        return;
    w->report.is_failed = true;
    va_start(args, fmt);
    vsnprintf(w->report.why, sizeof w->report.why, fmt, args);
    va_end(args);
}

/* NULL is fine. */
void world_judge(struct world *w, const char *violation)
{
    if (violation != NULL)
        world_fail(w, "%s", violation);
}

void world_hash(struct world *w, uint64_t v)
{
    uint64_t h = w->report.hash ^ v;
    h *= UINT64_C(0x9e3779b97f4a7c15);
    w->report.hash = h ^ h >> 29;
}

/* --- events */

static bool event_before(const struct event *a, const struct event *b)
{
    return a->time != b->time ? a->time < b->time : a->seq < b->seq;
}

struct event *world_push(struct world *w, uint64_t time, enum event_kind kind, uint32_t slot)
{
    if (w->n_heap == w->cap_heap) {
        w->cap_heap = w->cap_heap == 0 ? 256 : w->cap_heap * 2;
        w->heap = realloc(w->heap, w->cap_heap * sizeof *w->heap);
        ASSERT(w->heap != NULL);
    }
    struct event e = {.time = time, .seq = w->seq++, .kind = kind, .member = slot};
    e.life = w->slots[slot].life;
    uint32_t i = w->n_heap++;
    while (i > 0 && event_before(&e, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = e;
    return &w->heap[i]; /* until the next push */
}

struct event world_pop(struct world *w)
{
    struct event top = w->heap[0];
    struct event last = w->heap[--w->n_heap];
    uint32_t i = 0;
    while (2 * i + 1 < w->n_heap) {
        uint32_t c = 2 * i + 1;
        if (c + 1 < w->n_heap && event_before(&w->heap[c + 1], &w->heap[c]))
            c++;
        if (!event_before(&w->heap[c], &last))
            break;
        w->heap[i] = w->heap[c];
        i = c;
    }
    w->heap[i] = last;
    return top;
}

static void net_free(struct netmsg *n)
{
    for (uint32_t i = 0; n->msg.type == CONS_MSG_APPEND && i < n->msg.append.n; i++)
        blob_unref(n->blobs[i]);
    free(n->blobs);
    free(n);
}

void event_free(struct event *e)
{
    if (e->kind == EVENT_DELIVER)
        net_free(e->net);
    else if (e->kind == EVENT_STREAM)
        free(e->stream);
    else if (e->kind == EVENT_FETCH)
        free(e->fetch);
}

void event_defer(struct world *w, const struct event *e, uint64_t time)
{
    struct event *later = world_push(w, time, e->kind, e->member);
    struct event copy = *e;
    copy.time = later->time;
    copy.seq = later->seq;
    *later = copy;
}

/* --- members by id */

int slot_of(const struct world *w, uint64_t replica_id)
{
    for (uint32_t i = 0; i < w->n_slots; i++) {
        if (w->slots[i].m.opts.replica_id == replica_id)
            return (int)i;
    }
    return -1;
}

uint32_t slot_index(const struct world *w, const struct member *m)
{
    const struct slot *s = container_of(m, struct slot, m);
    return (uint32_t)(s - w->slots);
}

bool slot_is_up(const struct slot *s)
{
    return s->is_used && !s->is_destroyed && s->m.c != NULL;
}

bool slot_is_running(const struct world *w, const struct slot *s)
{
    return slot_is_up(s) && s->paused_until <= w->now;
}
