/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a compaction is cut, and what comes of one that is.
 */
#include <stdio.h>
#include <stdlib.h>

#include "env/sim/sim.h"
#include "lsm/lsm_internal.h"
#include "lsm/split.h"
#include "support/check.h"

/* ---- borders ------------------------------------------------------------ */

enum { PARTS_MAX = 8 };

/* A piece over a table that never touches a disk, with the keys that its index has, one for
 * each 100 bytes of data. */
static void add(struct pick *pick, const char *lo, const char *hi, const char *keys)
{
    struct piece *p = piece_new(slice_str(lo), slice_str(hi));
    struct table *t = calloc(1, sizeof *t);
    assert_non_null(p);
    assert_non_null(t);
    atomic_init(&t->refs, 1);
    list_init(&t->in_dead);
    table_props_init(&t->props);
    t->parts.count = strlen(keys);
    t->parts.items = calloc(PARTS_MAX, sizeof(*t->parts.items));
    assert_non_null(t->parts.items);
    for (size_t i = 0; i < t->parts.count; i++) {
        t->parts.items[i].key = slice_of((const uint8_t *)keys + i, 1);
        t->parts.items[i].at.data_bytes = 100;
    }
    p->table = t;
    p->bytes = 100 * t->parts.count;
    pick->inputs[pick->input_count++] = (struct pick_input){.level = 0, .piece = p};
    if (pick->input_count == 1 || slice_compare(p->lo, pick->lo) < 0)
        pick->lo = p->lo;
    if (pick->input_count == 1 || slice_compare(p->hi, pick->hi) > 0)
        pick->hi = p->hi;
}

static void test_borders(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *pieces[3][3]; /* lo, hi, keys of the index */
        size_t shares_max;
        uint64_t bytes_min;
        const char *want;
    } rows[] = {
        {"one share", {{"a", "z", "bcdefg"}}, 1, 1, ""},
        {"too small for two", {{"a", "z", "bcdefg"}}, 4, 301, ""},
        {"two", {{"a", "z", "bcdefg"}}, 4, 300, "d"},
        {"three", {{"a", "z", "bcdefg"}}, 3, 1, "ce"},
        {"as many as there are keys", {{"a", "z", "bc"}}, 16, 1, "b"},
        {"one key in each", {{"a", "b", "a"}, {"b", "c", "b"}, {"c", "d", "c"}}, 4, 1, "bc"},
        {"the end is no border", {{"a", "c", "bc"}, {"a", "c", "c"}}, 16, 1, "b"},
        {"two inputs side by side", {{"a", "f", "bcz"}, {"m", "y", "noz"}}, 2, 1, "f"},
        {"two inputs, one over the other", {{"a", "z", "hn"}, {"b", "y", "cdefg"}}, 2, 1, "f"},
        {"one far larger", {{"a", "z", "mnpqz"}, {"b", "n", "n"}, {"b", "n", "n"}}, 3, 200, "n"},
        {"one border for equal keys",
         {{"a", "z", "mz"}, {"b", "z", "mz"}, {"c", "y", "mz"}},
         4,
         1,
         "my"},
        {"what a cut hides does not count", {{"e", "h", "bcdefghi"}}, 2, 1, "f"},
        {"no key of a cut table within", {{"e", "h", "bz"}, {"e", "k", "bz"}}, 4, 1, "h"},
        {"no table that can be read", {{"a", "z", ""}}, 4, 1, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pick pick = {.inputs = calloc(3, sizeof(*pick.inputs)), .input_cap = 3};
        struct split split;
        char got[SPLIT_SHARES_MAX] = "";
        assert_non_null(pick.inputs);
        for (size_t n = 0; n < 3 && rows[i].pieces[n][0] != NULL; n++)
            add(&pick, rows[i].pieces[n][0], rows[i].pieces[n][1], rows[i].pieces[n][2]);
        assert_int_equal(split_pick(&pick, rows[i].shares_max, rows[i].bytes_min, &split), 0);
        for (size_t n = 0; n < split.count; n++)
            got[n] = (char)split.borders[n].data[0];
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s: '%s'", rows[i].name, got);
        for (size_t n = 0; n < pick.input_count; n++)
            piece_unref(pick.inputs[n].piece);
        pick_fini(&pick);
    }
}

