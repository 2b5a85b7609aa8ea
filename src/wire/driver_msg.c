/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/driver_msg.h"

#include "wire/msg_internal.h"

/* ---- stores ----------------------------------------------------------------------- */

#define PEER_AT(m) offsetof(struct book_item, m)
static const struct msg_field peer_fields[] = {
    {1, MSG_U64, PEER_AT(store_id), 0},
    {2, MSG_U64, PEER_AT(version), 0},
    {3, MSG_BOOL, PEER_AT(is_removed), 0},
    {4, MSG_FIXED, PEER_AT(store_uuid), STORE_UUID_LEN},
    {5, MSG_TEXT, PEER_AT(address), ADDRESS_MAX},
};
static const struct msg_table peer_table = MSG_TABLE("book_item", peer_fields);

void book_item_append(struct buf *raw, const struct book_item *peer)
{
    ASSERT(peer->store_id > 0);
    ASSERT(peer->address.len > 0 && peer->address.len <= ADDRESS_MAX);
    struct pack_fields f = pack_fields_begin(raw);
    msg_write_fields(&f, &peer_table, peer);
    pack_fields_end(&f);
}

void book_item_next(struct unpack *cursor, struct book_item *ret_peer)
{
    *ret_peer = (struct book_item){0};
    msg_read_map(cursor, &peer_table, ret_peer);
    struct slice address = ret_peer->address;
    if (ret_peer->store_id == 0 || address.len == 0 ||
        (address.len > 0 && memchr(address.data, 0, address.len) != NULL))
        cursor->bad = true;
}

#define BEAT_AT(m) offsetof(struct store_beat, m)
static const struct msg_field beat_fields[] = {
    {1, MSG_U64, BEAT_AT(seq), 0},
    {2, MSG_U64, BEAT_AT(term), 0},
    {3, MSG_U64, BEAT_AT(boot), 0},
    {4, MSG_TEXT, BEAT_AT(address), ADDRESS_MAX},
    {5, MSG_TEXT, BEAT_AT(labels), BEAT_LABELS_MAX},
    {6, MSG_U64, BEAT_AT(capacity), 0},
    {7, MSG_U64, BEAT_AT(free_bytes), 0},
    {8, MSG_U32, BEAT_AT(mark), 0},
    {9, MSG_U64, BEAT_AT(requests), 0},
    {10, MSG_U64, BEAT_AT(write_bytes), 0},
    {11, MSG_U32, BEAT_AT(snapshots_in), 0},
    {12, MSG_U32, BEAT_AT(snapshots_out), 0},
    {13, MSG_BOOL, BEAT_AT(is_stalled), 0},
    {14, MSG_FIXED, BEAT_AT(store_uuid), STORE_UUID_LEN},
    {15, MSG_U32, BEAT_AT(level), 0},
    {16, MSG_U32, BEAT_AT(lead), 0},
};
static const struct msg_table beat_table = MSG_TABLE("store_beat", beat_fields);

void store_beat_encode(struct buf *buf, const struct store_beat *beat)
{
    ASSERT(beat->address.len > 0);
    msg_write(buf, MSG_STORE_BEAT, &beat_table, beat);
}

int store_beat_decode(struct slice body, struct store_beat *ret_beat, struct err *err)
{
    struct store_beat beat = {0};
    int rv = msg_read(body, MSG_STORE_BEAT, &beat_table, &beat, err);
    if (rv != 0)
        return rv;
    if (beat.address.len == 0 || memchr(beat.address.data, 0, beat.address.len) != NULL)
        return err_set(err, ERR_CORRUPT, "store_beat without an address");
    *ret_beat = beat;
    return 0;
}

/* ---- ranges ----------------------------------------------------------------------- */

