/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/message.h"

bool cons_msg_is_urgent(const struct cons_msg *msg)
{
    switch (msg->type) {
    case CONS_MSG_APPEND:
        return msg->append.n == 0;
    case CONS_MSG_SNAPSHOT:
        return false;
    default:
        return true;
    }
}

const char *cons_msg_name(enum cons_msg_type type)
{
    static const char *const names[CONS_MSG_TYPE_NR] = {
        [CONS_MSG_APPEND] = "append",     [CONS_MSG_APPEND_RESULT] = "append_result",
        [CONS_MSG_VOTE] = "vote",         [CONS_MSG_VOTE_RESULT] = "vote_result",
        [CONS_MSG_SNAPSHOT] = "snapshot", [CONS_MSG_TIMEOUT_NOW] = "timeout_now",
        [CONS_MSG_PROBE] = "probe",       [CONS_MSG_PROBE_RESULT] = "probe_result",
        [CONS_MSG_READ_ASK] = "read_ask", [CONS_MSG_READ_ANSWER] = "read_answer",
    };
    if ((unsigned)type >= CONS_MSG_TYPE_NR || names[type] == NULL)
        return "unknown";
    return names[type];
}
