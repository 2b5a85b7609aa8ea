/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "lsm/compact.h"
#include "lsm/gc.h"
#include "lsm/lsm_internal.h"
#include "lsm/value_gc.h"

enum { LAST_LEVEL = LSM_LEVELS - 1, GARBAGE_PERMILLE = 200 };

unsigned lsm_level_targets(const struct version *v, const struct lsm_options *options,
                           uint64_t ret_targets[LSM_LEVELS])
{
    uint64_t base = MAX(options->level_base_bytes, 1);
    uint64_t ratio = MAX(options->level_ratio, 2u);
    uint64_t largest = 0;
    unsigned first = LAST_LEVEL; /* first level that has files */
    for (unsigned level = LAST_LEVEL; level >= 1; level--) {
        uint64_t bytes = version_level_bytes(v, level);
        largest = MAX(largest, bytes);
        if (v->count[level] > 0)
            first = level;
    }
    memset(ret_targets, 0, LSM_LEVELS * sizeof ret_targets[0]);
    /* Walk up from the last level until a target fits into the base, or is nearer to it
     * than the next would be: a level that is little larger than L0 costs a rewrite and
     * saves none. Files above that level (left from when the tree was larger, or ingested)
     * still flow down. */
    uint64_t target = MAX(largest, base);
    uint64_t fits = MAX(base * ratio / 3, base);
    unsigned level = LAST_LEVEL;
    ret_targets[level] = target;
    while (level > 1 && target > fits) {
        target /= ratio;
        level--;
        ret_targets[level] = MAX(target, 1);
    }
    /* L0 may not jump over a level that has files. */
    return MIN(level, first);
}

void pick_fini(struct pick *pick)
{
    free(pick->inputs);
    *pick = (struct pick){0};
}

static int pick_add(struct pick *pick, unsigned level, struct piece *p)
{
    if (pick->input_count == pick->input_cap) {
        size_t cap = MAX(pick->input_cap * 2, (size_t)8);
        struct pick_input *more = realloc(pick->inputs, cap * sizeof *more);
        if (more == NULL)
            return ERR_NOMEM;
        pick->inputs = more;
        pick->input_cap = cap;
    }
    pick->inputs[pick->input_count++] = (struct pick_input){.level = level, .piece = p};
    if (pick->input_count == 1 || slice_compare(p->lo, pick->lo) < 0)
        pick->lo = p->lo;
    if (pick->input_count == 1 || slice_compare(p->hi, pick->hi) > 0)
        pick->hi = p->hi;
    return 0;
}

static bool is_bad(const struct piece *p)
{
    return atomic_load_explicit(&p->table->is_bad, memory_order_relaxed);
}

/* Every piece of `level` that overlaps the span; ERR_BUSY if one is damaged. */
static int add_overlaps(struct pick *pick, const struct version *v, unsigned level,
                        struct slice start, struct slice end)
{
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < v->count[level]; i++) {
        struct piece *p = v->at[level][i];
        if (!piece_overlaps(p, start, end))
            continue;
        rv = is_bad(p) ? ERR_BUSY : pick_add(pick, level, p);
    }
    return rv;
}

static uint64_t overlap_bytes(const struct version *v, unsigned level, const struct piece *p,
                              bool *ret_is_bad)
{
    uint64_t bytes = 0;
    for (size_t i = version_find(v, level, p->lo); i < v->count[level]; i++) {
        if (!piece_overlaps(v->at[level][i], p->lo, p->hi))
            break;
        bytes += v->at[level][i]->bytes;
        *ret_is_bad |= is_bad(v->at[level][i]);
    }
    return bytes;
}

/* ---- out of L0 ---------------------------------------------------------- */

/* Does a piece of L0 that is older than the `i`th overlap it? Older is further back. */
static bool overlaps_older(const struct version *v, size_t i)
{
    for (size_t j = i + 1; j < v->count[0]; j++) {
        if (piece_overlaps(v->at[0][j], v->at[0][i]->lo, v->at[0][i]->hi))
            return true;
    }
    return false;
}

