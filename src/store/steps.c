/* SPDX-License-Identifier: Apache-2.0 */
#include "store/steps.h"

#include <stdlib.h>

#include "base/plant.h"
#include "store/inner.h"
#include "store/service.h"
#include "store/store_internal.h"

enum { STEP_TIMEOUT_MS = 5000 };

struct step_op {
    struct list in_steps;
    struct store *store;
    struct inner_call call;
    uint64_t from_store; /* who wants to hear of it */
    uint64_t term;
    uint64_t range_id;
    uint64_t operator_id;
    uint32_t number;
};

static void tell_done(struct store *store, uint64_t to_store, const struct step_done *done)
{
    struct buf out;
    buf_init(&out, FRAME_BODY_MAX);
    step_done_encode(&out, done);
    store_tell(store, to_store, NET_URGENT, &out);
    buf_fini(&out);
}

static void refuse(struct store *store, uint64_t to_store, uint64_t term,
                   const struct step_order *step, int status, const char *text)
{
    struct step_done done = {
        .term = term,
        .range_id = step->range_id,
        .operator_id = step->operator_id,
        .number = step->number,
        .status = status,
        .text = slice_str(text),
    };
    tell_done(store, to_store, &done);
}

static void on_done(struct inner_call *call, const struct response *response)
{
    struct step_op *op = call->data;
    struct store *store = op->store;
    struct step_done done = {
        .term = op->term,
        .range_id = op->range_id,
        .operator_id = op->operator_id,
        .number = op->number,
        .status = response->status,
        .text = response->text,
    };
    if (response->status != 0 && response->status != ERR_BUSY)
        LOG_WARN(
            store->logger, "step", "range=%llu operator=%llu step=%u status=%s reason=\"%.*s\"",
            (unsigned long long)op->range_id, (unsigned long long)op->operator_id, op->number,
            err_name(response->status), (int)response->text.len, (const char *)response->text.data);
    list_remove(&op->in_steps);
    store->beats.step_count--;
    uint64_t to_store = op->from_store;
    tell_done(store, to_store, &done);
    free(op);
    beats_poke(store);
}

/* ---- does it fit? ------------------------------------------------------------------------ */

static const struct cons_member *member_in(const struct cons_config *config, uint64_t replica_id)
{
    for (uint32_t i = 0; i < config->n; i++) {
        if (config->members[i].replica_id == replica_id)
            return &config->members[i];
    }
    return NULL;
}

/* Has it been done before? */
static bool is_done(const struct replica *r, const struct step_order *step)
{
    const struct cons_member *m = member_in(consensus_config(r->cons, NULL), step->replica_id);
    switch (step->kind) {
    case STEP_ADD_LEARNER:
        return m != NULL && m->store_id == step->store_id;
    case STEP_PROMOTE:
        return m != NULL && m->role == CONS_VOTER;
    case STEP_REMOVE:
        return m == NULL;
    case STEP_TRANSFER:
        return step->replica_id == r->replica_id;
    case STEP_RETAIN:
        return range_meta(r->range)->retention_ms == step->retention_ms;
    case STEP_SPLIT:
    case STEP_MERGE:
        break;
    }
    return false;
}

static bool is_at_epoch(const struct replica *r, const struct step_order *step)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    return store_conf_epoch(r) == step->conf_epoch && d->epoch.span == step->span_epoch;
}

/* 1: begin it. 0: it is done. Else why not. */
static int judge(const struct store *store, const struct step_order *step, const char **ret_text)
{
    struct replica *r = replicas_of_range(&store->replicas, step->range_id);
    *ret_text = "";
    if (r == NULL || r->range == NULL || !replica_leads(r)) {
        *ret_text = "this store does not lead the range";
        return ERR_NOT_LEADER;
    }
    if (is_done(r, step))
        return 0;
    if (!is_at_epoch(r, step)) {
        *ret_text = "the range has changed since";
        return ERR_RANGE_CHANGED;
    }
    if ((step->kind == STEP_SPLIT || step->kind == STEP_MERGE) &&
        step->range_id == RANGE_ID_SYSTEM) {
        *ret_text = "range 1 is never split or merged";
        return ERR_INVALID;
    }
    return 1;
}

