/* SPDX-License-Identifier: Apache-2.0 */
#include "range/prefetch.h"

#include <stdlib.h>

enum { PREFETCH_FIRST = 16, KEYS_CHUNK = 4096 };
#define PREFETCH_KEYS_MAX ((size_t)256 << 20)

static void prefetch_execute(struct env_work *work);
static void prefetch_complete(struct env_work *work);

void prefetch_init(struct prefetch *prefetch, size_t bytes_max)
{
    ASSERT(bytes_max > 0);
    *prefetch = (struct prefetch){.bytes_max = bytes_max};
    arena_init(&prefetch->keys, KEYS_CHUNK, PREFETCH_KEYS_MAX);
    env_work_init(&prefetch->work, prefetch_execute, prefetch_complete, prefetch);
}

void prefetch_clear(struct prefetch *prefetch)
{
    for (uint32_t i = 0; i < prefetch->count; i++)
        lsm_value_fini(&prefetch->items[i].value);
    prefetch->count = 0;
    prefetch->sorted = 0;
    lsm_view_unref(prefetch->view);
    prefetch->view = NULL;
    prefetch->status = 0;
    arena_fini(&prefetch->keys);
    arena_init(&prefetch->keys, KEYS_CHUNK, PREFETCH_KEYS_MAX);
}

void prefetch_fini(struct prefetch *prefetch)
{
    prefetch_clear(prefetch);
    arena_fini(&prefetch->keys);
    free(prefetch->items);
    prefetch->items = NULL;
    prefetch->cap = 0;
}

int prefetch_want(struct prefetch *prefetch, struct slice key)
{
    ASSERT(!prefetch->is_running);
    ASSERT(key.len > 0);
    if (prefetch->count == prefetch->cap) {
        uint32_t cap = prefetch->cap == 0 ? PREFETCH_FIRST : prefetch->cap * 2;
        struct prefetch_item *items = realloc(prefetch->items, cap * sizeof *items);
        if (items == NULL)
            return ERR_NOMEM;
        prefetch->items = items;
        prefetch->cap = cap;
    }
    struct slice copy;
    if (!arena_copy(&prefetch->keys, key, &copy))
        return ERR_NOMEM;
    prefetch->items[prefetch->count] = (struct prefetch_item){
        .key = copy,
        .order = prefetch->count,
    };
    prefetch->count++;
    return 0;
}

/* By key; of equal ones what was read, or else noted, first. */
static int compare_keys(const void *a, const void *b)
{
    const struct prefetch_item *x = a;
    const struct prefetch_item *y = b;
    int c = slice_compare(x->key, y->key);
    if (c != 0)
        return c;
    if (x->is_read != y->is_read)
        return x->is_read ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int compare_order(const void *a, const void *b)
{
    const struct prefetch_item *x = a;
    const struct prefetch_item *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Each key once. */
static void unite(struct prefetch *p)
{
    uint32_t n = 0;
    qsort(p->items, p->count, sizeof *p->items, compare_keys);
    for (uint32_t i = 0; i < p->count; i++) {
        if (n > 0 && slice_equal(p->items[n - 1].key, p->items[i].key)) {
            ASSERT(!p->items[i].is_read);
            continue;
        }
        p->items[n++] = p->items[i];
    }
    p->count = n;
}

/* Keep what was read, ready to be searched. */
static void keep_read(struct prefetch *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->count; i++)
        if (p->items[i].is_read)
            p->items[n++] = p->items[i];
    p->count = n;
    p->sorted = n;
    if (n > 0)
        qsort(p->items, n, sizeof *p->items, compare_keys);
}

int prefetch_start(struct prefetch *prefetch, struct env *env, struct lsm *lsm,
                   void (*cb)(void *data), void *data)
{
    ASSERT(!prefetch->is_running);
    if (prefetch->view == NULL)
        prefetch->view = lsm_view_take(lsm);
    if (prefetch->view == NULL)
        return ERR_NOMEM;
    prefetch->cb = cb;
    prefetch->data = data;
    prefetch->status = 0;
    prefetch->err = (struct err){0};
    prefetch->is_running = true;
    env_work_submit(env, ENV_LANE_READ, &prefetch->work);
    return 0;
}

static void prefetch_execute(struct env_work *work)
{
    struct prefetch *p = work->data;
    size_t bytes = 0;
    if (p->count == 0)
        return;
    unite(p);
    qsort(p->items, p->count, sizeof *p->items, compare_order);
    for (uint32_t i = 0; i < p->count && bytes < p->bytes_max; i++) {
        struct prefetch_item *item = &p->items[i];
        if (item->is_read)
            continue;
        int rv = lsm_get(p->view, item->key, UINT64_MAX, 0, &item->value, &p->err);
        ASSERT(rv != ERR_WOULD_BLOCK);
        if (rv != 0 && rv != ERR_NOT_FOUND) {
            p->status = rv;
            break;
        }
        item->status = rv;
        item->is_read = true;
        bytes += rv == 0 ? item->value.data.len : 0;
    }
    keep_read(p);
}

static void prefetch_complete(struct env_work *work)
{
    struct prefetch *p = work->data;
    ASSERT(p->is_running);
    p->is_running = false;
    p->cb(p->data);
}

const struct prefetch_item *prefetch_find(const struct prefetch *prefetch, struct slice key)
{
    ASSERT(!prefetch->is_running);
    uint32_t lo = 0;
    uint32_t hi = prefetch->sorted;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = slice_compare(prefetch->items[mid].key, key);
        if (c == 0)
            return &prefetch->items[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}
