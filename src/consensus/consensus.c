/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/consensus.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"
#include "consensus/consensus_internal.h"

enum {
    DEFAULT_INFLIGHT_ENTRIES = 2048,
    DEFAULT_APPEND_BYTES = 512 << 10,
    DEFAULT_INFLIGHT_BYTES = 8 << 20,
    INSTALL_TIMEOUTS = 10, /* election timeouts to take a snapshot in */
};

/* --- life cycle */

static int options_check(const struct cons_options *o, struct err *err)
{
    if (o->replica_id == 0 || o->replica_id > CONS_ID_MAX)
        return err_set(err, ERR_INVALID, "replica id out of range");
    if (o->store_id == 0 || o->store_id > CONS_ID_MAX)
        return err_set(err, ERR_INVALID, "store id out of range");
    if (o->heartbeat_ms == 0 || o->election_timeout_ms <= o->heartbeat_ms)
        return err_set(err, ERR_INVALID, "election timeout %u ms must be over heartbeat %u ms > 0",
                       o->election_timeout_ms, o->heartbeat_ms);
    if (o->max_inflight_entries > CONS_APPEND_ENTRIES_MAX)
        return err_set(err, ERR_INVALID, "window of %u entries, limit %d", o->max_inflight_entries,
                       CONS_APPEND_ENTRIES_MAX);
    if (o->lease_ms > o->election_timeout_ms || o->hold_ms > o->election_timeout_ms)
        return err_set(err, ERR_INVALID, "lease of %u ms is over the election timeout of %u ms",
                       MAX(o->lease_ms, o->hold_ms), o->election_timeout_ms);
    if (o->drift_ppm > CONS_DRIFT_PPM_MAX)
        return err_set(err, ERR_INVALID, "clock drift of %u ppm, limit %d", o->drift_ppm,
                       CONS_DRIFT_PPM_MAX);
    ASSERT(o->ops != NULL);
    return 0;
}

int consensus_new(struct consensus **ret_c, const struct cons_options *opts, struct err *err)
{
    int rv = options_check(opts, err);
    if (rv != 0)
        return rv;
    struct consensus *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_set(err, ERR_NOMEM, "consensus of %zu bytes", sizeof *c);
    c->opts = *opts;
    if (c->opts.max_inflight_entries == 0)
        c->opts.max_inflight_entries = DEFAULT_INFLIGHT_ENTRIES;
    if (c->opts.append_bytes_max == 0)
        c->opts.append_bytes_max = DEFAULT_APPEND_BYTES;
    if (c->opts.inflight_bytes_max == 0)
        c->opts.inflight_bytes_max = DEFAULT_INFLIGHT_BYTES;
    c->state = CONS_FOLLOWER;
    reads_init(&c->reads, opts->seed);
    snprintf(c->address, sizeof c->address, "%llu", (unsigned long long)opts->store_id);
    if (raft_init(&c->raft, NULL, NULL, opts->replica_id, c->address) != 0) {
        free(c);
        return err_set(err, ERR_NOMEM, "library");
    }
    *ret_c = c;
    return 0;
}

void consensus_free(struct consensus *c)
{
    if (c == NULL)
        return;
    ASSERT(!c->is_inside);
    raft_close(&c->raft, NULL);
    writes_fini(&c->writes);
    configs_fini(&c->configs);
    outbox_fini(&c->outbox);
    asks_fini(c);
    peers_clear(c);
    free(c->install);
    free(c);
}

void consensus_break(struct consensus *c, int status, const char *reason)
{
    if (c->broken == NULL) {
        c->broken = reason;
        c->broken_status = status;
    }
    reads_fail(c, ERR_UNAVAILABLE);
}

bool consensus_enter_quietly(struct consensus *c, uint64_t now_ms)
{
    ASSERT(!c->is_inside);
    if (!c->is_started || (c->broken != NULL && guard_on(c, GUARD_BREAK)))
        return false;
    uint64_t now = now_ms + (uint64_t)c->shift_ms;
    if (!c->is_asleep && (now > c->now_ms || !guard_on(c, GUARD_CLOCK)))
        c->now_ms = now;
    c->real_ms = MAX(c->real_ms, now_ms);
    c->is_inside = true;
    return true;
}

