/* SPDX-License-Identifier: Apache-2.0 */
#include "placement/explain.h"

#include <stdio.h>

#include "placement/placement_internal.h"

#define U(x) ((unsigned long long)(x))

enum { HISTORY_SHOWN = 5 };

static void put_store(const struct placement *p, const struct pl_store *s, struct buf *text)
{
    buf_printf(text, "store %llu (%s", U(s->id), placement_store_state_name(s->state, s->wish));
    if (s->state == PLACEMENT_STORE_SUSPECT || s->state == PLACEMENT_STORE_DOWN) {
        buf_append_str(text, ", silent for ");
        pl_text_time(text, p->now_ms - s->heard_ms);
    }
    buf_append_str(text, ")");
}

static void put_member(const struct placement *p, const struct pl_range *r,
                       const struct pl_member *m, struct buf *text)
{
    const char *role = m->role == MEMBER_LEARNER ? "learner"
                       : m->id == r->leader      ? "leader"
                                                 : "voter";
    buf_printf(text, "  replica %llu on ", U(m->id));
    put_store(p, m->store, text);
    buf_printf(text, ": %s, ", role);
    if (pl_member_is_dead(p, r, m)) {
        buf_append_str(text, "lost");
    } else if (pl_member_is_healthy(r, m)) {
        buf_append_str(text, "healthy");
    } else if (m->contact_age_ms == UINT32_MAX || m->store->state != PLACEMENT_STORE_UP) {
        buf_append_str(text, "not heard of now");
    } else {
        buf_append_str(text, "does not answer its leader for ");
        pl_text_time(text, m->contact_age_ms);
    }
    bool lags = m->role == MEMBER_LEARNER ? !pl_member_is_caught_up(r, m)
                                          : r->has_heartbeat && !pl_member_keeps_up(r, m);
    if (lags)
        buf_printf(text, ", %llu entries behind", U(r->last_index - MIN(r->last_index, m->match)));
    buf_append_str(text, "\n");
}

static void put_head(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    struct pl_health h = pl_range_health(p, r);
    buf_printf(text, "range %llu [", U(r->id));
    pl_text_place(text, pl_range_start(r), "first key");
    buf_append_str(text, ", ");
    pl_text_place(text, pl_range_end(r), "last key");
    buf_printf(text, "), epoch %llu.%llu, ", U(r->conf_epoch), U(r->span_epoch));
    pl_text_bytes(text, r->bytes);
    buf_printf(text, ", %u requests/s%s\n", r->qps, r->is_asleep ? ", asleep" : "");
    buf_printf(text, "%u of %u voters healthy, should have %u\n", h.healthy, h.voters,
               pl_range_wants(p, r));
    if (r->retention_ms != 0) {
        uint64_t wanted_ms = pl_range_retention_ms(p, r);
        buf_append_str(text, "keeps old versions for ");
        pl_text_time(text, r->retention_ms);
        if (wanted_ms != 0 && wanted_ms != r->retention_ms) {
            buf_append_str(text, ", should for ");
            pl_text_time(text, wanted_ms);
        }
        buf_append_str(text, "\n");
    }
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
    buf_printf(text, "  operator %llu (%s) %s, begun ", U(op->id), op->scheduler,
               outcome_name(op->outcome));
    pl_text_time(text, op->age_ms);
    buf_printf(text, " ago: %s%s%s\n", op->reason, op->said[0] != 0 ? "; last heard: " : "",
               op->said);
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
        buf_append_str(text, "    given up in ");
        pl_text_time(text, r->op->deadline_ms - MIN(r->op->deadline_ms, p->now_ms));
        buf_printf(text,
                   " if this step is not done by then; at once: holdfast placement cancel %llu\n",
                   U(op.id));
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

/* Voters that do not count now: whose stores people must bring back. */
static void put_missing(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    bool is_first = true;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct pl_member *m = &r->members[i];
        if (m->role != MEMBER_VOTER || pl_member_is_healthy(r, m))
            continue;
        buf_append_str(text, is_first ? "" : ", ");
        put_store(p, m->store, text);
        is_first = false;
    }
}

/* What stands in the way of anything being done at all. */
static bool put_obstacle(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    struct pl_health h = pl_range_health(p, r);
    const struct pl_member *leader = pl_range_leader(r);
    if (h.healthy <= h.voters / 2) {
        buf_printf(text,
                   "it has lost its majority: it serves nothing, and nothing can be done until %u "
                   "more of its voters are back\n  start again: ",
                   h.voters / 2 + 1 - h.healthy);
        put_missing(p, r, text);
        buf_append_str(text, "\n  if they are lost for good: holdfast range recover --unsafe, on a "
                             "store that is left (docs/OPERATIONS.md)\n");
        return true;
    }
    if (leader == NULL || leader->store->state != PLACEMENT_STORE_UP || !r->has_heartbeat) {
        buf_append_str(text, "no leader has been heard of in this term: it waits for one\n");
        return true;
    }
    return false;
}

