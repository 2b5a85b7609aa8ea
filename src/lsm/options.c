/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/lsm_internal.h"
#include "lsm/split.h"

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

int options_check(const struct lsm_options *o, struct err *err)
{
    if (o->memtable_bytes == 0 || o->memtables_max == 0 || o->block_bytes == 0 ||
        o->restart_every == 0 || o->table_bytes == 0 || o->l0_compact == 0 || o->l0_stop == 0 ||
        o->level_base_bytes == 0 || o->level_ratio < 2 || o->compact_shares == 0 ||
        o->compact_shares > SPLIT_SHARES_MAX || o->value_garbage_percent == 0 ||
        o->value_garbage_percent > 100 || o->retry_us_min == 0 ||
        o->retry_us_max < o->retry_us_min ||
        (o->memory_bytes > 0 && o->memory_bytes < LSM_MEMORY_MIN) || o->block_bytes > (4u << 20) ||
        o->filter_bits > 30)
        return err_set(err, ERR_INVALID, "an option of the engine is out of range");
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
