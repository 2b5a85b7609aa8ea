/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sleep.h"

#include <stdlib.h>

#include "base/plant.h"
#include "store/log_room.h"
#include "store/merge.h"
#include "store/store_internal.h"
#include "wire/pulse_msg.h"

/* ---- the two lists --------------------------------------------------------------------- */

void sleep_init(struct replica *r)
{
    list_init(&r->in_awake);
    list_init(&r->in_news);
    list_init(&r->nap.roused.in_line);
    list_push_back(&r->store->sleepers.awake, &r->in_awake);
    r->nap.busy_us = env_now_us(r->store->env);
}

static void note_asleep(struct replica *r)
{
    struct sleepers *s = &r->store->sleepers;
    ASSERT(!r->nap.is_asleep);
    rouse_forget(r);
    r->nap.is_asleep = true;
    list_remove(&r->in_awake);
    list_push_back(&s->asleep, &r->in_awake);
    s->count++;
    s->slept += !r->nap.is_dormant;
    env_timer_stop(&r->timer);
}

static void note_awake(struct replica *r)
{
    struct sleepers *s = &r->store->sleepers;
    ASSERT(r->nap.is_asleep && r->nap.parked == NULL);
    rouse_forget(r);
    r->nap.is_asleep = r->nap.is_dormant = r->nap.is_quick = r->nap.is_calm = false;
    r->nap.asked_us = 0;
    r->led_us = 0; /* it had no need to hear of a leader */
    list_remove(&r->in_awake);
    list_push_back(&s->awake, &r->in_awake);
    s->count--;
}

static void unpark_free(struct replica *r)
{
    if (r->nap.parked == NULL)
        return;
    r->store->sleepers.parked--;
    free(r->nap.parked);
    r->nap.parked = NULL;
}

void sleep_forget(struct replica *r)
{
    unpark_free(r);
    rouse_forget(r);
    r->nap.is_calm = false;
    r->nap.asked_us = 0;
    if (r->nap.is_asleep)
        note_awake(r);
}

void sleep_fini(struct replica *r)
{
    sleep_forget(r);
    list_remove(&r->in_awake);
    list_remove(&r->in_news);
}

/* Does the leader live that it sleeps under, as far as is known? */
static bool is_led(const struct replica *r)
{
    return r->nap.rest.leader == r->replica_id || pulse_is_alive(r->store, r->nap.leader_store, 0);
}

/* ---- falling asleep ---------------------------------------------------------------------- */

/* Nothing waits, nothing is on its way, and nobody will want something of it soon. */
static bool is_idle(const struct replica *r)
{
    const struct store *store = r->store;
    return store->opt.hibernate_after_ms > 0 && store->state == STORE_RUNNING &&
           !store->clock.is_off && r->range_id != RANGE_ID_SYSTEM && r->state == REPLICA_RUNNING &&
           !r->wants_reopen && !r->lost_leadership && !r->is_no_member && !r->wants_campaign &&
           !r->needs_stamp && replica_is_quiet(r) && r->writes.count == 0 &&
           list_is_empty(&r->proposals) && list_is_empty(&r->batches) &&
           list_is_empty(&r->stamp_reads) && !replica_has_open_reads(r) &&
           !strangers_is_checking(r) && !merge_has_duty(r) && r->merge.left_store == 0 &&
           range_meta(r->range)->merges.frozen.attempt == 0 &&
           !list_is_linked(&r->watches.in_watched) &&
           range_meta(r->range)->applied_index == consensus_last_index(r->cons);
}

/* Do all members live where somebody would tell us of their end? */
static bool are_members_alive(const struct replica *r)
{
    const struct cons_config *config = consensus_config(r->cons, NULL);
    for (uint32_t i = 0; i < config->n; i++) {
        uint64_t store_id = config->members[i].store_id;
        if (store_id != r->store->opt.store_id && !pulse_is_alive(r->store, store_id, 0))
            return false;
    }
    return true;
}

static bool is_same_rest(const struct cons_rest *a, const struct cons_rest *b)
{
    return a->leader == b->leader && a->term == b->term && a->index == b->index;
}

