/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>

#include "lsm/lsm_internal.h"
#include "lsm/split.h"

enum { FILTER_BITS_MAX = 30 };

void lsm_options_init(struct lsm_options *options)
{
    *options = (struct lsm_options){
        .memtable_bytes = 64 << 20,
        .memtables_max = 4,
        .block_bytes = 8 << 10,
        .restart_every = 16,
        .filter_bits = 10,
        .cache_bytes = 64 << 20,
        .table_bytes = 64 << 20,
        .l0_compact = 4,
        .l0_slow = 12,
        .l0_stop = 24,
        .level_base_bytes = 256 << 20,
        .level_ratio = 10,
        .compact_shares = 1,
        .manifest_bytes = 1 << 20,
        .value_bytes = 4 << 10,
        .value_garbage_percent = 25,
        .retry_us_min = 100000,
        .retry_us_max = 5000000,
    };
}

struct bound {
    const char *name;
    uint64_t value, min, max;
};

int options_check(const struct lsm_options *o, struct err *err)
{
    const struct bound bounds[] = {
        {"memory_bytes", o->memory_bytes, o->memory_bytes == 0 ? 0 : LSM_MEMORY_MIN, SIZE_MAX},
        {"memtable_bytes", o->memtable_bytes, 1, SIZE_MAX},
        {"memtables_max", o->memtables_max, 1, UINT_MAX},
        {"block_bytes", o->block_bytes, 1, LSM_BLOCK_MAX},
        {"restart_every", o->restart_every, 1, UINT_MAX},
        {"filter_bits", o->filter_bits, 0, FILTER_BITS_MAX},
        {"table_bytes", o->table_bytes, 1, SIZE_MAX},
        {"l0_compact", o->l0_compact, 1, UINT_MAX},
        {"l0_stop", o->l0_stop, 1, UINT_MAX},
        {"level_base_bytes", o->level_base_bytes, 1, SIZE_MAX},
        {"level_ratio", o->level_ratio, 2, UINT_MAX},
        {"compact_shares", o->compact_shares, 1, SPLIT_SHARES_MAX},
        {"retry_us_min", o->retry_us_min, 1, o->retry_us_max},
        {"value_garbage_percent", o->value_garbage_percent, 1, 100},
    };
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        const struct bound *b = &bounds[i];
        if (b->value < b->min || b->value > b->max)
            return err_set(err, ERR_INVALID, "%s of the engine is %llu: from %llu to %llu may be",
                           b->name, (unsigned long long)b->value, (unsigned long long)b->min,
                           (unsigned long long)b->max);
    }
    return 0;
}

/* Of the whole: memtables, one active and two frozen, 3/8; the cache as much; what is left is
 * for two builders (flush and compaction: hashes of keys and a filter, write buffers) and the
 * windows that a compaction reads its inputs by. */
static void fit_memory(struct lsm_options *o)
{
    o->memtable_bytes = MIN(o->memtable_bytes, o->memory_bytes / 8);
    o->memtables_max = MIN(o->memtables_max, 2u);
    o->table_bytes = MIN(o->table_bytes, o->memory_bytes / 8);
    o->cache_bytes = o->memory_bytes * 3 / 8;
    o->compact_shares = 1; /* each has a builder and windows of its own */
}

void options_fit(struct lsm_options *o)
{
    if (o->memory_bytes > 0)
        fit_memory(o);
    /* A base that is many times what comes down from L0 would be rewritten as many times. */
    uint64_t l0_bytes = (uint64_t)o->memtable_bytes * o->l0_compact;
    o->level_base_bytes = (size_t)MIN((uint64_t)o->level_base_bytes, l0_bytes);
}
