/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "env/env.h"
#include "env/sim/sim.h"

enum { IMAGES = 200 };

/* A world of one node, and what a test needs of it. */
struct fixture {
    struct sim *sim;
    struct sim_node *node;
    struct env *env;
    struct sim_disk *disk;
    struct rng rng;
};

static void setup(struct fixture *f, uint64_t seed)
{
    f->sim = sim_new(NULL, seed);
    f->node = sim_node_new(f->sim, "n1");
    f->env = sim_node_env(f->node);
    f->disk = sim_node_disk(f->node);
    static const struct sim_disk_options calm = {0};
    sim_disk_set_options(f->disk, &calm);
    rng_init(&f->rng, seed);
}

static void teardown(struct fixture *f)
{
    sim_disk_check(f->disk);
    sim_free(f->sim);
}

static struct env_file *open_file(struct env *env, const char *path)
{
    struct env_file *file = NULL;
    struct err err = {0};
    int rv =
        env_file_open(env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file, &err);
    if (rv != 0)
        fail_msg("%s", err.msg);
    return file;
}

static void put(struct env *env, const char *path, uint64_t offset, const char *text)
{
    struct env_file *file = open_file(env, path);
    assert_int_equal(env_file_write(file, offset, text, strlen(text), NULL), 0);
    env_file_close(file);
}

static void sync_file(struct env *env, const char *path)
{
    struct env_file *file = open_file(env, path);
    assert_int_equal(env_file_sync(file, NULL), 0);
    env_file_close(file);
}

static void put_synced(struct env *env, const char *path, const char *text)
{
    put(env, path, 0, text);
    sync_file(env, path);
    assert_int_equal(env_dir_sync(env, "", NULL), 0);
}

/* The whole file as text in `buf`; "-" if there is none. */
static const char *get(struct env *env, const char *path, char *buf, size_t size)
{
    struct env_file *file = NULL;
    size_t len = 0;
    if (env_file_open(env, path, ENV_OPEN_READ, &file, NULL) != 0)
        return "-";
    assert_int_equal(env_file_read(file, 0, buf, size - 1, &len, NULL), 0);
    buf[len] = '\0';
    env_file_close(file);
    return buf;
}

/* A crash image mounted in a world of its own. */
struct mounted {
    struct sim *sim;
    struct env *env;
};

static struct mounted mount_image(struct fixture *f)
{
    struct sim_disk *image = sim_disk_crash_image(f->disk, &f->rng);
    sim_disk_check(image);
    struct mounted m = {.sim = sim_new(NULL, 1)};
    m.env = sim_node_env(sim_node_new_on(m.sim, "n1", image));
    return m;
}

/* Plain use: what is written is read, holes are zero, the end is the end. */
static void test_read_write(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 1);
    char buf[64];
    struct env_file *file = open_file(f.env, "a");
    uint64_t size = 0;
    size_t len = 0;
    assert_int_equal(env_file_write(file, 10000, "tail", 4, NULL), 0);
    assert_int_equal(env_file_write(file, 4094, "edge", 4, NULL), 0);
    assert_int_equal(env_file_size(file, &size, NULL), 0);
    assert_int_equal(size, 10004);
    assert_int_equal(env_file_read(file, 4090, buf, 12, &len, NULL), 0);
    assert_int_equal(len, 12);
    assert_memory_equal(buf, "\0\0\0\0edge\0\0\0\0", 12);
    assert_int_equal(env_file_read(file, 10002, buf, 12, &len, NULL), 0);
    assert_int_equal(len, 2);
    assert_memory_equal(buf, "il", 2);
    assert_int_equal(env_file_read(file, 20000, buf, 12, &len, NULL), 0);
    assert_int_equal(len, 0);
    assert_int_equal(env_file_truncate(file, 4096, NULL), 0);
    assert_int_equal(env_file_truncate(file, 4100, NULL), 0);
    assert_int_equal(env_file_read(file, 4094, buf, 12, &len, NULL), 0);
    assert_int_equal(len, 6);
    assert_memory_equal(buf, "ed\0\0\0\0", 6);
    env_file_close(file);
    teardown(&f);
}

