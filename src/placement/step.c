/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps of an operator: which are done (the descriptor says so, whoever did it), which
 * may be taken now, and what the leader is told.
 *
 * Rules (consensus.md, Membership policy)
 *  - a learner is promoted when it is caught up and heard of;
 *  - a learner comes to a node without a replica of the range, as things are by then, or in place
 *    of one that may be replaced within its node;
 *  - a dead voter is removed when what replaces it is caught up, and that is promoted at once;
 *  - a live voter is removed when there are enough healthy ones without it;
 *  - of one voter three are made at once: both learners are caught up first;
 *  - an operator that would end with fewer voters than are wanted by now, and takes one that is
 *    healthy, ends at once: what it brought stays, and repair goes on from there;
 *  - whatever is done, a majority of the resulting voters is healthy;
 *  - who leads is not removed: it hands over first;
 *  - nobody is handed a range whose log it lacks, as long as there is hope for another.
 */
#include <stdio.h>

#include "base/plant.h"
#include "placement/placement_internal.h"

static struct pl_range *range_of(const struct pl_op *op, const struct pl_step *step)
{
    return step->on_partner ? op->partner : op->range;
}

bool pl_step_is_done(const struct pl_op *op, const struct pl_step *step)
{
    const struct pl_range *r = range_of(op, step);
    if (step->kind == PLACEMENT_MERGE)
        return op->is_merged;
    if (r == NULL)
        return true; /* of a partner that is merged */
    const struct pl_member *m = pl_range_member(r, step->replica_id);
    switch (step->kind) {
    case PLACEMENT_ADD_LEARNER:
        return m != NULL;
    case PLACEMENT_PROMOTE:
        return m != NULL && m->role == MEMBER_VOTER;
    case PLACEMENT_REMOVE:
        return m == NULL;
    case PLACEMENT_TRANSFER:
        return r->leader == step->replica_id;
    case PLACEMENT_SPLIT:
        return r->span_epoch > op->span_seen;
    case PLACEMENT_RETAIN:
        return r->retention_ms == op->retention_ms;
    case PLACEMENT_MERGE:
        break;
    }
    return false;
}

/* Voters and healthy ones as they would be with `m` in (or out). */
static bool has_majority_after(const struct placement *p, const struct pl_range *r,
                               const struct pl_member *m, bool is_in)
{
    struct pl_health h = pl_range_health(p, r);
    bool is_healthy = pl_member_is_healthy(r, m);
    uint32_t voters = is_in ? h.voters + 1 : h.voters - 1;
    uint32_t healthy = h.healthy + (is_healthy ? is_in ? 1u : (uint32_t)-1 : 0u);
    return healthy > voters / 2;
}

/* Why a learner will not catch up; NULL: it may. It is not waited for until the time of its step is
 * over, which may be long where learners come slowly. */
static const char *why_lost(const struct pl_range *r, const struct pl_member *m)
{
    if (m == NULL)
        return "the learner was removed";
    if (pl_store_is_dead(m->store))
        return "the learner's store is down";
    if (m->store->last.space == PLACEMENT_SPACE_FULL && !pl_member_is_caught_up(r, m))
        return "the learner's disk is full";
    return NULL;
}

/* How far are the learners that the operator promotes next, before it brings others? */
static enum pl_ready ready_replacements(const struct pl_op *op, const struct pl_range *r,
                                        const char **ret_why)
{
    enum pl_ready ready = PL_READY;
    for (uint32_t i = op->step; i < op->step_count; i++) {
        const struct pl_step *step = &op->steps[i];
        if (step->kind == PLACEMENT_ADD_LEARNER)
            break;
        if (step->kind != PLACEMENT_PROMOTE || range_of(op, step) != r)
            continue;
        const struct pl_member *m = pl_range_member(r, step->replica_id);
        *ret_why = why_lost(r, m);
        if (*ret_why != NULL)
            return PL_IMPOSSIBLE;
        if (!pl_member_is_caught_up(r, m))
            ready = PL_WAIT;
    }
    return ready;
}

