/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/stock.h"

#include <stdlib.h>

#include "base/pages.h"
#include "lsm/spin.h"

/* Where a block that is kept begins. */
struct kept {
    struct kept *next;
};

struct stock {
    atomic_uint refs;
    atomic_bool is_locked;
    size_t max; /* this and what follows: under the lock */
    struct kept *first;
    size_t count;
};

struct stock *stock_new(size_t max)
{
    struct stock *stock = calloc(1, sizeof *stock);
    if (stock == NULL)
        return NULL;
    stock->max = max;
    atomic_init(&stock->refs, 1);
    atomic_init(&stock->is_locked, false);
    return stock;
}

struct stock *stock_ref(struct stock *stock)
{
    unsigned before = atomic_fetch_add_explicit(&stock->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return stock;
}

void stock_unref(struct stock *stock)
{
    if (stock == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&stock->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    stock_limit(stock, 0);
    free(stock);
}

/* One of those that are kept, beyond the first `least`; NULL: there is none. */
static void *stock_pop(struct stock *stock, size_t least)
{
    struct kept *block = NULL;
    spin_lock(&stock->is_locked);
    if (stock->count > least) {
        block = stock->first;
        stock->first = block->next;
        stock->count--;
    }
    ASSERT((stock->count == 0) == (stock->first == NULL));
    spin_unlock(&stock->is_locked);
    return block;
}

void *stock_take(struct stock *stock)
{
    void *block = stock_pop(stock, 0);
    return block != NULL ? block : pages_alloc();
}

void stock_give(struct stock *stock, void *block)
{
    if (block == NULL)
        return;
    ASSERT((uintptr_t)block % PAGES_LARGE == 0);
    struct kept *kept = block;
    kept->next = NULL; /* its page is there now: the lock is not held over that */
    spin_lock(&stock->is_locked);
    bool is_kept = stock->count < stock->max;
    if (is_kept) {
        kept->next = stock->first;
        stock->first = kept;
        stock->count++;
    }
    spin_unlock(&stock->is_locked);
    if (!is_kept)
        pages_free(block);
}

void stock_limit(struct stock *stock, size_t max)
{
    void *block;
    spin_lock(&stock->is_locked);
    stock->max = max;
    spin_unlock(&stock->is_locked);
    while ((block = stock_pop(stock, max)) != NULL)
        pages_free(block);
}

size_t stock_count(struct stock *stock)
{
    spin_lock(&stock->is_locked);
    size_t count = stock->count;
    spin_unlock(&stock->is_locked);
    return count;
}
