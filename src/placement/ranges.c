/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of ranges: what was heard of them, newest first by epoch. A descriptor is
 * believed if neither of its epochs is below what is known. Of a key the owner's span epoch
 * only grows, and a range that lives owns its start: so one whose start lies in another
 * range of a greater span epoch was merged into that one, and has ended.
 */
#include <stdlib.h>

#include "placement/placement_internal.h"

struct pl_range *pl_range_get(const struct placement *p, uint64_t id)
{
    return map_get(&p->ranges, id);
}

struct pl_member *pl_range_member(const struct pl_range *r, uint64_t replica_id)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].id == replica_id)
            return &r->members[i];
    }
    return NULL;
}

struct pl_member *pl_range_on(const struct pl_range *r, const struct pl_store *s)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].store == s)
            return &r->members[i];
    }
    return NULL;
}

struct pl_member *pl_range_leader(const struct pl_range *r)
{
    return r->leader == 0 ? NULL : pl_range_member(r, r->leader);
}

/* ---- what stores have ---------------------------------------------------------------------- */

static int reserve_on(struct pl_store *s)
{
    if (s->count < s->cap)
        return 0;
    uint32_t cap = s->cap == 0 ? 16 : s->cap * 2;
    struct pl_range **ranges = realloc(s->ranges, cap * sizeof(struct pl_range *));
    if (ranges == NULL)
        return ERR_NOMEM;
    s->ranges = ranges;
    s->cap = cap;
    return 0;
}

static void account_load(struct pl_range *r, bool is_added)
{
    const struct pl_member *leader = pl_range_leader(r);
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_store *s = r->members[i].store;
        s->bytes += is_added ? r->bytes : -r->bytes;
        s->write_bytes_s += is_added ? r->write_bytes_s : -(uint64_t)r->write_bytes_s;
    }
    if (leader != NULL) {
        leader->store->leaders += is_added ? 1 : (uint32_t)-1;
        leader->store->qps += is_added ? r->qps : -(uint64_t)r->qps;
    }
}

/* All its stores have room for one more (reserve_on). */
static void attach(struct pl_range *r)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_store *s = r->members[i].store;
        ASSERT(s->count < s->cap);
        r->members[i].at = s->count;
        s->ranges[s->count++] = r;
    }
    account_load(r, true);
}

static void detach(struct pl_range *r)
{
    account_load(r, false);
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_member *m = &r->members[i];
        struct pl_store *s = m->store;
        ASSERT(m->at < s->count && s->ranges[m->at] == r);
        struct pl_range *last = s->ranges[--s->count];
        s->ranges[m->at] = last;
        if (last != r)
            pl_range_on(last, s)->at = m->at;
    }
}

void pl_range_set_leader(struct pl_range *r, uint64_t replica_id)
{
    if (r->leader == replica_id)
        return;
    account_load(r, false);
    r->leader = replica_id;
    account_load(r, true);
}

void pl_range_set_load(struct placement *p, struct pl_range *r, uint64_t bytes, uint32_t qps,
                       uint32_t write_bytes_s)
{
    account_load(r, false);
    r->bytes = bytes;
    r->qps = qps;
    r->write_bytes_s = write_bytes_s;
    account_load(r, true);
    if (bytes >= p->settings.merge_bytes)
        r->small_since_ms = 0;
    else if (r->small_since_ms == 0)
        r->small_since_ms = MAX(p->now_ms, 1);
    if (qps < p->settings.split_qps)
        r->hot_since_ms = 0;
    else if (r->hot_since_ms == 0)
        r->hot_since_ms = MAX(p->now_ms, 1);
}

void pl_range_recheck(struct placement *p, struct pl_range *r)
{
    if (list_is_linked(&r->in_checks))
        return;
    list_push_back(&p->checks, &r->in_checks);
    p->check_count++;
}

/* ---- learning ----------------------------------------------------------------------------------
 */

static bool is_span_equal(const struct pl_range *r, const struct descriptor *d)
{
    return slice_equal(pl_range_start(r), d->start) && slice_equal(pl_range_end(r), d->end);
}

