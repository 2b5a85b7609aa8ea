/* SPDX-License-Identifier: Apache-2.0
 *
 * store — all replicas of one data folder behind one listening address: ties
 * consensus, log, engine, state machine and connections together on one loop.
 *
 *   client ─▶ request ─▶ queue of the replica ─▶ one entry ─▶ consensus ─▶ log, peers
 *                                                                  │ committed
 *   client ◀─ response ◀───────────────────── apply ◀──────────────┘
 *
 * Life of a store
 *
 *   open ─▶ UNBORN ─founds, joins─▶ RUNNING ─drain─▶ DRAINED ─▶ store_free()
 *      └──▶ REPLAYING ───────────▲
 *
 *   UNBORN answers IDENTIFY (and BOOTSTRAP, where members are fixed) only. REPLAYING brings the
 * engine to the log's commit hint. A damaged replica never runs: the store says so and serves
 *   nothing for it.
 *
 * Units      times in milliseconds where named _ms; sizes in bytes.
 * Ownership  the store borrows env, options' texts during the call, and the
 *            logger for life.
 * Threads    loop only.
 * Errors     store_open() returns one clear line; later failures that must end
 *            the process go through env_fatal().
 * Invariants (T1) a write is answered as done only after it is applied here, so
 *            committed. (T2) a proposal is answered as not done only if its entry
 *            can never commit. (T3) nothing is read before the range's own-term
 *            entry is applied and leadership was confirmed after the read came, by
 *            a majority or by a lease, here or at the leader that was asked: but for
 *            reads that said how old the data may be, or at which version.
 *            (T4) one folder, one process: the folder is locked.
 * Limits     those of struct store_options; every queue answers BUSY at its bound.
 */
#ifndef STORE_STORE_H_
#define STORE_STORE_H_

#include "base/log.h"
#include "env/env.h"
#include "lsm/lsm.h"
#include "raftlog/raftlog.h"
#include "store/identity.h"
#include "store/watermark.h"
#include "wire/command.h"

struct store;
struct range;
struct range_digest_sums;
struct consensus;
struct cons_status;

enum {
    STORE_SECRET_MAX = 256,   /* bytes of the cluster secret */
    STORE_FIRST_RANGE_ID = 2, /* the first data range, of which a cluster is born */
    STORE_SEEDS_MAX = 16,     /* addresses to join at */
    STORE_LABELS_MAX = 256,   /* bytes of "zone=a,rack=2", with the NUL */
};

/* A member as the configuration lists it, before any uuid is known. */
struct store_peer {
    uint64_t store_id;
    char address[ENV_ADDRESS_MAX];
};

enum { STORE_LOST_MAX = 64 };

/* Unsafe recovery (recover.h). `done` runs once, later; the owner stops the store then. */
struct store_recover {
    uint64_t lost[STORE_LOST_MAX]; /* ids of stores that never come back */
    size_t lost_count;
    bool is_plan; /* only say what would be done */
    void (*say)(void *data, const char *line);
    void (*done)(void *data, int status, const char *text);
    void *data;
};

struct store_options {
    const char *data_dir;  /* made if missing (its parent must exist) */
    const char *listen;    /* "host:port" */
    const char *advertise; /* what others dial; NULL: `listen` */
    const char *labels;    /* "zone=a,rack=2"; NULL: none */
    /* Where a new folder asks to join, and an old one where everybody is. With none, a new
     * folder founds a cluster of its own. */
    char seeds[STORE_SEEDS_MAX][ENV_ADDRESS_MAX];
    size_t seed_count;
    /* Of a store whose cluster is born by BOOTSTRAP, with fixed members and without
     * placement: for tests of the rooms below it. Else both are 0. */
    uint64_t store_id;
    struct store_peer peers[IDENTITY_MEMBERS_MAX]; /* the initial members, this store too */
    size_t peer_count;
    struct slice secret;    /* empty: peers from loopback only */
    struct lsm_options lsm; /* callbacks are the store's */
    struct raftlog_options log;
    uint32_t election_timeout_ms; /* 600 */
    uint32_t heartbeat_ms;        /* 60 */
    uint32_t hibernate_after_ms;  /* without work a range sleeps (sleep.h); 0: never: 2 s */
    uint32_t hibernate_check_ms;  /* in which each sleeper is looked at once: 5 min */
    uint32_t max_clock_offset_ms; /* 10 s */
    bool has_leases;              /* lease reads are served: on all stores or on none. false */
    uint32_t max_clock_drift_ppm; /* by which a store's clock may run fast or slow: 500 */
    struct command_limits limits;
    uint32_t scan_keys_max;        /* of a page: 10,000 */
    uint32_t scan_bytes_max;       /* 4 MiB */
    uint32_t entry_bytes_max;      /* of one log entry, unless one command is larger: 992 KiB */
    uint32_t entries_in_flight;    /* proposals not yet applied: 256 */
    uint32_t queue_writes_max;     /* writes waiting to be proposed: 16,384 */
    size_t queue_bytes_max;        /* of them: 64 MiB */
    uint32_t queue_reads_max;      /* reads waiting: 16,384 */
    size_t read_aside_bytes;       /* of a value that is copied off the loop while others wait,
                                      and from 8 times as many on always; 0: never: 128 KiB */
    uint64_t log_kept_bytes;       /* of log below the flushed index, for members that lag;
                                      those behind it get a snapshot: 64 MiB */
    uint64_t retention_ms;         /* how long old versions can be read; of a range that is made
                                      from now on, and the same on all its stores: 10 min */
    uint32_t garbage_pass_ms;      /* where nobody writes, each range is looked at so often for what
                                      old versions and expired values take on disk; what is flushed
                                      for that, if nothing else was in 30 times as long: 10,000 */
    uint64_t sessions_bytes_max;   /* of memory for rows of sessions in all ranges of the store; a
                                      session new to its range waits: 256 MiB */
    uint64_t check_bytes_per_s;    /* that all of `range check` reads at most: 256 MiB */
    uint64_t snapshot_bytes_per_s; /* that all snapshots together send at most: 64 MiB */
    struct watermark_limits water;
    uint32_t connections_max;   /* of clients: 16,384 */
    size_t reply_bytes_max;     /* waiting for one client before it is pushed back: 8 MiB */
    size_t reply_bytes_hard;    /* … before it is closed: 64 MiB */
    size_t reply_memory_max;    /* held for all clients; then the greediest is closed: 512 MiB */
    uint32_t reply_stall_ms;    /* … and for how long it may be stuck: 30 s */
    uint32_t requests_max;      /* in flight on one connection: 4,096 */
    uint32_t requests_held_max; /* of all clients, not answered yet: 65,536 … */
    size_t requests_bytes_max;  /* … and their bytes: 256 MiB */
    uint32_t slow_request_ms;   /* reads and writes that take so long are logged with their trace
                                   id, ten a second at most; 0: none; 500 */
    uint32_t protocol_max;      /* the newest version of the protocol that is spoken, with other
                                   stores and clients; 0: the newest that there is */
    const struct logger *logger;
    const struct store_recover *recover; /* NULL: serve. Else recover the folder, and nothing
                                            more: no listening, no peers. Borrowed */
};

