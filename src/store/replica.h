/* SPDX-License-Identifier: Apache-2.0
 *
 * replica — one range's member on this store: its consensus, its state machine,
 * and what waits between them.
 *
 *   REPLAYING ──hint reached──▶ RUNNING ◀──────────────┐
 *                                 │ install_snapshot()  │ durable
 *                                 ▼                     │
 *                             INSTALLING ──────────────┘
 *   BLANK ──install_snapshot()──▶ INSTALLING   a new member: no data yet, but a vote
 *   REPLAYING, RUNNING, INSTALLING ──damage──▶ DAMAGED (for life)
 *   any but INSTALLING ──no member any more──▶ REMOVING ──gone from the disk──▶ freed
 *   REPLAYING, RUNNING ──another range takes it in──▶ ABSORBED ──▶ MERGED ──▶ freed
 *                                          (it did not: back to REPLAYING)
 *
 * Apply, in every state but DAMAGED and INSTALLING:
 *
 *   IDLE ─▶ (entry in the log's cache) ─▶ range_apply() ─▶ IDLE …
 *     ├─▶ LOG_READ   entries come from disk
 *     ├─▶ PREFETCH   the entry needs keys from disk
 *     └─▶ STALLED    the engine pushes back, or memory is short
 *
 * Ownership  the store owns the replica; the replica owns its consensus, range,
 *            queues and streams.
 * Invariants (P1) range's applied index <= what consensus lets be applied, or the
 *            log's hint while replaying. (P2) proposals stand in order of index.
 *            (P3) a write is answered exactly once.
 * Limits     store_options: entries_in_flight, queue_writes_max, queue_bytes_max,
 *            queue_reads_max.
 */
#ifndef STORE_REPLICA_H_
#define STORE_REPLICA_H_

#include "consensus/consensus.h"
#include "net/net.h"
#include "raftlog/raftlog.h"
#include "range/range.h"
#include "range/read.h"
#include "range/snapshot.h"
#include "store/beats.h"
#include "store/fair.h"
#include "store/hot.h"
#include "store/identity.h"
#include "store/inner.h"
#include "store/log_room.h"
#include "store/rate.h"
#include "store/sleep.h"
#include "store/watermark.h"
#include "wire/request.h"

struct store;
struct replica;

enum { REPLICA_STREAMS_MAX = 2 };

/* Who is to be answered. */
struct answer_to {
    struct inner_call *inner; /* the store itself asks (inner.h); NULL: a client does */
    uint64_t client;          /* net's */
    uint64_t request_id;
    uint64_t trace_id;
    uint64_t began_us; /* it came */
    uint64_t deadline_us;
    uint64_t range_id; /* that the answer is about; 0: none */
    size_t held_bytes; /* to be given back when it is answered (admit.h) */
    bool is_aside;     /* admit_set_aside() */
    enum request_kind kind;
};

enum { WRITE_SPARE_US = 30 * 1000 };

/* Is it too late for a write that has not been proposed yet? It would hardly be applied, and its
 * client told, before the deadline, when he can only call it undetermined. Told a little sooner he
 * knows that nothing was done. */
static inline bool answer_is_too_late(const struct answer_to *to, uint64_t now_us)
{
    uint64_t all_us = to->deadline_us - to->began_us;
    uint64_t spare_us = to->kind == REQUEST_WRITE ? MIN(all_us / 8, (uint64_t)WRITE_SPARE_US) : 0;
    return to->deadline_us <= now_us + spare_us;
}

/* A write between its arrival and its answer. One allocation with its bytes. */
struct write_op {
    struct fair_item in_queue; /* replica's; out of it once proposed */
    struct list in_writes;     /* of an entry that is being built */
    struct answer_to to;
    bool is_counted; /* among the writes under way */
    uint64_t first_sent_ms;
    uint64_t only_term; /* proposed in this term or not at all; 0: any */
    size_t len;
    uint8_t command[]; /* encoded */
};

/* Entries proposed and not yet known to be applied or lost. */
struct proposal {
    struct list in_proposals;
    struct replica *replica;
    uint64_t index;
    uint64_t term;
    bool is_stale;     /* of an earlier leadership: it counts no more as in flight */
    struct list reads; /* reads that wait for range time to move */
    uint32_t count;
    struct write_op *by_position[]; /* as in the entry; NULL where answered already */
};

