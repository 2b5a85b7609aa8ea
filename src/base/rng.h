/* SPDX-License-Identifier: Apache-2.0
 *
 * rng — a small seeded generator (xoshiro256**, Blackman & Vigna 2018; seeded by
 * splitmix64). Not for secrets. The same seed gives the same run everywhere.
 */
#ifndef BASE_RNG_H_
#define BASE_RNG_H_

#include "base/base.h"

struct rng {
    uint64_t s[4];
};

/* Every seed is fine, 0 included. */
void rng_init(struct rng *rng, uint64_t seed);

/* The next 64 uniform bits. */
uint64_t rng_u64(struct rng *rng);

/* Uniform in [0, n); n > 0. */
uint64_t rng_below(struct rng *rng, uint64_t n);

/* Uniform in [lo, hi], both included; lo <= hi. */
uint64_t rng_between(struct rng *rng, uint64_t lo, uint64_t hi);

/* True with probability num/den; den > 0. */
bool rng_chance(struct rng *rng, uint64_t num, uint64_t den);

/* `len` uniform bytes; the same split of one stream gives other bytes. */
void rng_fill(struct rng *rng, void *data, size_t len);

#endif
