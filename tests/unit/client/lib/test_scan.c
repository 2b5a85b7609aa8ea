/* SPDX-License-Identifier: Apache-2.0 */
/* Scans of the public interface that are cut off, and gone on with. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/lib_stores.h"

static struct hf_scan *scan_ten(struct lib_stores *f, const struct hf_call *call)
{
    struct hf_span span;
    struct hf_scan *scan;
    struct hf_item item;
    hf_span_init(&span);
    span.limit_keys = 10;
    assert_int_equal(hf_scan_new(f->client, &span, call, &scan), HF_OK);
    for (int i = 0; i < 10; i++)
        assert_int_equal(hf_scan_next(scan, &item), 1);
    return scan;
}

/* Where a merge brought the keys a scan goes on at a version of its own; its age, and a
 * version that the caller named, are the caller's to judge. */
static void test_scan_over_merge(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_item item;
    struct hf_result *r;
    struct hf_call at;
    lib_stores_start_filled(&f);
    hf_call_init(&at);
    at.consistency = HF_AT;
    struct hf_scan *scan = scan_ten(&f, NULL);
    at.at_version = hf_scan_version(scan);
    struct hf_scan *named = scan_ten(&f, &at);
    lib_stores_forget(&f, true);
    assert_int_equal(hf_put(f.client, hf_str("k10"), hf_str("new"), NULL, NULL, NULL), HF_OK);
    for (int i = 10; i < 25; i++) {
        assert_int_equal(hf_scan_next(scan, &item), 1);
        assert_memory_equal(item.value.data, i == 10 ? "new" : item.key.data, 3);
    }
    assert_int_equal(hf_scan_next(scan, &item), 0);
    hf_scan_free(scan);
    assert_int_equal(hf_scan_next(named, &item), HF_ERR_VERSION_GONE);
    hf_scan_free(named);
    assert_int_equal(hf_scan_page(f.client, NULL, &at, &r), HF_ERR_VERSION_GONE);
    assert_true(r->is_range_end && !r->has_more && r->count == 0);
    hf_result_free(r);
    scan = scan_ten(&f, NULL);
    lib_stores_forget(&f, false);
    assert_int_equal(hf_scan_next(scan, &item), HF_ERR_VERSION_GONE);
    hf_scan_free(scan);
    lib_stores_finish(&f);
}

/* ---- cursors ------------------------------------------------------------------------------- */

struct kept {
    uint8_t bytes[16384];
    size_t len;
};

static void keep(struct kept *kept, struct hf_bytes bytes)
{
    assert_true(bytes.len > 0 && bytes.len <= sizeof kept->bytes);
    memcpy(kept->bytes, bytes.data, bytes.len);
    kept->len = bytes.len;
}

static struct hf_scan *scan_from(struct hf_client *client, const struct kept *kept,
                                 const struct hf_span *like)
{
    struct hf_span span;
    struct hf_scan *scan = NULL;
    hf_span_init(&span);
    span.limit_keys = like->limit_keys;
    span.cursor = hf_bytes(kept->bytes, kept->len);
    assert_int_equal(hf_scan_new(client, &span, NULL, &scan), HF_OK);
    return scan;
}

/* Key number `i` of a span that begins at "k05" and ends before "k20", in its direction. */
static void assert_key(const struct hf_item *item, const struct hf_span *span, int i)
{
    char want[16];
    snprintf(want, sizeof want, "k%02d", span->reverse ? 19 - i : 5 + i);
    assert_int_equal(item->key.len, 3);
    assert_memory_equal(item->key.data, want, 3);
    assert_int_equal(item->has_value, !span->keys_only);
}

