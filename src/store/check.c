/* SPDX-License-Identifier: Apache-2.0 */
#include "store/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"
#include "store/merge.h"
#include "store/service.h"
#include "store/store_internal.h"

enum { STEP_BYTES_MAX = 1 << 20, STEPS_PER_S = 16 };

/* One digest, running or ended. */
struct check {
    struct list in_checks; /* the replica's, in order of index; or `in_dropped` */
    struct replica *replica;
    uint64_t index;
    uint64_t term;
    enum check_state state;      /* RUNNING, DONE, FAILED */
    struct range_digest *digest; /* NULL once FAILED and quiet */
    bool is_dropped;             /* freed when the step in flight comes back */
    uint64_t bytes;              /* counted so far */
    uint64_t begun_us;
    uint64_t step_us; /* the last step began */
    struct env_timer pace;
    char why[128];
};

_Static_assert((int)RANGE_DIGEST_SPANS_MAX <= CHECK_PARTS_MAX &&
                   (int)RANGE_KEY_MAX <= CHECK_KEY_MAX,
               "the sums of all parts can be told");

static const uint32_t check_successors[] = {
    [CHECK_RUNNING] = BIT(CHECK_DONE) | BIT(CHECK_FAILED),
    [CHECK_DONE] = 0,
    [CHECK_FAILED] = 0,
};

/* The one place that writes c->state. */
static void check_move(struct check *c, enum check_state to)
{
    ASSERT(check_successors[c->state] & BIT(to));
    c->state = to;
}

static void check_delete(struct check *c)
{
    env_timer_stop(&c->pace);
    list_remove(&c->in_checks);
    range_digest_free(c->digest);
    free(c);
}

/* Let go of it: at once, or when the step in flight comes back. */
static void check_drop(struct check *c)
{
    env_timer_stop(&c->pace);
    if (c->digest != NULL && range_digest_is_busy(c->digest)) {
        c->is_dropped = true;
        list_remove(&c->in_checks);
        list_push_back(&c->replica->dropped_checks, &c->in_checks);
        return;
    }
    check_delete(c);
}

/* What is left of it is why. */
static void check_fail(struct check *c, const char *why)
{
    struct replica *r = c->replica;
    ASSERT(c->digest == NULL || !range_digest_is_busy(c->digest));
    LOG_WARN(r->store->logger, "check_failed", "range=%llu index=%llu reason=\"%s\"",
             (unsigned long long)r->range_id, (unsigned long long)c->index, why);
    snprintf(c->why, sizeof c->why, "%s", why);
    env_timer_stop(&c->pace);
    range_digest_free(c->digest);
    c->digest = NULL;
    check_move(c, CHECK_FAILED);
}

static struct check *running(const struct replica *r)
{
    if (list_is_empty(&r->checks))
        return NULL;
    struct check *last = list_entry(r->checks.prev, struct check, in_checks);
    return last->state == CHECK_RUNNING ? last : NULL;
}

bool check_is_running(const struct replica *r)
{
    return running(r) != NULL || (PLANTED(check_counts_on) && !list_is_empty(&r->checks));
}

/* ---- a digest, step by step --------------------------------------------------------- */

static void on_step(void *data, int status, uint64_t bytes, bool is_done, const struct err *err);

/* All checks of a store together keep to its rate, those too that are over with what they read. */
static void note_read(struct check *c, uint64_t bytes)
{
    struct store *store = c->replica->store;
    c->bytes += bytes;
    store->check_free_us =
        MAX(store->check_free_us, c->step_us) + bytes * 1000 * 1000 / store->opt.check_bytes_per_s;
}

/* All of a store rest as long as the last step took: where processors or the disk are busy with
 * something else they take themselves back, and the rate is for those that are not. */
static void step_later(struct check *c)
{
    struct store *store = c->replica->store;
    uint64_t now_us = env_now_us(store->env);
    uint64_t rest_us = now_us - c->step_us;
    store->check_free_us = MAX(store->check_free_us, now_us + rest_us);
    env_timer_start_at(&c->pace, store->check_free_us);
}

/* Another one's step may have taken the time that this one was to begin at. */
static void step_due(struct env_timer *timer)
{
    struct check *c = timer->data;
    const struct store *store = c->replica->store;
    c->step_us = env_now_us(store->env);
    if (store->check_free_us > c->step_us) {
        env_timer_start_at(&c->pace, store->check_free_us);
        return;
    }
    uint64_t rate = store->opt.check_bytes_per_s;
    uint64_t step_bytes = MIN(MAX(rate / STEPS_PER_S, UINT64_C(1)), (uint64_t)STEP_BYTES_MAX);
    range_digest_next(c->digest, step_bytes, on_step, c);
}

