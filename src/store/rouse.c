/* SPDX-License-Identifier: Apache-2.0 */
#include "store/rouse.h"

#include "base/hash.h"
#include "net/net_peer.h"
#include "store/sleep.h"
#include "store/store_internal.h"

static struct rousing *of(const struct replica *r)
{
    return &r->store->rousing;
}

static void start_timer(struct store *store, uint64_t after_us)
{
    struct rousing *s = &store->rousing;
    if (!env_timer_is_active(&s->timer))
        env_timer_start(&s->timer, after_us);
}

static bool is_in_line(const struct replica *r)
{
    return list_is_linked(&r->nap.roused.in_line) && !r->nap.roused.is_going;
}

void rouse_forget(struct replica *r)
{
    struct roused *e = &r->nap.roused;
    if (!list_is_linked(&e->in_line))
        return;
    list_remove(&e->in_line);
    if (e->is_going)
        of(r)->going_count--;
    else
        of(r)->count--;
    e->is_going = false;
}

void rouse_on_led(struct replica *r)
{
    if (r->nap.roused.is_going)
        rouse_forget(r);
}

/* ---- who stands ---------------------------------------------------------------------- */

static bool leads(const struct replica *r)
{
    return r->nap.rest.leader == r->replica_id;
}

/* An older store sends no pulses: it lives if it is connected. */
static bool is_reached(const struct store *store, uint64_t store_id)
{
    if (store_id == store->opt.store_id || pulse_is_alive(store, store_id, 0))
        return true;
    const struct net_peer *peer = net_peer_find(store->net, store_id);
    return peer != NULL && net_peer_is_up(peer) && !pulse_reaches(peer);
}

/* Is it this replica's to stand first? All stores that see the same stores alive agree.
 * `counts_all`: the silent ones count, too. */
static bool is_first(const struct replica *r, bool counts_all)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    uint32_t voters = 0;
    uint32_t own = UINT32_MAX;
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (d->replicas[i].role != RANGE_ROLE_VOTER ||
            !(counts_all || is_reached(r->store, d->replicas[i].store_id)))
            continue;
        if (d->replicas[i].replica_id == r->replica_id)
            own = voters;
        voters++;
    }
    return own != UINT32_MAX && hash_mix(0, r->range_id) % voters == own;
}

/* Could it win? A learner does not want to. */
static bool may_win(const struct replica *r)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    uint32_t voters = 0;
    uint32_t reached = 0;
    bool is_voter = false;
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (d->replicas[i].role != RANGE_ROLE_VOTER)
            continue;
        voters++;
        is_voter = is_voter || d->replicas[i].replica_id == r->replica_id;
        reached += is_reached(r->store, d->replicas[i].store_id);
    }
    return !is_voter || reached > voters / 2;
}

/* ---- the line --------------------------------------------------------------------------- */

void rouse_put(struct replica *r, enum sleep_end why)
{
    struct rousing *s = of(r);
    struct roused *e = &r->nap.roused;
    ASSERT(r->nap.is_asleep);
    if (list_is_linked(&e->in_line)) { /* a silence may end, all else is for good */
        e->why = e->why == SLEEP_WOKEN_BY_SILENCE ? (uint8_t)why : e->why;
        return;
    }
    e->why = (uint8_t)why;
    e->since_us = env_now_us(r->store->env);
    /* At a start nobody has been heard of yet. */
    bool goes_first = leads(r) || is_first(r, r->nap.is_dormant);
    list_push_back(goes_first ? &s->first : &s->later, &e->in_line);
    s->count++;
    start_timer(r->store, (uint64_t)STORE_TICK_MS * 1000);
}

static void note_going(struct replica *r)
{
    struct roused *e = &r->nap.roused;
    if (r->cons == NULL || r->nap.is_asleep || consensus_leader(r->cons, NULL) != 0)
        return;
    e->is_going = true;
    e->since_us = env_now_us(r->store->env);
    list_push_back(&of(r)->going, &e->in_line);
    of(r)->going_count++;
    start_timer(r->store, (uint64_t)STORE_TICK_MS * 1000);
}

/* `is_asked`: somebody waits for it. */
static void rouse(struct replica *r, enum sleep_end why, bool stands, bool is_asked)
{
    rouse_forget(r);
    if (leads(r)) {
        sleep_wake(r, why);
        return;
    }
    sleep_wake_orphan(r, why);
    r->nap.is_quick = !is_asked;
    if (stands && r->cons != NULL)
        consensus_campaign(r->cons, replica_now_ms(r));
    note_going(r);
}

void rouse_at_once(struct replica *r, enum sleep_end why)
{
    if (r->nap.is_asleep && is_in_line(r)) /* that is the reason; being asked was the occasion */
        rouse(r, (enum sleep_end)r->nap.roused.why, true, true);
    else if (r->nap.is_asleep)
        rouse(r, why, true, true);
}

static bool has_waited(const struct replica *r, uint64_t now_us, uint64_t ms)
{
    return now_us - r->nap.roused.since_us >= ms * 1000;
}

