/* SPDX-License-Identifier: Apache-2.0
 *
 * compact — what to compact next: pure functions of a version and the options.
 *
 * Level sizes are dynamic (as RocksDB's level_compaction_dynamic_level_bytes): the
 * last level's real size sets the targets of those above it, each `level_ratio` times
 * smaller, down to one of about `level_base_bytes` (a third to three times with a ratio
 * of ten), which L0 compacts into. So most data is always in the last level and space is
 * wasted by a tenth at most.
 *
 * Out of L0 goes first what need not be rewritten: the oldest file that overlaps nothing
 * older in L0 and nothing in the base. Else the largest group of files that overlap each
 * other, once it brings as much as it rewrites, or has twice `l0_compact` files.
 */
#ifndef LSM_COMPACT_H_
#define LSM_COMPACT_H_

#include "lsm/version.h"

struct pick_input {
    unsigned level;
    struct piece *piece; /* borrowed from the version */
};

struct pick {
    unsigned level;  /* the one that had too much */
    unsigned output; /* where it goes */
    bool is_move;    /* one piece, nothing below: only the manifest changes */
    struct pick_input *inputs;
    size_t input_count, input_cap;
    struct slice lo, hi; /* span of all inputs */
};

/* Frees the list, not the pieces, and makes it empty; accepts zeroes. */
void pick_fini(struct pick *pick);

/* 0 and the most urgent work; ERR_NOT_FOUND if nothing is due; ERR_NOMEM. `cursor`
 * rotates among pieces that are equally good. */
int pick_next(const struct version *version, const struct lsm_options *options, uint64_t *cursor,
              struct pick *ret_pick);

/* The piece with the largest share of what may be forgotten, if that is a fifth of it
 * or more: deletes, old versions and expired values, at or below the safe version;
 * or what a cut hides. It goes down a level, or is written anew in the last. Each is
 * picked a bounded number of times: in the last level nothing of it remains, and what may go of
 * a table that has younger records beside it (stale.h), or keys in no span of `gc`, counts only if
 * it became garbage since the table was made. Only such that write no more than about
 * `bytes_max`. 0, ERR_NOT_FOUND, ERR_NOMEM. */
struct gc_table;
int pick_garbage(const struct version *version, const struct gc_table *gc, uint64_t bytes_max,
                 struct pick *ret_pick);

/* As lsm_garbage_at(). */
void pick_garbage_at(const struct version *version, const struct gc_table *gc,
                     const struct lsm_gc_span *span, uint64_t *ret_safe_version,
                     uint64_t *ret_range_time_ms);

/* One piece, to be written anew where it is; or one of L0 and all that must go down with it.
 * 0, ERR_NOT_FOUND (damage there), ERR_NOMEM. */
int pick_one(unsigned level, struct piece *piece, struct pick *ret_pick);
int pick_level0(const struct version *version, const struct lsm_options *options,
                const struct piece *piece, struct pick *ret_pick);

/* All pieces that overlap the span, of all levels, into the deepest that has any. */
int pick_span(const struct version *version, const struct lsm_options *options, struct slice start,
              struct slice end, struct pick *ret_pick);

#endif
