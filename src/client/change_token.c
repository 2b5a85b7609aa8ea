/* SPDX-License-Identifier: Apache-2.0 */
#include "client/change_token.h"

#include "client/sealed.h"
#include "wire/pack.h"
#include "wire/request.h"

enum { TOKEN_FORMAT = 2, TOKEN_FORMAT_BARE = 1 /* without a checksum */ };

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

void change_token_encode(const struct change_token *token, struct buf *out)
{
    size_t begin = out->len;
    const struct command_stamp *stamp = &token->stamp;
    ASSERT(stamp->session != 0);
    struct pack_fields f = pack_fields_begin(out);
    pack_field_uint(&f, T_FORMAT, TOKEN_FORMAT);
    pack_field_uint(&f, T_CLUSTER, token->cluster_id);
    pack_field_uint(&f, T_SESSION, stamp->session);
    pack_field_uint(&f, T_SEQUENCE, stamp->sequence);
    pack_field_uint(&f, T_LOWEST, stamp->lowest_unanswered);
    pack_field_uint(&f, T_FIRST_SENT, stamp->first_sent_ms);
    pack_field_uint(&f, T_KEYSPACE, token->keyspace);
    pack_field_bin(&f, T_KEY, token->key);
    pack_fields_end(&f);
    sealed_end(out, begin);
}

static void read_field(struct unpack *u, uint64_t field, struct change_token *token,
                       uint64_t *format)
{
    switch (field) {
    case T_FORMAT:
        *format = unpack_uint(u);
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

/* The map alone; false: it is none. */
static bool read_map(struct slice bytes, struct change_token *token, uint64_t *format)
{
    struct unpack u = unpack_of(bytes);
    uint64_t seen = 0;
    uint32_t pairs = unpack_map(&u);
    for (uint32_t i = 0; i < pairs && !u.bad; i++)
        read_field(&u, unpack_key(&u, &seen), token, format);
    return unpack_finish(&u, "token", NULL) == 0;
}

static bool makes_sense(const struct change_token *token)
{
    const struct command_stamp *stamp = &token->stamp;
    return stamp->session > 0 && stamp->sequence > 0 && stamp->first_sent_ms > 0 &&
           stamp->lowest_unanswered <= stamp->sequence && token->key.len > 0;
}

int change_token_decode(struct slice bytes, struct change_token *ret_token, struct err *err)
{
    struct change_token token = {0};
    struct slice inside;
    uint64_t format = 0;
    if (bytes.len > CHANGE_TOKEN_MAX)
        return err_set(err, ERR_INVALID, "a token has at most %d bytes", CHANGE_TOKEN_MAX);
    if (!sealed_open(bytes, &inside)) {
        if (read_map(bytes, &token, &format) && format == TOKEN_FORMAT_BARE)
            return err_set(err, ERR_UNSUPPORTED,
                           "the token is of an older version, which gave it no checksum: only "
                           "that version can tell what became of the change");
        return err_set(
            err, ERR_INVALID,
            "that is not a token as it was given: a digit is wrong, or some are missing");
    }
    if (!read_map(inside, &token, &format) || format == 0)
        return err_set(err, ERR_INVALID, "that is the token of something else");
    if (format != TOKEN_FORMAT)
        return err_set(err, ERR_UNSUPPORTED, "the token is of format %llu, and %d is known",
                       (unsigned long long)format, TOKEN_FORMAT);
    if (!makes_sense(&token))
        return err_set(err, ERR_INVALID, "the token makes no sense");
    *ret_token = token;
    return 0;
}
