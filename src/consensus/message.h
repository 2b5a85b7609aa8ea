/* SPDX-License-Identifier: Apache-2.0
 *
 * message — what the members of a Raft group say to each other, and the log
 * entries inside. Plain data: the store carries it, the wire room encodes it.
 *
 * Ownership  entries and their data are borrowed: valid only during the call that
 *            passes the message (send, consensus_receive).
 * Invariants (E1) a message is from one member of `group_id` to another.
 * Limits     CONS_APPEND_ENTRIES_MAX entries a message; its bytes are bounded by
 *            the sender's option `append_bytes_max` (one entry at least).
 */
#ifndef CONSENSUS_MESSAGE_H_
#define CONSENSUS_MESSAGE_H_

#include "base/base.h"
#include "consensus/config.h"

enum { CONS_APPEND_ENTRIES_MAX = 4096 };

/* As libraft numbers them. Written to disk and wire. */
enum cons_entry_type {
    CONS_COMMAND = 1, /* data belongs to the state machine */
    CONS_BARRIER = 2, /* data is empty: a leader's first entry */
    CONS_CHANGE = 3,  /* data is an encoded cons_config */
};

struct cons_entry {
    uint64_t term;
    enum cons_entry_type type;
    struct slice data; /* borrowed */
};

/* A state machine's state at one index, as consensus needs to know it. */
struct cons_base {
    uint64_t index; /* last entry in it; 0: nothing at all (a blank joiner) */
    uint64_t term;  /* of that entry */
    uint64_t config_index;
    struct cons_config config; /* the last committed at or below `index` */
};

/* Written to the wire: never renumber. */
enum cons_msg_type {
    CONS_MSG_APPEND = 1,
    CONS_MSG_APPEND_RESULT = 2,
    CONS_MSG_VOTE = 3,
    CONS_MSG_VOTE_RESULT = 4,
    CONS_MSG_SNAPSHOT = 5, /* only the description: data goes before it, out of band */
    CONS_MSG_TIMEOUT_NOW = 6,
    CONS_MSG_PROBE = 7, /* "is my term still yours?", for linearizable reads */
    CONS_MSG_PROBE_RESULT = 8,
    CONS_MSG_READ_ASK = 9, /* a member asks its leader for a confirmed index */
    CONS_MSG_READ_ANSWER = 10,
    CONS_MSG_TYPE_NR,
};

struct cons_msg_append {
    uint64_t prev_index;
    uint64_t prev_term;
    uint64_t commit;
    const struct cons_entry *entries; /* at prev_index + 1; borrowed */
    uint32_t n;
};

struct cons_msg_append_result {
    uint64_t rejected; /* 0, or the prev_index that did not match */
    uint64_t last_index;
    uint16_t features;
    uint16_t capacity;
};

struct cons_msg_vote {
    uint64_t last_index;
    uint64_t last_term;
    bool disrupt_leader;
    bool pre_vote;
};

struct cons_msg_vote_result {
    bool granted;
    bool pre_vote;
    uint16_t features;
    uint16_t capacity;
};

struct cons_msg_timeout_now {
    uint64_t last_index;
    uint64_t last_term;
};

struct cons_msg_probe {
    uint64_t number;     /* of the attempt; a result carries it back */
    uint32_t promise_ms; /* PROBE: how long to vote for nobody, from now on; RESULT: what
                            was promised. 0: nothing */
};

struct cons_msg_read {
    uint64_t number; /* of the attempt; the answer carries it back */
    uint64_t index;  /* READ_ANSWER: everything acknowledged before the question is at or
                        below it */
};

struct cons_msg {
    enum cons_msg_type type;
    uint8_t version;   /* of libraft's own message; 0 for probes; carried unchanged */
    uint64_t group_id; /* range id */
    uint64_t from;     /* replica id */
    uint64_t to;       /* replica id */
    uint64_t term;
    union {
        struct cons_msg_append append;
        struct cons_msg_append_result append_result;
        struct cons_msg_vote vote;
        struct cons_msg_vote_result vote_result;
        struct cons_base snapshot;
        struct cons_msg_timeout_now timeout_now;
        struct cons_msg_probe probe; /* PROBE and PROBE_RESULT */
        struct cons_msg_read read;   /* READ_ASK and READ_ANSWER */
    };
};

/* Votes, heartbeats, probes and their answers overtake entries on a connection. */
bool cons_msg_is_urgent(const struct cons_msg *msg);

/* "append", "vote_result" …; "unknown" for anything else. */
const char *cons_msg_name(enum cons_msg_type type);

#endif
