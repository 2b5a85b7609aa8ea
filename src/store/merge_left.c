/* SPDX-License-Identifier: Apache-2.0
 *
 * The left of a merge, at its leader: it drives the attempt that a client asked for, says
 * what became of attempts, and forgets those that no store can ask about any more.
 */
#include <stdio.h>
#include <stdlib.h>

#include "store/merge.h"
#include "store/service.h"
#include "store/store_internal.h"

enum { GONE_EVERY_US = 1000 * 1000, KEYSPACE_PREFIX = 0x02 };

enum drive_state { DRIVE_PREPARING, DRIVE_COMMITTING, DRIVE_ABORTING };

struct merge_drive {
    struct answer_to to;
    bool is_answered;
    enum drive_state state;
    uint64_t attempt;
    uint64_t right_range;
    struct range_epoch right; /* 0: whatever it is */
    struct range_epoch epoch; /* ours, when it began */
    uint64_t held_index;      /* what our members must hold before we commit */
    uint64_t deadline_us;
    uint64_t send_us;     /* PREPARE, next */
    uint64_t ready_index; /* 0: not heard yet */
    uint64_t ready_term;
    bool is_proposed; /* the entry of this state */
};

static const uint32_t drive_successors[] = {
    [DRIVE_PREPARING] = BIT(DRIVE_COMMITTING) | BIT(DRIVE_ABORTING),
    [DRIVE_COMMITTING] = BIT(DRIVE_ABORTING),
    [DRIVE_ABORTING] = 0,
};

static void drive_move(struct merge_drive *drive, enum drive_state to)
{
    ASSERT(drive_successors[drive->state] & BIT(to));
    drive->state = to;
    drive->is_proposed = false;
}

static void drive_answer(struct replica *r, int status, const char *text)
{
    struct merge_drive *drive = r->merge.drive;
    if (drive->is_answered)
        return;
    drive->is_answered = true;
    service_answer_status(r->store, &drive->to, status, text);
}

static void drive_free(struct replica *r)
{
    free(r->merge.drive);
    r->merge.drive = NULL;
}

void merge_left_stop(struct replica *r)
{
    struct merge_drive *drive = r->merge.drive;
    if (drive == NULL)
        return;
    /* Nobody else commits this attempt; a COMMIT in the log answers for itself. */
    drive_answer(r, ERR_NOT_LEADER, NULL);
    drive_free(r);
}

/* ---- the request ----------------------------------------------------------------------- */

/* What can be told without the right's leader. */
static int check_merge(struct replica *r, const struct request *request, struct err *err)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    struct range_epoch epoch = {.conf = request->merge.conf_epoch, .span = request->span_epoch};
    int rv = replica_check_admin(r, err);
    if (rv == 0)
        rv = range_admin_check_frozen(range_meta(r->range), err);
    if (rv == 0 && epoch.conf == 0)
        epoch.conf = d->epoch.conf;
    if (rv == 0)
        rv = range_admin_check_epoch(d, epoch, err);
    if (rv == 0 && r->merge.drive != NULL)
        rv = err_set(err, ERR_BUSY, "another merge of this range is going on");
    if (rv == 0 && d->start[0] < KEYSPACE_PREFIX)
        rv = err_set(err, ERR_INVALID, "the range of the system is never merged");
    if (rv == 0 && merges_committed(&range_meta(r->range)->merges) >= MERGES_COMMITTED_MAX)
        rv = err_set(err, ERR_BUSY, "%d merges are not over on all stores yet",
                     MERGES_COMMITTED_MAX);
    const struct replica *right =
        replicas_of_range(&r->store->replicas, request->merge.right_range);
    if (rv == 0 && (right == NULL || right->range == NULL))
        rv = err_set(err, ERR_INVALID, "range %llu has no replica on store %llu",
                     (unsigned long long)request->merge.right_range,
                     (unsigned long long)r->store->opt.store_id);
    if (rv == 0 && !slice_equal(range_descriptor_span(range_descriptor(right->range)).start,
                                range_descriptor_span(d).end))
        rv = err_set(err, ERR_INVALID, "range %llu does not begin where range %llu ends",
                     (unsigned long long)right->range_id, (unsigned long long)r->range_id);
    return rv;
}

