/* SPDX-License-Identifier: Apache-2.0
 *
 * fences — a partition of a table's index, decoded for searching: it is searched once for
 * every get, and read once.
 *
 *   count u32 | skip u32 | prefix u64 × count | entry × count | keys
 *
 * `skip` bytes are common to all keys; prefixes are those of prefix.h. The layout is of this
 * machine and never on disk.
 *
 * Threads    immutable.
 */
#ifndef LSM_FENCES_H_
#define LSM_FENCES_H_

#include "lsm/cache.h"
#include "lsm/entry.h"
#include "lsm/table_format.h"

struct err;

struct fence {
    uint64_t offset; /* of the data block … */
    uint32_t len;
    uint32_t key_end; /* in `keys`: encoded key, from the end of the one before */
};

/* A view of a block that fences_decode() made. */
struct fences {
    uint32_t count, skip;
    const uint64_t *prefixes;
    const struct fence *items;
    const uint8_t *keys;
};

/* The plain content of a partition as a new block in the layout above, made for `cache`.
 * ERR_CORRUPT, ERR_NOMEM. */
int fences_decode(struct cache *cache, struct slice partition, struct block **ret_block,
                  struct err *err);

struct fences fences_of(const struct block *block);

/* The first block that may hold (key, version) or what comes after it; count: none. */
size_t fences_find(const struct fences *f, struct slice key, uint64_t version);

/* The encoded key of the block's index entry: no smaller than its last one. */
struct slice fences_key(const struct fences *f, size_t i);

static inline struct table_handle fences_handle(const struct fences *f, size_t i)
{
    ASSERT(i < f->count);
    return (struct table_handle){.offset = f->items[i].offset, .len = f->items[i].len};
}

#endif
