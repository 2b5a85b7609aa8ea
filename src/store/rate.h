/* SPDX-License-Identifier: Apache-2.0
 *
 * rate — how fast a queue is emptied while something waits in it, and so how long one who
 * comes now would wait.
 *
 *   rate_note(taken, is_empty) … ─▶ windows of RATE_WINDOW_US in which it was never empty
 *                                     ─▶ per_s, half old, half new ─▶ rate_wait_us()
 *
 * A queue that is now and then empty says nothing of what could be done: such a window
 * does not count. But one that was emptied of many sooner than was to be expected says that
 * it is faster than in worse times (it stood still), which would be held against all who
 * come now; or, while nothing is known, how fast it is at least. Who adds to a queue of
 * RATE_MANY says so, taking none: the window begins then, not when the first of them leaves.
 * Of fewer that says how long one takes, not what could be done.
 *
 * Units   microseconds; items a second.
 * Threads pure.
 */
#ifndef STORE_RATE_H_
#define STORE_RATE_H_

#include "base/base.h"

enum { RATE_WINDOW_US = 100 * 1000, RATE_MANY = 32 };

struct rate {
    uint64_t per_s;    /* 0: not known yet */
    uint64_t since_us; /* begin of the window; 0: none, the queue is empty */
    uint64_t count;    /* taken in it */
};

/* How long until `ahead` items have gone; 0: nobody knows. */
static inline uint64_t rate_wait_us(const struct rate *r, uint64_t ahead)
{
    return r->per_s == 0 ? 0 : ahead * 1000000 / r->per_s;
}

/* `taken` items have left; is the queue empty now? */
static inline void rate_note(struct rate *r, uint64_t now_us, uint32_t taken, bool is_empty)
{
    uint64_t passed_us = r->since_us == 0 ? 0 : now_us - r->since_us;
    r->count += taken;
    bool is_faster = is_empty && passed_us > 0 && r->count >= RATE_MANY &&
                     (r->per_s == 0 || rate_wait_us(r, r->count) > passed_us);
    if (passed_us >= RATE_WINDOW_US || is_faster) {
        uint64_t sample = MAX(r->count * 1000000 / passed_us, UINT64_C(1));
        r->per_s = r->per_s == 0 ? sample : (r->per_s + sample + 1) / 2;
        r->since_us = now_us;
        r->count = 0;
    }
    if (is_empty || r->since_us == 0) {
        r->since_us = is_empty ? 0 : now_us;
        r->count = 0;
    }
}

#endif
