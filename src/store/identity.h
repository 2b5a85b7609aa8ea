/* SPDX-License-Identifier: Apache-2.0
 *
 * identity — who a store is: the file STORE in its data folder.
 *
 * A store draws a uuid when its folder is made and keeps it for life. Its store id and
 * its cluster come later, once, in one of three ways:
 *
 *                               ┌─ identity_found(): the first store of a new cluster
 *   identity_open(): new uuid ──┼─ identity_join(): range 1 has given it an id
 *                               └─ identity_bootstrap(): the members are told to all of
 *                                  them (tests of the rooms below placement)
 *
 * Others know (store id, uuid), so a wiped disk that comes back under its old store id
 * is told apart and refused (it would vote away acknowledged writes).
 *
 * Ownership  the caller's struct, no pointers inside.
 * Threads    blocking file calls; only at start, at bootstrap and when it joins.
 * Errors     ERR_CORRUPT for a damaged file, ERR_UNSUPPORTED for one of an earlier
 *            version, ERR_STATE for a folder that holds a log or an engine but no STORE
 *            file: never taken for an empty one.
 * Invariants (I1) the file is replaced as a whole: written aside, synced, renamed,
 *            folder synced. (I2) once set, uuid, store id, cluster id and first members
 *            never change.
 * Limits     IDENTITY_MEMBERS_MAX members.
 */
#ifndef STORE_IDENTITY_H_
#define STORE_IDENTITY_H_

#include "env/env.h"

enum {
    IDENTITY_MEMBERS_MAX = 16,
    IDENTITY_UUID_LEN = 16,
    IDENTITY_UUID_TEXT = 37, /* with the NUL */
};

struct identity_member {
    uint64_t replica_id;
    uint64_t store_id;
    uint8_t uuid[IDENTITY_UUID_LEN];
    char address[ENV_ADDRESS_MAX];
};

struct identity {
    uint8_t uuid[IDENTITY_UUID_LEN];
    uint64_t store_id;    /* 0 until it has a cluster, unless it was told */
    uint64_t cluster_id;  /* 0 until then */
    uint64_t boot_number; /* grows by one at each start; 0: none yet */
    bool is_born;         /* engine and log were made */
    bool is_founder;      /* of identity_found(): born with range 1, too */
    /* of the first data range, if it is born here; none in a store that joined */
    struct identity_member members[IDENTITY_MEMBERS_MAX];
    size_t member_count;
};

/* Load `dir`/STORE, or make it in a folder that holds nothing of a store yet.
 * `store_id` 0: whatever the folder says; else ERR_INVALID if it belongs to another one.
 * Writes nothing if it is there: a full disk does not keep from looking. */
int identity_open(struct env *env, const char *dir, uint64_t store_id,
                  struct identity *ret_identity, struct err *err);

/* Raise the boot number and save it. Until then it is the one of the life before, which
 * nobody may be told. */
int identity_count_boot(struct env *env, const char *dir, struct identity *identity,
                        struct err *err);

/* Record the cluster and its members for life. ERR_EXISTS if another cluster is
 * recorded already; 0 without writing if the very same is. */
int identity_bootstrap(struct env *env, const char *dir, struct identity *identity,
                       uint64_t cluster_id, const struct identity_member *members, size_t count,
                       struct err *err);

/* Found a cluster: this is its store 1, and the only member of its ranges. ERR_EXISTS if it
 * has a cluster already. */
int identity_found(struct env *env, const char *dir, struct identity *identity, uint64_t cluster_id,
                   const struct identity_member *self, struct err *err);

/* Range 1 has given this uuid the id `store_id`. ERR_EXISTS if it has another cluster or
 * another id already; 0 without writing if it has these. */
int identity_join(struct env *env, const char *dir, struct identity *identity, uint64_t cluster_id,
                  uint64_t store_id, struct err *err);

/* Engine and log of the first replica are durable: from now on, a folder without them
 * has lost them and is refused. */
int identity_set_born(struct env *env, const char *dir, struct identity *identity, struct err *err);

/* Note for life that what this folder holds is damaged, and why (file DAMAGED). */
int identity_mark_damaged(struct env *env, const char *dir, const char *reason, struct err *err);

/* ERR_CORRUPT, and the reason in `err`, if it was so noted; 0 if it was not. Any other
 * error: that cannot be told, and the folder must not be used. */
int identity_check_damage(struct env *env, const char *dir, struct err *err);

/* The member with this store id or replica id; NULL if there is none. */
const struct identity_member *identity_member_by_store(const struct identity *identity,
                                                       uint64_t store_id);
const struct identity_member *identity_member_by_replica(const struct identity *identity,
                                                         uint64_t replica_id);

static inline bool identity_is_bootstrapped(const struct identity *identity)
{
    return identity->cluster_id != 0;
}

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" into `out`. */
void identity_uuid_text(const uint8_t uuid[IDENTITY_UUID_LEN], char out[IDENTITY_UUID_TEXT]);

#endif
