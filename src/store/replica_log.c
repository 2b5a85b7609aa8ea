/* SPDX-License-Identifier: Apache-2.0
 *
 * Consensus' table of functions over the shared log: writes go out with a struct
 * log_write each and come back in order; entries that left the cache are fetched
 * from disk. An answer for an earlier consensus instance is dropped.
 */
#include <stdlib.h>

#include "store/log_room.h"
#include "store/service.h"
#include "store/store_internal.h"

enum { ENTRIES_ON_STACK = 64, FETCH_BYTES_MAX = 1 << 20 };

/* ---- what no flush may overtake ------------------------------------------ */

/* The engine tells of a right half with the memtable that its split is in. One that is durable
 * before the log knows the replica looks, after a loss of power, like a store whose log is lost,
 * and with it what the replica has promised. */

void replica_log_on_freeze(struct store *store, uint64_t freeze)
{
    LIST_FOREACH(it, &store->begun)
    {
        struct log_write *w = list_entry(it, struct log_write, in_begun);
        if (w->freeze == 0)
            w->freeze = freeze;
    }
}

void replica_log_on_unfreeze(struct store *store, uint64_t freeze)
{
    LIST_FOREACH(it, &store->begun)
    {
        struct log_write *w = list_entry(it, struct log_write, in_begun);
        if (w->freeze == freeze)
            w->freeze = 0;
    }
}

bool replica_log_holds(const struct store *store, uint64_t freeze)
{
    LIST_FOREACH(it, &store->begun)
    {
        const struct log_write *w = container_of(it, struct log_write, in_begun);
        if (w->freeze != 0 && w->freeze <= freeze)
            return true;
    }
    return false;
}

/* ---- writing -------------------------------------------------------------- */

static void log_write_done(struct raftlog_write *op)
{
    struct log_write *w = op->data;
    struct replica *r = w->replica;
    bool was_held = w->freeze != 0;
    bool is_current = w->generation == r->generation && r->cons != NULL &&
                      r->state != REPLICA_DAMAGED; /* it must not send what waits for this */
    uint64_t id = w->write_id;
    list_remove(&w->in_log_writes);
    list_remove(&w->in_begun);
    free(w);
    if (was_held)
        lsm_go_on(r->store->lsm);
    if (is_current && id != 0)
        consensus_on_persisted(r->cons, replica_now_ms(r), id);
    if (id == 0)
        snapshot_in_on_reset(r);
    replica_apply_wake(r);
    replica_wake(r);
}

static struct log_write *log_write_new(struct replica *r, uint64_t write_id)
{
    struct log_write *w = calloc(1, sizeof *w);
    if (w == NULL) {
        env_fatal(r->store->env, "out of memory for a write to the log");
        return NULL;
    }
    list_init(&w->in_log_writes);
    list_init(&w->in_begun);
    list_push_back(&r->log_writes, &w->in_log_writes);
    w->replica = r;
    w->write_id = write_id;
    w->generation = r->generation;
    w->op.data = w;
    w->op.group = r->replica_id;
    w->op.cb = log_write_done;
    return w;
}

static void log_persist(void *ctx, const struct cons_write *write)
{
    struct replica *r = ctx;
    struct raftlog_entry few[ENTRIES_ON_STACK];
    struct raftlog_entry *entries = few;
    ASSERT(write->id >= r->next_write_id);
    struct log_write *w = log_write_new(r, write->id);
    if (write->n > ENTRIES_ON_STACK)
        entries = malloc(write->n * sizeof *entries);
    if (w == NULL || entries == NULL) {
        env_fatal(r->store->env, "out of memory for a write to the log");
        return;
    }
    for (uint32_t i = 0; i < write->n; i++) {
        entries[i] = (struct raftlog_entry){
            .term = write->entries[i].term,
            .type = (uint8_t)write->entries[i].type,
            .data = write->entries[i].data,
        };
    }
    r->next_write_id = write->id + 1;
    if (write->n > 0)
        log_room_take(r);
    w->op.has_hard_state = write->has_hard_state;
    w->op.term = write->term;
    w->op.vote = write->vote;
    w->op.first_index = write->first_index;
    w->op.entries = entries;
    w->op.n = write->n;
    w->op.commit = write->commit_hint;
    raftlog_append(r->store->log, &w->op);
    w->op.entries = NULL;
    if (entries != few)
        free(entries);
}

