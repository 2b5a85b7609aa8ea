/* SPDX-License-Identifier: Apache-2.0
 *
 * mix — named workloads: how often clients ask for what. Shares are percent.
 */
#ifndef TESTS_SIM_MIX_H_
#define TESTS_SIM_MIX_H_

#include "sim/history.h"

struct mix {
    const char *name;
    const char *text;               /* for --help */
    uint32_t draw;                  /* weight, where a run draws its mix; 0: when asked for */
    uint32_t scan;                  /* pages over all keys */
    uint32_t multi_get;             /* reads of several keys */
    uint32_t batch;                 /* changes of several keys at once */
    uint32_t class[KEY_CLASS_NR];   /* of what remains: shares of 100 */
    uint32_t read;                  /* of what remains: gets */
    uint32_t cas;                   /* of changes of registers: compare and set */
    uint32_t keys_of[KEY_CLASS_NR]; /* keys of a class; 0: registers as the run draws,
                                     * of the others 2 */
    uint32_t list_bytes;            /* a list begins anew when it is longer */
    bool is_set;                    /* lists are never begun anew before that: a set of tokens */
    bool all_twins;                 /* every change has a twin (twin.h), else a third of them */
};

/* NULL: no such name. */
const struct mix *mix_by_name(const char *name);

struct rng;
const struct mix *mix_draw(struct rng *rng);

/* The i-th; NULL behind the last. */
const struct mix *mix_at(size_t i);

#endif
