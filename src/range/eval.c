/* SPDX-License-Identifier: Apache-2.0 */
#include "range/eval.h"

#include <stdio.h>

#include "base/plant.h"
#include "range/range_internal.h"

enum { ARENA_CHUNK = 16 << 10, NUMBER_MAX = 20 /* characters of INT64_MIN */ };
#define ARENA_MAX ((size_t)2 << 30)

/* A value of the engine, held until the entry is over. */
struct eval_pin {
    struct lsm_value value;
    struct eval_pin *next;
};

/* A key as a command finds it. An expired record is absent. */
struct key_state {
    bool is_known;
    bool is_present;
    uint64_t version;   /* 0 if absent */
    uint64_t expiry_ms; /* 0: none */
    struct slice value;
};

/* One command on its way. */
struct run {
    struct eval *eval;
    struct command command;
    struct slice *keys; /* on disk form, one for each operation */
    struct key_state *states;
    struct op_result *results;
    uint64_t version;
    size_t result_bytes;
    struct command_result *result;
    struct err *err;
};

/* The command has stopped; its result says why. Not an error of apply. */
enum { STOPPED = 1 };

void eval_init(struct eval *eval, const uint64_t hash_key[2])
{
    *eval = (struct eval){0};
    overlay_init(&eval->overlay, hash_key);
    arena_init(&eval->arena, ARENA_CHUNK, ARENA_MAX);
    buf_init(&eval->result, SESSION_RESULT_MAX);
}

void eval_fini(struct eval *eval)
{
    eval_end(eval);
    overlay_fini(&eval->overlay);
    arena_fini(&eval->arena);
    buf_fini(&eval->result);
}

void eval_begin(struct eval *eval, const struct eval_state *state)
{
    ASSERT(eval->overlay.count == 0);
    ASSERT(eval->pins == NULL);
    ASSERT(eval->view == NULL);
    eval->lsm = state->lsm;
    eval->prefetch = state->prefetch;
    eval->sessions = state->sessions;
    eval->floor_ms = state->floor_ms;
    eval->span = state->span;
    eval->time_ms = state->time_ms;
    session_stage_begin(&eval->stage, &eval->arena);
    eval->work = 0;
    eval->wants_digest = false;
    eval->is_spent = false;
    eval->blocked = slice_of(NULL, 0);
}

void eval_end(struct eval *eval)
{
    for (struct eval_pin *pin = eval->pins; pin != NULL; pin = pin->next)
        lsm_value_fini(&pin->value);
    eval->pins = NULL;
    lsm_view_unref(eval->view);
    eval->view = NULL;
    session_stage_end(&eval->stage);
    overlay_clear(&eval->overlay);
    arena_reset(&eval->arena);
}

/* ---- the state of a key -------------------------------------------------- */

static struct key_state state_absent(void)
{
    return (struct key_state){.is_known = true};
}

static struct key_state state_of(const struct eval *e, uint64_t version, uint64_t expiry_ms,
                                 struct slice value)
{
    if (expiry_ms != 0 && expiry_ms <= e->time_ms)
        return state_absent();
    return (struct key_state){
        .is_known = true,
        .is_present = true,
        .version = version,
        .expiry_ms = expiry_ms,
        .value = value,
    };
}

static int view_for(struct eval *e)
{
    if (e->view == NULL)
        e->view = lsm_view_take(e->lsm);
    return e->view == NULL ? ERR_NOMEM : 0;
}

/* The state before the entry, from memory alone. */
static int engine_state(struct eval *e, struct slice key, struct key_state *ret_state,
                        struct err *err)
{
    const struct prefetch_item *item = prefetch_find(e->prefetch, key);
    if (item != NULL) {
        const struct lsm_value *v = &item->value;
        *ret_state = item->status == ERR_NOT_FOUND ? state_absent()
                                                   : state_of(e, v->version, v->expiry_ms, v->data);
        return 0;
    }
    struct eval_pin *pin = arena_alloc(&e->arena, sizeof *pin);
    if (pin == NULL || view_for(e) != 0)
        return ERR_NOMEM;
    *pin = (struct eval_pin){0};
    int rv = lsm_get(e->view, key, UINT64_MAX, LSM_READ_NO_IO, &pin->value, err);
    if (rv == ERR_NOT_FOUND) {
        *ret_state = state_absent();
        return 0;
    }
    if (rv == ERR_WOULD_BLOCK)
        e->blocked = key;
    if (rv != 0)
        return rv;
    pin->next = e->pins;
    e->pins = pin;
    *ret_state = state_of(e, pin->value.version, pin->value.expiry_ms, pin->value.data);
    return 0;
}

