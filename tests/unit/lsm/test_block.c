/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/block.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/rng.h"
#include "lsm/lsm.h"
#include "support/check.h"

static void add(struct block_builder *b, const char *key, uint64_t version, const char *value)
{
    struct buf ikey;
    buf_init(&ikey, LSM_KEY_MAX + 8);
    ikey_append(&ikey, slice_str(key), version);
    block_builder_add(b, buf_slice(&ikey), slice_str(""), slice_str(value));
    buf_fini(&ikey);
}

static void make(struct block_builder *b, unsigned restart_every)
{
    block_builder_init(b, restart_every);
    add(b, "apple", 9, "1");
    add(b, "apple", 3, "2");
    add(b, "applepie", 3, "3");
    add(b, "b", 1, "4");
    add(b, "banana", 7, "5");
    add(b, "banana", 6, "6");
    add(b, "c", 0, "7");
}

static const struct {
    const char *key;
    uint64_t version;
    const char *want; /* value at which a seek stands, "" past the end */
} seeks[] = {
    {"a", 5, "1"},          {"apple", 10, "1"},   {"apple", 9, "1"},    {"apple", 8, "2"},
    {"apple", 2, "3"},      {"applepie", 3, "3"}, {"applepie", 2, "4"}, {"b", UINT64_MAX, "4"},
    {"b", 0, "5"},          {"banana", 6, "6"},   {"banana", 5, "7"},   {"c", 0, "7"},
    {"c", UINT64_MAX, "7"}, {"d", 1, ""},
};

/* Every restart interval finds the same. */
static void test_seek(void **state)
{
    (void)state;
    for (unsigned every = 1; every <= 8; every++) {
        struct block_builder b;
        struct block_iter it;
        struct slice block;
        make(&b, every);
        assert_int_equal(block_builder_finish(&b, &block), 0);
        assert_int_equal(block_iter_init(&it, block), 0);
        for (size_t i = 0; i < ARRAY_LEN(seeks); i++) {
            block_iter_seek(&it, slice_str(seeks[i].key), seeks[i].version);
            bool want = seeks[i].want[0] != 0;
            if (it.is_valid != want || (want && !slice_equal(it.value, slice_str(seeks[i].want))))
                fail_msg("every %u, row %zu", every, i);
        }
        block_iter_fini(&it);
        block_builder_fini(&b);
    }
}

static void test_walk(void **state)
{
    (void)state;
    for (unsigned every = 1; every <= 8; every++) {
        struct block_builder b;
        struct block_iter it;
        struct slice block;
        char got[32] = "";
        size_t n = 0;
        make(&b, every);
        assert_int_equal(block_builder_finish(&b, &block), 0);
        assert_int_equal(block_iter_init(&it, block), 0);
        for (block_iter_first(&it); it.is_valid; block_iter_next(&it))
            got[n++] = (char)it.value.data[0];
        for (block_iter_last(&it); it.is_valid; block_iter_prev(&it))
            got[n++] = (char)it.value.data[0];
        assert_string_equal(got, "12345677654321");
        assert_int_equal(it.status, 0);
        block_iter_fini(&it);
        block_builder_fini(&b);
    }
}

/* The longest key there is goes beyond the room inside the iterator. */
static void test_long_key(void **state)
{
    (void)state;
    struct block_builder b;
    struct block_iter it;
    struct slice block;
    char *key = malloc(LSM_KEY_MAX + 1);
    assert_non_null(key);
    memset(key, 'k', LSM_KEY_MAX);
    key[LSM_KEY_MAX] = 0;
    block_builder_init(&b, 4);
    add(&b, "k", 1, "short");
    add(&b, key, 1, "long");
    assert_int_equal(block_builder_finish(&b, &block), 0);
    assert_int_equal(block_iter_init(&it, block), 0);
    block_iter_seek(&it, slice_str(key), 1);
    assert_true(it.is_valid && slice_equal(it.value, slice_str("long")));
    assert_int_equal(block_iter_key(&it).len, LSM_KEY_MAX + 8);
    block_iter_prev(&it);
    assert_true(it.is_valid && slice_equal(it.value, slice_str("short")));
    block_iter_fini(&it);
    block_builder_fini(&b);
    free(key);
}

static void touch(struct slice s, unsigned *sum)
{
    for (size_t i = 0; i < s.len; i++)
        *sum += s.data[i];
}

