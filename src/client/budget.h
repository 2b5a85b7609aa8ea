/* SPDX-License-Identifier: Apache-2.0
 *
 * budget — how much of what is sent to a store may be repeats, so that a sick one is not
 * stormed: a bucket of tokens, one for each repeat.
 *
 *   a first sending ─▶ + 1/10     time ─▶ + a quarter of the bucket a second
 *   a repeat        ─▶ − 1, or it waits
 *
 * Full at the start: what was on a connection that is lost can be repeated once at a go.
 *
 * Units   microseconds; tokens in thousandths.
 * Threads pure.
 */
#ifndef CLIENT_BUDGET_H_
#define CLIENT_BUDGET_H_

#include "base/base.h"

enum { BUDGET_WAIT_US = 50 * 1000 }; /* before asking an empty one again */

struct budget {
    uint64_t milli_max;
    uint64_t milli;
    uint64_t at_us; /* when time was last counted */
};

static inline void budget_init(struct budget *b, uint32_t tokens, uint64_t now_us)
{
    *b = (struct budget){
        .milli_max = (uint64_t)tokens * 1000, .milli = (uint64_t)tokens * 1000, .at_us = now_us};
}

/* Something was sent there for the first time. */
static inline void budget_earn(struct budget *b)
{
    b->milli = MIN(b->milli + 100, b->milli_max);
}

/* Take the token of one repeat; false: there is none. */
static inline bool budget_spend(struct budget *b, uint64_t now_us)
{
    uint64_t passed_us = MIN(now_us - MIN(b->at_us, now_us), UINT64_C(4000000));
    b->milli = MIN(b->milli + b->milli_max * passed_us / 4000000, b->milli_max);
    b->at_us = now_us;
    if (b->milli < 1000)
        return false;
    b->milli -= 1000;
    return true;
}

#endif
