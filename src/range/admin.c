/* SPDX-License-Identifier: Apache-2.0 */
#include "range/admin.h"

#include "base/coding.h"
#include "base/hash.h"
#include "base/plant.h"
#include "range/range_internal.h"

enum { ADMIN_FORMAT = 2 };

bool range_admin_is(struct slice payload)
{
    return payload.len > 0 && payload.data[0] == ADMIN_FORMAT;
}

/* ---- encoding -------------------------------------------------------------------- */

static void split_encode(const struct range_split *split, struct buf *out)
{
    ASSERT(split->key.len > 0 && split->key.len <= RANGE_KEY_MAX);
    ASSERT(split->count > 0 && split->count <= RANGE_REPLICAS_MAX);
    buf_append_varint(out, split->key.len);
    buf_append_slice(out, split->key);
    buf_append_u64(out, split->range_id);
    buf_append_u8(out, (uint8_t)split->count);
    for (uint32_t i = 0; i < split->count; i++) {
        buf_append_u64(out, split->children[i].store_id);
        buf_append_u64(out, split->children[i].replica_id);
    }
}

static void merge_encode(const struct range_admin *admin, struct buf *out)
{
    const struct range_merge *merge = &admin->merge;
    ASSERT(merge->attempt != 0 && merge->range_id != 0);
    ASSERT(merge->count <= RANGE_REPLICAS_MAX);
    buf_append_u64(out, merge->attempt);
    buf_append_u64(out, merge->range_id);
    if (admin->kind == RANGE_ADMIN_PREPARE_MERGE) {
        buf_append_u64(out, merge->left.conf);
        buf_append_u64(out, merge->left.span);
        buf_append_u8(out, (uint8_t)merge->count);
        for (uint32_t i = 0; i < merge->count; i++) {
            buf_append_u64(out, merge->seats[i].store_id);
            buf_append_u8(out, (uint8_t)merge->seats[i].role);
        }
    } else if (admin->kind == RANGE_ADMIN_COMMIT_MERGE) {
        buf_append_u64(out, merge->index);
        buf_append_u64(out, merge->term);
    } else if (admin->kind == RANGE_ADMIN_ABORT_MERGE) {
        ASSERT(merge->key.len > 0 && merge->key.len <= RANGE_KEY_MAX);
        buf_append_varint(out, merge->key.len);
        buf_append_slice(out, merge->key);
    }
}

static bool is_retention(uint64_t ms)
{
    return ms > 0 && ms <= RANGE_RETENTION_MS_MAX;
}

void range_admin_encode(const struct range_admin *admin, struct buf *out)
{
    ASSERT(admin->kind > 0 && admin->kind <= RANGE_ADMIN_KIND_LAST);
    ASSERT(admin->stamp_ms <= RANGE_TIME_MAX);
    buf_append_u8(out, ADMIN_FORMAT);
    buf_append_u8(out, (uint8_t)admin->kind);
    buf_append_u64(out, admin->stamp_ms);
    buf_append_u64(out, admin->epoch.conf);
    buf_append_u64(out, admin->epoch.span);
    if (admin->kind == RANGE_ADMIN_SPLIT) {
        split_encode(&admin->split, out);
    } else if (admin->kind == RANGE_ADMIN_RETAIN) {
        ASSERT(is_retention(admin->retention_ms));
        buf_append_u64(out, admin->retention_ms);
    } else {
        merge_encode(admin, out);
    }
}

static void split_read(struct reader *r, struct range_split *split)
{
    split->key = read_bytes_prefixed(r);
    split->range_id = read_u64(r);
    split->count = read_u8(r);
    if (split->key.len == 0 || split->key.len > RANGE_KEY_MAX || split->count == 0 ||
        split->count > RANGE_REPLICAS_MAX)
        r->bad = true;
    for (uint32_t i = 0; i < split->count && !r->bad; i++) {
        split->children[i].store_id = read_u64(r);
        split->children[i].replica_id = read_u64(r);
    }
}

