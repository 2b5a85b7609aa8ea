/* SPDX-License-Identifier: Apache-2.0
 *
 * Client processes: each does one operation at a time on a few hot keys, thinks a
 * little, and goes on. Values are unique, so that a read tells who wrote it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/cluster.h"
#include "wire/command.h"

enum { THINK_US_MAX = 30 * 1000, VALUE_LEN_MAX = 300, TIMEOUT_MS = 3000, FINAL_LIMIT_S = 60 };

struct process {
    struct workload *w;
    uint32_t id;
    struct client_op op;
    struct env_timer think;
    size_t at; /* of its operation in the history */
    bool is_busy;
    char key[16];
    struct buf command;
    uint64_t last_version; /* that it saw of a key: for CAS */
    uint32_t last_key;
};

struct workload {
    struct cluster *c;
    struct history *history;
    struct rng rng;
    struct process *processes;
    uint64_t next_value;
    uint64_t done;
    bool is_stopped;
    bool is_final;
    uint32_t final_key;
    uint32_t final_failed;
};

static void process_next(struct process *p);

static void think(struct process *p)
{
    p->is_busy = false;
    if (!p->w->is_stopped)
        env_timer_start(&p->think, rng_below(&p->w->rng, THINK_US_MAX));
}

static void on_think(struct env_timer *timer)
{
    process_next(timer->data);
}

/* Values are "<number> padding": sizes vary, the number tells who wrote it. */
static uint64_t parse_value(struct slice value)
{
    uint64_t v = 0;
    for (size_t i = 0; i < value.len && value.data[i] >= '0' && value.data[i] <= '9'; i++)
        v = v * 10 + (uint64_t)(value.data[i] - '0');
    return v;
}

static bool is_definite(int status)
{
    return status != ERR_UNDETERMINED;
}

static void note_read(struct history_op *h, const struct client_result *result)
{
    struct row row;
    if (result->status == ERR_NOT_FOUND) {
        h->outcome = HISTORY_OK;
        return;
    }
    if (result->status != 0 || result->response == NULL) {
        h->outcome = HISTORY_FAILED;
        return;
    }
    struct unpack cursor = unpack_of(result->response->rows.rows.raw);
    row_next(&cursor, &row);
    h->outcome = HISTORY_OK;
    if (row.status != 0)
        return;
    h->value = parse_value(row.value);
    h->version = row.version;
}

static void note_mismatch(struct history_op *h, const struct command_result *result)
{
    h->outcome = HISTORY_FAILED;
    if (result->result_count == 0 || !result->results[0].has_value)
        return;
    h->outcome = HISTORY_MISMATCH;
    h->version = result->results[0].version;
    h->value = parse_value(result->results[0].value);
}

static void note_change(struct history_op *h, const struct client_result *result)
{
    struct op_result ops[4];
    struct command_result cmd;
    if (!is_definite(result->status)) {
        h->outcome = HISTORY_PENDING;
        h->return_us = UINT64_MAX;
        return;
    }
    h->outcome = HISTORY_FAILED;
    if (result->response == NULL || result->response->kind != REQUEST_WRITE)
        return;
    int rv = command_result_decode(result->response->write.result, ops, ARRAY_LEN(ops), &cmd, NULL);
    ASSERT(rv == 0);
    if (cmd.status == ERR_CONDITION_FAILED && h->kind == HISTORY_CAS)
        note_mismatch(h, &cmd);
    if (cmd.status != 0)
        return;
    h->outcome = HISTORY_OK;
    h->version = cmd.version;
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    struct process *p = op->data;
    struct workload *w = p->w;
    struct history_op *h = &w->history->ops[p->at];
    h->return_us = sim_now_us(w->c->sim);
    if (result->status != 0 && w->c->opt.is_verbose)
        printf("%12.6f client process %u: %s %.*s\n", (double)h->return_us / 1e6, p->id,
               err_name(result->status), (int)result->text.len, (const char *)result->text.data);
    if (h->kind == HISTORY_READ)
        note_read(h, result);
    else
        note_change(h, result);
    if (h->outcome == HISTORY_OK) {
        w->done++;
        p->last_key = h->key;
        p->last_version = h->version;
    }
    if (w->is_final && h->outcome != HISTORY_OK)
        w->final_failed++;
    sim_hash_add(w->c->sim, h->version * 31 + h->value * 7 + (uint64_t)h->outcome);
    think(p);
}

static void fill_change(struct process *p, const struct history_op *h)
{
    char value[VALUE_LEN_MAX + 32];
    struct workload *w = p->w;
    int n = snprintf(value, sizeof value, "%llu ", (unsigned long long)h->value);
    size_t pad = rng_chance(&w->rng, 1, 4) ? rng_below(&w->rng, VALUE_LEN_MAX) : 0;
    memset(value + n, 'x', pad);
    struct op op = {
        .kind = h->kind == HISTORY_DELETE ? OP_DELETE : OP_PUT,
        .key = slice_str(p->key),
    };
    if (op.kind == OP_PUT)
        op.value = slice_of(value, (size_t)n + pad);
    if (h->kind == HISTORY_CAS) {
        op.cond = COND_VERSION;
        op.cond_version = h->expected;
    }
    struct command command = {.op_count = 1, .ops = &op};
    buf_clear(&p->command);
    command_encode(&p->command, &command);
    ASSERT(!p->command.failed);
    p->op.request.kind = REQUEST_WRITE;
    p->op.request.write.command = buf_slice(&p->command);
}