/* Does `d` end behind the range as it was known? */
static bool is_wider(const struct pl_range *r, const struct descriptor *d)
{
    return r->end_len > 0 && (d->end.len == 0 || slice_compare(pl_range_end(r), d->end) < 0);
}

static uint8_t *copy_keys(const struct descriptor *d)
{
    uint8_t *keys = malloc(d->start.len + d->end.len + 1);
    if (keys == NULL)
        return NULL;
    if (d->start.len > 0)
        memcpy(keys, d->start.data, d->start.len);
    if (d->end.len > 0)
        memcpy(keys + d->start.len, d->end.data, d->end.len);
    return keys;
}

/* The members of `d` with what is known of those that were there before. */
static struct pl_member *make_members(struct placement *p, const struct pl_range *old,
                                      const struct descriptor *d)
{
    struct pl_member *members = calloc(d->member_count + 1, sizeof *members);
    if (members == NULL)
        return NULL;
    for (uint32_t i = 0; i < d->member_count; i++) {
        struct pl_member *m = &members[i];
        struct pl_store *s = pl_store_need(p, d->members[i].store_id);
        if (s == NULL || reserve_on(s) != 0) {
            free(members);
            return NULL;
        }
        const struct pl_member *known =
            old == NULL ? NULL : pl_range_member(old, d->members[i].replica_id);
        if (known != NULL)
            *m = *known;
        else
            *m = (struct pl_member){.id = d->members[i].replica_id, .contact_age_ms = UINT32_MAX};
        m->store = s;
        m->role = (uint8_t)d->members[i].role;
    }
    return members;
}

static void count_step_done(struct placement *p, const struct pl_range *r,
                            const struct descriptor *d)
{
    for (uint32_t i = 0; i < d->member_count; i++) {
        if (pl_range_member(r, d->members[i].replica_id) == NULL) {
            p->sums.replicas_added++;
            p->sums.bytes_moved += r->bytes;
        }
    }
}

/* Newer members, span or both. */
static int update(struct placement *p, struct pl_range *r, const struct descriptor *d)
{
    bool is_reshaped = !is_span_equal(r, d);
    struct pl_member *members = make_members(p, r, d);
    uint8_t *keys = members == NULL || !is_reshaped ? NULL : copy_keys(d);
    if (members == NULL || (is_reshaped && keys == NULL)) {
        free(members);
        return ERR_NOMEM;
    }
    count_step_done(p, r, d);
    detach(r);
    if (is_reshaped) {
        pl_tree_remove(p, r);
        r->was_merged = is_wider(r, d);
        free(r->keys);
        r->keys = keys;
        r->start_len = (uint32_t)d->start.len;
        r->end_len = (uint32_t)d->end.len;
        r->shaped_ms = p->now_ms;
        r->hot_since_ms = 0; /* what was hot was another shape */
        r->no_split_until_ms = r->no_cut_until_ms = 0;
        pl_tree_insert(p, r);
    }
    free(r->members);
    r->members = members;
    r->is_asleep = false; /* whoever changes is awake, whatever was said before */
    r->member_count = d->member_count;
    r->conf_epoch = d->conf_epoch;
    r->span_epoch = d->span_epoch;
    if (pl_range_leader(r) == NULL)
        r->leader = 0;
    attach(r);
    return 0;
}

static struct pl_range *create(struct placement *p, const struct descriptor *d)
{
    if (p->ranges.count >= PLACEMENT_RANGES_MAX)
        return NULL;
    struct pl_range *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->id = d->range_id;
    list_init(&r->in_checks);
    r->keys = copy_keys(d);
    r->members = r->keys == NULL ? NULL : make_members(p, NULL, d);
    if (r->members == NULL || map_put(&p->ranges, r->id, r) != 0) {
        pl_range_free(r);
        return NULL;
    }
    r->start_len = (uint32_t)d->start.len;
    r->end_len = (uint32_t)d->end.len;
    r->member_count = d->member_count;
    r->conf_epoch = d->conf_epoch;
    r->span_epoch = d->span_epoch;
    r->shaped_ms = p->now_ms;
    pl_tree_insert(p, r);
    attach(r);
    return r;
}

