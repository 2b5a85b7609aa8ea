/* SPDX-License-Identifier: Apache-2.0
 *
 * A write goes into the memtable and into the present turn; the end of the loop's turn
 * makes that one log entry. The memtable may be frozen in the middle of a turn: then
 * what the turn holds so far becomes an entry first (on_freeze), so that each entry is
 * in one memtable whole and its index can be named there.
 */
#include "db/db.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/coding.h"
#include "lsm/batch.h"

enum {
    GROUP = 1,
    TERM = 1,
    ENTRY_WRITE = 1,
    TURNS_KEPT = 2,
    PACE_US_MIN = 1000,
    RETRY_US = 100 * 1000,
    LOG_CACHE_BYTES = 4 << 20,
    META_LEN = 16,          /* index u64 | version u64 */
    REPLAY_BYTES = 4 << 20, /* of log read at a time */
    /* Frozen and not flushed: the lsm bounds those of writes, its owner those of flushes. */
    FREEZES_MAX = 2 * DB_MEMTABLES_MAX,
};

static const uint8_t META_KEY[] = {0, 'd', 'b'};

/* Writes of one loop turn, then of one log entry. */
struct turn {
    struct raftlog_write write;
    struct db *db;
    struct list ops;
    size_t bytes;
    struct list in_turns;
};

struct freeze {
    uint64_t number;
    uint64_t index;
};

struct db {
    struct env *env;
    struct db_options options;
    struct env_lock *lock;
    struct lsm *lsm;
    struct raftlog *log; /* NULL under DB_LOG_NONE */
    uint64_t version;    /* last given out */
    uint64_t index;      /* last entry appended; while replaying, applied */
    bool is_ready, is_replaying, is_reading, was_refused;
    int status; /* of the replay */
    struct err err;

    struct buf bytes;   /* of the present turn */
    struct list ops;    /* of the present turn, or to be told at its end */
    struct list unused; /* turns kept for later */
    uint32_t unused_count;
    struct list turns; /* in flight */
    uint32_t turn_count;
    uint64_t pending_bytes; /* of them */
    struct env_task task;
    struct env_task ready_task;

    struct lsm_flush_op flush; /* to shorten the log */
    bool is_flushing;
    struct env_timer retry;             /* … for which there was no memory */
    struct env_timer pace;              /* between writes, while compaction is behind */
    uint64_t debt_us;                   /* to wait for, once it is worth a timer */
    struct freeze freezes[FREEZES_MAX]; /* a ring */
    uint32_t freeze_first, freeze_count;

    struct raftlog_read read;
    struct lsm_batch batch; /* scratch of the replay */
    uint64_t log_bytes, replayed;
};

void db_options_init(struct db_options *options)
{
    *options = (struct db_options){.log = DB_LOG_SYNCED};
    lsm_options_init(&options->lsm);
    raftlog_options_init(&options->raftlog);
    options->raftlog.cache_bytes = LOG_CACHE_BYTES;
}

static void say_ready(struct db *db)
{
    if (db->options.on_ready != NULL)
        env_task_post(db->env, &db->ready_task);
}

/* ---- acknowledging ------------------------------------------------------ */

/* Everything of `from`, in order, to the empty list `to`. */
static void list_take(struct list *to, struct list *from)
{
    for (struct list *link; (link = list_pop_front(from)) != NULL;)
        list_push_back(to, link);
}

/* Each op may be used again, or freed, from inside its callback. */
static void tell(struct list *ops)
{
    for (struct list *link; (link = list_pop_front(ops)) != NULL;) {
        struct db_op *op = list_entry(link, struct db_op, in_turn);
        op->cb(op);
    }
}

static struct turn *turn_new(struct db *db)
{
    struct list *link = list_pop_front(&db->unused);
    struct turn *t = link != NULL ? list_entry(link, struct turn, in_turns) : malloc(sizeof *t);
    if (t == NULL)
        return NULL;
    db->unused_count -= link != NULL;
    *t = (struct turn){.db = db};
    list_init(&t->ops);
    list_init(&t->in_turns);
    return t;
}

