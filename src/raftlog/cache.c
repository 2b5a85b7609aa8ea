/* SPDX-License-Identifier: Apache-2.0
 *
 * The chunks: tail of the log in memory, in log order. Old ones go first, when all of
 * a chunk is durable and the cache is over its bound. */
#include <stdlib.h>

#include "raftlog/internal.h"

struct chunk *cache_last(const struct raftlog *log)
{
    return log->n_chunks == 0 ? NULL : log->chunks[log->n_chunks - 1];
}

/* Aligned, and with a block to spare in front. */
static uint8_t *chunk_memory(struct raftlog *log, uint32_t cap)
{
    if (log->idle_cap != cap)
        return log_blocks(log, ENV_BLOCK + (size_t)cap);
    uint8_t *memory = log->idle_chunk;
    log->idle_chunk = NULL;
    log->idle_cap = 0;
    return memory;
}

struct chunk *cache_add(struct raftlog *log, struct segment *s, uint32_t cap)
{
    ASSERT(cap > 0);
    log_grow(log, &log->chunks, log->n_chunks, &log->cap_chunks, sizeof *log->chunks);
    struct chunk *c = log_alloc(log, sizeof *c);
    c->segment = s;
    c->number = s->number;
    c->start = s->len;
    c->cap = cap;
    c->memory = chunk_memory(log, cap);
    c->data = c->memory + c->start % ENV_BLOCK;
    log->chunks[log->n_chunks++] = c;
    log->cache_bytes += cap;
    return c;
}

static void chunk_free(struct chunk *c)
{
    free(c->memory);
    free(c);
}

/* In a log that is full of entries each new chunk follows one that goes: memory that is used
 * again has its pages, where fresh memory of this size would ask the kernel for each. One that was
 * made for a single large append is not kept. */
static void chunk_retire(struct raftlog *log, struct chunk *c)
{
    if (c->cap > log->options.batch_bytes_max) {
        chunk_free(c);
        return;
    }
    free(log->idle_chunk);
    log->idle_chunk = c->memory;
    log->idle_cap = c->cap;
    free(c);
}

void cache_evict(struct raftlog *log)
{
    size_t n = 0;
    while (n + 1 < log->n_chunks && log->cache_bytes > log->options.cache_bytes) {
        struct chunk *c = log->chunks[n];
        if (c->synced < c->len)
            break;
        log->cache_bytes -= c->cap;
        chunk_retire(log, c);
        n++;
    }
    if (n == 0)
        return;
    log->n_chunks -= n;
    memmove(log->chunks, log->chunks + n, log->n_chunks * sizeof *log->chunks);
}

void cache_fini(struct raftlog *log)
{
    for (size_t i = 0; i < log->n_chunks; i++)
        chunk_free(log->chunks[i]);
    free(log->chunks);
    free(log->idle_chunk);
    log->chunks = NULL;
    log->n_chunks = 0;
    log->idle_chunk = NULL;
    log->idle_cap = 0;
}

const uint8_t *cache_find(const struct raftlog *log, uint64_t number, uint32_t offset, uint32_t len)
{
    size_t lo = 0, hi = log->n_chunks; /* the last chunk that begins at or before it */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct chunk *c = log->chunks[mid];
        if (c->number < number || (c->number == number && c->start <= offset))
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0)
        return NULL;
    const struct chunk *c = log->chunks[lo - 1];
    if (c->number != number || offset - c->start >= c->len)
        return NULL;
    ASSERT(len <= c->len - (offset - c->start)); /* a record is in one chunk */
    return c->data + (offset - c->start);
}
