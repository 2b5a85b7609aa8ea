/* SPDX-License-Identifier: Apache-2.0
 *
 * What views, flushes and edits promise, one at a time.
 */
#include <stdio.h>
#include <stdlib.h>

#include "env/sim/sim.h"
#include "lsm/lsm.h"
#include "support/check.h"

struct place {
    struct sim *sim;
    struct sim_node *node;
    struct lsm *lsm;
    struct lsm_options options;
    uint64_t held;  /* this memtable and those behind it; 0: none */
    bool wants_all; /* on_freeze() asks for more room than a batch may have */
    char log[1000]; /* what the callbacks said, in order */
};

static void note(struct place *p, const char *what, uint64_t n)
{
    snprintf(p->log + strlen(p->log), sizeof p->log - strlen(p->log), "%s%llu ", what,
             (unsigned long long)n);
}

static void on_freeze(void *data, uint64_t freeze, struct lsm_batch *batch)
{
    struct place *p = data;
    char text[32];
    note(p, "freeze", freeze);
    snprintf(text, sizeof text, "%llu", (unsigned long long)freeze);
    if (p->wants_all) /* it is not written to: nothing has that memory */
        assert_int_equal(buf_reserve(&batch->buf, (size_t)LSM_BATCH_BYTES_MAX + 1), 0);
    lsm_batch_put(batch, slice_str("!meta"), 0, slice_str(text), 0);
}

static bool is_held(void *data, uint64_t freeze)
{
    const struct place *p = data;
    return p->held != 0 && freeze >= p->held;
}

static void on_flushed(void *data, uint64_t freeze)
{
    note(data, "flushed", freeze);
}

static void place_init(struct place *p)
{
    *p = (struct place){.sim = sim_new(NULL, 1)};
    p->node = sim_node_new(p->sim, "n1");
    lsm_options_init(&p->options);
    p->options.memtable_bytes = 4 << 10;
    p->options.memtables_max = 2;
    p->options.l0_stop = 1000;
    p->options.block_bytes = 256;
    p->options.cache_bytes = 64 << 10;
    p->options.no_auto_compaction = true;
    p->options.callbacks = (struct lsm_callbacks){
        .on_freeze = on_freeze, .is_held = is_held, .on_flushed = on_flushed};
    p->options.data = p;
    assert_int_equal(lsm_open(&p->lsm, sim_node_env(p->node), "db", &p->options, NULL), 0);
}

static void place_fini(struct place *p)
{
    sim_node_crash(p->node, SIM_CRASH_KILL);
    lsm_free(p->lsm);
    sim_free(p->sim);
}

static bool is_busy(void *data)
{
    return !lsm_is_quiet(data);
}

static void settle(struct place *p)
{
    sim_run_while(p->sim, is_busy, p->lsm, sim_now_us(p->sim) + 60 * UINT64_C(1000000));
}

static int put(struct place *p, const char *key, uint64_t version, const char *value)
{
    struct lsm_batch batch;
    lsm_batch_init(&batch);
    if (value != NULL)
        lsm_batch_put(&batch, slice_str(key), version, slice_str(value), 0);
    else
        lsm_batch_delete(&batch, slice_str(key), version);
    int rv = lsm_write(p->lsm, &batch);
    lsm_batch_fini(&batch);
    return rv;
}

/* The value, or "-" for not found, "?" for would block. */
static void expect(struct lsm_view *view, const char *key, uint64_t version, unsigned flags,
                   const char *want)
{
    struct lsm_value value = {0};
    int rv = lsm_get(view, slice_str(key), version, flags, &value, NULL);
    const char *got = rv == 0 ? (const char *)value.data.data : rv == ERR_NOT_FOUND ? "-" : "?";
    size_t len = rv == 0 ? value.data.len : 1;
    if (strlen(want) != len || memcmp(got, want, len) != 0)
        fail_msg("%s@%llu: got %.*s, want %s", key, (unsigned long long)version, (int)len, got,
                 want);
    lsm_value_fini(&value);
}

static void flush_cb(struct lsm_flush_op *op, int status)
{
    assert_int_equal(status, 0);
    note(op->data, "cb", op->freeze);
}

