/* SPDX-License-Identifier: Apache-2.0
 *
 * outbox — messages on their way out.
 *
 *   library's message ─▶ repair (T1 T4 T12) ─▶ wait for term and vote ─▶ fill ─▶ send
 *
 * A message leaves only when every hard state issued before it is durable (C1): it is
 * held meanwhile, up to CONS_HELD_MAX, then dropped. An APPEND is held without its
 * entries; they are read when it leaves. What the memory does not hold is fetched, and
 * sent if we still lead in the same term: a leader's own log only grows. So it is with what
 * there is no room for on the way to a follower: it is owed, and what comes behind waits for it.
 * Dropped, it would be a gap, and the follower would refuse all that follows, message by message,
 * and each time be sent all of it again.
 */
#include <stdlib.h>

#include "base/plant.h"
#include "consensus/consensus_internal.h"

struct cons_msg outbox_make(const struct consensus *c, enum cons_msg_type type, uint64_t to)
{
    return (struct cons_msg){
        .type = type,
        .group_id = c->opts.group_id,
        .from = c->opts.replica_id,
        .to = to,
        .term = c->term,
    };
}

void outbox_fini(struct cons_outbox *o)
{
    free(o->held);
    free(o->fetches);
    o->held = NULL;
    o->fetches = NULL;
    o->n = o->cap = 0;
}

void outbox_forget(struct consensus *c)
{
    if (c->outbox.fetches != NULL && guard_on(c, GUARD_FETCH))
        memset(c->outbox.fetches, 0, CONS_FETCHES_MAX * sizeof *c->outbox.fetches);
}

/* --- entries */

static void append_send(struct consensus *c, struct cons_peer *p, struct cons_msg *msg,
                        const struct cons_entry *entries, uint32_t n)
{
    uint64_t bytes = 0;
    msg->append.entries = n > 0 ? entries : NULL;
    msg->append.n = n;
    for (uint32_t i = 0; i < n; i++)
        bytes += entries[i].data.len;
    if (n > 0)
        peer_sent(p, msg->append.prev_index + n, bytes);
    p->append_ms = c->now_ms;
    c->opts.ops->send(c->opts.ctx, msg);
}

/* Move the message's start behind the `n` entries just sent. */
static void append_advance(struct cons_msg *msg, const struct cons_entry *entries, uint32_t n)
{
    ASSERT(n > 0);
    msg->append.prev_index += n;
    msg->append.prev_term = entries[n - 1].term;
    ASSERT(msg->append.prev_term <= msg->term);
}

static struct cons_fetch *fetch_find(const struct consensus *c, uint64_t peer)
{
    for (uint32_t i = 0; c->outbox.fetches != NULL && i < CONS_FETCHES_MAX; i++) {
        struct cons_fetch *f = &c->outbox.fetches[i];
        if (f->token != 0 && f->peer == peer)
            return f;
    }
    return NULL;
}

static struct cons_fetch *fetch_slot(struct cons_outbox *o)
{
    if (o->fetches == NULL)
        o->fetches = calloc(CONS_FETCHES_MAX, sizeof *o->fetches);
    for (uint32_t i = 0; o->fetches != NULL && i < CONS_FETCHES_MAX; i++) {
        if (o->fetches[i].token == 0)
            return &o->fetches[i];
    }
    return NULL;
}

static void append_fetch(struct consensus *c, const struct cons_msg *msg, uint32_t n)
{
    struct cons_fetch *slot = fetch_slot(&c->outbox);
    ASSERT(fetch_find(c, msg->to) == NULL);
    if (slot == NULL) {
        c->n_dropped++; /* it will be asked for again */
        return;
    }
    *slot = (struct cons_fetch){
        .token = ++c->outbox.next_token,
        .peer = msg->to,
        .term = msg->term,
        .prev_index = msg->append.prev_index,
        .prev_term = msg->append.prev_term,
        .n = n,
        .version = msg->version,
    };
    c->opts.ops->log_fetch(c->opts.ctx, slot->token, slot->peer, slot->prev_index + 1, n);
}

/* Entries for this follower are being read. What follows them waits for them, what begins
 * before them takes their place, and a heartbeat must not run ahead of them: it would be
 * refused, and replication would go back. The library asks for the same again with each heartbeat
 * while it probes: to read that anew each time would be to wait for ever for a disk that takes
 * longer. True if `msg` may go, with `*n` entries. */
