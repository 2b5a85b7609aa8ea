/* SPDX-License-Identifier: Apache-2.0
 *
 * stream — the bytes of a snapshot (snapshot.h): records, and the chunks that they
 * are cut into. No I/O, no engine.
 *
 * Ownership  slices handed out are borrowed from the input.
 * Errors     ERR_SHORT: the record goes on in the next chunk. ERR_CORRUPT: no such
 *            record or chunk can be.
 */
#ifndef RANGE_STREAM_H_
#define RANGE_STREAM_H_

#include "base/buf.h"
#include "base/err.h"

enum stream_kind { STREAM_PUT = 1, STREAM_DELETE = 2, STREAM_END = 3 };

struct stream_record {
    enum stream_kind kind;
    struct slice key; /* on disk form; PUT, DELETE */
    struct slice value;
    uint64_t version;
    uint64_t expiry_ms; /* PUT; 0: none */
    uint64_t count;     /* END: records before it */
    uint32_t crc;       /* END: of the stream before it */
};

/* Append one record. */
void stream_record_encode(struct buf *out, const struct stream_record *record);

/* The record at the start of `in`; *ret_len is how many bytes it has. */
int stream_record_decode(struct slice in, struct stream_record *ret_record, size_t *ret_len,
                         struct err *err);

/* Replace `out` by a chunk of `bytes`, which stand at `offset` of the stream. */
void stream_chunk_encode(struct buf *out, uint64_t offset, bool is_last, struct slice bytes);

/* The bytes in a chunk that must stand at `offset`. */
int stream_chunk_decode(struct slice chunk, uint64_t offset, bool *ret_is_last,
                        struct slice *ret_bytes, struct err *err);

#endif
