/* SPDX-License-Identifier: Apache-2.0
 *
 * One compaction at a time: pick ─▶ merge in slices on ENV_LANE_COMPACT ─▶ commit.
 * Inputs are pieces of the version in force at the start; when an edit has taken one
 * of them away by the end, the outputs are thrown away.
 */
#include "lsm/compact.h"

#include <stdlib.h>

#include "base/plant.h"
#include "lsm/lsm_internal.h"
#include "lsm/merge.h"

enum { REST_US_MAX = 1000000 };

struct compaction {
    struct lsm *lsm;
    struct pick pick;
    struct version *version; /* that the inputs are of */
    struct commit commit;
    struct build build;
    bool has_build;
    struct err source_err;
    struct piece **runs[LSM_LEVELS]; /* inputs of each level but L0, in order */
    uint64_t slice_began_us, slice_began_bytes;
    int status;
};

static void compaction_free(struct compaction *c, bool keep)
{
    if (c == NULL)
        return;
    if (c->has_build)
        build_fini(&c->build, keep);
    for (unsigned level = 0; level < LSM_LEVELS; level++)
        free(c->runs[level]);
    pick_fini(&c->pick);
    version_unref(c->version);
    free(c);
}

bool compact_occupies(const struct lsm *lsm, unsigned level, struct slice start, struct slice end)
{
    const struct compaction *c = lsm->compaction;
    return c != NULL && c->pick.output == level &&
           span_overlaps(c->pick.lo, c->pick.hi, start, end);
}

/* ---- the sources -------------------------------------------------------- */

static int run_of(struct compaction *c, unsigned level, size_t *ret_count)
{
    size_t n = 0;
    for (size_t i = 0; i < c->pick.input_count; i++)
        n += c->pick.inputs[i].level == level;
    *ret_count = n;
    if (n == 0)
        return 0;
    c->runs[level] = calloc(n, sizeof(*c->runs[level]));
    if (c->runs[level] == NULL)
        return ERR_NOMEM;
    n = 0;
    for (size_t i = 0; i < c->pick.input_count; i++) {
        if (c->pick.inputs[i].level == level)
            c->runs[level][n++] = c->pick.inputs[i].piece;
    }
    return 0;
}

/* Newest first: each piece of L0, then a run for each level. */
static struct cursor *open_inputs(struct compaction *c)
{
    size_t n = 0, count = 0;
    unsigned flags = LSM_READ_NO_FILL;
    struct cursor **sources = calloc(c->pick.input_count + LSM_LEVELS, sizeof(*sources));
    bool ok = sources != NULL;
    for (unsigned level = 0; ok && level < LSM_LEVELS; level++) {
        ok = run_of(c, level, &count) == 0;
        for (size_t i = 0; ok && level == 0 && i < count; i++)
            ok = (sources[n++] = piece_cursor(c->runs[0][i], flags, &c->source_err));
        if (ok && level > 0 && count > 0)
            ok = (sources[n++] = level_cursor(c->runs[level], count, flags, &c->source_err));
    }
    struct cursor *merge = NULL;
    if (ok)
        merge = merge_cursor(sources, n, &c->source_err);
    for (size_t i = 0; !ok && i < n; i++)
        cursor_free(sources[i]);
    free(sources);
    return merge;
}

static int compaction_open(struct compaction *c)
{
    struct build_env with = lsm_build_env(c->lsm);
    struct cursor *source = open_inputs(c);
    if (source == NULL)
        return ERR_NOMEM;
    build_init(&c->build, &with, source, c->lsm->gc, c->version, c->pick.output + 1);
    c->has_build = true;
    struct build_values values = {.source = c->version};
    int rv = value_victims_find(c->version, &c->lsm->options, &values.victims);
    values.is_separate =
        rv == 0 && lsm_values_pay(c->lsm, value_expected(&c->pick, &values.victims));
    build_set_values(&c->build, &values);
    return rv;
}

/* ---- background --------------------------------------------------------- */

static void compact_execute(struct env_work *work)
{
    struct lsm *lsm = container_of(work, struct lsm, compact_work);
    struct compaction *c = lsm->compaction;
    c->status = build_step(&c->build, lsm_slice_bytes(lsm));
}

