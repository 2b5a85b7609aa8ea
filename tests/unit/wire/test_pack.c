/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdlib.h>

#include "base/rng.h"
#include "wire/pack.h"

static const uint64_t numbers[] = {0,          1,
                                   127,        128,
                                   255,        256,
                                   65535,      65536,
                                   UINT32_MAX, (uint64_t)UINT32_MAX + 1,
                                   INT64_MAX,  (uint64_t)INT64_MAX + 1,
                                   UINT64_MAX};

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct buf buf;
        buf_init(&buf, 100);
        pack_uint(&buf, numbers[i]);
        struct unpack u = unpack_of(buf_slice(&buf));
        assert_true(unpack_uint(&u) == numbers[i]);
        assert_int_equal(unpack_finish(&u, "x", NULL), 0);
        u = unpack_of(buf_slice(&buf));
        unpack_uint_max(&u, numbers[i]);
        assert_false(u.bad);
        u = unpack_of(buf_slice(&buf));
        if (numbers[i] > 0) {
            assert_true(unpack_uint_max(&u, numbers[i] - 1) == 0);
            assert_true(u.bad);
        }
        buf_fini(&buf);
    }
}

/* In a buf that has no byte more than they need they stand as in one with much room, and in one
 * that has a byte less they do not. */
static void test_tight(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct buf wide, tight;
        buf_init(&wide, 100);
        assert_int_equal(buf_reserve(&wide, 100), 0);
        struct pack_fields f = pack_fields_begin(&wide);
        pack_field_uint(&f, 7, numbers[i]);
        pack_uint(&wide, numbers[i]);
        for (size_t less = 0; less <= 1; less++) {
            buf_init(&tight, wide.len - less);
            f = pack_fields_begin(&tight);
            pack_field_uint(&f, 7, numbers[i]);
            pack_uint(&tight, numbers[i]);
            assert_int_equal(tight.failed, less == 1);
            assert_true(less == 1 || slice_equal(buf_slice(&tight), buf_slice(&wide)));
            buf_fini(&tight);
        }
        size_t one = numbers[i] == 0 ? 1 : (wide.len - 2) / 2; /* without map and key */
        for (size_t len = 0; len <= one; len++) {
            uint8_t *exact = malloc(len + (len == 0));
            memcpy(exact, wide.data + wide.len - one, len);
            struct unpack u = unpack_of(slice_of(exact, len));
            assert_true(unpack_uint(&u) == (len == one ? numbers[i] : 0));
            assert_true(u.bad == (len < one));
            free(exact);
        }
        buf_fini(&wide);
    }
}

static void test_signed(void **state)
{
    (void)state;
    static const int64_t cases[] = {0,
                                    1,
                                    -1,
                                    -32,
                                    -33,
                                    -128,
                                    -129,
                                    -32768,
                                    -32769,
                                    INT32_MIN,
                                    (int64_t)INT32_MIN - 1,
                                    INT64_MIN,
                                    INT64_MAX,
                                    127,
                                    128,
                                    70000};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf buf;
        buf_init(&buf, 100);
        pack_int(&buf, cases[i]);
        struct unpack u = unpack_of(buf_slice(&buf));
        assert_true(unpack_int(&u) == cases[i]);
        assert_int_equal(unpack_finish(&u, "x", NULL), 0);
        u = unpack_of(buf_slice(&buf));
        uint64_t as_uint = unpack_uint(&u);
        assert_true(u.bad == (cases[i] < 0)); /* never a negative number as a huge one */
        if (!u.bad)
            assert_true(as_uint == (uint64_t)cases[i]);
        buf_fini(&buf);
    }
    struct buf buf;
    buf_init(&buf, 100);
    pack_uint(&buf, (uint64_t)INT64_MAX + 1);
    struct unpack u = unpack_of(buf_slice(&buf));
    unpack_int(&u);
    assert_true(u.bad);
    buf_fini(&buf);
}

