/* SPDX-License-Identifier: Apache-2.0
 *
 * scan_cursor — where a scan stands, as bytes: which keys it goes over and how it reads them,
 * the place that it came to, and the version that it reads at there. Who keeps them can go on
 * later, or elsewhere.
 *
 *   start ─────────── position ────────────────── end
 *        was told        │ at the version of that range │ ranges to come: none yet
 *
 * In a hashed keyspace each slot is read at a version of its own, so there is a part for each;
 * the position is common to all, as far as a slot has no place of its own ahead of it.
 *
 *   bytes   u32 magic | u8 format = 1 | u64 cluster id | varint keyspace | u8 flags |
 *           u8 consistency | varint max_age_ms | varint at_version | key start | key end |
 *           key position | varint slots | parts | u32 crc32c of all before
 *   key     varint length, bytes
 *   part    u8 state + 4 if it has a place | u64 version, if AT | key place, if it has one
 *
 * Units      versions; keys are user keys, without slots. An empty end is behind the last key.
 * Ownership  slices of a decoded cursor point into the bytes that it was decoded from.
 * Errors     ERR_CORRUPT: those are not the bytes of a cursor, or not all; ERR_UNSUPPORTED:
 *            those of another format.
 * Invariants (S1) the position and all places are within the bounds. (S2) versions are those of
 *            the cluster that is named: where none is, there is no version.
 * Limits     SCAN_CURSOR_MAX bytes; few, but for hashed keyspaces.
 */
#ifndef CLIENT_SCAN_CURSOR_H_
#define CLIENT_SCAN_CURSOR_H_

#include "base/buf.h"
#include "base/coding.h"
#include "base/err.h"
#include "wire/request.h"

enum { SCAN_CURSOR_MAX = 16 << 20 /* bytes */ };

enum scan_part_state {
    SCAN_PART_FRESH = 0, /* what comes is read at a version of then */
    SCAN_PART_AT = 1,    /* what comes in the same range is read at `version` */
    SCAN_PART_OVER = 2,  /* nothing comes */
};

/* The whole scan, or that of one slot. */
struct scan_part {
    enum scan_part_state state;
    uint64_t version;   /* AT: at least 1; else 0 */
    struct slice place; /* ahead of the position; empty: it has none of its own */
};

struct scan_cursor {
    uint64_t cluster_id;      /* 0: it was not known yet */
    struct request_read read; /* as the caller said: how each range is begun */
    bool is_reverse;
    bool is_keys_only;
    struct slice start; /* the whole span */
    struct slice end;
    struct slice position; /* upwards: the first key to come; downwards: the one behind it;
                              empty: it did not begin */
    uint32_t slots;        /* 0: the keyspace is not hashed */
    struct slice parts;    /* encoded: `slots` of them, or one */
};

/* Append one part to what becomes `parts`. */
void scan_part_append(struct buf *parts, const struct scan_part *part);

/* The next of the parts of a cursor that was decoded, first `reader_of(cursor->parts)`. */
struct scan_part scan_part_next(struct reader *parts);

/* How many there are. */
static inline uint32_t scan_cursor_parts(const struct scan_cursor *cursor)
{
    return MAX(cursor->slots, UINT32_C(1));
}

/* Append its bytes. */
void scan_cursor_encode(const struct scan_cursor *cursor, struct buf *out);

/* *ret_cursor is written on success only. */
int scan_cursor_decode(struct slice bytes, struct scan_cursor *ret_cursor, struct err *err);

/* Does `a` stand ahead of `b` in the scan's direction? Places as in a cursor: an empty one is
 * where the scan begins. */
bool scan_cursor_is_ahead(const struct scan_cursor *cursor, struct slice a, struct slice b);

#endif
