/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults of holdfast-ranges-sim that are aimed: the cluster is calm, an operator asks for one
 * thing, and the world stops at the very moment in the middle of it that is looked for. What
 * was met is counted (cover.h), so that a moment that is never met shows.
 */
#include <stdlib.h>

#include "consensus/consensus.h"
#include "ranges.h"
#include "store/absorb.h"
#include "store/pulse.h"
#include "store/store_internal.h"
#include "wire/keyspace.h"
#include "wire/pulse_msg.h"

enum {
    STEP_US = 200,
    SLOW_MS = 15000,
    ANSWER_MS = 4000,
    BLINK_MS = 300,
    AGAIN_MS = 50,
    SICK_US = 700 * 1000,
    SICK_STEPS = 100,
};

/* What a moment is about. */
struct aim {
    uint64_t range_id, right_id;
    uint64_t span_epoch; /* before */
    uint64_t replica_id; /* the one that goes, or whose successor comes */
    size_t store;        /* where */
    uint64_t resumed;    /* streams there, before */
};

typedef bool (*moment_cb)(const struct aim *aim);

static bool await(moment_cb is_now, const struct aim *aim, uint64_t ms)
{
    uint64_t end_us = sim_now_us(run.rig.sim) + ms * RIG_MS;
    while (!is_now(aim)) {
        if (sim_now_us(run.rig.sim) >= end_us)
            return false;
        rig_run(&run.rig, STEP_US);
    }
    return true;
}

static bool await_answer(const struct rig_answer *answer)
{
    for (int i = 0; answer != NULL && answer->count == 0 && i < ANSWER_MS; i++)
        rig_run(&run.rig, RIG_MS);
    return answer != NULL && answer->count == 1 && answer->status == 0;
}

static void reconnect(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        if (is_up(i))
            rig_reconnect(&run.rig, i);
    }
}

static struct slice some_key(uint8_t raw[16])
{
    return key_of((uint32_t)below(KEYS), raw);
}

/* All are there, and somebody leads the key: where; rig.count: not in time. */
static size_t calm(struct slice key, uint64_t *ret_range)
{
    size_t at = run.rig.count;
    sim_net_heal(run.rig.sim, NULL, NULL);
    weather_clear();
    ranges_start(true);
    for (int i = 0; i < 60 && at == run.rig.count; i++) {
        rig_run(&run.rig, (100 + below(100)) * RIG_MS);
        at = leader_at(key, ret_range);
    }
    reconnect();
    rig_run(&run.rig, 10 * RIG_MS);
    bool is_fine = at < run.rig.count && is_up(at) && run.rig.conns[at].conn != NULL &&
                   descriptor_on(at, *ret_range) != NULL;
    return is_fine ? at : run.rig.count;
}

static void cut_off(size_t i)
{
    for (size_t k = 0; k < run.rig.count; k++) {
        if (k != i)
            sim_net_partition(run.rig.sim, run.rig.nodes[i], run.rig.nodes[k], false);
    }
}

/* ---- moments ------------------------------------------------------------------------------ */

static uint32_t stores_behind(uint64_t range_id, uint64_t span_epoch, uint32_t *ret_all)
{
    uint32_t n = 0;
    *ret_all = 0;
    for (size_t i = 0; i < run.rig.count; i++) {
        const struct range_descriptor *d = is_up(i) ? descriptor_on(i, range_id) : NULL;
        *ret_all += d != NULL;
        n += d != NULL && d->epoch.span <= span_epoch;
    }
    return n;
}

/* Some have applied it, others have not. */
static bool is_applied_by_some(const struct aim *aim)
{
    uint32_t all;
    uint32_t behind = stores_behind(aim->range_id, aim->span_epoch, &all);
    return behind > 0 && behind < all;
}

static bool is_right_frozen(const struct aim *aim)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        struct range *right = is_up(i) ? store_range_of(run.rig.stores[i], aim->right_id) : NULL;
        if (right != NULL && range_meta(right)->merges.frozen.attempt != 0)
            return true;
    }
    return false;
}

static const struct replica *replica_on(const struct aim *aim, uint64_t replica_id)
{
    return is_up(aim->store) ? replicas_get(&run.rig.stores[aim->store]->replicas, replica_id)
                             : NULL;
}

static bool is_going(const struct aim *aim)
{
    const struct replica *r = replica_on(aim, aim->replica_id);
    return r != NULL && r->state == REPLICA_REMOVING;
}

static bool is_being_edited_out(const struct aim *aim)
{
    const struct replica *r = replica_on(aim, aim->replica_id);
    return r != NULL && r->state == REPLICA_REMOVING && replica_is_ended(r);
}

