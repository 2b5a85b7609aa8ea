/* SPDX-License-Identifier: Apache-2.0
 *
 * The last phase: one member has died for good, the others are well. What is proposed leaves for
 * each of them at once, not with its next heartbeat.
 */
#include "consensus/world_internal.h"

enum { PACE_WRITES = 16 };

/* Slot of the leader of the highest term; -1: none. */
static int pace_leader(const struct world *w)
{
    int best = -1;
    for (uint32_t i = 0; i < w->n_slots; i++) {
        const struct slot *s = &w->slots[i];
        if (slot_is_up(s) && s->m.role == CONS_LEADER &&
            (best < 0 || s->m.term > w->slots[best].m.term))
            best = (int)i;
    }
    return best;
}

/* Slot of one that the group can do without, so that another beside the leader is left; -1: of
 * none. */
static int pace_victim(const struct world *w, const struct member *leader)
{
    const struct cons_config *config = &leader->config;
    uint32_t voters = cons_config_voters(config);
    for (uint32_t i = 0; i < config->n && config->n >= 3; i++) {
        const struct cons_member *m = &config->members[i];
        bool may_die = m->role == CONS_LEARNER || voters >= 3;
        if (m->replica_id != leader->opts.replica_id && may_die)
            return slot_of(w, m->replica_id);
    }
    return -1;
}

/* Who was heard of, and has all that there was, must be sent what is new. */
static void pace_judge(struct world *w, const struct cons_status *before, uint64_t index)
{
    for (uint32_t i = 0; i < before->n_members; i++) {
        const struct cons_member_status *m = &before->members[i];
        int slot = slot_of(w, m->replica_id);
        if (m->replica_id == before->replica_id || !m->is_live || m->is_streaming ||
            m->match != before->last_index || slot < 0)
            continue;
        w->report.paced++;
        if (w->sent_last[slot] < index)
            world_fail(w, "late: %llu answers and has all before %llu, which waits for a heartbeat",
                       (ull)m->replica_id, (ull)index);
    }
}

static void pace_write(struct world *w, uint32_t slot, bool is_judged)
{
    struct consensus *c = w->slots[slot].m.c;
    struct slice data = slice_str("pace");
    struct cons_status before;
    uint64_t index = 0;
    consensus_status(c, &before);
    memset(w->sent_last, 0, sizeof w->sent_last);
    bool is_free = before.messages_held == 0 && before.transferee == 0;
    if (consensus_propose(c, w->now, &data, 1, &index) == 0 && is_judged && is_free)
        pace_judge(w, &before, index);
    settle(w, slot);
}

void world_pace(struct world *w)
{
    int leader = pace_leader(w);
    int victim = leader < 0 ? -1 : pace_victim(w, &w->slots[leader].m);
    if (victim < 0)
        return;
    slot_crash(w, (uint32_t)victim);
    w->slots[victim].is_destroyed = true;
    w->is_pacing = true;
    w->k.cached = 1 << 20;
    uint64_t judged_from = w->now + (uint64_t)w->k.et * 2; /* until then it may count as alive */
    for (uint32_t n = 0; n < PACE_WRITES && !w->report.is_failed;) {
        world_until(w, w->now + 1 + rng_below(&w->own, (uint64_t)w->k.hb * 3));
        leader = pace_leader(w);
        if (leader >= 0 && !w->report.is_failed)
            pace_write(w, (uint32_t)leader, w->now >= judged_from);
        n += w->now >= judged_from;
    }
}
