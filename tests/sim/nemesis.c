/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes wrong, and when: drawn from the run's seed. Each run has a random
 * subset of the allowed troubles at random strengths (swarm).
 */
#include <stdio.h>
#include <stdlib.h>

#include "raftlog/record.h"
#include "sim/cluster.h"

enum { SECTOR_BITS = 8 * 512 };

static uint32_t pick_node(struct cluster *c)
{
    return (uint32_t)rng_below(&c->rng, c->opt.nodes);
}

static uint64_t in_us(struct cluster *c, uint64_t lo_ms, uint64_t hi_ms)
{
    return sim_now_us(c->sim) + rng_between(&c->rng, lo_ms, hi_ms) * 1000;
}

/* How long a trouble lasts: where they come fast, each is short. */
static uint64_t span(const struct cluster *c)
{
    return MIN(MAX((uint64_t)c->opt.pace_ms * 2, 200), 4000);
}

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
    return may_be_long && rng_chance(&c->rng, 1, 3) ? in_us(c, 5000, 15000) : in_us(c, 10, span(c));
}

static void hit_crash(struct cluster *c, enum sim_crash how)
{
    bool all = rng_chance(&c->rng, 1, 10);
    uint32_t one = pick_node(c);
    uint64_t until = all ? in_us(c, 10, MIN(span(c), 1000)) : outage(c);
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        if (all || i == one)
            cluster_crash(c, i, how, until + rng_below(&c->rng, 1000));
    }
}

static void resume(void *data)
{
    struct cluster_node *n = data;
    if (sim_node_is_paused(n->node))
        sim_node_resume(n->node);
}

static void hit_pause(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[pick_node(c)];
    if (n->store == NULL || sim_node_is_paused(n->node))
        return;
    sim_node_pause(n->node);
    sim_call_at(c->sim, in_us(c, 50, span(c)), resume, n);
}

static void heal_net(void *data)
{
    struct cluster *c = data;
    sim_net_heal(c->sim, NULL, NULL);
}

static void hit_partition(struct cluster *c)
{
    struct cluster_node *a = &c->nodes[pick_node(c)];
    struct cluster_node *b = &c->nodes[pick_node(c)];
    bool one_way = rng_chance(&c->rng, 1, 3);
    switch (rng_below(&c->rng, 4)) {
    case 0: /* alone */
        sim_net_partition(c->sim, a->node, NULL, one_way);
        break;
    case 1: /* slow instead of cut */
        sim_net_slow(c->sim, a->node, NULL, rng_between(&c->rng, 1000, 500000));
        break;
    default:
        if (a != b)
            sim_net_partition(c->sim, a->node, b->node, one_way);
        break;
    }
    if (c->opt.pace_ms < 1000 || rng_chance(&c->rng, 1, 2))
        sim_call_at(c->sim, in_us(c, 100, span(c)), heal_net, c);
}

static void hit_net(struct cluster *c)
{
    sim_net_reset(c->sim, c->nodes[pick_node(c)].node, NULL);
}

static void hit_disk(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[pick_node(c)];
    if (n->store != NULL)
        sim_node_crash_after(n->node, rng_between(&c->rng, 1, 200));
}

/* One of those whose clocks may be wrong: fewer than half. */
static void hit_hours(struct cluster *c)
{
    uint32_t minority = (c->opt.nodes - 1) / 2;
    if (minority == 0)
        return;
    struct cluster_node *n = &c->nodes[rng_below(&c->rng, minority)];
    int64_t hours = (int64_t)rng_between(&c->rng, 1, 20);
    bool is_ahead = rng_chance(&c->rng, 2, 3);
    sim_node_set_wall_skew(n->node, (is_ahead ? hours : -hours) * 3600 * 1000);
}

static void hit_clock(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[pick_node(c)];
    int64_t skew = (int64_t)rng_between(&c->rng, 0, 16000) - 8000;
    sim_node_set_wall_skew(n->node, skew);
}

static void space_back(void *data)
{
    struct cluster_node *n = data;
    sim_disk_set_capacity(sim_node_disk(n->node), SIM_DISK_CAPACITY_DEFAULT);
}

static void hit_space(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[pick_node(c)];
    struct sim_disk *disk = sim_node_disk(n->node);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + rng_below(&c->rng, 1 << 16));
    sim_call_at(c->sim, in_us(c, 200, 5000), space_back, n);
}

/* ---- operators ---------------------------------------------------------------- */

static void on_admin(struct client_op *op, const struct client_result *result)
{
    struct cluster_node *n = op->data;
    n->is_admin_busy = false;
    sim_hash_add(n->cluster->sim, (uint64_t)(int64_t)result->status);
}

