/* SPDX-License-Identifier: Apache-2.0
 *
 * Many timers over one of libuv's, so that starting and stopping are synchronous
 * and the memory is the caller's at once. libuv counts whole milliseconds of the
 * same clock, so the one timer is set to the due time rounded up.
 */
#include <stdlib.h>

#include "env/uv/real_internal.h"

/* After env_stop() a timer may be started but is in no heap. */
static const size_t HEAP_INDEX_STOPPED = SIZE_MAX;
enum { TIMERS_CAP_MIN = 64 };

static bool is_before(const struct env_timer *a, const struct env_timer *b)
{
    if (a->due_us != b->due_us)
        return a->due_us < b->due_us;
    return a->order < b->order;
}

static void heap_set(struct real_timers *timers, size_t index, struct env_timer *timer)
{
    timers->heap[index] = timer;
    timer->heap_index = index;
}

static void heap_up(struct real_timers *timers, size_t index, struct env_timer *timer)
{
    while (index > 1 && is_before(timer, timers->heap[index / 2])) {
        heap_set(timers, index, timers->heap[index / 2]);
        index /= 2;
    }
    heap_set(timers, index, timer);
}

static void heap_down(struct real_timers *timers, size_t index, struct env_timer *timer)
{
    for (;;) {
        size_t child = index * 2;
        if (child > timers->count)
            break;
        if (child < timers->count && is_before(timers->heap[child + 1], timers->heap[child]))
            child++;
        if (!is_before(timers->heap[child], timer))
            break;
        heap_set(timers, index, timers->heap[child]);
        index = child;
    }
    heap_set(timers, index, timer);
}

static void heap_remove(struct real_timers *timers, struct env_timer *timer)
{
    size_t index = timer->heap_index;
    ASSERT(index >= 1 && index <= timers->count);
    ASSERT(timers->heap[index] == timer);
    struct env_timer *last = timers->heap[timers->count--];
    timer->heap_index = 0;
    if (last == timer)
        return;
    if (index > 1 && is_before(last, timers->heap[index / 2]))
        heap_up(timers, index, last);
    else
        heap_down(timers, index, last);
}

static bool heap_reserve(struct real_timers *timers)
{
    if (timers->count + 1 < timers->cap)
        return true;
    size_t cap = timers->cap * 2;
    struct env_timer **heap = realloc(timers->heap, cap * sizeof(*heap));
    if (heap == NULL)
        return false;
    timers->heap = heap;
    timers->cap = cap;
    return true;
}

static void op_timer_start(struct env *env, struct env_timer *timer)
{
    struct real_world *world = real_world_of(env);
    struct real_timers *timers = &world->timers;
    ASSERT(timer->heap_index == 0);
    if (world->is_stopped) {
        timer->heap_index = HEAP_INDEX_STOPPED;
        return;
    }
    if (!heap_reserve(timers)) {
        env_fatal(env, "out of memory: %zu timers", timers->count);
        return;
    }
    timer->order = timers->order++;
    heap_up(timers, ++timers->count, timer);
    ASSERT(timers->count < timers->cap);
}

static void op_timer_stop(struct env *env, struct env_timer *timer)
{
    if (timer->heap_index == HEAP_INDEX_STOPPED)
        timer->heap_index = 0;
    else
        heap_remove(&real_world_of(env)->timers, timer);
}

/* Those that were due when it began; what they start waits for the next turn. */
static void on_timer(uv_timer_t *handle)
{
    struct real_timers *timers = handle->data;
    struct real_world *world = container_of(timers, struct real_world, timers);
    timers->armed_us = UINT64_MAX;
    uint64_t now_us = env_now_us(&world->base);
    uint64_t order_end = timers->order;
    while (timers->count > 0) {
        struct env_timer *timer = timers->heap[1];
        if (timer->due_us > now_us || timer->order >= order_end)
            break;
        heap_remove(timers, timer);
        timer->cb(timer);
    }
}

void real_timers_arm(struct real_timers *timers)
{
    uint64_t due_us = timers->count > 0 ? timers->heap[1]->due_us : UINT64_MAX;
    if (due_us == timers->armed_us)
        return;
    timers->armed_us = due_us;
    if (due_us == UINT64_MAX) {
        uv_timer_stop(&timers->handle);
        return;
    }
    uint64_t due_ms = due_us / 1000 + (due_us % 1000 != 0);
    uint64_t now_ms = uv_now(timers->handle.loop);
    uv_timer_start(&timers->handle, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

int real_timers_init(struct real_timers *timers, uv_loop_t *loop)
{
    *timers = (struct real_timers){.armed_us = UINT64_MAX, .cap = TIMERS_CAP_MIN};
    timers->heap = malloc(timers->cap * sizeof(struct env_timer *));
    if (timers->heap == NULL)
        return ERR_NOMEM;
    uv_timer_init(loop, &timers->handle);
    timers->handle.data = timers;
    return 0;
}

void real_timers_stop(struct real_timers *timers)
{
    for (size_t i = 1; i <= timers->count; i++)
        timers->heap[i]->heap_index = 0;
    timers->count = 0;
    uv_close((uv_handle_t *)&timers->handle, NULL);
}

void real_timers_fini(struct real_timers *timers)
{
    ASSERT(timers->count == 0);
    free(timers->heap);
    timers->heap = NULL;
}

void real_timers_fill(struct env_ops *ops)
{
    ops->timer_start = op_timer_start;
    ops->timer_stop = op_timer_stop;
}