/* A read between its arrival and its answer. One allocation with its bytes. */
struct read_op {
    struct list in_reads;
    struct fair_item in_backlog; /* or there, among the large or the choked */
    struct replica *replica;
    struct answer_to to;
    struct request request; /* borrows from body */
    struct range_read read;
    uint64_t until_us; /* it waits no longer: the deadline, or sooner */
    struct buf made;   /* off the loop: the whole answer; empty: it is to be made from the rows */
    uint8_t body[];
};

/* Reads of one turn: confirmed together. */
struct read_batch {
    uint64_t opened_us; /* not after the leader was asked */
    struct list in_batches;
    struct replica *replica;
    struct cons_read confirm;
    struct list reads;
    uint32_t count;
};

/* watch.h: requests for changes that wait here. */
struct replica_watches {
    struct list in_watched; /* store's */
    struct list waiting;
    struct list reading;
    uint32_t count;
    uint64_t asked_us; /* last request */
    bool is_moved;     /* something was applied since the last look */
};

enum apply_state { APPLY_IDLE, APPLY_LOG_READ, APPLY_PREFETCH, APPLY_STALLED };
enum replica_state {
    REPLICA_REPLAYING,
    REPLICA_BLANK,
    REPLICA_RUNNING,
    REPLICA_INSTALLING,
    REPLICA_DAMAGED,
    REPLICA_REMOVING,
    REPLICA_ABSORBED,
    REPLICA_MERGED,
    REPLICA_STATE_NR,
};

/* Where the replicas live that wrote to us, and that no configuration names (yet). */
struct stranger {
    uint64_t replica_id; /* 0: free */
    uint64_t store_id;
};
enum { REPLICA_STRANGERS_MAX = 8, REPLICA_HEARD_MAX = 32 };

/* strangers.c: whom it has heard of. Of one that sleeps it is forgotten. */
struct acquaintances {
    struct stranger strangers[REPLICA_STRANGERS_MAX];
    uint32_t strangers_next;
    uint32_t heard_count;
    uint64_t heard[REPLICA_HEARD_MAX]; /* replicas that surely stand where we send to */
};

/* Merges: merge_left.c, merge_right.c. */
struct merge_care {
    struct merge_drive *drive; /* leader: the merge that it leads, as the left one; NULL */
    uint64_t freeze_index;     /* leader: where it proposed to freeze this range; 0: not … */
    uint64_t freeze_term;      /* … and in which term */
    uint64_t left_store;       /* who asked for it and is to hear when all hold it; 0: nobody */
    uint64_t frozen_us;        /* leader: when it saw that; 0: not yet */
    uint64_t asked_us;         /* whether it was aborted */
    uint64_t gone_attempt;     /* leader: whose right replicas it asks for … */
    uint32_t gone_seen;        /* … and which of them are gone, as bits */
    uint64_t gone_us;
};

/* Being taken in by another range: absorb.c. */
struct absorption {
    struct list in_merged; /* store's, once MERGED */
    uint64_t by_range;
    uint64_t to_index;     /* it applies up to here first; 0: not at all (a snapshot comes) */
    uint64_t merged_us;    /* MERGED: since then */
    uint64_t freeze;       /* MERGED: the memtable that holds its end; 0: not frozen yet */
    bool is_durable;       /* that is flushed, and its log forgotten */
    bool is_planned;       /* while a snapshot's plan is made: it goes with that one's edit */
    uint64_t missed_index; /* of a COMMIT_MERGE whose right is not here: told once */
    uint64_t ended_into;   /* told that its range was merged into that one; 0: not … */
    uint64_t ended_epoch;
};

/* A write handed to the log; kept in a list until durable. */
struct log_write {
    struct list in_log_writes;
    struct replica *replica;
    struct raftlog_write op;
    uint64_t write_id;    /* consensus'; 0: the store's own reset */
    uint64_t generation;  /* of the consensus instance */
    struct list in_begun; /* store's: it makes a replica known to the log … */
    uint64_t freeze;      /* … of which this memtable tells; 0: none that is frozen */
};

/* Entries on their way from disk to a follower. */
struct log_fetch {
    struct list in_fetches;
    struct replica *replica;
    struct raftlog_read op;
    uint64_t token;
    uint64_t generation;
    bool is_failed; /* could not even begin: answered at the end of the turn */
};

