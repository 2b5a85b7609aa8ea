/* SPDX-License-Identifier: Apache-2.0
 *
 * Timers of an incarnation: a binary heap by (due_us, order) on the node's own clock, and one
 * WAKE item in the world's queue at or before the earliest of them. An early WAKE
 * finds nothing due and queues the next; so a timer that is stopped or put off
 * costs no search in the queue.
 */
#include <stdlib.h>

#include "env/sim/sim_internal.h"

/* heap_index of a timer that was started on an env that delivers nothing more. */
#define TIMER_NEVER SIZE_MAX

static bool timer_before(const struct env_timer *a, const struct env_timer *b)
{
    if (a->due_us != b->due_us)
        return a->due_us < b->due_us;
    return a->order < b->order;
}

static void heap_put(struct sim_env *env, size_t at, struct env_timer *timer)
{
    env->timers[at - 1] = timer;
    timer->heap_index = at;
}

static void heap_up(struct sim_env *env, size_t at, struct env_timer *timer)
{
    while (at > 1 && timer_before(timer, env->timers[at / 2 - 1])) {
        heap_put(env, at, env->timers[at / 2 - 1]);
        at /= 2;
    }
    heap_put(env, at, timer);
}

static void heap_down(struct sim_env *env, size_t at, struct env_timer *timer)
{
    for (;;) {
        size_t child = at * 2;
        if (child > env->timer_count)
            break;
        if (child < env->timer_count && timer_before(env->timers[child], env->timers[child - 1]))
            child++;
        if (!timer_before(env->timers[child - 1], timer))
            break;
        heap_put(env, at, env->timers[child - 1]);
        at = child;
    }
    heap_put(env, at, timer);
}

static void heap_remove(struct sim_env *env, struct env_timer *timer)
{
    size_t at = timer->heap_index;
    ASSERT(at >= 1 && at <= env->timer_count);
    ASSERT(env->timers[at - 1] == timer);
    struct env_timer *last = env->timers[--env->timer_count];
    timer->heap_index = 0;
    if (last == timer)
        return;
    if (at > 1 && timer_before(last, env->timers[at / 2 - 1]))
        heap_up(env, at, last);
    else
        heap_down(env, at, last);
}

/* World time at which the node's clock shows `local_us`, or a little later. */
static uint64_t clock_when(const struct sim_env *env, uint64_t local_us)
{
    if (local_us <= env->clock_local_us)
        return env->clock_from_us;
    uint64_t span = local_us - env->clock_local_us;
    uint64_t rate = (uint64_t)(1000000 + env->drift_ppm);
    uint64_t whole = span / rate * 1000000;
    return env->clock_from_us + whole + (span % rate * 1000000 + rate - 1) / rate;
}

/* See to it that a WAKE is queued no later than the first timer. */
static void wake_arrange(struct sim_env *env)
{
    if (env->timer_count == 0)
        return;
    struct sim *sim = env->sim;
    uint64_t due_us = env->timers[0]->due_us;
    if (due_us >= UINT64_MAX / 4)
        return; /* never */
    uint64_t when = MAX(clock_when(env, due_us), sim->now_us);
    if (when >= env->wake_us)
        return;
    env->wake_us = when;
    sim_push(sim, when - sim->now_us, SIM_ITEM_WAKE, 0, env);
}

void sim_op_timer_start(struct env *base, struct env_timer *timer)
{
    struct sim_env *env = sim_env_of(base);
    ASSERT(timer->heap_index == 0);
    if (env->is_stopped) {
        timer->heap_index = TIMER_NEVER;
        return;
    }
    timer->order = env->timer_order++;
    env->timers = sim_grow(env->timers, &env->timer_cap, env->timer_count + 1, sizeof *env->timers);
    env->timer_count++;
    heap_up(env, env->timer_count, timer);
    wake_arrange(env);
}

void sim_op_timer_stop(struct env *base, struct env_timer *timer)
{
    if (timer->heap_index == TIMER_NEVER)
        timer->heap_index = 0;
    else
        heap_remove(sim_env_of(base), timer);
}

void sim_timers_drop(struct sim_env *env)
{
    while (env->timer_count > 0)
        env->timers[--env->timer_count]->heap_index = 0;
    free(env->timers);
    env->timers = NULL;
    env->timer_cap = 0;
}

void sim_env_wake(struct sim_env *env)
{
    /* Only the earliest WAKE counts; a later one may still be on its way. */
    if (env->sim->now_us < env->wake_us)
        return;
    env->wake_us = UINT64_MAX;
    uint64_t now_us = sim_env_local_us(env);
    /* Those that it starts wait for their own turn, however short they are. */
    uint64_t last_order = env->timer_order;
    while (env->timer_count > 0 && !sim_env_is_silent(env)) {
        struct env_timer *timer = env->timers[0];
        if (timer->due_us > now_us || timer->order >= last_order)
            break;
        heap_remove(env, timer);
        sim_note(env->sim, env->node, SIM_EVENT_TIMER, 0);
        timer->cb(timer);
    }
    if (!sim_env_is_silent(env))
        wake_arrange(env);
}