/* Cut off behind key `cut`, and gone on with by another client: the rest, and no more. */
static void cut_and_go_on(struct lib_stores *f, struct hf_client *other, struct hf_span *span,
                          int cut)
{
    struct hf_scan *scan;
    struct hf_item item;
    struct hf_bytes cursor;
    struct kept kept;
    assert_int_equal(hf_scan_new(f->client, span, NULL, &scan), HF_OK);
    for (int i = 0; i < cut; i++) {
        assert_int_equal(hf_scan_next(scan, &item), 1);
        assert_key(&item, span, i);
    }
    assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
    keep(&kept, cursor);
    if (cut < 15)
        assert_int_equal(hf_scan_next(scan, &item), 1); /* that it is asked changes nothing */
    hf_scan_free(scan);
    scan = scan_from(other, &kept, span);
    for (int i = cut; i < 15; i++) {
        assert_int_equal(hf_scan_next(scan, &item), 1);
        assert_key(&item, span, i);
    }
    assert_int_equal(hf_scan_next(scan, &item), 0);
    assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
    keep(&kept, cursor);
    hf_scan_free(scan);
    scan = scan_from(other, &kept, span); /* it is over, and stays so */
    assert_int_equal(hf_scan_next(scan, &item), 0);
    hf_scan_free(scan);
}

static void test_cut_behind_every_key(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_client *other;
    struct hf_options options;
    lib_stores_start_filled(&f);
    hf_options_init(&options);
    options.endpoints = f.endpoints;
    assert_int_equal(hf_open(&options, &other), HF_OK);
    for (int kind = 0; kind < 8; kind++) {
        struct hf_span span;
        hf_span_init(&span);
        span.start = hf_str("k05");
        span.end = hf_str("k20");
        span.reverse = kind & 1;
        span.keys_only = (kind & 2) != 0;
        span.limit_keys = kind & 4 ? 4 : 0;
        for (int cut = 0; cut <= 15; cut++)
            cut_and_go_on(&f, other, &span, cut);
    }
    assert_int_equal(hf_close(other), HF_OK);
    lib_stores_finish(&f);
}

/* What it goes over is told as it was begun, however far it is. */
static void test_span_of_a_cursor(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_span span, told;
    struct hf_scan *scan;
    struct hf_item item;
    struct hf_bytes cursor;
    struct kept kept;
    uint32_t keyspace = 77;
    lib_stores_start_filled(&f);
    hf_span_init(&span);
    span.prefix = hf_str("k");
    span.reverse = 1;
    span.limit_keys = 4;
    assert_int_equal(hf_scan_new(f.client, &span, NULL, &scan), HF_OK);
    for (int i = 0; i < 6; i++)
        assert_int_equal(hf_scan_next(scan, &item), 1);
    assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
    keep(&kept, cursor);
    hf_scan_free(scan);
    scan = scan_from(f.client, &kept, &span);
    hf_scan_span(scan, &told, &keyspace);
    assert_int_equal(keyspace, 0);
    assert_true(told.start.len == 1 && memcmp(told.start.data, "k", 1) == 0);
    assert_true(told.end.len == 1 && memcmp(told.end.data, "l", 1) == 0);
    assert_true(told.reverse && !told.keys_only && told.prefix.len == 0);
    hf_scan_free(scan);
    lib_stores_finish(&f);
}

/* A version that is gone stays so, whoever goes on, until the scan is renewed; where a merge
 * brought the keys, it goes on by itself. */
