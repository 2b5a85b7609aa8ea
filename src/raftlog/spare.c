/* SPDX-License-Identifier: Apache-2.0
 *
 * Files for segments to come: zero-filled (no_zeroing: given their room alone), synced and
 * named before they are needed, so that a full disk is met here, where nothing is lost by
 * it, and (zero-filled) a sync of the log writes no metadata. Where large batches fill a file,
 * metadata is little beside them, and zeroes would be as much to write as they: it gets its room
 * alone, too. Once full it is as good as one that was zeroed, for whoever uses it again. */
#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"
#include "raftlog/internal.h"

/* Small, and each on its way to the disk before the next but one: in one go, the file
 * would stand before every sync of the log for as long as its writing takes. */
enum {
    SPARE_PIECE = 128 << 10,
    SPARE_SLICES = 64,     /* of a file, each with a rest after it … */
    SPARE_SLICE = 4 << 10, /* … unless they were smaller than this */
    SPARE_LEAST = 8 << 20, /* bytes a second, while nobody wants it */
};

static const uint8_t zeroes[SPARE_PIECE];

static int spare_zero(struct prepare *p, uint64_t until)
{
    while (p->at < until) {
        size_t len = (size_t)MIN((uint64_t)SPARE_PIECE, until - p->at);
        p->is_sync = false;
        int rv = env_file_write(p->file, p->at, zeroes, len, &p->err);
        if (rv != 0)
            return rv;
        p->is_sync = true;
        if (p->at + len < p->size)
            rv = env_file_write_back(p->file, p->at, len, &p->err);
        if (rv != 0)
            return rv;
        p->at += len;
    }
    return 0;
}

static uint64_t spare_slice_bytes(const struct prepare *p)
{
    return MAX(p->size / SPARE_SLICES, (uint64_t)SPARE_SLICE);
}

/* A slice of it; 1: there is more. */
static int spare_write(struct prepare *p)
{
    ASSERT(p->at < p->size);
    int rv = spare_zero(p, MIN(p->at + spare_slice_bytes(p), p->size));
    return rv == 0 && p->at < p->size ? 1 : rv;
}

static int spare_open(struct prepare *p, const struct raftlog *log)
{
    return env_file_open(log->env, p->path,
                         ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE,
                         &p->file, &p->err);
}

static int spare_fill(struct prepare *p, const struct raftlog *log)
{
    int rv = p->file == NULL ? spare_open(p, log) : 0;
    if (rv == 0)
        rv = p->is_raw ? env_file_truncate(p->file, p->size, &p->err) : spare_write(p);
    if (rv != 0)
        return rv;
    p->is_sync = true;
    rv = env_file_sync(p->file, &p->err);
    if (rv == 0 && !PLANTED(segment_name_not_synced))
        rv = env_dir_sync(log->env, log->dir, &p->err);
    return rv;
}

static void spare_execute(struct env_work *work)
{
    struct prepare *p = container_of(work, struct prepare, work);
    struct raftlog *log = work->data;
    p->is_sync = false;
    p->err = (struct err){0};
    if (p->file == NULL && env_fault(log->env, "raftlog.prepare"))
        p->rv = err_set(&p->err, ERR_NO_SPACE, "injected");
    else
        p->rv = spare_fill(p, log);
    if (p->rv >= 0)
        return;
    env_file_close(p->file);
    p->file = NULL;
    env_file_unlink(log->env, p->path, NULL);
}

/* The outcome; a full disk is asked again later, and so is one for which no descriptor was free; a
 * failed sync of anything else ends the process. */
static void spare_finish(struct raftlog *log)
{
    struct prepare *p = &log->prepare;
    ASSERT(p->is_active && p->rv <= 0);
    p->is_active = false;
    log->is_starved = p->rv != 0;
    if (p->rv == 0) {
        spare_put(log, p->file_id, p->file, p->size);
        p->file = NULL;
        return;
    }
    log->stats.prepare_failures++;
    if (p->is_sync && p->rv != ERR_NO_SPACE && p->rv != ERR_BUSY) {
        env_fatal(log->env, "prepare log segment '%s': %s", p->path, p->err.msg);
        return;
    }
    env_timer_start(&log->retry, log->options.retry_us);
}

