/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold of the driver, seen from outside: at each step that it gives out, at each
 * that a leader carries out, and at the end.
 */
#include "placement_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "placement/explain.h"

#define U(x) ((unsigned long long)(x))

enum {
    KNOWS_AFTER_MS = 25000, /* the driver may take a store for healthy that died since */
    KNOWS_DAMAGE_AFTER_MS = 60000,
    DRIVER_TURN_MS = 500, /* within that it counts a new store's node */
    QUIET_WITHIN_MS = 4 * 3600000,
    SLOW_QUIET_WITHIN_MS = 24 * 3600000, /* where replicas come slowly */
    QUIET_FOR_MS = 600000,
    STAYS_QUIET_MS = 3600000,
};

/* ---- ids ------------------------------------------------------------------------------- */

/* The id is given out for this and nothing else, ever. */
static void claim(struct world *w, struct map *ids, const char *kind, uint64_t id, uint64_t what)
{
    void *value = (void *)(uintptr_t)(what | 1);
    void *known = map_get(ids, id);
    if (known == NULL) {
        int rv = map_put(ids, id, value);
        ASSERT(rv == 0);
    } else if (known != value) {
        w_fail(w, "%s id %llu is given out twice", kind, U(id));
    }
}

void judge_step_given(struct world *w, const struct w_driver *d, const struct placement_step *step)
{
    uint64_t op = hash_mix(1, step->operator_id);
    if (placement_is_broken(d->p))
        w_fail(w, "a driver whose write failed gives out a step");
    if (step->term != d->term)
        w_fail(w, "a step of term %llu in term %llu", U(step->term), U(d->term));
    claim(w, &w->operator_ids, "operator", step->operator_id, hash_mix(2, d->term));
    if (step->kind == PLACEMENT_ADD_LEARNER)
        claim(w, &w->replica_ids, "replica", step->member.replica_id,
              hash_mix(hash_mix(op, step->range_id), step->member.store_id));
    if (step->kind != PLACEMENT_SPLIT)
        return;
    claim(w, &w->range_ids, "range", step->split.range_id, op);
    for (uint32_t i = 0; i < step->split.child_count; i++)
        claim(w, &w->replica_ids, "replica", step->split.children[i].replica_id,
              hash_mix(hash_mix(op, step->split.range_id), step->split.children[i].store_id));
}

/* ---- one operator a range ------------------------------------------------------------------- */

static void claim_range(struct world *w, struct map *seen, uint64_t range_id)
{
    if (range_id != 0 && map_get(seen, range_id) != NULL)
        w_fail(w, "two operators run for range %llu", U(range_id));
    if (range_id != 0)
        ASSERT(map_put(seen, range_id, seen) == 0);
}

void judge_driver(struct world *w, const struct w_driver *d)
{
    struct placement_operator_status op;
    struct map seen;
    if (w->is_scale)
        return;
    map_init(&seen);
    for (uint32_t i = 0; placement_operator_at(d->p, w->now_ms, i, &op); i++) {
        claim_range(w, &seen, op.range_id);
        claim_range(w, &seen, op.partner_id);
    }
    map_fini(&seen);
    if (rng_chance(&w->rng, 1, 8))
        placement_check(d->p);
}

/* ---- each step ----------------------------------------------------------------------------------
 */

static uint64_t knows_after_ms(const struct world *w)
{
    return KNOWS_AFTER_MS + 10 * (uint64_t)w->knobs.delay_max_ms;
}

/* As the driver may see it: who died a moment ago still counts. */
static bool seems_healthy(const struct world *w, const struct w_member *m)
{
    const struct w_store *s = &w->stores[m->store];
    if (!s->is_alive)
        return w->now_ms - s->died_ms < knows_after_ms(w);
    return !m->is_damaged || w->now_ms - m->damaged_ms < KNOWS_DAMAGE_AFTER_MS + knows_after_ms(w);
}

/* Nodes with a store that nobody gave up, alive or not. A step may have been on its way as one
 * joined. */
