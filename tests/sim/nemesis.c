/* SPDX-License-Identifier: Apache-2.0
 *
 * When things go wrong, and how it ends; and the actions on processes, clocks and by
 * operators. The network's are in nemesis_net.c, the disks' in nemesis_disk.c.
 */
#include <stdio.h>

#include "sim/scenario.h"

enum { STORM_MS_MAX = 8000, CALM_MS_MAX = 5000 };

struct cluster_node *pick_node(struct cluster *c)
{
    return &c->nodes[rng_below(&c->rng, c->opt.nodes)];
}

uint64_t in_us(struct cluster *c, uint64_t lo_ms, uint64_t hi_ms)
{
    return sim_now_us(c->sim) + rng_between(&c->rng, lo_ms, hi_ms) * 1000;
}

uint64_t span_ms(const struct cluster *c)
{
    return MIN(MAX((uint64_t)c->opt.pace_ms * 2, 200), 4000);
}

/* ---- processes ------------------------------------------------------------------------ */

static uint32_t nodes_down(const struct cluster *c)
{
    uint32_t down = c->spoiled;
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        down += c->nodes[i].store == NULL && !c->nodes[i].is_rotten && !c->nodes[i].is_wiped;
    return down;
}

/* Mostly short; where a majority goes on, at times so long that its log is cut meanwhile. */
static uint64_t outage(struct cluster *c)
{
    bool may_be_long = nodes_down(c) < (c->opt.nodes - 1) / 2;
    return may_be_long && rng_chance(&c->rng, 1, 3) ? in_us(c, 5000, 15000)
                                                    : in_us(c, 10, span_ms(c));
}

static bool crash_one(struct cluster *c, enum sim_crash how)
{
    return cluster_crash(c, (uint32_t)(pick_node(c) - c->nodes), how, outage(c));
}

/* At one of the next disk calls, between a write and its sync for example: nothing that is
 * not synced by then is sure. */
static bool cut_power(struct cluster *c, struct cluster_node *n, uint64_t until_us)
{
    if (!cluster_node_runs(n))
        return false;
    n->power_us = until_us;
    sim_node_crash_after(n->node, rng_between(&c->rng, 1, 12));
    return true;
}

static bool crash_all(struct cluster *c, enum sim_crash how)
{
    bool did = false;
    uint64_t until = in_us(c, 10, MIN(span_ms(c), 1000));
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        did |= cluster_crash(c, i, how, until + rng_below(&c->rng, 1000));
    return did;
}

bool hit_kill(struct cluster *c)
{
    return crash_one(c, SIM_CRASH_KILL);
}

bool hit_kill_all(struct cluster *c)
{
    return crash_all(c, SIM_CRASH_KILL);
}

bool hit_power(struct cluster *c)
{
    if (rng_chance(&c->rng, 1, 3))
        return crash_one(c, SIM_CRASH_POWER);
    struct cluster_node *n = pick_node(c);
    return cut_power(c, n, outage(c));
}

/* One of them in the midst of a disk call, the others a moment later. */
bool hit_power_all(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    uint64_t until_us = in_us(c, 10, MIN(span_ms(c), 1000));
    if (rng_chance(&c->rng, 1, 2) && cut_power(c, n, until_us)) {
        uint64_t limit_us = in_us(c, 50, 200);
        while (n->store != NULL && sim_now_us(c->sim) < limit_us)
            if (!cluster_run_until(c, sim_now_us(c->sim) + 100))
                return true;
    }
    return crash_all(c, SIM_CRASH_POWER);
}

/* The process ends, comes back on the page cache that survived it, and then power goes:
 * what the second life took for durable and the first had never synced is lost. */
bool hit_kill_then_power(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    uint32_t i = (uint32_t)(n - c->nodes);
    if (!cluster_crash(c, i, SIM_CRASH_KILL, sim_now_us(c->sim) + 1))
        return false;
    if (rng_chance(&c->rng, 1, 3)) { /* before it comes back at all */
        sim_node_crash(n->node, SIM_CRASH_POWER);
        cluster_note(c, n, "power lost while it was down");
        return true;
    }
    uint64_t lives_us = rng_between(&c->rng, 1, 100) * 1000;
    if (!cluster_run_until(c, sim_now_us(c->sim) + lives_us))
        return true;
    cluster_crash(c, i, SIM_CRASH_POWER, outage(c));
    return true;
}

static void resume(struct cluster_node *n)
{
    if (!sim_node_is_paused(n->node))
        return;
    cluster_note(n->cluster, n, "goes on");
    sim_node_resume(n->node);
}

static void on_pause_end(void *data)
{
    struct cluster_node *n = data;
    if (!n->cluster->is_over)
        resume(n);
}

static bool pause_for(struct cluster *c, uint64_t lo_ms, uint64_t hi_ms)
{
    struct cluster_node *n = pick_node(c);
    if (n->store == NULL || sim_node_is_paused(n->node))
        return false;
    cluster_note(c, n, "paused");
    sim_node_pause(n->node);
    sim_call_at(c->sim, in_us(c, lo_ms, hi_ms), on_pause_end, n);
    return true;
}

