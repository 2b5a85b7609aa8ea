/* SPDX-License-Identifier: Apache-2.0
 *
 * The two tables. To add to them: docs/SIMULATION.md, "A scenario in ten minutes".
 */
#include "sim/scenario.h"

#include <stdio.h>

/* clang-format off */
static const struct action actions[] = {
    /* processes */
    {"kill",             FAULT_KILL,      6, hit_kill},
    {"kill all",         FAULT_KILL,      1, hit_kill_all},
    {"kill, then power", FAULT_POWER,     2, hit_kill_then_power},
    {"power",            FAULT_POWER,     6, hit_power},
    {"power all",        FAULT_POWER,     1, hit_power_all},
    {"pause",            FAULT_PAUSE,     4, hit_pause},
    {"pause long",       FAULT_PAUSE,     1, hit_pause_long},
    /* network */
    {"isolate",          FAULT_PARTITION, 3, hit_isolate},
    {"isolate leader",   FAULT_PARTITION, 3, hit_isolate_leader},
    {"leader, client",   FAULT_PARTITION, 3, hit_leader_and_client},
    {"deaf",             FAULT_PARTITION, 2, hit_deaf},
    {"mute",             FAULT_PARTITION, 2, hit_mute},
    {"cut pair",         FAULT_PARTITION, 3, hit_cut_pair},
    {"halves",           FAULT_PARTITION, 3, hit_halves},
    {"bridge",           FAULT_PARTITION, 2, hit_bridge},
    {"ring",             FAULT_PARTITION, 2, hit_ring},
    {"flapping",         FAULT_PARTITION, 1, hit_flapping},
    {"swizzle",          FAULT_PARTITION, 1, hit_swizzle},
    {"slow links",       FAULT_PARTITION, 2, hit_slow_links},
    {"client cut",       FAULT_PARTITION, 1, hit_client_cut},
    {"reset",            FAULT_NET,       2, hit_reset},
    {"half-open",        FAULT_NET,       2, hit_half_open},
    /* disks */
    {"die at a call",    FAULT_DISK,      3, hit_disk_call},
    {"slow disk",        FAULT_DISK,      1, hit_slow_disk},
    {"failed sync",      FAULT_DISK,      2, hit_failed_sync},
    {"full disk",        FAULT_SPACE,     1, hit_space},
    {"flip a bit",       FAULT_ROT,       3, hit_flip},
    {"wipe",             FAULT_ROT,       1, hit_wipe},
    /* clocks */
    {"skew",             FAULT_CLOCK,     2, hit_skew},
    {"jumps",            FAULT_CLOCK,     1, hit_jumps},
    {"drift",            FAULT_CLOCK,     1, hit_drift},
    {"older clock",      FAULT_CLOCK,     1, hit_old_clock},
    {"hours off",        FAULT_HOURS,     1, hit_hours},
    /* operators */
    {"transfer",         FAULT_ADMIN,     4, hit_transfer},
    {"leader chase",     FAULT_ADMIN,     1, hit_leader_chase},
    {"flush",            FAULT_ADMIN,     2, hit_flush},
    {"range check",      FAULT_ADMIN,     2, hit_check},
    {"drain",            FAULT_ADMIN,     2, hit_drain},
};

static const struct invariant invariants[] = {
    {"one leader a term",                     EACH_TURN,    holds_one_leader},
    {"one history",                           EACH_TURN,    holds_one_history},
    {"no clock of a minority sets range time", EACH_TURN,   holds_range_time},
    {"a spoiled store never serves again",    EACH_TURN,    holds_spoiled_silence},
    {"every room's own",                      NOW_AND_THEN, holds_rooms},
    {"every queue has its bound",             NOW_AND_THEN, holds_bounds},
    {"every byte at rest is sound",           AT_END,       holds_sound_files},
};
/* clang-format on */

void scenario_check(struct cluster *c, struct cluster_node *n, enum invariant_when when)
{
    if (n == NULL) {
        for (uint32_t i = 0; i < c->opt.nodes; i++)
            scenario_check(c, &c->nodes[i], when);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(invariants); i++) {
        const struct invariant *v = &invariants[i];
        if (v->when != when || !cluster_node_runs(n) || c->is_failed)
            continue;
        v->check(c, n);
        if (!c->is_failed)
            continue;
        char what[CLUSTER_WHY_MAX];
        memcpy(what, c->why, sizeof what);
        snprintf(c->why, sizeof c->why, "%s: %.*s", v->name, CLUSTER_WHY_MAX - 100, what);
    }
}

const struct action *scenario_draw(struct cluster *c, uint32_t faults)
{
    uint32_t bits[32];
    uint32_t count = 0;
    uint32_t sum = 0;
    /* First the fault, so that a fault with many actions is not drawn more often. */
    for (uint32_t bit = 0; bit < 32; bit++)
        if (faults & BIT(bit))
            bits[count++] = (uint32_t)BIT(bit);
    ASSERT(count > 0);
    uint32_t fault = bits[rng_below(&c->rng, count)];
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        sum += (uint32_t)actions[i].fault == fault ? actions[i].weight : 0;
    ASSERT(sum > 0);
    uint64_t dice = rng_below(&c->rng, sum);
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if ((uint32_t)actions[i].fault != fault)
            continue;
        if (dice < actions[i].weight)
            return &actions[i];
        dice -= actions[i].weight;
    }
    ASSERT(!"the weights were summed up");
    return NULL;
}

const struct action *scenario_actions(size_t *ret_count)
{
    *ret_count = ARRAY_LEN(actions);
    return actions;
}
