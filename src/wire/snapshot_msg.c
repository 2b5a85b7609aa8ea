/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/snapshot_msg.h"

#include "wire/msg_internal.h"

#define BEGIN_AT(m) offsetof(struct snapshot_begin, m)
static const struct msg_field begin_fields[] = {
    {1, MSG_U64, BEGIN_AT(group), 0},
    {2, MSG_U64, BEGIN_AT(from_replica), 0},
    {3, MSG_U64, BEGIN_AT(to_replica), 0},
    {4, MSG_U64, BEGIN_AT(stream), 0},
    {5, MSG_U64, BEGIN_AT(term), 0},
    {6, MSG_U64, BEGIN_AT(last_index), 0},
    {7, MSG_U64, BEGIN_AT(last_term), 0},
    {8, MSG_U64, BEGIN_AT(conf_index), 0},
    {9, MSG_BIN, BEGIN_AT(configuration), SNAPSHOT_CONFIGURATION_MAX},
    {10, MSG_BIN, BEGIN_AT(meta), SNAPSHOT_META_MAX},
};
static const struct msg_table begin_table = MSG_TABLE("snapshot_begin", begin_fields);

#define RESUME_AT(m) offsetof(struct snapshot_resume, m)
static const struct msg_field resume_fields[] = {
    {1, MSG_U64, RESUME_AT(group), 0},      {2, MSG_U64, RESUME_AT(from_replica), 0},
    {3, MSG_U64, RESUME_AT(to_replica), 0}, {4, MSG_U64, RESUME_AT(stream), 0},
    {5, MSG_U64, RESUME_AT(term), 0},       {6, MSG_U64, RESUME_AT(last_index), 0},
    {7, MSG_U64, RESUME_AT(last_term), 0},
};
static const struct msg_table resume_table = MSG_TABLE("snapshot_resume", resume_fields);

#define CHUNK_AT(m) offsetof(struct snapshot_chunk, m)
static const struct msg_field chunk_fields[] = {
    {1, MSG_U64, CHUNK_AT(stream), 0},
    {2, MSG_U64, CHUNK_AT(seq), 0},
    {3, MSG_BIN, CHUNK_AT(data), SNAPSHOT_CHUNK_MAX},
};
static const struct msg_table chunk_table = MSG_TABLE("snapshot_chunk", chunk_fields);

#define END_AT(m) offsetof(struct snapshot_end, m)
static const struct msg_field end_fields[] = {
    {1, MSG_U64, END_AT(stream), 0},
    {2, MSG_U64, END_AT(chunks), 0},
    {3, MSG_U64, END_AT(bytes), 0},
    {4, MSG_U32, END_AT(crc32c), 0},
};
static const struct msg_table end_table = MSG_TABLE("snapshot_end", end_fields);

#define ACK_AT(m) offsetof(struct snapshot_ack, m)
static const struct msg_field ack_fields[] = {
    {1, MSG_U64, ACK_AT(stream), 0},       {2, MSG_CODE, ACK_AT(status), 0},
    {3, MSG_U64, ACK_AT(bytes), 0},        {4, MSG_BOOL, ACK_AT(is_installed), 0},
    {5, MSG_TEXT, ACK_AT(text), TEXT_MAX},
};
static const struct msg_table ack_table = MSG_TABLE("snapshot_ack", ack_fields);

void snapshot_begin_encode(struct buf *buf, const struct snapshot_begin *begin)
{
    ASSERT(begin->group > 0 && begin->stream > 0);
    ASSERT(begin->last_index > 0 && begin->last_term > 0);
    msg_write(buf, MSG_SNAPSHOT_BEGIN, &begin_table, begin);
}

