/* SPDX-License-Identifier: Apache-2.0
 *
 * Which store gets a replica, which replica is spared, who leads. One judgement for
 * checkers, schedulers and explanations: what is shown is what is done.
 */
#include <stdio.h>

#include "base/plant.h"
#include "placement/placement_internal.h"

double pl_store_weight(const struct placement *p, const struct pl_store *s)
{
    (void)p;
    return s->last.capacity_bytes == 0 ? (double)(UINT64_C(1) << 40)
                                       : (double)s->last.capacity_bytes;
}

double pl_store_load(const struct pl_store *s)
{
    double bytes = (double)s->bytes + (double)s->add_bytes - (double)s->remove_bytes;
    double count = (double)s->count + s->comes - s->removes;
    return bytes + count * PL_RANGE_OVERHEAD;
}

int pl_closeness_compare(const struct pl_closeness *a, const struct pl_closeness *b)
{
    /* the node counts most, then the levels from the first on */
    if (a->pairs[PL_LEVELS - 1] != b->pairs[PL_LEVELS - 1])
        return a->pairs[PL_LEVELS - 1] < b->pairs[PL_LEVELS - 1] ? -1 : 1;
    for (int i = 0; i < PL_LEVELS - 1; i++) {
        if (a->pairs[i] != b->pairs[i])
            return a->pairs[i] < b->pairs[i] ? -1 : 1;
    }
    return 0;
}

struct pl_closeness pl_closeness_of(const struct placement *p, const struct pl_range *r,
                                    const struct pl_store *without, const struct pl_store *with,
                                    const struct pl_store *with2)
{
    const struct pl_store *set[DESCRIPTOR_MEMBERS_MAX + 2];
    struct pl_closeness c = {0};
    uint32_t n = 0;
    (void)p;
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].store != without)
            set[n++] = r->members[i].store;
    }
    if (with != NULL)
        set[n++] = with;
    if (with2 != NULL)
        set[n++] = with2;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < i; k++) {
            for (int level = 0; level < PL_LEVELS; level++)
                c.pairs[level] += set[i]->level[level] == set[k]->level[level];
        }
    }
    return c;
}

/* May a replica go to another store of its own node? For a moment the node has two of them, so
 * only if the old one does not count any more, or every node has one already. */
static bool may_stay_on_node(const struct placement *p, const struct pl_range *r,
                             const struct pl_store *from)
{
    return pl_store_is_dead(from) || from->wish == PLACEMENT_WISH_DECOMMISSION ||
           p->nodes_with_silent <= r->member_count;
}

bool pl_node_is_taken(const struct placement *p, const struct pl_range *r,
                      const struct pl_store *without, const struct pl_store *s)
{
    if (PLANTED(node_shared))
        return false;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct pl_store *other = r->members[i].store;
        if (other->level[PL_LEVELS - 1] == s->level[PL_LEVELS - 1] &&
            (other != without || !may_stay_on_node(p, r, other)))
            return true;
    }
    return false;
}

/* Would the range's data and what is on its way leave a twentieth of the disk free? */
static bool has_space_for(const struct pl_store *s, uint64_t bytes)
{
    if (s->last.space != PLACEMENT_SPACE_OK)
        return false;
    if (s->last.capacity_bytes == 0)
        return true;
    return (double)s->last.free_bytes - (double)s->add_bytes - (double)bytes >=
           (double)s->last.capacity_bytes / 20;
}

enum pl_no pl_pick_judge(const struct placement *p, const struct pl_range *r,
                         const struct pl_store *without, const struct pl_store *s)
{
    if (s->is_ghost || s->state != PLACEMENT_STORE_UP)
        return PL_NO_STATE;
    if (s->wish != PLACEMENT_WISH_NONE)
        return PL_NO_WISH;
    if (pl_range_on(r, s) != NULL)
        return PL_NO_HAS_ONE;
    if (pl_node_is_taken(p, r, without, s))
        return PL_NO_NODE;
    if (!pl_store_has_label(s, p->settings.require))
        return PL_NO_REQUIRE;
    if (!has_space_for(s, r->bytes))
        return PL_NO_SPACE;
    if (s->last.is_stalled)
        return PL_NO_STALLED;
    if (s->adds >= p->settings.adds_per_store)
        return PL_NO_BUSY;
    return PL_NO_NOT;
}

void pl_no_text(const struct placement *p, const struct pl_range *r, const struct pl_store *s,
                enum pl_no no, char *text, size_t size)
{
    const char *state = placement_store_state_name(s->state, s->wish);
    switch (no) {
    case PL_NO_NOT:
        snprintf(text, size, "may get one");
        return;
    case PL_NO_STATE:
        snprintf(text, size, "is %s", state);
        return;
    case PL_NO_WISH:
        snprintf(text, size, "is %s: nothing comes to it", state);
        return;
    case PL_NO_HAS_ONE:
        snprintf(text, size, "has a replica of range %llu", (unsigned long long)r->id);
        return;
    case PL_NO_NODE:
        snprintf(text, size, "is on a node that has a replica of range %llu",
                 (unsigned long long)r->id);
        return;
    case PL_NO_REQUIRE:
        snprintf(text, size, "lacks the label %s that the setting 'require' asks for",
                 p->settings.require);
        return;
    case PL_NO_SPACE:
        if (s->last.space != PLACEMENT_SPACE_OK) {
            snprintf(text, size,
                     "says that its disk is %s: %llu MiB free (disk_low_bytes in its "
                     "configuration)",
                     s->last.space == PLACEMENT_SPACE_LOW ? "low" : "full",
                     (unsigned long long)(s->last.free_bytes >> 20));
            return;
        }
        snprintf(text, size, "has too little disk: %llu MiB of %llu MiB free",
                 (unsigned long long)(s->last.free_bytes >> 20),
                 (unsigned long long)(s->last.capacity_bytes >> 20));
        return;
    case PL_NO_STALLED:
        snprintf(text, size, "pushes writes back, or still replays its log");
        return;
    case PL_NO_BUSY:
        snprintf(text, size, "gets %u replicas already (setting adds-per-store)", s->adds);
        return;
    case PL_NO_SPREAD:
        snprintf(text, size, "would bring replicas closer together (setting spread=%s)",
                 p->settings.spread);
        return;
    }
}

