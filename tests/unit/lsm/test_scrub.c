/* SPDX-License-Identifier: Apache-2.0
 *
 * The scrub finds any bit that turned, in time, and keeps to its rate.
 */
#include <stdio.h>

#include "base/rng.h"
#include "env/sim/sim.h"
#include "lsm/lsm.h"
#include "support/check.h"

enum { RATE = 200 << 10, KEYS = 3000 };

struct place {
    struct sim *sim;
    struct sim_node *node;
    struct lsm *lsm;
    struct rng rng;
    unsigned told;
    char told_file[64];
    char flipped[64];
    uint64_t bytes; /* of tables */
};

static void on_corrupt(void *data, const char *file, uint64_t offset, const char *text)
{
    struct place *p = data;
    (void)offset;
    assert_true(text[0] != 0);
    p->told++;
    snprintf(p->told_file, sizeof p->told_file, "%s", file);
}

static void run(struct place *p, uint64_t us)
{
    sim_run_until(p->sim, sim_now_us(p->sim) + us);
}

static void place_init(struct place *p, uint64_t seed, uint64_t rate)
{
    struct lsm_options options;
    struct err err = {0};
    *p = (struct place){.sim = sim_new(NULL, seed)};
    rng_init(&p->rng, seed);
    p->node = sim_node_new(p->sim, "n1");
    lsm_options_init(&options);
    options.memtable_bytes = 64 << 10;
    options.table_bytes = 32 << 10;
    options.block_bytes = 1 << 10;
    options.level_base_bytes = 64 << 10;
    options.scrub_bytes = rate;
    options.callbacks.on_corrupt = on_corrupt;
    options.data = p;
    assert_int_equal(lsm_open(&p->lsm, sim_node_env(p->node), "db", &options, &err), 0);
}

static void fill(struct place *p)
{
    struct lsm_batch batch;
    uint8_t value[100];
    char key[16];
    lsm_batch_init(&batch);
    for (unsigned i = 0; i < KEYS; i++) {
        rng_fill(&p->rng, value, sizeof value);
        snprintf(key, sizeof key, "k%06u", i * 7 % KEYS);
        lsm_batch_clear(&batch);
        lsm_batch_put(&batch, slice_str(key), i + 1, slice_of(value, sizeof value), 0);
        for (unsigned n = 0; lsm_write(p->lsm, &batch) != 0; n++) {
            assert_true(n < 1000);
            run(p, 10000);
        }
    }
    lsm_batch_fini(&batch);
}

static void flip_one(void *data, const char *path, uint64_t size)
{
    struct place *p = data;
    const char *name = strrchr(path, '/') + 1;
    size_t len = strlen(name);
    if (len < 4 || strcmp(name + len - 4, ".tbl") != 0 || !rng_chance(&p->rng, 1, 4) ||
        p->flipped[0] != 0)
        return;
    snprintf(p->flipped, sizeof p->flipped, "%s", name);
    assert_int_equal(sim_disk_flip_bit(sim_node_disk(p->node), path, rng_below(&p->rng, size * 8)),
                     0);
}

static void place_fini(struct place *p)
{
    sim_node_crash(p->node, SIM_CRASH_KILL);
    lsm_free(p->lsm);
    sim_free(p->sim);
}

static struct lsm_stats stats_of(const struct place *p)
{
    struct lsm_stats stats;
    lsm_stats(p->lsm, &stats);
    return stats;
}

static void test_finds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        struct place p;
        place_init(&p, seed, RATE);
        fill(&p);
        run(&p, UINT64_C(30) * 1000000);
        assert_true(stats_of(&p).scrub_rounds > 0);
        assert_int_equal(stats_of(&p).scrub_errors, 0);
        assert_int_equal(p.told, 0);
        while (p.flipped[0] == 0)
            sim_disk_each_file(sim_node_disk(p.node), flip_one, &p);
        run(&p, UINT64_C(10) * 1000000);
        if (p.told != 1 || strcmp(p.told_file, p.flipped) != 0)
            fail_msg("seed %llu: %u told, '%s', flipped '%s'", (unsigned long long)seed, p.told,
                     p.told_file, p.flipped);
        assert_int_equal(stats_of(&p).scrub_errors, 1);
        place_fini(&p);
    }
}

/* No more than the rate and a slice in any window; and none at all when it is off. */
static void test_rate(void **state)
{
    (void)state;
    struct place p;
    place_init(&p, 1, RATE);
    fill(&p);
    uint64_t before = 0;
    for (unsigned second = 0; second < 60; second++) {
        run(&p, 1000000);
        uint64_t now = stats_of(&p).scrub_bytes;
        assert_true(now - before <= RATE + (1 << 20) + (64 << 10));
        before = now;
    }
    assert_true(before > RATE * 10);
    assert_true(before <= RATE * UINT64_C(61) + (2 << 20));
    place_fini(&p);
    place_init(&p, 1, 0);
    fill(&p);
    run(&p, UINT64_C(10) * 1000000);
    assert_int_equal(stats_of(&p).scrub_bytes, 0);
    place_fini(&p);
}

/* Tables that it holds go when it is done with them. */
static void test_lets_go(void **state)
{
    (void)state;
    struct place p;
    place_init(&p, 1, RATE / 16);
    fill(&p);
    run(&p, UINT64_C(5) * 1000000);
    assert_int_equal(lsm_compact(p.lsm, (struct slice){0}, (struct slice){0}), 0);
    run(&p, UINT64_C(60) * 1000000);
    assert_int_equal(stats_of(&p).files_dead, 0);
    assert_true(lsm_is_quiet(p.lsm));
    place_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_lets_go),
    };
    return cmocka_run_group_tests_name("scrub", tests, NULL, NULL);
}
