/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that fills up, fails, or rots: nothing is lost, nothing false is served, and
 * what went wrong is named.
 */
#include <stdio.h>
#include <stdlib.h>

#include "env/env_ops.h"
#include "support/check.h"
#include "support/lsm_world.h"

static void must_open(struct world *w)
{
    struct err err = {0};
    int rv = world_open(w, &err);
    if (rv != 0)
        fail_msg("open: %d %s", rv, err.msg);
}

static void must_equal(struct world *w, const char *where)
{
    struct model now;
    world_now(w, &now);
    const char *bad = world_compare(w, w->lsm, &now);
    if (bad != NULL)
        fail_msg("%s: %s", where, bad);
    model_fini(&now);
    lsm_check(w->lsm);
}

static void begin(struct world *w, uint64_t seed, unsigned steps)
{
    struct lsm_options options;
    world_options(&options);
    world_init(w, seed, &options);
    must_open(w);
    for (unsigned i = 0; i < steps; i++)
        world_step(w);
}

/* Full, for a long while; then there is room again. */
static void test_no_space(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world w;
        struct lsm_stats stats;
        begin(&w, seed, 100);
        struct sim_disk *disk = sim_node_disk(w.node);
        size_t acked = w.step_acked;
        for (unsigned i = 0; i < 150; i++) { /* others take what we free */
            sim_disk_set_capacity(disk, sim_disk_used(disk) + 300);
            world_step(&w);
            world_run(&w, 20);
        }
        must_equal(&w, "while full");
        lsm_stats(w.lsm, &stats);
        assert_true(w.busy > 0);
        assert_int_equal(lsm_stall(w.lsm), LSM_STALL_STOP);
        assert_true(stats.retries > 0);
        assert_int_equal(stats.retry_status, ERR_NO_SPACE);

        sim_disk_set_capacity(disk, UINT64_C(1) << 40);
        world_settle(&w);
        assert_int_equal(w.step_acked, w.step_count);
        assert_true(w.step_acked > acked);
        lsm_stats(w.lsm, &stats);
        assert_int_equal(stats.retry_status, 0);
        must_equal(&w, "with room again");
        world_crash(&w, SIM_CRASH_POWER);
        sim_node_restart(w.node);
        must_open(&w);
        assert_int_equal(world_match(&w, w.lsm, "after it"), w.step_count);
        world_fini(&w);
    }
}

/* Full, and then the power goes. */
static void test_no_space_crash(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        begin(&w, seed, 60);
        struct sim_disk *disk = sim_node_disk(w.node);
        sim_disk_set_capacity(disk, sim_disk_used(disk) + rng_below(&w.rng, 3000));
        for (unsigned i = 0; i < 40; i++)
            world_step(&w);
        world_crash(&w, SIM_CRASH_POWER);
        sim_disk_set_capacity(disk, UINT64_C(1) << 40);
        sim_node_restart(w.node);
        must_open(&w);
        world_match(&w, w.lsm, "full, then power loss");
        world_fini(&w);
    }
}

enum { LEFT_OVER = 256 << 10 };

/* A file that no manifest names, and all of the disk full. */
static void leave_over(struct world *w)
{
    static const uint8_t zeroes[LEFT_OVER];
    struct env_file *file = NULL;
    int rv = env_file_open(sim_node_env(w->node), "db/900000.tbl", ENV_OPEN_WRITE | ENV_OPEN_CREATE,
                           &file, NULL);
    assert_int_equal(rv, 0);
    assert_int_equal(env_file_write(file, 0, zeroes, sizeof zeroes, NULL), 0);
    env_file_close(file);
    struct sim_disk *disk = sim_node_disk(w->node);
    sim_disk_set_capacity(disk, sim_disk_used(disk));
}

/* A disk is full of what a crash left over: that goes first. Where that is not enough nothing is
 * lost either. */
