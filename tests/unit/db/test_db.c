/* SPDX-License-Identifier: Apache-2.0
 *
 * Write number n sets "last" to n and one of KEYS keys to n, or deletes it: what a
 * database shows is then either the state after some write, or wrong.
 */
#include "db/db.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/coding.h"
#include "env/sim/sim.h"
#include "support/check.h"
#include "support/crash_points.h"

enum { KEYS = 23, VALUE = 200 };

struct world {
    struct sim *sim;
    struct sim_node *node;
    struct db *db;
    struct db_options options;
    uint64_t seed;
    uint64_t written, acked;
    size_t images, ahead;
    unsigned ready;
    struct ack *acks; /* all ever made: a crash answers nobody */
};

struct ack {
    struct db_op op;
    struct world *w;
    struct ack *next;
    uint64_t number;
};

static void small_options(struct db_options *o, enum db_log log)
{
    db_options_init(o);
    o->log = log;
    o->lsm.memtable_bytes = 8 << 10;
    o->lsm.block_bytes = 512;
    o->lsm.cache_bytes = 64 << 10;
    o->lsm.table_bytes = 8 << 10;
    o->lsm.level_base_bytes = 16 << 10;
    o->lsm.l0_compact = 2;
    o->raftlog.segment_bytes = 16 << 10;
    o->raftlog.budget_bytes = 64 << 10;
    o->raftlog.limit_bytes = 128 << 10;
    o->raftlog.cache_bytes = 16 << 10;
    o->raftlog.batch_bytes_max = 4 << 10;
}

static void on_ready(void *data)
{
    ((struct world *)data)->ready++;
}

static void run_us(struct world *w, uint64_t us)
{
    sim_run_until(w->sim, sim_now_us(w->sim) + us);
}

static void must_open(struct world *w)
{
    struct err err = {0};
    int rv = db_open(&w->db, sim_node_env(w->node), "db", &w->options, &err);
    if (rv != 0)
        fail_msg("seed %llu: open: %d %s", (unsigned long long)w->seed, rv, err.msg);
}

static void wait_ready(struct world *w)
{
    for (unsigned i = 0; !db_is_ready(w->db); i++) {
        struct err err = {0};
        if (i > 1000 || db_status(w->db, &err) != 0)
            fail_msg("seed %llu: never ready: %s", (unsigned long long)w->seed, err.msg);
        run_us(w, 10000);
    }
}

static void world_init(struct world *w, uint64_t seed, enum db_log log)
{
    *w = (struct world){.seed = seed, .sim = sim_new(NULL, seed)};
    w->node = sim_node_new(w->sim, "n1");
    small_options(&w->options, log);
    w->options.sync_on_thread = seed % 2 == 1;
    w->options.on_ready = on_ready;
    w->options.data = w;
}

static void world_fini(struct world *w)
{
    sim_node_crash(w->node, SIM_CRASH_KILL);
    db_free(w->db);
    sim_free(w->sim);
    for (struct ack *ack = w->acks, *next; ack != NULL; ack = next) {
        next = ack->next;
        free(ack);
    }
}

static void on_ack(struct db_op *op)
{
    struct ack *ack = container_of(op, struct ack, op);
    ack->w->acked = MAX(ack->w->acked, ack->number);
}

static struct slice key_of(uint64_t number, char room[16])
{
    return slice_of(room, (size_t)snprintf(room, 16, "k%02u", (unsigned)(number * 7 % KEYS)));
}

static bool is_delete(uint64_t number)
{
    return number % 5 == 0;
}

static int write_next(struct world *w)
{
    struct lsm_batch batch;
    char room[16];
    uint8_t value[VALUE] = {0};
    struct ack *ack = calloc(1, sizeof *ack);
    assert_non_null(ack);
    *ack = (struct ack){.w = w, .next = w->acks, .number = w->written + 1, .op.cb = on_ack};
    w->acks = ack;
    put_u64(value, ack->number);
    lsm_batch_init(&batch);
    lsm_batch_put(&batch, slice_str("last"), 0, slice_of(value, 8), 0);
    if (is_delete(ack->number))
        lsm_batch_delete(&batch, key_of(ack->number, room), 0);
    else
        lsm_batch_put(&batch, key_of(ack->number, room), 0, slice_of(value, sizeof value), 0);
    int rv = db_write(w->db, &batch, &ack->op);
    lsm_batch_fini(&batch);
    w->written += rv == 0;
    return rv;
}

