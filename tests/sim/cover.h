/* SPDX-License-Identifier: Apache-2.0
 *
 * cover — counts of what really happened: faults that bit, rare paths that were taken.
 * A fault or a threshold that never bites proves nothing, and shows here.
 *
 *   cover_add(&c->cover, "leadership handed over", 1);
 *
 * Names that every few hundred runs must meet stand in cover_expected[]; others appear
 * when they are first counted.
 *
 * Ownership  names are copied. A cover is plain memory: it may go through a pipe.
 * Limits     COVER_MAX names; more are dropped.
 */
#ifndef TESTS_SIM_COVER_H_
#define TESTS_SIM_COVER_H_

#include <stdio.h>

#include "base/base.h"

enum { COVER_MAX = 160, COVER_NAME_MAX = 40 };

struct cover_item {
    char name[COVER_NAME_MAX];
    uint64_t total;
    uint64_t runs; /* in how many runs it was met */
};

struct cover {
    uint32_t count;
    struct cover_item items[COVER_MAX];
};

/* With everything expected in it, at 0. */
void cover_init(struct cover *cover);

/* One more name that must be met. */
void cover_expect(struct cover *cover, const char *name);

void cover_add(struct cover *cover, const char *name, uint64_t n);

/* Of one run into a sum over many. */
void cover_merge(struct cover *sum, const struct cover *run);

/* A line for each name that was met, and one with those that were not. Returns how many
 * expected ones were not. */
uint32_t cover_print(const struct cover *cover, FILE *out);

#endif
