/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages whose replica is not here, or whose sender no configuration names:
 *
 *  - a lower id than the least that may live here: a removed one. Dropped.
 *  - a greater id of a range that has a replica here: that one was removed, for ids of
 *    a range on one store only grow. It leaves; the message comes again.
 *  - the span meets that of a replica here: a split is on its way that will bring the
 *    replica. Nothing is made; a request for a vote is kept for a while.
 *  - anything else: a blank replica is made, which takes part in elections at once
 *    and gets its data by a snapshot (ranges.md, Split).
 *
 * A replica that hears of no leader for long asks whether it is still a member. One that sleeps
 * is content without one: the leader that applies its removal tells it so.
 */
#include <stdlib.h>

#include "base/plant.h"
#include "net/net_peer.h"
#include "store/absorb.h"
#include "store/service.h"
#include "store/store_internal.h"
#include "wire/member_msg.h"

enum { ASK_AFTER_TIMEOUTS = 8, ASK_EVERY_US = 2 * 1000 * 1000 };

/* ---- where others live ------------------------------------------------------------- */

uint64_t store_id_of(const struct replica *r, uint64_t replica_id)
{
    const struct range_replica *known =
        r->range == NULL ? NULL : range_descriptor_find(range_descriptor(r->range), replica_id);
    const struct cons_config *config = r->cons == NULL ? NULL : consensus_config(r->cons, NULL);
    for (uint32_t i = 0; config != NULL && i < config->n; i++) {
        if (config->members[i].replica_id == replica_id)
            return config->members[i].store_id;
    }
    if (known != NULL)
        return known->store_id;
    for (size_t i = 0; r->known != NULL && i < REPLICA_STRANGERS_MAX; i++) {
        if (r->known->strangers[i].replica_id == replica_id)
            return r->known->strangers[i].store_id;
    }
    return 0;
}

/* NULL: out of memory. Then it is as if nobody had been heard of. */
static struct acquaintances *known_get(struct replica *r)
{
    if (r->known == NULL)
        r->known = calloc(1, sizeof *r->known);
    return r->known;
}

void strangers_forget(struct replica *r)
{
    free(r->known);
    r->known = NULL;
}

bool strangers_check(struct replica *r, uint64_t replica_id, uint64_t from_store)
{
    uint64_t known = store_id_of(r, replica_id);
    if (known != 0)
        return known == from_store;
    struct acquaintances *k = known_get(r);
    if (k == NULL)
        return true;
    k->strangers[k->strangers_next] =
        (struct stranger){.replica_id = replica_id, .store_id = from_store};
    k->strangers_next = (k->strangers_next + 1) % REPLICA_STRANGERS_MAX;
    return true;
}

bool strangers_has_heard(const struct replica *r, uint64_t replica_id)
{
    for (uint32_t i = 0; r->known != NULL && i < r->known->heard_count; i++) {
        if (r->known->heard[i] == replica_id)
            return true;
    }
    return false;
}

void strangers_note_heard(struct replica *r, uint64_t replica_id)
{
    struct acquaintances *k;
    if (strangers_has_heard(r, replica_id) || (k = known_get(r)) == NULL)
        return;
    if (k->heard_count == REPLICA_HEARD_MAX) /* of many members in its life: learn anew */
        k->heard_count = 0;
    k->heard[k->heard_count++] = replica_id;
}

void strangers_forget_heard(struct store *store)
{
    uint32_t cursor = 0;
    struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        if (r->known != NULL)
            r->known->heard_count = 0;
    }
}

/* ---- whose replica is not here --------------------------------------------------------- */

static bool may_create(const struct store *store, const struct raft_span *span)
{
    struct range_span keys = {.start = span->start, .end = span->end};
    return span->end.len > 0 && store->state == STORE_RUNNING &&
           store->mark < WATERMARK_NO_REPLICAS && store->log != NULL &&
           replicas_overlap(&store->replicas, keys, NULL) == NULL;
}

