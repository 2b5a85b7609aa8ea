/* SPDX-License-Identifier: Apache-2.0
 *
 * compare — are these replicas alike? Pure: what the stores answered in, groups and
 * stretches of keys that differ out.
 *
 * Two replicas whose keys differ may have cut them into parts at different keys. Sums
 * of neighbours add up, so they are compared between the ends that both have.
 *
 * Ownership  everything is borrowed from the results that were given.
 * Limits     COMPARE_REPLICAS_MAX replicas.
 */
#ifndef TOOLS_HOLDFAST_COMPARE_H_
#define TOOLS_HOLDFAST_COMPARE_H_

#include "base/base.h"
#include "holdfast.h"

enum { COMPARE_REPLICAS_MAX = 16 };

enum compare_difference {
    COMPARE_TERM = 1 << 0,    /* of the index: the logs differ */
    COMPARE_HISTORY = 1 << 1, /* they applied different things */
    COMPARE_META = 1 << 2,    /* descriptor, time, versions … */
    COMPARE_KEYS = 1 << 3,
};

/* What of `a` and `b` (both DONE, of one index) is not alike: bits of
 * compare_difference; 0: nothing. */
unsigned compare_checks(const struct hf_check *a, const struct hf_check *b);

/* Give each check (NULL: none) the number of its group: those that are alike share
 * one; group 0 is the largest, the earliest of those as large. Returns how many groups
 * there are; NULLs get SIZE_MAX. */
size_t compare_groups(const struct hf_check *const *checks, size_t count, size_t *ret_groups);

/* Keys behind `after` up to and with `last`. */
struct compare_stretch {
    const struct hf_check_part *after; /* NULL: from the beginning */
    const struct hf_check_part *last;  /* is_last: to the end */
    uint64_t keys_a;
    uint64_t keys_b;
};

/* The stretches whose sums differ, in order, at most `max`; returns how many there
 * are. Neighbouring ones are one. */
size_t compare_stretches(const struct hf_check *a, const struct hf_check *b,
                         struct compare_stretch *ret_stretches, size_t max);

#endif
