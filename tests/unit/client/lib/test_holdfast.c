/* SPDX-License-Identifier: Apache-2.0 */
/* The public interface against fake stores on loopback, in the real world. */
#include "support/check.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "client/change_token.h"
#include "client/sealed.h"
#include "holdfast.h"
#include "support/lib_stores.h"

static void want_value(struct lib_stores *f, const char *key, const char *want)
{
    struct hf_result *result = NULL;
    int code = hf_get(f->client, hf_str(key), NULL, &result);
    if (want == NULL) {
        assert_int_equal(code, HF_ERR_NOT_FOUND);
    } else {
        assert_int_equal(code, HF_OK);
        assert_int_equal(result->count, 1);
        assert_int_equal(result->items[0].value.len, strlen(want));
        assert_memory_equal(result->items[0].value.data, want, strlen(want));
        assert_memory_equal(result->items[0].key.data, key, strlen(key));
    }
    hf_result_free(result);
}

/* ---- one call after another ----------------------------------------------------------- */

static void test_changes(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_result *r = NULL;
    lib_stores_start(&f);
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("one"), NULL, NULL, &r), HF_OK);
    assert_true(r->version > 0 && r->count == 1 && r->items[0].version == r->version);
    assert_string_equal(r->message, "");
    uint64_t version = r->version;
    hf_result_free(r);
    want_value(&f, "k", "one");
    assert_int_equal(hf_cas_version(f.client, hf_str("k"), version, hf_str("two"), NULL, NULL),
                     HF_OK);
    want_value(&f, "k", "two");
    assert_int_equal(hf_cas(f.client, hf_str("k"), hf_str("two"), hf_str("three"), NULL, NULL),
                     HF_OK);
    assert_int_equal(hf_put_if_present(f.client, hf_str("k"), hf_str("four"), NULL, NULL), HF_OK);
    assert_int_equal(hf_put_if_absent(f.client, hf_str("m"), hf_str("new"), NULL, NULL), HF_OK);
    assert_int_equal(hf_cas_version(f.client, hf_str("z"), 0, hf_str("born"), NULL, NULL), HF_OK);
    assert_int_equal(hf_append(f.client, hf_str("m"), hf_str("er"), NULL, NULL, NULL), HF_OK);
    want_value(&f, "m", "newer");
    r = NULL;
    assert_int_equal(hf_get_and_set(f.client, hf_str("k"), hf_str("five"), NULL, NULL, &r), HF_OK);
    assert_true(r->items[0].has_value);
    assert_memory_equal(r->items[0].value.data, "four", 4);
    hf_result_free(r);
    assert_int_equal(hf_increment(f.client, hf_str("n"), 5, NULL, NULL, NULL), HF_OK);
    r = NULL;
    assert_int_equal(hf_increment(f.client, hf_str("n"), -7, NULL, NULL, &r), HF_OK);
    assert_int_equal(r->items[0].number, -2);
    hf_result_free(r);
    assert_int_equal(hf_delete(f.client, hf_str("k"), NULL, NULL, NULL), HF_OK);
    want_value(&f, "k", NULL);
    lib_stores_finish(&f);
}

/* A call stands in the memory of one that is over: nothing of that one is left in it. */
static void test_calls_have_nothing_of_those_before(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_result *r = NULL;
    struct hf_call options;
    struct hf_span span;
    static char large[5000];
    memset(large, 'x', sizeof large - 1);
    lib_stores_start(&f);
    hf_span_init(&span);
    span.start = hf_str("large");
    span.end = hf_str("large~");
    hf_call_init(&options);
    options.trace_id = 77;
    options.timeout_ms = 20000;
    assert_int_equal(hf_put(f.client, hf_str("large key"), hf_str(large), NULL, &options, &r),
                     HF_OK);
    assert_int_equal(r->trace_id, 77);
    hf_result_free(r);
    r = NULL;
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, NULL, &r), HF_OK);
    assert_int_not_equal(r->trace_id, 77);
    hf_result_free(r);
    want_value(&f, "k", "v");
    want_value(&f, "large key", large);
    assert_int_equal(hf_delete_range(f.client, &span, NULL, NULL), HF_OK);
    want_value(&f, "large key", NULL);
    want_value(&f, "k", "v");
    lib_stores_finish(&f);
}

