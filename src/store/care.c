/* SPDX-License-Identifier: Apache-2.0
 *
 * Slow watchfulness: disk space, pace and damage, what the engine may forget.
 */
#include "range/sessions.h"
#include "store/absorb.h"
#include "store/log_room.h"
#include "store/space.h"
#include "store/store_internal.h"

enum {
    CARE_SESSIONS_MS = 1000,      /* their rows are summed up so often */
    CARE_SESSIONS_MOVED_MAX = 64, /* ranges whose time is moved on for them, each time */
};

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
}

/* Could it lead, and better than a store that is in trouble? */
static bool is_whole(const struct store *store, const struct cons_member_status *m)
{
    const struct net_peer *peer = net_peer_find(store->net, m->store_id);
    return m->role == CONS_VOTER && m->is_live && peer != NULL &&
           !space_told_damaged(net_peer_disk(peer)) && store_clock_is_right(store, m->store_id);
}

static bool is_roomy(const struct store *store, const struct cons_member_status *m)
{
    return is_whole(store, m) && store_mark_of(store, m->store_id) < WATERMARK_NO_PUTS;
}

static bool has_good_pace(const struct store *store, const struct cons_member_status *m)
{
    const struct net_peer *peer = net_peer_find(store->net, m->store_id);
    return peer != NULL && space_told_pace_good(net_peer_disk(peer));
}

static bool is_good(const struct store *store, const struct cons_member_status *m)
{
    return is_roomy(store, m) && has_good_pace(store, m);
}

/* The voter on another store with most of the log among those that are fit; 0: none. */
static uint64_t best_of(const struct replica *r, bool (*is_fit)(const struct store *store,
                                                                const struct cons_member_status *m))
{
    struct cons_status s;
    uint64_t best = 0, best_match = 0;
    consensus_status(r->cons, &s);
    for (uint32_t i = 0; i < s.n_members; i++) {
        const struct cons_member_status *m = &s.members[i];
        bool is_other = m->store_id != r->store->opt.store_id;
        if (!is_other || !is_fit(r->store, m) || (best != 0 && m->match <= best_match))
            continue;
        best = m->replica_id;
        best_match = m->match;
    }
    return best;
}

/* Without a majority of good disks nothing is won: a slow one is in every commit, and in every
 * election. */
static uint64_t choose_faster(const struct replica *r)
{
    struct cons_status s;
    uint32_t voters = 0, fast = 0;
    consensus_status(r->cons, &s);
    for (uint32_t i = 0; i < s.n_members; i++) {
        const struct cons_member_status *m = &s.members[i];
        voters += m->role == CONS_VOTER;
        fast += m->role == CONS_VOTER && m->is_live && has_good_pace(r->store, m);
    }
    return fast > voters / 2 ? best_of(r, is_good) : 0;
}

/* The disks of a range's voters, as they told us. */
static uint32_t voters_of(const struct replica *r, struct space_voter *voters)
{
    struct cons_status s;
    uint32_t n = 0;
    consensus_status(r->cons, &s);
    for (uint32_t i = 0; i < s.n_members; i++) {
        const struct cons_member_status *m = &s.members[i];
        if (m->role == CONS_VOTER)
            voters[n++] = (struct space_voter){m->is_live, store_mark_of(r->store, m->store_id)};
    }
    return n;
}

/* Of a range for which the disks that have room suffice. */
static uint64_t choose_roomier(const struct replica *r)
{
    struct space_voter voters[CONS_MEMBERS_MAX];
    bool is_won = space_judge(voters, voters_of(r, voters)) < WATERMARK_NO_PUTS;
    return is_won ? best_of(r, is_roomy) : 0;
}

/* One with a good disk, who keeps it, rather than one who would hand it on. */
static uint64_t choose_whole(const struct replica *r)
{
    uint64_t best = best_of(r, is_good);
    return best != 0 ? best : best_of(r, is_whole);
}

/* A leader's writes wait for its own disk, or are refused for it: where others have better ones
 * they lead. */
static void hand_over(struct store *store, uint64_t (*choose)(const struct replica *r),
                      uint64_t *handed_ms, const char *why)
{
    uint64_t now_ms = store_now_ms(store);
    bool is_handed = false;
    if (*handed_ms != 0 && now_ms - *handed_ms < STORE_HAND_OVER_MS)
        return;
    LIST_FOREACH(it, &store->sleepers.awake) /* nobody waits for those that sleep */
    {
        struct replica *r = list_entry(it, struct replica, in_awake);
        uint64_t to = r->cons != NULL && replica_is_leader(r) ? choose(r) : 0;
        if (to == 0 || consensus_transfer(r->cons, replica_now_ms(r), to) != 0)
            continue;
        LOG_WARN(store->logger, "hand_over", "range=%llu to=%llu reason=\"%s\"",
                 (unsigned long long)r->range_id, (unsigned long long)to, why);
        is_handed = true;
    }
    if (is_handed)
        *handed_ms = now_ms;
}

void store_note_stop(struct store *store)
{
    uint64_t now_us = env_now_us(store->env);
    bool is_stopped = lsm_stall(store->lsm) == LSM_STALL_STOP;
    if (store->stop_since_us != 0)
        store->stop_worst_us = MAX(store->stop_worst_us, now_us - store->stop_since_us);
    if (!is_stopped)
        store->stop_since_us = 0;
    else if (store->stop_since_us == 0)
        store->stop_since_us = now_us;
}

