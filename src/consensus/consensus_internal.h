/* SPDX-License-Identifier: Apache-2.0
 *
 * consensus_internal — the state of one group member, and what the files of this
 * room do for each other.
 *
 *   consensus.c  life cycle, clock, queries     step.c      one raft_step() and what follows
 *   receive.c    a peer's message comes in      validate.c  may it reach the library?
 *   outbox.c     messages going out             writes.c    what is on its way to disk
 *   peers.c      the members as a leader sees them
 *   configs.c    configurations by index        change.c    membership, hand-over
 *   reads.c      linearizable reads             asks.c      … asked for by a follower
 *   lease.c      … without a question           snapshot.c  compaction, streams, install
 *   sleep.c      a clock that stands still, parked members
 *   library.c    our types to libraft's         guards.c    the switches of the test build
 */
#ifndef CONSENSUS_CONSENSUS_INTERNAL_H_
#define CONSENSUS_CONSENSUS_INTERNAL_H_

#include <raft.h>

#include "consensus/consensus.h"
#include "consensus/guards.h"

/* Some guards touch fields of struct raft, and later versions of the library move
 * memory ownership: nothing but 0.22.1 will do. */
_Static_assert(RAFT_VERSION_NUMBER == 2201, "libraft must be exactly 0.22.1");
_Static_assert(sizeof(struct raft) == 992, "struct raft is not laid out as in libraft 0.22.1");

enum {
    CONS_FETCHES_MAX = 16,   /* reads of old entries under way */
    CONS_SENT_MAX = 8,       /* runs of unacknowledged bytes remembered for a follower */
    CONS_FILL_MAX = 256,     /* entries in one APPEND that we send */
    CONS_TRAILING_MIN = 128, /* entries kept behind a compaction, if the owner lets us */
    CONS_BASE_INDEX_MIN = 2, /* the library takes index 1 for "no snapshot needed" */
};

/* What a peer may name, of the numbers that we count on from. Half of what a message can
 * carry: else one that names the last would make us send the one behind it. */
#define CONS_COUNT_MAX (CONS_ID_MAX / 2)

/* Nobody stands for election so often while a member is away. Further ahead is forged, and
 * it would use up the terms of all. */
#define CONS_TERM_STEP_MAX (UINT64_C(1) << 32)

/* A write handed to persist() and not yet known to be durable. */
struct cons_pending_write {
    uint64_t id;
    uint64_t term;  /* 0: no hard state in it */
    uint64_t first; /* 0: no entries in it, or they count no more (T8, install) */
    uint64_t last;
};

/* FIFO in a ring; `cap` is a power of two or 0. */
struct cons_writes {
    struct cons_pending_write *ring; /* owned */
    uint32_t cap;
    uint32_t head;
    uint32_t n;
    uint64_t next_id;
    uint64_t durable_id;    /* every write up to here is durable */
    uint64_t hard_state_id; /* the last write with a hard state; 0: none yet */
    uint64_t durable_term;  /* as START said, or of the last durable hard state */
    uint64_t durable_last;  /* where the durable log ends */
};

/* A configuration and the index of its CHANGE. */
struct cons_config_at {
    uint64_t index;
    struct cons_config config;
};

/* Configurations in force from `base` on, in order of index. */
struct cons_configs {
    struct cons_config_at base;  /* of the applied state at start or last compaction */
    struct cons_config_at *list; /* CHANGEs in the log above it; owned */
    uint32_t n;
    uint32_t cap;
    uint64_t told_index; /* what config_changed() was last called with */
    bool told_committed;
    bool is_told;
};

/* What a leader knows of another member. Allocated while we lead. */
/* Entries that the library believes sent, and there was no room for them on the way. */
struct cons_owed {
    uint64_t prev_index;
    uint64_t prev_term;
    uint64_t n; /* 0: none */
    uint8_t version;
};