static void test_failed_condition_tells_the_present(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_result *r = NULL;
    lib_stores_start(&f);
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("one"), NULL, NULL, NULL), HF_OK);
    assert_int_equal(hf_cas(f.client, hf_str("k"), hf_str("no"), hf_str("x"), NULL, &r),
                     HF_ERR_CONDITION_FAILED);
    assert_int_equal(r->code, HF_ERR_CONDITION_FAILED);
    assert_int_equal(r->count, 1);
    assert_true(r->items[0].has_value && r->items[0].version > 0);
    assert_memory_equal(r->items[0].value.data, "one", 3);
    hf_result_free(r);
    r = NULL;
    assert_int_equal(hf_put_if_present(f.client, hf_str("q"), hf_str("x"), NULL, &r),
                     HF_ERR_CONDITION_FAILED);
    assert_false(r->items[0].has_value);
    assert_int_equal(r->items[0].version, 0);
    hf_result_free(r);
    lib_stores_finish(&f);
}

static void test_batch(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_batch *batch;
    struct hf_result *r = NULL;
    struct hf_change present;
    lib_stores_start(&f);
    assert_int_equal(hf_batch_new(&batch), HF_OK);
    assert_int_equal(hf_batch_commit(f.client, batch, NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_batch_put(batch, hf_str("a"), hf_str("1"), NULL), HF_OK);
    assert_int_equal(hf_batch_increment(batch, hf_str("n"), 3, NULL), HF_OK);
    assert_int_equal(hf_batch_put(batch, hf_str(""), hf_str("1"), NULL), HF_ERR_INVALID);
    assert_int_equal(hf_batch_check(batch, hf_str("a"), NULL), HF_ERR_INVALID);
    assert_int_equal(hf_batch_count(batch), 2);
    assert_int_equal(hf_batch_commit(f.client, batch, NULL, &r), HF_OK);
    assert_int_equal(r->count, 2);
    assert_int_equal(r->items[1].number, 3);
    assert_true(r->items[0].version == r->version && r->items[1].version == r->version);
    hf_result_free(r);

    hf_change_init(&present);
    present.condition = HF_IF_PRESENT;
    hf_batch_clear(batch);
    r = NULL;
    assert_int_equal(hf_batch_delete(batch, hf_str("a"), NULL), HF_OK);
    assert_int_equal(hf_batch_check(batch, hf_str("missing"), &present), HF_OK);
    assert_int_equal(hf_batch_commit(f.client, batch, NULL, &r), HF_ERR_CONDITION_FAILED);
    assert_int_equal(r->failed_op, 1);
    hf_result_free(r);
    want_value(&f, "a", "1"); /* nothing of it was done */
    hf_batch_free(batch);
    lib_stores_finish(&f);
}

static void test_batch_bounds(void **state)
{
    (void)state;
    struct hf_batch *batch;
    static uint8_t large[8 << 20];
    assert_int_equal(hf_batch_new(&batch), HF_OK);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(hf_batch_delete(batch, hf_str("k"), NULL), HF_OK);
    assert_int_equal(hf_batch_delete(batch, hf_str("k"), NULL), HF_ERR_TOO_LARGE);
    hf_batch_clear(batch);
    assert_int_equal(hf_batch_put(batch, hf_str("k"), hf_bytes(large, sizeof large), NULL), HF_OK);
    assert_int_equal(hf_batch_put(batch, hf_str("k"), hf_bytes(large, sizeof large), NULL),
                     HF_ERR_TOO_LARGE);
    assert_int_equal(hf_batch_count(batch), 1);
    assert_int_equal(hf_batch_put(batch, hf_str("k"), hf_bytes(large, sizeof large + 1), NULL),
                     HF_ERR_TOO_LARGE);
    assert_int_equal(hf_batch_put(batch, hf_str("small"), hf_str("v"), NULL), HF_OK);
    hf_batch_free(batch);
}

static void test_multi_get_and_scan(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_result *r = NULL;
    lib_stores_start_filled(&f);
    assert_int_equal(hf_put(f.client, hf_str("l"), hf_str("other"), NULL, NULL, NULL), HF_OK);
    struct hf_bytes keys[] = {hf_str("k03"), hf_str("none"), hf_str("l")};
    assert_int_equal(hf_multi_get(f.client, keys, 3, NULL, &r), HF_OK);
    assert_int_equal(r->count, 3);
    assert_int_equal(r->items[1].status, HF_ERR_NOT_FOUND);
    assert_memory_equal(r->items[2].value.data, "other", 5);
    assert_memory_equal(r->items[0].key.data, "k03", 3);
    hf_result_free(r);
    for (int reverse = 0; reverse < 2; reverse++) {
        struct hf_span span;
        struct hf_scan *scan;
        struct hf_item item;
        hf_span_init(&span);
        span.prefix = hf_str("k");
        span.limit_keys = 10; /* three pages */
        span.reverse = reverse;
        assert_int_equal(hf_scan_new(f.client, &span, NULL, &scan), HF_OK);
        for (int i = 0; i < 25; i++) {
            char want[16];
            snprintf(want, sizeof want, "k%02d", reverse ? 24 - i : i);
            assert_int_equal(hf_scan_next(scan, &item), 1);
            assert_int_equal(item.key.len, 3);
            assert_memory_equal(item.key.data, want, 3);
            assert_memory_equal(item.value.data, want, 3);
        }
        assert_int_equal(hf_scan_next(scan, &item), 0);
        assert_int_equal(hf_scan_next(scan, &item), 0);
        assert_true(hf_scan_version(scan) > 0);
        hf_scan_free(scan);
    }
    r = NULL;
    assert_int_equal(hf_scan_page(f.client, NULL, NULL, &r), HF_OK);
    assert_int_equal(r->count, 26);
    hf_result_free(r);
    lib_stores_finish(&f);
}

static void test_delete_range(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_result *r = NULL;
    struct hf_span span;
    uint8_t cursor[16];
    uint64_t deleted = 0;
    struct hf_queue *queue;
    void *data;
    int code;
    lib_stores_start_filled(&f);
    hf_span_init(&span);
    span.start = hf_str("k05");
    span.end = hf_str("k20");
    span.limit_keys = 6;
    for (int steps = 1; steps <= 3; steps++) {
        assert_int_equal(hf_delete_range(f.client, &span, NULL, &r), HF_OK);
        assert_true(r->version > 0 && r->count == 0);
        assert_int_equal(r->has_more, steps < 3);
        assert_true(r->cursor.len <= sizeof cursor);
        memcpy(cursor, r->cursor.data, r->cursor.len);
        if (steps == 1) /* one way to go on, and the other */
            span.start = hf_bytes(cursor, r->cursor.len);
        else
            span.cursor = hf_bytes(cursor, r->cursor.len);
        deleted += r->deleted;
        hf_result_free(r);
    }
    assert_int_equal(deleted, 15);
    hf_span_init(&span);
    assert_int_equal(hf_queue_new(f.client, &queue), HF_OK);
    struct hf_then then = {.queue = queue, .data = &span};
    assert_int_equal(hf_delete_range_async(f.client, &span, NULL, &then), HF_OK);
    assert_int_equal(hf_queue_wait(queue, 20000, &data, &code, &r), 1);
    assert_true(data == &span && code == HF_OK);
    assert_int_equal(r->deleted, 10);
    hf_result_free(r);
    assert_int_equal(hf_queue_free(queue), HF_OK);
    span.reverse = 1;
    assert_int_equal(hf_delete_range(f.client, &span, NULL, NULL), HF_ERR_INVALID);
    hf_span_init(&span);
    span.start = hf_str("b");
    span.cursor = hf_str("a");
    assert_int_equal(hf_delete_range(f.client, &span, NULL, NULL), HF_ERR_INVALID);
    span.cursor = hf_str("c");
    assert_int_equal(hf_delete_range(f.client, &span, NULL, NULL), HF_OK);
    assert_int_equal(hf_scan_page(f.client, &span, NULL, NULL), HF_ERR_CORRUPT);
    hf_span_init(&span);
    span.start = hf_str("b");
    span.end = hf_str("a");
    assert_int_equal(hf_delete_range(f.client, &span, NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_delete_range_async(f.client, NULL, NULL, NULL), HF_ERR_INVALID);
    lib_stores_finish(&f);
}

static void test_cluster_calls(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_result *r = NULL;
    lib_stores_start(&f);
    assert_int_equal(hf_status(f.client, NULL, NULL, &r), HF_OK);
    assert_non_null(r->info);
    assert_int_equal(r->info->cluster_id, FAKE_CLUSTER_ID);
    assert_int_equal(r->info->member_count, LIB_STORES);
    assert_int_equal(r->info->leader_replica_id, 2);
    assert_string_equal(r->info->leader_address, r->info->members[1].address);
    assert_int_equal(r->info->stat_count, 2);
    assert_string_equal(r->info->stats[0].name, "applied");
    assert_non_null(r->info->stats[1].text);
    const char *third = r->info->members[2].address;
    struct hf_result *identity = NULL;
    assert_int_equal(hf_identify(f.client, third, NULL, &identity), HF_OK);
    assert_int_equal(identity->info->store_id, 3);
    assert_int_equal(hf_transfer_leader(f.client, 3, NULL, NULL), HF_OK);
    assert_int_equal(hf_flush(f.client, third, NULL, NULL), HF_OK);
    assert_int_equal(hf_status(f.client, "127.0.0.1:1", NULL, NULL), HF_ERR_UNAVAILABLE);
    hf_result_free(identity);
    hf_result_free(r);
    lib_stores_finish(&f);
}

static void test_range_check(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_result *r = NULL;
    lib_stores_start(&f);
    assert_int_equal(hf_status(f.client, NULL, NULL, &r), HF_OK);
    struct hf_result *started = NULL;
    struct hf_result *done = NULL;
    assert_int_equal(hf_check_start(f.client, 0, NULL, &started), HF_OK); /* the leader's */
    assert_int_equal(started->check->replica_id, 2);
    assert_int_equal(started->check->state, HF_CHECK_STARTED);
    assert_int_equal(started->check->index, 7);
    assert_string_equal(started->check->why, "");
    const char *third = r->info->members[2].address;
    assert_int_equal(hf_check_result(f.client, third, 2, 9, NULL, &done), HF_OK);
    const struct hf_check *c = done->check;
    assert_int_equal(c->replica_id, 3);
    assert_int_equal(c->state, HF_CHECK_DONE);
    assert_true(c->index == 9 && c->keys == 2 && c->sum[0] == 2 && c->sum[1] == 3);
    assert_string_equal(c->why, "no reason");
    assert_int_equal(c->part_count, 2);
    assert_int_equal(c->parts[0].keyspace, 256);
    assert_true(!c->parts[0].is_last && c->parts[0].last.len == 1 && c->parts[0].sum[0] == 1);
    assert_memory_equal(c->parts[0].last.data, "m", 1);
    assert_true(c->parts[1].is_last && c->parts[1].last.len == 0);
    assert_int_equal(hf_check_result(f.client, NULL, 2, 9, NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_check_result(f.client, third, 2, 0, NULL, NULL), HF_ERR_INVALID);
    hf_result_free(started);
    hf_result_free(done);
    hf_result_free(r);
    lib_stores_finish(&f);
}

/* ---- what cannot be right ------------------------------------------------------------------ */

static void on_never(void *data, int code, struct hf_result *result)
{
    (void)data;
    hf_result_free(result);
    fail_msg("called with %d", code);
}

static void test_arguments(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_call call;
    struct hf_change change;
    struct hf_then nowhere = {0};
    static uint8_t large[4097];
    lib_stores_start(&f);
    assert_int_equal(hf_get(f.client, hf_str(""), NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_get(f.client, hf_bytes(large, 4097), NULL, NULL), HF_ERR_TOO_LARGE);
    assert_int_equal(hf_get(f.client, hf_bytes(large, 4096), NULL, NULL), HF_ERR_NOT_FOUND);
    assert_int_equal(hf_get(f.client, hf_bytes(NULL, 5), NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_get_async(f.client, hf_str("k"), NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_get_async(f.client, hf_str("k"), NULL, &nowhere), HF_ERR_INVALID);
    struct hf_then newer = {.callback = on_never, .reserved = {0, 1}};
    assert_int_equal(hf_get_async(f.client, hf_str("k"), NULL, &newer), HF_ERR_INVALID);
    struct hf_split split = {.range_id = 2, .span_epoch = 1}; /* no size */
    assert_int_equal(hf_range_split(f.client, &split, NULL, NULL), HF_ERR_INVALID);
    struct hf_merge merge = {.range_id = 2, .span_epoch = 1, .right_range_id = 3};
    assert_int_equal(hf_range_merge(f.client, &merge, NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_bytes(NULL, 5), NULL, NULL, NULL),
                     HF_ERR_INVALID);
    assert_int_equal(hf_multi_get(f.client, NULL, 0, NULL, NULL), HF_ERR_INVALID);
    memset(&call, 0, sizeof call); /* not initialised: no size */
    assert_int_equal(hf_get(f.client, hf_str("k"), &call, NULL), HF_ERR_INVALID);
    hf_call_init(&call);
    call.consistency = 9;
    assert_int_equal(hf_get(f.client, hf_str("k"), &call, NULL), HF_ERR_INVALID);
    call.consistency = HF_AT; /* at which? */
    assert_int_equal(hf_get(f.client, hf_str("k"), &call, NULL), HF_ERR_INVALID);
    call.consistency = HF_STALE; /* how old? */
    assert_int_equal(hf_get(f.client, hf_str("k"), &call, NULL), HF_ERR_INVALID);
    call.consistency = HF_LEASE;
    call.max_age_ms = 10;
    assert_int_equal(hf_get(f.client, hf_str("k"), &call, NULL), HF_ERR_INVALID);
    hf_change_init(&change);
    change.condition = 99;
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), &change, NULL, NULL),
                     HF_ERR_INVALID);
    hf_change_init(&change);
    change.ttl_ms = 5;
    assert_int_equal(hf_delete(f.client, hf_str("k"), &change, NULL, NULL), HF_ERR_INVALID);
    lib_stores_finish(&f);
}

static void test_open_refuses_nonsense(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ",",
                                      "host",
                                      "host:",
                                      ":5",
                                      "host:0",
                                      "host:65536",
                                      "host:12x",
                                      "a:1,,b:2",
                                      "a b:1",
                                      "host:99999999999999"};
    struct hf_options options;
    struct hf_client *client = NULL;
    hf_options_init(&options);
    assert_int_equal(hf_open(&options, &client), HF_ERR_INVALID);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        options.endpoints = bad[i];
        if (hf_open(&options, &client) != HF_ERR_INVALID)
            fail_msg("'%s' was accepted", bad[i]);
    }
    options.endpoints = "host:1";
    options.size = 3;
    assert_int_equal(hf_open(&options, &client), HF_ERR_INVALID);
    assert_null(client);
    assert_int_equal(hf_close(NULL), HF_OK);
}

/* ---- asynchronous -------------------------------------------------------------------------- */

struct tally {
    struct env_uv_mutex lock;
    struct env_uv_cond changed;
    struct hf_client *client;
    int done;   /* guarded */
    int failed; /* guarded */
    int nested; /* guarded: what a blocking call and a close inside a callback said */
    int nested_close;
};

static void tally_init(struct tally *t, struct hf_client *client)
{
    memset(t, 0, sizeof *t);
    t->client = client;
    env_uv_mutex_init(&t->lock);
    env_uv_cond_init(&t->changed);
}

static void tally_wait(struct tally *t, int want)
{
    env_uv_mutex_lock(&t->lock);
    while (t->done < want)
        env_uv_cond_wait(&t->changed, &t->lock);
    env_uv_mutex_unlock(&t->lock);
}

static void tally_fini(struct tally *t)
{
    env_uv_cond_fini(&t->changed);
    env_uv_mutex_fini(&t->lock);
}

static void tally_add(void *data, int code, struct hf_result *result)
{
    struct tally *t = data;
    hf_result_free(result);
    env_uv_mutex_lock(&t->lock);
    t->done++;
    t->failed += code != HF_OK;
    env_uv_cond_signal(&t->changed);
    env_uv_mutex_unlock(&t->lock);
}

/* The first result starts another op, and finds that it must not block. */
static void tally_nested(void *data, int code, struct hf_result *result)
{
    struct tally *t = data;
    struct hf_then then = {.callback = tally_add, .data = t};
    t->nested = hf_get(t->client, hf_str("k"), NULL, NULL);
    t->nested_close = hf_close(t->client);
    if (hf_put_async(t->client, hf_str("k"), hf_str("v"), NULL, NULL, &then) != HF_OK)
        abort();
    tally_add(data, code, result);
}

static void test_callbacks(void **state)
{
    (void)state;
    struct lib_stores f;
    struct tally t;
    lib_stores_start(&f);
    tally_init(&t, f.client);
    struct hf_then then = {.callback = tally_add, .data = &t};
    for (int i = 0; i < 2000; i++)
        assert_int_equal(hf_increment_async(f.client, hf_str("n"), 1, NULL, NULL, &then), HF_OK);
    tally_wait(&t, 2000);
    assert_int_equal(t.failed, 0);
    want_value(&f, "n", "2000");
    then.callback = tally_nested;
    assert_int_equal(hf_put_async(f.client, hf_str("k"), hf_str("v"), NULL, NULL, &then), HF_OK);
    tally_wait(&t, 2002);
    assert_int_equal(t.nested, HF_ERR_STATE);
    assert_int_equal(t.nested_close, HF_ERR_STATE);
    lib_stores_finish(&f);
    tally_fini(&t);
}

/* Each result starts the next call, until CHAIN are done; one that began inside the call that
 * starts it would be counted with the depth of both. */
enum { CHAIN = 500 };

static void tally_next(void *data, int code, struct hf_result *result)
{
    struct tally *t = data;
    struct hf_then then = {.callback = tally_next, .data = t};
    if (t->nested++ > 0)
        abort();
    if (t->done + 1 < CHAIN &&
        hf_increment_async(t->client, hf_str("n"), 1, NULL, NULL, &then) != HF_OK)
        abort();
    t->nested--;
    tally_add(data, code, result);
}

/* Started on the library's own thread, while others start theirs. */
static void test_callbacks_go_on(void **state)
{
    (void)state;
    struct lib_stores f;
    struct tally chain, others;
    lib_stores_start(&f);
    tally_init(&chain, f.client);
    tally_init(&others, f.client);
    struct hf_then then = {.callback = tally_next, .data = &chain};
    assert_int_equal(hf_increment_async(f.client, hf_str("n"), 1, NULL, NULL, &then), HF_OK);
    then = (struct hf_then){.callback = tally_add, .data = &others};
    for (int i = 0; i < CHAIN; i++)
        assert_int_equal(hf_increment_async(f.client, hf_str("n"), 1, NULL, NULL, &then), HF_OK);
    tally_wait(&chain, CHAIN);
    tally_wait(&others, CHAIN);
    assert_int_equal(chain.failed + others.failed, 0);
    want_value(&f, "n", "1000");
    lib_stores_finish(&f);
    tally_fini(&chain);
    tally_fini(&others);
}

static void test_queue(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_queue *queue;
    lib_stores_start(&f);
    assert_int_equal(hf_queue_new(f.client, &queue), HF_OK);
    assert_int_equal(hf_queue_poll(queue, NULL, NULL, NULL), 0);
    assert_int_equal(hf_queue_wait(queue, 1, NULL, NULL, NULL), 0);
    int tags[100];
    for (int i = 0; i < 100; i++) {
        struct hf_then then = {.queue = queue, .data = &tags[i]};
        tags[i] = 0;
        assert_int_equal(hf_put_async(f.client, hf_str("k"), hf_str("v"), NULL, NULL, &then),
                         HF_OK);
    }
    int got = 0;
    while (got < 100) {
        struct pollfd fd = {.fd = hf_queue_fd(queue), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, 10000), 1);
        void *data;
        int code;
        struct hf_result *result;
        while (hf_queue_poll(queue, &data, &code, &result) == 1) {
            assert_int_equal(code, HF_OK);
            assert_true(result->version > 0);
            hf_result_free(result);
            ++*(int *)data;
            got++;
        }
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(tags[i], 1);
    struct pollfd quiet = {.fd = hf_queue_fd(queue), .events = POLLIN};
    assert_int_equal(poll(&quiet, 1, 0), 0);
    /* Results that nobody fetched go with the queue; one in flight keeps it. */
    lib_stores_mood(&f, FAKE_SWALLOW, 0);
    struct hf_then then = {.queue = queue};
    assert_int_equal(hf_get_async(f.client, hf_str("k"), NULL, &then), HF_OK);
    assert_int_equal(hf_queue_free(queue), HF_ERR_STATE);
    lib_stores_finish(&f); /* closing delivers it */
    assert_int_equal(hf_queue_free(queue), HF_OK);
}

static void test_bounds(void **state)
{
    (void)state;
    struct lib_stores f;
    struct tally t;
    struct hf_options options;
    lib_stores_run(&f, 0);
    hf_options_init(&options);
    options.in_flight_max = 5;
    options.timeout_ms = 300;
    lib_stores_open(&f, &options);
    tally_init(&t, f.client);
    lib_stores_mood(&f, FAKE_SWALLOW, 0);
    struct hf_then then = {.callback = tally_add, .data = &t};
    for (int i = 0; i < 5; i++)
        assert_int_equal(hf_get_async(f.client, hf_str("k"), NULL, &then), HF_OK);
    assert_int_equal(hf_get_async(f.client, hf_str("k"), NULL, &then), HF_ERR_BUSY);
    assert_int_equal(hf_get(f.client, hf_str("k"), NULL, NULL), HF_ERR_BUSY);
    tally_wait(&t, 5);
    assert_int_equal(t.failed, 5);
    struct hf_client_stats stats = {.size = sizeof stats};
    hf_client_stats(f.client, &stats);
    assert_int_equal(stats.busy, 2);
    assert_int_equal(stats.failed, 5);
    assert_int_equal(stats.in_flight, 0);
    lib_stores_finish(&f);
    tally_fini(&t);
}

static void test_close_tells_those_in_flight(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_queue *queue;
    int code;
    lib_stores_start(&f);
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, NULL, NULL), HF_OK);
    assert_int_equal(hf_queue_new(f.client, &queue), HF_OK);
    lib_stores_mood(&f, FAKE_SWALLOW, 0);
    struct hf_then then = {.queue = queue};
    assert_int_equal(hf_put_async(f.client, hf_str("k"), hf_str("w"), NULL, NULL, &then), HF_OK);
    struct hf_client_stats stats = {.size = sizeof stats};
    do {
        hf_client_stats(f.client, &stats); /* a turn of the loop each time */
    } while (stats.sendings < 3);
    lib_stores_finish(&f);
    assert_int_equal(hf_queue_poll(queue, NULL, &code, NULL), 1);
    assert_int_equal(code, HF_ERR_UNDETERMINED);
    assert_int_equal(hf_queue_free(queue), HF_OK);
}

