/* SPDX-License-Identifier: Apache-2.0 */
/* Files that somebody left in the folder, with numbers from which the log counts on. */
#include <stdio.h>
#include <stdlib.h>

#include "env/sim/sim.h"
#include "raftlog/internal.h"
#include "support/check.h"

enum { GROUP = 1, ENTRIES = 60, LEN = 10000, SEGMENT = 64 << 10 };

struct fixture {
    struct sim *sim;
    struct sim_node *node;
    struct raftlog *log;
    struct err err;
    uint64_t durable;
};

static int open_log(struct fixture *f)
{
    struct raftlog_options options;
    raftlog_options_init(&options);
    options.segment_bytes = SEGMENT;
    options.batch_bytes_max = SEGMENT / 4;
    options.budget_bytes = 24 * SEGMENT;
    options.limit_bytes = 32 * SEGMENT;
    return raftlog_open(&f->log, sim_node_env(f->node), "/log", &options, &f->err);
}

static void setup(struct fixture *f)
{
    *f = (struct fixture){.sim = sim_new(NULL, 1)};
    f->node = sim_node_new(f->sim, "n1");
}

static void stop(struct fixture *f)
{
    sim_node_crash(f->node, SIM_CRASH_KILL);
    raftlog_free(f->log);
    f->log = NULL;
    sim_node_restart(f->node);
}

static void must_open(struct fixture *f)
{
    if (open_log(f) != 0)
        fail_msg("%s", f->err.msg);
}

static void teardown(struct fixture *f)
{
    stop(f);
    sim_free(f->sim);
}

/* A file as somebody leaves it; the folder is there. */
static void leave(struct fixture *f, const char *name, const void *data, size_t len)
{
    struct env *env = sim_node_env(f->node);
    struct env_file *file = NULL;
    char path[64];
    snprintf(path, sizeof path, "/log/%s", name);
    assert_int_equal(env_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file, NULL), 0);
    if (len > 0)
        assert_int_equal(env_file_write(file, 0, data, len, NULL), 0);
    env_file_close(file);
}

static bool is_there(struct fixture *f, const char *name)
{
    char path[64];
    uint64_t size;
    bool is_dir;
    snprintf(path, sizeof path, "/log/%s", name);
    return env_file_stat(sim_node_env(f->node), path, &size, &is_dir, NULL) == 0;
}

static void on_durable(struct raftlog_write *write)
{
    struct fixture *f = write->data;
    f->durable = write->first_index;
}

static void append(struct fixture *f, uint64_t index)
{
    static uint8_t data[LEN];
    memset(data, (int)index, LEN);
    struct raftlog_entry entry = {1, 1, slice_of(data, LEN)};
    struct raftlog_write w = {.group = GROUP,
                              .first_index = index,
                              .entries = &entry,
                              .n = 1,
                              .cb = on_durable,
                              .data = f};
    raftlog_append(f->log, &w);
    while (f->durable < index)
        sim_step(f->sim);
}

static void must_have(struct fixture *f, uint64_t last)
{
    struct raftlog_group_state state = {0};
    raftlog_group_state(f->log, GROUP, &state);
    assert_int_equal(state.last_index, last);
    raftlog_check(f->log);
}

/* The numbers that follow have more digits than those before: everything is found again. */
static void test_more_digits(void **state)
{
    (void)state;
    static const char *const names[] = {"99999999.raftlog", "999999999.raftlog",
                                        "2147483647.raftlog"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct fixture f;
        uint64_t last = 0;
        setup(&f);
        must_open(&f);
        append(&f, ++last);
        stop(&f);
        leave(&f, names[i], NULL, 0);
        for (unsigned life = 0; life < 3; life++) {
            must_open(&f);
            must_have(&f, last);
            for (unsigned n = 0; n < ENTRIES / 3; n++)
                append(&f, ++last);
            stop(&f);
        }
        must_open(&f);
        must_have(&f, last);
        assert_true(f.log->n_segments > 5);
        teardown(&f);
    }
}

static void must_refuse(struct fixture *f, const char *name)
{
    assert_int_equal(open_log(f), ERR_INVALID);
    assert_null(f->log);
    if (strstr(f->err.msg, name) == NULL)
        fail_msg("'%s' does not name %s", f->err.msg, name);
    assert_true(is_there(f, name));
}

/* From there on is no room to count: nothing is begun. Without the file all is well. */
static void test_greatest(void **state)
{
    (void)state;
    static const char *const names[] = {"4294967295.raftlog", "4000000001.raftlog"};
    struct fixture f;
    setup(&f);
    must_open(&f);
    append(&f, 1);
    stop(&f);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[64];
        snprintf(path, sizeof path, "/log/%s", names[i]);
        leave(&f, names[i], NULL, 0);
        must_refuse(&f, names[i]);
        assert_int_equal(env_file_unlink(sim_node_env(f.node), path, NULL), 0);
    }
    must_open(&f);
    must_have(&f, 1);
    teardown(&f);
}

/* The same of the number that a segment has by its head. */
static void test_greatest_segment(void **state)
{
    (void)state;
    struct fixture f;
    struct head head = {.number = UINT32_MAX - 1, .first_live = 1, .salt = 1, .batch = 1};
    uint8_t raw[HEAD_LEN];
    head_encode(&head, raw);
    setup(&f);
    must_open(&f);
    append(&f, 1);
    stop(&f);
    leave(&f, "00000077.raftlog", raw, sizeof raw);
    must_refuse(&f, "00000077.raftlog");
    teardown(&f);
}

/* Names are taken as they are printed, and no others. */
static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t id; /* -1: none */
    } cases[] = {
        {"00000000.raftlog", 0},
        {"00000017.raftlog", 17},
        {"99999999.raftlog", 99999999},
        {"100000000.raftlog", 100000000},
        {"4294967295.raftlog", 4294967295},
        {"4294967296.raftlog", -1},
        {"99999999999999999999999.raftlog", -1},
        {"0000017.raftlog", -1},
        {"000000017.raftlog", -1},
        {"0100000000.raftlog", -1},
        {".raftlog", -1},
        {"00000017.raftlog.old", -1},
        {"00000017", -1},
        {"", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t id = 0;
        bool is_one = segment_name_parse(cases[i].name, &id);
        if (is_one != (cases[i].id >= 0) || (is_one && id != cases[i].id))
            fail_msg("'%s'", cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_more_digits),
        cmocka_unit_test(test_greatest),
        cmocka_unit_test(test_greatest_segment),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("raftlog_numbers", tests, NULL, NULL);
}
