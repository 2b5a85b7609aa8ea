/* SPDX-License-Identifier: Apache-2.0
 *
 * placement — the driver that keeps ranges where they should be: the map of stores and
 * ranges, and what to do next to make the map as it should be. It lives as long as one
 * term of range 1's leadership and is pure: what happened comes in as calls with the
 * time as data, what must be done is fetched from it.
 *
 *   rows of range 1 ─▶ placement_load() …, placement_loaded()
 *   joins, heartbeats, reports, results of steps ─▶ placement_on_…()
 *   an operator's word ─▶ placement_command()            ┌▶ placement_next_write() ─▶ range 1
 *   time ─▶ placement_tick() ─────────────▶ the driver ──┴▶ placement_next_step()  ─▶ leaders
 *
 * What its host owes it
 *  - A driver per term: placement_new() when range 1's leader has applied an entry of its
 *    own term, placement_free() when it leads no more. Never two terms in one driver.
 *  - Before each placement_tick() whose output is used, leadership was confirmed by a probe.
 *  - The rows of a write become durable as one, and only as a proposal of that very term;
 *    one write is on its way at a time, and placement_written() says what became of it.
 *    A write that failed, or may have, ends the driver: free it, load again.
 *  - Stores remember the greatest placement term that they saw and refuse lower ones.
 *
 * Operators are short lists of steps; of a range one runs at a time. A step goes to the
 * store that leads the range, again and again until the range's own descriptor shows that it
 * is done: steps are idempotent, and guarded by both epochs, which must equal those of the
 * range when the leader proposes. What was asked of ids is never asked of another range.
 *
 * Units      now_ms: the host's monotonic clock, differences count alone. Sizes in bytes,
 *            loads per second. Keys are on-disk keys, an empty end: to the last.
 * Ownership  inputs are borrowed during the call; outputs until the next call.
 * Threads    none: one owner.
 * Errors     0 or a negative ERR_*; ERR_NOMEM leaves everything as it was. Input that is
 *            stale (an older epoch, term, boot) is ignored and no error.
 * Invariants (L1) of a range at most one operator runs. (L2) an id is given out only below
 *            the durable limit of its kind, once. (L3) no step makes fewer healthy voters
 *            than there were, down to what the range should have. (L4) no step adds a
 *            replica on a node that has one, but in place of that one where no node is free.
 * Limits     PLACEMENT_STORES_MAX, PLACEMENT_RANGES_MAX, PLACEMENT_OPERATORS_MAX,
 *            PLACEMENT_ENDED_MAX; per range about 400 bytes and its keys.
 */
#ifndef PLACEMENT_PLACEMENT_H_
#define PLACEMENT_PLACEMENT_H_

#include "base/buf.h"
#include "base/err.h"
#include "wire/descriptor.h"

enum {
    PLACEMENT_STORES_MAX = 1024,
    PLACEMENT_RANGES_MAX = 1 << 20,
    PLACEMENT_OPERATORS_MAX = 4096, /* running at once */
    PLACEMENT_ENDED_MAX = 1 << 20,  /* merged ranges remembered; then the oldest is forgotten */
    PLACEMENT_HISTORY_MAX = 1024,   /* operators that ended, remembered with their reasons */
    PLACEMENT_STEPS_MAX = 24,       /* of an operator */
    PLACEMENT_LABELS_MAX = 256,     /* bytes of "zone=a,rack=r1" */
    PLACEMENT_REASON_MAX = 160,     /* bytes of a reason, with its NUL */
    PLACEMENT_WRITE_ROWS_MAX = 256, /* rows of one durable write */
    PLACEMENT_KEYSPACES_MAX = 1024, /* that have names */
    PLACEMENT_SYSTEM_RANGE = 1,
};

/* Kinds of ids; each grows by itself, and no number of a kind is ever given out twice. */
enum placement_ids {
    PLACEMENT_IDS_STORE,
    PLACEMENT_IDS_RANGE,
    PLACEMENT_IDS_REPLICA,
    PLACEMENT_IDS_OPERATOR,
    PLACEMENT_IDS_KEYSPACE,
    PLACEMENT_IDS_NR,
};

struct placement;

