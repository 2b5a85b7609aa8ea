/* SPDX-License-Identifier: Apache-2.0
 *
 * json — writing JSON (RFC 8259) into a buf, and reading one bounded document
 * into a flat array of nodes.
 *
 *   json_begin(&w, &buf);                  {"key": "a", "count": 3}
 *   json_object_begin(&w);
 *   json_key(&w, "key");   json_text(&w, "a");
 *   json_key(&w, "count"); json_u64(&w, 3);
 *   json_object_end(&w);
 *
 * Ownership  the writer borrows the buf. Nodes borrow the text that was parsed.
 * Errors     the writer's only failure is the buf's own (`failed`); a wrong order
 *            of calls is an assertion. The parser returns ERR_INVALID naming the
 *            offset, or ERR_TOO_LARGE.
 * Limits     JSON_DEPTH_MAX levels; as many nodes as the caller gives.
 */
#ifndef BASE_JSON_H_
#define BASE_JSON_H_

#include "base/base.h"

struct buf;
struct err;

enum { JSON_DEPTH_MAX = 16 };

struct json_writer {
    struct buf *buf; /* borrowed */
    /* private */
    unsigned depth;
    bool has_member[JSON_DEPTH_MAX + 1]; /* does a comma come before the next one? */
    bool is_object[JSON_DEPTH_MAX + 1];
    bool has_key; /* json_key() was the last call */
};

/* Append to `buf` from now on. */
void json_begin(struct json_writer *w, struct buf *buf);

/* Open and close the two containers; they must pair. */
void json_object_begin(struct json_writer *w);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w);
void json_array_end(struct json_writer *w);

/* The name of the next member; in an object, before every value. */
void json_key(struct json_writer *w, const char *name);

/* A string. Bytes that are not UTF-8 are replaced by U+FFFD: where they must
 * survive, use json_bytes_member(). */
void json_string(struct json_writer *w, struct slice text);
void json_text(struct json_writer *w, const char *text);

/* Numbers, true or false, null. A double is written with up to three decimals;
 * one that is no finite number is written as null. */
void json_u64(struct json_writer *w, uint64_t v);
void json_i64(struct json_writer *w, int64_t v);
void json_double(struct json_writer *w, double v);
void json_bool(struct json_writer *w, bool v);
void json_null(struct json_writer *w);

/* In an object: "name": "…" if `bytes` is UTF-8, else "name_b64": base64. */
void json_bytes_member(struct json_writer *w, const char *name, struct slice bytes);

/* The same, and base64 also of UTF-8 that escapes would make more than twice as long: of control
 * characters, which take six bytes each, not of quotes or line ends. */
void json_short_member(struct json_writer *w, const char *name, struct slice bytes);

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* One value. Children of an array follow their parent; those of an object come
 * in pairs, the name (a string) and its value. */
struct json_node {
    enum json_type type;
    struct slice raw;   /* borrowed; a string without its quotes, escapes as written */
    size_t child_count; /* direct children; names count too */
    size_t next;        /* index of the node behind this one and all its children */
};

/* Parse the one document in `text` (blanks around it are fine). nodes[0] is the
 * root. ERR_INVALID with the offset, ERR_TOO_LARGE if there are more than
 * `nodes_max` values or JSON_DEPTH_MAX levels. */
int json_parse(struct slice text, struct json_node *nodes, size_t nodes_max, size_t *ret_count,
               struct err *err);

/* The value of member `name` of the object nodes[at], NULL if it has none (or is
 * no object). The first one if a name comes twice. */
const struct json_node *json_member(const struct json_node *nodes, size_t at, const char *name);

/* Append the string's bytes with escapes resolved. ERR_INVALID if the node is no
 * string or names half a surrogate pair. */
int json_node_string(const struct json_node *node, struct buf *buf);

/* The number, if it is a whole one in range; else ERR_INVALID. */
int json_node_u64(const struct json_node *node, uint64_t *ret_value);
int json_node_i64(const struct json_node *node, int64_t *ret_value);

/* True or false; ERR_INVALID for anything else. */
int json_node_bool(const struct json_node *node, bool *ret_value);

#endif
