/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/command.h"

#include "wire/pack.h"

enum { COMMAND_FORMAT = 1 };

enum command_field {
    F_FORMAT = 0,
    F_SESSION = 1,
    F_SEQUENCE = 2,
    F_LOWEST_UNANSWERED = 3,
    F_FIRST_SENT = 4,
    F_KEYSPACE = 5,
    F_OPS = 6,
};

enum op_field {
    OF_KIND = 0,
    OF_KEY = 1,
    OF_VALUE = 2,
    OF_DELTA = 3,
    OF_TTL = 4,
    OF_COND = 5,
    OF_COND_VERSION = 6,
    OF_COND_VALUE = 7,
    OF_FLAGS = 8,
};

const struct command_limits command_limits_default = {
    .key_max = 4096,
    .value_max = (size_t)8 << 20,
    .ops_max = COMMAND_OPS_MAX,
    .command_max = (size_t)16 << 20,
    .ttl_max_ms = UINT64_C(100) * 366 * 24 * 3600 * 1000,
};

enum { MS_PER_DAY = 24 * 3600 * 1000 };

static bool op_has_value(enum op_kind kind)
{
    return kind == OP_PUT || kind == OP_APPEND || kind == OP_GET_AND_SET;
}

static bool op_may_expire(enum op_kind kind)
{
    return kind != OP_DELETE && kind != OP_CHECK && kind != OP_FENCE;
}

/* ---- what is acceptable -------------------------------------------------- */

static int op_check_sizes(const struct op *op, const struct command_limits *limits, struct err *err)
{
    if (op->key.len == 0)
        return err_set(err, ERR_INVALID, "the key is empty");
    if (op->key.len > limits->key_max)
        return err_set(err, ERR_TOO_LARGE, "a key of %zu bytes, limit %zu", op->key.len,
                       limits->key_max);
    if (op->value.len > limits->value_max)
        return err_set(err, ERR_TOO_LARGE, "a value of %zu bytes, limit %zu", op->value.len,
                       limits->value_max);
    if (op->cond_value.len > limits->value_max)
        return err_set(err, ERR_TOO_LARGE, "an expected value of %zu bytes, limit %zu",
                       op->cond_value.len, limits->value_max);
    if (op->ttl_ms > limits->ttl_max_ms)
        return err_set(err, ERR_TOO_LARGE, "a TTL of %llu ms, limit %llu (%llu days)",
                       (unsigned long long)op->ttl_ms, (unsigned long long)limits->ttl_max_ms,
                       (unsigned long long)limits->ttl_max_ms / MS_PER_DAY);
    return 0;
}

static int op_check_sense(const struct op *op, struct err *err)
{
    if (op->kind < OP_KIND_FIRST || op->kind > OP_KIND_LAST)
        return err_set(err, ERR_INVALID, "unknown kind %u", op->kind);
    if ((unsigned)op->cond > COND_LAST)
        return err_set(err, ERR_INVALID, "unknown condition %u", op->cond);
    if ((op->flags & ~OP_FLAGS_ALL) != 0)
        return err_set(err, ERR_INVALID, "unknown flags %#x", op->flags);
    if (op->value.len > 0 && !op_has_value(op->kind))
        return err_set(err, ERR_INVALID, "a value does not belong here");
    if (op->delta != 0 && op->kind != OP_INCREMENT)
        return err_set(err, ERR_INVALID, "a delta does not belong here");
    if (op->ttl_ms > 0 && (op->flags & OP_KEEP_TTL))
        return err_set(err, ERR_INVALID,
                       "a TTL, and to keep the present one: it is one of the two");
    if (op->ttl_ms > 0 && !op_may_expire(op->kind))
        return err_set(err, ERR_INVALID, "a TTL does not belong here");
    if ((op->cond_version > 0) != (op->cond == COND_VERSION))
        return err_set(err, ERR_INVALID, "condition and version disagree");
    if (op->cond_value.len > 0 && op->cond != COND_VALUE)
        return err_set(err, ERR_INVALID, "condition and value disagree");
    if (op->kind == OP_FENCE && (op->cond != COND_NONE || op->flags != 0))
        return err_set(err, ERR_INVALID, "a fence takes no condition");
    if (op->kind == OP_CHECK && op->cond == COND_NONE)
        return err_set(err, ERR_INVALID, "a check of nothing");
    return 0;
}