struct placement_options {
    uint64_t term;   /* of range 1's leadership; > 0 */
    uint64_t now_ms; /* of its start */
    uint64_t seed;   /* of choices between equals */
    /* How long old versions are kept where neither a keyspace nor the setting says otherwise: as
     * the cluster was founded. 0: it is not known, and nothing is asked of ranges without. */
    uint64_t retention_ms;
    /* The least number of each kind that was not used at the cluster's birth. 0: 1. */
    uint64_t first_id[PLACEMENT_IDS_NR];
};

/* NULL: memory is out. Nothing is scheduled before placement_loaded(). */
struct placement *placement_new(const struct placement_options *options);

/* NULL is fine. */
void placement_free(struct placement *p);

/* Assert all invariants: O(everything). */
void placement_check(const struct placement *p);

/* ---- the rows of range 1 ------------------------------------------------------------------
 *
 * Keys are texts below "placement/": the host puts in front of them what tells range 1's
 * own keys from data. Whatever it finds there is handed in, in any order. */

/* One row as it was durable when the term began. ERR_CORRUPT names the key. */
int placement_load(struct placement *p, struct slice key, struct slice value, struct err *err);

/* That was all of them. */
void placement_loaded(struct placement *p, uint64_t now_ms);

struct placement_row {
    struct slice key;   /* "placement/…" */
    struct slice value; /* what it has from now on */
    bool is_delete;
};

struct placement_write {
    uint64_t id;
    uint64_t term; /* the proposal must be of this term of range 1, or fail */
    uint32_t row_count;
    const struct placement_row *rows; /* until placement_written() of this write */
};

/* What must become durable next; false: nothing, or a write is on its way. */
bool placement_next_write(struct placement *p, struct placement_write *ret_write);

/* `status` 0: it is durable and applied. ERR_BUSY: it was not proposed, and is offered
 * again. Anything else ends the driver: from then on it gives out nothing. */
void placement_written(struct placement *p, uint64_t write_id, int status);

/* Is all durable that was asked by placement_set(), placement_pause(), placement_wish(),
 * placement_remove_store() and placement_keyspace_…()? Not while a write is on its way. */
bool placement_is_durable(const struct placement *p);

/* Of that the keyspaces and the settings alone: what else is being written, or cannot be while a
 * disk is full, does not count. */
bool placement_words_are_durable(const struct placement *p);

/* The same of the removal of stores alone: before that one that is not there may come back. */
bool placement_removals_are_durable(const struct placement *p);

/* Did a write fail? Then free it and begin again from the rows. */
bool placement_is_broken(const struct placement *p);

/* ---- stores -------------------------------------------------------------------------------
 *
 *   JOINING ─heartbeat▶ UP ◀─▶ SUSPECT ─store_down_after▶ DOWN ─▶ removed by an operator
 *                                                 (heard again: UP)
 *   Beside that, an operator's word: draining (leaders leave, nothing comes) and
 *   decommissioning (replicas leave too; with none left the store is removed by itself). */

enum placement_store_state {
    PLACEMENT_STORE_JOINING, /* has an id, was not heard of yet */
    PLACEMENT_STORE_UP,
    PLACEMENT_STORE_SUSPECT, /* missed three heartbeats */
    PLACEMENT_STORE_DOWN,    /* for store_down_after: its replicas are rebuilt elsewhere */
    PLACEMENT_STORE_REMOVED, /* not of the cluster any more, but ranges still name it */
};

enum placement_store_wish {
    PLACEMENT_WISH_NONE,
    PLACEMENT_WISH_DRAIN,
    PLACEMENT_WISH_DECOMMISSION,
};

/* "up", "draining", … for people. */
const char *placement_store_state_name(enum placement_store_state state,
                                       enum placement_store_wish wish);

struct placement_join {
    uint8_t uuid[STORE_UUID_LEN];
    struct slice address; /* "host:port" */
    struct slice labels;  /* "zone=a,rack=r1"; what tells nodes apart is "node=…": without it
                             each store counts as a node of its own */
};

/* ERR_INVALID: they are not "name=value,name=value", or too long. None at all are fine. */
int placement_labels_check(struct slice labels, struct err *err);

/* A store wants to be of the cluster. 0 and its id, once that is durable: the same for the
 * same uuid, always. ERR_BUSY: on its way, ask again soon. ERR_INVALID: labels or address
 * that are none; ERR_EXISTS: another store has that address; ERR_NO_SPACE: too many. */
