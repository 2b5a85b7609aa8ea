/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a store gets nothing, leads nothing, or does not get rid of what it has.
 */
#include <stdio.h>

#include "placement/explain.h"
#include "placement/placement_internal.h"

#define U(x) ((unsigned long long)(x))

static void put_store_head(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    buf_printf(text, "store %llu (%s%s%s) is %s", U(s->id), s->address,
               s->labels[0] != 0 ? ", " : "", s->labels,
               placement_store_state_name(s->state, s->wish));
    if (s->state != PLACEMENT_STORE_UP) {
        buf_append_str(text, ", silent for ");
        pl_text_time(text, p->now_ms - s->heard_ms);
    }
    buf_printf(text, ": %u replicas, ", s->count);
    pl_text_bytes(text, s->bytes);
    buf_printf(text, ", leads %u; %u replicas come, %u leave\n", s->leaders, s->adds, s->removes);
    if (p->settings.paused)
        buf_append_str(text, "placement is paused: nothing is begun but what is commanded "
                             "(holdfast placement resume)\n");
}

static void put_silence(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    uint64_t down_after_ms = p->settings.store_down_after_us / 1000;
    uint64_t silent_ms = p->now_ms - s->heard_ms;
    if (s->state == PLACEMENT_STORE_DOWN) {
        buf_printf(text, "  start it again; if it is lost for good: holdfast node remove %llu\n",
                   U(s->id));
    } else if (s->state == PLACEMENT_STORE_JOINING) {
        buf_append_str(text, "  it has its id, but was not heard of yet: does its process run?\n");
    } else {
        buf_append_str(text, "  it counts again with its next heartbeat; if none comes within ");
        pl_text_time(text, down_after_ms - MIN(down_after_ms, silent_ms));
        buf_append_str(text, " it is down, and its replicas are made anew elsewhere (setting "
                             "store-down-after)\n");
    }
}

/* Why nothing comes at all; false: that is no reason. */
static bool put_refusal(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    static const struct pl_range empty = {0};
    char why[PLACEMENT_REASON_MAX];
    enum pl_no no = pl_pick_judge(p, &empty, NULL, s);
    if (no == PL_NO_NOT || no == PL_NO_BUSY)
        return false;
    pl_no_text(p, &empty, s, no, why, sizeof why);
    buf_printf(text, "replicas: none come, because it %s\n", why);
    if (no == PL_NO_STATE)
        put_silence(p, s, text);
    else if (no == PL_NO_WISH)
        buf_printf(text, "  holdfast node undrain %llu takes that back\n", U(s->id));
    else if (no == PL_NO_SPACE && s->last.space == PLACEMENT_SPACE_OK)
        buf_append_str(text,
                       "  a twentieth of its disk stays free: give it more, or move ranges\n");
    else if (no == PL_NO_SPACE)
        buf_append_str(text, "  free some, give it more, or move ranges away: holdfast range move "
                             "RANGE --from STORE\n");
    else if (no == PL_NO_REQUIRE)
        buf_append_str(text, "  give it the label (labels in its configuration), or change the "
                             "setting: holdfast placement settings require LABEL\n");
    return true;
}

static void put_share(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    struct pl_means m;
    pl_means_find(p, &m);
    if (m.stores < 2 || m.load_sum <= 0) {
        buf_append_str(text, "replicas: it has nobody to share with\n");
        return;
    }
    double part = pl_store_load(s) / pl_store_weight(p, s) / (m.load_sum / m.weight_sum);
    double band = (double)p->settings.balance_permille / 1000;
    bool is_out = part > 1 + band || part < 1 - band;
    const char *verdict = is_out && !pl_balance_may_gain(p, s)
                              ? "outside of the band, but no replica is small enough, or has the "
                                "place, for a move to bring it nearer: it is left alone"
                          : part > 1 + band ? "above the band: replicas leave it"
                          : part < 1 - band ? "below the band: replicas come to it"
                                            : "inside the band: it is left alone";
    buf_printf(text,
               "replicas: %.1f %% of its part (by capacity); the band is %.1f to %.1f %%\n  %s\n",
               100 * part, 100 * (1 - band), 100 * (1 + band), verdict);
    if (s->last.lead == PLACEMENT_LEAD_LAST)
        buf_append_str(text,
                       "  none come from stores with better disks, because its own is slow\n");
    if (!p->settings.balance)
        buf_append_str(text, "  but balancing is switched off (setting balance)\n");
    if (!pl_stores_reported(p))
        buf_append_str(text, "  but it waits until all stores have reported in this term\n");
    if (s->adds >= p->settings.adds_per_store)
        buf_printf(text, "  no more than %llu come at once (setting adds-per-store)\n",
                   U(p->settings.adds_per_store));
}

