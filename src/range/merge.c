/* SPDX-License-Identifier: Apache-2.0 */
#include "range/merge.h"

#include "base/hash.h"
#include "base/plant.h"
#include "range/feed.h"
#include "range/range_internal.h"

/* ---- judging ------------------------------------------------------------------------ */

static bool has_seat(const struct range_descriptor *d, const struct range_seat *seat)
{
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (d->replicas[i].store_id == seat->store_id)
            return d->replicas[i].role == seat->role;
    }
    return false;
}

int range_prepare_judge(const struct range_meta *right, const struct range_admin *admin,
                        struct err *err)
{
    const struct range_descriptor *d = &right->descriptor;
    const struct range_merge *merge = &admin->merge;
    ASSERT(admin->kind == RANGE_ADMIN_PREPARE_MERGE);
    int rv = range_admin_check_frozen(right, err);
    if (rv == 0)
        rv = range_admin_check_epoch(d, admin->epoch, err);
    if (rv == 0 && merge->range_id == d->range_id)
        rv = err_set(err, ERR_INVALID, "a range cannot be merged into itself");
    bool is_same = merge->count == d->replica_count;
    for (uint32_t i = 0; is_same && i < merge->count; i++)
        is_same = has_seat(d, &merge->seats[i]);
    if (rv == 0 && !is_same)
        rv = err_set(err, ERR_INVALID,
                     "the replicas of range %llu and of range %llu are not on the same stores in "
                     "the same roles",
                     (unsigned long long)merge->range_id, (unsigned long long)d->range_id);
    return rv;
}

int range_commit_judge(const struct range_meta *left, const struct range_admin *admin,
                       struct err *err)
{
    ASSERT(admin->kind == RANGE_ADMIN_COMMIT_MERGE);
    int rv = range_admin_check_frozen(left, err);
    if (rv == 0 && merges_find(&left->merges, admin->merge.attempt) != NULL)
        rv = err_set(err, ERR_EXISTS, "this attempt to merge is over already");
    if (rv == 0 && !PLANTED(epoch_not_checked))
        rv = range_admin_check_epoch(&left->descriptor, admin->epoch, err);
    if (rv == 0 && merges_committed(&left->merges) >= MERGES_COMMITTED_MAX)
        rv = err_set(err, ERR_BUSY, "%d merges are not over on all stores yet",
                     MERGES_COMMITTED_MAX);
    return rv;
}

int range_merges_fit(const struct range_meta *left, const struct range_meta *right, struct err *err)
{
    uint32_t count = merges_committed(&left->merges) + merges_committed(&right->merges);
    if (count < MERGES_COMMITTED_MAX)
        return 0;
    return err_set(err, ERR_BUSY, "%u merges are not over on all stores yet, limit %d", count,
                   MERGES_COMMITTED_MAX);
}

/* ---- the right ------------------------------------------------------------------------ */

static void apply_prepare(struct range *range, uint64_t index, uint64_t term,
                          const struct range_admin *admin, int *ret_status, struct err *err)
{
    struct range_meta *meta = &range->meta;
    *ret_status = range_prepare_judge(meta, admin, err);
    range_admin_move_on(range, index, term, admin, *ret_status);
    if (*ret_status == 0)
        meta->merges.frozen = (struct merge_frozen){
            .attempt = admin->merge.attempt,
            .left_range = admin->merge.range_id,
            .left = admin->merge.left,
            .index = index,
            .term = term,
            .history_hash = meta->history_hash,
        };
}

static void apply_thaw(struct range *range, uint64_t index, uint64_t term,
                       const struct range_admin *admin, int *ret_status, struct err *err)
{
    struct merge_frozen *frozen = &range->meta.merges.frozen;
    *ret_status = 0;
    if (frozen->attempt != admin->merge.attempt)
        *ret_status = err_set(err, ERR_NOT_FOUND, "the range is not frozen by this attempt");
    else
        *frozen = (struct merge_frozen){0};
    range_admin_move_on(range, index, term, admin, *ret_status);
}

/* ---- the left -------------------------------------------------------------------------- */

static int judge_abort(const struct range_meta *left, const struct range_admin *admin,
                       struct err *err)
{
    struct range_span span = range_descriptor_span(&left->descriptor);
    int rv = range_admin_check_frozen(left, err);
    if (rv == 0 && merges_find(&left->merges, admin->merge.attempt) != NULL)
        rv = err_set(err, ERR_EXISTS, "this attempt to merge is over already");
    if (rv == 0 && slice_compare(span.end, admin->merge.key) != 0)
        rv = err_set(err, ERR_RANGE_CHANGED, "the range that is to be left alone is no neighbour");
    return rv;
}