/* Whose replica goes for the one that `step` brings: the next that leaves its range; NULL: none. */
static const struct pl_store *replaced_by(const struct pl_op *op, const struct pl_step *step)
{
    for (const struct pl_step *s = step + 1; s < op->steps + op->step_count; s++) {
        if (s->kind == PLACEMENT_REMOVE && s->on_partner == step->on_partner)
            return s->store;
    }
    return NULL;
}

static enum pl_ready ready_add(const struct placement *p, const struct pl_op *op,
                               const struct pl_range *r, const struct pl_step *step,
                               const char **ret_why)
{
    const struct pl_store *s = step->store;
    if (pl_range_on(r, s) != NULL) {
        *ret_why = "its store has another replica of the range";
        return PL_IMPOSSIBLE;
    }
    bool is_welcome = s->wish == PLACEMENT_WISH_NONE || op->cause == PL_COMMAND;
    if (!is_welcome || s->is_ghost || pl_store_is_dead(s)) {
        *ret_why = "its store is not fit any more";
        return PL_IMPOSSIBLE;
    }
    /* what its node had is to go first, since another node came that can have it */
    if (pl_node_is_taken(p, r, replaced_by(op, step), s)) {
        *ret_why = "its node has another replica of the range";
        return PL_IMPOSSIBLE;
    }
    if (r->member_count == DESCRIPTOR_MEMBERS_MAX) {
        *ret_why = "the range has too many members";
        return PL_IMPOSSIBLE;
    }
    return PL_READY;
}

static enum pl_ready ready_promote(const struct placement *p, const struct pl_op *op,
                                   const struct pl_range *r, const struct pl_step *step,
                                   const char **ret_why)
{
    const struct pl_member *m = pl_range_member(r, step->replica_id);
    *ret_why = why_lost(r, m);
    if (*ret_why != NULL)
        return PL_IMPOSSIBLE;
    if (PLANTED(learner_promoted_early))
        return PL_READY;
    if (!pl_member_is_caught_up(r, m)) {
        *ret_why = "waits until the learner has caught up";
        return PL_WAIT;
    }
    if (pl_range_health(p, r).voters == 1) {
        enum pl_ready ready = ready_replacements(op, r, ret_why);
        if (ready == PL_WAIT)
            *ret_why = "waits until both learners have caught up";
        if (ready != PL_READY)
            return ready;
    }
    if (!has_majority_after(p, r, m, true)) {
        *ret_why = "waits for a majority of the voters";
        return PL_WAIT;
    }
    return PL_READY;
}

/* Somebody insists on having one less, and has paused placement, which would bring it back. */
static bool is_insisted(const struct placement *p, const struct pl_op *op)
{
    for (uint32_t i = 0; i < op->step_count; i++) {
        if (op->steps[i].kind == PLACEMENT_ADD_LEARNER)
            return false;
    }
    return op->cause == PL_COMMAND && p->settings.paused;
}

/* Voters that would be wanted if it had not begun: two are on their way to three if a third node
 * may come back, but not those that a move makes of one. */
static uint32_t wants_without(const struct placement *p, const struct pl_op *op,
                              const struct pl_range *r)
{
    uint32_t voters = pl_range_health(p, r).voters;
    for (uint32_t i = 0; i < op->step_count; i++) {
        const struct pl_step *step = &op->steps[i];
        const struct pl_member *m = pl_range_member(r, step->replica_id);
        if (range_of(op, step) != r)
            continue;
        if (step->kind == PLACEMENT_PROMOTE && m != NULL && m->role == MEMBER_VOTER)
            voters--;
        if (step->kind == PLACEMENT_REMOVE && i < op->step)
            voters++;
    }
    return pl_range_wants_of(p, r, voters);
}

