/* SPDX-License-Identifier: Apache-2.0
 *
 * Large values outside of the tree: where they go, that they are found, moved, carried along
 * by edits and checkpoints, checked, and given up.
 */
#include "lsm/values.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/rng.h"
#include "env/env_ops.h"
#include "env/sim/sim.h"
#include "lsm/lsm.h"
#include "lsm/table_read.h"
#include "lsm/version.h"
#include "support/check.h"

enum { LARGE = 600, KEYS = 40 };

struct place {
    struct sim *sim;
    struct sim_node *node;
    struct lsm *lsm;
    struct lsm_options options;
    uint64_t version;
    size_t corrupt;
    char corrupt_file[64];
};

static void on_corrupt(void *data, const char *file, uint64_t offset, const char *text)
{
    struct place *p = data;
    (void)offset;
    (void)text;
    p->corrupt++;
    snprintf(p->corrupt_file, sizeof p->corrupt_file, "%s", file);
}

static void open_it(struct place *p)
{
    struct err err = {0};
    if (lsm_open(&p->lsm, sim_node_env(p->node), "db", &p->options, &err) != 0)
        fail_msg("open: %s", err.msg);
}

static void place_init(struct place *p)
{
    *p = (struct place){.sim = sim_new(NULL, 1)};
    p->node = sim_node_new(p->sim, "n1");
    lsm_options_init(&p->options);
    p->options.memtable_bytes = 8 << 10;
    p->options.l0_compact = 2;
    p->options.block_bytes = 256;
    p->options.table_bytes = 4 << 10;
    p->options.level_base_bytes = 64 << 10;
    p->options.cache_bytes = 256 << 10;
    p->options.value_bytes = 256;
    p->options.callbacks = (struct lsm_callbacks){.on_corrupt = on_corrupt};
    p->options.data = p;
    open_it(p);
}

static void reopen(struct place *p)
{
    sim_node_crash(p->node, SIM_CRASH_POWER);
    lsm_free(p->lsm);
    sim_node_restart(p->node);
    open_it(p);
}

static void place_fini(struct place *p)
{
    sim_node_crash(p->node, SIM_CRASH_KILL);
    lsm_free(p->lsm);
    sim_free(p->sim);
}

static bool is_busy(void *data)
{
    return !lsm_is_quiet(data);
}

static void settle(struct place *p)
{
    sim_run_while(p->sim, is_busy, p->lsm, sim_now_us(p->sim) + 600 * UINT64_C(1000000));
    assert_true(lsm_is_quiet(p->lsm));
    lsm_check(p->lsm);
}

static const char *key_of(unsigned i)
{
    static char key[16];
    snprintf(key, sizeof key, "k%03u", i);
    return key;
}

/* A value that does not compress, from its key and round. */
static struct slice value_of(unsigned i, unsigned round, size_t len)
{
    static uint8_t bytes[4096];
    uint32_t x = (i + 1) * 2654435761u ^ (round + 1) * 40503u;
    assert_true(len <= sizeof bytes);
    for (size_t n = 0; n < len; n++) {
        x = x * 1664525 + 1013904223;
        bytes[n] = (uint8_t)(x >> 24);
    }
    return slice_of(bytes, len);
}

static void put(struct place *p, unsigned i, unsigned round, size_t len)
{
    struct lsm_batch batch;
    lsm_batch_init(&batch);
    lsm_batch_put(&batch, slice_str(key_of(i)), ++p->version, value_of(i, round, len), 0);
    while (lsm_write(p->lsm, &batch) == ERR_BUSY)
        assert_true(sim_step(p->sim));
    lsm_batch_fini(&batch);
}

static void on_flush(struct lsm_flush_op *op, int status)
{
    assert_int_equal(status, 0);
    free(op);
}

static void flush(struct place *p)
{
    struct lsm_flush_op *op = calloc(1, sizeof *op);
    assert_non_null(op);
    assert_int_equal(lsm_flush(p->lsm, op, on_flush), 0);
    settle(p);
}

static void fill(struct place *p, unsigned round, size_t len)
{
    for (unsigned i = 0; i < KEYS; i++)
        put(p, i, round, len);
    flush(p);
}

static void compact_all(struct place *p)
{
    assert_int_equal(lsm_compact(p->lsm, (struct slice){0}, (struct slice){0}), 0);
    settle(p);
}

static struct lsm_stats stats_of(const struct place *p)
{
    struct lsm_stats stats;
    lsm_stats(p->lsm, &stats);
    return stats;
}

