/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/memtable.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/pages.h"
#include "lsm/stock.h"

enum {
    HEIGHT_MAX = 13,       /* 3^13 nodes before the top level crowds */
    BRANCHING = 3,         /* one node of so many is also one level higher */
    CHUNK_FIRST = 4 << 10, /* small memtables stay small */
    CHUNK_SHARE = 16,      /* … and waste little by their last chunk */
    NODE_ALIGN = 8,
    COMMON_MAX = 32,       /* bytes that are skipped before abbreviating */
    LEARN_SAMPLES = 400,   /* at most so many nodes are looked at for them, … */
    LEARN_LEAST = 100,     /* … on the first level that has so many, … */
    LEARN_COUNT = 1000,    /* … and not in a small memtable */
    LEARN_GROWTH = 4,      /* one that knows its keys badly looks again when so much larger … */
    LEARN_LAST = 16000,    /* … unless copying it would take long: so many entries, … */
    LEARN_BYTES = 4 << 20, /* … or bytes */
    WALKS = 16,            /* searches side by side */
};

/* The way on. `abbreviation` is stored before and read after `next`, so what a reader sees
 * is that of `next` or, if a node came between meanwhile, smaller: it may say "before the
 * target" wrongly (the node itself is asked then), never "behind". */
struct link {
    _Atomic(struct node *) next;
    atomic_uint_fast64_t abbreviation;
};

/* Behind links[height]: expiry (u64, only ENTRY_PUT_EXPIRES), key, value. */
struct node {
    uint64_t version;
    uint64_t abbreviation;
    uint32_t key_len;
    uint32_t value_len;
    uint32_t write; /* number of the write that brought it */
    uint8_t kind;
    uint8_t height;
    struct link links[];
};

struct chunk {
    struct chunk *next;
    size_t cap;
    size_t used;
    _Alignas(NODE_ALIGN) uint8_t data[];
};

struct memtable {
    atomic_uint refs;
    struct stock *stock;  /* shared; NULL: none */
    struct chunk *chunks; /* the first is being filled */
    size_t chunk_max;
    size_t bytes;
    size_t count;
    uint32_t writes;
    uint32_t seed; /* of node heights: the same writes build the same list */
    _Atomic uint8_t height;
    struct node *head;
    size_t learn_at;   /* entries, when memtable_relearn() looks */
    size_t strangers;  /* entries whose keys do not begin with what is common */
    size_t common_len; /* fixed before the first write */
    uint8_t common[COMMON_MAX];
};

/* One of several searches that go down side by side: while one waits for memory, the
 * others go on. Only the writer's: links do not change under it. */
struct walk {
    struct slice key;
    uint64_t version;
    uint64_t abbreviation;
    bool is_exact;
    struct node *at;
    struct node *not_before; /* known to be >= from the level above */
    struct node *fetched;    /* asked for, to be compared at the next step */
    size_t level;
    struct node *prev[HEIGHT_MAX]; /* found: last node before on each level */
};

static size_t node_size(size_t height, size_t payload)
{
    size_t size = sizeof(struct node) + height * sizeof(struct link) + payload;
    return (size + NODE_ALIGN - 1) & ~(size_t)(NODE_ALIGN - 1);
}

static void *chunk_alloc(struct memtable *mem, size_t size)
{
    if (size != PAGES_LARGE)
        return pages_malloc(size);
    return mem->stock != NULL ? stock_take(mem->stock) : pages_alloc();
}

static void chunk_free(struct memtable *mem, struct chunk *chunk)
{
    if (chunk->cap + sizeof *chunk != PAGES_LARGE)
        free(chunk);
    else if (mem->stock != NULL)
        stock_give(mem->stock, chunk);
    else
        pages_free(chunk);
}

static int chunk_add(struct memtable *mem, size_t need)
{
    size_t size = CHUNK_FIRST;
    ASSERT(need < SIZE_MAX - sizeof(struct chunk));
    if (mem->chunks != NULL)
        size = MIN((mem->chunks->cap + sizeof(struct chunk)) * 2, mem->chunk_max);
    size = MAX(size, sizeof(struct chunk) + need);
    struct chunk *chunk = chunk_alloc(mem, size);
    if (chunk == NULL)
        return ERR_NOMEM;
    *chunk = (struct chunk){.next = mem->chunks, .cap = size - sizeof *chunk};
    if (mem->chunks != NULL)
        mem->bytes += mem->chunks->cap - mem->chunks->used; /* what is left there is lost */
    mem->chunks = chunk;
    return 0;
}

