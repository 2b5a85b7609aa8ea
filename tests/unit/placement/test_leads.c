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

static void lag_all(bool is_lagging)
{
    for (uint32_t i = 0; i < rig.range_count; i++)
        rig.ranges[i].is_lagging = is_lagging;
}

static void set_stuck(uint32_t member)
{
    for (uint32_t i = 0; i < rig.range_count; i++) {
        struct rig_range *r = &rig.ranges[i];
        r->stuck = member < r->d.member_count ? r->d.members[member].replica_id : 0;
    }
}

/* A range takes no writes until its heir has all of the log. */
static void test_none_to_who_lags(void **state)
{
    (void)state;
    make_three();
    set_stuck(2);
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
    set_stuck(UINT32_MAX);
    rig_run(&rig, WHILE_S);
    assert_int_equal(led_by(3), RANGES / 2);
    rig_fini(&rig);
}

/* Somebody catches up in the end, as a rule; a drain ends where nobody does, too. */
static void test_waits_for_who_lags(void **state)
{
    (void)state;
    for (int is_hopeless = 0; is_hopeless < 2; is_hopeless++) {
        make_three();
        rig_run(&rig, WHILE_S);
        uint32_t led = led_by(1);
        lag_all(true);
        drain(1);
        rig_run(&rig, 25);
        assert_int_equal(led_by(1), led);
        lag_all(is_hopeless);
        rig_run(&rig, is_hopeless ? 40 : 3);
        assert_int_equal(led_by(1), 0);
        rig_fini(&rig);
    }
}

/* Of a hot range, too, and of the cold one that comes back for it. */
static void test_load_to_none_who_lags(void **state)
{
    (void)state;
    for (int is_cold = 0; is_cold < 2; is_cold++) {
        uint32_t hot = 0;
        make_three();
        rig_run(&rig, WHILE_S);
        for (uint32_t i = 0; i < rig.range_count; i++) {
            struct rig_range *r = &rig.ranges[i];
            bool is_hot = r->leader == r->d.members[0].replica_id && hot < 3;
            r->qps = is_hot ? 20000 : 10;
            r->is_lagging = is_hot != is_cold;
            hot += is_hot;
        }
        uint32_t steps = rig.steps;
        rig_run(&rig, WHILE_S);
        assert_int_equal(rig.steps, steps);
        lag_all(false);
        rig_run(&rig, WHILE_S);
        assert_true(rig.steps > steps);
        rig_fini(&rig);
    }
}

/* Who was to lead falls behind before it does: the other one leads. */
static void test_another_heir(void **state)
{
    (void)state;
    static const struct placement_command move = {
        .kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 1, .to_store = 4};
    for (int is_move = 0; is_move < 2; is_move++) {
        rig_init(&rig);
        for (int i = 0; i < 4; i++)
            rig_join(&rig, "");
        struct rig_range *r = rig_range(&rig, 2, "a", "b", stores, 3);
        rig_run(&rig, 30);
        assert_int_equal(led_by(1), 1);
        if (is_move)
            assert_int_equal(rig_command(&rig, move, NULL), 0);
        else
            drain(1);
        for (int i = 0; i < 10 && rig.last.kind != PLACEMENT_TRANSFER; i++) {
            rig.refuse = rig_voters(r) == (is_move ? 4 : 3) ? ERR_TIMEOUT : 0;
            rig_run(&rig, 1);
        }
        assert_int_equal(rig.last.kind, PLACEMENT_TRANSFER);
        uint64_t heir = rig.last.member.replica_id;
        r->stuck = heir;
        rig_run(&rig, 1);
        rig.refuse = 0;
        rig_run(&rig, 5);
        assert_int_equal(led_by(1), 0);
        assert_true(r->leader != heir);
        rig_fini(&rig);
    }
}

/* In vain, as long as it lags: not again and again, for its writes' sake. */
static void test_seldom_in_vain(void **state)
{
    uint32_t tries = 0;
    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 3; i++)
        rig_join(&rig, "");
    rig_range(&rig, 2, "a", "b", stores, 3)->is_lagging = true;
    rig_run(&rig, 10);
    drain(1);
    rig.refuse = ERR_TIMEOUT;
    for (int i = 0; i < WHILE_S; i++) {
        rig.last = (struct placement_step){0};
        rig_run(&rig, 1);
        tries += rig.last.kind == PLACEMENT_TRANSFER;
    }
    assert_in_range(tries, 1, WHILE_S / 30);
    rig.refuse = 0;
    rig_run(&rig, WHILE_S);
    assert_int_equal(led_by(1), 0);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_to_who_takes_none), cmocka_unit_test(test_last_to_who_is_slow),
        cmocka_unit_test(test_none_to_who_lags),       cmocka_unit_test(test_waits_for_who_lags),
        cmocka_unit_test(test_load_to_none_who_lags),  cmocka_unit_test(test_another_heir),
        cmocka_unit_test(test_seldom_in_vain),
    };
    return cmocka_run_group_tests_name("leads", tests, NULL, NULL);
}
