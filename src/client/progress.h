/* SPDX-License-Identifier: Apache-2.0
 *
 * progress — how far a watch has come. Each range has versions of its own, and pages end
 * where they must, so a watched span is cut into pieces, each of which is complete up to a
 * version: every change of its keys up to there was told, and none beyond.
 *
 *   keys      start ─────┬───────────┬──────────────── end
 *   version     v1       │    v2     │       v3
 *
 * A page (wire/response.h, WATCH) moves one piece on: what it completes, the key that it
 * ended in, and the rest as it was. Pieces that stand at the same version in the same range
 * become one again. Written down, it is the token to go on from after a restart.
 *
 *   token   u8 format = 1 | varint keyspace | varint end_len, end | varint count |
 *           count times: varint start_len, start, u64 version, u8 is_from_now | u32 crc32c
 *
 * Units      versions; keys are user keys, an empty end is behind the last key.
 * Ownership  keys are copied. Slices of pieces are borrowed until the next change.
 * Errors     ERR_NOMEM; ERR_TOO_LARGE: more than PROGRESS_PIECES_MAX pieces. Both leave a
 *            progress that has come as far as before, if in more pieces.
 * Invariants (G1) starts ascend, the first is that of the span. (G2) a version only grows.
 *            (G3) a busy piece keeps its bounds until progress_page() or _release().
 */
#ifndef CLIENT_PROGRESS_H_
#define CLIENT_PROGRESS_H_

#include "base/buf.h"
#include "base/err.h"
#include "wire/response.h"

enum {
    PROGRESS_PIECES_MAX = 16384,
    PROGRESS_TOKEN_MAX = 64 << 20, /* bytes */
};

struct piece {
    uint8_t *start; /* owned */
    size_t start_len;
    uint64_t version;
    uint64_t range_id; /* whose version that is; 0: not known */
    uint64_t upto;     /* busy: as far as it was asked for; 0: no bound */
    uint64_t lost_us;  /* nobody has answered for it since; 0: somebody did, or nobody was asked */
    uint32_t failures; /* requests for it that were taken, and took too long, in a row */
    bool is_from_now;  /* its version is that of when it is first asked for */
    bool is_busy;      /* somebody asks for it */
};

struct progress {
    uint32_t keyspace;
    uint8_t *end; /* owned */
    size_t end_len;
    struct piece *pieces; /* owned */
    size_t count;
    size_t room;
};

/* One piece: [start, end) complete up to `version`, or from now on. ERR_INVALID: it is
 * empty; ERR_TOO_LARGE: a bound is longer than a key; ERR_NOMEM. */
int progress_init(struct progress *p, uint32_t keyspace, struct slice start, struct slice end,
                  uint64_t version, bool is_from_now);

/* From a token. ERR_CORRUPT, ERR_UNSUPPORTED, ERR_NOMEM; `p` is untouched then. */
int progress_decode(struct progress *p, struct slice token, struct err *err);

/* Accepts zeroes. */
void progress_fini(struct progress *p);

/* Append the token. */
void progress_encode(const struct progress *p, struct buf *out);

struct slice progress_start(const struct progress *p, size_t i);
struct slice progress_end(const struct progress *p, size_t i);

/* The piece that starts there; p->count if none does. */
size_t progress_find(const struct progress *p, struct slice start);

/* Every change up to this version was told, whatever the piece; 0 while one of them has
 * not begun. */
uint64_t progress_mark(const struct progress *p);

/* The piece that starts at `start` got a page, which a decoder has accepted, that was asked
 * for up to `end`: it is busy no more. Where no piece starts there, as in the copy of one
 * who has taken fewer pages, the span is cut so. ERR_INVALID: the page goes beyond. */
int progress_page(struct progress *p, struct slice start, struct slice end,
                  const struct response_watch *page);

/* What is behind `version` is given up: those pieces go on from there. */
void progress_raise(struct progress *p, uint64_t version);

/* It got none, though it was asked for from `since_us` on. `is_slow`: who was asked took it, and
 * took too long. */
void progress_release(struct progress *p, size_t i, uint64_t since_us, bool is_slow);

/* The time from which on nobody has answered for some piece; 0: there is none of these. */
uint64_t progress_lost_us(const struct progress *p);

/* May the piece be asked for now? Not while it is busy, nor while a neighbour in the same
 * range is still to catch up with it; nor, if `is_crowded`, while a neighbour of that range
 * is asked for: so that they can become one. */
bool progress_may_ask(const struct progress *p, size_t i, bool is_crowded);

/* How far to ask for it, so that it catches up with its neighbours; 0: no bound. */
uint64_t progress_upto(const struct progress *p, size_t i);

/* The key behind `key`, of those not longer than a key can be; into `out` of KEY_WIRE_MAX
 * bytes. Its length; 0: there is none. */
size_t progress_key_behind(struct slice key, uint8_t *out);

/* The end of all keys that begin with `prefix`, likewise; 0: the last key. */
size_t progress_prefix_end(struct slice prefix, uint8_t *out);

/* Assert G1. */
void progress_check(const struct progress *p);

#endif
