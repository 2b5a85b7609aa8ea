/* SPDX-License-Identifier: Apache-2.0 */
#include "store/space.h"

#include "support/check.h"

enum { ABSENT = -1 };

static const struct {
    const char *name;
    uint32_t count;
    int marks[5]; /* of the voters; ABSENT: not heard of */
    enum watermark want;
    bool can_spare; /* those at READ_ONLY are not needed */
} rows[] = {
    {"all well", 3, {0, 0, 0}, WATERMARK_OK, true},
    {"one full", 3, {0, 2, 0}, WATERMARK_OK, true},
    {"one at the end", 3, {0, 3, 0}, WATERMARK_OK, true},
    {"two full", 3, {0, 2, 2}, WATERMARK_NO_PUTS, true},
    {"full and at the end", 3, {0, 2, 3}, WATERMARK_NO_PUTS, true},
    {"two at the end", 3, {0, 3, 3}, WATERMARK_READ_ONLY, false},
    {"two low", 3, {0, 1, 1}, WATERMARK_NO_REPLICAS, true},
    {"one full, one absent", 3, {0, 2, ABSENT}, WATERMARK_NO_PUTS, true},
    {"at the end, but needed", 3, {0, 3, ABSENT}, WATERMARK_READ_ONLY, false},
    {"no majority anyway", 3, {0, ABSENT, ABSENT}, WATERMARK_OK, false},
    {"two without any", 3, {0, 4, 4}, WATERMARK_FULL, false},
    {"alone", 1, {2}, WATERMARK_NO_PUTS, true},
    {"two of five", 5, {0, 0, 2, 3, 0}, WATERMARK_OK, true},
    {"three of five", 5, {0, 0, 2, 3, 2}, WATERMARK_NO_PUTS, true},
    {"even: half is no majority", 4, {0, 0, 2, 2}, WATERMARK_NO_PUTS, true},
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct space_voter voters[5] = {{0}};
        for (uint32_t k = 0; k < rows[i].count; k++) {
            voters[k].is_live = rows[i].marks[k] != ABSENT;
            voters[k].mark = (enum watermark)MAX(rows[i].marks[k], 0);
        }
        enum watermark got = space_judge(voters, rows[i].count);
        if (got != rows[i].want)
            fail_msg("%s: got %s, want %s", rows[i].name, watermark_name(got),
                     watermark_name(rows[i].want));
        if (space_suffices(voters, rows[i].count, WATERMARK_READ_ONLY) != rows[i].can_spare)
            fail_msg("%s: who is at the end", rows[i].name);
    }
}

static void test_told(void **state)
{
    (void)state;
    for (enum watermark mark = WATERMARK_OK; mark < WATERMARK_NR; mark++)
        assert_int_equal(space_told(space_tell(mark, mark % 2 == 0, mark % 3 == 0)), mark);
    assert_true(space_told_pace_good(space_tell(WATERMARK_OK, false, true)));
    assert_false(space_told_pace_good(space_tell(WATERMARK_OK, true, false)));
    assert_true(space_told_damaged(space_tell(WATERMARK_OK, false, true)));
    assert_false(space_told_damaged(space_tell(WATERMARK_FULL, true, false)));
    assert_false(space_told_damaged(0));
    assert_false(space_told_pace_good(0));
    assert_int_equal(space_told(0), WATERMARK_OK);
    assert_int_equal(space_told(77), WATERMARK_FULL);
    assert_int_equal(space_told(UINT32_MAX), WATERMARK_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_told),
    };
    return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
