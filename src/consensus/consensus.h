/* SPDX-License-Identifier: Apache-2.0
 *
 * consensus — one member of one Raft group.
 *
 * Pure: what happened comes in as a call with the time as data; what must be done
 * goes out through one table of functions. No clock, no I/O, no thread, and the
 * only randomness is the seed. Underneath is raft_step() of libraft 0.22.1 behind
 * the guards of README.md; nothing of the library shows here.
 *
 *   receive, tick, propose ──▶ ┌───────────┐ ──▶ persist ──▶ (disk) ──▶ on_persisted
 *   on_persisted, on_fetched   │ consensus │ ──▶ send      ──▶ (peers) ──▶ receive
 *   on_applied, on_snapshot_*  └───────────┘ ──▶ committed ──▶ (apply) ──▶ on_applied
 *
 * What the owner does at the end of a loop turn: consensus_flush() for each group
 * that got reads; arm a timer for consensus_next_timeout(); look at
 * consensus_needs_reopen().
 *
 * Units      times are milliseconds of the owner's monotonic clock; calls never
 *            bring an earlier `now_ms` than the one before. Indexes start at 1.
 * Ownership  the owner's `ctx`, table and log outlive the consensus. All slices,
 *            in both directions, are borrowed for the call only.
 * Threads    all calls from one thread. Functions of the table run inside a call
 *            and must not call this consensus again (queries excepted:
 *            consensus_status, _term, _is_leader …). A read's callback may call
 *            anything but consensus_free().
 * Errors     0 or a negative ERR_*. A peer's nonsense is ERR_INVALID and changes
 *            nothing. If the library itself fails, consensus_needs_reopen()
 *            becomes true and every later input is refused with ERR_STATE: free
 *            it, wait until every write handed out is durable, and start another
 *            from what is on disk.
 * Invariants (C1) no message leaves before the term and vote that it depends on
 *            are durable. (C2) the commit index never falls. (C3) persist is
 *            called before the messages of the same step are filled. (C4) writes
 *            carry growing ids, and the log after a write ends at its last entry.
 *            (C5) at most one uncommitted CHANGE is proposed by a leader.
 * Limits     CONS_* below; beyond a bound ERR_BUSY, or for messages: dropped (Raft
 *            repeats what matters).
 */
#ifndef CONSENSUS_CONSENSUS_H_
#define CONSENSUS_CONSENSUS_H_

#include "base/base.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "consensus/config.h"
#include "consensus/message.h"

struct consensus;

enum {
    CONS_PROPOSE_MAX = 1024,      /* entries in one proposal */
    CONS_READS_MAX = 65536,       /* reads waiting in one group */
    CONS_HELD_MAX = 128,          /* messages waiting for a durable term or for entries from disk */
    CONS_UNCOMMITTED_MAX = 65536, /* entries appended by a leader and not committed */
    CONS_WRITES_MAX = 8192,       /* writes not yet durable; then proposals are ERR_BUSY */
    CONS_DRIFT_PPM_MAX = 200000,  /* no clock that is worth the name drifts so */
    CONS_PROMOTE_LAG_MAX = 256,   /* a learner this close to the end of the log may be promoted */
};

enum cons_state { CONS_FOLLOWER = 1, CONS_CANDIDATE = 2, CONS_LEADER = 3 };

/* One write for the log. To be written as one record, in the order of ids.
 * First the log loses everything at and above `first_index` (if n > 0), then
 * entries[0..n) stand at first_index, ... */
struct cons_write {
    uint64_t id;
    bool has_hard_state;
    uint64_t term; /* valid if has_hard_state, and then durable together with the entries */
    uint64_t vote; /* replica id, 0 for none */
    uint64_t first_index;
    const struct cons_entry *entries;
    uint32_t n;
    uint64_t commit_hint; /* safe to record with it (storage.md); 0: none */
};

/* What consensus asks of its owner. All are required unless said otherwise. */
struct cons_ops {
    /* Make durable. At return log_term() and log_entries() must already show the
     * entries (they may be in memory only). Answer later, never from inside, with
     * consensus_on_persisted(); an answer for id N covers every id below. The
     * owner cannot refuse: if it fails to write, the process or the replica ends. */
    void (*persist)(void *ctx, const struct cons_write *write);

    /* Term of the entry at `index`, 0 if the log does not hold it. Must not block:
     * it is answered from the index of the log. */
    uint64_t (*log_term)(void *ctx, uint64_t index);

