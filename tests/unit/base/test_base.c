/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/base.h"

static void test_order(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int want;       /* sign */
        bool is_prefix; /* b of a */
    } rows[] = {
        {"", "", 0, true},       {"a", "", 1, true},    {"", "a", -1, false},
        {"a", "a", 0, true},     {"a", "b", -1, false}, {"ab", "a", 1, true},
        {"a", "ab", -1, false},  {"b", "ab", 1, false}, {"\xff", "a", 1, false},
        {"ab", "ac", -1, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice a = slice_str(rows[i].a), b = slice_str(rows[i].b);
        int got = slice_compare(a, b);
        assert_int_equal((got > 0) - (got < 0), rows[i].want);
        assert_int_equal(slice_equal(a, b), rows[i].want == 0);
        assert_int_equal(slice_has_prefix(a, b), rows[i].is_prefix);
    }
}

static void test_empty_has_no_address(void **state)
{
    (void)state;
    struct slice none = {0};
    assert_true(slice_equal(none, slice_str("")));
    assert_int_equal(slice_compare(none, none), 0);
    assert_true(slice_has_prefix(none, none));
    assert_true(slice_compare(none, slice_str("a")) < 0);
}

static void test_macros(void **state)
{
    (void)state;
    struct outer {
        int before;
        int member;
    } outer = {0};
    int three[3] = {0};
    assert_int_equal(ARRAY_LEN(three), 3);
    assert_ptr_equal(container_of(&outer.member, struct outer, member), &outer);
    assert_int_equal(MIN(2, 3) + MAX(2, 3), 5);
    assert_int_equal(BIT(5), 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_empty_has_no_address),
        cmocka_unit_test(test_macros),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