/* ---- a compaction of several shares --------------------------------------- */

enum { KEYS = 40, VERSIONS = 30, VALUE = 400 };

struct place {
    struct sim *sim;
    struct sim_node *node;
    struct lsm *lsm;
};

/* Versions 1 .. VERSIONS of each key, in several files: those of one key are more than a file
 * holds. */
static void begin_at(struct place *p, uint32_t threads, unsigned shares, uint64_t rate)
{
    static uint8_t value[VALUE];
    struct sim_options world;
    struct lsm_options options;
    struct err err = {0};
    sim_options_init(&world);
    world.compact_threads = threads;
    lsm_options_init(&options);
    options.memtable_bytes = 64 << 10;
    options.table_bytes = 4 << 10;
    options.block_bytes = 100; /* a few records in each part of the index */
    options.no_compression = true;
    options.no_auto_compaction = true;
    options.compact_shares = shares;
    options.compact_bytes = rate;
    *p = (struct place){.sim = sim_new(&world, 1)};
    p->node = sim_node_new(p->sim, "n1");
    assert_int_equal(lsm_open(&p->lsm, sim_node_env(p->node), "db", &options, &err), 0);
    for (uint64_t version = 1; version <= VERSIONS; version++) {
        struct lsm_batch batch;
        lsm_batch_init(&batch);
        for (unsigned k = 0; k < KEYS; k++) {
            char key[16];
            snprintf(key, sizeof key, "k%03u", k);
            value[0] = (uint8_t)k;
            value[1] = (uint8_t)version;
            lsm_batch_put(&batch, slice_str(key), version, slice_of(value, sizeof value), 0);
        }
        assert_int_equal(lsm_write(p->lsm, &batch), 0);
        lsm_batch_fini(&batch);
        sim_run_until(p->sim, sim_now_us(p->sim) + 1000000); /* flushes come along */
    }
}

static void begin(struct place *p, uint32_t threads, unsigned shares)
{
    begin_at(p, threads, shares, 0);
}

static void end(struct place *p)
{
    lsm_free(p->lsm);
    sim_free(p->sim);
}

static void run(struct place *p)
{
    sim_run_until(p->sim, sim_now_us(p->sim) + 60 * UINT64_C(1000000));
    assert_true(lsm_is_quiet(p->lsm));
    lsm_check(p->lsm);
}

/* Every version of every key, in order. */
static void look(struct place *p)
{
    struct lsm_view *view = lsm_view_take(p->lsm);
    struct lsm_iter *it =
        lsm_iter_new(view, (struct slice){0}, (struct slice){0}, UINT64_MAX, LSM_READ_ALL_VERSIONS);
    bool on = lsm_iter_first(it);
    for (unsigned k = 0; k < KEYS; k++) {
        for (uint64_t version = VERSIONS; version > 0; version--, on = lsm_iter_next(it)) {
            assert_true(on);
            struct slice value = lsm_iter_value(it);
            assert_int_equal(lsm_iter_version(it), version);
            assert_int_equal(value.len, VALUE);
            assert_int_equal(value.data[0], k);
            assert_int_equal(value.data[1], version);
        }
    }
    assert_false(on);
    assert_int_equal(lsm_iter_status(it, NULL), 0);
    lsm_iter_free(it);
    lsm_view_unref(view);
}

static void compact(struct place *p, struct lsm_stats *stats)
{
    assert_int_equal(lsm_compact(p->lsm, (struct slice){0}, (struct slice){0}), 0);
    run(p);
    lsm_stats(p->lsm, stats);
    assert_int_equal(stats->levels[0].files, 0);
    look(p);
}

static void test_shares(void **state)
{
    (void)state;
    static const unsigned shares[] = {1, 2, 5, SPLIT_SHARES_MAX};
    for (uint32_t threads = 1; threads <= 4; threads++) {
        for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
            struct place p;
            struct lsm_stats stats;
            begin(&p, threads, shares[i]);
            compact(&p, &stats);
            assert_int_equal(stats.compactions, 1);
            assert_int_equal(stats.compact_shares, shares[i]);
            assert_int_equal(stats.manifest_records, stats.flushes + 1);
            /* once more, from one level: files that were made side by side fit together */
            compact(&p, &stats);
            assert_int_equal(stats.compactions, 2);
            assert_int_equal(stats.compact_shares, 2 * shares[i]);
            end(&p);
        }
    }
}

