/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are refused before anything is sent: each says so in words, and leaves nothing in
 * *ret_result that was there before. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "holdfast.h"
#include "support/lib_stores.h"

/* ---- every blocking call ------------------------------------------------------------------ */

typedef int (*blocking)(struct hf_client *client, const struct hf_call *call,
                        struct hf_result **ret_result);

#define BLOCKING(name, ...)                                                                        \
    static int call_##name(struct hf_client *client, const struct hf_call *call,                   \
                           struct hf_result **ret_result)                                          \
    {                                                                                              \
        return hf_##name(__VA_ARGS__, call, ret_result);                                           \
    }

static const struct hf_bytes key = {"k", 1};
static const struct hf_bytes value = {"v", 1};
static const uint64_t ids[] = {1};
static const struct hf_split split = {sizeof split, 2, 1, 1, {"m", 1}, 9, 1, ids, ids};
static const struct hf_merge merge = {sizeof merge, 2, 1, 1, 3, 1, 1};
static const struct hf_placement_ask question = {.size = sizeof question,
                                                 .verb = HF_PLACEMENT_STATUS};

BLOCKING(get, client, key)
BLOCKING(multi_get, client, &key, 1)
BLOCKING(put, client, key, value, NULL)
BLOCKING(delete, client, key, NULL)
BLOCKING(cas, client, key, value, value)
BLOCKING(cas_version, client, key, 1, value)
BLOCKING(put_if_absent, client, key, value)
BLOCKING(put_if_present, client, key, value)
BLOCKING(increment, client, key, 1, NULL)
BLOCKING(append, client, key, value, NULL)
BLOCKING(get_and_set, client, key, value, NULL)
BLOCKING(resolve, client, key)
BLOCKING(batch_commit, client, NULL)
BLOCKING(scan_page, client, NULL)
BLOCKING(delete_range, client, NULL)
BLOCKING(keyspace_open, client, "users")
BLOCKING(status, client, NULL)
BLOCKING(range_status, client, NULL, 0, key)
BLOCKING(identify, client, NULL)
BLOCKING(stats, client, NULL)
BLOCKING(transfer_leader, client, 0)
BLOCKING(range_split, client, &split)
BLOCKING(range_merge, client, &merge)
BLOCKING(flush, client, NULL)
BLOCKING(check_start, client, 0)
BLOCKING(check_result, client, "h:1", 2, 9)
BLOCKING(placement, client, &question)

static const struct {
    const char *name;
    blocking run;
} calls[] = {
    {"get", call_get},
    {"multi_get", call_multi_get},
    {"put", call_put},
    {"delete", call_delete},
    {"cas", call_cas},
    {"cas_version", call_cas_version},
    {"put_if_absent", call_put_if_absent},
    {"put_if_present", call_put_if_present},
    {"increment", call_increment},
    {"append", call_append},
    {"get_and_set", call_get_and_set},
    {"resolve", call_resolve},
    {"batch_commit", call_batch_commit},
    {"scan_page", call_scan_page},
    {"delete_range", call_delete_range},
    {"keyspace_open", call_keyspace_open},
    {"status", call_status},
    {"range_status", call_range_status},
    {"identify", call_identify},
    {"stats", call_stats},
    {"transfer_leader", call_transfer_leader},
    {"range_split", call_range_split},
    {"range_merge", call_range_merge},
    {"flush", call_flush},
    {"check_start", call_check_start},
    {"check_result", call_check_result},
    {"placement", call_placement},
};

/* One that somebody freed: whoever frees what a refused call left there frees it twice. */
static struct hf_result *freed(struct lib_stores *f)
{
    struct hf_result *result = NULL;
    assert_int_equal(hf_status(f->client, NULL, NULL, &result), HF_OK);
    hf_result_free(result);
    return result;
}

static void want_refused(const char *name, int code, int want, struct hf_result *result,
                         const struct hf_result *before)
{
    if (code != want)
        fail_msg("%s: %d, want %d", name, code, want);
    if (result == NULL || result == before)
        fail_msg("%s: *ret_result was not written", name);
    assert_int_equal(result->code, want);
    if (result->message[0] == 0 || result->count != 0 || result->token.len != 0)
        fail_msg("%s: '%s'", name, result->message);
    hf_result_free(result);
}

