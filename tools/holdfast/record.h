/* SPDX-License-Identifier: Apache-2.0
 *
 * record — one key and value as a line of JSON:
 *
 *   {"key":"name","value":"Ada"}        both UTF-8
 *   {"key_b64":"/wA=","value_b64":"…"}  bytes that are not, or that escapes would make too long
 *
 * "ttl_ms" may be there, and when reading what else `get --json` and `scan --json` print of a key
 * ("version", "found", "ok"), which is ignored. Any other member is refused, and so is a second one
 * of the same name.
 *
 * Ownership  a record owns its two bufs; reuse one for many lines.
 */
#ifndef TOOLS_HOLDFAST_RECORD_H_
#define TOOLS_HOLDFAST_RECORD_H_

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

enum { RECORD_LINE_MAX = 24 << 20, RECORD_NODES_MAX = 64 };

struct record {
    struct buf key;
    struct buf value;
    uint64_t ttl_ms;
};

void record_init(struct record *record);
void record_fini(struct record *record);

/* Read one line. ERR_INVALID with what is wrong, the record is then unspecified. */
int record_parse(struct record *record, struct slice line, struct err *err);

/* Append the line with its newline: not over RECORD_LINE_MAX, whatever the bytes are. */
void record_append(struct buf *buf, struct slice key, struct slice value, uint64_t ttl_ms);

/* A byte-string member, as `name` or `name`_b64: appended to `buf`. ERR_NOT_FOUND if
 * neither is there, ERR_INVALID with what is wrong. */
int record_bytes_member(const struct json_node *nodes, const char *name, struct buf *buf,
                        struct err *err);

#endif
