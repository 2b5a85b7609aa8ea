/* SPDX-License-Identifier: Apache-2.0
 *
 * descriptor — the truth about a range as it travels and as it is kept: id, span,
 * epoch, members. Replicated in the range itself.
 *
 * Units      the span's keys are on-disk keys: 0x02 | keyspace u32be | user key.
 * Limits     DESCRIPTOR_MEMBERS_MAX members, DESCRIPTOR_KEY_MAX bytes a bound. None comes about any
 *            more that has over DESCRIPTOR_CUT_MAX, but such as do are kept.
 */
#ifndef WIRE_DESCRIPTOR_H_
#define WIRE_DESCRIPTOR_H_

#include "base/buf.h"
#include "wire/msg.h"
#include "wire/pack.h"

enum {
    DESCRIPTOR_MEMBERS_MAX = 16,
    DESCRIPTOR_PREFIX_LEN = 5,      /* bytes that stand before a user key */
    DESCRIPTOR_KEY_MAX = 4096 + 64, /* bytes of a bound, as far as it is understood */
    /* Bytes of a place where a range may be cut: of the longest user key, on disk. Pages of scans
     * and of changes end where ranges do, and the next request begins there. */
    DESCRIPTOR_CUT_MAX = DESCRIPTOR_PREFIX_LEN + 4096,
};

enum member_role {
    MEMBER_VOTER = 1,
    MEMBER_LEARNER = 2,
    MEMBER_ROLE_LAST = MEMBER_LEARNER,
};

struct member {
    uint64_t replica_id; /* > 0, never used again */
    uint64_t store_id;   /* > 0 */
    enum member_role role;
    uint8_t store_uuid[STORE_UUID_LEN];
    struct slice address; /* "host:port", borrowed */
};

struct descriptor {
    uint64_t range_id;
    struct slice start;  /* borrowed; empty: from the first key */
    struct slice end;    /* borrowed; empty: to the last key */
    uint64_t conf_epoch; /* grows at each change of members */
    uint64_t span_epoch; /* grows at each split or merge */
    uint32_t member_count;
    struct member members[DESCRIPTOR_MEMBERS_MAX];
};

/* Append one msgpack value. */
void member_encode(struct buf *buf, const struct member *member);
void descriptor_encode(struct buf *buf, const struct descriptor *descriptor);

/* An array of members; `count` at most DESCRIPTOR_MEMBERS_MAX. */
void members_encode(struct buf *buf, const struct member *members, uint32_t count);

/* Read one value from the cursor, which goes bad if it is not acceptable: ids of
 * 0, unknown role, an address of 0 or over ADDRESS_MAX bytes, too many members, a
 * replica or store named twice, start not below end. *ret_x is rubbish then. */
void member_read(struct unpack *u, struct member *ret_member);
void descriptor_read(struct unpack *u, struct descriptor *ret_descriptor);

/* An array into `members`, which has room for DESCRIPTOR_MEMBERS_MAX; returns how
 * many, 0 if bad. */
uint32_t members_read(struct unpack *u, struct member *members);

/* All of `in` is one descriptor: 0, or ERR_CORRUPT with *ret_descriptor untouched. */
int descriptor_decode(struct slice in, struct descriptor *ret_descriptor, struct err *err);

/* The member with that replica id, NULL if there is none. */
const struct member *descriptor_member(const struct descriptor *descriptor, uint64_t replica_id);

/* Is `key` in [start, end)? */
bool descriptor_has_key(const struct descriptor *descriptor, struct slice key);

/* The bound, or, if it has over DESCRIPTOR_CUT_MAX bytes, the least place above it that has not,
 * in `out` of as many. No user key is between the two. Empty: there is no such place. */
struct slice descriptor_cut_at(struct slice bound, uint8_t *out);

/* The greatest place below `place` of at most DESCRIPTOR_CUT_MAX bytes, in `out` of as many; empty:
 * there is none. */
struct slice descriptor_key_below(struct slice place, uint8_t *out);

#endif