/* ---- doing it ------------------------------------------------------------------------------ */

static int fill_member(const struct store *store, const struct step_order *step,
                       struct request *request)
{
    struct request_change_member *change = &request->change_member;
    request->kind = REQUEST_CHANGE_MEMBER;
    if (step->kind != STEP_ADD_LEARNER) {
        change->action = step->kind == STEP_PROMOTE ? MEMBER_PROMOTE : MEMBER_REMOVE;
        change->replica_id = step->replica_id;
        return 0;
    }
    const struct book_entry *e = book_find(&store->book, step->store_id);
    if (e == NULL || e->is_removed)
        return ERR_BUSY; /* its address is on its way */
    change->action = MEMBER_ADD_LEARNER;
    change->member = (struct member){
        .replica_id = step->replica_id,
        .store_id = step->store_id,
        .role = MEMBER_LEARNER,
        .address = slice_str(e->address),
    };
    memcpy(change->member.store_uuid, e->uuid, sizeof e->uuid);
    return 0;
}

/* A key near the middle of its bytes, in front of which and behind which there is something. */
static int choose_middle(struct store *store, struct range_span span, unsigned flags,
                         struct buf *key)
{
    struct lsm_approx approx = {0};
    struct lsm_view *view = lsm_view_take(store->lsm);
    int rv = view == NULL ? ERR_NOMEM
                          : lsm_approximate(view, span.start, span.end, flags, &approx, NULL);
    lsm_view_unref(view);
    if (rv != 0)
        return rv;
    /* An index's keys are cut short. With zeroes behind it the same keys are on either side, and
     * it is none that no user key could have. */
    while (approx.middle.len > 0 && approx.middle.len < RANGE_USER_KEY_PREFIX &&
           !approx.middle.failed)
        buf_append_u8(&approx.middle, 0);
    struct slice middle = buf_slice(&approx.middle);
    bool is_good = middle.len > 0 && slice_compare(span.start, middle) < 0 &&
                   slice_compare(middle, span.end) < 0;
    is_good &= !approx.middle.failed;
    if (is_good)
        buf_append_slice(key, middle);
    buf_fini(&approx.middle);
    return is_good && !key->failed ? 0 : ERR_NOT_FOUND;
}

/* Where it is to be cut: by what is asked for, or by what is there. This is the loop: what is in
 * memory of the indexes does, and only where that is too little (of a small range) are some of
 * their parts read, few in each table. */
static int choose_key(struct store *store, const struct replica *r, bool is_by_load,
                      struct buf *key)
{
    struct range_span span = range_descriptor_span(range_descriptor(r->range));
    if (is_by_load && hot_choose(r->hot, span, key))
        return 0;
    int rv = choose_middle(store, span, LSM_READ_NO_IO, key);
    return rv == ERR_NOT_FOUND ? choose_middle(store, span, 0, key) : rv;
}

static int fill_split(struct store *store, const struct step_order *step, struct buf *key,
                      struct request *request)
{
    const struct replica *r = replicas_of_range(&store->replicas, step->range_id);
    struct request_split *split = &request->split;
    request->kind = REQUEST_SPLIT;
    request->span_epoch = step->span_epoch;
    split->key = step->key;
    if (step->key.len == 0) {
        int rv = choose_key(store, r, step->is_by_load, key);
        if (rv != 0)
            return rv;
        split->key = buf_slice(key);
    }
    split->conf_epoch = step->conf_epoch;
    split->new_range_id = step->new_range_id;
    split->child_count = step->child_count;
    for (uint32_t i = 0; i < step->child_count; i++)
        split->children[i] = (struct request_child){.store_id = step->children[i].store_id,
                                                    .replica_id = step->children[i].replica_id};
    return 0;
}

