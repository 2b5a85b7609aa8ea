/* SPDX-License-Identifier: Apache-2.0 */
#include "client/sweep.h"

#include "client/client_internal.h"

enum { TRIES_MAX = 16 }; /* scans in one step: each but the first because ranges changed */

static void on_scanned(struct client_op *op, const struct client_result *result);

static void finish(struct client_sweep *s, int status, struct slice text)
{
    struct client_result result = {.status = status, .text = text};
    s->cb(s, &result);
}

/* The step's op once more, for what is left of its time. */
static int submit(struct client_sweep *s, client_cb cb)
{
    uint64_t now = env_now_us(s->client->env);
    s->op->data = s;
    s->op->cb = cb;
    s->op->timeout_ms = s->deadline_us > now + 1000 ? (uint32_t)((s->deadline_us - now) / 1000) : 1;
    return client_submit(s->client, s->op);
}

static int scan(struct client_sweep *s)
{
    struct request *request = &s->op->request;
    uint64_t trace_id = request->trace_id;
    s->tries++;
    *request = (struct request){.kind = REQUEST_SCAN, .trace_id = trace_id};
    request->scan = (struct request_scan){
        .read = {.keyspace = s->keyspace},
        .start = s->start,
        .end = s->end,
        .is_keys_only = true,
        .limit_keys = s->limit_keys,
        .limit_bytes = SWEEP_BYTES_MAX,
    };
    buf_clear(&s->command);
    return submit(s, on_scanned);
}

static void on_written(struct client_op *op, const struct client_result *result)
{
    struct client_sweep *s = op->data;
    bool is_torn = result->status == ERR_UNSUPPORTED; /* a split has parted the keys */
    if (is_torn && s->tries < TRIES_MAX && env_now_us(s->client->env) < s->deadline_us) {
        int rv = scan(s);
        if (rv != 0)
            finish(s, rv, (struct slice){0});
        return;
    }
    if (result->status == 0) {
        const struct response *response = result->response;
        if (response != NULL && response->kind == REQUEST_WRITE)
            s->version = command_result_version(response->write.result);
        s->deleted = s->found;
    }
    finish(s, result->status, result->text);
}

/* The command that deletes all that a page lists. */
static int make_command(struct client_sweep *s, const struct response_rows *rows)
{
    struct command command = {.keyspace = s->keyspace, .op_count = rows->rows.count};
    struct unpack cursor = unpack_of(rows->rows.raw);
    struct buf ops;
    buf_init(&ops, command_limits_default.command_max);
    buf_clear(&s->key);
    for (uint32_t i = 0; i < rows->rows.count; i++) {
        struct row row;
        row_next(&cursor, &row);
        struct op op = {.kind = OP_DELETE, .key = row.key};
        if (i == 0)
            buf_append_slice(&s->key, row.key);
        command_encode_op(&ops, &op);
    }
    command_encode_ops(&s->command, &command, buf_slice(&ops));
    bool is_bad = ops.failed || s->command.failed || s->key.failed;
    buf_fini(&ops);
    return is_bad ? ERR_NOMEM : 0;
}

static int keep_cursor(struct client_sweep *s, const struct response_rows *rows)
{
    s->found = rows->rows.count;
    s->has_more = rows->has_more;
    s->is_range_end = rows->is_range_end;
    buf_clear(&s->cursor);
    buf_append_slice(&s->cursor, rows->cursor);
    return s->cursor.failed ? ERR_NOMEM : 0;
}

static void on_scanned(struct client_op *op, const struct client_result *result)
{
    struct client_sweep *s = op->data;
    const struct response *response = result->response;
    if (result->status != 0 || response == NULL || response->kind != REQUEST_SCAN) {
        finish(s, result->status != 0 ? result->status : ERR_CORRUPT, result->text);
        return;
    }
    const struct response_rows *rows = &response->rows;
    if (rows->rows.count > COMMAND_OPS_MAX) {
        finish(s, ERR_CORRUPT, slice_str("more keys than were asked for"));
        return;
    }
    int rv = keep_cursor(s, rows);
    if (rv == 0 && rows->rows.count > 0)
        rv = make_command(s, rows);
    if (rv != 0 || rows->rows.count == 0) {
        finish(s, rv, (struct slice){0});
        return;
    }
    uint64_t trace_id = op->request.trace_id;
    op->request = (struct request){.kind = REQUEST_WRITE, .trace_id = trace_id};
    op->request.write.command = buf_slice(&s->command);
    op->key = buf_slice(&s->key);
    op->keyspace = s->keyspace;
    rv = submit(s, on_written);
    if (rv != 0)
        finish(s, rv, (struct slice){0});
}

int client_sweep_start(struct client *client, struct client_sweep *s)
{
    uint32_t timeout_ms = s->op->timeout_ms == 0 ? CLIENT_TIMEOUT_MS : s->op->timeout_ms;
    ASSERT(s->cb != NULL && s->op->state == CLIENT_OP_IDLE);
    if (s->end.len > 0 && slice_compare(s->start, s->end) > 0)
        return ERR_INVALID;
    client_sweep_fini(s);
    buf_init(&s->cursor, KEY_WIRE_MAX + 1);
    buf_init(&s->key, KEY_WIRE_MAX + 1);
    buf_init(&s->command, command_limits_default.command_max);
    s->client = client;
    s->deadline_us = env_now_us(client->env) + (uint64_t)timeout_ms * 1000;
    s->limit_keys = s->limit_keys == 0 ? SWEEP_KEYS_MAX : MIN(s->limit_keys, SWEEP_KEYS_MAX);
    s->deleted = s->version = 0;
    s->has_more = s->is_range_end = false;
    s->found = s->tries = 0;
    return scan(s);
}

void client_sweep_fini(struct client_sweep *s)
{
    buf_fini(&s->cursor);
    buf_fini(&s->key);
    buf_fini(&s->command);
}
