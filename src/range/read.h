/* SPDX-License-Identifier: Apache-2.0
 *
 * read — gets and scans of one range at its applied state. Whether this replica
 * may answer (leadership confirmed, applied far enough) is the caller's to know
 * before it starts one.
 *
 *   IDLE ──start(): all in memory──▶ returns 0, outputs are there        (no cb)
 *     │ ──start(): refused ────────▶ returns ERR_*                       (no cb)
 *     └───start(): would block ────▶ READING on a view, ENV_LANE_READ
 *            returns ERR_WOULD_BLOCK      └──▶ IDLE, cb(status)
 *
 * Rows are appended to `rows` in the form of wire/response.h, ready to be sent.
 *
 * Units      now_ms is the caller's wall clock; version as in storage.md.
 * Ownership  the op is the caller's memory and stays in place from start to `cb`;
 *            the slices in its inputs too. It owns rows and cursor: range_read_fini().
 * Threads    loop; what runs in the background touches the op and its view alone.
 * Errors     ERR_VERSION_GONE: at_version is below the safe point, or from before a merge
 *            that brought a key, or those where a scan begins (then with is_range_end).
 *            ERR_INVALID: at_version was never given here, or the bounds are upside down.
 *            ERR_RANGE_CHANGED: a key, or a bound of a scan, is outside the span, whatever
 *            the version.
 *            ERR_CORRUPT, ERR_IO: damage, named in `err`. ERR_NOMEM.
 *            ERR_STATE with needs_stamp: the caller's clock has passed the expiry
 *            of a record that would be returned: propose an entry without commands
 *            (its stamp at least now_ms), apply it, and start again with the same
 *            now_ms.
 *            ERR_BUSY with value_bytes, from the start of a GET alone: its value has so many,
 *            more than loop_bytes, and was not copied. Start it again without.
 * Off loop   A large value is copied in the lane though it is in memory (aside_bytes): to copy a
 *            megabyte may take longer than all else of a turn. There, too, `made` may do what is
 *            to be done with the rows.
 * Invariants (V1) all rows are of one version: that in `version`.
 *            (V2) an expired record is never returned; expiry is judged by range
 *            time when the read started, for an older version by the time of that
 *            version.
 *            (V3) the safe point was at or below the version when the view was taken.
 * Limits     RANGE_PAGE_MAX bytes of keys and values in a page (one row at least);
 *            RANGE_INLINE_MAX rows and loop_bytes on the loop, what is longer goes to the lane;
 *            RANGE_STEPS_MAX records looked at for one page.
 */
#ifndef RANGE_READ_H_
#define RANGE_READ_H_

#include "env/env.h"
#include "lsm/lsm.h"
#include "range/range.h"
#include "wire/pack.h"

enum {
    RANGE_PAGE_MAX = 4 << 20,       /* bytes of a scan's page */
    RANGE_MULTI_GET_MAX = 16 << 20, /* bytes; rows beyond say ERR_TOO_LARGE */
    RANGE_SCAN_KEYS_MAX = 10000,    /* rows of a page */
    RANGE_INLINE_MAX = 128,         /* rows handled on the loop */
    RANGE_STEPS_MAX = 1 << 16,      /* records looked at */
};

enum range_read_kind { RANGE_READ_GET, RANGE_READ_MULTI_GET, RANGE_READ_SCAN };
enum range_read_state { RANGE_READ_IDLE, RANGE_READ_READING };

struct range_read;

/* Exactly once if start() returned ERR_WOULD_BLOCK, never from inside. The op may
 * be freed or started again from inside. */
typedef void (*range_read_cb)(struct range_read *read, int status);

struct range_read {
    /* in */
    void *data; /* caller's */
    enum range_read_kind kind;
    uint32_t keyspace;
    uint64_t at_version;   /* 0: the latest */
    uint64_t now_ms;       /* 0: do not judge by the caller's clock (a follower) */
    struct slice key;      /* GET */
    struct pack_list keys; /* MULTI_GET, as request_decode() gives them */
    struct slice start;    /* SCAN: user key, included; empty: from the first */
    struct slice end;      /* SCAN: user key, excluded; empty: to the last */
    bool is_reverse;
    bool is_keys_only;
    uint32_t limit_keys;  /* 0: RANGE_SCAN_KEYS_MAX */
    uint32_t limit_bytes; /* 0: RANGE_PAGE_MAX */
    size_t loop_bytes;    /* of keys and values copied on the loop, at most; 0: any */
    size_t aside_bytes;   /* GET: a value of as many or more is copied off the loop; 0: none is */
    range_read_cb cb;
    int (*made)(struct range_read *read); /* off the loop, once the rows of a read there are: 0, or
                                             what is its status then; NULL: nothing */

    /* out, once it is over with status 0 */
    struct buf rows;    /* row_append() after row_append() */
    uint32_t row_count; /* one for each key; those of the page */
    uint64_t version;   /* at which it was read */
    bool has_more;      /* SCAN: go on at `cursor`, with at_version = version … */
    bool is_range_end;  /* … unless this: what follows is another range's, or was at `version` */
    struct buf cursor;  /* the next page's start, or its end if reverse */
    bool needs_stamp;   /* with ERR_STATE */
    size_t value_bytes; /* with ERR_BUSY */
    struct err err;     /* what failed */

    /* private */
    enum range_read_state state;
    struct range *range;
    struct env_work work;
    struct lsm_view *view;
    uint64_t judge_ms;      /* expired at or before */
    struct unpack next_key; /* MULTI_GET: where it goes on */
    uint32_t keys_left;     /* MULTI_GET: behind there */
    struct buf lower;       /* SCAN: bounds on disk of what is left */
    struct buf upper;
    bool is_cut;    /* SCAN: it goes on beyond this range */
    uint32_t steps; /* records looked at */
    size_t bytes;   /* of keys and values in rows */
    int status;
};

/* Zero everything; inputs are set after. */
void range_read_init(struct range_read *read);

/* Free rows and cursor (and, after env_stop(), the view). Not while READING with
 * the env running. Accepts zeroes. */
void range_read_fini(struct range_read *read);

/* See the picture. 0: done, outputs are there, no callback. ERR_WOULD_BLOCK: the
 * callback will come. Anything else: failed, no callback. Outputs of an earlier use
 * are forgotten, their memory is used again. */
int range_read_start(struct range *range, struct range_read *read);

#endif