/* Put it away, if that can be done now; else it sleeps as it is. */
static void park(struct replica *r)
{
    struct cons_parked *parked = NULL;
    if (!list_is_empty(&r->log_writes) || consensus_park(r->cons, &parked) != 0)
        return;
    r->cons = NULL;
    r->generation++;
    r->nap.parked = parked;
    r->next_write_id = MAX(r->next_write_id, parked->next_write_id);
    r->store->sleepers.parked++;
    log_room_compact(r); /* the library may have known of more than is needed (R18) */
}

static bool fall_asleep(struct replica *r, const struct cons_rest *rest)
{
    uint64_t store_id = 0;
    if (replica_has_open_reads(r) || consensus_sleep(r->cons, replica_now_ms(r), rest) != 0)
        return false;
    consensus_leader(r->cons, &store_id);
    r->nap.rest = *rest;
    r->nap.leader_store = store_id;
    r->nap.asked_us = 0;
    note_asleep(r);
    replica_trim(r);
    park(r);
    if (rest->leader == r->replica_id)
        beats_on_asleep(r);
    return true;
}

static bool have_all_agreed(const struct replica *r)
{
    const struct cons_config *config = consensus_config(r->cons, NULL);
    for (uint32_t i = 0; i < config->n; i++) {
        if (config->members[i].replica_id != r->replica_id && !(r->nap.agreed & BIT(i)))
            return false;
    }
    return true;
}

/* Work since it was last looked at? */
static bool is_busy(struct replica *r, uint64_t now_us)
{
    uint64_t last = consensus_last_index(r->cons);
    bool is_working = !is_idle(r) || last != r->nap.seen_index;
    if (is_working && !r->nap.is_quick)
        r->nap.busy_us = now_us;
    r->nap.seen_index = last;
    uint64_t after_us = r->nap.is_quick ? 0 : (uint64_t)r->store->opt.hibernate_after_ms * 1000;
    return is_working || now_us < MAX(r->nap.busy_us + after_us, r->nap.awake_until_us);
}

/* One of three heartbeats in an election time-out may be lost. */
static void be_calm(struct replica *r, bool is_calm)
{
    const struct store_options *opt = &r->store->opt;
    if (r->nap.is_calm == is_calm)
        return;
    r->nap.is_calm = is_calm;
    consensus_set_heartbeat(r->cons, is_calm ? MAX(opt->election_timeout_ms / 3, opt->heartbeat_ms)
                                             : opt->heartbeat_ms);
}

static void lead_to_rest(struct replica *r, uint64_t now_us)
{
    struct nap *nap = &r->nap;
    struct cons_rest rest;
    uint64_t patience_us = (uint64_t)r->store->opt.election_timeout_ms * 500;
    bool is_idle_long = !is_busy(r, now_us);
    bool are_alive = is_idle_long && are_members_alive(r);
    be_calm(r, is_idle_long && !are_alive);
    if (!are_alive || now_us < nap->not_before_us || !consensus_rest(r->cons, &rest)) {
        nap->asked_us = 0;
        return;
    }
    if (nap->asked_us == 0 || !is_same_rest(&nap->rest, &rest)) {
        nap->rest = rest;
        nap->asked_us = now_us;
        nap->agreed = 0;
    }
    if (have_all_agreed(r)) {
        fall_asleep(r, &rest);
    } else if (now_us >= nap->asked_us + patience_us) {
        nap->asked_us = 0;
        nap->not_before_us = now_us + 2 * patience_us;
    }
}

void sleep_begin_turn(struct replica *r)
{
    if (!r->nap.is_asleep)
        return;
    bool is_awake = r->cons != NULL && !consensus_is_asleep(r->cons);
    if (!is_awake && r->writes.count == 0 && !replica_has_open_reads(r) && !r->needs_stamp)
        return;
    if (is_awake || is_led(r))
        sleep_wake(r, SLEEP_WOKEN_BY_WORK);
    else
        rouse_at_once(r, SLEEP_WOKEN_BY_WORK);
}

