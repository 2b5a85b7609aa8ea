/* SPDX-License-Identifier: Apache-2.0 */
#include "store/beats.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/plant.h"
#include "net/net_peer.h"
#include "store/driver.h"
#include "store/service.h"
#include "store/steps.h"
#include "store/store_internal.h"
#include "wire/driver_msg.h"

enum { BEAT_LOOKS_MS = 64 }; /* awake replicas that a poke may cost a millisecond's delay */

enum { BEAT_BYTES = 1 << 20 }; /* of a message about ranges: then it is sent, if keys are long */

enum { REPORT_CHUNK = 256, ASKED_AT_ONCE = 2, MAIL_MAX = 4096, HOPS_MAX = 2, REFUSALS_MAX = 5 };

uint64_t beats_leader(const struct store *store)
{
    const struct replica *r = replicas_of_range(&store->replicas, RANGE_ID_SYSTEM);
    uint64_t store_id = 0;
    if (r != NULL && r->cons != NULL)
        consensus_leader(r->cons, &store_id);
    return store_id != 0 ? store_id : store->beats.leader;
}

/* ---- what is told -------------------------------------------------------------------- */

static uint32_t lead_of(const struct store *store)
{
    if (store->clock.is_off)
        return STORE_LEAD_NEVER;
    return store->pace.is_slow ? STORE_LEAD_LAST : STORE_LEAD_GLADLY;
}

static void fill_beat(struct store *store, struct store_beat *beat)
{
    *beat = (struct store_beat){
        .seq = ++store->beats.seq,
        .term = store->beats.term,
        .boot = store->identity.boot_number,
        .address = slice_str(store_advertised(store)),
        .labels = slice_str(store->labels),
        .mark = store->mark,
        .snapshots_in = store->snapshots_in,
        .is_stalled = lsm_stall(store->lsm) != LSM_STALL_NONE ||
                      store->state == STORE_REPLAYING, /* whose leaders serve nobody yet */
        .level = STORE_LEVEL,
        .lead = lead_of(store),
    };
    memcpy(beat->store_uuid, store->identity.uuid, sizeof beat->store_uuid);
    env_disk_space(store->env, store->data_dir, &beat->free_bytes, &beat->capacity, NULL);
    LIST_FOREACH(at, &store->sleepers.awake) /* nobody asks those that sleep */
    {
        const struct replica *r = list_entry(at, struct replica, in_awake);
        beat->requests += r->load.requests_s;
        beat->write_bytes += r->load.write_bytes_s;
        LIST_FOREACH(it, &r->streams)
        {
            (void)it;
            beat->snapshots_out++;
        }
    }
}

/* A mean that forgets half of what it was each second. */
static void smooth(struct range_load *load, uint64_t now_us)
{
    uint64_t passed_us = now_us - load->since_us;
    if (passed_us < (uint64_t)BEAT_MS * 500)
        return;
    load->requests_s = (load->requests_s + load->requests * 1000000 / passed_us) / 2;
    load->write_bytes_s = (load->write_bytes_s + load->write_bytes * 1000000 / passed_us) / 2;
    load->requests = load->write_bytes = 0;
    load->since_us = now_us;
}

/* How long ago the member was last seen alive, or since when we lead without seeing it. */
static uint32_t contact_age_ms(struct range_load *load, uint64_t replica_id, bool is_live,
                               uint64_t now_us)
{
    struct range_contact *c = NULL;
    if (load->contacts == NULL)
        load->contacts = calloc(RANGE_CONTACTS_MAX, sizeof *load->contacts);
    if (load->contacts == NULL)
        return is_live ? 0 : UINT32_MAX; /* since when, nobody knows */
    for (uint32_t i = 0; i < load->contact_count && c == NULL; i++) {
        if (load->contacts[i].replica_id == replica_id)
            c = &load->contacts[i];
    }
    if (c == NULL) {
        if (load->contact_count == RANGE_CONTACTS_MAX) /* of many members in its life */
            load->contact_count = 0;
        c = &load->contacts[load->contact_count++];
        *c = (struct range_contact){.replica_id = replica_id, .heard_us = now_us};
    }
    if (is_live)
        c->heard_us = now_us;
    return (uint32_t)MIN((now_us - c->heard_us) / 1000, (uint64_t)UINT32_MAX - 1);
}

