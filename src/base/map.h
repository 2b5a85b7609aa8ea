/* SPDX-License-Identifier: Apache-2.0
 *
 * map — 64-bit ids to pointers.
 *
 * Entries stand in an array in the order of their insertion, beside a table of
 * slots (open addressing, linear probing) that finds them: a lookup is one probe
 * in the common case, and iteration never depends on a hash or an address.
 *
 * Ownership  the map owns its arrays, never what the pointers point at.
 * Errors     ERR_NOMEM from map_put() leaves the map as it was.
 * Invariants (M1) count <= used <= cap; slots hold each live entry once.
 *            (M2) at most three quarters of the slots are taken.
 * Limits     MAP_COUNT_MAX entries. The hash is fixed and known: keys must be
 *            ids of our own, never chosen by a client.
 */
#ifndef BASE_MAP_H_
#define BASE_MAP_H_

#include "base/base.h"

enum { MAP_COUNT_MAX = 1 << 28 };

struct map_entry {
    uint64_t key;
    void *value; /* NULL: removed */
};

struct map {
    uint32_t count; /* live entries */
    /* private */
    uint32_t used; /* entries, removed ones included */
    uint32_t cap;
    uint32_t slots_count; /* a power of two, or 0 */
    struct map_entry *entries;
    uint32_t *slots; /* index + 1 into entries; 0 is free */
};

/* Empty; allocates nothing yet. */
void map_init(struct map *map);

/* Free the arrays; accepts zeroes. Empty and usable after. */
void map_fini(struct map *map);

/* What was put for `key`, NULL if nothing. */
void *map_get(const struct map *map, uint64_t key);

/* Set `key` to `value`, which is not NULL. A key that is there already keeps its
 * place in the order. 0 or ERR_NOMEM. Not while iterating. */
int map_put(struct map *map, uint64_t key, void *value);

/* Forget `key` and return what it had, NULL if nothing. Fine while iterating. */
void *map_remove(struct map *map, uint64_t key);

/* Iterate in order of insertion: start with *cursor = 0; the value and *ret_key
 * (may be NULL), or NULL at the end. */
void *map_next(const struct map *map, uint32_t *cursor, uint64_t *ret_key);

/* Assert all invariants. */
void map_check(const struct map *map);

#endif
