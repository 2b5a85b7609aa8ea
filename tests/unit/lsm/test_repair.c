/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders that do not open: what is said of them, what is had of them, and that they are
 * only read.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "env/env_ops.h"
#include "env/sim/sim.h"
#include "lsm/lsm.h"
#include "support/check.h"

enum { KEYS = 120, LARGE = 300 };

struct place {
    struct sim *sim;
    struct sim_node *node;
    struct env *env;
    struct lsm *lsm;
    struct lsm_options options;
    unsigned round[KEYS]; /* of the last write of each key; 0: none, or a delete */
    bool is_deleted[KEYS];
    char said[16 << 10];
};

static void open_at(struct place *p, const char *dir)
{
    struct err err = {0};
    if (lsm_open(&p->lsm, p->env, dir, &p->options, &err) != 0)
        fail_msg("open %s: %s", dir, err.msg);
}

static void place_init(struct place *p)
{
    *p = (struct place){.sim = sim_new(NULL, 1)};
    p->node = sim_node_new(p->sim, "n1");
    p->env = sim_node_env(p->node);
    lsm_options_init(&p->options);
    p->options.memtable_bytes = 1 << 20;
    p->options.block_bytes = 256;
    p->options.table_bytes = 2 << 10;
    p->options.cache_bytes = 64 << 10;
    p->options.value_bytes = 200;
    p->options.no_auto_compaction = true;
    open_at(p, "db");
}

static bool is_busy(void *data)
{
    return !lsm_is_quiet(data);
}

static void settle(struct place *p)
{
    sim_run_while(p->sim, is_busy, p->lsm, sim_now_us(p->sim) + 600 * UINT64_C(1000000));
}

/* The engine goes; the folder stays as it is. */
static void stop(struct place *p)
{
    sim_node_crash(p->node, SIM_CRASH_KILL);
    lsm_free(p->lsm);
    p->lsm = NULL;
    sim_node_restart(p->node);
    p->env = sim_node_env(p->node);
}

static void place_fini(struct place *p)
{
    if (p->lsm != NULL)
        stop(p);
    sim_free(p->sim);
}

static void key_of(unsigned i, char out[8])
{
    snprintf(out, 8, "k%03u", i);
}

static struct slice value_of(unsigned i, unsigned round)
{
    static uint8_t bytes[LARGE];
    size_t len = i % 5 == 0 ? LARGE : 20;
    for (size_t n = 0; n < len; n++)
        bytes[n] = (uint8_t)((i * 131 + round * 17 + n * n) >> 1);
    return slice_of(bytes, len);
}

static void on_flush(struct lsm_flush_op *op, int status)
{
    (void)op;
    assert_int_equal(status, 0);
}

/* Every `step`th key from `first` on, one table (and a value file). */
static void write_round(struct place *p, unsigned round, unsigned first, unsigned step,
                        bool is_delete)
{
    struct lsm_batch batch;
    struct lsm_flush_op op = {0};
    lsm_batch_init(&batch);
    for (unsigned i = first; i < KEYS; i += step) {
        char key[8];
        key_of(i, key);
        if (is_delete)
            lsm_batch_delete(&batch, slice_str(key), round);
        else
            lsm_batch_put(&batch, slice_str(key), round, value_of(i, round), 0);
        p->round[i] = round;
        p->is_deleted[i] = is_delete;
    }
    assert_int_equal(lsm_write(p->lsm, &batch), 0);
    lsm_batch_fini(&batch);
    assert_int_equal(lsm_flush(p->lsm, &op, on_flush), 0);
    settle(p);
}

/* How many keys are as they were written last; the rest must be missing, or older. */
static size_t count_right(struct place *p)
{
    struct lsm_view *view = lsm_view_take(p->lsm);
    size_t right = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        struct lsm_value value = {0};
        char key[8];
        key_of(i, key);
        int rv = lsm_get(view, slice_str(key), UINT64_MAX, 0, &value, NULL);
        bool want = p->round[i] != 0 && !p->is_deleted[i];
        if (rv == 0)
            assert_true(slice_equal(value.data, value_of(i, (unsigned)value.version)));
        right += rv == 0 ? want && value.version == p->round[i] : rv == ERR_NOT_FOUND && !want;
        lsm_value_fini(&value);
    }
    lsm_view_unref(view);
    return right;
}

