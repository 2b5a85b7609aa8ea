/* SPDX-License-Identifier: Apache-2.0
 *
 * One operation of each workload. A write is one batch of `batch_size` records; a read
 * on the loop takes a view of its own, as an owner of fresh reads would.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "lsm/batch.h"

/* ---- writes ------------------------------------------------------------- */

static void on_acknowledged(struct db_op *op)
{
    run_acknowledged(op->data);
}

static enum op_status write_batch(struct run *run)
{
    struct bench *b = run->bench;
    struct db_op *op = b->set.sync && !b->set.disable_wal ? &run->op : NULL;
    run->op = (struct db_op){.data = run, .cb = on_acknowledged};
    int rv = db_write(b->db, &run->batch, op);
    if (rv == ERR_BUSY)
        return OP_BUSY; /* the same batch again */
    if (rv != 0) {
        err_set(&b->err, rv, "write: %s", err_name(rv));
        return OP_END;
    }
    run->bytes += lsm_batch_bytes(&run->batch);
    b->user_bytes += lsm_batch_bytes(&run->batch);
    lsm_batch_clear(&run->batch);
    return op != NULL ? OP_WAIT : OP_DONE;
}

static void add_put(struct run *run, uint64_t n)
{
    uint8_t room[KEY_MAX + 1];
    lsm_batch_put(&run->batch, data_key(run->bench, n, room), 0, data_value(run), 0);
}

static enum op_status op_fillseq(struct run *run)
{
    while (run->batch.count < run->bench->set.batch_size)
        add_put(run, run->next_key++);
    return write_batch(run);
}

static enum op_status op_fillrandom(struct run *run)
{
    while (run->batch.count < run->bench->set.batch_size)
        add_put(run, rng_below(&run->rng, run->bench->set.num));
    return write_batch(run);
}

static enum op_status op_deleterandom(struct run *run)
{
    uint8_t room[KEY_MAX + 1];
    while (run->batch.count < run->bench->set.batch_size) {
        uint64_t n = rng_below(&run->rng, run->bench->set.num);
        lsm_batch_delete(&run->batch, data_key(run->bench, n, room), 0);
    }
    return write_batch(run);
}

/* ---- reads -------------------------------------------------------------- */

static struct lsm_view *view_of(struct run *run)
{
    return run->view != NULL ? lsm_view_ref(run->view) : lsm_view_take(db_lsm(run->bench->db));
}

static enum op_status failed(struct run *run, struct lsm_view *view, int rv, const struct err *err)
{
    lsm_view_unref(view);
    run->bench->err = *err;
    run->errors++;
    if (run->bench->err.code == 0)
        err_set(&run->bench->err, rv, "read: %s", err_name(rv));
    return OP_END;
}

static enum op_status get(struct run *run, struct slice key)
{
    struct err err = {0};
    struct lsm_value value = {0};
    struct lsm_view *view = view_of(run);
    if (view == NULL)
        return failed(run, view, ERR_NOMEM, &err);
    int rv = lsm_get(view, key, UINT64_MAX, 0, &value, &err);
    if (rv != 0 && rv != ERR_NOT_FOUND)
        return failed(run, view, rv, &err);
    if (rv == 0) {
        run->found++;
        run->bytes += key.len + value.data.len;
        lsm_value_fini(&value);
    }
    lsm_view_unref(view);
    return OP_DONE;
}

static enum op_status op_readrandom(struct run *run)
{
    uint8_t room[KEY_MAX + 1];
    return get(run, data_key(run->bench, rng_below(&run->rng, run->bench->set.num), room));
}

/* A key one byte longer than any that is there. */
static enum op_status op_readmissing(struct run *run)
{
    uint8_t room[KEY_MAX + 1];
    struct slice key = data_key(run->bench, rng_below(&run->rng, run->bench->set.num), room);
    key.len++;
    return get(run, key);
}

static void count_record(struct run *run, const struct lsm_iter *it)
{
    run->bytes += lsm_iter_key(it).len + lsm_iter_value(it).len;
}

