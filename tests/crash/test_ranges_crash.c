/* SPDX-License-Identifier: Apache-2.0
 *
 * The crash enumerator over what happens to ranges on one store: three stores, of which one
 * is watched while ranges are split, merged, taken from it and brought back by a snapshot. At
 * every mutating call of its disk several disks that a crash might leave are opened in a world
 * of their own:
 *  - the store opens, alone, and none of its replicas is damaged;
 *  - spans do not overlap, and no data lies outside of them: none of a range that has left;
 *  - a replica at an index has the history, and the state, that the range had at that index;
 *  - who was removed stays removed: its tombstone is there.
 * HOLDFAST_SEED, HOLDFAST_SEEDS choose the runs. */
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/rng.h"
#include "consensus/consensus.h"
#include "range/range.h"
#include "store/absorb.h"
#include "store/store_internal.h"
#include "support/check.h"
#include "support/crash_points.h"
#include "unit/store/store_rig.h"

enum {
    STORES = 3,
    KEYS = 12,
    STEP_US = 200,
    WAIT_MS = 20000,
    OPEN_MS = 2000, /* an image is given so long to start */
    INDEX_BITS = 32,
};

/* What was met: a scene that never happens is not enumerated. */
struct tally {
    uint64_t images, replicas, known_states, known_histories, unknown;
    uint64_t splits, merges, removals, returns;
    uint64_t buried; /* tombstones that held, in images */
};

struct run {
    struct rig rig;
    struct rng rng;
    struct crash_points points;
    struct map histories, states; /* by range and index */
    struct map gone;              /* range, by replica id: has left the watched store */
    struct map here;              /* the same of those that are there */
    size_t watched;
    uint64_t seed, next_id, next_value;
    const struct crash_point *point;
    struct tally *tally;
};

static uint64_t place_in_log(uint64_t range_id, uint64_t index)
{
    assert_true(index >> INDEX_BITS == 0);
    return range_id << INDEX_BITS | index;
}

static uint64_t known(const struct map *map, uint64_t key)
{
    return (uint64_t)(uintptr_t)map_get(map, key);
}

static void note(struct map *map, uint64_t key, uint64_t value)
{
    assert_int_equal(map_put(map, key, (void *)(uintptr_t)value), 0);
}

/* ---- the world that is watched ------------------------------------------------------------ */

static void note_histories(struct run *run)
{
    for (size_t i = 0; i < STORES; i++) {
        uint32_t cursor = 0;
        const struct replica *r;
        while (run->rig.stores[i] != NULL &&
               (r = replicas_each(&run->rig.stores[i]->replicas, &cursor)) != NULL) {
            if (r->range == NULL)
                continue;
            const struct range_meta *meta = range_meta(r->range);
            note(&run->histories, place_in_log(r->range_id, meta->applied_index),
                 meta->history_hash | 1);
        }
    }
}

static void note_states(struct run *run)
{
    for (size_t i = 0; i < STORES; i++) {
        uint32_t cursor = 0;
        const struct replica *r;
        while ((r = replicas_each(&run->rig.stores[i]->replicas, &cursor)) != NULL) {
            uint64_t hash;
            if (r->range == NULL || r->state != REPLICA_RUNNING)
                continue;
            uint64_t at = place_in_log(r->range_id, range_meta(r->range)->applied_index);
            if (known(&run->states, at) != 0)
                continue;
            assert_int_equal(range_hash(r->range, &hash, NULL), 0);
            note(&run->states, at, hash | 1);
        }
    }
}

/* Who has left the watched store since. */
static void note_gone(struct run *run)
{
    struct store *store = run->rig.stores[run->watched];
    uint32_t cursor = 0;
    uint64_t id;
    void *range_id;
    const struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL)
        note(&run->here, r->replica_id, r->range_id);
    cursor = 0;
    while ((range_id = map_next(&run->here, &cursor, &id)) != NULL) {
        if (replicas_get(&store->replicas, id) == NULL && !absorb_is_ending(store, id))
            note(&run->gone, id, (uint64_t)(uintptr_t)range_id);
    }
}

