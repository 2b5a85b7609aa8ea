/* SPDX-License-Identifier: Apache-2.0 */
#include "store/lines.h"
#include "support/check.h"

/* So many of a second are told; the first of the next one says how many were not. */
static void test_so_many_a_second(void **state)
{
    struct lines lines = {0};
    uint64_t untold;
    uint64_t now_us = UINT64_C(5) * LINES_EVERY_US;
    (void)state;
    for (int i = 0; i < LINES_MAX; i++) {
        assert_true(lines_take(&lines, now_us + (uint64_t)i, &untold));
        assert_int_equal(untold, 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_false(lines_take(&lines, now_us + LINES_EVERY_US - 1, &untold));
        assert_int_equal(untold, 0);
    }
    assert_true(lines_take(&lines, now_us + LINES_EVERY_US, &untold));
    assert_int_equal(untold, 3);
    assert_true(lines_take(&lines, now_us + 3 * LINES_EVERY_US, &untold));
    assert_int_equal(untold, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_so_many_a_second),
    };
    return cmocka_run_group_tests_name("lines", tests, NULL, NULL);
}