/* Where one range ends and the next begins a file ends, too, if it is half full or more: a
 * range that leaves takes whole files with it. */
static void test_files_end_with_spans(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *border; /* of two ranges; files of 4 KiB, about 10 keys */
        bool want;
    } rows[] = {
        {"no border", "", false},
        {"little before it", "k003", false},
        {"most of a file before it", "k007", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct place p;
        unsigned begin_there = 0;
        const struct lsm_gc_span spans[] = {
            {.end = slice_str(rows[i].border), .safe_version = UINT64_MAX},
            {.start = slice_str(rows[i].border), .safe_version = UINT64_MAX},
        };
        begin(&p, 1, 1);
        assert_int_equal(lsm_set_gc(p.lsm, spans, rows[i].border[0] == 0 ? 1 : 2), 0);
        assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
        run(&p);
        const struct version *v = p.lsm->version;
        assert_true(v->count[LSM_LEVELS - 1] >= 4);
        for (size_t n = 0; n < v->count[LSM_LEVELS - 1]; n++) {
            struct slice lo = v->at[LSM_LEVELS - 1][n]->lo;
            begin_there += slice_equal(lo, slice_str(rows[i].border));
        }
        if (begin_there != rows[i].want)
            fail_msg("%s: %u files begin there", rows[i].name, begin_there);
        end(&p);
    }
}

static size_t count_files(struct place *p)
{
    char **names = NULL;
    size_t count = 0, tables = 0;
    assert_int_equal(env_dir_list(sim_node_env(p->node), "db", &names, &count, NULL), 0);
    for (size_t i = 0; i < count; i++)
        tables += strstr(names[i], ".tbl") != NULL;
    free(names);
    return tables;
}

/* One share has no room: what the others made goes with it, and all is tried again. */
static void test_one_fails(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        struct place p;
        struct lsm_stats stats;
        begin(&p, threads, 4);
        run(&p);
        struct sim_disk *disk = sim_node_disk(p.node);
        size_t before = count_files(&p);
        uint64_t used = sim_disk_used(disk);
        sim_disk_set_capacity(disk, used + used / 3);
        assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
        run(&p);
        lsm_stats(p.lsm, &stats);
        assert_int_equal(stats.compactions, 0);
        assert_true(stats.retries > 0);
        assert_int_equal(count_files(&p), before);
        look(&p);
        sim_disk_set_capacity(disk, SIM_DISK_CAPACITY_DEFAULT);
        compact(&p, &stats);
        assert_int_equal(stats.compact_shares, 4);
        end(&p);
    }
}

/* All together keep the rate, however long each has to rest for it. No share rests after its
 * last slice: two or so each. */
static void test_rate_of_shares(void **state)
{
    (void)state;
    enum { RATE = 64 << 10 };
    static const unsigned shares[] = {1, 2, 4};
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        struct place p;
        struct lsm_stats stats;
        begin_at(&p, 4, shares[i], RATE);
        assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
        uint64_t began_us = sim_now_us(p.sim);
        while (!lsm_is_quiet(p.lsm))
            sim_run_until(p.sim, sim_now_us(p.sim) + 10000);
        uint64_t took_us = sim_now_us(p.sim) - began_us;
        lsm_stats(p.lsm, &stats);
        assert_int_equal(stats.compact_shares, shares[i]);
        uint64_t rested = stats.compact_read_bytes - (uint64_t)shares[i] * (64 << 10);
        if (took_us < rested * 1000000 / RATE || took_us > 12000000)
            fail_msg("%u shares: %llu us", shares[i], (unsigned long long)took_us);
        end(&p);
    }
}

static void on_edited(struct lsm_edit_op *op, int status)
{
    *(int *)op->data = status;
}

/* What is compacted, slowly, is dropped: it does not go on until the end for nothing, and the
 * files go. */
