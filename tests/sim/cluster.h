/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster — a whole cluster in one simulated world: real stores and the real client
 * library on N + M simulated nodes, driven by one seed.
 *
 *   cluster_open ─▶ trouble (scenario.h) ─▶ core_begin … core_judge ─▶ cluster_settle
 *
 * What is checked meanwhile, and what can go wrong, are the two tables of scenario.c.
 */
#ifndef TESTS_SIM_CLUSTER_H_
#define TESTS_SIM_CLUSTER_H_

#include "base/log.h"
#include "client/client.h"
#include "env/sim/sim.h"
#include "sim/cover.h"
#include "sim/history.h"
#include "sim/mix.h"
#include "sim/reach.h"
#include "sim/trace.h"
#include "store/store.h"

enum {
    CLUSTER_NODES_MAX = 9,
    CLUSTER_CLIENTS_MAX = 4,
    CLUSTER_WHY_MAX = 1024,
    CLUSTER_DIGESTS_MAX = 64,
    CLUSTER_FLIPS_MAX = 24,
    CLOCK_DRIFT_PPM_MAX = 50000, /* of a monotonic clock; stores are told so */
};

/* What replicas came to when they digested the range at one index. */
struct cluster_digest {
    uint64_t index; /* 0: none */
    uint64_t hash;
    uint64_t nodes; /* who did, as bits */
};

/* What may go wrong; which actions belong to each is said in scenario.c. */
enum fault_kind {
    FAULT_KILL = 1 << 0,      /* kill -9 */
    FAULT_POWER = 1 << 1,     /* power loss: un-synced data lost, torn writes */
    FAULT_PAUSE = 1 << 2,     /* SIGSTOP */
    FAULT_PARTITION = 1 << 3, /* links cut, one way or both */
    FAULT_NET = 1 << 4,       /* resets, half-open, spikes, odd segments, doubled messages */
    FAULT_DISK = 1 << 5,      /* EIO, slow syncs, death at a chosen disk call */
    FAULT_CLOCK = 1 << 6,     /* wall clock skew, drift */
    FAULT_SPACE = 1 << 7,     /* a disk fills up and gets room again */
    FAULT_ADMIN = 1 << 8,     /* hand-overs, flushes, graceful stops */
    FAULT_ROT = 1 << 9,       /* bits flip at rest, a disk is wiped: in a minority */
    FAULT_KINDS = 10,
    FAULT_ALL = (1 << FAULT_KINDS) - 1,
    FAULT_HOURS = 1 << 10, /* a minority's wall clocks are hours off, to the end of the run;
                            * never drawn, only asked for */
};

struct cluster_options {
    uint64_t seed;
    uint32_t nodes;
    uint32_t processes;    /* client processes */
    uint32_t instances;    /* of the client library, each on a node of its own */
    uint32_t keys;         /* registers; there are two of each other class */
    uint32_t think_us;     /* a client's pause between two requests, at most */
    uint32_t value_max;    /* bytes of padding */
    uint32_t pace_ms;      /* between two troubles of a storm, at most */
    uint64_t duration_us;  /* of the phase with faults */
    uint32_t timeout_ms;   /* of a client's request */
    uint32_t faults;       /* of enum fault_kind */
    const struct mix *mix; /* what clients ask */
    bool is_sleepy;        /* ranges sleep soon, nobody watches, and clients rest now and then */
    struct trace trace;
};

struct cluster_flip {
    char path[128];
    uint64_t bit;
};

struct cluster_node {
    struct cluster *cluster;
    struct sim_node *node;
    struct store *store; /* NULL while it is down */
    char address[64];
    char host[32];
    uint64_t restart_us; /* when to start it again; 0: it is up */
    uint64_t opens_failed;
    struct logger logger;
    struct client_op admin; /* what an operator asks of it */
    bool is_admin_busy;
    bool is_draining;
    bool is_drained;
    uint64_t power_us;     /* power goes at a disk call to come, until then; 0: no */
    bool is_rotten;        /* bits of its disk were flipped */
    bool is_wiped;         /* it came back with an empty disk */
    bool is_lost;          /* it found that out: it must never serve again */
    bool is_outside;       /* of the core: it may stay away for good */
    bool is_kept_down;     /* it is not started again, for now */
    uint64_t role_seen;    /* term in which it was last seen to lead */
    bool was_moving;       /* it was handing over its leadership when last looked at */
    uint32_t strobes_left; /* jumps of its wall clock to come */
    uint32_t flip_count;   /* bits to flip while it is down */
    struct cluster_flip flips[CLUSTER_FLIPS_MAX];
};

/* One instance of the library: its connections, and its own view of who leads. */
struct cluster_client {
    struct sim_node *node;
    struct client *client;
    char host[16];
};