static void test_cursor_of_a_version_that_is_gone(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_item item;
    struct hf_bytes cursor;
    struct kept kept;
    struct hf_span like;
    struct hf_call at;
    lib_stores_start_filled(&f);
    hf_span_init(&like);
    like.limit_keys = 10;
    struct hf_scan *scan = scan_ten(&f, NULL);
    hf_call_init(&at);
    at.consistency = HF_AT;
    at.at_version = hf_scan_version(scan);
    assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
    keep(&kept, cursor);
    hf_scan_free(scan);
    lib_stores_forget(&f, false);
    assert_int_equal(hf_put(f.client, hf_str("k10"), hf_str("new"), NULL, NULL, NULL), HF_OK);
    scan = scan_from(f.client, &kept, &like);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hf_scan_next(scan, &item), HF_ERR_VERSION_GONE);
        assert_true(hf_scan_message(scan)[0] != 0);
        assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK); /* still where it was */
        assert_int_equal(cursor.len, kept.len);
        assert_memory_equal(cursor.data, kept.bytes, kept.len);
    }
    assert_int_equal(hf_scan_renew(scan), HF_OK);
    for (int i = 10; i < 25; i++) {
        assert_int_equal(hf_scan_next(scan, &item), 1);
        assert_memory_equal(item.value.data, i == 10 ? "new" : item.key.data, 3);
    }
    assert_int_equal(hf_scan_next(scan, &item), 0);
    hf_scan_free(scan);
    lib_stores_forget(&f, true);
    scan = scan_from(f.client, &kept, &like);
    for (int i = 10; i < 25; i++)
        assert_int_equal(hf_scan_next(scan, &item), 1);
    assert_int_equal(hf_scan_next(scan, &item), 0);
    hf_scan_free(scan);
    struct hf_span span;
    hf_span_init(&span);
    assert_int_equal(hf_scan_new(f.client, &span, &at, &scan), HF_OK);
    assert_int_equal(hf_scan_renew(scan), HF_ERR_STATE);
    hf_scan_free(scan);
    lib_stores_finish(&f);
}

/* At a version that the caller named, it stays at it. */
static void test_cursor_of_a_named_version(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_bytes cursor;
    struct hf_item item;
    struct hf_call at;
    struct hf_span like;
    struct kept kept;
    lib_stores_start_filled(&f);
    hf_span_init(&like);
    hf_call_init(&at);
    at.consistency = HF_AT;
    struct hf_scan *scan = scan_ten(&f, NULL);
    at.at_version = hf_scan_version(scan);
    hf_scan_free(scan);
    scan = scan_ten(&f, &at);
    assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
    keep(&kept, cursor);
    hf_scan_free(scan);
    lib_stores_forget(&f, true);
    scan = scan_from(f.client, &kept, &like);
    assert_int_equal(hf_scan_next(scan, &item), HF_ERR_VERSION_GONE);
    hf_scan_free(scan);
    lib_stores_finish(&f);
}

/* A client that has heard of no store yet says where its scan is to begin, too. */
static void test_cursor_before_the_first_answer(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_client *fresh;
    struct hf_options options;
    struct hf_bytes cursor;
    struct hf_item item;
    struct hf_call at;
    struct hf_span span;
    struct kept kept;
    lib_stores_start_filled(&f);
    hf_call_init(&at);
    hf_span_init(&span);
    struct hf_scan *scan = scan_ten(&f, NULL);
    at.consistency = HF_AT;
    at.at_version = hf_scan_version(scan);
    hf_scan_free(scan);
    hf_options_init(&options);
    options.endpoints = f.endpoints;
    assert_int_equal(hf_open(&options, &fresh), HF_OK);
    assert_int_equal(hf_scan_new(fresh, &span, &at, &scan), HF_OK);
    assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
    keep(&kept, cursor);
    hf_scan_free(scan);
    scan = scan_from(fresh, &kept, &span);
    for (int i = 0; i < 25; i++)
        assert_int_equal(hf_scan_next(scan, &item), 1);
    assert_true(hf_scan_version(scan) == at.at_version);
    assert_int_equal(hf_scan_next(scan, &item), 0);
    hf_scan_free(scan);
    hf_close(fresh);
    lib_stores_finish(&f);
}

/* Spans that no key can be in: the store says so, or hf_scan_new(); the cursor is one all the
 * same. */
