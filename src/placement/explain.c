/* SPDX-License-Identifier: Apache-2.0 */
#include "placement/explain.h"

#include <stdio.h>

#include "placement/placement_internal.h"

#define U(x) ((unsigned long long)(x))

enum { HISTORY_SHOWN = 5 };

static void put_key(struct buf *text, struct slice key, const char *empty)
{
    if (key.len == 0)
        buf_append_str(text, empty);
    for (size_t i = 0; i < MIN(key.len, 40); i++) {
        if (key.data[i] > ' ' && key.data[i] < 0x7f && key.data[i] != '\\')
            buf_append_u8(text, key.data[i]);
        else
            buf_printf(text, "\\x%02x", key.data[i]);
    }
    if (key.len > 40)
        buf_append_str(text, "…");
}

static void put_bytes(struct buf *text, uint64_t bytes)
{
    if (bytes >= UINT64_C(10) << 30)
        buf_printf(text, "%.1f GiB", (double)bytes / (1 << 30));
    else if (bytes >= 10 << 20)
        buf_printf(text, "%.1f MiB", (double)bytes / (1 << 20));
    else
        buf_printf(text, "%.1f KiB", (double)bytes / (1 << 10));
}

static void put_member(const struct placement *p, const struct pl_range *r,
                       const struct pl_member *m, struct buf *text)
{
    const char *role = m->role == MEMBER_LEARNER ? "learner"
                       : m->id == r->leader      ? "leader"
                                                 : "voter";
    buf_printf(text, "  replica %llu on store %llu (%s): %s, ", U(m->id), U(m->store->id),
               placement_store_state_name(m->store->state, m->store->wish), role);
    if (pl_member_is_dead(p, r, m))
        buf_append_str(text, "lost");
    else if (pl_member_is_healthy(r, m))
        buf_append_str(text, "healthy");
    else if (m->contact_age_ms == UINT32_MAX || m->store->state != PLACEMENT_STORE_UP)
        buf_append_str(text, "not heard of now");
    else
        buf_printf(text, "silent for %u s", m->contact_age_ms / 1000);
    if (m->role == MEMBER_LEARNER && !pl_member_is_caught_up(r, m))
        buf_printf(text, ", %llu entries behind", U(r->last_index - MIN(r->last_index, m->match)));
    buf_append_str(text, "\n");
}

static void put_head(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    struct pl_health h = pl_range_health(p, r);
    buf_printf(text, "range %llu [", U(r->id));
    put_key(text, pl_range_start(r), "first key");
    buf_append_str(text, ", ");
    put_key(text, pl_range_end(r), "last key");
    buf_printf(text, "), epoch %llu.%llu, ", U(r->conf_epoch), U(r->span_epoch));
    put_bytes(text, r->bytes);
    buf_printf(text, ", %u requests/s%s\n", r->qps, r->is_asleep ? ", asleep" : "");
    buf_printf(text, "%u of %u voters healthy, should have %u\n", h.healthy, h.voters,
               pl_range_wants(p, r));
    for (uint32_t i = 0; i < r->member_count; i++)
        put_member(p, r, &r->members[i], text);
}

static void put_steps(const struct placement_operator_status *op, struct buf *text)
{
    for (uint32_t i = 0; i < op->step_count; i++) {
        bool is_present = op->outcome == PLACEMENT_RUNNING && i == op->step;
        buf_printf(text, "    %s %s",
                   i < op->step ? "done"
                   : is_present ? "now "
                                : "then",
                   placement_step_kind_name(op->kinds[i]));
        if (op->stores[i] != 0)
            buf_printf(text, " on store %llu", U(op->stores[i]));
        buf_append_str(text, "\n");
    }
}

static const char *outcome_name(enum placement_outcome outcome)
{
    static const char *const names[] = {
        [PLACEMENT_RUNNING] = "runs",        [PLACEMENT_DONE] = "done",
        [PLACEMENT_CANCELLED] = "cancelled", [PLACEMENT_TIMED_OUT] = "timed out",
        [PLACEMENT_REFUSED] = "refused",
    };
    return names[outcome];
}

static void put_operator(const struct placement_operator_status *op, struct buf *text)
{
    buf_printf(text, "  operator %llu (%s) %s, begun %llu s ago: %s%s%s\n", U(op->id),
               op->scheduler, outcome_name(op->outcome), U(op->age_ms / 1000), op->reason,
               op->said[0] != 0 ? "; last heard: " : "", op->said);
}

