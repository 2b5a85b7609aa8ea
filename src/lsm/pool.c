/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/pool.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/pages.h"
#include "lsm/spin.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(frame, size) ASAN_POISON_MEMORY_REGION(frame, size)
#define UNPOISON(frame, size) ASAN_UNPOISON_MEMORY_REGION(frame, size)
#else
#define POISON(frame, size) ((void)(frame), (void)(size))
#define UNPOISON(frame, size) ((void)(frame), (void)(size))
#endif

enum {
    SLABS = 16,
    HEAD = 1024,
    SLAB = (PAGES_LARGE - HEAD) / SLABS / POOL_GRAIN * POOL_GRAIN,
    CLASSES = POOL_FRAME_MAX / POOL_GRAIN + 1, /* of so many grains; none of 0 */
    ALL_FREE = (1 << SLABS) - 1,
};

/* Frames in use, and those that are free: `fresh` of them were never used yet. The others
 * are a stack (the last one given is still in the CPU's caches): each begins with the number
 * of the next. */
struct slab {
    struct list in_partial; /* of its class, while it has a free frame */
    uint16_t class;         /* 0: the slab is in no use */
    uint16_t used, fresh, free_count;
    uint16_t free; /* the uppermost, if there are any */
};

struct chunk {
    struct pool *pool;
    struct list in_chunks;
    uint32_t slabs_free; /* a bit each */
    struct slab slabs[SLABS];
};

_Static_assert(sizeof(struct chunk) <= HEAD, "the head fits before the slabs");

struct pool {
    atomic_bool is_locked;
    struct list chunks; /* with a free slab in front */
    size_t chunk_count;
    struct chunk *spare; /* the last that became empty, or NULL: who takes and gives one
                          * frame need not ask the system each time */
    struct list partial[CLASSES];
};

static struct chunk *chunk_of(void *frame)
{
    return (struct chunk *)((uintptr_t)frame & ~(uintptr_t)(PAGES_LARGE - 1));
}

static uint8_t *slab_base(struct chunk *chunk, size_t i)
{
    return (uint8_t *)chunk + HEAD + i * SLAB;
}

static size_t slab_capacity(size_t class)
{
    return SLAB / (class * POOL_GRAIN);
}

static struct chunk *chunk_new(struct pool *pool)
{
    struct chunk *chunk = pages_alloc();
    if (chunk == NULL)
        return NULL;
    memset(chunk, 0, sizeof *chunk);
    chunk->pool = pool;
    chunk->slabs_free = ALL_FREE;
    list_init(&chunk->in_chunks);
    for (size_t i = 0; i < SLABS; i++)
        list_init(&chunk->slabs[i].in_partial);
    POISON(slab_base(chunk, 0), PAGES_LARGE - HEAD);
    return chunk;
}

static void chunk_free(struct chunk *chunk)
{
    UNPOISON(chunk, PAGES_LARGE);
    pages_free(chunk);
}

struct pool *pool_new(void)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    atomic_init(&pool->is_locked, false);
    list_init(&pool->chunks);
    for (size_t i = 0; i < CLASSES; i++)
        list_init(&pool->partial[i]);
    return pool;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    ASSERT(pool->chunk_count == 0);
    ASSERT(list_is_empty(&pool->chunks));
    if (pool->spare != NULL)
        chunk_free(pool->spare);
    free(pool);
}

/* A slab for the class, out of the first chunk, which has a free one. */
static void slab_begin(struct pool *pool, size_t class)
{
    struct chunk *chunk = list_first(&pool->chunks, struct chunk, in_chunks);
    ASSERT(chunk->slabs_free != 0);
    size_t i = (size_t)__builtin_ctz(chunk->slabs_free);
    struct slab *slab = &chunk->slabs[i];
    ASSERT(slab->class == 0 && slab->used == 0);
    chunk->slabs_free &= ~(UINT32_C(1) << i);
    slab->class = (uint16_t) class;
    slab->fresh = (uint16_t)slab_capacity(class);
    slab->free_count = 0;
    list_push_back(&pool->partial[class], &slab->in_partial);
    if (chunk->slabs_free == 0) {
        list_remove(&chunk->in_chunks);
        list_push_back(&pool->chunks, &chunk->in_chunks);
    }
}

static void *slab_take(struct slab *slab)
{
    struct chunk *chunk = chunk_of(slab);
    uint8_t *base = slab_base(chunk, (size_t)(slab - chunk->slabs));
    size_t size = (size_t)slab->class * POOL_GRAIN;
    uint8_t *frame;
    if (slab->free_count > 0) {
        frame = base + slab->free * size;
        UNPOISON(frame, size);
        memcpy(&slab->free, frame, sizeof slab->free);
        slab->free_count--;
    } else {
        ASSERT(slab->fresh > 0);
        frame = base + (slab_capacity(slab->class) - slab->fresh--) * size;
        UNPOISON(frame, size);
    }
    slab->used++;
    if (slab->free_count == 0 && slab->fresh == 0)
        list_remove(&slab->in_partial);
    return frame;
}

