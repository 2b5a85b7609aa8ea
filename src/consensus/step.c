/* SPDX-License-Identifier: Apache-2.0
 *
 * step — one raft_step() and what must follow it, in this order:
 *
 *   1. term, vote and entries go to persist() as one write; messages wait for it
 *      where they depend on a term or vote in it (outbox.c)
 *   2. a snapshot to install is handed to the owner; the library's log is gone now
 *   3. state, term and leader are told
 *   4. messages are repaired, filled from our log and sent
 *   5. the commit index rises; each CHANGE that it passes is stepped at once
 *
 * Memory: an entry's `batch` is a token that belongs to us after an update with
 * entries, and that the library has freed otherwise.
 */
#include <stdlib.h>

#include "base/plant.h"
#include "consensus/consensus_internal.h"

enum { STEP_ENTRIES_ON_STACK = 32 };

struct raft_event step_make(const struct consensus *c, enum raft_event_type type)
{
    struct raft_event event;
    memset(&event, 0, sizeof event); /* the library reads padding: capacity and the like */
    event.time = c->now_ms;
    event.type = type;
    return event;
}

/* The configurations in the new entries act from now on. */
static int step_configs(struct consensus *c, uint64_t first, const struct cons_entry *entries,
                        uint32_t n)
{
    uint32_t before = c->configs.n;
    configs_truncate(&c->configs, first);
    if (c->configs.n != before)
        c->configs.is_told = false; /* another CHANGE may now stand at the same index */
    for (uint32_t i = 0; i < n; i++) {
        struct cons_config config;
        if (entries[i].type != CONS_CHANGE)
            continue;
        int rv = configs_decode(c, entries[i].data, &config, NULL);
        if (rv == 0)
            rv = configs_append(&c->configs, first + i, &config);
        if (rv != 0)
            return rv; /* validated before: only memory can fail */
        if (c->state == CONS_LEADER)
            rv = peers_rebuild(c);
        if (rv != 0)
            return rv;
    }
    return 0;
}

/* Hand hard state and entries to the owner as one write. */
static void step_persist(struct consensus *c, bool has_hard_state, uint64_t first,
                         const struct cons_entry *entries, uint32_t n)
{
    uint64_t term = raft_current_term(&c->raft);
    ASSERT(n == 0 || first > c->commit); /* what is committed stays */
    uint64_t id = writes_push(&c->writes, has_hard_state ? term : 0, first, n);
    if (id == 0) {
        consensus_break(c, ERR_BUSY, "too many writes under way");
        return;
    }
    uint64_t last = n > 0 ? first + n - 1 : log_last_index(c);
    struct cons_write write = {
        .id = id,
        .has_hard_state = has_hard_state,
        .term = term,
        .vote = PLANTED(vote_not_persisted) ? 0 : raft_voted_for(&c->raft),
        .first_index = n > 0 ? first : 0,
        .entries = entries,
        .n = n,
        .commit_hint = c->is_installing ? 0 : MIN(c->commit, last),
    };
    c->opts.ops->persist(c->opts.ctx, &write);
}

