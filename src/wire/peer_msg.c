/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/peer_msg.h"

#include "wire/msg_internal.h"

/* Keys 1 to 3 and 11 to 13 are the same in every kind; version and term too, where they are. */
#define AT(m) offsetof(struct peer_msg, m)
#define ROUTE_ROWS                                                                                 \
    {1, MSG_U64, AT(group), PEER_NUMBER_MAX}, {2, MSG_U64, AT(from_replica), PEER_NUMBER_MAX},     \
        {3, MSG_U64, AT(to_replica), PEER_NUMBER_MAX},                                             \
        {11, MSG_BIN, AT(span_start), DESCRIPTOR_KEY_MAX},                                         \
        {12, MSG_BIN, AT(span_end), DESCRIPTOR_KEY_MAX},                                           \
    {                                                                                              \
        13, MSG_U64, AT(conf_epoch), 0                                                             \
    }

static const struct msg_field append_entries_fields[] = {
    ROUTE_ROWS,
    {4, MSG_U8, AT(append_entries.version), 0},
    {5, MSG_U64, AT(append_entries.term), PEER_NUMBER_MAX},
    {6, MSG_U64, AT(append_entries.prev_log_index), PEER_NUMBER_MAX},
    {7, MSG_U64, AT(append_entries.prev_log_term), PEER_NUMBER_MAX},
    {8, MSG_U64, AT(append_entries.leader_commit), PEER_NUMBER_MAX},
};
enum { FIELD_ENTRIES = 9 }; /* [term, type, data, term, type, data, …] */

static const struct msg_field append_entries_result_fields[] = {
    ROUTE_ROWS,
    {4, MSG_U8, AT(append_entries_result.version), 0},
    {5, MSG_U64, AT(append_entries_result.term), PEER_NUMBER_MAX},
    {6, MSG_U64, AT(append_entries_result.rejected), PEER_NUMBER_MAX},
    {7, MSG_U64, AT(append_entries_result.last_log_index), PEER_NUMBER_MAX},
    {8, MSG_U16, AT(append_entries_result.features), 0},
    {9, MSG_U16, AT(append_entries_result.capacity), 0},
};

static const struct msg_field request_vote_fields[] = {
    ROUTE_ROWS,
    {4, MSG_U8, AT(request_vote.version), 0},
    {5, MSG_U64, AT(request_vote.term), PEER_NUMBER_MAX},
    {6, MSG_U64, AT(request_vote.candidate_id), PEER_NUMBER_MAX},
    {7, MSG_U64, AT(request_vote.last_log_index), PEER_NUMBER_MAX},
    {8, MSG_U64, AT(request_vote.last_log_term), PEER_NUMBER_MAX},
    {9, MSG_BOOL, AT(request_vote.disrupt_leader), 0},
    {10, MSG_BOOL, AT(request_vote.pre_vote), 0},
};

static const struct msg_field request_vote_result_fields[] = {
    ROUTE_ROWS,
    {4, MSG_U8, AT(request_vote_result.version), 0},
    {5, MSG_U64, AT(request_vote_result.term), PEER_NUMBER_MAX},
    {6, MSG_BOOL, AT(request_vote_result.vote_granted), 0},
    {7, MSG_BOOL, AT(request_vote_result.pre_vote), 0},
    {8, MSG_U16, AT(request_vote_result.features), 0},
    {9, MSG_U16, AT(request_vote_result.capacity), 0},
};

static const struct msg_field install_snapshot_fields[] = {
    ROUTE_ROWS,
    {4, MSG_U8, AT(install_snapshot.version), 0},
    {5, MSG_U64, AT(install_snapshot.term), PEER_NUMBER_MAX},
    {6, MSG_U64, AT(install_snapshot.last_index), PEER_NUMBER_MAX},
    {7, MSG_U64, AT(install_snapshot.last_term), PEER_NUMBER_MAX},
    {8, MSG_U64, AT(install_snapshot.conf_index), PEER_NUMBER_MAX},
    {9, MSG_BIN, AT(install_snapshot.configuration), PEER_CONFIGURATION_MAX},
};

