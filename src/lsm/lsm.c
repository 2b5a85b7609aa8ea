/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/lsm.h"

#include <stdlib.h>

#include "lsm/batch.h"
#include "lsm/compact.h"
#include "lsm/lsm_internal.h"
#include "lsm/value_gc.h"

enum {
    SLICE_MIN = 4 << 10,
    SLICE_MAX = 1 << 20,
    VALUES_SHARE = 16,
    ADD_TOGETHER = 64, /* records that the memtable is given at once */
};

struct build_env lsm_build_env(struct lsm *lsm)
{
    return (struct build_env){
        .env = lsm->env,
        .dir = lsm->dir,
        .cache = lsm->cache,
        .table =
            {
                .block_bytes = lsm->options.block_bytes,
                .restart_every = lsm->options.restart_every,
                .filter_bits = lsm->options.filter_bits,
                .no_compression = lsm->options.no_compression,
                .value_bytes = lsm->options.value_bytes,
            },
        .table_bytes = lsm->options.table_bytes,
        .value_file_bytes = lsm->options.table_bytes,
        .number = &lsm->next_number,
    };
}

bool lsm_values_pay(const struct lsm *lsm, uint64_t bytes)
{
    return lsm->options.value_bytes > 0 && bytes > lsm->options.table_bytes / VALUES_SHARE;
}

uint64_t lsm_slice_bytes(const struct lsm *lsm, bool rests)
{
    size_t most = rests ? (size_t)REST_SLICE : (size_t)SLICE_MAX;
    return MIN(MAX(lsm->options.memtable_bytes, (size_t)SLICE_MIN), most);
}

static void tell_damage(struct lsm *lsm, struct table *t, const char *text)
{
    if (t->is_told || !atomic_load_explicit(&t->is_bad, memory_order_acquire))
        return;
    uint64_t offset = atomic_load_explicit(&t->bad_offset, memory_order_relaxed);
    t->is_told = true;
    if (lsm->options.callbacks.on_corrupt != NULL)
        lsm->options.callbacks.on_corrupt(lsm->data, t->name, offset,
                                          t->damage[0] != 0 ? t->damage : text);
}

void lsm_note_damage(struct lsm *lsm, const char *text)
{
    for (unsigned level = 0; level < VERSION_LISTS; level++) {
        for (size_t i = 0; i < lsm->version->count[level]; i++)
            tell_damage(lsm, lsm->version->at[level][i]->table, text);
    }
}

/* ---- writing ------------------------------------------------------------ */

static bool has_room(const struct lsm *lsm)
{
    return lsm->frozen_count < lsm->options.memtables_max &&
           version_l0_depth(lsm->version) < lsm->options.l0_stop;
}

/* Views that hold the memtable that was keep it: nothing is added to it any more. */
static void learn(struct lsm *lsm)
{
    struct memtable *next = memtable_relearn(lsm->active, lsm->options.memtable_bytes);
    if (next == NULL)
        return;
    memtable_unref(lsm->active);
    lsm->active = next;
    lsm_view_drop(lsm);
}

int lsm_write(struct lsm *lsm, const struct lsm_batch *batch)
{
    struct entry entries[ADD_TOGETHER];
    size_t pos = 0, n;
    if (lsm->is_dead)
        return ERR_IO;
    if (batch->buf.failed)
        return ERR_NOMEM;
    if (batch->count == 0)
        return 0;
    if (memtable_bytes(lsm->active) >= lsm->options.memtable_bytes) {
        if (!has_room(lsm)) {
            lsm->was_refused = true;
            lsm->stats.refusals++;
            return ERR_BUSY;
        }
        int rv = step_freeze(lsm);
        if (rv != 0)
            return rv;
    }
    size_t bytes = lsm_batch_bytes(batch);
    learn(lsm);
    if (memtable_reserve(lsm->active, batch->count, bytes) != 0)
        return ERR_NOMEM;
    size_t before = memtable_count(lsm->active);
    size_t large = lsm->options.value_bytes > 0 ? lsm->options.value_bytes : SIZE_MAX;
    memtable_write_begin(lsm->active);
    do {
        for (n = 0; n < ARRAY_LEN(entries) && lsm_batch_next(batch, &pos, &entries[n]); n++)
            lsm->active_large += entries[n].value.len >= large ? entries[n].value.len : 0;
        memtable_add(lsm->active, entries, n);
    } while (n == ARRAY_LEN(entries));
    ASSERT(memtable_count(lsm->active) == before + batch->count);
    lsm->stats.writes += batch->count;
    lsm->stats.write_bytes += bytes;
    return 0;
}

