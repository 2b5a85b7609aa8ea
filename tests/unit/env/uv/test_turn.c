/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks, posts, lanes: what a loop turn is made of; and the ends of a world. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/pages.h"
#include "env/uv/env_uv.h"
#include "support/check.h"

enum { WORKS = 200, POSTS = 1000, POSTERS = 4 };

struct job {
    struct env_work work;
    struct fixture *f;
    int number;
    atomic_bool was_executed;
};

struct fixture {
    struct env *env;
    struct env_task tasks[3];
    struct env_timer timer;
    int ran[64];
    int ran_count;
    int depth;
    uint64_t turn_us;
    struct job jobs[WORKS];
    int completed;
    struct env_uv_mutex mutex;
    struct env_uv_cond cond;
    bool is_open; /* lets a blocked execute() go on */
    bool is_inside;
    int posted[POSTERS];
    int posts_seen;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(env_uv_new(NULL, &f->env, NULL), 0);
    env_uv_mutex_init(&f->mutex);
    env_uv_cond_init(&f->cond);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    env_stop(f->env);
    env_stop(f->env); /* idempotent */
    env_uv_free(f->env);
    env_uv_cond_fini(&f->cond);
    env_uv_mutex_fini(&f->mutex);
    free(f);
    return 0;
}

static void on_task(struct env_task *task)
{
    struct fixture *f = task->data;
    f->ran[f->ran_count++] = (int)(task - f->tasks);
}

static void on_timer_quit(struct env_timer *timer)
{
    struct fixture *f = timer->data;
    env_uv_quit(f->env);
}

static void on_timer_post_tasks(struct env_timer *timer)
{
    struct fixture *f = timer->data;
    for (int i = 0; i < 3; i++)
        env_task_post(f->env, &f->tasks[i]);
    env_task_post(f->env, &f->tasks[0]); /* queued already */
    env_task_cancel(&f->tasks[1]);
    env_uv_quit(f->env);
}

static void test_tasks_run_once_in_the_turn_of_the_timer_that_posted_them(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++)
        env_task_init(&f->tasks[i], on_task, f);
    env_timer_init(&f->timer, f->env, on_timer_post_tasks, f);
    env_timer_start(&f->timer, 0);
    env_uv_run(f->env);
    assert_int_equal(f->ran_count, 2);
    assert_int_equal(f->ran[0], 0);
    assert_int_equal(f->ran[1], 2);
}

static void on_task_posts_next(struct env_task *task)
{
    struct fixture *f = task->data;
    on_task(task);
    env_task_post(f->env, task + 1);
}

static void on_timer_post_late(struct env_timer *timer)
{
    struct fixture *f = timer->data;
    env_task_post_late(f->env, &f->tasks[2]);
    env_task_post(f->env, &f->tasks[2]); /* queued already */
    env_task_post(f->env, &f->tasks[0]);
    env_uv_quit(f->env);
}

