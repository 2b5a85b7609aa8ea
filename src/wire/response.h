/* SPDX-License-Identifier: Apache-2.0
 *
 * response — what a store answers to a request (request.h).
 *
 * Every status has one of three meanings: 0 is done; ERR_UNDETERMINED may or may
 * not have taken effect; any other error is definite: it did not and will not.
 *
 * Rows (of GET, MULTI_GET, SCAN) and stats are lists of encoded elements: the
 * server appends each one as it finds it, straight from where it lies.
 *
 * Ownership  as request.h.
 * Limits     RESPONSE_ROWS_MAX rows; a body is at most FRAME_BODY_MAX bytes.
 */
#ifndef WIRE_RESPONSE_H_
#define WIRE_RESPONSE_H_

#include "base/buf.h"
#include "wire/descriptor.h"
#include "wire/msg.h"
#include "wire/pack.h"
#include "wire/request.h"

enum { RESPONSE_ROWS_MAX = 65536, RESPONSE_STATS_MAX = 4096 };

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
    bool is_range_end;     /* SCAN: the rest is another range's, with versions of its own */
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

struct response {
    uint64_t id;       /* of the request */
    uint64_t trace_id; /* of the request */
    int status;
    uint32_t retry_after_ms; /* ERR_BUSY: do not come back sooner; 0: no advice */
    struct slice text;       /* why, for people; cut at TEXT_MAX */
    struct leader_hint leader;
    enum request_kind kind; /* of the request; 0: the answer has no more than the above */
    union {
        struct response_write write;
        struct response_rows rows;
        struct response_status status_of;
        struct response_identify identify;
        struct response_stats stats;
    };
};

void response_encode(struct buf *buf, const struct response *response);
int response_decode(struct slice body, struct response *ret_response, struct err *err);

/* A client that reads a response twice looks at the id first: the id of a body
 * that is a response, whatever else it holds; 0 if malformed. */
uint64_t response_peek_id(struct slice body);

void row_append(struct buf *raw, const struct row *row);

/* The next row of a list that response_decode() accepted. */
void row_next(struct unpack *cursor, struct row *ret_row);

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
