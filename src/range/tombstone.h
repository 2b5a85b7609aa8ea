/* SPDX-License-Identifier: Apache-2.0
 *
 * tombstone — what a store remembers for ever of a range whose replica left it: ids
 * below `least_id` were removed, and a late message must not bring one of them back
 * (tikv's tombstone tests; cockroach #64325).
 *
 *   on disk, under the local key 0x00 | 0 u64be | 't' | range id u64be:
 *     u8 format = 1 | u64 least_id                                  little-endian
 *
 * The record stands at version `least_id`, which only grows.
 */
#ifndef RANGE_TOMBSTONE_H_
#define RANGE_TOMBSTONE_H_

#include "base/map.h"
#include "lsm/lsm.h"

/* Of one store, all in memory. */
struct tombstones {
    struct map least_of; /* private: range id → least id, as a pointer's number */
};

void tombstones_init(struct tombstones *t);
void tombstones_fini(struct tombstones *t);

/* Read all of them; blocking, for start-up. ERR_CORRUPT, ERR_IO, ERR_NOMEM. */
int tombstones_load(struct tombstones *t, struct lsm *lsm, struct err *err);

/* The least replica id of this range that may live here; 0: any. */
uint64_t tombstones_least(const struct tombstones *t, uint64_t range_id);

/* Raise it in memory; ERR_NOMEM. To be made durable by the edit of tombstone_put(). */
int tombstones_raise(struct tombstones *t, uint64_t range_id, uint64_t least_id);

/* Add the record to the `puts` of an edit. */
void tombstone_put(struct lsm_batch *batch, uint64_t range_id, uint64_t least_id);

/* Add the word that replica `replica_id` is gone, whose log is to be forgotten after the
 * edit: 0x00 | replica id u64be | 'x'. */
void tombstone_put_gone(struct lsm_batch *batch, uint64_t replica_id);

#endif
