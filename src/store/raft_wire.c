/* SPDX-License-Identifier: Apache-2.0 */
#include "store/raft_wire.h"

#include "wire/frame.h"

_Static_assert((int)CONS_APPEND_ENTRIES_MAX <= (int)PEER_ENTRIES_MAX, "a message must fit");
_Static_assert((int)CONS_COMMAND == (int)PEER_ENTRY_COMMAND, "entry types are the same numbers");
_Static_assert((int)CONS_BARRIER == (int)PEER_ENTRY_BARRIER, "entry types are the same numbers");
_Static_assert((int)CONS_CHANGE == (int)PEER_ENTRY_CHANGE, "entry types are the same numbers");

static void append_to_wire(struct raft_wire *w, const struct cons_msg *msg,
                           struct append_entries *ret)
{
    const struct cons_msg_append *a = &msg->append;
    ASSERT(a->n <= PEER_ENTRIES_MAX);
    for (uint32_t i = 0; i < a->n; i++) {
        w->peer_entries[i] = (struct peer_entry){
            .term = a->entries[i].term,
            .type = (enum peer_entry_type)a->entries[i].type,
            .data = a->entries[i].data,
        };
    }
    *ret = (struct append_entries){
        .version = msg->version,
        .term = msg->term,
        .prev_log_index = a->prev_index,
        .prev_log_term = a->prev_term,
        .leader_commit = a->commit,
        .entry_count = a->n,
        .entries = w->peer_entries,
    };
}

static void vote_to_wire(const struct cons_msg *msg, struct request_vote *ret)
{
    *ret = (struct request_vote){
        .version = msg->version,
        .term = msg->term,
        .candidate_id = msg->from,
        .last_log_index = msg->vote.last_index,
        .last_log_term = msg->vote.last_term,
        .disrupt_leader = msg->vote.disrupt_leader,
        .pre_vote = msg->vote.pre_vote,
    };
}

static void results_to_wire(const struct cons_msg *msg, struct peer_msg *ret)
{
    if (msg->type == CONS_MSG_APPEND_RESULT) {
        ret->append_entries_result = (struct append_entries_result){
            .version = msg->version,
            .term = msg->term,
            .rejected = msg->append_result.rejected,
            .last_log_index = msg->append_result.last_index,
            .features = msg->append_result.features,
            .capacity = msg->append_result.capacity,
        };
        return;
    }
    ASSERT(msg->type == CONS_MSG_VOTE_RESULT);
    ret->request_vote_result = (struct request_vote_result){
        .version = msg->version,
        .term = msg->term,
        .vote_granted = msg->vote_result.granted,
        .pre_vote = msg->vote_result.pre_vote,
        .features = msg->vote_result.features,
        .capacity = msg->vote_result.capacity,
    };
}

static void snapshot_to_wire(struct raft_wire *w, const struct cons_msg *msg,
                             struct install_snapshot *ret)
{
    size_t len = cons_config_encode(&msg->snapshot.config, w->config);
    *ret = (struct install_snapshot){
        .version = msg->version,
        .term = msg->term,
        .last_index = msg->snapshot.index,
        .last_term = msg->snapshot.term,
        .conf_index = msg->snapshot.config_index,
        .configuration = slice_of(w->config, len),
    };
}

static const enum msg_kind kind_of_type[CONS_MSG_TYPE_NR] = {
    [CONS_MSG_APPEND] = MSG_APPEND_ENTRIES,
    [CONS_MSG_APPEND_RESULT] = MSG_APPEND_ENTRIES_RESULT,
    [CONS_MSG_VOTE] = MSG_REQUEST_VOTE,
    [CONS_MSG_VOTE_RESULT] = MSG_REQUEST_VOTE_RESULT,
    [CONS_MSG_SNAPSHOT] = MSG_INSTALL_SNAPSHOT,
    [CONS_MSG_TIMEOUT_NOW] = MSG_TIMEOUT_NOW,
    [CONS_MSG_PROBE] = MSG_PROBE,
    [CONS_MSG_PROBE_RESULT] = MSG_PROBE_RESULT,
    [CONS_MSG_READ_ASK] = MSG_READ_ASK,
    [CONS_MSG_READ_ANSWER] = MSG_READ_ANSWER,
};

