/* SPDX-License-Identifier: Apache-2.0
 *
 * What leaders and stores tell of ranges: heartbeats of those that lead, and, once a term,
 * all that a store has. Of two leaders the one of the greater Raft term is believed.
 */
#include <stdlib.h>

#include "base/plant.h"
#include "placement/placement_internal.h"

/* Is the sender of this an older leader than the one that is known? */
static bool is_stale_leader(const struct pl_range *r, uint64_t leader_term)
{
    return r->has_heartbeat && leader_term < r->leader_term;
}

static void take_peers(struct pl_range *r, const struct placement_range_heartbeat *hb)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct pl_member *m = &r->members[i];
        m->contact_age_ms = m->id == hb->replica_id ? 0 : UINT32_MAX;
        if (m->id == hb->replica_id)
            m->match = hb->last_index;
    }
    for (uint32_t i = 0; i < hb->peer_count; i++) {
        struct pl_member *m = pl_range_member(r, hb->peers[i].replica_id);
        if (m == NULL)
            continue;
        m->match = hb->peers[i].match_index;
        m->contact_age_ms = (uint32_t)MIN(hb->peers[i].contact_age_ms, UINT32_MAX);
    }
}

/* What checkers look at, folded: news are worth a look. */
static uint64_t health_bits(const struct placement *p, const struct pl_range *r)
{
    uint64_t bits = pl_range_is_led(p, r);
    for (uint32_t i = 0; i < r->member_count; i++) {
        bits = bits << 1 | pl_member_is_healthy(r, &r->members[i]);
        bits = bits << 1 | pl_member_is_dead(p, r, &r->members[i]);
    }
    return bits;
}

/* Those who could lead instead are as their stores and the leader tell. */
static void note_heir(const struct placement *p, struct pl_range *r)
{
    const struct pl_member *heir = pl_pick_leader(p, r, NULL);
    if (heir == NULL || pl_member_keeps_up(r, heir))
        r->heir_lags_ms = 0;
    else if (r->heir_lags_ms == 0)
        r->heir_lags_ms = MAX(p->now_ms, 1);
}

static void take_heartbeat(struct placement *p, struct pl_range *r,
                           const struct placement_range_heartbeat *hb)
{
    uint64_t before = health_bits(p, r);
    uint64_t leader_before = r->leader;
    uint64_t retention_before = r->retention_ms;
    r->leader_term = hb->leader_term;
    r->last_index = hb->last_index;
    r->keys_count = hb->keys;
    r->is_asleep = hb->is_asleep;
    r->retention_ms = hb->retention_ms;
    r->has_heartbeat = true;
    r->heard_ms = p->now_ms;
    take_peers(r, hb);
    pl_range_set_leader(r, hb->replica_id);
    note_heir(p, r);
    pl_range_set_load(p, r, hb->bytes, hb->qps, hb->write_bytes_s);
    bool is_large = hb->bytes >= p->settings.split_bytes || r->hot_since_ms != 0;
    bool is_other = r->retention_ms != retention_before;
    if (health_bits(p, r) != before || r->leader != leader_before || is_large || is_other)
        pl_range_recheck(p, r);
}

int placement_on_range_heartbeat(struct placement *p, uint64_t now_ms,
                                 const struct placement_range_heartbeat *hb,
                                 struct placement_step *ret_step)
{
    p->now_ms = MAX(p->now_ms, now_ms);
    if (!p->is_loaded || p->is_broken)
        return 0;
    struct pl_range *r = pl_range_learn(p, hb->descriptor);
    if (r == NULL || is_stale_leader(r, hb->leader_term) ||
        pl_range_member(r, hb->replica_id) == NULL)
        return 0;
    take_heartbeat(p, r, hb);
    if (r->op != NULL)
        pl_op_advance(p, r->op);
    /* the range may have been merged away, and an operator begun elsewhere: what is sent in the
     * reply is for this range alone */
    struct pl_op *op = r->op;
    if (op == NULL || p->now_ms - op->sent_ms < PL_RESEND_MS / 2)
        return 0;
    const struct pl_step *step = &op->steps[op->step];
    if ((step->on_partner ? op->partner : op->range) != r || !pl_op_step(p, op, ret_step))
        return 0;
    list_remove(&op->in_sends);
    return 1;
}

static void take_replica(struct placement *p, struct pl_store *s,
                         const struct placement_report_replica *told)
{
    struct pl_range *r = pl_range_learn(p, told->descriptor);
    if (r == NULL || !told->is_leader || is_stale_leader(r, told->leader_term))
        return;
    const struct pl_member *m = pl_range_member(r, told->replica_id);
    if (m == NULL || m->store != s || r->has_heartbeat)
        return;
    pl_range_set_leader(r, told->replica_id);
    pl_range_set_load(p, r, told->bytes, 0, 0);
    r->leader_term = told->leader_term;
    r->keys_count = told->keys;
    r->retention_ms = told->retention_ms;
    r->is_asleep = told->is_asleep;
    r->has_heartbeat = told->is_asleep; /* nothing else is to come from it */
    r->heard_ms = p->now_ms;
    for (uint32_t i = 0; i < r->member_count && told->is_asleep; i++)
        r->members[i].match = r->last_index;
    pl_range_recheck(p, r);
}

void placement_on_report(struct placement *p, uint64_t now_ms, uint64_t store_id, uint64_t boot,
                         uint32_t chunk, const struct placement_report_replica *replicas,
                         uint32_t count, bool is_last)
{
    p->now_ms = MAX(p->now_ms, now_ms);
    struct pl_store *s = pl_store_get(p, store_id);
    if (!p->is_loaded || p->is_broken || s == NULL || s->is_ghost || s->has_reported ||
        boot != s->report_boot || chunk != s->report_chunk)
        return;
    for (uint32_t i = 0; i < count; i++)
        take_replica(p, s, &replicas[i]);
    s->report_chunk++;
    if (!is_last)
        return;
    s->has_reported = true;
    if (pl_stores_reported(p))
        p->is_store_set_new = true;
}