/* A leader whose engine waits for the disk proposes nothing, and so has nothing to sync. Short
 * stops come with a heavy load: they say nothing of the disk, nor of what is normal for it. */
static uint64_t worst_wait_us(struct store *store)
{
    store_note_stop(store);
    uint64_t stop_us = store->stop_worst_us;
    uint64_t sync_us = raftlog_sync_worst_us(store->log);
    store->stop_worst_us = 0;
    return stop_us < PACE_LIMIT_MIN_US ? sync_us : MAX(sync_us, stop_us);
}

static void care_pace(struct store *store)
{
    uint64_t worst_us = worst_wait_us(store);
    bool has_changed = pace_note(&store->pace, worst_us);
    if (has_changed && store->pace.is_slow)
        LOG_WARN(store->logger, "disk_slow", "sync_us=%llu normal_us=%llu limit_us=%llu",
                 (unsigned long long)worst_us, (unsigned long long)store->pace.normal_us,
                 (unsigned long long)pace_limit_us(&store->pace));
    else if (has_changed)
        LOG_INFO(store->logger, "disk_good", "sync_us=%llu", (unsigned long long)worst_us);
    net_set_disk(store->net,
                 space_tell(store->mark, store->pace.is_slow, store->state == STORE_DAMAGED));
    if (store->pace.is_slow)
        hand_over(store, choose_faster, &store->pace_handed_ms, "slow disk");
    if (store->mark >= WATERMARK_NO_PUTS)
        hand_over(store, choose_roomier, &store->full_handed_ms, "full disk");
}

/* Placement takes it for dead, and what is on its disk may be lost next: others lead. */
static void care_damage(struct store *store)
{
    if (store->state != STORE_DAMAGED)
        return;
    sleep_wake_leaders(store, SLEEP_WOKEN_BY_WORK);
    hand_over(store, choose_whole, &store->damage_handed_ms, "damaged store");
}

/* May the range grow? Its leader alone needs to know. */
static void care_space(struct replica *r)
{
    struct space_voter voters[CONS_MEMBERS_MAX];
    enum watermark was = r->space;
    r->space = WATERMARK_OK;
    r->can_spare = false;
    if (r->cons == NULL || !replica_is_leader(r))
        return;
    uint32_t n = voters_of(r, voters);
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

void care_force_flush(struct store *store)
{
    if (store->is_flush_forced)
        return;
    store->forced_flush.data = store;
    store->is_flush_forced = lsm_flush(store->lsm, &store->forced_flush, forced_flush_done) == 0;
}

/* Where nothing is written no memtable is full: until the end of a range that was merged away is
 * durable, all members of the merged one stay awake and ask after it. */
static void care_merged(struct store *store)
{
    if (!store->is_flush_forced && absorb_wants_flush(store))
        care_force_flush(store);
}

bool care_may_move_time(const struct replica *r)
{
    bool leads = replica_is_leader(r) || sleep_is_parked_leader(r);
    return leads && !r->store->clock.is_off && range_meta(r->range)->merges.frozen.attempt == 0;
}

void care_move_time(struct replica *r)
{
    ASSERT(care_may_move_time(r));
    r->needs_stamp = true; /* of the clock as it is then: it may be found to be wrong until then */
    replica_wake(r);
}

/* Rows of sessions that nobody uses any more go when their range's time moves on, which it does
 * not where nobody writes. So when the store is about to hold too many, it is made to move
 * where that frees some. */
static bool is_full_of_old(const struct replica *r, uint64_t wall_ms)
{
    uint64_t oldest_ms = sessions_oldest_ms(&range_meta(r->range)->sessions);
    return oldest_ms != 0 && wall_ms > oldest_ms + SESSION_KEEP_MS && care_may_move_time(r);
}

static void care_sessions(struct store *store)
{
    uint64_t now_ms = store_now_ms(store);
    uint64_t wall_ms = env_wall_ms(store->env);
    uint64_t bytes = 0;
    uint32_t moved = 0;
    struct replica *r;
    if (now_ms - store->sessions_summed_ms < CARE_SESSIONS_MS)
        return;
    bool is_near = store->session_bytes > store->opt.sessions_bytes_max / 2;
    for (uint32_t i = 0; (r = replicas_by_span(&store->replicas, i)) != NULL; i++) {
        bytes += sessions_memory(&range_meta(r->range)->sessions);
        if (!is_near || moved == CARE_SESSIONS_MOVED_MAX || !is_full_of_old(r, wall_ms))
            continue;
        care_move_time(r);
        moved++;
    }
    store->session_bytes = bytes;
    store->sessions_summed_ms = now_ms;
}

void store_care(struct store *store)
{
    if (store->log == NULL)
        return;
    store_check_clock(store);
    care_watermark(store);
    care_pace(store);
    care_damage(store);
    snapshot_pace_tick(store);
    log_room_care(store);
    care_merged(store);
    care_sessions(store);
    care_garbage(store);
    snapshot_in_tick_greeted(store);
    LIST_FOREACH(it, &store->sleepers.awake)
    {
        struct replica *r = list_entry(it, struct replica, in_awake);
        care_space(r);
        log_room_compact(r);
    }
    sleep_check_some(store);
}

void care_on_awake(struct replica *r)
{
    care_space(r);
}
