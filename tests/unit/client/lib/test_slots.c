/* SPDX-License-Identifier: Apache-2.0 */
/* A hashed keyspace in which something else than the library has stored keys: fake stores do not
 * look at keyspaces, so what is put without one stands beside what is put behind slots. */
#include "support/check.h"
#include "support/tsan.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "holdfast.h"
#include "support/lib_stores.h"

enum { KEYS = 40 };

static struct lib_stores f;
static struct hf_call hashed;

/* None of them is a key behind one of 512 slots. */
static const struct {
    const char *bytes;
    size_t len;
} strangers[] = {
    {"\0", 1},     /* before all slots */
    {"\0\0", 2},   /* the first slot, and nothing else */
    {"\0\7", 2},   /* another one */
    {"\1", 1},     /* between two of them */
    {"\1\0", 2},   /* the second of these */
    {"\1\377", 2}, /* the last slot */
    {"\2", 1},     /* behind all slots … */
    {"hello", 5},  /* … and far behind */
};

static int setup(void **state)
{
    struct hf_result *result = NULL;
    char key[8];
    (void)state;
    lib_stores_start(&f);
    assert_int_equal(hf_keyspace_open(f.client, "ks7-512", NULL, &result), HF_OK);
    hf_call_init(&hashed);
    hashed.keyspace = result->keyspace;
    hf_result_free(result);
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++)
        assert_int_equal(hf_put(f.client, hf_bytes(strangers[i].bytes, strangers[i].len),
                                hf_str("s"), NULL, NULL, NULL),
                         HF_OK);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%02d", i);
        assert_int_equal(hf_put(f.client, hf_str(key), hf_str(key), NULL, &hashed, NULL), HF_OK);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lib_stores_finish(&f);
    return 0;
}

static void want_key(const struct hf_item *item, int number)
{
    char key[8];
    snprintf(key, sizeof key, "k%02d", number);
    assert_int_equal(item->key.len, 3);
    assert_memory_equal(item->key.data, key, 3);
    assert_memory_equal(item->value.data, key, 3);
}

static void test_a_scan_passes_by(void **state)
{
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        struct hf_span span;
        struct hf_scan *scan;
        struct hf_item item;
        hf_span_init(&span);
        span.reverse = reverse;
        assert_int_equal(hf_scan_new(f.client, &span, &hashed, &scan), HF_OK);
        for (int i = 0; i < KEYS; i++) {
            assert_int_equal(hf_scan_next(scan, &item), 1);
            want_key(&item, reverse ? KEYS - 1 - i : i);
        }
        assert_int_equal(hf_scan_next(scan, &item), 0);
        hf_scan_free(scan);
    }
}

/* It is cut off before each key, and gone on with. */
static void test_a_scan_in_parts_passes_by(void **state)
{
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        static uint8_t kept[16384];
        struct hf_span span;
        struct hf_item item;
        hf_span_init(&span);
        span.reverse = reverse;
        for (int i = 0; i <= KEYS; i++) {
            struct hf_scan *scan;
            struct hf_bytes cursor;
            assert_int_equal(hf_scan_new(f.client, &span, &hashed, &scan), HF_OK);
            assert_int_equal(hf_scan_next(scan, &item), i < KEYS);
            if (i < KEYS)
                want_key(&item, reverse ? KEYS - 1 - i : i);
            assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
            assert_true(cursor.len <= sizeof kept);
            memcpy(kept, cursor.data, cursor.len);
            span.cursor = hf_bytes(kept, cursor.len);
            hf_scan_free(scan);
        }
    }
}

static uint64_t delete_all(const struct hf_span *like, const struct hf_call *call)
{
    struct hf_span span = *like;
    uint8_t kept[4096];
    uint64_t deleted = 0;
    bool has_more = true;
    while (has_more) {
        struct hf_result *result = NULL;
        assert_int_equal(hf_delete_range(f.client, &span, call, &result), HF_OK);
        deleted += result->deleted;
        has_more = result->has_more;
        memcpy(kept, result->cursor.data, result->cursor.len);
        span.cursor = hf_bytes(kept, result->cursor.len);
        hf_result_free(result);
    }
    return deleted;
}

/* They are of no span between keys, and of the one that is all of the keyspace. */
static void test_a_deletion_between_keys_passes_by(void **state)
{
    (void)state;
    struct hf_span span;
    hf_span_init(&span);
    span.end = hf_str("k10");
    assert_int_equal(delete_all(&span, &hashed), 10);
    span.start = hf_str("a");
    span.end = (struct hf_bytes){0};
    assert_int_equal(delete_all(&span, &hashed), KEYS - 10);
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
        struct hf_bytes key = hf_bytes(strangers[i].bytes, strangers[i].len);
        if (hf_get(f.client, key, NULL, NULL) != HF_OK)
            fail_msg("stranger %zu was deleted", i);
    }
    hf_span_init(&span);
    assert_int_equal(delete_all(&span, &hashed), ARRAY_LEN(strangers));
}

static void test_a_watch_passes_by(void **state)
{
    (void)state;
    struct hf_watch_options how;
    struct hf_watch *watch;
    int seen = 0;
    hf_watch_options_init(&how);
    how.keyspace = hashed.keyspace;
    how.from_version = 1;
    assert_int_equal(hf_watch_open(f.client, &how, &watch), HF_OK);
    while (seen < KEYS) {
        struct hf_watch_batch *batch;
        assert_int_equal(hf_watch_next(watch, 30000, &batch), 1);
        for (size_t i = 0; i < batch->count; i++) {
            assert_int_equal(batch->events[i].key.len, 3);
            assert_memory_equal(batch->events[i].key.data, batch->events[i].value.data, 3);
        }
        seen += (int)batch->count;
        hf_watch_batch_free(batch);
    }
    assert_int_equal(seen, KEYS);
    assert_int_equal(hf_watch_close(watch), HF_OK);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_scan_passes_by),
        TEST(test_a_scan_in_parts_passes_by),
        TEST(test_a_deletion_between_keys_passes_by),
        TEST(test_a_watch_passes_by),
    };
    return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
