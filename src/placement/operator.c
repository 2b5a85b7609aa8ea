/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators: begun, carried on by what their ranges show, timed out, ended and remembered.
 *
 *   pl_op_new() ─ steps ─▶ pl_op_start() ─▶ running ─▶ pl_op_end(): done, cancelled,
 *        └▶ pl_op_discard()                             timed out, refused
 *
 * The map learns what became of a step from the range alone, so a step that was sent twice,
 * late, or by an earlier driver does no harm.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"
#include "placement/placement_internal.h"

#define U(x) ((unsigned long long)(x))

enum {
    STEP_TIME_MS = 60000, /* for a step without data */
    BYTES_PER_MS = 1024,  /* so fast come replicas, or slower if that was too short before */
    LATE_MAX = 63,        /* times longer that the next is waited for: it doubles */
};

const char *pl_cause_name(enum pl_cause cause)
{
    static const char *const names[PL_CAUSE_NR] = {
        [PL_REPAIR] = "repair",
        [PL_LEARNER] = "learner",
        [PL_SURPLUS] = "surplus",
        [PL_DECOMMISSION] = "decommission",
        [PL_DRAIN] = "drain",
        [PL_REQUIRE] = "require",
        [PL_SPREAD] = "spread",
        [PL_BALANCE_BYTES] = "balance-bytes",
        [PL_BALANCE_LEADERS] = "balance-leaders",
        [PL_BALANCE_LOAD] = "balance-load",
        [PL_SPLIT] = "split",
        [PL_MERGE] = "merge",
        [PL_COMMAND] = "command",
        [PL_RETAIN] = "retention",
    };
    ASSERT(cause < PL_CAUSE_NR);
    return names[cause];
}

const char *placement_step_kind_name(enum placement_step_kind kind)
{
    static const char *const names[] = {
        [PLACEMENT_ADD_LEARNER] = "add-learner",
        [PLACEMENT_PROMOTE] = "promote",
        [PLACEMENT_REMOVE] = "remove",
        [PLACEMENT_TRANSFER] = "transfer-leader",
        [PLACEMENT_SPLIT] = "split",
        [PLACEMENT_MERGE] = "merge",
        [PLACEMENT_RETAIN] = "retain",
    };
    ASSERT(kind >= PLACEMENT_ADD_LEARNER && kind <= PLACEMENT_RETAIN);
    return names[kind];
}

bool pl_range_is_free(const struct placement *p, const struct pl_range *r)
{
    if (r->op != NULL && !PLANTED(two_operators))
        return false;
    return p->now_ms >= r->retry_ms && pl_range_is_led(p, r);
}

/* ---- accounting -------------------------------------------------------------------------- */

static void count(uint32_t *n, bool is_added)
{
    ASSERT(is_added || *n > 0);
    *n += is_added ? 1 : (uint32_t)-1;
}

static void account_step(struct pl_op *op, const struct pl_step *step, bool is_added)
{
    struct pl_store *s = step->store;
    uint64_t bytes = is_added ? op->bytes : -op->bytes;
    if (step->is_done)
        return;
    if (step->kind == PLACEMENT_ADD_LEARNER) {
        count(&s->comes, is_added); /* until it is a member, which is counted as such */
        s->add_bytes += bytes;
    } else if (step->kind == PLACEMENT_PROMOTE) {
        count(&s->adds, is_added); /* until the learner has caught up */
        if (op->sender != NULL)
            count(&op->sender->sends, is_added);
    } else if (step->kind == PLACEMENT_REMOVE) {
        count(&s->removes, is_added);
        s->remove_bytes += bytes;
    } else if (step->kind == PLACEMENT_TRANSFER) {
        count(&s->leads_in, is_added);
        if (op->sender != NULL)
            count(&op->sender->leads_out, is_added);
    }
}

void pl_op_account(struct pl_op *op, bool is_added)
{
    ASSERT(op->is_accounted != is_added);
    op->is_accounted = is_added;
    if (is_added) {
        const struct pl_range *r = op->partner != NULL ? op->partner : op->range;
        const struct pl_member *leader = op->range == NULL ? NULL : pl_range_leader(op->range);
        op->bytes = r == NULL ? 0 : r->bytes;
        op->sender = leader == NULL ? NULL : leader->store;
    }
    for (uint32_t i = op->step; i < op->step_count; i++)
        account_step(op, &op->steps[i], is_added);
}

