/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "lsm/memtable.h"
#include "support/check.h"

static void add(struct memtable *mem, const char *key, uint64_t version, const char *value)
{
    struct entry e = {.key = slice_str(key),
                      .version = version,
                      .kind = value != NULL ? ENTRY_PUT : ENTRY_DELETE};
    if (value != NULL)
        e.value = slice_str(value);
    assert_int_equal(memtable_reserve(mem, 1, e.key.len + e.value.len), 0);
    memtable_write_begin(mem);
    memtable_add(mem, &e, 1);
}

/* Writes 1 to 7; the last is a second write of (b, 5). */
static struct memtable *sample(void)
{
    struct memtable *mem = memtable_new(1 << 20, NULL);
    assert_non_null(mem);
    add(mem, "b", 5, "b5");
    add(mem, "a", 1, "a1");
    add(mem, "c", 9, "c9");
    add(mem, "b", 7, NULL);
    add(mem, "a", 3, "a3");
    add(mem, "bb", 2, "bb2");
    add(mem, "b", 5, "again");
    memtable_check(mem);
    return mem;
}

static const struct {
    const char *key;
    uint64_t version;
    uint32_t limit;
    const char *want; /* NULL: not there; "" a delete */
} gets[] = {
    {"a", UINT64_MAX, 7, "a3"}, {"a", 3, 7, "a3"},          {"a", 2, 7, "a1"},
    {"a", 0, 7, NULL},          {"a", UINT64_MAX, 4, "a1"}, {"a", UINT64_MAX, 1, NULL},
    {"b", UINT64_MAX, 7, ""},   {"b", 6, 7, "again"},       {"b", 6, 6, "b5"},
    {"b", 5, 1, "b5"},          {"b", UINT64_MAX, 3, "b5"}, {"bb", 2, 7, "bb2"},
    {"aa", 9, 7, NULL},         {"d", 9, 7, NULL},          {"c", 8, 7, NULL},
    {"c", 9, 2, NULL},
};

/* Each get sees the newest write of a version among those up to its limit. */
static void test_get(void **state)
{
    (void)state;
    struct memtable *mem = sample();
    for (size_t i = 0; i < ARRAY_LEN(gets); i++) {
        struct entry e = {0};
        bool found = memtable_get(mem, slice_str(gets[i].key), gets[i].version, gets[i].limit, &e);
        if (found != (gets[i].want != NULL))
            fail_msg("row %zu: found %d", i, found);
        if (found && !slice_equal(e.value, slice_str(gets[i].want)))
            fail_msg("row %zu: %.*s", i, (int)e.value.len, e.value.data);
        if (found)
            assert_int_equal(e.kind == ENTRY_DELETE, gets[i].want[0] == 0);
    }
    memtable_unref(mem);
}

static void show(char *out, size_t size, const struct cursor *c)
{
    size_t n = strlen(out);
    snprintf(out + n, size - n, "%.*s%llu ", (int)c->at->key.len, c->at->key.data,
             (unsigned long long)c->at->version);
}

static void walk(const struct memtable *mem, uint32_t limit, const char *forward,
                 const char *backward)
{
    char got[200] = "";
    struct cursor *c = memtable_cursor(mem, limit);
    for (cursor_first(c); c->is_valid; cursor_next(c))
        show(got, sizeof got, c);
    assert_string_equal(got, forward);
    got[0] = 0;
    for (cursor_last(c); c->is_valid; cursor_prev(c))
        show(got, sizeof got, c);
    assert_string_equal(got, backward);
    cursor_free(c);
}

static void test_walk(void **state)
{
    (void)state;
    struct memtable *mem = sample();
    walk(mem, 7, "a3 a1 b7 b5 b5 bb2 c9 ", "c9 bb2 b5 b5 b7 a1 a3 ");
    walk(mem, 3, "a1 b5 c9 ", "c9 b5 a1 ");
    walk(mem, 0, "", "");
    struct cursor *c = memtable_cursor(mem, 7);
    cursor_seek(c, slice_str("b"), 6);
    assert_true(c->is_valid && slice_equal(c->at->value, slice_str("again")));
    cursor_seek_before(c, slice_str("b"), 5);
    assert_true(c->is_valid && c->at->version == 7);
    cursor_seek_before(c, slice_str("a"), 3);
    assert_false(c->is_valid);
    cursor_free(c);
    assert_true(memtable_overlaps(mem, slice_str("ba"), slice_str("bc")));
    assert_false(memtable_overlaps(mem, slice_str("ba"), slice_str("bb")));
    assert_true(memtable_overlaps(mem, slice_str("c"), slice_str("")));
    assert_false(memtable_overlaps(mem, slice_str("d"), slice_str("")));
    memtable_unref(mem);
}