static void reads_to_wire(const struct cons_msg *msg, struct peer_msg *ret)
{
    switch (msg->type) {
    case CONS_MSG_PROBE:
        ret->probe = (struct probe){
            .term = msg->term, .number = msg->probe.number, .promise_ms = msg->probe.promise_ms};
        break;
    case CONS_MSG_PROBE_RESULT:
        ret->probe_result = (struct probe_result){
            .term = msg->term, .number = msg->probe.number, .promise_ms = msg->probe.promise_ms};
        break;
    case CONS_MSG_READ_ASK:
        ret->read_ask = (struct read_ask){.term = msg->term, .number = msg->read.number};
        break;
    default:
        ASSERT(msg->type == CONS_MSG_READ_ANSWER);
        ret->read_answer = (struct read_answer){
            .term = msg->term, .number = msg->read.number, .index = msg->read.index};
        break;
    }
}

static void to_wire(struct raft_wire *w, const struct cons_msg *msg, struct peer_msg *ret)
{
    ASSERT(msg->type > 0 && msg->type < CONS_MSG_TYPE_NR);
    *ret = (struct peer_msg){
        .kind = kind_of_type[msg->type],
        .group = msg->group_id,
        .from_replica = msg->from,
        .to_replica = msg->to,
    };
    switch (msg->type) {
    case CONS_MSG_APPEND:
        append_to_wire(w, msg, &ret->append_entries);
        break;
    case CONS_MSG_APPEND_RESULT:
    case CONS_MSG_VOTE_RESULT:
        results_to_wire(msg, ret);
        break;
    case CONS_MSG_VOTE:
        vote_to_wire(msg, &ret->request_vote);
        break;
    case CONS_MSG_SNAPSHOT:
        snapshot_to_wire(w, msg, &ret->install_snapshot);
        break;
    case CONS_MSG_TIMEOUT_NOW:
        ret->timeout_now = (struct timeout_now){
            .version = msg->version,
            .term = msg->term,
            .last_log_index = msg->timeout_now.last_index,
            .last_log_term = msg->timeout_now.last_term,
        };
        break;
    default:
        reads_to_wire(msg, ret);
        break;
    }
}

void raft_wire_encode(struct raft_wire *w, const struct cons_msg *msg, const struct raft_span *span,
                      struct buf *out)
{
    struct peer_msg wire;
    to_wire(w, msg, &wire);
    if (span != NULL) {
        wire.span_start = span->start;
        wire.span_end = span->end;
        wire.conf_epoch = span->conf_epoch;
    }
    size_t start = frame_begin(out);
    peer_msg_encode(out, &wire);
    if (msg->type == CONS_MSG_APPEND)
        frame_end_paced(out, start, &w->pace);
    else
        frame_end(out, start, false);
}

static void append_from_wire(struct raft_wire *w, const struct append_entries *a,
                             struct cons_msg *ret)
{
    for (uint32_t i = 0; i < a->entry_count; i++) {
        w->cons_entries[i] = (struct cons_entry){
            .term = a->entries[i].term,
            .type = (enum cons_entry_type)a->entries[i].type,
            .data = a->entries[i].data,
        };
    }
    ret->version = a->version;
    ret->term = a->term;
    ret->append = (struct cons_msg_append){
        .prev_index = a->prev_log_index,
        .prev_term = a->prev_log_term,
        .commit = a->leader_commit,
        .entries = w->cons_entries,
        .n = a->entry_count,
    };
}

static void results_from_wire(const struct peer_msg *wire, struct cons_msg *ret)
{
    if (wire->kind == MSG_APPEND_ENTRIES_RESULT) {
        const struct append_entries_result *a = &wire->append_entries_result;
        ret->version = a->version;
        ret->term = a->term;
        ret->append_result = (struct cons_msg_append_result){
            .rejected = a->rejected,
            .last_index = a->last_log_index,
            .features = a->features,
            .capacity = a->capacity,
        };
        return;
    }
    ASSERT(wire->kind == MSG_REQUEST_VOTE_RESULT);
    const struct request_vote_result *v = &wire->request_vote_result;
    ret->version = v->version;
    ret->term = v->term;
    ret->vote_result = (struct cons_msg_vote_result){
        .granted = v->vote_granted,
        .pre_vote = v->pre_vote,
        .features = v->features,
        .capacity = v->capacity,
    };
}

