/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that no thread waits for. */
#include <stdio.h>
#include <stdlib.h>

#include "env/env.h"
#include "env/sim/sim.h"
#include "support/check.h"

enum { SECOND = 1000000 };

struct fixture {
    struct sim *sim;
    struct sim_node *node;
    struct env *env;
    struct env_file *file;
    char name[2];
    uint8_t *blocks; /* 'x', then 'y' */
    struct slice parts[2];
    struct env_write write;
    unsigned completed;
};

static void on_written(struct env_write *write)
{
    struct fixture *f = write->data;
    assert_false(write->is_active);
    f->completed++;
}

/* The first name of a file that may be written so. */
static void setup(struct fixture *f)
{
    static const struct sim_disk_options calm = {0};
    memset(f, 0, sizeof *f);
    f->sim = sim_new(NULL, 3);
    f->node = sim_node_new(f->sim, "n1");
    f->env = sim_node_env(f->node);
    sim_disk_set_options(sim_node_disk(f->node), &calm);
    f->blocks = aligned_alloc(ENV_BLOCK, 2 * ENV_BLOCK);
    memset(f->blocks, 'x', ENV_BLOCK);
    memset(f->blocks + ENV_BLOCK, 'y', ENV_BLOCK);
    f->parts[0] = slice_of(f->blocks, ENV_BLOCK);
    f->parts[1] = slice_of(f->blocks + ENV_BLOCK, ENV_BLOCK);
    for (f->name[0] = 'a'; f->name[0] <= 'z'; f->name[0]++) {
        assert_int_equal(env_file_open(f->env, f->name,
                                       ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &f->file,
                                       NULL),
                         0);
        if (env_file_write_past(f->file, 0, f->blocks, ENV_BLOCK, NULL) == 0)
            break;
        env_file_close(f->file);
        f->file = NULL;
    }
    assert_non_null(f->file);
    assert_int_equal(env_file_truncate(f->file, 4 * ENV_BLOCK, NULL), 0);
    assert_int_equal(env_file_sync(f->file, NULL), 0);
    assert_int_equal(env_dir_sync(f->env, "/", NULL), 0);
    env_write_init(&f->write, on_written, f);
}

static void teardown(struct fixture *f)
{
    env_file_close(f->file);
    sim_free(f->sim);
    free(f->blocks);
}

static int start(struct fixture *f)
{
    return env_file_write_start(f->file, ENV_BLOCK, f->parts, 2, &f->write);
}

static uint8_t byte_at(struct fixture *f, uint64_t offset)
{
    uint8_t got = 0;
    size_t len = 0;
    assert_int_equal(env_file_read(f->file, offset, &got, 1, &len, NULL), 0);
    return got;
}

/* Not before it is told, and durable then. */
static void test_completes(void **state)
{
    struct fixture f;
    (void)state;
    setup(&f);
    assert_int_equal(start(&f), 0);
    assert_true(f.write.is_active);
    assert_int_equal(f.completed, 0);
    sim_run_until(f.sim, sim_now_us(f.sim) + SECOND);
    assert_int_equal(f.completed, 1);
    assert_int_equal(f.write.rv, 0);
    assert_int_equal(byte_at(&f, ENV_BLOCK), 'x');
    sim_node_crash(f.node, SIM_CRASH_POWER);
    env_file_close(f.file);
    sim_node_restart(f.node);
    f.env = sim_node_env(f.node);
    assert_int_equal(env_file_open(f.env, f.name, ENV_OPEN_READ, &f.file, NULL), 0);
    assert_int_equal(byte_at(&f, ENV_BLOCK), 'x');
    assert_int_equal(byte_at(&f, 3 * ENV_BLOCK - 1), 'y');
    teardown(&f);
}

/* Some of it may be there; a thread writes all of it again. */
static void test_gives_up(void **state)
{
    struct fixture f;
    (void)state;
    setup(&f);
    sim_fault_set(f.sim, "env.write.give_up", 1000000);
    assert_int_equal(start(&f), 0);
    sim_run_until(f.sim, sim_now_us(f.sim) + SECOND);
    assert_int_equal(f.completed, 1);
    assert_int_equal(f.write.rv, ERR_UNSUPPORTED);
    assert_int_equal(byte_at(&f, 3 * ENV_BLOCK - 1), 0);
    assert_int_equal(env_file_write_through(f.file, ENV_BLOCK, f.parts, 2, NULL), 0);
    assert_int_equal(byte_at(&f, 3 * ENV_BLOCK - 1), 'y');
    sim_fault_set(f.sim, "env.write.refuse", 1000000);
    assert_int_equal(start(&f), ERR_UNSUPPORTED);
    assert_false(f.write.is_active);
    sim_run_until(f.sim, sim_now_us(f.sim) + SECOND);
    assert_int_equal(f.completed, 1);
    teardown(&f);
}

static void test_an_error_is_told(void **state)
{
    static const struct sim_disk_options bad = {.sync_error_ppm = 1000000};
    struct fixture f;
    (void)state;
    setup(&f);
    sim_disk_set_options(sim_node_disk(f.node), &bad);
    assert_int_equal(start(&f), 0);
    sim_run_until(f.sim, sim_now_us(f.sim) + SECOND);
    assert_int_equal(f.completed, 1);
    assert_int_equal(f.write.rv, ERR_IO);
    assert_true(f.write.err.msg[0] != '\0');
    teardown(&f);
}

/* Of one that was under way at a crash nobody hears. */
static void test_a_crash_forgets_it(void **state)
{
    struct fixture f;
    (void)state;
    setup(&f);
    assert_int_equal(start(&f), 0);
    sim_node_crash(f.node, SIM_CRASH_KILL);
    sim_run_until(f.sim, sim_now_us(f.sim) + SECOND);
    assert_int_equal(f.completed, 0);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_completes),
        cmocka_unit_test(test_gives_up),
        cmocka_unit_test(test_an_error_is_told),
        cmocka_unit_test(test_a_crash_forgets_it),
    };
    return cmocka_run_group_tests_name("writes", tests, NULL, NULL);
}
