/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of a run. First a quorum alone, with whatever is wrong outside of it staying so
 * for ever; then all, when everything has healed.
 */
#include <stdio.h>

#include "consensus/consensus.h"
#include "range/range.h"
#include "sim/scenario.h"

/* ---- does everybody agree? --------------------------------------------------------- */

/* Must this node be there and agree? */
static bool is_wanted(const struct cluster_node *n, bool core_only)
{
    return !n->is_lost && !(core_only && n->is_outside);
}

/* Every node that is wanted runs and all have applied the same. */
static bool is_settled(const struct cluster *c, bool core_only)
{
    uint64_t applied = 0;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        const struct cluster_node *n = &c->nodes[i];
        if (!is_wanted(n, core_only))
            continue;
        if (n->is_wiped)
            return false; /* it has not been refused yet */
        if (n->store == NULL || store_state(n->store) != STORE_RUNNING)
            return false;
        uint64_t at = range_meta(store_range(n->store))->applied_index;
        if (applied != 0 && at != applied)
            return false;
        applied = at;
    }
    return applied != 0;
}

static void compare_states(struct cluster *c, bool core_only)
{
    uint64_t first = 0;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        struct err err = {0};
        uint64_t hash = 0;
        if (!is_wanted(n, core_only))
            continue;
        int rv = range_hash(store_range(n->store), &hash, &err);
        if (n->is_rotten && rv != 0)
            continue; /* nobody had looked there yet */
        if (rv != 0)
            cluster_fail(c, "%s: hash of the state: %s", n->host, err.msg);
        else if (first != 0 && hash != first)
            cluster_fail(c, "%s: its state differs from the others", n->host);
        first = hash;
        sim_hash_add(c->sim, hash);
    }
}

/* Where everybody stands, for the report of a failure. */
static void describe(const struct cluster *c, char *out, size_t size)
{
    size_t at = 0;
    for (uint32_t i = 0; i < c->opt.nodes && at < size; i++) {
        const struct cluster_node *n = &c->nodes[i];
        struct cons_status s = {0};
        if (n->store == NULL || !store_cons_status(n->store, STORE_FIRST_RANGE_ID, &s)) {
            at += (size_t)snprintf(out + at, size - at, " %s %s;", n->host,
                                   n->store == NULL ? "down"
                                                    : store_state_name(store_state(n->store)));
            continue;
        }
        at += (size_t)snprintf(
            out + at, size - at,
            " %s state %d term %llu commit %llu last %llu stored %llu applied %llu/%llu;", n->host,
            (int)s.state, (unsigned long long)s.term, (unsigned long long)s.commit,
            (unsigned long long)s.last_index, (unsigned long long)s.last_stored,
            (unsigned long long)s.applied,
            (unsigned long long)range_meta(store_range(n->store))->applied_index);
    }
}

static bool settle(struct cluster *c, uint64_t limit_us, bool core_only)
{
    char where[CLUSTER_WHY_MAX - 64];
    uint64_t until = sim_now_us(c->sim) + limit_us;
    while (!c->is_failed && !is_settled(c, core_only) && sim_now_us(c->sim) < until)
        cluster_run_until(c, sim_now_us(c->sim) + 100000);
    if (!c->is_failed && !is_settled(c, core_only)) {
        describe(c, where, sizeof where);
        cluster_fail(c, "%s not settled:%s", core_only ? "the core has" : "the cluster has", where);
    }
    if (!c->is_failed)
        compare_states(c, core_only);
    return !c->is_failed;
}

bool cluster_settle(struct cluster *c, uint64_t limit_us)
{
    if (settle(c, limit_us, false))
        scenario_check(c, NULL, AT_END);
    return !c->is_failed;
}

/* ---- the core ----------------------------------------------------------------------- */

enum fate {
    FATE_FINE,
    FATE_DEAD,
    FATE_CUT,
    FATE_DEAF,
    FATE_MUTE,
    FATE_PAUSED,
    FATE_SLOW,
    FATE_SICK
};

