/* SPDX-License-Identifier: Apache-2.0
 *
 * env_uv — the real world behind env.h, on libuv; and what a program or a library
 * needs to host such a world: its loop, signals, posts from other threads, a
 * thread, a mutex, a condition, a pollable notification.
 *
 *   env_uv_new() ─▶ owners are made ─▶ env_uv_run() … env_uv_quit()
 *                                      env_stop() ─▶ owners are freed ─▶ env_uv_free()
 *
 *   one loop turn: timers ─▶ poll: sockets, completions, posts
 *                  ─▶ tasks (ENV_TASK_ROUNDS_MAX rounds) ─▶ one writev per connection
 *
 * Units      as in env.h.
 * Ownership  the world owns its loop, threads, connections and listeners; posts
 *            and signal callbacks borrow their `data`, which is always the caller's.
 * Threads    env_uv_new() to env_uv_free() on one thread, the loop's, except
 *            env_uv_post(), env_uv_quit() and the host section, which any thread
 *            may use. SIGPIPE is blocked in the loop's thread while it runs and
 *            left as it was after; no signal reaches a lane's thread.
 * Errors     0 or a negative ERR_*; a struct err * may be NULL.
 * Addresses  beside those of env.h "@NAME:PORT", NAME of 1 to 63 bytes: a socket that only
 *            this very process reaches, whatever other users or processes try.
 * Limits     LANE threads as below; connecting takes ENV_UV_CONNECT_MS at most;
 *            a listener's backlog is ENV_UV_BACKLOG. A lane starts its threads
 *            with its first work: a world that only talks has no extra threads.
 */
#ifndef ENV_UV_ENV_UV_H_
#define ENV_UV_ENV_UV_H_

#include <pthread.h>

#include "env/env.h"

enum {
    ENV_UV_CONNECT_MS = 5000,     /* then on_close(ERR_TIMEOUT) */
    ENV_UV_BACKLOG = 1024,        /* of each listener */
    ENV_UV_LANE_THREADS_MAX = 16, /* per lane */
    ENV_UV_LINE_MAX = 4096,       /* bytes that are written as one line */
    ENV_UV_LAST_WORDS_MS = 1000,  /* that a process which ends waits to say why */
};

/* `message` is one line without newline. Called on the thread that failed;
 * the process exits with status 1 when it returns. */
typedef void (*env_uv_fatal_cb)(void *data, const char *message);

/* Is fault point `site` to strike now? Called on any thread. */
typedef bool (*env_uv_fault_cb)(void *data, const char *site);

struct env_uv_options {
    unsigned read_threads;    /* of ENV_LANE_READ; 0: 2 */
    unsigned compact_threads; /* of ENV_LANE_COMPACT; 0: 1 */
    env_uv_fatal_cb on_fatal; /* NULL: one line to standard error */
    env_uv_fault_cb on_fault; /* NULL: no faults */
    void *data;               /* for both; borrowed, outlives the world */
};

/* Let malloc() take blocks of a megabyte and more from the system, each for itself, and give
 * them back: aligned ones (base/pages.h) leave holes in its heap else that no other fits into,
 * and memory grows to several times of what is in use. For mains of our own, first of all; it is
 * not for a library to decide. */
void env_uv_tune_memory(void);

/* Write `len` bytes (ENV_UV_LINE_MAX at most) to `fd`, as a line of a log, in one call, so that
 * lines never mix; and wait `wait_ms` at most until it takes them: whoever reads a pipe may have
 * stopped, which must not stop us. False: they were not written whole. Any thread, but where
 * several write to the same descriptor only one of them at a time. */
bool env_uv_write_line(int fd, const char *line, size_t len, int wait_ms);

/* Cores that the process may use now: at least 1. */
uint32_t env_uv_cores(void);

/* A world whose loop runs on the calling thread (or on the one thread that calls
 * everything after this). `options` may be NULL. ERR_NOMEM, ERR_IO. */
int env_uv_new(const struct env_uv_options *options, struct env **ret_env, struct err *err);

/* Turn the loop until env_uv_quit(). May be called again after. */
void env_uv_run(struct env *env);

/* Make the present env_uv_run(), or else the next one, return at the end of its
 * turn. Any thread, any callback. */
void env_uv_quit(struct env *env);

/* After env_stop() and after env_uv_run() returned. NULL is fine. */
void env_uv_free(struct env *env);

typedef void (*env_uv_signal_cb)(void *data, int signum);

/* For mains: call `cb` on the loop whenever the process gets `signum`. */
int env_uv_on_signal(struct env *env, int signum, env_uv_signal_cb cb, void *data, struct err *err);

/* ---- host: for those who live on other threads ---------------------------- */

typedef void (*env_uv_post_cb)(void *data);

/* Run fn(data) on the loop: in posting order, many posts with one wake-up. Any
 * thread, any time between env_uv_new() and env_uv_free(). 0, ERR_NOMEM, or
 * ERR_CANCELED once the world is stopped. What was posted but did not run before
 * env_stop() never runs: `data` must have another owner. */
int env_uv_post(struct env *env, env_uv_post_cb fn, void *data);

struct env_uv_thread;

/* A thread with all signals blocked and at most 15 bytes of `name`. */
int env_uv_thread_start(const char *name, env_uv_post_cb fn, void *data,
                        struct env_uv_thread **ret_thread, struct err *err);

/* Wait until its function returned; frees it. NULL is fine. */
void env_uv_thread_join(struct env_uv_thread *thread);

/* True on that very thread: joining it from there would wait for ever. */
bool env_uv_thread_is_self(const struct env_uv_thread *thread);

struct env_uv_mutex {
    pthread_mutex_t mutex; /* private */
};

struct env_uv_cond {
    pthread_cond_t cond; /* private */
};

/* Caller's memory; asserts, as all of these, instead of failing. */
void env_uv_mutex_init(struct env_uv_mutex *mutex);

/* Nobody holds it or waits for it. */
void env_uv_mutex_fini(struct env_uv_mutex *mutex);

/* Not recursive. */
void env_uv_mutex_lock(struct env_uv_mutex *mutex);

/* By the thread that locked it. */
void env_uv_mutex_unlock(struct env_uv_mutex *mutex);

/* Caller's memory. Deadlines are of the monotonic clock. */
void env_uv_cond_init(struct env_uv_cond *cond);

/* Nobody waits for it. */
void env_uv_cond_fini(struct env_uv_cond *cond);

/* `mutex` is held by the caller; spurious returns happen: test again. */
void env_uv_cond_wait(struct env_uv_cond *cond, struct env_uv_mutex *mutex);

/* As above, until `deadline_us` of env_now_us() at most; false when it passed. */
bool env_uv_cond_wait_until(struct env_uv_cond *cond, struct env_uv_mutex *mutex,
                            uint64_t deadline_us);

/* Wake one of those who wait, or all of them. */
void env_uv_cond_signal(struct env_uv_cond *cond);
void env_uv_cond_broadcast(struct env_uv_cond *cond);

/* A descriptor (an eventfd) that becomes readable by env_uv_notify_set() and stays
 * so until env_uv_notify_clear(): fits any event loop. Non-blocking, closed on exec. */
int env_uv_notify_open(int *ret_fd, struct err *err);

/* Any thread; harmless when it is set already. */
void env_uv_notify_set(int fd);

/* Harmless when it is not set. */
void env_uv_notify_clear(int fd);

/* A negative descriptor is fine. */
void env_uv_notify_close(int fd);

#endif