static bool append_behind_fetch(struct consensus *c, struct cons_msg *msg, uint32_t *n)
{
    struct cons_fetch *f = fetch_find(c, msg->to);
    if (f == NULL)
        return true;
    bool is_same = msg->append.prev_index == f->prev_index && f->term == c->term;
    if (msg->append.prev_index <= f->prev_index && !is_same) {
        if (*n > 0)
            f->token = 0; /* the answer will be ignored */
        return true;
    }
    if (is_same)
        f->n = MAX(f->n, MIN(*n, (uint32_t)CONS_APPEND_ENTRIES_MAX));
    else if (*n > 0 && msg->append.prev_index == f->prev_index + f->n &&
             f->n + *n <= CONS_APPEND_ENTRIES_MAX)
        f->n += *n;
    msg->append.prev_index = f->prev_index;
    msg->append.prev_term = f->prev_term;
    *n = 0;
    const struct cons_peer *p = peer_find(c, msg->to);
    return p != NULL && c->now_ms - p->append_ms >= c->opts.heartbeat_ms;
}

/* The entries cannot go now: a heartbeat must, or the follower would stand for election. */
static void append_beat(struct consensus *c, struct cons_peer *p, struct cons_msg *msg)
{
    if (c->now_ms - p->append_ms >= c->opts.heartbeat_ms)
        append_send(c, p, msg, NULL, 0);
}

static void append_owe(struct consensus *c, struct cons_peer *p, struct cons_msg *msg, uint32_t n)
{
    p->owed = (struct cons_owed){
        .prev_index = msg->append.prev_index,
        .prev_term = msg->append.prev_term,
        .n = n,
        .version = msg->version,
    };
    append_beat(c, p, msg);
}

/* Entries are owed to this follower. What follows them is owed too, what begins before them
 * takes their place, and no heartbeat runs ahead of them. True if `msg` may go, with `*n`
 * entries. */
static bool append_behind_owed(const struct consensus *c, struct cons_peer *p, struct cons_msg *msg,
                               uint32_t *n)
{
    struct cons_owed *o = &p->owed;
    uint64_t prev = msg->append.prev_index;
    if (o->n == 0)
        return true;
    if (prev <= o->prev_index) {
        if (*n > 0)
            o->n = 0;
        return true;
    }
    if (*n > 0 && prev <= o->prev_index + o->n)
        o->n = MAX(o->n, prev + *n - o->prev_index);
    msg->append.prev_index = o->prev_index;
    msg->append.prev_term = o->prev_term;
    *n = 0;
    return c->now_ms - p->append_ms >= c->opts.heartbeat_ms;
}

/* After a rejection the library sends everything behind the match index, and again at the first
 * acknowledgement of it, as if that had not left. False: there is nothing new in `msg`. */
static bool append_skip_sent(const struct consensus *c, const struct cons_peer *p,
                             struct cons_msg *msg, uint32_t *n)
{
    uint64_t prev = msg->append.prev_index;
    if (prev >= p->sent_high || prev < p->rewound_index || !peer_has_rewound(c, p, p->sent_high))
        return true;
    uint64_t skip = p->sent_high - prev;
    if (skip >= *n)
        return false;
    uint64_t term = log_term_at(c, p->sent_high);
    if (term == 0)
        return true;
    msg->append.prev_index = p->sent_high;
    msg->append.prev_term = term;
    *n -= (uint32_t)skip;
    return true;
}

static size_t append_room(const struct consensus *c, const struct cons_peer *p)
{
    return c->opts.ops->peer_room == NULL ? SIZE_MAX : c->opts.ops->peer_room(c->opts.ctx, p->id);
}

/* How many of the entries, from the first on, there is room for on the way to this follower: the
 * last of them may be larger. If it had to fit, one that is large would wait for as long as the
 * messages of other groups take what comes free. */
static uint32_t append_fits(const struct consensus *c, const struct cons_peer *p,
                            const struct cons_entry *entries, uint32_t n)
{
    size_t room = append_room(c, p);
    uint32_t fits = 0;
    for (; fits < n && room > 0; fits++)
        room -= MIN(room, entries[fits].data.len);
    return fits;
}