static void test_no_space_to_open(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world w;
        struct err err = {0};
        begin(&w, seed, 40 + (unsigned)seed);
        world_crash(&w, SIM_CRASH_KILL);
        sim_node_restart(w.node);
        leave_over(&w);
        struct sim_disk *disk = sim_node_disk(w.node);
        bool is_enough = seed % 2 == 0;
        if (!is_enough)
            sim_disk_set_capacity(disk, 1);
        assert_int_equal(world_open(&w, &err), is_enough ? 0 : ERR_NO_SPACE);
        size_t shown = is_enough ? world_match(&w, w.lsm, "on a full disk") : 0;
        world_crash(&w, SIM_CRASH_POWER);
        sim_disk_set_capacity(disk, UINT64_C(1) << 40);
        sim_node_restart(w.node);
        must_open(&w);
        size_t matched = world_match(&w, w.lsm, "with room again");
        assert_true(!is_enough || matched == shown);
        world_fini(&w);
    }
}

/* Writes fail now and then, in part done, and folders have no descriptor to be synced by: tried
 * again, in other files. */
static void test_write_errors(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world w;
        struct lsm_stats stats;
        const struct sim_disk_options calm = {0};
        const struct sim_disk_options bad = {.write_error_ppm = 100000, .dir_busy_ppm = 200000};
        begin(&w, seed, 20);
        sim_disk_set_options(sim_node_disk(w.node), &bad);
        for (unsigned i = 0; i < 100; i++) {
            world_step(&w);
            world_run(&w, 5);
        }
        must_equal(&w, "with write errors");
        lsm_stats(w.lsm, &stats);
        assert_true(stats.retries > 0);
        if (seed % 2 == 0) {
            sim_disk_set_options(sim_node_disk(w.node), &calm);
            world_settle(&w);
            lsm_stats(w.lsm, &stats);
            if (w.step_acked != w.step_count)
                fail_msg("seed %llu: acked %zu of %zu, waits for %d: %s, edits %u",
                         (unsigned long long)seed, w.step_acked, w.step_count, stats.retry_status,
                         stats.retry_text, stats.edits_pending);
        }
        world_crash(&w, SIM_CRASH_POWER);
        sim_disk_set_options(sim_node_disk(w.node), &calm);
        sim_node_restart(w.node);
        must_open(&w);
        world_match(&w, w.lsm, "after write errors");
        world_fini(&w);
    }
}

/* A failed sync ends the process; what was acknowledged before is there after. */
static void test_sync_errors(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        const struct sim_disk_options calm = {0}, bad = {.sync_error_ppm = 50000};
        begin(&w, seed, 10);
        sim_disk_set_options(sim_node_disk(w.node), &bad);
        for (unsigned i = 0; i < 400 && !sim_node_is_dead(w.node); i++)
            world_step(&w);
        assert_true(sim_node_is_dead(w.node));
        assert_non_null(strstr(sim_node_fatal_message(w.node), "sync"));
        world_crash(&w, seed % 2 == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL);
        sim_disk_set_options(sim_node_disk(w.node), &calm);
        sim_node_restart(w.node);
        must_open(&w);
        world_match(&w, w.lsm, "after a failed sync");
        world_fini(&w);
    }
}

/* … and is not taken for written by a sync after the restart, when what is left over has to go
 * first for want of room, and the power goes then. */
static void test_sync_errors_on_a_full_disk(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct world w;
        struct err err = {0};
        const struct sim_disk_options calm = {0}, bad = {.sync_error_ppm = 50000};
        begin(&w, seed, 60);
        sim_disk_set_options(sim_node_disk(w.node), &bad);
        for (unsigned i = 0; i < 400 && !sim_node_is_dead(w.node); i++)
            world_step(&w);
        assert_true(sim_node_is_dead(w.node));
        world_crash(&w, SIM_CRASH_KILL);
        struct sim_disk *disk = sim_node_disk(w.node);
        sim_disk_set_options(disk, &calm);
        sim_node_restart(w.node);
        sim_disk_set_capacity(disk, 1); /* nor is there any when that is gone */
        assert_int_equal(world_open(&w, &err), ERR_NO_SPACE);
        world_crash(&w, SIM_CRASH_POWER);
        sim_disk_set_capacity(disk, UINT64_C(1) << 40);
        sim_node_restart(w.node);
        must_open(&w);
        world_match(&w, w.lsm, "after a failed sync on a full disk");
        world_fini(&w);
    }
}

