/* SPDX-License-Identifier: Apache-2.0
 *
 * placement_world — a model of a cluster around the real placement driver: stores that fail,
 * come back, join and leave; ranges that grow, run hot, split and merge; messages that are
 * late, lost and doubled; drivers of several terms of which the older ones do not know that
 * they are over. All of it from one seed, in virtual time.
 *
 * The model's leaders do what a step says if its epochs fit and a majority lives: what is
 * safe beyond that is the driver's to know, and the judge's to check (placement_judge.c).
 */
#ifndef TESTS_MODEL_PLACEMENT_WORLD_H_
#define TESTS_MODEL_PLACEMENT_WORLD_H_

#include "base/map.h"
#include "base/rng.h"
#include "placement/placement.h"

enum {
    W_STORES_MAX = 128,
    W_MEMBERS_MAX = DESCRIPTOR_MEMBERS_MAX,
    W_STALE_MAX = 16,
    W_REPORT_CHUNK_MAX = 1024,
};

#define W_SPACE (UINT64_C(1) << 40) /* data keys are numbers below */

struct w_member {
    uint64_t replica_id;
    uint32_t store; /* index */
    bool is_voter;
    bool is_caught_up;
    bool is_damaged; /* does not answer though its store lives */
    uint64_t damaged_ms;
    uint64_t brought_by; /* the operator; 0: it was there from the start */
};

struct w_range {
    uint64_t id;
    uint64_t lo, hi; /* data keys; range 1 is before all of them */
    uint64_t conf, span;
    uint64_t leader; /* replica id; 0: none */
    uint64_t raft_term;
    uint64_t index;
    uint64_t leaderless_ms;
    struct w_member members[W_MEMBERS_MAX];
    uint32_t member_count;
    uint64_t bytes;
    int64_t grows; /* bytes a second */
    uint32_t qps;
    uint32_t write_bytes_s;
    bool is_asleep;
    bool is_ended;
    uint64_t beat_ms;  /* when the next heartbeat is due */
    bool is_beat_near; /* an event for that is on its way */
    bool is_told;      /* the driver has answered what it said as it fell asleep */
    uint64_t busy_ms;  /* last change: awake for a while */
    uint32_t at;       /* in world.ranges */
};

struct w_stale {
    struct descriptor d;
    uint8_t start[16];
    uint8_t end[16];
    uint64_t replica_id;
};

struct w_store {
    uint64_t id; /* 0: has not joined yet */
    uint8_t uuid[STORE_UUID_LEN];
    char address[24];
    char labels[64];
    uint32_t node;
    uint32_t zone;
    bool is_alive;
    bool is_gone;    /* removed from the cluster */
    bool is_leaving; /* an operator said so */
    uint64_t boot;
    uint64_t joined_ms;
    uint64_t died_ms;
    uint64_t heard_ms;        /* by a driver, last */
    uint64_t driver_heard_ms; /* by the present one, last, or when that began */
    uint64_t revived_ms;
    uint64_t seen_term; /* of placement: lower ones are refused */
    uint64_t believes;  /* the term of the driver it speaks to */
    uint64_t capacity;
    struct w_stale stale[W_STALE_MAX]; /* replicas that do not know that they were removed */
    uint32_t stale_count;
};

struct w_driver {
    struct placement *p; /* NULL: none */
    uint64_t term;
    uint64_t die_ms;   /* a former one: when it notices; 0: the present one */
    uint64_t write_id; /* on its way; 0: none */
    uint64_t write_ms; /* when it is durable */
    struct placement_write write;
};

struct w_row {
    char key[80];
    uint8_t *value;
    size_t len;
};

/* How bad the world is. */
struct w_knobs {
    uint32_t stores, nodes, zones, spare_stores;
    uint32_t ranges;
    uint32_t drop_permille, twice_permille, refuse_permille, stuck_permille;
    uint32_t delay_max_ms;
    uint32_t nemesis_ms; /* between two troubles; 0: none */
    bool same_capacity;
    uint64_t down_after_ms;
    uint64_t range_bytes;
    uint64_t split_bytes;
    uint64_t send_bytes_s;
    uint32_t report_chunk; /* replicas in a message */
};

struct w_event;

struct world {
    uint64_t seed;
    struct rng rng;
    uint64_t now_ms;
    uint64_t hash;
    bool is_verbose;
    bool is_scale;
    bool is_slow; /* replicas come more slowly than the driver expects */
    struct w_knobs knobs;
    struct w_event **heap;
    uint32_t heap_count, heap_cap;
    uint64_t event_seq;
    struct w_store stores[W_STORES_MAX];
    uint32_t store_count;
    struct w_range **ranges;
    uint32_t range_count, range_cap;
    struct map range_by_id;
    struct w_driver drivers[2]; /* the present one, and the one before it */
    uint64_t term;
    struct map rows; /* hash of the key to w_row */
    bool is_troubled;
    /* judge */
    struct map replica_ids; /* id to a hash of what it was given out for */
    struct map range_ids;
    struct map operator_ids;
    struct map last_step; /* operator id to what it last said of a range */
    uint64_t n_events, n_steps, n_applied, n_refused, n_fail_overs, n_crashes, n_splits, n_merges,
        n_moves, n_transfers, n_commands, n_stale_terms;
};

/* A failed check: says the seed and ends the process. */
_Noreturn void w_fail(const struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void w_say(const struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

void world_init(struct world *w, uint64_t seed, bool is_verbose);
void world_fini(struct world *w);

/* Stores, ranges and the first driver as the knobs say. */
void world_birth(struct world *w);

/* Let virtual time pass. */
void world_run(struct world *w, uint64_t until_ms);

/* One more data range over [lo, hi) on the stores (indexes), the first one leads. */
struct w_range *world_add_range(struct world *w, uint64_t id, uint64_t lo, uint64_t hi,
                                const uint32_t *stores, uint32_t count);
struct w_store *world_add_store(struct world *w);
struct w_range *world_range(const struct world *w, uint64_t id);
struct w_store *world_store(struct world *w, uint64_t store_id);
struct w_member *w_member_of(struct w_range *r, uint64_t replica_id);
/* The range's next heartbeat comes soon. */
void world_beat_soon(struct world *w, struct w_range *r);
bool w_member_lives(const struct world *w, const struct w_member *m);
bool w_has_majority(const struct world *w, const struct w_range *r);
void w_describe(const struct world *w, const struct w_range *r, struct descriptor *d,
                uint8_t *start, uint8_t *end);

/* placement_model.c: what leaders do. 0, or what the store answers. */
int world_apply(struct world *w, struct w_store *at, const struct placement_step *step);
void world_second(struct world *w); /* elections, growth, sleep */

/* placement_faults.c */
void world_nemesis(struct world *w);
void world_fail_over(struct world *w);
void world_heal(struct world *w);

/* placement_judge.c */
void judge_step_given(struct world *w, const struct w_driver *d, const struct placement_step *step);
void judge_step_applied(struct world *w, const struct w_range *r,
                        const struct placement_step *step);
void judge_driver(struct world *w, const struct w_driver *d);
void judge_space(struct world *w);
void judge_end(struct world *w);

#endif