static int vote_from_wire(const struct peer_msg *wire, struct cons_msg *ret, struct err *err)
{
    const struct request_vote *v = &wire->request_vote;
    if (v->candidate_id != wire->from_replica)
        return err_set(err, ERR_CORRUPT, "a vote asked for replica %llu by replica %llu",
                       (unsigned long long)v->candidate_id, (unsigned long long)wire->from_replica);
    ret->version = v->version;
    ret->term = v->term;
    ret->vote = (struct cons_msg_vote){
        .last_index = v->last_log_index,
        .last_term = v->last_log_term,
        .disrupt_leader = v->disrupt_leader,
        .pre_vote = v->pre_vote,
    };
    return 0;
}

static int snapshot_from_wire(const struct install_snapshot *s, struct cons_msg *ret,
                              struct err *err)
{
    ret->version = s->version;
    ret->term = s->term;
    ret->snapshot.index = s->last_index;
    ret->snapshot.term = s->last_term;
    ret->snapshot.config_index = s->conf_index;
    return cons_config_decode(s->configuration, &ret->snapshot.config, err);
}

static int from_wire(struct raft_wire *w, const struct peer_msg *wire, struct cons_msg *ret,
                     struct err *err)
{
    switch (wire->kind) {
    case MSG_APPEND_ENTRIES:
        append_from_wire(w, &wire->append_entries, ret);
        return 0;
    case MSG_APPEND_ENTRIES_RESULT:
    case MSG_REQUEST_VOTE_RESULT:
        results_from_wire(wire, ret);
        return 0;
    case MSG_REQUEST_VOTE:
        return vote_from_wire(wire, ret, err);
    case MSG_INSTALL_SNAPSHOT:
        return snapshot_from_wire(&wire->install_snapshot, ret, err);
    case MSG_TIMEOUT_NOW:
        ret->version = wire->timeout_now.version;
        ret->term = wire->timeout_now.term;
        ret->timeout_now = (struct cons_msg_timeout_now){
            .last_index = wire->timeout_now.last_log_index,
            .last_term = wire->timeout_now.last_log_term,
        };
        return 0;
    case MSG_PROBE:
        ret->term = wire->probe.term;
        ret->probe = (struct cons_msg_probe){.number = wire->probe.number,
                                             .promise_ms = wire->probe.promise_ms};
        return 0;
    case MSG_PROBE_RESULT:
        ret->term = wire->probe_result.term;
        ret->probe = (struct cons_msg_probe){.number = wire->probe_result.number,
                                             .promise_ms = wire->probe_result.promise_ms};
        return 0;
    case MSG_READ_ASK:
        ret->term = wire->read_ask.term;
        ret->read = (struct cons_msg_read){.number = wire->read_ask.number};
        return 0;
    case MSG_READ_ANSWER:
        ret->term = wire->read_answer.term;
        ret->read = (struct cons_msg_read){.number = wire->read_answer.number,
                                           .index = wire->read_answer.index};
        return 0;
    default:
        return err_set(err, ERR_UNSUPPORTED, "message kind %d between replicas", (int)wire->kind);
    }
}

static enum cons_msg_type type_of_kind(enum msg_kind kind)
{
    for (int type = 1; type < CONS_MSG_TYPE_NR; type++) {
        if (kind_of_type[type] == kind)
            return (enum cons_msg_type)type;
    }
    return CONS_MSG_TYPE_NR;
}

int raft_wire_decode(struct raft_wire *w, struct slice body, struct cons_msg *ret_msg,
                     struct raft_span *ret_span, struct err *err)
{
    struct peer_msg wire;
    int rv = peer_msg_decode(body, w->peer_entries, PEER_ENTRIES_MAX, &wire, err);
    if (rv != 0)
        return rv;
    struct cons_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.type = type_of_kind(wire.kind);
    msg.group_id = wire.group;
    msg.from = wire.from_replica;
    msg.to = wire.to_replica;
    rv = from_wire(w, &wire, &msg, err);
    if (rv != 0)
        return rv;
    ASSERT(msg.type < CONS_MSG_TYPE_NR);
    *ret_msg = msg;
    if (ret_span != NULL)
        *ret_span = (struct raft_span){
            .start = wire.span_start, .end = wire.span_end, .conf_epoch = wire.conf_epoch};
    return 0;
}
