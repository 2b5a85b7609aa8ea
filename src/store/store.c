/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/net_client.h"
#include "placement/placement.h"
#include "store/absorb.h"
#include "store/driver.h"
#include "store/log_room.h"
#include "store/merge.h"
#include "store/recover.h"
#include "store/service.h"
#include "store/store_internal.h"

static const uint32_t store_successors[] = {
    [STORE_UNBORN] = BIT(STORE_REPLAYING) | BIT(STORE_DAMAGED) | BIT(STORE_DRAINING),
    [STORE_REPLAYING] = BIT(STORE_RUNNING) | BIT(STORE_DAMAGED) | BIT(STORE_DRAINING),
    [STORE_RUNNING] = BIT(STORE_DAMAGED) | BIT(STORE_DRAINING),
    [STORE_DAMAGED] = BIT(STORE_DRAINING),
    [STORE_DRAINING] = BIT(STORE_DAMAGED),
};

static const char *const store_state_names[] = {"unborn", "replaying", "running", "damaged",
                                                "draining"};

const char *store_state_name(enum store_state state)
{
    ASSERT((size_t)state < ARRAY_LEN(store_state_names));
    return store_state_names[state];
}

void store_move(struct store *store, enum store_state to)
{
    ASSERT(store_successors[store->state] & BIT(to));
    LOG_INFO(store->logger, "store", "state=%s was=%s", store_state_name(to),
             store_state_name(store->state));
    store->state = to;
}

void store_fail(struct store *store, const char *what, const struct err *err)
{
    LOG_ERROR(store->logger, "fatal", "during=\"%s\" error=\"%s\"", what, err->msg);
    env_fatal(store->env, "%s: %s", what, err->msg);
}

static void check_replay(struct store *store)
{
    if (store->state == STORE_REPLAYING && store->replaying == 0)
        store_move(store, STORE_RUNNING);
}

void store_on_replica_running(struct replica *r)
{
    struct store *store = r->store;
    check_replay(store);
    clock_on_replica(r); /* consensus began anew, and knows nothing of it */
    replica_wake(r);
}

void store_wake_all(struct store *store)
{
    LIST_FOREACH(it, &store->sleepers.awake)
    replica_wake(list_entry(it, struct replica, in_awake));
    store_wake(store);
}

void store_on_damage(struct store *store, const char *what, const struct err *err)
{
    struct err note = {0};
    char reason[ERR_MSG_MAX];
    snprintf(reason, sizeof reason, "%s: %s", what, err->msg);
    if (identity_mark_damaged(store->env, store->data_dir, reason, &note) != 0)
        store_fail(store, "note damage", &note);
    if (store->state != STORE_DAMAGED)
        store_move(store, STORE_DAMAGED);
    store_wake_all(store);
}

/* ---- what the engine and the log tell --------------------------------------------- */

static void on_freeze(void *data, uint64_t freeze, struct lsm_batch *batch)
{
    struct store *store = data;
    struct replica *r;
    for (uint32_t i = 0; (r = replicas_by_span(&store->replicas, i)) != NULL; i++) {
        if (!replica_is_ended(r))
            range_on_freeze(r->range, freeze, batch);
    }
    absorb_on_freeze(store, freeze, batch);
    replica_log_on_freeze(store, freeze);
    store->frozen = freeze;
}

static void on_unfreeze(void *data, uint64_t freeze)
{
    struct store *store = data;
    struct replica *r;
    for (uint32_t i = 0; (r = replicas_by_span(&store->replicas, i)) != NULL; i++) {
        if (!replica_is_ended(r))
            range_on_unfreeze(r->range, freeze);
    }
    absorb_on_unfreeze(store, freeze);
    replica_log_on_unfreeze(store, freeze);
}

static bool is_held(void *data, uint64_t freeze)
{
    return replica_log_holds(data, freeze);
}

/* Out of memory: the engine forgets by what it was told before. */
static void set_gc(struct store *store)
{
    struct lsm_gc_span *spans = malloc((replicas_count(&store->replicas) + 1) * sizeof *spans);
    const struct replica *r;
    uint32_t count = 0;
    if (spans == NULL)
        return;
    spans[count++] = (struct lsm_gc_span){
        .start = slice_of("\x00", 1), .end = slice_of("\x01", 1), .safe_version = UINT64_MAX};
    for (uint32_t i = 0; (r = replicas_by_span(&store->replicas, i)) != NULL; i++)
        spans[count++] = range_gc_span(r->range);
    lsm_set_gc(store->lsm, spans, count);
    free(spans);
}

