/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/world_internal.h"

/* --- one event */

static void deliver(struct world *w, struct event *e)
{
    struct slot *s = &w->slots[e->member];
    const struct cons_msg *msg = &e->net->msg;
    struct err err = {0};

    if (s->m.parked != NULL)
        slot_start(w, e->member); /* any message wakes it */
    if (!slot_is_up(s))
        return;
    if (msg->type == CONS_MSG_SNAPSHOT && (s->m.staged.base.index != msg->snapshot.index ||
                                           s->m.staged.base.term != msg->snapshot.term))
        return; /* the data did not arrive, or were lost */
    int rv = consensus_receive(s->m.c, w->now, msg, &err);
    if (rv != 0)
        world_fail(w, "%llu refused a message: %s", (ull)s->m.opts.replica_id, err.msg);
    settle(w, e->member);
}

static void persist(struct world *w, struct event *e)
{
    struct slot *s = &w->slots[e->member];
    s->is_persisting = false;
    if (s->m.writes == NULL)
        return;
    uint64_t first = s->m.writes->id;
    uint64_t last = first + s->m.n_writes - 1;
    member_persist(&s->m, w->now,
                   rng_chance(&w->rng, 1, 2) ? last : rng_between(&w->rng, first, last));
    settle(w, e->member);
}

static void stream_done(struct world *w, struct event *e)
{
    struct slot *s = &w->slots[e->member];
    int to = slot_of(w, e->stream->target);
    bool is_lost = !w->is_healed && rng_chance(&w->rng, 1, 4);

    if (to < 0 || !slot_is_running(w, &w->slots[to]) || w->cut[e->member][to] || is_lost) {
        consensus_snapshot_failed(s->m.c, e->stream->target, rng_chance(&w->own, 1, 2));
    } else {
        if (!w->slots[to].m.is_installing)
            w->slots[to].m.staged = e->stream->state;
        consensus_snapshot_sent(s->m.c, w->now, e->stream->target, &e->stream->state.base);
    }
    settle(w, e->member);
}

static void fetch_done(struct world *w, struct event *e)
{
    struct slot *s = &w->slots[e->member];
    const struct mrequest *r = e->fetch;
    struct cons_entry entries[64];
    uint32_t n = 0;

    while (n < r->n && n < ARRAY_LEN(entries)) {
        const struct mentry *me = mlog_get(&s->m.log, r->first + n);
        if (me == NULL)
            break;
        entries[n++] = (struct cons_entry){
            .term = me->term, .type = me->type, .data = slice_of(me->data->data, me->data->len)};
    }
    consensus_on_fetched(s->m.c, w->now, r->token, n > 0 ? 0 : ERR_NOT_FOUND, entries, n);
    settle(w, e->member);
}

/* The word that the group may sleep. */
static void rest(struct world *w, struct event *e)
{
    struct slot *s = &w->slots[e->member];
    bool is_asleep = consensus_sleep(s->m.c, w->now, &e->rest) == 0;
    w->report.sleeps += is_asleep;
    settle(w, e->member);
    if (is_asleep && rng_chance(&w->rng, 3, 4))
        slot_park(w, e->member);
}

static bool event_needs_life(enum event_kind kind)
{
    return kind != EVENT_DELIVER && kind != EVENT_RESTART && kind != EVENT_CHAOS &&
           kind != EVENT_CLIENT && kind != EVENT_LINK;
}

/* A part of what chaos has begun. */
static void planned(struct world *w, const struct event *e)
{
    switch (e->kind) {
    case EVENT_STRIKE:
        world_strike(w, e->member);
        break;
    case EVENT_LINK:
        world_link(w, e->member);
        break;
    case EVENT_WRITE:
        world_write(w, e->member);
        break;
    case EVENT_USURP:
        if (!w->is_healed)
            world_usurp(w, e->member);
        break;
    case EVENT_READ:
        world_read(w, e->member);
        break;
    default:
        break;
    }
}

