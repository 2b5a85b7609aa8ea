/* SPDX-License-Identifier: Apache-2.0
 *
 * driver_msg — what stores tell placement, and what it tells them.
 *
 *   store   ── store_beat (each second) ──▶ the store that leads range 1
 *           ── range_beat (what it leads: on change and now and then; or, once in each
 *                          placement term, all that it has, in chunks) ──▶
 *           ◀── driver_word: whom the cluster has, steps to take, whether a report is due
 *           ── step_done: what came of a step ──▶
 *   any other store answers a store_beat by driver_at: who leads range 1, if it knows
 *
 * Everything that placement says carries its term, that of range 1 in which it leads; a
 * store that has heard of a greater one refuses.
 *
 * Ownership  lists and slices are borrowed from what they were read from.
 * Limits     the *_MAX below for each list; DESCRIPTOR_MEMBERS_MAX members.
 */
#ifndef WIRE_DRIVER_MSG_H_
#define WIRE_DRIVER_MSG_H_

#include "base/buf.h"
#include "wire/descriptor.h"
#include "wire/msg.h"
#include "wire/pack.h"

enum {
    BOOK_ITEMS_MAX = 1024,
    BEAT_RANGES_MAX = 512, /* of one range_beat */
    WORD_STEPS_MAX = 256,  /* of one placement */
    BEAT_LABELS_MAX = 255, /* bytes of "zone=a,rack=2" */
};

/* A store as range 1 knows it; of two the greater version is the newer. */
struct book_item {
    uint64_t store_id; /* > 0 */
    uint64_t version;
    bool is_removed;
    uint8_t store_uuid[STORE_UUID_LEN];
    struct slice address;
};

/* Append one element of a list of stores. */
void book_item_append(struct buf *raw, const struct book_item *peer);

/* The next element; the cursor goes bad if it is not acceptable. So in all below. */
void book_item_next(struct unpack *cursor, struct book_item *ret_peer);

struct store_beat {
    uint64_t seq;  /* echoed */
    uint64_t term; /* the greatest placement term that it has heard of */
    uint64_t boot;
    uint8_t store_uuid[STORE_UUID_LEN];
    struct slice address; /* what others shall dial */
    struct slice labels;  /* BEAT_LABELS_MAX bytes; may be empty */
    uint64_t capacity;    /* bytes of its disk */
    uint64_t free_bytes;
    uint32_t mark;        /* of its disk: 0 is fine (store/watermark.h) */
    uint64_t requests;    /* a second */
    uint64_t write_bytes; /* likewise */
    uint32_t snapshots_in;
    uint32_t snapshots_out;
    bool is_stalled; /* log or engine push back */
    uint32_t level;  /* which entries of ranges it can apply: enum store_level */
    uint32_t lead;   /* enum store_lead */
};

/* Is it to be given leaders? */
enum store_lead {
    STORE_LEAD_GLADLY = 0, /* and those who do not say */
    STORE_LEAD_LAST = 1,   /* where nobody else can: its disk is slow, it hands them over itself */
    STORE_LEAD_NEVER = 2,  /* it takes none: its clock is off */
};

/* What a store is asked of depends on whether all that would have to apply it can. */
enum store_level {
    STORE_LEVEL_FIRST = 0,  /* of those who do not say */
    STORE_LEVEL_RETAIN = 1, /* changes of a range's retention */
    STORE_LEVEL = STORE_LEVEL_RETAIN,
};

/* Append a body. */
void store_beat_encode(struct buf *buf, const struct store_beat *beat);
/* ERR_CORRUPT, and nothing written, unless it is acceptable; so in all below. */
int store_beat_decode(struct slice body, struct store_beat *ret_beat, struct err *err);

/* One member of a range, as its leader sees it (`match`, `age_ms`: 0 from others). */
struct range_member {
    uint64_t replica_id;
    uint64_t store_id;
    enum member_role role;
    uint64_t match;
    uint32_t age_ms; /* since it was last heard of; UINT32_MAX: not yet */
};

struct range_state {
    uint64_t range_id;
    struct slice start; /* on-disk keys, neither empty */
    struct slice end;
    uint64_t conf_epoch;
    uint64_t span_epoch;
    uint64_t term;
    uint64_t replica_id; /* of who reports */
    bool is_leader;
    bool is_asleep; /* its group sleeps: nothing more is told of it until that has changed */
    uint64_t bytes;
    uint64_t keys;
    uint64_t requests; /* a second */
    uint64_t write_bytes;
    uint64_t last_index;
    uint64_t retention_ms; /* as it is applied; 0: from who does not say */
    uint32_t member_count;
    struct range_member members[DESCRIPTOR_MEMBERS_MAX];
};

