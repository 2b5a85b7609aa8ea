/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/reach.h"

#include "sim/cluster.h"

_Static_assert((int)REACH_CLIENTS_MAX == (int)CLUSTER_CLIENTS_MAX, "one for each instance");

/* A store whose clock is off by more than the limit does not lead; of two that are near the
 * truth neither thinks so. */
static bool has_right_clock(const struct cluster_node *n)
{
    uint64_t own_ms = env_wall_ms(sim_node_env(n->node));
    uint64_t true_ms = env_wall_ms(sim_node_env(n->cluster->clients[0].node));
    return MAX(own_ms, true_ms) - MIN(own_ms, true_ms) < REACH_CLOCK_MS_MAX;
}

static bool serves(const struct cluster_node *n)
{
    return cluster_node_runs(n) && !sim_node_is_paused(n->node) && !n->is_lost && !n->is_wiped &&
           store_state(n->store) == STORE_RUNNING && has_right_clock(n);
}

static bool has_both_ways(const struct cluster *c, const struct sim_node *a,
                          const struct sim_node *b)
{
    return a == b || (!sim_net_is_cut(c->sim, a, b) && !sim_net_is_cut(c->sim, b, a));
}

/* Whom each node has both ways to, itself too, as bits; of those that serve. */
static void draw_map(const struct cluster *c, uint32_t map[CLUSTER_NODES_MAX])
{
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        map[i] = 0;
        for (uint32_t k = 0; k < c->opt.nodes && serves(&c->nodes[i]); k++) {
            if (serves(&c->nodes[k]) && has_both_ways(c, c->nodes[i].node, c->nodes[k].node))
                map[i] |= BIT(k);
        }
    }
}

static bool is_settled(const struct cluster *c, const uint32_t *map, uint32_t members)
{
    uint32_t majority = c->opt.nodes / 2 + 1;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        bool is_member = (members & BIT(i)) != 0;
        if (is_member && (map[i] & members) != members)
            return false;
        if (!is_member && (uint32_t)__builtin_popcount(map[i]) >= majority)
            return false;
    }
    return true;
}

/* The largest settled majority among `known`; 0: there is none. */
static uint32_t find_majority(const struct cluster *c, const uint32_t *map, uint32_t known)
{
    uint32_t best = 0;
    for (uint32_t members = known; members != 0; members = (members - 1) & known) {
        uint32_t count = (uint32_t)__builtin_popcount(members);
        if (count > c->opt.nodes / 2 && count > (uint32_t)__builtin_popcount(best) &&
            is_settled(c, map, members))
            best = members;
    }
    return best;
}

static void stretch_end(struct reach_client *r, uint64_t now_us)
{
    if (r->members != 0 && now_us - r->from_us >= REACH_SHORT_US)
        r->past[r->past_count++ % REACH_STRETCHES_MAX] =
            (struct reach_stretch){.from_us = r->from_us, .to_us = now_us};
    r->members = 0;
}

static void look_client(struct cluster *c, uint32_t i, const uint32_t *map)
{
    struct reach_client *r = &c->reach.clients[i];
    uint64_t now_us = sim_now_us(c->sim);
    uint32_t known = 0;
    for (uint32_t k = 0; k < c->opt.nodes; k++) {
        if (serves(&c->nodes[k]) && has_both_ways(c, c->clients[i].node, c->nodes[k].node))
            known |= BIT(k);
    }
    uint32_t members = find_majority(c, map, known);
    uint64_t drops = sim_fault_count(c->sim, "store.send.drop");
    if ((r->members & ~members) != 0 || (r->members & c->reach.fallen) != 0 ||
        drops - r->drops > REACH_DROPS_MAX)
        stretch_end(r, now_us);
    if (r->members == 0) {
        r->from_us = now_us;
        r->drops = drops;
    }
    r->members = members;
}

void reach_look(struct cluster *c)
{
    uint32_t map[CLUSTER_NODES_MAX];
    if (sim_now_us(c->sim) < c->reach.look_us)
        return;
    c->reach.look_us = sim_now_us(c->sim) + REACH_LOOK_US;
    draw_map(c, map);
    for (uint32_t i = 0; i < c->opt.instances; i++)
        look_client(c, i, map);
    c->reach.fallen = 0;
}

void reach_down(struct cluster *c, uint32_t i)
{
    c->reach.fallen |= BIT(i);
}

static uint64_t overlap(uint64_t from_us, uint64_t to_us, uint64_t since_us)
{
    uint64_t begin_us = MAX(from_us, since_us);
    return to_us > begin_us ? to_us - begin_us : 0;
}

uint64_t reach_longest(const struct cluster *c, uint32_t i, uint64_t from_us)
{
    const struct reach_client *r = &c->reach.clients[i];
    uint64_t longest = 0;
    if (r->members != 0)
        longest = overlap(r->from_us, sim_now_us(c->sim), from_us);
    for (uint32_t k = 0; k < MIN(r->past_count, (uint32_t)REACH_STRETCHES_MAX); k++)
        longest = MAX(longest, overlap(r->past[k].from_us, r->past[k].to_us, from_us));
    return longest;
}