static void test_bytes(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 200000};
    uint8_t *bytes = calloc(1, 200000);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        struct buf buf;
        buf_init(&buf, 1 << 20);
        pack_bin(&buf, slice_of(bytes, lens[i]));
        pack_str(&buf, slice_of(bytes, lens[i]));
        struct unpack u = unpack_of(buf_slice(&buf));
        assert_int_equal(unpack_bin(&u).len, lens[i]);
        assert_int_equal(unpack_str(&u).len, lens[i]);
        assert_int_equal(unpack_finish(&u, "x", NULL), 0);
        u = unpack_of(buf_slice(&buf)); /* one for the other */
        assert_int_equal(unpack_str(&u).len, 0);
        assert_true(u.bad);
        u = unpack_of(buf_slice(&buf));
        unpack_bin_max(&u, lens[i]);
        assert_false(u.bad);
        if (lens[i] > 0) {
            u = unpack_of(buf_slice(&buf));
            unpack_bin_max(&u, lens[i] - 1);
            assert_true(u.bad);
        }
        buf_fini(&buf);
    }
    free(bytes);
}

/* Bytes, and what reading them as a map, as an array, and stepping over them says. */
static const struct {
    const char *name;
    uint8_t raw[24];
    size_t len;
    bool map, array, skip; /* acceptable as such */
} rows[] = {
    {"nothing", {0}, 0, false, false, false},
    {"nil", {0xc0}, 1, false, false, true},
    {"the byte that is no format", {0xc1}, 1, false, false, false},
    {"empty map", {0x80}, 1, true, false, true},
    {"empty array", {0x90}, 1, false, true, true},
    {"map of one", {0x81, 1, 2}, 3, true, false, true},
    {"map of one, cut", {0x81, 1}, 2, false, false, false},
    {"map16 of more than there is", {0xde, 0xff, 0xff, 1, 2}, 5, false, false, false},
    {"map32 of 2^32-1", {0xdf, 0xff, 0xff, 0xff, 0xff, 1, 2}, 7, false, false, false},
    {"array32 of 2^32-1", {0xdd, 0xff, 0xff, 0xff, 0xff, 1, 2}, 7, false, false, false},
    {"bin32 of 2^32-1", {0xc6, 0xff, 0xff, 0xff, 0xff, 1}, 6, false, false, false},
    {"str8, cut", {0xd9, 4, 'a', 'b', 'c'}, 5, false, false, false},
    {"str8", {0xd9, 3, 'a', 'b', 'c'}, 5, false, false, true},
    {"float32", {0xca, 1, 2, 3, 4}, 5, false, false, true},
    {"float64, cut", {0xcb, 1, 2, 3, 4, 5, 6, 7}, 8, false, false, false},
    {"fixext1", {0xd4, 1, 2}, 3, false, false, true},
    {"fixext16", {0xd8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 18, false, false, true},
    {"fixext16, cut",
     {0xd8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
     17,
     false,
     false,
     false},
    {"ext8", {0xc7, 2, 9, 1, 2}, 5, false, false, true},
    {"ext32 of 2^32-1", {0xc9, 0xff, 0xff, 0xff, 0xff, 9, 1}, 7, false, false, false},
    {"eight deep", {0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xc0}, 9, false, true, true},
    {"nine deep",
     {0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xc0},
     10,
     false,
     true,
     false},
};

static void test_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice s = slice_of(rows[i].raw, rows[i].len);
        struct unpack m = unpack_of(s);
        struct unpack a = unpack_of(s);
        struct unpack k = unpack_of(s);
        unpack_map(&m);
        unpack_array(&a);
        unpack_skip(&k);
        if (m.bad == rows[i].map || a.bad == rows[i].array || k.bad == rows[i].skip)
            fail_msg("%s: map %d array %d skip %d", rows[i].name, !m.bad, !a.bad, !k.bad);
        if (rows[i].skip)
            assert_int_equal(k.left, 0);
    }
}

/* A bomb: as many nested arrays as there are bytes. Constant stack, constant time a
 * byte, no memory. */
