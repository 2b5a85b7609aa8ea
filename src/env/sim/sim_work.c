/* SPDX-License-Identifier: Apache-2.0
 *
 * Background work: a lane takes the next work when a thread of it is free, at a
 * random time; runs execute() inline; and hands the completion to the loop after
 * what the work's file calls cost. A lane with several threads completes in any
 * order. What is queued or executed when the process dies is forgotten.
 *
 *   submit ─▶ queued ─EXECUTE─▶ running[slot] ─COMPLETE─▶ complete()
 */
#include "env/sim/sim_internal.h"

void sim_lanes_init(struct sim_env *env)
{
    for (size_t i = 0; i < ENV_LANE_NR; i++) {
        list_init(&env->lanes[i].queued);
        env->lanes[i].width = i == ENV_LANE_READ ? SIM_LANE_WIDTH_MAX : 1;
    }
    uint32_t compact_threads = env->sim->options.compact_threads;
    ASSERT(compact_threads >= 1 && compact_threads <= SIM_LANE_WIDTH_MAX);
    env->lanes[ENV_LANE_COMPACT].width = compact_threads;
}

static uint32_t lane_running(const struct sim_lane *lane)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < lane->width; i++)
        count += lane->running[i] != NULL;
    return count;
}

static uint64_t work_delay(struct sim_env *env)
{
    const struct sim_options *options = &env->sim->options;
    return sim_draw_delay(&env->sim->rng_sched, options->work_us_min, options->work_us_max,
                          options->work_spike_ppm);
}

/* Let free threads take what is queued. */
static void lane_pump(struct sim_env *env, uint32_t at)
{
    struct sim_lane *lane = &env->lanes[at];
    uint32_t waiting = 0;
    LIST_FOREACH(it, &lane->queued)
    {
        if (++waiting > lane->starting)
            break;
    }
    if (waiting <= lane->starting || lane->starting + lane_running(lane) >= lane->width)
        return;
    lane->starting++;
    sim_push(env->sim, work_delay(env), SIM_ITEM_EXECUTE, at, env);
}

void sim_op_work_submit(struct env *base, struct env_work *work)
{
    struct sim_env *env = sim_env_of(base);
    if (sim_env_is_silent(env)) {
        work->is_active = false;
        return;
    }
    list_push_back(&env->lanes[work->lane].queued, &work->in_lane);
    lane_pump(env, work->lane);
}

void sim_lane_execute(struct sim_env *env, uint32_t at)
{
    ASSERT(at < ENV_LANE_NR);
    struct sim_lane *lane = &env->lanes[at];
    ASSERT(lane->starting > 0);
    lane->starting--;
    struct list *link = list_pop_front(&lane->queued);
    ASSERT(link != NULL);
    struct env_work *work = list_entry(link, struct env_work, in_lane);
    uint32_t slot = 0;
    while (lane->running[slot] != NULL)
        slot++;
    ASSERT(slot < lane->width);
    lane->running[slot] = work;
    sim_disk_take_debt(env->disk); /* of calls from the loop: theirs is lost in it */
    sim_note(env->sim, env->node, SIM_EVENT_EXECUTE, at);
    work->execute(work);
    if (sim_env_is_silent(env))
        return;
    uint64_t delay_us = work_delay(env) + sim_disk_take_debt(env->disk);
    sim_push(env->sim, delay_us, SIM_ITEM_COMPLETE, at * SIM_LANE_WIDTH_MAX + slot, env);
    lane_pump(env, at);
}

void sim_lane_complete(struct sim_env *env, uint32_t arg)
{
    uint32_t at = arg / SIM_LANE_WIDTH_MAX;
    uint32_t slot = arg % SIM_LANE_WIDTH_MAX;
    ASSERT(at < ENV_LANE_NR);
    struct sim_lane *lane = &env->lanes[at];
    struct env_work *work = lane->running[slot];
    ASSERT(work != NULL);
    ASSERT(work->is_active);
    lane->running[slot] = NULL;
    lane_pump(env, at);
    sim_note(env->sim, env->node, SIM_EVENT_COMPLETE, at);
    work->is_active = false;
    work->complete(work);
}

void sim_lanes_drop(struct sim_env *env)
{
    for (size_t i = 0; i < ENV_LANE_NR; i++) {
        struct sim_lane *lane = &env->lanes[i];
        LIST_FOREACH(it, &lane->queued)
        {
            list_entry(it, struct env_work, in_lane)->is_active = false;
            list_remove(it);
        }
        for (uint32_t slot = 0; slot < lane->width; slot++) {
            if (lane->running[slot] != NULL)
                lane->running[slot]->is_active = false;
            lane->running[slot] = NULL;
        }
        lane->starting = 0;
    }
}