/* The log's first file may still be made. */
static void must_write_next(struct world *w)
{
    int rv = ERR_BUSY;
    for (unsigned n = 0; n < 1000 && (rv = write_next(w)) == ERR_BUSY; n++)
        run_us(w, 10000);
    assert_int_equal(rv, 0);
}

/* 0 if it is not there. */
static uint64_t read_number(struct db *db, struct slice key)
{
    struct lsm_value value = {0};
    struct err err = {0};
    uint64_t number = 0;
    struct lsm_view *view = lsm_view_take(db_lsm(db));
    int rv = lsm_get(view, key, UINT64_MAX, 0, &value, &err);
    assert_true(rv == 0 || rv == ERR_NOT_FOUND);
    if (rv == 0) {
        assert_true(value.data.len >= 8);
        number = get_u64(value.data.data);
    }
    lsm_value_fini(&value);
    lsm_view_unref(view);
    return number;
}

/* What is there must be the state after a write; returns its number. */
static uint64_t check_prefix(struct db *db)
{
    uint64_t want[KEYS] = {0};
    char room[16];
    uint64_t last = read_number(db, slice_str("last"));
    for (uint64_t n = 1; n <= last; n++)
        want[n * 7 % KEYS] = is_delete(n) ? 0 : n;
    for (uint64_t n = 0; n < KEYS; n++)
        assert_int_equal(read_number(db, key_of(n, room)), want[n * 7 % KEYS]);
    return last;
}

/* ---- tests -------------------------------------------------------------- */

static void test_reopen(void **state)
{
    (void)state;
    static const enum db_log logs[] = {DB_LOG_UNSYNCED, DB_LOG_SYNCED};
    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        struct world w;
        world_init(&w, i, logs[i]);
        must_open(&w);
        wait_ready(&w);
        for (unsigned n = 0; n < 400; n++) {
            if (write_next(&w) == ERR_BUSY)
                run_us(&w, 100000);
            run_us(&w, 100);
            if (n % 97 != 0)
                continue;
            run_us(&w, 1000000);
            assert_int_equal(w.acked, w.written);
            sim_node_crash(w.node, n % 2 == 0 ? SIM_CRASH_KILL : SIM_CRASH_POWER);
            db_free(w.db);
            sim_node_restart(w.node);
            must_open(&w);
            wait_ready(&w);
            assert_int_equal(check_prefix(w.db), w.written);
        }
        world_fini(&w);
    }
}

/* Two at once on one folder would write over each other's files. */
static void test_open_twice(void **state)
{
    (void)state;
    struct world w;
    struct db *second = NULL;
    struct err err = {0};
    world_init(&w, 1, DB_LOG_SYNCED);
    must_open(&w);
    wait_ready(&w);
    assert_int_equal(db_open(&second, sim_node_env(w.node), "db", &w.options, &err), ERR_LOCKED);
    assert_null(second);
    for (unsigned n = 0; n < 10 && write_next(&w) == ERR_BUSY; n++)
        run_us(&w, 100000);
    run_us(&w, 1000000);
    assert_int_equal(w.acked, 1);
    assert_int_equal(check_prefix(w.db), 1);
    world_fini(&w);
}

/* Without a log the flush is all that counts. */
static void on_flush(struct lsm_flush_op *op, int status)
{
    (void)op;
    assert_int_equal(status, 0);
}

static void test_no_log(void **state)
{
    (void)state;
    struct world w;
    struct lsm_flush_op flush;
    struct err err = {0};
    world_init(&w, 1, DB_LOG_NONE);
    must_open(&w);
    assert_true(db_is_ready(w.db));
    while (w.written < 30) {
        if (write_next(&w) != 0)
            run_us(&w, 10000);
    }
    assert_int_equal(lsm_flush(db_lsm(w.db), &flush, on_flush), 0);
    run_us(&w, 1000000);
    assert_int_equal(w.acked, 30);
    for (unsigned n = 0; n < 5; n++)
        assert_int_equal(write_next(&w), 0);
    run_us(&w, 1000000);
    sim_node_crash(w.node, SIM_CRASH_KILL);
    db_free(w.db);
    sim_node_restart(w.node);
    must_open(&w);
    assert_int_equal(check_prefix(w.db), 30);
    w.written = w.acked = 30;
    sim_node_crash(w.node, SIM_CRASH_KILL);
    db_free(w.db);
    sim_node_restart(w.node);
    w.options.log = DB_LOG_SYNCED; /* from now on with a log: goes on behind … */
    must_open(&w);
    wait_ready(&w);
    while (write_next(&w) != 0) /* the log's first file is still being made */
        run_us(&w, 10000);
    run_us(&w, 1000000);
    assert_int_equal(w.acked, 31);
    sim_node_crash(w.node, SIM_CRASH_POWER);
    db_free(w.db);
    sim_node_restart(w.node);
    w.options.log = DB_LOG_NONE; /* … and never again without */
    w.db = NULL;
    assert_int_equal(db_open(&w.db, sim_node_env(w.node), "db", &w.options, &err), ERR_INVALID);
    assert_null(w.db);
    world_fini(&w);
}

