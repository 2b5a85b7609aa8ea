/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking in a snapshot (snapshot.h, receiver).
 *
 *  - chunk: checked on the loop, copied; on the lane its records are cut out and
 *    go to the table builder, what is cut off by the chunk's end is carried over;
 *  - finish: on the lane the files are closed and synced; then one edit takes the
 *    old span and the new one out, the files and the meta in;
 *  - the range's memory gives way to the new meta when the edit is durable.
 * Ways to fail: any damage, disorder or lack of space before the edit fails the
 * install and nothing else; the edit itself happens or does not.
 */
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/plant.h"
#include "range/range_internal.h"
#include "range/snapshot.h"
#include "range/stream.h"

#define CARRY_MAX (((size_t)32 << 20) + RANGE_CHUNK_MAX)

enum install_state {
    INST_READY,
    INST_WRITING,
    INST_COMPLETE,
    INST_SEALING,
    INST_EDITING,
    INST_INSTALLED,
    INST_FAILED,
    INST_ABORTING,
    INST_ABORTED,
    INST_STATE_NR,
};

static const uint32_t install_next_states[INST_STATE_NR] = {
    [INST_READY] = BIT(INST_WRITING) | BIT(INST_ABORTING),
    [INST_WRITING] = BIT(INST_READY) | BIT(INST_COMPLETE) | BIT(INST_FAILED),
    [INST_COMPLETE] = BIT(INST_SEALING) | BIT(INST_ABORTING),
    [INST_SEALING] = BIT(INST_EDITING) | BIT(INST_FAILED),
    [INST_EDITING] = BIT(INST_INSTALLED) | BIT(INST_FAILED),
    [INST_FAILED] = BIT(INST_ABORTING),
    [INST_ABORTING] = BIT(INST_ABORTED),
};

struct range_install {
    struct env *env;
    struct lsm *lsm;
    uint64_t replica_id;
    struct range *range; /* NULL: a blank replica */
    struct range_meta meta;
    struct lsm_span *spans; /* owned, and their keys: to be taken out besides its own */
    size_t span_count;
    struct lsm_batch puts;
    enum install_state state;
    struct env_work work;
    range_install_cb cb;
    void *data;
    struct lsm_edit_op edit;
    /* the lane's while WRITING, SEALING, ABORTING */
    struct lsm_builder *builder; /* NULL once it is the engine's */
    struct buf carry;            /* bytes of the stream that are no whole record yet */
    uint64_t offset;             /* bytes of the stream taken */
    uint64_t count;
    uint32_t crc;
    bool is_last; /* the last chunk was taken */
    bool has_end; /* the END record was read, and fits */
    int status;
    struct err err;
};

static void install_execute(struct env_work *work);
static void install_complete(struct env_work *work);

/* The only place that writes the state. */
static void install_move(struct range_install *in, enum install_state to)
{
    ASSERT(install_next_states[in->state] & BIT(to));
    in->state = to;
}

static int check_target(const struct range_install *in, struct err *err)
{
    const struct range *range = in->range;
    const struct range_descriptor *d = &in->meta.descriptor;
    if (range == NULL)
        return 0;
    ASSERT(range->replica_id == in->replica_id);
    if (range->meta.descriptor.range_id != d->range_id)
        return err_set(err, ERR_INVALID, "snapshot of range %llu for range %llu",
                       (unsigned long long)d->range_id,
                       (unsigned long long)range->meta.descriptor.range_id);
    if (range->meta.applied_index >= in->meta.applied_index)
        return err_set(err, ERR_INVALID, "snapshot of index %llu, %llu is applied",
                       (unsigned long long)in->meta.applied_index,
                       (unsigned long long)range->meta.applied_index);
    return 0;
}