static void test_cursor_of_odd_spans(void **state)
{
    (void)state;
    static const char longest[4097];
    struct lib_stores f;
    struct hf_bytes cursor;
    struct hf_span span, told;
    struct hf_scan *scan;
    struct kept kept;
    uint32_t keyspace;
    lib_stores_start_filled(&f);
    for (int reverse = 0; reverse < 2; reverse++) {
        hf_span_init(&span);
        span.start = hf_str("k05");
        span.end = hf_str("k01");
        span.reverse = reverse;
        assert_int_equal(hf_scan_new(f.client, &span, NULL, &scan), HF_OK);
        assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
        keep(&kept, cursor);
        hf_scan_free(scan);
        scan = scan_from(f.client, &kept, &span);
        hf_scan_span(scan, &told, &keyspace);
        assert_memory_equal(told.start.data, "k05", 3);
        assert_memory_equal(told.end.data, "k01", 3);
        hf_scan_free(scan);
    }
    struct hf_bytes *const bounds[] = {&span.start, &span.end, &span.prefix};
    for (size_t i = 0; i < 3; i++) {
        hf_span_init(&span);
        *bounds[i] = hf_bytes(longest, 4096);
        assert_int_equal(hf_scan_new(f.client, &span, NULL, &scan), HF_OK);
        assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
        keep(&kept, cursor);
        hf_scan_free(scan);
        hf_scan_free(scan_from(f.client, &kept, &span));
        *bounds[i] = hf_bytes(longest, 4097);
        assert_int_equal(hf_scan_new(f.client, &span, NULL, &scan), HF_ERR_TOO_LARGE);
    }
    lib_stores_finish(&f);
}

/* The options of the first call hold for all pages: an age does not stand in the way of the second
 * page, which is read at a version. */
static void test_stale_scan_of_several_pages(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_call stale;
    struct hf_item item;
    lib_stores_start_filled(&f);
    hf_call_init(&stale);
    stale.consistency = HF_STALE;
    stale.max_age_ms = 10000;
    struct hf_scan *scan = scan_ten(&f, &stale);
    for (int i = 10; i < 25; i++)
        assert_int_equal(hf_scan_next(scan, &item), 1);
    assert_int_equal(hf_scan_next(scan, &item), 0);
    hf_scan_free(scan);
    lib_stores_finish(&f);
}

static void test_what_is_no_cursor(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_span span;
    struct hf_scan *scan = NULL;
    struct hf_bytes cursor;
    struct kept kept;
    struct hf_item item;
    struct hf_options options;
    struct hf_client *stranger;
    lib_stores_start_filled(&f);
    scan = scan_ten(&f, NULL);
    assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
    keep(&kept, cursor);
    hf_scan_free(scan);
    hf_span_init(&span);
    for (size_t len = 1; len < kept.len; len++) {
        span.cursor = hf_bytes(kept.bytes, len);
        assert_int_equal(hf_scan_new(f.client, &span, NULL, &scan), HF_ERR_CORRUPT);
        assert_int_equal(hf_scan_page(f.client, &span, NULL, NULL), HF_ERR_CORRUPT);
    }
    span.cursor = hf_str("a");
    assert_int_equal(hf_scan_new(f.client, &span, NULL, &scan), HF_ERR_CORRUPT);
    span.cursor = hf_bytes(NULL, 7);
    assert_int_equal(hf_scan_new(f.client, &span, NULL, &scan), HF_ERR_INVALID);
    assert_int_equal(hf_scan_page(f.client, &span, NULL, NULL), HF_ERR_INVALID);
    kept.bytes[4]++; /* the format */
    span.cursor = hf_bytes(kept.bytes, kept.len);
    assert_int_equal(hf_scan_new(f.client, &span, NULL, &scan), HF_ERR_UNSUPPORTED);
    assert_int_equal(hf_scan_page(f.client, &span, NULL, NULL), HF_ERR_UNSUPPORTED);
    kept.bytes[4]--;
    struct lib_stores elsewhere;
    lib_stores_run(&elsewhere, 0);
    lib_stores_rename(&elsewhere, FAKE_CLUSTER_ID + 1);
    hf_options_init(&options);
    options.endpoints = elsewhere.endpoints;
    assert_int_equal(hf_open(&options, &stranger), HF_OK);
    assert_int_equal(hf_scan_new(stranger, &span, NULL, &scan), HF_OK);
    assert_int_equal(hf_scan_next(scan, &item), HF_ERR_UNAUTHORIZED);
    hf_scan_free(scan);
    assert_int_equal(hf_scan_page(stranger, &span, NULL, NULL), HF_ERR_UNAUTHORIZED);
    elsewhere.client = stranger;
    lib_stores_finish(&elsewhere);
    lib_stores_finish(&f);
}