static void test_late_tasks_run_behind_all_others_of_the_turn(void **state)
{
    struct fixture *f = *state;
    env_task_init(&f->tasks[0], on_task_posts_next, f);
    env_task_init(&f->tasks[1], on_task, f);
    env_task_init(&f->tasks[2], on_task, f);
    env_timer_init(&f->timer, f->env, on_timer_post_late, f);
    env_timer_start(&f->timer, 0);
    env_uv_run(f->env);
    assert_int_equal(f->ran_count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(f->ran[i], i);
}

/* Stands still for a while; the turn's clocks do, too. */
static void on_task_clocks(struct env_task *task)
{
    struct fixture *f = task->data;
    uint64_t began_us = env_now_us(f->env);
    uint64_t turn_us = env_turn_us(f->env);
    uint64_t turn_wall_ms = env_turn_wall_ms(f->env);
    assert_true(f->turn_us < turn_us); /* the timer's part of the turn is another */
    while (env_now_us(f->env) < began_us + 3000)
        ;
    assert_true(env_turn_us(f->env) == turn_us && env_turn_wall_ms(f->env) == turn_wall_ms);
    assert_true(turn_us <= env_now_us(f->env));
    env_uv_quit(f->env);
}

static void on_timer_clocks(struct env_timer *timer)
{
    struct fixture *f = timer->data;
    f->turn_us = env_turn_us(f->env);
    while (env_now_us(f->env) <= f->turn_us)
        ;
    assert_true(env_turn_us(f->env) == f->turn_us);
    env_task_post(f->env, &f->tasks[0]);
}

static void test_the_clocks_of_a_turn_stand_still(void **state)
{
    struct fixture *f = *state;
    uint64_t before_us = env_now_us(f->env);
    env_task_init(&f->tasks[0], on_task_clocks, f);
    env_timer_init(&f->timer, f->env, on_timer_clocks, f);
    env_timer_start(&f->timer, 2000);
    env_uv_run(f->env);
    assert_true(f->turn_us >= before_us + 2000); /* it was read after the wait, not before */
}

static void on_task_again(struct env_task *task)
{
    struct fixture *f = task->data;
    if (++f->depth < 5 * ENV_TASK_ROUNDS_MAX)
        env_task_post(f->env, task);
    else
        env_uv_quit(f->env);
}

static void test_a_task_that_posts_itself_goes_on_without_input(void **state)
{
    struct fixture *f = *state;
    env_task_init(&f->tasks[0], on_task_again, f);
    env_task_post(f->env, &f->tasks[0]);
    env_uv_run(f->env);
    assert_int_equal(f->depth, 5 * ENV_TASK_ROUNDS_MAX);
}

static void execute(struct env_work *work)
{
    struct job *job = work->data;
    atomic_store(&job->was_executed, true);
}

static void complete_in_order(struct env_work *work)
{
    struct job *job = work->data;
    assert_false(work->is_active);
    assert_true(atomic_load(&job->was_executed));
    assert_int_equal(job->number, job->f->completed);
    if (++job->f->completed == WORKS)
        env_uv_quit(job->f->env);
}

static void complete_any(struct env_work *work)
{
    struct job *job = work->data;
    assert_true(atomic_load(&job->was_executed));
    if (++job->f->completed == WORKS)
        env_uv_quit(job->f->env);
}

static void jobs_submit(struct fixture *f, enum env_lane lane, env_work_cb complete)
{
    for (int i = 0; i < WORKS; i++) {
        struct job *job = &f->jobs[i];
        job->f = f;
        job->number = i;
        env_work_init(&job->work, execute, complete, job);
        env_work_submit(f->env, lane, &job->work);
        assert_true(job->work.is_active);
    }
}

static void test_a_lane_of_one_thread_keeps_order(void **state)
{
    struct fixture *f = *state;
    jobs_submit(f, ENV_LANE_LOG, complete_in_order);
    env_uv_run(f->env);
    assert_int_equal(f->completed, WORKS);
}

static void test_a_lane_of_several_threads_completes_all(void **state)
{
    struct fixture *f = *state;
    jobs_submit(f, ENV_LANE_READ, complete_any);
    env_uv_run(f->env);
    assert_int_equal(f->completed, WORKS);
}

static void execute_blocked(struct env_work *work)
{
    struct fixture *f = ((struct job *)work->data)->f;
    env_uv_mutex_lock(&f->mutex);
    f->is_inside = true;
    env_uv_cond_broadcast(&f->cond);
    while (!f->is_open)
        env_uv_cond_wait(&f->cond, &f->mutex);
    env_uv_mutex_unlock(&f->mutex);
}

static void open_the_door(struct fixture *f)
{
    env_uv_mutex_lock(&f->mutex);
    f->is_open = true;
    env_uv_cond_broadcast(&f->cond);
    env_uv_mutex_unlock(&f->mutex);
}

static void complete_log_then_open(struct env_work *work)
{
    struct fixture *f = ((struct job *)work->data)->f;
    assert_int_equal(f->completed++, 0);
    open_the_door(f);
}

static void complete_and_quit(struct env_work *work)
{
    struct fixture *f = ((struct job *)work->data)->f;
    assert_int_equal(f->completed++, 1);
    env_uv_quit(f->env);
}

static void test_lanes_do_not_wait_for_each_other(void **state)
{
    struct fixture *f = *state;
    f->jobs[0].f = f->jobs[1].f = f;
    env_work_init(&f->jobs[0].work, execute_blocked, complete_and_quit, &f->jobs[0]);
    env_work_init(&f->jobs[1].work, execute, complete_log_then_open, &f->jobs[1]);
    env_work_submit(f->env, ENV_LANE_COMPACT, &f->jobs[0].work);
    env_work_submit(f->env, ENV_LANE_LOG, &f->jobs[1].work);
    env_uv_run(f->env);
    assert_int_equal(f->completed, 2);
}

static void never(struct env_work *work)
{
    (void)work;
    fail_msg("called after env_stop()");
}

static void open_later(void *data)
{
    struct fixture *f = data;
    env_uv_mutex_lock(&f->mutex);
    while (!f->is_inside)
        env_uv_cond_wait(&f->cond, &f->mutex);
    env_uv_mutex_unlock(&f->mutex);
    open_the_door(f);
}

static void test_stop_waits_for_running_work_and_drops_the_rest(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        f->jobs[i].f = f;
        env_work_init(&f->jobs[i].work, execute_blocked, never, &f->jobs[i]);
        env_work_submit(f->env, ENV_LANE_FLUSH, &f->jobs[i].work);
    }
    struct env_uv_thread *thread;
    assert_int_equal(env_uv_thread_start("opener", open_later, f, &thread, NULL), 0);
    env_uv_mutex_lock(&f->mutex);
    while (!f->is_inside)
        env_uv_cond_wait(&f->cond, &f->mutex);
    env_uv_mutex_unlock(&f->mutex);
    env_stop(f->env);
    env_uv_thread_join(thread);
    for (int i = 0; i < 3; i++)
        assert_false(f->jobs[i].work.is_active);
    env_work_submit(f->env, ENV_LANE_FLUSH, &f->jobs[0].work); /* dropped */
}

