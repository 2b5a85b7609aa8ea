/* SPDX-License-Identifier: Apache-2.0
 *
 * store_internal — what the files of this room share. The store owns everything
 * named here; all of it lives on the store's loop.
 */
#ifndef STORE_STORE_INTERNAL_H_
#define STORE_STORE_INTERNAL_H_

#include "net/net.h"
#include "net/net_peer.h"
#include "net/net_stream.h"
#include "range/tombstone.h"
#include "store/admit.h"
#include "store/beats.h"
#include "store/book.h"
#include "store/clock.h"
#include "store/large.h"
#include "store/lines.h"
#include "store/pace.h"
#include "store/pulse.h"
#include "store/raft_wire.h"
#include "store/replica.h"
#include "store/replicas.h"
#include "store/store.h"
#include "store/throttle.h"
#include "store/watch.h"
#include "wire/frame.h"
#include "wire/request.h"
#include "wire/response.h"

enum {
    STORE_TICK_MS = 10,
    STORE_CARE_MS = 250, /* watermarks, log budget */
    STORE_RETRY_MS = 100,
    STORE_HAND_OVER_MS = 10000, /* between hand-overs for a disk that is slow, full or damaged */
    STORE_INFLIGHT_BYTES_MAX = 64 << 20, /* entries on their way to one other store */
    STORE_SNAPSHOTS_IN_MAX = 4,          /* streams taken in at a time */
    STORE_SNAPSHOTS_HELD_MAX = 8,        /* … whole, until what is in their way is gone … */
    STORE_SNAPSHOTS_OUT_MAX = 2,         /* … and sent */
};

/* 2020 and 2100: outside, the clock is not set. */
#define STORE_CLOCK_MIN_MS (UINT64_C(1577836800) * 1000)
#define STORE_CLOCK_MAX_MS (UINT64_C(4102444800) * 1000)

struct store_drain {
    store_drain_cb cb; /* NULL when none is asked for */
    void *data;
    uint64_t deadline_us; /* to hand over; what is left after it is for the flush */
    bool is_closing;      /* no more requests for data */
    bool is_flushing;
    bool is_over;
    struct env_timer timer;
    struct lsm_flush_op flush;
    struct raftlog_write barrier; /* behind the last hints */
};

/* Fault point store.send.late: a message that is overtaken by others. */
struct late_message {
    uint64_t to_store; /* 0: none */
    enum net_class class;
    struct buf frame;
};

enum { EARLY_VOTES_MAX = 64, EARLY_BODY_MAX = 256 };

/* early.c: a request for a vote of a replica that is not here yet. */
struct early_vote {
    uint64_t to; /* replica */
    uint64_t from;
    uint64_t from_store;
    uint64_t until_us; /* of no use after; 0: free */
    uint32_t kind;
    uint32_t len;
    uint8_t body[EARLY_BODY_MAX];
};

enum {
    STORE_BIRTHS_MAX = 2,        /* replicas that a store is born with */
    STORE_SYSTEM_REPLICA_ID = 1, /* of a founder: of range 1 … */
    STORE_FIRST_REPLICA_ID = 2,  /* … and of the first data range */
};

enum { STORE_REFUSED_LINES = 8 };

struct driver;
struct recover;
struct net_call;

/* found.c: asking to join, or where everybody is. */
struct join {
    struct env_timer timer;
    struct net_call *call; /* on its way; NULL: none */
    size_t next;           /* seed */
    uint32_t hops;
    char hint[ENV_ADDRESS_MAX];  /* who leads range 1, as somebody said; or empty */
    char asked[ENV_ADDRESS_MAX]; /* last */
    uint64_t told_us;            /* when it was last complained of */
};

/* snapshot_pace.c: how fast snapshots go. */
struct moving {
    struct throttle throttle;
    uint64_t out_free_us; /* by then all that was sent has had its time … */
    uint64_t in_free_us;  /* … and all that was taken in */
    uint64_t tick_bytes;  /* both ways since the last tick … */
    bool tick_is_needed;  /* … and some of them for a range in need */
};

