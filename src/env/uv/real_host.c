/* SPDX-License-Identifier: Apache-2.0
 *
 * The host section of env_uv.h: a thread, a mutex, a condition, an eventfd.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "env/uv/real_internal.h"

struct env_uv_thread {
    pthread_t id;
    _Atomic(pthread_t) self; /* written by the thread itself, first */
    env_uv_post_cb fn;
    void *data;
};

static void *thread_main(void *arg)
{
    struct env_uv_thread *thread = arg;
    atomic_store(&thread->self, pthread_self());
    thread->fn(thread->data);
    return NULL;
}

int env_uv_thread_start(const char *name, env_uv_post_cb fn, void *data,
                        struct env_uv_thread **ret_thread, struct err *err)
{
    ASSERT(fn != NULL);
    struct env_uv_thread *thread = malloc(sizeof *thread);
    if (thread == NULL)
        return err_set(err, ERR_NOMEM, "start thread %s: out of memory", name);
    thread->fn = fn;
    thread->data = data;
    atomic_init(&thread->self, 0);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&thread->id, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != 0) {
        free(thread);
        return err_set_errno(err, status, "start thread %s", name);
    }
    char short_name[16];
    snprintf(short_name, sizeof short_name, "%s", name);
    pthread_setname_np(thread->id, short_name);
    *ret_thread = thread;
    return 0;
}

void env_uv_thread_join(struct env_uv_thread *thread)
{
    if (thread == NULL)
        return;
    ASSERT(!env_uv_thread_is_self(thread));
    int status = pthread_join(thread->id, NULL);
    ASSERT(status == 0);
    free(thread);
}

/* pthread_t is a number on Linux, and no thread's is 0. */
bool env_uv_thread_is_self(const struct env_uv_thread *thread)
{
    return atomic_load(&thread->self) == pthread_self();
}

void env_uv_mutex_init(struct env_uv_mutex *mutex)
{
    int status = pthread_mutex_init(&mutex->mutex, NULL);
    ASSERT(status == 0);
}

void env_uv_mutex_fini(struct env_uv_mutex *mutex)
{
    int status = pthread_mutex_destroy(&mutex->mutex);
    ASSERT(status == 0);
}

void env_uv_mutex_lock(struct env_uv_mutex *mutex)
{
    int status = pthread_mutex_lock(&mutex->mutex);
    ASSERT(status == 0);
}

void env_uv_mutex_unlock(struct env_uv_mutex *mutex)
{
    int status = pthread_mutex_unlock(&mutex->mutex);
    ASSERT(status == 0);
}

void env_uv_cond_init(struct env_uv_cond *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int status = pthread_cond_init(&cond->cond, &attr);
    ASSERT(status == 0);
    pthread_condattr_destroy(&attr);
}

void env_uv_cond_fini(struct env_uv_cond *cond)
{
    int status = pthread_cond_destroy(&cond->cond);
    ASSERT(status == 0);
}

void env_uv_cond_wait(struct env_uv_cond *cond, struct env_uv_mutex *mutex)
{
    int status = pthread_cond_wait(&cond->cond, &mutex->mutex);
    ASSERT(status == 0);
}

bool env_uv_cond_wait_until(struct env_uv_cond *cond, struct env_uv_mutex *mutex,
                            uint64_t deadline_us)
{
    struct timespec at = {.tv_sec = (time_t)MIN(deadline_us / 1000000, (uint64_t)INT32_MAX),
                          .tv_nsec = (long)(deadline_us % 1000000) * 1000};
    int status = pthread_cond_timedwait(&cond->cond, &mutex->mutex, &at);
    ASSERT(status == 0 || status == ETIMEDOUT);
    return status == 0;
}

void env_uv_cond_signal(struct env_uv_cond *cond)
{
    pthread_cond_signal(&cond->cond);
}

void env_uv_cond_broadcast(struct env_uv_cond *cond)
{
    pthread_cond_broadcast(&cond->cond);
}

int env_uv_notify_open(int *ret_fd, struct err *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, errno, "open an eventfd");
    *ret_fd = fd;
    return 0;
}

/* A full counter is readable already, which is all that is promised. */
void env_uv_notify_set(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    ASSERT(n == (ssize_t)sizeof one || errno == EAGAIN);
}

void env_uv_notify_clear(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    ASSERT(n == (ssize_t)sizeof count || errno == EAGAIN);
}

void env_uv_notify_close(int fd)
{
    if (fd >= 0)
        close(fd);
}