static void on_task_stop(struct env_task *task)
{
    struct fixture *f = task->data;
    f->ran_count++;
    env_stop(f->env);
}

static void test_stop_from_a_callback_ends_the_run(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        env_task_init(&f->tasks[i], on_task_stop, f);
        env_task_post(f->env, &f->tasks[i]);
    }
    env_timer_init(&f->timer, f->env, on_timer_quit, f);
    env_timer_start(&f->timer, 0);
    env_uv_run(f->env);
    assert_int_equal(f->ran_count, 1);
    for (int i = 0; i < 3; i++)
        assert_false(list_is_linked(&f->tasks[i].in_tasks));
}

struct post {
    struct fixture *f;
    int poster;
    int number;
};

static void on_post(void *data)
{
    struct post *post = data;
    struct fixture *f = post->f;
    assert_int_equal(f->posted[post->poster]++, post->number);
    free(post);
    if (++f->posts_seen == POSTERS * POSTS)
        env_uv_quit(f->env);
}

static void poster_main(void *data)
{
    struct post *self = data;
    for (int i = 0; i < POSTS; i++) {
        struct post *post = malloc(sizeof *post);
        *post = (struct post){.f = self->f, .poster = self->poster, .number = i};
        assert_int_equal(env_uv_post(self->f->env, on_post, post), 0);
    }
}

static void test_posts_of_many_threads_run_in_each_ones_order(void **state)
{
    struct fixture *f = *state;
    struct env_uv_thread *threads[POSTERS];
    struct post selves[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        selves[i] = (struct post){.f = f, .poster = i};
        assert_int_equal(env_uv_thread_start("poster", poster_main, &selves[i], &threads[i], NULL),
                         0);
    }
    env_uv_run(f->env);
    for (int i = 0; i < POSTERS; i++)
        env_uv_thread_join(threads[i]);
    assert_int_equal(f->posts_seen, POSTERS * POSTS);
}

static void post_after_stop(void *data)
{
    (void)data;
    fail_msg("ran after env_stop()");
}

static void test_posts_after_stop_are_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(env_uv_post(f->env, post_after_stop, NULL), 0); /* dropped */
    env_stop(f->env);
    assert_int_equal(env_uv_post(f->env, post_after_stop, NULL), ERR_CANCELED);
    env_uv_quit(f->env); /* harmless */
}

static void test_quit_before_run_returns_from_the_next_run(void **state)
{
    struct fixture *f = *state;
    env_uv_quit(f->env);
    env_uv_run(f->env);
    env_timer_init(&f->timer, f->env, on_timer_quit, f);
    env_timer_start(&f->timer, 0);
    env_uv_run(f->env); /* the quit was used up: only the timer ends this one */
    assert_false(env_timer_is_active(&f->timer));
}

static void on_signal(void *data, int signum)
{
    struct fixture *f = data;
    f->ran[f->ran_count++] = signum;
    env_uv_quit(f->env);
}

static void on_timer_raise(struct env_timer *timer)
{
    (void)timer;
    raise(SIGUSR1);
}

