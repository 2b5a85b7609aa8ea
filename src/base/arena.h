/* SPDX-License-Identifier: Apache-2.0
 *
 * arena — many small allocations that die together.
 *
 * Ownership  the arena owns all memory that it gave; it lives until
 *            arena_reset() or arena_fini().
 * Errors     NULL when the bound is met or memory is out; nothing else changes.
 * Limits     `max` bytes of memory taken from the system, chunk heads included.
 */
#ifndef BASE_ARENA_H_
#define BASE_ARENA_H_

#include "base/base.h"

enum { ARENA_ALIGN = 16 };

struct arena_chunk;

struct arena {
    size_t chunk_size; /* bytes asked from the system at a time */
    size_t max;        /* bytes that it may take in all */
    size_t taken;      /* bytes taken so far */
    size_t used;       /* bytes given out, rounded up */
    /* private */
    struct arena_chunk *chunks; /* newest first; allocations come from it */
};

/* Nothing is allocated yet. chunk_size at least 256, max at least chunk_size. */
void arena_init(struct arena *arena, size_t chunk_size, size_t max);

/* Free everything; accepts zeroes. */
void arena_fini(struct arena *arena);

/* Free everything but one chunk of the ordinary size, which is used again. */
void arena_reset(struct arena *arena);

/* `len` uninitialised bytes aligned to ARENA_ALIGN; never NULL for len 0 unless
 * memory is out. */
void *arena_alloc(struct arena *arena, size_t len);

/* A copy of `bytes` in the arena; false (and *ret_copy untouched) if it does not
 * fit. */
bool arena_copy(struct arena *arena, struct slice bytes, struct slice *ret_copy);

#endif
