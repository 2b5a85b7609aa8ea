/* SPDX-License-Identifier: Apache-2.0
 *
 * bench — what the files of holdfast-enginebench share: settings with the names of
 * db_bench, the database under test, and one run of one workload.
 *
 *   main ─▶ workload by name ─▶ run_loop() (writes, and reads of one thread: slices of
 *           operations between turns of the loop) or run_threads() ─▶ report
 *
 * Units   times are nanoseconds of the monotonic clock unless named otherwise.
 * Threads everything on the main thread, which is the loop's, but run_threads()'
 *         readers, each with a run of its own.
 */
#ifndef TOOLS_ENGINEBENCH_BENCH_H_
#define TOOLS_ENGINEBENCH_BENCH_H_

#include "base/buf.h"
#include "base/err.h"
#include "base/hist.h"
#include "base/rng.h"
#include "db/db.h"

enum {
    KEY_MIN = 9,
    KEY_MAX = 1024,
    VALUE_MAX = 1 << 20,
    POOL_BYTES = 1 << 20,
    THREADS_MAX = 64,
    RESULTS_MAX = 64,
};

struct settings {
    const char *benchmarks;
    const char *dir;
    uint64_t num;
    uint64_t reads; /* UINT64_MAX: num */
    uint64_t duration_us;
    uint64_t key_size, value_size, batch_size;
    uint64_t threads;
    uint64_t memory_budget; /* 0: the next two count */
    uint64_t cache_size, write_buffer_size, max_write_buffers, block_size, restart_interval;
    uint64_t target_file_size, level_base, level_ratio, l0_trigger, subcompactions;
    uint64_t bloom_bits;
    uint64_t value_threshold, value_garbage;
    uint64_t seek_nexts;
    uint64_t readwritepercent;
    uint64_t compression_percent;
    uint64_t seed;
    uint64_t writes_per_second;
    const char *compression;
    bool use_existing_db, disable_wal, sync, sync_on_thread, histogram, json, verify_checksum;
};

/* One finished workload. */
struct result {
    char name[48];
    uint64_t ops, found, bytes, errors;
    uint64_t elapsed_ns;
    bool has_hist;
    uint64_t permille_ns[5]; /* of 500, 900, 990, 999 and the maximum … */
    uint64_t p9999_ns;       /* … and of 99.99 % */
    bool is_edit;            /* excise, replace: */
    uint64_t loop_ns;        /* CPU of the loop's thread, from the call to the callback */
    uint64_t folder_before, folder_after; /* bytes of the engine's files */
};

struct bench {
    struct settings set;
    struct env *env;
    struct db *db;
    struct run *loop_run; /* the one on the loop, while there is one */
    bool is_opening;
    uint8_t *pool; /* values are cut from it */
    struct result results[RESULTS_MAX];
    size_t result_count;
    /* over the life of the process */
    uint64_t user_bytes; /* given to db_write() */
    uint64_t disk_bytes_written;
    uint64_t garbage_permille_max; /* of value files, as sampled by writers */
    struct err err;
};

enum op_status {
    OP_DONE,
    OP_BUSY, /* refused: the same again, later */
    OP_WAIT, /* until run_acknowledged() */
    OP_END,
};

/* One stream of operations: of the loop, or of one thread. */
struct run {
    struct bench *bench;
    struct rng rng;
    struct hist *hist; /* NULL: not asked for */
    uint64_t todo;     /* operations; UINT64_MAX: until the time is over */
    uint64_t done;
    uint64_t sampled; /* done, when value files were looked at */
    uint64_t found, bytes, errors;
    uint64_t next_key; /* of sequential workloads */
    size_t pool_at;
    struct lsm_batch batch;
    struct db_op op;
    struct lsm_view *view; /* threads; the loop takes a fresh one for each operation */
    struct lsm_iter *iter; /* readseq, readreverse */
    uint64_t began_ns;     /* of the present operation; 0: none */
    uint64_t started_ns, until_ns;
    enum op_status (*step)(struct run *run);
    struct env_task task;
    struct env_timer timer; /* of a limited rate of writes */
    bool is_waiting;        /* refused, or for an acknowledgement */
    bool is_over;
};

/* An operation that waited was acknowledged. */
void run_acknowledged(struct run *run);

uint64_t now_ns(void);

/* ---- data.c ------------------------------------------------------------- */

/* A pool of POOL_BYTES + VALUE_MAX, each 100 bytes of it compressible to about `percent`,
 * in the manner of db_bench. NULL when memory is out. */
uint8_t *data_pool(uint64_t seed, uint64_t percent);

/* Key `n`: 8 bytes big-endian (the first is 1), filled up with '0'. */
struct slice data_key(const struct bench *b, uint64_t n, uint8_t out[KEY_MAX + 1]);
struct slice data_value(struct run *run);

/* ---- workloads.c -------------------------------------------------------- */

struct workload {
    const char *name;
    bool is_fresh;    /* begins with an empty database */
    bool is_write;    /* the loop's only */
    bool with_writer; /* threads read while the loop writes */
    enum op_status (*op)(struct run *run);
    const char *help;
};

/* NULL if there is none of that name. */
const struct workload *workload_find(const char *name, size_t len);
void workload_list(struct buf *out);

/* ---- run.c -------------------------------------------------------------- */

int run_workload(struct bench *b, const struct workload *w);

/* Turn the loop until nothing is due in the engine; with `flush`, flush it first. */
int run_until_quiet(struct bench *b, bool flush);

/* flush, then everything down to one sorted level. */
int run_compact(struct bench *b);
int bench_open(struct bench *b);
void bench_close(struct bench *b);
int bench_destroy(struct bench *b);

/* ---- edits.c ------------------------------------------------------------ */

/* One edit that excises the middle tenth of the keys and, with files, takes them in anew. */
int run_edit(struct bench *b, bool with_files);

/* ---- report.c ----------------------------------------------------------- */

void report_result(const struct bench *b, const struct result *r);
void report_end(struct bench *b);

#endif