/* The log may be full before the memtable is: it makes room by itself. */
static void test_log_full(void **state)
{
    (void)state;
    struct world w;
    unsigned busy = 0;
    world_init(&w, 1, DB_LOG_SYNCED);
    w.options.lsm.memtable_bytes = 4 << 20;
    must_open(&w);
    wait_ready(&w);
    for (unsigned n = 0; w.written < 2000; n++) {
        unsigned ready = w.ready;
        assert_true(n < 100000);
        if (write_next(&w) != ERR_BUSY)
            continue;
        busy++;
        for (unsigned i = 0; w.ready == ready; i++) {
            assert_true(i < 1000);
            run_us(&w, 10000);
        }
    }
    assert_true(busy > 0);
    run_us(&w, 1000000);
    assert_int_equal(w.acked, w.written);
    assert_int_equal(check_prefix(w.db), w.written);
    world_fini(&w);
}

/* The linker puts it between the two rooms (CMakeLists.txt). */
int __wrap_lsm_flush(struct lsm *lsm, struct lsm_flush_op *op, lsm_flush_cb cb);
int __real_lsm_flush(struct lsm *lsm, struct lsm_flush_op *op, lsm_flush_cb cb);

static bool is_short_of_memory;

int __wrap_lsm_flush(struct lsm *lsm, struct lsm_flush_op *op, lsm_flush_cb cb)
{
    return is_short_of_memory ? ERR_NOMEM : __real_lsm_flush(lsm, op, cb);
}

/* The log is full, nothing is on its way, and there is no memory to flush: who waits hears of room
 * once there is some. */
static void test_log_full_without_memory(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1, DB_LOG_SYNCED);
    w.options.lsm.memtable_bytes = 4 << 20;
    must_open(&w);
    wait_ready(&w);
    is_short_of_memory = true;
    for (unsigned busy = 0, n = 0; busy < 3; n++) { /* a file of the log may be on its way */
        assert_true(n < 100000);
        busy = write_next(&w) == ERR_BUSY ? busy + 1 : 0;
        run_us(&w, busy > 0 ? 1000000 : 0);
    }
    assert_int_equal(w.acked, w.written);
    unsigned ready = w.ready;
    assert_int_equal(write_next(&w), ERR_BUSY);
    is_short_of_memory = false;
    int rv = ERR_BUSY;
    for (unsigned i = 0; i < 100 && rv == ERR_BUSY; i++) {
        for (unsigned k = 0; k < 1000 && w.ready == ready; k++)
            run_us(&w, 1000);
        assert_true(w.ready > ready);
        ready = w.ready;
        rv = write_next(&w);
    }
    assert_int_equal(rv, 0);
    run_us(&w, 1000000);
    assert_int_equal(w.acked, w.written);
    assert_int_equal(check_prefix(w.db), w.written);
    world_fini(&w);
}

/* While compaction is behind, writers wait often and shortly, not seldom and long. */
static void test_pace(void **state)
{
    (void)state;
    struct world w;
    uint64_t longest = 0;
    unsigned waits = 0;
    world_init(&w, 1, DB_LOG_NONE);
    w.options.lsm.l0_slow = 2;
    w.options.lsm.l0_stop = 60;
    w.options.lsm.no_auto_compaction = true;
    must_open(&w);
    while (w.written < 600) {
        unsigned ready = w.ready;
        uint64_t began = sim_now_us(w.sim);
        if (write_next(&w) != ERR_BUSY) {
            run_us(&w, 10);
            continue;
        }
        while (w.ready == ready)
            run_us(&w, 100);
        longest = MAX(longest, sim_now_us(w.sim) - began);
        waits++;
    }
    assert_true(waits > 5);
    assert_true(longest < 100000);
    assert_int_equal(check_prefix(w.db), w.written);
    world_fini(&w);
}

