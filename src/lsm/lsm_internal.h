/* SPDX-License-Identifier: Apache-2.0
 *
 * lsm_internal — what the files of this room share: the engine's state and its four
 * small machines, all on the loop, each handing work to a background lane.
 *
 *   steps    freezes and edits in their one order: the head is built, then committed
 *            (step.c, edit.c; ENV_LANE_FLUSH)
 *   commits  one manifest record at a time (commit.c; ENV_LANE_FLUSH)
 *   compaction  one at a time (compact.c; ENV_LANE_COMPACT)
 *   files    removal of dead tables (files.c; ENV_LANE_COMPACT)
 */
#ifndef LSM_LSM_INTERNAL_H_
#define LSM_LSM_INTERNAL_H_

#include "env/env.h"
#include "lsm/build.h"
#include "lsm/gc.h"
#include "lsm/lsm.h"
#include "lsm/manifest.h"
#include "lsm/memtable.h"
#include "lsm/rest.h"
#include "lsm/stock.h"
#include "lsm/version.h"

/* ---- pauses ------------------------------------------------------------- */

/* Failed work waits here and is tried again, each time after twice as long. */
struct retry {
    struct lsm *lsm;
    struct env_timer timer;
    uint64_t delay_us; /* of the next pause; 0: the last try went well */
    void (*again)(struct lsm *lsm);
};

void retry_init(struct retry *retry, struct lsm *lsm, void (*again)(struct lsm *lsm));
void retry_later(struct retry *retry, int status, const struct err *err);
void retry_clear(struct retry *retry);
static inline bool retry_is_waiting(const struct retry *retry)
{
    return env_timer_is_active(&retry->timer);
}

/* ---- commits ------------------------------------------------------------ */

/* One manifest record. `prepare` runs on the loop when its turn has come and fills
 * `edit` from the version then in force (nonzero: it is dropped, `done` hears it).
 * `done` runs when the record is durable and the new version is in force (status 0). */
struct commit {
    struct list in_commits;
    int (*prepare)(struct lsm *lsm, struct commit *commit, struct edit *edit);
    void (*done)(struct lsm *lsm, struct commit *commit, int status);
};

void commit_init(struct lsm *lsm);
void commit_submit(struct lsm *lsm, struct commit *commit);

/* ---- steps -------------------------------------------------------------- */

enum step_kind { STEP_FLUSH, STEP_EDIT };

/*   WAITING ──head of the order──▶ BUILDING ──▶ COMMITTING ──▶ (gone)
 *      ▲                              │
 *      └───────── failed, pause ──────┘
 */
enum step_state { STEP_WAITING, STEP_BUILDING, STEP_COMMITTING, STEP_STATE_NR };

struct step {
    struct list in_steps;
    enum step_kind kind;
    enum step_state state;
    struct commit commit;
    struct memtable *mem; /* flush: the frozen one; edit: the puts, or NULL */
    struct build build;
    bool has_build;
    uint64_t freeze;  /* flush */
    uint64_t large;   /* bytes of large values in it */
    uint64_t fill_us; /* so long took the memtable to fill */
    struct lsm_edit_item *edit;
};

/* An edit in the order; owned by its step. */
struct staged; /* builder.h */
struct lsm_edit_item {
    struct lsm_edit_op *op;
    struct lsm_span *spans;
    size_t span_count;
    uint8_t *keys; /* of the spans */
    struct lsm_builder **builders;
    size_t builder_count;
    struct piece **ingest; /* one each staged file, once taken in */
    size_t ingest_count;
    struct piece **values; /* the same for value files */
    size_t value_count;
    unsigned unread_tries; /* to open the next file, that the disk failed … */
    size_t unread_at;      /* … with so many open … */
    uint64_t unread_since_us;
};

void step_init(struct lsm *lsm);

/* Freeze the active memtable as the next step. ERR_NOMEM: nothing happened. */
int step_freeze(struct lsm *lsm);
void step_run(struct lsm *lsm); /* start what can be started */
void step_free(struct step *step, bool keep);
void step_append(struct lsm *lsm, struct step *step);
struct step *step_new(enum step_kind kind);

/* edit.c: the edit's share of a step. `take_in` runs in the background. */
int edit_take_in(struct lsm *lsm, struct step *step, struct err *err);
int edit_prepare(struct lsm *lsm, struct step *step, struct edit *edit);
void edit_done(struct lsm *lsm, struct step *step, int status);
void edit_item_free(struct lsm_edit_item *item, bool keep);

/* ---- compaction --------------------------------------------------------- */

/* A compaction that did not fit on the disk is tried again after a pause, as all that failed. It
 * needs room, and others may win some: in the pause those have their turn that write at most half
 * of what it would have, and after each that does not fit half as much again. When no such is
 * left, and one was done, the pause ends. */
struct compact_room {
    bool is_tight;   /* one did not fit, and none has fit since that was not chosen for its size */
    bool has_gained; /* one has been done in this pause */
    uint64_t bytes;  /* that one may write in the pause; 0: none has its turn */
};

struct compaction; /* compact.c */
void compact_init(struct lsm *lsm);
void compact_run(struct lsm *lsm);
void compact_free(struct lsm *lsm);

/* The version is another by `edit`: a compaction of what that drops ends for nothing, so that it
 * does not keep dropped files until it is done. */
void compact_edited(struct lsm *lsm, const struct edit *edit);

/* Does a running compaction write into this span of this level? */
bool compact_occupies(const struct lsm *lsm, unsigned level, struct slice start, struct slice end);

/* ---- dead files --------------------------------------------------------- */

