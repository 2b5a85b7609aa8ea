/* SPDX-License-Identifier: Apache-2.0
 *
 * How a range stands: which of its members live, as the leader and the stores' own
 * heartbeats tell, and how many it should have.
 */
#include "placement/placement_internal.h"

enum {
    HEARTBEAT_MAX_MS = 35000, /* an awake leader silent for longer is none */
    UP_FOR_MS = 60000,        /* a store must be before a silent replica is taken for lost */
};

bool pl_member_is_healthy(const struct pl_range *r, const struct pl_member *m)
{
    if (m->store->state != PLACEMENT_STORE_UP)
        return false;
    return r->is_asleep || m->id == r->leader || m->contact_age_ms <= PL_CONTACT_MAX_MS;
}

bool pl_member_is_dead(const struct placement *p, const struct pl_range *r,
                       const struct pl_member *m)
{
    uint64_t down_after_ms = p->settings.store_down_after_us / 1000;
    if (pl_store_is_dead(m->store))
        return true;
    /* its store lives, but the replica does not answer: damaged, or a stranger there. A store
     * that has just come back is given the time to speak. */
    bool may_speak =
        m->store->state == PLACEMENT_STORE_UP && p->now_ms - m->store->up_since_ms >= UP_FOR_MS;
    return may_speak && !r->is_asleep && m->id != r->leader && m->contact_age_ms != UINT32_MAX &&
           m->contact_age_ms >= down_after_ms;
}

static bool has_the_log(const struct pl_range *r, const struct pl_member *m)
{
    return m->match > 0 && m->match + PL_LAG_MAX >= r->last_index;
}

bool pl_member_is_caught_up(const struct pl_range *r, const struct pl_member *m)
{
    return pl_member_is_healthy(r, m) && has_the_log(r, m);
}

bool pl_member_keeps_up(const struct pl_range *r, const struct pl_member *m)
{
    return r->is_asleep || has_the_log(r, m); /* none sleeps before all of them have it */
}

bool pl_heir_is_overdue(const struct placement *p, const struct pl_range *r)
{
    return r->heir_lags_ms != 0 && p->now_ms - r->heir_lags_ms >= PL_HEIR_WAIT_MS;
}

struct pl_health pl_range_health(const struct placement *p, const struct pl_range *r)
{
    struct pl_health h = {0};
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct pl_member *m = &r->members[i];
        if (m->role != MEMBER_VOTER) {
            h.learners++;
            continue;
        }
        h.voters++;
        h.healthy += pl_member_is_healthy(r, m);
        h.dead += pl_member_is_dead(p, r, m);
    }
    return h;
}

bool pl_range_is_led(const struct placement *p, const struct pl_range *r)
{
    const struct pl_member *leader = pl_range_leader(r);
    if (leader == NULL || !r->has_heartbeat || leader->store->state != PLACEMENT_STORE_UP)
        return false;
    if (!r->is_asleep && p->now_ms - r->heard_ms > HEARTBEAT_MAX_MS)
        return false;
    struct pl_health h = pl_range_health(p, r);
    return h.healthy > h.voters / 2;
}

uint32_t pl_range_factor(const struct placement *p, const struct pl_range *r)
{
    if (r->id == PLACEMENT_SYSTEM_RANGE)
        return (uint32_t)MAX(p->settings.system_replicas, p->settings.replicas);
    uint32_t own = pl_keyspace_replicas(p, r);
    return own > 0 ? own : (uint32_t)p->settings.replicas;
}

/* Whom a count of nodes leaves out beside those that are to leave. */
enum count_without { WITHOUT_SILENT, WITHOUT_DOWN, WITHOUT_NOBODY };

static bool counts_for_node(const struct placement *p, const struct pl_store *s,
                            enum count_without without)
{
    bool is_down = s->state == PLACEMENT_STORE_DOWN;
    bool is_silent = is_down || s->state == PLACEMENT_STORE_JOINING;
    bool is_left_out = without == WITHOUT_SILENT ? is_silent
                       : without == WITHOUT_DOWN ? is_down
                                                 : false;
    return !s->is_ghost && s->wish != PLACEMENT_WISH_DECOMMISSION && !is_left_out &&
           pl_store_has_label(s, p->settings.require);
}

/* Nodes that may keep replicas. */
static uint32_t count_nodes(const struct placement *p, enum count_without without)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->store_count; i++) {
        const struct pl_store *s = p->by_id[i];
        bool is_new = counts_for_node(p, s, without);
        for (uint32_t k = 0; k < i && is_new; k++) {
            const struct pl_store *t = p->by_id[k];
            is_new = !counts_for_node(p, t, without) ||
                     t->level[PL_LEVELS - 1] != s->level[PL_LEVELS - 1];
        }
        count += is_new;
    }
    return count;
}

void pl_nodes_count(struct placement *p)
{
    p->nodes = count_nodes(p, WITHOUT_SILENT);
    p->nodes_not_down = count_nodes(p, WITHOUT_DOWN);
    p->nodes_with_silent = count_nodes(p, WITHOUT_NOBODY);
    for (int level = 0; level < PL_LEVELS; level++) {
        p->places[level] = 0;
        for (uint32_t i = 0; i < p->store_count; i++) {
            uint32_t k = 0;
            while (k < i && (!pl_store_takes_part(p->by_id[k]) ||
                             p->by_id[k]->level[level] != p->by_id[i]->level[level]))
                k++;
            p->places[level] += k == i && pl_store_takes_part(p->by_id[i]);
        }
    }
}

static uint32_t odd(uint32_t n)
{
    return n == 0 ? 1 : n % 2 == 1 ? n : n - 1;
}

bool pl_require_is_slip(const struct placement *p)
{
    return p->settings.require[0] != 0 && p->nodes_with_silent == 0;
}

bool pl_store_lacks_required(const struct placement *p, const struct pl_store *s)
{
    return !pl_store_has_label(s, p->settings.require) && !pl_require_is_slip(p);
}

uint32_t pl_range_wants(const struct placement *p, const struct pl_range *r)
{
    return pl_range_wants_of(p, r, pl_range_health(p, r).voters);
}

uint32_t pl_range_wants_of(const struct placement *p, const struct pl_range *r, uint32_t voters)
{
    uint32_t factor = pl_range_factor(p, r);
    if (pl_require_is_slip(p)) /* no place for any is no reason to give up those that are */
        return odd(MIN(factor, voters | 1));
    uint32_t grow = odd(MIN(factor, p->nodes));
    /* Nobody gives up a copy because a store is lost: three stay three (or what is left of
     * them), five stay five while their nodes may come back. Two and four are no place to rest:
     * they are on their way to more, or to one fewer where there is no node for that. */
    if (voters < 2)
        return grow;
    uint32_t keep = odd(MIN(MIN(factor, voters | 1), p->nodes_with_silent));
    return MAX(MAX(grow, keep), voters < 3 ? 1 : odd(MIN(factor, 3)));
}
