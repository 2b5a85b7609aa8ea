/* SPDX-License-Identifier: Apache-2.0 */
#include "store/absorb.h"

#include "base/plant.h"
#include "store/check.h"
#include "store/merge.h"
#include "store/store_internal.h"
#include "store/watch.h"

/* An end that is not frozen for so long gets a flush of its own. */
#define ABSORB_FLUSH_US (UINT64_C(30) * 1000 * 1000)

/* ---- standing still ------------------------------------------------------------------ */

/* Called from outside its consensus: it takes no more part in its group. */
static void absorb(struct replica *r, uint64_t by_range, uint64_t to_index)
{
    if (r->state != REPLICA_ABSORBED) {
        replica_write_fail_queue(r, ERR_RANGE_CHANGED);
        replica_read_fail_all(r, ERR_RANGE_CHANGED);
        watch_fail_all(r, ERR_RANGE_CHANGED);
        merge_stop(r);
        snapshot_out_stop_all(r);
        strangers_stop_check(r);
        check_stop(r);
        snapshot_in_drop(r);
        replica_proposals_stale(r);
        sleep_forget(r);
        consensus_free(r->cons);
        r->cons = NULL;
        r->generation++;
        r->is_role_known = false;
        r->wants_reopen = false;
        r->lost_leadership = false;
        replica_move(r, REPLICA_ABSORBED);
    }
    r->absorbed.by_range = by_range;
    r->absorbed.to_index = to_index;
    if (to_index == 0) /* it does not learn any more what became of them */
        replica_proposals_skip(r, UINT64_MAX);
    env_timer_stop(&r->apply_retry);
    if (r->apply == APPLY_STALLED)
        r->apply = APPLY_IDLE;
    replica_apply_wake(r);
    replica_wake(r);
}

/* It is not taken in after all: it goes on from what it has. */
static void release(struct replica *r)
{
    ASSERT(r->state == REPLICA_ABSORBED);
    replica_move(r, REPLICA_REPLAYING);
    replica_run(r);
    replica_wake(r);
}

static bool is_absorbed_by(const struct replica *r, uint64_t range_id)
{
    return r->state == REPLICA_ABSORBED && r->absorbed.by_range == range_id;
}

void absorb_release(const struct replica *by)
{
    struct store *store = by->store;
    uint32_t cursor = 0;
    struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        if (is_absorbed_by(r, by->range_id))
            release(r);
    }
}

/* Not all that comes back to it wakes it. */
static void look_again(struct replica *r)
{
    env_timer_start(&r->timer, (uint64_t)STORE_TICK_MS * 1000);
}

void absorb_turn(struct replica *r)
{
    struct store *store = r->store;
    if (r->state == REPLICA_ABSORBED) {
        struct replica *by = replicas_of_range(&store->replicas, r->absorbed.by_range);
        if (by != NULL && replica_is_quiet(r))
            replica_apply_wake(by);
        look_again(r);
        return;
    }
    ASSERT(r->state == REPLICA_MERGED);
    if (!r->absorbed.is_durable)
        return; /* absorb_on_flushed() wakes it */
    if (!replica_is_quiet(r)) {
        look_again(r);
        return;
    }
    list_remove(&r->absorbed.in_merged);
    replica_free(r);
}

/* ---- by COMMIT_MERGE ------------------------------------------------------------------- */

static int not_here(struct replica *left, const struct range_merge *merge)
{
    if (left->absorbed.missed_index != merge->index)
        LOG_WARN(left->store->logger, "merge_waits", "range=%llu right=%llu index=%llu",
                 (unsigned long long)left->range_id, (unsigned long long)merge->range_id,
                 (unsigned long long)merge->index);
    left->absorbed.missed_index = merge->index;
    return ERR_BUSY;
}

/* Does its log hold the entry that froze it, or its state what that did? */
static bool holds_frozen(const struct replica *right, const struct range_merge *merge)
{
    uint64_t term = 0;
    if (range_meta(right->range)->applied_index >= merge->index)
        return true;
    return raftlog_term(right->store->log, right->replica_id, merge->index, &term) == 0 &&
           term == merge->term;
}

