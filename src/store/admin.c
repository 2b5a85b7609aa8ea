/* SPDX-License-Identifier: Apache-2.0
 *
 * What operators ask of a store: who it is, bootstrap, status, hand-over, flush.
 */
#include <stdio.h>
#include <stdlib.h>

#include "net/net_peer.h"
#include "store/check.h"
#include "store/driver.h"
#include "store/merge.h"
#include "store/service.h"
#include "store/store_internal.h"

_Static_assert((int)IDENTITY_MEMBERS_MAX <= (int)DESCRIPTOR_MEMBERS_MAX, "members fit an answer");

/* ---- who are you --------------------------------------------------------------- */

static void fill_member(const struct store *store, const struct book_entry *from,
                        uint64_t replica_id, struct member *to)
{
    *to = (struct member){
        .replica_id = replica_id,
        .store_id = from->store_id,
        .role = MEMBER_VOTER,
        .address = slice_str(store_where(store, from)),
    };
    memcpy(to->store_uuid, from->uuid, sizeof to->store_uuid);
}

/* The members of the birth; without fixed ones, whom the book knows (under the ids of their
 * stores: what matters is where they are). */
static void fill_members(const struct store *store, struct response_identify *identify)
{
    const struct identity *id = &store->identity;
    const struct book_entry *e;
    for (uint32_t i = 0; (e = book_at(&store->book, i)) != NULL; i++) {
        const struct identity_member *m = identity_member_by_store(id, e->store_id);
        if (e->is_removed || identify->member_count == DESCRIPTOR_MEMBERS_MAX ||
            (store_is_static(store) && m == NULL))
            continue;
        fill_member(store, e, store_is_static(store) ? m->replica_id : e->store_id,
                    &identify->members[identify->member_count++]);
    }
}

static void on_identify(struct store *store, const struct answer_to *to)
{
    const struct identity *id = &store->identity;
    struct response response = {
        .kind = REQUEST_IDENTIFY,
        .identify =
            {
                .cluster_id = id->cluster_id,
                .store_id = id->store_id,
                .is_born = identity_is_bootstrapped(id),
            },
    };
    memcpy(response.identify.store_uuid, id->uuid, sizeof id->uuid);
    if (identity_is_bootstrapped(id))
        fill_members(store, &response.identify);
    service_answer(store, to, &response);
}

/* ---- bootstrap --------------------------------------------------------------------- */

static int take_members(const struct request_bootstrap *boot, struct identity_member *members,
                        struct err *err)
{
    if (boot->member_count == 0 || boot->member_count > IDENTITY_MEMBERS_MAX)
        return err_set(err, ERR_INVALID, "%u members, limit %d", boot->member_count,
                       IDENTITY_MEMBERS_MAX);
    for (uint32_t i = 0; i < boot->member_count; i++) {
        const struct member *from = &boot->members[i];
        struct identity_member *m = &members[i];
        if (from->address.len == 0 || from->address.len >= sizeof m->address ||
            memchr(from->address.data, 0, from->address.len) != NULL)
            return err_set(err, ERR_INVALID, "an address of %zu bytes", from->address.len);
        if (from->role != MEMBER_VOTER)
            return err_set(err, ERR_INVALID, "the first members are all voters");
        *m = (struct identity_member){.replica_id = from->replica_id, .store_id = from->store_id};
        memcpy(m->uuid, from->store_uuid, sizeof m->uuid);
        memcpy(m->address, from->address.data, from->address.len);
    }
    return 0;
}