static void test_ends_with_its_inputs(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        struct place p;
        struct lsm_stats stats;
        int status = ERR_BUSY;
        struct lsm_span all = {slice_str("k"), slice_str("l")};
        struct lsm_edit_op op = {
            .data = &status, .excise = &all, .excise_count = 1, .cb = on_edited};
        begin_at(&p, threads, 4, 16 << 10);
        assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
        sim_run_until(p.sim, sim_now_us(p.sim) + 1000000);
        lsm_stats(p.lsm, &stats);
        assert_true(stats.is_compacting);
        assert_int_equal(lsm_edit(p.lsm, &op), 0);
        sim_run_until(p.sim, sim_now_us(p.sim) + 1000000);
        lsm_stats(p.lsm, &stats);
        assert_int_equal(status, 0);
        assert_false(stats.is_compacting);
        assert_int_equal(stats.compactions, 0);
        assert_int_equal(stats.retries, 0);
        assert_int_equal(stats.files_dead, 0);
        assert_int_equal(count_files(&p), 0);
        lsm_check(p.lsm);
        end(&p);
    }
}

/* Given up under way, with shares in all states. */
static void test_free_at_any_time(void **state)
{
    (void)state;
    for (uint64_t us = 100; us < 20000; us += 700) {
        struct place p;
        struct lsm_stats stats;
        begin(&p, 2, 4);
        run(&p);
        assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
        sim_run_until(p.sim, sim_now_us(p.sim) + us);
        lsm_stats(p.lsm, &stats);
        sim_node_crash(p.node, SIM_CRASH_KILL);
        end(&p);
    }
}

/* ---- what was written is damaged already -------------------------------------- */

struct damage {
    char path[ENV_PATH_MAX];
    uint64_t offset;
    unsigned count; /* of syncs of it: damaged at the first */
};

static void on_disk_op(void *data, struct sim_disk *disk, const char *op, const char *path)
{
    struct damage *d = data;
    if (strcmp(op, "sync") != 0 || strstr(path, d->path) == NULL || d->count++ > 0)
        return;
    assert_int_equal(sim_disk_flip_bit(disk, path, d->offset * 8), 0);
}

enum part { PART_INDEX, PART_FILTER, PART_STALE, PARTS };

static uint64_t offset_of(const struct table *t, enum part part)
{
    struct table_handle stale = {0};
    assert_true(table_stale_handle(&t->footer, &stale));
    if (part == PART_INDEX)
        return t->parts.items[0].at.handle.offset;
    return part == PART_FILTER ? t->footer.filter.offset : stale.offset;
}

