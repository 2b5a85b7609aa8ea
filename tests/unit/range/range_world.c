/* SPDX-License-Identifier: Apache-2.0 */
#include "range_world.h"

#include <stdlib.h>

#include "base/coding.h"
#include "wire/response.h"

enum { PATIENCE_US = 60 * 1000 * 1000 };

static void on_freeze(void *data, uint64_t freeze, struct lsm_batch *batch)
{
    struct world *w = data;
    if (w->range != NULL)
        range_on_freeze(w->range, freeze, batch);
}

static void on_flushed(void *data, uint64_t freeze)
{
    struct world *w = data;
    static const uint8_t local[2] = {0x00, 0x01};
    if (w->range == NULL || !range_on_flushed(w->range, freeze))
        return;
    const struct lsm_gc_span spans[] = {
        {slice_of(local, 1), slice_of(local + 1, 1), UINT64_MAX, 0},
        range_gc_span(w->range),
    };
    assert_int_equal(lsm_set_gc(w->lsm, spans, ARRAY_LEN(spans)), 0);
}

static void open_engine(struct world *w)
{
    struct lsm_options o;
    struct err err = {0};
    lsm_options_init(&o);
    if (w->options.memtable_bytes != 0)
        o.memtable_bytes = w->options.memtable_bytes;
    if (w->options.cache_bytes != 0)
        o.cache_bytes = w->options.cache_bytes;
    o.callbacks = (struct lsm_callbacks){.on_freeze = on_freeze, .on_flushed = on_flushed};
    o.data = w;
    w->env = sim_node_env(w->node);
    if (lsm_open(&w->lsm, w->env, "db", &o, &err) != 0)
        fail_msg("open: %s", err.msg);
}

static void on_edit(struct lsm_edit_op *op, int status)
{
    assert_int_equal(status, 0);
    *(bool *)op->data = true;
}

static bool is_false(void *data)
{
    return !*(bool *)data;
}

static void birth(struct world *w)
{
    static const struct range_replica replicas[] = {
        {1, 1, RANGE_ROLE_VOTER}, {2, 2, RANGE_ROLE_VOTER}, {3, 3, RANGE_ROLE_LEARNER}};
    struct range_birth b = {
        .range_id = 2,
        .epoch = {1, 1},
        .span = range_span_all(),
        .replicas = replicas,
        .replica_count = ARRAY_LEN(replicas),
        .index = WORLD_BIRTH,
        .term = 5,
        .conf = slice_str("conf"),
    };
    struct range_meta meta;
    struct lsm_batch puts;
    bool is_done = false;
    range_meta_init(&meta);
    assert_int_equal(range_birth_meta(&b, &meta, NULL), 0);
    lsm_batch_init(&puts);
    assert_int_equal(range_meta_put(&meta, w->options.replica_id, &puts), 0);
    struct lsm_edit_op op = {.data = &is_done, .puts = &puts, .cb = on_edit};
    assert_int_equal(lsm_edit(w->lsm, &op), 0);
    assert_true(sim_run_while(w->sim, is_false, &is_done, sim_now_us(w->sim) + PATIENCE_US));
    lsm_batch_fini(&puts);
    assert_int_equal(range_new(w->env, w->lsm, w->options.replica_id, &meta, &w->range, NULL), 0);
    range_meta_fini(&meta);
}

void world_open(struct world *w, const struct world_options *options)
{
    *w = (struct world){.options = *options};
    if (w->options.replica_id == 0)
        w->options.replica_id = 1;
    w->sim = sim_new(NULL, options->seed);
    w->node = sim_node_new(w->sim, "n1");
    open_engine(w);
    if (!options->is_blank)
        birth(w);
}

static void tear_down(struct world *w, enum sim_crash how)
{
    sim_node_crash(w->node, how);
    range_free(w->range);
    lsm_free(w->lsm);
    w->range = NULL;
    w->lsm = NULL;
}

void world_close(struct world *w)
{
    tear_down(w, SIM_CRASH_KILL);
    sim_free(w->sim);
}

void world_crash(struct world *w, enum sim_crash how)
{
    struct err err = {0};
    tear_down(w, how);
    sim_node_restart(w->node);
    open_engine(w);
    int rv = range_load(w->env, w->lsm, w->options.replica_id, &w->range, &err);
    if (rv != 0 && !(rv == ERR_NOT_FOUND && w->options.is_blank))
        fail_msg("load: %d %s", rv, err.msg);
}

void world_settle(struct world *w)
{
    sim_run_until(w->sim, sim_now_us(w->sim) + PATIENCE_US);
}

static void on_flush(struct lsm_flush_op *op, int status)
{
    assert_int_equal(status, 0);
    *(bool *)op->data = true;
}

void world_flush(struct world *w)
{
    bool is_done = false;
    struct lsm_flush_op op = {.data = &is_done};
    assert_int_equal(lsm_flush(w->lsm, &op, on_flush), 0);
    assert_true(sim_run_while(w->sim, is_false, &is_done, sim_now_us(w->sim) + PATIENCE_US));
}