static void edit_cb(struct lsm_edit_op *op, int status)
{
    assert_int_equal(status, 0);
    note(op->data, "edit", 0);
}

/* A view shows what was written before it, whatever comes after: writes of equal
 * versions, a freeze, a flush, an edit. */
static void test_exact(void **state)
{
    (void)state;
    struct place p;
    struct lsm_flush_op flush = {.data = &p};
    place_init(&p);
    put(&p, "k", 5, "five");
    struct lsm_view *one = lsm_view_take(p.lsm);
    put(&p, "k", 5, "again");
    put(&p, "k", 7, "seven");
    put(&p, "new", 1, "x");
    struct lsm_view *two = lsm_view_take(p.lsm);
    assert_int_equal(lsm_flush(p.lsm, &flush, flush_cb), 0);
    put(&p, "k", 9, NULL);
    settle(&p);
    struct lsm_span all = {slice_str(""), slice_str("")};
    struct lsm_edit_op edit = {.data = &p, .excise = &all, .excise_count = 1, .cb = edit_cb};
    assert_int_equal(lsm_edit(p.lsm, &edit), 0);
    settle(&p);
    struct lsm_view *three = lsm_view_take(p.lsm);
    expect(one, "k", UINT64_MAX, 0, "five");
    expect(one, "new", UINT64_MAX, 0, "-");
    expect(one, "!meta", 0, 0, "-");
    expect(two, "k", UINT64_MAX, 0, "seven");
    expect(two, "k", 6, 0, "again");
    expect(two, "k", 4, 0, "-");
    expect(two, "new", 1, 0, "x");
    expect(three, "k", UINT64_MAX, 0, "-");
    expect(three, "k", 6, 0, "-");
    lsm_view_unref(one);
    lsm_view_unref(two);
    lsm_view_unref(three);
    place_fini(&p);
}

/* Views of one moment are one; a view that only we hold follows the writes. */
static void test_shared(void **state)
{
    (void)state;
    struct place p;
    place_init(&p);
    put(&p, "a", 1, "1");
    struct lsm_view *one = lsm_view_take(p.lsm);
    struct lsm_view *same = lsm_view_take(p.lsm);
    assert_ptr_equal(one, same);
    put(&p, "b", 1, "1");
    struct lsm_view *other = lsm_view_take(p.lsm);
    assert_ptr_not_equal(one, other);
    expect(one, "b", 1, 0, "-");
    expect(other, "b", 1, 0, "1");
    lsm_view_unref(one);
    lsm_view_unref(same);
    lsm_view_unref(other);
    place_fini(&p);
}

/* Callbacks come in the order of freezes; what on_freeze() added is in that memtable. */
static void test_flush_order(void **state)
{
    (void)state;
    struct place p;
    struct lsm_flush_op ops[3] = {{.data = &p}, {.data = &p}, {.data = &p}};
    place_init(&p);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        put(&p, "k", i + 1, "v");
        assert_int_equal(lsm_flush(p.lsm, &ops[i], flush_cb), 0);
    }
    assert_int_equal(lsm_frozen(p.lsm), 3);
    assert_int_equal(lsm_flushed(p.lsm), 0);
    assert_string_equal(p.log, "freeze1 freeze2 freeze3 ");
    settle(&p);
    assert_string_equal(p.log, "freeze1 freeze2 freeze3 flushed1 cb1 flushed2 cb2 flushed3 cb3 ");
    struct lsm_view *view = lsm_view_take(p.lsm);
    expect(view, "!meta", 0, 0, "3");
    expect(view, "k", 2, 0, "v");
    lsm_view_unref(view);
    place_fini(&p);
}

/* What must become durable with a memtable has no bound: it would be as much with the next one. */
static void test_large_meta(void **state)
{
    (void)state;
    struct place p;
    struct lsm_flush_op op = {.data = &p};
    place_init(&p);
    p.wants_all = true;
    put(&p, "k", 1, "v");
    assert_int_equal(lsm_flush(p.lsm, &op, flush_cb), 0);
    settle(&p);
    assert_string_equal(p.log, "freeze1 flushed1 cb1 ");
    place_fini(&p);
}

