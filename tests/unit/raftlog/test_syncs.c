/* SPDX-License-Identifier: Apache-2.0 */
/* What the log tells of how long its syncs take. */
#include "env/sim/sim.h"
#include "raftlog/raftlog.h"
#include "support/check.h"

enum { RUN_US = 1000000, LATE_US = 4000 };

static void append(struct sim *sim, struct raftlog *log, struct raftlog_write *write,
                   uint64_t first_index)
{
    static const struct raftlog_entry entry = {1, 1, {(const uint8_t *)"some bytes", 10}};
    *write =
        (struct raftlog_write){.group = 1, .first_index = first_index, .entries = &entry, .n = 1};
    raftlog_append(log, write);
    sim_run_until(sim, sim_now_us(sim) + RUN_US);
}

/* Those that took longer than was said are late, one that is under way among them. */
static void test_late_syncs(void **state)
{
    struct raftlog *log = NULL;
    struct raftlog_options options;
    struct raftlog_write writes[3];
    struct err err = {0};
    struct sim_disk_options slow = {.sync_us = 5000};
    struct sim_disk_options stuck = {.sync_us = 60 * (uint64_t)RUN_US};
    (void)state;
    struct sim *sim = sim_new(NULL, 1);
    struct sim_node *node = sim_node_new(sim, "n1");
    raftlog_options_init(&options);
    if (raftlog_open(&log, sim_node_env(node), "/log", &options, &err) != 0)
        fail_msg("%s", err.msg);
    sim_run_until(sim, sim_now_us(sim) + RUN_US);
    (void)raftlog_take_syncs(log);
    raftlog_count_late(log, LATE_US);
    append(sim, log, &writes[0], 1);
    sim_disk_set_options(sim_node_disk(node), &slow);
    append(sim, log, &writes[1], 2);
    sim_disk_set_options(sim_node_disk(node), &stuck);
    append(sim, log, &writes[2], 3);
    struct raftlog_syncs syncs = raftlog_take_syncs(log);
    assert_int_equal(syncs.count, 3);
    assert_int_equal(syncs.late, 2);
    assert_in_range(syncs.sum_us, RUN_US, RUN_US + 2 * slow.sync_us + LATE_US);
    syncs = raftlog_take_syncs(log);
    assert_int_equal(syncs.count, 1);
    assert_int_equal(syncs.late, 1);
    raftlog_check(log);
    sim_node_crash(node, SIM_CRASH_KILL);
    raftlog_free(log);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_late_syncs)};
    return cmocka_run_group_tests_name("syncs", tests, NULL, NULL);
}