static void step(struct run *run)
{
    rig_run(&run->rig, STEP_US);
    note_histories(run);
    note_states(run);
    note_gone(run);
}

static void steps(struct run *run, uint64_t ms)
{
    for (uint64_t us = 0; us < ms * RIG_MS; us += STEP_US)
        step(run);
}

static size_t leader_of(const struct run *run, uint64_t range_id)
{
    for (size_t i = 0; i < STORES; i++) {
        struct cons_status s;
        if (!store_cons_status(run->rig.stores[i], range_id, &s))
            continue;
        if (s.state == CONS_LEADER && s.is_ready)
            return i;
    }
    return STORES;
}

static size_t await_leader(struct run *run, uint64_t range_id)
{
    for (uint64_t us = 0; leader_of(run, range_id) == STORES && us < WAIT_MS * RIG_MS;
         us += STEP_US)
        step(run);
    assert_true(leader_of(run, range_id) < STORES);
    return leader_of(run, range_id);
}

static const struct range_descriptor *descriptor_of(struct run *run, uint64_t range_id)
{
    size_t at = await_leader(run, range_id);
    return range_descriptor(store_range_of(run->rig.stores[at], range_id));
}

/* Ask whoever leads until it is done. Requests are built anew each time: epochs move. */
typedef void (*fill_cb)(struct run *run, const struct range_descriptor *d, uint64_t arg,
                        struct request *request);

static void ask(struct run *run, uint64_t range_id, fill_cb fill, uint64_t arg)
{
    const struct rig_answer *answer = NULL;
    for (int tries = 0; tries < 50; tries++) {
        struct request request = {.range_id = range_id};
        size_t at = await_leader(run, range_id);
        rig_reconnect(&run->rig, at);
        fill(run, descriptor_of(run, range_id), arg, &request);
        answer = rig_ask(&run->rig, at, &request);
        for (int ms = 0; answer->count == 0 && ms < 8000; ms++)
            steps(run, 1);
        if (answer->count == 1 && answer->status == 0)
            return;
        steps(run, 100);
    }
    fail_msg("seed %llu: status %d: %s", (unsigned long long)run->seed, answer->status,
             answer->text);
}

static void write_some(struct run *run)
{
    for (int i = 0; i < 4; i++) {
        char name[8], value[24];
        uint64_t range_id = 0;
        snprintf(name, sizeof name, "k%02u", (unsigned)rng_below(&run->rng, KEYS));
        snprintf(value, sizeof value, "%llu", (unsigned long long)++run->next_value);
        uint8_t raw[16];
        struct slice key = slice_of(raw, range_user_key(0, slice_str(name), raw));
        for (uint32_t k = 0; (range_id = store_range_at(run->rig.stores[0], k)) != 0; k++) {
            struct range *range = store_range_of(run->rig.stores[0], range_id);
            if (range_span_contains(range_descriptor_span(range_descriptor(range)), key))
                break;
        }
        size_t at = range_id == 0 ? STORES : leader_of(run, range_id);
        if (at < STORES && run->rig.conns[at].conn != NULL)
            rig_put(&run->rig, at, name, value, 1000);
    }
    steps(run, 30);
}

/* ---- operators -------------------------------------------------------------------------- */

static void fill_split(struct run *run, const struct range_descriptor *d, uint64_t arg,
                       struct request *request)
{
    static uint8_t raw[16];
    char name[8];
    snprintf(name, sizeof name, "k%02u", (unsigned)(arg % KEYS));
    *request = (struct request){
        .kind = REQUEST_SPLIT,
        .range_id = d->range_id,
        .span_epoch = d->epoch.span,
        .split = {.key = slice_of(raw, range_user_key(0, slice_str(name), raw)),
                  .conf_epoch = d->epoch.conf,
                  .new_range_id = arg >> 16,
                  .child_count = d->replica_count},
    };
    for (uint32_t i = 0; i < d->replica_count; i++)
        request->split.children[i] = (struct request_child){.store_id = d->replicas[i].store_id,
                                                            .replica_id = ++run->next_id};
}

