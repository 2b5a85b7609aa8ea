/* SPDX-License-Identifier: Apache-2.0
 *
 * Between stores and placement: heartbeats, reports and results in, words out; joins.
 */
#include <stdio.h>
#include <stdlib.h>

#include "net/net_client.h"
#include "store/driver_internal.h"
#include "store/service.h"
#include "wire/driver_msg.h"

enum {
    ALIVE_US = 5 * 1000 * 1000, /* a store that was heard of since then is alive */
    TELL_ALL_US = 10 * 1000 * 1000,
    RIVAL_US = 3 * 1000 * 1000, /* two processes of one store that overlap so long are two */
};

/* ---- words ---------------------------------------------------------------------------- */

static void item_of(const struct book_entry *e, struct book_item *ret)
{
    *ret = (struct book_item){
        .store_id = e->store_id,
        .version = e->version,
        .is_removed = e->is_removed,
        .address = slice_str(e->address),
    };
    memcpy(ret->store_uuid, e->uuid, sizeof ret->store_uuid);
}

/* What of the book is newer than revision `told`. */
static struct pack_list news_since(const struct store *store, uint64_t told, struct buf *raw)
{
    struct pack_list list = {0};
    const struct book_entry *e;
    for (uint32_t i = 0; (e = book_at(&store->book, i)) != NULL; i++) {
        struct book_item item;
        if (e->revision <= told)
            continue;
        item_of(e, &item);
        book_item_append(raw, &item);
        list.count++;
    }
    list.raw = buf_slice(raw);
    return list;
}

static void send_word(struct driver *d, uint64_t to_store, struct driver_word *word)
{
    struct buf out;
    word->term = d->term;
    buf_init(&out, FRAME_BODY_MAX);
    driver_word_encode(&out, word);
    store_tell(d->store, to_store, NET_URGENT, &out);
    buf_fini(&out);
}

/* Everybody hears of a store before that one writes to them: each connection keeps its
 * order, and others refuse who they do not know. */
static void push_news(struct driver *d)
{
    uint32_t cursor = 0;
    struct driver_store *s;
    while ((s = map_next(&d->stores, &cursor, NULL)) != NULL) {
        struct buf raw;
        struct driver_word word = {0};
        if (s->heard_us == 0 || s->told >= book_revision(&d->store->book))
            continue;
        buf_init(&raw, FRAME_BODY_MAX / 2);
        word.peers = news_since(d->store, s->told, &raw);
        if (!raw.failed && word.peers.count > 0) {
            send_word(d, s->store_id, &word);
            s->told = book_revision(&d->store->book);
        }
        buf_fini(&raw);
    }
}

static enum step_kind kind_of(enum placement_step_kind kind)
{
    switch (kind) {
    case PLACEMENT_ADD_LEARNER:
        return STEP_ADD_LEARNER;
    case PLACEMENT_PROMOTE:
        return STEP_PROMOTE;
    case PLACEMENT_REMOVE:
        return STEP_REMOVE;
    case PLACEMENT_TRANSFER:
        return STEP_TRANSFER;
    case PLACEMENT_SPLIT:
        return STEP_SPLIT;
    case PLACEMENT_RETAIN:
        return STEP_RETAIN;
    case PLACEMENT_MERGE:
        break;
    }
    return STEP_MERGE;
}

static void order_of(const struct placement_step *step, struct step_order *order)
{
    *order = (struct step_order){
        .operator_id = step->operator_id,
        .number = step->index,
        .range_id = step->range_id,
        .conf_epoch = step->conf_epoch,
        .span_epoch = step->span_epoch,
        .kind = kind_of(step->kind),
        .replica_id = step->member.replica_id,
        .store_id = step->member.store_id,
        .retention_ms = step->retention_ms,
    };
    if (step->kind == PLACEMENT_SPLIT) {
        order->key = step->split.by == PLACEMENT_SPLIT_BY_KEY ? step->split.key : (struct slice){0};
        order->is_by_load = step->split.by == PLACEMENT_SPLIT_BY_LOAD;
        order->new_range_id = step->split.range_id;
        order->child_count = step->split.child_count;
        for (uint32_t i = 0; i < step->split.child_count; i++)
            order->children[i] = (struct step_child){
                .store_id = step->split.children[i].store_id,
                .replica_id = step->split.children[i].replica_id,
            };
    }
    if (step->kind == PLACEMENT_MERGE) {
        order->new_range_id = step->merge.range_id;
        order->right_conf_epoch = step->merge.conf_epoch;
        order->right_span_epoch = step->merge.span_epoch;
    }
}