static const struct {
    const char *name;
    const char *path;
    int flags;
    int want;
} opens[] = {
    {"there", "a", ENV_OPEN_READ, 0},
    {"by its absolute path", "/./a", ENV_OPEN_READ, 0},
    {"missing", "b", ENV_OPEN_READ, ERR_NOT_FOUND},
    {"exclusive and there", "a", ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, ERR_EXISTS},
    {"folder missing", "x/a", ENV_OPEN_WRITE | ENV_OPEN_CREATE, ERR_NOT_FOUND},
    {"a file as folder", "a/b", ENV_OPEN_WRITE | ENV_OPEN_CREATE, ERR_NOT_FOUND},
    {"a folder", "d", ENV_OPEN_READ, ERR_IO},
    {"upwards", "d/../a", ENV_OPEN_READ, ERR_INVALID},
};

static void test_open_errors(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 1);
    put(f.env, "a", 0, "x");
    assert_int_equal(env_dir_make(f.env, "d", NULL), 0);
    assert_int_equal(env_dir_make(f.env, "d", NULL), ERR_EXISTS);
    for (size_t i = 0; i < ARRAY_LEN(opens); i++) {
        struct env_file *file = NULL;
        int rv = env_file_open(f.env, opens[i].path, opens[i].flags, &file, NULL);
        if (rv != opens[i].want)
            fail_msg("%s: got %d, want %d", opens[i].name, rv, opens[i].want);
        assert_true((file != NULL) == (rv == 0));
        env_file_close(file);
    }
    teardown(&f);
}

/* D1: what was synced is in every image, whatever happened to other files. */
static void test_synced_survives(void **state)
{
    (void)state;
    struct fixture f;
    char buf[8192];
    setup(&f, 2);
    put_synced(f.env, "a", "first");
    put(f.env, "a", 600, "second");
    put(f.env, "b", 0, "never synced");
    for (int i = 0; i < IMAGES; i++) {
        struct mounted m = mount_image(&f);
        const char *got = get(m.env, "a", buf, sizeof buf);
        if (memcmp(got, "first", 5) != 0)
            fail_msg("image %d: %s", i, got);
        sim_free(m.sim);
    }
    teardown(&f);
}

/* Durable when it returns, and nothing of it is on the disk where it is refused. */
static void test_write_through_survives(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    unsigned refused = 0;
    uint8_t *blocks = aligned_alloc(ENV_BLOCK, 2 * ENV_BLOCK);
    memset(blocks, 'x', ENV_BLOCK);
    memset(blocks + ENV_BLOCK, 'y', ENV_BLOCK);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct fixture f;
        static char old[3 * ENV_BLOCK + 1], got[4 * ENV_BLOCK];
        struct env_file *file = NULL;
        setup(&f, 2);
        memset(old, 'o', 3 * ENV_BLOCK);
        put_synced(f.env, names[i], old);
        struct slice parts[] = {slice_of(blocks + ENV_BLOCK, ENV_BLOCK),
                                slice_of(blocks, ENV_BLOCK)};
        assert_int_equal(
            env_file_open(f.env, names[i], ENV_OPEN_READ | ENV_OPEN_WRITE, &file, NULL), 0);
        int rv = env_file_write_through(file, ENV_BLOCK, parts, 2, NULL);
        assert_true(rv == 0 || rv == ERR_UNSUPPORTED);
        env_file_close(file);
        refused += rv != 0;
        struct mounted m = mount_image(&f);
        const char *at = get(m.env, names[i], got, sizeof got);
        assert_int_equal(at[0], 'o');
        assert_int_equal(at[ENV_BLOCK - 1], 'o');
        assert_int_equal(at[ENV_BLOCK], rv == 0 ? 'y' : 'o');
        assert_int_equal(at[2 * ENV_BLOCK - 1], rv == 0 ? 'y' : 'o');
        assert_int_equal(at[2 * ENV_BLOCK], rv == 0 ? 'x' : 'o');
        sim_free(m.sim);
        teardown(&f);
    }
    assert_true(refused > 0 && refused < ARRAY_LEN(names));
    free(blocks);
}