/* However slow the log is, what waits for it in memory is bounded. */
static void test_pending(void **state)
{
    (void)state;
    static const uint8_t value[300000];
    struct world w;
    struct db_stats stats;
    world_init(&w, 1, DB_LOG_UNSYNCED);
    w.options.lsm.memtable_bytes = 64 << 20;
    raftlog_options_init(&w.options.raftlog);
    w.options.raftlog.cache_bytes = 64 << 10;
    must_open(&w);
    wait_ready(&w);
    run_us(&w, 10000000); /* the log's first files are there */
    struct lsm_batch batch;
    int rv = 0;
    lsm_batch_init(&batch);
    for (unsigned n = 0; rv == 0; n++) {
        assert_true(n < 1000);
        lsm_batch_clear(&batch);
        lsm_batch_put(&batch, slice_str("k"), 0, slice_of(value, sizeof value), 0);
        rv = db_write(w.db, &batch, NULL);
    }
    assert_int_equal(rv, ERR_BUSY);
    db_stats(w.db, &stats);
    assert_true(stats.pending_bytes >= DB_PENDING_BYTES);
    assert_true(stats.pending_bytes <= DB_PENDING_BYTES + 2 * DB_TURN_BYTES);
    unsigned ready = w.ready;
    run_us(&w, 10000000);
    assert_true(w.ready > ready);
    db_stats(w.db, &stats);
    assert_int_equal(stats.pending_bytes, 0);
    assert_int_equal(db_write(w.db, &batch, NULL), 0);
    lsm_batch_fini(&batch);
    world_fini(&w);
}

/* A lone write is durable at the end of its turn, unless the loop is not to be held up; those
 * of several writers are synced all in one. */
static void test_lone_write(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2; seed++) {
        struct world w;
        struct db_stats before, after;
        world_init(&w, seed, DB_LOG_SYNCED);
        must_open(&w);
        wait_ready(&w);
        while (write_next(&w) != 0)
            run_us(&w, 10000);
        run_us(&w, 1000000);
        assert_int_equal(w.acked, w.written);
        uint64_t began_us = sim_now_us(w.sim);
        for (unsigned n = 0; n < 10; n++) {
            assert_int_equal(write_next(&w), 0);
            assert_true(w.acked < w.written);
            while (w.acked < w.written)
                assert_true(sim_step(w.sim));
        }
        assert_true((sim_now_us(w.sim) == began_us) != w.options.sync_on_thread);
        db_stats(w.db, &before);
        for (unsigned n = 0; n < 10; n++)
            assert_int_equal(write_next(&w), 0);
        while (w.acked < w.written)
            assert_true(sim_step(w.sim));
        db_stats(w.db, &after);
        assert_int_equal(after.log_index - before.log_index, 1);
        assert_true(sim_now_us(w.sim) > began_us); /* by the thread */
        world_fini(&w);
    }
}

static void test_bad_writes(void **state)
{
    (void)state;
    struct world w;
    struct lsm_batch batch;
    world_init(&w, 1, DB_LOG_SYNCED);
    must_open(&w);
    lsm_batch_init(&batch);
    lsm_batch_put(&batch, slice_of("\0db", 3), 0, slice_str("x"), 0);
    wait_ready(&w);
    assert_int_equal(db_write(w.db, &batch, NULL), ERR_INVALID);
    lsm_batch_fini(&batch);
    /* Too much for a write, and for the log: its bytes are not even looked at. */
    static const size_t lens[] = {RAFTLOG_RECORD_MAX / 2 + 1, RAFTLOG_RECORD_MAX + 1};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        lsm_batch_init(&batch);
        assert_non_null(buf_extend(&batch.buf, lens[i]));
        assert_int_equal(db_write(w.db, &batch, NULL), ERR_INVALID);
        lsm_batch_fini(&batch);
    }
    must_write_next(&w);
    world_fini(&w);
}

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool cannot_grow;

void *__wrap_realloc(void *p, size_t size)
{
    return cannot_grow ? NULL : __real_realloc(p, size);
}