static void expect_in(struct lsm *lsm, unsigned i, unsigned round, size_t len)
{
    struct lsm_value value = {0};
    struct err err = {0};
    struct lsm_view *view = lsm_view_take(lsm);
    int rv = lsm_get(view, slice_str(key_of(i)), UINT64_MAX, 0, &value, &err);
    if (rv != 0)
        fail_msg("%s: %d %s", key_of(i), rv, err.msg);
    assert_true(slice_equal(value.data, value_of(i, round, len)));
    lsm_value_fini(&value);
    lsm_view_unref(view);
}

static void expect_all(struct lsm *lsm, unsigned round, size_t len)
{
    struct lsm_view *view = lsm_view_take(lsm);
    struct lsm_iter *it = lsm_iter_new(view, (struct slice){0}, (struct slice){0}, UINT64_MAX, 0);
    bool on = lsm_iter_first(it);
    for (unsigned i = 0; i < KEYS; i++, on = lsm_iter_next(it)) {
        assert_true(on && slice_equal(lsm_iter_key(it), slice_str(key_of(i))));
        assert_true(slice_equal(lsm_iter_value(it), value_of(i, round, len)));
    }
    assert_false(on);
    on = lsm_iter_last(it);
    for (unsigned i = KEYS; i-- > 0; on = lsm_iter_prev(it)) {
        assert_true(on && slice_equal(lsm_iter_key(it), slice_str(key_of(i))));
        assert_true(slice_equal(lsm_iter_value(it), value_of(i, round, len)));
    }
    assert_int_equal(lsm_iter_status(it, NULL), 0);
    lsm_iter_free(it);
    lsm_view_unref(view);
    for (unsigned i = 0; i < KEYS; i++)
        expect_in(lsm, i, round, len);
}

/* Large ones go out of the tree; small ones, and too few large ones, stay. */
static void test_where_they_go(void **state)
{
    (void)state;
    struct place p;
    place_init(&p);
    fill(&p, 1, 255);
    assert_int_equal(stats_of(&p).value_files, 0);
    fill(&p, 2, 256);
    assert_true(stats_of(&p).value_files > 0);
    assert_true(stats_of(&p).value_bytes >= KEYS * 256);
    expect_all(p.lsm, 2, 256);
    reopen(&p);
    expect_all(p.lsm, 2, 256);
    place_fini(&p);

    place_init(&p);
    p.options.table_bytes = 64 << 10;
    reopen(&p);
    for (unsigned i = 0; i < 12; i += 2) /* 3.6 KB of 64: not worth a file */
        put(&p, i, 1, LARGE);
    flush(&p);
    assert_int_equal(stats_of(&p).value_files, 0);
    for (unsigned i = 1; i < 12; i += 2)
        put(&p, i, 1, LARGE);
    flush(&p);
    compact_all(&p); /* two tables: together they are */
    assert_int_equal(stats_of(&p).value_files, 1);
    assert_true(stats_of(&p).value_bytes >= 12 * LARGE);
    for (unsigned i = 0; i < 12; i++)
        expect_in(p.lsm, i, 1, LARGE);
    place_fini(&p);
}

/* NO_IO: from memory, or not at all, by get and by walk. */
static void test_no_io(void **state)
{
    (void)state;
    struct place p;
    struct lsm_value value = {0};
    place_init(&p);
    fill(&p, 1, LARGE);
    compact_all(&p); /* one table */
    reopen(&p);
    struct lsm_view *view = lsm_view_take(p.lsm);
    assert_int_equal(lsm_get(view, slice_str("k005"), UINT64_MAX, LSM_READ_NO_IO, &value, NULL),
                     ERR_WOULD_BLOCK);
    assert_int_equal(lsm_get(view, slice_str("k005"), UINT64_MAX, LSM_READ_NO_FILL, &value, NULL),
                     0);
    lsm_value_fini(&value);
    assert_int_equal(lsm_get(view, slice_str("k005"), UINT64_MAX, 0, &value, NULL), 0);
    lsm_value_fini(&value);
    assert_int_equal(lsm_get(view, slice_str("k005"), UINT64_MAX, LSM_READ_NO_IO, &value, NULL), 0);
    assert_true(slice_equal(value.data, value_of(5, 1, LARGE)));
    lsm_value_fini(&value);
    struct lsm_iter *it =
        lsm_iter_new(view, slice_str("k005"), slice_str("k007"), UINT64_MAX, LSM_READ_NO_IO);
    assert_true(lsm_iter_first(it));
    assert_false(lsm_iter_next(it)); /* k006: its value is on the disk alone */
    assert_int_equal(lsm_iter_status(it, NULL), ERR_WOULD_BLOCK);
    lsm_iter_free(it);
    lsm_view_unref(view);
    place_fini(&p);
}

