/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/world_internal.h"

/* --- how much of what */

static uint32_t draw(struct world *w, uint32_t max)
{
    return rng_chance(&w->rng, 1, 3) ? 0 : (uint32_t)rng_below(&w->rng, max + 1);
}

void world_knobs(struct world *w)
{
    struct knobs *k = &w->k;
    struct rng *r = &w->rng;
    k->et = (uint32_t)rng_between(r, 60, 400);
    k->hb = MAX(k->et / (uint32_t)rng_between(r, 4, 10), 1);
    k->delay_max = (uint32_t)rng_between(r, 1, rng_chance(r, 1, 4) ? k->et / 2 : k->hb);
    k->drop = draw(w, 150);
    k->duplicate = draw(w, 150);
    k->disk_max = draw(w, rng_chance(r, 1, 4) ? k->et : k->hb);
    k->stall = rng_chance(r, 1, 4) ? 150 : 0;
    k->apply_late = draw(w, 60);
    k->crash = draw(w, 20);
    k->partition = draw(w, 10);
    k->flush = draw(w, 20);
    k->membership = draw(w, 40);
    k->transfer = draw(w, 10);
    k->campaign = draw(w, 6);
    k->strike = rng_chance(r, 1, 4) ? 90 : draw(w, 20);
    k->probe_late = draw(w, 90);
    k->pause = draw(w, 12);
    k->damage = draw(w, 10);
    k->sleep = draw(w, 40);
    k->trailing = draw(w, 40);
    k->cached = rng_chance(r, 1, 2) ? 1 << 20 : (uint32_t)rng_between(r, 1, 30);
    k->batch_max = (uint32_t)rng_between(r, 1, 8);
    k->payload_max = (uint32_t)rng_between(r, 1, 200);
    k->window = (uint32_t)rng_between(r, 4, 64);
    k->chaos_ms = MAX(k->et / (uint32_t)rng_between(r, 2, 12), 1);
    k->client_ms = MAX(k->et / (uint32_t)rng_between(r, 2, 24), 1);
    k->lease_ms = rng_chance(r, 1, 3) ? 0 : (uint32_t)rng_between(r, k->et * 3 / 4, k->et);
    k->usurp = k->lease_ms > 0 && rng_chance(&w->own, 1, 4) ? 150 : 0;
    if (k->usurp > 0) { /* an election and a write must fit into a lease */
        k->delay_max = MIN(k->delay_max, MAX(k->hb / 8, 1U));
        k->disk_max = MIN(k->disk_max, k->hb / 8);
        k->drop = k->stall = 0;
    }
}

/* --- chaos */

/* Leaders and those who do not vote: together they may be many, and decide nothing. */
static bool is_of_no_majority(const struct world *w, uint32_t slot)
{
    const struct slot *s = &w->slots[slot];
    const struct cons_member *m = cons_config_find(&s->m.config, s->m.opts.replica_id);
    return (slot_is_up(s) && s->m.role == CONS_LEADER) || m == NULL || m->role != CONS_VOTER;
}

/* Mostly a leader: from then on two may lead. */
static uint32_t pick_victim(struct world *w)
{
    uint32_t pick = (uint32_t)rng_below(&w->rng, w->n_slots);
    bool want_leader = rng_chance(&w->rng, 2, 3);
    for (uint32_t i = 0; i < w->n_slots && want_leader; i++) {
        if (slot_is_up(&w->slots[i]) && w->slots[i].m.role == CONS_LEADER)
            pick = i;
    }
    return pick;
}

/* With its last word it has told another to lead, and goes on in the belief that it does. */
static void hand_over(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    if (!slot_is_running(w, s) || s->m.role != CONS_LEADER)
        return;
    w->report.transfers += consensus_transfer(s->m.c, w->now, 0) == 0;
    settle(w, slot);
}

static void chaos_partition(struct world *w)
{
    memset(w->cut, 0, sizeof w->cut);
    uint64_t kind = rng_below(&w->rng, 5);
    uint32_t pick = pick_victim(w);
    if (kind == 1 && rng_chance(&w->rng, 1, 2))
        hand_over(w, pick);
    for (uint32_t a = 0; a < w->n_slots; a++) {
        for (uint32_t b = 0; b < w->n_slots; b++) {
            if (kind == 1)
                w->cut[a][b] = (a == pick) != (b == pick);
            else if (kind == 2)
                w->cut[a][b] = rng_chance(&w->rng, 1, 3);
            else if (kind == 3)
                w->cut[a][b] = (a <= pick) != (b <= pick);
            else if (kind == 4)
                w->cut[a][b] = is_of_no_majority(w, a) != is_of_no_majority(w, b);
        }
    }
}