void pl_range_free(struct pl_range *r)
{
    free(r->keys);
    free(r->members);
    free(r);
}

static void end_range(struct placement *p, struct pl_range *r, struct pl_range *into)
{
    pl_op_range_gone(p, r, into);
    ASSERT(r->op == NULL);
    if (pl_ended_add(p, r->id, into->id, into->span_epoch) != 0)
        p->is_broken = true; /* what has ended must be known */
    pl_rows_route_gone(p, r->id);
    detach(r);
    pl_tree_remove(p, r);
    if (list_is_linked(&r->in_checks)) {
        list_remove(&r->in_checks);
        p->check_count--;
    }
    map_remove(&p->ranges, r->id);
    pl_range_free(r);
}

static bool has_key(const struct pl_range *r, struct slice key)
{
    return slice_compare(pl_range_start(r), key) <= 0 &&
           (r->end_len == 0 || slice_compare(key, pl_range_end(r)) < 0);
}

/* Who covers the start of `d` at a greater span epoch? */
static struct pl_range *find_swallower(const struct placement *p, const struct descriptor *d)
{
    struct pl_range *r = pl_tree_floor(p, d->start);
    return r != NULL && r->id != d->range_id && has_key(r, d->start) &&
                   r->span_epoch > d->span_epoch
               ? r
               : NULL;
}

/* Ranges whose start lies in `r`, of a lower span epoch, were merged into it. */
static void swallow(struct placement *p, struct pl_range *r)
{
    struct pl_range *other = pl_tree_floor(p, pl_range_start(r));
    while (other != NULL && slice_equal(pl_range_start(other), pl_range_start(r)) && other != r) {
        struct pl_range *next = other;
        if (other->span_epoch >= r->span_epoch)
            break;
        end_range(p, next, r);
        other = pl_tree_floor(p, pl_range_start(r));
    }
    for (other = pl_tree_next(p, r); other != NULL && has_key(r, pl_range_start(other));) {
        struct pl_range *next = pl_tree_next(p, other);
        if (other->span_epoch < r->span_epoch)
            end_range(p, other, r);
        other = next;
    }
}

static void note_ids(struct placement *p, const struct descriptor *d)
{
    pl_ids_used(p, PLACEMENT_IDS_RANGE, d->range_id);
    for (uint32_t i = 0; i < d->member_count; i++)
        pl_ids_used(p, PLACEMENT_IDS_REPLICA, d->members[i].replica_id);
}

struct pl_range *pl_range_learn(struct placement *p, const struct descriptor *d)
{
    struct pl_range *r = pl_range_get(p, d->range_id);
    if (pl_ended_find(p, d->range_id) != NULL || d->member_count == 0)
        return NULL;
    if (r != NULL && (d->conf_epoch < r->conf_epoch || d->span_epoch < r->span_epoch))
        return NULL;
    note_ids(p, d);
    if (r != NULL && d->conf_epoch == r->conf_epoch && d->span_epoch == r->span_epoch)
        return r;
    struct pl_range *into = find_swallower(p, d);
    if (into != NULL) {
        if (r != NULL)
            end_range(p, r, into);
        else if (pl_ended_add(p, d->range_id, into->id, into->span_epoch) != 0)
            p->is_broken = true;
        return NULL;
    }
    if (r == NULL)
        r = create(p, d);
    else if (update(p, r, d) != 0)
        r = NULL;
    if (r == NULL)
        return NULL;
    swallow(p, r);
    pl_rows_route(p, r);
    pl_range_recheck(p, r);
    /* before anything else is said about it: a step that is done must not be asked for again
     * under the new epochs, whoever told of them */
    if (r->op != NULL)
        pl_op_advance(p, r->op);
    return r;
}

