/* SPDX-License-Identifier: Apache-2.0 */
#include "store/fair.h"

#include <stdlib.h>

struct fair_flow {
    uint64_t id;
    struct list items; /* fair_item.in_flow */
    uint32_t count;
    size_t bytes;
    size_t share;   /* bytes that may still go in this round */
    size_t debt;    /* bytes that have gone too much: of the shares of rounds to come */
    bool is_fresh;  /* it is in `fresh` … */
    bool was_first; /* … and was let go first already */
    struct list in_turns;
    struct list in_hurry; /* linked: its first item hurries */
};

/* Apart from the queue: there are many queues that nobody uses. */
struct fair_rounds {
    struct map flows;  /* id → fair_flow */
    struct list fresh; /* fair_flow.in_turns: of those who just came; they go first */
    struct list turns; /* fair_flow.in_turns: of the others, the first one's turn is next */
    uint32_t busy;     /* flows that have items */
    uint32_t savers;   /* that have begun to save, ever */
    size_t ahead;      /* bytes of `fresh` that have gone since it was the turn of one of `turns` */
    struct list hurry; /* fair_flow.in_hurry: of those whose time runs out */
    uint32_t hurried;  /* so many flows */
    size_t owed;       /* bytes that others may have before the next of them goes */
    struct fair_item *hasty; /* whose turn it is, because it hurries */
    struct list spare;       /* fair_flow.in_turns: unused ones */
    uint32_t spare_count;
};

void fair_init(struct fair *q, uint32_t count_max, size_t bytes_max)
{
    *q = (struct fair){.count_max = count_max, .bytes_max = bytes_max};
    list_init(&q->all);
}

static struct fair_rounds *rounds_get(struct fair *q)
{
    if (q->rounds != NULL)
        return q->rounds;
    struct fair_rounds *rounds = calloc(1, sizeof *rounds);
    if (rounds == NULL)
        return NULL;
    list_init(&rounds->fresh);
    list_init(&rounds->turns);
    list_init(&rounds->hurry);
    list_init(&rounds->spare);
    map_init(&rounds->flows);
    q->rounds = rounds;
    return rounds;
}

void fair_trim(struct fair *q)
{
    struct list *link;
    ASSERT(q->count == 0);
    if (q->rounds == NULL)
        return;
    ASSERT(q->rounds->flows.count == 0);
    while ((link = list_pop_front(&q->rounds->spare)) != NULL)
        free(list_entry(link, struct fair_flow, in_turns));
    map_fini(&q->rounds->flows);
    free(q->rounds);
    q->rounds = NULL;
}

void fair_fini(struct fair *q)
{
    fair_trim(q);
}

void fair_item_init(struct fair_item *item)
{
    *item = (struct fair_item){0};
    list_init(&item->in_all);
    list_init(&item->in_flow);
}

static uint32_t busy_count(const struct fair *q)
{
    return q->rounds == NULL ? 0 : q->rounds->busy;
}

static struct fair_flow *flow_get(const struct fair *q, uint64_t id)
{
    return q->rounds == NULL ? NULL : map_get(&q->rounds->flows, id);
}

static struct fair_flow *flow_new(struct fair_rounds *rounds, uint64_t id)
{
    if (rounds == NULL)
        return NULL;
    struct list *link = list_pop_front(&rounds->spare);
    struct fair_flow *flow =
        link != NULL ? list_entry(link, struct fair_flow, in_turns) : malloc(sizeof *flow);
    if (flow == NULL)
        return NULL;
    rounds->spare_count -= link != NULL;
    *flow = (struct fair_flow){.id = id, .share = FAIR_QUANTUM, .is_fresh = true};
    list_init(&flow->items);
    list_init(&flow->in_turns);
    list_init(&flow->in_hurry);
    if (map_put(&rounds->flows, id, flow) != 0) {
        free(flow);
        return NULL;
    }
    list_push_back(&rounds->fresh, &flow->in_turns);
    return flow;
}

static void flow_end(struct fair_rounds *rounds, struct fair_flow *flow)
{
    ASSERT(flow->count == 0 && flow->bytes == 0);
    list_remove(&flow->in_turns);
    map_remove(&rounds->flows, flow->id);
    if (rounds->spare_count == FAIR_SPARE_MAX) {
        free(flow);
        return;
    }
    rounds->spare_count++;
    list_push_back(&rounds->spare, &flow->in_turns);
}

static void flow_hurries(struct fair_rounds *rounds, struct fair_flow *flow, bool does)
{
    if (list_is_linked(&flow->in_hurry) == does)
        return;
    if (does) {
        list_push_back(&rounds->hurry, &flow->in_hurry);
        rounds->hurried++;
    } else {
        list_remove(&flow->in_hurry);
        ASSERT(rounds->hurried > 0);
        rounds->hurried--;
    }
}

/* Its share of this round is used up: behind the others, and not one of those who just came. */
static void flow_waits(struct fair_rounds *rounds, struct fair_flow *flow)
{
    flow->is_fresh = false;
    list_remove(&flow->in_turns);
    list_push_back(&rounds->turns, &flow->in_turns);
}