void store_on_replica_gone(struct store *store)
{
    set_gc(store);
}

static void on_flushed(void *data, uint64_t freeze)
{
    struct store *store = data;
    bool has_grown = false;
    struct replica *r;
    store->flushed = freeze;
    for (uint32_t i = 0; (r = replicas_by_span(&store->replicas, i)) != NULL; i++) {
        if (!range_on_flushed(r->range, freeze))
            continue;
        has_grown = true;
        log_room_compact(r);
    }
    absorb_on_flushed(store, freeze);
    if (has_grown)
        set_gc(store);
}

/* A file is shared by all that have records in it. */
static void on_corrupt(void *data, const char *file, uint64_t offset, const char *text)
{
    struct store *store = data;
    struct err err = {0};
    uint32_t cursor = 0;
    struct replica *r;
    err_set(&err, ERR_CORRUPT, "%s at %llu: %s", file, (unsigned long long)offset, text);
    if (store->state == STORE_UNBORN) /* the engine is being opened: nobody to tell yet */
        store->early_damage = err;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL)
        replica_damage(r, "engine", &err);
}

static void on_stall(void *data)
{
    struct store *store = data;
    store_note_stop(store);
    uint32_t cursor = 0;
    struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL)
        replica_on_stall(r);
    store_wake_all(store);
}

static void on_slow_end(struct env_timer *timer)
{
    store_wake_all(timer->data);
}

/* Pauses that a timer can keep, and that nobody takes for the end. */
enum { SLOW_US_MIN = 1000, SLOW_US_MAX = 1000000 };

void store_slow_down(struct store *store, size_t bytes)
{
    store->slow_us += lsm_pace_us(store->lsm, bytes);
    if (store->slow_us < SLOW_US_MIN || store_is_slowed(store))
        return;
    env_timer_start(&store->slow, MIN(store->slow_us, (uint64_t)SLOW_US_MAX));
    store->slow_us = 0;
}

static void on_log_room(void *data)
{
    store_wake_all(data);
}

static void on_log_damage(void *data, uint64_t group, const char *text)
{
    struct store *store = data;
    struct err err = {0};
    err_set(&err, ERR_CORRUPT, "%s", text);
    struct replica *r = replicas_get(&store->replicas, group);
    if (r != NULL)
        replica_damage(r, "log", &err);
}

/* What can be flushed was, and others have what it is about: nothing else makes room. */
static bool may_give_up(void *data, uint64_t group)
{
    const struct store *store = data;
    const struct replica *r = replicas_get(&store->replicas, group);
    return r != NULL && replica_has_others(r) && store->is_log_clean && !store->is_flush_forced;
}

/* Strangers need no more than a connection to make a store say this. */
static void on_refused(void *data, const char *address, const char *reason)
{
    struct store *store = data;
    uint64_t untold;
    struct lines *lines = lines_of_text(store->refused_lines, STORE_REFUSED_LINES, reason);
    bool may_tell = lines_take(lines, env_now_us(store->env), &untold);
    if (untold > 0)
        LOG_WARN(store->logger, "connections_refused_untold", "count=%llu",
                 (unsigned long long)untold);
    if (!may_tell)
        return;
    LOG_WARN(store->logger, "connection_refused", "peer=%s reason=\"%s\"", address, reason);
}

/* ---- turns and ticks ------------------------------------------------------------------- */

static void drain_step(struct store *store);

/* A replica that is woken again meanwhile has its turn in the next run of the task. */
static void store_turn(struct env_task *task)
{
    struct store *store = task->data;
    struct list woken;
    struct list *link;
    if (store->has_left_replay)
        check_replay(store);
    store->has_left_replay = false;
    list_init(&woken);
    while ((link = list_pop_front(&store->woken)) != NULL)
        list_push_back(&woken, link);
    while ((link = list_pop_front(&woken)) != NULL)
        replica_turn(list_entry(link, struct replica, in_woken));
    bool is_waiting = !list_is_empty(&store->transfers) || store->drain.cb != NULL;
    if (is_waiting && !env_timer_is_active(&store->timer))
        env_timer_start(&store->timer, (uint64_t)STORE_TICK_MS * 1000);
}