static void seats_read(struct reader *r, struct range_merge *merge)
{
    merge->count = read_u8(r);
    if (merge->count == 0 || merge->count > RANGE_REPLICAS_MAX)
        r->bad = true;
    for (uint32_t i = 0; i < merge->count && !r->bad; i++) {
        merge->seats[i].store_id = read_u64(r);
        uint8_t role = read_u8(r);
        if (role != RANGE_ROLE_VOTER && role != RANGE_ROLE_LEARNER)
            r->bad = true;
        merge->seats[i].role = (enum range_role)role;
    }
}

static void merge_read(struct reader *r, enum range_admin_kind kind, struct range_merge *merge)
{
    merge->attempt = read_u64(r);
    merge->range_id = read_u64(r);
    if (merge->attempt == 0 || merge->range_id == 0)
        r->bad = true;
    if (kind == RANGE_ADMIN_PREPARE_MERGE) {
        merge->left.conf = read_u64(r);
        merge->left.span = read_u64(r);
        seats_read(r, merge);
    } else if (kind == RANGE_ADMIN_COMMIT_MERGE) {
        merge->index = read_u64(r);
        merge->term = read_u64(r);
    } else if (kind == RANGE_ADMIN_ABORT_MERGE) {
        merge->key = read_bytes_prefixed(r);
        if (merge->key.len == 0 || merge->key.len > RANGE_KEY_MAX)
            r->bad = true;
    }
}

int range_admin_decode(struct slice payload, struct range_admin *ret_admin, struct err *err)
{
    struct reader r = reader_of(payload);
    struct range_admin admin = {0};
    uint8_t format = read_u8(&r);
    uint8_t kind = read_u8(&r);
    if (r.bad || format != ADMIN_FORMAT || kind == 0)
        return err_set(err, ERR_CORRUPT, "administrative entry: malformed head");
    if (kind > RANGE_ADMIN_KIND_LAST)
        return err_set(err, ERR_UNSUPPORTED, "administrative entry of kind %u", kind);
    admin.kind = (enum range_admin_kind)kind;
    admin.stamp_ms = read_u64(&r);
    admin.epoch.conf = read_u64(&r);
    admin.epoch.span = read_u64(&r);
    if (admin.kind == RANGE_ADMIN_SPLIT)
        split_read(&r, &admin.split);
    else if (admin.kind == RANGE_ADMIN_RETAIN)
        admin.retention_ms = read_u64(&r);
    else
        merge_read(&r, admin.kind, &admin.merge);
    bool is_bad = admin.kind == RANGE_ADMIN_RETAIN && !is_retention(admin.retention_ms);
    if (r.bad || r.left != 0 || admin.stamp_ms > RANGE_TIME_MAX || is_bad)
        return err_set(err, ERR_CORRUPT, "administrative entry: malformed");
    *ret_admin = admin;
    return 0;
}

/* ---- judging ---------------------------------------------------------------------- */

static const struct range_child *child_on(const struct range_split *split, uint64_t store_id)
{
    for (uint32_t i = 0; i < split->count; i++) {
        if (split->children[i].store_id == store_id)
            return &split->children[i];
    }
    return NULL;
}

static int judge_ids(const struct range_descriptor *d, const struct range_split *split,
                     struct err *err)
{
    if (split->count != d->replica_count)
        return err_set(err, ERR_INVALID, "the split names %u replicas, the range has %u",
                       split->count, d->replica_count);
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (child_on(split, d->replicas[i].store_id) == NULL)
            return err_set(err, ERR_INVALID, "the split names no replica for store %llu",
                           (unsigned long long)d->replicas[i].store_id);
    }
    for (uint32_t i = 0; i < split->count; i++) {
        uint64_t id = split->children[i].replica_id;
        bool is_used = id == 0 || range_descriptor_find(d, id) != NULL;
        for (uint32_t k = 0; k < i; k++)
            is_used = is_used || split->children[k].replica_id == id;
        if (is_used)
            return err_set(err, ERR_INVALID, "replica id %llu is used already",
                           (unsigned long long)id);
    }
    return 0;
}

