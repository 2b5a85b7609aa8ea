/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/scenario.h"
#include "sim/watchers.h"

enum {
    SETTLE_US = 60 * 1000 * 1000,
    DRAIN_US = 20 * 1000 * 1000,
    RECOVER_US = 2 * 1000 * 1000, /* a full disk is looked at again now and then */
    CORE_LOAD_US = 3 * 1000 * 1000,
    CORE_FOUND_US = 30 * 1000 * 1000, /* until the core serves */
    WRITES_PER_S = 1, /* fewer, over the trouble: the run is void, it has shown too little */
    SECOND_US = 1000 * 1000,
    TIMEOUT_MS = 3000,
    SLOW_SYNC_US_MAX = 500 * 1000,
    SLOW_PPM_MAX = 30 * 1000,
};

static uint32_t draw_faults(const struct run_options *o, struct rng *rng)
{
    uint32_t faults = o->faults;
    for (uint32_t bit = 0; bit < FAULT_KINDS; bit++) {
        if (rng_chance(rng, 1, 3) && !o->is_exact)
            faults &= ~BIT(bit); /* swarm: each run has its own subset */
    }
    return faults;
}

static uint32_t draw_nodes(struct rng *rng)
{
    static const uint32_t sizes[] = {1, 3, 3, 3, 3, 3, 5, 5, 5, 5};
    return sizes[rng_below(rng, ARRAY_LEN(sizes))];
}

/* Everything is drawn whether it is given or not: so that one given changes no other. */
static void draw(const struct run_options *o, struct trace_ring *ring, FILE *file,
                 struct cluster_options *ret)
{
    static const uint32_t paces[] = {100, 300, 1000, 3000}; /* frantic to slow */
    static const uint32_t value_sizes[] = {300, 300, 3000, 3000, 1 << 16};
    static const uint32_t thinks[] = {20000, 60000, 120000, 250000};
    struct rng rng;
    rng_init(&rng, o->seed);
    uint32_t nodes = draw_nodes(&rng);
    uint32_t clients = (uint32_t)rng_between(&rng, 2, 12);
    uint32_t keys = (uint32_t)rng_between(&rng, 1, 8);
    const struct mix *mix = mix_draw(&rng);
    uint32_t value_max = value_sizes[rng_below(&rng, ARRAY_LEN(value_sizes))];
    uint32_t think_us = thinks[rng_below(&rng, ARRAY_LEN(thinks))];
    uint32_t pace_ms = paces[rng_below(&rng, ARRAY_LEN(paces))];
    *ret = (struct cluster_options){
        .seed = o->seed,
        .nodes = o->nodes != 0 ? o->nodes : nodes,
        .processes = o->clients != 0 ? o->clients : clients,
        .keys = o->keys != 0 ? o->keys : keys,
        .mix = o->mix != NULL ? o->mix : mix,
        .duration_us = o->duration_us,
        .timeout_ms = o->timeout_ms != 0 ? o->timeout_ms : TIMEOUT_MS,
        .think_us = think_us,
        .value_max = value_max,
        .pace_ms = pace_ms,
        .faults = draw_faults(o, &rng),
        .trace = {.ring = ring, .file = file, .is_verbose = o->is_verbose},
    };
    ret->instances = (uint32_t)rng_between(&rng, 1, MIN(ret->processes, CLUSTER_CLIENTS_MAX));
    ret->is_sleepy = rng_chance(&rng, 1, 3);
}

static void pin(const struct run_options *o, const struct cluster_options *opt,
                struct run_options *ret)
{
    *ret = *o;
    ret->nodes = opt->nodes;
    ret->clients = opt->processes;
    ret->keys = opt->keys;
    ret->mix = opt->mix;
    ret->faults = opt->faults;
    ret->is_exact = true;
}

void run_resolve(const struct run_options *o, struct run_options *ret)
{
    struct cluster_options opt;
    draw(o, NULL, NULL, &opt);
    pin(o, &opt, ret);
}

