/* SPDX-License-Identifier: Apache-2.0
 *
 * sieve — which keys a watch tells of, where it has to follow more: in a hashed keyspace the keys
 * of a prefix, or between bounds, are in every slot. All slots are watched then, and what is
 * outside is left out. The token of such a watch tells of the bounds, too:
 *
 *   token   u8 0xc1 | u16be length, first key | u16be length, end | u32 crc32c of all before |
 *           the token of progress.h, which begins with its format, a small number
 *
 * Units      keys are user keys, without slots. An empty end is behind the last key.
 * Ownership  a sieve owns a copy of its bounds; zeroes are one that lets all pass.
 */
#ifndef CLIENT_SIEVE_H_
#define CLIENT_SIEVE_H_

#include "base/buf.h"

struct sieve {
    bool is_on;
    /* private */
    struct buf bounds; /* owned */
    size_t start_len;
};

void sieve_init(struct sieve *sieve);
void sieve_fini(struct sieve *sieve);

/* Let pass what is in [start, end). ERR_INVALID: nothing could be; ERR_NOMEM. */
int sieve_set(struct sieve *sieve, struct slice start, struct slice end);

/* Is it to be told of? */
bool sieve_passes(const struct sieve *sieve, struct slice key);

/* Append what stands in front of the other token; nothing if all passes. */
void sieve_encode(const struct sieve *sieve, struct buf *out);

/* Set it from what stands in front of a token, and take that off. ERR_INVALID: the bounds are not
 * as they were written, or nothing stands behind them; ERR_NOMEM. */
int sieve_decode(struct sieve *sieve, struct slice *token);

#endif
