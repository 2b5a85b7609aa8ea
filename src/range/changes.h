/* SPDX-License-Identifier: Apache-2.0
 *
 * changes — what was written to the keys of a span after a version: each change once,
 * those of a key in order. A page from the feed (feed.h) where it reaches back so far,
 * else from the engine, which keeps old versions down to the safe point.
 *
 *   IDLE ──start(): from the feed ──▶ returns 0, outputs are there       (no cb)
 *     │ ──start(): refused ─────────▶ returns ERR_*                      (no cb)
 *     └───start(): behind the feed ─▶ READING on a view, ENV_LANE_READ
 *            returns ERR_WOULD_BLOCK      └──▶ IDLE, cb(status)
 *
 * A page from the feed goes over the whole span, and is cut between two versions. One
 * from the engine goes from key to key, and is cut between two keys or, for a key with
 * more changes than fit, between two changes of that key: see `cursor`.
 *
 * Every replica may answer at any time. Its changes are committed, and versions grow
 * along the log, so what it says to be complete is; one that lags only says less.
 *
 * An expiry is no change: it happens by comparison with range time (storage.md), and
 * each change tells when it will. A delete of an absent key is one.
 *
 * Units      versions; keys in are user keys.
 * Ownership  the op is the caller's memory and stays in place from start to `cb`, and so
 *            do start and end. It owns changes and cursor: range_changes_fini().
 * Threads    loop; what runs in the background touches the op and its view alone.
 * Errors     ERR_VERSION_GONE: `after` is below what the engine still has; `version` is
 *            the least that it may be. ERR_RANGE_CHANGED: `start` is outside the span.
 *            ERR_INVALID, ERR_TOO_LARGE: bounds. ERR_CORRUPT, ERR_IO: damage, named in
 *            `err`. ERR_NOMEM.
 * Invariants (G1) a page has every change of a key below the cursor with after < version
 *            <= `version`, and of the key at the cursor with after < version <=
 *            cursor_version; and nothing else.
 *            (G2) the changes of a key stand in order of version.
 * Limits     limit_bytes of keys and values, one change at least; a page from the feed
 *            one version at least (of at most budget.range_bytes_max). CHANGES_MAX
 *            changes, RANGE_STEPS_MAX records looked at.
 */
#ifndef RANGE_CHANGES_H_
#define RANGE_CHANGES_H_

#include "range/feed.h"
#include "range/read.h"

enum { CHANGES_MAX = 10000 /* of a page */ };

struct range_changes;

/* As range_read_cb. */
typedef void (*range_changes_cb)(struct range_changes *op, int status);

struct range_changes {
    /* in */
    void *data; /* caller's */
    uint32_t keyspace;
    struct slice start; /* included; empty: from the first key */
    struct slice end;   /* excluded; empty: to the last key */
    uint64_t after;
    uint64_t upto;        /* 0: as far as there is */
    uint32_t limit_bytes; /* 0: RANGE_PAGE_MAX */
    range_changes_cb cb;

    /* out, once it is over with status 0 */
    struct buf changes; /* change_append() after change_append() */
    uint32_t count;
    uint64_t version;        /* up to it the span below the cursor is complete */
    bool has_more;           /* there is a cursor: what is behind it was not looked at */
    struct buf cursor;       /* user key */
    uint64_t cursor_version; /* > 0: the key at the cursor itself is complete up to there */
    bool is_range_end;       /* the cursor is where the range ends */
    struct err err;

    /* private */
    enum range_read_state state;
    struct range *range;
    struct env_work work;
    struct lsm_view *view;
    struct buf lower; /* bounds on disk, within the range */
    struct buf upper;
    bool is_cut; /* the span goes on beyond this range */
    uint32_t steps;
    size_t bytes;
    int status;
};

/* Zero everything; inputs are set after. */
void range_changes_init(struct range_changes *op);

/* Free what it owns. Not while READING with the env running. Accepts zeroes. */
void range_changes_fini(struct range_changes *op);

/* See the picture. Outputs of an earlier use are forgotten, their memory is used again. */
int range_changes_start(struct range *range, struct range_changes *op);

/* An empty page: `version` is that of now, and a cursor tells where the range ends. */
int range_changes_now(struct range *range, struct range_changes *op);

#endif
