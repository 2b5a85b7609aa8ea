/* SPDX-License-Identifier: Apache-2.0
 *
 * table — one immutable table file, open for reading; or a value file (values.h), which
 * has blocks and checksums alike, but no index.
 *
 * The top index lives with the table, and so do, once read and while they have less than
 * half of the cache's budget, its partitions and the filter. The rest, and all data, goes
 * through the cache under (file number, offset).
 *
 * Ownership  counted references; the last one closes the file. Removing it from
 *            disk is the business of lsm's files.h.
 * Threads    any.
 * Errors     ERR_CORRUPT and ERR_IO name the file and the offset. A table whose
 *            frame (size, footer, top index) is damaged opens all the same, and
 *            every read of it is ERR_CORRUPT: a piece of one table must not keep
 *            the whole store shut.
 */
#ifndef LSM_TABLE_H_
#define LSM_TABLE_H_

#include <stdatomic.h>

#include "base/list.h"
#include "lsm/cache.h"
#include "lsm/cursor.h"
#include "lsm/disk.h"
#include "lsm/table_format.h"
#include "lsm/table_top.h"

/* A place that the disk fails to read at so many tries over so long is damage like any other. */
enum { TABLE_UNREAD_TRIES = 4, TABLE_UNREAD_US = 30 * 1000 * 1000 };

/* A place that the disk failed to read, and did not read since; any thread. */
struct table_unread {
    atomic_uint tries;             /* one not long after the other; 0: there is no such place */
    atomic_uint_fast64_t since_us; /* the first … */
    atomic_uint_fast64_t last_us;  /* … and the last of them */
    atomic_uint_fast64_t offset;
};

struct table {
    atomic_uint refs;
    struct env *env;
    struct env_file *file;
    struct cache *cache; /* borrowed; outlives every table */
    uint64_t number;
    uint64_t size;
    char name[DISK_NAME_MAX];
    bool is_values;           /* a value file */
    struct table_parts parts; /* the top index; none when damaged */
    struct table_pin filter;
    struct table_footer footer;
    struct table_props props;
    char damage[160];                /* why the frame cannot be used; "" when it can */
    atomic_bool is_bad;              /* damage was found in it: compaction leaves it alone */
    atomic_uint_fast64_t bad_offset; /* where, once is_bad */
    struct table_unread unread;
    bool is_told;    /* loop: the owner heard of it */
    uint32_t pieces; /* loop: pieces of the current version that show it */
    bool is_dead;    /* loop: in the list of files to remove */
    struct list in_dead;
};

/* Open `path` as table `number` (0: it goes by the name of the path) of `size` bytes (0: whatever
 * it has). 0 also for a damaged frame (see `damage`). ERR_NOT_FOUND, ERR_IO, ERR_NOMEM. */
int table_open(struct table **ret_table, struct env *env, struct cache *cache, const char *path,
               uint64_t number, uint64_t size, struct err *err);
/* The same for a value file: only verify, scrub and table_block() may be asked of it. */
int table_open_values(struct table **ret_table, struct env *env, struct cache *cache,
                      const char *path, uint64_t number, uint64_t size, struct err *err);
/* As one with a damaged frame, without its file: for who goes on where nothing of it can be read.
 * NULL when memory is out. */
struct table *table_unreadable(struct env *env, struct cache *cache, const char *path,
                               bool is_values, uint64_t number, const char *text);
struct table *table_ref(struct table *table);
void table_unref(struct table *table); /* NULL is fine */

/* Bring filter and index into memory to stay there: who made the table does it in the
 * background, so that the first readers need not. Only while what stays of all tables has less
 * than a fourth of the cache's budget. ERR_CORRUPT: what was read is damaged. After other
 * errors it is colder than it could be, no more: 0. Blocking. */
int table_warm(struct table *table, struct err *err);

/* Could it hold `key`? 1 yes, 0 certainly not, or an error. `flags` as in lsm.h. */
int table_may_contain(struct table *table, uint64_t hash, unsigned flags, struct err *err);

/* Begin to fetch what table_may_contain() will look at, if it is in memory. */
void table_prefetch_filter(struct table *table, uint64_t hash);

/* The newest entry of `key` with version <= version_max: 0 and the block that the
 * entry points into (the caller unrefs it), or ERR_NOT_FOUND, ERR_WOULD_BLOCK,
 * ERR_CORRUPT, ERR_IO, ERR_NOMEM. The entry's key is not set. */
int table_get(struct table *table, struct slice key, uint64_t version_max, unsigned flags,
              struct entry *ret_entry, struct block **ret_block, struct err *err);

/* A cursor over entries with lower <= key < upper (empty upper: no bound). The table
 * and the bounds must outlive it. `err` as in cursor.h. NULL when memory is out. */
struct cursor *table_cursor(struct table *table, struct slice lower, struct slice upper,
                            unsigned flags, struct err *err);

/* Read a checked and decoded block, through the cache. */
int table_block(struct table *table, struct table_handle handle, unsigned flags,
                struct block **ret_block, struct err *err);

/* Data bytes and records of keys in [start, end), from the top index alone: of a partly
 * covered partition as much as if its keys stood evenly between its bounds. Estimates of
 * spans that follow each other add up to that of the whole. */
void table_approximate(const struct table *table, struct slice start, struct slice end,
                       uint64_t *ret_bytes, uint64_t *ret_records);

/* The same, with what the keys' values take in value files: TABLE_VALUES_UNTOLD if the table
 * does not say where they are. */
struct table_estimate {
    uint64_t bytes, records, value_bytes;
};
struct table_estimate table_estimate(const struct table *table, struct slice start,
                                     struct slice end);

/* Check the next part of the table against its checksums, bypassing the cache: *part is 0
 * at first, and where to go on after. 1: there is more; 0: that was the last; or the error.
 * *ret_bytes: how much was read. */
int table_scrub(struct table *table, size_t *part, uint64_t *ret_bytes, struct err *err);

/* Read the whole file against `crc` (unless `crc` is NULL) and every block against
 * its own. Calls `on_bad` for each damage. 0 or the first error. */
typedef void (*table_bad_fn)(void *data, const char *file, uint64_t offset, const char *text);
int table_verify(struct table *table, const uint32_t *crc, table_bad_fn on_bad, void *data,
                 struct err *err);

#endif
