/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pace.h"

/* In one tick `normal` falls by a share of the difference, and grows by a share of itself:
 * however far off a few ticks are, they do not become normal before they are noticed. */
enum { FALL = 16, GROW = 64, GROW_SLOWLY = 1024 };

uint64_t pace_limit_us(const struct pace *pace)
{
    uint64_t limit_us = pace->normal_us * PACE_FACTOR;
    return MAX(limit_us, (uint64_t)PACE_LIMIT_MIN_US);
}

static uint32_t count_over(const struct pace *pace, uint64_t limit_us)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < PACE_TICKS; i++)
        n += pace->worst_us[i] > limit_us;
    return n;
}

static void follow(struct pace *pace, uint64_t worst_us)
{
    bool is_over = worst_us > pace_limit_us(pace);
    if (worst_us == 0)
        return;
    if (pace->normal_us == 0 && !is_over) {
        pace->normal_us = worst_us;
    } else if (worst_us <= pace->normal_us) {
        pace->normal_us -= (pace->normal_us - worst_us) / FALL;
    } else {
        uint64_t most = pace->normal_us / (pace->is_slow || is_over ? GROW_SLOWLY : GROW);
        pace->normal_us += MIN(worst_us - pace->normal_us, most + 1);
    }
}

bool pace_note(struct pace *pace, uint64_t worst_us)
{
    bool was_slow = pace->is_slow;
    pace->worst_us[pace->at] = worst_us;
    pace->at = (pace->at + 1) % PACE_TICKS;
    uint64_t limit_us = pace_limit_us(pace);
    if (was_slow)
        pace->is_slow = count_over(pace, limit_us / 2) > 0;
    else
        pace->is_slow = count_over(pace, limit_us) >= PACE_SLOW_TICKS;
    follow(pace, worst_us);
    return pace->is_slow != was_slow;
}
