/* SPDX-License-Identifier: Apache-2.0
 *
 * Random work on a log of tiny segments, compared with a model, with restarts of
 * either kind in between. HOLDFAST_SEED and HOLDFAST_SEEDS choose the runs. */
#include <stdlib.h>

#include "support/check.h"
#include "support/log_world.h"

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void run(uint64_t seed)
{
    struct log_world_options options;
    log_world_options_init(&options, seed);
    options.may_block = seed % 2 == 0;
    options.log.ahead_bytes = seed % 3 == 0 ? options.log.segment_bytes / 2 : SIZE_MAX;
    struct log_world *world = log_world_new(&options);
    char why[512];
    for (int round = 0; round < 6; round++) {
        uint64_t n = rng_between(&world->rng, 10, 200);
        for (uint64_t i = 0; i < n; i++)
            log_world_step(world);
        if (rng_chance(&world->rng, 1, 2))
            log_world_settle(world);
        if (!log_world_is_visible(world, why, sizeof why))
            fail_msg("seed %llu: %s", (unsigned long long)seed, why);
        log_world_settle(world);
        log_world_reopen(world, round % 2 ? SIM_CRASH_KILL : SIM_CRASH_POWER);
    }
    log_world_free(world);
}

static void test_model(void **state)
{
    (void)state;
    uint64_t first = number_from_env("HOLDFAST_SEED", 1);
    uint64_t count = number_from_env("HOLDFAST_SEEDS", 40);
    for (uint64_t i = 0; i < count; i++)
        run(first + i);
}

/* Writes and syncs fail at random: the process ends each time. After a failed sync the page
 * cache shows bytes that never reach the platter; what a restart takes from them must
 * survive the next loss of power all the same. */
static void run_failing(uint64_t seed)
{
    struct log_world_options options;
    log_world_options_init(&options, seed);
    options.may_block = seed % 2 == 0;
    struct log_world *world = log_world_new(&options);
    struct sim_disk_options calm = {0};
    struct sim_disk_options faults = {
        .write_error_ppm = 5000, .sync_error_ppm = 20000, .writeback_ppm = 300000};
    for (int round = 0; round < 5; round++) {
        sim_disk_set_options(sim_node_disk(world->node), &faults);
        for (int i = 0; i < 300 && !sim_node_is_dead(world->node); i++)
            log_world_step(world);
        sim_disk_set_options(sim_node_disk(world->node), &calm);
        log_world_reopen(world, SIM_CRASH_KILL);
        uint64_t k = world->n_acked = world->n_ops;
        log_world_reopen(world, SIM_CRASH_POWER);
        assert_true(world->n_ops == k);
    }
    log_world_free(world);
}

static void test_failing_disk(void **state)
{
    (void)state;
    uint64_t first = number_from_env("HOLDFAST_SEED", 1);
    uint64_t count = number_from_env("HOLDFAST_SEEDS", 40);
    for (uint64_t i = 0; i < count; i++)
        run_failing(first + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_failing_disk),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