/* Past the page cache, as any write: there is nothing of it on the disk for sure but by a sync;
 * who refuses wrote nothing. */
static void test_write_past_needs_a_sync(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    unsigned refused = 0, lost = 0;
    uint8_t *blocks = aligned_alloc(ENV_BLOCK, 2 * ENV_BLOCK);
    memset(blocks, 'n', 2 * ENV_BLOCK);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct fixture f;
        static char old[ENV_BLOCK + 1], got[4 * ENV_BLOCK];
        bool is_synced = i % 2 == 0;
        uint64_t size = 0;
        setup(&f, 4 + i);
        memset(old, 'o', ENV_BLOCK);
        put_synced(f.env, names[i], old);
        struct env_file *file = open_file(f.env, names[i]);
        int rv = env_file_write_past(file, ENV_BLOCK, blocks, 2 * ENV_BLOCK, NULL);
        assert_true(rv == 0 || rv == ERR_UNSUPPORTED);
        refused += rv != 0;
        assert_int_equal(env_file_size(file, &size, NULL), 0);
        assert_int_equal(size, rv == 0 ? 3 * ENV_BLOCK : ENV_BLOCK);
        if (is_synced)
            assert_int_equal(env_file_sync(file, NULL), 0);
        env_file_close(file);
        for (int k = 0; k < 8; k++) {
            struct mounted m = mount_image(&f);
            memset(got, 0, sizeof got);
            const char *at = get(m.env, names[i], got, sizeof got);
            assert_int_equal(at[0], 'o');
            assert_int_equal(at[ENV_BLOCK - 1], 'o');
            bool is_there = at[ENV_BLOCK] == 'n' && at[3 * ENV_BLOCK - 1] == 'n';
            if (is_synced)
                assert_true(is_there == (rv == 0));
            lost += rv == 0 && !is_there;
            sim_free(m.sim);
        }
        teardown(&f);
    }
    assert_true(refused > 0 && refused < ARRAY_LEN(names));
    assert_true(lost > 0);
    free(blocks);
}

/* D2: 16 sectors overwritten and not synced: each is old or new as a whole, and
 * over many images all mixtures come: none, all, some. */
static void test_torn_sectors(void **state)
{
    (void)state;
    struct fixture f;
    char buf[16 * SIM_SECTOR + 1];
    char data[16 * SIM_SECTOR + 1];
    int counts[17] = {0};
    setup(&f, 3);
    memset(data, 'o', sizeof data);
    data[sizeof data - 1] = '\0';
    put_synced(f.env, "a", data);
    memset(data, 'n', sizeof data - 1);
    put(f.env, "a", 0, data);
    for (int i = 0; i < IMAGES; i++) {
        struct mounted m = mount_image(&f);
        const char *got = get(m.env, "a", buf, sizeof buf);
        int fresh = 0;
        assert_int_equal(strlen(got), 16 * SIM_SECTOR);
        for (int s = 0; s < 16; s++) {
            const char *sector = got + s * SIM_SECTOR;
            for (int b = 1; b < SIM_SECTOR; b++)
                assert_int_equal(sector[b], sector[0]);
            fresh += sector[0] == 'n';
        }
        counts[fresh]++;
        sim_free(m.sim);
    }
    assert_true(counts[0] > 0);
    assert_true(counts[16] > 0);
    assert_true(counts[0] + counts[16] < IMAGES);
    teardown(&f);
}

/* A file that grew without sync: any length between, and no byte that was never
 * written; zeroes where a sector did not come. */
