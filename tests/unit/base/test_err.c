/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/err.h"

#include <errno.h>

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(err_name(0), "OK");
    for (int code = -1; code > ERR_LAST; code--) {
        assert_non_null(err_name(code));
        assert_string_not_equal(err_name(code), "UNKNOWN");
        for (int other = code + 1; other <= 0; other++)
            assert_string_not_equal(err_name(code), err_name(other));
    }
    assert_string_equal(err_name(1), "UNKNOWN");
    assert_string_equal(err_name(ERR_LAST), "UNKNOWN");
    assert_string_equal(err_name(-10000), "UNKNOWN");
}

static void test_wrap(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(err_set(&err, ERR_CORRUPT, "record %d: bad crc", 12), ERR_CORRUPT);
    assert_int_equal(err_wrap(&err, ERR_IO, "load '%s'", "M-7"), ERR_IO);
    assert_string_equal(err.msg, "load 'M-7': record 12: bad crc");
    assert_int_equal(err.code, ERR_IO);

    struct err bare = {0};
    err_wrap(&bare, ERR_BUSY, "append");
    assert_string_equal(bare.msg, "append: BUSY");
    assert_int_equal(err_set(NULL, ERR_IO, "x"), ERR_IO);
    assert_int_equal(err_wrap(NULL, ERR_IO, "x"), ERR_IO);
}

/* What others say is an error of ours, whatever it is, and never a word of our own functions. */
static void test_from_wire(void **state)
{
    (void)state;
    for (int code = -1; code >= -10000; code--) {
        struct err err = {0};
        int got = err_from_wire(code);
        bool is_word = code == ERR_SHORT || code == ERR_WOULD_BLOCK || code == ERR_EOF;
        int want = is_word ? ERR_CORRUPT : code <= ERR_LAST ? ERR_UNAVAILABLE : code;
        assert_int_equal(got, want);
        assert_int_equal(err_set(&err, got, "it says"), want);
    }
}

/* A message longer than its room is cut, never overrun. */
static void test_cut(void **state)
{
    (void)state;
    struct err err = {0};
    char text[ERR_MSG_MAX * 2];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    err_set(&err, ERR_IO, "%s", text);
    assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
    err_wrap(&err, ERR_IO, "%s", text);
    assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
    err_set_errno(&err, EIO, "%s", text);
    assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
}

static void test_errno(void **state)
{
    (void)state;
    static const struct {
        int errnum;
        int want;
    } rows[] = {
        {ENOSPC, ERR_NO_SPACE}, {EDQUOT, ERR_NO_SPACE}, {ENOENT, ERR_NOT_FOUND},
        {EEXIST, ERR_EXISTS},   {ENOMEM, ERR_NOMEM},    {EIO, ERR_IO},
        {EROFS, ERR_IO},        {12345, ERR_IO},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        assert_int_equal(err_set_errno(&err, rows[i].errnum, "open 'x'"), rows[i].want);
        assert_int_equal(err.code, rows[i].want);
        assert_memory_equal(err.msg, "open 'x': ", 10);
        assert_true(strlen(err.msg) > 10);
        assert_int_equal(err_set_errno(NULL, rows[i].errnum, "x"), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_from_wire), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_errno),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
