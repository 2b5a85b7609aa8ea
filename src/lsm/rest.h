/* SPDX-License-Identifier: Apache-2.0
 *
 * rest — pauses between the slices of a flush or a compaction, so that what nobody waits for
 * goes to the disk evenly. Written in one go, it stands before the log's syncs for as long as
 * it takes, on all replicas at the same time: their memtables are full together.
 *
 *   rest_begin_slice() ─▶ the slice, on its lane ─▶ rest_take(us) ─▶ go_on(): the next slice
 *
 * Threads    the loop's.
 */
#ifndef LSM_REST_H_
#define LSM_REST_H_

#include "env/env.h"

/* Bytes of input of a slice that rests afterwards: what it writes is a piece or two. */
enum { REST_SLICE = 256 << 10 };

struct rest {
    /* private */
    struct env *env;
    struct env_timer timer;
    bool (*is_urgent)(const struct rest *rest); /* there is no time to rest now */
    void (*go_on)(struct rest *rest);
    uint64_t slice_us, slice_bytes; /* when it began, and what the build had taken in then */
    uint64_t left_us;               /* of the rest */
};

void rest_init(struct rest *rest, struct env *env, bool (*is_urgent)(const struct rest *rest),
               void (*go_on)(struct rest *rest));

/* A slice begins; so much of its input was read before. */
void rest_begin_slice(struct rest *rest, uint64_t bytes_in);

/* What it has taken by now: time, and of its input. */
uint64_t rest_slice_us(const struct rest *rest);
uint64_t rest_slice_bytes(const struct rest *rest, uint64_t bytes_in);

/* Rest for `us` less what the slice took, and go on then: from here if that is now. Each
 * tenth of a second it looks whether that has become urgent. */
void rest_take(struct rest *rest, uint64_t us);

/* Is it resting? rest_stop() ends that, and go_on() is not called. */
bool rest_is_on(const struct rest *rest);
void rest_stop(struct rest *rest);

#endif
