/* SPDX-License-Identifier: Apache-2.0 */
/* Old segments are emptied wherever what is copied is little against the room that it gives. */
#include <stdlib.h>

#include "env/env_ops.h"
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

static void open_log(struct fixture *f)
{
    struct err err = {0};
    if (raftlog_open(&f->log, sim_node_env(f->node), "/log", &f->options, &err) != 0)
        fail_msg("%s", err.msg);
}

static void setup_with(struct fixture *f, bool no_rewrite)
{
    memset(f, 0, sizeof *f);
    raftlog_options_init(&f->options);
    f->options.segment_bytes = SEGMENT;
    f->options.budget_bytes = BUDGET;
    f->options.limit_bytes = UINT64_C(2) * BUDGET;
    f->options.cache_bytes = SEGMENT;
    f->options.no_rewrite = no_rewrite;
    f->sim = sim_new(NULL, 1);
    f->node = sim_node_new(f->sim, "n1");
    open_log(f);
}

static void setup(struct fixture *f)
{
    setup_with(f, false);
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
    for (size_t len = SEGMENT; len < sizeof blob; len += 1000) {
        struct fixture f;
        struct raftlog_stats stats;
        setup_with(&f, len % 2000 == SEGMENT % 2000); /* there is nothing to copy */
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

/* Power goes when that file is closed, but nothing is behind it yet. */
static void test_one_file_and_a_crash(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    append(&f, BUSY, 2 * BUDGET);
    compact(&f, BUSY);
    assert_false(raftlog_has_room(f.log, 300));
    while (f.log->n_segments < 2 || f.log->segments[0]->synced < f.log->segments[0]->len)
        sim_step(f.sim);
    assert_true(f.log->segments[0]->is_closed && f.log->segments[1]->synced == 0);
    sim_node_crash(f.node, SIM_CRASH_POWER);
    raftlog_free(f.log);
    sim_node_restart(f.node);
    open_log(&f);
    assert_true(f.log->n_segments == 1 && f.log->segments[0]->is_closed);
    compact(&f, BUSY);
    expect_room(&f, 300);
    teardown(&f);
}

/* What lives is copied once, not round and round: whatever is left unused at the ends of files,
 * and be it large itself. */
static void test_copies_come_to_an_end(void **state)
{
    (void)state;
    for (size_t len = 1000; len < 2100; len += 50) {
        for (int n = 3; n < 14; n++) {
            struct fixture f;
            struct raftlog_stats before, after;
            setup(&f);
            for (int i = 0; i < n; i++)
                append(&f, IDLE, len);
            if (n % 3 > 0)
                append(&f, n % 3 == 1 ? IDLE : BUSY, 3 * SEGMENT);
            append(&f, BUSY, 10);
            if (n % 2 == 0)
                compact(&f, BUSY);
            run(&f);
            raftlog_stats(f.log, &before);
            run(&f);
            raftlog_stats(f.log, &after);
            assert_int_equal(before.rewritten_bytes, after.rewritten_bytes);
            teardown(&f);
        }
    }
}

static void set_full(struct fixture *f)
{
    struct sim_disk *disk = sim_node_disk(f->node);
    sim_disk_set_capacity(disk, sim_disk_used(disk) - SEGMENT);
    while (f->log->n_spares > 0) {
        struct spare *spare = &f->log->spares[--f->log->n_spares];
        spare_reap(f->log, spare->file_id, spare->file);
    }
}

static void on_durable(struct raftlog_write *write)
{
    *(bool *)write->data = true;
}

/* On a full disk nothing is copied for which a file would have to be made: a vote would wait
 * for that file. */
static void test_full_disk(void **state)
{
    (void)state;
    for (size_t len = 200; len < 3600; len += 100) {
        struct fixture f;
        bool is_durable = false;
        setup(&f);
        append(&f, IDLE, len);
        append(&f, BUSY, BUDGET);
        append(&f, BUSY, len);
        set_full(&f);
        compact(&f, BUSY);
        struct raftlog_write vote = {.group = IDLE, .has_hard_state = true, .term = 5, .vote = 1};
        vote.cb = on_durable;
        vote.data = &is_durable;
        raftlog_append(f.log, &vote);
        run(&f);
        assert_true(is_durable);
        sim_disk_set_capacity(sim_node_disk(f.node), UINT64_MAX);
        run(&f);
        expect_room(&f, len);
        teardown(&f);
    }
}

/* The disk is full, and no file is left but the last, which has its reserve alone: the oldest, in
 * which nothing lives any more, goes all the same, and its file is what is written next. */
static void test_full_disk_and_the_reserve(void **state)
{
    (void)state;
    enum { MANY = 3 };
    for (size_t len = 100; len < 400; len += 7) {
        struct fixture f;
        setup(&f);
        while (f.log->n_segments < 4)
            for (uint64_t id = 1; id <= MANY; id++)
                append(&f, id, len);
        const struct segment *last;
        while (last = segment_last(f.log), last->capacity - last->len > SEGMENT / 16 + 350)
            append(&f, 1, 10);
        set_full(&f);
        assert_in_range(raftlog_room(f.log), 1, 300);
        for (uint64_t id = 1; id <= MANY; id++)
            compact(&f, id);
        run(&f);
        assert_true(raftlog_has_room(f.log, 1000));
        teardown(&f);
    }
}

/* ---- what cannot be read ------------------------------------------------- */

static const struct env_ops *whole;

static int read_nothing(struct env_file *file, uint64_t offset, void *data, size_t len,
                        size_t *ret_len, struct err *err)
{
    (void)file;
    (void)data;
    (void)len;
    (void)ret_len;
    return err_set(err, ERR_IO, "read at %llu: a bad sector", (unsigned long long)offset);
}

static void on_damage(void *data, uint64_t group, const char *text)
{
    int *heard = data;
    assert_int_equal(group, IDLE);
    assert_non_null(strstr(text, "a bad sector"));
    ++*heard;
}

static bool may_give_up;

static bool on_unread(void *data, uint64_t group)
{
    const int *heard = data;
    assert_int_equal(group, IDLE);
    assert_int_equal(*heard, 0);
    return may_give_up;
}

/* The first file has an entry of an idle group, which is not in memory any more, and is worth
 * emptying. */
static void setup_unread(struct fixture *f, struct env_ops *ops, int *heard)
{
    setup(f);
    may_give_up = true;
    f->log->options.callbacks.on_damage = on_damage;
    f->log->options.callbacks.may_give_up = on_unread;
    f->log->options.data = heard;
    whole = sim_node_env(f->node)->ops;
    *ops = *whole;
    ops->file_read = read_nothing;
    sim_node_env(f->node)->ops = ops;
    append(f, IDLE, 300);
    for (int i = 0; i < 5; i++) {
        append(f, BUSY, 1000);
        compact(f, BUSY);
    }
    assert_int_equal(f->log->rewrite.state, REWRITE_STUCK);
}

static void fill_to_the_budget(struct fixture *f)
{
    while (!raftlog_is_over_budget(f->log)) {
        append(f, BUSY, 1000);
        compact(f, BUSY);
    }
}

static void wait(struct fixture *f, unsigned seconds)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + seconds * UINT64_C(1000000));
}