static void *arena_take(struct memtable *mem, size_t size)
{
    struct chunk *chunk = mem->chunks;
    ASSERT(chunk != NULL);
    ASSERT(chunk->cap - chunk->used >= size);
    void *p = chunk->data + chunk->used;
    chunk->used += size;
    mem->bytes += size;
    return p;
}

struct memtable *memtable_new(size_t bytes, struct stock *stock)
{
    struct memtable *mem = calloc(1, sizeof *mem);
    if (mem == NULL)
        return NULL;
    mem->stock = stock != NULL ? stock_ref(stock) : NULL;
    atomic_init(&mem->refs, 1);
    atomic_init(&mem->height, 1);
    mem->chunk_max = MIN(MAX(bytes / CHUNK_SHARE, (size_t)CHUNK_FIRST), (size_t)PAGES_LARGE);
    mem->seed = 0x9e3779b9;
    mem->learn_at = LEARN_COUNT;
    if (chunk_add(mem, node_size(HEIGHT_MAX, 0)) != 0) {
        stock_unref(mem->stock);
        free(mem);
        return NULL;
    }
    mem->head = arena_take(mem, node_size(HEIGHT_MAX, 0));
    memset(mem->head, 0, sizeof *mem->head);
    for (size_t i = 0; i < HEIGHT_MAX; i++) {
        atomic_init(&mem->head->links[i].next, NULL);
        atomic_init(&mem->head->links[i].abbreviation, UINT64_MAX);
    }
    mem->bytes = 0; /* an empty one counts as nothing, however many there are */
    return mem;
}