/* Reads fail now and then: that read hears it, with file and offset; none lies. */
static void test_read_errors(void **state)
{
    (void)state;
    struct world w;
    const struct sim_disk_options calm = {0}, bad = {.read_error_ppm = 50000};
    begin(&w, 7, 150);
    world_settle(&w);
    w.tolerate = true;
    sim_disk_set_options(sim_node_disk(w.node), &bad);
    for (unsigned i = 0; i < 40; i++) {
        must_equal(&w, "with read errors");
        world_step(&w);
    }
    assert_true(w.failures > 0);
    sim_disk_set_options(sim_node_disk(w.node), &calm);
    w.tolerate = false;
    world_settle(&w);
    must_equal(&w, "after read errors");
    world_fini(&w);
}

/* A read that fails while opening is never taken for the end of anything. */
static void test_open_read_errors(void **state)
{
    (void)state;
    struct world w;
    const struct sim_disk_options calm = {0}, bad = {.read_error_ppm = 100000};
    size_t refused = 0;
    begin(&w, 11, 150);
    world_settle(&w);
    for (unsigned i = 0; i < 30; i++) {
        struct err err = {0};
        world_crash(&w, SIM_CRASH_KILL);
        sim_node_restart(w.node);
        sim_disk_set_options(sim_node_disk(w.node), &bad);
        int rv = world_open(&w, &err);
        sim_disk_set_options(sim_node_disk(w.node), &calm);
        if (rv != 0) {
            assert_int_equal(rv, ERR_IO);
            assert_true(strlen(err.msg) > 0);
            refused++;
            must_open(&w);
        }
        world_match(&w, w.lsm, "opened at last");
    }
    assert_true(refused > 0);
    world_fini(&w);
}

/* ---- bit rot ------------------------------------------------------------ */

static bool is_data(const char *path)
{
    return strstr(path, ".tbl") != NULL || strstr(path, ".val") != NULL;
}

struct flips {
    struct world *w;
    const struct model *want;
    struct sim_disk *disk;
    size_t tables, values, manifests, currents, refused, caught, harmless;
};

/* The engine on a disk with one bit flipped; `file` is where. */
static void try_flip(struct flips *f, const char *path, uint64_t bit)
{
    struct lsm_options options = f->w->options;
    struct lsm *lsm = NULL;
    struct err err = {0};
    struct sim_disk *disk = sim_disk_clone(f->disk);
    const char *name = strrchr(path, '/') + 1;
    options.callbacks = (struct lsm_callbacks){0};
    options.no_auto_compaction = true;
    assert_int_equal(sim_disk_flip_bit(disk, path, bit), 0);
    struct sim *sim = sim_new(NULL, 1);
    struct sim_node *node = sim_node_new_on(sim, "n1", disk);
    int rv = lsm_open(&lsm, sim_node_env(node), "db", &options, &err);
    if (rv != 0) {
        if (rv != ERR_CORRUPT || strstr(err.msg, name) == NULL)
            fail_msg("%s bit %llu: open: %d %s", path, (unsigned long long)bit, rv, err.msg);
        f->refused++;
    } else {
        size_t before = f->w->failures;
        const char *bad = world_compare(f->w, lsm, f->want);
        if (bad != NULL)
            fail_msg("%s bit %llu: %s", path, (unsigned long long)bit, bad);
        struct lsm_view *view = lsm_view_take(lsm);
        int status = lsm_verify(view, NULL, NULL, &err);
        bool is_table = is_data(name);
        if (is_table && (status != ERR_CORRUPT || strstr(err.msg, name) == NULL))
            fail_msg("%s bit %llu: verify: %d %s", path, (unsigned long long)bit, status, err.msg);
        if (!is_table)
            assert_int_equal(status, 0);
        lsm_view_unref(view);
        f->caught += f->w->failures > before;
        f->harmless += f->w->failures == before;
    }
    sim_node_crash(node, SIM_CRASH_KILL);
    lsm_free(lsm);
    sim_free(sim);
}