static void put_running(const struct placement *p, uint64_t now_ms, const struct pl_range *r,
                        struct buf *text)
{
    struct placement_operator_status op;
    for (uint32_t i = 0; placement_operator_at(p, now_ms, i, &op); i++) {
        if (op.id != r->op->id)
            continue;
        buf_append_str(text, "running now:\n");
        put_operator(&op, text);
        put_steps(&op, text);
    }
}

static void put_history(const struct placement *p, uint64_t now_ms, const struct pl_range *r,
                        struct buf *text)
{
    struct placement_operator_status op;
    uint32_t shown = 0;
    for (uint32_t i = 0; shown < HISTORY_SHOWN && placement_history_at(p, now_ms, i, &op); i++) {
        if (op.range_id != r->id && op.partner_id != r->id)
            continue;
        if (shown++ == 0)
            buf_append_str(text, "what ended last:\n");
        put_operator(&op, text);
    }
}

/* What stands in the way of anything being done at all. */
static bool put_obstacle(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    struct pl_health h = pl_range_health(p, r);
    const struct pl_member *leader = pl_range_leader(r);
    if (h.healthy <= h.voters / 2) {
        buf_append_str(text,
                       "it has lost its majority: nothing can be done until enough of its stores "
                       "are back.\nIf they are lost for good: holdfast range recover --unsafe\n");
        return true;
    }
    if (leader == NULL || leader->store->state != PLACEMENT_STORE_UP || !r->has_heartbeat) {
        buf_append_str(text, "no leader has been heard of in this term: it waits for one\n");
        return true;
    }
    if (p->settings.paused) {
        buf_append_str(text, "placement is paused: nothing is begun (holdfast placement resume)\n");
        return true;
    }
    return false;
}

static void put_need(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    struct pl_need need;
    pl_need_find(p, r, &need);
    if (!need.is_needed) {
        buf_append_str(text, "nothing is wrong with it\n");
        return;
    }
    buf_printf(text, "needed (%s): %s\n", pl_cause_name(need.cause), need.why);
    if (need.block == PL_BLOCK_NOBODY)
        buf_append_str(text,
                       "  no store may take the replica: see below; add a store, free disk, or "
                       "bring one back\n");
    else if (need.block == PL_BLOCK_BUSY)
        buf_append_str(text,
                       "  it waits its turn: the stores that would send or take it are busy\n");
    else if (p->now_ms < r->retry_ms)
        buf_printf(text, "  tried again in %llu s, after %u failures\n",
                   U((r->retry_ms - p->now_ms) / 1000), r->fails);
    for (int i = 0; i < 2 && need.add[i] != NULL; i++)
        buf_printf(text, "  a new replica goes to store %llu\n", U(need.add[i]->id));
}

/* Whose replica is looked at in the table: the one that would go, or none. */
static const struct pl_store *leaving_store(const struct placement *p, const struct pl_range *r)
{
    struct pl_need need;
    pl_need_find(p, r, &need);
    return need.is_needed && need.remove != NULL ? need.remove->store : NULL;
}

static void put_stores(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    const struct pl_store *without = leaving_store(p, r);
    struct pl_store *best = pl_pick(p, r, without, NULL);
    struct pl_means means;
    pl_means_find(p, &means);
    if (without != NULL)
        buf_printf(text, "stores for a replica in place of the one on store %llu:\n",
                   U(without->id));
    else
        buf_append_str(text, "stores for one more replica:\n");
    for (uint32_t i = 0; i < p->store_count; i++) {
        const struct pl_store *s = p->by_id[i];
        char why[PLACEMENT_REASON_MAX];
        enum pl_no no = pl_pick_judge(p, r, without, s);
        if (s->is_ghost)
            continue;
        pl_no_text(p, r, s, no, why, sizeof why);
        buf_printf(text, "  store %llu %s", U(s->id), why);
        if (no == PL_NO_NOT && means.load_sum > 0)
            buf_printf(text, ": %.1f %% of its part of the data%s",
                       100 * pl_store_load(s) / pl_store_weight(p, s) /
                           (means.load_sum / means.weight_sum),
                       s == best ? "; the best" : "");
        buf_append_str(text, "\n");
    }
}