static int fill_request(struct store *store, const struct step_order *step, struct buf *key,
                        struct request *request)
{
    *request = (struct request){.range_id = step->range_id, .timeout_ms = STEP_TIMEOUT_MS};
    if (step->kind == STEP_SPLIT)
        return fill_split(store, step, key, request);
    if (step->kind == STEP_MERGE) {
        request->kind = REQUEST_MERGE;
        request->span_epoch = step->span_epoch;
        request->merge = (struct request_merge){.conf_epoch = step->conf_epoch,
                                                .right_range = step->new_range_id,
                                                .right_conf = step->right_conf_epoch,
                                                .right_span = step->right_span_epoch};
        return 0;
    }
    if (step->kind == STEP_RETAIN) {
        request->kind = REQUEST_RETAIN;
        request->span_epoch = step->span_epoch;
        request->retain = (struct request_retain){.conf_epoch = step->conf_epoch,
                                                  .retention_ms = step->retention_ms};
        return 0;
    }
    if (step->kind != STEP_TRANSFER)
        return fill_member(store, step, request);
    request->kind = REQUEST_TRANSFER_LEADER;
    request->transfer_leader.target_replica = step->replica_id;
    return 0;
}

static struct step_op *running_of(const struct store *store, uint64_t range_id)
{
    LIST_FOREACH(it, &store->beats.steps)
    {
        struct step_op *op = list_entry(it, struct step_op, in_steps);
        if (op->range_id == range_id)
            return op;
    }
    return NULL;
}

static void begin(struct store *store, uint64_t from_store, uint64_t term,
                  const struct step_order *step)
{
    struct request request;
    struct buf key;
    buf_init(&key, DESCRIPTOR_KEY_MAX);
    int rv = fill_request(store, step, &key, &request);
    struct step_op *op = rv == 0 ? calloc(1, sizeof *op) : NULL;
    if (rv == 0 && op == NULL)
        rv = ERR_BUSY;
    if (rv != 0) {
        buf_fini(&key);
        refuse(store, from_store, term, step, rv,
               rv == ERR_NOT_FOUND ? "there is no key to split at" : "");
        return;
    }
    *op = (struct step_op){
        .store = store,
        .call = {.data = op, .cb = on_done},
        .from_store = from_store,
        .term = term,
        .range_id = step->range_id,
        .operator_id = step->operator_id,
        .number = step->number,
    };
    list_init(&op->in_steps);
    ASSERT(running_of(store, step->range_id) == NULL);
    list_push_back(&store->beats.steps, &op->in_steps);
    store->beats.step_count++;
    LOG_INFO(store->logger, "step_begun", "range=%llu operator=%llu step=%u kind=%u replica=%llu",
             (unsigned long long)step->range_id, (unsigned long long)step->operator_id,
             step->number, (unsigned)step->kind, (unsigned long long)step->replica_id);
    inner_ask(store, &op->call, &request);
    buf_fini(&key);
}

void steps_take(struct store *store, uint64_t from_store, uint64_t term,
                const struct step_order *step)
{
    const struct step_op *running = running_of(store, step->range_id);
    const char *text;
    if (running != NULL && running->operator_id == step->operator_id &&
        running->number == step->number)
        return;
    int rv = judge(store, step, &text);
    if (rv != 1)
        refuse(store, from_store, term, step, rv, text);
    else if (running != NULL && !PLANTED(two_steps_at_once))
        refuse(store, from_store, term, step, ERR_BUSY, "another step of the range is being done");
    else if (store->beats.step_count >= STEPS_MAX)
        refuse(store, from_store, term, step, ERR_BUSY, "too many steps are being done");
    else
        begin(store, from_store, term, step);
}

void steps_free(struct store *store)
{
    struct list *link;
    while ((link = list_pop_front(&store->beats.steps)) != NULL)
        free(list_entry(link, struct step_op, in_steps));
}
