/* SPDX-License-Identifier: Apache-2.0
 *
 * replicas — which replicas a store has: by replica id, by range, and in the order
 * of their spans, so that a key finds its range in a few comparisons.
 *
 * A blank replica has no span yet: it is found by its ids alone, until it is placed.
 *
 * Ownership  the set owns its arrays, never the replicas.
 * Invariants (S1) of one range there is at most one replica.
 *            (S2) spans of the replicas do not overlap (architecture.md, 7); `spans`
 *            stands in the order of their start keys.
 *            (S3) replicas_each() goes in order of their adding: nothing depends on
 *            a hash or an address.
 * Limits     blank ones are taken in up to REPLICAS_MAX in all. What an entry brings here that is
 *            committed (the right half of a split) has no limit: an entry that some stores cannot
 *            apply would end those, and end them again at each start.
 */
#ifndef STORE_REPLICAS_H_
#define STORE_REPLICAS_H_

#include "base/err.h"
#include "base/map.h"
#include "range/descriptor.h"

struct replica;

enum { REPLICAS_MAX = 1 << 16 };

struct replicas {
    /* private */
    struct map by_id;
    struct map by_range;
    struct replica **spans; /* those that are placed */
    uint32_t span_count;
    uint32_t cap;
    uint32_t limit; /* REPLICAS_MAX, but in tests */
};

/* Empty. */
void replicas_init(struct replicas *set);

/* Accepts zeroes. The replicas are not freed. */
void replicas_fini(struct replicas *set);

/* Take `r` in; unless it is blank it is placed, too. ERR_EXISTS: its id or its range is there
 * already, or its span overlaps another's; ERR_BUSY: it is blank, and the limit is reached;
 * ERR_NOMEM. The set is as it was then. */
int replicas_add(struct replicas *set, struct replica *r, struct err *err);

/* One that was blank has its span now. Errors as replicas_add(). */
int replicas_place(struct replicas *set, struct replica *r, struct err *err);

/* A placed replica, other than `except` (NULL is fine), whose span meets this one; NULL
 * if there is none. */
struct replica *replicas_overlap(const struct replicas *set, struct range_span span,
                                 const struct replica *except);

/* Forget one that is there. */
void replicas_remove(struct replicas *set, struct replica *r);

/* How many there are, damaged ones too. */
uint32_t replicas_count(const struct replicas *set);

/* Are there as many as may be? Then nothing is proposed that would make more. */
bool replicas_are_full(const struct replicas *set);

/* NULL if there is none. */
struct replica *replicas_get(const struct replicas *set, uint64_t replica_id);
struct replica *replicas_of_range(const struct replicas *set, uint64_t range_id);

/* Whose span holds this on-disk key; NULL if no one's. */
struct replica *replicas_at_key(const struct replicas *set, struct slice key);

/* Whose span holds the keys just below `key`: where a scan downwards from it begins. */
struct replica *replicas_below_key(const struct replicas *set, struct slice key);

/* Start with *cursor = 0; NULL at the end. Replicas may be removed meanwhile. */
struct replica *replicas_each(const struct replicas *set, uint32_t *cursor);

/* The placed one at `position` in the order of spans; NULL behind the last. */
struct replica *replicas_by_span(const struct replicas *set, uint32_t position);

/* Assert all invariants. */
void replicas_check(const struct replicas *set);

#endif
