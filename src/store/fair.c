/* SPDX-License-Identifier: Apache-2.0 */
#include "store/fair.h"

#include <stdlib.h>

struct fair_flow {
    uint64_t id;
    struct list items; /* fair_item.in_flow */
    uint32_t count;
    size_t bytes;
    size_t share; /* bytes that may still go in this round */
    size_t debt;  /* bytes that have gone too much: of the shares of rounds to come */
    struct list in_turns;
};

/* Apart from the queue: there are many queues that nobody uses. */
struct fair_rounds {
    struct map flows;  /* id → fair_flow */
    struct list turns; /* fair_flow.in_turns: the first one's turn is next */
    struct list spare; /* fair_flow.in_turns: unused ones */
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
    list_init(&rounds->turns);
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

static uint32_t flow_count(const struct fair *q)
{
    return q->rounds == NULL ? 0 : q->rounds->flows.count;
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
    *flow = (struct fair_flow){.id = id};
    list_init(&flow->items);
    list_init(&flow->in_turns);
    if (map_put(&rounds->flows, id, flow) != 0) {
        free(flow);
        return NULL;
    }
    list_push_back(&rounds->turns, &flow->in_turns);
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
    ASSERT(!fair_item_is_queued(item));
    struct fair_flow *flow = flow_get(q, id);
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
    flow->count++;
    flow->bytes += cost;
    q->count++;
    q->bytes += cost;
    return 0;
}

struct fair_item *fair_peek(struct fair *q)
{
    if (q->count == 0)
        return NULL;
    for (;;) {
        struct fair_flow *flow = list_first(&q->rounds->turns, struct fair_flow, in_turns);
        struct fair_item *item = list_first(&flow->items, struct fair_item, in_flow);
        if (flow->share >= item->cost + FAIR_OVERHEAD || flow_count(q) == 1)
            return item;
        size_t paid = MIN(flow->debt, (size_t)FAIR_QUANTUM);
        flow->debt -= paid;
        flow->share += FAIR_QUANTUM - paid;
        if (flow->share >= item->cost + FAIR_OVERHEAD)
            return item;
        list_remove(&flow->in_turns);
        list_push_back(&q->rounds->turns, &flow->in_turns);
    }
}

void fair_remove(struct fair *q, struct fair_item *item)
{
    struct fair_flow *flow = item->flow;
    ASSERT(fair_item_is_queued(item));
    ASSERT(q->count > 0 && flow->count > 0);
    ASSERT(q->bytes >= item->cost && flow->bytes >= item->cost);
    size_t used = item->cost + FAIR_OVERHEAD;
    flow->share -= MIN(flow->share, used);
    list_remove(&item->in_flow);
    list_remove(&item->in_all);
    item->flow = NULL;
    flow->count--;
    flow->bytes -= item->cost;
    q->count--;
    q->bytes -= item->cost;
    if (flow->count == 0) {
        flow_end(q->rounds, flow);
        return;
    }
    const struct fair_item *next = list_first(&flow->items, struct fair_item, in_flow);
    if (flow->share < next->cost + FAIR_OVERHEAD) { /* its round is over */
        list_remove(&flow->in_turns);
        list_push_back(&q->rounds->turns, &flow->in_turns);
    }
}

bool fair_next_flow(const struct fair *q, uint32_t *cursor, uint64_t *ret_id)
{
    return q->rounds != NULL && map_next(&q->rounds->flows, cursor, ret_id) != NULL;
}

struct fair_item *fair_first(const struct fair *q, uint64_t id)
{
    const struct fair_flow *flow = flow_get(q, id);
    return flow == NULL ? NULL : list_first(&flow->items, struct fair_item, in_flow);
}

void fair_charge(struct fair *q, uint64_t id, size_t cost)
{
    struct fair_flow *flow = flow_get(q, id);
    if (flow == NULL)
        return;
    size_t used = MIN(flow->share, cost);
    flow->share -= used;
    flow->debt += cost - used;
    const struct fair_item *next = list_first(&flow->items, struct fair_item, in_flow);
    if (flow->share < next->cost + FAIR_OVERHEAD) {
        list_remove(&flow->in_turns);
        list_push_back(&q->rounds->turns, &flow->in_turns);
    }
}

uint32_t fair_ahead(const struct fair *q, uint64_t id)
{
    const struct fair_flow *flow = flow_get(q, id);
    uint64_t own = flow == NULL ? 0 : flow->count;
    uint64_t flows = flow_count(q) + (flow == NULL);
    return (uint32_t)MIN((uint64_t)q->count, (own + 1) * flows);
}

void fair_check(const struct fair *q)
{
    uint32_t cursor = 0, count = 0, turns = 0;
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
        ASSERT(own > 0 && own == flow->count && id == flow->id);
        ASSERT(own_bytes == flow->bytes);
        count += own;
        bytes += own_bytes;
    }
    for (const struct list *it = q->rounds->turns.next; it != &q->rounds->turns; it = it->next)
        turns++;
    ASSERT(count == q->count && bytes == q->bytes);
    ASSERT(turns == flow_count(q));
}