static enum lsm_stall stall_now(const struct lsm *lsm)
{
    const struct lsm_options *o = &lsm->options;
    size_t l0 = version_l0_depth(lsm->version);
    if (lsm->frozen_count >= o->memtables_max || l0 >= o->l0_stop)
        return LSM_STALL_STOP;
    bool last_one = o->memtables_max > 1 && lsm->frozen_count + 1 >= o->memtables_max;
    return last_one || l0 >= o->l0_slow ? LSM_STALL_SLOW : LSM_STALL_NONE;
}

enum { PACE_HALVES = 5, GARBAGE_SLOW = 10, GARBAGE_WAY = 40 /* permille */ };

/* How far `now` is on its way from `slow`: 0 not yet, then 1 .. PACE_HALVES + 1. */
static uint64_t pace_step(uint64_t now, uint64_t slow, uint64_t way)
{
    if (now < slow)
        return 0;
    return 1 + MIN((now - slow) * PACE_HALVES / MAX(way, (uint64_t)1), (uint64_t)PACE_HALVES);
}

uint64_t lsm_pace_us(const struct lsm *lsm, size_t bytes)
{
    const struct lsm_options *o = &lsm->options;
    uint64_t step = pace_step(version_l0_depth(lsm->version), o->l0_slow,
                              o->l0_stop - MIN(o->l0_slow, o->l0_stop));
    /* The flush has less claim to the processors than the writers that wait for it. */
    if (lsm->frozen_count >= o->memtables_max)
        step = MAX(step, pace_step(memtable_bytes(lsm->active), o->memtable_bytes / 2,
                                   o->memtable_bytes / 2));
    /* Garbage that nothing is done about (a full disk) slows nobody. */
    uint64_t slow = (uint64_t)o->value_garbage_percent * 10 + GARBAGE_SLOW;
    if (lsm->compaction != NULL)
        step = MAX(step, pace_step(lsm->garbage_permille, slow, GARBAGE_WAY));
    if (step == 0)
        return 0;
    /* The rate halves at each step. */
    uint64_t halves = step - 1;
    uint64_t rate = (uint64_t)LSM_PACE_FIRST >> halves;
    ASSERT(rate >= LSM_PACE_LAST);
    return (uint64_t)bytes * 1000000 / rate;
}

/* Time since the last change of lsm->stall, by what it was. */
static void count_stall(const struct lsm *lsm, struct lsm_stats *stats)
{
    uint64_t us = env_now_us(lsm->env) - lsm->stall_since_us;
    stats->slow_us += lsm->stall == LSM_STALL_SLOW ? us : 0;
    stats->stop_us += lsm->stall == LSM_STALL_STOP ? us : 0;
}

void lsm_stall_update(struct lsm *lsm)
{
    enum lsm_stall now = stall_now(lsm);
    if (now != lsm->stall) {
        count_stall(lsm, &lsm->stats);
        lsm->stall_since_us = env_now_us(lsm->env);
    }
    bool tell = now != lsm->stall || (lsm->was_refused && has_room(lsm));
    lsm->stall = now;
    if (!tell)
        return;
    if (has_room(lsm))
        lsm->was_refused = false;
    env_task_post(lsm->env, &lsm->stall_task);
}

static void on_stall_task(struct env_task *task)
{
    struct lsm *lsm = task->data;
    if (lsm->options.callbacks.on_stall != NULL)
        lsm->options.callbacks.on_stall(lsm->data);
}

enum lsm_stall lsm_stall(const struct lsm *lsm)
{
    return stall_now(lsm);
}

int lsm_flush(struct lsm *lsm, struct lsm_flush_op *op, lsm_flush_cb cb)
{
    ASSERT(cb != NULL);
    if (lsm->is_dead)
        return ERR_IO;
    int rv = step_freeze(lsm);
    if (rv != 0)
        return rv;
    op->cb = cb;
    op->freeze = lsm->frozen;
    list_init(&op->in_flushes);
    list_push_back(&lsm->flushes, &op->in_flushes);
    return 0;
}

void lsm_go_on(struct lsm *lsm)
{
    step_run(lsm);
}

