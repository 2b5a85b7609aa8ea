/* SPDX-License-Identifier: Apache-2.0
 *
 * db — the engine on its own: one lsm behind one log (raftlog, a single group), for
 * use as a library and for measuring, without a cluster around it.
 *
 *   db_write() ─▶ memtable (visible at once)
 *        └──────▶ turn ─end of the loop's turn─▶ one log entry ─synced─▶ op->cb
 *   freeze: index and version of the log go with the memtable ─flushed─▶ the log before
 *   that index is given up
 *
 *   REPLAYING ──log is applied, on_ready()──▶ READY
 *
 * Units      versions are given by db_write(): 1, 2, 3 …, one for each write.
 * Ownership  borrows `env` and the callbacks; owns its lsm and its log.
 * Threads    as lsm.h: loop, but views and what is read through them anywhere. A lone
 *            synced write may block the loop (db_options.sync_on_thread).
 * Errors     0 or a negative ERR_*. A failed sync ends the process (env_fatal).
 * Invariants (D1) after a crash the db holds a prefix of the writes, with all that were
 *            acknowledged under DB_LOG_SYNCED and all that a flush reported. (D2) a
 *            write is there whole or not at all. (D3) the index in the meta record of a
 *            memtable counts exactly the entries that are in it or in older ones.
 * Limits     keys that begin with a zero byte are the db's own. DB_TURN_BYTES of writes
 *            make one entry; DB_PENDING_BYTES on their way, room of the log and of the
 *            lsm bound the rest (ERR_BUSY).
 * Teardown   env_stop(), release views, iterators and values, then db_free().
 */
#ifndef DB_DB_H_
#define DB_DB_H_

#include "lsm/lsm.h"
#include "raftlog/raftlog.h"

struct db;

enum {
    DB_TURN_BYTES = 1 << 20,
    DB_PENDING_BYTES = 16 << 20, /* on their way to the log; then ERR_BUSY */
    DB_MEMTABLES_MAX = 32,       /* that lsm.memtables_max may be; flushes may freeze some more */
};

/* What a write waits for. */
enum db_log {
    DB_LOG_NONE,     /* there is no log: what was not flushed is lost with the process */
    DB_LOG_UNSYNCED, /* acknowledged once it is on its way to the log, which syncs behind */
    DB_LOG_SYNCED,   /* acknowledged once it is synced */
};

struct db_options {
    enum db_log log;
    /* Under DB_LOG_SYNCED, a turn with one write that somebody waits for is synced by the
     * loop itself, which has nothing else to do then: two switches of threads less for each
     * write. Say true where the loop also serves others, who would wait with it. The writes
     * of a turn with several, and what comes meanwhile, are always synced by the log's thread,
     * all in one. */
    bool sync_on_thread;
    struct lsm_options lsm; /* `callbacks` and `data` are the db's: leave them empty; its
                             * `memory_bytes` are shared with the log */
    struct raftlog_options raftlog;
    /* It is READY, or there is room again after ERR_BUSY. Never from inside a call. */
    void (*on_ready)(void *data);
    /* Passed on from the lsm or the log: damage that background work met. */
    void (*on_damage)(void *data, const char *text);
    void *data; /* for the callbacks */
};

/* The defaults of both rooms, but 4 MiB of cache for the log (nobody reads it again), and
 * DB_LOG_SYNCED. */
void db_options_init(struct db_options *options);

/* Open `dir`/lsm and `dir`/log, made if missing, and lock `dir`. Blocking; what the log has
 * beyond the lsm is applied on the loop afterwards: on_ready() tells. ERR_INVALID: options out of
 * bounds, DB_LOG_NONE on a folder with a log; ERR_LOCKED: it is open already; ERR_CORRUPT, ERR_IO
 * as of the two rooms, and ERR_CORRUPT for a log that lost synced data. */
int db_open(struct db **ret_db, struct env *env, const char *dir, const struct db_options *options,
            struct err *err);

/* After env_stop() or with nothing in flight; no I/O, no callback. NULL is fine. */
void db_free(struct db *db);

bool db_is_ready(const struct db *db);

/* Why replay stopped; 0 while it runs or after it. The db stays closed for writes. */
int db_status(const struct db *db, struct err *err);

struct db_op;
typedef void (*db_cb)(struct db_op *op);

/* Caller's memory, in place until `cb`. */
struct db_op {
    void *data; /* caller's */
    db_cb cb;
    struct list in_turn; /* private */
};

/* Make the records of `batch` (their versions are overwritten) one atomic write. It is
 * visible to views taken from now on; `op`, unless NULL, hears when it is acknowledged
 * (enum db_log), never from inside. ERR_BUSY: not READY, no room, or compaction is
 * so far behind that writers are slowed (lsm_pace_us()): on_ready() tells;
 * ERR_INVALID: a key that begins with a zero byte, or more than RAFTLOG_RECORD_MAX / 2
 * bytes; ERR_NOMEM; ERR_IO. Then nothing was written and nobody is called. */
int db_write(struct db *db, struct lsm_batch *batch, struct db_op *op);

/* The engine, to read from and to look after (lsm_view_take(), lsm_flush(),
 * lsm_compact(), lsm_stats()); nothing may be written to it. */
struct lsm *db_lsm(struct db *db);

struct db_stats {
    uint64_t version;       /* last given out */
    uint64_t log_index;     /* last appended entry; 0 without a log */
    uint64_t log_bytes;     /* appended since open, with overhead */
    uint64_t replayed;      /* records applied from the log at open */
    uint64_t pending_bytes; /* of writes that are not synced yet */
    uint32_t turns;         /* log writes in flight */
};
void db_stats(const struct db *db, struct db_stats *ret_stats);

#endif