static int bootstrap(struct store *store, const struct request_bootstrap *boot, struct err *err)
{
    struct identity_member members[IDENTITY_MEMBERS_MAX];
    if (store->state == STORE_DAMAGED)
        return err_set(err, ERR_CORRUPT, "this store is damaged");
    if (!store_is_static(store))
        return err_set(err, ERR_UNSUPPORTED,
                       "clusters are not bootstrapped any more: the first node founds one, the "
                       "others join it (holdfastd --join)");
    int rv = take_members(boot, members, err);
    if (rv != 0)
        return rv;
    rv = store_check_members(members, boot->member_count, err);
    if (rv != 0)
        return rv;
    bool was_bootstrapped = identity_is_bootstrapped(&store->identity);
    if (!was_bootstrapped && store->state != STORE_UNBORN)
        return err_set(err, ERR_STATE, "this store is stopping");
    rv = identity_bootstrap(store->env, store->data_dir, &store->identity, boot->cluster_id,
                            members, boot->member_count, err);
    if (rv != 0 || was_bootstrapped)
        return rv;
    net_set_cluster(store->net, store->identity.cluster_id, store->opt.store_id);
    rv = store_learn_members(store, err);
    if (rv == 0)
        rv = store_birth(store, err);
    if (rv == 0)
        rv = store_dial_peers(store, err);
    if (rv != 0) /* recorded for life, but not born: the next start does it */
        store_fail(store, "bootstrap", err);
    return rv;
}

static void on_bootstrap(struct store *store, const struct answer_to *to,
                         const struct request *request)
{
    struct err err = {0};
    int rv = bootstrap(store, &request->bootstrap, &err);
    if (rv == ERR_IO || rv == ERR_NO_SPACE) {
        store_fail(store, "bootstrap", &err);
        return;
    }
    service_answer_status(store, to, rv, rv == 0 ? NULL : err.msg);
}

/* ---- figures ---- */

enum { FIGURES_BYTES_MAX = 1 << 20 };

struct figures {
    struct buf raw;
    uint32_t count;
};

static void add_number(struct figures *out, const char *name, uint64_t number)
{
    stat_append_number(&out->raw, name, number);
    out->count++;
}

static void add_text(struct figures *out, const char *name, struct slice text)
{
    stat_append_text(&out->raw, name, text);
    out->count++;
}

static struct pack_list figures_list(const struct figures *f)
{
    return (struct pack_list){.count = f->count, .raw = buf_slice(&f->raw)};
}

/* ---- status --------------------------------------------------------------------------- */

static void stats_of_members(const struct cons_status *s, struct figures *out)
{
    for (uint32_t i = 0; i < s->n_members; i++) {
        const struct cons_member_status *m = &s->members[i];
        char name[64];
        snprintf(name, sizeof name, "replica.%llu.match", (unsigned long long)m->replica_id);
        add_number(out, name, m->match);
        snprintf(name, sizeof name, "replica.%llu.live", (unsigned long long)m->replica_id);
        add_number(out, name, m->is_live);
    }
}

/* Of a replica that has a consensus, here or parked. */
static void status_of(const struct replica *r, struct cons_status *ret_status)
{
    if (r->cons != NULL)
        consensus_status(r->cons, ret_status);
    else
        consensus_parked_status(r->nap.parked, r->replica_id, r->range_id, ret_status);
}

static const char *role_text(const struct cons_status *s)
{
    if (s->state == CONS_LEADER)
        return s->is_ready ? "leader" : "new leader";
    return s->state == CONS_CANDIDATE ? "candidate" : "follower";
}

static void stats_of_replica(const struct replica *r, struct figures *out)
{
    struct cons_status s;
    if (r->range != NULL) {
        add_number(out, "raft.applied", range_meta(r->range)->applied_index);
        add_number(out, "raft.flushed", range_flushed_index(r->range));
        add_number(out, "range.time_ms", range_meta(r->range)->time_ms);
        add_number(out, "range.retention_ms", range_meta(r->range)->retention_ms);
    }
    add_number(out, "queue.writes", r->writes.count);
    add_number(out, "queue.reads", r->read_count);
    add_number(out, "raft.asleep", r->nap.is_asleep);
    if (r->cons == NULL && r->nap.parked == NULL) {
        add_text(out, "raft.role", slice_str("none"));
        add_number(out, "raft.leader", 0);
        return;
    }
    status_of(r, &s);
    add_text(out, "raft.role", slice_str(role_text(&s)));
    add_number(out, "raft.leader", s.leader);
    add_number(out, "raft.term", s.term);
    add_number(out, "raft.commit", s.commit);
    add_number(out, "raft.last", s.last_index);
    add_number(out, "raft.snapshot", s.snapshot_index);
    stats_of_members(&s, out);
}

