/* SPDX-License-Identifier: Apache-2.0 */
/* What a watch of a hashed keyspace tells of, and how its token says so. */
#include "support/check.h"

#include <string.h>

#include "base/err.h"
#include "client/sieve.h"

static void test_passes(void **state)
{
    (void)state;
    static const struct {
        const char *start, *end, *key;
        bool want;
    } rows[] = {
        {"b", "d", "a", false}, {"b", "d", "b", true}, {"b", "d", "cc", true},
        {"b", "d", "d", false}, {"b", "", "a", false}, {"b", "", "zz", true},
        {"", "d", "a", true},   {"", "d", "e", false}, {"", "", "e", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sieve s;
        sieve_init(&s);
        assert_true(sieve_passes(&s, slice_str(rows[i].key)));
        assert_int_equal(sieve_set(&s, slice_str(rows[i].start), slice_str(rows[i].end)), 0);
        assert_int_equal(sieve_passes(&s, slice_str(rows[i].key)), rows[i].want);
        sieve_fini(&s);
    }
    struct sieve s;
    sieve_init(&s);
    assert_int_equal(sieve_set(&s, slice_str("b"), slice_str("b")), ERR_INVALID);
    sieve_fini(&s);
}

static void test_there_and_back(void **state)
{
    (void)state;
    struct sieve s, back;
    struct buf out;
    sieve_init(&s);
    sieve_init(&back);
    buf_init(&out, 1000);
    sieve_encode(&s, &out);
    assert_int_equal(out.len, 0); /* all passes: nothing is said */
    assert_int_equal(sieve_set(&s, slice_str("b"), slice_str("dog")), 0);
    sieve_encode(&s, &out);
    buf_append_str(&out, "\x01rest");
    struct slice token = buf_slice(&out);
    assert_int_equal(sieve_decode(&back, &token), 0);
    assert_true(slice_equal(token, slice_str("\x01rest")));
    assert_true(back.is_on && sieve_passes(&back, slice_str("do")));
    assert_false(sieve_passes(&back, slice_str("dog")) || sieve_passes(&back, slice_str("a")));
    sieve_fini(&back);
    assert_int_equal(sieve_decode(&back, &token), 0); /* no bounds there */
    assert_false(back.is_on);
    sieve_fini(&s);
    sieve_fini(&back);
    buf_fini(&out);
}

static void test_damage(void **state)
{
    (void)state;
    struct sieve s, back;
    struct buf out;
    sieve_init(&s);
    sieve_init(&back);
    buf_init(&out, 1000);
    assert_int_equal(sieve_set(&s, slice_str("b"), slice_str("dog")), 0);
    sieve_encode(&s, &out);
    size_t head = out.len;
    buf_append_u8(&out, 1);
    for (size_t i = 1; i < head; i++) { /* the first says whether there are bounds at all */
        for (unsigned other = 1; other < 256; other++) {
            struct slice token = buf_slice(&out);
            out.data[i] ^= (uint8_t)other;
            assert_int_equal(sieve_decode(&back, &token), ERR_INVALID);
            assert_true(token.len == out.len);
            out.data[i] ^= (uint8_t)other;
        }
    }
    for (size_t n = 1; n <= head; n++) {
        struct slice token = slice_of(out.data, n);
        assert_int_equal(sieve_decode(&back, &token), ERR_INVALID);
    }
    assert_false(back.is_on);
    sieve_fini(&s);
    sieve_fini(&back);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
