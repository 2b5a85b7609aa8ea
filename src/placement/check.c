/* SPDX-License-Identifier: Apache-2.0
 *
 * The checkers: what a range needs for its safety, in this order
 *  1. learners on stores that are lost go, and dead voters are replaced;
 *  2. there are as many voters as there should be;
 *  3. learners that nobody is bringing up become voters, or leave;
 *  4. stores that are to leave are left;
 *  5. stores that lack a label that is required are left;
 *  6. replicas stand as far apart as they can;
 *  7. leaders are not on stores that drain.
 */
#include <stdarg.h>
#include <stdio.h>

#include "placement/placement_internal.h"

static void say(struct pl_need *need, enum pl_cause cause, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void say(struct pl_need *need, enum pl_cause cause, const char *fmt, ...)
{
    va_list args;
    need->is_needed = true;
    need->cause = cause;
    va_start(args, fmt);
    vsnprintf(need->why, sizeof need->why, fmt, args);
    va_end(args);
}

bool pl_may_send(const struct placement *p, const struct pl_range *r)
{
    const struct pl_member *leader = pl_range_leader(r);
    return leader != NULL && leader->store->sends < p->settings.sends_per_store;
}

/* Would some store do, if it were not busy? */
static bool is_only_busy(const struct placement *p, const struct pl_range *r,
                         const struct pl_store *without)
{
    for (uint32_t i = 0; i < p->store_count; i++) {
        if (pl_pick_judge(p, r, without, p->by_id[i]) == PL_NO_BUSY)
            return true;
    }
    return false;
}

/* `count` more voters: learners that are there, then new ones. */
static void find_more(const struct placement *p, const struct pl_range *r,
                      const struct pl_store *without, uint32_t count, struct pl_need *need)
{
    uint32_t found = 0;
    ASSERT(count <= 2);
    for (uint32_t i = 0; i < r->member_count && found < count; i++) {
        struct pl_member *m = &r->members[i];
        if (m->role == MEMBER_LEARNER && pl_member_is_healthy(r, m) &&
            m->store->wish == PLACEMENT_WISH_NONE && !pl_store_lacks_required(p, m->store))
            need->promote[found++] = m;
    }
    for (uint32_t i = 0; found < count; i++, found++) {
        need->add[i] = pl_pick(p, r, without, i == 0 ? NULL : need->add[0]);
        if (need->add[i] != NULL && pl_may_send(p, r))
            continue;
        need->block =
            need->add[i] != NULL || is_only_busy(p, r, without) ? PL_BLOCK_BUSY : PL_BLOCK_NOBODY;
        return;
    }
}

static struct pl_member *find_dead(const struct placement *p, const struct pl_range *r)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].role == MEMBER_VOTER && pl_member_is_dead(p, r, &r->members[i]))
            return &r->members[i];
    }
    return NULL;
}

bool pl_may_make_room(const struct placement *p, const struct pl_range *r,
                      const struct pl_member *m)
{
    return pl_store_takes_part(m->store) && p->nodes_not_down <= r->member_count;
}

static bool need_for_dead(const struct placement *p, const struct pl_range *r, struct pl_health h,
                          uint32_t wants, struct pl_need *need)
{
    struct pl_member *dead = find_dead(p, r);
    if (dead == NULL)
        return false;
    unsigned long long id = dead->store->id;
    need->remove = dead;
    need->removes_first = true;
    if (h.voters > wants) {
        say(need, PL_REPAIR, "its replica on store %llu is lost, and it has more than %u", id,
            wants);
        return true;
    }
    say(need, PL_REPAIR, "its replica on store %llu is lost: the store is %s", id,
        pl_store_is_dead(dead->store)
            ? placement_store_state_name(dead->store->state, dead->store->wish)
            : "up, but the replica does not answer");
    find_more(p, r, dead->store, 1, need);
    if (need->block == PL_BLOCK_NOBODY && pl_may_make_room(p, r, dead)) {
        need->block = pl_may_send(p, r) ? PL_BLOCK_NOT : PL_BLOCK_BUSY;
        need->is_in_place = true;
        need->add[0] = dead->store;
    }
    return true;
}

static bool need_for_count(const struct placement *p, const struct pl_range *r, struct pl_health h,
                           uint32_t wants, struct pl_need *need)
{
    if (h.voters < wants) {
        say(need, PL_REPAIR, "it has %u of %u voters", h.voters, wants);
        find_more(p, r, NULL, MIN(wants - h.voters, 2), need);
        return true;
    }
    if (h.voters > wants) {
        need->remove = pl_pick_victim(p, r);
        say(need, PL_SURPLUS, "it has %u voters, %u are enough", h.voters, wants);
        return true;
    }
    return false;
}

static bool need_for_learner(const struct pl_range *r, struct pl_need *need)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_member *m = &r->members[i];
        if (m->role != MEMBER_LEARNER)
            continue;
        need->remove = m;
        say(need, PL_LEARNER, "a learner was left behind on store %llu",
            (unsigned long long)m->store->id);
        return true;
    }
    return false;
}