/* Only the owner of the key just left of the right's start says "aborted", and by raising
 * its epoch it makes sure that no COMMIT of this attempt is ever done. */
static int apply_abort(struct range *range, uint64_t index, uint64_t term,
                       const struct range_admin *admin, int *ret_status, struct err *err)
{
    struct range_meta *meta = &range->meta;
    struct merge_outcome outcome = {.attempt = admin->merge.attempt,
                                    .right_range = admin->merge.range_id};
    int status = judge_abort(meta, admin, err);
    if (status == 0 && merges_add(&meta->merges, &outcome) != 0)
        return err_set(err, ERR_NOMEM, "abort a merge");
    range_admin_move_on(range, index, term, admin, status);
    if (status == 0)
        meta->descriptor.epoch.span++;
    *ret_status = status;
    return 0;
}

static void apply_forget(struct range *range, uint64_t index, uint64_t term,
                         const struct range_admin *admin, int *ret_status, struct err *err)
{
    *ret_status = range_admin_check_frozen(&range->meta, err);
    range_admin_move_on(range, index, term, admin, *ret_status);
    if (*ret_status == 0)
        merges_forget(&range->meta.merges, admin->merge.attempt);
}

int range_apply_merge_step(struct range *range, uint64_t index, uint64_t term,
                           const struct range_admin *admin, int *ret_status, struct err *err)
{
    ASSERT(index == range->meta.applied_index + 1);
    ASSERT(!range->is_installing);
    switch (admin->kind) {
    case RANGE_ADMIN_PREPARE_MERGE:
        apply_prepare(range, index, term, admin, ret_status, err);
        return 0;
    case RANGE_ADMIN_ABORT_MERGE:
        return apply_abort(range, index, term, admin, ret_status, err);
    case RANGE_ADMIN_FORGET_MERGE:
        apply_forget(range, index, term, admin, ret_status, err);
        return 0;
    default:
        ASSERT(admin->kind == RANGE_ADMIN_THAW);
        apply_thaw(range, index, term, admin, ret_status, err);
        return 0;
    }
}

/* ---- commit ---------------------------------------------------------------------------- */

static int check_right(const struct range_meta *left, const struct range_meta *right,
                       const struct range_merge *merge, struct err *err)
{
    const struct merge_frozen *f = &right->merges.frozen;
    struct range_span l = range_descriptor_span(&left->descriptor);
    struct range_span r = range_descriptor_span(&right->descriptor);
    if (right->descriptor.range_id == merge->range_id && f->attempt == merge->attempt &&
        f->left_range == left->descriptor.range_id && f->index == merge->index &&
        f->term == merge->term && slice_compare(l.end, r.start) == 0)
        return 0;
    return err_set(err, ERR_CORRUPT, "range %llu is not frozen for this merge into range %llu",
                   (unsigned long long)merge->range_id,
                   (unsigned long long)left->descriptor.range_id);
}

/* The union, made apart: it takes memory, and must be had whole or not at all. */
struct whole {
    struct range_descriptor descriptor;
    struct merges merges;
    struct seams seams;
    struct sessions sessions;
    uint64_t floor_ms;
};

static void whole_fini(struct whole *whole)
{
    range_descriptor_fini(&whole->descriptor);
    merges_fini(&whole->merges);
    seams_fini(&whole->seams);
    sessions_fini(&whole->sessions);
}

static int unite_outcomes(const struct range_meta *left, const struct range_meta *right,
                          const struct range_merge *merge, struct merges *ret)
{
    const struct range_descriptor *r = &right->descriptor;
    struct merge_outcome outcome = {
        .attempt = merge->attempt,
        .right_range = merge->range_id,
        .is_committed = true,
        .into_range = left->descriptor.range_id,
        .span_epoch = MAX(left->descriptor.epoch.span, r->epoch.span) + 1,
        .count = r->replica_count,
    };
    for (uint32_t i = 0; i < r->replica_count; i++)
        outcome.right[i] = (struct range_place){.store_id = r->replicas[i].store_id,
                                                .replica_id = r->replicas[i].replica_id};
    int rv = merges_copy(ret, &left->merges);
    if (rv == 0)
        rv = merges_unite(ret, &right->merges);
    return rv == 0 ? merges_add(ret, &outcome) : rv;
}

/* The right's own seams need not be kept: they are all below its last version. That version
 * itself is none that the left gave: one who read there while the right was frozen, and goes on
 * into the left's keys, would miss what the left wrote at later versions before that. */