int op_check(const struct op *op, const struct command_limits *limits, struct err *err)
{
    int rv = op_check_sense(op, err);
    return rv != 0 ? rv : op_check_sizes(op, limits, err);
}

/* One of several. */
static int op_check_of(const struct op *ops, uint32_t index, const struct command_limits *limits,
                       struct err *err)
{
    int rv = op_check(&ops[index], limits, err);
    return rv == 0 ? 0 : err_wrap(err, rv, "operation %u", index);
}

static int command_check_head(const struct command *command, const struct command_limits *limits,
                              struct err *err)
{
    ASSERT(limits->ops_max <= COMMAND_OPS_MAX);
    ASSERT(limits->key_max > 0);
    if (command->op_count == 0)
        return err_set(err, ERR_INVALID, "a command without operations");
    if (command->op_count > limits->ops_max)
        return err_set(err, ERR_TOO_LARGE, "%u operations, limit %zu", command->op_count,
                       limits->ops_max);
    if ((command->session == 0) != (command->sequence == 0))
        return err_set(err, ERR_INVALID, "session and sequence go together");
    if (command->session != 0 && command->first_sent_ms == 0)
        return err_set(err, ERR_INVALID, "a command of a session says when it was first sent");
    if (command->lowest_unanswered > command->sequence)
        return err_set(err, ERR_INVALID, "lowest unanswered is above the sequence");
    return 0;
}

static int command_check_fence(const struct command *command, const struct op *op, struct err *err)
{
    if (op->kind == OP_FENCE && (command->session == 0 || command->op_count != 1))
        return err_set(err, ERR_INVALID, "a fence stands alone, and for a session");
    return 0;
}

int command_check(const struct command *command, const struct command_limits *limits,
                  struct err *err)
{
    int rv = command_check_head(command, limits, err);
    for (uint32_t i = 0; rv == 0 && i < command->op_count; i++)
        rv = op_check_of(command->ops, i, limits, err);
    for (uint32_t i = 0; rv == 0 && i < command->op_count; i++)
        rv = command_check_fence(command, &command->ops[i], err);
    return rv;
}

/* ---- encoding ------------------------------------------------------------ */

void command_encode_op(struct buf *buf, const struct op *op)
{
    ASSERT(op->kind >= OP_KIND_FIRST && op->kind <= OP_KIND_LAST);
    ASSERT(op->key.len > 0);
    struct pack_fields f = pack_fields_begin(buf);
    pack_field_uint(&f, OF_KIND, op->kind);
    pack_field_bin(&f, OF_KEY, op->key);
    pack_field_bin(&f, OF_VALUE, op->value);
    pack_field_int(&f, OF_DELTA, op->delta);
    pack_field_uint(&f, OF_TTL, op->ttl_ms);
    pack_field_uint(&f, OF_COND, op->cond);
    pack_field_uint(&f, OF_COND_VERSION, op->cond_version);
    pack_field_bin(&f, OF_COND_VALUE, op->cond_value);
    pack_field_uint(&f, OF_FLAGS, op->flags);
    pack_fields_end(&f);
}

/* Everything up to the operations; their array's header included. */
static struct pack_fields command_encode_head(struct buf *buf, const struct command *command)
{
    ASSERT(command->op_count > 0);
    ASSERT((command->session == 0) == (command->sequence == 0));
    struct pack_fields f = pack_fields_begin(buf);
    pack_field_uint(&f, F_FORMAT, COMMAND_FORMAT);
    pack_field_uint(&f, F_SESSION, command->session);
    pack_field_uint(&f, F_SEQUENCE, command->sequence);
    pack_field_uint(&f, F_LOWEST_UNANSWERED, command->lowest_unanswered);
    pack_field_uint(&f, F_FIRST_SENT, command->first_sent_ms);
    pack_field_uint(&f, F_KEYSPACE, command->keyspace);
    pack_field(&f, F_OPS);
    pack_array(buf, command->op_count);
    return f;
}

