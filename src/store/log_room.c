/* SPDX-License-Identifier: Apache-2.0 */
#include "store/log_room.h"

#include "base/plant.h"
#include "store/space.h"
#include "store/store_internal.h"

enum { FAVOUR_US = 60 * 1000 * 1000 };

/* ---- cutting --------------------------------------------------------------------------- */

static bool is_any_dirty(const struct store *store)
{
    const struct replica *r;
    for (uint32_t i = 0; (r = replicas_by_span(&store->replicas, i)) != NULL; i++) {
        if (range_is_dirty(r->range))
            return true;
    }
    return false;
}

/* A log over its budget asks for a flush, behind which it is cut. */
void log_room_care(struct store *store)
{
    bool is_over = raftlog_is_over_budget(store->log);
    bool is_dirty = is_over && is_any_dirty(store);
    store->is_log_clean = is_over && !is_dirty;
    if (!store->is_flush_forced && is_dirty)
        care_force_flush(store);
}

void log_room_favour(struct replica *r)
{
    struct log_favoured *all = r->store->log_favoured;
    struct log_favoured *at = &all[0];
    for (size_t i = 0; i < LOG_FAVOURED_MAX && at->replica_id != r->replica_id; i++) {
        if (all[i].replica_id == r->replica_id || all[i].until_us < at->until_us)
            at = &all[i];
    }
    *at = (struct log_favoured){.replica_id = r->replica_id,
                                .until_us = env_now_us(r->store->env) + FAVOUR_US};
}

static bool is_favoured(const struct replica *r)
{
    const struct log_favoured *all = r->store->log_favoured;
    for (size_t i = 0; i < LOG_FAVOURED_MAX; i++) {
        if (all[i].replica_id == r->replica_id)
            return env_now_us(r->store->env) < all[i].until_us;
    }
    return false;
}

static uint64_t share_of(const struct replica *r)
{
    const struct store *store = r->store;
    uint64_t budget = store->opt.log.budget_bytes;
    uint64_t share = budget / 4 / MAX(replicas_count(&store->replicas), 1U);
    share = MIN(store->opt.log_kept_bytes, share);
    uint64_t more = budget / 2 / LOG_FAVOURED_MAX;
    if (raftlog_is_over_budget(store->log))
        more = MIN(store->opt.log_kept_bytes, more / 2);
    return is_favoured(r) ? MAX(share, more) : share;
}

uint32_t log_room_trailing(struct replica *r, uint64_t index)
{
    const struct store *store = r->store;
    struct log_trailing *t = &r->trailing;
    struct raftlog_group_state log;
    if (raftlog_group_state(store->log, r->replica_id, &log) != 0)
        return 0;
    uint64_t bytes = share_of(r);
    if (t->index != index || t->first_index != log.first_index || t->bytes != bytes) {
        uint64_t n = raftlog_trailing(store->log, r->replica_id, index, bytes);
        *t = (struct log_trailing){.index = index,
                                   .first_index = log.first_index,
                                   .bytes = bytes,
                                   .count = (uint32_t)MIN(n, (uint64_t)UINT32_MAX)};
    }
    ASSERT(t->count <= index);
    return t->count;
}

uint64_t log_room_first_known(struct replica *r, uint64_t applied)
{
    struct raftlog_group_state log;
    if (raftlog_group_state(r->store->log, r->replica_id, &log) != 0)
        return 1; /* blank */
    if (!raftlog_is_over_budget(r->store->log))
        return log.first_index;
    return MAX(log.first_index, applied - log_room_trailing(r, applied) + 1);
}

