/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#include <lz4.h>

#include "base/coding.h"
#include "base/crc32c.h"

enum {
    FRAME_FLAGS_LEN = 1,
    RAW_LEN_LEN = 4,       /* u32 in front of an LZ4 block */
    LZ4_RATIO_MAX = 255,   /* a block never expands to more than this times its length */
    SAMPLE_LEN = 2048,     /* looked at before a body is compressed */
    KEEP_MAX = 256 * 1024, /* memory of this size is kept between frames */
    ROOM_MIN = 32 * 1024,  /* bytes that are worth a system call of their own */
};

/* ---- writing ------------------------------------------------------------ */

size_t frame_begin(struct buf *buf)
{
    size_t start = buf->len;
    uint8_t *prefix = buf_extend(buf, FRAME_PREFIX_LEN);
    if (prefix != NULL)
        memset(prefix, 0, FRAME_PREFIX_LEN);
    return start;
}

/* Does a piece from the middle shrink to a half? Random bytes do not, nor does a batch of
 * small writes of which only the heads repeat: to compress it for each follower costs a
 * leader a tenth of its CPU and saves a quarter of bytes that a network has to spare. */
static bool body_is_worth_it(const uint8_t *body, size_t len)
{
    char out[SAMPLE_LEN / 2];
    ASSERT(len >= FRAME_LZ4_MIN);
    const char *middle = (const char *)body + (len - SAMPLE_LEN) / 2;
    return LZ4_compress_default(middle, out, SAMPLE_LEN, sizeof out) > 0;
}

/* Replace the body that starts at `at` by its compressed form, if that is shorter
 * by an eighth. The block is built behind the body, then moved over it. */
static bool body_compress(struct buf *buf, size_t at)
{
    size_t raw_len = buf->len - at;
    size_t out_max = raw_len - raw_len / 8;
    if (out_max > buf->max - buf->len || !body_is_worth_it(buf->data + at, raw_len))
        return false;
    if (buf_reserve(buf, out_max) != 0) {
        buf->failed = false; /* the plain body stands: nothing is lost but memory */
        return false;
    }
    ASSERT(raw_len <= LZ4_MAX_INPUT_SIZE);
    uint8_t *body = buf->data + at;
    uint8_t *out = buf->data + buf->len;
    int n = LZ4_compress_default((const char *)body, (char *)out + RAW_LEN_LEN, (int)raw_len,
                                 (int)(out_max - RAW_LEN_LEN));
    if (n <= 0)
        return false;
    put_u32(out, (uint32_t)raw_len);
    memmove(body, out, RAW_LEN_LEN + (size_t)n);
    buf->len = at + RAW_LEN_LEN + (size_t)n;
    ASSERT(buf->len - at < raw_len);
    return true;
}

void frame_end(struct buf *buf, size_t start, bool compress)
{
    if (buf->failed)
        return;
    size_t body_at = start + FRAME_PREFIX_LEN;
    ASSERT(body_at <= buf->len);
    ASSERT(buf->len - body_at <= FRAME_BODY_MAX);
    uint8_t flags = 0;
    if (compress && buf->len - body_at >= FRAME_LZ4_MIN && body_compress(buf, body_at))
        flags |= FRAME_LZ4;
    uint8_t *head = buf->data + start;
    head[FRAME_HEADER_LEN] = flags;
    size_t length = buf->len - start - FRAME_HEADER_LEN;
    put_u32(head, (uint32_t)length);
    put_u32(head + 4, crc32c(0, head + FRAME_HEADER_LEN, length));
}

void frame_end_paced(struct buf *buf, size_t start, struct frame_pace *pace)
{
    bool is_long = !buf->failed && buf->len - start >= FRAME_PREFIX_LEN + (size_t)FRAME_LZ4_MIN;
    bool is_tried = is_long && pace->untried == 0;
    frame_end(buf, start, is_tried);
    if (!is_long || buf->failed)
        return;
    if (!is_tried) {
        pace->untried--;
    } else if ((buf->data[start + FRAME_HEADER_LEN] & FRAME_LZ4) != 0) {
        pace->next = 0;
    } else {
        pace->next = MIN(2 * pace->next + 1, (uint32_t)FRAME_UNTRIED_MAX);
        pace->untried = pace->next;
    }
}

/* ---- reading ------------------------------------------------------------ */

void frame_reader_init(struct frame_reader *reader, size_t body_max)
{
    ASSERT(body_max > 0);
    ASSERT(body_max <= FRAME_BODY_MAX);
    *reader = (struct frame_reader){.body_max = body_max};
    buf_init(&reader->partial, FRAME_PREFIX_LEN + FRAME_BODY_MAX);
    buf_init(&reader->plain, FRAME_BODY_MAX);
}

void frame_reader_fini(struct frame_reader *reader)
{
    buf_fini(&reader->partial);
    buf_fini(&reader->plain);
    *reader = (struct frame_reader){0};
}