static void fill_merge(struct run *run, const struct range_descriptor *d, uint64_t arg,
                       struct request *request)
{
    (void)run;
    *request = (struct request){
        .kind = REQUEST_MERGE,
        .range_id = d->range_id,
        .span_epoch = d->epoch.span,
        .merge = {.conf_epoch = d->epoch.conf, .right_range = arg},
    };
}

static void fill_remove(struct run *run, const struct range_descriptor *d, uint64_t arg,
                        struct request *request)
{
    (void)run;
    (void)d;
    request->kind = REQUEST_CHANGE_MEMBER;
    request->change_member.action = MEMBER_REMOVE;
    request->change_member.replica_id = arg;
}

static void fill_add(struct run *run, const struct range_descriptor *d, uint64_t arg,
                     struct request *request)
{
    static const char *const addresses[] = {"a:7000", "b:7000", "c:7000"};
    (void)d;
    request->kind = REQUEST_CHANGE_MEMBER;
    request->change_member.action = MEMBER_ADD_LEARNER;
    struct member *m = &request->change_member.member;
    *m = (struct member){.replica_id = arg,
                         .store_id = run->watched + 1,
                         .role = MEMBER_LEARNER,
                         .address = slice_str(addresses[run->watched])};
    memcpy(m->store_uuid, store_identity(run->rig.stores[run->watched])->uuid,
           sizeof m->store_uuid);
}

static void fill_promote(struct run *run, const struct range_descriptor *d, uint64_t arg,
                         struct request *request)
{
    (void)run;
    (void)d;
    request->kind = REQUEST_CHANGE_MEMBER;
    request->change_member.action = MEMBER_PROMOTE;
    request->change_member.replica_id = arg;
}

static void fill_transfer(struct run *run, const struct range_descriptor *d, uint64_t arg,
                          struct request *request)
{
    (void)run;
    (void)d;
    (void)arg;
    request->kind = REQUEST_TRANSFER_LEADER;
}

/* Until nothing of it is on the watched store, or it stands there. */
static void await_replica(struct run *run, uint64_t range_id, bool is_there)
{
    for (uint64_t us = 0; us < WAIT_MS * RIG_MS; us += STEP_US) {
        const struct replica *r =
            replicas_of_range(&run->rig.stores[run->watched]->replicas, range_id);
        if (is_there ? r != NULL && r->state == REPLICA_RUNNING : r == NULL)
            return;
        step(run);
    }
    fail_msg("seed %llu: range %llu does not %s store %zu", (unsigned long long)run->seed,
             (unsigned long long)range_id, is_there ? "come to" : "leave", run->watched + 1);
}

static uint64_t replica_on_watched(struct run *run, uint64_t range_id)
{
    const struct range_descriptor *d = descriptor_of(run, range_id);
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (d->replicas[i].store_id == run->watched + 1)
            return d->replicas[i].replica_id;
    }
    return 0;
}

/* Away from the watched store, and back to it as another replica. */
static void away_and_back(struct run *run, uint64_t range_id)
{
    while (await_leader(run, range_id) == run->watched)
        ask(run, range_id, fill_transfer, 0);
    ask(run, range_id, fill_remove, replica_on_watched(run, range_id));
    if (rng_below(&run->rng, 2) == 0) /* else the next one comes while it goes */
        await_replica(run, range_id, false);
    run->tally->removals++;
    write_some(run);
    uint64_t id = ++run->next_id;
    ask(run, range_id, fill_add, id);
    for (uint64_t us = 0; us < WAIT_MS * RIG_MS; us += STEP_US) {
        const struct replica *r = replicas_get(&run->rig.stores[run->watched]->replicas, id);
        if (r != NULL && r->state == REPLICA_RUNNING)
            break;
        step(run);
    }
    await_replica(run, range_id, true);
    ask(run, range_id, fill_promote, id);
    run->tally->returns++;
}

/* ---- the worlds that a crash leaves -------------------------------------------------------- */

static void image_fail(const struct run *run, const char *why)
{
    fail_msg("seed %llu call %llu (%s %s%s): %s", (unsigned long long)run->seed,
             (unsigned long long)run->point->number, run->point->op, run->point->path,
             run->point->is_kill ? ", kill" : "", why);
}

