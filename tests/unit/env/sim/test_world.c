/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "env/env.h"
#include "env/sim/sim.h"

/* What happened, in order, one letter each. */
struct script {
    struct env *env;
    char text[256];
    size_t len;
};

static void note(struct script *s, char letter)
{
    assert_true(s->len + 1 < sizeof s->text);
    s->text[s->len++] = letter;
    s->text[s->len] = '\0';
}

struct named_timer {
    struct env_timer timer;
    struct script *script;
    char letter;
};

static void on_timer(struct env_timer *timer)
{
    struct named_timer *t = timer->data;
    note(t->script, t->letter);
}

static void timer_init(struct named_timer *t, struct script *s, char letter)
{
    t->script = s;
    t->letter = letter;
    env_timer_init(&t->timer, s->env, on_timer, t);
}

static void test_timer_order(void **state)
{
    (void)state;
    struct sim *sim = sim_new(NULL, 1);
    struct script s = {.env = sim_node_env(sim_node_new(sim, "n1"))};
    struct named_timer t[5];
    uint64_t now = env_now_us(s.env);
    for (int i = 0; i < 5; i++)
        timer_init(&t[i], &s, (char)('a' + i));
    env_timer_start_at(&t[0].timer, now + 300);
    env_timer_start_at(&t[1].timer, now + 100);
    env_timer_start_at(&t[2].timer, now + 300); /* after a: started later */
    env_timer_start_at(&t[3].timer, now + 200);
    env_timer_start_at(&t[4].timer, now + 50);
    env_timer_stop(&t[4].timer);
    env_timer_start_at(&t[3].timer, now + 1000); /* put off */
    assert_true(env_timer_is_active(&t[3].timer));
    assert_false(env_timer_is_active(&t[4].timer));
    sim_run_until(sim, 299);
    assert_string_equal(s.text, "b");
    sim_run_until(sim, 300);
    assert_string_equal(s.text, "bac");
    sim_run_until(sim, 2000);
    assert_string_equal(s.text, "bacd");
    assert_true(env_now_us(s.env) == now + 2000);
    sim_free(sim);
}

struct named_task {
    struct env_task task;
    struct script *script;
    struct named_task *next; /* posted by this one */
    char letter;
};

static void on_task(struct env_task *task)
{
    struct named_task *t = task->data;
    note(t->script, t->letter);
    if (t->next != NULL)
        env_task_post(t->script->env, &t->next->task);
}

/* Posted by a task: next round, same time; posted twice: once; cancelled: never. */
static void test_task_rounds(void **state)
{
    (void)state;
    struct sim *sim = sim_new(NULL, 1);
    struct script s = {.env = sim_node_env(sim_node_new(sim, "n1"))};
    struct named_task t[4];
    for (int i = 0; i < 4; i++) {
        t[i] = (struct named_task){.script = &s, .letter = (char)('a' + i)};
        env_task_init(&t[i].task, on_task, &t[i]);
    }
    t[0].next = &t[2];
    env_task_post(s.env, &t[0].task);
    env_task_post(s.env, &t[0].task);
    env_task_post(s.env, &t[1].task);
    env_task_post(s.env, &t[3].task);
    env_task_cancel(&t[3].task);
    assert_string_equal(s.text, ""); /* S4: never from inside */
    sim_run_until(sim, 0);
    assert_string_equal(s.text, "abc");
    t[1].next = &t[1]; /* for ever: each turn has a bound, others get their turn */
    env_task_post(s.env, &t[1].task);
    assert_true(sim_step(sim));
    assert_int_equal(s.len, 3 + ENV_TASK_ROUNDS_MAX);
    assert_true(sim_step(sim));
    assert_int_equal(s.len, 3 + 2 * ENV_TASK_ROUNDS_MAX);
    sim_free(sim);
}

struct named_work {
    struct env_work work;
    struct script *script;
    char letter;
};

static void on_execute(struct env_work *work)
{
    struct named_work *w = work->data;
    note(w->script, w->letter);
    assert_true(work->is_active);
}

static void on_complete(struct env_work *work)
{
    struct named_work *w = work->data;
    note(w->script, (char)(w->letter - 'a' + 'A'));
    assert_false(work->is_active);
}

static void work_init(struct named_work *w, struct script *s, char letter)
{
    w->script = s;
    w->letter = letter;
    env_work_init(&w->work, on_execute, on_complete, w);
}