/* An estimate from indexes in memory, and a key that would halve it (on-disk form, hex). */
static void add_size(const struct replica *r, struct figures *out)
{
    struct range_span span = range_descriptor_span(range_descriptor(r->range));
    struct lsm_approx approx = {0};
    struct buf text;
    struct lsm_view *view = lsm_view_take(r->store->lsm);
    if (view == NULL)
        return;
    int rv = lsm_approximate(view, span.start, span.end, LSM_READ_NO_IO, &approx, NULL);
    lsm_view_unref(view);
    buf_init(&text, 2 * RANGE_KEY_MAX + 1);
    if (rv == 0) {
        add_number(out, "range.bytes", approx.bytes);
        add_number(out, "range.keys", approx.records);
        for (size_t i = 0; i < approx.middle.len; i++)
            buf_printf(&text, "%02x", approx.middle.data[i]);
        if (approx.middle.len > 0 && !text.failed)
            add_text(out, "range.middle", buf_slice(&text));
    }
    add_number(out, "range.qps", replica_load(r));
    buf_fini(&text);
    buf_fini(&approx.middle);
}

/* Nothing while too few of the voters' clocks are known. */
static void add_clock(const struct store *store, struct figures *out)
{
    char text[32];
    if (!store->clock.is_known)
        return;
    snprintf(text, sizeof text, "%lld", (long long)store->clock.offset_ms);
    add_text(out, "clock.offset_ms", slice_str(text));
    add_text(out, "clock.state", slice_str(store->clock.is_off ? "off" : "good"));
}

/* Of each level that has files, or had. */
static void stats_of_levels(const struct lsm_stats *lsm, struct figures *out)
{
    for (int i = 0; i < LSM_LEVELS; i++) {
        const struct lsm_level_stats *l = &lsm->levels[i];
        const struct {
            const char *name;
            uint64_t value;
        } figures[] = {{"files", l->files},
                       {"bytes", l->bytes},
                       {"records", l->records},
                       {"deletes", l->deletes},
                       {"target_bytes", l->target_bytes},
                       {"write_bytes", l->write_bytes},
                       {"moved_bytes", l->moved_bytes},
                       {"read_bytes", l->read_bytes},
                       {"gets", l->gets}};
        if (l->files == 0 && l->write_bytes + l->moved_bytes == 0)
            continue;
        for (size_t n = 0; n < ARRAY_LEN(figures); n++) {
            char name[64];
            snprintf(name, sizeof name, "engine.level.%d.%s", i, figures[n].name);
            add_number(out, name, figures[n].value);
        }
    }
}

static void stats_of_engine(const struct lsm_stats *lsm, struct figures *out)
{
    uint64_t table_bytes = 0;
    for (int i = 0; i < LSM_LEVELS; i++)
        table_bytes += lsm->levels[i].bytes;
    table_bytes += lsm->value_bytes;
    add_number(out, "engine.memtable_bytes", lsm->memtable_bytes);
    add_number(out, "engine.memtables_frozen", lsm->memtables_frozen);
    add_number(out, "engine.table_bytes", table_bytes);
    add_number(out, "engine.value_bytes", lsm->value_bytes);
    add_number(out, "engine.value_live_bytes", lsm->value_live_bytes);
    add_number(out, "engine.cache_bytes", lsm->cache_bytes);
    add_number(out, "engine.cache_hits", lsm->cache_hits);
    add_number(out, "engine.cache_misses", lsm->cache_misses);
    add_number(out, "engine.write_bytes", lsm->write_bytes);
    add_number(out, "engine.flushes", lsm->flushes);
    add_number(out, "engine.flush_bytes", lsm->flush_bytes);
    add_number(out, "engine.compactions", lsm->compactions);
    add_number(out, "engine.compaction_read_bytes", lsm->compact_read_bytes);
    add_number(out, "engine.compaction_write_bytes", lsm->compact_write_bytes);
    add_number(out, "engine.compaction_moves", lsm->compact_moves);
    add_number(out, "engine.stall_slow_us", lsm->slow_us);
    add_number(out, "engine.stall_stop_us", lsm->stop_us);
    add_number(out, "engine.stall_refusals", lsm->refusals);
    add_number(out, "engine.retries", lsm->retries);
    add_number(out, "engine.damaged_files", lsm->damaged_files);
    add_number(out, "engine.scrub_bytes", lsm->scrub_bytes);
    add_number(out, "engine.scrub_rounds", lsm->scrub_rounds);
    add_number(out, "engine.scrub_errors", lsm->scrub_errors);
    stats_of_levels(lsm, out);
}

