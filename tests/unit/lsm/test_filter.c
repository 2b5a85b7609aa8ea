/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/filter.h"

#include <stdlib.h>

#include "base/coding.h"
#include "support/check.h"

static uint64_t hash_of(uint64_t n)
{
    uint8_t key[16] = "user____";
    put_u64(key + 8, n);
    return filter_hash(slice_of(key, sizeof key));
}

/* Never a false "no"; a false "yes" about as often as ten bits a key allow. */
static void test_rates(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        unsigned bits;
        unsigned wrong_max; /* of 10,000 */
    } rows[] = {{1, 10, 300}, {100, 10, 300}, {10000, 10, 200}, {10000, 16, 50}, {10000, 4, 2500}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf filter;
        uint64_t *hashes = malloc(rows[i].count * sizeof *hashes);
        unsigned wrong = 0;
        buf_init(&filter, 1 << 20);
        assert_non_null(hashes);
        for (size_t n = 0; n < rows[i].count; n++)
            hashes[n] = hash_of(n);
        filter_build(&filter, hashes, rows[i].count, rows[i].bits);
        assert_false(filter.failed);
        assert_true(filter_is_sane(buf_slice(&filter)));
        for (size_t n = 0; n < rows[i].count; n++)
            assert_true(filter_may_contain(buf_slice(&filter), hashes[n]));
        for (uint64_t n = 0; n < 10000; n++)
            wrong += filter_may_contain(buf_slice(&filter), hash_of(1000000 + n));
        if (wrong > rows[i].wrong_max)
            fail_msg("row %zu: %u of 10000", i, wrong);
        free(hashes);
        buf_fini(&filter);
    }
}

/* The hash is in the files: it may never change. */
static void test_hash_is_stable(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint64_t want;
    } rows[] = {
        {"", UINT64_C(0x409820713d71ee3d)},
        {"a", UINT64_C(0x172d1a1c63ac4fa0)},
        {"holdfast-", UINT64_C(0x7ee0fff7f1980840)},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = filter_hash(slice_str(rows[i].key));
        if (got != rows[i].want)
            fail_msg("row %zu: got %016llx", i, (unsigned long long)got);
    }
}

static void test_sanity(void **state)
{
    (void)state;
    struct buf filter;
    uint64_t hash = 1;
    buf_init(&filter, 4096);
    filter_build(&filter, &hash, 1, 10);
    struct slice good = buf_slice(&filter);
    assert_true(filter_is_sane(good));
    for (size_t len = 0; len < good.len; len++)
        assert_false(filter_is_sane(slice_of(good.data, len)));
    filter.data[good.len - 1] = 0;
    assert_false(filter_is_sane(good));
    filter.data[good.len - 1] = 200;
    assert_false(filter_is_sane(good));
    buf_fini(&filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_hash_is_stable),
        cmocka_unit_test(test_sanity),
    };
    return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
