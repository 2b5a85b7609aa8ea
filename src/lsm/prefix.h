/* SPDX-License-Identifier: Apache-2.0
 *
 * prefix — the 8 bytes of each key behind what all keys of a sorted list have in common, as
 * numbers: a search runs over one small array, and looks at keys only where these are equal.
 */
#ifndef LSM_PREFIX_H_
#define LSM_PREFIX_H_

#include "base/base.h"
#include "base/coding.h"

/* Bytes that two keys, the first and the last of a list, have in common: all have them. */
static inline size_t prefix_common(struct slice a, struct slice b)
{
    size_t n = MIN(a.len, b.len), i = 0;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

/* 8 bytes behind the first `skip`, as if zeroes followed a short key. */
static inline uint64_t prefix_of(struct slice key, size_t skip)
{
    if (key.len >= skip + 8)
        return get_u64be(key.data + skip);
    uint64_t prefix = 0;
    for (size_t i = skip; i < skip + 8; i++)
        prefix = prefix << 8 | (i < key.len ? key.data[i] : 0);
    return prefix;
}

/* First of [lo, hi) whose prefix is >= `prefix` (or, above, > it). */
static inline size_t prefix_bound(const uint64_t *prefixes, size_t lo, size_t hi, uint64_t prefix,
                                  bool above)
{
    size_t n = hi - lo;
    const uint64_t *at = prefixes + lo;
    while (n > 0) {
        size_t half = n / 2;
        bool right = above ? at[half] <= prefix : at[half] < prefix;
        at = right ? at + half + 1 : at;
        n = right ? n - half - 1 : half;
    }
    return (size_t)(at - prefixes);
}

/* Keys before *ret_lo are smaller than `key`, those from *ret_hi on are greater; what lies
 * between has its prefix. `common` are the `skip` bytes that every key begins with. */
static inline void prefix_range(const uint64_t *prefixes, size_t count, const uint8_t *common,
                                size_t skip, struct slice key, size_t *ret_lo, size_t *ret_hi)
{
    *ret_lo = *ret_hi = 0; /* before every key */
    int c = key.len == 0 ? -1 : 0;
    if (c == 0 && skip > 0)
        c = memcmp(key.data, common, MIN(key.len, skip));
    if (c == 0 && key.len < skip)
        c = -1;
    if (c > 0)
        *ret_lo = *ret_hi = count;
    if (c != 0)
        return;
    uint64_t prefix = prefix_of(key, skip);
    size_t lo = prefix_bound(prefixes, 0, count, prefix, false);
    bool is_equal = lo < count && prefixes[lo] == prefix;
    *ret_lo = lo;
    *ret_hi = is_equal ? prefix_bound(prefixes, lo, count, prefix, true) : lo;
}

#endif