static void stats_of_sleepers(const struct store *store, struct figures *out)
{
    const struct sleepers *s = &store->sleepers;
    uint64_t woken = 0;
    for (int i = 0; i < SLEEP_END_NR; i++)
        woken += s->woken[i];
    add_number(out, "ranges.replicas", replicas_count(&store->replicas));
    add_number(out, "ranges.asleep", s->count);
    add_number(out, "ranges.parked", s->parked);
    add_number(out, "ranges.slept", s->slept);
    add_number(out, "ranges.woken", woken);
    add_number(out, "ranges.woken_by_store",
               s->woken[SLEEP_WOKEN_BY_SILENCE] + s->woken[SLEEP_WOKEN_BY_BOOT]);
    add_number(out, "pulse.sent", store->pulses.sent);
    add_number(out, "pulse.items", store->pulses.items);
}

static void stats_of_snapshots(const struct store *store, struct figures *out)
{
    add_number(out, "snapshot.out", store->snapshots_out);
    add_number(out, "snapshot.in", store->snapshots_in);
    add_number(out, "snapshot.held", store->snapshots_held);
    add_number(out, "snapshot.bytes_per_s", store->moving.throttle.rate);
    add_number(out, "snapshot.rest_us", store->moving.throttle.rest_us);
}

static void stats_of_rooms(const struct store *store, struct figures *out)
{
    add_text(out, "store.state", slice_str(store_state_name(store->state)));
    add_text(out, "store.disk", slice_str(watermark_name(store->mark)));
    add_text(out, "store.disk_pace", slice_str(store->pace.is_slow ? "slow" : "good"));
    add_clock(store, out);
    if (store->log == NULL || store->lsm == NULL)
        return;
    struct raftlog_stats log;
    struct lsm_stats lsm;
    struct net_stats net;
    raftlog_stats(store->log, &log);
    lsm_stats(store->lsm, &lsm);
    net_stats(store->net, &net);
    add_number(out, "log.file_bytes", log.file_bytes);
    add_number(out, "log.live_bytes", log.live_bytes);
    add_number(out, "log.cache_bytes", log.cache_bytes);
    add_number(out, "log.room_bytes", raftlog_room(store->log));
    add_number(out, "log.appends", log.appends);
    add_number(out, "log.append_bytes", log.append_bytes);
    add_number(out, "log.syncs", log.batches);
    add_number(out, "log.sync_us_sum", log.sync_us_sum);
    add_number(out, "log.sync_us_max", log.sync_us_max);
    add_number(out, "memory_bytes",
               lsm.memtable_bytes + lsm.cache_bytes + log.cache_bytes + log.pending_bytes +
                   net.clients_memory + store->watches.feeds.bytes);
    stats_of_engine(&lsm, out);
    stats_of_sleepers(store, out);
    stats_of_snapshots(store, out);
    add_number(out, "watch.waiting", store->watches.count);
    add_number(out, "watch.feed_bytes", store->watches.feeds.bytes);
    add_number(out, "admit.held", store->admit.held_count);
    add_number(out, "admit.held_bytes", store->admit.held_bytes);
    add_number(out, "admit.waiting", store->admit.waiting.count);
    add_number(out, "admit.waited", store->admit.stats.waited);
    add_number(out, "admit.refused", store->admit.stats.refused);
    add_number(out, "admit.refused_late", store->admit.stats.refused_late);
    add_number(out, "admit.dropped", store->admit.stats.dropped);
    add_number(out, "net.clients", net.clients);
    add_number(out, "net.clients_paused", net.clients_paused);
    add_number(out, "net.clients_memory", net.clients_memory);
}