uint64_t lsm_frozen(const struct lsm *lsm)
{
    return lsm->frozen;
}

uint64_t lsm_flushed(const struct lsm *lsm)
{
    return lsm->flushed;
}

int lsm_set_gc(struct lsm *lsm, const struct lsm_gc_span *spans, size_t count)
{
    struct gc_table *table = gc_table_new(spans, count);
    if (table == NULL)
        return ERR_NOMEM;
    gc_table_unref(lsm->gc);
    lsm->gc = table;
    compact_run(lsm);
    return 0;
}

void lsm_garbage_at(const struct lsm *lsm, const struct lsm_gc_span *span,
                    uint64_t *ret_safe_version, uint64_t *ret_range_time_ms)
{
    pick_garbage_at(lsm->version, lsm->gc, span, ret_safe_version, ret_range_time_ms);
}

/* ---- care --------------------------------------------------------------- */

static void level_stats(const struct lsm *lsm, struct lsm_stats *out)
{
    uint64_t targets[LSM_LEVELS];
    lsm_level_targets(lsm->version, &lsm->options, targets);
    for (unsigned level = 0; level < LSM_LEVELS; level++) {
        struct lsm_level_stats *l = &out->levels[level];
        l->target_bytes = targets[level];
        l->gets = atomic_load_explicit(&lsm->gets[level], memory_order_relaxed);
        for (size_t i = 0; i < lsm->version->count[level]; i++) {
            const struct piece *p = lsm->version->at[level][i];
            l->files++;
            l->bytes += p->bytes;
            l->records += p->records;
            l->deletes += p->deletes;
            out->damaged_files += atomic_load_explicit(&p->table->is_bad, memory_order_relaxed);
        }
    }
}

void lsm_note_garbage(struct lsm *lsm)
{
    lsm->garbage_permille = value_garbage_permille(lsm->version);
}

static void value_stats(const struct lsm *lsm, struct lsm_stats *out)
{
    const struct version *v = lsm->version;
    out->value_files = (uint32_t)v->count[VERSION_VALUES];
    for (size_t i = 0; i < v->count[VERSION_VALUES]; i++) {
        const struct table *t = v->at[VERSION_VALUES][i]->table;
        out->damaged_files += atomic_load_explicit(&t->is_bad, memory_order_relaxed);
    }
    (void)value_usage(v, &out->value_bytes, &out->value_live_bytes); /* without memory: 0 */
}

void lsm_stats(const struct lsm *lsm, struct lsm_stats *ret_stats)
{
    struct cache_stats cache;
    *ret_stats = lsm->stats;
    level_stats(lsm, ret_stats);
    value_stats(lsm, ret_stats);
    count_stall(lsm, ret_stats);
    ret_stats->memtable_bytes = memtable_bytes(lsm->active);
    LIST_FOREACH(link, &lsm->steps)
    {
        const struct step *step = list_entry(link, struct step, in_steps);
        if (step->kind == STEP_FLUSH)
            ret_stats->memtable_bytes += memtable_bytes(step->mem);
    }
    ret_stats->memtables_frozen = lsm->frozen_count;
    ret_stats->edits_pending = lsm->edit_count;
    ret_stats->files_dead = lsm->files.count + (uint32_t)lsm->files.batch_count;
    ret_stats->is_compacting = lsm->compaction != NULL;
    cache_stats(lsm->cache, &cache);
    ret_stats->cache_bytes = cache.bytes;
    ret_stats->cache_hits = cache.hits;
    ret_stats->cache_misses = cache.misses;
}

bool lsm_is_quiet(const struct lsm *lsm)
{
    struct pick pick;
    uint64_t cursor = lsm->compact_cursor;
    if (!list_is_empty(&lsm->steps) || lsm->committing != NULL || lsm->compaction != NULL ||
        lsm->has_manual || lsm->files.count > 0 || lsm->files.batch != NULL)
        return false;
    if (lsm->options.no_auto_compaction)
        return true;
    int rv = pick_next(lsm->version, &lsm->options, &cursor, &pick);
    if (rv == ERR_NOT_FOUND)
        rv = pick_garbage(lsm->version, lsm->gc, UINT64_MAX, &pick);
    if (rv == ERR_NOT_FOUND)
        rv = pick_values(lsm->version, &lsm->options, &pick);
    if (rv == 0)
        pick_fini(&pick);
    return rv == ERR_NOT_FOUND;
}