static void turn_put_back(struct db *db, struct turn *t)
{
    if (db->unused_count >= TURNS_KEPT) {
        free(t);
        return;
    }
    list_push_back(&db->unused, &t->in_turns);
    db->unused_count++;
}

/* Sealing must not fail, and one write may seal twice: for a freeze, and for size. */
static bool turn_reserve(struct db *db)
{
    while (db->unused_count < TURNS_KEPT) {
        struct turn *t = malloc(sizeof *t);
        if (t == NULL)
            return false;
        list_init(&t->in_turns);
        turn_put_back(db, t);
    }
    return true;
}

static void on_synced(struct raftlog_write *write)
{
    struct turn *t = write->data;
    struct db *db = t->db;
    struct list ops;
    list_init(&ops);
    list_take(&ops, &t->ops);
    list_remove(&t->in_turns);
    db->turn_count--;
    db->pending_bytes -= t->bytes;
    if (db->was_refused && db->pending_bytes <= DB_PENDING_BYTES / 2)
        say_ready(db);
    turn_put_back(db, t);
    tell(&ops);
}

/* Make what the present turn holds an entry of the log. */
static void seal(struct db *db)
{
    if (db->bytes.len == 0)
        return;
    struct raftlog_entry entry = {.term = TERM, .type = ENTRY_WRITE, .data = buf_slice(&db->bytes)};
    struct turn *t = turn_new(db);
    ASSERT(t != NULL);
    db->index++;
    t->write = (struct raftlog_write){
        .data = t,
        .group = GROUP,
        .first_index = db->index,
        .entries = &entry,
        .n = 1,
        .commit = db->index,
        .cb = on_synced,
    };
    if (db->options.log == DB_LOG_SYNCED)
        list_take(&t->ops, &db->ops);
    t->write.may_block = !db->options.sync_on_thread && list_has_one(&t->ops);
    t->bytes = db->bytes.len;
    db->pending_bytes += t->bytes;
    db->log_bytes += raftlog_append_cost(1, db->bytes.len);
    list_push_back(&db->turns, &t->in_turns);
    db->turn_count++;
    raftlog_append(db->log, &t->write);
    buf_clear(&db->bytes);
}

static void on_turn_end(struct env_task *task)
{
    struct db *db = task->data;
    struct list ops;
    seal(db);
    list_init(&ops);
    list_take(&ops, &db->ops);
    tell(&ops);
}

/* ---- what the two rooms say --------------------------------------------- */

static void on_ready_task(struct env_task *task)
{
    struct db *db = task->data;
    db->was_refused = false;
    db->options.on_ready(db->options.data);
}

static void replay_go_on(struct db *db);

static void on_shortened(struct lsm_flush_op *op, int status)
{
    struct db *db = container_of(op, struct db, flush);
    (void)status; /* on_flushed() has given the log up already */
    db->is_flushing = false;
}

/* The log is long and nothing that is frozen will shorten it. */
static void shorten_log(struct db *db)
{
    if (db->is_flushing || db->freeze_count > 0)
        return;
    db->is_flushing = lsm_flush(db->lsm, &db->flush, on_shortened) == 0;
    if (!db->is_flushing) /* nothing else may be on its way that would tell who waits */
        env_timer_start(&db->retry, RETRY_US);
}

static void on_room(void *data)
{
    struct db *db = data;
    if (db->is_replaying)
        replay_go_on(db);
    else if (db->was_refused)
        say_ready(db);
    if (raftlog_is_over_budget(db->log))
        shorten_log(db);
}

static void on_stall(void *data)
{
    struct db *db = data;
    if (db->is_replaying)
        replay_go_on(db);
    else if (db->was_refused)
        say_ready(db);
}