static void test_signals_come_to_the_loop(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(env_uv_on_signal(f->env, SIGUSR1, on_signal, f, NULL), 0);
    env_timer_init(&f->timer, f->env, on_timer_raise, f);
    env_timer_start(&f->timer, 0);
    env_uv_run(f->env);
    assert_int_equal(f->ran_count, 1);
    assert_int_equal(f->ran[0], SIGUSR1);
    struct err err = {0};
    assert_int_equal(env_uv_on_signal(f->env, SIGKILL, on_signal, f, &err), ERR_IO);
    assert_non_null(strstr(err.msg, "signal 9"));
}

static void on_fatal(void *data, const char *message)
{
    int fd = *(int *)data;
    if (write(fd, message, strlen(message)) < 0)
        _exit(9);
}

static void test_fatal_says_why_and_exits_with_1(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct env_uv_options options = {.on_fatal = on_fatal, .data = &fds[1]};
        struct env *env;
        if (env_uv_new(&options, &env, NULL) == 0)
            env_fatal(env, "sync %s failed", "log");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    char text[64] = {0};
    assert_true(read(fds[0], text, sizeof text - 1) > 0);
    assert_string_equal(text, "sync log failed");
    close(fds[0]);
    close(fds[1]);
}

/* 0 if a world lives and ends well without standard streams, and none of them can be
 * used by mistake. */
static int live_without_standard_streams(void)
{
    struct env *env;
    char byte = 0;
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    if (env_uv_new(NULL, &env, NULL) != 0)
        return 1;
    if (read(0, &byte, 1) >= 0 || write(1, &byte, 1) >= 0 || write(2, &byte, 1) >= 0)
        return 2;
    env_stop(env);
    env_uv_free(env);
    return 0;
}

static void test_standard_streams_may_be_closed(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(live_without_standard_streams());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static bool on_fault(void *data, const char *site)
{
    (void)data;
    return strcmp(site, "here") == 0;
}

static void test_faults_strike_only_where_the_hook_says(void **state)
{
    (void)state;
    struct env_uv_options options = {.on_fault = on_fault};
    struct env *env, *calm;
    assert_int_equal(env_uv_new(&options, &env, NULL), 0);
    assert_int_equal(env_uv_new(NULL, &calm, NULL), 0);
    assert_true(env_fault(env, "here"));
    assert_false(env_fault(env, "there"));
    assert_false(env_fault(calm, "here"));
    uint8_t a[32] = {0}, b[32] = {0};
    env_random_bytes(env, a, sizeof a);
    env_random_bytes(env, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_not_equal(env_random(env), env_random(calm));
    env_stop(env);
    env_uv_free(env);
    env_stop(calm);
    env_uv_free(calm);
}

static void test_notify_is_readable_from_set_to_clear(void **state)
{
    struct fixture *f = *state;
    int fd;
    assert_int_equal(env_uv_notify_open(&fd, NULL), 0);
    env_uv_notify_clear(fd); /* harmless when not set */
    env_uv_notify_set(fd);
    env_uv_notify_set(fd);
    uint64_t count = 0;
    assert_int_equal(read(fd, &count, sizeof count), sizeof count);
    assert_int_equal(count, 2);
    env_uv_notify_set(fd);
    env_uv_notify_clear(fd);
    assert_int_equal(read(fd, &count, sizeof count), -1);
    env_uv_notify_close(fd);

    env_uv_mutex_lock(&f->mutex);
    uint64_t now_us = env_now_us(f->env);
    assert_false(env_uv_cond_wait_until(&f->cond, &f->mutex, now_us + 1000));
    assert_true(env_now_us(f->env) >= now_us + 1000);
    env_uv_mutex_unlock(&f->mutex);
}

/* A world that wakes itself all the time, and is freed as soon as its run ends. */
struct guest {
    struct env *env;
    struct env_uv_mutex mutex;
    struct env_uv_cond cond;
    bool is_up;
};

static void guest_wake_again(void *data)
{
    struct guest *guest = data;
    assert_int_equal(env_uv_post(guest->env, guest_wake_again, guest), 0);
}

static void guest_main(void *data)
{
    struct guest *guest = data;
    assert_int_equal(env_uv_new(NULL, &guest->env, NULL), 0);
    guest_wake_again(guest);
    env_uv_mutex_lock(&guest->mutex);
    guest->is_up = true;
    env_uv_cond_signal(&guest->cond);
    env_uv_mutex_unlock(&guest->mutex);
    env_uv_run(guest->env);
    env_stop(guest->env);
    env_uv_free(guest->env);
}

/* Whoever quits a busy loop may be overtaken by the world's end: its wake-up must not
 * reach a descriptor that was closed, or is somebody else's by now (TSan's part). */
static void test_quit_races_with_the_end_that_it_brings(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        struct guest guest = {0};
        struct env_uv_thread *thread;
        env_uv_mutex_init(&guest.mutex);
        env_uv_cond_init(&guest.cond);
        assert_int_equal(env_uv_thread_start("guest", guest_main, &guest, &thread, NULL), 0);
        env_uv_mutex_lock(&guest.mutex);
        while (!guest.is_up)
            env_uv_cond_wait(&guest.cond, &guest.mutex);
        env_uv_mutex_unlock(&guest.mutex);
        env_uv_quit(guest.env);
        env_uv_thread_join(thread);
        env_uv_cond_fini(&guest.cond);
        env_uv_mutex_fini(&guest.mutex);
    }
}

static void execute_note_nice(struct env_work *work)
{
    struct job *job = container_of(work, struct job, work);
    job->number = getpriority(PRIO_PROCESS, 0); /* of the thread, on Linux */
}

static void complete_note(struct env_work *work)
{
    struct job *job = container_of(work, struct job, work);
    if (++job->f->completed == ENV_LANE_NR)
        env_uv_quit(job->f->env);
}

/* Compaction and its like run on what others leave of the processors. */
static void test_background_lanes_yield(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < ENV_LANE_NR; i++) {
        f->jobs[i].f = f;
        env_work_init(&f->jobs[i].work, execute_note_nice, complete_note, NULL);
        env_work_submit(f->env, (enum env_lane)i, &f->jobs[i].work);
    }
    env_uv_run(f->env);
    int ours = getpriority(PRIO_PROCESS, 0);
    assert_int_equal(f->jobs[ENV_LANE_LOG].number, ours);
    assert_int_equal(f->jobs[ENV_LANE_READ].number, ours);
    assert_int_equal(f->jobs[ENV_LANE_FLUSH].number, MIN(ours + 10, 19));
    assert_int_equal(f->jobs[ENV_LANE_SNAPSHOT].number, MIN(ours + 10, 19));
    assert_int_equal(f->jobs[ENV_LANE_COMPACT].number, MIN(ours + 15, 19));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static size_t resident(void)
{
    unsigned long all = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &all, &pages), 2);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Given up in one order and asked for in another, between other blocks: large blocks leave no
 * holes in the heap, their memory goes back. */
