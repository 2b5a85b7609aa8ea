/* SPDX-License-Identifier: Apache-2.0
 *
 * builder — the inside of struct lsm_builder: staged files on their way into the
 * tree. A staged file is synced under its .stage name; the edit renames it. A value file
 * has its name from the start: only tables that are taken in refer to it.
 */
#ifndef LSM_BUILDER_H_
#define LSM_BUILDER_H_

#include "lsm/lsm_internal.h"

struct staged {
    uint64_t number;
    struct table_info info;
    bool is_renamed;
};

struct lsm_builder {
    struct lsm *lsm;
    struct build_env with;
    struct table_builder *table;
    uint64_t table_number;
    struct buf last_key;
    uint64_t last_version;
    struct staged *staged;
    size_t staged_count, staged_cap;
    struct value_builder value_file;
    bool has_value_file;
    struct value_info *values; /* finished value files */
    size_t value_count, value_cap;
    uint64_t large; /* bytes of large values so far: the first of them stay in the tables */
    uint64_t records, bytes;
    bool is_finished, is_failed;
};

/* Like lsm_builder_free(); `keep` touches no file. */
void builder_free(struct lsm_builder *builder, bool keep);

#endif
