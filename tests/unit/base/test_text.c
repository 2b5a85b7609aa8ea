/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/text.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/rng.h"

#define BAD UINT64_C(0xdead)

static void test_size(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t want;
        const char *shown; /* NULL: as `text` */
    } rows[] = {
        {"0", 0, NULL},
        {"1", 1, NULL},
        {"1B", 1, "1"},
        {"4096", 4096, "4KiB"},
        {"64MiB", 64 << 20, NULL},
        {"1GiB", 1 << 30, NULL},
        {"3TiB", UINT64_C(3) << 40, NULL},
        {"1kB", 1000, "1000"},
        {"5MB", 5000000, "5000000"},
        {"1500KiB", 1500 << 10, NULL},
        {"18446744073709551615", UINT64_MAX, "18446744073709551615"},
        {"16777216TiB", BAD, NULL},
        {"18446744073709551616", BAD, NULL},
        {"", BAD, NULL},
        {"MiB", BAD, NULL},
        {"-1", BAD, NULL},
        {"1 MiB", BAD, NULL},
        {"1mib", BAD, NULL},
        {"1.5MiB", BAD, NULL},
        {"1MiBx", BAD, NULL},
        {"0x10", BAD, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = BAD;
        int rv = text_parse_size(slice_str(rows[i].text), &got);
        if (got != rows[i].want || (rv != 0) != (rows[i].want == BAD))
            fail_msg("'%s': %d, %llu", rows[i].text, rv, (unsigned long long)got);
        if (rv != 0)
            continue;
        struct buf buf;
        buf_init(&buf, 64);
        text_append_size(&buf, got);
        const char *shown = rows[i].shown != NULL ? rows[i].shown : rows[i].text;
        assert_true(slice_equal(buf_slice(&buf), slice_str(shown)));
        buf_fini(&buf);
    }
}

static void test_duration(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t want;
    } rows[] = {
        {"0", 0},          {"250us", 250},     {"10ms", 10000}, {"5s", 5000000},
        {"2m", 120000000}, {"1h", 3600000000}, {"5", BAD},      {"5sec", BAD},
        {"ms", BAD},       {"-5s", BAD},       {"", BAD},       {"99999999999999h", BAD},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = BAD, again = 0;
        int rv = text_parse_duration(slice_str(rows[i].text), &got);
        if (got != rows[i].want || (rv != 0) != (rows[i].want == BAD))
            fail_msg("'%s': %d, %llu", rows[i].text, rv, (unsigned long long)got);
        if (rv != 0)
            continue;
        struct buf buf;
        buf_init(&buf, 64);
        text_append_duration(&buf, got);
        assert_int_equal(text_parse_duration(buf_slice(&buf), &again), 0);
        assert_true(got == again);
        buf_fini(&buf);
    }
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_good;
        int64_t want;
    } rows[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"+7", true, 7},
        {"-12", true, -12},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"--1", false, 0},
        {"1 ", false, 0},
        {"1a", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t got = 0;
        int rv = text_parse_i64(slice_str(rows[i].text), &got);
        if ((rv == 0) != rows[i].is_good || got != rows[i].want)
            fail_msg("'%s': %d, %lld", rows[i].text, rv, (long long)got);
    }
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        bool want;
    } rows[] = {
        {"", true},
        {"plain", true},
        {"gr\xc3\xbc\xc3\x9f", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x98\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xed\x9f\xbf\xee\x80\x80", true},
        {"\x80", false},
        {"\xc3", false},
        {"\xc0\x80", false},         /* overlong */
        {"\xc1\xbf", false},         /* overlong */
        {"\xe0\x9f\xbf", false},     /* overlong */
        {"\xf0\x8f\xbf\xbf", false}, /* overlong */
        {"\xed\xa0\x80", false},     /* surrogate */
        {"\xf4\x90\x80\x80", false}, /* past U+10FFFF */
        {"\xf5\x80\x80\x80", false},
        {"\xff", false},
        {"a\xe2\x82", false},
        {"\xe2\x28\xa1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (text_is_utf8(slice_str(rows[i].bytes)) != rows[i].want)
            fail_msg("row %zu", i);
    }
}

static void test_base64(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    struct buf buf, back;
    buf_init(&buf, 4096);
    buf_init(&back, 4096);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&buf);
        text_append_base64(&buf, slice_str(rows[i][0]));
        assert_true(slice_equal(buf_slice(&buf), slice_str(rows[i][1])));
    }
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t len = 0; len < 100; len++) {
        uint8_t raw[100];
        rng_fill(&rng, raw, len);
        buf_clear(&buf);
        buf_clear(&back);
        text_append_base64(&buf, slice_of(raw, len));
        assert_int_equal(text_decode_base64(buf_slice(&buf), &back), 0);
        assert_true(slice_equal(buf_slice(&back), slice_of(raw, len)));
    }
    static const char *const damage[] = {"Z",    "Zg",   "Zg=",  "Zg==Zg==", "Zh==",   "Zm9=",
                                         "Zm 8", "====", "Z===", "Zg=a",     "Zm9v\n", "Zm9vZ"};
    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        buf_clear(&back);
        buf_append_str(&back, "kept");
        if (text_decode_base64(slice_str(damage[i]), &back) != ERR_INVALID)
            fail_msg("'%s' was taken", damage[i]);
        assert_true(slice_equal(buf_slice(&back), slice_str("kept")));
    }
    buf_fini(&buf);
    buf_fini(&back);
}

static void test_trim(void **state)
{
    (void)state;
    assert_true(slice_equal(text_trim(slice_str(" \t a b\r\n")), slice_str("a b")));
    assert_int_equal(text_trim(slice_str("  \n")).len, 0);
    assert_int_equal(text_trim((struct slice){0}).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),     cmocka_unit_test(test_duration),
        cmocka_unit_test(test_integers), cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_base64),   cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
