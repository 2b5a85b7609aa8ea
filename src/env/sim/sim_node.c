/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes: birth, death, return, sleep, and the errors of their clocks.
 */
#include <stdlib.h>

#include "env/sim/sim_internal.h"

static void node_boot(struct sim_node *node)
{
    ASSERT(!node->is_up);
    node->env = sim_env_new(node);
    node->is_up = true;
    node->is_dark = false;
    node->fatal[0] = '\0';
    sim_disk_revive(node->disk);
    sim_wires_kick(node->sim);
}

struct sim_node *sim_node_new_on(struct sim *sim, const char *address, struct sim_disk *disk)
{
    ASSERT(sim->node_count < SIM_NODES_MAX);
    ASSERT(disk != NULL);
    for (size_t i = 0; i < sim->node_count; i++)
        ASSERT(strcmp(sim->nodes[i]->address, address) != 0);
    struct sim_node *node = sim_alloc(sizeof *node);
    node->sim = sim;
    node->disk = disk;
    node->address = sim_strdup(address);
    list_init(&node->envs);
    sim->nodes[sim->node_count++] = node;
    node->id = (uint32_t)sim->node_count;
    uint64_t skew_max = sim->options.wall_skew_ms_max;
    if (skew_max > 0)
        node->wall_skew_ms =
            (int64_t)rng_between(&sim->rng_sched, 0, 2 * skew_max) - (int64_t)skew_max;
    node_boot(node);
    return node;
}

struct sim_node *sim_node_new(struct sim *sim, const char *address)
{
    return sim_node_new_on(sim, address, sim_disk_new(sim_draw_seed(sim), &sim->options.disk));
}

void sim_node_free(struct sim_node *node)
{
    ASSERT(!node->is_up);
    LIST_FOREACH(it, &node->envs)
    sim_env_free(list_entry(it, struct sim_env, in_node));
    sim_disk_free(node->disk);
    for (size_t i = 0; i < node->deferred_count; i++)
        sim_item_drop(&node->deferred[i]);
    free(node->deferred);
    free(node->address);
    free(node);
}

struct env *sim_node_env(struct sim_node *node)
{
    return &node->env->env;
}

struct sim_disk *sim_node_disk(struct sim_node *node)
{
    return node->disk;
}

const char *sim_node_address(const struct sim_node *node)
{
    return node->address;
}

struct sim_node *sim_node_of(struct env *env)
{
    ASSERT(env->ops == &sim_env_ops);
    return sim_env_of(env)->node;
}

bool sim_node_is_up(const struct sim_node *node)
{
    return node->is_up;
}

bool sim_node_is_dead(const struct sim_node *node)
{
    return node->is_up && node->env->is_dead;
}

const char *sim_node_fatal_message(const struct sim_node *node)
{
    return node->fatal;
}

/* Give up what was put off for the sleeper. */
static void deferred_drop(struct sim_node *node)
{
    for (size_t i = 0; i < node->deferred_count; i++)
        sim_item_drop(&node->deferred[i]);
    node->deferred_count = 0;
}

void sim_node_crash(struct sim_node *node, enum sim_crash how)
{
    struct sim_env *env = node->env;
    ASSERT(node->sim->running == NULL || node->sim->running != env);
    if (node->is_up) {
        sim_conns_drop(env, how == SIM_CRASH_POWER);
        sim_env_stop(env);
        sim_locks_drop(env);
        env->is_dead = true;
        node->is_up = false;
        node->is_paused = false;
        deferred_drop(node);
    }
    if (how == SIM_CRASH_POWER) {
        node->is_dark = true;
        sim_disk_power_loss(node->disk);
    }
}

void sim_node_restart(struct sim_node *node)
{
    ASSERT(!node->is_up);
    ASSERT(node->env->open_handles == 0); /* its owner has not freed everything */
    node_boot(node);
}

void sim_node_wipe(struct sim_node *node)
{
    struct sim *sim = node->sim;
    sim_node_set_disk(node, sim_disk_new(sim_draw_seed(sim), &sim->options.disk));
}

void sim_node_set_disk(struct sim_node *node, struct sim_disk *disk)
{
    ASSERT(!node->is_up);
    ASSERT(node->env->open_handles == 0);
    for (size_t i = 0; i < SIM_COUNT_DISK_NR; i++)
        node->sim->counts[i] += sim_disk_counts(node->disk)[i];
    sim_disk_free(node->disk);
    node->disk = disk;
}

void sim_node_pause(struct sim_node *node)
{
    if (node->is_up)
        node->is_paused = true;
}

void sim_node_resume(struct sim_node *node)
{
    if (!node->is_paused)
        return;
    struct sim *sim = node->sim;
    node->is_paused = false;
    for (size_t i = 0; i < node->deferred_count; i++) {
        const struct sim_item *item = &node->deferred[i];
        sim_push(sim, 0, item->kind, item->arg, item->target);
    }
    node->deferred_count = 0;
}

bool sim_node_is_paused(const struct sim_node *node)
{
    return node->is_paused;
}

void sim_node_defer(struct sim_node *node, const struct sim_item *item)
{
    ASSERT(node->is_paused);
    node->deferred = sim_grow(node->deferred, &node->deferred_cap, node->deferred_count + 1,
                              sizeof *node->deferred);
    node->deferred[node->deferred_count++] = *item;
}

void sim_node_set_wall_skew(struct sim_node *node, int64_t skew_ms)
{
    node->wall_skew_ms = skew_ms;
}

void sim_node_set_drift(struct sim_node *node, int32_t ppm)
{
    sim_env_set_drift(node->env, ppm);
}

void sim_node_crash_after(struct sim_node *node, uint64_t n)
{
    sim_disk_crash_after(node->disk, n);
}
