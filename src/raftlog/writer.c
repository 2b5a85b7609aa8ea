/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer: batches go out one at a time, in order, each written and synced before
 * the next is begun (G1). A batch that needs the next segment waits until that has a
 * file. The loop gives small ones to the disk and goes on; the log's thread writes others,
 * or, where all that there is to do is to wait for a lone write, the loop.
 *
 *              ┌─ flight_start(): the disk ─▶ flight_on_written() ─┐
 *   the next ──┤                     └ not so ┐                    ├─▶ flight_complete()
 *              └─ the lane: flight_execute() ◀┘ ───────────────────┘
 */
#include <stdlib.h>

#include "raftlog/internal.h"

static bool batch_is_empty(const struct batch *b)
{
    return b->chunk == NULL || b->from == b->to;
}

void writer_seal(struct raftlog *log)
{
    struct batch *b = log->open;
    if (b == NULL || (batch_is_empty(b) && list_is_empty(&b->writes)))
        return;
    log->open = NULL;
    list_push_back(&log->sealed, &b->in_sealed);
}

void writer_post(struct raftlog *log)
{
    env_task_post(log->env, &log->task);
}

/* What goes to the disk is what was encoded: a stray write into a chunk between the
 * two is caught here, not by a reader after the next restart. */
static void flight_verify(const struct flight *f)
{
    size_t pos = f->has_head ? HEAD_LEN : 0;
    while (pos < f->len) {
        struct record record;
        bool is_good = record_decode(slice_of(f->data + pos, f->len - pos), f->seed, &record);
        ASSERT(is_good);
        pos += record.length;
    }
    ASSERT(pos == f->len);
}

static void flight_execute(struct env_work *work)
{
    struct flight *f = container_of(work, struct flight, work);
    struct raftlog *log = work->data;
    flight_verify(f);
    uint64_t begin_us = env_now_us(log->env);
    f->rv = through_write(log, f);
    f->took_us = env_now_us(log->env) - begin_us;
}

/* The callbacks of a durable batch, and its end. */
static void batch_finish(struct batch *b)
{
    struct list *link;
    while ((link = list_pop_front(&b->writes)) != NULL) {
        struct raftlog_write *w = list_entry(link, struct raftlog_write, in_batch);
        if (w->cb != NULL)
            w->cb(w);
    }
    free(b);
}

static void flight_complete(struct env_work *work)
{
    struct flight *f = container_of(work, struct flight, work);
    struct raftlog *log = work->data;
    if (f->rv != 0) {
        char path[ENV_PATH_MAX];
        segment_path(log, f->batch->chunk->segment->file_id, path);
        env_fatal(log->env, "write log '%s' at %llu: %s", path, (unsigned long long)f->offset,
                  f->err.msg);
        return; /* nothing is sent off any more: is_active stays */
    }
    f->is_active = false;
    through_note(f);
    uint64_t passed_us = env_now_us(log->env) - f->sent_us;
    if (passed_us > LOG_START_SLOW_US)
        f->rest = LOG_START_RESTS;
    log->sync_worst_us = MAX(log->sync_worst_us, passed_us);
    log->syncs.count++;
    log->syncs.late += passed_us > log->late_us;
    log->syncs.sum_us += passed_us;
    struct batch *b = f->batch;
    f->batch = NULL;
    struct chunk *c = b->chunk;
    struct segment *s = c->segment;
    ASSERT(c->synced == b->from && s->synced == c->start + b->from);
    c->synced = b->to;
    s->synced = c->start + b->to;
    ASSERT(log->stats.pending_bytes >= f->len);
    log->stats.pending_bytes -= f->len;
    log->stats.append_bytes += f->len;
    log->stats.batches++;
    log->stats.batch_bytes_max = MAX(log->stats.batch_bytes_max, (uint64_t)f->len);
    log->stats.sync_us_sum += f->took_us;
    log->stats.sync_us_max = MAX(log->stats.sync_us_max, f->took_us);
    writer_post(log);
    batch_finish(b);
}

/* Give it to the disk. False: that is for the log's thread. The giving may take as long as a sync
 * does, and the loop has others to serve: where that is long the thread waits. */