int range_install_new(struct env *env, struct lsm *lsm, uint64_t replica_id, struct range *range,
                      struct slice meta, struct range_install **ret_install, struct err *err)
{
    ASSERT(replica_id != 0);
    struct range_install *in = calloc(1, sizeof *in);
    if (in == NULL)
        return err_set(err, ERR_NOMEM, "install");
    in->env = env;
    in->lsm = lsm;
    in->replica_id = replica_id;
    in->range = range;
    in->state = INST_READY;
    range_meta_init(&in->meta);
    lsm_batch_init(&in->puts);
    buf_init(&in->carry, CARRY_MAX);
    env_work_init(&in->work, install_execute, install_complete, in);
    int rv = range_meta_decode(meta, &in->meta, err);
    if (rv == 0)
        rv = check_target(in, err);
    if (rv == 0) {
        in->builder = lsm_builder_new(lsm);
        if (in->builder == NULL)
            rv = err_set(err, ERR_NOMEM, "install");
    }
    if (rv != 0) {
        range_install_free(in);
        return rv;
    }
    *ret_install = in;
    return 0;
}

void range_install_free(struct range_install *install)
{
    if (install == NULL)
        return;
    lsm_builder_free(install->builder);
    range_meta_fini(&install->meta);
    range_install_plain(install);
    lsm_batch_fini(&install->puts);
    free(install->spans);
    buf_fini(&install->carry);
    free(install);
}

static int copy_key(struct slice key, struct slice *ret)
{
    uint8_t *copy = malloc(MAX(key.len, (size_t)1));
    if (copy == NULL)
        return ERR_NOMEM;
    if (key.len > 0)
        memcpy(copy, key.data, key.len);
    *ret = slice_of(copy, key.len);
    return 0;
}

static void span_fini(struct lsm_span *span)
{
    free((void *)(uintptr_t)span->start.data);
    free((void *)(uintptr_t)span->end.data);
}

int range_install_excise(struct range_install *install, struct range_span span)
{
    struct lsm_span copy = {0};
    ASSERT(install->state == INST_COMPLETE);
    struct lsm_span *grown = realloc(install->spans, (install->span_count + 1) * sizeof *grown);
    if (grown == NULL)
        return ERR_NOMEM;
    install->spans = grown;
    if (copy_key(span.start, &copy.start) != 0 || copy_key(span.end, &copy.end) != 0) {
        span_fini(&copy);
        return ERR_NOMEM;
    }
    install->spans[install->span_count++] = copy;
    return 0;
}

struct lsm_batch *range_install_puts(struct range_install *install)
{
    return &install->puts;
}

void range_install_plain(struct range_install *install)
{
    while (install->span_count > 0)
        span_fini(&install->spans[--install->span_count]);
    lsm_batch_clear(&install->puts);
}

const struct range_meta *range_install_meta(const struct range_install *install)
{
    return &install->meta;
}

bool range_install_is_complete(const struct range_install *install)
{
    return install->state == INST_COMPLETE;
}

static void install_submit(struct range_install *in, enum install_state to, range_install_cb cb,
                           void *data)
{
    ASSERT(cb != NULL);
    install_move(in, to);
    in->cb = cb;
    in->data = data;
    env_work_submit(in->env, ENV_LANE_SNAPSHOT, &in->work);
}

/* The only place that calls back. Nothing of the install is touched after. */
static void install_call_back(struct range_install *in)
{
    range_install_cb cb = in->cb;
    in->cb = NULL;
    cb(in->data, in->status, &in->err);
}

static int refuse(const struct range_install *in)
{
    bool is_busy = in->state == INST_WRITING || in->state == INST_SEALING ||
                   in->state == INST_EDITING || in->state == INST_ABORTING;
    return is_busy ? ERR_BUSY : ERR_STATE;
}