struct cons_peer {
    uint64_t id;
    uint64_t heard_ms; /* virtual time of its last answer in this term */
    bool is_heard;
    bool has_answered; /* in this term and since we last woke, or stood still */
    bool is_streaming;
    uint64_t stream_index;    /* 0 until known */
    uint64_t whole_index;     /* of the last stream that is there as a whole; 0: none is */
    uint32_t refused_streams; /* one after the other … */
    uint64_t stream_ms;       /* … so none is asked for before this virtual time */
    uint64_t append_ms;       /* virtual time of our last APPEND to it */
    uint64_t lease_until_ms;  /* real: it elects nobody else before; 0: no promise */
    uint64_t sent_high;       /* highest index sent */
    uint64_t sent_bytes;      /* unacknowledged */
    uint64_t *used;           /* that of all groups to its store; NULL: no bound */
    uint64_t rewound_ms;      /* virtual time when sending last went back … */
    uint64_t rewound_index;   /* … to behind this; 0: never */
    struct cons_owed owed;
    uint32_t n_sent;
    struct {
        uint64_t last;
        uint64_t bytes;
    } sent[CONS_SENT_MAX];
};

/* A small message that waits for `gate` to be durable. */
struct cons_held {
    uint64_t gate; /* write id */
    enum cons_msg_type type;
    uint8_t version;
    uint64_t to;
    uint64_t term;
    union {
        struct cons_msg_append append; /* n to be filled when it leaves */
        struct cons_msg_append_result append_result;
        struct cons_msg_vote vote;
        struct cons_msg_vote_result vote_result;
        struct cons_msg_timeout_now timeout_now;
        struct cons_msg_probe probe;
    };
};

/* Entries being read from disk for an APPEND. */
struct cons_fetch {
    uint64_t token; /* 0: free */
    uint64_t peer;
    uint64_t term;
    uint64_t prev_index;
    uint64_t prev_term;
    uint32_t n;
    uint8_t version;
};

struct cons_outbox {
    struct cons_held *held; /* owned, in order */
    uint32_t n;
    uint32_t cap;
    uint64_t next_token;
    struct cons_fetch *fetches; /* owned, CONS_FETCHES_MAX, NULL until needed */
};

/* One attempt to confirm leadership, or to have our leader do it. */
struct cons_round {
    bool is_active;
    bool is_renewal;  /* for the lease alone: nobody need wait for it */
    uint64_t number;  /* of the attempt; the last one used if not active */
    uint64_t index;   /* commit when it was sent */
    uint64_t sent_ms; /* virtual */
    uint64_t sent_real_ms;
    uint64_t patience_ms; /* of an attempt; never less than a heartbeat */
    uint32_t n_voters;
    uint64_t voters[CONS_MEMBERS_MAX];
    uint32_t acks; /* bit i: voters[i] has answered */
};

struct cons_reads {
    struct list queued;
    struct list probing;
    struct list catchup;
    struct list done; /* callback due when the call in progress ends */
    uint32_t n;       /* in the first three */
    struct cons_round round;
};

struct cons_transfer {
    uint64_t target; /* 0: none */
    uint64_t since_ms;
    bool is_stepped; /* handed to the library */
};