static void world_event(struct world *w, struct event *e)
{
    struct slot *s = &w->slots[e->member];

    w->report.events++;
    world_hash(w, e->time ^ (uint64_t)e->kind << 56 ^ (uint64_t)e->member << 48);
    if (event_needs_life(e->kind) && (!slot_is_up(s) || s->life != e->life))
        return;
    switch (e->kind) {
    case EVENT_DELIVER:
        deliver(w, e);
        break;
    case EVENT_PERSIST:
        persist(w, e);
        break;
    case EVENT_TIMER:
        if (s->timer_at != e->time)
            return;
        s->timer_at = 0;
        consensus_tick(s->m.c, w->now);
        settle(w, e->member);
        break;
    case EVENT_APPLY:
        s->is_apply_due = false;
        member_apply(&s->m, w->now);
        settle(w, e->member);
        break;
    case EVENT_STREAM:
        stream_done(w, e);
        break;
    case EVENT_FETCH:
        fetch_done(w, e);
        break;
    case EVENT_INSTALL:
        member_install(&s->m, w->now);
        w->report.installs++;
        settle(w, e->member);
        break;
    case EVENT_REST:
        rest(w, e);
        break;
    case EVENT_RESTART:
        if (!s->is_destroyed)
            slot_start(w, e->member);
        break;
    case EVENT_STRIKE:
    case EVENT_LINK:
    case EVENT_WRITE:
    case EVENT_USURP:
    case EVENT_READ:
        planned(w, e);
        break;
    case EVENT_CHAOS:
        if (!w->is_healed) {
            world_chaos(w);
            world_push(w, w->now + 1 + rng_below(&w->rng, w->k.chaos_ms), EVENT_CHAOS, 0);
        }
        break;
    case EVENT_CLIENT:
        world_client(w);
        world_push(w, w->now + 1 + rng_below(&w->rng, w->k.client_ms), EVENT_CLIENT, 0);
        break;
    }
    if (s->m.c != NULL)
        world_hash(w, s->m.state.chain ^ consensus_term(s->m.c) << 32 ^ consensus_commit(s->m.c));
}

/* A member that is paused finds it all when it goes on. */
static bool is_deferred(struct world *w, const struct event *e)
{
    struct slot *s = &w->slots[e->member];
    if (s->paused_until <= w->now || (!event_needs_life(e->kind) && e->kind != EVENT_DELIVER))
        return false;
    if (e->kind == EVENT_TIMER && s->timer_at == e->time)
        s->timer_at = s->paused_until;
    event_defer(w, e, s->paused_until);
    return true;
}

void world_until(struct world *w, uint64_t time)
{
    while (!w->report.is_failed && w->n_heap > 0 && w->heap[0].time <= time) {
        struct event e = world_pop(w);
        ASSERT(e.time >= w->now);
        w->now = e.time;
        if (is_deferred(w, &e))
            continue;
        world_event(w, &e);
        event_free(&e);
    }
    w->now = MAX(w->now, time);
}

/* --- phases */

static void world_bear(struct world *w)
{
    struct cons_base base = {.index = BORN_INDEX, .term = BORN_TERM, .config_index = BORN_INDEX};
    static const uint32_t sizes[] = {1, 2, 3, 3, 3, 3, 4, 5, 5};
    uint32_t n = sizes[rng_below(&w->rng, ARRAY_LEN(sizes))];
    uint32_t voters = n > 3 && rng_chance(&w->rng, 1, 2) ? 3 : n;

    base.config.n = n;
    for (uint32_t i = 0; i < n; i++)
        base.config.members[i] =
            (struct cons_member){.replica_id = i + 1,
                                 .store_id = 100 + i,
                                 .role = i < voters ? CONS_VOTER : CONS_LEARNER};
    w->report.born_learners = n - voters;
    history_init(&w->history, BORN_INDEX);
    w->floor = BORN_INDEX;
    for (uint32_t i = 0; i < n; i++)
        world_add_slot(w);
    uint32_t born = n >= 3 && rng_chance(&w->rng, 1, 4) ? n - 1 : n; /* the last one missed it */
    for (uint32_t i = 0; i < born; i++)
        member_bear(&w->slots[i].m, &base, BORN_TERM, 0);
    for (uint32_t i = 0; i < n; i++)
        slot_start(w, i);
}

static void world_heal(struct world *w)
{
    TRACE(w, "%llu: healed\n", (ull)w->now);
    w->is_healed = true;
    memset(w->cut, 0, sizeof w->cut);
    w->k.apply_late = 0;
    w->k.disk_max = MIN(w->k.disk_max, w->k.hb);
    for (uint32_t i = 0; i < w->n_slots; i++) {
        struct slot *s = &w->slots[i];
        s->paused_until = 0;
        if (s->is_destroyed)
            continue;
        slot_start(w, i);
        if (s->m.c == NULL || w->report.is_failed)
            continue;
        consensus_wake(s->m.c, w->now); /* the stores know each other again */
        settle(w, i);
    }
}

