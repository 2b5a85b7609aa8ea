/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/lib_internal.h"

/* A buffer for a change is taken once, with so much room around key and value. */
enum { OP_ROOM = 64, OP_AHEAD = 1 << 20 };

void hf_change_init(struct hf_change *change)
{
    *change = (struct hf_change){.size = sizeof *change};
}

/* What the caller said of how to change. */
static int op_fill_how(struct op *op, const struct hf_change *how, struct err *err)
{
    if (how == NULL)
        return 0;
    if (how->size < sizeof *how)
        return err_set(err, HF_ERR_INVALID, "struct hf_change: no size; see hf_change_init()");
    if (how->condition < HF_ALWAYS || how->condition > HF_IF_VALUE)
        return err_set(err, HF_ERR_INVALID, "there is no condition %d", how->condition);
    int rv = bytes_check(how->if_value, "if_value", err);
    if (rv != 0)
        return rv;
    op->cond = (enum op_cond)how->condition;
    op->ttl_ms = how->ttl_ms;
    op->flags = (how->return_previous ? (uint32_t)OP_RETURN_PREVIOUS : 0) |
                (how->keep_ttl ? (uint32_t)OP_KEEP_TTL : 0);
    if (op->cond == COND_VERSION && how->if_version == 0)
        op->cond = COND_ABSENT; /* version 0 is that of an absent key */
    if (op->cond == COND_VERSION)
        op->cond_version = how->if_version;
    if (op->cond == COND_VALUE)
        op->cond_value = slice_of_bytes(how->if_value);
    return 0;
}

int op_fill(struct op *op, enum op_kind kind, struct hf_bytes key, struct hf_bytes value,
            int64_t delta, const struct hf_change *how, struct err *err)
{
    *op = (struct op){
        .kind = kind, .key = slice_of_bytes(key), .value = slice_of_bytes(value), .delta = delta};
    int rv = bytes_check(key, "the key", err);
    if (rv == 0)
        rv = bytes_check(value, "the value", err);
    if (rv == 0)
        rv = op_fill_how(op, how, err);
    return rv != 0 ? rv : op_check(op, &command_limits_default, err);
}

/* Operations that become a command: encoded, or a single one that is not. */
struct operations {
    int kind; /* in the client's figures */
    struct slice encoded;
    uint32_t count;
    const struct op *one; /* NULL: encoded */
};

/* Their command into the call's memory. */
static int encode_plain(struct call *call, struct command *command, const struct operations *ops)
{
    size_t len = ops->encoded.len;
    if (ops->one != NULL)
        len = ops->one->key.len + ops->one->value.len;
    buf_reserve(&call->data, MIN(len, (size_t)OP_AHEAD) + OP_ROOM);
    command->ops = ops->one;
    if (ops->one != NULL)
        command_encode(&call->data, command);
    else
        command_encode_ops(&call->data, command, ops->encoded);
    return call->data.failed ? HF_ERR_NOMEM : 0;
}

static int encode_slotted(struct call *call, const struct command *command,
                          const struct operations *ops, struct err *err)
{
    struct buf encoded;
    if (ops->one == NULL)
        return slot_command(call->slots, command, ops->encoded, &call->data, &call->keys, err);
    buf_init(&encoded, command_limits_default.command_max);
    buf_reserve(&encoded, MIN(ops->one->key.len + ops->one->value.len, (size_t)OP_AHEAD) + OP_ROOM);
    command_encode_op(&encoded, ops->one);
    int rv = encoded.failed ? HF_ERR_TOO_LARGE
                            : slot_command(call->slots, command, buf_slice(&encoded), &call->data,
                                           &call->keys, err);
    buf_fini(&encoded);
    return rv;
}

static int operations_go(struct hf_client *client, const struct operations *ops, struct slice key,
                         const struct hf_call *options, const struct hf_then *then,
                         struct hf_result **ret_result)
{
    struct command command = {.op_count = ops->count};
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = call_new(client, REQUEST_WRITE, options, &call, &err);
    if (rv == 0)
        command.keyspace = call->op.keyspace;
    if (rv == 0)
        rv = client_may_write(client, command.keyspace, &err);
    if (rv == 0 && call->slots > 0) {
        rv = encode_slotted(call, &command, ops, &err);
    } else if (rv == 0) {
        rv = call_keep(call, (struct hf_bytes){.data = key.data, .len = key.len}, &err);
        if (rv == 0)
            rv = encode_plain(call, &command, ops);
    }
    if (rv == 0 && call->data.len > command_limits_default.command_max)
        rv = err_set(&err, HF_ERR_TOO_LARGE, "%zu bytes of operations, limit %zu", call->data.len,
                     command_limits_default.command_max);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    call->figures_kind = ops->kind;
    call->op_count = ops->count;
    call->op.request.write.command = buf_slice(&call->data);
    call->op.key = buf_slice(&call->keys);
    return call_go(call, then, ret_result);
}

int command_go(struct hf_client *client, int kind, struct slice ops, uint32_t count,
               struct slice key, const struct hf_call *options, const struct hf_then *then,
               struct hf_result **ret_result)
{
    const struct operations all = {.kind = kind, .encoded = ops, .count = count};
    return operations_go(client, &all, key, options, then, ret_result);
}

/* What all the functions below come down to: one operation as a command of its own. */
static int change(struct hf_client *client, enum op_kind kind, struct hf_bytes key,
                  struct hf_bytes value, int64_t delta, const struct hf_change *how,
                  const struct hf_call *options, const struct hf_then *then,
                  struct hf_result **ret_result)
{
    struct op op;
    struct err err;
    err_init(&err);
    int rv = op_fill(&op, kind, key, value, delta, how, &err);
    if (rv != 0)
        return call_refuse(NULL, rv, &err, ret_result);
    const struct operations ops = {.kind = figures_kind_of(&op), .count = 1, .one = &op};
    return operations_go(client, &ops, op.key, options, then, ret_result);
}

