/* SPDX-License-Identifier: Apache-2.0
 *
 * reads — linearizable reads without a log write (Raft §6.4).
 *
 * A round is one attempt to learn that we still lead: a probe with a fresh number to
 * the voters of the latest configuration (even uncommitted), answered by a majority
 * for exactly our term. The commit index of the moment that it was sent is what its
 * reads must see applied. Reads that come while a round is under way wait for the next.
 * Unanswered for its patience, the round starts over with a new number: an answer to an
 * older attempt never counts (etcd #20418). Patience is a heartbeat at first and doubles
 * with each attempt: where a round trip takes longer than a heartbeat, no attempt would
 * ever live to see its answers.
 *
 * On a member that follows, a round is a question to its leader (asks.c), with the same
 * patience. Where the leader's lease stands (lease.c) there is no round at all: what is
 * committed at that moment is what the read must see.
 *
 * Answers of AppendEntries cannot stand in: they echo nothing and may be old.
 */
#include "base/plant.h"
#include "consensus/consensus_internal.h"

enum { PATIENCE_MAX_HEARTBEATS = 64 };

/* The only place that changes a read's state. */
static void read_move(struct cons_reads *r, struct cons_read *read, enum cons_read_state to)
{
    struct list *lists[] = {
        [CONS_READ_QUEUED] = &r->queued,
        [CONS_READ_PROBING] = &r->probing,
        [CONS_READ_CATCHUP] = &r->catchup,
        [CONS_READ_IDLE] = &r->done,
    };
    ASSERT(to <= CONS_READ_CATCHUP);
    list_remove(&read->in_reads);
    if (to == CONS_READ_IDLE)
        r->n--;
    read->state = to;
    list_push_back(lists[to], &read->in_reads);
}

/* `status` waits in `index` until the callback: see reads_deliver(). */
static void read_finish(struct cons_reads *r, struct cons_read *read, int status)
{
    ASSERT(read->state != CONS_READ_IDLE);
    read->status = status;
    read_move(r, read, CONS_READ_IDLE);
}

void reads_init(struct cons_reads *r, uint64_t seed)
{
    *r = (struct cons_reads){0};
    r->round.number = seed >> 1; /* an answer to an earlier life must not be taken for ours */
    list_init(&r->queued);
    list_init(&r->probing);
    list_init(&r->catchup);
    list_init(&r->done);
}

int consensus_read(struct consensus *c, struct cons_read *read)
{
    struct cons_reads *r = &c->reads;

    ASSERT(read->cb != NULL);
    ASSERT(read->state == CONS_READ_IDLE);
    if (c->broken != NULL || !c->is_started)
        return ERR_STATE;
    if (c->state != CONS_LEADER && !read->is_anywhere)
        return ERR_NOT_LEADER;
    if (r->n >= CONS_READS_MAX)
        return ERR_BUSY;
    list_init(&read->in_reads);
    read->status = 0;
    read->index = 0;
    read->state = CONS_READ_QUEUED;
    list_push_back(&r->queued, &read->in_reads);
    r->n++;
    return 0;
}

void consensus_read_cancel(struct consensus *c, struct cons_read *read)
{
    if (read->state != CONS_READ_IDLE) {
        ASSERT(c->reads.n > 0);
        c->reads.n--;
        read->state = CONS_READ_IDLE;
        list_remove(&read->in_reads);
    } else if (read->in_reads.next != NULL) {
        list_remove(&read->in_reads); /* finished, callback not run yet */
    }
}

/* Move what the applied index allows to `done`. */
static void reads_catch_up(struct consensus *c)
{
    LIST_FOREACH(it, &c->reads.catchup)
    {
        struct cons_read *read = list_entry(it, struct cons_read, in_reads);
        bool is_early = !guard_on(c, GUARD_READ_APPLY) ||
                        (PLANTED(follower_read_early) && c->state != CONS_LEADER);
        if (read->confirm_only || c->applied >= read->index || is_early)
            read_finish(&c->reads, read, 0);
    }
}

static uint64_t round_patience_ms(const struct consensus *c)
{
    return MAX(c->reads.round.patience_ms, c->opts.heartbeat_ms);
}

static void round_complete(struct consensus *c)
{
    struct cons_reads *r = &c->reads;
    ASSERT(r->round.is_active);
    r->round.is_active = false;
    r->round.is_renewal = false;
    if ((c->now_ms - r->round.sent_ms) * 4 < round_patience_ms(c))
        r->round.patience_ms /= 2; /* links are quick again */
    LIST_FOREACH(it, &r->probing)
    {
        struct cons_read *read = list_entry(it, struct cons_read, in_reads);
        read->index = r->round.index;
        read_move(r, read, CONS_READ_CATCHUP);
    }
    reads_catch_up(c);
}