static void flip_file(void *data, const char *path, uint64_t size)
{
    struct flips *f = data;
    bool is_table = is_data(path);
    uint64_t step = is_table ? 8 * 7 + 3 : 8 * 3 + 1;
    f->tables += is_table;
    f->values += strstr(path, ".val") != NULL;
    f->manifests += strstr(path, "MANIFEST") != NULL;
    f->currents += strstr(path, "CURRENT") != NULL;
    for (uint64_t bit = rng_below(&f->w->rng, step); bit < size * 8; bit += step)
        try_flip(f, path, bit);
}

static void test_bit_flips(void **state)
{
    (void)state;
    struct world w;
    struct model want;
    struct flips f = {.w = &w};
    begin(&w, 5, 120);
    world_settle(&w);
    for (unsigned i = 0; i < 2; i++) { /* records behind the first in the manifest */
        for (unsigned j = 0; j < 12; j++)
            world_step(&w);
        world_settle(&w);
    }
    world_prefix(&w, w.step_acked, &want);
    f.disk = sim_disk_clone(sim_node_disk(w.node));
    f.want = &want;
    w.tolerate = true;
    sim_disk_each_file(f.disk, flip_file, &f);
    assert_true(f.tables >= 3);
    assert_true(f.values >= 1);
    assert_int_equal(f.manifests, 1);
    assert_int_equal(f.currents, 1);
    assert_true(f.refused > 100);
    assert_true(f.caught > 100);
    sim_disk_free(f.disk);
    model_fini(&want);
    world_fini(&w);
}

static void flip_in_table(void *data, const char *path, uint64_t size)
{
    struct world *w = data;
    if (is_data(path))
        sim_disk_flip_bit(sim_node_disk(w->node), path, rng_below(&w->rng, size * 8));
}

/* Rot in every table while the engine works: it goes on, says so, and never lies. */
static void test_rot_in_service(void **state)
{
    (void)state;
    size_t told = 0, heard = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world w;
        begin(&w, seed, 60);
        world_settle(&w);
        sim_disk_each_file(sim_node_disk(w.node), flip_in_table, &w);
        w.tolerate = true;
        for (unsigned i = 0; i < 100; i++)
            world_step(&w);
        must_equal(&w, "rotten");
        told += w.corrupt;
        heard += w.failures;
        world_fini(&w);
    }
    assert_true(told > 0);
    assert_true(heard > 0);
}

struct rot {
    struct world *w;
    unsigned left; /* tables before the one */
    bool is_done;
};

static void flip_in_one(void *data, const char *path, uint64_t size)
{
    struct rot *rot = data;
    if (strstr(path, ".tbl") == NULL || rot->is_done || rot->left-- > 0)
        return;
    rot->is_done = true;
    sim_disk_flip_bit(sim_node_disk(rot->w->node), path, 8 * (size / 4)); /* a data block */
}

/* One rotten table, wherever in the tree: compaction goes round it, and no writer waits
 * for ever. */
static void test_one_rotten(void **state)
{
    (void)state;
    size_t told = 0;
    for (uint64_t seed = 1; seed <= 36; seed++) {
        struct world w;
        begin(&w, seed, 80 + 3 * (unsigned)(seed % 12));
        struct rot rot = {.w = &w, .left = (unsigned)(seed % 12) / 2};
        sim_disk_each_file(sim_node_disk(w.node), flip_in_one, &rot);
        assert_true(rot.is_done);
        w.tolerate = true;
        for (unsigned i = 0; i < 250; i++)
            world_step(&w);
        world_settle(&w);
        if (lsm_stall(w.lsm) == LSM_STALL_STOP || w.step_acked != w.step_count)
            fail_msg("seed %llu: writers wait", (unsigned long long)seed);
        must_equal(&w, "one is rotten");
        told += w.corrupt;
        world_fini(&w);
    }
    assert_true(told > 12);
}

