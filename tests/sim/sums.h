/* SPDX-License-Identifier: Apache-2.0
 *
 * sums — what a replica digested, in one number. Threads pure.
 */
#ifndef TESTS_SIM_SUMS_H_
#define TESTS_SIM_SUMS_H_

#include "base/hash.h"
#include "range/digest.h"

/* Of replicas that are alike at one index it is the same. */
static inline uint64_t sums_fold(const struct range_digest_sums *s)
{
    uint64_t h = hash_mix(hash_mix(s->term, s->time_ms), s->last_version);
    h = hash_mix(hash_mix(h, s->history_hash), s->meta_hash);
    h = hash_mix(hash_mix(h, s->all.keys), s->all.bytes);
    h = hash_mix(hash_mix(h, s->all.hash[0]), s->all.hash[1]);
    for (uint32_t i = 0; i < s->part_count; i++)
        h = hash_mix(hash_mix(h, s->parts[i].sum.hash[0]), s->parts[i].last.len);
    return h;
}

#endif
