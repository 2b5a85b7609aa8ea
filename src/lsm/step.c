/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of freezes and edits. Only its head works: built on ENV_LANE_FLUSH (a
 * flush writes its memtable as one L0 table, and one of local keys; an edit takes its staged
 * files in and writes its puts), then committed. So the manifest has them in the order of
 * the calls, and an edit never overtakes a memtable nor a memtable an edit.
 */
#include <stdlib.h>

#include "base/pages.h"
#include "base/plant.h"
#include "lsm/batch.h"
#include "lsm/lsm_internal.h"

enum {
    STOCK_IDLE_US = 10 * 1000 * 1000,
    FLUSH_SHARE = 3, /* of the time that a memtable took to fill its flush takes one of so many */
    FLUSH_LEAST = 8 << 20, /* bytes of memory a second that a flush writes at least */
};

static const uint32_t step_next[STEP_STATE_NR] = {
    [STEP_WAITING] = BIT(STEP_BUILDING),
    [STEP_BUILDING] = BIT(STEP_COMMITTING) | BIT(STEP_WAITING),
    [STEP_COMMITTING] = 0,
};

/* The only place that writes step->state. */
static void step_move(struct step *step, enum step_state to)
{
    ASSERT(step_next[step->state] & BIT(to));
    step->state = to;
}

struct step *step_new(enum step_kind kind)
{
    struct step *step = calloc(1, sizeof *step);
    if (step == NULL)
        return NULL;
    step->kind = kind;
    step->state = STEP_WAITING;
    list_init(&step->in_steps);
    list_init(&step->commit.in_commits);
    return step;
}

void step_free(struct step *step, bool keep)
{
    if (step == NULL)
        return;
    ASSERT(!list_is_linked(&step->in_steps));
    if (step->has_build)
        build_fini(&step->build, keep);
    edit_item_free(step->edit, keep);
    memtable_unref(step->mem);
    free(step);
}

/* ---- building ----------------------------------------------------------- */

static int begin_build(struct lsm *lsm, struct step *step, struct err *err)
{
    struct build_env with = lsm_build_env(lsm);
    with.table_bytes = 0; /* no more files than need be */
    struct cursor *source = memtable_cursor(step->mem, UINT32_MAX);
    if (source == NULL)
        return err_set(err, ERR_NOMEM, "cursor");
    build_init(&step->build, &with, source, lsm->gc, NULL, 0);
    struct build_values values = {.is_separate = lsm_values_pay(lsm, step->large)};
    build_set_values(&step->build, &values);
    step->has_build = true;
    return 0;
}

static void step_execute(struct env_work *work)
{
    struct lsm *lsm = container_of(work, struct lsm, step_work);
    struct step *step = lsm->step_in_work;
    lsm->step_err = (struct err){0};
    lsm->step_status = 0;
    if (step->kind == STEP_EDIT)
        lsm->step_status = edit_take_in(lsm, step, &lsm->step_err);
    if (lsm->step_status == 0 && step->has_build) {
        lsm->step_status = build_step(&step->build, lsm->step_slice);
        if (lsm->step_status < 0)
            lsm->step_err = step->build.err;
    }
}

/* Somebody waits for the head of the order, or writers do or will soon. */
static bool step_is_urgent(const struct rest *rest)
{
    const struct lsm *lsm = container_of(rest, struct lsm, step_rest);
    return lsm->frozen_count != 1 || lsm->edit_count > 0 || !list_is_empty(&lsm->flushes) ||
           lsm_stall(lsm) != LSM_STALL_NONE;
}

static void step_slice(struct lsm *lsm)
{
    lsm->step_slice = lsm_slice_bytes(lsm, !step_is_urgent(&lsm->step_rest));
    rest_begin_slice(&lsm->step_rest, lsm->step_in_work->build.bytes_in);
    env_work_submit(lsm->env, ENV_LANE_FLUSH, &lsm->step_work);
}

static void step_go_on(struct rest *rest)
{
    struct lsm *lsm = container_of(rest, struct lsm, step_rest);
    ASSERT(lsm->step_in_work != NULL);
    if (!lsm->is_dead)
        step_slice(lsm);
}

/* From the beginning of a slice to that of the next: at such a pace the memtable would be flushed
 * when a third of the time has gone by that it took to fill, or FLUSH_LEAST is kept. */
static uint64_t step_pace_us(const struct lsm *lsm, const struct step *step)
{
    uint64_t bytes = rest_slice_bytes(&lsm->step_rest, step->build.bytes_in);
    uint64_t whole_us = MIN(step->fill_us / FLUSH_SHARE,
                            (uint64_t)lsm->options.memtable_bytes * 1000000 / FLUSH_LEAST);
    return bytes * whole_us / lsm->options.memtable_bytes;
}

