/* SPDX-License-Identifier: Apache-2.0
 *
 * table_builder — writes one table file from sorted entries.
 *
 *   open ─▶ add* ─▶ finish (synced; its name is not: sync the folder) ─▶ free
 *
 * Ownership  the file is the builder's until finish; free() without it removes the
 *            file. Blocking.
 * Threads    one at a time.
 * Errors     ERR_NO_SPACE, ERR_IO, ERR_NOMEM: only free() is left. DISK_FATAL.
 */
#ifndef LSM_TABLE_BUILDER_H_
#define LSM_TABLE_BUILDER_H_

#include "base/err.h"
#include "lsm/entry.h"
#include "lsm/table_format.h"

struct env;
struct table_builder;

struct table_options {
    size_t block_bytes;
    unsigned restart_every;
    unsigned filter_bits;
    bool no_compression;
    size_t value_bytes; /* values from this size on are counted as large; 0: none */
};

/* A finished file. */
struct table_info {
    uint64_t size;
    uint32_t crc; /* crc32c of the whole file */
    struct table_props props;
};

/* Make the file `path`; *ret_builder goes back by table_builder_finish() and _free(). ERR_IO,
 * ERR_NO_SPACE, ERR_NOMEM. */
int table_builder_open(struct table_builder **ret_builder, struct env *env, const char *path,
                       const struct table_options *options, struct err *err);

/* Order is asserted; equal (key, version) must have been sorted out before. */
int table_builder_add(struct table_builder *b, const struct entry *entry, struct err *err);

/* Bytes of file so far, nearly; and records. */
uint64_t table_builder_bytes(const struct table_builder *b);
uint64_t table_builder_records(const struct table_builder *b);

/* Bytes of memory that grow with the records so far. */
size_t table_builder_memory(const struct table_builder *b);

/* Has its top index, one block, become so long that another key should begin another table? */
bool table_builder_is_full(const struct table_builder *b);

/* Its keys so far, first and last; until the next record. At least one (asserted). */
void table_builder_span(const struct table_builder *b, struct slice *ret_first,
                        struct slice *ret_last);

/* All records went through gc.h at this safe version and range time. */
void table_builder_filtered(struct table_builder *b, uint64_t safe_version, uint64_t range_time_ms);

/* At least one record (asserted). On success *ret_info is the caller's (its props). */
int table_builder_finish(struct table_builder *b, struct table_info *ret_info, struct err *err);

/* NULL is fine. Unless finished, the file is removed: `keep` leaves it (teardown). */
void table_builder_free(struct table_builder *b, bool keep);

#endif
