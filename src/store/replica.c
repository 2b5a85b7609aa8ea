/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replica.h"

#include <stdlib.h>

#include "store/absorb.h"
#include "store/check.h"
#include "store/driver.h"
#include "store/merge.h"
#include "store/recover.h"
#include "store/service.h"
#include "store/store_internal.h"

enum {
    ENTRY_COMMANDS_MAX = 4096,
    REPLICA_BUSY_S = 100,   /* requests a second: where is remembered which keys */
    REPLICA_LATE_SHARE = 8, /* of an election time-out: so late, the loop stood still */
};

static const uint32_t replica_successors[] = {
    [REPLICA_REPLAYING] =
        BIT(REPLICA_RUNNING) | BIT(REPLICA_DAMAGED) | BIT(REPLICA_REMOVING) | BIT(REPLICA_ABSORBED),
    [REPLICA_BLANK] = BIT(REPLICA_REPLAYING) | BIT(REPLICA_INSTALLING) | BIT(REPLICA_DAMAGED) |
                      BIT(REPLICA_REMOVING),
    [REPLICA_RUNNING] = BIT(REPLICA_INSTALLING) | BIT(REPLICA_DAMAGED) | BIT(REPLICA_REMOVING) |
                        BIT(REPLICA_ABSORBED),
    [REPLICA_INSTALLING] = BIT(REPLICA_RUNNING) | BIT(REPLICA_BLANK) | BIT(REPLICA_DAMAGED),
    [REPLICA_DAMAGED] = BIT(REPLICA_REMOVING),
    [REPLICA_REMOVING] = 0,
    [REPLICA_ABSORBED] = BIT(REPLICA_REPLAYING) | BIT(REPLICA_MERGED) | BIT(REPLICA_DAMAGED),
    [REPLICA_MERGED] = 0,
};

/* One that runs tells the store itself; of one that is merged or removed while it replays, a
 * store that waits for it would not hear. */
static void leave_replay(struct store *store, bool is_running)
{
    ASSERT(store->replaying > 0);
    store->replaying--;
    if (is_running)
        return;
    store->has_left_replay = true;
    store_wake(store);
}

void replica_move(struct replica *r, enum replica_state to)
{
    ASSERT(replica_successors[r->state] & BIT(to));
    ASSERT(to != REPLICA_RUNNING || r->range != NULL);
    ASSERT(to != REPLICA_RUNNING || r->cons != NULL || r->nap.parked != NULL);
    ASSERT(to != REPLICA_BLANK || r->range == NULL);
    r->store->replaying += to == REPLICA_REPLAYING;
    if (r->state == REPLICA_REPLAYING)
        leave_replay(r->store, to == REPLICA_RUNNING);
    r->state = to;
}

/* If the loop did not run, what the others have said meanwhile has still to be read: time in
 * which nobody could be heard is no silence. */
static void excuse(struct replica *r, uint64_t now_us, uint64_t due_us)
{
    uint64_t late_ms = (now_us - MIN(due_us, now_us)) / 1000;
    if (r->cons != NULL && late_ms >= r->store->opt.election_timeout_ms / REPLICA_LATE_SHARE)
        consensus_hold_back(r->cons, now_us / 1000, late_ms);
}

uint64_t replica_now_ms(struct replica *r)
{
    uint64_t now_us = env_now_us(r->store->env);
    uint64_t due_us = env_timer_is_active(&r->timer) ? r->timer.due_us : r->fired_us;
    if (due_us != 0)
        excuse(r, now_us, due_us);
    return now_us / 1000;
}

static void tick(struct replica *r, uint64_t now_us)
{
    if (r->state == REPLICA_DAMAGED)
        sleep_complain(r);
    if (r->state == REPLICA_ABSORBED) { /* what it proposed is decided when apply comes to it */
        replica_write_tick(r, now_us);
        replica_read_tick(r, now_us);
    }
    if (r->nap.is_asleep || r->state == REPLICA_DAMAGED || r->state == REPLICA_REMOVING ||
        r->state == REPLICA_ABSORBED || r->state == REPLICA_MERGED)
        return;
    if (r->cons != NULL)
        consensus_tick(r->cons, now_us / 1000);
    replica_write_tick(r, now_us);
    replica_read_tick(r, now_us);
    watch_tick(r, now_us);
    snapshot_out_tick(r, now_us);
    snapshot_in_tick(r, now_us);
    strangers_tick(r, now_us);
}

