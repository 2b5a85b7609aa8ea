/* SPDX-License-Identifier: Apache-2.0 */
#include "store/clock.h"

#include <stdlib.h>

#include "base/plant.h"
#include "net/net_peer.h"
#include "store/store_internal.h"

_Static_assert((int)CLOCK_VOTERS_MAX >= (int)CONS_MEMBERS_MAX, "every voter has a place");
_Static_assert((int)CLOCK_VOTERS_MAX >= (int)IDENTITY_MEMBERS_MAX, "every member has a place");

/* ---- the judgement ---------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Both are clocks' differences: far from the ends of the type. */
static uint64_t distance(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

bool clock_judge(struct clock *clock, int64_t *offsets, uint32_t known, uint32_t voters,
                 uint32_t offset_max_ms)
{
    bool was_off = clock->is_off;
    ASSERT(known <= voters && voters <= CLOCK_VOTERS_MAX);
    if (known == 0 || known <= voters / 2) {
        /* Who was off stays so: nothing says that it is mended. */
        clock->is_known = clock->is_outvoted = false;
        return false;
    }
    qsort(offsets, known, sizeof offsets[0], compare);
    uint32_t wrong_max = (voters - 1) / 2;
    int64_t reference = offsets[MIN((known - 1) / 2, known - wrong_max - 1)];
    uint64_t off = distance(reference, 0);
    uint32_t agree = 0;
    for (uint32_t i = 0; i < known; i++)
        agree += distance(offsets[i], reference) <= offset_max_ms;
    uint32_t limit = was_off ? offset_max_ms - offset_max_ms / 8 : offset_max_ms;
    clock->is_known = true;
    clock->offset_ms = -reference;
    clock->is_off = off > limit && !PLANTED(clock_not_watched);
    clock->is_outvoted = off > offset_max_ms && agree > voters / 2;
    clock->was_good = clock->was_good || (!clock->is_off && agree > voters / 2);
    return clock->is_off != was_off;
}

/* ---- what the voters' clocks show ----------------------------------------------------- */

/* Our own clock is 0 ahead of itself. */
static bool offset_of(const struct store *store, uint64_t store_id, int64_t *ret_offset_ms)
{
    if (store_id == store->opt.store_id) {
        *ret_offset_ms = 0;
        return true;
    }
    const struct net_peer *peer = net_peer_find(store->net, store_id);
    return peer != NULL && net_peer_clock_offset_ms(peer, ret_offset_ms);
}

static uint32_t add_voter(uint64_t *stores, uint32_t n, uint64_t store_id)
{
    for (uint32_t i = 0; i < n; i++) {
        if (stores[i] == store_id)
            return n;
    }
    if (n < CLOCK_VOTERS_MAX)
        stores[n++] = store_id;
    return n;
}

/* By consensus; of one that is parked, by its descriptor. */
static uint32_t add_voters_of(uint64_t *stores, uint32_t n, const struct replica *r)
{
    const struct cons_config *config = r->cons == NULL ? NULL : consensus_config(r->cons, NULL);
    const struct range_descriptor *d = r->nap.parked == NULL ? NULL : range_descriptor(r->range);
    for (uint32_t i = 0; config != NULL && i < config->n; i++) {
        if (config->members[i].role == CONS_VOTER)
            n = add_voter(stores, n, config->members[i].store_id);
    }
    for (uint32_t i = 0; d != NULL && i < d->replica_count; i++) {
        if (d->replicas[i].role == RANGE_ROLE_VOTER)
            n = add_voter(stores, n, d->replicas[i].store_id);
    }
    return n;
}

/* The stores of all voters of our ranges: by consensus, or as they were at the birth. */
static uint32_t list_voters(const struct store *store, uint64_t *stores)
{
    uint32_t n = 0;
    uint32_t cursor = 0;
    const struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL)
        n = add_voters_of(stores, n, r);
    const struct identity *id = &store->identity;
    for (size_t i = 0; n == 0 && i < id->member_count; i++)
        stores[i] = id->members[i].store_id;
    if (n > 0 || id->member_count > 0)
        return n > 0 ? n : (uint32_t)id->member_count;
    /* Without any replica: whoever is known. */
    const struct book_entry *e;
    for (uint32_t i = 0; (e = book_at(&store->book, i)) != NULL; i++) {
        if (!e->is_removed)
            n = add_voter(stores, n, e->store_id);
    }
    return n;
}