static void chaos_add(struct world *w, uint32_t slot)
{
    uint64_t index = 0;
    uint32_t next = w->n_slots;
    if (next == WORLD_MEMBERS_MAX || w->slots[slot].m.config.n >= GROUP_MEMBERS_MAX)
        return;
    if (consensus_propose_change(w->slots[slot].m.c, w->now, CONS_ADD_LEARNER, next + 1, 100 + next,
                                 &index, NULL) != 0)
        return;
    w->report.changes++;
    slot_start(w, world_add_slot(w));
}

/* For an election timeout the leader takes one who has just died for alive. To go from
 * three voters to two in that time is not survived by any group: operators do not. */
static bool may_remove(const struct world *w, const struct cons_config *config, uint64_t id)
{
    const struct cons_member *m = cons_config_find(config, id);
    int at = slot_of(w, id);
    bool is_dead = at >= 0 && w->slots[at].is_dead;
    return is_dead || m->role == CONS_LEARNER || cons_config_voters(config) > 3;
}

static void chaos_membership(struct world *w, uint32_t slot)
{
    struct member *m = &w->slots[slot].m;
    uint64_t index = 0;
    uint64_t kind = rng_below(&w->rng, 4);

    if (kind == 0) {
        chaos_add(w, slot);
        return;
    }
    if (m->config.n == 0)
        return;
    uint64_t id = m->config.members[rng_below(&w->rng, m->config.n)].replica_id;
    if (kind == 1 && w->n_dead > 0 && !may_remove(w, &m->config, id))
        return;
    if (consensus_propose_change(m->c, w->now, kind == 1 ? CONS_REMOVE : CONS_PROMOTE, id, 0,
                                 &index, NULL) == 0) {
        w->report.changes++;
        TRACE(w, "%llu: %llu changes membership (%s %llu) at %llu\n", (ull)w->now,
              (ull)m->opts.replica_id, kind == 1 ? "remove" : "promote", (ull)id, (ull)index);
    }
}

/* A replica whose removal is committed may be destroyed; or linger. */
static void chaos_destroy(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    uint64_t id = s->m.opts.replica_id;
    if (w->history.config_index == 0 || cons_config_find(&w->history.config, id) != NULL)
        return;
    if (s->m.config_index == 0 || s->m.config_index >= w->history.config_index)
        return; /* not yet a member, or the removal is its own knowledge only */
    if (slot_is_up(s))
        slot_crash(w, slot);
    s->is_destroyed = true;
}

/* --- loss of a member with its disk */

static bool is_majority_left(const struct world *w, const struct cons_config *config, uint32_t slot)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < config->n; i++) {
        int at = slot_of(w, config->members[i].replica_id);
        bool is_lost = at < 0 || at == (int)slot || w->slots[at].is_dead;
        left += config->members[i].role == CONS_VOTER && !is_lost;
    }
    return left > cons_config_voters(config) / 2;
}

/* Only what a group survives: one member, of three voters at least, when all know the same
 * configuration for good. */
static bool may_lose(const struct world *w, uint32_t slot)
{
    const struct member *victim = &w->slots[slot].m;
    if (w->n_dead > 0 || cons_config_find(&victim->config, victim->opts.replica_id) == NULL)
        return false;
    for (uint32_t i = 0; i < w->n_slots; i++) {
        const struct slot *s = &w->slots[i];
        const struct mdisk *d = &s->m.disk;
        bool is_member = cons_config_find(&victim->config, s->m.opts.replica_id) != NULL;
        if (s->is_destroyed || !is_member)
            continue;
        if (!slot_is_up(s) || s->m.config_index != victim->config_index)
            return false;
        if (s->m.config_index > MAX(mlog_last(&d->log), d->state.base.index))
            return false;
    }
    return cons_config_voters(&victim->config) >= 3 && is_majority_left(w, &victim->config, slot);
}

static void chaos_lose(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    TRACE(w, "%llu: %llu is lost with its disk\n", (ull)w->now, (ull)s->m.opts.replica_id);
    slot_crash(w, slot);
    s->is_destroyed = s->is_dead = true;
    w->n_dead++;
    w->report.losses++;
}

/* --- sleep */

