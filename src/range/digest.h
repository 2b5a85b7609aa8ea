/* SPDX-License-Identifier: Apache-2.0
 *
 * digest — checksums over a range at one applied index, so that its replicas can be
 * compared: over the meta, and over the latest record of each key that is there at
 * range time. What replicas forget at different times (older versions, deletes,
 * expired records) does not count.
 *
 *   range_digest_new(): view + meta ─▶ range_digest_next() ─cb─▶ … ─cb(is_done)─▶
 *        range_digest_sums() ─▶ compared by whoever asked
 *
 * Beside the sum of all there are those of up to RANGE_DIGEST_SPANS_MAX parts of the
 * span. A part ends at a key whose hash ends in `level` zero bits; when there are too
 * many, the level grows and neighbours become one. So the same keys give the same
 * parts on every replica, a part is a fair share of the keys whatever they are, and
 * where keys differ all other parts still have the same ends. A sum is one of 128-bit
 * hashes of records, so that those of neighbours can be added (Bellare & Micciancio's
 * AdHash, 1997; not meant against a forger).
 *
 * Units      bytes are those of keys and values counted.
 * Ownership  a heap object of its maker. It holds an engine view until it is done.
 * Threads    loop; work runs on ENV_LANE_SNAPSHOT.
 * Errors     ERR_CORRUPT, ERR_IO (damage at rest), ERR_NOMEM; then only free is left.
 * Invariants (G1) equal for equal meta and latest records, whatever memtables, files
 *            and garbage there are. (G2) `all` is the sum of the parts.
 * Limits     RANGE_DIGEST_SPANS_MAX parts, each with one key.
 */
#ifndef RANGE_DIGEST_H_
#define RANGE_DIGEST_H_

#include "range/range.h"

enum { RANGE_DIGEST_SPANS_MAX = 128 };

struct range_digest_sum {
    uint64_t keys;
    uint64_t bytes;
    uint64_t hash[2]; /* modulo 2^64 each */
};

struct range_digest_part {
    struct range_digest_sum sum;
    struct slice last; /* its last key as it stands on disk; owned by the digest. Empty:
                          the part goes to the end of the span */
};

struct range_digest_sums {
    uint64_t index; /* applied, with its term */
    uint64_t term;
    uint64_t time_ms; /* the range's, at the index */
    uint64_t last_version;
    uint64_t history_hash; /* over everything ever applied */
    uint64_t meta_hash;    /* over the whole meta record */
    struct range_digest_sum all;
    uint32_t part_count; /* complete only when done */
    struct range_digest_part parts[RANGE_DIGEST_SPANS_MAX];
};

struct range_digest;

/* `bytes` were read for this step. `is_done`: the sums are complete and the view is
 * given back. */
typedef void (*range_digest_cb)(void *data, int status, uint64_t bytes, bool is_done,
                                const struct err *err);

/* Take the view and note the meta, both of the applied index of now. ERR_NOMEM. */
int range_digest_new(struct range *range, struct range_digest **ret_digest, struct err *err);

/* Go on for about `bytes_max` bytes. `cb` runs exactly once, never from inside. Not
 * while one is in flight, nor after the end or an error. */
void range_digest_next(struct range_digest *digest, uint64_t bytes_max, range_digest_cb cb,
                       void *data);

/* How far it is; complete once done. Borrowed; not while a call is in flight. */
const struct range_digest_sums *range_digest_sums(const struct range_digest *digest);

/* Is a call in flight? Then free only after env_stop(). */
bool range_digest_is_busy(const struct range_digest *digest);
void range_digest_free(struct range_digest *digest); /* NULL is fine */

#endif