static void store_tick(struct env_timer *timer)
{
    struct store *store = timer->data;
    admin_tick(store);
    drain_step(store);
    store_wake(store);
}

static void store_care_due(struct env_timer *timer)
{
    struct store *store = timer->data;
    store_care(store);
    env_timer_start(timer, (uint64_t)STORE_CARE_MS * 1000);
}

/* ---- draining ------------------------------------------------------------------------------ */

static void drain_done(struct store *store)
{
    store_drain_cb cb = store->drain.cb;
    if (cb == NULL)
        return;
    store->drain.cb = NULL;
    store->drain.is_over = true;
    cb(store->drain.data);
}

static void drain_hints_done(struct raftlog_write *write)
{
    drain_done(write->data);
}

static void drain_flushed(struct lsm_flush_op *op, int status)
{
    struct store *store = op->data;
    (void)status;
    if (store->drain.cb == NULL)
        return;
    raftlog_append_hints(store->log);
    store->drain.barrier = (struct raftlog_write){.data = store, .cb = drain_hints_done};
    raftlog_append(store->log, &store->drain.barrier);
}

/* Could a majority of the voters agree on anything now? When all stores are stopped at
 * once, the last ones have nobody to hand over to, and nothing that waits will be known. */
static bool drain_has_majority(struct replica *r)
{
    const struct cons_config *config = consensus_config(r->cons, NULL);
    uint32_t reached = 0;
    for (uint32_t i = 0; i < config->n; i++) {
        const struct cons_member *m = &config->members[i];
        reached += m->role == CONS_VOTER &&
                   (m->replica_id == r->replica_id || store_peer_ready(r, m->replica_id));
    }
    return reached > cons_config_voters(config) / 2;
}

/* Is there somebody whom this replica should not leave without an answer? */
static bool drain_replica(struct replica *r, bool *leads)
{
    if (r->state == REPLICA_DAMAGED || r->cons == NULL || !drain_has_majority(r))
        return false;
    if (replica_is_leader(r) && cons_config_voters(consensus_config(r->cons, NULL)) > 1) {
        consensus_transfer(r->cons, replica_now_ms(r), 0); /* BUSY while it goes on */
        *leads = true;
        return true;
    }
    return !list_is_empty(&r->proposals) || r->read_count > 0;
}

static bool drain_must_wait(struct store *store)
{
    bool leads = false;
    bool must_wait = false;
    uint32_t cursor = 0;
    struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        if (drain_replica(r, &leads))
            must_wait = true;
    }
    if (!leads) /* there is nobody to hand over to, or it is done */
        store->drain.is_closing = true;
    return must_wait;
}

/* Hand over and answer what is on its way, then flush, then the log's hints: a later
 * start replays nothing. */
static void drain_step(struct store *store)
{
    if (store->drain.cb == NULL || store->drain.is_flushing)
        return;
    bool is_late = env_now_us(store->env) >= store->drain.deadline_us;
    if (!is_late && drain_must_wait(store))
        return;
    store->drain.is_closing = true;
    store->drain.is_flushing = true;
    if (store->lsm == NULL || store->log == NULL) {
        drain_done(store);
        return;
    }
    store->drain.flush.data = store;
    if (lsm_flush(store->lsm, &store->drain.flush, drain_flushed) != 0)
        drain_done(store);
}

static void drain_timeout(struct env_timer *timer)
{
    drain_done(timer->data);
}

void store_drain(struct store *store, uint32_t timeout_ms, store_drain_cb cb, void *data)
{
    ASSERT(cb != NULL);
    ASSERT(store->drain.cb == NULL && !store->drain.is_over);
    uint64_t now_us = env_now_us(store->env);
    store->drain.cb = cb;
    store->drain.data = data;
    store->drain.deadline_us = now_us + (uint64_t)timeout_ms * 500;
    env_timer_init(&store->drain.timer, store->env, drain_timeout, store);
    env_timer_start(&store->drain.timer, (uint64_t)timeout_ms * 1000);
    store_move(store, STORE_DRAINING);
    net_stop_listening(store->net);
    uint32_t cursor = 0;
    struct replica *r;
    sleep_wake_leaders(store, SLEEP_WOKEN_BY_WORK); /* who leads asleep hands over, too */
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        replica_write_fail_queue(r, ERR_NOT_LEADER);
        watch_fail_all(r, ERR_NOT_LEADER);
    }
    store_wake_all(store);
}

