/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/descriptor.h"

#include "wire/msg_internal.h"

#define MEMBER_AT(m) offsetof(struct member, m)
static const struct msg_field member_fields[] = {
    {1, MSG_U64, MEMBER_AT(replica_id), 0},
    {2, MSG_U64, MEMBER_AT(store_id), 0},
    {3, MSG_ENUM, MEMBER_AT(role), MEMBER_ROLE_LAST},
    {4, MSG_FIXED, MEMBER_AT(store_uuid), STORE_UUID_LEN},
    {5, MSG_TEXT, MEMBER_AT(address), ADDRESS_MAX},
};
static const struct msg_table member_table = MSG_TABLE("member", member_fields);

#define DESCRIPTOR_AT(m) offsetof(struct descriptor, m)
static const struct msg_field descriptor_fields[] = {
    {1, MSG_U64, DESCRIPTOR_AT(range_id), 0},
    {2, MSG_BIN, DESCRIPTOR_AT(start), DESCRIPTOR_KEY_MAX},
    {3, MSG_BIN, DESCRIPTOR_AT(end), DESCRIPTOR_KEY_MAX},
    {4, MSG_U64, DESCRIPTOR_AT(conf_epoch), 0},
    {5, MSG_U64, DESCRIPTOR_AT(span_epoch), 0},
};
static const struct msg_table descriptor_table = MSG_TABLE("descriptor", descriptor_fields);
enum { DESCRIPTOR_FIELD_MEMBERS = 6 };

void member_encode(struct buf *buf, const struct member *member)
{
    ASSERT(member->replica_id > 0 && member->store_id > 0);
    ASSERT(member->address.len > 0 && member->address.len <= ADDRESS_MAX);
    struct pack_fields f = pack_fields_begin(buf);
    msg_write_fields(&f, &member_table, member);
    pack_fields_end(&f);
}

void members_encode(struct buf *buf, const struct member *members, uint32_t count)
{
    ASSERT(count <= DESCRIPTOR_MEMBERS_MAX);
    pack_array(buf, count);
    for (uint32_t i = 0; i < count; i++)
        member_encode(buf, &members[i]);
}

void descriptor_encode(struct buf *buf, const struct descriptor *descriptor)
{
    struct pack_fields f = pack_fields_begin(buf);
    msg_write_fields(&f, &descriptor_table, descriptor);
    pack_field(&f, DESCRIPTOR_FIELD_MEMBERS);
    members_encode(buf, descriptor->members, descriptor->member_count);
    pack_fields_end(&f);
}

void member_read(struct unpack *u, struct member *ret_member)
{
    *ret_member = (struct member){0};
    msg_read_map(u, &member_table, ret_member);
    const struct member *m = ret_member;
    if (m->replica_id == 0 || m->store_id == 0 || m->role == 0 || m->address.len == 0)
        u->bad = true;
}

static bool member_is_twice(const struct member *members, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (members[i].replica_id == members[index].replica_id ||
            members[i].store_id == members[index].store_id)
            return true;
    }
    return false;
}

uint32_t members_read(struct unpack *u, struct member *members)
{
    uint32_t count = unpack_array(u);
    if (count > DESCRIPTOR_MEMBERS_MAX)
        u->bad = true;
    for (uint32_t i = 0; i < count && !u->bad; i++) {
        member_read(u, &members[i]);
        if (member_is_twice(members, i))
            u->bad = true;
    }
    return u->bad ? 0 : count;
}

void descriptor_read(struct unpack *u, struct descriptor *ret_descriptor)
{
    struct descriptor *d = ret_descriptor;
    *d = (struct descriptor){0};
    uint64_t key;
    struct msg_pairs pairs = msg_pairs_begin(u);
    while (msg_read_fields(u, &pairs, &descriptor_table, d, &key)) {
        if (key == DESCRIPTOR_FIELD_MEMBERS)
            d->member_count = members_read(u, d->members);
        else
            unpack_skip(u);
    }
    if (d->range_id == 0 || (d->end.len > 0 && slice_compare(d->start, d->end) >= 0))
        u->bad = true;
}

int descriptor_decode(struct slice in, struct descriptor *ret_descriptor, struct err *err)
{
    struct unpack u = unpack_of(in);
    struct descriptor d;
    descriptor_read(&u, &d);
    int rv = unpack_finish(&u, "descriptor", err);
    if (rv == 0)
        *ret_descriptor = d;
    return rv;
}

const struct member *descriptor_member(const struct descriptor *descriptor, uint64_t replica_id)
{
    ASSERT(descriptor->member_count <= DESCRIPTOR_MEMBERS_MAX);
    for (uint32_t i = 0; i < descriptor->member_count; i++) {
        if (descriptor->members[i].replica_id == replica_id)
            return &descriptor->members[i];
    }
    return NULL;
}

bool descriptor_has_key(const struct descriptor *descriptor, struct slice key)
{
    return slice_compare(key, descriptor->start) >= 0 &&
           (descriptor->end.len == 0 || slice_compare(key, descriptor->end) < 0);
}

struct slice descriptor_cut_at(struct slice bound, uint8_t *out)
{
    size_t len = DESCRIPTOR_CUT_MAX;
    if (bound.len <= len)
        return bound;
    memcpy(out, bound.data, len);
    while (len > 0 && out[len - 1] == 0xff)
        len--;
    if (len > 0)
        out[len - 1]++;
    return slice_of(out, len);
}

struct slice descriptor_key_below(struct slice place, uint8_t *out)
{
    size_t len = MIN(place.len, (size_t)DESCRIPTOR_CUT_MAX);
    if (len > 0)
        memcpy(out, place.data, len);
    if (len == 0 || len < place.len)
        return slice_of(out, len);
    if (out[len - 1] == 0)
        return slice_of(out, len - 1);
    out[len - 1]--;
    memset(out + len, 0xff, DESCRIPTOR_CUT_MAX - len);
    return slice_of(out, DESCRIPTOR_CUT_MAX);
}