static void spare_slice(struct raftlog *log)
{
    struct prepare *p = &log->prepare;
    ASSERT(p->is_active && !env_timer_is_active(&p->rest));
    p->slice_us = env_now_us(log->env);
    env_work_submit(log->env, ENV_LANE_READ, &p->work);
}

/* A segment waits for it, or would at the pace at which the last one fills. */
static bool spare_is_wanted(const struct raftlog *log)
{
    const struct prepare *p = &log->prepare;
    const struct segment *s = segment_last(log);
    uint64_t room = s != NULL && !s->is_closed ? s->capacity - s->len : 0;
    if (s == NULL || s->file == NULL || log->short_cost > 0 || log->rewrite.wants_room)
        return true;
    uint64_t used = p->room - MIN(p->room, room);
    return used * 2 * p->size > p->at * p->room;
}

/* So that it goes to the disk evenly, and not before the log's own syncs in one go. */
static uint64_t spare_rest_us(const struct raftlog *log)
{
    const struct prepare *p = &log->prepare;
    uint64_t slice_us = spare_slice_bytes(p) * 1000000 / SPARE_LEAST;
    uint64_t took_us = env_now_us(log->env) - p->slice_us;
    return spare_is_wanted(log) ? 0 : slice_us - MIN(slice_us, took_us);
}

static void spare_complete(struct env_work *work)
{
    struct raftlog *log = work->data;
    struct prepare *p = &log->prepare;
    if (p->rv > 0) {
        uint64_t us = spare_rest_us(log);
        if (us > 0)
            env_timer_start(&p->rest, us);
        else
            spare_slice(log);
        return;
    }
    spare_finish(log);
    writer_post(log);
}

static void spare_on_rested(struct env_timer *timer)
{
    spare_slice(timer->data);
}

static void spare_on_retry(struct env_timer *timer)
{
    writer_post(timer->data);
}

void spare_init(struct raftlog *log)
{
    env_work_init(&log->prepare.work, spare_execute, spare_complete, log);
    env_timer_init(&log->prepare.rest, log->env, spare_on_rested, log);
    env_timer_init(&log->retry, log->env, spare_on_retry, log);
    list_init(&log->reaps);
}

/* Have batches been large since the last file was begun? */
static bool spare_is_raw(const struct raftlog *log)
{
    const struct prepare *p = &log->prepare;
    uint64_t batches = log->stats.batches - p->batches;
    uint64_t bytes = log->stats.append_bytes - p->append_bytes;
    return log->options.no_zeroing ||
           (batches >= LOG_RAW_BATCHES_MIN &&
            bytes / batches >= log->options.batch_bytes_max / LOG_RAW_SHARE);
}

static void spare_plan(struct raftlog *log, uint64_t size)
{
    struct prepare *p = &log->prepare;
    const struct segment *s = segment_last(log);
    ASSERT(!p->is_active && p->file == NULL);
    p->is_raw = spare_is_raw(log);
    p->at = 0;
    p->room = s != NULL && !s->is_closed ? s->capacity - s->len : 0;
    p->batches = log->stats.batches;
    p->append_bytes = log->stats.append_bytes;
    ASSERT(log->next_file_id < UINT32_MAX);
    p->file_id = log->next_file_id++;
    p->size = size;
    segment_path(log, p->file_id, p->path);
    p->is_active = true;
}

int spare_make(struct raftlog *log, struct err *err)
{
    spare_plan(log, log->options.segment_bytes);
    struct prepare *p = &log->prepare;
    do {
        spare_execute(&p->work);
    } while (p->rv > 0);
    p->is_active = false;
    if (p->rv != 0)
        return err_set(err, p->rv, "%s", p->err.msg);
    spare_put(log, p->file_id, p->file, p->size);
    p->file = NULL;
    return 0;
}

/* The one file beyond the limit was made for the rewriting, which came to do without. */
static void spare_give_back(struct raftlog *log, size_t n_waiting)
{
    enum rewrite_state state = log->rewrite.state;
    bool goes_on = env_timer_is_active(&log->rewrite.again);
    bool is_at_rest = state == REWRITE_IDLE || (state == REWRITE_STUCK && !goes_on);
    if (!is_at_rest || log->n_spares <= n_waiting ||
        log_file_bytes(log) <= log->options.limit_bytes || log->wants_beyond)
        return;
    struct spare *last = &log->spares[--log->n_spares];
    spare_reap(log, last->file_id, last->file);
}