static struct key_state overlay_state(const struct eval *e, const struct overlay_record *r)
{
    return r->is_delete ? state_absent() : state_of(e, r->version, r->expiry_ms, r->value);
}

static bool op_needs_state(const struct op *op)
{
    return op->cond != COND_NONE || op->flags != 0 || op->kind == OP_INCREMENT ||
           op->kind == OP_APPEND || op->kind == OP_GET_AND_SET || op->kind == OP_CHECK;
}

/* ---- one command --------------------------------------------------------- */

/* Operation `i` stops the command. `state` (may be NULL) is what it found. */
static int run_stop(struct run *run, uint32_t i, int status, const struct key_state *state)
{
    ASSERT(status < 0);
    struct op_result *r = &run->results[i];
    *r = (struct op_result){.status = status};
    if (state != NULL) {
        r->has_value = state->is_present;
        r->version = state->version;
        r->expiry_ms = state->expiry_ms;
        r->value = state->value;
    }
    *run->result = (struct command_result){
        .status = status,
        .failed_op = i,
        .result_count = 1,
        .results = r,
    };
    if (!PLANTED(batch_in_part))
        overlay_rollback(&run->eval->overlay);
    return STOPPED;
}

/* Account for `len` bytes of values read or made: the same sum on every replica. */
static int run_work(struct run *run, uint32_t i, size_t len)
{
    struct eval *e = run->eval;
    ASSERT(e->work <= RANGE_ENTRY_WORK_MAX);
    if (len > RANGE_ENTRY_WORK_MAX - e->work) {
        e->is_spent = true;
        return run_stop(run, i, ERR_BUSY, NULL);
    }
    e->work += len;
    return 0;
}

/* The state of key `i` now: before the command, or as the command itself left it. */
static int run_state(struct run *run, uint32_t i)
{
    struct eval *e = run->eval;
    struct key_state *state = &run->states[i];
    const struct overlay_record *r = overlay_find(&e->overlay, run->keys[i]);
    if (state->is_known && (r == NULL || !overlay_is_own(&e->overlay, r)))
        return 0;
    if (e->is_spent)
        return run_stop(run, i, ERR_BUSY, NULL);
    if (r != NULL) {
        *state = overlay_state(e, r);
    } else {
        int rv = engine_state(e, run->keys[i], state, run->err);
        if (rv != 0)
            return rv;
    }
    ASSERT(state->is_known);
    return run_work(run, i, state->value.len);
}

static int run_keys(struct run *run)
{
    uint8_t prefix[RANGE_USER_KEY_PREFIX];
    range_key_prefix(run->command.keyspace, prefix);
    for (uint32_t i = 0; i < run->command.op_count; i++) {
        struct slice user = run->command.ops[i].key;
        uint8_t *key = arena_alloc(&run->eval->arena, sizeof prefix + user.len);
        if (key == NULL)
            return ERR_NOMEM;
        memcpy(key, prefix, sizeof prefix);
        memcpy(key + sizeof prefix, user.data, user.len);
        run->keys[i] = slice_of(key, sizeof prefix + user.len);
    }
    if (run->command.keyspace == RANGE_KEYSPACE_RESERVED || PLANTED(span_not_checked))
        return 0; /* of the range as a whole: its key is in no user's space */
    for (uint32_t i = 0; i < run->command.op_count; i++)
        if (!range_span_contains(run->eval->span, run->keys[i]))
            return run_stop(run, i, ERR_RANGE_CHANGED, NULL);
    return 0;
}

static bool cond_holds(const struct op *op, const struct key_state *state)
{
    switch (op->cond) {
    case COND_NONE:
        return true;
    case COND_ABSENT:
        return !state->is_present;
    case COND_PRESENT:
        return state->is_present;
    case COND_VERSION:
        return state->is_present && state->version == op->cond_version;
    case COND_VALUE:
        return state->is_present && slice_equal(state->value, op->cond_value);
    }
    return false;
}