void frame_reader_limit(struct frame_reader *reader, size_t body_max)
{
    ASSERT(body_max >= reader->body_max);
    ASSERT(body_max <= FRAME_BODY_MAX);
    reader->body_max = body_max;
}

void frame_reader_feed(struct frame_reader *reader, struct slice bytes)
{
    ASSERT(!reader->is_broken);
    ASSERT(reader->input.len == 0);
    reader->input = bytes;
}

/* Forget the content; give large memory back. */
static void buf_recycle(struct buf *buf)
{
    if (buf->cap > KEEP_MAX)
        buf_fini(buf);
    else
        buf_clear(buf);
}

static int reader_break(struct frame_reader *reader, int rv)
{
    ASSERT(rv < 0 && rv != ERR_SHORT);
    reader->is_broken = true;
    return rv;
}

/* Is a header with this length acceptable? Before anything is kept for it. */
static int length_check(const struct frame_reader *reader, uint32_t length, struct err *err)
{
    if (length < FRAME_FLAGS_LEN)
        return err_set(err, ERR_CORRUPT, "frame of %u bytes", length);
    if (length - FRAME_FLAGS_LEN > reader->body_max)
        return err_set(err, ERR_TOO_LARGE, "frame of %u bytes, limit %zu", length,
                       reader->body_max);
    return 0;
}

/* Expand an LZ4 body into reader->plain. */
static int body_expand(struct frame_reader *reader, struct slice body, struct slice *ret_body,
                       struct err *err)
{
    if (body.len < RAW_LEN_LEN)
        return err_set(err, ERR_CORRUPT, "compressed body of %zu bytes", body.len);
    size_t raw_len = get_u32(body.data);
    struct slice block = slice_of(body.data + RAW_LEN_LEN, body.len - RAW_LEN_LEN);
    if (raw_len > reader->body_max)
        return err_set(err, ERR_TOO_LARGE, "compressed body of %zu bytes, limit %zu", raw_len,
                       reader->body_max);
    if (raw_len == 0 || raw_len / LZ4_RATIO_MAX > block.len)
        return err_set(err, ERR_CORRUPT, "compressed body claims %zu bytes in %zu", raw_len,
                       block.len);
    buf_recycle(&reader->plain);
    uint8_t *out = buf_extend(&reader->plain, raw_len);
    if (out == NULL) {
        buf_clear(&reader->plain);
        return err_set(err, ERR_NOMEM, "body of %zu bytes", raw_len);
    }
    int n =
        LZ4_decompress_safe((const char *)block.data, (char *)out, (int)block.len, (int)raw_len);
    if (n < 0 || (size_t)n != raw_len)
        return err_set(err, ERR_CORRUPT, "compressed body does not expand to %zu bytes", raw_len);
    *ret_body = slice_of(out, raw_len);
    return 0;
}

/* A whole frame stands in `raw`, length checked: verify and hand out its body. */
static int frame_open(struct frame_reader *reader, struct slice raw, struct slice *ret_body,
                      struct err *err)
{
    ASSERT(raw.len >= FRAME_PREFIX_LEN);
    ASSERT(raw.len == FRAME_HEADER_LEN + (size_t)get_u32(raw.data));
    uint32_t crc = crc32c(0, raw.data + FRAME_HEADER_LEN, raw.len - FRAME_HEADER_LEN);
    if (crc != get_u32(raw.data + 4))
        return err_set(err, ERR_CORRUPT, "frame of %zu bytes with a bad checksum", raw.len);
    uint8_t flags = raw.data[FRAME_HEADER_LEN];
    if ((flags & ~FRAME_LZ4) != 0)
        return err_set(err, ERR_CORRUPT, "frame with unknown flags %#x", flags);
    struct slice body = slice_of(raw.data + FRAME_PREFIX_LEN, raw.len - FRAME_PREFIX_LEN);
    if (flags & FRAME_LZ4)
        return body_expand(reader, body, ret_body, err);
    *ret_body = body;
    return 0;
}

/* Was the input put where frame_reader_room() said? */
static bool input_is_in_place(const struct frame_reader *reader)
{
    const struct buf *partial = &reader->partial;
    return partial->len > 0 && reader->input.data == partial->data + partial->len &&
           reader->input.len <= partial->cap - partial->len;
}

/* Move up to `want` bytes of input behind what is kept. What is to follow has its room at once
 * where that is no claim without proof: a large frame is not copied each time that it grows. */