/* What a table refers to is there. */
static void check_refs(const struct lsm *lsm, const struct piece *p)
{
    for (size_t i = 0; i < p->table->props.ref_count; i++)
        ASSERT(version_find_file(lsm->version, p->table->props.refs[i].file) != NULL);
}

/* Each table knows how many pieces of the version in force show it. */
static void check_tables(const struct lsm *lsm)
{
    for (unsigned level = 0; level < VERSION_LISTS; level++) {
        for (size_t i = 0; i < lsm->version->count[level]; i++) {
            const struct piece *p = lsm->version->at[level][i];
            ASSERT(p->table->pieces > 0);
            ASSERT(!p->table->is_dead);
            ASSERT(p->id < atomic_load(&lsm->next_number));
            ASSERT(p->order < lsm->next_order);
            ASSERT(p->is_cut || p->file_size == p->table->size);
            check_refs(lsm, p);
        }
    }
}

void lsm_check(const struct lsm *lsm)
{
    uint32_t frozen = 0, edits = 0;
    uint64_t last_freeze = lsm->flushed;
    version_check(lsm->version);
    check_tables(lsm);
    memtable_check(lsm->active);
    cache_check(lsm->cache);
    LIST_FOREACH(link, &lsm->steps)
    {
        const struct step *step = list_entry(link, struct step, in_steps);
        ASSERT(step->state == STEP_WAITING || link == lsm->steps.next);
        if (step->kind == STEP_FLUSH) {
            ASSERT(step->freeze == ++last_freeze);
            memtable_check(step->mem);
            frozen++;
        } else {
            edits++;
        }
    }
    ASSERT(last_freeze == lsm->frozen);
    ASSERT(frozen == lsm->frozen_count);
    ASSERT(edits == lsm->edit_count);
    ASSERT(lsm->view == NULL || lsm->view->version == lsm->version);
    LIST_FOREACH(link, &lsm->files.dead)
    {
        const struct table *t = list_entry(link, struct table, in_dead);
        ASSERT(t->is_dead && t->pieces == 0);
    }
}

/* ---- the end ------------------------------------------------------------ */

/* What init and free agree on; lsm_open() fills the rest. */
void lsm_setup(struct lsm *lsm)
{
    atomic_init(&lsm->views, 0);
    atomic_init(&lsm->builders, 0);
    atomic_init(&lsm->next_number, 1);
    for (unsigned level = 0; level < LSM_LEVELS; level++)
        atomic_init(&lsm->gets[level], 0);
    lsm->next_order = 1;
    step_init(lsm);
    commit_init(lsm);
    compact_init(lsm);
    files_init(lsm);
    scrub_init(lsm);
    env_task_init(&lsm->stall_task, on_stall_task, lsm);
    lsm->stall_since_us = env_now_us(lsm->env);
    manifest_init(&lsm->manifest, lsm->env, lsm->dir);
}

static void free_steps(struct lsm *lsm)
{
    for (struct list *link; (link = list_pop_front(&lsm->steps)) != NULL;)
        step_free(list_entry(link, struct step, in_steps), true);
}

void lsm_free(struct lsm *lsm)
{
    if (lsm == NULL)
        return;
    env_timer_stop(&lsm->step_retry.timer);
    env_timer_stop(&lsm->commit_retry.timer);
    env_timer_stop(&lsm->compact_retry.timer);
    env_timer_stop(&lsm->stock_timer);
    rest_stop(&lsm->step_rest);
    env_task_cancel(&lsm->stall_task);
    scrub_free(lsm);
    lsm_view_drop(lsm);
    free_steps(lsm);
    edit_fini(&lsm->commit_edit);
    version_unref(lsm->commit_version);
    buf_fini(&lsm->commit_record);
    buf_fini(&lsm->commit_snapshot);
    compact_free(lsm);
    buf_fini(&lsm->manual_start);
    buf_fini(&lsm->manual_end);
    ASSERT(atomic_load(&lsm->views) == 0);
    ASSERT(atomic_load(&lsm->builders) == 0);
    version_unref(lsm->version);
    files_free(lsm);
    memtable_unref(lsm->active);
    stock_unref(lsm->stock);
    gc_table_unref(lsm->gc);
    manifest_fini(&lsm->manifest);
    cache_free(lsm->cache);
    free(lsm);
}
