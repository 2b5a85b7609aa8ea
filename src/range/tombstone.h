/* SPDX-License-Identifier: Apache-2.0
 *
 * tombstone — what a store remembers for ever of a range whose replica left it: ids
 * below `least_id` were removed, and a late message must not bring one of them back
 * (tikv's tombstone tests; cockroach #64325).
 *
 *   on disk, under the local key 0x00 | 0 u64be | 't' | range id u64be:
 *     u8 format = 1 | u64 least_id                                  little-endian
 *     u8 format = 2 | u64 least_id | u64 into | u64 span epoch
 *
 * The record stands at version `least_id`, which only grows. The second form tells that the
 * range itself is no more: it was merged into another one, at that epoch. Then no id of it
 * may live here, and least_id is TOMBSTONE_ENDED.
 */
#ifndef RANGE_TOMBSTONE_H_
#define RANGE_TOMBSTONE_H_

#include "base/map.h"
#include "lsm/lsm.h"

#define TOMBSTONE_ENDED (UINT64_C(1) << 60) /* above every replica id */

/* What is known of one range. */
struct tombstone {
    uint64_t least_id;   /* the least replica id that may live here */
    uint64_t into_range; /* the range that this one was merged into; 0: not known to be over */
    uint64_t span_epoch; /* … and the epoch of that since */
};

/* Of one store, all in memory. */
struct tombstones {
    struct map by_range; /* private: range id → struct tombstone, owned */
};

void tombstones_init(struct tombstones *t);
void tombstones_fini(struct tombstones *t);

/* Read all of them; blocking, for start-up. ERR_CORRUPT, ERR_IO, ERR_NOMEM. */
int tombstones_load(struct tombstones *t, struct lsm *lsm, struct err *err);

/* The least replica id of this range that may live here; 0: any. */
uint64_t tombstones_least(const struct tombstones *t, uint64_t range_id);

/* All of it; NULL: nothing is known. Borrowed until the next change. */
const struct tombstone *tombstones_get(const struct tombstones *t, uint64_t range_id);

/* Raise it in memory; ERR_NOMEM. To be made durable by the edit of tombstone_put(). */
int tombstones_raise(struct tombstones *t, uint64_t range_id, uint64_t least_id);

/* The same of a range that was merged into another. */
int tombstones_end(struct tombstones *t, uint64_t range_id, uint64_t into_range,
                   uint64_t span_epoch);

/* Those that were merged away: start with *cursor = 0; NULL at the end. */
const struct tombstone *tombstones_next_ended(const struct tombstones *t, uint32_t *cursor,
                                              uint64_t *ret_range_id);

/* Add the record of what `t` knows of the range (it must know something) to the `puts` of
 * an edit. */
void tombstone_put(struct lsm_batch *batch, const struct tombstones *t, uint64_t range_id);

/* Add the word that replica `replica_id` is gone, whose log is to be forgotten after the
 * edit: 0x00 | replica id u64be | 'x'. */
void tombstone_put_gone(struct lsm_batch *batch, uint64_t replica_id);

#endif
