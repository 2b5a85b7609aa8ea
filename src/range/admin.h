/* SPDX-License-Identifier: Apache-2.0
 *
 * admin — entries of a range's log that change the range itself rather than its
 * data: where it is split, and how it is merged (merge.h). They share the COMMAND type
 * of Raft entries with those of entry.h and are told apart by their first byte.
 *
 *   u8 format = 2 | u8 kind | u64 stamp_ms | u64 epoch.conf | u64 epoch.span
 *   SPLIT: varint key_len, key | u64 range id | u8 count
 *          | count times: u64 store id, u64 replica id                little-endian
 *   the steps of a merge: u64 attempt | u64 the other range, then
 *   PREPARE: u64 left conf | u64 left span | u8 count | count times: u64 store id, u8 role
 *   COMMIT:  u64 index | u64 term
 *   ABORT:   varint key_len, key
 *   RETAIN (what stands before the steps of a merge is not there): u64 retention_ms
 *
 * Units      keys are on-disk keys; the stamp is as in entry.h.
 * Ownership  decoding borrows from the payload.
 * Errors     what does not decode ends the replica, like any entry. Whether it is
 *            right for the range is judged at apply, alike on every replica: if not,
 *            it changes nothing but range time.
 * Limits     RANGE_ADMIN_MAX bytes.
 */
#ifndef RANGE_ADMIN_H_
#define RANGE_ADMIN_H_

#include "range/descriptor.h"
#include "range/range.h"

enum { RANGE_ADMIN_MAX = 64 + RANGE_KEY_MAX + RANGE_REPLICAS_MAX * 16 }; /* bytes */

enum range_admin_kind {
    RANGE_ADMIN_SPLIT = 1,
    RANGE_ADMIN_PREPARE_MERGE = 2, /* in the right's log */
    RANGE_ADMIN_COMMIT_MERGE = 3,  /* in the left's, and the next two */
    RANGE_ADMIN_ABORT_MERGE = 4,
    RANGE_ADMIN_FORGET_MERGE = 5,
    RANGE_ADMIN_THAW = 6,   /* in the right's */
    RANGE_ADMIN_RETAIN = 7, /* keep old versions for so long from now on */
    RANGE_ADMIN_KIND_LAST = RANGE_ADMIN_RETAIN,
};

/* The right half's replica on a store that has one of the left half. */
struct range_child {
    uint64_t store_id;
    uint64_t replica_id;
};

/* The left keeps [start, key), a new range gets [key, end) (ranges.md, Split). */
struct range_split {
    struct slice key;
    uint64_t range_id; /* the new one's */
    uint32_t count;
    struct range_child children[RANGE_REPLICAS_MAX];
};

/* One step of a merge. */
struct range_merge {
    uint64_t attempt;  /* never 0; of this one attempt alone */
    uint64_t range_id; /* PREPARE, THAW: the left one; else the right one */
    /* PREPARE: the left, as it must still be when it commits */
    struct range_epoch left;
    uint32_t count;
    struct range_seat {
        uint64_t store_id;
        enum range_role role;
    } seats[RANGE_REPLICAS_MAX];
    /* COMMIT: where PREPARE stands in the right's log */
    uint64_t index;
    uint64_t term;
    /* ABORT: the right's start, which must be where the span of who aborts ends */
    struct slice key;
};

struct range_admin {
    enum range_admin_kind kind;
    uint64_t stamp_ms;
    struct range_epoch
        epoch; /* SPLIT, PREPARE, COMMIT, RETAIN: of the descriptor that it was planned for */
    union {
        struct range_split split;
        struct range_merge merge;
        uint64_t retention_ms; /* RETAIN: 1 to RANGE_RETENTION_MS_MAX */
    };
};

/* Is this the payload of an administrative entry, rather than of commands? */
bool range_admin_is(struct slice payload);

/* Append the payload. The fields must be in bounds (asserted). */
void range_admin_encode(const struct range_admin *admin, struct buf *out);

/* ERR_UNSUPPORTED for a later kind, ERR_CORRUPT; *ret_admin untouched on error. */
int range_admin_decode(struct slice payload, struct range_admin *ret_admin, struct err *err);

/* Is the range at exactly this epoch? 0 or ERR_RANGE_CHANGED. */
int range_admin_check_epoch(const struct range_descriptor *d, struct range_epoch epoch,
                            struct err *err);

/* 0, or ERR_RANGE_CHANGED while it is frozen for a merge. */
int range_admin_check_frozen(const struct range_meta *meta, struct err *err);

/* Would the split be done by a range in this state? 0; ERR_RANGE_CHANGED: it was
 * planned for another epoch, or its key is not inside the span; ERR_INVALID: it does not
 * name exactly one replica for each store, or uses an id twice. */
int range_split_judge(const struct range_meta *meta, const struct range_admin *admin,
                      struct err *err);

/* What the new range's first configuration is made of, before range_apply_split(): the
 * left's replicas under their new ids, in the same order. The split must be acceptable. */
size_t range_split_replicas(const struct range_descriptor *d, const struct range_split *split,
                            struct range_replica out[RANGE_REPLICAS_MAX]);

/* Apply the SPLIT at `index`, which must be applied_index + 1. *ret_status is 0 and
 * *ret_right (initialised and empty before) the meta that the right half is born with:
 * span, copies of sessions, floor, times and versions, `right_conf` as its Raft
 * configuration, at STORE's birth index and term; or *ret_status is why it was refused,
 * and `ret_right` stays empty. An error (ERR_NOMEM) leaves everything as it was. */
int range_apply_split(struct range *range, uint64_t index, uint64_t term,
                      const struct range_admin *admin, struct slice right_conf,
                      struct range_meta *ret_right, int *ret_status, struct err *err);

/* Would RETAIN be done by a range in this state? 0; ERR_RANGE_CHANGED: it was planned for
 * another epoch, or the range is frozen; ERR_INVALID: it is range 1, whose own retention is
 * that with which the cluster was founded. */
int range_retain_judge(const struct range_meta *meta, const struct range_admin *admin,
                       struct err *err);

/* Apply the RETAIN at `index`, which must be applied_index + 1. *ret_status 0: from this
 * version on the safe point follows range time at the new distance. A shorter one raises it
 * here and now, a longer one lowers it never: what is below it may be gone. */
void range_apply_retain(struct range *range, uint64_t index, uint64_t term,
                        const struct range_admin *admin, int *ret_status, struct err *err);

#endif
