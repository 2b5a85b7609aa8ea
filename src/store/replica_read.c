/* SPDX-License-Identifier: Apache-2.0
 *
 * A read: all that come in one turn are confirmed together by one ReadIndex
 * (consensus.md, Linearizable reads), then each reads the engine. A read that finds
 * a record whose expiry the wall clock has passed, but range time has not, waits
 * until an entry has moved range time; so does a scan's first page of several where
 * nobody has written for long.
 *
 *   linearizable  confirmed by the majority; on a replica that follows: by its leader
 *   lease         by the leader's lease where it stands (consensus/lease.c), else as above
 *   stale         at once if all that was acknowledged up to max_age ago is known to be
 *                 applied here, else confirmed as above first
 *   at a version  at once if this replica has come so far: what is below the last version
 *                 that it has applied never changes, whoever leads
 *
 * `fresh_us` is that knowledge: the opening of the last batch that was confirmed. It counts
 * from before the leader was asked, never from its answer.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"
#include "net/net_client.h"
#include "store/merge.h"
#include "store/service.h"
#include "store/store_internal.h"
#include "store/watch.h"

enum {
    READ_ROUND_BYTES = 256 << 10,    /* of answers in a round of a turn, which has a few of them */
    READ_FIRST_BYTES = FAIR_QUANTUM, /* of one of which nobody knows yet what it will cost */
    READ_ASIDE_ALONE = 8,            /* times as much is copied off the loop though nobody waits */
    READ_LANE_FEW = 16,              /* reads that are there: one more from memory is made soon */
    READ_CHOKED_BYTES = 1 << 20,     /* that wait for a client, and its reads wait too … */
    READ_CHOKED_US = 20 * 1000,      /* … for so long, before it is looked at again */
    READ_CHOKED_LOOK = 64,           /* clients that are let go on at a time */
    READ_EXPIRE_US = 100 * 1000, /* between two looks through all that wait for their turn … */
    READ_EXPIRE_MAX = 256,       /* … which end so many of them, or there is another one soon */
    READ_TEXT_MAX = 96,
};

/* How GET, MULTI_GET and SCAN read; NULL for a watch. */
static const struct request_read *how_of(const struct read_op *op)
{
    switch (op->request.kind) {
    case REQUEST_GET:
        return &op->request.get.read;
    case REQUEST_MULTI_GET:
        return &op->request.multi_get.read;
    case REQUEST_SCAN:
        return &op->request.scan.read;
    default:
        ASSERT(op->request.kind == REQUEST_WATCH);
        return NULL;
    }
}

static enum consistency mode_of(const struct read_op *op)
{
    const struct request_read *how = how_of(op);
    return how == NULL ? READ_LINEARIZABLE : how->consistency;
}

void read_op_free(struct read_op *op)
{
    range_read_fini(&op->read);
    buf_fini(&op->made);
    free(op);
}

static void read_finish(struct read_op *op, int status, const char *text)
{
    struct replica *r = op->replica;
    ASSERT(r->read_count > 0);
    ASSERT(!list_is_linked(&op->in_reads));
    r->read_count--;
    uint64_t before = r->store->answered_bytes;
    if (status == 0 && op->request.kind == REQUEST_WATCH)
        watch_answer_now(r, &op->to, &op->request.watch);
    else if (status == 0 && op->made.len > 0)
        service_answer_made(r->store, &op->to, &op->made, op->read.rows.len);
    else if (status == 0)
        service_answer_read(r->store, &op->to, op->request.kind, &op->read);
    else if (status == ERR_VERSION_GONE)
        service_answer_gone(r->store, &op->to, op->request.kind, &op->read);
    else
        service_answer_status(r->store, &op->to, status, text);
    uint64_t bytes = r->store->answered_bytes - before;
    if (r->backlog.count > 0) /* what was known of it before is paid */
        fair_charge(&r->backlog, op->to.client, bytes - MIN(bytes, op->in_backlog.cost));
    read_op_free(op);
}

