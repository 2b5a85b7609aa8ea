/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of this room share: the map (stores, ranges, members), operators, and
 * the parts of the driver. Fields are written by the file that is named beside them.
 */
#ifndef PLACEMENT_PLACEMENT_INTERNAL_H_
#define PLACEMENT_PLACEMENT_INTERNAL_H_

#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "placement/placement.h"
#include "placement/settings.h"
#include "wire/keyspace.h"

enum {
    PL_LEVELS = 4, /* of isolation: zone, rack, host, node */
    PL_SUSPECT_AFTER_MS = 3000,
    PL_CONTACT_MAX_MS = 5000, /* a member heard of within that is healthy */
    PL_LAG_MAX = 256, /* entries that one who has caught up may lack: on their way, as a rule */
    PL_HEIR_WAIT_MS = 30000, /* for one who has caught up: then who lags is to lead */
    PL_RESEND_MS = 2000,
    PL_TICK_CHECKS_MAX = 1024, /* ranges looked at in a tick because of a change */
    PL_TICK_SCAN_MAX = 256,    /* … in turn */
    PL_RETRY_FIRST_MS = 2000,
    PL_RETRY_MAX_MS = 300000,
    PL_NO_KEY_MS = 600000,       /* a range without a key to split at for load is left alone; */
    PL_NO_CUT_MS = 300000,       /* … for size */
    PL_RANGE_OVERHEAD = 1 << 20, /* bytes that each replica counts more than it has */
};

struct pl_op;

struct pl_store {
    uint64_t id;
    uint8_t uuid[STORE_UUID_LEN];
    char address[ADDRESS_MAX + 1];
    char labels[PLACEMENT_LABELS_MAX];
    uint64_t level[PL_LEVELS]; /* hash of its label of each level; equal: the same place */
    enum placement_store_state state;
    enum placement_store_wish wish;
    bool is_ghost;   /* named by ranges, but not of the cluster */
    bool is_durable; /* its row is */
    bool is_dirty;   /* its row is to be written */
    bool was_down;   /* durable: a new driver need not wait again */
    uint64_t heard_ms;
    uint64_t up_since_ms;
    struct placement_store_heartbeat last; /* slices empty */
    /* report.c */
    uint64_t report_boot;
    uint32_t report_chunk;
    bool has_reported;
    /* ranges.c: what it has */
    struct pl_range **ranges; /* one for each replica on it */
    uint32_t count;
    uint32_t cap;
    uint32_t scan_at; /* where schedulers go on */
    uint32_t leaders;
    uint64_t bytes;
    uint64_t qps;           /* of the ranges it leads */
    uint64_t write_bytes_s; /* of all its replicas */
    /* operator.c: what runs */
    uint32_t adds;  /* not caught up yet … */
    uint32_t comes; /* … of them not members yet */
    uint32_t removes;
    uint32_t sends; /* adds of ranges that it leads */
    uint64_t add_bytes;
    uint64_t remove_bytes;
    uint32_t leads_in;
    uint32_t leads_out;
};

struct pl_member {
    uint64_t id;
    struct pl_store *store;
    uint64_t match;
    uint32_t contact_age_ms; /* as of the leader's last heartbeat; UINT32_MAX: never */
    uint32_t at;             /* in store->ranges */
    uint8_t role;            /* enum member_role */
};

