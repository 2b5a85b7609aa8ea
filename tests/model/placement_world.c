/* SPDX-License-Identifier: Apache-2.0 */
#include "placement_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/coding.h"
#include "base/hash.h"

enum event_kind {
    EV_STORE,  /* a store's second */
    EV_RANGE,  /* a range's heartbeat is due */
    EV_DRIVER, /* the drivers' ticks */
    EV_SECOND, /* the world's second */
    EV_NEMESIS,
    EV_CAUGHT_UP,
    EV_HB_STORE, /* messages */
    EV_HB_RANGE,
    EV_STEP,
    EV_RESULT,
    EV_REPORT,
};

struct w_event {
    uint64_t at_ms;
    uint64_t seq;
    enum event_kind kind;
    uint32_t store; /* index of who it is of, or for */
    uint64_t term;  /* of the driver it is for */
    uint64_t range_id;
    uint64_t replica_id;
    uint64_t boot;
    uint32_t chunk;
    int status;
    uint64_t operator_id;
    uint32_t step_index;
    /* of a heartbeat, as things were when it was sent */
    struct descriptor d;
    uint8_t start[16];
    uint8_t end[16];
    struct placement_range_heartbeat hb;
    struct placement_peer peers[W_MEMBERS_MAX];
    struct placement_step step;
    uint8_t key[16];
};

void w_fail(const struct world *w, const char *fmt, ...)
{
    va_list args;
    printf("seed %llu at %llu ms FAILED: ", (unsigned long long)w->seed,
           (unsigned long long)w->now_ms);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    exit(1);
}

void w_say(const struct world *w, const char *fmt, ...)
{
    va_list args;
    if (!w->is_verbose)
        return;
    printf("%9.3f  ", (double)w->now_ms / 1000);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

/* ---- the queue of events -------------------------------------------------------------- */

static bool is_before(const struct w_event *a, const struct w_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static void heap_push(struct world *w, struct w_event *ev)
{
    if (w->heap_count == w->heap_cap) {
        w->heap_cap = w->heap_cap == 0 ? 256 : w->heap_cap * 2;
        w->heap = realloc(w->heap, w->heap_cap * sizeof(struct w_event *));
        ASSERT(w->heap != NULL);
    }
    uint32_t at = w->heap_count++;
    while (at > 0 && is_before(ev, w->heap[(at - 1) / 2])) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = ev;
}

static struct w_event *heap_pop(struct world *w)
{
    struct w_event *first = w->heap[0];
    struct w_event *last = w->heap[--w->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && is_before(w->heap[child + 1], w->heap[child]))
            child++;
        if (!is_before(w->heap[child], last))
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return first;
}

static struct w_event *event_new(enum event_kind kind)
{
    struct w_event *ev = calloc(1, sizeof *ev);
    ASSERT(ev != NULL);
    ev->kind = kind;
    return ev;
}

static void event_at(struct world *w, struct w_event *ev, uint64_t at_ms)
{
    ev->at_ms = at_ms;
    ev->seq = ++w->event_seq;
    heap_push(w, ev);
}

/* Slices inside point into the event itself. */
static void event_fix(struct w_event *ev)
{
    ev->d.start.data = ev->start;
    ev->d.end.data = ev->end;
    ev->hb.descriptor = &ev->d;
    ev->hb.peers = ev->peers;
    ev->step.split.key.data = ev->key;
}

/* A message: late, perhaps lost, perhaps twice. */
static void send_message(struct world *w, struct w_event *ev)
{
    const struct w_knobs *k = &w->knobs;
    if (rng_chance(&w->rng, k->drop_permille, 1000)) {
        free(ev);
        return;
    }
    if (rng_chance(&w->rng, k->twice_permille, 1000)) {
        struct w_event *twin = event_new(ev->kind);
        *twin = *ev;
        event_fix(twin);
        event_at(w, twin, w->now_ms + 1 + rng_below(&w->rng, 5 * k->delay_max_ms + 1));
    }
    event_fix(ev);
    event_at(w, ev, w->now_ms + 1 + rng_below(&w->rng, k->delay_max_ms + 1));
}

/* ---- stores and ranges ------------------------------------------------------------------ */

struct w_range *world_range(const struct world *w, uint64_t id)
{
    return map_get(&w->range_by_id, id);
}

struct w_store *world_store(struct world *w, uint64_t store_id)
{
    for (uint32_t i = 0; i < w->store_count; i++) {
        if (w->stores[i].id == store_id)
            return &w->stores[i];
    }
    return NULL;
}

struct w_member *w_member_of(struct w_range *r, uint64_t replica_id)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].replica_id == replica_id)
            return &r->members[i];
    }
    return NULL;
}