static uint32_t nodes_that_stay(const struct world *w)
{
    uint64_t on_way_ms = DRIVER_TURN_MS + 6 * (uint64_t)w->knobs.delay_max_ms;
    uint32_t n = 0;
    for (uint32_t node = 0; node < w->knobs.nodes; node++) {
        uint32_t i = 0;
        while (i < w->store_count && (w->stores[i].node != node || w->stores[i].id == 0 ||
                                      w->now_ms - w->stores[i].joined_ms <= on_way_ms ||
                                      w->stores[i].is_gone || w->stores[i].is_leaving))
            i++;
        n += i < w->store_count;
    }
    return n;
}

/* The same without those that have been dead for so long that their replicas are to be rebuilt:
 * what has no other place than theirs does not wait for them. One that is back from a moment
 * ago may not be known to be. */
static uint32_t nodes_not_given_up(const struct world *w)
{
    uint32_t n = 0;
    for (uint32_t node = 0; node < w->knobs.nodes; node++) {
        bool counts = false;
        for (uint32_t i = 0; i < w->store_count && !counts; i++) {
            const struct w_store *s = &w->stores[i];
            bool is_recent = s->is_alive ? w->now_ms - s->revived_ms > knows_after_ms(w)
                                         : w->now_ms - s->heard_ms < w->knobs.down_after_ms;
            counts = s->node == node && s->id != 0 && !s->is_gone && !s->is_leaving && is_recent;
        }
        n += counts;
    }
    return n;
}

/* On a node that has one already? Only in place of that one, if that is lost or to leave, or if
 * there is no other node. A store that still speaks to a former driver is lost to this one. */
static void judge_add(struct world *w, const struct w_range *r, const struct placement_step *step)
{
    const struct w_store *to = world_store(w, step->member.store_id);
    uint32_t same = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct w_store *s = &w->stores[r->members[i].store];
        if (to == NULL || s->node != to->node)
            continue;
        bool counts = s->is_alive && w->now_ms - s->revived_ms > knows_after_ms(w) &&
                      w->now_ms - s->driver_heard_ms < w->knobs.down_after_ms;
        if (same++ > 0 || (counts && !s->is_leaving && nodes_that_stay(w) > r->member_count))
            w_fail(w, "range %llu gets a second replica on node %u", U(r->id), to->node);
    }
}

static void tell_members(const struct world *w, const struct w_range *r)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct w_member *m = &r->members[i];
        const struct w_store *s = &w->stores[m->store];
        printf("  replica %llu on store %llu node %u: %s, store %s since %.3f%s%s\n",
               U(m->replica_id), U(s->id), s->node,
               !m->is_voter                 ? "learner"
               : m->replica_id == r->leader ? "leader"
                                            : "voter",
               s->is_alive ? "up" : "dead",
               (double)(s->is_alive ? s->revived_ms : s->died_ms) / 1000,
               m->is_damaged ? ", damaged" : "", m->is_caught_up ? "" : ", not caught up");
    }
}

static void judge_remove(struct world *w, const struct w_range *r,
                         const struct placement_step *step)
{
    uint32_t voters = 0;
    uint32_t healthy = 0;
    uint32_t coming = 0;
    uint32_t brought = 0;
    const struct w_member *gone = NULL;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct w_member *m = &r->members[i];
        if (m->replica_id == step->member.replica_id)
            gone = m;
        voters += m->is_voter;
        healthy += m->is_voter && seems_healthy(w, m);
        brought += m->is_voter && m->brought_by == step->operator_id;
        coming += !m->is_voter && m->is_caught_up && seems_healthy(w, m);
    }
    if (gone == NULL || !gone->is_voter || gone->replica_id == r->leader)
        return;
    bool must_stay_two = voters - brought == 2 && nodes_not_given_up(w) >= 3;
    uint32_t least = voters >= 3 ? 3 : must_stay_two ? 2 : 1;
    /* a rotten replica whose store is the only place for a new one goes first */
    bool is_in_place = gone->is_damaged && nodes_not_given_up(w) <= r->member_count;
    bool is_early = voters - 1 + coming < MIN(voters, least) && !is_in_place;
    bool is_harm = w_member_lives(w, gone) && healthy - 1 + coming < MIN(healthy, least);
    if (is_early || is_harm)
        tell_members(w, r);
    if (is_early)
        w_fail(w, "range %llu loses a voter before what replaces it has caught up", U(r->id));
    if (w_member_lives(w, gone) && healthy - 1 + coming < MIN(healthy, least))
        w_fail(w, "range %llu has %u healthy voters of %u and loses one", U(r->id), healthy,
               voters);
}