bool hit_pause(struct cluster *c)
{
    return pause_for(c, 50, span_ms(c));
}

/* Longer than any lease, election or connection lasts. */
bool hit_pause_long(struct cluster *c)
{
    return pause_for(c, 3000, 12000);
}

/* ---- clocks ---------------------------------------------------------------------------- */

static bool set_skew(struct cluster *c, struct cluster_node *n, int64_t skew_ms)
{
    cluster_note(c, n, "wall clock off by %lld ms", (long long)skew_ms);
    sim_node_set_wall_skew(n->node, skew_ms);
    return true;
}

static int64_t draw_skew(struct cluster *c)
{
    /* The store takes 10 s for the bound: on both sides of it. */
    int64_t most = rng_chance(&c->rng, 1, 4) ? 20000 : 8000;
    return (int64_t)rng_between(&c->rng, 0, 2 * (uint64_t)most) - most;
}

bool hit_skew(struct cluster *c)
{
    return set_skew(c, pick_node(c), draw_skew(c));
}

static void strobe(void *data)
{
    struct cluster_node *n = data;
    struct cluster *c = n->cluster;
    if (n->strobes_left == 0)
        return;
    n->strobes_left--;
    sim_node_set_wall_skew(n->node, n->strobes_left == 0 ? 0 : draw_skew(c));
    sim_call_at(c->sim, in_us(c, 1, 200), strobe, n);
}

/* To and fro, many times a second. */
bool hit_jumps(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    if (n->strobes_left != 0)
        return false;
    n->strobes_left = (uint32_t)rng_between(&c->rng, 3, 20);
    cluster_note(c, n, "wall clock jumps");
    strobe(n);
    return true;
}

bool hit_drift(struct cluster *c)
{
    static const int32_t most[] = {100, 1000, CLOCK_DRIFT_PPM_MAX};
    struct cluster_node *n = pick_node(c);
    int32_t ppm = most[rng_below(&c->rng, ARRAY_LEN(most))];
    ppm = rng_chance(&c->rng, 1, 2) ? ppm : -ppm;
    if (n->store == NULL)
        return false;
    cluster_note(c, n, "monotonic clock drifts by %d ppm", (int)ppm);
    sim_node_set_drift(n->node, ppm);
    return true;
}

/* Down with a good clock, up with one that is behind what it stamped before. */
bool hit_old_clock(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    if (!cluster_crash(c, (uint32_t)(n - c->nodes), SIM_CRASH_KILL, outage(c)))
        return false;
    return set_skew(c, n, -(int64_t)rng_between(&c->rng, 1, 9000));
}

/* One of those whose clocks may be wrong: fewer than half. */
bool hit_hours(struct cluster *c)
{
    uint32_t minority = (c->opt.nodes - 1) / 2;
    if (minority == 0)
        return false;
    struct cluster_node *n = &c->nodes[rng_below(&c->rng, minority)];
    int64_t hours = (int64_t)rng_between(&c->rng, 1, 20);
    bool is_ahead = rng_chance(&c->rng, 2, 3);
    return set_skew(c, n, (is_ahead ? hours : -hours) * 3600 * 1000);
}

/* ---- operators ------------------------------------------------------------------------- */

static void on_admin(struct client_op *op, const struct client_result *result)
{
    struct cluster_node *n = op->data;
    struct cluster *c = n->cluster;
    enum request_kind kind = op->request.kind;
    n->is_admin_busy = false;
    sim_hash_add(c->sim, (uint64_t)(int64_t)result->status);
    if (result->status == 0)
        cover_add(&c->cover,
                  kind == REQUEST_TRANSFER_LEADER ? "admin: leader moved"
                  : kind == REQUEST_FLUSH         ? "admin: flushed"
                                                  : "admin: check begun",
                  1);
}

static bool ask(struct cluster_node *n, enum request_kind kind, uint64_t target)
{
    struct cluster *c = n->cluster;
    if (n->is_admin_busy)
        return false;
    n->admin = (struct client_op){
        .data = n,
        .endpoint = n->address,
        .timeout_ms = 2000,
        .cb = on_admin,
        .request.kind = kind,
    };
    if (kind == REQUEST_TRANSFER_LEADER)
        n->admin.request.transfer_leader.target_replica = target;
    n->is_admin_busy = client_submit(c->clients[0].client, &n->admin) == 0;
    return n->is_admin_busy;
}

/* Whoever leads obeys, the others refuse. */
bool hit_transfer(struct cluster *c)
{
    bool did = false;
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        did |= ask(&c->nodes[i], REQUEST_TRANSFER_LEADER,
                   rng_below(&c->rng, (uint64_t)c->opt.nodes + 1));
    return did;
}

/* A hand-over, and at once something worse for one of the two. */
bool hit_leader_chase(struct cluster *c)
{
    if (!hit_transfer(c) || !cluster_run_until(c, in_us(c, 0, 20)))
        return false;
    if (c->opt.faults & FAULT_KILL)
        hit_kill(c);
    else if (c->opt.faults & FAULT_PAUSE)
        hit_pause(c);
    return true;
}

bool hit_flush(struct cluster *c)
{
    return ask(pick_node(c), REQUEST_FLUSH, 0);
}

