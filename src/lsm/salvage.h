/* SPDX-License-Identifier: Apache-2.0
 *
 * salvage — a cursor that goes round damage: blocks, partitions and records of a table that
 * cannot be read are told, and left out. Forward from the first record only.
 *
 * Threads    one at a time; blocking.
 */
#ifndef LSM_SALVAGE_H_
#define LSM_SALVAGE_H_

#include "lsm/cursor.h"
#include "lsm/version.h"

struct salvage_told {
    void (*on_loss)(void *data, const struct table *table, uint64_t offset, const char *text);
    void *data;
    uint64_t places;  /* that could not be read */
    uint64_t records; /* whose value is gone */
};

/* What `piece` shows, without records that refer to value files that `values` has not. All
 * borrowed. NULL when memory is out. */
struct cursor *salvage_cursor(struct piece *piece, const struct version *values,
                              struct salvage_told *told);

#endif
