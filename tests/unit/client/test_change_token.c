/* SPDX-License-Identifier: Apache-2.0 */
/* The token of a change that stayed undetermined: there and back, and every damage. */
#include "support/check.h"

#include <string.h>

#include "client/change_token.h"
#include "client/sealed.h"

static const struct change_token sample = {
    .cluster_id = 0x1122334455667788,
    .stamp = {.session = 7001, .sequence = 9, .lowest_unanswered = 3, .first_sent_ms = 123456789},
    .keyspace = 65540,
    .key = {.data = (const uint8_t *)"account", .len = 7},
};

static size_t encode(const struct change_token *token, uint8_t *out, size_t room)
{
    struct buf buf;
    buf_init(&buf, CHANGE_TOKEN_MAX);
    change_token_encode(token, &buf);
    assert_false(buf.failed);
    assert_true(buf.len <= room);
    memcpy(out, buf.data, buf.len);
    size_t len = buf.len;
    buf_fini(&buf);
    return len;
}

static void test_there_and_back(void **state)
{
    (void)state;
    uint8_t bytes[200];
    struct change_token back;
    size_t len = encode(&sample, bytes, sizeof bytes);
    assert_int_equal(change_token_decode(slice_of(bytes, len), &back, NULL), 0);
    assert_true(back.cluster_id == sample.cluster_id && back.keyspace == sample.keyspace);
    assert_memory_equal(&back.stamp, &sample.stamp, sizeof back.stamp);
    assert_true(slice_equal(back.key, sample.key));
}

static void test_longest(void **state)
{
    (void)state;
    static uint8_t key[4096], bytes[CHANGE_TOKEN_MAX];
    struct change_token token = sample, back;
    token.stamp = (struct command_stamp){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    token.key = slice_of(key, sizeof key);
    size_t len = encode(&token, bytes, sizeof bytes);
    assert_int_equal(change_token_decode(slice_of(bytes, len), &back, NULL), 0);
    assert_int_equal(back.key.len, sizeof key);
}

/* Any other byte anywhere, and so any hex digit that somebody could mistype; any two bytes that
 * change places; what is cut off, and what is too much. */
static void test_damage(void **state)
{
    (void)state;
    uint8_t bytes[200];
    struct change_token back = {.cluster_id = 99};
    size_t len = encode(&sample, bytes, sizeof bytes - 1);
    for (size_t i = 0; i < len; i++) {
        for (unsigned other = 1; other < 256; other++) {
            bytes[i] ^= (uint8_t)other;
            assert_int_equal(change_token_decode(slice_of(bytes, len), &back, NULL), ERR_INVALID);
            bytes[i] ^= (uint8_t)other;
        }
        for (size_t k = 0; k < i; k++) {
            uint8_t first = bytes[k];
            if (bytes[i] == first)
                continue;
            bytes[k] = bytes[i];
            bytes[i] = first;
            assert_int_equal(change_token_decode(slice_of(bytes, len), &back, NULL), ERR_INVALID);
            bytes[i] = bytes[k];
            bytes[k] = first;
        }
    }
    for (size_t n = 0; n < len; n++)
        assert_int_equal(change_token_decode(slice_of(bytes, n), &back, NULL), ERR_INVALID);
    bytes[len] = 0;
    assert_int_equal(change_token_decode(slice_of(bytes, len + 1), &back, NULL), ERR_INVALID);
    assert_int_equal(back.cluster_id, 99);
    assert_int_equal(change_token_decode(slice_of(bytes, len), &back, NULL), 0);
}

static int decode_sealed(const void *map, size_t len, struct err *err)
{
    struct change_token back;
    struct buf buf;
    buf_init(&buf, CHANGE_TOKEN_MAX + 100);
    buf_append(&buf, map, len);
    sealed_end(&buf, 0);
    int rv = change_token_decode(buf_slice(&buf), &back, err);
    buf_fini(&buf);
    return rv;
}

/* Those of other versions are told from those that are damaged. */
static void test_formats(void **state)
{
    (void)state;
    static const uint8_t nothing[] = {0x80};
    static uint8_t large[CHANGE_TOKEN_MAX];
    uint8_t bytes[200];
    struct change_token back;
    struct err err = {0};
    size_t len = encode(&sample, bytes, sizeof bytes) - SEALED_SUM_LEN;
    assert_int_equal(bytes[2], 2);
    bytes[2] = 3;
    assert_int_equal(decode_sealed(bytes, len, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "format 3"));
    bytes[2] = 1; /* as they were once, and without a checksum */
    assert_int_equal(change_token_decode(slice_of(bytes, len), &back, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "older version"));
    assert_int_equal(decode_sealed(nothing, sizeof nothing, &err), ERR_INVALID);
    assert_int_equal(decode_sealed(large, sizeof large, &err), ERR_INVALID);
    assert_int_equal(change_token_decode((struct slice){0}, &back, NULL), ERR_INVALID);
}

/* As it was given, and of nothing that could be. */
static void test_sense(void **state)
{
    (void)state;
    static const struct command_stamp stamps[] = {
        {.session = 1, .first_sent_ms = 1},
        {.session = 1, .sequence = 1},
        {.session = 1, .sequence = 1, .lowest_unanswered = 2, .first_sent_ms = 1},
    };
    uint8_t bytes[200];
    struct change_token back;
    for (size_t i = 0; i < ARRAY_LEN(stamps); i++) {
        struct change_token token = sample;
        token.stamp = stamps[i];
        size_t len = encode(&token, bytes, sizeof bytes);
        assert_int_equal(change_token_decode(slice_of(bytes, len), &back, NULL), ERR_INVALID);
    }
    struct change_token token = sample;
    token.key.len = 0;
    size_t len = encode(&token, bytes, sizeof bytes);
    assert_int_equal(change_token_decode(slice_of(bytes, len), &back, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_longest),
        cmocka_unit_test(test_damage),         cmocka_unit_test(test_formats),
        cmocka_unit_test(test_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
