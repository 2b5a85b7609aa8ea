/* SPDX-License-Identifier: Apache-2.0
 *
 * What old versions and expired values take below L0 comes back also where nobody writes. The
 * engine lets go of them by the flushed safe point of their range, which follows range time, which
 * moves with entries alone: so the leader has it go on when that makes enough of a file garbage,
 * and each store flushes what it knows of it if nothing else does.
 */
#include "range/range.h"
#include "store/store_internal.h"

enum {
    GARBAGE_LOOK_MAX = 64,     /* ranges in a tick */
    GARBAGE_FLUSH_PASSES = 30, /* without any other flush, before there is one for it */
};

/* Where the flushed safe point of the range has to be for one more of its files to be compacted;
 * UINT64_MAX: nowhere. */
static uint64_t wanted_ms(const struct replica *r)
{
    struct lsm_gc_span span = range_gc_span(r->range);
    uint64_t safe, ms;
    lsm_garbage_at(r->store->lsm, &span, &safe, &ms);
    uint64_t safe_ms = safe == UINT64_MAX ? safe : (safe >> RANGE_VERSION_COUNTER_BITS) + 1;
    return MIN(safe_ms, ms);
}

/* Would its safe point be there if its range time were that of our clock? */
static bool is_due(const struct replica *r, uint64_t wanted, uint64_t wall_ms)
{
    uint64_t retention_ms = range_meta(r->range)->retention_ms;
    return wall_ms > retention_ms && wall_ms - retention_ms >= wanted;
}

static void look_at(struct replica *r, uint64_t wall_ms)
{
    struct store *store = r->store;
    if (r->state != REPLICA_RUNNING || replica_is_ended(r))
        return;
    uint64_t wanted = wanted_ms(r);
    if (wanted == UINT64_MAX)
        return;
    if (range_meta(r->range)->safe_version >> RANGE_VERSION_COUNTER_BITS >= wanted) {
        store->garbage.wants_flush = true;
    } else if (is_due(r, wanted, wall_ms) && care_may_move_time(r)) {
        care_move_time(r);
        store->garbage.stats.moved++;
    }
}

static void pass_ends(struct store *store, uint64_t now_ms)
{
    struct garbage_look *g = &store->garbage;
    g->position = 0;
    g->pass_ms = now_ms;
    if (g->frozen_ms == 0 || lsm_frozen(store->lsm) != g->frozen) {
        g->frozen = lsm_frozen(store->lsm);
        g->frozen_ms = now_ms;
    }
    uint64_t pause_ms = (uint64_t)GARBAGE_FLUSH_PASSES * store->opt.garbage_pass_ms;
    if (!g->wants_flush || now_ms - g->frozen_ms < pause_ms || store->is_flush_forced)
        return;
    care_force_flush(store);
    g->stats.flushes += store->is_flush_forced;
}

void care_garbage(struct store *store)
{
    struct garbage_look *g = &store->garbage;
    uint64_t now_ms = store_now_ms(store);
    uint64_t wall_ms = env_wall_ms(store->env);
    if (g->position == 0 && now_ms - g->pass_ms < store->opt.garbage_pass_ms)
        return;
    if (g->position == 0)
        g->wants_flush = false;
    for (uint32_t i = 0; i < GARBAGE_LOOK_MAX; i++) {
        struct replica *r = replicas_by_span(&store->replicas, g->position);
        if (r == NULL) {
            pass_ends(store, now_ms);
            return;
        }
        look_at(r, wall_ms);
        g->position++;
    }
}

void store_garbage_stats(const struct store *store, struct store_garbage_stats *ret_stats)
{
    *ret_stats = store->garbage.stats;
}
