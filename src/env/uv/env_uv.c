/* SPDX-License-Identifier: Apache-2.0
 *
 * The world and its turn.
 *
 *   libuv's timers ─▶ on_prepare: arm our timer; do not wait if there are tasks
 *   ─▶ poll (sockets, inbox) ─▶ on_check: tasks in rounds, then the writes
 *
 * Tasks that timers or libuv's close callbacks post before the poll are not run
 * there: the poll is made not to wait, so that they still see all input that is
 * ready, and run in on_check like the others.
 */
#include "env/uv/env_uv.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/plant.h"
#include "env/uv/real_internal.h"

struct real_signal {
    uv_signal_t handle;
    env_uv_signal_cb cb;
    void *data;
    struct list in_signals;
};

/* ---- clocks, randomness, faults -------------------------------------------- */

static uint64_t clock_read(clockid_t id, uint64_t per_second)
{
    struct timespec ts;
    int status = clock_gettime(id, &ts);
    ASSERT(status == 0);
    return (uint64_t)ts.tv_sec * per_second +
           (uint64_t)ts.tv_nsec / (UINT64_C(1000000000) / per_second);
}

static uint64_t op_now_us(struct env *env)
{
    (void)env;
    return clock_read(CLOCK_MONOTONIC, 1000000);
}

static uint64_t op_wall_ms(struct env *env)
{
    (void)env;
    return clock_read(CLOCK_REALTIME, 1000);
}

static uint64_t op_turn_us(struct env *env)
{
    struct real_world *world = real_world_of(env);
    if (world->turn_us == 0)
        world->turn_us = op_now_us(env);
    return world->turn_us;
}

static uint64_t op_turn_wall_ms(struct env *env)
{
    struct real_world *world = real_world_of(env);
    if (world->turn_wall_ms == 0)
        world->turn_wall_ms = op_wall_ms(env);
    return world->turn_wall_ms;
}

/* Another part of the turn begins, or the poll will wait: who asks then reads the clocks. */
static void clocks_forget(struct real_world *world)
{
    world->turn_us = 0;
    world->turn_wall_ms = 0;
}

static void op_trim_memory(struct env *env)
{
    (void)env;
#ifdef __GLIBC__
    malloc_trim(0); /* it keeps what is free between what is not, for ever */
#endif
}

static uint64_t op_random(struct env *env)
{
    return rng_u64(&real_world_of(env)->rng);
}

/* The kernel's generator fails only where it does not exist. */
static void op_random_bytes(struct env *env, void *data, size_t len)
{
    uint8_t *at = data;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            env_fatal(env, "getrandom: %s", strerror(errno));
            return;
        }
        at += n;
        len -= (size_t)n;
    }
}

static void op_fatal(struct env *env, const char *message)
{
    const struct env_uv_options *options = &real_world_of(env)->options;
    if (options->on_fatal != NULL) {
        options->on_fatal(options->data, message);
    } else {
        char line[ENV_UV_LINE_MAX];
        int n = snprintf(line, sizeof line, "fatal: %s\n", message);
        env_uv_write_line(STDERR_FILENO, line, MIN((size_t)n, sizeof line - 1),
                          ENV_UV_LAST_WORDS_MS);
    }
    _exit(1);
}

static bool op_fault(struct env *env, const char *site)
{
    const struct env_uv_options *options = &real_world_of(env)->options;
    return options->on_fault != NULL && options->on_fault(options->data, site);
}

/* ---- the turn --------------------------------------------------------------- */

static void op_task_post(struct env *env, struct env_task *task)
{
    struct real_world *world = real_world_of(env);
    if (!world->is_stopped)
        list_push_back(&world->tasks, &task->in_tasks);
}

static void op_task_post_late(struct env *env, struct env_task *task)
{
    struct real_world *world = real_world_of(env);
    if (!world->is_stopped)
        list_push_back(&world->late, &task->in_tasks);
}

static void tasks_drop(struct list *tasks)
{
    while (list_pop_front(tasks) != NULL)
        ;
}

/* Those that are queued now; what they post is the next round. */
static void tasks_run_round(struct real_world *world)
{
    struct list round, *link;
    list_init(&round);
    while ((link = list_pop_front(&world->tasks)) != NULL)
        list_push_back(&round, link);
    while (!world->is_stopped && (link = list_pop_front(&round)) != NULL) {
        struct env_task *task = list_entry(link, struct env_task, in_tasks);
        task->cb(task);
    }
    tasks_drop(&round);
}

static bool has_turn_work(const struct real_world *world)
{
    return !list_is_empty(&world->tasks) || !list_is_empty(&world->flush) ||
           !list_is_empty(&world->late);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* being active is all that it does */
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct real_world *world = prepare->data;
    real_timers_arm(&world->timers);
    if (has_turn_work(world))
        uv_idle_start(&world->idle, on_idle);
    clocks_forget(world);
}

