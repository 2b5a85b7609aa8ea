/* SPDX-License-Identifier: Apache-2.0 */
/* What a client counts of each kind of operation: how many, how they ended, how long they took. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/lib_stores.h"

enum { LATE_MS = 60, MANY = 200 };

static struct hf_op_stats stats_of(struct hf_client *client, int kind)
{
    struct hf_op_stats s = {.size = sizeof s};
    assert_int_equal(hf_client_op_stats(client, kind, &s), HF_OK);
    assert_int_equal(s.size, sizeof s);
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof s.by_code / sizeof s.by_code[0]; i++)
        sum += s.by_code[i];
    assert_true(sum == s.count && s.errors == s.count - s.by_code[0]);
    assert_true(s.latency_us_min <= s.latency_us_p50 && s.latency_us_p50 <= s.latency_us_p90);
    assert_true(s.latency_us_p90 <= s.latency_us_p99 && s.latency_us_p99 <= s.latency_us_p999);
    assert_true(s.latency_us_p999 <= s.latency_us_max);
    assert_true(s.latency_us_mean >= s.latency_us_min && s.latency_us_mean <= s.latency_us_max);
    return s;
}

static uint64_t count_of(struct hf_client *client, int kind)
{
    return stats_of(client, kind).count;
}

static void test_names(void **state)
{
    (void)state;
    for (int kind = 0; kind < HF_OP_KINDS; kind++) {
        assert_non_null(hf_op_kind_name(kind));
        for (int other = 0; other < kind; other++)
            assert_string_not_equal(hf_op_kind_name(kind), hf_op_kind_name(other));
    }
    assert_string_equal(hf_op_kind_name(HF_OP_GET), "get");
    assert_string_equal(hf_op_kind_name(HF_OP_CLUSTER), "cluster");
    assert_null(hf_op_kind_name(-1));
    assert_null(hf_op_kind_name(HF_OP_KINDS));
}

/* Each call is counted once, under its own kind. */
static void test_kinds(void **state)
{
    (void)state;
    struct lib_stores f;
    uint64_t want[HF_OP_KINDS] = {0};
    lib_stores_start(&f);
    struct hf_client *c = f.client;
    struct hf_bytes k = hf_str("k"), v = hf_str("1");
    struct hf_change if_present;
    struct hf_batch *batch;
    struct hf_scan *scan;
    struct hf_item item;
    for (int kind = 0; kind < HF_OP_KINDS; kind++)
        assert_int_equal(count_of(c, kind), 0);
    assert_int_equal(hf_put(c, k, v, NULL, NULL, NULL), HF_OK);
    want[HF_OP_PUT]++;
    hf_change_init(&if_present);
    if_present.condition = HF_IF_PRESENT;
    assert_int_equal(hf_put(c, k, v, &if_present, NULL, NULL), HF_OK);
    assert_int_equal(hf_cas(c, k, v, v, NULL, NULL), HF_OK);
    assert_int_equal(hf_put_if_absent(c, k, v, NULL, NULL), HF_ERR_CONDITION_FAILED);
    want[HF_OP_CAS] += 3;
    assert_int_equal(hf_increment(c, k, 2, NULL, NULL, NULL), HF_OK);
    want[HF_OP_INCREMENT]++;
    assert_int_equal(hf_append(c, k, v, NULL, NULL, NULL), HF_OK);
    want[HF_OP_APPEND]++;
    assert_int_equal(hf_get_and_set(c, k, v, NULL, NULL, NULL), HF_OK);
    want[HF_OP_GET_AND_SET]++;
    assert_int_equal(hf_get(c, k, NULL, NULL), HF_OK);
    assert_int_equal(hf_get(c, hf_str("none"), NULL, NULL), HF_ERR_NOT_FOUND);
    want[HF_OP_GET] += 2;
    assert_int_equal(hf_multi_get(c, &k, 1, NULL, NULL), HF_OK);
    want[HF_OP_MULTI_GET]++;
    assert_int_equal(hf_scan_page(c, NULL, NULL, NULL), HF_OK);
    assert_int_equal(hf_scan_new(c, NULL, NULL, &scan), HF_OK);
    while (hf_scan_next(scan, &item) == 1)
        continue;
    hf_scan_free(scan);
    want[HF_OP_SCAN] += 2;
    assert_int_equal(hf_batch_new(&batch), HF_OK);
    assert_int_equal(hf_batch_put(batch, k, v, NULL), HF_OK);
    assert_int_equal(hf_batch_commit(c, batch, NULL, NULL), HF_OK);
    hf_batch_free(batch);
    want[HF_OP_BATCH]++;
    assert_int_equal(hf_delete(c, k, NULL, NULL, NULL), HF_OK);
    want[HF_OP_DELETE]++;
    assert_int_equal(hf_delete_range(c, NULL, NULL, NULL), HF_OK);
    want[HF_OP_DELETE_RANGE]++;
    assert_int_equal(hf_status(c, NULL, NULL, NULL), HF_OK);
    want[HF_OP_CLUSTER]++;
    assert_int_equal(hf_get(c, hf_str(""), NULL, NULL), HF_ERR_INVALID); /* was never accepted */
    for (int kind = 0; kind < HF_OP_KINDS; kind++)
        assert_int_equal(count_of(c, kind), want[kind]);
    assert_int_equal(stats_of(c, HF_OP_GET).errors, 1);
    assert_int_equal(stats_of(c, HF_OP_GET).by_code[-HF_ERR_NOT_FOUND], 1);
    assert_int_equal(stats_of(c, HF_OP_CAS).by_code[-HF_ERR_CONDITION_FAILED], 1);
    lib_stores_finish(&f);
}