static void check_done(struct check *c)
{
    struct replica *r = c->replica;
    const struct range_digest_sums *sums = range_digest_sums(c->digest);
    check_move(c, CHECK_DONE);
    LOG_INFO(r->store->logger, "check",
             "range=%llu index=%llu keys=%llu bytes=%llu sum=%016llx%016llx meta=%016llx",
             (unsigned long long)r->range_id, (unsigned long long)c->index,
             (unsigned long long)sums->all.keys, (unsigned long long)sums->all.bytes,
             (unsigned long long)sums->all.hash[0], (unsigned long long)sums->all.hash[1],
             (unsigned long long)sums->meta_hash);
}

static void on_step(void *data, int status, uint64_t bytes, bool is_done, const struct err *err)
{
    struct check *c = data;
    struct replica *r = c->replica;
    if (c->is_dropped) {
        check_delete(c);
        replica_wake(r); /* its end may have waited for this */
        return;
    }
    if (status != 0) {
        struct err note = *err; /* it goes with the check */
        check_fail(c, note.msg);
        if (status == ERR_CORRUPT)
            replica_damage(r, "read for a check", &note);
        return;
    }
    note_read(c, bytes);
    if (is_done) {
        check_done(c);
        return;
    }
    if (env_now_us(r->store->env) - c->begun_us > CHECK_TIME_MAX_US) {
        check_fail(c, "it took too long, and would hold what is read in memory and on disk");
        return;
    }
    step_later(c);
}

static void forget_oldest(struct replica *r)
{
    size_t n = 0;
    LIST_FOREACH(it, &r->checks)
    n++;
    if (n >= CHECKS_KEPT)
        check_drop(list_first(&r->checks, struct check, in_checks));
}

void check_begin(struct replica *r)
{
    const struct range_meta *meta = range_meta(r->range);
    struct err err = {0};
    if (r->state != REPLICA_RUNNING)
        return;    /* replayed: it was asked before the last start */
    check_stop(r); /* the latest wins: somebody waits for it */
    forget_oldest(r);
    struct check *c = calloc(1, sizeof *c);
    if (c == NULL)
        return; /* MISSING says as much */
    *c = (struct check){.replica = r,
                        .index = meta->applied_index,
                        .term = meta->applied_term,
                        .state = CHECK_RUNNING,
                        .begun_us = env_now_us(r->store->env)};
    list_init(&c->in_checks);
    list_push_back(&r->checks, &c->in_checks);
    env_timer_init(&c->pace, r->store->env, step_due, c);
    if (range_digest_new(r->range, &c->digest, &err) != 0)
        check_fail(c, err.msg);
    else
        env_timer_start_at(&c->pace, MAX(r->store->check_free_us, c->begun_us));
}

void check_stop(struct replica *r)
{
    struct check *c = running(r);
    if (c != NULL)
        check_drop(c);
}

void check_free(struct replica *r)
{
    while (!list_is_empty(&r->checks))
        check_delete(list_first(&r->checks, struct check, in_checks));
    while (!list_is_empty(&r->dropped_checks))
        check_delete(list_first(&r->dropped_checks, struct check, in_checks));
}

const struct range_digest_sums *store_check_sums(const struct store *store, uint64_t range_id,
                                                 size_t i)
{
    const struct replica *r = replicas_of_range(&store->replicas, range_id);
    if (r == NULL)
        return NULL;
    LIST_FOREACH(it, &r->checks)
    {
        const struct check *c = list_entry(it, struct check, in_checks);
        if (c->state == CHECK_DONE && i-- == 0)
            return range_digest_sums(c->digest);
    }
    return NULL;
}

/* ---- requests -------------------------------------------------------------------------- */

/* The replica that is asked, or NULL and the answer is on its way. */
static struct replica *asked_replica(struct store *store, struct answer_to *to,
                                     const struct request *request)
{
    uint64_t range_id = request->check.range_id;
    struct replica *r =
        range_id != 0 ? replicas_of_range(&store->replicas, range_id) : store_first_data(store);
    if (store->state == STORE_DAMAGED)
        service_answer_status(store, to, ERR_UNAVAILABLE, "this store is damaged");
    else if (store->state == STORE_UNBORN)
        service_answer_status(store, to, ERR_STATE, "this store is not bootstrapped");
    else if (r == NULL || r->range == NULL)
        service_answer_status(store, to, ERR_NOT_FOUND,
                              r == NULL ? "no replica of this range here"
                                        : "the replica here is still blank");
    else if (r->state == REPLICA_DAMAGED)
        service_answer_status(store, to, ERR_UNAVAILABLE, "this replica is damaged");
    else {
        to->range_id = r->range_id;
        return r;
    }
    return NULL;
}

