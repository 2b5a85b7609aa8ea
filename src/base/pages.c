/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pages.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/base.h"

static atomic_size_t in_use;

#if defined(__SANITIZE_ADDRESS__)

/* Its own allocator sees leaks, and uses after the end. */
static void *take(void)
{
    return aligned_alloc(PAGES_LARGE, PAGES_LARGE);
}

static void give(void *block)
{
    free(block);
}

#else

static void *take(void)
{
    uint8_t *raw = mmap(NULL, (size_t)2 * PAGES_LARGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)raw % PAGES_LARGE;
    if (before > 0)
        (void)munmap(raw, before); /* refused: it is never touched */
    (void)munmap(raw + before + PAGES_LARGE, PAGES_LARGE - before);
    return raw + before;
}

static void give(void *block)
{
    int rv = munmap(block, PAGES_LARGE);
    ASSERT(rv == 0);
}

#endif

void *pages_alloc(void)
{
    void *block = take();
    if (block == NULL)
        return NULL;
    ASSERT((uintptr_t)block % PAGES_LARGE == 0);
    (void)madvise(block, PAGES_LARGE, MADV_HUGEPAGE); /* refused: small pages do as well */
    atomic_fetch_add_explicit(&in_use, PAGES_LARGE, memory_order_relaxed);
    return block;
}

void pages_free(void *block)
{
    if (block == NULL)
        return;
    size_t before = atomic_fetch_sub_explicit(&in_use, PAGES_LARGE, memory_order_relaxed);
    ASSERT(before >= PAGES_LARGE);
    give(block);
}

size_t pages_in_use(void)
{
    return atomic_load_explicit(&in_use, memory_order_relaxed);
}
