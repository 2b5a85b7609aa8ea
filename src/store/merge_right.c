/* SPDX-License-Identifier: Apache-2.0
 *
 * The right of a merge, at its leader. It gives up reads before it sends PREPARE_MERGE:
 * from then on the left may at any time own its keys.
 */
#include "base/plant.h"
#include "store/absorb.h"
#include "store/merge.h"
#include "store/store_internal.h"

enum { ASK_EVERY_US = 300 * 1000 };

static const struct merge_frozen *frozen_of(const struct replica *r)
{
    return &range_meta(r->range)->merges.frozen;
}

bool merge_is_freezing(const struct replica *r)
{
    if (frozen_of(r)->attempt != 0)
        return true;
    return r->merge.freeze_index > range_meta(r->range)->applied_index && replica_is_leader(r) &&
           consensus_term(r->cons) == r->merge.freeze_term;
}

/* ---- PREPARE ------------------------------------------------------------------------- */

static int fill_prepare(const struct replica *r, const struct merge_msg *msg,
                        struct range_admin *admin, struct err *err)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    struct unpack cursor = unpack_of(msg->seats.raw);
    *admin = (struct range_admin){.kind = RANGE_ADMIN_PREPARE_MERGE, .epoch = d->epoch};
    if (msg->right_conf != 0)
        admin->epoch.conf = msg->right_conf;
    if (msg->right_span != 0)
        admin->epoch.span = msg->right_span;
    struct range_merge *merge = &admin->merge;
    merge->attempt = msg->attempt;
    merge->range_id = msg->left_range;
    merge->left = (struct range_epoch){.conf = msg->left_conf, .span = msg->left_span};
    if (msg->seats.count / 2 > RANGE_REPLICAS_MAX)
        return err_set(err, ERR_INVALID, "%u replicas", msg->seats.count / 2);
    for (; merge->count < msg->seats.count / 2; merge->count++) {
        struct range_seat *seat = &merge->seats[merge->count];
        enum member_role role;
        merge_seat_next(&cursor, &seat->store_id, &role);
        seat->role = role == MEMBER_VOTER ? RANGE_ROLE_VOTER : RANGE_ROLE_LEARNER;
    }
    if (!slice_equal(msg->key, range_descriptor_span(d).start))
        return err_set(err, ERR_INVALID, "range %llu does not begin where range %llu ends",
                       (unsigned long long)r->range_id, (unsigned long long)msg->left_range);
    return range_prepare_judge(range_meta(r->range), admin, err);
}

static void refuse(struct replica *r, uint64_t to_store, const struct merge_msg *msg, int status,
                   const struct err *err)
{
    struct merge_msg answer = {
        .verb = MERGE_REFUSED,
        .attempt = msg->attempt,
        .left_range = msg->left_range,
        .right_range = msg->right_range,
        .status = status,
    };
    if (err->code != 0)
        answer.text = slice_of(err->msg, MIN(strlen(err->msg), (size_t)TEXT_MAX));
    merge_send(r->store, to_store, &answer);
}

static int freeze(struct replica *r, struct range_admin *admin)
{
    int rv = replica_check_admin(r, NULL);
    if (rv != 0)
        return rv;
    replica_write_fail_queue(r, ERR_RANGE_CHANGED);
    if (!PLANTED(lease_over_merge)) {
        replica_read_fail_all(r, ERR_RANGE_CHANGED);
        consensus_give_up_lease(r->cons); /* before anybody can hear of it */
    }
    rv = replica_propose_step(r, NULL, admin);
    if (rv != 0)
        return rv;
    r->merge.freeze_index = r->admin_index;
    r->merge.freeze_term = consensus_term(r->cons);
    return 0;
}

static void on_prepare(struct replica *r, uint64_t from_store, const struct merge_msg *msg)
{
    struct range_admin admin;
    struct err err = {0};
    if (frozen_of(r)->attempt == msg->attempt || merge_is_freezing(r)) {
        r->merge.left_store = from_store; /* it hears when all hold it, or asks again */
        return;
    }
    int rv = fill_prepare(r, msg, &admin, &err);
    if (rv != 0) {
        refuse(r, from_store, msg, rv, &err);
        return;
    }
    if (freeze(r, &admin) == 0) /* busy: it is asked again */
        r->merge.left_store = from_store;
}

/* ---- frozen ---------------------------------------------------------------------------- */

static void tell_ready(struct replica *r)
{
    const struct merge_frozen *f = frozen_of(r);
    bool all_hold = merge_all_hold(r, f->index) || PLANTED(commit_not_awaited);
    if (r->merge.left_store == 0 || !all_hold)
        return;
    struct merge_msg msg = {
        .verb = MERGE_READY,
        .attempt = f->attempt,
        .left_range = f->left_range,
        .right_range = r->range_id,
        .number = f->index,
        .term = f->term,
    };
    merge_send(r->store, r->merge.left_store, &msg);
    r->merge.left_store = 0;
}

static void thaw(struct replica *r)
{
    struct range_admin admin = {
        .kind = RANGE_ADMIN_THAW,
        .merge = {.attempt = frozen_of(r)->attempt, .range_id = frozen_of(r)->left_range}};
    if (replica_check_ending(r, NULL) == 0)
        replica_propose_step(r, NULL, &admin);
}

/* Nobody has come to take it in: was the attempt given up? */
static void ask(struct replica *r, uint64_t now_us)
{
    struct merge_msg msg = {
        .verb = MERGE_ASK,
        .attempt = frozen_of(r)->attempt,
        .right_range = r->range_id,
        .key = range_descriptor_span(range_descriptor(r->range)).start,
    };
    if (now_us < r->merge.asked_us + ASK_EVERY_US)
        return;
    r->merge.asked_us = now_us;
    merge_send_all(r->store, &msg);
}

void merge_right_turn(struct replica *r)
{
    uint64_t now_us = env_turn_us(r->store->env);
    if (frozen_of(r)->attempt == 0) {
        r->merge.frozen_us = 0;
        if (!merge_is_freezing(r))
            r->merge.left_store = 0; /* given up before all held it: it need not hear */
        return;
    }
    if (r->merge.frozen_us == 0)
        r->merge.frozen_us = now_us;
    tell_ready(r);
    if (now_us >= r->merge.frozen_us + MERGE_PATIENCE_US)
        ask(r, now_us);
}

static void say_gone(struct store *store, uint64_t to_store, const struct merge_msg *msg)
{
    struct merge_msg gone = {
        .verb = MERGE_GONE,
        .attempt = msg->attempt,
        .left_range = msg->left_range,
        .right_range = msg->right_range,
        .number = msg->number,
    };
    if (store->state == STORE_RUNNING && replicas_get(&store->replicas, msg->number) == NULL &&
        !absorb_is_ending(store, msg->number))
        merge_send(store, to_store, &gone);
}

void merge_right_on_message(struct store *store, uint64_t from_store, const struct merge_msg *msg)
{
    struct replica *r = replicas_of_range(&store->replicas, msg->right_range);
    if (msg->verb == MERGE_GONE_ASK) {
        say_gone(store, from_store, msg);
        return;
    }
    if (r == NULL || r->range == NULL || !replica_leads(r))
        return;
    if (msg->verb == MERGE_PREPARE)
        on_prepare(r, from_store, msg);
    else if (msg->verb == MERGE_ABORTED && frozen_of(r)->attempt == msg->attempt)
        thaw(r);
    replica_wake(r);
}
