/* SPDX-License-Identifier: Apache-2.0
 *
 * lsm — the engine of one store: a log-structured merge tree over
 * (key, version descending), without a log of its own.
 *
 *   lsm_write() ─▶ active memtable ─freeze─▶ frozen ─flush─▶ L0 ─compaction─▶ L1 … L6
 *                                                        ▲
 *                                   lsm_edit(): excise, ingest, puts
 *
 * Units      versions are the caller's 64-bit stamps; expiry is milliseconds of
 *            range time, 0 for never; sizes are bytes. Spans are [start, end);
 *            an empty `end` has no upper bound.
 * Order      records are ordered by key, then version descending. The same
 *            (key, version) may be written again: the newest write wins.
 *            Freezes and edits form ONE order, the order of the calls that made
 *            them, and enter the manifest in that order.
 * Durability a memtable is the unit: nothing of it is on disk until the flush
 *            that on_flushed() reports; then all of it is, with what on_freeze()
 *            added. The Raft log stands in for everything younger.
 * Ownership  the lsm borrows `env` and the callbacks for its whole life; it
 *            copies every key, value, span and option it is given.
 * Threads    loop calls unless said otherwise. A view may be read, referenced
 *            and released on any thread, and so may its iterators and values,
 *            each by one thread at a time. All callbacks run on the loop, never
 *            from inside the call that asked for them, with one exception:
 *            on_freeze() and on_unfreeze() run inside the call that freezes.
 * Errors     0 or a negative ERR_*. ERR_CORRUPT and ERR_IO name file and offset.
 *            A failed sync ends the process (env_fatal). A full disk (and a
 *            failed write) in flush, compaction or manifest is cleaned up and
 *            tried again, for ever, with a growing pause: see lsm_stats.
 * Invariants (L1) at each crash point a reopen finds exactly the state after some
 *            prefix of the order of freezes and edits that holds everything
 *            reported as durable. (L2) Files of L1 and below do not overlap within
 *            their level. (L3) The caller never writes a smaller version of a key
 *            after a greater one that is still stored, nor ingests over data that
 *            it does not excise. (L4) A file is removed only after the edit that
 *            dropped it is synced and no view refers to it.
 * Limits     LSM_KEY_MAX, LSM_VALUE_MAX, `memtables_max`; every table of the tree
 *            is an open file.
 * Teardown   env_stop(), release every view, iterator, value and builder, then
 *            lsm_free().
 */
#ifndef LSM_LSM_H_
#define LSM_LSM_H_

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"

struct env;
struct lsm;
struct lsm_view;
struct lsm_iter;
struct lsm_builder;

enum {
    LSM_LEVELS = 7,                /* L0 … L6 */
    LSM_KEY_MAX = 32 << 10,        /* bytes of a key */
    LSM_VALUE_MAX = 32 << 20,      /* bytes of a value */
    LSM_BATCH_BYTES_MAX = 1 << 30, /* bytes that a batch may hold */
    LSM_BLOCK_MAX = 1 << 20,       /* bytes of `block_bytes` */
    LSM_MEMORY_MIN = 4 << 20       /* least budget of memory */
};

/* ---- batches ----------------------------------------------------------- */

/* Writes in order; a later one of the same (key, version) wins. The caller's
 * memory; bytes are copied in, but for what is borrowed. */
struct lsm_batch {
    struct buf buf;   /* private */
    size_t count;     /* records in it */
    size_t borrowed;  /* records whose values stand elsewhere */
    size_t far_bytes; /* private: of those values */
};

void lsm_batch_init(struct lsm_batch *batch);
void lsm_batch_fini(struct lsm_batch *batch);
void lsm_batch_clear(struct lsm_batch *batch);

/* Keys of 1..LSM_KEY_MAX bytes, values of 0..LSM_VALUE_MAX (asserted). A failed
 * allocation is sticky and heard from lsm_write() as ERR_NOMEM. */
void lsm_batch_put(struct lsm_batch *batch, struct slice key, uint64_t version, struct slice value,
                   uint64_t expiry_ms);

/* The same, but a value that is large is not copied: the caller keeps it, unchanged, until the
 * batch is cleared or at its end. Not for db_write(), whose log takes the batch as it stands. */
