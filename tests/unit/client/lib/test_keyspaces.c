/* SPDX-License-Identifier: Apache-2.0
 *
 * Keyspaces over a store inside this process: names, and hashed ones against a plain sorted
 * map.
 */
#include "support/check.h"
#include "support/tsan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "holdfast.h"

enum { KEYS = 400, READY_TRIES = 100000 /* each a round trip */, SCANS = 60 };

#define SMALL                                                                                      \
    "memtable_bytes=1MiB&block_cache_bytes=1MiB&log_segment_bytes=1MiB&log_budget_bytes=4MiB"      \
    "&disk_low_bytes=0&disk_full_bytes=0&disk_reserve_bytes=0"

/* What should be there: key i is there if it has a value. */
struct model {
    char key[16];
    char value[16];
    bool is_there;
};

static char dir[64];
static struct hf_client *client;
static struct model model[KEYS];
static struct rng rng;

static void open_client(void)
{
    char endpoints[512];
    struct hf_options options;
    snprintf(endpoints, sizeof endpoints, "embedded:%s/store?" SMALL, dir);
    hf_options_init(&options);
    options.endpoints = endpoints;
    options.timeout_ms = 30000;
    assert_int_equal(hf_open(&options, &client), HF_OK);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/holdfast-keyspaces-XXXXXX");
    assert_non_null(mkdtemp(dir));
    open_client();
    rng_init(&rng, 7);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    assert_int_equal(hf_close(client), HF_OK);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* ---- placement --------------------------------------------------------------------------- */

static int tell(int verb, const char *name, const char *options, struct hf_result **ret_result)
{
    struct hf_placement_ask ask = {
        .size = sizeof ask, .verb = verb, .name = name, .value = hf_str(options)};
    int rv = HF_ERR_BUSY;
    for (int i = 0; i < READY_TRIES && rv == HF_ERR_BUSY; i++) { /* its ids are on their way */
        rv = hf_placement(client, &ask, NULL, ret_result);
        if (rv == HF_ERR_BUSY && ret_result != NULL)
            hf_result_free(*ret_result);
    }
    return rv;
}

static uint32_t make(const char *name, const char *options)
{
    struct hf_result *result = NULL;
    assert_int_equal(tell(HF_PLACEMENT_KEYSPACE_CREATE, name, options, NULL), HF_OK);
    assert_int_equal(hf_keyspace_open(client, name, NULL, &result), HF_OK);
    uint32_t keyspace = result->keyspace;
    hf_result_free(result);
    assert_true(keyspace >= 65536);
    return keyspace;
}

static void wait_ready(const char *name)
{
    for (int i = 0; i < READY_TRIES; i++) {
        struct hf_result *result = NULL;
        assert_int_equal(tell(HF_PLACEMENT_KEYSPACES, name, NULL, &result), HF_OK);
        const struct hf_table *table = result->table;
        bool is_ready = strcmp(table->cells[table->column_count - 1], "ready") == 0;
        hf_result_free(result);
        if (is_ready)
            return;
    }
    fail_msg("keyspace %s was never ready", name);
}

static struct hf_call call_in(uint32_t keyspace)
{
    struct hf_call call;
    hf_call_init(&call);
    call.keyspace = keyspace;
    return call;
}

/* ---- the model ------------------------------------------------------------------------------ */

static void fill(uint32_t keyspace)
{
    struct hf_call call = call_in(keyspace);
    for (int i = 0; i < KEYS; i++) {
        snprintf(model[i].key, sizeof model[i].key, "%c%c/%03d", 'a' + i / 100,
                 i % 7 == 0 ? '\xff' : 'm', i);
        snprintf(model[i].value, sizeof model[i].value, "v%d", i);
        model[i].is_there = rng_below(&rng, 4) > 0;
        if (model[i].is_there)
            assert_int_equal(
                hf_put(client, hf_str(model[i].key), hf_str(model[i].value), NULL, &call, NULL),
                HF_OK);
    }
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct model *)a)->key, ((const struct model *)b)->key);
}

static bool is_in(const struct model *m, const struct hf_span *span)
{
    if (!m->is_there)
        return false;
    if (span->prefix.len > 0)
        return strncmp(m->key, span->prefix.data, span->prefix.len) == 0;
    return (span->start.len == 0 || strcmp(m->key, span->start.data) >= 0) &&
           (span->end.len == 0 || strcmp(m->key, span->end.data) < 0);
}

