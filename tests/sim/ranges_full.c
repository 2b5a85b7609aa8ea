/* SPDX-License-Identifier: Apache-2.0
 *
 * In holdfast-ranges-sim with --full-log: logs of a few segments, and now and then all keys are
 * written at once, with values of which a log bears few. So writers meet the limit, followers that
 * are behind find no room, groups ask for room beyond, and members that lag are sent snapshots. In
 * bad weather disks are full more often than others.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ranges.h"
#include "store/store_internal.h"

enum {
    ENTRY_BYTES = 200,
    BURST_VALUE_MAX = 6000,
    VALUE_MAX = 300, /* in between */
};

struct ranges_full {
    struct rng rng;
    bool is_burst;
};

struct ranges_full *ranges_full_new(uint64_t seed)
{
    struct ranges_full *full = calloc(1, sizeof *full);
    struct store_options *o = &run.rig.options;
    ASSERT(full != NULL);
    rng_init(&full->rng, seed * 41 + 3);
    o->log.segment_bytes = (size_t)1 << rng_between(&full->rng, 12, 14);
    o->log.budget_bytes = o->log.segment_bytes * rng_between(&full->rng, 4, 6);
    o->log.limit_bytes = 2 * o->log.budget_bytes; /* as holdfastd has it */
    o->log_kept_bytes = rng_chance(&full->rng, 1, 3) ? 0 : rng_below(&full->rng, 1 << 15);
    o->entry_bytes_max = 1u << rng_between(&full->rng, 8, 16);
    /* What is written goes to tables for the log's sake alone. */
    if (rng_chance(&full->rng, 1, 2))
        o->lsm.memtable_bytes = 1 << 20;
    o->water = (struct watermark_limits){0};
    if (rng_chance(&full->rng, 1, 2))
        o->water = (struct watermark_limits){64 << 10, 32 << 10, 8 << 10};
    return full;
}

void ranges_full_free(struct ranges_full *full)
{
    free(full);
}

size_t ranges_full_value_len(struct ranges_full *full)
{
    return rng_below(&full->rng, full->is_burst ? BURST_VALUE_MAX : VALUE_MAX);
}

/* What the logs are like now. */
static void look(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        struct raftlog_stats s;
        if (!is_up(i))
            continue;
        const struct raftlog *log = run.rig.stores[i]->log;
        raftlog_stats(log, &s);
        if (raftlog_room(log) < raftlog_append_cost(1, ENTRY_BYTES))
            ranges_met("log: no room");
        if (s.file_bytes > run.rig.options.log.limit_bytes + run.rig.options.log.segment_bytes)
            ranges_met("log: beyond its limit");
        if (raftlog_is_starved(log))
            ranges_met("log: no room on the disk");
    }
}

/* All at once, or at the same store one after another, before a flush can have helped. */
static void burst(struct ranges_full *full)
{
    full->is_burst = true;
    uint32_t first = (uint32_t)rng_below(&full->rng, KEYS);
    for (uint32_t n = 0; n < KEYS; n++) {
        uint8_t raw[16];
        uint64_t range_id;
        uint32_t number = (first + n) % KEYS;
        write_key(number, leader_at(key_of(number, raw), &range_id));
    }
    full->is_burst = false;
    for (uint64_t n = rng_below(&full->rng, 10); n > 0; n--) {
        rig_run(&run.rig, rng_below(&full->rng, 4 * RIG_MS));
        look();
    }
}

/* The world stops, or a member is left behind, while logs are full. */
static void strike(struct ranges_full *full)
{
    size_t i = rng_below(&full->rng, run.rig.count);
    uint64_t choice = rng_below(&full->rng, 10);
    if (choice == 0) {
        ranges_lose_power();
        ranges_met("log: all lose power in a burst");
    } else if (choice <= 2 && is_up(i)) {
        ranges_crash(i, choice == 1 ? SIM_CRASH_KILL : SIM_CRASH_POWER,
                     rng_below(&full->rng, 4000));
        ranges_met("log: one is away in a burst");
    } else if (choice == 3 && is_up(i)) {
        sim_net_partition(run.rig.sim, run.rig.nodes[i], NULL, rng_below(&full->rng, 3) == 0);
    } else if (choice == 4 && is_up(i) && weather_fill_disk(i)) {
        ranges_met("log: a full disk in a burst");
    }
}

void ranges_full_act(struct ranges_full *full)
{
    if (full == NULL)
        return;
    look();
    if (rng_below(&full->rng, 6) != 0)
        return;
    burst(full);
    if (rng_below(&full->rng, 3) == 0)
        strike(full);
    if (rng_below(&full->rng, 3) == 0) /* another one, on top of it */
        burst(full);
    ranges_start(false);
}

void ranges_full_expect(struct cover *cover)
{
    static const char *const names[] = {
        "log: no room",
        "log: beyond its limit",
        "log: no room on the disk",
        "log: all lose power in a burst",
        "log: one is away in a burst",
        "log: a full disk in a burst",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        cover_expect(cover, names[i]);
}
