/* SPDX-License-Identifier: Apache-2.0
 *
 * version — which tables make up the tree: an immutable list of pieces by level.
 *
 * A piece is what one table shows of itself: the keys in [lo, hi). A table that was
 * cut by an edit shows several pieces. An edit (drops, adds) makes the next version
 * out of one; it is also what a manifest record holds.
 *
 * Beside the levels stand, as one more list, the value files that tables refer to, each a
 * piece that shows all of its file.
 *
 * Order      L0: newest first (`order`), pieces of one table by key. L1 …: by key,
 *            never overlapping.
 * Ownership  counted references all the way down: version ─▶ piece ─▶ table.
 * Threads    references anywhere; the rest on the loop (or at open).
 */
#ifndef LSM_VERSION_H_
#define LSM_VERSION_H_

#include <stdatomic.h>

#include "lsm/lsm.h"
#include "lsm/table.h"

/* The list of value files, behind those of the levels. */
enum { VERSION_VALUES = LSM_LEVELS, VERSION_LISTS };

struct piece {
    atomic_uint refs;
    uint64_t id;    /* one number space with files; never used again */
    uint64_t file;  /* number of the table */
    uint64_t order; /* among L0: greater is newer */
    uint64_t file_size;
    uint32_t file_crc;
    uint64_t bytes; /* estimates, exact for a whole table */
    uint64_t records;
    uint64_t deletes;
    struct slice lo;     /* first visible key … */
    struct slice hi;     /* … and the bound above the last; never empty */
    struct table *table; /* NULL only while a manifest is being replayed */
    bool is_cut;         /* the bounds are narrower than the table */
    bool is_busy;        /* loop: input of a compaction */
    uint8_t keys[];      /* lo, hi */
};

/* One reference; keys are copied. NULL when memory is out. */
struct piece *piece_new(struct slice lo, struct slice hi);
struct piece *version_file_piece(void); /* for a value file: without a span of keys */
struct piece *piece_ref(struct piece *piece);
void piece_unref(struct piece *piece); /* NULL is fine */

/* Spans of keys: empty `end` has no bound. */
static inline bool span_contains(struct slice start, struct slice end, struct slice key)
{
    return slice_compare(key, start) >= 0 && (end.len == 0 || slice_compare(key, end) < 0);
}

static inline bool span_overlaps(struct slice a_start, struct slice a_end, struct slice b_start,
                                 struct slice b_end)
{
    return (a_end.len == 0 || slice_compare(b_start, a_end) < 0) &&
           (b_end.len == 0 || slice_compare(a_start, b_end) < 0);
}

static inline bool piece_overlaps(const struct piece *p, struct slice start, struct slice end)
{
    return span_overlaps(p->lo, p->hi, start, end);
}

struct version {
    atomic_uint refs;
    struct piece **at[VERSION_LISTS]; /* levels, then value files by number */
    size_t count[VERSION_LISTS];
    size_t l0_depth; /* version_l0_depth() */
};

struct version *version_new(void); /* empty; NULL when memory is out */
/* One more owner; returns it. Any thread. */
struct version *version_ref(struct version *version);
void version_unref(struct version *version); /* NULL is fine */

/* In L1 …: index of the first piece whose hi > key (count if none). */
size_t version_find(const struct version *version, unsigned level, struct slice key);

/* Does any piece of the level overlap the span? */
bool version_overlaps(const struct version *version, unsigned level, struct slice start,
                      struct slice end);

/* The value file of this number, or NULL. */
struct piece *version_find_file(const struct version *version, uint64_t file);

/* Of the files of all its pieces. */
uint64_t version_level_bytes(const struct version *version, unsigned level);

/* Files of L0 that one key may have to be looked for in. The owner's own keys
 * (key_is_local()) stand in files beside those of the others. */
static inline size_t version_l0_depth(const struct version *version)
{
    return version->l0_depth;
}

/* Assert order, no overlap, references. */
void version_check(const struct version *version);

/* ---- edits -------------------------------------------------------------- */

struct edit_drop {
    unsigned level;
    uint64_t id;
};

struct edit_add {
    unsigned level;
    struct piece *piece; /* one reference */
};

struct edit {
    uint64_t next_number; /* after this edit; 0: not said */
    uint64_t next_order;
    struct edit_drop *drops;
    size_t drop_count, drop_cap;
    struct edit_add *adds;
    size_t add_count, add_cap;
};

/* A zeroed edit is empty. */
void edit_fini(struct edit *edit);
int edit_drop(struct edit *edit, unsigned level, uint64_t id);

/* Takes the caller's reference, also on failure. */
int edit_add(struct edit *edit, unsigned level, struct piece *piece);

/* The version after `edit`. ERR_CORRUPT if it does not fit (drops what is not there,
 * overlaps in L1 …), ERR_NOMEM. */
int version_apply(const struct version *version, const struct edit *edit,
                  struct version **ret_version, struct err *err);

/* As bytes of a manifest record and back. ERR_CORRUPT; pieces come without table. */
void edit_encode(const struct edit *edit, struct buf *out);
int edit_decode(struct slice raw, struct edit *ret_edit, struct err *err);

/* The edit that makes `version` out of an empty one, encoded. */
void version_encode(const struct version *version, uint64_t next_number, uint64_t next_order,
                    struct buf *out);

#endif
