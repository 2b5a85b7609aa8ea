/* SPDX-License-Identifier: Apache-2.0
 *
 * mark — the word in an engine that says whose it is: written when a store is born, so
 * that an empty engine in its place is known for what it is, and an engine of another
 * folder too.
 *
 *   on disk, under the local key 0x00 | 0 u64be | 'b':   u8 format = 1 | uuid[16]
 */
#ifndef RANGE_MARK_H_
#define RANGE_MARK_H_

#include "lsm/lsm.h"

enum { MARK_UUID_LEN = 16 };

/* Add it to the `puts` of the edit of the birth. */
void mark_put(struct lsm_batch *batch, const uint8_t uuid[MARK_UUID_LEN]);

/* Does the engine bear this mark? Blocking, for start-up. ERR_NOT_FOUND: none at all;
 * ERR_INVALID: that of another store; ERR_CORRUPT, ERR_IO, ERR_NOMEM. */
int mark_check(struct lsm *lsm, const uint8_t uuid[MARK_UUID_LEN], struct err *err);

#endif