static const struct msg_field timeout_now_fields[] = {
    ROUTE_ROWS,
    {4, MSG_U8, AT(timeout_now.version), 0},
    {5, MSG_U64, AT(timeout_now.term), PEER_NUMBER_MAX},
    {6, MSG_U64, AT(timeout_now.last_log_index), PEER_NUMBER_MAX},
    {7, MSG_U64, AT(timeout_now.last_log_term), PEER_NUMBER_MAX},
};

static const struct msg_field probe_fields[] = {
    ROUTE_ROWS,
    {5, MSG_U64, AT(probe.term), PEER_NUMBER_MAX},
    {6, MSG_U64, AT(probe.number), 0},
    {7, MSG_U32, AT(probe.promise_ms), 0},
};

static const struct msg_field probe_result_fields[] = {
    ROUTE_ROWS,
    {5, MSG_U64, AT(probe_result.term), PEER_NUMBER_MAX},
    {6, MSG_U64, AT(probe_result.number), 0},
    {7, MSG_U32, AT(probe_result.promise_ms), 0},
};

static const struct msg_field read_ask_fields[] = {
    ROUTE_ROWS,
    {5, MSG_U64, AT(read_ask.term), PEER_NUMBER_MAX},
    {6, MSG_U64, AT(read_ask.number), 0},
};

static const struct msg_field read_answer_fields[] = {
    ROUTE_ROWS,
    {5, MSG_U64, AT(read_answer.term), PEER_NUMBER_MAX},
    {6, MSG_U64, AT(read_answer.number), 0},
    {7, MSG_U64, AT(read_answer.index), PEER_NUMBER_MAX},
};

enum { KINDS = MSG_READ_ANSWER - MSG_APPEND_ENTRIES + 1 };

/* By kind; what has no name is another family's. */
static const struct msg_table tables[KINDS] = {
    MSG_TABLE("append_entries", append_entries_fields),
    MSG_TABLE("append_entries_result", append_entries_result_fields),
    MSG_TABLE("request_vote", request_vote_fields),
    MSG_TABLE("request_vote_result", request_vote_result_fields),
    MSG_TABLE("install_snapshot", install_snapshot_fields),
    MSG_TABLE("timeout_now", timeout_now_fields),
    MSG_TABLE("probe", probe_fields),
    MSG_TABLE("probe_result", probe_result_fields),
    [MSG_READ_ASK - MSG_APPEND_ENTRIES] = MSG_TABLE("read_ask", read_ask_fields),
    [MSG_READ_ANSWER - MSG_APPEND_ENTRIES] = MSG_TABLE("read_answer", read_answer_fields),
};

bool peer_msg_is_kind(uint32_t kind)
{
    return kind >= MSG_APPEND_ENTRIES && kind - MSG_APPEND_ENTRIES < KINDS &&
           tables[kind - MSG_APPEND_ENTRIES].name != NULL;
}

static const struct msg_table *table_of(uint32_t kind)
{
    ASSERT(peer_msg_is_kind(kind));
    return &tables[kind - MSG_APPEND_ENTRIES];
}

bool peer_msg_is_urgent(const struct peer_msg *msg)
{
    return msg->kind != MSG_APPEND_ENTRIES || msg->append_entries.entry_count == 0;
}

enum {
    HEAD_SIZE_MAX = 128, /* all numbers of any kind at their longest */
    ENTRY_SIZE_MAX = 16, /* term, type and the header of data at their longest */
};

size_t peer_msg_size(const struct peer_msg *msg)
{
    size_t size = HEAD_SIZE_MAX + msg->span_start.len + msg->span_end.len;
    if (msg->kind == MSG_INSTALL_SNAPSHOT)
        size += msg->install_snapshot.configuration.len;
    if (msg->kind != MSG_APPEND_ENTRIES)
        return size;
    const struct append_entries *append = &msg->append_entries;
    for (uint32_t i = 0; i < append->entry_count; i++)
        size += ENTRY_SIZE_MAX + append->entries[i].data.len;
    return size;
}

