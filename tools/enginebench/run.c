/* SPDX-License-Identifier: Apache-2.0
 *
 * Running a workload. On the loop: slices of operations as tasks, so that the engine's
 * own completions get their turn between them. With several threads: each reads through
 * the view that the loop hands out anew at every turn.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/crc32c.h"
#include "bench.h"
#include "env/uv/env_uv.h"
#include "lsm/disk.h"

enum { SLICE = 64, RATE_PAUSE_US = 1000, QUIET_POLL_US = 1000, SAMPLE_OPS = 256 };

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- one stream --------------------------------------------------------- */

static int run_init(struct run *run, struct bench *b, const struct workload *w, uint64_t seed)
{
    *run = (struct run){.bench = b, .step = w->op};
    uint64_t n = w->is_write || b->set.reads == UINT64_MAX ? b->set.num : b->set.reads;
    run->todo = b->set.duration_us > 0 ? UINT64_MAX : n / (w->is_write ? b->set.batch_size : 1);
    /* No workload may repeat another's choices: reads in the order of writes are easy. */
    uint64_t of_name = crc32c((uint32_t)b->result_count, w->name, strlen(w->name));
    rng_init(&run->rng, seed ^ of_name << 32);
    lsm_batch_init(&run->batch);
    if (b->set.histogram) {
        run->hist = malloc(sizeof *run->hist);
        if (run->hist == NULL)
            return err_set(&b->err, ERR_NOMEM, "histogram");
        hist_init(run->hist);
    }
    run->started_ns = now_ns();
    run->until_ns = run->started_ns + b->set.duration_us * 1000;
    return 0;
}

static void run_fini(struct run *run)
{
    lsm_iter_free(run->iter);
    lsm_view_unref(run->view);
    lsm_batch_fini(&run->batch);
    free(run->hist);
}

static void finish_op(struct run *run)
{
    run->done++;
    if (run->hist != NULL)
        hist_add(run->hist, now_ns() - run->began_ns);
    run->began_ns = 0;
}

/* One operation; false when the stream must pause or is at its end. */
static bool run_op(struct run *run)
{
    if (run->done >= run->todo) {
        run->is_over = true;
        return false;
    }
    if (run->hist != NULL && run->began_ns == 0)
        run->began_ns = now_ns();
    enum op_status status = run->step(run);
    if (status == OP_DONE) {
        finish_op(run);
        return true;
    }
    run->is_over = status == OP_END;
    run->is_waiting = status == OP_BUSY || status == OP_WAIT;
    return false;
}

/* The most garbage that value files had. */
static void sample_values(struct bench *b)
{
    struct lsm_stats stats;
    lsm_stats(db_lsm(b->db), &stats);
    uint64_t garbage = stats.value_bytes - stats.value_live_bytes;
    uint64_t permille = garbage * 1000 / MAX(stats.value_bytes, (uint64_t)1);
    b->garbage_permille_max = MAX(b->garbage_permille_max, permille);
}

static bool time_is_over(const struct run *run)
{
    return run->bench->set.duration_us > 0 && now_ns() >= run->until_ns;
}

/* ---- on the loop -------------------------------------------------------- */

static bool is_too_fast(const struct run *run)
{
    uint64_t rate = run->bench->set.writes_per_second;
    if (rate == 0)
        return false;
    return run->done > (now_ns() - run->started_ns) / 1000 * rate / 1000000 + 1;
}

static void on_slice(struct env_task *task)
{
    struct run *run = task->data;
    struct bench *b = run->bench;
    if (is_too_fast(run)) {
        env_timer_start(&run->timer, RATE_PAUSE_US);
        return;
    }
    for (unsigned i = 0; i < SLICE; i++) {
        if (!run_op(run))
            break;
    }
    if (b->set.value_threshold > 0 && run->done / SAMPLE_OPS != run->sampled) {
        run->sampled = run->done / SAMPLE_OPS;
        sample_values(b);
    }
    run->is_over |= time_is_over(run);
    if (run->is_over && !run->is_waiting)
        env_uv_quit(b->env);
    else if (!run->is_waiting)
        env_task_post(b->env, task);
}

