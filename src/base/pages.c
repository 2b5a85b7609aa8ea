/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/base.h"

void *pages_alloc(void)
{
    void *block = aligned_alloc(PAGES_LARGE, PAGES_LARGE);
    if (block == NULL)
        return NULL;
    ASSERT((uintptr_t)block % PAGES_LARGE == 0);
    (void)madvise(block, PAGES_LARGE, MADV_HUGEPAGE); /* refused: small pages do as well */
    return block;
}

void *pages_malloc(size_t size)
{
    void *p = NULL;
    if (size < PAGES_LARGE)
        return malloc(size);
    if (posix_memalign(&p, PAGES_LARGE, size) != 0)
        return NULL;
    ASSERT((uintptr_t)p % PAGES_LARGE == 0);
    (void)madvise(p, size / PAGES_LARGE * PAGES_LARGE, MADV_HUGEPAGE); /* refused: as above */
    return p;
}

void pages_free(void *block)
{
    free(block);
}
