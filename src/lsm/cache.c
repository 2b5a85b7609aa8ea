/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/cache.h"

#include <stdlib.h>

#include "base/plant.h"
#include "lsm/spin.h"

enum {
    SHARDS_MAX = 16,
    SHARD_BYTES_MIN = 1 << 20, /* fewer shards rather than smaller ones */
    BLOCK_BYTES_GUESS = 4096,  /* sizes the tables */
    USES_MAX = 3,
    SMALL_PERCENT = 10,
    PREFETCH = 4, /* blocks ahead of the one that goes; the slot of one half as far */
    POOLS_MAX = 8,
    POOLED_BYTES_MIN = 8 << 20, /* a smaller cache would waste much of its large pages */
    POOL_BYTES = 64 << 20,      /* of the budget for each pool */
    RESERVE_SHARE = 256,        /* of the budget that is reserved in one go */
};

/* Which blocks a full shard keeps: all that are offered, or one of some. */
enum admission { ADMIT_AS_OTHERS, ADMIT_ALL, ADMIT_SOME };

enum {
    DUEL_EACH = 2,                  /* shards of either kind in the duel, of SHARDS_MAX */
    DUEL_SHARD_BYTES_MIN = 4 << 20, /* smaller ones are no sample */
    DUEL_ALL = 17,                  /* what a miss counts where all is kept, which costs more … */
    DUEL_SOME = 16,                 /* … and where one of so many is */
    DUEL_MOST = DUEL_ALL * 512,     /* how far the score goes: what it takes to turn it */
};

/* A ring with room for every block of the shard: what goes next can be fetched ahead. */
struct queue {
    struct block **ring;
    size_t head, count; /* the oldest stands at `head` */
    size_t bytes;
};

/* The hash beside the pointer: a block is looked at only if it is the one. In the place of
 * the hash's lower bits stands how long the block is: its end, where a search in it begins,
 * is fetched together with its head. */
struct slot {
    uint64_t tag;        /* upper bits of the hash | length in lines */
    struct block *block; /* NULL: empty */
};

enum { LINE = 64, TAG_LINES = 0xffff };

struct shard {
    atomic_bool is_locked; /* held for a few dozen instructions, never over I/O or malloc() */
    atomic_size_t budget;  /* lowered under the lock, raised by anyone */
    struct queue small, main;
    size_t ring_mask;   /* of both; as many as half of the slots */
    struct slot *slots; /* open addressing, at most half full */
    size_t slot_mask;
    size_t count;
    uint64_t *ghosts; /* a ring of names; 0 is none */
    size_t ghost_mask;
    uint64_t hits, misses, passed;
    enum admission admission;
    unsigned turn;      /* of those that come while it keeps some */
    struct block *gone; /* evicted under the lock, given up after it */
};

struct cache {
    size_t shard_mask;
    size_t bytes;             /* the whole budget */
    atomic_bool is_reserving; /* guards the next two, which are read without it */
    atomic_size_t reserved;   /* of it, taken from the shards for blocks outside … */
    atomic_size_t in_use;     /* … and what these have of that */
    atomic_int duel;          /* above 0: who keeps all has more misses */
    size_t pool_count;        /* a power of two, or 0 */
    struct pool *pools[POOLS_MAX];
    struct shard shards[];
};

/* ---- blocks ------------------------------------------------------------- */

static struct block *block_init(void *memory, size_t len, bool is_pooled)
{
    struct block *block = memory;
    if (block == NULL)
        return NULL;
    memset(block, 0, sizeof *block);
    atomic_init(&block->refs, 1);
    atomic_init(&block->uses, 0);
    block->is_pooled = is_pooled;
    block->len = len;
    return block;
}

struct block *block_new(size_t len)
{
    if (len > SIZE_MAX / 2)
        return NULL;
    return block_init(malloc(sizeof(struct block) + len), len, false);
}

struct block *cache_block_new(struct cache *cache, uint64_t hint, size_t len)
{
    if (cache == NULL || cache->pool_count == 0 || len > POOL_FRAME_MAX - sizeof(struct block))
        return block_new(len);
    struct pool *pool = cache->pools[(hint >> 12) & (cache->pool_count - 1)];
    return block_init(pool_take(pool, sizeof(struct block) + len), len, true);
}

