/* SPDX-License-Identifier: Apache-2.0
 *
 * throttle — how fast this store may send and take in snapshots, by what that does to those who
 * write meanwhile. Judged are the syncs of the log, as the loop sees them: they wait for the disk
 * that snapshots are staged on, and for the processors and the loop that handle them.
 *
 *   at rest   rest_us follows what all but one sync in THROTTLE_ONE_IN take at most
 *   moving    a sync is late if it takes longer than throttle_late_us(), half as much again
 *     more than one in THROTTLE_ONE_IN of them is late ─▶ the rate falls by a quarter or a half
 *     fewer are, or nobody writes ─▶ it grows: by much far below where it fell last, else by little
 *
 * It stays between a floor, so that every move comes to its end, and the rate of the
 * configuration. The floor is higher while a range is in need: what restores copies is not to
 * wait long for those who write. At the floor nothing can be done about late syncs: if they stay,
 * they slowly become what is normal.
 *
 * Units   microseconds; bytes a second. A tick is a quarter of a second.
 * Threads pure.
 */
#ifndef STORE_THROTTLE_H_
#define STORE_THROTTLE_H_

#include "base/base.h"

enum {
    THROTTLE_ONE_IN = 50,
    THROTTLE_REST_MIN_US = 1000, /* nobody minds a disk that is slower than that allows */
    THROTTLE_CALM_TICKS = 8,     /* nothing is moved for so long: this is rest */
    THROTTLE_FLOOR_PART = 8,     /* of the greatest rate … */
    THROTTLE_NEED_PART = 4,      /* … while a range is in need */
    THROTTLE_FLOOR_MIN = 1 << 20,
    THROTTLE_LAG_US = 10000, /* what a timer that fires late may catch up with */
};

struct throttle {
    uint64_t most;    /* bytes a second, by configuration */
    uint64_t rate;    /* … now */
    uint64_t knee;    /* … when syncs were late last; 0: never */
    uint64_t rest_us; /* 0: nothing is known yet */
    int64_t score;    /* late syncs weigh against those in time; above 0: too many are late */
    uint32_t calm;    /* ticks since anything was moved, THROTTLE_CALM_TICKS at most */
};

/* What happened in a tick. */
struct throttle_tick {
    uint64_t count;  /* syncs … */
    uint64_t late;   /* … that took longer than throttle_late_us() had said */
    uint64_t sum_us; /* all of them */
    bool is_moving;  /* bytes of snapshots were sent or taken in */
    bool is_needed;  /* … for a range in need */
};

void throttle_init(struct throttle *t, uint64_t most);

/* A tick is over. */
void throttle_note(struct throttle *t, const struct throttle_tick *tick);

/* What takes longer in the next tick is late. */
uint64_t throttle_late_us(const struct throttle *t);

/* The least that `rate` may be. */
uint64_t throttle_floor(const struct throttle *t, bool is_needed);

/* `bytes` go now, behind what has its time until `free_us`: when that is over. */
uint64_t throttle_take(const struct throttle *t, uint64_t free_us, uint64_t now_us, size_t bytes);

#endif
