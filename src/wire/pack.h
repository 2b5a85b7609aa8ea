/* SPDX-License-Identifier: Apache-2.0
 *
 * pack — msgpack into a struct buf (by msgpack-c), and a bounded cursor over
 * msgpack that came from outside.
 *
 * msgpack-c's own unpacker allocates by the counts that it reads, so bytes from
 * outside are never given to it: this cursor walks them in place, allocates
 * nothing, and hands out borrowed slices.
 *
 * Convention of all messages: a map with small unsigned keys. Fields that hold
 * their default (0, false, empty) are left out; a reader skips keys it does not
 * know, so that versions can be mixed; a repeated key is an error.
 *
 * Errors     packing: the buf's sticky `failed`. Unpacking: one sticky `bad`; read
 *            all fields, test once with unpack_finish().
 * Limits     depth UNPACK_DEPTH_MAX; a count is never more than the bytes left.
 */
#ifndef WIRE_PACK_H_
#define WIRE_PACK_H_

#include "base/buf.h"
#include "base/coding.h"
#include "base/err.h"

/* Elements of a msgpack array without its header, one after another: how lists
 * travel through structs without an array of their own. Built by appending
 * elements to a buf; read by a cursor over `raw`. */
struct pack_list {
    uint32_t count;
    struct slice raw; /* borrowed */
};

/* ---- packing: append one value ------------------------------------------ */

enum { PACK_UINT_MAX = 9 }; /* bytes of the longest */

/* Write `v` in the fewest bytes where there is room for the most; behind them. */
static inline uint8_t *pack_put_uint(uint8_t *p, uint64_t v)
{
    if (v <= 0x7f) {
        *p = (uint8_t)v;
        return p + 1;
    }
    unsigned log = (v > UINT8_MAX) + (v > UINT16_MAX) + (v > UINT32_MAX);
    unsigned bytes = 1u << log;
    *p = (uint8_t)(0xcc + log);
    put_u64be(p + 1, v << (64 - 8 * bytes)); /* what is too much of it is written over */
    return p + 1 + bytes;
}

static inline bool pack_has_room(const struct buf *buf, size_t len)
{
    return !buf->failed && len <= buf->cap - buf->len;
}

/* Key and number where there is no room for the longest that they could be; without a key if that
 * is UINT32_MAX. */
void pack_uint_tight(struct buf *buf, uint32_t key, uint64_t v);

void pack_map(struct buf *buf, uint32_t pairs);   /* header; `pairs` keys and values follow */
void pack_array(struct buf *buf, uint32_t count); /* header; `count` values follow */
void pack_int(struct buf *buf, int64_t v);        /* in the fewest bytes */
void pack_bool(struct buf *buf, bool v);          /* one byte */

/* In the fewest bytes. */
static inline void pack_uint(struct buf *buf, uint64_t v)
{
    if (pack_has_room(buf, PACK_UINT_MAX))
        buf->len = (size_t)(pack_put_uint(buf->data + buf->len, v) - buf->data);
    else
        pack_uint_tight(buf, UINT32_MAX, v);
}

void pack_bin(struct buf *buf, struct slice bytes);
void pack_bin_of(struct buf *buf, struct slice begin, struct slice end); /* one, of two pieces */
void pack_str(struct buf *buf, struct slice text);                       /* UTF-8 by convention */
void pack_list(struct buf *buf, const struct pack_list *list);

/* A map whose number of pairs is known only at the end; beyond 15, pack_fields_end() moves them
 * by two bytes. */
struct pack_fields {
    struct buf *buf; /* borrowed */
    size_t at;       /* where the header stands */
    uint32_t count;
};
enum { PACK_FIELDS_MAX = 63 };

static inline struct pack_fields pack_fields_begin(struct buf *buf)
{
    struct pack_fields fields = {.buf = buf, .at = buf->len};
    if (pack_has_room(buf, 1))
        buf->len++; /* the header comes at the end */
    else
        buf_extend(buf, 1);
    return fields;
}

/* A header that is longer than a byte. */
void pack_fields_widen(struct pack_fields *fields);

static inline void pack_fields_end(struct pack_fields *fields)
{
    enum { FIXMAP = 0x80, FIXMAP_MAX = 15 };
    if (fields->count > FIXMAP_MAX)
        pack_fields_widen(fields);
    else if (!fields->buf->failed)
        fields->buf->data[fields->at] = (uint8_t)(FIXMAP | fields->count);
    fields->buf = NULL;
}

/* Write the key; the caller packs exactly one value after it. */
static inline void pack_field(struct pack_fields *fields, uint32_t key)
{
    ASSERT(key <= PACK_FIELDS_MAX);
    fields->count++;
    pack_uint(fields->buf, key);
}

/* Key and value, or nothing if the value is its default. */
static inline void pack_field_uint(struct pack_fields *fields, uint32_t key, uint64_t v)
{
    struct buf *buf = fields->buf;
    ASSERT(key <= PACK_FIELDS_MAX);
    if (v == 0)
        return;
    fields->count++;
    if (!pack_has_room(buf, 1 + PACK_UINT_MAX)) {
        pack_uint_tight(buf, key, v);
        return;
    }
    uint8_t *p = buf->data + buf->len;
    *p = (uint8_t)key;
    buf->len = (size_t)(pack_put_uint(p + 1, v) - buf->data);
}

