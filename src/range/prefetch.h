/* SPDX-License-Identifier: Apache-2.0
 *
 * prefetch — the engine's records that an entry needs and that are not in memory:
 * noted while it is tried, read on ENV_LANE_READ, found when it is tried again.
 *
 *   prefetch_want … ─▶ prefetch_start ─▶ (lane) ─▶ done ─▶ prefetch_find … ─▶ clear
 *
 * Valid while nothing is applied: what was read is the state before the entry.
 *
 * Ownership  keys are copied; values are pinned until prefetch_clear().
 * Limits     a round reads in the order of noting and stops after `bytes_max` bytes
 *            of values; what is left is forgotten, to be noted again.
 */
#ifndef RANGE_PREFETCH_H_
#define RANGE_PREFETCH_H_

#include "base/arena.h"
#include "env/env.h"
#include "lsm/lsm.h"

struct prefetch_item {
    struct slice key; /* on disk form, owned by the arena */
    uint32_t order;   /* in which it was noted */
    bool is_read;
    int status; /* once read: 0 or ERR_NOT_FOUND */
    struct lsm_value value;
};

struct prefetch {
    struct prefetch_item *items; /* [0, sorted) by key, behind them what was noted since */
    uint32_t count;
    uint32_t sorted;
    uint32_t cap;
    struct arena keys;
    struct lsm_view *view; /* what values are pinned in; taken at the first start */
    struct env_work work;
    size_t bytes_max;
    bool is_running;
    int status; /* of the last round */
    struct err err;
    void (*cb)(void *data);
    void *data;
};

/* Empty; what it will hold is bounded by `bytes_max`. */
void prefetch_init(struct prefetch *prefetch, size_t bytes_max);

/* Forget all; not while it runs, unless after env_stop(). */
void prefetch_clear(struct prefetch *prefetch);
void prefetch_fini(struct prefetch *prefetch);

/* Note a key; twice is harmless. ERR_NOMEM. */
int prefetch_want(struct prefetch *prefetch, struct slice key);

/* How many are noted since the last start. */
static inline uint32_t prefetch_wanted(const struct prefetch *prefetch)
{
    return prefetch->count - prefetch->sorted;
}

/* Read what is noted; `cb` on the loop, never from inside. ERR_NOMEM. */
int prefetch_start(struct prefetch *prefetch, struct env *env, struct lsm *lsm,
                   void (*cb)(void *data), void *data);

/* What was read for `key`, or NULL. */
const struct prefetch_item *prefetch_find(const struct prefetch *prefetch, struct slice key);

#endif