void sleep_turn(struct replica *r)
{
    if (r->nap.is_asleep || r->cons == NULL || r->state != REPLICA_RUNNING)
        return;
    if (replica_is_leader(r)) {
        lead_to_rest(r, env_turn_us(r->store->env));
        return;
    }
    r->nap.asked_us = 0;
    be_calm(r, false);
}

void sleep_note_work(struct replica *r)
{
    r->nap.busy_us = env_turn_us(r->store->env);
    r->nap.is_quick = false;
}

void sleep_note_put_off(struct replica *r)
{
    r->nap.awake_until_us = env_turn_us(r->store->env) + (uint64_t)SLEEP_PUT_OFF_MS * 1000;
}

bool sleep_is_rest(const struct replica *r, const struct cons_msg *msg)
{
    const struct nap *nap = &r->nap;
    return nap->asked_us != 0 && msg->type == CONS_MSG_APPEND && msg->append.n == 0 &&
           msg->term == nap->rest.term && msg->append.prev_index == nap->rest.index &&
           msg->append.commit == nap->rest.index;
}

static void say(struct replica *r, uint64_t to_store, uint64_t to_replica, enum pulse_kind kind)
{
    struct pulse_item item = {
        .kind = kind,
        .group = r->range_id,
        .from_replica = r->replica_id,
        .to_replica = to_replica,
        .term = r->nap.rest.term,
        .index = kind == PULSE_RESTED ? r->nap.rest.index : 0,
    };
    if (!env_fault(r->store->env, "store.send.drop"))
        pulse_send_item(r->store, to_store, &item);
}

void sleep_on_rest(struct replica *r, const struct cons_msg *msg, uint64_t from_store,
                   uint64_t boot)
{
    struct cons_rest rest = {
        .leader = msg->from, .term = msg->term, .index = msg->append.prev_index};
    if (r->nap.is_asleep || r->cons == NULL || r->state != REPLICA_RUNNING || !is_idle(r) ||
        !pulse_is_alive(r->store, from_store, boot))
        return;
    r->nap.version = msg->version;
    if (fall_asleep(r, &rest))
        say(r, from_store, msg->from, PULSE_RESTED);
}

/* ---- from the start --------------------------------------------------------------------- */

static int is_no_change(void *data, uint64_t index, const struct raftlog_entry *entry)
{
    (void)data;
    (void)index;
    return entry->type == CONS_CHANGE ? ERR_BUSY : 0;
}

/* May others need nothing of it before it is woken? Its members, while it has no consensus,
 * are those of its descriptor. */
static bool may_be_dormant(const struct replica *r, const struct raftlog_group_state *log)
{
    const struct store *store = r->store;
    uint64_t applied = range_meta(r->range)->applied_index;
    return store->opt.hibernate_after_ms > 0 && r->range_id != RANGE_ID_SYSTEM && !r->has_run &&
           !r->wants_campaign && !r->is_newborn && !r->is_no_member && !log->is_damaged &&
           range_meta(r->range)->merges.frozen.attempt == 0 && !merge_has_duty(r) &&
           raftlog_each(store->log, r->replica_id, applied + 1, log->last_index, CONS_CHANGE,
                        is_no_change, NULL, NULL) == 0;
}

static struct cons_parked *make_parked(const struct replica *r,
                                       const struct raftlog_group_state *log)
{
    struct cons_config config;
    const struct range_meta *meta = range_meta(r->range);
    if (cons_config_decode(buf_slice(&meta->conf), &config, NULL) != 0 ||
        cons_config_voters(&config) < 2)
        return NULL; /* what is wrong is told when consensus begins; who is alone leads at once */
    struct cons_parked *p = malloc(sizeof *p + config.n * sizeof p->members[0]);
    if (p == NULL)
        return NULL;
    *p = (struct cons_parked){
        .term = log->term,
        .vote = log->vote,
        .index = meta->applied_index,
        .index_term = meta->applied_term,
        .config_index = meta->conf_index,
        .next_write_id = r->next_write_id,
        .n_members = config.n,
    };
    memcpy(p->members, config.members, config.n * sizeof p->members[0]);
    return p;
}