static void test_unsynced_growth(void **state)
{
    (void)state;
    struct fixture f;
    char buf[4096];
    char data[2001];
    bool seen_short = false;
    bool seen_full = false;
    bool seen_hole = false;
    setup(&f, 4);
    put_synced(f.env, "a", "head");
    memset(data, 'x', 2000);
    data[2000] = '\0';
    put(f.env, "a", 4, data);
    for (int i = 0; i < IMAGES; i++) {
        struct mounted m = mount_image(&f);
        memset(buf, 0, sizeof buf);
        get(m.env, "a", buf, sizeof buf);
        uint64_t size = 0;
        bool is_dir = true;
        assert_int_equal(env_file_stat(m.env, "a", &size, &is_dir, NULL), 0);
        assert_false(is_dir);
        assert_true(size >= 4 && size <= 2004);
        assert_memory_equal(buf, "head", 4);
        for (size_t b = 4; b < size; b++) {
            assert_true(buf[b] == 'x' || buf[b] == 0);
            seen_hole |= buf[b] == 0;
        }
        seen_short |= size == 4;
        seen_full |= size == 2004;
        sim_free(m.sim);
    }
    assert_true(seen_short);
    assert_true(seen_full);
    assert_true(seen_hole);
    teardown(&f);
}

/* A truncation that was not synced is whole or nothing. */
static void test_unsynced_truncate(void **state)
{
    (void)state;
    struct fixture f;
    char buf[4096];
    char data[3001];
    int cut = 0;
    int uncut = 0;
    setup(&f, 5);
    memset(data, 'x', 3000);
    data[3000] = '\0';
    put_synced(f.env, "a", data);
    struct env_file *file = open_file(f.env, "a");
    assert_int_equal(env_file_truncate(file, 100, NULL), 0);
    env_file_close(file);
    for (int i = 0; i < IMAGES; i++) {
        struct mounted m = mount_image(&f);
        size_t len = strlen(get(m.env, "a", buf, sizeof buf));
        assert_true(len == 100 || len == 3000);
        cut += len == 100;
        uncut += len == 3000;
        sim_free(m.sim);
    }
    assert_true(cut > 0);
    assert_true(uncut > 0);
    sync_file(f.env, "a");
    for (int i = 0; i < 20; i++) {
        struct mounted m = mount_image(&f);
        assert_int_equal(strlen(get(m.env, "a", buf, sizeof buf)), 100);
        sim_free(m.sim);
    }
    teardown(&f);
}

/* Names: each row is a scenario on a folder with "old" = "1" durable; then the
 * outcomes that crash images may show, all of which must be seen. */
static const struct {
    const char *name;
    const char *script; /* c create, m old>new, r tmp>old, u unlink old, l link old new, s sync */
    const char *want;   /* outcomes "old tmp new" as contents */
} names[] = {
    {"create", "c", "1-- 12-"},
    {"create, sync", "cs", "12-"},
    {"replace", "cr", "1-- 12- 2--"},
    {"replace, sync", "crs", "2--"},
    {"rename", "m", "1-- --1"},
    {"unlink", "u", "1-- ---"},
    {"unlink, sync", "us", "---"},
    {"link, unlink", "lu", "1-- 1-1 --- --1"},
    {"link, sync, unlink", "lsu", "1-1 --1"},
};

static void names_play(struct env *env, const char *script)
{
    for (; *script != '\0'; script++) {
        int rv = -1;
        switch (*script) {
        case 'c':
            put(env, "d/tmp", 0, "2");
            sync_file(env, "d/tmp");
            rv = 0;
            break;
        case 'm':
            rv = env_file_rename(env, "d/old", "d/new", NULL);
            break;
        case 'r':
            rv = env_file_rename(env, "d/tmp", "d/old", NULL);
            break;
        case 'u':
            rv = env_file_unlink(env, "d/old", NULL);
            break;
        case 'l':
            rv = env_file_link(env, "d/old", "d/new", NULL);
            break;
        case 's':
            rv = env_dir_sync(env, "d", NULL);
            break;
        }
        assert_int_equal(rv, 0);
    }
}

