/* SPDX-License-Identifier: Apache-2.0 */
#include "store/throttle.h"

#include "base/rng.h"
#include "support/check.h"

enum { MS = 1000, SYNCS = 50 };
#define MIB UINT64_C(1048576)

static void note(struct throttle *t, uint64_t count, uint64_t late, bool is_moving)
{
    throttle_note(t,
                  &(struct throttle_tick){
                      .count = count, .late = late, .sum_us = count * MS, .is_moving = is_moving});
}

static void note_many(struct throttle *t, uint64_t count, uint64_t late, bool is_moving, int ticks)
{
    for (int i = 0; i < ticks; i++)
        note(t, count, late, is_moving);
}

/* A disk of which syncs take so long if so many bytes a second are moved: most of them the half
 * of it to twice of it, one in a hundred ten times. */
struct disk {
    struct rng rng;
    uint64_t idle_us;
    uint64_t fine; /* bytes a second that cost nothing */
    uint64_t per_mib_us;
};

static uint64_t sync_us(struct disk *d, uint64_t rate)
{
    uint64_t us = d->idle_us + (rate > d->fine ? (rate - d->fine) / MIB * d->per_mib_us : 0);
    us = us / 2 + rng_below(&d->rng, us);
    return rng_below(&d->rng, 100) == 0 ? 10 * us : us;
}

/* `stores` of them share the disk. The part of late syncs, in thousandths, of the last half. */
static uint64_t share(struct disk *d, struct throttle *all, int stores, int ticks, bool is_moving)
{
    uint64_t count = 0, late = 0;
    for (int i = 0; i < ticks; i++) {
        uint64_t rate = 0;
        for (int k = 0; k < stores && is_moving; k++)
            rate += all[k].rate;
        for (int k = 0; k < stores; k++) {
            struct throttle_tick tick = {.count = SYNCS, .is_moving = is_moving};
            for (int n = 0; n < SYNCS; n++) {
                uint64_t us = sync_us(d, rate);
                tick.sum_us += us;
                tick.late += us > throttle_late_us(&all[k]);
            }
            throttle_note(&all[k], &tick);
            count += i >= ticks / 2 ? tick.count : 0;
            late += i >= ticks / 2 ? tick.late : 0;
        }
    }
    return late * 1000 / count;
}

/* Four stores on one disk that can do 40 MiB a second: they come near that and stay there, share it
 * about evenly, and few syncs are late. */
static void test_shares_a_disk(void **state)
{
    (void)state;
    struct disk d = {.idle_us = MS, .fine = 40 * MIB, .per_mib_us = 100};
    struct throttle all[4];
    rng_init(&d.rng, 1);
    for (int k = 0; k < 4; k++)
        throttle_init(&all[k], 64 * MIB);
    share(&d, all, 4, 400, false);
    assert_in_range(all[0].rest_us, 1400, 15 * MS);
    uint64_t late = share(&d, all, 4, 2000, true);
    uint64_t sum = 0;
    for (int k = 0; k < 4; k++) {
        assert_in_range(all[k].rate, 8 * MIB, 30 * MIB);
        sum += all[k].rate;
    }
    assert_in_range(sum, 32 * MIB, 80 * MIB);
    assert_true(late <= 60);
}

/* Nobody writes: as fast as may be, after a second or two. */
static void test_idle(void **state)
{
    (void)state;
    struct throttle t;
    throttle_init(&t, 64 * MIB);
    assert_int_equal(t.rate, 16 * MIB);
    note_many(&t, 0, 0, true, 13);
    assert_int_equal(t.rate, 64 * MIB);
    assert_int_equal(t.rest_us, 0);
}

/* Too many are late: down to the floor and not below, which is higher in need. A few now and then
 * are what is normal. */
static void test_falls_and_grows(void **state)
{
    (void)state;
    struct throttle t;
    throttle_init(&t, 64 * MIB);
    note_many(&t, SYNCS, 1, false, 20);
    note(&t, SYNCS, SYNCS, true); /* they were late for a store at rest */
    assert_int_equal(t.rate, 16 * MIB);
    note(&t, SYNCS, 2, true);
    assert_int_equal(t.rate, 12 * MIB);
    t.rate = 40 * MIB;
    note(&t, SYNCS, 10, true);
    assert_int_equal(t.rate, 20 * MIB);
    note_many(&t, SYNCS, 10, true, 5);
    assert_int_equal(t.rate, throttle_floor(&t, false));
    assert_int_equal(t.rate, 8 * MIB);
    for (int i = 0; i < 5; i++)
        throttle_note(&t, &(struct throttle_tick){
                              .count = SYNCS, .late = 10, .is_moving = true, .is_needed = true});
    assert_int_equal(t.rate, 16 * MIB);
    uint64_t before = t.rate;
    note_many(&t, SYNCS, 1, true, 20);
    assert_int_equal(t.rate, before);
    note_many(&t, SYNCS, 0, true, 400);
    assert_int_equal(t.rate, 64 * MIB);
    note_many(&t, SYNCS, 1, true, 20);
    assert_int_equal(t.rate, 64 * MIB);
}