bool w_member_lives(const struct world *w, const struct w_member *m)
{
    return w->stores[m->store].is_alive && !m->is_damaged;
}

bool w_has_majority(const struct world *w, const struct w_range *r)
{
    uint32_t voters = 0;
    uint32_t live = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        voters += r->members[i].is_voter;
        live += r->members[i].is_voter && w_member_lives(w, &r->members[i]);
    }
    return live > voters / 2;
}

static struct slice data_key(uint64_t key, uint8_t *out)
{
    out[0] = 0x02;
    put_u32be(out + 1, 1);
    put_u64be(out + 5, key);
    return slice_of(out, 13);
}

void w_describe(const struct world *w, const struct w_range *r, struct descriptor *d,
                uint8_t *start, uint8_t *end)
{
    *d = (struct descriptor){
        .range_id = r->id,
        .conf_epoch = r->conf,
        .span_epoch = r->span,
        .member_count = r->member_count,
        .start = r->id == 1 ? slice_of(start, 0) : data_key(r->lo, start),
        .end = data_key(r->hi, end),
    };
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct w_member *m = &r->members[i];
        const struct w_store *s = &w->stores[m->store];
        d->members[i] = (struct member){
            .replica_id = m->replica_id,
            .store_id = s->id,
            .role = m->is_voter ? MEMBER_VOTER : MEMBER_LEARNER,
            .address = slice_str(s->address),
        };
        memcpy(d->members[i].store_uuid, s->uuid, STORE_UUID_LEN);
    }
}

struct w_store *world_add_store(struct world *w)
{
    uint32_t i = w->store_count++;
    struct w_store *s = &w->stores[i];
    ASSERT(i < W_STORES_MAX);
    s->uuid[0] = (uint8_t)(i + 1);
    s->uuid[1] = 0xee;
    s->node = i % w->knobs.nodes;
    s->zone = s->node % MAX(w->knobs.zones, 1);
    snprintf(s->address, sizeof s->address, "store%u:7070", i);
    if (w->knobs.zones > 0)
        snprintf(s->labels, sizeof s->labels, "zone=z%u,node=n%u", s->zone, s->node);
    else
        snprintf(s->labels, sizeof s->labels, "node=n%u", s->node);
    s->capacity = UINT64_C(1) << 42;
    if (!w->knobs.same_capacity && rng_chance(&w->rng, 1, 3))
        s->capacity *= 2;
    s->is_alive = true;
    s->boot = 1;
    s->believes = w->term;
    struct w_event *ev = event_new(EV_STORE);
    ev->store = i;
    event_at(w, ev, w->now_ms + 1 + rng_below(&w->rng, 1000));
    return s;
}

void world_beat_soon(struct world *w, struct w_range *r)
{
    r->is_asleep = false;
    r->is_told = false;
    r->busy_ms = w->now_ms;
    if (r->is_beat_near)
        return;
    r->is_beat_near = true;
    struct w_event *ev = event_new(EV_RANGE);
    ev->range_id = r->id;
    event_at(w, ev, w->now_ms + 20 + rng_below(&w->rng, 200));
}