bool consensus_enter(struct consensus *c, uint64_t now_ms)
{
    if (c->is_asleep)
        sleep_end(c, now_ms);
    return consensus_enter_quietly(c, now_ms);
}

/* A sole voter is elected without a barrier: an entry of our own term must be there
 * before anything is served or changed (T7b). */
static void leader_ensure_barrier(struct consensus *c)
{
    if (c->state != CONS_LEADER || c->has_barrier || !guard_on(c, GUARD_T7B))
        return;
    c->has_barrier = true;
    if (log_term_at(c, c->lead_index) == c->term)
        return;
    struct slice none = {0};
    if (submit_entries(c, CONS_BARRIER, &none, 1) != 0) {
        consensus_break(c, ERR_NOMEM, "no barrier at election");
        return;
    }
    c->lead_index = log_last_index(c);
}

void consensus_leave(struct consensus *c)
{
    ASSERT(c->is_inside);
    if (c->broken == NULL)
        leader_ensure_barrier(c);
    if (c->broken == NULL)
        transfer_advance(c);
    if (c->broken == NULL)
        reads_advance(c);
    c->is_inside = false;
    reads_deliver(c);
}

/* --- start */

/* Before the first step: some have no usable default. */
static void start_settings(struct consensus *c)
{
    const struct cons_options *o = &c->opts;
    struct raft *r = &c->raft;

    if (guard_on(c, GUARD_HEAP))
        library_use_heap();
    if (guard_on(c, GUARD_TRACER))
        r->tracer = NULL; /* the default one formats every message into static buffers */
    if (guard_on(c, GUARD_SEED))
        raft_seed(r, (unsigned)(o->seed ^ o->seed >> 32));
    raft_set_election_timeout(r, o->election_timeout_ms);
    raft_set_heartbeat_timeout(r, o->heartbeat_ms);
    /* If its description is lost, and our snapshot has moved on meanwhile, the library
     * hears no refusal that it understands and waits this long. */
    raft_set_install_snapshot_timeout(r, INSTALL_TIMEOUTS * o->election_timeout_ms);
    raft_set_pre_vote(r, !o->no_pre_vote && guard_on(c, GUARD_PRE_VOTE));
    if (guard_on(c, GUARD_WINDOW))
        raft_set_max_inflight_entries(r, o->max_inflight_entries);
}

static int corrupt(struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "start of a replica: %s", what);
}

static int start_check_base(const struct cons_start *s, struct err *err)
{
    const struct cons_base *b = &s->base;
    if (s->term > CONS_ID_MAX || s->last_index > CONS_ID_MAX)
        return corrupt(err, "term or index out of range");
    if (b->index == 0) {
        if (b->term != 0 || b->config.n != 0 || s->last_index + 1 != s->first_index)
            return corrupt(err, "a log without a base");
        return 0;
    }
    if (b->index < CONS_BASE_INDEX_MIN || b->term == 0 || b->term > s->term)
        return corrupt(err, "base index or term out of range");
    if (b->config_index == 0 || b->config_index > b->index)
        return corrupt(err, "configuration index out of range");
    if (cons_config_validate(&b->config, err) != 0)
        return err_wrap(err, ERR_CORRUPT, "start of a replica");
    if (s->first_index == 0 || s->first_index > b->index + 1)
        return corrupt(err, "a gap between base and log");
    if (s->last_index < b->index || s->last_index + 1 < s->first_index)
        return corrupt(err, "log ends below the applied state");
    return 0;
}

static int start_check_log(const struct consensus *c, const struct cons_start *s, struct err *err)
{
    uint64_t before = 0;
    for (uint64_t i = s->first_index; i <= s->last_index && s->base.index != 0; i++) {
        uint64_t term = c->opts.ops->log_term(c->opts.ctx, i);
        if (term == 0 || term < before || term > s->term)
            return corrupt(err, "log has a hole, or its terms fall or exceed the current one");
        if (i == s->base.index && term != s->base.term)
            return corrupt(err, "log and applied state disagree");
        before = term;
    }
    return 0;
}

