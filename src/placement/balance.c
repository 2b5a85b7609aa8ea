/* SPDX-License-Identifier: Apache-2.0
 *
 * The schedulers that make stores alike. Each has a measure that every move makes smaller
 * by a margin (the sum of the squares of what stores carry), so that they end; and a band
 * around the mean inside of which a store is left alone, so that they end early.
 *
 *  - bytes: a replica goes from a store above to one below, for the capacity that each has;
 *  - leaders: by number, within a range's own replicas;
 *  - load: the leader of an asked-for range goes to a store that is asked less, and a
 *    written-to replica to one that is written to less, as long as neither leaves the band
 *    of the two above: so what one scheduler does another never undoes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"
#include "placement/placement_internal.h"

enum {
    SAMPLE_MAX = 64,       /* replicas looked at on a store in a round */
    STORES_AT_ONCE = 16,   /* that are looked at in a round, from either end */
    LOAD_REST_MS = 300000, /* of a range that was moved for its load */
    QPS_FLOOR = 500,       /* less is not worth a move */
    WRITE_FLOOR = 1 << 20, /* bytes a second */
};

static double fill_of(const struct placement *p, const struct pl_store *s)
{
    return pl_store_load(s) / pl_store_weight(p, s);
}

static double leads_of(const struct pl_store *s)
{
    return (double)s->leaders + s->leads_in - s->leads_out;
}

void pl_means_find(const struct placement *p, struct pl_means *ret_means)
{
    struct pl_means *m = ret_means;
    *m = (struct pl_means){0};
    for (uint32_t i = 0; i < p->store_count; i++) {
        const struct pl_store *s = p->by_id[i];
        if (!pl_store_takes_part(s))
            continue;
        m->stores++;
        m->load_sum += pl_store_load(s);
        m->weight_sum += pl_store_weight(p, s);
        m->leaders += leads_of(s);
        m->qps += (double)s->qps;
        m->write_bytes_s += (double)s->write_bytes_s;
    }
    if (m->stores > 0) {
        m->leaders /= m->stores;
        m->qps /= m->stores;
        m->write_bytes_s /= m->stores;
    }
}

/* A round: the stores that take part, and where they stand. */
struct round {
    struct placement *p;
    struct pl_means means;
    double band; /* part of the mean */
    struct pl_store *stores[PLACEMENT_STORES_MAX];
    uint32_t count;
};

static double key_bytes(const struct round *b, const struct pl_store *s)
{
    return fill_of(b->p, s);
}

static double key_leads(const struct round *b, const struct pl_store *s)
{
    (void)b;
    return leads_of(s);
}

static double key_qps(const struct round *b, const struct pl_store *s)
{
    (void)b;
    return (double)s->qps;
}

static double key_writes(const struct round *b, const struct pl_store *s)
{
    (void)b;
    return (double)s->write_bytes_s;
}

typedef double (*key_fn)(const struct round *b, const struct pl_store *s);

/* The fullest first; equal ones in order of ids (insertion: nearly sorted each time). */
static void sort_stores(struct round *b, key_fn key)
{
    double keys[PLACEMENT_STORES_MAX];
    for (uint32_t i = 0; i < b->count; i++) {
        struct pl_store *s = b->stores[i];
        double k = key(b, s);
        uint32_t at = i;
        while (at > 0 &&
               (keys[at - 1] < k || (keys[at - 1] == k && b->stores[at - 1]->id > s->id))) {
            keys[at] = keys[at - 1];
            b->stores[at] = b->stores[at - 1];
            at--;
        }
        keys[at] = k;
        b->stores[at] = s;
    }
}

static double slack_bytes(const struct round *b, const struct pl_store *s)
{
    return b->band * b->means.load_sum / b->means.weight_sum * pl_store_weight(b->p, s);
}

/* How much more it has than its part. */
static double excess_of(const struct round *b, const struct pl_store *s)
{
    return pl_store_load(s) - b->means.load_sum / b->means.weight_sum * pl_store_weight(b->p, s);
}

/* Is a move of `bytes` a gain that is worth it? */
static bool is_gain(const struct round *b, const struct pl_store *from, const struct pl_store *to,
                    double bytes)
{
    double wf = pl_store_weight(b->p, from);
    double wt = pl_store_weight(b->p, to);
    double gap = fill_of(b->p, from) - fill_of(b->p, to);
    if (PLANTED(no_hysteresis))
        return gap > 0;
    bool is_out =
        excess_of(b, from) > slack_bytes(b, from) || excess_of(b, to) < -slack_bytes(b, to);
    return is_out && gap >= 0.52 * bytes * (1 / wf + 1 / wt);
}