static enum pl_ready ready_remove(const struct placement *p, const struct pl_op *op,
                                  const struct pl_range *r, const struct pl_step *step,
                                  const char **ret_why)
{
    const struct pl_member *m = pl_range_member(r, step->replica_id);
    if (m == NULL || m->role == MEMBER_LEARNER)
        return PL_READY;
    enum pl_ready ready = ready_replacements(op, r, ret_why);
    if (ready == PL_WAIT)
        *ret_why = "waits until what replaces it has caught up";
    if (ready != PL_READY && !PLANTED(removed_before_caught_up))
        return ready;
    struct pl_health h = pl_range_health(p, r);
    if (h.voters == 1) {
        *ret_why = "it is the only voter";
        return PL_IMPOSSIBLE;
    }
    if (PLANTED(removed_before_caught_up) || PLANTED(healthy_removed))
        return PL_READY;
    /* who counts is not taken away while others are missing */
    uint32_t needs = is_insisted(p, op) ? 1 : wants_without(p, op, r);
    if (pl_member_is_healthy(r, m) && h.healthy - 1 < needs) {
        *ret_why = "waits until the other voters are healthy";
        return PL_WAIT;
    }
    if (!has_majority_after(p, r, m, false)) {
        *ret_why = "waits for a majority of the voters that stay";
        return PL_WAIT;
    }
    return PL_READY;
}

/* More voters are wanted since it began than it leaves: the one that it takes would have to wait
 * for others, and repair, which brings them, for its end. */
static bool is_overtaken(const struct placement *p, const struct pl_op *op)
{
    const struct pl_range *r = range_of(op, &op->steps[op->step]);
    bool takes_healthy = false;
    if (r == NULL || is_insisted(p, op))
        return false;
    uint32_t voters = pl_range_health(p, r).voters;
    for (uint32_t i = op->step; i < op->step_count; i++) {
        const struct pl_step *step = &op->steps[i];
        const struct pl_member *m = pl_range_member(r, step->replica_id);
        bool is_voter = m != NULL && m->role == MEMBER_VOTER;
        if (range_of(op, step) != r)
            continue;
        if (step->kind == PLACEMENT_PROMOTE && !is_voter)
            voters++;
        if (step->kind == PLACEMENT_REMOVE && is_voter) {
            takes_healthy = takes_healthy || pl_member_is_healthy(r, m);
            voters--;
        }
    }
    return takes_healthy && voters < wants_without(p, op, r);
}

/* Nothing was brought yet in place of a replica that is not lost: its store was silent for long,
 * and is back. */
static bool is_needless(const struct pl_op *op)
{
    const struct pl_range *r = op->range;
    bool has_victim = false;
    if (op->cause != PL_REPAIR || op->step != 0 || op->steps[0].kind != PLACEMENT_ADD_LEARNER)
        return false;
    for (uint32_t i = 1; i < op->step_count; i++) {
        const struct pl_step *step = &op->steps[i];
        if (step->kind != PLACEMENT_REMOVE)
            continue;
        const struct pl_member *m = pl_range_member(r, step->replica_id);
        if (m == NULL || !pl_member_is_healthy(r, m))
            return false;
        has_victim = true;
    }
    return has_victim;
}

static enum pl_ready ready_transfer(const struct placement *p, const struct pl_range *r,
                                    const struct pl_step *step, const char **ret_why)
{
    const struct pl_member *m = pl_range_member(r, step->replica_id);
    if (m == NULL || m->role != MEMBER_VOTER) {
        *ret_why = "who should lead is no voter";
        return PL_IMPOSSIBLE;
    }
    if (!pl_member_is_healthy(r, m)) {
        *ret_why = "waits for who should lead";
        return PL_WAIT;
    }
    if (!pl_member_keeps_up(r, m) && !pl_heir_is_overdue(p, r)) {
        *ret_why = "waits until who should lead has caught up";
        return PL_WAIT;
    }
    return PL_READY;
}

static bool is_same_set(const struct pl_range *a, const struct pl_range *b)
{
    for (uint32_t i = 0; i < a->member_count; i++) {
        const struct pl_member *m = pl_range_on(b, a->members[i].store);
        if (m == NULL || m->role != a->members[i].role)
            return false;
    }
    return a->member_count == b->member_count;
}