void lsm_batch_put_borrowed(struct lsm_batch *batch, struct slice key, uint64_t version,
                            struct slice value, uint64_t expiry_ms);
void lsm_batch_delete(struct lsm_batch *batch, struct slice key, uint64_t version);

/* ---- open, free -------------------------------------------------------- */

/* What the owner hears. Each may be NULL. All on the loop. */
struct lsm_callbacks {
    /* The active memtable is being frozen as number `freeze`: add what must become
     * durable with it (the meta records of dirty groups) to `batch`, however much that is:
     * LSM_BATCH_BYTES_MAX does not hold here. Runs inside lsm_write(), lsm_flush() or
     * lsm_edit(); must not call the lsm. */
    void (*on_freeze)(void *data, uint64_t freeze, struct lsm_batch *batch);
    /* Memory was short behind on_freeze(): what it added is thrown away, nothing is frozen,
     * and the next memtable has the same number. In the same call. */
    void (*on_unfreeze)(void *data, uint64_t freeze);
    /* Must memtable `freeze`, and all behind it, stay in memory for now? What it tells of
     * needs something that is not durable yet. Asked when its turn has come, and again at
     * lsm_go_on(); not in a place where the lsm may be called. */
    bool (*is_held)(void *data, uint64_t freeze);
    /* Memtable `freeze` is durable. In freeze order, numbers 1, 2, 3 … from each
     * open on. Also called for memtables that turned out empty. */
    void (*on_flushed)(void *data, uint64_t freeze);
    /* Background work (compaction, edit, open, scrub) found `file` of the folder damaged at
     * `offset`; once for each file. It is left where it is, and compaction goes round it,
     * until an edit excises what it shows. Reads tell their own caller instead, by
     * ERR_CORRUPT and a message. */
    void (*on_corrupt)(void *data, const char *file, uint64_t offset, const char *text);
    /* lsm_stall() changed, or there is room again after ERR_BUSY. */
    void (*on_stall)(void *data);
};

struct lsm_options {
    size_t memory_bytes;     /* budget of all that follows, and of flush and compaction: sets
                              * cache_bytes, lowers other sizes; 0: each counts for itself; 0 */
    size_t memtable_bytes;   /* freeze at; 64 MiB */
    unsigned memtables_max;  /* frozen ones before writes are refused; 4 */
    size_t block_bytes;      /* of data blocks before compression, up to LSM_BLOCK_MAX; 8 KiB */
    unsigned restart_every;  /* entries between restart points; 16 */
    unsigned filter_bits;    /* Bloom bits per key, 0 for none; 10 */
    bool no_compression;     /* blocks are LZ4 unless it does not pay */
    size_t cache_bytes;      /* blocks, index partitions and filters; 64 MiB */
    size_t table_bytes;      /* target of one table file; 64 MiB */
    unsigned l0_compact;     /* files in L0 that ask for compaction (compact.h); 4 */
    unsigned l0_slow;        /* … that slow writers down; 12 */
    unsigned l0_stop;        /* … that stop writers; 24 */
    size_t level_base_bytes; /* target of the first level below L0, at most what asks for
                              * compaction there; 256 MiB */
    unsigned level_ratio;    /* each next level is so much larger; 10 */
    size_t manifest_bytes;   /* a manifest log longer than this is begun anew; 1 MiB */
    uint64_t compact_bytes;  /* that compaction reads each second at most, while L0 is below
                              * `l0_slow`; 0: no limit */
    unsigned compact_shares; /* one compaction is split into so many at most, by keys, each of
                              * `table_bytes` or more: the threads of ENV_LANE_COMPACT, up to
                              * 16; 1 */
    uint64_t retry_us_min;   /* first pause after a failed flush or compaction; 100 ms */
    uint64_t retry_us_max;   /* longest pause; 5 s */
    uint64_t scrub_bytes;    /* of files checked each second in the background; 0: none */
    bool no_auto_compaction; /* for tests */

    /* Values from this size on go to value files; 0: none; 4 KiB. */
    size_t value_bytes;
    /* Of value files may be garbage before they are compacted, 1..100; 25. */
    unsigned value_garbage_percent;

    struct lsm_callbacks callbacks;
    void *data; /* for the callbacks */
};

/* The defaults named above. */
void lsm_options_init(struct lsm_options *options);