static void latest_only(struct place *p)
{
    const struct lsm_gc_span all = {.safe_version = UINT64_MAX};
    assert_int_equal(lsm_set_gc(p->lsm, &all, 1), 0);
}

/* Overwritten again and again: garbage stays in its bounds, and so does the disk. */
static void test_garbage(void **state)
{
    (void)state;
    struct place p;
    place_init(&p);
    latest_only(&p);
    unsigned last[KEYS] = {0};
    struct rng rng;
    rng_init(&rng, 1);
    fill(&p, 0, LARGE);
    for (unsigned round = 1; round <= 40; round++) {
        for (unsigned n = 0; n < KEYS / 3; n++) {
            unsigned i = (unsigned)rng_below(&rng, KEYS);
            put(&p, i, round, LARGE);
            last[i] = round;
        }
        flush(&p);
        struct lsm_stats stats = stats_of(&p);
        uint64_t garbage = stats.value_bytes - stats.value_live_bytes;
        assert_true(stats.value_bytes > 0);
        assert_true(garbage * 100 < stats.value_bytes * p.options.value_garbage_percent);
        assert_int_equal(stats.files_dead, 0);
    }
    assert_true(stats_of(&p).value_moved_bytes > 0);
    compact_all(&p); /* what L0 overwrote is known now */
    assert_true(stats_of(&p).value_bytes < (uint64_t)KEYS * LARGE * 14 / 10);
    for (unsigned i = 0; i < KEYS; i++)
        expect_in(p.lsm, i, last[i], LARGE);
    place_fini(&p);
}

/* Writers are slowed while compaction is behind with garbage, and only then. */
static void test_pace(void **state)
{
    (void)state;
    struct place p;
    struct rng rng;
    unsigned slowed = 0;
    place_init(&p);
    p.options.l0_slow = 1000; /* not for that */
    p.options.l0_stop = 2000;
    reopen(&p);
    latest_only(&p);
    rng_init(&rng, 1);
    fill(&p, 0, LARGE);
    for (unsigned n = 0; n < 40 * KEYS; n++) {
        put(&p, (unsigned)rng_below(&rng, KEYS), n, LARGE);
        sim_step(p.sim);
        struct lsm_stats stats = stats_of(&p);
        uint64_t garbage = stats.value_bytes - stats.value_live_bytes;
        uint64_t us = lsm_pace_us(p.lsm, 1 << 20);
        slowed += us > 0;
        if (us > 0)
            assert_true(stats.is_compacting && garbage * 100 >= stats.value_bytes * 26);
        else
            assert_true(!stats.is_compacting || garbage * 100 < stats.value_bytes * 27);
    }
    assert_true(slowed > 0);
    settle(&p);
    assert_int_equal(lsm_pace_us(p.lsm, 1 << 20), 0);
    place_fini(&p);
}

static void spoil_values(void *data, const char *path, uint64_t size)
{
    struct place *p = data;
    if (strstr(path, ".val") != NULL && size > 0)
        assert_int_equal(sim_disk_flip_bit(sim_node_disk(p->node), path, 8 * (LARGE / 2)), 0);
}

/* Garbage that damage keeps slows nobody: no compaction can win it. */
static void test_pace_damage(void **state)
{
    (void)state;
    struct place p;
    unsigned met = 0;
    place_init(&p);
    p.options.l0_slow = 1000;
    p.options.l0_stop = 2000;
    reopen(&p);
    latest_only(&p);
    fill(&p, 0, LARGE);
    sim_disk_each_file(sim_node_disk(p.node), spoil_values, &p);
    struct lsm_view *view = lsm_view_take(p.lsm);
    assert_int_equal(lsm_verify(view, NULL, NULL, NULL), ERR_CORRUPT);
    lsm_view_unref(view);
    for (unsigned n = 0; n < 8 * KEYS; n++) {
        if (n % KEYS % 3 > 0) /* something of each file lives */
            put(&p, n % KEYS, n, 100);
        sim_step(p.sim);
        struct lsm_stats stats = stats_of(&p);
        uint64_t garbage = stats.value_bytes - stats.value_live_bytes;
        met += stats.is_compacting && garbage * 100 >= stats.value_bytes * 27;
        assert_int_equal(lsm_pace_us(p.lsm, 1 << 20), 0);
    }
    assert_true(met > 0);
    settle(&p);
    place_fini(&p);
}

