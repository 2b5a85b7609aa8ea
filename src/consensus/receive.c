/* SPDX-License-Identifier: Apache-2.0
 *
 * receive — a peer's message, from validation to the library.
 *
 *   validated ─▶ late or of no use: dropped ─▶ brought into a shape that the library
 *   treats right (T2 T5 T11) ─▶ stepped ─▶ (step.c)
 */
#include <stdlib.h>

#include "base/plant.h"
#include "consensus/consensus_internal.h"

enum { RECEIVE_ENTRIES_ON_STACK = 64 };

/* The library copies it for the leader it follows, and we never ask for it. */
static const char peer_address[] = "peer";

static void receive_step(struct consensus *c, const struct cons_msg *msg, struct raft_message *m)
{
    if (c->broken != NULL)
        return;
    m->server_id = msg->from;
    m->server_address = peer_address;
    struct raft_event event = step_make(c, RAFT_RECEIVE);
    event.receive.message = m;
    step_event(c, &event, msg);
}

/* --- AppendEntries */

/* One library message with entries [from, from + n) of `msg`. */
static void append_step(struct consensus *c, const struct cons_msg *msg, uint32_t from, uint32_t n)
{
    const struct cons_msg_append *a = &msg->append;
    struct raft_entry few[RECEIVE_ENTRIES_ON_STACK];
    struct raft_entry *entries = few;
    struct raft_message m;
    void *token = NULL;

    ASSERT(from + n <= a->n);
    if (n > RECEIVE_ENTRIES_ON_STACK)
        entries = malloc(n * sizeof *entries);
    if (n > 0)
        token = raft_malloc(1); /* the library frees it if it drops the entries, else we do */
    if (entries == NULL || (n > 0 && token == NULL)) {
        consensus_break(c, ERR_NOMEM, "out of memory");
        raft_free(token);
        goto out;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct cons_entry *e = &a->entries[from + i];
        entries[i] = (struct raft_entry){
            .term = e->term,
            .type = (enum raft_entry_type)e->type,
            .buf = {.base = (void *)(uintptr_t)e->data.data, .len = e->data.len},
            .batch = token,
        };
    }
    memset(&m, 0, sizeof m);
    m.type = RAFT_APPEND_ENTRIES;
    m.append_entries.version = msg->version;
    m.append_entries.term = msg->term;
    m.append_entries.prev_log_index = a->prev_index + from;
    m.append_entries.prev_log_term = from > 0 ? a->entries[from - 1].term : a->prev_term;
    if (PLANTED(append_without_match) && log_term_at(c, m.append_entries.prev_log_index) != 0)
        m.append_entries.prev_log_term = log_term_at(c, m.append_entries.prev_log_index);
    m.append_entries.leader_commit = a->commit;
    m.append_entries.entries = n > 0 ? entries : NULL;
    m.append_entries.n_entries = n;
    receive_step(c, msg, &m);
out:
    if (entries != few)
        free(entries);
}

/* The entry at `index`, a CHANGE, will be appended behind prev^prev_term. If a lower
 * CHANGE counts as uncommitted in the library and stands in the leader's log too, it
 * has committed: leaders propose one at a time. Tell the library, or it forgets. */
static void append_settle(struct consensus *c, uint64_t prev, uint64_t prev_term, uint64_t index,
                          uint64_t term)
{
    uint64_t pending = c->raft.configuration_uncommitted_index;
    if (!guard_on(c, GUARD_T2B) || c->broken != NULL || c->is_installing)
        return;
    if (pending == 0 || pending > prev || log_term_at(c, prev) != prev_term)
        return;
    if (log_term_at(c, index) == term)
        return; /* we have it already */
    struct cons_config_at at = *configs_at(&c->configs, pending);
    if (at.index == pending)
        configs_commit_library(c, &at);
}

/* Cut before each CHANGE (T2): the library notes the wrong index for one that is not
 * the first, and what commits between the pieces must be stepped between them. */