static uint64_t patience_ms(const struct store *store)
{
    return (uint64_t)ROUSE_TIMEOUTS * store->opt.election_timeout_ms;
}

/* May it go now? Of those who come later one is the first that lives. */
static bool has_turn(const struct replica *r, bool stands, uint64_t now_us)
{
    if (leads(r))
        return true;
    return may_win(r) && (stands || has_waited(r, now_us, 2 * patience_ms(r->store)));
}

/* One after the other, from the front of `line`; whose turn it is not goes to its end. */
static void rouse_line(struct store *store, struct list *line, bool are_first, uint64_t now_us)
{
    struct rousing *s = &store->rousing;
    const struct replica *stays = NULL; /* who was the first to go to its end */
    /* The others are to notice, too, before they are asked for votes. */
    uint64_t wait_ms = are_first ? pulse_ms(store) : patience_ms(store);
    for (uint32_t looks = 0; looks < ROUSE_LOOKS_MAX && !list_is_empty(line); looks++) {
        struct replica *r = list_first(line, struct replica, nap.roused.in_line);
        if (r == stays || s->going_count >= ROUSE_MAX || !has_waited(r, now_us, wait_ms))
            return;
        bool stands = are_first || is_first(r, false);
        if (has_turn(r, stands, now_us)) {
            rouse(r, (enum sleep_end)r->nap.roused.why, stands, false);
            continue;
        }
        list_remove(&r->nap.roused.in_line);
        list_push_back(line, &r->nap.roused.in_line);
        stays = stays == NULL ? r : stays;
    }
}

/* They have had their time: they go on like any other. */
static void forget_late(struct store *store, uint64_t now_us)
{
    struct list *going = &store->rousing.going;
    while (!list_is_empty(going)) {
        struct replica *r = list_first(going, struct replica, nap.roused.in_line);
        if (!has_waited(r, now_us, patience_ms(store)))
            return;
        rouse_forget(r);
    }
}

static void timer_due(struct env_timer *timer)
{
    struct store *store = timer->data;
    struct rousing *s = &store->rousing;
    uint64_t now_us = env_now_us(store->env);
    uint32_t before = s->count;
    /* Of a damaged store those that are whole go on. */
    bool may_go = store->state == STORE_RUNNING || store->state == STORE_DAMAGED;
    forget_late(store, now_us);
    if (may_go)
        rouse_line(store, &s->first, true, now_us);
    if (may_go && s->count == before) /* of those that are first none could go */
        rouse_line(store, &s->later, false, now_us);
    bool is_stuck = s->count == before && s->going_count == 0;
    if (s->count + s->going_count > 0)
        start_timer(store, (uint64_t)(is_stuck ? ROUSE_STUCK_MS : STORE_TICK_MS) * 1000);
}

/* Is all of it heard of again that it relies on? */
static bool may_sleep_on(const struct replica *r)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    if (r->nap.roused.why != SLEEP_WOKEN_BY_SILENCE)
        return false;
    if (!leads(r))
        return is_reached(r->store, r->nap.leader_store);
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (!is_reached(r->store, d->replicas[i].store_id))
            return false;
    }
    return true;
}

static void drop_line(struct list *line)
{
    LIST_FOREACH(it, line)
    {
        struct replica *r = list_entry(it, struct replica, nap.roused.in_line);
        if (may_sleep_on(r))
            rouse_forget(r);
    }
}

void rouse_on_alive(struct store *store)
{
    drop_line(&store->rousing.first);
    drop_line(&store->rousing.later);
}

bool rouse_takes_beat(struct store *store)
{
    struct rousing *s = &store->rousing;
    uint64_t now_us = env_now_us(store->env);
    if (now_us - s->beats_us >= (uint64_t)STORE_TICK_MS * 1000) {
        s->beats_us = now_us;
        s->beats = 0;
    }
    return s->beats++ < ROUSE_MAX;
}

/* ---- life --------------------------------------------------------------------------------- */

void rouse_init(struct store *store)
{
    struct rousing *s = &store->rousing;
    list_init(&s->first);
    list_init(&s->later);
    list_init(&s->going);
    env_timer_init(&s->timer, store->env, timer_due, store);
}

void rouse_free(struct store *store)
{
    env_timer_stop(&store->rousing.timer);
}

static uint32_t check_list(const struct list *list, bool is_going)
{
    uint32_t n = 0;
    LIST_FOREACH(it, list)
    {
        const struct replica *r = list_entry(it, struct replica, nap.roused.in_line);
        ASSERT(r->nap.roused.is_going == is_going);
        ASSERT(is_going ? !r->nap.is_asleep : is_in_line(r) && r->nap.is_asleep);
        n++;
    }
    return n;
}

void rouse_check(const struct store *store)
{
    const struct rousing *s = &store->rousing;
    ASSERT(check_list(&s->first, false) + check_list(&s->later, false) == s->count);
    ASSERT(check_list(&s->going, true) == s->going_count);
    ASSERT(s->count + s->going_count == 0 || env_timer_is_active(&s->timer));
}