/* An edit waits for the memtable that it touches, and only then. */
static void test_edit_order(void **state)
{
    (void)state;
    struct place p;
    struct lsm_span span = {slice_str("b"), slice_str("d")};
    struct lsm_edit_op edit = {.data = &p, .excise = &span, .excise_count = 1, .cb = edit_cb};
    place_init(&p);
    put(&p, "a", 1, "1");
    put(&p, "d", 1, "1");
    assert_int_equal(lsm_edit(p.lsm, &edit), 0);
    put(&p, "c", 2, "later"); /* after the edit: survives it */
    settle(&p);
    assert_string_equal(p.log, "edit0 ");
    struct lsm_view *view = lsm_view_take(p.lsm);
    expect(view, "c", 9, 0, "later");
    lsm_view_unref(view);
    assert_int_equal(lsm_edit(p.lsm, &edit), 0);
    settle(&p);
    assert_string_equal(p.log, "edit0 freeze1 flushed1 edit0 ");
    view = lsm_view_take(p.lsm);
    expect(view, "c", 9, 0, "-");
    expect(view, "a", 9, 0, "1");
    expect(view, "d", 9, 0, "1");
    lsm_view_unref(view);
    place_fini(&p);
}

/* The owner keeps a memtable off the disk, and with it all that was begun behind it. */
static void test_held(void **state)
{
    (void)state;
    struct place p;
    struct lsm_flush_op ops[2] = {{.data = &p}, {.data = &p}};
    struct lsm_span span = {slice_str("b"), slice_str("d")};
    struct lsm_edit_op edit = {.data = &p, .excise = &span, .excise_count = 1, .cb = edit_cb};
    place_init(&p);
    p.held = 2;
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        put(&p, "c", i + 1, "v");
        assert_int_equal(lsm_flush(p.lsm, &ops[i], flush_cb), 0);
    }
    assert_int_equal(lsm_edit(p.lsm, &edit), 0);
    sim_run_until(p.sim, sim_now_us(p.sim) + 10 * UINT64_C(1000000));
    lsm_go_on(p.lsm); /* nothing has changed */
    sim_run_until(p.sim, sim_now_us(p.sim) + 10 * UINT64_C(1000000));
    assert_string_equal(p.log, "freeze1 freeze2 flushed1 cb1 ");
    p.held = 0;
    lsm_go_on(p.lsm);
    lsm_go_on(p.lsm); /* it is under way already */
    settle(&p);
    assert_string_equal(p.log, "freeze1 freeze2 flushed1 cb1 flushed2 cb2 edit0 ");
    place_fini(&p);
}

static void count_tables(void *data, const char *path, uint64_t size)
{
    (void)size;
    *(size_t *)data += strstr(path, ".tbl") != NULL;
}

static size_t tables(struct place *p)
{
    size_t n = 0;
    sim_disk_each_file(sim_node_disk(p->node), count_tables, &n);
    return n;
}

/* A file goes when the last view that reads it is gone, not before. */
static void test_files_wait_for_views(void **state)
{
    (void)state;
    struct place p;
    struct lsm_flush_op flush = {.data = &p};
    place_init(&p);
    put(&p, "k", 1, "v");
    assert_int_equal(lsm_flush(p.lsm, &flush, flush_cb), 0);
    settle(&p);
    struct lsm_view *view = lsm_view_take(p.lsm);
    struct lsm_span all = {slice_str(""), slice_str("")};
    struct lsm_edit_op edit = {.data = &p, .excise = &all, .excise_count = 1, .cb = edit_cb};
    assert_int_equal(lsm_edit(p.lsm, &edit), 0);
    sim_run_until(p.sim, sim_now_us(p.sim) + 10 * UINT64_C(1000000));
    assert_int_equal(tables(&p), 1);
    expect(view, "k", 1, 0, "v");
    lsm_view_unref(view);
    settle(&p);
    assert_int_equal(tables(&p), 0);
    place_fini(&p);
}