static void test_large_blocks_go_back(void **state)
{
    (void)state;
    enum { COUNT = 16, ROUNDS = 30 };
    void *blocks[COUNT], *others[ROUNDS];
    env_uv_tune_memory();
    size_t before = resident();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < COUNT; i++) {
            blocks[i] = pages_alloc();
            assert_non_null(blocks[i]);
            memset(blocks[i], 1, PAGES_LARGE);
        }
        others[round] = malloc(100000);
        assert_non_null(others[round]);
        for (int i = 0; i < COUNT; i++)
            pages_free(blocks[(i * 5 + round) % COUNT]);
    }
    size_t after = resident();
    for (int round = 0; round < ROUNDS; round++)
        free(others[round]);
    if (after > before + (size_t)4 * PAGES_LARGE)
        fail_msg("%zu bytes are still here", after - before);
}
#endif

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_tasks_run_once_in_the_turn_of_the_timer_that_posted_them),
        TEST(test_late_tasks_run_behind_all_others_of_the_turn),
        TEST(test_the_clocks_of_a_turn_stand_still),
        TEST(test_a_task_that_posts_itself_goes_on_without_input),
        TEST(test_a_lane_of_one_thread_keeps_order),
        TEST(test_a_lane_of_several_threads_completes_all),
        TEST(test_lanes_do_not_wait_for_each_other),
        TEST(test_background_lanes_yield),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        TEST(test_large_blocks_go_back),
#endif
        TEST(test_stop_waits_for_running_work_and_drops_the_rest),
        TEST(test_stop_from_a_callback_ends_the_run),
        TEST(test_posts_of_many_threads_run_in_each_ones_order),
        TEST(test_posts_after_stop_are_refused),
        TEST(test_quit_before_run_returns_from_the_next_run),
        cmocka_unit_test(test_quit_races_with_the_end_that_it_brings),
        TEST(test_signals_come_to_the_loop),
        cmocka_unit_test(test_standard_streams_may_be_closed),
        cmocka_unit_test(test_fatal_says_why_and_exits_with_1),
        cmocka_unit_test(test_faults_strike_only_where_the_hook_says),
        TEST(test_notify_is_readable_from_set_to_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
