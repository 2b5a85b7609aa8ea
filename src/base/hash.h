/* SPDX-License-Identifier: Apache-2.0
 *
 * hash — hash functions that are no checksums: a keyed one for tables whose keys
 * come from outside (nobody without the key can make them collide), and a mixing
 * step for running fingerprints.
 */
#ifndef BASE_HASH_H_
#define BASE_HASH_H_

#include "base/base.h"

/* SipHash-1-3 (Aumasson & Bernstein 2012) of `s` under a 128-bit key. */
uint64_t hash_keyed(const uint64_t key[2], struct slice s);

/* Fold `v` into the fingerprint `h`; order matters. */
static inline uint64_t hash_mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    h ^= h >> 32;
    return h * UINT64_C(0xd6e8feb86659fd93);
}

#endif