void judge_step_applied(struct world *w, const struct w_range *r, const struct placement_step *step)
{
    if (step->kind == PLACEMENT_ADD_LEARNER)
        judge_add(w, r, step);
    if (step->kind == PLACEMENT_REMOVE)
        judge_remove(w, r, step);
    for (uint32_t i = 0; i < r->member_count && step->kind == PLACEMENT_PROMOTE; i++) {
        const struct w_member *m = &r->members[i];
        if (m->replica_id == step->member.replica_id && !m->is_caught_up)
            w_fail(w, "range %llu: a learner is promoted that has not caught up", U(r->id));
    }
}

/* ---- the end
 * ------------------------------------------------------------------------------------- */

static bool may_keep(const struct w_store *s)
{
    return s->id != 0 && s->is_alive && !s->is_gone && !s->is_leaving;
}

static uint32_t good_nodes(const struct world *w)
{
    uint32_t n = 0;
    for (uint32_t node = 0; node < w->knobs.nodes; node++) {
        uint32_t i = 0;
        while (i < w->store_count && (w->stores[i].node != node || !may_keep(&w->stores[i])))
            i++;
        n += i < w->store_count;
    }
    return n;
}

static uint32_t odd(uint32_t n)
{
    return n == 0 ? 1 : n % 2 == 1 ? n : n - 1;
}

/* What the driver itself says of it. */
static void tell_range(struct world *w, const struct w_range *r)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    placement_explain(w->drivers[0].p, w->now_ms, r->id, &text, NULL);
    printf("%.*s", (int)text.len, (const char *)text.data);
    buf_fini(&text);
}

static void judge_range(struct world *w, const struct w_range *r, uint32_t nodes)
{
    uint32_t voters = 0;
    uint32_t healthy = 0;
    uint32_t leaving = 0;
    uint32_t factor = r->id == 1 ? 5 : 3;
    uint32_t wants = odd(MIN(factor, nodes));
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct w_member *m = &r->members[i];
        if (!m->is_voter)
            w_fail(w, "range %llu has a learner in the end", U(r->id));
        voters++;
        healthy += w_member_lives(w, m);
        leaving += w->stores[m->store].is_leaving;
        for (uint32_t k = 0; k < i; k++) {
            if (w->stores[r->members[k].store].node == w->stores[m->store].node &&
                nodes >= r->member_count)
                w_fail(w, "range %llu has two replicas on a node in the end", U(r->id));
        }
    }
    if (healthy < wants)
        tell_range(w, r);
    if (healthy < wants)
        w_fail(w, "range %llu has %u of %u healthy voters in the end", U(r->id), healthy, wants);
    if (nodes >= factor && (voters != factor || healthy != voters || leaving > 0))
        w_fail(w, "range %llu has %u voters (%u healthy, %u on stores that leave) in the end",
               U(r->id), voters, healthy, leaving);
}

/* What the driver thinks is what is. */
static void judge_map(struct world *w)
{
    struct placement_range_status status;
    struct placement_counts counts;
    uint32_t ranges = 0;
    uint64_t epoch;
    uint64_t into;
    for (uint32_t i = 0; i < w->range_count; i++) {
        const struct w_range *r = w->ranges[i];
        bool is_known = placement_range_status(w->drivers[0].p, r->id, &status);
        if (r->is_ended && is_known)
            w_fail(w, "range %llu has ended, but not for the driver", U(r->id));
        if (!r->is_ended && placement_range_ended(w->drivers[0].p, r->id, &into, &epoch))
            w_fail(w, "range %llu lives, but the driver says that it ended", U(r->id));
        if (r->is_ended)
            continue;
        ranges++;
        const struct descriptor *d = &status.route.descriptor;
        if (!is_known)
            w_fail(w, "the driver does not know range %llu", U(r->id));
        if (d->conf_epoch != r->conf || d->span_epoch != r->span ||
            status.route.leader_replica != r->leader)
            w_fail(
                w,
                "the driver has an old story of range %llu: epochs %llu %llu, leader %llu instead "
                "of %llu %llu, %llu",
                U(r->id), U(d->conf_epoch), U(d->span_epoch), U(status.route.leader_replica),
                U(r->conf), U(r->span), U(r->leader));
    }
    placement_counts(w->drivers[0].p, &counts);
    if (counts.ranges != ranges)
        w_fail(w, "the driver knows %u ranges of %u", counts.ranges, ranges);
}

