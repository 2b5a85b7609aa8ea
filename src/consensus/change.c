/* SPDX-License-Identifier: Apache-2.0
 *
 * change — what a leader puts into the log: commands, barriers, changes of membership;
 * and how it hands leadership over.
 *
 * The rules for a change (README.md, Membership): one at a time, after an entry of the
 * own term is applied (T7b); one member each, order kept, a new one at the end
 * (TSIZE); alone in its SUBMIT (T15); every live voter holds the last one, or has not
 * taken it for so long that it counts as dead; a majority of the resulting voters is live
 * as the leader itself sees it, and has answered since it last woke; nobody is demoted; a leader
 * never removes itself (TSELF): it hands over, and its successor does.
 */
#include <stdlib.h>

#include "consensus/consensus_internal.h"

enum {
    SUBMIT_ENTRIES_ON_STACK = 16,
    WINDOW_MIN = 4,
    CHANGE_PATIENCE = 10, /* election time-outs that a live voter is given to take a change … */
    CHANGE_PATIENCE_MS = 20000, /* … at most */
};

bool leader_is_ready(const struct consensus *c)
{
    return c->state == CONS_LEADER && c->lead_index > 0 && c->commit >= c->lead_index;
}

/* The library bounds what is in flight by entries, we by bytes: with large entries the
 * window must be small, or most of it is dropped at the byte bound. */
static void window_adjust(struct consensus *c, const struct slice *data, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += data[i].len;
    c->entry_bytes = (c->entry_bytes * 7 + bytes / n) / 8 + 1;
    uint64_t window = MAX(c->opts.inflight_bytes_max / c->entry_bytes, WINDOW_MIN);
    window = MIN(window, (uint64_t)c->opts.max_inflight_entries);
    if (guard_on(c, GUARD_WINDOW))
        raft_set_max_inflight_entries(&c->raft, (unsigned)window);
}

static int submit_array(struct consensus *c, struct raft_entry *entries, uint32_t n)
{
    void *token = raft_malloc(1);
    if (token == NULL)
        return RAFT_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        entries[i].term = raft_current_term(&c->raft);
        entries[i].batch = token;
    }
    struct raft_event event = step_make(c, RAFT_SUBMIT);
    event.submit.entries = entries;
    event.submit.n = n;
    int rv = step_event(c, &event, NULL);
    if (rv != 0)
        raft_free(token);
    return rv;
}

int submit_entries(struct consensus *c, enum cons_entry_type type, const struct slice *data,
                   uint32_t n)
{
    struct raft_entry few[SUBMIT_ENTRIES_ON_STACK];
    struct raft_entry *entries = few;

    ASSERT(n > 0 && n <= CONS_PROPOSE_MAX);
    if (n > SUBMIT_ENTRIES_ON_STACK) {
        entries = malloc(n * sizeof *entries);
        if (entries == NULL)
            return RAFT_NOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        entries[i] = (struct raft_entry){
            .type = (enum raft_entry_type)type,
            .buf = {.base = (void *)(uintptr_t)data[i].data, .len = data[i].len},
        };
    }
    window_adjust(c, data, n);
    int rv = submit_array(c, entries, n);
    if (entries != few)
        free(entries);
    return rv;
}

/* Is there nothing that must be over before more is appended? */
static bool has_turn_to_propose(const struct consensus *c)
{
    return c->transfer.target == 0 && !writes_is_full(&c->writes) &&
           log_last_index(c) + 1 - c->commit <= CONS_UNCOMMITTED_MAX;
}

bool consensus_may_propose(const struct consensus *c)
{
    return c->broken == NULL && c->state == CONS_LEADER && has_turn_to_propose(c);
}

