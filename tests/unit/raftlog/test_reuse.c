/* SPDX-License-Identifier: Apache-2.0 */
/* What is left in files that are used again, and entries that stand far apart, at recovery. */
#include <stdio.h>
#include <stdlib.h>

#include "env/sim/sim.h"
#include "raftlog/internal.h"
#include "support/check.h"

enum { SEGMENT = 8192, GROUP = 1, OTHER = 2, LEN = 100 };

struct fixture {
    struct sim *sim;
    struct sim_node *node;
    struct raftlog *log;
    char dir[16]; /* whether its files are written through is a matter of their names */
};

static int open_log(struct fixture *f, struct err *err)
{
    struct raftlog_options options;
    raftlog_options_init(&options);
    options.segment_bytes = SEGMENT;
    options.budget_bytes = 8 * SEGMENT;
    options.limit_bytes = 16 * SEGMENT;
    options.cache_bytes = SEGMENT;
    options.no_rewrite = true;
    return raftlog_open(&f->log, sim_node_env(f->node), f->dir, &options, err);
}

static void setup(struct fixture *f, unsigned world)
{
    memset(f, 0, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/log%u", world);
    f->sim = sim_new(NULL, 1);
    f->node = sim_node_new(f->sim, "n1");
    assert_int_equal(open_log(f, NULL), 0);
}

static void stop(struct fixture *f)
{
    sim_node_crash(f->node, SIM_CRASH_KILL);
    raftlog_free(f->log);
    f->log = NULL;
}

static void teardown(struct fixture *f)
{
    stop(f);
    sim_free(f->sim);
}

static void run(struct fixture *f)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + 1000000);
}

static uint64_t last_of(struct fixture *f, uint64_t group)
{
    struct raftlog_group_state s = {0};
    raftlog_group_state(f->log, group, &s);
    return s.last_index;
}

/* `n` records of one entry, in one batch; until it is durable. */
static void append(struct fixture *f, uint64_t group, unsigned n, char fill)
{
    char data[LEN];
    memset(data, fill, sizeof data);
    struct raftlog_entry entry = {1, 1, slice_of(data, sizeof data)};
    struct raftlog_write writes[8];
    ASSERT(n <= ARRAY_LEN(writes));
    for (unsigned i = 0; i < n; i++) {
        writes[i] = (struct raftlog_write){
            .group = group, .first_index = last_of(f, group) + 1, .entries = &entry, .n = 1};
        raftlog_append(f->log, &writes[i]);
    }
    uint64_t len = segment_last(f->log)->len;
    while (segment_last(f->log)->synced < len)
        sim_step(f->sim);
}

static void head_io(struct fixture *f, const char *path, uint8_t head[HEAD_LEN], bool is_write)
{
    struct env_file *file = NULL;
    size_t got = HEAD_LEN;
    struct env *env = sim_node_env(f->node);
    assert_int_equal(env_file_open(env, path, ENV_OPEN_READ | ENV_OPEN_WRITE, &file, NULL), 0);
    if (is_write) {
        assert_int_equal(env_file_write(file, 0, head, HEAD_LEN, NULL), 0);
        assert_int_equal(env_file_sync(file, NULL), 0);
    } else {
        assert_int_equal(env_file_read(file, 0, head, HEAD_LEN, &got, NULL), 0);
    }
    assert_int_equal(got, HEAD_LEN);
    env_file_close(file);
}

/* Write until the next record needs another segment, whose file was used before. Its path, and the
 * head that it has now. */
static void fill(struct fixture *f, char *path, uint8_t head[HEAD_LEN])
{
    struct head old;
    for (unsigned i = 0;; i++) {
        const struct segment *s = segment_last(f->log);
        uint64_t record = record_len(RECORD_APPEND, 0, 1, LEN);
        bool is_full = s != NULL && !s->is_closed && f->log->n_spares > 0 &&
                       s->len + record + segment_close_len(s, 0) > s->capacity;
        if (is_full) {
            segment_path(f->log, f->log->spares[0].file_id, path);
            head_io(f, path, head, false);
            if (head_decode(head, &old))
                return;
        }
        append(f, OTHER, 1, 'o');
        raftlog_compact(f->log, OTHER, last_of(f, OTHER)); /* the last one stays */
        run(f);
        assert_true(i < 2000);
    }
}