void driver_send_step(struct driver *d, const struct placement_step *step)
{
    struct step_order order;
    struct driver_word word = {0};
    struct buf raw;
    ASSERT(step->term == d->term);
    order_of(step, &order);
    buf_init(&raw, FRAME_BODY_MAX / 2);
    step_order_append(&raw, &order);
    word.steps = (struct pack_list){.count = 1, .raw = buf_slice(&raw)};
    LOG_DEBUG(d->store->logger, "step_sent", "to=%llu range=%llu operator=%llu step=%u",
              (unsigned long long)step->to_store, (unsigned long long)step->range_id,
              (unsigned long long)step->operator_id, step->index);
    if (!raw.failed)
        send_word(d, step->to_store, &word);
    buf_fini(&raw);
}

/* ---- heartbeats of stores ----------------------------------------------------------------- */

/* A driver that is new goes on from the book: who stands there was here first. Of its own
 * store it need not ask. */
static void recall_store(const struct driver *d, struct driver_store *s, uint64_t now_us)
{
    const struct book_entry *e = book_find(&d->store->book, s->store_id);
    if (s->heard_us != 0 || e == NULL || e->version == 0 || s->store_id == d->store->opt.store_id)
        return;
    s->boot = e->version;
    s->heard_us = now_us;
    snprintf(s->address, sizeof s->address, "%s", e->address);
}

/* Is this beat of the process that is taken for the store? Two may say so: one is a copy
 * of the other's folder, and who was here first stays (a restart under another address
 * waits until the old process has fallen silent). Copies of a folder that stood count
 * their boots alike: it is the address that tells them apart, for no process changes its. */
static bool is_the_store(struct driver_store *s, const struct store_beat *beat, uint64_t now_us,
                         bool *is_twice)
{
    bool is_same = slice_equal(slice_str(s->address), beat->address);
    bool is_alive = s->heard_us != 0 && now_us - s->heard_us < ALIVE_US;
    *is_twice = false;
    if (is_same || !is_alive) {
        s->rival_boot = is_same && s->boot == beat->boot ? s->rival_boot : 0;
        return true;
    }
    if (s->rival_boot != beat->boot) {
        s->rival_boot = beat->boot;
        s->rival_us = now_us;
    }
    *is_twice = s->heard_us > s->rival_us; /* both are alive */
    return false;
}

/* Words go to the address in the book: one for a copy must not come to the other. */
static bool is_dialled_at(const struct store *store, uint64_t store_id, struct slice address)
{
    const struct book_entry *e = book_find(&store->book, store_id);
    return e != NULL && slice_equal(slice_str(e->address), address);
}

static void take_store(struct driver *d, struct driver_store *s, const struct store_beat *beat,
                       uint64_t now_us)
{
    struct book_item item = {
        .store_id = s->store_id, .version = beat->boot, .address = beat->address};
    memcpy(item.store_uuid, beat->store_uuid, sizeof item.store_uuid);
    if (s->boot != beat->boot)
        s->told = 0; /* it knows what it knew when it stopped */
    s->boot = beat->boot;
    s->heard_us = now_us;
    snprintf(s->address, sizeof s->address, "%.*s",
             (int)MIN(beat->address.len, sizeof s->address - 1), (const char *)beat->address.data);
    if (now_us - s->told_us >= TELL_ALL_US) {
        s->told = 0;
        s->told_us = now_us;
    }
    store_learn(d->store, &item);
    book_save(&d->store->book);
}

static enum placement_space space_of(uint32_t mark)
{
    if (mark >= WATERMARK_NO_PUTS)
        return PLACEMENT_SPACE_FULL;
    return mark >= WATERMARK_NO_REPLICAS ? PLACEMENT_SPACE_LOW : PLACEMENT_SPACE_OK;
}

static enum placement_lead placement_lead_of(uint32_t lead)
{
    if (lead == STORE_LEAD_GLADLY)
        return PLACEMENT_LEAD_GLADLY;
    return lead == STORE_LEAD_NEVER ? PLACEMENT_LEAD_NEVER : PLACEMENT_LEAD_LAST;
}

