/* SPDX-License-Identifier: Apache-2.0
 *
 * Apply, in one line each:
 *  - the entry's stamp moves range time; each command gets the next version;
 *  - every command is evaluated into the overlay, nothing else is touched;
 *  - the overlay becomes one batch, and lsm_write() takes it or refuses it whole;
 *    a freeze inside that call still sees the meta of the index before;
 *  - only then the meta moves on, and the results leave.
 * Ways to fail: a record is not in memory (prefetch, again); the engine pushes back
 * (again); damage or an entry of a later format (the replica must not go on). Each
 * leaves everything as it was.
 */
#include "base/crc32c.h"
#include "base/hash.h"
#include "base/plant.h"
#include "range/feed.h"
#include "range/range_internal.h"

enum { PREFETCH_KEYS_MAX = 1024 /* of one round */ };

/* What the meta will be once the entry is in the engine. */
struct apply {
    uint64_t index;
    uint64_t term;
    uint64_t time_ms;
    uint64_t last_version;
    uint64_t history_hash;
    uint32_t count;
    struct command_result *results;
};

static uint64_t hash_record(uint64_t h, const struct overlay_record *r)
{
    uint32_t crc = crc32c(0, r->key.data, r->key.len);
    crc = crc32c(crc, r->value.data, r->value.len);
    h = hash_mix(h, (uint64_t)crc << 1 | r->is_delete);
    h = hash_mix(h, r->version);
    return hash_mix(h, r->expiry_ms);
}

static uint64_t hash_result(uint64_t h, const struct command_result *r)
{
    h = hash_mix(h, (uint64_t)(uint32_t)r->status << 32 | r->failed_op);
    return hash_mix(h, r->version);
}

/* One command after the other, into overlay and results. */
static int apply_commands(struct range *range, struct apply *a, struct entry_reader entry,
                          struct err *err)
{
    struct eval *eval = &range->work->eval;
    a->results = arena_alloc(&eval->arena, entry.count * sizeof *a->results);
    if (a->results == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < entry.count; i++) {
        struct slice command = entry_reader_next(&entry);
        if (i > 0)
            a->last_version++;
        int rv = eval_command(eval, command, a->last_version, &a->results[i], err);
        if (rv != 0)
            return rv;
        a->history_hash = hash_result(a->history_hash, &a->results[i]);
    }
    a->count = entry.count;
    return 0;
}

/* Note what the rest of the entry will miss too, so that one round serves it all. */
static int apply_collect(struct range *range, struct entry_reader entry)
{
    struct eval *eval = &range->work->eval;
    int rv = prefetch_want(&range->work->prefetch, eval->blocked);
    for (uint32_t i = 0; rv == 0 && i < entry.count; i++)
        rv = eval_collect(eval, entry_reader_next(&entry), PREFETCH_KEYS_MAX);
    return rv;
}

void range_raise_safe_point(struct range_meta *meta)
{
    if (meta->time_ms <= meta->retention_ms)
        return;
    uint64_t safe = (meta->time_ms - meta->retention_ms) << RANGE_VERSION_COUNTER_BITS;
    meta->safe_version = MAX(meta->safe_version, safe);
    seams_forget_below(&meta->seams, meta->safe_version);
}

void range_advance(struct range *range, uint64_t index, uint64_t term)
{
    struct range_meta *meta = &range->meta;
    ASSERT(index == meta->applied_index + 1);
    ASSERT(term >= meta->applied_term);
    ASSERT(!range->is_installing);
    meta->applied_index = index;
    meta->applied_term = term;
    range->is_dirty = true;
    range->wants_digest = false;
}

static uint64_t hash_head(uint64_t h, uint64_t index, uint64_t term)
{
    return hash_mix(hash_mix(h, index), term);
}