static void set_world(struct cluster *c)
{
    struct sim_options world;
    sim_options_swarm(&world, c->opt.seed);
    if (!(c->opt.faults & FAULT_DISK))
        world.disk = (struct sim_disk_options){.sync_us = 100};
    if (!(c->opt.faults & FAULT_NET))
        world.spike_ppm = world.reset_ppm = world.connect_error_ppm = 0;
    if (!(c->opt.faults & (FAULT_NET | FAULT_DISK)))
        world.fault_site_ppm = 0;
    if (!(c->opt.faults & FAULT_CLOCK))
        world.drift_ppm_max = 0;
    world.wall_skew_ms_max = 0;
    c->rots_late = (c->opt.faults & FAULT_ROT) && rng_chance(&c->rng, 1, 3);
    if (c->opt.faults & FAULT_KILL) {
        static const uint32_t percents[] = {0, 0, 15, 60};
        c->strike_percent = percents[rng_below(&c->rng, ARRAY_LEN(percents))];
    }
    if (c->opt.faults & FAULT_DISK) { /* as often as a run can bear: each ends a process */
        static const uint32_t often[] = {0, 20, 200, 2000};
        world.disk.sync_error_ppm = often[rng_below(&c->rng, ARRAY_LEN(often))];
        world.disk.read_error_ppm = often[rng_below(&c->rng, ARRAY_LEN(often))];
    }
    /* Trouble, but not so that no election can ever succeed: such a run shows nothing. */
    world.disk.slow_sync_us = MIN(world.disk.slow_sync_us, SLOW_SYNC_US_MAX);
    world.disk.slow_sync_ppm = MIN(world.disk.slow_sync_ppm, (uint32_t)SLOW_PPM_MAX);
    world.work_spike_ppm = MIN(world.work_spike_ppm, (uint32_t)SLOW_PPM_MAX);
    sim_set_options(c->sim, &world);
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        sim_disk_set_options(sim_node_disk(c->nodes[i].node), &world.disk);
}

static void trouble(struct cluster *c)
{
    uint64_t end = sim_now_us(c->sim) + c->opt.duration_us;
    uint64_t next = sim_now_us(c->sim);
    set_world(c);
    while (sim_now_us(c->sim) < end && cluster_run_until(c, MIN(next, end))) {
        if (sim_now_us(c->sim) >= next)
            next = nemesis_step(c);
    }
}

/* Nobody waits for an answer any more. */
static bool drain(struct cluster *c, struct workload *w)
{
    uint64_t patience = sim_now_us(c->sim) + DRAIN_US;
    workload_stop(w);
    while (!workload_is_idle(w) && sim_now_us(c->sim) < patience) {
        if (!cluster_run_until(c, sim_now_us(c->sim) + 20000))
            return false;
    }
    if (!workload_is_idle(w))
        cluster_fail(c, "a client was never answered");
    return !c->is_failed;
}

/* Phase two: a quorum alone, under load, then asked for everything. */
static bool liveness(struct cluster *c, struct workload *w)
{
    core_begin(c);
    if (!cluster_run_until(c, sim_now_us(c->sim) + CORE_LOAD_US) || !drain(c, w))
        return false;
    if (!core_judge(c, SETTLE_US)) /* before anything is written over */
        return false;
    if (!workload_final_ops(w, CORE_FOUND_US))
        cluster_fail(c, "the core does not serve");
    return !c->is_failed && core_judge(c, SETTLE_US);
}

static void run_phases(struct cluster *c, struct workload *w, struct watchers *watchers)
{
    trouble(c);
    if (c->is_failed || !liveness(c, w))
        return;
    for (uint32_t i = 0; i < c->opt.nodes && c->rots_late; i++)
        hit_flip(c); /* no later write covers it */
    nemesis_heal(c);
    if (!cluster_run_until(c, sim_now_us(c->sim) + RECOVER_US) || !cluster_settle(c, SETTLE_US))
        return;
    if (!workload_final_ops(w, 0))
        cluster_fail(c, "no service after the faults stopped");
    else if (cluster_settle(c, SETTLE_US))
        watchers_catch_up(watchers);
}

/* The verdict over what the clients saw. */
static void judge(struct cluster *c, struct history *h, struct watchers *watchers)
{
    if (!c->is_failed && !history_check(h, c->why, sizeof c->why))
        c->is_failed = true;
    if (!c->is_failed)
        watchers_judge(watchers);
    if (!c->is_failed && !history_search(h, c->why, sizeof c->why))
        c->is_failed = true;
}

static void sum_up(struct cluster *c, const struct workload *w, const struct history *h,
                   struct tally *ret)
{
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        if (c->nodes[i].store != NULL)
            cluster_count_store(c, &c->nodes[i]);
    cluster_count_world(c);
    workload_count(w, &c->cover);
    *ret = (struct tally){
        .passed = !c->is_failed,
        .failed = c->is_failed,
        .voids = !c->is_failed &&
                 workload_writes_done(w) < WRITES_PER_S * c->opt.duration_us / SECOND_US,
        .requests = workload_done(w),
        .crashes = c->crashes,
        .spoiled = c->spoiled,
        .unknown = h->unknown,
        .events = sim_events(c->sim),
        .virtual_us = sim_now_us(c->sim),
        .cover = c->cover,
    };
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        ret->lost += c->nodes[i].is_lost;
}

