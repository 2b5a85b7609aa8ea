/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as each part of a table: a block of entries, an index, a footer, properties,
 * a filter, a compressed block. Decoding ends and reads nothing outside. */
#include <stdlib.h>

#include "base/err.h"
#include "lsm/block.h"
#include "lsm/fences.h"
#include "lsm/filter.h"
#include "lsm/table_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_entries(struct slice block)
{
    struct block_iter it;
    size_t forward = 0, backward = 0;
    if (block_iter_init(&it, block) == 0) {
        for (block_iter_first(&it); it.is_valid; block_iter_next(&it)) {
            struct entry e;
            struct table_top top;
            struct table_handle handle;
            ASSERT(++forward <= block.len);
            if (entry_decode(block_iter_key(&it), it.value, &e))
                ASSERT(e.key.len > 0);
            (void)table_top_decode(it.value, &top);
            (void)table_partition_decode(it.value, &handle);
        }
        for (block_iter_last(&it); it.is_valid; block_iter_prev(&it))
            ASSERT(++backward <= block.len * 2);
        block_iter_seek(&it, slice_str("key"), 7);
    }
    block_iter_fini(&it);
}

static void fuzz_fences(struct slice block)
{
    struct block *decoded = NULL;
    if (fences_decode(NULL, block, &decoded, NULL) != 0)
        return;
    struct fences f = fences_of(decoded);
    ASSERT(f.count > 0);
    ASSERT(fences_find(&f, slice_str("key"), 7) <= f.count);
    ASSERT(fences_find(&f, (struct slice){0}, 0) == 0);
    block_unref(decoded);
}

static void fuzz_compressed(struct slice payload)
{
    size_t len = 0;
    if (table_block_plain_len(payload, TABLE_BLOCK_LZ4, &len) != 0)
        return;
    ASSERT(len / 256 <= payload.len);
    uint8_t *plain = malloc(len > 0 ? len : 1);
    ASSERT(plain != NULL);
    if (table_block_plain(payload, TABLE_BLOCK_LZ4, plain, len) == 0)
        fuzz_entries(slice_of(plain, len));
    free(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct table_footer footer;
    struct table_props props;
    if (size == 0)
        return 0;
    struct slice rest = slice_of(data + 1, size - 1);
    switch (data[0] % 5) {
    case 0:
        fuzz_entries(rest);
        fuzz_fences(rest);
        break;
    case 1:
        fuzz_compressed(rest);
        break;
    case 2:
        if (table_footer_decode(rest, 1 << 20, &footer, NULL) == 0)
            ASSERT(footer.top.offset <= 1 << 20);
        break;
    case 3:
        if (table_props_decode(rest, &props, NULL) == 0)
            table_props_fini(&props);
        break;
    default:
        if (filter_is_sane(rest))
            (void)filter_may_contain(rest, filter_hash(slice_str("key")));
    }
    return 0;
}