struct pl_range {
    uint64_t id;
    uint64_t conf_epoch;
    uint64_t span_epoch;
    uint8_t *keys; /* start, then end; owned */
    uint32_t start_len;
    uint32_t end_len;
    struct pl_member *members; /* owned */
    uint32_t member_count;
    uint32_t fails;  /* operators that failed in a row */
    uint32_t late;   /* times longer that a learner is waited for, as others took too long */
    uint64_t leader; /* replica id; 0: not known */
    uint64_t leader_term;
    uint64_t last_index;
    uint64_t bytes;
    uint64_t keys_count;
    uint32_t qps;
    uint32_t write_bytes_s;
    uint64_t heard_ms;       /* its leader's last word */
    uint64_t small_since_ms; /* below merge_bytes; 0: is not */
    uint64_t hot_since_ms;   /* above split_qps; 0: is not */
    uint64_t shaped_ms;      /* last split or merge, or first seen in this term */
    uint64_t load_moved_ms;  /* last move for its load; 0: never */
    /* As its leader found no key: for load, for size. 0: it has not, or was shaped since. */
    uint64_t no_split_until_ms;
    uint64_t no_cut_until_ms;
    uint64_t retry_ms;     /* nothing is begun before */
    uint64_t heir_lags_ms; /* since when, or the last try, all heirs lag; 0: one does not */
    uint64_t retention_ms; /* as its leader told last; 0: it did not */
    struct pl_op *op;      /* the one that runs; NULL */
    bool is_asleep;
    bool has_heartbeat; /* of its leader, in this term */
    bool is_route_dirty;
    bool was_merged;       /* shaped_ms is of a merge */
    struct list in_checks; /* waits to be looked at */
    /* span tree */
    struct pl_range *left;
    struct pl_range *right;
    uint64_t priority;
};

struct pl_step {
    enum placement_step_kind kind;
    bool on_partner;
    bool is_done;
    uint64_t replica_id;
    struct pl_store *store;
};

/* Who began an operator. */
enum pl_cause {
    PL_REPAIR,
    PL_LEARNER,
    PL_SURPLUS,
    PL_DECOMMISSION,
    PL_DRAIN,
    PL_REQUIRE,
    PL_SPREAD,
    PL_BALANCE_BYTES,
    PL_BALANCE_LEADERS,
    PL_BALANCE_LOAD,
    PL_SPLIT,
    PL_MERGE,
    PL_COMMAND,
    PL_RETAIN,
    PL_CAUSE_NR,
};

struct pl_op {
    uint64_t id;
    enum pl_cause cause;
    struct pl_range *range;
    struct pl_range *partner; /* the right one of a merge; NULL: none, or it is merged */
    uint64_t partner_id;
    uint32_t step;
    uint32_t step_count;
    struct pl_step steps[PLACEMENT_STEPS_MAX];
    uint64_t conf_seen; /* of the range, when a step of ours was last seen done */
    uint64_t span_seen;
    uint64_t partner_conf_seen;
    uint64_t began_ms;
    uint64_t deadline_ms;
    uint64_t sent_ms; /* the present step; 0: not yet */
    char reason[PLACEMENT_REASON_MAX];
    char said[PLACEMENT_REASON_MAX];
    bool is_accounted;
    bool is_merged;
    bool is_told;      /* of a plan */
    bool is_overtaken; /* more is wanted of its range than it was begun for (step.c) */
    bool is_needless;  /* what it was begun for is mended without it (step.c) */
    bool has_no_key;   /* the leader has none to split at, for load or for size */
    uint64_t bytes;    /* that an add moves, as accounted */
    struct pl_store *sender;
    uint64_t retention_ms; /* of a RETAIN */
    /* of a split */
    enum placement_split_by split_by;
    uint8_t *split_key; /* owned */
    uint32_t split_key_len;
    uint64_t split_range_id;
    uint32_t child_count;
    struct placement_child children[DESCRIPTOR_MEMBERS_MAX];
    struct list in_all;
    struct list in_sends;
};

/* What ended, remembered. */
struct pl_past {
    uint64_t id;
    uint64_t range_id;
    uint64_t partner_id;
    enum pl_cause cause;
    enum placement_outcome outcome;
    uint64_t began_ms;
    uint64_t ended_ms;
    uint32_t step;
    uint32_t step_count;
    uint8_t kinds[PLACEMENT_STEPS_MAX];
    uint64_t stores[PLACEMENT_STEPS_MAX];
    char reason[PLACEMENT_REASON_MAX];
    char said[PLACEMENT_REASON_MAX];
};