/* 0: it stands where it was frozen, or behind. ERR_BUSY: not yet. */
static int bring_right(struct replica *left, const struct range_merge *merge,
                       struct replica **ret_right, struct err *err)
{
    struct replica *right = replicas_of_range(&left->store->replicas, merge->range_id);
    if (right == NULL)
        return not_here(left, merge);
    switch (right->state) {
    case REPLICA_DAMAGED:
        return err_set(err, ERR_CORRUPT, "range %llu, which it takes in, is damaged here",
                       (unsigned long long)merge->range_id);
    case REPLICA_REPLAYING:
    case REPLICA_RUNNING:
        if (!holds_frozen(right, merge))
            return not_here(left, merge);
        absorb(right, left->range_id, merge->index);
        return ERR_BUSY;
    case REPLICA_ABSORBED:
        break;
    default:
        return not_here(left, merge);
    }
    if (!is_absorbed_by(right, left->range_id) || right->apply != APPLY_IDLE ||
        range_meta(right->range)->applied_index < merge->index)
        return ERR_BUSY;
    *ret_right = right;
    return 0;
}

/* The left has its span and its data now. */
static void end_right(struct replica *left, struct replica *right, uint64_t index)
{
    struct store *store = left->store;
    LOG_INFO(store->logger, "merged", "range=%llu right=%llu index=%llu epoch=%llu",
             (unsigned long long)left->range_id, (unsigned long long)right->range_id,
             (unsigned long long)index,
             (unsigned long long)range_descriptor(left->range)->epoch.span);
    replicas_remove(&store->replicas, right);
    list_push_back(&store->merged, &right->absorbed.in_merged);
    right->absorbed.merged_us = env_now_us(store->env);
    replica_move(right, REPLICA_MERGED);
    env_timer_stop(&right->timer);
    replica_proposals_refuse(right, ERR_RANGE_CHANGED);
    store_on_replica_gone(store);
    replica_wake(right);
}

int absorb_apply(struct replica *left, uint64_t index, uint64_t term,
                 const struct range_admin *admin, int *ret_status, struct err *err)
{
    const struct range_meta *meta = range_meta(left->range);
    struct replica *right = NULL;
    if (range_commit_judge(meta, admin, NULL) != 0)
        return range_apply_commit(left->range, NULL, index, term, admin, ret_status, err);
    int rv = bring_right(left, &admin->merge, &right, err);
    if (rv != 0)
        return rv;
    const struct range_meta *taken = range_meta(right->range);
    uint64_t epoch = MAX(meta->descriptor.epoch.span, taken->descriptor.epoch.span) + 1;
    bool fits = range_merges_fit(meta, taken, NULL) == 0;
    if (fits && tombstones_end(&left->store->tombstones, right->range_id, left->range_id, epoch))
        return err_set(err, ERR_NOMEM, "tombstone");
    rv = range_apply_commit(left->range, right->range, index, term, admin, ret_status, err);
    if (rv == 0 && *ret_status == 0)
        end_right(left, right, index);
    else if (rv == 0)
        release(right);
    return rv;
}

/* ---- its end becomes durable -------------------------------------------------------------- */

void absorb_on_freeze(struct store *store, uint64_t freeze, struct lsm_batch *batch)
{
    LIST_FOREACH(it, &store->merged)
    {
        struct replica *r = list_entry(it, struct replica, absorbed.in_merged);
        if (r->absorbed.freeze != 0)
            continue;
        range_put_end(r->range, batch);
        tombstone_put(batch, &store->tombstones, r->range_id);
        tombstone_put_gone(batch, r->replica_id);
        r->absorbed.freeze = freeze;
    }
}

void absorb_on_unfreeze(struct store *store, uint64_t freeze)
{
    LIST_FOREACH(it, &store->merged)
    {
        struct replica *r = list_entry(it, struct replica, absorbed.in_merged);
        if (r->absorbed.freeze == freeze)
            r->absorbed.freeze = 0;
    }
}

void absorb_on_flushed(struct store *store, uint64_t freeze)
{
    LIST_FOREACH(it, &store->merged)
    {
        struct replica *r = list_entry(it, struct replica, absorbed.in_merged);
        if (r->absorbed.freeze == 0 || r->absorbed.freeze > freeze || r->absorbed.is_durable)
            continue;
        r->absorbed.is_durable = true;
        raftlog_remove_group(store->log, r->replica_id);
        replica_wake(r);
    }
}

bool absorb_is_ending(const struct store *store, uint64_t replica_id)
{
    LIST_FOREACH(it, &store->merged)
    {
        const struct replica *r = list_entry(it, struct replica, absorbed.in_merged);
        if (r->replica_id == replica_id && !r->absorbed.is_durable)
            return true;
    }
    return false;
}

bool absorb_wants_flush(const struct store *store)
{
    uint64_t now_us = env_now_us(store->env);
    LIST_FOREACH(it, &store->merged)
    {
        const struct replica *r = list_entry(it, struct replica, absorbed.in_merged);
        if (r->absorbed.freeze == 0 && now_us - r->absorbed.merged_us >= ABSORB_FLUSH_US)
            return true;
    }
    return false;
}

