/* SPDX-License-Identifier: Apache-2.0
 *
 * batch — how struct lsm_batch keeps its records:
 *
 *   kind u8 | version u64 | expiry u64 | key_len u32 | value_len u32 | key | value
 *
 * In memory only: a batch that does not decode is a bug and asserts.
 */
#ifndef LSM_BATCH_H_
#define LSM_BATCH_H_

#include "lsm/entry.h"
#include "lsm/lsm.h"

/* Walk: start with *pos = 0; false at the end. Entries point into the batch. */
bool lsm_batch_next(const struct lsm_batch *batch, size_t *pos, struct entry *ret_entry);

/* Bytes of keys and values in sum. */
size_t lsm_batch_bytes(const struct lsm_batch *batch);

#endif
