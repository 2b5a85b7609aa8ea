/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine on real threads and a real disk: one writer on the loop, flushes and
 * compactions behind it, readers on their own lane, for ThreadSanitizer to watch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/coding.h"
#include "base/rng.h"
#include "env/uv/env_uv.h"
#include "lsm/lsm.h"
#include "support/check.h"

enum { KEYS = 300, TURNS = 3000, READERS = 3 };

struct lane_reader {
    struct run *run;
    struct env_work work;
    struct rng rng;
    struct lsm_view *view;
    uint64_t version; /* the view holds all versions up to it, and none above */
    uint64_t seen;
};

struct run {
    struct env *env;
    struct lsm *lsm;
    struct env_timer pause;
    struct lsm_flush_op flush;
    struct lane_reader readers[READERS];
    struct rng rng;
    uint64_t version;
    unsigned turns, active;
    bool is_flushing;
};

static void key_of(uint64_t n, uint8_t out[8])
{
    put_u64be(out, n);
}

/* Version v writes key v % KEYS: at version V every key has its greatest such v. */
static uint64_t newest(uint64_t key, uint64_t version)
{
    if (version < key)
        return 0;
    return version - (version - key) % KEYS;
}

static void read_all(struct lane_reader *r)
{
    struct lsm_iter *it =
        lsm_iter_new(r->view, (struct slice){0}, (struct slice){0}, r->version, 0);
    ASSERT(it != NULL);
    bool forward = rng_chance(&r->rng, 1, 2);
    bool on = forward ? lsm_iter_first(it) : lsm_iter_last(it);
    for (; on; on = forward ? lsm_iter_next(it) : lsm_iter_prev(it), r->seen++) {
        uint64_t key = get_u64be(lsm_iter_key(it).data);
        ASSERT(lsm_iter_version(it) == newest(key, r->version));
        ASSERT(get_u64(lsm_iter_value(it).data) == lsm_iter_version(it));
    }
    ASSERT(lsm_iter_status(it, NULL) == 0);
    lsm_iter_free(it);
}

static void read_some(struct lane_reader *r)
{
    for (unsigned i = 0; i < 100; i++) {
        uint8_t key[8];
        struct lsm_value value = {0};
        uint64_t n = rng_below(&r->rng, KEYS);
        key_of(n, key);
        uint64_t want = newest(n, r->version);
        int rv = lsm_get(r->view, slice_of(key, 8), r->version, 0, &value, NULL);
        ASSERT(rv == (want == 0 ? ERR_NOT_FOUND : 0));
        ASSERT(rv != 0 || value.version == want);
        ASSERT(rv != 0 || get_u64(value.data.data) == want);
        lsm_value_fini(&value);
    }
}

static void reader_execute(struct env_work *work)
{
    struct lane_reader *r = container_of(work, struct lane_reader, work);
    read_some(r);
    read_all(r);
    lsm_view_unref(r->view); /* where it was read */
    r->view = NULL;
}

static void reader_start(struct lane_reader *r)
{
    r->version = r->run->version;
    r->view = lsm_view_take(r->run->lsm);
    assert_non_null(r->view);
    r->run->active++;
    env_work_submit(r->run->env, ENV_LANE_READ, &r->work);
}

static void maybe_quit(struct run *run)
{
    if (run->turns == TURNS && run->active == 0 && !run->is_flushing)
        env_uv_quit(run->env);
}

static void reader_complete(struct env_work *work)
{
    struct lane_reader *r = container_of(work, struct lane_reader, work);
    r->run->active--;
    if (r->run->turns < TURNS)
        reader_start(r);
    maybe_quit(r->run);
}

static void flush_cb(struct lsm_flush_op *op, int status)
{
    struct run *run = op->data;
    assert_int_equal(status, 0);
    run->is_flushing = false;
    maybe_quit(run);
}

static int write_some(struct run *run)
{
    struct lsm_batch batch;
    uint64_t version = run->version;
    lsm_batch_init(&batch);
    for (unsigned i = 0; i < 5; i++) {
        uint8_t key[8], value[40] = {0};
        key_of(++version % KEYS, key);
        put_u64(value, version);
        lsm_batch_put(&batch, slice_of(key, 8), version, slice_of(value, sizeof value), 0);
    }
    int rv = lsm_write(run->lsm, &batch);
    lsm_batch_fini(&batch);
    if (rv == 0)
        run->version = version;
    return rv;
}

static void go_on(struct run *run)
{
    int rv = write_some(run);
    if (rv == ERR_BUSY) {
        env_timer_start(&run->pause, 1000);
        return;
    }
    assert_int_equal(rv, 0);
    if (run->turns % 500 == 17 && !run->is_flushing) {
        assert_int_equal(lsm_flush(run->lsm, &run->flush, flush_cb), 0);
        run->is_flushing = true;
    }
    if (++run->turns < TURNS)
        env_timer_start(&run->pause, 0);
    maybe_quit(run);
}

static void on_pause(struct env_timer *timer)
{
    go_on(timer->data);
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

static void test_readers_and_writer(void **state)
{
    (void)state;
    struct run *run = calloc(1, sizeof *run);
    struct lsm_options options;
    struct err err = {0};
    char dir[64];
    assert_non_null(run);
    snprintf(dir, sizeof dir, "test-lsm-%d", (int)getpid());
    lsm_options_init(&options);
    options.memtable_bytes = 16 << 10;
    options.block_bytes = 512;
    options.table_bytes = 16 << 10;
    options.cache_bytes = 32 << 10;
    options.level_base_bytes = 32 << 10;
    options.l0_stop = 8;
    options.compact_shares = 3;
    struct env_uv_options world = {.compact_threads = 2};
    assert_int_equal(env_uv_new(&world, &run->env, &err), 0);
    int rv = lsm_open(&run->lsm, run->env, dir, &options, &err);
    if (rv != 0)
        fail_msg("%s", err.msg);
    env_timer_init(&run->pause, run->env, on_pause, run);
    run->flush.data = run;
    for (size_t i = 0; i < READERS; i++) {
        run->readers[i].run = run;
        rng_init(&run->readers[i].rng, i);
        env_work_init(&run->readers[i].work, reader_execute, reader_complete, NULL);
        reader_start(&run->readers[i]);
    }
    go_on(run);
    env_uv_run(run->env);
    lsm_check(run->lsm);
    struct lsm_stats stats;
    lsm_stats(run->lsm, &stats);
    assert_true(stats.flushes > 5);
    assert_true(stats.compactions > 0);
    assert_true(stats.compact_shares > stats.compactions); /* side by side */
    for (size_t i = 0; i < READERS; i++)
        assert_true(run->readers[i].seen > 0);
    env_stop(run->env);
    lsm_free(run->lsm);

    assert_int_equal(lsm_open(&run->lsm, run->env, dir, &options, &err), 0);
    lsm_free(run->lsm);
    remove_folder(run->env, dir);
    env_uv_free(run->env);
    free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_and_writer),
    };
    return cmocka_run_group_tests_name("lsm_threads", tests, NULL, NULL);
}