/* There was no memory for a write, be it the first of its turn or not: only that one fails. */
static void test_short_of_memory(void **state)
{
    (void)state;
    enum { LARGE = 4000 }; /* more than the turn has room for so far */
    static const uint8_t value[LARGE];
    for (unsigned before = 0; before < 2; before++) {
        struct world w;
        struct lsm_batch batch;
        world_init(&w, 1, DB_LOG_SYNCED);
        must_open(&w);
        wait_ready(&w);
        must_write_next(&w);
        run_us(&w, 1000000);
        lsm_batch_init(&batch);
        lsm_batch_put(&batch, slice_str("large"), 0, slice_of(value, sizeof value), 0);
        for (unsigned n = 0; n < before; n++)
            assert_int_equal(write_next(&w), 0);
        cannot_grow = true;
        assert_int_equal(db_write(w.db, &batch, NULL), ERR_NOMEM);
        cannot_grow = false;
        assert_int_equal(write_next(&w), 0);
        assert_int_equal(db_write(w.db, &batch, NULL), 0);
        run_us(&w, 1000000);
        assert_int_equal(w.acked, w.written);
        assert_int_equal(check_prefix(w.db), w.written);
        lsm_batch_fini(&batch);
        world_fini(&w);
    }
}

/* Every mutating call of a run, several disks that a crash there might leave. */
static void verify(void *data, const struct crash_point *point, struct sim_disk *image)
{
    struct world *run = data;
    struct world w = {.seed = run->seed, .options = run->options};
    w.options.on_ready = NULL;
    w.sim = sim_new(NULL, point->number);
    w.node = sim_node_new_on(w.sim, "n1", image);
    must_open(&w);
    wait_ready(&w);
    uint64_t last = check_prefix(w.db);
    if (run->options.log == DB_LOG_SYNCED && last < run->acked)
        fail_msg("seed %llu, call %llu (%s %s%s): %llu acknowledged, %llu there",
                 (unsigned long long)run->seed, (unsigned long long)point->number, point->op,
                 point->path, point->is_kill ? ", kill" : "", (unsigned long long)run->acked,
                 (unsigned long long)last);
    assert_true(last <= run->written + 1); /* inside db_write() it is not counted yet */
    run->images++;
    run->ahead += last > run->acked;
    world_fini(&w);
}

static void crash_everywhere(uint64_t seed, enum db_log log)
{
    struct world w;
    struct rng rng;
    world_init(&w, seed, log);
    rng_init(&rng, seed);
    struct crash_points points = {.images = 2, .verify = verify, .data = &w};
    crash_points_start(&points, sim_node_disk(w.node), seed);
    must_open(&w);
    wait_ready(&w);
    for (unsigned n = 0; n < 250; n++) {
        write_next(&w);
        if (rng_chance(&rng, 1, 3))
            run_us(&w, rng_below(&rng, 3000));
    }
    run_us(&w, 1000000);
    crash_points_stop(&points);
    assert_int_equal(w.acked, w.written);
    assert_true(w.images > 100);
    assert_true(log != DB_LOG_SYNCED || w.ahead > 0);
    world_fini(&w);
}

static void test_crash(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        crash_everywhere(seed, DB_LOG_SYNCED);
        crash_everywhere(seed, DB_LOG_UNSYNCED);
        crash_everywhere(seed, DB_LOG_NONE);
    }
}

/* As many memtables as may be: the slowest disk lets them all be frozen. More are refused. */
static void test_many_memtables(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    world_init(&w, 1, DB_LOG_NONE);
    w.options.lsm.memtables_max = DB_MEMTABLES_MAX + 1;
    assert_int_equal(db_open(&w.db, sim_node_env(w.node), "db", &w.options, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "memtables_max"));
    w.options.lsm.memtables_max = DB_MEMTABLES_MAX;
    must_open(&w);
    wait_ready(&w);
    while (write_next(&w) == 0) /* nothing is flushed: no time goes by */
        continue;
    struct lsm_stats stats;
    lsm_stats(db_lsm(w.db), &stats);
    assert_int_equal(stats.memtables_frozen, DB_MEMTABLES_MAX);
    run_us(&w, 10 * 1000000);
    assert_int_equal(w.acked, w.written);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reopen),          cmocka_unit_test(test_open_twice),
        cmocka_unit_test(test_no_log),          cmocka_unit_test(test_log_full),
        cmocka_unit_test(test_bad_writes),      cmocka_unit_test(test_pace),
        cmocka_unit_test(test_pending),         cmocka_unit_test(test_crash),
        cmocka_unit_test(test_lone_write),      cmocka_unit_test(test_log_full_without_memory),
        cmocka_unit_test(test_short_of_memory), cmocka_unit_test(test_many_memtables),
    };
    return cmocka_run_group_tests_name("db", tests, NULL, NULL);
}