/* Yields after each slice: what else waits for the lane has its turn. */
static void compact_slice(struct lsm *lsm)
{
    struct compaction *c = lsm->compaction;
    c->slice_began_us = env_now_us(lsm->env);
    c->slice_began_bytes = c->build.bytes_in;
    env_work_submit(lsm->env, ENV_LANE_COMPACT, &lsm->compact_work);
}

/* How long to rest after a slice. What writers wait for does not rest. */
static uint64_t compact_rest_us(const struct lsm *lsm)
{
    const struct compaction *c = lsm->compaction;
    uint64_t rate = lsm->options.compact_bytes;
    if (rate == 0 || version_l0_depth(lsm->version) >= lsm->options.l0_slow)
        return 0;
    uint64_t bytes = c->build.bytes_in - c->slice_began_bytes;
    uint64_t took_us = env_now_us(lsm->env) - c->slice_began_us;
    uint64_t want_us = MIN(bytes * 1000000 / rate, (uint64_t)REST_US_MAX);
    return want_us - MIN(want_us, took_us);
}

static void on_rested(struct env_timer *timer)
{
    struct lsm *lsm = timer->data;
    if (!lsm->is_dead)
        compact_slice(lsm);
}

static void compact_end(struct lsm *lsm, bool keep)
{
    struct compaction *c = lsm->compaction;
    lsm->compaction = NULL;
    compaction_free(c, keep);
    files_run(lsm);
}

static void compact_complete(struct env_work *work)
{
    struct lsm *lsm = container_of(work, struct lsm, compact_work);
    struct compaction *c = lsm->compaction;
    if (c->status == DISK_FATAL) {
        lsm->is_dead = true;
        return;
    }
    if (c->status > 0) {
        uint64_t rest_us = compact_rest_us(lsm);
        if (rest_us > 0)
            env_timer_start(&lsm->compact_pause, rest_us);
        else
            compact_slice(lsm);
        return;
    }
    if (c->status < 0) {
        struct err why = c->build.err;
        int status = c->status;
        compact_end(lsm, false);
        if (status == ERR_CORRUPT)
            lsm_note_damage(lsm, why.msg);
        retry_later(&lsm->compact_retry, status, &why);
        return;
    }
    commit_submit(lsm, &c->commit);
}

/* ---- commit ------------------------------------------------------------- */

static bool has_piece(const struct version *v, const struct pick_input *in)
{
    for (size_t i = 0; i < v->count[in->level]; i++) {
        if (v->at[in->level][i] == in->piece)
            return true;
    }
    return false;
}

/* file_gone_early */
static void unlink_input(struct lsm *lsm, uint64_t number)
{
    char path[ENV_PATH_MAX];
    if (disk_path(lsm->dir, DISK_TABLE, number, path) == 0)
        env_file_unlink(lsm->env, path, NULL);
}

static int compact_prepare(struct lsm *lsm, struct commit *commit, struct edit *edit)
{
    struct compaction *c = container_of(commit, struct compaction, commit);
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < c->pick.input_count; i++) {
        const struct pick_input *in = &c->pick.inputs[i];
        if (!has_piece(lsm->version, in))
            return ERR_STATE; /* an edit came between */
        rv = edit_drop(edit, in->level, in->piece->id);
        if (PLANTED(file_gone_early) && !c->pick.is_move && in->piece->table->pieces == 1)
            unlink_input(lsm, in->piece->file);
    }
    if (c->pick.is_move)
        return rv != 0 ? rv : edit_add(edit, c->pick.output, piece_ref(c->pick.inputs[0].piece));
    for (size_t i = 0; rv == 0 && i < c->build.output_count; i++) {
        const struct build_output *output = &c->build.outputs[i];
        rv = edit_add(edit, build_output_list(output, c->pick.output), piece_ref(output->piece));
    }
    return rv;
}

/* What went out of each level, and into which. */
static void count_levels(const struct compaction *c, struct lsm_level_stats *levels)
{
    struct lsm_level_stats *output = &levels[c->pick.output];
    for (size_t i = 0; i < c->pick.input_count; i++) {
        const struct pick_input *in = &c->pick.inputs[i];
        if (c->pick.is_move)
            output->moved_bytes += in->piece->bytes;
        else
            levels[in->level].read_bytes += in->piece->bytes;
    }
    output->write_bytes += c->has_build ? c->build.bytes_out - c->build.value_bytes_out : 0;
}

