/* SPDX-License-Identifier: Apache-2.0 */
/* Who is given leaders, and who is not. */
#include <stdio.h>

#include "rig.h"
#include "support/check.h"

enum { RANGES = 12, WHILE_S = 300 };

static struct rig rig;

static const uint64_t stores[] = {1, 2, 3};

/* Three stores with all ranges; the first two lead half each. */
static void make_three(void)
{
    char start[2] = "a", end[2] = "b";
    rig_init(&rig);
    for (int i = 0; i < 3; i++)
        rig_join(&rig, "");
    for (uint64_t id = 2; id < 2 + RANGES; id++, start[0]++, end[0]++) {
        struct rig_range *r = rig_range(&rig, id, start, end, stores, 3);
        r->leader = r->d.members[id % 2].replica_id;
        r->qps = 10;
    }
}

static uint32_t led_by(uint64_t store)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < rig.range_count; i++) {
        const struct rig_range *r = &rig.ranges[i];
        for (uint32_t k = 0; k < r->d.member_count; k++)
            n += r->d.members[k].replica_id == r->leader && r->d.members[k].store_id == store;
    }
    return n;
}

static void drain(uint64_t store)
{
    assert_int_equal(placement_wish(rig.p, store, PLACEMENT_WISH_DRAIN, NULL), 0);
}

/* It would not take them, and each try costs the range a second without writes. */
static void test_none_to_who_takes_none(void **state)
{
    (void)state;
    make_three();
    rig.stores[2].lead = PLACEMENT_LEAD_NEVER;
    for (int i = 0; i < WHILE_S; i++) {
        rig_run(&rig, 1);
        assert_int_equal(led_by(3), 0);
    }
    drain(1);
    for (int i = 0; i < WHILE_S; i++) {
        rig_run(&rig, 1);
        assert_int_equal(led_by(3), 0);
    }
    assert_int_equal(led_by(2), RANGES);
    drain(2); /* nobody is left: they stay where they are led */
    rig_run(&rig, WHILE_S);
    assert_int_equal(led_by(2), RANGES);
    rig.stores[2].lead = PLACEMENT_LEAD_GLADLY;
    rig_run(&rig, WHILE_S);
    assert_int_equal(led_by(3), RANGES);
    rig_fini(&rig);
}

/* It would hand them over again; but where nobody else can lead, it does. */
static void test_last_to_who_is_slow(void **state)
{
    (void)state;
    make_three();
    rig.stores[2].lead = PLACEMENT_LEAD_LAST;
    for (int i = 0; i < WHILE_S; i++) {
        rig_run(&rig, 1);
        assert_int_equal(led_by(3), 0);
    }
    drain(1);
    rig_run(&rig, WHILE_S);
    assert_int_equal(led_by(2), RANGES);
    drain(2);
    rig_run(&rig, WHILE_S);
    assert_int_equal(led_by(3), RANGES);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_to_who_takes_none),
        cmocka_unit_test(test_last_to_who_is_slow),
    };
    return cmocka_run_group_tests_name("leads", tests, NULL, NULL);
}
