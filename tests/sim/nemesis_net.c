/* SPDX-License-Identifier: Apache-2.0
 *
 * Actions on links and connections.
 */
#include "consensus/consensus.h"
#include "sim/scenario.h"

static void heal_net(void *data)
{
    struct cluster *c = data;
    if (c->is_over)
        return;
    cluster_note(c, NULL, "links heal");
    sim_net_heal(c->sim, NULL, NULL);
}

/* At times a cut stays until the next pause of the storm. */
static bool heal_later(struct cluster *c)
{
    if (c->opt.pace_ms < 1000 || rng_chance(&c->rng, 2, 3))
        sim_call_at(c->sim, in_us(c, 100, span_ms(c)), heal_net, c);
    return true;
}

static void cut(struct cluster *c, uint32_t a, uint32_t b)
{
    sim_net_partition(c->sim, c->nodes[a].node, c->nodes[b].node, false);
}

/* The nodes in random order. */
static void shuffle(struct cluster *c, uint32_t *order)
{
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        order[i] = i;
    for (uint32_t i = 0; i + 1 < c->opt.nodes; i++) {
        uint32_t j = i + (uint32_t)rng_below(&c->rng, c->opt.nodes - i);
        uint32_t one = order[i];
        order[i] = order[j];
        order[j] = one;
    }
}

static struct cluster_node *leader(struct cluster *c)
{
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        struct cons_status s;
        if (cluster_node_runs(n) && store_cons_status(n->store, STORE_FIRST_RANGE_ID, &s) &&
            s.state == CONS_LEADER)
            return n;
    }
    return NULL;
}

bool hit_isolate(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    cluster_note(c, n, "alone");
    sim_net_partition(c->sim, n->node, NULL, false);
    return heal_later(c);
}

/* From the other stores; clients still reach it, and it still thinks that it leads. */
bool hit_isolate_leader(struct cluster *c)
{
    struct cluster_node *n = leader(c);
    bool one_way = rng_chance(&c->rng, 1, 3);
    if (n == NULL || c->opt.nodes == 1)
        return false;
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        if (&c->nodes[i] != n)
            sim_net_partition(c->sim, n->node, c->nodes[i].node, one_way);
    cluster_note(c, n, "the leader is alone%s", one_way ? ", one way" : "");
    return heal_later(c);
}

/* A leader and one of the clients, away from all others: whom it asks knows nothing of a
 * new leader, and the other clients go on with that one. */
bool hit_leader_and_client(struct cluster *c)
{
    struct cluster_node *n = leader(c);
    if (n == NULL || c->opt.nodes == 1)
        return false;
    struct sim_node *client = c->clients[rng_below(&c->rng, c->opt.instances)].node;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        if (&c->nodes[i] == n)
            continue;
        sim_net_partition(c->sim, n->node, c->nodes[i].node, false);
        sim_net_partition(c->sim, client, c->nodes[i].node, false);
    }
    cluster_note(c, n, "the leader is alone with a client");
    return heal_later(c);
}

/* It hears nobody, and everybody hears it. */
bool hit_deaf(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    cluster_note(c, n, "deaf");
    sim_net_partition(c->sim, NULL, n->node, true);
    return heal_later(c);
}

bool hit_mute(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    cluster_note(c, n, "mute");
    sim_net_partition(c->sim, n->node, NULL, true);
    return heal_later(c);
}

bool hit_cut_pair(struct cluster *c)
{
    struct cluster_node *a = pick_node(c);
    struct cluster_node *b = pick_node(c);
    if (a == b)
        return false;
    sim_net_partition(c->sim, a->node, b->node, rng_chance(&c->rng, 1, 3));
    return heal_later(c);
}

bool hit_halves(struct cluster *c)
{
    uint32_t order[CLUSTER_NODES_MAX];
    uint32_t n = c->opt.nodes;
    if (n < 2)
        return false;
    uint32_t half = (uint32_t)rng_between(&c->rng, 1, n - 1);
    shuffle(c, order);
    for (uint32_t i = 0; i < half; i++)
        for (uint32_t j = half; j < n; j++)
            cut(c, order[i], order[j]);
    cluster_note(c, NULL, "halves of %u and %u", half, n - half);
    return heal_later(c);
}

/* Two halves that do not see each other, and one node that sees both. */
bool hit_bridge(struct cluster *c)
{
    uint32_t order[CLUSTER_NODES_MAX];
    uint32_t n = c->opt.nodes;
    if (n < 3)
        return false;
    shuffle(c, order);
    for (uint32_t i = 1; i <= n / 2; i++)
        for (uint32_t j = n / 2 + 1; j < n; j++)
            cut(c, order[i], order[j]);
    cluster_note(c, &c->nodes[order[0]], "is the bridge");
    return heal_later(c);
}

/* A ring of majorities: each sees a majority, and no two see the same. */
bool hit_ring(struct cluster *c)
{
    uint32_t order[CLUSTER_NODES_MAX];
    uint32_t n = c->opt.nodes;
    if (n < 4)
        return false;
    shuffle(c, order);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = i + 1; j < n; j++) {
            uint32_t apart = MIN(j - i, n - (j - i));
            if (apart > n / 4)
                cut(c, order[i], order[j]);
        }
    }
    return heal_later(c);
}