/* The leader's store carries the word to those of the members. */
static void sleep_group(struct world *w, uint32_t slot, const struct cons_rest *rest)
{
    for (uint32_t i = 0; i < w->n_slots; i++) {
        if (i != slot && (w->cut[slot][i] || rng_chance(&w->rng, 1, 10)))
            continue;
        world_push(w, w->now + world_delay(w), EVENT_REST, i)->rest = *rest;
    }
}

static void chaos_sleep(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    struct cons_rest rest;
    if (consensus_is_asleep(s->m.c) && rng_chance(&w->rng, 1, 4)) {
        consensus_wake(s->m.c, w->now);
    } else if (consensus_is_asleep(s->m.c)) {
        slot_park(w, slot);
    } else if (s->m.role == CONS_LEADER && consensus_rest(s->m.c, &rest)) {
        sleep_group(w, slot, &rest);
    } else if (s->m.role == CONS_FOLLOWER && s->m.leader != 0) {
        rest = (struct cons_rest){
            .leader = s->m.leader, .term = s->m.term, .index = consensus_last_index(s->m.c)};
        w->report.sleeps += consensus_sleep(s->m.c, w->now, &rest) == 0; /* on its own */
    }
}

/* The process stands still; a client's read is the first thing that it finds after. */
static void chaos_pause(struct world *w, uint32_t slot)
{
    uint64_t until = w->now + 1 + rng_below(&w->rng, w->k.et * 4);
    bool has_lease = w->k.lease_ms > 0 && w->slots[slot].m.role == CONS_LEADER;
    if (has_lease) /* back when another has just been elected */
        until = w->now + w->k.et * 3 / 2 + rng_below(&w->rng, w->k.et * 3 / 2);
    w->slots[slot].paused_until = until;
    world_push(w, until, EVENT_READ, slot);
    w->report.pauses++;
}

static void chaos_cut_off(struct world *w, uint32_t slot)
{
    for (uint32_t i = 0; i < w->n_slots; i++)
        w->cut[slot][i] = w->cut[i][slot] = i != slot;
    world_push(w, w->now + 1 + rng_below(&w->rng, w->k.et * 4), EVENT_LINK, slot);
}

static void chaos_on(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    const struct knobs *k = &w->k;
    uint64_t total = k->crash + k->flush + k->membership + k->transfer + k->campaign + k->pause +
                     k->damage + k->sleep + 1;
    uint64_t x = rng_below(&w->rng, total);

    if (!slot_is_running(w, s))
        return;
    if (x < k->crash) {
        slot_fall(w, slot);
        return;
    }
    x -= k->crash;
    if (x < k->flush) {
        member_flush(&s->m, w->now, (uint32_t)rng_below(&w->rng, k->trailing + 1));
    } else if ((x -= k->flush) < k->membership) {
        if (s->m.role == CONS_LEADER)
            chaos_membership(w, slot);
        else
            chaos_destroy(w, slot);
    } else if ((x -= k->membership) < k->transfer) {
        if (consensus_transfer(s->m.c, w->now, 0) == 0) {
            w->report.transfers++;
            if (rng_chance(&w->rng, 1, 2)) /* its word is out, and nothing more comes in */
                chaos_cut_off(w, slot);
        }
    } else if ((x -= k->transfer) < k->campaign) {
        consensus_campaign(s->m.c, w->now);
    } else if ((x -= k->campaign) < k->pause) {
        chaos_pause(w, slot);
    } else if ((x -= k->pause) < k->damage) {
        if (may_lose(w, slot))
            chaos_lose(w, slot);
    } else if (x - k->damage < k->sleep) {
        chaos_sleep(w, slot);
    }
    settle(w, slot);
}

/* It reads by its lease, so that promises are fresh, and is usurped a moment later. */
static void chaos_usurp(struct world *w)
{
    uint32_t old = 0;
    while (old < w->n_slots &&
           (!slot_is_running(w, &w->slots[old]) || w->slots[old].m.role != CONS_LEADER))
        old++;
    if (old == w->n_slots)
        return;
    memset(w->cut, 0, sizeof w->cut);
    world_read(w, old);
    world_push(w, w->now + 2 * (uint64_t)w->k.delay_max, EVENT_USURP, old);
}

