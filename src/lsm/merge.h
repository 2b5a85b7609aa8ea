/* SPDX-License-Identifier: Apache-2.0
 *
 * merge — cursors made of cursors: one level of disjoint pieces, and the merge of
 * several sources.
 *
 * Ties    of equal (key, version) the source with the smaller index is the newer.
 * Errors  a source that fails makes the whole cursor fail.
 */
#ifndef LSM_MERGE_H_
#define LSM_MERGE_H_

#include "lsm/cursor.h"

struct piece;

/* Over pieces in key order that do not overlap. The array and the pieces must outlive
 * it (the caller holds the version). NULL when memory is out. */
struct cursor *level_cursor(struct piece *const *pieces, size_t count, unsigned flags,
                            struct err *err);

/* The sources become the merge's, also when it fails (NULL, memory is out). */
struct cursor *merge_cursor(struct cursor **sources, size_t count, struct err *err);

/* One cursor for one piece. */
struct cursor *piece_cursor(struct piece *piece, unsigned flags, struct err *err);

#endif