/* Send entries [prev_index + 1, prev_index + n] in messages of bounded size. */
static void append_fill(struct consensus *c, struct cons_peer *p, struct cons_msg *msg, uint32_t n)
{
    while (n > 0) {
        struct cons_entry entries[CONS_FILL_MAX];
        uint32_t got = 0;
        if (peer_is_laden(c, p) || append_room(c, p) == 0) {
            append_owe(c, p, msg, n); /* without room it would be read in vain, again and again */
            return;
        }
        int rv = c->opts.ops->log_entries(c->opts.ctx, msg->append.prev_index + 1,
                                          MIN(n, (uint32_t)CONS_FILL_MAX), c->opts.append_bytes_max,
                                          entries, &got);
        if (rv == ERR_WOULD_BLOCK) {
            append_fetch(c, msg, n);
            append_beat(c, p, msg);
            return;
        }
        if (rv != 0) {
            c->n_dropped++;
            append_beat(c, p, msg);
            return;
        }
        ASSERT(got > 0);
        ASSERT(got <= n);
        append_send(c, p, msg, entries, got);
        append_advance(msg, entries, got);
        n -= got;
        if (!guard_on(c, GUARD_SPLIT))
            return;
    }
}

/* `msg` has a durable term; `n` entries are wanted in it. */
static void append_leave(struct consensus *c, struct cons_msg *msg, uint32_t n)
{
    const struct cons_ops *ops = c->opts.ops;
    struct cons_peer *p = peer_find(c, msg->to);
    if (p == NULL || c->state != CONS_LEADER || msg->term != c->term) {
        c->n_dropped++;
        return;
    }
    if (!append_behind_fetch(c, msg, &n) || !append_behind_owed(c, p, msg, &n))
        return;
    if (n == 0) {
        append_send(c, p, msg, NULL, 0);
        return;
    }
    if (ops->peer_ready != NULL && guard_on(c, GUARD_READY) &&
        !ops->peer_ready(c->opts.ctx, p->id)) {
        c->n_dropped++;
        return;
    }
    bool is_spared = ops->peer_spared != NULL && ops->peer_spared(c->opts.ctx, p->id);
    if (is_spared || (peer_is_silent(c, p) && guard_on(c, GUARD_INFLIGHT))) {
        append_beat(c, p, msg);
        return;
    }
    if (!append_skip_sent(c, p, msg, &n))
        return;
    peer_rewind(c, p, msg->append.prev_index);
    append_fill(c, p, msg, n);
}

void outbox_pay(struct consensus *c, struct cons_peer *p)
{
    const struct cons_ops *ops = c->opts.ops;
    struct cons_owed o = p->owed;
    if (o.n == 0 || c->state != CONS_LEADER || c->broken != NULL || fetch_find(c, p->id) != NULL)
        return;
    if (ops->peer_ready != NULL && !ops->peer_ready(c->opts.ctx, p->id))
        return;
    if (ops->peer_spared != NULL && ops->peer_spared(c->opts.ctx, p->id))
        return;
    if (peer_is_silent(c, p) && guard_on(c, GUARD_INFLIGHT))
        return;
    struct cons_msg msg = outbox_make(c, CONS_MSG_APPEND, p->id);
    msg.version = o.version;
    msg.append.prev_index = o.prev_index;
    msg.append.prev_term = o.prev_term;
    msg.append.commit = raft_commit_index(&c->raft);
    ASSERT(o.prev_index + o.n <= log_last_index(c));
    p->owed.n = 0;
    append_fill(c, p, &msg, (uint32_t)MIN(o.n, (uint64_t)UINT32_MAX));
}

void outbox_pay_all(struct consensus *c)
{
    for (uint32_t i = 0; i < c->n_peers; i++)
        outbox_pay(c, &c->peers[i]);
}

void consensus_on_fetched(struct consensus *c, uint64_t now_ms, uint64_t token, int status,
                          const struct cons_entry *entries, uint32_t n)
{
    if (!consensus_enter(c, now_ms))
        return;
    for (uint32_t i = 0; c->outbox.fetches != NULL && token != 0 && i < CONS_FETCHES_MAX; i++) {
        struct cons_fetch f = c->outbox.fetches[i];
        if (f.token != token)
            continue;
        c->outbox.fetches[i].token = 0;
        struct cons_peer *p = peer_find(c, f.peer);
        if (status != 0 || n == 0 || p == NULL || c->state != CONS_LEADER)
            break;
        if (f.term != c->term && guard_on(c, GUARD_FETCH))
            break;
        struct cons_msg msg = outbox_make(c, CONS_MSG_APPEND, f.peer);
        msg.version = f.version;
        msg.append.prev_index = f.prev_index;
        msg.append.prev_term = f.prev_term;
        msg.append.commit = raft_commit_index(&c->raft);
        n = MIN(n, MIN(f.n, (uint32_t)CONS_APPEND_ENTRIES_MAX));
        peer_rewind(c, p, f.prev_index);
        n = peer_is_laden(c, p) ? 0 : append_fits(c, p, entries, n);
        if (n == 0) {
            append_owe(c, p, &msg, f.n);
            break;
        }
        append_send(c, p, &msg, entries, n);
        append_advance(&msg, entries, n);
        if (f.n > n)
            append_fill(c, p, &msg, f.n - n);
        break;
    }
    consensus_leave(c);
}