void absorb_free(struct store *store)
{
    struct list *link;
    while ((link = list_pop_front(&store->merged)) != NULL)
        replica_free(list_entry(link, struct replica, absorbed.in_merged));
}

/* ---- by a snapshot ------------------------------------------------------------------------- */

/* Whom it swallows: who is marked as planned, from plan_make() to plan_end(). So it needs no
 * memory, of which there may be none when it is made again. */
struct plan {
    const struct replica *r; /* that the snapshot is for */
    const struct range_meta *meta;
};

static bool meets(const struct plan *plan, const struct replica *r)
{
    struct range_span now = range_descriptor_span(&plan->meta->descriptor);
    struct range_span old = range_descriptor_span(range_descriptor(r->range));
    return slice_compare(old.start, now.end) < 0 && slice_compare(now.start, old.end) < 0;
}

/* A range that is alive owns its first key, under an epoch that only grows. */
static bool is_covered(const struct plan *plan, const struct replica *r)
{
    struct range_span now = range_descriptor_span(&plan->meta->descriptor);
    struct range_span old = range_descriptor_span(range_descriptor(r->range));
    return slice_compare(now.start, old.start) <= 0 && slice_compare(old.end, now.end) <= 0 &&
           range_descriptor(r->range)->epoch.span < plan->meta->descriptor.epoch.span;
}

bool absorb_is_awaited(const struct store *store, uint64_t into_range, uint64_t span_epoch)
{
    const struct replica *by = replicas_of_range(&store->replicas, into_range);
    return by != NULL &&
           (by->range == NULL || range_descriptor(by->range)->epoch.span < span_epoch);
}

/* Does it go by the edit of this snapshot, too, or is the snapshot its own? */
static bool is_over(const struct plan *plan, uint64_t range_id)
{
    const struct replica *r = replicas_of_range(&plan->r->store->replicas, range_id);
    return r == plan->r || (r != NULL && r->absorbed.is_planned);
}

/* Everything that says that the range is over; false: nothing does. *ret_is_free: nobody
 * here takes it in by an entry of its own log. */
static bool is_ended(const struct plan *plan, const struct replica *r, bool *ret_is_free)
{
    const struct merge_outcome *o = merges_ended(&plan->meta->merges, r->range_id);
    uint64_t into = o != NULL ? o->into_range : r->absorbed.ended_into;
    uint64_t epoch = o != NULL ? o->span_epoch : r->absorbed.ended_epoch;
    *ret_is_free =
        into == 0 || is_over(plan, into) || !absorb_is_awaited(plan->r->store, into, epoch);
    return into != 0;
}

static bool may_swallow(const struct plan *plan, const struct replica *r)
{
    bool is_free;
    bool has_ended = is_ended(plan, r, &is_free);
    if (r->state != REPLICA_RUNNING && r->state != REPLICA_ABSORBED)
        return false;
    if (r->state == REPLICA_ABSORBED && !is_over(plan, r->absorbed.by_range))
        return false;
    return is_free && (has_ended || is_covered(plan, r));
}

/* Everything that may be swallowed, and is met or was merged into what is. False: something that is
 * met may not. */
static bool plan_make(struct plan *plan, const struct replica *r)
{
    const struct replicas *set = &r->store->replicas;
    struct replica *other;
    bool has_grown = true;
    *plan = (struct plan){.r = r, .meta = snapshot_in_meta(r)};
    while (has_grown) {
        has_grown = false;
        for (uint32_t i = 0; (other = replicas_by_span(set, i)) != NULL; i++) {
            bool is_met =
                meets(plan, other) || merges_ended(&plan->meta->merges, other->range_id) != NULL;
            if (other == r || !is_met || other->absorbed.is_planned || !may_swallow(plan, other))
                continue;
            other->absorbed.is_planned = true;
            has_grown = true;
        }
    }
    for (uint32_t i = 0; (other = replicas_by_span(set, i)) != NULL; i++) {
        if (other != r && meets(plan, other) && !other->absorbed.is_planned)
            return PLANTED(stale_replica_kept);
    }
    return true;
}

static void plan_end(const struct plan *plan)
{
    struct replica *other;
    for (uint32_t i = 0; (other = replicas_by_span(&plan->r->store->replicas, i)) != NULL; i++)
        other->absorbed.is_planned = false;
}

bool absorb_may_install(const struct replica *r)
{
    struct plan plan;
    if (r->store->state == STORE_REPLAYING) /* whoever replays has something under way */
        return false;
    bool may = plan_make(&plan, r);
    plan_end(&plan);
    return may;
}