static void late_set(void *data)
{
    struct lib_stores *f = data;
    for (uint32_t i = 0; i < f->cluster.store_count; i++)
        f->cluster.stores[i]->busy_ms = LATE_MS;
}

/* Latencies are those of the calls: the slow ones are at the top, and there are as many. */
static void test_latencies(void **state)
{
    (void)state;
    struct lib_stores f;
    lib_stores_start(&f);
    assert_int_equal(env_uv_post(f.env, late_set, &f), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, NULL, NULL), HF_OK);
    uint64_t quick = stats_of(f.client, HF_OP_PUT).latency_us_p50;
    for (int i = 0; i < MANY / 50; i++) {
        lib_stores_mood(&f, FAKE_LATE, 1);
        assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, NULL, NULL), HF_OK);
    }
    struct hf_op_stats s = stats_of(f.client, HF_OP_PUT);
    assert_int_equal(s.count, MANY + MANY / 50);
    assert_true(s.latency_us_max >= LATE_MS * 1000);
    assert_true(s.latency_us_p999 >= LATE_MS * 1000 && s.latency_us_p99 >= LATE_MS * 1000);
    assert_true(s.latency_us_p50 <= MAX(4 * quick, UINT64_C(1000) * LATE_MS - 1));
    lib_stores_finish(&f);
}

static void test_errors_that_are_ours(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_call call;
    lib_stores_start(&f);
    hf_call_init(&call);
    call.timeout_ms = 50;
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, NULL, NULL), HF_OK);
    lib_stores_mood(&f, FAKE_SWALLOW, 0);
    int rv = hf_put(f.client, hf_str("k"), hf_str("v"), NULL, &call, NULL);
    assert_int_equal(rv, HF_ERR_UNDETERMINED);
    struct hf_op_stats s = stats_of(f.client, HF_OP_PUT);
    assert_int_equal(s.by_code[-HF_ERR_UNDETERMINED], 1);
    assert_true(s.latency_us_max >= 50 * 1000); /* with what it waited */
    lib_stores_finish(&f);
}

/* A store that is newer may say what is not known here: it is counted, and passed on. */
static void test_code_that_is_not_known(void **state)
{
    (void)state;
    struct lib_stores f;
    lib_stores_start(&f);
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, NULL, NULL), HF_OK);
    lib_stores_mood(&f, FAKE_STRANGE, 1);
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, NULL, NULL), -77);
    struct hf_op_stats s = stats_of(f.client, HF_OP_PUT);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.by_code[31], 1);
    assert_string_equal(hf_code_name(-31), hf_code_name(-77));
    lib_stores_finish(&f);
}

static void test_arguments(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_op_stats s = {.size = sizeof s};
    lib_stores_start(&f);
    assert_int_equal(hf_client_op_stats(f.client, -1, &s), HF_ERR_INVALID);
    assert_int_equal(hf_client_op_stats(f.client, HF_OP_KINDS, &s), HF_ERR_INVALID);
    assert_int_equal(hf_client_op_stats(f.client, 0, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_client_op_stats(NULL, 0, &s), HF_ERR_INVALID);
    assert_int_equal(hf_get(f.client, hf_str("k"), NULL, NULL), HF_ERR_NOT_FOUND);
    struct { /* by a program of before, which knows less */
        size_t size;
        uint64_t count;
        uint64_t behind;
    } old = {.size = sizeof(size_t) + sizeof(uint64_t), .behind = 77};
    assert_int_equal(hf_client_op_stats(f.client, HF_OP_GET, (struct hf_op_stats *)&old), HF_OK);
    assert_true(old.count == 1 && old.behind == 77);
    lib_stores_finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_latencies),
        cmocka_unit_test(test_errors_that_are_ours),
        cmocka_unit_test(test_code_that_is_not_known),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
