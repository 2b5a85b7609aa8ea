/* SPDX-License-Identifier: Apache-2.0
 *
 * table_format — the bytes of a table file.
 *
 *   (data block | index partition)*   each partition after the data that it indexes
 *   filter block                      absent in tables without a filter
 *   properties block
 *   stale block                       stale.h; absent in tables of earlier versions, which do not
 *                                     look for it: no handle names it, it fills what is between
 *   top index block                   one entry for each partition
 *   footer                            TABLE_FOOTER bytes
 *
 * A block on disk is `payload | type u8 | crc32c u32`; the checksum stands over the
 * payload, the type and the block's offset in the file (u64), so that a block read
 * from the wrong place is noticed. type 0: plain; type 1: LZ4, the payload begins
 * with the plain length (u32).
 *
 * Index entries: encoded key >= the last one in the block that they name, < the first
 * of the next. Partition value: `offset varint | len varint`; top value: the same,
 * then `data bytes varint | records varint | bytes in value files varint` of the data that
 * the partition covers (the last one is missing in tables of earlier versions).
 *
 * Footer: top (offset u64, len u32) | filter | properties | format u32 | kind u32 |
 * crc32c u32 of all before | magic u64. A handle's length is without type and checksum.
 *
 * kind 0 is a table. kind 1 is a value file (values.h): a block for each value, then, as
 * `top`, the directory: the length of each of these blocks (varint), in their order. It has
 * neither filter nor properties.
 */
#ifndef LSM_TABLE_FORMAT_H_
#define LSM_TABLE_FORMAT_H_

#include "base/base.h"
#include "base/buf.h"
#include "lsm/stale.h"

enum { TABLE_FORMAT = 1, TABLE_BLOCK_TAIL = 5, TABLE_FOOTER = 56 };
#define TABLE_MAGIC UINT64_C(0x31304c42544c5348) /* "HSLTBL01" */

enum table_block_type { TABLE_BLOCK_PLAIN = 0, TABLE_BLOCK_LZ4 = 1 };

struct table_handle {
    uint64_t offset;
    uint32_t len;
};

struct table_footer {
    struct table_handle top;
    struct table_handle filter; /* len 0: none */
    struct table_handle props;
    bool is_values; /* the footer of a value file */
};

/* Exactly TABLE_FOOTER bytes, checksum included. */
void table_footer_encode(const struct table_footer *footer, uint8_t out[TABLE_FOOTER]);

/* `file_size` bounds every handle. ERR_CORRUPT with a message. */
struct err;
int table_footer_decode(struct slice raw, uint64_t file_size, struct table_footer *ret_footer,
                        struct err *err);

/* The stale block, or false: there is none. */
bool table_stale_handle(const struct table_footer *footer, struct table_handle *ret_handle);

/* Bytes of value files (type and checksum included) that a table refers to, by file. */
struct table_ref {
    uint64_t file;
    uint64_t bytes;
};

/* What a table knows about itself. Keys without version. */
struct table_props {
    uint64_t records;
    uint64_t deletes;
    uint64_t expiring;   /* puts with an expiry … */
    uint64_t expiry_max; /* … and the greatest of them */
    uint64_t keys;       /* different ones */
    uint64_t version_min;
    uint64_t version_max;
    uint64_t key_bytes;
    uint64_t value_bytes;
    uint64_t data_bytes; /* of data blocks on disk */
    uint64_t data_blocks;
    uint64_t large_bytes; /* of values in it that could stand in a value file */
    struct stale stale;   /* of its own block */
    struct buf smallest;
    struct buf largest;
    struct table_ref *refs; /* by file, ascending */
    size_t ref_count, ref_cap;
};

/* All zero, both keys empty, nothing ever stale. */
void table_props_init(struct table_props *props);
/* Frees keys and references; accepts zeroes. */
void table_props_fini(struct table_props *props);
/* Count `bytes` more of `file` as referred to. ERR_NOMEM. */
int table_props_refer(struct table_props *props, uint64_t file, uint64_t bytes);
/* Append them. */
void table_props_encode(const struct table_props *props, struct buf *out);
/* On success the keys are copies, freed by table_props_fini(). ERR_CORRUPT with a message,
 * ERR_NOMEM. */
int table_props_decode(struct slice raw, struct table_props *ret_props, struct err *err);

/* Where an index entry points; false if it cannot be. */
bool table_partition_decode(struct slice value, struct table_handle *ret_handle);
struct table_top {
    struct table_handle handle;
    uint64_t data_bytes;
    uint64_t records;
    uint64_t value_bytes; /* in value files; TABLE_VALUES_UNTOLD: it does not say */
};
#define TABLE_VALUES_UNTOLD UINT64_MAX
bool table_top_decode(struct slice value, struct table_top *ret_top);

/* Checksum of a block at `offset`: over payload and type, which lie together. */
uint32_t table_block_crc(const uint8_t *payload_and_type, size_t len, uint64_t offset);

/* Bytes of the plain content of a checked block (payload, type). ERR_CORRUPT. */
int table_block_plain_len(struct slice payload, uint8_t type, size_t *ret_len);

/* Decode it into `out`, exactly that many bytes. ERR_CORRUPT. */
int table_block_plain(struct slice payload, uint8_t type, uint8_t *out, size_t out_len);

#endif
