/* SPDX-License-Identifier: Apache-2.0
 *
 * gc — what may be forgotten: the owner's table of safe versions and range times,
 * and the filter that flush and compaction pass every entry through.
 *
 * For one key, newest entry first (S: safe version, T: range time of its span):
 *   1. a second entry of the same version is an older write of it: dropped;
 *   2. everything above S stays;
 *   3. the first at or below S is what readers at S see: it stays, as a delete if it
 *      has expired (expiry <= T); the rest below is hidden by it: dropped;
 *   4. that first one, if it is (now) a delete and no deeper level holds the key,
 *      hides nothing: dropped.
 * Outside every span only rule 1 acts.
 */
#ifndef LSM_GC_H_
#define LSM_GC_H_

#include <stdatomic.h>

#include "lsm/entry.h"
#include "lsm/lsm.h"

/* Immutable; counted references from any thread. */
struct gc_table {
    atomic_uint refs;
    size_t count;
    struct lsm_gc_span *spans;
    uint8_t *keys; /* that the spans point into */
};

/* Copies. NULL when memory is out. */
struct gc_table *gc_table_new(const struct lsm_gc_span *spans, size_t count);
struct gc_table *gc_table_ref(struct gc_table *table);
void gc_table_unref(struct gc_table *table); /* NULL is fine */

/* The least of the spans that have keys of a stretch. */
struct gc_least {
    uint64_t safe_version;
    uint64_t range_time_ms;
    bool has_gap; /* some keys of the stretch are in no span: nothing is known of them */
};

/* Of the stretch [start, end); false if no span has keys of it. */
bool gc_table_least(const struct gc_table *table, struct slice start, struct slice end,
                    struct gc_least *ret_least);

/* Does a deeper level hold anything that `key` could be in? Asked in key order. */
typedef bool (*gc_below_fn)(void *data, struct slice key);

struct gc_filter {
    const struct gc_table *table; /* borrowed */
    gc_below_fn has_below;        /* NULL: always true */
    void *data;
    /* private */
    size_t span;      /* first span whose end is above the present key */
    struct buf key;   /* the present key */
    uint64_t version; /* last version seen of it */
    bool has_key;
    bool is_settled;  /* the one that readers at S see has passed */
    uint64_t dropped; /* entries dropped so far */
    bool crossed_end; /* the present key is the first beyond the end of a span */
};

/* `table` is borrowed for the whole life, as is `data`. */
void gc_filter_init(struct gc_filter *filter, const struct gc_table *table, gc_below_fn has_below,
                    void *data);
/* Frees the copy of the last key; accepts zeroes. */
void gc_filter_fini(struct gc_filter *filter);

/* Entries in order, newest source first among equals. True: keep `entry`, perhaps
 * changed into a delete. ERR_NOMEM shows as filter->key.failed. */
bool gc_filter_pass(struct gc_filter *filter, struct entry *entry);

#endif