/* Memory is counted, and large entries fit. */
static void test_bytes(void **state)
{
    (void)state;
    struct memtable *mem = memtable_new(1 << 20, NULL);
    assert_int_equal(memtable_bytes(mem), 0);
    char *big = malloc(1 << 20);
    assert_non_null(big);
    memset(big, 'x', (1 << 20) - 1);
    big[(1 << 20) - 1] = 0;
    add(mem, "k", 1, big);
    assert_true(memtable_bytes(mem) > 1 << 20);
    for (unsigned i = 0; i < 5000; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u", i);
        add(mem, key, i, "value");
    }
    assert_int_equal(memtable_count(mem), 5001);
    assert_true(memtable_bytes(mem) < (1 << 20) + 5000 * 160 + (512 << 10));
    memtable_check(mem);
    free(big);
    memtable_unref(mem);
}

/* ---- one writer, several readers ---------------------------------------- */

enum { THREADS = 3, WRITES = 20000, KEYS = 500 };

struct readers {
    struct memtable *mem;
    _Atomic uint32_t published; /* writes known to be complete */
    _Atomic bool is_done;
};

static uint64_t key_number(struct slice key)
{
    return get_u64be(key.data);
}

/* Order holds, nothing beyond the limit shows, and what was published is there. */
static void *reader_main(void *data)
{
    struct readers *r = data;
    uint64_t rounds = 0;
    do {
        uint32_t limit = r->published;
        struct cursor *c = memtable_cursor(r->mem, limit);
        uint64_t last = 0, last_version = UINT64_MAX, count = 0;
        for (cursor_first(c); c->is_valid; cursor_next(c), count++) {
            uint64_t key = key_number(c->at->key);
            ASSERT(c->at->version <= limit);
            ASSERT(count == 0 || key > last || (key == last && c->at->version < last_version));
            ASSERT(get_u64(c->at->value.data) == (key ^ c->at->version));
            last = key;
            last_version = c->at->version;
        }
        ASSERT(count == limit);
        cursor_free(c);
        rounds++;
    } while (!r->is_done);
    ASSERT(rounds > 0);
    return NULL;
}

static void write_one(struct readers *r, struct rng *rng, uint64_t version)
{
    uint8_t key[8], value[8];
    uint64_t number = rng_below(rng, KEYS);
    put_u64be(key, number);
    put_u64(value, number ^ version);
    struct entry e = {.key = slice_of(key, 8),
                      .version = version,
                      .kind = ENTRY_PUT,
                      .value = slice_of(value, 8)};
    assert_int_equal(memtable_reserve(r->mem, 1, 16), 0);
    uint32_t write = memtable_write_begin(r->mem);
    memtable_add(r->mem, &e, 1);
    r->published = write;
}

static void test_threads(void **state)
{
    (void)state;
    struct readers r = {.mem = memtable_new(1 << 20, NULL)};
    struct rng rng;
    pthread_t threads[THREADS];
    rng_init(&rng, 1);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader_main, &r), 0);
    for (uint64_t i = 1; i <= WRITES; i++)
        write_one(&r, &rng, i);
    r.is_done = true;
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    memtable_check(r.mem);
    memtable_unref(r.mem);
}

static void add_key(struct memtable *mem, const char *key, uint64_t version)
{
    struct entry e = {.key = slice_str(key), .version = version, .kind = ENTRY_PUT};
    e.value = e.key;
    assert_int_equal(memtable_reserve(mem, 1, 2 * e.key.len), 0);
    memtable_write_begin(mem);
    memtable_add(mem, &e, 1);
}

/* A memtable that has learned what keys have in common finds all keys, those that have it
 * and those below, above and in the middle of it. */
static void test_learn(void **state)
{
    (void)state;
    static const char *const others[] = {"a",
                                         "tenant",
                                         "tenant-17/",
                                         "tenant-17/user",
                                         "tenant-17/user-",
                                         "tenant-2",
                                         "tenant-16/user-77",
                                         "tenant-17/user-\xff",
                                         "z"};
    struct memtable *before = memtable_new(1 << 20, NULL), *mem = memtable_new(1 << 20, NULL);
    struct entry found;
    char key[40];
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "tenant-17/user-%04u", i * 7919 % 2000);
        add_key(before, key, 1);
    }
    add_key(before, "!meta", 1);
    memtable_learn(mem, before);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        add_key(mem, others[i], 5);
    for (unsigned i = 0; i < 2000; i += 2) {
        snprintf(key, sizeof key, "tenant-17/user-%04u", i * 7919 % 2000);
        add_key(mem, key, 1 + i % 3);
    }
    memtable_check(mem);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_true(memtable_get(mem, slice_str(others[i]), 5, UINT32_MAX, &found));
        assert_false(memtable_get(mem, slice_str(others[i]), 4, UINT32_MAX, &found));
    }
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "tenant-17/user-%04u", i * 7919 % 2000);
        assert_int_equal(memtable_get(mem, slice_str(key), 9, UINT32_MAX, &found), i % 2 == 0);
        snprintf(key, sizeof key, "tenant-17/user-%04ux", i);
        assert_false(memtable_get(mem, slice_str(key), 9, UINT32_MAX, &found));
    }
    memtable_unref(before);
    memtable_unref(mem);
}

enum { TOGETHER = 100, DISTINCT = 60, ROUNDS = 40 };