void replica_log_reset(struct replica *r, uint64_t index, uint64_t term)
{
    ASSERT(index > 0);
    ASSERT(term > 0);
    struct log_write *w = log_write_new(r, 0);
    if (w == NULL)
        return;
    w->op.has_reset = true;
    w->op.base_index = index;
    w->op.base_term = term;
    /* After a crash the state of a snapshot may be here without the term that it came in, whose
     * record went to the log at the same time. No vote was given in it then. */
    struct raftlog_group_state log;
    if (raftlog_group_state(r->store->log, r->replica_id, &log) == 0 && log.term < term) {
        w->op.has_hard_state = true;
        w->op.term = term;
        w->op.vote = 0;
    }
    raftlog_append(r->store->log, &w->op);
}

void replica_log_begin(struct replica *r, uint64_t index, uint64_t base_term, uint64_t term,
                       uint64_t vote)
{
    struct log_write *w = log_write_new(r, 0);
    ASSERT(index > 0 && base_term > 0);
    if (w == NULL)
        return;
    w->op.has_hard_state = true;
    list_push_back(&r->store->begun, &w->in_begun);
    w->op.term = MAX(term, base_term);
    w->op.vote = term >= base_term ? vote : 0;
    w->op.has_reset = true;
    w->op.base_index = index;
    w->op.base_term = base_term;
    raftlog_append(r->store->log, &w->op);
}

void replica_log_hint(struct replica *r, uint64_t index)
{
    struct log_write *w = log_write_new(r, 0);
    if (w == NULL)
        return;
    w->op.commit = index;
    raftlog_append(r->store->log, &w->op);
}

/* ---- reading ---------------------------------------------------------------- */

/* While a snapshot is being installed the old log is kept, but consensus must not see
 * it. Once the install is over or has failed, what the log holds is true again. */
static bool is_log_hidden(const struct replica *r)
{
    return r->state == REPLICA_INSTALLING && r->in != NULL;
}

static uint64_t log_term(void *ctx, uint64_t index)
{
    struct replica *r = ctx;
    uint64_t term = 0;
    if (is_log_hidden(r))
        return 0;
    int rv = raftlog_term(r->store->log, r->replica_id, index, &term);
    return rv == 0 ? term : 0;
}

static int log_entries(void *ctx, uint64_t first, uint32_t n, size_t bytes_max,
                       struct cons_entry *entries, uint32_t *ret_n)
{
    struct replica *r = ctx;
    size_t bytes = 0;
    uint32_t count = 0;
    ASSERT(n > 0);
    if (is_log_hidden(r))
        return ERR_NOT_FOUND;
    while (count < n) {
        struct raftlog_entry e;
        int rv = raftlog_get(r->store->log, r->replica_id, first + count, &e);
        if (rv != 0 && count == 0)
            return rv;
        if (rv != 0 || (count > 0 && e.data.len > bytes_max - bytes))
            break;
        entries[count++] = (struct cons_entry){
            .term = e.term, .type = (enum cons_entry_type)e.type, .data = e.data};
        bytes += MIN(e.data.len, bytes_max - bytes);
    }
    ASSERT(count > 0);
    *ret_n = count;
    return 0;
}

static void fetch_answer(struct log_fetch *f, int status, const struct cons_entry *entries,
                         uint32_t n)
{
    struct replica *r = f->replica;
    if (f->generation == r->generation && r->cons != NULL)
        consensus_on_fetched(r->cons, replica_now_ms(r), f->token, status, entries, n);
    replica_wake(r);
}

static void fetch_free(struct log_fetch *f)
{
    list_remove(&f->in_fetches);
    raftlog_read_fini(&f->op);
    free(f);
}

static void fetch_done(struct raftlog_read *op)
{
    struct log_fetch *f = op->data;
    struct cons_entry *entries = NULL;
    int status = op->status;
    if (status == 0) {
        entries = malloc(op->n * sizeof *entries);
        if (entries == NULL)
            status = ERR_NOMEM;
    }
    for (uint32_t i = 0; status == 0 && i < op->n; i++) {
        entries[i] = (struct cons_entry){
            .term = op->entries[i].term,
            .type = (enum cons_entry_type)op->entries[i].type,
            .data = op->entries[i].data,
        };
    }
    fetch_answer(f, status, entries, status == 0 ? op->n : 0);
    free(entries);
    if (status == ERR_CORRUPT || status == ERR_IO)
        replica_damage(f->replica, "read the log", &op->err);
    fetch_free(f);
}