static void on_rate(struct env_timer *timer)
{
    struct run *run = timer->data;
    env_task_post(run->bench->env, &run->task);
}

void run_acknowledged(struct run *run)
{
    finish_op(run);
    run->is_waiting = false;
    env_task_post(run->bench->env, &run->task);
}

static void on_ready(void *data)
{
    struct bench *b = data;
    struct run *run = b->loop_run;
    if (b->is_opening) {
        env_uv_quit(b->env);
    } else if (run != NULL && run->is_waiting && run->batch.count > 0) {
        run->is_waiting = false;
        env_task_post(b->env, &run->task);
    }
}

static void loop_begin(struct run *run)
{
    env_task_init(&run->task, on_slice, run);
    env_timer_init(&run->timer, run->bench->env, on_rate, run);
    run->bench->loop_run = run;
    env_task_post(run->bench->env, &run->task);
}

static void loop_end(struct run *run)
{
    env_task_cancel(&run->task);
    env_timer_stop(&run->timer);
    run->bench->loop_run = NULL;
}

/* ---- threads ------------------------------------------------------------ */

struct crowd {
    struct bench *bench;
    pthread_mutex_t lock;
    struct lsm_view *view; /* under lock: the latest */
    size_t left;           /* loop */
    struct run *writer;    /* NULL: none */
    struct env_timer timer;
};

struct reader {
    struct crowd *crowd;
    struct run run;
    struct env_uv_thread *thread;
};

/* The loop's part: hand out a fresh view, again and again. */
static void crowd_refresh(struct env_timer *timer)
{
    struct crowd *c = timer->data;
    struct lsm_view *fresh = lsm_view_take(db_lsm(c->bench->db));
    pthread_mutex_lock(&c->lock);
    struct lsm_view *old = fresh != NULL ? c->view : NULL;
    c->view = fresh != NULL ? fresh : c->view;
    pthread_mutex_unlock(&c->lock);
    lsm_view_unref(old);
    env_timer_start(timer, RATE_PAUSE_US);
}

static void on_reader_end(void *data)
{
    struct crowd *c = data;
    if (--c->left == 0)
        env_uv_quit(c->bench->env);
}

static void reader_main(void *data)
{
    struct reader *r = data;
    struct crowd *c = r->crowd;
    bool more = true;
    for (uint64_t n = 0; more; n++) {
        pthread_mutex_lock(&c->lock);
        struct lsm_view *view = lsm_view_ref(c->view);
        pthread_mutex_unlock(&c->lock);
        r->run.view = view;
        for (unsigned i = 0; more && i < SLICE; i++)
            more = run_op(&r->run);
        r->run.view = NULL;
        lsm_view_unref(view);
        more = more && !time_is_over(&r->run);
    }
    env_uv_post(c->bench->env, on_reader_end, c);
}

static int crowd_start(struct crowd *c, struct reader *readers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "read-%zu", i);
        int rv =
            env_uv_thread_start(name, reader_main, &readers[i], &readers[i].thread, &c->bench->err);
        if (rv != 0)
            return rv;
        c->left++;
    }
    return 0;
}

/* ---- a workload --------------------------------------------------------- */

static void add_result(struct bench *b, const char *name, struct run *runs[], size_t count,
                       uint64_t elapsed_ns)
{
    ASSERT(b->result_count < RESULTS_MAX);
    struct result *r = &b->results[b->result_count++];
    struct hist *all = runs[0]->hist;
    static const unsigned permilles[] = {500, 900, 990, 999, 1000};
    *r = (struct result){.elapsed_ns = elapsed_ns};
    snprintf(r->name, sizeof r->name, "%s", name);
    for (size_t i = 0; i < count; i++) {
        r->ops += runs[i]->done;
        r->found += runs[i]->found;
        r->bytes += runs[i]->bytes;
        r->errors += runs[i]->errors;
        if (i > 0 && all != NULL)
            hist_merge(all, runs[i]->hist);
    }
    r->has_hist = all != NULL;
    for (size_t i = 0; all != NULL && i < ARRAY_LEN(permilles); i++)
        r->permille_ns[i] = hist_permille(all, permilles[i]);
    r->p9999_ns = all != NULL ? hist_quantile(all, 9999, 10000) : 0;
    report_result(b, r);
}