void merge_on_request(struct replica *r, const struct answer_to *to, const struct request *request)
{
    struct err err = {0};
    uint64_t now_us = env_now_us(r->store->env);
    int rv = check_merge(r, request, &err);
    struct merge_drive *drive = rv == 0 ? calloc(1, sizeof *drive) : NULL;
    if (rv == 0 && drive == NULL)
        rv = ERR_BUSY;
    if (rv != 0) {
        service_answer_status(r->store, to, rv, err.code != 0 ? err.msg : NULL);
        return;
    }
    *drive = (struct merge_drive){
        .to = *to,
        .attempt = env_random(r->store->env) | 1,
        .right_range = request->merge.right_range,
        .right = {.conf = request->merge.right_conf, .span = request->merge.right_span},
        .epoch = range_descriptor(r->range)->epoch,
        .held_index = range_meta(r->range)->applied_index,
        .deadline_us = MIN(now_us + MERGE_PATIENCE_US, to->deadline_us),
        .send_us = now_us,
    };
    r->merge.drive = drive;
    replica_wake(r);
}

/* ---- driving ----------------------------------------------------------------------------- */

static void send_prepare(struct replica *r)
{
    const struct merge_drive *drive = r->merge.drive;
    const struct range_descriptor *d = range_descriptor(r->range);
    const struct replica *right = replicas_of_range(&r->store->replicas, drive->right_range);
    uint64_t store_id = 0;
    struct buf raw;
    if (right == NULL || sleep_leader(right, &store_id) == 0 || store_id == 0)
        return; /* in a while again */
    struct merge_msg msg = {
        .verb = MERGE_PREPARE,
        .attempt = drive->attempt,
        .left_range = r->range_id,
        .right_range = drive->right_range,
        .left_conf = drive->epoch.conf,
        .left_span = drive->epoch.span,
        .right_conf = drive->right.conf,
        .right_span = drive->right.span,
        .key = range_descriptor_span(d).end,
    };
    buf_init(&raw, 64 * RANGE_REPLICAS_MAX);
    for (uint32_t i = 0; i < d->replica_count; i++)
        merge_seat_append(&msg.seats, &raw, d->replicas[i].store_id,
                          d->replicas[i].role == RANGE_ROLE_VOTER ? MEMBER_VOTER : MEMBER_LEARNER);
    if (!raw.failed)
        merge_send(r->store, store_id, &msg);
    buf_fini(&raw);
}

/* All members of the left are here, not about to be made by an older split: each will take
 * in the right replica of its store by the entry itself. */
static void try_commit(struct replica *r)
{
    struct merge_drive *drive = r->merge.drive;
    struct range_admin admin = {
        .kind = RANGE_ADMIN_COMMIT_MERGE,
        .epoch = drive->epoch,
        .merge = {.attempt = drive->attempt,
                  .range_id = drive->right_range,
                  .index = drive->ready_index,
                  .term = drive->ready_term},
    };
    if (!merge_all_hold(r, drive->held_index) || replica_check_ending(r, NULL) != 0)
        return;
    if (replica_propose_step(r, &drive->to, &admin) != 0)
        return;
    drive->is_answered = true; /* by the entry */
    drive_move(drive, DRIVE_COMMITTING);
    drive->is_proposed = true;
}

static void try_abort(struct replica *r, uint64_t attempt, uint64_t right_range, struct slice key)
{
    struct range_admin admin = {
        .kind = RANGE_ADMIN_ABORT_MERGE,
        .merge = {.attempt = attempt, .range_id = right_range, .key = key},
    };
    if (range_admin_check_frozen(range_meta(r->range), NULL) == 0 &&
        replica_check_ending(r, NULL) == 0)
        replica_propose_step(r, NULL, &admin);
}

/* Nobody should say it again by itself: the epoch that was named is over with the attempt. */
static void give_up(struct replica *r)
{
    struct merge_drive *drive = r->merge.drive;
    char text[160];
    bool is_right = drive->ready_index == 0;
    snprintf(text, sizeof text,
             "not all replicas of range %llu answered in time: the merge was given up, both ranges "
             "go on as before",
             (unsigned long long)(is_right ? drive->right_range : r->range_id));
    drive_answer(r, ERR_TIMEOUT, text);
    drive_move(drive, DRIVE_ABORTING);
}