/* The only one that has the rest of the data goes on serving that (storage.md, Torn or rotten). */
bool replica_has_others(const struct replica *r)
{
    if (r->cons != NULL)
        return cons_config_voters(consensus_config(r->cons, NULL)) > 1;
    uint32_t voters = 0;
    for (uint32_t i = 0; r->nap.parked != NULL && i < r->nap.parked->n_members; i++)
        voters += r->nap.parked->members[i].role == CONS_VOTER;
    return voters > 1;
}

/* For how long what is applied here may have been overtaken. */
static uint64_t age_us(const struct replica *r)
{
    return r->fresh_us == 0 ? UINT64_MAX : env_now_us(r->store->env) - r->fresh_us;
}

static bool is_young(const struct read_op *op)
{
    return age_us(op->replica) / 1000 < how_of(op)->max_age_ms;
}

static void finish_too_old(struct read_op *op)
{
    char text[READ_TEXT_MAX];
    const struct replica *r = op->replica;
    if (r->fresh_us == 0)
        snprintf(text, sizeof text, "this replica has not been in touch with a leader yet");
    else
        snprintf(text, sizeof text,
                 "this replica is known to be up to date as of %" PRIu64
                 " ms ago only, asked for was %" PRIu64 " ms",
                 age_us(r) / 1000, how_of(op)->max_age_ms);
    read_finish(op, ERR_TOO_OLD, text);
}

/* Of one who leads no more: nobody here will move range time, nor is it to be wanted for ever. */
static void await_stamp(struct read_op *op)
{
    struct replica *r = op->replica;
    if (!replica_leads(r)) {
        read_finish(op, ERR_NOT_LEADER, NULL);
        return;
    }
    buf_fini(&op->made); /* an answer of before: it is read again */
    op->made = (struct buf){0};
    list_push_back(&r->stamp_reads, &op->in_reads);
    r->needs_stamp = true;
    r->stamp_ms = MAX(r->stamp_ms, op->read.now_ms);
    replica_wake(r);
}

/* The pages that follow will be read at the version of this one. Where nobody has written for long,
 * it is an old one, and the next write would move the safe point past it: the range's time is to be
 * moved first. Who follows answers while half of the retention is left; a stale read is answered
 * always, and so is any that would wait for a disk or for a clock. */
static bool is_page_to_be_young(struct read_op *op)
{
    const struct range_read *read = &op->read;
    if (read->kind != RANGE_READ_SCAN || read->at_version != 0 || mode_of(op) == READ_STALE)
        return false;
    if (!read->has_more || read->is_range_end)
        return false;
    struct replica *r = op->replica;
    const struct range_meta *meta = range_meta(r->range);
    if (!replica_leads(r))
        return read->now_ms > meta->time_ms + meta->retention_ms / 2;
    uint64_t after_ms =
        MIN(meta->retention_ms / STORE_WATCH_STAMP_PART, (uint64_t)STORE_WATCH_STAMP_MS);
    bool is_full = MAX(r->store->mark, r->space) >= WATERMARK_READ_ONLY;
    bool is_stopped = is_full || lsm_stall(r->store->lsm) == LSM_STALL_STOP;
    return !is_stopped && !r->store->clock.is_off && read->now_ms > meta->time_ms + after_ms;
}

static void read_ended(struct read_op *op, int status)
{
    struct replica *r = op->replica;
    bool needs_stamp = status == ERR_STATE && op->read.needs_stamp;
    if (needs_stamp || (status == 0 && is_page_to_be_young(op))) {
        await_stamp(op);
        return;
    }
    const char *text = op->read.err.code != 0 ? op->read.err.msg : NULL;
    if (status == ERR_CORRUPT || status == ERR_IO)
        LOG_ERROR(r->store->logger, "read_failed", "range=%llu error=\"%s\"",
                  (unsigned long long)r->range_id, op->read.err.msg);
    if (status == ERR_CORRUPT && replica_has_others(r))
        replica_damage(r, "read", &op->read.err);
    read_finish(op, status, text);
}