struct pl_ended {
    uint64_t id;
    uint64_t into;
    uint64_t epoch;
};

/* One that has a name (keyspaces.c). */
struct pl_keyspace {
    uint32_t id;
    char name[KEYSPACE_NAME_MAX + 1];
    uint32_t slots;        /* 0: not hashed */
    uint32_t ranges;       /* to be cut into from the start; > 0 */
    uint32_t replicas;     /* 0: the setting's */
    uint64_t retention_us; /* 0: the setting's */
    bool is_dropping;
    bool is_dirty;
};

struct pl_ids {
    uint64_t next;
    uint64_t limit; /* durable: numbers below may be given out */
    uint64_t want;  /* limit that is to become durable */
};

struct placement {
    struct placement_options opt;
    uint64_t now_ms;
    bool is_loaded;
    bool is_broken;
    bool is_copy; /* of another driver, for a plan: nothing becomes durable */
    struct rng rng;
    struct pl_ids ids[PLACEMENT_IDS_NR];
    struct settings settings;
    struct pl_keyspace *keyspaces; /* owned; in order of ids */
    uint32_t keyspace_count;
    uint32_t cut_keyspace; /* whose cut number `cut_at` is looked at next */
    uint32_t cut_at;
    /* the map */
    struct map stores;                                /* by id */
    struct pl_store *by_id[PLACEMENT_STORES_MAX * 2]; /* in order of ids */
    uint32_t store_count;
    uint32_t nodes;             /* that may keep replicas and live (health.c) */
    uint32_t nodes_with_silent; /* … or may come back */
    uint32_t nodes_not_down;    /* … without those that were silent for store_down_after */
    uint32_t places[PL_LEVELS]; /* distinct ones of each level */
    uint32_t checks_waiting;    /* looked at in vain for a limit, since the last tick */
    struct map ranges;          /* by id */
    struct pl_range *tree;
    struct pl_ended *ended;
    uint32_t ended_count;
    uint32_t ended_first; /* the ring's oldest */
    uint32_t ended_cap;
    struct map ended_at; /* id to index + 1 */
    /* what is to be looked at */
    struct list checks;
    uint32_t check_count;
    uint32_t scan_at;      /* cursor of `ranges` */
    uint64_t begun_ms;     /* when an operator last began or ended */
    bool is_store_set_new; /* all ranges are to be looked at again */
    /* operators */
    struct list ops;
    uint32_t op_count;
    struct map ops_by_id;
    struct list sends;
    struct pl_past *past; /* ring of PLACEMENT_HISTORY_MAX */
    uint64_t past_count;
    struct placement_counts sums; /* only the totals */
    struct pl_rows *rows;         /* owned */
};

/* ---- settings and ids (ids.c) ------------------------------------------------------------- */

/* `count` fresh ids; false: not that many are durable yet, more were asked for. */
bool pl_ids_take(struct placement *p, enum placement_ids kind, uint32_t count, uint64_t *ret_ids);
/* The numbers below `above` are used, whoever said so. */
void pl_ids_used(struct placement *p, enum placement_ids kind, uint64_t id);

/* ---- rows (rows.c) -------------------------------------------------------------------------- */

int pl_rows_init(struct placement *p);
void pl_rows_fini(struct placement *p);
void pl_rows_ended(struct placement *p, const struct pl_ended *ended);
void pl_rows_forget_ended(struct placement *p, uint64_t range_id);
void pl_rows_store_gone(struct placement *p, uint64_t store_id);
void pl_rows_route(struct placement *p, struct pl_range *r);
void pl_rows_route_gone(struct placement *p, uint64_t range_id);
void pl_rows_setting(struct placement *p, uint32_t i);
void pl_rows_keyspace_gone(struct placement *p, uint32_t id);
bool pl_rows_is_idle(const struct placement *p);

/* ---- keyspaces (keyspaces.c) ---------------------------------------------------------------- */

