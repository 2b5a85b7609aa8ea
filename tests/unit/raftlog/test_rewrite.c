/* SPDX-License-Identifier: Apache-2.0 */
/* Old segments are emptied wherever what is copied is little against the room that it gives. */
#include <stdlib.h>

#include "env/sim/sim.h"
#include "raftlog/internal.h"
#include "support/check.h"

enum { SEGMENT = 4096, BUDGET = 8 * SEGMENT, IDLE = 1, BUSY = 2 };

struct fixture {
    struct sim *sim;
    struct sim_node *node;
    struct raftlog *log;
    struct raftlog_options options;
};

static uint8_t blob[3 * BUDGET];

static void setup(struct fixture *f)
{
    struct err err = {0};
    memset(f, 0, sizeof *f);
    raftlog_options_init(&f->options);
    f->options.segment_bytes = SEGMENT;
    f->options.budget_bytes = BUDGET;
    f->options.limit_bytes = UINT64_C(2) * BUDGET;
    f->options.cache_bytes = SEGMENT;
    f->sim = sim_new(NULL, 1);
    f->node = sim_node_new(f->sim, "n1");
    if (raftlog_open(&f->log, sim_node_env(f->node), "/log", &f->options, &err) != 0)
        fail_msg("%s", err.msg);
}

static void teardown(struct fixture *f)
{
    raftlog_check(f->log);
    sim_node_crash(f->node, SIM_CRASH_KILL);
    raftlog_free(f->log);
    sim_free(f->sim);
}

static void run(struct fixture *f)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + 1000000);
}

static void append(struct fixture *f, uint64_t group, size_t len)
{
    struct raftlog_group_state s = {0};
    raftlog_group_state(f->log, group, &s);
    struct raftlog_entry entry = {1, 1, slice_of(blob, len)};
    struct raftlog_write w = {
        .group = group, .first_index = s.last_index + 1, .entries = &entry, .n = 1};
    raftlog_append(f->log, &w);
    run(f);
}

static void compact(struct fixture *f, uint64_t group)
{
    struct raftlog_group_state s = {0};
    assert_int_equal(raftlog_group_state(f->log, group, &s), 0);
    raftlog_compact(f->log, group, s.last_index + 1);
    run(f);
}

/* At once, or a while after somebody asked for it. */
static void expect_room(struct fixture *f, size_t len)
{
    uint64_t cost = raftlog_append_cost(1, len);
    if (!raftlog_has_room(f->log, cost))
        run(f);
    assert_true(raftlog_has_room(f->log, cost));
}

/* The first file holds little but for a few entries of an idle group, for a large entry of
 * another closed it. To copy them is much for that file alone, but nothing beside the large
 * files that stand behind it and leave no room to anybody. */
static void test_few_files_but_large(void **state)
{
    (void)state;
    for (size_t len = BUDGET / 2; len <= 2 * BUDGET; len += 3000) {
        struct fixture f;
        struct raftlog_stats stats;
        setup(&f);
        for (int i = 0; i < 3; i++)
            append(&f, IDLE, 300);
        for (int i = 0; i < 10; i++) {
            append(&f, BUSY, len);
            compact(&f, BUSY);
            expect_room(&f, len);
        }
        raftlog_stats(f.log, &stats);
        assert_true(stats.rewritten_bytes >= 900 && stats.file_bytes <= f.options.limit_bytes);
        assert_true(stats.rewritten_bytes <= 10000); /* not again and again */
        teardown(&f);
    }
}

/* No other file at all: the last one is large, nearly full, and lives in nothing. */
static void test_one_file_but_large(void **state)
{
    (void)state;
    for (size_t len = SEGMENT; len < sizeof blob; len += 2000) {
        struct fixture f;
        struct raftlog_stats stats;
        setup(&f);
        for (int i = 0; i < 4; i++) {
            append(&f, BUSY, len);
            compact(&f, BUSY);
            expect_room(&f, len);
        }
        raftlog_stats(f.log, &stats);
        assert_true(stats.file_bytes <= f.options.limit_bytes);
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_files_but_large),
        cmocka_unit_test(test_one_file_but_large),
    };
    return cmocka_run_group_tests_name("raftlog rewrite", tests, NULL, NULL);
}
