/* SPDX-License-Identifier: Apache-2.0 */
/* Files made ahead: which are filled with zeroes, and what is found after a crash in those that
 * are not. */
#include <stdlib.h>

#include "env/sim/sim.h"
#include "raftlog/internal.h"
#include "support/check.h"

enum { BATCH = 16 << 10, SEGMENT = 128 << 10, SMALL = 100, LARGE = 10000, HUGE = 24 * SEGMENT };

struct fixture {
    struct sim *sim;
    struct sim_node *node;
    struct raftlog *log;
    struct raftlog_options options;
    uint64_t last;
    size_t lens[4000];
    struct raftlog_write writes[4000];
};

static void open_log(struct fixture *f)
{
    struct err err = {0};
    if (raftlog_open(&f->log, sim_node_env(f->node), "/log", &f->options, &err) != 0)
        fail_msg("%s", err.msg);
    raftlog_check(f->log);
}

static void setup_of(struct fixture *f, bool no_zeroing, size_t segment)
{
    memset(f, 0, sizeof *f);
    raftlog_options_init(&f->options);
    f->options.segment_bytes = segment;
    f->options.batch_bytes_max = BATCH;
    f->options.cache_bytes = BATCH;
    f->options.no_zeroing = no_zeroing;
    f->sim = sim_new(NULL, 1);
    f->node = sim_node_new(f->sim, "n1");
    open_log(f);
}

static void setup(struct fixture *f, bool no_zeroing)
{
    setup_of(f, no_zeroing, SEGMENT);
}

static void teardown(struct fixture *f)
{
    raftlog_check(f->log);
    sim_node_crash(f->node, SIM_CRASH_KILL);
    raftlog_free(f->log);
    sim_free(f->sim);
}

static struct slice content_of(uint64_t index, size_t len)
{
    static uint8_t blob[HUGE];
    memset(blob, (int)index, len);
    return slice_of(blob, len);
}

static void append(struct fixture *f, size_t len)
{
    uint64_t index = ++f->last;
    assert_true(index < ARRAY_LEN(f->lens));
    f->lens[index] = len;
    struct raftlog_entry e = {1, 1, content_of(index, len)};
    f->writes[index] =
        (struct raftlog_write){.group = 1, .first_index = index, .entries = &e, .n = 1};
    raftlog_append(f->log, &f->writes[index]);
}

/* One entry after the other, each a batch of its own, until so many files were begun. */
static void fill(struct fixture *f, size_t len, uint32_t files)
{
    uint32_t until = f->log->next_file_id + files;
    while (f->log->next_file_id < until) {
        append(f, len);
        sim_run_until(f->sim, sim_now_us(f->sim) + 100000);
    }
}

static int check_entry(void *data, uint64_t index, const struct raftlog_entry *e)
{
    struct fixture *f = data;
    assert_true(slice_equal(e->data, content_of(index, f->lens[index])));
    return 0;
}

static void check_all(struct fixture *f)
{
    struct raftlog_group_state s;
    assert_int_equal(raftlog_group_state(f->log, 1, &s), 0);
    assert_int_equal(s.last_index, f->last);
    assert_false(s.is_damaged);
    assert_int_equal(raftlog_each(f->log, 1, 1, f->last, 1, check_entry, f, NULL), 0);
}

/* Large batches: the files to come have no zeroes; small ones again: they have. All is there after
 * a power cut in a file of either kind. */
static void test_large_batches_fill_files_themselves(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    assert_false(f.log->prepare.is_raw); /* nothing is known yet */
    fill(&f, LARGE, 2);
    assert_true(f.log->prepare.is_raw);
    fill(&f, LARGE, 2); /* into one that was made so */
    assert_true(f.log->prepare.is_raw);
    for (int round = 0; round < 2; round++) {
        sim_node_crash(f.node, SIM_CRASH_POWER);
        raftlog_free(f.log);
        sim_node_restart(f.node);
        open_log(&f);
        check_all(&f);
        assert_false(f.log->prepare.is_raw);
        fill(&f, SMALL, 1);
        assert_false(f.log->prepare.is_raw);
    }
    teardown(&f);
}

static void test_no_zeroing_is_for_all(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, true);
    assert_true(f.log->prepare.is_raw);
    fill(&f, SMALL, 1);
    assert_true(f.log->prepare.is_raw);
    teardown(&f);
}

/* Time until the file that is being made is there. */
static uint64_t made_us(struct fixture *f)
{
    uint64_t began_us = sim_now_us(f->sim);
    assert_true(f->log->prepare.is_active);
    while (f->log->prepare.is_active) {
        assert_true(sim_now_us(f->sim) < began_us + 60000000);
        sim_run_until(f->sim, sim_now_us(f->sim) + 1000);
    }
    return sim_now_us(f->sim) - began_us;
}

/* Its zeroes go to the disk evenly while what is there is enough for a while, and as fast as can
 * be when a segment waits for it. */
static void test_made_evenly(void **state)
{
    (void)state;
    enum { LEAST = 8 << 20, WHOLE = 16 << 20 };
    struct fixture f;
    setup_of(&f, false, WHOLE);
    fill(&f, SMALL, 1);
    uint64_t us = made_us(&f);
    uint64_t want_us = (uint64_t)WHOLE * 1000000 / LEAST;
    assert_in_range(us, want_us * 9 / 10, want_us * 11 / 10);
    teardown(&f);

    setup_of(&f, false, WHOLE);
    fill(&f, SMALL, 1);
    for (unsigned n = 0; n < WHOLE / LARGE + 10; n++)
        append(&f, LARGE);
    us = made_us(&f);
    assert_true(us < want_us / 4);
    sim_run_until(f.sim, sim_now_us(f.sim) + 1000000);
    check_all(&f);
    teardown(&f);
}

