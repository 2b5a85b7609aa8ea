/* SPDX-License-Identifier: Apache-2.0
 *
 * between — where a key stands between two others, as a number: what of a part of a table lies
 * in a span that covers some of it, when only the part's bounds are known.
 *
 * What keys have at a place is guessed by what the two bounds have there: decimal digits,
 * hexadecimal ones, text, or any bytes; and they are taken to stand evenly.
 *
 * Ownership  borrows the bounds.
 * Threads    pure.
 * Invariants a greater key never has a smaller share, but for rounding, so that the shares of
 *            spans which follow each other add up to that of the whole.
 */
#ifndef LSM_BETWEEN_H_
#define LSM_BETWEEN_H_

#include <stddef.h>

#include "base/base.h"

struct between {
    struct slice lo, hi; /* of the keys in (lo, hi] */
    size_t skip;         /* bytes that both begin with */
    double lo_place, hi_place;
};

struct between between_of(struct slice lo, struct slice hi);

/* How much of what is in (lo, hi] lies before `key`: from 0 to 1. */
double between_share(const struct between *b, struct slice key);

#endif
