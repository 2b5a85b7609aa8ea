/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/merge_msg.h"

#include "wire/msg_internal.h"

#define AT(m) offsetof(struct merge_msg, m)
static const struct msg_field fields[] = {
    {1, MSG_ENUM, AT(verb), MERGE_VERB_LAST},
    {2, MSG_U64, AT(attempt), 0},
    {3, MSG_U64, AT(left_range), 0},
    {4, MSG_U64, AT(right_range), 0},
    {5, MSG_U64, AT(left_conf), 0},
    {6, MSG_U64, AT(left_span), 0},
    {7, MSG_U64, AT(right_conf), 0},
    {8, MSG_U64, AT(right_span), 0},
    {9, MSG_U64, AT(number), 0},
    {10, MSG_U64, AT(term), 0},
    {11, MSG_CODE, AT(status), 0},
    {12, MSG_TEXT, AT(text), TEXT_MAX},
    {13, MSG_BIN, AT(key), DESCRIPTOR_KEY_MAX},
    {14, MSG_LIST, AT(seats), 2 * DESCRIPTOR_MEMBERS_MAX},
};
static const struct msg_table table = MSG_TABLE("merge", fields);

void merge_msg_encode(struct buf *buf, const struct merge_msg *msg)
{
    ASSERT(msg->verb > 0 && msg->verb <= MERGE_VERB_LAST);
    ASSERT(msg->attempt > 0 && msg->right_range > 0);
    msg_write(buf, MSG_MERGE, &table, msg);
}

void merge_seat_append(struct pack_list *seats, struct buf *raw, uint64_t store_id,
                       enum member_role role)
{
    pack_uint(raw, store_id);
    pack_uint(raw, role);
    seats->count += 2;
    seats->raw = buf_slice(raw);
}

void merge_seat_next(struct unpack *cursor, uint64_t *ret_store_id, enum member_role *ret_role)
{
    *ret_store_id = unpack_uint(cursor);
    *ret_role = (enum member_role)unpack_uint(cursor);
}

static bool seats_are_fine(const struct pack_list *seats)
{
    struct unpack u = unpack_of(seats->raw);
    if (seats->count == 0 || seats->count % 2 != 0)
        return false;
    for (uint32_t i = 0; i < seats->count / 2; i++) {
        uint64_t store_id = unpack_uint(&u);
        uint64_t role = unpack_uint(&u);
        if (u.bad || store_id == 0 || role == 0 || role > MEMBER_ROLE_LAST)
            return false;
    }
    return u.left == 0;
}

/* Does it say what its verb is for? */
static bool is_whole(const struct merge_msg *msg)
{
    if (msg->attempt == 0 || msg->right_range == 0)
        return false;
    switch (msg->verb) {
    case MERGE_PREPARE:
        return msg->left_range > 0 && msg->key.len > 0 && seats_are_fine(&msg->seats);
    case MERGE_READY:
        return msg->left_range > 0 && msg->number > 0 && msg->term > 0;
    case MERGE_REFUSED:
        return msg->left_range > 0 && msg->status < 0;
    case MERGE_ASK:
        return msg->key.len > 0;
    case MERGE_ABORTED:
        return true;
    case MERGE_GONE_ASK:
    case MERGE_GONE:
        return msg->left_range > 0 && msg->number > 0;
    }
    return false;
}

int merge_msg_decode(struct slice body, struct merge_msg *ret_msg, struct err *err)
{
    struct merge_msg msg = {0};
    int rv = msg_read(body, MSG_MERGE, &table, &msg, err);
    if (rv == 0 && !is_whole(&msg))
        rv = err_set(err, ERR_CORRUPT, "a message about a merge that says nothing");
    if (rv == 0)
        *ret_msg = msg;
    return rv;
}
