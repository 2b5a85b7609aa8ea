/* SPDX-License-Identifier: Apache-2.0
 *
 * pool — memory for the cache's blocks, on large pages: a cache of hundreds of megabytes
 * that is read at random spends a tenth of its time in translating addresses otherwise.
 *
 *   chunk    PAGES_LARGE bytes, aligned to them; begins with its head
 *   slab     one sixteenth of the rest, cut into frames of one size
 *   frame    what pool_take() gives
 *
 * A slab without a frame in use can become one of another size, a chunk without a slab in
 * use goes back to the system, but for one that is kept. Frames are not moved: when sizes change,
 * slabs of the old size go as the cache lets its oldest blocks go.
 *
 * Ownership  a frame is given back with pool_give() alone; all of them before pool_free().
 * Threads    any; a short lock.
 * Limits     frames of up to POOL_FRAME_MAX bytes.
 */
#ifndef LSM_POOL_H_
#define LSM_POOL_H_

#include <stddef.h>

struct pool;

enum { POOL_GRAIN = 128, POOL_FRAME_MAX = 12 << 10 };

/* Bytes of the frame for `size` bytes. */
static inline size_t pool_frame(size_t size)
{
    return (size + POOL_GRAIN - 1) / POOL_GRAIN * POOL_GRAIN;
}

/* NULL when memory is out. */
struct pool *pool_new(void);

/* Every frame must be back (asserted). NULL is fine. */
void pool_free(struct pool *pool);

/* A frame for 1..POOL_FRAME_MAX bytes; NULL when memory is out. */
void *pool_take(struct pool *pool, size_t size);
void pool_give(void *frame);

/* Assert counts and lists. Returns the bytes held of the system, the kept chunk apart. */
size_t pool_check(struct pool *pool);

#endif
