/* SPDX-License-Identifier: Apache-2.0
 *
 * cursor — the seam between sources of entries (memtable, table, level, merge)
 * and those who walk over them.
 *
 * Order   forward: seek() then next(); backward: seek_before() or last() then
 *         prev(). To turn round, seek again: next() after a backward move (or the
 *         reverse) is not supported, and sources may assert it.
 * Ties    the same (key, version) twice in one source or over several: forward the
 *         newest comes first, backward it comes last.
 * Errors  `status` is sticky until the next seek; then `is_valid` is false and
 *         `err`, if given, names file and offset.
 */
#ifndef LSM_CURSOR_H_
#define LSM_CURSOR_H_

#include "base/err.h"
#include "lsm/entry.h"

struct cursor;

struct cursor_ops {
    /* First entry >= (key, version). */
    void (*seek)(struct cursor *cursor, struct slice key, uint64_t version);
    /* Last entry < (key, version). */
    void (*seek_before)(struct cursor *cursor, struct slice key, uint64_t version);
    void (*last)(struct cursor *cursor);
    void (*next)(struct cursor *cursor);
    void (*prev)(struct cursor *cursor);
    void (*free)(struct cursor *cursor);
};

struct cursor {
    const struct cursor_ops *ops;
    const struct entry *at; /* the source's own; only while is_valid, until the next move */
    bool is_valid;
    int status;
    struct err *err; /* may be NULL */
};

static inline void cursor_seek(struct cursor *c, struct slice key, uint64_t version)
{
    c->ops->seek(c, key, version);
}

static inline void cursor_seek_before(struct cursor *c, struct slice key, uint64_t version)
{
    c->ops->seek_before(c, key, version);
}

static inline void cursor_first(struct cursor *c)
{
    c->ops->seek(c, (struct slice){0}, UINT64_MAX);
}

static inline void cursor_last(struct cursor *c)
{
    c->ops->last(c);
}

static inline void cursor_next(struct cursor *c)
{
    ASSERT(c->is_valid);
    c->ops->next(c);
}

static inline void cursor_prev(struct cursor *c)
{
    ASSERT(c->is_valid);
    c->ops->prev(c);
}

static inline void cursor_free(struct cursor *c)
{
    if (c != NULL)
        c->ops->free(c);
}

#endif