    /* Fill `entries` with up to `n` entries from `first` on, stopping before the
     * one that takes the sum of their bytes over `bytes_max` (the first is always
     * given). *ret_n > 0 on success. ERR_WOULD_BLOCK if the first is not in
     * memory; ERR_NOT_FOUND if it is not in the log. The data must stay valid until
     * the call into consensus that is going on returns. */
    int (*log_entries)(void *ctx, uint64_t first, uint32_t n, size_t bytes_max,
                       struct cons_entry *entries, uint32_t *ret_n);

    /* Read [first, first + n) from disk for `peer`, pinned against truncation, and
     * call consensus_on_fetched() with the same token, whatever the outcome. */
    void (*log_fetch)(void *ctx, uint64_t token, uint64_t peer, uint64_t first, uint32_t n);

    /* Carry `msg` to replica msg->to. May drop it. */
    void (*send)(void *ctx, const struct cons_msg *msg);

    /* Optional (NULL: always true). False if nothing that is sent to `peer` now
     * would arrive: entries for it are dropped before they are read. */
    bool (*peer_ready)(void *ctx, uint64_t peer);

    /* Optional (NULL: no bound). Bytes of entries that may be sent to `peer` now. While it is not
     * 0 one message is taken, however large; with 0 it would be dropped, and is owed: it follows
     * the next acknowledgement or tick that finds room. */
    size_t (*peer_room)(void *ctx, uint64_t peer);

    /* Optional (NULL: never). True if `peer` is to be spared: it hears heartbeats and
     * gets no entries. */
    bool (*peer_spared)(void *ctx, uint64_t peer);

    /* The commit index went from `from` to `to` > `from`. Apply in order, up to
     * consensus_apply_limit(). */
    void (*committed)(void *ctx, uint64_t from, uint64_t to);

    /* The latest configuration (it acts from the moment that it is appended) is now
     * `config`, of the CHANGE at `index`; a truncation brings an older one back.
     * Called again with is_committed when that one commits. */
    void (*config_changed)(void *ctx, const struct cons_config *config, uint64_t index,
                           bool is_committed);

    /* State, term or known leader changed; leader is 0 if unknown. */
    void (*role_changed)(void *ctx, enum cons_state state, uint64_t term, uint64_t leader);

    /* Optional. It slept, and some input has woken it: its timer runs again. */
    void (*woken)(void *ctx);

    /* Put the snapshot of `base`, whose data were received before, in the place of
     * the applied state: one engine edit, then the log starts anew at base->index
     * + 1. Keep the old log on disk until the edit is durable. When both are durable:
     * consensus_on_snapshot_installed(). Until then the log shows nothing. To give
     * up, free this consensus and start from what is on disk. */
    void (*install_snapshot)(void *ctx, const struct cons_base *base, uint64_t from);

    /* `target` needs a snapshot: stream the applied state to it out of band, then
     * consensus_snapshot_sent(), or consensus_snapshot_failed(). Not asked again for
     * the same target before one of the two. A change of role ends all streams:
     * then do neither. */
    void (*need_snapshot)(void *ctx, uint64_t target);
};

/* What all groups of a store have on its way to followers, in bytes, for each store that those are
 * on: one that takes everything and acknowledges nothing keeps none from the others. */
struct cons_budget {
    uint64_t max;    /* to one store */
    struct map used; /* private: store id → uint64_t, owned */
};

void cons_budget_init(struct cons_budget *budget, uint64_t max);
/* After the last group that uses it. Accepts zeroes. */
void cons_budget_fini(struct cons_budget *budget);

/* What is on its way to that store now, in place until the end; NULL: memory is out. */
uint64_t *cons_budget_used(struct cons_budget *budget, uint64_t store_id);