static int run_loop(struct bench *b, const struct workload *w)
{
    struct run run;
    int rv = run_init(&run, b, w, b->set.seed);
    if (rv == 0) {
        struct run *all[] = {&run};
        loop_begin(&run);
        while (!run.is_over || run.is_waiting)
            env_uv_run(b->env);
        loop_end(&run);
        add_result(b, w->name, all, 1, now_ns() - run.started_ns);
    }
    run_fini(&run);
    return rv != 0 ? rv : b->err.code;
}

static int run_crowd(struct bench *b, const struct workload *w, struct reader *readers,
                     struct run *writer)
{
    struct crowd c = {.bench = b, .writer = writer};
    struct run *all[THREADS_MAX];
    size_t count = b->set.threads;
    int rv = 0;
    pthread_mutex_init(&c.lock, NULL);
    env_timer_init(&c.timer, b->env, crowd_refresh, &c);
    crowd_refresh(&c.timer);
    for (size_t i = 0; rv == 0 && i < count; i++) {
        readers[i].crowd = &c;
        rv = run_init(&readers[i].run, b, w, b->set.seed + i);
        all[i] = &readers[i].run;
    }
    uint64_t started_ns = now_ns();
    if (rv == 0 && writer != NULL)
        loop_begin(writer);
    if (rv == 0)
        rv = crowd_start(&c, readers, count);
    while (c.left > 0)
        env_uv_run(b->env);
    for (size_t i = 0; i < count; i++)
        env_uv_thread_join(readers[i].thread);
    if (writer != NULL) {
        writer->todo = writer->done; /* ends when what is in flight is acknowledged */
        while (!writer->is_over || writer->is_waiting)
            env_uv_run(b->env);
        loop_end(writer);
    }
    env_timer_stop(&c.timer);
    if (rv == 0)
        add_result(b, w->name, all, count, now_ns() - started_ns);
    for (size_t i = 0; i < count; i++)
        run_fini(&readers[i].run);
    lsm_view_unref(c.view);
    pthread_mutex_destroy(&c.lock);
    return rv != 0 ? rv : b->err.code;
}

static int run_threads(struct bench *b, const struct workload *w)
{
    const struct workload *overwrite = workload_find("overwrite", strlen("overwrite"));
    struct run writer;
    struct reader *readers = calloc(b->set.threads, sizeof *readers);
    if (readers == NULL)
        return err_set(&b->err, ERR_NOMEM, "threads");
    int rv = run_init(&writer, b, overwrite, b->set.seed ^ 0x77);
    writer.todo = UINT64_MAX; /* as long as the readers read */
    writer.until_ns = UINT64_MAX;
    if (rv == 0)
        rv = run_crowd(b, w, readers, w->with_writer ? &writer : NULL);
    if (rv == 0 && w->with_writer) {
        struct run *all[] = {&writer};
        add_result(b, "readwhilewriting_writer", all, 1,
                   b->results[b->result_count - 1].elapsed_ns);
    }
    run_fini(&writer);
    free(readers);
    return rv;
}

int run_workload(struct bench *b, const struct workload *w)
{
    int rv = 0;
    if (w->is_fresh && !b->set.use_existing_db) {
        bench_close(b);
        rv = bench_destroy(b);
    }
    if (rv == 0 && b->db == NULL)
        rv = bench_open(b);
    if (rv != 0)
        return rv;
    if (w->with_writer || (!w->is_write && b->set.threads > 1))
        return run_threads(b, w);
    return run_loop(b, w);
}