static void on_result(void *data, uint32_t position, const struct command_result *result)
{
    struct world_results *results = data;
    assert_int_equal(position, results->count);
    assert_true(results->count < WORLD_RESULTS_MAX);
    struct world_result *r = &results->all[results->count++];
    *r = (struct world_result){
        .status = result->status,
        .failed_op = result->failed_op,
        .version = result->version,
        .count = result->result_count,
    };
    for (uint32_t i = 0; i < MIN(result->result_count, (uint32_t)ARRAY_LEN(r->ops)); i++) {
        const struct op_result *op = &result->results[i];
        r->ops[i].status = op->status;
        r->ops[i].has_value = op->has_value;
        r->ops[i].version = op->version;
        r->ops[i].expiry_ms = op->expiry_ms;
        r->ops[i].number = op->number;
        r->ops[i].value_len = MIN(op->value.len, sizeof r->ops[i].value);
        if (op->value.len > 0)
            memcpy(r->ops[i].value, op->value.data, r->ops[i].value_len);
    }
}

struct range_sink world_sink(struct world_results *results)
{
    return (struct range_sink){.data = results, .on_result = on_result};
}

void world_command(struct buf *commands, const struct op *ops, uint32_t count)
{
    struct command c = {.keyspace = WORLD_KEYSPACE, .op_count = count, .ops = ops};
    struct buf one;
    buf_init(&one, ENTRY_COMMAND_MAX);
    command_encode(&one, &c);
    buf_append_varint(commands, one.len);
    buf_append_slice(commands, buf_slice(&one));
    assert_false(one.failed || commands->failed);
    buf_fini(&one);
}

struct slice world_entry(uint64_t stamp_ms, const struct buf *commands)
{
    struct entry_builder b;
    struct reader r = reader_of(buf_slice(commands));
    uint8_t *payload = NULL;
    size_t len = 0;
    entry_builder_init(&b, ENTRY_PAYLOAD_MAX, UINT32_MAX);
    while (r.left > 0)
        assert_int_equal(entry_builder_add(&b, read_bytes_prefixed(&r), 0), 0);
    assert_int_equal(entry_builder_take(&b, stamp_ms, 0, &payload, &len), 0);
    entry_builder_fini(&b);
    return slice_of(payload, len);
}

static void on_prefetched(void *data, int status, const struct err *err)
{
    if (status != 0)
        fail_msg("prefetch: %s", err->msg);
    *(bool *)data = true;
}

void world_apply(struct world *w, struct slice payload, struct world_results *results)
{
    const struct range_meta *meta = range_meta(w->range);
    struct range_sink sink = world_sink(results);
    struct err err = {0};
    int rv;
    if (results != NULL)
        results->count = 0;
    while ((rv = range_apply(w->range, meta->applied_index + 1, meta->applied_term, payload,
                             results == NULL ? NULL : &sink, &err)) != 0) {
        if (rv == ERR_WOULD_BLOCK) {
            bool is_done = false;
            w->prefetches++;
            assert_int_equal(range_prefetch(w->range, on_prefetched, &is_done), 0);
            assert_true(range_is_busy(w->range));
            sim_run_while(w->sim, is_false, &is_done, sim_now_us(w->sim) + PATIENCE_US);
            assert_true(is_done);
        } else if (rv == ERR_BUSY) {
            assert_true(sim_step(w->sim));
        } else {
            fail_msg("apply: %d %s", rv, err.msg);
        }
    }
    range_check(w->range);
}

void world_do(struct world *w, uint64_t stamp_ms, const struct op *op,
              struct world_results *results)
{
    struct buf commands;
    buf_init(&commands, ENTRY_PAYLOAD_MAX);
    world_command(&commands, op, 1);
    struct slice payload = world_entry(stamp_ms, &commands);
    world_apply(w, payload, results);
    free((void *)payload.data);
    buf_fini(&commands);
}

void world_put(struct world *w, uint64_t stamp_ms, const char *key, const char *value,
               uint64_t ttl_ms)
{
    struct op op = {
        .kind = OP_PUT, .key = slice_str(key), .value = slice_str(value), .ttl_ms = ttl_ms};
    struct world_results results;
    world_do(w, stamp_ms, &op, &results);
    assert_int_equal(results.all[0].status, 0);
}

static void on_read(struct range_read *read, int status)
{
    *(int *)read->data = status;
}

static bool is_pending(void *data)
{
    return *(int *)data == 1;
}

int world_read(struct world *w, struct range_read *read)
{
    int status = 1;
    read->keyspace = WORLD_KEYSPACE;
    read->data = &status;
    read->cb = on_read;
    int rv = range_read_start(w->range, read);
    if (rv != ERR_WOULD_BLOCK) {
        assert_int_equal(status, 1);
        return rv;
    }
    w->slow_reads++;
    assert_true(range_is_busy(w->range));
    sim_run_while(w->sim, is_pending, &status, sim_now_us(w->sim) + PATIENCE_US);
    assert_int_not_equal(status, 1);
    return status;
}

int world_get(struct world *w, const char *key, char *out)
{
    struct range_read read;
    struct row row;
    range_read_init(&read);
    read.kind = RANGE_READ_GET;
    read.key = slice_str(key);
    int rv = world_read(w, &read);
    if (rv == 0) {
        struct unpack rows = unpack_of(buf_slice(&read.rows));
        assert_int_equal(read.row_count, 1);
        row_next(&rows, &row);
        assert_int_equal(unpack_finish(&rows, "rows", NULL), 0);
        rv = row.status;
        if (rv == 0) {
            assert_true(row.value.len < WORLD_VALUE_MAX);
            if (row.value.len > 0)
                memcpy(out, row.value.data, row.value.len);
            out[row.value.len] = 0;
        }
    }
    range_read_fini(&read);
    return rv;
}