/* One on a store that is lost or to leave, or whose disk has no room for it, is in the way, and
 * nothing is lost with it. */
static bool need_for_lost_learner(const struct pl_range *r, struct pl_need *need)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_member *m = &r->members[i];
        bool is_leaving =
            pl_store_is_dead(m->store) || m->store->wish == PLACEMENT_WISH_DECOMMISSION;
        bool is_shut_out =
            m->store->last.space == PLACEMENT_SPACE_FULL && !pl_member_is_caught_up(r, m);
        if (m->role != MEMBER_LEARNER || (!is_leaving && !is_shut_out))
            continue;
        need->remove = m;
        say(need, PL_LEARNER, "its learner on store %llu has no future: the store%s is %s",
            (unsigned long long)m->store->id, is_leaving ? "" : "'s disk",
            is_leaving ? placement_store_state_name(m->store->state, m->store->wish) : "full");
        return true;
    }
    return false;
}

/* Must it leave for this cause? A label that stores must have was asked for when replicas were
 * there already. Nothing is done, nor said, as long as no store has it: then it is a slip, and
 * the replicas are not wrong. */
static bool must_leave(const struct placement *p, const struct pl_member *m, enum pl_cause cause)
{
    if (cause == PL_DECOMMISSION)
        return m->store->wish == PLACEMENT_WISH_DECOMMISSION;
    return pl_store_lacks_required(p, m->store);
}

/* The first of those that must leave for which there is a place, or else the first. */
static bool need_for_leaving(const struct placement *p, const struct pl_range *r,
                             enum pl_cause cause, struct pl_need *need)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_member *m = &r->members[i];
        struct pl_need one = {.remove = m};
        unsigned long long id = m->store->id;
        if (!must_leave(p, m, cause))
            continue;
        if (cause == PL_DECOMMISSION)
            say(&one, cause, "store %llu is decommissioning", id);
        else
            say(&one, cause, "store %llu lacks the label %s that the setting 'require' asks for",
                id, p->settings.require);
        find_more(p, r, m->store, 1, &one);
        bool has_place = one.block != PL_BLOCK_NOBODY;
        if (has_place || !need->is_needed)
            *need = one;
        if (has_place)
            break;
    }
    return need->is_needed;
}

/* Pairs that share a place if n replicas are spread over `places` as evenly as can be. */
static uint32_t pairs_least(uint32_t n, uint32_t places)
{
    if (places == 0)
        return 0;
    uint32_t each = n / places;
    uint32_t more = n % places;
    return more * (each + 1) * each / 2 + (places - more) * (each * (each - 1)) / 2;
}

static bool is_spread_best(const struct placement *p, const struct pl_range *r,
                           const struct pl_closeness *close)
{
    for (int level = 0; level < PL_LEVELS; level++) {
        uint32_t each = p->places[level];
        if (close->pairs[level] > (each == 0 ? 0 : pairs_least(r->member_count, each)))
            return false;
    }
    return true;
}

static bool need_for_spread(const struct placement *p, const struct pl_range *r,
                            struct pl_need *need)
{
    struct pl_closeness best = pl_closeness_of(p, r, NULL, NULL, NULL);
    if (is_spread_best(p, r, &best))
        return false;
    bool is_busy = false;
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_member *m = &r->members[i];
        for (uint32_t k = 0; k < p->store_count; k++) {
            struct pl_store *s = p->by_id[k];
            enum pl_no no = pl_pick_judge(p, r, m->store, s);
            if (no != PL_NO_NOT && no != PL_NO_BUSY)
                continue;
            struct pl_closeness close = pl_closeness_of(p, r, m->store, s, NULL);
            if (pl_closeness_compare(&close, &best) >= 0)
                continue;
            best = close;
            is_busy = no == PL_NO_BUSY;
            need->remove = m;
            need->add[0] = s;
        }
    }
    if (need->remove == NULL)
        return false;
    if (is_busy || !pl_may_send(p, r))
        need->block = PL_BLOCK_BUSY;
    say(need, PL_SPREAD, "its replicas can stand further apart (spread=%s): store %llu for %llu",
        p->settings.spread, (unsigned long long)need->add[0]->id,
        (unsigned long long)need->remove->store->id);
    return true;
}

static bool need_for_drain(const struct placement *p, const struct pl_range *r,
                           struct pl_need *need)
{
    struct pl_member *leader = pl_range_leader(r);
    if (leader == NULL || leader->store->wish == PLACEMENT_WISH_NONE)
        return false;
    struct pl_member *to = pl_pick_leader(p, r, leader);
    if (to == NULL || !pl_store_can_lead(to->store))
        return false; /* nobody else can */
    bool must_wait = !pl_member_keeps_up(r, to) && !pl_heir_is_overdue(p, r);
    need->lead = to;
    need->block = must_wait ? PL_BLOCK_BUSY : PL_BLOCK_NOT;
    say(need, PL_DRAIN, "its leader is on store %llu, which is %s",
        (unsigned long long)leader->store->id,
        placement_store_state_name(leader->store->state, leader->store->wish));
    return true;
}

