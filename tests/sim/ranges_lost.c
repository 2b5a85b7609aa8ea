/* SPDX-License-Identifier: Apache-2.0
 *
 * In some runs of holdfast-ranges-sim --grow: a change of members that is lost again. A store that
 * leads a range alone, and does not host placement, has a slow disk; it is told to add a member,
 * and loses power when it has told of itself since, before the change is on its disk. Who took the
 * change for done would wait for ever for a member that is none.
 *
 * Ranges are led alone where one replica is wanted of each, which is said for that, and taken back:
 * then members are added.
 */
#include "ranges.h"
#include "store/beats.h"
#include "store/store_internal.h"

enum {
    ONE_RUN_IN = 3,
    ONE_ACT_IN = 60,
    DRIVER_MS = 5000,
    ALONE_MS = 10 * 1000,
    BEGUN_MS = 6000,
    TOLD_MS = BEAT_MS + 100,
    SYNC_US = (BEGUN_MS + TOLD_MS) * 1000,
};

static struct {
    struct rng rng;
    bool is_due;
} lost;

void lost_draw(uint64_t seed)
{
    rng_init(&lost.rng, seed * 43 + 17);
    lost.is_due = run.is_grown && rng_chance(&lost.rng, 1, ONE_RUN_IN);
}

/* Has this store a range that it leads, and nobody else has? One whose members change (not applied
 * yet) if `is_changing`, else one for sure. */
static bool leads_alone(size_t at, bool is_changing)
{
    uint64_t id;
    for (uint32_t k = 0; is_up(at) && (id = store_range_at(run.rig.stores[at], k)) != 0; k++) {
        const struct replica *r = replicas_of_range(&run.rig.stores[at]->replicas, id);
        const struct range_descriptor *d = range_descriptor(r->range);
        if (r->cons != NULL && leads(at, id) && d->replica_count == 1 &&
            (store_conf_epoch(r) != d->epoch.conf) == is_changing)
            return true;
    }
    return false;
}

/* Who leads a range alone and does not host placement; rig.count: nobody. */
static size_t find(void)
{
    size_t driver = rig_driver(&run.rig);
    for (size_t i = 0; driver < run.rig.count && i < run.rig.count; i++) {
        if (i != driver && leads_alone(i, false))
            return i;
    }
    return run.rig.count;
}

static void say_replicas(const char *value)
{
    grow_insist(&(struct request_placement){
        .verb = VERB_SET, .name = slice_str("replicas"), .value = slice_str(value)});
}

/* All is well, and one replica is wanted of each range. */
static size_t wait_for_one(void)
{
    sim_net_heal(run.rig.sim, NULL, NULL);
    weather_clear();
    ranges_start(true);
    for (int ms = 0; ms < DRIVER_MS && rig_driver(&run.rig) == run.rig.count; ms += 10)
        rig_run(&run.rig, 10 * RIG_MS);
    grow_insist(&(struct request_placement){.verb = VERB_RESUME});
    say_replicas("1");
    for (int ms = 0; ms < ALONE_MS && find() == run.rig.count; ms += 10)
        rig_run(&run.rig, 10 * RIG_MS);
    return find();
}

static void lose_change(size_t at)
{
    int ms = 0;
    while (ms++ < BEGUN_MS && !leads_alone(at, true))
        rig_run(&run.rig, RIG_MS);
    for (ms = 0; ms < TOLD_MS && leads_alone(at, true); ms++)
        rig_run(&run.rig, RIG_MS);
    if (ms < TOLD_MS)
        return;
    ranges_crash(at, SIM_CRASH_POWER, 20 + rng_below(&lost.rng, 1000));
    ranges_met("a change of members lost");
}

void lost_act(void)
{
    size_t joined = 0;
    for (size_t i = 0; i < run.rig.count; i++)
        joined += is_up(i) && store_state(run.rig.stores[i]) == STORE_RUNNING;
    if (!lost.is_due || joined < 2 || rng_below(&lost.rng, ONE_ACT_IN) != 0)
        return;
    lost.is_due = false;
    size_t at = wait_for_one();
    if (at < run.rig.count)
        weather_slow_disk(at, SYNC_US);
    say_replicas("3");
    if (at < run.rig.count) {
        lose_change(at);
        weather_slow_disk(at, 0);
    }
}

void lost_expect(struct cover *cover)
{
    cover_expect(cover, "a change of members lost");
}