static void timer_due(struct env_timer *timer)
{
    struct replica *r = timer->data;
    uint64_t now_us = env_now_us(r->store->env);
    excuse(r, now_us, timer->due_us);
    r->fired_us = now_us;
    tick(r, now_us);
    replica_wake(r);
}

int replica_new(struct store *store, uint64_t replica_id, uint64_t range_id, struct range *range,
                struct replica **ret_replica, struct err *err)
{
    ASSERT(range == NULL || range_descriptor(range)->range_id == range_id);
    struct replica *r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(err, ERR_NOMEM, "replica of %zu bytes", sizeof *r);
    r->store = store;
    r->replica_id = replica_id;
    r->range_id = range_id;
    r->range = range;
    r->state = range == NULL ? REPLICA_BLANK : REPLICA_REPLAYING;
    store->replaying += r->state == REPLICA_REPLAYING;
    r->next_write_id = 1;
    list_init(&r->in_woken);
    list_init(&r->in_short);
    list_init(&r->in_choked);
    env_timer_init(&r->timer, store->env, timer_due, r);
    sleep_init(r);
    fair_init(&r->writes, store->opt.queue_writes_max, store->opt.queue_bytes_max);
    list_init(&r->proposals);
    list_init(&r->stamp_reads);
    list_init(&r->batches);
    list_init(&r->reading);
    list_init(&r->ready_reads);
    fair_init(&r->backlog, UINT32_MAX, SIZE_MAX); /* all bounded by read_count */
    fair_init(&r->large, UINT32_MAX, SIZE_MAX);
    fair_init(&r->choked, UINT32_MAX, SIZE_MAX);
    list_init(&r->log_writes);
    list_init(&r->fetches);
    list_init(&r->streams);
    list_init(&r->dropped_streams);
    list_init(&r->checks);
    list_init(&r->dropped_checks);
    watch_init(r);
    list_init(&r->absorbed.in_merged);
    entry_builder_init(&r->builder, store->opt.entry_bytes_max, ENTRY_COMMANDS_MAX);
    replica_apply_init(r);
    *ret_replica = r;
    return 0;
}

int replica_add(struct store *store, uint64_t replica_id, uint64_t range_id, struct range *range,
                struct replica **ret_replica, struct err *err)
{
    struct replica *r;
    int rv = replica_new(store, replica_id, range_id, range, &r, err);
    if (rv != 0) {
        range_free(range);
        return rv;
    }
    rv = replicas_add(&store->replicas, r, err);
    if (rv != 0) {
        replica_free(r);
        return rv;
    }
    *ret_replica = r;
    return 0;
}

void replica_free(struct replica *r)
{
    if (r == NULL)
        return;
    env_timer_stop(&r->timer);
    list_remove(&r->in_woken);
    list_remove(&r->in_short);
    list_remove(&r->in_choked);
    sleep_fini(r);
    r->store->replaying -= r->state == REPLICA_REPLAYING;
    replica_removal_free(r);
    merge_free(r);
    free(r->check);
    strangers_forget(r);
    free(r->load.contacts);
    free(r->hot);
    watch_free(r);
    replica_read_free(r);
    replica_write_free(r);
    snapshot_out_free(r);
    snapshot_in_free(r);
    check_free(r);
    replica_apply_free(r);
    replica_log_free(r);
    consensus_free(r->cons);
    range_free(r->range);
    free(r);
}