static enum op_status op_seekrandom(struct run *run)
{
    uint8_t room[KEY_MAX + 1];
    struct err err = {0};
    struct slice key = data_key(run->bench, rng_below(&run->rng, run->bench->set.num), room);
    struct lsm_view *view = view_of(run);
    struct lsm_iter *it =
        view != NULL ? lsm_iter_new(view, (struct slice){0}, (struct slice){0}, UINT64_MAX, 0)
                     : NULL;
    if (it == NULL)
        return failed(run, view, ERR_NOMEM, &err);
    bool is_there = lsm_iter_seek(it, key);
    run->found += is_there && slice_equal(lsm_iter_key(it), key);
    for (uint64_t i = 0; is_there && i < run->bench->set.seek_nexts; i++) {
        count_record(run, it);
        is_there = lsm_iter_next(it);
    }
    if (is_there)
        count_record(run, it);
    int rv = is_there ? 0 : lsm_iter_status(it, &err);
    lsm_iter_free(it);
    if (rv != 0)
        return failed(run, view, rv, &err);
    lsm_view_unref(view);
    return OP_DONE;
}

/* One record a call; begins where the tree begins (or ends). */
static enum op_status walk(struct run *run, bool is_forward)
{
    struct err err = {0};
    bool is_there;
    if (run->iter == NULL) {
        struct lsm_view *view = view_of(run);
        static const uint8_t first[] = {1};
        if (view != NULL)
            run->iter = lsm_iter_new(view, slice_of(first, 1), (struct slice){0}, UINT64_MAX, 0);
        lsm_view_unref(view);
        if (run->iter == NULL)
            return failed(run, NULL, ERR_NOMEM, &err);
        is_there = is_forward ? lsm_iter_first(run->iter) : lsm_iter_last(run->iter);
    } else {
        is_there = is_forward ? lsm_iter_next(run->iter) : lsm_iter_prev(run->iter);
    }
    if (!is_there) {
        int rv = lsm_iter_status(run->iter, &err);
        return rv == 0 ? OP_END : failed(run, NULL, rv, &err);
    }
    run->found++;
    count_record(run, run->iter);
    return OP_DONE;
}

static enum op_status op_readseq(struct run *run)
{
    return walk(run, true);
}

static enum op_status op_readreverse(struct run *run)
{
    return walk(run, false);
}

/* ---- mixes -------------------------------------------------------------- */

static enum op_status op_readrandomwriterandom(struct run *run)
{
    if (run->batch.count > 0) /* refused before */
        return write_batch(run);
    if (rng_chance(&run->rng, run->bench->set.readwritepercent, 100))
        return op_readrandom(run);
    return op_fillrandom(run);
}

/* 50 % gets, 10 % seeks, 30 % puts, 10 % deletes. */
static enum op_status op_mixed(struct run *run)
{
    if (run->batch.count > 0)
        return write_batch(run);
    uint64_t dice = rng_below(&run->rng, 10);
    if (dice < 5)
        return op_readrandom(run);
    if (dice < 6)
        return op_seekrandom(run);
    return dice < 9 ? op_fillrandom(run) : op_deleterandom(run);
}

static const struct workload workloads[] = {
    {"fillseq", true, true, false, op_fillseq, "write keys in order into a new database"},
    {"fillrandom", true, true, false, op_fillrandom, "write random keys into a new database"},
    {"overwrite", false, true, false, op_fillrandom, "write random keys"},
    {"deleterandom", false, true, false, op_deleterandom, "delete random keys"},
    {"readrandom", false, false, false, op_readrandom, "get random keys"},
    {"readmissing", false, false, false, op_readmissing, "get keys that are not there"},
    {"seekrandom", false, false, false, op_seekrandom, "seek, then --seek_nexts nexts"},
    {"readseq", false, false, false, op_readseq, "walk forward over everything"},
    {"readreverse", false, false, false, op_readreverse, "walk backward over everything"},
    {"readwhilewriting", false, false, true, op_readrandom,
     "--threads get random keys while one more writes"},
    {"readrandomwriterandom", false, true, false, op_readrandomwriterandom,
     "--readwritepercent gets, the rest puts"},
    {"mixed", false, true, false, op_mixed, "5 gets, 1 seek, 3 puts, 1 delete of ten"},
};

const struct workload *workload_find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(workloads); i++) {
        if (strlen(workloads[i].name) == len && memcmp(workloads[i].name, name, len) == 0)
            return &workloads[i];
    }
    return NULL;
}

void workload_list(struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(workloads); i++)
        buf_printf(out, "  %-22s %s\n", workloads[i].name, workloads[i].help);
}
