/* SPDX-License-Identifier: Apache-2.0
 *
 * How often the disk is asked for what is read back. */
#include <stdlib.h>

#include "env/env_ops.h"
#include "env/sim/sim.h"
#include "raftlog/raftlog.h"
#include "support/check.h"

struct fixture {
    struct sim *sim;
    struct sim_node *node;
    struct raftlog *log;
};

static void setup(struct fixture *f)
{
    struct raftlog_options options;
    struct err err = {0};
    raftlog_options_init(&options);
    options.segment_bytes = 1 << 20;
    options.cache_bytes = 4096;
    f->sim = sim_new(NULL, 1);
    f->node = sim_node_new(f->sim, "n1");
    if (raftlog_open(&f->log, sim_node_env(f->node), "/log", &options, &err) != 0)
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

/* An entry of `len` bytes, each of them its index, at the end of the group. */
static void append(struct fixture *f, uint64_t group, size_t len)
{
    static uint8_t blob[64 << 10];
    struct raftlog_group_state s = {0};
    raftlog_group_state(f->log, group, &s);
    memset(blob, (int)(s.last_index + 1), len);
    struct raftlog_entry entry = {1, 1, slice_of(blob, len)};
    struct raftlog_write w = {
        .group = group, .first_index = s.last_index + 1, .entries = &entry, .n = 1};
    raftlog_append(f->log, &w);
    run(f);
}

/* As many of the newest as fit, whatever the others are like. */
static void test_trailing(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    assert_int_equal(raftlog_trailing(f.log, 1, 5, 1 << 20), 0);
    for (int i = 0; i < 10; i++)
        append(&f, 1, 10);
    struct raftlog_group_state s;
    assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
    uint64_t small = s.bytes / 10;
    for (int i = 0; i < 3; i++)
        append(&f, 1, 10000);
    assert_int_equal(raftlog_trailing(f.log, 1, 13, 1 << 20), 13);
    assert_int_equal(raftlog_trailing(f.log, 1, 99, 1 << 20), 13);
    assert_int_equal(raftlog_trailing(f.log, 1, 13, 25000), 2);
    assert_int_equal(raftlog_trailing(f.log, 1, 13, 5000), 0);
    assert_int_equal(raftlog_trailing(f.log, 1, 10, 5000), 10);
    assert_int_equal(raftlog_trailing(f.log, 1, 10, 4 * small), 4);
    assert_int_equal(raftlog_trailing(f.log, 1, 10, 4 * small - 1), 3);
    raftlog_compact(f.log, 1, 8);
    assert_int_equal(raftlog_trailing(f.log, 1, 10, 5000), 3);
    assert_int_equal(raftlog_trailing(f.log, 1, 7, 5000), 0);
    teardown(&f);
}

struct reading {
    struct raftlog_read read;
    bool is_over;
};

static void on_read(struct raftlog_read *read)
{
    container_of(read, struct reading, read)->is_over = true;
}

/* A disk that counts what is read, and cannot read one place. */
static const struct env_ops *sound;
static unsigned reads;
static uint64_t bad_at;

static int read_counted(struct env_file *file, uint64_t offset, void *data, size_t len,
                        size_t *ret_len, struct err *err)
{
    reads++;
    if (bad_at >= offset && bad_at < offset + len)
        return err_set(err, ERR_IO, "a bad place");
    return sound->file_read(file, offset, data, len, ret_len, err);
}

/* Entries that stand near each other come with one call; what cannot be read between them, of
 * another group, is nothing to them. Small ones and large ones, which go where they are wanted. */
static void test_read_joins_what_is_near(void **state)
{
    (void)state;
    enum { N = 40, EACH = 296, OTHER = 64 + EACH }; /* where the first record of group 2 stands */
    static const struct {
        uint64_t bad_at;
        size_t len; /* of each fifth entry of group 1 */
        unsigned reads_min, reads_max;
    } rows[] = {{UINT64_MAX, 200, 1, 1},
                {OTHER + 150, 200, 1 + N / 2, 1 + N / 2}, /* once in vain, then each by itself */
                {OTHER + (N - 4) * EACH + 150, 200, 1 + N / 2, 1 + N / 2},
                {UINT64_MAX, 20000, 8, 12}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        setup(&f);
        for (int k = 0; k < N; k++)
            append(&f, 1 + (uint64_t)k % 2, k % 10 == 4 ? rows[i].len : 200);
        append(&f, 3, 4000); /* nothing else is in the cache */
        struct env *env = sim_node_env(f.node);
        struct env_ops counted = *env->ops;
        sound = env->ops;
        counted.file_read = read_counted;
        env->ops = &counted;
        reads = 0;
        bad_at = rows[i].bad_at;
        struct reading r = {.read = {.group = 1, .first = 1, .last = N / 2, .bytes_max = 1 << 20}};
        r.read.cb = on_read;
        assert_int_equal(raftlog_read(f.log, &r.read), 0);
        run(&f);
        env->ops = sound;
        assert_true(r.is_over);
        assert_int_equal(r.read.status, 0);
        assert_int_equal(r.read.n, N / 2);
        for (uint32_t k = 0; k < N / 2; k++) {
            struct slice data = r.read.entries[k].data;
            assert_int_equal(data.len, k % 5 == 2 ? rows[i].len : 200);
            assert_true(data.data[0] == k + 1 && data.data[data.len - 1] == k + 1);
        }
        assert_in_range(reads, rows[i].reads_min, rows[i].reads_max);
        raftlog_read_fini(&r.read);
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trailing),
        cmocka_unit_test(test_read_joins_what_is_near),
    };
    return cmocka_run_group_tests_name("raftlog read", tests, NULL, NULL);
}