/* care_garbage.c */
struct garbage_look {
    uint32_t position;  /* the next range, in the order of spans */
    bool wants_flush;   /* of one of those of this pass */
    uint64_t pass_ms;   /* the last one ended then */
    uint64_t frozen;    /* memtables then … */
    uint64_t frozen_ms; /* … and since when so many */
    struct store_garbage_stats stats;
};

struct store {
    struct env *env;
    const struct logger *logger;
    struct store_options opt; /* texts point at the copies below */
    char data_dir[ENV_PATH_MAX];
    char listen[ENV_ADDRESS_MAX];
    char advertise[ENV_ADDRESS_MAX]; /* empty: as it listens */
    char labels[STORE_LABELS_MAX];
    uint8_t secret[STORE_SECRET_MAX];

    struct identity identity;
    struct book book;
    struct join join;
    struct beats beats;
    struct driver *driver;   /* owned */
    struct recover *recover; /* owned; NULL: it serves */
    struct list mail;        /* beats.c: messages to ourselves */
    uint32_t mail_count;
    struct env_task mail_task;
    struct env_lock *lock;
    struct lsm *lsm;
    struct raftlog *log;
    struct net *net;
    struct replicas replicas; /* none until born */
    struct tombstones tombstones;
    struct err early_damage;     /* what the engine told when it opened; code 0: nothing */
    struct list woken;           /* replicas that the end of this turn must look at */
    uint32_t replaying;          /* replicas that are */
    bool has_left_replay;        /* one of them, for something else than to run */
    struct sleepers sleepers;    /* sleep.h */
    struct rousing rousing;      /* rouse.h */
    struct pulses pulses;        /* pulse.h */
    struct cons_budget inflight; /* entries on their way to followers, of all groups */
    struct raft_wire *wire;
    struct buf frames; /* one message on its way out */
    struct buf result; /* of a write, to be answered */
    struct late_message late;
    struct op *ops; /* COMMAND_OPS_MAX: of a command being checked */
    enum store_state state;
    bool has_met_peer; /* some peer was up since the start */
    uint64_t began_ms; /* when this process opened it */

    struct env_task turn;   /* end of the loop turn: propose, probe, arm the timer */
    struct env_timer timer; /* the tick, while operators wait or it drains */
    struct env_timer care;
    struct lines slow_lines;     /* about slow requests */
    struct lines snapshot_lines; /* about streams that did not come to their end */
    struct lines refused_lines[STORE_REFUSED_LINES]; /* about connections, by what is said */
    struct env_timer slow;  /* the engine is behind: no writes are proposed until it fires */
    uint64_t slow_us;       /* to wait, but too short yet to be waited for */
    uint64_t session_bytes; /* rows of sessions of all ranges, as care.c found lately */
    uint64_t sessions_summed_ms;
    struct garbage_look garbage;
    enum watermark mark;
    struct pace pace;          /* of our disk */
    uint64_t stop_since_us;    /* the engine takes no writes since then; 0: it does */
    uint64_t stop_worst_us;    /* the longest that ended since the last tick */
    uint64_t pace_handed_ms;   /* when leadership was last handed over for it; 0: never */
    uint64_t full_handed_ms;   /* … for a full disk */
    uint64_t damage_handed_ms; /* … for a damaged one */
    struct clock clock;        /* ours against those of the voters */