/* One link that goes and comes. */
static void flap(void *data)
{
    struct cluster *c = data;
    struct sim_node *a = c->cut_pairs[0][0];
    struct sim_node *b = c->cut_pairs[0][1];
    if (c->flaps_left == 0)
        return;
    if (--c->flaps_left % 2 == 1)
        sim_net_partition(c->sim, a, b, rng_chance(&c->rng, 1, 4));
    else
        sim_net_heal(c->sim, a, b);
    sim_call_at(c->sim, in_us(c, 5, 400), flap, c);
}

bool hit_flapping(struct cluster *c)
{
    struct cluster_node *a = pick_node(c);
    struct cluster_node *b = pick_node(c);
    if (a == b || c->flaps_left != 0 || c->cut_count != 0)
        return false;
    c->cut_pairs[0][0] = a->node;
    c->cut_pairs[0][1] = b->node;
    c->flaps_left = 2 * (uint32_t)rng_between(&c->rng, 2, 15);
    flap(c);
    return true;
}

/* Cut link by link, healed in another order (FoundationDB's swizzle-clogging). */
static void swizzle_heal(void *data)
{
    struct cluster *c = data;
    if (c->cut_count == 0)
        return;
    uint32_t i = (uint32_t)rng_below(&c->rng, c->cut_count);
    sim_net_heal(c->sim, c->cut_pairs[i][0], c->cut_pairs[i][1]);
    c->cut_count--;
    memcpy(c->cut_pairs[i], c->cut_pairs[c->cut_count], sizeof c->cut_pairs[i]);
    sim_call_at(c->sim, in_us(c, 5, 300), swizzle_heal, c);
}

bool hit_swizzle(struct cluster *c)
{
    uint32_t order[CLUSTER_NODES_MAX];
    uint32_t many = (uint32_t)rng_between(&c->rng, 1, c->opt.nodes);
    if (c->flaps_left != 0 || c->cut_count != 0 || c->opt.nodes < 2)
        return false;
    shuffle(c, order);
    for (uint32_t i = 0; i < many; i++) {
        for (uint32_t j = 0; j < c->opt.nodes; j++) {
            struct sim_node *a = c->nodes[order[i]].node;
            struct sim_node *b = c->nodes[j].node;
            if (a == b)
                continue;
            sim_net_partition(c->sim, a, b, false);
            c->cut_pairs[c->cut_count][0] = a;
            c->cut_pairs[c->cut_count++][1] = b;
            if (!cluster_run_until(c, in_us(c, 0, 30)))
                return true;
        }
    }
    sim_call_at(c->sim, in_us(c, 50, span_ms(c)), swizzle_heal, c);
    return true;
}

/* In a quarter of the runs half of the slow links carry little instead. Nothing is drawn for it
 * that would change what other seeds mean. */
static bool narrow_links(struct cluster *c, struct cluster_node *n, struct sim_node *to)
{
    struct rng own = c->rng;
    if (c->opt.seed % 4 != 3 || rng_chance(&own, 1, 2))
        return false;
    uint64_t rate = UINT64_C(1) << rng_between(&own, 11, 18);
    cluster_note(c, n, "its links carry %llu bytes a second", (unsigned long long)rate);
    sim_net_narrow(c->sim, n->node, to, rate);
    cover_add(&c->cover, "net: narrow links", 1);
    return true;
}

bool hit_slow_links(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    struct sim_node *to = rng_chance(&c->rng, 1, 2) ? NULL : pick_node(c)->node;
    uint64_t extra_us = rng_between(&c->rng, 1000, 500000);
    if (narrow_links(c, n, to))
        return heal_later(c);
    cluster_note(c, n, "its links are %llu ms slower", (unsigned long long)(extra_us / 1000));
    sim_net_slow(c->sim, n->node, to, extra_us);
    return heal_later(c);
}

bool hit_client_cut(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    bool one_way = rng_chance(&c->rng, 1, 2);
    bool is_out = rng_chance(&c->rng, 1, 2);
    uint32_t first = (uint32_t)rng_below(&c->rng, c->opt.instances);
    uint32_t count = (uint32_t)rng_between(&c->rng, 1, c->opt.instances);
    cluster_note(c, n, "no way between it and %u of the clients%s", count,
                 one_way ? ", one way" : "");
    for (uint32_t i = 0; i < count; i++) {
        struct sim_node *client = c->clients[(first + i) % c->opt.instances].node;
        sim_net_partition(c->sim, is_out ? client : n->node, is_out ? n->node : client, one_way);
    }
    return heal_later(c);
}

bool hit_reset(struct cluster *c)
{
    sim_net_reset(c->sim, pick_node(c)->node, NULL);
    return true;
}

bool hit_half_open(struct cluster *c)
{
    sim_net_half_open(c->sim, pick_node(c)->node, NULL);
    return true;
}