static int flush_prepare(struct lsm *lsm, struct step *step, struct edit *edit)
{
    for (size_t i = 0; i < step->build.output_count; i++) {
        struct piece *p = step->build.outputs[i].piece;
        unsigned list = build_output_list(&step->build.outputs[i], 0);
        p->order = list == 0 ? lsm->next_order++ : 0;
        int rv = edit_add(edit, list, piece_ref(p));
        if (rv != 0)
            return rv;
    }
    return 0;
}

static int step_prepare(struct lsm *lsm, struct commit *commit, struct edit *edit)
{
    struct step *step = container_of(commit, struct step, commit);
    ASSERT(step->state == STEP_COMMITTING);
    return step->kind == STEP_FLUSH ? flush_prepare(lsm, step, edit)
                                    : edit_prepare(lsm, step, edit);
}

/* Tell everyone who waited for memtables up to `flushed`. */
static void flush_done(struct lsm *lsm, uint64_t freeze)
{
    ASSERT(freeze == lsm->flushed + 1);
    lsm->flushed = freeze;
    if (lsm->options.callbacks.on_flushed != NULL)
        lsm->options.callbacks.on_flushed(lsm->data, freeze);
    while (!list_is_empty(&lsm->flushes)) {
        struct lsm_flush_op *op = list_first(&lsm->flushes, struct lsm_flush_op, in_flushes);
        if (op->freeze > lsm->flushed)
            break;
        list_remove(&op->in_flushes);
        op->cb(op, 0);
    }
}

/* The head of the order is finished, well (0) or, an edit only, not. */
static void step_finish(struct lsm *lsm, struct step *step, int status)
{
    ASSERT(lsm->steps.next == &step->in_steps);
    list_remove(&step->in_steps);
    retry_clear(&lsm->step_retry);
    uint64_t freeze = step->freeze;
    if (step->kind == STEP_FLUSH) {
        ASSERT(status == 0);
        lsm->frozen_count--;
        lsm->stats.flushes += step->has_build;
        lsm->stats.flush_bytes += step->has_build ? step->build.bytes_out : 0;
        lsm->stats.value_write_bytes += step->has_build ? step->build.value_bytes_out : 0;
        if (step->has_build)
            lsm->stats.levels[0].write_bytes += step->build.bytes_out - step->build.value_bytes_out;
        stock_limit(lsm->stock, lsm_stock_max(lsm));
        step_free(step, true);
        env_timer_start(&lsm->stock_timer, STOCK_IDLE_US);
        lsm_view_drop(lsm);
        lsm_stall_update(lsm);
        flush_done(lsm, freeze);
    } else {
        lsm->edit_count--;
        lsm->stats.edits += status == 0;
        edit_done(lsm, step, status);
    }
    step_run(lsm);
}

static void step_commit_done(struct lsm *lsm, struct commit *commit, int status)
{
    struct step *step = container_of(commit, struct step, commit);
    if (status == 0 || step->kind == STEP_EDIT) {
        step_finish(lsm, step, status);
        return;
    }
    /* Only memory can be short here: the same again, later. */
    struct err why = {0};
    ASSERT(status == ERR_NOMEM);
    err_set(&why, status, "prepare the edit of a flush");
    retry_later(&lsm->step_retry, status, &why);
}

/* The build did not come to its end: clean up, wait, begin again. */
static void step_fail(struct lsm *lsm, struct step *step, int status)
{
    if (status == ERR_CORRUPT)
        lsm_note_damage(lsm, lsm->step_err.msg);
    if (step->has_build)
        build_fini(&step->build, false);
    step->has_build = false;
    if (step->kind == STEP_EDIT && status == ERR_CORRUPT) {
        step_finish(lsm, step, status);
        return;
    }
    step_move(step, STEP_WAITING);
    retry_later(&lsm->step_retry, status, &lsm->step_err);
}

static void step_complete(struct env_work *work)
{
    struct lsm *lsm = container_of(work, struct lsm, step_work);
    struct step *step = lsm->step_in_work;
    int status = lsm->step_status;
    ASSERT(step->state == STEP_BUILDING);
    if (status == DISK_FATAL) {
        lsm->is_dead = true;
        return;
    }
    if (status > 0) {
        rest_take(&lsm->step_rest, step_pace_us(lsm, step));
        return;
    }
    lsm->step_in_work = NULL;
    if (status < 0) {
        step_fail(lsm, step, status);
        return;
    }
    step_move(step, STEP_COMMITTING);
    if (step->kind == STEP_FLUSH && !step->has_build) {
        step_finish(lsm, step, 0); /* nothing in it: no record */
        return;
    }
    commit_submit(lsm, &step->commit);
}

