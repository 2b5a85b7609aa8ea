/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdlib.h>

#include "base/pages.h"

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of the whole chunk */
    size_t pos;  /* first free byte, from the chunk's start */
};

enum { ARENA_HEAD = (sizeof(struct arena_chunk) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN };

void arena_init(struct arena *arena, size_t chunk_size, size_t max)
{
    ASSERT(chunk_size >= 256);
    ASSERT(max >= chunk_size);
    *arena = (struct arena){.chunk_size = chunk_size, .max = max};
}

void arena_fini(struct arena *arena)
{
    for (struct arena_chunk *c = arena->chunks, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    arena->chunks = NULL;
    arena->taken = 0;
    arena->used = 0;
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *keep = NULL;
    for (struct arena_chunk *c = arena->chunks, *next; c != NULL; c = next) {
        next = c->next;
        if (keep == NULL && c->size == arena->chunk_size) {
            keep = c;
            continue;
        }
        ASSERT(arena->taken >= c->size);
        arena->taken -= c->size;
        free(c);
    }
    if (keep != NULL) {
        keep->next = NULL;
        keep->pos = ARENA_HEAD;
    }
    arena->chunks = keep;
    arena->used = 0;
}

static struct arena_chunk *arena_grow(struct arena *arena, size_t len)
{
    ASSERT(arena->taken <= arena->max);
    if (len > arena->max - arena->taken || ARENA_HEAD > arena->max - arena->taken - len)
        return NULL;
    size_t size = MAX(len + ARENA_HEAD, MIN(arena->chunk_size, arena->max - arena->taken));
    struct arena_chunk *c = pages_malloc(size);
    if (c == NULL)
        return NULL;
    *c = (struct arena_chunk){.next = arena->chunks, .size = size, .pos = ARENA_HEAD};
    arena->taken += size;
    arena->chunks = c;
    ASSERT(arena->taken <= arena->max);
    return c;
}

void *arena_alloc(struct arena *arena, size_t len)
{
    ASSERT(arena->chunk_size > 0);
    if (len > SIZE_MAX - ARENA_ALIGN)
        return NULL;
    len = (len + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    struct arena_chunk *c = arena->chunks;
    if (c == NULL || len > c->size - c->pos) {
        c = arena_grow(arena, len);
        if (c == NULL)
            return NULL;
    }
    void *at = (uint8_t *)c + c->pos;
    c->pos += len;
    arena->used += len;
    ASSERT(c->pos <= c->size);
    return at;
}

bool arena_copy(struct arena *arena, struct slice bytes, struct slice *ret_copy)
{
    void *at = arena_alloc(arena, bytes.len);
    if (at == NULL)
        return false;
    if (bytes.len > 0)
        memcpy(at, bytes.data, bytes.len);
    *ret_copy = slice_of(at, bytes.len);
    return true;
}