/* One that is still replaying may have a split ahead of it: what it gave away then would go with
 * its span. (The message comes again.) Not one that waits for what never comes to its store. */
static bool may_split_yet(const struct replica *r)
{
    bool is_stuck = r->apply == APPLY_STALLED && r->absorbed.missed_index != 0;
    return r->state == REPLICA_REPLAYING && !is_stuck;
}

struct replica *strangers_find(struct store *store, const struct cons_msg *msg,
                               const struct raft_span *span)
{
    struct replica *r = replicas_get(&store->replicas, msg->to);
    struct replica *other = replicas_of_range(&store->replicas, msg->group_id);
    struct err err = {0};
    if (r != NULL)
        return r->range_id == msg->group_id ? r : NULL;
    if (msg->to < tombstones_least(&store->tombstones, msg->group_id) &&
        !PLANTED(tombstone_forgotten))
        return NULL;
    if (other != NULL) {
        if (other->replica_id < msg->to && !may_split_yet(other))
            replica_remove(other, msg->to);
        return NULL;
    }
    if (!may_create(store, span))
        return NULL;
    int rv = replica_add_blank(store, msg->to, msg->group_id, &r, &err);
    if (rv != 0) {
        LOG_WARN(store->logger, "no_blank_replica", "range=%llu replica=%llu error=\"%s\"",
                 (unsigned long long)msg->group_id, (unsigned long long)msg->to, err.msg);
        return NULL;
    }
    r->made_at_epoch = span->conf_epoch;
    return r;
}

/* ---- am I still a member? ------------------------------------------------------------------ */

static void send_ask(const struct replica *r, uint64_t store_id)
{
    struct store *store = r->store;
    struct net_peer *peer = net_peer_find(store->net, store_id);
    struct member_ask ask = {
        .group = r->range_id,
        .replica_id = r->replica_id,
        .conf_epoch = r->range == NULL ? r->made_at_epoch : range_descriptor(r->range)->epoch.conf,
        .is_asleep = r->nap.is_asleep,
    };
    if (peer == NULL || !net_peer_is_up(peer) || store_id == store->opt.store_id)
        return;
    buf_clear(&store->frames);
    size_t start = frame_begin(&store->frames);
    member_ask_encode(&store->frames, &ask);
    frame_end(&store->frames, start, false);
    if (!store->frames.failed)
        net_peer_send(peer, NET_URGENT, buf_slice(&store->frames));
}

/* What consensus takes for the leader does not count: a learner never forgets one. */
static bool is_lonely(const struct replica *r, uint64_t now_us)
{
    uint64_t patience_us = (uint64_t)ASK_AFTER_TIMEOUTS * r->store->opt.election_timeout_ms * 1000;
    return now_us >= r->led_us + patience_us;
}

void strangers_note_leader(struct replica *r, const struct cons_msg *msg)
{
    if (msg->type == CONS_MSG_APPEND || msg->type == CONS_MSG_SNAPSHOT)
        r->led_us = env_turn_us(r->store->env);
}

/* Everybody: those who once were members may have lost all trace of the range, and who took it
 * in may live elsewhere by now. */
static void ask_all(const struct replica *r)
{
    const struct book_entry *e;
    for (uint32_t i = 0; (e = book_at(&r->store->book, i)) != NULL; i++) {
        if (!e->is_removed)
            send_ask(r, e->store_id);
    }
}

void strangers_tick(struct replica *r, uint64_t now_us)
{
    if (r->cons == NULL || consensus_is_leader(r->cons) || r->led_us == 0)
        r->led_us = now_us;
    if (!is_lonely(r, now_us) || now_us < r->asked_us + ASK_EVERY_US)
        return;
    r->asked_us = now_us;
    ask_all(r);
}

/* One that sleeps is content, but its leader may have left it, or have been left. */
void strangers_ask_asleep(struct replica *r, uint64_t store_id)
{
    ASSERT(r->nap.is_asleep);
    if (store_id != 0)
        send_ask(r, store_id);
    else
        ask_all(r);
}