static int run_conditions(struct run *run)
{
    for (uint32_t i = 0; i < run->command.op_count; i++) {
        const struct op *op = &run->command.ops[i];
        if (op->cond == COND_NONE || PLANTED(batch_in_part))
            continue;
        int rv = PLANTED(condition_before_entry)
                     ? engine_state(run->eval, run->keys[i], &run->states[i], run->err)
                     : run_state(run, i);
        if (rv != 0)
            return rv;
        if (!cond_holds(op, &run->states[i]))
            return run_stop(run, i, ERR_CONDITION_FAILED, &run->states[i]);
    }
    return 0;
}

int eval_parse_number(struct slice text, int64_t *ret_number)
{
    size_t i = text.len > 0 && text.data[0] == '-' ? 1 : 0;
    bool is_negative = i == 1;
    if (text.len == i || text.len > NUMBER_MAX)
        return ERR_NOT_NUMBER;
    if (text.data[i] == '0' && text.len > 1)
        return ERR_NOT_NUMBER; /* leading zero, or "-0" */
    int64_t n = 0;
    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return ERR_NOT_NUMBER;
        int64_t digit = text.data[i] - '0';
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, is_negative ? -digit : digit, &n))
            return ERR_NOT_NUMBER;
    }
    *ret_number = n;
    return 0;
}

static int make_number(struct run *run, uint32_t i, struct slice *ret_value)
{
    const struct key_state *state = &run->states[i];
    int64_t n = 0;
    if (state->is_present && eval_parse_number(state->value, &n) != 0)
        return run_stop(run, i, ERR_NOT_NUMBER, NULL);
    if (__builtin_add_overflow(n, run->command.ops[i].delta, &n))
        return run_stop(run, i, ERR_OVERFLOW, NULL);
    char *text = arena_alloc(&run->eval->arena, NUMBER_MAX + 1);
    if (text == NULL)
        return ERR_NOMEM;
    int len = snprintf(text, NUMBER_MAX + 1, "%lld", (long long)n);
    ASSERT(len > 0 && len <= NUMBER_MAX);
    run->results[i].number = n;
    *ret_value = slice_of(text, (size_t)len);
    return 0;
}

static int make_longer(struct run *run, uint32_t i, struct slice *ret_value)
{
    const struct key_state *state = &run->states[i];
    struct slice more = run->command.ops[i].value;
    struct slice had = state->value;
    size_t limit = command_limits_default.value_max;
    if (had.len > limit || more.len > limit - had.len)
        return run_stop(run, i, ERR_TOO_LARGE, NULL);
    int rv = run_work(run, i, had.len + more.len);
    if (rv != 0)
        return rv;
    uint8_t *value = arena_alloc(&run->eval->arena, had.len + more.len);
    if (value == NULL)
        return ERR_NOMEM;
    if (had.len > 0)
        memcpy(value, had.data, had.len);
    if (more.len > 0)
        memcpy(value + had.len, more.data, more.len);
    *ret_value = slice_of(value, had.len + more.len);
    return 0;
}

/* The value before, where the client asked for it. */
static int return_previous(struct run *run, uint32_t i)
{
    const struct op *op = &run->command.ops[i];
    const struct key_state *state = &run->states[i];
    if ((op->flags & OP_RETURN_PREVIOUS) == 0 && op->kind != OP_GET_AND_SET)
        return 0;
    ASSERT(run->result_bytes <= RANGE_RESULT_MAX);
    if (state->value.len > RANGE_RESULT_MAX - run->result_bytes)
        return run_stop(run, i, ERR_TOO_LARGE, NULL);
    run->result_bytes += state->value.len;
    run->results[i].has_value = state->is_present;
    run->results[i].value = state->value;
    return 0;
}

static uint64_t new_expiry(const struct run *run, uint32_t i)
{
    const struct op *op = &run->command.ops[i];
    bool keeps =
        (op->flags & OP_KEEP_TTL) != 0 || op->kind == OP_INCREMENT || op->kind == OP_APPEND;
    if (op->ttl_ms != 0)
        return run->eval->time_ms + op->ttl_ms;
    return keeps ? run->states[i].expiry_ms : 0;
}

static int write_record(struct run *run, uint32_t i, struct slice value, bool is_delete)
{
    struct op_result *r = &run->results[i];
    struct overlay_record record = {
        .key = run->keys[i],
        .value = value,
        .version = run->version,
        .expiry_ms = is_delete ? 0 : new_expiry(run, i),
        .is_delete = is_delete,
    };
    r->version = is_delete ? 0 : run->version;
    r->expiry_ms = record.expiry_ms;
    return overlay_put(&run->eval->overlay, &record);
}