struct block *block_ref(struct block *block)
{
    unsigned before = atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return block;
}

void block_unref(struct block *block)
{
    if (block == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1 && block->is_pooled)
        pool_give(block);
    else if (before == 1)
        free(block);
}

/* ---- shards ------------------------------------------------------------- */

static void shard_lock(struct shard *s)
{
    spin_lock(&s->is_locked);
}

static void shard_unlock(struct shard *s)
{
    struct block *gone = s->gone;
    s->gone = NULL;
    spin_unlock(&s->is_locked);
    while (gone != NULL) {
        struct block *next = gone->gone;
        block_unref(gone);
        gone = next;
    }
}

/* splitmix64's finish over both halves of the name; never 0. */
static uint64_t name_hash(uint64_t file, uint64_t offset)
{
    uint64_t h = file * UINT64_C(0x9e3779b97f4a7c15) + offset;
    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (h ^ (h >> 31)) | 1;
}

static size_t power_above(size_t n)
{
    size_t p = 16;
    while (p < n)
        p *= 2;
    return p;
}

/* `hash` may be a tag: the bits of its length are not asked. */
static size_t slot_home(const struct shard *s, uint64_t hash)
{
    return (size_t)(hash >> 20) & s->slot_mask;
}

static void queue_push(struct shard *s, struct queue *q, struct block *block)
{
    ASSERT(q->count <= s->ring_mask);
    q->ring[(q->head + q->count++) & s->ring_mask] = block;
    q->bytes += block_charge(block);
}

static struct block *queue_pop(struct shard *s, struct queue *q)
{
    ASSERT(q->count > 0);
    struct block *block = q->ring[q->head];
    if (q->count > PREFETCH)
        __builtin_prefetch(q->ring[(q->head + PREFETCH) & s->ring_mask]);
    if (q->count > PREFETCH / 2) {
        const struct block *next = q->ring[(q->head + PREFETCH / 2) & s->ring_mask];
        __builtin_prefetch(&s->slots[slot_home(s, name_hash(next->file, next->offset))]);
    }
    q->head = (q->head + 1) & s->ring_mask;
    q->count--;
    ASSERT(q->bytes >= block_charge(block));
    q->bytes -= block_charge(block);
    return block;
}

static uint64_t slot_tag(uint64_t hash, const struct block *block)
{
    size_t lines = (sizeof *block + block->len - 1) / LINE;
    return (hash & ~(uint64_t)TAG_LINES) | MIN(lines, (size_t)TAG_LINES);
}

static struct block *shard_find(const struct shard *s, uint64_t hash, uint64_t file,
                                uint64_t offset)
{
    for (size_t i = slot_home(s, hash); s->slots[i].block != NULL; i = (i + 1) & s->slot_mask) {
        struct block *b = s->slots[i].block;
        uint64_t tag = s->slots[i].tag;
        if (((tag ^ hash) & ~(uint64_t)TAG_LINES) != 0)
            continue;
        __builtin_prefetch((const uint8_t *)b + (tag & TAG_LINES) * LINE);
        if (b->file == file && b->offset == offset)
            return b;
    }
    return NULL;
}

static void slot_put(struct slot *slots, size_t mask, uint64_t tag, struct block *block)
{
    size_t i = (size_t)(tag >> 20) & mask;
    while (slots[i].block != NULL)
        i = (i + 1) & mask;
    slots[i] = (struct slot){.tag = tag, .block = block};
}

/* Larger tables of a shard; once moved in, the old ones. */
struct growth {
    struct slot *slots;
    struct block **small, **main;
    size_t count; /* of slots, twice of rings */
};

static void growth_init(struct growth *g, size_t count)
{
    *g = (struct growth){
        .slots = calloc(count, sizeof *g->slots),
        .small = calloc(count / 2, sizeof(*g->small)),
        .main = calloc(count / 2, sizeof(*g->main)),
        .count = count,
    };
}

