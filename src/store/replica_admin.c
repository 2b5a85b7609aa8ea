/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries that change the range itself. One at a time is un-applied in the log
 * (consensus.md, Membership policy), checked when it is proposed; what it does is
 * judged at apply, alike on every replica.
 *
 * Split, at apply:
 *  - the left's span ends at the key now, the right's meta is made from its own;
 *  - the left's hint goes to the log before the right's first record, so that a
 *    replay of the right always finds that it was made;
 *  - the right's log begins behind its birth index, if it does not stand there from
 *    an earlier life of this process;
 *  - the right replica runs, and stands for election at once where the left leads.
 * Both metas become durable with one memtable: after a crash there is the left of
 * before, whose log still holds the split, or there are both. That memtable waits until the
 * beginning of the right's log is durable (replica_log_holds()).
 */
#include <stdlib.h>

#include "base/plant.h"
#include "range/merge.h"
#include "store/absorb.h"
#include "store/log_room.h"
#include "store/merge.h"
#include "store/service.h"
#include "store/store_internal.h"

/* ---- proposing ----------------------------------------------------------------------- */

static int check_space(struct replica *r, enum watermark limit, struct err *err)
{
    if (replica_is_leader(r) && r->store->mark >= limit)
        return err_set(err, ERR_NO_SPACE, "the disk of store %llu is full",
                       (unsigned long long)r->store->opt.store_id);
    return 0;
}

int replica_check_admin(struct replica *r, struct err *err)
{
    int rv = check_space(r, WATERMARK_READ_ONLY, err);
    return rv != 0 ? rv : replica_check_ending(r, err);
}

int replica_check_ending(struct replica *r, struct err *err)
{
    struct store *store = r->store;
    store_watch_clock(store); /* what is proposed is stamped by it, for ever */
    if (!replica_is_leader(r) || store->state == STORE_DRAINING || store->clock.is_off)
        return ERR_NOT_LEADER;
    bool is_pending = r->admin_term == consensus_term(r->cons) &&
                      r->admin_index > range_meta(r->range)->applied_index;
    if (!consensus_is_admin_ready(r->cons) || is_pending)
        return err_set(err, ERR_BUSY, "another change of this range is going on");
    if (!log_room_has(r, RANGE_ADMIN_MAX))
        return err_set(err, ERR_BUSY, "the log has no room now");
    return 0;
}

static void fill_split(const struct request *request, struct range_admin *admin)
{
    const struct request_split *from = &request->split;
    admin->kind = RANGE_ADMIN_SPLIT;
    admin->epoch = (struct range_epoch){.conf = from->conf_epoch, .span = request->span_epoch};
    admin->split.key = from->key;
    admin->split.range_id = from->new_range_id;
    admin->split.count = from->child_count;
    for (uint32_t i = 0; i < from->child_count; i++) {
        admin->split.children[i] = (struct range_child){
            .store_id = from->children[i].store_id,
            .replica_id = from->children[i].replica_id,
        };
    }
}

int replica_propose_step(struct replica *r, const struct answer_to *to, struct range_admin *admin)
{
    struct buf payload;
    uint64_t time_ms = range_meta(r->range)->time_ms;
    admin->stamp_ms = MIN(MAX(env_wall_ms(r->store->env), time_ms), RANGE_TIME_MAX);
    buf_init(&payload, RANGE_ADMIN_MAX);
    range_admin_encode(admin, &payload);
    int rv = payload.failed ? ERR_BUSY : replica_propose_admin(r, to, buf_slice(&payload));
    buf_fini(&payload);
    return rv;
}

/* Not while the range is part of a merge. */
static int check_alone(struct replica *r, struct err *err)
{
    int rv = range_admin_check_frozen(range_meta(r->range), err);
    if (rv == 0 && r->merge.drive != NULL && !PLANTED(epoch_not_checked))
        rv = err_set(err, ERR_BUSY, "the range is being merged with its neighbour");
    return rv;
}

/* The same for what a client asks. */
static int check_request(struct replica *r, struct err *err)
{
    int rv = replica_check_admin(r, err);
    return rv != 0 ? rv : check_alone(r, err);
}

