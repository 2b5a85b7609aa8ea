/* SPDX-License-Identifier: Apache-2.0
 *
 * lsm_edit(): orders itself behind a freeze when the active memtable holds something
 * of its spans or puts; then, at the head of the order:
 *   take in   rename the staged files, sync the folder, open them (background); what is
 *             damaged, or cannot be read for long, ends the edit
 *   build     the puts, as one table, sorted through a memtable of their own
 *   prepare   against the version in force: cut the pieces that the spans touch, find
 *             the level of each new file, add the puts on top of L0
 */
#include <stdlib.h>

#include "base/plant.h"
#include "lsm/batch.h"
#include "lsm/builder.h"
#include "lsm/lsm_internal.h"

/* ---- the call ----------------------------------------------------------- */

void edit_item_free(struct lsm_edit_item *item, bool keep)
{
    if (item == NULL)
        return;
    for (size_t i = 0; i < item->ingest_count; i++)
        piece_unref(item->ingest[i]);
    for (size_t i = 0; i < item->value_count; i++)
        piece_unref(item->values[i]);
    free(item->values);
    for (size_t i = 0; i < item->builder_count; i++)
        builder_free(item->builders[i], keep);
    free(item->ingest);
    free(item->builders);
    free(item->spans);
    free(item->keys);
    free(item);
}

static int copy_spans(struct lsm_edit_item *item, const struct lsm_edit_op *op)
{
    size_t bytes = 1;
    for (size_t i = 0; i < op->excise_count; i++) {
        const struct lsm_span *s = &op->excise[i];
        ASSERT(s->end.len == 0 || slice_compare(s->start, s->end) < 0);
        bytes += s->start.len + s->end.len;
    }
    item->spans = calloc(MAX(op->excise_count, (size_t)1), sizeof(*item->spans));
    item->keys = malloc(bytes);
    if (item->spans == NULL || item->keys == NULL)
        return ERR_NOMEM;
    uint8_t *at = item->keys;
    for (size_t i = 0; i < op->excise_count; i++) {
        const struct slice parts[] = {op->excise[i].start, op->excise[i].end};
        struct slice *const to[] = {&item->spans[i].start, &item->spans[i].end};
        for (size_t j = 0; j < ARRAY_LEN(parts); j++) {
            if (parts[j].len > 0)
                memcpy(at, parts[j].data, parts[j].len);
            *to[j] = slice_of(at, parts[j].len);
            at += parts[j].len;
        }
    }
    item->span_count = op->excise_count;
    return 0;
}

static int copy_builders(struct lsm_edit_item *item, const struct lsm_edit_op *op)
{
    size_t files = 0, values = 0;
    item->builders = calloc(MAX(op->ingest_count, (size_t)1), sizeof(*item->builders));
    if (item->builders == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < op->ingest_count; i++) {
        ASSERT(op->ingest[i]->is_finished);
        files += op->ingest[i]->staged_count;
        values += op->ingest[i]->value_count;
    }
    item->ingest = calloc(MAX(files, (size_t)1), sizeof(*item->ingest));
    item->values = calloc(MAX(values, (size_t)1), sizeof(*item->values));
    if (item->ingest == NULL || item->values == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < op->ingest_count; i++)
        item->builders[i] = op->ingest[i];
    return 0;
}

static int copy_puts(struct step *step, const struct lsm_batch *puts)
{
    struct entry e;
    size_t pos = 0;
    if (puts == NULL || puts->count == 0)
        return puts != NULL && puts->buf.failed ? ERR_NOMEM : 0;
    step->mem = memtable_new(lsm_batch_bytes(puts), NULL);
    if (step->mem == NULL || puts->buf.failed ||
        memtable_reserve(step->mem, puts->count, lsm_batch_bytes(puts)) != 0)
        return ERR_NOMEM;
    memtable_write_begin(step->mem);
    while (lsm_batch_next(puts, &pos, &e))
        memtable_add(step->mem, &e, 1);
    return 0;
}

/* Does the active memtable hold anything that the edit is about? */
static bool touches_active(const struct lsm *lsm, const struct lsm_edit_op *op)
{
    struct entry e, found;
    size_t pos = 0;
    for (size_t i = 0; i < op->excise_count; i++) {
        if (memtable_overlaps(lsm->active, op->excise[i].start, op->excise[i].end))
            return true;
    }
    for (size_t i = 0; i < op->ingest_count; i++) {
        const struct lsm_builder *b = op->ingest[i];
        if (b->staged_count == 0)
            continue;
        struct slice first = buf_slice(&b->staged[0].info.props.smallest);
        struct slice last = buf_slice(&b->staged[b->staged_count - 1].info.props.largest);
        if (memtable_overlaps(lsm->active, first, last) ||
            memtable_get(lsm->active, last, UINT64_MAX, UINT32_MAX, &found))
            return true;
    }
    while (op->puts != NULL && lsm_batch_next(op->puts, &pos, &e)) {
        if (memtable_get(lsm->active, e.key, UINT64_MAX, UINT32_MAX, &found))
            return true;
    }
    return false;
}

