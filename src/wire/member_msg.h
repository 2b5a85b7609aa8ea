/* SPDX-License-Identifier: Apache-2.0
 *
 * member_msg — "am I still a member?": what a replica asks that has not heard of a
 * leader for long, and what it is told (ranges.md, Moving a replica).
 *
 *   replica ── member_ask ──▶ stores that may know
 *           ◀── member_answer: GONE, from a leader that confirmed itself since and has
 *               applied the removal; ASK, the store of the one to ask; ENDED: the
 *               range is no more, it was merged into another; or, to one that sleeps,
 *               NOT_LED
 */
#ifndef WIRE_MEMBER_MSG_H_
#define WIRE_MEMBER_MSG_H_

#include "base/buf.h"
#include "wire/msg.h"

struct member_ask {
    uint64_t group; /* range id; > 0 */
    uint64_t replica_id;
    uint64_t conf_epoch; /* what made the replica, or the newest that it has applied */
    bool is_asleep;      /* it does not miss anybody: a member need not be told that it is one */
};

enum member_verdict {
    MEMBER_GONE = 1,    /* not a member as of conf_epoch, and never again under this id */
    MEMBER_ASK = 2,     /* ask store_id */
    MEMBER_ENDED = 3,   /* its range was merged into into_range, which had span_epoch then */
    MEMBER_NOT_LED = 4, /* to one asleep: whom it believes in does not lead, or is not there */
    MEMBER_VERDICT_LAST = MEMBER_NOT_LED,
};

struct member_answer {
    uint64_t group;
    uint64_t replica_id; /* who asked */
    enum member_verdict verdict;
    uint64_t conf_epoch; /* GONE */
    uint64_t store_id;   /* ASK */
    uint64_t into_range; /* ENDED */
    uint64_t span_epoch; /* ENDED */
};

void member_ask_encode(struct buf *buf, const struct member_ask *ask);
int member_ask_decode(struct slice body, struct member_ask *ret_ask, struct err *err);

void member_answer_encode(struct buf *buf, const struct member_answer *answer);
int member_answer_decode(struct slice body, struct member_answer *ret_answer, struct err *err);

#endif