static void on_freeze(void *data, uint64_t freeze, struct lsm_batch *batch)
{
    struct db *db = data;
    uint8_t meta[META_LEN];
    seal(db);
    put_u64(meta, db->index);
    put_u64(meta + 8, db->version);
    lsm_batch_put(batch, slice_of(META_KEY, sizeof META_KEY), db->version,
                  slice_of(meta, sizeof meta), 0);
    ASSERT(db->freeze_count < FREEZES_MAX);
    uint32_t at = (db->freeze_first + db->freeze_count++) % FREEZES_MAX;
    db->freezes[at] = (struct freeze){.number = freeze, .index = db->index};
}

static void on_unfreeze(void *data, uint64_t freeze)
{
    struct db *db = data;
    ASSERT(db->freeze_count > 0);
    db->freeze_count--;
    ASSERT(db->freezes[(db->freeze_first + db->freeze_count) % FREEZES_MAX].number == freeze);
}

/* What the log holds up to the freeze is durable in the lsm. */
static void on_flushed(void *data, uint64_t freeze)
{
    struct db *db = data;
    struct raftlog_group_state state;
    ASSERT(db->freeze_count > 0);
    struct freeze done = db->freezes[db->freeze_first];
    ASSERT(done.number == freeze);
    db->freeze_first = (db->freeze_first + 1) % FREEZES_MAX;
    db->freeze_count--;
    if (db->log != NULL && raftlog_group_state(db->log, GROUP, &state) == 0 &&
        done.index > state.base_index && done.index <= state.last_index)
        raftlog_compact(db->log, GROUP, done.index + 1);
}

static void on_corrupt(void *data, const char *file, uint64_t offset, const char *text)
{
    struct db *db = data;
    (void)file;
    (void)offset;
    if (db->options.on_damage != NULL)
        db->options.on_damage(db->options.data, text);
}

static void on_log_damage(void *data, uint64_t group, const char *text)
{
    struct db *db = data;
    (void)group;
    if (db->options.on_damage != NULL)
        db->options.on_damage(db->options.data, text);
}

/* ---- replay ------------------------------------------------------------- */

static void replay_end(struct db *db, int status, const struct err *err)
{
    db->is_replaying = false;
    raftlog_read_fini(&db->read);
    lsm_batch_fini(&db->batch);
    db->status = status;
    if (status != 0)
        db->err = *err;
    db->is_ready = status == 0;
    say_ready(db);
}

/* Apply one entry whole. ERR_BUSY: nothing of it was. */
static int replay_entry(struct db *db, const struct raftlog_entry *e, struct err *err)
{
    int rv = lsm_batch_load(&db->batch, e->data);
    if (rv == ERR_CORRUPT)
        return err_set(err, rv, "log entry %llu makes no sense",
                       (unsigned long long)(db->index + 1));
    if (rv == 0)
        rv = lsm_write(db->lsm, &db->batch);
    if (rv != 0)
        return rv;
    struct entry at;
    for (size_t pos = 0; lsm_batch_next(&db->batch, &pos, &at);)
        db->version = MAX(db->version, at.version);
    db->index++;
    db->replayed += db->batch.count;
    return 0;
}

static void on_read(struct raftlog_read *read)
{
    struct db *db = read->data;
    struct err err = read->err;
    int rv = read->status;
    db->is_reading = false;
    for (uint32_t i = 0; rv == 0 && i < read->n; i++)
        rv = replay_entry(db, &read->entries[i], &err);
    raftlog_read_fini(read);
    if (rv == ERR_BUSY)
        return; /* on_stall() goes on */
    if (rv != 0)
        replay_end(db, rv, &err);
    else
        replay_go_on(db);
}

static void replay_go_on(struct db *db)
{
    struct raftlog_group_state state = {0};
    struct err err = {0};
    if (db->is_reading)
        return;
    if (raftlog_group_state(db->log, GROUP, &state) != 0 || db->index >= state.last_index) {
        replay_end(db, 0, NULL);
        return;
    }
    db->read = (struct raftlog_read){
        .data = db,
        .group = GROUP,
        .first = db->index + 1,
        .last = state.last_index,
        .bytes_max = REPLAY_BYTES,
        .cb = on_read,
    };
    int rv = raftlog_read(db->log, &db->read);
    db->is_reading = rv == 0;
    if (rv != 0) {
        err_set(&err, rv, "read the log from entry %llu", (unsigned long long)(db->index + 1));
        replay_end(db, rv, &err);
    }
}