void command_encode(struct buf *buf, const struct command *command)
{
    struct pack_fields f = command_encode_head(buf, command);
    for (uint32_t i = 0; i < command->op_count; i++)
        command_encode_op(buf, &command->ops[i]);
    pack_fields_end(&f);
}

void command_encode_ops(struct buf *buf, const struct command *command, struct slice ops)
{
    struct pack_fields f = command_encode_head(buf, command);
    buf_append_slice(buf, ops);
    pack_fields_end(&f);
}

/* ---- decoding ------------------------------------------------------------ */

/* The next key of a strict map: known, and above the one before. */
static uint64_t strict_key(struct unpack *u, int *last, unsigned known_max)
{
    uint64_t key = unpack_uint(u);
    if (u->bad || key > known_max || (int)key <= *last) {
        u->bad = true;
        return UINT64_MAX;
    }
    *last = (int)key;
    return key;
}

static void op_read_field(struct unpack *u, uint64_t field, struct op *op)
{
    switch (field) {
    case OF_KIND:
        op->kind = (enum op_kind)unpack_uint_max(u, OP_KIND_LAST);
        break;
    case OF_KEY:
        op->key = unpack_bin(u);
        break;
    case OF_VALUE:
        op->value = unpack_bin(u);
        break;
    case OF_DELTA:
        op->delta = unpack_int(u);
        break;
    case OF_TTL:
        op->ttl_ms = unpack_uint(u);
        break;
    case OF_COND:
        op->cond = (enum op_cond)unpack_uint_max(u, COND_LAST);
        break;
    case OF_COND_VERSION:
        op->cond_version = unpack_uint(u);
        break;
    case OF_COND_VALUE:
        op->cond_value = unpack_bin(u);
        break;
    case OF_FLAGS:
        op->flags = (uint32_t)unpack_uint_max(u, UINT32_MAX);
        break;
    default:
        u->bad = true;
    }
}

static void op_read(struct unpack *u, struct op *op)
{
    *op = (struct op){0};
    int last = -1;
    uint32_t pairs = unpack_map(u);
    for (uint32_t i = 0; i < pairs && !u->bad; i++)
        op_read_field(u, strict_key(u, &last, OF_FLAGS), op);
}

/* All fields before the operations. ERR_UNSUPPORTED for another format, judged
 * before anything else is looked at. */
static int command_read_head(struct unpack *u, struct command *command, struct err *err)
{
    *command = (struct command){0};
    int last = -1;
    uint32_t pairs = unpack_map(u);
    uint64_t key = strict_key(u, &last, F_FORMAT);
    uint64_t format = unpack_uint(u);
    if (u->bad || key != F_FORMAT)
        return err_set(err, ERR_CORRUPT, "command without a format");
    if (format != COMMAND_FORMAT)
        return err_set(err, ERR_UNSUPPORTED, "command of format %llu, this program knows %d",
                       (unsigned long long)format, COMMAND_FORMAT);
    for (uint32_t i = 1; i < pairs && !u->bad; i++) {
        switch (strict_key(u, &last, F_OPS)) {
        case F_SESSION:
            command->session = unpack_uint(u);
            break;
        case F_SEQUENCE:
            command->sequence = unpack_uint(u);
            break;
        case F_LOWEST_UNANSWERED:
            command->lowest_unanswered = unpack_uint(u);
            break;
        case F_FIRST_SENT:
            command->first_sent_ms = unpack_uint(u);
            break;
        case F_KEYSPACE:
            command->keyspace = (uint32_t)unpack_uint_max(u, UINT32_MAX);
            break;
        case F_OPS: /* the greatest key, so the last pair */
            command->op_count = unpack_array(u);
            if (i + 1 != pairs)
                u->bad = true;
            break;
        default:
            u->bad = true;
        }
    }
    return u->bad ? err_set(err, ERR_CORRUPT, "command is malformed") : 0;
}

enum { PLAIN_PAIRS_MAX = 3 }; /* format, keyspace, operations */

