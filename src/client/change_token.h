/* SPDX-License-Identifier: Apache-2.0
 *
 * change_token — what is to be known of a change that ended undetermined, to settle it later: whose
 * it was, and where. Whoever asks with a wrong one has a change fenced that nobody made, and hears
 * that it was not done; so nothing of a token is believed unless all of it is as it was written.
 *
 *   token   a msgpack map: {0: format = 2, 1: cluster id, 2: session, 3: sequence,
 *                           4: lowest unanswered, 5: first_sent_ms, 6: keyspace, 7: key}
 *           u32 crc32c of it
 *
 * Those of format 1 had no checksum. They are refused: of no use after some 15 minutes, they are
 * no loss, and to take them would be to take damaged ones.
 *
 * Ownership  the key of a decoded token points into the bytes that it was decoded from.
 * Limits     CHANGE_TOKEN_MAX bytes.
 */
#ifndef CLIENT_CHANGE_TOKEN_H_
#define CLIENT_CHANGE_TOKEN_H_

#include "base/buf.h"
#include "base/err.h"
#include "wire/command.h"

enum { CHANGE_TOKEN_MAX = 5000 };

struct change_token {
    uint64_t cluster_id;
    struct command_stamp stamp; /* of a session */
    uint32_t keyspace;
    struct slice key; /* of the first operation, as it is stored */
};

/* Append it. */
void change_token_encode(const struct change_token *token, struct buf *out);

/* ERR_INVALID: those are not the bytes of a token, or not all; ERR_UNSUPPORTED: those of another
 * format. *ret_token is written on success only. */
int change_token_decode(struct slice bytes, struct change_token *ret_token, struct err *err);

#endif