int placement_on_join(struct placement *p, uint64_t now_ms, const struct placement_join *join,
                      uint64_t *ret_store_id, struct err *err);

/* A store that the cluster was born with: make it known under the id that it has.
 * Nothing happens if it is known already. Errors as placement_on_join(). */
int placement_adopt(struct placement *p, uint64_t now_ms, uint64_t store_id,
                    const struct placement_join *store, struct err *err);

/* How full a store's disk is (store/watermark.h). */
enum placement_space { PLACEMENT_SPACE_OK, PLACEMENT_SPACE_LOW, PLACEMENT_SPACE_FULL };

/* Is a store to be given leaders? LAST: where nobody else can. */
enum placement_lead { PLACEMENT_LEAD_GLADLY, PLACEMENT_LEAD_LAST, PLACEMENT_LEAD_NEVER };

struct placement_store_heartbeat {
    uint64_t store_id;
    uint8_t uuid[STORE_UUID_LEN];
    uint64_t boot;        /* grows at each start of its process; > 0 */
    struct slice address; /* as it is now */
    struct slice labels;
    uint64_t capacity_bytes; /* of its share of the disk; weighs what it is given */
    uint64_t free_bytes;
    enum placement_space space; /* LOW: no new replicas */
    uint64_t qps;               /* all requests */
    uint64_t write_bytes_s;
    uint32_t cpu_permille; /* of one core */
    uint32_t snapshots_in;
    uint32_t snapshots_out;
    bool is_stalled; /* log or engine push back */
    uint32_t level;  /* which entries of ranges it can apply (enum store_level) */
    enum placement_lead lead;
    int64_t clock_offset_ms;
};

enum placement_verdict {
    PLACEMENT_WELCOME,
    PLACEMENT_NOT_KNOWN,  /* no such store: removed for ever, if it ever had that id */
    PLACEMENT_OTHER_UUID, /* the id is another store's: this folder was wiped or copied */
};

struct placement_store_reply {
    uint64_t term;
    enum placement_verdict verdict;
    bool wants_report;       /* of all replicas, from the chunk below on */
    uint32_t report_chunk;   /* 0 begins anew */
    bool is_draining;        /* leaders should leave: refuse to stand for election */
    bool is_decommissioning; /* replicas should leave, too */
    bool are_labels_refused; /* those that it had stay; said at the first beat of a boot */
};

/* Each second. *ret_reply is filled always. */
void placement_on_store_heartbeat(struct placement *p, uint64_t now_ms,
                                  const struct placement_store_heartbeat *hb,
                                  struct placement_store_reply *ret_reply);

/* ---- ranges -------------------------------------------------------------------------------- */

struct placement_peer {
    uint64_t replica_id;
    uint64_t match_index;
    uint64_t contact_age_ms; /* since the leader heard of it, or since it leads */
};

/* From a range's leader: on change, each 10 s, and when it falls asleep: then the last, but
 * sent again until it was answered, for nothing else would ever tell. */
struct placement_range_heartbeat {
    const struct descriptor *descriptor; /* as of the latest appended configuration */
    uint64_t store_id;                   /* who leads */
    uint64_t replica_id;
    uint64_t leader_term; /* of the range's group */
    uint64_t last_index;
    uint64_t bytes;
    uint64_t keys;
    uint32_t qps;
    uint32_t write_bytes_s;
    bool is_asleep;
    uint64_t retention_ms; /* how long it keeps old versions; 0: its leader does not say */
    uint32_t peer_count;
    const struct placement_peer *peers; /* all members but the leader; a missing one: never heard */
};

/* What was carried out, or not, of a step. */
enum placement_step_kind {
    PLACEMENT_ADD_LEARNER = 1,
    PLACEMENT_PROMOTE,
    PLACEMENT_REMOVE,
    PLACEMENT_TRANSFER, /* leadership to replica_id */
    PLACEMENT_SPLIT,
    PLACEMENT_MERGE,  /* the right neighbour into this range */
    PLACEMENT_RETAIN, /* keep old versions for retention_ms from now on */
};

const char *placement_step_kind_name(enum placement_step_kind kind);

struct placement_child {
    uint64_t store_id;
    uint64_t replica_id;
};