/* Open the engine in folder `dir`, creating it if missing. Blocking: reads the
 * manifest, opens every table, removes what a crash left over and begins a new
 * manifest. ERR_INVALID: an option is out of its bounds, or the number of a file too great to
 * count on; `err` names it. ERR_CORRUPT: the manifest is damaged or a table is missing; ERR_IO: a
 * read failed (never taken for the end of a log). A table whose frame is damaged does not stop the
 * open: reads inside it fail with ERR_CORRUPT. */
int lsm_open(struct lsm **ret_lsm, struct env *env, const char *dir,
             const struct lsm_options *options, struct err *err);

/* Free everything at once, without I/O, in any state, after env_stop() (or with
 * nothing in flight). NULL is fine. Every view, iterator, value and builder must
 * be gone (asserted). No callback follows. */
void lsm_free(struct lsm *lsm);

/* ---- writing ----------------------------------------------------------- */

/* Insert the batch into the active memtable; freeze that first when it is full.
 * Views taken before see nothing of it, views taken after all of it. ERR_BUSY: the
 * active one is full, and `memtables_max` are frozen or L0 has `l0_stop` files; nothing
 * was inserted, on_stall() tells when to try again. ERR_NOMEM. ERR_IO after
 * env_fatal(). */
int lsm_write(struct lsm *lsm, const struct lsm_batch *batch);

/* How hard to push writers back. STOP still accepts what lsm_write() accepts. */
enum lsm_stall { LSM_STALL_NONE, LSM_STALL_SLOW, LSM_STALL_STOP };
enum lsm_stall lsm_stall(const struct lsm *lsm);

/* How long an owner should wait after it wrote `bytes`: 0 while L0 is below `l0_slow` (and
 * garbage in value files not far above `value_garbage_percent`, and there is room for one more
 * frozen memtable or half of the active one), then more the nearer it comes to `l0_stop` (or
 * garbage to 5 percent above, while a compaction works; or the active memtable to its end), so
 * that writers meet a rate that flush and compaction can follow and not a wall. From LSM_PACE_FIRST
 * bytes a second down to LSM_PACE_LAST. */
uint64_t lsm_pace_us(const struct lsm *lsm, size_t bytes);
enum { LSM_PACE_FIRST = 32 << 20, LSM_PACE_LAST = 1 << 20 };

/* Freeze and flush.
 *
 *   IDLE ──lsm_flush()──▶ WAITING ──durable──▶ IDLE, then cb(op)
 */
struct lsm_flush_op;
typedef void (*lsm_flush_cb)(struct lsm_flush_op *op, int status);
struct lsm_flush_op {
    void *data;      /* caller's */
    uint64_t freeze; /* out: the memtable it waits for */
    /* private */
    lsm_flush_cb cb;
    struct list in_flushes;
};

/* Freeze the active memtable, even an empty one (on_freeze() may add to it), and
 * call `cb` with 0 when it and all before it are durable, right after on_flushed()
 * for it. Exactly once, never from inside. ERR_IO after env_fatal(). Not bounded
 * by memtables_max: the owner bounds its flushes. */
int lsm_flush(struct lsm *lsm, struct lsm_flush_op *op, lsm_flush_cb cb);

/* What is_held() says may have changed. */
void lsm_go_on(struct lsm *lsm);

/* Number of the last memtable frozen and of the last durable; 0 for none yet. */
uint64_t lsm_frozen(const struct lsm *lsm);
uint64_t lsm_flushed(const struct lsm *lsm);

/* ---- garbage ----------------------------------------------------------- */

/* Compaction and flush may drop, of keys in [start, end): versions that no read at
 * a version >= safe_version sees, and values whose expiry is <= range_time_ms at
 * versions <= safe_version (they go on hiding older versions like a delete does).
 * Give *flushed* safe points and range times only: what is replayed after a crash
 * must find what it found before. safe_version UINT64_MAX: only the latest. */
struct lsm_gc_span {
    struct slice start;
    struct slice end; /* empty: no bound */
    uint64_t safe_version;
    uint64_t range_time_ms;
};

/* Replace the whole table (copied): `spans` sorted, not overlapping (asserted).
 * Keys outside every span keep all versions and all deletes. Output files also break
 * near a span's end. When a fifth of a file below L0 may be forgotten it is compacted for that
 * alone, also if the rest of it may not (stale.h). A running compaction goes on with the table it
 * began with. ERR_NOMEM: the old table stays. */