static void compare(uint32_t keyspace, const struct hf_span *span)
{
    struct hf_call call = call_in(keyspace);
    struct hf_scan *scan = NULL;
    struct hf_item item;
    assert_int_equal(hf_scan_new(client, span, &call, &scan), HF_OK);
    for (int n = 0; n < KEYS; n++) {
        const struct model *m = &model[span->reverse ? KEYS - 1 - n : n];
        if (!is_in(m, span))
            continue;
        assert_int_equal(hf_scan_next(scan, &item), 1);
        assert_int_equal(item.key.len, strlen(m->key));
        assert_memory_equal(item.key.data, m->key, item.key.len);
        if (!span->keys_only) {
            assert_int_equal(item.value.len, strlen(m->value));
            assert_memory_equal(item.value.data, m->value, item.value.len);
        }
    }
    assert_int_equal(hf_scan_next(scan, &item), 0);
    assert_int_equal(hf_scan_next(scan, &item), 0);
    hf_scan_free(scan);
}

/* ---- cut off, and gone on with ----------------------------------------------------------------
 */

/* From the cursor's bytes alone; they are freed. */
static struct hf_scan *go_on(uint8_t *bytes, size_t len, uint32_t limit_keys)
{
    struct hf_scan *scan = NULL;
    struct hf_span span;
    hf_span_init(&span);
    span.limit_keys = limit_keys;
    span.cursor = hf_bytes(bytes, len);
    assert_int_equal(hf_scan_new(client, &span, NULL, &scan), HF_OK);
    free(bytes);
    return scan;
}

static struct hf_scan *cut(struct hf_scan *scan, uint32_t limit_keys)
{
    struct hf_bytes cursor;
    assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
    uint8_t *bytes = malloc(cursor.len);
    assert_non_null(bytes);
    memcpy(bytes, cursor.data, cursor.len);
    size_t len = cursor.len;
    hf_scan_free(scan);
    return go_on(bytes, len, limit_keys);
}

/* As compare(), but every now and then the scan is another one. */
static void compare_cut(uint32_t keyspace, const struct hf_span *span, uint64_t every)
{
    struct hf_call call = call_in(keyspace);
    struct hf_scan *scan = NULL;
    struct hf_item item;
    assert_int_equal(hf_scan_new(client, span, &call, &scan), HF_OK);
    for (int n = 0; n < KEYS; n++) {
        const struct model *m = &model[span->reverse ? KEYS - 1 - n : n];
        if (rng_below(&rng, every) == 0)
            scan = cut(scan, span->limit_keys);
        if (rng_below(&rng, 4 * every) == 0)
            assert_int_equal(hf_scan_renew(scan), HF_OK);
        if (!is_in(m, span))
            continue;
        assert_int_equal(hf_scan_next(scan, &item), 1);
        assert_int_equal(item.key.len, strlen(m->key));
        assert_memory_equal(item.key.data, m->key, item.key.len);
        assert_int_equal(item.has_value, !span->keys_only);
        if (!span->keys_only)
            assert_memory_equal(item.value.data, m->value, item.value.len);
    }
    scan = cut(scan, span->limit_keys);
    assert_int_equal(hf_scan_next(scan, &item), 0);
    scan = cut(scan, span->limit_keys);
    assert_int_equal(hf_scan_next(scan, &item), 0);
    hf_scan_free(scan);
}

