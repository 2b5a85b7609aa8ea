/* SPDX-License-Identifier: Apache-2.0
 *
 * values — value files: large values outside of the tree (WiscKey, FAST '16).
 *
 *   flush, compaction, staging: a value of `value_bytes` or more ─▶ NNNNNN.val
 *                               its reference (file, place, size) ─▶ the table
 *
 * A value file is immutable, as a table is, and is one "piece" of the version's last list
 * (VERSION_VALUES); it goes when no table refers to it any more. Each table's properties
 * say how many bytes of which value files it refers to, so what is garbage is known
 * without reading anything. Compaction moves what still lives out of the files with most
 * garbage (value_gc.h).
 *
 * An open value file is a struct table that has no index: its blocks are found by
 * reference, read, checked, cached and scrubbed as a table's are.
 *
 * Threads    reading: any. A value_builder: one at a time, blocking.
 * Errors     ERR_CORRUPT and ERR_IO name file and offset.
 */
#ifndef LSM_VALUES_H_
#define LSM_VALUES_H_

#include "lsm/block_writer.h"
#include "lsm/entry.h"
#include "lsm/table.h"

/* Where a value stands. As bytes: file u64 | offset u64 | len u32 | size u32. */
struct value_ref {
    uint64_t file;
    struct table_handle at;
    uint32_t size; /* bytes of the value */
};

void value_ref_encode(const struct value_ref *ref, uint8_t out[ENTRY_REF_BYTES]);

/* Exactly ENTRY_REF_BYTES (asserted: entry_decode() saw to it). Any bytes are some ref. */
struct value_ref value_ref_decode(struct slice raw);

/* Bytes of the file that it stands for. */
static inline uint64_t value_ref_charge(const struct value_ref *ref)
{
    return (uint64_t)ref->at.len + TABLE_BLOCK_TAIL;
}

/* ---- reading ------------------------------------------------------------ */

struct version;

/* The value that an entry of `version` refers to, in a block that the caller unrefs.
 * ERR_CORRUPT also for a file that the version does not have; ERR_WOULD_BLOCK under
 * LSM_READ_NO_IO. */
int values_get(const struct version *version, struct slice raw_ref, unsigned flags,
               struct block **ret_block, struct err *err);

/* The blocks of a value file in order, by its directory: false at the end, or when the
 * directory makes no sense (`is_bad`). Begin with zeroes but `raw`. */
struct values_walk {
    struct slice raw; /* content of the directory block */
    uint64_t size;    /* of the file */
    struct table_handle at;
    uint64_t next; /* offset of the next block */
    bool is_bad;
};
bool values_walk(struct values_walk *walk);

/* ---- writing ------------------------------------------------------------ */

struct value_info {
    uint64_t number;
    uint64_t size;
    uint32_t crc;
    uint64_t bytes; /* of the values' blocks */
    uint64_t records;
};

/* After a value that does not shrink the next ones are not even tried, of so many in a row more
 * and more: values of one kind come together. */
enum { VALUES_UNTRIED_MAX = 15 };

enum { VALUES_DIRECTORY_BYTES = 16 << 20 }; /* more than so many make a file full */

struct value_builder {
    struct block_writer writer;
    uint64_t number;
    uint64_t records;
    struct buf directory;
    uint32_t untried; /* so many are not tried now … */
    uint32_t next;    /* … and so many after the next that does not shrink */
};

/* A new file `number` in `dir`, of about `bytes`. On failure there is nothing to fini. */
int value_builder_open(struct value_builder *b, struct env *env, const char *dir, uint64_t number,
                       uint64_t bytes, bool no_compression, struct err *err);
int value_builder_add(struct value_builder *b, struct slice value, struct value_ref *ret_ref,
                      struct err *err);
static inline uint64_t value_builder_bytes(const struct value_builder *b)
{
    return block_writer_offset(&b->writer);
}

/* Should another value begin another file? It has `bytes_max`, or its directory, one block, is as
 * long as it may be. */
bool value_builder_is_full(const struct value_builder *b, uint64_t bytes_max);

/* At least one value (asserted). Synced; its name is not. */
int value_builder_finish(struct value_builder *b, struct value_info *ret_info, struct err *err);

/* Unless finished, the file is removed, if not `keep`. Accepts zeroes. */
void value_builder_fini(struct value_builder *b, bool keep);

/* A piece that stands for a finished file, open. */
struct piece;
int values_open_piece(struct env *env, struct cache *cache, const char *dir,
                      const struct value_info *info, struct piece **ret_piece, struct err *err);

#endif
