/* SPDX-License-Identifier: Apache-2.0
 *
 * One budget for everything: a load much larger than it, in the real world, with what the
 * allocator has given out looked at all the time.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/coding.h"
#include "base/rng.h"
#include "env/uv/env_uv.h"
#include "lsm/lsm.h"
#include "support/check.h"

#if defined(__SANITIZE_ADDRESS__)
size_t __sanitizer_get_current_allocated_bytes(void); /* of its allocator_interface.h */
#endif

enum { BUDGET = 16 << 20, BATCH = 20, PAUSE_US = 1000 };

static size_t allocated(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return __sanitizer_get_current_allocated_bytes();
#else
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#endif
}

struct load {
    struct env *env;
    struct lsm *lsm;
    struct env_timer timer;
    struct rng rng;
    size_t value_len;
    uint64_t todo, version;
    size_t before, peak;
};

static int write_some(struct load *l)
{
    static uint8_t value[8 << 10];
    struct lsm_batch batch;
    lsm_batch_init(&batch);
    for (unsigned i = 0; i < BATCH; i++) {
        uint8_t key[9] = {'k'};
        put_u64(key + 1, rng_u64(&l->rng));
        rng_fill(&l->rng, value, l->value_len / 2);
        lsm_batch_put(&batch, slice_of(key, sizeof key), ++l->version,
                      slice_of(value, l->value_len), 0);
    }
    int rv = lsm_write(l->lsm, &batch);
    lsm_batch_fini(&batch);
    return rv;
}

/* A get now and then fills the cache. */
static void read_one(struct load *l)
{
    uint8_t key[9] = {'k'};
    struct err err = {0};
    struct lsm_view *view = lsm_view_take(l->lsm);
    struct lsm_iter *it =
        view != NULL ? lsm_iter_new(view, (struct slice){0}, (struct slice){0}, UINT64_MAX, 0)
                     : NULL;
    assert_non_null(it);
    put_u64(key + 1, rng_u64(&l->rng));
    lsm_iter_seek(it, slice_of(key, sizeof key));
    assert_int_equal(lsm_iter_status(it, &err), 0);
    lsm_iter_free(it);
    lsm_view_unref(view);
}

static void on_timer(struct env_timer *timer)
{
    struct load *l = timer->data;
    unsigned n = 0;
    int rv = 0;
    for (; n < 50 && l->todo > 0 && rv == 0; n++) {
        rv = write_some(l);
        l->todo -= rv == 0 ? MIN(l->todo, (uint64_t)BATCH) : 0;
        read_one(l);
        size_t now = allocated();
        l->peak = MAX(l->peak, now - MIN(now, l->before));
    }
    assert_true(rv == 0 || rv == ERR_BUSY);
    if (l->todo == 0 && lsm_is_quiet(l->lsm))
        env_uv_quit(l->env);
    else
        env_timer_start(timer, rv == 0 && l->todo > 0 ? 0 : PAUSE_US);
}

static void remove_folder(struct env *env, const char *dir)
{
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(env_dir_list(env, dir, &names, &count, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        char path[ENV_PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        assert_int_equal(env_file_unlink(env, path, NULL), 0);
    }
    free(names);
    assert_int_equal(env_dir_remove(env, dir, NULL), 0);
}

/* Returns the most that was allocated above what was before. */
static size_t load(size_t value_len, uint64_t bytes, const struct lsm_options *options)
{
    struct load l = {.value_len = value_len, .todo = bytes / (value_len + 9)};
    struct err err = {0};
    char dir[64];
    snprintf(dir, sizeof dir, "test-memory-%d", (int)getpid());
    rng_init(&l.rng, value_len);
    assert_int_equal(env_uv_new(NULL, &l.env, &err), 0);
    l.before = allocated();
    int rv = lsm_open(&l.lsm, l.env, dir, options, &err);
    if (rv != 0)
        fail_msg("%s", err.msg);
    env_timer_init(&l.timer, l.env, on_timer, &l);
    env_timer_start(&l.timer, 0);
    env_uv_run(l.env);
    struct lsm_stats stats;
    lsm_stats(l.lsm, &stats);
    assert_true(stats.flushes > 8 && stats.compactions > 0);
    lsm_check(l.lsm);
    env_stop(l.env);
    lsm_free(l.lsm);
    remove_folder(l.env, dir);
    env_uv_free(l.env);
    return l.peak;
}

static void test_budget(void **state)
{
    (void)state;
    static const struct {
        size_t value_len;
        uint64_t bytes;
    } rows[] = {{400, 40 << 20}, {8 << 10, 48 << 20}, {4, 4 << 20}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lsm_options options;
        lsm_options_init(&options);
        options.memory_bytes = BUDGET;
        size_t peak = load(rows[i].value_len, rows[i].bytes, &options);
        if (peak > BUDGET || peak < BUDGET / 4)
            fail_msg("values of %zu bytes: %zu bytes for a budget of %d", rows[i].value_len, peak,
                     BUDGET);
    }
}

/* What the budget changes, and what it is too small for. */
static void test_options(void **state)
{
    (void)state;
    struct lsm_options options;
    struct lsm *lsm = NULL;
    struct env *env = NULL;
    struct err err = {0};
    lsm_options_init(&options);
    options.memory_bytes = LSM_MEMORY_MIN - 1;
    assert_int_equal(env_uv_new(NULL, &env, &err), 0);
    assert_int_equal(lsm_open(&lsm, env, "test-memory-none", &options, &err), ERR_INVALID);
    env_stop(env);
    env_uv_free(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