void pl_keyspace_encode(struct buf *buf, const struct pl_keyspace *k);
int pl_keyspace_load(struct placement *p, uint64_t id, struct slice value, struct err *err);
/* For a plan, into a driver that has none. */
int pl_keyspaces_copy(struct placement *to, const struct placement *from);
/* Copies that the keyspace of a range wants; 0: as the setting says. */
uint32_t pl_keyspace_replicas(const struct placement *p, const struct pl_range *r);
/* Does it begin in the midst of a keyspace, where no cut is wanted? Only such a one may go
 * away: where a keyspace begins, a range does. */
bool pl_is_cut_inside(const struct placement *p, const struct pl_range *right);
/* Make some of the cuts that are wanted. */
void pl_keyspaces_tick(struct placement *p);
/* The index of the first whose number is at least `id`. */
uint32_t pl_keyspaces_from(const struct placement *p, uint32_t id);

/* ---- how long old versions are kept (retain.c) ---------------------------------------------- */

/* Of ranges of this keyspace; 0: it is not known. */
uint64_t pl_keyspace_retention_ms(const struct placement *p, const struct pl_keyspace *k);
/* Of this range: what its keyspace says; of one that has keys of several the longest. 0: it is
 * left as it is. */
uint64_t pl_range_retention_ms(const struct placement *p, const struct pl_range *r);
/* Have its leader change that, if it is otherwise. True: that was begun. */
bool pl_retain_range(struct placement *p, struct pl_range *r);

/* ---- stores (stores.c) ---------------------------------------------------------------------- */

struct pl_store *pl_store_get(const struct placement *p, uint64_t id);
/* One that is not known becomes a ghost. NULL: memory is out, or too many. */
struct pl_store *pl_store_need(struct placement *p, uint64_t id);
struct pl_store *pl_store_add(struct placement *p, uint64_t id, struct err *err);
void pl_store_drop(struct placement *p, struct pl_store *s);
void pl_store_free(struct pl_store *s);
int pl_store_describe(struct pl_store *s, struct slice address, struct slice labels,
                      struct err *err);
void pl_stores_tick(struct placement *p);
void pl_store_move(struct placement *p, struct pl_store *s, enum placement_store_state to);
/* Have all ranges with a replica there looked at. */
void pl_store_recheck(struct placement *p, struct pl_store *s);
/* Bytes with what operators bring and take, each replica's overhead included. */
double pl_store_load(const struct pl_store *s);
double pl_store_weight(const struct placement *p, const struct pl_store *s);
static inline bool pl_store_is_dead(const struct pl_store *s)
{
    return s->state == PLACEMENT_STORE_DOWN || s->state == PLACEMENT_STORE_REMOVED;
}
/* Have all stores that are not down told all their replicas? */
bool pl_stores_reported(const struct placement *p);
/* The labels that count, or a store's, are others now. */
void pl_stores_levels(struct placement *p);
/* Does it have the label "name=value"? True for "". */
bool pl_store_has_label(const struct pl_store *s, const char *label);

/* ---- ranges (ranges.c, tree.c) ----------------------------------------------------------------
 */

struct pl_range *pl_range_get(const struct placement *p, uint64_t id);
static inline struct slice pl_range_start(const struct pl_range *r)
{
    return slice_of(r->keys, r->start_len);
}
static inline struct slice pl_range_end(const struct pl_range *r)
{
    return slice_of(r->keys == NULL ? NULL : r->keys + r->start_len, r->end_len);
}
/* Take a descriptor for what it is worth: a new range, a newer one, or an old story. The
 * range, or NULL if it has ended, is older, or memory is out. */
struct pl_range *pl_range_learn(struct placement *p, const struct descriptor *d);
void pl_range_free(struct pl_range *r);
struct pl_member *pl_range_member(const struct pl_range *r, uint64_t replica_id);
struct pl_member *pl_range_on(const struct pl_range *r, const struct pl_store *s);
struct pl_member *pl_range_leader(const struct pl_range *r);
void pl_range_set_leader(struct pl_range *r, uint64_t replica_id);
void pl_range_set_load(struct placement *p, struct pl_range *r, uint64_t bytes, uint32_t qps,
                       uint32_t write_bytes_s);