/* Of one who writes now and then every sync counts: were all of them late, it would fall. */
static void test_sparse(void **state)
{
    (void)state;
    struct throttle t;
    throttle_init(&t, 64 * MIB);
    note_many(&t, 1, 0, false, 20);
    note(&t, 0, 0, true);
    for (int i = 0; i < 40; i++) {
        note(&t, 1, 1, true);
        note(&t, 1, 0, true);
    }
    assert_int_equal(t.rate, 8 * MIB);
}

/* What is late in a disk that has become slower for good is learnt at rest within minutes, and at
 * the floor within many. */
static void test_learns(void **state)
{
    (void)state;
    struct throttle t;
    throttle_init(&t, 64 * MIB);
    note_many(&t, SYNCS, 0, false, 2000);
    assert_int_equal(throttle_late_us(&t), t.rest_us);
    uint64_t rest_us = t.rest_us;
    note_many(&t, SYNCS, SYNCS, false, 480);
    assert_true(t.rest_us > 50 * MAX(rest_us, UINT64_C(1)));
    rest_us = t.rest_us;
    note_many(&t, SYNCS, SYNCS, true, 100);
    assert_in_range(t.rest_us, rest_us, rest_us + rest_us / 5);
    note_many(&t, SYNCS, SYNCS, true, 2400);
    assert_true(t.rest_us > 4 * rest_us);
    assert_int_equal(throttle_late_us(&t), t.rest_us + t.rest_us / 2);
}

/* What was moved lately may still be on its way to the disk: that is no rest. */
static void test_rest_begins_late(void **state)
{
    (void)state;
    struct throttle t;
    throttle_init(&t, 64 * MIB);
    note_many(&t, SYNCS, 1, false, 20);
    uint64_t rest_us = t.rest_us;
    note(&t, SYNCS, 0, true);
    note_many(&t, SYNCS, SYNCS, false, THROTTLE_CALM_TICKS);
    assert_int_equal(t.rest_us, rest_us);
    note(&t, SYNCS, SYNCS, false);
    assert_true(t.rest_us > rest_us);
}

/* The floor is a MiB a second where the rate is above that, and never above the rate. */
static void test_floor(void **state)
{
    (void)state;
    static const struct {
        uint64_t most, floor, needed;
    } rows[] = {
        {1024 * MIB, 128 * MIB, 256 * MIB},
        {64 * MIB, 8 * MIB, 16 * MIB},
        {8 * MIB, MIB, 2 * MIB},
        {2 * MIB, MIB, MIB},
        {MIB / 4, MIB / 4, MIB / 4},
        {1, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct throttle t;
        throttle_init(&t, rows[i].most);
        assert_int_equal(throttle_floor(&t, false), rows[i].floor);
        assert_int_equal(throttle_floor(&t, true), rows[i].needed);
        assert_in_range(t.rate, rows[i].floor, rows[i].most);
        note_many(&t, SYNCS, SYNCS, true, 50);
        assert_int_equal(t.rate, rows[i].floor);
        note_many(&t, 0, 0, true, 200);
        assert_int_equal(t.rate, rows[i].most);
    }
}

/* A timer that fires late is made up for, a pause is not. */
static void test_take(void **state)
{
    (void)state;
    struct throttle t;
    throttle_init(&t, 4 * MIB);
    t.rate = MIB;
    uint64_t now_us = 5000 * MS;
    uint64_t free_us = throttle_take(&t, 0, now_us, MIB / 4);
    assert_int_equal(free_us, now_us - THROTTLE_LAG_US + 250 * MS);
    assert_int_equal(throttle_take(&t, free_us, now_us, MIB / 4), free_us + 250 * MS);
    assert_int_equal(throttle_take(&t, free_us, free_us + 3 * MS, MIB / 4), free_us + 250 * MS);
    assert_int_equal(throttle_take(&t, free_us, free_us + 900 * MS, MIB / 4),
                     free_us + 900 * MS - THROTTLE_LAG_US + 250 * MS);
    assert_int_equal(throttle_take(&t, 0, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_a_disk),   cmocka_unit_test(test_idle),
        cmocka_unit_test(test_falls_and_grows), cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_learns),          cmocka_unit_test(test_rest_begins_late),
        cmocka_unit_test(test_floor),           cmocka_unit_test(test_take),
    };
    return cmocka_run_group_tests_name("throttle", tests, NULL, NULL);
}