void pack_field_int(struct pack_fields *fields, uint32_t key, int64_t v);
void pack_field_bool(struct pack_fields *fields, uint32_t key, bool v);
void pack_field_bin(struct pack_fields *fields, uint32_t key, struct slice bytes);
void pack_field_str(struct pack_fields *fields, uint32_t key, struct slice text);
void pack_field_list(struct pack_fields *fields, uint32_t key, const struct pack_list *list);

/* ---- unpacking ----------------------------------------------------------- */

enum { UNPACK_DEPTH_MAX = 8 };

struct unpack {
    const uint8_t *pos;
    size_t left;
    bool bad; /* sticky: short, malformed, wrong type, out of range */
};

static inline struct unpack unpack_of(struct slice s)
{
    return (struct unpack){.pos = s.data, .left = s.len};
}

/* Of the functions below the frequent cases are inlined: small numbers, long ones that are not the
 * last bytes of all, short bytes, small maps and arrays. All else, and all that is bad, goes the
 * long way. */
static inline bool unpack_is_ahead(const struct unpack *u, size_t len)
{
    return !u->bad && u->left >= len;
}

static inline void unpack_step_over(struct unpack *u, size_t len)
{
    u->pos += len;
    u->left -= len;
}

uint32_t unpack_map_long(struct unpack *u);     /* the long way of unpack_map() … */
uint32_t unpack_array_long(struct unpack *u);   /* … unpack_array() … */
uint64_t unpack_uint_long(struct unpack *u);    /* … unpack_uint() … */
struct slice unpack_bin_long(struct unpack *u); /* … unpack_bin() … */
void unpack_skip_long(struct unpack *u);        /* … unpack_skip() */

/* Pairs of the map that starts here; 0 if bad. */
static inline uint32_t unpack_map(struct unpack *u)
{
    if (unpack_is_ahead(u, 1) && (u->pos[0] & 0xf0) == 0x80) {
        uint32_t pairs = u->pos[0] & 0x0f;
        if (pairs <= (u->left - 1) / 2) {
            unpack_step_over(u, 1);
            return pairs;
        }
    }
    return unpack_map_long(u);
}

static inline uint32_t unpack_array(struct unpack *u)
{
    if (unpack_is_ahead(u, 1) && (u->pos[0] & 0xf0) == 0x90) {
        uint32_t count = u->pos[0] & 0x0f;
        if (count <= u->left - 1) {
            unpack_step_over(u, 1);
            return count;
        }
    }
    return unpack_array_long(u);
}

/* One value of that type, else bad and 0 or the empty slice. */
static inline uint64_t unpack_uint(struct unpack *u)
{
    if (unpack_is_ahead(u, 1) && u->pos[0] <= 0x7f) {
        uint8_t v = u->pos[0];
        unpack_step_over(u, 1);
        return v;
    }
    if (unpack_is_ahead(u, 9) && (u->pos[0] & 0xfc) == 0xcc) {
        unsigned bytes = 1u << (u->pos[0] & 3);
        uint64_t v = get_u64be(u->pos + 1) >> (64 - 8 * bytes);
        unpack_step_over(u, 1 + bytes);
        return v;
    }
    return unpack_uint_long(u);
}

/* Bad if above `max`. */
static inline uint64_t unpack_uint_max(struct unpack *u, uint64_t max)
{
    uint64_t v = unpack_uint(u);
    if (v <= max)
        return v;
    u->bad = true;
    return 0;
}

/* A key of a map, an unsigned integer. `*seen` (zeroed before the first) notes
 * keys below 64; one that comes twice is bad. */
static inline uint64_t unpack_key(struct unpack *u, uint64_t *seen)
{
    uint64_t key = unpack_uint(u);
    if (u->bad)
        return UINT64_MAX;
    if (key >= 64)
        return key;
    if (*seen >> key & 1)
        u->bad = true;
    *seen |= UINT64_C(1) << key;
    return key;
}

int64_t unpack_int(struct unpack *u); /* what fits into one */
bool unpack_bool(struct unpack *u);   /* nothing else is true */

/* Borrowed from the input. */
static inline struct slice unpack_bin(struct unpack *u)
{
    if (unpack_is_ahead(u, 2) && u->pos[0] == 0xc4 && u->pos[1] <= u->left - 2) {
        struct slice s = slice_of(u->pos + 2, u->pos[1]);
        unpack_step_over(u, 2 + s.len);
        return s;
    }
    return unpack_bin_long(u);
}

struct slice unpack_bin_max(struct unpack *u, size_t max); /* bad if longer */
struct slice unpack_str(struct unpack *u);                 /* text, borrowed likewise */
struct slice unpack_str_max(struct unpack *u, size_t max); /* bad if longer */

/* Exactly `len` bytes of bin into `out`. */
void unpack_bin_exact(struct unpack *u, uint8_t *out, size_t len);

/* An array of at most `count_max` values of any kind, well formed, not looked
 * into: read them with unpack_of(list.raw). */
struct pack_list unpack_list(struct unpack *u, uint32_t count_max);

/* Step over one value of any kind and what is inside it. */
static inline void unpack_skip(struct unpack *u)
{
    if (unpack_is_ahead(u, 1) && u->pos[0] <= 0x80) /* a small number, a map of nothing */
        unpack_step_over(u, 1);
    else
        unpack_skip_long(u);
}

/* 0 if all went well and nothing is left over, else ERR_CORRUPT saying that
 * `what` is malformed. */
int unpack_finish(const struct unpack *u, const char *what, struct err *err);

#endif
