/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "consensus/history.h"
#include "consensus/member.h"

enum {
    WORLD_MEMBERS_MAX = 24,
    GROUP_MEMBERS_MAX = 7,
    BORN_INDEX = 10,
    BORN_TERM = 5,
    GROUP_ID = 77,
    LIVE_TIMEOUTS = 100, /* election timeouts that the healed cluster is given */
};

enum event_kind {
    EVENT_DELIVER,
    EVENT_PERSIST,
    EVENT_TIMER,
    EVENT_APPLY,
    EVENT_STREAM,
    EVENT_FETCH,
    EVENT_INSTALL,
    EVENT_RESTART,
    EVENT_CHAOS,
    EVENT_CLIENT,
};

struct netmsg {
    struct cons_msg msg;
    struct blob **blobs;
    struct cons_entry entries[];
};

struct event {
    uint64_t time;
    uint64_t seq;
    enum event_kind kind;
    uint32_t member; /* slot */
    uint32_t life;   /* of the member when it was scheduled */
    union {
        struct netmsg *net;
        struct {
            uint64_t target;
            struct mstate state;
        } * stream;
        struct mrequest *fetch;
    };
};

struct slot {
    struct member m;
    bool is_used;
    bool is_destroyed;
    uint32_t life; /* grows at each crash */
    uint64_t timer_at;
    bool is_persisting;
    bool is_apply_due;
};

struct knobs {
    uint32_t et;
    uint32_t hb;
    uint32_t delay_max;
    uint32_t drop;      /* per mille */
    uint32_t duplicate; /* per mille */
    uint32_t disk_max;
    uint32_t apply_late; /* percent */
    uint32_t crash;      /* weights of chaos */
    uint32_t partition;
    uint32_t flush;
    uint32_t membership;
    uint32_t transfer;
    uint32_t campaign;
    uint32_t trailing;
    uint32_t cached; /* entries in memory */
    uint32_t batch_max;
    uint32_t payload_max;
    uint32_t window;
    uint32_t chaos_ms;
    uint32_t client_ms;
};

struct sim_read {
    struct cons_read read;
    struct world *w;
    struct sim_read *next;
    struct sim_read **prev;
    uint32_t slot;
    uint32_t life;
    uint64_t floor;
};

struct world {
    struct rng rng;
    uint64_t now;
    uint64_t seq;
    uint64_t guards_off;
    bool is_verbose;
    bool is_healed;
    struct knobs k;
    struct event *heap;
    uint32_t n_heap;
    uint32_t cap_heap;
    struct slot slots[WORLD_MEMBERS_MAX];
    uint32_t n_slots;
    bool cut[WORLD_MEMBERS_MAX][WORLD_MEMBERS_MAX];
    struct history history;
    uint64_t floor; /* every later read must see this index */
    struct sim_read *reads;
    uint64_t live_index;
    uint64_t live_term;
    uint64_t live_reads;
    struct world_report report;
};

/* --- reporting */