static const struct {
    const char *name;
    uint32_t faults; /* any of these must be on in the run; 0: always possible */
} fates[] = {
    [FATE_FINE] = {"fine", 0},
    [FATE_DEAD] = {"dead", FAULT_KILL | FAULT_POWER},
    [FATE_CUT] = {"cut off", FAULT_PARTITION},
    [FATE_DEAF] = {"deaf", FAULT_PARTITION},
    [FATE_MUTE] = {"mute", FAULT_PARTITION},
    [FATE_PAUSED] = {"paused", FAULT_PAUSE},
    [FATE_SLOW] = {"slow", FAULT_PARTITION | FAULT_NET},
    [FATE_SICK] = {"with a sick disk", FAULT_DISK},
};

static enum fate draw_fate(struct cluster *c)
{
    for (int tries = 0; tries < 8; tries++) {
        enum fate fate = (enum fate)rng_between(&c->rng, 1, ARRAY_LEN(fates) - 1);
        if (fates[fate].faults & c->opt.faults)
            return fate;
    }
    return FATE_FINE;
}

static void leave_outside(struct cluster *c, struct cluster_node *n, enum fate fate)
{
    struct sim_disk_options sick = {
        .sync_us = 1000, .slow_sync_ppm = 300000, .slow_sync_us = 700000, .sync_error_ppm = 2000};
    switch (fate) {
    case FATE_FINE:
        break;
    case FATE_DEAD:
        n->is_kept_down = true;
        cluster_crash(c, (uint32_t)(n - c->nodes),
                      c->opt.faults & FAULT_POWER ? SIM_CRASH_POWER : SIM_CRASH_KILL,
                      sim_now_us(c->sim));
        break;
    case FATE_CUT:
        sim_net_partition(c->sim, n->node, NULL, false);
        break;
    case FATE_DEAF:
        sim_net_partition(c->sim, NULL, n->node, true);
        break;
    case FATE_MUTE:
        sim_net_partition(c->sim, n->node, NULL, true);
        break;
    case FATE_PAUSED:
        sim_node_pause(n->node);
        break;
    case FATE_SLOW:
        /* It may lead for ever. What it answers must come before the client takes it for
         * silent (stall_ms), after a round trip to followers. */
        sim_net_slow(c->sim, n->node, NULL, rng_between(&c->rng, 20000, 90000));
        break;
    case FATE_SICK:
        sim_disk_set_options(sim_node_disk(n->node), &sick);
        break;
    }
    if (fate != FATE_FINE)
        cover_add(&c->cover, "core: node outside stayed away", 1);
    cluster_note(c, n, "outside the core: %s", fates[fate].name);
}

/* May it be of the core? Its disk is sound, and its clock is not one of those that are
 * hours off to the end. */
static bool may_be_core(const struct cluster *c, uint32_t i)
{
    const struct cluster_node *n = &c->nodes[i];
    bool is_hours = (c->opt.faults & FAULT_HOURS) && i < (c->opt.nodes - 1) / 2;
    return !n->is_rotten && n->flip_count == 0 && !n->is_wiped && !is_hours;
}

void core_begin(struct cluster *c)
{
    uint32_t able[CLUSTER_NODES_MAX];
    uint32_t count = 0;
    uint32_t quorum = c->opt.nodes / 2 + 1;
    nemesis_heal(c);
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        c->nodes[i].is_outside = true;
        if (may_be_core(c, i))
            able[count++] = i;
    }
    bool is_whole = count < quorum;
    uint32_t size = is_whole                    ? 0
                    : rng_chance(&c->rng, 2, 3) ? quorum
                                                : (uint32_t)rng_between(&c->rng, quorum, count);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t j = i + (uint32_t)rng_below(&c->rng, count - i);
        uint32_t one = able[j];
        able[j] = able[i];
        c->nodes[one].is_outside = false;
    }
    uint32_t outside = 0;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        if (is_whole)
            n->is_outside = !may_be_core(c, i);
        if (!n->is_outside || is_whole)
            continue;
        leave_outside(c, n, draw_fate(c));
        outside++;
    }
    if (outside == 0)
        cover_add(&c->cover, "core: all in", 1);
}

bool core_judge(struct cluster *c, uint64_t limit_us)
{
    return settle(c, limit_us, true);
}
