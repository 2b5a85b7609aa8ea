/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/table_top.h"

#include <stdlib.h>

#include "base/err.h"
#include "lsm/block.h"
#include "lsm/prefix.h"

bool table_pin_set(struct table_pin *pin, struct cache *cache, struct block *block)
{
    struct block *none = NULL;
    if (!cache_reserve(cache, block_charge(block)))
        return false;
    block_ref(block);
    if (atomic_compare_exchange_strong(&pin->block, &none, block))
        return true;
    block_unref(block);
    cache_release(cache, block_charge(block));
    return false;
}

void table_pin_fini(struct table_pin *pin, struct cache *cache)
{
    struct block *block = atomic_exchange(&pin->block, NULL);
    if (block == NULL)
        return;
    cache_release(cache, block_charge(block));
    block_unref(block);
}

void table_parts_fini(struct table_parts *parts, struct cache *cache)
{
    for (size_t i = 0; i < parts->count; i++)
        table_pin_fini(&parts->items[i].pin, cache);
    free(parts->items);
    free(parts->prefixes);
    free(parts->keys);
    *parts = (struct table_parts){0};
}

/* The key of the entry before, of `len` bytes, once more, with another version: in memory it stands
 * once, or an index of one long key would be four times its block. */
static bool is_key_again(const struct block_iter *it, size_t len)
{
    return it->shared >= len && ikey_key(block_iter_key(it)).len == len;
}

/* Entries, and bytes of their keys; ERR_CORRUPT if it is no top index; ERR_NOMEM. */
static int measure(struct slice top, size_t *ret_count, size_t *ret_bytes)
{
    struct block_iter it;
    struct table_top at;
    size_t len = 0;
    bool ok = block_iter_init(&it, top) == 0;
    for (block_iter_first(&it); ok && it.is_valid; block_iter_next(&it)) {
        ok = table_top_decode(it.value, &at);
        *ret_count += 1;
        *ret_bytes += len > 0 && is_key_again(&it, len) ? 0 : ikey_key(block_iter_key(&it)).len;
        len = ikey_key(block_iter_key(&it)).len;
    }
    ok = ok && it.status == 0 && *ret_count > 0;
    int rv = it.status == ERR_NOMEM ? ERR_NOMEM : ERR_CORRUPT;
    block_iter_fini(&it);
    return ok ? 0 : rv;
}

int table_parts_load(struct table_parts *parts, struct slice top, struct err *err)
{
    struct block_iter it;
    size_t count = 0, bytes = 0, n = 0;
    int rv = measure(top, &count, &bytes);
    if (rv != 0)
        return err_set(err, rv, rv == ERR_NOMEM ? "key of an index" : "not an index");
    *parts = (struct table_parts){
        .items = calloc(count, sizeof(*parts->items)),
        .prefixes = calloc(count, sizeof(*parts->prefixes)),
        .keys = malloc(bytes),
    };
    if (parts->items == NULL || parts->prefixes == NULL || parts->keys == NULL) {
        table_parts_fini(parts, NULL);
        return err_set(err, ERR_NOMEM, "index of %zu entries", count);
    }
    uint8_t *at = parts->keys;
    block_iter_init(&it, top);
    for (block_iter_first(&it); it.is_valid; block_iter_next(&it)) {
        struct table_part *part = &parts->items[n++];
        struct slice key = ikey_key(block_iter_key(&it));
        if (n > 1 && is_key_again(&it, part[-1].key.len)) {
            part->key = part[-1].key;
        } else {
            memcpy(at, key.data, key.len);
            part->key = slice_of(at, key.len);
            at += key.len;
        }
        part->version = ikey_version(block_iter_key(&it));
        bool ok = table_top_decode(it.value, &part->at);
        ASSERT(ok);
    }
    rv = it.status;
    block_iter_fini(&it);
    if (rv == ERR_NOMEM) {
        table_parts_fini(parts, NULL);
        return err_set(err, rv, "key of an index");
    }
    parts->count = n;
    ASSERT(n == count);
    ASSERT(at == parts->keys + bytes);
    parts->skip = prefix_common(parts->items[0].key, parts->items[count - 1].key);
    for (size_t i = 0; i < count; i++)
        parts->prefixes[i] = prefix_of(parts->items[i].key, parts->skip);
    return 0;
}

size_t table_parts_find(const struct table_parts *parts, struct slice key, uint64_t version)
{
    size_t lo, hi;
    prefix_range(parts->prefixes, parts->count, parts->keys, parts->skip, key, &lo, &hi);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct table_part *part = &parts->items[mid];
        if (entry_compare(part->key, part->version, key, version) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}