int lsm_set_gc(struct lsm *lsm, const struct lsm_gc_span *spans, size_t count);

/* From which safe version, or which range time, beyond those of `span` would a file below L0 with
 * keys of it be compacted for its garbage alone? The least of each over those files; UINT64_MAX:
 * none would. For the owner of a span that nobody writes to, whose range time stands still: he may
 * have it go on then. */
void lsm_garbage_at(const struct lsm *lsm, const struct lsm_gc_span *span,
                    uint64_t *ret_safe_version, uint64_t *ret_range_time_ms);

/* ---- reading ----------------------------------------------------------- */

enum lsm_read_flags {
    LSM_READ_NO_IO = 1 << 0,        /* ERR_WOULD_BLOCK instead of touching a file */
    LSM_READ_NO_FILL = 1 << 1,      /* a long scan: do not fill the block cache */
    LSM_READ_ALL_VERSIONS = 1 << 2, /* iterators: every version and delete <= version_max */
};

/* A view: exactly the records that were written when it was taken, for as long as
 * it is referenced. Cheap; loop only. Never NULL but when memory is out. */
struct lsm_view *lsm_view_take(struct lsm *lsm);

/* Any thread. */
struct lsm_view *lsm_view_ref(struct lsm_view *view);
void lsm_view_unref(struct lsm_view *view); /* NULL is fine */

/* What a get found. `data` is valid until lsm_value_fini() or the end of the view,
 * whichever comes first; no copy is made. */
struct lsm_value {
    struct slice data;
    uint64_t version;
    uint64_t expiry_ms; /* 0: none. Expired or not is for the caller to judge */
    void *pin;          /* private */
};

/* The newest record of `key` with version <= version_max. 0; ERR_NOT_FOUND (also
 * when it is a delete; no message); ERR_WOULD_BLOCK (NO_IO only; no message);
 * ERR_CORRUPT, ERR_IO naming file and offset; ERR_NOMEM. Any thread. */
int lsm_get(const struct lsm_view *view, struct slice key, uint64_t version_max, unsigned flags,
            struct lsm_value *ret_value, struct err *err);

/* Release what the value pins. Accepts zeroes. */
void lsm_value_fini(struct lsm_value *value);

/* An iterator over the keys in [lower, upper) (empty: no bound), at most one
 * record a key: the newest with version <= version_max, deletes skipped; or all of
 * them, newest first, with LSM_READ_ALL_VERSIONS. Holds the view, blocks nobody.
 * Starts nowhere: seek first. NULL when memory is out. Any thread. */
struct lsm_iter *lsm_iter_new(struct lsm_view *view, struct slice lower, struct slice upper,
                              uint64_t version_max, unsigned flags);
void lsm_iter_free(struct lsm_iter *iter); /* NULL is fine */

/* Move; true if it stands on a record after. When false, lsm_iter_status() tells
 * the end (0) from a failure (ERR_WOULD_BLOCK: make one without NO_IO on a worker
 * and seek to where this one was). next and prev need it to stand on a record. */
bool lsm_iter_first(struct lsm_iter *iter);
bool lsm_iter_last(struct lsm_iter *iter);
bool lsm_iter_seek(struct lsm_iter *iter, struct slice key);        /* first key >= */
bool lsm_iter_seek_before(struct lsm_iter *iter, struct slice key); /* last key < */
bool lsm_iter_next(struct lsm_iter *iter);
bool lsm_iter_prev(struct lsm_iter *iter);

/* Where it stands. Bytes are valid until it moves. */
bool lsm_iter_is_valid(const struct lsm_iter *iter);
struct slice lsm_iter_key(const struct lsm_iter *iter);
struct slice lsm_iter_value(const struct lsm_iter *iter);
uint64_t lsm_iter_version(const struct lsm_iter *iter);
uint64_t lsm_iter_expiry_ms(const struct lsm_iter *iter);
bool lsm_iter_is_delete(const struct lsm_iter *iter); /* ALL_VERSIONS only */

/* 0 or what went wrong; *err is filled with the message if asked for. */
int lsm_iter_status(const struct lsm_iter *iter, struct err *err);