static int run_op(struct run *run, uint32_t i)
{
    const struct op *op = &run->command.ops[i];
    struct slice value = op->value;
    int rv = op_needs_state(op) ? run_state(run, i) : 0;
    if (rv == 0 && PLANTED(batch_in_part) && !cond_holds(op, &run->states[i]))
        return run_stop(run, i, ERR_CONDITION_FAILED, &run->states[i]);
    if (rv == 0)
        rv = return_previous(run, i);
    if (rv != 0)
        return rv;
    switch (op->kind) {
    case OP_PUT:
    case OP_GET_AND_SET:
        return write_record(run, i, value, false);
    case OP_DELETE:
        return write_record(run, i, slice_of(NULL, 0), true);
    case OP_INCREMENT:
        rv = make_number(run, i, &value);
        return rv != 0 ? rv : write_record(run, i, value, false);
    case OP_APPEND:
        rv = make_longer(run, i, &value);
        return rv != 0 ? rv : write_record(run, i, value, false);
    case OP_CHECK:
        run->results[i].version = run->states[i].version;
        run->results[i].expiry_ms = run->states[i].expiry_ms;
        return 0;
    case OP_FENCE:
        return run_stop(run, i, ERR_FENCED, NULL);
    }
    ASSERT(false); /* command_decode() knows no other */
    return ERR_INVALID;
}

static int run_all(struct run *run)
{
    int rv = run_keys(run);
    if (rv == 0)
        rv = run_conditions(run);
    for (uint32_t i = 0; rv == 0 && i < run->command.op_count; i++)
        rv = run_op(run, i);
    if (rv != 0)
        return rv;
    *run->result = (struct command_result){
        .version = run->version,
        .result_count = run->command.op_count,
        .results = run->results,
    };
    return 0;
}

/* Decode into memory of the entry. `*ret_status` is what is wrong with the command
 * itself: every replica comes to the same. */
static int decode(struct eval *e, struct slice bytes, struct command *ret_command, int *ret_status,
                  struct err *err)
{
    struct command_decoder decoder;
    uint32_t count = command_decode_begin(bytes, &decoder);
    if (count == 0 || count > COMMAND_OPS_MAX) {
        *ret_status = ERR_INVALID;
        return 0;
    }
    struct op *ops = arena_alloc(&e->arena, count * sizeof *ops);
    if (ops == NULL)
        return ERR_NOMEM;
    int rv = command_decode_ops(&decoder, &command_limits_default, ops, ret_command, err);
    if (rv == ERR_UNSUPPORTED || rv == ERR_NOMEM)
        return rv;
    *ret_status = rv == ERR_CORRUPT ? ERR_INVALID : rv;
    return 0;
}

/* What belongs to the operations, zeroed, in one piece. */
static int run_alloc(struct run *run, size_t count)
{
    size_t of_each = sizeof *run->keys + sizeof *run->states + sizeof *run->results;
    ASSERT(count <= COMMAND_OPS_MAX);
    uint8_t *p = arena_alloc(&run->eval->arena, count * of_each);
    if (p == NULL)
        return ERR_NOMEM;
    memset(p, 0, count * of_each);
    run->keys = (struct slice *)(void *)p;
    run->states = (struct key_state *)(void *)(run->keys + count);
    run->results = (struct op_result *)(void *)(run->states + count);
    return 0;
}

/* ---- sessions ------------------------------------------------------------- */

/* The stored result of a repeat: a copy, for the table may let go of it, or move it, before
 * the entry's results have left. */
static int answer_repeat(struct eval *e, struct slice stored, struct command_result *ret_result,
                         struct err *err)
{
    uint32_t count = command_result_count(stored);
    ASSERT(count <= SESSION_RESULT_MAX);
    struct op_result *results = arena_alloc(&e->arena, count * sizeof *results);
    if (results == NULL || !arena_copy(&e->arena, stored, &stored))
        return ERR_NOMEM;
    int rv = command_result_decode(stored, results, count, ret_result, err);
    return rv == 0 ? 0 : err_wrap(err, ERR_CORRUPT, "stored result of a session");
}

/* Was it done before, or may it not be done any more? Then *ret_result says so, and the
 * answer is STOPPED. 0: it is to be done. */