    struct lsm_flush_op forced_flush; /* the log is over its budget, or garbage may go then */
    bool is_flush_forced;
    struct log_favoured log_favoured[LOG_FAVOURED_MAX];
    bool is_log_clean; /* log_room.c: it is over its budget, and nothing is left to flush */
    uint64_t frozen;   /* the number of the last freeze … */
    uint64_t flushed;  /* … and of the last that is durable */
    struct store_drain drain;
    struct lsm_edit_op birth_edit;
    struct raftlog_write birth_logs[STORE_BIRTHS_MAX];
    uint32_t births_left; /* of them not durable yet */
    struct early_vote early[EARLY_VOTES_MAX];
    struct list merged;  /* absorb.c: replicas whose range was merged away, until that is durable */
    struct list letters; /* merge.c: from this store to itself */
    uint32_t letter_count;
    struct env_task post;          /* … and their delivery */
    struct list orphans;           /* replica_admin.c: edits on their way */
    struct list begun;             /* replica_log.c: writes that no flush may overtake */
    struct list greeted;           /* snapshot streams whose replica is not known yet */
    uint32_t snapshots_in;         /* all that are being taken in, but for … */
    uint32_t snapshots_held;       /* … those that are whole and wait for their span, and … */
    uint32_t snapshots_greeted;    /* … those that have not said whose they are */
    uint32_t snapshots_out;        /* snapshot_out.c: those on their way … */
    struct list snapshots_waiting; /* … and those that wait for their turn */
    struct moving moving;          /* snapshot_pace.c */
    uint64_t check_free_us;        /* by then all that was read for checks has had its time */
    struct list transfers;         /* admin: hand-overs that clients wait for */
    struct watches watches;
    struct admit admit;
    uint64_t answered_bytes; /* of all answers to clients */
    struct list choked;      /* replica.in_choked */
    struct large_reads large;
    struct list flushes;        /* admin: flushes that clients wait for */
    uint64_t snapshots_begun;   /* that were taken in; ever */
    uint64_t snapshots_resumed; /* … after a cut */
    uint32_t snapshots_cut;     /* of those sent: waiting to be resumed */
};

/* Milliseconds of the monotonic clock: consensus' time. */
static inline uint64_t store_now_ms(const struct store *store)
{
    return env_now_us(store->env) / 1000;
}

/* Are writers slowed because compaction is behind? */
static inline bool store_is_slowed(const struct store *store)
{
    return env_timer_is_active(&store->slow);
}

/* `bytes` were proposed: slow down as the engine asks for it. */
void store_slow_down(struct store *store, size_t bytes);

/* Something happened to the store that the end of this turn must look at. */
static inline void store_wake(struct store *store)
{
    env_task_post(store->env, &store->turn);
}

/* The same, of one replica. */
static inline void replica_wake(struct replica *r)
{
    if (!list_is_linked(&r->in_woken))
        list_push_back(&r->store->woken, &r->in_woken);
    store_wake(r->store);
}

/* … and of all that do not sleep. */
void store_wake_all(struct store *store);

/* The one place that writes store->state. */
void store_move(struct store *store, enum store_state to);

/* This process must not go on: logs and ends it. */
void store_fail(struct store *store, const char *what, const struct err *err);

/* Consensus of the replica runs (again). */
void store_on_replica_running(struct replica *r);

/* One has left the store. */
void store_on_replica_gone(struct store *store);

/* The replica is damaged: note it for life, tell everybody. */
void store_on_damage(struct store *store, const char *what, const struct err *err);

/* ---- boot.c: from a folder to a running replica ----------------------------- */

/* Open engine and log, find the replica, begin its replay. Blocking. */
int store_boot(struct store *store, struct err *err);

/* Could a group be born with these members? To be asked before they are recorded for
 * life. ERR_INVALID tells why not. */
int store_check_members(const struct identity_member *members, size_t count, struct err *err);

/* The identity has its cluster: make what the store is born with (once) and run it. */
int store_birth(struct store *store, struct err *err);

/* ---- peers.c: messages between replicas ------------------------------------- */

/* net_hooks. */
int store_check_peer(void *data, const struct net_identity *who, struct err *err);
void store_on_peer_up(void *data, const struct net_identity *who);
void store_on_peer_down(void *data, uint64_t store_id, bool was_up, int status, const char *reason);
int store_on_peer_message(void *data, uint64_t from_store, uint32_t kind, struct slice body,
                          struct err *err);

/* Dial every store that the configuration or the identity names. */
int store_dial_peers(struct store *store, struct err *err);