enum placement_split_by {
    PLACEMENT_SPLIT_BY_SIZE,
    PLACEMENT_SPLIT_BY_LOAD,
    PLACEMENT_SPLIT_BY_KEY
};

/* To the leader of a range. */
struct placement_step {
    uint64_t term;        /* of placement */
    uint64_t operator_id; /* > 0; for MERGE also the id of the attempt */
    uint32_t index;       /* of the step in its operator */
    enum placement_step_kind kind;
    uint64_t to_store; /* that leads the range, as far as is known */
    uint64_t range_id;
    uint64_t conf_epoch; /* both must be those of the range when it proposes */
    uint64_t span_epoch;
    struct member member; /* ADD_LEARNER: all; PROMOTE, REMOVE, TRANSFER: ids */
    struct {
        enum placement_split_by by;
        struct slice key; /* BY_KEY; else the leader picks one */
        uint64_t range_id;
        uint32_t child_count;
        struct placement_child children[DESCRIPTOR_MEMBERS_MAX];
    } split;
    struct {
        uint64_t range_id; /* of the right neighbour */
        uint64_t conf_epoch;
        uint64_t span_epoch;
    } merge;
    uint64_t retention_ms; /* RETAIN */
};

/* 1 and *ret_step: what the leader is to do, in the reply. 0: nothing. */
int placement_on_range_heartbeat(struct placement *p, uint64_t now_ms,
                                 const struct placement_range_heartbeat *hb,
                                 struct placement_step *ret_step);

/* A step that must be sent though no heartbeat came (sleeping ranges, resending). */
bool placement_next_step(struct placement *p, struct placement_step *ret_step);

/* What a store answered at once. 0: proposed. ERR_BUSY and the like: tried again until the
 * operator's time is over. ERR_RANGE_CHANGED, ERR_NOT_LEADER: seen in the next heartbeat.
 * ERR_NOT_FOUND (no key to split at), ERR_INVALID, ERR_UNSUPPORTED: ends the operator.
 * `text` is kept for people. */
void placement_on_step_result(struct placement *p, uint64_t now_ms, uint64_t operator_id,
                              uint32_t step_index, int status, struct slice text);

/* One replica of a store's full report. */
struct placement_report_replica {
    const struct descriptor *descriptor; /* as of the latest configuration in its log */
    uint64_t replica_id;
    bool is_leader;
    bool is_asleep;
    uint64_t leader_term;
    uint64_t contact_age_ms; /* since it heard of its leader; UINT64_MAX: never */
    uint64_t bytes;
    uint64_t keys;
    uint64_t retention_ms; /* as of a heartbeat */
};

/* Chunk `chunk` (0, 1, …) of the report that `store_id` began in process `boot`. One that is
 * not the next is ignored; the next reply to its heartbeat says which is. `is_last`: the
 * report is complete. */
void placement_on_report(struct placement *p, uint64_t now_ms, uint64_t store_id, uint64_t boot,
                         uint32_t chunk, const struct placement_report_replica *replicas,
                         uint32_t count, bool is_last);

/* Was the range merged away? Then *ret_into is who has its keys and *ret_epoch the span
 * epoch at which they came: the word that lets a replica destroy itself (ranges.md). */
bool placement_range_ended(const struct placement *p, uint64_t range_id, uint64_t *ret_into,
                           uint64_t *ret_epoch);

/* Time passes: each 100 ms to 1 s. Work per call is bounded. */
void placement_tick(struct placement *p, uint64_t now_ms);

/* ---- routes -------------------------------------------------------------------------------- */

struct placement_route {
    struct descriptor descriptor;
    uint64_t leader_replica; /* 0: not known */
};

/* Who has the key; false if no range is known that does. */
bool placement_route_at(const struct placement *p, struct slice key,
                        struct placement_route *ret_route);

/* ---- an operator's word ---------------------------------------------------------------------- */

enum placement_command_kind {
    PLACEMENT_CMD_MOVE = 1,       /* range, from_store, to_store (0: the best) */
    PLACEMENT_CMD_ADD_REPLICA,    /* range, to_store (0: the best) */
    PLACEMENT_CMD_REMOVE_REPLICA, /* range, from_store */
    PLACEMENT_CMD_TRANSFER,       /* range, to_store (0: the best) */
    PLACEMENT_CMD_SPLIT,          /* range, key (empty: the leader picks the middle) */
    PLACEMENT_CMD_MERGE,          /* range: its right neighbour is merged into it */
    PLACEMENT_CMD_SCATTER,        /* range: to stores and leader at random */
    PLACEMENT_CMD_CANCEL,         /* operator_id */
};

