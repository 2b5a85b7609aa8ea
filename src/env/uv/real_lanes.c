/* SPDX-License-Identifier: Apache-2.0
 *
 * The lanes of background work: threads of our own, because libuv's one shared
 * pool would put a compaction in front of a log sync.
 *
 *   submit ─▶ lane's queue ─▶ a thread runs execute() ─▶ inbox ─▶ complete() on the loop
 *
 * A lane starts its threads with its first work. A submit signals only when a
 * thread sleeps; a busy thread finds the next work by itself.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "env/uv/real_internal.h"

static const char *const LANE_NAMES[ENV_LANE_NR] = {
    [ENV_LANE_LOG] = "hf-log",           [ENV_LANE_READ] = "hf-read",
    [ENV_LANE_FLUSH] = "hf-flush",       [ENV_LANE_COMPACT] = "hf-compact",
    [ENV_LANE_SNAPSHOT] = "hf-snapshot",
};

/* What nobody waits for runs on what others leave of the processors: a reader that has to
 * share one with a compaction waits for milliseconds now and then. A flush is more urgent, as
 * writers wait for the room. Behind both, pacing slows writers before they are at a wall. */
static const int LANE_NICE[ENV_LANE_NR] = {
    [ENV_LANE_FLUSH] = 10,
    [ENV_LANE_SNAPSHOT] = 10,
    [ENV_LANE_COMPACT] = 15,
};

static struct env_work *lane_take(struct real_lane *lane)
{
    pthread_mutex_lock(&lane->mutex);
    while (list_is_empty(&lane->queue) && !lane->is_stopping) {
        lane->idle++;
        pthread_cond_wait(&lane->cond, &lane->mutex);
        lane->idle--;
    }
    struct list *link = lane->is_stopping ? NULL : list_pop_front(&lane->queue);
    pthread_mutex_unlock(&lane->mutex);
    return link == NULL ? NULL : list_entry(link, struct env_work, in_lane);
}

static void *lane_main(void *arg)
{
    struct real_lane *lane = arg;
    struct env_work *work;
    int add = LANE_NICE[lane - lane->world->lanes];
    if (add > 0)
        (void)nice(add); /* of this thread alone; refused: it runs as the others do */
    while ((work = lane_take(lane)) != NULL) {
        work->execute(work);
        real_inbox_complete(&lane->world->inbox, work);
    }
    return NULL;
}

/* All signals blocked: they belong to the loop and the mains. */
static int lane_start_threads(struct real_lane *lane, const char *name)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = 0;
    while (lane->thread_count < lane->threads_max && status == 0) {
        pthread_t *thread = &lane->threads[lane->thread_count];
        status = pthread_create(thread, NULL, lane_main, lane);
        if (status != 0)
            break;
        pthread_setname_np(*thread, name);
        lane->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return lane->thread_count > 0 ? 0 : status;
}

static void op_work_submit(struct env *env, struct env_work *work)
{
    struct real_world *world = real_world_of(env);
    struct real_lane *lane = &world->lanes[work->lane];
    ASSERT(!list_is_linked(&work->in_lane));
    if (world->is_stopped) {
        work->is_active = false;
        return;
    }
    if (lane->thread_count == 0) {
        int status = lane_start_threads(lane, LANE_NAMES[work->lane]);
        if (status != 0)
            env_fatal(env, "start thread %s: %s", LANE_NAMES[work->lane], strerror(status));
    }
    pthread_mutex_lock(&lane->mutex);
    list_push_back(&lane->queue, &work->in_lane);
    bool must_wake = lane->idle > 0;
    pthread_mutex_unlock(&lane->mutex);
    if (must_wake)
        pthread_cond_signal(&lane->cond);
}

void real_lanes_init(struct real_world *world, unsigned read_threads, unsigned compact_threads)
{
    for (int i = 0; i < ENV_LANE_NR; i++) {
        struct real_lane *lane = &world->lanes[i];
        pthread_mutex_init(&lane->mutex, NULL);
        pthread_cond_init(&lane->cond, NULL);
        list_init(&lane->queue);
        lane->world = world;
        lane->threads_max = 1;
    }
    world->lanes[ENV_LANE_READ].threads_max =
        MIN(read_threads == 0 ? 2 : read_threads, ENV_UV_LANE_THREADS_MAX);
    world->lanes[ENV_LANE_COMPACT].threads_max =
        MIN(compact_threads == 0 ? 1 : compact_threads, ENV_UV_LANE_THREADS_MAX);
}

/* Every lane is told first, so that the running works end side by side. */
void real_lanes_stop(struct real_world *world)
{
    for (int i = 0; i < ENV_LANE_NR; i++) {
        struct real_lane *lane = &world->lanes[i];
        pthread_mutex_lock(&lane->mutex);
        lane->is_stopping = true;
        pthread_cond_broadcast(&lane->cond);
        pthread_mutex_unlock(&lane->mutex);
    }
    for (int i = 0; i < ENV_LANE_NR; i++) {
        struct real_lane *lane = &world->lanes[i];
        while (lane->thread_count > 0)
            pthread_join(lane->threads[--lane->thread_count], NULL);
        struct list *link;
        while ((link = list_pop_front(&lane->queue)) != NULL)
            list_entry(link, struct env_work, in_lane)->is_active = false;
    }
}

void real_lanes_fini(struct real_world *world)
{
    for (int i = 0; i < ENV_LANE_NR; i++) {
        struct real_lane *lane = &world->lanes[i];
        ASSERT(lane->thread_count == 0);
        ASSERT(list_is_empty(&lane->queue));
        pthread_cond_destroy(&lane->cond);
        pthread_mutex_destroy(&lane->mutex);
    }
}

void real_lanes_fill(struct env_ops *ops)
{
    ops->work_submit = op_work_submit;
}
