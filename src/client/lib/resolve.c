/* SPDX-License-Identifier: Apache-2.0
 *
 * What became of a change that ended undetermined: a fence is sent under its stamp. The range
 * answers with the change's result, or makes sure that there never is one.
 *
 *   token   a msgpack map: {0: format = 1, 1: cluster id, 2: session, 3: sequence,
 *                           4: lowest unanswered, 5: first_sent_ms, 6: keyspace, 7: key}
 */
#include "client/lib/lib_internal.h"

#include "wire/pack.h"

enum { TOKEN_FORMAT = 1 };

enum token_field {
    T_FORMAT = 0,
    T_CLUSTER = 1,
    T_SESSION = 2,
    T_SEQUENCE = 3,
    T_LOWEST = 4,
    T_FIRST_SENT = 5,
    T_KEYSPACE = 6,
    T_KEY = 7,
};

struct token {
    uint64_t format;
    uint64_t cluster_id;
    struct command_stamp stamp;
    uint32_t keyspace;
    struct slice key; /* borrowed */
};

void token_append(struct buf *buf, const struct call *call)
{
    const struct client_op *op = &call->op;
    const struct command_stamp *stamp = &op->stamp;
    if (op->request.kind != REQUEST_WRITE || stamp->session == 0)
        return;
    struct pack_fields f = pack_fields_begin(buf);
    pack_field_uint(&f, T_FORMAT, TOKEN_FORMAT);
    pack_field_uint(&f, T_CLUSTER, client_cluster_id(call->client->core));
    pack_field_uint(&f, T_SESSION, stamp->session);
    pack_field_uint(&f, T_SEQUENCE, stamp->sequence);
    pack_field_uint(&f, T_LOWEST, stamp->lowest_unanswered);
    pack_field_uint(&f, T_FIRST_SENT, stamp->first_sent_ms);
    pack_field_uint(&f, T_KEYSPACE, op->keyspace);
    pack_field_bin(&f, T_KEY, op->key);
    pack_fields_end(&f);
}

static void token_read_field(struct unpack *u, uint64_t field, struct token *token)
{
    switch (field) {
    case T_FORMAT:
        token->format = unpack_uint(u);
        break;
    case T_CLUSTER:
        token->cluster_id = unpack_uint(u);
        break;
    case T_SESSION:
        token->stamp.session = unpack_uint(u);
        break;
    case T_SEQUENCE:
        token->stamp.sequence = unpack_uint(u);
        break;
    case T_LOWEST:
        token->stamp.lowest_unanswered = unpack_uint(u);
        break;
    case T_FIRST_SENT:
        token->stamp.first_sent_ms = unpack_uint(u);
        break;
    case T_KEYSPACE:
        token->keyspace = (uint32_t)unpack_uint_max(u, UINT32_MAX);
        break;
    case T_KEY:
        token->key = unpack_bin_max(u, KEY_WIRE_MAX);
        break;
    default:
        unpack_skip(u);
    }
}

static int token_decode(struct slice in, struct token *ret_token)
{
    struct unpack u = unpack_of(in);
    struct token token = {0};
    uint64_t seen = 0;
    uint32_t pairs = unpack_map(&u);
    for (uint32_t i = 0; i < pairs && !u.bad; i++)
        token_read_field(&u, unpack_key(&u, &seen), &token);
    if (unpack_finish(&u, "token", NULL) != 0 || token.format == 0)
        return HF_ERR_INVALID;
    if (token.format != TOKEN_FORMAT)
        return HF_ERR_UNSUPPORTED;
    *ret_token = token;
    return 0;
}

static int command_of(struct call *call, const struct token *token)
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
    if (command.session == 0 || command_check(&command, &command_limits_default, NULL) != 0)
        return HF_ERR_INVALID;
    command_encode(&call->data, &command);
    return call->data.failed ? HF_ERR_NOMEM : 0;
}

static int resolve(struct hf_client *client, struct hf_bytes bytes, const struct hf_call *options,
                   const struct hf_then *then, struct hf_result **ret_result)
{
    struct token token;
    struct call *call = NULL;
    if (!bytes_are_fine(bytes) || bytes.len > TOKEN_MAX)
        return HF_ERR_INVALID;
    int rv = token_decode(slice_of_bytes(bytes), &token);
    if (rv == 0)
        rv = call_new(client, REQUEST_WRITE, options, &call);
    if (rv == 0)
        rv = call_keep(call, (struct hf_bytes){.data = token.key.data, .len = token.key.len});
    if (rv == 0)
        rv = command_of(call, &token);
    if (rv != 0) {
        call_free(call);
        return rv;
    }
    call->op.cluster_id = token.cluster_id;
    call->op.keyspace = token.keyspace;
    call->op.is_stamped = true;
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