struct replica {
    struct store *store;
    struct list in_woken;   /* store's */
    struct list in_awake;   /* store's: those awake, or those asleep (sleep.h) */
    struct list in_news;    /* store's: asleep, and placement is to hear of it */
    struct env_timer timer; /* consensus' next time-out, and the tick */
    uint64_t fired_us;      /* it fired then, and the turn has not come yet; 0: it has */
    uint64_t replica_id;
    uint64_t range_id;
    enum replica_state state;
    struct range *range;             /* NULL while BLANK */
    struct consensus *cons;          /* NULL while replaying, or parked (sleep.h) */
    struct nap nap;                  /* sleep.h */
    struct acquaintances *known;     /* owned; NULL: none */
    uint64_t made_at_epoch;          /* blank: conf epoch of the message that made it */
    uint64_t led_us;                 /* when a leader last wrote to us; 0: not looked at yet */
    uint64_t asked_us;               /* whether it is still a member */
    struct member_check *check;      /* strangers.c: somebody asks that of us; may be NULL */
    struct replica_removal *removal; /* replica_end.c; NULL: it stays */
    bool is_no_member;               /* applied so; dealt with at the end of the turn */
    bool is_newborn;                 /* made by a split: nobody has led it yet */
    bool has_run;                    /* consensus was started in this process */
    uint64_t generation;             /* of the consensus instance; grows at each start */
    uint64_t next_write_id;
    bool is_role_known;
    enum cons_state role;
    uint64_t role_term;
    bool lost_leadership;   /* told by consensus, dealt with at the end of the turn */
    enum watermark space;   /* leader: what the voters' disks let the range write */
    bool can_spare;         /* … and those at READ_ONLY are not needed for a majority */
    uint64_t leaderless_ms; /* our clock is wrong: without a leader since then; 0: there is one */

    struct range_load load; /* beats.h */
    struct hot *hot;        /* hot.h; owned; NULL: it is not busy */

    uint64_t admin_index; /* of the last administrative entry proposed here … */
    uint64_t admin_term;  /* … in this term: in a later one another may stand there */
    uint64_t load_us;     /* when the requests were first counted that load_count has … */
    uint64_t load_count;  /* … so far, as the leader */
    uint64_t load_last;   /* requests a second, in the time before that */
    bool wants_campaign;  /* as soon as consensus runs: a split has just made it */
    struct merge_care merge;
    struct absorption absorbed;

    struct fair writes;        /* to be proposed: write_op.in_queue */
    uint32_t writes_under_way; /* accepted and not answered: in it, or proposed */
    struct rate write_rate;    /* of their answers */
    struct list proposals;     /* proposed, in order of index */
    uint32_t proposal_count;   /* those that are not stale */
    struct entry_builder builder;
    bool needs_stamp;  /* propose an entry even without writes */
    uint64_t stamp_ms; /* … with a stamp not below this */
    struct list stamp_reads;

    enum apply_state apply;
    uint64_t replay_to;              /* the log's hint at open */
    struct log_trailing trailing;    /* log_room.h */
    uint64_t refused_freeze;         /* log_room.c: the flush to wait for; 0: for none */
    struct raftlog_read *apply_read; /* owned; NULL: none */
    bool has_apply_read;             /* it holds entries */
    struct env_task pump;
    struct env_timer apply_retry;

    struct list batches;                /* asked of consensus */
    struct read_batch *open_batches[2]; /* [1]: a lease will do for them */
    uint64_t fresh_us;                  /* all that was acknowledged before is applied */
    struct list reading;                /* read_ops in range_read, off the loop */
    struct list ready_reads;            /* confirmed, of this turn … */
    struct fair backlog;                /* … for which it had no time, shared out … */
    struct fair large;                  /* … or that will cost much … */
    struct fair choked;                 /* … or their client does not read */
    struct list in_choked;              /* store's: there may be such */
    struct list in_short; /* store's (large.h): who has large values to read, in line */
    uint64_t look_us;     /* when these are to be looked through */
    uint64_t choked_us;   /* when those were last looked at */
    uint32_t read_count;

    struct replica_watches watches; /* watch.h */

    struct list log_writes;
    struct list fetches;
    bool wants_reopen;

    struct list streams;         /* snapshots that we send */
    struct list dropped_streams; /* of them: given up, a read is in flight */
    struct snapshot_in *in;      /* the one that we take in */