void pl_range_describe(const struct pl_range *r, struct descriptor *ret_descriptor)
{
    struct descriptor *d = ret_descriptor;
    *d = (struct descriptor){
        .range_id = r->id,
        .start = pl_range_start(r),
        .end = pl_range_end(r),
        .conf_epoch = r->conf_epoch,
        .span_epoch = r->span_epoch,
        .member_count = r->member_count,
    };
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct pl_member *m = &r->members[i];
        d->members[i] = (struct member){
            .replica_id = m->id,
            .store_id = m->store->id,
            .role = (enum member_role)m->role,
            .address = slice_str(m->store->address[0] != 0 ? m->store->address : "?"),
        };
        memcpy(d->members[i].store_uuid, m->store->uuid, STORE_UUID_LEN);
    }
}

/* ---- what has ended
 * --------------------------------------------------------------------------------- */

const struct pl_ended *pl_ended_find(const struct placement *p, uint64_t range_id)
{
    uintptr_t at = (uintptr_t)map_get(&p->ended_at, range_id);
    return at == 0 ? NULL : &p->ended[at - 1];
}

int pl_ended_add(struct placement *p, uint64_t id, uint64_t into, uint64_t epoch)
{
    uint32_t at = p->ended_count;
    if (p->ended_count == PLACEMENT_ENDED_MAX) {
        at = p->ended_first;
        p->ended_first = (p->ended_first + 1) % PLACEMENT_ENDED_MAX;
        map_remove(&p->ended_at, p->ended[at].id);
        pl_rows_forget_ended(p, p->ended[at].id);
    } else if (at == p->ended_cap) {
        uint32_t cap = at == 0 ? 64 : at * 2;
        struct pl_ended *ended = realloc(p->ended, cap * sizeof *ended);
        if (ended == NULL)
            return ERR_NOMEM;
        p->ended = ended;
        p->ended_cap = cap;
    }
    if (map_put(&p->ended_at, id, (void *)(uintptr_t)(at + 1)) != 0)
        return ERR_NOMEM;
    p->ended[at] = (struct pl_ended){.id = id, .into = into, .epoch = epoch};
    p->ended_count = MAX(p->ended_count, at + 1);
    pl_rows_ended(p, &p->ended[at]);
    return 0;
}

bool placement_range_ended(const struct placement *p, uint64_t range_id, uint64_t *ret_into,
                           uint64_t *ret_epoch)
{
    const struct pl_ended *ended = pl_ended_find(p, range_id);
    if (ended == NULL)
        return false;
    *ret_into = ended->into;
    *ret_epoch = ended->epoch;
    return true;
}

/* ---- routes and status
 * --------------------------------------------------------------------------------- */

static void make_route(const struct pl_range *r, struct placement_route *ret_route)
{
    pl_range_describe(r, &ret_route->descriptor);
    ret_route->leader_replica = r->leader;
}

/* Of those that have the key, the one of the greatest span epoch. */
static struct pl_range *find_owner(const struct placement *p, struct slice key)
{
    struct pl_range *r = pl_tree_floor(p, key);
    return r != NULL && has_key(r, key) ? r : NULL;
}

bool placement_route_at(const struct placement *p, struct slice key,
                        struct placement_route *ret_route)
{
    const struct pl_range *r = find_owner(p, key);
    if (r == NULL)
        return false;
    make_route(r, ret_route);
    return true;
}

static void make_status(const struct pl_range *r, struct placement_range_status *ret_status)
{
    *ret_status = (struct placement_range_status){
        .bytes = r->bytes,
        .keys = r->keys_count,
        .qps = r->qps,
        .write_bytes_s = r->write_bytes_s,
        .is_asleep = r->is_asleep,
        .operator_id = r->op == NULL ? 0 : r->op->id,
    };
    make_route(r, &ret_status->route);
}

bool placement_range_from(const struct placement *p, struct slice key,
                          struct placement_range_status *ret_status)
{
    const struct pl_range *r = pl_tree_floor(p, key);
    if (r == NULL)
        r = pl_tree_first(p);
    else if (!has_key(r, key))
        r = pl_tree_next(p, r);
    if (r == NULL)
        return false;
    make_status(r, ret_status);
    return true;
}

bool placement_range_status(const struct placement *p, uint64_t range_id,
                            struct placement_range_status *ret_status)
{
    const struct pl_range *r = pl_range_get(p, range_id);
    if (r == NULL)
        return false;
    make_status(r, ret_status);
    return true;
}
