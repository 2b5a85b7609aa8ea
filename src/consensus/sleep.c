/* SPDX-License-Identifier: Apache-2.0
 *
 * sleep — a group that has nothing to do costs nothing: its clock stands still, and its
 * members can be put away in some 100 bytes each.
 *
 *   AWAKE ──consensus_sleep()──▶ ASLEEP ──consensus_park()──▶ parked ─unpark─▶ AWAKE
 *     ▲                            │                          (a restart; a leader leads on)
 *     └── consensus_wake(), or any input that is work ┘
 *
 * While asleep no time passes for it: with the real clock all members would stand for
 * election when they wake, and those that sleep on would refuse them (R23). A leader that
 * wakes therefore takes the others to be where they were, but for a CHANGE, which may need
 * every one of those that it takes for live: for that they must answer first.
 *
 * What a leader at rest knows of the others is that they have all of the log. With term, vote
 * and configuration that makes a leader again: it was elected in that term, and as long as it
 * is neither started otherwise nor asked for a vote, nobody else can have been.
 */
#include <stdlib.h>

#include "consensus/consensus_internal.h"

/* The log ends at what is committed, applied and durable, and nothing is on its way. */
static bool is_settled(const struct consensus *c)
{
    uint64_t last = log_last_index(c);
    return c->is_started && c->broken == NULL && !c->is_installing && last > 0 &&
           c->commit == last && c->applied == last && c->raft.last_stored == last &&
           c->writes.n == 0 && c->outbox.n == 0 && c->reads.n == 0;
}

bool consensus_rest(const struct consensus *c, struct cons_rest *ret_rest)
{
    uint64_t last = log_last_index(c);
    if (c->state != CONS_LEADER || !is_settled(c) || !leader_is_ready(c))
        return false;
    if (c->transfer.target != 0 || c->raft.configuration_uncommitted_index != 0)
        return false;
    for (uint32_t i = 0; i < c->n_peers; i++) {
        const struct cons_peer *p = &c->peers[i];
        if (p->is_streaming || !peer_is_live(c, p->id) || peer_match(c, p->id) != last)
            return false;
    }
    *ret_rest = (struct cons_rest){.leader = c->opts.replica_id, .term = c->term, .index = last};
    return true;
}

static bool rests_at(const struct consensus *c, const struct cons_rest *rest)
{
    struct cons_rest own;
    if (c->term != rest->term || log_last_index(c) != rest->index)
        return false;
    if (rest->leader == c->opts.replica_id)
        return consensus_rest(c, &own);
    return c->state == CONS_FOLLOWER && c->leader == rest->leader && is_settled(c);
}

/* What it will not need for long, and makes again when it does. */
static void trim(struct consensus *c)
{
    ASSERT(c->outbox.n == 0 && c->reads.n == 0);
    outbox_fini(&c->outbox);
    writes_trim(&c->writes);
    configs_trim(&c->configs);
    asks_fini(c);
}

int consensus_sleep(struct consensus *c, uint64_t now_ms, const struct cons_rest *rest)
{
    if (c->is_asleep)
        return rests_at(c, rest) ? 0 : ERR_BUSY;
    if (!consensus_enter(c, now_ms))
        return ERR_STATE;
    consensus_leave(c);
    if (c->broken != NULL || !rests_at(c, rest))
        return ERR_BUSY;
    outbox_forget(c);
    trim(c);
    c->is_asleep = true;
    return 0;
}

void sleep_end(struct consensus *c, uint64_t now_ms)
{
    ASSERT(c->is_asleep);
    c->is_asleep = false;
    if (guard_on(c, GUARD_FREEZE))
        c->shift_ms = (int64_t)(c->now_ms - now_ms);
    peers_doubt(c);
    if (c->opts.ops->woken != NULL)
        c->opts.ops->woken(c->opts.ctx);
}