static void test_lane_order(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim *sim = sim_new(NULL, seed);
        struct script s = {.env = sim_node_env(sim_node_new(sim, "n1"))};
        struct named_work w[4];
        for (int i = 0; i < 4; i++) {
            work_init(&w[i], &s, (char)('a' + i));
            env_work_submit(s.env, ENV_LANE_LOG, &w[i].work);
        }
        assert_string_equal(s.text, "");
        sim_run_until(sim, 1000000);
        assert_string_equal(s.text, "aAbBcCdD");
        sim_free(sim);
    }
}

/* Lanes do not wait for each other, and reads overtake each other. */
static void test_lanes_independent(void **state)
{
    (void)state;
    bool seen_overtaking = false;
    bool seen_lanes_swapped = false;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim *sim = sim_new(NULL, seed);
        struct script s = {.env = sim_node_env(sim_node_new(sim, "n1"))};
        struct named_work w[4];
        for (int i = 0; i < 4; i++)
            work_init(&w[i], &s, (char)('a' + i));
        env_work_submit(s.env, ENV_LANE_READ, &w[0].work);
        env_work_submit(s.env, ENV_LANE_READ, &w[1].work);
        env_work_submit(s.env, ENV_LANE_FLUSH, &w[2].work);
        env_work_submit(s.env, ENV_LANE_COMPACT, &w[3].work);
        sim_run_until(sim, 1000000);
        assert_int_equal(s.len, 8);
        seen_overtaking |= strchr(s.text, 'B') < strchr(s.text, 'A');
        seen_lanes_swapped |= strchr(s.text, 'd') < strchr(s.text, 'c');
        sim_free(sim);
    }
    assert_true(seen_overtaking);
    assert_true(seen_lanes_swapped);
}

/* S1: after a crash nothing is delivered, at whatever point it came, and the
 * owner's memory is its own again. */
static void test_crash_drops_all(void **state)
{
    (void)state;
    bool seen_between = false;
    for (uint64_t at = 0; at < 400; at += 10) {
        struct sim *sim = sim_new(NULL, 7);
        struct sim_node *node = sim_node_new(sim, "n1");
        struct script s = {.env = sim_node_env(node)};
        struct named_work *w = malloc(sizeof *w);
        struct named_timer *t = malloc(sizeof *t);
        struct named_task *k = calloc(1, sizeof *k);
        work_init(w, &s, 'a');
        timer_init(t, &s, 't');
        k->script = &s;
        env_task_init(&k->task, on_task, k);
        env_work_submit(s.env, ENV_LANE_LOG, &w->work);
        env_timer_start(&t->timer, 5000);
        sim_run_until(sim, at);
        env_task_post(s.env, &k->task);
        sim_node_crash(node, SIM_CRASH_KILL);
        assert_false(env_timer_is_active(&t->timer));
        assert_false(w->work.is_active);
        env_timer_start(&t->timer, 1); /* unwinding code may still call */
        env_work_submit(s.env, ENV_LANE_LOG, &w->work);
        env_task_post(s.env, &k->task);
        env_timer_stop(&t->timer);
        free(w);
        free(t);
        free(k);
        seen_between |= strcmp(s.text, "a") == 0;
        size_t len = s.len;
        sim_node_restart(node);
        sim_run_until(sim, 1000000);
        assert_int_equal(s.len, len);
        sim_free(sim);
    }
    assert_true(seen_between); /* executed, never completed */
}

static void test_pause(void **state)
{
    (void)state;
    struct sim *sim = sim_new(NULL, 1);
    struct sim_node *node = sim_node_new(sim, "n1");
    struct script s = {.env = sim_node_env(node)};
    struct named_timer t;
    struct named_work w;
    timer_init(&t, &s, 't');
    work_init(&w, &s, 'a');
    env_timer_start(&t.timer, 100);
    env_work_submit(s.env, ENV_LANE_LOG, &w.work);
    sim_node_pause(node);
    sim_run_until(sim, 50000);
    assert_string_equal(s.text, "");
    assert_true(sim_node_is_paused(node));
    sim_node_resume(node);
    sim_run_until(sim, 51000);
    assert_int_equal(s.len, 3);
    assert_non_null(strchr(s.text, 't'));
    sim_free(sim);
}