/* The bounds: slow, stop, refused, and room again. */
static void test_stall(void **state)
{
    (void)state;
    struct place p;
    char value[200];
    unsigned accepted = 0;
    place_init(&p);
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    assert_int_equal(lsm_stall(p.lsm), LSM_STALL_NONE);
    while (put(&p, "k", accepted + 1, value) == 0) {
        accepted++;
        if (lsm_frozen(p.lsm) == 1)
            assert_int_equal(lsm_stall(p.lsm), LSM_STALL_SLOW);
        assert_true(accepted < 1000);
    }
    assert_int_equal(put(&p, "k", accepted + 1, value), ERR_BUSY);
    assert_int_equal(lsm_stall(p.lsm), LSM_STALL_STOP);
    assert_int_equal(lsm_frozen(p.lsm), 2);
    settle(&p);
    assert_int_equal(put(&p, "k", accepted + 1, value), 0);
    struct lsm_view *view = lsm_view_take(p.lsm);
    for (unsigned i = 1; i <= accepted + 1; i++)
        expect(view, "k", i, 0, value);
    lsm_view_unref(view);
    place_fini(&p);
}

/* ---- care --------------------------------------------------------------- */

static void count_line(void *data, const char *line)
{
    assert_true(strlen(line) > 0);
    ++*(size_t *)data;
}

static void fill(struct place *p, unsigned keys)
{
    struct lsm_flush_op flush = {.data = p};
    p->log[0] = 0;
    for (unsigned i = 0; i < keys; i++) {
        char key[16], value[40];
        snprintf(key, sizeof key, "k%05u", i);
        snprintf(value, sizeof value, "a value of some length %u", i);
        while (put(p, key, i + 1, value) == ERR_BUSY)
            settle(p);
        p->log[0] = 0;
    }
    assert_int_equal(lsm_flush(p->lsm, &flush, flush_cb), 0);
    settle(p);
}

static void test_checkpoint(void **state)
{
    (void)state;
    struct place p;
    struct lsm *copy = NULL;
    struct err err = {0};
    size_t lines = 0;
    place_init(&p);
    fill(&p, 300);
    struct lsm_view *view = lsm_view_take(p.lsm);
    assert_int_equal(lsm_checkpoint(view, "copy", &err), 0);
    assert_int_equal(lsm_checkpoint(view, "copy", &err), ERR_EXISTS);
    lsm_view_unref(view);
    struct lsm_options options = p.options;
    options.callbacks = (struct lsm_callbacks){0};
    int rv = lsm_open(&copy, sim_node_env(p.node), "copy", &options, &err);
    if (rv != 0)
        fail_msg("%s", err.msg);
    view = lsm_view_take(copy);
    expect(view, "k00299", UINT64_MAX, 0, "a value of some length 299");
    assert_int_equal(lsm_verify(view, NULL, NULL, &err), 0);
    lsm_view_unref(view);
    assert_int_equal(lsm_dump_manifest(sim_node_env(p.node), "copy", count_line, &lines, &err), 0);
    assert_true(lines > 3);
    lines = 0;
    assert_int_equal(
        lsm_dump_table(sim_node_env(p.node), "copy/000002.tbl", true, count_line, &lines, &err), 0);
    assert_true(lines > 10);
    sim_disk_flip_bit(sim_node_disk(p.node), "copy/000002.tbl", 8);
    assert_int_equal(
        lsm_dump_table(sim_node_env(p.node), "copy/000002.tbl", true, count_line, &lines, &err),
        ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "'000002.tbl': block at 0"));
    sim_node_crash(p.node, SIM_CRASH_KILL);
    lsm_free(copy);
    lsm_free(p.lsm);
    sim_free(p.sim);
}