static void compare_at_random(uint32_t keyspace)
{
    for (int i = 0; i < SCANS; i++) {
        struct hf_span span;
        char prefix[4];
        hf_span_init(&span);
        span.reverse = (int)rng_below(&rng, 2);
        span.keys_only = (int)rng_below(&rng, 2);
        span.limit_keys = (uint32_t)rng_below(&rng, 4);
        span.limit_bytes = rng_below(&rng, 3) == 0 ? 64 : 0;
        const struct model *a = &model[rng_below(&rng, KEYS)];
        const struct model *b = &model[rng_below(&rng, KEYS)];
        if (i % 4 == 0) {
            snprintf(prefix, sizeof prefix, "%.*s", 1 + (int)rng_below(&rng, 3), a->key);
            span.prefix = hf_str(prefix);
        } else if (i % 4 == 1) {
            span.start = hf_str(a->key);
        } else if (i % 4 == 2) {
            span.start = hf_str(strcmp(a->key, b->key) < 0 ? a->key : b->key);
            span.end = hf_str(strcmp(a->key, b->key) < 0 ? b->key : a->key);
        }
        compare(keyspace, &span);
        compare_cut(keyspace, &span, 1 + rng_below(&rng, 30));
    }
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void test_names(void **state)
{
    (void)state;
    struct hf_result *result = NULL;
    assert_int_equal(hf_keyspace_open(client, "nobody", NULL, &result), HF_ERR_NOT_FOUND);
    assert_non_null(strstr(result->message, "no keyspace 'nobody'"));
    hf_result_free(result);
    assert_int_equal(hf_keyspace_open(client, "No Body", NULL, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_keyspace_open(client, "", NULL, NULL), HF_ERR_INVALID);
    struct hf_call a = call_in(make("a", ""));
    struct hf_call b = call_in(make("b", ""));
    assert_true(a.keyspace != b.keyspace);
    assert_int_equal(hf_put(client, hf_str("k"), hf_str("of a"), NULL, &a, NULL), HF_OK);
    assert_int_equal(hf_get(client, hf_str("k"), &b, NULL), HF_ERR_NOT_FOUND);
    assert_int_equal(hf_get(client, hf_str("k"), NULL, NULL), HF_ERR_NOT_FOUND);
    assert_int_equal(hf_get(client, hf_str("k"), &a, NULL), HF_OK);
    struct hf_placement_ask drop = {
        .size = sizeof drop, .verb = HF_PLACEMENT_KEYSPACE_DROP, .name = "a", .id = b.keyspace};
    assert_int_equal(hf_placement(client, &drop, NULL, &result), HF_ERR_NOT_FOUND);
    assert_non_null(strstr(result->message, "by now")); /* another one has that name */
    hf_result_free(result);
    assert_int_equal(hf_get(client, hf_str("k"), &a, NULL), HF_OK);
    assert_int_equal(hf_keyspace_open(client, "a", NULL, NULL), HF_OK);
    drop.id = a.keyspace;
    assert_int_equal(hf_placement(client, &drop, NULL, NULL), HF_OK);
    assert_int_equal(hf_keyspace_open(client, "a", NULL, &result), HF_ERR_NOT_FOUND);
    assert_non_null(strstr(result->message, "dropped"));
    hf_result_free(result);
}

static void test_scans_against_a_map(void **state)
{
    (void)state;
    uint32_t keyspace = make("map", "slots=37,ranges=5");
    struct hf_call call = call_in(keyspace);
    struct hf_span all;
    hf_span_init(&all);
    compare(keyspace, &all); /* nothing there */
    fill(keyspace);
    qsort(model, KEYS, sizeof model[0], by_key);
    compare(keyspace, &all);
    compare_at_random(keyspace);
    wait_ready("map");
    for (int i = 0; i < KEYS; i += 3) {
        model[i].is_there = false;
        assert_int_equal(hf_delete(client, hf_str(model[i].key), NULL, &call, NULL), HF_OK);
    }
    compare_at_random(keyspace);
    assert_int_equal(hf_scan_page(client, &all, &call, NULL), HF_ERR_UNSUPPORTED);
}

/* The versions of slots stay as they were, also in another scan; a new one sees what is new. */
static void test_cursor_keeps_versions(void **state)
{
    (void)state;
    uint32_t keyspace = make("kept", "slots=7,ranges=2");
    struct hf_call call = call_in(keyspace);
    struct hf_scan *scan = NULL;
    struct hf_item item;
    fill(keyspace);
    qsort(model, KEYS, sizeof model[0], by_key);
    assert_int_equal(hf_scan_new(client, NULL, &call, &scan), HF_OK);
    int at = 0;
    for (int told = 0; told < 20; at++) {
        if (!model[at].is_there)
            continue;
        assert_int_equal(hf_scan_next(scan, &item), 1);
        told++;
    }
    for (int i = 0; i < KEYS; i++) /* those that were not there, too */
        assert_int_equal(hf_put(client, hf_str(model[i].key), hf_str("new"), NULL, &call, NULL),
                         HF_OK);
    scan = cut(scan, 0);
    for (; at < KEYS / 2; at++) {
        if (!model[at].is_there)
            continue;
        assert_int_equal(hf_scan_next(scan, &item), 1);
        assert_int_equal(item.value.len, strlen(model[at].value));
        assert_memory_equal(item.value.data, model[at].value, item.value.len);
    }
    assert_int_equal(hf_scan_renew(scan), HF_OK);
    scan = cut(scan, 0);
    while (!model[at - 1].is_there) /* the place is behind the last key that was told */
        at--;
    for (; at < KEYS; at++) {
        assert_int_equal(hf_scan_next(scan, &item), 1);
        assert_int_equal(item.key.len, strlen(model[at].key));
        assert_memory_equal(item.key.data, model[at].key, item.key.len);
        assert_memory_equal(item.value.data, "new", 3);
    }
    assert_int_equal(hf_scan_next(scan, &item), 0);
    hf_scan_free(scan);
}

/* A cursor of a hashed keyspace, and a client that did not open it; and the longest keys. */
static void test_cursor_of_slots(void **state)
{
    (void)state;
    static uint8_t longest[4094];
    uint32_t keyspace = make("longest", "slots=3");
    struct hf_call call = call_in(keyspace);
    struct hf_scan *scan = NULL;
    struct hf_bytes cursor;
    struct hf_item item;
    struct hf_span span;
    memset(longest, 0xff, sizeof longest);
    assert_int_equal(hf_put(client, hf_str("a"), hf_str("v"), NULL, &call, NULL), HF_OK);
    assert_int_equal(
        hf_put(client, hf_bytes(longest, sizeof longest), hf_str("v"), NULL, &call, NULL), HF_OK);
    for (int reverse = 0; reverse < 2; reverse++) {
        hf_span_init(&span);
        span.reverse = reverse;
        assert_int_equal(hf_scan_new(client, &span, &call, &scan), HF_OK);
        for (int i = 0; i < 2; i++) {
            scan = cut(scan, 0);
            assert_int_equal(hf_scan_next(scan, &item), 1);
            assert_int_equal(item.key.len, i != reverse ? sizeof longest : 1);
        }
        scan = cut(scan, 0);
        assert_int_equal(hf_scan_next(scan, &item), 0);
        hf_scan_free(scan);
    }
    hf_span_init(&span);
    assert_int_equal(hf_scan_new(client, NULL, &call, &scan), HF_OK);
    assert_int_equal(hf_scan_next(scan, &item), 1);
    assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
    span.cursor = cursor;
    assert_int_equal(hf_scan_page(client, &span, NULL, NULL), HF_ERR_UNSUPPORTED);
    struct hf_options options;
    struct hf_client *stranger = NULL;
    struct hf_scan *other = NULL;
    hf_options_init(&options);
    options.endpoints = "127.0.0.1:1"; /* nobody is asked */
    assert_int_equal(hf_open(&options, &stranger), HF_OK);
    assert_int_equal(hf_scan_new(stranger, &span, NULL, &other), HF_ERR_INVALID);
    assert_int_equal(hf_close(stranger), HF_OK);
    hf_scan_free(scan);
}

/* All of a span, step by step: how many keys went. */
static uint64_t sweep(const struct hf_call *call, struct hf_span *span, uint32_t *ret_steps)
{
    uint8_t cursor[4096];
    uint64_t deleted = 0;
    int has_more = 1;
    *ret_steps = 0;
    span->cursor = (struct hf_bytes){0};
    while (has_more) {
        struct hf_result *result = NULL;
        assert_int_equal(hf_delete_range(client, span, call, &result), HF_OK);
        assert_true(result->deleted <= (span->limit_keys > 0 ? span->limit_keys : KEYS));
        assert_true(result->cursor.len <= sizeof cursor);
        memcpy(cursor, result->cursor.data, result->cursor.len);
        has_more = result->has_more;
        assert_true(!has_more || result->cursor.len > 0);
        span->cursor = hf_bytes(cursor, result->cursor.len);
        deleted += result->deleted;
        assert_true(++*ret_steps < 10 * KEYS);
        hf_result_free(result);
    }
    span->cursor = (struct hf_bytes){0};
    return deleted;
}

/* Delete the span, of the model, too. */
static void sweep_both(uint32_t keyspace, struct hf_span *span)
{
    struct hf_call call = call_in(keyspace);
    struct hf_span all;
    uint64_t want = 0;
    uint32_t steps;
    for (int i = 0; i < KEYS; i++) {
        if (is_in(&model[i], span)) {
            model[i].is_there = false;
            want++;
        }
    }
    assert_int_equal(sweep(&call, span, &steps), want);
    hf_span_init(&all);
    compare(keyspace, &all);
}

/* A span is in every slot; nothing beside it goes. */
static void test_sweeps_against_a_map(void **state)
{
    (void)state;
    uint32_t keyspace = make("swept", "slots=37,ranges=5");
    fill(keyspace);
    qsort(model, KEYS, sizeof model[0], by_key);
    for (int round = 0; round < 5; round++) {
        struct hf_span span;
        hf_span_init(&span);
        if (round == 1)
            wait_ready("swept");
        span.limit_keys = round % 2 == 0 ? 3 : 0;
        if (round < 2)
            span.prefix = hf_str(round == 0 ? "b\xff" : "c");
        if (round == 2)
            span.end = hf_str("bm/150");
        if (round == 3) {
            span.start = hf_str("dm");
            span.end = hf_str("dm/350");
        }
        sweep_both(keyspace, &span);
    }
}

/* Where there are many slots and few keys, a step passes by some; the cursor says how far. */
static void test_sweep_of_many_slots(void **state)
{
    (void)state;
    struct hf_call call = call_in(make("wide", "slots=65536"));
    struct hf_span span;
    uint32_t steps;
    hf_span_init(&span);
    for (int i = 0; i < 20; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(hf_put(client, hf_str(key), hf_str("v"), NULL, &call, NULL), HF_OK);
    }
    span.start = hf_str("k1"); /* k1, k10 to k19 */
    span.end = hf_str("k2");
    span.cursor = hf_bytes("\xff\xf0k1", 4); /* a few slots before the end */
    struct hf_result *result = NULL;
    assert_int_equal(hf_delete_range(client, &span, &call, &result), HF_OK);
    assert_int_equal(result->has_more, 0);
    hf_result_free(result);
    static const char *const wrong[] = {"k", "\x01\x01k0", "\x01\x01k3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        span.cursor = hf_str(wrong[i]);
        assert_int_equal(hf_delete_range(client, &span, &call, &result), HF_ERR_INVALID);
        hf_result_free(result);
        result = NULL;
    }
    span.cursor = (struct hf_bytes){0};
    assert_int_equal(hf_delete_range(client, &span, &call, &result), HF_OK);
    assert_true(result->has_more && result->cursor.len == 4 && result->deleted <= 1);
    hf_result_free(result);
    hf_span_init(&span); /* without bounds it is swept as it is stored */
    assert_int_equal(sweep(&call, &span, &steps), 20);
    assert_int_equal(steps, 1);
    char longest[4096];
    memset(longest, 'x', sizeof longest);
    span.start = hf_bytes(longest, 4095);
    assert_int_equal(hf_delete_range(client, &span, &call, &result), HF_ERR_TOO_LARGE);
    hf_result_free(result);
}

/* The highest slot has no slot behind it. */
static void test_all_slots(void **state)
{
    (void)state;
    struct hf_call call = call_in(make("all", "slots=65536"));
    struct hf_scan *scan = NULL;
    assert_int_equal(hf_scan_new(client, NULL, &call, &scan), HF_OK);
    hf_scan_free(scan); /* never begun */
    struct hf_result *result = NULL;
    assert_int_equal(hf_put(client, hf_str("k"), hf_str("v"), NULL, &call, NULL), HF_OK);
    assert_int_equal(hf_get(client, hf_str("k"), &call, &result), HF_OK);
    assert_memory_equal(result->items[0].key.data, "k", result->items[0].key.len);
    hf_result_free(result);
}

static void test_single_keys(void **state)
{
    (void)state;
    struct hf_call call = call_in(make("keys", "slots=16"));
    struct hf_result *result = NULL;
    char longest[4096];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(hf_put(client, hf_bytes(longest, 4095), hf_str("v"), NULL, &call, NULL),
                     HF_ERR_TOO_LARGE);
    assert_int_equal(hf_put(client, hf_bytes(longest, 4094), hf_str("v"), NULL, &call, NULL),
                     HF_OK);
    assert_int_equal(hf_get(client, hf_bytes(longest, 4094), &call, NULL), HF_OK);
    assert_int_equal(hf_get(client, hf_bytes(longest, 4095), &call, NULL), HF_ERR_TOO_LARGE);
    assert_int_equal(hf_increment(client, hf_str("n"), 5, NULL, &call, &result), HF_OK);
    assert_int_equal(result->items[0].number, 5);
    hf_result_free(result);
    assert_int_equal(hf_cas(client, hf_str("n"), hf_str("5"), hf_str("six"), &call, NULL), HF_OK);
    assert_int_equal(hf_put_if_absent(client, hf_str("n"), hf_str("7"), &call, NULL),
                     HF_ERR_CONDITION_FAILED);
    struct hf_bytes keys[] = {hf_str("n"), hf_str("nothing"), hf_bytes(longest, 4094)};
    assert_int_equal(hf_multi_get(client, keys, 3, &call, &result), HF_OK);
    assert_int_equal(result->count, 3);
    assert_int_equal(result->items[0].status, HF_OK);
    assert_memory_equal(result->items[0].key.data, "n", result->items[0].key.len);
    assert_memory_equal(result->items[0].value.data, "six", 3);
    assert_int_equal(result->items[1].status, HF_ERR_NOT_FOUND);
    assert_int_equal(result->items[2].key.len, 4094);
    hf_result_free(result);
    assert_int_equal(hf_get(client, hf_str("n"), NULL, NULL), HF_ERR_NOT_FOUND);
}

static int commit_spread(const struct hf_call *call)
{
    struct hf_batch *batch = NULL;
    char key[8];
    assert_int_equal(hf_batch_new(&batch), HF_OK);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(hf_batch_put(batch, hf_str(key), hf_str("v"), NULL), HF_OK);
    }
    int rv = hf_batch_commit(client, batch, call, NULL);
    hf_batch_free(batch);
    return rv;
}

static void test_batches(void **state)
{
    (void)state;
    struct hf_call whole = call_in(make("whole", "slots=16"));
    struct hf_call cut = call_in(make("cut", "slots=16,ranges=4"));
    wait_ready("whole");
    wait_ready("cut");
    assert_int_equal(commit_spread(&whole), HF_OK);
    assert_int_equal(hf_get(client, hf_str("k49"), &whole, NULL), HF_OK);
    assert_int_equal(commit_spread(&cut), HF_ERR_UNSUPPORTED);
    assert_int_equal(hf_get(client, hf_str("k49"), &cut, NULL), HF_ERR_NOT_FOUND);
}

static void want_event(struct hf_watch *watch, const char *key)
{
    struct hf_watch_batch *batch = NULL;
    size_t seen = 0;
    while (seen == 0) {
        int rv = hf_watch_next(watch, 30000, &batch);
        assert_int_equal(rv, 1);
        seen = batch->count;
        if (seen > 0) {
            assert_int_equal(batch->events[0].key.len, strlen(key));
            assert_memory_equal(batch->events[0].key.data, key, strlen(key));
        }
        hf_watch_batch_free(batch);
    }
    assert_int_equal(seen, 1);
}

static void test_watches(void **state)
{
    (void)state;
    struct hf_call call = call_in(make("watched", "slots=16"));
    struct hf_watch_options options;
    struct hf_watch *watch = NULL;
    struct hf_result *result = NULL;
    assert_int_equal(hf_put(client, hf_str("one"), hf_str("1"), NULL, &call, &result), HF_OK);
    hf_watch_options_init(&options);
    options.keyspace = call.keyspace;
    options.from_version = result->version;
    hf_result_free(result);
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_OK); /* all */
    want_event(watch, "one");
    hf_watch_close(watch);
    options.key = hf_str("two");
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_OK);
    assert_int_equal(hf_put(client, hf_str("one"), hf_str("2"), NULL, &call, NULL), HF_OK);
    assert_int_equal(hf_put(client, hf_str("two"), hf_str("2"), NULL, &call, NULL), HF_OK);
    want_event(watch, "two");
    hf_watch_close(watch);
}

