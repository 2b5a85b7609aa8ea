/* SPDX-License-Identifier: Apache-2.0
 *
 * build — from a cursor to table files: the work of flush, compaction and of an
 * edit's puts, in steps that a background lane can run one after the other.
 *
 *   build_init ─▶ build_step* (1: more, 0: done, <0: failed) ─▶ take outputs ─▶ build_fini
 *
 * Large values go to value files beside the tables, if the build was asked to; references to
 * value files that are to be emptied become values again first (and go to new files, or
 * into the table).
 *
 * A failed build has removed its files. A done one has synced files under synced
 * names, opened as tables.
 *
 * Threads   init, fini: loop; step: one background thread, on immutable inputs.
 */
#ifndef LSM_BUILD_H_
#define LSM_BUILD_H_

#include "lsm/gc.h"
#include "lsm/table.h"
#include "lsm/table_builder.h"
#include "lsm/value_gc.h"
#include "lsm/values.h"
#include "lsm/version.h"

/* Everything that a build needs of its lsm; immutable but for the counter. */
struct build_env {
    struct env *env;
    const char *dir;
    struct cache *cache;
    struct table_options table;
    size_t table_bytes;           /* begin a next file at; 0: one file (and one of local keys),
                                   * as long as its index allows that */
    size_t value_file_bytes;      /* begin a next value file at */
    atomic_uint_fast64_t *number; /* next file number */
};

struct build_output {
    struct piece *piece; /* with its table; order is not set */
};

/* What becomes of large values. */
struct build_values {
    bool is_separate;             /* into value files */
    struct value_victims victims; /* owned by the build; files to be emptied … */
    const struct version *source; /* … which are of this version; borrowed */
};

struct build {
    struct build_env with;
    struct cursor *source; /* owned … */
    struct slice lo, hi;   /* … and what of it is built: lo <= key < hi (empty: no bound) */
    struct gc_table *gc;   /* one reference */
    struct gc_filter filter;
    /* has_below: pieces of deeper levels, in key order; NULL for "there may be any" */
    const struct version *below_version; /* borrowed */
    unsigned below_level;                /* first level that counts; 0: none given */
    size_t below_at[LSM_LEVELS];
    struct build_values values;
    /* state */
    bool is_started, is_done;
    struct table_builder *table;
    uint64_t table_number;
    struct build_output *outputs;
    size_t output_count, output_cap;
    struct value_builder value_file;
    bool has_value_file;
    struct block *moved; /* a value read from a victim, until it is written */
    uint64_t bytes_in, bytes_out;
    uint64_t value_bytes_out;   /* of bytes_out, in value files … */
    uint64_t value_bytes_moved; /* … and of values that came from others */
    struct err err;
};

/* Tables or value files? */
static inline unsigned build_output_list(const struct build_output *output, unsigned level)
{
    return output->piece->table->is_values ? (unsigned)VERSION_VALUES : level;
}

/* Say what becomes of large values, before the first step: takes values->victims. Else they
 * stay what they are. */
void build_set_values(struct build *build, struct build_values *values);

/* Takes `source` and a reference to `gc`. With below_level > 0 deletes are dropped when
 * no piece of `below` at that level or deeper shows their key. */
void build_init(struct build *build, const struct build_env *with, struct cursor *source,
                struct gc_table *gc, const struct version *below, unsigned below_level);

/* Build only of the keys in [lo, hi) of the source (empty: no bound), before the first step;
 * the bounds are borrowed. */
void build_set_span(struct build *build, struct slice lo, struct slice hi);

/* Go on until about `bytes` of input are read. Errors are also in build->err. */
int build_step(struct build *build, uint64_t bytes);

/* Give the outputs up: their tables are closed and, unless `keep`, their files
 * removed. */
void build_discard(struct build *build, bool keep);
void build_fini(struct build *build, bool keep);

/* A piece that shows all of a finished file, with its table open. */
int build_open_piece(const struct build_env *with, uint64_t number, const struct table_info *info,
                     struct piece **ret_piece, struct err *err);

#endif