/* The successor is here, and knows nothing yet. */
static bool is_successor_blank(const struct aim *aim)
{
    const struct replica *r =
        is_up(aim->store) ? replicas_of_range(&run.rig.stores[aim->store]->replicas, aim->range_id)
                          : NULL;
    return r != NULL && r->replica_id > aim->replica_id && r->range == NULL;
}

static bool is_fed(const struct aim *aim)
{
    const struct replica *r =
        is_up(aim->store) ? replicas_of_range(&run.rig.stores[aim->store]->replicas, aim->range_id)
                          : NULL;
    return r != NULL && r->replica_id > aim->replica_id && r->in != NULL;
}

static bool is_installing(const struct aim *aim)
{
    const struct replica *r =
        is_up(aim->store) ? replicas_of_range(&run.rig.stores[aim->store]->replicas, aim->range_id)
                          : NULL;
    return r != NULL && r->replica_id > aim->replica_id && r->state == REPLICA_INSTALLING;
}

static bool is_led(const struct aim *aim)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        if (is_up(i) && leads(i, aim->range_id))
            return true;
    }
    return false;
}

static size_t place_of_leader(uint64_t range_id)
{
    size_t i = 0;
    while (i < run.rig.count && !(is_up(i) && leads(i, range_id)))
        i++;
    return i;
}

static bool is_led_by_another(const struct aim *aim)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        if (i != aim->store && is_up(i) && leads(i, aim->range_id))
            return true;
    }
    return false;
}

/* Who leads it now, but for that one; rig.count: nobody. */
static size_t place_of_another(const struct aim *aim, size_t but)
{
    size_t i = 0;
    while (i < run.rig.count && !(i != but && is_up(i) && leads(i, aim->range_id)))
        i++;
    return i;
}

/* A member that does not lead; NULL: there is none. */
static const struct range_replica *a_follower(const struct range_descriptor *d, size_t leader)
{
    uint32_t first = (uint32_t)below(d->replica_count);
    for (uint32_t n = 0; n < d->replica_count; n++) {
        const struct range_replica *r = &d->replicas[(first + n) % d->replica_count];
        if (place_of(r->store_id) < run.rig.count && place_of(r->store_id) != leader)
            return r;
    }
    return NULL;
}

/* ---- split, merge -------------------------------------------------------------------------- */

static void all_in_the_middle_of_a_split(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    struct slice key = some_key(raw);
    size_t at = calm(key, &aim.range_id);
    if (at == run.rig.count)
        return;
    aim.span_epoch = descriptor_on(at, aim.range_id)->epoch.span;
    operate_split(at, aim.range_id, key);
    if (!await(is_applied_by_some, &aim, ANSWER_MS))
        return;
    ranges_lose_power();
    ranges_met("power on all: split");
}

/* The right half of a split that was asked of `at` is led: its id; 0: not in time. */
static uint64_t await_right(const struct aim *aim, size_t at, struct slice key)
{
    uint64_t id = 0;
    if (!await_answer(operate_split(at, aim->range_id, key)))
        return 0;
    for (int i = 0; i < 40; i++) {
        if (leader_at(key, &id) < run.rig.count && id != aim->range_id)
            return id;
        rig_run(&run.rig, 100 * RIG_MS);
    }
    return 0;
}

/* Two neighbours with the same seats, of which the right one was just cut off: where the left
 * is led; rig.count: not now. */
static size_t cut(struct aim *aim, struct slice key)
{
    size_t at = calm(key, &aim->range_id);
    aim->right_id = at == run.rig.count ? 0 : await_right(aim, at, key);
    return aim->right_id == 0 ? run.rig.count : place_of_leader(aim->range_id);
}

static struct rig_answer *ask_merge(size_t at, struct aim *aim)
{
    const struct range_descriptor *left = descriptor_on(at, aim->range_id);
    aim->span_epoch = left->epoch.span;
    struct request request = {
        .kind = REQUEST_MERGE,
        .range_id = aim->range_id,
        .span_epoch = left->epoch.span,
        .merge = {.conf_epoch = left->epoch.conf, .right_range = aim->right_id},
    };
    reconnect();
    return rig_ask(&run.rig, at, &request);
}

static void all_in_the_middle_of_a_merge(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    size_t at = cut(&aim, some_key(raw));
    bool is_early = below(2) == 0;
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    ask_merge(at, &aim);
    if (!await(is_early ? is_right_frozen : is_applied_by_some, &aim, ANSWER_MS))
        return;
    ranges_lose_power();
    ranges_met(is_early ? "power on all: merge, frozen" : "power on all: merge, committed");
}

static bool owns(size_t at, uint64_t range_id, struct slice key)
{
    const struct range_descriptor *d = is_up(at) ? descriptor_on(at, range_id) : NULL;
    return d != NULL && range_span_contains(range_descriptor_span(d), key);
}

/* The right's leader, which has a lease, is cut off when the left owns its keys already. What
 * is written by then, it must not read over. */