/* Every member of the leader's configuration has applied the entry of this phase. */
static bool world_is_converged(struct world *w)
{
    const struct member *leader = NULL;
    for (uint32_t i = 0; i < w->n_slots; i++) {
        const struct slot *s = &w->slots[i];
        if (slot_is_up(s) && s->m.role == CONS_LEADER &&
            (leader == NULL || s->m.term > leader->term))
            leader = &s->m;
    }
    if (leader == NULL || w->live_index == 0 || w->live_reads == 0)
        return false;
    if (leader->term != w->live_term) {
        w->live_index = 0; /* the entry may be gone: another */
        return false;
    }
    for (uint32_t i = 0; i < leader->config.n; i++) {
        int slot = slot_of(w, leader->config.members[i].replica_id);
        if (slot < 0 || w->slots[slot].m.state.base.index < w->live_index)
            return false;
    }
    return true;
}

static void world_dump(const struct world *w)
{
    for (uint32_t i = 0; i < w->n_slots; i++) {
        const struct slot *s = &w->slots[i];
        struct cons_status st;
        if (!slot_is_up(s))
            continue;
        consensus_status(s->m.c, &st);
        fprintf(stderr,
                "replica %llu state %d term %llu/%llu leader %llu log ..%llu stored %llu commit "
                "%llu applied %llu snapshot %llu config %llu installing %d held %u reads %u "
                "transferee %llu\n",
                (ull)st.replica_id, (int)st.state, (ull)st.term, (ull)st.durable_term,
                (ull)st.leader, (ull)st.last_index, (ull)st.last_stored, (ull)st.commit,
                (ull)st.applied, (ull)st.snapshot_index, (ull)st.config_index, st.is_installing,
                st.messages_held, st.reads_waiting, (ull)st.transferee);
        for (uint32_t k = 0; k < st.n_members; k++)
            fprintf(stderr, "  member %llu role %d match %llu live %d streaming %d\n",
                    (ull)st.members[k].replica_id, (int)st.members[k].role,
                    (ull)st.members[k].match, st.members[k].is_live, st.members[k].is_streaming);
    }
}

static void world_settle_down(struct world *w)
{
    world_heal(w);
    for (uint32_t i = 0; i < LIVE_TIMEOUTS && !w->report.is_failed; i++) {
        world_until(w, w->now + w->k.et);
        world_operate(w);
        if (world_is_converged(w))
            return;
    }
    if (w->is_verbose)
        world_dump(w);
    if (!w->report.is_failed)
        world_fail(w, "hang: not converged %d election timeouts after all was healed",
                   LIVE_TIMEOUTS);
}

static void world_free(struct world *w)
{
    for (uint32_t i = 0; i < w->n_slots; i++)
        member_fini(&w->slots[i].m);
    while (w->n_heap > 0) {
        struct event e = world_pop(w);
        event_free(&e);
    }
    while (w->reads != NULL) {
        struct sim_read *r = w->reads;
        w->reads = r->next;
        free(r);
    }
    free(w->heap);
    history_fini(&w->history);
    free(w);
}

void world_run(uint64_t seed, uint64_t guards_off, bool is_verbose, struct world_report *ret_report)
{
    struct world *w = calloc(1, sizeof *w);
    ASSERT(w != NULL);
    rng_init(&w->rng, seed);
    rng_init(&w->own, seed ^ UINT64_C(0x7573757270));
    w->now = 1000;
    w->guards_off = guards_off;
    w->is_verbose = is_verbose;
    world_knobs(w);
    w->k.reject_late = seed % 4 == 1 ? 50 : 0; /* not drawn: what other seeds mean stays */
    world_bear(w);
    world_push(w, w->now, EVENT_CHAOS, 0);
    world_push(w, w->now, EVENT_CLIENT, 0);
    world_until(w, w->now + w->k.et * rng_between(&w->rng, 20, 60));
    if (!w->report.is_failed)
        world_settle_down(w);
    if (!w->report.is_failed)
        world_pace(w);
    w->report.commits = w->history.n_commits;
    *ret_report = w->report;
    world_free(w);
}
