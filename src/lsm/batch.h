/* SPDX-License-Identifier: Apache-2.0
 *
 * batch — how struct lsm_batch keeps its records:
 *
 *   kind u8 | version u64 | expiry u64 | key_len u32 | value_len u32 | key | value
 *
 * A borrowed value has a flag in its kind and a pointer in its place; neither is ever in a log.
 *
 * A batch in memory that does not decode is a bug and asserts; what a log kept of one
 * comes back through lsm_batch_load().
 */
#ifndef LSM_BATCH_H_
#define LSM_BATCH_H_

#include "lsm/entry.h"
#include "lsm/lsm.h"

/* Walk: start with *pos = 0; false at the end. Entries point into the batch. */
bool lsm_batch_next(const struct lsm_batch *batch, size_t *pos, struct entry *ret_entry);

/* Bytes of keys and values in sum. */
size_t lsm_batch_bytes(const struct lsm_batch *batch);

/* Give all records the one version. */
void lsm_batch_stamp(struct lsm_batch *batch, uint64_t version);

/* Fill `batch` with a copy of what a batch (or several, one behind the other) held, from
 * bytes that were on a disk: every length and kind is judged. ERR_CORRUPT, ERR_NOMEM;
 * the batch is empty then. */
int lsm_batch_load(struct lsm_batch *batch, struct slice raw);

#endif