/* Where that begins in the first table that a compaction of this world makes. */
static void learn(struct damage *d, enum part part)
{
    struct place p;
    struct lsm_stats stats;
    struct table *t = NULL;
    char **names = NULL;
    size_t count = 0;
    uint64_t least = UINT64_MAX;
    begin(&p, 1, 1);
    compact(&p, &stats);
    assert_int_equal(env_dir_list(sim_node_env(p.node), "db", &names, &count, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        if (strstr(names[i], ".tbl") != NULL)
            least = MIN(least, strtoull(names[i], NULL, 10));
    }
    free(names);
    snprintf(d->path, sizeof d->path, "db/%06llu.tbl", (unsigned long long)least);
    struct cache *cache = cache_new(1 << 20);
    assert_non_null(cache);
    assert_int_equal(table_open(&t, sim_node_env(p.node), cache, d->path, least, 0, NULL), 0);
    d->offset = offset_of(t, part);
    table_unref(t);
    cache_free(cache);
    end(&p);
}

/* It is known before the inputs are dropped: they stay, and the next compaction is sound. */
static void test_damaged_when_made(void **state)
{
    (void)state;
    for (enum part part = PART_INDEX; part < PARTS; part++) {
        struct place p;
        struct lsm_stats stats;
        struct err err = {0};
        struct damage damage = {0};
        learn(&damage, part);
        begin(&p, 1, 1);
        sim_disk_watch(sim_node_disk(p.node), on_disk_op, &damage);
        assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
        run(&p);
        assert_int_equal(damage.count, 1);
        lsm_stats(p.lsm, &stats);
        assert_int_equal(stats.compactions, 0);
        assert_true(stats.retries > 0);
        look(&p);
        compact(&p, &stats);
        assert_int_equal(stats.compactions, 1);
        sim_disk_watch(sim_node_disk(p.node), NULL, NULL);
        struct lsm_view *view = lsm_view_take(p.lsm);
        if (lsm_verify(view, NULL, NULL, &err) != 0)
            fail_msg("%s", err.msg);
        lsm_view_unref(view);
        end(&p);
    }
}

/* ---- no memory for the edit of a move ----------------------------------------- */

/* The linker puts it between compaction and version (CMakeLists.txt). */
int __wrap_edit_drop(struct edit *edit, unsigned level, uint64_t id);
int __real_edit_drop(struct edit *edit, unsigned level, uint64_t id);

static bool is_short_of_memory;
static unsigned refusals;

int __wrap_edit_drop(struct edit *edit, unsigned level, uint64_t id)
{
    refusals += is_short_of_memory;
    return is_short_of_memory ? ERR_NOMEM : __real_edit_drop(edit, level, id);
}

static void on_flushed(struct lsm_flush_op *op, int status)
{
    *(int *)op->data = status;
}

/* What is refused at once is tried again after a pause. */
static void test_move_without_memory(void **state)
{
    (void)state;
    struct lsm_options options;
    struct err err = {0};
    int status = 1;
    struct lsm_flush_op op = {.data = &status};
    struct place p = {.sim = sim_new(NULL, 1)};
    p.node = sim_node_new(p.sim, "n1");
    lsm_options_init(&options);
    options.l0_compact = 1;
    assert_int_equal(lsm_open(&p.lsm, sim_node_env(p.node), "db", &options, &err), 0);
    struct lsm_batch batch;
    lsm_batch_init(&batch);
    lsm_batch_put(&batch, slice_str("k"), 1, slice_str("v"), 0);
    assert_int_equal(lsm_write(p.lsm, &batch), 0);
    lsm_batch_fini(&batch);
    is_short_of_memory = true;
    assert_int_equal(lsm_flush(p.lsm, &op, on_flushed), 0);
    sim_run_until(p.sim, sim_now_us(p.sim) + 1000000);
    struct lsm_stats stats;
    lsm_stats(p.lsm, &stats);
    assert_int_equal(status, 0);
    assert_true(stats.retries > 0);
    assert_int_equal(stats.compact_moves, 0);
    is_short_of_memory = false;
    run(&p);
    lsm_stats(p.lsm, &stats);
    assert_int_equal(stats.compact_moves, 1);
    assert_int_equal(stats.levels[0].files, 0);
    end(&p);
}

struct removal {
    struct sim *sim;
    unsigned removed, removed_at_once;
    uint64_t refused_us;
};

static void on_removal(void *data, struct sim_disk *disk, const char *op, const char *path)
{
    (void)disk;
    struct removal *r = data;
    if (strcmp(op, "unlink") != 0 || strstr(path, ".tbl") == NULL)
        return;
    r->removed++;
    r->removed_at_once += sim_now_us(r->sim) == r->refused_us;
}

static bool is_not_refused(void *data)
{
    (void)data;
    return refusals == 0;
}

/* What a compaction has made for nothing is removed, but not by the loop. */
static void test_outputs_go_on_the_lane(void **state)
{
    (void)state;
    struct place p;
    struct lsm_stats stats;
    begin(&p, 3, 1);
    struct removal r = {.sim = p.sim};
    refusals = 0;
    is_short_of_memory = true;
    assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
    sim_disk_watch(sim_node_disk(p.node), on_removal, &r);
    assert_true(sim_run_while(p.sim, is_not_refused, NULL, sim_now_us(p.sim) + 60000000));
    r.refused_us = sim_now_us(p.sim);
    assert_int_equal(r.removed, 0);
    sim_run_until(p.sim, sim_now_us(p.sim) + 1000000);
    assert_true(r.removed >= 3);
    assert_int_equal(r.removed_at_once, 0);
    is_short_of_memory = false;
    sim_disk_watch(sim_node_disk(p.node), NULL, NULL);
    run(&p);
    look(&p);
    compact(&p, &stats);
    assert_int_equal(stats.compactions, 1);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_borders),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_one_fails),
        cmocka_unit_test(test_outputs_go_on_the_lane),
        cmocka_unit_test(test_rate_of_shares),
        cmocka_unit_test(test_ends_with_its_inputs),
        cmocka_unit_test(test_free_at_any_time),
        cmocka_unit_test(test_damaged_when_made),
        cmocka_unit_test(test_move_without_memory),
        cmocka_unit_test(test_files_end_with_spans),
    };
    return cmocka_run_group_tests_name("lsm_split", tests, NULL, NULL);
}
