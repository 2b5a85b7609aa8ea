/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's crash enumerator: a random workload of writes, flushes, compactions,
 * span edits and garbage, and at every mutating call of it several disks that a crash
 * might leave. Each must open and show a prefix of the order with all that was
 * acknowledged. And again for the calls that opening itself makes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"
#include "support/crash_points.h"
#include "support/lsm_world.h"

struct run {
    struct world w;
    uint64_t seed;
    size_t opened, advanced; /* images; those that showed more than was acknowledged */
};

/* A world of its own around one image. */
struct box {
    struct sim *sim;
    struct sim_node *node;
    struct lsm *lsm;
};

static void box_open(struct box *box, struct sim_disk *image, const struct lsm_options *options,
                     const char *where)
{
    struct err err = {0};
    *box = (struct box){.sim = sim_new(NULL, 1)};
    box->node = sim_node_new_on(box->sim, "n1", image);
    int rv = lsm_open(&box->lsm, sim_node_env(box->node), "db", options, &err);
    if (rv != 0)
        fail_msg("%s: open: %d %s", where, rv, err.msg);
}

static void box_close(struct box *box)
{
    sim_node_crash(box->node, SIM_CRASH_KILL);
    lsm_free(box->lsm);
    sim_free(box->sim);
}

/* Options for a look from outside: no callbacks into the run. */
static struct lsm_options quiet_options(const struct run *run)
{
    struct lsm_options options = run->w.options;
    options.callbacks = (struct lsm_callbacks){0};
    return options;
}

/* Does the database have its folder yet? Before that there is nothing to compare. */
static void verify(void *data, const struct crash_point *point, struct sim_disk *image)
{
    struct run *run = data;
    struct lsm_options options = quiet_options(run);
    struct box box;
    char where[200];
    snprintf(where, sizeof where, "seed %llu, call %llu (%s %s%s)", (unsigned long long)run->seed,
             (unsigned long long)point->number, point->op, point->path,
             point->is_kill ? ", kill" : "");
    box_open(&box, image, &options, where);
    size_t n = world_match(&run->w, box.lsm, where);
    run->opened++;
    run->advanced += n > run->w.step_acked;
    if (rng_chance(point->rng, 1, 8)) { /* whatever is due afterwards changes nothing */
        sim_run_until(box.sim, 60 * UINT64_C(1000000));
        lsm_check(box.lsm);
        assert_int_equal(world_match(&run->w, box.lsm, where), n);
    }
    box_close(&box);
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

/* *stats: what the workload was made of. */
static void enumerate(uint64_t seed, unsigned steps, struct lsm_stats *stats)
{
    struct run *run = calloc(1, sizeof *run);
    struct lsm_options options;
    struct err err = {0};
    world_options(&options);
    options.manifest_bytes = 500; /* begun anew several times */
    run->seed = seed;
    world_init(&run->w, seed, &options);
    struct crash_points points = {.images = 3, .verify = verify, .data = run};
    crash_points_start(&points, sim_node_disk(run->w.node), seed);
    assert_int_equal(world_open(&run->w, &err), 0);
    for (unsigned i = 0; i < steps; i++)
        world_step(&run->w);
    crash_points_stop(&points);
    assert_true(run->opened > 100);
    assert_true(run->advanced > 0);
    lsm_stats(run->w.lsm, stats);
    world_fini(&run->w);
    free(run);
}

static void test_every_call(void **state)
{
    (void)state;
    uint64_t seeds = env_number("HOLDFAST_TEST_SEEDS", 4);
    uint64_t edits = 0, moves = 0, values_moved = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct lsm_stats stats;
        enumerate(seed, 75, &stats);
        assert_true(stats.flushes > 3 && stats.compactions > 3);
        assert_true(stats.value_write_bytes > 0);
        assert_true(stats.manifests > 1); /* begun anew under way */
        edits += stats.edits;
        moves += stats.compact_moves;
        values_moved += stats.value_moved_bytes;
    }
    assert_true(edits > seeds);
    assert_true(moves > seeds);
    assert_true(values_moved > 0);
}

/* Crash inside lsm_open() at each of its own calls, on a disk that a crash left. */
static void crash_in_open(struct world *w, const struct lsm_options *options, uint64_t seed)
{
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        struct err err = {0};
        struct lsm *lsm = NULL;
        struct sim *sim = sim_new(NULL, seed + n);
        struct sim_node *node =
            sim_node_new_on(sim, "n1", sim_disk_crash_image(sim_node_disk(w->node), &w->rng));
        sim_node_crash_after(node, n);
        int rv = lsm_open(&lsm, sim_node_env(node), "db", options, &err);
        done = !sim_node_is_dead(node);
        sim_node_crash(node, n % 2 == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL);
        if (rv == 0)
            lsm_free(lsm);
        sim_node_restart(node);
        rv = lsm_open(&lsm, sim_node_env(node), "db", options, &err);
        if (rv != 0)
            fail_msg("seed %llu, open crashed at call %llu, open again: %s",
                     (unsigned long long)seed, (unsigned long long)n, err.msg);
        world_match(w, lsm, "after a crash in open");
        sim_node_crash(node, SIM_CRASH_KILL);
        lsm_free(lsm);
        sim_free(sim);
        assert_true(n < 1000);
    }
}

static void test_open_itself(void **state)
{
    (void)state;
    uint64_t seeds = env_number("HOLDFAST_TEST_SEEDS", 4);
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct world w;
        struct lsm_options options, quiet;
        struct err err = {0};
        world_options(&options);
        world_init(&w, seed, &options);
        quiet = w.options;
        quiet.callbacks = (struct lsm_callbacks){0};
        crash_in_open(&w, &quiet, seed); /* the first open of all */
        assert_int_equal(world_open(&w, &err), 0);
        for (unsigned i = 0; i < 60; i++)
            world_step(&w);
        crash_in_open(&w, &quiet, seed);
        world_fini(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call),
        cmocka_unit_test(test_open_itself),
    };
    return cmocka_run_group_tests_name("lsm_crash", tests, NULL, NULL);
}