/* Entries that are added together, neighbours and second writes of one (key, version)
 * among them, stand as those that are added one by one. */
static void test_together(void **state)
{
    (void)state;
    struct memtable *one = memtable_new(1 << 20, NULL), *many = memtable_new(1 << 20, NULL);
    struct rng rng;
    rng_init(&rng, 3);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct entry entries[TOGETHER];
        char keys[TOGETHER][16];
        size_t count = rng_below(&rng, TOGETHER + 1);
        for (size_t i = 0; i < count; i++) {
            snprintf(keys[i], sizeof keys[i], "key-%02u", (unsigned)rng_below(&rng, DISTINCT));
            entries[i] = (struct entry){.key = slice_str(keys[i]),
                                        .version = rng_below(&rng, 5),
                                        .kind = ENTRY_PUT,
                                        .value = slice_of(keys[i], rng_below(&rng, 6))};
        }
        assert_int_equal(memtable_reserve(one, count, count * 16), 0);
        assert_int_equal(memtable_reserve(many, count, count * 16), 0);
        memtable_write_begin(one);
        memtable_write_begin(many);
        for (size_t i = 0; i < count; i++)
            memtable_add(one, &entries[i], 1);
        memtable_add(many, entries, count);
    }
    memtable_check(many);
    assert_int_equal(memtable_count(one), memtable_count(many));
    struct cursor *a = memtable_cursor(one, UINT32_MAX), *b = memtable_cursor(many, UINT32_MAX);
    for (cursor_first(a), cursor_first(b); a->is_valid; cursor_next(a), cursor_next(b)) {
        assert_true(b->is_valid);
        assert_true(slice_equal(a->at->key, b->at->key));
        assert_true(slice_equal(a->at->value, b->at->value));
        assert_int_equal(a->at->version, b->at->version);
    }
    assert_false(b->is_valid);
    cursor_free(a);
    cursor_free(b);
    memtable_unref(one);
    memtable_unref(many);
}

/* One that learns while it is filled holds the same, at the same limits. */
static void test_relearn(void **state)
{
    (void)state;
    struct memtable *mem = memtable_new(1 << 20, NULL);
    struct entry found;
    char key[40];
    unsigned copies = 0;
    for (unsigned i = 0; i < 20000; i++) {
        struct memtable *fresh = memtable_relearn(mem, 1 << 20);
        if (fresh != NULL) {
            assert_int_equal(memtable_count(fresh), memtable_count(mem));
            assert_int_equal(memtable_writes(fresh), memtable_writes(mem));
            memtable_unref(mem);
            mem = fresh;
            memtable_check(mem);
            copies++;
        }
        snprintf(key, sizeof key, "tenant-17/user-%09u", i);
        add_key(mem, key, 1);
        add_key(mem, "tenant-17/user-last", i);
    }
    memtable_check(mem);
    assert_in_range(copies, 1, 3); /* in ascending order it learns too much at first */
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "tenant-17/user-%09u", i);
        assert_true(memtable_get(mem, slice_str(key), 9, 2 * i + 1, &found));
        assert_false(memtable_get(mem, slice_str(key), 9, 2 * i, &found));
        assert_true(memtable_get(mem, slice_str("tenant-17/user-last"), i, 2 * i + 2, &found));
        assert_int_equal(found.version, i);
    }
    memtable_unref(mem);
}

/* Of large values there is nothing to gain that were worth copying them. */
static void test_no_relearning_of_large_values(void **state)
{
    (void)state;
    static char value[8192];
    struct memtable *mem = memtable_new(1 << 20, NULL);
    char key[40];
    memset(value, 'v', sizeof value - 1);
    for (unsigned i = 0; i < 4500; i++) {
        assert_null(memtable_relearn(mem, 1 << 20));
        snprintf(key, sizeof key, "tenant-17/user-%09u", i * 7919 % 4500);
        add(mem, key, 1, value);
    }
    memtable_unref(mem);
}

/* An expiry is kept where there is one. */
static void test_expiry(void **state)
{
    (void)state;
    struct memtable *mem = memtable_new(1 << 20, NULL);
    struct entry e = {.key = slice_str("k"), .version = 3, .kind = ENTRY_PUT_EXPIRES};
    e.expiry_ms = UINT64_C(0x1122334455667788);
    e.value = slice_str("v");
    assert_int_equal(memtable_reserve(mem, 1, 2), 0);
    memtable_write_begin(mem);
    memtable_add(mem, &e, 1);
    struct entry found = {0};
    assert_true(memtable_get(mem, slice_str("k"), 3, 1, &found));
    assert_true(found.expiry_ms == e.expiry_ms);
    assert_true(slice_equal(found.value, e.value));
    assert_true(slice_equal(found.key, e.key));
    memtable_unref(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learn),   cmocka_unit_test(test_together),
        cmocka_unit_test(test_relearn), cmocka_unit_test(test_no_relearning_of_large_values),
        cmocka_unit_test(test_expiry),  cmocka_unit_test(test_get),
        cmocka_unit_test(test_walk),    cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("memtable", tests, NULL, NULL);
}
