/* SPDX-License-Identifier: Apache-2.0
 *
 * pace — is this store's disk far slower than it used to be? What is judged are the syncs of
 * the log, and how long the engine takes no writes because its own are not done.
 *
 *   GOOD ──the worst sync of PACE_SLOW_TICKS of the last PACE_TICKS ticks is over the limit──▶ SLOW
 *   SLOW ──none of the last PACE_TICKS ticks is over half of it──▶ GOOD
 *
 * The worst of a tick stands for the 99th percentile: some hundred syncs fit into one. The
 * limit is PACE_FACTOR times what is normal, and at least PACE_LIMIT_MIN_US: a disk that has
 * always been slow is normal, and nobody minds a fast one that is slower for once. What is
 * normal follows slowly, much more slowly while it is SLOW.
 *
 * Units   microseconds.
 * Threads pure.
 */
#ifndef STORE_PACE_H_
#define STORE_PACE_H_

#include "base/base.h"

enum {
    PACE_TICKS = 8,
    PACE_SLOW_TICKS = 3,
    PACE_FACTOR = 10,
    PACE_LIMIT_MIN_US = 500000,
};

struct pace {
    uint64_t worst_us[PACE_TICKS]; /* of the last ticks, in a ring */
    uint32_t at;                   /* the next place in it */
    uint64_t normal_us;            /* 0: nothing is known yet */
    bool is_slow;
};

/* A tick is over: its worst wait, one that is still going on too; 0 for none. True if
 * is_slow changed. */
bool pace_note(struct pace *pace, uint64_t worst_us);

uint64_t pace_limit_us(const struct pace *pace);

#endif