/* Of a store that is up and stays. */
static const char *why_no_leads(const struct pl_store *s)
{
    if (s->last.is_stalled)
        return "it pushes writes back, or still replays its log";
    return s->last.lead == PLACEMENT_LEAD_NEVER ? "its clock is off" : "its disk is full";
}

static void put_leads(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    struct pl_means m;
    pl_means_find(p, &m);
    if (!pl_store_may_lead(s)) {
        bool is_there = s->state == PLACEMENT_STORE_UP && s->wish == PLACEMENT_WISH_NONE;
        buf_printf(text, "leaders: none come, because %s%s\n", is_there ? "" : "it is ",
                   is_there ? why_no_leads(s) : placement_store_state_name(s->state, s->wish));
        return;
    }
    double slack = MAX(0.5, (double)p->settings.balance_permille / 1000 * m.leaders);
    double leads = (double)s->leaders + s->leads_in - s->leads_out;
    bool is_high = leads > m.leaders + slack, is_low = leads < m.leaders - slack;
    const char *verdict = "";
    if ((is_high || is_low) && !pl_balance_may_hand(p, s, is_high))
        verdict = ": left alone, as no other store differs from it by two";
    else if (is_high)
        verdict = ": some are handed over, if a range of it can be led by an emptier one";
    else if (is_low)
        verdict = ": some come, if a range of it is led by a fuller one";
    buf_printf(text, "leaders: it leads %.0f, the mean is %.1f; left alone from %.1f to %.1f%s\n",
               leads, m.leaders, m.leaders - slack, m.leaders + slack, verdict);
    if (!p->settings.balance)
        buf_append_str(text, "  but balancing is switched off (setting balance)\n");
}

/* The fullest store's ranges, each with why it does not come here: counted. */
static void put_samples(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    static const enum pl_no kinds[] = {PL_NO_HAS_ONE, PL_NO_NODE,    PL_NO_SPREAD,
                                       PL_NO_SPACE,   PL_NO_REQUIRE, PL_NO_NOT};
    static const char *const names[] = {"have a replica here already", "have one on its node",
                                        "would stand closer together", "are too large for its disk",
                                        "need a label that it lacks",  "may come"};
    uint32_t counts[ARRAY_LEN(kinds)] = {0};
    const struct pl_store *full = NULL;
    for (uint32_t i = 0; i < p->store_count; i++) {
        const struct pl_store *t = p->by_id[i];
        if (t != s && pl_store_takes_part(t) &&
            (full == NULL || pl_store_load(t) / pl_store_weight(p, t) >
                                 pl_store_load(full) / pl_store_weight(p, full)))
            full = t;
    }
    if (full == NULL || full->count == 0)
        return;
    uint32_t looked_at = MIN(full->count, 1000);
    for (uint32_t i = 0; i < looked_at; i++) {
        const struct pl_range *r = full->ranges[i];
        enum pl_no no = pl_pick_judge(p, r, full, s);
        struct pl_closeness now = pl_closeness_of(p, r, NULL, NULL, NULL);
        struct pl_closeness then = pl_closeness_of(p, r, full, s, NULL);
        if (no == PL_NO_NOT && pl_closeness_compare(&then, &now) > 0)
            no = PL_NO_SPREAD;
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            counts[k] += kinds[k] == no;
    }
    buf_printf(text, "of %u replicas on the fullest store %llu:\n", looked_at, U(full->id));
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        if (counts[k] > 0)
            buf_printf(text, "  %u %s\n", counts[k], names[k]);
    }
}

