/* SPDX-License-Identifier: Apache-2.0
 *
 * explain — what the driver would say if it were asked: why a range is as it is, why a store
 * gets nothing, what would be done next. Texts that a person who did not write them can act
 * on; they judge by the very functions that decide, so what is shown is what is done.
 *
 * Errors     ERR_NOT_FOUND: no such range or store. ERR_NOMEM. Nothing is changed ever.
 */
#ifndef PLACEMENT_EXPLAIN_H_
#define PLACEMENT_EXPLAIN_H_

#include "placement/placement.h"

/* What is wrong with the range and what will be done, what runs, what ended last, and for each
 * store why it may or may not have a replica. */
int placement_explain(const struct placement *p, uint64_t now_ms, uint64_t range_id,
                      struct buf *text, struct err *err);

/* Why nothing comes to this store, leads there, or leaves it; or what does. */
int placement_why_not(const struct placement *p, uint64_t now_ms, uint64_t store_id,
                      struct buf *text, struct err *err);

/* May this store be stopped for a while, so that each range that it has goes on serving? 0 and a
 * text; ERR_STATE says why not, ERR_BUSY that not all stores have reported yet. */
int placement_restart_safe(const struct placement *p, uint64_t now_ms, uint64_t store_id,
                           struct buf *text, struct err *err);

/* What is imagined for a plan; zeroes: nothing. */
struct placement_if {
    uint64_t down_store;     /* as if it were lost for good */
    uint64_t gone_store;     /* as if it were decommissioned */
    uint64_t add_bytes;      /* a new store of that capacity … */
    struct slice add_labels; /* … and these labels: "zone=b" */
    uint32_t lines_max;      /* operators to tell of; 0: 50 */
};

/* What would be done from now on until nothing is left to do, by the same code on a copy of
 * the map, as if each step succeeded at once. O(everything), in one go: for people, not for
 * programs that ask each second. ERR_STATE: not all stores have reported. */
int placement_plan(const struct placement *p, uint64_t now_ms, const struct placement_if *what_if,
                   struct buf *text, struct err *err);

#endif