/* --- holding */

static bool outbox_grow(struct cons_outbox *o)
{
    uint32_t cap = o->cap == 0 ? 8 : o->cap * 2;
    struct cons_held *held = realloc(o->held, cap * sizeof *held);
    if (held == NULL)
        return false;
    o->held = held;
    o->cap = cap;
    return true;
}

/* `n` is the number of entries for an APPEND. */
static void outbox_hold(struct consensus *c, const struct cons_msg *msg, uint32_t n, uint64_t gate)
{
    struct cons_outbox *o = &c->outbox;
    if (o->n >= CONS_HELD_MAX || (o->n == o->cap && !outbox_grow(o))) {
        c->n_dropped++;
        return;
    }
    struct cons_held h = {
        .gate = gate,
        .type = msg->type,
        .version = msg->version,
        .to = msg->to,
        .term = msg->term,
    };
    switch (msg->type) {
    case CONS_MSG_APPEND:
        h.append = msg->append;
        h.append.entries = NULL;
        h.append.n = n;
        break;
    case CONS_MSG_APPEND_RESULT:
        h.append_result = msg->append_result;
        break;
    case CONS_MSG_VOTE:
        h.vote = msg->vote;
        break;
    case CONS_MSG_VOTE_RESULT:
        h.vote_result = msg->vote_result;
        break;
    case CONS_MSG_TIMEOUT_NOW:
        h.timeout_now = msg->timeout_now;
        break;
    case CONS_MSG_PROBE:
    case CONS_MSG_PROBE_RESULT:
        h.probe = msg->probe;
        break;
    default:
        c->n_dropped++; /* a snapshot's description: asked for again */
        return;
    }
    o->held[o->n++] = h;
}

static void outbox_leave(struct consensus *c, struct cons_msg *msg, uint32_t n)
{
    uint64_t gate = guard_on(c, GUARD_HOLD) ? writes_gate(&c->writes) : 0;
    ASSERT(msg->to != c->opts.replica_id);
    if (gate != 0 && !PLANTED(term_not_awaited))
        outbox_hold(c, msg, n, gate);
    else if (msg->type == CONS_MSG_APPEND)
        append_leave(c, msg, n);
    else
        c->opts.ops->send(c->opts.ctx, msg);
}

void outbox_send(struct consensus *c, const struct cons_msg *msg)
{
    struct cons_msg copy = *msg;
    ASSERT(msg->type != CONS_MSG_APPEND);
    outbox_leave(c, &copy, 0);
}

static struct cons_msg held_open(const struct consensus *c, const struct cons_held *h)
{
    struct cons_msg msg = outbox_make(c, h->type, h->to);
    msg.version = h->version;
    msg.term = h->term;
    switch (h->type) {
    case CONS_MSG_APPEND:
        msg.append = h->append;
        break;
    case CONS_MSG_APPEND_RESULT:
        msg.append_result = h->append_result;
        break;
    case CONS_MSG_VOTE:
        msg.vote = h->vote;
        break;
    case CONS_MSG_VOTE_RESULT:
        msg.vote_result = h->vote_result;
        break;
    case CONS_MSG_TIMEOUT_NOW:
        msg.timeout_now = h->timeout_now;
        break;
    default:
        msg.probe = h->probe;
        break;
    }
    return msg;
}

void outbox_release(struct consensus *c)
{
    struct cons_outbox *o = &c->outbox;
    uint32_t k = 0;

    while (k < o->n && o->held[k].gate <= c->writes.durable_id) {
        struct cons_msg msg = held_open(c, &o->held[k]);
        uint32_t n = msg.type == CONS_MSG_APPEND ? msg.append.n : 0;
        k++;
        if (msg.type == CONS_MSG_APPEND)
            append_leave(c, &msg, n);
        else
            c->opts.ops->send(c->opts.ctx, &msg);
    }
    if (k == 0)
        return;
    o->n -= k;
    memmove(o->held, o->held + k, o->n * sizeof *o->held);
    if (o->n == 0) {
        free(o->held); /* elections are rare: groups are many */
        o->held = NULL;
        o->cap = 0;
    }
}

/* --- the library's messages */

