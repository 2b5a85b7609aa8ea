/* SPDX-License-Identifier: Apache-2.0
 *
 * What would be done: the driver's own code on a copy of the map, in which every step
 * succeeds at once and time runs fast, until nothing is left to do.
 */
#include <stdio.h>
#include <stdlib.h>

#include "placement/explain.h"
#include "placement/placement_internal.h"

#define U(x) ((unsigned long long)(x))

enum {
    ROUNDS_MAX = 20000,
    IDLE_ROUNDS = 64, /* in a row without an operator: it is over */
    ROUND_MS = 1000,
    LINES_DEFAULT = 50,
};

struct plan {
    struct placement *copy;
    uint32_t lines_max;
    uint32_t lines;
    uint32_t operators;
    uint64_t bytes;
    uint64_t adds, transfers, splits, merges;
    struct buf *text;
};

/* ---- the copy ------------------------------------------------------------------------------ */

static int copy_store(struct placement *to, const struct pl_store *s)
{
    struct pl_store *t = s->is_ghost ? pl_store_need(to, s->id) : pl_store_add(to, s->id, NULL);
    if (t == NULL)
        return ERR_NOMEM;
    memcpy(t->uuid, s->uuid, sizeof t->uuid);
    memcpy(t->address, s->address, sizeof t->address);
    memcpy(t->labels, s->labels, sizeof t->labels);
    memcpy(t->level, s->level, sizeof t->level);
    t->state = s->state;
    t->wish = s->wish;
    t->is_durable = true;
    t->heard_ms = s->heard_ms;
    t->up_since_ms = s->up_since_ms;
    t->last = s->last;
    t->has_reported = true;
    return 0;
}

static int copy_range(struct placement *to, const struct pl_range *r)
{
    struct descriptor d;
    pl_range_describe(r, &d);
    struct pl_range *t = pl_range_learn(to, &d);
    if (t == NULL)
        return ERR_NOMEM;
    t->has_heartbeat = r->has_heartbeat;
    t->is_asleep = r->is_asleep;
    t->retention_ms = r->retention_ms;
    t->heard_ms = r->heard_ms;
    t->last_index = r->last_index;
    t->shaped_ms = r->shaped_ms;
    t->was_merged = r->was_merged;
    t->no_split_until_ms = r->no_split_until_ms;
    t->no_cut_until_ms = r->no_cut_until_ms;
    for (uint32_t i = 0; i < r->member_count; i++) {
        /* whoever lags is waited for */
        bool is_voter = r->members[i].role == MEMBER_VOTER;
        t->members[i].match = is_voter ? r->last_index : r->members[i].match;
        t->members[i].contact_age_ms = r->members[i].contact_age_ms;
    }
    pl_range_set_leader(t, r->leader);
    pl_range_set_load(to, t, r->bytes, r->qps, r->write_bytes_s);
    t->small_since_ms = r->small_since_ms;
    t->hot_since_ms = 0; /* loads are not foretold */
    return 0;
}

static struct placement *copy_of(const struct placement *p)
{
    struct placement_options options = p->opt;
    uint32_t cursor = 0;
    int rv = 0;
    options.now_ms = p->now_ms;
    struct placement *to = placement_new(&options);
    if (to == NULL)
        return NULL;
    to->is_copy = true;
    to->is_loaded = true;
    to->settings = p->settings;
    to->settings.paused = false;
    for (int kind = 0; kind < PLACEMENT_IDS_NR; kind++)
        to->ids[kind].next = to->ids[kind].limit = to->ids[kind].want = p->ids[kind].want;
    for (uint32_t i = 0; i < p->store_count && rv == 0; i++)
        rv = copy_store(to, p->by_id[i]);
    for (const struct pl_range *r; rv == 0 && (r = map_next(&p->ranges, &cursor, NULL)) != NULL;)
        rv = copy_range(to, r);
    if (rv == 0)
        rv = pl_keyspaces_copy(to, p);
    if (rv != 0) {
        placement_free(to);
        return NULL;
    }
    to->is_store_set_new = true;
    return to;
}