static struct apply apply_begin(const struct range *range, uint64_t index, uint64_t term,
                                const struct entry_reader *entry)
{
    const struct range_meta *meta = &range->meta;
    struct apply a = {.index = index, .term = term};
    a.time_ms = MAX(meta->time_ms, entry->stamp_ms);
    if (PLANTED(time_goes_back))
        a.time_ms = entry->stamp_ms;
    a.last_version = MAX(a.time_ms << RANGE_VERSION_COUNTER_BITS, meta->last_version + 1);
    a.history_hash = hash_mix(hash_head(meta->history_hash, index, term), entry->stamp_ms);
    return a;
}

static void apply_commit(struct range *range, const struct apply *a)
{
    struct range_meta *meta = &range->meta;
    ASSERT(a->last_version > meta->last_version);
    ASSERT(a->time_ms >= meta->time_ms || PLANTED(time_goes_back));
    range_advance(range, a->index, a->term);
    meta->time_ms = a->time_ms;
    meta->last_version = a->last_version;
    meta->history_hash = a->history_hash;
    range_raise_safe_point(meta);
}

static void commit_sessions(struct range *range)
{
    struct range_meta *meta = &range->meta;
    session_stage_commit(&range->work->eval.stage, &meta->sessions, meta->time_ms);
    if (meta->time_ms > SESSION_KEEP_MS)
        meta->floor_ms = MAX(meta->floor_ms, meta->time_ms - SESSION_KEEP_MS);
    sessions_forget(&meta->sessions, &meta->floor_ms);
}

/* Hand the overlay to the engine, in one batch. */
static int apply_write(struct range *range, struct apply *a)
{
    const struct overlay *overlay = &range->work->eval.overlay;
    struct lsm_batch batch;
    if (overlay->count == 0)
        return 0;
    lsm_batch_init(&batch);
    for (uint32_t i = 0; i < overlay->count; i++) {
        const struct overlay_record *r = &overlay->records[i];
        a->history_hash = hash_record(a->history_hash, r);
        if (r->is_delete)
            lsm_batch_delete(&batch, r->key, r->version);
        else
            lsm_batch_put_borrowed(&batch, r->key, r->version, r->value, r->expiry_ms);
    }
    struct range_meta before = range->meta;
    if (PLANTED(index_before_data))
        apply_commit(range, a);
    int rv = lsm_write(range->lsm, &batch);
    if (PLANTED(index_before_data) && rv != 0)
        range->meta = before;
    lsm_batch_fini(&batch);
    return rv;
}

/* While the range is frozen nothing is done, nor does its time move. */
static int apply_frozen(struct range *range, uint64_t index, uint64_t term,
                        const struct entry_reader *entry, const struct range_sink *sink)
{
    struct command_result refused = {.status = ERR_RANGE_CHANGED};
    range_advance(range, index, term);
    range->meta.history_hash = hash_head(range->meta.history_hash, index, term);
    for (uint32_t i = 0; sink != NULL && i < entry->count; i++)
        sink->on_result(sink->data, i, &refused);
    return 0;
}