/* A view shows what it showed, though all that it shows was overwritten and moved. */
static void test_view(void **state)
{
    (void)state;
    struct place p;
    struct lsm_value value = {0};
    place_init(&p);
    latest_only(&p);
    fill(&p, 1, LARGE);
    struct lsm_view *view = lsm_view_take(p.lsm);
    for (unsigned round = 2; round <= 6; round++) {
        for (unsigned i = 0; i < KEYS; i++)
            put(&p, i, round, LARGE);
        sim_run_until(p.sim, sim_now_us(p.sim) + 60 * UINT64_C(1000000));
    }
    assert_true(stats_of(&p).files_dead > 0);
    for (unsigned i = 0; i < KEYS; i++) {
        assert_int_equal(lsm_get(view, slice_str(key_of(i)), UINT64_MAX, 0, &value, NULL), 0);
        assert_true(slice_equal(value.data, value_of(i, 1, LARGE)));
        lsm_value_fini(&value);
    }
    lsm_view_unref(view);
    flush(&p);
    assert_int_equal(stats_of(&p).files_dead, 0);
    expect_all(p.lsm, 6, LARGE);
    place_fini(&p);
}

/* Turned off: what is moved goes back into the tables. */
static void test_off_again(void **state)
{
    (void)state;
    struct place p;
    place_init(&p);
    fill(&p, 1, LARGE);
    assert_true(stats_of(&p).value_files > 0);
    p.options.value_bytes = 0;
    reopen(&p);
    latest_only(&p);
    expect_all(p.lsm, 1, LARGE);
    for (unsigned i = 1; i < KEYS; i++)
        put(&p, i, 2, LARGE);
    flush(&p);
    compact_all(&p);
    assert_int_equal(stats_of(&p).value_files, 0);
    expect_in(p.lsm, 0, 1, LARGE);
    expect_in(p.lsm, KEYS - 1, 2, LARGE);
    place_fini(&p);
}

static void edit_cb(struct lsm_edit_op *op, int status)
{
    *(int *)op->data = status;
}

static void note_line(void *data, const char *line)
{
    size_t *values = data;
    assert_null(strstr(line, "L7"));
    *values += strncmp(line, "  add values ", 13) == 0;
}

/* Excise drops the values too; replace brings its own; a checkpoint has them all. */
static void test_edits(void **state)
{
    (void)state;
    struct place p;
    struct lsm *copy = NULL;
    struct err err = {0};
    int status = 1;
    place_init(&p);
    fill(&p, 1, LARGE);
    struct lsm_builder *builder = lsm_builder_new(p.lsm);
    for (unsigned i = 0; i < KEYS; i++)
        assert_int_equal(lsm_builder_put(builder, slice_str(key_of(i)), ++p.version,
                                         value_of(i, 2, LARGE), 0, NULL),
                         0);
    assert_int_equal(lsm_builder_finish(builder, NULL), 0);
    assert_true(lsm_builder_bytes(builder) > (uint64_t)KEYS * LARGE);
    struct lsm_span all = {slice_str("k"), slice_str("l")};
    struct lsm_edit_op op = {.data = &status, .excise = &all, .excise_count = 1, .cb = edit_cb};
    op.ingest = &builder;
    op.ingest_count = 1;
    assert_int_equal(lsm_edit(p.lsm, &op), 0);
    settle(&p);
    assert_int_equal(status, 0);
    expect_all(p.lsm, 2, LARGE);
    assert_true(stats_of(&p).value_bytes < (uint64_t)KEYS * LARGE * 11 / 10);
    reopen(&p);
    expect_all(p.lsm, 2, LARGE);

    struct lsm_view *view = lsm_view_take(p.lsm);
    assert_int_equal(lsm_checkpoint(view, "copy", &err), 0);
    lsm_view_unref(view);
    size_t values = 0;
    assert_int_equal(lsm_dump_manifest(sim_node_env(p.node), "copy", note_line, &values, &err), 0);
    assert_int_equal(values, stats_of(&p).value_files);
    struct lsm_options options = p.options;
    options.callbacks = (struct lsm_callbacks){0};
    if (lsm_open(&copy, sim_node_env(p.node), "copy", &options, &err) != 0)
        fail_msg("%s", err.msg);

    op = (struct lsm_edit_op){.data = &status, .excise = &all, .excise_count = 1, .cb = edit_cb};
    assert_int_equal(lsm_edit(p.lsm, &op), 0);
    settle(&p);
    assert_int_equal(stats_of(&p).value_files, 0);
    assert_int_equal(stats_of(&p).files_dead, 0);
    expect_all(copy, 2, LARGE);
    sim_node_crash(p.node, SIM_CRASH_KILL);
    lsm_free(copy);
    lsm_free(p.lsm);
    sim_free(p.sim);
}

