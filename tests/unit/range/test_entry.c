/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdlib.h>

#include "range/entry.h"
#include "range/meta.h"

static struct slice take(struct entry_builder *b, uint64_t wall_ms, uint64_t time_ms)
{
    uint8_t *payload = NULL;
    size_t len = 0;
    assert_int_equal(entry_builder_take(b, wall_ms, time_ms, &payload, &len), 0);
    return slice_of(payload, len);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct entry_builder b;
    struct entry_reader r;
    entry_builder_init(&b, 1000, 10);
    assert_int_equal(entry_builder_add(&b, slice_str("one"), 0), 0);
    assert_int_equal(entry_builder_add(&b, slice_str(""), 0), 0);
    assert_int_equal(entry_builder_add(&b, slice_str("three"), 0), 0);
    assert_int_equal(entry_builder_count(&b), 3);
    size_t len = entry_builder_len(&b);
    struct slice payload = take(&b, 77, 5);
    assert_int_equal(payload.len, len);
    assert_int_equal(entry_builder_count(&b), 0);
    assert_int_equal(entry_reader_init(&r, payload, NULL), 0);
    assert_true(r.stamp_ms == 77 && r.count == 3);
    assert_true(slice_equal(entry_reader_next(&r), slice_str("one")));
    assert_true(slice_equal(entry_reader_next(&r), slice_str("")));
    assert_true(slice_equal(entry_reader_next(&r), slice_str("three")));
    free((void *)payload.data);
    entry_builder_fini(&b);
}