int lsm_edit(struct lsm *lsm, struct lsm_edit_op *op)
{
    ASSERT(op->cb != NULL);
    if (lsm->is_dead)
        return ERR_IO;
    struct step *step = step_new(STEP_EDIT);
    struct lsm_edit_item *item = calloc(1, sizeof *item);
    int rv = step == NULL || item == NULL ? ERR_NOMEM : 0;
    if (rv == 0)
        rv = copy_spans(item, op);
    if (rv == 0)
        rv = copy_builders(item, op);
    if (rv == 0)
        rv = copy_puts(step, op->puts);
    if (rv == 0 && (op->freeze || touches_active(lsm, op)) && !PLANTED(edit_overtakes_writes))
        rv = step_freeze(lsm);
    if (rv != 0) {
        edit_item_free(item, true);
        step_free(step, true);
        return rv;
    }
    item->op = op;
    item->builder_count = op->ingest_count; /* they are ours from here on */
    op->item = item;
    step->edit = item;
    step_append(lsm, step);
    return 0;
}

/* ---- background --------------------------------------------------------- */

static int take_in_file(struct lsm *lsm, struct staged *s, struct err *err)
{
    char from[ENV_PATH_MAX], to[ENV_PATH_MAX];
    if (s->is_renamed)
        return 0;
    int rv = disk_path(lsm->dir, DISK_STAGE, s->number, from);
    if (rv == 0)
        rv = disk_path(lsm->dir, DISK_TABLE, s->number, to);
    ASSERT(rv == 0);
    rv = env_file_rename(lsm->env, from, to, err);
    if (rv == ERR_NOT_FOUND) { /* an earlier try said that it failed, but it was done */
        uint64_t size;
        bool is_dir;
        rv = env_file_stat(lsm->env, to, &size, &is_dir, err);
    }
    s->is_renamed = rv == 0;
    return rv;
}

/* Value files have their names already. */
static int open_values(struct lsm *lsm, struct lsm_edit_item *item, struct err *err)
{
    size_t at = 0;
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < item->builder_count; i++) {
        const struct lsm_builder *b = item->builders[i];
        for (size_t j = 0; rv == 0 && j < b->value_count; j++, at++) {
            if (at < item->value_count)
                continue;
            rv = values_open_piece(lsm->env, lsm->cache, lsm->dir, &b->values[j], &item->values[at],
                                   err);
            item->value_count += rv == 0;
        }
    }
    return rv;
}

static int open_tables(struct lsm *lsm, struct lsm_edit_item *item, struct err *err)
{
    struct build_env with = lsm_build_env(lsm);
    size_t at = 0;
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < item->builder_count; i++) {
        struct lsm_builder *b = item->builders[i];
        for (size_t j = 0; rv == 0 && j < b->staged_count; j++, at++) {
            if (at < item->ingest_count)
                continue;
            rv = build_open_piece(&with, b->staged[j].number, &b->staged[j].info, &item->ingest[at],
                                  err);
            item->ingest_count += rv == 0;
        }
    }
    return rv;
}

/* The next file cannot be read, try after try, for as long as makes a place of a table damaged:
 * this edit holds up all memtables behind it, and its owner can have the file made again. */
static int note_unread(struct lsm *lsm, struct lsm_edit_item *item, int status, struct err *err)
{
    size_t opened = item->value_count + item->ingest_count;
    uint64_t now_us = env_now_us(lsm->env);
    if (item->unread_tries == 0 || item->unread_at != opened) {
        item->unread_tries = 0;
        item->unread_at = opened;
        item->unread_since_us = now_us;
    }
    item->unread_tries++;
    if (item->unread_tries < TABLE_UNREAD_TRIES || now_us - item->unread_since_us < TABLE_UNREAD_US)
        return status;
    return err_wrap(err, ERR_CORRUPT, "a staged file cannot be read");
}

/* Repeatable: what is renamed stays so, pieces are opened once. */
int edit_take_in(struct lsm *lsm, struct step *step, struct err *err)
{
    struct lsm_edit_item *item = step->edit;
    size_t files = 0;
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < item->builder_count; i++) {
        struct lsm_builder *b = item->builders[i];
        for (size_t j = 0; rv == 0 && j < b->staged_count; j++, files++)
            rv = take_in_file(lsm, &b->staged[j], err);
    }
    if (rv == 0 && files > 0 && item->ingest_count < files)
        rv = disk_sync_dir(lsm->env, lsm->dir, err);
    if (rv != 0)
        return rv;
    rv = open_values(lsm, item, err);
    if (rv == 0)
        rv = open_tables(lsm, item, err);
    return rv == ERR_IO ? note_unread(lsm, item, rv, err) : rv;
}

/* ---- prepare ------------------------------------------------------------ */