static void compact_done(struct lsm *lsm, struct commit *commit, int status)
{
    struct compaction *c = container_of(commit, struct compaction, commit);
    struct lsm_stats *stats = &lsm->stats;
    ASSERT(c == lsm->compaction);
    if (c->has_build) {
        stats->compact_read_bytes += c->build.bytes_in;
        stats->compact_write_bytes += c->build.bytes_out;
        stats->value_write_bytes += c->build.value_bytes_out;
        stats->value_moved_bytes += c->build.value_bytes_moved;
        stats->compact_dropped += status == 0 ? c->build.filter.dropped : 0;
    }
    if (status == 0) {
        retry_clear(&lsm->compact_retry);
        count_levels(c, stats->levels);
        stats->compactions += c->has_build;
        stats->compact_moves += !c->has_build;
    }
    compact_end(lsm, status == 0);
    if (status == ERR_NOMEM) {
        struct err why = {0};
        err_set(&why, status, "edit of a compaction");
        retry_later(&lsm->compact_retry, status, &why);
        return;
    }
    lsm_stall_update(lsm);
    compact_run(lsm);
}

/* ---- the next one ------------------------------------------------------- */

/* What is asked for by hand goes first; it is done with whatever comes of it. */
static int pick_work(struct lsm *lsm, struct pick *ret_pick)
{
    if (lsm->has_manual) {
        lsm->has_manual = false;
        int rv = pick_span(lsm->version, &lsm->options, buf_slice(&lsm->manual_start),
                           buf_slice(&lsm->manual_end), ret_pick);
        if (rv == 0 || rv == ERR_NOMEM)
            return rv;
    }
    if (lsm->options.no_auto_compaction)
        return ERR_NOT_FOUND;
    int rv = pick_next(lsm->version, &lsm->options, &lsm->compact_cursor, ret_pick);
    if (rv == ERR_NOT_FOUND)
        rv = pick_garbage(lsm->version, lsm->gc, ret_pick);
    return rv == ERR_NOT_FOUND ? pick_values(lsm->version, &lsm->options, ret_pick) : rv;
}

void compact_run(struct lsm *lsm)
{
    struct pick pick;
    if (lsm->is_dead || lsm->compaction != NULL || retry_is_waiting(&lsm->compact_retry))
        return;
    int rv = pick_work(lsm, &pick);
    if (rv == ERR_NOT_FOUND) {
        retry_clear(&lsm->compact_retry); /* what failed before is wanted no more */
        return;
    }
    struct compaction *c = rv == 0 ? calloc(1, sizeof *c) : NULL;
    if (c != NULL) {
        c->lsm = lsm;
        c->pick = pick;
        c->version = version_ref(lsm->version);
        c->commit.prepare = compact_prepare;
        c->commit.done = compact_done;
        list_init(&c->commit.in_commits);
        rv = pick.is_move ? 0 : compaction_open(c);
    } else if (rv == 0) {
        pick_fini(&pick);
        rv = ERR_NOMEM;
    }
    if (rv != 0) {
        struct err why = {0};
        err_set(&why, rv, "begin a compaction");
        compaction_free(c, true);
        retry_later(&lsm->compact_retry, rv, &why);
        return;
    }
    lsm->compaction = c;
    if (pick.is_move)
        commit_submit(lsm, &c->commit);
    else
        compact_slice(lsm);
}

int lsm_compact(struct lsm *lsm, struct slice start, struct slice end)
{
    if (lsm->is_dead)
        return ERR_IO;
    buf_clear(&lsm->manual_start);
    buf_clear(&lsm->manual_end);
    buf_append_slice(&lsm->manual_start, start);
    buf_append_slice(&lsm->manual_end, end);
    if (lsm->manual_start.failed || lsm->manual_end.failed)
        return ERR_NOMEM;
    lsm->has_manual = true;
    compact_run(lsm);
    return 0;
}

void compact_free(struct lsm *lsm)
{
    compaction_free(lsm->compaction, true);
    lsm->compaction = NULL;
}

void compact_init(struct lsm *lsm)
{
    buf_init(&lsm->manual_start, LSM_KEY_MAX + 1);
    buf_init(&lsm->manual_end, LSM_KEY_MAX + 1);
    env_work_init(&lsm->compact_work, compact_execute, compact_complete, NULL);
    env_timer_init(&lsm->compact_pause, lsm->env, on_rested, lsm);
    retry_init(&lsm->compact_retry, lsm, compact_run);
}