static void growth_fini(struct growth *g)
{
    free(g->slots);
    free(g->small);
    free(g->main);
}

/* `ring` takes the queue over; what it had is left in its place. */
static void queue_move(const struct shard *s, struct queue *q, struct block ***ring)
{
    struct block **old = q->ring;
    for (size_t i = 0; i < q->count; i++)
        (*ring)[i] = old[(q->head + i) & s->ring_mask];
    q->ring = *ring;
    q->head = 0;
    *ring = old;
}

static void growth_move(struct shard *s, struct growth *g)
{
    struct slot *old = s->slots;
    for (size_t i = 0; i <= s->slot_mask; i++) {
        if (old[i].block != NULL)
            slot_put(g->slots, g->count - 1, old[i].tag, old[i].block);
    }
    s->slots = g->slots;
    g->slots = old;
    s->slot_mask = g->count - 1;
    queue_move(s, &s->small, &g->small);
    queue_move(s, &s->main, &g->main);
    s->ring_mask = g->count / 2 - 1;
}

static bool is_full(const struct shard *s)
{
    return 2 * (s->count + 1) > s->slot_mask + 1;
}

/* Lock with room for one more name; false when memory is out. */
static bool lock_with_room(struct shard *s)
{
    shard_lock(s);
    if (!is_full(s))
        return true;
    struct growth g;
    size_t count = 2 * (s->slot_mask + 1);
    shard_unlock(s);
    growth_init(&g, count);
    shard_lock(s);
    bool is_wanted = is_full(s) && count == 2 * (s->slot_mask + 1); /* nobody was faster */
    if (is_wanted && g.slots != NULL && g.small != NULL && g.main != NULL)
        growth_move(s, &g);
    shard_unlock(s);
    growth_fini(&g);
    shard_lock(s);
    return !is_full(s);
}

/* Empty slot `i`; what stands behind it and belongs before moves up. */
static void slot_empty(struct shard *s, size_t i)
{
    for (size_t j = (i + 1) & s->slot_mask; s->slots[j].block != NULL; j = (j + 1) & s->slot_mask) {
        size_t home = slot_home(s, s->slots[j].tag);
        if (((j - home) & s->slot_mask) < ((j - i) & s->slot_mask))
            continue; /* its home lies behind the gap */
        s->slots[i] = s->slots[j];
        i = j;
    }
    s->slots[i].block = NULL;
}

/* Out of the table; the cache's reference is given up by shard_unlock(). */
static void shard_drop(struct shard *s, struct block *block, uint64_t hash)
{
    size_t i = slot_home(s, hash);
    while (s->slots[i].block != block) {
        ASSERT(s->slots[i].block != NULL);
        i = (i + 1) & s->slot_mask;
    }
    slot_empty(s, i);
    s->count--;
    block->gone = s->gone;
    s->gone = block;
}

static void evict_small(struct shard *s)
{
    struct block *block = queue_pop(s, &s->small);
    uint64_t hash = name_hash(block->file, block->offset);
    if (atomic_load_explicit(&block->uses, memory_order_relaxed) > 0) {
        atomic_store_explicit(&block->uses, 0, memory_order_relaxed);
        block->in_main = true;
        queue_push(s, &s->main, block);
        return;
    }
    s->ghosts[(hash >> 20) & s->ghost_mask] = hash;
    shard_drop(s, block, hash);
}

static void evict_main(struct shard *s)
{
    struct block *block = queue_pop(s, &s->main);
    unsigned char uses = atomic_load_explicit(&block->uses, memory_order_relaxed);
    if (uses > 0) {
        atomic_store_explicit(&block->uses, (unsigned char)(uses - 1), memory_order_relaxed);
        queue_push(s, &s->main, block);
        return;
    }
    shard_drop(s, block, name_hash(block->file, block->offset));
}

static size_t shard_budget(const struct shard *s)
{
    return atomic_load_explicit(&s->budget, memory_order_relaxed);
}

/* Make room until the budget is kept. Ends: each round removes a block, moves one
 * out of small, or takes away one of its finitely many uses. */
