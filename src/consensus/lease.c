/* SPDX-License-Identifier: Apache-2.0
 *
 * lease — reads at the leader without a question to anybody, while the voters have
 * promised to elect nobody else (Raft §6.4.1).
 *
 *   leader ── PROBE, promise_ms ──▶ follower of this leader in this term: until now +
 *                                   promise_ms it votes for nobody and does not stand
 *          ◀─ PROBE_RESULT, promise_ms ──  its promise counts from when the probe was sent
 *
 * The lease stands while promises of a majority of the voters of the latest
 * configuration stand, each shortened by what two clocks may drift apart and by a
 * tick. All of it is the owner's clock: sleep and campaigns do not move it.
 *
 * What makes it safe: a new leader needs a vote, its own too, of somebody who promised;
 * who starts again after a stop gives no vote for as long as a promise may last
 * (cons_options.hold_ms); a candidate that was told to stand by TIMEOUT_NOW is voted for
 * all the same, but a leader that ever began to hand over uses no lease in that term.
 */
#include "base/plant.h"
#include "consensus/consensus_internal.h"

enum { LEASE_TICK_MS = 10, PER_MILLION = 1000000 };

bool promise_stands(const struct consensus *c)
{
    return c->real_ms < c->promised_until_ms && guard_on(c, GUARD_PROMISE);
}

void promise_hold(struct consensus *c, uint64_t ms)
{
    c->promised_until_ms = MAX(c->promised_until_ms, c->real_ms + ms);
}

uint32_t promise_make(struct consensus *c, const struct cons_msg *msg)
{
    uint32_t ms = MIN(msg->probe.promise_ms, c->opts.lease_ms);
    bool follows = c->state == CONS_FOLLOWER && c->leader == msg->from && c->term == msg->term;
    if (ms == 0 || !follows || c->is_asleep) /* who sleeps may be put away, and forget it */
        return 0;
    promise_hold(c, ms);
    return ms;
}

/* How long a promise of `ms` by another clock surely lasts by ours. */
static uint64_t lease_of_promise(const struct consensus *c, uint64_t ms)
{
    uint64_t less = LEASE_TICK_MS + (2 * ms * c->opts.drift_ppm + PER_MILLION - 1) / PER_MILLION;
    if (PLANTED(lease_too_long))
        return 4 * ms;
    return ms > less ? ms - less : 0;
}

void lease_on_result(struct consensus *c, const struct cons_msg *msg)
{
    const struct cons_round *round = &c->reads.round;
    struct cons_peer *p = peer_find(c, msg->from);
    if (p == NULL || msg->probe.number != round->number || msg->probe.promise_ms == 0)
        return;
    uint64_t ms = MIN(msg->probe.promise_ms, c->opts.lease_ms);
    p->lease_until_ms = MAX(p->lease_until_ms, round->sent_real_ms + lease_of_promise(c, ms));
}

/* The moment at which too few promises are left; 0: there is no lease. */
static uint64_t lease_end(const struct consensus *c)
{
    const struct cons_config *config = &configs_latest(&c->configs)->config;
    uint64_t ends[CONS_MEMBERS_MAX];
    uint32_t voters = 0;
    for (uint32_t i = 0; i < config->n; i++) {
        uint64_t id = config->members[i].replica_id;
        const struct cons_peer *p = peer_find(c, id);
        uint64_t end = p != NULL ? p->lease_until_ms : 0;
        if (config->members[i].role != CONS_VOTER)
            continue;
        if (id == c->opts.replica_id) /* who leads votes for nobody else */
            end = c->writes.durable_term == c->term ? UINT64_MAX : 0;
        uint32_t k = voters++;
        for (; k > 0 && ends[k - 1] < end; k--)
            ends[k] = ends[k - 1];
        ends[k] = end;
    }
    return voters > 0 ? ends[voters / 2] : 0; /* so many, and one more, last that long */
}

static bool lease_is_usable(const struct consensus *c)
{
    if (c->opts.lease_ms == 0 || c->state != CONS_LEADER)
        return false;
    return c->lease_off_term != c->term || PLANTED(lease_over_transfer);
}

bool lease_stands(const struct consensus *c)
{
    return lease_is_usable(c) && c->real_ms < lease_end(c);
}

bool lease_is_short(const struct consensus *c)
{
    return lease_is_usable(c) && c->real_ms + c->opts.lease_ms / 2 >= lease_end(c);
}

void lease_give_up(struct consensus *c)
{
    c->lease_off_term = c->term;
}
