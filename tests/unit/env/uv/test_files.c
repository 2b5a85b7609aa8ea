/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "env/uv/env_uv.h"
#include "support/check.h"

struct fixture {
    struct env *env;
    char dir[64];
    char path[96];  /* of file "a" in it */
    char other[96]; /* of file "b" */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(env_uv_new(NULL, &f->env, NULL), 0);
    snprintf(f->dir, sizeof f->dir, "/tmp/holdfast-files-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/a", f->dir);
    snprintf(f->other, sizeof f->other, "%s/b", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char lock[96];
    snprintf(lock, sizeof lock, "%s/LOCK", f->dir);
    unlink(lock);
    unlink(f->path);
    unlink(f->other);
    assert_int_equal(env_dir_remove(f->env, f->dir, NULL), 0);
    env_stop(f->env);
    env_uv_free(f->env);
    free(f);
    return 0;
}

static struct env_file *open_file(struct fixture *f, const char *path, int flags)
{
    struct env_file *file = NULL;
    assert_int_equal(env_file_open(f->env, path, flags, &file, NULL), 0);
    return file;
}

static void test_what_is_written_is_read(void **state)
{
    struct fixture *f = *state;
    struct env_file *file = open_file(f, f->path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE);
    char data[16] = {0};
    size_t len = 99;
    uint64_t size = 99;
    assert_int_equal(env_file_write(file, 4, "hello", 5, NULL), 0);
    assert_int_equal(env_file_sync(file, NULL), 0);
    assert_int_equal(env_file_size(file, &size, NULL), 0);
    assert_int_equal(size, 9);
    assert_int_equal(env_file_read(file, 0, data, sizeof data, &len, NULL), 0);
    assert_int_equal(len, 9);
    assert_memory_equal(data, "\0\0\0\0hello", 9);
    assert_int_equal(env_file_read(file, 9, data, sizeof data, &len, NULL), 0);
    assert_int_equal(len, 0);
    assert_int_equal(env_file_truncate(file, 6, NULL), 0);
    assert_int_equal(env_file_read(file, 5, data, 4, &len, NULL), 0);
    assert_int_equal(len, 1);
    env_file_close(file);
    env_file_close(NULL);
    assert_int_equal(env_dir_sync(f->env, f->dir, NULL), 0);
}

/* That there is no descriptor for it is no failed sync. */
static void test_no_descriptor_to_sync_by(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int spare = dup(0);
    assert_true(spare >= 0);
    close(spare);
    tight = before;
    tight.rlim_cur = (rlim_t)spare;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    int rv = env_dir_sync(f->env, f->dir, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rv, ERR_BUSY);
    assert_int_equal(err.code, ERR_BUSY);
    assert_non_null(strstr(err.msg, f->dir));
    assert_int_equal(env_dir_sync(f->env, f->dir, NULL), 0);
}

/* What a file is extended by reads as zeroes, and has its blocks. */
static void test_extending_reserves(void **state)
{
    enum { SIZE = 1 << 20 };
    struct fixture *f = *state;
    struct env_file *file = open_file(f, f->path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE);
    static char data[SIZE + 1];
    struct stat st;
    size_t len = 0;
    assert_int_equal(env_file_write(file, 0, "hello", 5, NULL), 0);
    assert_int_equal(env_file_truncate(file, SIZE, NULL), 0);
    assert_int_equal(env_file_read(file, 0, data, sizeof data, &len, NULL), 0);
    assert_int_equal(len, SIZE);
    assert_memory_equal(data, "hello", 5);
    for (size_t i = 5; i < len; i++)
        assert_int_equal(data[i], 0);
    assert_int_equal(stat(f->path, &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 >= SIZE);
    env_file_close(file);
}

/* Pieces may be written back in order, again, and past the end; only a sync counts. */
static void test_write_back_changes_no_byte(void **state)
{
    struct fixture *f = *state;
    struct env_file *file = open_file(f, f->path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE);
    static uint8_t piece[64 << 10], data[sizeof piece];
    size_t len = 0;
    uint64_t size = 0;
    for (uint64_t i = 0; i < 8; i++) {
        memset(piece, (int)i, sizeof piece);
        assert_int_equal(env_file_write(file, i * sizeof piece, piece, sizeof piece, NULL), 0);
        assert_int_equal(env_file_write_back(file, i * sizeof piece, sizeof piece, NULL), 0);
    }
    assert_int_equal(env_file_write_back(file, 7 * sizeof piece, 2 * sizeof piece, NULL), 0);
    assert_int_equal(env_file_write_back(file, 0, 1, NULL), 0);
    assert_int_equal(env_file_sync(file, NULL), 0);
    assert_int_equal(env_file_size(file, &size, NULL), 0);
    assert_int_equal(size, 8 * sizeof piece);
    for (uint64_t i = 0; i < 8; i++) {
        memset(piece, (int)i, sizeof piece);
        assert_int_equal(env_file_read(file, i * sizeof piece, data, sizeof data, &len, NULL), 0);
        assert_int_equal(len, sizeof data);
        assert_memory_equal(data, piece, sizeof piece);
    }
    env_file_close(file);
}

static void test_open_flags_and_errors_name_the_file(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name;
        int flags;
        bool exists;
        int want;
    } CASES[] = {
        {"read what is not there", ENV_OPEN_READ, false, ERR_NOT_FOUND},
        {"create", ENV_OPEN_WRITE | ENV_OPEN_CREATE, false, 0},
        {"create what is there", ENV_OPEN_WRITE | ENV_OPEN_CREATE, true, 0},
        {"exclusive", ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, false, 0},
        {"exclusive, there", ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, true,
         ERR_EXISTS},
        {"truncate", ENV_OPEN_WRITE | ENV_OPEN_TRUNCATE, true, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        unlink(f->path);
        if (CASES[i].exists) {
            struct env_file *there = open_file(f, f->path, ENV_OPEN_WRITE | ENV_OPEN_CREATE);
            assert_int_equal(env_file_write(there, 0, "x", 1, NULL), 0);
            env_file_close(there);
        }
        struct env_file *file = NULL;
        struct err err = {0};
        int code = env_file_open(f->env, f->path, CASES[i].flags, &file, &err);
        if (code != CASES[i].want)
            fail_msg("%s: got %s", CASES[i].name, err_name(code));
        if (code != 0)
            assert_non_null(strstr(err.msg, f->path));
        uint64_t size;
        bool is_dir;
        bool is_there = env_file_stat(f->env, f->path, &size, &is_dir, NULL) == 0;
        if (is_there && (CASES[i].flags & ENV_OPEN_TRUNCATE))
            assert_int_equal(size, 0);
        env_file_close(file);
    }
}

static void test_a_write_to_a_file_open_for_reading_fails_and_names_it(void **state)
{
    struct fixture *f = *state;
    env_file_close(open_file(f, f->path, ENV_OPEN_WRITE | ENV_OPEN_CREATE));
    struct env_file *file = open_file(f, f->path, ENV_OPEN_READ);
    struct err err = {0};
    assert_int_equal(env_file_write(file, 512, "x", 1, &err), ERR_IO);
    assert_non_null(strstr(err.msg, "write 1 bytes at 512 of"));
    assert_non_null(strstr(err.msg, f->path));
    env_file_close(file);
}

static void test_a_full_device_is_no_space(void **state)
{
    struct fixture *f = *state;
    struct env_file *file = NULL;
    if (env_file_open(f->env, "/dev/full", ENV_OPEN_WRITE, &file, NULL) != 0)
        skip();
    assert_int_equal(env_file_write(file, 0, "x", 1, NULL), ERR_NO_SPACE);
    env_file_close(file);
}

static void test_rename_link_unlink_stat(void **state)
{
    struct fixture *f = *state;
    uint64_t size;
    bool is_dir;
    struct err err = {0};
    struct env_file *file = open_file(f, f->path, ENV_OPEN_WRITE | ENV_OPEN_CREATE);
    assert_int_equal(env_file_write(file, 0, "abc", 3, NULL), 0);
    env_file_close(file);
    assert_int_equal(env_file_link(f->env, f->path, f->other, NULL), 0);
    assert_int_equal(env_file_link(f->env, f->path, f->other, &err), ERR_EXISTS);
    assert_int_equal(env_file_unlink(f->env, f->path, NULL), 0);
    assert_int_equal(env_file_unlink(f->env, f->path, &err), ERR_NOT_FOUND);
    assert_int_equal(env_file_rename(f->env, f->other, f->path, NULL), 0);
    assert_int_equal(env_file_rename(f->env, f->other, f->path, &err), ERR_NOT_FOUND);
    assert_int_equal(env_file_stat(f->env, f->path, &size, &is_dir, NULL), 0);
    assert_int_equal(size, 3);
    assert_false(is_dir);
    assert_int_equal(env_file_stat(f->env, f->dir, &size, &is_dir, NULL), 0);
    assert_true(is_dir);
    assert_int_equal(env_file_stat(f->env, f->other, &size, &is_dir, NULL), ERR_NOT_FOUND);
}

static void test_folders_list_in_byte_order(void **state)
{
    struct fixture *f = *state;
    char **names = NULL;
    size_t count = 99;
    assert_int_equal(env_dir_list(f->env, f->dir, &names, &count, NULL), 0);
    assert_int_equal(count, 0);
    free(names);
    env_file_close(open_file(f, f->other, ENV_OPEN_WRITE | ENV_OPEN_CREATE));
    env_file_close(open_file(f, f->path, ENV_OPEN_WRITE | ENV_OPEN_CREATE));
    assert_int_equal(env_dir_list(f->env, f->dir, &names, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "b");
    free(names);
    struct err err = {0};
    assert_int_equal(env_dir_list(f->env, "/nowhere/at/all", &names, &count, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/nowhere/at/all"));
    assert_int_equal(env_dir_make(f->env, f->dir, &err), ERR_EXISTS);
    assert_int_equal(env_dir_sync(f->env, "/nowhere/at/all", &err), ERR_NOT_FOUND);
}

static void test_a_folder_has_one_holder_and_says_who(void **state)
{
    struct fixture *f = *state;
    struct env_lock *lock = NULL, *again = NULL;
    struct err err = {0};
    char want[32];
    assert_int_equal(env_dir_lock(f->env, f->dir, &lock, NULL), 0);
    assert_int_equal(env_dir_lock(f->env, f->dir, &again, &err), ERR_LOCKED);
    snprintf(want, sizeof want, "process %ld", (long)getpid());
    assert_non_null(strstr(err.msg, want));
    assert_non_null(strstr(err.msg, f->dir));

    pid_t pid = fork();
    if (pid == 0)
        _exit(env_dir_lock(f->env, f->dir, &again, NULL) == ERR_LOCKED ? 0 : 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    env_dir_unlock(lock);
    env_dir_unlock(NULL);
    assert_int_equal(env_dir_lock(f->env, f->dir, &again, NULL), 0);
    env_dir_unlock(again);
    assert_int_equal(env_dir_lock(f->env, "/nowhere/at/all", &lock, &err), ERR_NOT_FOUND);
}

/* Somebody removed the folder and another process made it anew: nothing of that one is touched. */
static void test_a_replaced_folder_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct env_lock *lock = NULL;
    struct env_file *file = NULL;
    struct err err = {0};
    char lock_name[96], away[96];
    snprintf(lock_name, sizeof lock_name, "%s/LOCK", f->dir);
    snprintf(away, sizeof away, "%s.away", f->dir);
    assert_int_equal(env_dir_lock(f->env, f->dir, &lock, NULL), 0);
    env_file_close(open_file(f, f->path, ENV_OPEN_WRITE | ENV_OPEN_CREATE));
    assert_int_equal(rename(f->dir, away), 0);
    assert_int_equal(mkdir(f->dir, 0700), 0);
    FILE *theirs = fopen(f->path, "w");
    assert_true(theirs != NULL && fputs("theirs", theirs) >= 0 && fclose(theirs) == 0);

    int flags = ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE;
    assert_int_equal(env_file_open(f->env, f->path, flags, &file, &err), ERR_IO);
    assert_non_null(strstr(err.msg, "removed or replaced"));
    assert_int_equal(env_file_unlink(f->env, f->path, NULL), ERR_IO);
    assert_int_equal(env_file_rename(f->env, f->path, f->other, NULL), ERR_IO);
    assert_int_equal(env_file_link(f->env, f->path, f->other, NULL), ERR_IO);
    assert_int_equal(env_dir_make(f->env, f->other, NULL), ERR_IO);
    assert_int_equal(env_dir_sync(f->env, f->dir, NULL), ERR_IO); /* nothing of ours is there */
    uint64_t size = 0;
    bool is_dir = true;
    assert_int_equal(env_file_stat(f->env, f->path, &size, &is_dir, NULL), 0); /* to look is free */
    assert_int_equal(size, strlen("theirs"));
    theirs = fopen(lock_name, "w"); /* a lock of theirs is not ours */
    assert_true(theirs != NULL && fclose(theirs) == 0);
    assert_int_equal(env_file_open(f->env, f->path, ENV_OPEN_READ, &file, NULL), ERR_IO);
    env_dir_unlock(lock);

    assert_int_equal(env_file_stat(f->env, f->path, &size, &is_dir, NULL), 0);
    assert_int_equal(size, strlen("theirs"));
    snprintf(lock_name, sizeof lock_name, "%s/a", away);
    assert_int_equal(unlink(lock_name), 0);
    snprintf(lock_name, sizeof lock_name, "%s/LOCK", away);
    assert_int_equal(unlink(lock_name), 0);
    assert_int_equal(rmdir(away), 0);
}

static void test_disk_space_and_long_paths(void **state)
{
    struct fixture *f = *state;
    uint64_t free_bytes = 0, total = 0;
    assert_int_equal(env_disk_space(f->env, f->dir, &free_bytes, &total, NULL), 0);
    assert_true(total > 0);
    assert_true(free_bytes <= total);
    struct err err = {0};
    assert_int_equal(env_disk_space(f->env, "/nowhere/at/all", &free_bytes, &total, &err),
                     ERR_NOT_FOUND);
    char path[ENV_PATH_MAX + 1];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    struct env_file *file;
    assert_int_equal(env_file_open(f->env, path, ENV_OPEN_READ, &file, &err), ERR_INVALID);
}

/* Blocks in several parts, over old bytes and beside them; who cannot says so and wrote nothing. */
static void test_write_through(void **state)
{
    struct fixture *f = *state;
    struct env_file *file = open_file(f, f->path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE);
    enum { BLOCKS = 6 };
    uint8_t *blocks = aligned_alloc(ENV_BLOCK, BLOCKS * ENV_BLOCK);
    uint8_t *got = malloc(BLOCKS * ENV_BLOCK);
    size_t len = 0;
    for (size_t i = 0; i < BLOCKS * ENV_BLOCK; i++)
        blocks[i] = (uint8_t)(i / 7 + i / ENV_BLOCK);
    memset(got, 9, BLOCKS * ENV_BLOCK);
    assert_int_equal(env_file_write(file, 0, got, BLOCKS * ENV_BLOCK, NULL), 0);
    assert_int_equal(env_file_sync(file, NULL), 0);
    struct slice parts[] = {slice_of(blocks + ENV_BLOCK, ENV_BLOCK),
                            slice_of(blocks + 3 * ENV_BLOCK, 2 * ENV_BLOCK),
                            slice_of(blocks, ENV_BLOCK)};
    struct err err = {0};
    int rv = env_file_write_through(file, ENV_BLOCK, parts, 3, &err);
    assert_true(rv == 0 || rv == ERR_UNSUPPORTED);
    assert_int_equal(env_file_read(file, 0, got, BLOCKS * ENV_BLOCK, &len, NULL), 0);
    assert_int_equal(len, BLOCKS * ENV_BLOCK);
    static const int want[BLOCKS] = {-1, 1, 3, 4, 0, -1};
    for (size_t i = 0; i < BLOCKS; i++) {
        const uint8_t *block = got + i * ENV_BLOCK;
        if (rv == 0 && want[i] >= 0)
            assert_memory_equal(block, blocks + want[i] * ENV_BLOCK, ENV_BLOCK);
        else
            assert_true(block[0] == 9 && memcmp(block, block + 1, ENV_BLOCK - 1) == 0);
    }
    /* Both ways in turns. */
    for (int i = 0; i < 20 && rv == 0; i++) {
        memset(blocks, i, ENV_BLOCK);
        parts[0] = slice_of(blocks, ENV_BLOCK);
        assert_int_equal(env_file_write_through(file, 0, parts, 1, NULL), 0);
        assert_int_equal(env_file_read(file, 100, got, 1, &len, NULL), 0);
        assert_int_equal(got[0], i);
        assert_int_equal(env_file_write(file, 100, "x", 1, NULL), 0);
        assert_int_equal(env_file_sync(file, NULL), 0);
    }
    env_file_close(file);
    free(blocks);
    free(got);
}

/* Where nothing says that a direct write is durable when it returns, it is not tried: tmpfs takes
 * such writes (since Linux 6.6), as network file systems do, which do not sync them. */
static void test_write_through_where_it_is_durable(void **state)
{
    struct fixture *f = *state;
    struct statfs st;
    char path[64];
    if (statfs("/dev/shm", &st) != 0 || st.f_type != TMPFS_MAGIC)
        skip();
    snprintf(path, sizeof path, "/dev/shm/holdfast-through-%d", (int)getpid());
    struct env_file *file = open_file(f, path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE);
    uint8_t *block = aligned_alloc(ENV_BLOCK, ENV_BLOCK), got = 0;
    size_t len = 0;
    memset(block, 7, ENV_BLOCK);
    assert_int_equal(env_file_write(file, 0, block, ENV_BLOCK, NULL), 0);
    memset(block, 8, ENV_BLOCK);
    struct slice part = slice_of(block, ENV_BLOCK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(env_file_write_through(file, 0, &part, 1, NULL), ERR_UNSUPPORTED);
    assert_int_equal(env_file_read(file, 9, &got, 1, &len, NULL), 0);
    assert_int_equal(got, 7);
    env_file_close(file);
    unlink(path);
    free(block);
}

/* Is it a file system on which direct I/O is known to work? */
static bool is_disk(const char *path)
{
    struct statfs st;
    if (statfs(path, &st) != 0)
        return false;
    return st.f_type == EXT4_SUPER_MAGIC || st.f_type == XFS_SUPER_MAGIC ||
           st.f_type == BTRFS_SUPER_MAGIC;
}

/* A file that grows by blocks past the page cache, and an end that is no block; what is read is
 * what was written last, whichever way. */
static void test_write_past(void **state)
{
    struct fixture *f = *state;
    struct env_file *file = open_file(f, f->path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE);
    enum { BLOCKS = 4 };
    uint8_t *blocks = aligned_alloc(ENV_BLOCK, BLOCKS * ENV_BLOCK);
    uint8_t *got = malloc((BLOCKS + 1) * ENV_BLOCK);
    uint64_t size = 0;
    size_t len = 0;
    for (size_t i = 0; i < BLOCKS * ENV_BLOCK; i++)
        blocks[i] = (uint8_t)(i / 7 + i / ENV_BLOCK);
    int rv = env_file_write_past(file, 0, blocks, 3 * ENV_BLOCK, NULL);
    assert_true(rv == 0 || (rv == ERR_UNSUPPORTED && !is_disk(f->path)));
    assert_int_equal(env_file_size(file, &size, NULL), 0);
    assert_int_equal(size, rv == 0 ? 3 * ENV_BLOCK : 0);
    if (rv == 0) {
        assert_int_equal(
            env_file_write_past(file, 3 * ENV_BLOCK, blocks + 3 * ENV_BLOCK, ENV_BLOCK, NULL), 0);
        assert_int_equal(env_file_write(file, 4 * ENV_BLOCK, "end", 3, NULL), 0);
        assert_int_equal(env_file_sync(file, NULL), 0);
        assert_int_equal(env_file_read(file, 0, got, 5 * ENV_BLOCK, &len, NULL), 0);
        assert_int_equal(len, BLOCKS * ENV_BLOCK + 3);
        assert_memory_equal(got, blocks, BLOCKS * ENV_BLOCK);
        assert_memory_equal(got + BLOCKS * ENV_BLOCK, "end", 3);
        memset(blocks, 1, ENV_BLOCK);
        assert_int_equal(env_file_write_past(file, ENV_BLOCK, blocks, ENV_BLOCK, NULL), 0);
        assert_int_equal(env_file_read(file, ENV_BLOCK, got, ENV_BLOCK, &len, NULL), 0);
        assert_memory_equal(got, blocks, ENV_BLOCK);
    }
    env_file_close(file);
    struct slice part = slice_of(blocks, ENV_BLOCK);
    file = open_file(f, f->path, ENV_OPEN_READ); /* not by another way than it was opened for */
    assert_int_equal(env_file_write_past(file, 0, blocks, ENV_BLOCK, NULL), ERR_UNSUPPORTED);
    assert_int_equal(env_file_write_through(file, 0, &part, 1, NULL), ERR_UNSUPPORTED);
    env_file_close(file);
    free(blocks);
    free(got);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_written_is_read),
        TEST(test_no_descriptor_to_sync_by),
        TEST(test_extending_reserves),
        TEST(test_write_back_changes_no_byte),
        TEST(test_write_past),
        TEST(test_write_through),
        TEST(test_write_through_where_it_is_durable),
        TEST(test_open_flags_and_errors_name_the_file),
        TEST(test_a_write_to_a_file_open_for_reading_fails_and_names_it),
        TEST(test_a_full_device_is_no_space),
        TEST(test_rename_link_unlink_stat),
        TEST(test_folders_list_in_byte_order),
        TEST(test_a_folder_has_one_holder_and_says_who),
        TEST(test_a_replaced_folder_is_left_alone),
        TEST(test_disk_space_and_long_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