static void names_row(size_t row)
{
    struct fixture f;
    char buf[3][16];
    char got[64];
    int hits[8] = {0};
    setup(&f, 100 + row);
    assert_int_equal(env_dir_make(f.env, "d", NULL), 0);
    put(f.env, "d/old", 0, "1");
    sync_file(f.env, "d/old");
    assert_int_equal(env_dir_sync(f.env, "d", NULL), 0);
    assert_int_equal(env_dir_sync(f.env, "/", NULL), 0);
    names_play(f.env, names[row].script);
    for (int i = 0; i < IMAGES; i++) {
        struct mounted m = mount_image(&f);
        snprintf(got, sizeof got, "%s%s%s", get(m.env, "d/old", buf[0], 16),
                 get(m.env, "d/tmp", buf[1], 16), get(m.env, "d/new", buf[2], 16));
        const char *at = strstr(names[row].want, got);
        if (at == NULL || strlen(got) != 3)
            fail_msg("%s: unexpected outcome %s", names[row].name, got);
        hits[(at - names[row].want) / 4]++;
        sim_free(m.sim);
    }
    for (size_t i = 0; i < (strlen(names[row].want) + 1) / 4; i++)
        if (hits[i] == 0)
            fail_msg("%s: outcome %zu of %s never came", names[row].name, i, names[row].want);
    teardown(&f);
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        names_row(i);
}

/* A folder that was not synced into its parent takes its files with it. */
static void test_lost_folder(void **state)
{
    (void)state;
    struct fixture f;
    char buf[16];
    int lost = 0;
    setup(&f, 6);
    assert_int_equal(env_dir_make(f.env, "d", NULL), 0);
    put(f.env, "d/a", 0, "1");
    sync_file(f.env, "d/a");
    assert_int_equal(env_dir_sync(f.env, "d", NULL), 0);
    for (int i = 0; i < IMAGES; i++) {
        struct mounted m = mount_image(&f);
        lost += strcmp(get(m.env, "d/a", buf, sizeof buf), "-") == 0;
        sim_free(m.sim);
    }
    assert_true(lost > 0);
    assert_true(lost < IMAGES);
    teardown(&f);
}

/* A move between folders is one op, whichever folder is synced. */
static void test_move_between_folders(void **state)
{
    (void)state;
    static const char *const synced[] = {"d", "e"};
    for (size_t row = 0; row < ARRAY_LEN(synced); row++) {
        struct fixture f;
        char buf[16];
        setup(&f, 7);
        assert_int_equal(env_dir_make(f.env, "d", NULL), 0);
        assert_int_equal(env_dir_make(f.env, "e", NULL), 0);
        assert_int_equal(env_dir_sync(f.env, "/", NULL), 0);
        put(f.env, "d/a", 0, "1");
        sync_file(f.env, "d/a");
        assert_int_equal(env_file_rename(f.env, "d/a", "e/b", NULL), 0);
        assert_int_equal(env_dir_sync(f.env, synced[row], NULL), 0);
        for (int i = 0; i < 50; i++) {
            struct mounted m = mount_image(&f);
            assert_string_equal(get(m.env, "d/a", buf, sizeof buf), "-");
            assert_string_equal(get(m.env, "e/b", buf, sizeof buf), "1");
            sim_free(m.sim);
        }
        teardown(&f);
    }
}

/* A plain kill keeps the page cache; a loss of power after it does not. */
static void test_kill_then_power(void **state)
{
    (void)state;
    char buf[16];
    int lost = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct fixture f;
        setup(&f, seed);
        put_synced(f.env, "a", "1");
        put(f.env, "a", 0, "2");
        sim_node_crash(f.node, SIM_CRASH_KILL);
        sim_node_restart(f.node);
        assert_string_equal(get(sim_node_env(f.node), "a", buf, sizeof buf), "2");
        sim_node_crash(f.node, SIM_CRASH_POWER);
        sim_node_restart(f.node);
        lost += get(sim_node_env(f.node), "a", buf, sizeof buf)[0] == '1';
        teardown(&f);
    }
    assert_true(lost > 0);
    assert_true(lost < 50);
}