/* Bytes and records in [start, end), and a key near the middle of the bytes (empty
 * if there is no good one), from bounds and indexes alone: an estimate. Any
 * thread; reads index partitions from disk unless NO_IO, when it is coarser. */
struct lsm_approx {
    uint64_t bytes;
    uint64_t records;
    struct buf middle; /* caller frees with buf_fini() */
};
int lsm_approximate(const struct lsm_view *view, struct slice start, struct slice end,
                    unsigned flags, struct lsm_approx *ret_approx, struct err *err);

/* ---- span edits -------------------------------------------------------- */

/* Builds table files for lsm_edit() out of records in order (key ascending, version
 * descending), beginning a next file at `table_bytes`. Made on the loop; add,
 * finish and abort on any one thread (ENV_LANE_SNAPSHOT). Blocking. NULL when
 * memory is out. */
struct lsm_builder *lsm_builder_new(struct lsm *lsm);

/* ERR_INVALID when out of order or over a limit (records may come from a peer),
 * ERR_NO_SPACE, ERR_IO. After an error only lsm_builder_free() is left. */
int lsm_builder_put(struct lsm_builder *builder, struct slice key, uint64_t version,
                    struct slice value, uint64_t expiry_ms, struct err *err);
int lsm_builder_delete(struct lsm_builder *builder, struct slice key, uint64_t version,
                       struct err *err);

/* Close and sync the files. Records added so far: lsm_builder_count(). */
int lsm_builder_finish(struct lsm_builder *builder, struct err *err);
uint64_t lsm_builder_count(const struct lsm_builder *builder);
uint64_t lsm_builder_bytes(const struct lsm_builder *builder); /* in files so far */

/* Give it up: closes and removes its files (blocking). NULL is fine. At teardown
 * the files stay and the next open removes them. */
void lsm_builder_free(struct lsm_builder *builder);

struct lsm_span {
    struct slice start;
    struct slice end; /* empty: no bound */
};

/* One atomic change of the tree, one manifest record:
 *   1. everything in the `excise` spans goes,
 *   2. the files of the `ingest` builders come in (inside excised spans only, or
 *      where there is nothing; not overlapping each other),
 *   3. the records of `puts` are written.
 *
 *   IDLE ─lsm_edit()─▶ WAITING (flushes ordered before) ─▶ BUILD ─▶ COMMIT ─▶ IDLE, cb
 */
struct lsm_edit_op;
typedef void (*lsm_edit_cb)(struct lsm_edit_op *op, int status);
struct lsm_edit_op {
    void *data;                    /* caller's */
    const struct lsm_span *excise; /* copied by the call */
    size_t excise_count;
    struct lsm_builder *const *ingest; /* finished; owned by the lsm from the call on */
    size_t ingest_count;
    const struct lsm_batch *puts; /* copied by the call; NULL is fine */
    bool freeze; /* freeze the active memtable first, whatever it holds: for unflushed
                  * meta of groups whose durable or current span overlaps */
    lsm_edit_cb cb;
    /* private */
    struct lsm_edit_item *item;
};

/* Order the edit here: after every write so far, before every later one. The
 * active memtable is frozen first when it holds a key of the spans or of `puts`
 * (or op->freeze), and the edit enters the manifest after all memtables frozen
 * before it and before all frozen later. Until `cb` (status 0) reads of the files
 * show the old state; writes made meanwhile are later than the edit and survive
 * it. An error return (ERR_NOMEM, ERR_IO after env_fatal()) leaves builders with
 * the caller and calls nothing. ERR_CORRUPT in `cb`: a staged file was damaged, or
 * could not be read for half a minute; nothing was changed. */
int lsm_edit(struct lsm *lsm, struct lsm_edit_op *op);

/* ---- care -------------------------------------------------------------- */

struct lsm_level_stats {
    uint32_t files;
    uint64_t bytes;
    uint64_t records;
    uint64_t deletes;
    uint64_t target_bytes; /* 0: no files belong here yet */
    /* since open */
    uint64_t write_bytes; /* of new files that came into it: flushes, compactions */
    uint64_t moved_bytes; /* of files that came into it without being rewritten */
    uint64_t read_bytes;  /* of its files that compactions took out or rewrote */
    uint64_t gets;        /* answered by one of its files */
};