struct w_range *world_add_range(struct world *w, uint64_t id, uint64_t lo, uint64_t hi,
                                const uint32_t *stores, uint32_t count)
{
    struct w_range *r = calloc(1, sizeof *r);
    ASSERT(r != NULL);
    if (world_range(w, id) != NULL)
        w_fail(w, "a second range %llu is made", (unsigned long long)id);
    if (w->range_count == w->range_cap) {
        w->range_cap = w->range_cap == 0 ? 64 : w->range_cap * 2;
        w->ranges = realloc(w->ranges, w->range_cap * sizeof(struct w_range *));
        ASSERT(w->ranges != NULL);
    }
    *r = (struct w_range){.id = id, .lo = lo, .hi = hi, .conf = 1, .span = 1, .raft_term = 5};
    r->at = w->range_count;
    r->index = 100000;
    w->ranges[w->range_count++] = r;
    int rv = map_put(&w->range_by_id, id, r);
    ASSERT(rv == 0);
    for (uint32_t i = 0; i < count; i++)
        r->members[r->member_count++] = (struct w_member){
            .replica_id = id * 8 + i,
            .store = stores[i],
            .is_voter = true,
            .is_caught_up = true,
        };
    r->leader = count > 0 ? r->members[0].replica_id : 0;
    r->bytes = w->knobs.range_bytes;
    if (!w->is_scale)
        world_beat_soon(w, r);
    return r;
}

/* ---- rows ------------------------------------------------------------------------------- */

static uint64_t row_hash(struct slice key)
{
    static const uint64_t seed[2] = {1, 2};
    return hash_keyed(seed, key);
}

static void row_put(struct world *w, const struct placement_row *row)
{
    uint64_t h = row_hash(row->key);
    struct w_row *old = map_remove(&w->rows, h);
    if (old != NULL) {
        free(old->value);
        free(old);
    }
    if (row->is_delete)
        return;
    struct w_row *new = calloc(1, sizeof *new);
    ASSERT(new != NULL && row->key.len < sizeof new->key);
    memcpy(new->key, row->key.data, row->key.len);
    new->len = row->value.len;
    new->value = malloc(new->len + 1);
    ASSERT(new->value != NULL);
    if (new->len > 0)
        memcpy(new->value, row->value.data, new->len);
    int rv = map_put(&w->rows, h, new);
    ASSERT(rv == 0);
}

static void rows_apply(struct world *w, const struct placement_write *write)
{
    for (uint32_t i = 0; i < write->row_count; i++)
        row_put(w, &write->rows[i]);
}

/* ---- drivers ------------------------------------------------------------------------------ */

static struct w_driver *driver_of(struct world *w, uint64_t term)
{
    for (int i = 0; i < 2; i++) {
        if (w->drivers[i].p != NULL && w->drivers[i].term == term)
            return &w->drivers[i];
    }
    return NULL;
}

static void driver_free(struct w_driver *d)
{
    placement_free(d->p);
    *d = (struct w_driver){0};
}

static void driver_start(struct world *w)
{
    struct placement_options options = {
        .term = ++w->term,
        .now_ms = w->now_ms,
        .seed = w->seed + w->term,
        .first_id = {[PLACEMENT_IDS_RANGE] = 1000000, [PLACEMENT_IDS_REPLICA] = 10000000},
    };
    struct w_driver *d = &w->drivers[0];
    uint32_t cursor = 0;
    *d = (struct w_driver){.p = placement_new(&options), .term = w->term};
    ASSERT(d->p != NULL);
    for (struct w_row *row; (row = map_next(&w->rows, &cursor, NULL)) != NULL;) {
        struct err err = {0};
        if (placement_load(d->p, slice_str(row->key), slice_of(row->value, row->len), &err) != 0)
            w_fail(w, "load: %s", err.msg);
    }
    placement_loaded(d->p, w->now_ms);
    for (uint32_t i = 0; i < w->store_count; i++)
        w->stores[i].driver_heard_ms = w->now_ms; /* it gives them time from when it began */
}

void world_fail_over(struct world *w)
{
    struct w_driver *old = &w->drivers[0];
    w->n_fail_overs++;
    w_say(w, "term %llu ends", (unsigned long long)w->term);
    driver_free(&w->drivers[1]);
    if (old->write_id != 0) {
        bool is_applied = rng_chance(&w->rng, 1, 2);
        if (is_applied)
            rows_apply(w, &old->write);
        placement_written(old->p, old->write_id, ERR_UNDETERMINED);
        old->write_id = 0;
    }
    w->drivers[1] = *old;
    w->drivers[1].die_ms = w->now_ms + rng_below(&w->rng, 30000);
    driver_start(w);
}