/* A disk with a place that it cannot read any more, in a file of which this is one of the handles.
 */
static const struct env_ops *whole;
static struct {
    struct env_file *file;
    char path[64];
} open_tables[256];
static char lost_path[64];
static uint64_t lost_at;

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static int open_noted(struct env *env, const char *path, int flags, struct env_file **ret_file,
                      struct err *err)
{
    int rv = whole->file_open(env, path, flags, ret_file, err);
    for (size_t i = 0; rv == 0 && strstr(path, ".tbl") != NULL && i < ARRAY_LEN(open_tables); i++) {
        if (open_tables[i].file != NULL)
            continue;
        open_tables[i].file = *ret_file;
        snprintf(open_tables[i].path, sizeof open_tables[i].path, "%s", name_of(path));
        break;
    }
    return rv;
}

static void close_noted(struct env_file *file)
{
    for (size_t i = 0; i < ARRAY_LEN(open_tables); i++) {
        if (open_tables[i].file == file)
            open_tables[i].file = NULL;
    }
    whole->file_close(file);
}

static int read_with_a_hole(struct env_file *file, uint64_t offset, void *data, size_t len,
                            size_t *ret_len, struct err *err)
{
    bool is_over_it = lost_at >= offset && lost_at < offset + len;
    for (size_t i = 0; is_over_it && i < ARRAY_LEN(open_tables); i++) {
        if (open_tables[i].file == file && strcmp(open_tables[i].path, lost_path) == 0)
            return err_set(err, ERR_IO, "read %s: a bad sector", lost_path);
    }
    return whole->file_read(file, offset, data, len, ret_len, err);
}

static void lose_in_one(void *data, const char *path, uint64_t size)
{
    struct rot *rot = data;
    if (strstr(path, ".tbl") == NULL || rot->is_done || rot->left-- > 0)
        return;
    rot->is_done = true;
    snprintf(lost_path, sizeof lost_path, "%s", name_of(path));
    lost_at = size / 4; /* in a data block */
}

/* The same of a place that the disk cannot read: after a while it is taken for rotten, and told;
 * compaction goes round it, and no writer waits for ever. */
static void test_one_unreadable(void **state)
{
    (void)state;
    size_t told = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct lsm_options options;
        struct world w;
        world_options(&options);
        world_init(&w, seed, &options);
        struct env *env = sim_node_env(w.node);
        struct env_ops ops = *env->ops;
        whole = env->ops;
        ops.file_open = open_noted;
        ops.file_close = close_noted;
        ops.file_read = read_with_a_hole;
        env->ops = &ops;
        memset(open_tables, 0, sizeof open_tables);
        lost_path[0] = 0;
        must_open(&w);
        for (unsigned i = 0; i < 80 + 3 * seed; i++)
            world_step(&w);
        struct rot rot = {.w = &w, .left = (unsigned)seed / 2};
        sim_disk_each_file(sim_node_disk(w.node), lose_in_one, &rot);
        assert_true(rot.is_done);
        w.tolerate = true;
        lsm_compact(w.lsm, slice_str(""), slice_str("")); /* which has to read it */
        sim_run_until(w.sim, sim_now_us(w.sim) + 90 * 1000000);
        for (unsigned i = 0; i < 250; i++)
            world_step(&w);
        world_settle(&w);
        if (lsm_stall(w.lsm) == LSM_STALL_STOP || w.step_acked != w.step_count)
            fail_msg("seed %llu: writers wait", (unsigned long long)seed);
        must_equal(&w, "a place of one cannot be read");
        told += w.corrupt;
        env->ops = whole;
        world_fini(&w);
    }
    assert_true(told > 4); /* elsewhere it was not in the tree any more */
}

