/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "store/clock.h"

enum { SECOND = 1000, HOUR = 3600 * SECOND, LIMIT = 10 * SECOND };

/* `offsets` are the known clocks, ours among them as 0. */
static const struct {
    const char *name;
    int64_t offsets[5];
    uint32_t known;
    uint32_t voters;
    bool was_off;
    bool want_known;
    bool want_off;
    bool want_outvoted;
    int64_t want_offset_ms;
} rows[] = {
    {"alone", {0}, 1, 1, false, true, false, false, 0},
    {"nobody heard yet", {0}, 1, 3, false, false, false, false, 0},
    {"half is no majority", {0, 0}, 2, 4, false, false, false, false, 0},
    {"all agree", {3, 0, -2}, 3, 3, false, true, false, false, 0},
    {"at the limit", {LIMIT, 0, LIMIT}, 3, 3, false, true, false, false, -LIMIT},
    {"above it", {LIMIT + 1, 0, LIMIT + 1}, 3, 3, false, true, true, true, -LIMIT - 1},
    {"below it", {-LIMIT - 1, 0, -LIMIT - 1}, 3, 3, false, true, true, true, LIMIT + 1},
    {"another is wrong", {HOUR, 0, 1}, 3, 3, false, true, false, false, -1},
    {"two known, the later", {-HOUR, 0}, 2, 3, false, true, true, false, HOUR},
    {"two known, the earlier", {0, HOUR}, 2, 3, false, true, false, false, 0},
    {"minority of five, with another",
     {0, 1, HOUR, HOUR, HOUR},
     5,
     5,
     false,
     true,
     true,
     true,
     -HOUR},
    {"majority of five", {0, 1, -1, HOUR, -HOUR}, 5, 5, false, true, false, false, 0},
    {"nobody agrees: no vote", {0, HOUR, 2 * HOUR}, 3, 3, false, true, true, false, -HOUR},
    {"three of five, two of them ahead", {-HOUR, 0, HOUR}, 3, 5, false, true, true, false, HOUR},
    {"three of five, the right one", {0, HOUR, 2 * HOUR}, 3, 5, false, true, false, false, 0},
    {"was off, just inside",
     {9 * SECOND, 0, 9 * SECOND},
     3,
     3,
     true,
     true,
     true,
     false,
     -9 * SECOND},
    {"was off, well inside",
     {8 * SECOND, 0, 8 * SECOND},
     3,
     3,
     true,
     true,
     false,
     false,
     -8 * SECOND},
    {"was off, nobody heard", {0}, 1, 3, true, false, true, false, 0},
    {"a learner asks", {HOUR, HOUR}, 2, 3, false, true, true, true, -HOUR},
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct clock clock = {.is_off = rows[i].was_off};
        int64_t offsets[5];
        memcpy(offsets, rows[i].offsets, sizeof offsets);
        bool has_changed = clock_judge(&clock, offsets, rows[i].known, rows[i].voters, LIMIT);
        if (clock.is_known != rows[i].want_known || clock.is_off != rows[i].want_off ||
            clock.is_outvoted != rows[i].want_outvoted || clock.offset_ms != rows[i].want_offset_ms)
            fail_msg("%s: known %d off %d outvoted %d offset %lld", rows[i].name, clock.is_known,
                     clock.is_off, clock.is_outvoted, (long long)clock.offset_ms);
        assert_int_equal(has_changed, clock.is_off != rows[i].was_off);
    }
}

/* In every connected majority somebody may lead, whatever its clocks show. */
static void test_somebody_leads(void **state)
{
    (void)state;
    static const int64_t clocks[] = {-HOUR, -LIMIT - 1, 0, LIMIT, 3 * HOUR};
    for (uint32_t mask = 1; mask < 1u << ARRAY_LEN(clocks); mask++) {
        bool may_lead = false;
        for (size_t i = 0; i < ARRAY_LEN(clocks); i++) {
            struct clock clock = {0};
            int64_t offsets[ARRAY_LEN(clocks)];
            uint32_t known = 0;
            if (!(mask & 1u << i))
                continue;
            for (size_t j = 0; j < ARRAY_LEN(clocks); j++) {
                if (mask & 1u << j)
                    offsets[known++] = clocks[j] - clocks[i];
            }
            clock_judge(&clock, offsets, known, ARRAY_LEN(clocks), LIMIT);
            may_lead = may_lead || !clock.is_off;
        }
        if (!may_lead)
            fail_msg("nobody may lead among %#x", mask);
    }
}

/* A clock that was right once is not held against the process when it goes wrong. */
static void test_was_good(void **state)
{
    (void)state;
    struct clock clock = {0};
    int64_t alone[] = {0, HOUR};
    clock_judge(&clock, alone, 2, 3, LIMIT);
    assert_false(clock.is_off);
    assert_false(clock.was_good); /* nobody agrees with it */
    int64_t good[] = {0, 5};
    clock_judge(&clock, good, 2, 3, LIMIT);
    assert_true(clock.was_good);
    int64_t bad[] = {0, HOUR, HOUR};
    clock_judge(&clock, bad, 3, 3, LIMIT);
    assert_true(clock.is_off && clock.is_outvoted && clock.was_good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_somebody_leads),
        cmocka_unit_test(test_was_good),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
