/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/pack.h"

#include <msgpack/pack.h>

#include "base/coding.h"

/* ---- packing ------------------------------------------------------------ */

/* msgpack-c's sink. Failure is sticky in the buf, so it never stops the packer. Inlined
 * with the packer, `len` is a constant, and so a packed number is a test and a store. */
static inline int buf_sink(void *data, const char *bytes, size_t len)
{
    struct buf *buf = data;
    if (buf->failed || len > buf->cap - buf->len) {
        buf_append(buf, bytes, len);
        return 0;
    }
    memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    return 0;
}

static inline msgpack_packer packer_of(struct buf *buf)
{
    return (msgpack_packer){.data = buf, .callback = buf_sink};
}

void pack_map(struct buf *buf, uint32_t pairs)
{
    msgpack_packer pk = packer_of(buf);
    msgpack_pack_map(&pk, pairs);
}

void pack_array(struct buf *buf, uint32_t count)
{
    msgpack_packer pk = packer_of(buf);
    msgpack_pack_array(&pk, count);
}

void pack_uint_tight(struct buf *buf, uint32_t key, uint64_t v)
{
    uint8_t raw[1 + PACK_UINT_MAX];
    uint8_t *end = raw;
    if (key != UINT32_MAX)
        *end++ = (uint8_t)key;
    end = pack_put_uint(end, v);
    buf_append(buf, raw, (size_t)(end - raw));
}

void pack_int(struct buf *buf, int64_t v)
{
    msgpack_packer pk = packer_of(buf);
    msgpack_pack_int64(&pk, v);
}

void pack_bool(struct buf *buf, bool v)
{
    msgpack_packer pk = packer_of(buf);
    if (v)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
}

enum { BIN_HEAD_MAX = 5 };

/* The head of so many bytes of bin. */
static inline uint8_t *put_bin_head(uint8_t *p, size_t len)
{
    unsigned log = (len > UINT8_MAX) + (len > UINT16_MAX);
    unsigned bytes = 1u << log;
    *p = (uint8_t)(0xc4 + log);
    put_u32be(p + 1, (uint32_t)len << (32 - 8 * bytes)); /* what is too much is written over */
    return p + 1 + bytes;
}

void pack_bin_of(struct buf *buf, struct slice begin, struct slice end)
{
    uint8_t head[BIN_HEAD_MAX];
    ASSERT(begin.len <= UINT32_MAX && end.len <= UINT32_MAX - begin.len);
    size_t head_len = (size_t)(put_bin_head(head, begin.len + end.len) - head);
    if (buf_reserve(buf, head_len + begin.len + end.len) != 0)
        return;
    buf_append(buf, head, head_len);
    buf_append_slice(buf, begin);
    buf_append_slice(buf, end);
}

void pack_bin(struct buf *buf, struct slice bytes)
{
    if (!pack_has_room(buf, BIN_HEAD_MAX + bytes.len)) {
        pack_bin_of(buf, bytes, slice_of(NULL, 0));
        return;
    }
    uint8_t *p = put_bin_head(buf->data + buf->len, bytes.len);
    if (bytes.len > 0)
        memcpy(p, bytes.data, bytes.len);
    buf->len = (size_t)(p - buf->data) + bytes.len;
}

void pack_str(struct buf *buf, struct slice text)
{
    ASSERT(text.len <= UINT32_MAX);
    msgpack_packer pk = packer_of(buf);
    msgpack_pack_str(&pk, text.len);
    buf_append_slice(buf, text);
}

void pack_list(struct buf *buf, const struct pack_list *list)
{
    ASSERT(list->raw.len >= list->count);
    pack_array(buf, list->count);
    buf_append_slice(buf, list->raw);
}

void pack_fields_widen(struct pack_fields *fields)
{
    struct buf *buf = fields->buf;
    uint8_t more[2] = {0};
    size_t len = buf->len - fields->at - 1;
    ASSERT(fields->count <= PACK_FIELDS_MAX);
    buf_append(buf, more, sizeof more);
    if (buf->failed)
        return;
    uint8_t *header = buf->data + fields->at; /* what stands behind it makes room for two more */
    memmove(header + 3, header + 1, len);
    header[0] = 0xde; /* map 16 */
    header[1] = (uint8_t)(fields->count >> 8);
    header[2] = (uint8_t)fields->count;
}

void pack_field_int(struct pack_fields *fields, uint32_t key, int64_t v)
{
    if (v == 0)
        return;
    pack_field(fields, key);
    pack_int(fields->buf, v);
}

void pack_field_bool(struct pack_fields *fields, uint32_t key, bool v)
{
    if (!v)
        return;
    pack_field(fields, key);
    pack_bool(fields->buf, v);
}