/* As it is applied: a change that is only appended may be taken back, with its epoch, and
 * placement would wait for ever for who was never to be a member. */
static void fill_applied(const struct replica *r, struct range_state *state)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    state->conf_epoch = d->epoch.conf;
    state->member_count = MIN(d->replica_count, (uint32_t)DESCRIPTOR_MEMBERS_MAX);
    for (uint32_t i = 0; i < state->member_count; i++)
        state->members[i] = (struct range_member){
            .replica_id = d->replicas[i].replica_id,
            .store_id = d->replicas[i].store_id,
            .role = d->replicas[i].role == RANGE_ROLE_VOTER ? MEMBER_VOTER : MEMBER_LEARNER,
            .age_ms = UINT32_MAX,
        };
}

static void fill_appended(const struct replica *r, struct range_state *state)
{
    const struct cons_config *config = consensus_config(r->cons, NULL);
    state->conf_epoch = store_conf_epoch(r);
    state->member_count = MIN(config->n, (uint32_t)DESCRIPTOR_MEMBERS_MAX);
    for (uint32_t i = 0; i < state->member_count; i++)
        state->members[i] = (struct range_member){
            .replica_id = config->members[i].replica_id,
            .store_id = config->members[i].store_id,
            .role = config->members[i].role == CONS_VOTER ? MEMBER_VOTER : MEMBER_LEARNER,
            .age_ms = UINT32_MAX,
        };
}

/* Of one that is parked: under a leader that sleeps all have all of its log, and are as well as
 * when it fell asleep. */
static void fill_parked(const struct replica *r, struct range_state *state)
{
    bool leads = sleep_is_parked_leader(r);
    state->is_leader = leads;
    state->term = r->nap.parked->term;
    state->last_index = r->nap.parked->index;
    fill_applied(r, state);
    for (uint32_t i = 0; i < state->member_count && leads; i++) {
        state->members[i].match = r->nap.parked->index;
        state->members[i].age_ms = 0;
    }
}

static void fill_members(struct replica *r, struct range_state *state)
{
    struct cons_status s;
    uint64_t now_us = env_now_us(r->store->env);
    consensus_status(r->cons, &s);
    state->term = s.term;
    state->last_index = s.last_index;
    state->is_leader = replica_is_leader(r) && s.is_ready;
    if (r->load.term != s.term)
        r->load.contact_count = 0;
    r->load.term = s.term;
    if (PLANTED(appended_told))
        fill_appended(r, state);
    else
        fill_applied(r, state);
    for (uint32_t i = 0; i < state->member_count; i++) {
        struct range_member *m = &state->members[i];
        for (uint32_t k = 0; state->is_leader && k < s.n_members; k++) {
            if (s.members[k].replica_id != m->replica_id)
                continue;
            /* whoever needs a snapshot has nothing, however short the log is */
            m->match = s.members[k].match >= s.log_floor ? s.members[k].match : 0;
            m->age_ms = contact_age_ms(&r->load, m->replica_id, s.members[k].is_live, now_us);
        }
    }
}

/* False: there is nothing to tell of it. */
static bool fill_range(struct replica *r, struct range_state *state)
{
    if (r->range == NULL || !replica_is_up(r))
        return false;
    const struct range_descriptor *d = range_descriptor(r->range);
    struct range_span span = range_descriptor_span(d);
    *state = (struct range_state){
        .range_id = r->range_id,
        .start = span.start,
        .end = span.end,
        .span_epoch = d->epoch.span,
        .replica_id = r->replica_id,
        .requests = r->load.requests_s,
        .write_bytes = r->load.write_bytes_s,
        .retention_ms = range_meta(r->range)->retention_ms,
    };
    if (r->nap.parked != NULL)
        fill_parked(r, state);
    else
        fill_members(r, state);
    state->is_asleep = state->is_leader && r->nap.is_asleep &&
                       (r->nap.parked != NULL || consensus_is_asleep(r->cons));
    if (state->is_asleep)
        state->requests = state->write_bytes = 0;
    return true;
}

/* Bytes and keys: an estimate from what is in memory. */
static void measure(struct store *store, struct lsm_view **view, struct range_state *state)
{
    struct lsm_approx approx = {0};
    if (*view == NULL)
        *view = lsm_view_take(store->lsm);
    if (*view == NULL)
        return;
    if (lsm_approximate(*view, state->start, state->end, LSM_READ_NO_IO, &approx, NULL) != 0)
        return;
    state->bytes = approx.bytes;
    state->keys = approx.records;
    buf_fini(&approx.middle);
}