static void driver_writes(struct world *w, struct w_driver *d)
{
    if (d->write_id != 0 && w->now_ms >= d->write_ms) {
        uint64_t id = d->write_id;
        d->write_id = 0;
        if (d->die_ms == 0)
            rows_apply(w, &d->write);
        placement_written(d->p, id, d->die_ms == 0 ? 0 : ERR_NOT_LEADER);
    }
    while (d->write_id == 0 && placement_next_write(d->p, &d->write)) {
        if (d->write.term != d->term)
            w_fail(w, "a write of term %llu in term %llu", (unsigned long long)d->write.term,
                   (unsigned long long)d->term);
        if (w->is_troubled && rng_chance(&w->rng, 1, 10)) {
            placement_written(d->p, d->write.id, ERR_BUSY);
            return;
        }
        d->write_id = d->write.id;
        d->write_ms = w->now_ms + rng_below(&w->rng, w->is_troubled ? 3000 : 100);
    }
}

static void send_step(struct world *w, const struct placement_step *step)
{
    struct w_store *s = world_store(w, step->to_store);
    if (s == NULL)
        w_fail(w, "a step for a store that is none: %llu", (unsigned long long)step->to_store);
    struct w_event *ev = event_new(EV_STEP);
    ev->step = *step;
    ASSERT(step->split.key.len <= sizeof ev->key);
    if (step->split.key.len > 0)
        memcpy(ev->key, step->split.key.data, step->split.key.len);
    ev->store = (uint32_t)(s - w->stores);
    send_message(w, ev);
}

static void driver_turn(struct world *w, struct w_driver *d)
{
    struct placement_step step;
    if (d->die_ms != 0 && w->now_ms >= d->die_ms) {
        driver_free(d);
        return;
    }
    driver_writes(w, d);
    placement_tick(d->p, w->now_ms);
    driver_writes(w, d);
    while (placement_next_step(d->p, &step)) {
        judge_step_given(w, d, &step);
        send_step(w, &step);
    }
    judge_driver(w, d);
}

static void on_driver(struct world *w, struct w_event *ev)
{
    for (int i = 0; i < 2; i++) {
        if (w->drivers[i].p != NULL)
            driver_turn(w, &w->drivers[i]);
    }
    event_at(w, ev, w->now_ms + (w->is_scale ? 1000 : 500));
}

/* ---- what stores tell ------------------------------------------------------------------------ */

static void try_join(struct world *w, struct w_store *s)
{
    struct w_driver *d = &w->drivers[0];
    struct err err = {0};
    struct placement_join join = {.address = slice_str(s->address), .labels = slice_str(s->labels)};
    memcpy(join.uuid, s->uuid, sizeof join.uuid);
    uint64_t id = 0;
    int rv = placement_on_join(d->p, w->now_ms, &join, &id, &err);
    if (rv == ERR_BUSY)
        return;
    if (rv != 0)
        w_fail(w, "join: %s", err.msg);
    if (world_store(w, id) != NULL)
        w_fail(w, "store id %llu is given out twice", (unsigned long long)id);
    s->id = id;
    s->joined_ms = w->now_ms;
    s->seen_term = s->believes = w->term; /* who gave the id is known: older ones are not heard */
    w_say(w, "store %llu joins on node %u zone %u", (unsigned long long)id, s->node, s->zone);
}

static void on_store(struct world *w, struct w_event *ev)
{
    struct w_store *s = &w->stores[ev->store];
    uint32_t store = ev->store;
    event_at(w, ev, w->now_ms + 1000);
    if (!s->is_alive || s->is_gone)
        return;
    if (s->id == 0) {
        try_join(w, s);
        return;
    }
    if (s->believes < w->term && rng_chance(&w->rng, 1, 3))
        s->believes = w->term;
    struct w_event *hb = event_new(EV_HB_STORE);
    hb->store = store;
    hb->boot = s->boot;
    hb->term = s->believes;
    send_message(w, hb);
}

