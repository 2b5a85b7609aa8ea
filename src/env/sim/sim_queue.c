/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "env/sim/sim_internal.h"

enum { QUEUE_ARY = 4 };

static bool item_before(const struct sim_item *a, const struct sim_item *b)
{
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us;
    return a->tie < b->tie;
}

void sim_queue_push(struct sim_queue *queue, const struct sim_item *item)
{
    queue->items = sim_grow(queue->items, &queue->cap, queue->count + 1, sizeof *queue->items);
    size_t at = queue->count++;
    while (at > 0) {
        size_t up = (at - 1) / QUEUE_ARY;
        if (!item_before(item, &queue->items[up]))
            break;
        queue->items[at] = queue->items[up];
        at = up;
    }
    queue->items[at] = *item;
}

bool sim_queue_pop(struct sim_queue *queue, struct sim_item *ret_item)
{
    if (queue->count == 0)
        return false;
    *ret_item = queue->items[0];
    struct sim_item last = queue->items[--queue->count];
    size_t at = 0;
    for (;;) {
        size_t first = at * QUEUE_ARY + 1;
        size_t end = MIN(first + QUEUE_ARY, queue->count);
        size_t least = first;
        if (first >= queue->count)
            break;
        for (size_t i = first + 1; i < end; i++)
            if (item_before(&queue->items[i], &queue->items[least]))
                least = i;
        if (!item_before(&queue->items[least], &last))
            break;
        queue->items[at] = queue->items[least];
        at = least;
    }
    if (queue->count > 0)
        queue->items[at] = last;
    return true;
}

void sim_queue_fini(struct sim_queue *queue)
{
    free(queue->items);
    *queue = (struct sim_queue){0};
}