/* ---- open --------------------------------------------------------------- */

/* What the log has of the budget of memory: a sixteenth, or nothing where there is no log. */
static size_t log_share(const struct db_options *options)
{
    return options->log == DB_LOG_NONE ? 0 : options->lsm.memory_bytes / 16;
}

static int open_lsm(struct db *db, const char *dir, struct err *err)
{
    char path[ENV_PATH_MAX];
    struct lsm_options options = db->options.lsm;
    options.memory_bytes -= log_share(&db->options);
    const struct lsm_gc_span all = {.safe_version = UINT64_MAX};
    if (snprintf(path, sizeof path, "%s/lsm", dir) >= (int)sizeof path)
        return err_set(err, ERR_INVALID, "path too long: '%s'", dir);
    options.callbacks = (struct lsm_callbacks){
        .on_freeze = on_freeze,
        .on_unfreeze = on_unfreeze,
        .on_flushed = on_flushed,
        .on_corrupt = on_corrupt,
        .on_stall = on_stall,
    };
    options.data = db;
    int rv = lsm_open(&db->lsm, db->env, path, &options, err);
    if (rv == 0 && lsm_set_gc(db->lsm, &all, 1) != 0)
        rv = err_set(err, ERR_NOMEM, "garbage table");
    return rv;
}

/* Where the lsm stands: index and version of the last flush. */
static int read_meta(struct db *db, struct err *err)
{
    struct lsm_value value = {0};
    struct lsm_view *view = lsm_view_take(db->lsm);
    if (view == NULL)
        return err_set(err, ERR_NOMEM, "view");
    int rv = lsm_get(view, slice_of(META_KEY, sizeof META_KEY), UINT64_MAX, 0, &value, err);
    if (rv == 0 && value.data.len != META_LEN) {
        rv = err_set(err, ERR_CORRUPT, "meta record of %zu bytes", value.data.len);
    } else if (rv == 0) {
        db->index = get_u64(value.data.data);
        db->version = get_u64(value.data.data + 8);
    } else if (rv == ERR_NOT_FOUND) {
        rv = 0;
    }
    lsm_value_fini(&value);
    lsm_view_unref(view);
    return rv;
}

static int open_log(struct db *db, const char *dir, struct err *err)
{
    char path[ENV_PATH_MAX];
    bool is_dir = false;
    uint64_t size = 0;
    if (snprintf(path, sizeof path, "%s/log", dir) >= (int)sizeof path)
        return err_set(err, ERR_INVALID, "path too long: '%s'", dir);
    if (db->options.log == DB_LOG_NONE) {
        int rv = env_file_stat(db->env, path, &size, &is_dir, NULL);
        return rv == ERR_NOT_FOUND
                   ? 0
                   : err_set(err, ERR_INVALID,
                             "'%s' is there: it may hold writes; open it with a log", path);
    }
    struct raftlog_options options = db->options.raftlog;
    options.no_zeroing |= db->options.log == DB_LOG_UNSYNCED;
    if (db->options.log == DB_LOG_SYNCED && options.ahead_bytes == SIZE_MAX)
        options.ahead_bytes = options.segment_bytes / 4 * 3;
    options.no_rewrite = true; /* the one group gives up all of a segment at the next flush */
    if (log_share(&db->options) > 0)
        options.cache_bytes = MIN(options.cache_bytes, log_share(&db->options));
    options.callbacks = (struct raftlog_callbacks){.on_room = on_room, .on_damage = on_log_damage};
    options.data = db;
    int rv = raftlog_open(&db->log, db->env, path, &options, err);
    if (rv == 0 && raftlog_damage(db->log)[0] != 0)
        rv = err_set(err, ERR_CORRUPT, "log: %s", raftlog_damage(db->log));
    return rv;
}

/* The log is new, or it lost an end that was not synced but is in the lsm: it goes on
 * behind what the lsm has. Else what it has beyond is applied. */