static int unite_seams(const struct range_meta *left, const struct range_meta *right,
                       struct seams *ret)
{
    int rv = seams_copy(ret, &left->seams);
    if (rv != 0)
        return rv;
    uint64_t safe = MAX(left->safe_version, right->safe_version);
    seams_forget_below(ret, safe);
    if (right->last_version < safe || PLANTED(merge_forgets_seams))
        return 0;
    return seams_add(ret, range_descriptor_span(&right->descriptor).start, right->last_version + 1);
}

static int make_whole(const struct range_meta *left, const struct range_meta *right,
                      const struct range_merge *merge, struct whole *whole, struct err *err)
{
    const struct range_descriptor *l = &left->descriptor;
    const struct range_descriptor *r = &right->descriptor;
    struct range_span span = {.start = slice_of(l->start, l->start_len),
                              .end = slice_of(r->end, r->end_len)};
    struct range_epoch epoch = {.conf = l->epoch.conf,
                                .span = MAX(l->epoch.span, r->epoch.span) + 1};
    whole->floor_ms = MAX(left->floor_ms, right->floor_ms);
    sessions_set_hash_key(&whole->sessions, left->sessions.hash_key);
    int rv = unite_outcomes(left, right, merge, &whole->merges);
    if (rv == 0)
        rv = unite_seams(left, right, &whole->seams);
    if (rv == 0)
        rv = sessions_copy(&whole->sessions, &left->sessions);
    if (rv == 0)
        rv = PLANTED(merge_forgets_sessions)
                 ? 0
                 : sessions_unite(&whole->sessions, &right->sessions, &whole->floor_ms);
    if (rv != 0)
        return err_set(err, rv, "sessions and merges of both ranges");
    return range_descriptor_init(&whole->descriptor, l->range_id, epoch, span, l->replicas,
                                 l->replica_count, err);
}

/* Until the whole is durable, a crash brings the right back as it is durable now, and its log
 * is applied once more: what that reads must not be dropped because the left is further on. */
static void hold_back_gc(struct range *left, const struct range *right)
{
    uint64_t safe = right->flushed.safe_version;
    left->flushed.safe_version = MIN(left->flushed.safe_version, safe);
    for (uint32_t i = 0; i < left->freeze_count; i++)
        left->freezes[i].safe_version = MIN(left->freezes[i].safe_version, safe);
}

/* `whole` is empty after. */
static void take_in(struct range *range, const struct range_meta *right, struct whole *whole)
{
    struct range_meta *left = &range->meta;
    left->time_ms = MAX(left->time_ms, right->time_ms);
    left->last_version = MAX(left->last_version, right->last_version + 1);
    left->last_version = MAX(left->last_version, left->time_ms << RANGE_VERSION_COUNTER_BITS);
    left->safe_version = MAX(left->safe_version, right->safe_version);
    left->retention_ms = MAX(left->retention_ms, right->retention_ms);
    left->floor_ms = whole->floor_ms;
    left->history_hash = hash_mix(left->history_hash, right->merges.frozen.history_hash);
    range_descriptor_fini(&left->descriptor);
    merges_fini(&left->merges);
    seams_fini(&left->seams);
    sessions_fini(&left->sessions);
    left->descriptor = whole->descriptor;
    left->merges = whole->merges;
    left->seams = whole->seams;
    left->sessions = whole->sessions;
    *whole = (struct whole){0};
    feed_restart(range);
}

int range_apply_commit(struct range *left, const struct range *right, uint64_t index, uint64_t term,
                       const struct range_admin *admin, int *ret_status, struct err *err)
{
    struct range_meta *meta = &left->meta;
    struct whole whole = {0};
    ASSERT(index == meta->applied_index + 1);
    ASSERT(!left->is_installing);
    int status = range_commit_judge(meta, admin, err);
    if (status == 0 && right != NULL)
        status = range_merges_fit(meta, &right->meta, err);
    if (status != 0) {
        range_admin_move_on(left, index, term, admin, status);
        *ret_status = status;
        return 0;
    }
    ASSERT(right != NULL);
    ASSERT(right->meta.applied_index >= admin->merge.index);
    int rv = check_right(meta, &right->meta, &admin->merge, err);
    sessions_init(&whole.sessions);
    if (rv == 0)
        rv = make_whole(meta, &right->meta, &admin->merge, &whole, err);
    if (rv == 0) {
        range_admin_move_on(left, index, term, admin, 0);
        hold_back_gc(left, right);
        take_in(left, &right->meta, &whole);
        *ret_status = 0;
        range_check(left);
    }
    whole_fini(&whole);
    return rv;
}

void range_put_end(const struct range *right, struct lsm_batch *batch)
{
    uint8_t key[RANGE_LOCAL_KEY_LEN];
    range_meta_key(right->replica_id, key);
    lsm_batch_delete(batch, slice_of(key, sizeof key), right->meta.applied_index + 1);
}
