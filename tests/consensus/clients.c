/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/world_internal.h"

enum { DEBT_MAX = 500 }; /* entries that are not committed; or that a member has not applied */

/* --- clients */

static void read_done(struct cons_read *read, int status, uint64_t index)
{
    struct sim_read *r = container_of(read, struct sim_read, read);
    struct world *w = r->w;
    struct member *m = &w->slots[r->slot].m;

    if (status == 0) {
        w->report.reads++;
        w->report.follower_reads += m->role != CONS_LEADER;
        w->report.lease_reads += read->by_lease;
        if (index < r->floor || (!read->confirm_only && m->state.base.index < r->floor))
            world_fail(w, "stale read at %llu: sees %llu, %llu was acknowledged before",
                       (ull)m->opts.replica_id, (ull)m->state.base.index, (ull)r->floor);
        if (!read->confirm_only)
            w->floor = MAX(w->floor, m->state.base.index);
        if (w->is_healed)
            w->live_reads++;
    }
    *r->prev = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
    free(r);
}

/* At a leader; or, is_anywhere, at any member. */
static void client_read(struct world *w, uint32_t slot, bool is_anywhere, bool by_lease)
{
    struct sim_read *r = calloc(1, sizeof *r);
    ASSERT(r != NULL);
    r->read.is_anywhere = is_anywhere;
    r->read.by_lease = by_lease;
    r->read.deadline_ms = w->now + w->k.et * 4;
    r->read.confirm_only = rng_chance(&w->rng, 1, 5);
    r->read.cb = read_done;
    r->w = w;
    r->slot = slot;
    r->floor = w->floor;
    if (consensus_read(w->slots[slot].m.c, &r->read) != 0) {
        free(r);
        return;
    }
    r->next = w->reads;
    r->prev = &w->reads;
    if (r->next != NULL)
        r->next->prev = &r->next;
    w->reads = r;
    consensus_flush(w->slots[slot].m.c, w->now);
}

/* No member of the leader's configuration lags far behind. */
static bool world_keeps_up(const struct world *w, const struct member *leader)
{
    for (uint32_t i = 0; i < leader->config.n; i++) {
        int slot = slot_of(w, leader->config.members[i].replica_id);
        if (slot < 0 || w->slots[slot].m.state.base.index + 50 < leader->state.base.index)
            return false;
    }
    return true;
}

/* How many entries the slowest member has still to be sent, of those that the leader's log has:
 * what was cut off comes with a snapshot, as all does to a blank one. */
static uint64_t world_debt(const struct world *w, const struct member *leader)
{
    uint64_t debt = 0;
    for (uint32_t i = 0; i < leader->config.n; i++) {
        int slot = slot_of(w, leader->config.members[i].replica_id);
        if (slot < 0 || w->slots[slot].is_destroyed)
            continue;
        uint64_t has = w->slots[slot].m.state.base.index;
        uint64_t last = mlog_last(&leader->log);
        if (has != 0 && has + 1 >= leader->log.first && has < last)
            debt = MAX(debt, last - has);
    }
    return debt;
}

static void client_write(struct world *w, uint32_t slot)
{
    uint8_t bytes[256];
    struct slice data[32];
    uint64_t first = 0;
    uint32_t n = 1 + (uint32_t)rng_below(&w->rng, w->k.batch_max);
    const struct consensus *c = w->slots[slot].m.c;

    /* Clients wait for answers, and in the end for the slowest learner: a window of four
     * entries must not be flooded for ever. Nor before: a voter that is alone commits what it
     * likes, and the time that the healed cluster is given is for no more than so many. */
    if (consensus_last_index(c) - consensus_commit(c) > (w->is_healed ? 50 : DEBT_MAX) ||
        world_debt(w, &w->slots[slot].m) > DEBT_MAX)
        return;
    if (w->is_pacing)
        return;
    if (w->is_healed && w->live_index != 0 && !world_keeps_up(w, &w->slots[slot].m))
        return;
    rng_fill(&w->rng, bytes, 8);
    memset(bytes + 8, bytes[0], sizeof bytes - 8);
    for (uint32_t i = 0; i < n; i++)
        data[i] = slice_of(bytes, 8 + rng_below(&w->rng, w->k.payload_max));
    if (consensus_propose(w->slots[slot].m.c, w->now, data, n, &first) != 0)
        return;
    if (w->is_healed && w->live_index == 0) {
        w->live_index = first + n - 1;
        w->live_term = w->slots[slot].m.term;
    }
}

void world_client(struct world *w)
{
    for (uint32_t i = 0; i < w->n_slots; i++) {
        struct slot *s = &w->slots[i];
        if (s->m.parked != NULL && s->m.role == CONS_LEADER && rng_chance(&w->rng, 1, 4))
            slot_start(w, i); /* somebody asks it for something */
        if (!slot_is_running(w, s))
            continue;
        if (rng_chance(&w->rng, 1, 6))
            client_read(w, i, true, false);
        if (s->m.role != CONS_LEADER) {
            settle(w, i);
            continue;
        }
        if (rng_chance(&w->rng, 2, 3))
            client_write(w, i);
        if (rng_chance(&w->rng, 1, 2))
            client_read(w, i, false, rng_chance(&w->rng, 2, 3));
        settle(w, i);
    }
}

void world_read(struct world *w, uint32_t slot)
{
    if (w->slots[slot].m.role == CONS_LEADER)
        client_read(w, slot, false, true);
    settle(w, slot);
}

void world_write(struct world *w, uint32_t slot)
{
    if (w->slots[slot].m.role == CONS_LEADER)
        client_write(w, slot);
    settle(w, slot);
}

void world_forget_reads(struct world *w, uint32_t slot)
{
    for (struct sim_read *r = w->reads, *next; r != NULL; r = next) {
        next = r->next;
        if (r->slot != slot)
            continue;
        *r->prev = r->next;
        if (r->next != NULL)
            r->next->prev = r->prev;
        free(r);
    }
}