/* Off the loop. A small answer leaves together with others of its turn: it is made there. */
static int make_answer(struct range_read *read)
{
    struct read_op *op = read->data;
    size_t aside_bytes = op->replica->store->opt.read_aside_bytes;
    if (op->to.inner != NULL || aside_bytes == 0 || read->rows.len < aside_bytes)
        return 0;
    return service_make_read(&op->made, &op->to, op->request.kind, read);
}

void replica_reads_init(struct store *store)
{
    list_init(&store->choked);
    large_init(store);
}

static void on_range_read(struct range_read *read, int status)
{
    struct read_op *op = read->data;
    list_remove(&op->in_reads);
    large_end_aside(op->replica->store, op->in_backlog.cost);
    read_ended(op, status);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* When is it to be looked at? When its time is over, and where it may have to hurry, when half of
 * it is, and then time and again until it is the first of its client. */
static void look_later(struct replica *r, const struct fair *q, const struct read_op *op,
                       uint64_t now_us)
{
    uint64_t half_us = op->to.began_us + (op->until_us - op->to.began_us) / 2;
    uint64_t at_us = op->until_us;
    if (q != &r->choked)
        at_us = now_us < half_us ? half_us : MIN(at_us, now_us + READ_EXPIRE_US);
    r->look_us = MIN(r->look_us, at_us);
}

/* It is larger than it may be without those who wait being asked: now that it is known how large,
 * it waits for its turn among its like, and nobody who wants little waits behind it. */
static void put_among_large(struct read_op *op)
{
    struct replica *r = op->replica;
    size_t cost = op->read.value_bytes;
    ASSERT(cost > 0 && op->in_backlog.cost == 0);
    if (fair_push(&r->large, &op->in_backlog, op->to.client, cost) != 0)
        read_finish(op, ERR_BUSY, "memory is short");
    else
        look_later(r, &r->large, op, env_turn_us(r->store->env));
    replica_wake(r);
}

/* How much may be copied on the loop before it is known how large the value is; 0: all of it. */
static size_t loop_bytes_of(const struct read_op *op)
{
    const struct replica *r = op->replica;
    bool others_wait = r->backlog.count > 0 || r->large.count > 0 ||
                       !list_is_empty(&r->ready_reads) || !large_is_turn_of(r);
    if (others_wait || large_is_used_up(r->store))
        return READ_FIRST_BYTES;
    bool is_get = op->read.kind == RANGE_READ_GET;
    return is_get ? r->store->opt.read_aside_bytes * READ_ASIDE_ALONE : 0;
}

/* Copied on the loop while others wait is what is known to be their turn, and little. Off it is
 * copied only what is known to be large, or on disk: that is counted. */
static void bound_read(struct read_op *op)
{
    const struct store *store = op->replica->store;
    bool is_priced = op->in_backlog.cost > 0;
    bool is_lane_free = store->large.in_lane < READ_LANE_FEW;
    op->read.loop_bytes = is_priced ? 0 : loop_bytes_of(op);
    op->read.aside_bytes = is_priced && is_lane_free ? store->opt.read_aside_bytes : 0;
    op->read.made = make_answer;
}

/* Leadership is confirmed and apply has caught up: read the engine. */
static void read_begin(struct read_op *op)
{
    struct replica *r = op->replica;
    if (op->to.deadline_us <= env_turn_us(r->store->env)) {
        read_finish(op, ERR_TIMEOUT, "the deadline passed before the read was confirmed");
        return;
    }
    if (r->state != REPLICA_RUNNING) {
        read_finish(op, ERR_NOT_LEADER, NULL); /* its state is being replaced, or ends */
        return;
    }
    if (merge_is_freezing(r) && !(PLANTED(lease_over_merge) && mode_of(op) == READ_LEASE)) {
        read_finish(op, ERR_RANGE_CHANGED, "the range is being merged");
        return;
    }
    if (mode_of(op) == READ_STALE && !is_young(op)) {
        finish_too_old(op);
        return;
    }
    if (op->request.kind == REQUEST_WATCH && watch_time_is_old(r, op->read.now_ms)) {
        await_stamp(op);
        return;
    }
    if (op->request.kind == REQUEST_WATCH) {
        read_finish(op, 0, NULL);
        return;
    }
    bound_read(op);
    int rv = range_read_start(r->range, &op->read);
    if (rv == ERR_WOULD_BLOCK) {
        large_begin_aside(r->store, op->in_backlog.cost);
        list_push_back(&r->reading, &op->in_reads);
    } else if (rv == ERR_BUSY)
        put_among_large(op);
    else
        read_ended(op, rv);
}

static void batch_free(struct read_batch *batch)
{
    list_remove(&batch->in_batches);
    free(batch);
}

/* Who does not read what he was told already waits for what more he wants to hear. */
enum hearer { HEARER_READS, HEARER_CHOKED, HEARER_GONE };

static enum hearer hearer_of(const struct replica *r, uint64_t client)
{
    size_t pending;
    if (!net_client_is_there(r->store->net, client, &pending))
        return HEARER_GONE;
    return pending > READ_CHOKED_BYTES ? HEARER_CHOKED : HEARER_READS;
}

/* Nobody is there to be answered: nothing is read, and that is no sign of the pace. */
static void drop(struct read_op *op)
{
    admit_set_aside(op->replica->store, &op->to);
    read_finish(op, ERR_CANCELED, NULL);
}

static struct read_op *of_backlog(struct fair_item *item)
{
    return container_of(item, struct read_op, in_backlog);
}

static void push_to(struct fair *q, struct read_op *op)
{
    struct replica *r = op->replica;
    bool has_room = q != &r->choked || admit_has_room_aside(r->store, &op->to);
    if (q == &r->choked)
        admit_set_aside(r->store, &op->to);
    else
        admit_take_up(r->store, &op->to);
    if (!has_room)
        read_finish(op, ERR_BUSY, "its client does not read what it was told");
    else if (fair_push(q, &op->in_backlog, op->to.client, 0) != 0)
        read_finish(op, ERR_BUSY, "memory is short");
    else
        look_later(r, q, op, env_turn_us(r->store->env));
    if (r->choked.count > 0 && !list_is_linked(&r->in_choked))
        list_push_back(&r->store->choked, &r->in_choked);
}

/* What this turn has no time for waits, each client behind itself: round robin over them, by the
 * bytes of their answers. */
static void put_off(struct replica *r)
{
    struct list *link;
    while ((link = list_pop_front(&r->ready_reads)) != NULL)
        push_to(&r->backlog, list_entry(link, struct read_op, in_reads));
}

/* The next one whose turn it is, in no list any more; NULL: there is none. */
static struct read_op *take_from(struct fair *q)
{
    struct fair_item *item = fair_peek(q);
    if (item == NULL)
        return NULL;
    fair_remove(q, item);
    return of_backlog(item);
}

static struct read_op *take_ready(struct replica *r)
{
    struct read_op *op = take_from(&r->backlog);
    if (op != NULL)
        return op;
    struct list *link = list_pop_front(&r->ready_reads);
    return link == NULL ? NULL : list_entry(link, struct read_op, in_reads);
}

static void serve_one(struct replica *r, struct read_op *op)
{
    enum hearer hearer = op->to.inner != NULL ? HEARER_READS : hearer_of(r, op->to.client);
    if (hearer == HEARER_CHOKED)
        push_to(&r->choked, op);
    else if (hearer == HEARER_GONE)
        drop(op);
    else
        read_begin(op);
}

static void serve_large(struct replica *r)
{
    struct read_op *op;
    size_t taken = 0;
    while (large_is_turn_of(r) && taken < LARGE_TURN_BYTES && !large_is_used_up(r->store)) {
        op = take_from(&r->large);
        if (op == NULL)
            break;
        taken += op->in_backlog.cost;
        serve_one(r, op);
    }
    large_settle(r, taken);
}

/* Read what is confirmed, as much of it as a round of the turn has time for: who asks for much
 * does not keep the loop from all others. Later is as good: what was confirmed stays true. */
static void serve_ready(struct replica *r)
{
    struct store *store = r->store;
    uint64_t until = store->answered_bytes + READ_ROUND_BYTES;
    struct read_op *op;
    if (r->backlog.count > 0)
        put_off(r);
    while (store->answered_bytes < until && (op = take_ready(r)) != NULL)
        serve_one(r, op);
    serve_large(r);
    put_off(r);
    if (r->backlog.count > 0) /* what is left has its round in a turn to come */
        replica_wake(r);
}

static void batch_finish(struct read_batch *batch, int status)
{
    struct replica *r = batch->replica;
    struct list *link;
    while ((link = list_pop_front(&batch->reads)) != NULL) {
        if (status == 0)
            list_push_back(&r->ready_reads, link);
        else if (mode_of(list_entry(link, struct read_op, in_reads)) == READ_STALE)
            finish_too_old(list_entry(link, struct read_op, in_reads));
        else
            read_finish(list_entry(link, struct read_op, in_reads), status, NULL);
    }
    batch_free(batch);
    if (status == 0)
        serve_ready(r);
}

/* A range that is frozen may have been merged: others may write to its keys by now. */
static void note_fresh(struct replica *r, uint64_t asked_us)
{
    if (PLANTED(stale_age_of_answer))
        asked_us = env_now_us(r->store->env);
    if (!merge_is_freezing(r))
        r->fresh_us = MAX(r->fresh_us, asked_us);
}

static void on_confirmed(struct cons_read *confirm, int status, uint64_t index)
{
    struct read_batch *batch = confirm->data;
    ASSERT(status != 0 || PLANTED(follower_read_early) ||
           range_meta(batch->replica->range)->applied_index >= index);
    if (status == 0)
        note_fresh(batch->replica, batch->opened_us);
    batch_finish(batch, status);
}

static struct read_batch *open_batch(struct replica *r, bool by_lease)
{
    if (r->open_batches[by_lease] != NULL)
        return r->open_batches[by_lease];
    struct read_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL)
        return NULL;
    list_init(&batch->in_batches);
    list_init(&batch->reads);
    batch->replica = r;
    batch->opened_us = env_now_us(r->store->env);
    batch->confirm.data = batch;
    batch->confirm.cb = on_confirmed;
    batch->confirm.by_lease = by_lease;
    batch->confirm.is_anywhere = !replica_is_leader(r);
    r->open_batches[by_lease] = batch;
    return batch;
}

