/* SPDX-License-Identifier: Apache-2.0
 *
 * value_gc — which value files are garbage, and which are to be emptied: functions of a
 * version and the options.
 *
 * What lives in a value file is the sum of what the tables of the version refer to; a table
 * that was cut counts by the share that it shows. When more than `value_garbage_percent` of
 * all value files is garbage, those with most of it are named, as many as bring the whole
 * a little below: every compaction that meets a reference to one of them copies the value,
 * and tables that do are compacted for that alone. The more is emptied at once, the fewer
 * tables are written anew for it. A file goes with the edit that drops its last reference.
 */
#ifndef LSM_VALUE_GC_H_
#define LSM_VALUE_GC_H_

#include "lsm/compact.h"

/* How much of `ref` the piece shows; at least 1. */
uint64_t piece_ref_bytes(const struct piece *piece, const struct table_ref *ref);

/* Of all references of the piece. */
uint64_t piece_value_bytes(const struct piece *piece);

/* Bytes of all value files of the version, and what lives in them. ERR_NOMEM. */
int value_usage(const struct version *version, uint64_t *ret_bytes, uint64_t *ret_live);

/* Share of all value files that is garbage and can be won by compaction: not what damage
 * keeps, of a value file or of a table that refers to it. 0 when memory is out. */
uint64_t value_garbage_permille(const struct version *version);

/* Numbers of the value files to be emptied, ascending; often none. */
struct value_victims {
    uint64_t *files; /* owned */
    size_t count;
};
int value_victims_find(const struct version *version, const struct lsm_options *options,
                       struct value_victims *ret_victims);
int value_victims_copy(struct value_victims *to, const struct value_victims *from); /* ERR_NOMEM */
bool value_victims_has(const struct value_victims *victims, uint64_t file);
void value_victims_fini(struct value_victims *victims); /* accepts zeroes */

/* Bytes of values that a compaction of `pick` could put into value files: large ones that
 * stand in tables, and those of the victims. */
uint64_t value_expected(const struct pick *pick, const struct value_victims *victims);

/* Bytes that a compaction of `pick` writes at most, about: its tables, and values of the victims.
 */
uint64_t value_pick_bytes(const struct pick *pick, const struct value_victims *victims);

/* The piece with most references to the victims, to be written anew where it is; one of L0,
 * which goes down, only if no other has any. 0, ERR_NOT_FOUND, ERR_NOMEM. */
int pick_values(const struct version *version, const struct lsm_options *options,
                struct pick *ret_pick);

/* Drop, by `edit`, the value files of `before` that nothing of `after`, the version that
 * the edit makes, refers to. None if a table of `after` is too damaged to say what it refers
 * to. *ret_count: how many. ERR_NOMEM. */
int value_sweep(const struct version *before, const struct version *after, struct edit *edit,
                size_t *ret_count);

#endif
