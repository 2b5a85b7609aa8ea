/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdlib.h>

#include "base/coding.h"
#include "base/rng.h"
#include "range/snapshot.h"
#include "range/stream.h"

static const struct stream_record samples[] = {
    {.kind = STREAM_PUT,
     .key = {(const uint8_t *)"key", 3},
     .value = {(const uint8_t *)"value", 5},
     .version = UINT64_MAX,
     .expiry_ms = 77},
    {.kind = STREAM_PUT, .key = {(const uint8_t *)"k", 1}, .version = 1},
    {.kind = STREAM_DELETE, .key = {(const uint8_t *)"key", 3}, .version = 300},
    {.kind = STREAM_END, .count = UINT64_C(1) << 40, .crc = 0xdeadbeef},
};

static void test_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        const struct stream_record *want = &samples[i];
        struct stream_record got = {.count = 99};
        struct buf raw;
        size_t len = 0;
        buf_init(&raw, 1000);
        stream_record_encode(&raw, want);
        size_t whole = raw.len;
        for (size_t n = 0; n < whole; n++) {
            assert_int_equal(stream_record_decode(slice_of(raw.data, n), &got, &len, NULL),
                             ERR_SHORT);
            assert_true(got.count == 99);
        }
        buf_append_str(&raw, "next");
        assert_int_equal(stream_record_decode(buf_slice(&raw), &got, &len, NULL), 0);
        assert_int_equal(len, whole);
        assert_true(got.kind == want->kind && got.version == want->version);
        assert_true(got.expiry_ms == want->expiry_ms && got.count == want->count);
        assert_true(got.crc == want->crc && slice_equal(got.key, want->key));
        assert_true(slice_equal(got.value, want->value));
        buf_fini(&raw);
    }
}

/* Damage that more bytes cannot heal is heard at once. */
static void test_bad_records(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *bytes;
        size_t len;
        int want;
    } rows[] = {
        {"kind 0", "\x00", 1, ERR_CORRUPT},
        {"unknown kind", "\x04", 1, ERR_CORRUPT},
        {"key over its limit", "\x02\xff\xff\x03", 4, ERR_CORRUPT},
        {"no key", "\x02\x00\x05", 3, ERR_CORRUPT},
        {"version 0", "\x02\x01k\x00", 4, ERR_CORRUPT},
        {"value over its limit", "\x01\x01k\x05\x00\xff\xff\xff\x7f", 9, ERR_CORRUPT},
        {"not yet", "\x01\x01k\x05", 4, ERR_SHORT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream_record got;
        size_t len;
        int rv = stream_record_decode(slice_of(rows[i].bytes, rows[i].len), &got, &len, NULL);
        if (rv != rows[i].want)
            fail_msg("%s: %d", rows[i].name, rv);
    }
}

static void test_chunks(void **state)
{
    (void)state;
    struct buf chunk;
    struct slice bytes;
    bool is_last = false;
    buf_init(&chunk, RANGE_CHUNK_MAX);
    stream_chunk_encode(&chunk, 12345, true, slice_str("bytes"));
    assert_int_equal(chunk.len, RANGE_CHUNK_HEAD_LEN + 5);
    assert_int_equal(stream_chunk_decode(buf_slice(&chunk), 12345, &is_last, &bytes, NULL), 0);
    assert_true(is_last && slice_equal(bytes, slice_str("bytes")));
    assert_int_equal(stream_chunk_decode(buf_slice(&chunk), 12346, &is_last, &bytes, NULL),
                     ERR_CORRUPT);
    for (size_t bit = 0; bit < chunk.len * 8; bit++) {
        chunk.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(stream_chunk_decode(buf_slice(&chunk), 12345, &is_last, &bytes, NULL),
                         ERR_CORRUPT);
        chunk.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 0; n < chunk.len; n++)
        assert_int_equal(
            stream_chunk_decode(slice_of(chunk.data, n), 12345, &is_last, &bytes, NULL),
            ERR_CORRUPT);
    buf_fini(&chunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_chunks),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
