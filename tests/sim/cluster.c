/* SPDX-License-Identifier: Apache-2.0
 *
 * Lives of the nodes: up, down, dead, spoiled; and time, with all that is checked in it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "range/range.h"
#include "sim/scenario.h"

void cluster_fail(struct cluster *c, const char *fmt, ...)
{
    if (c->is_failed)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, args);
    va_end(args);
    c->is_failed = true;
}

/* ---- stores ---------------------------------------------------------------------- */

void cluster_note(struct cluster *c, const struct cluster_node *n, const char *fmt, ...)
{
    char text[TRACE_LINE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    trace_line(&c->opt.trace, sim_now_us(c->sim), n == NULL ? "-" : n->host, "%s", text);
}

void cluster_down(struct cluster_node *n, enum sim_crash how, uint64_t restart_us)
{
    reach_down(n->cluster, (uint32_t)(n - n->cluster->nodes));
    if (n->store != NULL)
        cluster_count_store(n->cluster, n);
    sim_node_crash(n->node, how);
    store_free(n->store);
    n->store = NULL;
    n->restart_us = restart_us;
    n->power_us = 0;
    n->is_draining = n->is_drained = false;
}

/* Its disk was spoiled, and it has found out: from here on it must not serve. */
static void node_lost(struct cluster_node *n, const char *how)
{
    struct cluster *c = n->cluster;
    if (!n->is_lost)
        cluster_note(c, n, "lost: %s", how);
    if (!n->is_rotten && !n->is_wiped)
        cluster_fail(c, "%s thinks its sound disk is damaged: %s", n->host, how);
    n->is_lost = true;
}

static bool is_device_error(int rv)
{
    return rv == ERR_IO || rv == ERR_NO_SPACE || rv == ERR_NOMEM;
}

static void open_failed(struct cluster_node *n, int rv, const struct err *err)
{
    struct cluster *c = n->cluster;
    uint64_t now = sim_now_us(c->sim);
    cluster_note(c, n, "open failed: %s %s", err->msg, sim_node_fatal_message(n->node));
    cover_add(&c->cover, "life: open failed", 1);
    n->opens_failed++;
    cluster_down(n, SIM_CRASH_KILL, now + rng_between(&c->rng, 100000, 2000000));
    bool is_clock = rv == ERR_STATE && (c->opt.faults & (FAULT_CLOCK | FAULT_HOURS));
    if (n->is_rotten && rv != 0 && !is_device_error(rv) && !is_clock)
        node_lost(n, err->msg);
    if (n->is_rotten || rv == 0 || is_clock)
        return;
    if (!is_device_error(rv) || !(c->opt.faults & (FAULT_DISK | FAULT_SPACE)))
        cluster_fail(c, "%s cannot open: %s", n->host, err->msg);
}

static void flip_bits(struct cluster_node *n)
{
    struct cluster *c = n->cluster;
    for (; n->flip_count > 0; n->flip_count--) {
        const struct cluster_flip *f = &n->flips[n->flip_count - 1];
        if (sim_disk_flip_bit(sim_node_disk(n->node), f->path, f->bit) != 0)
            continue;
        n->is_rotten = true;
        cluster_note(c, n, "bit %llu of %s flipped", (unsigned long long)f->bit, f->path);
    }
}

static void node_up(struct cluster_node *n)
{
    struct cluster *c = n->cluster;
    struct store_options options;
    struct err err = {0};
    ASSERT(n->store == NULL);
    flip_bits(n);
    sim_node_restart(n->node);
    cluster_node_options(n, &options);
    int rv = store_open(&n->store, sim_node_env(n->node), &options, &err);
    if (rv == 0 && !sim_node_is_dead(n->node)) {
        n->restart_us = 0;
        cluster_note(c, n, "up");
    } else {
        open_failed(n, rv, &err);
    }
}

bool cluster_crash(struct cluster *c, uint32_t i, enum sim_crash how, uint64_t restart_us)
{
    struct cluster_node *n = &c->nodes[i];
    ASSERT(i < c->opt.nodes);
    if (n->store == NULL)
        return false;
    c->crashes++;
    cluster_note(c, n, "down: %s, for %llu ms", how == SIM_CRASH_KILL ? "killed" : "power lost",
                 (unsigned long long)((restart_us - sim_now_us(c->sim)) / 1000));
    cluster_down(n, how, restart_us);
    return true;
}

/* It died of its own: a failed sync, a crash point, or somebody refused it. */
static void node_died(struct cluster_node *n)
{
    struct cluster *c = n->cluster;
    uint64_t now = sim_now_us(c->sim);
    const char *message = sim_node_fatal_message(n->node);
    cluster_note(c, n, "died: %s", message);
    cover_add(&c->cover, "life: died of its own", 1);
    if (n->is_wiped && strstr(message, "refuses us") != NULL)
        node_lost(n, message);
    else if (!n->is_rotten && n->power_us == 0 && !(c->opt.faults & (FAULT_DISK | FAULT_SPACE)))
        cluster_fail(c, "%s died without a disk fault: %s", n->host, message);
    bool is_power = n->power_us != 0 || rng_chance(&c->rng, 1, 2);
    uint64_t until = MAX(n->power_us, now + rng_between(&c->rng, 100000, 2000000));
    cluster_crash(c, (uint32_t)(n - c->nodes), is_power ? SIM_CRASH_POWER : SIM_CRASH_KILL, until);
}

/* A node whose turn it was: is it dead, drained, damaged? */
static void tend_node(struct cluster_node *n)
{
    struct cluster *c = n->cluster;
    if (n->store == NULL)
        return;
    if (sim_node_is_dead(n->node)) {
        node_died(n);
        return;
    }
    if (store_state(n->store) == STORE_DAMAGED && !n->is_lost)
        node_lost(n, "damaged");
    scenario_check(c, n, EACH_TURN);
    if (!n->is_drained)
        return;
    cluster_note(c, n, "drained");
    cover_add(&c->cover, "admin: drained", 1);
    cluster_down(n, SIM_CRASH_KILL, sim_now_us(c->sim) + rng_between(&c->rng, 1000, 500000));
}

/* All of them, and those whose time to start has come; returns when the next one's will. */
static uint64_t tend_nodes(struct cluster *c)
{
    uint64_t now = sim_now_us(c->sim);
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        tend_node(n);
        if (n->store == NULL && !n->is_kept_down && n->restart_us <= now)
            node_up(n);
        if (n->store == NULL && !n->is_kept_down)
            next = MIN(next, n->restart_us);
    }
    return next;
}