static void fill_range_read(struct read_op *op)
{
    const struct request *req = &op->request;
    const struct request_read *how = how_of(op);
    struct range_read *read = &op->read;
    range_read_init(read);
    read->data = op;
    read->cb = on_range_read;
    read->now_ms = env_turn_wall_ms(op->replica->store->env);
    if (req->kind == REQUEST_WATCH) /* from now on: it reads nothing */
        return;
    if (req->kind == REQUEST_GET) {
        read->kind = RANGE_READ_GET;
        read->key = req->get.key;
    } else if (req->kind == REQUEST_MULTI_GET) {
        read->kind = RANGE_READ_MULTI_GET;
        read->keys = req->multi_get.keys;
    } else {
        ASSERT(req->kind == REQUEST_SCAN);
        read->kind = RANGE_READ_SCAN;
        read->start = req->scan.start;
        read->end = req->scan.end;
        read->is_reverse = req->scan.is_reverse;
        read->is_keys_only = req->scan.is_keys_only;
        read->limit_keys = req->scan.limit_keys;
        read->limit_bytes = req->scan.limit_bytes;
    }
    read->keyspace = how->keyspace;
    read->at_version = how->consistency == READ_AT ? how->at_version : 0;
}

/* Nobody need be asked: what this replica has applied is what the read wants. */
static bool is_known_here(const struct read_op *op)
{
    switch (mode_of(op)) {
    case READ_STALE:
        return is_young(op);
    case READ_AT:
        return how_of(op)->at_version <= range_meta(op->replica->range)->last_version;
    default:
        return false;
    }
}