static void hear_store(struct driver *d, uint64_t store_id, const struct store_beat *beat,
                       struct placement_store_reply *reply)
{
    struct placement_store_heartbeat hb = {
        .store_id = store_id,
        .boot = beat->boot,
        .address = beat->address,
        .labels = beat->labels,
        .capacity_bytes = beat->capacity,
        .free_bytes = beat->free_bytes,
        .space = space_of(beat->mark),
        .qps = beat->requests,
        .write_bytes_s = beat->write_bytes,
        .snapshots_in = beat->snapshots_in,
        .snapshots_out = beat->snapshots_out,
        .is_stalled = beat->is_stalled,
        .level = beat->level,
        .lead = placement_lead_of(beat->lead),
    };
    memcpy(hb.uuid, beat->store_uuid, sizeof hb.uuid);
    placement_on_store_heartbeat(d->placement, driver_now_ms(d), &hb, reply);
    if (reply->are_labels_refused)
        LOG_WARN(d->store->logger, "labels_refused", "store=%llu", (unsigned long long)store_id);
}

static enum driver_verdict verdict_of(enum placement_verdict verdict)
{
    switch (verdict) {
    case PLACEMENT_WELCOME:
        return DRIVER_WELCOME;
    case PLACEMENT_NOT_KNOWN:
        return DRIVER_NOT_KNOWN;
    case PLACEMENT_OTHER_UUID:
        break;
    }
    return DRIVER_OTHER_UUID;
}

static void answer_beat(struct driver *d, uint64_t from_store, const struct store_beat *beat)
{
    struct placement_store_reply reply;
    struct driver_word word = {.seq = beat->seq};
    uint64_t now_us = env_now_us(d->store->env);
    struct driver_store *s = driver_store_get(d, from_store);
    bool is_twice;
    struct buf raw;
    if (s == NULL)
        return;
    recall_store(d, s, now_us);
    if (!is_the_store(s, beat, now_us, &is_twice)) {
        word.verdict = DRIVER_TWICE;
        if (is_twice && is_dialled_at(d->store, from_store, beat->address))
            send_word(d, from_store, &word);
        return;
    }
    hear_store(d, from_store, beat, &reply);
    word.verdict = verdict_of(reply.verdict);
    word.wants_report = reply.wants_report;
    word.report_chunk = reply.report_chunk;
    word.is_draining = reply.is_draining || reply.is_decommissioning;
    if (word.verdict == DRIVER_WELCOME)
        take_store(d, s, beat, now_us);
    else
        s->refused_us = now_us;
    buf_init(&raw, FRAME_BODY_MAX / 2);
    if (word.verdict == DRIVER_WELCOME)
        word.peers = news_since(d->store, s->told, &raw);
    if (!raw.failed) {
        s->told = book_revision(&d->store->book);
        send_word(d, from_store, &word);
    }
    buf_fini(&raw);
    push_news(d);
    driver_flush_later(d);
}

/* Who does not host placement tells who may. */
static void answer_elsewhere(struct store *store, uint64_t to_store)
{
    struct driver_at at = {.store_id = beats_leader(store)};
    struct buf out;
    if (to_store == store->opt.store_id || at.store_id == store->opt.store_id)
        return;
    buf_init(&out, FRAME_BODY_MAX);
    driver_at_encode(&out, &at);
    store_tell(store, to_store, NET_URGENT, &out);
    buf_fini(&out);
}

int driver_on_store_beat(struct store *store, uint64_t from_store, struct slice body,
                         struct err *err)
{
    struct store_beat beat;
    int rv = store_beat_decode(body, &beat, err);
    if (rv != 0)
        return rv;
    struct driver *d = store->driver;
    if (d != NULL && driver_is_running(d))
        answer_beat(d, from_store, &beat);
    else if (!store_is_static(store))
        answer_elsewhere(store, from_store);
    return 0;
}

/* ---- ranges --------------------------------------------------------------------------------- */

static void descriptor_of(const struct range_state *state, struct descriptor *d)
{
    *d = (struct descriptor){
        .range_id = state->range_id,
        .start = state->start,
        .end = state->end,
        .conf_epoch = state->conf_epoch,
        .span_epoch = state->span_epoch,
        .member_count = state->member_count,
    };
    for (uint32_t i = 0; i < state->member_count; i++)
        d->members[i] = (struct member){
            .replica_id = state->members[i].replica_id,
            .store_id = state->members[i].store_id,
            .role = state->members[i].role,
        };
}

