/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that no thread waits for. */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "env/uv/real_internal.h"
#include "support/check.h"

enum { BLOCKS = 16, ROUNDS = 50, MANY = 12 };

struct fixture {
    struct env *env;
    char dir[64];
    char path[96];
    struct env_file *file;
    uint8_t *blocks; /* BLOCKS of them, each full of its number */
    struct env_write writes[MANY];
    unsigned completed, wanted;
    int round, rv;
    bool must_stop, was_active;
};

/* Where direct writes are known to be durable, and the time of a change is not what one waits for.
 */
static bool is_known(const char *path)
{
    struct statfs st;
    return statfs(path, &st) == 0 && st.f_type == EXT4_SUPER_MAGIC;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(env_uv_new(NULL, &f->env, NULL), 0);
    snprintf(f->dir, sizeof f->dir, "/var/tmp/holdfast-writes-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/a", f->dir);
    f->blocks = aligned_alloc(ENV_BLOCK, (size_t)BLOCKS * ENV_BLOCK);
    for (int i = 0; i < BLOCKS; i++)
        memset(f->blocks + (size_t)i * ENV_BLOCK, 'a' + i, ENV_BLOCK);
    assert_int_equal(env_file_open(f->env, f->path,
                                   ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &f->file,
                                   NULL),
                     0);
    uint8_t *old = aligned_alloc(ENV_BLOCK, (size_t)BLOCKS * ENV_BLOCK);
    memset(old, 0, (size_t)BLOCKS * ENV_BLOCK);
    if (env_file_write_past(f->file, 0, old, (size_t)BLOCKS * ENV_BLOCK, NULL) != 0)
        assert_int_equal(env_file_write(f->file, 0, old, (size_t)BLOCKS * ENV_BLOCK, NULL), 0);
    assert_int_equal(env_file_sync(f->file, NULL), 0);
    free(old);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    env_stop(f->env);
    env_file_close(f->file);
    unlink(f->path);
    assert_int_equal(env_dir_remove(f->env, f->dir, NULL), 0);
    env_uv_free(f->env);
    free(f->blocks);
    free(f);
    return 0;
}

static struct slice block(const struct fixture *f, int number, size_t count)
{
    return slice_of(f->blocks + (size_t)number * ENV_BLOCK, count * ENV_BLOCK);
}

static uint8_t byte_at(struct fixture *f, uint64_t offset)
{
    uint8_t got = 0;
    size_t len = 0;
    assert_int_equal(env_file_read(f->file, offset, &got, 1, &len, NULL), 0);
    assert_int_equal(len, 1);
    return got;
}

/* Before one that waits nothing is known of a file. */
static void know(struct fixture *f)
{
    struct slice part = block(f, 0, 1);
    env_write_init(&f->writes[0], NULL, f);
    assert_int_equal(env_file_write_start(f->file, 0, &part, 1, &f->writes[0]), ERR_UNSUPPORTED);
    assert_false(f->writes[0].is_active);
    int rv = env_file_write_through(f->file, 0, &part, 1, NULL);
    if (rv == ERR_UNSUPPORTED) {
        assert_false(is_known(f->dir));
        skip();
    }
    assert_int_equal(rv, 0);
}

/* The next, or by a thread's way what was refused, until there were enough. */
static void start_round(struct fixture *f)
{
    while (f->round < ROUNDS) {
        struct slice parts[] = {block(f, f->round % BLOCKS, 1), block(f, 2, 2)};
        int rv = env_file_write_start(f->file, ENV_BLOCK, parts, 2, &f->writes[0]);
        if (rv == 0)
            return;
        f->rv = env_file_write_through(f->file, ENV_BLOCK, parts, 2, NULL);
        if (f->rv != 0)
            break;
        f->round++;
    }
    env_uv_quit(f->env);
}

/* From the callback of one the next begins. */
static void on_round(struct env_write *write)
{
    struct fixture *f = write->data;
    f->was_active |= write->is_active;
    f->completed += write->rv == 0;
    f->round += write->rv == 0;
    if (write->rv != 0 && write->rv != ERR_UNSUPPORTED)
        f->rv = write->rv;
    start_round(f);
}