/* A stale read that waits for the leader leaves its caller the time to go elsewhere. */
static uint64_t wait_until(const struct read_op *op)
{
    const struct store *store = op->replica->store;
    uint64_t soon = env_now_us(store->env) + (uint64_t)store->opt.election_timeout_ms * 1000;
    return mode_of(op) == READ_STALE ? MIN(op->to.deadline_us, soon) : op->to.deadline_us;
}

/* Learn again how far we are, before those who ask have to wait for it. */
static void refresh(struct replica *r)
{
    struct read_batch *batch = NULL;
    if (r->open_batches[0] == NULL && list_is_empty(&r->batches))
        batch = open_batch(r, false);
    if (batch == NULL)
        return;
    batch->confirm.deadline_ms = store_now_ms(r->store) + r->store->opt.election_timeout_ms;
    replica_wake(r);
}

static void await_confirmation(struct replica *r, struct read_op *op)
{
    struct read_batch *batch = NULL;
    uint32_t most = r->store->opt.queue_reads_max;
    if (!admit_is_modest(r->store, &op->to)) /* the rest is kept for those who are */
        most -= most / 4;
    if (r->read_count <= most)
        batch = open_batch(r, mode_of(op) == READ_LEASE);
    if (batch == NULL) {
        read_finish(op, ERR_BUSY, "too many reads are waiting");
        return;
    }
    list_push_back(&batch->reads, &op->in_reads);
    batch->count++;
    uint64_t deadline_ms = op->until_us / 1000 + 1;
    batch->confirm.deadline_ms = MAX(batch->confirm.deadline_ms, deadline_ms);
    replica_wake(r);
}