/* ---- making ---------------------------------------------------------------------------------- */

struct pl_op *pl_op_new(struct placement *p, struct pl_range *r, enum pl_cause cause)
{
    uint64_t id;
    if (p->op_count >= MIN(p->settings.operators_max, PLACEMENT_OPERATORS_MAX) ||
        !pl_ids_take(p, PLACEMENT_IDS_OPERATOR, 1, &id))
        return NULL;
    struct pl_op *op = calloc(1, sizeof *op);
    if (op == NULL)
        return NULL;
    op->id = id;
    op->cause = cause;
    op->range = r;
    list_init(&op->in_all);
    list_init(&op->in_sends);
    return op;
}

void pl_op_discard(struct placement *p, struct pl_op *op)
{
    (void)p;
    free(op->split_key);
    free(op);
}

void pl_op_reason(struct pl_op *op, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(op->reason, sizeof op->reason, fmt, args);
    va_end(args);
}

void pl_op_add_step(struct pl_op *op, enum placement_step_kind kind, uint64_t replica_id,
                    struct pl_store *store)
{
    ASSERT(op->step_count < PLACEMENT_STEPS_MAX);
    op->steps[op->step_count++] =
        (struct pl_step){.kind = kind, .replica_id = replica_id, .store = store};
}

bool pl_op_bring(struct placement *p, struct pl_op *op, struct pl_store *store,
                 uint64_t *ret_replica_id)
{
    if (!pl_ids_take(p, PLACEMENT_IDS_REPLICA, 1, ret_replica_id))
        return false;
    pl_op_add_step(op, PLACEMENT_ADD_LEARNER, *ret_replica_id, store);
    return true;
}

/* Whose learner is waited for, be it to remove another voter first; NULL: for none. */
static struct pl_range *awaits_learner(const struct pl_op *op)
{
    for (uint32_t i = op->step; i < op->step_count; i++) {
        const struct pl_step *step = &op->steps[i];
        struct pl_range *r = step->on_partner ? op->partner : op->range;
        if (step->kind == PLACEMENT_PROMOTE && r != NULL &&
            pl_range_member(r, step->replica_id) != NULL)
            return r;
    }
    return NULL;
}

/* A new limit for the step that comes next. */
static void renew(struct placement *p, struct pl_op *op)
{
    const struct pl_range *r = awaits_learner(op);
    uint32_t late = r == NULL ? 0 : r->late;
    op->deadline_ms = p->now_ms + STEP_TIME_MS + op->bytes / BYTES_PER_MS * (1 + late);
    op->sent_ms = 0;
    op->said[0] = 0;
}

static void note_epochs(struct pl_op *op)
{
    op->conf_seen = op->range->conf_epoch;
    op->partner_conf_seen = op->partner == NULL ? 0 : op->partner->conf_epoch;
}

void pl_op_start(struct placement *p, struct pl_op *op)
{
    ASSERT(op->step_count > 0);
    ASSERT(op->range->op == NULL || PLANTED(two_operators));
    if (map_put(&p->ops_by_id, op->id, op) != 0) {
        pl_op_discard(p, op);
        return;
    }
    op->range->op = op;
    op->partner_id = op->partner == NULL ? 0 : op->partner->id;
    if (op->partner != NULL) {
        ASSERT(op->partner->op == NULL || PLANTED(two_operators));
        op->partner->op = op;
    }
    op->began_ms = p->now_ms;
    op->span_seen = op->range->span_epoch;
    note_epochs(op);
    pl_op_account(op, true);
    renew(p, op);
    list_push_back(&p->ops, &op->in_all);
    list_push_back(&p->sends, &op->in_sends);
    p->op_count++;
    p->begun_ms = p->now_ms;
    p->sums.operators_started++;
}

/* ---- ending ------------------------------------------------------------------------------------
 */

