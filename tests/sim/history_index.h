/* SPDX-License-Identifier: Apache-2.0
 *
 * history_index — a history in the orders that its rules ask for, so that each rule
 * takes n log n and not n squared.
 *
 * Ownership  the index borrows the operations; the history must not grow meanwhile.
 */
#ifndef TESTS_SIM_HISTORY_INDEX_H_
#define TESTS_SIM_HISTORY_INDEX_H_

#include "sim/history.h"

/* Operations in some order, with the best or worst of all up to each place. */
struct history_line {
    const struct history_op **ops;
    size_t *best;    /* place of the greatest version of those up to here */
    uint64_t *reach; /* greatest return_us up to here; of deletions the greatest version, of
                      * reads the place of the one whose value is oldest from here on */
    size_t count;
};

struct history_key {
    struct history_line all;                /* as they stand in the history */
    struct history_line writes_by_return;   /* OK, no deletions */
    struct history_line changes_by_return;  /* OK */
    struct history_line writes_by_version;  /* not failed, version known, no deletions */
    struct history_line done_by_invoke;     /* changes that are neither failed nor pending */
    struct history_line deletes_by_invoke;  /* not failed; a pending one has UINT64_MAX */
    struct history_line deletes_by_version; /* not failed, not pending */
    struct history_line seen_by_invoke;     /* reads that saw what an OK write wrote */
    uint64_t first_pending_us;              /* invoke of the first change without answer */
    bool has_pending_delete;
};

struct history_index {
    const struct history_op **writers; /* by unique value */
    uint64_t value_count;
    struct history_key keys[KEYS_MAX];
    struct history_line changes_by_return; /* OK, of all keys */
};

/* Step one: who wrote which value. Step two: all lines, by the versions known by then. */
struct history_index *history_index_writers(const struct history *h);
void history_index_lines(struct history_index *x, const struct history *h);
void history_index_free(struct history_index *x); /* NULL is fine */

/* The write, done or of unknown outcome, of the unique number in `seen`; or NULL. */
const struct history_op *history_writer(const struct history_index *x, uint32_t key,
                                        const char *seen);

/* Of those (in order of return) that had ended before `time_us`, the one of the greatest
 * version; NULL: none. */
const struct history_op *history_newest_before(const struct history_line *line, uint64_t time_us);

/* Of a line in order of versions, the last at or below `version`; NULL: none. */
const struct history_op *history_newest_at(const struct history_line *line, uint64_t version);

/* How many of a line in order of invocation had begun at or before `time_us`. */
size_t history_begun(const struct history_line *line, uint64_t time_us);

/* The greatest version that a deletion begun before `time_us` may have: UINT64_MAX if one
 * of them is of unknown outcome, 0 if there is none. */
uint64_t history_delete_begun(const struct history_key *k, uint64_t time_us);

/* The greatest version at or below `version` that a deletion may have; 0: none. */
uint64_t history_delete_at(const struct history_key *k, uint64_t version);

/* Of the reads begun after `time_us`, the one that saw the value whose write ended first. */
const struct history_op *history_oldest_seen_after(const struct history_key *k, uint64_t time_us);

#endif