static void hear_led(struct driver *d, uint64_t from_store, const struct range_state *state)
{
    struct descriptor descriptor;
    struct placement_peer peers[DESCRIPTOR_MEMBERS_MAX];
    struct placement_step step;
    struct placement_range_heartbeat hb = {
        .descriptor = &descriptor,
        .store_id = from_store,
        .replica_id = state->replica_id,
        .leader_term = state->term,
        .last_index = state->last_index,
        .is_asleep = state->is_asleep,
        .bytes = state->bytes,
        .keys = state->keys,
        .retention_ms = state->retention_ms,
        .qps = (uint32_t)MIN(state->requests, (uint64_t)UINT32_MAX),
        .write_bytes_s = (uint32_t)MIN(state->write_bytes, (uint64_t)UINT32_MAX),
        .peers = peers,
    };
    descriptor_of(state, &descriptor);
    for (uint32_t i = 0; i < state->member_count; i++) {
        const struct range_member *m = &state->members[i];
        if (m->replica_id == state->replica_id)
            continue;
        peers[hb.peer_count++] = (struct placement_peer){
            .replica_id = m->replica_id,
            .match_index = m->match,
            .contact_age_ms = m->age_ms == UINT32_MAX ? UINT64_MAX : m->age_ms,
        };
    }
    if (placement_on_range_heartbeat(d->placement, driver_now_ms(d), &hb, &step) == 1)
        driver_send_step(d, &step);
}

static void hear_report(struct driver *d, uint64_t from_store, const struct range_beat *beat)
{
    struct driver_store *s = driver_store_get(d, from_store);
    uint32_t count = beat->ranges.count;
    struct descriptor *descriptors = calloc(count + 1, sizeof *descriptors);
    struct placement_report_replica *replicas = calloc(count + 1, sizeof *replicas);
    struct unpack u = unpack_of(beat->ranges.raw);
    for (uint32_t i = 0; descriptors != NULL && replicas != NULL && i < count; i++) {
        struct range_state state;
        range_state_next(&u, &state);
        descriptor_of(&state, &descriptors[i]);
        replicas[i] = (struct placement_report_replica){
            .descriptor = &descriptors[i],
            .replica_id = state.replica_id,
            .is_leader = state.is_leader,
            .is_asleep = state.is_asleep,
            .leader_term = state.term,
            .bytes = state.bytes,
            .keys = state.keys,
            .retention_ms = state.retention_ms,
        };
    }
    if (s != NULL && descriptors != NULL && replicas != NULL)
        placement_on_report(d->placement, driver_now_ms(d), from_store, s->boot, beat->chunk,
                            replicas, count, beat->is_last);
    free(descriptors);
    free(replicas);
}

int driver_on_range_beat(struct store *store, uint64_t from_store, struct slice body,
                         struct err *err)
{
    struct driver *d = store->driver;
    struct range_beat beat;
    int rv = range_beat_decode(body, &beat, err);
    if (rv != 0 || d == NULL || !driver_is_running(d))
        return rv;
    if (beat.is_report && beat.term == d->term)
        hear_report(d, from_store, &beat);
    struct unpack u = unpack_of(beat.ranges.raw);
    for (uint32_t i = 0; !beat.is_report && i < beat.ranges.count; i++) {
        struct range_state state;
        range_state_next(&u, &state);
        hear_led(d, from_store, &state);
    }
    driver_flush_later(d);
    return 0;
}

int driver_on_step_done(struct store *store, uint64_t from_store, struct slice body,
                        struct err *err)
{
    struct driver *d = store->driver;
    struct step_done done;
    int rv = step_done_decode(body, &done, err);
    (void)from_store;
    if (rv != 0 || d == NULL || !driver_is_running(d) || done.term != d->term)
        return rv;
    placement_on_step_result(d->placement, driver_now_ms(d), done.operator_id, done.number,
                             done.status, done.text);
    driver_flush_later(d);
    return 0;
}

/* ---- joins --------------------------------------------------------------------------- */

