/* SPDX-License-Identifier: Apache-2.0
 *
 * A write: queued ─▶ copied into an entry at the end of the turn ─▶ proposed ─▶
 * applied ─▶ answered. What may go wrong:
 *  - not the leader, queue full, too late for its deadline while queued: definite, not done,
 *    and told before the deadline;
 *  - leadership lost after proposing: the entry may yet commit. It is decided when
 *    its index is applied: the same term there, done; another term, not done;
 *  - the deadline passes after proposing: undetermined.
 * While leadership is handed over writes stay in the queue: told to come later they would lose
 * many times what a hand-over takes. Most hear at its end that another leads; if it fails they
 * are proposed.
 */
#include <stdlib.h>

#include "base/plant.h"
#include "store/check.h"
#include "store/log_room.h"
#include "store/service.h"
#include "store/store_internal.h"

static const char *const queue_too_late = "not proposed in time for its deadline; nothing was done";

/* It is answered: it is not under way any more. */
static void write_uncount(struct replica *r, struct write_op *op)
{
    if (!op->is_counted)
        return;
    ASSERT(r->writes_under_way > 0);
    r->writes_under_way--;
    admit_note_done(r->store, &r->write_rate, 1, r->writes_under_way == 0);
}

static void write_answer(struct replica *r, struct write_op *op, int status, const char *text)
{
    write_uncount(r, op);
    ASSERT(!list_is_linked(&op->in_writes) && !fair_item_is_queued(&op->in_queue));
    service_answer_status(r->store, &op->to, status, text);
    free(op);
}

static struct write_op *queue_first(struct replica *r)
{
    struct fair_item *item = fair_peek(&r->writes);
    return item == NULL ? NULL : container_of(item, struct write_op, in_queue);
}

void replica_write_answer_result(struct replica *r, struct write_op *op,
                                 const struct command_result *result)
{
    ASSERT(!list_is_linked(&op->in_writes));
    write_uncount(r, op);
    if (op->to.kind == REQUEST_CHECK_START && result->status == ERR_RANGE_CHANGED)
        service_answer_status(r->store, &op->to, ERR_BUSY, "the range is being merged");
    else if (op->to.kind == REQUEST_CHECK_START)
        check_answer_started(r, &op->to);
    else
        service_answer_write(r->store, &op->to, result);
    free(op);
}

/* The queue is full, or too long for its deadline. */
static void write_refuse(struct replica *r, struct write_op *op, bool is_late)
{
    struct store *store = r->store;
    uint32_t hint_ms =
        admit_hint_ms(store, &r->write_rate, r->writes_under_way, op->to.deadline_us);
    if (is_late)
        store->admit.stats.refused_late++;
    else
        store->admit.stats.refused++;
    service_answer_busy(store, &op->to, hint_ms, "too many writes are waiting");
    free(op);
}

void replica_write(struct replica *r, struct write_op *op)
{
    if (!replica_is_leader(r)) {
        write_answer(r, op, ERR_NOT_LEADER, NULL);
        return;
    }
    /* What is proposed is in order; what waits for that has its turns. */
    uint32_t ahead = r->writes_under_way - r->writes.count + fair_ahead(&r->writes, op->to.client);
    bool is_late = admit_is_too_late(r->store, &r->write_rate, ahead, op->to.deadline_us);
    if (is_late || fair_push(&r->writes, &op->in_queue, op->to.client, op->len) != 0) {
        write_refuse(r, op, is_late);
        return;
    }
    op->is_counted = true;
    r->writes_under_way++;
    if (r->writes_under_way >= RATE_MANY)
        rate_note(&r->write_rate, env_turn_us(r->store->env), 0, false);
    replica_wake(r);
}

/* Also the time that was asked for: it may be that of a clock which is found to be wrong. */
static void forget_stamp(struct replica *r)
{
    r->needs_stamp = false;
    r->stamp_ms = 0;
}

void replica_write_fail_queue(struct replica *r, int status)
{
    struct write_op *op;
    while ((op = queue_first(r)) != NULL) {
        fair_remove(&r->writes, &op->in_queue);
        write_answer(r, op, status, NULL);
    }
    ASSERT(r->writes.count == 0 && r->writes.bytes == 0);
    replica_read_stamped(r, &r->stamp_reads, status);
    forget_stamp(r);
}