/* Is everything as it should be, so that comfort may touch it? */
static bool is_calm(const struct placement *p, const struct pl_range *r)
{
    struct pl_health h = pl_range_health(p, r);
    return pl_range_is_free(p, r) && h.learners == 0 && h.healthy == h.voters && h.dead == 0 &&
           h.voters == pl_range_wants(p, r);
}

/* The emptiest store that may take the replica of `from` and gains by it. If a better one is
 * busy, one above its part is no substitute: the replica would only have to move again. */
static struct pl_store *find_target(const struct round *b, const struct pl_range *r,
                                    const struct pl_store *from)
{
    struct pl_closeness now = pl_closeness_of(b->p, r, NULL, NULL, NULL);
    bool is_better_busy = false;
    for (uint32_t i = b->count; i-- > 0;) {
        struct pl_store *to = b->stores[i];
        if (fill_of(b->p, from) <= fill_of(b->p, to))
            return NULL; /* the next ones are fuller */
        if (!is_gain(b, from, to, (double)r->bytes + PL_RANGE_OVERHEAD))
            continue;
        enum pl_no no = pl_pick_judge(b->p, r, from, to);
        if (no != PL_NO_NOT && no != PL_NO_BUSY)
            continue;
        struct pl_closeness then = pl_closeness_of(b->p, r, from, to, NULL);
        if (pl_closeness_compare(&then, &now) > 0)
            continue;
        if (no == PL_NO_NOT && (!is_better_busy || excess_of(b, to) < 0))
            return to;
        is_better_busy = true;
    }
    return NULL;
}

/* The largest replica of a sample that may go and does not overshoot. */
static bool move_from(struct round *b, struct pl_store *from)
{
    struct pl_range *best = NULL;
    struct pl_store *best_to = NULL;
    for (uint32_t n = 0; n < MIN(from->count, SAMPLE_MAX); n++) {
        struct pl_range *r = from->ranges[from->scan_at++ % from->count];
        if ((best != NULL && r->bytes <= best->bytes) || !is_calm(b->p, r) || !pl_may_send(b->p, r))
            continue;
        struct pl_store *to = find_target(b, r, from);
        if (to == NULL)
            continue;
        best = r;
        best_to = to;
    }
    if (best == NULL)
        return false;
    char why[PLACEMENT_REASON_MAX];
    double part = b->means.load_sum / b->means.weight_sum;
    snprintf(why, sizeof why, "store %llu carries %.1f %% of its part, store %llu %.1f %%",
             (unsigned long long)from->id, 100 * fill_of(b->p, from) / part,
             (unsigned long long)best_to->id, 100 * fill_of(b->p, best_to) / part);
    return pl_move(b->p, best, pl_range_on(best, from), best_to, PL_BALANCE_BYTES, why);
}

static bool balance_bytes(struct round *b)
{
    bool has_begun = false;
    if (b->means.load_sum <= 0)
        return false;
    sort_stores(b, key_bytes);
    /* whoever is above its part gives, as long as somebody is out of the band */
    bool is_low = b->count > 0 &&
                  excess_of(b, b->stores[b->count - 1]) < -slack_bytes(b, b->stores[b->count - 1]);
    for (uint32_t i = 0; i < MIN(b->count, (uint32_t)PLACEMENT_STORES_MAX); i++) {
        struct pl_store *from = b->stores[i];
        double excess = excess_of(b, from);
        if (!(excess > slack_bytes(b, from) || (is_low && excess > 0)) && !PLANTED(no_hysteresis))
            break;
        if (from->count > 0)
            has_begun = move_from(b, from) || has_begun;
    }
    return has_begun;
}

/* ---- leaders -------------------------------------------------------------------------------- */

static double slack_leads(const struct round *b)
{
    return MAX(0.5, b->band * b->means.leaders);
}

static bool may_hand(const struct placement *p, const struct pl_store *from,
                     const struct pl_store *to)
{
    return from->leads_out < p->settings.transfers_per_store &&
           to->leads_in < p->settings.transfers_per_store;
}

