/* SPDX-License-Identifier: Apache-2.0
 *
 * The world's clock and queue. A step takes the next item; items of the same node
 * at the same time may join its turn, as input that is ready together does in a
 * real loop; then the turn's tasks run.
 */
#include "env/sim/sim.h"

#include <stdlib.h>

#include "env/sim/sim_internal.h"

static const char *const event_names[SIM_EVENT_NR] = {
    [SIM_EVENT_NONE] = "none",         [SIM_EVENT_TIMER] = "timer",
    [SIM_EVENT_TASK] = "task",         [SIM_EVENT_EXECUTE] = "execute",
    [SIM_EVENT_COMPLETE] = "complete", [SIM_EVENT_ACCEPT] = "accept",
    [SIM_EVENT_OPEN] = "open",         [SIM_EVENT_READ] = "read",
    [SIM_EVENT_DRAIN] = "drain",       [SIM_EVENT_CLOSE] = "close",
    [SIM_EVENT_NET] = "net",           [SIM_EVENT_CALL] = "call",
    [SIM_EVENT_FATAL] = "fatal",
};

const char *sim_event_name(enum sim_event_kind kind)
{
    ASSERT(kind < SIM_EVENT_NR);
    return event_names[kind];
}

struct sim *sim_new(const struct sim_options *options, uint64_t seed)
{
    struct sim *sim = sim_alloc(sizeof *sim);
    if (options != NULL)
        sim->options = *options;
    else
        sim_options_init(&sim->options);
    sim->seed = seed;
    sim->hash = seed;
    sim->next_wire_id = 1;
    rng_init(&sim->rng, sim_draw_seed(sim));
    rng_init(&sim->rng_sched, sim_draw_seed(sim));
    rng_init(&sim->rng_net, sim_draw_seed(sim));
    rng_init(&sim->rng_fault, sim_draw_seed(sim));
    list_init(&sim->wires);
    return sim;
}

void sim_free(struct sim *sim)
{
    if (sim == NULL)
        return;
    ASSERT(!sim->is_stepping);
    for (size_t i = 0; i < sim->node_count; i++)
        sim_node_crash(sim->nodes[i], SIM_CRASH_KILL);
    struct sim_item item;
    while (sim_queue_pop(&sim->queue, &item))
        sim_item_drop(&item);
    sim_queue_fini(&sim->queue);
    for (size_t i = 0; i < sim->node_count; i++)
        sim_node_free(sim->nodes[i]);
    ASSERT(list_is_empty(&sim->wires));
    sim_sites_free(sim);
    free(sim);
}

void sim_set_options(struct sim *sim, const struct sim_options *options)
{
    sim->options = *options;
}

const struct sim_options *sim_get_options(const struct sim *sim)
{
    return &sim->options;
}

uint64_t sim_now_us(const struct sim *sim)
{
    return sim->now_us;
}

uint64_t sim_seed(const struct sim *sim)
{
    return sim->seed;
}

struct rng *sim_rng(struct sim *sim)
{
    return &sim->rng;
}

uint64_t sim_events(const struct sim *sim)
{
    return sim->events;
}

uint64_t sim_hash(const struct sim *sim)
{
    return sim->hash;
}

const char *sim_count_name(enum sim_count count)
{
    static const char *const names[SIM_COUNT_NR] = {
        [SIM_COUNT_READ_ERROR] = "read error",
        [SIM_COUNT_WRITE_ERROR] = "write error",
        [SIM_COUNT_SYNC_ERROR] = "sync error",
        [SIM_COUNT_SLOW_SYNC] = "slow sync",
        [SIM_COUNT_NO_SPACE] = "no space",
        [SIM_COUNT_CRASH_POINT] = "death at a disk call",
        [SIM_COUNT_TORN_CHUNK] = "torn page",
        [SIM_COUNT_LOST_CHUNK] = "lost page",
        [SIM_COUNT_LOST_NAME] = "lost name",
        [SIM_COUNT_EARLY_WRITE] = "early write-back",
        [SIM_COUNT_FLIP] = "flipped bit",
        [SIM_COUNT_SPIKE] = "spike of delay",
        [SIM_COUNT_SPLIT_READ] = "split read",
        [SIM_COUNT_RESET] = "reset",
        [SIM_COUNT_RESET_IN_FRAME] = "reset that cut bytes",
        [SIM_COUNT_HALF_OPEN] = "half-open connection",
        [SIM_COUNT_DIAL_REFUSED] = "dial refused",
        [SIM_COUNT_DIAL_LOST] = "dial lost",
        [SIM_COUNT_STALL] = "stalled connection",
        [SIM_COUNT_BLOCKED] = "blocked segment",
    };
    ASSERT(count < SIM_COUNT_NR);
    return names[count];
}

