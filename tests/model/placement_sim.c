/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-placement-sim — the placement driver alone, in a model of a cluster.
 *
 *   holdfast-placement-sim --seeds 1..2000 --jobs 2    small clusters, all that goes wrong
 *   holdfast-placement-sim --scale [--stores 100 --ranges 100000] [--seed S]
 *                                                      a large one from a random start: how
 *                                                      many moves until it is balanced
 *
 * --steps are minutes of trouble. docs/PLACEMENT.md tells what is checked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/plant.h"
#include "placement_world.h"
#include "support/seeds.h"

#define U(x) ((unsigned long long)(x))

/* From this seed on replicas come more slowly than an operator allows at first. */
enum { SLOW_FROM = 1000000, SLOW_BYTES_S = 256 << 10 };

static void set(struct world *w, const char *name, const char *value)
{
    struct err err = {0};
    if (placement_set(w->drivers[0].p, slice_str(name), slice_str(value), &err) != 0)
        w_fail(w, "set: %s", err.msg);
}

static void set_number(struct world *w, const char *name, uint64_t value, const char *unit)
{
    char text[40];
    snprintf(text, sizeof text, "%llu%s", U(value), unit);
    set(w, name, text);
}

/* ---- small clusters ---------------------------------------------------------------------- */

static void draw_knobs(struct world *w)
{
    struct rng *rng = &w->rng;
    struct w_knobs *k = &w->knobs;
    k->nodes = (uint32_t)rng_between(rng, 3, 9);
    k->stores = rng_chance(rng, 1, 4) ? 1 : k->nodes;
    if (rng_chance(rng, 1, 4))
        k->stores = k->nodes * 2;
    k->spare_stores = (uint32_t)rng_between(rng, 2, 6) + (k->stores == 1 ? k->nodes : 0);
    k->zones = rng_chance(rng, 1, 3) ? (uint32_t)rng_between(rng, 2, 4) : 0;
    k->ranges = (uint32_t)rng_between(rng, 1, rng_chance(rng, 1, 3) ? 200 : 30);
    bool is_calm = rng_chance(rng, 1, 5);
    k->drop_permille = is_calm ? 0 : (uint32_t)rng_below(rng, 200);
    k->twice_permille = is_calm ? 0 : (uint32_t)rng_below(rng, 200);
    k->refuse_permille = is_calm ? 0 : (uint32_t)rng_below(rng, 300);
    k->stuck_permille = is_calm ? 0 : (uint32_t)rng_below(rng, 100);
    k->delay_max_ms = (uint32_t)rng_between(rng, 1, rng_chance(rng, 1, 3) ? 1000 : 100);
    k->nemesis_ms = (uint32_t)rng_between(rng, 2000, 60000);
    k->same_capacity = rng_chance(rng, 2, 3);
    k->down_after_ms = rng_between(rng, 20, 120) * 1000;
    k->split_bytes = UINT64_C(64) << 20;
    k->range_bytes = rng_between(rng, 1, 60) << 20;
    k->send_bytes_s = rng_between(rng, 1, 64) << 20;
    w->is_slow = w->seed >= SLOW_FROM;
    if (w->is_slow) /* … and what was drawn is not used */
        k->send_bytes_s = SLOW_BYTES_S;
    k->report_chunk = (uint32_t)rng_between(rng, 1, 64);
}

static void set_all(struct world *w)
{
    set_number(w, "store-down-after", w->knobs.down_after_ms / 1000, "s");
    set_number(w, "split-bytes", w->knobs.split_bytes, "");
    set_number(w, "merge-bytes", w->knobs.split_bytes / 5, "");
    set_number(w, "merge-after", rng_between(&w->rng, 20, 100), "s");
    set_number(w, "adds-per-store", rng_between(&w->rng, 1, 4), "");
    set_number(w, "sends-per-store", rng_between(&w->rng, 1, 4), "");
    if (rng_chance(&w->rng, 1, 4))
        set(w, "merge", "off");
}

