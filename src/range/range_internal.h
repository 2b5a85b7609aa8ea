/* SPDX-License-Identifier: Apache-2.0
 *
 * range_internal — what the files of this room share. Nobody else includes it.
 */
#ifndef RANGE_RANGE_INTERNAL_H_
#define RANGE_RANGE_INTERNAL_H_

#include "base/arena.h"
#include "env/env.h"
#include "lsm/lsm.h"
#include "range/eval.h"
#include "range/overlay.h"
#include "range/prefetch.h"
#include "range/range.h"

/* What becomes durable with one memtable. */
struct range_freeze {
    uint64_t freeze;
    uint64_t index;
    uint64_t term;
    uint64_t safe_version;
};

/* What applying an entry needs. A range that rests has none. */
struct range_work {
    struct eval eval;
    struct prefetch prefetch;
};

struct range {
    struct env *env;
    struct lsm *lsm;
    uint64_t replica_id;
    struct range_meta meta;      /* at the applied index */
    bool is_dirty;               /* meta has grown since the last freeze */
    bool is_unborn;              /* nothing of it is durable: made by a split that is not */
    bool wants_digest;           /* the entry applied last asked for one */
    bool is_installing;          /* from finish() of an install to its end: nothing applies */
    uint32_t busy;               /* background works that use this range */
    struct range_freeze flushed; /* freeze is not used */
    struct range_freeze freezes[RANGE_FREEZES_MAX]; /* oldest first */
    uint32_t freeze_count;
    struct feed *feed;             /* owned; NULL: nobody watches */
    struct range_work *work;       /* owned; NULL: nothing was applied since it was shrunk */
    range_prefetch_cb prefetch_cb; /* NULL: none going on */
    void *prefetch_data;
};

/* The on-disk form of a user key, in front of which RANGE_USER_KEY_PREFIX bytes of
 * `out` are filled. */
void range_key_prefix(uint32_t keyspace, uint8_t out[RANGE_USER_KEY_PREFIX]);

/* The one place that moves the applied index. */
void range_advance(struct range *range, uint64_t index, uint64_t term);

/* The index, range time, versions and history behind an administrative entry, whatever
 * becomes of it. While the range is frozen time and versions stand still: whoever takes
 * it over finds the same on every store, however far each has applied. */
struct range_admin;
void range_admin_move_on(struct range *range, uint64_t index, uint64_t term,
                         const struct range_admin *admin, int status);

/* Bring the safe point to its distance behind range time; it never goes back. */
void range_raise_safe_point(struct range_meta *meta);

/* Made if it is not there. NULL: out of memory. */
struct range_work *range_work_get(struct range *range);

/* Is a prefetch going on? */
bool range_is_prefetching(const struct range *range);

/* A background work begins and ends. */
void range_busy(struct range *range);
void range_idle(struct range *range);

/* Everything in memory gives way to `meta` (taken over, left empty): it is durable. */
void range_adopt(struct range *range, struct range_meta *meta);

#endif
