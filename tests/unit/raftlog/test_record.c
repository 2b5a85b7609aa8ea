/* SPDX-License-Identifier: Apache-2.0 */
#include "raftlog/record.h"

#include "support/check.h"

enum { SEED = 17, N = 3 };

/* A good record with three entries at `out`. */
static struct record record_build(uint8_t *out, enum record_type type, uint8_t flags)
{
    static const char *const texts[N] = {"one", "", "a third, longer one"};
    static const uint64_t sources[N] = {1, 2, 3};
    size_t data_len = 0;
    for (int i = 0; i < N; i++)
        data_len += strlen(texts[i]);
    struct record r = {
        .type = type,
        .flags = flags,
        .length = (uint32_t)record_len(type, flags, N, data_len),
        .count = N,
        .group = 9,
        .batch = UINT64_MAX,
        .batch_start = 64,
        .first_index = 100,
        .term = 5,
        .vote = 2,
        .hint = 101,
        .base_index = 50,
        .base_term = 4,
    };
    memset(out, 0, r.length);
    size_t pos = record_head_len(type, flags, N);
    for (uint64_t i = 0; i < N; i++)
        pos += entry_encode(9, 100 + i, 5, (uint8_t)(i + 1), slice_str(texts[i]), out + pos);
    record_encode(&r, type == RECORD_COPY ? sources : NULL, SEED, out);
    return r;
}

static const struct {
    const char *name;
    enum record_type type;
    uint8_t flags;
} shapes[] = {
    {"append", RECORD_APPEND, 0},
    {"birth", RECORD_APPEND, RECORD_BIRTH},
    {"reset", RECORD_APPEND, RECORD_BASE | RECORD_RESET},
    {"copy", RECORD_COPY, RECORD_BASE},
};

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        uint8_t raw[512];
        struct record want = record_build(raw, shapes[i].type, shapes[i].flags);
        struct record got;
        if (!record_decode(slice_of(raw, sizeof raw), SEED, &got))
            fail_msg("%s: not decoded", shapes[i].name);
        bool has_base = (shapes[i].flags & RECORD_BASE) != 0;
        assert_int_equal(got.type, want.type);
        assert_int_equal(got.flags, want.flags);
        assert_int_equal(got.length, want.length);
        assert_int_equal(got.count, N);
        assert_true(got.group == 9 && got.batch == UINT64_MAX && got.first_index == 100);
        assert_true(got.term == 5 && got.vote == 2 && got.hint == 101 && got.batch_start == 64);
        assert_true(got.base_index == (has_base ? 50u : 0u));
        assert_true(record_walk(&got, slice_of(raw, got.length), NULL, NULL));
        if (got.type == RECORD_COPY)
            assert_true(record_source(&got, raw, 2) == 3);
    }
}

/* No bit of a record may change unnoticed. */
static void test_flips(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        uint8_t raw[512];
        struct record r = record_build(raw, shapes[i].type, shapes[i].flags);
        for (uint32_t bit = 0; bit < r.length * 8; bit++) {
            struct record got = {.group = 77};
            raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
            bool is_good = record_decode(slice_of(raw, r.length), SEED, &got);
            if (!is_good)
                assert_true(got.group == 77); /* outputs untouched on error */
            if (is_good && record_walk(&got, slice_of(raw, got.length), NULL, NULL))
                fail_msg("%s: bit %u changed unnoticed", shapes[i].name, bit);
            raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void test_cut_short(void **state)
{
    (void)state;
    uint8_t raw[512];
    struct record r = record_build(raw, RECORD_COPY, RECORD_BASE);
    for (uint32_t len = 0; len < r.length; len++) {
        struct record got;
        assert_false(record_decode(slice_of(raw, len), SEED, &got));
    }
    struct record got;
    assert_false(record_decode(slice_of(raw, r.length), SEED + 1, &got)); /* another segment */
}

/* An entry proves its own place: it is not taken for another index or group. */
static void test_entry_place(void **state)
{
    (void)state;
    uint8_t raw[64];
    struct entry_head head;
    struct slice data;
    size_t len = entry_encode(3, 7, 2, 1, slice_str("data"), raw);
    assert_true(entry_decode(slice_of(raw, len), 3, 7, &head, &data));
    assert_int_equal(data.len, 4);
    assert_false(entry_decode(slice_of(raw, len), 3, 8, &head, &data));
    assert_false(entry_decode(slice_of(raw, len), 4, 7, &head, &data));
    assert_false(entry_decode(slice_of(raw, len - 1), 3, 7, &head, &data));
}

static void test_head(void **state)
{
    (void)state;
    struct head want = {HEAD_PREV_DAMAGED, 7, 123, 5, 99, 4096, 0xdeadbeef}, got = {0};
    uint8_t raw[HEAD_LEN];
    head_encode(&want, raw);
    assert_true(head_decode(raw, &got));
    assert_true(got.flags == want.flags && got.number == 7 && got.salt == 123);
    assert_true(got.first_live == 5 && got.batch == 99 && got.prev_len == 4096);
    assert_true(got.prev_chain == 0xdeadbeef);
    for (uint32_t bit = 0; bit < HEAD_LEN * 8; bit++) {
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(head_decode(raw, &got));
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* A scan finds what is behind a bad place, and says where that was. */
static void test_scan_resync(void **state)
{
    (void)state;
    uint8_t raw[2048] = {0};
    uint32_t at[3], pos = HEAD_LEN;
    struct record r;
    for (int i = 0; i < 3; i++) {
        at[i] = pos;
        r = record_build(raw + pos, RECORD_APPEND, 0);
        pos += r.length;
    }
    raw[at[1]] ^= 1; /* header of the second, body of the third */
    raw[at[2] + r.length - 8] ^= 1;
    struct scan scan = scan_of(slice_of(raw, sizeof raw), SEED);
    assert_int_equal(scan_next(&scan, &r), SCAN_RECORD);
    assert_int_equal(scan_next(&scan, &r), SCAN_GAP);
    assert_int_equal(scan.at, at[1]);
    assert_int_equal(scan.pos, at[2]);
    assert_int_equal(scan_next(&scan, &r), SCAN_BODY);
    assert_int_equal(scan.at, at[2]);
    assert_int_equal(scan_next(&scan, &r), SCAN_END);
    assert_int_equal(scan.at, pos);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_flips),
        cmocka_unit_test(test_cut_short),  cmocka_unit_test(test_entry_place),
        cmocka_unit_test(test_head),       cmocka_unit_test(test_scan_resync),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