static int join(struct db *db, struct err *err)
{
    struct raftlog_group_state state = {0};
    int rv = raftlog_group_state(db->log, GROUP, &state);
    if (rv == 0 && state.base_index > db->index)
        return err_set(err, ERR_CORRUPT, "the log begins at entry %llu, the lsm ends at %llu",
                       (unsigned long long)state.first_index, (unsigned long long)db->index);
    if (rv == 0 && state.last_index >= db->index) {
        db->is_replaying = true;
        replay_go_on(db);
        return 0;
    }
    struct turn *t = turn_new(db);
    if (t == NULL)
        return err_set(err, ERR_NOMEM, "log");
    t->write = (struct raftlog_write){
        .data = t,
        .group = GROUP,
        .has_hard_state = true,
        .term = TERM,
        .has_reset = true,
        .base_index = db->index,
        .base_term = db->index == 0 ? 0 : TERM,
        .commit = db->index,
        .cb = on_synced,
    };
    list_push_back(&db->turns, &t->in_turns);
    db->turn_count++;
    raftlog_append(db->log, &t->write);
    replay_end(db, 0, NULL);
    return 0;
}

/* The names of `dir` and of its two folders must outlive a crash like what is in them. */
static int sync_parent(struct env *env, const char *dir, struct err *err)
{
    char parent[ENV_PATH_MAX];
    const char *slash = strrchr(dir, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - dir);
    if (slash == NULL)
        return env_dir_sync(env, ".", err);
    len = MAX(len, (size_t)1); /* "/x" */
    if (len >= sizeof parent)
        return err_set(err, ERR_INVALID, "path too long: '%s'", dir);
    memcpy(parent, dir, len);
    parent[len] = 0;
    return env_dir_sync(env, parent, err);
}

static int make_folder(struct db *db, const char *dir, struct err *err)
{
    struct err why = {0};
    int rv = env_dir_make(db->env, dir, &why);
    if (rv != 0 && rv != ERR_EXISTS)
        return err_set(err, rv, "%s", why.msg);
    /* Also when it is there: the process that made it may have died before this. */
    return sync_parent(db->env, dir, err);
}

static void on_retry(struct env_timer *timer)
{
    struct db *db = timer->data;
    if (db->was_refused)
        say_ready(db); /* the next write asks for a flush again */
}

static void on_pace(struct env_timer *timer)
{
    struct db *db = timer->data;
    if (db->was_refused)
        say_ready(db);
}

static void db_setup(struct db *db, struct env *env, const struct db_options *options)
{
    db->env = env;
    db->options = *options;
    list_init(&db->ops);
    list_init(&db->turns);
    list_init(&db->unused);
    buf_init(&db->bytes, RAFTLOG_RECORD_MAX);
    lsm_batch_init(&db->batch);
    env_task_init(&db->task, on_turn_end, db);
    env_task_init(&db->ready_task, on_ready_task, db);
    env_timer_init(&db->pace, env, on_pace, db);
    env_timer_init(&db->retry, env, on_retry, db);
}

int db_open(struct db **ret_db, struct env *env, const char *dir, const struct db_options *options,
            struct err *err)
{
    if (options->lsm.memtables_max > DB_MEMTABLES_MAX)
        return err_set(err, ERR_INVALID, "memtables_max is %u: at most %d may be",
                       options->lsm.memtables_max, DB_MEMTABLES_MAX);
    struct db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return err_set(err, ERR_NOMEM, "db");
    db_setup(db, env, options);
    int rv = make_folder(db, dir, err);
    if (rv == 0)
        rv = env_dir_lock(env, dir, &db->lock, err);
    if (rv == 0)
        rv = open_lsm(db, dir, err);
    if (rv == 0)
        rv = env_dir_sync(env, dir, err);
    if (rv == 0)
        rv = read_meta(db, err);
    if (rv == 0)
        rv = open_log(db, dir, err);
    if (rv == 0 && db->log != NULL)
        rv = join(db, err);
    else if (rv == 0)
        replay_end(db, 0, NULL);
    if (rv != 0) {
        db_free(db);
        return err_wrap(err, rv, "open '%s'", dir);
    }
    *ret_db = db;
    return 0;
}