static double fill_after(const struct placement *p, const struct pl_store *s, uint64_t bytes)
{
    return (pl_store_load(s) + (double)bytes + PL_RANGE_OVERHEAD) / pl_store_weight(p, s);
}

struct pl_store *pl_pick(const struct placement *p, const struct pl_range *r,
                         const struct pl_store *without, const struct pl_store *also)
{
    struct pl_store *best = NULL;
    struct pl_closeness best_close = {0};
    double best_fill = 0;
    for (uint32_t i = 0; i < p->store_count; i++) {
        struct pl_store *s = p->by_id[i];
        if (s == also || pl_pick_judge(p, r, without, s) != PL_NO_NOT ||
            (also != NULL && also->level[PL_LEVELS - 1] == s->level[PL_LEVELS - 1]))
            continue;
        struct pl_closeness close = pl_closeness_of(p, r, without, s, also);
        double fill = fill_after(p, s, r->bytes);
        int c = best == NULL ? -1 : pl_closeness_compare(&close, &best_close);
        if (c < 0 || (c == 0 && fill < best_fill)) {
            best = s;
            best_close = close;
            best_fill = fill;
        }
    }
    return best;
}

/* Greater: sooner spared. */
static int spare_class(const struct placement *p, const struct pl_range *r,
                       const struct pl_member *m)
{
    if (pl_member_is_dead(p, r, m))
        return 5;
    if (!pl_member_is_healthy(r, m))
        return 4;
    if (m->store->wish == PLACEMENT_WISH_DECOMMISSION)
        return 3;
    if (pl_store_lacks_required(p, m->store))
        return 2; /* it would have to leave next */
    return m->store->wish == PLACEMENT_WISH_DRAIN ? 1 : 0;
}

struct pl_member *pl_pick_victim(const struct placement *p, const struct pl_range *r)
{
    struct pl_member *best = NULL;
    struct pl_closeness best_close = {0};
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_member *m = &r->members[i];
        if (m->role != MEMBER_VOTER)
            continue;
        struct pl_closeness close = pl_closeness_of(p, r, m->store, NULL, NULL);
        int c = best == NULL ? 1 : spare_class(p, r, m) - spare_class(p, r, best);
        if (c == 0)
            c = -pl_closeness_compare(&close, &best_close);
        if (c == 0 && (m->id == r->leader) != (best->id == r->leader))
            c = best->id == r->leader ? 1 : -1;
        if (c == 0)
            c = pl_store_load(m->store) / pl_store_weight(p, m->store) >
                        pl_store_load(best->store) / pl_store_weight(p, best->store)
                    ? 1
                    : -1;
        if (c > 0) {
            best = m;
            best_close = close;
        }
    }
    return best;
}

static double leads_after(const struct pl_store *s)
{
    return (double)s->leaders + s->leads_in - s->leads_out;
}

bool pl_store_can_lead(const struct pl_store *s)
{
    return s->state == PLACEMENT_STORE_UP && s->wish == PLACEMENT_WISH_NONE &&
           !s->last.is_stalled && s->last.lead != PLACEMENT_LEAD_NEVER;
}

bool pl_store_may_lead(const struct pl_store *s)
{
    return pl_store_can_lead(s) && s->last.space != PLACEMENT_SPACE_FULL;
}

bool pl_store_may_take_over(const struct pl_store *to, const struct pl_store *from)
{
    return pl_store_may_lead(to) && to->last.lead <= from->last.lead;
}

/* Greater: sooner to lead. One that is slow leads, and hands over to a better one as soon as that
 * keeps up; one that lags cannot even be handed to. */
static int lead_class(const struct pl_range *r, const struct pl_member *m)
{
    return 4 * pl_store_may_lead(m->store) + 2 * pl_member_keeps_up(r, m) +
           (m->store->last.lead == PLACEMENT_LEAD_GLADLY);
}

struct pl_member *pl_pick_leader(const struct placement *p, const struct pl_range *r,
                                 const struct pl_member * not )
{
    struct pl_member *best = NULL;
    int best_class = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_member *m = &r->members[i];
        if (m == not || m->id == r->leader || m->role != MEMBER_VOTER ||
            m->store->last.lead == PLACEMENT_LEAD_NEVER || !pl_member_is_healthy(r, m) ||
            pl_member_is_dead(p, r, m))
            continue;
        int class = lead_class(r, m);
        bool is_better = best == NULL || class > best_class ||
                         (class == best_class && leads_after(m->store) < leads_after(best->store));
        if (is_better) {
            best = m;
            best_class = class;
        }
    }
    return best;
}