/* A log at its limit; nothing of it can be cut. */
static void fill_to_limit(struct fixture *f)
{
    setup(f, false);
    f->log->options.budget_bytes = 4 * SEGMENT;
    f->log->options.limit_bytes = 8 * SEGMENT;
    while (raftlog_has_room(f->log, raftlog_append_cost(1, LARGE))) {
        append(f, LARGE);
        sim_run_until(f->sim, sim_now_us(f->sim) + 200000);
    }
    sim_run_until(f->sim, sim_now_us(f->sim) + 1000000);
    assert_false(raftlog_has_room(f->log, raftlog_append_cost(1, LARGE)));
}

static bool has_beyond(struct fixture *f)
{
    bool has = raftlog_has_room_beyond(f->log, raftlog_append_cost(1, LARGE));
    sim_run_until(f->sim, sim_now_us(f->sim) + 1000000);
    return has;
}

/* Room beyond the limit is there when a file for it is; each one that asks does not get one, and
 * no more come than the limit once more. */
static void test_beyond_the_limit(void **state)
{
    (void)state;
    struct fixture f;
    struct raftlog_stats s;
    fill_to_limit(&f);
    assert_false(has_beyond(&f));
    assert_true(has_beyond(&f));
    assert_true(has_beyond(&f));
    assert_false(raftlog_has_room(f.log, raftlog_append_cost(1, LARGE)));
    raftlog_stats(f.log, &s);
    assert_true(s.file_bytes <= 9 * SEGMENT);
    for (int tries = 0; tries < 400; tries++) {
        if (has_beyond(&f))
            append(&f, LARGE);
    }
    raftlog_stats(f.log, &s);
    assert_in_range(s.file_bytes, 15 * SEGMENT, 22 * SEGMENT);
    assert_false(has_beyond(&f));
    check_all(&f);
    raftlog_compact(f.log, 1, f.last);
    sim_run_until(f.sim, sim_now_us(f.sim) + 10000000);
    assert_true(raftlog_has_room(f.log, raftlog_append_cost(1, LARGE)));
    raftlog_stats(f.log, &s);
    assert_true(s.file_bytes <= 8 * SEGMENT);
    teardown(&f);
}

/* An entry that is larger than all that, and was let in by itself, is no reason to keep out what
 * overwrites it. */
static void test_beyond_a_huge_entry(void **state)
{
    (void)state;
    struct fixture f;
    struct raftlog_stats s;
    fill_to_limit(&f);
    for (int tries = 0; tries < 10 && !has_beyond(&f); tries++)
        continue;
    append(&f, HUGE);
    sim_run_until(f.sim, sim_now_us(f.sim) + 1000000);
    raftlog_stats(f.log, &s);
    assert_int_equal(s.pending_bytes, 0);
    assert_true(s.file_bytes > 2 * 8 * SEGMENT + HUGE / 2);
    bool has = false;
    for (int tries = 0; tries < 10 && !has; tries++)
        has = has_beyond(&f);
    assert_true(has);
    f.last--;
    append(&f, SMALL);
    sim_run_until(f.sim, sim_now_us(f.sim) + 1000000);
    check_all(&f);
    teardown(&f);
}

/* A full disk has no file for it, and votes go on. */
static void test_nothing_beyond_on_a_full_disk(void **state)
{
    (void)state;
    struct fixture f;
    fill_to_limit(&f);
    sim_disk_set_capacity(sim_node_disk(f.node), sim_disk_used(sim_node_disk(f.node)));
    for (int tries = 0; tries < 10; tries++)
        assert_false(has_beyond(&f));
    f.writes[0] = (struct raftlog_write){.group = 1, .has_hard_state = true, .term = 9};
    raftlog_append(f.log, &f.writes[0]);
    sim_run_until(f.sim, sim_now_us(f.sim) + 1000000);
    struct raftlog_stats s;
    raftlog_stats(f.log, &s);
    assert_int_equal(s.pending_bytes, 0);
    teardown(&f);
}

/* A folder for which no descriptor is free is synced later. */
static void test_no_descriptor_for_the_folder(void **state)
{
    (void)state;
    struct fixture f;
    struct raftlog_stats s;
    const struct sim_disk_options calm = {0}, busy = {.dir_busy_ppm = 1000000};
    setup(&f, false);
    sim_disk_set_options(sim_node_disk(f.node), &busy);
    append(&f, SMALL);
    sim_run_until(f.sim, sim_now_us(f.sim) + 60000000);
    assert_false(sim_node_is_dead(f.node));
    raftlog_stats(f.log, &s);
    assert_true(s.prepare_failures > 0);
    sim_disk_set_options(sim_node_disk(f.node), &calm);
    fill(&f, LARGE, 3);
    check_all(&f);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_batches_fill_files_themselves),
        cmocka_unit_test(test_no_zeroing_is_for_all),
        cmocka_unit_test(test_made_evenly),
        cmocka_unit_test(test_beyond_the_limit),
        cmocka_unit_test(test_beyond_a_huge_entry),
        cmocka_unit_test(test_nothing_beyond_on_a_full_disk),
        cmocka_unit_test(test_no_descriptor_for_the_folder),
    };
    return cmocka_run_group_tests_name("raftlog spare", tests, NULL, NULL);
}
