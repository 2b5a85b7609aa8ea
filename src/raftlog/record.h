/* SPDX-License-Identifier: Apache-2.0
 *
 * record — the bytes of a segment file.
 *
 *   segment: head | record | record | … | CLOSE record | zeroes or older bytes
 *
 *   head, 64 bytes, little-endian
 *     0  4 crc32c of the rest         4  4 magic "HFRL"
 *     8  4 format version             12 4 flags (HEAD_*)
 *     16 8 segment number, from 1     24 8 salt of this log
 *     32 8 first live segment         40 8 batch that wrote it
 *     48 4 length of the segment before up to the end of its CLOSE record
 *     52 4 chain of the segment before 56 8 zero
 *
 *   record, a multiple of 8 bytes
 *     0  4 crc32c of bytes 4..72, begun with (salt, segment number)
 *     4  4 length of all of it        8  1 type
 *     9  1 flags (RECORD_*)           10 2 zero
 *     12 4 entries in it              16 8 group, 0 for the log's own records
 *     24 8 batch number               32 4 where the batch begins in the file
 *     36 4 crc32c of the extension    40 8 first index
 *     48 8 term  56 8 vote  64 8 hint (the group's, complete in every record)
 *     72   extension: [base index 8, base term 8] with RECORD_BASE,
 *          [source 8] × entries in a COPY
 *          entries, back to back, then zeroes to a multiple of 8
 *
 *   entry
 *     0  4 crc32c of (group, index), bytes 4..24 and the data
 *     4  4 length of the data         8  8 term
 *     16 1 type                       17 7 zero
 *     24   data
 *
 * The salt makes it impossible for data to look like a record, and the segment number
 * for what is left in a file that is used again. `batch begins` says that everything
 * before it was synced when the record was written: a bad place before it is damage, one
 * behind it may be a torn write.
 *
 * Errors     decoders say bool; nothing from the file is trusted before it is compared
 *            with what is there.
 * Threads    pure.
 */
#ifndef RAFTLOG_RECORD_H_
#define RAFTLOG_RECORD_H_

#include "base/base.h"

enum {
    HEAD_LEN = 64,
    HEAD_VERSION = 1,
    RECORD_LEN = 72,      /* without extension */
    RECORD_BASE_LEN = 16, /* the base in the extension */
    RECORD_ALIGN = 8,
    RECORD_COPY_MAX = 1024, /* entries in one COPY */
    ENTRY_LEN = 24,
    CLOSE_ITEM_LEN = 16, /* a group in a CLOSE record */
};
#define HEAD_MAGIC UINT32_C(0x4c524648)

enum head_flags {
    HEAD_FIRST = 1 << 0,        /* no segment before this one */
    HEAD_PREV_DAMAGED = 1 << 1, /* the segment before ended in damage, without CLOSE */
};

/* On disk: never renumber. */
enum record_type {
    RECORD_APPEND = 1, /* state and entries of a group; entries cut what is at and above */
    RECORD_COPY = 2,   /* entries of an old segment again; cuts nothing */
    RECORD_REMOVE = 3, /* the group is gone */
    RECORD_TRIM = 4,   /* segments below first_index are gone; group 0 */
    RECORD_CLOSE = 5,  /* the segment ends; one entry: its groups; group 0 */
    RECORD_TYPE_NR,
};

enum record_flags {
    RECORD_BASE = 1 << 0,  /* has base index and term */
    RECORD_RESET = 1 << 1, /* the log of the group begins anew at the base */
    RECORD_BIRTH = 1 << 2, /* the first record of the group */
    RECORD_FLAGS = 7,
};

struct head {
    uint32_t flags;
    uint64_t number;
    uint64_t salt;
    uint64_t first_live;
    uint64_t batch;
    uint32_t prev_len;
    uint32_t prev_chain;
};

struct record {
    enum record_type type;
    uint8_t flags;
    uint32_t length; /* bytes */
    uint32_t count;  /* entries */
    uint64_t group;
    uint64_t batch;
    uint32_t batch_start;
    uint64_t first_index;
    uint64_t term;
    uint64_t vote;
    uint64_t hint;
    uint64_t base_index; /* 0 without RECORD_BASE */
    uint64_t base_term;
};

struct entry_head {
    uint32_t crc;
    uint32_t len;
    uint64_t term;
    uint8_t type;
};

/* Exactly HEAD_LEN bytes, checksum included. */
void head_encode(const struct head *head, uint8_t out[HEAD_LEN]);
/* False, and nothing written, unless the checksum and all fields are right. */
bool head_decode(const uint8_t in[HEAD_LEN], struct head *ret_head);

/* What every record's checksum of one segment begins with. */
uint32_t record_seed(uint64_t salt, uint64_t number);

/* Bytes before the first entry. */
size_t record_head_len(enum record_type type, uint8_t flags, uint32_t count);

/* All bytes of a record whose entries carry `data_len` bytes in sum. */
uint64_t record_len(enum record_type type, uint8_t flags, uint32_t count, uint64_t data_len);

/* Write header and extension in front of entries that stand in their place already.
 * `sources` (count of them) only for a COPY. Returns the record's checksum. */
uint32_t record_encode(const struct record *record, const uint64_t *sources, uint32_t seed,
                       uint8_t *out);

/* Is there a good header at `in`? Length and extension fit, entries are not looked
 * at. */
bool record_decode(struct slice in, uint32_t seed, struct record *ret_record);

/* Walk the entries of a decoded record whose bytes are `in`, and its padding: true if
 * all are good. `each` may be NULL; `offset` is the entry's place in the record. */
typedef void (*record_each_cb)(void *data, uint64_t index, uint32_t offset,
                               const struct entry_head *entry, struct slice bytes);
bool record_walk(const struct record *record, struct slice in, record_each_cb each, void *data);

/* The source of the i-th entry of a COPY: segment number << 32 | offset. */
uint64_t record_source(const struct record *record, const uint8_t *in, uint32_t i);

/* Write one entry; returns the bytes written (ENTRY_LEN + data.len). */
size_t entry_encode(uint64_t group, uint64_t index, uint64_t term, uint8_t type, struct slice data,
                    uint8_t *out);

/* Is `in` exactly the entry (group, index)? Then its data. */
bool entry_decode(struct slice in, uint64_t group, uint64_t index, struct entry_head *ret_entry,
                  struct slice *ret_data);

/* ---- scanning a segment ------------------------------------------------- */

enum scan_result {
    SCAN_RECORD, /* good, entries too */
    SCAN_BODY,   /* good header, bad entries; at `at`, pos behind it */
    SCAN_GAP,    /* no header at `at`; the next good one is at `pos` */
    SCAN_END,    /* no good header at or behind `at` */
};

/* One pass over the bytes of a segment, behind its head. */
struct scan {
    struct slice bytes;
    uint32_t seed;
    uint32_t pos; /* where the next call looks */
    uint32_t at;  /* what the last call spoke of */
};

/* From the first record on; `bytes` are borrowed. */
struct scan scan_of(struct slice bytes, uint32_t seed);

/* *ret_record for SCAN_RECORD and SCAN_BODY. */
enum scan_result scan_next(struct scan *scan, struct record *ret_record);

static inline struct slice scan_record_bytes(const struct scan *scan, const struct record *record)
{
    return slice_of(scan->bytes.data + scan->at, record->length);
}

#endif
