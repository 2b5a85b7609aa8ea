/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that somebody left in the folder, with numbers from which the engine counts on.
 */
#include <stdio.h>
#include <stdlib.h>

#include "env/sim/sim.h"
#include "lsm/disk.h"
#include "lsm/lsm.h"
#include "support/check.h"

struct place {
    struct sim *sim;
    struct sim_node *node;
    struct env *env;
    struct lsm *lsm;
    struct err err;
    unsigned lines;
};

static int open_lsm(struct place *p)
{
    struct lsm_options options;
    lsm_options_init(&options);
    options.no_auto_compaction = true;
    return lsm_open(&p->lsm, p->env, "db", &options, &p->err);
}

static void must_open(struct place *p)
{
    if (open_lsm(p) != 0)
        fail_msg("%s", p->err.msg);
}

static void setup(struct place *p)
{
    *p = (struct place){.sim = sim_new(NULL, 1)};
    p->node = sim_node_new(p->sim, "n1");
    p->env = sim_node_env(p->node);
}

static void stop(struct place *p)
{
    sim_node_crash(p->node, SIM_CRASH_KILL);
    lsm_free(p->lsm);
    p->lsm = NULL;
    sim_node_restart(p->node);
    p->env = sim_node_env(p->node);
}

static void teardown(struct place *p)
{
    stop(p);
    sim_free(p->sim);
}

static void leave(struct place *p, const char *name)
{
    struct env_file *file = NULL;
    char path[64];
    snprintf(path, sizeof path, "db/%s", name);
    assert_int_equal(env_file_open(p->env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file, NULL), 0);
    env_file_close(file);
}

static bool is_busy(void *data)
{
    return !lsm_is_quiet(data);
}

static void on_flush(struct lsm_flush_op *op, int status)
{
    (void)op;
    assert_int_equal(status, 0);
}

/* A table with the key. */
static void put(struct place *p, const char *key)
{
    struct lsm_batch batch;
    struct lsm_flush_op op = {0};
    lsm_batch_init(&batch);
    lsm_batch_put(&batch, slice_str(key), 1, slice_str("value"), 0);
    assert_int_equal(lsm_write(p->lsm, &batch), 0);
    lsm_batch_fini(&batch);
    assert_int_equal(lsm_flush(p->lsm, &op, on_flush), 0);
    sim_run_while(p->sim, is_busy, p->lsm, sim_now_us(p->sim) + 600 * UINT64_C(1000000));
}

static void must_have(struct place *p, const char *key)
{
    struct lsm_view *view = lsm_view_take(p->lsm);
    struct lsm_value value = {0};
    assert_int_equal(lsm_get(view, slice_str(key), UINT64_MAX, 0, &value, NULL), 0);
    lsm_value_fini(&value);
    lsm_view_unref(view);
    lsm_check(p->lsm);
}

static void on_line(void *data, const char *line)
{
    struct place *p = data;
    (void)line;
    p->lines++;
}

/* The numbers that follow have more digits than those before: everything is found again, by the
 * tool for damage too. */
static void test_more_digits(void **state)
{
    (void)state;
    static const char *const names[] = {"999999.tbl", "999999999999999999.stage",
                                        "MANIFEST-9999999999999999999", "9223372036854775807.val"};
    static const char *const keys[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct place p;
        setup(&p);
        must_open(&p);
        put(&p, "first");
        stop(&p);
        leave(&p, names[i]);
        for (size_t life = 0; life < ARRAY_LEN(keys); life++) {
            must_open(&p);
            must_have(&p, "first");
            for (size_t k = 0; k < life; k++)
                must_have(&p, keys[k]);
            put(&p, keys[life]);
            stop(&p);
        }
        if (lsm_verify_folder(p.env, "db", on_line, &p, &p.err) != 0)
            fail_msg("%s", p.err.msg);
        assert_int_equal(p.lines, 2);
        teardown(&p);
    }
}

static void must_name(const struct place *p, const char *name)
{
    if (strstr(p->err.msg, name) == NULL)
        fail_msg("'%s' does not name %s", p->err.msg, name);
}

/* From there on is no room to count: nothing is begun. Without the file all is well. */
static void test_greatest(void **state)
{
    (void)state;
    static const char *const names[] = {"18446744073709551615.tbl", "18446744073709551615.stage",
                                        "18446744073709551615.val", "MANIFEST-18446744073709551615",
                                        "18000000000000000001.tbl"};
    struct place p;
    setup(&p);
    must_open(&p);
    put(&p, "first");
    stop(&p);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[64];
        snprintf(path, sizeof path, "db/%s", names[i]);
        leave(&p, names[i]);
        uint64_t before = sim_disk_hash(sim_node_disk(p.node));
        assert_int_equal(open_lsm(&p), ERR_INVALID);
        must_name(&p, names[i]);
        assert_int_equal(lsm_verify_folder(p.env, "db", on_line, &p, &p.err), ERR_INVALID);
        must_name(&p, names[i]);
        assert_int_equal(lsm_repair(p.env, "db", NULL, on_line, &p, &p.err), ERR_INVALID);
        must_name(&p, names[i]);
        assert_true(before == sim_disk_hash(sim_node_disk(p.node)));
        assert_int_equal(env_file_unlink(p.env, path, NULL), 0);
    }
    must_open(&p);
    must_have(&p, "first");
    teardown(&p);
}

/* Names are taken as they are printed, and no others. */
static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum disk_kind kind;
        uint64_t number;
    } cases[] = {
        {"000000.tbl", DISK_TABLE, 0},
        {"000012.tbl", DISK_TABLE, 12},
        {"1000000.stage", DISK_STAGE, 1000000},
        {"1000000000000000000.val", DISK_VALUES, UINT64_C(1000000000000000000)},
        {"18446744073709551615.tbl", DISK_TABLE, UINT64_MAX},
        {"MANIFEST-000007", DISK_MANIFEST, 7},
        {"MANIFEST-18446744073709551615", DISK_MANIFEST, UINT64_MAX},
        {"18446744073709551616.tbl", DISK_OTHER, 0},
        {"99999999999999999999999999.tbl", DISK_OTHER, 0},
        {"MANIFEST-18446744073709551616", DISK_OTHER, 0},
        {"12.tbl", DISK_OTHER, 0},
        {"0000012.tbl", DISK_OTHER, 0},
        {"01000000.tbl", DISK_OTHER, 0},
        {"MANIFEST-7", DISK_OTHER, 0},
        {"MANIFEST-", DISK_OTHER, 0},
        {"000012", DISK_OTHER, 0},
        {".tbl", DISK_OTHER, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t number = 0;
        char name[DISK_NAME_MAX];
        if (disk_parse(cases[i].name, &number) != cases[i].kind || number != cases[i].number)
            fail_msg("'%s'", cases[i].name);
        if (cases[i].kind == DISK_OTHER)
            continue;
        disk_name(cases[i].kind, number, name);
        assert_string_equal(name, cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_more_digits),
        cmocka_unit_test(test_greatest),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("lsm_numbers", tests, NULL, NULL);
}
