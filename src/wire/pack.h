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
#include "base/err.h"

/* Elements of a msgpack array without its header, one after another: how lists
 * travel through structs without an array of their own. Built by appending
 * elements to a buf; read by a cursor over `raw`. */
struct pack_list {
    uint32_t count;
    struct slice raw; /* borrowed */
};

/* ---- packing: append one value ------------------------------------------ */

void pack_map(struct buf *buf, uint32_t pairs);   /* header; `pairs` keys and values follow */
void pack_array(struct buf *buf, uint32_t count); /* header; `count` values follow */
void pack_uint(struct buf *buf, uint64_t v);      /* in the fewest bytes */
void pack_int(struct buf *buf, int64_t v);        /* in the fewest bytes */
void pack_bool(struct buf *buf, bool v);
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

struct pack_fields pack_fields_begin(struct buf *buf);
void pack_fields_end(struct pack_fields *fields);

/* Write the key; the caller packs exactly one value after it. */
void pack_field(struct pack_fields *fields, uint32_t key);

/* Key and value, or nothing if the value is its default. */
void pack_field_uint(struct pack_fields *fields, uint32_t key, uint64_t v);
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

/* Pairs of the map that starts here; 0 if bad. */
uint32_t unpack_map(struct unpack *u);
uint32_t unpack_array(struct unpack *u);

/* A key of a map, an unsigned integer. `*seen` (zeroed before the first) notes
 * keys below 64; one that comes twice is bad. */
uint64_t unpack_key(struct unpack *u, uint64_t *seen);

/* One value of that type, else bad and 0 or the empty slice. */
uint64_t unpack_uint(struct unpack *u);
uint64_t unpack_uint_max(struct unpack *u, uint64_t max); /* bad if above `max` */
int64_t unpack_int(struct unpack *u);
bool unpack_bool(struct unpack *u);
struct slice unpack_bin(struct unpack *u); /* borrowed from the input */
struct slice unpack_bin_max(struct unpack *u, size_t max);
struct slice unpack_str(struct unpack *u);
struct slice unpack_str_max(struct unpack *u, size_t max);

/* Exactly `len` bytes of bin into `out`. */
void unpack_bin_exact(struct unpack *u, uint8_t *out, size_t len);

/* An array of at most `count_max` values of any kind, well formed, not looked
 * into: read them with unpack_of(list.raw). */
struct pack_list unpack_list(struct unpack *u, uint32_t count_max);

/* Step over one value of any kind and what is inside it. */
void unpack_skip(struct unpack *u);

/* 0 if all went well and nothing is left over, else ERR_CORRUPT saying that
 * `what` is malformed. */
int unpack_finish(const struct unpack *u, const char *what, struct err *err);

#endif
