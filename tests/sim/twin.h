/* SPDX-License-Identifier: Apache-2.0
 *
 * twin — some changes are sent a second time, under the same stamp, through another client
 * and at another moment: before the first is answered, right after, or seconds later. Both
 * together must be one: the history knows nothing of twins, so whatever a twin does a second
 * time shows there; and where both have a result, it must be the same.
 *
 *   IDLE ─▶ WAITING (its moment has not come) ─▶ SENT ─▶ IDLE
 *               └──▶ IDLE: there is nothing to repeat
 *
 * A twin of a change that is not over yet may do it though the change itself is refused in the
 * end: such a change stays open in the history (twin_may_do).
 */
#ifndef TESTS_SIM_TWIN_H_
#define TESTS_SIM_TWIN_H_

#include "client/client.h"
#include "env/env.h"

struct process;
struct workload;

enum twin_state { TWIN_IDLE, TWIN_WAITING, TWIN_SENT };

/* What is known of one of the two. */
struct twin_result {
    bool is_known; /* it has a result of the range */
    int status;
    uint64_t version;
    uint32_t count; /* of operations' results */
    int64_t number; /* of the first */
};

struct twin {
    struct process *p;
    enum twin_state state;
    bool is_over;  /* the change itself has ended */
    bool is_early; /* it was sent before that */
    size_t at;     /* which one: its place in the history */
    struct command_stamp stamp;
    struct twin_result first; /* of the change */
    struct twin_result second;
    struct client_op op;
    struct buf plain;
    struct buf stamped;
    struct buf key;
    struct env_timer timer;
};

struct twin_counts {
    uint64_t same;    /* both have the same result */
    uint64_t expired; /* one came too late */
    uint64_t alone;   /* one of them has no result */
    uint64_t decided; /* the twin told what the change could not */
    uint64_t early;   /* sent before the change was over */
};

void twin_init(struct twin *twin, struct process *p);
void twin_fini(struct twin *twin);

/* The change that `p` is about to submit may get one. */
void twin_draw(struct twin *twin);

/* The change has ended so. */
void twin_note(struct twin *twin, const struct client_result *result);

/* May a twin still do, or have done, the change that ends now? */
bool twin_may_do(const struct twin *twin);

/* No more; one that is on its way is awaited (twin_is_idle). */
void twin_stop(struct twin *twin);
static inline bool twin_is_idle(const struct twin *twin)
{
    return twin->state != TWIN_SENT;
}

#endif
