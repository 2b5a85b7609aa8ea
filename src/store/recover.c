/* SPDX-License-Identifier: Apache-2.0 */
#include "store/recover.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "range/merge.h"
#include "store/store_internal.h"

enum {
    LOOK_US = 200 * 1000,
    STUCK_US = 60 * 1000 * 1000, /* no log goes on for so long */
    LINE_MAX_LEN = 512,
};

/* More than anybody can have got to since the last that this folder heard of. */
#define ID_STEP (UINT64_C(1) << 32)
#define ID_STORE (UINT64_C(1) << 20) /* of a step: those of one store */
#define TERM_STEP (UINT64_C(1) << 20)
#define EPOCH_STEP (UINT64_C(1) << 20)
#define INDEX_STEP (UINT64_C(1) << 20)
#define VERSION_STEP_MS (60 * 1000)

struct recover_one {
    struct replica *r;
    uint64_t new_id;
    struct raftlog_write log;
};

struct recover {
    struct env_timer timer;
    uint64_t applied_sum; /* of all replicas, when it last changed … */
    uint64_t moved_us;    /* … and when that was */
    struct recover_one *list;
    uint32_t count;
    uint32_t logs_left;
    bool is_begun; /* the plan is made */
    bool is_over;
    struct lsm_edit_op edit;
};

static void over(struct store *store, int status, const char *text)
{
    const struct store_recover *asked = store->opt.recover;
    if (store->recover->is_over)
        return;
    store->recover->is_over = true;
    env_timer_stop(&store->recover->timer);
    asked->done(asked->data, status, text);
}

static void PRINTF_LIKE(2, 3) say(const struct store *store, const char *fmt, ...)
{
    char line[LINE_MAX_LEN];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    store->opt.recover->say(store->opt.recover->data, line);
}

/* ---- what is to be done ------------------------------------------------------------------- */

static bool is_lost(const struct store *store, uint64_t store_id)
{
    const struct store_recover *asked = store->opt.recover;
    for (size_t i = 0; i < asked->lost_count; i++) {
        if (asked->lost[i] == store_id)
            return true;
    }
    return false;
}

static bool is_replayed(const struct replica *r)
{
    return r->state == REPLICA_REPLAYING && r->apply == APPLY_IDLE &&
           list_is_empty(&r->log_writes) && range_meta(r->range)->applied_index >= r->replay_to;
}

enum fate { FATE_KEEPS, FATE_RECOVERED, FATE_OTHERS };

/* *ret_other: a store that is not lost and has the range, too. */
static enum fate fate_of(const struct replica *r, uint64_t *ret_other)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    uint32_t voters = 0, alive = 0;
    *ret_other = 0;
    for (uint32_t i = 0; i < d->replica_count; i++) {
        const struct range_replica *m = &d->replicas[i];
        bool is_here = m->store_id == r->store->opt.store_id;
        voters += m->role == RANGE_ROLE_VOTER;
        alive += m->role == RANGE_ROLE_VOTER && (is_here || !is_lost(r->store, m->store_id));
        if (!is_here && !is_lost(r->store, m->store_id))
            *ret_other = m->store_id;
    }
    if (alive > voters / 2)
        return FATE_KEEPS;
    return *ret_other == 0 ? FATE_RECOVERED : FATE_OTHERS;
}

static void text_of_key(struct slice key, char *out, size_t size)
{
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; i < MIN(key.len, (size_t)24) && len + 5 < size; i++) {
        uint8_t c = key.data[i];
        bool is_plain = c > ' ' && c < 0x7f && c != '\\';
        len += (size_t)snprintf(out + len, size - len, is_plain ? "%c" : "\\x%02x", c);
    }
}