#define RANGE_AT(m) offsetof(struct range_state, m)
static const struct msg_field range_fields[] = {
    {1, MSG_U64, RANGE_AT(range_id), 0},
    {2, MSG_BIN, RANGE_AT(start), DESCRIPTOR_KEY_MAX},
    {3, MSG_BIN, RANGE_AT(end), DESCRIPTOR_KEY_MAX},
    {4, MSG_U64, RANGE_AT(conf_epoch), 0},
    {5, MSG_U64, RANGE_AT(span_epoch), 0},
    {6, MSG_U64, RANGE_AT(term), 0},
    {7, MSG_U64, RANGE_AT(replica_id), 0},
    {8, MSG_BOOL, RANGE_AT(is_leader), 0},
    {9, MSG_U64, RANGE_AT(bytes), 0},
    {10, MSG_U64, RANGE_AT(keys), 0},
    {11, MSG_U64, RANGE_AT(requests), 0},
    {12, MSG_U64, RANGE_AT(write_bytes), 0},
    {13, MSG_U64, RANGE_AT(last_index), 0},
    {15, MSG_BOOL, RANGE_AT(is_asleep), 0},
    {16, MSG_U64, RANGE_AT(retention_ms), 0},
};
static const struct msg_table range_table = MSG_TABLE("range_state", range_fields);
enum { RANGE_FIELD_MEMBERS = 14, MEMBER_NUMBERS = 5 };

static void members_append(struct buf *raw, const struct range_state *range)
{
    ASSERT(range->member_count <= DESCRIPTOR_MEMBERS_MAX);
    pack_array(raw, MEMBER_NUMBERS * range->member_count);
    for (uint32_t i = 0; i < range->member_count; i++) {
        const struct range_member *m = &range->members[i];
        pack_uint(raw, m->replica_id);
        pack_uint(raw, m->store_id);
        pack_uint(raw, m->role);
        pack_uint(raw, m->match);
        pack_uint(raw, m->age_ms);
    }
}

static void members_of(struct unpack *u, struct range_state *range)
{
    uint32_t count = unpack_array(u);
    if (count % MEMBER_NUMBERS != 0 || count > MEMBER_NUMBERS * DESCRIPTOR_MEMBERS_MAX)
        u->bad = true;
    range->member_count = u->bad ? 0 : count / MEMBER_NUMBERS;
    for (uint32_t i = 0; i < range->member_count && !u->bad; i++) {
        struct range_member *m = &range->members[i];
        m->replica_id = unpack_uint(u);
        m->store_id = unpack_uint(u);
        m->role = (enum member_role)unpack_uint_max(u, MEMBER_ROLE_LAST);
        m->match = unpack_uint(u);
        m->age_ms = (uint32_t)unpack_uint_max(u, UINT32_MAX);
        if (m->replica_id == 0 || m->store_id == 0 || m->role == 0)
            u->bad = true;
    }
}

void range_state_append(struct buf *raw, const struct range_state *range)
{
    ASSERT(range->range_id > 0 && range->replica_id > 0);
    struct pack_fields f = pack_fields_begin(raw);
    msg_write_fields(&f, &range_table, range);
    pack_field(&f, RANGE_FIELD_MEMBERS);
    members_append(raw, range);
    pack_fields_end(&f);
}

void range_state_next(struct unpack *cursor, struct range_state *ret_range)
{
    struct range_state *r = ret_range;
    *r = (struct range_state){0};
    uint64_t key;
    struct msg_pairs pairs = msg_pairs_begin(cursor);
    while (msg_read_fields(cursor, &pairs, &range_table, r, &key)) {
        if (key == RANGE_FIELD_MEMBERS)
            members_of(cursor, r);
        else
            unpack_skip(cursor);
    }
    if (r->range_id == 0 || r->replica_id == 0 || r->conf_epoch == 0 || r->span_epoch == 0 ||
        r->start.len == 0 || slice_compare(r->start, r->end) >= 0)
        cursor->bad = true;
}

#define RANGES_AT(m) offsetof(struct range_beat, m)
static const struct msg_field ranges_fields[] = {
    {1, MSG_U64, RANGES_AT(term), 0},
    {2, MSG_BOOL, RANGES_AT(is_report), 0},
    {3, MSG_BOOL, RANGES_AT(is_last), 0},
    {4, MSG_U32, RANGES_AT(chunk), 0},
    {5, MSG_LIST, RANGES_AT(ranges), BEAT_RANGES_MAX},
};
static const struct msg_table ranges_table = MSG_TABLE("range_beat", ranges_fields);

void range_beat_encode(struct buf *buf, const struct range_beat *beat)
{
    msg_write(buf, MSG_RANGE_BEAT, &ranges_table, beat);
}