/* ---- pages ---------------------------------------------------------------------------------- */

/* All pages, each from what the one before said; blocking and not. */
static int all_pages(struct lib_stores *f, struct hf_span *span, const struct hf_call *call,
                     bool is_async)
{
    struct hf_result *result = NULL;
    struct kept kept = {.len = 0};
    struct hf_queue *queue;
    int keys = 0, has_more = 1;
    assert_int_equal(hf_queue_new(f->client, &queue), HF_OK);
    while (has_more) {
        struct hf_then then = {.queue = queue};
        void *data;
        int code;
        span->cursor = hf_bytes(kept.bytes, kept.len);
        if (is_async) {
            assert_int_equal(hf_scan_page_async(f->client, span, call, &then), HF_OK);
            assert_int_equal(hf_queue_wait(queue, 20000, &data, &code, &result), 1);
        } else {
            code = hf_scan_page(f->client, span, call, &result);
        }
        assert_int_equal(code, HF_OK);
        for (size_t i = 0; i < result->count; i++)
            assert_key(&result->items[i], span, keys++);
        has_more = result->has_more;
        assert_int_equal(has_more != 0, result->resume.len > 0);
        if (has_more)
            keep(&kept, result->resume);
        hf_result_free(result);
        call = NULL; /* it is in the cursor */
    }
    assert_int_equal(hf_queue_free(queue), HF_OK);
    span->cursor = (struct hf_bytes){0};
    return keys;
}

/* A handle that may have fewer calls in flight than a scan of a hashed keyspace fetches pages at
 * once: the scan makes do with what there is. */
static void test_slots_with_little_room(void **state)
{
    (void)state;
    static const uint32_t rooms[] = {1, 2, 3, 7, 31};
    enum { KEYS = 200 };
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        struct lib_stores f;
        struct hf_options options;
        struct hf_result *result = NULL;
        struct hf_scan *scan;
        struct hf_call call;
        struct hf_item item;
        char key[8];
        lib_stores_run(&f, 0);
        hf_options_init(&options);
        options.in_flight_max = rooms[i];
        lib_stores_open(&f, &options);
        hf_call_init(&call);
        assert_int_equal(hf_keyspace_open(f.client, "ks1-64", NULL, &result), HF_OK);
        call.keyspace = result->keyspace;
        hf_result_free(result);
        /* nobody knows yet who leads: those that wait for that are in flight, too */
        assert_int_equal(hf_scan_new(f.client, NULL, &call, &scan), HF_OK);
        assert_int_equal(hf_scan_next(scan, &item), 0);
        hf_scan_free(scan);
        for (int k = 0; k < KEYS; k++) {
            snprintf(key, sizeof key, "k%03d", k);
            assert_int_equal(hf_put(f.client, hf_str(key), hf_str("v"), NULL, &call, NULL), HF_OK);
        }
        assert_int_equal(hf_scan_new(f.client, NULL, &call, &scan), HF_OK);
        for (int k = 0; k < KEYS; k++) {
            snprintf(key, sizeof key, "k%03d", k);
            assert_int_equal(hf_scan_next(scan, &item), 1);
            assert_memory_equal(item.key.data, key, item.key.len);
        }
        assert_int_equal(hf_scan_next(scan, &item), 0);
        hf_scan_free(scan);
        lib_stores_finish(&f);
    }
}