/* Ranges on up to three nodes, wherever that is. */
static void make_ranges(struct world *w)
{
    uint64_t lo = 0;
    for (uint32_t i = 0; i <= w->knobs.ranges; i++) {
        uint32_t stores[3];
        uint32_t count = 0;
        for (int tries = 0; tries < 10 && count < 3; tries++) {
            uint32_t s = (uint32_t)rng_below(&w->rng, w->knobs.stores);
            bool is_taken = w->stores[s].id == 0;
            for (uint32_t k = 0; k < count; k++)
                is_taken = is_taken || w->stores[stores[k]].node == w->stores[s].node;
            if (!is_taken)
                stores[count++] = s;
        }
        if (count == 2 || rng_chance(&w->rng, 1, 10))
            count = 1;
        uint64_t hi = i == w->knobs.ranges ? W_SPACE : lo + W_SPACE / w->knobs.ranges;
        struct w_range *r = i == 0 ? world_add_range(w, 1, 0, 0, stores, count)
                                   : world_add_range(w, i + 1, lo, hi, stores, count);
        r->bytes = 1 + rng_below(&w->rng, w->knobs.range_bytes);
        if (i > 0)
            lo = hi;
    }
}

#ifdef HOLDFAST_PLANTED
static void choose_plant(const char *name)
{
    if (plant_choose(name) != 0)
        ASSERT(!"the bug is not in the list");
}
#else
static void choose_plant(const char *name)
{
    ASSERT(name == NULL);
}
#endif

static uint64_t run(const struct seeds_run *how)
{
    static struct world w;
    choose_plant(how->plant);
    world_init(&w, how->seed, how->is_verbose);
    draw_knobs(&w);
    world_birth(&w);
    set_all(&w);
    world_run(&w, 10000); /* the first stores have joined */
    make_ranges(&w);
    w.is_troubled = true;
    world_run(&w, w.now_ms + how->steps * UINT64_C(60000));
    world_heal(&w);
    judge_end(&w);
    if (how->is_verbose)
        printf("events %llu steps %llu applied %llu refused %llu stale terms %llu fail-overs %llu "
               "crashes %llu splits %llu merges %llu moves %llu transfers %llu commands %llu\n",
               U(w.n_events), U(w.n_steps), U(w.n_applied), U(w.n_refused), U(w.n_stale_terms),
               U(w.n_fail_overs), U(w.n_crashes), U(w.n_splits), U(w.n_merges), U(w.n_moves),
               U(w.n_transfers), U(w.n_commands));
    uint64_t hash = w.hash;
    world_fini(&w);
    return hash;
}

#ifdef HOLDFAST_PLANTED
static const char *const *plants(void)
{
    static const char *names[128];
    uint32_t count = 0;
    for (unsigned i = 0; plant_name(i) != NULL && count < ARRAY_LEN(names) - 1; i++)
        names[count++] = plant_name(i);
    return names;
}
#else
static const char *const *plants(void)
{
    return NULL;
}
#endif

/* ---- a large one ----------------------------------------------------------------------------- */

static void scale_knobs(struct world *w, uint32_t stores, uint32_t ranges)
{
    w->is_scale = true;
    w->knobs = (struct w_knobs){
        .stores = stores,
        .nodes = stores,
        .ranges = ranges,
        .delay_max_ms = 20,
        .same_capacity = true,
        .down_after_ms = 600000,
        .range_bytes = 64 << 20,
        .split_bytes = 96 << 20,
        .send_bytes_s = 64 << 20,
        .report_chunk = W_REPORT_CHUNK_MAX,
    };
}

/* A crooked start: every third store is nearly empty, some are twice as full as others. */
static void scale_ranges(struct world *w)
{
    uint64_t lo = 0;
    for (uint32_t i = 0; i < w->knobs.ranges; i++) {
        uint32_t stores[3];
        for (uint32_t n = 0; n < 3;) {
            uint32_t s = (uint32_t)rng_below(&w->rng, w->knobs.stores);
            bool is_taken = (n > 0 && stores[0] == s) || (n > 1 && stores[1] == s);
            if ((s % 3 == 0 && !rng_chance(&w->rng, 1, 50)) ||
                (s % 3 == 1 && rng_chance(&w->rng, 1, 2)) || is_taken)
                continue;
            stores[n++] = s;
        }
        uint64_t hi = i + 1 == w->knobs.ranges ? W_SPACE : lo + W_SPACE / w->knobs.ranges;
        struct w_range *r = world_add_range(w, i + 2, lo, hi, stores, 3);
        r->bytes = (UINT64_C(24) << 20) + rng_below(&w->rng, UINT64_C(70) << 20);
        r->is_asleep = true;
        lo = hi;
    }
    world_add_range(w, 1, 0, 0, (const uint32_t[]){0, 1, 2}, 3)->is_asleep = true;
}

struct figures {
    double above; /* bytes that must leave stores above the mean */
    double least, most, mean;
    double leads_least, leads_most;
};