uint64_t sim_count(const struct sim *sim, enum sim_count count)
{
    uint64_t sum = sim->counts[count];
    for (size_t i = 0; i < sim->node_count && count < SIM_COUNT_DISK_NR; i++)
        sum += sim_disk_counts(sim->nodes[i]->disk)[count];
    return sum;
}

void sim_hash_add(struct sim *sim, uint64_t value)
{
    uint64_t h = (sim->hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    sim->hash = h ^ (h >> 29);
}

uint64_t sim_draw_seed(struct sim *sim)
{
    struct rng rng;
    rng_init(&rng, sim->seed + ++sim->seeds_drawn * UINT64_C(0xd1342543de82ef95));
    return rng_u64(&rng);
}

uint64_t sim_draw_delay(struct rng *rng, uint64_t lo, uint64_t hi, uint32_t spike_ppm)
{
    uint64_t delay_us = lo >= hi ? lo : rng_between(rng, lo, hi);
    if (spike_ppm > 0 && rng_chance(rng, spike_ppm, 1000000))
        delay_us *= rng_between(rng, 2, 100);
    return delay_us;
}

void sim_push(struct sim *sim, uint64_t delay_us, enum sim_item_kind kind, uint32_t arg,
              void *target)
{
    ASSERT(target != NULL);
    ASSERT(delay_us < UINT64_MAX - sim->now_us);
    struct sim_item item = {
        .time_us = sim->now_us + delay_us,
        .tie = (rng_u64(&sim->rng_sched) & ~(uint64_t)UINT32_MAX) | (uint32_t)sim->order++,
        .kind = kind,
        .arg = arg,
        .target = target,
    };
    sim_queue_push(&sim->queue, &item);
}

void sim_note(struct sim *sim, const struct sim_node *node, enum sim_event_kind kind, uint64_t size)
{
    sim->events++;
    sim_hash_add(sim, sim->now_us);
    sim_hash_add(sim, (uint64_t)(node != NULL ? node->id : 0) << 56 | (uint64_t)kind << 48 | size);
    if (sim->options.trace != NULL) {
        struct sim_trace_event event = {
            .time_us = sim->now_us,
            .node = node != NULL ? node->address : "",
            .kind = kind,
            .size = size,
        };
        sim->options.trace(sim->options.data, &event);
    }
}

/* The incarnation to which an item would be delivered; NULL: to nobody's. */
static struct sim_env *item_env(const struct sim_item *item)
{
    switch (item->kind) {
    case SIM_ITEM_WAKE:
    case SIM_ITEM_TASKS:
    case SIM_ITEM_EXECUTE:
    case SIM_ITEM_COMPLETE:
        return item->target;
    case SIM_ITEM_WIRE:
        return sim_wire_env(item);
    default:
        return NULL;
    }
}

void sim_item_drop(const struct sim_item *item)
{
    switch (item->kind) {
    case SIM_ITEM_WAKE:
    case SIM_ITEM_TASKS:
    case SIM_ITEM_EXECUTE:
    case SIM_ITEM_COMPLETE:
        break;
    case SIM_ITEM_CALL:
        free(item->target);
        break;
    case SIM_ITEM_WIRE:
        sim_wire_item_drop(item);
        break;
    }
}

static void run_call(struct sim *sim, struct sim_call *call)
{
    sim_note(sim, NULL, SIM_EVENT_CALL, 0);
    call->cb(call->data);
    free(call);
}

static void item_deliver(struct sim *sim, const struct sim_item *item)
{
    struct sim_env *env = item->target;
    switch (item->kind) {
    case SIM_ITEM_WAKE:
        sim_env_wake(env);
        break;
    case SIM_ITEM_TASKS:
        env->has_tasks_item = false; /* the turn's end does the rest */
        break;
    case SIM_ITEM_EXECUTE:
        sim_lane_execute(env, item->arg);
        break;
    case SIM_ITEM_COMPLETE:
        sim_lane_complete(env, item->arg);
        break;
    case SIM_ITEM_CALL:
        run_call(sim, item->target);
        break;
    case SIM_ITEM_WIRE:
        sim_wire_item(item);
        break;
    }
}

/* Let more of what is ready for `env` at this very time join the turn. */
static void turn_join(struct sim *sim, struct sim_env *env)
{
    for (int i = 0; i < SIM_TURN_EVENTS_MAX && !sim_env_is_silent(env); i++) {
        if (sim->queue.count == 0)
            return;
        const struct sim_item *next = &sim->queue.items[0];
        if (next->time_us != sim->now_us || item_env(next) != env)
            return;
        if (rng_chance(&sim->rng_sched, 1, 4))
            return;
        struct sim_item item;
        sim_queue_pop(&sim->queue, &item);
        item_deliver(sim, &item);
    }
}

bool sim_step(struct sim *sim)
{
    struct sim_item item;
    ASSERT(!sim->is_stepping);
    if (!sim_queue_pop(&sim->queue, &item))
        return false;
    ASSERT(item.time_us >= sim->now_us);
    sim->now_us = item.time_us;
    struct sim_env *env = item_env(&item);
    sim->stepped = env == NULL ? NULL : env->node;
    if (env != NULL && sim_env_is_silent(env)) {
        sim_item_drop(&item);
        return true;
    }
    if (env != NULL && env->node->is_paused) {
        sim_node_defer(env->node, &item);
        return true;
    }
    sim->is_stepping = true;
    sim->running = env;
    item_deliver(sim, &item);
    if (env != NULL) {
        turn_join(sim, env);
        sim_env_turn_end(env);
    }
    sim->running = NULL;
    sim->is_stepping = false;
    return true;
}

struct sim_node *sim_stepped(const struct sim *sim)
{
    return sim->stepped;
}

void sim_run_until(struct sim *sim, uint64_t time_us)
{
    while (sim->queue.count > 0 && sim->queue.items[0].time_us <= time_us)
        sim_step(sim);
    sim->now_us = MAX(sim->now_us, time_us);
}

bool sim_run_while(struct sim *sim, bool (*cond)(void *data), void *data, uint64_t limit_us)
{
    while (cond(data)) {
        if (sim->queue.count == 0 || sim->queue.items[0].time_us > limit_us) {
            sim->now_us = MAX(sim->now_us, limit_us);
            return false;
        }
        sim_step(sim);
    }
    return true;
}

void sim_call_at(struct sim *sim, uint64_t time_us, void (*cb)(void *data), void *data)
{
    ASSERT(cb != NULL);
    struct sim_call *call = sim_alloc(sizeof *call);
    *call = (struct sim_call){.cb = cb, .data = data};
    sim_push(sim, time_us > sim->now_us ? time_us - sim->now_us : 0, SIM_ITEM_CALL, 0, call);
}

void sim_check(const struct sim *sim)
{
    for (size_t i = 1; i < sim->queue.count; i++)
        ASSERT(sim->queue.items[i].time_us >= sim->queue.items[0].time_us);
    ASSERT(sim->queue.count == 0 || sim->queue.items[0].time_us >= sim->now_us);
    for (size_t i = 0; i < sim->node_count; i++) {
        const struct sim_node *node = sim->nodes[i];
        ASSERT(node->is_up || node->env->is_stopped);
        ASSERT(node->is_up || !node->is_paused);
        ASSERT(node->is_paused || node->deferred_count == 0);
        sim_disk_check(node->disk);
    }
    sim_wires_check(sim);
}
