/* SPDX-License-Identifier: Apache-2.0
 *
 * One incarnation of a process: clocks, randomness, tasks, its end.
 */
#include <stdio.h>
#include <stdlib.h>

#include "env/sim/sim_internal.h"

/* Wall clock of the world's beginning: 2026-01-01. */
#define WALL_BEGIN_MS UINT64_C(1767225600000)

uint64_t sim_env_local_us(const struct sim_env *env)
{
    ASSERT(env->sim->now_us >= env->clock_from_us);
    uint64_t span = env->sim->now_us - env->clock_from_us;
    uint64_t rate = (uint64_t)(1000000 + env->drift_ppm);
    return env->clock_local_us + span / 1000000 * rate + span % 1000000 * rate / 1000000;
}

void sim_env_set_drift(struct sim_env *env, int32_t ppm)
{
    ASSERT(ppm > -500000);
    ASSERT(ppm < 500000);
    env->clock_local_us = sim_env_local_us(env);
    env->clock_from_us = env->sim->now_us;
    env->drift_ppm = ppm;
    /* The next WAKE may be late by the new clock: have a look now. */
    if (!sim_env_is_silent(env) && env->timer_count > 0) {
        env->wake_us = env->sim->now_us;
        sim_push(env->sim, 0, SIM_ITEM_WAKE, 0, env);
    }
}

static uint64_t op_now_us(struct env *env)
{
    return sim_env_local_us(sim_env_of(env));
}

static uint64_t op_wall_ms(struct env *base)
{
    const struct sim_env *env = sim_env_of(base);
    uint64_t wall_ms = WALL_BEGIN_MS + env->sim->now_us / 1000;
    int64_t skew_ms = env->node->wall_skew_ms;
    if (skew_ms < 0 && (uint64_t)-skew_ms > wall_ms)
        return 0;
    return wall_ms + (uint64_t)skew_ms;
}

static uint64_t op_random(struct env *env)
{
    return rng_u64(&sim_env_of(env)->rng);
}

static void op_random_bytes(struct env *env, void *data, size_t len)
{
    rng_fill(&sim_env_of(env)->rng, data, len);
}

void sim_env_die(struct sim_env *env, const char *message)
{
    struct sim *sim = env->sim;
    if (env->is_dead)
        return;
    env->is_dead = true;
    env->disk->is_dead = true;
    snprintf(env->node->fatal, sizeof env->node->fatal, "%s", message);
    sim_note(sim, env->node, SIM_EVENT_FATAL, strlen(message));
    if (sim->options.on_fatal != NULL)
        sim->options.on_fatal(sim->options.data, env->node, message);
}

static void op_fatal(struct env *env, const char *message)
{
    sim_env_die(sim_env_of(env), message);
}

static bool op_fault(struct env *env, const char *site)
{
    return sim_fault_draw(sim_env_of(env)->sim, site);
}

static void op_stop(struct env *env)
{
    sim_env_stop(sim_env_of(env));
}

static void list_drop(struct list *head)
{
    while (list_pop_front(head) != NULL)
        ;
}

void sim_env_stop(struct sim_env *env)
{
    if (env->is_stopped)
        return;
    env->is_stopped = true;
    sim_timers_drop(env);
    sim_lanes_drop(env);
    list_drop(&env->tasks);
    list_drop(&env->late);
    list_drop(&env->round);
    sim_conns_drop(env, false);
    ASSERT(list_is_empty(&env->tasks));
    ASSERT(env->timer_count == 0);
}

void sim_env_turn_later(struct sim_env *env)
{
    if (env->sim->running == env || env->has_tasks_item)
        return; /* the present turn, or one that is queued */
    env->has_tasks_item = true;
    sim_push(env->sim, 0, SIM_ITEM_TASKS, 0, env);
}

static void op_task_post(struct env *base, struct env_task *task)
{
    struct sim_env *env = sim_env_of(base);
    if (sim_env_is_silent(env))
        return;
    list_push_back(&env->tasks, &task->in_tasks);
    sim_env_turn_later(env);
}

static void op_task_post_late(struct env *base, struct env_task *task)
{
    struct sim_env *env = sim_env_of(base);
    if (sim_env_is_silent(env))
        return;
    list_push_back(&env->late, &task->in_tasks);
    sim_env_turn_later(env);
}

