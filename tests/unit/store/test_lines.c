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

/* What differs in numbers alone has the same lines; eight things that are said do not all share
 * them. */
static void test_of_what_is_said(void **state)
{
    static const char *const said[] = {"bad magic", "checksum of frame", "hello expected",
                                       "version",   "too long",          "no such stream",
                                       "timeout",   "a reply of a kind"};
    struct lines lines[8];
    const struct lines *of[ARRAY_LEN(said)];
    size_t kinds = 0;
    (void)state;
    assert_ptr_equal(lines_of_text(lines, 8, "frame 12 of 7"),
                     lines_of_text(lines, 8, "frame 3 of 40"));
    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        size_t same = 0;
        of[i] = lines_of_text(lines, 8, said[i]);
        assert_true(of[i] >= lines && of[i] < lines + 8);
        while (of[same] != of[i])
            same++;
        kinds += same == i;
    }
    assert_true(kinds >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_so_many_a_second),
        cmocka_unit_test(test_of_what_is_said),
    };
    return cmocka_run_group_tests_name("lines", tests, NULL, NULL);
}