struct cons_options {
    uint64_t replica_id; /* of this member, [1, CONS_ID_MAX] */
    uint64_t group_id;
    uint64_t store_id;
    uint64_t first_write_id;       /* ids of writes start here; 0 means 1. An owner that starts
                                      a member again gives one above the last instance's */
    uint32_t election_timeout_ms;  /* > heartbeat_ms */
    uint32_t heartbeat_ms;         /* better above the round trip; > 0 */
    bool no_pre_vote;              /* for tests */
    uint32_t lease_ms;             /* leases: how long a promise lasts that we give or ask
                                      for; at most the election timeout. 0: none */
    uint32_t drift_ppm;            /* by how much two clocks may drift from true time, each */
    uint32_t hold_ms;              /* from the start on, vote for nobody and do not stand: as
                                      long as a promise may last that was made before a stop */
    uint32_t max_inflight_entries; /* window per follower; 0: 2048; <= 4096 */
    uint32_t append_bytes_max;     /* of one APPEND message; 0: 512 KiB */
    uint32_t inflight_bytes_max;   /* per follower; 0: 8 MiB */
    struct cons_budget *inflight;  /* shared by a store's groups, outlives; NULL: no bound */
    uint64_t seed;
    const struct cons_ops *ops; /* borrowed, outlives */
    void *ctx;                  /* for the table */
};

/* A CHANGE entry that the log holds. */
struct cons_change {
    uint64_t index;
    struct slice data;
};

/* What is on disk. `base` is the applied state after replay; the log may begin
 * below base.index + 1 (then older entries serve slow members), never above, and
 * must reach base.index at least unless it is empty. A group is born on all its
 * members with the same base (say index 10, term 5) and an empty log. */
struct cons_start {
    uint64_t term;
    uint64_t vote;
    struct cons_base base;
    uint64_t first_index;              /* of the log; base.index + 1 if it is empty */
    uint64_t last_index;               /* first_index - 1 if it is empty */
    const struct cons_change *changes; /* every CHANGE in the log above the base, by index, and of
                                          the others those that are known; borrowed */
    size_t n_changes;
};

/* `opts` is copied. ERR_INVALID or ERR_NOMEM. */
int consensus_new(struct consensus **ret_c, const struct cons_options *opts, struct err *err);

/* Free everything, whatever is in flight; waiting reads get no callback. NULL is
 * fine. Calls nothing of the table. */
void consensus_free(struct consensus *c);

/* Begin, once. ERR_CORRUPT if what is on disk does not fit together, with the
 * reason, or ERR_NOMEM; then only consensus_free() may follow. May persist and send at
 * once: a sole voter begins a new term and leads. */
int consensus_start(struct consensus *c, uint64_t now_ms, const struct cons_start *start,
                    struct err *err);

/* Every write with an id up to `write_id` is durable. Unknown ids are ignored. */
void consensus_on_persisted(struct consensus *c, uint64_t now_ms, uint64_t write_id);

/* Answer to log_fetch. `status` 0: entries[0..n) are those asked for, n may be less;
 * other: dropped. Dropped too if term, role or log have moved on. */
void consensus_on_fetched(struct consensus *c, uint64_t now_ms, uint64_t token, int status,
                          const struct cons_entry *entries, uint32_t n);

/* The owner has applied everything up to `index` (<= consensus_apply_limit()). */
void consensus_on_applied(struct consensus *c, uint64_t now_ms, uint64_t index);

/* The snapshot asked for by install_snapshot is durable, and so is the log that
 * begins behind it. Also sets the applied index. */
void consensus_on_snapshot_installed(struct consensus *c, uint64_t now_ms, uint64_t index);

/* Time has passed. Harmless when early. */
void consensus_tick(struct consensus *c, uint64_t now_ms);

/* When consensus_tick() is next due; always later than `now_ms`. */
uint64_t consensus_next_timeout(const struct consensus *c, uint64_t now_ms);

/* End of a loop turn: send a probe for the reads that came in it. Reads complete
 * here, and in every other input that brings them about. */
void consensus_flush(struct consensus *c, uint64_t now_ms);

/* A message for this replica. The bytes may be anybody's: everything is checked.
 * ERR_INVALID with the reason: forged, malformed or in conflict with what is
 * committed; nothing has changed. 0 for what is merely late or of no use. */
int consensus_receive(struct consensus *c, uint64_t now_ms, const struct cons_msg *msg,
                      struct err *err);

/* False while consensus_propose() would refuse: not the leader, or leadership is handed over,
 * or CONS_WRITES_MAX or CONS_UNCOMMITTED_MAX is reached. Who has something to propose had
 * better keep it until then: what is over in a moment is no reason to send anybody away. */
bool consensus_may_propose(const struct consensus *c);

/* Append `n` COMMANDs (only `data` is read), the first at *ret_first_index, in term
 * consensus_term(). An error is definite: nothing was appended. ERR_NOT_LEADER;
 * ERR_BUSY while leadership is handed over or too much is on its way.
 * Committed if committed() reaches the index while log_term() there is that term. */
