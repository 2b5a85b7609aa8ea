/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of holdfast-ranges-sim: plain ones, and those of a hashed keyspace, which stand
 * behind slots; of both some are written with a time to live. Range time alone judges that: it
 * is looked for in the stores, whose wall clocks jump.
 */
#include <stdio.h>
#include <stdlib.h>

#include "range/sessions.h"
#include "ranges.h"
#include "store/store_internal.h"
#include "wire/keyspace.h"

enum {
    EXPIRES_FIRST = 22, /* to HASHED_FIRST */
    HASHED_FIRST = 28,
    HASHED_EXPIRES_FIRST = 35,
    SKEW_MS = 4000,      /* two are never further apart than stores bear */
    SKEW_FAR_MS = 20000, /* beyond what stores take for a clock that is right */
    LEAP_MORE_MS = 60000,
};

bool key_is_hashed(uint32_t number)
{
    return number >= HASHED_FIRST;
}

bool key_expires(uint32_t number)
{
    return number >= HASHED_EXPIRES_FIRST || (number >= EXPIRES_FIRST && number < HASHED_FIRST);
}

uint32_t key_keyspace(uint32_t number)
{
    return key_is_hashed(number) ? run.hashed : 0;
}

void key_name(uint32_t number, char name[8])
{
    snprintf(name, 8, "k%02u", number);
}

struct slice key_stored(uint32_t number, uint8_t raw[16])
{
    char name[8];
    size_t len = 0;
    key_name(number, name);
    if (key_is_hashed(number)) {
        keyspace_put_slot(raw, keyspace_slot(slice_str(name), run.slots));
        len = KEYSPACE_SLOT_LEN;
    }
    memcpy(raw + len, name, strlen(name));
    return slice_of(raw, len + strlen(name));
}

struct slice key_of(uint32_t number, uint8_t raw[16])
{
    uint8_t stored[16];
    return slice_of(raw, range_user_key(key_keyspace(number), key_stored(number, stored), raw));
}

uint32_t key_number(uint32_t keyspace, struct slice stored)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        uint8_t raw[16];
        if (key_keyspace(i) == keyspace && slice_equal(key_stored(i, raw), stored))
            return i;
    }
    return KEYS;
}

/* ---- times to live ------------------------------------------------------------------------ */

static void note_range(const struct range *range)
{
    const struct range_meta *meta = range_meta(range);
    struct range_span span = range_descriptor_span(&meta->descriptor);
    for (uint32_t n = 0; n < KEYS; n++) {
        uint8_t raw[16];
        bool counts = key_expires(n) || run.retain != NULL;
        struct slice key = key_of(n, raw);
        if (!counts || !range_span_contains(span, key))
            continue;
        run.keys[n].time_ms = MAX(run.keys[n].time_ms, meta->time_ms);
        run.keys[n].seam = MAX(run.keys[n].seam, seams_least_at(&meta->seams, key));
    }
}

void key_times_note(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        uint32_t cursor = 0;
        const struct replica *r;
        while (run.rig.stores[i] != NULL &&
               (r = replicas_each(&run.rig.stores[i]->replicas, &cursor)) != NULL) {
            if (r->range != NULL)
                note_range(r->range);
        }
    }
}

static bool has_open(const struct key_state *k)
{
    bool is_open = k->pending != 0;
    for (size_t i = 0; i < OPEN_MAX; i++)
        is_open = is_open || k->open[i] != 0;
    return is_open;
}

void key_found_absent(struct key_state *k, uint64_t least)
{
    uint32_t number = (uint32_t)(k - run.keys);
    if (least == 0)
        return; /* nothing had to be there */
    if (!key_expires(number))
        die("a read finds nothing where something is");
    key_times_note();
    if (!has_open(k) && k->acked == least && k->expiry_ms > k->time_ms) {
        printf("key k%02u: %llu expires at %llu, it is %llu\n", number, (unsigned long long)least,
               (unsigned long long)k->expiry_ms, (unsigned long long)k->time_ms);
        die("a value has expired too early");
    }
    k->gone = MAX(k->gone, least);
    run.absent++;
    ranges_met("expired: found absent");
}

void key_found(struct key_state *k, uint64_t value, uint64_t gone, uint64_t version)
{
    uint32_t number = (uint32_t)(k - run.keys);
    uint64_t time_ms = version >> RANGE_VERSION_COUNTER_BITS;
    if (!key_expires(number))
        return;
    if (value <= gone) {
        printf("key k%02u: %llu, nothing up to %llu was there\n", number, (unsigned long long)value,
               (unsigned long long)gone);
        die("a value that had expired came back");
    }
    if (value == k->acked && k->expiry_ms <= time_ms) {
        printf("key k%02u: %llu expired at %llu, read at %llu\n", number, (unsigned long long)value,
               (unsigned long long)k->expiry_ms, (unsigned long long)time_ms);
        die("a value is read after its expiry");
    }
}

bool key_may_hold_at_end(const struct key_state *k, uint64_t value)
{
    bool expires = key_expires((uint32_t)(k - run.keys));
    bool is_fine = value == k->acked;
    if (value == 0 && expires)
        return has_open(k) || k->expiry_ms <= k->time_ms;
    for (size_t i = 0; i < OPEN_MAX; i++)
        is_fine = is_fine || (k->open[i] != 0 && k->open[i] == value);
    return is_fine && (!expires || value == 0 || value > k->gone);
}

void keys_wait_for_expiry(void)
{
    uint64_t last_ms = 0;
    key_times_note();
    for (uint32_t i = 0; i < KEYS; i++)
        last_ms = MAX(last_ms, run.keys[i].time_ms);
    last_ms += TTL_MAX_MS + 1;
    for (size_t i = 0; i < run.rig.count; i++) {
        uint64_t now_ms = env_wall_ms(sim_node_env(run.rig.nodes[i]));
        if (now_ms < last_ms)
            rig_run(&run.rig, (last_ms - now_ms) * RIG_MS);
    }
}

/* ---- clocks -------------------------------------------------------------------------------- */

void clock_skew_some(void)
{
    size_t i = below(run.rig.count);
    /* Only one is ever far off: a majority agrees on what time it is. */
    uint64_t most = i + 1 == run.rig.count && below(4) == 0 ? SKEW_FAR_MS : SKEW_MS;
    if (!run.has_skew)
        return;
    if (below(3) == 0)
        most = 100;
    int64_t skew_ms = (int64_t)below(2 * most + 1) - (int64_t)most;
    if (below(4) == 0)
        skew_ms = 0;
    sim_node_set_wall_skew(run.rig.nodes[i], (int64_t)run.leap_ms + skew_ms);
    ranges_met("a wall clock jumped");
}

void clock_heal(void)
{
    for (size_t i = 0; i < run.rig.count; i++)
        sim_node_set_wall_skew(run.rig.nodes[i], (int64_t)run.leap_ms);
}

void clock_leap(void)
{
    if (run.leap_us == 0 || sim_now_us(run.rig.sim) < run.leap_us)
        return;
    run.leap_us = 0;
    run.leap_ms = SESSION_KEEP_MS + LEAP_MORE_MS;
    clock_heal();
    sim_node_set_wall_skew(run.rig.outside, (int64_t)run.leap_ms);
    run.leapt_ms = env_wall_ms(sim_node_env(run.rig.outside));
    ranges_met("all wall clocks leapt");
}