static bool overlaps_bad(const struct version *v, unsigned level, struct slice lo, struct slice hi)
{
    for (size_t i = version_find(v, level, lo); i < v->count[level]; i++) {
        if (!piece_overlaps(v->at[level][i], lo, hi))
            return false;
        if (is_bad(v->at[level][i]))
            return true;
    }
    return false;
}

/* Where a part of L0 that overlaps the span goes: to the base, or over damage there into the
 * level above it, which is empty. 0: nowhere. */
static unsigned output_of(const struct version *v, unsigned base, struct slice lo, struct slice hi)
{
    return overlaps_bad(v, base, lo, hi) ? base - 1 : base;
}

/* The oldest piece that can go down as it is: nothing older in L0, nothing where it goes. A
 * damaged one sinks too, as no move reads it; in L0 it would hold up all that is newer. */
static struct piece *movable(const struct version *v, unsigned base, unsigned *ret_output)
{
    for (size_t i = v->count[0]; i-- > 0;) {
        struct piece *p = v->at[0][i];
        bool is_free = !version_overlaps(v, base, p->lo, p->hi);
        if ((!is_free && (!is_bad(p) || base == 1)) || overlaps_older(v, i))
            continue;
        *ret_output = is_free ? base : base - 1;
        return p;
    }
    return NULL;
}

struct group {
    struct slice lo, hi; /* the span it has in the end */
    size_t from;         /* pieces of L0 before it are left where they are */
    size_t count;
    bool is_bad;
};

/* Everything in L0 from `from` on that overlaps the span of `p`, or what that brought in, and
 * so on. What is newer never sinks below what is older. */
static struct group group_of(const struct version *v, const struct piece *p, size_t from)
{
    struct group g = {.lo = p->lo, .hi = p->hi, .from = from};
    size_t before;
    do {
        before = g.count;
        g.count = 0;
        for (size_t i = from; i < v->count[0]; i++) {
            const struct piece *q = v->at[0][i];
            if (!piece_overlaps(q, g.lo, g.hi))
                continue;
            g.count++;
            g.is_bad |= is_bad(q);
            g.lo = slice_compare(q->lo, g.lo) < 0 ? q->lo : g.lo;
            g.hi = slice_compare(q->hi, g.hi) > 0 ? q->hi : g.hi;
        }
    } while (g.count != before);
    return g;
}

/* The largest group without damage; or what is older than all damage of L0 of one that has
 * some, so that that can sink. A count of 0: none. */
static struct group best_group(const struct version *v, unsigned base)
{
    struct group best = {0};
    size_t behind = v->count[0]; /* the first that is older than all damage */
    while (behind > 0 && !is_bad(v->at[0][behind - 1]))
        behind--;
    for (size_t i = 0; i < v->count[0]; i++) {
        struct group g = group_of(v, v->at[0][i], 0);
        if (g.is_bad && i >= behind)
            g = group_of(v, v->at[0][i], behind);
        if (!g.is_bad && g.count > best.count && output_of(v, base, g.lo, g.hi) > 0)
            best = g;
    }
    return best;
}

static int add_group(struct pick *pick, const struct version *v, const struct group *g)
{
    int rv = 0;
    for (size_t i = g->from; rv == 0 && i < v->count[0]; i++) {
        if (piece_overlaps(v->at[0][i], g->lo, g->hi))
            rv = pick_add(pick, 0, v->at[0][i]);
    }
    return rv;
}

static uint64_t pick_bytes(const struct pick *pick, unsigned level)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < pick->input_count; i++)
        bytes += pick->inputs[i].level == level ? pick->inputs[i].piece->bytes : 0;
    return bytes;
}

/* With the values that the level's pieces refer to. */
static uint64_t pick_bytes_whole(const struct pick *pick, unsigned level)
{
    uint64_t bytes = pick_bytes(pick, level);
    for (size_t i = 0; i < pick->input_count; i++)
        bytes += pick->inputs[i].level == level ? piece_value_bytes(pick->inputs[i].piece) : 0;
    return bytes;
}