/* ---- care --------------------------------------------------------------- */

struct quiet {
    struct bench *bench;
    struct env_timer timer;
    struct lsm_flush_op flush;
    bool is_flushed, is_quiet;
};

static void on_quiet_poll(struct env_timer *timer)
{
    struct quiet *q = timer->data;
    q->is_quiet = q->is_flushed && lsm_is_quiet(db_lsm(q->bench->db));
    if (q->is_quiet)
        env_uv_quit(q->bench->env);
    else
        env_timer_start(timer, QUIET_POLL_US);
}

static void on_quiet_flushed(struct lsm_flush_op *op, int status)
{
    (void)status;
    container_of(op, struct quiet, flush)->is_flushed = true;
}

int run_until_quiet(struct bench *b, bool flush)
{
    struct quiet q = {.bench = b, .is_flushed = !flush};
    if (b->db == NULL)
        return 0;
    int rv = flush ? lsm_flush(db_lsm(b->db), &q.flush, on_quiet_flushed) : 0;
    if (rv != 0)
        return err_set(&b->err, rv, "flush");
    env_timer_init(&q.timer, b->env, on_quiet_poll, &q);
    env_timer_start(&q.timer, 0);
    while (!q.is_quiet)
        env_uv_run(b->env);
    env_timer_stop(&q.timer);
    return 0;
}

int run_compact(struct bench *b)
{
    int rv = run_until_quiet(b, true);
    if (rv == 0 && b->db != NULL)
        rv = lsm_compact(db_lsm(b->db), (struct slice){0}, (struct slice){0});
    return rv != 0 ? rv : run_until_quiet(b, false);
}

static struct db_options options_of(struct bench *b)
{
    const struct settings *set = &b->set;
    struct db_options o;
    db_options_init(&o);
    o.log = set->disable_wal ? DB_LOG_NONE : set->sync ? DB_LOG_SYNCED : DB_LOG_UNSYNCED;
    o.sync_on_thread = set->sync_on_thread;
    o.lsm.memtable_bytes = set->write_buffer_size;
    o.lsm.memtables_max = (unsigned)set->max_write_buffers - 1; /* theirs counts the active one */
    o.lsm.memory_bytes = set->memory_budget;
    o.lsm.cache_bytes = set->cache_size;
    o.lsm.block_bytes = set->block_size;
    o.lsm.restart_every = (unsigned)set->restart_interval;
    o.lsm.table_bytes = set->target_file_size;
    o.lsm.level_base_bytes = set->level_base;
    o.lsm.level_ratio = (unsigned)set->level_ratio;
    o.lsm.l0_compact = (unsigned)set->l0_trigger;
    o.lsm.compact_shares = (unsigned)set->subcompactions;
    o.lsm.value_bytes = set->value_threshold;
    o.lsm.value_garbage_percent = (unsigned)set->value_garbage;
    o.lsm.filter_bits = (unsigned)set->bloom_bits;
    o.lsm.no_compression = strcmp(set->compression, "none") == 0;
    o.on_ready = on_ready;
    o.data = b;
    return o;
}

int bench_open(struct bench *b)
{
    struct db_options options = options_of(b);
    struct env_uv_options world = {.compact_threads = (unsigned)b->set.subcompactions};
    struct err err = {0};
    int rv = env_uv_new(&world, &b->env, &err);
    if (rv == 0)
        rv = db_open(&b->db, b->env, b->set.dir, &options, &err);
    b->is_opening = true;
    while (rv == 0 && !db_is_ready(b->db) && db_status(b->db, &err) == 0)
        env_uv_run(b->env);
    b->is_opening = false;
    if (rv == 0)
        rv = db_status(b->db, &err);
    if (rv != 0)
        b->err = err;
    return rv;
}

