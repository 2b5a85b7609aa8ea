/* SPDX-License-Identifier: Apache-2.0
 *
 * `range check` under faults: whatever index two replicas digested, they must have come
 * to the same.
 */
#include "sim/cluster.h"
#include "sim/sums.h"

/* What was seen at that index, or room to note it. */
static struct cluster_digest *find(struct cluster *c, uint64_t index)
{
    for (size_t i = 0; i < CLUSTER_DIGESTS_MAX; i++) {
        if (c->digests[i].index == index)
            return &c->digests[i];
    }
    struct cluster_digest *next = &c->digests[c->digest_next++ % CLUSTER_DIGESTS_MAX];
    *next = (struct cluster_digest){.index = index};
    return next;
}

static void compare(struct cluster *c, uint32_t node, const struct range_digest_sums *sums)
{
    struct cluster_digest *seen = find(c, sums->index);
    uint64_t hash = sums_fold(sums);
    if ((seen->nodes & BIT(node)) != 0 && seen->hash == hash)
        return;
    if (seen->nodes != 0 && seen->hash != hash) {
        cluster_fail(c, "%s: its digest at index %llu differs from the others", c->nodes[node].host,
                     (unsigned long long)sums->index);
        return;
    }
    c->digests_compared += seen->nodes != 0;
    seen->hash = hash;
    seen->nodes |= BIT(node);
    sim_hash_add(c->sim, hash);
}

void cluster_compare_digests(struct cluster *c)
{
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        const struct cluster_node *n = &c->nodes[i];
        const struct range_digest_sums *sums;
        if (n->store == NULL || sim_node_is_dead(n->node))
            continue;
        for (size_t k = 0; (sums = store_check_sums(n->store, STORE_FIRST_RANGE_ID, k)) != NULL;
             k++)
            compare(c, i, sums);
    }
}