static void log_fetch(void *ctx, uint64_t token, uint64_t peer, uint64_t first, uint32_t n)
{
    struct replica *r = ctx;
    struct log_fetch *f = calloc(1, sizeof *f);
    if (f == NULL) {
        env_fatal(r->store->env, "out of memory for a read of the log");
        return;
    }
    f->replica = r;
    f->token = token;
    f->generation = r->generation;
    f->op.data = f;
    f->op.group = r->replica_id;
    f->op.first = first;
    f->op.last = first + n - 1;
    f->op.bytes_max = FETCH_BYTES_MAX;
    f->op.cb = fetch_done;
    list_init(&f->in_fetches);
    int rv = raftlog_read(r->store->log, &f->op);
    f->is_failed = rv != 0;
    LOG_DEBUG(r->store->logger, "log_fetch", "peer=%llu first=%llu n=%u status=%s",
              (unsigned long long)peer, (unsigned long long)first, n, err_name(rv));
    list_push_back(&r->fetches, &f->in_fetches);
    replica_wake(r);
}

void replica_log_turn(struct replica *r)
{
    LIST_FOREACH(it, &r->fetches)
    {
        struct log_fetch *f = list_entry(it, struct log_fetch, in_fetches);
        if (!f->is_failed)
            continue;
        fetch_answer(f, ERR_NOT_FOUND, NULL, 0);
        fetch_free(f);
        break; /* the answer may have changed the list; the next turn goes on */
    }
}

bool replica_log_is_reading(const struct replica *r)
{
    LIST_FOREACH(it, (struct list *)&r->fetches)
    {
        if (!list_entry(it, struct log_fetch, in_fetches)->is_failed)
            return true;
    }
    return false;
}

void replica_log_free(struct replica *r)
{
    struct list *link;
    while ((link = list_pop_front(&r->log_writes)) != NULL) {
        struct log_write *w = list_entry(link, struct log_write, in_log_writes);
        list_remove(&w->in_begun);
        free(w);
    }
    while ((link = list_pop_front(&r->fetches)) != NULL)
        fetch_free(list_entry(link, struct log_fetch, in_fetches));
}

/* ---- the rest of the table ---------------------------------------------------- */

static void cons_send(void *ctx, const struct cons_msg *msg)
{
    struct replica *r = ctx;
    store_send(r, msg);
}

static bool cons_peer_ready(void *ctx, uint64_t peer)
{
    struct replica *r = ctx;
    return store_peer_ready(r, peer);
}

static size_t cons_peer_room(void *ctx, uint64_t peer)
{
    return store_peer_room(ctx, peer);
}

static bool cons_peer_spared(void *ctx, uint64_t peer)
{
    return store_peer_spared(ctx, peer);
}

static void cons_committed(void *ctx, uint64_t from, uint64_t to)
{
    struct replica *r = ctx;
    ASSERT(from < to);
    raftlog_note_commit(r->store->log, r->replica_id, to);
    replica_apply_wake(r);
}

static void cons_config_changed(void *ctx, const struct cons_config *config, uint64_t index,
                                bool is_committed)
{
    struct replica *r = ctx;
    if (r->nap.is_unparking)
        return;
    LOG_INFO(r->store->logger, "membership", "range=%llu members=%u voters=%u index=%llu %s",
             (unsigned long long)r->range_id, config->n, cons_config_voters(config),
             (unsigned long long)index, is_committed ? "committed" : "appended");
}

static void cons_install_snapshot(void *ctx, const struct cons_base *base, uint64_t from)
{
    struct replica *r = ctx;
    (void)from;
    snapshot_in_install(r, base);
}

static void cons_need_snapshot(void *ctx, uint64_t target)
{
    snapshot_out_start(ctx, target);
}

const struct cons_ops replica_cons_ops = {
    .persist = log_persist,
    .log_term = log_term,
    .log_entries = log_entries,
    .log_fetch = log_fetch,
    .send = cons_send,
    .peer_ready = cons_peer_ready,
    .peer_room = cons_peer_room,
    .peer_spared = cons_peer_spared,
    .committed = cons_committed,
    .config_changed = cons_config_changed,
    .role_changed = replica_on_role,
    .woken = sleep_on_woken,
    .install_snapshot = cons_install_snapshot,
    .need_snapshot = cons_need_snapshot,
};

/* ---- starting consensus ---------------------------------------------------------- */

struct changes {
    struct cons_change *items;
    size_t n;
    size_t cap;
};

static int collect_change(void *data, uint64_t index, const struct raftlog_entry *entry)
{
    struct changes *c = data;
    if (entry->type != CONS_CHANGE)
        return 0;
    if (c->n == c->cap) {
        size_t cap = c->cap == 0 ? 8 : c->cap * 2;
        struct cons_change *items = realloc(c->items, cap * sizeof *items);
        if (items == NULL)
            return ERR_NOMEM;
        c->items = items;
        c->cap = cap;
    }
    uint8_t *copy = malloc(MAX(entry->data.len, 1));
    if (copy == NULL)
        return ERR_NOMEM;
    if (entry->data.len > 0)
        memcpy(copy, entry->data.data, entry->data.len);
    c->items[c->n++] =
        (struct cons_change){.index = index, .data = slice_of(copy, entry->data.len)};
    return 0;
}