static void append_pieces(struct consensus *c, const struct cons_msg *msg, uint32_t from)
{
    const struct cons_msg_append *a = &msg->append;
    uint32_t start = from;

    for (uint32_t k = from; k < a->n && guard_on(c, GUARD_T2); k++) {
        const struct cons_entry *e = &a->entries[k];
        if (e->type != CONS_CHANGE)
            continue;
        append_step(c, msg, start, k - start);
        uint64_t prev_term = k > 0 ? a->entries[k - 1].term : a->prev_term;
        append_settle(c, a->prev_index + k, prev_term, a->prev_index + k + 1, e->term);
        start = k;
    }
    append_step(c, msg, start, a->n - start);
}

static void receive_append(struct consensus *c, const struct cons_msg *msg)
{
    struct cons_msg cut = *msg;
    struct cons_msg_append *a = &cut.append;
    uint64_t snapshot = c->raft.trail.snapshot.index;
    uint32_t from = 0;

    if (c->state == CONS_LEADER && msg->term == c->term && guard_on(c, GUARD_T9)) {
        c->n_dropped++;
        return;
    }
    if (msg->term < c->term) {
        a->n = 0; /* only our answer, with the higher term, is wanted */
        append_step(c, &cut, 0, 0);
        return;
    }
    c->leader_heard_ms = c->now_ms;
    c->excused_ms = 0;
    if (a->n > 0 && (c->is_installing || writes_is_full(&c->writes))) {
        c->n_dropped++; /* but for the heartbeat in it: a slow disk calls no election */
        a->n = 0;
    }
    if (PLANTED(hint_is_commit) && a->commit > c->commit)
        c->opts.ops->committed(c->opts.ctx, c->commit, a->commit);
    if (a->prev_index < snapshot && guard_on(c, GUARD_T5)) {
        /* The library corrupts its trail or stalls (R7): begin at the snapshot. */
        uint64_t skip = snapshot - a->prev_index;
        if (skip >= a->n) {
            a->prev_index = snapshot;
            a->prev_term = c->raft.trail.snapshot.term;
            a->n = 0;
        } else {
            from = (uint32_t)skip;
        }
    }
    append_pieces(c, &cut, from);
}

static void receive_append_result(struct consensus *c, const struct cons_msg *msg)
{
    const struct cons_msg_append_result *a = &msg->append_result;
    struct raft_message m;

    if (c->state != CONS_LEADER)
        return; /* the library would not even look at the term */
    if (peer_find(c, msg->from) == NULL && guard_on(c, GUARD_MEMBER))
        return; /* no member: not even its term counts */
    struct cons_peer *p = peer_find(c, msg->from);
    if (msg->term == c->term) {
        peer_heard(c, msg->from);
        if (a->rejected > 0 && a->rejected <= peer_match(c, msg->from) && guard_on(c, GUARD_T3)) {
            c->n_dropped++; /* old: it would stall the follower (R6) */
            return;
        }
        if (a->rejected > 0 && p != NULL && peer_has_rewound(c, p, a->rejected)) {
            c->n_dropped++;
            return;
        }
        /* What is before what it is owed is missing there: the library's place counts, not ours. */
        if (a->rejected > 0 && p != NULL && a->rejected == p->owed.prev_index)
            p->owed.n = 0;
    }
    memset(&m, 0, sizeof m);
    m.type = RAFT_APPEND_ENTRIES_RESULT;
    m.append_entries_result.version = msg->version;
    m.append_entries_result.term = msg->term;
    m.append_entries_result.rejected = a->rejected;
    m.append_entries_result.last_log_index = a->last_index;
    m.append_entries_result.features = a->features;
    m.append_entries_result.capacity = a->capacity;
    receive_step(c, msg, &m);
    p = peer_find(c, msg->from);
    if (p == NULL || c->broken != NULL)
        return;
    peer_acked(c, p);
    outbox_pay(c, p);
}

/* --- votes */