/* A fast clock fires early by world time, at the right time by its own. */
static void test_clocks(void **state)
{
    (void)state;
    struct sim *sim = sim_new(NULL, 1);
    struct sim_node *node = sim_node_new(sim, "n1");
    struct script s = {.env = sim_node_env(node)};
    struct named_timer t;
    timer_init(&t, &s, 't');
    uint64_t wall = env_wall_ms(s.env);
    uint64_t now = env_now_us(s.env);
    env_timer_start(&t.timer, 1000000);
    sim_node_set_drift(node, 100000);
    sim_run_until(sim, 909000);
    assert_string_equal(s.text, "");
    sim_run_until(sim, 909100);
    assert_string_equal(s.text, "t");
    assert_true(env_now_us(s.env) >= now + 1000000);
    sim_node_set_wall_skew(node, -3600000);
    assert_int_equal(env_wall_ms(s.env), wall + 909 - 3600000);
    sim_node_crash(node, SIM_CRASH_KILL);
    sim_node_restart(node);
    assert_true(env_now_us(sim_node_env(node)) != now + 1000000); /* another origin */
    sim_free(sim);
}

static int fatal_count;

static void on_fatal(void *data, struct sim_node *node, const char *message)
{
    (void)data;
    assert_true(sim_node_is_dead(node));
    assert_string_equal(message, "bad 7");
    fatal_count++;
}

static void fatal_cb(struct env_timer *timer)
{
    struct named_timer *t = timer->data;
    env_fatal(timer->env, "bad %d", 7);
    env_fatal(timer->env, "again");
    note(t->script, 'f'); /* it returns */
    env_timer_start(timer, 1);
}

static void test_fatal(void **state)
{
    (void)state;
    struct sim_options options;
    sim_options_init(&options);
    options.on_fatal = on_fatal;
    struct sim *sim = sim_new(&options, 1);
    struct sim_node *node = sim_node_new(sim, "n1");
    struct script s = {.env = sim_node_env(node)};
    struct named_timer t[2];
    uint64_t size = 0;
    bool is_dir = false;
    timer_init(&t[0], &s, 'x');
    t[0].timer.cb = fatal_cb;
    timer_init(&t[1], &s, 't');
    env_timer_start(&t[0].timer, 10);
    env_timer_start(&t[1].timer, 20);
    fatal_count = 0;
    sim_run_until(sim, 1000);
    assert_string_equal(s.text, "f");
    assert_int_equal(fatal_count, 1);
    assert_string_equal(sim_node_fatal_message(node), "bad 7");
    assert_int_equal(env_file_stat(s.env, "", &size, &is_dir, NULL), ERR_IO);
    sim_node_crash(node, SIM_CRASH_KILL);
    sim_node_restart(node);
    assert_false(sim_node_is_dead(node));
    assert_int_equal(env_file_stat(sim_node_env(node), "", &size, &is_dir, NULL), 0);
    sim_free(sim);
}

static int fires(struct sim *sim, struct env *env, const char *site)
{
    int count = 0;
    for (int i = 0; i < 1000; i++)
        count += env_fault(env, site);
    assert_true(sim_fault_count(sim, site) == (uint64_t)count);
    return count;
}

static void test_fault_sites(void **state)
{
    (void)state;
    int on = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct sim_options options;
        sim_options_init(&options);
        struct sim *sim = sim_new(&options, seed);
        struct env *env = sim_node_env(sim_node_new(sim, "n1"));
        assert_int_equal(fires(sim, env, "calm"), 0);
        sim_fault_set(sim, "forced", 1000000);
        assert_int_equal(fires(sim, env, "forced"), 1000);
        assert_int_equal(fires(sim, env, "other"), 0);
        options.fault_site_ppm = 500000;
        sim_set_options(sim, &options);
        on += fires(sim, env, "drawn") > 0;
        sim_fault_stop(sim);
        assert_false(env_fault(env, "forced"));
        assert_false(env_fault(env, "drawn"));
        sim_free(sim);
    }
    assert_true(on > 20);
    assert_true(on < 80);
}

struct sync_work {
    struct env_work work;
    struct env_file *file;
    bool is_done;
};

static void sync_execute(struct env_work *work)
{
    struct sync_work *w = work->data;
    assert_int_equal(env_file_sync(w->file, NULL), 0);
}

static void sync_complete(struct env_work *work)
{
    struct sync_work *w = work->data;
    w->is_done = true;
}

/* A slow sync holds up its lane, not the world. */
static void test_slow_sync(void **state)
{
    (void)state;
    struct sim_options options;
    sim_options_init(&options);
    options.disk.sync_us = 50000;
    struct sim *sim = sim_new(&options, 1);
    struct env *env = sim_node_env(sim_node_new(sim, "n1"));
    struct script s = {.env = env};
    struct named_work other;
    struct sync_work w = {0};
    int flags = ENV_OPEN_WRITE | ENV_OPEN_CREATE;
    assert_int_equal(env_file_open(env, "a", flags, &w.file, NULL), 0);
    env_work_init(&w.work, sync_execute, sync_complete, &w);
    work_init(&other, &s, 'a');
    env_work_submit(env, ENV_LANE_LOG, &w.work);
    env_work_submit(env, ENV_LANE_FLUSH, &other.work);
    sim_run_until(sim, 50000);
    assert_string_equal(s.text, "aA");
    assert_false(w.is_done);
    sim_run_until(sim, 51000);
    assert_true(w.is_done);
    env_file_close(w.file);
    sim_free(sim);
}