/* Send one message of r's consensus to the store of replica msg->to. */
void store_send(struct replica *r, const struct cons_msg *msg);

/* Send what stands in store->frames; the faults of the network apply. */
void store_send_frames(struct store *store, uint64_t to_store, enum net_class class);

/* A message for one of our replicas, of a range that the sender knows to be here. `rest_boot`
 * not 0: it is a heartbeat, and a PULSE_REST of that life of its store. */
int store_take_raft(struct store *store, uint64_t from_store, const struct cons_msg *msg,
                    uint64_t rest_boot, struct err *err);

/* Would entries of `r` for this other replica go out now? */
bool store_peer_ready(struct replica *r, uint64_t replica_id);

/* Bytes of entries that its connection takes now. */
size_t store_peer_room(const struct replica *r, uint64_t replica_id);

/* May it be asked to confirm a read at this follower? False of an older store that is up. */
bool store_peer_takes_asks(const struct replica *r, uint64_t replica_id);

/* Is its disk at the end, and it not needed for a majority? (space.h) */
bool store_peer_spared(const struct replica *r, uint64_t replica_id);

/* The mark of another store's disk as far as it has told us. */
enum watermark store_mark_of(const struct store *store, uint64_t store_id);

/* Where the store is on which replica `replica_id` of the range of `r` lives, as far as `r`
 * knows; NULL: it is in no configuration, or its store is not known. */
const struct book_entry *store_member_of(const struct replica *r, uint64_t replica_id);

/* The conf epoch of the latest configuration of `r`: each CHANGE raises it by one. */
uint64_t store_conf_epoch(const struct replica *r);

/* ---- found.c: how a folder gets a cluster -------------------------------------- */

void store_found_init(struct store *store);

/* What others shall dial. */
const char *store_advertised(const struct store *store);

/* Where a store of the book is. Of itself a store knows better than its book, which may still
 * tell where it was before it was started. */
const char *store_where(const struct store *store, const struct book_entry *entry);

/* Read the book, and what the identity knows. */
int store_load_book(struct store *store, struct err *err);

/* Put the members of the birth into the book. */
int store_learn_members(struct store *store, struct err *err);

/* An entry of the book is new: dial there. */
void store_follow(struct store *store, uint64_t store_id);

/* The store listens: found a cluster or begin to join, if the folder is new. */
int store_get_cluster(struct store *store, struct err *err);

/* Ask the seeds where everybody is, if there are any. */
void join_refresh(struct store *store);

/* A store that is not in the book proved the cluster's secret and says that it is dialled there:
 * whom to ask, if nobody else is known, or no one who is known leads to who leads range 1. */
void join_hear_of(struct store *store, struct slice address);

/* ---- beats.c: the store's side of placement ---------------------------------------- */

struct book_item;
struct pack_list;

/* Say it (a message's body) to a store, which may be ourselves. 0: it is on its way, and may be
 * lost with the connection; else it has not left. */
int store_tell(struct store *store, uint64_t to_store, enum net_class class,
               const struct buf *body);
void store_mail_due(struct env_task *task);
void store_mail_free(struct store *store);

/* What was told of stores goes into the book. */
void store_learn(struct store *store, const struct book_item *item);
void store_learn_list(struct store *store, const struct pack_list *items);

/* Are the members fixed, and nobody places anything? */
static inline bool store_is_static(const struct store *store)
{
    return store->opt.peer_count > 0;
}

/* driver.c: consensus of range 1 ends here, and with it what waits for it. */
void driver_before_consensus_ends(struct store *store);

/* The first data range with a replica here, in order of spans; NULL: none. */
struct replica *store_first_data(const struct store *store);

/* ---- strangers.c: who is in no configuration, and who is not here ------------- */

/* The replica that the message is for; a blank one is made if that is due. NULL: none. */
struct replica *strangers_find(struct store *store, const struct cons_msg *msg,
                               const struct raft_span *span);