void bench_close(struct bench *b)
{
    if (b->env == NULL)
        return;
    if (b->db != NULL) {
        struct lsm_stats stats;
        struct db_stats log;
        lsm_stats(db_lsm(b->db), &stats);
        db_stats(b->db, &log);
        b->disk_bytes_written += stats.flush_bytes + stats.compact_write_bytes + log.log_bytes;
    }
    env_stop(b->env);
    db_free(b->db);
    env_uv_free(b->env);
    b->db = NULL;
    b->env = NULL;
}

/* The two folders of a database, in the order in which they go, and what is in them. */
static bool is_of_log(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    return digits > 0 && strcmp(name + digits, ".raftlog") == 0;
}

static bool is_of_lsm(const char *name)
{
    uint64_t number;
    return disk_parse(name, &number) != DISK_OTHER;
}

enum { LOG, LSM, FOLDERS };

static const struct {
    const char *name;
    bool (*has)(const char *name);
} folders[FOLDERS] = {[LOG] = {"log", is_of_log}, [LSM] = {"lsm", is_of_lsm}};

/* What is done with one folder that is there: a look, then it goes with its files. */
static int destroy_folder(struct env *env, const char *path, bool (*has)(const char *name),
                          bool is_look, struct err *err)
{
    char **names = NULL;
    size_t count = 0;
    char file[ENV_PATH_MAX];
    int rv = env_dir_list(env, path, &names, &count, err);
    for (size_t i = 0; rv == 0 && i < count; i++) {
        if (snprintf(file, sizeof file, "%s/%s", path, names[i]) >= (int)sizeof file)
            rv = err_set(err, ERR_INVALID, "path too long");
        else if (!has(names[i]))
            rv = err_set(err, ERR_INVALID, "'%s' is of no database: nothing is removed", file);
        else if (!is_look)
            rv = env_file_unlink(env, file, err);
    }
    free(names);
    return rv == 0 && !is_look ? env_dir_remove(env, path, err) : rv;
}

/* The look alone, or all of it. */
static int destroy(struct env *env, const char *dir, bool is_look, struct err *err)
{
    char paths[FOLDERS][ENV_PATH_MAX];
    bool is_there[FOLDERS], is_dir;
    uint64_t size;
    int rv = 0;
    for (size_t i = 0; i < FOLDERS; i++) {
        int n = snprintf(paths[i], sizeof paths[i], "%s/%s", dir, folders[i].name);
        if (n >= (int)sizeof paths[i])
            return err_set(err, ERR_INVALID, "path too long");
        is_there[i] = env_file_stat(env, paths[i], &size, &is_dir, NULL) != ERR_NOT_FOUND;
    }
    if (is_there[LOG] && !is_there[LSM]) /* say, the log of a store */
        return err_set(err, ERR_INVALID, "'%s' is of no database: nothing is removed", paths[LOG]);
    for (size_t i = 0; rv == 0 && i < (size_t)(is_look ? 1 : 2) * FOLDERS; i++) {
        size_t at = i % FOLDERS;
        if (is_there[at])
            rv = destroy_folder(env, paths[at], folders[at].has, i < FOLDERS, err);
    }
    return rv;
}

int bench_destroy(struct bench *b)
{
    struct env *env = NULL;
    struct env_lock *lock = NULL;
    uint64_t size = 0;
    bool is_dir = false;
    int rv = env_uv_new(NULL, &env, &b->err);
    if (rv == 0) /* who is refused keeps his folder as it was, without our LOCK */
        rv = destroy(env, b->set.dir, true, &b->err);
    if (rv == 0 && env_file_stat(env, b->set.dir, &size, &is_dir, NULL) == 0)
        rv = env_dir_lock(env, b->set.dir, &lock, &b->err); /* not under another's feet */
    if (rv == 0)
        rv = destroy(env, b->set.dir, false, &b->err);
    env_dir_unlock(lock);
    if (env != NULL)
        env_stop(env);
    env_uv_free(env);
    return rv;
}