/* A store of the book with this uuid; NULL if there is none. */
static const struct book_entry *known_uuid(const struct store *store, const uint8_t *uuid)
{
    const struct book_entry *e;
    for (uint32_t i = 0; (e = book_at(&store->book, i)) != NULL; i++) {
        if (memcmp(e->uuid, uuid, sizeof e->uuid) == 0)
            return e;
    }
    return NULL;
}

/* Does somebody else run under this uuid, or did so a moment ago? */
static int check_twice(struct driver *d, const struct request_join *join, struct err *err)
{
    const struct book_entry *e = known_uuid(d->store, join->store_uuid);
    const struct driver_store *s = e == NULL ? NULL : map_get(&d->stores, e->store_id);
    if (s == NULL || s->heard_us == 0 || slice_equal(slice_str(s->address), join->address) ||
        env_now_us(d->store->env) - s->heard_us >= ALIVE_US)
        return 0;
    return err_set(err, s->boot == 0 ? ERR_BUSY : ERR_EXISTS,
                   "store %llu at %s has the same uuid, and runs: this folder is a copy of its. "
                   "Start with an empty one",
                   (unsigned long long)e->store_id, s->address);
}

/* Nobody dials a copy of a folder whose store runs, so no word reaches it: it hears what it
 * is when it asks where everybody is. Both must have been alive for a while. */
static int check_copy(const struct driver *d, const struct request_join *join, struct err *err)
{
    const struct driver_store *s = map_get(&d->stores, join->store_id);
    if (s == NULL || s->rival_boot == 0 || s->rival_boot != join->boot ||
        slice_equal(slice_str(s->address), join->address) || s->heard_us < s->rival_us + RIVAL_US)
        return 0;
    return err_set(err, ERR_EXISTS,
                   "store %llu runs at %s, too: this folder is a copy of another's, or the "
                   "other way round. One of the two must go",
                   (unsigned long long)join->store_id, s->address);
}

static void note_joined(struct driver *d, const struct request_join *join, uint64_t store_id)
{
    struct driver_store *s = driver_store_get(d, store_id);
    struct book_item item = {.store_id = store_id, .address = join->address};
    memcpy(item.store_uuid, join->store_uuid, sizeof item.store_uuid);
    store_learn(d->store, &item);
    book_save(&d->store->book);
    if (s == NULL || s->boot != 0)
        return;
    s->heard_us = env_now_us(d->store->env);
    snprintf(s->address, sizeof s->address, "%.*s",
             (int)MIN(join->address.len, sizeof s->address - 1), (const char *)join->address.data);
}

static int judge_join(struct driver *d, const struct request_join *join, uint64_t *ret_store_id,
                      struct err *err)
{
    const struct identity *id = &d->store->identity;
    if (join->cluster_id != 0 && join->cluster_id != id->cluster_id)
        return err_set(err, ERR_STATE, "this is cluster %016llx, and that folder is of %016llx",
                       (unsigned long long)id->cluster_id, (unsigned long long)join->cluster_id);
    if (join->store_id != 0) { /* it only asks where everybody is */
        if (placement_store_is_gone(d->placement, join->store_id))
            return err_set(err, ERR_STATE, "store %llu was removed from this cluster",
                           (unsigned long long)join->store_id);
        const struct book_entry *e = book_find(&d->store->book, join->store_id);
        if (e != NULL && memcmp(e->uuid, join->store_uuid, sizeof e->uuid) != 0)
            return err_set(err, ERR_EXISTS, "store %llu is known under another uuid",
                           (unsigned long long)join->store_id);
        *ret_store_id = join->store_id;
        return check_copy(d, join, err);
    }
    int rv = check_twice(d, join, err);
    if (rv != 0)
        return rv;
    struct placement_join asked = {.address = join->address};
    memcpy(asked.uuid, join->store_uuid, sizeof asked.uuid);
    rv = placement_on_join(d->placement, driver_now_ms(d), &asked, ret_store_id, err);
    driver_flush_later(d);
    if (rv == 0)
        note_joined(d, join, *ret_store_id);
    return rv;
}