void pack_field_bin(struct pack_fields *fields, uint32_t key, struct slice bytes)
{
    if (bytes.len == 0)
        return;
    pack_field(fields, key);
    pack_bin(fields->buf, bytes);
}

void pack_field_str(struct pack_fields *fields, uint32_t key, struct slice text)
{
    if (text.len == 0)
        return;
    pack_field(fields, key);
    pack_str(fields->buf, text);
}

void pack_field_list(struct pack_fields *fields, uint32_t key, const struct pack_list *list)
{
    if (list->count == 0)
        return;
    pack_field(fields, key);
    pack_list(fields->buf, list);
}

/* ---- unpacking ----------------------------------------------------------- */

/* What the first byte of a value says (msgpack specification, "Formats"). */
enum shape {
    SHAPE_BAD,
    SHAPE_NIL,
    SHAPE_BOOL,
    SHAPE_UINT,
    SHAPE_INT,
    SHAPE_BYTES,
    SHAPE_TEXT,
    SHAPE_ARRAY,
    SHAPE_MAP,
    SHAPE_OTHER
};

struct head {
    enum shape shape;
    uint64_t number; /* the value; a signed one as two's complement */
    uint64_t len;    /* of what follows: bytes, elements, pairs */
};

/* `width` is 1, 2, 4 or 8. */
static inline uint64_t load_be(const uint8_t *p, size_t width)
{
    switch (width) {
    case 1:
        return p[0];
    case 2:
        return (uint64_t)p[0] << 8 | p[1];
    case 4:
        return get_u32be(p);
    default:
        ASSERT(width == 8);
        return get_u64be(p);
    }
}

static inline uint64_t take_be(struct unpack *u, size_t width)
{
    if (u->bad || width > u->left) {
        u->bad = true;
        return 0;
    }
    uint64_t v = load_be(u->pos, width);
    u->pos += width;
    u->left -= width;
    return v;
}

static inline struct slice take_bytes(struct unpack *u, uint64_t len)
{
    if (u->bad || len > u->left) {
        u->bad = true;
        return (struct slice){0};
    }
    struct slice s = slice_of(u->pos, (size_t)len);
    u->pos += len;
    u->left -= (size_t)len;
    return s;
}

static int64_t sign_extend(uint64_t v, size_t width)
{
    unsigned shift = (unsigned)(64 - 8 * width);
    return (int64_t)(v << shift) >> shift;
}

/* The formats 0xc0 to 0xdf, each with a byte of its own; a flat table in code. */
static struct head head_long(struct unpack *u, uint8_t b)
{
    size_t width = (size_t)1 << (b & 3); /* holds where it is used */
    switch (b) {
    case 0xc0:
        return (struct head){.shape = SHAPE_NIL};
    case 0xc2:
    case 0xc3:
        return (struct head){.shape = SHAPE_BOOL, .number = b & 1};
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return (struct head){.shape = SHAPE_BYTES, .len = take_be(u, width)};
    case 0xc7:
    case 0xc8:
    case 0xc9: /* extension: a length, then a type byte */
        return (struct head){.shape = SHAPE_OTHER, .len = take_be(u, (size_t)1 << (b - 0xc7)) + 1};
    case 0xca:
    case 0xcb: /* floats */
        return (struct head){.shape = SHAPE_OTHER, .len = b == 0xca ? 4 : 8};
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return (struct head){.shape = SHAPE_UINT, .number = take_be(u, width)};
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: {
        int64_t v = sign_extend(take_be(u, width), width);
        return (struct head){.shape = v < 0 ? SHAPE_INT : SHAPE_UINT, .number = (uint64_t)v};
    }
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8: /* fixed extensions: a type byte and 1 to 16 more */
        return (struct head){.shape = SHAPE_OTHER, .len = ((uint64_t)1 << (b - 0xd4)) + 1};
    case 0xd9:
    case 0xda:
    case 0xdb:
        return (struct head){.shape = SHAPE_TEXT, .len = take_be(u, (size_t)1 << (b - 0xd9))};
    case 0xdc:
    case 0xdd:
        return (struct head){.shape = SHAPE_ARRAY, .len = take_be(u, b == 0xdc ? 2 : 4)};
    case 0xde:
    case 0xdf:
        return (struct head){.shape = SHAPE_MAP, .len = take_be(u, b == 0xde ? 2 : 4)};
    default:
        return (struct head){.shape = SHAPE_BAD};
    }
}

/* Read the head of the next value; SHAPE_BAD and `bad` set on any failure. A
 * count is compared with the bytes left: each element takes at least one. */