static void shard_shrink(struct shard *s)
{
    size_t budget = shard_budget(s);
    while (s->small.bytes + s->main.bytes > budget) {
        bool small_is_over = s->small.bytes > budget * SMALL_PERCENT / 100;
        if (s->small.count > 0 && (small_is_over || s->main.count == 0))
            evict_small(s);
        else
            evict_main(s);
    }
}

/* Would one more block make another go? */
static bool has_no_room(const struct shard *s, size_t charge)
{
    return s->small.bytes + s->main.bytes + charge > shard_budget(s);
}

/* A miss of a shard that is full and in the duel: the score moves. A lost update is none. */
static void duel_miss(struct cache *cache, const struct shard *s)
{
    if (s->admission == ADMIT_AS_OTHERS || !has_no_room(s, BLOCK_BYTES_GUESS))
        return;
    int score = atomic_load_explicit(&cache->duel, memory_order_relaxed);
    score += s->admission == ADMIT_ALL ? DUEL_ALL : -DUEL_SOME;
    score = MAX(MIN(score, (int)DUEL_MOST), -(int)DUEL_MOST);
    atomic_store_explicit(&cache->duel, score, memory_order_relaxed);
}

/* Is what was read worth the place of another? Where all blocks are as likely to be read, what
 * comes is no better than what would go, and each change costs as much as a tenth of a read:
 * then only some come in, enough to notice when that changes. */
static bool shard_admits(struct cache *cache, struct shard *s, const struct block *block)
{
    bool some = s->admission == ADMIT_SOME;
    if (s->admission == ADMIT_AS_OTHERS)
        some = atomic_load_explicit(&cache->duel, memory_order_relaxed) > 0;
    if (!some || !has_no_room(s, block_charge(block)) || ++s->turn % DUEL_SOME == 0)
        return true;
    s->passed++;
    return false;
}

static int shard_init(struct shard *s, size_t budget)
{
    atomic_init(&s->budget, budget);
    size_t blocks = power_above(budget / BLOCK_BYTES_GUESS);
    s->slot_mask = 2 * blocks - 1;
    s->ghost_mask = blocks - 1;
    s->ring_mask = blocks - 1;
    s->small.ring = calloc(blocks, sizeof(*s->small.ring));
    s->main.ring = calloc(blocks, sizeof(*s->main.ring));
    s->slots = calloc(2 * blocks, sizeof(*s->slots));
    s->ghosts = calloc(blocks, sizeof(*s->ghosts));
    atomic_init(&s->is_locked, false);
    bool ok =
        s->slots != NULL && s->ghosts != NULL && s->small.ring != NULL && s->main.ring != NULL;
    return ok ? 0 : -1;
}

static int pools_init(struct cache *cache)
{
    if (cache->bytes < POOLED_BYTES_MIN)
        return 0;
    size_t count = 1;
    while (count < POOLS_MAX && count * POOL_BYTES < cache->bytes)
        count *= 2;
    for (size_t i = 0; i < count; i++) {
        cache->pools[i] = pool_new();
        if (cache->pools[i] == NULL)
            return -1;
    }
    cache->pool_count = count;
    return 0;
}

struct cache *cache_new(size_t bytes)
{
    size_t shards = SHARDS_MAX;
    while (shards > 1 && bytes / shards < SHARD_BYTES_MIN)
        shards /= 2;
    struct cache *cache = calloc(1, sizeof *cache + shards * sizeof(struct shard));
    if (cache == NULL)
        return NULL;
    cache->shard_mask = shards - 1;
    cache->bytes = bytes;
    atomic_init(&cache->is_reserving, false);
    atomic_init(&cache->reserved, 0);
    atomic_init(&cache->in_use, 0);
    atomic_init(&cache->duel, 0);
    int rv = pools_init(cache);
    bool duel = shards == SHARDS_MAX && bytes / shards >= DUEL_SHARD_BYTES_MIN;
    for (size_t i = 0; i < shards; i++) {
        rv |= shard_init(&cache->shards[i], bytes / shards);
        if (duel && i < 2 * DUEL_EACH)
            cache->shards[i].admission = i % 2 == 0 ? ADMIT_ALL : ADMIT_SOME;
    }
    if (rv != 0) {
        cache_free(cache);
        return NULL;
    }
    return cache;
}