int consensus_propose(struct consensus *c, uint64_t now_ms, const struct slice *data, uint32_t n,
                      uint64_t *ret_first_index)
{
    int rv = 0;
    ASSERT(n > 0);
    ASSERT(n <= CONS_PROPOSE_MAX);
    if (!consensus_enter(c, now_ms))
        return ERR_STATE;
    uint64_t first = log_last_index(c) + 1;
    if (c->state != CONS_LEADER)
        rv = ERR_NOT_LEADER;
    else if (!has_turn_to_propose(c))
        rv = ERR_BUSY;
    if (rv == 0)
        rv = library_error(submit_entries(c, CONS_COMMAND, data, n));
    if (rv == 0)
        *ret_first_index = first;
    consensus_leave(c);
    return rv;
}

/* --- changes */

int change_check_shape(const struct cons_config *from, const struct cons_config *to,
                       struct err *err)
{
    uint32_t promoted = 0;
    uint32_t skipped = 0;
    if (cons_config_validate(to, err) != 0)
        return ERR_INVALID;
    uint32_t i = 0;
    for (uint32_t k = 0; k < from->n; k++) {
        const struct cons_member *m = &from->members[k];
        if (i >= to->n || to->members[i].replica_id != m->replica_id) {
            skipped++;
            continue;
        }
        if (to->members[i].store_id != m->store_id || to->members[i].role < m->role)
            return err_set(err, ERR_INVALID, "a member moved or was demoted");
        promoted += to->members[i].role != m->role;
        i++;
    }
    uint32_t added = to->n - i;
    if (added + skipped + promoted != 1)
        return err_set(err, ERR_INVALID, "a change is one member added, promoted or removed");
    return 0;
}

int change_submit(struct consensus *c, const struct cons_config *config, uint64_t *ret_index,
                  struct err *err)
{
    uint8_t bytes[CONS_CONFIG_LEN_MAX];
    uint64_t index = log_last_index(c) + 1;

    if (guard_on(c, GUARD_TSIZE) && guard_on(c, GUARD_T14)) {
        int rv = change_check_shape(&configs_latest(&c->configs)->config, config, err);
        if (rv != 0)
            return rv;
    }
    struct slice data = slice_of(bytes, cons_config_encode(config, bytes));
    if (!guard_on(c, GUARD_T15)) {
        struct raft_entry entries[2] = {{.type = RAFT_BARRIER}, {.type = RAFT_CHANGE}};
        entries[1].buf = (struct raft_buffer){.base = bytes, .len = data.len};
        return library_error(submit_array(c, entries, ARRAY_LEN(entries)));
    }
    if (c->raft.configuration_uncommitted_index != 0)
        return err_set(err, ERR_BUSY, "another change is not committed yet");
    int rv = library_error(submit_entries(c, CONS_CHANGE, &data, 1));
    if (rv != 0)
        return rv;
    c->change_ms = c->now_ms;
    *ret_index = index;
    return 0;
}

bool consensus_is_admin_ready(const struct consensus *c)
{
    if (c->broken != NULL || c->state != CONS_LEADER || c->transfer.target != 0)
        return false;
    if (guard_on(c, GUARD_T7B) && (!leader_is_ready(c) || c->applied < c->lead_index))
        return false;
    if (guard_on(c, GUARD_ADMIN) && configs_latest(&c->configs)->index > c->applied)
        return false;
    return !guard_on(c, GUARD_T7B) || c->raft.configuration_uncommitted_index == 0;
}

/* A voter that is alive and takes nothing (its disk is full, a snapshot fails) must not keep its
 * own replacement off. */
static bool change_is_waited_for(const struct consensus *c)
{
    uint64_t since_ms = MAX(c->lead_ms, c->change_ms);
    ASSERT(c->now_ms >= since_ms);
    uint64_t patience_ms = (uint64_t)CHANGE_PATIENCE * c->opts.election_timeout_ms;
    return c->now_ms - since_ms < MIN(patience_ms, (uint64_t)CHANGE_PATIENCE_MS);
}

/* Every live voter holds the last change, and enough of the resulting voters live. */
static int change_check_live(const struct consensus *c, const struct cons_config *to,
                             struct err *err)
{
    const struct cons_config_at *at = configs_latest(&c->configs);
    uint32_t voters = cons_config_voters(to);
    uint32_t live = 0;
    uint32_t sure = 0;

