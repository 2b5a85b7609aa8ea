/* SPDX-License-Identifier: Apache-2.0
 *
 * response — what a store answers to a request (request.h).
 *
 * Every status has one of three meanings: 0 is done; ERR_UNDETERMINED may or may
 * not have taken effect; any other error is definite: it did not and will not.
 *
 * Rows (of GET, MULTI_GET, SCAN), changes and stats are lists of encoded elements: the
 * server appends each one as it finds it, straight from where it lies.
 *
 * Ownership  as request.h.
 * Limits     RESPONSE_ROWS_MAX rows, RESPONSE_CHANGES_MAX changes; a body is at most FRAME_BODY_MAX
 * bytes.
 */
#ifndef WIRE_RESPONSE_H_
#define WIRE_RESPONSE_H_

#include "base/buf.h"
#include "wire/descriptor.h"
#include "wire/msg.h"
#include "wire/pack.h"
#include "wire/request.h"

enum {
    RESPONSE_ROWS_MAX = 65536,
    RESPONSE_AROUND_MAX = 64 << 10, /* bytes of a body beside its rows, changes or result: whoever
                                     * makes those leaves as much of FRAME_BODY_MAX */
    RESPONSE_STATS_MAX = 4096,
    RESPONSE_CHANGES_MAX = 65536,
    CHECK_PARTS_MAX = 256,
    CHECK_SUM_LEN = 16,
    CHECK_KEY_MAX = KEY_WIRE_MAX + 7,   /* as it stands on disk */
    CURSOR_WIRE_MAX = KEY_WIRE_MAX + 1, /* of which what the next request takes is KEY_WIRE_MAX */
};

/* Who leads, as far as the store that answers knows. */
struct leader_hint {
    uint64_t replica_id; /* 0: not known, and the rest is empty */
    uint64_t store_id;
    struct slice address;
};

struct row {
    int status;       /* 0, ERR_NOT_FOUND, or why this key could not be read */
    struct slice key; /* SCAN only; the others are in the order of the request */
    struct slice value;
    uint64_t version;
    uint64_t ttl_ms; /* left; 0: does not expire */
};

/* GET (one row), MULTI_GET (one for each key), SCAN */
struct response_rows {
    struct pack_list rows; /* row_append(), row_next() */
    uint64_t version;      /* at which it was read */
    bool has_more;         /* SCAN: a limit was met; go on at `cursor` */
    struct slice cursor;   /* SCAN: the next page's start, or its end if reverse */
    bool is_range_end;     /* SCAN: the rest is another range's, with versions of its own. With
                            * ERR_VERSION_GONE: all of it was, before a merge that `version` is
                            * older than */
};

/* Part of the protocol. */
enum change_kind {
    CHANGE_PUT = 1, /* whatever operation set the value */
    CHANGE_DELETE = 2,
    CHANGE_KIND_LAST = CHANGE_DELETE,
};

/* One change of one key. The changes of one command have the same version. */
struct change {
    enum change_kind kind;
    struct slice key;
    struct slice value; /* PUT: what it became */
    uint64_t version;
    uint64_t expiry_ms; /* PUT: range time at which it expires; 0: does not */
};

/* WATCH. The part of the span from its start to the cursor (all of it, unless has_more) is
 * complete: every change up to `version` is in this answer or was in those before. What is
 * behind the cursor is as far as it was before. With ERR_VERSION_GONE there is only
 * `version`: the least that `after` may be. */
struct response_watch {
    struct pack_list changes; /* change_append(), change_next(); each key's in order */
    uint64_t version;
    uint64_t range_id; /* whose versions these are */
    bool has_more;
    struct slice cursor;
    uint64_t cursor_version; /* > 0: the key at the cursor is complete to this version, for
                                it has more changes than go into one answer */
    bool is_range_end;       /* what is behind the cursor is another range's */
};

/* WRITE: as command_result_encode() wrote it; not looked into here. Also there
 * when the condition failed. */
struct response_write {
    struct slice result;
};

/* STATUS */
struct response_status {
    uint64_t cluster_id;
    uint64_t store_id;   /* who answers */
    uint64_t replica_id; /* its replica */
    uint64_t term;
    struct descriptor descriptor;
    struct pack_list stats; /* stat_append_*(), stat_next() */
};

/* IDENTIFY */
struct response_identify {
    uint64_t cluster_id; /* 0: not born */
    uint64_t store_id;   /* 0: none yet */
    bool is_born;        /* it belongs to a bootstrapped group */
    uint8_t store_uuid[STORE_UUID_LEN];
    uint32_t member_count; /* as stored at birth */
    struct member members[DESCRIPTOR_MEMBERS_MAX];
};