/* Move what fits from the queue into the builder and onto `taken`. */
static uint32_t build_entry(struct replica *r, struct list *taken)
{
    uint64_t now_us = env_now_us(r->store->env);
    uint32_t count = 0;
    struct write_op *op;
    while ((op = queue_first(r)) != NULL) {
        if (answer_is_too_late(&op->to, now_us)) {
            fair_remove(&r->writes, &op->in_queue);
            write_answer(r, op, ERR_TIMEOUT, queue_too_late);
            continue;
        }
        if (op->only_term != 0 && op->only_term != consensus_term(r->cons)) {
            fair_remove(&r->writes, &op->in_queue);
            write_answer(r, op, ERR_NOT_LEADER, "the range is led in another term");
            continue;
        }
        if (count == 0) /* nothing is kept for an entry that does not come */
            entry_builder_expect(&r->builder, r->writes.bytes, r->writes.count);
        int rv = entry_builder_add(&r->builder, slice_of(op->command, op->len), op->first_sent_ms);
        if (rv == ERR_BUSY)
            break;
        fair_remove(&r->writes, &op->in_queue);
        if (rv != 0) {
            write_answer(r, op, rv, NULL);
            continue;
        }
        list_push_back(taken, &op->in_writes);
        count++;
    }
    ASSERT(count == entry_builder_count(&r->builder));
    return count;
}

static void fail_taken(struct replica *r, struct list *taken, int status)
{
    struct list *link;
    while ((link = list_pop_front(taken)) != NULL)
        write_answer(r, list_entry(link, struct write_op, in_writes), status, NULL);
    replica_read_stamped(r, &r->stamp_reads, status);
    forget_stamp(r);
}

static struct proposal *proposal_new(struct replica *r, struct list *taken, uint32_t count)
{
    struct proposal *p = malloc(sizeof *p + count * sizeof p->by_position[0]);
    if (p == NULL)
        return NULL;
    list_init(&p->in_proposals);
    list_init(&p->reads);
    p->is_stale = false;
    p->replica = r;
    p->count = count;
    struct list *link;
    for (uint32_t i = 0; i < count; i++) {
        link = list_pop_front(taken);
        ASSERT(link != NULL);
        p->by_position[i] = list_entry(link, struct write_op, in_writes);
    }
    ASSERT(list_is_empty(taken));
    while ((link = list_pop_front(&r->stamp_reads)) != NULL)
        list_push_back(&p->reads, link);
    forget_stamp(r);
    return p;
}

/* Keep proposals in order of index: a new term may begin below entries of an old
 * one that are not decided yet. */
static void proposal_insert(struct replica *r, struct proposal *p)
{
    struct list *at = r->proposals.prev;
    while (at != &r->proposals && list_entry(at, struct proposal, in_proposals)->index > p->index)
        at = at->prev;
    list_push_front(at, &p->in_proposals);
    r->proposal_count++;
}

/* Close what the builder holds and hand it to consensus. False: stop for now. */
static bool propose_entry(struct replica *r, struct list *taken, uint32_t count)
{
    uint8_t *payload = NULL;
    size_t len = 0;
    uint64_t index = 0;
    uint64_t wall_ms = MAX(env_wall_ms(r->store->env), r->stamp_ms);
    uint64_t time_ms = PLANTED(time_goes_back) ? 0 : range_meta(r->range)->time_ms;
    int rv = entry_builder_take(&r->builder, wall_ms, time_ms, &payload, &len);
    if (rv != 0) {
        fail_taken(r, taken, rv);
        return false;
    }
    uint64_t term = consensus_term(r->cons);
    struct slice data = slice_of(payload, len);
    struct proposal *p = proposal_new(r, taken, count);
    if (p == NULL) {
        free(payload);
        fail_taken(r, taken, ERR_NOMEM);
        return false;
    }
    rv = consensus_propose(r->cons, replica_now_ms(r), &data, 1, &index);
    free(payload);
    p->index = index;
    p->term = term;
    proposal_insert(r, p);
    if (rv == 0) {
        store_slow_down(r->store, len);
        return true;
    }
    for (uint32_t i = 0; i < p->count; i++)
        write_answer(r, p->by_position[i], rv, NULL);
    replica_read_stamped(r, &p->reads, rv);
    p->count = 0;
    replica_proposal_done(r, p);
    return false;
}

/* Room in the log for the next entry. If not, on_room() wakes the store. */
static bool has_room(struct replica *r)
{
    const struct write_op *first = queue_first(r);
    if (first == NULL)
        return true; /* a stamp alone: from the log's reserve */
    size_t bytes = MAX(first->len, MIN(r->writes.bytes, r->store->opt.entry_bytes_max));
    return log_room_has(r, bytes);
}

