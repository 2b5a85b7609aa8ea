/* SPDX-License-Identifier: Apache-2.0
 *
 * hist — a histogram of latencies or sizes with a bounded relative error, after
 * HdrHistogram (Tene): each power of two is cut into HIST_SUB equal buckets.
 *
 * Units      values are unsigned integers in the caller's unit (microseconds).
 * Ownership  the caller's memory, no allocation: about 35 KiB, so not on a stack.
 * Threads    none of its own; one histogram a thread, then hist_merge().
 * Invariants (H1) count == the sum of all buckets.
 *            (H2) a percentile is at most value/HIST_SUB above the true one, and
 *                 never above the greatest value recorded.
 * Limits     values over HIST_VALUE_MAX are counted as HIST_VALUE_MAX.
 */
#ifndef BASE_HIST_H_
#define BASE_HIST_H_

#include "base/base.h"

enum {
    HIST_SUB_BITS = 7,
    HIST_SUB = 1 << HIST_SUB_BITS,
    HIST_VALUE_BITS = 40,
    HIST_BUCKETS = (HIST_VALUE_BITS - HIST_SUB_BITS + 1) * HIST_SUB,
};
#define HIST_VALUE_MAX ((UINT64_C(1) << HIST_VALUE_BITS) - 1)

struct hist {
    uint64_t count; /* values recorded */
    uint64_t sum;   /* of the values, after clamping; wraps after 2^24 maxima */
    uint64_t min;   /* UINT64_MAX while empty */
    uint64_t max;
    uint64_t buckets[HIST_BUCKETS]; /* private */
};

/* Empty it; also the way to reuse one. */
void hist_init(struct hist *hist);

/* Record one value, or `times` equal ones. */
void hist_add(struct hist *hist, uint64_t value);
void hist_add_many(struct hist *hist, uint64_t value, uint64_t times);

/* Add everything of `from`, which stays as it is. */
void hist_merge(struct hist *hist, const struct hist *from);

/* The smallest recorded value (to the bucket's precision) such that at least
 * `part`/`of` of all values are at or below it; all of them give the maximum. 0 if
 * empty. */
uint64_t hist_quantile(const struct hist *hist, uint32_t part, uint32_t of);

/* The same with `of` 1000. */
uint64_t hist_permille(const struct hist *hist, unsigned permille);

/* Arithmetic mean, rounded down; 0 if empty. */
uint64_t hist_mean(const struct hist *hist);

/* Assert all invariants. */
void hist_check(const struct hist *hist);

#endif
