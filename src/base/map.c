/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <stdlib.h>

#include "base/err.h"

enum { MAP_CAP_FIRST = 8, MAP_FEW = 8 /* entries that are looked through faster than hashed */ };

static uint32_t map_home(const struct map *map, uint64_t key)
{
    key ^= key >> 30;
    key *= UINT64_C(0xbf58476d1ce4e5b9);
    key ^= key >> 27;
    key *= UINT64_C(0x94d049bb133111eb);
    key ^= key >> 31;
    return (uint32_t)key & (map->slots_count - 1);
}

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_fini(struct map *map)
{
    free(map->entries);
    free(map->slots);
    map_init(map);
}

/* The slot that holds `key`, or the free one where it would go. */
static uint32_t map_slot(const struct map *map, uint64_t key)
{
    ASSERT(map->slots_count > 0);
    uint32_t slot = map_home(map, key);
    while (map->slots[slot] != 0 && map->entries[map->slots[slot] - 1].key != key)
        slot = (slot + 1) & (map->slots_count - 1);
    return slot;
}

void *map_get(const struct map *map, uint64_t key)
{
    if (map->used <= MAP_FEW) {
        for (uint32_t i = 0; i < map->used; i++)
            if (map->entries[i].key == key && map->entries[i].value != NULL)
                return map->entries[i].value;
        return NULL;
    }
    if (map->count == 0)
        return NULL;
    uint32_t at = map->slots[map_slot(map, key)];
    return at == 0 ? NULL : map->entries[at - 1].value;
}

/* New arrays for `cap` entries, live ones moved together in their order. */
static int map_rebuild(struct map *map, uint32_t cap)
{
    ASSERT(cap >= map->count);
    uint32_t slots_count = 16;
    while (slots_count / 4 * 3 < cap)
        slots_count *= 2;
    struct map_entry *entries = malloc(cap * sizeof *entries);
    uint32_t *slots = calloc(slots_count, sizeof *slots);
    if (entries == NULL || slots == NULL) {
        free(entries);
        free(slots);
        return ERR_NOMEM;
    }
    struct map new = {.cap = cap, .slots_count = slots_count, .entries = entries, .slots = slots};
    for (uint32_t i = 0; i < map->used; i++) {
        if (map->entries[i].value == NULL)
            continue;
        new.entries[new.used++] = map->entries[i];
        new.slots[map_slot(&new, map->entries[i].key)] = new.used;
    }
    new.count = new.used;
    ASSERT(new.count == map->count);
    map_fini(map);
    *map = new;
    return 0;
}

int map_put(struct map *map, uint64_t key, void *value)
{
    ASSERT(value != NULL);
    if (map->count > 0) {
        uint32_t at = map->slots[map_slot(map, key)];
        if (at != 0) {
            map->entries[at - 1].value = value;
            return 0;
        }
    }
    if (map->used == map->cap) {
        if (map->count >= MAP_COUNT_MAX)
            return ERR_NOMEM;
        /* grow only if the removed ones do not leave room for half as many again */
        uint32_t cap = map->count > map->cap / 2 ? map->cap * 2 : map->cap;
        int rv = map_rebuild(map, MAX(cap, (uint32_t)MAP_CAP_FIRST));
        if (rv != 0)
            return rv;
    }
    ASSERT(map->used < map->cap);
    map->entries[map->used++] = (struct map_entry){.key = key, .value = value};
    map->slots[map_slot(map, key)] = map->used;
    map->count++;
    return 0;
}

/* Close the gap at `slot`, so that every probe still ends at a free slot only
 * behind its key (Knuth 6.4, algorithm R). */
static void map_close_gap(struct map *map, uint32_t slot)
{
    uint32_t mask = map->slots_count - 1;
    uint32_t next = slot;
    for (;;) {
        next = (next + 1) & mask;
        if (map->slots[next] == 0)
            break;
        uint32_t home = map_home(map, map->entries[map->slots[next] - 1].key);
        if (((next - home) & mask) >= ((next - slot) & mask)) {
            map->slots[slot] = map->slots[next];
            slot = next;
        }
    }
    map->slots[slot] = 0;
}

void *map_remove(struct map *map, uint64_t key)
{
    if (map->count == 0)
        return NULL;
    uint32_t slot = map_slot(map, key);
    if (map->slots[slot] == 0)
        return NULL;
    struct map_entry *entry = &map->entries[map->slots[slot] - 1];
    void *value = entry->value;
    ASSERT(value != NULL);
    map_close_gap(map, slot);
    entry->value = NULL;
    map->count--;
    return value;
}

void *map_next(const struct map *map, uint32_t *cursor, uint64_t *ret_key)
{
    while (*cursor < map->used) {
        const struct map_entry *entry = &map->entries[(*cursor)++];
        if (entry->value == NULL)
            continue;
        if (ret_key != NULL)
            *ret_key = entry->key;
        return entry->value;
    }
    return NULL;
}

void map_check(const struct map *map)
{
    ASSERT(map->count <= map->used);
    ASSERT(map->used <= map->cap);
    uint32_t live = 0;
    uint32_t taken = 0;
    for (uint32_t i = 0; i < map->used; i++) {
        if (map->entries[i].value == NULL)
            continue;
        live++;
        ASSERT(map->slots[map_slot(map, map->entries[i].key)] == i + 1);
    }
    for (uint32_t i = 0; i < map->slots_count; i++)
        taken += map->slots[i] != 0;
    ASSERT(live == map->count);
    ASSERT(taken == map->count);
    ASSERT(map->slots_count == 0 || taken <= map->slots_count / 4 * 3);
}