static void ask(struct cluster_node *n, enum request_kind kind)
{
    struct cluster *c = n->cluster;
    if (n->is_admin_busy)
        return;
    n->admin = (struct client_op){
        .data = n,
        .endpoint = n->address,
        .timeout_ms = 2000,
        .cb = on_admin,
        .request.kind = kind,
    };
    if (kind == REQUEST_TRANSFER_LEADER)
        n->admin.request.transfer_leader.target_replica = rng_below(&c->rng, c->opt.nodes + 1);
    n->is_admin_busy = client_submit(c->client, &n->admin) == 0;
}

static void on_drained(void *data)
{
    struct cluster_node *n = data;
    n->is_drained = true;
}

static void hit_admin(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[pick_node(c)];
    switch (rng_below(&c->rng, 5)) {
    case 0:
        ask(n, REQUEST_FLUSH);
        break;
    case 2: /* whoever leads obeys; every replica takes part, or will */
        for (uint32_t i = 0; i < c->opt.nodes; i++)
            ask(&c->nodes[i], REQUEST_CHECK_START);
        break;
    case 1:
        if (n->store != NULL && !n->is_draining && !sim_node_is_dead(n->node) &&
            store_state(n->store) == STORE_RUNNING) {
            n->is_draining = true;
            store_drain(n->store, (uint32_t)rng_between(&c->rng, 50, 3000), on_drained, n);
        }
        break;
    default: /* whoever leads obeys, the others refuse */
        for (uint32_t i = 0; i < c->opt.nodes; i++)
            ask(&c->nodes[i], REQUEST_TRANSFER_LEADER);
        break;
    }
}

/* ---- rot ------------------------------------------------------------------------- */

struct flip {
    struct cluster_node *node;
    char last[ENV_PATH_MAX]; /* the log's last segment; "": none */
    uint64_t last_end;       /* where bits of it are no longer flipped */
    const char *where;       /* in paths with this alone */
    uint32_t files;
    char path[ENV_PATH_MAX]; /* the one that was drawn, and its bits */
    uint64_t first_bit;
    uint64_t end_bit;
};

/* A flip in the log's last batch looks like a torn write, and what is cut off there is
 * lost (raftlog/README.md): one disk alone cannot tell. The last batch may not be synced,
 * but the one before it is: up to that one, every flip must be found. */
static uint64_t provable_end(struct slice bytes, const struct head *head)
{
    struct scan scan = scan_of(bytes, record_seed(head->salt, head->number));
    struct record record = {0};
    uint64_t before = HEAD_LEN, last = HEAD_LEN;
    while (scan_next(&scan, &record) == SCAN_RECORD) {
        if (record.batch_start > last) {
            before = last;
            last = record.batch_start;
        }
    }
    return before;
}

static void look_at_segment(struct flip *f, struct env *env, const char *path, uint64_t *newest)
{
    struct env_file *file = NULL;
    struct head head;
    uint64_t size = 0;
    size_t len = 0;
    if (env_file_open(env, path, ENV_OPEN_READ, &file, NULL) != 0)
        return;
    int rv = env_file_size(file, &size, NULL);
    uint8_t *bytes = malloc(size + 1);
    ASSERT(bytes != NULL);
    if (rv == 0)
        rv = env_file_read(file, 0, bytes, size, &len, NULL);
    env_file_close(file);
    if (rv == 0 && len >= HEAD_LEN && head_decode(bytes, &head) && head.number >= *newest) {
        *newest = head.number;
        f->last_end = provable_end(slice_of(bytes, len), &head);
        snprintf(f->last, sizeof f->last, "%s", path);
    }
    free(bytes);
}

static void find_last_segment(struct flip *f)
{
    struct env *env = sim_node_env(f->node->node);
    char **names = NULL;
    size_t count = 0;
    uint64_t newest = 0;
    if (env_dir_list(env, "data/log", &names, &count, NULL) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        char path[ENV_PATH_MAX];
        snprintf(path, sizeof path, "data/log/%s", names[i]);
        look_at_segment(f, env, path, &newest);
    }
    free(names);
}

static void draw_file(void *data, const char *path, uint64_t size)
{
    struct flip *f = data;
    bool is_last = strstr(path, f->last) != NULL;
    uint64_t from = is_last ? HEAD_LEN : 0;
    if (is_last)
        size = MIN(size, f->last_end);
    if (size <= from || strstr(path, f->where) == NULL || strstr(path, "LOCK") != NULL)
        return;
    if (!rng_chance(&f->node->cluster->rng, 1, ++f->files))
        return;
    snprintf(f->path, sizeof f->path, "%s", path);
    f->first_bit = from * 8;
    f->end_bit = size * 8;
}

/* Bits of one file: one, or several close together, as when a sector goes bad. Of the
 * manifest one: its last record and the seal that proves it stand side by side, and if
 * both are gone, it looks like a torn write. */