/* Whoever misses the room hears why there is none, and gets it by replacing the replica. */
static void test_unreadable(void **state)
{
    (void)state;
    struct fixture f;
    struct env_ops ops;
    int heard = 0;
    setup_unread(&f, &ops, &heard);
    wait(&f, 300);
    assert_int_equal(heard, 0); /* there is room enough */
    may_give_up = false;
    fill_to_the_budget(&f);
    wait(&f, 300);
    assert_int_equal(heard, 0); /* the owner has nothing else */
    may_give_up = true;
    wait(&f, 15);
    assert_int_equal(heard, 1);
    assert_true(raftlog_is_over_budget(f.log));
    raftlog_remove_group(f.log, IDLE);
    wait(&f, 1);
    assert_false(raftlog_is_over_budget(f.log));
    wait(&f, 100);
    assert_int_equal(heard, 1);
    sim_node_env(f.node)->ops = whole;
    teardown(&f);
}

/* Not so what can be read again in time, or is not needed any more. */
static void test_unreadable_for_a_while(void **state)
{
    (void)state;
    for (int may_read = 0; may_read < 2; may_read++) {
        struct fixture f;
        struct env_ops ops;
        int heard = 0;
        setup_unread(&f, &ops, &heard);
        fill_to_the_budget(&f);
        wait(&f, 20);
        if (may_read)
            ops.file_read = whole->file_read;
        else
            compact(&f, IDLE);
        wait(&f, 20);
        assert_false(raftlog_is_over_budget(f.log));
        wait(&f, 100);
        assert_int_equal(heard, 0);
        sim_node_env(f.node)->ops = whole;
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_files_but_large),
        cmocka_unit_test(test_one_file_but_large),
        cmocka_unit_test(test_one_file_and_a_crash),
        cmocka_unit_test(test_copies_come_to_an_end),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_full_disk_and_the_reserve),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_unreadable_for_a_while),
    };
    return cmocka_run_group_tests_name("raftlog rewrite", tests, NULL, NULL);
}