int range_beat_decode(struct slice body, struct range_beat *ret_beat, struct err *err)
{
    struct range_beat beat = {0};
    struct range_state range;
    int rv = msg_read(body, MSG_RANGE_BEAT, &ranges_table, &beat, err);
    if (rv != 0)
        return rv;
    struct unpack u = unpack_of(beat.ranges.raw);
    for (uint32_t i = 0; i < beat.ranges.count && !u.bad; i++)
        range_state_next(&u, &range);
    rv = unpack_finish(&u, "range_state", err);
    if (rv == 0)
        *ret_beat = beat;
    return rv;
}

/* ---- what placement says ------------------------------------------------------------ */

#define STEP_AT(m) offsetof(struct step_order, m)
static const struct msg_field step_fields[] = {
    {1, MSG_U64, STEP_AT(operator_id), 0},
    {2, MSG_U32, STEP_AT(number), 0},
    {3, MSG_U64, STEP_AT(range_id), 0},
    {4, MSG_U64, STEP_AT(conf_epoch), 0},
    {5, MSG_U64, STEP_AT(span_epoch), 0},
    {6, MSG_ENUM, STEP_AT(kind), STEP_KIND_LAST},
    {7, MSG_U64, STEP_AT(replica_id), 0},
    {8, MSG_U64, STEP_AT(store_id), 0},
    {9, MSG_BIN, STEP_AT(key), DESCRIPTOR_KEY_MAX},
    {10, MSG_U64, STEP_AT(new_range_id), 0},
    {11, MSG_BOOL, STEP_AT(is_by_load), 0},
    {12, MSG_U64, STEP_AT(right_conf_epoch), 0},
    {13, MSG_U64, STEP_AT(right_span_epoch), 0},
    {15, MSG_U64, STEP_AT(retention_ms), 0},
};
static const struct msg_table step_table = MSG_TABLE("step_order", step_fields);
enum { STEP_FIELD_CHILDREN = 14 };

void step_order_append(struct buf *raw, const struct step_order *step)
{
    ASSERT(step->kind > 0 && step->operator_id > 0 && step->range_id > 0);
    ASSERT(step->child_count <= DESCRIPTOR_MEMBERS_MAX);
    struct pack_fields f = pack_fields_begin(raw);
    msg_write_fields(&f, &step_table, step);
    if (step->child_count > 0) {
        pack_field(&f, STEP_FIELD_CHILDREN);
        pack_array(raw, 2 * step->child_count);
        for (uint32_t i = 0; i < step->child_count; i++) {
            pack_uint(raw, step->children[i].store_id);
            pack_uint(raw, step->children[i].replica_id);
        }
    }
    pack_fields_end(&f);
}

static void step_children_read(struct unpack *u, struct step_order *step)
{
    uint32_t count = unpack_array(u);
    if (count % 2 != 0 || count > 2 * DESCRIPTOR_MEMBERS_MAX)
        u->bad = true;
    step->child_count = u->bad ? 0 : count / 2;
    for (uint32_t i = 0; i < step->child_count && !u->bad; i++) {
        step->children[i].store_id = unpack_uint(u);
        step->children[i].replica_id = unpack_uint(u);
    }
}

/* Does it name what its kind needs? */
static bool step_is_whole(const struct step_order *s)
{
    if (s->operator_id == 0 || s->range_id == 0 || s->conf_epoch == 0 || s->span_epoch == 0)
        return false;
    switch (s->kind) {
    case STEP_ADD_LEARNER:
        return s->replica_id > 0 && s->store_id > 0;
    case STEP_PROMOTE:
    case STEP_REMOVE:
    case STEP_TRANSFER:
        return s->replica_id > 0;
    case STEP_SPLIT:
        return s->new_range_id > 0 && s->child_count > 0;
    case STEP_MERGE:
        return s->new_range_id > 0 && s->right_conf_epoch > 0 && s->right_span_epoch > 0;
    case STEP_RETAIN:
        return s->retention_ms > 0;
    }
    return false;
}

