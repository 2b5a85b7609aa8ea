/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/buf.h"

#include <stdlib.h>

#include "base/err.h"

static void test_append(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1024);
    buf_append_u8(&buf, 0x7f);
    buf_append_u32(&buf, 0x01020304);
    buf_append_u64(&buf, UINT64_C(0x1122334455667788));
    buf_append_varint(&buf, 300);
    buf_append_str(&buf, "ab");
    buf_append_slice(&buf, slice_str("cd"));
    buf_printf(&buf, "%d-%s", 7, "x");
    static const uint8_t want[] = {0x7f, 4,    3,    2,    1,   0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
                                   0x22, 0x11, 0xac, 0x02, 'a', 'b',  'c',  'd',  '7',  '-',  'x'};
    assert_false(buf.failed);
    assert_int_equal(buf.len, sizeof want);
    assert_memory_equal(buf.data, want, sizeof want);
    assert_true(slice_equal(buf_slice(&buf), slice_of(want, sizeof want)));
    buf_fini(&buf);
}

/* The bound is exact, failure sticks until cleared, and nothing is half added. */
static void test_bound(void **state)
{
    (void)state;
    for (size_t max = 1; max < 200; max++) {
        struct buf buf;
        buf_init(&buf, max);
        for (size_t i = 0; i < max; i++)
            buf_append_u8(&buf, (uint8_t)i);
        assert_false(buf.failed);
        assert_int_equal(buf.len, max);
        buf_append(&buf, "", 0);
        assert_false(buf.failed);
        buf_append_u8(&buf, 1);
        assert_true(buf.failed);
        assert_int_equal(buf.len, max);
        assert_int_equal(buf_reserve(&buf, 0), ERR_NOMEM);
        buf_clear(&buf);
        assert_null(buf_extend(&buf, max + 1));
        assert_int_equal(buf.len, 0);
        buf_clear(&buf);
        assert_int_equal(buf_reserve(&buf, SIZE_MAX), ERR_NOMEM);
        buf_clear(&buf);
        assert_int_equal(buf_reserve(&buf, max), 0);
        assert_false(buf.failed);
        buf_fini(&buf);
    }
}

static void test_printf_bound(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 4);
    buf_printf(&buf, "abc"); /* three and the NUL */
    assert_false(buf.failed);
    assert_int_equal(buf.len, 3);
    buf_printf(&buf, "d");
    assert_true(buf.failed);
    assert_int_equal(buf.len, 3);
    buf_fini(&buf);
}

static void test_take(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 64);
    size_t len = 9;
    assert_null(buf_take(&buf, &len));
    assert_int_equal(len, 0);
    buf_append_str(&buf, "hold");
    uint8_t *bytes = buf_take(&buf, &len);
    assert_int_equal(len, 4);
    assert_memory_equal(bytes, "hold", 4);
    free(bytes);
    assert_int_equal(buf.len, 0);
    buf_append_str(&buf, "fast");
    assert_memory_equal(buf.data, "fast", 4);
    buf_fini(&buf);
    buf_fini(&buf); /* twice is fine */
}

static void test_fit(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1 << 20);
    buf_fit(&buf); /* nothing at all */
    buf_append_str(&buf, "hold");
    assert_int_equal(buf_reserve(&buf, 100000), 0);
    buf_fit(&buf);
    assert_int_equal(buf.cap, 4);
    assert_memory_equal(buf.data, "hold", 4);
    buf_append_str(&buf, "fast");
    assert_memory_equal(buf.data, "holdfast", 8);
    buf_clear(&buf);
    buf_fit(&buf);
    assert_int_equal(buf.cap, 0);
    buf_append_str(&buf, "again");
    assert_memory_equal(buf.data, "again", 5);
    buf_fini(&buf);
}

/* What is in it stays while it grows over the size from which on it stands on large pages. */
static void test_grows_large(void **state)
{
    (void)state;
    struct buf buf;
    uint8_t piece[70001];
    size_t n = 0;
    buf_init(&buf, 9 << 20);
    for (; (n + 1) * sizeof piece <= buf.max; n++) {
        memset(piece, (int)n, sizeof piece);
        buf_append(&buf, piece, sizeof piece);
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(buf.data[i * sizeof piece], (uint8_t)i);
        assert_int_equal(buf.data[(i + 1) * sizeof piece - 1], (uint8_t)i);
    }
    assert_int_not_equal(buf_reserve(&buf, sizeof piece), 0);
    buf_fit(&buf);
    assert_int_equal(buf.cap, n * sizeof piece);
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),       cmocka_unit_test(test_bound),
        cmocka_unit_test(test_printf_bound), cmocka_unit_test(test_take),
        cmocka_unit_test(test_fit),          cmocka_unit_test(test_grows_large),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
