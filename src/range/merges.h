/* SPDX-License-Identifier: Apache-2.0
 *
 * merges — what a range remembers of merges (ranges.md, Merge): as the right one, by
 * which attempt it is frozen; as the left one, what became of each attempt. Part of the
 * meta, so replicated, and copied at splits: the right asks whoever owns the key left of
 * its start, and that may be another range by then.
 *
 *   encoded:  u8 is_frozen [u64 attempt, left range, left conf, left span, index, term,
 *             history] | u8 count | count times: u64 attempt, right range | u8 committed
 *             [u64 into, span epoch | u8 members, each u64 store, u64 replica]
 *                                                                       little-endian
 *
 * Invariants (F1) no attempt stands there twice, none is 0.
 *            (F2) an outcome never changes; a committed one goes only by an entry that
 *            says that no replica of the right range is left; an aborted one may go at
 *            any time, for the abort raised the left's span epoch, and the attempt
 *            cannot commit any more.
 * Limits     MERGES_COMMITTED_MAX and MERGES_ABORTED_MAX outcomes.
 */
#ifndef RANGE_MERGES_H_
#define RANGE_MERGES_H_

#include "base/coding.h"
#include "range/descriptor.h"

enum {
    MERGES_COMMITTED_MAX = 32, /* at it the range takes in no other */
    MERGES_ABORTED_MAX = 8,    /* beyond it the oldest is forgotten */
    MERGES_MAX = MERGES_COMMITTED_MAX + MERGES_ABORTED_MAX,
    MERGES_LEN_MAX = 2 + 7 * 8 + MERGES_MAX * (2 * 8 + 1 + 2 * 8 + 1 + RANGE_REPLICAS_MAX * 16),
};

/* A replica and where it lives. */
struct range_place {
    uint64_t store_id;
    uint64_t replica_id;
};

/* Of the right range, from PREPARE_MERGE until it ends or thaws. */
struct merge_frozen {
    uint64_t attempt; /* 0: it is not frozen */
    uint64_t left_range;
    struct range_epoch left; /* at exactly this epoch the left may commit */
    uint64_t index;          /* of PREPARE_MERGE in the right's log */
    uint64_t term;
    uint64_t history_hash; /* as of `index` */
};

/* Of the left range. */
struct merge_outcome {
    uint64_t attempt;
    uint64_t right_range;
    bool is_committed;
    /* committed only: */
    uint64_t into_range; /* what the right range became a part of … */
    uint64_t span_epoch; /* … at this epoch */
    uint32_t count;
    struct range_place right[RANGE_REPLICAS_MAX]; /* the right's last members */
};

struct merges {
    struct merge_frozen frozen;
    struct merge_outcome *outcomes; /* owned; oldest first */
    uint32_t count;
};

/* Empty, owning nothing. */
void merges_init(struct merges *m);

/* Accepts zeroes. */
void merges_fini(struct merges *m);

/* Deep copy into `m`, which owns nothing. ERR_NOMEM. */
int merges_copy(struct merges *m, const struct merges *from);

/* Nothing to remember? */
bool merges_is_empty(const struct merges *m);

/* What became of the attempt; NULL: nothing yet, or forgotten. */
const struct merge_outcome *merges_find(const struct merges *m, uint64_t attempt);

/* Whether it is known that this range was merged away; NULL: it is not. */
const struct merge_outcome *merges_ended(const struct merges *m, uint64_t range_id);

/* How many of the outcomes are of merges that were done. */
uint32_t merges_committed(const struct merges *m);

/* Note an outcome; there must be room and none of this attempt. ERR_NOMEM. */
int merges_add(struct merges *m, const struct merge_outcome *outcome);

/* All outcomes of `from` too. What both know is the same, and stays once. ERR_NOMEM, with
 * `m` as it was. */
int merges_unite(struct merges *m, const struct merges *from);

/* Forget this attempt; harmless if it is not there. */
void merges_forget(struct merges *m, uint64_t attempt);

/* Append it. */
void merges_encode(const struct merges *m, struct buf *out);

/* The whole of `in`; `ret` owns nothing before. ERR_CORRUPT, ERR_NOMEM. */
int merges_decode(struct slice in, struct merges *ret, struct err *err);

/* Assert F1 and the limits. */
void merges_check(const struct merges *m);

#endif