struct placement_command {
    enum placement_command_kind kind;
    uint64_t range_id;
    uint64_t from_store;
    uint64_t to_store;
    uint64_t operator_id;
    struct slice key;
};

/* 0 and the operator that carries it out (what runs for the range ends, if it was no
 * command); else why not, in one line: ERR_NOT_FOUND, ERR_INVALID, ERR_STATE, ERR_BUSY
 * (another command runs for the range, or ids are on their way: again soon). */
int placement_command(struct placement *p, uint64_t now_ms, const struct placement_command *command,
                      uint64_t *ret_operator_id, struct err *err);

/* What a store is to do from now on; durable a moment later (placement_store_wish of a
 * status says what is). ERR_NOT_FOUND. */
int placement_wish(struct placement *p, uint64_t store_id, enum placement_store_wish wish,
                   struct err *err);

/* Forget a store that is DOWN or holds nothing, for ever. ERR_STATE says why not; ERR_BUSY: what it
 * holds is not known before all have reported in this term. */
int placement_remove_store(struct placement *p, uint64_t store_id, struct err *err);

/* ---- keyspaces ------------------------------------------------------------------------------
 *
 * Those that have names, each with a number from KEYSPACE_NAMED_FIRST on that no other ever
 * had or will have. All changes are durable a moment later (placement_is_durable()). */

/* `options`: "slots=256,ranges=16,replicas=3,retention=1h" or some of it. With slots the keys
 * are spread over them by their hash, and it is cut into `ranges` from the start; `retention`
 * is how long its old versions are kept; `replicas` and `retention` 0: as the settings say.
 * ERR_EXISTS, ERR_INVALID, ERR_NO_SPACE; ERR_BUSY: ask again soon. */
int placement_keyspace_create(struct placement *p, struct slice name, struct slice options,
                              struct err *err);

/* Change what may be changed: ranges, replicas and retention. ERR_NOT_FOUND, ERR_INVALID,
 * ERR_STATE. */
int placement_keyspace_alter(struct placement *p, struct slice name, struct slice options,
                             struct err *err);

/* From now on nobody may open it; its data is still there. ERR_NOT_FOUND. */
int placement_keyspace_drop(struct placement *p, struct slice name, struct err *err);

/* Whoever dropped it has removed its data: the name is free. ERR_STATE: it was not dropped. */
int placement_keyspace_forget(struct placement *p, struct slice name, struct err *err);

struct placement_keyspace_status {
    uint32_t id;
    const char *name;
    uint32_t slots;            /* 0: its keys stand in their own order */
    uint32_t replicas;         /* 0: the setting's */
    uint64_t retention_ms;     /* that its ranges are to have; 0: not known */
    bool is_retention_its_own; /* … and not what the setting says */
    uint32_t ranges_wanted;
    uint32_t ranges;
    uint64_t bytes;
    uint64_t keys;
    bool is_cut;      /* it has ranges of its own, as many as are wanted */
    bool is_retained; /* all of them keep old versions for so long */
    bool is_dropping;
};

/* The i-th in order of numbers; false behind the last. */
bool placement_keyspace_at(const struct placement *p, uint32_t i,
                           struct placement_keyspace_status *ret_status);

/* ERR_NOT_FOUND; ERR_BUSY: placement is beginning its term. */
int placement_keyspace_status(const struct placement *p, struct slice name,
                              struct placement_keyspace_status *ret_status, struct err *err);

/* ---- settings (settings.h names them) ---------------------------------------------------------
 */

/* Set one, durably. ERR_NOT_FOUND: no such name; ERR_INVALID: what values it takes. */
int placement_set(struct placement *p, struct slice name, struct slice value, struct err *err);

/* The i-th setting as text for people; false behind the last. */
bool placement_setting(const struct placement *p, uint32_t i, const char **ret_name,
                       struct buf *value, const char **ret_help);