static void step_write_entries(struct consensus *c, const struct raft_update *u,
                               bool has_hard_state)
{
    struct cons_entry few[STEP_ENTRIES_ON_STACK];
    struct cons_entry *entries = few;
    uint32_t n = u->entries.n;

    ASSERT(n > 0);
    if (n > STEP_ENTRIES_ON_STACK) {
        entries = malloc(n * sizeof *entries);
        if (entries == NULL) {
            consensus_break(c, ERR_NOMEM, "out of memory");
            raft_free(u->entries.batch[0].batch);
            return;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct raft_entry *e = &u->entries.batch[i];
        entries[i] = (struct cons_entry){
            .term = e->term,
            .type = (enum cons_entry_type)e->type,
            .data = slice_of(e->buf.base, e->buf.len),
        };
        if (entries[i].type == CONS_BARRIER)
            entries[i].data = (struct slice){0}; /* the library's filler */
    }
    if (step_configs(c, u->entries.index, entries, n) != 0)
        consensus_break(c, ERR_NOMEM, "out of memory");
    step_persist(c, has_hard_state, u->entries.index, entries, n);
    raft_free(u->entries.batch[0].batch);
    if (entries != few)
        free(entries);
}

static enum cons_state step_state(struct consensus *c)
{
    switch (raft_state(&c->raft)) {
    case RAFT_LEADER:
        return CONS_LEADER;
    case RAFT_CANDIDATE:
        return CONS_CANDIDATE;
    default:
        return CONS_FOLLOWER;
    }
}

static void step_begin_leading(struct consensus *c)
{
    c->lead_index = log_last_index(c);
    c->lead_ms = c->now_ms;
    c->has_barrier = false;
    if (peers_rebuild(c) != 0)
        consensus_break(c, ERR_NOMEM, "out of memory");
}

static void step_end_leading(struct consensus *c)
{
    peers_clear(c);
    outbox_forget(c);
    c->transfer = (struct cons_transfer){0};
    c->lead_index = 0;
    reads_fail(c, ERR_NOT_LEADER);
}

void step_sync(struct consensus *c)
{
    enum cons_state state = step_state(c);
    uint64_t term = raft_current_term(&c->raft);
    raft_id leader = 0;
    const char *address = NULL;

    raft_leader(&c->raft, &leader, &address);
    if (state == CONS_LEADER)
        leader = c->opts.replica_id; /* the library says 0 while it hands over */
    if (state == c->state && term == c->term && leader == c->leader)
        return;
    ASSERT(term >= c->term);
    bool was_leader = c->state == CONS_LEADER;
    bool is_new_term = term != c->term;
    c->state = state;
    c->term = term;
    c->leader = leader;
    if (was_leader && (state != CONS_LEADER || is_new_term))
        step_end_leading(c);
    reads_restart(c);
    if (state == CONS_LEADER && (!was_leader || is_new_term))
        step_begin_leading(c);
    c->opts.ops->role_changed(c->opts.ctx, state, term, leader);
}

/* commit_old_term, commit_by_half, commit_counts_learners: other rules of counting than
 * the library's. */
static uint64_t planted_commit(const struct consensus *c)
{
    const struct cons_config *config = &configs_latest(&c->configs)->config;
    bool learners = PLANTED(commit_counts_learners);
    uint32_t wanted = cons_config_voters(config) / 2 + !PLANTED(commit_by_half);
    uint64_t found = 0;
    if (c->state != CONS_LEADER)
        return 0;
    for (uint32_t i = 0; i < config->n; i++) {
        uint64_t match = peer_match(c, config->members[i].replica_id);
        uint32_t n = 0;
        for (uint32_t k = 0; k < config->n; k++)
            n += (learners || config->members[k].role == CONS_VOTER) &&
                 peer_match(c, config->members[k].replica_id) >= match;
        bool is_own = PLANTED(commit_old_term) || log_term_at(c, match) == c->term;
        if (n >= wanted && is_own)
            found = MAX(found, match);
    }
    return found;
}

/* (C2): the library's own index can fall (R14). */
static void step_commit(struct consensus *c)
{
    uint64_t to = raft_commit_index(&c->raft);
    if (PLANTED(commit_old_term) || PLANTED(commit_by_half) || PLANTED(commit_counts_learners))
        to = MAX(to, planted_commit(c));
    uint64_t from = c->commit;

    if (guard_on(c, GUARD_T6) && to <= from)
        return;
    if ((c->is_installing && guard_on(c, GUARD_T7)) || to == from)
        return;
    c->commit = to;
    if (to > from) {
        configs_commit(c, from, to);
        c->opts.ops->committed(c->opts.ctx, from, c->commit);
    }
}

/* 1. and 2. of the list above. */
static void step_durable(struct consensus *c, const struct raft_event *event,
                         const struct raft_update *u)
{
    bool has_hard_state = (u->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) != 0;

    if (u->flags & (RAFT_UPDATE_ENTRIES))
        step_write_entries(c, u, has_hard_state);
    else if (has_hard_state)
        step_persist(c, true, 0, NULL, 0);
    if (u->flags & (RAFT_UPDATE_SNAPSHOT)) {
        ASSERT(event->type == RAFT_RECEIVE);
        snapshot_begin_install(c, &u->snapshot.metadata, event->receive.message->server_id);
        raft_configuration_close((struct raft_configuration *)&u->snapshot.metadata.configuration);
    }
}

/* 4. */
static void step_messages(struct consensus *c, const struct raft_event *event,
                          const struct raft_update *u, const struct cons_msg *source)
{
    if ((u->flags & (RAFT_UPDATE_MESSAGES)) == 0)
        return;
    for (unsigned i = 0; i < u->messages.n && c->broken == NULL; i++)
        outbox_library(c, &u->messages.batch[i], event, source);
}

static bool step_may_fail(enum raft_event_type type)
{
    return type == RAFT_SUBMIT || type == RAFT_TRANSFER;
}

int step_event(struct consensus *c, struct raft_event *event, const struct cons_msg *source)
{
    struct raft_update u;
    memset(&u, 0, sizeof u);
    ASSERT(c->broken == NULL || !guard_on(c, GUARD_BREAK));
    ASSERT(event->time == c->now_ms);

    int rv = raft_step(&c->raft, event, &u);
    if (rv != 0 && step_may_fail(event->type)) {
        ASSERT((u.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) == 0);
        return rv;
    }
    if (rv != 0) {
        /* Term and vote may have changed and would never be reported again. */
        if (u.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR))
            step_persist(c, true, 0, NULL, 0);
        consensus_break(c, library_error(rv), raft_strerror(rv));
        return rv;
    }
    if (!guard_on(c, GUARD_ORDER))
        step_messages(c, event, &u, source);
    step_durable(c, event, &u);
    step_sync(c);
    if (guard_on(c, GUARD_ORDER))
        step_messages(c, event, &u, source);
    if (c->broken == NULL)
        step_commit(c);
    if (c->broken == NULL)
        configs_tell(c);
    return 0;
}