static void put_both(struct hf_call *call)
{
    assert_int_equal(hf_put(client, hf_str("one"), hf_str("x"), NULL, call, NULL), HF_OK);
    assert_int_equal(hf_put(client, hf_str("two"), hf_str("x"), NULL, call, NULL), HF_OK);
}

/* What is told from here on was put later. */
static uint64_t version_now(struct hf_call *call)
{
    struct hf_result *result = NULL;
    assert_int_equal(hf_put(client, hf_str("zzz"), hf_str("x"), NULL, call, &result), HF_OK);
    uint64_t version = result->version;
    hf_result_free(result);
    return version;
}

/* Keys of a prefix, or between bounds, stand in all slots: they are sifted, and whoever goes on
 * by a token goes on so. */
static void test_sifted_watches(void **state)
{
    (void)state;
    struct hf_call call = call_in(make("sifted", "slots=16"));
    struct hf_watch_options options;
    struct hf_watch *watch = NULL;
    struct hf_bytes token;
    uint8_t kept[4096];
    hf_watch_options_init(&options);
    options.keyspace = call.keyspace;
    options.start = hf_str("b");
    options.end = hf_str("b");
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_ERR_INVALID);
    options.end = hf_str("p");
    options.from_version = version_now(&call);
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_OK);
    put_both(&call);
    want_event(watch, "one");
    hf_watch_close(watch);
    options.start = options.end = (struct hf_bytes){0};
    options.prefix = hf_str("t");
    options.from_version = version_now(&call);
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_OK);
    put_both(&call);
    want_event(watch, "two");
    assert_int_equal(hf_watch_token(watch, &token), HF_OK);
    assert_true(token.len <= sizeof kept);
    memcpy(kept, token.data, token.len);
    options.prefix = (struct hf_bytes){0};
    options.from_version = 0;
    options.token = hf_bytes(kept, token.len);
    hf_watch_close(watch);
    put_both(&call);
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_OK);
    want_event(watch, "two");
    hf_watch_close(watch);
    for (size_t i = 0; i < options.token.len; i++) { /* any damage is found */
        kept[i] ^= 1;
        assert_int_equal(hf_watch_open(client, &options, &watch), HF_ERR_INVALID);
        kept[i] ^= 1;
    }
}

