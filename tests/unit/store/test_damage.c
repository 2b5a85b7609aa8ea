/* SPDX-License-Identifier: Apache-2.0
 *
 * A store of which one replica is damaged: the others there are whole, serve, and go elsewhere.
 */
#include "support/check.h"

#include "store/store_internal.h"
#include "store_rig.h"

enum { RIGHT = 77, MOMENTS = 40, SLEEPY_MS = 300 };

static struct rig rig;

/* Which store leads the range; rig.count if none does. */
static size_t leader_of(uint64_t range_id)
{
    struct cons_status s;
    for (size_t i = 0; i < rig.count; i++) {
        if (store_cons_status(rig.stores[i], range_id, &s) && s.state == CONS_LEADER)
            return i;
    }
    return rig.count;
}

static int status_of_get(size_t at, const char *key)
{
    struct rig_answer *get = rig_get(&rig, at, key, 1000);
    rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(get->count, 1);
    return get->status;
}

/* Two ranges, led by one store. */
static size_t start_two(size_t count, uint32_t hibernate_after_ms)
{
    rig_open(&rig, count);
    rig.options.hibernate_after_ms = hibernate_after_ms;
    size_t at = rig_start_cluster(&rig);
    rig_put(&rig, at, "a", "1", 1000);
    rig_put(&rig, at, "x", "2", 1000);
    rig_run(&rig, 200 * RIG_MS);
    struct rig_answer *split = rig_split(&rig, at, "m", STORE_FIRST_RANGE_ID, RIGHT);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(split->status, 0);
    assert_int_equal(leader_of(STORE_FIRST_RANGE_ID), at);
    assert_int_equal(leader_of(RIGHT), at);
    return at;
}

static void damage(size_t at, uint64_t range_id)
{
    struct err err = {0};
    err_set(&err, ERR_CORRUPT, "a record of its log is damaged");
    replica_damage(replicas_of_range(&rig.stores[at]->replicas, range_id), "test", &err);
    assert_int_equal(store_state(rig.stores[at]), STORE_DAMAGED);
}

static void assert_led_elsewhere(size_t bad, uint64_t range_id, const char *key)
{
    size_t leader = rig.count;
    for (int i = 0; i < MOMENTS && (leader == rig.count || leader == bad); i++) {
        rig_run(&rig, 50 * RIG_MS);
        leader = leader_of(range_id);
    }
    assert_true(leader < rig.count && leader != bad);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(status_of_get(leader, key), 0);
}

static void test_others_lead(void **state)
{
    (void)state;
    size_t bad = start_two(3, 0);
    damage(bad, STORE_FIRST_RANGE_ID);
    assert_int_equal(status_of_get(bad, "x"), 0);
    assert_int_equal(status_of_get(bad, "a"), ERR_UNAVAILABLE);
    assert_led_elsewhere(bad, STORE_FIRST_RANGE_ID, "a");
    assert_led_elsewhere(bad, RIGHT, "x");
    assert_int_equal(status_of_get(bad, "x"), ERR_NOT_LEADER);
    assert_int_equal(status_of_get(bad, "a"), ERR_UNAVAILABLE);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Not to one whose disk is full, who would hand it back: nobody does, as all know of the damage. */
static void test_not_to_a_full_disk(void **state)
{
    (void)state;
    size_t bad = start_two(3, 0);
    size_t full = bad == 0 ? 1 : 0; /* which comes first among equals */
    struct sim_disk *disk = sim_node_disk(rig.nodes[full]);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + ((uint64_t)512 << 20));
    rig_run(&rig, 3000 * RIG_MS); /* all have heard of it */
    damage(bad, STORE_FIRST_RANGE_ID);
    assert_led_elsewhere(bad, RIGHT, "x");
    size_t third = 3 - bad - full;
    for (int i = 0; i < MOMENTS; i++) {
        assert_int_equal(leader_of(RIGHT), third);
        rig_run(&rig, 600 * RIG_MS);
    }
    disk = sim_node_disk(rig.nodes[third]);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + ((uint64_t)512 << 20));
    rig_run(&rig, 15000 * RIG_MS);
    assert_int_not_equal(leader_of(RIGHT), bad);
    rig_close(&rig);
}

/* Nobody asks for it: its leader must wake to go. */
static void test_asleep(void **state)
{
    (void)state;
    size_t bad = start_two(3, SLEEPY_MS);
    struct replica *r = replicas_of_range(&rig.stores[bad]->replicas, RIGHT);
    for (int i = 0; i < MOMENTS && !r->nap.is_asleep; i++)
        rig_run(&rig, 100 * RIG_MS);
    assert_true(sleep_is_parked_leader(r));
    damage(bad, STORE_FIRST_RANGE_ID);
    assert_led_elsewhere(bad, RIGHT, "x");
    assert_led_elsewhere(bad, STORE_FIRST_RANGE_ID, "a");
    rig_close(&rig);
}

static void test_alone(void **state)
{
    (void)state;
    size_t bad = start_two(1, 0);
    damage(bad, STORE_FIRST_RANGE_ID);
    rig_run(&rig, 2000 * RIG_MS);
    struct rig_answer *put = rig_put(&rig, bad, "x", "3", 1000);
    rig_run(&rig, 200 * RIG_MS);
    assert_int_equal(put->status, 0);
    assert_int_equal(status_of_get(bad, "x"), 0);
    assert_int_equal(status_of_get(bad, "a"), ERR_UNAVAILABLE);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_others_lead),
        cmocka_unit_test(test_not_to_a_full_disk),
        cmocka_unit_test(test_asleep),
        cmocka_unit_test(test_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
