/* SPDX-License-Identifier: Apache-2.0 */
#include "env/sim/sim_internal.h"

void sim_options_init(struct sim_options *options)
{
    *options = (struct sim_options){
        .latency_us_min = 50,
        .latency_us_max = 500,
        .quantum_us = 1,
        .window_max = 256 << 10,
        .stall_timeout_us = 15000000,
        .connect_timeout_us = 5000000,
        .work_us_min = 5,
        .work_us_max = 200,
        .compact_threads = 1,
        .disk = {.writeback_ppm = 50000, .sync_us = 300, .slow_sync_us = 200000},
    };
}

/* One of `choices`, 0 as often as all others together. */
static uint32_t maybe(struct rng *rng, const uint32_t *choices, size_t count)
{
    return rng_chance(rng, 1, 2) ? 0 : choices[rng_below(rng, count)];
}

static void swarm_network(struct sim_options *options, struct rng *rng)
{
    static const uint32_t rare[] = {10, 100, 1000, 5000};
    static const uint32_t often[] = {10000, 100000, 500000};
    static const uint64_t quanta[] = {1, 1, 100, 1000};
    static const uint64_t latencies[] = {500, 500, 2000, 20000};
    static const size_t windows[] = {4 << 10, 64 << 10, 256 << 10, 1 << 20};
    options->latency_us_max = latencies[rng_below(rng, ARRAY_LEN(latencies))];
    options->spike_ppm = maybe(rng, rare, ARRAY_LEN(rare));
    options->segment_ppm = maybe(rng, often, ARRAY_LEN(often));
    options->reset_ppm = maybe(rng, rare, 3);
    options->connect_error_ppm = maybe(rng, often, 2);
    options->quantum_us = quanta[rng_below(rng, ARRAY_LEN(quanta))];
    options->window_max = windows[rng_below(rng, ARRAY_LEN(windows))];
    options->stall_timeout_us = rng_between(rng, 2000000, 20000000);
    options->connect_timeout_us = rng_between(rng, 500000, 5000000);
}

static void swarm_disk(struct sim_options *options, struct rng *rng)
{
    static const uint32_t seldom[] = {1, 10, 50};
    static const uint32_t reads[] = {5, 50, 300};
    static const uint32_t often[] = {10000, 100000, 500000};
    static const uint64_t syncs[] = {20, 300, 300, 5000};
    options->work_us_max = rng_chance(rng, 1, 4) ? 5000 : 200;
    options->work_spike_ppm = maybe(rng, often, 2);
    options->disk.read_error_ppm = maybe(rng, reads, ARRAY_LEN(reads));
    options->disk.write_error_ppm = maybe(rng, seldom, ARRAY_LEN(seldom));
    options->disk.sync_error_ppm = maybe(rng, seldom, ARRAY_LEN(seldom));
    options->disk.writeback_ppm = maybe(rng, often, ARRAY_LEN(often));
    options->disk.slow_sync_ppm = maybe(rng, often, 2);
    options->disk.sync_us = syncs[rng_below(rng, ARRAY_LEN(syncs))];
    options->disk.slow_sync_us = rng_between(rng, 20000, 2000000);
}

void sim_options_swarm(struct sim_options *options, uint64_t seed)
{
    static const uint32_t drifts[] = {100, 1000, 50000};
    struct rng rng;
    rng_init(&rng, seed ^ UINT64_C(0x5f73776172));
    sim_options_init(options);
    swarm_network(options, &rng);
    swarm_disk(options, &rng);
    options->drift_ppm_max = maybe(&rng, drifts, ARRAY_LEN(drifts));
    options->wall_skew_ms_max = rng_chance(&rng, 1, 2) ? 0 : rng_between(&rng, 1, 20000);
    options->fault_site_ppm = rng_chance(&rng, 1, 2) ? 0 : 250000;
}