static int partial_take(struct frame_reader *reader, size_t want)
{
    struct buf *partial = &reader->partial;
    size_t n = MIN(want, reader->input.len);
    if (input_is_in_place(reader)) {
        ASSERT(n == reader->input.len); /* there was no more room than the frame needs */
        partial->len += n;
    } else {
        if (n > partial->cap - partial->len) {
            size_t ahead = (partial->len + n) * FRAME_AHEAD - partial->len;
            buf_reserve(partial, MIN(want, ahead));
        }
        buf_append(partial, reader->input.data, n);
    }
    if (partial->failed)
        return ERR_NOMEM;
    reader->input.data += n;
    reader->input.len -= n;
    return 0;
}

/* Go on with the frame that is kept: first its header, then the rest. ERR_SHORT
 * if the input ended before it did. */
static int partial_complete(struct frame_reader *reader, struct err *err)
{
    struct buf *partial = &reader->partial;
    if (partial->len < FRAME_HEADER_LEN) {
        int rv = partial_take(reader, FRAME_HEADER_LEN - partial->len);
        if (rv != 0)
            return err_set(err, rv, "frame header");
        if (partial->len < FRAME_HEADER_LEN)
            return ERR_SHORT;
    }
    uint32_t length = get_u32(partial->data);
    int rv = length_check(reader, length, err);
    if (rv != 0)
        return rv;
    size_t whole = FRAME_HEADER_LEN + (size_t)length;
    ASSERT(partial->len <= whole);
    rv = partial_take(reader, whole - partial->len);
    if (rv != 0)
        return err_set(err, rv, "frame of %u bytes", length);
    return partial->len < whole ? ERR_SHORT : 0;
}

/* Nothing is kept: a frame that is whole in the input is handed out in place. */
static int input_next(struct frame_reader *reader, struct slice *ret_raw, struct err *err)
{
    struct slice *input = &reader->input;
    if (input->len < FRAME_HEADER_LEN)
        return ERR_SHORT;
    uint32_t length = get_u32(input->data);
    int rv = length_check(reader, length, err);
    if (rv != 0)
        return rv;
    if (length > input->len - FRAME_HEADER_LEN)
        return ERR_SHORT;
    *ret_raw = slice_of(input->data, FRAME_HEADER_LEN + (size_t)length);
    input->data += ret_raw->len;
    input->len -= ret_raw->len;
    return 0;
}

int frame_reader_next(struct frame_reader *reader, struct slice *ret_body, struct err *err)
{
    ASSERT(!reader->is_broken);
    if (reader->has_frame) {
        reader->has_frame = false;
        buf_recycle(&reader->partial);
    }
    struct slice raw = {0};
    int rv = ERR_SHORT;
    if (reader->partial.len == 0)
        rv = input_next(reader, &raw, err);
    if (rv == ERR_SHORT) {
        if (reader->input.len == 0) {
            buf_recycle(&reader->plain);
            return ERR_SHORT;
        }
        rv = partial_complete(reader, err);
        if (rv == ERR_SHORT) {
            ASSERT(reader->input.len == 0);
            return ERR_SHORT;
        }
        reader->has_frame = rv == 0;
        raw = buf_slice(&reader->partial);
    }
    if (rv == 0)
        rv = frame_open(reader, raw, ret_body, err);
    return rv == 0 ? 0 : reader_break(reader, rv);
}

uint8_t *frame_reader_room(struct frame_reader *reader, size_t *ret_len)
{
    struct buf *partial = &reader->partial;
    ASSERT(reader->input.len == 0);
    if (reader->is_broken || reader->has_frame || partial->len < FRAME_HEADER_LEN)
        return NULL;
    size_t whole = FRAME_HEADER_LEN + (size_t)get_u32(partial->data);
    ASSERT(whole <= FRAME_PREFIX_LEN + reader->body_max); /* checked when its header was kept */
    ASSERT(partial->len < whole);
    size_t want = MIN(whole - partial->len, partial->len * (FRAME_AHEAD - 1));
    if (want < ROOM_MIN)
        return NULL;
    /* What grows has twice its memory at least: not before that is in proportion to what came. */
    bool may_grow = partial->cap <= partial->len * (FRAME_AHEAD / 2);
    if (may_grow && buf_reserve(partial, want) != 0) {
        partial->failed = false;
        return NULL;
    }
    *ret_len = MIN(whole - partial->len, partial->cap - partial->len);
    return *ret_len < ROOM_MIN ? NULL : partial->data + partial->len;
}

struct slice frame_reader_take_back(struct frame_reader *reader)
{
    struct slice rest = reader->input;
    reader->input = (struct slice){0};
    return rest;
}

size_t frame_reader_held(const struct frame_reader *reader)
{
    return reader->has_frame ? 0 : reader->partial.len;
}

size_t frame_reader_memory(const struct frame_reader *reader)
{
    return reader->partial.cap + reader->plain.cap;
}

void frame_reader_trim(struct frame_reader *reader)
{
    ASSERT(reader->input.len == 0);
    if (frame_reader_held(reader) == 0) {
        buf_fini(&reader->partial);
        reader->has_frame = false;
    }
    buf_fini(&reader->plain);
}
