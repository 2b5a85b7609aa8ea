/* SPDX-License-Identifier: Apache-2.0
 *
 * pulse_msg — one store to another, a few times a second: "I am alive, in this life of
 * mine", and with it what the replicas of many ranges have to say that is small: the
 * heartbeats of a turn, their answers, and the words about sleep (store/sleep.h).
 *
 * Ownership  the list is borrowed from what it was read from.
 * Errors     the decoder checks form only; the store judges who may speak for whom, and
 *            consensus what makes sense.
 * Limits     PULSE_ITEMS_MAX items in one message; numbers fit in 60 bits, as in
 *            peer_msg.h.
 */
#ifndef WIRE_PULSE_MSG_H_
#define WIRE_PULSE_MSG_H_

#include "base/buf.h"
#include "wire/msg.h"
#include "wire/pack.h"

enum { PULSE_ITEMS_MAX = 4096 };

/* Part of the protocol: never renumber. */
enum pulse_kind {
    PULSE_BEAT = 1,   /* append_entries without entries */
    PULSE_REST = 2,   /* the same, and: sleep if this is all that you have, too */
    PULSE_RESULT = 3, /* append_entries_result */
    PULSE_RESTED = 4, /* I sleep since a PULSE_REST of that term and index */
    PULSE_WAKE = 5,   /* something is wrong with me: do not sleep */
    PULSE_KIND_LAST = PULSE_WAKE,
};

struct pulse_item {
    enum pulse_kind kind;
    uint8_t version; /* libraft's own; BEAT, REST, RESULT */
    uint64_t group;  /* range id; > 0, as the next two */
    uint64_t from_replica;
    uint64_t to_replica;
    uint64_t term;
    uint64_t index;     /* BEAT, REST: previous; RESULT: last; RESTED: of the rest */
    uint64_t prev_term; /* BEAT, REST */
    uint64_t commit;    /* BEAT, REST */
    uint64_t rejected;  /* RESULT */
    uint16_t features;  /* RESULT */
    uint16_t capacity;  /* RESULT */
};

/* Append one element of a list of items. */
void pulse_item_append(struct buf *raw, const struct pulse_item *item);

/* The next element; the cursor goes bad if it is not acceptable. */
void pulse_item_next(struct unpack *cursor, struct pulse_item *ret_item);

struct pulse {
    uint64_t boot;          /* of the sender; > 0 */
    struct pack_list items; /* pulse_item */
};

/* Append a body, with its list. */
void pulse_encode(struct buf *buf, const struct pulse *pulse);

/* ERR_CORRUPT, and nothing written, unless all of it is acceptable. */
int pulse_decode(struct slice body, struct pulse *ret_pulse, struct err *err);

#endif