int consensus_propose(struct consensus *c, uint64_t now_ms, const struct slice *data, uint32_t n,
                      uint64_t *ret_first_index);

enum cons_change_kind { CONS_ADD_LEARNER = 1, CONS_PROMOTE = 2, CONS_REMOVE = 3 };

/* Change the membership by one member. `store_id` only for CONS_ADD_LEARNER. Refused:
 * ERR_NOT_LEADER; ERR_BUSY (try again later: another change or administrative entry
 * is not applied yet, the member is not caught up, too few live voters, or too few of them have
 * answered since the group woke: its heartbeats must go on for that); ERR_EXISTS,
 * ERR_NOT_FOUND; ERR_INVALID (would never be allowed: say, the last voter); `err`
 * tells which rule. A leader that is to be removed hands over first where the rules
 * ask for it (ERR_BUSY until then). */
int consensus_propose_change(struct consensus *c, uint64_t now_ms, enum cons_change_kind kind,
                             uint64_t replica_id, uint64_t store_id, uint64_t *ret_index,
                             struct err *err);

/* True if an administrative entry (split, merge step) may be proposed now: leader, an
 * entry of the own term is applied, every CHANGE in the log too, no hand-over. The
 * owner keeps count of its own administrative entries. */
bool consensus_is_admin_ready(const struct consensus *c);

/* Use no lease any more until the next term (a merge is about to freeze the range, say). */
void consensus_give_up_lease(struct consensus *c);

/* Hand leadership to `target`, 0 for the best follower. Proposals are ERR_BUSY until
 * it is done (role_changed) or given up after an election timeout. ERR_NOT_LEADER;
 * ERR_BUSY if one is going on; ERR_NOT_FOUND if there is no such live voter. */
int consensus_transfer(struct consensus *c, uint64_t now_ms, uint64_t target);

/* Start an election now instead of at the timer (after a split; on one node's first
 * start). Nothing happens on a leader or a learner. */
void consensus_campaign(struct consensus *c, uint64_t now_ms);

/* --- sleep
 *
 * A group at rest can sleep: its clock stands still, no timer is needed. The leader sees
 * that everybody has everything (consensus_rest()); the owner carries that to all members,
 * and each sleeps if it agrees (consensus_sleep()); the leader last, when all have. Any
 * message but a read's probe, and any proposal, hand-over, campaign or read wakes a member by
 * itself; those of a leader whose store has fallen silent must all be woken by their owners,
 * for nobody of them will notice. A follower asleep may be parked. */

/* Where a group rests: `leader` leads `term`, and every log ends at `index`, committed. */
struct cons_rest {
    uint64_t leader; /* replica id */
    uint64_t term;
    uint64_t index;
};

/* On a leader: is there nothing left to do? Every member, learners too, is live and holds
 * the last entry, which is committed and applied; no change, hand-over, snapshot, read
 * or write is under way. */
bool consensus_rest(const struct consensus *c, struct cons_rest *ret_rest);

/* Sleep, if this member rests there too and knows it: it follows (or is) that leader, and
 * all is committed, applied and durable here. 0, also if it sleeps already; ERR_BUSY if
 * not: ask again later. While asleep consensus_tick() does nothing and
 * consensus_next_timeout() is UINT64_MAX. */
int consensus_sleep(struct consensus *c, uint64_t now_ms, const struct cons_rest *rest);

/* Go on as if no time had passed. Harmless when awake. */
void consensus_wake(struct consensus *c, uint64_t now_ms);

/* The same, as if it had missed its leader for an election time-out: that one's store is
 * silent or began anew. It stands for election within another, unless somebody leads. */
void consensus_wake_orphan(struct consensus *c, uint64_t now_ms);
bool consensus_is_asleep(const struct consensus *c);

/* A member put away: malloc'ed, to be freed with free(). */
struct cons_parked {
    uint64_t leader; /* whom it followed; itself: it led */
    uint64_t term;
    uint64_t vote;
    uint64_t index; /* where its log ended: committed, applied, durable */
    uint64_t index_term;
    uint64_t config_index;
    uint64_t next_write_id;
    uint64_t promised_until_ms; /* leader: by the owner's clock */
    uint64_t lease_off_term;    /* leader: in this term it uses no lease (any more) */
    uint32_t n_members;
    struct cons_member members[];
};