void world_chaos(struct world *w)
{
    if (rng_below(&w->own, 1000) < w->k.usurp)
        chaos_usurp(w);
    if (rng_below(&w->rng, 40) < w->k.partition)
        chaos_partition(w);
    uint32_t slot = (uint32_t)rng_below(&w->rng, w->n_slots);
    if (w->slots[slot].m.parked != NULL)
        slot_start(w, slot); /* the store has heard nothing of the leader's */
    else
        chaos_on(w, slot);
    /* Most work is done by leaders: hit them more often. */
    for (uint32_t i = 0; i < w->n_slots; i++) {
        if (slot_is_running(w, &w->slots[i]) && w->slots[i].m.role == CONS_LEADER &&
            rng_chance(&w->rng, 1, 4))
            chaos_on(w, i);
    }
}

/* --- new leaders */

void world_link(struct world *w, uint32_t slot)
{
    for (uint32_t i = 0; i < w->n_slots; i++)
        w->cut[slot][i] = w->cut[i][slot] = false;
}

/* It is cut off. Those who promised to elect nobody else start again at once, most of them, and one
 * stands: what is written under that one, if a promise was forgotten, the lease reads over. */
void world_usurp(struct world *w, uint32_t old)
{
    uint32_t next = (uint32_t)rng_below(&w->own, w->n_slots);
    if (w->slots[old].m.role != CONS_LEADER || next == old)
        return;
    for (uint32_t i = 0; i < w->n_slots; i++)
        w->cut[old][i] = w->cut[i][old] = i != old;
    world_push(w, w->now + (uint64_t)w->k.et * 2, EVENT_LINK, old);
    for (uint32_t i = 0; i < w->n_slots && !w->report.is_failed; i++) {
        if (i == old || !slot_is_running(w, &w->slots[i]) || rng_chance(&w->own, 1, 6))
            continue;
        slot_crash(w, i);
        slot_start(w, i);
    }
    if (w->report.is_failed || !slot_is_running(w, &w->slots[next]))
        return;
    consensus_campaign(w->slots[next].m.c, w->now);
    settle(w, next);
    for (uint32_t n = 1; n <= 8; n++) {
        uint64_t at = w->now + (uint64_t)w->k.lease_ms * n / 8;
        world_push(w, at, EVENT_WRITE, next);
        world_push(w, at, EVENT_READ, old);
    }
    w->report.usurped++;
}

/* It has stored what the others have not. When the next one is struck, the last one is
 * back: so entries of several terms compete (figure 8 of the Raft paper). */
void world_strike(struct world *w, uint32_t slot)
{
    w->report.strikes++;
    if (rng_chance(&w->rng, 1, 3)) {
        slot_fall(w, slot);
        return;
    }
    uint32_t other =
        rng_chance(&w->rng, 1, 2) ? w->struck : (uint32_t)rng_below(&w->rng, w->n_slots);
    world_link(w, w->struck);
    w->struck = slot;
    chaos_cut_off(w, slot);
    if (other != slot && slot_is_running(w, &w->slots[other])) {
        consensus_campaign(w->slots[other].m.c, w->now); /* so that two lead for a while */
        settle(w, other);
    }
}

/* --- operators, when all else is healed */

static const struct cons_member *find_member(const struct world *w,
                                             const struct cons_config *config, bool want_dead)
{
    for (uint32_t i = 0; i < config->n; i++) {
        const struct cons_member *m = &config->members[i];
        int at = slot_of(w, m->replica_id);
        bool is_dead = at >= 0 && w->slots[at].is_dead;
        if (is_dead == want_dead && (want_dead || m->role == CONS_LEARNER))
            return m;
    }
    return NULL;
}

/* A new learner, then the dead one goes, then the learner votes. */
static void operate_on(struct world *w, uint32_t slot)
{
    struct member *m = &w->slots[slot].m;
    const struct cons_member *dead = find_member(w, &m->config, true);
    const struct cons_member *learner = find_member(w, &m->config, false);
    uint64_t index = 0;
    if (dead == NULL && learner == NULL)
        return;
    if (dead != NULL && learner == NULL && w->n_slots < WORLD_MEMBERS_MAX &&
        m->config.n < GROUP_MEMBERS_MAX) {
        chaos_add(w, slot);
    } else {
        enum cons_change_kind kind = dead != NULL ? CONS_REMOVE : CONS_PROMOTE;
        uint64_t id = dead != NULL ? dead->replica_id : learner->replica_id;
        w->report.changes += consensus_propose_change(m->c, w->now, kind, id, 0, &index, NULL) == 0;
    }
    settle(w, slot);
}

void world_operate(struct world *w)
{
    for (uint32_t i = 0; i < w->n_slots; i++) {
        if (slot_is_running(w, &w->slots[i]) && w->slots[i].m.role == CONS_LEADER)
            operate_on(w, i);
    }
}
