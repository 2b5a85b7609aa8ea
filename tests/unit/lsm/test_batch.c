/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "env/sim/sim.h"
#include "lsm/batch.h"
#include "support/check.h"

enum { LARGE = 5000 };

static const struct {
    const char *key;
    size_t len; /* of the value; 0: a delete */
    uint64_t expiry_ms;
    bool is_far;
} rows[] = {
    {"a", 3, 0, false},      {"b", LARGE, 0, true}, {"c", 0, 0, false},   {"d", LARGE, 777, true},
    {"e", 1023, 888, false}, {"f", 1024, 0, true},  {"g", 1, 999, false},
};

static void fill(struct lsm_batch *batch, const uint8_t *value, bool borrow)
{
    for (uint64_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice key = slice_str(rows[i].key), bytes = slice_of(value + i, rows[i].len);
        if (rows[i].len == 0)
            lsm_batch_delete(batch, key, i + 1);
        else if (borrow)
            lsm_batch_put_borrowed(batch, key, i + 1, bytes, rows[i].expiry_ms);
        else
            lsm_batch_put(batch, key, i + 1, bytes, rows[i].expiry_ms);
    }
}

static uint8_t *value_new(void)
{
    uint8_t *value = malloc(LARGE + ARRAY_LEN(rows));
    for (size_t i = 0; i < LARGE + ARRAY_LEN(rows); i++)
        value[i] = (uint8_t)(i * 31 + i / 256);
    return value;
}

/* Copied or borrowed, what is walked over is the same. */
static void test_walk(void **state)
{
    (void)state;
    uint8_t *value = value_new();
    struct lsm_batch copied, borrowed;
    lsm_batch_init(&copied);
    lsm_batch_init(&borrowed);
    for (int round = 0; round < 2; round++) {
        fill(&copied, value, false);
        fill(&borrowed, value, true);
        assert_int_equal(copied.borrowed, 0);
        assert_int_equal(borrowed.borrowed, 3);
        assert_int_equal(lsm_batch_bytes(&copied), lsm_batch_bytes(&borrowed));
        lsm_batch_stamp(&copied, 42);
        lsm_batch_stamp(&borrowed, 42);
        struct entry a, b;
        size_t at_a = 0, at_b = 0;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            assert_true(lsm_batch_next(&copied, &at_a, &a));
            assert_true(lsm_batch_next(&borrowed, &at_b, &b));
            assert_true(slice_equal(a.key, b.key) && slice_equal(a.value, b.value));
            assert_true(a.kind == b.kind && a.version == 42 && b.version == 42);
            assert_true(a.expiry_ms == b.expiry_ms && b.expiry_ms == rows[i].expiry_ms);
            assert_int_equal(b.value.data == value + i, rows[i].is_far);
        }
        assert_false(lsm_batch_next(&borrowed, &at_b, &b));
        lsm_batch_clear(&copied);
        lsm_batch_clear(&borrowed);
        assert_int_equal(lsm_batch_bytes(&borrowed), 0);
    }
    lsm_batch_fini(&copied);
    lsm_batch_fini(&borrowed);
    free(value);
}

/* The engine keeps its own copy; the caller's may change afterwards. */
static void test_engine_copies(void **state)
{
    (void)state;
    struct sim *sim = sim_new(NULL, 1);
    struct sim_node *node = sim_node_new(sim, "n1");
    struct lsm_options options;
    struct lsm *lsm;
    struct lsm_batch batch;
    lsm_options_init(&options);
    assert_int_equal(lsm_open(&lsm, sim_node_env(node), "db", &options, NULL), 0);
    uint8_t *value = value_new(), *again = value_new();
    lsm_batch_init(&batch);
    fill(&batch, value, true);
    assert_int_equal(lsm_write(lsm, &batch), 0);
    lsm_batch_fini(&batch);
    free(value);
    struct lsm_view *view = lsm_view_take(lsm);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lsm_value got = {0};
        int rv = lsm_get(view, slice_str(rows[i].key), UINT64_MAX, LSM_READ_NO_IO, &got, NULL);
        assert_int_equal(rv, rows[i].len == 0 ? ERR_NOT_FOUND : 0);
        if (rv == 0)
            assert_true(slice_equal(got.data, slice_of(again + i, rows[i].len)));
        lsm_value_fini(&got);
    }
    lsm_view_unref(view);
    free(again);
    sim_node_crash(node, SIM_CRASH_KILL);
    lsm_free(lsm);
    sim_free(sim);
}

/* A pointer in bytes from a disk would be anybody's: such a record is no record. */
static void test_pointers_are_not_loaded(void **state)
{
    (void)state;
    uint8_t *value = value_new();
    struct lsm_batch batch, loaded;
    lsm_batch_init(&batch);
    lsm_batch_init(&loaded);
    lsm_batch_put(&batch, slice_str("k"), 1, slice_of(value, LARGE), 0);
    assert_int_equal(lsm_batch_load(&loaded, buf_slice(&batch.buf)), 0);
    lsm_batch_clear(&batch);
    lsm_batch_put_borrowed(&batch, slice_str("k"), 1, slice_of(value, LARGE), 0);
    assert_int_equal(batch.borrowed, 1);
    assert_int_equal(lsm_batch_load(&loaded, buf_slice(&batch.buf)), ERR_CORRUPT);
    assert_int_equal(loaded.count, 0);
    buf_append_slice(&batch.buf, slice_of(value, LARGE)); /* nor if the value were there */
    assert_int_equal(lsm_batch_load(&loaded, buf_slice(&batch.buf)), ERR_CORRUPT);
    lsm_batch_fini(&batch);
    lsm_batch_fini(&loaded);
    free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_engine_copies),
        cmocka_unit_test(test_pointers_are_not_loaded),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