static bool flight_start(struct raftlog *log, struct flight *f)
{
    ASSERT(f->is_active);
    if (f->len > LOG_START_BYTES_MAX)
        return false;
    if (f->rest > 0) {
        f->rest--;
        return false;
    }
    flight_verify(f);
    bool is_started = through_start(log, f) == 0;
    if (env_now_us(log->env) > f->sent_us + LOG_START_STUCK_US)
        f->rest = LOG_START_RESTS;
    return is_started;
}

static void flight_on_written(struct env_write *write)
{
    struct flight *f = container_of(write, struct flight, write);
    struct raftlog *log = write->data;
    ASSERT(f->is_active);
    if (write->rv == ERR_UNSUPPORTED) {
        env_work_submit(log->env, ENV_LANE_LOG, &f->work);
        return;
    }
    f->rv = write->rv;
    f->err = write->err;
    f->took_us = env_now_us(log->env) - f->sent_us;
    flight_complete(&f->work);
}

/* A segment whose file is not there yet holds up all that is to be written: to who asks how
 * fast the disk is, that is a slow disk. */
static bool has_file(struct raftlog *log, struct segment *s)
{
    if (s->file == NULL && !segment_bind(log, s)) {
        if (log->no_file_since_us == 0)
            log->no_file_since_us = env_now_us(log->env);
        return false;
    }
    if (log->no_file_since_us != 0)
        log->sync_worst_us = MAX(log->sync_worst_us, env_now_us(log->env) - log->no_file_since_us);
    log->no_file_since_us = 0;
    return true;
}

/* Is it one small write whose owner would only wait? */
static bool batch_may_block(const struct batch *b)
{
    return list_has_one(&b->writes) && b->to - b->from <= LOG_HERE_BYTES_MAX &&
           list_first(&b->writes, struct raftlog_write, in_batch)->may_block;
}

/* Send the next batch off, if it can go. */
static void writer_kick(struct raftlog *log)
{
    while (!log->flight.is_active) {
        if (list_is_empty(&log->sealed))
            writer_seal(log);
        if (list_is_empty(&log->sealed))
            return;
        struct batch *b = list_first(&log->sealed, struct batch, in_sealed);
        if (batch_is_empty(b)) {
            list_remove(&b->in_sealed);
            batch_finish(b);
            continue;
        }
        struct segment *s = b->chunk->segment;
        if (!has_file(log, s))
            return;
        list_remove(&b->in_sealed);
        bool is_here = list_is_empty(&log->sealed) && batch_may_block(b);
        struct flight *f = &log->flight;
        f->is_active = true;
        f->batch = b;
        f->file = s->file;
        f->file_size = s->file_size;
        f->data = b->chunk->data + b->from;
        f->len = b->to - b->from;
        f->offset = (uint64_t)b->chunk->start + b->from;
        f->seed = s->seed;
        f->has_head = f->offset == 0;
        f->sent_us = env_now_us(log->env);
        if (!is_here) {
            if (!flight_start(log, f))
                env_work_submit(log->env, ENV_LANE_LOG, &f->work);
            return;
        }
        flight_execute(&f->work);
        flight_complete(&f->work);
        return; /* what its callbacks appended has a turn of its own: flight_complete() asked */
    }
}

static void writer_tell(struct raftlog *log)
{
    bool is_over = raftlog_is_over_budget(log);
    bool tell = is_over != log->was_over;
    log->was_over = is_over;
    if (log->short_cost > 0 && raftlog_has_room(log, log->short_cost)) {
        log->short_cost = 0;
        tell = true;
    }
    if (tell && log->options.callbacks.on_room != NULL)
        log->options.callbacks.on_room(log->options.data);
}

/* The end of a turn. */
static void writer_on_turn(struct env_task *task)
{
    struct raftlog *log = task->data;
    cache_evict(log);
    rewrite_step(log);
    writer_kick(log);
    spare_kick(log);
    writer_tell(log);
}

void writer_init(struct raftlog *log)
{
    list_init(&log->sealed);
    env_task_init(&log->task, writer_on_turn, log);
    env_write_init(&log->flight.write, flight_on_written, log);
    env_work_init(&log->flight.work, flight_execute, flight_complete, log);
}

void writer_fini(struct raftlog *log)
{
    struct list *link;
    while ((link = list_pop_front(&log->sealed)) != NULL)
        free(list_entry(link, struct batch, in_sealed));
    free(log->open);
    free(log->flight.batch);
    through_fini(&log->flight.through);
}
