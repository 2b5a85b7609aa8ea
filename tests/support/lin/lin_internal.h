/* SPDX-License-Identifier: Apache-2.0
 *
 * lin_internal — the pieces of lin.h: values as small numbers, one key's history,
 * its search, and the way to a small counter-example.
 */
#ifndef TESTS_SUPPORT_LIN_LIN_INTERNAL_H_
#define TESTS_SUPPORT_LIN_LIN_INTERNAL_H_

#include "support/lin/lin.h"

/* malloc() that does not fail. */
void *lin_alloc(size_t count, size_t size);

/* ---- values: equal bytes have the same id; 0 is "absent" -------------------- */

struct lin_bytes {
    struct slice bytes;
    bool is_owned;
    bool is_number;
    int64_t number;
};

struct lin_values {
    struct lin_bytes *values; /* [0] is "absent" */
    uint32_t count;
    uint32_t cap;
    uint32_t *slots; /* id, or 0; a power of two of them */
    uint32_t slot_count;
};

void lin_values_init(struct lin_values *values);
void lin_values_fini(struct lin_values *values);

/* The id of these bytes, which must stay where they are. */
uint32_t lin_intern(struct lin_values *values, struct lin_value value);

/* The ids of what comes of a value; UINT32_MAX if it is no number or leaves 64 bits. */
uint32_t lin_intern_sum(struct lin_values *values, uint32_t id, int64_t delta);
uint32_t lin_intern_joined(struct lin_values *values, uint32_t id, uint32_t suffix);

/* Append `"text"` or `absent`. */
void lin_print_value(struct buf *out, const struct lin_values *values, uint32_t id);

/* ---- one key's history -------------------------------------------------------- */

struct lin_item {
    const struct lin_op *op;
    enum lin_kind kind;
    enum lin_outcome outcome; /* DONE, MISMATCH, INFO */
    uint32_t arg;
    uint32_t expect;
    uint32_t result;
    bool has_result;
    uint64_t version;
    uint64_t invoke;
    uint64_t ret; /* UINT64_MAX for INFO */
};

/* Can it change nothing, so that it only judges the state? */
static inline bool lin_is_pure(const struct lin_item *item)
{
    return item->kind == LIN_READ || item->outcome == LIN_MISMATCH;
}

/* The value that a known outcome must meet, UINT32_MAX if any will do. */
static inline uint32_t lin_seen_by(const struct lin_item *item)
{
    if (item->outcome == LIN_INFO)
        return UINT32_MAX;
    if (item->kind == LIN_CAS && item->outcome == LIN_DONE)
        return item->op->expect_version == 0 ? item->expect : UINT32_MAX;
    return item->has_result ? item->result : UINT32_MAX;
}

/* ---- lin_foresee.c: does what is appended lead to anything that is seen? -------- */

struct lin_foresight;

/* NULL where nothing is appended, or nothing can be foreseen. */
struct lin_foresight *lin_foresight_new(const struct lin_item *items, size_t count,
                                        struct lin_values *values);
void lin_foresight_free(struct lin_foresight *f);

/* `item` has no effect yet (by 1), or has one now (by -1). */
void lin_foresight_count(struct lin_foresight *f, const struct lin_item *item, int by);

/* May the append `item`, which has no effect yet, lead to the value `after`? */
bool lin_foresight_fits(struct lin_foresight *f, const struct lin_item *item, uint32_t after);

/* How far a search came. */
struct lin_search {
    enum lin_verdict verdict;
    uint64_t states;
    /* of the longest order of effects found, if asked for */
    uint32_t *order; /* indexes of items */
    size_t order_len;
    uint32_t value; /* at its end */
};

/* Search `items` (any order; they are sorted). *ret->order is malloc()ed when
 * `wants_order`, NULL otherwise. */
void lin_search(struct lin_item *items, size_t count, struct lin_values *values,
                uint64_t states_max, bool wants_order, struct lin_search *ret);

/* Take out INFO operations that cannot have mattered: nobody saw their value. Only
 * where every operation of the key allows that conclusion. Returns the new count. */
size_t lin_drop_unseen(struct lin_item *items, size_t count, const struct lin_values *values);

/* Make a history that is not linearizable small, and keep it so. Returns the new
 * count. */
size_t lin_shrink(struct lin_item *items, size_t count, struct lin_values *values,
                  uint64_t states_max);

/* Write it down for people. */
void lin_explain(struct lin_item *items, size_t count, struct lin_values *values,
                 uint64_t states_max, struct buf *out);

#endif