static void drive_prepare(struct replica *r, uint64_t now_us)
{
    struct merge_drive *drive = r->merge.drive;
    if (now_us >= drive->deadline_us) {
        give_up(r);
        return;
    }
    if (drive->ready_index != 0) {
        try_commit(r);
        return;
    }
    if (now_us < drive->send_us)
        return;
    drive->send_us = now_us + MERGE_REPEAT_US;
    send_prepare(r);
}

/* The committed outcome behind the one that was asked about last, in turn: one whose store
 * is away must not keep the others. */
static const struct merge_outcome *next_committed(const struct merges *m, uint64_t after)
{
    const struct merge_outcome *last = merges_find(m, after);
    uint32_t first = last == NULL ? 0 : (uint32_t)(last - m->outcomes) + 1;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct merge_outcome *o = &m->outcomes[(first + i) % m->count];
        if (o->is_committed)
            return o;
    }
    return NULL;
}

/* A store that was removed from the cluster never comes back, nor does what it had. */
static bool is_removed(const struct store *store, uint64_t store_id)
{
    const struct book_entry *e = book_find(&store->book, store_id);
    return e != NULL && e->is_removed;
}

static void forget_if_gone(struct replica *r, const struct merge_outcome *o)
{
    struct range_admin admin = {
        .kind = RANGE_ADMIN_FORGET_MERGE,
        .merge = {.attempt = o->attempt, .range_id = o->right_range},
    };
    bool are_all = r->merge.gone_seen == (BIT(o->count) - 1);
    if (are_all && r->merge.drive == NULL && replica_check_ending(r, NULL) == 0)
        replica_propose_step(r, NULL, &admin);
}

/* Ask the stores of a right range that was taken in whether its replicas are gone there:
 * then nobody can ask any more what became of it. */
static void ask_gone(struct replica *r, uint64_t now_us)
{
    const struct merges *m = &range_meta(r->range)->merges;
    struct merge_care *care = &r->merge;
    if (now_us < care->gone_us + GONE_EVERY_US)
        return;
    const struct merge_outcome *o = next_committed(m, care->gone_attempt);
    if (o == NULL)
        return;
    care->gone_us = now_us;
    if (care->gone_attempt != o->attempt)
        care->gone_seen = 0;
    care->gone_attempt = o->attempt;
    for (uint32_t i = 0; i < o->count; i++) {
        struct merge_msg msg = {
            .verb = MERGE_GONE_ASK,
            .attempt = o->attempt,
            .left_range = r->range_id,
            .right_range = o->right_range,
            .number = o->right[i].replica_id,
        };
        if (is_removed(r->store, o->right[i].store_id))
            care->gone_seen |= BIT(i);
        if ((care->gone_seen & BIT(i)) == 0)
            merge_send(r->store, o->right[i].store_id, &msg);
    }
    forget_if_gone(r, o);
}

bool merge_has_duty(const struct replica *r)
{
    return merge_is_active(r) || next_committed(&range_meta(r->range)->merges, 0) != NULL;
}

static void on_gone(struct replica *r, const struct merge_msg *msg)
{
    const struct merge_outcome *o = merges_find(&range_meta(r->range)->merges, msg->attempt);
    if (o == NULL || !o->is_committed || r->merge.gone_attempt != msg->attempt)
        return;
    for (uint32_t i = 0; i < o->count; i++) {
        if (o->right[i].replica_id == msg->number)
            r->merge.gone_seen |= BIT(i);
    }
    forget_if_gone(r, o);
}

void merge_left_turn(struct replica *r)
{
    uint64_t now_us = env_turn_us(r->store->env);
    struct merge_drive *drive = r->merge.drive;
    if (drive == NULL) {
        ask_gone(r, now_us);
        return;
    }
    if (drive->state == DRIVE_PREPARING)
        drive_prepare(r, now_us);
    else if (drive->state == DRIVE_ABORTING)
        try_abort(r, drive->attempt, drive->right_range,
                  range_descriptor_span(range_descriptor(r->range)).end);
}