static void on_check(uv_check_t *check)
{
    struct real_world *world = check->data;
    int round = 0;
    clocks_forget(world);
    while (has_turn_work(world) && round < ENV_TASK_ROUNDS_MAX) {
        do {
            tasks_run_round(world);
            round++;
        } while (!list_is_empty(&world->tasks) && round < ENV_TASK_ROUNDS_MAX);
        real_conns_flush(world);
        struct list *link;
        while ((link = list_pop_front(&world->late)) != NULL)
            list_push_back(&world->tasks, link);
    }
    if (!world->is_stopped)
        uv_idle_stop(&world->idle); /* on_prepare looks again */
    clocks_forget(world);
}

/* A write to a closed socket shall be an error, not the end of the process, and
 * the process' own disposition is not ours to change. True if it was not blocked. */
static bool sigpipe_block(void)
{
    sigset_t pipe_set, before;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
    return sigismember(&before, SIGPIPE) == 0;
}

static void sigpipe_unblock(void)
{
    sigset_t pipe_set;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    struct timespec none = {0};
    while (sigtimedwait(&pipe_set, NULL, &none) == SIGPIPE)
        ; /* ours: forget it */
    pthread_sigmask(SIG_UNBLOCK, &pipe_set, NULL);
}

void env_uv_run(struct env *env)
{
    struct real_world *world = real_world_of(env);
    ASSERT(!world->is_running);
    ASSERT(!world->is_stopped);
    bool was_unblocked = sigpipe_block();
    world->is_running = true;
    uv_run(&world->loop, UV_RUN_DEFAULT);
    world->is_running = false;
    atomic_store(&world->is_quitting, false);
    if (was_unblocked)
        sigpipe_unblock();
}

void env_uv_quit(struct env *env)
{
    struct real_world *world = real_world_of(env);
    real_inbox_quit(&world->inbox, &world->is_quitting);
}

/* ---- signals ---------------------------------------------------------------- */

static void on_signal(uv_signal_t *handle, int signum)
{
    struct real_signal *signal = container_of(handle, struct real_signal, handle);
    signal->cb(signal->data, signum);
}

static void on_signal_closed(uv_handle_t *handle)
{
    free(container_of((uv_signal_t *)handle, struct real_signal, handle));
}

int env_uv_on_signal(struct env *env, int signum, env_uv_signal_cb cb, void *data, struct err *err)
{
    struct real_world *world = real_world_of(env);
    ASSERT(cb != NULL);
    ASSERT(!world->is_stopped);
    struct real_signal *signal = malloc(sizeof *signal);
    if (signal == NULL)
        return err_set(err, ERR_NOMEM, "handle signal %d: out of memory", signum);
    *signal = (struct real_signal){.cb = cb, .data = data};
    int status = uv_signal_init(&world->loop, &signal->handle);
    if (status != 0) {
        free(signal);
        return err_set(err, ERR_IO, "handle signal %d: %s", signum, uv_strerror(status));
    }
    list_init(&signal->in_signals);
    list_push_back(&world->signals, &signal->in_signals);
    status = uv_signal_start(&signal->handle, on_signal, signum);
    if (status == 0)
        return 0;
    list_remove(&signal->in_signals);
    uv_close((uv_handle_t *)&signal->handle, on_signal_closed);
    return err_set(err, ERR_IO, "handle signal %d: %s", signum, uv_strerror(status));
}

static void signals_stop(struct real_world *world)
{
    struct list *link;
    while ((link = list_pop_front(&world->signals)) != NULL) {
        struct real_signal *signal = list_entry(link, struct real_signal, in_signals);
        uv_close((uv_handle_t *)&signal->handle, on_signal_closed);
    }
}

/* ---- life ------------------------------------------------------------------- */

/* From a callback it only closes: the running loop ends by itself then. */
static void op_stop(struct env *env)
{
    struct real_world *world = real_world_of(env);
    if (world->is_stopped)
        return;
    world->is_stopped = true;
    real_lanes_stop(world);
    real_writes_stop(&world->writes);
    real_inbox_stop(&world->inbox);
    tasks_drop(&world->tasks);
    tasks_drop(&world->late);
    real_conns_stop(world);
    real_listeners_stop(world);
    real_timers_stop(&world->timers);
    signals_stop(world);
    uv_close((uv_handle_t *)&world->prepare, NULL);
    uv_close((uv_handle_t *)&world->check, NULL);
    uv_close((uv_handle_t *)&world->idle, NULL);
    if (!world->is_running)
        uv_run(&world->loop, UV_RUN_DEFAULT);
}

