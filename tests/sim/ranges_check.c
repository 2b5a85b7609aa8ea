/* SPDX-License-Identifier: Apache-2.0
 *
 * `range check` of ranges that are cut, merged and moved: whatever index two replicas of a range
 * digested, they must have come to the same; and what is kept of it keeps nobody from resting or
 * from leaving, which the others look after.
 */
#include <stdlib.h>

#include "base/map.h"
#include "ranges.h"
#include "sums.h"

enum { CHECK_EVERY = 12, CHECK_TIMEOUT_MS = 3000 };

struct ranges_check {
    struct rng rng;
    struct map seen; /* of sums, by range and index */
    struct map by;   /* which store had them first, likewise */
};

struct ranges_check *ranges_check_new(uint64_t seed)
{
    struct ranges_check *check = calloc(1, sizeof *check);
    ASSERT(check != NULL);
    rng_init(&check->rng, seed * 11 + 3);
    map_init(&check->seen);
    map_init(&check->by);
    return check;
}

void ranges_check_free(struct ranges_check *check)
{
    map_fini(&check->seen);
    map_fini(&check->by);
    free(check);
}

static void compare(struct ranges_check *check, size_t at, uint64_t range_id,
                    const struct range_digest_sums *sums)
{
    uint64_t key = range_id << 32 | sums->index;
    uint64_t hash = sums_fold(sums) | 1; /* 0 is none */
    uint64_t known = (uint64_t)(uintptr_t)map_get(&check->seen, key);
    uint64_t first = (uint64_t)(uintptr_t)map_get(&check->by, key);
    if (known != 0 && known != hash)
        die("two replicas of a range differ at one index");
    if (known != 0 && first != at + 1)
        ranges_met("check: compared");
    if (known == 0 && (map_put(&check->seen, key, (void *)(uintptr_t)hash) != 0 ||
                       map_put(&check->by, key, (void *)(uintptr_t)(at + 1)) != 0))
        die("out of memory");
}

void ranges_check_compare(struct ranges_check *check)
{
    for (size_t i = 0; check != NULL && i < run.rig.count; i++) {
        const struct range_digest_sums *sums;
        uint64_t id;
        for (uint32_t k = 0; is_up(i) && (id = store_range_at(run.rig.stores[i], k)) != 0; k++) {
            for (size_t n = 0; (sums = store_check_sums(run.rig.stores[i], id, n)) != NULL; n++)
                compare(check, i, id, sums);
        }
    }
}

void ranges_check_act(struct ranges_check *check)
{
    uint8_t raw[16];
    uint64_t range_id;
    if (rng_below(&check->rng, CHECK_EVERY) != 0)
        return;
    size_t at = leader_at(key_of((uint32_t)rng_below(&check->rng, KEYS), raw), &range_id);
    if (!ranges_can_ask(at))
        return;
    struct request request = {.kind = REQUEST_CHECK_START,
                              .timeout_ms = CHECK_TIMEOUT_MS,
                              .check = {.range_id = range_id}};
    rig_ask(&run.rig, at, &request);
}

void ranges_check_expect(struct cover *cover)
{
    cover_expect(cover, "check: compared");
}