/* ---- what is imagined -------------------------------------------------------------------------
 */

static int imagine_store(struct placement *copy, const struct placement_if *what_if,
                         struct err *err)
{
    static const char address[] = "imagined:1";
    uint64_t id;
    if (!pl_ids_take(copy, PLACEMENT_IDS_STORE, 1, &id))
        return err_set(err, ERR_NOMEM, "no store id");
    struct pl_store *s = pl_store_add(copy, id, err);
    if (s == NULL)
        return ERR_NO_SPACE;
    int rv = pl_store_describe(s, slice_str(address), what_if->add_labels, err);
    if (rv != 0)
        return rv;
    s->state = PLACEMENT_STORE_UP;
    s->is_durable = true;
    s->has_reported = true;
    s->last.capacity_bytes = s->last.free_bytes = what_if->add_bytes;
    pl_stores_levels(copy);
    return 0;
}

static struct pl_store *find_store(struct placement *copy, uint64_t id, struct err *err)
{
    struct pl_store *s = pl_store_get(copy, id);
    if (s == NULL || s->is_ghost) {
        err_set(err, ERR_NOT_FOUND, "no store %llu in this cluster", U(id));
        return NULL;
    }
    return s;
}

/* Whoever led there is followed by another. */
static void lose_leaders(struct placement *copy, struct pl_store *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct pl_range *r = s->ranges[i];
        const struct pl_member *leader = pl_range_leader(r);
        if (leader == NULL || leader->store != s)
            continue;
        const struct pl_member *next = pl_pick_leader(copy, r, leader);
        pl_range_set_leader(r, next == NULL ? 0 : next->id);
    }
}

static int imagine(struct placement *copy, const struct placement_if *what_if, struct err *err)
{
    int rv = 0;
    if (what_if->down_store != 0) {
        struct pl_store *s = find_store(copy, what_if->down_store, err);
        if (s == NULL)
            return ERR_NOT_FOUND;
        pl_store_move(copy, s, PLACEMENT_STORE_DOWN);
        lose_leaders(copy, s);
    }
    if (what_if->gone_store != 0 && find_store(copy, what_if->gone_store, err) == NULL)
        return ERR_NOT_FOUND;
    if (what_if->gone_store != 0)
        rv = placement_wish(copy, what_if->gone_store, PLACEMENT_WISH_DECOMMISSION, err);
    if (rv == 0 && what_if->add_bytes != 0)
        rv = imagine_store(copy, what_if, err);
    return rv;
}

/* ---- carrying it out
 * ----------------------------------------------------------------------------- */

static void tell_operator(struct plan *plan, const struct pl_op *op)
{
    plan->operators++;
    if (plan->lines >= plan->lines_max)
        return;
    plan->lines++;
    buf_printf(plan->text, "%4u. range %llu:", plan->operators, U(op->range->id));
    for (uint32_t i = 0; i < op->step_count; i++) {
        buf_printf(plan->text, "%s %s", i > 0 ? "," : "",
                   placement_step_kind_name(op->steps[i].kind));
        if (op->steps[i].store != NULL)
            buf_printf(plan->text, " %llu", U(op->steps[i].store->id));
    }
    buf_printf(plan->text, "\n      because %s (%s)\n", op->reason, pl_cause_name(op->cause));
}

static void take_member(struct descriptor *d, uint64_t replica_id, bool is_promoted)
{
    for (uint32_t i = 0; i < d->member_count; i++) {
        if (d->members[i].replica_id != replica_id)
            continue;
        if (is_promoted)
            d->members[i].role = MEMBER_VOTER;
        else
            d->members[i] = d->members[--d->member_count];
        return;
    }
}