int range_install_chunk(struct range_install *install, struct slice chunk, range_install_cb cb,
                        void *data)
{
    bool is_last = false;
    struct slice bytes;
    if (install->state != INST_READY)
        return refuse(install);
    int rv = stream_chunk_decode(chunk, install->offset, &is_last, &bytes, NULL);
    if (rv != 0)
        return rv;
    size_t had = install->carry.len;
    buf_append_slice(&install->carry, bytes);
    if (install->carry.failed) {
        install->carry.failed = false;
        install->carry.len = had;
        return ERR_NOMEM;
    }
    install->offset += bytes.len;
    install->is_last = is_last;
    install_submit(install, INST_WRITING, cb, data);
    return 0;
}

int range_install_finish(struct range_install *install, range_install_cb cb, void *data)
{
    if (install->state != INST_COMPLETE)
        return refuse(install);
    struct range *range = install->range;
    if (range != NULL) {
        if (check_target(install, NULL) != 0)
            return ERR_STATE; /* it applied on, past this snapshot */
        ASSERT(!range->is_installing);
        ASSERT(!range_is_prefetching(range));
        range->is_installing = true;
        range_busy(range);
    }
    install_submit(install, INST_SEALING, cb, data);
    return 0;
}

int range_install_abort(struct range_install *install, range_install_cb cb, void *data)
{
    if (install->state == INST_SEALING || install->state == INST_EDITING)
        return ERR_STATE;
    if (install->state != INST_READY && install->state != INST_COMPLETE &&
        install->state != INST_FAILED)
        return refuse(install);
    install->status = 0;
    install_submit(install, INST_ABORTING, cb, data);
    return 0;
}

/* ---- on the lane ------------------------------------------------------------- */

static int take_end(struct range_install *in, const struct stream_record *end, size_t left)
{
    if (left != 0 || !in->is_last)
        return err_set(&in->err, ERR_CORRUPT, "snapshot: bytes behind its end");
    if (end->count != in->count || end->crc != in->crc)
        return err_set(&in->err, ERR_CORRUPT, "snapshot: %llu records, its end says %llu",
                       (unsigned long long)in->count, (unsigned long long)end->count);
    in->has_end = true;
    return 0;
}

static int take_record(struct range_install *in, const struct stream_record *rec)
{
    struct range_span span = range_descriptor_span(&in->meta.descriptor);
    bool is_later = rec->version > in->meta.last_version && !PLANTED(snapshot_of_later);
    if (!range_span_contains(span, rec->key) || is_later)
        return err_set(&in->err, ERR_CORRUPT, "snapshot: a record outside its span or versions");
    int rv = rec->kind == STREAM_DELETE
                 ? lsm_builder_delete(in->builder, rec->key, rec->version, &in->err)
                 : lsm_builder_put(in->builder, rec->key, rec->version, rec->value, rec->expiry_ms,
                                   &in->err);
    return rv == ERR_INVALID ? err_wrap(&in->err, ERR_CORRUPT, "snapshot") : rv;
}

/* Hand every whole record of `carry` to the builder. */
static int take_records(struct range_install *in)
{
    size_t pos = 0;
    int rv = 0;
    while (rv == 0 && !in->has_end) {
        struct stream_record rec;
        size_t len = 0;
        struct slice at = slice_of(in->carry.data + pos, in->carry.len - pos);
        rv = stream_record_decode(at, &rec, &len, &in->err);
        if (rv == ERR_SHORT)
            break;
        if (rv == 0 && rec.kind == STREAM_END) {
            rv = take_end(in, &rec, at.len - len);
        } else if (rv == 0) {
            in->crc = crc32c(in->crc, at.data, len);
            in->count++;
            rv = take_record(in, &rec);
        }
        pos += len;
    }
    if (rv != 0 && rv != ERR_SHORT)
        return rv;
    if (pos > 0)
        memmove(in->carry.data, in->carry.data + pos, in->carry.len - pos);
    in->carry.len -= pos;
    if (in->is_last && !in->has_end)
        return err_set(&in->err, ERR_CORRUPT, "snapshot: cut short");
    return 0;
}

