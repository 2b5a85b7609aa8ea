/* SPDX-License-Identifier: Apache-2.0 */
#include "client/sweep.h"

#include "client/client_internal.h"
#include "wire/keyspace.h"

enum { TRIES_MAX = 16 }; /* scans of one span: each but the first because ranges changed */

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

/* ---- slot by slot ------------------------------------------------------------------------- */

static bool goes_by_slots(const struct client_sweep *s)
{
    return s->slots > 0 && (s->start.len > 0 || s->end.len > 0);
}

/* Where the span begins among user keys. Behind a slot something stands. */
static struct slice first_of(const struct client_sweep *s)
{
    static const uint8_t least[1] = {0};
    return s->start.len > 0 ? s->start : slice_of(least, sizeof least);
}

static void put_slot(struct buf *buf, uint32_t slot, struct slice key)
{
    uint8_t raw[KEYSPACE_SLOT_LEN];
    keyspace_put_slot(raw, (uint16_t)slot);
    buf_append(buf, raw, sizeof raw);
    buf_append_slice(buf, key);
}

/* The span in that slot, from its first key on; what is there and stands behind no slot is none of
 * it. */
static int enter_slot(struct client_sweep *s, uint32_t slot)
{
    uint8_t behind[KEYSPACE_SLOT_LEN];
    s->slot = slot;
    buf_clear(&s->low);
    buf_clear(&s->high);
    put_slot(&s->low, slot, first_of(s));
    if (s->end.len > 0)
        put_slot(&s->high, slot, s->end);
    else
        buf_append(&s->high, behind, keyspace_put_slot_end(behind, (uint16_t)slot));
    return s->low.failed || s->high.failed ? ERR_NOMEM : 0;
}

static int set_low(struct client_sweep *s, struct slice key)
{
    buf_clear(&s->low);
    buf_append_slice(&s->low, key);
    return s->low.failed ? ERR_NOMEM : 0;
}

/* Memory for pass_on(), before anything is done: of a step that is done nobody may have to say that
 * it failed, for want of a place to keep where it goes on. */
static int reserve(struct client_sweep *s)
{
    size_t low = KEYSPACE_SLOT_LEN + first_of(s).len;
    size_t high = KEYSPACE_SLOT_LEN + s->end.len;
    if (buf_reserve(&s->cursor, low) != 0 || buf_reserve(&s->low, low) != 0)
        return ERR_NOMEM;
    return buf_reserve(&s->high, high);
}

/* The cursor lies where the step before said; the slot is at its end: into the next one. */
static void pass_on(struct client_sweep *s)
{
    if (!goes_by_slots(s) || s->has_more)
        return;
    if (s->slot + 1 == s->slots)
        return;
    int rv = enter_slot(s, s->slot + 1);
    ASSERT(rv == 0);
    s->has_more = true;
    s->is_range_end = false;
    buf_clear(&s->cursor);
    buf_append_slice(&s->cursor, buf_slice(&s->low));
    ASSERT(!s->cursor.failed);
}

/* What is swept first in this step, as it is stored. */
static int begin(struct client_sweep *s)
{
    bool by_slots = goes_by_slots(s);
    struct slice place = s->from; /* without its slot */
    if (s->end.len > 0 && slice_compare(s->start, s->end) > 0)
        return ERR_INVALID;
    if (s->slots > 0 && MAX(s->start.len, s->end.len) > KEY_WIRE_MAX - KEYSPACE_SLOT_LEN)
        return ERR_TOO_LARGE;
    if (by_slots && place.len > 0) {
        if (place.len < KEYSPACE_SLOT_LEN || keyspace_get_slot(place.data) >= s->slots)
            return ERR_INVALID;
        place = slice_of(place.data + KEYSPACE_SLOT_LEN, place.len - KEYSPACE_SLOT_LEN);
    }
    if (s->from.len > 0 && (slice_compare(place, s->start) < 0 ||
                            (s->end.len > 0 && slice_compare(place, s->end) > 0)))
        return ERR_INVALID;
    if (by_slots && reserve(s) != 0)
        return ERR_NOMEM;
    if (by_slots) {
        int rv = enter_slot(s, s->from.len > 0 ? keyspace_get_slot(s->from.data) : 0);
        return rv != 0 || s->from.len == 0 ? rv : set_low(s, s->from);
    }
    buf_append_slice(&s->high, s->end);
    return s->high.failed ? ERR_NOMEM : set_low(s, s->from.len > 0 ? s->from : s->start);
}

