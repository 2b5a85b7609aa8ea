/* SPDX-License-Identifier: Apache-2.0
 *
 * bounds — what may be in flight: a number of operations and their bytes, and half as much
 * again for when some of them are stuck with stores that cannot be asked or do not answer,
 * so that those for other stores go on.
 *
 *   0 ─── anybody ──▶ max ─── only while less than half of it is not stuck ──▶ max × 3/2
 *
 * Threads pure.
 */
#ifndef CLIENT_BOUNDS_H_
#define CLIENT_BOUNDS_H_

#include "base/base.h"

struct bounds_load {
    uint32_t count; /* in flight, the stuck ones too */
    size_t bytes;
    uint32_t stuck;
    size_t stuck_bytes;
};

/* The most that may come of a bound. */
static inline size_t bounds_spare(size_t max)
{
    return max + max / 2;
}

/* May one more of so many bytes come in? `bytes_max` is at most SIZE_MAX / 4. */
static inline bool bounds_allow(const struct bounds_load *load, uint32_t count_max,
                                size_t bytes_max, size_t bytes)
{
    if (bytes > bytes_max)
        return false;
    if (load->count < count_max && load->bytes <= bytes_max - bytes)
        return true;
    uint32_t moving = load->count - MIN(load->stuck, load->count);
    size_t moving_bytes = load->bytes - MIN(load->stuck_bytes, load->bytes);
    return load->stuck > 0 && load->count < bounds_spare(count_max) && moving < count_max / 2 &&
           load->bytes + bytes <= bounds_spare(bytes_max) && moving_bytes + bytes <= bytes_max / 2;
}

#endif
