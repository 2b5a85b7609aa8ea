/* SPDX-License-Identifier: Apache-2.0
 *
 * peer_msg — what the replicas of one range say to each other: Raft's messages
 * with the fields that libraft 0.22.1 carries, and the probes of linearizable
 * reads. Only src/consensus knows libraft; these are plain structs.
 *
 * Ownership  encoding borrows entries and their data during the call; decoding
 *            borrows data from the body and fills an array of the caller.
 * Errors     the decoder checks form and size only. Whether a message makes sense
 *            for a group is for consensus to judge before it reaches libraft.
 * Limits     PEER_ENTRIES_MAX entries in one message; ids, terms and indexes fit
 *            in 60 bits.
 */
#ifndef WIRE_PEER_MSG_H_
#define WIRE_PEER_MSG_H_

#include "base/buf.h"
#include "wire/descriptor.h"
#include "wire/msg.h"

enum { PEER_ENTRIES_MAX = 4096 };
enum { PEER_CONFIGURATION_MAX = 64 * 1024 }; /* bytes of an encoded configuration */
#define PEER_NUMBER_MAX (UINT64_C(1) << 60)  /* ids, terms, indexes */

/* Same numbers as libraft's raft_entry_type; any other is refused. */
enum peer_entry_type { PEER_ENTRY_COMMAND = 1, PEER_ENTRY_BARRIER = 2, PEER_ENTRY_CHANGE = 3 };

struct peer_entry {
    uint64_t term;
    enum peer_entry_type type;
    struct slice data; /* borrowed */
};

struct append_entries {
    uint8_t version; /* libraft's own, kept as it is; the same in all below */
    uint64_t term;
    uint64_t prev_log_index;
    uint64_t prev_log_term;
    uint64_t leader_commit;
    uint32_t entry_count;
    const struct peer_entry *entries; /* borrowed */
};

struct append_entries_result {
    uint8_t version;
    uint64_t term;
    uint64_t rejected; /* 0, or the index that was rejected */
    uint64_t last_log_index;
    uint16_t features;
    uint16_t capacity;
};

struct request_vote {
    uint8_t version;
    uint64_t term;
    uint64_t candidate_id;
    uint64_t last_log_index;
    uint64_t last_log_term;
    bool disrupt_leader;
    bool pre_vote;
};

struct request_vote_result {
    uint8_t version;
    uint64_t term;
    bool vote_granted;
    bool pre_vote;
    uint16_t features;
    uint16_t capacity;
};

/* The description only: the data went before it on a snapshot stream. */
struct install_snapshot {
    uint8_t version;
    uint64_t term;
    uint64_t last_index;
    uint64_t last_term;
    uint64_t conf_index;
    struct slice configuration; /* borrowed; consensus' own encoding */
};

struct timeout_now {
    uint8_t version;
    uint64_t term;
    uint64_t last_log_index;
    uint64_t last_log_term;
};

/* "Is `term` still your durable term?" `number` is fresh for each attempt. */
struct probe {
    uint64_t term;
    uint64_t number;
    uint32_t promise_ms; /* elect nobody else for that long; 0: not asked for */
};

struct probe_result {
    uint64_t term;       /* the durable term of who answers */
    uint64_t number;     /* of the probe */
    uint32_t promise_ms; /* promised */
};

/* "Which index may I serve reads at?", to the leader; and its answer, once it is confirmed. */
struct read_ask {
    uint64_t term; /* of the sender; for the log */
    uint64_t number;
};

struct read_answer {
    uint64_t term;
    uint64_t number; /* of the question */
    uint64_t index;
};

struct peer_msg {
    enum msg_kind kind; /* MSG_APPEND_ENTRIES … MSG_READ_ANSWER */
    uint64_t group;     /* range id */
    uint64_t from_replica;
    uint64_t to_replica;
    struct slice span_start; /* of the range, for a store that may not have the replica yet */
    struct slice span_end;   /* (on-disk keys; empty: not told), */
    uint64_t conf_epoch;     /* and its conf epoch */
    union {
        struct append_entries append_entries;
        struct append_entries_result append_entries_result;
        struct request_vote request_vote;
        struct request_vote_result request_vote_result;
        struct install_snapshot install_snapshot;
        struct timeout_now timeout_now;
        struct probe probe;
        struct probe_result probe_result;
        struct read_ask read_ask;
        struct read_answer read_answer;
    };
};

/* Is it one of the kinds of this family? */
bool peer_msg_is_kind(uint32_t kind);

/* Votes, probes, results and empty appends overtake entries on a connection. */
bool peer_msg_is_urgent(const struct peer_msg *msg);

/* Bytes that encoding will take at most: to bound a queue before encoding. */
size_t peer_msg_size(const struct peer_msg *msg);

/* Append a body with its kind. */
void peer_msg_encode(struct buf *buf, const struct peer_msg *msg);

/* `entries` has room for `entries_cap`; more is ERR_TOO_LARGE. On success an
 * append_entries.entries is `entries`. */
int peer_msg_decode(struct slice body, struct peer_entry *entries, size_t entries_cap,
                    struct peer_msg *ret_msg, struct err *err);

#endif