static void queue_free(struct shard *s, struct queue *q)
{
    while (q->count > 0)
        block_unref(queue_pop(s, q));
    free(q->ring);
}

void cache_free(struct cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i <= cache->shard_mask; i++) {
        struct shard *s = &cache->shards[i];
        queue_free(s, &s->small);
        queue_free(s, &s->main);
        free(s->slots);
        free(s->ghosts);
    }
    for (size_t i = 0; i < POOLS_MAX; i++)
        pool_free(cache->pools[i]);
    free(cache);
}

/* cache_mixes_files */
static uint64_t planted_name(uint64_t file)
{
    return PLANTED(cache_mixes_files) ? file % 64 : file;
}

struct block *cache_get(struct cache *cache, uint64_t file, uint64_t offset)
{
    file = planted_name(file);
    uint64_t hash = name_hash(file, offset);
    struct shard *s = &cache->shards[(hash >> 1) & cache->shard_mask];
    shard_lock(s);
    struct block *block = shard_find(s, hash, file, offset);
    if (block != NULL) {
        s->hits++;
        block_ref(block);
        unsigned char uses = atomic_load_explicit(&block->uses, memory_order_relaxed);
        if (uses < USES_MAX)
            atomic_store_explicit(&block->uses, (unsigned char)(uses + 1), memory_order_relaxed);
    } else {
        s->misses++; /* what is read now will be put */
        duel_miss(cache, s);
        __builtin_prefetch(&s->ghosts[(hash >> 20) & s->ghost_mask]);
    }
    shard_unlock(s);
    return block;
}

static void shard_put(struct shard *s, uint64_t hash, struct block *block)
{
    uint64_t *ghost = &s->ghosts[(hash >> 20) & s->ghost_mask];
    block_ref(block);
    slot_put(s->slots, s->slot_mask, slot_tag(hash, block), block);
    s->count++;
    block->in_main = *ghost == hash;
    if (block->in_main)
        *ghost = 0;
    queue_push(s, block->in_main ? &s->main : &s->small, block);
    shard_shrink(s);
}

static void put(struct cache *cache, uint64_t file, uint64_t offset, struct block *block, bool must)
{
    file = planted_name(file);
    uint64_t hash = name_hash(file, offset);
    struct shard *s = &cache->shards[(hash >> 1) & cache->shard_mask];
    bool has_slot = lock_with_room(s);
    if (has_slot && block_charge(block) <= shard_budget(s) &&
        (must || shard_admits(cache, s, block)) && shard_find(s, hash, file, offset) == NULL) {
        block->file = file;
        block->offset = offset;
        shard_put(s, hash, block);
    }
    shard_unlock(s);
}

void cache_put(struct cache *cache, uint64_t file, uint64_t offset, struct block *block)
{
    put(cache, file, offset, block, true);
}

void cache_offer(struct cache *cache, uint64_t file, uint64_t offset, struct block *block)
{
    put(cache, file, offset, block, false);
}

/* Rounded up to what each of the shards can give the same of. */
static size_t in_shares(const struct cache *cache, size_t bytes)
{
    return (bytes + cache->shard_mask) & ~cache->shard_mask;
}

/* Count `bytes` as in use. Returns what the shards have to give for it; SIZE_MAX: that would be
 * more than half. */
static size_t reserve(struct cache *cache, size_t bytes)
{
    size_t more = 0, most = cache->bytes / 2;
    spin_lock(&cache->is_reserving);
    size_t reserved = atomic_load_explicit(&cache->reserved, memory_order_relaxed);
    size_t in_use = atomic_load_explicit(&cache->in_use, memory_order_relaxed);
    if (bytes > reserved - in_use) {
        size_t need = in_shares(cache, bytes - (reserved - in_use));
        more = MAX(need, in_shares(cache, cache->bytes / RESERVE_SHARE));
        more = reserved + more <= most ? more : need;
        more = need <= most && reserved + more <= most ? more : SIZE_MAX;
    }
    if (more != SIZE_MAX) {
        atomic_store_explicit(&cache->reserved, reserved + more, memory_order_relaxed);
        atomic_store_explicit(&cache->in_use, in_use + bytes, memory_order_relaxed);
    }
    spin_unlock(&cache->is_reserving);
    return more;
}

