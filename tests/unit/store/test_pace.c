/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pace.h"

#include "support/check.h"

enum { MS = 1000 };

static void note_many(struct pace *pace, uint64_t worst_us, int ticks)
{
    for (int i = 0; i < ticks; i++)
        pace_note(pace, worst_us);
}

static void test_slow_and_back(void **state)
{
    (void)state;
    struct pace pace = {0};
    note_many(&pace, 2 * MS, 100);
    assert_false(pace.is_slow);
    assert_int_equal(pace.normal_us, 2 * MS);
    assert_false(pace_note(&pace, 900 * MS)); /* once, twice: it happens */
    assert_false(pace_note(&pace, 900 * MS));
    assert_true(pace_note(&pace, 900 * MS));
    assert_true(pace.is_slow);
    note_many(&pace, 2 * MS, PACE_TICKS - 1);
    assert_true(pace.is_slow);
    assert_true(pace_note(&pace, 2 * MS));
    assert_false(pace.is_slow);
}

/* Three spread over a long time are none. */
static void test_rare(void **state)
{
    (void)state;
    struct pace pace = {0};
    for (int i = 0; i < 20; i++) {
        note_many(&pace, 2 * MS, 5);
        assert_false(pace_note(&pace, 900 * MS));
    }
    assert_false(pace.is_slow);
}

/* A disk that was never fast is not slow; one that was and stays slow is so for minutes. */
static void test_normal(void **state)
{
    (void)state;
    struct pace pace = {0};
    note_many(&pace, 300 * MS, 100);
    assert_true(pace_limit_us(&pace) >= 2500 * MS);
    note_many(&pace, 900 * MS, 20);
    assert_false(pace.is_slow);
    struct pace fast = {0};
    note_many(&fast, 2 * MS, 100);
    note_many(&fast, 900 * MS, 60);
    assert_true(fast.is_slow);
    note_many(&fast, 900 * MS, 8000);
    assert_false(fast.is_slow); /* that is what it is like now */
}

/* Growing slowness is noticed too, though each step of it is below the limit for a while. */
static void test_growing(void **state)
{
    (void)state;
    struct pace pace = {0};
    note_many(&pace, 1 * MS, 100);
    for (uint64_t us = 1 * MS; us < 2000 * MS; us += us / 4)
        pace_note(&pace, us);
    assert_true(pace.is_slow);
}

/* Idle ticks say nothing of what is normal, and end a slow time. */
static void test_idle(void **state)
{
    (void)state;
    struct pace pace = {0};
    note_many(&pace, 0, 100);
    assert_int_equal(pace.normal_us, 0);
    note_many(&pace, 900 * MS, 3);
    assert_true(pace.is_slow);
    note_many(&pace, 0, PACE_TICKS);
    assert_false(pace.is_slow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_and_back), cmocka_unit_test(test_rare),
        cmocka_unit_test(test_normal),        cmocka_unit_test(test_growing),
        cmocka_unit_test(test_idle),
    };
    return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