/* Whatever the bytes are, every access stays inside them and every walk ends. */
static void test_damage(void **state)
{
    (void)state;
    struct block_builder b;
    struct slice block;
    struct rng rng;
    unsigned sum = 0, corrupt = 0;
    rng_init(&rng, 3);
    make(&b, 3);
    assert_int_equal(block_builder_finish(&b, &block), 0);
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = rng_chance(&rng, 1, 3) ? (size_t)rng_below(&rng, block.len + 1) : block.len;
        uint8_t *bad = malloc(MAX(len, (size_t)1)); /* of exactly this size, for ASan */
        struct block_iter it;
        assert_non_null(bad);
        memcpy(bad, block.data, len);
        for (uint64_t n = rng_below(&rng, 4); n > 0 && len > 0; n--)
            bad[rng_below(&rng, len)] = (uint8_t)rng_u64(&rng);
        if (block_iter_init(&it, slice_of(bad, len)) == 0) {
            unsigned steps = 0;
            for (block_iter_first(&it); it.is_valid && steps < 1000; block_iter_next(&it), steps++)
                touch(it.value, &sum);
            for (block_iter_last(&it); it.is_valid && steps < 2000; block_iter_prev(&it), steps++)
                touch(block_iter_key(&it), &sum);
            block_iter_seek(&it, slice_str("banana"), 6);
            assert_true(steps < 2000);
        }
        corrupt += it.status == ERR_CORRUPT;
        block_iter_fini(&it);
        free(bad);
    }
    assert_true(corrupt > 1000);
    assert_true(sum > 0);
    block_builder_fini(&b);
}

/* Random keys that are prefixes of each other, share much or little, at several versions:
 * a seek must find what looking at every entry finds. */
enum { RANDOM_KEYS = 60, RANDOM_KEY_MAX = 40 };

struct random_key {
    uint8_t bytes[RANDOM_KEY_MAX];
    size_t len;
    uint64_t version;
};

static void random_key(struct rng *rng, struct random_key *key)
{
    key->len = 1 + rng_below(rng, RANDOM_KEY_MAX);
    for (size_t i = 0; i < key->len; i++)
        key->bytes[i] = rng_chance(rng, 7, 8) ? 0xfe : (uint8_t)(0xfd + rng_below(rng, 3));
    key->version = UINT64_MAX - rng_below(rng, 3);
}

static int by_order(const void *a, const void *b)
{
    const struct random_key *x = a, *y = b;
    return entry_compare(slice_of(x->bytes, x->len), x->version, slice_of(y->bytes, y->len),
                         y->version);
}

static void random_block(struct rng *rng, unsigned every)
{
    struct random_key keys[RANDOM_KEYS], seek;
    struct block_builder b;
    struct block_iter it;
    struct slice block;
    block_builder_init(&b, every);
    for (size_t i = 0; i < RANDOM_KEYS; i++)
        random_key(rng, &keys[i]);
    qsort(keys, RANDOM_KEYS, sizeof keys[0], by_order);
    for (size_t i = 0; i < RANDOM_KEYS; i++) {
        char key[RANDOM_KEY_MAX + 1] = {0}, value[8];
        memcpy(key, keys[i].bytes, keys[i].len); /* never a zero byte in it */
        snprintf(value, sizeof value, "%zu", i);
        add(&b, key, keys[i].version, value);
    }
    assert_int_equal(block_builder_finish(&b, &block), 0);
    assert_int_equal(block_iter_init(&it, block), 0);
    for (unsigned n = 0; n < 200; n++) {
        char want[8] = "";
        random_key(rng, &seek);
        for (size_t i = RANDOM_KEYS; i-- > 0;) {
            if (by_order(&keys[i], &seek) >= 0)
                snprintf(want, sizeof want, "%zu", i);
        }
        block_iter_seek(&it, slice_of(seek.bytes, seek.len), seek.version);
        assert_int_equal(it.is_valid, want[0] != 0);
        /* Of equals the first is found. */
        if (it.is_valid && !slice_equal(it.value, slice_str(want)))
            fail_msg("every %u: found %.*s, want %s", every, (int)it.value.len,
                     (const char *)it.value.data, want);
    }
    block_iter_fini(&it);
    block_builder_fini(&b);
}

static void test_seek_random(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (unsigned n = 0; n < 200; n++)
        random_block(&rng, 1 + n % 17);
}

/* The longest key with the largest value goes behind all that a block may have before. */
static void test_largest(void **state)
{
    (void)state;
    struct block_builder b;
    struct slice block;
    struct buf ikey;
    char key[LSM_KEY_MAX];
    char first[16];
    char *value = malloc(LSM_VALUE_MAX);
    assert_non_null(value);
    memset(value, 'v', LSM_VALUE_MAX);
    memset(key, 'z', sizeof key);
    buf_init(&ikey, LSM_KEY_MAX + IKEY_TRAILER);
    block_builder_init(&b, 1);
    for (unsigned i = 0; block_builder_bytes(&b) < LSM_BLOCK_MAX - 100; i++) {
        snprintf(first, sizeof first, "k%08u", i);
        add(&b, first, 1, "v");
    }
    ikey_append(&ikey, slice_of(key, sizeof key), 1);
    block_builder_add(&b, buf_slice(&ikey), slice_str("123456789"), slice_of(value, LSM_VALUE_MAX));
    assert_int_equal(block_builder_finish(&b, &block), 0);
    assert_true(block.len > LSM_BLOCK_MAX + LSM_VALUE_MAX);
    block_builder_fini(&b);
    buf_fini(&ikey);
    free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seek),   cmocka_unit_test(test_seek_random),
        cmocka_unit_test(test_walk),   cmocka_unit_test(test_long_key),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_largest),
    };
    return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