static void remember(struct placement *p, const struct pl_op *op, enum placement_outcome outcome,
                     const char *said)
{
    if (p->past == NULL)
        p->past = calloc(PLACEMENT_HISTORY_MAX, sizeof *p->past);
    if (p->past == NULL)
        return; /* nothing but an explanation is lost */
    struct pl_past *past = &p->past[p->past_count++ % PLACEMENT_HISTORY_MAX];
    *past = (struct pl_past){
        .id = op->id,
        .range_id = op->range->id,
        .partner_id = op->partner_id,
        .cause = op->cause,
        .outcome = outcome,
        .began_ms = op->began_ms,
        .ended_ms = p->now_ms,
        .step = op->step,
        .step_count = op->step_count,
    };
    for (uint32_t i = 0; i < op->step_count; i++) {
        past->kinds[i] = (uint8_t)op->steps[i].kind;
        past->stores[i] = op->steps[i].store == NULL ? 0 : op->steps[i].store->id;
    }
    memcpy(past->reason, op->reason, sizeof past->reason);
    snprintf(past->said, sizeof past->said, "%s", said);
}

/* A range whose operator failed rests a while, longer each time. One that ended as nothing was
 * left to do says nothing: neither is that a failure, nor would it have gone well now. Nor does
 * that the learner is gone which a failure left: what failed has not gone well since. That there is
 * no key to split at keeps back nothing else. */
static void rest(struct placement *p, const struct pl_op *op, struct pl_range *r, bool is_failed)
{
    if (op->is_needless || op->has_no_key || (op->cause == PL_LEARNER && !is_failed))
        return;
    r->fails = is_failed ? MIN(r->fails + 1, 16) : 0;
    if (is_failed)
        r->retry_ms =
            p->now_ms + MIN((uint64_t)PL_RETRY_FIRST_MS << (r->fails - 1), PL_RETRY_MAX_MS);
}

static void let_go(struct placement *p, struct pl_op *op, struct pl_range *r, bool is_failed)
{
    if (r == NULL)
        return;
    if (r->op == op)
        r->op = NULL;
    rest(p, op, r, is_failed);
    pl_range_recheck(p, r);
}

void pl_op_end(struct placement *p, struct pl_op *op, enum placement_outcome outcome,
               const char *said)
{
    bool is_failed = outcome != PLACEMENT_DONE;
    bool rests = is_failed && !op->is_overtaken &&
                 !(outcome == PLACEMENT_CANCELLED && op->cause == PL_COMMAND);
    ASSERT(outcome != PLACEMENT_RUNNING);
    pl_op_account(op, false);
    remember(p, op, outcome, said);
    if (is_failed)
        p->sums.operators_failed++;
    else
        p->sums.operators_done++;
    if (op->has_no_key && op->split_by == PLACEMENT_SPLIT_BY_LOAD)
        op->range->no_split_until_ms = p->now_ms + PL_NO_KEY_MS;
    else if (op->has_no_key)
        op->range->no_cut_until_ms = p->now_ms + PL_NO_CUT_MS;
    let_go(p, op, op->range, rests);
    let_go(p, op, op->partner, rests);
    list_remove(&op->in_all);
    list_remove(&op->in_sends);
    map_remove(&p->ops_by_id, op->id);
    ASSERT(p->op_count > 0);
    p->op_count--;
    p->begun_ms = p->now_ms;
    free(op->split_key);
    free(op);
}

void pl_op_range_gone(struct placement *p, struct pl_range *r, struct pl_range *into)
{
    struct pl_op *op = r->op;
    if (op == NULL)
        return;
    if (r == op->partner && into == op->range) {
        pl_op_account(op, false);
        op->is_merged = true;
        op->partner = NULL;
        r->op = NULL;
        pl_op_account(op, true);
        return; /* done: seen when the left one is looked at */
    }
    if (r == op->range && op->partner != NULL)
        op->partner->op = NULL;
    pl_op_end(p, op, PLACEMENT_CANCELLED, "the range was merged into another");
}

/* ---- going on -----------------------------------------------------------------------------------
 */