/* ---- open and free --------------------------------------------------------------------------- */

void store_options_init(struct store_options *options)
{
    *options = (struct store_options){
        .hibernate_after_ms = SLEEP_AFTER_MS,
        .hibernate_check_ms = SLEEP_CHECK_MS,
        .election_timeout_ms = 600,
        .heartbeat_ms = 60,
        .max_clock_offset_ms = 10000,
        .max_clock_drift_ppm = 500,
        .limits = command_limits_default,
        .scan_keys_max = 10000,
        .scan_bytes_max = 4 << 20,
        /* With what stands around it in records and frames it is within the MiB of a piece of the
         * log's memory, and below what malloc() asks the kernel for each time anew. */
        .entry_bytes_max = (1 << 20) - (32 << 10),
        .entries_in_flight = 256,
        .queue_writes_max = 16384,
        .queue_bytes_max = (size_t)64 << 20,
        .queue_reads_max = 16384,
        .read_aside_bytes = 128 << 10,
        .log_kept_bytes = (uint64_t)64 << 20,
        .retention_ms = RANGE_RETENTION_MS_DEFAULT,
        .garbage_pass_ms = 10 * 1000,
        .sessions_bytes_max = (uint64_t)256 << 20,
        .check_bytes_per_s = (uint64_t)256 << 20,
        .snapshot_bytes_per_s = (uint64_t)64 << 20,
        .water = {.no_replicas_bytes = (uint64_t)2 << 30,
                  .no_puts_bytes = (uint64_t)1 << 30,
                  .read_only_bytes = (uint64_t)256 << 20},
        .connections_max = 16384,
        .reply_bytes_max = (size_t)8 << 20,
        .reply_bytes_hard = (size_t)64 << 20,
        .reply_memory_max = (size_t)512 << 20,
        .reply_stall_ms = 30000,
        .slow_request_ms = 500,
        .requests_max = 4096,
        .requests_held_max = 65536,
        .requests_bytes_max = (size_t)256 << 20,
    };
    lsm_options_init(&options->lsm);
    raftlog_options_init(&options->log);
}

