/* SPDX-License-Identifier: Apache-2.0
 *
 * Background work goes to the disk evenly while nobody waits for it, and at once when somebody
 * does.
 */
#include <stdio.h>
#include <stdlib.h>

#include "env/sim/sim.h"
#include "lsm/lsm.h"
#include "support/check.h"

enum {
    MEMTABLE = 4 << 20,
    VALUE = 1000,
    SECOND = 1000 * 1000,
    FILL_S = 12, /* to fill a memtable takes so long … */
    FLUSH_LEAST = 8 << 20,
};

struct place {
    struct sim *sim;
    struct lsm *lsm;
    struct lsm_stats stats;
    uint64_t version;
    uint64_t seed;
};

static void place_init(struct place *p, const struct lsm_options *options)
{
    struct err err = {0};
    *p = (struct place){.sim = sim_new(NULL, 1), .seed = 1};
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
    lsm_stats(p->lsm, &p->stats);
}

/* A record that does not compress, after the last or anywhere among `keys`. */
static void write_one(struct place *p, uint64_t keys)
{
    uint8_t value[VALUE];
    char key[24];
    struct lsm_batch batch;
    for (size_t i = 0; i < sizeof value; i++) {
        p->seed = p->seed * 6364136223846793005u + 1442695040888963407u;
        value[i] = (uint8_t)(p->seed >> 56);
    }
    lsm_batch_init(&batch);
    ++p->version;
    snprintf(key, sizeof key, "k%09llu", (unsigned long long)(p->version * 7919 % keys));
    lsm_batch_put(&batch, slice_str(key), p->version, slice_of(value, sizeof value), 0);
    assert_int_equal(lsm_write(p->lsm, &batch), 0);
    lsm_batch_fini(&batch);
}

/* Until the memtable is frozen and its flush has begun, `us` in all. */
static void fill(struct place *p, uint64_t us)
{
    enum { RECORDS = MEMTABLE / VALUE };
    uint64_t frozen = lsm_frozen(p->lsm);
    for (unsigned n = 0; lsm_frozen(p->lsm) == frozen; n++) {
        assert_true(n < 2 * RECORDS);
        write_one(p, 100000);
        run(p, us / RECORDS);
    }
}

/* Time until nothing is frozen any more. */
static uint64_t flush_us(struct place *p)
{
    uint64_t began_us = sim_now_us(p->sim);
    assert_int_equal(p->stats.memtables_frozen, 1);
    while (p->stats.memtables_frozen > 0)
        run(p, 1000);
    return sim_now_us(p->sim) - began_us;
}

static void default_options(struct lsm_options *options)
{
    lsm_options_init(options);
    options->memtable_bytes = MEMTABLE;
    options->table_bytes = MEMTABLE;
    options->scrub_bytes = 0;
}

/* A flush has a third of the time that its memtable took to fill, but no more than it needs at
 * the least rate. */
static void test_flush_is_even(void **state)
{
    (void)state;
    struct lsm_options options;
    struct place p;
    default_options(&options);
    place_init(&p, &options);
    fill(&p, SECOND / 2);
    uint64_t us = flush_us(&p);
    assert_in_range(us, SECOND / 10, SECOND / 4);
    fill(&p, (uint64_t)FILL_S * SECOND);
    us = flush_us(&p);
    uint64_t most_us = (uint64_t)MEMTABLE * SECOND / FLUSH_LEAST;
    assert_in_range(us, most_us * 3 / 4, most_us + SECOND / 10);
    place_fini(&p);
}

static void on_flushed(struct lsm_flush_op *op, int status)
{
    assert_int_equal(status, 0);
    *(bool *)op->data = true;
}

