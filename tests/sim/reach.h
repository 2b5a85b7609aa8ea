/* SPDX-License-Identifier: Apache-2.0
 *
 * reach — since when, and when before, a client could reach a majority that held together.
 *
 * A settled majority is a set of stores that serve, each with a way to and from each other
 * one and the client, while no store outside of it has both ways to a majority (such a one
 * may lead, where the client cannot ask it). A stretch ends when one of its members drops
 * out, though others take its place at that moment: who leads may have to be found anew; and
 * when messages between stores are lost on the way, more than a few.
 *
 *   reach_look() every REACH_LOOK_US ─▶ stretches ─▶ reach_longest(), asked by the workload
 *
 * The rule (client.md, exactly once): a plain client is told `undetermined` only if it had
 * no settled majority for REACH_ENOUGH_US on end within the deadline.
 */
#ifndef TESTS_SIM_REACH_H_
#define TESTS_SIM_REACH_H_

#include "base/base.h"

struct cluster;

enum {
    REACH_CLIENTS_MAX = 4,
    REACH_STRETCHES_MAX = 64,
    REACH_LOOK_US = 20 * 1000,
    REACH_CLOCK_MS_MAX = 4000, /* off by more, it may count as wrong */
    REACH_DROPS_MAX = 10,
    REACH_SHORT_US = 500 * 1000,  /* shorter ones are not remembered */
    REACH_ENOUGH_US = 5000 * 1000 /* to notice, elect twice, be found, and answer */
};

struct reach_stretch {
    uint64_t from_us;
    uint64_t to_us;
};

/* What one client could reach. */
struct reach_client {
    uint32_t members; /* of the present stretch, as bits; 0: there is none */
    uint64_t from_us;
    uint64_t drops;                                 /* messages lost in this run until then */
    struct reach_stretch past[REACH_STRETCHES_MAX]; /* a ring */
    uint32_t past_count;
};

struct reach {
    struct reach_client clients[REACH_CLIENTS_MAX];
    uint64_t look_us; /* the next time */
    uint32_t fallen;  /* nodes that went down since the last look, as bits */
};

/* Time has passed: look, if it is due. */
void reach_look(struct cluster *c);

/* Node `i` goes down now, however soon it comes back. */
void reach_down(struct cluster *c, uint32_t i);

/* The longest that client `i` had a settled majority on end in [from_us, now]. */
uint64_t reach_longest(const struct cluster *c, uint32_t i, uint64_t from_us);

#endif