static int copy_text(char *out, size_t size, const char *text, const char *what, struct err *err)
{
    if (text == NULL || *text == 0)
        return err_set(err, ERR_INVALID, "no %s is given", what);
    if (strlen(text) >= size)
        return err_set(err, ERR_TOO_LARGE, "%s is longer than %zu bytes", what, size - 1);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

/* Placement would refuse bad ones later, and a founder that it does not take in cannot go on. */
static int copy_labels(struct store *store, const char *labels, struct err *err)
{
    int rv = copy_text(store->labels, sizeof store->labels, labels, "labels", err);
    if (rv != 0)
        return rv;
    rv = placement_labels_check(slice_str(labels), err);
    return rv == 0 ? 0 : err_wrap(err, rv, "labels");
}

static int copy_options(struct store *store, const struct store_options *options, struct err *err)
{
    if (options->peer_count > 0 && options->store_id == 0)
        return err_set(err, ERR_INVALID, "no store id is given");
    if (options->seed_count > STORE_SEEDS_MAX)
        return err_set(err, ERR_INVALID, "more than %d addresses to join at", STORE_SEEDS_MAX);
    if (options->secret.len > STORE_SECRET_MAX)
        return err_set(err, ERR_TOO_LARGE, "the cluster secret is longer than %d bytes",
                       STORE_SECRET_MAX);
    int rv =
        copy_text(store->data_dir, sizeof store->data_dir, options->data_dir, "data folder", err);
    if (rv == 0)
        rv = copy_text(store->listen, sizeof store->listen, options->listen, "address to listen on",
                       err);
    if (rv == 0 && options->advertise != NULL && *options->advertise != 0)
        rv = copy_text(store->advertise, sizeof store->advertise, options->advertise,
                       "advertised address", err);
    if (rv == 0 && options->labels != NULL && *options->labels != 0)
        rv = copy_labels(store, options->labels, err);
    if (rv != 0)
        return rv;
    if (options->secret.len > 0)
        memcpy(store->secret, options->secret.data, options->secret.len);
    store->opt.data_dir = store->data_dir;
    store->opt.listen = store->listen;
    store->opt.secret = slice_of(store->secret, options->secret.len);
    store->opt.lsm.callbacks = (struct lsm_callbacks){.on_freeze = on_freeze,
                                                      .on_unfreeze = on_unfreeze,
                                                      .is_held = is_held,
                                                      .on_flushed = on_flushed,
                                                      .on_corrupt = on_corrupt,
                                                      .on_stall = on_stall};
    store->opt.lsm.data = store;
    store->opt.log.callbacks = (struct raftlog_callbacks){
        .on_room = on_log_room, .on_damage = on_log_damage, .may_give_up = may_give_up};
    store->opt.log.data = store;
    return 0;
}

/* "Any address" has many spellings; where it listens has one. Nobody else can dial it. */
static int check_advertised(struct store *store, struct err *err)
{
    static const char *const any[] = {"0.0.0.0:", "[::]:", "[::ffff:0.0.0.0]:"};
    const char *address = net_address(store->net);
    for (size_t i = 0; i < ARRAY_LEN(any) && store->advertise[0] == 0; i++) {
        if (strncmp(address, any[i], strlen(any[i])) == 0)
            return err_set(err, ERR_INVALID,
                           "advertise: is needed, because others cannot dial %s, which is %s",
                           store->listen, address);
    }
    return 0;
}

static int open_net(struct store *store, struct err *err)
{
    struct net_options options = {
        .address = store->listen,
        .name = "holdfastd",
        .self =
            {
                .cluster_id = store->identity.cluster_id,
                .store_id = store->opt.store_id,
                .boot = store->identity.boot_number,
                .address = slice_str(store->advertise),
            },
        .secret = store->opt.secret,
        .limits =
            {
                .connections_max = store->opt.connections_max,
                .replies_pause = store->opt.reply_bytes_max,
                .replies_max = store->opt.reply_bytes_hard,
                .memory_max = store->opt.reply_memory_max,
                .replies_stuck_ms = store->opt.reply_stall_ms,
                .requests_max = store->opt.requests_max,
                .protocol_max = store->opt.protocol_max,
            },
        .hooks =
            {
                .check_peer = store_check_peer,
                .on_peer_up = store_on_peer_up,
                .on_peer_down = store_on_peer_down,
                .on_peer_message = store_on_peer_message,
                .on_request = service_on_request,
                .on_client_drained = service_on_client_drained,
                .on_client_gone = service_on_client_gone,
                .on_stream = snapshot_in_on_stream,
                .on_refused = on_refused,
            },
        .data = store,
    };
    memcpy(options.self.store_uuid, store->identity.uuid, sizeof options.self.store_uuid);
    int rv = net_new(store->env, &options, &store->net, err);
    if (rv != 0)
        return err_wrap(err, rv, "listen");
    rv = check_advertised(store, err);
    return rv == 0 ? store_dial_peers(store, err) : rv;
}

static void init_parts(struct store *store)
{
    env_task_init(&store->turn, store_turn, store);
    env_timer_init(&store->timer, store->env, store_tick, store);
    env_timer_init(&store->care, store->env, store_care_due, store);
    env_timer_init(&store->slow, store->env, on_slow_end, store);
    replicas_init(&store->replicas);
    tombstones_init(&store->tombstones);
    list_init(&store->woken);
    list_init(&store->sleepers.awake);
    list_init(&store->sleepers.asleep);
    admit_init(store);
    replica_reads_init(store);
    pulse_init(store);
    rouse_init(store);
    list_init(&store->greeted);
    list_init(&store->snapshots_waiting);
    list_init(&store->orphans);
    list_init(&store->begun);
    list_init(&store->merged);
    list_init(&store->letters);
    env_task_init(&store->post, merge_post, store);
    list_init(&store->transfers);
    list_init(&store->flushes);
    watches_init(&store->watches);
    list_init(&store->mail);
    env_task_init(&store->mail_task, store_mail_due, store);
    store_found_init(store);
    beats_init(store);
    buf_init(&store->frames, FRAME_BODY_MAX + FRAME_PREFIX_LEN);
    buf_init(&store->result, FRAME_BODY_MAX - RESPONSE_AROUND_MAX);
    buf_init(&store->late.frame, FRAME_BODY_MAX + FRAME_PREFIX_LEN);
}

int store_open(struct store **ret_store, struct env *env, const struct store_options *options,
               struct err *err)
{
    struct err own = {0}; /* damage is noted with its text, whether the caller wants that or not */
    struct store *store = calloc(1, sizeof *store);
    err = err == NULL ? &own : err;
    if (store == NULL)
        return err_set(err, ERR_NOMEM, "store of %zu bytes", sizeof *store);
    store->env = env;
    store->began_ms = env_now_us(env) / 1000;
    store->opt = *options;
    snapshot_pace_init(store);
    store->logger = options->logger;
    cons_budget_init(&store->inflight, STORE_INFLIGHT_BYTES_MAX);
    init_parts(store);
    store->wire = calloc(1, sizeof *store->wire);
    store->ops = malloc(COMMAND_OPS_MAX * sizeof *store->ops);
    int rv = store->wire == NULL || store->ops == NULL ? ERR_NOMEM : driver_new(store, err);
    if (rv == 0)
        rv = copy_options(store, options, err);
    if (rv == 0)
        rv = store_boot(store, err);
    if (rv == 0 && store->opt.recover != NULL) {
        *ret_store = store;
        return recover_begin(store, err);
    }
    if (rv == 0)
        rv = open_net(store, err);
    if (rv == 0)
        rv = store_get_cluster(store, err);
    if (rv != 0) {
        *ret_store = store; /* background work may be on its way: freed after env_stop() */
        return rv;
    }
    if (store->identity.is_born)
        driver_start(store);
    pulse_start(store);
    store_care(store);
    env_timer_start(&store->care, (uint64_t)STORE_CARE_MS * 1000);
    store_wake_all(store);
    *ret_store = store;
    return 0;
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    admin_free(store);
    replica_admin_free(store);
    beats_free(store);
    store_mail_free(store);
    pulse_free(store);
    rouse_free(store);
    driver_free(store);
    recover_free(store);
    net_free(store->net);
    admit_free(store);
    raftlog_free(store->log); /* before the replica, whose reads it may hold */
    uint32_t cursor = 0;
    struct replica *r;
    snapshot_in_free_greeted(store);
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL)
        replica_free(r);
    absorb_free(store);
    merge_free_letters(store);
    replicas_fini(&store->replicas);
    cons_budget_fini(&store->inflight);
    watches_fini(&store->watches);
    tombstones_fini(&store->tombstones);
    book_fini(&store->book);
    lsm_free(store->lsm); /* after it: it holds views */
    env_dir_unlock(store->lock);
    buf_fini(&store->frames);
    buf_fini(&store->result);
    buf_fini(&store->late.frame);
    free(store->wire);
    free(store->ops);
    free(store);
}