static void test_bombs(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    static const uint8_t fills[] = {0x91, 0x81, 0xdd, 0xdf, 0xc6, 0xff, 0x90};
    uint8_t *bytes = malloc(BYTES);
    for (size_t i = 0; i < ARRAY_LEN(fills); i++) {
        memset(bytes, fills[i], BYTES);
        struct unpack u = unpack_of(slice_of(bytes, BYTES));
        unpack_skip(&u);
        assert_true(u.bad == (fills[i] != 0xff && fills[i] != 0x90));
        u = unpack_of(slice_of(bytes, BYTES));
        unpack_list(&u, 100);
        assert_true(u.bad == (fills[i] != 0x90));
    }
    /* Wide instead: a million empty maps in one array are fine, but not as a list of
     * at most 100. */
    memset(bytes, 0x80, BYTES);
    bytes[0] = 0xdd;
    bytes[1] = 0;
    bytes[2] = 0x0f;
    bytes[3] = 0xff;
    bytes[4] = 0xfb; /* 2^20 - 5 elements */
    struct unpack u = unpack_of(slice_of(bytes, BYTES));
    unpack_skip(&u);
    assert_false(u.bad);
    assert_int_equal(u.left, 0);
    u = unpack_of(slice_of(bytes, BYTES));
    unpack_list(&u, 100);
    assert_true(u.bad);
    free(bytes);
}

static void test_keys(void **state)
{
    (void)state;
    static const struct {
        uint8_t raw[3];
        bool bad;
    } cases[] = {{{1, 2, 1}, true}, {{1, 2, 3}, false}, {{64, 64, 64}, false}, {{63, 1, 63}, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct unpack u = unpack_of(slice_of(cases[i].raw, 3));
        uint64_t seen = 0;
        for (int k = 0; k < 3; k++)
            unpack_key(&u, &seen);
        assert_int_equal(u.bad, cases[i].bad);
    }
    uint8_t text[] = {0xa1, 'k'};
    struct unpack u = unpack_of(slice_of(text, 2));
    uint64_t seen = 0;
    assert_true(unpack_key(&u, &seen) == UINT64_MAX && u.bad);
}

static void test_fields(void **state)
{
    (void)state;
    struct buf buf;
    struct buf raw;
    buf_init(&buf, 1000);
    buf_init(&raw, 1000);
    pack_uint(&raw, 7);
    pack_str(&raw, slice_str("x"));
    struct pack_list list = {.count = 2, .raw = buf_slice(&raw)};
    struct pack_fields f = pack_fields_begin(&buf);
    pack_field_uint(&f, 1, 0); /* defaults leave nothing behind */
    pack_field_int(&f, 2, 0);
    pack_field_bool(&f, 3, false);
    pack_field_bin(&f, 4, (struct slice){0});
    pack_field_str(&f, 5, (struct slice){0});
    pack_field_list(&f, 6, &(struct pack_list){0});
    pack_field_int(&f, 7, -1);
    pack_field_list(&f, 8, &list);
    pack_fields_end(&f);
    struct unpack u = unpack_of(buf_slice(&buf));
    uint64_t seen = 0;
    assert_int_equal(unpack_map(&u), 2);
    assert_int_equal(unpack_key(&u, &seen), 7);
    assert_int_equal(unpack_int(&u), -1);
    assert_int_equal(unpack_key(&u, &seen), 8);
    struct pack_list got = unpack_list(&u, 2);
    assert_int_equal(unpack_finish(&u, "x", NULL), 0);
    assert_int_equal(got.count, 2);
    struct unpack each = unpack_of(got.raw);
    assert_int_equal(unpack_uint(&each), 7);
    assert_true(slice_equal(unpack_str(&each), slice_str("x")));
    buf_fini(&raw);
    buf_fini(&buf);

    buf_init(&buf, 4); /* no room: sticky, and nothing is touched */
    f = pack_fields_begin(&buf);
    pack_field_bin(&f, 1, slice_str("too long"));
    pack_fields_end(&f);
    assert_true(buf.failed);
    buf_fini(&buf);
}

/* A map in a map: 15 pairs go with a header of one byte, more with a longer one. */
static void test_many_fields(void **state)
{
    (void)state;
    static const struct {
        uint32_t count;
        size_t header;
    } maps[] = {{14, 1}, {15, 1}, {16, 3}, {PACK_FIELDS_MAX, 3}};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        struct buf buf;
        buf_init(&buf, 1000);
        struct pack_fields outer = pack_fields_begin(&buf);
        pack_field_uint(&outer, 1, 5);
        pack_field(&outer, 2);
        struct pack_fields f = pack_fields_begin(&buf);
        for (uint32_t k = 1; k <= maps[i].count; k++)
            pack_field_uint(&f, k, k);
        pack_fields_end(&f);
        pack_field_uint(&outer, 3, 6);
        pack_fields_end(&outer);
        assert_int_equal(buf.len, 1 + 2 + 1 + maps[i].header + 2 * maps[i].count + 2);
        struct unpack u = unpack_of(buf_slice(&buf));
        uint64_t seen = 0, inner = 0;
        assert_int_equal(unpack_map(&u), 3);
        assert_int_equal(unpack_key(&u, &seen), 1);
        assert_int_equal(unpack_uint(&u), 5);
        assert_int_equal(unpack_key(&u, &seen), 2);
        assert_int_equal(unpack_map(&u), maps[i].count);
        for (uint32_t k = 1; k <= maps[i].count; k++) {
            assert_int_equal(unpack_key(&u, &inner), k);
            assert_int_equal(unpack_uint(&u), k);
        }
        assert_int_equal(unpack_key(&u, &seen), 3);
        assert_int_equal(unpack_uint(&u), 6);
        assert_int_equal(unpack_finish(&u, "x", NULL), 0);
        buf_fini(&buf);
    }
    struct buf full;
    buf_init(&full, 1 + 2 * 16); /* no room for the longer header */
    struct pack_fields f = pack_fields_begin(&full);
    for (uint32_t k = 1; k <= 16; k++)
        pack_field_uint(&f, k, k);
    assert_false(full.failed);
    pack_fields_end(&f);
    assert_true(full.failed);
    buf_fini(&full);
}