/* Nobody may take the replica: what a person can do. */
static void put_nobody(const struct pl_need *need, struct buf *text)
{
    const struct pl_store *from = need->remove == NULL ? NULL : need->remove->store;
    buf_append_str(text, "  no store may take the replica (see below), so it stays as it is; add a "
                         "store, free disk");
    if (need->cause == PL_DECOMMISSION && from != NULL)
        buf_printf(text, ", or take it back: holdfast node undrain %llu\n", U(from->id));
    else if (need->cause == PL_REQUIRE)
        buf_append_str(text, ", or change the setting 'require'\n");
    else if (from != NULL && from->state != PLACEMENT_STORE_REMOVED &&
             from->state != PLACEMENT_STORE_UP)
        buf_printf(text, ", or bring store %llu back\n", U(from->id));
    else
        buf_append_str(text, "\n");
}

/* A voter that is silent, but not for long enough to be replaced. */
static bool put_silent(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    uint64_t down_after_ms = p->settings.store_down_after_us / 1000;
    bool has_any = false;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct pl_member *m = &r->members[i];
        bool is_up = m->store->state == PLACEMENT_STORE_UP;
        if (m->role != MEMBER_VOTER || pl_member_is_healthy(r, m))
            continue;
        uint64_t silent_ms = !is_up                            ? p->now_ms - m->store->heard_ms
                             : m->contact_age_ms == UINT32_MAX ? 0
                                                               : m->contact_age_ms;
        buf_printf(text, "%s%llu is silent: if it does not come back within ",
                   is_up ? "its replica on store " : "store ", U(m->store->id));
        pl_text_time(text, down_after_ms - MIN(down_after_ms, silent_ms));
        const char *where = pl_pick(p, r, m->store, NULL) != NULL ? "on another store"
                            : pl_may_make_room(p, r, m)
                                ? "in its place, as no other store may take it"
                                : "as soon as another store may take it; none may now: see below";
        buf_printf(text, " (setting store-down-after), its replica is made anew %s\n", where);
        has_any = true;
    }
    return has_any;
}

static void put_need(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    struct pl_need need;
    pl_need_find(p, r, &need);
    if (pl_require_is_slip(p))
        buf_printf(
            text,
            "no store has the label %s that the setting 'require' asks for: no replica can be "
            "placed anywhere\n",
            p->settings.require);
    if (!need.is_needed) {
        if (!put_silent(p, r, text))
            buf_append_str(text, "nothing is wrong with it\n");
        return;
    }
    buf_printf(text, "needed (%s): %s\n", pl_cause_name(need.cause), need.why);
    if (need.block == PL_BLOCK_NOBODY)
        put_nobody(&need, text);
    else if (need.block == PL_BLOCK_BUSY && need.lead != NULL)
        buf_append_str(text, "  it waits until one of the other voters has caught up, but not for "
                             "ever\n");
    else if (need.block == PL_BLOCK_BUSY)
        buf_append_str(text,
                       "  it waits its turn: the stores that would send or take it are busy\n");
    else if (p->now_ms < r->retry_ms) {
        buf_append_str(text, "  tried again in ");
        pl_text_time(text, r->retry_ms - p->now_ms);
        buf_printf(text, ", after %u failures\n", r->fails);
    }
    for (int i = 0; i < 2 && need.add[i] != NULL; i++)
        buf_printf(text, "  a new replica goes to store %llu\n", U(need.add[i]->id));
}

/* Whose replica is looked at in the table: the one that would go, or none. */
static const struct pl_store *leaving_store(const struct placement *p, const struct pl_range *r)
{
    struct pl_need need;
    if (r->op != NULL)
        return NULL;
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
    if (!put_obstacle(p, r, text)) {
        if (r->op != NULL) {
            put_silent(p, r, text);
        } else {
            put_need(p, r, text);
            pl_shape_text(p, r, text);
        }
    }
    if (p->settings.paused)
        buf_append_str(text, "placement is paused: nothing is begun but what is commanded "
                             "(holdfast placement resume)\n");
    if (r->op != NULL)
        put_running(p, now_ms, r, text);
    put_history(p, now_ms, r, text);
    put_stores(p, r, text);
    return text->failed ? err_set(err, ERR_NOMEM, "out of memory") : 0;
}