static FILE *open_trace(const struct run_options *o)
{
    FILE *file = o->trace_path == NULL ? NULL : fopen(o->trace_path, "w");
    if (o->trace_path != NULL && file == NULL) {
        fprintf(stderr, "holdfast-sim: cannot write %s\n", o->trace_path);
        exit(2);
    }
    return file;
}

void run_seed(const struct run_options *o, struct trace_ring *ring, struct outcome *ret)
{
    struct cluster_options opt;
    struct history history;
    struct cluster *c = malloc(sizeof *c);
    FILE *file = open_trace(o);
    ASSERT(c != NULL);
    draw(o, ring, file, &opt);
    history_init(&history);
    cluster_open(c, &opt);
    struct workload *w = workload_new(c, &history);
    struct watchers *watchers = watchers_new(c, w, &history);
    if (!c->is_failed)
        run_phases(c, w, watchers);
    *ret = (struct outcome){.failed_us = c->is_failed ? sim_now_us(c->sim) : 0};
    judge(c, &history, watchers);
    watchers_count(watchers, &c->cover);
    sum_up(c, w, &history, &ret->tally);
    ret->hash = sim_hash(c->sim);
    pin(o, &opt, &ret->drawn);
    memcpy(ret->why, c->why, sizeof ret->why);
    if (c->is_failed)
        cluster_note(c, NULL, "BROKEN: %s", c->why);
    watchers_free(watchers);
    cluster_close(c);
    workload_free(w);
    history_fini(&history);
    free(c);
    if (file != NULL)
        fclose(file);
}

void run_twice(const struct run_options *o, struct trace_ring *ring, struct outcome *ret)
{
    run_seed(o, ring, ret);
    if (ret->tally.failed != 0)
        return;
    struct outcome *again = malloc(sizeof *again);
    ASSERT(again != NULL);
    run_seed(o, ring, again);
    if (again->hash != ret->hash) {
        ret->tally.passed = ret->tally.voids = 0;
        ret->tally.failed = 1;
        snprintf(ret->why, sizeof ret->why,
                 "not deterministic: hash %016" PRIx64 " then %016" PRIx64, ret->hash, again->hash);
    }
    free(again);
}

/* ---- words ---------------------------------------------------------------------------------- */

void run_command(const struct run_options *o, char *out, size_t size)
{
    char faults[160];
    faults_print(o->faults, faults, sizeof faults);
    size_t at = (size_t)snprintf(out, size, "holdfast-sim --seed %" PRIu64 " --seconds %" PRIu64,
                                 o->seed, o->duration_us / 1000000);
    at += (size_t)snprintf(out + at, size - at, " --faults %s", faults);
    if (o->is_exact)
        at += (size_t)snprintf(out + at, size - at, " --exact");
    if (o->timeout_ms != 0)
        at += (size_t)snprintf(out + at, size - at, " --timeout %u", o->timeout_ms);
    if (o->nodes != 0)
        at += (size_t)snprintf(out + at, size - at, " --nodes %u", o->nodes);
    if (o->clients != 0)
        at += (size_t)snprintf(out + at, size - at, " --clients %u", o->clients);
    if (o->keys != 0)
        at += (size_t)snprintf(out + at, size - at, " --keys %u", o->keys);
    if (o->mix != NULL)
        snprintf(out + at, size - at, " --workload %s", o->mix->name);
}

void run_print(const struct run_options *o, const struct outcome *outcome,
               const struct trace_ring *ring, FILE *out)
{
    const struct tally *t = &outcome->tally;
    char command[512];
    fprintf(out,
            "seed %" PRIu64 " hash %016" PRIx64 " %s nodes %u %s ops %" PRIu64 " crashes %" PRIu64
            " lost %" PRIu64 " events %" PRIu64 " virtual %.1f s\n",
            o->seed, outcome->hash,
            t->failed  ? "FAILED"
            : t->voids ? "void"
                       : "ok",
            outcome->drawn.nodes, outcome->drawn.mix->name, t->requests, t->crashes, t->lost,
            t->events, (double)t->virtual_us / 1e6);
    if (!t->failed)
        return;
    run_command(o, command, sizeof command);
    fprintf(out, "  broken: %s\n", outcome->why);
    trace_ring_print(ring, out);
    fprintf(out, "  repeat: %s --verbose\n", command);
}

void tally_add(struct tally *sum, const struct tally *one)
{
    sum->passed += one->passed;
    sum->failed += one->failed;
    sum->voids += one->voids;
    sum->requests += one->requests;
    sum->crashes += one->crashes;
    sum->spoiled += one->spoiled;
    sum->lost += one->lost;
    sum->unknown += one->unknown;
    sum->events += one->events;
    sum->virtual_us += one->virtual_us;
    cover_merge(&sum->cover, &one->cover);
}
