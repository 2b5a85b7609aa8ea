/* SPDX-License-Identifier: Apache-2.0
 *
 * One compaction at a time: pick ─▶ split by keys into shares ─▶ each is merged in slices on
 * ENV_LANE_COMPACT, side by side as far as that has threads ─▶ one commit. Inputs are pieces of
 * the version in force at the start; when an edit has taken one of them away, or a share has
 * failed, the outputs of all are thrown away, on the lane: to remove large files takes a while.
 */
#include "lsm/compact.h"

#include <stdlib.h>

#include "base/plant.h"
#include "lsm/lsm_internal.h"
#include "lsm/merge.h"
#include "lsm/rest.h"
#include "lsm/split.h"
#include "lsm/table_read.h"

enum {
    EVEN_BYTES = 16 << 20, /* read each second, while nobody waits for it … */
    EVEN_FILES = 1,        /* … and L0 has so many files more than ask for a compaction; */
    EVEN_DOUBLES = 2,      /* each more doubles the rate, after so many there is none */
};

/* The keys of one span, of all inputs.
 *
 *   SLICE (executes, or waits for its turn) ⇄ REST (so that a rate is kept) ─▶ ENDED
 *     ─▶ DISCARDS, if all was for nothing
 */
struct share {
    struct compaction *compaction;
    struct env_work work;
    struct rest rest;
    struct slice lo, hi; /* empty: no bound */
    struct build build;
    bool has_build;
    bool is_ended;
    struct err source_err;
    struct piece **runs[LSM_LEVELS]; /* inputs of each level but L0, in order */
    uint64_t slice_bytes;            /* of input, at a time */
    int status;                      /* of the last: as build_step() */
};

struct compaction {
    struct lsm *lsm;
    struct pick pick;
    struct version *version; /* that the inputs are of */
    struct commit commit;
    struct value_victims victims; /* value files to be emptied */
    bool is_separate;             /* large values go to value files */
    bool is_wanted;               /* asked for by hand */
    bool is_for_values;           /* for the sake of the victims alone */
    bool is_in_pause;             /* chosen for its size, while another waits to be tried again */
    bool is_discarding;           /* each share removes what it has made */
    struct err why;               /* of the first share that failed */
    int status;
    size_t working; /* shares that have not ended, or not discarded */
    size_t share_count;
    struct share shares[]; /* none: a move */
};

static void share_fini(struct share *s, bool keep)
{
    rest_stop(&s->rest);
    if (s->has_build)
        build_fini(&s->build, keep);
    for (unsigned level = 0; level < LSM_LEVELS; level++)
        free(s->runs[level]);
}

static void compaction_free(struct compaction *c, bool keep)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->share_count; i++)
        share_fini(&c->shares[i], keep);
    pick_fini(&c->pick);
    version_unref(c->version);
    value_victims_fini(&c->victims);
    free(c);
}

bool compact_occupies(const struct lsm *lsm, unsigned level, struct slice start, struct slice end)
{
    const struct compaction *c = lsm->compaction;
    return c != NULL && c->pick.output == level &&
           span_overlaps(c->pick.lo, c->pick.hi, start, end);
}

/* ---- the sources -------------------------------------------------------- */

/* Inputs of the level that have keys in the share's span. */
static int run_of(struct share *s, unsigned level, size_t *ret_count)
{
    const struct pick *pick = &s->compaction->pick;
    size_t n = 0;
    *ret_count = 0;
    s->runs[level] = calloc(pick->input_count, sizeof(*s->runs[level]));
    if (s->runs[level] == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < pick->input_count; i++) {
        struct piece *p = pick->inputs[i].piece;
        if (pick->inputs[i].level == level && piece_overlaps(p, s->lo, s->hi))
            s->runs[level][n++] = p;
    }
    *ret_count = n;
    return 0;
}

