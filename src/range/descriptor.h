/* SPDX-License-Identifier: Apache-2.0
 *
 * descriptor — the truth about one range: its id, its span of on-disk keys, its
 * epoch and its replicas. It lives in the range's own replicated state; every
 * other copy is compared with it by epoch.
 *
 * Units      keys are on-disk keys (0x02 | keyspace u32be | user key for data).
 * Ownership  a descriptor owns the bytes of `start` and `end`.
 * Invariants (D1) start < end, by bytes.
 *            (D2) ids and both epochs are not 0.
 *            (D3) no two replicas share a replica id or a store id.
 * Limits     RANGE_REPLICAS_MAX replicas, RANGE_KEY_MAX bytes a key.
 */
#ifndef RANGE_DESCRIPTOR_H_
#define RANGE_DESCRIPTOR_H_

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"

/* The range of placement's own keys, which is never split or merged. */
#define RANGE_ID_SYSTEM UINT64_C(1)

enum {
    RANGE_REPLICAS_MAX = 16,
    RANGE_KEY_MAX = 4096 + 7, /* of a bound: two more than a key can have, and than is given now */
    RANGE_DESCRIPTOR_MAX = 2 * (RANGE_KEY_MAX + 4) + 64 + RANGE_REPLICAS_MAX * 24, /* bytes */
};

enum range_role { RANGE_ROLE_VOTER = 1, RANGE_ROLE_LEARNER = 2 };

struct range_replica {
    uint64_t replica_id; /* unique in the cluster, never used again */
    uint64_t store_id;
    enum range_role role;
};

struct range_epoch {
    uint64_t conf; /* grows at each membership change */
    uint64_t span; /* grows at each split or merge */
};

/* `[start, end)`, borrowed. */
struct range_span {
    struct slice start;
    struct slice end;
};

struct range_descriptor {
    uint64_t range_id;
    struct range_epoch epoch;
    uint8_t *start; /* owned */
    uint8_t *end;   /* owned */
    uint32_t start_len;
    uint32_t end_len;
    uint32_t replica_count;
    struct range_replica replicas[RANGE_REPLICAS_MAX];
};

static inline struct range_span range_descriptor_span(const struct range_descriptor *d)
{
    return (struct range_span){
        .start = slice_of(d->start, d->start_len),
        .end = slice_of(d->end, d->end_len),
    };
}

static inline bool range_span_contains(struct range_span span, struct slice key)
{
    return slice_compare(span.start, key) <= 0 && slice_compare(key, span.end) < 0;
}

/* Fill `d` (anything, not yet owning) with copies. ERR_INVALID if the outcome
 * would break D1..D3 or a limit; `d` is untouched on error. */
int range_descriptor_init(struct range_descriptor *d, uint64_t range_id, struct range_epoch epoch,
                          struct range_span span, const struct range_replica *replicas,
                          size_t replica_count, struct err *err);

/* Deep copy into `d`, which must own nothing. ERR_NOMEM. */
int range_descriptor_copy(struct range_descriptor *d, const struct range_descriptor *from);

/* Free what it owns; accepts zeroes, leaves zeroes. */
void range_descriptor_fini(struct range_descriptor *d);

/* Replace the members and give the new conf epoch. ERR_INVALID as init. */
int range_descriptor_set_replicas(struct range_descriptor *d, uint64_t conf_epoch,
                                  const struct range_replica *replicas, size_t replica_count,
                                  struct err *err);

/* The replica with this id, or NULL. */
const struct range_replica *range_descriptor_find(const struct range_descriptor *d,
                                                  uint64_t replica_id);

bool range_descriptor_equal(const struct range_descriptor *a, const struct range_descriptor *b);

/* Append the encoded form: format byte, ids, epoch, span, replicas. */
void range_descriptor_encode(const struct range_descriptor *d, struct buf *out);

/* The whole of `in` is one descriptor; the caller owns *ret_d. ERR_CORRUPT for
 * anything else, ERR_UNSUPPORTED for a newer format; untouched on error. */
int range_descriptor_decode(struct slice in, struct range_descriptor *ret_d, struct err *err);

/* Assert D1..D3. */
void range_descriptor_check(const struct range_descriptor *d);

#endif
