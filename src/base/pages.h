/* SPDX-License-Identifier: Apache-2.0
 *
 * pages — blocks of memory that stand on large pages where the system has them.
 *
 * A structure of tens of megabytes that is searched at random spends most of its
 * time in translating addresses while it stands on small pages. What is asked here
 * changes how memory is mapped, never what a program can observe of it. (That blocks go back to
 * the system and leave no holes is seen to by env_uv_tune_memory().)
 *
 * And who copies a value of megabytes into fresh memory pays for each page that is touched the
 * first time, on small pages many times what the copy itself costs.
 *
 * Ownership  the caller's; freed with pages_free(), what pages_malloc() gave with free().
 * Threads    any.
 * Limits     one block is PAGES_LARGE bytes, all of them usable.
 */
#ifndef BASE_PAGES_H_
#define BASE_PAGES_H_

#include <stddef.h>

enum { PAGES_LARGE = 2 << 20 };

/* A block of PAGES_LARGE bytes, aligned to its size; NULL when memory is out. */
void *pages_alloc(void);
void pages_free(void *block); /* NULL is fine */

/* malloc(), for what may be large: from PAGES_LARGE on it begins at a large page and stands on as
 * many as it fills. realloc() of it is fine, but need not keep that. */
void *pages_malloc(size_t size);

#endif