static enum pl_ready ready_merge(const struct placement *p, const struct pl_op *op,
                                 const char **ret_why)
{
    const struct pl_range *a = op->range;
    const struct pl_range *b = op->partner;
    if (b == NULL || !slice_equal(pl_range_end(a), pl_range_start(b))) {
        *ret_why = "they are no neighbours any more";
        return PL_IMPOSSIBLE;
    }
    if (!is_same_set(a, b)) {
        *ret_why = "they are not on the same stores any more";
        return PL_IMPOSSIBLE;
    }
    struct pl_health ha = pl_range_health(p, a);
    struct pl_health hb = pl_range_health(p, b);
    if (ha.healthy < ha.voters || hb.healthy < hb.voters) {
        *ret_why = "waits until all members are healthy";
        return PL_WAIT;
    }
    return PL_READY;
}

enum pl_ready pl_step_ready(const struct placement *p, const struct pl_op *op, const char **ret_why)
{
    ASSERT(op->step < op->step_count);
    const struct pl_step *step = &op->steps[op->step];
    const struct pl_range *r = range_of(op, step);
    *ret_why = "";
    if (step->kind == PLACEMENT_MERGE && op->partner == NULL)
        return ready_merge(p, op, ret_why);
    ASSERT(r != NULL);
    if (!pl_range_is_led(p, r)) {
        *ret_why = "waits for a leader with a majority";
        return PL_WAIT;
    }
    switch (step->kind) {
    case PLACEMENT_ADD_LEARNER:
        return ready_add(p, op, r, step, ret_why);
    case PLACEMENT_PROMOTE:
        return ready_promote(p, op, r, step, ret_why);
    case PLACEMENT_REMOVE:
        return ready_remove(p, op, r, step, ret_why);
    case PLACEMENT_TRANSFER:
        return ready_transfer(p, r, step, ret_why);
    case PLACEMENT_MERGE:
        return ready_merge(p, op, ret_why);
    case PLACEMENT_SPLIT:
    case PLACEMENT_RETAIN:
        break;
    }
    return PL_READY;
}

static void fill_member(const struct pl_step *step, struct member *out)
{
    const struct pl_store *s = step->store;
    *out = (struct member){
        .replica_id = step->replica_id,
        .store_id = s->id,
        .role = MEMBER_LEARNER,
        .address = slice_str(s->address),
    };
    memcpy(out->store_uuid, s->uuid, STORE_UUID_LEN);
}

static void fill_split(const struct pl_op *op, struct placement_step *out)
{
    out->split.by = op->split_by;
    out->split.key = slice_of(op->split_key, op->split_key_len);
    out->split.range_id = op->split_range_id;
    out->split.child_count = op->child_count;
    memcpy(out->split.children, op->children, sizeof out->split.children);
}

/* The leader must hand over before it is removed: that becomes a step of its own. */
static bool insert_transfer(struct placement *p, struct pl_op *op, const struct pl_range *r)
{
    const struct pl_step *step = &op->steps[op->step];
    struct pl_member *to = pl_pick_leader(p, r, pl_range_member(r, step->replica_id));
    if (to == NULL || op->step_count == PLACEMENT_STEPS_MAX)
        return false;
    pl_op_account(op, false);
    memmove(&op->steps[op->step + 1], &op->steps[op->step],
            (op->step_count - op->step) * sizeof op->steps[0]);
    op->step_count++;
    op->steps[op->step] = (struct pl_step){
        .kind = PLACEMENT_TRANSFER,
        .on_partner = op->steps[op->step + 1].on_partner,
        .replica_id = to->id,
        .store = to->store,
    };
    pl_op_account(op, true);
    return true;
}

/* Is it all the same who leads, as long as it is another? */
static bool is_free_choice(const struct pl_op *op, const struct pl_range *r)
{
    const struct pl_step *next = &op->steps[op->step + 1];
    bool is_to_remove = op->step + 1 < op->step_count && next->kind == PLACEMENT_REMOVE &&
                        next->replica_id == r->leader;
    return op->cause == PL_DRAIN || is_to_remove;
}