static void library_append(struct consensus *c, const struct raft_message *m,
                           const struct raft_event *cause)
{
    const struct raft_append_entries *a = &m->append_entries;
    struct cons_msg msg = outbox_make(c, CONS_MSG_APPEND, m->server_id);
    struct cons_peer *p = peer_find(c, m->server_id);

    msg.version = a->version;
    msg.term = a->term;
    msg.append.prev_index = a->prev_log_index;
    msg.append.prev_term = a->prev_log_term;
    msg.append.commit = a->leader_commit;
    /* With a full window each SUBMIT emits an empty message; only heartbeats are of
     * use. */
    if (a->n_entries == 0 && cause->type == RAFT_SUBMIT && p != NULL && guard_on(c, GUARD_EMPTY) &&
        c->now_ms - p->append_ms < c->opts.heartbeat_ms)
        return;
    outbox_leave(c, &msg, a->n_entries);
}

static void library_append_result(struct consensus *c, const struct raft_message *m,
                                  const struct cons_msg *source)
{
    const struct raft_append_entries_result *a = &m->append_entries_result;
    struct cons_msg msg = outbox_make(c, CONS_MSG_APPEND_RESULT, m->server_id);

    msg.version = a->version;
    msg.term = a->term;
    msg.append_result.rejected = a->rejected;
    msg.append_result.last_index = a->last_log_index;
    msg.append_result.features = a->features;
    msg.append_result.capacity = a->capacity;
    bool is_request =
        source != NULL && (source->type == CONS_MSG_APPEND || source->type == CONS_MSG_SNAPSHOT);
    if (is_request && source->term < c->term && guard_on(c, GUARD_T1)) {
        /* The library leaves last_log_index uninitialised, and with prev 0 that is a
         * success. It must still go: the higher term must travel. */
        msg.append_result.rejected = 0;
        msg.append_result.last_index = 0;
    }
    outbox_leave(c, &msg, 0);
}

static void library_vote(struct consensus *c, const struct raft_message *m,
                         const struct cons_msg *source)
{
    const struct raft_request_vote *v = &m->request_vote;
    struct cons_msg msg = outbox_make(c, CONS_MSG_VOTE, m->server_id);
    /* The library must time out all the same: a follower that goes on believing in its
     * leader would refuse its vote to everybody else. */
    if (c->is_abstaining)
        return;
    bool is_told_to = source != NULL && source->type == CONS_MSG_TIMEOUT_NOW;

    msg.version = v->version;
    msg.term = v->term;
    msg.vote.last_index = v->last_log_index;
    msg.vote.last_term = v->last_log_term;
    msg.vote.disrupt_leader = v->disrupt_leader && (is_told_to || !guard_on(c, GUARD_T12));
    msg.vote.pre_vote = v->pre_vote;
    outbox_leave(c, &msg, 0);
}

static void library_vote_result(struct consensus *c, const struct raft_message *m)
{
    const struct raft_request_vote_result *v = &m->request_vote_result;
    struct cons_msg msg = outbox_make(c, CONS_MSG_VOTE_RESULT, m->server_id);

    msg.version = v->version;
    msg.term = v->term;
    msg.vote_result.granted = v->vote_granted;
    msg.vote_result.pre_vote = v->pre_vote;
    msg.vote_result.features = v->features;
    msg.vote_result.capacity = v->capacity;
    if (v->pre_vote && !v->vote_granted && guard_on(c, GUARD_T4))
        msg.term = MAX(msg.term, c->term); /* else terms never meet (R4) */
    outbox_leave(c, &msg, 0);
}

void outbox_library(struct consensus *c, const struct raft_message *m,
                    const struct raft_event *cause, const struct cons_msg *source)
{
    if (m->server_id == 0)
        return; /* an answer to a leader that was forgotten (T11) */
    switch (m->type) {
    case RAFT_APPEND_ENTRIES:
        library_append(c, m, cause);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        library_append_result(c, m, source);
        break;
    case RAFT_REQUEST_VOTE:
        library_vote(c, m, source);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        library_vote_result(c, m);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        snapshot_request(c, m->server_id);
        break;
    case RAFT_TIMEOUT_NOW: {
        struct cons_msg msg = outbox_make(c, CONS_MSG_TIMEOUT_NOW, m->server_id);
        msg.version = m->timeout_now.version;
        msg.term = m->timeout_now.term;
        msg.timeout_now.last_index = m->timeout_now.last_log_index;
        msg.timeout_now.last_term = m->timeout_now.last_log_term;
        outbox_leave(c, &msg, 0);
        break;
    }
    default:
        ASSERT(!"unknown message of the library");
    }
}