void db_free(struct db *db)
{
    if (db == NULL)
        return;
    env_task_cancel(&db->task);
    env_task_cancel(&db->ready_task);
    env_timer_stop(&db->pace);
    env_timer_stop(&db->retry);
    raftlog_free(db->log); /* forgets the turns in flight … */
    raftlog_read_fini(&db->read);
    lsm_free(db->lsm);
    env_dir_unlock(db->lock);
    for (struct list *link; (link = list_pop_front(&db->turns)) != NULL;)
        free(list_entry(link, struct turn, in_turns)); /* … which are ours */
    for (struct list *link; (link = list_pop_front(&db->unused)) != NULL;)
        free(list_entry(link, struct turn, in_turns));
    buf_fini(&db->bytes);
    lsm_batch_fini(&db->batch);
    free(db);
}

bool db_is_ready(const struct db *db)
{
    return db->is_ready;
}

int db_status(const struct db *db, struct err *err)
{
    return db->status == 0 ? 0 : err_set(err, db->status, "%s", db->err.msg);
}

/* ---- write -------------------------------------------------------------- */

static bool keys_are_sane(const struct lsm_batch *batch)
{
    struct entry e;
    for (size_t pos = 0; lsm_batch_next(batch, &pos, &e);) {
        if (e.key.data[0] == 0)
            return false;
    }
    return true;
}

static bool log_has_room(struct db *db, size_t len)
{
    if (db->log == NULL)
        return true;
    /* A freeze may make two entries of the turn. */
    uint64_t cost = 2 * raftlog_append_cost(1, db->bytes.len + len);
    if (raftlog_has_room(db->log, cost))
        return true;
    shorten_log(db);
    return false;
}

int db_write(struct db *db, struct lsm_batch *batch, struct db_op *op)
{
    size_t len = batch->buf.len;
    ASSERT(batch->borrowed == 0); /* its bytes go to the log as they stand */
    if (batch->buf.failed)
        return ERR_NOMEM;
    if (len > RAFTLOG_RECORD_MAX / 2 || !keys_are_sane(batch))
        return ERR_INVALID;
    if (!turn_reserve(db))
        return ERR_NOMEM;
    if (buf_reserve(&db->bytes, len) != 0) {
        db->bytes.failed = false; /* what the turn holds stays good, and the next write may fit */
        return ERR_NOMEM;
    }
    if (!db->is_ready || env_timer_is_active(&db->pace) || db->pending_bytes >= DB_PENDING_BYTES ||
        !log_has_room(db, len)) {
        db->was_refused = true;
        return ERR_BUSY;
    }
    lsm_batch_stamp(batch, db->version + 1);
    int rv = lsm_write(db->lsm, batch);
    db->was_refused |= rv == ERR_BUSY;
    if (rv != 0)
        return rv;
    db->version++;
    if (op != NULL) {
        list_init(&op->in_turn);
        list_push_back(&db->ops, &op->in_turn);
    }
    if (db->log != NULL)
        buf_append_slice(&db->bytes, buf_slice(&batch->buf));
    if (db->bytes.len >= DB_TURN_BYTES)
        seal(db);
    env_task_post(db->env, &db->task);
    db->debt_us += lsm_pace_us(db->lsm, len);
    if (db->debt_us >= PACE_US_MIN) {
        env_timer_start(&db->pace, db->debt_us);
        db->debt_us = 0;
    }
    return 0;
}

struct lsm *db_lsm(struct db *db)
{
    return db->lsm;
}

void db_stats(const struct db *db, struct db_stats *ret_stats)
{
    *ret_stats = (struct db_stats){
        .version = db->version,
        .log_index = db->index,
        .log_bytes = db->log_bytes,
        .replayed = db->replayed,
        .pending_bytes = db->pending_bytes + db->bytes.len,
        .turns = db->turn_count,
    };
}