/* A builder that is given up takes its value files along. */
static void test_abandoned(void **state)
{
    (void)state;
    struct place p;
    char **names = NULL;
    size_t count = 0;
    place_init(&p);
    for (unsigned finished = 0; finished < 2; finished++) {
        struct lsm_builder *builder = lsm_builder_new(p.lsm);
        for (unsigned i = 0; i < KEYS; i++)
            lsm_builder_put(builder, slice_str(key_of(i)), 1, value_of(i, 1, LARGE), 0, NULL);
        if (finished == 1)
            assert_int_equal(lsm_builder_finish(builder, NULL), 0);
        lsm_builder_free(builder);
        assert_int_equal(env_dir_list(sim_node_env(p.node), "db", &names, &count, NULL), 0);
        for (size_t i = 0; i < count; i++)
            assert_null(strstr(names[i], ".val"));
        free(names);
    }
    place_fini(&p);
}

/* The size that a range would be split by has the values in it. */
static void test_approximate(void **state)
{
    (void)state;
    struct place p;
    struct lsm_approx all, half;
    place_init(&p);
    fill(&p, 1, LARGE);
    struct lsm_view *view = lsm_view_take(p.lsm);
    lsm_approximate(view, slice_str("k"), slice_str("l"), 0, &all, NULL);
    lsm_approximate(view, slice_str("k"), slice_str("k020"), 0, &half, NULL);
    assert_true(all.bytes >= (uint64_t)KEYS * LARGE &&
                all.bytes < (uint64_t)KEYS * LARGE * 12 / 10);
    assert_true(half.bytes >= all.bytes / 4 && half.bytes <= all.bytes * 3 / 4);
    /* One table, one partition of its index: its blocks tell where the middle is. */
    lsm_view_unref(view);
    compact_all(&p);
    view = lsm_view_take(p.lsm);
    buf_fini(&all.middle);
    lsm_approximate(view, slice_str("k"), slice_str("l"), 0, &all, NULL);
    assert_true(slice_compare(buf_slice(&all.middle), slice_str("k010")) > 0);
    assert_true(slice_compare(buf_slice(&all.middle), slice_str("k030")) < 0);
    buf_fini(&all.middle);
    buf_fini(&half.middle);
    lsm_view_unref(view);
    place_fini(&p);
}

static struct lsm_approx size_of(const struct lsm_view *view, unsigned from, unsigned to)
{
    char start[16], end[16];
    struct lsm_approx approx;
    snprintf(start, sizeof start, "s%05u", from);
    snprintf(end, sizeof end, "s%05u", to);
    assert_int_equal(
        lsm_approximate(view, slice_str(start), slice_str(end), LSM_READ_NO_IO, &approx, NULL), 0);
    buf_fini(&approx.middle);
    return approx;
}

/* Thousands of records of large values are a table of few blocks: a narrow span is not taken
 * for half of it, or a range would be split for its size again and again. */
static void test_approximate_narrow(void **state)
{
    (void)state;
    enum { MANY = 8000, NARROW = 40 };
    struct place p;
    place_init(&p);
    p.options.memtable_bytes = 64 << 20;
    p.options.block_bytes = 4 << 10;
    p.options.table_bytes = 64 << 20;
    reopen(&p);
    for (unsigned i = 0; i < MANY; i++) {
        char key[16];
        struct lsm_batch batch;
        snprintf(key, sizeof key, "s%05u", i);
        lsm_batch_init(&batch);
        lsm_batch_put(&batch, slice_str(key), ++p.version, value_of(i, 1, 4096), 0);
        assert_int_equal(lsm_write(p.lsm, &batch), 0);
        lsm_batch_fini(&batch);
    }
    flush(&p);
    struct lsm_view *view = lsm_view_take(p.lsm);
    uint64_t all = size_of(view, 0, MANY).bytes, sum = 0;
    assert_true(all >= (uint64_t)MANY * 4096);
    for (unsigned i = 0; i < MANY; i += MANY / 4)
        sum += size_of(view, i, i + MANY / 4).bytes;
    assert_in_range(sum, all / 4 * 3, all / 4 * 5);
    for (unsigned i = 1; i + NARROW < MANY; i += MANY / 16)
        assert_true(size_of(view, i, i + NARROW).bytes < all / 6);
    sum = 0;
    for (unsigned i = 0; i < MANY; i += NARROW)
        sum += size_of(view, i, i + NARROW).bytes;
    assert_in_range(sum, all / 10 * 9, all / 10 * 11); /* many ranges in each part */
    lsm_view_unref(view);
    place_fini(&p);
}

