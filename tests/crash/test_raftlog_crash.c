/* SPDX-License-Identifier: Apache-2.0
 *
 * A crash at every mutating call of random work on a raftlog, several disks for each:
 * what was acknowledged is there, what is there was written, recovery may crash too, and
 * the log goes on afterwards. HOLDFAST_SEED, HOLDFAST_SEEDS choose the runs. */
#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"
#include "support/crash_points.h"
#include "support/log_world.h"

enum { NEW_GROUP = 77 };

struct verify {
    struct log_world *world;
    uint64_t seed;
    const struct crash_point *point;
    struct sim *sim;
    struct sim_node *node;
    struct raftlog *log;
};

static void verify_fail(const struct verify *v, const char *why)
{
    fail_msg("seed %llu call %llu (%s %s%s): %s", (unsigned long long)v->seed,
             (unsigned long long)v->point->number, v->point->op, v->point->path,
             v->point->is_kill ? ", kill" : "", why);
}

static void verify_crash(struct verify *v, enum sim_crash how)
{
    sim_node_crash(v->node, how);
    raftlog_free(v->log);
    v->log = NULL;
    sim_node_restart(v->node);
}

/* Open and die on the way, once or twice. */
static void verify_crash_in_recovery(struct verify *v)
{
    uint64_t times = rng_below(v->point->rng, 3);
    for (uint64_t i = 0; i < times; i++) {
        sim_node_crash_after(v->node, rng_between(v->point->rng, 1, 5));
        int rv = raftlog_open(&v->log, sim_node_env(v->node), "/log", &v->world->options.log, NULL);
        if (rv != 0)
            v->log = NULL;
        sim_node_crash_after(v->node, 0);
        verify_crash(v, rng_chance(v->point->rng, 1, 2) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
    }
}

static uint64_t verify_open(struct verify *v)
{
    struct err err = {0};
    char why[512];
    int rv = raftlog_open(&v->log, sim_node_env(v->node), "/log", &v->world->options.log, &err);
    if (rv != 0)
        verify_fail(v, err.msg);
    raftlog_check(v->log);
    if (raftlog_damage(v->log)[0] != 0)
        verify_fail(v, raftlog_damage(v->log));
    uint64_t k = log_world_match(v->world, v->log, why, sizeof why);
    if (k == UINT64_MAX)
        verify_fail(v, why);
    return k;
}

/* The log is good for more: a write that is acknowledged now is there after the next crash,
 * and nothing else has changed. */
static void verify_goes_on(struct verify *v, uint64_t k)
{
    uint8_t bytes[300] = {1, 2, 3};
    struct raftlog_entry entry = {7, 1, slice_of(bytes, sizeof bytes)};
    struct raftlog_write write = {
        .group = NEW_GROUP,
        .has_hard_state = true,
        .term = 7,
        .first_index = 1,
        .entries = &entry,
        .n = 1,
    };
    raftlog_append(v->log, &write);
    sim_run_until(v->sim, sim_now_us(v->sim) + 1000000);
    struct raftlog_stats stats;
    raftlog_stats(v->log, &stats);
    if (stats.pending_bytes != 0)
        verify_fail(v, "a write after recovery does not become durable");
    verify_crash(v, SIM_CRASH_POWER);
    struct raftlog_group_state state = {0};
    if (verify_open(v) != k)
        verify_fail(v, "what recovery found is not there after the next crash");
    if (raftlog_group_state(v->log, NEW_GROUP, &state) != 0 || state.last_index != 1 ||
        state.term != 7)
        verify_fail(v, "a write acknowledged after recovery is lost");
}

static void verify_image(void *data, const struct crash_point *point, struct sim_disk *image)
{
    struct verify *v = data;
    v->point = point;
    v->sim = sim_new(NULL, rng_u64(point->rng));
    v->node = sim_node_new_on(v->sim, "n1", image);
    if (rng_chance(point->rng, 1, 3))
        verify_crash_in_recovery(v);
    uint64_t k = verify_open(v);
    if (point->is_kill || rng_chance(point->rng, 1, 3)) {
        /* What was found once must stay, though nothing was written since. */
        verify_crash(v, SIM_CRASH_POWER);
        if (verify_open(v) != k)
            verify_fail(v, "recovery relied on bytes that were only in the page cache");
    }
    if (rng_chance(point->rng, 1, 4))
        verify_goes_on(v, k);
    sim_node_crash(v->node, SIM_CRASH_KILL);
    raftlog_free(v->log);
    v->log = NULL;
    sim_free(v->sim);
}

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* What the runs were made of: a scenario that never happens is not enumerated. */
struct tally {
    uint64_t images, dropped, rewritten, batch_max;
    uint64_t by_kind[5];                      /* enum op_kind */
    uint64_t overwrites, resets, hard_states; /* among the writes */
};

static void tally_ops(struct tally *tally, const struct log_world *world)
{
    for (uint64_t i = 0; i < world->n_ops; i++) {
        const struct op *op = &world->ops[i];
        tally->by_kind[op->kind]++;
        tally->resets += op->write.has_reset;
        tally->hard_states += op->write.has_hard_state;
        for (uint64_t k = i; k > 0 && op->kind == OP_WRITE && op->write.n > 0; k--) {
            const struct raftlog_write *w = &world->ops[k - 1].write;
            if (world->ops[k - 1].kind != OP_WRITE || w->group != op->write.group || w->n == 0)
                continue;
            tally->overwrites +=
                !op->write.has_reset && op->write.first_index < w->first_index + w->n;
            break;
        }
    }
}

/* Segments of several blocks, entries and batches that reach from one into the next. */
static void options_in_blocks(struct log_world_options *options, struct rng *rng)
{
    options->log.segment_bytes = 5 * ENV_BLOCK;
    options->log.limit_bytes = 64 * ENV_BLOCK;
    options->log.no_zeroing = false;
    options->log.batch_bytes_max = (size_t)rng_between(rng, 1000, 4 * ENV_BLOCK);
    options->log.cache_bytes = 16 * ENV_BLOCK; /* whose chunks bound the batches, too */
    options->len_max = (uint32_t)rng_between(rng, 200, 1000);
}

static void run(uint64_t seed, bool in_blocks, struct tally *tally)
{
    struct log_world_options options;
    log_world_options_init(&options, seed);
    struct rng rng;
    rng_init(&rng, seed ^ 0x9e3779b9);
    options.log.no_zeroing = seed % 2 == 0;
    options.may_block = seed % 4 >= 2;
    options.log.ahead_bytes = seed % 4 == 3 ? options.log.segment_bytes / 2 : SIZE_MAX;
    options.log.batch_bytes_max = (size_t)rng_between(&rng, 1, 3000);
    options.log.cache_bytes = (size_t)rng_between(&rng, 4096, 20000);
    options.len_max = (uint32_t)rng_between(&rng, 20, 600);
    if (in_blocks)
        options_in_blocks(&options, &rng);
    struct log_world *world = log_world_new(&options);
    struct verify verify = {.world = world, .seed = seed};
    struct crash_points points = {.images = 4, .verify = verify_image, .data = &verify};
    struct raftlog_stats stats;
    uint64_t images = 0, dropped = 0, rewritten = 0, batch_max = 0;
    for (int round = 0; round < 3; round++) {
        crash_points_start(&points, sim_node_disk(world->node), seed + (uint64_t)round);
        uint64_t n = rng_between(&rng, 20, 120);
        for (uint64_t i = 0; i < n; i++)
            log_world_step(world);
        if (rng_chance(&rng, 1, 2))
            log_world_settle(world);
        crash_points_stop(&points);
        raftlog_stats(world->log, &stats);
        images += points.n_images;
        dropped += stats.segments_dropped;
        rewritten += stats.rewritten_bytes;
        batch_max = MAX(batch_max, stats.batch_bytes_max);
        log_world_reopen(world, rng_chance(&rng, 1, 2) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
    }
    if (getenv("HOLDFAST_VERBOSE") != NULL)
        printf("seed %llu: %llu images, dropped %llu, rewritten %llu bytes, batches of %llu\n",
               (unsigned long long)seed, (unsigned long long)images, (unsigned long long)dropped,
               (unsigned long long)rewritten, (unsigned long long)batch_max);
    tally->images += images;
    tally->dropped += dropped;
    tally->rewritten += rewritten;
    tally->batch_max = MAX(tally->batch_max, batch_max);
    tally_ops(tally, world);
    log_world_free(world);
}

static void test_crash_points(void **state)
{
    (void)state;
    uint64_t first = number_from_env("HOLDFAST_SEED", 1);
    uint64_t count = number_from_env("HOLDFAST_SEEDS", 4);
    struct tally tally = {0};
    for (uint64_t i = 0; i < count; i++)
        run(first + i, false, &tally);
    if (count < 4)
        return;
    assert_true(tally.images > 1000 && tally.dropped > 10 && tally.rewritten > 1000);
    assert_true(tally.overwrites > 10 && tally.resets > 5 && tally.hard_states > 50);
    for (size_t i = 0; i < ARRAY_LEN(tally.by_kind); i++)
        assert_true(tally.by_kind[i] > 0);
}

/* What is written through begins and ends in the middle of blocks, which are written again. */
static void test_crash_points_in_blocks(void **state)
{
    (void)state;
    uint64_t first = number_from_env("HOLDFAST_SEED", 1);
    uint64_t count = number_from_env("HOLDFAST_SEEDS", 4);
    struct tally tally = {0};
    for (uint64_t i = 0; i < count; i++)
        run(first + i, true, &tally);
    if (count >= 4)
        assert_true(tally.images > 1000 && tally.dropped > 0 && tally.batch_max > 2 * ENV_BLOCK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_points),
        cmocka_unit_test(test_crash_points_in_blocks),
    };
    return cmocka_run_group_tests_name("raftlog_crash", tests, NULL, NULL);
}