static void test_approximate(void **state)
{
    (void)state;
    struct place p;
    struct lsm_approx all, part, none;
    place_init(&p);
    fill(&p, 2000);
    assert_int_equal(lsm_compact(p.lsm, slice_str(""), slice_str("")), 0);
    settle(&p);
    struct lsm_view *view = lsm_view_take(p.lsm);
    lsm_approximate(view, slice_str(""), slice_str(""), LSM_READ_NO_IO, &all, NULL);
    lsm_approximate(view, slice_str("k01000"), slice_str("k02000"), LSM_READ_NO_IO, &part, NULL);
    lsm_approximate(view, slice_str("x"), slice_str(""), LSM_READ_NO_IO, &none, NULL);
    assert_true(all.records >= 2000 && all.records < 2100);
    assert_true(part.bytes > 0 && part.bytes < all.bytes);
    assert_int_equal(none.bytes, 0);
    assert_int_equal(none.middle.len, 0);
    assert_true(slice_compare(buf_slice(&all.middle), slice_str("k00800")) > 0);
    assert_true(slice_compare(buf_slice(&all.middle), slice_str("k01200")) < 0);
    assert_true(slice_compare(buf_slice(&part.middle), slice_str("k01300")) > 0);
    assert_true(slice_compare(buf_slice(&part.middle), slice_str("k01700")) < 0);
    buf_fini(&all.middle);
    buf_fini(&part.middle);
    buf_fini(&none.middle);
    lsm_view_unref(view);
    place_fini(&p);
}

enum { LONG_KEYS = 4400 };

/* All alike but for their ends, so that an index has to have them whole. */
static struct slice long_key(unsigned n)
{
    static uint8_t key[LSM_KEY_MAX];
    memset(key, 'k', sizeof key);
    snprintf((char *)key + sizeof key - 8, 8, "%07u", n);
    return slice_of(key, sizeof key);
}

static void expect_long_keys(struct place *p)
{
    struct lsm_view *view = lsm_view_take(p->lsm);
    for (unsigned i = 0; i < LONG_KEYS; i += 100) {
        struct lsm_value value = {0};
        assert_int_equal(lsm_get(view, long_key(i), UINT64_MAX, 0, &value, NULL), 0);
        lsm_value_fini(&value);
    }
    lsm_view_unref(view);
}

/* The index of such keys is so long that one block does not hold it: another table begins,
 * however large tables may be. */
static void test_long_keys(void **state)
{
    (void)state;
    struct place p;
    struct lsm_stats stats;
    struct lsm_batch batch;
    place_init(&p);
    lsm_free(p.lsm);
    p.options.memtable_bytes = p.options.table_bytes = 1 << 30;
    p.options.block_bytes = 8 << 10;
    assert_int_equal(lsm_open(&p.lsm, sim_node_env(p.node), "db", &p.options, NULL), 0);
    lsm_batch_init(&batch);
    for (unsigned i = 0; i < LONG_KEYS; i++) {
        lsm_batch_clear(&batch);
        lsm_batch_put(&batch, long_key(i), 1, slice_str("v"), 0);
        assert_int_equal(lsm_write(p.lsm, &batch), 0);
    }
    lsm_batch_fini(&batch);
    struct lsm_flush_op flush = {.data = &p};
    assert_int_equal(lsm_flush(p.lsm, &flush, flush_cb), 0);
    settle(&p);
    assert_int_equal(lsm_flushed(p.lsm), 1);
    lsm_stats(p.lsm, &stats);
    assert_int_equal(stats.levels[0].files, 3);
    expect_long_keys(&p);

    struct lsm_builder *builder = lsm_builder_new(p.lsm);
    for (unsigned i = 0; i < LONG_KEYS; i++)
        assert_int_equal(lsm_builder_put(builder, long_key(i), 2, slice_str("w"), 0, NULL), 0);
    assert_int_equal(lsm_builder_finish(builder, NULL), 0);
    const struct lsm_span all = {.start = slice_str("k")};
    struct lsm_edit_op op = {.data = &p,
                             .excise = &all,
                             .excise_count = 1,
                             .ingest = &builder,
                             .ingest_count = 1,
                             .cb = edit_cb};
    assert_int_equal(lsm_edit(p.lsm, &op), 0);
    settle(&p);
    expect_long_keys(&p);
    place_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),       cmocka_unit_test(test_shared),
        cmocka_unit_test(test_flush_order), cmocka_unit_test(test_edit_order),
        cmocka_unit_test(test_held),        cmocka_unit_test(test_files_wait_for_views),
        cmocka_unit_test(test_stall),       cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_approximate), cmocka_unit_test(test_long_keys),
        cmocka_unit_test(test_large_meta),
    };
    return cmocka_run_group_tests_name("view", tests, NULL, NULL);
}
