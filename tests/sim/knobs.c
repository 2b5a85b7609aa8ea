/* SPDX-License-Identifier: Apache-2.0
 *
 * How the stores of a run are configured: drawn from its seed, with thresholds so low
 * that each of them is met all the time.
 */
#include "sim/cluster.h"

static size_t power(struct rng *rng, uint64_t lo, uint64_t hi)
{
    return (size_t)1 << rng_between(rng, lo, hi);
}

static void draw_engine(struct lsm_options *o, struct rng *rng)
{
    o->memtable_bytes = power(rng, 10, 16);
    o->memtables_max = (unsigned)rng_between(rng, 1, 4);
    o->table_bytes = power(rng, 11, 16);
    o->level_base_bytes = o->table_bytes * rng_between(rng, 1, 4);
    o->level_ratio = (unsigned)rng_between(rng, 2, 10);
    o->block_bytes = power(rng, 8, 12);
    o->manifest_bytes = power(rng, 10, 20);
    o->filter_bits = rng_chance(rng, 1, 4) ? 0 : 10;
    o->l0_compact = (unsigned)rng_between(rng, 2, 4);
    o->l0_slow = o->l0_compact + (unsigned)rng_between(rng, 1, 8);
    o->l0_stop = o->l0_slow + (unsigned)rng_between(rng, 1, 12);
    /* With no cache to speak of every read is a cold one. */
    o->cache_bytes = rng_chance(rng, 1, 2) ? rng_below(rng, 4096) : power(rng, 12, 20);
    o->cache_bytes = MIN(o->cache_bytes, 256 * (size_t)o->block_bytes); /* chains stay short */
    struct rng own = *rng; /* what is drawn after is what it always was */
    o->value_bytes = rng_chance(&own, 1, 4) ? 0 : power(&own, 0, 8);
    o->value_garbage_percent = (unsigned)rng_between(&own, 5, 50);
    if (rng_chance(&own, 1, 12)) { /* steep enough for the little data here to fill all levels */
        o->table_bytes = (size_t)1 << 11;
        o->level_base_bytes = o->table_bytes;
        o->level_ratio = 2;
    }
}

static void draw_log(struct raftlog_options *o, struct rng *rng, bool is_large)
{
    o->segment_bytes = is_large ? power(rng, 18, 20) : power(rng, 14, 18);
    o->budget_bytes = o->segment_bytes * rng_between(rng, 4, 12);
    o->cache_bytes = rng_chance(rng, 1, 2) ? rng_below(rng, 4096) : power(rng, 12, 20);
    o->batch_bytes_max = power(rng, 10, 16);
}

/* Every eighth is full in no time, with entries larger than a segment among what fills it. What
 * others draw is as it was. */
static void draw_log_limit(struct store_options *o, uint64_t seed, bool is_large)
{
    struct rng own;
    rng_init(&own, seed * 37 + 11);
    if (rng_chance(&own, 1, 8) && !is_large) {
        o->log.segment_bytes = power(&own, 12, 13);
        o->log.budget_bytes = o->log.segment_bytes * 4;
        o->entry_bytes_max = 1u << rng_between(&own, 10, 16);
    }
    o->log.limit_bytes = o->log.budget_bytes * rng_between(&own, 2, 4);
}

void cluster_knobs(const struct cluster_options *opt, struct store_options *o)
{
    struct rng rng;
    store_options_init(o);
    rng_init(&rng, opt->seed * 31 + 7);
    draw_engine(&o->lsm, &rng);
    draw_log(&o->log, &rng, opt->value_max > 4096);
    o->log_kept_bytes = rng_chance(&rng, 1, 3) ? 0 : rng_below(&rng, 1 << 16);
    o->entry_bytes_max = 1u << rng_between(&rng, 6, 14);
    draw_log_limit(o, opt->seed, opt->value_max > 4096);
    o->entries_in_flight = (uint32_t)rng_between(&rng, 1, 64);
    o->queue_writes_max = (uint32_t)rng_between(&rng, 4, 4096);
    o->queue_reads_max = (uint32_t)rng_between(&rng, 4, 4096);
    o->election_timeout_ms = (uint32_t)rng_between(&rng, 150, 1000);
    o->heartbeat_ms = o->election_timeout_ms / (uint32_t)rng_between(&rng, 5, 12);
    o->water = (struct watermark_limits){0};
    if (rng_chance(&rng, 2, 3))
        o->water = (struct watermark_limits){64 << 10, 32 << 10, 8 << 10};
    if (rng_chance(&rng, 7, 8)) /* else nothing is ever old enough to be thrown away */
        o->retention_ms = power(&rng, 0, 12);
    o->check_bytes_per_s = power(&rng, 12, 24);
    if (opt->is_sleepy)
        o->hibernate_after_ms = (uint32_t)rng_between(&rng, 1, 200);
    else if (rng_chance(&rng, 1, 2)) /* nobody ever sleeps */
        o->hibernate_after_ms = 0;
    o->hibernate_check_ms = (uint32_t)rng_between(&rng, 500, 5000);
    o->garbage_pass_ms = (uint32_t)power(&rng, 4, 12);
    o->has_leases = rng_chance(&rng, 2, 3);
    o->max_clock_drift_ppm = CLOCK_DRIFT_PPM_MAX;
    o->snapshot_bytes_per_s = power(&rng, 18, 27);
    if (rng_chance(&rng, 1, 4))
        o->read_aside_bytes = rng_between(&rng, 1, 64);
}
