/* SPDX-License-Identifier: Apache-2.0 */
/* Batches that are given to the disk by the loop, and those that are not taken. */
#include <stdio.h>
#include <stdlib.h>

#include "env/sim/sim.h"
#include "raftlog/internal.h"
#include "support/check.h"

enum { GROUP = 1, ENTRIES = 60, LARGE = LOG_START_BYTES_MAX + 1 };

struct fixture {
    struct sim *sim;
    struct sim_node *node;
    struct raftlog *log;
    char dir[16]; /* whether its files are written through is a matter of their names */
    uint64_t durable;
    struct raftlog_write writes[ENTRIES];
};

static void open_log(struct fixture *f)
{
    struct raftlog_options options;
    struct err err = {0};
    raftlog_options_init(&options);
    options.segment_bytes = 1 << 20;
    if (raftlog_open(&f->log, sim_node_env(f->node), f->dir, &options, &err) != 0)
        fail_msg("%s", err.msg);
}

static void setup(struct fixture *f, unsigned world)
{
    memset(f, 0, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/log%u", world);
    f->sim = sim_new(NULL, world);
    f->node = sim_node_new(f->sim, "n1");
    open_log(f);
    sim_run_until(f->sim, sim_now_us(f->sim) + 1000000);
}

static void teardown(struct fixture *f)
{
    sim_node_crash(f->node, SIM_CRASH_KILL);
    raftlog_free(f->log);
    sim_free(f->sim);
}

static void on_durable(struct raftlog_write *write)
{
    struct fixture *f = write->data;
    assert_int_equal(write->first_index, f->durable + 1);
    f->durable = write->first_index;
}

static void append(struct fixture *f, uint64_t index, size_t len)
{
    static uint8_t data[LARGE];
    memset(data, (int)index, len);
    struct raftlog_entry entry = {1, 1, slice_of(data, len)};
    struct raftlog_write *w = &f->writes[index - 1];
    *w = (struct raftlog_write){.group = GROUP,
                                .first_index = index,
                                .entries = &entry,
                                .n = 1,
                                .cb = on_durable,
                                .data = f};
    raftlog_append(f->log, w);
    while (f->durable < index)
        sim_step(f->sim);
}

static void on_read(struct raftlog_read *read)
{
    bool *is_done = read->data;
    *is_done = true;
}

static void check_entry(struct fixture *f, uint64_t index, size_t len)
{
    static uint8_t want[LARGE];
    bool is_done = false;
    struct raftlog_read read = {.data = &is_done,
                                .group = GROUP,
                                .first = index,
                                .last = index,
                                .bytes_max = 2 * LARGE,
                                .cb = on_read};
    memset(want, (int)index, len);
    raftlog_read(f->log, &read);
    while (!is_done)
        sim_step(f->sim);
    assert_int_equal(read.status, 0);
    assert_int_equal(read.n, 1);
    assert_int_equal(read.entries[0].data.len, len);
    assert_memory_equal(read.entries[0].data.data, want, len);
    raftlog_read_fini(&read);
}

/* What is acknowledged is there after a crash, byte for byte. */
static void check_all(struct fixture *f, uint64_t large_every)
{
    struct raftlog_group_state state = {0};
    sim_node_crash(f->node, SIM_CRASH_POWER);
    raftlog_free(f->log);
    sim_node_restart(f->node);
    open_log(f);
    raftlog_group_state(f->log, GROUP, &state);
    assert_int_equal(state.last_index, ENTRIES);
    for (uint64_t i = 1; i <= ENTRIES; i++)
        check_entry(f, i, i % large_every == 0 ? LARGE : 100);
    raftlog_check(f->log);
}

struct counts {
    uint64_t started, refused, gave_up;
};

static struct counts run_world(unsigned world, const char *fault, uint32_t ppm, uint64_t sync_us)
{
    enum { LARGE_EVERY = 7 };
    struct fixture f;
    struct counts counts = {0};
    struct sim_disk_options disk = {.sync_us = sync_us};
    setup(&f, world);
    sim_disk_set_options(sim_node_disk(f.node), &disk);
    if (fault != NULL)
        sim_fault_set(f.sim, fault, ppm);
    for (uint64_t i = 1; i <= ENTRIES; i++) {
        f.log->flight.write.len = 0;
        append(&f, i, i % LARGE_EVERY == 0 ? LARGE : 100);
        counts.started += f.log->flight.write.len > 0 && f.log->flight.write.rv == 0;
    }
    counts.refused = sim_fault_count(f.sim, "env.write.refuse");
    counts.gave_up = sim_fault_count(f.sim, "env.write.give_up");
    sim_fault_stop(f.sim);
    check_all(&f, LARGE_EVERY);
    teardown(&f);
    return counts;
}

static void test_small_ones_are_started(void **state)
{
    uint64_t most = 0;
    (void)state;
    for (unsigned world = 1; world <= 8; world++)
        most = MAX(most, run_world(world, NULL, 0, 300).started);
    assert_int_equal(most, ENTRIES - ENTRIES / 7);
}

static void test_what_is_not_taken_is_written(void **state)
{
    uint64_t refused = 0, gave_up = 0;
    (void)state;
    for (unsigned world = 1; world <= 8; world++) {
        refused += run_world(world, "env.write.refuse", 400000, 300).refused;
        gave_up += run_world(world, "env.write.give_up", 400000, 300).gave_up;
    }
    assert_true(refused > ENTRIES);
    assert_true(gave_up > ENTRIES);
}

/* Where a sync takes long the loop does not risk to be the one that waits for it. */
static void test_not_to_a_slow_disk(void **state)
{
    (void)state;
    for (unsigned world = 1; world <= 8; world++)
        assert_in_range(run_world(world, NULL, 0, 2 * LOG_START_SLOW_US).started, 0, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_ones_are_started),
        cmocka_unit_test(test_not_to_a_slow_disk),
        cmocka_unit_test(test_what_is_not_taken_is_written),
    };
    return cmocka_run_group_tests_name("start", tests, NULL, NULL);
}