static void on_line(void *data, const char *line)
{
    struct place *p = data;
    size_t len = strlen(p->said);
    snprintf(p->said + len, sizeof p->said - len, "%s\n", line);
}

static int repair(struct place *p, const char *into)
{
    struct err err = {0};
    uint64_t before = sim_disk_hash(sim_node_disk(p->node));
    p->said[0] = 0;
    int rv = lsm_repair(p->env, "db", into, on_line, p, &err);
    if (into == NULL)
        assert_true(before == sim_disk_hash(sim_node_disk(p->node)));
    if (rv != 0)
        on_line(p, err.msg);
    return rv;
}

static int verify(struct place *p, const char *dir)
{
    struct err err = {0};
    p->said[0] = 0;
    return lsm_verify_folder(p->env, dir, on_line, p, &err);
}

static void must_say(struct place *p, const char *text)
{
    if (strstr(p->said, text) == NULL)
        fail_msg("'%s' is missing in:\n%s", text, p->said);
}

/* Repaired into "new": it verifies, opens, and has so many keys right. */
static void repaired(struct place *p, size_t want)
{
    assert_int_equal(repair(p, NULL), 0);
    must_say(p, "nothing was written");
    if (repair(p, "new") != 0)
        fail_msg("repair: %s", p->said);
    if (verify(p, "new") != 0)
        fail_msg("verify: %s", p->said);
    open_at(p, "new");
    size_t right = count_right(p);
    if (right != want)
        fail_msg("%zu of %u keys are right, not %zu", right, KEYS, want);
    lsm_check(p->lsm);
}

struct find {
    const char *text;
    char path[64];
    uint64_t size;
};

static void find_file(void *data, const char *path, uint64_t size)
{
    struct find *f = data;
    if (strstr(path, f->text) == NULL || strstr(path, "db/") == NULL)
        return;
    snprintf(f->path, sizeof f->path, "%s", path[0] == '/' ? path + 1 : path);
    f->size = size;
}

/* The last file of that name. */
static struct find find(struct place *p, const char *text)
{
    struct find f = {.text = text};
    sim_disk_each_file(sim_node_disk(p->node), find_file, &f);
    if (f.path[0] == 0)
        fail_msg("there is no %s", text);
    return f;
}

static void flip(struct place *p, const char *path, uint64_t byte)
{
    assert_int_equal(sim_disk_flip_bit(sim_node_disk(p->node), path, byte * 8 + 1), 0);
}

static void fill(struct place *p)
{
    place_init(p);
    write_round(p, 1, 0, 1, false);
    write_round(p, 2, 0, 3, false);
    write_round(p, 3, 0, 10, true);
}

static void test_sound(void **state)
{
    (void)state;
    struct place p;
    fill(&p);
    stop(&p);
    assert_int_equal(verify(&p, "db"), 0);
    must_say(&p, "3 tables, ");
    repaired(&p, KEYS);
    must_say(&p, "0 damaged");
    stop(&p);
    assert_int_equal(repair(&p, "new"), ERR_EXISTS);
    assert_int_equal(verify(&p, "nowhere"), ERR_NOT_FOUND);
    place_fini(&p);
}

static void test_current(void **state)
{
    (void)state;
    for (unsigned gone = 0; gone < 2; gone++) {
        struct place p;
        fill(&p);
        stop(&p);
        if (gone)
            assert_int_equal(env_file_unlink(p.env, "db/CURRENT", NULL), 0);
        else
            flip(&p, "db/CURRENT", 3);
        assert_int_equal(verify(&p, "db"), ERR_CORRUPT);
        repaired(&p, KEYS);
        place_fini(&p);
    }
}