static int judge_session(struct eval *e, const struct command *command,
                         struct command_result *ret_result, struct err *err)
{
    struct slice stored;
    int rv = 0;
    if (command->session == 0 || PLANTED(session_not_looked_up))
        return 0;
    switch (
        session_stage_find(&e->stage, e->sessions, command->session, command->sequence, &stored)) {
    case SESSION_REPEAT:
        rv = answer_repeat(e, stored, ret_result, err);
        return rv != 0 ? rv : STOPPED;
    case SESSION_STALE:
        ret_result->status = ERR_SESSION_EXPIRED;
        return STOPPED;
    case SESSION_FULL:
        ret_result->status = ERR_BUSY;
        rv = session_stage_lift(&e->stage, command->session, command->lowest_unanswered);
        return rv != 0 ? rv : STOPPED;
    case SESSION_NEW:
        break;
    }
    if (command->first_sent_ms > e->floor_ms)
        return 0;
    ret_result->status = ERR_SESSION_EXPIRED;
    return STOPPED;
}

/* A result that is too long to be kept: what came of it, without the values. */
static struct command_result result_in_short(const struct command_result *result)
{
    return (struct command_result){
        .status = result->status, .version = result->version, .failed_op = result->failed_op};
}

/* The session learns what came of it, unless it may be sent again. */
static int note_session(struct eval *e, const struct command *command,
                        const struct command_result *result)
{
    struct buf *raw = &e->result;
    if (command->session == 0 || PLANTED(session_not_looked_up) ||
        result->status == ERR_RANGE_CHANGED || result->status == ERR_BUSY)
        return 0;
    buf_clear(raw);
    if (buf_reserve(raw, SESSION_RESULT_MAX) != 0)
        return ERR_NOMEM;
    command_result_encode(raw, result);
    if (raw->failed) { /* never for want of memory: that would not be alike on all replicas */
        struct command_result brief = result_in_short(result);
        buf_clear(raw);
        command_result_encode(raw, &brief);
    }
    ASSERT(!raw->failed);
    return session_stage_add(&e->stage, command->session, command->sequence,
                             command->lowest_unanswered, buf_slice(raw));
}

int eval_command(struct eval *eval, struct slice command, uint64_t version,
                 struct command_result *ret_result, struct err *err)
{
    struct run run = {.eval = eval, .version = version, .result = ret_result, .err = err};
    int status = 0;
    ASSERT(version > 0);
    *ret_result = (struct command_result){0};
    int rv = decode(eval, command, &run.command, &status, err);
    if (rv != 0)
        return rv;
    if (status != 0) {
        ret_result->status = status;
        return 0;
    }
    rv = judge_session(eval, &run.command, ret_result, err);
    if (rv != 0)
        return rv == STOPPED ? 0 : rv;
    if (run.command.keyspace == RANGE_KEYSPACE_RESERVED)
        eval->wants_digest = true;
    size_t count = run.command.op_count;
    if (run_alloc(&run, count) != 0)
        return ERR_NOMEM;
    overlay_begin(&eval->overlay);
    rv = run_all(&run);
    if (rv != 0 && rv != STOPPED)
        return rv;
    return note_session(eval, &run.command, ret_result);
}

/* Note `key` unless it was read already or can be read now. */
static int collect_key(struct eval *e, struct slice key)
{
    struct lsm_value value = {0};
    if (!range_span_contains(e->span, key) || prefetch_find(e->prefetch, key) != NULL)
        return 0;
    int rv = lsm_get(e->view, key, UINT64_MAX, LSM_READ_NO_IO, &value, NULL);
    lsm_value_fini(&value);
    return rv == ERR_WOULD_BLOCK ? prefetch_want(e->prefetch, key) : 0;
}

int eval_collect(struct eval *eval, struct slice command, uint32_t wanted_max)
{
    struct command c;
    uint8_t key[RANGE_KEY_MAX];
    int status = 0;
    int rv = decode(eval, command, &c, &status, NULL);
    if (rv != 0 || status != 0)
        return rv;
    rv = view_for(eval);
    range_key_prefix(c.keyspace, key);
    for (uint32_t i = 0; rv == 0 && i < c.op_count; i++) {
        struct slice user = c.ops[i].key;
        if (!op_needs_state(&c.ops[i]))
            continue;
        if (prefetch_wanted(eval->prefetch) >= wanted_max)
            break;
        ASSERT(user.len <= sizeof key - RANGE_USER_KEY_PREFIX);
        memcpy(key + RANGE_USER_KEY_PREFIX, user.data, user.len);
        rv = collect_key(eval, slice_of(key, RANGE_USER_KEY_PREFIX + user.len));
    }
    return rv;
}
