/* SPDX-License-Identifier: Apache-2.0
 *
 * cache — blocks in memory, shared by all readers, one budget.
 *
 * S3-FIFO (Yang et al., SOSP '23) in each shard: a block enters a small queue; only
 * if it is used again before it leaves there does it move to the main one, so that
 * a scan passes through a tenth of the memory. Blocks that left the small queue
 * are remembered for a while (ghosts), and go to main directly when they come back.
 *
 *   insert ─▶ small (10 %) ──used again──▶ main (90 %, second chances) ─▶ gone
 *                 └──not used──▶ ghost: only its name
 *
 * When the reads are so even that what comes is no better than what must go for it, the
 * change is all cost. So a full cache of some size holds a duel: two of its shards keep all
 * that is offered, two keep one block of some, and the others do as those that miss less. A
 * working set that moves makes the first win, an even one the second.
 *
 * Ownership  blocks are counted references; the cache holds one for each block in
 *            it, so that a block outlives its eviction while somebody reads it.
 * Threads    any; a short lock for each shard.
 * Limits     the budget is exceeded only by evicted blocks that are still in use.
 */
#ifndef LSM_CACHE_H_
#define LSM_CACHE_H_

#include <stdatomic.h>

#include "base/base.h"
#include "lsm/pool.h"

struct cache;

/* One decoded block. `len` bytes at `data`. */
struct block {
    atomic_uint refs;
    atomic_uchar uses; /* 0..3, private to the cache */
    bool in_main;      /* private to the cache */
    bool is_pooled;    /* its memory is a frame of a pool */
    union {
        uint64_t file;      /* name: file number … */
        struct block *gone; /* private to the cache: the next that it lets go of */
    };
    uint64_t offset; /* … and place in it */
    size_t len;
    uint8_t data[];
};

/* An own block with one reference and room for `len` bytes; NULL when memory is out. */
struct block *block_new(size_t len);

/* The same for the cache (NULL: any) to keep: out of its own memory if it has such. `hint`
 * spreads the load. Every such block must be given up before cache_free() (asserted). */
struct block *cache_block_new(struct cache *cache, uint64_t hint, size_t len);
struct block *block_ref(struct block *block);
void block_unref(struct block *block); /* NULL is fine */

static inline struct slice block_slice(const struct block *block)
{
    return slice_of(block->data, block->len);
}

/* NULL when memory is out. A budget of 0 keeps nothing. */
struct cache *cache_new(size_t bytes);

/* Every table that uses it must be gone. NULL is fine. */
void cache_free(struct cache *cache);

/* The block, referenced for the caller, or NULL. */
struct block *cache_get(struct cache *cache, uint64_t file, uint64_t offset);

/* Keep `block`; the caller keeps its own reference. If one of that name is there
 * already (another reader was faster) nothing happens. */
void cache_put(struct cache *cache, uint64_t file, uint64_t offset, struct block *block);

/* The same, if it seems worth the place of another. */
void cache_offer(struct cache *cache, uint64_t file, uint64_t offset, struct block *block);

/* Bytes of memory that a block stands for. */
static inline size_t block_charge(const struct block *block)
{
    size_t bytes = sizeof *block + block->len;
    return block->is_pooled ? pool_frame(bytes) : bytes;
}

/* Take `bytes` of the budget for blocks that stay outside of the cache (indexes and filters
 * of open tables); false when those would have more than half of it. They come in larger
 * amounts from the shards, whose locks readers spin on: a background thread that takes a
 * little at a time must not hold each of them each time. */
bool cache_reserve(struct cache *cache, size_t bytes);
void cache_release(struct cache *cache, size_t bytes);

/* The whole budget, and what of it is taken so. */
size_t cache_budget(const struct cache *cache);
size_t cache_reserved(const struct cache *cache);

struct cache_stats {
    uint64_t bytes;    /* of blocks in it, and reserved */
    uint64_t reserved; /* of these */
    uint64_t blocks, hits, misses;
    uint64_t passed; /* blocks that were offered and not kept: no better than those in it */
};
/* Sums over all shards, each under its lock; any thread. */
void cache_stats(struct cache *cache, struct cache_stats *ret_stats);

/* Assert that queues, table and counts agree, and the budget is kept. */
void cache_check(struct cache *cache);

#endif