bool sleep_from_start(struct replica *r)
{
    struct raftlog_group_state log;
    if (r->range == NULL || raftlog_group_state(r->store->log, r->replica_id, &log) != 0 ||
        !may_be_dormant(r, &log))
        return false;
    struct cons_parked *parked = make_parked(r, &log);
    if (parked == NULL)
        return false;
    r->nap.parked = parked;
    r->nap.rest = (struct cons_rest){.term = parked->term, .index = parked->index};
    r->nap.leader_store = 0;
    r->nap.is_dormant = true;
    r->store->sleepers.parked++;
    note_asleep(r);
    rouse_put(r, SLEEP_WOKEN_BY_START);
    return true;
}

/* ---- waking -------------------------------------------------------------------------------- */

bool sleep_is_parked_leader(const struct replica *r)
{
    return r->nap.parked != NULL && r->nap.parked->leader == r->replica_id;
}

void sleep_on_woken(void *ctx)
{
    replica_wake(ctx);
}

static int begin_again(struct replica *r, bool believes, struct err *err)
{
    struct cons_options options;
    const struct cons_parked *parked = r->nap.parked;
    if (r->nap.is_dormant)
        return replica_start_consensus(r, err);
    replica_cons_options(r, &options);
    bool leads = sleep_is_parked_leader(r);
    struct cons_msg beat = consensus_parked_beat(&options, parked);
    beat.version = r->nap.version;
    int rv = consensus_unpark(&r->cons, &options, store_now_ms(r->store), parked, err);
    if (rv == 0 && believes && !leads)
        consensus_receive(r->cons, store_now_ms(r->store), &beat, NULL);
    return rv;
}

/* `believes`: in the leader that it slept under. */
static void unpark(struct replica *r, bool believes)
{
    struct err err = {0};
    r->nap.is_unparking = true;
    int rv = begin_again(r, believes, &err);
    r->nap.is_unparking = false;
    unpark_free(r);
    if (rv != 0) {
        r->cons = NULL;
        sleep_forget(r);
        replica_damage(r, "wake from sleep", &err);
    }
}

static void wake(struct replica *r, enum sleep_end why, bool is_orphan)
{
    struct store *store = r->store;
    uint64_t now_ms = store_now_ms(store);
    if (!r->nap.is_asleep)
        return;
    store->sleepers.woken[why]++;
    if (r->nap.parked != NULL)
        unpark(r, !is_orphan && is_led(r));
    if (r->cons == NULL)
        return; /* damaged */
    note_awake(r);
    if (is_orphan)
        consensus_wake_orphan(r->cons, now_ms);
    else
        consensus_wake(r->cons, now_ms);
    clock_on_replica(r);
    care_on_awake(r);
    replica_wake(r);
}

void sleep_wake(struct replica *r, enum sleep_end why)
{
    wake(r, why, false);
}

void sleep_wake_orphan(struct replica *r, enum sleep_end why)
{
    wake(r, why, true);
}

void sleep_wake_leaders(struct store *store, enum sleep_end why)
{
    LIST_FOREACH(it, &store->sleepers.asleep)
    {
        struct replica *r = list_entry(it, struct replica, in_awake);
        if (r->nap.rest.leader == r->replica_id)
            sleep_wake(r, why);
    }
}

static bool has_member_on(const struct replica *r, uint64_t store_id)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (d->replicas[i].store_id == store_id)
            return true;
    }
    return false;
}

void sleep_on_lost(struct store *store, uint64_t store_id, enum sleep_end why)
{
    LIST_FOREACH(it, &store->sleepers.asleep)
    {
        struct replica *r = list_entry(it, struct replica, in_awake);
        bool leads = r->nap.rest.leader == r->replica_id;
        if (r->nap.leader_store == store_id || (leads && has_member_on(r, store_id)))
            rouse_put(r, why);
    }
    LIST_FOREACH(it, &store->sleepers.awake) /* who asks asks anew */
    {
        struct replica *r = list_entry(it, struct replica, in_awake);
        if (r->nap.asked_us != 0 && has_member_on(r, store_id))
            r->nap.asked_us = 0;
    }
}