int range_apply(struct range *range, uint64_t index, uint64_t term, struct slice payload,
                const struct range_sink *sink, struct err *err)
{
    struct entry_reader entry;
    ASSERT(index == range->meta.applied_index + 1);
    ASSERT(!range_is_prefetching(range));
    ASSERT(!range->is_installing);
    int rv = entry_reader_init(&entry, payload, err);
    if (rv != 0)
        return err_wrap(err, rv, "apply index %llu", (unsigned long long)index);
    if (range->meta.merges.frozen.attempt != 0)
        return apply_frozen(range, index, term, &entry, sink);

    if (range_work_get(range) == NULL)
        return ERR_NOMEM;
    uint64_t last_version = range->meta.last_version;
    struct apply a = apply_begin(range, index, term, &entry);
    struct eval_state state = {
        .lsm = range->lsm,
        .prefetch = &range->work->prefetch,
        .sessions = &range->meta.sessions,
        .floor_ms = range->meta.floor_ms,
        .span = range_descriptor_span(&range->meta.descriptor),
        .time_ms = PLANTED(expiry_by_own_clock) ? env_wall_ms(range->env) : a.time_ms,
    };
    eval_begin(&range->work->eval, &state);
    rv = apply_commands(range, &a, entry, err);
    if (rv == ERR_WOULD_BLOCK && apply_collect(range, entry) != 0)
        rv = ERR_NOMEM;
    if (rv == 0)
        rv = session_stage_reserve(&range->work->eval.stage, &range->meta.sessions);
    if (rv == 0)
        rv = apply_write(range, &a);
    if (rv == 0) {
        if (range->meta.applied_index != index) /* always, but for index_before_data */
            apply_commit(range, &a);
        feed_add(range, last_version, range->work->eval.overlay.records,
                 range->work->eval.overlay.count);
        commit_sessions(range);
        range->wants_digest = range->work->eval.wants_digest;
        for (uint32_t i = 0; sink != NULL && i < a.count; i++)
            sink->on_result(sink->data, i, &a.results[i]);
        if (!PLANTED(cached_state_kept))
            prefetch_clear(&range->work->prefetch); /* results may point into it */
    }
    eval_end(&range->work->eval);
    return rv;
}

bool range_wants_digest(const struct range *range)
{
    return range->wants_digest;
}

void range_digest_command(struct buf *out)
{
    struct op check = {.kind = OP_CHECK, .cond = COND_ABSENT, .key = slice_str("digest")};
    struct command command = {.keyspace = RANGE_KEYSPACE_RESERVED, .op_count = 1, .ops = &check};
    command_encode(out, &command);
}

void range_apply_barrier(struct range *range, uint64_t index, uint64_t term)
{
    struct range_meta *meta = &range->meta;
    range_advance(range, index, term);
    meta->history_hash = hash_head(meta->history_hash, index, term);
}

int range_apply_change(struct range *range, uint64_t index, uint64_t term, struct slice conf,
                       const struct range_replica *replicas, size_t replica_count, struct err *err)
{
    struct range_meta *meta = &range->meta;
    struct buf copy;
    if (conf.len > RANGE_CONF_MAX)
        return err_set(err, ERR_INVALID, "configuration of %zu bytes", conf.len);
    buf_init(&copy, RANGE_CONF_MAX);
    buf_append_slice(&copy, conf);
    if (copy.failed)
        return err_set(err, ERR_NOMEM, "configuration");
    int rv = range_descriptor_set_replicas(&meta->descriptor, meta->descriptor.epoch.conf + 1,
                                           replicas, replica_count, err);
    if (rv != 0) {
        buf_fini(&copy);
        return rv;
    }
    buf_fini(&meta->conf);
    meta->conf = copy;
    range_advance(range, index, term);
    meta->conf_index = index;
    meta->history_hash = hash_head(meta->history_hash, index, term);
    meta->history_hash = hash_mix(meta->history_hash, crc32c(0, conf.data, conf.len));
    return 0;
}

/* ---- prefetch ------------------------------------------------------------------ */

static void on_prefetched(void *data)
{
    struct range *range = data;
    range_prefetch_cb cb = range->prefetch_cb;
    void *cb_data = range->prefetch_data;
    int status = range->work->prefetch.status;
    struct err err = range->work->prefetch.err;
    range->prefetch_cb = NULL;
    if (status != 0)
        prefetch_clear(&range->work->prefetch);
    range_idle(range);
    cb(cb_data, status, &err);
}

int range_prefetch(struct range *range, range_prefetch_cb cb, void *data)
{
    ASSERT(cb != NULL);
    ASSERT(range->prefetch_cb == NULL);
    ASSERT(range->work != NULL); /* it was applied to, and is short of something */
    int rv = prefetch_start(&range->work->prefetch, range->env, range->lsm, on_prefetched, range);
    if (rv != 0)
        return rv;
    range->prefetch_cb = cb;
    range->prefetch_data = data;
    range_busy(range);
    return 0;
}
