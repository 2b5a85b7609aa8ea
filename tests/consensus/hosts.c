/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/world_internal.h"

/* --- the members' surroundings */

static void host_wrote(void *data, struct member *m, const struct cons_write *write)
{
    struct world *w = data;
    TRACE(w, "%llu: %llu writes #%llu term %llu vote %llu entries %llu..+%u of term %llu\n",
          (ull)w->now, (ull)m->opts.replica_id, (ull)write->id,
          (ull)(write->has_hard_state ? write->term : 0), (ull)write->vote, (ull)write->first_index,
          write->n, (ull)(write->n > 0 ? write->entries[0].term : 0));
    if (write->n > 0 && write->first_index <= m->state.base.index)
        world_fail(w, "%llu overwrites applied entries", (ull)m->opts.replica_id);
}

/* Only what is durable counts: a lone member that loses its whole suffix may use the same
 * term and index again, and nobody has seen the first ones. */
static void host_durable(void *data, struct member *m, uint64_t index, const struct mentry *e)
{
    struct world *w = data;
    (void)m;
    world_judge(w, history_durable(&w->history, index, e));
}

static void host_role(void *data, struct member *m, enum cons_state state, uint64_t term)
{
    struct world *w = data;
    TRACE(w, "%llu: %llu is %d in term %llu, leader %llu\n", (ull)w->now, (ull)m->opts.replica_id,
          (int)state, (ull)term, (ull)m->leader);
    if (state != CONS_LEADER)
        return;
    w->report.elections++;
    if (!w->is_healed && rng_below(&w->rng, 100) < w->k.strike) /* half replicated entries */
        world_push(w, w->now + 1 + rng_below(&w->rng, (uint64_t)w->k.hb * 2), EVENT_STRIKE,
                   slot_index(w, m));
    world_judge(w, history_leads(&w->history, m, term));
}

static void host_applied(void *data, struct member *m, uint64_t index, const struct mentry *e)
{
    struct world *w = data;
    if (!w->report.is_failed)
        world_judge(w, history_applied(&w->history, m, index, e));
    /* The leader answers its client: from now on every read must see it. */
    if (m->c != NULL && m->role == CONS_LEADER && e->term == m->term)
        w->floor = MAX(w->floor, index);
}

static bool host_is_cached(void *data, struct member *m, uint64_t index)
{
    struct world *w = data;
    return index + w->k.cached > mlog_last(&m->log);
}

static bool host_is_ready(void *data, struct member *m, uint64_t peer)
{
    struct world *w = data;
    int to = slot_of(w, peer);
    return to >= 0 && !w->cut[slot_index(w, m)][to];
}

/* Now and then nothing fits on the way to it, for a while. */
static size_t host_room(void *data, struct member *m, uint64_t peer)
{
    const struct world *w = data;
    (void)m;
    return !w->is_healed && (w->now / (2 * (uint64_t)w->k.hb) + peer) % 8 == 0 ? 0 : SIZE_MAX;
}

static void host_committed(void *data, struct member *m, uint64_t from, uint64_t to)
{
    struct world *w = data;
    if (!w->report.is_failed)
        world_judge(w, history_commits(&w->history, m, from, to));
}

/* --- network */

uint64_t world_delay(struct world *w)
{
    uint64_t max = w->is_healed ? MIN(w->k.delay_max, w->k.hb / 3 + 1) : w->k.delay_max;
    if (!w->is_healed && rng_chance(&w->rng, 1, 50))
        max *= 10;
    return 1 + rng_below(&w->rng, max);
}

static struct netmsg *net_copy(const struct cons_msg *msg)
{
    uint32_t n = msg->type == CONS_MSG_APPEND ? msg->append.n : 0;
    struct netmsg *net = malloc(sizeof *net + n * sizeof net->entries[0]);
    ASSERT(net != NULL);
    net->msg = *msg;
    net->blobs = n > 0 ? malloc(n * sizeof *net->blobs) : NULL;
    for (uint32_t i = 0; i < n; i++) {
        net->blobs[i] = blob_new(msg->append.entries[i].data);
        net->entries[i] = msg->append.entries[i];
        net->entries[i].data = slice_of(net->blobs[i]->data, net->blobs[i]->len);
    }
    if (n > 0)
        net->msg.append.entries = net->entries;
    return net;
}