struct consensus {
    struct cons_options opts;
    struct raft raft;
    /* state */
    bool is_started;
    bool is_inside;             /* a call is going on */
    const char *broken;         /* NULL, or why it must be reopened */
    int broken_status;          /* then an ERR_* */
    uint64_t now_ms;            /* virtual: the owner's clock + shift, never falling */
    uint64_t real_ms;           /* the owner's clock, never falling: promises are made by it */
    uint64_t promised_until_ms; /* real: we vote for nobody and do not stand before */
    uint64_t lease_off_term;    /* in this term our lease is not used (any more) */
    int64_t shift_ms;           /* pushed ahead by campaigns, back by sleep */
    uint64_t excused_ms;        /* of the bound on that which repeats, what is used up … */
    uint64_t excused_at_ms;     /* … as of this virtual time: passing time gives it back */
    bool is_asleep;             /* now_ms stands still */
    enum cons_state state;
    uint64_t term;
    uint64_t leader;
    uint64_t commit;
    uint64_t applied;
    uint64_t lead_index;      /* last index at our election: nothing is served before it commits */
    uint64_t lead_ms;         /* virtual: time of our election */
    uint64_t change_ms;       /* virtual: when we last appended a CHANGE */
    bool has_barrier;         /* an entry of the own term was submitted since our election */
    uint64_t leader_heard_ms; /* virtual: last sign of a leader or candidate we follow */
    bool is_abstaining;       /* asks for no votes */
    bool is_installing;
    struct cons_base *install; /* owned; while installing, else NULL */
    struct cons_peer *peers;   /* owned; while leading: every member but ourselves */
    uint32_t n_peers;
    struct cons_transfer transfer;
    uint64_t told_term; /* the last one in which another member was told to stand */
    struct cons_writes writes;
    struct cons_configs configs;
    struct cons_outbox outbox;
    struct cons_reads reads;
    struct cons_ask *asks; /* owned; NULL until a member asks */
    uint64_t entry_bytes;  /* running mean of what is proposed */
    uint64_t n_dropped;
    uint64_t n_invalid;
#ifdef HOLDFAST_TEST_GUARDS
    uint64_t guards_off;
#endif
    char address[24]; /* our store id in text */
};

/* --- consensus.c */

/* Bracket every input: take the time, and at the end run what became due (reads,
 * hand-over, callbacks). enter is false if the input must be refused. */
bool consensus_enter(struct consensus *c, uint64_t now_ms);

/* The same without waking one that sleeps: for what needs no clock. */
bool consensus_enter_quietly(struct consensus *c, uint64_t now_ms);
void consensus_leave(struct consensus *c);

/* The library failed or memory ran out: nothing more is stepped. */
void consensus_break(struct consensus *c, int status, const char *reason);

/* consensus_start(); `leads`: it has led `start->term` all the while, in this process, and does
 * so again at once. Its log ends at its base, with an entry of that term. */
int consensus_start_as(struct consensus *c, uint64_t now_ms, const struct cons_start *start,
                       bool leads, struct err *err);

/* Last index of the log as the library sees it. */
uint64_t log_last_index(const struct consensus *c);

/* Term at `index` of our log or of its base, 0 if unknown. */
uint64_t log_term_at(const struct consensus *c, uint64_t index);

/* --- library.c */

/* The library's memory: it ends the process rather than run out. */
void library_use_heap(void);

/* Build the library's configuration; free with raft_configuration_close() unless the
 * library took it. 0 or ERR_NOMEM. */
int library_config_make(const struct cons_config *config, struct raft_configuration *ret_conf);

/* True if the library's configuration is `config`. */
bool library_config_equal(const struct raft_configuration *conf, const struct cons_config *config);

/* Give the members of the library's configuration the roles that `config`, of the same members,
 * gives them. */
void library_config_set_roles(struct raft_configuration *conf, const struct cons_config *config);

/* Metadata with a configuration of its own. 0 or ERR_NOMEM. */
int library_metadata_make(const struct cons_base *base, struct raft_snapshot_metadata *ret_meta);

int library_error(int rv);

/* --- step.c */

/* Step `event` and do all that follows, in the order of README.md. Returns the
 * library's code for SUBMIT and TRANSFER (0 or a RAFT_*); any other failure breaks the
 * consensus. `source` is the message of a RECEIVE, else NULL. */
int step_event(struct consensus *c, struct raft_event *event, const struct cons_msg *source);

/* An event of `type` at the present time, all else zero. */
struct raft_event step_make(const struct consensus *c, enum raft_event_type type);

/* Step RAFT_TIMEOUT if it is due. */
void step_timeout(struct consensus *c);