/* The step as if its leader had done it: the map learns the descriptor that comes of it. */
static void do_step(struct plan *plan, const struct placement_step *step)
{
    struct placement *copy = plan->copy;
    struct pl_range *r = pl_range_get(copy, step->range_id);
    struct descriptor d;
    pl_range_describe(r, &d);
    if (step->kind == PLACEMENT_TRANSFER) {
        plan->transfers++;
        pl_range_set_leader(r, step->member.replica_id);
    } else if (step->kind == PLACEMENT_ADD_LEARNER) {
        plan->adds++;
        plan->bytes += r->bytes;
        d.members[d.member_count++] = step->member;
    } else if (step->kind == PLACEMENT_RETAIN) {
        r->retention_ms = step->retention_ms;
    } else {
        take_member(&d, step->member.replica_id, step->kind == PLACEMENT_PROMOTE);
    }
    d.conf_epoch += step->kind != PLACEMENT_TRANSFER && step->kind != PLACEMENT_RETAIN;
    bool was_asleep = r->is_asleep;
    r = pl_range_learn(copy, &d);
    if (r == NULL)
        return;
    r->is_asleep = was_asleep;
    r->heard_ms = copy->now_ms;
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].id != step->member.replica_id || step->kind != PLACEMENT_ADD_LEARNER)
            continue;
        r->members[i].match = r->last_index;
        r->members[i].contact_age_ms = 0;
    }
    if (r->op != NULL)
        pl_op_advance(copy, r->op);
}

/* Splits and merges are told, not done: where the key would be is not known here. */
static bool is_shape(const struct pl_op *op)
{
    enum placement_step_kind last = op->steps[op->step_count - 1].kind;
    return last == PLACEMENT_SPLIT || last == PLACEMENT_MERGE;
}

static void run_operators(struct plan *plan)
{
    struct placement *copy = plan->copy;
    struct placement_step step;
    LIST_FOREACH(it, &copy->ops)
    {
        struct pl_op *op = list_entry(it, struct pl_op, in_all);
        if (op->is_told)
            continue;
        op->is_told = true;
        tell_operator(plan, op);
        plan->splits += op->cause == PL_SPLIT;
        plan->merges += op->cause == PL_MERGE;
        if (is_shape(op)) {
            op->range->retry_ms = UINT64_MAX;
            pl_op_end(copy, op, PLACEMENT_DONE, "");
        }
    }
    while (placement_next_step(copy, &step))
        do_step(plan, &step);
}

static void keep_alive(struct placement *copy)
{
    for (uint32_t i = 0; i < copy->store_count; i++) {
        if (copy->by_id[i]->state == PLACEMENT_STORE_UP)
            copy->by_id[i]->heard_ms = copy->now_ms;
    }
}

static bool run_plan(struct plan *plan)
{
    uint32_t idle = 0;
    uint32_t idle_max = MAX(IDLE_ROUNDS, 2 * plan->copy->ranges.count / PL_TICK_CHECKS_MAX);
    for (uint32_t round = 0; round < ROUNDS_MAX && idle < idle_max; round++) {
        uint32_t before = plan->operators;
        plan->copy->now_ms += ROUND_MS;
        keep_alive(plan->copy);
        placement_tick(plan->copy, plan->copy->now_ms);
        run_operators(plan);
        idle = plan->operators == before && plan->copy->op_count == 0 ? idle + 1 : 0;
    }
    return idle == idle_max;
}

/* ---- the answer
 * -------------------------------------------------------------------------------------- */

static void put_spread(const struct placement *p, const char *when, struct buf *text)
{
    double least = 1e300, most = 0;
    struct pl_means m;
    uint32_t leads_least = UINT32_MAX, leads_most = 0;
    pl_means_find(p, &m);
    for (uint32_t i = 0; i < p->store_count; i++) {
        const struct pl_store *s = p->by_id[i];
        if (!pl_store_takes_part(s) || m.load_sum <= 0)
            continue;
        double part = pl_store_load(s) / pl_store_weight(p, s) / (m.load_sum / m.weight_sum);
        least = MIN(least, part);
        most = MAX(most, part);
        leads_least = MIN(leads_least, s->leaders);
        leads_most = MAX(leads_most, s->leaders);
    }
    if (most > 0)
        buf_printf(text, "%s: stores carry %.1f to %.1f %% of their part, lead %u to %u ranges\n",
                   when, 100 * least, 100 * most, leads_least, leads_most);
}