static void test_one_after_the_other(void **state)
{
    struct fixture *f = *state;
    know(f);
    env_write_init(&f->writes[0], on_round, f);
    start_round(f);
    env_uv_run(f->env);
    assert_int_equal(f->rv, 0);
    assert_false(f->was_active);
    assert_int_equal(f->round, ROUNDS);
    if (is_known(f->dir))
        assert_true(f->completed > ROUNDS / 2);
    assert_int_equal(byte_at(f, ENV_BLOCK), 'a' + (ROUNDS - 1) % BLOCKS);
    assert_int_equal(byte_at(f, 2 * ENV_BLOCK), 'c');
    assert_int_equal(byte_at(f, 4 * ENV_BLOCK - 1), 'd');
    assert_int_equal(byte_at(f, 4 * ENV_BLOCK), 0);
}

static void on_try(struct env_write *write)
{
    struct fixture *f = write->data;
    f->rv = write->rv;
    f->completed += write->rv == 0;
    env_uv_quit(f->env);
}

/* A write over what stands in the page cache may be refused. Once a thread has done one it is not
 * refused for that any more. */
static void test_over_the_page_cache(void **state)
{
    struct fixture *f = *state;
    know(f);
    for (int i = 1; i < BLOCKS; i++)
        assert_int_equal(byte_at(f, (uint64_t)i * ENV_BLOCK), 0);
    env_write_init(&f->writes[0], on_try, f);
    for (int i = 0; i < BLOCKS; i++) {
        struct slice part = block(f, i, 1);
        uint64_t at = (uint64_t)i * ENV_BLOCK;
        unsigned completed = f->completed;
        if (env_file_write_start(f->file, at, &part, 1, &f->writes[0]) == 0)
            env_uv_run(f->env);
        assert_true(f->rv == 0 || f->rv == ERR_UNSUPPORTED);
        if (f->completed == completed)
            assert_int_equal(env_file_write_through(f->file, at, &part, 1, NULL), 0);
    }
    if (is_known(f->dir))
        assert_true(f->completed >= BLOCKS / 2);
    for (int i = 0; i < BLOCKS; i++)
        assert_int_equal(byte_at(f, (uint64_t)i * ENV_BLOCK + 7), 'a' + i);
}