static void changes_fini(struct changes *c)
{
    for (size_t i = 0; i < c->n; i++)
        free((void *)(uintptr_t)c->items[i].data.data);
    free(c->items);
}

static int base_of_range(const struct replica *r, struct cons_base *ret, struct err *err)
{
    const struct range_meta *meta = range_meta(r->range);
    ret->index = meta->applied_index;
    ret->term = meta->applied_term;
    ret->config_index = meta->conf_index;
    return cons_config_decode(buf_slice(&meta->conf), &ret->config, err);
}

/* For how long a new instance gives no vote: the last one may have made promises to a leader
 * (consensus/lease.c). In the same process it made none unless leases are on; before, who
 * knows how the process was configured: those were made before this one began. */
static uint32_t hold_ms(const struct replica *r)
{
    const struct store_options *opt = &r->store->opt;
    if (r->is_newborn)
        return 0;
    if (opt->has_leases)
        return opt->election_timeout_ms;
    uint64_t passed_ms = store_now_ms(r->store) - r->store->began_ms;
    return r->has_run || passed_ms >= opt->election_timeout_ms
               ? 0
               : opt->election_timeout_ms - (uint32_t)passed_ms;
}

void replica_cons_options(struct replica *r, struct cons_options *ret_options)
{
    const struct store_options *opt = &r->store->opt;
    *ret_options = (struct cons_options){
        .replica_id = r->replica_id,
        .group_id = r->range_id,
        .store_id = opt->store_id,
        .first_write_id = r->next_write_id,
        .election_timeout_ms = opt->election_timeout_ms,
        .heartbeat_ms = opt->heartbeat_ms,
        .lease_ms = opt->has_leases ? opt->election_timeout_ms : 0,
        .drift_ppm = opt->max_clock_drift_ppm,
        .hold_ms = hold_ms(r),
        .inflight = &r->store->inflight,
        .seed = env_random(r->store->env),
        .ops = &replica_cons_ops,
        .ctx = r,
    };
}

static int consensus_make(struct replica *r, struct consensus **ret, struct err *err)
{
    struct cons_options options;
    replica_cons_options(r, &options);
    return consensus_new(ret, &options, err);
}

int replica_start_consensus(struct replica *r, struct err *err)
{
    ASSERT(r->cons == NULL);
    ASSERT(list_is_empty(&r->log_writes));
    struct raftlog *log = r->store->log;
    struct raftlog_group_state state = {.first_index = 1};
    struct cons_start start = {0};
    struct changes changes = {0};
    int rv = raftlog_group_state(log, r->replica_id, &state);
    if (rv != 0 && r->range == NULL)
        rv = 0; /* blank, and never asked for a vote */
    if (rv != 0)
        return err_set(err, ERR_CORRUPT, "the log does not know replica %llu",
                       (unsigned long long)r->replica_id);
    if (state.is_damaged)
        return err_set(err, ERR_CORRUPT, "the log of replica %llu is damaged",
                       (unsigned long long)r->replica_id);
    if (r->range != NULL)
        rv = base_of_range(r, &start.base, err);
    if (rv != 0)
        return err_wrap(err, rv, "Raft configuration");
    start.term = state.term;
    start.vote = state.vote;
    /* A group is born in this term, and nobody ever leads in it: a blank member may begin
     * there without having made it durable. In term 0 it would refuse its vote (T11), and
     * of a split that too many members have missed nothing would come. */
    if (r->range == NULL)
        start.term = MAX(start.term, (uint64_t)RANGE_BIRTH_TERM);
    start.first_index = log_room_first_known(r, start.base.index);
    start.last_index = state.last_index;
    /* Those at and below the base are in its configuration: they need not be read, and a dormant
     * replica, which has no others, wakes without looking at the disk. */
    uint64_t from = MAX(state.first_index, start.base.index + 1);
    if (state.last_index >= from)
        rv = raftlog_each(log, r->replica_id, from, state.last_index, CONS_CHANGE, collect_change,
                          &changes, err);
    start.changes = changes.items;
    start.n_changes = changes.n;
    if (rv == 0)
        rv = consensus_make(r, &r->cons, err);
    if (rv == 0) {
        r->generation++;
        rv = consensus_start(r->cons, store_now_ms(r->store), &start, err);
    }
    r->is_newborn = false;
    r->has_run = true;
    if (rv != 0) {
        consensus_free(r->cons);
        r->cons = NULL;
    }
    changes_fini(&changes);
    return rv;
}