/* What, if it changes, placement must hear of at once. */
static uint64_t sum_of(const struct range_state *state)
{
    uint64_t sum = (state->conf_epoch * 31 + state->span_epoch) * 2 + state->is_asleep;
    sum = (sum * 31 + state->term) * 31 + state->retention_ms;
    for (uint32_t i = 0; i < state->member_count; i++)
        sum = sum * 31 + state->members[i].replica_id * 4 + state->members[i].role * 2 +
              (state->members[i].age_ms == 0);
    return sum | 1;
}

static bool has_learner(const struct range_state *state)
{
    for (uint32_t i = 0; i < state->member_count; i++) {
        if (state->members[i].role == MEMBER_LEARNER)
            return true;
    }
    return false;
}

/* ---- sending --------------------------------------------------------------------------- */

/* A message to ourselves: handled in a task, for whoever sends it may be in the middle of
 * something. */
struct mail {
    struct list in_mail;
    size_t len;
    uint8_t body[];
};

static int mail_self(struct store *store, const struct buf *body)
{
    struct mail *mail = store->mail_count < MAIL_MAX ? malloc(sizeof *mail + body->len) : NULL;
    if (mail == NULL)
        return ERR_BUSY;
    mail->len = body->len;
    memcpy(mail->body, body->data, body->len);
    list_init(&mail->in_mail);
    list_push_back(&store->mail, &mail->in_mail);
    store->mail_count++;
    env_task_post(store->env, &store->mail_task);
    return 0;
}

void store_mail_due(struct env_task *task)
{
    struct store *store = task->data;
    struct list *link = list_pop_front(&store->mail);
    if (link == NULL)
        return;
    struct mail *mail = list_entry(link, struct mail, in_mail);
    struct slice body = slice_of(mail->body, mail->len);
    struct err err = {0};
    uint32_t kind = 0;
    store->mail_count--;
    int rv = msg_kind(body, &kind, &err);
    if (rv == 0)
        rv = store_on_peer_message(store, store->opt.store_id, kind, body, &err);
    if (rv != 0)
        LOG_WARN(store->logger, "mail_refused", "kind=%u error=\"%s\"", kind, err.msg);
    free(mail);
    if (!list_is_empty(&store->mail))
        env_task_post(store->env, task);
}

void store_mail_free(struct store *store)
{
    struct list *link;
    while ((link = list_pop_front(&store->mail)) != NULL)
        free(list_entry(link, struct mail, in_mail));
}

int store_tell(struct store *store, uint64_t to_store, enum net_class class, const struct buf *body)
{
    struct buf out;
    if (body->failed)
        return ERR_NOMEM;
    if (to_store == store->opt.store_id)
        return mail_self(store, body);
    struct net_peer *peer = net_peer_find(store->net, to_store);
    if (peer == NULL || !net_peer_is_up(peer))
        return ERR_UNAVAILABLE;
    buf_init(&out, FRAME_BODY_MAX + FRAME_PREFIX_LEN);
    size_t start = frame_begin(&out);
    buf_append_slice(&out, buf_slice(body));
    frame_end(&out, start, true);
    int rv = out.failed ? ERR_NOMEM : net_peer_send(peer, class, buf_slice(&out));
    buf_fini(&out);
    return rv;
}

static void send_beat(struct store *store, uint64_t to_store)
{
    struct store_beat beat;
    struct buf out;
    fill_beat(store, &beat);
    buf_init(&out, FRAME_BODY_MAX);
    store_beat_encode(&out, &beat);
    store_tell(store, to_store, NET_URGENT, &out);
    buf_fini(&out);
}

static int send_ranges(struct store *store, uint64_t to_store, struct range_beat *beat,
                       const struct buf *raw)
{
    struct buf out;
    if (raw->failed)
        return ERR_NOMEM;
    beat->ranges.raw = buf_slice(raw);
    buf_init(&out, FRAME_BODY_MAX);
    range_beat_encode(&out, beat);
    int rv = store_tell(store, to_store, NET_BULK, &out);
    buf_fini(&out);
    return rv;
}