/* A builder keeps values in the table until there are enough for a file of their own: what is in
 * the file counts where its keys are, not where most of the table's own bytes are. */
static void test_approximate_mixed(void **state)
{
    (void)state;
    enum { MANY = 2000, STEP = 50 };
    struct place p;
    place_init(&p);
    p.options.block_bytes = 4 << 10;
    p.options.table_bytes = 64 << 20;
    reopen(&p);
    struct lsm_builder *builder = lsm_builder_new(p.lsm);
    for (unsigned i = 0; i < MANY; i++) {
        char key[16];
        snprintf(key, sizeof key, "s%05u", i);
        assert_int_equal(lsm_builder_put(builder, slice_str(key), 1, value_of(i, 1, 4096), 0, NULL),
                         0);
    }
    assert_int_equal(lsm_builder_finish(builder, NULL), 0);
    int status = 1;
    struct lsm_edit_op op = {.data = &status, .cb = edit_cb, .ingest = &builder, .ingest_count = 1};
    assert_int_equal(lsm_edit(p.lsm, &op), 0);
    settle(&p);
    assert_int_equal(status, 0);
    struct lsm_view *view = lsm_view_take(p.lsm);
    uint64_t all = size_of(view, 0, MANY).bytes;
    assert_in_range(all, (uint64_t)MANY * 4096, (uint64_t)MANY * 4096 * 11 / 10);
    for (unsigned i = 0; i < MANY; i += STEP)
        assert_in_range(size_of(view, i, i + STEP).bytes, all * STEP / MANY / 2,
                        all * STEP / MANY * 2);
    lsm_view_unref(view);
    place_fini(&p);
}

/* ---- damage --------------------------------------------------------------- */

static void find_values(void *data, const char *path, uint64_t size)
{
    char *found = data;
    if (strstr(path, ".val") != NULL && size > 0)
        snprintf(found, 64, "%s", path);
}

static void test_damage(void **state)
{
    (void)state;
    struct place p;
    struct lsm_value value = {0};
    struct err err = {0};
    char path[64] = "";
    unsigned bad = 0;
    place_init(&p);
    p.options.scrub_bytes = 1 << 20;
    reopen(&p);
    fill(&p, 1, LARGE);
    sim_disk_each_file(sim_node_disk(p.node), find_values, path);
    assert_true(path[0] != 0);
    assert_int_equal(sim_disk_flip_bit(sim_node_disk(p.node), path, 8 * (LARGE / 2)), 0);
    struct lsm_view *view = lsm_view_take(p.lsm);
    for (unsigned i = 0; i < KEYS; i++) {
        int rv = lsm_get(view, slice_str(key_of(i)), UINT64_MAX, 0, &value, &err);
        bad += rv == ERR_CORRUPT;
        assert_true(rv == 0 || rv == ERR_CORRUPT);
        if (rv == 0)
            assert_true(slice_equal(value.data, value_of(i, 1, LARGE)));
        lsm_value_fini(&value);
    }
    assert_int_equal(bad, 1); /* the one, named with file and offset */
    assert_non_null(strstr(err.msg, strrchr(path, '/') + 1));
    assert_non_null(strstr(err.msg, "block at 0"));
    assert_int_equal(lsm_verify(view, NULL, NULL, &err), ERR_CORRUPT);
    lsm_view_unref(view);
    sim_run_until(p.sim, sim_now_us(p.sim) + 10 * UINT64_C(1000000));
    fill(&p, 2, 100); /* work goes on, and the owner hears of it */
    assert_true(p.corrupt > 0);
    assert_string_equal(p.corrupt_file, strrchr(path, '/') + 1);
    assert_int_equal(stats_of(&p).damaged_files, 1);
    place_fini(&p);
}

