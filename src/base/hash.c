/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include "base/coding.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t m)
{
    s->v3 ^= m;
    sip_round(s);
    s->v0 ^= m;
}

uint64_t hash_keyed(const uint64_t key[2], struct slice s)
{
    struct sip sip = {
        .v0 = key[0] ^ UINT64_C(0x736f6d6570736575),
        .v1 = key[1] ^ UINT64_C(0x646f72616e646f6d),
        .v2 = key[0] ^ UINT64_C(0x6c7967656e657261),
        .v3 = key[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t whole = s.len / 8 * 8;
    for (size_t i = 0; i < whole; i += 8)
        sip_word(&sip, get_u64(s.data + i));

    uint64_t tail = (uint64_t)s.len << 56;
    for (size_t i = whole; i < s.len; i++)
        tail |= (uint64_t)s.data[i] << (8 * (i - whole));
    sip_word(&sip, tail);

    sip.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&sip);
    return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}