/* The text of one replica in a report, kept until the report is handed over. */
struct told {
    struct descriptor d;
    uint8_t start[16];
    uint8_t end[16];
};

/* Replicas `from` … of all that a store has, and of what it has by mistake still. How many. */
static uint32_t make_report(struct world *w, struct w_store *s, uint32_t from, uint32_t max,
                            struct placement_report_replica *out, struct told *told)
{
    uint32_t store = (uint32_t)(s - w->stores);
    uint32_t at = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->range_count && n < max; i++) {
        struct w_range *r = w->ranges[i];
        for (uint32_t k = 0; k < r->member_count && !r->is_ended; k++) {
            if (r->members[k].store != store || at++ < from)
                continue;
            w_describe(w, r, &told[n].d, told[n].start, told[n].end);
            out[n] = (struct placement_report_replica){
                .descriptor = &told[n].d,
                .replica_id = r->members[k].replica_id,
                .is_leader = r->leader == r->members[k].replica_id,
                .is_asleep = r->is_asleep,
                .leader_term = r->raft_term,
                .bytes = r->bytes,
            };
            n++;
        }
    }
    for (uint32_t i = 0; i < s->stale_count && n < max; i++) {
        if (at++ >= from)
            out[n++] = (struct placement_report_replica){
                .descriptor = &s->stale[i].d,
                .replica_id = s->stale[i].replica_id,
            };
    }
    return n;
}

static void send_report(struct world *w, struct w_store *s, uint32_t chunk, uint64_t term)
{
    struct w_event *ev = event_new(EV_REPORT);
    ev->store = (uint32_t)(s - w->stores);
    ev->term = term;
    ev->boot = s->boot;
    ev->chunk = chunk;
    send_message(w, ev);
}

static void on_report(struct world *w, struct w_event *ev)
{
    static struct told told[W_REPORT_CHUNK_MAX];
    static struct placement_report_replica replicas[W_REPORT_CHUNK_MAX];
    struct w_driver *d = driver_of(w, ev->term);
    struct w_store *s = &w->stores[ev->store];
    uint32_t max = w->knobs.report_chunk;
    if (d == NULL || !s->is_alive || s->boot != ev->boot)
        return;
    uint32_t count = make_report(w, s, ev->chunk * max, max, replicas, told);
    placement_on_report(d->p, w->now_ms, s->id, s->boot, ev->chunk, replicas, count, count < max);
    if (count == max)
        send_report(w, s, ev->chunk + 1, ev->term);
}

static void on_hb_store(struct world *w, struct w_event *ev)
{
    struct w_driver *d = driver_of(w, ev->term);
    struct w_store *s = &w->stores[ev->store];
    struct placement_store_reply reply;
    if (d == NULL)
        return;
    struct placement_store_heartbeat hb = {
        .store_id = s->id,
        .boot = ev->boot,
        .address = slice_str(s->address),
        .labels = slice_str(s->labels),
        .capacity_bytes = s->capacity,
        .free_bytes = s->capacity,
    };
    memcpy(hb.uuid, s->uuid, sizeof hb.uuid);
    s->heard_ms = w->now_ms;
    if (d == &w->drivers[0])
        s->driver_heard_ms = w->now_ms;
    placement_on_store_heartbeat(d->p, w->now_ms, &hb, &reply);
    if (!s->is_alive || reply.term < s->seen_term)
        return;
    s->seen_term = reply.term;
    if (reply.verdict != PLACEMENT_WELCOME && s->is_leaving) {
        s->is_gone = true;
        w_say(w, "store %llu has left", (unsigned long long)s->id);
    } else if (reply.verdict != PLACEMENT_WELCOME) {
        w_fail(w, "store %llu is not known any more", (unsigned long long)s->id);
    } else if (reply.wants_report) {
        send_report(w, s, reply.report_chunk, ev->term);
    }
}

/* ---- what leaders tell ------------------------------------------------------------------------
 */