static void tell(const struct replica *r, enum fate fate, uint64_t new_id, uint64_t other)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    const struct range_meta *meta = range_meta(r->range);
    struct range_span span = range_descriptor_span(d);
    struct raftlog_group_state log = {0};
    raftlog_group_state(r->store->log, r->replica_id, &log);
    char start[128], end[128], stores[160];
    size_t len = 0;
    text_of_key(span.start, start, sizeof start);
    text_of_key(span.end, end, sizeof end);
    stores[0] = 0;
    for (uint32_t i = 0; i < d->replica_count && len + 32 < sizeof stores; i++)
        len += (size_t)snprintf(stores + len, sizeof stores - len, "%s%" PRIu64 "%s%s",
                                i > 0 ? "," : "", d->replicas[i].store_id,
                                d->replicas[i].role == RANGE_ROLE_LEARNER ? "(learner)" : "",
                                is_lost(r->store, d->replicas[i].store_id) ? "(lost)" : "");
    if (fate == FATE_KEEPS)
        say(r->store, "range %" PRIu64 " [%s, %s) on stores %s: keeps its majority, not touched",
            r->range_id, start, end, stores);
    else if (fate == FATE_OTHERS)
        say(r->store,
            "range %" PRIu64 " [%s, %s) on stores %s: store %" PRIu64 " has it, too: not touched",
            r->range_id, start, end, stores, other);
    else
        say(r->store,
            "range %" PRIu64 " [%s, %s) on stores %s: goes on with replica %" PRIu64
            " alone, at the end of its log, index %" PRIu64 ", under the new id %" PRIu64,
            r->range_id, start, end, stores, r->replica_id,
            MAX(log.last_index, meta->applied_index), new_id);
}

/* Above every replica id that this folder knows of, and apart from what is given to others that
 * are recovered from the folders of other stores. */
static uint64_t first_free_id(const struct store *store)
{
    uint64_t most = 0;
    uint32_t cursor = 0;
    const struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        most = MAX(most, r->replica_id);
        for (uint32_t i = 0; r->range != NULL && i < range_descriptor(r->range)->replica_count; i++)
            most = MAX(most, range_descriptor(r->range)->replicas[i].replica_id);
        uint64_t least = tombstones_least(&store->tombstones, r->range_id);
        most = least < TOMBSTONE_ENDED ? MAX(most, least) : most;
    }
    return (most / ID_STEP + 2) * ID_STEP + store->opt.store_id % (ID_STEP / ID_STORE) * ID_STORE;
}

/* How many are to be recovered; they are in the list. */
static int make_plan(struct store *store)
{
    struct recover *rec = store->recover;
    uint64_t id = first_free_id(store);
    const struct replica *r;
    rec->list = calloc(replicas_count(&store->replicas) + 1, sizeof *rec->list);
    if (rec->list == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; (r = replicas_by_span(&store->replicas, i)) != NULL; i++) {
        uint64_t other;
        enum fate fate = fate_of(r, &other);
        tell(r, fate, id, other);
        if (fate == FATE_RECOVERED)
            rec->list[rec->count++] = (struct recover_one){
                .r = replicas_get(&store->replicas, r->replica_id), .new_id = id++};
    }
    return 0;
}

/* ---- doing it ---------------------------------------------------------------------------------
 */

static int put_members(const struct store *store, const struct recover_one *one,
                       struct range_meta *meta, struct err *err)
{
    struct range_replica self = {
        .replica_id = one->new_id, .store_id = store->opt.store_id, .role = RANGE_ROLE_VOTER};
    struct cons_config config = {.n = 1};
    struct range_descriptor d = {0};
    const struct range_descriptor *was = &meta->descriptor;
    uint8_t conf[CONS_CONFIG_LEN_MAX];
    struct range_epoch epoch = {.conf = was->epoch.conf + EPOCH_STEP,
                                .span = was->epoch.span + EPOCH_STEP};
    config.members[0] = (struct cons_member){
        .replica_id = self.replica_id, .store_id = self.store_id, .role = CONS_VOTER};
    int rv =
        range_descriptor_init(&d, was->range_id, epoch, range_descriptor_span(was), &self, 1, err);
    if (rv != 0)
        return rv;
    range_descriptor_fini(&meta->descriptor);
    meta->descriptor = d;
    buf_clear(&meta->conf);
    buf_append(&meta->conf, conf, cons_config_encode(&config, conf));
    return meta->conf.failed ? ERR_NOMEM : 0;
}