static void read_at_the_frozen(const struct aim *aim, uint32_t number, size_t at, size_t old)
{
    uint8_t raw[16];
    struct slice key = key_of(number, raw);
    uint64_t end_us = sim_now_us(run.rig.sim) + 200 * RIG_MS;
    while (!owns(at, aim->range_id, key) && sim_now_us(run.rig.sim) < end_us)
        rig_run(&run.rig, STEP_US);
    if (!owns(at, aim->range_id, key) || !write_key(number, at))
        return;
    for (int i = 0; i < 40 && run.keys[number].answer->count == 0; i++)
        rig_run(&run.rig, 5 * RIG_MS);
    settle_key(&run.keys[number]);
    if (run.keys[number].pending != 0)
        return;
    ranges_met("merge: right's leader cut off");
    read_key(number, old, READ_BY_LEASE);
    read_key(number, old, READ_AT_LEADER);
    rig_run(&run.rig, 20 * RIG_MS);
    settle_reads();
}

static void the_right_is_cut_off(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    uint32_t number = (uint32_t)below(KEYS);
    struct slice key = key_of(number, raw);
    size_t at = cut(&aim, key);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    size_t right_at = place_of_leader(aim.right_id);
    if (right_at == at) {
        struct request away = {.kind = REQUEST_TRANSFER_LEADER, .range_id = aim.right_id};
        await_answer(rig_ask(&run.rig, at, &away));
        for (int i = 0; i < 20 && (right_at == at || right_at == run.rig.count); i++) {
            rig_run(&run.rig, 50 * RIG_MS);
            right_at = place_of_leader(aim.right_id);
        }
    }
    if (right_at >= run.rig.count || right_at == at || place_of_leader(aim.range_id) != at)
        return;
    reconnect();
    rig_run(&run.rig, 10 * RIG_MS);
    if (run.rig.conns[at].conn == NULL || run.rig.conns[right_at].conn == NULL)
        return;
    read_key(number, right_at, READ_BY_LEASE); /* so that it has one */
    rig_run(&run.rig, 20 * RIG_MS);
    ask_merge(at, &aim);
    if (!await(is_applied_by_some, &aim, ANSWER_MS))
        return;
    cut_off(right_at);
    if (store_range_of(run.rig.stores[right_at], aim.right_id) != NULL)
        read_at_the_frozen(&aim, number, at, right_at);
}

/* Written there, and acknowledged. */
static bool write_now(uint32_t number, size_t at)
{
    if (at == run.rig.count || !write_key(number, at))
        return false;
    const struct rig_answer *answer = run.keys[number].answer;
    bool is_done = await_answer(answer);
    settle_key(&run.keys[number]);
    return is_done;
}

/* The right is written, and the left rests; scans that are under way there go on when it has
 * taken in the right. */
static void a_merge_under_scans(void)
{
    uint8_t raw[16], stored[16];
    struct aim aim = {0};
    uint32_t number = 2 + (uint32_t)below(KEYS - 2);
    if (key_is_hashed(number))
        return;
    size_t at = cut(&aim, key_of(number, raw));
    if (at == run.rig.count)
        return;
    reconnect();
    rig_run(&run.rig, 10 * RIG_MS);
    for (uint32_t n = number - 2; n <= number; n++) {
        if (!write_now(n, place_of_leader(n == number ? aim.right_id : aim.range_id)))
            return;
    }
    ranges_scan_from(run.scan, number - 2);
    rig_run(&run.rig, 100 * RIG_MS);
    at = place_of_leader(aim.range_id);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL ||
        !ranges_scan_is_in(run.scan, key_stored(number, stored)))
        return;
    if (await_answer(ask_merge(at, &aim)))
        ranges_met("merge: under scans");
}

/* One that holds the right's log, and does not hear that the left has taken it in: what comes
 * is a snapshot of the left, over both. */
static void one_misses_a_merge(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    size_t at = cut(&aim, some_key(raw));
    const struct range_replica *r =
        at == run.rig.count ? NULL : a_follower(descriptor_on(at, aim.range_id), at);
    if (r == NULL || run.rig.conns[at].conn == NULL)
        return;
    aim.store = place_of(r->store_id);
    ask_merge(at, &aim);
    if (!await(is_applied_by_some, &aim, ANSWER_MS))
        return;
    cut_off(aim.store);
    rig_run(&run.rig, 2 * RIG_MS);
    if (!is_up(aim.store) || store_range_of(run.rig.stores[aim.store], aim.right_id) == NULL)
        return;
    ranges_crash(aim.store, below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL, 10000);
    for (int i = 0; i < 40; i++) {
        write_some();
        reconnect();
        for (size_t k = 0; i % 8 == 0 && k < run.rig.count; k++) {
            if (is_up(k) && run.rig.conns[k].conn != NULL)
                rig_simple(&run.rig, k, REQUEST_FLUSH);
        }
        rig_run(&run.rig, 20 * RIG_MS);
    }
    sim_net_heal(run.rig.sim, NULL, NULL);
    run.restart_us[aim.store] = 0;
    ranges_start(false);
    if (await(is_installing, &aim, ANSWER_MS))
        ranges_met("missed merge: snapshot over both");
}