static enum history_kind draw_kind(struct process *p)
{
    uint64_t dice = rng_below(&p->w->rng, 100);
    if (dice < 40)
        return HISTORY_READ;
    if (dice < 80)
        return HISTORY_WRITE;
    if (dice < 95)
        return p->last_version == 0 ? HISTORY_WRITE : HISTORY_CAS;
    return HISTORY_DELETE;
}

static void submit(struct process *p, const struct history_op *h)
{
    struct workload *w = p->w;
    snprintf(p->key, sizeof p->key, "key%03u", h->key);
    p->at = history_begin(w->history, h);
    memset(&p->op, 0, sizeof p->op);
    p->op.data = p;
    p->op.cb = on_done;
    p->op.timeout_ms = TIMEOUT_MS;
    p->op.key = slice_str(p->key);
    if (h->kind == HISTORY_READ) {
        p->op.request.kind = REQUEST_GET;
        p->op.request.get.key = slice_str(p->key);
    } else {
        fill_change(p, h);
    }
    int rv = client_submit(w->c->client, &p->op);
    ASSERT(rv == 0 || rv == ERR_BUSY);
    if (rv != 0) {
        w->history->ops[p->at].outcome = HISTORY_FAILED;
        w->history->ops[p->at].return_us = sim_now_us(w->c->sim);
        think(p);
        return;
    }
    p->is_busy = true;
}

static void process_next(struct process *p)
{
    struct workload *w = p->w;
    struct history_op h = {
        .process = p->id,
        .key = (uint32_t)rng_below(&w->rng, w->c->opt.keys),
        .kind = draw_kind(p),
        .invoke_us = sim_now_us(w->c->sim),
    };
    if (h.kind == HISTORY_CAS) {
        h.key = p->last_key;
        h.expected = p->last_version;
    }
    if (h.kind == HISTORY_WRITE || h.kind == HISTORY_CAS)
        h.value = ++w->next_value;
    submit(p, &h);
}

struct workload *workload_new(struct cluster *c, struct history *history)
{
    struct workload *w = calloc(1, sizeof *w);
    ASSERT(w != NULL);
    w->c = c;
    w->history = history;
    rng_init(&w->rng, c->opt.seed * 1000003 + 11);
    w->processes = calloc(c->opt.processes, sizeof *w->processes);
    ASSERT(w->processes != NULL);
    for (uint32_t i = 0; i < c->opt.processes; i++) {
        struct process *p = &w->processes[i];
        p->w = w;
        p->id = i;
        buf_init(&p->command, 1 << 16);
        env_timer_init(&p->think, sim_node_env(c->client_node), on_think, p);
        env_timer_start(&p->think, rng_below(&w->rng, THINK_US_MAX));
    }
    return w;
}

void workload_free(struct workload *w)
{
    for (uint32_t i = 0; i < w->c->opt.processes; i++)
        buf_fini(&w->processes[i].command);
    free(w->processes);
    free(w);
}

void workload_stop(struct workload *w)
{
    w->is_stopped = true;
    for (uint32_t i = 0; i < w->c->opt.processes; i++)
        env_timer_stop(&w->processes[i].think);
}

bool workload_is_idle(const struct workload *w)
{
    for (uint32_t i = 0; i < w->c->opt.processes; i++) {
        if (w->processes[i].is_busy)
            return false;
    }
    return true;
}

uint64_t workload_done(const struct workload *w)
{
    return w->done;
}

/* One operation at a time by one process; false if it cannot be done. */
static bool final_op(struct workload *w, enum history_kind kind, uint32_t key)
{
    struct process *p = &w->processes[0];
    uint64_t limit = sim_now_us(w->c->sim) + (uint64_t)FINAL_LIMIT_S * 1000000;
    struct history_op h = {.process = p->id, .key = key, .kind = kind};
    h.invoke_us = sim_now_us(w->c->sim);
    if (kind == HISTORY_WRITE)
        h.value = ++w->next_value;
    submit(p, &h);
    while (p->is_busy && sim_now_us(w->c->sim) < limit) {
        if (!cluster_run_until(w->c, sim_now_us(w->c->sim) + 1000))
            return false;
    }
    return !p->is_busy && w->final_failed == 0;
}

bool workload_final_ops(struct workload *w)
{
    w->is_final = true;
    for (uint32_t key = 0; key < w->c->opt.keys; key++) {
        if (!final_op(w, HISTORY_READ, key) || !final_op(w, HISTORY_WRITE, key) ||
            !final_op(w, HISTORY_READ, key))
            return false;
    }
    return true;
}