/* ---- what comes ------------------------------------------------------------------------- */

static void on_ready(struct replica *r, const struct merge_msg *msg)
{
    struct merge_drive *drive = r->merge.drive;
    if (drive == NULL || drive->attempt != msg->attempt || drive->state != DRIVE_PREPARING)
        return;
    drive->ready_index = msg->number;
    drive->ready_term = msg->term;
}

/* An earlier PREPARE of this attempt, at another leader, may have frozen it all the same:
 * then it asks. */
static void on_refused(struct replica *r, const struct merge_msg *msg)
{
    char text[TEXT_MAX + 1];
    struct merge_drive *drive = r->merge.drive;
    if (drive == NULL || drive->attempt != msg->attempt || drive->state != DRIVE_PREPARING)
        return;
    memcpy(text, msg->text.len > 0 ? msg->text.data : (const uint8_t *)"", msg->text.len);
    text[msg->text.len] = 0;
    drive_answer(r, msg->status, msg->text.len > 0 ? text : NULL);
    drive_free(r);
}

static void tell_aborted(struct store *store, uint64_t to_store, uint64_t attempt,
                         uint64_t right_range)
{
    struct merge_msg msg = {.verb = MERGE_ABORTED, .attempt = attempt, .right_range = right_range};
    merge_send(store, to_store, &msg);
}

/* A right range is frozen and wants to know. What is in the state here is true for ever;
 * only the owner of the key left of its start may bring "aborted" there. */
static void on_ask(struct store *store, uint64_t from_store, const struct merge_msg *msg)
{
    struct replica *r = replicas_below_key(&store->replicas, msg->key);
    if (r == NULL || !replica_is_up(r))
        return;
    const struct merge_outcome *o = merges_find(&range_meta(r->range)->merges, msg->attempt);
    if (o != NULL && !o->is_committed)
        tell_aborted(store, from_store, msg->attempt, msg->right_range);
    if (o != NULL || !replica_leads(r) ||
        !slice_equal(range_descriptor_span(range_descriptor(r->range)).end, msg->key))
        return;
    struct merge_drive *drive = r->merge.drive;
    if (drive == NULL || drive->attempt != msg->attempt) {
        try_abort(r, msg->attempt, msg->right_range, msg->key);
    } else if (drive->state == DRIVE_PREPARING) {
        give_up(r);
    }
    replica_wake(r);
}

void merge_left_on_message(struct store *store, uint64_t from_store, const struct merge_msg *msg)
{
    if (msg->verb == MERGE_ASK) {
        on_ask(store, from_store, msg);
        return;
    }
    struct replica *r = replicas_of_range(&store->replicas, msg->left_range);
    if (r == NULL || r->range == NULL || !replica_leads(r))
        return;
    if (msg->verb == MERGE_READY)
        on_ready(r, msg);
    else if (msg->verb == MERGE_REFUSED)
        on_refused(r, msg);
    else if (msg->verb == MERGE_GONE)
        on_gone(r, msg);
    replica_wake(r);
}

/* ---- what is applied ---------------------------------------------------------------------- */

void merge_left_on_applied(struct replica *r, const struct range_admin *admin, int status)
{
    struct merge_drive *drive = r->merge.drive;
    const struct range_descriptor *d = range_descriptor(r->range);
    uint64_t attempt = admin->merge.attempt;
    if (admin->kind == RANGE_ADMIN_ABORT_MERGE && status == 0 && replica_is_leader(r)) {
        for (uint32_t i = 0; i < d->replica_count; i++)
            tell_aborted(r->store, d->replicas[i].store_id, attempt, admin->merge.range_id);
    }
    if (drive == NULL || drive->attempt != attempt)
        return;
    if (admin->kind == RANGE_ADMIN_COMMIT_MERGE && status != 0)
        drive_move(drive, DRIVE_ABORTING);
    else if (admin->kind == RANGE_ADMIN_COMMIT_MERGE || admin->kind == RANGE_ADMIN_ABORT_MERGE)
        drive_free(r);
}