/* ---- members ------------------------------------------------------------------------------ */

/* Asked until it is not refused because another change goes on. */
static bool change(uint64_t range_id, enum member_change action, uint64_t replica_id, size_t store,
                   const uint8_t uuid[STORE_UUID_LEN])
{
    for (int i = 0; i < 10; i++) {
        size_t at = place_of_leader(range_id);
        reconnect();
        if (at < run.rig.count && run.rig.conns[at].conn != NULL &&
            await_answer(operate_member(at, range_id, action, replica_id, store, uuid)))
            return true;
        rig_run(&run.rig, 200 * RIG_MS);
    }
    return false;
}

static const struct {
    const char *name;
    moment_cb is_now;
    bool is_of_next; /* after it was added again */
} member_moments[] = {
    {"power on all: removal", is_going, false},
    {"power on all: removal, edit", is_being_edited_out, false},
    {"power on all: re-adding", is_going, true},
    {"power on all: re-adding, blank", is_successor_blank, true},
    {"power on all: install, streaming", is_fed, true},
    {"power on all: install", is_installing, true},
};

static void all_in_the_middle_of_a_change(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    size_t k = below(ARRAY_LEN(member_moments));
    size_t at = calm(some_key(raw), &aim.range_id);
    const struct range_replica *r =
        at == run.rig.count ? NULL : a_follower(descriptor_on(at, aim.range_id), at);
    if (r == NULL)
        return;
    aim.replica_id = r->replica_id;
    aim.store = place_of(r->store_id);
    uint8_t uuid[STORE_UUID_LEN];
    memcpy(uuid, store_identity(run.rig.stores[aim.store])->uuid, sizeof uuid);
    if (!change(aim.range_id, MEMBER_REMOVE, aim.replica_id, 0, NULL))
        return;
    if (member_moments[k].is_of_next) {
        at = place_of_leader(aim.range_id);
        if (at == run.rig.count || run.rig.conns[at].conn == NULL)
            return;
        operate_member(at, aim.range_id, MEMBER_ADD_LEARNER, 0, aim.store, uuid);
    }
    if (!await(member_moments[k].is_now, &aim, SLOW_MS))
        return;
    ranges_lose_power();
    ranges_met(member_moments[k].name);
}

/* The range is split while a member is fed what it was before: of the right half it may hear
 * before the left half is there to be split. */
static void a_split_while_one_is_fed(void)
{
    uint8_t raw[16], uuid[STORE_UUID_LEN];
    struct aim aim = {0};
    struct slice key = some_key(raw);
    size_t at = calm(key, &aim.range_id);
    const struct range_replica *r =
        at == run.rig.count ? NULL : a_follower(descriptor_on(at, aim.range_id), at);
    if (r == NULL)
        return;
    aim.replica_id = r->replica_id;
    aim.store = place_of(r->store_id);
    memcpy(uuid, store_identity(run.rig.stores[aim.store])->uuid, sizeof uuid);
    if (!change(aim.range_id, MEMBER_REMOVE, aim.replica_id, 0, NULL) ||
        !change(aim.range_id, MEMBER_ADD_LEARNER, 0, aim.store, uuid) ||
        !await(is_fed, &aim, SLOW_MS))
        return;
    if (await_right(&aim, place_of_leader(aim.range_id), key) != 0)
        ranges_met("split: a member is fed");
}

/* Removed from the range and added again, under a new id. */
static bool move_back(uint64_t range_id, size_t store, const uint8_t uuid[STORE_UUID_LEN])
{
    size_t at = place_of_leader(range_id);
    for (int i = 0; i < 60 && at == run.rig.count; i++) {
        rig_run(&run.rig, 100 * RIG_MS);
        at = place_of_leader(range_id);
    }
    const struct range_descriptor *d = at == run.rig.count ? NULL : descriptor_on(at, range_id);
    for (uint32_t i = 0; d != NULL && i < d->replica_count; i++) {
        if (d->replicas[i].store_id == store + 1)
            return change(range_id, MEMBER_REMOVE, d->replicas[i].replica_id, 0, NULL) &&
                   change(range_id, MEMBER_ADD_LEARNER, 0, store, uuid);
    }
    return false;
}