/* The scrub finds what nobody reads. */
static void test_scrub(void **state)
{
    (void)state;
    struct place p;
    char path[64] = "";
    place_init(&p);
    p.options.scrub_bytes = 1 << 20;
    reopen(&p);
    fill(&p, 1, LARGE);
    sim_run_until(p.sim, sim_now_us(p.sim) + 30 * UINT64_C(1000000));
    assert_true(stats_of(&p).scrub_rounds > 0);
    assert_int_equal(stats_of(&p).scrub_errors, 0);
    sim_disk_each_file(sim_node_disk(p.node), find_values, path);
    assert_int_equal(sim_disk_flip_bit(sim_node_disk(p.node), path, 8 * (LARGE * 3 / 2)), 0);
    sim_run_until(p.sim, sim_now_us(p.sim) + 30 * UINT64_C(1000000));
    assert_int_equal(p.corrupt, 1);
    assert_string_equal(p.corrupt_file, strrchr(path, '/') + 1);
    place_fini(&p);
}

/* A value file that is missing, or is none: the open says so. */
static void test_missing(void **state)
{
    (void)state;
    struct place p;
    struct err err = {0};
    char path[64] = "";
    place_init(&p);
    fill(&p, 1, LARGE);
    sim_disk_each_file(sim_node_disk(p.node), find_values, path);
    sim_node_crash(p.node, SIM_CRASH_POWER);
    lsm_free(p.lsm);
    sim_node_restart(p.node);
    const char *name = path[0] == '/' ? path + 1 : path;
    assert_int_equal(env_file_unlink(sim_node_env(p.node), name, &err), 0);
    assert_int_equal(lsm_open(&p.lsm, sim_node_env(p.node), "db", &p.options, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, strrchr(path, '/') + 1));
    p.lsm = NULL;
    place_fini(&p);
}

static void test_walk(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t raw[4];
        size_t len;
        uint64_t size;
        size_t want; /* blocks */
        bool want_bad;
    } rows[] = {
        {"empty", {0}, 0, 100, 0, false},
        {"two", {10, 20}, 2, 100, 2, false},
        {"beyond the end", {10, 90}, 2, 100, 1, true},
        {"no room for a tail", {96}, 1, 100, 0, true},
        {"a varint without an end", {10, 0x80}, 2, 100, 1, true},
        {"empty file", {0}, 1, 0, 0, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct values_walk walk = {.raw = slice_of(rows[i].raw, rows[i].len), .size = rows[i].size};
        size_t n = 0;
        while (values_walk(&walk))
            n++;
        if (n != rows[i].want || walk.is_bad != rows[i].want_bad)
            fail_msg("%s: %zu blocks, bad %d", rows[i].name, n, walk.is_bad);
    }
}

/* What does not shrink is tried less and less; what does shrink is found out soon, and then always
 * tried. */
static void test_compression_is_tried_where_it_pays(void **state)
{
    (void)state;
    enum { LEN = 8 << 10, EACH = 100 };
    struct sim *sim = sim_new(NULL, 1);
    struct env *env = sim_node_env(sim_node_new(sim, "n1"));
    struct value_builder b;
    struct value_info info;
    struct value_ref ref;
    struct rng rng;
    uint8_t *value = calloc(1, LEN);
    uint32_t shrunk[2] = {0}, last = 0;
    rng_init(&rng, 1);
    assert_int_equal(value_builder_open(&b, env, ".", 1, 1 << 20, false, NULL), 0);
    for (uint32_t i = 0; i < 2 * EACH; i++) {
        bool is_noise = i < EACH;
        rng_fill(&rng, value, is_noise ? LEN : LEN / 4);
        memset(value + LEN / 2, is_noise ? value[LEN / 2] : 0, is_noise ? 1 : LEN / 2);
        assert_int_equal(value_builder_add(&b, slice_of(value, LEN), &ref, NULL), 0);
        assert_int_equal(ref.size, LEN);
        bool has_shrunk = ref.at.len < LEN;
        shrunk[!is_noise] += has_shrunk;
        assert_true(has_shrunk || last == 0); /* once found, never left */
        last = has_shrunk;
        assert_true(b.untried <= VALUES_UNTRIED_MAX);
    }
    assert_int_equal(shrunk[0], 0);
    assert_in_range(shrunk[1], EACH - VALUES_UNTRIED_MAX - 1, EACH);
    assert_int_equal(value_builder_finish(&b, &info, NULL), 0);
    assert_int_equal(info.records, 2 * EACH);
    value_builder_fini(&b, true);
    free(value);
    sim_free(sim);
}