/* By a client that has not opened it. */
static void want_refused(const struct hf_call *call)
{
    struct hf_result *result = NULL;
    struct hf_scan *scan = NULL;
    struct hf_watch *watch = NULL;
    struct hf_watch_options options;
    const struct hf_bytes keys[] = {hf_str("k"), hf_str("l")};
    assert_int_equal(hf_get(client, keys[0], call, &result), HF_ERR_INVALID);
    assert_non_null(strstr(result->message, "hf_keyspace_open()"));
    hf_result_free(result);
    assert_int_equal(hf_multi_get(client, keys, 2, call, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_scan_page(client, NULL, call, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_scan_new(client, NULL, call, &scan), HF_ERR_INVALID);
    hf_watch_options_init(&options);
    options.keyspace = call->keyspace;
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_ERR_INVALID);
    options.key = keys[0];
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_ERR_INVALID);
}

/* As they are stored, on request: behind two bytes of slot, if there are slots. */
static void want_stored(const struct hf_call *call, size_t skip)
{
    struct hf_result *result = NULL;
    struct hf_scan *scan = NULL;
    struct hf_item item;
    struct hf_span span;
    struct hf_bytes cursor;
    uint8_t kept[256];
    hf_span_init(&span);
    span.as_stored = 1;
    assert_int_equal(hf_scan_page(client, &span, call, &result), HF_OK);
    assert_int_equal(result->count, 1);
    assert_int_equal(result->items[0].key.len, skip + 1);
    hf_result_free(result);
    assert_int_equal(hf_scan_new(client, &span, call, &scan), HF_OK);
    assert_int_equal(hf_scan_next(scan, &item), 1);
    assert_int_equal(item.key.len, skip + 1);
    assert_memory_equal((const char *)item.key.data + skip, "k", 1);
    assert_int_equal(hf_scan_cursor(scan, &cursor), HF_OK);
    assert_true(cursor.len <= sizeof kept);
    memcpy(kept, cursor.data, cursor.len);
    span.cursor = hf_bytes(kept, cursor.len);
    hf_scan_free(scan);
    assert_int_equal(hf_scan_new(client, &span, NULL, &scan), HF_OK);
    assert_int_equal(hf_scan_next(scan, &item), 0);
    hf_scan_free(scan);
}