static bool is_lead_gain(const struct round *b, const struct pl_store *from,
                         const struct pl_store *to)
{
    double slack = slack_leads(b);
    double gap = leads_of(from) - leads_of(to);
    if (PLANTED(no_hysteresis))
        return gap > 0;
    return gap >= 2 &&
           (leads_of(from) > b->means.leaders + slack || leads_of(to) < b->means.leaders - slack);
}

/* The member that should lead instead of the one on `from`: the store that leads least. */
static struct pl_member *find_heir(const struct round *b, const struct pl_range *r,
                                   const struct pl_store *from, const struct pl_store *only)
{
    struct pl_member *to = NULL;
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_member *m = &r->members[i];
        if (m->store == from || (only != NULL && m->store != only) || m->role != MEMBER_VOTER ||
            !pl_store_may_take_over(m->store, from) || !pl_member_keeps_up(r, m) ||
            !may_hand(b->p, from, m->store) || !is_lead_gain(b, from, m->store))
            continue;
        if (to == NULL || leads_of(m->store) < leads_of(to->store))
            to = m;
    }
    return to;
}

/* Of a sample of what is on `s`, the least asked-for range whose leadership goes from `s`
 * (`is_from`) or comes to it. */
static bool hand_over(struct round *b, struct pl_store *s, bool is_from)
{
    struct pl_range *best = NULL;
    struct pl_member *best_to = NULL;
    for (uint32_t n = 0; n < MIN(s->count, SAMPLE_MAX * 4); n++) {
        struct pl_range *r = s->ranges[s->scan_at++ % s->count];
        struct pl_member *leader = pl_range_leader(r);
        if (leader == NULL || (leader->store == s) != is_from ||
            (best != NULL && r->qps >= best->qps) || !is_calm(b->p, r))
            continue;
        struct pl_member *to = find_heir(b, r, leader->store, is_from ? NULL : s);
        if (to == NULL)
            continue;
        best = r;
        best_to = to;
        if (r->qps == 0)
            break;
    }
    if (best == NULL)
        return false;
    char why[PLACEMENT_REASON_MAX];
    const struct pl_store *from = pl_range_leader(best)->store;
    snprintf(why, sizeof why, "store %llu leads %.0f ranges, store %llu %.0f, the mean is %.1f",
             (unsigned long long)from->id, leads_of(from), (unsigned long long)best_to->store->id,
             leads_of(best_to->store), b->means.leaders);
    return pl_transfer(b->p, best, best_to, PL_BALANCE_LEADERS, why);
}

static bool balance_leaders(struct round *b)
{
    bool has_begun = false;
    double slack = slack_leads(b);
    sort_stores(b, key_leads);
    for (uint32_t i = 0; i < b->count; i++) {
        struct pl_store *s = b->stores[i];
        bool is_high = leads_of(s) > b->means.leaders + slack;
        bool is_low = leads_of(s) < b->means.leaders - slack;
        if (PLANTED(no_hysteresis))
            is_high = leads_of(s) > b->means.leaders;
        if ((is_high || is_low) && s->count > 0)
            has_begun = hand_over(b, s, is_high) || has_begun;
    }
    return has_begun;
}

/* ---- load ---------------------------------------------------------------------------------------
 */

static bool rests_from_load(const struct placement *p, const struct pl_range *r)
{
    return r->load_moved_ms != 0 && p->now_ms - r->load_moved_ms < LOAD_REST_MS;
}

/* Would both stores still be in the band of leaders with one more here, one less there? */
static bool keeps_leads(const struct round *b, const struct pl_store *from,
                        const struct pl_store *to)
{
    double slack = slack_leads(b);
    return leads_of(to) + 1 <= b->means.leaders + slack &&
           leads_of(from) - 1 >= b->means.leaders - slack;
}

/* A range that `from` leads, asked for at most `qps_max`, of which `to` has a voter: the least
 * asked-for of a sample. */
static struct pl_range *find_cold(const struct round *b, struct pl_store *from,
                                  const struct pl_store *to, uint32_t qps_max)
{
    struct pl_range *best = NULL;
    for (uint32_t n = 0; n < MIN(from->count, SAMPLE_MAX * 4); n++) {
        struct pl_range *r = from->ranges[from->scan_at++ % from->count];
        const struct pl_member *leader = pl_range_leader(r);
        const struct pl_member *m = pl_range_on(r, to);
        if (leader == NULL || leader->store != from || m == NULL || m->role != MEMBER_VOTER ||
            !pl_member_keeps_up(r, m) || r->qps > qps_max ||
            (best != NULL && r->qps >= best->qps) || !is_calm(b->p, r))
            continue;
        best = r;
        if (r->qps == 0)
            break;
    }
    return best;
}

