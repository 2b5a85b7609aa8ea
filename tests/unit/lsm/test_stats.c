/* SPDX-License-Identifier: Apache-2.0
 *
 * What an engine tells of itself: levels, stalls, and how hard it pushes back.
 */
#include <stdio.h>

#include "env/sim/sim.h"
#include "lsm/lsm.h"
#include "support/check.h"

enum { L0_SLOW = 3, L0_STOP = 8 };

struct place {
    struct sim *sim;
    struct lsm *lsm;
    uint64_t version;
};

static void default_options(struct lsm_options *options)
{
    lsm_options_init(options);
    options->memtable_bytes = 16 << 10;
    options->l0_slow = L0_SLOW;
    options->l0_stop = L0_STOP;
    options->no_auto_compaction = true;
}

static void place_init(struct place *p, const struct lsm_options *options)
{
    struct err err = {0};
    *p = (struct place){.sim = sim_new(NULL, 1)};
    struct env *env = sim_node_env(sim_node_new(p->sim, "n1"));
    assert_int_equal(lsm_open(&p->lsm, env, "db", options, &err), 0);
}

static void place_fini(struct place *p)
{
    lsm_free(p->lsm);
    sim_free(p->sim);
}

static void run(struct place *p, uint64_t us)
{
    sim_run_until(p->sim, sim_now_us(p->sim) + us);
}

static int write_one(struct place *p)
{
    static const uint8_t value[500];
    char key[16];
    struct lsm_batch batch;
    lsm_batch_init(&batch);
    snprintf(key, sizeof key, "k%06llu", (unsigned long long)++p->version);
    lsm_batch_put(&batch, slice_str(key), p->version, slice_of(value, sizeof value), 0);
    int rv = lsm_write(p->lsm, &batch);
    lsm_batch_fini(&batch);
    return rv;
}

/* Writes until it is refused: waits get longer, never shorter, and the time is counted. */
static void test_push_back(void **state)
{
    (void)state;
    struct place p;
    struct lsm_options options;
    struct lsm_stats stats;
    uint64_t pace = 0;
    default_options(&options);
    place_init(&p, &options);
    assert_int_equal(lsm_pace_us(p.lsm, 1 << 20), 0);
    for (unsigned n = 0; write_one(&p) == 0; n++) {
        assert_true(n < 10000);
        run(&p, 1000);
        lsm_stats(p.lsm, &stats);
        uint64_t now = lsm_pace_us(p.lsm, 1 << 20);
        assert_true(now >= pace);
        assert_int_equal(now > 0, stats.levels[0].files >= L0_SLOW);
        pace = now;
    }
    lsm_stats(p.lsm, &stats);
    assert_int_equal(lsm_pace_us(p.lsm, LSM_PACE_LAST), 1000000);
    assert_int_equal(stats.levels[0].files, L0_STOP);
    assert_int_equal(stats.refusals, 1);
    assert_true(stats.slow_us > 0);
    uint64_t before = stats.stop_us;
    run(&p, 500000);
    lsm_stats(p.lsm, &stats);
    assert_int_equal(stats.stop_us, before + 500000);
    place_fini(&p);
}

/* The flush does not come along: waits get longer until the active memtable is full, too,
 * and are over with the flush. */
static void test_push_back_of_memory(void **state)
{
    (void)state;
    struct place p;
    struct lsm_options options;
    struct lsm_stats stats;
    uint64_t pace = 0, waits = 0;
    default_options(&options);
    options.memtables_max = 1;
    place_init(&p, &options);
    for (unsigned n = 0; write_one(&p) == 0; n++) { /* no turn of the loop */
        assert_true(n < 10000);
        lsm_stats(p.lsm, &stats);
        uint64_t now = lsm_pace_us(p.lsm, 1 << 20);
        uint64_t active = stats.memtable_bytes - MIN(stats.memtable_bytes, options.memtable_bytes);
        assert_true(now >= pace);
        if (now > 0)
            assert_true(stats.memtables_frozen == 1 && active >= options.memtable_bytes / 2);
        waits += now > 0;
        pace = now;
    }
    assert_true(waits > 0);
    assert_int_equal(lsm_pace_us(p.lsm, LSM_PACE_LAST), 1000000);
    run(&p, 500000);
    assert_int_equal(lsm_pace_us(p.lsm, 1 << 20), 0);
    assert_int_equal(write_one(&p), 0);
    run(&p, 500000); /* nothing may be in flight at the end */
    place_fini(&p);
}