/* Who was to lead lags, and another one does not. */
static void choose_anew(struct placement *p, struct pl_op *op, const struct pl_range *r)
{
    struct pl_step *step = &op->steps[op->step];
    if (step->kind != PLACEMENT_TRANSFER || !is_free_choice(op, r))
        return;
    const struct pl_member *m = pl_range_member(r, step->replica_id);
    const struct pl_member *to = pl_pick_leader(p, r, NULL);
    if (m == NULL || pl_member_keeps_up(r, m) || to == NULL || !pl_member_keeps_up(r, to) ||
        !pl_store_can_lead(to->store))
        return;
    pl_op_account(op, false);
    step->replica_id = to->id;
    step->store = to->store;
    pl_op_account(op, true);
}

static void fill_step(const struct placement *p, const struct pl_op *op, const struct pl_range *r,
                      struct placement_step *out)
{
    const struct pl_step *step = &op->steps[op->step];
    ASSERT(!pl_step_is_done(op, step));
    ASSERT(r->conf_epoch == (step->on_partner ? op->partner_conf_seen : op->conf_seen));
    *out = (struct placement_step){
        .term = p->opt.term,
        .operator_id = op->id,
        .index = op->step,
        .kind = step->kind,
        .to_store = pl_range_leader(r)->store->id,
        .range_id = r->id,
        .conf_epoch = r->conf_epoch,
        .span_epoch = r->span_epoch,
    };
    if (step->kind == PLACEMENT_SPLIT) {
        fill_split(op, out);
    } else if (step->kind == PLACEMENT_MERGE) {
        out->merge.range_id = op->partner->id;
        out->merge.conf_epoch = op->partner->conf_epoch;
        out->merge.span_epoch = op->partner->span_epoch;
    } else if (step->kind == PLACEMENT_RETAIN) {
        out->retention_ms = op->retention_ms;
    } else {
        fill_member(step, &out->member);
    }
}

/* What it brought stays, and repair goes on from there at once: nothing has failed. */
static void end_overtaken(struct placement *p, struct pl_op *op, const struct pl_range *r)
{
    char said[PLACEMENT_REASON_MAX];
    snprintf(said, sizeof said, "range %llu is to have %u voters by now: nothing is removed",
             (unsigned long long)r->id, wants_without(p, op, r));
    op->is_overtaken = true;
    pl_op_end(p, op, PLACEMENT_CANCELLED, said);
}

bool pl_op_step(struct placement *p, struct pl_op *op, struct placement_step *ret_step)
{
    const char *why;
    const struct pl_step *step = &op->steps[op->step];
    struct pl_range *r = range_of(op, step);
    if (is_overtaken(p, op)) {
        end_overtaken(p, op, r);
        return false;
    }
    if (is_needless(op)) {
        op->is_needless = true;
        pl_op_end(p, op, PLACEMENT_CANCELLED, "the replica that it replaces is healthy again");
        return false;
    }
    choose_anew(p, op, r);
    enum pl_ready ready = pl_step_ready(p, op, &why);
    if (ready == PL_READY && step->kind == PLACEMENT_REMOVE && r->leader == step->replica_id) {
        if (!insert_transfer(p, op, r)) {
            ready = op->step_count == PLACEMENT_STEPS_MAX ? PL_IMPOSSIBLE : PL_WAIT;
            why = "nobody else can lead";
        } else {
            ready = pl_step_ready(p, op, &why);
        }
    }
    if (ready == PL_IMPOSSIBLE) {
        pl_op_end(p, op, PLACEMENT_CANCELLED, why);
        return false;
    }
    if (ready == PL_WAIT) {
        snprintf(op->said, sizeof op->said, "%s", why);
        return false;
    }
    fill_step(p, op, r, ret_step);
    op->sent_ms = p->now_ms;
    /* to one that lags, if at all: that may be in vain, and the next is tried as late */
    if (ret_step->kind == PLACEMENT_TRANSFER && r->heir_lags_ms != 0)
        r->heir_lags_ms = p->now_ms;
    return true;
}
