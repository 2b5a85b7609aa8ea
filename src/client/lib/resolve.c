/* SPDX-License-Identifier: Apache-2.0
 *
 * What became of a change that ended undetermined: a fence is sent under its stamp. The range
 * answers with the change's result, or makes sure that there never is one.
 * client/change_token.h says what a token is.
 */
#include "client/change_token.h"
#include "client/lib/lib_internal.h"

void token_append(struct buf *buf, const struct call *call)
{
    const struct client_op *op = &call->op;
    if (op->request.kind != REQUEST_WRITE || op->stamp.session == 0)
        return;
    const struct change_token token = {
        .cluster_id = client_cluster_id(call->client->core),
        .stamp = op->stamp,
        .keyspace = op->keyspace,
        .key = op->key,
    };
    change_token_encode(&token, buf);
}

static int command_of(struct call *call, const struct change_token *token, struct err *err)
{
    struct op fence = {.kind = OP_FENCE, .key = token->key};
    struct command command = {
        .session = token->stamp.session,
        .sequence = token->stamp.sequence,
        .lowest_unanswered = token->stamp.lowest_unanswered,
        .first_sent_ms = token->stamp.first_sent_ms,
        .keyspace = token->keyspace,
        .op_count = 1,
        .ops = &fence,
    };
    if (command_check(&command, &command_limits_default, err) != 0)
        return HF_ERR_INVALID;
    command_encode(&call->data, &command);
    return call->data.failed ? HF_ERR_NOMEM : 0;
}

static int resolve(struct hf_client *client, struct hf_bytes bytes, const struct hf_call *options,
                   const struct hf_then *then, struct hf_result **ret_result)
{
    struct change_token token;
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = bytes_check(bytes, "the token", &err);
    if (rv == 0)
        rv = change_token_decode(slice_of_bytes(bytes), &token, &err);
    if (rv == 0)
        rv = call_new(client, REQUEST_WRITE, options, &call, &err);
    if (rv == 0)
        rv = call_keep(call, (struct hf_bytes){.data = token.key.data, .len = token.key.len}, &err);
    if (rv == 0)
        rv = command_of(call, &token, &err);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    call->op.cluster_id = token.cluster_id;
    call->op.keyspace = token.keyspace;
    call->op.is_stamped = true;
    call->op.stamped_ms = token.stamp.first_sent_ms;
    call->figures_kind = HF_OP_RESOLVE;
    call->op.request.write.command = buf_slice(&call->data);
    call->op.key = buf_slice(&call->keys);
    return call_go(call, then, ret_result);
}

int hf_resolve(struct hf_client *client, struct hf_bytes token, const struct hf_call *call,
               struct hf_result **ret_result)
{
    return resolve(client, token, call, NULL, ret_result);
}

int hf_resolve_async(struct hf_client *client, struct hf_bytes token, const struct hf_call *call,
                     const struct hf_then *then)
{
    return resolve(client, token, call, somewhere(then), NULL);
}