static bool round_has_majority(const struct consensus *c)
{
    const struct cons_round *round = &c->reads.round;
    uint32_t acks = (uint32_t)__builtin_popcount(round->acks);
    uint32_t voters = round->n_voters;
    if (!guard_on(c, GUARD_READ_PROBE) || PLANTED(read_unconfirmed))
        return true;
    for (uint32_t i = 0; PLANTED(read_asks_the_live) && i < round->n_voters; i++)
        voters -= !peer_is_live(c, round->voters[i]);
    return acks > voters / 2;
}

/* A fresh number, as of now. */
static void round_number(struct consensus *c)
{
    struct cons_round *round = &c->reads.round;
    round->is_active = true;
    round->number++;
    round->sent_ms = c->now_ms;
    round->sent_real_ms = c->real_ms;
}

/* Begin an attempt for every read in `probing`. */
static void round_begin(struct consensus *c)
{
    struct cons_round *round = &c->reads.round;
    const struct cons_config *config = &configs_latest(&c->configs)->config;

    if (!guard_on(c, GUARD_READ_CONFIG))
        config = &configs_at(&c->configs, c->commit)->config;
    bool wants_lease = round->is_renewal;
    round_number(c);
    round->index = c->commit;
    round->acks = 0;
    LIST_FOREACH(it, &c->reads.probing)
    {
        wants_lease |= list_entry(it, struct cons_read, in_reads)->by_lease;
    }
    round->n_voters = 0;
    for (uint32_t i = 0; i < config->n; i++) {
        if (config->members[i].role != CONS_VOTER)
            continue;
        uint64_t id = config->members[i].replica_id;
        if (id == c->opts.replica_id && c->writes.durable_term == c->term)
            round->acks |= BIT(round->n_voters);
        round->voters[round->n_voters++] = id;
    }
    if (!guard_on(c, GUARD_READ_SELF))
        round->acks |= BIT(round->n_voters); /* whoever we are */
    for (uint32_t i = 0; i < round->n_voters && guard_on(c, GUARD_READ_PROBE); i++) {
        if (round->voters[i] == c->opts.replica_id)
            continue;
        struct cons_msg msg = outbox_make(c, CONS_MSG_PROBE, round->voters[i]);
        msg.probe.number = round->number;
        msg.probe.promise_ms = wants_lease ? c->opts.lease_ms : 0;
        outbox_send(c, &msg);
    }
    if (round_has_majority(c))
        round_complete(c);
}

void reads_on_result(struct consensus *c, uint64_t from, uint64_t number)
{
    struct cons_round *round = &c->reads.round;
    bool is_any = !guard_on(c, GUARD_READ_NUMBER) || PLANTED(read_old_answer);
    if (!round->is_active || (number != round->number && !is_any))
        return;
    for (uint32_t i = 0; i < round->n_voters; i++) {
        if (round->voters[i] == from)
            round->acks |= BIT(i);
    }
    if (round_has_majority(c))
        round_complete(c);
}

/* The same of a member that follows: its leader is asked. */
static void round_ask(struct consensus *c)
{
    struct cons_round *round = &c->reads.round;
    struct cons_msg msg = outbox_make(c, CONS_MSG_READ_ASK, c->leader);
    round_number(c);
    msg.term =
        c->writes.durable_term; /* it speaks of nothing newer: no need to wait for the disk */
    msg.read.number = round->number;
    if (msg.term > 0)
        c->opts.ops->send(c->opts.ctx, &msg);
}

void reads_on_answer(struct consensus *c, const struct cons_msg *msg)
{
    struct cons_round *round = &c->reads.round;
    if (!round->is_active || c->state == CONS_LEADER)
        return;
    if (msg->read.number != round->number && guard_on(c, GUARD_READ_ASKED))
        return;
    round->index = msg->read.index;
    round_complete(c);
}

/* Go on with the attempt under way: given up where nobody waits, begun anew where it took
 * too long. */
