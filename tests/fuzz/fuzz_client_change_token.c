/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as the token of a change that stayed undetermined: as they are, and with the checksum
 * that belongs to them. What is accepted makes sense, and is the same when it is written and read
 * again. */
#include "client/change_token.h"
#include "client/sealed.h"
#include "wire/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_bytes(struct slice bytes)
{
    struct change_token token, again;
    struct buf out;
    if (change_token_decode(bytes, &token, NULL) != 0)
        return;
    ASSERT(bytes.len <= CHANGE_TOKEN_MAX);
    ASSERT(token.key.len > 0 && token.key.len <= KEY_WIRE_MAX);
    ASSERT(token.stamp.session > 0 && token.stamp.sequence > 0 && token.stamp.first_sent_ms > 0);
    ASSERT(token.stamp.lowest_unanswered <= token.stamp.sequence);
    buf_init(&out, CHANGE_TOKEN_MAX);
    change_token_encode(&token, &out);
    ASSERT(!out.failed);
    ASSERT(change_token_decode(buf_slice(&out), &again, NULL) == 0);
    ASSERT(again.cluster_id == token.cluster_id && again.keyspace == token.keyspace);
    ASSERT(memcmp(&again.stamp, &token.stamp, sizeof token.stamp) == 0);
    ASSERT(slice_equal(again.key, token.key));
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole;
    try_bytes(slice_of(data, size));
    buf_init(&whole, 2 * CHANGE_TOKEN_MAX);
    buf_append(&whole, data, size);
    sealed_end(&whole, 0);
    if (!whole.failed)
        try_bytes(buf_slice(&whole));
    buf_fini(&whole);
    return 0;
}