/* A follower that is the only voter would lead in its present term, in which it may
 * have voted for another (T-solo): move to a new term of our own first. */
static void step_solo_term(struct consensus *c)
{
    struct raft *r = &c->raft;
    const struct cons_config *config = &configs_latest(&c->configs)->config;

    if (raft_state(r) != RAFT_FOLLOWER || !guard_on(c, GUARD_TSOLO))
        return;
    if (!cons_config_is_sole_voter(config, c->opts.replica_id))
        return;
    r->current_term += 1;
    r->voted_for = c->opts.replica_id;
    step_persist(c, true, 0, NULL, 0);
}

/* At each of a leader's time-outs the library takes a follower for silent that it has not heard
 * of since the one before, and sends entries to it with heartbeats alone. If their heartbeats
 * are not due together, that is any of them, however well (R27): what counts is an election
 * time-out. The majority that lets us lead on is judged by the same. */
static void step_contact(struct consensus *c)
{
    struct raft *r = &c->raft;
    uint64_t et_ms = c->opts.election_timeout_ms;
    if (c->state != CONS_LEADER || !guard_on(c, GUARD_CONTACT))
        return;
    ASSERT(r->election_timer_start <= c->now_ms);
    ASSERT(c->lead_ms <= c->now_ms);
    uint64_t since_ms = c->now_ms - MIN(c->now_ms, et_ms);
    r->election_timer_start = MAX(MIN(r->election_timer_start, since_ms), c->lead_ms);
}

void step_timeout(struct consensus *c)
{
    if (raft_timeout(&c->raft) > c->now_ms)
        return;
    const struct cons_config *config = &configs_latest(&c->configs)->config;
    bool is_sole = cons_config_is_sole_voter(config, c->opts.replica_id);
    if (c->state != CONS_LEADER && promise_stands(c) && !is_sole)
        return; /* standing is a vote, too */
    step_solo_term(c);
    if (c->broken != NULL)
        return;
    step_contact(c);
    struct raft_event event = step_make(c, RAFT_TIMEOUT);
    step_event(c, &event, NULL);
}
