/* SPDX-License-Identifier: Apache-2.0
 *
 * ranges — what the files of holdfast-ranges-sim share: one run, and how to look into its
 * stores. See ranges.c.
 */
#ifndef TESTS_SIM_RANGES_H_
#define TESTS_SIM_RANGES_H_

#include "base/map.h"
#include "base/rng.h"
#include "consensus/consensus.h"
#include "range/range.h"
#include "sim/cover.h"
#include "sim/ranges_watch.h"
#include "unit/store/store_rig.h"

enum {
    KEYS = 40,
    OPEN_MAX = 64,
    READS_MAX = 16,
    MARKS_MAX = 32,
    SETTLE_STEPS = 1200,
    GROWN_VOTERS = 3,
    SLOW_MAX_MS = 5500
};

/* What a key may hold: the last value that was acknowledged, and what was written since
 * without a definite answer. Values grow. */
struct key_state {
    uint64_t acked;
    uint64_t open[OPEN_MAX]; /* outcome unknown; 0: free */
    uint64_t pending;        /* asked, not answered yet; 0: none */
    uint64_t seen;           /* the greatest that a read has returned */
    struct {
        uint64_t time_us;
        uint64_t least; /* what a read that was asked then had to find */
    } marks[MARKS_MAX]; /* at some reads, in turn: what a stale one must find */
    uint32_t mark_next;
    uint64_t deadline_us;
    struct rig_answer *answer;
};

/* A read on its way. */
struct read_state {
    struct rig_answer *answer; /* NULL: free */
    uint32_t number;           /* of the key */
    uint64_t least;            /* what it must find, or something newer */
    uint32_t way;
    uint64_t deadline_us;
};

/* How to read. */
enum read_way { READ_AT_LEADER, READ_ANYWHERE, READ_BY_LEASE, READ_OLD, READ_WAYS };

enum ask_kind { ASK_SPLIT, ASK_MEMBER, ASK_MERGE, ASK_TRANSFER, ASK_COMMAND, ASK_KINDS };

struct ranges_multi;

struct run {
    struct rig rig;
    struct rng rng;
    struct key_state keys[KEYS];
    struct read_state reads[READS_MAX];
    struct map hashes;                /* of histories, by range and index */
    struct map owners;                /* range, by key and span epoch */
    struct map seats;                 /* range and store, by replica id */
    struct map stays;                 /* of replicas on stores (ranges_judge.c) */
    bool is_grown;                    /* placement says where replicas go */
    uint64_t join_us[RIG_STORES_MAX]; /* not started before: it joins then */
    uint64_t strikes;                 /* at who hosts placement */
    uint64_t next_value;
    uint64_t next_id;
    uint64_t restart_us[RIG_STORES_MAX];
    uint64_t resume_us[RIG_STORES_MAX]; /* of one that is paused */
    uint64_t done[ASK_KINDS], acked, read, crashes;
    uint64_t ways[READ_WAYS];  /* reads answered: at a leader, anywhere, by lease, stale */
    struct rig_answer *change; /* the last one that an operator asked for */
    enum ask_kind ask_kind;
    size_t change_at;            /* the store that was asked */
    uint64_t change_deadline_us; /* after it nobody waits for its answer */
    bool says_all;               /* the stores' log lines too */
    bool is_sleepy;              /* no watchers, and times without load: ranges sleep */
    bool is_aimed;               /* now and then all stops in the middle of one thing */
    uint64_t quiet_until_us;
    struct store_sleep_stats sleep; /* of stores that are gone */
    struct ranges_watch *watch;     /* NULL: there are no watchers */
    struct ranges_multi *multi;
    struct cover cover; /* what was met */
};

extern struct run run;

_Noreturn void die(const char *what);
uint64_t below(uint64_t n);
bool is_up(size_t i);

/* What a store counted of sleep, before it goes. */
void ranges_count_sleep(size_t i);

/* Store `i` dies, and starts again in so long. */
void ranges_crash(size_t i, enum sim_crash how, uint64_t away_ms);

/* Start who is due; `now`: everybody. */
void ranges_start(bool now);

/* A rare moment was met. */
void ranges_met(const char *name);

/* Does store `i` lead the range, and has it committed in its term? */
bool leads(size_t i, uint64_t range_id);

/* The store whose leader covers this on-disk key; rig.count if none does. */
size_t leader_at(struct slice key, uint64_t *ret_range);
/* The store with that id; rig.count if it is down or has none yet. */
size_t place_of(uint64_t store_id);
struct slice key_of(uint32_t number, uint8_t raw[16]);
const struct range_descriptor *descriptor_on(size_t store, uint64_t range_id);

/* ---- ranges_load.c: writes and reads ------------------------------------------ */

void settle_key(struct key_state *k);
void write_some(void);
void read_some(void);
void settle_reads(void);

/* The same of this key at this store; false: it cannot be asked now. */
bool write_key(uint32_t number, size_t at);
bool read_key(uint32_t number, size_t at, enum read_way way);

/* ---- ranges_ops.c: operators --------------------------------------------------- */

/* One of them asks for something, unless an earlier one waits. */
void operate(uint64_t choice);
enum { OPERATE_CHOICES = 9 };

/* Ask the leader at that place for one thing; NULL: it cannot be asked now. */
struct rig_answer *operate_split(size_t at, uint64_t range_id, struct slice key);
/* ADD_LEARNER: on the store in place `on`, whose uuid that is; else of that replica. */
struct rig_answer *operate_member(size_t at, uint64_t range_id, enum member_change action,
                                  uint64_t replica_id, size_t on,
                                  const uint8_t uuid[STORE_UUID_LEN]);

/* ---- ranges_aim.c: the world stops in the middle of one thing ---------------------- */

/* One of the scenes. */
void ranges_aim(void);
void ranges_aim_expect(struct cover *cover);

/* ---- ranges_grow.c: a cluster that grows, under placement ------------------------- */

/* One store founds the cluster; the others join in the first half of the run. */
void grow_begin(uint32_t seconds);

/* A word to placement, which gives the ids; or whoever hosts it dies. */
void grow_operate(uint64_t choice);

void grow_expect(struct cover *cover);

/* The answer to the last one is here, or will not come any more. */
bool is_change_over(void);
void note_change(void);

/* ---- ranges_multi.c: gets of all keys at once, by a client ------------------------ */

struct ranges_multi *ranges_multi_new(const char *const *endpoints, size_t count);

/* Ask, if it is time. */
void ranges_multi_act(struct ranges_multi *multi);
void ranges_multi_check(const struct ranges_multi *multi);

/* How many were answered, and of those how many were of several ranges. */
void ranges_multi_figures(const struct ranges_multi *multi, uint64_t *ret_answered,
                          uint64_t *ret_parted);

/* Before the world ends. */
void ranges_multi_free(struct ranges_multi *multi);

/* ---- ranges_judge.c -------------------------------------------------------------- */

/* What must be true at any time. */
void check_now(void);

/* After the faults have stopped: is everything as it should be? */
bool is_settled(void);
void check_values(void);
uint32_t voters_in(const struct range_descriptor *d);
void look_by_client(void);
void describe(void);

#endif