/* STATS */
struct response_stats {
    struct pack_list stats;
};

/* Part of the protocol. */
enum check_state {
    CHECK_STARTED = 1, /* CHECK_START: in the log at `index`, and applied by the leader */
    CHECK_BEHIND = 2,  /* the replica has not applied that index yet */
    CHECK_RUNNING = 3, /* it is reading */
    CHECK_DONE = 4,
    CHECK_FAILED = 5,  /* `why` says it */
    CHECK_MISSING = 6, /* nothing is known of it here: restarted since, for one */
    CHECK_STATE_LAST = CHECK_MISSING,
};

/* CHECK_START, CHECK_RESULT. Sums are those of range/digest.h: two numbers of 64 bits,
 * little-endian. */
struct response_check {
    uint64_t range_id;
    uint64_t replica_id;
    uint64_t index;
    uint64_t term; /* of the index */
    enum check_state state;
    uint64_t applied; /* by this replica, by now */
    uint64_t keys;    /* counted so far */
    uint64_t bytes;
    uint64_t time_ms; /* the range's, at the index */
    uint64_t last_version;
    uint64_t history_hash;
    uint64_t meta_hash;
    uint8_t sum[CHECK_SUM_LEN]; /* DONE; over all keys */
    struct pack_list parts;     /* DONE; check_part_append(), check_part_next() */
    struct slice why;           /* FAILED, MISSING */
};

/* A part of the range's keys, in their order. */
struct check_part {
    struct slice last; /* its last key, on-disk form; empty: it goes to the end */
    uint64_t keys;
    uint64_t bytes;
    uint8_t sum[CHECK_SUM_LEN];
};

/* JOIN */
struct response_join {
    uint64_t cluster_id;
    uint64_t store_id;      /* its own, for life */
    struct pack_list peers; /* book_item_next() (driver_msg.h): all stores */
};

enum { RESPONSE_COLUMNS_MAX = 32, RESPONSE_CELLS_MAX = 65536 };

/* PLACEMENT: a table, row by row; or a text for people, or both. */
struct response_placement {
    struct pack_list columns; /* names; of numbers and yes or no with '#' in front */
    struct pack_list cells;   /* texts: columns.count for each row */
    struct slice text;
};

struct response {
    uint64_t id;       /* of the request */
    uint64_t trace_id; /* of the request */
    int status;
    uint32_t retry_after_ms; /* ERR_BUSY: do not come back sooner; 0: no advice */
    struct slice text;       /* why, for people; cut at TEXT_MAX */
    struct leader_hint leader;
    uint64_t time_ms;       /* ERR_SESSION_EXPIRED: a first_sent that would do; else 0 */
    enum request_kind kind; /* of the request; 0: the answer has no more than the above */
    union {
        struct response_write write;
        struct response_rows rows;
        struct response_watch watch;
        struct response_status status_of;
        struct response_identify identify;
        struct response_stats stats;
        struct response_check check;
        struct response_join join;
        struct response_placement placement;
    };
};

/* Empty it for an answer to that kind (0: none but the head): what the kind does not have is not
 * touched, nor read by response_encode(), nor written by response_decode(). The whole struct is far
 * larger than most answers. */
void response_init(struct response *response, enum request_kind kind);

void response_encode(struct buf *buf, const struct response *response);
int response_decode(struct slice body, struct response *ret_response, struct err *err);

/* A client that reads a response twice looks at the id first: the id of a body
 * that is a response, whatever else it holds; 0 if malformed. */
uint64_t response_peek_id(struct slice body);

/* Append one row to a buf that becomes the `raw` of a list. */
void row_append(struct buf *raw, const struct row *row);

/* The next row of a list that response_decode() accepted. */
void row_next(struct unpack *cursor, struct row *ret_row);

void change_append(struct buf *raw, const struct change *change);

/* The next change of a list that response_decode() accepted. */
void change_next(struct unpack *cursor, struct change *ret_change);

/* One name or cell of a table. */
void cell_append(struct buf *raw, struct slice text);
struct slice cell_next(struct unpack *cursor);

void check_part_append(struct buf *raw, const struct check_part *part);

/* The next part of a list that response_decode() accepted. */
void check_part_next(struct unpack *cursor, struct check_part *ret_part);

/* One named figure or text of a status. */
struct stat_item {
    struct slice name;
    bool is_text;
    uint64_t number;
    struct slice text;
};

void stat_append_number(struct buf *raw, const char *name, uint64_t number);
void stat_append_text(struct buf *raw, const char *name, struct slice text);
void stat_next(struct unpack *cursor, struct stat_item *ret_item);

#endif
