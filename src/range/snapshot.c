/* SPDX-License-Identifier: Apache-2.0 */
#include "range/snapshot.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/plant.h"
#include "range/range_internal.h"
#include "range/stream.h"

enum { PAYLOAD_MAX = RANGE_CHUNK_MAX - RANGE_CHUNK_HEAD_LEN };
#define PENDING_MAX (((size_t)32 << 20) + PAYLOAD_MAX)

enum snapshot_state { SNAP_READY, SNAP_READING, SNAP_DONE, SNAP_FAILED, SNAP_STATE_NR };

static const uint32_t snapshot_next_states[SNAP_STATE_NR] = {
    [SNAP_READY] = BIT(SNAP_READING),
    [SNAP_READING] = BIT(SNAP_READY) | BIT(SNAP_DONE) | BIT(SNAP_FAILED),
};

struct range_snapshot {
    struct range *range;
    struct range_meta meta; /* as of the view */
    struct buf meta_bytes;
    struct lsm_view *view;
    enum snapshot_state state;
    struct env_work work;
    range_snapshot_cb cb;
    void *data;
    /* the worker's while READING */
    struct lsm_iter *iter; /* made at the first chunk */
    struct buf pending;    /* encoded records, [sent, len) not in a chunk yet */
    size_t sent;
    struct buf last_key; /* of the record before */
    bool has_floor;      /* the newest at or below the safe point was seen for it */
    bool is_at_end;      /* the END record is in pending */
    bool is_last;        /* the chunk made is the last */
    struct buf chunk;
    uint64_t offset;
    uint64_t count;
    uint32_t crc;
    int status;
    struct err err;
};

static void snapshot_execute(struct env_work *work);
static void snapshot_complete(struct env_work *work);

/* The only place that writes the state. */
static void snapshot_move(struct range_snapshot *s, enum snapshot_state to)
{
    ASSERT(snapshot_next_states[s->state] & BIT(to));
    s->state = to;
}

int range_snapshot_new(struct range *range, struct range_snapshot **ret_snapshot, struct err *err)
{
    struct range_snapshot *s = calloc(1, sizeof *s);
    if (s == NULL)
        return err_set(err, ERR_NOMEM, "snapshot");
    s->range = range;
    s->state = SNAP_READY;
    range_meta_init(&s->meta);
    buf_init(&s->meta_bytes, RANGE_META_MAX);
    buf_init(&s->pending, PENDING_MAX);
    buf_init(&s->last_key, RANGE_KEY_MAX);
    buf_init(&s->chunk, RANGE_CHUNK_MAX);
    env_work_init(&s->work, snapshot_execute, snapshot_complete, s);
    s->view = lsm_view_take(range->lsm);
    int rv = s->view == NULL ? ERR_NOMEM : range_meta_copy(&s->meta, &range->meta);
    if (rv == 0)
        range_meta_encode(&s->meta, &s->meta_bytes);
    if (rv != 0 || s->meta_bytes.failed) {
        range_snapshot_free(s);
        return err_set(err, ERR_NOMEM, "snapshot");
    }
    *ret_snapshot = s;
    return 0;
}

struct slice range_snapshot_meta(const struct range_snapshot *snapshot)
{
    return buf_slice(&snapshot->meta_bytes);
}

uint64_t range_snapshot_index(const struct range_snapshot *snapshot)
{
    return snapshot->meta.applied_index;
}

uint64_t range_snapshot_term(const struct range_snapshot *snapshot)
{
    return snapshot->meta.applied_term;
}

uint64_t range_snapshot_conf_index(const struct range_snapshot *snapshot)
{
    return snapshot->meta.conf_index;
}

struct slice range_snapshot_conf(const struct range_snapshot *snapshot)
{
    return buf_slice(&snapshot->meta.conf);
}

uint64_t range_snapshot_estimate(const struct range_snapshot *snapshot)
{
    struct range_span span = range_descriptor_span(&snapshot->meta.descriptor);
    struct lsm_approx approx = {0};
    if (lsm_approximate(snapshot->view, span.start, span.end, LSM_READ_NO_IO, &approx, NULL) != 0)
        return 0;
    buf_fini(&approx.middle);
    return approx.bytes;
}

bool range_snapshot_is_busy(const struct range_snapshot *snapshot)
{
    return snapshot->state == SNAP_READING;
}

void range_snapshot_free(struct range_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    lsm_iter_free(snapshot->iter);
    lsm_view_unref(snapshot->view);
    range_meta_fini(&snapshot->meta);
    buf_fini(&snapshot->meta_bytes);
    buf_fini(&snapshot->pending);
    buf_fini(&snapshot->last_key);
    buf_fini(&snapshot->chunk);
    free(snapshot);
}

void range_snapshot_next(struct range_snapshot *snapshot, range_snapshot_cb cb, void *data)
{
    ASSERT(cb != NULL);
    snapshot_move(snapshot, SNAP_READING);
    if (PLANTED(snapshot_of_later) && snapshot->iter == NULL) {
        lsm_view_unref(snapshot->view);
        snapshot->view = lsm_view_take(snapshot->range->lsm);
    }
    snapshot->cb = cb;
    snapshot->data = data;
    range_busy(snapshot->range);
    env_work_submit(snapshot->range->env, ENV_LANE_SNAPSHOT, &snapshot->work);
}