/* A full disk is left by moving its replicas away. */
static int check_change(struct replica *r, struct err *err)
{
    int rv = check_space(r, WATERMARK_FULL, err);
    if (rv == 0)
        rv = replica_check_ending(r, err);
    return rv != 0 ? rv : check_alone(r, err);
}

void replica_split(struct replica *r, const struct answer_to *to, const struct request *request)
{
    struct range_admin admin = {0};
    struct err err = {0};
    fill_split(request, &admin);
    int rv = check_request(r, &err);
    if (rv == 0 && admin.split.key.len > DESCRIPTOR_CUT_MAX)
        rv = err_set(&err, ERR_TOO_LARGE, "a key of %zu bytes to cut at, limit %d",
                     admin.split.key.len - RANGE_USER_KEY_PREFIX, KEY_WIRE_MAX);
    if (rv == 0 && admin.split.key.len < RANGE_USER_KEY_PREFIX)
        rv = err_set(&err, ERR_INVALID, "a place of %zu bytes: it begins with the keyspace, in %d",
                     admin.split.key.len, RANGE_USER_KEY_PREFIX);
    if (rv == 0)
        rv = range_split_judge(range_meta(r->range), &admin, &err);
    if (rv == 0 && replicas_are_full(&r->store->replicas))
        rv = err_set(&err, ERR_BUSY, "this store has as many replicas as it may: %u",
                     replicas_count(&r->store->replicas));
    if (rv == 0)
        rv = replica_propose_step(r, to, &admin);
    if (rv != 0)
        service_answer_status(r->store, to, rv, err.code != 0 ? err.msg : NULL);
    replica_wake(r);
}

void replica_retain(struct replica *r, const struct answer_to *to, const struct request *request)
{
    const struct request_retain *retain = &request->retain;
    struct range_admin admin = {
        .kind = RANGE_ADMIN_RETAIN,
        .epoch = {.conf = retain->conf_epoch, .span = request->span_epoch},
        .retention_ms = retain->retention_ms,
    };
    struct err err = {0};
    int rv = check_request(r, &err);
    if (rv == 0 && retain->retention_ms > RANGE_RETENTION_MS_MAX)
        rv = err_set(&err, ERR_INVALID, "a retention of %llu ms",
                     (unsigned long long)retain->retention_ms);
    if (rv == 0)
        rv = range_retain_judge(range_meta(r->range), &admin, &err);
    if (rv == 0)
        rv = replica_propose_step(r, to, &admin);
    if (rv != 0)
        service_answer_status(r->store, to, rv, err.code != 0 ? err.msg : NULL);
    replica_wake(r);
}

static enum cons_change_kind kind_of(enum member_change action)
{
    switch (action) {
    case MEMBER_ADD_LEARNER:
        return CONS_ADD_LEARNER;
    case MEMBER_PROMOTE:
        return CONS_PROMOTE;
    default:
        return CONS_REMOVE;
    }
}

/* A new member must be somebody whom we can reach. */
static int check_member(const struct store *store, const struct member *member, struct err *err)
{
    const struct book_entry *known = book_find(&store->book, member->store_id);
    if (known == NULL || known->is_removed ||
        memcmp(known->uuid, member->store_uuid, sizeof known->uuid) != 0)
        return err_set(err, ERR_NOT_FOUND, "store %llu with that uuid is not of this cluster",
                       (unsigned long long)member->store_id);
    return 0;
}

void replica_change_member(struct replica *r, const struct answer_to *to,
                           const struct request *request)
{
    const struct request_change_member *change = &request->change_member;
    bool is_add = change->action == MEMBER_ADD_LEARNER;
    uint64_t id = is_add ? change->member.replica_id : change->replica_id;
    uint64_t store_id = is_add ? change->member.store_id : 0;
    uint64_t index = 0;
    struct err err = {0};
    int rv = check_change(r, &err);
    if (rv == 0 && is_add)
        rv = check_member(r->store, &change->member, &err);
    if (rv == 0)
        rv = consensus_propose_change(r->cons, replica_now_ms(r), kind_of(change->action), id,
                                      store_id, &index, &err);
    if (rv == ERR_BUSY)
        sleep_note_put_off(r);
    if (rv != 0)
        service_answer_status(r->store, to, rv, err.code != 0 ? err.msg : NULL);
    else
        replica_await_admin(r, to, index);
    replica_wake(r);
}

/* ---- applying a split ------------------------------------------------------------------ */