/* The same flush, when somebody begins to wait in the middle of it. */
static void test_flush_that_is_waited_for(void **state)
{
    (void)state;
    struct lsm_options options;
    struct place p;
    bool is_done = false;
    struct lsm_flush_op op = {.data = &is_done};
    default_options(&options);
    place_init(&p, &options);
    fill(&p, (uint64_t)FILL_S * SECOND);
    run(&p, SECOND / 50);
    assert_int_equal(p.stats.memtables_frozen, 1);
    assert_int_equal(lsm_flush(p.lsm, &op, on_flushed), 0);
    run(&p, SECOND / 5);
    assert_true(is_done);
    place_fini(&p);
}

/* With room for one or two memtables writers are held back while one is flushed: it does not
 * rest. */
static void test_flush_makes_room(void **state)
{
    (void)state;
    for (unsigned max = 1; max <= 2; max++) {
        struct lsm_options options;
        struct place p;
        default_options(&options);
        options.memtables_max = max;
        place_init(&p, &options);
        fill(&p, (uint64_t)FILL_S * SECOND);
        run(&p, SECOND / 5);
        assert_int_equal(p.stats.memtables_frozen, 0);
        assert_int_equal(lsm_stall(p.lsm), LSM_STALL_NONE);
        place_fini(&p);
    }
}

/* Memtables, one after the other, until a compaction is under way that is no mere move. */
static void fill_until_compaction(struct place *p, uint64_t us)
{
    for (unsigned n = 0; !p->stats.is_compacting; n++) {
        assert_true(n < 30);
        fill(p, us);
        while (p->stats.memtables_frozen > 0)
            run(p, 100);
        run(p, SECOND / 100);
    }
    assert_int_equal(p->stats.compactions, 0);
}

/* What a compaction reads in each second while L0 is hardly deeper than asks for it. */
static void test_compaction_is_even(void **state)
{
    (void)state;
    enum { EVEN = 16 << 20 };
    struct lsm_options options;
    struct place p;
    default_options(&options);
    place_init(&p, &options);
    fill_until_compaction(&p, SECOND / 20);
    uint64_t began_us = sim_now_us(p.sim);
    while (p.stats.compactions == 0)
        run(&p, 1000);
    uint64_t us = sim_now_us(p.sim) - began_us;
    uint64_t want_us = p.stats.compact_read_bytes * SECOND / EVEN;
    assert_true(p.stats.compact_read_bytes > 3 * MEMTABLE);
    assert_in_range(us, want_us * 8 / 10, want_us * 11 / 10);
    place_fini(&p);
}

/* When flushes come faster than it is done, or an operator waits, it does not rest. */
static void test_compaction_that_is_behind(void **state)
{
    (void)state;
    struct lsm_options options;
    struct place p;
    default_options(&options);
    place_init(&p, &options);
    fill_until_compaction(&p, SECOND / 1000);
    uint64_t began_us = sim_now_us(p.sim);
    while (p.stats.levels[0].files < options.l0_compact + 4 && p.stats.compactions == 0) {
        fill(&p, SECOND / 1000);
        while (p.stats.memtables_frozen > 0)
            run(&p, 100);
    }
    while (p.stats.compactions == 0)
        run(&p, 1000);
    uint64_t us = sim_now_us(p.sim) - began_us;
    assert_true(us < p.stats.compact_read_bytes * SECOND / (48 << 20));
    while (!lsm_is_quiet(p.lsm))
        run(&p, 1000);

    uint64_t read = p.stats.compact_read_bytes;
    began_us = sim_now_us(p.sim);
    assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
    while (!lsm_is_quiet(p.lsm))
        run(&p, 1000);
    us = sim_now_us(p.sim) - began_us;
    read = p.stats.compact_read_bytes - read;
    assert_true(read > MEMTABLE);
    assert_true(us < read * SECOND / (64 << 20));
    place_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flush_is_even),
        cmocka_unit_test(test_flush_that_is_waited_for),
        cmocka_unit_test(test_flush_makes_room),
        cmocka_unit_test(test_compaction_is_even),
        cmocka_unit_test(test_compaction_that_is_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