/* A store misses that its range was split, left it, and came back to it. */
static void one_misses_it_all(void)
{
    uint8_t raw[16], uuid[STORE_UUID_LEN];
    struct slice key = some_key(raw);
    struct aim aim = {0};
    size_t at = calm(key, &aim.range_id);
    const struct range_replica *r =
        at == run.rig.count ? NULL : a_follower(descriptor_on(at, aim.range_id), at);
    if (r == NULL || descriptor_on(at, aim.range_id)->replica_count < 3)
        return;
    aim.store = place_of(r->store_id);
    aim.span_epoch = descriptor_on(at, aim.range_id)->epoch.span;
    memcpy(uuid, store_identity(run.rig.stores[aim.store])->uuid, sizeof uuid);
    bool is_down = below(2) == 0;
    if (is_down)
        ranges_crash(aim.store, below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL, 60000);
    else
        cut_off(aim.store);
    aim.right_id = await_right(&aim, at, key);
    if (aim.right_id != 0 && move_back(aim.right_id, aim.store, uuid) &&
        move_back(aim.range_id, aim.store, uuid))
        ranges_met(is_down ? "missed split, away, back: down"
                           : "missed split, away, back: cut off");
    if (!is_down && below(3) == 0)
        ranges_crash(aim.store, SIM_CRASH_POWER, 20 + below(1000));
    run.restart_us[aim.store] = sim_now_us(run.rig.sim) + below(1000) * RIG_MS;
    sim_net_heal(run.rig.sim, NULL, NULL);
    if (below(3) == 0 && await(is_fed, &aim, 3000))
        ranges_lose_power();
}

static bool is_away(const struct aim *aim)
{
    return is_up(aim->store) && replica_on(aim, aim->replica_id) == NULL;
}

/* Who led is cut off when a member is removed, and then reaches that one alone: it has no word
 * that it is none any more. */
static void the_deposed_speaks_to_the_removed(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    size_t old = calm(some_key(raw), &aim.range_id);
    const struct range_replica *r =
        old == run.rig.count ? NULL : a_follower(descriptor_on(old, aim.range_id), old);
    if (r == NULL || voters_in(descriptor_on(old, aim.range_id)) < 3 ||
        descriptor_on(old, aim.range_id)->replica_count < 4)
        return;
    aim.replica_id = r->replica_id;
    aim.store = old;
    cut_off(old);
    if (!await(is_led_by_another, &aim, ANSWER_MS))
        return;
    aim.store = place_of(r->store_id);
    size_t at = place_of_another(&aim, old);
    for (int i = 0; i < 10 && at < run.rig.count; i++) {
        reconnect();
        if (await_answer(operate_member(at, aim.range_id, MEMBER_REMOVE, aim.replica_id, 0, NULL)))
            break;
        rig_run(&run.rig, 300 * RIG_MS);
        at = place_of_another(&aim, old);
    }
    if (!await(is_away, &aim, 2 * SLOW_MS))
        return;
    for (int i = 0; i < 30; i++) {
        rig_run(&run.rig, 100 * RIG_MS);
        check_now();
    }
    sim_net_heal(run.rig.sim, run.rig.nodes[old], run.rig.nodes[aim.store]);
    ranges_met("removed: an old leader comes by");
    for (int i = 0; i < 60; i++) {
        rig_run(&run.rig, 50 * RIG_MS);
        check_now();
    }
}

enum {
    FILLERS = 3,
    FILLER_LEN = 100000,
    FILLER_KEYSPACE = KEYSPACE_NAMED_FIRST + 1,
    STREAM_US = 8000
};

/* Data that nobody looks at, for a stream of several chunks. */
static bool fill_up(size_t at)
{
    char name[] = "filler0";
    uint8_t *value = calloc(1, FILLER_LEN);
    bool is_filled = value != NULL;
    for (int i = 0; i < FILLERS && is_filled; i++, name[6]++) {
        struct op op = {
            .kind = OP_PUT, .key = slice_str(name), .value = slice_of(value, FILLER_LEN)};
        rng_fill(&run.rng, value, FILLER_LEN);
        is_filled = await_answer(rig_write(&run.rig, at, FILLER_KEYSPACE, &op, ANSWER_MS));
    }
    free(value);
    return is_filled;
}

static bool is_resumed(const struct aim *aim)
{
    return is_up(aim->store) && run.rig.stores[aim->store]->snapshots_resumed > aim->resumed;
}

