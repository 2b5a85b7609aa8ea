/* SPDX-License-Identifier: Apache-2.0
 *
 * validate — what a peer's message must fulfil before it may reach the library, which
 * checks nothing: it is built without assertions, and a broken precondition silently
 * corrupts its state. Says "forged or malformed", never "late": that is receive.c's.
 */
#include "consensus/consensus_internal.h"

static int bad(struct err *err, const struct cons_msg *msg, const char *what)
{
    return err_set(err, ERR_INVALID, "%s from replica %llu: %s", cons_msg_name(msg->type),
                   (unsigned long long)msg->from, what);
}

static bool is_number(uint64_t v)
{
    return v <= CONS_ID_MAX;
}

/* Entries follow prev_term without falling, and none is above the message's term. */
static int validate_entries(const struct consensus *c, const struct cons_msg *msg, struct err *err)
{
    const struct cons_msg_append *a = &msg->append;
    uint64_t term = a->prev_term;

    for (uint32_t i = 0; i < a->n; i++) {
        const struct cons_entry *e = &a->entries[i];
        if (e->term == 0 || e->term < term || e->term > msg->term)
            return bad(err, msg, "entry of a falling or future term");
        term = e->term;
        if (e->type != CONS_COMMAND && e->type != CONS_BARRIER && e->type != CONS_CHANGE)
            return bad(err, msg, "entry of an unknown type");
        if (e->data.len > 0 && e->data.data == NULL)
            return bad(err, msg, "entry without its bytes");
        if (e->type == CONS_CHANGE && guard_on(c, GUARD_R15)) {
            struct cons_config config;
            if (configs_decode(c, e->data, &config, err) != 0)
                return err_wrap(err, ERR_INVALID, "append from replica %llu: entry %u",
                                (unsigned long long)msg->from, i);
        }
    }
    return 0;
}

/* Nothing that is committed may be contradicted: a correct leader never does. */
static int validate_matches(const struct consensus *c, const struct cons_msg *msg, struct err *err)
{
    const struct cons_msg_append *a = &msg->append;
    uint64_t known;

    if (c->is_installing)
        return 0;
    if (a->prev_index > 0 && a->prev_index <= c->commit) {
        known = log_term_at(c, a->prev_index);
        if (known != 0 && known != a->prev_term)
            return bad(err, msg, "previous term contradicts a committed entry");
    }
    for (uint32_t i = 0; i < a->n && a->prev_index + 1 + i <= c->commit; i++) {
        known = log_term_at(c, a->prev_index + 1 + i);
        if (known != 0 && known != a->entries[i].term)
            return bad(err, msg, "entry contradicts a committed one");
    }
    return 0;
}

static int validate_append(const struct consensus *c, const struct cons_msg *msg, struct err *err)
{
    const struct cons_msg_append *a = &msg->append;

    if (!is_number(a->prev_index) || !is_number(a->commit))
        return bad(err, msg, "index out of range");
    if (a->n > CONS_APPEND_ENTRIES_MAX || (a->n > 0 && a->entries == NULL))
        return bad(err, msg, "too many entries");
    if ((a->prev_index == 0) != (a->prev_term == 0) || a->prev_term > msg->term)
        return bad(err, msg, "previous index and term do not fit");
    if (a->prev_index == 0 && a->n > 0)
        return bad(err, msg, "entries below every group's first");
    int rv = validate_entries(c, msg, err);
    if (rv == 0 && msg->term >= c->term)
        rv = validate_matches(c, msg, err);
    return rv;
}

static int validate_append_result(const struct cons_msg *msg, struct err *err)
{
    const struct cons_msg_append_result *a = &msg->append_result;
    if (!is_number(a->rejected) || !is_number(a->last_index))
        return bad(err, msg, "index out of range");
    return 0;
}

static int validate_vote(const struct cons_msg *msg, struct err *err)
{
    const struct cons_msg_vote *v = &msg->vote;
    if (!is_number(v->last_index) || v->last_term > msg->term)
        return bad(err, msg, "last entry out of range");
    if (msg->version < 2)
        return bad(err, msg, "version too old");
    return 0;
}

static int validate_vote_result(const struct consensus *c, const struct cons_msg *msg,
                                struct err *err)
{
    const struct cons_msg_vote_result *v = &msg->vote_result;
    if (msg->version < 2)
        return bad(err, msg, "version too old");
    if (v->granted && msg->term > c->term + (v->pre_vote ? 1 : 0))
        return bad(err, msg, "vote for a term that was not asked for");
    return 0;
}

static int validate_snapshot(const struct consensus *c, const struct cons_msg *msg, struct err *err)
{
    const struct cons_base *s = &msg->snapshot;
    if (s->index < CONS_BASE_INDEX_MIN || s->index > CONS_COUNT_MAX)
        return bad(err, msg, "index out of range");
    if (s->term == 0 || s->term > msg->term)
        return bad(err, msg, "term of the last entry out of range");
    if (s->config_index == 0 || s->config_index > s->index)
        return bad(err, msg, "index of the configuration out of range");
    if (cons_config_validate(&s->config, err) != 0)
        return err_wrap(err, ERR_INVALID, "snapshot from replica %llu",
                        (unsigned long long)msg->from);
    if (msg->term >= c->term && !c->is_installing && s->index <= c->commit) {
        uint64_t known = log_term_at(c, s->index);
        if (known != 0 && known != s->term)
            return bad(err, msg, "contradicts a committed entry");
    }
    return 0;
}

int validate_message(const struct consensus *c, const struct cons_msg *msg, struct err *err)
{
    if (msg->group_id != c->opts.group_id || msg->to != c->opts.replica_id)
        return bad(err, msg, "not for this replica");
    if (msg->from == 0 || !is_number(msg->from) || msg->from == c->opts.replica_id)
        return bad(err, msg, "sender out of range");
    if (msg->term == 0 || msg->term > CONS_COUNT_MAX)
        return bad(err, msg, "term out of range");
    if (msg->term > c->term && msg->term - c->term > CONS_TERM_STEP_MAX)
        return bad(err, msg, "term too far ahead");
    switch (msg->type) {
    case CONS_MSG_APPEND:
        return validate_append(c, msg, err);
    case CONS_MSG_APPEND_RESULT:
        return validate_append_result(msg, err);
    case CONS_MSG_VOTE:
        return validate_vote(msg, err);
    case CONS_MSG_VOTE_RESULT:
        return validate_vote_result(c, msg, err);
    case CONS_MSG_SNAPSHOT:
        return validate_snapshot(c, msg, err);
    case CONS_MSG_TIMEOUT_NOW:
        if (!is_number(msg->timeout_now.last_index) || msg->timeout_now.last_term > msg->term)
            return bad(err, msg, "last entry out of range");
        return 0;
    case CONS_MSG_PROBE:
    case CONS_MSG_PROBE_RESULT:
    case CONS_MSG_READ_ASK:
        return 0; /* any number is a number */
    case CONS_MSG_READ_ANSWER:
        return msg->read.index > 0 && is_number(msg->read.index)
                   ? 0
                   : bad(err, msg, "index out of range");
    default:
        return bad(err, msg, "unknown type");
    }
}
