/* SPDX-License-Identifier: Apache-2.0
 *
 * history — what clients of a run saw, and whether it is linearizable.
 *
 * Keys are registers with versions. The version that each answer carries is a
 * witness of the order in which the range did things, so the check is linear but
 * for sorting: the order of versions must agree with real time, each value must be
 * what its version wrote, nothing may come from nowhere. (The general search, which
 * needs no witness, is lincheck's; histories are handed to both.)
 *
 * Units      virtual microseconds.
 * Ownership  the history owns its operations.
 */
#ifndef TESTS_SIM_HISTORY_H_
#define TESTS_SIM_HISTORY_H_

#include "base/base.h"

enum history_kind { HISTORY_READ, HISTORY_WRITE, HISTORY_DELETE, HISTORY_CAS };

enum history_outcome {
    HISTORY_PENDING, /* never answered, or undetermined: may take effect at any later time */
    HISTORY_OK,
    HISTORY_FAILED,   /* definite: had no effect */
    HISTORY_MISMATCH, /* CAS: the condition failed; `version`, `value` are what was there */
};

struct history_op {
    uint32_t process;
    uint32_t key;
    enum history_kind kind;
    enum history_outcome outcome;
    uint64_t value;    /* written, or read (0: absent); values written are unique */
    uint64_t expected; /* CAS: the version that it asked for */
    uint64_t version;  /* given or seen; 0: none */
    uint64_t invoke_us;
    uint64_t return_us; /* UINT64_MAX while PENDING */
};

struct history {
    struct history_op *ops;
    size_t count;
    size_t cap;
};

void history_init(struct history *h);
void history_fini(struct history *h);

/* A new operation, PENDING; the returned place is good until the next call. */
size_t history_begin(struct history *h, const struct history_op *op);

/* True if linearizable, else false and a text for people in `why`. */
bool history_check(const struct history *h, char *why, size_t why_size);

#endif