static bool is_due(const struct replica *r, const struct range_state *state, uint64_t now_us)
{
    const struct range_load *load = &r->load;
    return load->told_us == 0 || load->told_sum != sum_of(state) || has_learner(state) ||
           now_us - load->told_us >= (uint64_t)BEAT_RANGE_MS * 1000;
}

/* What is told in one beat: message after message, as long as there may be more. */
struct telling {
    struct store *store;
    uint64_t to_store;
    uint64_t now_us;
    struct range_beat beat;
    struct buf raw;
    struct lsm_view *view;
    uint32_t messages;
    bool has_failed;
    struct list asleep; /* in_news of those that the present message tells of */
};

/* Of who is awake more is told soon. Those that sleep are news again if that has not left. */
static void telling_send(struct telling *t)
{
    struct list *link;
    bool has_left = true;
    if (t->beat.ranges.count > 0)
        has_left = send_ranges(t->store, t->to_store, &t->beat, &t->raw) == 0;
    while ((link = list_pop_front(&t->asleep)) != NULL) {
        if (!has_left)
            list_push_back(&t->store->beats.news, link);
    }
    t->has_failed = t->has_failed || !has_left;
    t->messages += t->beat.ranges.count > 0;
    t->beat.ranges.count = 0;
    buf_clear(&t->raw);
}

/* True: `r` has been told of, if it was due. */
static bool tell_of(struct telling *t, struct replica *r)
{
    struct range_state state;
    bool leads = replica_is_leader(r) || sleep_is_parked_leader(r);
    if (!leads || !fill_range(r, &state) || !state.is_leader || !is_due(r, &state, t->now_us))
        return true;
    if (t->messages == BEAT_MESSAGES_MAX)
        return false;
    measure(t->store, &t->view, &state);
    range_state_append(&t->raw, &state);
    r->load.told_us = t->now_us;
    r->load.told_sum = sum_of(&state);
    if (state.is_asleep) {
        list_remove(&r->in_news);
        list_push_back(&t->asleep, &r->in_news);
    }
    if (++t->beat.ranges.count == BEAT_RANGES_MAX || t->raw.len >= BEAT_BYTES)
        telling_send(t);
    return true;
}

/* Whom there was no room for is the first to be looked at in the next beat. */
static void tell_of_awake(struct telling *t)
{
    struct list *awake = &t->store->sleepers.awake;
    struct list told;
    struct list *link;
    list_init(&told);
    LIST_FOREACH(it, awake)
    {
        struct replica *r = list_entry(it, struct replica, in_awake);
        smooth(&r->load, t->now_us);
        if (!tell_of(t, r))
            continue;
        list_remove(it);
        list_push_back(&told, it);
    }
    while ((link = list_pop_front(&told)) != NULL)
        list_push_back(awake, link);
}

/* Another driver knows nothing of what an earlier one was told, or who was taken for it. */
static void tell_anew(struct store *store)
{
    LIST_FOREACH(it, &store->sleepers.awake)
    list_entry(it, struct replica, in_awake)->load.told_us = 0;
    LIST_FOREACH(it, &store->sleepers.asleep) /* the report may have come too early for some */
    {
        struct replica *r = list_entry(it, struct replica, in_awake);
        if (r->nap.rest.leader == r->replica_id)
            beats_on_asleep(r);
    }
    beats_poke(store);
}

/* Of the ranges that we lead: those that fell asleep, and of those awake who are due. */
static void send_led(struct store *store, uint64_t to_store)
{
    struct telling t = {
        .store = store,
        .to_store = to_store,
        .now_us = env_now_us(store->env),
        .beat = {.term = store->beats.term},
    };
    struct list *news = &store->beats.news;
    buf_init(&t.raw, FRAME_BODY_MAX / 2);
    list_init(&t.asleep);
    if (store->beats.told != to_store)
        tell_anew(store);
    store->beats.told = to_store;
    while (!list_is_empty(news) && t.messages < BEAT_MESSAGES_MAX && !t.has_failed) {
        struct replica *r = list_first(news, struct replica, in_news);
        list_remove(&r->in_news);
        r->load.told_us = 0;
        tell_of(&t, r);
    }
    tell_of_awake(&t);
    telling_send(&t);
    lsm_view_unref(t.view);
    buf_fini(&t.raw);
}