/* Tell the owner of state, term, leader and commit if they changed. */
void step_sync(struct consensus *c);

/* --- writes.c */

void writes_init(struct cons_writes *w, uint64_t first_id, uint64_t durable_term,
                 uint64_t durable_last);
void writes_fini(struct cons_writes *w);
bool writes_is_full(const struct cons_writes *w);

/* Nothing will be written for long: give its memory back, if nothing is under way. */
void writes_trim(struct cons_writes *w);

/* Note a write and return its id; 0 if memory ran out. `term` 0: no hard state. */
uint64_t writes_push(struct cons_writes *w, uint64_t term, uint64_t first, uint32_t n);

/* A write up to `id` is durable. Returns up to which index the log may be acknowledged
 * (T8); `use_guard` false: what a naive driver would say. */
uint64_t writes_complete(struct cons_writes *w, uint64_t id, bool use_guard);

/* Entries of writes under way count no more. */
void writes_forget_entries(struct cons_writes *w, uint64_t durable_last);

/* The write that a message must wait for now, 0 if none. */
uint64_t writes_gate(const struct cons_writes *w);

/* --- configs.c */

void configs_init(struct cons_configs *cfgs, const struct cons_base *base);
void configs_fini(struct cons_configs *cfgs);

/* Give back what no CHANGE stands in. */
void configs_trim(struct cons_configs *cfgs);
const struct cons_config_at *configs_latest(const struct cons_configs *cfgs);
const struct cons_config_at *configs_at(const struct cons_configs *cfgs, uint64_t index);
int configs_append(struct cons_configs *cfgs, uint64_t index, const struct cons_config *config);
void configs_truncate(struct cons_configs *cfgs, uint64_t first_index);
void configs_compact(struct cons_configs *cfgs, uint64_t index);

/* Make the library take the configuration at `index` for committed, even if a later
 * one stands above it. */
void configs_commit_library(struct consensus *c, const struct cons_config_at *at);

/* Step what committed in (from, to] (T2). */
void configs_commit(struct consensus *c, uint64_t from, uint64_t to);

/* Call config_changed() if the latest changed or has been committed. */
void configs_tell(struct consensus *c);

/* Decode the bytes of a CHANGE as consensus accepts them (GUARD_T14, GUARD_R15). */
int configs_decode(const struct consensus *c, struct slice data, struct cons_config *ret_config,
                   struct err *err);

/* --- outbox.c */

void outbox_fini(struct cons_outbox *o);

/* One message of the library's: repair, hold, fill, send. */
void outbox_library(struct consensus *c, const struct raft_message *m,
                    const struct raft_event *cause, const struct cons_msg *source);

/* A message of ours (no entries, no snapshot); held if it must wait. */
void outbox_send(struct consensus *c, const struct cons_msg *msg);

/* An empty message of ours to `to` in the current term. */
struct cons_msg outbox_make(const struct consensus *c, enum cons_msg_type type, uint64_t to);

/* A write became durable: send what waited for it. */
void outbox_release(struct consensus *c);

/* Leadership or term changed: fetches are void. */
void outbox_forget(struct consensus *c);

/* Send what is owed to `p`, to all, as far as there is room now. */
void outbox_pay(struct consensus *c, struct cons_peer *p);
void outbox_pay_all(struct consensus *c);

/* --- peers.c */

struct cons_peer *peer_find(const struct consensus *c, uint64_t id);
bool peer_is_live(const struct consensus *c, uint64_t id);

/* The same, and not by what it said before we slept: it may have died in that time, of which our
 * clock knows nothing. */
bool peer_is_surely_live(const struct consensus *c, uint64_t id);

/* We slept: who is live must answer anew. */
void peers_doubt(struct consensus *c);

/* Nothing was heard of it for an election timeout: it is sent heartbeats and no entries, which it
 * may drop one and all (damaged, or not begun yet, on a store that is up). */
bool peer_is_silent(const struct consensus *c, const struct cons_peer *p);