int snapshot_begin_decode(struct slice body, struct snapshot_begin *ret_begin, struct err *err)
{
    struct snapshot_begin begin = {0};
    int rv = msg_read(body, MSG_SNAPSHOT_BEGIN, &begin_table, &begin, err);
    if (rv != 0)
        return rv;
    if (begin.group == 0 || begin.stream == 0 || begin.from_replica == 0 || begin.to_replica == 0 ||
        begin.last_index == 0 || begin.last_term == 0)
        return err_set(err, ERR_CORRUPT, "snapshot_begin without group, replica or index");
    if (begin.last_term > begin.term || begin.conf_index > begin.last_index)
        return err_set(err, ERR_CORRUPT, "snapshot_begin with terms or indexes out of order");
    *ret_begin = begin;
    return 0;
}

void snapshot_resume_encode(struct buf *buf, const struct snapshot_resume *resume)
{
    ASSERT(resume->group > 0 && resume->stream > 0);
    ASSERT(resume->last_index > 0 && resume->last_term > 0);
    msg_write(buf, MSG_SNAPSHOT_RESUME, &resume_table, resume);
}

int snapshot_resume_decode(struct slice body, struct snapshot_resume *ret_resume, struct err *err)
{
    struct snapshot_resume resume = {0};
    int rv = msg_read(body, MSG_SNAPSHOT_RESUME, &resume_table, &resume, err);
    if (rv != 0)
        return rv;
    if (resume.group == 0 || resume.stream == 0 || resume.from_replica == 0 ||
        resume.to_replica == 0 || resume.last_index == 0 || resume.last_term == 0)
        return err_set(err, ERR_CORRUPT, "snapshot_resume without what it resumes");
    *ret_resume = resume;
    return 0;
}

void snapshot_chunk_encode(struct buf *buf, const struct snapshot_chunk *chunk)
{
    ASSERT(chunk->stream > 0);
    ASSERT(chunk->data.len > 0 && chunk->data.len <= SNAPSHOT_CHUNK_MAX);
    msg_write(buf, MSG_SNAPSHOT_CHUNK, &chunk_table, chunk);
}

int snapshot_chunk_decode(struct slice body, struct snapshot_chunk *ret_chunk, struct err *err)
{
    struct snapshot_chunk chunk = {0};
    int rv = msg_read(body, MSG_SNAPSHOT_CHUNK, &chunk_table, &chunk, err);
    if (rv != 0)
        return rv;
    if (chunk.stream == 0 || chunk.data.len == 0)
        return err_set(err, ERR_CORRUPT, "snapshot_chunk without stream or data");
    *ret_chunk = chunk;
    return 0;
}

void snapshot_end_encode(struct buf *buf, const struct snapshot_end *end)
{
    ASSERT(end->stream > 0);
    ASSERT(end->chunks <= end->bytes);
    msg_write(buf, MSG_SNAPSHOT_END, &end_table, end);
}

int snapshot_end_decode(struct slice body, struct snapshot_end *ret_end, struct err *err)
{
    struct snapshot_end end = {0};
    int rv = msg_read(body, MSG_SNAPSHOT_END, &end_table, &end, err);
    if (rv != 0)
        return rv;
    if (end.stream == 0 || end.chunks > end.bytes)
        return err_set(err, ERR_CORRUPT, "snapshot_end with figures that cannot be");
    *ret_end = end;
    return 0;
}

void snapshot_ack_encode(struct buf *buf, const struct snapshot_ack *ack)
{
    ASSERT(ack->stream > 0);
    ASSERT(ack->status == 0 || !ack->is_installed);
    msg_write(buf, MSG_SNAPSHOT_ACK, &ack_table, ack);
}

int snapshot_ack_decode(struct slice body, struct snapshot_ack *ret_ack, struct err *err)
{
    struct snapshot_ack ack = {0};
    int rv = msg_read(body, MSG_SNAPSHOT_ACK, &ack_table, &ack, err);
    if (rv != 0)
        return rv;
    if (ack.stream == 0 || (ack.status != 0 && ack.is_installed))
        return err_set(err, ERR_CORRUPT, "snapshot_ack that contradicts itself");
    *ret_ack = ack;
    return 0;
}