/* Each segment that waits for a file has one coming, nobody misses room, and what is left in
 * the last segment is enough for a while. */
static bool spare_is_early(const struct raftlog *log, size_t n_waiting)
{
    const struct segment *s = segment_last(log);
    return log->n_spares >= n_waiting && log->short_cost == 0 && !log->rewrite.wants_room &&
           s != NULL && !s->is_closed && s->capacity - s->len > log->options.ahead_bytes;
}

/* One that rests goes on if it has become wanted. */
static void spare_hurry(struct raftlog *log)
{
    struct prepare *p = &log->prepare;
    if (!env_timer_is_active(&p->rest) || !spare_is_wanted(log))
        return;
    env_timer_stop(&p->rest);
    spare_slice(log);
}

void spare_kick(struct raftlog *log)
{
    spare_hurry(log);
    if (log->prepare.is_active || env_timer_is_active(&log->retry))
        return;
    uint64_t size = log->options.segment_bytes;
    size_t n_waiting = 0;
    for (size_t i = log->n_segments; i > 0 && log->segments[i - 1]->file == NULL; i--) {
        size = log->segments[i - 1]->capacity; /* at last that of the oldest waiting */
        n_waiting++;
    }
    bool is_urgent = n_waiting > 0;
    if (!is_urgent)
        spare_give_back(log, n_waiting);
    for (size_t i = 0; i < log->n_spares && is_urgent; i++)
        is_urgent = log->spares[i].size < size;
    if (!is_urgent) {
        size = log->options.segment_bytes;
        if (log->n_spares > n_waiting || spare_is_early(log, n_waiting))
            return;
        /* Full of segments in which little lives: they can go once that is copied, for which
         * there is one file more. Nothing else may have room in it. (An entry larger than a
         * segment may have gone far beyond the limit.) */
        if (!log->rewrite.wants_room && !log->wants_beyond &&
            log_file_bytes(log) + size > log->options.limit_bytes) {
            log->is_starved = false; /* of the disk as it is now nothing is known */
            return;
        }
    }
    spare_plan(log, size);
    spare_slice(log);
}

void spare_put(struct raftlog *log, uint32_t file_id, struct env_file *file, uint64_t size)
{
    ASSERT(file != NULL);
    if (log->n_spares < ARRAY_LEN(log->spares)) {
        log->spares[log->n_spares++] = (struct spare){file_id, file, size};
        return;
    }
    /* One too many: the smallest goes. The new one may be the only one that is large enough
     * for the segment that waits. */
    struct spare *least = &log->spares[0];
    for (size_t i = 1; i < log->n_spares; i++) {
        if (log->spares[i].size < least->size)
            least = &log->spares[i];
    }
    struct spare rest = {file_id, file, size};
    if (least->size < size) {
        struct spare kept = rest;
        rest = *least;
        *least = kept;
    }
    spare_reap(log, rest.file_id, rest.file);
}

static void reap_execute(struct env_work *work)
{
    struct reap *reap = container_of(work, struct reap, work);
    env_file_close(reap->file);
    reap->file = NULL;
    /* If the name stays or comes back, the next open finds that it is not needed. */
    env_file_unlink(reap->log->env, reap->path, NULL);
}

static void reap_complete(struct env_work *work)
{
    struct reap *reap = container_of(work, struct reap, work);
    list_remove(&reap->in_reaps);
    writer_post(reap->log);
    free(reap);
}

void spare_reap(struct raftlog *log, uint32_t file_id, struct env_file *file)
{
    struct reap *reap = log_alloc(log, sizeof *reap);
    reap->log = log;
    reap->file = file;
    segment_path(log, file_id, reap->path);
    list_init(&reap->in_reaps);
    list_push_back(&log->reaps, &reap->in_reaps);
    env_work_init(&reap->work, reap_execute, reap_complete, log);
    env_work_submit(log->env, ENV_LANE_READ, &reap->work);
}

void spare_stop(struct raftlog *log)
{
    env_timer_stop(&log->retry);
    env_timer_stop(&log->prepare.rest);
    struct list *link;
    while ((link = list_pop_front(&log->reaps)) != NULL) {
        struct reap *reap = list_entry(link, struct reap, in_reaps);
        env_file_close(reap->file);
        free(reap);
    }
    env_file_close(log->prepare.file);
    for (size_t i = 0; i < log->n_spares; i++)
        env_file_close(log->spares[i].file);
}