static void check_replica(struct run *run, const struct replica *r)
{
    char why[160];
    if (r->range == NULL)
        return;
    uint64_t hash;
    uint64_t index = range_meta(r->range)->applied_index;
    uint64_t at = place_in_log(r->range_id, index);
    uint64_t history = known(&run->histories, at), state = known(&run->states, at);
    snprintf(why, sizeof why, "range %llu at index %llu: another history, or state",
             (unsigned long long)r->range_id, (unsigned long long)index);
    run->tally->replicas++;
    run->tally->unknown += history == 0;
    if (history != 0 && history != (range_meta(r->range)->history_hash | 1))
        image_fail(run, why);
    if (range_hash(r->range, &hash, NULL) != 0)
        image_fail(run, "a state cannot be read");
    if (state != 0 && state != (hash | 1))
        image_fail(run, why);
    run->tally->known_histories += history != 0;
    run->tally->known_states += state != 0;
}

static bool is_in_a_span(const struct store *store, struct slice key)
{
    uint32_t cursor = 0;
    const struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        if (r->range != NULL &&
            range_span_contains(range_descriptor_span(range_descriptor(r->range)), key))
            return true;
    }
    return false;
}

static void check_data(struct run *run, struct store *store)
{
    struct range_span all = range_span_all();
    struct lsm_view *view = lsm_view_take(store_lsm(store));
    struct lsm_iter *iter = lsm_iter_new(view, all.start, all.end, UINT64_MAX, 0);
    assert_non_null(iter);
    for (bool on = lsm_iter_first(iter); on; on = lsm_iter_next(iter)) {
        if (!is_in_a_span(store, lsm_iter_key(iter)))
            image_fail(run, "data of a range that is not here");
    }
    assert_int_equal(lsm_iter_status(iter, NULL), 0);
    lsm_iter_free(iter);
    lsm_view_unref(view);
}

/* By range: of two that have left, the later one's tombstone stands for both. A range that was
 * taken in by another is not looked for: it has ended as a whole. */
static void check_tombstones(struct run *run, const struct store *store)
{
    char why[160];
    uint32_t cursor = 0;
    uint64_t id;
    void *range_id;
    while ((range_id = map_next(&run->gone, &cursor, &id)) != NULL) {
        const struct replica *r = replicas_get(&store->replicas, id);
        uint64_t least = tombstones_least(&store->tombstones, (uint64_t)(uintptr_t)range_id);
        snprintf(why, sizeof why, "range %llu: replica %llu has left: state %d, tombstone %llu",
                 (unsigned long long)(uintptr_t)range_id, (unsigned long long)id,
                 r == NULL ? -1 : (int)r->state, (unsigned long long)least);
        if (r != NULL || least <= id)
            image_fail(run, why);
        run->tally->buried++;
    }
}

static void check_image(struct run *run, struct store *store)
{
    uint32_t cursor = 0;
    const struct replica *r;
    if (store_state(store) != STORE_RUNNING)
        image_fail(run, "the store does not start");
    store_check(store);
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        if (r->state == REPLICA_DAMAGED)
            image_fail(run, "a sound replica is called damaged");
        if (r->state == REPLICA_REPLAYING)
            image_fail(run, "a replica does not start");
        check_replica(run, r);
    }
    check_data(run, store);
    check_tombstones(run, store);
}