void log_room_compact(struct replica *r)
{
    struct store *store = r->store;
    struct cons_status status;
    if (r->state != REPLICA_RUNNING || (r->cons == NULL && r->nap.parked == NULL))
        return;
    uint64_t flushed = range_flushed_index(r->range);
    if (r->cons == NULL) { /* all members have all of it, unless it never ran */
        uint64_t kept = r->nap.is_dormant ? log_room_trailing(r, flushed) : 0;
        if (flushed > kept)
            raftlog_compact(store->log, r->replica_id, flushed - kept + 1);
        return;
    }
    consensus_status(r->cons, &status);
    if (flushed > status.snapshot_index && !status.is_installing) {
        struct cons_base base = {.index = flushed, .term = range_flushed_term(r->range)};
        base.config = *consensus_config_at(r->cons, flushed, &base.config_index);
        consensus_compact(r->cons, replica_now_ms(r), &base, log_room_trailing(r, flushed));
    }
    uint64_t floor = consensus_log_floor(r->cons);
    uint64_t keep = MIN(floor, flushed);
    if (keep > 0)
        raftlog_compact(store->log, r->replica_id, keep + 1);
}

/* ---- room ------------------------------------------------------------------------------ */

/* Has a flush that began since room was refused freed what it can? */
static bool has_been_flushed(struct replica *r)
{
    const struct store *store = r->store;
    if (r->refused_freeze == 0)
        r->refused_freeze = store->frozen + 1;
    return store->flushed >= r->refused_freeze || (store->is_log_clean && !store->is_flush_forced);
}

/* Of this group nothing more can be cut, and what it has above is of earlier leaders. */
static bool is_at_end(const struct replica *r, uint64_t term)
{
    struct raftlog_group_state log;
    uint64_t last_term = 0;
    uint64_t applied = range_meta(r->range)->applied_index;
    if (range_flushed_index(r->range) < applied ||
        raftlog_group_state(r->store->log, r->replica_id, &log) != 0)
        return false;
    return log.last_index == applied ||
           raftlog_term(r->store->log, r->replica_id, log.last_index, &last_term) != 0 ||
           last_term < term;
}

/* Room for an entry beyond the limit? */
static bool is_owed(struct replica *r, uint64_t term, uint64_t cost)
{
    const struct store *store = r->store;
    if (PLANTED(nothing_beyond))
        return false;
    return r->range != NULL && store->mark < WATERMARK_READ_ONLY && has_been_flushed(r) &&
           is_at_end(r, term) && raftlog_has_room_beyond(store->log, cost);
}

static bool has_room(struct replica *r, uint64_t cost)
{
    if (!raftlog_has_room(r->store->log, cost))
        return false;
    r->refused_freeze = 0;
    return true;
}

bool log_room_has(struct replica *r, uint64_t bytes)
{
    uint64_t cost = raftlog_append_cost(1, bytes);
    return has_room(r, cost) || is_owed(r, consensus_term(r->cons), cost);
}

void log_room_take(struct replica *r)
{
    r->refused_freeze = 0;
}

static bool is_held(const struct replica *r, uint64_t index, uint64_t term)
{
    uint64_t held = 0;
    return raftlog_term(r->store->log, r->replica_id, index, &held) == 0 && held == term;
}

static uint64_t bytes_of(const struct cons_msg_append *a, uint32_t first)
{
    uint64_t bytes = 0;
    for (uint32_t i = first; i < a->n; i++)
        bytes += a->entries[i].data.len;
    return bytes;
}

uint32_t log_room_fits(struct replica *r, const struct cons_msg *msg)
{
    const struct cons_msg_append *a = &msg->append;
    uint32_t held = 0, n = 0;
    uint64_t bytes = 0;
    ASSERT(msg->type == CONS_MSG_APPEND);
    if (a->n == 0 || has_room(r, raftlog_append_cost(a->n, bytes_of(a, 0))))
        return a->n;
    while (held < a->n && is_held(r, a->prev_index + 1 + held, a->entries[held].term))
        held++;
    for (; held + n < a->n; n++) {
        bytes += a->entries[held + n].data.len;
        if (!has_room(r, raftlog_append_cost(n + 1, bytes)))
            break;
    }
    if (n == 0 && held < a->n && is_owed(r, msg->term, raftlog_append_cost(1, bytes)))
        n = 1;
    ASSERT(held + n <= a->n);
    return held + n;
}
