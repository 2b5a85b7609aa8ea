/* SPDX-License-Identifier: Apache-2.0
 *
 * table_read — blocks of a table file: from a pin, from the cache, or from the disk,
 * checked and decoded; and reading ahead for those who walk.
 *
 * Threads    any; a table_ahead by one at a time.
 * Errors     ERR_CORRUPT and ERR_IO name the file and the offset; ERR_WOULD_BLOCK under
 *            LSM_READ_NO_IO; ERR_NOMEM.
 */
#ifndef LSM_TABLE_READ_H_
#define LSM_TABLE_READ_H_

#include "lsm/table.h"

/* Beside those of lsm.h, for background work: past the cache, which is neither asked nor
 * filled. What goes on in the background must not make the blocks of its inputs look used;
 * and its threads, which have little claim to the processors, must not hold the short locks
 * of the cache: a reader that waits for one waits until they get their turn. */
enum { TABLE_READ_PAST = 1u << 16 };

/* Note that the block at `offset` is damaged: the table is bad from now on. ERR_CORRUPT. */
int table_bad_block(struct table *table, uint64_t offset, const char *what, struct err *err);

/* Bypasses the cache and its memory. */
int table_read_block(struct table *table, struct table_handle handle, struct block **ret_block,
                     struct err *err);

/* A partition of the index (as fences) or the filter, from its pin, or read and pinned if
 * there is room. A pinned one needs no reference: *ret_own is NULL then, else the reference
 * to give back. */
int table_pinned_block(struct table *table, struct table_pin *pin, struct table_handle handle,
                       bool is_partition, unsigned flags, struct block **ret_block,
                       struct block **ret_own, struct err *err);

/* What a walk has read of the file beyond the block that it asked for. */
struct table_ahead {
    uint8_t *data;
    size_t len, cap;
    uint64_t offset; /* of data[0] in the file */
    uint64_t last;   /* where the last block began … */
    uint64_t next;   /* … and where it ended; 0: there was none */
    bool is_back;    /* the walk goes backward */
    size_t window;   /* to read next time; grows while the walk goes on */
    unsigned in_row; /* blocks that followed each other and were not in the cache */
};

/* As table_block(), for the blocks of a walk. From the third block in a row that is not in
 * the cache on (a seek with some nexts reads two), or at once if none is to be kept, the
 * file is read in windows that grow, ahead of the walk whichever way it goes. */
int table_block_ahead(struct table *table, struct table_ahead *ahead, struct table_handle handle,
                      unsigned flags, struct block **ret_block, struct err *err);

/* Accepts zeroes. */
void table_ahead_fini(struct table_ahead *ahead);

#endif
