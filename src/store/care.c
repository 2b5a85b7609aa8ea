/* SPDX-License-Identifier: Apache-2.0
 *
 * Slow watchfulness: disk space, the log's length, what the engine may forget.
 */
#include "store/space.h"
#include "store/store_internal.h"

static void care_watermark(struct store *store)
{
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    if (env_disk_space(store->env, store->data_dir, &free_bytes, &total_bytes, NULL) != 0)
        return;
    /* What the log has prepared is room for writes, though the disk counts it as used. */
    enum watermark mark = watermark_next(store->mark, free_bytes, &store->opt.water);
    if (mark == store->mark)
        return;
    LOG_WARN(store->logger, "disk_space", "mark=%s was=%s free=%llu", watermark_name(mark),
             watermark_name(store->mark), (unsigned long long)free_bytes);
    store->mark = mark;
    net_set_disk(store->net, space_tell(mark));
}

/* The disks of a range's voters, as they told us; its leader alone needs to know. */
static void care_space(struct replica *r)
{
    struct cons_status s;
    struct space_voter voters[CONS_MEMBERS_MAX];
    uint32_t n = 0;
    enum watermark was = r->space;
    r->space = WATERMARK_OK;
    r->can_spare = false;
    if (r->cons == NULL || !replica_is_leader(r))
        return;
    consensus_status(r->cons, &s);
    for (uint32_t i = 0; i < s.n_members; i++) {
        const struct cons_member_status *m = &s.members[i];
        if (m->role == CONS_VOTER)
            voters[n++] = (struct space_voter){m->is_live, store_mark_of(r->store, m->store_id)};
    }
    r->space = space_judge(voters, n);
    r->can_spare = space_suffices(voters, n, WATERMARK_READ_ONLY);
    if (r->space != was)
        LOG_WARN(r->store->logger, "range_space", "range=%llu mark=%s was=%s",
                 (unsigned long long)r->range_id, watermark_name(r->space), watermark_name(was));
}

static void forced_flush_done(struct lsm_flush_op *op, int status)
{
    struct store *store = op->data;
    (void)status;
    store->is_flush_forced = false;
}

static bool is_any_dirty(const struct store *store)
{
    uint32_t cursor = 0;
    const struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        if (range_is_dirty(r->range))
            return true;
    }
    return false;
}

/* The log is cut behind the flushed index: a log over its budget asks for a flush. */
static void care_log_budget(struct store *store)
{
    if (store->is_flush_forced || !raftlog_is_over_budget(store->log))
        return;
    if (!is_any_dirty(store))
        return;
    store->forced_flush.data = store;
    if (lsm_flush(store->lsm, &store->forced_flush, forced_flush_done) == 0)
        store->is_flush_forced = true;
}

void store_care(struct store *store)
{
    if (store->log == NULL)
        return;
    store_check_clock(store);
    care_watermark(store);
    care_log_budget(store);
    snapshot_in_tick_greeted(store);
    uint32_t cursor = 0;
    struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        care_space(r);
        store_compact_log(r);
    }
}

/* How many entries below the flushed index are kept for members that lag. */
static uint32_t trailing_entries(const struct store *store, uint64_t replica_id)
{
    struct raftlog_group_state state;
    if (raftlog_group_state(store->log, replica_id, &state) != 0 ||
        state.last_index < state.first_index)
        return 0;
    uint64_t count = state.last_index - state.first_index + 1;
    uint64_t entry_bytes = MAX(state.bytes / count, 1);
    uint64_t keep = MIN(store->opt.log_kept_bytes, store->opt.log.budget_bytes / 4);
    return (uint32_t)MIN(keep / entry_bytes, (uint64_t)UINT32_MAX);
}

void store_compact_log(struct replica *r)
{
    struct store *store = r->store;
    struct cons_status status;
    if (r->state != REPLICA_RUNNING || r->cons == NULL)
        return;
    uint64_t flushed = range_flushed_index(r->range);
    consensus_status(r->cons, &status);
    if (flushed > status.snapshot_index && !status.is_installing) {
        struct cons_base base = {.index = flushed, .term = range_flushed_term(r->range)};
        base.config = *consensus_config_at(r->cons, flushed, &base.config_index);
        consensus_compact(r->cons, store_now_ms(store), &base,
                          trailing_entries(store, r->replica_id));
    }
    uint64_t floor = consensus_log_floor(r->cons);
    uint64_t keep = MIN(floor, flushed);
    if (keep > 0)
        raftlog_compact(store->log, r->replica_id, keep + 1);
}