void pl_range_recheck(struct placement *p, struct pl_range *r);
void pl_range_describe(const struct pl_range *r, struct descriptor *ret_descriptor);
const struct pl_ended *pl_ended_find(const struct placement *p, uint64_t range_id);
int pl_ended_add(struct placement *p, uint64_t id, uint64_t into, uint64_t epoch);

void pl_tree_insert(struct placement *p, struct pl_range *r);
void pl_tree_remove(struct placement *p, struct pl_range *r);
/* The last range whose start is at most `key`; NULL if none. */
struct pl_range *pl_tree_floor(const struct placement *p, struct slice key);
/* The first range that comes behind `r`. */
struct pl_range *pl_tree_next(const struct placement *p, const struct pl_range *r);
struct pl_range *pl_tree_first(const struct placement *p);

/* ---- judging ranges (health.c) ------------------------------------------------------------------
 */

/* Is it there, and heard of? */
bool pl_member_is_healthy(const struct pl_range *r, const struct pl_member *m);
/* Is it lost for good, as far as anybody knows? */
bool pl_member_is_dead(const struct placement *p, const struct pl_range *r,
                       const struct pl_member *m);
bool pl_member_is_caught_up(const struct pl_range *r, const struct pl_member *m);
/* Has the voter all of the log but what is on its way? Until it has all, a range that is handed to
 * it takes no writes. */
bool pl_member_keeps_up(const struct pl_range *r, const struct pl_member *m);
/* Was one who keeps up waited for long enough? */
bool pl_heir_is_overdue(const struct placement *p, const struct pl_range *r);

struct pl_health {
    uint32_t voters;
    uint32_t learners;
    uint32_t healthy; /* voters */
    uint32_t dead;    /* voters */
};
struct pl_health pl_range_health(const struct placement *p, const struct pl_range *r);
/* Can its leader be spoken to, and does a majority stand behind it? */
bool pl_range_is_led(const struct placement *p, const struct pl_range *r);
/* Count the nodes again: stores came, went, or are spoken of differently. */
void pl_nodes_count(struct placement *p);
/* Is a label asked for (setting require) that no store has, which may keep replicas? */
bool pl_require_is_slip(const struct placement *p);
/* Is a replica out of place there, because it lacks the label that is asked for? If that is a
 * slip, none is. */
bool pl_store_lacks_required(const struct placement *p, const struct pl_store *s);
/* Voters that it should come to rest with. */
uint32_t pl_range_wants(const struct placement *p, const struct pl_range *r);
/* … if it had so many now. */
uint32_t pl_range_wants_of(const struct placement *p, const struct pl_range *r, uint32_t voters);
uint32_t pl_range_factor(const struct placement *p, const struct pl_range *r);

/* ---- choosing a store (pick.c)
 * -------------------------------------------------------------------- */

enum pl_no {
    PL_NO_NOT, /* it may */
    PL_NO_STATE,
    PL_NO_WISH,
    PL_NO_SPACE,
    PL_NO_STALLED,
    PL_NO_HAS_ONE,
    PL_NO_NODE,
    PL_NO_BUSY,
    PL_NO_REQUIRE,
    PL_NO_SPREAD,
};

/* How close together replicas are: pairs that share a place, for each level; less is better,
 * the first level counts most. */
struct pl_closeness {
    uint32_t pairs[PL_LEVELS];
};
int pl_closeness_compare(const struct pl_closeness *a, const struct pl_closeness *b);
/* Of the members, `without` left out, `with` put in (both may be NULL). */
struct pl_closeness pl_closeness_of(const struct placement *p, const struct pl_range *r,
                                    const struct pl_store *without, const struct pl_store *with,
                                    const struct pl_store *with2);

