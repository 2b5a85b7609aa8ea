/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/coding.h"
#include "bench.h"

uint8_t *data_pool(uint64_t seed, uint64_t percent)
{
    enum { PIECE = 100 };
    struct rng rng;
    uint8_t *pool = malloc(POOL_BYTES + VALUE_MAX);
    if (pool == NULL)
        return NULL;
    rng_init(&rng, seed);
    size_t raw = MAX(PIECE * percent / 100, (size_t)1);
    for (size_t at = 0; at < POOL_BYTES; at += PIECE) {
        size_t len = MIN((size_t)PIECE, POOL_BYTES - at);
        for (size_t i = 0; i < len; i++)
            pool[at + i] = i < raw ? (uint8_t)(' ' + rng_below(&rng, 95)) : pool[at + i - raw];
    }
    memcpy(pool + POOL_BYTES, pool, VALUE_MAX);
    return pool;
}

struct slice data_key(const struct bench *b, uint64_t n, uint8_t out[KEY_MAX + 1])
{
    size_t len = b->set.key_size;
    put_u64be(out, n);
    out[0] = 1; /* db keeps keys that begin with 0 for itself */
    memset(out + 8, '0', len + 1 - 8);
    return slice_of(out, len);
}

struct slice data_value(struct run *run)
{
    size_t len = run->bench->set.value_size;
    if (run->pool_at + len > POOL_BYTES)
        run->pool_at = 0;
    struct slice value = slice_of(run->bench->pool + run->pool_at, len);
    run->pool_at += len;
    return value;
}
