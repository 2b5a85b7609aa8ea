/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/pulse_msg.h"

#include "wire/msg_internal.h"
#include "wire/peer_msg.h"

/* An item is an array of numbers: what all kinds have, then what its kind adds. A later
 * version may add numbers at the end. */
enum { ITEM_HEAD = 5 };

static uint32_t numbers_of(enum pulse_kind kind)
{
    switch (kind) {
    case PULSE_BEAT:
    case PULSE_REST:
        return ITEM_HEAD + 4;
    case PULSE_RESULT:
        return ITEM_HEAD + 5;
    case PULSE_RESTED:
        return ITEM_HEAD + 1;
    case PULSE_WAKE:
        break;
    }
    return ITEM_HEAD;
}

void pulse_item_append(struct buf *raw, const struct pulse_item *item)
{
    ASSERT(item->kind >= PULSE_BEAT && item->kind <= PULSE_KIND_LAST);
    ASSERT(item->group > 0 && item->from_replica > 0 && item->to_replica > 0);
    pack_array(raw, numbers_of(item->kind));
    pack_uint(raw, item->kind);
    pack_uint(raw, item->group);
    pack_uint(raw, item->from_replica);
    pack_uint(raw, item->to_replica);
    pack_uint(raw, item->term);
    if (item->kind == PULSE_WAKE)
        return;
    pack_uint(raw, item->index);
    if (item->kind == PULSE_RESTED)
        return;
    pack_uint(raw, item->version);
    if (item->kind == PULSE_RESULT) {
        pack_uint(raw, item->rejected);
        pack_uint(raw, item->features);
        pack_uint(raw, item->capacity);
        return;
    }
    pack_uint(raw, item->prev_term);
    pack_uint(raw, item->commit);
}

static void read_rest(struct unpack *u, struct pulse_item *item)
{
    if (item->kind == PULSE_WAKE)
        return;
    item->index = unpack_uint_max(u, PEER_NUMBER_MAX);
    if (item->kind == PULSE_RESTED)
        return;
    item->version = (uint8_t)unpack_uint_max(u, UINT8_MAX);
    if (item->kind == PULSE_RESULT) {
        item->rejected = unpack_uint_max(u, PEER_NUMBER_MAX);
        item->features = (uint16_t)unpack_uint_max(u, UINT16_MAX);
        item->capacity = (uint16_t)unpack_uint_max(u, UINT16_MAX);
        return;
    }
    item->prev_term = unpack_uint_max(u, PEER_NUMBER_MAX);
    item->commit = unpack_uint_max(u, PEER_NUMBER_MAX);
}

void pulse_item_next(struct unpack *u, struct pulse_item *ret_item)
{
    uint32_t count = unpack_array(u);
    *ret_item = (struct pulse_item){
        .kind = (enum pulse_kind)unpack_uint_max(u, PULSE_KIND_LAST),
        .group = unpack_uint_max(u, PEER_NUMBER_MAX),
        .from_replica = unpack_uint_max(u, PEER_NUMBER_MAX),
        .to_replica = unpack_uint_max(u, PEER_NUMBER_MAX),
        .term = unpack_uint_max(u, PEER_NUMBER_MAX),
    };
    if (u->bad || ret_item->kind < PULSE_BEAT || count < numbers_of(ret_item->kind) ||
        ret_item->group == 0 || ret_item->from_replica == 0 || ret_item->to_replica == 0) {
        u->bad = true;
        return;
    }
    read_rest(u, ret_item);
    for (uint32_t i = numbers_of(ret_item->kind); i < count && !u->bad; i++)
        unpack_skip(u);
}

#define PULSE_AT(m) offsetof(struct pulse, m)
static const struct msg_field pulse_fields[] = {
    {1, MSG_U64, PULSE_AT(boot), 0},
    {2, MSG_LIST, PULSE_AT(items), PULSE_ITEMS_MAX},
};
static const struct msg_table pulse_table = MSG_TABLE("pulse", pulse_fields);

void pulse_encode(struct buf *buf, const struct pulse *pulse)
{
    ASSERT(pulse->boot > 0);
    msg_write(buf, MSG_PULSE, &pulse_table, pulse);
}

int pulse_decode(struct slice body, struct pulse *ret_pulse, struct err *err)
{
    struct pulse pulse = {0};
    struct pulse_item item;
    int rv = msg_read(body, MSG_PULSE, &pulse_table, &pulse, err);
    if (rv != 0)
        return rv;
    if (pulse.boot == 0)
        return err_set(err, ERR_CORRUPT, "pulse of no life");
    struct unpack u = unpack_of(pulse.items.raw);
    for (uint32_t i = 0; i < pulse.items.count && !u.bad; i++)
        pulse_item_next(&u, &item);
    rv = unpack_finish(&u, "pulse_item", err);
    if (rv == 0)
        *ret_pulse = pulse;
    return rv;
}
