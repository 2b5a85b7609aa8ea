/* SPDX-License-Identifier: Apache-2.0
 *
 * merge — what the steps of a merge do to the two ranges when they are applied (ranges.md,
 * Merge). The left's log alone decides.
 *
 *   right's log:  PREPARE_MERGE ── frozen ────────────────────── THAW, if it was aborted
 *   left's log:                     COMMIT_MERGE, or ABORT_MERGE … FORGET_MERGE
 *
 * While it is frozen a range takes no write, no split, no change, and its time and
 * versions stand still: it is the same on every store, however far each has applied
 * behind PREPARE_MERGE.
 *
 * Errors     as range_apply(). What is not right for the range is a status.
 */
#ifndef RANGE_MERGE_H_
#define RANGE_MERGE_H_

#include "range/admin.h"

/* Would PREPARE_MERGE freeze a range in this state? 0; ERR_RANGE_CHANGED: it is of another
 * epoch, or frozen; ERR_INVALID: the left's replicas are not on the same stores in the same
 * roles. */
int range_prepare_judge(const struct range_meta *right, const struct range_admin *admin,
                        struct err *err);

/* Would COMMIT_MERGE be done by a left range in this state, whatever the right's is? 0;
 * ERR_RANGE_CHANGED: another epoch, or frozen; ERR_EXISTS: the attempt has its outcome;
 * ERR_BUSY: too many merges are remembered. */
int range_commit_judge(const struct range_meta *left, const struct range_admin *admin,
                       struct err *err);

/* May this left take in what the right remembers, too? ERR_BUSY if not. */
int range_merges_fit(const struct range_meta *left, const struct range_meta *right,
                     struct err *err);

/* Apply COMMIT_MERGE at `index` to the left, if range_commit_judge() allows it: `right` is
 * the local replica of the right range, applied up to the index that the entry names or
 * further. *ret_status 0: the left's span, sessions, times and versions take in the right's,
 * which is to be ended with the next freeze, together with what the left is now. Otherwise
 * it says why not, and nothing but the left's time has changed. ERR_CORRUPT: the right is not
 * what the entry says. */
int range_apply_commit(struct range *left, const struct range *right, uint64_t index, uint64_t term,
                       const struct range_admin *admin, int *ret_status, struct err *err);

/* Apply any other step. */
int range_apply_merge_step(struct range *range, uint64_t index, uint64_t term,
                           const struct range_admin *admin, int *ret_status, struct err *err);

/* Add what ends a replica that was merged away to the memtable that makes the left's new
 * state durable, and nothing else than that: its meta goes. */
void range_put_end(const struct range *right, struct lsm_batch *batch);

#endif