/* Of the next segment's first batch all but the head reaches a file that is used again, and power
 * goes. Nothing of it was told: it must not come back behind what is written there next, which has
 * the same numbers. */
static void test_first_batch_without_head(void **state)
{
    (void)state;
    for (unsigned world = 0; world < 12; world++) {
        struct fixture f;
        char path[ENV_PATH_MAX];
        uint8_t head[HEAD_LEN];
        setup(&f, world);
        fill(&f, path, head);
        uint64_t number = segment_last(f.log)->number, last = last_of(&f, GROUP);
        append(&f, GROUP, 3, 'x');
        assert_int_equal(segment_last(f.log)->number, number + 1);
        stop(&f);
        sim_node_restart(f.node);
        head_io(&f, path, head, true);
        assert_int_equal(open_log(&f, NULL), 0);
        assert_int_equal(segment_last(f.log)->number, number);
        assert_int_equal(last_of(&f, GROUP), last);
        append(&f, GROUP, 1, 'y');
        stop(&f);
        sim_node_restart(f.node);
        assert_int_equal(open_log(&f, NULL), 0);
        assert_int_equal(last_of(&f, GROUP), last + 1);
        teardown(&f);
    }
}

/* With a second batch behind it, it was acknowledged: the log does not open without it. */
static void test_segment_with_an_old_head(void **state)
{
    (void)state;
    struct fixture f;
    struct err err = {0};
    char path[ENV_PATH_MAX];
    uint8_t head[HEAD_LEN];
    setup(&f, 0);
    fill(&f, path, head);
    append(&f, GROUP, 3, 'x');
    run(&f);
    append(&f, GROUP, 1, 'x');
    stop(&f);
    sim_node_restart(f.node);
    head_io(&f, path, head, true);
    assert_int_equal(open_log(&f, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, path));
    sim_free(f.sim);
}

/* ---- far apart ----------------------------------------------------------------------------- */

static void replay(struct raftlog *log, struct segment *s, enum record_type type, uint64_t index,
                   uint64_t base)
{
    uint8_t raw[256] = {0};
    bool is_copy = type == RECORD_COPY;
    struct record record = {
        .type = type,
        .flags = RECORD_BASE,
        .count = 1,
        .group = GROUP,
        .batch = 1,
        .first_index = index,
        .term = 1,
        .base_index = base,
        .base_term = 1,
    };
    uint64_t source = 0;
    record.length = (uint32_t)record_len(type, record.flags, 1, 1);
    size_t at = record_head_len(type, record.flags, 1);
    entry_encode(GROUP, index, 1, 1, slice_str("e"), raw + at);
    record_encode(&record, is_copy ? &source : NULL, s->seed, raw);
    replay_record(log, s, s->len, &record, slice_of(raw, record.length));
    s->len += record.length;
}

/* A group of many small entries: the copy of an old one stands behind one of far later, and the
 * base that both are judged by behind that. Nothing is missing. */
static void test_far_apart(void **state)
{
    (void)state;
    enum { FAR = 3 << 20 };
    struct raftlog log = {.holes_max = 2 * (UINT64_C(2) << 30) / ENTRY_LEN};
    struct segment *s = NULL;
    log.salt = 1;
    segment_add(&log, 5);
    s = segment_add(&log, 6);
    replay(&log, s, RECORD_APPEND, FAR, 0);
    replay(&log, s, RECORD_COPY, 1, 0);
    replay(&log, s, RECORD_APPEND, FAR + 1, FAR - 1);
    replay_finish(&log);
    struct group *g = group_find(&log, GROUP);
    assert_non_null(g);
    assert_false(g->is_damaged);
    assert_int_equal(g->base_index, FAR - 1);
    assert_int_equal(group_last(g), FAR + 1);
    group_drop(&log, g);
    for (size_t i = 0; i < log.n_segments; i++)
        segment_free(log.segments[i]);
    free(log.segments);
    free(log.groups);
    free(log.report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_batch_without_head),
        cmocka_unit_test(test_segment_with_an_old_head),
        cmocka_unit_test(test_far_apart),
    };
    return cmocka_run_group_tests_name("raftlog reuse", tests, NULL, NULL);
}