/* Nothing is scheduled while paused, but what an operator commands; running ones go on.
 * Durable. */
void placement_pause(struct placement *p, bool is_paused);

/* ---- what it sees --------------------------------------------------------------------------- */

struct placement_counts {
    uint64_t term;
    bool is_paused;
    bool is_quiet; /* reports are complete, nothing runs and nothing waits to be checked */
    uint32_t stores;
    uint32_t stores_reported;
    uint32_t ranges;
    uint32_t operators;
    uint32_t under_replicated; /* ranges with fewer healthy voters than they should have */
    uint32_t unavailable;      /* ranges without a majority of healthy voters */
    uint64_t operators_started;
    uint64_t operators_done;
    uint64_t operators_failed; /* cancelled, timed out, refused */
    uint64_t replicas_added;   /* steps that the map has shown done */
    uint64_t bytes_moved;      /* of them */
    uint64_t leaders_moved;
};

void placement_counts(const struct placement *p, struct placement_counts *ret_counts);

/* Is it loaded, and has every store that is not dead told of itself and of what it leads in
 * this term? Until then what it says of stores and ranges is what it remembers. */
bool placement_has_heard_all(const struct placement *p);

struct placement_store_status {
    uint64_t store_id;
    const uint8_t *uuid; /* STORE_UUID_LEN bytes */
    struct slice address;
    struct slice labels;
    enum placement_store_state state;
    enum placement_store_wish wish;
    uint64_t silent_ms; /* since its last heartbeat */
    bool has_reported;
    uint32_t replicas;
    uint32_t leaders;
    uint64_t bytes; /* of its replicas, as their leaders count */
    uint64_t capacity_bytes;
    uint64_t free_bytes;
    uint64_t qps; /* of the ranges that it leads */
    uint64_t write_bytes_s;
    uint32_t adds_running; /* replicas that operators bring */
    uint32_t removes_running;
};

/* The i-th store in order of ids; false behind the last. */
bool placement_store_at(const struct placement *p, uint32_t i,
                        struct placement_store_status *ret_status);

/* Was the id given out by this driver or one before it, and is it durable that no store has
 * it any more? Of ids that a later driver may have given out it says no. */
bool placement_store_is_gone(const struct placement *p, uint64_t store_id);

struct placement_range_status {
    struct placement_route route;
    uint64_t bytes;
    uint64_t keys;
    uint32_t qps;
    uint32_t write_bytes_s;
    bool is_asleep;
    uint64_t operator_id; /* 0: none */
};

/* In order of start keys: the range that has `key`, or the next behind it. */
bool placement_range_from(const struct placement *p, struct slice key,
                          struct placement_range_status *ret_status);
bool placement_range_status(const struct placement *p, uint64_t range_id,
                            struct placement_range_status *ret_status);

enum placement_outcome {
    PLACEMENT_RUNNING,
    PLACEMENT_DONE,
    PLACEMENT_CANCELLED, /* the range changed, or an operator's word */
    PLACEMENT_TIMED_OUT,
    PLACEMENT_REFUSED, /* by the store */
};

struct placement_operator_status {
    uint64_t id;
    uint64_t range_id;
    uint64_t partner_id;   /* of a merge: the right one; else 0 */
    const char *scheduler; /* "repair", "balance-bytes", "command", … */
    const char *reason;    /* why */
    const char *said;      /* what a store answered last, or why it ended; "" */
    enum placement_outcome outcome;
    uint64_t age_ms; /* since it began */
    uint32_t step;
    uint32_t step_count;
    enum placement_step_kind kinds[PLACEMENT_STEPS_MAX];
    uint64_t stores[PLACEMENT_STEPS_MAX]; /* that each step is about; 0: none */
};

/* The i-th running operator in order of their beginning; false behind the last. */
bool placement_operator_at(const struct placement *p, uint64_t now_ms, uint32_t i,
                           struct placement_operator_status *ret_status);

/* The i-th that ended, the last one first; false behind what is remembered. */
bool placement_history_at(const struct placement *p, uint64_t now_ms, uint32_t i,
                          struct placement_operator_status *ret_status);

/* The one with that id, running or remembered; false: neither. */
bool placement_operator_status(const struct placement *p, uint64_t now_ms, uint64_t operator_id,
                               struct placement_operator_status *ret_status);

#endif