static void fill_descriptor(const struct replica *r, struct descriptor *ret)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    *ret = (struct descriptor){
        .range_id = d->range_id,
        .start = slice_of(d->start, d->start_len),
        .end = slice_of(d->end, d->end_len),
        .conf_epoch = d->epoch.conf,
        .span_epoch = d->epoch.span,
    };
    for (uint32_t i = 0; i < d->replica_count && i < DESCRIPTOR_MEMBERS_MAX; i++) {
        const struct book_entry *e = book_find(&r->store->book, d->replicas[i].store_id);
        if (e == NULL)
            continue;
        struct member *to = &ret->members[ret->member_count++];
        fill_member(r->store, e, d->replicas[i].replica_id, to);
        to->role = d->replicas[i].role == RANGE_ROLE_VOTER ? MEMBER_VOTER : MEMBER_LEARNER;
    }
}

struct replica *store_first_data(const struct store *store)
{
    struct replica *r = replicas_by_span(&store->replicas, 0);
    if (r != NULL && r->range_id == RANGE_ID_SYSTEM)
        r = replicas_by_span(&store->replicas, 1);
    return r;
}

/* The range that is asked about, by id or key; the first data range here, if neither is
 * named. */
static struct replica *asked_replica(const struct store *store, const struct request *request)
{
    if (request->range_id != 0)
        return replicas_of_range(&store->replicas, request->range_id);
    if (request->kind == REQUEST_STATUS && request->status.key.len > 0)
        return replicas_at_key(&store->replicas, request->status.key);
    return store_first_data(store);
}

static const char *why_no_replica(const struct store *store, const struct request *request)
{
    if (store->state == STORE_DAMAGED)
        return "this store is damaged";
    if (store->state == STORE_UNBORN)
        return "this store is not bootstrapped";
    return request->range_id != 0 || request->kind == REQUEST_STATUS
               ? "no replica of this range is here"
               : "no replica is here";
}

/* No replica is here: name somebody who has one, or who knows. */
static void answer_elsewhere(struct store *store, const struct answer_to *to,
                             const struct request *request)
{
    struct response response = {.status = ERR_STATE,
                                .text = slice_str(why_no_replica(store, request))};
    uint64_t store_id =
        request->kind == REQUEST_STATUS ? driver_route(store, request->status.key) : 0;
    const struct book_entry *e =
        book_find(&store->book, store_id != 0 ? store_id : beats_leader(store));
    if (e != NULL && e->store_id != store->opt.store_id && store->state != STORE_DAMAGED)
        response.leader = (struct leader_hint){
            .replica_id = 1, .store_id = e->store_id, .address = slice_str(e->address)};
    service_answer(store, to, &response);
}

/* A client looks for who leads it, and would send its request there: nobody does. */
static bool is_missed(const struct replica *r, const struct request *request)
{
    return !request->status.wants_size && (request->range_id != 0 || request->status.key.len > 0) &&
           sleep_leader(r, NULL) == 0;
}

static void on_status(struct store *store, struct answer_to *to, const struct request *request)
{
    struct figures figures = {0};
    struct replica *r = asked_replica(store, request);
    if (r == NULL || r->range == NULL) {
        answer_elsewhere(store, to, request);
        return;
    }
    to->range_id = r->range_id;
    buf_init(&figures.raw, FIGURES_BYTES_MAX);
    stats_of_rooms(store, &figures);
    stats_of_replica(r, &figures);
    if (request->status.wants_size)
        add_size(r, &figures);
    struct response response = {
        .kind = REQUEST_STATUS,
        .status_of =
            {
                .cluster_id = store->identity.cluster_id,
                .store_id = store->opt.store_id,
                .replica_id = r->replica_id,
                .stats = figures_list(&figures),
            },
    };
    if (r->cons != NULL || r->nap.parked != NULL)
        response.status_of.term = r->cons != NULL ? consensus_term(r->cons) : r->nap.rest.term;
    fill_descriptor(r, &response.status_of.descriptor);
    service_answer(store, to, &response);
    buf_fini(&figures.raw);
    if (is_missed(r, request))
        sleep_on_asked(r);
}