static void answer_join(struct store *store, const struct answer_to *to, uint64_t store_id)
{
    struct buf raw;
    buf_init(&raw, FRAME_BODY_MAX / 2);
    struct response response = {
        .kind = REQUEST_JOIN,
        .join = {.cluster_id = store->identity.cluster_id,
                 .store_id = store_id,
                 .peers = news_since(store, 0, &raw)},
    };
    if (raw.failed)
        service_answer_status(store, to, ERR_BUSY, "memory is short");
    else
        service_answer(store, to, &response);
    buf_fini(&raw);
}

/* May our book tell a store of this cluster where everybody is? Only while nobody is heard of
 * who leads range 1: perhaps nobody can before that store finds the others. */
static bool book_may_tell(const struct store *store, const struct request_join *join)
{
    const struct book_entry *e = book_find(&store->book, join->store_id);
    return store->beats.silent >= BEAT_SILENT_MAX && e != NULL && !e->is_removed &&
           join->cluster_id == store->identity.cluster_id &&
           memcmp(e->uuid, join->store_uuid, sizeof e->uuid) == 0;
}

void driver_on_join(struct store *store, struct answer_to *to, const struct request *request)
{
    struct driver *d = store->driver;
    struct err err = {0};
    uint64_t store_id = 0;
    to->range_id = RANGE_ID_SYSTEM;
    if (to->inner == NULL && !net_client_is_proven(store->net, to->client)) {
        service_answer_status(store, to, ERR_UNAUTHORIZED,
                              "only a store that knows the cluster secret may join");
        return;
    }
    bool is_running = d != NULL && driver_is_running(d);
    if (!is_running && book_may_tell(store, &request->join)) {
        answer_join(store, to, request->join.store_id);
        return;
    }
    if (!is_running) {
        bool is_soon = d != NULL && d->state != DRIVER_OFF;
        service_answer_status(store, to, is_soon ? ERR_BUSY : ERR_NOT_LEADER, NULL);
        return;
    }
    int rv = judge_join(d, &request->join, &store_id, &err);
    if (rv != 0) {
        service_answer_status(store, to, rv, err.code != 0 ? err.msg : NULL);
        return;
    }
    answer_join(store, to, store_id);
    push_news(d);
}

void driver_learn_store(struct store *store, const struct placement_store_status *s)
{
    struct book_item item = {.store_id = s->store_id, .address = s->address};
    memcpy(item.store_uuid, s->uuid, sizeof item.store_uuid);
    store_learn(store, &item);
}

void driver_fill_book(struct driver *d)
{
    struct placement_store_status s;
    for (uint32_t i = 0; placement_store_at(d->placement, i, &s); i++)
        driver_learn_store(d->store, &s);
    book_save(&d->store->book);
}

/* It was told often enough, and has ended, or was not there to hear it. */
static bool is_silent(const struct driver *d, uint64_t store_id, uint64_t now_us)
{
    const struct driver_store *s = map_get(&d->stores, store_id);
    return s == NULL || now_us - MAX(s->heard_us, s->refused_us) >= ALIVE_US;
}

void driver_clear_book(struct driver *d)
{
    struct store *store = d->store;
    uint64_t now_us = env_now_us(store->env);
    const struct book_entry *e;
    bool is_news = false;
    for (uint32_t i = 0; (e = book_at(&store->book, i)) != NULL; i++) {
        struct book_item item;
        if (e->is_removed || e->store_id == store->opt.store_id ||
            !placement_store_is_gone(d->placement, e->store_id) ||
            !is_silent(d, e->store_id, now_us))
            continue;
        item_of(e, &item);
        item.is_removed = true;
        free(map_remove(&d->stores, item.store_id));
        store_learn(store, &item);
        is_news = true;
    }
    if (!is_news)
        return;
    book_save(&store->book);
    push_news(d);
}

void driver_adopt_self(struct driver *d)
{
    struct store *store = d->store;
    struct err err = {0};
    const struct identity *id = &store->identity;
    struct placement_store_status any;
    /* Once only: the founder may have been removed since. */
    if (!id->is_founder || placement_store_at(d->placement, 0, &any))
        return;
    struct placement_join self = {.address = slice_str(store_advertised(store)),
                                  .labels = slice_str(store->labels)};
    memcpy(self.uuid, id->uuid, sizeof self.uuid);
    int rv = placement_adopt(d->placement, driver_now_ms(d), id->store_id, &self, &err);
    if (rv != 0 && rv != ERR_BUSY)
        LOG_WARN(store->logger, "adopt", "error=\"%s\"", err.msg);
}