/* All that is here, from that chunk on. */
static void send_report(struct store *store, uint64_t to_store, uint64_t term, uint32_t from)
{
    uint32_t count = 0;
    uint32_t cursor = 0;
    struct lsm_view *view = NULL;
    struct buf raw;
    struct replica *r;
    struct range_beat beat = {.term = term, .is_report = true};
    buf_init(&raw, FRAME_BODY_MAX / 2);
    do {
        struct range_state state;
        r = replicas_each(&store->replicas, &cursor);
        if (r != NULL && fill_range(r, &state)) {
            measure(store, &view, &state);
            range_state_append(&raw, &state);
            beat.ranges.count++;
        }
        if (r != NULL && beat.ranges.count < REPORT_CHUNK)
            continue;
        beat.chunk = count++;
        beat.is_last = r == NULL;
        if (beat.chunk >= from)
            send_ranges(store, to_store, &beat, &raw);
        beat.ranges.count = 0;
        buf_clear(&raw);
    } while (r != NULL);
    lsm_view_unref(view);
    buf_fini(&raw);
}

/* Nobody is known to lead range 1: ask around. */
static void ask_around(struct store *store)
{
    struct beats *b = &store->beats;
    for (uint32_t i = 0; i < ASKED_AT_ONCE; i++) {
        const struct book_entry *e = book_at(&store->book, b->ask_at);
        b->ask_at = e == NULL ? 0 : b->ask_at + 1;
        if (e != NULL && !e->is_removed && e->store_id != store->opt.store_id)
            send_beat(store, e->store_id);
    }
}

/* ---- time -------------------------------------------------------------------------------- */

static void beat_now(struct store *store)
{
    struct beats *b = &store->beats;
    if (b->silent >= BEAT_SILENT_MAX)
        b->leader = 0;
    uint64_t leader = beats_leader(store);
    b->silent++;
    b->hops = 0;
    b->beat_us = env_now_us(store->env);
    if (b->silent > BEAT_SILENT_MAX)
        ask_around(store);
    if (b->silent % (2 * BEAT_SILENT_MAX) == 0) {
        join_refresh(store);
        driver_recall_book(store);
    }
    if (leader != 0) {
        send_beat(store, leader);
        send_led(store, leader);
    }
    book_save(&store->book);
}

static void timer_due(struct env_timer *timer)
{
    struct store *store = timer->data;
    struct beats *b = &store->beats;
    uint64_t now_us = env_now_us(store->env);
    bool is_serving = store->state == STORE_RUNNING || store->state == STORE_REPLAYING;
    if (is_serving && now_us - b->beat_us >= (uint64_t)BEAT_MS * 1000)
        beat_now(store);
    else if (is_serving && b->is_due && beats_leader(store) != 0)
        send_led(store, beats_leader(store));
    b->is_due = false;
    uint64_t next_us = b->beat_us + (uint64_t)BEAT_MS * 1000;
    env_timer_start_at(timer, MAX(next_us, now_us + (uint64_t)STORE_TICK_MS * 1000));
}

void beats_poke(struct store *store)
{
    struct beats *b = &store->beats;
    if (!b->is_started || b->is_due)
        return;
    b->is_due = true;
    /* All that are awake are looked at: not with each tick where those are many. */
    uint32_t awake = replicas_count(&store->replicas) - store->sleepers.count;
    env_timer_start(&b->timer, (uint64_t)(STORE_TICK_MS + awake / BEAT_LOOKS_MS) * 1000);
}

void beats_on_asleep(struct replica *r)
{
    if (!r->store->beats.is_started)
        return;
    if (!list_is_linked(&r->in_news))
        list_push_back(&r->store->beats.news, &r->in_news);
    beats_poke(r->store);
}

void beats_init(struct store *store)
{
    list_init(&store->beats.steps);
    list_init(&store->beats.news);
    env_timer_init(&store->beats.timer, store->env, timer_due, store);
}

void beats_start(struct store *store)
{
    if (store->beats.is_started || store_is_static(store) ||
        !identity_is_bootstrapped(&store->identity))
        return;
    store->beats.is_started = true;
    env_timer_start(&store->beats.timer, 0);
}

void beats_free(struct store *store)
{
    env_timer_stop(&store->beats.timer);
    steps_free(store);
}

/* ---- what is heard ------------------------------------------------------------------------- */