/* Do all stores offer the same? Then balance is a number. */
static bool is_uniform(const struct world *w)
{
    uint32_t first = UINT32_MAX;
    for (uint32_t node = 0; node < w->knobs.nodes; node++) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < w->store_count; i++)
            n += w->stores[i].node == node && may_keep(&w->stores[i]);
        if (n == 0)
            continue;
        if (first == UINT32_MAX)
            first = n;
        if (n != first)
            return false;
    }
    return w->knobs.same_capacity && w->knobs.zones == 0 && good_nodes(w) >= 5;
}

/* Who leads what, and how it came to be looked at on the way from a store (spread_at_best). */
struct leads {
    uint32_t *by; /* of each range: the store; W_STORES_MAX: none that counts */
    uint32_t count[W_STORES_MAX];
    uint32_t path[W_STORES_MAX]; /* the range that would go there */
    bool is_seen[W_STORES_MAX];
};

static void leads_fill(const struct world *w, struct leads *l)
{
    for (uint32_t i = 0; i < w->range_count; i++) {
        struct w_range *r = w->ranges[i];
        const struct w_member *m = r->is_ended ? NULL : w_member_of(r, r->leader);
        l->by[i] = m != NULL && may_keep(&w->stores[m->store]) ? m->store : W_STORES_MAX;
        if (l->by[i] < W_STORES_MAX)
            l->count[l->by[i]]++;
    }
}

/* Along the path each range goes one store on: `from` leads one less, `to` one more. */
static void leads_shift(struct leads *l, uint32_t from, uint32_t to)
{
    l->count[from]--;
    l->count[to]++;
    while (to != from) {
        uint32_t i = l->path[to];
        uint32_t before = l->by[i];
        l->by[i] = to;
        to = before;
    }
}

/* Can leaders be handed over, one for another, so that `from` leads one less, and a store that
 * leads two less than it one more? Then that is done. */
static bool leads_improve(const struct world *w, struct leads *l, uint32_t from)
{
    uint32_t queue[W_STORES_MAX] = {from};
    uint32_t queued = 1;
    memset(l->is_seen, 0, sizeof l->is_seen);
    l->is_seen[from] = true;
    for (uint32_t at = 0; at < queued; at++) {
        for (uint32_t i = 0; i < w->range_count; i++) {
            const struct w_range *r = w->ranges[i];
            for (uint32_t k = 0; k < r->member_count && l->by[i] == queue[at]; k++) {
                uint32_t to = r->members[k].store;
                if (!r->members[k].is_voter || !may_keep(&w->stores[to]) || l->is_seen[to])
                    continue;
                l->is_seen[to] = true;
                l->path[to] = i;
                if (l->count[to] + 2 <= l->count[from]) {
                    leads_shift(l, from, to);
                    return true;
                }
                queue[queued++] = to;
            }
        }
    }
    return false;
}

/* By how many leaders stores must differ, whoever leads: what has replicas on few stores alone is
 * led there. Where no such chain is left no choice is more even, by whatever convex measure
 * (Harvey et al., "Semi-matchings for bipartite graphs and load balancing", 2006). */
static double spread_at_best(const struct world *w)
{
    struct leads l = {.by = calloc(w->range_count, sizeof *l.by)};
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;
    ASSERT(l.by != NULL);
    leads_fill(w, &l);
    for (bool is_better = true; is_better;) {
        is_better = false;
        for (uint32_t s = 0; s < w->store_count; s++)
            is_better = leads_improve(w, &l, s) || is_better;
    }
    for (uint32_t s = 0; s < w->store_count; s++) {
        if (!may_keep(&w->stores[s]))
            continue;
        least = MIN(least, l.count[s]);
        most = MAX(most, l.count[s]);
    }
    free(l.by);
    return most - least;
}