/* A member that is no voter in its own, perhaps stale, configuration must vote all the
 * same (T11): the promotion that made it one may stand only in the asker's log. And it
 * must forget a dead leader, for it has no timer of its own to do so. */
static void vote_as_voter(struct consensus *c, const struct cons_msg *msg, struct raft_message *m)
{
    struct raft *r = &c->raft;
    struct raft_server self = {.id = c->opts.replica_id, .address = c->address, .role = RAFT_VOTER};
    struct raft_configuration saved = r->configuration;

    ASSERT(raft_state(r) == RAFT_FOLLOWER);
    if (c->now_ms - c->leader_heard_ms >= c->opts.election_timeout_ms)
        r->follower_state.current_leader.id = 0;
    r->configuration = (struct raft_configuration){.servers = &self, .n = 1};
    receive_step(c, msg, m);
    r->configuration = saved;
}

static void receive_vote(struct consensus *c, const struct cons_msg *msg)
{
    struct raft_message m;
    if (promise_stands(c) && !msg->vote.disrupt_leader) {
        c->n_dropped++; /* it asks again */
        return;
    }
    memset(&m, 0, sizeof m);
    m.type = RAFT_REQUEST_VOTE;
    m.request_vote.version = msg->version;
    m.request_vote.term = msg->term;
    m.request_vote.candidate_id = msg->from;
    m.request_vote.last_log_index = msg->vote.last_index;
    m.request_vote.last_log_term = msg->vote.last_term;
    m.request_vote.disrupt_leader = msg->vote.disrupt_leader;
    m.request_vote.pre_vote = msg->vote.pre_vote;
    if (PLANTED(vote_for_shorter_log)) {
        m.request_vote.last_log_index = MAX(msg->vote.last_index, log_last_index(c));
        m.request_vote.last_log_term = MAX(msg->vote.last_term, log_term_at(c, log_last_index(c)));
    }
    bool is_voter = raft_role(&c->raft) == RAFT_VOTER;
    if (c->state == CONS_FOLLOWER && c->term > 0 && !is_voter && guard_on(c, GUARD_T11))
        vote_as_voter(c, msg, &m);
    else
        receive_step(c, msg, &m);
}

static void receive_vote_result(struct consensus *c, const struct cons_msg *msg)
{
    struct raft_message m;
    if (c->state != CONS_CANDIDATE && guard_on(c, GUARD_T10)) {
        c->n_dropped++; /* the library would read a byte of a pointer (R8) */
        return;
    }
    if (cons_config_find(&configs_latest(&c->configs)->config, msg->from) == NULL &&
        guard_on(c, GUARD_MEMBER)) {
        c->n_dropped++; /* no member was asked: not even its term counts */
        return;
    }
    memset(&m, 0, sizeof m);
    m.type = RAFT_REQUEST_VOTE_RESULT;
    m.request_vote_result.version = msg->version;
    m.request_vote_result.term = msg->term;
    m.request_vote_result.vote_granted = msg->vote_result.granted;
    m.request_vote_result.pre_vote = msg->vote_result.pre_vote;
    m.request_vote_result.features = msg->vote_result.features;
    m.request_vote_result.capacity = msg->vote_result.capacity;
    receive_step(c, msg, &m);
}

/* --- the rest */

static void receive_snapshot(struct consensus *c, const struct cons_msg *msg)
{
    const struct cons_base *s = &msg->snapshot;
    struct raft_message m;

    if (c->state == CONS_LEADER && msg->term == c->term && guard_on(c, GUARD_T9)) {
        c->n_dropped++;
        return;
    }
    if (c->is_installing && guard_on(c, GUARD_R12)) {
        c->n_dropped++; /* the library would leak it */
        return;
    }
    if (msg->term >= c->term)
        c->leader_heard_ms = c->now_ms;
    memset(&m, 0, sizeof m);
    m.type = RAFT_INSTALL_SNAPSHOT;
    m.install_snapshot.version = msg->version;
    m.install_snapshot.term = msg->term;
    m.install_snapshot.last_index = s->index;
    m.install_snapshot.last_term = s->term;
    m.install_snapshot.conf_index = s->config_index;
    if (library_config_make(&s->config, &m.install_snapshot.conf) != 0) {
        consensus_break(c, ERR_NOMEM, "out of memory");
        return;
    }
    receive_step(c, msg, &m); /* the configuration is the library's, or came back in the update */
}