/* The connection of a stream is lost in its middle: it goes on where it was. */
static void a_stream_is_cut(void)
{
    uint8_t raw[RANGE_KEY_MAX], uuid[STORE_UUID_LEN];
    struct aim aim = {0};
    size_t len = range_user_key(FILLER_KEYSPACE, slice_str("filler0"), raw);
    size_t at = calm(slice_of(raw, len), &aim.range_id);
    const struct range_replica *r =
        at == run.rig.count ? NULL : a_follower(descriptor_on(at, aim.range_id), at);
    if (r == NULL)
        return;
    aim.replica_id = r->replica_id;
    aim.store = place_of(r->store_id);
    memcpy(uuid, store_identity(run.rig.stores[aim.store])->uuid, sizeof uuid);
    if (!fill_up(at) || !change(aim.range_id, MEMBER_REMOVE, aim.replica_id, 0, NULL) ||
        !change(aim.range_id, MEMBER_ADD_LEARNER, 0, aim.store, uuid) ||
        !await(is_fed, &aim, SLOW_MS))
        return;
    aim.resumed = run.rig.stores[aim.store]->snapshots_resumed;
    rig_run(&run.rig, below(STREAM_US));
    sim_net_reset(run.rig.sim, run.rig.nodes[aim.store], NULL);
    if (await(is_resumed, &aim, ANSWER_MS))
        ranges_met("snapshot: cut, goes on");
}

/* The disk of who leads takes far longer than it did, in the middle of something or not: who has
 * a better one leads. */
static void the_disk_of_a_leader_is_sick(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    uint32_t number = (uint32_t)below(KEYS);
    struct slice key = key_of(number, raw);
    size_t at = calm(key, &aim.range_id);
    if (at == run.rig.count || voters_in(descriptor_on(at, aim.range_id)) < 3)
        return;
    aim.store = at;
    const struct range_replica *r = a_follower(descriptor_on(at, aim.range_id), at);
    struct sim_disk_options was = sim_get_options(run.rig.sim)->disk, sick = was;
    sick.slow_sync_ppm = 1000000;
    sick.slow_sync_us = SICK_US;
    sim_disk_set_options(sim_node_disk(run.rig.nodes[at]), &sick);
    uint64_t what = below(3);
    if (what == 0)
        operate_split(at, aim.range_id, key);
    else if (what == 1 && r != NULL)
        operate_member(at, aim.range_id, MEMBER_REMOVE, r->replica_id, 0, NULL);
    for (int i = 0; i < SICK_STEPS && is_up(at) && !is_led_by_another(&aim); i++) {
        write_key(number, at);
        rig_run(&run.rig, 50 * RIG_MS);
        check_now();
    }
    if (is_up(at) && run.rig.stores[at]->pace_handed_ms != 0)
        ranges_met("a sick disk: handed over");
    sim_disk_set_options(sim_node_disk(run.rig.nodes[at]), &was);
}

/* ---- asleep ---------------------------------------------------------------------------------- */

static bool sleeps_at(size_t i, uint64_t range_id)
{
    const struct replica *r =
        is_up(i) ? replicas_of_range(&run.rig.stores[i]->replicas, range_id) : NULL;
    return r != NULL && r->nap.is_asleep;
}

static bool do_all_sleep(const struct aim *aim)
{
    bool all = true;
    for (size_t i = 0; i < run.rig.count; i++)
        all = all && (descriptor_on(i, aim->range_id) == NULL || sleeps_at(i, aim->range_id));
    return all;
}

static bool has_three_voters(size_t at, uint64_t range_id)
{
    const struct range_descriptor *d = descriptor_on(at, range_id);
    return d != NULL && d->replica_count >= 3 && voters_in(d) >= 3;
}

/* A range of at least three voters that sleeps with all of its members; where it is led. A change
 * of members that was proposed before may have been under way while they fell asleep. */
static size_t lull_to_sleep(struct slice key, struct aim *aim)
{
    size_t at = calm(key, &aim->range_id);
    if (at == run.rig.count || !has_three_voters(at, aim->range_id) ||
        !await(do_all_sleep, aim, 6000))
        return run.rig.count;
    at = place_of_leader(aim->range_id);
    return at < run.rig.count && has_three_voters(at, aim->range_id) ? at : run.rig.count;
}

/* Its leader's store goes for long: the others must notice by themselves. */
static void the_leader_of_sleepers_goes(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    size_t at = lull_to_sleep(some_key(raw), &aim);
    if (at == run.rig.count)
        return;
    ranges_crash(at, below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL, 2 * SLOW_MS);
    if (!await(is_led, &aim, SLOW_MS))
        die("a range sleeps on, though its leader has died");
    ranges_met("asleep: leader died");
    run.restart_us[at] = sim_now_us(run.rig.sim) + below(1000) * RIG_MS;
}

static bool does_leader_sleep(const struct aim *aim)
{
    return sleeps_at(aim->store, aim->range_id);
}

static bool is_leader_awake(const struct aim *aim)
{
    return is_up(aim->store) && !does_leader_sleep(aim);
}

/* The last word of a replica that was damaged, and is whole again or gone: its leader wakes, looks
 * at everybody, and all sleep as before. */