int range_admin_check_epoch(const struct range_descriptor *d, struct range_epoch epoch,
                            struct err *err)
{
    if (epoch.conf == d->epoch.conf && epoch.span == d->epoch.span)
        return 0;
    return err_set(err, ERR_RANGE_CHANGED, "the range is at epoch %llu.%llu, not %llu.%llu",
                   (unsigned long long)d->epoch.conf, (unsigned long long)d->epoch.span,
                   (unsigned long long)epoch.conf, (unsigned long long)epoch.span);
}

int range_admin_check_frozen(const struct range_meta *meta, struct err *err)
{
    if (meta->merges.frozen.attempt == 0)
        return 0;
    return err_set(err, ERR_RANGE_CHANGED,
                   "the range is frozen: it is being merged into range %llu",
                   (unsigned long long)meta->merges.frozen.left_range);
}

int range_split_judge(const struct range_meta *meta, const struct range_admin *admin,
                      struct err *err)
{
    const struct range_descriptor *d = &meta->descriptor;
    const struct range_split *split = &admin->split;
    struct range_span span = range_descriptor_span(d);
    ASSERT(admin->kind == RANGE_ADMIN_SPLIT);
    if (d->range_id == RANGE_ID_SYSTEM)
        return err_set(err, ERR_INVALID, "range 1 is never split");
    int rv = range_admin_check_frozen(meta, err);
    if (rv == 0)
        rv = range_admin_check_epoch(d, admin->epoch, err);
    if (rv != 0)
        return rv;
    if (!range_span_contains(span, split->key) || slice_compare(span.start, split->key) == 0)
        return err_set(err, ERR_RANGE_CHANGED, "the key of the split is not inside the range");
    if (split->range_id == 0 || split->range_id == d->range_id)
        return err_set(err, ERR_INVALID, "range id %llu is used already",
                       (unsigned long long)split->range_id);
    return judge_ids(d, split, err);
}

size_t range_split_replicas(const struct range_descriptor *d, const struct range_split *split,
                            struct range_replica out[RANGE_REPLICAS_MAX])
{
    ASSERT(split->count == d->replica_count);
    for (uint32_t i = 0; i < d->replica_count; i++) {
        const struct range_child *child = child_on(split, d->replicas[i].store_id);
        ASSERT(child != NULL);
        out[i] = d->replicas[i];
        out[i].replica_id = child->replica_id;
    }
    return d->replica_count;
}

/* ---- applying ----------------------------------------------------------------------- */

/* Everything of the right half that takes memory. */
static int make_right(const struct range_meta *left, const struct range_split *split,
                      struct slice conf, struct range_meta *ret_right, struct err *err)
{
    const struct range_descriptor *d = &left->descriptor;
    struct range_replica replicas[RANGE_REPLICAS_MAX];
    struct range_birth birth = {
        .range_id = split->range_id,
        .epoch = {.conf = 1, .span = d->epoch.span + 1},
        .span = {.start = split->key, .end = slice_of(d->end, d->end_len)},
        .replicas = replicas,
        .replica_count = range_split_replicas(d, split, replicas),
        .index = RANGE_BIRTH_INDEX,
        .term = RANGE_BIRTH_TERM,
        .time_ms = left->time_ms,
        .conf = conf,
    };
    int rv = range_birth_meta(&birth, ret_right, err);
    if (rv != 0)
        return rv;
    if (!PLANTED(split_forgets_sessions))
        rv = sessions_copy(&ret_right->sessions, &left->sessions);
    if (rv == 0)
        rv = merges_unite(&ret_right->merges, &left->merges);
    if (rv == 0)
        rv = seams_copy(&ret_right->seams, &left->seams);
    if (rv == 0)
        return 0;
    range_meta_fini(ret_right);
    return err_set(err, rv, "sessions and merges of the right half");
}