void consensus_wake(struct consensus *c, uint64_t now_ms)
{
    if (consensus_enter(c, now_ms))
        consensus_leave(c);
}

void consensus_wake_orphan(struct consensus *c, uint64_t now_ms)
{
    if (!consensus_enter(c, now_ms))
        return;
    if (c->state == CONS_FOLLOWER) {
        c->shift_ms += (int64_t)c->opts.election_timeout_ms;
        c->now_ms += c->opts.election_timeout_ms;
    }
    consensus_leave(c);
}

void consensus_set_heartbeat(struct consensus *c, uint32_t heartbeat_ms)
{
    ASSERT(heartbeat_ms > 0 && heartbeat_ms < c->opts.election_timeout_ms);
    raft_set_heartbeat_timeout(&c->raft, heartbeat_ms);
}

void consensus_hold_back(struct consensus *c, uint64_t now_ms, uint64_t late_ms)
{
    ASSERT(!c->is_inside);
    uint64_t now = now_ms + (uint64_t)c->shift_ms;
    if (c->is_asleep || now <= c->now_ms)
        return;
    uint64_t held_ms = MIN(late_ms, now - c->now_ms);
    uint64_t max_ms = c->opts.election_timeout_ms;
    c->excused_ms -= MIN(c->excused_ms, c->now_ms - c->excused_at_ms);
    c->excused_at_ms = c->now_ms;
    if (c->excused_ms > 0)
        held_ms = MIN(held_ms, max_ms - c->excused_ms);
    c->excused_ms = MIN(c->excused_ms + held_ms, max_ms);
    c->shift_ms -= (int64_t)held_ms;
    if (held_ms >= max_ms) /* as of a sleep: who died in that time is not known to be dead */
        peers_doubt(c);
}

bool consensus_is_asleep(const struct consensus *c)
{
    return c->is_asleep;
}

/* --- parked */

/* Of a leader: is what makes it one on disk, and a voter? One that is removed hands over. */
static bool may_lead_on(const struct consensus *c)
{
    const struct cons_member *self =
        cons_config_find(&configs_latest(&c->configs)->config, c->opts.replica_id);
    return self != NULL && self->role == CONS_VOTER && c->writes.durable_term == c->term &&
           raft_voted_for(&c->raft) == c->opts.replica_id && log_term_at(c, c->commit) == c->term;
}

int consensus_park(struct consensus *c, struct cons_parked **ret_parked)
{
    const struct cons_config_at *at = configs_latest(&c->configs);
    bool may_park = c->state == CONS_LEADER ? may_lead_on(c) : c->state == CONS_FOLLOWER;
    if (!c->is_asleep || !may_park)
        return ERR_BUSY;
    ASSERT(is_settled(c));
    struct cons_parked *p = malloc(sizeof *p + at->config.n * sizeof p->members[0]);
    if (p == NULL)
        return ERR_NOMEM;
    *p = (struct cons_parked){
        .leader = c->leader,
        .term = c->term,
        .vote = raft_voted_for(&c->raft),
        .index = c->commit,
        .index_term = log_term_at(c, c->commit),
        .config_index = at->index,
        .next_write_id = c->writes.next_id,
        .promised_until_ms = c->promised_until_ms,
        .lease_off_term = c->lease_off_term,
        .n_members = at->config.n,
    };
    ASSERT(p->index_term != 0);
    memcpy(p->members, at->config.members, at->config.n * sizeof p->members[0]);
    consensus_free(c);
    *ret_parked = p;
    return 0;
}