/* ---- looking in ------------------------------------------------------------------- */

const char *store_address(const struct store *store)
{
    return net_address(store->net);
}

static bool has_other_member(const struct store *store, const struct replica *r)
{
    const struct range_descriptor *d = r->range == NULL ? NULL : range_descriptor(r->range);
    for (uint32_t i = 0; d != NULL && i < d->replica_count; i++) {
        if (d->replicas[i].store_id != store->opt.store_id)
            return true;
    }
    return false;
}

uint32_t store_others(const struct store *store)
{
    const struct book_entry *e;
    const struct replica *r;
    uint32_t count = 0;
    for (uint32_t i = 0; (e = book_at(&store->book, i)) != NULL; i++)
        count += !e->is_removed && e->store_id != store->opt.store_id;
    /* the book is a help that may be lost, and is no promise */
    for (uint32_t i = 0; count == 0 && (r = replicas_by_span(&store->replicas, i)) != NULL; i++)
        count += has_other_member(store, r);
    return count;
}

enum store_state store_state(const struct store *store)
{
    return store->state;
}

const struct consensus *store_consensus_of(const struct store *store, uint64_t range_id)
{
    const struct replica *r = replicas_of_range(&store->replicas, range_id);
    return r == NULL ? NULL : r->cons;
}

bool store_cons_status(const struct store *store, uint64_t range_id, struct cons_status *ret_status)
{
    const struct replica *r = replicas_of_range(&store->replicas, range_id);
    if (r == NULL || (r->cons == NULL && r->nap.parked == NULL))
        return false;
    if (r->cons != NULL)
        consensus_status(r->cons, ret_status);
    else
        consensus_parked_status(r->nap.parked, r->replica_id, range_id, ret_status);
    return true;
}

