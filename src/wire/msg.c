/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/msg.h"

#include "wire/msg_internal.h"

int msg_kind(struct slice body, uint32_t *ret_kind, struct err *err)
{
    struct unpack u;
    struct msg_pairs pairs;
    uint32_t kind = msg_read_begin(&u, body, &pairs);
    if (u.bad)
        return err_set(err, ERR_CORRUPT, "message of %zu bytes without a kind", body.len);
    *ret_kind = kind;
    return 0;
}

static const char *const kind_names[] = {
    [MSG_HELLO] = "hello",
    [MSG_HELLO_ACK] = "hello_ack",
    [MSG_AUTH] = "auth",
    [MSG_ERROR] = "error",
    [MSG_PING] = "ping",
    [MSG_PONG] = "pong",
    [MSG_APPEND_ENTRIES] = "append_entries",
    [MSG_APPEND_ENTRIES_RESULT] = "append_entries_result",
    [MSG_REQUEST_VOTE] = "request_vote",
    [MSG_REQUEST_VOTE_RESULT] = "request_vote_result",
    [MSG_INSTALL_SNAPSHOT] = "install_snapshot",
    [MSG_TIMEOUT_NOW] = "timeout_now",
    [MSG_PROBE] = "probe",
    [MSG_PROBE_RESULT] = "probe_result",
    [MSG_PULSE] = "pulse",
    [MSG_READ_ASK] = "read_ask",
    [MSG_READ_ANSWER] = "read_answer",
    [MSG_MEMBER_ASK] = "member_ask",
    [MSG_MEMBER_ANSWER] = "member_answer",
    [MSG_MERGE] = "merge",
    [MSG_SNAPSHOT_BEGIN] = "snapshot_begin",
    [MSG_SNAPSHOT_CHUNK] = "snapshot_chunk",
    [MSG_SNAPSHOT_END] = "snapshot_end",
    [MSG_SNAPSHOT_ACK] = "snapshot_ack",
    [MSG_SNAPSHOT_RESUME] = "snapshot_resume",
    [MSG_STORE_BEAT] = "store_beat",
    [MSG_RANGE_BEAT] = "range_beat",
    [MSG_DRIVER_WORD] = "driver_word",
    [MSG_DRIVER_AT] = "driver_at",
    [MSG_STEP_DONE] = "step_done",
    [MSG_REQUEST] = "request",
    [MSG_RESPONSE] = "response",
};

const char *msg_kind_name(uint32_t kind)
{
    bool is_known = kind < ARRAY_LEN(kind_names) && kind_names[kind] != NULL;
    return is_known ? kind_names[kind] : "unknown";
}