static void test_results(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_call bad;
    lib_stores_start(&f);
    memset(&bad, 0, sizeof bad); /* without a size */
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        struct hf_result *before = freed(&f), *result = before;
        int code = calls[i].run(f.client, &bad, &result);
        want_refused(calls[i].name, code, HF_ERR_INVALID, result, NULL);
        result = (struct hf_result *)&f; /* of no call */
        code = calls[i].run(NULL, NULL, &result);
        want_refused(calls[i].name, code, HF_ERR_INVALID, result, (struct hf_result *)&f);
        assert_int_equal(calls[i].run(NULL, NULL, NULL), HF_ERR_INVALID);
    }
    lib_stores_finish(&f);
}

struct inside {
    struct lib_stores *f;
    struct env_uv_mutex lock;
    struct env_uv_cond changed;
    bool is_done;
};

/* A blocking call there would wait for itself. */
static void call_all_inside(void *data, int code, struct hf_result *own)
{
    struct inside *inside = data;
    hf_result_free(own);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        struct hf_result *result = (struct hf_result *)inside;
        bool is_of_nothing = calls[i].run == call_resolve || calls[i].run == call_batch_commit;
        code = calls[i].run(inside->f->client, NULL, &result);
        want_refused(calls[i].name, code, is_of_nothing ? HF_ERR_INVALID : HF_ERR_STATE, result,
                     (struct hf_result *)inside);
    }
    env_uv_mutex_lock(&inside->lock);
    inside->is_done = true;
    env_uv_cond_signal(&inside->changed);
    env_uv_mutex_unlock(&inside->lock);
}

static void test_results_inside_a_callback(void **state)
{
    (void)state;
    struct lib_stores f;
    struct inside inside = {.f = &f};
    const struct hf_then then = {.callback = call_all_inside, .data = &inside};
    lib_stores_start(&f);
    env_uv_mutex_init(&inside.lock);
    env_uv_cond_init(&inside.changed);
    assert_int_equal(hf_get_async(f.client, key, NULL, &then), HF_OK);
    env_uv_mutex_lock(&inside.lock);
    while (!inside.is_done)
        env_uv_cond_wait(&inside.changed, &inside.lock);
    env_uv_mutex_unlock(&inside.lock);
    env_uv_cond_fini(&inside.changed);
    env_uv_mutex_fini(&inside.lock);
    lib_stores_finish(&f);
}

/* Also where a bound of the client's was met, and where a queue has nothing. */
static void test_results_of_the_busy(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_options options;
    struct hf_queue *queue;
    struct hf_result *result = (struct hf_result *)&f;
    int code = 0;
    lib_stores_run(&f, 0);
    hf_options_init(&options);
    options.in_flight_max = 1;
    lib_stores_open(&f, &options);
    assert_int_equal(hf_queue_new(f.client, &queue), HF_OK);
    assert_int_equal(hf_queue_poll(queue, NULL, &code, &result), 0);
    assert_null(result);
    result = (struct hf_result *)&f;
    assert_int_equal(hf_queue_wait(queue, 1, NULL, &code, &result), 0);
    assert_null(result);
    const struct hf_then then = {.queue = queue};
    lib_stores_mood(&f, FAKE_SWALLOW, 0);
    assert_int_equal(hf_get_async(f.client, key, NULL, &then), HF_OK);
    result = (struct hf_result *)&f;
    code = hf_get(f.client, key, NULL, &result);
    want_refused("get", code, HF_ERR_BUSY, result, (struct hf_result *)&f);
    lib_stores_mood(&f, FAKE_SERVE, 0);
    assert_int_equal(hf_queue_wait(queue, 20000, NULL, &code, &result), 1);
    hf_result_free(result);
    assert_int_equal(hf_queue_free(queue), HF_OK);
    lib_stores_finish(&f);
}

/* ---- why ------------------------------------------------------------------------------------ */

static void want_words(int code, int want, struct hf_result **result, const char *words)
{
    assert_int_equal(code, want);
    if (strstr((*result)->message, words) == NULL)
        fail_msg("'%s' has no '%s'", (*result)->message, words);
    hf_result_free(*result);
    *result = NULL;
}