/* One whose first item is a large one has to save for it from now on. Where many do who came
 * together and want as much, they would all have enough in the same round: each begins with
 * another part of it (multiples of the golden ratio lie evenly), so each round some of them go.
 * Who comes again begins with another part each time: nobody is let off more of it than others. */
static void flow_saves(struct fair_rounds *rounds, struct fair_flow *flow, size_t used)
{
    uint32_t part = rounds->savers++ * UINT32_C(0x9e3779b9);
    size_t saved = (size_t)((uint64_t)MIN(used, (size_t)UINT32_MAX) * part >> 32);
    flow->share = MAX(flow->share, saved);
    flow_waits(rounds, flow);
}

static size_t used_by(const struct fair_item *item)
{
    return item->cost + FAIR_OVERHEAD;
}

/* Of a bound a flow may have as much as is left free by all; what is alone may have it all. */
static bool has_room(const struct fair *q, const struct fair_flow *flow, size_t cost)
{
    if (q->count == 0)
        return true;
    if (q->count >= q->count_max || q->bytes >= q->bytes_max || cost > q->bytes_max - q->bytes)
        return false;
    return flow == NULL ||
           (flow->count < q->count_max - q->count && flow->bytes + cost <= q->bytes_max - q->bytes);
}

int fair_push(struct fair *q, struct fair_item *item, uint64_t id, size_t cost)
{
    struct fair_flow *flow = flow_get(q, id);
    ASSERT(!fair_item_is_queued(item));
    if (!has_room(q, flow, cost))
        return ERR_BUSY;
    if (flow == NULL)
        flow = flow_new(rounds_get(q), id);
    if (flow == NULL)
        return ERR_NOMEM;
    item->flow = flow;
    item->cost = cost;
    list_push_back(&flow->items, &item->in_flow);
    list_push_back(&q->all, &item->in_all);
    q->rounds->busy += flow->count == 0;
    flow->count++;
    flow->bytes += cost;
    q->count++;
    q->bytes += cost;
    return 0;
}

/* Whose turn is it? Between two turns of others all newcomers together have no more than one of
 * them: there may be more of them all the time. */
static struct fair_flow *flow_next(const struct fair_rounds *rounds)
{
    bool are_due = rounds->ahead >= FAIR_QUANTUM && !list_is_empty(&rounds->turns);
    bool is_fresh = !list_is_empty(&rounds->fresh) && !are_due;
    return list_first(is_fresh ? &rounds->fresh : &rounds->turns, struct fair_flow, in_turns);
}

/* The first of those whose time runs out, if it is their turn. */
static struct fair_flow *flow_in_hurry(const struct fair_rounds *rounds)
{
    bool is_due = rounds->hurried > 0 && (rounds->owed == 0 || rounds->hurried == rounds->busy);
    return is_due ? list_first(&rounds->hurry, struct fair_flow, in_hurry) : NULL;
}

struct fair_item *fair_peek(struct fair *q)
{
    if (q->count == 0)
        return NULL;
    struct fair_rounds *rounds = q->rounds;
    struct fair_flow *hurried = flow_in_hurry(rounds);
    if (hurried != NULL)
        return rounds->hasty = list_first(&hurried->items, struct fair_item, in_flow);
    for (;;) {
        struct fair_flow *flow = flow_next(rounds);
        if (flow->count == 0) { /* it was first, and has not come back until its turn */
            flow_end(rounds, flow);
            continue;
        }
        struct fair_item *item = list_first(&flow->items, struct fair_item, in_flow);
        if (flow->share >= used_by(item) || busy_count(q) == 1) {
            flow->was_first |= flow->is_fresh;
            return item;
        }
        if (flow->is_fresh) {
            flow_saves(rounds, flow, used_by(item));
            continue;
        }
        size_t paid = MIN(flow->debt, (size_t)FAIR_QUANTUM);
        flow->debt -= paid;
        flow->share += FAIR_QUANTUM - paid;
        if (flow->share >= used_by(item))
            return item;
        flow_waits(rounds, flow);
        rounds->ahead = 0; /* that was its turn, and it saves */
    }
}

/* What is known of flows without items is who had his turn before others; there are none. */
static void forget_all(struct fair_rounds *rounds)
{
    while (!list_is_empty(&rounds->fresh))
        flow_end(rounds, list_first(&rounds->fresh, struct fair_flow, in_turns));
    while (!list_is_empty(&rounds->turns))
        flow_end(rounds, list_first(&rounds->turns, struct fair_flow, in_turns));
    rounds->owed = 0;
}

/* Is it to wait for its next round, or did it end? */
static void flow_after(struct fair *q, struct fair_flow *flow)
{
    struct fair_rounds *rounds = q->rounds;
    if (q->count == 0)
        forget_all(rounds);
    else if (flow->count == 0 && flow->is_fresh && flow->was_first)
        flow_waits(rounds, flow); /* who came back now would be first again */
    else if (flow->count == 0)
        flow_end(rounds, flow);
    else if (flow->share < used_by(list_first(&flow->items, struct fair_item, in_flow)))
        flow_waits(rounds, flow);
}