/* The last answer of each member, as if it came again only now: it has all of the log. */
static void lead_on(struct consensus *c, uint64_t now_ms, const struct cons_parked *p)
{
    c->lease_off_term = p->lease_off_term;
    c->promised_until_ms = p->promised_until_ms;
    for (uint32_t i = 0; i < p->n_members && c->broken == NULL; i++) {
        struct cons_msg result = {
            .type = CONS_MSG_APPEND_RESULT,
            .group_id = c->opts.group_id,
            .from = p->members[i].replica_id,
            .to = c->opts.replica_id,
            .term = p->term,
            .append_result.last_index = p->index,
        };
        if (result.from == c->opts.replica_id)
            continue;
        int rv = consensus_receive(c, now_ms, &result, NULL);
        ASSERT(rv == 0 || c->broken != NULL);
        ASSERT(peer_match(c, result.from) == p->index || c->broken != NULL);
    }
    peers_doubt(c);
}

int consensus_unpark(struct consensus **ret_c, const struct cons_options *opts, uint64_t now_ms,
                     const struct cons_parked *p, struct err *err)
{
    struct cons_options o = *opts;
    struct consensus *c = NULL;
    struct cons_start s = {
        .term = p->term,
        .vote = p->vote,
        .base = {.index = p->index,
                 .term = p->index_term,
                 .config_index = p->config_index,
                 .config.n = p->n_members},
        .first_index = p->index + 1, /* of the log before it, the others have all */
        .last_index = p->index,
    };
    ASSERT(p->n_members <= CONS_MEMBERS_MAX);
    memcpy(s.base.config.members, p->members, p->n_members * sizeof p->members[0]);
    o.first_write_id = MAX(o.first_write_id, p->next_write_id);
    bool leads = p->leader == opts->replica_id;
    int rv = consensus_new(&c, &o, err);
    if (rv != 0)
        return rv;
    *ret_c = c; /* the table's functions may look for it */
    rv = consensus_start_as(c, now_ms, &s, leads, err);
    if (rv == 0 && leads)
        lead_on(c, now_ms, p);
    if (rv == 0)
        return 0;
    consensus_free(c);
    *ret_c = NULL;
    return rv;
}

void consensus_parked_status(const struct cons_parked *p, uint64_t replica_id, uint64_t group_id,
                             struct cons_status *ret_status)
{
    bool leads = p->leader == replica_id;
    struct cons_status s = {
        .replica_id = replica_id,
        .group_id = group_id,
        .state = leads ? CONS_LEADER : CONS_FOLLOWER,
        .term = p->term,
        .durable_term = p->term,
        .vote = p->vote,
        .leader = p->leader,
        .commit = p->index,
        .applied = p->index,
        .last_index = p->index,
        .last_stored = p->index,
        .snapshot_index = p->index,
        .log_floor = p->index,
        .config_index = p->config_index,
        .config_committed_index = p->config_index,
        .is_ready = leads,
        .n_members = p->n_members,
    };
    ASSERT(p->n_members <= CONS_MEMBERS_MAX);
    for (uint32_t i = 0; i < p->n_members; i++)
        s.members[i] = (struct cons_member_status){
            .replica_id = p->members[i].replica_id,
            .store_id = p->members[i].store_id,
            .role = p->members[i].role,
            .match = leads ? p->index : 0,
            .is_live = leads || p->members[i].replica_id == replica_id,
        };
    *ret_status = s;
}

struct cons_msg consensus_parked_beat(const struct cons_options *opts, const struct cons_parked *p)
{
    return (struct cons_msg){
        .type = CONS_MSG_APPEND,
        .group_id = opts->group_id,
        .from = p->leader,
        .to = opts->replica_id,
        .term = p->term,
        .append = {.prev_index = p->index, .prev_term = p->index_term, .commit = p->index},
    };
}

bool consensus_parked_probe(const struct cons_parked *p, const struct cons_msg *probe,
                            struct cons_msg *ret_result)
{
    ASSERT(probe->type == CONS_MSG_PROBE);
    if (probe->term != p->term)
        return false;
    *ret_result = (struct cons_msg){
        .type = CONS_MSG_PROBE_RESULT,
        .group_id = probe->group_id,
        .from = probe->to,
        .to = probe->from,
        .term = p->term,
        .probe.number = probe->probe.number,
    };
    return true;
}
