/* SPDX-License-Identifier: Apache-2.0
 *
 * lane — which reads are read from files next: those of what is not in memory go to the threads of
 * ENV_LANE_READ, which take what they get in the order in which it comes. So few are given to
 * them at a time, and the others wait here, each client behind itself (fair.h).
 *
 *   not in memory ─▶ a thread is free for it ─▶ ENV_LANE_READ ─▶ answered
 *        │                                            └─ larger than it seemed ─▶ waits, as a large
 * one └─▶ waits: small or large ─▶ its turn ─▶ as at the beginning
 *
 * Two lines. Small: gets, of which nothing larger than LANE_SMALL_BYTES is read; large: those whose
 * values are known to be larger (the reference to a large value tells its size before it is read),
 * and scans. Large ones have one thread fewer than there are, so that a small one never
 * waits for all the large ones that others have asked for.
 *
 * Units      bytes of values.
 * Ownership  part of the store. A read that waits is in its replica's `cold`, too.
 * Threads    loop.
 * Invariants (C1) what waits is in one of the lines and in `cold` of its replica.
 *            (C2) no more are under way than their line allows.
 * Limits     LANE_SMALL_MAX small ones under way, store_options.lane_large_max large ones: of no
 *            more than that are values in memory that nobody has been sent. Those that wait are
 *            bounded as all reads are (queue_reads_max).
 */
#ifndef STORE_LANE_H_
#define STORE_LANE_H_

#include "env/env.h"
#include "store/fair.h"

struct store;
struct replica;
struct read_op;

enum {
    LANE_SMALL_BYTES = 64 << 10,
    LANE_SMALL_MAX = 16, /* under way */
    LANE_TURN_MAX = 64,  /* looked at in a round: they may be in memory by now */
    LANE_UNKNOWN = 4096, /* bytes that a read is taken to cost of which nothing is known */
};

enum lane_line_kind { LANE_SMALL, LANE_LARGE, LANE_NR };

struct lane_line {
    struct fair waiting; /* read_op.in_backlog */
    uint32_t under_way;
    uint32_t most;
};

struct lane {
    struct lane_line lines[LANE_NR];
    uint64_t expired_us; /* when those that wait were last looked through */
    struct env_task task;
};

void lane_init(struct store *store);

/* Nothing waits. */
void lane_free(struct store *store);

/* Tell a read that is about to start what of it may go to the threads now. */
void lane_bound(struct read_op *op);

/* It went to them; it came back. */
void lane_began(struct read_op *op);
void lane_ended(struct read_op *op);

/* It was not let go, or turned out to be larger (read.is_cold): it waits for its turn. ERR_NOMEM:
 * it does not. */
int lane_wait(struct read_op *op);

/* It waits no longer. */
void lane_leave(struct read_op *op);

/* Look, now and then, for those whose time is over or runs out. */
void lane_tick(struct store *store, uint64_t now_us);

void lane_check(const struct store *store);

#endif