/* What a message promises must be on the disk by now. */
static void check_promise(struct world *w, const struct member *m, const struct cons_msg *msg)
{
    const struct mdisk *d = &m->disk;
    ull id = m->opts.replica_id;
    bool is_pre = (msg->type == CONS_MSG_VOTE && msg->vote.pre_vote) ||
                  (msg->type == CONS_MSG_VOTE_RESULT && msg->vote_result.pre_vote);
    if (consensus_is_asleep(m->c) && msg->type != CONS_MSG_PROBE_RESULT)
        world_fail(w, "%llu speaks in its sleep", id);
    if (is_pre)
        return;
    if (msg->term > d->term)
        world_fail(w, "%llu speaks of term %llu before it is durable", id, (ull)msg->term);
    if (msg->term != d->term)
        return;
    if (msg->type == CONS_MSG_VOTE && d->vote != m->opts.replica_id)
        world_fail(w, "%llu stands in term %llu without its own vote", id, (ull)msg->term);
    if (msg->type == CONS_MSG_VOTE_RESULT && msg->vote_result.granted && d->vote != msg->to)
        world_fail(w, "%llu gives a vote that is not durable", id);
    if (msg->type != CONS_MSG_APPEND_RESULT || msg->append_result.rejected != 0)
        return;
    uint64_t last = msg->append_result.last_index;
    const struct mentry *known = mlog_get(&m->log, last);
    const struct mentry *durable = mlog_get(&d->log, last);
    bool is_other = known != NULL && durable != NULL && known->chain != durable->chain;
    if (last > MAX(mlog_last(&d->log), d->state.base.index) || is_other)
        world_fail(w, "%llu acknowledges %llu, which is not durable", id, (ull)last);
}

static void host_send(void *data, struct member *m, const struct cons_msg *msg)
{
    struct world *w = data;
    int to = slot_of(w, msg->to);
    uint32_t from = slot_index(w, m);
    uint32_t copies = 1;

    check_promise(w, m, msg);
    TRACE(w, "%llu: %llu -> %llu %s term %llu", (ull)w->now, (ull)msg->from, (ull)msg->to,
          cons_msg_name(msg->type), (ull)msg->term);
    if (msg->type == CONS_MSG_APPEND)
        TRACE(w, " prev %llu^%llu n %u commit %llu", (ull)msg->append.prev_index,
              (ull)msg->append.prev_term, msg->append.n, (ull)msg->append.commit);
    if (msg->type == CONS_MSG_APPEND_RESULT)
        TRACE(w, " rejected %llu last %llu", (ull)msg->append_result.rejected,
              (ull)msg->append_result.last_index);
    TRACE(w, "\n");
    if (to < 0 || w->slots[to].is_destroyed || w->cut[from][to])
        return;
    if (msg->type == CONS_MSG_APPEND && msg->append.n > 0)
        w->sent_last[to] = msg->append.prev_index + msg->append.n;
    if (!w->is_healed) {
        if (rng_below(&w->rng, 1000) < w->k.drop)
            return;
        if (rng_below(&w->rng, 1000) < w->k.duplicate)
            copies = 2;
    }
    while (copies-- > 0) {
        uint64_t at = w->now + world_delay(w);
        struct netmsg *net = net_copy(msg);
        if (msg->type == CONS_MSG_PROBE_RESULT && !w->is_healed &&
            rng_below(&w->rng, 100) < w->k.probe_late) {
            at += rng_below(&w->rng, (uint64_t)w->k.et * 3);
            w->report.late_answers++;
        }
        world_push(w, at, EVENT_DELIVER, (uint32_t)to)->net = net;
    }
    bool is_rejection = msg->type == CONS_MSG_APPEND_RESULT && msg->append_result.rejected > 0;
    if (is_rejection && w->k.reject_late > 0 && !w->is_healed &&
        rng_below(&w->own, 100) < w->k.reject_late) {
        uint64_t at = w->now + world_delay(w) + rng_below(&w->own, (uint64_t)w->k.et * 3);
        world_push(w, at, EVENT_DELIVER, (uint32_t)to)->net = net_copy(msg);
        w->report.late_rejections++;
    }
}

static const struct member_host world_host = {
    .send = host_send,
    .wrote = host_wrote,
    .durable = host_durable,
    .role = host_role,
    .applied = host_applied,
    .committed = host_committed,
    .is_cached = host_is_cached,
    .is_ready = host_is_ready,
    .room = host_room,
};

/* --- after each call into a member */

