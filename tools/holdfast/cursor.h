/* SPDX-License-Identifier: Apache-2.0
 *
 * cursor — how far an import or export has come, in a file of its own, so that one that was
 * killed goes on there.
 *
 *   holdfast-cursor 2
 *   import offset=1048576 line=12001 records=12000 bytes=983040 sum=8f1c2a07
 *   of cluster=88000101cf3b2a90 keyspace=65536 span=00000000
 *
 * It is written anew after each step, under another name first: there is the old one or the
 * new one. `sum` is the checksum of all bytes up to the offset: what is gone on with must
 * begin like what was begun with. The last line says what keys of whom it is of: to go on with
 * others would leave some out, or mix them.
 *
 * Errors  ERR_NOT_FOUND: there is none; ERR_CORRUPT: that is no cursor; ERR_UNSUPPORTED: one of
 *         before there was a last line; ERR_INVALID: it is of others; ERR_IO names the file.
 */
#ifndef TOOLS_CURSOR_H_
#define TOOLS_CURSOR_H_

#include "base/base.h"
#include "base/err.h"

struct cursor {
    uint64_t offset; /* bytes of the stream that are done */
    uint64_t line;
    uint64_t records;
    uint64_t bytes; /* of their keys and values */
    uint32_t sum;   /* crc32c of those `offset` bytes */
};

/* Which stream: of what kind ("import", "export"), and of which keys. */
struct cursor_of {
    const char *kind;
    uint64_t cluster_id;
    uint32_t keyspace;
    uint32_t span_sum; /* cursor_span_sum(); 0: whatever keys the stream has */
};

/* A checksum over the bounds of keys. */
uint32_t cursor_span_sum(struct slice start, struct slice end);

/* What `path` says of that stream; ret_cursor is untouched on failure. */
int cursor_load(const char *path, const struct cursor_of *of, struct cursor *ret_cursor,
                struct err *err);

/* Replace what `path` says. */
int cursor_save(const char *path, const struct cursor_of *of, const struct cursor *cursor,
                struct err *err);

/* Would the cursor and its stream, or what either is written as first, be the same file? There may
 * be none yet. */
bool cursor_clashes(const char *path, const char *stream);

#endif