/* The owner is asked before anything of the memtable is on disk. */
static bool is_held(const struct lsm *lsm, const struct step *step)
{
    const struct lsm_callbacks *cb = &lsm->options.callbacks;
    return step->kind == STEP_FLUSH && cb->is_held != NULL && cb->is_held(lsm->data, step->freeze);
}

void step_run(struct lsm *lsm)
{
    if (lsm->is_dead || lsm->step_in_work != NULL || list_is_empty(&lsm->steps) ||
        retry_is_waiting(&lsm->step_retry))
        return;
    struct step *step = list_first(&lsm->steps, struct step, in_steps);
    if (step->state == STEP_COMMITTING) {
        if (lsm->committing != &step->commit && !list_is_linked(&step->commit.in_commits))
            commit_submit(lsm, &step->commit); /* after a pause */
        return;
    }
    ASSERT(step->state == STEP_WAITING);
    if (is_held(lsm, step))
        return;
    struct err why = {0};
    if (step->mem != NULL && memtable_count(step->mem) > 0 && begin_build(lsm, step, &why) != 0) {
        retry_later(&lsm->step_retry, ERR_NOMEM, &why);
        return;
    }
    step_move(step, STEP_BUILDING);
    lsm->step_in_work = step;
    step_slice(lsm);
}

void step_append(struct lsm *lsm, struct step *step)
{
    step->commit.prepare = step_prepare;
    step->commit.done = step_commit_done;
    list_push_back(&lsm->steps, &step->in_steps);
    lsm->frozen_count += step->kind == STEP_FLUSH;
    lsm->edit_count += step->kind == STEP_EDIT;
    step_run(lsm);
}

/* ---- freezing ----------------------------------------------------------- */

/* All of it is durable with this memtable or nothing is, so it has no bound but what the owner has
 * in memory: were it refused, the next one would be as large. */
static int add_meta(struct lsm *lsm, uint64_t freeze)
{
    struct lsm_batch meta;
    struct entry e;
    size_t pos = 0;
    if (lsm->options.callbacks.on_freeze == NULL)
        return 0;
    lsm_batch_init(&meta);
    buf_init(&meta.buf, SIZE_MAX / 2);
    lsm->options.callbacks.on_freeze(lsm->data, freeze, &meta);
    int rv = meta.buf.failed ? ERR_NOMEM : 0;
    if (rv == 0 && meta.count > 0)
        rv = memtable_reserve(lsm->active, meta.count, lsm_batch_bytes(&meta));
    if (rv == 0 && meta.count > 0) {
        memtable_write_begin(lsm->active);
        while (lsm_batch_next(&meta, &pos, &e))
            memtable_add(lsm->active, &e, 1);
    }
    lsm_batch_fini(&meta);
    if (rv != 0 && lsm->options.callbacks.on_unfreeze != NULL)
        lsm->options.callbacks.on_unfreeze(lsm->data, freeze);
    return rv;
}

int step_freeze(struct lsm *lsm)
{
    struct memtable *fresh = memtable_new(lsm->options.memtable_bytes, lsm->stock);
    struct step *step = step_new(STEP_FLUSH);
    int rv = fresh == NULL || step == NULL ? ERR_NOMEM : 0;
    if (rv == 0 && !PLANTED(data_before_index))
        rv = add_meta(lsm, lsm->frozen + 1);
    if (rv != 0) {
        memtable_unref(fresh);
        step_free(step, true);
        return rv;
    }
    memtable_learn(fresh, lsm->active);
    step->freeze = ++lsm->frozen;
    step->mem = lsm->active;
    step->large = lsm->active_large;
    step->fill_us = env_now_us(lsm->env) - lsm->froze_us;
    lsm->froze_us += step->fill_us;
    lsm->active = fresh;
    lsm->active_large = 0;
    if (PLANTED(data_before_index))
        add_meta(lsm, lsm->frozen);
    lsm_view_drop(lsm);
    step_append(lsm, step);
    lsm_stall_update(lsm);
    return 0;
}

size_t lsm_stock_max(const struct lsm *lsm)
{
    return lsm->options.memtable_bytes / PAGES_LARGE;
}

/* Memory that a view holds on to beyond that goes back once it is let go. */
static void on_stock_idle(struct env_timer *timer)
{
    struct lsm *lsm = timer->data;
    stock_limit(lsm->stock, 0);
}

void step_init(struct lsm *lsm)
{
    env_timer_init(&lsm->stock_timer, lsm->env, on_stock_idle, lsm);
    list_init(&lsm->steps);
    list_init(&lsm->flushes);
    env_work_init(&lsm->step_work, step_execute, step_complete, NULL);
    rest_init(&lsm->step_rest, lsm->env, step_is_urgent, step_go_on);
    lsm->froze_us = env_now_us(lsm->env);
    retry_init(&lsm->step_retry, lsm, step_run);
}
