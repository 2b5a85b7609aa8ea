/* SPDX-License-Identifier: Apache-2.0
 *
 * config — who is a member of a Raft group, and the bytes of a CHANGE entry.
 *
 * The encoding is the one that libraft's log entries use, so the library reads
 * our CHANGE entries and we read its; ours is bounded and strict:
 *
 *   u8 version = 1 | u64 count | count x { u64 replica id | store id in decimal,
 *   NUL-terminated | u8 role }            (little-endian)
 *
 * Units      a replica id is one member of one group, never used again; a store
 *            id is the store that it lives on.
 * Ownership  plain values; nothing is allocated.
 * Errors     what comes from disk or a peer is ERR_CORRUPT, never an assertion.
 * Invariants (G1) 1 to CONS_MEMBERS_MAX members; ids in [1, CONS_ID_MAX]; no id
 *            and no store twice; roles are voter or learner.
 *            (G2) order is meaningful and kept: new members stand at the end.
 */
#ifndef CONSENSUS_CONFIG_H_
#define CONSENSUS_CONFIG_H_

#include "base/base.h"
#include "base/err.h"

enum {
    CONS_MEMBERS_MAX = 16, /* as many as a range has places for: store/replica_apply.c */
    /* version, count, then id, 20 digits, NUL and role for each member */
    CONS_CONFIG_LEN_MAX = 9 + CONS_MEMBERS_MAX * (8 + 21 + 1),
};

/* Ids, terms and indexes from outside are bounded by this, so that no sum of
 * them can overflow. */
#define CONS_ID_MAX (UINT64_C(1) << 60)

/* As libraft numbers them; SPARE (2) is never used (T14). */
enum cons_role { CONS_LEARNER = 0, CONS_VOTER = 1 };

struct cons_member {
    uint64_t replica_id;
    uint64_t store_id;
    enum cons_role role;
};

struct cons_config {
    uint32_t n;
    struct cons_member members[CONS_MEMBERS_MAX];
};

/* 0, or ERR_INVALID with the reason if (G1) does not hold. */
int cons_config_validate(const struct cons_config *config, struct err *err);

/* Encode a valid configuration into `out` and return the length. */
size_t cons_config_encode(const struct cons_config *config, uint8_t out[CONS_CONFIG_LEN_MAX]);

/* Decode and validate; ERR_CORRUPT with the reason, *ret_config untouched. */
int cons_config_decode(struct slice in, struct cons_config *ret_config, struct err *err);

/* The member, or NULL. */
const struct cons_member *cons_config_find(const struct cons_config *config, uint64_t replica_id);

/* How many voters there are. */
uint32_t cons_config_voters(const struct cons_config *config);

/* True if `replica_id` is a voter and there is no other. */
bool cons_config_is_sole_voter(const struct cons_config *config, uint64_t replica_id);

/* Same members, stores and roles in the same order. */
bool cons_config_equal(const struct cons_config *a, const struct cons_config *b);

#endif