/* Each place fails once and is read then: a disk that is no good, but nothing is lost. */
static struct {
    const struct env_file *file;
    uint64_t offset;
} tried[4096];
static size_t tried_count;

static int read_at_the_second_try(struct env_file *file, uint64_t offset, void *data, size_t len,
                                  size_t *ret_len, struct err *err)
{
    size_t i = 0;
    while (i < tried_count && (tried[i].file != file || tried[i].offset != offset))
        i++;
    if (i == tried_count && i < ARRAY_LEN(tried)) {
        tried[tried_count].file = file;
        tried[tried_count++].offset = offset;
        return err_set(err, ERR_IO, "read at %llu: not this time", (unsigned long long)offset);
    }
    return whole->file_read(file, offset, data, len, ret_len, err);
}

static void test_each_at_the_second_try(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 3, 150);
    world_settle(&w);
    struct env *env = sim_node_env(w.node);
    struct env_ops ops = *env->ops;
    struct lsm_stats stats;
    whole = env->ops;
    ops.file_read = read_at_the_second_try;
    env->ops = &ops;
    tried_count = 0;
    w.tolerate = true;
    for (unsigned i = 0; i < 60; i++) {
        must_equal(&w, "each at the second try");
        world_step(&w);
        sim_run_until(w.sim, sim_now_us(w.sim) + 2000000);
    }
    lsm_stats(w.lsm, &stats);
    assert_true(tried_count > 50);
    assert_int_equal(w.corrupt + stats.damaged_files, 0);
    env->ops = whole;
    w.tolerate = false;
    world_settle(&w);
    must_equal(&w, "after it");
    world_fini(&w);
}

/* A process that is killed before its last record of the manifest is synced. */
static struct {
    struct env_file *file; /* the manifest */
    bool is_on, is_reached;
} unsynced;

static int open_manifest_noted(struct env *env, const char *path, int flags,
                               struct env_file **ret_file, struct err *err)
{
    int rv = whole->file_open(env, path, flags, ret_file, err);
    if (rv == 0 && strstr(path, "MANIFEST") != NULL && (flags & ENV_OPEN_CREATE) != 0)
        unsynced.file = *ret_file;
    return rv;
}

static int sync_but_manifest(struct env_file *file, struct err *err)
{
    if (!unsynced.is_on || file != unsynced.file)
        return whole->file_sync(file, err);
    unsynced.is_reached = true;
    return 0;
}

/* Of that record, by which a compaction drops files, the next process makes sure before it removes
 * them for room. */
static void test_no_space_to_open_unsynced(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct lsm_options options;
        struct world w;
        struct err err = {0};
        world_options(&options);
        options.manifest_bytes = 1 << 20;
        world_init(&w, seed, &options);
        struct env *env = sim_node_env(w.node);
        struct env_ops ops = *env->ops;
        whole = env->ops;
        ops.file_open = open_manifest_noted;
        ops.file_sync = sync_but_manifest;
        env->ops = &ops;
        memset(&unsynced, 0, sizeof unsynced);
        must_open(&w);
        for (unsigned i = 0; i < 60; i++)
            world_step(&w);
        world_settle(&w);
        unsynced.is_on = true;
        lsm_compact(w.lsm, slice_str(""), slice_str(""));
        while (!unsynced.is_reached)
            assert_true(sim_step(w.sim));
        env->ops = whole;
        world_crash(&w, SIM_CRASH_KILL);
        sim_node_restart(w.node);
        leave_over(&w);
        sim_disk_set_capacity(sim_node_disk(w.node), 1);
        assert_int_equal(world_open(&w, &err), ERR_NO_SPACE);
        world_crash(&w, SIM_CRASH_POWER);
        sim_disk_set_capacity(sim_node_disk(w.node), UINT64_C(1) << 40);
        sim_node_restart(w.node);
        must_open(&w);
        world_match(&w, w.lsm, "after an open without room");
        world_fini(&w);
    }
}