/* Whoever leads obeys; every replica takes part, or will. */
bool hit_check(struct cluster *c)
{
    bool did = false;
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        did |= ask(&c->nodes[i], REQUEST_CHECK_START, 0);
    return did;
}

static void on_drained(void *data)
{
    struct cluster_node *n = data;
    n->is_drained = true;
}

bool hit_drain(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    if (!cluster_node_runs(n) || n->is_draining || store_state(n->store) != STORE_RUNNING)
        return false;
    n->is_draining = true;
    cluster_note(c, n, "asked to end in good order");
    store_drain(n->store, (uint32_t)rng_between(&c->rng, 50, 3000), on_drained, n);
    return true;
}

/* ---- the weather -------------------------------------------------------------------------- */

/* What heals by itself in a pause: links, sleepers, and who is down starts soon. Clocks,
 * disks and the drawn appetites stay as they are. */
static void calm_down(struct cluster *c)
{
    c->flaps_left = c->cut_count = 0;
    sim_net_heal(c->sim, NULL, NULL);
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        resume(n);
        n->power_us = 0;
        sim_node_crash_after(n->node, 0);
        if (n->store == NULL && rng_chance(&c->rng, 3, 4))
            n->restart_us = MIN(n->restart_us, in_us(c, 1, 500));
    }
}

/* Storms, and pauses in which a cluster gets something done that the next storm can break. */
static void change_weather(struct cluster *c)
{
    c->is_calm = !c->is_calm;
    c->weather_us = c->is_calm ? in_us(c, 500, CALM_MS_MAX) : in_us(c, 500, STORM_MS_MAX);
    cluster_note(c, NULL, "%s", c->is_calm ? "calm" : "storm");
    if (c->is_calm)
        calm_down(c);
}

uint64_t nemesis_step(struct cluster *c)
{
    uint32_t faults = c->opt.faults;
    if (sim_now_us(c->sim) >= c->weather_us)
        change_weather(c);
    if (c->is_calm || faults == 0)
        return c->weather_us;
    const struct action *action = scenario_draw(c, faults);
    if (action->run(c)) {
        char name[COVER_NAME_MAX];
        snprintf(name, sizeof name, "did %s", action->name);
        cover_add(&c->cover, name, 1);
        cluster_note(c, NULL, "%s", action->name);
    }
    return MIN(in_us(c, 1, c->opt.pace_ms), MAX(c->weather_us, sim_now_us(c->sim) + 1));
}

static void heal_after_blow(void *data)
{
    struct cluster *c = data;
    if (!c->is_over)
        sim_net_heal(c->sim, NULL, NULL);
}

/* What was forgotten of a vote, and what is half replicated, shows right after an
 * election: the leader dies, or one of those who may have voted, or all of them, and is
 * back before the others have noticed; often the leader has lost sight of somebody too. */
void nemesis_on_election(struct cluster *c, uint32_t leader)
{
    uint64_t until = sim_now_us(c->sim) + rng_between(&c->rng, 1, 60000);
    bool is_power = (c->opt.faults & FAULT_POWER) && rng_chance(&c->rng, 1, 2);
    uint32_t one = (uint32_t)(pick_node(c) - c->nodes);
    bool all = rng_chance(&c->rng, 1, 3);
    if (!rng_chance(&c->rng, c->strike_percent, 100))
        return;
    cover_add(&c->cover, "blow at an election", 1);
    if ((c->opt.faults & FAULT_PARTITION) && rng_chance(&c->rng, 1, 2)) {
        uint32_t other = (uint32_t)(pick_node(c) - c->nodes);
        if (other != leader)
            sim_net_partition(c->sim, c->nodes[leader].node, c->nodes[other].node, false);
        sim_call_at(c->sim, in_us(c, 100, span_ms(c)), heal_after_blow, c);
    }
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        if (all ? i != leader : i == one)
            cluster_crash(c, i, is_power ? SIM_CRASH_POWER : SIM_CRASH_KILL, until);
    }
}

void nemesis_heal(struct cluster *c)
{
    c->strike_percent = 0;
    struct sim_disk_options calm_disk = {.sync_us = 100};
    struct sim_options calm;
    sim_options_init(&calm);
    sim_set_options(c->sim, &calm);
    sim_fault_stop(c->sim);
    sim_net_heal(c->sim, NULL, NULL);
    cluster_note(c, NULL, "all heals");
    c->is_over = true;
    c->flaps_left = c->cut_count = 0;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        resume(n);
        n->is_kept_down = false;
        n->strobes_left = 0;
        n->power_us = 0;
        sim_node_crash_after(n->node, 0);
        if (!(c->opt.faults & FAULT_HOURS)) /* else the others must do */
            sim_node_set_wall_skew(n->node, 0);
        sim_disk_set_options(sim_node_disk(n->node), &calm_disk);
        sim_disk_set_capacity(sim_node_disk(n->node), SIM_DISK_CAPACITY_DEFAULT);
        if (n->store == NULL)
            n->restart_us = sim_now_us(c->sim);
        else
            sim_node_set_drift(n->node, 0);
    }
}
