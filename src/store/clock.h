/* SPDX-License-Identifier: Apache-2.0
 *
 * clock — is this store's wall clock one that a leader may stamp with?
 *
 *   UNKNOWN ──the clocks of a majority of the voters are known──▶ GOOD or OFF
 *   GOOD ──more than `offset_max` from the reference──▶ OFF
 *   OFF ──within 7/8 of it again──▶ GOOD
 *
 * The reference is the median, or, while some clocks are not known, the latest one that
 * is not ahead of every right clock as long as fewer than half of all are wrong. So of
 * two that disagree the earlier is trusted: a leader whose clock is behind stamps with
 * the range's own time and does no harm, one that is ahead moves that time for ever. The
 * reference is somebody's clock: in every connected majority somebody may lead.
 *
 * Units      milliseconds; an offset is how far a clock is ahead of ours.
 * Invariants a clock decides who leads, never who is voted for nor what is durable.
 */
#ifndef STORE_CLOCK_H_
#define STORE_CLOCK_H_

#include "base/base.h"

enum {
    CLOCK_VOTERS_MAX = 32,
    CLOCK_FATAL_MS = 24 * 3600 * 1000, /* so far off at its start, a store does not start */
    CLOCK_STEP_MS = 1000,              /* our own clock has been set: judge at once */
    CLOCK_LEADERLESS_TIMEOUTS = 10,    /* election time-outs until one that is off stands too */
    CLOCK_LIST_EACH_TIME_MAX = 64,     /* more ranges are looked through for voters … */
    CLOCK_LIST_US = 5 * 1000 * 1000,   /* … this often only */
};

struct clock {
    bool is_known;     /* the clocks of a majority are */
    bool is_off;       /* too far from it to lead */
    bool is_outvoted;  /* more than half of the voters agree with the reference, we do not */
    bool was_good;     /* and agreed with more than half, since this process began */
    int64_t offset_ms; /* how far ours is ahead of the reference */
    int64_t step_ms;   /* our wall clock less the monotonic one, when last judged */
    uint64_t voters[CLOCK_VOTERS_MAX]; /* stores of the voters of our ranges */
    uint32_t voter_count;
    uint64_t listed_us; /* when */
};

/* Judge by `offsets` of the voters whose clocks are known (0 for our own, if we vote),
 * in any order; it is sorted. `voters`: all of them. True if is_off changed. */
bool clock_judge(struct clock *clock, int64_t *offsets, uint32_t known, uint32_t voters,
                 uint32_t offset_max_ms);

#endif