/* ---- being asked -------------------------------------------------------------------------- */

static bool is_in_config(const struct cons_config *config, uint64_t replica_id)
{
    for (uint32_t i = 0; i < config->n; i++) {
        if (config->members[i].replica_id == replica_id)
            return true;
    }
    return false;
}

/* The same of one that may be parked. */
static bool has_member(const struct replica *r, uint64_t replica_id)
{
    const struct cons_parked *parked = r->nap.parked;
    bool is_found = r->cons != NULL && is_in_config(consensus_config(r->cons, NULL), replica_id);
    for (uint32_t i = 0; parked != NULL && i < parked->n_members; i++)
        is_found = is_found || parked->members[i].replica_id == replica_id;
    return is_found;
}

static void send_answer(struct store *store, uint64_t to_store, const struct member_answer *answer)
{
    struct net_peer *peer = net_peer_find(store->net, to_store);
    if (peer == NULL || !net_peer_is_up(peer))
        return;
    buf_clear(&store->frames);
    size_t start = frame_begin(&store->frames);
    member_answer_encode(&store->frames, answer);
    frame_end(&store->frames, start, false);
    if (!store->frames.failed)
        net_peer_send(peer, NET_URGENT, buf_slice(&store->frames));
}

/* A leader confirms itself before it says that somebody is gone: a deposed one's word
 * must not kill a new learner (ranges.md). */
struct member_check {
    struct replica *replica; /* NULL: free */
    struct cons_read confirm;
    uint64_t asker;
    uint64_t asker_store;
    uint64_t asker_epoch;
};

static void on_confirmed(struct cons_read *read, int status, uint64_t index)
{
    struct member_check *check = read->data;
    struct replica *r = check->replica;
    (void)index;
    check->replica = NULL;
    if (status != 0 || !replica_is_leader(r))
        return;
    const struct range_descriptor *d = range_descriptor(r->range);
    if (range_descriptor_find(d, check->asker) != NULL ||
        is_in_config(consensus_config(r->cons, NULL), check->asker) ||
        d->epoch.conf < check->asker_epoch)
        return;
    struct member_answer answer = {
        .group = r->range_id,
        .replica_id = check->asker,
        .verdict = MEMBER_GONE,
        .conf_epoch = d->epoch.conf,
    };
    send_answer(r->store, check->asker_store, &answer);
}

static void begin_check(struct replica *r, const struct member_ask *ask, uint64_t from_store)
{
    struct member_check *check = r->check;
    if (check == NULL)
        check = r->check = calloc(1, sizeof *check);
    if (check == NULL || check->replica != NULL)
        return; /* one at a time: they ask again */
    *check = (struct member_check){
        .replica = r,
        .confirm = {.data = check,
                    .deadline_ms = store_now_ms(r->store) + r->store->opt.election_timeout_ms,
                    .cb = on_confirmed},
        .asker = ask->replica_id,
        .asker_store = from_store,
        .asker_epoch = ask->conf_epoch,
    };
    if (consensus_read(r->cons, &check->confirm) != 0)
        check->replica = NULL;
    replica_wake(r);
}

void strangers_tell_gone(struct replica *r, uint64_t replica_id, uint64_t store_id)
{
    ASSERT(replica_id != r->replica_id);
    struct member_ask ask = {.group = r->range_id, .replica_id = replica_id};
    begin_check(r, &ask, store_id);
}

bool strangers_is_checking(const struct replica *r)
{
    return r->check != NULL && r->check->replica != NULL;
}

void strangers_stop_check(struct replica *r)
{
    if (r->check == NULL || r->check->replica == NULL)
        return;
    if (r->cons != NULL && r->check->confirm.state != CONS_READ_IDLE)
        consensus_read_cancel(r->cons, &r->check->confirm);
    r->check->replica = NULL;
}

/* It sleeps under somebody here who does not lead. */
static void say_not_led(struct store *store, uint64_t to_store, const struct member_ask *ask)
{
    struct member_answer answer = {
        .group = ask->group, .replica_id = ask->replica_id, .verdict = MEMBER_NOT_LED};
    send_answer(store, to_store, &answer);
}