void replica_read(struct replica *r, struct read_op *op)
{
    op->replica = r;
    list_init(&op->in_reads);
    fair_item_init(&op->in_backlog);
    op->made = (struct buf){0};
    r->read_count++;
    if (!list_is_empty(&r->log_writes) && !replica_is_leader(r))
        replica_apply_wake(r); /* it may have put off what this waits for */
    fill_range_read(op);
    op->until_us = wait_until(op);
    const struct request_read *how = how_of(op);
    bool may_follow = how != NULL && (how->any_replica || how->consistency == READ_STALE);
    if (!replica_is_leader(r) && !may_follow) {
        read_finish(op, ERR_NOT_LEADER, NULL);
        return;
    }
    if (!is_known_here(op)) {
        await_confirmation(r, op);
        return;
    }
    if (how->consistency == READ_STALE && age_us(r) / 1000 >= how->max_age_ms / 2)
        refresh(r);
    list_push_back(&r->ready_reads, &op->in_reads);
    if (r->backlog.count == 0) /* else it waits for the rounds of the turn, with the others */
        serve_ready(r);
    if (replica_has_open_reads(r)) /* a replica that sleeps looks at none */
        replica_wake(r);
}

/* Can it be confirmed from here? Not at a leader of an older build, which answers those who
 * come to it. */
static bool is_confirmable(const struct replica *r)
{
    if (r->cons == NULL)
        return false;
    uint64_t leader = consensus_leader(r->cons, NULL);
    return leader == 0 || leader == r->replica_id || store_peer_takes_asks(r, leader);
}

