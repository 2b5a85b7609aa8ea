/* SPDX-License-Identifier: Apache-2.0
 *
 * large — how much of large values a store copies before others are heard.
 *
 * The loop copies LARGE_TURN_BYTES of them in a turn, and as much is copied off it at a time. Those
 * who want little are heard alone between two such turns, while they ask. Ranges that have more
 * to read than a turn copies go on in the next one, in line: who had his part goes behind the
 * others, and nobody is before the first.
 *
 * Units      bytes of values, µs of the loop's clock.
 * Ownership  the store's; a replica is in the line by its `in_short`.
 * Threads    loop only.
 * Invariants while there is a line, its first one is woken, or the timer of the next turn runs, or
 *            the end of what is copied off the loop starts that.
 */
#ifndef STORE_LARGE_H_
#define STORE_LARGE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "env/env.h"

enum { LARGE_TURN_BYTES = 256 << 10 };

struct replica;
struct store;

struct large_reads {
    uint64_t answered;  /* bytes of large answers, ever */
    uint64_t until;     /* … up to which this turn goes … */
    uint64_t turn_us;   /* … which began then */
    uint64_t opened_us; /* since then nobody had to wait for a next turn, or it is that one … */
    uint64_t others;    /* … when so many bytes of small ones had been answered */
    uint64_t took_us;   /* the last turn with large ones */
    uint64_t batch;     /* bytes that were begun to be copied off the loop, together … */
    uint64_t aside;     /* … and are not done … */
    uint32_t in_lane;   /* reads that are off the loop, of any kind */
    uint64_t batch_us;  /* … since then … */
    uint64_t batch_others; /* … when so many bytes of small ones had been answered */
    uint64_t paused_us;    /* it is the others' turn alone until then at most; 0: it is not */
    struct list short_of;  /* replica.in_short: they go on in … */
    struct env_timer next; /* … the next one */
};

void large_init(struct store *store);

/* Has this turn copied as many bytes of large values as it may? */
bool large_is_used_up(struct store *store);

/* Is no other range in line before this one? */
bool large_is_turn_of(const struct replica *r);

/* `taken` bytes of what it had to read were, just now. It stays in line, or leaves it, and who is
 * first goes on. */
void large_settle(struct replica *r, size_t taken);

/* One is read off the loop, and done; cost 0: nobody knew how large it is. */
void large_begin_aside(struct store *store, size_t cost);
void large_end_aside(struct store *store, size_t cost);

#endif