/* Note the configurations above the base. */
static int start_configs(struct consensus *c, const struct cons_start *s, struct err *err)
{
    uint64_t before = 0;
    configs_init(&c->configs, &s->base);
    for (size_t i = 0; i < s->n_changes; i++) {
        const struct cons_change *ch = &s->changes[i];
        struct cons_config config;
        if (ch->index <= before || ch->index < s->first_index || ch->index > s->last_index)
            return corrupt(err, "changes out of order");
        before = ch->index;
        if (ch->index <= s->base.index)
            continue;
        if (!guard_on(c, GUARD_R15) && configs_decode(c, ch->data, &config, NULL) != 0)
            continue;
        if (configs_decode(c, ch->data, &config, err) != 0)
            return err_wrap(err, ERR_CORRUPT, "start of a replica: change at %llu",
                            (unsigned long long)ch->index);
        if (configs_append(&c->configs, ch->index, &config) != 0)
            return err_set(err, ERR_NOMEM, "configurations");
    }
    return 0;
}

/* The library reads term and type of each entry, and the bytes of changes. The array
 * is ours again on success, and gone on failure. */
static struct raft_entry *start_entries(struct consensus *c, const struct cons_start *s)
{
    uint64_t n = s->last_index + 1 - s->first_index;
    struct raft_entry *entries = raft_calloc(n + 1, sizeof *entries);
    if (entries == NULL)
        return NULL;
    for (uint64_t i = 0; i < n; i++) {
        entries[i].term = c->opts.ops->log_term(c->opts.ctx, s->first_index + i);
        entries[i].type = RAFT_COMMAND;
    }
    for (size_t i = 0; i < s->n_changes; i++) {
        struct raft_entry *e = &entries[s->changes[i].index - s->first_index];
        e->type = RAFT_CHANGE;
        e->buf.base = (void *)(uintptr_t)s->changes[i].data.data;
        e->buf.len = s->changes[i].data.len;
    }
    return entries;
}

/* As the only voter we will lead at once: in a term of our own, in which we cannot have
 * voted for another (T-solo). */
static void start_solo_term(struct consensus *c, uint64_t *term, uint64_t *vote)
{
    const struct cons_config *config = &configs_latest(&c->configs)->config;
    if (!cons_config_is_sole_voter(config, c->opts.replica_id) || !guard_on(c, GUARD_TSOLO))
        return;
    *term += 1;
    *vote = c->opts.replica_id;
    uint64_t id = writes_push(&c->writes, *term, 0, 0);
    struct cons_write write = {.id = id, .has_hard_state = true, .term = *term, .vote = *vote};
    if (id == 0)
        consensus_break(c, ERR_NOMEM, "out of memory");
    else
        c->opts.ops->persist(c->opts.ctx, &write);
}

/* `base`: as the library is to see it. */
static int start_step(struct consensus *c, const struct cons_start *s, const struct cons_base *base,
                      uint64_t term, uint64_t vote)
{
    struct raft_snapshot_metadata meta;
    struct raft_event event = step_make(c, RAFT_START);

    event.start.term = term;
    event.start.voted_for = vote;
    event.start.start_index = s->base.index == 0 ? 1 : s->first_index;
    if (s->base.index != 0) {
        if (library_metadata_make(base, &meta) != 0)
            return RAFT_NOMEM;
        event.start.metadata = &meta;
    }
    struct raft_entry *entries = start_entries(c, s);
    if (entries == NULL) {
        if (s->base.index != 0)
            raft_configuration_close(&meta.configuration);
        return RAFT_NOMEM;
    }
    event.start.n_entries = (unsigned)(s->last_index + 1 - s->first_index);
    event.start.entries = event.start.n_entries > 0 ? entries : NULL;
    int rv = step_event(c, &event, NULL);
    if (rv == 0 || event.start.entries == NULL)
        raft_free(entries);
    return rv;
}

