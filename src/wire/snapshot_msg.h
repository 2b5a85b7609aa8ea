/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshot_msg — the stream that carries a range's applied state to a replica that
 * the log can no longer serve, on a connection of its own (HELLO_SNAPSHOT).
 *
 *   begin ──▶ chunk 0 ──▶ chunk 1 … ──▶ end        ◀── ack (after begin, now and
 *                                                       then, and once at the end)
 *
 *   after a cut:  resume ──▶  ◀── ack (so far)  ──▶ the next chunk … ──▶ end
 *
 * Limits     a chunk carries at most SNAPSHOT_CHUNK_MAX bytes.
 */
#ifndef WIRE_SNAPSHOT_MSG_H_
#define WIRE_SNAPSHOT_MSG_H_

#include "base/buf.h"
#include "wire/msg.h"

enum {
    SNAPSHOT_CHUNK_MAX = 1 << 20,
    SNAPSHOT_META_MAX = 4 << 20, /* session rows and all */
    SNAPSHOT_CONFIGURATION_MAX = 64 << 10,
};

struct snapshot_begin {
    uint64_t group; /* range id */
    uint64_t from_replica;
    uint64_t to_replica;
    uint64_t stream;     /* drawn for each attempt; all that follows carries it */
    uint64_t term;       /* the sender's current term */
    uint64_t last_index; /* the state is that after this entry */
    uint64_t last_term;
    uint64_t conf_index;
    struct slice configuration; /* borrowed; consensus' own encoding, committed */
    struct slice meta;          /* borrowed; range's own encoding */
};

/* Opens a stream in the place of one that was cut, of the same number: the receiver says how
 * much it has, or ends it if it has nothing of that. */
struct snapshot_resume {
    uint64_t group;
    uint64_t from_replica;
    uint64_t to_replica;
    uint64_t stream;
    uint64_t term; /* the sender's current term */
    uint64_t last_index;
    uint64_t last_term;
};

struct snapshot_chunk {
    uint64_t stream;
    uint64_t seq;      /* 0, 1, 2 … */
    struct slice data; /* borrowed; never empty */
};

struct snapshot_end {
    uint64_t stream;
    uint64_t chunks;
    uint64_t bytes;  /* sum of all chunks' data */
    uint32_t crc32c; /* over all data in order */
};

struct snapshot_ack {
    uint64_t stream;
    int status;        /* 0, or a negative ERR_*: the stream is over */
    uint64_t bytes;    /* received so far: the sender's window */
    bool is_installed; /* the last one: the state is durable */
    struct slice text; /* why, for people; at most TEXT_MAX bytes */
};

/* What opens a stream. All decoders: ERR_CORRUPT, and nothing written, unless it is whole and
 * within bounds; slices borrow from `body`. */
void snapshot_begin_encode(struct buf *buf, const struct snapshot_begin *begin);
int snapshot_begin_decode(struct slice body, struct snapshot_begin *ret_begin, struct err *err);

/* The same, after a cut. */
void snapshot_resume_encode(struct buf *buf, const struct snapshot_resume *resume);
int snapshot_resume_decode(struct slice body, struct snapshot_resume *ret_resume, struct err *err);

/* A run of records of the state. */
void snapshot_chunk_encode(struct buf *buf, const struct snapshot_chunk *chunk);
int snapshot_chunk_decode(struct slice body, struct snapshot_chunk *ret_chunk, struct err *err);

/* The last message of the sender. */
void snapshot_end_encode(struct buf *buf, const struct snapshot_end *end);
int snapshot_end_decode(struct slice body, struct snapshot_end *ret_end, struct err *err);

/* What the receiver answers. */
void snapshot_ack_encode(struct buf *buf, const struct snapshot_ack *ack);
int snapshot_ack_decode(struct slice body, struct snapshot_ack *ret_ack, struct err *err);

#endif