/* Does the store's node have a replica of the range, other than the one on `without` if that may
 * be replaced within its node? */
bool pl_node_is_taken(const struct placement *p, const struct pl_range *r,
                      const struct pl_store *without, const struct pl_store *s);
/* May the store get a replica of the range, in place of the one on `without`? */
enum pl_no pl_pick_judge(const struct placement *p, const struct pl_range *r,
                         const struct pl_store *without, const struct pl_store *s);
/* In words, into `text`. */
void pl_no_text(const struct placement *p, const struct pl_range *r, const struct pl_store *s,
                enum pl_no no, char *text, size_t size);
/* The best of all, NULL if none may; `also` will have one, too (NULL is fine). */
struct pl_store *pl_pick(const struct placement *p, const struct pl_range *r,
                         const struct pl_store *without, const struct pl_store *also);
/* Which voter can be spared most: NULL if none. */
struct pl_member *pl_pick_victim(const struct placement *p, const struct pl_range *r);
/* Can it lead: is it up, its clock right, and nobody wishes its leaders away? */
bool pl_store_can_lead(const struct pl_store *s);
/* Is it given leaders? One that is full can lead, for reads and deletes, if nobody else does. */
bool pl_store_may_lead(const struct pl_store *s);
/* Is it given leaders of `from`? Not if its disk is slow and that one's is not. */
bool pl_store_may_take_over(const struct pl_store *to, const struct pl_store *from);
/* Who should lead instead of `not`: the healthy voter on the store that leads least. One that lags
 * only if all do that are given leaders. */
struct pl_member *pl_pick_leader(const struct placement *p, const struct pl_range *r,
                                 const struct pl_member * not );

/* ---- operators (operator.c, step.c)
 * ------------------------------------------------------------------ */

const char *pl_cause_name(enum pl_cause cause);
/* May one be begun for it now? */
bool pl_range_is_free(const struct placement *p, const struct pl_range *r);
/* An empty one for the range; NULL: too many, no ids yet, memory is out. It begins with
 * pl_op_start(), or is given up with pl_op_discard(). */
struct pl_op *pl_op_new(struct placement *p, struct pl_range *r, enum pl_cause cause) MUST_USE;
void pl_op_reason(struct pl_op *op, const char *fmt, ...) PRINTF_LIKE(2, 3);
void pl_op_add_step(struct pl_op *op, enum placement_step_kind kind, uint64_t replica_id,
                    struct pl_store *store);
/* Add and promote; false: no replica id is there yet. */
bool pl_op_bring(struct placement *p, struct pl_op *op, struct pl_store *store,
                 uint64_t *ret_replica_id);
void pl_op_start(struct placement *p, struct pl_op *op);
void pl_op_discard(struct placement *p, struct pl_op *op);
void pl_op_end(struct placement *p, struct pl_op *op, enum placement_outcome outcome,
               const char *said);
/* The range's descriptor, leader or peers are news: which steps are done? */
void pl_op_advance(struct placement *p, struct pl_op *op);
/* The step for the leader now; false: wait. Ends the operator if it cannot go on. */
bool pl_op_step(struct placement *p, struct pl_op *op, struct placement_step *ret_step);
void pl_ops_tick(struct placement *p);
/* The range is gone, merged into `into` (or NULL). */
void pl_op_range_gone(struct placement *p, struct pl_range *r, struct pl_range *into);

enum pl_ready { PL_READY, PL_WAIT, PL_IMPOSSIBLE };
/* May the present step be taken now? *ret_why if not. */
enum pl_ready pl_step_ready(const struct placement *p, const struct pl_op *op,
                            const char **ret_why);
bool pl_step_is_done(const struct pl_op *op, const struct pl_step *step);

/* What it will bring and take counts on its stores, from the start until each step is done.
 * Every change of steps stands between taking it back (false) and doing it again (true). */