    if (!guard_on(c, GUARD_LIVE))
        return 0;
    for (uint32_t i = 0; i < at->config.n && change_is_waited_for(c); i++) {
        const struct cons_member *m = &at->config.members[i];
        if (m->role == CONS_VOTER && peer_is_live(c, m->replica_id) &&
            peer_match(c, m->replica_id) < at->index)
            return err_set(err, ERR_BUSY, "replica %llu lacks the last change",
                           (unsigned long long)m->replica_id);
    }
    for (uint32_t i = 0; i < to->n; i++) {
        const struct cons_member *m = &to->members[i];
        bool counts = m->role == CONS_VOTER && peer_match(c, m->replica_id) >= at->index;
        live += counts && peer_is_live(c, m->replica_id);
        sure += counts && peer_is_surely_live(c, m->replica_id);
    }
    if (live <= voters / 2)
        return err_set(err, ERR_BUSY,
                       "only %u of %u resulting voters live and hold the last change", live,
                       voters);
    if (sure <= voters / 2)
        return err_set(err, ERR_BUSY,
                       "only %u of %u resulting voters have answered since the group woke", sure,
                       voters);
    return 0;
}

static int change_add(struct cons_config *to, uint64_t replica_id, uint64_t store_id,
                      struct err *err)
{
    if (to->n == CONS_MEMBERS_MAX)
        return err_set(err, ERR_INVALID, "%d members already, the limit", CONS_MEMBERS_MAX);
    for (uint32_t i = 0; i < to->n; i++) {
        if (to->members[i].replica_id == replica_id || to->members[i].store_id == store_id)
            return err_set(err, ERR_EXISTS, "replica or store is a member already");
    }
    to->members[to->n++] =
        (struct cons_member){.replica_id = replica_id, .store_id = store_id, .role = CONS_LEARNER};
    return 0;
}

static int change_promote(const struct consensus *c, struct cons_config *to, uint64_t replica_id,
                          struct err *err)
{
    for (uint32_t i = 0; i < to->n; i++) {
        struct cons_member *m = &to->members[i];
        if (m->replica_id != replica_id)
            continue;
        if (m->role == CONS_VOTER)
            return err_set(err, ERR_EXISTS, "replica votes already");
        m->role = CONS_VOTER;
        uint64_t match = peer_match(c, replica_id);
        bool is_near = match >= c->raft.trail.offset && /* and does not wait for a snapshot */
                       log_last_index(c) - match <= CONS_PROMOTE_LAG_MAX;
        if (guard_on(c, GUARD_LIVE) && (!peer_is_surely_live(c, replica_id) || !is_near))
            return err_set(err, ERR_BUSY, "learner is not caught up or not heard of");
        return 0;
    }
    return err_set(err, ERR_NOT_FOUND, "no such member");
}

static int change_remove(struct consensus *c, struct cons_config *to, uint64_t replica_id,
                         struct err *err)
{
    uint32_t i = 0;
    while (i < to->n && to->members[i].replica_id != replica_id)
        i++;
    if (i == to->n)
        return err_set(err, ERR_NOT_FOUND, "no such member");
    if (cons_config_is_sole_voter(to, replica_id))
        return err_set(err, ERR_INVALID, "the last voter cannot be removed");
    if (replica_id == c->opts.replica_id && guard_on(c, GUARD_TSELF))
        return err_set(err, ERR_BUSY, "the leader must hand over first");
    to->n--;
    memmove(&to->members[i], &to->members[i + 1], (to->n - i) * sizeof to->members[0]);
    return 0;
}