void replica_run(struct replica *r)
{
    struct raftlog_group_state state;
    ASSERT(r->state == REPLICA_REPLAYING);
    int rv = raftlog_group_state(r->store->log, r->replica_id, &state);
    ASSERT(rv == 0);
    r->replay_to = MAX(state.hint, range_meta(r->range)->applied_index);
    LOG_INFO(r->store->logger, "replay", "replica=%llu from=%llu to=%llu last=%llu term=%llu",
             (unsigned long long)r->replica_id,
             (unsigned long long)range_meta(r->range)->applied_index,
             (unsigned long long)r->replay_to, (unsigned long long)state.last_index,
             (unsigned long long)state.term);
    replica_apply_wake(r);
}

int replica_add_blank(struct store *store, uint64_t replica_id, uint64_t range_id,
                      struct replica **ret_replica, struct err *err)
{
    struct replica *r;
    int rv = replica_add(store, replica_id, range_id, NULL, &r, err);
    if (rv != 0)
        return rv;
    rv = replica_start_consensus(r, err);
    if (rv != 0) {
        replicas_remove(&store->replicas, r);
        replica_free(r);
        return rv;
    }
    LOG_INFO(store->logger, "blank", "range=%llu replica=%llu", (unsigned long long)range_id,
             (unsigned long long)replica_id);
    store_on_replica_running(r);
    early_deliver(r);
    *ret_replica = r;
    return 0;
}

/* Consensus starts from what is on disk: nothing may be on its way there. */
static void try_start(struct replica *r)
{
    struct err err = {0};
    if (!list_is_empty(&r->log_writes))
        return;
    int rv = replica_start_consensus(r, &err);
    if (rv != 0) {
        replica_damage(r, "start consensus", &err);
        return;
    }
    r->wants_reopen = false;
    enum replica_state to = r->range == NULL ? REPLICA_BLANK : REPLICA_RUNNING;
    if (r->state != to)
        replica_move(r, to);
    store_on_replica_running(r);
    if (r->wants_campaign)
        consensus_campaign(r->cons, replica_now_ms(r));
    r->wants_campaign = false;
    early_deliver(r);
}

/* The hint on disk may end above the log of a replica that took in a snapshot just
 * before it died: its log begins anew behind the state. */
static bool log_fits_state(struct replica *r)
{
    const struct range_meta *meta = range_meta(r->range);
    uint64_t term = 0;
    int rv = raftlog_term(r->store->log, r->replica_id, meta->applied_index, &term);
    return rv == 0 && term == meta->applied_term;
}

void replica_on_replayed(struct replica *r)
{
    ASSERT(r->state == REPLICA_REPLAYING);
    if (r->store->opt.recover != NULL) {
        recover_on_replayed(r->store);
        return;
    }
    if (r->cons != NULL || !list_is_empty(&r->log_writes))
        return;
    if (!log_fits_state(r)) {
        const struct range_meta *meta = range_meta(r->range);
        replica_log_reset(r, meta->applied_index, meta->applied_term);
        return;
    }
    if (!sleep_from_start(r)) {
        try_start(r);
        return;
    }
    replica_move(r, REPLICA_RUNNING);
    store_on_replica_running(r);
    early_deliver(r);
}

bool replica_is_leader(const struct replica *r)
{
    return r->state == REPLICA_RUNNING && r->cons != NULL && !r->wants_reopen &&
           consensus_is_leader(r->cons);
}

bool replica_leads(struct replica *r)
{
    if (sleep_is_parked_leader(r))
        sleep_wake(r, SLEEP_WOKEN_BY_WORK);
    return replica_is_leader(r);
}

static const char *role_name(enum cons_state role)
{
    switch (role) {
    case CONS_LEADER:
        return "leader";
    case CONS_CANDIDATE:
        return "candidate";
    default:
        return "follower";
    }
}