static struct cluster_node *node_of(struct cluster *c, const struct sim_node *node)
{
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        if (c->nodes[i].node == node)
            return &c->nodes[i];
    return NULL;
}

/* One event. What a node is changes in its own turns, or by what the world does to it. */
static void step(struct cluster *c, uint64_t until, uint64_t *next)
{
    if (!sim_step(c->sim)) {
        sim_run_until(c->sim, MIN(until, *next));
        return;
    }
    struct sim_node *stepped = sim_stepped(c->sim);
    struct cluster_node *n = stepped == NULL ? NULL : node_of(c, stepped);
    if (n != NULL)
        tend_node(n);
    if (c->new_leader != 0 && c->strike_percent != 0) {
        nemesis_on_election(c, c->new_leader - 1);
        *next = tend_nodes(c);
    }
    c->new_leader = 0;
    if (stepped == NULL || (n != NULL && n->store == NULL))
        *next = tend_nodes(c);
}

bool cluster_run_until(struct cluster *c, uint64_t time_us)
{
    while (!c->is_failed && sim_now_us(c->sim) < time_us) {
        uint64_t next = tend_nodes(c);
        for (int steps = 0; steps < 4096 && !c->is_failed; steps++) {
            uint64_t now = sim_now_us(c->sim);
            if (now >= time_us)
                break;
            if (now >= next)
                next = tend_nodes(c);
            step(c, time_us, &next);
            reach_look(c);
        }
        scenario_check(c, NULL, NOW_AND_THEN);
        cluster_compare_digests(c);
    }
    return !c->is_failed;
}