/* Leaders that should leave it: none is left, or why some are. */
static void put_draining(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    uint32_t stuck = 0;
    uint64_t first = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct pl_member *leader = pl_range_leader(s->ranges[i]);
        if (leader == NULL || leader->store != s)
            continue;
        const struct pl_member *to = pl_pick_leader(p, s->ranges[i], leader);
        if ((to == NULL || !pl_store_can_lead(to->store)) && stuck++ == 0)
            first = s->ranges[i]->id;
    }
    if (s->leaders == 0)
        buf_append_str(text, "leaving: it leads nothing any more\n");
    else if (stuck == 0)
        buf_printf(text, "leaving: it still leads %u ranges, each is handed over in its turn\n",
                   s->leaders);
    else
        buf_printf(
            text,
            "leaving: of %u ranges that it leads nobody else can lead %u, range %llu for one "
            "(holdfast placement explain %llu)\n",
            s->leaders, stuck, U(first), U(first));
}

/* Replicas that should leave it, and those that cannot. */
static void put_leaving(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    uint32_t stuck = 0;
    uint64_t first = 0;
    if (s->wish != PLACEMENT_WISH_NONE && s->state == PLACEMENT_STORE_UP)
        put_draining(p, s, text);
    if (s->wish != PLACEMENT_WISH_DECOMMISSION && s->state != PLACEMENT_STORE_DOWN)
        return;
    for (uint32_t i = 0; i < s->count; i++) {
        struct pl_need need;
        pl_need_find(p, s->ranges[i], &need);
        if (!need.is_needed || need.block != PL_BLOCK_NOBODY)
            continue;
        if (stuck++ == 0)
            first = s->ranges[i]->id;
    }
    if (stuck > 0)
        buf_printf(text,
                   "leaving: %u of its replicas have nowhere to go, range %llu for one (holdfast "
                   "placement explain %llu): add a store\n",
                   stuck, U(first), U(first));
    else if (s->count > 0)
        buf_printf(text, "leaving: %u replicas are still to go, each in its turn\n", s->count);
    else
        buf_append_str(text, "leaving: it has no replica any more\n");
}

int placement_why_not(const struct placement *p, uint64_t now_ms, uint64_t store_id,
                      struct buf *text, struct err *err)
{
    const struct pl_store *s = pl_store_get(p, store_id);
    (void)now_ms;
    if (s == NULL || s->is_ghost)
        return err_set(err, ERR_NOT_FOUND, "no store %llu in this cluster: removed, or never there",
                       U(store_id));
    put_store_head(p, s, text);
    if (!put_refusal(p, s, text)) {
        put_share(p, s, text);
        put_samples(p, s, text);
    }
    put_leads(p, s, text);
    put_leaving(p, s, text);
    return text->failed ? err_set(err, ERR_NOMEM, "out of memory") : 0;
}

/* ---- may it be stopped? ------------------------------------------------------------------- */

/* Would the range serve without the store? */
static bool serves_without(const struct placement *p, const struct pl_range *r,
                           const struct pl_store *s)
{
    struct pl_health h = pl_range_health(p, r);
    const struct pl_member *m = pl_range_on(r, s);
    bool counts = m != NULL && m->role == MEMBER_VOTER && pl_member_is_healthy(r, m);
    return h.healthy - counts > h.voters / 2;
}

int placement_restart_safe(const struct placement *p, uint64_t now_ms, uint64_t store_id,
                           struct buf *text, struct err *err)
{
    const struct pl_store *s = pl_store_get(p, store_id);
    uint32_t hurt = 0;
    uint64_t first = 0;
    (void)now_ms;
    if (s == NULL || s->is_ghost)
        return err_set(err, ERR_NOT_FOUND, "no store %llu in this cluster: removed, or never there",
                       U(store_id));
    if (!pl_stores_reported(p))
        return err_set(err, ERR_BUSY, "not all stores have reported in this term: ask again soon");
    for (uint32_t i = 0; i < s->count; i++) {
        if (!serves_without(p, s->ranges[i], s) && hurt++ == 0)
            first = s->ranges[i]->id;
    }
    if (hurt > 0)
        return err_set(err, ERR_STATE,
                       "not safe: without store %llu, %u of its %u ranges have no majority, range "
                       "%llu for one (holdfast placement explain %llu)",
                       U(store_id), hurt, s->count, U(first), U(first));
    buf_printf(text, "safe: each of its %u ranges keeps a majority without store %llu\n", s->count,
               U(store_id));
    buf_printf(text,
               "  it leads %u of them: holdfast node drain %llu hands them over first; stop it in "
               "order (SIGTERM) and it does so itself\n",
               s->leaders, U(store_id));
    return text->failed ? err_set(err, ERR_NOMEM, "out of memory") : 0;
}