static void entries_write(struct pack_fields *f, const struct append_entries *append)
{
    ASSERT(append->entry_count <= PEER_ENTRIES_MAX);
    if (append->entry_count == 0)
        return;
    pack_field(f, FIELD_ENTRIES);
    pack_array(f->buf, append->entry_count * 3);
    for (uint32_t i = 0; i < append->entry_count; i++) {
        const struct peer_entry *entry = &append->entries[i];
        ASSERT(entry->type >= PEER_ENTRY_COMMAND && entry->type <= PEER_ENTRY_CHANGE);
        pack_uint(f->buf, entry->term);
        pack_uint(f->buf, entry->type);
        pack_bin(f->buf, entry->data);
    }
}

void peer_msg_encode(struct buf *buf, const struct peer_msg *msg)
{
    ASSERT(peer_msg_is_kind(msg->kind));
    size_t size = peer_msg_size(msg);
    size_t before = buf->len;
    if (buf_reserve(buf, size) != 0)
        return;
    struct pack_fields f = msg_write_begin(buf, msg->kind);
    msg_write_fields(&f, table_of(msg->kind), msg);
    if (msg->kind == MSG_APPEND_ENTRIES)
        entries_write(&f, &msg->append_entries);
    pack_fields_end(&f);
    ASSERT(buf->len - before <= size);
}

/* What the decoder fills: the array and its room. */
struct entries_room {
    struct peer_entry *entries; /* borrowed */
    size_t cap;
    bool is_over; /* there were more than fit */
};

static uint32_t entries_read(struct unpack *u, struct entries_room *room)
{
    uint32_t values = unpack_array(u);
    if (values % 3 != 0)
        u->bad = true;
    uint32_t count = values / 3;
    if (count > room->cap) {
        room->is_over = true;
        u->bad = true;
    }
    for (uint32_t i = 0; i < count && !u->bad; i++) {
        struct peer_entry *entry = &room->entries[i];
        entry->term = unpack_uint_max(u, PEER_NUMBER_MAX);
        entry->type = (enum peer_entry_type)unpack_uint_max(u, PEER_ENTRY_CHANGE);
        entry->data = unpack_bin(u);
        if (entry->type < PEER_ENTRY_COMMAND)
            u->bad = true;
    }
    return u->bad ? 0 : count;
}

int peer_msg_decode(struct slice body, struct peer_entry *entries, size_t entries_cap,
                    struct peer_msg *ret_msg, struct err *err)
{
    struct unpack u;
    uint64_t key;
    struct msg_pairs pairs;
    uint32_t kind = msg_read_begin(&u, body, &pairs);
    if (u.bad || !peer_msg_is_kind(kind))
        return err_set(err, ERR_CORRUPT, "%s where a message of a peer was due",
                       msg_kind_name(kind));
    const struct msg_table *table = table_of(kind);
    struct entries_room room = {.entries = entries, .cap = MIN(entries_cap, PEER_ENTRIES_MAX)};
    struct peer_msg msg = {.kind = (enum msg_kind)kind};
    while (msg_read_fields(&u, &pairs, table, &msg, &key)) {
        if (kind == MSG_APPEND_ENTRIES && key == FIELD_ENTRIES)
            msg.append_entries.entry_count = entries_read(&u, &room);
        else
            unpack_skip(&u);
    }
    if (room.is_over)
        return err_set(err, ERR_TOO_LARGE, "append_entries with more than %zu entries", room.cap);
    int rv = unpack_finish(&u, table->name, err);
    if (rv != 0)
        return rv;
    if (msg.group == 0 || msg.from_replica == 0 || msg.to_replica == 0)
        return err_set(err, ERR_CORRUPT, "%s without group or replica", table->name);
    if (msg.span_end.len > 0 && slice_compare(msg.span_start, msg.span_end) >= 0)
        return err_set(err, ERR_CORRUPT, "%s with a span that ends before it starts", table->name);
    if (kind == MSG_APPEND_ENTRIES)
        msg.append_entries.entries = entries;
    *ret_msg = msg;
    return 0;
}