/* The library lets nobody begin as a leader but the only voter: for that step all others are
 * learners. */
static int start_leading(struct consensus *c, const struct cons_start *s)
{
    struct cons_base alone = s->base;
    ASSERT(s->vote == c->opts.replica_id);
    for (uint32_t i = 0; i < alone.config.n; i++) {
        if (alone.config.members[i].replica_id != c->opts.replica_id)
            alone.config.members[i].role = CONS_LEARNER;
    }
    ASSERT(cons_config_is_sole_voter(&alone.config, c->opts.replica_id));
    int rv = start_step(c, s, &alone, s->term, s->vote);
    if (rv != 0)
        return rv;
    ASSERT(c->state == CONS_LEADER);
    ASSERT(c->term == s->term);
    library_config_set_roles(&c->raft.configuration, &s->base.config);
    library_config_set_roles(&c->raft.configuration_committed, &s->base.config);
    return 0;
}

int consensus_start(struct consensus *c, uint64_t now_ms, const struct cons_start *s,
                    struct err *err)
{
    return consensus_start_as(c, now_ms, s, false, err);
}

int consensus_start_as(struct consensus *c, uint64_t now_ms, const struct cons_start *s, bool leads,
                       struct err *err)
{
    uint64_t term = s->term;
    uint64_t vote = s->vote;

    ASSERT(!c->is_started);
    int rv = start_check_base(s, err);
    if (rv == 0)
        rv = start_check_log(c, s, err);
    if (rv == 0)
        rv = start_configs(c, s, err);
    if (rv != 0)
        return rv;
    start_settings(c);
    writes_init(&c->writes, c->opts.first_write_id, term, s->last_index);
    c->now_ms = now_ms;
    c->real_ms = now_ms;
    if (!PLANTED(votes_at_start))
        promise_hold(c, c->opts.hold_ms);
    c->commit = c->applied = s->base.index;
    c->is_started = true;
    c->is_inside = true;
    if (!leads)
        start_solo_term(c, &term, &vote);
    c->term = s->term;
    if (c->broken == NULL)
        rv = leads ? start_leading(c, s) : start_step(c, s, &s->base, term, vote);
    if (rv != 0)
        consensus_break(c, library_error(rv), "library refused to start");
    consensus_leave(c);
    if (c->broken == NULL)
        return 0;
    /* Only what is on disk can be damaged: a lack of memory says nothing of it. */
    return err_set(err, c->broken_status == ERR_NOMEM ? ERR_NOMEM : ERR_CORRUPT,
                   "start of a replica: %s", c->broken);
}

/* --- inputs */

void consensus_on_persisted(struct consensus *c, uint64_t now_ms, uint64_t write_id)
{
    if (!consensus_enter_quietly(c, now_ms))
        return;
    if (write_id > c->writes.durable_id && write_id < c->writes.next_id) {
        bool use_guard = guard_on(c, GUARD_T8) && !PLANTED(durable_index_stale);
        uint64_t last = writes_complete(&c->writes, write_id, use_guard);
        outbox_release(c);
        if (last > c->raft.last_stored && !(c->is_installing && use_guard)) {
            struct raft_event event = step_make(c, RAFT_PERSISTED_ENTRIES);
            event.persisted_entries.index = last;
            step_event(c, &event, NULL);
        }
    }
    consensus_leave(c);
}

void consensus_on_applied(struct consensus *c, uint64_t now_ms, uint64_t index)
{
    if (!consensus_enter_quietly(c, now_ms))
        return;
    ASSERT(index >= c->applied);
    ASSERT(index <= c->commit);
    c->applied = index;
    consensus_leave(c);
}

void consensus_tick(struct consensus *c, uint64_t now_ms)
{
    if (c->is_asleep || !consensus_enter(c, now_ms))
        return;
    reads_expire(c, now_ms);
    step_timeout(c);
    peers_forgive(c);
    outbox_pay_all(c);
    consensus_leave(c);
}

