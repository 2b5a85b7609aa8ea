/* SPDX-License-Identifier: Apache-2.0
 *
 * split — where one compaction is cut into shares of about the same size, so that several
 * threads work at it: a pure function of its inputs.
 *
 *   inputs   |----------------|---------------|   |------------------|
 *                |--------------------|-----------------|
 *   shares   [lo            border)[border          border)[border   hi)
 *
 * A border is a key: all versions of a key are in one share.
 */
#ifndef LSM_SPLIT_H_
#define LSM_SPLIT_H_

#include "lsm/compact.h"

enum { SPLIT_SHARES_MAX = 16 };

struct split {
    struct slice borders[SPLIT_SHARES_MAX - 1]; /* ascending; keys of the inputs' tables … */
    size_t count;                               /* … or bounds of the pieces: borrowed */
};

/* Up to `shares_max` shares (SPLIT_SHARES_MAX at most), none of them of fewer than about
 * `bytes_min` bytes. ERR_NOMEM. */
int split_pick(const struct pick *pick, size_t shares_max, uint64_t bytes_min,
               struct split *ret_split);

#endif