/* The only place that calls back. Nothing of the snapshot is touched after. */
static void snapshot_complete(struct env_work *work)
{
    struct range_snapshot *s = work->data;
    range_snapshot_cb cb = s->cb;
    s->cb = NULL;
    if (s->status != 0)
        snapshot_move(s, SNAP_FAILED);
    else
        snapshot_move(s, s->is_last ? SNAP_DONE : SNAP_READY);
    range_idle(s->range);
    cb(s->data, s->status, s->status == 0 ? buf_slice(&s->chunk) : slice_of(NULL, 0), s->is_last,
       &s->err);
}

/* ---- on the lane ------------------------------------------------------------- */

/* Does the stream need the record at the iterator? Of each key: what is above the
 * safe point, and the newest at or below it unless it is a delete. */
static bool is_needed(struct range_snapshot *s)
{
    struct slice key = lsm_iter_key(s->iter);
    if (!slice_equal(buf_slice(&s->last_key), key)) {
        buf_clear(&s->last_key);
        buf_append_slice(&s->last_key, key);
        s->has_floor = false;
    }
    /* What is as young has all of its log still. */
    if (PLANTED(child_from_log) && s->meta.applied_index < RANGE_BIRTH_INDEX + 20)
        return false;
    if (lsm_iter_version(s->iter) > s->meta.safe_version)
        return true;
    bool is_floor = !s->has_floor;
    s->has_floor = true;
    return is_floor && !lsm_iter_is_delete(s->iter);
}

static void add_record(struct range_snapshot *s, const struct stream_record *record)
{
    size_t from = s->pending.len;
    stream_record_encode(&s->pending, record);
    if (s->pending.failed)
        return;
    s->crc = crc32c(s->crc, s->pending.data + from, s->pending.len - from);
    s->count++;
}

static void add_here(struct range_snapshot *s)
{
    bool is_delete = lsm_iter_is_delete(s->iter);
    struct stream_record record = {
        .kind = is_delete ? STREAM_DELETE : STREAM_PUT,
        .key = lsm_iter_key(s->iter),
        .version = lsm_iter_version(s->iter),
        .value = is_delete ? slice_of(NULL, 0) : lsm_iter_value(s->iter),
        .expiry_ms = is_delete ? 0 : lsm_iter_expiry_ms(s->iter),
    };
    add_record(s, &record);
}

static void add_end(struct range_snapshot *s)
{
    struct stream_record end = {.kind = STREAM_END, .count = s->count, .crc = s->crc};
    stream_record_encode(&s->pending, &end);
    s->is_at_end = true;
}

/* Move to the next record of the span: false at its end and on failure. */
static bool step(struct range_snapshot *s)
{
    struct range_span span = range_descriptor_span(&s->meta.descriptor);
    if (s->iter != NULL)
        return lsm_iter_next(s->iter);
    s->iter = lsm_iter_new(s->view, span.start, span.end, UINT64_MAX,
                           LSM_READ_ALL_VERSIONS | LSM_READ_NO_FILL);
    if (s->iter == NULL) {
        s->status = ERR_NOMEM;
        return false;
    }
    return lsm_iter_first(s->iter);
}

/* Enough records for one chunk, or all that are left. */
static void fill(struct range_snapshot *s)
{
    while (s->pending.len - s->sent < PAYLOAD_MAX && !s->is_at_end) {
        if (step(s)) {
            if (is_needed(s))
                add_here(s);
        } else {
            if (s->status == 0)
                s->status = lsm_iter_status(s->iter, &s->err);
            if (s->status != 0)
                return;
            add_end(s);
        }
        if (s->pending.failed || s->last_key.failed) {
            s->status = err_set(&s->err, ERR_NOMEM, "snapshot");
            return;
        }
    }
}

/* Forget what was sent, when that moves few bytes. */
static void drop_sent(struct range_snapshot *s)
{
    size_t left = s->pending.len - s->sent;
    if (left > s->sent)
        return;
    memmove(s->pending.data, s->pending.data + s->sent, left);
    s->pending.len = left;
    s->sent = 0;
}

static void snapshot_execute(struct env_work *work)
{
    struct range_snapshot *s = work->data;
    ASSERT(s->status == 0);
    ASSERT(!s->is_last);
    if (s->sent > 0)
        drop_sent(s);
    fill(s);
    if (s->status != 0)
        return;
    size_t len = MIN(s->pending.len - s->sent, (size_t)PAYLOAD_MAX);
    ASSERT(len > 0);
    s->is_last = s->is_at_end && s->sent + len == s->pending.len;
    stream_chunk_encode(&s->chunk, s->offset, s->is_last, slice_of(s->pending.data + s->sent, len));
    if (s->chunk.failed) {
        s->status = err_set(&s->err, ERR_NOMEM, "snapshot");
        return;
    }
    s->sent += len;
    s->offset += len;
}