/* The leader of an asked-for range goes to a member's store that is asked less; if that would
 * be one leader too many, a little asked-for one comes back for it. */
static bool start_load(struct round *b, struct pl_range *r, struct pl_member *to)
{
    struct pl_store *from = pl_range_leader(r)->store;
    char why[PLACEMENT_REASON_MAX];
    struct pl_range *cold = NULL;
    if (!keeps_leads(b, from, to->store)) {
        cold = may_hand(b->p, to->store, from) ? find_cold(b, to->store, from, r->qps / 4) : NULL;
        if (cold == NULL)
            return false;
    }
    snprintf(why, sizeof why, "store %llu answers %llu requests a second, store %llu %llu",
             (unsigned long long)from->id, (unsigned long long)from->qps,
             (unsigned long long)to->store->id, (unsigned long long)to->store->qps);
    r->load_moved_ms = b->p->now_ms;
    if (cold != NULL)
        pl_transfer(b->p, cold, pl_range_on(cold, from), PL_BALANCE_LOAD, why);
    return pl_transfer(b->p, r, to, PL_BALANCE_LOAD, why);
}

static bool hand_load(struct round *b, struct pl_store *from)
{
    struct pl_range *best = NULL;
    struct pl_member *best_to = NULL;
    for (uint32_t n = 0; n < MIN(from->count, SAMPLE_MAX); n++) {
        struct pl_range *r = from->ranges[from->scan_at++ % from->count];
        const struct pl_member *leader = pl_range_leader(r);
        if (leader == NULL || leader->store != from || (best != NULL && r->qps <= best->qps) ||
            r->qps == 0 || rests_from_load(b->p, r) || !is_calm(b->p, r))
            continue;
        struct pl_member *to = NULL;
        for (uint32_t i = 0; i < r->member_count; i++) {
            struct pl_member *m = &r->members[i];
            double gap = (double)from->qps - (double)m->store->qps;
            if (m->store != from && m->role == MEMBER_VOTER && pl_member_keeps_up(r, m) &&
                pl_store_may_take_over(m->store, from) && may_hand(b->p, from, m->store) &&
                gap >= 1.3 * r->qps && (to == NULL || m->store->qps < to->store->qps))
                to = m;
        }
        if (to != NULL) {
            best = r;
            best_to = to;
        }
    }
    return best != NULL && start_load(b, best, best_to);
}

/* Would the store still be in the band of bytes with so many more (or less)? */
static bool stays_in_band(const struct round *b, const struct pl_store *s, double bytes)
{
    double excess = excess_of(b, s) + bytes;
    double slack = slack_bytes(b, s);
    return excess <= slack && excess >= -slack;
}

static struct pl_store *find_quiet(const struct round *b, const struct pl_range *r,
                                   const struct pl_store *from)
{
    struct pl_closeness now = pl_closeness_of(b->p, r, NULL, NULL, NULL);
    double bytes = (double)r->bytes + PL_RANGE_OVERHEAD;
    for (uint32_t i = b->count; i-- > 0;) {
        struct pl_store *to = b->stores[i];
        double gap = (double)from->write_bytes_s - (double)to->write_bytes_s;
        if (gap < 1.3 * r->write_bytes_s)
            return NULL;
        if (!stays_in_band(b, to, bytes) || pl_pick_judge(b->p, r, from, to) != PL_NO_NOT)
            continue;
        struct pl_closeness then = pl_closeness_of(b->p, r, from, to, NULL);
        if (pl_closeness_compare(&then, &now) <= 0)
            return to;
    }
    return NULL;
}

