/* SPDX-License-Identifier: Apache-2.0
 *
 * What other threads send to the loop: finished work and posts. Two lists under
 * one lock and one event descriptor, written only when nothing was announced yet,
 * so that a burst costs one system call and one wake-up. The kernel writes to it as
 * well, when a write that no thread waits for is done (real_writes.c).
 *
 * Not uv_async: its sender marks the handle again after the write that wakes the
 * loop, and the loop spins and yields until it has; and not under the lock, which
 * the woken loop takes first thing. On a busy machine either costs a time slice in
 * every write to the log.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "env/uv/real_internal.h"

struct real_post {
    env_uv_post_cb fn;
    void *data;
    struct list in_posts;
};

static void list_move(struct list *from, struct list *to)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}

/* Under the lock: is it the caller who must wake the loop, once it has let go? Who
 * must is counted, for real_inbox_fini() waits for it. */
static bool inbox_announce(struct real_inbox *inbox)
{
    bool must_wake = !inbox->is_signalled && !inbox->is_stopped;
    inbox->is_signalled = true;
    if (must_wake)
        atomic_fetch_add_explicit(&inbox->wakers, 1, memory_order_relaxed);
    return must_wake;
}

/* Without the lock. The loop may have been woken by another, and be through with
 * the world, so nothing is touched after the count is given back. */
static void inbox_signal(struct real_inbox *inbox)
{
    static const uint64_t one = 1;
    ssize_t n;
    ASSERT(atomic_load_explicit(&inbox->wakers, memory_order_relaxed) > 0);
    do {
        n = write(inbox->fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
    ASSERT(n == (ssize_t)sizeof one); /* a counter that only we read cannot be full */
    atomic_fetch_sub_explicit(&inbox->wakers, 1, memory_order_release);
}

void real_inbox_quit(struct real_inbox *inbox, atomic_bool *is_quitting)
{
    pthread_mutex_lock(&inbox->mutex);
    atomic_store(is_quitting, true);
    bool must_wake = inbox_announce(inbox);
    pthread_mutex_unlock(&inbox->mutex);
    if (must_wake)
        inbox_signal(inbox);
}

void real_inbox_complete(struct real_inbox *inbox, struct env_work *work)
{
    ASSERT(!list_is_linked(&work->in_lane));
    pthread_mutex_lock(&inbox->mutex);
    list_push_back(&inbox->completions, &work->in_lane);
    bool must_wake = inbox_announce(inbox);
    pthread_mutex_unlock(&inbox->mutex);
    if (must_wake)
        inbox_signal(inbox);
}

int env_uv_post(struct env *env, env_uv_post_cb fn, void *data)
{
    struct real_inbox *inbox = &real_world_of(env)->inbox;
    ASSERT(fn != NULL);
    struct real_post *post = malloc(sizeof *post);
    if (post == NULL)
        return ERR_NOMEM;
    *post = (struct real_post){.fn = fn, .data = data};
    list_init(&post->in_posts);

    pthread_mutex_lock(&inbox->mutex);
    if (inbox->is_stopped) {
        pthread_mutex_unlock(&inbox->mutex);
        free(post);
        return ERR_CANCELED;
    }
    list_push_back(&inbox->posts, &post->in_posts);
    bool must_wake = inbox_announce(inbox);
    pthread_mutex_unlock(&inbox->mutex);
    if (must_wake)
        inbox_signal(inbox);
    return 0;
}

static void drop_posts(struct list *posts)
{
    struct list *link;
    while ((link = list_pop_front(posts)) != NULL)
        free(list_entry(link, struct real_post, in_posts));
}

static void drop_completions(struct list *completions)
{
    struct list *link;
    while ((link = list_pop_front(completions)) != NULL)
        list_entry(link, struct env_work, in_lane)->is_active = false;
}

/* Forget the announcements so far. */
static void inbox_quiet(const struct real_inbox *inbox)
{
    uint64_t count;
    ssize_t n = read(inbox->fd, &count, sizeof count);
    ASSERT(n == (ssize_t)sizeof count || errno == EAGAIN || errno == EINTR);
}

/* A callback may call env_stop(): what is left is dropped then. */
static void on_wake(uv_poll_t *poll, int status, int events)
{
    struct real_inbox *inbox = poll->data;
    (void)status; /* an error shows as one in the read */
    (void)events;
    inbox_quiet(inbox);
    struct real_world *world = container_of(inbox, struct real_world, inbox);
    struct list completions, posts, *link;
    pthread_mutex_lock(&inbox->mutex);
    inbox->is_signalled = false;
    list_move(&inbox->completions, &completions);
    list_move(&inbox->posts, &posts);
    pthread_mutex_unlock(&inbox->mutex);

    real_writes_reap(world);
    while (!world->is_stopped && (link = list_pop_front(&completions)) != NULL) {
        struct env_work *work = list_entry(link, struct env_work, in_lane);
        ASSERT(work->is_active);
        work->is_active = false;
        work->complete(work);
    }
    while (!world->is_stopped && (link = list_pop_front(&posts)) != NULL) {
        struct real_post *post = list_entry(link, struct real_post, in_posts);
        env_uv_post_cb fn = post->fn;
        void *data = post->data;
        free(post);
        fn(data);
    }
    drop_completions(&completions);
    drop_posts(&posts);
    if (atomic_load(&world->is_quitting))
        uv_stop(&world->loop);
}

int real_inbox_init(struct real_inbox *inbox, uv_loop_t *loop)
{
    list_init(&inbox->completions);
    list_init(&inbox->posts);
    inbox->is_signalled = false;
    inbox->is_stopped = false;
    atomic_init(&inbox->wakers, 0);
    inbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (inbox->fd < 0)
        return ERR_IO;
    if (uv_poll_init(loop, &inbox->poll, inbox->fd) != 0) {
        close(inbox->fd);
        return ERR_IO;
    }
    inbox->poll.data = inbox;
    pthread_mutex_init(&inbox->mutex, NULL);
    uv_poll_start(&inbox->poll, UV_READABLE, on_wake);
    return 0;
}

/* No lane thread lives any more; other threads may still post. */
void real_inbox_stop(struct real_inbox *inbox)
{
    pthread_mutex_lock(&inbox->mutex);
    inbox->is_stopped = true;
    drop_completions(&inbox->completions);
    drop_posts(&inbox->posts);
    uv_close((uv_handle_t *)&inbox->poll, NULL);
    pthread_mutex_unlock(&inbox->mutex);
}

void real_inbox_fini(struct real_inbox *inbox)
{
    ASSERT(inbox->is_stopped);
    ASSERT(list_is_empty(&inbox->posts));
    /* None is added any more, and each is one system call from its end. */
    while (atomic_load_explicit(&inbox->wakers, memory_order_acquire) > 0)
        sched_yield();
    pthread_mutex_destroy(&inbox->mutex);
    close(inbox->fd);
}