/* A piece that need not be rewritten, or else the largest group. That is left to grow
 * while it would rewrite more of the base than it brings, up to twice the files that
 * ask for compaction. What it brings are values too: what they overwrite is garbage that
 * nobody knows of until then. ERR_NOT_FOUND: not yet. */
static int pick_l0(const struct version *v, const struct lsm_options *o, unsigned base,
                   struct pick *pick)
{
    struct piece *alone = movable(v, base, &pick->output);
    if (alone != NULL)
        return pick_add(pick, 0, alone);
    struct group g = best_group(v, base);
    if (g.count == 0)
        return ERR_BUSY;
    pick->output = output_of(v, base, g.lo, g.hi);
    int rv = add_group(pick, v, &g);
    if (rv == 0)
        rv = add_overlaps(pick, v, pick->output, g.lo, g.hi);
    if (rv == 0 && pick_bytes(pick, pick->output) > pick_bytes_whole(pick, 0) &&
        version_l0_depth(v) < MIN(o->l0_compact * 2, MAX(o->l0_slow, o->l0_compact)))
        rv = ERR_NOT_FOUND;
    return rv;
}

/* ---- from level to level ------------------------------------------------ */

/* The piece that has to rewrite least below for what it brings. */
static struct piece *best_piece(const struct version *v, unsigned level, unsigned output,
                                uint64_t cursor)
{
    struct piece *best = NULL;
    uint64_t best_score = UINT64_MAX;
    size_t count = v->count[level];
    for (size_t n = 0; n < count; n++) {
        struct piece *p = v->at[level][(n + cursor) % count];
        bool bad = is_bad(p);
        uint64_t below = overlap_bytes(v, output, p, &bad);
        uint64_t score = below / (p->bytes / 1024 + 1);
        if (!bad && score < best_score) {
            best = p;
            best_score = score;
        }
    }
    return best;
}

static int pick_level(const struct version *v, unsigned level, uint64_t cursor, struct pick *pick)
{
    struct piece *p = best_piece(v, level, level + 1, cursor);
    if (p == NULL)
        return ERR_BUSY;
    int rv = pick_add(pick, level, p);
    if (rv == 0)
        rv = add_overlaps(pick, v, level + 1, p->lo, p->hi);
    return rv;
}

struct score {
    unsigned level;
    uint64_t permille; /* of the target; 1000 and more is due */
};

static void scores(const struct version *v, const struct lsm_options *options, unsigned base,
                   const uint64_t targets[LSM_LEVELS], struct score out[LSM_LEVELS - 1])
{
    out[0] = (struct score){0, version_l0_depth(v) * 1000 / MAX(options->l0_compact, 1u)};
    for (unsigned level = 1; level < LAST_LEVEL; level++) {
        uint64_t bytes = version_level_bytes(v, level);
        uint64_t permille = 0;
        if (level < base || targets[level] == 0)
            permille = v->count[level] > 0 ? 1001 : 0; /* nothing belongs here */
        else
            permille = bytes * 1000 / targets[level];
        out[level] = (struct score){level, permille};
    }
    /* Most urgent first; few, so by insertion. */
    for (size_t i = 1; i < LSM_LEVELS - 1; i++) {
        for (size_t j = i; j > 0 && out[j].permille > out[j - 1].permille; j--) {
            struct score t = out[j];
            out[j] = out[j - 1];
            out[j - 1] = t;
        }
    }
}

int pick_next(const struct version *v, const struct lsm_options *options, uint64_t *cursor,
              struct pick *ret_pick)
{
    uint64_t targets[LSM_LEVELS];
    struct score order[LSM_LEVELS - 1];
    unsigned base = lsm_level_targets(v, options, targets);
    scores(v, options, base, targets, order);
    int rv = ERR_NOT_FOUND;
    for (size_t i = 0; i < ARRAY_LEN(order) && order[i].permille >= 1000; i++) {
        struct pick pick = {.level = order[i].level};
        pick.output = pick.level + 1;
        rv = pick.level == 0 ? pick_l0(v, options, base, &pick)
                             : pick_level(v, pick.level, *cursor, &pick);
        if (rv == 0) {
            pick.is_move = pick.input_count == 1 && pick.inputs[0].level == pick.level;
            (*cursor)++;
            *ret_pick = pick;
            return 0;
        }
        pick_fini(&pick);
        if (rv == ERR_NOMEM)
            return rv;
        rv = ERR_NOT_FOUND; /* damage there, or not worth it yet: try the next */
    }
    return rv;
}

