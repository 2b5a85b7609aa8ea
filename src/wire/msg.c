/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/msg.h"

#include "wire/msg_internal.h"

int msg_kind(struct slice body, uint32_t *ret_kind, struct err *err)
{
    struct unpack u;
    uint32_t pairs;
    uint32_t kind = msg_read_begin(&u, body, &pairs);
    if (u.bad)
        return err_set(err, ERR_CORRUPT, "message of %zu bytes without a kind", body.len);
    *ret_kind = kind;
    return 0;
}

const char *msg_kind_name(uint32_t kind)
{
    switch (kind) {
    case MSG_HELLO:
        return "hello";
    case MSG_HELLO_ACK:
        return "hello_ack";
    case MSG_AUTH:
        return "auth";
    case MSG_ERROR:
        return "error";
    case MSG_PING:
        return "ping";
    case MSG_PONG:
        return "pong";
    case MSG_APPEND_ENTRIES:
        return "append_entries";
    case MSG_APPEND_ENTRIES_RESULT:
        return "append_entries_result";
    case MSG_REQUEST_VOTE:
        return "request_vote";
    case MSG_REQUEST_VOTE_RESULT:
        return "request_vote_result";
    case MSG_INSTALL_SNAPSHOT:
        return "install_snapshot";
    case MSG_TIMEOUT_NOW:
        return "timeout_now";
    case MSG_PROBE:
        return "probe";
    case MSG_PROBE_RESULT:
        return "probe_result";
    case MSG_PULSE:
        return "pulse";
    case MSG_READ_ASK:
        return "read_ask";
    case MSG_READ_ANSWER:
        return "read_answer";
    case MSG_MEMBER_ASK:
        return "member_ask";
    case MSG_MEMBER_ANSWER:
        return "member_answer";
    case MSG_MERGE:
        return "merge";
    case MSG_SNAPSHOT_BEGIN:
        return "snapshot_begin";
    case MSG_SNAPSHOT_CHUNK:
        return "snapshot_chunk";
    case MSG_SNAPSHOT_END:
        return "snapshot_end";
    case MSG_SNAPSHOT_ACK:
        return "snapshot_ack";
    case MSG_STORE_BEAT:
        return "store_beat";
    case MSG_RANGE_BEAT:
        return "range_beat";
    case MSG_DRIVER_WORD:
        return "driver_word";
    case MSG_DRIVER_AT:
        return "driver_at";
    case MSG_STEP_DONE:
        return "step_done";
    case MSG_REQUEST:
        return "request";
    case MSG_RESPONSE:
        return "response";
    default:
        return "unknown";
    }
}