/* Free a sleeping member and give what is needed to start it again. ERR_BUSY for one
 * that is awake, ERR_NOMEM; then nothing has changed. The owner keeps log and state as they
 * are. A leader goes on leading its term: who asks it anything unparks it. */
int consensus_park(struct consensus *c, struct cons_parked **ret_parked);

/* Heartbeats of a leader so far apart from now on (less than an election time-out; at the start
 * as the options say). For one that cannot rest and has nothing to do. */
void consensus_set_heartbeat(struct consensus *c, uint32_t heartbeat_ms);

/* The owner did not run for so long, so that nobody could be heard: that time does not count
 * when the silence of others is judged, as far as it has not seen it pass yet: it never stands
 * still to make up for more. However long it was, once; but one that is late again and again,
 * and hears no leader between, has no more of it than an election time-out and the time that
 * does pass, so that a dead leader is noticed. Promises, which are made by the real clock, stand as
 * long as ever. */
void consensus_hold_back(struct consensus *c, uint64_t now_ms, uint64_t late_ms);

/* Start it again, awake. `parked` stays the caller's. Errors as of consensus_new() and
 * consensus_start().
 * A follower: as safe as a restart is, and under the same rule for leases. It knows no leader
 * then: unless that one is believed to be gone, let it receive consensus_parked_beat().
 * A leader leads on in its term, as if it had merely slept, but that it has no lease yet and
 * none of the log below its end; role_changed() says so again. Only in the process that parked
 * it, which has promised nothing since. */
int consensus_unpark(struct consensus **ret_c, const struct cons_options *opts, uint64_t now_ms,
                     const struct cons_parked *parked, struct err *err);

/* The heartbeat of the leader that it followed, as if it came again only now (which no
 * message is safe from): with it, a member that was parked follows that leader as one that
 * merely slept does, and refuses its vote to others. The answer wakes the leader. */
struct cons_msg consensus_parked_beat(const struct cons_options *opts,
                                      const struct cons_parked *parked);

/* The answer to a probe without waking it; false: there is none. */
bool consensus_parked_probe(const struct cons_parked *parked, const struct cons_msg *probe,
                            struct cons_msg *ret_result);

/* May this member stand for election? True at the start. While false it asks nobody
 * for a vote and takes no hand-over; its own votes for others, and leadership that it
 * holds, are left as they are. Like losing the requests on their way: always safe. */
void consensus_set_candidacy(struct consensus *c, bool may_stand);

/* The engine's state at `base` is durable (flushed): the log may be cut. Up to
 * `trailing_max` entries at and below base.index are kept for live members that lag
 * and for running streams. 0; ERR_BUSY when it cannot be now (installing); nothing
 * happens (0) if the index is not newer than the last, or all entries are kept.
 * Afterwards see consensus_log_floor(). */
int consensus_compact(struct consensus *c, uint64_t now_ms, const struct cons_base *base,
                      uint32_t trailing_max);

/* Entries at and below this index are not needed by consensus; the owner may drop
 * those that are flushed as well: it keeps what is above min(floor, flushed). */
uint64_t consensus_log_floor(const struct consensus *c);

/* The stream for `target` is there: `base` is the state that it carried. */
void consensus_snapshot_sent(struct consensus *c, uint64_t now_ms, uint64_t target,
                             const struct cons_base *base);

/* The index of the stream for `target`, once known: the log above it is kept for it. */
void consensus_snapshot_started(struct consensus *c, uint64_t target, uint64_t index);

/* The stream for `target` broke: it will be asked for again if needed; if none of it was taken in
 * there, later each time, by up to a second. */
void consensus_snapshot_failed(struct consensus *c, uint64_t target, bool is_refused);

/* A linearizable read (Raft §6.4): on the leader, or on any member, which asks it.
 *
 *   IDLE ──read()──▶ QUEUED ──flush──▶ PROBING ──majority──▶ CATCHUP ──applied──▶ IDLE
 *                      ▲      │           │ (unanswered: new  ▲               cb(0)
 *                      │      └─ a lease ─┼──────────────────▶┘
 *                      └──────────────────┘  number)
 *
 * PROBING on a member that follows: it has asked its leader, which does the same and
 * answers with the index. It waits while no leader is known.
 *   any ── leadership lost, deadline ──▶ IDLE, cb(ERR_NOT_LEADER, ERR_TIMEOUT)
 */