static void test_words_of_changes(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_change how;
    struct hf_result *r = NULL;
    static uint8_t large[(8 << 20) + 1];
    lib_stores_start(&f);
    hf_change_init(&how);
    how.keep_ttl = 1;
    how.ttl_ms = 1000;
    want_words(hf_put(f.client, key, value, &how, NULL, &r), HF_ERR_INVALID, &r, "one of the two");
    hf_change_init(&how);
    how.ttl_ms = UINT64_C(36600) * 24 * 3600 * 1000;
    assert_int_equal(hf_put(f.client, key, value, &how, NULL, NULL), HF_OK);
    how.ttl_ms++;
    want_words(hf_put(f.client, key, value, &how, NULL, &r), HF_ERR_TOO_LARGE, &r, "(36600 days)");
    want_words(hf_delete(f.client, key, &how, NULL, &r), HF_ERR_INVALID, &r, "TTL");
    want_words(hf_put(f.client, hf_bytes(large, 4097), value, NULL, NULL, &r), HF_ERR_TOO_LARGE, &r,
               "a key of 4097 bytes, limit 4096");
    want_words(hf_get(f.client, hf_bytes(large, 4097), NULL, &r), HF_ERR_TOO_LARGE, &r,
               "a key of 4097 bytes, limit 4096");
    want_words(hf_put(f.client, key, hf_bytes(large, sizeof large), NULL, NULL, &r),
               HF_ERR_TOO_LARGE, &r, "a value of 8388609 bytes, limit 8388608");
    want_words(hf_put(f.client, hf_str(""), value, NULL, NULL, &r), HF_ERR_INVALID, &r, "empty");
    want_words(hf_put(f.client, key, hf_bytes(NULL, 5), NULL, NULL, &r), HF_ERR_INVALID, &r,
               "the value: 5 bytes at NULL");
    memset(&how, 0, sizeof how);
    want_words(hf_put(f.client, key, value, &how, NULL, &r), HF_ERR_INVALID, &r,
               "hf_change_init()");
    want_words(hf_resolve(f.client, value, NULL, &r), HF_ERR_INVALID, &r, "a digit is wrong");
    lib_stores_finish(&f);
}

static void test_words_of_reads(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_call call;
    struct hf_span span;
    struct hf_result *r = NULL;
    lib_stores_start(&f);
    hf_call_init(&call);
    call.at_version = 7;
    want_words(hf_get(f.client, key, &call, &r), HF_ERR_INVALID, &r, "HF_AT");
    hf_call_init(&call);
    call.consistency = HF_STALE;
    want_words(hf_get(f.client, key, &call, &r), HF_ERR_INVALID, &r, "max_age_ms");
    hf_call_init(&call);
    call.keyspace = 70000;
    want_words(hf_get(f.client, key, &call, &r), HF_ERR_INVALID, &r, "hf_keyspace_open()");
    want_words(hf_put(f.client, key, value, NULL, &call, &r), HF_ERR_INVALID, &r, "keyspace 70000");
    call.keyspace = UINT32_C(3000000000);
    want_words(hf_put(f.client, key, value, NULL, &call, &r), HF_ERR_INVALID, &r, "cluster's own");
    want_words(hf_multi_get(f.client, &key, 10001, NULL, &r), HF_ERR_TOO_LARGE, &r, "limit 10000");
    hf_span_init(&span);
    span.cursor = hf_str("rubbish");
    want_words(hf_scan_page(f.client, &span, NULL, &r), HF_ERR_CORRUPT, &r, "cursor");
    hf_span_init(&span);
    span.start = hf_str("m");
    span.end = hf_str("a");
    want_words(hf_delete_range(f.client, &span, NULL, &r), HF_ERR_INVALID, &r, "before it starts");
    lib_stores_finish(&f);
}

static void test_words_of_a_batch(void **state)
{
    (void)state;
    struct hf_batch *batch;
    struct hf_change how;
    static uint8_t large[8 << 20];
    assert_int_equal(hf_batch_new(&batch), HF_OK);
    assert_string_equal(hf_batch_message(batch), "");
    assert_int_equal(hf_batch_put(batch, hf_bytes(large, 4097), value, NULL), HF_ERR_TOO_LARGE);
    assert_string_equal(hf_batch_message(batch), "a key of 4097 bytes, limit 4096");
    assert_int_equal(hf_batch_put(batch, key, value, NULL), HF_OK);
    assert_string_equal(hf_batch_message(batch), "");
    assert_int_equal(hf_batch_check(batch, key, NULL), HF_ERR_INVALID);
    assert_string_equal(hf_batch_message(batch), "a check of nothing");
    hf_change_init(&how);
    how.condition = 77;
    assert_int_equal(hf_batch_delete(batch, key, &how), HF_ERR_INVALID);
    assert_string_equal(hf_batch_message(batch), "there is no condition 77");
    assert_int_equal(hf_batch_put(batch, key, hf_bytes(large, sizeof large), NULL), HF_OK);
    assert_int_equal(hf_batch_put(batch, key, hf_bytes(large, sizeof large), NULL),
                     HF_ERR_TOO_LARGE);
    assert_non_null(strstr(hf_batch_message(batch), "a batch has at most"));
    assert_int_equal(hf_batch_count(batch), 2);
    hf_batch_clear(batch);
    assert_string_equal(hf_batch_message(batch), "");
    hf_batch_free(batch);
}