void replica_on_role(void *ctx, enum cons_state role, uint64_t term, uint64_t leader)
{
    struct replica *r = ctx;
    if (!r->is_role_known || r->role != role || r->role_term != term)
        LOG_INFO(r->store->logger, "role", "range=%llu replica=%llu role=%s term=%llu leader=%llu",
                 (unsigned long long)r->range_id, (unsigned long long)r->replica_id,
                 role_name(role), (unsigned long long)term, (unsigned long long)leader);
    bool was_leader = r->is_role_known && r->role == CONS_LEADER;
    if (leader != 0)
        rouse_on_led(r);
    r->is_role_known = true;
    r->role = role;
    r->role_term = term;
    if (was_leader && role != CONS_LEADER)
        r->lost_leadership = true;
    if (r->range_id == RANGE_ID_SYSTEM)
        driver_poke(r->store);
    beats_poke(r->store);
    replica_wake(r);
}

/* What had to wait until consensus was done with its call. */
static void after_leadership(struct replica *r)
{
    if (!r->lost_leadership)
        return;
    r->lost_leadership = false;
    merge_stop(r);
    replica_proposals_stale(r);
    snapshot_out_stop_all(r);
    if (!replica_is_leader(r)) {
        replica_write_fail_queue(r, ERR_NOT_LEADER);
        watch_fail_all(r, ERR_NOT_LEADER);
    }
}

void replica_restart_consensus(struct replica *r)
{
    merge_stop(r);
    replica_proposals_stale(r);
    replica_write_fail_queue(r, ERR_NOT_LEADER);
    replica_read_fail_all(r, ERR_NOT_LEADER);
    watch_fail_all(r, ERR_NOT_LEADER);
    snapshot_out_stop_all(r);
    strangers_stop_check(r);
    if (r->range_id == RANGE_ID_SYSTEM)
        driver_before_consensus_ends(r->store);
    sleep_forget(r);
    consensus_free(r->cons);
    r->cons = NULL;
    r->generation++;
    r->is_role_known = false;
    r->wants_reopen = true;
    replica_wake(r);
}

/* The library gave up: free the instance, start another from what is on disk once
 * the writes on their way have arrived there. */
static void check_reopen(struct replica *r)
{
    const char *reason = NULL;
    if (r->cons != NULL && consensus_needs_reopen(r->cons, &reason)) {
        LOG_WARN(r->store->logger, "reopen", "range=%llu reason=\"%s\"",
                 (unsigned long long)r->range_id, reason);
        replica_restart_consensus(r);
    }
    bool is_installing = r->state == REPLICA_INSTALLING && r->in != NULL;
    if (r->wants_reopen && r->cons == NULL && !is_installing && r->apply == APPLY_IDLE)
        try_start(r);
}

/* When it must be looked at again at the latest. Elections and heartbeats of all ranges are
 * due at the same ticks: what they send goes out together (pulse.h). */
static void set_timer(struct replica *r, uint64_t now_ms)
{
    uint64_t due = now_ms + STORE_CARE_MS;
    r->fired_us = 0;
    if (r->nap.is_asleep)
        return;
    if (r->cons != NULL)
        due = MIN(due, consensus_next_timeout(r->cons, now_ms));
    due = (due + STORE_TICK_MS - 1) / STORE_TICK_MS * STORE_TICK_MS;
    if (r->writes.count > 0 || !list_is_empty(&r->proposals) || r->read_count > 0)
        due = MIN(due, now_ms + STORE_TICK_MS);
    if (merge_is_active(r))
        due = MIN(due, now_ms + STORE_TICK_MS);
    due = MAX(due, now_ms + 1);
    if (!env_timer_is_active(&r->timer) || r->timer.due_us > due * 1000)
        env_timer_start_at(&r->timer, due * 1000);
}

