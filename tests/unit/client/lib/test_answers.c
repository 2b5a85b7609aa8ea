/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller is told where a store's answer is well formed, but not to what was asked. */
#include "support/check.h"
#include "support/tsan.h"

#include <string.h>

#include "holdfast.h"
#include "support/lib_stores.h"

static struct lib_stores f;

static int setup(void **state)
{
    (void)state;
    lib_stores_start(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lib_stores_finish(&f);
    return 0;
}

/* ---- what a change came to ------------------------------------------------------------------ */

static void result_become(struct fake_store *store, struct response *to, struct buf *raw,
                          const struct command_result *result)
{
    buf_clear(raw);
    command_result_encode(raw, result);
    to->write.result = buf_slice(raw);
    to->status = result->status;
    store->twist = NULL;
}

static void tell_one(struct fake_store *store, const struct request *request, struct response *to,
                     struct buf *raw)
{
    struct op_result ops[1] = {{.number = 41}};
    (void)request;
    result_become(store, to, raw, &(struct command_result){.result_count = 1, .results = ops});
}

static void tell_three(struct fake_store *store, const struct request *request, struct response *to,
                       struct buf *raw)
{
    struct op_result ops[3] = {{.number = 41}};
    (void)request;
    result_become(store, to, raw, &(struct command_result){.result_count = 3, .results = ops});
}

static void tell_many(struct fake_store *store, const struct request *request, struct response *to,
                      struct buf *raw)
{
    struct op_result ops[200] = {{.number = 41}};
    (void)request;
    result_become(store, to, raw, &(struct command_result){.result_count = 200, .results = ops});
}

static void tell_nothing(struct fake_store *store, const struct request *request,
                         struct response *to, struct buf *raw)
{
    (void)request;
    (void)raw;
    to->write.result = (struct slice){0};
    store->twist = NULL;
}

static void tell_noise(struct fake_store *store, const struct request *request, struct response *to,
                       struct buf *raw)
{
    (void)request;
    buf_clear(raw);
    buf_append(raw, "\xc1\xc1", 2);
    to->write.result = buf_slice(raw);
    store->twist = NULL;
}

static void stop_at_the_sixth(struct fake_store *store, const struct request *request,
                              struct response *to, struct buf *raw)
{
    struct op_result ops[1] = {{.status = ERR_CONDITION_FAILED}};
    (void)request;
    result_become(
        store, to, raw,
        &(struct command_result){
            .status = ERR_CONDITION_FAILED, .failed_op = 5, .result_count = 1, .results = ops});
}

static const struct {
    const char *name;
    fake_twist twist;
    int want;
} rows[] = {
    {"one", tell_one, HF_OK},     {"three", tell_three, HF_OK},
    {"many", tell_many, HF_OK},   {"nothing", tell_nothing, HF_OK},
    {"noise", tell_noise, HF_OK}, {"the sixth of two", stop_at_the_sixth, HF_ERR_CONDITION_FAILED},
};

/* Its outcome is known, its details are not: none are told, and the first can be looked at. */
static void test_results_that_do_not_fit_a_batch(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hf_batch *batch = NULL;
        struct hf_result *result = NULL;
        assert_int_equal(hf_batch_new(&batch), HF_OK);
        assert_int_equal(hf_batch_increment(batch, hf_str("n"), 1, NULL), HF_OK);
        assert_int_equal(hf_batch_put(batch, hf_str("k"), hf_str("v"), NULL), HF_OK);
        lib_stores_twist(&f, rows[i].twist);
        int code = hf_batch_commit(f.client, batch, NULL, &result);
        if (code != rows[i].want || result->count != 0 || result->items == NULL ||
            result->items[0].number != 0 || result->failed_op != 0)
            fail_msg("%s: %d, %zu items", rows[i].name, code, result->count);
        hf_result_free(result);
        hf_batch_free(batch);
    }
}

static void test_results_that_do_not_fit_one_change(void **state)
{
    (void)state;
    for (size_t i = 1; i < ARRAY_LEN(rows); i++) {
        struct hf_result *result = NULL;
        lib_stores_twist(&f, rows[i].twist);
        int code = hf_increment(f.client, hf_str("n"), 1, NULL, NULL, &result);
        if (code != rows[i].want || result->count != 0 || result->items == NULL ||
            result->items[0].number != 0 || result->failed_op != 0)
            fail_msg("%s: %d, %zu items", rows[i].name, code, result->count);
        hf_result_free(result);
    }
}

/* ---- reads ------------------------------------------------------------------------------------
 */

static void add_row(struct fake_store *store, const struct request *request, struct response *to,
                    struct buf *raw)
{
    (void)request;
    row_append(raw, &(struct row){.status = ERR_NOT_FOUND});
    to->rows.rows = (struct pack_list){to->rows.rows.count + 1, buf_slice(raw)};
    store->twist = NULL;
}

static void fail_with_rows(struct fake_store *store, const struct request *request,
                           struct response *to, struct buf *raw)
{
    add_row(store, request, to, raw);
    to->status = ERR_CORRUPT;
}

static void test_rows_that_do_not_fit_the_keys(void **state)
{
    (void)state;
    const struct hf_bytes keys[] = {hf_str("a"), hf_str("b")};
    struct hf_result *result = NULL;
    assert_int_equal(hf_put(f.client, keys[1], hf_str("1"), NULL, NULL, NULL), HF_OK);
    lib_stores_twist(&f, add_row); /* which is not believed: it is asked for again */
    assert_int_equal(hf_multi_get(f.client, keys, 2, NULL, &result), HF_OK);
    assert_int_equal(result->count, 2);
    assert_int_equal(result->items[0].status, HF_ERR_NOT_FOUND);
    assert_memory_equal(result->items[1].key.data, "b", 1);
    assert_memory_equal(result->items[1].value.data, "1", 1);
    hf_result_free(result);
    lib_stores_twist(&f, fail_with_rows);
    assert_int_equal(hf_multi_get(f.client, keys, 2, NULL, &result), HF_ERR_CORRUPT);
    assert_int_equal(result->count, 0);
    hf_result_free(result);
}

/* ---- a keyspace --------------------------------------------------------------------------------
 */

static void name_another(struct fake_store *store, const struct request *request,
                         struct response *to, struct buf *raw)
{
    (void)request;
    buf_clear(raw);
    cell_append(raw, slice_str("#keyspace"));
    cell_append(raw, slice_str("name"));
    cell_append(raw, slice_str("#slots"));
    size_t heads = raw->len;
    cell_append(raw, slice_str("65543"));
    cell_append(raw, slice_str("ks8"));
    cell_append(raw, slice_str("0"));
    to->placement.columns = (struct pack_list){3, slice_of(raw->data, heads)};
    to->placement.cells = (struct pack_list){3, slice_of(raw->data + heads, raw->len - heads)};
    store->twist = NULL;
}

static void test_a_table_of_another_keyspace(void **state)
{
    (void)state;
    lib_stores_twist(&f, name_another);
    struct hf_result *result = NULL;
    assert_int_equal(hf_keyspace_open(f.client, "ks7", NULL, &result), HF_ERR_CORRUPT);
    assert_int_equal(result->keyspace, 0);
    hf_result_free(result);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_results_that_do_not_fit_a_batch),
        TEST(test_results_that_do_not_fit_one_change),
        TEST(test_rows_that_do_not_fit_the_keys),
        TEST(test_a_table_of_another_keyspace),
    };
    return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
}
