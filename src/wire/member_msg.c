/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/member_msg.h"

#include "wire/msg_internal.h"

#define ASK_AT(m) offsetof(struct member_ask, m)
static const struct msg_field ask_fields[] = {
    {1, MSG_U64, ASK_AT(group), 0},
    {2, MSG_U64, ASK_AT(replica_id), 0},
    {3, MSG_U64, ASK_AT(conf_epoch), 0},
    {4, MSG_BOOL, ASK_AT(is_asleep), 0},
};
static const struct msg_table ask_table = MSG_TABLE("member_ask", ask_fields);

#define ANSWER_AT(m) offsetof(struct member_answer, m)
static const struct msg_field answer_fields[] = {
    {1, MSG_U64, ANSWER_AT(group), 0},
    {2, MSG_U64, ANSWER_AT(replica_id), 0},
    {3, MSG_ENUM, ANSWER_AT(verdict), MEMBER_VERDICT_LAST},
    {4, MSG_U64, ANSWER_AT(conf_epoch), 0},
    {5, MSG_U64, ANSWER_AT(store_id), 0},
    {6, MSG_U64, ANSWER_AT(into_range), 0},
    {7, MSG_U64, ANSWER_AT(span_epoch), 0},
};
static const struct msg_table answer_table = MSG_TABLE("member_answer", answer_fields);

void member_ask_encode(struct buf *buf, const struct member_ask *ask)
{
    ASSERT(ask->group > 0);
    ASSERT(ask->replica_id > 0);
    msg_write(buf, MSG_MEMBER_ASK, &ask_table, ask);
}

int member_ask_decode(struct slice body, struct member_ask *ret_ask, struct err *err)
{
    struct member_ask ask = {0};
    int rv = msg_read(body, MSG_MEMBER_ASK, &ask_table, &ask, err);
    if (rv != 0)
        return rv;
    if (ask.group == 0 || ask.replica_id == 0)
        return err_set(err, ERR_CORRUPT, "member_ask of nobody");
    *ret_ask = ask;
    return 0;
}

void member_answer_encode(struct buf *buf, const struct member_answer *answer)
{
    ASSERT(answer->group > 0 && answer->replica_id > 0);
    ASSERT(answer->verdict >= MEMBER_GONE && answer->verdict <= MEMBER_VERDICT_LAST);
    msg_write(buf, MSG_MEMBER_ANSWER, &answer_table, answer);
}

static bool is_whole(const struct member_answer *answer)
{
    switch (answer->verdict) {
    case MEMBER_GONE:
        return answer->conf_epoch > 0;
    case MEMBER_ASK:
        return answer->store_id > 0;
    case MEMBER_ENDED:
        return answer->into_range > 0 && answer->span_epoch > 0;
    case MEMBER_NOT_LED:
        return true;
    }
    return false;
}

int member_answer_decode(struct slice body, struct member_answer *ret_answer, struct err *err)
{
    struct member_answer answer = {0};
    int rv = msg_read(body, MSG_MEMBER_ANSWER, &answer_table, &answer, err);
    if (rv != 0)
        return rv;
    if (answer.group == 0 || answer.replica_id == 0 || !is_whole(&answer))
        return err_set(err, ERR_CORRUPT, "member_answer that says nothing");
    *ret_answer = answer;
    return 0;
}