void replica_turn(struct replica *r)
{
    uint64_t now = replica_now_ms(r);
    if (r->state == REPLICA_REMOVING) {
        replica_removal_turn(r);
        return;
    }
    if (r->state == REPLICA_ABSORBED || r->state == REPLICA_MERGED) {
        absorb_turn(r);
        return;
    }
    if (r->state == REPLICA_DAMAGED) {
        replica_end(r); /* whoever came to wait since, too */
        return;
    }
    if (r->is_no_member && r->state == REPLICA_RUNNING && r->in == NULL) {
        replica_remove(r, r->replica_id + 1);
        if (r->state == REPLICA_RUNNING) /* no memory for it now */
            env_timer_start(&r->timer, (uint64_t)STORE_TICK_MS * 1000);
        return;
    }
    sleep_begin_turn(r);
    after_leadership(r);
    replica_log_turn(r);
    if (r->state == REPLICA_RUNNING)
        merge_turn(r);
    if (r->state == REPLICA_RUNNING)
        replica_propose(r);
    replica_read_flush(r);
    watch_turn(r);
    if (r->cons != NULL)
        consensus_flush(r->cons, now);
    if (r->cons != NULL && r->state == REPLICA_RUNNING)
        snapshot_out_turn(r);
    check_reopen(r);
    sleep_turn(r);
    set_timer(r, now);
}

void replica_damage(struct replica *r, const char *what, const struct err *err)
{
    if (r->state == REPLICA_DAMAGED || r->state == REPLICA_REMOVING || r->state == REPLICA_MERGED)
        return;
    if (err->code != ERR_CORRUPT) { /* what is on the disk may be fine: nothing is noted */
        store_fail(r->store, what, err);
        return;
    }
    LOG_ERROR(r->store->logger, "damaged", "range=%llu replica=%llu during=\"%s\" error=\"%s\"",
              (unsigned long long)r->range_id, (unsigned long long)r->replica_id, what, err->msg);
    replica_move(r, REPLICA_DAMAGED);
    env_timer_start(&r->timer, 0); /* its group is told */
    store_on_damage(r->store, what, err);
}

void replica_note_request(struct replica *r)
{
    uint64_t now_us = env_turn_us(r->store->env);
    sleep_note_work(r);
    if (r->load_us == 0 || now_us >= r->load_us + REPLICA_LOAD_US) {
        r->load_last = replica_load(r);
        r->load_us = now_us;
        r->load_count = 0;
    }
    r->load_count++;
}

bool replica_wants_key(struct replica *r)
{
    if (r->hot == NULL && r->load.requests_s >= REPLICA_BUSY_S)
        r->hot = hot_new();
    return r->hot != NULL && hot_wants(r->hot);
}

void replica_note_key(struct replica *r, struct slice key)
{
    hot_note(r->hot, key);
}

uint64_t replica_load(const struct replica *r)
{
    uint64_t passed_us = env_turn_us(r->store->env) - r->load_us;
    if (r->load_us == 0 || passed_us < REPLICA_LOAD_US)
        return r->load_last;
    return r->load_count * 1000 * 1000 / passed_us;
}

/* Called from outside any call of consensus: everybody who waits is told. */
void replica_end(struct replica *r)
{
    merge_stop(r);
    replica_write_fail_queue(r, ERR_UNAVAILABLE); /* others may serve it */
    replica_proposals_skip(r, UINT64_MAX);
    replica_read_fail_all(r, ERR_UNAVAILABLE);
    watch_fail_all(r, ERR_UNAVAILABLE);
    snapshot_out_stop_all(r);
    strangers_stop_check(r);
    check_stop(r);
    if (r->range_id == RANGE_ID_SYSTEM)
        driver_before_consensus_ends(r->store);
    sleep_forget(r);
    consensus_free(r->cons);
    r->cons = NULL;
    r->generation++;
}

void replica_trim(struct replica *r)
{
    const struct store_options *opt = &r->store->opt;
    ASSERT(r->writes.count == 0 && !replica_has_open_reads(r));
    entry_builder_fini(&r->builder);
    entry_builder_init(&r->builder, opt->entry_bytes_max, ENTRY_COMMANDS_MAX);
    fair_trim(&r->writes);
    fair_trim(&r->backlog);
    fair_trim(&r->large);
    fair_trim(&r->choked);
    range_shrink(r->range);
    replica_apply_shrink(r);
    strangers_forget(r);
    free(r->load.contacts);
    free(r->hot);
    r->hot = NULL;
    r->load.contacts = NULL;
    r->load.contact_count = 0;
    if (!strangers_is_checking(r)) {
        free(r->check);
        r->check = NULL;
    }
}