static void pay(struct fair_rounds *rounds, struct fair_flow *flow, size_t used)
{
    flow->share -= MIN(flow->share, used);
    rounds->ahead = flow->is_fresh ? rounds->ahead + used : 0;
    rounds->owed -= MIN(rounds->owed, used);
}

/* It goes before it has saved for it: others have twice as much before the next one does. */
static void pay_later(struct fair_rounds *rounds, struct fair_flow *flow, size_t used)
{
    size_t saved = MIN(flow->share, used);
    flow->share -= saved;
    flow->debt += used - saved;
    rounds->owed = (FAIR_HURRY_PART - 1) * used;
}

void fair_remove(struct fair *q, struct fair_item *item)
{
    struct fair_flow *flow = item->flow;
    ASSERT(fair_item_is_queued(item));
    ASSERT(q->count > 0 && flow->count > 0);
    ASSERT(q->bytes >= item->cost && flow->bytes >= item->cost);
    bool is_first = item == list_first(&flow->items, struct fair_item, in_flow);
    if (item == q->rounds->hasty)
        pay_later(q->rounds, flow, used_by(item));
    else
        pay(q->rounds, flow, used_by(item));
    if (is_first)
        flow_hurries(q->rounds, flow, false);
    q->rounds->hasty = NULL;
    list_remove(&item->in_flow);
    list_remove(&item->in_all);
    item->flow = NULL;
    flow->count--;
    flow->bytes -= item->cost;
    q->count--;
    q->bytes -= item->cost;
    q->rounds->busy -= flow->count == 0;
    flow_after(q, flow);
}

bool fair_next_flow(const struct fair *q, uint32_t *cursor, uint64_t *ret_id)
{
    const struct fair_flow *flow;
    if (q->rounds == NULL)
        return false;
    do {
        flow = map_next(&q->rounds->flows, cursor, ret_id);
    } while (flow != NULL && flow->count == 0);
    return flow != NULL;
}

struct fair_item *fair_first(const struct fair *q, uint64_t id)
{
    const struct fair_flow *flow = flow_get(q, id);
    if (flow == NULL || flow->count == 0)
        return NULL;
    return list_first(&flow->items, struct fair_item, in_flow);
}

void fair_charge(struct fair *q, uint64_t id, size_t cost)
{
    struct fair_flow *flow = flow_get(q, id);
    if (flow == NULL)
        return;
    size_t used = MIN(flow->share, cost);
    flow->share -= used;
    flow->debt += cost - used;
    if (flow->count > 0)
        flow_after(q, flow);
}

void fair_hurry(struct fair *q, struct fair_item *item)
{
    ASSERT(fair_item_is_queued(item));
    if (item == list_first(&item->flow->items, struct fair_item, in_flow))
        flow_hurries(q->rounds, item->flow, true);
}

uint32_t fair_ahead(const struct fair *q, uint64_t id)
{
    const struct fair_flow *flow = flow_get(q, id);
    uint64_t own = flow == NULL ? 0 : flow->count;
    uint64_t flows = busy_count(q) + (own == 0);
    return (uint32_t)MIN((uint64_t)q->count, (own + 1) * flows);
}

static uint32_t check_list(const struct list *flows, bool is_fresh)
{
    uint32_t count = 0;
    for (const struct list *it = flows->next; it != flows; it = it->next, count++) {
        const struct fair_flow *flow = container_of(it, struct fair_flow, in_turns);
        ASSERT(flow->is_fresh == is_fresh);
        ASSERT(!is_fresh || flow->count > 0);
    }
    return count;
}

void fair_check(const struct fair *q)
{
    uint32_t cursor = 0, count = 0, busy = 0, hurried = 0;
    uint64_t id;
    size_t bytes = 0;
    const struct fair_flow *flow;
    if (q->rounds == NULL) {
        ASSERT(q->count == 0 && q->bytes == 0);
        return;
    }
    while ((flow = map_next(&q->rounds->flows, &cursor, &id)) != NULL) {
        uint32_t own = 0;
        size_t own_bytes = 0;
        for (const struct list *it = flow->items.next; it != &flow->items; it = it->next) {
            own++;
            own_bytes += container_of(it, struct fair_item, in_flow)->cost;
        }
        ASSERT(own == flow->count && own_bytes == flow->bytes && id == flow->id);
        ASSERT(own > 0 || flow->was_first);
        ASSERT(own > 0 || !list_is_linked(&flow->in_hurry));
        hurried += list_is_linked(&flow->in_hurry);
        busy += own > 0;
        count += own;
        bytes += own_bytes;
    }
    ASSERT(count == q->count && bytes == q->bytes && busy == q->rounds->busy);
    ASSERT(count > 0 || q->rounds->flows.count == 0);
    ASSERT(hurried == q->rounds->hurried);
    ASSERT(check_list(&q->rounds->fresh, true) + check_list(&q->rounds->turns, false) ==
           q->rounds->flows.count);
}