static void judge_balance(struct world *w)
{
    struct placement_store_status s;
    double least = 1e300, most = 0, sum = 0;
    double leads_least = 1e300, leads_most = 0, leads = 0;
    uint32_t n = 0;
    uint64_t largest = 0;
    uint32_t ranges = 0;
    for (uint32_t i = 0; i < w->range_count; i++) {
        if (!w->ranges[i]->is_ended)
            largest = MAX(largest, w->ranges[i]->bytes + (1 << 20));
        ranges += !w->ranges[i]->is_ended;
    }
    for (uint32_t i = 0; placement_store_at(w->drivers[0].p, i, &s); i++) {
        double load = (double)s.bytes + (double)s.replicas * (1 << 20);
        if (s.wish != PLACEMENT_WISH_NONE || s.state != PLACEMENT_STORE_UP)
            continue;
        n++;
        sum += load;
        least = MIN(least, load);
        most = MAX(most, load);
        leads += s.leaders;
        leads_least = MIN(leads_least, (double)s.leaders);
        leads_most = MAX(leads_most, (double)s.leaders);
    }
    w_say(w,
          "balance: %u stores, bytes %.3g to %.3g (mean %.3g, largest range %.3g), leaders %.0f "
          "to %.0f",
          n, least, most, sum / n, (double)largest, leads_least, leads_most);
    if (most - least > MAX(0.05 * sum / n, 1.05 * (double)largest) && ranges >= 2 * n)
        w_fail(w, "stores carry %.4g to %.4g bytes in the end, mean %.4g, largest range %.4g",
               least, most, sum / n, (double)largest);
    if (leads_most - leads_least > MAX(2, 0.1 * leads / n) && ranges >= 4 * n &&
        leads_most - leads_least > spread_at_best(w))
        w_fail(w, "stores lead %.0f to %.0f ranges in the end", leads_least, leads_most);
}

void judge_space(struct world *w)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < w->range_count; i++) {
        const struct w_range *r = w->ranges[i];
        if (!r->is_ended && r->id != 1)
            sum += r->hi - r->lo;
    }
    if (sum != W_SPACE)
        w_fail(w, "the ranges do not cover the key space once");
}

static void tell_operators(struct world *w)
{
    struct placement_operator_status op;
    for (uint32_t i = 0; i < 10 && placement_operator_at(w->drivers[0].p, w->now_ms, i, &op); i++)
        printf("  operator %llu %s range %llu step %u of %u: %s (%s)\n", U(op.id), op.scheduler,
               U(op.range_id), op.step, op.step_count, op.reason, op.said);
    for (uint32_t i = 0; i < 10 && placement_history_at(w->drivers[0].p, w->now_ms, i, &op); i++)
        printf("  ended %llu %s range %llu outcome %d: %s (%s)\n", U(op.id), op.scheduler,
               U(op.range_id), op.outcome, op.reason, op.said);
}

/* After the troubles: quiet for ten minutes within a bound, and it stays quiet. */
void judge_end(struct world *w)
{
    struct placement_counts counts;
    uint64_t within_ms = w->is_slow ? SLOW_QUIET_WITHIN_MS : QUIET_WITHIN_MS;
    uint64_t limit = w->now_ms + within_ms;
    uint64_t began = w->now_ms;
    uint64_t quiet_ms = w->now_ms + w->knobs.down_after_ms;
    do {
        world_run(w, w->now_ms + 10000);
        placement_counts(w->drivers[0].p, &counts);
        if (!counts.is_quiet)
            quiet_ms = MAX(quiet_ms, w->now_ms);
        if (w->now_ms > limit) {
            tell_operators(w);
            w_fail(w, "not quiet after %llu hours: %u operators run", U(within_ms / 3600000),
                   counts.operators);
        }
    } while (w->now_ms < quiet_ms + QUIET_FOR_MS);
    uint64_t started = counts.operators_started;
    w_say(w, "quiet after %.0f s", (double)(quiet_ms - began) / 1000);
    world_run(w, w->now_ms + STAYS_QUIET_MS);
    placement_counts(w->drivers[0].p, &counts);
    if (counts.operators_started != started) {
        tell_operators(w);
        w_fail(w, "it was quiet, and then %llu operators began",
               U(counts.operators_started - started));
    }
    uint32_t nodes = good_nodes(w);
    judge_space(w);
    judge_map(w);
    for (uint32_t i = 0; i < w->range_count; i++) {
        if (!w->ranges[i]->is_ended)
            judge_range(w, w->ranges[i], nodes);
    }
    if (is_uniform(w))
        judge_balance(w);
    placement_check(w->drivers[0].p);
}