void pl_need_find(const struct placement *p, const struct pl_range *r, struct pl_need *ret_need)
{
    struct pl_health h = pl_range_health(p, r);
    uint32_t wants = pl_range_wants(p, r);
    *ret_need = (struct pl_need){0};
    bool is_found = need_for_lost_learner(r, ret_need) || need_for_dead(p, r, h, wants, ret_need) ||
                    need_for_count(p, r, h, wants, ret_need) || need_for_learner(r, ret_need) ||
                    need_for_leaving(p, r, PL_DECOMMISSION, ret_need);
    if ((is_found || need_for_leaving(p, r, PL_REQUIRE, ret_need)) &&
        ret_need->block != PL_BLOCK_NOBODY)
        return;
    /* What cannot be done for want of a place does not keep back what can be. */
    struct pl_need blocked = *ret_need;
    *ret_need = (struct pl_need){0};
    if ((is_found || !need_for_spread(p, r, ret_need)) && !need_for_drain(p, r, ret_need))
        *ret_need = blocked;
}

/* ---- beginning ---------------------------------------------------------------------------------
 */

static bool begin_need(struct placement *p, struct pl_range *r, const struct pl_need *need)
{
    struct pl_op *op = pl_op_new(p, r, need->cause);
    uint64_t ids[2] = {0, 0};
    if (op == NULL)
        return false;
    if (need->is_in_place)
        pl_op_add_step(op, PLACEMENT_REMOVE, need->remove->id, need->remove->store);
    for (int i = 0; i < 2 && need->add[i] != NULL; i++) {
        if (!pl_op_bring(p, op, need->add[i], &ids[i])) {
            pl_op_discard(p, op);
            return false;
        }
    }
    if (need->remove != NULL && need->removes_first && !need->is_in_place)
        pl_op_add_step(op, PLACEMENT_REMOVE, need->remove->id, need->remove->store);
    for (int i = 0; i < 2; i++) {
        if (need->promote[i] != NULL)
            pl_op_add_step(op, PLACEMENT_PROMOTE, need->promote[i]->id, need->promote[i]->store);
    }
    for (int i = 0; i < 2 && need->add[i] != NULL; i++)
        pl_op_add_step(op, PLACEMENT_PROMOTE, ids[i], need->add[i]);
    if (need->remove != NULL && !need->removes_first)
        pl_op_add_step(op, PLACEMENT_REMOVE, need->remove->id, need->remove->store);
    if (need->lead != NULL)
        pl_op_add_step(op, PLACEMENT_TRANSFER, need->lead->id, need->lead->store);
    pl_op_reason(op, "%s", need->why);
    pl_op_start(p, op);
    return true;
}

bool pl_check_range(struct placement *p, struct pl_range *r)
{
    struct pl_need need;
    if (!pl_range_is_free(p, r) || p->settings.paused)
        return false;
    pl_need_find(p, r, &need);
    if (!need.is_needed || need.block == PL_BLOCK_NOBODY)
        return false;
    const struct pl_member *leader = pl_range_leader(r);
    if (need.block == PL_BLOCK_BUSY ||
        (need.lead != NULL && leader->store->leads_out >= p->settings.transfers_per_store))
        return true;
    return !begin_need(p, r, &need);
}

bool pl_move(struct placement *p, struct pl_range *r, struct pl_member *from, struct pl_store *to,
             enum pl_cause cause, const char *reason)
{
    struct pl_op *op = pl_op_new(p, r, cause);
    bool is_dead = pl_member_is_dead(p, r, from);
    uint64_t id;
    if (op == NULL)
        return false;
    if (!pl_op_bring(p, op, to, &id)) {
        pl_op_discard(p, op);
        return false;
    }
    if (is_dead)
        pl_op_add_step(op, PLACEMENT_REMOVE, from->id, from->store);
    pl_op_add_step(op, PLACEMENT_PROMOTE, id, to);
    if (!is_dead)
        pl_op_add_step(op, PLACEMENT_REMOVE, from->id, from->store);
    pl_op_reason(op, "%s", reason);
    pl_op_start(p, op);
    return true;
}

bool pl_transfer(struct placement *p, struct pl_range *r, struct pl_member *to, enum pl_cause cause,
                 const char *reason)
{
    struct pl_op *op = pl_op_new(p, r, cause);
    if (op == NULL)
        return false;
    pl_op_add_step(op, PLACEMENT_TRANSFER, to->id, to->store);
    pl_op_reason(op, "%s", reason);
    pl_op_start(p, op);
    return true;
}