/* Forget whom it has heard of: its memory, too. */
void strangers_forget(struct replica *r);

/* May a store speak for this replica? One that no configuration names is remembered. */
bool strangers_check(struct replica *r, uint64_t replica_id, uint64_t from_store);

/* Where a replica of r's range lives, as far as `r` knows; 0 if it does not. */
uint64_t store_id_of(const struct replica *r, uint64_t replica_id);

/* Does that replica surely stand where we send to? Else messages tell of the span. */
bool strangers_has_heard(const struct replica *r, uint64_t replica_id);
void strangers_note_heard(struct replica *r, uint64_t replica_id);

/* A store is back: what it said of a split that it had not made durable is forgotten
 * there, and so is the replica that spoke. */
void strangers_forget_heard(struct store *store);

/* A message that only a leader sends came. */
void strangers_note_leader(struct replica *r, const struct cons_msg *msg);

/* Ask whether we are still a member, if that is due. */
void strangers_tick(struct replica *r, uint64_t now_us);

/* Ask the store of the leader that it sleeps under; 0: all stores, for that one is not heard of. */
void strangers_ask_asleep(struct replica *r, uint64_t store_id);

/* Is its leader being asked whether somebody is a member? */
bool strangers_is_checking(const struct replica *r);

/* The leader has applied the removal of that one, who may sleep and ask nobody for long: tell it,
 * once that we lead is confirmed. It asks by itself if it does not hear of it. */
void strangers_tell_gone(struct replica *r, uint64_t replica_id, uint64_t store_id);

/* From peers: MEMBER_ASK, MEMBER_ANSWER. */
int strangers_on_ask(struct store *store, uint64_t from_store, struct slice body, struct err *err);
int strangers_on_answer(struct store *store, uint64_t from_store, struct slice body,
                        struct err *err);

/* Before consensus ends. */
void strangers_stop_check(struct replica *r);

/* ---- early.c: votes asked of replicas that are not here yet ------------------- */

void early_keep(struct store *store, const struct cons_msg *msg, uint64_t from_store, uint32_t kind,
                struct slice body);

/* Consensus of `r` runs: hand it what was kept for it. */
void early_deliver(struct replica *r);

/* ---- care.c: slow watchfulness ----------------------------------------------- */

void store_care(struct store *store);

/* Flush what is in memory, unless that is being done. */
void care_force_flush(struct store *store);

/* Nobody writes to `r`, which we lead: let its range time go on to that of our clock. */
void care_move_time(struct replica *r);
bool care_may_move_time(const struct replica *r);

/* care_garbage.c: a few ranges more are looked at. */
void care_garbage(struct store *store);

/* The engine may have begun or ceased to refuse writes: care.c counts for how long. */
void store_note_stop(struct store *store);

/* A replica slept, and what care knows of its range is old. */
void care_on_awake(struct replica *r);

/* ---- snapshot_pace.c ---------------------------------------------------------- */

void snapshot_pace_init(struct store *store);
void snapshot_pace_tick(struct store *store);

/* So many bytes of a snapshot for replica `target` of that range are sent, or were taken in:
 * when the next may be. */
uint64_t snapshot_pace_out(struct store *store, const struct range_descriptor *range,
                           uint64_t target, size_t bytes);
uint64_t snapshot_pace_in(struct store *store, const struct range_descriptor *range,
                          uint64_t target, size_t bytes);

/* ---- clock.c: our wall clock against the majority's --------------------------- */

/* Compare, and draw the consequences: a wrong clock does not stand for election and
 * hands leadership over; at the start a very wrong one ends the process. From outside
 * consensus. */
void store_check_clock(struct store *store);

/* The consequences for a replica whose consensus has begun, or woken. */
void clock_on_replica(struct replica *r);

/* Is the clock of that store near the majority's, as far as we know? */
bool store_clock_is_right(const struct store *store, uint64_t store_id);

/* The same, if our clock was set since: before each turn's stamps. */
void store_watch_clock(struct store *store);

#endif
