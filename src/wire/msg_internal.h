/* SPDX-License-Identifier: Apache-2.0
 *
 * msg_internal — messages as tables: one row for each field says its key, its
 * type, where it lies in the struct and what is allowed. Writing and reading walk
 * the same table, so they cannot disagree.
 *
 * Only for src/wire. A table may describe a member of a union only where the kind
 * is known before the table is chosen: a field is never written through a table
 * that was picked by bytes that come after it.
 */
#ifndef WIRE_MSG_INTERNAL_H_
#define WIRE_MSG_INTERNAL_H_

#include "base/buf.h"
#include "wire/msg.h"
#include "wire/pack.h"

enum { MSG_FIELD_KIND = 0 };  /* the key of the first pair of every message */
enum { STATUS_MIN = -10000 }; /* of a status; room for codes that are not known yet */

enum msg_type {
    MSG_U64,   /* uint64_t; limit: the greatest value, 0: of the type */
    MSG_U32,   /* uint32_t */
    MSG_U16,   /* uint16_t */
    MSG_U8,    /* uint8_t */
    MSG_ENUM,  /* an enum of the size of unsigned; limit: the greatest value. Numbers end here */
    MSG_BOOL,  /* bool */
    MSG_CODE,  /* int: 0 or a negative code */
    MSG_BIN,   /* struct slice of bytes; limit: bytes */
    MSG_TEXT,  /* struct slice of text; limit: bytes. A longer one is cut when written */
    MSG_FIXED, /* uint8_t[limit] */
    MSG_LIST,  /* struct pack_list; limit: elements */
    MSG_NUMBER_LAST = MSG_ENUM,
};

struct msg_field {
    uint8_t key; /* 1 … 63 */
    enum msg_type type;
    uint16_t offset; /* in the struct */
    uint64_t limit;
};

struct msg_table {
    const char *name; /* in messages to people */
    size_t count;
    const struct msg_field *fields;
};

#define MSG_TABLE(text, rows)                                                                      \
    {                                                                                              \
        .name = text, .count = ARRAY_LEN(rows), .fields = rows                                     \
    }

/* A whole message: header pair, then the fields of `from`. */
void msg_write(struct buf *buf, enum msg_kind kind, const struct msg_table *table,
               const void *from);

/* Start a message of several parts: the map is open and holds its kind. */
struct pack_fields msg_write_begin(struct buf *buf, enum msg_kind kind);

/* The fields of `from` into a map that is open. */
void msg_write_fields(struct pack_fields *fields, const struct msg_table *table, const void *from);

/* Read a whole message of that kind into `into`, which must be zeroed and is
 * rubbish on failure. ERR_CORRUPT if it is another kind or malformed. */
int msg_read(struct slice body, enum msg_kind kind, const struct msg_table *table, void *into,
             struct err *err);

/* The pairs of a map that are still to be read, and the keys that were. */
struct msg_pairs {
    uint32_t left;
    uint64_t seen;
};

/* Those of the map that starts here. */
static inline struct msg_pairs msg_pairs_begin(struct unpack *u)
{
    return (struct msg_pairs){.left = unpack_map(u)};
}

/* The pairs that follow the kind, and the kind; `u` is bad if there is none. */
uint32_t msg_read_begin(struct unpack *u, struct slice body, struct msg_pairs *ret_pairs);

/* A map that starts here, all of it: fields of the table into `into`, the others
 * are skipped. */
void msg_read_map(struct unpack *u, const struct msg_table *table, void *into);

/* Fields of the table into `into`, up to a key that is not in the table: true, and its value, which
 * the caller reads or skips, stands next. False: there are no more pairs, or `u` is bad. */
bool msg_read_fields(struct unpack *u, struct msg_pairs *pairs, const struct msg_table *table,
                     void *into, uint64_t *ret_key);

/* The bytes of one value, stepped over: to be read when more is known. */
struct slice msg_read_raw(struct unpack *u);

#endif
