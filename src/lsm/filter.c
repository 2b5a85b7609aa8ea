/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/filter.h"

#include "base/coding.h"

enum { LINE = 64, LINE_BITS = 512, FOOT = 5, PROBES_MAX = 12 };

/* MurmurHash64A (Appleby), fixed seed. */
uint64_t filter_hash(struct slice key)
{
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t h = UINT64_C(0x8445d61a4e774912) ^ (key.len * m);
    const uint8_t *p = key.data;
    size_t left = key.len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t k = get_u64(p) * m;
        k ^= k >> 47;
        h = (h ^ (k * m)) * m;
    }
    if (left > 0) {
        uint64_t k = 0;
        for (size_t i = 0; i < left; i++)
            k |= (uint64_t)p[i] << (8 * i);
        h = (h ^ k) * m;
    }
    h ^= h >> 47;
    h *= m;
    return h ^ (h >> 47);
}

/* Upper half chooses the line; the probes walk through the lower. */
static size_t line_of(uint64_t hash, uint32_t lines)
{
    return (size_t)((hash >> 32) * lines >> 32);
}

static uint32_t next_probe(uint32_t *h)
{
    uint32_t bit = *h >> 23;
    *h *= UINT32_C(0x9e3779b9);
    return bit;
}

void filter_build(struct buf *out, const uint64_t *hashes, size_t count, unsigned bits_per_key)
{
    ASSERT(bits_per_key > 0);
    ASSERT(count < UINT32_MAX);
    uint64_t want = ((uint64_t)count * bits_per_key + LINE_BITS - 1) / LINE_BITS;
    uint32_t lines = (uint32_t)MAX(want, 1);
    unsigned probes = MIN(MAX(bits_per_key * 69 / 100, 1u), (unsigned)PROBES_MAX);
    uint8_t *p = buf_extend(out, (size_t)lines * LINE + FOOT);
    if (p == NULL)
        return;
    memset(p, 0, (size_t)lines * LINE);
    for (size_t i = 0; i < count; i++) {
        uint8_t *line = p + line_of(hashes[i], lines) * LINE;
        uint32_t h = (uint32_t)hashes[i];
        for (unsigned j = 0; j < probes; j++) {
            uint32_t bit = next_probe(&h);
            line[bit >> 3] |= (uint8_t)(1u << (bit & 7));
        }
    }
    put_u32(p + (size_t)lines * LINE, lines);
    p[(size_t)lines * LINE + 4] = (uint8_t)probes;
}

bool filter_is_sane(struct slice filter)
{
    if (filter.len < LINE + FOOT || (filter.len - FOOT) % LINE != 0)
        return false;
    const uint8_t *foot = filter.data + filter.len - FOOT;
    return get_u32(foot) == (filter.len - FOOT) / LINE && foot[4] > 0 && foot[4] <= PROBES_MAX;
}

void filter_prefetch(struct slice filter, uint64_t hash)
{
    if (filter.len >= LINE + FOOT) {
        uint32_t lines = (uint32_t)((filter.len - FOOT) / LINE);
        __builtin_prefetch(filter.data + line_of(hash, lines) * LINE);
    }
}

bool filter_may_contain(struct slice filter, uint64_t hash)
{
    ASSERT(filter.len >= LINE + FOOT);
    const uint8_t *foot = filter.data + filter.len - FOOT;
    const uint8_t *line = filter.data + line_of(hash, get_u32(foot)) * LINE;
    uint32_t h = (uint32_t)hash;
    for (unsigned j = foot[4]; j > 0; j--) {
        uint32_t bit = next_probe(&h);
        if ((line[bit >> 3] & (1u << (bit & 7))) == 0)
            return false;
    }
    return true;
}