/* Tiny values in large files have long directories, and these are blocks, which have a bound. */
static void test_directory_is_full(void **state)
{
    (void)state;
    struct sim *sim = sim_new(NULL, 1);
    struct env *env = sim_node_env(sim_node_new(sim, "n1"));
    struct cache *cache = cache_new(1 << 20);
    struct value_builder b;
    struct value_info info;
    struct value_ref ref;
    struct piece *p = NULL;
    struct block *block = NULL;
    struct err err = {0};
    assert_int_equal(value_builder_open(&b, env, ".", 1, 1 << 20, false, NULL), 0);
    assert_int_equal(value_builder_add(&b, slice_str("a value"), &ref, NULL), 0);
    assert_true(value_builder_is_full(&b, value_builder_bytes(&b)));
    while (b.directory.len < VALUES_DIRECTORY_BYTES) { /* as if of many more like it */
        assert_false(value_builder_is_full(&b, UINT64_MAX));
        buf_append_varint(&b.directory, ref.at.len);
    }
    assert_true(value_builder_is_full(&b, UINT64_MAX));
    assert_int_equal(value_builder_finish(&b, &info, NULL), 0);
    value_builder_fini(&b, true);
    if (values_open_piece(env, cache, ".", &info, &p, &err) != 0 ||
        table_read_block(p->table, p->table->footer.top, &block, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(block->len, VALUES_DIRECTORY_BYTES);
    block_unref(block);
    piece_unref(p);
    cache_free(cache);
    sim_free(sim);
}

/* A file system that refuses to be written past the page cache from some call on. */
static const struct env_ops *willing;
static unsigned past_most, past_calls;

static int past_for_a_while(struct env_file *file, uint64_t offset, const void *data, size_t len,
                            struct err *err)
{
    if (past_calls == past_most)
        return ERR_UNSUPPORTED;
    past_calls++;
    return willing->file_write(file, offset, data, len, err);
}

/* Many values, and one of several pieces: what is in the file is what the builder says. */
static struct value_info build_file(struct env *env, uint64_t number)
{
    enum { VALUES = 100, LEN = 3000, LONG = 20000 };
    static uint8_t value[LONG], raw[VALUES * LEN + LONG + (16 << 10)];
    struct value_builder b;
    struct value_info info;
    struct value_ref ref;
    struct rng rng;
    struct env_file *file = NULL;
    char name[DISK_NAME_MAX];
    size_t got = 0;
    rng_init(&rng, 1);
    assert_int_equal(value_builder_open(&b, env, ".", number, 64 << 10, false, NULL), 0);
    for (int i = 0; i < VALUES; i++) {
        size_t len = i == VALUES / 2 ? LONG : LEN;
        rng_fill(&rng, value, len);
        assert_int_equal(value_builder_add(&b, slice_of(value, len), &ref, NULL), 0);
    }
    assert_int_equal(value_builder_finish(&b, &info, NULL), 0);
    value_builder_fini(&b, true);
    disk_name(DISK_VALUES, number, name);
    assert_int_equal(env_file_open(env, name, ENV_OPEN_READ, &file, NULL), 0);
    assert_int_equal(env_file_read(file, 0, raw, sizeof raw, &got, NULL), 0);
    env_file_close(file);
    assert_int_equal(got, info.size);
    assert_int_equal(crc32c(0, raw, got), info.crc);
    return info;
}

/* Past the page cache, or not, or not any more: the bytes are the same. */
static void test_past_the_page_cache(void **state)
{
    (void)state;
    enum { CALLS = 76 }; /* of 4 KiB */
    struct sim *sim = sim_new(NULL, 1);
    struct env *env = sim_node_env(sim_node_new(sim, "n1"));
    struct env_ops ops = *env->ops;
    struct value_info first = {0};
    willing = env->ops;
    ops.file_write_past = past_for_a_while;
    env->ops = &ops;
    for (past_most = 0; past_most <= CALLS + 10; past_most += 2) {
        past_calls = 0;
        struct value_info info = build_file(env, 1 + past_most);
        first = past_most == 0 ? info : first;
        assert_int_equal(info.size, first.size);
        assert_int_equal(info.crc, first.crc);
        assert_int_equal(past_calls, MIN(past_most, info.size / ENV_BLOCK));
    }
    assert_true(past_calls < past_most - 2); /* at last nothing was refused */
    env->ops = willing;
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compression_is_tried_where_it_pays),
        cmocka_unit_test(test_directory_is_full),
        cmocka_unit_test(test_past_the_page_cache),
        cmocka_unit_test(test_where_they_go),
        cmocka_unit_test(test_no_io),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_pace_damage),
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_off_again),
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_abandoned),
        cmocka_unit_test(test_approximate),
        cmocka_unit_test(test_approximate_narrow),
        cmocka_unit_test(test_approximate_mixed),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_scrub),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_walk),
    };
    return cmocka_run_group_tests_name("values", tests, NULL, NULL);
}