static void receive_timeout_now(struct consensus *c, const struct cons_msg *msg)
{
    struct raft_message m;
    const struct cons_config *config = &configs_latest(&c->configs)->config;

    if (c->is_abstaining)
        return; /* the one who hands over gives up after an election time-out */
    /* A sole voter would lead in its present term (T-solo). */
    if (cons_config_is_sole_voter(config, c->opts.replica_id) && guard_on(c, GUARD_TSOLO))
        return;
    memset(&m, 0, sizeof m);
    m.type = RAFT_TIMEOUT_NOW;
    m.timeout_now.version = msg->version;
    m.timeout_now.term = msg->term;
    m.timeout_now.last_log_index = msg->timeout_now.last_index;
    m.timeout_now.last_log_term = msg->timeout_now.last_term;
    receive_step(c, msg, &m);
}

/* Whatever our role: our durable term is what counts, for it is what we have promised. */
static void receive_probe(struct consensus *c, const struct cons_msg *msg)
{
    uint64_t term = guard_on(c, GUARD_READ_TERM) ? c->writes.durable_term : msg->term;
    if (term != msg->term)
        return;
    struct cons_msg result = outbox_make(c, CONS_MSG_PROBE_RESULT, msg->from);
    result.term = msg->term;
    result.probe.number = msg->probe.number;
    result.probe.promise_ms = promise_make(c, msg);
    c->opts.ops->send(c->opts.ctx, &result); /* depends on nothing that is not durable */
}

static void receive_dispatch(struct consensus *c, const struct cons_msg *msg)
{
    switch (msg->type) {
    case CONS_MSG_APPEND:
        receive_append(c, msg);
        break;
    case CONS_MSG_APPEND_RESULT:
        receive_append_result(c, msg);
        break;
    case CONS_MSG_VOTE:
        receive_vote(c, msg);
        break;
    case CONS_MSG_VOTE_RESULT:
        receive_vote_result(c, msg);
        break;
    case CONS_MSG_SNAPSHOT:
        receive_snapshot(c, msg);
        break;
    case CONS_MSG_TIMEOUT_NOW:
        receive_timeout_now(c, msg);
        break;
    case CONS_MSG_PROBE:
        receive_probe(c, msg);
        break;
    case CONS_MSG_PROBE_RESULT:
        if (c->state == CONS_LEADER && msg->term == c->term) {
            peer_heard(c, msg->from);
            lease_on_result(c, msg);
            reads_on_result(c, msg->from, msg->probe.number);
        }
        break;
    case CONS_MSG_READ_ASK:
        asks_on_ask(c, msg);
        break;
    case CONS_MSG_READ_ANSWER:
        reads_on_answer(c, msg);
        break;
    default:
        c->n_invalid++; /* only with GUARD_VALIDATE out */
    }
}

int consensus_receive(struct consensus *c, uint64_t now_ms, const struct cons_msg *msg,
                      struct err *err)
{
    /* A probe asks for nothing but our durable term. */
    bool may_enter = msg->type == CONS_MSG_PROBE ? consensus_enter_quietly(c, now_ms)
                                                 : consensus_enter(c, now_ms);
    if (!may_enter)
        return ERR_STATE;
    int rv = guard_on(c, GUARD_VALIDATE) ? validate_message(c, msg, err) : 0;
    if (rv == 0)
        receive_dispatch(c, msg);
    else
        c->n_invalid++;
    consensus_leave(c);
    return rv;
}