static void flush_batch(struct replica *r, struct read_batch *batch)
{
    list_push_back(&r->batches, &batch->in_batches);
    int rv = is_confirmable(r) ? consensus_read(r->cons, &batch->confirm) : ERR_STATE;
    if (rv != 0) /* ERR_STATE: consensus gave up since; another may lead */
        batch_finish(batch, rv == ERR_STATE ? ERR_NOT_LEADER : rv);
}

void replica_read_flush(struct replica *r)
{
    serve_ready(r);
    for (size_t i = 0; i < ARRAY_LEN(r->open_batches); i++) {
        struct read_batch *batch = r->open_batches[i];
        r->open_batches[i] = NULL;
        if (batch != NULL)
            flush_batch(r, batch);
    }
}

void replica_read_stamped(struct replica *r, struct list *reads, int status)
{
    struct list again;
    struct list *link;
    list_init(&again);
    while ((link = list_pop_front(reads)) != NULL)
        list_push_back(&again, link);
    while ((link = list_pop_front(&again)) != NULL) {
        struct read_op *op = list_entry(link, struct read_op, in_reads);
        ASSERT(op->replica == r);
        if (status == 0)
            read_begin(op);
        else
            read_finish(op, status == ERR_UNDETERMINED ? ERR_TIMEOUT : status, NULL);
    }
}

static void finish_late(struct read_op *op, const char *text)
{
    if (mode_of(op) == READ_STALE)
        finish_too_old(op);
    else
        read_finish(op, ERR_TIMEOUT, text);
}

static void expire(struct list *reads, uint64_t now_us, const char *text)
{
    LIST_FOREACH(it, reads)
    {
        struct read_op *op = list_entry(it, struct read_op, in_reads);
        if (op->until_us > now_us)
            continue;
        list_remove(&op->in_reads);
        finish_late(op, text);
    }
}

/* Has half of its time passed? */
static bool is_in_a_hurry(const struct read_op *op, uint64_t now_us)
{
    return now_us - op->to.began_us >= (op->until_us - op->to.began_us) / 2;
}

/* False: there are more of them. Thousands may have come together, and end together; to look
 * through as many takes milliseconds, and is done when there is something to be found. */
static bool expire_queue(struct replica *r, struct fair *q, uint64_t now_us, const char *text)
{
    uint32_t count = 0;
    LIST_FOREACH(it, &q->all)
    {
        struct read_op *op = of_backlog(list_entry(it, struct fair_item, in_all));
        if (op->until_us > now_us && q != &r->choked && is_in_a_hurry(op, now_us))
            fair_hurry(q, &op->in_backlog);
        if (op->until_us > now_us) {
            look_later(r, q, op, now_us);
            continue;
        }
        if (count++ == READ_EXPIRE_MAX)
            return false;
        fair_remove(q, &op->in_backlog);
        finish_late(op, text);
    }
    return true;
}

static void unchoke(struct replica *r, uint64_t client)
{
    struct fair_item *item;
    bool is_gone = hearer_of(r, client) == HEARER_GONE;
    while ((item = fair_first(&r->choked, client)) != NULL) {
        fair_remove(&r->choked, item);
        if (is_gone)
            drop(of_backlog(item));
        else
            push_to(&r->backlog, of_backlog(item));
    }
}

void replica_read_drained(struct store *store, uint64_t client)
{
    if (!admit_has_aside(store, client)) /* nearly all: they do not pay for those who do not read */
        return;
    LIST_FOREACH(it, &store->choked)
    {
        struct replica *r = list_entry(it, struct replica, in_choked);
        if (r->choked.count == 0) {
            list_remove(&r->in_choked);
        } else if (fair_first(&r->choked, client) != NULL) {
            unchoke(r, client);
            replica_wake(r);
        }
    }
}

/* Who was choked and has read some since goes on; for who is gone nothing is read. By clients:
 * there may be very many reads of few. */
