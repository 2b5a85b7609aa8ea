/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers that are never given out twice. A block of them is made durable before the first
 * of it is given out (rows.c writes `want`); the rest of a block is lost with its driver.
 */
#include "placement/placement_internal.h"

static const uint32_t block_of[PLACEMENT_IDS_NR] = {
    [PLACEMENT_IDS_STORE] = 8,       [PLACEMENT_IDS_RANGE] = 1024,  [PLACEMENT_IDS_REPLICA] = 4096,
    [PLACEMENT_IDS_OPERATOR] = 4096, [PLACEMENT_IDS_KEYSPACE] = 64,
};

bool pl_ids_take(struct placement *p, enum placement_ids kind, uint32_t count, uint64_t *ret_ids)
{
    struct pl_ids *ids = &p->ids[kind];
    ASSERT(count <= block_of[kind]);
    ASSERT(ids->limit <= ids->want);
    /* ask before the last one is gone, so that nobody waits */
    if (ids->want - ids->next < block_of[kind] / 2 + count)
        ids->want = MAX(ids->want, ids->next) + block_of[kind];
    uint64_t limit = p->is_copy ? ids->want : ids->limit;
    if (ids->next + count > limit)
        return false;
    for (uint32_t i = 0; i < count; i++)
        ret_ids[i] = ids->next++;
    return true;
}

void pl_ids_used(struct placement *p, enum placement_ids kind, uint64_t id)
{
    struct pl_ids *ids = &p->ids[kind];
    if (id < ids->next)
        return;
    ids->next = id + 1;
    if (ids->want < ids->next)
        ids->want = ids->next + block_of[kind];
}