/* The last record is damaged: what it said is lost, and said so. */
static void test_record(void **state)
{
    (void)state;
    struct place p;
    fill(&p);
    stop(&p);
    struct find f = find(&p, "MANIFEST");
    flip(&p, f.path, f.size - 24 - 5); /* in the last payload, before its seal */
    assert_int_equal(verify(&p, "db"), ERR_CORRUPT);
    must_say(&p, "is not named by the manifest");
    repaired(&p, KEYS - KEYS / 10); /* the deletes of round 3 are not there */
    assert_int_equal(repair(&p, NULL), 0);
    must_say(&p, "keep: the state before the damaged record");
    place_fini(&p);
}

/* No manifest at all: the tables alone say it. */
static void test_rebuild(void **state)
{
    (void)state;
    struct place p;
    fill(&p);
    assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
    settle(&p);
    write_round(&p, 4, 1, 7, false);
    write_round(&p, 5, 2, 11, true);
    stop(&p);
    assert_int_equal(env_file_unlink(p.env, find(&p, "MANIFEST").path, NULL), 0);
    assert_int_equal(env_file_unlink(p.env, "db/CURRENT", NULL), 0);
    assert_int_equal(verify(&p, "db"), ERR_CORRUPT);
    must_say(&p, "no manifest can be read");
    repaired(&p, KEYS);
    assert_int_equal(repair(&p, NULL), 0);
    must_say(&p, "rebuild");
    place_fini(&p);
}

/* A table is gone: the rest is kept, and the loss told. */
static void test_table_gone(void **state)
{
    (void)state;
    struct place p;
    fill(&p);
    stop(&p);
    struct find f = find(&p, ".tbl"); /* the deletes */
    assert_int_equal(env_file_unlink(p.env, f.path, NULL), 0);
    assert_int_equal(verify(&p, "db"), ERR_CORRUPT);
    must_say(&p, "cannot be used: missing (12 records)");
    repaired(&p, KEYS - KEYS / 10);
    assert_int_equal(repair(&p, NULL), 0);
    must_say(&p, "keep: everything but");
    place_fini(&p);
}

/* A value file is gone: its values are, no more. */
static void test_values_gone(void **state)
{
    (void)state;
    struct place p;
    place_init(&p);
    stop(&p);
    p.options.table_bytes = 64 << 10; /* one value file */
    open_at(&p, "db");
    write_round(&p, 1, 0, 1, false);
    stop(&p);
    assert_int_equal(env_file_unlink(p.env, find(&p, ".val").path, NULL), 0);
    assert_int_equal(verify(&p, "db"), ERR_CORRUPT);
    must_say(&p, ".val, which cannot be used");
    repaired(&p, KEYS - KEYS / 5);
    assert_int_equal(repair(&p, NULL), 0);
    assert_int_equal(repair(&p, "again"), 0);
    must_say(&p, "24 records have lost their value");
    place_fini(&p);
}

/* A block is damaged and the manifest gone: the rest of the table comes through. */
static void test_block(void **state)
{
    (void)state;
    struct place p;
    place_init(&p);
    write_round(&p, 1, 1, 2, false);
    stop(&p);
    flip(&p, find(&p, ".tbl").path, 300);
    assert_int_equal(env_file_unlink(p.env, find(&p, "MANIFEST").path, NULL), 0);
    assert_int_equal(repair(&p, "new"), 0);
    must_say(&p, "lost: what stood at");
    must_say(&p, "1 places could not be read");
    open_at(&p, "new");
    size_t right = count_right(&p);
    assert_true(right > KEYS * 3 / 4 && right < KEYS);
    place_fini(&p);
}

