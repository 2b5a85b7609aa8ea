/* SPDX-License-Identifier: Apache-2.0
 *
 * stock — large blocks of memory that were given back, for who needs one next: the system would
 * have to fill each with zeroes again, a page at a time, while the store's loop waits.
 *
 * Ownership  shared: stock_ref(), stock_unref(). A block is whose took it.
 * Threads    any; a short lock.
 * Limits     blocks of PAGES_LARGE bytes. It keeps at most as many as it was told, and none that
 *            never was in use: what is used and what is kept together are never more than what was
 *            used at once.
 */
#ifndef LSM_STOCK_H_
#define LSM_STOCK_H_

#include <stddef.h>

struct stock;

/* To keep at most `max` blocks. NULL when memory is out. One reference. */
struct stock *stock_new(size_t max);
struct stock *stock_ref(struct stock *stock);
void stock_unref(struct stock *stock); /* NULL is fine */

/* A block, with whatever was in it before; NULL when memory is out. */
void *stock_take(struct stock *stock);

/* The other way. NULL is fine. */
void stock_give(struct stock *stock, void *block);

/* From now on it keeps at most `max`: what is beyond, or is given back later, goes to the system.
 */
void stock_limit(struct stock *stock, size_t max);

/* Blocks that are kept. */
size_t stock_count(struct stock *stock);

#endif