static int change_propose(struct consensus *c, enum cons_change_kind kind, uint64_t replica_id,
                          uint64_t store_id, uint64_t *ret_index, struct err *err)
{
    struct cons_config to = configs_latest(&c->configs)->config;
    int rv;

    if (c->state != CONS_LEADER)
        return err_set(err, ERR_NOT_LEADER, "not the leader");
    if (!consensus_is_admin_ready(c) || writes_is_full(&c->writes))
        return err_set(err, ERR_BUSY,
                       "an entry of this term or an earlier change is not applied yet, or "
                       "leadership is handed over");
    switch (kind) {
    case CONS_ADD_LEARNER:
        rv = change_add(&to, replica_id, store_id, err);
        break;
    case CONS_PROMOTE:
        rv = change_promote(c, &to, replica_id, err);
        break;
    case CONS_REMOVE:
        rv = change_remove(c, &to, replica_id, err);
        break;
    default:
        return err_set(err, ERR_INVALID, "unknown kind of change");
    }
    if (rv == 0)
        rv = cons_config_validate(&to, err);
    if (rv == 0)
        rv = change_check_live(c, &to, err);
    if (rv == 0)
        rv = change_submit(c, &to, ret_index, err);
    return rv;
}

int consensus_propose_change(struct consensus *c, uint64_t now_ms, enum cons_change_kind kind,
                             uint64_t replica_id, uint64_t store_id, uint64_t *ret_index,
                             struct err *err)
{
    if (!consensus_enter(c, now_ms))
        return ERR_STATE;
    int rv = change_propose(c, kind, replica_id, store_id, ret_index, err);
    consensus_leave(c);
    return rv;
}

/* --- handing over */

/* The live voter that has most of the log, other than ourselves; 0 if none. */
static uint64_t transfer_choose(const struct consensus *c)
{
    const struct cons_config *config = &configs_latest(&c->configs)->config;
    uint64_t best = 0;
    uint64_t best_match = 0;
    for (uint32_t i = 0; i < config->n; i++) {
        uint64_t id = config->members[i].replica_id;
        if (config->members[i].role != CONS_VOTER || id == c->opts.replica_id)
            continue;
        if (!peer_is_live(c, id) || (best != 0 && peer_match(c, id) <= best_match))
            continue;
        best = id;
        best_match = peer_match(c, id);
    }
    return best;
}

void transfer_advance(struct consensus *c)
{
    struct cons_transfer *t = &c->transfer;

    if (t->target == 0 || c->broken != NULL)
        return;
    if (t->is_stepped) {
        if (raft_transferee(&c->raft) == 0)
            *t = (struct cons_transfer){0}; /* the library gave up */
        return;
    }
    /* The library would send TIMEOUT_NOW once, too early, and then block (R16). */
    if (peer_match(c, t->target) == log_last_index(c) || !guard_on(c, GUARD_R16)) {
        struct raft_event event = step_make(c, RAFT_TRANSFER);
        event.transfer.server_id = t->target;
        t->is_stepped = true;
        c->told_term = c->term;
        if (step_event(c, &event, NULL) != 0)
            *t = (struct cons_transfer){0};
        return;
    }
    if (c->now_ms - t->since_ms >= c->opts.election_timeout_ms)
        *t = (struct cons_transfer){0};
}

static int transfer_begin(struct consensus *c, uint64_t target)
{
    if (c->state != CONS_LEADER)
        return ERR_NOT_LEADER;
    if (c->transfer.target != 0)
        return ERR_BUSY;
    if (target == 0)
        target = transfer_choose(c);
    const struct cons_member *m = cons_config_find(&configs_latest(&c->configs)->config, target);
    if (m == NULL || m->role != CONS_VOTER || target == c->opts.replica_id ||
        !peer_is_live(c, target))
        return ERR_NOT_FOUND;
    lease_give_up(c); /* whom TIMEOUT_NOW reaches is voted for despite all promises */
    c->transfer = (struct cons_transfer){.target = target, .since_ms = c->now_ms};
    return 0;
}

int consensus_transfer(struct consensus *c, uint64_t now_ms, uint64_t target)
{
    if (!consensus_enter(c, now_ms))
        return ERR_STATE;
    int rv = transfer_begin(c, target);
    consensus_leave(c); /* takes the next step if the target has everything */
    return rv;
}