static void install_execute(struct env_work *work)
{
    struct range_install *in = work->data;
    switch (in->state) {
    case INST_WRITING:
        in->status = take_records(in);
        return;
    case INST_SEALING:
        ASSERT(in->has_end);
        in->status = lsm_builder_finish(in->builder, &in->err);
        return;
    case INST_ABORTING:
        lsm_builder_free(in->builder);
        in->builder = NULL;
        return;
    default:
        ASSERT(false);
    }
}

/* ---- the edit ------------------------------------------------------------------ */

static void install_fail(struct range_install *in, int status)
{
    ASSERT(status != 0);
    in->status = status;
    install_move(in, INST_FAILED);
    if (in->range != NULL && in->range->is_installing) {
        in->range->is_installing = false;
        range_idle(in->range);
    }
    install_call_back(in);
}

static void on_edited(struct lsm_edit_op *op, int status)
{
    struct range_install *in = op->data;
    if (status != 0) {
        install_fail(in, err_set(&in->err, status, "install: the engine's edit failed"));
        return;
    }
    install_move(in, INST_INSTALLED);
    if (in->range != NULL) {
        range_adopt(in->range, &in->meta);
        range_idle(in->range);
    }
    install_call_back(in);
}

static int compare_spans(const void *a, const void *b)
{
    const struct lsm_span *left = a;
    const struct lsm_span *right = b;
    return slice_compare(left->start, right->start);
}

/* The new span, the old one and those of the swallowed, sorted and not overlapping. `out`
 * has room for all of them. */
static size_t excised_spans(const struct range_install *in, struct lsm_span *out)
{
    struct range_span span = range_descriptor_span(&in->meta.descriptor);
    size_t count = 0;
    size_t kept = 0;
    out[count++] = (struct lsm_span){span.start, span.end};
    if (in->range != NULL) {
        span = range_descriptor_span(&in->range->meta.descriptor);
        out[count++] = (struct lsm_span){span.start, span.end};
    }
    for (size_t i = 0; i < in->span_count; i++)
        out[count++] = in->spans[i];
    qsort(out, count, sizeof out[0], compare_spans);
    for (size_t i = 1; i < count; i++) {
        if (slice_compare(out[i].start, out[kept].end) > 0)
            out[++kept] = out[i];
        else if (slice_compare(out[i].end, out[kept].end) > 0)
            out[kept].end = out[i].end;
    }
    return kept + 1;
}

static int install_edit(struct range_install *in)
{
    struct lsm_span *excise = malloc((in->span_count + 2) * sizeof *excise);
    int rv = excise == NULL ? ERR_NOMEM : range_meta_put(&in->meta, in->replica_id, &in->puts);
    if (rv == 0) {
        in->edit = (struct lsm_edit_op){
            .data = in,
            .excise = excise,
            .excise_count = PLANTED(old_span_kept) ? 0 : excised_spans(in, excise),
            .ingest = &in->builder,
            .ingest_count = lsm_builder_count(in->builder) > 0 ? 1 : 0,
            .puts = &in->puts,
            .freeze = true, /* our own meta may be unflushed */
            .cb = on_edited,
        };
        rv = lsm_edit(in->lsm, &in->edit);
        if (rv == 0 && in->edit.ingest_count > 0)
            in->builder = NULL;
    }
    free(excise);
    return rv;
}

static void install_complete(struct env_work *work)
{
    struct range_install *in = work->data;
    if (in->state == INST_ABORTING) {
        install_move(in, INST_ABORTED);
        install_call_back(in);
    } else if (in->status != 0) {
        install_fail(in, in->status);
    } else if (in->state == INST_WRITING) {
        install_move(in, in->is_last ? INST_COMPLETE : INST_READY);
        install_call_back(in);
    } else {
        install_move(in, INST_EDITING);
        int rv = install_edit(in);
        if (rv != 0)
            install_fail(in, err_set(&in->err, rv, "install: no edit"));
    }
}