static void on_stats(struct store *store, const struct answer_to *to, const struct request *request)
{
    struct figures figures = {0};
    const struct replica *r = asked_replica(store, request);
    buf_init(&figures.raw, FIGURES_BYTES_MAX);
    stats_of_rooms(store, &figures);
    if (r != NULL)
        stats_of_replica(r, &figures);
    struct response response = {
        .kind = REQUEST_STATS,
        .stats = {.stats = figures_list(&figures)},
    };
    service_answer(store, to, &response);
    buf_fini(&figures.raw);
}

/* ---- hand-over and flush ------------------------------------------------------------------ */

struct transfer_op {
    struct list in_transfers;
    struct answer_to to;
    uint64_t term;
};

static void on_transfer(struct store *store, struct answer_to *to, const struct request *request)
{
    struct replica *r = asked_replica(store, request);
    if (r != NULL)
        to->range_id = r->range_id;
    if (r == NULL || !replica_leads(r)) {
        service_answer_status(store, to, ERR_NOT_LEADER, NULL);
        return;
    }
    if (request->transfer_leader.target_replica == r->replica_id) {
        service_answer_status(store, to, 0, NULL); /* as when it is asked for twice */
        return;
    }
    struct transfer_op *op = calloc(1, sizeof *op);
    int rv = op == NULL ? ERR_BUSY
                        : consensus_transfer(r->cons, replica_now_ms(r),
                                             request->transfer_leader.target_replica);
    if (rv != 0) {
        free(op);
        service_answer_status(
            store, to, rv,
            rv == ERR_NOT_FOUND ? "who should lead is no voter, or does not answer" : NULL);
        return;
    }
    op->to = *to;
    op->term = consensus_term(r->cons);
    list_init(&op->in_transfers);
    list_push_back(&store->transfers, &op->in_transfers);
    store_wake(store);
}

/* Answer those whose hand-over is done, was given up, or took too long. */
void admin_tick(struct store *store)
{
    uint64_t now_us = env_now_us(store->env);
    LIST_FOREACH(it, &store->transfers)
    {
        struct transfer_op *op = list_entry(it, struct transfer_op, in_transfers);
        const struct replica *r = replicas_of_range(&store->replicas, op->to.range_id);
        struct cons_status s = {0};
        if (r != NULL && (r->cons != NULL || r->nap.parked != NULL))
            status_of(r, &s);
        bool is_done = s.state != CONS_LEADER || s.term != op->term;
        bool is_over = s.transferee == 0 || op->to.deadline_us <= now_us;
        if (!is_done && !is_over)
            continue;
        list_remove(&op->in_transfers);
        if (is_done)
            service_answer_status(store, &op->to, 0, NULL);
        else if (s.transferee == 0 && !s.has_told_to_stand)
            service_answer_status(store, &op->to, ERR_TIMEOUT, "the hand-over was given up");
        else /* the other one may stand for election yet */
            service_answer_status(store, &op->to, ERR_UNDETERMINED,
                                  "the hand-over has not happened in time, and may yet");
        free(op);
    }
}

/* Ids of ranges and replicas are placement's to give, once ever. One that a client made up
 * may come again from there, and a tombstone would keep that range off the store for ever.
 * Stores that were born with their members named (peers) have no placement. */
static bool brings_own_ids(const struct store *store, const struct answer_to *to,
                           const struct request *request)
{
    bool has_ids = request->kind == REQUEST_SPLIT || request->kind == REQUEST_CHANGE_MEMBER;
    return has_ids && to->inner == NULL && store->opt.peer_count == 0;
}

/* How long a range keeps old versions is said of its keyspace, where there is placement: it would
 * have the range go back to that. */
