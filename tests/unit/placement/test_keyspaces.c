/* SPDX-License-Identifier: Apache-2.0
 *
 * Keyspaces with names: what may be said of them, numbers over drivers, the cuts that they
 * get and keep, and their own number of replicas.
 */
#include "support/check.h"

#include <stdio.h>

#include "rig.h"
#include "wire/driver_msg.h"
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
        {"h2", "retention=", ERR_INVALID},
        {"r0", "retention=0s", 0},
        {"h2", "retention=999ms", ERR_INVALID},
        {"h2", "retention=721h", ERR_INVALID},
        {"h2", "retention=600", ERR_INVALID},
        {"h2", "retention=forever", ERR_INVALID},
        {"r1", "retention=1s", 0},
        {"r2", "retention=720h,replicas=1", 0},
        {"r3", "retention=0", 0},
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

/* ---- how long old versions are kept ------------------------------------------------------ */

enum { FOUNDED_MS = 600000, HOUR_MS = 3600000 };

static void begin_retaining(void)
{
    rig_init(&rig);
    placement_free(rig.p);
    rig.retention_ms = FOUNDED_MS;
    rig.term = 0;
    rig.p = NULL;
    rig_fail_over(&rig);
    for (uint32_t i = 0; i < 3; i++) {
        rig_join(&rig, "");
        rig.stores[i].level = STORE_LEVEL_RETAIN;
    }
    rig_range(&rig, 2, "\x02", "\x03", STORES(1, 2, 3), 3)->retention_ms = FOUNDED_MS;
    rig_run(&rig, 15);
}

/* Of the range that has the first key of the i-th named keyspace; -1: of those before. */
static uint64_t retention_of(int i)
{
    struct placement_range_status r;
    uint8_t key[] = {2, 0, i >= 0, 0, (uint8_t)MAX(i, 0), 'k'};
    assert_true(placement_range_from(rig.p, slice_of(key, sizeof key), &r));
    return rig_find(&rig, r.route.descriptor.range_id)->retention_ms;
}

static void test_retention(void **state)
{
    (void)state;
    begin_retaining();
    assert_int_equal(create("long", "retention=1h"), 0);
    assert_int_equal(create("short", "retention=5s"), 0);
    assert_int_equal(status("long").retention_ms, HOUR_MS);
    assert_int_equal(create("plain", ""), 0);
    assert_int_equal(status("plain").retention_ms, FOUNDED_MS);
    rig_run(&rig, 100);
    assert_int_equal(retention_of(0), HOUR_MS);
    assert_int_equal(retention_of(1), 5000);
    assert_int_equal(retention_of(2), FOUNDED_MS);
    assert_int_equal(retention_of(-1), FOUNDED_MS);
    assert_true(status("long").is_retained && status("long").is_cut);

    assert_int_equal(alter("short", "retention=10m"), 0);
    assert_false(status("short").is_retained);
    rig_run(&rig, 5);
    assert_int_equal(retention_of(1), 600000);
    assert_true(status("short").is_retained);
    rig_fail_over(&rig);
    rig_run(&rig, 15);
    assert_int_equal(status("long").retention_ms, HOUR_MS);
    assert_true(status("long").is_retained);

    /* the setting holds where nothing else is said, and what was said is taken back */
    assert_int_equal(placement_set(rig.p, slice_str("retention"), slice_str("20m"), NULL), 0);
    assert_int_equal(alter("long", "retention=0"), 0);
    rig_run(&rig, 15);
    for (int i = -1; i < 3; i++)
        assert_int_equal(retention_of(i), i == 1 ? 600000 : 1200000);
    assert_int_equal(placement_set(rig.p, slice_str("retention"), slice_str("0"), NULL), 0);
    rig_run(&rig, 15);
    assert_int_equal(retention_of(2), FOUNDED_MS);
    assert_int_equal(placement_set(rig.p, slice_str("retention"), slice_str("1ms"), NULL),
                     ERR_INVALID);
    uint32_t steps = rig.steps;
    rig_run(&rig, 60); /* and then it rests */
    assert_int_equal(rig.steps, steps);
    rig_fini(&rig);
}