/* The stamp is the greatest of clock, range time and every first sending. */
static void test_stamp(void **state)
{
    (void)state;
    static const struct {
        uint64_t wall, time, sent, want;
    } rows[] = {
        {3, 2, 1, 3},
        {1, 3, 2, 3},
        {1, 2, 3, 3},
        {0, 0, 0, 0},
        {UINT64_MAX, 5, 0, RANGE_TIME_MAX}, /* a clock gone mad */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct entry_builder b;
        struct entry_reader r;
        entry_builder_init(&b, 1000, 10);
        assert_int_equal(entry_builder_add(&b, slice_str("a"), rows[i].sent), 0);
        assert_int_equal(entry_builder_add(&b, slice_str("b"), 0), 0);
        struct slice payload = take(&b, rows[i].wall, rows[i].time);
        assert_int_equal(entry_reader_init(&r, payload, NULL), 0);
        assert_true(r.stamp_ms == rows[i].want);
        free((void *)payload.data);

        payload = take(&b, 0, 0); /* nothing of the last entry is left */
        assert_int_equal(entry_reader_init(&r, payload, NULL), 0);
        assert_true(r.stamp_ms == 0 && r.count == 0);
        free((void *)payload.data);
        entry_builder_fini(&b);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct entry_builder b;
    uint8_t *big = calloc(1, ENTRY_COMMAND_MAX + 1);
    entry_builder_init(&b, 100, 3);
    assert_int_equal(entry_builder_add(&b, slice_of(big, 500), 0), 0); /* alone: fine */
    assert_int_equal(entry_builder_add(&b, slice_of(big, 1), 0), ERR_BUSY);
    free((void *)take(&b, 1, 1).data);

    assert_int_equal(entry_builder_add(&b, slice_of(big, 40), 0), 0);
    assert_int_equal(entry_builder_add(&b, slice_of(big, 46), 0), ERR_BUSY);
    assert_int_equal(entry_builder_add(&b, slice_of(big, 45), 0), 0); /* 13 + 41 + 46 = 100 */
    assert_int_equal(entry_builder_len(&b), 100);
    assert_int_equal(entry_builder_add(&b, slice_of(big, 0), 0), ERR_BUSY);
    free((void *)take(&b, 1, 1).data);

    for (int i = 0; i < 3; i++)
        assert_int_equal(entry_builder_add(&b, slice_of(big, 1), 0), 0);
    assert_int_equal(entry_builder_add(&b, slice_of(big, 1), 0), ERR_BUSY);
    free((void *)take(&b, 1, 1).data);

    assert_int_equal(entry_builder_add(&b, slice_of(big, ENTRY_COMMAND_MAX + 1), 0), ERR_TOO_LARGE);
    assert_int_equal(entry_builder_add(&b, slice_of(big, 1), RANGE_TIME_MAX + 1), ERR_INVALID);
    assert_int_equal(entry_builder_count(&b), 0);
    assert_int_equal(entry_builder_add(&b, slice_of(big, ENTRY_COMMAND_MAX), 0), 0);
    entry_builder_fini(&b);
    free(big);
}

/* What is expected has its place, and no more than an entry takes; what comes is what counts. */
static void test_expected(void **state)
{
    (void)state;
    struct entry_builder b;
    uint8_t *big = calloc(1, 5000);
    entry_builder_init(&b, 1000, 10);
    entry_builder_expect(&b, 600, 3);
    const uint8_t *place = b.buf.data;
    assert_non_null(place);
    for (int i = 0; i < 3; i++)
        assert_int_equal(entry_builder_add(&b, slice_of(big, 200), 0), 0);
    assert_ptr_equal(b.buf.data, place);
    entry_builder_expect(&b, SIZE_MAX / 2, 2);
    assert_true(b.buf.cap <= 2000);
    assert_int_equal(entry_builder_add(&b, slice_of(big, 200), 0), 0);
    assert_int_equal(entry_builder_add(&b, slice_of(big, 200), 0), ERR_BUSY);
    struct slice payload = take(&b, 1, 1);
    struct entry_reader r;
    assert_int_equal(entry_reader_init(&r, payload, NULL), 0);
    assert_int_equal(r.count, 4);
    free((void *)payload.data);
    entry_builder_expect(&b, 10, 1); /* and then comes more than was said */
    assert_int_equal(entry_builder_add(&b, slice_of(big, 5000), 0), 0);
    entry_builder_fini(&b);
    free(big);
}

static const struct {
    const char *name;
    size_t keep; /* bytes of a good entry of 13 + 4 + 2; 0: all */
    size_t offset;
    uint8_t value;
    int want;
} damage[] = {
    {"untouched", 0, 0, 1, 0},
    {"format 0", 0, 0, 0, ERR_UNSUPPORTED},
    {"later format", 0, 0, 2, ERR_UNSUPPORTED},
    {"stamp out of bounds", 0, 8, 1, ERR_CORRUPT},
    {"a command less", 0, 9, 1, ERR_CORRUPT},
    {"a command more", 0, 9, 3, ERR_CORRUPT},
    {"a world more", 0, 12, 0xff, ERR_CORRUPT},
    {"length over the end", 0, 17, 9, ERR_CORRUPT},
    {"length short of it", 0, 17, 0, ERR_CORRUPT},
    {"endless length", 0, 17, 0xff, ERR_CORRUPT},
    {"head cut", 12, 0, 1, ERR_CORRUPT},
    {"empty", 1, 0, 1, ERR_CORRUPT},
    {"body cut", 18, 0, 1, ERR_CORRUPT},
};

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        struct entry_builder b;
        struct entry_reader r = {.count = 99};
        struct err err = {0};
        entry_builder_init(&b, 1000, 10);
        assert_int_equal(entry_builder_add(&b, slice_str("abc"), 0), 0);
        assert_int_equal(entry_builder_add(&b, slice_str("d"), 0), 0);
        struct slice payload = take(&b, 1, 1);
        assert_int_equal(payload.len, 19);
        ((uint8_t *)payload.data)[damage[i].offset] = damage[i].value;
        size_t keep = damage[i].keep == 0 ? payload.len : damage[i].keep;
        int rv = entry_reader_init(&r, slice_of(payload.data, keep), &err);
        if (rv != damage[i].want)
            fail_msg("%s: %d (%s)", damage[i].name, rv, err.msg);
        if (rv != 0)
            assert_int_equal(r.count, 99);
        free((void *)payload.data);
        entry_builder_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_stamp),
        cmocka_unit_test(test_bounds),     cmocka_unit_test(test_expected),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests_name("entry", tests, NULL, NULL);
}