static int get(struct place *p, uint64_t number)
{
    char key[16];
    struct lsm_value value = {0};
    struct lsm_view *view = lsm_view_take(p->lsm);
    snprintf(key, sizeof key, "k%06llu", (unsigned long long)number);
    int rv = lsm_get(view, slice_str(key), UINT64_MAX, 0, &value, NULL);
    lsm_value_fini(&value);
    lsm_view_unref(view);
    return rv;
}

static void test_levels(void **state)
{
    (void)state;
    struct place p;
    struct lsm_options options;
    struct lsm_stats stats;
    default_options(&options);
    place_init(&p, &options);
    for (unsigned n = 0; n < 100; n++) {
        assert_int_equal(write_one(&p), 0);
        run(&p, 1000);
    }
    run(&p, 1000000);
    lsm_stats(p.lsm, &stats);
    uint64_t in_l0 = stats.levels[0].bytes;
    assert_true(stats.levels[0].files > 1);
    assert_int_equal(stats.levels[0].write_bytes, in_l0);
    assert_int_equal(stats.flush_bytes, in_l0);
    assert_int_equal(get(&p, 1), 0);
    assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
    run(&p, 1000000);
    assert_int_equal(get(&p, 1), 0);
    assert_int_equal(get(&p, 2), 0);
    assert_int_equal(get(&p, 999), ERR_NOT_FOUND);
    lsm_stats(p.lsm, &stats);
    assert_int_equal(stats.levels[0].files, 0);
    assert_int_equal(stats.levels[0].read_bytes, in_l0);
    assert_int_equal(stats.levels[0].gets, 1);
    assert_int_equal(stats.levels[LSM_LEVELS - 1].gets, 2);
    assert_int_equal(stats.levels[LSM_LEVELS - 1].write_bytes, stats.levels[LSM_LEVELS - 1].bytes);
    assert_int_equal(stats.levels[LSM_LEVELS - 1].write_bytes, stats.compact_write_bytes);
    assert_int_equal(stats.refusals, 0);
    place_fini(&p);
}

/* Milliseconds that a compaction of `l0_slow` files or one less takes. */
static uint64_t compaction_ms(uint64_t rate, bool is_slow)
{
    struct place p;
    struct lsm_options options;
    struct lsm_stats stats;
    uint64_t ms = 0;
    default_options(&options);
    options.compact_bytes = rate;
    place_init(&p, &options);
    uint32_t files = is_slow ? L0_SLOW : L0_SLOW - 1;
    do {
        assert_int_equal(write_one(&p), 0);
        run(&p, 1000);
        lsm_stats(p.lsm, &stats);
    } while (stats.levels[0].files < files);
    assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
    for (; !lsm_is_quiet(p.lsm); ms++)
        run(&p, 1000);
    place_fini(&p);
    return ms;
}

/* 2 or 3 files of 16 KiB: the rate is kept, unless writers wait for it. */
static void test_rate(void **state)
{
    (void)state;
    enum { RATE = 10 << 10 };
    uint64_t free_ms = compaction_ms(0, false);
    uint64_t kept_ms = compaction_ms(RATE, false);
    uint64_t urgent_ms = compaction_ms(RATE, true);
    if (free_ms > 500 || urgent_ms > 500)
        fail_msg("%d and %d ms without a limit", (int)free_ms, (int)urgent_ms);
    if (kept_ms < 800 || kept_ms > 4000) /* the last slice is not rested after */
        fail_msg("%d ms", (int)kept_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push_back),
        cmocka_unit_test(test_push_back_of_memory),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_levels),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