/* Newest first: each piece of L0, then a run for each level. */
static struct cursor *open_inputs(struct share *s)
{
    size_t n = 0, count = 0;
    unsigned flags = LSM_READ_NO_FILL | TABLE_READ_PAST;
    size_t most = s->compaction->pick.input_count + LSM_LEVELS;
    struct cursor **sources = calloc(most, sizeof(*sources));
    bool ok = sources != NULL;
    for (unsigned level = 0; ok && level < LSM_LEVELS; level++) {
        ok = run_of(s, level, &count) == 0;
        for (size_t i = 0; ok && level == 0 && i < count; i++)
            ok = (sources[n++] = piece_cursor(s->runs[0][i], flags, &s->source_err));
        if (ok && level > 0 && count > 0)
            ok = (sources[n++] = level_cursor(s->runs[level], count, flags, &s->source_err));
    }
    struct cursor *merge = NULL;
    if (ok)
        merge = merge_cursor(sources, n, &s->source_err);
    for (size_t i = 0; !ok && i < n; i++)
        cursor_free(sources[i]);
    free(sources);
    return merge;
}

static int share_open(struct share *s, struct slice lo, struct slice hi)
{
    struct compaction *c = s->compaction;
    struct build_env with = lsm_build_env(c->lsm);
    struct build_values values = {.source = c->version, .is_separate = c->is_separate};
    s->lo = lo;
    s->hi = hi;
    struct cursor *source = open_inputs(s);
    if (source == NULL)
        return ERR_NOMEM;
    build_init(&s->build, &with, source, c->lsm->gc, c->version, c->pick.output + 1);
    build_set_span(&s->build, lo, hi);
    s->has_build = true;
    int rv = value_victims_copy(&values.victims, &c->victims);
    build_set_values(&s->build, &values);
    return rv;
}

/* ---- background --------------------------------------------------------- */

static void share_execute(struct env_work *work)
{
    struct share *s = container_of(work, struct share, work);
    if (s->compaction->is_discarding)
        build_discard(&s->build, false);
    else
        s->status = build_step(&s->build, s->slice_bytes);
}

/* A rate is kept for the sake of what else the disk and the processors do. 0: none. */
static uint64_t even_rate(const struct compaction *c)
{
    const struct lsm_options *o = &c->lsm->options;
    size_t depth = version_l0_depth(c->lsm->version);
    size_t calm = (size_t)o->l0_compact + EVEN_FILES;
    size_t doubles = depth - MIN(depth, calm);
    bool is_behind = c->lsm->garbage_permille > o->value_garbage_percent * 10u;
    bool is_wanted = c->is_wanted || c->lsm->has_manual;
    if (is_wanted || is_behind || doubles > EVEN_DOUBLES || depth + 1 >= o->l0_stop)
        return 0;
    return (uint64_t)EVEN_BYTES << doubles;
}

/* What writers wait for keeps none. */
static uint64_t share_rate(const struct share *s)
{
    const struct compaction *c = s->compaction;
    const struct lsm_options *o = &c->lsm->options;
    uint64_t even = even_rate(c);
    if (version_l0_depth(c->lsm->version) >= o->l0_slow)
        return 0;
    return even == 0 || o->compact_bytes == 0 ? MAX(even, o->compact_bytes)
                                              : MIN(even, o->compact_bytes);
}

/* Yields after each slice: what else waits for the lane has its turn. */
static void share_slice(struct share *s)
{
    struct lsm *lsm = s->compaction->lsm;
    s->slice_bytes = lsm_slice_bytes(lsm, share_rate(s) > 0);
    rest_begin_slice(&s->rest, s->build.bytes_in);
    env_work_submit(lsm->env, ENV_LANE_COMPACT, &s->work);
}

/* From the beginning of a slice to that of the next; those at work have the rate together. */
static uint64_t share_pace_us(const struct share *s)
{
    uint64_t rate = share_rate(s);
    uint64_t bytes = rest_slice_bytes(&s->rest, s->build.bytes_in) * s->compaction->working;
    return rate == 0 ? 0 : bytes * 1000000 / rate;
}

static bool share_is_urgent(const struct rest *rest)
{
    return share_rate(container_of(rest, struct share, rest)) == 0;
}

static void share_go_on(struct rest *rest)
{
    struct share *s = container_of(rest, struct share, rest);
    if (!s->compaction->lsm->is_dead)
        share_slice(s);
}

static void compact_end(struct lsm *lsm)
{
    struct compaction *c = lsm->compaction;
    lsm->compaction = NULL;
    compaction_free(c, true);
    files_run(lsm);
}

