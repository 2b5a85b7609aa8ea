/* SPDX-License-Identifier: Apache-2.0
 *
 * The chunks: tail of the log in memory, in log order. Old ones go first, when all of
 * a chunk is durable and the cache is over its bound. */
#include <stdlib.h>

#include "base/pages.h"
#include "raftlog/internal.h"

enum { LOG_LARGE_SHARE = 16 /* part of the cache that a large page may be */ };

/* While the cache fills each page is touched the first time: fewer are, where they are large. */
uint32_t cache_chunk_cap(const struct raftlog *log)
{
    size_t cache = log->options.cache_bytes;
    size_t cap = MIN(log->options.batch_bytes_max, MAX(cache / 4, 4096));
    bool is_large = cap + ENV_BLOCK <= PAGES_LARGE && cache / LOG_LARGE_SHARE >= PAGES_LARGE;
    return (uint32_t)(is_large ? PAGES_LARGE - ENV_BLOCK : cap);
}

struct chunk *cache_last(const struct raftlog *log)
{
    return log->n_chunks == 0 ? NULL : log->chunks[log->n_chunks - 1];
}

/* Take the idle memory at `at` out of the list. */
static struct idle idle_take(struct raftlog *log, uint32_t at)
{
    ASSERT(at < log->n_idle);
    struct idle taken = log->idle[at];
    log->idle[at] = log->idle[--log->n_idle];
    ASSERT(log->idle_bytes >= taken.room);
    log->idle_bytes -= taken.room;
    return taken;
}

static void idle_free_least(struct raftlog *log)
{
    uint32_t least = 0;
    for (uint32_t i = 1; i < log->n_idle; i++) {
        if (log->idle[i].room < log->idle[least].room)
            least = i;
    }
    free(idle_take(log, least).memory);
}

/* Memory for a chunk: aligned, and with a block to spare in front. */
static void chunk_set_memory(struct raftlog *log, struct chunk *c, uint32_t cap)
{
    c->cap = c->room = cap;
    for (uint32_t i = log->n_idle; i-- > 0;) {
        if (log->idle[i].room < cap || log->idle[i].room / 2 > cap)
            continue;
        struct idle taken = idle_take(log, i);
        c->memory = taken.memory;
        c->room = taken.room;
        return;
    }
    c->memory = log_blocks(log, ENV_BLOCK + (size_t)cap);
}

struct chunk *cache_add(struct raftlog *log, struct segment *s, uint32_t cap)
{
    ASSERT(cap > 0);
    log_grow(log, &log->chunks, log->n_chunks, &log->cap_chunks, sizeof *log->chunks);
    struct chunk *c = log_alloc(log, sizeof *c);
    c->segment = s;
    c->number = s->number;
    c->start = s->len;
    chunk_set_memory(log, c, cap);
    c->data = c->memory + c->start % ENV_BLOCK;
    log->chunks[log->n_chunks++] = c;
    log->cache_bytes += c->room;
    return c;
}

static void chunk_free(struct chunk *c)
{
    free(c->memory);
    free(c);
}

/* In a log that is full of entries each new chunk follows one that goes: memory that is used
 * again has its pages, where fresh memory of this size would ask the kernel for each. A turn may
 * add several before it evicts as many. One that was made for a single large append is not kept. */
static void chunk_retire(struct raftlog *log, struct chunk *c)
{
    if (c->room > cache_chunk_cap(log)) {
        chunk_free(c);
        return;
    }
    if (log->n_idle == LOG_IDLE_MAX)
        idle_free_least(log);
    log->idle[log->n_idle++] = (struct idle){.memory = c->memory, .room = c->room};
    log->idle_bytes += c->room;
    while (log->n_idle > 1 && log->idle_bytes > log->options.cache_bytes / LOG_IDLE_SHARE)
        idle_free_least(log);
    free(c);
}

/* What is idle is a part of the cache's memory, where that is large. */
static bool cache_is_over(const struct raftlog *log)
{
    uint64_t share = log->options.cache_bytes / LOG_IDLE_SHARE;
    uint64_t chunk = cache_chunk_cap(log);
    uint64_t idle_most = MIN(LOG_IDLE_MAX * chunk, share);
    if (idle_most < 2 * chunk)
        idle_most = 0; /* one, beside it */
    return log->cache_bytes > log->options.cache_bytes - idle_most;
}

void cache_evict(struct raftlog *log)
{
    size_t n = 0;
    while (n + 1 < log->n_chunks && cache_is_over(log)) {
        struct chunk *c = log->chunks[n];
        if (c->synced < c->len)
            break;
        log->cache_bytes -= c->room;
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
    log->chunks = NULL;
    log->n_chunks = 0;
    while (log->n_idle > 0)
        idle_free_least(log);
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
