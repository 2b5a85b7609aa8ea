/* SPDX-License-Identifier: Apache-2.0
 *
 * What compaction does by itself, and when it has done enough.
 */
#include <stdio.h>

#include "env/sim/sim.h"
#include "lsm/lsm_internal.h"
#include "support/check.h"

struct place {
    struct sim *sim;
    struct sim_node *node;
    struct lsm *lsm;
};

static void begin(struct place *p)
{
    struct lsm_options options;
    struct err err = {0};
    lsm_options_init(&options);
    options.memtable_bytes = 256 << 10;
    options.l0_compact = 2;
    options.no_compression = true;
    *p = (struct place){.sim = sim_new(NULL, 1)};
    p->node = sim_node_new(p->sim, "n1");
    assert_int_equal(lsm_open(&p->lsm, sim_node_env(p->node), "db", &options, &err), 0);
}

static void end(struct place *p)
{
    lsm_free(p->lsm);
    sim_free(p->sim);
}

static void run(struct place *p, uint64_t seconds)
{
    sim_run_until(p->sim, sim_now_us(p->sim) + seconds * 1000000);
    lsm_check(p->lsm);
}

static void flushed(struct lsm_flush_op *op, int status)
{
    assert_int_equal(status, 0);
    *(bool *)op->data = true;
}

/* `keys` keys that begin with `prefix`, at `version`, as a file of L0. */
static void write_file(struct place *p, const char *prefix, unsigned keys, uint64_t version)
{
    static const uint8_t value[400];
    bool is_flushed = false;
    struct lsm_flush_op op = {.data = &is_flushed};
    for (unsigned k = 0; k < keys; k++) {
        struct lsm_batch batch;
        char key[16];
        snprintf(key, sizeof key, "%s%04u", prefix, k);
        lsm_batch_init(&batch);
        lsm_batch_put(&batch, slice_str(key), version, slice_of(value, sizeof value), 0);
        assert_int_equal(lsm_write(p->lsm, &batch), 0);
        lsm_batch_fini(&batch);
    }
    assert_int_equal(lsm_flush(p->lsm, &op, flushed), 0);
    run(p, 20);
    assert_true(is_flushed);
}

/* ---- garbage -------------------------------------------------------------- */

/* Ranges have the keys of a and of c; of b, between them, nothing may go. */
static void set_safe(struct place *p, uint64_t safe)
{
    struct lsm_gc_span spans[] = {{slice_str("a"), slice_str("b"), safe, 0},
                                  {slice_str("c"), slice_str("d"), safe, 0}};
    assert_int_equal(lsm_set_gc(p->lsm, spans, ARRAY_LEN(spans)), 0);
}

static void expect(struct place *p, uint64_t compactions, uint64_t records)
{
    struct lsm_stats stats;
    run(p, 60);
    lsm_stats(p->lsm, &stats);
    assert_true(lsm_is_quiet(p->lsm));
    assert_int_equal(stats.compactions, compactions);
    assert_int_equal(stats.levels[LSM_LEVELS - 1].files, 1);
    assert_int_equal(stats.levels[LSM_LEVELS - 1].records, records);
}

/* A file over three stretches, of which the owner has two: what may go of those goes, once, and
 * no more is tried for the sake of what may not. */
static void test_garbage_over_a_gap(void **state)
{
    (void)state;
    struct place p;
    begin(&p);
    for (uint64_t version = 1; version <= 8; version++) {
        write_file(&p, "a", 10, version);
        write_file(&p, "b", 10, version);
        write_file(&p, "c", 10, version);
    }
    assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
    run(&p, 60);
    struct lsm_stats stats;
    lsm_stats(p.lsm, &stats);
    uint64_t before = stats.compactions;
    expect(&p, before, 3 * 80);
    set_safe(&p, 4); /* 1 to 3 are hidden */
    expect(&p, before + 1, 3 * 80 - 2 * 30);
    set_safe(&p, 4);
    expect(&p, before + 1, 3 * 80 - 2 * 30);
    set_safe(&p, 100);
    expect(&p, before + 2, 80 + 2 * 10);
    set_safe(&p, 200);
    expect(&p, before + 2, 80 + 2 * 10);
    end(&p);
}