/* What may have its turn until the next try. */
static void note_room(struct lsm *lsm, const struct compaction *c)
{
    struct compact_room *room = &lsm->compact_room;
    uint64_t bytes = value_pick_bytes(&c->pick, &c->victims);
    if (c->status != ERR_NO_SPACE) {
        room->bytes = 0;
        return;
    }
    if (c->is_wanted)
        return; /* it is not chosen again */
    if (c->is_in_pause)
        bytes = MIN(bytes, room->bytes);
    else
        room->has_gained = false;
    room->is_tight = true;
    room->bytes = bytes / 2;
}

/* Nothing is left of it. */
static void compact_failed(struct compaction *c)
{
    struct lsm *lsm = c->lsm;
    struct err why = c->why;
    int status = c->status;
    if (status != ERR_STATE)
        note_room(lsm, c);
    compact_end(lsm);
    if (status == ERR_STATE)
        lsm_stall_update(lsm); /* an edit came between: the version is another now */
    else if (retry_is_waiting(&lsm->compact_retry))
        lsm->stats.retries++; /* the pause is another's */
    else
        retry_later(&lsm->compact_retry, status, &why);
    compact_run(lsm);
}

/* It is in force. One that was done in a pause leaves that, for what did not fit; a move has not
 * shown that there is room. */
static void note_done(struct lsm *lsm, const struct compaction *c)
{
    struct compact_room *room = &lsm->compact_room;
    bool is_move = c->share_count == 0;
    if (c->is_in_pause) {
        room->has_gained |= !is_move;
    } else if (!is_move || !room->is_tight) {
        retry_clear(&lsm->compact_retry);
        *room = (struct compact_room){0};
    }
}

/* What was made goes, and it ends. */
static void compact_discard(struct compaction *c)
{
    ASSERT(c->status < 0);
    c->is_discarding = true;
    c->working = c->share_count;
    for (size_t i = 0; i < c->share_count; i++)
        env_work_submit(c->lsm->env, ENV_LANE_COMPACT, &c->shares[i].work);
    if (c->working == 0)
        compact_failed(c);
}

/* No share works any more. */
static void shares_ended(struct compaction *c)
{
    if (c->status == 0) {
        commit_submit(c->lsm, &c->commit);
        return;
    }
    if (c->status == ERR_CORRUPT)
        lsm_note_damage(c->lsm, c->why.msg); /* at once: it may be gone when all else is */
    compact_discard(c);
}

static void share_end(struct share *s)
{
    ASSERT(!s->is_ended && s->compaction->working > 0);
    s->is_ended = true;
    s->compaction->working--;
}

/* Who rests need not go on; the others hear of it after their slice. */
static void shares_stop(struct compaction *c)
{
    for (size_t i = 0; i < c->share_count; i++) {
        if (!rest_is_on(&c->shares[i].rest))
            continue;
        rest_stop(&c->shares[i].rest);
        share_end(&c->shares[i]);
    }
}

static void share_complete(struct env_work *work)
{
    struct share *s = container_of(work, struct share, work);
    struct compaction *c = s->compaction;
    struct lsm *lsm = c->lsm;
    if (s->status == DISK_FATAL)
        lsm->is_dead = true;
    if (lsm->is_dead)
        return;
    if (c->is_discarding) {
        if (--c->working == 0)
            compact_failed(c);
        return;
    }
    if (s->status > 0 && c->status == 0) {
        rest_take(&s->rest, share_pace_us(s));
        return;
    }
    share_end(s);
    if (s->status < 0 && c->status == 0) { /* the first counts */
        c->status = s->status;
        c->why = s->build.err;
        shares_stop(c);
    }
    if (c->working == 0)
        shares_ended(c);
}

static bool is_input(const struct compaction *c, const struct edit_drop *drop)
{
    for (size_t i = 0; i < c->pick.input_count; i++) {
        const struct pick_input *in = &c->pick.inputs[i];
        if (in->level == drop->level && in->piece->id == drop->id)
            return true;
    }
    return false;
}

void compact_edited(struct lsm *lsm, const struct edit *edit)
{
    struct compaction *c = lsm->compaction;
    bool is_whole = true;
    if (c == NULL || c->status != 0 || c->working == 0)
        return; /* its own edit among them */
    for (size_t i = 0; is_whole && i < edit->drop_count; i++)
        is_whole = !is_input(c, &edit->drops[i]);
    if (is_whole)
        return;
    c->status = err_set(&c->why, ERR_STATE, "an edit dropped an input");
    shares_stop(c);
    if (c->working == 0)
        shares_ended(c);
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

static int add_outputs(const struct build *build, unsigned level, struct edit *edit)
{
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < build->output_count; i++) {
        const struct build_output *output = &build->outputs[i];
        rv = edit_add(edit, build_output_list(output, level), piece_ref(output->piece));
    }
    return rv;
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
    for (size_t i = 0; rv == 0 && i < c->share_count; i++)
        rv = add_outputs(&c->shares[i].build, c->pick.output, edit);
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
    for (size_t i = 0; i < c->share_count; i++)
        output->write_bytes += c->shares[i].build.bytes_out - c->shares[i].build.value_bytes_out;
}