static bool has_room(const struct pool *pool, size_t class)
{
    return !list_is_empty(&pool->partial[class]) ||
           (!list_is_empty(&pool->chunks) &&
            list_first(&pool->chunks, struct chunk, in_chunks)->slabs_free != 0);
}

/* Under the lock, but for the time that asking the system takes. */
static bool make_room(struct pool *pool, size_t class)
{
    while (!has_room(pool, class)) {
        struct chunk *more = pool->spare;
        pool->spare = NULL;
        if (more == NULL) {
            spin_unlock(&pool->is_locked);
            more = chunk_new(pool);
            spin_lock(&pool->is_locked);
        }
        if (more == NULL)
            return has_room(pool, class);
        if (!has_room(pool, class)) {
            list_push_front(&pool->chunks, &more->in_chunks);
            pool->chunk_count++;
            continue;
        }
        spin_unlock(&pool->is_locked); /* another thread was faster */
        chunk_free(more);
        spin_lock(&pool->is_locked);
    }
    return true;
}

void *pool_take(struct pool *pool, size_t size)
{
    ASSERT(size > 0 && size <= POOL_FRAME_MAX);
    size_t class = pool_frame(size) / POOL_GRAIN;
    void *frame = NULL;
    spin_lock(&pool->is_locked);
    if (make_room(pool, class)) {
        if (list_is_empty(&pool->partial[class]))
            slab_begin(pool, class);
        frame = slab_take(list_first(&pool->partial[class], struct slab, in_partial));
    }
    spin_unlock(&pool->is_locked);
    return frame;
}

/* The slab has no frame in use. Returns a chunk that the pool needs no more, or NULL. */
static struct chunk *slab_end(struct pool *pool, struct chunk *chunk, struct slab *slab)
{
    list_remove(&slab->in_partial);
    slab->class = 0;
    chunk->slabs_free |= UINT32_C(1) << (slab - chunk->slabs);
    list_remove(&chunk->in_chunks);
    if (chunk->slabs_free == ALL_FREE) {
        struct chunk *extra = pool->spare;
        pool->chunk_count--;
        pool->spare = chunk;
        return extra;
    }
    list_push_front(&pool->chunks, &chunk->in_chunks);
    return NULL;
}

void pool_give(void *frame)
{
    struct chunk *chunk = chunk_of(frame);
    struct pool *pool = chunk->pool;
    size_t offset = (size_t)((uint8_t *)frame - slab_base(chunk, 0));
    struct slab *slab = &chunk->slabs[offset / SLAB];
    struct chunk *extra = NULL;
    spin_lock(&pool->is_locked);
    size_t size = (size_t)slab->class * POOL_GRAIN;
    ASSERT(size > 0 && slab->used > 0);
    ASSERT(offset % SLAB % size == 0);
    if (slab->free_count == 0 && slab->fresh == 0)
        list_push_front(&pool->partial[slab->class], &slab->in_partial);
    memcpy(frame, &slab->free, sizeof slab->free);
    POISON(frame, size);
    slab->free = (uint16_t)(offset % SLAB / size);
    slab->free_count++;
    slab->used--;
    if (slab->used == 0)
        extra = slab_end(pool, chunk, slab);
    spin_unlock(&pool->is_locked);
    if (extra != NULL)
        chunk_free(extra);
}

static void slab_check(struct chunk *chunk, size_t i)
{
    struct slab *slab = &chunk->slabs[i];
    bool is_free = (chunk->slabs_free >> i & 1) != 0;
    ASSERT(is_free == (slab->class == 0));
    if (is_free) {
        ASSERT(slab->used == 0 && !list_is_linked(&slab->in_partial));
        return;
    }
    ASSERT(slab->used > 0);
    ASSERT((size_t)slab->used + slab->fresh + slab->free_count == slab_capacity(slab->class));
    ASSERT(list_is_linked(&slab->in_partial) == (slab->fresh + slab->free_count > 0));
}

size_t pool_check(struct pool *pool)
{
    size_t count = 0;
    bool full = false;
    spin_lock(&pool->is_locked);
    LIST_FOREACH(link, &pool->chunks)
    {
        struct chunk *chunk = list_entry(link, struct chunk, in_chunks);
        ASSERT(!full || chunk->slabs_free == 0); /* those with a free slab stand in front */
        full = chunk->slabs_free == 0;
        for (size_t i = 0; i < SLABS; i++)
            slab_check(chunk, i);
        count++;
    }
    ASSERT(count == pool->chunk_count);
    spin_unlock(&pool->is_locked);
    return count * PAGES_LARGE;
}
