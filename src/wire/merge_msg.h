/* SPDX-License-Identifier: Apache-2.0
 *
 * merge_msg — what the two ranges of a merge, and the stores that they live on, say to
 * each other (ranges.md, Merge). Every message names the attempt: what is late is told
 * apart from what is meant (tikv #6460).
 *
 *   left's leader ── PREPARE ──▶ right's leader     freeze, if you are as I think
 *                 ◀── READY ───                     all members hold it: index and term
 *                 ◀── REFUSED ─                     definite: nothing was frozen for this
 *   right's leader ── ASK ──▶ all stores            frozen for too long: was it aborted?
 *                  ◀── ABORTED ──                   from who has that in its state
 *   left's leader ── GONE_ASK ──▶ a store           is this replica gone from you for good?
 *                 ◀── GONE ──────
 */
#ifndef WIRE_MERGE_MSG_H_
#define WIRE_MERGE_MSG_H_

#include "base/buf.h"
#include "wire/descriptor.h"
#include "wire/msg.h"
#include "wire/pack.h"

enum merge_verb {
    MERGE_PREPARE = 1,
    MERGE_READY = 2,
    MERGE_REFUSED = 3,
    MERGE_ASK = 4,
    MERGE_ABORTED = 5,
    MERGE_GONE_ASK = 6,
    MERGE_GONE = 7,
    MERGE_VERB_LAST = MERGE_GONE,
};

struct merge_msg {
    enum merge_verb verb;
    uint64_t attempt;     /* > 0 */
    uint64_t left_range;  /* PREPARE, READY, REFUSED, GONE_ASK, GONE */
    uint64_t right_range; /* > 0 */
    uint64_t left_conf;   /* PREPARE: at exactly this epoch the left will commit */
    uint64_t left_span;
    uint64_t right_conf; /* PREPARE: as the client knows it; 0: whatever it is */
    uint64_t right_span;
    uint64_t number;        /* READY: the index of PREPARE_MERGE in the right's log; GONE_ASK,
                             * GONE: the right's replica id on the store that is asked */
    uint64_t term;          /* READY: of that index */
    int status;             /* REFUSED */
    struct slice text;      /* REFUSED: for people */
    struct slice key;       /* PREPARE, ASK: the right's start; an on-disk key */
    struct pack_list seats; /* PREPARE: merge_seat_append(), merge_seat_next() */
};

/* Append a body. */
void merge_msg_encode(struct buf *buf, const struct merge_msg *msg);

/* ERR_CORRUPT; *ret_msg (borrows from body) is untouched then. */
int merge_msg_decode(struct slice body, struct merge_msg *ret_msg, struct err *err);

/* Where the left's replicas are: a list of stores and roles, at most
 * DESCRIPTOR_MEMBERS_MAX. */
void merge_seat_append(struct pack_list *seats, struct buf *raw, uint64_t store_id,
                       enum member_role role);
void merge_seat_next(struct unpack *cursor, uint64_t *ret_store_id, enum member_role *ret_role);

#endif
