/* SPDX-License-Identifier: Apache-2.0
 *
 * cursor — how far an import or export has come, in a file of its own, so that one that was
 * killed goes on there.
 *
 *   holdfast-cursor 1
 *   import offset=1048576 line=12001 records=12000 bytes=983040 sum=8f1c2a07
 *
 * It is written anew after each step, under another name first: there is the old one or the
 * new one. `sum` is the checksum of all bytes up to the offset: what is gone on with must
 * begin like what was begun with.
 *
 * Errors  ERR_NOT_FOUND: there is none; ERR_CORRUPT: that is no cursor; ERR_IO names the file.
 */
#ifndef TOOLS_CURSOR_H_
#define TOOLS_CURSOR_H_

#include "base/err.h"

struct cursor {
    uint64_t offset; /* bytes of the stream that are done */
    uint64_t line;
    uint64_t records;
    uint64_t bytes; /* of their keys and values */
    uint32_t sum;   /* crc32c of those `offset` bytes */
};

/* What `path` says of a stream of that kind ("import", "export"). */
int cursor_load(const char *path, const char *kind, struct cursor *ret_cursor, struct err *err);

/* Replace what `path` says. */
int cursor_save(const char *path, const char *kind, const struct cursor *cursor, struct err *err);

#endif
