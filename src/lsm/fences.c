/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/fences.h"

#include "base/err.h"
#include "lsm/block.h"
#include "lsm/prefix.h"

/* Entries, and bytes of all encoded keys; ERR_CORRUPT if it is no partition; ERR_NOMEM. */
static int measure(struct slice partition, size_t *ret_count, size_t *ret_bytes)
{
    struct block_iter it;
    struct table_handle at;
    size_t count = 0, bytes = 0;
    bool ok = block_iter_init(&it, partition) == 0;
    for (block_iter_first(&it); ok && it.is_valid; block_iter_next(&it)) {
        ok = table_partition_decode(it.value, &at);
        count++;
        bytes += it.key_len;
    }
    ok = ok && it.status == 0 && count > 0 && bytes <= UINT32_MAX;
    int rv = it.status == ERR_NOMEM ? ERR_NOMEM : ERR_CORRUPT;
    block_iter_fini(&it);
    *ret_count = count;
    *ret_bytes = bytes;
    return ok ? 0 : rv;
}

static size_t prefixes_at(void)
{
    return 2 * sizeof(uint32_t);
}

static size_t items_at(size_t count)
{
    return prefixes_at() + count * sizeof(uint64_t);
}

static size_t keys_at(size_t count)
{
    return items_at(count) + count * sizeof(struct fence);
}

struct fences fences_of(const struct block *block)
{
    struct fences f;
    ASSERT(block->len >= prefixes_at());
    memcpy(&f.count, block->data, sizeof f.count);
    memcpy(&f.skip, block->data + sizeof f.count, sizeof f.skip);
    ASSERT(block->len >= keys_at(f.count));
    f.prefixes = (const uint64_t *)(const void *)(block->data + prefixes_at());
    f.items = (const struct fence *)(const void *)(block->data + items_at(f.count));
    f.keys = block->data + keys_at(f.count);
    return f;
}

struct slice fences_key(const struct fences *f, size_t i)
{
    ASSERT(i < f->count);
    size_t begin = i == 0 ? 0 : f->items[i - 1].key_end;
    return slice_of(f->keys + begin, f->items[i].key_end - begin);
}

/* What was measured. 0, ERR_NOMEM. */
static int fill(struct block *block, struct slice partition, uint32_t count)
{
    struct block_iter it;
    uint64_t *prefixes = (uint64_t *)(void *)(block->data + prefixes_at());
    struct fence *items = (struct fence *)(void *)(block->data + items_at(count));
    uint8_t *keys = block->data + keys_at(count);
    uint32_t end = 0, n = 0;
    block_iter_init(&it, partition);
    for (block_iter_first(&it); it.is_valid; block_iter_next(&it), n++) {
        struct table_handle at = {0};
        bool ok = table_partition_decode(it.value, &at);
        ASSERT(ok && n < count);
        memcpy(keys + end, it.key, it.key_len);
        end += (uint32_t)it.key_len;
        items[n] = (struct fence){.offset = at.offset, .len = at.len, .key_end = end};
    }
    int rv = it.status;
    block_iter_fini(&it);
    if (rv == ERR_NOMEM)
        return rv;
    ASSERT(n == count);
    memcpy(block->data, &count, sizeof count);
    memset(block->data + sizeof count, 0, sizeof count);
    struct fences f = fences_of(block);
    struct slice first = ikey_key(fences_key(&f, 0));
    f.skip = (uint32_t)prefix_common(first, ikey_key(fences_key(&f, count - 1)));
    memcpy(block->data + sizeof count, &f.skip, sizeof f.skip);
    for (uint32_t i = 0; i < count; i++)
        prefixes[i] = prefix_of(ikey_key(fences_key(&f, i)), f.skip);
    return 0;
}

int fences_decode(struct cache *cache, struct slice partition, struct block **ret_block,
                  struct err *err)
{
    size_t count, bytes;
    int rv = measure(partition, &count, &bytes);
    if (rv == ERR_NOMEM)
        return err_set(err, rv, "key of an index");
    if (rv != 0)
        return err_set(err, rv, "index entries make no sense");
    struct block *block = cache_block_new(cache, 0, keys_at(count) + bytes);
    if (block == NULL)
        return err_set(err, ERR_NOMEM, "index of %zu entries", count);
    rv = fill(block, partition, (uint32_t)count);
    if (rv != 0) {
        block_unref(block);
        return err_set(err, rv, "key of an index");
    }
    *ret_block = block;
    return 0;
}

size_t fences_find(const struct fences *f, struct slice key, uint64_t version)
{
    size_t lo, hi;
    prefix_range(f->prefixes, f->count, f->keys, f->skip, key, &lo, &hi);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        struct slice ikey = fences_key(f, mid);
        if (entry_compare(ikey_key(ikey), ikey_version(ikey), key, version) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}