int command_restamp_head(struct buf *buf, struct slice in, const struct command_stamp *stamp,
                         struct slice *ret_rest)
{
    struct unpack u = unpack_of(in);
    uint32_t pairs = unpack_map(&u);
    uint64_t key = unpack_uint(&u);
    uint64_t format = unpack_uint(&u);
    struct unpack next = u;
    uint64_t after = unpack_uint(&next);
    ASSERT(stamp->session != 0 && stamp->sequence != 0 && stamp->first_sent_ms != 0);
    if (u.bad || next.bad || key != F_FORMAT || format != COMMAND_FORMAT || after < F_KEYSPACE ||
        pairs > PLAIN_PAIRS_MAX)
        return ERR_CORRUPT;
    struct pack_fields f = pack_fields_begin(buf);
    pack_field_uint(&f, F_FORMAT, COMMAND_FORMAT);
    pack_field_uint(&f, F_SESSION, stamp->session);
    pack_field_uint(&f, F_SEQUENCE, stamp->sequence);
    pack_field_uint(&f, F_LOWEST_UNANSWERED, stamp->lowest_unanswered);
    pack_field_uint(&f, F_FIRST_SENT, stamp->first_sent_ms);
    f.count += pairs - 1;
    pack_fields_end(&f);
    *ret_rest = slice_of(u.pos, u.left);
    return 0;
}

int command_restamp(struct buf *buf, struct slice in, const struct command_stamp *stamp)
{
    struct slice rest;
    int rv = command_restamp_head(buf, in, stamp, &rest);
    if (rv == 0)
        buf_append_slice(buf, rest);
    return rv;
}

/* What follows the head, which is as it should be. */
static int command_read_ops(struct unpack *u, struct command *command,
                            const struct command_limits *limits, struct op *ops, struct err *err)
{
    for (uint32_t i = 0; i < command->op_count; i++) {
        op_read(u, &ops[i]);
        if (u->bad)
            return err_set(err, ERR_CORRUPT, "operation %u is malformed", i);
        int rv = op_check_of(ops, i, limits, err);
        if (rv == 0)
            rv = command_check_fence(command, &ops[i], err);
        if (rv != 0)
            return rv;
    }
    command->ops = ops;
    return unpack_finish(u, "command", err);
}

static int command_check_len(struct slice in, const struct command_limits *limits, struct err *err)
{
    if (in.len > limits->command_max)
        return err_set(err, ERR_TOO_LARGE, "command of %zu bytes, limit %zu", in.len,
                       limits->command_max);
    return 0;
}

uint32_t command_decode_begin(struct slice in, struct command_decoder *ret_decoder)
{
    ret_decoder->in = in;
    ret_decoder->rest = unpack_of(in);
    if (command_read_head(&ret_decoder->rest, &ret_decoder->command, NULL) != 0)
        return 0;
    return ret_decoder->command.op_count;
}

int command_decode_ops(struct command_decoder *decoder, const struct command_limits *limits,
                       struct op *ops, struct command *ret_command, struct err *err)
{
    ASSERT(decoder->command.op_count > 0);
    int rv = command_check_len(decoder->in, limits, err);
    if (rv == 0)
        rv = command_check_head(&decoder->command, limits, err);
    if (rv == 0)
        rv = command_read_ops(&decoder->rest, &decoder->command, limits, ops, err);
    if (rv == 0)
        *ret_command = decoder->command;
    return rv;
}

uint32_t command_op_count(struct slice in)
{
    struct command_decoder decoder;
    return command_decode_begin(in, &decoder);
}

int command_decode(struct slice in, const struct command_limits *limits, struct op *ops,
                   size_t ops_cap, struct command *ret_command, struct err *err)
{
    struct unpack u = unpack_of(in);
    struct command command;
    int rv = command_check_len(in, limits, err);
    if (rv == 0)
        rv = command_read_head(&u, &command, err);
    if (rv == 0)
        rv = command_check_head(&command, limits, err);
    if (rv == 0 && command.op_count > ops_cap)
        rv = err_set(err, ERR_TOO_LARGE, "%u operations, room for %zu", command.op_count, ops_cap);
    if (rv == 0)
        rv = command_read_ops(&u, &command, limits, ops, err);
    if (rv == 0)
        *ret_command = command;
    return rv;
}