/* What the kernel may say of a write, and what becomes of it. */
static void test_what_the_kernel_says(void **state)
{
    struct fixture *f = *state;
    struct env_write *write = &f->writes[0];
    static const struct {
        int64_t res;
        int rv;
    } cases[] = {
        {2 * ENV_BLOCK, 0},         {ENV_BLOCK, ERR_UNSUPPORTED},
        {0, ERR_UNSUPPORTED},       {-EAGAIN, ERR_UNSUPPORTED},
        {-EINTR, ERR_UNSUPPORTED},  {-EOPNOTSUPP, ERR_UNSUPPORTED},
        {-EINVAL, ERR_UNSUPPORTED}, {-EIO, ERR_IO},
        {-ENOSPC, ERR_NO_SPACE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        env_write_init(write, on_try, f);
        write->file = f->file;
        write->len = (size_t)2 * ENV_BLOCK;
        assert_int_equal(real_file_wrote(write, cases[i].res), cases[i].rv);
        bool is_failed = cases[i].rv != 0 && cases[i].rv != ERR_UNSUPPORTED;
        assert_int_equal(strstr(write->err.msg, f->path) != NULL, is_failed);
    }
}

static void on_one_of_many(struct env_write *write)
{
    struct fixture *f = write->data;
    f->was_active |= write->is_active;
    if (write->rv != 0 && write->rv != ERR_UNSUPPORTED)
        f->rv = write->rv;
    f->completed++;
    if (f->must_stop)
        env_stop(f->env);
    else if (f->completed == f->wanted)
        env_uv_quit(f->env);
}

static void start_many(struct fixture *f)
{
    know(f);
    for (int i = 0; i < MANY; i++) {
        struct slice part = block(f, i, 1);
        env_write_init(&f->writes[i], on_one_of_many, f);
        int rv = env_file_write_start(f->file, (uint64_t)i * ENV_BLOCK, &part, 1, &f->writes[i]);
        assert_true(rv == 0 || rv == ERR_UNSUPPORTED);
        assert_int_equal(f->writes[i].is_active, rv == 0);
        f->wanted += rv == 0;
    }
    assert_int_equal(f->completed, 0);
    if (f->wanted == 0)
        skip();
}

static void test_many_at_once(void **state)
{
    struct fixture *f = *state;
    start_many(f);
    env_uv_run(f->env);
    assert_int_equal(f->completed, f->wanted);
    assert_int_equal(f->rv, 0);
    assert_false(f->was_active);
    for (int i = 0; i < MANY; i++) {
        if (f->writes[i].file != NULL && f->writes[i].rv == 0)
            assert_int_equal(byte_at(f, (uint64_t)i * ENV_BLOCK + 9), 'a' + i);
    }
}

static void check_stopped(struct fixture *f)
{
    struct slice part = block(f, 0, 1);
    for (int i = 0; i < MANY; i++)
        assert_false(f->writes[i].is_active);
    assert_int_equal(env_file_write_start(f->file, 0, &part, 1, &f->writes[0]), ERR_UNSUPPORTED);
}

/* The memory is the caller's again when it returns, and nobody is called. */
static void test_stop_waits(void **state)
{
    struct fixture *f = *state;
    start_many(f);
    env_stop(f->env);
    memset(f->blocks, 0xee, (size_t)BLOCKS * ENV_BLOCK);
    assert_int_equal(f->completed, 0);
    check_stopped(f);
    for (int i = 0; i < MANY; i++)
        assert_int_not_equal(byte_at(f, (uint64_t)i * ENV_BLOCK), 0xee);
}

static void test_stop_in_a_callback(void **state)
{
    struct fixture *f = *state;
    f->must_stop = true;
    start_many(f);
    env_uv_run(f->env);
    assert_int_equal(f->completed, 1);
    check_stopped(f);
}

static void on_hole(struct env_write *write)
{
    struct fixture *f = write->data;
    f->completed++;
    env_uv_quit(f->env);
}

/* Room that was never written cannot be had without waiting, or can: never is it an error, and a
 * thread can do it. Where it is refused again and again it is not tried each time. */
static void test_room_that_was_never_written(void **state)
{
    struct fixture *f = *state;
    struct slice part = block(f, 5, 1);
    unsigned refused = 0;
    know(f);
    assert_int_equal(env_file_truncate(f->file, 64 * ENV_BLOCK, NULL), 0);
    for (uint64_t i = BLOCKS; i < 64; i++) {
        struct env_write *write = &f->writes[0];
        env_write_init(write, on_hole, f);
        write->rv = ERR_UNSUPPORTED;
        if (env_file_write_start(f->file, i * ENV_BLOCK, &part, 1, write) == 0)
            env_uv_run(f->env);
        assert_true(write->rv == 0 || write->rv == ERR_UNSUPPORTED);
        if (write->rv != 0) {
            refused++;
            assert_int_equal(env_file_write_through(f->file, i * ENV_BLOCK, &part, 1, NULL), 0);
        }
        assert_int_equal(byte_at(f, i * ENV_BLOCK + 1), 'f');
    }
    assert_true(refused == 0 || f->completed <= 8);
}

/* Nothing says that a write to tmpfs is durable. */
static void test_where_it_is_not_known(void **state)
{
    struct fixture *f = *state;
    struct env_file *file = NULL;
    struct statfs st;
    char path[64];
    if (statfs("/dev/shm", &st) != 0 || st.f_type != TMPFS_MAGIC)
        skip();
    snprintf(path, sizeof path, "/dev/shm/holdfast-writes-%d", (int)getpid());
    assert_int_equal(
        env_file_open(f->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file, NULL),
        0);
    assert_int_equal(env_file_truncate(file, ENV_BLOCK, NULL), 0);
    struct slice part = block(f, 1, 1);
    env_write_init(&f->writes[0], on_round, f);
    assert_int_equal(env_file_write_through(file, 0, &part, 1, NULL), ERR_UNSUPPORTED);
    assert_int_equal(env_file_write_start(file, 0, &part, 1, &f->writes[0]), ERR_UNSUPPORTED);
    assert_false(f->writes[0].is_active);
    env_file_close(file);
    unlink(path);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_after_the_other),
        TEST(test_over_the_page_cache),
        TEST(test_what_the_kernel_says),
        TEST(test_many_at_once),
        TEST(test_stop_waits),
        TEST(test_stop_in_a_callback),
        TEST(test_room_that_was_never_written),
        TEST(test_where_it_is_not_known),
    };
    return cmocka_run_group_tests_name("writes", tests, NULL, NULL);
}