bool absorb_is_overtaken(const struct replica *r)
{
    const struct plan plan = {.r = r, .meta = snapshot_in_meta(r)};
    const struct range_descriptor *staged = &plan.meta->descriptor;
    const struct replicas *set = &r->store->replicas;
    const struct replica *other;
    if (replicas_overlap(set, range_descriptor_span(staged), r) == NULL)
        return false; /* as nearly always: there is no need to look at all */
    for (uint32_t i = 0; (other = replicas_by_span(set, i)) != NULL; i++) {
        bool is_younger = range_descriptor(other->range)->epoch.span > staged->epoch.span;
        if (other != r && is_younger && other->state != REPLICA_REMOVING && meets(&plan, other))
            return true;
    }
    return false;
}

/* Who stood still for a merge that this state knows to have been refused has a range of its own; so
 * has who did so for one that goes with this edit, and does not go itself. */
static void release_unplanned(const struct plan *plan)
{
    uint32_t cursor = 0;
    struct replica *other;
    while ((other = replicas_each(&plan->r->store->replicas, &cursor)) != NULL) {
        bool is_planned = other->absorbed.is_planned;
        if (other->state == REPLICA_ABSORBED && !is_planned &&
            is_over(plan, other->absorbed.by_range))
            release(other);
    }
}

void absorb_begin_install(struct replica *r)
{
    struct plan plan;
    struct replica *other;
    bool may = plan_make(&plan, r);
    ASSERT(may);
    for (uint32_t i = 0; (other = replicas_by_span(&r->store->replicas, i)) != NULL; i++) {
        if (other->absorbed.is_planned && !PLANTED(stale_replica_kept))
            absorb(other, r->range_id, 0);
    }
    release_unplanned(&plan);
    plan_end(&plan);
}

bool absorb_is_quiet(const struct replica *r)
{
    uint32_t cursor = 0;
    const struct replica *other;
    while ((other = replicas_each(&r->store->replicas, &cursor)) != NULL) {
        if (is_absorbed_by(other, r->range_id) && !replica_is_quiet(other))
            return false;
    }
    return true;
}

static int note_end(const struct replica *r, const struct range_meta *meta)
{
    struct tombstones *t = &r->store->tombstones;
    const struct merge_outcome *o = merges_ended(&meta->merges, r->range_id);
    if (o != NULL)
        return tombstones_end(t, r->range_id, o->into_range, o->span_epoch);
    if (r->absorbed.ended_into != 0)
        return tombstones_end(t, r->range_id, r->absorbed.ended_into, r->absorbed.ended_epoch);
    return tombstones_raise(t, r->range_id, r->replica_id + 1);
}

int absorb_put_install(const struct replica *r, struct range_install *install)
{
    uint32_t cursor = 0;
    const struct replica *other;
    int rv = 0;
    range_install_plain(install);
    while (rv == 0 && (other = replicas_each(&r->store->replicas, &cursor)) != NULL) {
        uint8_t local[2 * RANGE_LOCAL_KEY_LEN];
        if (!is_absorbed_by(other, r->range_id))
            continue;
        ASSERT(other->absorbed.to_index == 0 || PLANTED(stale_replica_kept));
        rv = note_end(other, range_install_meta(install));
        if (rv == 0)
            rv = range_install_excise(install, range_local_span(other->replica_id, local));
        if (rv == 0)
            rv = range_install_excise(install,
                                      range_descriptor_span(range_descriptor(other->range)));
        if (rv != 0)
            break;
        tombstone_put(range_install_puts(install), &r->store->tombstones, other->range_id);
        tombstone_put_gone(range_install_puts(install), other->replica_id);
    }
    return rv;
}

void absorb_end_install(struct replica *r, bool is_durable)
{
    struct store *store = r->store;
    uint32_t cursor = 0;
    struct replica *other;
    bool has_gone = false;
    while ((other = replicas_each(&store->replicas, &cursor)) != NULL) {
        if (!is_absorbed_by(other, r->range_id))
            continue;
        if (!is_durable) {
            release(other);
            continue;
        }
        LOG_INFO(store->logger, "swallowed", "range=%llu by=%llu",
                 (unsigned long long)other->range_id, (unsigned long long)r->range_id);
        ASSERT(list_is_empty(&other->proposals));
        raftlog_remove_group(store->log, other->replica_id);
        replicas_remove(&store->replicas, other);
        replica_free(other);
        has_gone = true;
    }
    if (has_gone)
        store_on_replica_gone(store);
}