void sleep_on_asked(struct replica *r)
{
    uint64_t now_us = env_now_us(r->store->env);
    uint64_t every_us = (uint64_t)SLEEP_DOUBT_MS * 1000;
    if (r->nap.is_asleep && !is_led(r)) {
        rouse_at_once(r, SLEEP_WOKEN_BY_WORK);
        return;
    }
    if (!r->nap.is_asleep || r->nap.leader_store == r->store->opt.store_id ||
        (r->nap.doubted_us != 0 && now_us < r->nap.doubted_us + every_us))
        return;
    r->nap.doubted_us = now_us;
    strangers_ask_asleep(r, r->nap.leader_store);
}

/* Was the question a client's? */
static bool is_waited_for(const struct replica *r)
{
    uint64_t patience_us = (uint64_t)r->store->opt.election_timeout_ms * 1000;
    return r->nap.doubted_us != 0 && env_now_us(r->store->env) < r->nap.doubted_us + patience_us;
}

static void on_doubt(struct replica *r)
{
    if (is_waited_for(r))
        rouse_at_once(r, SLEEP_WOKEN_BY_DOUBT);
    else
        rouse_put(r, SLEEP_WOKEN_BY_DOUBT);
}

void sleep_on_denied(struct replica *r, uint64_t store_id)
{
    if (r->nap.is_asleep && r->nap.leader_store == store_id && store_id != r->store->opt.store_id)
        on_doubt(r);
}

/* ---- asleep --------------------------------------------------------------------------------- */

static void answer_probe(struct replica *r, const struct cons_msg *probe)
{
    struct cons_msg result;
    if (consensus_parked_probe(r->nap.parked, probe, &result))
        store_send(r, &result);
}

bool sleep_takes(struct replica *r, const struct cons_msg *msg, uint64_t boot)
{
    ASSERT(r->nap.is_asleep);
    struct cons_rest rest = {
        .leader = msg->from, .term = msg->term, .index = msg->append.prev_index};
    if (msg->type == CONS_MSG_PROBE && r->nap.parked != NULL) {
        answer_probe(r, msg);
        r->store->sleepers.told_asleep++;
        return true;
    }
    if (msg->type == CONS_MSG_PROBE)
        return false; /* its consensus answers, and sleeps on */
    if (boot != 0 && msg->type == CONS_MSG_APPEND && is_same_rest(&rest, &r->nap.rest) &&
        pulse_is_alive(r->store, r->nap.leader_store, boot)) {
        say(r, r->nap.leader_store, msg->from, PULSE_RESTED);
        r->store->sleepers.told_asleep++;
        return true;
    }
    bool is_beat = msg->type == CONS_MSG_APPEND && msg->append.n == 0;
    if (r->nap.is_dormant && is_beat && !rouse_takes_beat(r->store))
        return true; /* it comes again */
    sleep_wake(r, SLEEP_WOKEN_BY_WORK);
    return r->cons == NULL;
}

static void on_rested(struct replica *r, uint64_t from_store, uint64_t boot,
                      const struct pulse_item *item)
{
    if (!replica_is_leader(r) || r->nap.asked_us == 0 || r->nap.is_asleep ||
        item->term != r->nap.rest.term || item->index != r->nap.rest.index ||
        !pulse_is_alive(r->store, from_store, boot))
        return;
    const struct cons_config *config = consensus_config(r->cons, NULL);
    for (uint32_t i = 0; i < config->n; i++) {
        if (config->members[i].replica_id == item->from_replica)
            r->nap.agreed |= (uint32_t)BIT(i);
    }
    replica_wake(r);
}

void sleep_on_word(struct store *store, uint64_t from_store, uint64_t boot,
                   const struct pulse_item *item)
{
    struct replica *r = replicas_get(&store->replicas, item->to_replica);
    if (r == NULL || r->range_id != item->group || r->range == NULL ||
        store_id_of(r, item->from_replica) != from_store)
        return;
    if (item->kind == PULSE_RESTED) {
        on_rested(r, from_store, boot, item);
        return;
    }
    sleep_wake(r, SLEEP_WOKEN_BY_DOUBT);
    sleep_note_work(r);
}

