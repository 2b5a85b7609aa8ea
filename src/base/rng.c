/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void rng_init(struct rng *rng, uint64_t seed)
{
    for (size_t i = 0; i < ARRAY_LEN(rng->s); i++) {
        uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        rng->s[i] = z ^ (z >> 31);
    }
}

uint64_t rng_u64(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
    ASSERT(n > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t v = rng_u64(rng);
    while (v >= limit)
        v = rng_u64(rng);
    return v % n;
}

uint64_t rng_between(struct rng *rng, uint64_t lo, uint64_t hi)
{
    ASSERT(lo <= hi);
    if (lo == 0 && hi == UINT64_MAX)
        return rng_u64(rng);
    return lo + rng_below(rng, hi - lo + 1);
}

bool rng_chance(struct rng *rng, uint64_t num, uint64_t den)
{
    ASSERT(den > 0);
    return rng_below(rng, den) < num;
}

void rng_fill(struct rng *rng, void *data, size_t len)
{
    uint8_t *p = data;
    for (; len > 0;) {
        uint64_t v = rng_u64(rng);
        size_t n = MIN(len, sizeof v);
        memcpy(p, &v, n);
        p += n;
        len -= n;
    }
}