/* What stays of `p` between `lo` and `hi`, as a piece of its own. */
static int add_rest(struct lsm *lsm, unsigned level, const struct piece *p, struct slice lo,
                    struct slice hi, struct edit *edit)
{
    if (slice_compare(lo, hi) >= 0)
        return 0;
    struct piece *rest = piece_new(lo, hi);
    if (rest == NULL)
        return ERR_NOMEM;
    uint64_t bytes = 0, records = 0;
    table_approximate(p->table, lo, hi, &bytes, &records);
    rest->id = atomic_fetch_add(&lsm->next_number, 1);
    rest->file = p->file;
    rest->order = p->order;
    rest->file_size = p->file_size;
    rest->file_crc = p->file_crc;
    rest->bytes = MIN(bytes, p->bytes);
    rest->records = MIN(records, p->records);
    rest->deletes = p->deletes;
    rest->table = table_ref(p->table);
    rest->is_cut = true;
    return edit_add(edit, level, rest);
}

/* Spans sorted by start: keep what lies between them. */
static int excise_piece(struct lsm *lsm, unsigned level, const struct piece *p,
                        const struct lsm_span *spans, size_t count, struct edit *edit)
{
    struct slice lo = p->lo;
    int rv = 0;
    bool is_touched = false, is_gone = false;
    for (size_t i = 0; rv == 0 && i < count && !is_gone; i++) {
        if (!piece_overlaps(p, spans[i].start, spans[i].end))
            continue;
        if (!is_touched)
            rv = edit_drop(edit, level, p->id);
        is_touched = true;
        if (rv == 0)
            rv = add_rest(lsm, level, p, lo, spans[i].start, edit);
        if (spans[i].end.len == 0)
            is_gone = true;
        else if (slice_compare(spans[i].end, lo) > 0)
            lo = spans[i].end;
    }
    if (rv == 0 && is_touched && !is_gone)
        rv = add_rest(lsm, level, p, lo, p->hi, edit);
    return rv;
}

static int compare_span(const void *a, const void *b)
{
    return slice_compare(((const struct lsm_span *)a)->start, ((const struct lsm_span *)b)->start);
}

static int excise(struct lsm *lsm, struct lsm_edit_item *item, struct edit *edit)
{
    const struct version *v = lsm->version;
    int rv = 0;
    qsort(item->spans, item->span_count, sizeof(*item->spans), compare_span);
    for (unsigned level = 0; level < LSM_LEVELS; level++) {
        for (size_t i = 0; rv == 0 && i < v->count[level]; i++)
            rv = excise_piece(lsm, level, v->at[level][i], item->spans, item->span_count, edit);
    }
    return rv;
}

/* Is the span free in this level, after the excision and what was added so far? */
static bool level_is_free(const struct lsm *lsm, const struct version *v, const struct edit *edit,
                          size_t from, unsigned level, const struct piece *p)
{
    if (version_overlaps(v, level, p->lo, p->hi) || compact_occupies(lsm, level, p->lo, p->hi))
        return false;
    for (size_t i = from; i < edit->add_count; i++) {
        if (edit->adds[i].level == level && piece_overlaps(edit->adds[i].piece, p->lo, p->hi))
            return false;
    }
    return true;
}

/* The deepest level that is free, with nothing of the span in any level above it. */
static unsigned ingest_level(const struct lsm *lsm, const struct version *v,
                             const struct edit *edit, size_t from, const struct piece *p)
{
    unsigned found = 0;
    if (version_overlaps(v, 0, p->lo, p->hi))
        return 0;
    for (unsigned level = 1; level < LSM_LEVELS; level++) {
        if (level_is_free(lsm, v, edit, from, level, p))
            found = level;
        else if (version_overlaps(v, level, p->lo, p->hi))
            break;
    }
    return found;
}

static int ingest(struct lsm *lsm, struct lsm_edit_item *item, struct edit *edit)
{
    struct version *after = NULL;
    struct err why = {0};
    size_t from = edit->add_count;
    int rv = version_apply(lsm->version, edit, &after, &why);
    for (size_t i = 0; rv == 0 && i < item->ingest_count; i++) {
        struct piece *p = item->ingest[i];
        unsigned level = ingest_level(lsm, after, edit, from, p);
        p->order = lsm->next_order++;
        rv = edit_add(edit, level, piece_ref(p));
    }
    for (size_t i = 0; rv == 0 && i < item->value_count; i++)
        rv = edit_add(edit, VERSION_VALUES, piece_ref(item->values[i]));
    version_unref(after);
    return rv;
}

int edit_prepare(struct lsm *lsm, struct step *step, struct edit *edit)
{
    int rv = excise(lsm, step->edit, edit);
    if (rv == 0)
        rv = ingest(lsm, step->edit, edit);
    if (!step->has_build)
        return rv;
    for (size_t i = 0; rv == 0 && i < step->build.output_count; i++) {
        struct piece *p = step->build.outputs[i].piece;
        p->order = lsm->next_order++;
        rv = edit_add(edit, 0, piece_ref(p));
    }
    return rv;
}

void edit_done(struct lsm *lsm, struct step *step, int status)
{
    (void)lsm;
    struct lsm_edit_item *item = step->edit;
    struct lsm_edit_op *op = item->op;
    ASSERT(op->item == item);
    op->item = NULL;
    step_free(step, status == 0); /* a refused edit takes its files with it */
    op->cb(op, status);
}
