/* SPDX-License-Identifier: Apache-2.0
 *
 * filter — a Bloom filter over the keys of one table, all probes of a key in one
 * cache line (Putze, Sanders, Singler 2007).
 *
 *   lines * 64 bytes | lines u32 | probes u8
 */
#ifndef LSM_FILTER_H_
#define LSM_FILTER_H_

#include "base/buf.h"

/* The hash that the filter is made of; part of the table format. */
uint64_t filter_hash(struct slice key);

/* Append a filter over `hashes` to `out` (ERR_NOMEM shows there as `failed`). */
void filter_build(struct buf *out, const uint64_t *hashes, size_t count, unsigned bits_per_key);

/* Is this a filter? */
bool filter_is_sane(struct slice filter);

/* Begin to fetch the line that filter_may_contain() will look at. */
void filter_prefetch(struct slice filter, uint64_t hash);

/* False: the key is certainly not in the table. `filter` is sane. */
bool filter_may_contain(struct slice filter, uint64_t hash);

#endif