struct cluster {
    struct cluster_options opt;
    struct sim *sim;
    struct rng rng;
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    struct cluster_client clients[CLUSTER_CLIENTS_MAX]; /* the first is the operators' too */
    uint64_t *hash_at; /* history hash by applied index; 0: not seen */
    uint64_t hash_cap;
    uint64_t *leader_of; /* replica by term */
    uint64_t leader_cap;
    struct cluster_digest digests[CLUSTER_DIGESTS_MAX]; /* the last ones */
    uint32_t digest_next;
    uint64_t digests_compared; /* with those of another replica */
    bool is_failed;
    char why[CLUSTER_WHY_MAX];
    uint64_t crashes;
    bool rots_late;          /* disks are spoiled when all the rest is over */
    uint32_t spoiled;        /* nodes rotten or wiped: never more than a minority */
    uint32_t strike_percent; /* of elections are followed by a blow */
    uint32_t new_leader;     /* one more than the place of a node that leads since just now */
    struct reach reach;      /* of the clients */
    bool is_calm;            /* the weather: storms and pauses between them */
    uint64_t weather_us;     /* when it changes */

    bool is_over; /* no more trouble: what was to come is off */
    uint32_t flaps_left;
    struct sim_node *cut_pairs[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX][2]; /* of a swizzle */
    uint32_t cut_count;
    struct cover cover;
};

/* Build the world and bootstrap the cluster in it. */
void cluster_open(struct cluster *c, const struct cluster_options *opt);
void cluster_close(struct cluster *c);

/* Let time pass until `time_us`, with all checks. False: a rule is broken (c->why). */
bool cluster_run_until(struct cluster *c, uint64_t time_us);

/* Bring a node down; it is started again at `restart_us`. False: it was down already. */
bool cluster_crash(struct cluster *c, uint32_t i, enum sim_crash how, uint64_t restart_us);

/* One without the bookkeeping of a crash: a process that ended, or ends with the world. */
void cluster_down(struct cluster_node *n, enum sim_crash how, uint64_t restart_us);

/* How the store of a node is configured. */
void cluster_node_options(struct cluster_node *n, struct store_options *ret);

/* Is the node's store in memory, and its process alive? */
static inline bool cluster_node_runs(const struct cluster_node *n)
{
    return n->store != NULL && !sim_node_is_dead(n->node);
}

/* A line about a node (NULL: the world) for whoever reads of the run. */
void cluster_note(struct cluster *c, const struct cluster_node *n, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* ---- cover.c and counting.c: what was met ------------------------------------------ */

/* What a store's engine and log have counted since it was opened; before it goes. */
void cluster_count_store(struct cluster *c, struct cluster_node *n);

/* What the world and the client have counted; at the end. */
void cluster_count_world(struct cluster *c);

/* ---- finish.c: the end --------------------------------------------------------------- */

/* Freeze what is wrong: a random quorum heals for good, each node outside stays as some
 * fate has it, dead or cut off for ever. */
void core_begin(struct cluster *c);

/* The core alone: all of it must run and agree within `limit_us`. */
bool core_judge(struct cluster *c, uint64_t limit_us);

/* Everybody is started (nemesis_heal() was before); true once all live replicas agree
 * and have the same state. */
bool cluster_settle(struct cluster *c, uint64_t limit_us);

/* digests.c: the digests that operators' checks left on the stores are alike. */
void cluster_compare_digests(struct cluster *c);

/* knobs.c: thresholds that a busy week would reach are reached every second. */
void cluster_knobs(const struct cluster_options *opt, struct store_options *ret);

void cluster_fail(struct cluster *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- workload.c, nemesis.c ------------------------------------------------------ */

struct workload;
struct workload *workload_new(struct cluster *c, struct history *history);
void workload_free(struct workload *w);

/* No new operations from now on. */
void workload_stop(struct workload *w);
bool workload_is_idle(const struct workload *w);
uint64_t workload_done(const struct workload *w);
uint64_t workload_writes_done(const struct workload *w);

/* After everything is quiet: each register is read and written, and all is scanned;
 * false if something cannot be done. With `patience_us`, somebody may first have to be
 * found who serves. */
bool workload_final_ops(struct workload *w, uint64_t patience_us);

/* What the clients' answers were, into the cover. */
void workload_count(const struct workload *w, struct cover *cover);

/* All that nemesis_step() did is undone: the world is sound. */
void nemesis_heal(struct cluster *c);

/* Inflict the next faults that are due; returns when it wants to be called again. */
uint64_t nemesis_step(struct cluster *c);

/* Node `leader` has just won an election. */
void nemesis_on_election(struct cluster *c, uint32_t leader);

#endif