static void count_build(const struct build *build, bool is_done, struct lsm_stats *stats)
{
    stats->compact_read_bytes += build->bytes_in;
    stats->compact_write_bytes += build->bytes_out;
    stats->value_write_bytes += build->value_bytes_out;
    stats->value_moved_bytes += build->value_bytes_moved;
    stats->compact_dropped += is_done ? build->filter.dropped : 0;
}

static void compact_done(struct lsm *lsm, struct commit *commit, int status)
{
    struct compaction *c = container_of(commit, struct compaction, commit);
    struct lsm_stats *stats = &lsm->stats;
    ASSERT(c == lsm->compaction);
    for (size_t i = 0; i < c->share_count; i++)
        count_build(&c->shares[i].build, status == 0, stats);
    if (status != 0) {
        c->status = err_set(&c->why, status, "edit of a compaction");
        compact_discard(c);
        return;
    }
    note_done(lsm, c);
    count_levels(c, stats->levels);
    stats->compactions += c->share_count > 0;
    stats->compact_shares += c->share_count;
    stats->compact_moves += c->share_count == 0;
    compact_end(lsm);
    lsm_stall_update(lsm);
    compact_run(lsm);
}

/* ---- the next one ------------------------------------------------------- */

struct choice {
    struct pick pick;
    bool is_wanted, is_for_values; /* as of a compaction */
};

/* May it have its turn, where one may write `bytes_max`? Else it is given up. */
static int check_room(const struct lsm *lsm, uint64_t bytes_max, struct choice *choice)
{
    struct value_victims victims = {0};
    int rv = 0;
    if (bytes_max == UINT64_MAX || choice->pick.is_move)
        return 0;
    if (choice->is_for_values)
        rv = value_victims_find(lsm->version, &lsm->options, &victims);
    if (rv == 0 && value_pick_bytes(&choice->pick, &victims) > bytes_max)
        rv = ERR_NOT_FOUND;
    value_victims_fini(&victims);
    if (rv != 0)
        pick_fini(&choice->pick);
    return rv;
}

/* Of what is due by itself, the most urgent that writes `bytes_max` at most. */
static int choose_due(struct lsm *lsm, uint64_t bytes_max, struct choice *choice)
{
    struct pick *pick = &choice->pick;
    int rv = pick_next(lsm->version, &lsm->options, &lsm->compact_cursor, pick);
    if (rv == 0)
        rv = check_room(lsm, bytes_max, choice);
    if (rv == ERR_NOT_FOUND)
        rv = pick_garbage(lsm->version, lsm->gc, bytes_max, pick);
    if (rv != ERR_NOT_FOUND)
        return rv;
    choice->is_for_values = true;
    rv = pick_values(lsm->version, &lsm->options, pick);
    return rv == 0 ? check_room(lsm, bytes_max, choice) : rv;
}

/* What is asked for by hand goes first, whatever its size; it is done with whatever comes of
 * it. */
static int choose(struct lsm *lsm, uint64_t bytes_max, struct choice *choice)
{
    *choice = (struct choice){.is_wanted = lsm->has_manual};
    if (lsm->has_manual) {
        lsm->has_manual = false;
        int rv = pick_span(lsm->version, &lsm->options, buf_slice(&lsm->manual_start),
                           buf_slice(&lsm->manual_end), &choice->pick);
        if (rv == 0 || rv == ERR_NOMEM)
            return rv;
        choice->is_wanted = false;
    }
    return lsm->options.no_auto_compaction ? ERR_NOT_FOUND : choose_due(lsm, bytes_max, choice);
}