/* A token and a cursor of who has opened it are of no more use to who has not. */
static void want_no_way_around(const struct hf_bytes *token, const struct hf_bytes *cursor)
{
    struct hf_watch_options options;
    struct hf_watch *watch = NULL;
    struct hf_scan *scan = NULL;
    struct hf_span span;
    hf_watch_options_init(&options);
    options.token = *token;
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_ERR_INVALID);
    hf_span_init(&span);
    span.cursor = *cursor;
    assert_int_equal(hf_scan_new(client, &span, NULL, &scan), HF_ERR_INVALID);
}

static void take_places(const struct hf_call *call, uint8_t *bytes, struct hf_bytes *ret_token,
                        struct hf_bytes *ret_cursor)
{
    struct hf_watch_options options;
    struct hf_watch *watch = NULL;
    struct hf_scan *scan = NULL;
    hf_watch_options_init(&options);
    options.keyspace = call->keyspace;
    options.key = hf_str("k");
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_OK);
    assert_int_equal(hf_watch_token(watch, ret_token), HF_OK);
    memcpy(bytes, ret_token->data, ret_token->len);
    ret_token->data = bytes;
    hf_watch_close(watch);
    assert_int_equal(hf_scan_new(client, NULL, call, &scan), HF_OK);
    assert_int_equal(hf_scan_cursor(scan, ret_cursor), HF_OK);
    memcpy(bytes + ret_token->len, ret_cursor->data, ret_cursor->len);
    ret_cursor->data = bytes + ret_token->len;
    hf_scan_free(scan);
}