static void test_lost_change_is_undetermined(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_result *r = NULL;
    lib_stores_start(&f);
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, NULL, NULL), HF_OK);
    lib_stores_mood(&f, FAKE_DO_RESET, 1);
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("w"), NULL, NULL, &r),
                     HF_ERR_UNDETERMINED);
    assert_true(strlen(r->message) > 0);
    hf_result_free(r);
    want_value(&f, "k", "w"); /* this time it was done */
    lib_stores_finish(&f);
}

/* With sessions it is sent again; what the deadline leaves open can be settled later, by
 * another client too. */
static void test_resolve(void **state)
{
    (void)state;
    static const struct {
        enum fake_mood mood;
        int want;
    } rows[] = {{FAKE_DO_RESET, HF_OK}, {FAKE_RESET, HF_ERR_FENCED}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lib_stores f;
        struct hf_result *lost = NULL, *found = NULL;
        struct hf_call call;
        lib_stores_start_with_clock(&f);
        hf_call_init(&call);
        call.timeout_ms = 300;
        assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, NULL, NULL), HF_OK);
        lib_stores_mood(&f, FAKE_DO_RESET, 2);
        assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("w"), NULL, NULL, NULL), HF_OK);
        lib_stores_mood(&f, rows[i].mood, 0);
        assert_int_equal(hf_increment(f.client, hf_str("n"), 5, NULL, &call, &lost),
                         HF_ERR_UNDETERMINED);
        assert_true(lost->token.len > 0);
        lib_stores_mood(&f, FAKE_SERVE, 0);
        hf_close(f.client);
        struct hf_options options;
        hf_options_init(&options);
        lib_stores_open(&f, &options);
        lib_stores_mood(&f, FAKE_EARLY, 2);
        assert_int_equal(hf_resolve(f.client, lost->token, NULL, &found), rows[i].want);
        if (rows[i].want == HF_OK)
            assert_int_equal(found->items[0].number, 5);
        hf_result_free(found);
        assert_int_equal(hf_resolve(f.client, lost->token, NULL, NULL), rows[i].want);
        hf_result_free(lost);
        lib_stores_finish(&f);
    }
}