static void world_fill_ops(struct real_world *world)
{
    struct env_ops *ops = &world->ops;
    *ops = (struct env_ops){.now_us = op_now_us,
                            .wall_ms = op_wall_ms,
                            .turn_us = op_turn_us,
                            .turn_wall_ms = op_turn_wall_ms,
                            .random = op_random,
                            .random_bytes = op_random_bytes,
                            .fatal = op_fatal,
                            .fault = op_fault,
                            .stop = op_stop,
                            .trim_memory = op_trim_memory,
                            .task_post = op_task_post,
                            .task_post_late = op_task_post_late};
    real_timers_fill(ops);
    real_lanes_fill(ops);
    real_files_fill(ops);
    real_folders_fill(ops);
    real_locks_fill(ops);
    real_conns_fill(ops);
    real_dial_fill(ops);
    real_listeners_fill(ops);
    world->base.ops = ops;
}

static void world_init_turn(struct real_world *world)
{
    uv_prepare_init(&world->loop, &world->prepare);
    uv_check_init(&world->loop, &world->check);
    uv_idle_init(&world->loop, &world->idle);
    world->prepare.data = world->check.data = world->idle.data = world;
    uv_prepare_start(&world->prepare, on_prepare);
    uv_check_start(&world->check, on_check);
}

static void handle_close(uv_handle_t *handle, void *data)
{
    (void)data;
    uv_close(handle, NULL);
}

/* A program may have been started with standard streams closed. A socket in their place
 * would get what others print there, and libuv takes closing it for a bug. What stands in
 * for them cannot be used, so whoever tries hears of it as before. */
static void keep_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
}

/* A world that could not be finished. */
static void world_abandon(struct real_world *world)
{
    uv_walk(&world->loop, handle_close, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    uv_loop_close(&world->loop);
    real_timers_fini(&world->timers);
    real_locks_fini(world);
    free(world);
}

#ifdef HOLDFAST_PLANTED
/* In a planted build real processes have bugs too: those that their environment names. */
static int choose_plant(struct err *err)
{
    const char *name = getenv("HOLDFAST_PLANT");
    if (plant_choose(name) != 0)
        return err_set(err, ERR_INVALID, "HOLDFAST_PLANT names no bug: '%s'", name);
    if (plant_chosen() != NULL)
        fprintf(stderr, "this process has the planted bug %s\n", plant_chosen());
    return 0;
}
#else
static int choose_plant(struct err *err)
{
    (void)err;
    return 0;
}
#endif

enum { MALLOC_LARGE = 1 << 20, MALLOC_KEPT = 8 << 20 };

void env_uv_tune_memory(void)
{
    /* The first ends the guessing of both: the second would stay at 128 KiB. */
    (void)mallopt(M_MMAP_THRESHOLD, MALLOC_LARGE);
    (void)mallopt(M_TRIM_THRESHOLD, MALLOC_KEPT);
}

uint32_t env_uv_cores(void)
{
    return uv_available_parallelism();
}

int env_uv_new(const struct env_uv_options *options, struct env **ret_env, struct err *err)
{
    int rv = choose_plant(err);
    if (rv != 0)
        return rv;
    struct real_world *world = calloc(1, sizeof *world);
    if (world == NULL)
        return err_set(err, ERR_NOMEM, "start the event loop: out of memory");
    keep_standard_streams();
    world_fill_ops(world);
    if (options != NULL)
        world->options = *options;
    list_init(&world->tasks);
    list_init(&world->late);
    list_init(&world->signals);
    list_init(&world->conns);
    list_init(&world->flush);
    list_init(&world->listeners);
    real_locks_init(world);
    real_writes_init(&world->writes);
    uint64_t seed;
    op_random_bytes(&world->base, &seed, sizeof seed);
    rng_init(&world->rng, seed);

    int status = uv_loop_init(&world->loop);
    if (status != 0) {
        real_locks_fini(world);
        free(world);
        return err_set(err, ERR_IO, "start the event loop: %s", uv_strerror(status));
    }
    if (real_timers_init(&world->timers, &world->loop) != 0 ||
        real_inbox_init(&world->inbox, &world->loop) != 0) {
        world_abandon(world);
        return err_set(err, ERR_NOMEM, "start the event loop: out of memory or descriptors");
    }
    world_init_turn(world);
    real_lanes_init(world, world->options.read_threads, world->options.compact_threads);
    *ret_env = &world->base;
    return 0;
}

void env_uv_free(struct env *env)
{
    if (env == NULL)
        return;
    struct real_world *world = real_world_of(env);
    ASSERT(world->is_stopped);
    ASSERT(!world->is_running);
    uv_run(&world->loop, UV_RUN_DEFAULT); /* stopped from a callback: the rest */
    int status = uv_loop_close(&world->loop);
    ASSERT(status == 0);
    real_inbox_fini(&world->inbox);
    real_lanes_fini(world);
    real_timers_fini(&world->timers);
    real_locks_fini(world);
    free(world);
}
