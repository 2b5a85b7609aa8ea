/* SPDX-License-Identifier: Apache-2.0
 *
 * fair — a queue that is shared out among those who fill it, by deficit round robin
 * (Shreedhar and Varghese, 1995): each flow (a client's connection) has a line of its own,
 * and each round of the flows lets FAIR_QUANTUM bytes of each go. Who floods waits behind
 * himself.
 *
 *   push(a1 a2 a3 a4, b1, c1)  ─▶  a1 b1 c1 a2 a3 a4
 *
 * Who just came goes before those who had their share already, as far as his own first share
 * goes (FQ-CoDel, RFC 8290): a little request does not wait for a round of many that want much.
 * That he had, is known until his turn among the others comes: who comes back sooner is one
 * of them, so they are not kept waiting by many who come with little again and again; and when
 * such newcomers have had FAIR_QUANTUM bytes, it is the turn of one of the others, however many
 * more come. Those that have to save for what they want do not all have it in the same round.
 *
 * Who wants much at once among many would save for it beyond any deadline. fair_hurry() says that
 * time runs out for an item: it goes before it is paid for, and its flow owes that. All that hurry
 * have a third of the bytes as long as others wait, one after another as they began to.
 *
 * A flow takes no more room than it leaves: so one that floods an empty queue gets half of
 * it, the next a quarter …, and whoever comes with little finds room (Choudhury and Hahne,
 * 1998).
 *
 * Units      cost is bytes; FAIR_OVERHEAD is added to each item's, in the rounds.
 * Ownership  items are the caller's memory and stay in place while they are in it.
 * Threads    pure.
 * Errors     fair_push(): ERR_BUSY at a bound, ERR_NOMEM; the item is not in it then.
 * Invariants (F1) within a flow items go in the order in which they came.
 *            (F2) counts and bytes are those of the items in it, of each flow and in all.
 *            (F3) a flow is known while it has items; one that went first, until its turn
 *            among the others, or until nothing is queued.
 *            (F4) who hurries has items.
 * Limits     count_max items, bytes_max bytes of them; what comes alone fits always.
 */
#ifndef STORE_FAIR_H_
#define STORE_FAIR_H_

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"

enum {
    FAIR_QUANTUM = 8192,
    FAIR_OVERHEAD = 256,
    FAIR_HURRY_PART = 3, /* of what goes may be of those that hurry, one in so many bytes */
    FAIR_SPARE_MAX = 64,
};

struct fair_flow;
struct fair_rounds;

struct fair_item {
    struct list in_all;  /* in order of arrival */
    struct list in_flow; /* unlinked: it is in no queue */
    struct fair_flow *flow;
    size_t cost;
};

struct fair {
    uint32_t count_max;
    size_t bytes_max;
    /* state */
    uint32_t count;
    size_t bytes;
    struct list all; /* fair_item.in_all: for who looks through them */
    struct fair_rounds
        *rounds; /* private; owned; NULL: nothing was ever in it, or it was trimmed */
};

void fair_init(struct fair *q, uint32_t count_max, size_t bytes_max);

/* Nothing may be in it. */
void fair_fini(struct fair *q);

/* Nothing will be in it for long: give back what is kept for that. Nothing may be in it. */
void fair_trim(struct fair *q);

/* For an item that is in no queue yet. */
void fair_item_init(struct fair_item *item);
static inline bool fair_item_is_queued(const struct fair_item *item)
{
    return list_is_linked(&item->in_flow);
}

/* Queue it behind what the flow `id` has. */
int fair_push(struct fair *q, struct fair_item *item, uint64_t id, size_t cost);

/* Whose turn it is, without taking it; NULL: it is empty. */
struct fair_item *fair_peek(struct fair *q);

/* Take it out: what fair_peek() gave, which uses up its flow's share; or any other. */
void fair_remove(struct fair *q, struct fair_item *item);

/* Flows that have items, one after another in no order, from *cursor 0 on; false: no more.
 * Nothing may be put in or taken out meanwhile. */
bool fair_next_flow(const struct fair *q, uint32_t *cursor, uint64_t *ret_id);

/* The first item of a flow, whoever's turn it is; NULL: it has none. */
struct fair_item *fair_first(const struct fair *q, uint64_t id);

/* What a flow's items turned out to cost beyond what was said of them: its next turns pay for it,
 * if it is known still. */
void fair_charge(struct fair *q, uint64_t id, size_t cost);

/* Time runs out for it, if it is the first of its flow: see above. Once it went, the next of its
 * flow is as any other. */
void fair_hurry(struct fair *q, struct fair_item *item);

/* How many will go before one that is pushed for `id` now. */
uint32_t fair_ahead(const struct fair *q, uint64_t id);

void fair_check(const struct fair *q);

#endif
