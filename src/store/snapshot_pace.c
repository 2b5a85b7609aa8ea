/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast snapshots are sent and taken in: each way of a store has the rate of throttle.h, which
 * heeds the writes of this store. Whoever takes in holds its sender back by what it does not read
 * yet and by late acknowledgements, so the slower of the two ends counts.
 */
#include "store/store_internal.h"

enum { VOTERS_SAFE = 3 };

void snapshot_pace_init(struct store *store)
{
    throttle_init(&store->moving.throttle, store->opt.snapshot_bytes_per_s);
}

void snapshot_pace_tick(struct store *store)
{
    struct moving *m = &store->moving;
    struct raftlog_syncs syncs = raftlog_take_syncs(store->log);
    struct throttle_tick tick = {
        .count = syncs.count,
        .late = syncs.late,
        .sum_us = syncs.sum_us,
        .is_moving = m->tick_bytes > 0,
        .is_needed = m->tick_is_needed,
    };
    throttle_note(&m->throttle, &tick);
    raftlog_count_late(store->log, throttle_late_us(&m->throttle));
    m->tick_bytes = 0;
    m->tick_is_needed = false;
}

static bool is_lost(const struct store *store, uint64_t store_id)
{
    return store_id != store->opt.store_id && !pulse_is_alive(store, store_id, 0);
}

/* Does it restore what a range has lost, and not only bring it elsewhere? Then a voter has to be
 * fed itself, or is not heard of, or there are too few. */
static bool is_in_need(const struct store *store, const struct range_descriptor *range,
                       uint64_t target)
{
    uint32_t voters = 0;
    for (uint32_t i = 0; i < range->replica_count; i++) {
        const struct range_replica *r = &range->replicas[i];
        if (r->role != RANGE_ROLE_VOTER)
            continue;
        voters++;
        if (r->replica_id == target || is_lost(store, r->store_id))
            return true;
    }
    return voters < VOTERS_SAFE;
}

static uint64_t take(struct store *store, uint64_t *free_us, bool is_needed, size_t bytes)
{
    struct moving *m = &store->moving;
    m->tick_bytes += bytes;
    m->tick_is_needed = m->tick_is_needed || is_needed;
    *free_us = throttle_take(&m->throttle, *free_us, env_now_us(store->env), bytes);
    return *free_us;
}

uint64_t snapshot_pace_out(struct store *store, const struct range_descriptor *range,
                           uint64_t target, size_t bytes)
{
    return take(store, &store->moving.out_free_us, is_in_need(store, range, target), bytes);
}

uint64_t snapshot_pace_in(struct store *store, const struct range_descriptor *range,
                          uint64_t target, size_t bytes)
{
    return take(store, &store->moving.in_free_us, is_in_need(store, range, target), bytes);
}