/* Append one element of a list of ranges. */
void range_state_append(struct buf *raw, const struct range_state *range);
/* The next element of a list that range_beat_decode() accepted. */
void range_state_next(struct unpack *cursor, struct range_state *ret_range);

struct range_beat {
    uint64_t term;           /* of placement; of the report that is asked for */
    bool is_report;          /* of all that the store has; else of what it leads */
    bool is_last;            /* of the report's chunks */
    uint32_t chunk;          /* 0 is the first */
    struct pack_list ranges; /* range_state */
};

/* Append a body, with its list. */
void range_beat_encode(struct buf *buf, const struct range_beat *beat);
/* Looks at every element, too. */
int range_beat_decode(struct slice body, struct range_beat *ret_beat, struct err *err);

enum step_kind {
    STEP_ADD_LEARNER = 1,
    STEP_PROMOTE = 2,
    STEP_REMOVE = 3,
    STEP_TRANSFER = 4,
    STEP_SPLIT = 5,
    STEP_MERGE = 6,
    STEP_RETAIN = 7,
    STEP_KIND_LAST = STEP_RETAIN,
};

/* What a leader is to do, at exactly that epoch. */
struct step_order {
    uint64_t operator_id;
    uint32_t number; /* of the step in its operator */
    uint64_t range_id;
    uint64_t conf_epoch;
    uint64_t span_epoch;
    enum step_kind kind;
    uint64_t replica_id;       /* ADD_LEARNER (the new one's), PROMOTE, REMOVE, TRANSFER */
    uint64_t store_id;         /* ADD_LEARNER */
    struct slice key;          /* SPLIT; empty: the leader chooses */
    bool is_by_load;           /* … by load, not by size */
    uint64_t new_range_id;     /* SPLIT; MERGE: of the right neighbour */
    uint64_t right_conf_epoch; /* MERGE */
    uint64_t right_span_epoch;
    uint64_t retention_ms; /* RETAIN */
    uint32_t child_count;
    struct step_child {
        uint64_t store_id;
        uint64_t replica_id;
    } children[DESCRIPTOR_MEMBERS_MAX];
};

/* Append one element of a list of steps. */
void step_order_append(struct buf *raw, const struct step_order *step);
/* The next element of a list that driver_word_decode() accepted. */
void step_order_next(struct unpack *cursor, struct step_order *ret_step);

/* Is the store that sent the beat one of the cluster? Part of the protocol. */
enum driver_verdict {
    DRIVER_WELCOME = 1,
    DRIVER_NOT_KNOWN = 2,  /* no store has that id, or it was removed */
    DRIVER_OTHER_UUID = 3, /* the id is another folder's */
    DRIVER_TWICE = 4,      /* another process says that it is this store, and runs */
    DRIVER_VERDICT_LAST = DRIVER_TWICE,
};

struct driver_word {
    uint64_t term;
    uint64_t seq; /* of the store_beat that it answers; 0: it was not asked */
    enum driver_verdict verdict;
    bool wants_report;      /* of all replicas, … */
    uint32_t report_chunk;  /* … from this chunk on */
    bool is_draining;       /* leaders should leave, and none come */
    struct pack_list peers; /* book_item */
    struct pack_list steps; /* step_order */
};

/* Append a body, with its lists. */
void driver_word_encode(struct buf *buf, const struct driver_word *word);
/* Looks at every element, too. */
int driver_word_decode(struct slice body, struct driver_word *ret_word, struct err *err);

struct driver_at {
    uint64_t store_id; /* who leads range 1; 0: not known */
};

/* Append a body. */
void driver_at_encode(struct buf *buf, const struct driver_at *at);
/* ERR_CORRUPT as above. */
int driver_at_decode(struct slice body, struct driver_at *ret_at, struct err *err);

struct step_done {
    uint64_t term; /* placement's */
    uint64_t range_id;
    uint64_t operator_id;
    uint32_t number;
    int status;
    struct slice text; /* why not */
};

/* Append a body. */
void step_done_encode(struct buf *buf, const struct step_done *done);
/* ERR_CORRUPT as above. */
int step_done_decode(struct slice body, struct step_done *ret_done, struct err *err);

#endif