static const struct hf_bytes nothing = {0};

int hf_put(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
           const struct hf_change *how, const struct hf_call *call, struct hf_result **ret_result)
{
    return change(client, OP_PUT, key, value, 0, how, call, NULL, ret_result);
}

int hf_put_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                 const struct hf_change *how, const struct hf_call *call,
                 const struct hf_then *then)
{
    return change(client, OP_PUT, key, value, 0, how, call, somewhere(then), NULL);
}

int hf_delete(struct hf_client *client, struct hf_bytes key, const struct hf_change *how,
              const struct hf_call *call, struct hf_result **ret_result)
{
    return change(client, OP_DELETE, key, nothing, 0, how, call, NULL, ret_result);
}

int hf_delete_async(struct hf_client *client, struct hf_bytes key, const struct hf_change *how,
                    const struct hf_call *call, const struct hf_then *then)
{
    return change(client, OP_DELETE, key, nothing, 0, how, call, somewhere(then), NULL);
}

/* ---- puts with a condition ---------------------------------------------------------- */

static int put_if(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                  const struct hf_change *how, const struct hf_call *call,
                  const struct hf_then *then, struct hf_result **ret_result)
{
    return change(client, OP_PUT, key, value, 0, how, call, then, ret_result);
}

static struct hf_change condition(int kind)
{
    return (struct hf_change){.size = sizeof(struct hf_change), .condition = kind};
}

static struct hf_change condition_value(struct hf_bytes expected)
{
    struct hf_change how = condition(HF_IF_VALUE);
    how.if_value = expected;
    return how;
}

static struct hf_change condition_version(uint64_t version)
{
    struct hf_change how = condition(HF_IF_VERSION);
    how.if_version = version;
    return how;
}

int hf_cas(struct hf_client *client, struct hf_bytes key, struct hf_bytes expected,
           struct hf_bytes value, const struct hf_call *call, struct hf_result **ret_result)
{
    struct hf_change how = condition_value(expected);
    return put_if(client, key, value, &how, call, NULL, ret_result);
}

int hf_cas_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes expected,
                 struct hf_bytes value, const struct hf_call *call, const struct hf_then *then)
{
    struct hf_change how = condition_value(expected);
    return put_if(client, key, value, &how, call, somewhere(then), NULL);
}

int hf_cas_version(struct hf_client *client, struct hf_bytes key, uint64_t version,
                   struct hf_bytes value, const struct hf_call *call, struct hf_result **ret_result)
{
    struct hf_change how = condition_version(version);
    return put_if(client, key, value, &how, call, NULL, ret_result);
}

int hf_cas_version_async(struct hf_client *client, struct hf_bytes key, uint64_t version,
                         struct hf_bytes value, const struct hf_call *call,
                         const struct hf_then *then)
{
    struct hf_change how = condition_version(version);
    return put_if(client, key, value, &how, call, somewhere(then), NULL);
}

int hf_put_if_absent(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                     const struct hf_call *call, struct hf_result **ret_result)
{
    struct hf_change how = condition(HF_IF_ABSENT);
    return put_if(client, key, value, &how, call, NULL, ret_result);
}

int hf_put_if_absent_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                           const struct hf_call *call, const struct hf_then *then)
{
    struct hf_change how = condition(HF_IF_ABSENT);
    return put_if(client, key, value, &how, call, somewhere(then), NULL);
}

int hf_put_if_present(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                      const struct hf_call *call, struct hf_result **ret_result)
{
    struct hf_change how = condition(HF_IF_PRESENT);
    return put_if(client, key, value, &how, call, NULL, ret_result);
}

int hf_put_if_present_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                            const struct hf_call *call, const struct hf_then *then)
{
    struct hf_change how = condition(HF_IF_PRESENT);
    return put_if(client, key, value, &how, call, somewhere(then), NULL);
}

/* ---- on the present value -------------------------------------------------------------- */

int hf_increment(struct hf_client *client, struct hf_bytes key, int64_t delta,
                 const struct hf_change *how, const struct hf_call *call,
                 struct hf_result **ret_result)
{
    return change(client, OP_INCREMENT, key, nothing, delta, how, call, NULL, ret_result);
}

int hf_increment_async(struct hf_client *client, struct hf_bytes key, int64_t delta,
                       const struct hf_change *how, const struct hf_call *call,
                       const struct hf_then *then)
{
    return change(client, OP_INCREMENT, key, nothing, delta, how, call, somewhere(then), NULL);
}

int hf_append(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
              const struct hf_change *how, const struct hf_call *call,
              struct hf_result **ret_result)
{
    return change(client, OP_APPEND, key, value, 0, how, call, NULL, ret_result);
}

int hf_append_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                    const struct hf_change *how, const struct hf_call *call,
                    const struct hf_then *then)
{
    return change(client, OP_APPEND, key, value, 0, how, call, somewhere(then), NULL);
}

int hf_get_and_set(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                   const struct hf_change *how, const struct hf_call *call,
                   struct hf_result **ret_result)
{
    return change(client, OP_GET_AND_SET, key, value, 0, how, call, NULL, ret_result);
}

int hf_get_and_set_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                         const struct hf_change *how, const struct hf_call *call,
                         const struct hf_then *then)
{
    return change(client, OP_GET_AND_SET, key, value, 0, how, call, somewhere(then), NULL);
}