    struct list checks;         /* check.h */
    struct list dropped_checks; /* of them: given up, a step is in flight */
};

/* ---- replica.c: life ---------------------------------------------------------- */

/* `range` NULL: a blank one, of this range. */
int replica_new(struct store *store, uint64_t replica_id, uint64_t range_id, struct range *range,
                struct replica **ret_replica, struct err *err);

/* The same, and its place in the store, which owns it then. On failure `range` is freed. */
int replica_add(struct store *store, uint64_t replica_id, uint64_t range_id, struct range *range,
                struct replica **ret_replica, struct err *err);

/* A blank one: consensus starts with what the log knows of it, if anything. */
int replica_add_blank(struct store *store, uint64_t replica_id, uint64_t range_id,
                      struct replica **ret_replica, struct err *err);

/* Does it take part in its group now, awake or not? */
static inline bool replica_is_up(const struct replica *r)
{
    return (r->state == REPLICA_RUNNING || r->state == REPLICA_BLANK) &&
           (r->cons != NULL || r->nap.parked != NULL);
}

/* Do reads of this turn wait to be confirmed? */
static inline bool replica_has_open_reads(const struct replica *r)
{
    return r->open_batches[0] != NULL || r->open_batches[1] != NULL ||
           !list_is_empty(&r->ready_reads) || r->backlog.count > 0 || r->large.count > 0 ||
           r->choked.count > 0;
}

/* It will have nothing to do for long: give back what memory that takes. */
void replica_trim(struct replica *r);

/* A client's request for data came, of that key (as it is stored). */
void replica_note_request(struct replica *r);
void replica_note_key(struct replica *r, struct slice key);

/* Is it so busy that the keys are worth remembering? */
bool replica_wants_key(struct replica *r);

/* Such requests a second, over the last REPLICA_LOAD_US or a bit more. */
uint64_t replica_load(const struct replica *r);
enum { REPLICA_LOAD_US = 10 * 1000 * 1000 };

/* After env_stop(); answers nobody. NULL is fine. */
void replica_free(struct replica *r);

/* Replay the log up to its hint, then start consensus. */
void replica_run(struct replica *r);

/* End of a loop turn: propose, confirm reads, set the timer. */
void replica_turn(struct replica *r);

/* The time that consensus is about to be told. Whoever tells it first after the loop stood still
 * excuses that: the others are not to be blamed for what was not heard of them. */
uint64_t replica_now_ms(struct replica *r);

/* From apply: the hint is reached. */
void replica_on_replayed(struct replica *r);

/* Damage at rest: never vote, answer or apply again under this id. */
void replica_damage(struct replica *r, const char *what, const struct err *err);

/* Are there other voters, who may go on without this replica? */
bool replica_has_others(const struct replica *r);

/* ---- replica_end.c: leaving the store ------------------------------------------------------ */

/* This id is a member no more, and will never be again: data, log and meta go, and a
 * tombstone stays for ids below `least_id`. From outside consensus; it is freed once
 * nothing is on its way and the edit is durable. Harmless when it goes on already. */
void replica_remove(struct replica *r, uint64_t least_id);

/* From the turn: go on with it. */
void replica_removal_turn(struct replica *r);

/* The same of one whose range was merged into another, at that epoch. */
void replica_remove_ended(struct replica *r, uint64_t into_range, uint64_t span_epoch);

/* Is nothing on its way that will call back? */
bool replica_is_quiet(const struct replica *r);

/* Has the edit that ends it been ordered? Then nothing of it may be written again. */
bool replica_is_ended(const struct replica *r);
void replica_removal_free(struct replica *r);

/* ---- replica.c again ------------------------------------------------------------------------ */

/* Part of it, to be called from outside consensus: answer everybody who waits and end
 * consensus. */
void replica_end(struct replica *r);

/* End consensus and start it again from what is on disk, once nothing is on its way
 * there. From outside consensus. */
void replica_restart_consensus(struct replica *r);

/* The one place that writes r->state. */
void replica_move(struct replica *r, enum replica_state to);

/* Do we lead, as far as we know, and awake or at least not parked? Reads must be confirmed all
 * the same. */
bool replica_is_leader(const struct replica *r);

/* The same for whoever comes and wants something of the leader: one that is parked is woken.
 * From outside consensus. */
bool replica_leads(struct replica *r);