static void test_pages_go_on(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_call calls[3];
    lib_stores_start_filled(&f);
    for (int i = 0; i < 3; i++)
        hf_call_init(&calls[i]);
    calls[1].consistency = HF_STALE;
    calls[1].max_age_ms = 5000;
    struct hf_result *result = NULL;
    assert_int_equal(hf_scan_page(f.client, NULL, NULL, &result), HF_OK);
    calls[2].consistency = HF_AT;
    calls[2].at_version = result->version;
    assert_true(!result->has_more && result->resume.len == 0);
    hf_result_free(result);
    for (int kind = 0; kind < 24; kind++) {
        struct hf_span span;
        hf_span_init(&span);
        span.start = hf_str("k05");
        span.end = hf_str("k20");
        span.limit_keys = 4;
        span.reverse = kind & 1;
        span.keys_only = (kind & 2) != 0;
        assert_int_equal(all_pages(&f, &span, &calls[kind / 8], (kind & 4) != 0), 15);
    }
    lib_stores_finish(&f);
}

/* A merge ends the version: the library begins anew there. Of an age that is over it tells. */
static void test_pages_over_merge(void **state)
{
    (void)state;
    struct lib_stores f;
    struct hf_span span;
    struct hf_result *result = NULL;
    struct kept kept;
    lib_stores_start_filled(&f);
    hf_span_init(&span);
    span.limit_keys = 10;
    assert_int_equal(hf_scan_page(f.client, &span, NULL, &result), HF_OK);
    keep(&kept, result->resume);
    hf_result_free(result);
    result = NULL;
    lib_stores_forget(&f, true);
    span.cursor = hf_bytes(kept.bytes, kept.len);
    assert_int_equal(hf_scan_page(f.client, &span, NULL, &result), HF_OK);
    assert_int_equal(result->count, 10);
    assert_memory_equal(result->items[0].key.data, "k10", 3);
    hf_result_free(result);
    result = NULL;
    lib_stores_forget(&f, false);
    assert_int_equal(hf_scan_page(f.client, &span, NULL, &result), HF_ERR_VERSION_GONE);
    assert_int_equal(result->resume.len, 0);
    hf_result_free(result);
    lib_stores_finish(&f);
}

/* Nobody said how long it may take: what begins anew has what is left of the time, and no more. */
static void test_page_begins_anew_in_time(void **state)
{
    (void)state;
    enum { DEFAULT_MS = 5000, LATE_MS = 300 };
    struct lib_stores f;
    struct hf_span span;
    struct hf_result *result = NULL;
    struct kept kept;
    lib_stores_start_filled(&f);
    hf_span_init(&span);
    span.limit_keys = 10;
    assert_int_equal(hf_scan_page(f.client, &span, NULL, &result), HF_OK);
    keep(&kept, result->resume);
    hf_result_free(result);
    lib_stores_forget(&f, true);
    lib_stores_late(&f, LATE_MS);
    span.cursor = hf_bytes(kept.bytes, kept.len);
    assert_int_equal(hf_scan_page(f.client, &span, NULL, NULL), HF_OK);
    assert_in_range(lib_stores_last_timeout(&f), 1, DEFAULT_MS - LATE_MS);
    lib_stores_finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_over_merge),
        cmocka_unit_test(test_cut_behind_every_key),
        cmocka_unit_test(test_span_of_a_cursor),
        cmocka_unit_test(test_cursor_of_a_version_that_is_gone),
        cmocka_unit_test(test_cursor_of_a_named_version),
        cmocka_unit_test(test_cursor_before_the_first_answer),
        cmocka_unit_test(test_cursor_of_odd_spans),
        cmocka_unit_test(test_stale_scan_of_several_pages),
        cmocka_unit_test(test_what_is_no_cursor),
        cmocka_unit_test(test_slots_with_little_room),
        cmocka_unit_test(test_pages_go_on),
        cmocka_unit_test(test_pages_over_merge),
        cmocka_unit_test(test_page_begins_anew_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