struct lsm_stats {
    struct lsm_level_stats levels[LSM_LEVELS];
    uint64_t memtable_bytes; /* active and frozen */
    uint32_t memtables_frozen;
    uint32_t edits_pending;
    uint32_t files_dead; /* dropped, waiting for views or removal */
    bool is_compacting;
    uint64_t cache_bytes, cache_hits, cache_misses;
    uint64_t writes, write_bytes; /* records and bytes given to lsm_write() */
    uint64_t flushes, flush_bytes;
    uint64_t compactions, compact_moves, compact_read_bytes, compact_write_bytes;
    uint64_t compact_shares;  /* of `compactions`, each at least one */
    uint64_t compact_dropped; /* records that compaction dropped */
    uint64_t edits;
    uint64_t manifest_records, manifests;
    uint64_t retries; /* background work that failed and was or will be tried again */
    int retry_status; /* ERR_NO_SPACE, ERR_IO: what it waits for; 0 when all is well */
    char retry_text[256];
    uint32_t value_files;       /* of large values … */
    uint64_t value_bytes;       /* … the bytes of these … */
    uint64_t value_live_bytes;  /* … of which records show so many (an estimate after cuts) … */
    uint64_t value_write_bytes; /* … and that were written since open, part of flush_bytes … */
    uint64_t value_moved_bytes; /* … and compact_write_bytes; values moved to be rid of garbage */
    uint64_t damaged_files;
    uint64_t scrub_bytes;  /* checked by the scrub … */
    uint64_t scrub_rounds; /* … which went over all files so often … */
    uint64_t scrub_errors; /* … and could not read or check a file so often */
    uint64_t refusals;     /* writes that got ERR_BUSY */
    uint64_t slow_us;      /* time under LSM_STALL_SLOW … */
    uint64_t stop_us;      /* … and LSM_STALL_STOP, up to now */
};
void lsm_stats(const struct lsm *lsm, struct lsm_stats *ret_stats);

/* Compact [start, end) down to one sorted level, dropping what may be dropped, in
 * the background; a hint for operators and tests. lsm_is_quiet(): no background
 * work is running, queued or due. */
int lsm_compact(struct lsm *lsm, struct slice start, struct slice end);
bool lsm_is_quiet(const struct lsm *lsm);

/* Read and check every block of every file of the view against its checksum, and
 * every file whole against the manifest. Blocking; any thread. `on_bad` for each
 * damage; returns the first error. */
typedef void (*lsm_bad_fn)(void *data, const char *file, uint64_t offset, const char *text);
int lsm_verify(const struct lsm_view *view, lsm_bad_fn on_bad, void *data, struct err *err);

/* Make `dir` (which must not exist) an engine folder with the files of the view, by
 * hard links. Flush first: memtables are not in it. Blocking; any thread. */
int lsm_checkpoint(const struct lsm_view *view, const char *dir, struct err *err);

/* Assert every invariant that can be seen from memory. */
void lsm_check(const struct lsm *lsm);

/* For people; tables and value files alike: one line a call, read-only, on files of a running or
 * stopped engine. Blocking; any thread. Damage is shown as a line and returned as ERR_CORRUPT. */
typedef void (*lsm_line_fn)(void *data, const char *line);
int lsm_dump_table(struct env *env, const char *path, bool records, lsm_line_fn on_line, void *data,
                   struct err *err);
int lsm_verify_table(struct env *env, const char *path, lsm_line_fn on_line, void *data,
                     struct err *err);
int lsm_dump_manifest(struct env *env, const char *dir, lsm_line_fn on_line, void *data,
                      struct err *err);

/* Is everything there that the manifest of a stopped engine names, and sound? A line for each
 * finding; ERR_CORRUPT if there was damage, ERR_NOT_FOUND if `dir` holds no engine,
 * ERR_INVALID if a file's number is too great to count on. */
int lsm_verify_folder(struct env *env, const char *dir, lsm_line_fn on_line, void *data,
                      struct err *err);

/* What can be had of the folder of a stopped engine that does not open, as a new folder `into`
 * (which must not exist): a manifest, links to the files that it names, or the tables merged
 * anew. The lines say what is lost. `dir` is only read. Without `into` (NULL) nothing is
 * written. */
int lsm_repair(struct env *env, const char *dir, const char *into, lsm_line_fn on_line, void *data,
               struct err *err);

#endif
