/* SPDX-License-Identifier: Apache-2.0 */
#include "range/entry.h"

#include "range/meta.h"

enum { ENTRY_FORMAT = 1, OFFSET_STAMP = 1, OFFSET_COUNT = 9 };

static void builder_clear(struct entry_builder *b)
{
    b->count = 0;
    b->first_sent_max_ms = 0;
}

void entry_builder_init(struct entry_builder *builder, size_t bytes_max, uint32_t count_max)
{
    ASSERT(bytes_max > 0);
    ASSERT(bytes_max <= ENTRY_PAYLOAD_MAX);
    ASSERT(count_max > 0);
    *builder = (struct entry_builder){.bytes_max = bytes_max, .count_max = count_max};
    buf_init(&builder->buf, ENTRY_PAYLOAD_MAX);
}

void entry_builder_fini(struct entry_builder *builder)
{
    buf_fini(&builder->buf);
    builder_clear(builder);
}

size_t entry_builder_len(const struct entry_builder *builder)
{
    ASSERT(builder->buf.len == 0 || builder->buf.len >= ENTRY_HEADER_LEN);
    return MAX(builder->buf.len, (size_t)ENTRY_HEADER_LEN);
}

static int builder_begin(struct entry_builder *b)
{
    static const uint8_t head[ENTRY_HEADER_LEN] = {ENTRY_FORMAT};
    ASSERT(b->buf.len == 0);
    ASSERT(b->count == 0);
    buf_append(&b->buf, head, sizeof head); /* stamp and count come at the end */
    return b->buf.failed ? ERR_NOMEM : 0;
}

void entry_builder_expect(struct entry_builder *builder, size_t bytes, uint32_t count)
{
    size_t most = builder->bytes_max - MIN(builder->buf.len, builder->bytes_max);
    size_t heads = ENTRY_HEADER_LEN + (size_t)count * VARINT_MAX;
    if (buf_reserve(&builder->buf, MIN(MIN(bytes, most) + heads, most)) != 0)
        builder->buf.failed = false;
}

int entry_builder_add(struct entry_builder *builder, struct slice command, uint64_t first_sent_ms)
{
    ASSERT(builder->count_max > 0);
    if (command.len > ENTRY_COMMAND_MAX)
        return ERR_TOO_LARGE;
    if (first_sent_ms > RANGE_TIME_MAX)
        return ERR_INVALID;
    size_t need = varint_len(command.len) + command.len;
    if (builder->count >= builder->count_max)
        return ERR_BUSY;
    if (builder->count > 0 && need > builder->bytes_max - MIN(builder->buf.len, builder->bytes_max))
        return ERR_BUSY;
    if (builder->buf.len == 0 && builder_begin(builder) != 0) {
        buf_clear(&builder->buf);
        return ERR_NOMEM;
    }
    if (buf_reserve(&builder->buf, need) != 0) {
        builder->buf.failed = false; /* what is there stays good */
        return builder->count > 0 ? ERR_BUSY : ERR_NOMEM;
    }
    buf_append_varint(&builder->buf, command.len);
    buf_append_slice(&builder->buf, command);
    ASSERT(!builder->buf.failed);
    builder->count++;
    builder->first_sent_max_ms = MAX(builder->first_sent_max_ms, first_sent_ms);
    return 0;
}

int entry_builder_take(struct entry_builder *builder, uint64_t wall_ms, uint64_t range_time_ms,
                       uint8_t **ret_payload, size_t *ret_len)
{
    ASSERT(range_time_ms <= RANGE_TIME_MAX);
    if (builder->buf.len == 0 && builder_begin(builder) != 0) {
        buf_clear(&builder->buf);
        return ERR_NOMEM;
    }
    uint64_t stamp = MAX(MIN(wall_ms, RANGE_TIME_MAX), range_time_ms);
    stamp = MAX(stamp, builder->first_sent_max_ms);
    ASSERT(stamp <= RANGE_TIME_MAX);
    put_u64(builder->buf.data + OFFSET_STAMP, stamp);
    put_u32(builder->buf.data + OFFSET_COUNT, builder->count);
    *ret_payload = buf_take(&builder->buf, ret_len);
    builder_clear(builder);
    return 0;
}

int entry_reader_init(struct entry_reader *ret_reader, struct slice payload, struct err *err)
{
    struct reader r = reader_of(payload);
    uint8_t format = read_u8(&r);
    if (!r.bad && format != ENTRY_FORMAT)
        return err_set(err, ERR_UNSUPPORTED, "entry of format %u", format);
    uint64_t stamp_ms = read_u64(&r);
    uint32_t count = read_u32(&r);
    struct reader commands = r;
    for (uint32_t i = 0; i < count && !r.bad; i++)
        if (read_bytes_prefixed(&r).len > ENTRY_COMMAND_MAX)
            r.bad = true;
    if (r.bad || r.left != 0)
        return err_set(err, ERR_CORRUPT, "entry: cut short or bytes behind it");
    if (stamp_ms > RANGE_TIME_MAX)
        return err_set(err, ERR_CORRUPT, "entry: stamp out of bounds");
    *ret_reader = (struct entry_reader){
        .stamp_ms = stamp_ms,
        .count = count,
        .commands = commands,
    };
    return 0;
}

struct slice entry_reader_next(struct entry_reader *reader)
{
    ASSERT(reader->commands.left > 0);
    struct slice command = read_bytes_prefixed(&reader->commands);
    ASSERT(!reader->commands.bad);
    return command;
}