/* ---- room ----------------------------------------------------------------- */

enum { ROOM_KEYS = 200, ROOM_GARBAGE = 800 };

/* In L0 three files that go down onto one, and below all an old one of which hardly anything need
 * stay. No compaction has been yet. */
static void begin_full(struct place *p)
{
    struct lsm_batch batch;
    begin(p);
    p->lsm->options.no_auto_compaction = true;
    write_file(p, "g", ROOM_GARBAGE, 1);
    lsm_batch_init(&batch);
    for (unsigned k = 0; k < ROOM_GARBAGE; k++) {
        char key[16];
        snprintf(key, sizeof key, "g%04u", k);
        lsm_batch_delete(&batch, slice_str(key), 2);
    }
    assert_int_equal(lsm_write(p->lsm, &batch), 0);
    lsm_batch_fini(&batch);
    write_file(p, "g", 1, 3);
    assert_int_equal(lsm_compact(p->lsm, slice_str("g"), slice_str("")), 0);
    run(p, 60);
    write_file(p, "a", ROOM_KEYS, 1);
    assert_int_equal(lsm_compact(p->lsm, slice_str("a"), slice_str("b")), 0);
    run(p, 60);
    for (uint64_t version = 2; version <= 4; version++)
        write_file(p, "a", ROOM_KEYS, version);
    struct lsm_stats stats;
    lsm_stats(p->lsm, &stats);
    assert_int_equal(stats.levels[0].files, 3);
    assert_int_equal(stats.levels[LSM_LEVELS - 1].records, 2 * ROOM_GARBAGE + 1 + ROOM_KEYS);
}

/* From now on it works by itself; the old versions of g are wanted no more. */
static void let_go(struct place *p, uint64_t safe)
{
    struct lsm_gc_span span = {slice_str("g"), slice_str("h"), safe, 0};
    p->lsm->options.no_auto_compaction = false;
    assert_int_equal(lsm_set_gc(p->lsm, &span, 1), 0);
}

/* What does not fit waits for what wins the room for it. */
static void test_small_ones_make_room(void **state)
{
    (void)state;
    struct place p;
    struct lsm_stats before, after;
    begin_full(&p);
    lsm_stats(p.lsm, &before);
    struct sim_disk *disk = sim_node_disk(p.node);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + ROOM_KEYS * 400 * 2);
    let_go(&p, 100);
    run(&p, 60);
    lsm_stats(p.lsm, &after);
    assert_int_equal(after.levels[0].files, 0);
    assert_int_equal(after.levels[LSM_LEVELS - 1].records, 4 * ROOM_KEYS + 1);
    assert_int_equal(after.compactions, before.compactions + 2);
    assert_int_equal(after.retries, before.retries + 1);
    assert_int_equal(after.retry_status, 0);
    assert_true(lsm_is_quiet(p.lsm));
    end(&p);
}

/* Without any it is tried now and then, and goes once there is room. */
static void test_no_room(void **state)
{
    (void)state;
    struct place p;
    struct lsm_stats before, after;
    begin_full(&p);
    lsm_stats(p.lsm, &before);
    struct sim_disk *disk = sim_node_disk(p.node);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + ROOM_KEYS * 400 * 2);
    let_go(&p, 0);
    run(&p, 60);
    lsm_stats(p.lsm, &after);
    assert_int_equal(after.compactions, before.compactions);
    assert_in_range(after.retries - before.retries, 10, 20);
    assert_int_equal(after.retry_status, ERR_NO_SPACE);
    assert_false(lsm_is_quiet(p.lsm));
    sim_disk_set_capacity(disk, SIM_DISK_CAPACITY_DEFAULT);
    run(&p, 10);
    lsm_stats(p.lsm, &after);
    assert_int_equal(after.compactions, before.compactions + 1);
    assert_int_equal(after.retry_status, 0);
    assert_true(lsm_is_quiet(p.lsm));
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_garbage_over_a_gap),
        cmocka_unit_test(test_small_ones_make_room),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests_name("lsm_compact", tests, NULL, NULL);
}
