/* SPDX-License-Identifier: Apache-2.0
 *
 * memtable — a sorted set of entries in memory: a skiplist (Pugh 1990) over an
 * arena, with one writer and any number of readers that take no locks.
 *
 * Nodes are never changed or removed; a new node is filled in before a release
 * store links it, and readers follow links with acquire loads. A second write of
 * the same (key, version) is linked in front of the first. Each write has a
 * number, and a reader that began at write n skips younger nodes: a view is exact
 * though the table goes on growing.
 *
 * A link holds, beside the next node, an abbreviation of its key: 8 bytes as a number, so
 * that most steps of a search decide without touching a far node.
 *
 * Ownership  shared: memtable_ref(), memtable_unref(). Entries live as long.
 * Threads    memtable_add(), memtable_relearn() and memtable_write_begin() by one thread at
 *            a time; the rest anywhere.
 * Limits     writes are numbered in 32 bits; MEMTABLE_WRITES_MAX is asserted.
 */
#ifndef LSM_MEMTABLE_H_
#define LSM_MEMTABLE_H_

#include "lsm/cursor.h"

struct memtable;
struct stock;

#define MEMTABLE_WRITES_MAX (UINT32_MAX - 1)

/* For about `bytes`: a large one takes its memory in large pages, from `stock` (shared; NULL: from
 * the system). NULL when memory is out. One reference. */
struct memtable *memtable_new(size_t bytes, struct stock *stock);

/* Search `fresh`, which is empty, by the bytes behind what most keys of `before` have in
 * common: a hint, for speed alone. */
void memtable_learn(struct memtable *fresh, const struct memtable *before);

/* A copy of `mem` that has learned from its own keys, to go on with; one reference. NULL,
 * nearly always: it is too early, too late (copying would take over a few ms), there is
 * nothing to gain, or memory is out. Call it now and then before a write. */
struct memtable *memtable_relearn(struct memtable *mem, size_t bytes);
struct memtable *memtable_ref(struct memtable *mem);
void memtable_unref(struct memtable *mem); /* NULL is fine */

/* Make sure that memtable_add() finds `count` entries of `bytes` of keys and values
 * in sum without asking for memory. ERR_NOMEM. */
int memtable_reserve(struct memtable *mem, size_t count, size_t bytes);

/* Number the next write: entries added from now on carry the number returned. */
uint32_t memtable_write_begin(struct memtable *mem);

/* Copy entries in, in this order. Memory was reserved (asserted). */
void memtable_add(struct memtable *mem, const struct entry *entries, size_t count);

/* Number of the last write begun; 0 for none. */
uint32_t memtable_writes(const struct memtable *mem);

/* Bytes held, and entries. */
size_t memtable_bytes(const struct memtable *mem);
size_t memtable_count(const struct memtable *mem);

/* The newest entry of `key` with version <= version_max among writes <= `limit`. */
bool memtable_get(const struct memtable *mem, struct slice key, uint64_t version_max,
                  uint32_t limit, struct entry *ret_entry);

/* A cursor over the writes <= `limit`. The memtable must outlive it. NULL when
 * memory is out. */
struct cursor *memtable_cursor(const struct memtable *mem, uint32_t limit);

/* Is there an entry with start <= key < end (empty end: no bound)? */
bool memtable_overlaps(const struct memtable *mem, struct slice start, struct slice end);

/* Assert order and counts. */
void memtable_check(const struct memtable *mem);

#endif