static bool move_writes(struct round *b, struct pl_store *from)
{
    for (uint32_t n = 0; n < MIN(from->count, SAMPLE_MAX); n++) {
        struct pl_range *r = from->ranges[from->scan_at++ % from->count];
        if (r->write_bytes_s == 0 || rests_from_load(b->p, r) || !is_calm(b->p, r) ||
            !pl_may_send(b->p, r) || !stays_in_band(b, from, -(double)r->bytes - PL_RANGE_OVERHEAD))
            continue;
        struct pl_store *to = find_quiet(b, r, from);
        if (to == NULL)
            continue;
        char why[PLACEMENT_REASON_MAX];
        snprintf(why, sizeof why, "store %llu writes %llu KiB a second, store %llu %llu",
                 (unsigned long long)from->id, (unsigned long long)(from->write_bytes_s >> 10),
                 (unsigned long long)to->id, (unsigned long long)(to->write_bytes_s >> 10));
        r->load_moved_ms = b->p->now_ms;
        return pl_move(b->p, r, pl_range_on(r, from), to, PL_BALANCE_LOAD, why);
    }
    return false;
}

static bool balance_load(struct round *b)
{
    bool has_begun = false;
    sort_stores(b, key_qps);
    for (uint32_t i = 0; i < MIN(b->count, (uint32_t)STORES_AT_ONCE); i++) {
        struct pl_store *s = b->stores[i];
        double most = MAX(1.3 * b->means.qps, b->means.qps + QPS_FLOOR);
        if (s->count == 0 || (double)s->qps <= most)
            break;
        has_begun = hand_load(b, s) || has_begun;
    }
    sort_stores(b, key_writes);
    for (uint32_t i = 0; i < MIN(b->count, (uint32_t)STORES_AT_ONCE); i++) {
        struct pl_store *s = b->stores[i];
        double mean = b->means.write_bytes_s;
        if (s->count == 0 || (double)s->write_bytes_s <= MAX(1.3 * mean, mean + WRITE_FLOOR))
            break;
        has_begun = move_writes(b, s) || has_begun;
    }
    return has_begun;
}

bool pl_balance(struct placement *p)
{
    struct round b = {.p = p, .band = (double)p->settings.balance_permille / 1000};
    if (p->settings.paused || !p->settings.balance || !pl_stores_reported(p))
        return false;
    pl_means_find(p, &b.means);
    for (uint32_t i = 0; i < p->store_count; i++) {
        if (pl_store_takes_part(p->by_id[i]))
            b.stores[b.count++] = p->by_id[i];
    }
    if (b.count < 2)
        return false;
    bool has_begun = balance_bytes(&b);
    has_begun = balance_leaders(&b) || has_begun;
    if (!has_begun && p->settings.balance_load)
        has_begun = balance_load(&b);
    return has_begun;
}

/* As find_target() judges: now, or once `to` is less busy. */
static bool may_go(const struct placement *p, const struct pl_range *r, const struct pl_store *from,
                   const struct pl_store *to)
{
    enum pl_no no = pl_pick_judge(p, r, from, to);
    struct pl_closeness now = pl_closeness_of(p, r, NULL, NULL, NULL);
    struct pl_closeness then = pl_closeness_of(p, r, from, to, NULL);
    return (no == PL_NO_NOT || no == PL_NO_BUSY) && pl_closeness_compare(&then, &now) <= 0;
}

bool pl_balance_may_gain(const struct placement *p, const struct pl_store *s)
{
    struct round b = {.p = (struct placement *)p,
                      .band = (double)p->settings.balance_permille / 1000};
    pl_means_find(p, &b.means);
    for (uint32_t i = 0; i < p->store_count; i++) {
        const struct pl_store *other = p->by_id[i];
        bool is_from = fill_of(p, s) > fill_of(p, other);
        const struct pl_store *from = is_from ? s : other;
        const struct pl_store *to = is_from ? other : s;
        for (uint32_t k = 0; pl_store_takes_part(other) && other != s && k < from->count; k++) {
            const struct pl_range *r = from->ranges[k];
            if (is_gain(&b, from, to, (double)r->bytes + PL_RANGE_OVERHEAD) &&
                may_go(p, r, from, to))
                return true;
        }
    }
    return false;
}

bool pl_balance_may_hand(const struct placement *p, const struct pl_store *s, bool is_from)
{
    struct round b = {.p = (struct placement *)p,
                      .band = (double)p->settings.balance_permille / 1000};
    pl_means_find(p, &b.means);
    for (uint32_t i = 0; i < p->store_count; i++) {
        const struct pl_store *other = p->by_id[i];
        if (other != s &&
            (is_from ? pl_store_may_take_over(other, s)
                     : pl_store_takes_part(other) && pl_store_may_take_over(s, other)) &&
            is_lead_gain(&b, is_from ? s : other, is_from ? other : s))
            return true;
    }
    return false;
}