static bool may_propose(struct replica *r)
{
    return r->state == REPLICA_RUNNING && replica_is_leader(r) && consensus_may_propose(r->cons) &&
           r->proposal_count < r->store->opt.entries_in_flight &&
           (r->writes.count > 0 || r->needs_stamp) &&
           (r->needs_stamp || !store_is_slowed(r->store)) &&
           lsm_stall(r->store->lsm) != LSM_STALL_STOP && has_room(r);
}

void replica_propose(struct replica *r)
{
    if (!may_propose(r))
        return;
    store_watch_clock(r->store);
    if (r->store->clock.is_off) /* no stamp of a wrong clock: one who takes over will write */
        replica_write_fail_queue(r, ERR_NOT_LEADER);
    while (may_propose(r)) {
        struct list taken;
        list_init(&taken);
        uint32_t count = build_entry(r, &taken);
        if (count == 0 && !r->needs_stamp)
            break;
        if (!propose_entry(r, &taken, count))
            break;
    }
}

int replica_propose_admin(struct replica *r, const struct answer_to *to, struct slice payload)
{
    struct list taken;
    struct write_op *op = to == NULL ? NULL : calloc(1, sizeof *op);
    if (to != NULL && op == NULL)
        return ERR_BUSY;
    list_init(&taken);
    if (op != NULL) {
        op->to = *to;
        fair_item_init(&op->in_queue);
        list_init(&op->in_writes);
        list_push_back(&taken, &op->in_writes);
    }
    bool needed_stamp = r->needs_stamp;
    uint64_t stamp_ms = r->stamp_ms;
    struct proposal *p = proposal_new(r, &taken, op == NULL ? 0 : 1);
    if (p == NULL) {
        free(op);
        return ERR_BUSY;
    }
    p->term = consensus_term(r->cons);
    int rv = consensus_propose(r->cons, replica_now_ms(r), &payload, 1, &p->index);
    if (rv != 0) {
        free(op);
        while (!list_is_empty(&p->reads)) /* they wait for a stamp: of the next entry then */
            list_push_back(&r->stamp_reads, list_pop_front(&p->reads));
        r->needs_stamp = needed_stamp || !list_is_empty(&r->stamp_reads);
        r->stamp_ms = stamp_ms;
        free(p);
        return rv;
    }
    r->admin_index = p->index;
    r->admin_term = p->term;
    proposal_insert(r, p);
    return 0;
}

void replica_await_admin(struct replica *r, const struct answer_to *to, uint64_t index)
{
    struct list taken;
    struct write_op *op = calloc(1, sizeof *op);
    struct proposal *p = NULL;
    list_init(&taken);
    r->admin_index = index;
    r->admin_term = consensus_term(r->cons);
    if (op != NULL) {
        op->to = *to;
        fair_item_init(&op->in_queue);
        list_init(&op->in_writes);
        list_push_back(&taken, &op->in_writes);
        p = proposal_new(r, &taken, 1);
    }
    if (p == NULL) {
        free(op);
        service_answer_status(r->store, to, ERR_UNDETERMINED, "out of memory for the answer");
        return;
    }
    p->index = index;
    p->term = consensus_term(r->cons);
    proposal_insert(r, p);
}

void replica_admin_done(struct replica *r, struct proposal *p, int status, const char *text)
{
    struct write_op *op = p->count == 0 ? NULL : p->by_position[0];
    ASSERT(p->count <= 1);
    if (p->count == 1)
        p->by_position[0] = NULL;
    if (op != NULL)
        write_answer(r, op, status, text);
    replica_proposal_done(r, p);
}

/* The first at this index that is of that term, or is not (`is_other`); NULL: there is none.
 * Several may wait at one index, of as many terms in which this replica led. */
static struct proposal *find_proposal(struct replica *r, uint64_t index, uint64_t term,
                                      bool is_other)
{
    LIST_FOREACH(it, &r->proposals)
    {
        struct proposal *p = list_entry(it, struct proposal, in_proposals);
        ASSERT(p->index >= index);
        if (p->index > index)
            break;
        if ((p->term != term) == is_other)
            return p;
    }
    return NULL;
}

struct proposal *replica_proposal_at(struct replica *r, uint64_t index, uint64_t term)
{
    struct proposal *p;
    while ((p = find_proposal(r, index, term, true)) != NULL) {
        for (uint32_t i = 0; i < p->count; i++) {
            if (p->by_position[i] != NULL)
                write_answer(r, p->by_position[i], ERR_NOT_LEADER, "another leader took its place");
        }
        replica_read_stamped(r, &p->reads, ERR_NOT_LEADER);
        p->count = 0;
        replica_proposal_done(r, p);
    }
    return find_proposal(r, index, term, false);
}