/* What the plan leaves as it is, though it should not be. */
static void put_left(const struct placement *p, struct buf *text)
{
    uint32_t blocked = 0, lost = 0, cursor = 0;
    uint64_t first_blocked = 0, first_lost = 0;
    for (struct pl_range *r; (r = map_next(&p->ranges, &cursor, NULL)) != NULL;) {
        struct pl_health h = pl_range_health(p, r);
        struct pl_need need;
        if (h.healthy <= h.voters / 2) {
            first_lost = lost++ == 0 ? r->id : first_lost;
            continue;
        }
        pl_need_find(p, r, &need);
        if (need.is_needed)
            first_blocked = blocked++ == 0 ? r->id : first_blocked;
    }
    if (lost > 0)
        buf_printf(text,
                   "WITHOUT A MAJORITY: %u ranges, range %llu for one: they serve nothing until "
                   "enough of their stores are back\n",
                   lost, U(first_lost));
    if (blocked > 0)
        buf_printf(text,
                   "left as they are, for want of a place: %u ranges, range %llu for one (holdfast "
                   "placement explain %llu): they serve with the replicas that they have; add a "
                   "store, or free disk\n",
                   blocked, U(first_blocked), U(first_blocked));
}

/* What the plan takes for given and is not so. */
static void put_imagined(const struct placement *p, const struct placement *copy,
                         const struct placement_if *what_if, struct buf *text)
{
    if (p->settings.paused)
        buf_append_str(text, "placement is paused: this is what would be done after holdfast "
                             "placement resume\n");
    if (what_if->down_store != 0)
        buf_printf(text, "if store %llu were lost:\n", U(what_if->down_store));
    if (what_if->gone_store != 0)
        buf_printf(text, "if store %llu were decommissioned:\n", U(what_if->gone_store));
    if (what_if->add_bytes != 0) {
        buf_printf(text, "if there were a new store, called %llu here, of ",
                   U(copy->by_id[copy->store_count - 1]->id));
        pl_text_bytes(text, what_if->add_bytes);
        buf_printf(text, "%s%.*s:\n", what_if->add_labels.len > 0 ? " with " : "",
                   (int)what_if->add_labels.len, (const char *)what_if->add_labels.data);
    }
}

int placement_plan(const struct placement *p, uint64_t now_ms, const struct placement_if *what_if,
                   struct buf *text, struct err *err)
{
    struct plan plan = {.text = text};
    (void)now_ms;
    if (!p->is_loaded || !pl_stores_reported(p))
        return err_set(err, ERR_STATE, "not all stores have reported in this term: ask again soon");
    plan.lines_max = what_if->lines_max != 0 ? what_if->lines_max : LINES_DEFAULT;
    plan.copy = copy_of(p);
    if (plan.copy == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rv = imagine(plan.copy, what_if, err);
    if (rv == 0) {
        bool is_over;
        put_imagined(p, plan.copy, what_if, text);
        put_spread(p, "now", text);
        is_over = run_plan(&plan);
        if (plan.operators > plan.lines)
            buf_printf(text, "      … and %u more\n", plan.operators - plan.lines);
        if (plan.operators == 0)
            buf_append_str(text, "nothing is to be done\n");
        else
            buf_printf(text, "%u operators: %llu replicas (", plan.operators, U(plan.adds));
        if (plan.operators > 0) {
            pl_text_bytes(text, plan.bytes);
            buf_printf(text, ") and %llu leaders move, %llu splits, %llu merges%s\n",
                       U(plan.transfers), U(plan.splits), U(plan.merges),
                       is_over ? "" : "; cut short");
        }
        put_spread(plan.copy, "then", text);
        put_left(plan.copy, text);
        if (text->failed)
            rv = err_set(err, ERR_NOMEM, "the plan is too long");
    }
    placement_free(plan.copy);
    return rv;
}