static struct slice right_config(const struct range_descriptor *d, const struct range_split *split,
                                 uint8_t out[CONS_CONFIG_LEN_MAX])
{
    struct range_replica replicas[RANGE_REPLICAS_MAX];
    struct cons_config config = {.n = (uint32_t)range_split_replicas(d, split, replicas)};
    for (uint32_t i = 0; i < config.n; i++) {
        config.members[i] = (struct cons_member){
            .replica_id = replicas[i].replica_id,
            .store_id = replicas[i].store_id,
            .role = replicas[i].role == RANGE_ROLE_VOTER ? CONS_VOTER : CONS_LEARNER,
        };
    }
    return slice_of(out, cons_config_encode(&config, out));
}

static uint64_t child_here(const struct store *store, const struct range_split *split)
{
    for (uint32_t i = 0; i < split->count; i++) {
        if (split->children[i].store_id == store->opt.store_id)
            return split->children[i].replica_id;
    }
    return 0;
}

/* A blank one under the very id that the split brings: it becomes the right half, and
 * what it has promised stays promised (a vote forgotten at a split makes two leaders in
 * one term). What is on its way to the log comes before the new beginning. */
static int fill_blank(struct replica *blank, struct range *range, struct err *err)
{
    struct store *store = blank->store;
    struct raftlog_group_state state = {0};
    ASSERT(blank->state == REPLICA_BLANK);
    blank->range = range;
    int rv = replicas_place(&store->replicas, blank, err);
    if (rv != 0) {
        blank->range = NULL;
        range_free(range);
        return rv;
    }
    raftlog_group_state(store->log, blank->replica_id, &state);
    replica_end(blank);
    snapshot_in_drop(blank);
    replica_move(blank, REPLICA_REPLAYING);
    if (PLANTED(vote_forgotten))
        state.term = state.vote = 0;
    replica_log_begin(blank, RANGE_BIRTH_INDEX, RANGE_BIRTH_TERM, state.term, state.vote);
    return 0;
}

/* The left's hint covers the split before anything of the right is in the log. */
static void begin_right_log(struct replica *left, struct replica *right, uint64_t index)
{
    struct raftlog_group_state state = {0}; /* the log may know nothing of it */
    if (raftlog_group_state(left->store->log, right->replica_id, &state) == 0 &&
        state.base_index >= RANGE_BIRTH_INDEX)
        return; /* the split is replayed, and the right has lived on since */
    replica_log_hint(left, index);
    replica_log_begin(right, RANGE_BIRTH_INDEX, RANGE_BIRTH_TERM, state.term, state.vote);
}

static int add_right(struct replica *left, uint64_t index, uint64_t replica_id,
                     const struct range_meta *meta, struct err *err)
{
    struct store *store = left->store;
    struct replica *right = replicas_get(&store->replicas, replica_id);
    struct range *range;
    struct raftlog_group_state state;
    /* It may have followed somebody already: blank, or in an earlier life of this store. */
    bool has_lived = raftlog_group_state(store->log, replica_id, &state) == 0;
    int rv = range_new_split(store->env, store->lsm, replica_id, meta, &range, err);
    if (rv != 0)
        return rv;
    if (right != NULL) {
        replica_log_hint(left, index);
        rv = fill_blank(right, range, err);
    } else {
        rv = replica_add(store, replica_id, meta->descriptor.range_id, range, &right, err);
        if (rv == 0)
            begin_right_log(left, right, index);
    }
    if (rv != 0)
        return rv;
    right->wants_campaign = replica_is_leader(left);
    right->is_newborn = !has_lived;
    replica_run(right);
    return 0;
}

/* Is the right half to be made here? Not if it stands here already (a replay of a split
 * whose right half has become durable by itself since), nor if it was removed since. */
enum right_fate { RIGHT_MADE, RIGHT_HERE, RIGHT_GONE };

static enum right_fate right_fate(const struct store *store, const struct range_split *split)
{
    uint64_t id = child_here(store, split);
    const struct replica *same = replicas_get(&store->replicas, id);
    const struct replica *other = replicas_of_range(&store->replicas, split->range_id);
    if (id == 0 ||
        (id < tombstones_least(&store->tombstones, split->range_id) &&
         !PLANTED(tombstone_forgotten)) ||
        (other != NULL && other->replica_id > id))
        return RIGHT_GONE;
    return same != NULL && same->state != REPLICA_BLANK ? RIGHT_HERE : RIGHT_MADE;
}