struct memtable *memtable_ref(struct memtable *mem)
{
    unsigned before = atomic_fetch_add_explicit(&mem->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return mem;
}

void memtable_unref(struct memtable *mem)
{
    if (mem == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&mem->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    for (struct chunk *c = mem->chunks, *next; c != NULL; c = next) {
        next = c->next;
        chunk_free(mem, c);
    }
    stock_unref(mem->stock);
    free(mem);
}

int memtable_reserve(struct memtable *mem, size_t count, size_t bytes)
{
    ASSERT(count <= SIZE_MAX / node_size(HEIGHT_MAX, NODE_ALIGN + sizeof(uint64_t)));
    size_t need = count * node_size(HEIGHT_MAX, NODE_ALIGN + sizeof(uint64_t)) + bytes;
    ASSERT(need >= bytes);
    if (mem->chunks->cap - mem->chunks->used >= need)
        return 0;
    return chunk_add(mem, need);
}

uint32_t memtable_write_begin(struct memtable *mem)
{
    ASSERT(mem->writes < MEMTABLE_WRITES_MAX);
    return ++mem->writes;
}

uint32_t memtable_writes(const struct memtable *mem)
{
    return mem->writes;
}

size_t memtable_bytes(const struct memtable *mem)
{
    return mem->bytes;
}

size_t memtable_count(const struct memtable *mem)
{
    return mem->count;
}

static const uint8_t *node_payload(const struct node *n)
{
    return (const uint8_t *)&n->links[n->height];
}

static size_t expiry_len(const struct node *n)
{
    return n->kind == ENTRY_PUT_EXPIRES ? sizeof(uint64_t) : 0;
}

static struct slice node_key(const struct node *n)
{
    return slice_of(node_payload(n) + expiry_len(n), n->key_len);
}

static void node_entry(const struct node *n, struct entry *ret_entry)
{
    struct slice key = node_key(n);
    *ret_entry = (struct entry){
        .key = key,
        .version = n->version,
        .value = slice_of(key.data + key.len, n->value_len),
        .kind = (enum entry_kind)n->kind,
    };
    if (n->kind == ENTRY_PUT_EXPIRES)
        memcpy(&ret_entry->expiry_ms, node_payload(n), sizeof ret_entry->expiry_ms);
}

static struct node *node_next(const struct node *n, size_t level)
{
    return atomic_load_explicit(&n->links[level].next, memory_order_acquire);
}

/* A number that never falls as keys ascend: the 8 bytes behind what is common. */
static uint64_t abbreviate(const struct memtable *mem, struct slice key)
{
    size_t skip = mem->common_len;
    if (key.len == 0)
        return 0;
    if (skip > 0) {
        int c = memcmp(key.data, mem->common, MIN(key.len, skip));
        if (c != 0)
            return c < 0 ? 0 : UINT64_MAX;
        if (key.len < skip)
            return 0;
    }
    if (key.len >= skip + 8)
        return get_u64be(key.data + skip);
    uint64_t v = 0;
    for (size_t i = skip; i < skip + 8; i++)
        v = v << 8 | (i < key.len ? key.data[i] : 0);
    return v;
}

/* Has who has this abbreviation and the length of `key` that very key? 0 and the maximum
 * stand for what is before and behind the common bytes, too. */
static inline bool abbreviation_is_exact(const struct memtable *mem, struct slice key,
                                         uint64_t abbreviation)
{
    return abbreviation != 0 && abbreviation != UINT64_MAX &&
           key.len <= mem->common_len + sizeof abbreviation;
}

/* Is `n`, whose abbreviation is the same, before the target? */
static inline bool node_is_before_equal(const struct node *n, struct slice key, uint64_t version,
                                        bool is_exact)
{
    if (is_exact && n->key_len == key.len)
        return n->version > version;
    return entry_compare(node_key(n), n->version, key, version) < 0;
}

/* Is `n` before the target? */
static inline bool node_is_before(const struct node *n, struct slice key, uint64_t version,
                                  uint64_t abbreviation, bool is_exact)
{
    if (n->abbreviation != abbreviation)
        return n->abbreviation < abbreviation;
    return node_is_before_equal(n, key, version, is_exact);
}

/* Last node < (key, version) on each level, from the top down; returns that of
 * level 0. ret_prev may be NULL. */
static struct node *find_before(const struct memtable *mem, struct slice key, uint64_t version,
                                struct node **ret_prev)
{
    uint64_t abbreviation = abbreviate(mem, key);
    bool is_exact = abbreviation_is_exact(mem, key, abbreviation);
    struct node *n = mem->head;
    struct node *not_before = NULL; /* known to be >= from the level above */
    for (size_t level = atomic_load_explicit(&mem->height, memory_order_acquire); level-- > 0;) {
        for (;;) {
            struct link *link = &n->links[level];
            struct node *next = atomic_load_explicit(&link->next, memory_order_acquire);
            if (next == NULL || next == not_before)
                break;
            uint64_t its = atomic_load_explicit(&link->abbreviation, memory_order_relaxed);
            if (its > abbreviation || !node_is_before(next, key, version, abbreviation, is_exact)) {
                not_before = next;
                break;
            }
            n = next;
        }
        if (ret_prev != NULL)
            ret_prev[level] = n;
    }
    return n;
}

static bool walk_is_before(const struct walk *w, const struct link *link, const struct node *next)
{
    uint64_t its = atomic_load_explicit(&link->abbreviation, memory_order_relaxed);
    return its == w->abbreviation ? node_is_before_equal(next, w->key, w->version, w->is_exact)
                                  : its < w->abbreviation;
}

/* One step on or down; false once it is at the bottom. */
static bool walk_step(struct walk *w)
{
    struct link *link = &w->at->links[w->level];
    struct node *next = atomic_load_explicit(&link->next, memory_order_relaxed);
    bool is_before = false;
    if (next != NULL && next != w->not_before) {
        uint64_t its = atomic_load_explicit(&link->abbreviation, memory_order_relaxed);
        if (its == w->abbreviation && next != w->fetched) {
            w->fetched = next;
            __builtin_prefetch(next);
            return true;
        }
        is_before = walk_is_before(w, link, next);
    }
    if (is_before) {
        w->at = next;
    } else {
        w->not_before = next;
        w->prev[w->level] = w->at;
        if (w->level == 0)
            return false;
        w->level--;
    }
    __builtin_prefetch(&w->at->links[w->level]);
    return true;
}

static void walk_begin(const struct memtable *mem, struct walk *w, const struct entry *e,
                       size_t height)
{
    w->key = e->key;
    w->version = e->version;
    w->abbreviation = abbreviate(mem, w->key);
    w->is_exact = abbreviation_is_exact(mem, w->key, w->abbreviation);
    w->at = mem->head;
    w->not_before = w->fetched = NULL;
    w->level = height - 1;
    for (size_t level = height; level < HEIGHT_MAX; level++)
        w->prev[level] = mem->head;
}

static void walk_all(const struct memtable *mem, struct walk *walks, const struct entry *entries,
                     size_t count)
{
    struct walk *going[WALKS];
    size_t height = atomic_load_explicit(&mem->height, memory_order_relaxed);
    ASSERT(count <= WALKS);
    for (size_t i = 0; i < count; i++) {
        going[i] = &walks[i];
        walk_begin(mem, &walks[i], &entries[i], height);
    }
    while (count > 0) {
        for (size_t i = 0; i < count;) {
            if (walk_step(going[i]))
                i++;
            else
                going[i] = going[--count];
        }
    }
}

/* Keys that lie a quarter from each end, on a level that has few nodes: what the two have
 * in common, most keys have. */
void memtable_learn(struct memtable *fresh, const struct memtable *before)
{
    const struct node *samples[LEARN_SAMPLES];
    size_t count = 0;
    ASSERT(fresh->count == 0);
    if (before->count < LEARN_COUNT)
        return;
    for (size_t level = HEIGHT_MAX; level-- > 0 && count < LEARN_LEAST;) {
        count = 0;
        for (const struct node *n = node_next(before->head, level);
             n != NULL && count < LEARN_SAMPLES; n = node_next(n, level))
            samples[count++] = n;
    }
    struct slice a = node_key(samples[count / 4]), b = node_key(samples[count - 1 - count / 4]);
    size_t len = 0, most = MIN(MIN(a.len, b.len), (size_t)COMMON_MAX);
    while (len < most && a.data[len] == b.data[len])
        len++;
    memcpy(fresh->common, a.data, len);
    fresh->common_len = len;
}

static size_t random_height(struct memtable *mem)
{
    size_t height = 1;
    uint32_t x = mem->seed;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    mem->seed = x;
    for (; height < HEIGHT_MAX && x % BRANCHING == 0; x /= BRANCHING)
        height++;
    return height;
}

/* The entry, with all but its links. */
static struct node *node_new(struct memtable *mem, const struct entry *e, size_t height,
                             uint32_t write)
{
    bool expires = e->kind == ENTRY_PUT_EXPIRES;
    size_t payload = (expires ? sizeof e->expiry_ms : 0) + e->key.len + e->value.len;
    struct node *n = arena_take(mem, node_size(height, payload));
    n->version = e->version;
    n->abbreviation = abbreviate(mem, e->key);
    n->key_len = (uint32_t)e->key.len;
    n->value_len = (uint32_t)e->value.len;
    n->write = write;
    n->kind = (uint8_t)e->kind;
    n->height = (uint8_t)height;
    uint8_t *p = (uint8_t *)&n->links[height];
    if (expires) {
        memcpy(p, &e->expiry_ms, sizeof e->expiry_ms);
        p += sizeof e->expiry_ms;
    }
    memcpy(p, e->key.data, e->key.len);
    if (e->value.len > 0)
        memcpy(p + e->key.len, e->value.data, e->value.len);
    mem->count++;
    mem->strangers +=
        e->key.len < mem->common_len || memcmp(e->key.data, mem->common, mem->common_len) != 0;
    return n;
}

static void node_link(struct node *prev, struct node *n, size_t level)
{
    struct link *link = &prev->links[level];
    struct node *next = atomic_load_explicit(&link->next, memory_order_relaxed);
    /* That of `next`, and the maximum if there is none: of one that was not looked at itself,
     * which would be a wait for memory. */
    uint64_t behind = atomic_load_explicit(&link->abbreviation, memory_order_relaxed);
    atomic_init(&n->links[level].next, next);
    atomic_init(&n->links[level].abbreviation, behind);
    atomic_store_explicit(&link->abbreviation, n->abbreviation, memory_order_relaxed);
    atomic_store_explicit(&link->next, n, memory_order_release);
}

/* After the links: a reader that sees the new height finds NULL or the node. */
static void raise_height(struct memtable *mem, size_t height)
{
    if (height > atomic_load_explicit(&mem->height, memory_order_relaxed))
        atomic_store_explicit(&mem->height, (uint8_t)height, memory_order_release);
}

/* Where the walk ended is the place, unless entries came between since. */
static void walk_insert(struct memtable *mem, const struct walk *w, const struct entry *e)
{
    size_t height = random_height(mem);
    struct node *n = node_new(mem, e, height, mem->writes);
    for (size_t level = 0; level < height; level++) {
        struct node *prev = w->prev[level];
        for (;;) {
            struct link *link = &prev->links[level];
            struct node *next = atomic_load_explicit(&link->next, memory_order_relaxed);
            if (next == NULL || !walk_is_before(w, link, next))
                break;
            prev = next;
        }
        node_link(prev, n, level);
    }
    raise_height(mem, height);
}

void memtable_add(struct memtable *mem, const struct entry *entries, size_t count)
{
    struct walk walks[WALKS];
    ASSERT(mem->writes > 0);
    while (count > 0) {
        size_t some = MIN(count, (size_t)WALKS);
        walk_all(mem, walks, entries, some);
        for (size_t i = 0; i < some; i++) {
            ASSERT(entries[i].key.len > 0);
            ASSERT(entries[i].key.len <= UINT32_MAX && entries[i].value.len <= UINT32_MAX);
            walk_insert(mem, &walks[i], &entries[i]);
        }
        entries += some;
        count -= some;
    }
}

/* Append all nodes of `from` in their order, each behind the last of its levels. */
static int copy_nodes(struct memtable *to, const struct memtable *from)
{
    struct node *last[HEIGHT_MAX];
    for (size_t level = 0; level < HEIGHT_MAX; level++)
        last[level] = to->head;
    for (const struct node *n = node_next(from->head, 0); n != NULL; n = node_next(n, 0)) {
        struct entry e;
        node_entry(n, &e);
        if (memtable_reserve(to, 1, e.key.len + e.value.len) != 0)
            return ERR_NOMEM;
        size_t height = random_height(to);
        struct node *copy = node_new(to, &e, height, n->write);
        for (size_t level = 0; level < height; level++) {
            node_link(last[level], copy, level);
            last[level] = copy;
        }
        raise_height(to, height);
    }
    to->writes = from->writes;
    return 0;
}

struct memtable *memtable_relearn(struct memtable *mem, size_t bytes)
{
    if (mem->count < mem->learn_at || mem->learn_at > LEARN_LAST || mem->bytes > LEARN_BYTES)
        return NULL;
    mem->learn_at *= LEARN_GROWTH;
    if (mem->common_len > 0 && mem->strangers <= mem->count / LEARN_GROWTH)
        return NULL;
    struct memtable *fresh = memtable_new(bytes, mem->stock);
    if (fresh == NULL)
        return NULL;
    memtable_learn(fresh, mem);
    fresh->learn_at = mem->learn_at;
    if (fresh->common_len == mem->common_len || copy_nodes(fresh, mem) != 0) {
        memtable_unref(fresh);
        return NULL;
    }
    ASSERT(fresh->count == mem->count);
    return fresh;
}

bool memtable_get(const struct memtable *mem, struct slice key, uint64_t version_max,
                  uint32_t limit, struct entry *ret_entry)
{
    const struct node *n = node_next(find_before(mem, key, version_max, NULL), 0);
    while (n != NULL && n->write > limit)
        n = node_next(n, 0);
    if (n == NULL || !slice_equal(node_key(n), key))
        return false;
    ASSERT(n->version <= version_max);
    node_entry(n, ret_entry);
    return true;
}

bool memtable_overlaps(const struct memtable *mem, struct slice start, struct slice end)
{
    const struct node *n = node_next(find_before(mem, start, UINT64_MAX, NULL), 0);
    return n != NULL && (end.len == 0 || slice_compare(node_key(n), end) < 0);
}

void memtable_check(const struct memtable *mem)
{
    size_t count = 0;
    const struct node *last = NULL;
    for (const struct node *n = node_next(mem->head, 0); n != NULL; n = node_next(n, 0)) {
        if (last != NULL) {
            int c = entry_compare(node_key(last), last->version, node_key(n), n->version);
            ASSERT(c <= 0);
            ASSERT(c < 0 || last->write >= n->write);
        }
        ASSERT(n->height > 0 && n->height <= HEIGHT_MAX);
        ASSERT(n->write <= mem->writes);
        ASSERT(n->abbreviation == abbreviate(mem, node_key(n)));
        ASSERT(last == NULL || last->abbreviation <= n->abbreviation);
        ASSERT(atomic_load_explicit(&(last == NULL ? mem->head : last)->links[0].abbreviation,
                                    memory_order_relaxed) == n->abbreviation);
        last = n;
        count++;
    }
    ASSERT(count == mem->count);
}

/* ---- cursor ------------------------------------------------------------- */

struct memtable_cursor {
    struct cursor base;
    const struct memtable *mem;
    const struct node *node;
    struct entry entry;
    uint32_t limit;
};

static void stand_on(struct memtable_cursor *c, const struct node *n)
{
    c->node = n;
    c->base.is_valid = n != NULL;
    if (n != NULL)
        node_entry(n, &c->entry);
}

static void stand_forward(struct memtable_cursor *c, const struct node *n)
{
    while (n != NULL && n->write > c->limit)
        n = node_next(n, 0);
    stand_on(c, n);
}

static void mem_seek(struct cursor *base, struct slice key, uint64_t version)
{
    struct memtable_cursor *c = container_of(base, struct memtable_cursor, base);
    stand_forward(c, node_next(find_before(c->mem, key, version, NULL), 0));
}

static void mem_next(struct cursor *base)
{
    struct memtable_cursor *c = container_of(base, struct memtable_cursor, base);
    stand_forward(c, node_next(c->node, 0));
}

/* The node in front of `n`. Among several nodes of one (key, version) the search
 * finds the place in front of the first, so the run of equals is walked by hand. */
static const struct node *node_before(const struct memtable *mem, const struct node *n)
{
    const struct node *p = find_before(mem, node_key(n), n->version, NULL);
    while (node_next(p, 0) != n)
        p = node_next(p, 0);
    return p;
}

static void stand_backward(struct memtable_cursor *c, const struct node *n)
{
    while (n != c->mem->head && n->write > c->limit)
        n = node_before(c->mem, n);
    stand_on(c, n == c->mem->head ? NULL : n);
}

static void mem_seek_before(struct cursor *base, struct slice key, uint64_t version)
{
    struct memtable_cursor *c = container_of(base, struct memtable_cursor, base);
    stand_backward(c, find_before(c->mem, key, version, NULL));
}

static void mem_prev(struct cursor *base)
{
    struct memtable_cursor *c = container_of(base, struct memtable_cursor, base);
    stand_backward(c, node_before(c->mem, c->node));
}

static void mem_last(struct cursor *base)
{
    struct memtable_cursor *c = container_of(base, struct memtable_cursor, base);
    const struct node *n = c->mem->head;
    for (size_t level = atomic_load_explicit(&c->mem->height, memory_order_acquire); level-- > 0;) {
        for (const struct node *next; (next = node_next(n, level)) != NULL;)
            n = next;
    }
    stand_backward(c, n);
}

static void mem_free(struct cursor *base)
{
    free(container_of(base, struct memtable_cursor, base));
}

static const struct cursor_ops memtable_cursor_ops = {
    .seek = mem_seek,
    .seek_before = mem_seek_before,
    .last = mem_last,
    .next = mem_next,
    .prev = mem_prev,
    .free = mem_free,
};

struct cursor *memtable_cursor(const struct memtable *mem, uint32_t limit)
{
    struct memtable_cursor *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->base.ops = &memtable_cursor_ops;
    c->base.at = &c->entry;
    c->mem = mem;
    c->limit = limit;
    return &c->base;
}