static void a_sleeper_is_in_trouble(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    struct cons_status was = {0}, is = {0};
    aim.store = lull_to_sleep(some_key(raw), &aim);
    if (aim.store == run.rig.count || !does_leader_sleep(&aim))
        return;
    size_t other = (aim.store + 1 + below(run.rig.count - 1)) % run.rig.count;
    if (!is_up(other) || store_range_of(run.rig.stores[other], aim.range_id) == NULL)
        return;
    store_cons_status(run.rig.stores[aim.store], aim.range_id, &was);
    struct pulse_item word = {
        .kind = PULSE_WAKE,
        .group = aim.range_id,
        .from_replica = range_replica_id(store_range_of(run.rig.stores[other], aim.range_id)),
        .to_replica = was.replica_id,
        .term = was.term,
    };
    pulse_send_item(run.rig.stores[other], aim.store + 1, &word);
    if (!await(is_leader_awake, &aim, 200))
        return; /* lost on its way */
    ranges_met("asleep: a member in trouble");
    if (below(2) == 0 || !await(do_all_sleep, &aim, 6000))
        return; /* the next thing meets them awake */
    if (store_cons_status(run.rig.stores[aim.store], aim.range_id, &is) && is.term < was.term)
        die("a range fell asleep in an earlier term than before");
}

/* The leader reads by its lease while all sleep, as late as it can before it is cut off: those
 * who sleep have promised nothing. */
static void the_leader_of_sleepers_is_cut_off(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    uint32_t number = (uint32_t)below(KEYS);
    struct slice key = key_of(number, raw);
    size_t at = lull_to_sleep(key, &aim);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    aim.store = at;
    uint64_t pulse_us = (uint64_t)pulse_ms(run.rig.stores[at]) * 1000;
    const struct neighbour *n = pulse_of(run.rig.stores[at], (at + 1) % run.rig.count + 1);
    for (uint64_t i = 0; n != NULL && sim_now_us(run.rig.sim) < n->sent_us + pulse_us * 7 / 8 &&
                         i < pulse_us / STEP_US;
         i++)
        rig_run(&run.rig, STEP_US);
    read_key(number, at, READ_BY_LEASE);
    rig_run(&run.rig, 2 * RIG_MS);
    cut_off(at);
    if (!await(is_led_by_another, &aim, 4000))
        return;
    size_t now = place_of_another(&aim, at);
    if (now == run.rig.count || !write_key(number, now))
        return;
    for (int i = 0; i < 100 && run.keys[number].answer->count == 0; i++)
        rig_run(&run.rig, RIG_MS);
    settle_key(&run.keys[number]);
    if (run.keys[number].pending != 0)
        return;
    ranges_met("asleep: leader cut off");
    read_key(number, at, READ_BY_LEASE);
    rig_run(&run.rig, 20 * RIG_MS);
    settle_reads();
}

/* Written, by whoever leads the range by then, while those start whose time has come. */
static bool is_written_within(const struct aim *aim, uint32_t number, uint64_t ms)
{
    uint64_t end_us = sim_now_us(run.rig.sim) + ms * RIG_MS;
    bool is_done = false;
    while (!is_done && sim_now_us(run.rig.sim) < end_us) {
        ranges_start(false);
        reconnect();
        rig_run(&run.rig, AGAIN_MS * RIG_MS);
        check_now();
        is_done = write_now(number, place_of_leader(aim->range_id));
    }
    return is_done;
}

/* All but the leader of a range that sleeps die, and it is told to remove one of them before it
 * has missed anybody. It must not: with that one back nobody could commit. */
static void the_members_of_a_sleeping_leader_die(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    uint32_t number = (uint32_t)below(KEYS);
    size_t at = lull_to_sleep(key_of(number, raw), &aim), back = run.rig.count;
    const struct range_descriptor *d = at == run.rig.count ? NULL : descriptor_on(at, aim.range_id);
    if (d == NULL || d->replica_count != 3 || run.rig.conns[at].conn == NULL)
        return;
    struct range_descriptor was = *d;
    for (uint32_t i = 0; i < was.replica_count; i++) {
        size_t place = place_of(was.replicas[i].store_id);
        if (place == at || place == run.rig.count)
            continue;
        back = place;
        aim.replica_id = was.replicas[i].replica_id;
        ranges_crash(place, below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL, 4 * SLOW_MS);
    }
    for (int i = 0; i < 4; i++) {
        operate_member(at, aim.range_id, MEMBER_REMOVE, aim.replica_id, 0, NULL);
        rig_run(&run.rig, below(2 * AGAIN_MS) * RIG_MS);
    }
    ranges_met("asleep: members died, one to be removed");
    run.restart_us[back] = sim_now_us(run.rig.sim) + below(2000) * RIG_MS;
    if (!is_written_within(&aim, number, 2 * SLOW_MS) && !run.has_full_logs)
        die("a majority is there, and cannot write");
    for (size_t i = 0; i < run.rig.count; i++)
        run.restart_us[i] = MIN(run.restart_us[i], sim_now_us(run.rig.sim) + below(1000) * RIG_MS);
}