/* ---- a step ------------------------------------------------------------------------------- */

static int scan(struct client_sweep *s)
{
    struct request *request = &s->op->request;
    uint64_t trace_id = request->trace_id;
    s->tries++;
    *request = (struct request){.kind = REQUEST_SCAN, .trace_id = trace_id};
    request->scan = (struct request_scan){
        .read = {.keyspace = s->keyspace},
        .start = buf_slice(&s->low),
        .end = buf_slice(&s->high),
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
    const struct response *response = result->response;
    s->is_forgotten = result->status == ERR_UNDETERMINED && response != NULL &&
                      response->status == ERR_SESSION_EXPIRED;
    if (result->status == 0) {
        if (response != NULL && response->kind == REQUEST_WRITE)
            s->version = command_result_version(response->write.result);
        s->deleted = s->found;
        pass_on(s);
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

/* Behind the last that can stand in the slot: this one is done. */
static bool is_behind_slot(const struct client_sweep *s)
{
    return s->cursor.len < KEYSPACE_SLOT_LEN || keyspace_get_slot(s->cursor.data) != s->slot;
}

static int keep_cursor(struct client_sweep *s, const struct response_rows *rows)
{
    s->found = rows->rows.count;
    s->has_more = rows->has_more;
    s->is_range_end = rows->is_range_end;
    buf_clear(&s->cursor);
    buf_append_slice(&s->cursor, rows->cursor);
    if (s->cursor.failed)
        return ERR_NOMEM;
    if (s->has_more && goes_by_slots(s) && is_behind_slot(s)) {
        s->has_more = s->is_range_end = false;
        buf_clear(&s->cursor);
    }
    return 0;
}

/* Nothing is there. In a hashed keyspace the next slot may have something. */
static void on_nothing(struct client_sweep *s)
{
    int rv = 0;
    pass_on(s);
    bool goes_on = s->has_more && goes_by_slots(s) && ++s->passed < SWEEP_SLOTS_MAX &&
                   env_now_us(s->client->env) < s->deadline_us;
    if (goes_on) {
        s->tries = 0; /* it is of another span */
        rv = set_low(s, buf_slice(&s->cursor));
    }
    if (goes_on && rv == 0)
        rv = scan(s);
    if (!goes_on || rv != 0)
        finish(s, rv, (struct slice){0});
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
    ASSERT(rows->rows.count <= s->limit_keys); /* answer_check() */
    int rv = keep_cursor(s, rows);
    if (rv == 0 && rows->rows.count == 0) {
        on_nothing(s);
        return;
    }
    if (rv == 0)
        rv = make_command(s, rows);
    if (rv != 0) {
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
    ASSERT(s->slots <= KEYSPACE_SLOTS_MAX);
    client_sweep_fini(s);
    buf_init(&s->cursor, KEY_WIRE_MAX + 1);
    buf_init(&s->key, KEY_WIRE_MAX + 1);
    buf_init(&s->low, KEY_WIRE_MAX + 1);
    buf_init(&s->high, KEY_WIRE_MAX + 1);
    buf_init(&s->command, command_limits_default.command_max);
    s->client = client;
    s->deadline_us = env_now_us(client->env) + (uint64_t)timeout_ms * 1000;
    s->limit_keys = s->limit_keys == 0 ? SWEEP_KEYS_MAX : MIN(s->limit_keys, SWEEP_KEYS_MAX);
    s->deleted = s->version = 0;
    s->has_more = s->is_range_end = s->is_forgotten = false;
    s->found = s->tries = s->passed = 0;
    int rv = begin(s);
    return rv != 0 ? rv : scan(s);
}

void client_sweep_fini(struct client_sweep *s)
{
    buf_fini(&s->cursor);
    buf_fini(&s->key);
    buf_fini(&s->low);
    buf_fini(&s->high);
    buf_fini(&s->command);
}