/* Any byte of any file: it ends, says something, and what it writes opens. */
static void test_hostile(void **state)
{
    (void)state;
    static const char *const kinds[] = {"CURRENT", "MANIFEST", ".tbl", ".val"};
    struct rng rng;
    struct place p;
    struct sim_disk *good;
    fill(&p);
    stop(&p);
    good = sim_disk_clone(sim_node_disk(p.node));
    rng_init(&rng, 7);
    for (unsigned n = 0; n < 400; n++) {
        struct place q = {.options = p.options, .sim = sim_new(NULL, n + 1)};
        q.node = sim_node_new_on(q.sim, "n1", sim_disk_clone(good));
        q.env = sim_node_env(q.node);
        memcpy(q.round, p.round, sizeof q.round);
        memcpy(q.is_deleted, p.is_deleted, sizeof q.is_deleted);
        for (unsigned k = 0; k < 1 + n % 3; k++) {
            struct find f = find(&q, kinds[rng_below(&rng, ARRAY_LEN(kinds))]);
            flip(&q, f.path, rng_below(&rng, f.size));
        }
        if (n % 4 == 0) /* the manifest does not help either */
            env_file_unlink(q.env, "db/CURRENT", NULL);
        (void)verify(&q, "db");
        assert_true(q.said[0] != 0);
        if (repair(&q, "new") != 0)
            fail_msg("flip %u: %s", n, q.said);
        open_at(&q, "new");
        struct lsm_view *view = lsm_view_take(q.lsm);
        (void)lsm_verify(view, NULL, NULL, NULL);
        lsm_view_unref(view);
        (void)count_right(&q);
        place_fini(&q);
    }
    sim_disk_free(good);
    place_fini(&p);
}

/* A disk that cannot read a span of `path`, ever or once, or give out a handle of it. */
static struct {
    const struct env_ops *whole;
    struct env_ops ops;
    char path[64];
    uint64_t from, to;
    bool has_no_handle, is_once, is_over;
    const struct env_file *files[64];
} lost;

static int open_lost(struct env *env, const char *path, int flags, struct env_file **ret_file,
                     struct err *err)
{
    bool is_it = strcmp(path, lost.path) == 0;
    if (is_it && lost.has_no_handle)
        return err_set(err, ERR_IO, "open '%s': too many open files", path);
    int rv = lost.whole->file_open(env, path, flags, ret_file, err);
    size_t i = 0;
    while (rv == 0 && is_it && lost.files[i] != NULL)
        i++;
    if (rv == 0 && is_it)
        lost.files[i] = *ret_file;
    return rv;
}

static void close_lost(struct env_file *file)
{
    for (size_t i = 0; i < ARRAY_LEN(lost.files); i++) {
        if (lost.files[i] == file)
            lost.files[i] = NULL;
    }
    lost.whole->file_close(file);
}

static int read_lost(struct env_file *file, uint64_t offset, void *data, size_t len,
                     size_t *ret_len, struct err *err)
{
    bool is_over_it = offset < lost.to && offset + len > lost.from && !lost.is_over;
    for (size_t i = 0; is_over_it && i < ARRAY_LEN(lost.files); i++) {
        if (lost.files[i] == file) {
            lost.is_over = lost.is_once;
            return err_set(err, ERR_IO, "read '%s': a bad sector", lost.path);
        }
    }
    return lost.whole->file_read(file, offset, data, len, ret_len, err);
}

static void lose(struct place *p, const char *path, uint64_t from, uint64_t to)
{
    memset(&lost, 0, sizeof lost);
    lost.whole = p->env->ops;
    lost.ops = *p->env->ops;
    lost.ops.file_open = open_lost;
    lost.ops.file_close = close_lost;
    lost.ops.file_read = read_lost;
    lost.from = from;
    lost.to = to;
    snprintf(lost.path, sizeof lost.path, "%s", path);
    p->env->ops = &lost.ops;
}

static void found_again(struct place *p)
{
    p->env->ops = lost.whole;
}

/* Each kind of file, its last bytes or all of it: the engine does not open, and what can be had is
 * as much as with wrong bytes there. */
static void test_unreadable(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *said;
        uint64_t tail; /* 0: all of it */
        size_t right;
    } cases[] = {
        {".tbl", "keep: everything but", 40, KEYS - KEYS / 10}, /* the deletes */
        {"CURRENT", "keep: ", 0, KEYS},
        {"MANIFEST", "rebuild", 0, KEYS},
        {"MANIFEST", "rebuild", 40, KEYS},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct place p;
        fill(&p);
        stop(&p);
        struct find f = find(&p, cases[i].kind);
        lose(&p, f.path, cases[i].tail == 0 ? 0 : f.size - cases[i].tail, f.size);
        assert_int_equal(lsm_open(&p.lsm, p.env, "db", &p.options, NULL), ERR_IO);
        assert_int_equal(verify(&p, "db"), ERR_CORRUPT);
        must_say(&p, "a bad sector");
        assert_int_equal(repair(&p, NULL), 0);
        must_say(&p, cases[i].said);
        repaired(&p, cases[i].right);
        found_again(&p);
        place_fini(&p);
    }
}