void store_learn(struct store *store, const struct book_item *item)
{
    struct book_entry e = {
        .store_id = item->store_id, .version = item->version, .is_removed = item->is_removed};
    struct err err = {0};
    ASSERT(item->address.len < sizeof e.address);
    memcpy(e.uuid, item->store_uuid, sizeof e.uuid);
    memcpy(e.address, item->address.data, item->address.len);
    int rv = book_learn(&store->book, &e, &err);
    if (rv < 0)
        LOG_WARN(store->logger, "book", "store=%llu error=\"%s\"", (unsigned long long)e.store_id,
                 err.msg);
    if (rv > 0)
        store_follow(store, e.store_id);
}

void store_learn_list(struct store *store, const struct pack_list *items)
{
    struct unpack u = unpack_of(items->raw);
    for (uint32_t i = 0; i < items->count; i++) {
        struct book_item item;
        book_item_next(&u, &item);
        store_learn(store, &item);
    }
    book_save(&store->book);
}

/* A store that is not of the cluster, or whose folder is another's, must not go on. */
static void heed_verdict(struct store *store, const struct driver_word *word)
{
    unsigned long long id = store->opt.store_id;
    if (word->seq == 0)
        return;
    store->beats.refusals = word->verdict == DRIVER_WELCOME ? 0 : store->beats.refusals + 1;
    if (store->beats.refusals < REFUSALS_MAX)
        return; /* our own row may be on its way to range 1 */
    if (word->verdict == DRIVER_NOT_KNOWN)
        env_fatal(store->env, "store %llu is not of this cluster any more: it was removed", id);
    else if (word->verdict == DRIVER_OTHER_UUID)
        env_fatal(store->env, "store %llu is known under another uuid: this folder is not its", id);
    else
        env_fatal(store->env,
                  "store %llu runs elsewhere, too: this folder is a copy of another's, or the "
                  "other way round. One of the two must go",
                  id);
}

void beats_on_peer_up(struct store *store, uint64_t store_id)
{
    if (store->beats.is_started && store->beats.told == store_id)
        tell_anew(store);
}

int beats_on_word(struct store *store, uint64_t from_store, struct slice body, struct err *err)
{
    struct beats *b = &store->beats;
    struct driver_word word;
    int rv = driver_word_decode(body, &word, err);
    if (rv != 0)
        return rv;
    if (word.term < b->term && !PLANTED(lower_placement_term)) {
        LOG_WARN(store->logger, "placement_refused", "from=%llu term=%llu known=%llu",
                 (unsigned long long)from_store, (unsigned long long)word.term,
                 (unsigned long long)b->term);
        return 0;
    }
    if (b->term != word.term)
        tell_anew(store);
    if (b->leader != from_store || b->term != word.term)
        LOG_INFO(store->logger, "placement", "store=%llu term=%llu", (unsigned long long)from_store,
                 (unsigned long long)word.term);
    b->term = MAX(b->term, word.term);
    ASSERT(word.term == b->term);
    b->leader = from_store;
    b->silent = 0;
    heed_verdict(store, &word);
    if (store->state != STORE_RUNNING && store->state != STORE_REPLAYING)
        return 0;
    store_learn_list(store, &word.peers);
    if (word.seq != 0)
        b->is_draining = word.is_draining;
    if (word.wants_report)
        send_report(store, from_store, word.term, word.report_chunk);
    struct unpack u = unpack_of(word.steps.raw);
    for (uint32_t i = 0; i < word.steps.count; i++) {
        struct step_order step;
        step_order_next(&u, &step);
        steps_take(store, from_store, word.term, &step);
    }
    return 0;
}

int beats_on_at(struct store *store, uint64_t from_store, struct slice body, struct err *err)
{
    struct driver_at at;
    int rv = driver_at_decode(body, &at, err);
    if (rv != 0)
        return rv;
    (void)from_store;
    bool is_lost = store->beats.leader == 0 || store->beats.leader == from_store;
    /* Two who are wrong about each other must not make us run between them. */
    if (is_lost && at.store_id != 0 && at.store_id != store->opt.store_id &&
        store->beats.leader != at.store_id && store->beats.hops < HOPS_MAX) {
        store->beats.leader = at.store_id;
        store->beats.hops++;
        send_beat(store, at.store_id);
    }
    return 0;
}