static bool overrides_keyspace(const struct store *store, const struct answer_to *to,
                               const struct request *request)
{
    return request->kind == REQUEST_RETAIN && to->inner == NULL && store->opt.peer_count == 0;
}

static void on_change(struct store *store, struct answer_to *to, const struct request *request)
{
    if (overrides_keyspace(store, to, request)) {
        service_answer_status(
            store, to, ERR_INVALID,
            "how long old versions are kept is said of a keyspace: ask placement");
        return;
    }
    if (brings_own_ids(store, to, request)) {
        service_answer_status(store, to, ERR_INVALID,
                              "replicas and ranges get their ids from placement: ask there");
        return;
    }
    struct replica *r = asked_replica(store, request);
    if (r != NULL)
        to->range_id = r->range_id;
    if (r == NULL || r->range == NULL)
        service_answer_status(store, to, ERR_RANGE_CHANGED, why_no_replica(store, request));
    else if (!replica_leads(r)) /* awake, to judge it */
        service_answer_status(store, to, ERR_NOT_LEADER, NULL);
    else if (request->kind == REQUEST_SPLIT)
        replica_split(r, to, request);
    else if (request->kind == REQUEST_MERGE)
        merge_on_request(r, to, request);
    else if (request->kind == REQUEST_RETAIN)
        replica_retain(r, to, request);
    else
        replica_change_member(r, to, request);
}

struct flush_op {
    struct list in_flushes;
    struct store *store;
    struct answer_to to;
    struct lsm_flush_op flush;
};

static void on_flushed(struct lsm_flush_op *flush, int status)
{
    struct flush_op *op = flush->data;
    list_remove(&op->in_flushes);
    service_answer_status(op->store, &op->to, status, NULL);
    free(op);
}

static void on_flush(struct store *store, const struct answer_to *to)
{
    struct flush_op *op = calloc(1, sizeof *op);
    int rv = op == NULL ? ERR_BUSY : 0;
    if (rv == 0 && (store->lsm == NULL || !list_is_empty(&store->flushes)))
        rv = ERR_BUSY;
    if (rv == 0) {
        op->store = store;
        op->to = *to;
        op->flush.data = op;
        list_init(&op->in_flushes);
        rv = lsm_flush(store->lsm, &op->flush, on_flushed);
    }
    if (rv != 0) {
        free(op);
        service_answer_status(store, to, rv, NULL);
        return;
    }
    list_push_back(&store->flushes, &op->in_flushes);
}

void admin_free(struct store *store)
{
    struct list *link;
    while ((link = list_pop_front(&store->transfers)) != NULL)
        free(list_entry(link, struct transfer_op, in_transfers));
    while ((link = list_pop_front(&store->flushes)) != NULL)
        free(list_entry(link, struct flush_op, in_flushes));
}

void admin_on_request(struct store *store, struct answer_to *to, const struct request *request)
{
    switch (request->kind) {
    case REQUEST_IDENTIFY:
        on_identify(store, to);
        break;
    case REQUEST_BOOTSTRAP:
        on_bootstrap(store, to, request);
        break;
    case REQUEST_STATUS:
        on_status(store, to, request);
        break;
    case REQUEST_STATS:
        on_stats(store, to, request);
        break;
    case REQUEST_TRANSFER_LEADER:
        on_transfer(store, to, request);
        break;
    case REQUEST_FLUSH:
        on_flush(store, to);
        break;
    case REQUEST_SPLIT:
    case REQUEST_MERGE:
    case REQUEST_RETAIN:
    case REQUEST_CHANGE_MEMBER:
        on_change(store, to, request);
        break;
    case REQUEST_CHECK_START:
    case REQUEST_CHECK_RESULT:
        check_on_request(store, to, request);
        break;
    case REQUEST_JOIN:
        driver_on_join(store, to, request);
        break;
    case REQUEST_PLACEMENT:
        driver_on_request(store, to, request);
        break;
    default:
        service_answer_status(
            store, to, ERR_UNSUPPORTED,
            "this version does not change the members of a running cluster: export, "
            "bootstrap a new one with the members wanted, import");
        break;
    }
}