/* What a read does not find where it looks may be there: behind which slot, nobody here knows. */
static void test_reads_by_number(void **state)
{
    (void)state;
    static const char *const names[] = {"read-hashed", "read-plain"};
    uint8_t bytes[2][1024];
    struct hf_bytes token[2], cursor[2];
    struct hf_call call[2];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        call[i] = call_in(make(names[i], i == 0 ? "slots=16" : ""));
        assert_int_equal(hf_put(client, hf_str("k"), hf_str("v"), NULL, &call[i], NULL), HF_OK);
        take_places(&call[i], bytes[i], &token[i], &cursor[i]);
    }
    assert_int_equal(hf_close(client), HF_OK);
    open_client();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        want_refused(&call[i]);
        want_no_way_around(&token[i], &cursor[i]);
        want_stored(&call[i], i == 0 ? 2 : 0);
        assert_int_equal(hf_keyspace_open(client, names[i], NULL, NULL), HF_OK);
        assert_int_equal(hf_get(client, hf_str("k"), &call[i], NULL), HF_OK);
        want_stored(&call[i], i == 0 ? 2 : 0);
    }
}

/* Whether keys of it stand behind slots is known of a keyspace once it was opened. */
static void test_by_number(void **state)
{
    (void)state;
    struct hf_call call = call_in(make("by-number", "slots=16"));
    assert_int_equal(hf_put(client, hf_str("k"), hf_str("v"), NULL, &call, NULL), HF_OK);
    call.keyspace += 1000;
    assert_int_equal(hf_put(client, hf_str("k"), hf_str("v"), NULL, &call, NULL), HF_ERR_INVALID);
    call.keyspace = UINT32_C(3000000000); /* of no name ever */
    assert_int_equal(hf_put(client, hf_str("k"), hf_str("v"), NULL, &call, NULL), HF_ERR_INVALID);
    struct hf_span span;
    struct hf_result *result = NULL;
    hf_span_init(&span);
    assert_int_equal(hf_delete_range(client, &span, &call, &result), HF_ERR_INVALID);
    hf_result_free(result);
    span.as_stored = 1;
    call.keyspace = make("swept-as-stored", "slots=16") + 1000; /* nobody has opened it */
    assert_int_equal(hf_delete_range(client, &span, &call, &result), HF_OK);
    hf_result_free(result);
    call.keyspace = 65535;
    assert_int_equal(hf_put(client, hf_str("k"), hf_str("v"), NULL, &call, NULL), HF_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_scans_against_a_map),
        cmocka_unit_test(test_cursor_keeps_versions),
        cmocka_unit_test(test_cursor_of_slots),
        cmocka_unit_test(test_sweeps_against_a_map),
        cmocka_unit_test(test_sweep_of_many_slots),
        cmocka_unit_test(test_all_slots),
        cmocka_unit_test(test_single_keys),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_watches),
        cmocka_unit_test(test_sifted_watches),
        cmocka_unit_test(test_by_number),
        cmocka_unit_test(test_reads_by_number),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