/* From consensus: state, term or leader changed. */
void replica_on_role(void *ctx, enum cons_state role, uint64_t term, uint64_t leader);

/* ---- replica_log.c: consensus' table over the log -------------------------------- */

extern const struct cons_ops replica_cons_ops;

/* Make the log begin behind (index, term); replica_on_replayed() or snapshot_in_on_reset()
 * when durable. */
void replica_log_reset(struct replica *r, uint64_t index, uint64_t term);

/* The same for a new replica. Its hard state is `base_term`, or what it has promised
 * before in a later term, or in that one. */
void replica_log_begin(struct replica *r, uint64_t index, uint64_t base_term, uint64_t term,
                       uint64_t vote);

/* Put a hint for `index` into the log, before whatever is appended next. */
void replica_log_hint(struct replica *r, uint64_t index);

/* The engine freezes memtable `freeze`, or did not after all: what a flush of it must not overtake
 * are the beginnings of logs that are on their way. */
void replica_log_on_freeze(struct store *store, uint64_t freeze);
void replica_log_on_unfreeze(struct store *store, uint64_t freeze);

/* Must that memtable wait for the log? */
bool replica_log_holds(const struct store *store, uint64_t freeze);
void replica_log_free(struct replica *r);

/* Answer the fetches that could not begin. */
void replica_log_turn(struct replica *r);

/* Is a fetch under way? */
bool replica_log_is_reading(const struct replica *r);

/* What its consensus is made with. */
void replica_cons_options(struct replica *r, struct cons_options *ret_options);

/* What is on disk and in memory, for consensus_start(). */
int replica_start_consensus(struct replica *r, struct err *err);

/* ---- replica_apply.c ---------------------------------------------------------------- */

/* Its task and timer; nothing waits yet. */
void replica_apply_init(struct replica *r);
/* Gives back what was read of the log; nothing of it is on its way. */
void replica_apply_shrink(struct replica *r);
/* Gives back a read of the log that is on its way; after env_stop(). */
void replica_apply_free(struct replica *r);

/* There may be something to apply. Cheap; the work is done in a task. */
void replica_apply_wake(struct replica *r);

/* Apply rests for a moment and tries again. */
void replica_apply_stall(struct replica *r);

/* lsm_stall() changed. */
void replica_on_stall(struct replica *r);

/* ---- replica_write.c ------------------------------------------------------------------ */

/* Take a write. Takes over `op` in any case and answers it in time. */
void replica_write(struct replica *r, struct write_op *op);
void replica_propose(struct replica *r);

/* Entry `index` of `term` was applied: who hears its results; NULL if nobody waits.
 * Proposals that it overtook are answered as not done. */
struct proposal *replica_proposal_at(struct replica *r, uint64_t index, uint64_t term);

/* Propose an entry that is no batch of commands; `to` (NULL: nobody) hears what comes of
 * it, by replica_admin_done(). An error: it was not proposed, and nobody was answered. */
int replica_propose_admin(struct replica *r, const struct answer_to *to, struct slice payload);

/* The same for one that consensus has proposed itself, at `index`: a membership change. */
void replica_await_admin(struct replica *r, const struct answer_to *to, uint64_t index);

/* The administrative entry of `p` is applied, or was refused at apply. */
void replica_admin_done(struct replica *r, struct proposal *p, int status, const char *text);

/* `op` (of a proposal) is applied. */
void replica_write_answer_result(struct replica *r, struct write_op *op,
                                 const struct command_result *result);

/* All of the entry is answered. */
void replica_proposal_done(struct replica *r, struct proposal *p);

/* The state jumped to `index` by a snapshot: what became of these is not known. */
void replica_proposals_skip(struct replica *r, uint64_t index);
void replica_write_tick(struct replica *r, uint64_t now_us);

/* Leadership was lost: what is proposed is decided by others now, and must not keep a
 * later leadership from proposing at the same indexes. */
void replica_proposals_stale(struct replica *r);

/* What is proposed and not applied will never be: definite. */
void replica_proposals_refuse(struct replica *r, int status);

/* Everything queued and not proposed is answered with `status`. */
void replica_write_fail_queue(struct replica *r, int status);
void replica_write_free(struct replica *r);

/* ---- replica_admin.c: entries that change the range itself ----------------------------------- */

/* May an administrative entry be proposed now, by this leader? 0, ERR_NOT_LEADER,
 * ERR_BUSY, ERR_NO_SPACE. */