/* The same of files that no manifest names. */
static void test_unreadable_unnamed(void **state)
{
    (void)state;
    struct place p;
    fill(&p);
    stop(&p);
    struct find f = find(&p, ".tbl");
    assert_int_equal(env_file_unlink(p.env, find(&p, "MANIFEST").path, NULL), 0);
    lose(&p, f.path, f.size - 40, f.size);
    repaired(&p, KEYS - KEYS / 10);
    assert_int_equal(repair(&p, "again"), 0);
    must_say(&p, ".tbl cannot be used: ");
    found_again(&p);
    place_fini(&p);

    static const uint64_t to[] = {UINT64_MAX, 1}; /* its frame too, a value alone */
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        place_init(&p);
        stop(&p);
        p.options.table_bytes = 64 << 10; /* one value file */
        open_at(&p, "db");
        write_round(&p, 1, 0, 1, false);
        stop(&p);
        assert_int_equal(env_file_unlink(p.env, find(&p, "MANIFEST").path, NULL), 0);
        lose(&p, find(&p, ".val").path, 0, to[i]);
        lost.is_once = true; /* what can be read the next time is not left out */
        assert_int_equal(repair(&p, "once"), ERR_IO);
        must_say(&p, "a bad sector");
        lost.is_once = lost.is_over = false;
        repaired(&p, KEYS - KEYS / 5);
        assert_int_equal(repair(&p, "again"), 0);
        must_say(&p, ".val cannot be used: ");
        must_say(&p, "24 records have lost their value");
        found_again(&p);
        place_fini(&p);
    }
}

/* What cannot be opened, for want of a descriptor, is not lost: nothing is written without it, and
 * it is named. Nor is what can be read the next time. */
static void test_no_handle(void **state)
{
    (void)state;
    static const char *const kinds[] = {".tbl", ".val", "CURRENT", "MANIFEST"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct place p;
        fill(&p);
        stop(&p);
        struct find f = find(&p, kinds[i]);
        lose(&p, f.path, 0, 0);
        lost.has_no_handle = true;
        assert_int_equal(verify(&p, "db"), ERR_IO);
        assert_int_equal(repair(&p, "new"), ERR_IO);
        must_say(&p, "too many open files");
        must_say(&p, f.path);
        found_again(&p);
        assert_int_equal(verify(&p, "new"), ERR_NOT_FOUND);
        lose(&p, f.path, 0, f.size);
        lost.is_once = true;
        assert_int_equal(repair(&p, "new"), ERR_IO);
        must_say(&p, "a bad sector");
        assert_int_equal(verify(&p, "db"), 0);
        found_again(&p);
        repaired(&p, KEYS);
        place_fini(&p);
    }
}

static void test_one_file(void **state)
{
    (void)state;
    struct place p;
    struct err err = {0};
    static const char *const kinds[] = {".tbl", ".val"};
    fill(&p);
    stop(&p);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct find f = find(&p, kinds[i]);
        p.said[0] = 0;
        assert_int_equal(lsm_verify_table(p.env, f.path, on_line, &p, &err), 0);
        must_say(&p, "sound");
        p.said[0] = 0;
        assert_int_equal(lsm_dump_table(p.env, f.path, true, on_line, &p, &err), 0);
        must_say(&p, i == 0 ? "records=12" : "value_bytes=");
        flip(&p, f.path, 5);
        assert_int_equal(lsm_verify_table(p.env, f.path, on_line, &p, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.msg, kinds[i]));
    }
    place_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_current),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_rebuild),
        cmocka_unit_test(test_table_gone),
        cmocka_unit_test(test_values_gone),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_unreadable_unnamed),
        cmocka_unit_test(test_no_handle),
    };
    return cmocka_run_group_tests_name("repair", tests, NULL, NULL);
}