/* A client remembers so many keyspaces, and none that it knew is lost when there is one more. */
static void test_words_of_keyspaces(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_call call;
    struct hf_result *r = NULL;
    char name[16];
    lib_stores_start(&f);
    want_words(hf_keyspace_open(f.client, "No Body", NULL, &r), HF_ERR_INVALID, &r, "a-z, 0-9");
    for (int i = 0; i < 1024; i++) {
        snprintf(name, sizeof name, "ks%d", i);
        assert_int_equal(hf_keyspace_open(f.client, name, NULL, NULL), HF_OK);
    }
    want_words(hf_keyspace_open(f.client, "ks1024", NULL, &r), HF_ERR_STATE, &r, "1,024 keyspaces");
    assert_int_equal(hf_keyspace_open(f.client, "ks7", NULL, NULL), HF_OK);
    hf_call_init(&call);
    call.keyspace = 65536 + 1023;
    assert_int_equal(hf_put(f.client, key, value, NULL, &call, NULL), HF_OK);
    call.keyspace++;
    want_words(hf_put(f.client, key, value, NULL, &call, &r), HF_ERR_INVALID, &r, "has a name");
    lib_stores_finish(&f);
}

/* ---- no handle --------------------------------------------------------------------------------
 */

static void test_null_handles(void **state)
{
    (void)state;
    struct hf_item item;
    struct hf_bytes bytes;
    struct hf_span span;
    struct hf_watch_batch *batch = NULL;
    struct hf_client_stats stats = {.size = sizeof stats, .done = 7};
    struct hf_op_stats op_stats = {.size = sizeof op_stats};
    struct hf_result *result = NULL;
    uint32_t keyspace = 9;
    assert_int_equal(hf_batch_new(NULL), HF_ERR_INVALID);
    assert_int_equal(hf_batch_put(NULL, key, value, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_batch_delete(NULL, key, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_batch_increment(NULL, key, 1, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_batch_append(NULL, key, value, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_batch_get_and_set(NULL, key, value, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_batch_check(NULL, key, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_batch_count(NULL), 0);
    assert_string_equal(hf_batch_message(NULL), "");
    hf_batch_clear(NULL);
    hf_batch_free(NULL);
    assert_int_equal(hf_queue_new(NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_queue_fd(NULL), HF_ERR_INVALID);
    assert_int_equal(hf_queue_poll(NULL, NULL, NULL, &result), HF_ERR_INVALID);
    assert_int_equal(hf_queue_wait(NULL, 1, NULL, NULL, &result), HF_ERR_INVALID);
    assert_int_equal(hf_queue_free(NULL), HF_OK);
    assert_int_equal(hf_scan_new(NULL, NULL, NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_scan_next(NULL, &item), HF_ERR_INVALID);
    assert_int_equal(hf_scan_cursor(NULL, &bytes), HF_ERR_INVALID);
    assert_int_equal(hf_scan_renew(NULL), HF_ERR_INVALID);
    assert_int_equal(hf_scan_version(NULL), 0);
    assert_string_equal(hf_scan_message(NULL), "");
    hf_scan_span(NULL, &span, &keyspace);
    assert_true(span.size == sizeof span && span.start.len == 0 && keyspace == 0);
    hf_scan_free(NULL);
    assert_int_equal(hf_watch_open(NULL, NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_watch_next(NULL, 1, &batch), HF_ERR_INVALID);
    assert_int_equal(hf_watch_token(NULL, &bytes), HF_ERR_INVALID);
    assert_int_equal(hf_watch_trouble(NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_watch_fd(NULL), HF_ERR_INVALID);
    assert_int_equal(hf_watch_oldest(NULL), 0);
    assert_string_equal(hf_watch_message(NULL), "");
    assert_int_equal(hf_watch_close(NULL), HF_OK);
    hf_client_stats(NULL, &stats);
    assert_true(stats.size == sizeof stats && stats.done == 0);
    hf_client_stats(NULL, NULL);
    assert_int_equal(hf_client_op_stats(NULL, HF_OP_GET, &op_stats), HF_ERR_INVALID);
    assert_int_equal(hf_close(NULL), HF_OK);
    hf_result_free(NULL);
    hf_watch_batch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_results_inside_a_callback),
        cmocka_unit_test(test_results_of_the_busy),
        cmocka_unit_test(test_words_of_changes),
        cmocka_unit_test(test_words_of_reads),
        cmocka_unit_test(test_words_of_a_batch),
        cmocka_unit_test(test_words_of_keyspaces),
        cmocka_unit_test(test_null_handles),
    };
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
