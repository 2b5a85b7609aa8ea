/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes wrong, and when: drawn from the run's seed. Each run has a random
 * subset of the allowed troubles at random strengths (swarm).
 */
#include "sim/cluster.h"

static uint32_t pick_node(struct cluster *c)
{
    return (uint32_t)rng_below(&c->rng, c->opt.nodes);
}

static uint64_t in_us(struct cluster *c, uint64_t lo_ms, uint64_t hi_ms)
{
    return sim_now_us(c->sim) + rng_between(&c->rng, lo_ms, hi_ms) * 1000;
}

static void hit_crash(struct cluster *c, enum sim_crash how)
{
    bool all = rng_chance(&c->rng, 1, 8);
    uint32_t one = pick_node(c);
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        if (all || i == one)
            cluster_crash(c, i, how, in_us(c, 10, 3000));
    }
}

static void resume(void *data)
{
    struct cluster_node *n = data;
    if (sim_node_is_paused(n->node))
        sim_node_resume(n->node);
}

static void hit_pause(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[pick_node(c)];
    if (n->store == NULL || sim_node_is_paused(n->node))
        return;
    sim_node_pause(n->node);
    sim_call_at(c->sim, in_us(c, 50, 4000), resume, n);
}

static void heal_net(void *data)
{
    struct cluster *c = data;
    sim_net_heal(c->sim, NULL, NULL);
}

static void hit_partition(struct cluster *c)
{
    struct cluster_node *a = &c->nodes[pick_node(c)];
    struct cluster_node *b = &c->nodes[pick_node(c)];
    bool one_way = rng_chance(&c->rng, 1, 3);
    switch (rng_below(&c->rng, 4)) {
    case 0: /* alone */
        sim_net_partition(c->sim, a->node, NULL, one_way);
        break;
    case 1: /* slow instead of cut */
        sim_net_slow(c->sim, a->node, NULL, rng_between(&c->rng, 1000, 500000));
        break;
    default:
        if (a != b)
            sim_net_partition(c->sim, a->node, b->node, one_way);
        break;
    }
    if (rng_chance(&c->rng, 1, 2))
        sim_call_at(c->sim, in_us(c, 100, 4000), heal_net, c);
}

static void hit_net(struct cluster *c)
{
    sim_net_reset(c->sim, c->nodes[pick_node(c)].node, NULL);
}

static void hit_disk(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[pick_node(c)];
    if (n->store != NULL)
        sim_node_crash_after(n->node, rng_between(&c->rng, 1, 200));
}

/* One of those whose clocks may be wrong: fewer than half. */
static void hit_hours(struct cluster *c)
{
    uint32_t minority = (c->opt.nodes - 1) / 2;
    if (minority == 0)
        return;
    struct cluster_node *n = &c->nodes[rng_below(&c->rng, minority)];
    int64_t hours = (int64_t)rng_between(&c->rng, 1, 20);
    bool is_ahead = rng_chance(&c->rng, 2, 3);
    sim_node_set_wall_skew(n->node, (is_ahead ? hours : -hours) * 3600 * 1000);
}

static void hit_clock(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[pick_node(c)];
    int64_t skew = (int64_t)rng_between(&c->rng, 0, 16000) - 8000;
    sim_node_set_wall_skew(n->node, skew);
}

static void space_back(void *data)
{
    struct cluster_node *n = data;
    sim_disk_set_capacity(sim_node_disk(n->node), SIM_DISK_CAPACITY_DEFAULT);
}

static void hit_space(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[pick_node(c)];
    struct sim_disk *disk = sim_node_disk(n->node);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + rng_below(&c->rng, 1 << 16));
    sim_call_at(c->sim, in_us(c, 200, 5000), space_back, n);
}

static void hit(struct cluster *c, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_KILL:
        hit_crash(c, SIM_CRASH_KILL);
        break;
    case FAULT_POWER:
        hit_crash(c, SIM_CRASH_POWER);
        break;
    case FAULT_PAUSE:
        hit_pause(c);
        break;
    case FAULT_PARTITION:
        hit_partition(c);
        break;
    case FAULT_NET:
        hit_net(c);
        break;
    case FAULT_DISK:
        hit_disk(c);
        break;
    case FAULT_CLOCK:
        hit_clock(c);
        break;
    default:
        hit_space(c);
        break;
    }
}

uint64_t nemesis_step(struct cluster *c)
{
    uint32_t allowed = c->opt.faults & FAULT_ALL;
    if ((c->opt.faults & FAULT_HOURS) && rng_chance(&c->rng, 1, 4))
        hit_hours(c);
    if (allowed != 0) {
        enum fault_kind kind = FAULT_KILL;
        do {
            kind = (enum fault_kind)BIT(rng_below(&c->rng, 8));
        } while (!(allowed & kind));
        hit(c, kind);
    }
    return in_us(c, 20, 2000);
}

void nemesis_heal(struct cluster *c)
{
    struct sim_disk_options calm_disk = {.sync_us = 100};
    struct sim_options calm;
    sim_options_init(&calm);
    sim_set_options(c->sim, &calm);
    sim_fault_stop(c->sim);
    sim_net_heal(c->sim, NULL, NULL);
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        resume(n);
        sim_node_crash_after(n->node, 0);
        if (!(c->opt.faults & FAULT_HOURS)) /* else the others must do */
            sim_node_set_wall_skew(n->node, 0);
        sim_disk_set_options(sim_node_disk(n->node), &calm_disk);
        sim_disk_set_capacity(sim_node_disk(n->node), SIM_DISK_CAPACITY_DEFAULT);
        if (n->store == NULL)
            n->restart_us = sim_now_us(c->sim);
    }
}