static void look_at_choked(struct replica *r)
{
    uint64_t clients[READ_CHOKED_LOOK];
    uint64_t client;
    uint32_t cursor = 0, count = 0;
    while (count < READ_CHOKED_LOOK && fair_next_flow(&r->choked, &cursor, &client)) {
        if (hearer_of(r, client) != HEARER_CHOKED)
            clients[count++] = client;
    }
    for (uint32_t i = 0; i < count; i++)
        unchoke(r, clients[i]);
    if (count > 0)
        replica_wake(r);
}

void replica_read_tick(struct replica *r, uint64_t now_us)
{
    static const char unconfirmed[] = "no majority confirmed the read in time";
    LIST_FOREACH(it, &r->batches)
    expire(&list_entry(it, struct read_batch, in_batches)->reads, now_us, unconfirmed);
    LIST_FOREACH(p, &r->proposals)
    expire(&list_entry(p, struct proposal, in_proposals)->reads, now_us, unconfirmed);
    expire(&r->stamp_reads, now_us, unconfirmed);
    if (now_us >= r->look_us) {
        static const char in_line[] = "too much was to be read before it";
        r->look_us = UINT64_MAX;
        bool is_all = expire_queue(r, &r->backlog, now_us, in_line);
        is_all &= expire_queue(r, &r->large, now_us, in_line);
        large_settle(r, 0);
        is_all &= expire_queue(r, &r->choked, now_us, "its client does not read what it was told");
        r->look_us = is_all ? MAX(r->look_us, now_us + READ_EXPIRE_US) : now_us;
    }
    if (r->choked.count == 0 || now_us < r->choked_us + READ_CHOKED_US)
        return;
    r->choked_us = now_us;
    look_at_choked(r);
}

static void free_all(struct list *reads)
{
    struct list *link;
    while ((link = list_pop_front(reads)) != NULL)
        read_op_free(list_entry(link, struct read_op, in_reads));
}

static void free_queue(struct fair *q)
{
    struct fair_item *item;
    while ((item = fair_peek(q)) != NULL) {
        fair_remove(q, item);
        read_op_free(of_backlog(item));
    }
    fair_fini(q);
}

void replica_read_free(struct replica *r)
{
    struct list *link;
    while ((link = list_pop_front(&r->batches)) != NULL) {
        struct read_batch *batch = list_entry(link, struct read_batch, in_batches);
        free_all(&batch->reads);
        free(batch);
    }
    for (size_t i = 0; i < ARRAY_LEN(r->open_batches); i++) {
        if (r->open_batches[i] == NULL)
            continue;
        free_all(&r->open_batches[i]->reads);
        free(r->open_batches[i]);
        r->open_batches[i] = NULL;
    }
    free_queue(&r->backlog);
    free_queue(&r->large);
    free_queue(&r->choked);
    free_all(&r->reading);
    free_all(&r->stamp_reads);
    free_all(&r->ready_reads);
}

static void fail_queue(struct fair *q, int status)
{
    struct fair_item *item;
    while ((item = fair_peek(q)) != NULL) {
        fair_remove(q, item);
        read_finish(of_backlog(item), status, NULL);
    }
}

void replica_read_fail_all(struct replica *r, int status)
{
    struct list *link;
    put_off(r);
    fail_queue(&r->backlog, status);
    fail_queue(&r->large, status);
    fail_queue(&r->choked, status);
    replica_read_flush(r);
    while (!list_is_empty(&r->batches)) {
        struct read_batch *batch = list_first(&r->batches, struct read_batch, in_batches);
        if (r->cons != NULL && batch->confirm.state != CONS_READ_IDLE)
            consensus_read_cancel(r->cons, &batch->confirm);
        list_remove(&batch->in_batches);
        while ((link = list_pop_front(&batch->reads)) != NULL)
            read_finish(list_entry(link, struct read_op, in_reads), status, NULL);
        free(batch);
    }
}