/* A range with keys of several keyspaces keeps what the one wants that wants most. */
static void test_retention_of_many(void **state)
{
    (void)state;
    begin_retaining();
    placement_set(rig.p, slice_str("split"), slice_str("off"), NULL);
    assert_int_equal(create("short", "retention=5s"), 0);
    placement_pause(rig.p, true);
    rig_run(&rig, 30);
    assert_int_equal(retention_of(0), FOUNDED_MS); /* paused: nothing begins */
    rig.ranges[0].d.span_epoch++;                  /* cut by hand, in the midst of two */
    memcpy(rig.ranges[0].end, "\x02\x00\x01\x00\x00m", 6);
    rig.ranges[0].end_len = 6;
    struct rig_range *right = rig_range(&rig, 3, "", "\x03", STORES(1, 2, 3), 3);
    right->retention_ms = FOUNDED_MS;
    memcpy(right->start, rig.ranges[0].end, 6);
    right->start_len = 6;
    right->d.span_epoch = 2;
    assert_int_equal(create("long", "retention=1h"), 0);
    rig_run(&rig, 5);
    placement_pause(rig.p, false);
    rig_run(&rig, 2);
    assert_int_equal(rig.ranges[0].retention_ms, FOUNDED_MS);
    assert_int_equal(status("short").retention_ms, 5000);
    rig_run(&rig, 60);
    assert_int_equal(retention_of(0), 5000);
    assert_int_equal(retention_of(1), HOUR_MS);
    rig_fini(&rig);
}

/* Nothing is asked that a member could not apply, nor of who does not say what it does. */
static void test_retention_of_old_stores(void **state)
{
    (void)state;
    begin_retaining();
    rig.stores[2].level = STORE_LEVEL_FIRST;
    assert_int_equal(create("long", "retention=1h"), 0);
    rig_run(&rig, 100);
    assert_int_equal(retention_of(0), FOUNDED_MS);
    assert_true(status("long").is_cut && !status("long").is_retained);
    rig.stores[2].level = STORE_LEVEL_RETAIN;
    rig_run(&rig, 10);
    assert_int_equal(retention_of(0), HOUR_MS);
    rig_fini(&rig);
}

/* As it was written before there was a retention. */
static void test_row_of_before(void **state)
{
    (void)state;
    static const uint8_t row[] = {0x85, 1, 0xa3, 'o', 'l', 'd', 2, 0, 3, 1, 4, 3, 5, 0xc2};
    struct rig_row *r = &rig.rows[0];
    rig_init(&rig);
    snprintf(r->key, sizeof r->key, "placement/keyspace/%016x", KEYSPACE_NAMED_FIRST);
    memcpy(r->value, row, r->len = sizeof row);
    rig.row_count = 1;
    rig.retention_ms = FOUNDED_MS;
    rig_fail_over(&rig);
    assert_int_equal(status("old").replicas, 3);
    assert_int_equal(status("old").retention_ms, FOUNDED_MS);
    assert_false(status("old").is_retention_its_own);
    rig_fini(&rig);
}

/* A word is not durable from when it is said until it is written; what else is written, or cannot
 * be, is nothing to it. */
static void test_words_are_durable(void **state)
{
    (void)state;
    struct placement_write write;
    begin(3);
    assert_true(placement_words_are_durable(rig.p));
    assert_int_equal(placement_wish(rig.p, 1, PLACEMENT_WISH_DRAIN, NULL), 0);
    assert_true(placement_next_write(rig.p, &write));
    assert_false(placement_is_durable(rig.p));
    assert_true(placement_words_are_durable(rig.p));
    assert_int_equal(create("k", ""), 0);
    assert_false(placement_words_are_durable(rig.p));
    placement_written(rig.p, write.id, 0);
    assert_true(placement_next_write(rig.p, &write));
    placement_written(rig.p, write.id, ERR_BUSY);
    assert_false(placement_words_are_durable(rig.p));
    assert_true(placement_next_write(rig.p, &write));
    assert_false(placement_words_are_durable(rig.p));
    placement_written(rig.p, write.id, 0);
    assert_true(placement_words_are_durable(rig.p));
    assert_int_equal(placement_set(rig.p, slice_str("replicas"), slice_str("5"), NULL), 0);
    assert_false(placement_words_are_durable(rig.p));
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_may_be_said),
        cmocka_unit_test(test_numbers_over_drivers),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_own_replicas),
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_retention_of_many),
        cmocka_unit_test(test_retention_of_old_stores),
        cmocka_unit_test(test_row_of_before),
        cmocka_unit_test(test_words_are_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
