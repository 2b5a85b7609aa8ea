/* SPDX-License-Identifier: Apache-2.0
 *
 * table_top — the top index of an open table, decoded: one entry for each partition of
 * the index, and what is kept in memory of the table besides: partitions and filter.
 *
 * Ownership  a pinned block belongs to its pin until table_pin_fini(); who reads through
 *            it holds the table.
 * Threads    immutable but for the pins, which any thread may fill, once.
 */
#ifndef LSM_TABLE_TOP_H_
#define LSM_TABLE_TOP_H_

#include <stdatomic.h>

#include "lsm/cache.h"
#include "lsm/entry.h"
#include "lsm/table_format.h"

struct err;

/* A block that stays in memory as long as its table, if the cache's budget allows it. */
struct table_pin {
    _Atomic(struct block *) block;
};

/* NULL: not pinned (yet). */
static inline struct block *table_pin_get(struct table_pin *pin)
{
    return atomic_load_explicit(&pin->block, memory_order_acquire);
}

/* Pin `block` (its own reference is taken) unless another thread was faster or the budget
 * is used up; true if it is pinned now. */
bool table_pin_set(struct table_pin *pin, struct cache *cache, struct block *block);
void table_pin_fini(struct table_pin *pin, struct cache *cache);

struct table_part {
    struct slice key; /* last of the partition, or above it and below the next */
    uint64_t version;
    struct table_top at;
    struct table_pin pin;
};

struct table_parts {
    struct table_part *items;
    size_t count;
    size_t skip; /* bytes that all keys begin with */
    uint64_t *prefixes;
    uint8_t *keys; /* one behind the other, as in `items`; one with many versions seldom repeated */
};

/* Decode the plain content of a top index block. ERR_CORRUPT, ERR_NOMEM. */
int table_parts_load(struct table_parts *parts, struct slice top, struct err *err);

/* Accepts zeroes. */
void table_parts_fini(struct table_parts *parts, struct cache *cache);

/* The first partition that may hold (key, version) or what comes after it; count: none. */
size_t table_parts_find(const struct table_parts *parts, struct slice key, uint64_t version);

#endif