/* Permille of the table of `cut` that none of its pieces shows. */
static uint64_t hidden_share(const struct version *v, const struct piece *cut)
{
    uint64_t shown = 0, all = cut->table->props.data_bytes; /* what estimates are made of */
    all = MAX(all, (uint64_t)1);
    for (unsigned level = 0; level < LSM_LEVELS; level++) {
        for (size_t i = 0; i < v->count[level]; i++) {
            const struct piece *p = v->at[level][i];
            shown += p->table == cut->table ? p->bytes : 0;
        }
    }
    return 1000 - MIN(shown * 1000 / all, (uint64_t)1000);
}

/* Permille of the piece that a compaction would be rid of. With keys in no span, what the counts of
 * the whole table tell may be theirs, and stay for ever: its own notes alone say what is new. */
static uint64_t garbage(const struct version *v, const struct piece *p, const struct gc_table *gc)
{
    const struct table_props *props = &p->table->props;
    struct gc_least least;
    if (is_bad(p) || props->records == 0)
        return 0;
    uint64_t hidden = p->is_cut ? hidden_share(v, p) : 0;
    if (hidden >= GARBAGE_PERMILLE)
        return hidden;
    if (!gc_table_least(gc, p->lo, p->hi, &least))
        return 0;
    uint64_t told = stale_share(&props->stale, least.safe_version, least.range_time_ms);
    if (props->version_max > least.safe_version || least.has_gap)
        return told;
    uint64_t records = props->deletes + (props->records - props->keys);
    if (props->expiring > 0 && props->expiry_max <= least.range_time_ms)
        records += props->expiring;
    return MAX(told, MIN(records, props->records) * 1000 / props->records);
}

static void least_above(uint64_t now, uint64_t at, uint64_t *least)
{
    if (at > now)
        *least = MIN(*least, at);
}

static bool is_worth_it(const struct table_props *props, uint64_t records)
{
    return props->records > 0 && records * 1000 / props->records >= GARBAGE_PERMILLE;
}

/* What garbage() would go by, if the safe version and range time of `span` were larger. */
static void garbage_at(const struct piece *p, const struct gc_table *gc,
                       const struct lsm_gc_span *span, uint64_t *safe_version,
                       uint64_t *range_time_ms)
{
    const struct table_props *props = &p->table->props;
    struct gc_least least;
    least_above(span->safe_version, stale_safe_at(&props->stale, GARBAGE_PERMILLE), safe_version);
    least_above(span->range_time_ms, stale_ms_at(&props->stale, GARBAGE_PERMILLE), range_time_ms);
    if (!gc_table_least(gc, p->lo, p->hi, &least) || least.has_gap)
        return;
    if (is_worth_it(props, props->deletes + (props->records - props->keys)))
        least_above(span->safe_version, props->version_max, safe_version);
    if (is_worth_it(props, props->expiring))
        least_above(span->range_time_ms, props->expiry_max, range_time_ms);
}

void pick_garbage_at(const struct version *v, const struct gc_table *gc,
                     const struct lsm_gc_span *span, uint64_t *ret_safe_version,
                     uint64_t *ret_range_time_ms)
{
    *ret_safe_version = *ret_range_time_ms = UINT64_MAX;
    for (unsigned level = 1; level < LSM_LEVELS; level++) {
        for (size_t i = version_find(v, level, span->start);
             i < v->count[level] && piece_overlaps(v->at[level][i], span->start, span->end); i++) {
            if (!is_bad(v->at[level][i]))
                garbage_at(v->at[level][i], gc, span, ret_safe_version, ret_range_time_ms);
        }
    }
}