void step_order_next(struct unpack *cursor, struct step_order *ret_step)
{
    *ret_step = (struct step_order){0};
    uint64_t key;
    struct msg_pairs pairs = msg_pairs_begin(cursor);
    while (msg_read_fields(cursor, &pairs, &step_table, ret_step, &key)) {
        if (key == STEP_FIELD_CHILDREN)
            step_children_read(cursor, ret_step);
        else
            unpack_skip(cursor);
    }
    if (!step_is_whole(ret_step))
        cursor->bad = true;
}

#define WORD_AT(m) offsetof(struct driver_word, m)
static const struct msg_field word_fields[] = {
    {1, MSG_U64, WORD_AT(term), 0},
    {2, MSG_U64, WORD_AT(seq), 0},
    {3, MSG_ENUM, WORD_AT(verdict), DRIVER_VERDICT_LAST},
    {6, MSG_BOOL, WORD_AT(wants_report), 0},
    {7, MSG_U32, WORD_AT(report_chunk), 0},
    {8, MSG_BOOL, WORD_AT(is_draining), 0},
    {4, MSG_LIST, WORD_AT(peers), BOOK_ITEMS_MAX},
    {5, MSG_LIST, WORD_AT(steps), WORD_STEPS_MAX},
};
static const struct msg_table word_table = MSG_TABLE("driver_word", word_fields);

void driver_word_encode(struct buf *buf, const struct driver_word *word)
{
    ASSERT(word->term > 0);
    msg_write(buf, MSG_DRIVER_WORD, &word_table, word);
}

int driver_word_decode(struct slice body, struct driver_word *ret_word, struct err *err)
{
    struct driver_word word = {0};
    struct book_item peer;
    struct step_order step;
    int rv = msg_read(body, MSG_DRIVER_WORD, &word_table, &word, err);
    if (rv != 0)
        return rv;
    struct unpack u = unpack_of(word.peers.raw);
    for (uint32_t i = 0; i < word.peers.count && !u.bad; i++)
        book_item_next(&u, &peer);
    rv = unpack_finish(&u, "book_item", err);
    u = unpack_of(word.steps.raw);
    for (uint32_t i = 0; rv == 0 && i < word.steps.count && !u.bad; i++)
        step_order_next(&u, &step);
    if (rv == 0)
        rv = unpack_finish(&u, "step_order", err);
    if (rv == 0 && (word.term == 0 || (word.seq > 0 && word.verdict == 0)))
        rv = err_set(err, ERR_CORRUPT, "driver_word without term or verdict");
    if (rv == 0)
        *ret_word = word;
    return rv;
}

static const struct msg_field at_fields[] = {
    {1, MSG_U64, offsetof(struct driver_at, store_id), 0},
};
static const struct msg_table at_table = MSG_TABLE("driver_at", at_fields);

void driver_at_encode(struct buf *buf, const struct driver_at *at)
{
    msg_write(buf, MSG_DRIVER_AT, &at_table, at);
}

int driver_at_decode(struct slice body, struct driver_at *ret_at, struct err *err)
{
    struct driver_at at = {0};
    int rv = msg_read(body, MSG_DRIVER_AT, &at_table, &at, err);
    if (rv == 0)
        *ret_at = at;
    return rv;
}

#define DONE_AT(m) offsetof(struct step_done, m)
static const struct msg_field done_fields[] = {
    {1, MSG_U64, DONE_AT(term), 0},        {2, MSG_U64, DONE_AT(range_id), 0},
    {3, MSG_U64, DONE_AT(operator_id), 0}, {4, MSG_U32, DONE_AT(number), 0},
    {5, MSG_CODE, DONE_AT(status), 0},     {6, MSG_TEXT, DONE_AT(text), TEXT_MAX},
};
static const struct msg_table done_table = MSG_TABLE("step_done", done_fields);

void step_done_encode(struct buf *buf, const struct step_done *done)
{
    ASSERT(done->operator_id > 0 && done->range_id > 0);
    msg_write(buf, MSG_STEP_DONE, &done_table, done);
}

int step_done_decode(struct slice body, struct step_done *ret_done, struct err *err)
{
    struct step_done done = {0};
    int rv = msg_read(body, MSG_STEP_DONE, &done_table, &done, err);
    if (rv != 0)
        return rv;
    if (done.operator_id == 0 || done.range_id == 0)
        return err_set(err, ERR_CORRUPT, "step_done of nothing");
    *ret_done = done;
    return 0;
}