/* What was lost with a long answer is told without it. */
static void test_repeat_of_a_long_answer(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_result *r = NULL;
    char value[600];
    memset(value, 'v', sizeof value);
    lib_stores_start_with_clock(&f);
    struct hf_bytes large = hf_bytes(value, sizeof value);
    assert_int_equal(hf_put(f.client, hf_str("k"), large, NULL, NULL, NULL), HF_OK);
    lib_stores_mood(&f, FAKE_DO_RESET, 1);
    assert_int_equal(hf_get_and_set(f.client, hf_str("k"), hf_str("w"), NULL, NULL, &r), HF_OK);
    assert_int_equal(r->count, 0);
    assert_true(r->version > 0 && r->items[0].version == r->version);
    assert_int_equal(r->items[0].has_value, 0);
    assert_int_equal(r->items[0].value.len, 0);
    hf_result_free(r);
    lib_stores_mood(&f, FAKE_DO_RESET, 1);
    assert_int_equal(hf_put(f.client, hf_str("k"), large, NULL, NULL, NULL), HF_OK);
    lib_stores_mood(&f, FAKE_DO_RESET, 1);
    assert_int_equal(hf_cas(f.client, hf_str("k"), hf_str("x"), hf_str("y"), NULL, &r),
                     HF_ERR_CONDITION_FAILED);
    assert_int_equal(r->count, 0);
    assert_int_equal(r->items[0].has_value, 0);
    hf_result_free(r);
    lib_stores_finish(&f);
}

