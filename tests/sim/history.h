/* SPDX-License-Identifier: Apache-2.0
 *
 * history — what clients of a run saw, and whether it is linearizable.
 *
 *   operations ─▶ history_check()    by the versions that answers carry
 *              ─▶ history_search()   by the general search (support/lin), which needs none
 *
 * A request that touches several keys leaves one operation for each, under one
 * request number. Keys are of four classes, told by their number:
 *
 *   REGISTER  put, delete, compare-and-swap, swap; values are unique numbers
 *   LIST      append of unique tokens; a put begins it anew
 *   COUNTER   increment, delete
 *   TTL       put with a time to live; judged by range time, apart from the others
 *
 * Units      virtual microseconds; wall clock in milliseconds.
 * Ownership  the history owns its operations and their texts.
 */
#ifndef TESTS_SIM_HISTORY_H_
#define TESTS_SIM_HISTORY_H_

#include "base/base.h"

enum key_class { KEY_REGISTER, KEY_LIST, KEY_COUNTER, KEY_TTL, KEY_CLASS_NR };
enum { KEYS_OF_CLASS_MAX = 16, KEYS_MAX = KEYS_OF_CLASS_MAX * KEY_CLASS_NR };

static inline enum key_class key_class(uint32_t key)
{
    return (enum key_class)(key / KEYS_OF_CLASS_MAX);
}

static inline uint32_t key_of(enum key_class class, uint32_t i)
{
    return (uint32_t) class * KEYS_OF_CLASS_MAX + i;
}

enum history_kind {
    HISTORY_READ,
    HISTORY_WRITE,
    HISTORY_DELETE,
    HISTORY_CAS,
    HISTORY_SWAP,
    HISTORY_APPEND,
    HISTORY_INCREMENT,
};

enum history_outcome {
    HISTORY_PENDING, /* never answered, or undetermined: may take effect at any later time */
    HISTORY_OK,
    HISTORY_FAILED,   /* definite: had no effect */
    HISTORY_MISMATCH, /* CAS: the condition failed; `seen` is what was there */
};

struct history_op {
    uint32_t process;
    uint32_t key;
    uint32_t request; /* operations of one request share it */
    enum history_kind kind;
    enum history_outcome outcome;
    uint64_t value;            /* written: a unique number, or the step of an increment */
    uint64_t expected;         /* CAS: the number that it asked for; 0: absent */
    uint64_t expected_version; /* CAS: the version of that */
    char *seen;                /* READ, SWAP, MISMATCH: what was there; NULL: nothing */
    int64_t number;            /* INCREMENT: the answer */
    uint64_t version;          /* given or seen; 0: none */
    uint64_t read_version;     /* READ: at which the whole request was read; 0: not known */
    bool is_change;            /* READ: a watcher was told so, at return_us */
    bool is_past;              /* READ: a later page of a scan, as of read_version */
    bool is_at;                /* READ: of the past, as of read_version: bound by no clock */
    uint64_t ttl_ms;           /* of a write; 0: none */
    uint64_t expiry_ms;        /* as the answer named it; 0: not known */
    uint64_t invoke_us;
    uint64_t return_us; /* UINT64_MAX while PENDING */
};

struct history {
    struct history_op *ops;
    size_t count;
    size_t cap;
    uint64_t wall_begin_ms; /* the wall clock at virtual time 0 */
    bool has_true_clocks;   /* no wall clock was ever off: expiry can be compared with them */
    uint64_t unknown;       /* histories that the search gave up on */
};

void history_init(struct history *h);
void history_fini(struct history *h);

/* A new operation, PENDING unless it says otherwise; takes over `op->seen`. Returns its
 * place. */
size_t history_add(struct history *h, const struct history_op *op);

/* True if linearizable by the versions in it, else false and a text for people. Marks
 * writes of unknown outcome that were seen, so that they count as done. */
bool history_check(struct history *h, char *why, size_t why_size);

/* The same of a single key class that is not TTL, by the general search. */
bool history_search(struct history *h, char *why, size_t why_size);

#endif