int placement_explain(const struct placement *p, uint64_t now_ms, uint64_t range_id,
                      struct buf *text, struct err *err)
{
    const struct pl_range *r = pl_range_get(p, range_id);
    const struct pl_ended *ended = pl_ended_find(p, range_id);
    if (ended != NULL) {
        buf_printf(text, "range %llu was merged into range %llu at span epoch %llu\n", U(range_id),
                   U(ended->into), U(ended->epoch));
        return 0;
    }
    if (r == NULL)
        return err_set(err, ERR_NOT_FOUND, "no range %llu is known%s", U(range_id),
                       pl_stores_reported(p) ? "" : ": not all stores have reported yet");
    put_head(p, r, text);
    if (!put_obstacle(p, r, text) && r->op == NULL)
        put_need(p, r, text);
    if (r->op != NULL)
        put_running(p, now_ms, r, text);
    put_history(p, now_ms, r, text);
    put_stores(p, r, text);
    return text->failed ? err_set(err, ERR_NOMEM, "out of memory") : 0;
}

/* ---- why-not ------------------------------------------------------------------------------ */

static void put_store_head(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    buf_printf(text, "store %llu (%s%s%s) is %s", U(s->id), s->address,
               s->labels[0] != 0 ? ", " : "", s->labels,
               placement_store_state_name(s->state, s->wish));
    if (s->state != PLACEMENT_STORE_UP)
        buf_printf(text, ", silent for %llu s", U((p->now_ms - s->heard_ms) / 1000));
    buf_printf(text, ": %u replicas, ", s->count);
    put_bytes(text, s->bytes);
    buf_printf(text, ", leads %u; %u replicas come, %u leave\n", s->leaders, s->adds, s->removes);
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
    switch (no) {
    case PL_NO_STATE:
        buf_append_str(text, s->state == PLACEMENT_STORE_DOWN
                                 ? "  start it again, or remove it for good: holdfast node "
                                   "decommission\n"
                                 : "  it counts again with its next heartbeat\n");
        break;
    case PL_NO_WISH:
        buf_append_str(text, "  holdfast node undrain takes that back\n");
        break;
    case PL_NO_SPACE:
        buf_append_str(text,
                       "  a twentieth of its disk stays free: give it more, or move ranges\n");
        break;
    default:
        break;
    }
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
    const char *verdict = part > 1 + band   ? "above the band: replicas leave it"
                          : part < 1 - band ? "below the band: replicas come to it"
                                            : "inside the band: it is left alone";
    buf_printf(text,
               "replicas: %.1f %% of its part (by capacity); the band is %.1f to %.1f %%\n  %s\n",
               100 * part, 100 * (1 - band), 100 * (1 + band), verdict);
    if (!p->settings.balance || p->settings.paused)
        buf_append_str(text, "  but balancing is switched off\n");
    if (!pl_stores_reported(p))
        buf_append_str(text, "  but it waits until all stores have reported in this term\n");
    if (s->adds >= p->settings.adds_per_store)
        buf_printf(text, "  no more than %llu come at once (setting adds-per-store)\n",
                   U(p->settings.adds_per_store));
}

static void put_leads(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    struct pl_means m;
    pl_means_find(p, &m);
    if (!pl_store_may_lead(s)) {
        buf_printf(text, "leaders: none come, because it %s\n",
                   s->last.is_stalled && s->wish == PLACEMENT_WISH_NONE
                       ? "pushes writes back: its engine or log cannot follow"
                       : "is not fit to lead");
        return;
    }
    double slack = MAX(0.5, (double)p->settings.balance_permille / 1000 * m.leaders);
    double leads = (double)s->leaders + s->leads_in - s->leads_out;
    buf_printf(text, "leaders: it leads %.0f, the mean is %.1f; left alone from %.1f to %.1f%s\n",
               leads, m.leaders, m.leaders - slack, m.leaders + slack,
               leads > m.leaders + slack   ? ": some are handed over"
               : leads < m.leaders - slack ? ": some come, if a range of it is led by a fuller one"
                                           : "");
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

/* Replicas that should leave it and cannot. */
static void put_stuck(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    uint32_t stuck = 0;
    uint64_t first = 0;
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
                   "placement explain %llu)\n",
                   stuck, U(first), U(first));
    else
        buf_printf(text, "leaving: %u replicas are still to go, each in its turn\n", s->count);
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
    put_stuck(p, s, text);
    return text->failed ? err_set(err, ERR_NOMEM, "out of memory") : 0;
}