/* As the token would be if those were its bytes. */
static int resolve_sealed(struct lib_stores *f, const uint8_t *bytes, size_t len)
{
    struct buf buf;
    buf_init(&buf, CHANGE_TOKEN_MAX);
    buf_append(&buf, bytes, len - SEALED_SUM_LEN);
    sealed_end(&buf, 0);
    int rv = hf_resolve(f->client, hf_bytes(buf.data, buf.len), NULL, NULL);
    buf_fini(&buf);
    return rv;
}

/* A wrong token would have some other change fenced, and tell that this one was not done. */
static void test_resolve_of_rubbish(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_result *lost = NULL;
    struct hf_call call;
    uint8_t token[200];
    lib_stores_start_with_clock(&f);
    hf_call_init(&call);
    call.timeout_ms = 200;
    lib_stores_mood(&f, FAKE_DO_RESET, 0);
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, &call, &lost),
                     HF_ERR_UNDETERMINED);
    lib_stores_mood(&f, FAKE_SERVE, 0);
    size_t len = lost->token.len;
    assert_in_range(len, 20, sizeof token);
    memcpy(token, lost->token.data, len);
    hf_result_free(lost);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(hf_resolve(f.client, hf_bytes(token, n), NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_resolve(f.client, hf_bytes(NULL, 5), NULL, NULL), HF_ERR_INVALID);
    for (size_t i = 0; i < 2 * len; i++) { /* each digit that could be mistyped */
        for (unsigned other = 1; other < 16; other++) {
            token[i / 2] ^= (uint8_t)(i % 2 == 0 ? other << 4 : other);
            assert_int_equal(hf_resolve(f.client, hf_bytes(token, len), NULL, NULL),
                             HF_ERR_INVALID);
            token[i / 2] ^= (uint8_t)(i % 2 == 0 ? other << 4 : other);
        }
    }
    token[2]++; /* of a later format */
    assert_int_equal(resolve_sealed(&f, token, len), HF_ERR_UNSUPPORTED);
    token[2] = 1; /* as they were once */
    assert_int_equal(hf_resolve(f.client, hf_bytes(token, len - SEALED_SUM_LEN), NULL, NULL),
                     HF_ERR_UNSUPPORTED);
    token[2] = 2;
    assert_int_equal(token[4], FAKE_CLUSTER_ID);
    token[4]++;
    assert_int_equal(resolve_sealed(&f, token, len), HF_ERR_UNAUTHORIZED);
    token[4]--;
    assert_int_equal(hf_resolve(f.client, hf_bytes(token, len), NULL, NULL), HF_OK);
    lib_stores_finish(&f);
}