/* The defaults named above; paths and ids are the caller's to fill. */
void store_options_init(struct store_options *options);

/* Open or make the folder, recover, listen, dial the peers. Blocking; then
 * everything goes on by itself. Errors are one line for people: folder locked by
 * another process, port in use, damaged file, wrong store id … On an error too,
 * *ret_store is set (NULL when memory is out) and freed by store_free() after
 * env_stop(): work of the rooms below may be on its way. */
int store_open(struct store **ret_store, struct env *env, const struct store_options *options,
               struct err *err);

/* After env_stop(). NULL is fine. Frees everything at once, without I/O. */
void store_free(struct store *store);

/* Graceful end: refuse new writes, hand over leadership, flush, write the hints;
 * `cb` once, when done or after `timeout_ms`. */
typedef void (*store_drain_cb)(void *data);
void store_drain(struct store *store, uint32_t timeout_ms, store_drain_cb cb, void *data);

/* "host:port" as bound (a port 0 is resolved). */
const char *store_address(const struct store *store);

enum store_state { STORE_UNBORN, STORE_REPLAYING, STORE_RUNNING, STORE_DAMAGED, STORE_DRAINING };
enum store_state store_state(const struct store *store);
const char *store_state_name(enum store_state state);

/* How many other stores its cluster has, as far as it knows: 0 in a cluster of one. */
uint32_t store_others(const struct store *store);

/* For tests, the simulator's checks and metrics: of the first data range; NULL before
 * its replica runs. */
const struct consensus *store_consensus(const struct store *store);
struct range *store_range(const struct store *store);

/* The same of any range; NULL if it has no replica here. */
const struct consensus *store_consensus_of(const struct store *store, uint64_t range_id);

struct range *store_range_of(const struct store *store, uint64_t range_id);

/* What the consensus of that replica says of itself, even one that is parked; false: it has
 * none. */
bool store_cons_status(const struct store *store, uint64_t range_id,
                       struct cons_status *ret_status);

/* Ids of the ranges with a replica here, in the order of their spans; 0 behind the last. */
uint64_t store_range_at(const struct store *store, uint32_t position);
/* What this store knows of ranges that were merged away, for the placement driver's table of
 * them: start with *cursor = 0; false at the end. `into` had that span epoch since. */
struct store_ended {
    uint64_t range_id;
    uint64_t into_range;
    uint64_t span_epoch;
};
bool store_next_ended(const struct store *store, uint32_t *cursor, struct store_ended *ret_ended);

/* How often ranges slept on this store since it was opened, and what woke them; sleep.h. */
struct store_sleep_stats {
    uint32_t asleep; /* now */
    uint32_t parked; /* of them */
    uint64_t slept;
    uint64_t woken_by_work;
    uint64_t woken_by_silence;
    uint64_t woken_by_boot;
    uint64_t woken_by_doubt;
    uint64_t woken_by_start;  /* of the process: they had no consensus until then */
    uint64_t answered_asleep; /* heartbeats and probes that woke nobody */
};
void store_sleep_stats(const struct store *store, struct store_sleep_stats *ret_stats);

struct store_garbage_stats {
    uint64_t moved;   /* range times that went on for it, without a write */
    uint64_t flushes; /* for it */
};
void store_garbage_stats(const struct store *store, struct store_garbage_stats *ret_stats);

struct lsm *store_lsm(const struct store *store);
struct raftlog *store_log(const struct store *store);

/* The i-th of the complete digests of a range that `range check` left on this store; NULL
 * beyond. */
const struct range_digest_sums *store_check_sums(const struct store *store, uint64_t range_id,
                                                 size_t i);
const struct identity *store_identity(const struct store *store);

/* The term in which this store hosts placement; 0: it does not. */
uint64_t store_placement_term(const struct store *store);

/* Assert all invariants of the store and the rooms below. */
void store_check(const struct store *store);

#endif