static void on_call(void *data)
{
    sim_node_crash(data, SIM_CRASH_POWER);
    sim_node_restart(data);
}

static void test_call_at(void **state)
{
    (void)state;
    struct sim *sim = sim_new(NULL, 1);
    struct sim_node *node = sim_node_new(sim, "n1");
    struct env *env = sim_node_env(node);
    sim_call_at(sim, 2000, on_call, node);
    sim_call_at(sim, 9000, on_call, node); /* never comes: no leak */
    sim_run_until(sim, 1999);
    assert_true(sim_node_env(node) == env);
    sim_run_until(sim, 2000);
    assert_true(sim_node_env(node) != env);
    assert_true(sim_node_of(env) == node);
    sim_free(sim);
}

/* A busy little world of three nodes: timers that restart themselves, work,
 * files, crashes. */
struct busy {
    struct env_timer timer;
    struct env_work work;
    struct env *env;
};

static void busy_execute(struct env_work *work)
{
    struct busy *b = work->data;
    struct env_file *file = NULL;
    int flags = ENV_OPEN_WRITE | ENV_OPEN_CREATE;
    if (env_file_open(b->env, "f", flags, &file, NULL) != 0)
        return;
    (void)env_file_write(file, env_random(b->env) % 10000, "bytes", 5, NULL);
    (void)env_file_sync(file, NULL);
    env_file_close(file);
}

static void busy_complete(struct env_work *work)
{
    (void)work;
}

static void busy_timer(struct env_timer *timer)
{
    struct busy *b = timer->data;
    if (!b->work.is_active)
        env_work_submit(b->env, ENV_LANE_LOG, &b->work);
    env_timer_start(timer, 100 + env_random(b->env) % 100);
}

static void busy_start(struct busy *b, struct sim_node *node)
{
    b->env = sim_node_env(node);
    env_timer_init(&b->timer, b->env, busy_timer, b);
    env_work_init(&b->work, busy_execute, busy_complete, b);
    env_timer_start(&b->timer, 10);
}

static uint64_t busy_run(uint64_t seed)
{
    struct sim_options options;
    sim_options_swarm(&options, seed);
    struct sim *sim = sim_new(&options, seed);
    struct sim_node *nodes[3];
    struct busy busy[3];
    static const char *const addresses[] = {"n1", "n2", "n3"};
    for (int i = 0; i < 3; i++) {
        nodes[i] = sim_node_new(sim, addresses[i]);
        busy_start(&busy[i], nodes[i]);
    }
    for (uint64_t t = 1; t <= 20; t++) {
        sim_run_until(sim, t * 5000);
        struct sim_node *node = nodes[rng_below(sim_rng(sim), 3)];
        sim_node_crash(node, rng_chance(sim_rng(sim), 1, 2) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
        sim_node_restart(node);
        for (int i = 0; i < 3; i++)
            if (nodes[i] == node)
                busy_start(&busy[i], node);
    }
    for (int i = 0; i < 3; i++)
        sim_hash_add(sim, sim_disk_hash(sim_node_disk(nodes[i])));
    uint64_t hash = sim_hash(sim);
    assert_true(sim_events(sim) > 500);
    sim_free(sim);
    return hash;
}

static void test_determinism(void **state)
{
    (void)state;
    uint64_t before = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t hash = busy_run(seed);
        void *disturbance = malloc(seed * 1000); /* other addresses, same run */
        assert_true(busy_run(seed) == hash);
        free(disturbance);
        assert_true(hash != before);
        before = hash;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer_order),     cmocka_unit_test(test_task_rounds),
        cmocka_unit_test(test_lane_order),      cmocka_unit_test(test_lanes_independent),
        cmocka_unit_test(test_crash_drops_all), cmocka_unit_test(test_pause),
        cmocka_unit_test(test_clocks),          cmocka_unit_test(test_fatal),
        cmocka_unit_test(test_fault_sites),     cmocka_unit_test(test_slow_sync),
        cmocka_unit_test(test_call_at),         cmocka_unit_test(test_determinism),
    };
    return cmocka_run_group_tests_name("world", tests, NULL, NULL);
}