/* The range's state as it goes on. */
static int make_meta(const struct store *store, const struct recover_one *one,
                     struct range_meta *meta, struct err *err)
{
    uint64_t now_ms = env_wall_ms(store->env);
    int rv = range_meta_copy(meta, range_meta(one->r->range));
    if (rv == 0)
        rv = put_members(store, one, meta, err);
    if (rv != 0)
        return err_wrap(err, rv, "range %" PRIu64, one->r->range_id);
    meta->applied_index = meta->conf_index = one->log.base_index;
    meta->applied_term = one->log.base_term;
    meta->time_ms = MIN(MAX(meta->time_ms, now_ms), RANGE_TIME_MAX);
    meta->last_version =
        MAX(meta->last_version, (meta->time_ms + VERSION_STEP_MS) << RANGE_VERSION_COUNTER_BITS);
    meta->floor_ms = MAX(meta->floor_ms, now_ms);
    sessions_forget(&meta->sessions, &meta->floor_ms);
    range_meta_check(meta);
    return 0;
}

static void on_edited(struct lsm_edit_op *op, int status)
{
    struct store *store = op->data;
    struct recover *rec = store->recover;
    char text[96];
    if (status != 0) {
        over(store, status, "the engine did not take the new state");
        return;
    }
    snprintf(text, sizeof text, "%" PRIu32 " ranges recovered: start this store", rec->count);
    over(store, 0, text);
}

/* All old logs stay until the next start finds what the edit says of them. */
static int edit(struct store *store, struct err *err)
{
    struct recover *rec = store->recover;
    struct lsm_batch puts;
    int rv = 0;
    lsm_batch_init(&puts);
    for (uint32_t i = 0; rv == 0 && i < rec->count; i++) {
        struct recover_one *one = &rec->list[i];
        struct range_meta meta;
        range_meta_init(&meta);
        rv = make_meta(store, one, &meta, err);
        if (rv == 0)
            rv = tombstones_raise(&store->tombstones, one->r->range_id, one->new_id);
        if (rv == 0)
            rv = range_meta_put(&meta, one->new_id, &puts);
        range_meta_fini(&meta);
        if (rv != 0)
            break;
        range_put_end(one->r->range, &puts);
        tombstone_put(&puts, &store->tombstones, one->r->range_id);
        tombstone_put_gone(&puts, one->r->replica_id);
    }
    /* What was applied since the last flush becomes durable before it. */
    rec->edit = (struct lsm_edit_op){.data = store, .puts = &puts, .freeze = true, .cb = on_edited};
    if (rv == 0)
        rv = lsm_edit(store->lsm, &rec->edit);
    rec->edit.puts = NULL;
    lsm_batch_fini(&puts);
    return rv;
}

static void on_log(struct raftlog_write *op)
{
    struct store *store = op->data;
    struct err err = {0};
    if (--store->recover->logs_left > 0)
        return;
    int rv = edit(store, &err);
    if (rv != 0)
        over(store, rv, err.code != 0 ? err.msg : err_name(rv));
}

static void begin_logs(struct store *store)
{
    struct recover *rec = store->recover;
    rec->logs_left = rec->count;
    for (uint32_t i = 0; i < rec->count; i++) {
        struct recover_one *one = &rec->list[i];
        const struct range_meta *meta = range_meta(one->r->range);
        struct raftlog_group_state state = {0};
        int rv = raftlog_group_state(store->log, one->r->replica_id, &state);
        ASSERT(rv == 0);
        uint64_t term = MAX(state.term, meta->applied_term) + TERM_STEP;
        /* Asked for before, and killed: then that log may have been made for another range. */
        if (raftlog_group_state(store->log, one->new_id, &state) == 0)
            term = MAX(term, state.term);
        one->log = (struct raftlog_write){
            .data = store,
            .group = one->new_id,
            .has_hard_state = true,
            .term = term,
            .has_reset = true,
            .base_index = meta->applied_index + INDEX_STEP,
            .base_term = term,
            .cb = on_log,
        };
    }
    for (uint32_t i = 0; i < rec->count; i++)
        raftlog_append(store->log, &rec->list[i].log);
}

/* ---- when
 * ---------------------------------------------------------------------------------------- */

