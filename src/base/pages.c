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

void pages_free(void *block)
{
    free(block);
}