/* One round: those queued now, not those that they queue. */
static void tasks_round(struct sim_env *env)
{
    struct list *link;
    ASSERT(list_is_empty(&env->round));
    while ((link = list_pop_front(&env->tasks)) != NULL)
        list_push_back(&env->round, link);
    while (!sim_env_is_silent(env) && (link = list_pop_front(&env->round)) != NULL) {
        struct env_task *task = list_entry(link, struct env_task, in_tasks);
        sim_note(env->sim, env->node, SIM_EVENT_TASK, 0);
        task->cb(task);
    }
    list_drop(&env->round); /* it died: nothing runs any more */
}

void sim_env_turn_end(struct sim_env *env)
{
    for (int i = 0; i < ENV_TASK_ROUNDS_MAX; i++) {
        if (list_is_empty(&env->tasks) || sim_env_is_silent(env))
            break;
        tasks_round(env);
    }
    sim_env_flush(env);
    struct list *link;
    while ((link = list_pop_front(&env->late)) != NULL)
        list_push_back(&env->tasks, link);
    if (sim_env_is_silent(env) || list_is_empty(&env->tasks) || env->has_tasks_item)
        return;
    env->has_tasks_item = true;
    sim_push(env->sim, 0, SIM_ITEM_TASKS, 0, env);
}

struct sim_env *sim_env_new(struct sim_node *node)
{
    struct sim *sim = node->sim;
    struct sim_env *env = sim_alloc(sizeof *env);
    env->env.ops = &sim_env_ops;
    env->sim = sim;
    env->node = node;
    env->disk = node->disk;
    rng_init(&env->rng, sim_draw_seed(sim));
    /* Monotonic clocks of two incarnations have nothing in common. */
    env->clock_from_us = sim->now_us;
    env->clock_local_us = rng_between(&env->rng, 1000000, UINT64_C(1000000000));
    uint32_t drift = sim->options.drift_ppm_max;
    if (drift > 0)
        env->drift_ppm = (int32_t)rng_between(&env->rng, 0, 2 * drift) - (int32_t)drift;
    env->wake_us = UINT64_MAX;
    env->next_port = 40000;
    list_init(&env->in_node);
    list_init(&env->locks);
    list_init(&env->tasks);
    list_init(&env->late);
    list_init(&env->round);
    list_init(&env->conns);
    list_init(&env->flush);
    list_init(&env->listeners);
    sim_lanes_init(env);
    list_push_front(&node->envs, &env->in_node);
    return env;
}

void sim_env_free(struct sim_env *env)
{
    ASSERT(env->is_stopped);
    ASSERT(env->open_handles == 0); /* its owner leaks files or locks */
    list_remove(&env->in_node);
    free(env);
}

const struct env_ops sim_env_ops = {
    .now_us = op_now_us,
    .wall_ms = op_wall_ms,
    .random = op_random,
    .random_bytes = op_random_bytes,
    .fatal = op_fatal,
    .fault = op_fault,
    .stop = op_stop,
    .timer_start = sim_op_timer_start,
    .timer_stop = sim_op_timer_stop,
    .task_post = op_task_post,
    .task_post_late = op_task_post_late,
    .work_submit = sim_op_work_submit,
    .file_open = sim_op_file_open,
    .file_close = sim_op_file_close,
    .file_read = sim_op_file_read,
    .file_write = sim_op_file_write,
    .file_write_past = sim_op_file_write_past,
    .file_write_start = sim_op_file_write_start,
    .file_write_through = sim_op_file_write_through,
    .file_sync = sim_op_file_sync,
    .file_write_back = sim_op_file_write_back,
    .file_size = sim_op_file_size,
    .file_truncate = sim_op_file_truncate,
    .file_rename = sim_op_file_rename,
    .file_unlink = sim_op_file_unlink,
    .file_link = sim_op_file_link,
    .file_stat = sim_op_file_stat,
    .dir_make = sim_op_dir_make,
    .dir_remove = sim_op_dir_remove,
    .dir_sync = sim_op_dir_sync,
    .dir_list = sim_op_dir_list,
    .dir_lock = sim_op_dir_lock,
    .dir_unlock = sim_op_dir_unlock,
    .disk_space = sim_op_disk_space,
    .listen = sim_op_listen,
    .listener_address = sim_op_listener_address,
    .listener_close = sim_op_listener_close,
    .connect = sim_op_connect,
    .conn_accept = sim_op_conn_accept,
    .conn_write = sim_op_conn_write,
    .conn_pending = sim_op_conn_pending,
    .conn_pause = sim_op_conn_pause,
    .conn_resume = sim_op_conn_resume,
    .conn_close = sim_op_conn_close,
    .conn_is_loopback = sim_op_conn_is_loopback,
};