/* All are where they are known to be committed. Those that are to be recovered go on to the end
 * of their logs, and what is split off on the way does, too; the others have their own majority,
 * which may have decided otherwise. False: nobody has anything left. */
static bool go_on(struct store *store)
{
    bool goes = false;
    struct replica *r;
    for (uint32_t i = 0; (r = replicas_by_span(&store->replicas, i)) != NULL; i++) {
        struct raftlog_group_state state = {0};
        uint64_t other;
        if (fate_of(r, &other) != FATE_RECOVERED)
            continue;
        raftlog_group_state(store->log, r->replica_id, &state);
        if (state.last_index <= r->replay_to)
            continue;
        r->replay_to = state.last_index;
        replica_apply_wake(r);
        goes = true;
    }
    return goes;
}

static void begin(struct store *store)
{
    struct recover *rec = store->recover;
    rec->is_begun = true;
    int rv = make_plan(store);
    if (rv != 0)
        over(store, rv, "out of memory");
    else if (rec->count == 0)
        over(store, ERR_STATE, "no range of this folder has lost its majority so");
    else if (store->opt.recover->is_plan)
        over(store, 0, "nothing was changed: --yes does it");
    else
        begin_logs(store);
}

/* The first that is not at its end; NULL: all are. */
static const struct replica *who_lags(const struct store *store, uint64_t *ret_sum)
{
    const struct replica *lags = NULL;
    uint32_t cursor = 0;
    const struct replica *r;
    *ret_sum = 0;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        *ret_sum += r->range == NULL ? 0 : range_meta(r->range)->applied_index;
        if (lags == NULL && !is_replayed(r))
            lags = r;
    }
    return lags;
}

static void look(struct store *store)
{
    struct recover *rec = store->recover;
    uint64_t now_us = env_now_us(store->env);
    uint64_t sum;
    if (rec->is_begun || rec->is_over)
        return;
    const struct replica *lags = who_lags(store, &sum);
    if (lags == NULL) {
        if (store->opt.recover->is_plan || !go_on(store))
            begin(store);
        return;
    }
    if (store->state == STORE_DAMAGED) {
        over(store, ERR_CORRUPT, "the folder is damaged: recover from another one");
        return;
    }
    if (sum != rec->applied_sum || rec->moved_us == 0) {
        rec->applied_sum = sum;
        rec->moved_us = now_us;
    }
    if (now_us - rec->moved_us < STUCK_US)
        return;
    char text[160];
    snprintf(text, sizeof text,
             "range %" PRIu64 " cannot be applied beyond index %" PRIu64 " of %" PRIu64
             ": what it needs next is not in this folder",
             lags->range_id, lags->range == NULL ? 0 : range_meta(lags->range)->applied_index,
             lags->replay_to);
    over(store, ERR_STATE, text);
}

static void timer_due(struct env_timer *timer)
{
    struct store *store = timer->data;
    look(store);
    if (!store->recover->is_begun && !store->recover->is_over)
        env_timer_start(timer, LOOK_US);
}

void recover_on_replayed(struct store *store)
{
    if (store->recover != NULL)
        env_timer_start(&store->recover->timer, 0);
}

int recover_begin(struct store *store, struct err *err)
{
    ASSERT(store->opt.recover->lost_count <= STORE_LOST_MAX);
    if (store->state == STORE_DAMAGED)
        return err_set(err, ERR_CORRUPT, "the folder is damaged: recover from another one");
    if (!store->identity.is_born || replicas_count(&store->replicas) == 0)
        return err_set(err, ERR_STATE, "the folder holds no replica");
    if (is_lost(store, store->opt.store_id))
        return err_set(err, ERR_INVALID, "store %" PRIu64 " is this folder itself",
                       store->opt.store_id);
    store->recover = calloc(1, sizeof *store->recover);
    if (store->recover == NULL)
        return err_set(err, ERR_NOMEM, "recover");
    env_timer_init(&store->recover->timer, store->env, timer_due, store);
    env_timer_start(&store->recover->timer, 0);
    return 0;
}

void recover_free(struct store *store)
{
    if (store->recover == NULL)
        return;
    env_timer_stop(&store->recover->timer);
    free(store->recover->list);
    free(store->recover);
    store->recover = NULL;
}