static bool is_removed(const struct aim *aim)
{
    const struct range_descriptor *d =
        is_up(aim->store) ? descriptor_on(aim->store, aim->range_id) : NULL;
    return d != NULL && range_descriptor_find(d, aim->replica_id) == NULL;
}

/* One sleeps on while it is removed: its leader's word is lost with a connection, and for too
 * short a time to be a silence. Nobody tells it again: it must ask. */
static void a_sleeper_is_removed_unheard(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    size_t at = lull_to_sleep(some_key(raw), &aim);
    const struct range_replica *r =
        at == run.rig.count ? NULL : a_follower(descriptor_on(at, aim.range_id), at);
    if (r == NULL || run.rig.conns[at].conn == NULL)
        return;
    size_t away = place_of(r->store_id);
    aim.replica_id = r->replica_id;
    aim.store = at;
    cut_off(away);
    bool is_done = false;
    for (int i = 0; i < BLINK_MS / AGAIN_MS && !is_done; i++) { /* first it must hear of another */
        operate_member(at, aim.range_id, MEMBER_REMOVE, aim.replica_id, 0, NULL);
        is_done = await(is_removed, &aim, AGAIN_MS);
    }
    sim_net_reset(run.rig.sim, run.rig.nodes[away], NULL);
    sim_net_heal(run.rig.sim, NULL, NULL);
    rig_run(&run.rig, 1000 * RIG_MS);
    aim.store = away;
    if (!is_done || !sleeps_at(away, aim.range_id) || is_away(&aim))
        return;
    ranges_met("asleep: removed unheard");
    if (!await(is_away, &aim, 2 * SLOW_MS))
        die("one that was removed sleeps on");
}

/* The clock of its leader's store is off by more than stores bear: it must wake and hand over,
 * though nobody asks for anything. */
static void the_clock_of_a_leader_of_sleepers_jumps(void)
{
    uint8_t raw[16];
    struct aim aim = {0};
    clock_heal();
    size_t at = lull_to_sleep(some_key(raw), &aim);
    if (at == run.rig.count)
        return;
    aim.store = at;
    sim_node_set_wall_skew(run.rig.nodes[at], below(2) == 0 ? 20000 : -20000);
    if (await(is_led_by_another, &aim, SLOW_MS))
        ranges_met("asleep: leader's clock off");
    sim_node_set_wall_skew(run.rig.nodes[at], 0);
}

/* ---- all of them -------------------------------------------------------------------------------
 */

void ranges_aim(void)
{
    static void (*const scenes[])(void) = {
        all_in_the_middle_of_a_split,
        all_in_the_middle_of_a_merge,
        all_in_the_middle_of_a_change,
        all_in_the_middle_of_a_change,
        one_misses_it_all,
        a_merge_under_scans,
        the_right_is_cut_off,
        one_misses_a_merge,
        the_deposed_speaks_to_the_removed,
        a_split_while_one_is_fed,
        a_stream_is_cut,
        the_disk_of_a_leader_is_sick,
    };
    static void (*const asleep[])(void) = {
        the_leader_of_sleepers_goes, a_sleeper_is_in_trouble, the_leader_of_sleepers_is_cut_off,
        a_sleeper_is_removed_unheard, the_clock_of_a_leader_of_sleepers_jumps};
    bool is_asleep = run.is_sleepy && below(2) == 0;
    size_t k = is_asleep ? below(ARRAY_LEN(asleep)) : 0;
    if (is_asleep && k < 2 && run.has_later)
        the_members_of_a_sleeping_leader_die();
    else if (is_asleep)
        asleep[k]();
    else
        scenes[below(ARRAY_LEN(scenes))]();
    ranges_start(false);
    reconnect();
}

void ranges_aim_expect(struct cover *cover)
{
    static const char *const names[] = {
        "power on all: split",
        "power on all: merge, frozen",
        "power on all: merge, committed",
        "merge: right's leader cut off",
        "merge: under scans",
        "missed split, away, back: down",
        "missed split, away, back: cut off",
        "missed merge: snapshot over both",
        "removed: an old leader comes by",
        "split: a member is fed",
        "snapshot: cut, goes on",
        "a sick disk: handed over",
        "asleep: leader died",
        "asleep: leader cut off",
        "asleep: a member in trouble",
        "asleep: leader's clock off",
        "asleep: removed unheard",
        "asleep: members died, one to be removed",
        "sleep: woken by silence",
        "sleep: woken by a boot number",
        "sleep: woken by doubt",
        "sleep: woken after a start",
        "sleep: answered asleep",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        cover_expect(cover, names[i]);
    for (size_t i = 0; i < ARRAY_LEN(member_moments); i++)
        cover_expect(cover, member_moments[i].name);
}