/* ---- rot in staged files -------------------------------------------------- */

struct staging {
    char path[64];
    uint64_t size;
    int status, calls;
};

static void find_staged(void *data, const char *path, uint64_t size)
{
    struct staging *s = data;
    if (strstr(path, ".stage") == NULL)
        return;
    snprintf(s->path, sizeof s->path, "%s", path);
    s->size = size;
}

static void staged_cb(struct lsm_edit_op *op, int status)
{
    struct staging *s = op->data;
    s->status = status;
    s->calls++;
}

/* Take in a file of ten keys with bit `bit` flipped in it while it was staged; 0: tell its
 * size. Either the edit is refused and nothing changed, or reads say what is wrong. */
static uint64_t take_in_flipped(uint64_t bit, size_t *refused, size_t *heard)
{
    struct lsm_options options;
    struct world w;
    struct staging s = {.path = ""};
    world_options(&options);
    options.no_auto_compaction = true;
    options.table_bytes = 1 << 20;
    world_init(&w, 3, &options);
    must_open(&w);
    struct lsm_builder *b = lsm_builder_new(w.lsm);
    for (char key[] = "k0"; key[1] <= '9'; key[1]++)
        assert_int_equal(lsm_builder_put(b, slice_str(key), 1, slice_str(key), 0, NULL), 0);
    assert_int_equal(lsm_builder_finish(b, NULL), 0);
    sim_disk_each_file(sim_node_disk(w.node), find_staged, &s);
    assert_true(s.size > 0);
    if (bit > 0)
        assert_int_equal(sim_disk_flip_bit(sim_node_disk(w.node), s.path, bit), 0);
    struct lsm_edit_op op = {.data = &s, .ingest = &b, .ingest_count = 1, .cb = staged_cb};
    assert_int_equal(lsm_edit(w.lsm, &op), 0);
    world_settle(&w);
    assert_int_equal(s.calls, 1);
    assert_true(s.status == 0 || s.status == ERR_CORRUPT);
    *refused += s.status != 0;
    struct lsm_view *view = lsm_view_take(w.lsm);
    for (char key[] = "k0"; key[1] <= '9'; key[1]++) {
        struct lsm_value value = {0};
        struct err err = {0};
        int rv = lsm_get(view, slice_str(key), UINT64_MAX, 0, &value, &err);
        if (s.status != 0)
            assert_int_equal(rv, ERR_NOT_FOUND);
        else if (rv == ERR_CORRUPT)
            assert_non_null(strstr(err.msg, ".tbl"));
        else if (rv != 0 || !slice_equal(value.data, slice_str(key)))
            fail_msg("bit %llu: %d, a wrong value", (unsigned long long)bit, rv);
        *heard += rv == ERR_CORRUPT;
        lsm_value_fini(&value);
    }
    bool is_whole = s.status == 0 && lsm_verify(view, NULL, NULL, NULL) == 0;
    assert_int_equal(is_whole, bit == 0);
    lsm_view_unref(view);
    world_fini(&w);
    return s.size;
}

static void test_rot_in_staged(void **state)
{
    (void)state;
    size_t refused = 0, heard = 0;
    uint64_t size = take_in_flipped(0, &refused, &heard);
    assert_int_equal(refused + heard, 0);
    for (uint64_t bit = 5; bit < size * 8; bit += 37)
        take_in_flipped(bit, &refused, &heard);
    assert_true(refused > 3 && heard > 3);
}

/* ---- staged files that cannot be read ----------------------------------------------------- */

static void find_taken_in(void *data, const char *path, uint64_t size)
{
    if (strstr(path, ".stage") != NULL || (size > 0 && strcmp(name_of(path), lost_path) == 0))
        ++*(size_t *)data;
}