static struct figures figures_of(const struct world *w)
{
    struct figures f = {.least = 1e300, .leads_least = 1e300};
    struct placement_store_status s;
    uint32_t n = 0;
    for (uint32_t i = 0; placement_store_at(w->drivers[0].p, i, &s); i++, n++) {
        f.mean += (double)s.bytes;
        f.least = MIN(f.least, (double)s.bytes);
        f.most = MAX(f.most, (double)s.bytes);
        f.leads_least = MIN(f.leads_least, (double)s.leaders);
        f.leads_most = MAX(f.leads_most, (double)s.leaders);
    }
    f.mean /= n;
    for (uint32_t i = 0; placement_store_at(w->drivers[0].p, i, &s); i++)
        f.above += MAX(0, (double)s.bytes - f.mean);
    return f;
}

static int scale(uint64_t seed, uint32_t stores, uint32_t ranges)
{
    static struct world w;
    struct placement_counts c;
    world_init(&w, seed, false);
    scale_knobs(&w, stores, ranges);
    world_birth(&w);
    set(&w, "merge", "off");
    for (uint32_t i = 0; i < stores; i++) {
        while (w.stores[i].id == 0)
            world_run(&w, w.now_ms + 1000);
    }
    scale_ranges(&w);
    world_fail_over(&w); /* the new driver hears of them by the stores' reports */
    do {
        world_run(&w, w.now_ms + 1000);
        placement_counts(w.drivers[0].p, &c);
    } while (c.ranges < ranges || c.stores_reported < stores);
    struct figures before = figures_of(&w);
    uint64_t began = w.now_ms;
    printf("%u stores, %u ranges: stores carry %.0f to %.0f %% of the mean, lead %.0f to %.0f\n",
           stores, ranges, 100 * before.least / before.mean, 100 * before.most / before.mean,
           before.leads_least, before.leads_most);
    do {
        world_run(&w, w.now_ms + 10000);
        placement_counts(w.drivers[0].p, &c);
        if (w.now_ms - began > UINT64_C(7) * 24 * 3600000)
            w_fail(&w, "not quiet after a week: %u operators", c.operators);
    } while (!c.is_quiet);
    struct figures after = figures_of(&w);
    uint64_t started = c.operators_started;
    double least = before.above / (before.mean * stores) * 3 * ranges;
    printf("quiet after %.1f h: carry %.1f to %.1f %% of the mean, lead %.0f to %.0f\n",
           (double)(w.now_ms - began) / 3600000, 100 * after.least / after.mean,
           100 * after.most / after.mean, after.leads_least, after.leads_most);
    printf("%llu replicas moved (%.2f x the %.0f of the mean size that had to), %.2f x the bytes; "
           "%llu leaders moved; %llu operators, %llu failed\n",
           U(c.replicas_added), (double)c.replicas_added / least, least,
           (double)c.bytes_moved / before.above, U(c.leaders_moved), U(c.operators_started),
           U(c.operators_failed));
    world_run(&w, w.now_ms + 1800000);
    placement_counts(w.drivers[0].p, &c);
    if (c.operators_started != started)
        w_fail(&w, "it was quiet, and then operators began");
    if (after.most - after.least > 0.05 * after.mean)
        w_fail(&w, "stores differ by more than 5 %% of the mean");
    if (after.leads_most - after.leads_least > MAX(1, 0.1 * after.leads_most))
        w_fail(&w, "leaders differ by more than 10 %%");
    if ((double)c.bytes_moved > 1.1 * before.above)
        w_fail(&w, "more was moved than the least possible and a tenth");
    world_fini(&w);
    printf("1 passed, 0 failed\n");
    return 0;
}

int main(int argc, char **argv)
{
    const struct seeds_program program = {
        .name = "holdfast-placement-sim",
        .steps = 30,
        .timeout_s = 120,
        .run = run,
        .plants = plants(),
    };
    if (argc < 2 || strcmp(argv[1], "--scale") != 0)
        return seeds_main(&program, argc, argv);
    uint32_t stores = 100;
    uint32_t ranges = 100000;
    uint64_t seed = 1;
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--stores") == 0)
            stores = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--ranges") == 0)
            ranges = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
    }
    if (stores < 6 || stores > W_STORES_MAX - 1 || ranges < stores * 10 || ranges > 900000) {
        fprintf(stderr, "--stores 6 to %d, --ranges ten times as many to 900000\n",
                W_STORES_MAX - 1);
        return 2;
    }
    return scale(seed, stores, ranges);
}