int strangers_on_ask(struct store *store, uint64_t from_store, struct slice body, struct err *err)
{
    struct member_ask ask;
    uint64_t leader_store = 0;
    int rv = member_ask_decode(body, &ask, err);
    if (rv != 0)
        return rv;
    struct replica *r = replicas_of_range(&store->replicas, ask.group);
    const struct tombstone *stone = tombstones_get(&store->tombstones, ask.group);
    if (stone != NULL && stone->into_range != 0) {
        struct member_answer ended = {
            .group = ask.group,
            .replica_id = ask.replica_id,
            .verdict = MEMBER_ENDED,
            .into_range = stone->into_range,
            .span_epoch = stone->span_epoch,
        };
        send_answer(store, from_store, &ended);
        return 0;
    }
    bool is_leader =
        r != NULL && r->range != NULL && (replica_is_leader(r) || sleep_is_parked_leader(r));
    if (ask.is_asleep && !is_leader) {
        say_not_led(store, from_store, &ask);
        return 0;
    }
    if (r == NULL || r->range == NULL || !replica_is_up(r))
        return 0;
    if (is_leader && has_member(r, ask.replica_id)) {
        if (!ask.is_asleep) /* it hears nothing of us: a heartbeat tells it enough */
            sleep_wake(r, SLEEP_WOKEN_BY_WORK);
        return 0;
    }
    if (is_leader) {
        if (replica_leads(r))
            begin_check(r, &ask, from_store);
        return 0;
    }
    if (sleep_leader(r, &leader_store) == 0 || leader_store == 0)
        return 0;
    struct member_answer answer = {
        .group = ask.group,
        .replica_id = ask.replica_id,
        .verdict = MEMBER_ASK,
        .store_id = leader_store,
    };
    send_answer(store, from_store, &answer);
    return 0;
}

/* Its range was merged into another. Where a replica of that one has this still before it,
 * it takes this one in, or its snapshot does (absorb.h); else nobody here needs it. */
static void on_ended(struct replica *r, const struct member_answer *answer)
{
    struct store *store = r->store;
    r->absorbed.ended_into = answer->into_range;
    r->absorbed.ended_epoch = answer->span_epoch;
    if (store->state == STORE_RUNNING &&
        !absorb_is_awaited(store, answer->into_range, answer->span_epoch))
        replica_remove_ended(r, answer->into_range, answer->span_epoch);
}

/* Has it been removed by a change of members that it has not applied? Then it need not have asked:
 * the leader's last message before the removal may have woken it. */
static bool is_gone_since(const struct replica *r, const struct member_answer *answer)
{
    return answer->verdict == MEMBER_GONE && r->range != NULL &&
           answer->conf_epoch > range_descriptor(r->range)->epoch.conf;
}

int strangers_on_answer(struct store *store, uint64_t from_store, struct slice body,
                        struct err *err)
{
    struct member_answer answer;
    int rv = member_answer_decode(body, &answer, err);
    if (rv != 0)
        return rv;
    struct replica *r = replicas_get(&store->replicas, answer.replica_id);
    if (r == NULL || r->range_id != answer.group || !replica_is_up(r) ||
        !(r->nap.is_asleep || is_lonely(r, env_now_us(store->env)) || is_gone_since(r, &answer)))
        return 0;
    if (answer.verdict == MEMBER_NOT_LED) {
        sleep_on_denied(r, from_store);
        return 0;
    }
    if (answer.verdict == MEMBER_ASK) {
        send_ask(r, answer.store_id);
        return 0;
    }
    if (answer.verdict == MEMBER_ENDED) {
        on_ended(r, &answer);
        return 0;
    }
    uint64_t own_epoch =
        r->range == NULL ? r->made_at_epoch : range_descriptor(r->range)->epoch.conf;
    if (answer.conf_epoch >= own_epoch)
        replica_remove(r, r->replica_id + 1);
    return 0;
}