int replica_check_admin(struct replica *r, struct err *err);

/* The same for what ends a thing that has begun, so that a range does not stay frozen: it may
 * have what is left of the disk. 0, ERR_NOT_LEADER, ERR_BUSY. */
int replica_check_ending(struct replica *r, struct err *err);

/* Stamp and propose it; as replica_propose_admin(). */
struct range_admin;
int replica_propose_step(struct replica *r, const struct answer_to *to, struct range_admin *admin);

/* Take a CHANGE_MEMBER and answer it when it is applied or refused. */
void replica_change_member(struct replica *r, const struct answer_to *to,
                           const struct request *request);

/* Take a SPLIT (decoded) and answer it when it is applied or refused. */
void replica_split(struct replica *r, const struct answer_to *to, const struct request *request);

/* Change how long the range keeps old versions, likewise. */
void replica_retain(struct replica *r, const struct answer_to *to, const struct request *request);

/* At teardown: edits that are on their way. */
void replica_admin_free(struct store *store);

/* Apply an administrative entry. Errors as range_apply(). */
int replica_apply_admin(struct replica *r, uint64_t index, uint64_t term, struct slice payload,
                        struct err *err);

/* ---- replica_read.c ---------------------------------------------------------------------- */

/* Of the store: before any of its replicas. */
void replica_reads_init(struct store *store);

/* Take a read. Takes over `op` and answers it in time. */
void replica_read(struct replica *r, struct read_op *op);
void replica_read_flush(struct replica *r);
void replica_read_tick(struct replica *r, uint64_t now_us);

/* Nothing waits for that client any more: what it waited for because of that goes on. */
void replica_read_drained(struct store *store, uint64_t client);

/* Range time has moved: start these again, or fail them. */
void replica_read_stamped(struct replica *r, struct list *reads, int status);
void replica_read_fail_all(struct replica *r, int status);
void replica_read_free(struct replica *r);

/* After env_stop(), or once it is answered. */
void read_op_free(struct read_op *op);

/* ---- snapshot_out.c, snapshot_in.c -------------------------------------------------------- */

/* Note the wish (from inside consensus); the turn opens the stream. */
void snapshot_out_start(struct replica *r, uint64_t target);
void snapshot_out_turn(struct replica *r);

/* Leadership is lost, or the replica ends: drop all streams. */
void snapshot_out_stop_all(struct replica *r);
void snapshot_out_tick(struct replica *r, uint64_t now_us);
void snapshot_out_free(struct replica *r);

/* May the log be told of another stream that did not come to its end? Where many are refused at the
 * same time it is told of some of them, and how many others there were. */
bool snapshot_may_tell(struct store *store);

/* Did a stream end so because its connection was lost, and not by either side's will? */
bool snapshot_is_cut(int status);

/* net_hooks.on_stream; data is the store. */
int snapshot_in_on_stream(void *data, struct net_stream *stream, const struct net_identity *from,
                          struct err *err);

/* Is one being put in place, or was when the replica was damaged? */
bool snapshot_in_is_bound(const struct replica *r);

/* Give up what is being taken in. Not while it is bound. */
void snapshot_in_drop(struct replica *r);

/* What the state that is being taken in says of itself; NULL: none is, or not yet. */
const struct range_meta *snapshot_in_meta(const struct replica *r);

/* Is the whole data of this state staged here, and may it take its place? */
bool snapshot_in_has(const struct replica *r, uint64_t index, uint64_t term);
void snapshot_in_install(struct replica *r, const struct cons_base *base);

/* It is staged, but not to be installed yet: keep the leader's word for when it is. Else nothing
 * happens. */
void snapshot_in_hold(struct replica *r, uint64_t from_store, const struct cons_msg *msg);

/* The log begins anew behind the state that came in. */
void snapshot_in_on_reset(struct replica *r);

/* Apply has come to rest: an install that waited for that goes on. */
void snapshot_in_on_quiet(struct replica *r);
void snapshot_in_tick(struct replica *r, uint64_t now_us);
void snapshot_in_free(struct replica *r);

/* The same for streams that have not said yet whose they are. */
void snapshot_in_tick_greeted(struct store *store);
void snapshot_in_free_greeted(struct store *store);

/* Assert that the store counts them rightly. */
void snapshot_in_check(const struct store *store);

#endif
