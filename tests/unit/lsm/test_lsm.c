/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine against a model: random writes, flushes, edits and garbage, tiny
 * thresholds, reopened again and again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"
#include "support/lsm_world.h"

static void must_open(struct world *w)
{
    struct err err = {0};
    int rv = world_open(w, &err);
    if (rv != 0)
        fail_msg("open: %d %s", rv, err.msg);
}

static void must_equal(struct world *w, const char *where)
{
    struct model now;
    world_now(w, &now);
    const char *bad = world_compare(w, w->lsm, &now);
    if (bad != NULL)
        fail_msg("%s: %s", where, bad);
    model_fini(&now);
    lsm_check(w->lsm);
}

static void run_model(uint64_t seed, unsigned lives, unsigned steps)
{
    struct world w;
    struct lsm_options options;
    world_options(&options);
    struct rng knobs;
    rng_init(&knobs, seed);
    options.no_compression = rng_chance(&knobs, 1, 4);
    options.filter_bits = rng_chance(&knobs, 1, 4) ? 0 : 10;
    options.cache_bytes = rng_chance(&knobs, 1, 4) ? 0 : 16 << 10;
    options.block_bytes = rng_between(&knobs, 1, 600);
    options.table_bytes = rng_between(&knobs, 1, 4000);
    options.l0_compact = (unsigned)rng_between(&knobs, 1, 4);
    world_init(&w, seed, &options);
    for (unsigned life = 0; life < lives; life++) {
        char where[64];
        must_open(&w);
        must_equal(&w, "after open");
        for (unsigned i = 0; i < steps; i++) {
            world_step(&w);
            snprintf(where, sizeof where, "seed %llu life %u step %u", (unsigned long long)seed,
                     life, i);
            if (i % 16 == 15)
                must_equal(&w, where);
        }
        if (life % 2 == 0)
            world_settle(&w);
        must_equal(&w, where);
        struct lsm_view *view = lsm_view_take(w.lsm);
        assert_int_equal(lsm_verify(view, NULL, NULL, NULL), 0);
        lsm_view_unref(view);
        world_crash(&w, life % 3 == 0 ? SIM_CRASH_KILL : SIM_CRASH_POWER);
        sim_node_restart(w.node);
        must_open(&w);
        world_rebase(&w, world_match(&w, w.lsm, where));
        world_crash(&w, SIM_CRASH_KILL);
        sim_node_restart(w.node);
    }
    assert_true(w.reads > 0);
    world_fini(&w);
}

static void test_model(void **state)
{
    (void)state;
    const char *seeds = getenv("HOLDFAST_TEST_SEEDS");
    uint64_t count = seeds != NULL ? strtoull(seeds, NULL, 10) : 12;
    for (uint64_t seed = 1; seed <= count; seed++)
        run_model(seed, 4, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests_name("lsm", tests, NULL, NULL);
}
