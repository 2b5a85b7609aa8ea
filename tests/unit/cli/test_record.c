/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdlib.h>

#include "../tools/holdfast/record.h"
#include "base/rng.h"

/* What export writes, import reads: any bytes. */
static void test_round_trip(void **state)
{
    (void)state;
    struct rng rng;
    struct record record;
    struct buf line;
    rng_init(&rng, 2);
    record_init(&record);
    buf_init(&line, 1 << 16);
    for (int round = 0; round < 2000; round++) {
        uint8_t key[40], value[40];
        size_t key_len = rng_between(&rng, 1, sizeof key),
               value_len = rng_below(&rng, sizeof value);
        bool is_text = rng_chance(&rng, 1, 2);
        rng_fill(&rng, key, key_len);
        rng_fill(&rng, value, value_len);
        for (size_t i = 0; is_text && i < sizeof key; i++) {
            key[i] &= 0x7f;
            value[i] &= 0x7f;
        }
        uint64_t ttl_ms = rng_below(&rng, 3);
        buf_clear(&line);
        record_append(&line, slice_of(key, key_len), slice_of(value, value_len), ttl_ms);
        assert_int_equal(line.data[line.len - 1], '\n');
        assert_null(memchr(line.data, '\n', line.len - 1));
        struct err err = {0};
        if (record_parse(&record, slice_of(line.data, line.len - 1), &err) != 0)
            fail_msg("%s", err.msg);
        assert_true(slice_equal(buf_slice(&record.key), slice_of(key, key_len)));
        assert_true(slice_equal(buf_slice(&record.value), slice_of(value, value_len)));
        assert_true(record.ttl_ms == ttl_ms);
    }
    buf_fini(&line);
    record_fini(&record);
}

/* The longest that there is, of bytes whose escapes are the longest, fits into a line, too. */
static void test_longest(void **state)
{
    enum { LONG_KEY = 4096, LONG_VALUE = 8 << 20 };
    static const uint8_t fills[] = {0, 0x1f, 0x7f, '"', '\n', 'a', 0xff};
    struct record record;
    struct buf line;
    uint8_t *bytes = malloc(LONG_VALUE);
    (void)state;
    assert_non_null(bytes);
    record_init(&record);
    buf_init(&line, RECORD_LINE_MAX);
    for (size_t i = 0; i < ARRAY_LEN(fills); i++) {
        struct slice key = slice_of(bytes, LONG_KEY), value = slice_of(bytes, LONG_VALUE);
        struct err err = {0};
        memset(bytes, fills[i], LONG_VALUE);
        buf_clear(&line);
        record_append(&line, key, value, UINT64_MAX);
        assert_false(line.failed);
        if (record_parse(&record, slice_of(line.data, line.len - 1), &err) != 0)
            fail_msg("fill %zu: %s", i, err.msg);
        assert_true(slice_equal(buf_slice(&record.key), key));
        assert_true(slice_equal(buf_slice(&record.value), value));
    }
    free(bytes);
    buf_fini(&line);
    record_fini(&record);
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *want; /* NULL: fine */
    } rows[] = {
        {"{\"key\":\"a\",\"value\":\"b\"}", NULL},
        {"{\"ok\":true,\"key\":\"a\",\"version\":3,\"value\":\"b\",\"ttl_ms\":0}", NULL},
        {"{\"key\":\"a\",\"found\":true,\"version\":3,\"value_b64\":\"/w==\"}", NULL},
        {"{\"value\":\"b\",\"more\":[1,{}],\"key\":\"a\"}", "unknown member \"more\""},
        {"{\"key\":\"a\",\"value\":\"b\",\"ttl\":60}", "unknown member \"ttl\""},
        {"{\"\":1,\"key\":\"a\",\"value\":\"b\"}", "unknown member \"\""},
        {"{\"key\":\"a\",\"value\":\"v\",\"key\":\"b\"}", "\"key\" comes twice"},
        {"{\"key\":\"a\",\"value_b64\":\"\",\"value_b64\":\"\"}", "\"value_b64\" comes twice"},
        {"{\"key\":\"a\",\"value\":\"v\",\"ttl_ms\":5,\"ttl_ms\":6}", "\"ttl_ms\" comes twice"},
        {"{\"key_b64\":\"/w==\",\"value_b64\":\"\"}", NULL},
        {"{\"key\":\"a\",\"value\":\"b\",\"ttl_ms\":5}", NULL},
        {"{\"key\":\"a\",\"value\":\"b\",\"ttl_ms\":\"5\"}", "\"ttl_ms\" is no number"},
        {"{\"key\":\"a\"}", "no \"value\""},
        {"{\"value\":\"a\"}", "no \"key\""},
        {"{\"key\":\"\",\"value\":\"a\"}", "the key is empty"},
        {"{\"key\":5,\"value\":\"a\"}", "\"key\" is no text"},
        {"{\"key\":\"a\",\"value\":null}", "\"value\" is no text"},
        {"{\"key\":\"\\ud800\",\"value\":\"\"}", "\"key\" is no text"},
        {"{\"key_b64\":\"a\",\"value\":\"a\"}", "\"key_b64\" is no base64"},
        {"{\"key_b64\":7,\"value\":\"a\"}", "\"key_b64\" is no base64"},
        {"{\"key\":\"a\",\"key_b64\":\"/w==\",\"value\":\"a\"}", "both \"key\" and \"key_b64\""},
        {"[]", "no JSON object"},
        {"{\"key\":\"a\",\"value\":\"b\"", "byte 22: ',' or the end expected"},
        {"", "byte 0: unexpected end"},
    };
    struct record record;
    record_init(&record);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        int rv = record_parse(&record, slice_str(rows[i].line), &err);
        const char *want = rows[i].want != NULL ? rows[i].want : "";
        if ((rv != 0) != (rows[i].want != NULL) || strcmp(err.msg, want) != 0)
            fail_msg("row %zu: %d '%s'", i, rv, err.msg);
    }
    record_fini(&record);
}

static void test_key_limit(void **state)
{
    (void)state;
    struct record record;
    struct buf line;
    record_init(&record);
    buf_init(&line, 1 << 16);
    for (int len = 4096; len <= 4097; len++) {
        buf_clear(&line);
        buf_append_str(&line, "{\"key\":\"");
        for (int i = 0; i < len; i++)
            buf_append_u8(&line, 'k');
        buf_append_str(&line, "\",\"value\":\"v\"}");
        struct err err = {0};
        int rv = record_parse(&record, buf_slice(&line), &err);
        assert_int_equal(rv, len == 4096 ? 0 : ERR_INVALID);
        if (rv != 0)
            assert_string_equal(err.msg, "\"key\" is over 4096 bytes");
    }
    buf_fini(&line);
    record_fini(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_key_limit),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