/* ---- many threads ------------------------------------------------------------------------------
 */

static void worker(void *data)
{
    struct lib_stores *f = data;
    for (int i = 0; i < 200; i++) {
        int code = hf_increment(f->client, hf_str("sum"), 1, NULL, NULL, NULL);
        if (code != HF_OK)
            abort();
        struct hf_result *r = NULL;
        code = hf_get(f->client, hf_str("sum"), NULL, &r);
        if (code != HF_OK || r->items[0].value.len == 0)
            abort();
        hf_result_free(r);
    }
}

static void test_threads(void **state)
{
    (void)state;
    struct lib_stores f;
    struct env_uv_thread *threads[8];
    lib_stores_start(&f);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(env_uv_thread_start("worker", worker, &f, &threads[i], NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        env_uv_thread_join(threads[i]);
    want_value(&f, "sum", "1600");
    lib_stores_finish(&f);
}

static void on_log(void *data, int level, const char *line)
{
    int *lines = data;
    if (level >= HF_LOG_DEBUG && level <= HF_LOG_ERROR && line[0] != 0)
        ++*lines;
}

static void test_log(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_options options;
    int lines = 0; /* read after the close: no race */
    lib_stores_run(&f, 0);
    hf_options_init(&options);
    options.log = on_log;
    options.log_data = &lines;
    lib_stores_open(&f, &options);
    assert_int_equal(hf_put(f.client, hf_str("k"), hf_str("v"), NULL, NULL, NULL), HF_OK);
    lib_stores_finish(&f);
    assert_true(lines > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_calls_have_nothing_of_those_before),
        cmocka_unit_test(test_failed_condition_tells_the_present),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_batch_bounds),
        cmocka_unit_test(test_multi_get_and_scan),
        cmocka_unit_test(test_delete_range),
        cmocka_unit_test(test_cluster_calls),
        cmocka_unit_test(test_range_check),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_open_refuses_nonsense),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_callbacks_go_on),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_close_tells_those_in_flight),
        cmocka_unit_test(test_lost_change_is_undetermined),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_repeat_of_a_long_answer),
        cmocka_unit_test(test_resolve_of_rubbish),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests_name("holdfast", tests, NULL, NULL);
}