void consensus_flush(struct consensus *c, uint64_t now_ms)
{
    bool is_idle = c->is_asleep && c->reads.n == 0;
    if (is_idle || !consensus_enter(c, now_ms))
        return;
    consensus_leave(c);
}

void consensus_set_candidacy(struct consensus *c, bool may_stand)
{
    c->is_abstaining = !may_stand;
}

void consensus_campaign(struct consensus *c, uint64_t now_ms)
{
    if (!consensus_enter(c, now_ms))
        return;
    if (c->state != CONS_LEADER && raft_role(&c->raft) == RAFT_VOTER) {
        uint64_t due = raft_timeout(&c->raft);
        if (due > c->now_ms) { /* a promise that stands is kept all the same */
            c->shift_ms += (int64_t)(due - c->now_ms);
            c->now_ms = due;
        }
        step_timeout(c);
    }
    consensus_leave(c);
}

/* --- queries */

uint64_t consensus_next_timeout(const struct consensus *c, uint64_t now_ms)
{
    if (!c->is_started || c->broken != NULL || c->is_asleep)
        return UINT64_MAX;
    uint64_t at = raft_timeout(&c->raft);
    if (c->state != CONS_LEADER && c->promised_until_ms > now_ms)
        at = MAX(at, c->promised_until_ms + (uint64_t)c->shift_ms);
    at = MIN(at, reads_next_timeout(c));
    if (c->transfer.target != 0 && !c->transfer.is_stepped)
        at = MIN(at, c->transfer.since_ms + c->opts.election_timeout_ms);
    if (at == UINT64_MAX)
        return at;
    int64_t due_ms = (int64_t)at - c->shift_ms;
    at = due_ms > 0 ? (uint64_t)due_ms : 0;
    return guard_on(c, GUARD_TIMER) ? MAX(at, now_ms + 1) : at;
}

uint64_t log_last_index(const struct consensus *c)
{
    return raft_last_index((struct raft *)(uintptr_t)&c->raft); /* reads only */
}

uint64_t log_term_at(const struct consensus *c, uint64_t index)
{
    if (index == 0)
        return 0;
    if (index == c->raft.trail.snapshot.index)
        return c->raft.trail.snapshot.term;
    if (c->is_installing)
        return 0;
    return c->opts.ops->log_term(c->opts.ctx, index);
}

uint64_t consensus_term(const struct consensus *c)
{
    return c->term;
}

bool consensus_is_leader(const struct consensus *c)
{
    return c->state == CONS_LEADER && c->broken == NULL;
}

uint64_t consensus_leader(const struct consensus *c, uint64_t *ret_store_id)
{
    const struct cons_member *m = cons_config_find(&configs_latest(&c->configs)->config, c->leader);
    if (ret_store_id != NULL)
        *ret_store_id = m != NULL ? m->store_id : 0;
    return c->leader;
}

uint64_t consensus_commit(const struct consensus *c)
{
    return c->commit;
}

uint64_t consensus_last_index(const struct consensus *c)
{
    return log_last_index(c);
}

uint64_t consensus_apply_limit(const struct consensus *c)
{
    if (guard_on(c, GUARD_T7) && c->is_installing)
        return c->applied; /* what commit names may not be there */
    if (!guard_on(c, GUARD_T7))
        return c->commit;
    if (PLANTED(applied_uncommitted))
        return MAX(c->applied, (uint64_t)c->raft.last_stored);
    return MAX(c->applied, MIN(c->commit, (uint64_t)c->raft.last_stored));
}

const struct cons_config *consensus_config(const struct consensus *c, uint64_t *ret_index)
{
    const struct cons_config_at *at = configs_latest(&c->configs);
    if (ret_index != NULL)
        *ret_index = at->index;
    return &at->config;
}

const struct cons_config *consensus_config_at(const struct consensus *c, uint64_t index,
                                              uint64_t *ret_config_index)
{
    const struct cons_config_at *at = configs_at(&c->configs, index);
    if (ret_config_index != NULL)
        *ret_config_index = at->index;
    return &at->config;
}