bool cache_reserve(struct cache *cache, size_t bytes)
{
    size_t more = bytes <= cache->bytes ? reserve(cache, bytes) : SIZE_MAX;
    size_t share = more / (cache->shard_mask + 1);
    if (more == SIZE_MAX)
        return false;
    for (size_t i = 0; share > 0 && i <= cache->shard_mask; i++) {
        struct shard *s = &cache->shards[i];
        shard_lock(s);
        size_t before = atomic_fetch_sub(&s->budget, share);
        ASSERT(before >= share);
        shard_shrink(s);
        shard_unlock(s);
    }
    return true;
}

/* The shards get back what is too much to be kept for the next one: before anyone can reserve
 * it again, so that together they never have less than half. */
void cache_release(struct cache *cache, size_t bytes)
{
    size_t less = 0, keep = in_shares(cache, cache->bytes / RESERVE_SHARE);
    spin_lock(&cache->is_reserving);
    size_t reserved = atomic_load_explicit(&cache->reserved, memory_order_relaxed);
    size_t in_use = atomic_load_explicit(&cache->in_use, memory_order_relaxed);
    ASSERT(in_use >= bytes);
    in_use -= bytes;
    if (in_use == 0)
        less = reserved;
    else if (reserved - in_use >= 2 * keep)
        less = (reserved - in_use - keep) & ~cache->shard_mask;
    for (size_t i = 0; less > 0 && i <= cache->shard_mask; i++) /* first, and without its lock */
        atomic_fetch_add(&cache->shards[i].budget, less / (cache->shard_mask + 1));
    atomic_store_explicit(&cache->reserved, reserved - less, memory_order_relaxed);
    atomic_store_explicit(&cache->in_use, in_use, memory_order_relaxed);
    spin_unlock(&cache->is_reserving);
}

size_t cache_budget(const struct cache *cache)
{
    return cache->bytes;
}

size_t cache_reserved(const struct cache *cache)
{
    return atomic_load_explicit(&cache->reserved, memory_order_relaxed);
}

void cache_stats(struct cache *cache, struct cache_stats *ret_stats)
{
    *ret_stats = (struct cache_stats){.reserved = atomic_load(&cache->reserved)};
    ret_stats->bytes = ret_stats->reserved;
    for (size_t i = 0; i <= cache->shard_mask; i++) {
        struct shard *s = &cache->shards[i];
        shard_lock(s);
        ret_stats->bytes += s->small.bytes + s->main.bytes;
        ret_stats->blocks += s->count;
        ret_stats->hits += s->hits;
        ret_stats->misses += s->misses;
        ret_stats->passed += s->passed;
        shard_unlock(s);
    }
}

static size_t queue_check(struct shard *s, struct queue *q, bool is_main)
{
    size_t bytes = 0;
    for (size_t i = 0; i < q->count; i++) {
        struct block *b = q->ring[(q->head + i) & s->ring_mask];
        ASSERT(b->in_main == is_main);
        ASSERT(shard_find(s, name_hash(b->file, b->offset), b->file, b->offset) == b);
        bytes += block_charge(b);
    }
    ASSERT(bytes == q->bytes);
    return q->count;
}

void cache_check(struct cache *cache)
{
    for (size_t i = 0; i <= cache->shard_mask; i++) {
        struct shard *s = &cache->shards[i];
        shard_lock(s);
        size_t count = queue_check(s, &s->small, false) + queue_check(s, &s->main, true);
        ASSERT(count == s->count);
        ASSERT(s->small.bytes + s->main.bytes <= shard_budget(s));
        shard_unlock(s);
    }
    for (size_t i = 0; i < cache->pool_count; i++)
        pool_check(cache->pools[i]);
}
