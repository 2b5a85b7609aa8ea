/* SPDX-License-Identifier: Apache-2.0
 *
 * scenario — what can happen to a cluster and what must hold: one table of actions, one
 * of invariants (scenario.c). A protocol that Holdfast learns adds its rows there, and
 * its functions in a file beside nemesis.c. docs/SIMULATION.md has a worked example.
 *
 *   nemesis_step() ─▶ draws one of the actions whose fault is on ─▶ run(c)
 *   a node's turn ended ─▶ every EACH_TURN invariant of that node
 *   every few thousand events ─▶ every NOW_AND_THEN one of every node
 *   the run is over, all is healed ─▶ every AT_END one of every node
 *
 * Draw from c->rng alone. An invariant that is broken calls cluster_fail().
 */
#ifndef TESTS_SIM_SCENARIO_H_
#define TESTS_SIM_SCENARIO_H_

#include "sim/cluster.h"

struct action {
    const char *name;               /* for the trace, and counted as "did <name>" */
    enum fault_kind fault;          /* drawn only in runs that have this fault */
    uint32_t weight;                /* against the other actions of the same fault */
    bool (*run)(struct cluster *c); /* false: there was nothing to do it to */
};

enum invariant_when { EACH_TURN, NOW_AND_THEN, AT_END };

struct invariant {
    const char *name; /* what must hold, as a failure names it */
    enum invariant_when when;
    void (*check)(struct cluster *c, struct cluster_node *n); /* of a node that runs */
};

/* Every row whose time has come, of `n` or, if that is NULL, of all nodes that run. A
 * failure is given the row's name. */
void scenario_check(struct cluster *c, struct cluster_node *n, enum invariant_when when);

/* One action, among those whose fault is in `faults` (not 0). */
const struct action *scenario_draw(struct cluster *c, uint32_t faults);

/* All actions and how many; for listings. */
const struct action *scenario_actions(size_t *ret_count);

/* ---- what actions are made of (nemesis.c) ------------------------------------------ */

struct cluster_node *pick_node(struct cluster *c);

/* A point of time between `lo_ms` and `hi_ms` from now. */
uint64_t in_us(struct cluster *c, uint64_t lo_ms, uint64_t hi_ms);

/* How long a trouble of this run lasts at most, ms: where they come fast, each is short. */
uint64_t span_ms(const struct cluster *c);

/* ---- actions (nemesis*.c) ------------------------------------------------------------ */

bool hit_kill(struct cluster *c);
bool hit_kill_all(struct cluster *c);
bool hit_power(struct cluster *c);
bool hit_power_all(struct cluster *c);
bool hit_kill_then_power(struct cluster *c);
bool hit_old_clock(struct cluster *c);
bool hit_pause(struct cluster *c);
bool hit_pause_long(struct cluster *c);

bool hit_isolate(struct cluster *c);
bool hit_isolate_leader(struct cluster *c);
bool hit_leader_and_client(struct cluster *c);
bool hit_deaf(struct cluster *c);
bool hit_mute(struct cluster *c);
bool hit_cut_pair(struct cluster *c);
bool hit_halves(struct cluster *c);
bool hit_bridge(struct cluster *c);
bool hit_ring(struct cluster *c);
bool hit_flapping(struct cluster *c);
bool hit_swizzle(struct cluster *c);
bool hit_slow_links(struct cluster *c);
bool hit_client_cut(struct cluster *c);
bool hit_reset(struct cluster *c);
bool hit_half_open(struct cluster *c);

bool hit_disk_call(struct cluster *c);
bool hit_slow_disk(struct cluster *c);
bool hit_failed_sync(struct cluster *c);
bool hit_space(struct cluster *c);
bool hit_flip(struct cluster *c);
bool hit_wipe(struct cluster *c);

bool hit_skew(struct cluster *c);
bool hit_jumps(struct cluster *c);
bool hit_drift(struct cluster *c);
bool hit_hours(struct cluster *c);

bool hit_transfer(struct cluster *c);
bool hit_flush(struct cluster *c);
bool hit_check(struct cluster *c);
bool hit_drain(struct cluster *c);
bool hit_leader_chase(struct cluster *c);

/* ---- invariants (invariants.c) --------------------------------------------------------- */

void holds_one_leader(struct cluster *c, struct cluster_node *n);
void holds_one_history(struct cluster *c, struct cluster_node *n);
void holds_range_time(struct cluster *c, struct cluster_node *n);
void holds_spoiled_silence(struct cluster *c, struct cluster_node *n);
void holds_rooms(struct cluster *c, struct cluster_node *n);
void holds_bounds(struct cluster *c, struct cluster_node *n);
void holds_sound_files(struct cluster *c, struct cluster_node *n);

#endif