static inline struct head take_head(struct unpack *u)
{
    uint8_t b = (uint8_t)take_be(u, 1);
    if (u->bad)
        return (struct head){.shape = SHAPE_BAD};
    struct head h;
    if (b <= 0x7f)
        h = (struct head){.shape = SHAPE_UINT, .number = b};
    else if (b <= 0x8f)
        h = (struct head){.shape = SHAPE_MAP, .len = b & 0x0f};
    else if (b <= 0x9f)
        h = (struct head){.shape = SHAPE_ARRAY, .len = b & 0x0f};
    else if (b <= 0xbf)
        h = (struct head){.shape = SHAPE_TEXT, .len = b & 0x1f};
    else if (b >= 0xe0)
        h = (struct head){.shape = SHAPE_INT, .number = (uint64_t)(int64_t)(int8_t)b};
    else
        h = head_long(u, b);
    uint64_t most = h.shape == SHAPE_MAP ? u->left / 2 : u->left;
    if (h.shape == SHAPE_BAD || h.len > most)
        u->bad = true;
    return u->bad ? (struct head){.shape = SHAPE_BAD} : h;
}

/* As take_head(), but any other shape is bad. */
static inline struct head take_shape(struct unpack *u, enum shape want)
{
    struct head h = take_head(u);
    if (h.shape == want)
        return h;
    u->bad = true;
    return (struct head){.shape = SHAPE_BAD};
}

uint32_t unpack_map_long(struct unpack *u)
{
    return (uint32_t)take_shape(u, SHAPE_MAP).len;
}

uint32_t unpack_array_long(struct unpack *u)
{
    return (uint32_t)take_shape(u, SHAPE_ARRAY).len;
}

uint64_t unpack_uint_long(struct unpack *u)
{
    return take_shape(u, SHAPE_UINT).number;
}

int64_t unpack_int(struct unpack *u)
{
    struct head h = take_head(u);
    bool fits = h.shape == SHAPE_INT || (h.shape == SHAPE_UINT && h.number <= INT64_MAX);
    if (fits)
        return (int64_t)h.number;
    u->bad = true;
    return 0;
}

bool unpack_bool(struct unpack *u)
{
    return take_shape(u, SHAPE_BOOL).number != 0;
}

struct slice unpack_bin_long(struct unpack *u)
{
    return take_bytes(u, take_shape(u, SHAPE_BYTES).len);
}

struct slice unpack_bin_max(struct unpack *u, size_t max)
{
    struct slice s = unpack_bin(u);
    if (s.len <= max)
        return s;
    u->bad = true;
    return (struct slice){0};
}

struct slice unpack_str(struct unpack *u)
{
    return take_bytes(u, take_shape(u, SHAPE_TEXT).len);
}

struct slice unpack_str_max(struct unpack *u, size_t max)
{
    struct slice s = unpack_str(u);
    if (s.len <= max)
        return s;
    u->bad = true;
    return (struct slice){0};
}

void unpack_bin_exact(struct unpack *u, uint8_t *out, size_t len)
{
    struct slice s = unpack_bin(u);
    if (u->bad || s.len != len) {
        u->bad = true;
        return;
    }
    memcpy(out, s.data, len);
}

/* Iterative, with the number of values still to come at each depth: hostile
 * nesting cannot use up the stack. */
void unpack_skip_long(struct unpack *u)
{
    uint64_t pending[UNPACK_DEPTH_MAX + 1] = {1};
    unsigned depth = 0;
    for (;;) {
        while (pending[depth] == 0) {
            if (depth == 0)
                return;
            depth--;
        }
        pending[depth]--;
        struct head h = take_head(u);
        if (u->bad)
            return;
        if (h.shape == SHAPE_ARRAY || h.shape == SHAPE_MAP) {
            if (depth == UNPACK_DEPTH_MAX) {
                u->bad = true;
                return;
            }
            depth++;
            pending[depth] = h.shape == SHAPE_MAP ? h.len * 2 : h.len;
        } else {
            take_bytes(u, h.len);
        }
    }
}

struct pack_list unpack_list(struct unpack *u, uint32_t count_max)
{
    uint32_t count = unpack_array(u);
    if (count > count_max)
        u->bad = true;
    const uint8_t *start = u->pos;
    for (uint32_t i = 0; i < count && !u->bad; i++)
        unpack_skip(u);
    if (u->bad)
        return (struct pack_list){0};
    return (struct pack_list){.count = count, .raw = slice_of(start, (size_t)(u->pos - start))};
}

int unpack_finish(const struct unpack *u, const char *what, struct err *err)
{
    if (!u->bad && u->left == 0)
        return 0;
    return err_set(err, ERR_CORRUPT, "%s is malformed%s", what,
                   u->bad ? "" : ": bytes after its end");
}
