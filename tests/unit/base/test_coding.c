/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/coding.h"

static const uint64_t values[] = {
    0,
    1,
    127,
    128,
    255,
    256,
    16383,
    16384,
    UINT16_MAX,
    UINT32_MAX,
    UINT32_MAX + UINT64_C(1),
    INT64_MAX,
    UINT64_MAX - 1,
    UINT64_MAX,
};

static void test_fixed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        uint8_t raw[8];
        put_u64(raw, values[i]);
        assert_true(get_u64(raw) == values[i]);
        put_u64be(raw, values[i]);
        assert_true(get_u64be(raw) == values[i]);
        put_u32(raw, (uint32_t)values[i]);
        assert_int_equal(get_u32(raw), (uint32_t)values[i]);
        put_u32be(raw, (uint32_t)values[i]);
        assert_int_equal(get_u32be(raw), (uint32_t)values[i]);
        put_u16(raw, (uint16_t)values[i]);
        assert_int_equal(get_u16(raw), (uint16_t)values[i]);
    }
}

/* be_ keeps byte order = number order: what keys rely on. */
static void test_big_endian_sorts(void **state)
{
    (void)state;
    for (size_t i = 1; i < ARRAY_LEN(values); i++) {
        uint8_t a[8], b[8];
        put_u64be(a, values[i - 1]);
        put_u64be(b, values[i]);
        assert_true(memcmp(a, b, 8) < 0);
    }
}

static void test_varint(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        uint8_t raw[VARINT_MAX];
        size_t n = put_varint(raw, values[i]);
        assert_int_equal(n, varint_len(values[i]));
        struct reader r = reader_of(slice_of(raw, n));
        assert_true(read_varint(&r) == values[i]);
        assert_false(r.bad);
        assert_int_equal(r.left, 0);
        for (size_t cut = 0; cut < n; cut++) {
            r = reader_of(slice_of(raw, cut));
            assert_true(read_varint(&r) == 0);
            assert_true(r.bad);
        }
    }
}

static const struct {
    const char *name;
    uint8_t raw[12];
    size_t len;
    bool is_bad;
} varint_damage[] = {
    {"ten bytes, greatest",
     {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
     10,
     false},
    {"over 64 bits", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10, true},
    {"eleven bytes", {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, 11, true},
    {"endless", {0x80, 0x80}, 2, true},
    {"empty", {0}, 0, true},
};

static void test_varint_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(varint_damage); i++) {
        struct reader r = reader_of(slice_of(varint_damage[i].raw, varint_damage[i].len));
        (void)read_varint(&r);
        if (r.bad != varint_damage[i].is_bad)
            fail_msg("%s: bad is %d", varint_damage[i].name, r.bad);
    }
}

/* No length from outside can move the cursor past the end, and failure sticks. */
static void test_reader_bounds(void **state)
{
    (void)state;
    static const uint8_t raw[] = {2, 'a', 'b', 200, 'c', 1, 2, 3};
    struct reader r = reader_of(slice_of(raw, sizeof raw));
    struct slice s = read_bytes_prefixed(&r);
    assert_true(slice_equal(s, slice_str("ab")));
    s = read_bytes_prefixed(&r); /* 200 | 'c' << 7 is far over what is left */
    assert_int_equal(s.len, 0);
    assert_true(r.bad);
    assert_int_equal(read_u8(&r), 0);

    r = reader_of(slice_of(raw, sizeof raw));
    assert_int_equal(read_bytes(&r, UINT64_MAX).len, 0);
    assert_true(r.bad);

    r = reader_of(slice_of(raw + 1, 7));
    assert_int_equal(read_u16(&r), 'a' | 'b' << 8);
    assert_int_equal(read_u32(&r), 200 | 'c' << 8 | 1 << 16 | 2 << 24);
    assert_true(read_u64(&r) == 0);
    assert_true(r.bad);
    r = reader_of((struct slice){0});
    assert_int_equal(read_bytes(&r, 0).len, 0);
    assert_false(r.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed),         cmocka_unit_test(test_big_endian_sorts),
        cmocka_unit_test(test_varint),        cmocka_unit_test(test_varint_damage),
        cmocka_unit_test(test_reader_bounds),
    };
    return cmocka_run_group_tests_name("coding", tests, NULL, NULL);
}