/* Did somebody else change the range, so that the plan does not fit any more? */
static bool is_disturbed(const struct pl_op *op)
{
    const struct pl_step *step = &op->steps[op->step];
    bool is_of_span = step->kind == PLACEMENT_SPLIT || step->kind == PLACEMENT_RETAIN;
    if (op->range->conf_epoch != op->conf_seen)
        return true;
    if (op->partner != NULL && op->partner->conf_epoch != op->partner_conf_seen)
        return true;
    return (op->partner_id != 0 || is_of_span) && op->range->span_epoch != op->span_seen &&
           !op->is_merged;
}

/* A merge that its ranges gave up makes the left one's span epoch greater, too. */
static void end_disturbed(struct placement *p, struct pl_op *op)
{
    const struct pl_range *r = op->range;
    const struct pl_range *partner = op->partner;
    char said[PLACEMENT_REASON_MAX];
    bool is_conf = r->conf_epoch != op->conf_seen ||
                   (partner != NULL && partner->conf_epoch != op->partner_conf_seen);
    if (!is_conf && op->steps[op->step].kind == PLACEMENT_MERGE)
        snprintf(said, sizeof said, "the merge was given up%s%.120s",
                 op->said[0] != 0 ? ": " : ", or the range was split", op->said);
    else
        snprintf(said, sizeof said, "%s of range %llu changed meanwhile: give the order anew",
                 is_conf ? "the replicas" : "the keys",
                 U(r->conf_epoch == op->conf_seen && is_conf ? partner->id : r->id));
    pl_op_end(p, op, PLACEMENT_CANCELLED, said);
}

/* What a learner took that came is what the next is given. */
static void note_step_done(struct placement *p, struct pl_op *op, const struct pl_step *step)
{
    struct pl_range *r = step->on_partner ? op->partner : op->range;
    if (step->kind == PLACEMENT_TRANSFER)
        p->sums.leaders_moved++;
    if (step->kind == PLACEMENT_PROMOTE && r != NULL)
        r->late =
            (uint32_t)MIN(r->late, (p->now_ms - op->began_ms) / (op->bytes / BYTES_PER_MS + 1));
}

void pl_op_advance(struct placement *p, struct pl_op *op)
{
    bool is_moved = false;
    pl_op_account(op, false);
    while (op->step < op->step_count && pl_step_is_done(op, &op->steps[op->step])) {
        note_step_done(p, op, &op->steps[op->step]);
        op->steps[op->step++].is_done = true;
        is_moved = true;
    }
    if (is_moved)
        note_epochs(op);
    pl_op_account(op, true);
    if (op->step == op->step_count) {
        pl_op_end(p, op, PLACEMENT_DONE, "");
        return;
    }
    if (is_disturbed(op)) {
        end_disturbed(p, op);
        return;
    }
    if (is_moved) {
        renew(p, op);
        if (!list_is_linked(&op->in_sends))
            list_push_back(&p->sends, &op->in_sends);
    }
}

static void time_out(struct placement *p, struct pl_op *op)
{
    struct pl_range *r = awaits_learner(op);
    char said[PLACEMENT_REASON_MAX];
    if (r != NULL)
        r->late = MIN(2 * r->late + 1, LATE_MAX);
    snprintf(said, sizeof said, "its time was over%s%.120s", op->said[0] != 0 ? ": " : "",
             op->said);
    pl_op_end(p, op, PLACEMENT_TIMED_OUT, said);
}

void pl_ops_tick(struct placement *p)
{
    LIST_FOREACH(it, &p->ops)
    {
        struct pl_op *op = list_entry(it, struct pl_op, in_all);
        if (p->now_ms >= op->deadline_ms)
            time_out(p, op);
        else if (p->now_ms - op->sent_ms >= PL_RESEND_MS && !list_is_linked(&op->in_sends))
            list_push_back(&p->sends, &op->in_sends);
    }
}

bool placement_next_step(struct placement *p, struct placement_step *ret_step)
{
    if (p->is_broken && !PLANTED(broken_goes_on))
        return false;
    for (struct list *link; (link = list_pop_front(&p->sends)) != NULL;) {
        if (pl_op_step(p, list_entry(link, struct pl_op, in_sends), ret_step))
            return true;
    }
    return false;
}