/* As far as a pause lets it; which ends if there is no more to do in it, and something was. */
static int choose_now(struct lsm *lsm, struct choice *choice)
{
    struct compact_room *room = &lsm->compact_room;
    bool is_pause = retry_is_waiting(&lsm->compact_retry);
    int rv = choose(lsm, is_pause ? room->bytes : UINT64_MAX, choice);
    if (rv != ERR_NOT_FOUND || !is_pause || !room->has_gained)
        return rv;
    env_timer_stop(&lsm->compact_retry.timer);
    return choose(lsm, UINT64_MAX, choice);
}

static struct compaction *compaction_new(struct lsm *lsm, const struct pick *pick,
                                         size_t share_count)
{
    struct compaction *c = calloc(1, sizeof *c + share_count * sizeof c->shares[0]);
    if (c == NULL)
        return NULL;
    c->lsm = lsm;
    c->pick = *pick;
    c->version = version_ref(lsm->version);
    c->commit.prepare = compact_prepare;
    c->commit.done = compact_done;
    list_init(&c->commit.in_commits);
    c->share_count = c->working = share_count;
    for (size_t i = 0; i < share_count; i++) {
        struct share *s = &c->shares[i];
        s->compaction = c;
        env_work_init(&s->work, share_execute, share_complete, NULL);
        rest_init(&s->rest, lsm->env, share_is_urgent, share_go_on);
    }
    return c;
}

/* Once for all shares, which expect as much each. Where room is short no values are moved beside
 * the purpose. */
static int plan_values(struct compaction *c)
{
    int rv = 0;
    if (c->share_count == 0)
        return 0;
    if (!c->lsm->compact_room.is_tight || c->is_for_values || c->is_wanted)
        rv = value_victims_find(c->version, &c->lsm->options, &c->victims);
    if (rv == 0)
        c->is_separate =
            lsm_values_pay(c->lsm, value_expected(&c->pick, &c->victims) / c->share_count);
    return rv;
}

/* Takes the pick. */
static int compaction_open(struct lsm *lsm, struct choice *choice,
                           struct compaction **ret_compaction)
{
    struct pick *pick = &choice->pick;
    struct split split = {.count = 0};
    struct compaction *c = NULL;
    int rv = pick->is_move
                 ? 0
                 : split_pick(pick, lsm->options.compact_shares, lsm->options.table_bytes, &split);
    if (rv == 0)
        c = compaction_new(lsm, pick, pick->is_move ? 0 : split.count + 1);
    if (c == NULL) {
        pick_fini(pick);
        return ERR_NOMEM;
    }
    c->is_wanted = choice->is_wanted;
    c->is_for_values = choice->is_for_values;
    rv = plan_values(c);
    const struct slice none = {0}; /* the first and the last have no bound but the inputs' */
    for (size_t i = 0; rv == 0 && i < c->share_count; i++)
        rv = share_open(&c->shares[i], i == 0 ? none : split.borders[i - 1],
                        i == split.count ? none : split.borders[i]);
    if (rv == 0)
        *ret_compaction = c;
    else
        compaction_free(c, true);
    return rv;
}

void compact_run(struct lsm *lsm)
{
    struct choice choice;
    struct compaction *c = NULL;
    bool is_pause = retry_is_waiting(&lsm->compact_retry);
    if (lsm->is_dead || lsm->compaction != NULL || (is_pause && lsm->compact_room.bytes == 0))
        return;
    int rv = choose_now(lsm, &choice);
    is_pause = retry_is_waiting(&lsm->compact_retry);
    if (rv == ERR_NOT_FOUND && !is_pause) {
        retry_clear(&lsm->compact_retry); /* what failed before is wanted no more */
        lsm->compact_room = (struct compact_room){0};
    }
    if (rv == ERR_NOT_FOUND)
        return;
    if (rv == 0)
        rv = compaction_open(lsm, &choice, &c);
    if (rv != 0) {
        struct err why = {0};
        err_set(&why, rv, "begin a compaction");
        if (!is_pause)
            retry_later(&lsm->compact_retry, rv, &why);
        lsm->compact_room.bytes = 0;
        return;
    }
    c->is_in_pause = is_pause && !choice.is_wanted;
    lsm->compaction = c;
    if (c->share_count == 0) {
        commit_submit(lsm, &c->commit); /* refused at once, it is gone afterwards */
        return;
    }
    for (size_t i = 0; i < c->share_count; i++)
        share_slice(&c->shares[i]);
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
    retry_init(&lsm->compact_retry, lsm, compact_run);
}
