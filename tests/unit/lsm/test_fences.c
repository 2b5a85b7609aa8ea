/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/fences.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/rng.h"
#include "lsm/block.h"
#include "support/check.h"

enum { KEYS = 150, KEY_BYTES = 30 };

struct key {
    uint8_t bytes[KEY_BYTES];
    size_t len;
    uint64_t version;
};

static int by_order(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    return entry_compare(slice_of(x->bytes, x->len), x->version, slice_of(y->bytes, y->len),
                         y->version);
}

/* Keys that have `common` bytes in common and few different ones behind. */
static void random_key(struct rng *rng, size_t common, struct key *key)
{
    memset(key->bytes, 'c', common);
    key->len = common + rng_below(rng, KEY_BYTES - common) + (common == 0);
    for (size_t i = common; i < key->len; i++)
        key->bytes[i] = rng_chance(rng, 3, 4) ? 0 : (uint8_t)rng_below(rng, 256);
    key->version = rng_below(rng, 4);
}

static struct block *make(struct rng *rng, size_t common, struct key keys[KEYS])
{
    struct block_builder b;
    struct slice plain;
    struct block *block = NULL;
    struct buf ikey;
    struct err err = {0};
    block_builder_init(&b, 4);
    buf_init(&ikey, 1000);
    for (size_t i = 0; i < KEYS; i++)
        random_key(rng, common, &keys[i]);
    qsort(keys, KEYS, sizeof keys[0], by_order);
    for (size_t i = 0; i < KEYS; i++) {
        uint8_t value[2 * VARINT_MAX];
        size_t n = put_varint(value, i * 5000);
        n += put_varint(value + n, i + 1);
        buf_clear(&ikey);
        ikey_append(&ikey, slice_of(keys[i].bytes, keys[i].len), keys[i].version);
        block_builder_add(&b, buf_slice(&ikey), slice_of(value, n), (struct slice){0});
    }
    assert_int_equal(block_builder_finish(&b, &plain), 0);
    assert_int_equal(fences_decode(NULL, plain, &block, &err), 0);
    block_builder_fini(&b);
    buf_fini(&ikey);
    return block;
}

/* A search finds what looking at every entry finds. */
static void test_find(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t round = 0; round < 100; round++) {
        struct key keys[KEYS], seek;
        size_t common = round % 20;
        struct block *block = make(&rng, common, keys);
        struct fences f = fences_of(block);
        assert_int_equal(f.count, KEYS);
        for (unsigned n = 0; n < 300; n++) {
            size_t want = 0;
            random_key(&rng, rng_below(&rng, common + 1), &seek);
            if (n % 3 == 0)
                seek = keys[rng_below(&rng, KEYS)];
            while (want < KEYS && by_order(&keys[want], &seek) < 0)
                want++;
            size_t found = fences_find(&f, slice_of(seek.bytes, seek.len), seek.version);
            if (found != want)
                fail_msg("round %zu: found %zu, want %zu", round, found, want);
            if (found < KEYS) {
                assert_int_equal(fences_handle(&f, found).offset, found * 5000);
                assert_int_equal(fences_handle(&f, found).len, found + 1);
            }
        }
        assert_int_equal(fences_find(&f, (struct slice){0}, 0), 0);
        block_unref(block);
    }
}

/* What is no partition is said to be none. */
static void test_damage(void **state)
{
    (void)state;
    struct block_builder b;
    struct slice plain;
    struct block *block = NULL;
    struct err err = {0};
    uint8_t bad[400];
    struct rng rng;
    rng_init(&rng, 3);
    block_builder_init(&b, 4);
    block_builder_add(&b, slice_str("key and version"), slice_str("\xff"), (struct slice){0});
    assert_int_equal(block_builder_finish(&b, &plain), 0);
    assert_int_equal(fences_decode(NULL, plain, &block, &err), ERR_CORRUPT);
    block_builder_fini(&b);
    assert_int_equal(fences_decode(NULL, (struct slice){0}, &block, &err), ERR_CORRUPT);
    for (unsigned n = 0; n < 20000; n++) {
        size_t len = rng_below(&rng, sizeof bad);
        rng_fill(&rng, bad, len);
        if (len > 8)
            memset(bad + len - 4, 0, 3), bad[len - 4] = (uint8_t)rng_below(&rng, 3);
        block = NULL;
        if (fences_decode(NULL, slice_of(bad, len), &block, &err) == 0)
            assert_true(fences_of(block).count > 0);
        block_unref(block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests_name("fences", tests, NULL, NULL);
}