struct orphans {
    struct list in_orphans; /* store's */
    struct lsm_edit_op edit;
};

static void on_orphans_gone(struct lsm_edit_op *op, int status)
{
    struct orphans *o = op->data;
    (void)status; /* what stays is nobody's: whoever takes the span excises it first */
    list_remove(&o->in_orphans);
    free(o);
}

/* The right half will not be here: its data goes. */
static int excise_orphans(struct store *store, struct range_span span, struct err *err)
{
    struct lsm_span excise = {span.start, span.end};
    struct orphans *o = calloc(1, sizeof *o);
    if (o == NULL)
        return err_set(err, ERR_NOMEM, "excise what is not ours any more");
    list_init(&o->in_orphans);
    o->edit = (struct lsm_edit_op){
        .data = o, .excise = &excise, .excise_count = 1, .freeze = true, .cb = on_orphans_gone};
    int rv = lsm_edit(store->lsm, &o->edit);
    if (rv != 0) {
        free(o);
        return err_set(err, rv, "excise what is not ours any more");
    }
    list_push_back(&store->orphans, &o->in_orphans);
    return 0;
}

void replica_admin_free(struct store *store)
{
    struct list *link;
    while ((link = list_pop_front(&store->orphans)) != NULL)
        free(list_entry(link, struct orphans, in_orphans));
}

static int apply_split(struct replica *r, uint64_t index, uint64_t term,
                       const struct range_admin *admin, int *ret_status, struct err *err)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    struct slice conf = {0};
    struct range_meta right;
    uint8_t raw[CONS_CONFIG_LEN_MAX];
    range_meta_init(&right);
    if (range_split_judge(range_meta(r->range), admin, NULL) == 0)
        conf = right_config(d, &admin->split, raw);
    int rv = range_apply_split(r->range, index, term, admin, conf, &right, ret_status, err);
    enum right_fate fate = right_fate(r->store, &admin->split);
    if (rv == 0 && *ret_status == 0 && fate == RIGHT_MADE)
        rv = add_right(r, index, child_here(r->store, &admin->split), &right, err);
    if (rv == 0 && *ret_status == 0 && fate == RIGHT_GONE)
        rv = excise_orphans(r->store, range_descriptor_span(&right.descriptor), err);
    range_meta_fini(&right);
    /* The left is cut already: going on would leave the right half out on this store. A
     * new start finds both as they were before, and does it again. */
    if (rv != 0 && range_meta(r->range)->applied_index == index)
        store_fail(r->store, "make the right half of a split", err);
    if (rv == 0 && *ret_status == 0)
        LOG_INFO(r->store->logger, "split", "range=%llu new=%llu index=%llu",
                 (unsigned long long)r->range_id, (unsigned long long)admin->split.range_id,
                 (unsigned long long)index);
    return rv;
}

int replica_apply_admin(struct replica *r, uint64_t index, uint64_t term, struct slice payload,
                        struct err *err)
{
    struct range_admin admin;
    struct err why = {0};
    int status = 0;
    struct proposal *p = replica_proposal_at(r, index, term);
    int rv = range_admin_decode(payload, &admin, err);
    if (rv == 0 && admin.kind == RANGE_ADMIN_SPLIT)
        rv = apply_split(r, index, term, &admin, &status, &why);
    else if (rv == 0 && admin.kind == RANGE_ADMIN_COMMIT_MERGE)
        rv = absorb_apply(r, index, term, &admin, &status, &why);
    else if (rv == 0 && admin.kind == RANGE_ADMIN_RETAIN)
        range_apply_retain(r->range, index, term, &admin, &status, &why);
    else if (rv == 0)
        rv = range_apply_merge_step(r->range, index, term, &admin, &status, &why);
    if (rv != 0) {
        if (err->code == 0)
            *err = why;
        return rv;
    }
    if (p != NULL)
        replica_admin_done(r, p, status, status == 0 ? NULL : why.msg);
    if (admin.kind != RANGE_ADMIN_SPLIT && admin.kind != RANGE_ADMIN_RETAIN)
        merge_on_applied(r, &admin, status);
    return 0;
}
