/* SPDX-License-Identifier: Apache-2.0
 *
 * What a person is told: each text names what is wrong, why, and what to do.
 */
#include "support/check.h"

#include "placement/explain.h"
#include "rig.h"

static struct rig rig;
static struct buf text;

#define STORES(...) ((const uint64_t[]){__VA_ARGS__})

static void begin(uint32_t stores)
{
    rig_init(&rig);
    buf_init(&text, 1 << 20);
    for (uint32_t i = 0; i < stores; i++)
        rig_join(&rig, "");
}

static void end(void)
{
    rig_fini(&rig);
    buf_fini(&text);
}

static void want(const char *part)
{
    buf_append_u8(&text, 0);
    if (strstr((const char *)text.data, part) == NULL)
        fail_msg("'%s' is not in:\n%s", part, (const char *)text.data);
    text.len--;
}

static void explain(uint64_t range_id)
{
    buf_clear(&text);
    assert_int_equal(placement_explain(rig.p, rig.now_ms, range_id, &text, NULL), 0);
}

static void why_not(uint64_t store_id)
{
    buf_clear(&text);
    assert_int_equal(placement_why_not(rig.p, rig.now_ms, store_id, &text, NULL), 0);
}

static void plan(struct placement_if what_if)
{
    struct err err = {0};
    buf_clear(&text);
    if (placement_plan(rig.p, rig.now_ms, &what_if, &text, &err) != 0)
        fail_msg("plan: %s", err.msg);
}

static void test_explains_a_range(void **state)
{
    (void)state;
    begin(3);
    rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    explain(2);
    want("3 of 3 voters healthy, should have 3");
    want("nothing is wrong with it");
    want("store 1 has a replica of range 2");
    rig.stores[2].is_silent = true;
    rig_run(&rig, 700);
    explain(2);
    want("2 of 3 voters healthy");
    want("needed (repair): its replica on store 3 is lost: the store is down");
    want("no store may take the replica");
    uint64_t d = rig_join(&rig, "");
    rig.stores[3].free_bytes = 0;
    rig_run(&rig, 5);
    explain(2);
    want("store 4 has too little disk");
    rig.stores[3].free_bytes = rig.stores[3].capacity;
    rig_run(&rig, 60);
    explain(2);
    want("nothing is wrong with it");
    want("operator ");
    want("(repair) done");
    assert_true(rig_has(rig_find(&rig, 2), d));
    end();
}

static void test_explains_obstacles(void **state)
{
    struct err err = {0};
    (void)state;
    begin(3);
    rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    placement_pause(rig.p, true);
    explain(2);
    want("placement is paused");
    placement_pause(rig.p, false);
    rig.stores[1].is_silent = rig.stores[2].is_silent = true;
    rig_run(&rig, 20);
    explain(2);
    want("it has lost its majority");
    want("holdfast range recover --unsafe");
    assert_int_equal(placement_explain(rig.p, rig.now_ms, 77, &text, &err), ERR_NOT_FOUND);
    end();
}

static void test_why_not(void **state)
{
    struct err err = {0};
    (void)state;
    begin(5);
    rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    placement_wish(rig.p, 4, PLACEMENT_WISH_DRAIN, NULL);
    why_not(4);
    want("store 4 (s4:1) is draining");
    want("replicas: none come, because it is draining: nothing comes to it");
    want("holdfast node undrain");
    why_not(5);
    want("of its part (by capacity)");
    want("leaders: it leads 0");
    why_not(1);
    want("leads 1");
    assert_int_equal(placement_why_not(rig.p, rig.now_ms, 99, &text, &err), ERR_NOT_FOUND);
    end();
}

static void test_plans(void **state)
{
    (void)state;
    struct placement_counts before, after;
    begin(4);
    for (uint64_t i = 0; i < 8; i++) {
        char start[8] = {(char)('a' + i)};
        char last[8] = {(char)('b' + i)};
        rig_range(&rig, 2 + i, start, last, STORES(1 + i % 4, 1 + (i + 1) % 4, 1 + (i + 2) % 4), 3)
            ->bytes = 64 << 20;
    }
    rig_run(&rig, 60);
    plan((struct placement_if){0});
    want("nothing is to be done");
    plan((struct placement_if){.down_store = 2});
    want("because its replica on store 2 is lost: the store is down (repair)");
    want("6 replicas");
    plan((struct placement_if){.gone_store = 3});
    want("because store 3 is decommissioning (decommission)");
    plan((struct placement_if){.add_bytes = UINT64_C(1) << 40});
    want("(balance-bytes)");
    plan((struct placement_if){.add_bytes = UINT64_C(1) << 40, .add_labels = slice_str("zone=b")});
    want("can stand further apart (spread=zone,rack,host): store ");
    want("then: stores carry");
    /* it was only asked */
    placement_counts(rig.p, &before);
    rig_run(&rig, 60);
    placement_counts(rig.p, &after);
    assert_true(before.operators_started == after.operators_started);
    /* three stores down: nothing is promised that cannot be */
    rig.stores[2].is_silent = true;
    rig_run(&rig, 10);
    plan((struct placement_if){.down_store = 2});
    want("WITHOUT A MAJORITY");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explains_a_range),
        cmocka_unit_test(test_explains_obstacles),
        cmocka_unit_test(test_why_not),
        cmocka_unit_test(test_plans),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