static int make_left(const struct range_meta *meta, const struct range_split *split,
                     struct range_descriptor *ret_left, struct err *err)
{
    const struct range_descriptor *d = &meta->descriptor;
    struct range_span span = {.start = slice_of(d->start, d->start_len), .end = split->key};
    struct range_epoch epoch = {.conf = d->epoch.conf, .span = d->epoch.span + 1};
    return range_descriptor_init(ret_left, d->range_id, epoch, span, d->replicas, d->replica_count,
                                 err);
}

void range_admin_move_on(struct range *range, uint64_t index, uint64_t term,
                         const struct range_admin *admin, int status)
{
    struct range_meta *meta = &range->meta;
    uint64_t what = (uint64_t)(uint32_t)status << 8 | admin->kind;
    range_advance(range, index, term);
    if (meta->merges.frozen.attempt == 0) {
        meta->time_ms = MAX(meta->time_ms, admin->stamp_ms);
        meta->last_version =
            MAX(meta->time_ms << RANGE_VERSION_COUNTER_BITS, meta->last_version + 1);
    }
    meta->history_hash = hash_mix(hash_mix(meta->history_hash, index), term);
    meta->history_hash = hash_mix(hash_mix(meta->history_hash, admin->stamp_ms), what);
}

/* What both halves have in common, as of the split. */
static void right_follows(const struct range_meta *left, struct range_meta *right)
{
    right->time_ms = left->time_ms;
    right->last_version = left->last_version;
    right->safe_version = left->safe_version;
    right->retention_ms = left->retention_ms;
    right->floor_ms = left->floor_ms;
    right->history_hash = hash_mix(left->history_hash, right->descriptor.range_id);
    range_meta_check(right);
}

int range_apply_split(struct range *range, uint64_t index, uint64_t term,
                      const struct range_admin *admin, struct slice right_conf,
                      struct range_meta *ret_right, int *ret_status, struct err *err)
{
    struct range_meta *meta = &range->meta;
    struct range_descriptor left = {0};
    ASSERT(index == meta->applied_index + 1);
    ASSERT(!range->is_installing);
    int status = range_split_judge(meta, admin, err);
    if (status != 0) {
        range_admin_move_on(range, index, term, admin, status);
        *ret_status = status;
        return 0;
    }
    int rv = make_right(meta, &admin->split, right_conf, ret_right, err);
    if (rv != 0)
        return rv;
    rv = make_left(meta, &admin->split, &left, err);
    if (rv != 0) {
        range_meta_fini(ret_right);
        return rv;
    }
    range_admin_move_on(range, index, term, admin, 0);
    right_follows(meta, ret_right);
    range_descriptor_fini(&meta->descriptor);
    meta->descriptor = left;
    seams_cut(&meta->seams, range_descriptor_span(&left).end);
    *ret_status = 0;
    range_check(range);
    return 0;
}

int range_retain_judge(const struct range_meta *meta, const struct range_admin *admin,
                       struct err *err)
{
    ASSERT(admin->kind == RANGE_ADMIN_RETAIN);
    if (meta->descriptor.range_id == RANGE_ID_SYSTEM)
        return err_set(err, ERR_INVALID, "range 1 keeps the retention of the cluster's founding");
    int rv = range_admin_check_frozen(meta, err);
    return rv != 0 ? rv : range_admin_check_epoch(&meta->descriptor, admin->epoch, err);
}

void range_apply_retain(struct range *range, uint64_t index, uint64_t term,
                        const struct range_admin *admin, int *ret_status, struct err *err)
{
    struct range_meta *meta = &range->meta;
    ASSERT(index == meta->applied_index + 1);
    ASSERT(!range->is_installing);
    *ret_status = range_retain_judge(meta, admin, err);
    range_admin_move_on(range, index, term, admin, *ret_status);
    if (*ret_status != 0)
        return;
    meta->retention_ms = admin->retention_ms;
    meta->history_hash = hash_mix(meta->history_hash, admin->retention_ms);
    if (PLANTED(history_comes_back))
        meta->safe_version = 0;
    range_raise_safe_point(meta);
    range_check(range);
}