static bool judge(struct store *store)
{
    struct clock *clock = &store->clock;
    int64_t offsets[CLOCK_VOTERS_MAX];
    uint32_t known = 0;
    uint64_t now_us = env_now_us(store->env);
    if (replicas_count(&store->replicas) <= CLOCK_LIST_EACH_TIME_MAX || clock->listed_us == 0 ||
        now_us - clock->listed_us >= CLOCK_LIST_US) {
        clock->voter_count = list_voters(store, clock->voters);
        clock->listed_us = now_us;
    }
    for (uint32_t i = 0; i < clock->voter_count; i++)
        known += offset_of(store, clock->voters[i], &offsets[known]);
    return clock_judge(clock, offsets, known, clock->voter_count, store->opt.max_clock_offset_ms);
}

/* ---- consequences --------------------------------------------------------------------- */

bool store_clock_is_right(const struct store *store, uint64_t store_id)
{
    int64_t offset = 0;
    return offset_of(store, store_id, &offset) &&
           distance(offset, -store->clock.offset_ms) <= store->opt.max_clock_offset_ms;
}

/* The live voter with most of the log among those whose clocks are right; 0: none. */
static uint64_t choose_successor(const struct replica *r)
{
    const struct store *store = r->store;
    struct cons_status s;
    uint64_t best = 0;
    uint64_t best_match = 0;
    consensus_status(r->cons, &s);
    for (uint32_t i = 0; i < s.n_members; i++) {
        const struct cons_member_status *m = &s.members[i];
        if (m->role != CONS_VOTER || !m->is_live || m->store_id == store->opt.store_id ||
            !store_clock_is_right(store, m->store_id))
            continue;
        if (best != 0 && m->match <= best_match)
            continue;
        best = m->replica_id;
        best_match = m->match;
    }
    return best;
}

/* Is there nobody else? The rest of a majority may lack entries that only we have: then
 * we must lead for as long as it takes to hand them over. */
static bool is_needed(struct replica *r)
{
    uint64_t now_ms = store_now_ms(r->store);
    if (consensus_leader(r->cons, NULL) != 0) {
        r->leaderless_ms = 0;
        return false;
    }
    if (r->leaderless_ms == 0)
        r->leaderless_ms = now_ms;
    uint64_t patience_ms = (uint64_t)CLOCK_LEADERLESS_TIMEOUTS * r->store->opt.election_timeout_ms;
    return now_ms - r->leaderless_ms >= patience_ms;
}

void clock_on_replica(struct replica *r)
{
    struct store *store = r->store;
    if (r->cons == NULL)
        return;
    bool is_off = store->clock.is_off;
    consensus_set_candidacy(r->cons, !is_off || is_needed(r));
    if (!is_off || !replica_is_leader(r))
        return;
    uint64_t successor = choose_successor(r);
    if (successor != 0)
        consensus_transfer(r->cons, replica_now_ms(r), successor); /* BUSY while it goes on */
}

static int64_t own_step_ms(const struct store *store)
{
    uint64_t wall_ms = MIN(env_wall_ms(store->env), (uint64_t)INT64_MAX);
    return (int64_t)wall_ms - (int64_t)store_now_ms(store);
}

void store_watch_clock(struct store *store)
{
    if (distance(own_step_ms(store), store->clock.step_ms) > CLOCK_STEP_MS)
        store_check_clock(store);
}

void store_check_clock(struct store *store)
{
    struct clock *clock = &store->clock;
    if (store->net == NULL || store->state == STORE_UNBORN)
        return;
    clock->step_ms = own_step_ms(store);
    bool has_changed = judge(store);
    if (clock->is_outvoted && !clock->was_good && distance(clock->offset_ms, 0) > CLOCK_FATAL_MS) {
        env_fatal(store->env,
                  "the system clock is %lld s %s those of a majority of the stores: set it",
                  (long long)(distance(clock->offset_ms, 0) / 1000),
                  clock->offset_ms > 0 ? "ahead of" : "behind");
        return;
    }
    if (has_changed && clock->is_off)
        LOG_WARN(store->logger, "clock_off", "offset_ms=%lld limit_ms=%u consequence=\"%s\"",
                 (long long)clock->offset_ms, store->opt.max_clock_offset_ms,
                 "this store does not lead");
    else if (has_changed)
        LOG_INFO(store->logger, "clock_good", "offset_ms=%lld", (long long)clock->offset_ms);
    if (clock->is_off) /* those who lead asleep must hand over, too */
        sleep_wake_leaders(store, SLEEP_WOKEN_BY_DOUBT);
    LIST_FOREACH(it, &store->sleepers.awake)
    clock_on_replica(list_entry(it, struct replica, in_awake));
}