static void on_start(struct store *store, struct answer_to *to, const struct request *request)
{
    struct replica *r = asked_replica(store, to, request);
    if (r == NULL)
        return;
    if (!replica_leads(r) || store->state != STORE_RUNNING) {
        service_answer_status(store, to, ERR_NOT_LEADER, NULL);
        return;
    }
    if (merge_is_freezing(r)) {
        service_answer_status(store, to, ERR_BUSY, "the range is being merged");
        return;
    }
    if (running(r) != NULL) {
        service_answer_status(store, to, ERR_BUSY, "a check of this range is running");
        return;
    }
    struct buf command;
    buf_init(&command, 256);
    range_digest_command(&command);
    struct write_op *op = command.failed ? NULL : malloc(sizeof *op + command.len);
    if (op != NULL) {
        *op = (struct write_op){.to = *to, .len = command.len};
        fair_item_init(&op->in_queue);
        list_init(&op->in_writes);
        memcpy(op->command, command.data, command.len);
    }
    buf_fini(&command);
    if (op == NULL)
        service_answer_status(store, to, ERR_BUSY, "memory is short");
    else
        replica_write(r, op);
}

static struct response answer_of(const struct replica *r, enum request_kind kind, uint64_t index,
                                 enum check_state state)
{
    return (struct response){
        .kind = kind,
        .check =
            {
                .range_id = r->range_id,
                .replica_id = r->replica_id,
                .index = index,
                .state = state,
                .applied = range_meta(r->range)->applied_index,
            },
    };
}

void check_answer_started(struct replica *r, const struct answer_to *to)
{
    const struct range_meta *meta = range_meta(r->range);
    struct response response =
        answer_of(r, REQUEST_CHECK_START, meta->applied_index, CHECK_STARTED);
    response.check.term = meta->applied_term;
    service_answer(r->store, to, &response);
}

static void put_sum(const struct range_digest_sum *from, uint8_t out[CHECK_SUM_LEN])
{
    put_u64(out, from->hash[0]);
    put_u64(out + 8, from->hash[1]);
}

static void fill_sums(struct response_check *to, const struct range_digest_sums *from,
                      struct buf *parts)
{
    to->keys = from->all.keys;
    to->time_ms = from->time_ms;
    to->last_version = from->last_version;
    to->history_hash = from->history_hash;
    to->meta_hash = from->meta_hash;
    put_sum(&from->all, to->sum);
    for (uint32_t i = 0; i < from->part_count; i++) {
        const struct range_digest_part *p = &from->parts[i];
        struct check_part part = {.last = p->last, .keys = p->sum.keys, .bytes = p->sum.bytes};
        put_sum(&p->sum, part.sum);
        check_part_append(parts, &part);
    }
    to->parts = (struct pack_list){.count = from->part_count, .raw = buf_slice(parts)};
}

static struct check *find(const struct replica *r, uint64_t index)
{
    LIST_FOREACH(it, &r->checks)
    {
        struct check *c = list_entry(it, struct check, in_checks);
        if (c->index == index)
            return c;
    }
    return NULL;
}

/* Nothing is known of it here. */
static void answer_unknown(struct replica *r, const struct answer_to *to, uint64_t index)
{
    bool is_behind = range_meta(r->range)->applied_index < index;
    struct response response =
        answer_of(r, REQUEST_CHECK_RESULT, index, is_behind ? CHECK_BEHIND : CHECK_MISSING);
    if (!is_behind)
        response.check.why = slice_str("restarted since, overtaken by a snapshot or by later "
                                       "checks, or no check at this index");
    service_answer(r->store, to, &response);
}

static void on_result(struct store *store, struct answer_to *to, const struct request *request)
{
    struct replica *r = asked_replica(store, to, request);
    uint64_t index = request->check.index;
    if (r == NULL)
        return;
    const struct check *c = find(r, index);
    if (c == NULL) {
        answer_unknown(r, to, index);
        return;
    }
    struct response response = answer_of(r, REQUEST_CHECK_RESULT, index, c->state);
    struct buf parts;
    buf_init(&parts, FRAME_BODY_MAX / 2);
    response.check.term = c->term;
    response.check.bytes = c->bytes;
    if (c->state == CHECK_FAILED)
        response.check.why = slice_str(c->why);
    else if (c->state == CHECK_DONE)
        fill_sums(&response.check, range_digest_sums(c->digest), &parts);
    if (parts.failed)
        service_answer_status(store, to, ERR_BUSY, "memory is short");
    else
        service_answer(store, to, &response);
    buf_fini(&parts);
}

void check_on_request(struct store *store, struct answer_to *to, const struct request *request)
{
    if (request->kind == REQUEST_CHECK_START)
        on_start(store, to, request);
    else
        on_result(store, to, request);
}
