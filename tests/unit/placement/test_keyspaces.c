/* SPDX-License-Identifier: Apache-2.0
 *
 * Keyspaces with names: what may be said of them, numbers over drivers, the cuts that they
 * get and keep, and their own number of replicas.
 */
#include "support/check.h"

#include <stdio.h>

#include "rig.h"
#include "wire/keyspace.h"

static struct rig rig;

#define STORES(...) ((const uint64_t[]){__VA_ARGS__})

static void begin(uint32_t stores)
{
    rig_init(&rig);
    for (uint32_t i = 0; i < stores; i++)
        rig_join(&rig, "");
    rig_range(&rig, 2, "\x02", "\x03", STORES(1, 2, 3), 3);
    rig_run(&rig, 15);
}

static int create(const char *name, const char *options)
{
    return placement_keyspace_create(rig.p, slice_str(name), slice_str(options), NULL);
}

static int alter(const char *name, const char *options)
{
    return placement_keyspace_alter(rig.p, slice_str(name), slice_str(options), NULL);
}

static struct placement_keyspace_status status(const char *name)
{
    struct placement_keyspace_status s = {0};
    assert_int_equal(placement_keyspace_status(rig.p, slice_str(name), &s, NULL), 0);
    return s;
}

static uint32_t living(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < rig.range_count; i++)
        n += !rig.ranges[i].is_gone;
    return n;
}

static void test_what_may_be_said(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *options;
        int want;
    } rows[] = {
        {"users", "", 0},
        {"users", "", ERR_EXISTS},
        {"", "", ERR_INVALID},
        {"Users", "", ERR_INVALID},
        {"a b", "", ERR_INVALID},
        {"12", "", ERR_INVALID},
        {"12-a", "", 0},
        {"0123456789012345678901234567890123456789012345678901234567890123", "", ERR_INVALID},
        {"a123456789012345678901234567890123456789012345678901234567890123", "", 0},
        {"a1234567890123456789012345678901234567890123456789012345678901234", "", ERR_INVALID},
        {"h", "slots=0", ERR_INVALID},
        {"h", "slots=65537", ERR_INVALID},
        {"h", "slots", ERR_INVALID},
        {"h", "slots=x", ERR_INVALID},
        {"h", "slots=8,", 0},
        {"h2", "slots=4,ranges=5", ERR_INVALID},
        {"h2", "ranges=2", ERR_INVALID},
        {"h2", "slots=65536,ranges=1025", ERR_INVALID},
        {"h2", "replicas=2", ERR_INVALID},
        {"h2", "replicas=9", ERR_INVALID},
        {"h2", "color=red", ERR_INVALID},
        {"h2", "slots=65536,ranges=1024,replicas=7", 0},
    };
    begin(3);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(create(rows[i].name, rows[i].options), rows[i].want);
    assert_int_equal(alter("users", "slots=4"), ERR_INVALID);
    assert_int_equal(alter("h", "slots=8"), 0);
    assert_int_equal(alter("h", "ranges=9"), ERR_INVALID);
    assert_int_equal(alter("nobody", ""), ERR_NOT_FOUND);
    rig_fini(&rig);
}

/* Rows outlive the driver; a number is of one keyspace for ever. */
static void test_numbers_over_drivers(void **state)
{
    (void)state;
    begin(3);
    assert_int_equal(create("a", "slots=16,ranges=2,replicas=1"), 0);
    assert_int_equal(create("b", ""), 0);
    assert_false(placement_is_durable(rig.p));
    uint32_t a = status("a").id;
    uint32_t b = status("b").id;
    assert_true(a >= KEYSPACE_NAMED_FIRST && b > a);
    rig_run(&rig, 2);
    assert_true(placement_is_durable(rig.p));
    rig_fail_over(&rig);
    assert_int_equal(status("a").id, a);
    assert_int_equal(status("a").slots, 16);
    assert_int_equal(status("a").ranges_wanted, 2);
    assert_int_equal(status("a").replicas, 1);
    assert_int_equal(placement_keyspace_forget(rig.p, slice_str("b"), NULL), ERR_STATE);
    assert_int_equal(placement_keyspace_drop(rig.p, slice_str("b"), NULL), 0);
    rig_run(&rig, 2);
    rig_fail_over(&rig);
    assert_true(status("b").is_dropping);
    assert_int_equal(create("b", ""), ERR_EXISTS);
    assert_int_equal(alter("b", "replicas=1"), ERR_STATE);
    assert_int_equal(placement_keyspace_forget(rig.p, slice_str("b"), NULL), 0);
    rig_run(&rig, 2);
    rig_fail_over(&rig);
    rig_run(&rig, 2);
    struct placement_keyspace_status s;
    assert_int_equal(placement_keyspace_status(rig.p, slice_str("b"), &s, NULL), ERR_NOT_FOUND);
    assert_int_equal(create("b", ""), 0);
    assert_true(status("b").id > b);
    rig_fini(&rig);
}