void pl_op_account(struct pl_op *op, bool is_added);

/* ---- what to do (check.c, balance.c, shape.c)
 * ---------------------------------------------------------- */

enum pl_block {
    PL_BLOCK_NOT,
    PL_BLOCK_BUSY,   /* a limit is met: again soon */
    PL_BLOCK_NOBODY, /* no store may take what must be placed */
};

/* What a range needs for its safety. */
struct pl_need {
    bool is_needed;
    enum pl_cause cause;
    enum pl_block block;
    struct pl_member *remove;     /* NULL: nobody */
    bool removes_first;           /* a dead one: before the promotion */
    bool is_in_place;             /* … and even before the learner, which goes to its store */
    struct pl_member *promote[2]; /* learners that are there */
    struct pl_store *add[2];      /* … and that are to come */
    struct pl_member *lead;
    char why[PLACEMENT_REASON_MAX];
};

/* What is wrong with the range, and what would mend it. */
void pl_need_find(const struct placement *p, const struct pl_range *r, struct pl_need *ret_need);

/* A damaged replica on the only store that could have another makes room: it does not count any
 * more, so nothing is lost by that. */
bool pl_may_make_room(const struct placement *p, const struct pl_range *r,
                      const struct pl_member *m);

/* Begin what the range needs. True: it needs something that cannot be begun for a limit:
 * look again soon. */
bool pl_check_range(struct placement *p, struct pl_range *r);

/* Let the schedulers begin what makes stores more alike. True: they began something. */
bool pl_balance(struct placement *p);

/* Where the stores stand, for schedulers and explanations. */
struct pl_means {
    uint32_t stores; /* that take part */
    double load_sum; /* bytes */
    double weight_sum;
    double leaders; /* per store */
    double qps;     /* … */
    double write_bytes_s;
};
void pl_means_find(const struct placement *p, struct pl_means *ret_means);
static inline bool pl_store_takes_part(const struct pl_store *s)
{
    return s->state == PLACEMENT_STORE_UP && s->wish == PLACEMENT_WISH_NONE;
}

/* Split or merge, if the range asks for it. True: an operator was begun. */
bool pl_shape_range(struct placement *p, struct pl_range *r);

/* Is it hot or large, or small like its right neighbour: what will be done, or why it is not?
 * Nothing is said of one that is neither. */
void pl_shape_text(const struct placement *p, const struct pl_range *r, struct buf *text);

/* Could a move of one of the replicas that may go bring store `s` nearer to its part? */
bool pl_balance_may_gain(const struct placement *p, const struct pl_store *s);
/* Is there a store with so few leaders that one of `s` should go there (`is_from`), or with so
 * many that one of them should come? */
bool pl_balance_may_hand(const struct placement *p, const struct pl_store *s, bool is_from);

/* For people: "12.3 MiB"; "9 min 40 s"; a place in the space of keys as 'key' or 7/'key' (of
 * keyspace 7), or `at_edge` where it is its beginning or end. */
void pl_text_bytes(struct buf *text, uint64_t bytes);
void pl_text_time(struct buf *text, uint64_t ms);
void pl_text_place(struct buf *text, struct slice place, const char *at_edge);
bool pl_begin_split(struct placement *p, struct pl_range *r, enum pl_cause cause,
                    enum placement_split_by by, struct slice key, const char *reason);
bool pl_begin_merge(struct placement *p, struct pl_range *left, struct pl_range *right,
                    enum pl_cause cause, const char *reason);

/* Replace the replica on `from` by one on `to`. False: not now. */
bool pl_move(struct placement *p, struct pl_range *r, struct pl_member *from, struct pl_store *to,
             enum pl_cause cause, const char *reason);
bool pl_transfer(struct placement *p, struct pl_range *r, struct pl_member *to, enum pl_cause cause,
                 const char *reason);
/* May the leader's store send one more replica? */
bool pl_may_send(const struct placement *p, const struct pl_range *r);

#endif