static void flushed_cb(struct lsm_flush_op *op, int status)
{
    assert_int_equal(status, 0);
    ++*(int *)op->data;
}

/* Take in a file whose last byte cannot be read for `lost_us`, with a memtable behind it; tells how
 * the edit ended. */
static int take_in_unreadable(uint64_t lost_us)
{
    struct lsm_options options;
    struct world w;
    struct staging s = {.path = ""};
    struct lsm_batch batch;
    size_t left = 0;
    int flushed = 0;
    world_options(&options);
    options.no_auto_compaction = true;
    world_init(&w, 3, &options);
    struct env *env = sim_node_env(w.node);
    struct env_ops ops = *env->ops;
    whole = env->ops;
    ops.file_open = open_noted;
    ops.file_close = close_noted;
    ops.file_read = read_with_a_hole;
    env->ops = &ops;
    memset(open_tables, 0, sizeof open_tables);
    lost_path[0] = 0;
    must_open(&w);
    struct lsm_builder *b = lsm_builder_new(w.lsm);
    assert_int_equal(lsm_builder_put(b, slice_str("k1"), 1, slice_str("v"), 0, NULL), 0);
    assert_int_equal(lsm_builder_finish(b, NULL), 0);
    sim_disk_each_file(sim_node_disk(w.node), find_staged, &s);
    snprintf(lost_path, sizeof lost_path, "%.*s.tbl", (int)strcspn(name_of(s.path), "."),
             name_of(s.path));
    lost_at = s.size - 1; /* the footer's */
    struct lsm_edit_op op = {.data = &s, .ingest = &b, .ingest_count = 1, .cb = staged_cb};
    assert_int_equal(lsm_edit(w.lsm, &op), 0);
    lsm_batch_init(&batch);
    lsm_batch_put(&batch, slice_str("k2"), 2, slice_str("v"), 0);
    assert_int_equal(lsm_write(w.lsm, &batch), 0);
    lsm_batch_fini(&batch);
    struct lsm_flush_op flush = {.data = &flushed};
    assert_int_equal(lsm_flush(w.lsm, &flush, flushed_cb), 0);
    sim_run_until(w.sim, sim_now_us(w.sim) + lost_us);
    assert_int_equal(flushed, s.calls);
    if (s.calls == 0) /* it can be read again */
        lost_at = s.size;
    sim_run_until(w.sim, sim_now_us(w.sim) + 10 * UINT64_C(1000000));
    assert_int_equal(s.calls, 1);
    assert_int_equal(flushed, 1);
    sim_disk_each_file(sim_node_disk(w.node), find_taken_in, &left);
    assert_int_equal(left, s.status == 0);
    env->ops = whole;
    world_fini(&w);
    return s.status;
}

/* For a while it is tried again; then it is damage that its owner hears of, for memtables wait. */
static void test_unreadable_staged(void **state)
{
    (void)state;
    for (uint64_t s = 0; s < 30; s += 5)
        assert_int_equal(take_in_unreadable(s * 1000000), 0);
    assert_int_equal(take_in_unreadable(UINT64_C(60) * 1000000), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_no_space_crash),
        cmocka_unit_test(test_no_space_to_open),
        cmocka_unit_test(test_no_space_to_open_unsynced),
        cmocka_unit_test(test_write_errors),
        cmocka_unit_test(test_sync_errors),
        cmocka_unit_test(test_sync_errors_on_a_full_disk),
        cmocka_unit_test(test_read_errors),
        cmocka_unit_test(test_open_read_errors),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_rot_in_service),
        cmocka_unit_test(test_one_unreadable),
        cmocka_unit_test(test_each_at_the_second_try),
        cmocka_unit_test(test_one_rotten),
        cmocka_unit_test(test_rot_in_staged),
        cmocka_unit_test(test_unreadable_staged),
    };
    return cmocka_run_group_tests_name("lsm_faults", tests, NULL, NULL);
}