/* What was written back is as lost as the rest when the power fails, or as safe. */
static void test_write_back_promises_nothing(void **state)
{
    (void)state;
    char buf[16];
    int lost = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct fixture f;
        static const struct sim_disk_options failing = {.sync_error_ppm = 1000000};
        setup(&f, seed);
        put_synced(f.env, "a", "1");
        put(f.env, "a", 0, "2");
        struct env_file *file = open_file(f.env, "a");
        uint64_t ops = sim_disk_ops(f.disk);
        assert_int_equal(env_file_write_back(file, 0, 1, NULL), 0);
        assert_int_equal(sim_disk_ops(f.disk), ops + 1);
        if (seed % 2 == 0) {
            sim_disk_set_options(f.disk, &failing);
            assert_int_equal(env_file_write_back(file, 0, 1, NULL), ERR_IO);
        }
        env_file_close(file);
        assert_string_equal(get(f.env, "a", buf, sizeof buf), "2");
        sim_node_crash(f.node, SIM_CRASH_POWER);
        sim_node_restart(f.node);
        lost += get(sim_node_env(f.node), "a", buf, sizeof buf)[0] == '1';
        teardown(&f);
    }
    assert_true(lost > 0);
    assert_true(lost < 50);
}

/* After a failed sync, a later one that succeeds does not bring the bytes back. */
static void test_failed_sync(void **state)
{
    (void)state;
    char buf[16];
    int lost = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct fixture f;
        static const struct sim_disk_options failing = {.sync_error_ppm = 1000000};
        static const struct sim_disk_options calm = {0};
        setup(&f, seed);
        put_synced(f.env, "a", "1");
        put(f.env, "a", 0, "2");
        struct env_file *file = open_file(f.env, "a");
        sim_disk_set_options(f.disk, &failing);
        assert_int_equal(env_file_sync(file, NULL), ERR_IO);
        sim_disk_set_options(f.disk, &calm);
        assert_int_equal(env_file_sync(file, NULL), 0);
        env_file_close(file);
        assert_string_equal(get(f.env, "a", buf, sizeof buf), "2");
        sim_node_crash(f.node, SIM_CRASH_POWER);
        sim_node_restart(f.node);
        lost += get(sim_node_env(f.node), "a", buf, sizeof buf)[0] == '1';
        teardown(&f);
    }
    assert_true(lost > 0);
    assert_true(lost < 50);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t space[2];
    setup(&f, 8);
    sim_disk_set_capacity(f.disk, 1000);
    struct env_file *file = open_file(f.env, "a");
    char data[600] = {1};
    struct env_file *none = NULL;
    assert_int_equal(env_file_write(file, 0, data, 600, NULL), 0);
    assert_int_equal(env_file_write(file, 500, data, 600, NULL), ERR_NO_SPACE);
    assert_int_equal(env_file_write(file, 0, data, 600, NULL), 0);
    assert_int_equal(env_file_truncate(file, 1001, NULL), ERR_NO_SPACE);
    assert_int_equal(env_file_truncate(file, 1000, NULL), 0);
    assert_int_equal(env_file_open(f.env, "b", ENV_OPEN_WRITE | ENV_OPEN_CREATE, &none, NULL),
                     ERR_NO_SPACE);
    assert_int_equal(env_disk_space(f.env, "", &space[0], &space[1], NULL), 0);
    assert_int_equal(space[0], 0);
    assert_int_equal(space[1], 1000);
    env_file_close(file);
    assert_int_equal(env_file_unlink(f.env, "a", NULL), 0);
    assert_int_equal(env_disk_space(f.env, "", &space[0], &space[1], NULL), 0);
    assert_int_equal(space[0], 1000);
    teardown(&f);
}

/* The crash point fails the n-th mutating call and everything after it, takes the
 * process with it, and a restart reads again. */
static void test_crash_point(void **state)
{
    (void)state;
    struct fixture f;
    char buf[16];
    setup(&f, 9);
    struct env_file *file = open_file(f.env, "a");
    uint64_t ops = sim_disk_ops(f.disk);
    sim_node_crash_after(f.node, 2);
    assert_int_equal(env_file_write(file, 0, "1", 1, NULL), 0);
    assert_int_equal(env_file_write(file, 1, "2", 1, NULL), ERR_IO);
    assert_int_equal(sim_disk_ops(f.disk), ops + 2);
    assert_true(sim_node_is_dead(f.node));
    assert_true(sim_disk_is_dead(f.disk));
    size_t len;
    assert_int_equal(env_file_read(file, 0, buf, 1, &len, NULL), ERR_IO);
    assert_int_equal(env_file_sync(file, NULL), ERR_IO);
    sim_node_crash(f.node, SIM_CRASH_KILL);
    env_file_close(file);
    sim_node_restart(f.node);
    assert_int_equal(get(sim_node_env(f.node), "a", buf, sizeof buf)[0], '1');
    teardown(&f);
}