/* About what is written for the sake of a piece of which `share` permille go. */
static uint64_t garbage_bytes(const struct version *v, unsigned level, const struct piece *p,
                              uint64_t share)
{
    bool has_bad = false;
    uint64_t below = level < LAST_LEVEL ? overlap_bytes(v, level + 1, p, &has_bad) : 0;
    return below + p->bytes / 1000 * (1000 - MIN(share, (uint64_t)1000));
}

int pick_garbage(const struct version *v, const struct gc_table *gc, uint64_t bytes_max,
                 struct pick *ret_pick)
{
    struct pick pick = {0};
    struct piece *best = NULL;
    uint64_t most = GARBAGE_PERMILLE - 1;
    for (unsigned level = 1; level < LSM_LEVELS; level++) {
        for (size_t i = 0; i < v->count[level]; i++) {
            const struct piece *p = v->at[level][i];
            uint64_t share = garbage(v, p, gc);
            if (share <= most || (level < LAST_LEVEL && overlaps_bad(v, level + 1, p->lo, p->hi)))
                continue;
            if (bytes_max < UINT64_MAX && garbage_bytes(v, level, p, share) > bytes_max)
                continue;
            most = share;
            best = v->at[level][i];
            pick.level = level;
        }
    }
    if (best == NULL)
        return ERR_NOT_FOUND;
    pick.output = MIN(pick.level + 1, (unsigned)LAST_LEVEL);
    int rv = pick_add(&pick, pick.level, best);
    if (rv == 0 && pick.output != pick.level)
        rv = add_overlaps(&pick, v, pick.output, best->lo, best->hi);
    if (rv == 0) {
        *ret_pick = pick;
        return 0;
    }
    pick_fini(&pick);
    return rv == ERR_BUSY ? ERR_NOT_FOUND : rv;
}

int pick_one(unsigned level, struct piece *piece, struct pick *ret_pick)
{
    struct pick pick = {.level = level, .output = level};
    ASSERT(level > 0);
    if (pick_add(&pick, level, piece) != 0)
        return ERR_NOMEM;
    *ret_pick = pick;
    return 0;
}

int pick_level0(const struct version *v, const struct lsm_options *options,
                const struct piece *piece, struct pick *ret_pick)
{
    uint64_t targets[LSM_LEVELS];
    struct pick pick = {.output = lsm_level_targets(v, options, targets)};
    struct group g = group_of(v, piece, 0);
    int rv = add_overlaps(&pick, v, 0, g.lo, g.hi);
    if (rv == 0)
        rv = add_overlaps(&pick, v, pick.output, g.lo, g.hi);
    if (rv == 0) {
        *ret_pick = pick;
        return 0;
    }
    pick_fini(&pick);
    return rv == ERR_BUSY ? ERR_NOT_FOUND : rv;
}

static int pick_all(const struct version *v, struct slice start, struct slice end,
                    struct pick *pick)
{
    int rv = 0;
    for (unsigned level = 0; rv == 0 && level < LSM_LEVELS; level++) {
        rv = add_overlaps(pick, v, level, start, end);
        if (v->count[level] > 0 && level > 0)
            pick->output = level;
    }
    return rv;
}

int pick_span(const struct version *v, const struct lsm_options *options, struct slice start,
              struct slice end, struct pick *ret_pick)
{
    uint64_t targets[LSM_LEVELS];
    struct pick pick = {0};
    size_t before;
    int rv = pick_all(v, start, end, &pick);
    do { /* whole pieces: the span grows until nothing sticks out of it */
        before = pick.input_count;
        struct slice lo = pick.lo, hi = pick.hi;
        if (rv != 0 || before == 0)
            break;
        pick.input_count = 0;
        rv = pick_all(v, lo, hi, &pick);
    } while (rv == 0 && pick.input_count != before);
    if (rv == 0 && pick.input_count == 0)
        rv = ERR_NOT_FOUND;
    if (rv != 0) {
        pick_fini(&pick);
        return rv;
    }
    pick.level = pick.inputs[0].level;
    if (pick.output == 0)
        pick.output = lsm_level_targets(v, options, targets);
    *ret_pick = pick;
    return 0;
}