static void test_fixed_and_finish(void **state)
{
    (void)state;
    struct buf buf;
    struct err err = {0};
    uint8_t out[4] = {9, 9, 9, 9};
    buf_init(&buf, 100);
    pack_bin(&buf, slice_str("abcd"));
    pack_bool(&buf, true);
    struct unpack u = unpack_of(buf_slice(&buf));
    unpack_bin_exact(&u, out, 4);
    assert_memory_equal(out, "abcd", 4);
    assert_int_equal(unpack_finish(&u, "thing", &err), ERR_CORRUPT); /* a byte is left */
    assert_string_equal(err.msg, "thing is malformed: bytes after its end");
    assert_true(unpack_bool(&u));
    assert_int_equal(unpack_finish(&u, "thing", &err), 0);
    u = unpack_of(buf_slice(&buf));
    unpack_bin_exact(&u, out, 3);
    assert_true(u.bad);
    assert_int_equal(unpack_finish(&u, "thing", &err), ERR_CORRUPT);
    assert_string_equal(err.msg, "thing is malformed");
    buf_fini(&buf);
}

/* Random bytes: whatever they are, stepping over them ends, inside them. */
static void test_random(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 9);
    for (int i = 0; i < 200000; i++) {
        uint8_t raw[32];
        size_t len = rng_below(&rng, sizeof raw + 1);
        rng_fill(&rng, raw, len);
        struct unpack u = unpack_of(slice_of(raw, len));
        unpack_skip(&u);
        assert_true(u.left <= len);
        assert_true(u.pos == raw + (len - u.left));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_tight),
        cmocka_unit_test(test_signed),      cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_shapes),      cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_keys),        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_many_fields), cmocka_unit_test(test_fixed_and_finish),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