static void round_advance(struct consensus *c)
{
    struct cons_round *round = &c->reads.round;
    bool is_patient = c->now_ms - round->sent_ms < round_patience_ms(c);
    if (!round->is_active)
        return;
    if (list_is_empty(&c->reads.probing) && !(round->is_renewal && is_patient)) {
        round->is_active = false; /* all expired or withdrawn */
        round->is_renewal = false;
        return;
    }
    if (is_patient)
        return;
    round->patience_ms =
        MIN(2 * round_patience_ms(c), (uint64_t)PATIENCE_MAX_HEARTBEATS * c->opts.heartbeat_ms);
    if (c->state == CONS_LEADER)
        round_begin(c);
    else
        round_ask(c);
}

/* Reads that the lease answers for need no round. */
static void reads_by_lease(struct consensus *c)
{
    struct cons_reads *r = &c->reads;
    bool is_used = false;
    if (list_is_empty(&r->queued) || !lease_stands(c))
        return;
    LIST_FOREACH(it, &r->queued)
    {
        struct cons_read *read = list_entry(it, struct cons_read, in_reads);
        if (!read->by_lease)
            continue;
        is_used = true;
        read->index = c->commit;
        read_move(r, read, CONS_READ_CATCHUP);
    }
    reads_catch_up(c);
    if (!is_used || r->round.is_active || !lease_is_short(c))
        return;
    r->round.is_renewal = true; /* before the next ones have to wait for it */
    round_begin(c);
}

void reads_advance(struct consensus *c)
{
    struct cons_reads *r = &c->reads;

    reads_catch_up(c);
    bool is_ready =
        leader_is_ready(c) || !guard_on(c, GUARD_READ_READY) || PLANTED(read_before_own_term);
    bool is_leader = c->state == CONS_LEADER;
    round_advance(c);
    if (is_leader && is_ready)
        reads_by_lease(c);
    if (is_leader ? !is_ready : c->state != CONS_FOLLOWER || c->leader == 0)
        return;
    if (list_is_empty(&r->queued) || (r->round.is_active && guard_on(c, GUARD_READ_ROUND)))
        return;
    LIST_FOREACH(it, &r->queued)
    {
        read_move(r, list_entry(it, struct cons_read, in_reads), CONS_READ_PROBING);
    }
    if (r->round.is_active)
        return;
    if (is_leader)
        round_begin(c);
    else
        round_ask(c);
}

void reads_restart(struct consensus *c)
{
    struct cons_reads *r = &c->reads;
    r->round.is_active = false;
    r->round.is_renewal = false;
    r->round.patience_ms = 0;
    LIST_FOREACH(it, &r->probing)
    {
        read_move(r, list_entry(it, struct cons_read, in_reads), CONS_READ_QUEUED);
    }
}

void reads_fail(struct consensus *c, int status)
{
    struct cons_reads *r = &c->reads;
    struct list *lists[] = {&r->queued, &r->probing, &r->catchup};

    r->round.is_active = false;
    r->round.is_renewal = false;
    r->round.patience_ms = 0;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        LIST_FOREACH(it, lists[i])
        {
            read_finish(r, list_entry(it, struct cons_read, in_reads), status);
        }
    }
    ASSERT(r->n == 0);
}

void reads_expire(struct consensus *c, uint64_t now_ms)
{
    struct cons_reads *r = &c->reads;
    struct list *lists[] = {&r->queued, &r->probing, &r->catchup};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        LIST_FOREACH(it, lists[i])
        {
            struct cons_read *read = list_entry(it, struct cons_read, in_reads);
            if (now_ms >= read->deadline_ms)
                read_finish(r, read, ERR_TIMEOUT);
        }
    }
}

/* The only place that calls the callback; nothing of `read` is touched after. */
void reads_deliver(struct consensus *c)
{
    struct list *link;
    while ((link = list_pop_front(&c->reads.done)) != NULL) {
        struct cons_read *read = list_entry(link, struct cons_read, in_reads);
        ASSERT(read->state == CONS_READ_IDLE);
        read->cb(read, read->status, read->index);
    }
}

uint64_t reads_next_timeout(const struct consensus *c)
{
    const struct cons_reads *r = &c->reads;
    uint64_t at = UINT64_MAX;

    if (!list_is_empty(&r->done))
        return 0;
    if (r->round.is_active)
        at = r->round.sent_ms + round_patience_ms(c);
    else if (!list_is_empty(&r->queued) && leader_is_ready(c))
        return 0;
    else if (!list_is_empty(&r->queued) && c->state == CONS_FOLLOWER && c->leader != 0)
        return 0;
    if (r->n > 0)
        at = MIN(at, c->now_ms + c->opts.heartbeat_ms); /* deadlines */
    return at;
}