static void draw_flips(struct flip *f)
{
    struct cluster_node *n = f->node;
    struct rng *rng = &n->cluster->rng;
    const char *const places[] = {"", f->last, "engine", "engine"};
    f->where = places[rng_below(rng, ARRAY_LEN(places))];
    f->files = 0;
    sim_disk_each_file(sim_node_disk(n->node), draw_file, f);
    if (f->files == 0 || strlen(f->path) >= sizeof n->flips[0].path)
        return;
    uint64_t first = f->first_bit + rng_below(rng, f->end_bit - f->first_bit);
    uint64_t end = MIN(f->end_bit, first + SECTOR_BITS);
    bool is_one = strstr(f->path, "MANIFEST") != NULL || rng_chance(rng, 1, 2);
    uint64_t count = is_one ? 1 : rng_between(rng, 2, CLUSTER_FLIPS_MAX);
    for (uint64_t i = 0; i < count; i++) {
        struct cluster_flip *flip = &n->flips[n->flip_count++];
        memcpy(flip->path, f->path, strlen(f->path) + 1);
        flip->bit = i == 0 ? first : first + rng_below(rng, end - first);
    }
}

static bool may_spoil(const struct cluster *c, const struct cluster_node *n)
{
    return c->spoiled < (c->opt.nodes - 1) / 2 && !n->is_rotten && !n->is_wiped &&
           n->store != NULL && !sim_node_is_dead(n->node) && store_state(n->store) == STORE_RUNNING;
}

static void hit_rot(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[pick_node(c)];
    struct flip flip = {.node = n};
    if (!may_spoil(c, n))
        return;
    c->spoiled++;
    if (rng_chance(&c->rng, 1, 4)) {
        cluster_crash(c, (uint32_t)(n - c->nodes), SIM_CRASH_KILL, in_us(c, 10, 2000));
        sim_node_wipe(n->node);
        n->is_wiped = true;
        return;
    }
    find_last_segment(&flip);
    cluster_crash(c, (uint32_t)(n - c->nodes), SIM_CRASH_KILL, in_us(c, 10, 2000));
    if (flip.last[0] != 0)
        draw_flips(&flip);
}

static void hit(struct cluster *c, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_KILL:
        hit_crash(c, SIM_CRASH_KILL);
        break;
    case FAULT_POWER:
        hit_crash(c, SIM_CRASH_POWER);
        break;
    case FAULT_PAUSE:
        hit_pause(c);
        break;
    case FAULT_PARTITION:
        hit_partition(c);
        break;
    case FAULT_NET:
        hit_net(c);
        break;
    case FAULT_DISK:
        hit_disk(c);
        break;
    case FAULT_CLOCK:
        hit_clock(c);
        break;
    case FAULT_SPACE:
        hit_space(c);
        break;
    case FAULT_ADMIN:
        hit_admin(c);
        break;
    default:
        hit_rot(c);
        break;
    }
}

uint64_t nemesis_step(struct cluster *c)
{
    uint32_t allowed = c->opt.faults & FAULT_ALL;
    if ((c->opt.faults & FAULT_HOURS) && rng_chance(&c->rng, 1, 4))
        hit_hours(c);
    if (allowed != 0) {
        enum fault_kind kind = FAULT_KILL;
        do {
            kind = (enum fault_kind)BIT(rng_below(&c->rng, FAULT_KINDS));
        } while (!(allowed & kind));
        hit(c, kind);
    }
    return in_us(c, 1, c->opt.pace_ms);
}

/* What was forgotten of a vote, and what is half replicated, shows right after an
 * election: the leader dies, or one of those who may have voted, or all of them, and is
 * back before the others have noticed; often the leader has lost sight of somebody too. */
void nemesis_on_election(struct cluster *c, uint32_t leader)
{
    uint64_t until = sim_now_us(c->sim) + rng_between(&c->rng, 1, 60000);
    bool is_power = (c->opt.faults & FAULT_POWER) && rng_chance(&c->rng, 1, 2);
    uint32_t one = pick_node(c);
    bool all = rng_chance(&c->rng, 1, 3);
    if (!rng_chance(&c->rng, c->strike_percent, 100))
        return;
    if ((c->opt.faults & FAULT_PARTITION) && rng_chance(&c->rng, 1, 2)) {
        uint32_t other = pick_node(c);
        if (other != leader)
            sim_net_partition(c->sim, c->nodes[leader].node, c->nodes[other].node, false);
        sim_call_at(c->sim, in_us(c, 100, span(c)), heal_net, c);
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
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        resume(n);
        sim_node_crash_after(n->node, 0);
        if (!(c->opt.faults & FAULT_HOURS)) /* else the others must do */
            sim_node_set_wall_skew(n->node, 0);
        sim_disk_set_options(sim_node_disk(n->node), &calm_disk);
        sim_disk_set_capacity(sim_node_disk(n->node), SIM_DISK_CAPACITY_DEFAULT);
        if (n->store == NULL)
            n->restart_us = sim_now_us(c->sim);
    }
}