static void fill_peers(struct world *w, const struct w_range *r, struct w_event *ev)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct w_member *m = &r->members[i];
        uint64_t since = m->is_damaged ? m->damaged_ms : w->stores[m->store].died_ms;
        if (m->replica_id == r->leader)
            continue;
        ev->peers[ev->hb.peer_count++] = (struct placement_peer){
            .replica_id = m->replica_id,
            .match_index = m->is_caught_up ? r->index : 0,
            .contact_age_ms = w_member_lives(w, m) ? 20 : w->now_ms - since,
        };
    }
}

static void on_range(struct world *w, struct w_event *ev)
{
    struct w_range *r = world_range(w, ev->range_id);
    r->is_beat_near = false;
    if (r->is_ended)
        return;
    struct w_member *leader = w_member_of(r, r->leader);
    if (leader == NULL || !w_member_lives(w, leader))
        return; /* world_second() sees to it */
    const struct w_store *s = &w->stores[leader->store];
    struct w_event *hb = event_new(EV_HB_RANGE);
    w_describe(w, r, &hb->d, hb->start, hb->end);
    hb->term = s->believes;
    hb->range_id = r->id;
    hb->store = leader->store;
    hb->hb = (struct placement_range_heartbeat){
        .store_id = s->id,
        .replica_id = r->leader,
        .leader_term = r->raft_term,
        .last_index = r->index,
        .bytes = r->bytes,
        .qps = r->qps,
        .write_bytes_s = r->write_bytes_s,
        .is_asleep = r->is_asleep,
    };
    fill_peers(w, r, hb);
    send_message(w, hb);
    r->beat_ms = w->now_ms + 10000;
}

static void on_hb_range(struct world *w, struct w_event *ev)
{
    struct w_driver *d = driver_of(w, ev->term);
    struct placement_step step;
    if (d == NULL)
        return;
    struct w_range *r = world_range(w, ev->range_id);
    if (r->is_asleep && ev->hb.is_asleep && ev->hb.leader_term == r->raft_term)
        r->is_told = true;
    if (placement_on_range_heartbeat(d->p, w->now_ms, &ev->hb, &step) == 1) {
        judge_step_given(w, d, &step);
        if (step.range_id != ev->hb.descriptor->range_id)
            w_fail(w, "a reply about another range");
        send_step(w, &step);
    }
}

static void on_caught_up(struct world *w, const struct w_event *ev)
{
    struct w_range *r = world_range(w, ev->range_id);
    struct w_member *m = w_member_of(r, ev->replica_id);
    if (m == NULL || !w_member_lives(w, m) || r->is_ended)
        return;
    m->is_caught_up = true;
    world_beat_soon(w, r);
}

static void learner_begins(struct world *w, struct w_range *r, uint64_t replica_id)
{
    struct w_event *ev = event_new(EV_CAUGHT_UP);
    uint64_t ms = r->bytes * 1000 / w->knobs.send_bytes_s;
    ev->range_id = r->id;
    ev->replica_id = replica_id;
    if (rng_chance(&w->rng, w->knobs.stuck_permille, 1000))
        ms += 600000;
    event_at(w, ev, w->now_ms + 50 + ms + rng_below(&w->rng, 1000));
}

/* Those who had not caught up as their range was split get the right half from its own leader. */
static void split_learners_begin(struct world *w, struct w_range *right)
{
    for (uint32_t i = 0; i < right->member_count; i++) {
        if (!right->members[i].is_caught_up)
            learner_begins(w, right, right->members[i].replica_id);
    }
}

static void on_step(struct world *w, struct w_event *ev)
{
    struct w_store *s = &w->stores[ev->store];
    if (!s->is_alive)
        return;
    struct w_event *result = event_new(EV_RESULT);
    result->store = ev->store;
    result->term = ev->step.term;
    result->operator_id = ev->step.operator_id;
    result->step_index = ev->step.index;
    result->status = world_apply(w, s, &ev->step);
    if (result->status == 0 && ev->step.kind == PLACEMENT_ADD_LEARNER)
        learner_begins(w, world_range(w, ev->step.range_id), ev->step.member.replica_id);
    if (result->status == 0 && ev->step.kind == PLACEMENT_SPLIT)
        split_learners_begin(w, world_range(w, ev->step.split.range_id));
    w->hash = hash_mix(w->hash, ev->step.operator_id * 64 + ev->step.kind);
    send_message(w, result);
}

