/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "sim/cover.h"

/* What was never met is told; what is met is summed up over runs. */
static void test_never(void **state)
{
    struct cover sum;
    struct cover run;
    (void)state;
    FILE *out = fopen("/dev/null", "w");
    assert_non_null(out);
    cover_init(&sum);
    uint32_t all = cover_print(&sum, out);
    assert_true(all > 0);
    cover_expect(&sum, "a thing of the test");
    assert_int_equal(cover_print(&sum, out), all + 1);
    for (int i = 0; i < 3; i++) {
        cover_init(&run);
        cover_add(&run, "a thing of the test", i == 0 ? 0 : 5); /* 0: it was not met */
        cover_merge(&sum, &run);
    }
    assert_int_equal(cover_print(&sum, out), all);
    const struct cover_item *item = &sum.items[sum.count - 1];
    assert_string_equal(item->name, "a thing of the test");
    assert_true(item->total == 10 && item->runs == 2);
    fclose(out);
}

/* More names than there is room for are dropped, not written past the end. */
static void test_bound(void **state)
{
    struct cover cover;
    (void)state;
    cover_init(&cover);
    for (int i = 0; i < 2 * COVER_MAX; i++) {
        char name[COVER_NAME_MAX + 20];
        snprintf(name, sizeof name, "number %d of many with a name that is far too long for it", i);
        cover_add(&cover, name, 1);
    }
    assert_int_equal(cover.count, COVER_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests_name("cover", tests, NULL, NULL);
}