struct watch_log {
    struct rng rng;
    char text[256];
    int images;
};

static void on_op(void *data, struct sim_disk *disk, const char *op, const char *path)
{
    struct watch_log *log = data;
    size_t len = strlen(log->text);
    snprintf(log->text + len, sizeof log->text - len, "%s %s;", op, path);
    struct sim_disk *image = sim_disk_crash_image(disk, &log->rng);
    sim_disk_check(image);
    sim_disk_free(image);
    log->images++;
}

static void test_watch(void **state)
{
    (void)state;
    struct fixture f;
    struct watch_log log = {0};
    setup(&f, 10);
    rng_init(&log.rng, 1);
    sim_disk_watch(f.disk, on_op, &log);
    put_synced(f.env, "a", "1");
    assert_int_equal(env_file_rename(f.env, "a", "b", NULL), 0);
    assert_string_equal(log.text, "create a;write a;sync a;sync folder ;rename b;");
    assert_int_equal(log.images, 5);
    teardown(&f);
}

static void test_lock(void **state)
{
    (void)state;
    struct fixture f;
    struct env_lock *lock = NULL;
    struct env_lock *other = NULL;
    setup(&f, 11);
    assert_int_equal(env_dir_make(f.env, "d", NULL), 0);
    assert_int_equal(env_dir_lock(f.env, "d", &lock, NULL), 0);
    assert_int_equal(env_dir_lock(f.env, "d", &other, NULL), ERR_LOCKED);
    env_dir_unlock(lock);
    assert_int_equal(env_dir_lock(f.env, "d", &lock, NULL), 0);
    sim_node_crash(f.node, SIM_CRASH_KILL);
    env_dir_unlock(lock); /* the owner frees after the crash */
    sim_node_restart(f.node);
    assert_int_equal(env_dir_lock(sim_node_env(f.node), "d", &other, NULL), 0);
    env_dir_unlock(other);
    teardown(&f);
}

static void test_list_and_flip(void **state)
{
    (void)state;
    struct fixture f;
    char **list = NULL;
    size_t count = 0;
    char buf[16];
    setup(&f, 12);
    put_synced(f.env, "b", "\x01");
    put_synced(f.env, "a", "\x02");
    assert_int_equal(env_dir_list(f.env, "", &list, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(list[0], "a");
    assert_string_equal(list[1], "b");
    free(list);
    uint64_t hash = sim_disk_hash(f.disk);
    assert_int_equal(sim_disk_flip_bit(f.disk, "a", 6), 0);
    assert_int_equal(sim_disk_flip_bit(f.disk, "a", 8), ERR_INVALID);
    assert_int_equal(sim_disk_flip_bit(f.disk, "c", 0), ERR_NOT_FOUND);
    assert_string_equal(get(f.env, "a", buf, sizeof buf), "\x42");
    assert_true(sim_disk_hash(f.disk) != hash);
    sim_node_crash(f.node, SIM_CRASH_POWER);
    sim_node_restart(f.node);
    assert_string_equal(get(sim_node_env(f.node), "a", buf, sizeof buf), "\x42");
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_write),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_synced_survives),
        cmocka_unit_test(test_write_through_survives),
        cmocka_unit_test(test_write_past_needs_a_sync),
        cmocka_unit_test(test_torn_sectors),
        cmocka_unit_test(test_unsynced_growth),
        cmocka_unit_test(test_unsynced_truncate),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_lost_folder),
        cmocka_unit_test(test_move_between_folders),
        cmocka_unit_test(test_kill_then_power),
        cmocka_unit_test(test_write_back_promises_nothing),
        cmocka_unit_test(test_failed_sync),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_crash_point),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_list_and_flip),
    };
    return cmocka_run_group_tests_name("disk", tests, NULL, NULL);
}