bool consensus_needs_reopen(const struct consensus *c, const char **ret_reason)
{
    if (ret_reason != NULL && c->broken != NULL)
        *ret_reason = c->broken;
    return c->broken != NULL;
}

void consensus_give_up_lease(struct consensus *c)
{
    lease_give_up(c);
}

static void status_members(const struct consensus *c, struct cons_status *s)
{
    const struct cons_config *config = &configs_latest(&c->configs)->config;
    s->n_members = config->n;
    for (uint32_t i = 0; i < config->n; i++) {
        const struct cons_member *m = &config->members[i];
        const struct cons_peer *p = peer_find(c, m->replica_id);
        s->members[i] = (struct cons_member_status){
            .replica_id = m->replica_id,
            .store_id = m->store_id,
            .role = m->role,
            .match = peer_match(c, m->replica_id),
            .is_live = peer_is_live(c, m->replica_id),
            .is_streaming = p != NULL && p->is_streaming,
        };
    }
}

void consensus_status(const struct consensus *c, struct cons_status *ret_status)
{
    const struct raft *r = &c->raft;
    struct cons_status s = {
        .replica_id = c->opts.replica_id,
        .group_id = c->opts.group_id,
        .state = c->state,
        .term = c->term,
        .durable_term = c->writes.durable_term,
        .vote = raft_voted_for(r),
        .leader = c->leader,
        .commit = c->commit,
        .applied = c->applied,
        .last_index = log_last_index(c),
        .last_stored = r->last_stored,
        .snapshot_index = r->trail.snapshot.index,
        .log_floor = r->trail.offset,
        .config_index = configs_latest(&c->configs)->index,
        .config_committed_index = configs_at(&c->configs, c->commit)->index,
        .transferee = c->transfer.target,
        .has_told_to_stand = c->term > 0 && c->told_term == c->term,
        .is_installing = c->is_installing,
        .is_ready = leader_is_ready(c),
        .reads_waiting = c->reads.n,
        .messages_held = c->outbox.n,
        .messages_dropped = c->n_dropped,
        .messages_invalid = c->n_invalid,
    };
    status_members(c, &s);
    *ret_status = s;
}

/* --- invariants */

static void check_leader(const struct consensus *c)
{
    const struct cons_config *config = &configs_latest(&c->configs)->config;
    uint32_t others = config->n - (cons_config_find(config, c->opts.replica_id) != NULL);
    if (c->state != CONS_LEADER) {
        ASSERT(c->peers == NULL);
        ASSERT(c->transfer.target == 0);
        return;
    }
    ASSERT(c->lead_index > 0);
    ASSERT(!c->is_installing);
    ASSERT(c->n_peers == others);
    for (uint32_t i = 0; i < c->n_peers; i++)
        ASSERT(cons_config_find(config, c->peers[i].id) != NULL);
}

void consensus_check(const struct consensus *c)
{
    const struct raft *r = &c->raft;
    ASSERT(!c->is_inside);
    if (!c->is_started || c->broken != NULL)
        return;
    uint64_t last = log_last_index(c);
    ASSERT(c->term == raft_current_term(r));
    ASSERT(c->writes.durable_term <= c->term);
    ASSERT(c->applied <= c->commit);
    ASSERT(c->outbox.n <= CONS_HELD_MAX);
    ASSERT(!c->is_asleep || c->writes.n == 0);
    for (uint32_t i = 0; i < c->outbox.n; i++)
        ASSERT(c->outbox.held[i].gate > c->writes.durable_id);
    if (!c->is_installing) {
        ASSERT(c->commit <= last);
        ASSERT(r->last_stored <= last);
        ASSERT(r->last_stored <= c->writes.durable_last);
        ASSERT(last == 0 || log_term_at(c, last) != 0);
        ASSERT(log_term_at(c, last) <= c->term);
        ASSERT(library_config_equal(&r->configuration, &configs_latest(&c->configs)->config));
    }
    check_leader(c);
}