struct range *store_range_of(const struct store *store, uint64_t range_id)
{
    const struct replica *r = replicas_of_range(&store->replicas, range_id);
    return r == NULL ? NULL : r->range;
}

const struct consensus *store_consensus(const struct store *store)
{
    return store_consensus_of(store, STORE_FIRST_RANGE_ID);
}

struct range *store_range(const struct store *store)
{
    return store_range_of(store, STORE_FIRST_RANGE_ID);
}

uint64_t store_range_at(const struct store *store, uint32_t position)
{
    const struct replica *r = replicas_by_span(&store->replicas, position);
    return r == NULL ? 0 : r->range_id;
}

bool store_next_ended(const struct store *store, uint32_t *cursor, struct store_ended *ret_ended)
{
    uint64_t range_id = 0;
    const struct tombstone *stone = tombstones_next_ended(&store->tombstones, cursor, &range_id);
    if (stone == NULL)
        return false;
    *ret_ended = (struct store_ended){
        .range_id = range_id, .into_range = stone->into_range, .span_epoch = stone->span_epoch};
    return true;
}

void store_sleep_stats(const struct store *store, struct store_sleep_stats *ret_stats)
{
    const struct sleepers *s = &store->sleepers;
    *ret_stats = (struct store_sleep_stats){
        .asleep = s->count,
        .parked = s->parked,
        .slept = s->slept,
        .woken_by_work = s->woken[SLEEP_WOKEN_BY_WORK],
        .woken_by_silence = s->woken[SLEEP_WOKEN_BY_SILENCE],
        .woken_by_boot = s->woken[SLEEP_WOKEN_BY_BOOT],
        .woken_by_doubt = s->woken[SLEEP_WOKEN_BY_DOUBT],
        .woken_by_start = s->woken[SLEEP_WOKEN_BY_START],
        .answered_asleep = s->told_asleep,
    };
}

struct lsm *store_lsm(const struct store *store)
{
    return store->lsm;
}

struct raftlog *store_log(const struct store *store)
{
    return store->log;
}

uint64_t store_placement_term(const struct store *store)
{
    return driver_term(store);
}

const struct identity *store_identity(const struct store *store)
{
    return &store->identity;
}

static void check_replica(const struct replica *r)
{
    ASSERT((r->range == NULL) <= (r->state == REPLICA_BLANK || r->state == REPLICA_INSTALLING ||
                                  r->state == REPLICA_DAMAGED || r->state == REPLICA_REMOVING));
    ASSERT(r->state != REPLICA_MERGED);
    ASSERT(r->state != REPLICA_ABSORBED || r->cons == NULL);
    sleep_check_replica(r);
    if (r->range != NULL)
        range_check(r->range);
    if (r->cons == NULL)
        return;
    consensus_check(r->cons);
    if (r->range == NULL)
        return;
    ASSERT(r->state == REPLICA_INSTALLING ||
           range_meta(r->range)->applied_index <= consensus_apply_limit(r->cons) ||
           consensus_last_index(r->cons) == range_meta(r->range)->applied_index);
}

void store_check(const struct store *store)
{
    ASSERT(store->env != NULL);
    if (store->lsm != NULL)
        lsm_check(store->lsm);
    if (store->log != NULL)
        raftlog_check(store->log);
    if (store->net != NULL)
        net_check(store->net);
    book_check(&store->book);
    admit_check(store);
    replicas_check(&store->replicas);
    rouse_check(store);
    snapshot_in_check(store);
    uint32_t cursor = 0;
    const struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL)
        check_replica(r);
}