void sleep_complain(struct replica *r)
{
    struct store *store = r->store;
    if (r->range == NULL || r->state != REPLICA_DAMAGED)
        return;
    const struct range_descriptor *d = range_descriptor(r->range);
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (d->replicas[i].store_id != store->opt.store_id)
            say(r, d->replicas[i].store_id, d->replicas[i].replica_id, PULSE_WAKE);
    }
    env_timer_start(&r->timer, (uint64_t)SLEEP_COMPLAIN_MS * 1000);
}

uint64_t sleep_leader(const struct replica *r, uint64_t *ret_store_id)
{
    if (r->cons != NULL)
        return consensus_leader(r->cons, ret_store_id);
    if (ret_store_id != NULL)
        *ret_store_id = r->nap.parked == NULL ? 0 : r->nap.leader_store;
    return r->nap.parked == NULL ? 0 : r->nap.rest.leader;
}

/* ---- now and then -----------------------------------------------------------------------------
 */

/* What those had that sleep now lies between what they have still. */
static void trim_memory(struct store *store, uint64_t now_us)
{
    struct sleepers *s = &store->sleepers;
    if (s->slept != s->seen_slept) {
        s->seen_slept = s->slept;
        s->seen_us = now_us;
        return;
    }
    if (s->slept - s->trimmed_slept < SLEEP_TRIM_MIN ||
        now_us < s->seen_us + (uint64_t)SLEEP_TRIM_MS * 1000)
        return;
    s->trimmed_slept = s->slept;
    env_trim_memory(store->env);
}

void sleep_check_some(struct store *store)
{
    struct sleepers *s = &store->sleepers;
    uint64_t now_us = env_now_us(store->env);
    trim_memory(store, now_us);
    uint64_t passed_us = s->checked_us == 0 ? 0 : now_us - s->checked_us;
    uint64_t each_us = (uint64_t)store->opt.hibernate_check_ms * 1000 / MAX(s->count, 1U);
    s->checked_us = now_us;
    s->check_credit_us = MIN(s->check_credit_us + passed_us, each_us * SLEEP_CHECKS_MAX);
    while (s->count > 0 && s->check_credit_us >= each_us && each_us > 0) {
        struct replica *r = list_first(&s->asleep, struct replica, in_awake);
        s->check_credit_us -= each_us;
        list_remove(&r->in_awake);
        list_push_back(&s->asleep, &r->in_awake);
        if (r->nap.rest.leader == r->replica_id)
            beats_on_asleep(r);
        else if (!PLANTED(sleeper_not_checked)) /* who waits in line may wait for ever */
            strangers_ask_asleep(r, is_led(r) ? r->nap.leader_store : 0);
    }
}

void sleep_check_replica(const struct replica *r)
{
    const struct nap *nap = &r->nap;
    ASSERT(list_is_linked(&r->in_awake));
    ASSERT(nap->parked == NULL || nap->is_asleep);
    if (!nap->is_asleep)
        return;
    ASSERT((nap->parked != NULL) == (r->cons == NULL));
    if (r->state == REPLICA_DAMAGED) { /* what found that may be in the middle of a call */
        ASSERT(env_timer_is_active(&r->timer) || list_is_linked(&r->in_woken));
        return; /* its turn comes, and ends it */
    }
    ASSERT(r->state == REPLICA_RUNNING);
    ASSERT(r->range_id != RANGE_ID_SYSTEM);
    ASSERT(!nap->is_dormant || (nap->parked != NULL && list_is_linked(&nap->roused.in_line)));
    if (r->cons != NULL && !consensus_is_asleep(r->cons)) {
        ASSERT(list_is_linked(&r->in_woken)); /* its turn comes */
        return;
    }
    ASSERT(range_meta(r->range)->applied_index == nap->rest.index);
    ASSERT(list_is_empty(&r->log_writes) || nap->parked == NULL);
    ASSERT(list_is_empty(&r->streams) && list_is_empty(&r->proposals));
    ASSERT(!env_timer_is_active(&r->timer) || list_is_linked(&r->in_woken));
}