struct cons_read;

/* `status` 0: the state applied now holds everything acknowledged before the read
 * was started; `index` is the confirmed commit index. The read may be freed or
 * started again from inside. Runs exactly once per started read unless the consensus
 * is freed. */
typedef void (*cons_read_cb)(struct cons_read *read, int status, uint64_t index);

enum cons_read_state { CONS_READ_IDLE, CONS_READ_QUEUED, CONS_READ_PROBING, CONS_READ_CATCHUP };

/* Caller allocates, zeroed, and leaves in place until `cb`. */
struct cons_read {
    void *data;           /* caller's */
    uint64_t deadline_ms; /* absolute; checked by tick */
    bool confirm_only;    /* complete without waiting for apply (for a follower's read) */
    bool is_anywhere;     /* also on a member that does not lead */
    bool by_lease;        /* the leader's lease will do, where there is one (lease.c) */
    cons_read_cb cb;
    /* private */
    enum cons_read_state state;
    int status;
    uint64_t index;
    struct list in_reads;
};

/* Start a read. ERR_NOT_LEADER (unless is_anywhere), or ERR_BUSY when CONS_READS_MAX wait;
 * then cb is never called. cb is never called from inside. Call consensus_flush() at the end of the
 * loop turn. */
int consensus_read(struct consensus *c, struct cons_read *read);

/* Withdraw a read that was started: cb will not be called. */
void consensus_read_cancel(struct consensus *c, struct cons_read *read);

/* How one member stands, as the leader sees it. */
struct cons_member_status {
    uint64_t replica_id;
    uint64_t store_id;
    enum cons_role role;
    uint64_t match;    /* highest index known to be on it; 0 unless we lead */
    bool is_live;      /* heard of within an election timeout; self is */
    bool is_streaming; /* a snapshot is under way to it */
};

struct cons_status {
    uint64_t replica_id;
    uint64_t group_id;
    enum cons_state state;
    uint64_t term;
    uint64_t durable_term;
    uint64_t vote;
    uint64_t leader; /* replica id, 0 unknown */
    uint64_t commit;
    uint64_t applied;
    uint64_t last_index;
    uint64_t last_stored;
    uint64_t snapshot_index;
    uint64_t log_floor;
    uint64_t config_index;           /* of the latest configuration */
    uint64_t config_committed_index; /* of the last committed */
    uint64_t transferee;             /* 0: no hand-over going on */
    bool has_told_to_stand;          /* another member in this term, who may do so late */
    bool is_installing;
    bool is_ready; /* leader that has committed an entry of its own term */
    uint32_t reads_waiting;
    uint32_t messages_held;
    uint64_t messages_dropped; /* by a bound or a guard */
    uint64_t messages_invalid;
    uint32_t n_members;
    struct cons_member_status members[CONS_MEMBERS_MAX];
};

void consensus_status(const struct consensus *c, struct cons_status *ret_status);

/* The same of one that is parked: as it was when it fell asleep. */
void consensus_parked_status(const struct cons_parked *parked, uint64_t replica_id,
                             uint64_t group_id, struct cons_status *ret_status);

uint64_t consensus_term(const struct consensus *c);
bool consensus_is_leader(const struct consensus *c);

/* Known leader's replica id, 0 if unknown; *ret_store_id (may be NULL) its store. */
uint64_t consensus_leader(const struct consensus *c, uint64_t *ret_store_id);

uint64_t consensus_commit(const struct consensus *c);
uint64_t consensus_last_index(const struct consensus *c);

/* Apply up to here: committed, held and durable here. */
uint64_t consensus_apply_limit(const struct consensus *c);

/* The latest configuration (appended) and the index of its CHANGE. */
const struct cons_config *consensus_config(const struct consensus *c, uint64_t *ret_index);

/* The configuration at `index`: that of the last CHANGE at or below it. For apply and
 * for snapshots; `index` must not be below the last compaction. */
const struct cons_config *consensus_config_at(const struct consensus *c, uint64_t index,
                                              uint64_t *ret_config_index);

/* True after the library failed: free and start again from disk. *ret_reason (may be
 * NULL) is a static text. */
bool consensus_needs_reopen(const struct consensus *c, const char **ret_reason);

/* Assert all invariants. */
void consensus_check(const struct consensus *c);

#endif