static void world_fail(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void world_fail(struct world *w, const char *fmt, ...)
{
    va_list args;
    if (w->report.is_failed)
        return;
    w->report.is_failed = true;
    va_start(args, fmt);
    vsnprintf(w->report.why, sizeof w->report.why, fmt, args);
    va_end(args);
}

/* NULL is fine. */
static void world_judge(struct world *w, const char *violation)
{
    if (violation != NULL)
        world_fail(w, "%s", violation);
}

static void world_hash(struct world *w, uint64_t v)
{
    uint64_t h = w->report.hash ^ v;
    h *= UINT64_C(0x9e3779b97f4a7c15);
    w->report.hash = h ^ h >> 29;
}

#define TRACE(w, ...)                                                                              \
    do {                                                                                           \
        if ((w)->is_verbose)                                                                       \
            fprintf(stderr, __VA_ARGS__);                                                          \
    } while (0)

/* --- events */

static bool event_before(const struct event *a, const struct event *b)
{
    return a->time != b->time ? a->time < b->time : a->seq < b->seq;
}

static struct event *world_push(struct world *w, uint64_t time, enum event_kind kind, uint32_t slot)
{
    if (w->n_heap == w->cap_heap) {
        w->cap_heap = w->cap_heap == 0 ? 256 : w->cap_heap * 2;
        w->heap = realloc(w->heap, w->cap_heap * sizeof *w->heap);
        ASSERT(w->heap != NULL);
    }
    struct event e = {.time = time, .seq = w->seq++, .kind = kind, .member = slot};
    e.life = w->slots[slot].life;
    uint32_t i = w->n_heap++;
    while (i > 0 && event_before(&e, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = e;
    return &w->heap[i]; /* until the next push */
}

static struct event world_pop(struct world *w)
{
    struct event top = w->heap[0];
    struct event last = w->heap[--w->n_heap];
    uint32_t i = 0;
    while (2 * i + 1 < w->n_heap) {
        uint32_t c = 2 * i + 1;
        if (c + 1 < w->n_heap && event_before(&w->heap[c + 1], &w->heap[c]))
            c++;
        if (!event_before(&w->heap[c], &last))
            break;
        w->heap[i] = w->heap[c];
        i = c;
    }
    w->heap[i] = last;
    return top;
}

static void net_free(struct netmsg *n)
{
    for (uint32_t i = 0; n->msg.type == CONS_MSG_APPEND && i < n->msg.append.n; i++)
        blob_unref(n->blobs[i]);
    free(n->blobs);
    free(n);
}

static void event_free(struct event *e)
{
    if (e->kind == EVENT_DELIVER)
        net_free(e->net);
    else if (e->kind == EVENT_STREAM)
        free(e->stream);
    else if (e->kind == EVENT_FETCH)
        free(e->fetch);
}

/* --- members by id */

static int slot_of(const struct world *w, uint64_t replica_id)
{
    for (uint32_t i = 0; i < w->n_slots; i++) {
        if (w->slots[i].m.opts.replica_id == replica_id)
            return (int)i;
    }
    return -1;
}

static uint32_t slot_index(const struct world *w, const struct member *m)
{
    const struct slot *s = container_of(m, struct slot, m);
    return (uint32_t)(s - w->slots);
}

static bool slot_is_up(const struct slot *s)
{
    return s->is_used && !s->is_destroyed && s->m.c != NULL;
}

/* --- the members' surroundings */

static void host_send(void *data, struct member *m, const struct cons_msg *msg);

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

static const struct member_host world_host = {
    .send = host_send,
    .wrote = host_wrote,
    .durable = host_durable,
    .role = host_role,
    .applied = host_applied,
    .is_cached = host_is_cached,
};

/* --- network */

static uint64_t world_delay(struct world *w)
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

static void host_send(void *data, struct member *m, const struct cons_msg *msg)
{
    struct world *w = data;
    int to = slot_of(w, msg->to);
    uint32_t from = slot_index(w, m);
    uint32_t copies = 1;

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
    if (!w->is_healed) {
        if (rng_below(&w->rng, 1000) < w->k.drop)
            return;
        if (rng_below(&w->rng, 1000) < w->k.duplicate)
            copies = 2;
    }
    while (copies-- > 0) {
        uint64_t at = w->now + world_delay(w);
        struct netmsg *net = net_copy(msg);
        world_push(w, at, EVENT_DELIVER, (uint32_t)to)->net = net;
    }
}

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

static void settle(struct world *w, uint32_t slot)
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
        s->is_persisting = true;
        world_push(w, w->now + rng_below(&w->rng, w->k.disk_max + 1), EVENT_PERSIST, slot);
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

static void slot_start(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    ASSERT(s->is_used);
    ASSERT(!s->is_destroyed);
    if (s->m.c != NULL)
        return;
    s->m.opts.seed = rng_u64(&w->rng);
    if (member_start(&s->m, w->now) != 0) {
        world_fail(w, "%llu does not start", (ull)s->m.opts.replica_id);
        return;
    }
    s->timer_at = 0;
    settle(w, slot);
}

static void slot_crash(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    uint32_t survive = (uint32_t)rng_below(&w->rng, s->m.n_writes + 1);
    TRACE(w, "%llu: %llu crashes, %u of %u writes survive\n", (ull)w->now,
          (ull)s->m.opts.replica_id, survive, s->m.n_writes);
    s->m.is_edit_durable = s->m.is_installing && rng_chance(&w->rng, 1, 2);
    member_crash(&s->m, survive);
    s->life++;
    s->is_persisting = s->is_apply_due = false;
    for (struct sim_read *r = w->reads, *next; r != NULL; r = next) {
        next = r->next;
        if (r->slot != slot)
            continue;
        *r->prev = r->next;
        if (r->next != NULL)
            r->next->prev = r->prev;
        free(r);
    }
    w->report.crashes++;
}

static uint32_t world_add_slot(struct world *w)
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
    };
    ASSERT(slot < WORLD_MEMBERS_MAX);
    s->is_used = true;
    member_init(&s->m, &opts, &world_host, w);
    s->m.guards_off = w->guards_off;
    return slot;
}

/* --- clients */

static void read_done(struct cons_read *read, int status, uint64_t index)
{
    struct sim_read *r = container_of(read, struct sim_read, read);
    struct world *w = r->w;
    struct member *m = &w->slots[r->slot].m;

    if (status == 0) {
        w->report.reads++;
        if (index < r->floor || m->state.base.index < r->floor)
            world_fail(w, "stale read at %llu: sees %llu, %llu was acknowledged before",
                       (ull)m->opts.replica_id, (ull)m->state.base.index, (ull)r->floor);
        w->floor = MAX(w->floor, m->state.base.index);
        if (w->is_healed)
            w->live_reads++;
    }
    *r->prev = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
    free(r);
}

static void client_read(struct world *w, uint32_t slot)
{
    struct sim_read *r = calloc(1, sizeof *r);
    ASSERT(r != NULL);
    r->read.deadline_ms = w->now + w->k.et * 4;
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

static void client_write(struct world *w, uint32_t slot)
{
    uint8_t bytes[256];
    struct slice data[32];
    uint64_t first = 0;
    uint32_t n = 1 + (uint32_t)rng_below(&w->rng, w->k.batch_max);
    const struct consensus *c = w->slots[slot].m.c;

    /* Clients wait for answers, and in the end for the slowest learner: a window of four
     * entries must not be flooded for ever. */
    if (consensus_last_index(c) - consensus_commit(c) > (w->is_healed ? 50 : 500))
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

static void world_client(struct world *w)
{
    for (uint32_t i = 0; i < w->n_slots; i++) {
        struct slot *s = &w->slots[i];
        if (!slot_is_up(s) || s->m.role != CONS_LEADER)
            continue;
        if (rng_chance(&w->rng, 2, 3))
            client_write(w, i);
        if (rng_chance(&w->rng, 1, 2))
            client_read(w, i);
        settle(w, i);
    }
}

/* --- chaos */

static void chaos_partition(struct world *w)
{
    memset(w->cut, 0, sizeof w->cut);
    uint64_t kind = rng_below(&w->rng, 4);
    uint32_t pick = (uint32_t)rng_below(&w->rng, w->n_slots);
    for (uint32_t a = 0; a < w->n_slots; a++) {
        for (uint32_t b = 0; b < w->n_slots; b++) {
            if (kind == 1)
                w->cut[a][b] = (a == pick) != (b == pick);
            else if (kind == 2)
                w->cut[a][b] = rng_chance(&w->rng, 1, 3);
            else if (kind == 3)
                w->cut[a][b] = (a <= pick) != (b <= pick);
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

static void chaos_on(struct world *w, uint32_t slot)
{
    struct slot *s = &w->slots[slot];
    const struct knobs *k = &w->k;
    uint64_t total = k->crash + k->flush + k->membership + k->transfer + k->campaign + 1;
    uint64_t x = rng_below(&w->rng, total);

    if (!slot_is_up(s))
        return;
    if (x < k->crash) {
        slot_crash(w, slot);
        world_push(w, w->now + 1 + rng_below(&w->rng, k->et * 3), EVENT_RESTART, slot);
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
        if (consensus_transfer(s->m.c, w->now, 0) == 0)
            w->report.transfers++;
    } else if (x - k->transfer < k->campaign) {
        consensus_campaign(s->m.c, w->now);
    }
    settle(w, slot);
}

static void world_chaos(struct world *w)
{
    if (rng_below(&w->rng, 40) < w->k.partition)
        chaos_partition(w);
    chaos_on(w, (uint32_t)rng_below(&w->rng, w->n_slots));
    /* Most work is done by leaders: hit them more often. */
    for (uint32_t i = 0; i < w->n_slots; i++) {
        if (slot_is_up(&w->slots[i]) && w->slots[i].m.role == CONS_LEADER &&
            rng_chance(&w->rng, 1, 4))
            chaos_on(w, i);
    }
}

/* --- one event */

static void deliver(struct world *w, struct event *e)
{
    struct slot *s = &w->slots[e->member];
    const struct cons_msg *msg = &e->net->msg;
    struct err err = {0};

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

    if (to < 0 || !slot_is_up(&w->slots[to]) || w->cut[e->member][to] || is_lost) {
        consensus_snapshot_failed(s->m.c, e->stream->target);
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

static bool event_needs_life(enum event_kind kind)
{
    return kind != EVENT_DELIVER && kind != EVENT_RESTART && kind != EVENT_CHAOS &&
           kind != EVENT_CLIENT;
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
    case EVENT_RESTART:
        if (!s->is_destroyed)
            slot_start(w, e->member);
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

static void world_until(struct world *w, uint64_t time)
{
    while (!w->report.is_failed && w->n_heap > 0 && w->heap[0].time <= time) {
        struct event e = world_pop(w);
        ASSERT(e.time >= w->now);
        w->now = e.time;
        world_event(w, &e);
        event_free(&e);
    }
    w->now = MAX(w->now, time);
}

/* --- phases */

static uint32_t draw(struct world *w, uint32_t max)
{
    return rng_chance(&w->rng, 1, 3) ? 0 : (uint32_t)rng_below(&w->rng, max + 1);
}

static void world_knobs(struct world *w)
{
    struct knobs *k = &w->k;
    struct rng *r = &w->rng;
    k->et = (uint32_t)rng_between(r, 60, 400);
    k->hb = MAX(k->et / (uint32_t)rng_between(r, 4, 10), 1);
    k->delay_max = (uint32_t)rng_between(r, 1, rng_chance(r, 1, 4) ? k->et / 2 : k->hb);
    k->drop = draw(w, 150);
    k->duplicate = draw(w, 150);
    k->disk_max = draw(w, rng_chance(r, 1, 4) ? k->et : k->hb);
    k->apply_late = draw(w, 60);
    k->crash = draw(w, 20);
    k->partition = draw(w, 10);
    k->flush = draw(w, 20);
    k->membership = draw(w, 40);
    k->transfer = draw(w, 10);
    k->campaign = draw(w, 6);
    k->trailing = draw(w, 40);
    k->cached = rng_chance(r, 1, 2) ? 1 << 20 : (uint32_t)rng_between(r, 1, 30);
    k->batch_max = (uint32_t)rng_between(r, 1, 8);
    k->payload_max = (uint32_t)rng_between(r, 1, 200);
    k->window = (uint32_t)rng_between(r, 4, 64);
    k->chaos_ms = MAX(k->et / (uint32_t)rng_between(r, 2, 12), 1);
    k->client_ms = MAX(k->et / (uint32_t)rng_between(r, 2, 24), 1);
}

static void world_bear(struct world *w)
{
    struct cons_base base = {.index = BORN_INDEX, .term = BORN_TERM, .config_index = BORN_INDEX};
    static const uint32_t sizes[] = {1, 2, 3, 3, 3, 3, 4, 5, 5};
    uint32_t n = sizes[rng_below(&w->rng, ARRAY_LEN(sizes))];

    base.config.n = n;
    for (uint32_t i = 0; i < n; i++)
        base.config.members[i] =
            (struct cons_member){.replica_id = i + 1, .store_id = 100 + i, .role = CONS_VOTER};
    history_init(&w->history, BORN_INDEX);
    w->floor = BORN_INDEX;
    for (uint32_t i = 0; i < n; i++)
        member_bear(&w->slots[world_add_slot(w)].m, &base, BORN_TERM, 0);
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
        if (!w->slots[i].is_destroyed)
            slot_start(w, i);
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
    w->now = 1000;
    w->guards_off = guards_off;
    w->is_verbose = is_verbose;
    world_knobs(w);
    world_bear(w);
    world_push(w, w->now, EVENT_CHAOS, 0);
    world_push(w, w->now, EVENT_CLIENT, 0);
    world_until(w, w->now + w->k.et * rng_between(&w->rng, 20, 60));
    if (!w->report.is_failed)
        world_settle_down(w);
    w->report.commits = w->history.n_commits;
    *ret_report = w->report;
    world_free(w);
}
