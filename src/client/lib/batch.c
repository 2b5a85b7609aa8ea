/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "client/lib/lib_internal.h"

enum { HEAD_MAX = 128 }; /* bytes that stand around the operations of a command */

struct hf_batch {
    struct buf ops; /* encoded, one after another */
    struct buf key; /* the first operation's */
    uint32_t count;
    struct err err; /* why the last one was not added */
};

int hf_batch_new(struct hf_batch **ret_batch)
{
    if (ret_batch == NULL)
        return HF_ERR_INVALID;
    struct hf_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL)
        return HF_ERR_NOMEM;
    buf_init(&batch->ops, command_limits_default.command_max - HEAD_MAX);
    buf_init(&batch->key, command_limits_default.key_max);
    *ret_batch = batch;
    return HF_OK;
}

void hf_batch_free(struct hf_batch *batch)
{
    if (batch == NULL)
        return;
    buf_fini(&batch->ops);
    buf_fini(&batch->key);
    free(batch);
}

void hf_batch_clear(struct hf_batch *batch)
{
    if (batch == NULL)
        return;
    buf_clear(&batch->ops);
    buf_clear(&batch->key);
    batch->count = 0;
    err_init(&batch->err);
}

size_t hf_batch_count(const struct hf_batch *batch)
{
    return batch != NULL ? batch->count : 0;
}

/* Add it, or leave the batch as it was. */
static int batch_add(struct hf_batch *batch, enum op_kind kind, struct hf_bytes key,
                     struct hf_bytes value, int64_t delta, const struct hf_change *change)
{
    struct op op;
    if (batch == NULL)
        return HF_ERR_INVALID;
    struct err *err = &batch->err;
    err_init(err);
    int rv = op_fill(&op, kind, key, value, delta, change, err);
    if (rv != 0)
        return rv;
    if (batch->count == command_limits_default.ops_max)
        return err_set(err, HF_ERR_TOO_LARGE, "a batch has at most %zu operations",
                       command_limits_default.ops_max);
    size_t before = batch->ops.len;
    command_encode_op(&batch->ops, &op);
    if (batch->count == 0)
        buf_append_slice(&batch->key, op.key);
    if (batch->ops.failed || batch->key.failed) {
        batch->ops.len = before;
        batch->ops.failed = false;
        if (batch->count == 0)
            buf_clear(&batch->key);
        return err_set(err, HF_ERR_TOO_LARGE,
                       "a batch has at most %zu bytes, and that was one more", batch->ops.max);
    }
    batch->count++;
    return HF_OK;
}

int hf_batch_put(struct hf_batch *batch, struct hf_bytes key, struct hf_bytes value,
                 const struct hf_change *change)
{
    return batch_add(batch, OP_PUT, key, value, 0, change);
}

int hf_batch_delete(struct hf_batch *batch, struct hf_bytes key, const struct hf_change *change)
{
    return batch_add(batch, OP_DELETE, key, (struct hf_bytes){0}, 0, change);
}

int hf_batch_increment(struct hf_batch *batch, struct hf_bytes key, int64_t delta,
                       const struct hf_change *change)
{
    return batch_add(batch, OP_INCREMENT, key, (struct hf_bytes){0}, delta, change);
}

int hf_batch_append(struct hf_batch *batch, struct hf_bytes key, struct hf_bytes value,
                    const struct hf_change *change)
{
    return batch_add(batch, OP_APPEND, key, value, 0, change);
}

int hf_batch_get_and_set(struct hf_batch *batch, struct hf_bytes key, struct hf_bytes value,
                         const struct hf_change *change)
{
    return batch_add(batch, OP_GET_AND_SET, key, value, 0, change);
}

int hf_batch_check(struct hf_batch *batch, struct hf_bytes key, const struct hf_change *change)
{
    return batch_add(batch, OP_CHECK, key, (struct hf_bytes){0}, 0, change);
}

const char *hf_batch_message(const struct hf_batch *batch)
{
    return batch != NULL ? batch->err.msg : "";
}

static int commit(struct hf_client *client, const struct hf_batch *batch,
                  const struct hf_call *options, const struct hf_then *then,
                  struct hf_result **ret_result)
{
    struct err err;
    err_init(&err);
    if (batch == NULL || batch->count == 0) {
        err_set(&err, HF_ERR_INVALID, batch == NULL ? "the batch is NULL" : "the batch is empty");
        return call_refuse(NULL, HF_ERR_INVALID, &err, ret_result);
    }
    return command_go(client, HF_OP_BATCH, buf_slice(&batch->ops), batch->count,
                      buf_slice(&batch->key), options, then, ret_result);
}

int hf_batch_commit(struct hf_client *client, const struct hf_batch *batch,
                    const struct hf_call *call, struct hf_result **ret_result)
{
    return commit(client, batch, call, NULL, ret_result);
}

int hf_batch_commit_async(struct hf_client *client, const struct hf_batch *batch,
                          const struct hf_call *call, const struct hf_then *then)
{
    return commit(client, batch, call, somewhere(then), NULL);
}