static void verify(void *data, const struct crash_point *point, struct sim_disk *image)
{
    struct run *run = data;
    struct err err = {0};
    struct store *store = NULL;
    static const char *const addresses[] = {"a:7000", "b:7000", "c:7000"};
    static const char *const names[] = {"a", "b", "c"};
    run->point = point;
    note_histories(run);
    struct sim *sim = sim_new(NULL, rng_u64(point->rng));
    struct sim_node *node = sim_node_new_on(sim, names[run->watched], image);
    struct store_options options = run->rig.options;
    options.data_dir = "data";
    options.listen = addresses[run->watched];
    options.store_id = run->watched + 1;
    if (rng_below(point->rng, 4) == 0) { /* dies on its way up, and then again without power */
        sim_node_crash_after(node, rng_between(point->rng, 1, 20));
        if (store_open(&store, sim_node_env(node), &options, NULL) == 0)
            sim_run_until(sim, 50 * RIG_MS);
        sim_node_crash_after(node, 0);
        sim_node_crash(node, SIM_CRASH_POWER);
        store_free(store);
        store = NULL;
        sim_node_restart(node);
    }
    if (store_open(&store, sim_node_env(node), &options, &err) != 0)
        image_fail(run, err.msg);
    for (int ms = 0; store_state(store) != STORE_RUNNING && ms < OPEN_MS; ms++)
        sim_run_until(sim, sim_now_us(sim) + RIG_MS);
    sim_run_until(sim, sim_now_us(sim) + 100 * RIG_MS);
    if (sim_node_is_dead(node))
        image_fail(run, sim_node_fatal_message(node));
    check_image(run, store);
    run->tally->images++;
    sim_node_crash(node, SIM_CRASH_KILL);
    store_free(store);
    sim_free(sim);
}

/* ---- one run ------------------------------------------------------------------------------------
 */

static void play(struct run *run)
{
    uint64_t first = store_range_at(run->rig.stores[0], 0);
    uint64_t child = ++run->next_id;
    write_some(run);
    ask(run, first, fill_split, child << 16 | rng_between(&run->rng, 1, KEYS - 1));
    run->tally->splits++;
    write_some(run);
    await_replica(run, child, true);
    away_and_back(run, rng_below(&run->rng, 2) == 0 ? first : child);
    write_some(run);
    away_and_back(run, child);
    write_some(run);
    ask(run, first, fill_merge, child);
    await_replica(run, child, false);
    run->tally->merges++;
    write_some(run);
}

static void run_seed(uint64_t seed, uint32_t every, struct tally *tally)
{
    struct run run = {.seed = seed, .next_id = 100, .tally = tally};
    rng_init(&run.rng, seed);
    map_init(&run.histories);
    map_init(&run.states);
    map_init(&run.gone);
    map_init(&run.here);
    run.watched = rng_below(&run.rng, STORES);
    rig_open_seeded(&run.rig, STORES, seed);
    run.rig.options.lsm.memtable_bytes = (size_t)1 << rng_between(&run.rng, 11, 14);
    run.rig.options.log_kept_bytes = 0;
    run.rig.options.hibernate_after_ms = 0;
    rig_start_cluster(&run.rig);
    run.points = (struct crash_points){.images = 2, .every = every, .verify = verify, .data = &run};
    crash_points_start(&run.points, sim_node_disk(run.rig.nodes[run.watched]), seed);
    play(&run);
    crash_points_stop(&run.points);
    rig_close(&run.rig);
    map_fini(&run.histories);
    map_fini(&run.states);
    map_fini(&run.gone);
    map_fini(&run.here);
}

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void test_crash_points(void **state)
{
    (void)state;
    uint64_t first = number_from_env("HOLDFAST_SEED", 1);
    uint64_t count = number_from_env("HOLDFAST_SEEDS", 2);
    uint32_t every = (uint32_t)number_from_env("HOLDFAST_EVERY", 1);
    struct tally t = {0};
    for (uint64_t i = 0; i < count; i++)
        run_seed(first + i, every, &t);
    if (getenv("HOLDFAST_VERBOSE") != NULL)
        printf("images %llu replicas %llu states %llu histories %llu unknown %llu "
               "buried %llu splits %llu merges %llu removals %llu returns %llu\n",
               (unsigned long long)t.images, (unsigned long long)t.replicas,
               (unsigned long long)t.known_states, (unsigned long long)t.known_histories,
               (unsigned long long)t.unknown, (unsigned long long)t.buried,
               (unsigned long long)t.splits, (unsigned long long)t.merges,
               (unsigned long long)t.removals, (unsigned long long)t.returns);
    if (count < 2 || every > 1)
        return;
    assert_true(t.images > 500 && t.buried > 100);
    assert_true(t.known_states > t.replicas / 2 && t.unknown < t.replicas / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_points),
    };
    return cmocka_run_group_tests_name("ranges_crash", tests, NULL, NULL);
}