/* What is on its way to the silent counts no more: their store has others to be sent to. */
void peers_forgive(struct consensus *c);

void peer_heard(struct consensus *c, uint64_t id);
int peers_rebuild(struct consensus *c);
void peers_clear(struct consensus *c);
uint64_t peer_match(const struct consensus *c, uint64_t id);
void peer_acked(struct consensus *c, struct cons_peer *p);
void peer_sent(struct cons_peer *p, uint64_t last, uint64_t bytes);

/* As much is on its way to it, or from this store to its store, as may be. */
bool peer_is_laden(const struct consensus *c, const struct cons_peer *p);

/* Entries behind `prev_index` go out: if it lies below what was sent before, the library
 * has gone back, and what was on its way is taken for lost. */
void peer_rewind(const struct consensus *c, struct cons_peer *p, uint64_t prev_index);

/* Did sending go back behind `rejected` a moment ago? Then what was rejected left before that, as
 * all that was under way did: to go back for each of them would send everything as often. If the
 * moment misleads, heartbeats are rejected, too. */
bool peer_has_rewound(const struct consensus *c, const struct cons_peer *p, uint64_t rejected);

/* --- validate.c */

/* 0: may be handed to the library; ERR_INVALID with the reason. */
int validate_message(const struct consensus *c, const struct cons_msg *msg, struct err *err);

/* --- change.c */

/* The shape of a change: one member added at the end, removed, or promoted. */
int change_check_shape(const struct cons_config *from, const struct cons_config *to,
                       struct err *err);
int change_submit(struct consensus *c, const struct cons_config *config, uint64_t *ret_index,
                  struct err *err);
void transfer_advance(struct consensus *c);

/* Submit entries and step; RAFT_* or 0. Payloads are borrowed. */
int submit_entries(struct consensus *c, enum cons_entry_type type, const struct slice *data,
                   uint32_t n);

/* True if a leader has committed (not: applied) an entry of its own term. */
bool leader_is_ready(const struct consensus *c);

/* --- asks.c */

void asks_fini(struct consensus *c);
void asks_on_ask(struct consensus *c, const struct cons_msg *msg);

/* --- lease.c */

/* Have we promised not to vote and not to stand, and is it not over yet? */
bool promise_stands(const struct consensus *c);

/* Vote for nobody and do not stand for that long from now on. */
void promise_hold(struct consensus *c, uint64_t ms);

/* Answer a probe that asks for a promise: what is given, in ms; 0: nothing. */
uint32_t promise_make(struct consensus *c, const struct cons_msg *msg);

/* A voter has promised, or not. */
void lease_on_result(struct consensus *c, const struct cons_msg *msg);

/* Is it certain, at this moment, that nobody else leads? */
bool lease_stands(const struct consensus *c);

/* Is it time to have it prolonged? */
bool lease_is_short(const struct consensus *c);

/* Not in this term any more. */
void lease_give_up(struct consensus *c);

/* --- reads.c */

void reads_init(struct cons_reads *r, uint64_t seed);
void reads_on_result(struct consensus *c, uint64_t from, uint64_t number);
void reads_on_answer(struct consensus *c, const struct cons_msg *msg);

/* Another leader, or none: what is on its way will not be answered, or not to us. */
void reads_restart(struct consensus *c);
void reads_advance(struct consensus *c);
void reads_fail(struct consensus *c, int status);
void reads_expire(struct consensus *c, uint64_t now_ms);
void reads_deliver(struct consensus *c);
uint64_t reads_next_timeout(const struct consensus *c);

/* --- sleep.c */

/* Let the clock run on from where it stands. */
void sleep_end(struct consensus *c, uint64_t now_ms);

/* --- snapshot.c */

void snapshot_begin_install(struct consensus *c, const struct raft_snapshot_metadata *meta,
                            uint64_t from);
void snapshot_request(struct consensus *c, uint64_t target);

#endif
