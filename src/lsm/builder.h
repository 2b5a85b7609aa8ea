/* SPDX-License-Identifier: Apache-2.0
 *
 * builder — the inside of struct lsm_builder: staged files on their way into the
 * tree. A staged file is synced under its .stage name; the edit renames it.
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
    uint64_t records, bytes;
    bool is_finished, is_failed;
};

/* Like lsm_builder_free(); `keep` touches no file. */
void builder_free(struct lsm_builder *builder, bool keep);

#endif