/* It gets ranges of its own, cut at its slots, and keeps them though they are small and cold;
 * a cut that somebody else made in it goes away. */
static void test_cuts(void **state)
{
    (void)state;
    begin(3);
    assert_int_equal(create("h", "slots=10,ranges=4"), 0);
    assert_false(status("h").is_cut);
    placement_pause(rig.p, true);
    rig_run(&rig, 20);
    assert_int_equal(living(), 1);
    placement_pause(rig.p, false);
    rig_run(&rig, 60);
    assert_int_equal(living(), 6); /* before it, four of it, behind it */
    assert_true(status("h").is_cut && status("h").ranges == 4);
    static const uint16_t slots[] = {0, 2, 5, 7};
    for (uint32_t i = 0; i < ARRAY_LEN(slots); i++) {
        struct placement_range_status r;
        uint8_t key[] = {2, 0, 1, 0, 0, (uint8_t)(slots[i] >> 8), (uint8_t)slots[i], 'k'};
        assert_true(placement_range_from(rig.p, slice_of(key, sizeof key), &r));
        struct slice want = slice_of(key, i == 0 ? 5 : 7);
        assert_true(slice_equal(r.route.descriptor.start, want));
    }
    uint8_t by_hand[] = {2, 0, 1, 0, 0, 0, 1};
    struct placement_range_status r;
    assert_true(placement_range_from(rig.p, slice_of(by_hand, sizeof by_hand), &r));
    struct placement_command split = {.kind = PLACEMENT_CMD_SPLIT,
                                      .range_id = r.route.descriptor.range_id,
                                      .key = slice_of(by_hand, sizeof by_hand)};
    assert_int_equal(rig_command(&rig, split, NULL), 0);
    rig_run(&rig, 20);
    assert_int_equal(living(), 7);
    rig_run(&rig, 2000);
    assert_int_equal(living(), 6);
    struct placement_counts counts;
    placement_counts(rig.p, &counts);
    assert_int_equal(counts.operators, 0);
    /* gone: so are its cuts */
    assert_int_equal(placement_keyspace_drop(rig.p, slice_str("h"), NULL), 0);
    assert_int_equal(placement_keyspace_forget(rig.p, slice_str("h"), NULL), 0);
    rig_run(&rig, 8000);
    assert_int_equal(living(), 1);
    rig_fini(&rig);
}

static void test_own_replicas(void **state)
{
    (void)state;
    begin(5);
    assert_int_equal(create("five", "replicas=5"), 0);
    assert_int_equal(create("one", "replicas=1"), 0);
    rig_run(&rig, 200);
    for (uint32_t i = 0; i < 4; i++) {
        static const uint32_t want[] = {3, 5, 1, 3};
        struct placement_range_status r;
        uint8_t key[] = {2, 0, i > 0, 0, (uint8_t)(i > 0 ? i - 1 : 0), 'k'};
        assert_true(placement_range_from(rig.p, slice_of(key, sizeof key), &r));
        assert_int_equal(rig_voters(rig_find(&rig, r.route.descriptor.range_id)), want[i]);
    }
    assert_int_equal(alter("five", "replicas=0"), 0);
    rig_run(&rig, 100);
    uint8_t key[] = {2, 0, 1, 0, 0};
    struct placement_range_status r;
    assert_true(placement_range_from(rig.p, slice_of(key, sizeof key), &r));
    assert_int_equal(rig_voters(rig_find(&rig, r.route.descriptor.range_id)), 3);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_may_be_said),
        cmocka_unit_test(test_numbers_over_drivers),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_own_replicas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