static void on_result(struct world *w, const struct w_event *ev)
{
    struct w_driver *d = driver_of(w, ev->term);
    if (d != NULL)
        placement_on_step_result(d->p, w->now_ms, ev->operator_id, ev->step_index, ev->status,
                                 slice_str("no"));
}

/* ---- time
 * ---------------------------------------------------------------------------------------- */

static void run_event(struct world *w, struct w_event *ev)
{
    bool is_kept = true;
    w->n_events++;
    w->hash = hash_mix(w->hash, ev->at_ms * 16 + ev->kind);
    switch (ev->kind) {
    case EV_STORE:
        on_store(w, ev);
        break;
    case EV_DRIVER:
        on_driver(w, ev);
        break;
    case EV_SECOND:
        world_second(w);
        event_at(w, ev, w->now_ms + 1000);
        break;
    case EV_NEMESIS:
        if (w->is_troubled)
            world_nemesis(w);
        event_at(w, ev, w->now_ms + 1 + rng_below(&w->rng, 2 * w->knobs.nemesis_ms + 1));
        break;
    default:
        is_kept = false;
    }
    if (is_kept)
        return;
    if (ev->kind == EV_RANGE)
        on_range(w, ev);
    else if (ev->kind == EV_CAUGHT_UP)
        on_caught_up(w, ev);
    else if (ev->kind == EV_HB_STORE)
        on_hb_store(w, ev);
    else if (ev->kind == EV_HB_RANGE)
        on_hb_range(w, ev);
    else if (ev->kind == EV_STEP)
        on_step(w, ev);
    else if (ev->kind == EV_RESULT)
        on_result(w, ev);
    else
        on_report(w, ev);
    free(ev);
}

void world_run(struct world *w, uint64_t until_ms)
{
    while (w->heap_count > 0 && w->heap[0]->at_ms <= until_ms) {
        struct w_event *ev = heap_pop(w);
        w->now_ms = MAX(w->now_ms, ev->at_ms);
        run_event(w, ev);
    }
    w->now_ms = MAX(w->now_ms, until_ms);
}

void world_init(struct world *w, uint64_t seed, bool is_verbose)
{
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->is_verbose = is_verbose;
    w->now_ms = 1000;
    rng_init(&w->rng, seed);
}

void world_birth(struct world *w)
{
    driver_start(w);
    for (uint32_t i = 0; i < w->knobs.stores; i++)
        world_add_store(w);
    event_at(w, event_new(EV_DRIVER), w->now_ms + 100);
    event_at(w, event_new(EV_SECOND), w->now_ms + 1000);
    if (w->knobs.nemesis_ms > 0)
        event_at(w, event_new(EV_NEMESIS), w->now_ms + 30000);
}

static void free_ids(struct map *ids)
{
    uint32_t cursor = 0;
    for (void *v; (v = map_next(ids, &cursor, NULL)) != NULL;)
        free(v);
    map_fini(ids);
}

void world_fini(struct world *w)
{
    uint32_t cursor = 0;
    driver_free(&w->drivers[0]);
    driver_free(&w->drivers[1]);
    while (w->heap_count > 0)
        free(heap_pop(w));
    for (uint32_t i = 0; i < w->range_count; i++)
        free(w->ranges[i]);
    for (struct w_row *row; (row = map_next(&w->rows, &cursor, NULL)) != NULL;) {
        free(row->value);
        free(row);
    }
    map_fini(&w->rows);
    map_fini(&w->range_by_id);
    map_fini(&w->replica_ids);
    map_fini(&w->range_ids);
    map_fini(&w->operator_ids);
    free_ids(&w->last_step);
    free(w->heap);
    free(w->ranges);
}