static bool is_fatal(int status)
{
    return status == ERR_NOT_FOUND || status == ERR_INVALID || status == ERR_UNSUPPORTED ||
           status == ERR_EXISTS || status == ERR_TOO_LARGE;
}

void placement_on_step_result(struct placement *p, uint64_t now_ms, uint64_t operator_id,
                              uint32_t step_index, int status, struct slice text)
{
    p->now_ms = MAX(p->now_ms, now_ms);
    struct pl_op *op = map_get(&p->ops_by_id, operator_id);
    if (op == NULL || op->step != step_index || status == 0)
        return;
    snprintf(op->said, sizeof op->said, "%s%s%.*s", err_name(status), text.len > 0 ? ": " : "",
             (int)MIN(text.len, PLACEMENT_REASON_MAX), (const char *)text.data);
    if (is_fatal(status)) {
        char said[PLACEMENT_REASON_MAX];
        memcpy(said, op->said, sizeof said);
        op->has_no_key = status == ERR_NOT_FOUND && op->cause == PL_SPLIT &&
                         op->split_by != PLACEMENT_SPLIT_BY_KEY;
        pl_op_end(p, op, PLACEMENT_REFUSED, said);
    }
}

/* ---- status
 * ---------------------------------------------------------------------------------------- */

static void status_of(const struct pl_op *op, uint64_t now_ms,
                      struct placement_operator_status *ret_status)
{
    *ret_status = (struct placement_operator_status){
        .id = op->id,
        .range_id = op->range->id,
        .partner_id = op->partner_id,
        .scheduler = pl_cause_name(op->cause),
        .reason = op->reason,
        .said = op->said,
        .outcome = PLACEMENT_RUNNING,
        .age_ms = now_ms - MIN(now_ms, op->began_ms),
        .step = op->step,
        .step_count = op->step_count,
    };
    for (uint32_t k = 0; k < op->step_count; k++) {
        ret_status->kinds[k] = op->steps[k].kind;
        ret_status->stores[k] = op->steps[k].store == NULL ? 0 : op->steps[k].store->id;
    }
}

bool placement_operator_at(const struct placement *p, uint64_t now_ms, uint32_t i,
                           struct placement_operator_status *ret_status)
{
    const struct list *it = p->ops.next;
    for (; i > 0 && it != &p->ops; i--)
        it = it->next;
    if (it != &p->ops)
        status_of(list_entry(it, const struct pl_op, in_all), now_ms, ret_status);
    return it != &p->ops;
}

bool placement_history_at(const struct placement *p, uint64_t now_ms, uint32_t i,
                          struct placement_operator_status *ret_status)
{
    uint64_t kept = MIN(p->past_count, PLACEMENT_HISTORY_MAX);
    if (i >= kept)
        return false;
    const struct pl_past *past = &p->past[(p->past_count - 1 - i) % PLACEMENT_HISTORY_MAX];
    *ret_status = (struct placement_operator_status){
        .id = past->id,
        .range_id = past->range_id,
        .partner_id = past->partner_id,
        .scheduler = pl_cause_name(past->cause),
        .reason = past->reason,
        .said = past->said,
        .outcome = past->outcome,
        .age_ms = now_ms - MIN(now_ms, past->began_ms),
        .step = past->step,
        .step_count = past->step_count,
    };
    for (uint32_t k = 0; k < past->step_count; k++) {
        ret_status->kinds[k] = (enum placement_step_kind)past->kinds[k];
        ret_status->stores[k] = past->stores[k];
    }
    return true;
}

bool placement_operator_status(const struct placement *p, uint64_t now_ms, uint64_t operator_id,
                               struct placement_operator_status *ret_status)
{
    const struct pl_op *op = map_get(&p->ops_by_id, operator_id);
    if (op != NULL) {
        status_of(op, now_ms, ret_status);
        return true;
    }
    for (uint32_t i = 0; placement_history_at(p, now_ms, i, ret_status); i++) {
        if (ret_status->id == operator_id)
            return true;
    }
    return false;
}