static void proposal_uncount(struct replica *r, struct proposal *p)
{
    if (p->is_stale)
        return;
    ASSERT(r->proposal_count > 0);
    r->proposal_count--;
    p->is_stale = true;
}

static void proposal_answer_all(struct replica *r, struct proposal *p, int status, const char *text)
{
    for (uint32_t i = 0; i < p->count; i++) {
        struct write_op *op = p->by_position[i];
        p->by_position[i] = NULL;
        if (op != NULL)
            write_answer(r, op, status, text);
    }
}

void replica_proposals_stale(struct replica *r)
{
    LIST_FOREACH(it, &r->proposals)
    {
        struct proposal *p = list_entry(it, struct proposal, in_proposals);
        proposal_uncount(r, p);
        if (PLANTED(refused_but_proposed))
            proposal_answer_all(r, p, ERR_NOT_LEADER, NULL);
    }
    ASSERT(r->proposal_count == 0);
}

void replica_proposal_done(struct replica *r, struct proposal *p)
{
    list_remove(&p->in_proposals);
    proposal_uncount(r, p);
    replica_read_stamped(r, &p->reads, 0);
    for (uint32_t i = 0; i < p->count; i++)
        ASSERT(p->by_position[i] == NULL);
    free(p);
}

void replica_proposals_skip(struct replica *r, uint64_t index)
{
    while (!list_is_empty(&r->proposals)) {
        struct proposal *p = list_first(&r->proposals, struct proposal, in_proposals);
        if (p->index > index)
            break;
        proposal_answer_all(r, p, ERR_UNDETERMINED, "overtaken by a snapshot");
        replica_read_stamped(r, &p->reads, ERR_NOT_LEADER);
        replica_proposal_done(r, p);
    }
}

void replica_proposals_refuse(struct replica *r, int status)
{
    while (!list_is_empty(&r->proposals)) {
        struct proposal *p = list_first(&r->proposals, struct proposal, in_proposals);
        proposal_answer_all(r, p, status, NULL);
        replica_read_stamped(r, &p->reads, status);
        replica_proposal_done(r, p);
    }
}

static void tick_queue(struct replica *r, uint64_t now_us)
{
    LIST_FOREACH(it, &r->writes.all)
    {
        struct write_op *op = list_entry(it, struct write_op, in_queue.in_all);
        if (!answer_is_too_late(&op->to, now_us))
            continue;
        fair_remove(&r->writes, &op->in_queue);
        write_answer(r, op, ERR_TIMEOUT, queue_too_late);
    }
}

/* True while somebody waits for it. */
static bool tick_proposal(struct replica *r, struct proposal *p, uint64_t now_us)
{
    bool has_waiting = false;
    for (uint32_t i = 0; i < p->count; i++) {
        struct write_op *op = p->by_position[i];
        if (op != NULL && op->to.deadline_us > now_us)
            has_waiting = true;
        if (op == NULL || op->to.deadline_us > now_us)
            continue;
        p->by_position[i] = NULL;
        write_answer(r, op, ERR_UNDETERMINED, "the deadline passed before a majority answered");
    }
    return has_waiting;
}

void replica_write_tick(struct replica *r, uint64_t now_us)
{
    tick_queue(r, now_us);
    LIST_FOREACH(it, &r->proposals)
    {
        struct proposal *p = list_entry(it, struct proposal, in_proposals);
        bool has_waiting = tick_proposal(r, p, now_us);
        if (p->is_stale && !has_waiting && list_is_empty(&p->reads))
            replica_proposal_done(r, p); /* its index may never be applied */
    }
}

void replica_write_free(struct replica *r)
{
    struct list *link;
    struct write_op *op;
    while ((op = queue_first(r)) != NULL) {
        fair_remove(&r->writes, &op->in_queue);
        free(op);
    }
    fair_fini(&r->writes);
    while ((link = list_pop_front(&r->proposals)) != NULL) {
        struct proposal *p = list_entry(link, struct proposal, in_proposals);
        for (uint32_t i = 0; i < p->count; i++)
            free(p->by_position[i]);
        while ((link = list_pop_front(&p->reads)) != NULL)
            read_op_free(list_entry(link, struct read_op, in_reads));
        free(p);
    }
    entry_builder_fini(&r->builder);
}