struct files {
    struct list dead; /* tables that the version in force does not show */
    uint32_t count;
    struct env_work work;
    struct env_timer poll; /* views let go without telling */
    struct table **batch;  /* being removed */
    size_t batch_count;
};

void files_init(struct lsm *lsm);

/* Count what `version` shows (at open), and what an edit changes. */
void files_open(struct lsm *lsm, const struct version *version);
void files_edit(struct lsm *lsm, const struct edit *edit, const struct version *before);
void files_run(struct lsm *lsm);
void files_free(struct lsm *lsm);

/* ---- scrub -------------------------------------------------------------- */

/*   PAUSE ──timer──▶ a slice of the next table (COMPACT lane) ──▶ PAUSE, so long that the
 * rate is kept. Tables are taken by number, so that new ones do not hide old ones. */
struct scrub {
    struct env_timer timer;
    struct env_work work;
    struct table *table; /* one reference; NULL: choose the next */
    size_t part;         /* of it, to go on with */
    uint64_t number;     /* of the last table chosen */
    uint64_t bytes;      /* of the slice … */
    int status;          /* … and how it went: 1 more, 0 done, an error */
    struct err err;
};

void scrub_init(struct lsm *lsm);
void scrub_start(struct lsm *lsm); /* at open */
void scrub_free(struct lsm *lsm);

/* ---- the engine --------------------------------------------------------- */

struct lsm {
    struct env *env;
    char dir[ENV_PATH_MAX];
    struct lsm_options options;
    void *data;
    struct cache *cache;
    atomic_uint_fast64_t next_number; /* files and pieces; any thread takes */
    uint64_t next_order;
    bool is_dead; /* after env_fatal() */

    struct version *version;      /* in force */
    uint64_t garbage_permille;    /* of its value files, that compaction can win */
    struct stock *stock;          /* of the memtables' memory */
    struct env_timer stock_timer; /* no flush for so long: it goes back to the system */
    struct memtable *active;
    uint64_t active_large; /* bytes of large values in it */
    struct lsm_view *view; /* cached; NULL when stale */
    atomic_uint views;     /* alive, the cached one among them */
    atomic_uint builders;  /* alive */
    atomic_uint_fast64_t gets[LSM_LEVELS];
    struct gc_table *gc;

    struct list steps;
    uint32_t frozen_count, edit_count;
    uint64_t frozen, flushed; /* numbers of the last freeze and the last durable */
    struct list flushes;      /* lsm_flush_op that wait */
    struct step *step_in_work;
    struct env_work step_work;
    struct rest step_rest;
    uint64_t step_slice; /* bytes of input that it takes at a time */
    uint64_t froze_us;   /* when the active memtable was begun */
    int step_status;
    struct err step_err;
    struct retry step_retry;

    struct manifest manifest;
    struct list commits;
    struct commit *committing;
    struct edit commit_edit;
    struct version *commit_version;
    struct buf commit_record;   /* the edit, encoded */
    struct buf commit_snapshot; /* the version after it, encoded; empty: append */
    uint64_t commit_number;     /* of the manifest to begin */
    uint64_t manifest_old;      /* to remove after a begin; 0: none */
    struct env_work commit_work;
    int commit_status;
    struct err commit_err;
    struct retry commit_retry;

    struct compaction *compaction;
    struct retry compact_retry;
    struct compact_room compact_room;
    uint64_t compact_cursor; /* rotates the choice among equals */
    bool has_manual;
    struct buf manual_start, manual_end;

    struct files files;
    struct scrub scrub;
    enum lsm_stall stall;
    uint64_t stall_since_us; /* that it is what it is */
    bool was_refused;        /* an lsm_write() got ERR_BUSY since */
    struct env_task stall_task;
    struct lsm_stats stats;
};

/* options.c: ERR_INVALID; and sizes made to fit together, once they are valid. */
int options_check(const struct lsm_options *options, struct err *err);
void options_fit(struct lsm_options *options);

/* Everything of a zeroed lsm (env, dir, options are set) that lsm_free() needs. */
void lsm_setup(struct lsm *lsm);

struct build_env lsm_build_env(struct lsm *lsm);

/* The version has changed: how much of its value files can compaction win? */
void lsm_note_garbage(struct lsm *lsm);

/* Are so many bytes of large values worth a value file? A sixteenth of a table's size is, so
 * that the number of files stays bounded. */
bool lsm_values_pay(const struct lsm *lsm, uint64_t bytes);

/* Bytes of input that one turn of background work takes, of such that rests after it or not. */
uint64_t lsm_slice_bytes(const struct lsm *lsm, bool rests);

/* Large blocks that are kept for memtables to come: as many as one has. */
size_t lsm_stock_max(const struct lsm *lsm);

/* A view is stale: the set of memtables or the version has changed. */
void lsm_view_drop(struct lsm *lsm);

/* Tell the owner if lsm_stall() has changed. */
void lsm_stall_update(struct lsm *lsm);

/* Tell the owner of every table of the version that is known to be damaged since the
 * last time; `text` is what was just found. */
void lsm_note_damage(struct lsm *lsm, const char *text);

/* Targets of each level; returns the level that L0 compacts into. */
unsigned lsm_level_targets(const struct version *version, const struct lsm_options *options,
                           uint64_t ret_targets[LSM_LEVELS]);

struct lsm_view {
    atomic_uint refs;
    struct lsm *lsm;
    struct version *version;
    size_t mem_count;
    struct {
        struct memtable *mem;
        uint32_t limit; /* last write that the view shows */
    } mems[];           /* newest first; [0] was the active one */
};

#endif