static void settle_requests(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    for (uint32_t i = 0; i < s->m.n_requests; i++) {
        struct mrequest r = s->m.requests[i];
        struct event *e;
        switch (r.kind) {
        case REQUEST_STREAM:
            consensus_snapshot_started(s->m.c, r.peer, s->m.state.base.index);
            e = world_push(w, w->now + 1 + rng_below(&w->rng, w->k.et * 2), EVENT_STREAM, slot);
            e->stream = malloc(sizeof *e->stream);
            ASSERT(e->stream != NULL);
            e->stream->target = r.peer;
            e->stream->state = member_state(&s->m);
            break;
        case REQUEST_FETCH:
            e = world_push(w, w->now + 1 + rng_below(&w->rng, w->k.disk_max + 1), EVENT_FETCH,
                           slot);
            e->fetch = malloc(sizeof *e->fetch);
            ASSERT(e->fetch != NULL);
            *e->fetch = r;
            break;
        case REQUEST_INSTALL:
            world_push(w, w->now + 1 + rng_below(&w->rng, w->k.et), EVENT_INSTALL, slot);
            break;
        }
    }
    s->m.n_requests = 0;
}

void settle(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    const char *reason = NULL;

    if (s->m.c == NULL)
        return;
    if (consensus_needs_reopen(s->m.c, &reason)) {
        world_fail(w, "%llu broke: %s", (ull)s->m.opts.replica_id, reason);
        return;
    }
    consensus_check(s->m.c);
    settle_requests(w, slot);
    if (s->m.n_writes > 0 && !s->is_persisting) {
        uint64_t wait = rng_below(&w->rng, w->k.disk_max + 1);
        if (!w->is_healed && rng_below(&w->rng, 1000) < w->k.stall)
            wait += rng_below(&w->rng, (uint64_t)w->k.et * 3);
        s->is_persisting = true;
        world_push(w, w->now + wait, EVENT_PERSIST, slot);
    }
    if (!s->is_apply_due && consensus_apply_limit(s->m.c) > s->m.state.base.index) {
        bool is_late = rng_below(&w->rng, 100) < w->k.apply_late;
        uint64_t wait = is_late ? 1 + rng_below(&w->rng, w->k.et / 2) : 0;
        s->is_apply_due = true;
        world_push(w, w->now + wait, EVENT_APPLY, slot);
    }
    uint64_t at = consensus_next_timeout(s->m.c, w->now);
    if (at != UINT64_MAX && at != s->timer_at) {
        s->timer_at = at;
        world_push(w, at, EVENT_TIMER, slot);
    }
}

/* --- members come and go */

void slot_start(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    ASSERT(s->is_used);
    ASSERT(!s->is_destroyed);
    if (s->m.c != NULL)
        return;
    s->m.opts.seed = rng_u64(&w->rng);
    if (s->m.parked != NULL) {
        if (member_unpark(&s->m, w->now) != 0)
            world_fail(w, "%llu does not come back", (ull)s->m.opts.replica_id);
    } else if (member_start(&s->m, w->now) != 0) {
        world_fail(w, "%llu does not start", (ull)s->m.opts.replica_id);
    }
    if (w->report.is_failed)
        return;
    s->timer_at = 0;
    settle(w, slot);
}

void slot_park(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    bool leads = s->m.role == CONS_LEADER;
    if (!member_park(&s->m))
        return;
    s->life++;
    s->timer_at = 0;
    s->is_persisting = s->is_apply_due = false;
    w->report.parks++;
    w->report.leader_parks += leads;
}

void slot_crash(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    uint32_t survive = (uint32_t)rng_below(&w->rng, s->m.n_writes + 1);
    TRACE(w, "%llu: %llu crashes, %u of %u writes survive\n", (ull)w->now,
          (ull)s->m.opts.replica_id, survive, s->m.n_writes);
    s->m.is_edit_durable = s->m.is_installing && rng_chance(&w->rng, 1, 2);
    member_crash(&s->m, survive);
    s->life++;
    s->is_persisting = s->is_apply_due = false;
    s->paused_until = 0;
    world_forget_reads(w, slot);
    w->report.crashes++;
}

void slot_fall(struct world *w, uint32_t slot)
{
    slot_crash(w, slot);
    world_push(w, w->now + 1 + rng_below(&w->rng, w->k.et * 3), EVENT_RESTART, slot);
}

uint32_t world_add_slot(struct world *w)
{
    uint32_t slot = w->n_slots++;
    struct slot *s = &w->slots[slot];
    struct cons_options opts = {
        .replica_id = slot + 1,
        .group_id = GROUP_ID,
        .store_id = 100 + slot,
        .election_timeout_ms = w->k.et,
        .heartbeat_ms = w->k.hb,
        .max_inflight_entries = w->k.window,
        .append_bytes_max = 256,
        .inflight_bytes_max = 2048,
        .lease_ms = w->k.lease_ms,
        .hold_ms = w->k.lease_ms,
    };
    ASSERT(slot < WORLD_MEMBERS_MAX);
    s->is_used = true;
    member_init(&s->m, &opts, &world_host, w);
    s->m.guards_off = w->guards_off;
    return slot;
}
