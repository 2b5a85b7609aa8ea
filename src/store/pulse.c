/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pulse.h"

#include <stdlib.h>

#include "base/plant.h"
#include "store/sleep.h"
#include "store/store_internal.h"
#include "wire/pulse_msg.h"

enum { ITEMS_BYTES_MAX = 1 << 20 };

/* Three of them fit in an election time-out: one may be lost. */
uint32_t pulse_ms(const struct store *store)
{
    return MAX(MIN((uint32_t)PULSE_MS, store->opt.election_timeout_ms / 3), 1U);
}

const struct neighbour *pulse_of(const struct store *store, uint64_t store_id)
{
    return map_get(&store->pulses.neighbours, store_id);
}

bool pulse_is_alive(const struct store *store, uint64_t store_id, uint64_t boot)
{
    const struct neighbour *n = pulse_of(store, store_id);
    return n != NULL && !n->is_silent && (boot == 0 || n->boot == boot);
}

/* NULL: out of memory. */
static struct neighbour *neighbour_get(struct store *store, uint64_t store_id)
{
    struct neighbour *n = map_get(&store->pulses.neighbours, store_id);
    if (n != NULL)
        return n;
    n = calloc(1, sizeof *n);
    if (n == NULL || map_put(&store->pulses.neighbours, store_id, n) != 0) {
        free(n);
        return NULL;
    }
    n->store_id = store_id;
    n->is_silent = true;
    list_init(&n->in_due);
    buf_init(&n->items, ITEMS_BYTES_MAX);
    return n;
}

/* ---- out --------------------------------------------------------------------------- */

bool pulse_reaches(const struct net_peer *peer)
{
    uint32_t least = PLANTED(older_store_pulsed) ? PROTOCOL_VERSION_MIN : PROTOCOL_PULSE;
    return peer != NULL && net_peer_protocol(peer) >= least;
}

static void send_now(struct store *store, struct neighbour *n)
{
    struct pulse pulse = {.boot = store->identity.boot_number,
                          .items = {.count = n->count, .raw = buf_slice(&n->items)}};
    uint32_t count = n->count;
    list_remove(&n->in_due);
    n->count = 0;
    n->sent_us = env_now_us(store->env);
    if (!n->items.failed && pulse_reaches(net_peer_find(store->net, n->store_id))) {
        buf_clear(&store->frames);
        size_t start = frame_begin(&store->frames);
        pulse_encode(&store->frames, &pulse);
        frame_end(&store->frames, start, false);
        store->pulses.sent++;
        store->pulses.items += count;
        store_send_frames(store, n->store_id, NET_URGENT);
    }
    buf_clear(&n->items);
    if (count == 0) /* memory of busier times */
        buf_fini(&n->items), buf_init(&n->items, ITEMS_BYTES_MAX);
}

static void task_due(struct env_task *task)
{
    struct store *store = task->data;
    struct list *link;
    while ((link = list_pop_front(&store->pulses.due)) != NULL)
        send_now(store, list_entry(link, struct neighbour, in_due));
}

void pulse_send_item(struct store *store, uint64_t to_store, const struct pulse_item *item)
{
    struct neighbour *n = neighbour_get(store, to_store);
    if (n == NULL)
        return;
    pulse_item_append(&n->items, item);
    n->count++;
    if (!list_is_linked(&n->in_due))
        list_push_back(&store->pulses.due, &n->in_due);
    if (n->count == PULSE_ITEMS_MAX || n->items.failed)
        send_now(store, n);
    else
        env_task_post(store->env, &store->pulses.task);
}

bool pulse_takes(const struct cons_msg *msg)
{
    return (msg->type == CONS_MSG_APPEND && msg->append.n == 0) ||
           msg->type == CONS_MSG_APPEND_RESULT;
}

void pulse_send(struct store *store, struct net_peer *peer, const struct cons_msg *msg,
                bool is_rest)
{
    struct pulse_item item = {
        .version = msg->version,
        .group = msg->group_id,
        .from_replica = msg->from,
        .to_replica = msg->to,
        .term = msg->term,
    };
    ASSERT(pulse_takes(msg));
    if (msg->type == CONS_MSG_APPEND) {
        item.kind = is_rest ? PULSE_REST : PULSE_BEAT;
        item.index = msg->append.prev_index;
        item.prev_term = msg->append.prev_term;
        item.commit = msg->append.commit;
    } else {
        item.kind = PULSE_RESULT;
        item.index = msg->append_result.last_index;
        item.rejected = msg->append_result.rejected;
        item.features = msg->append_result.features;
        item.capacity = msg->append_result.capacity;
    }
    pulse_send_item(store, net_peer_store_id(peer), &item);
}

/* ---- in ------------------------------------------------------------------------------ */

static void message_of(const struct pulse_item *item, struct cons_msg *msg)
{
    *msg = (struct cons_msg){
        .type = CONS_MSG_APPEND,
        .version = item->version,
        .group_id = item->group,
        .from = item->from_replica,
        .to = item->to_replica,
        .term = item->term,
    };
    if (item->kind == PULSE_RESULT) {
        msg->type = CONS_MSG_APPEND_RESULT;
        msg->append_result = (struct cons_msg_append_result){
            .rejected = item->rejected,
            .last_index = item->index,
            .features = item->features,
            .capacity = item->capacity,
        };
    } else {
        msg->append = (struct cons_msg_append){
            .prev_index = item->index, .prev_term = item->prev_term, .commit = item->commit};
    }
}

static void take_item(struct store *store, uint64_t from_store, uint64_t boot,
                      const struct pulse_item *item)
{
    struct cons_msg msg;
    if (item->kind == PULSE_RESTED || item->kind == PULSE_WAKE) {
        sleep_on_word(store, from_store, boot, item);
        return;
    }
    message_of(item, &msg);
    struct err err = {0};
    if (store_take_raft(store, from_store, &msg, item->kind == PULSE_REST ? boot : 0, &err) != 0)
        LOG_WARN(store->logger, "item_refused", "from=%llu reason=\"%s\"",
                 (unsigned long long)from_store, err.msg);
}

/* Is it of this life? A new one is told to whoever sleeps. */
static bool take_boot(struct store *store, struct neighbour *n, uint64_t boot)
{
    if (boot < n->boot)
        return false;
    bool is_new = boot > n->boot;
    bool was_silent = n->is_silent;
    n->boot = boot;
    n->heard_us = env_now_us(store->env);
    n->is_silent = false;
    if (is_new)
        sleep_on_lost(store, n->store_id, SLEEP_WOKEN_BY_BOOT);
    else if (was_silent)
        rouse_on_alive(store);
    return true;
}

int pulse_on_message(struct store *store, uint64_t from_store, struct slice body, struct err *err)
{
    struct pulse pulse;
    int rv = pulse_decode(body, &pulse, err);
    if (rv != 0)
        return rv;
    struct neighbour *n = neighbour_get(store, from_store);
    store->pulses.received++;
    if (n == NULL || !take_boot(store, n, pulse.boot))
        return 0;
    struct unpack u = unpack_of(pulse.items.raw);
    for (uint32_t i = 0; i < pulse.items.count; i++) {
        struct pulse_item item;
        pulse_item_next(&u, &item);
        take_item(store, from_store, pulse.boot, &item);
    }
    return 0;
}

/* ---- time ------------------------------------------------------------------------------ */

/* `late_us`: the loop did not run for so long, and what was said meanwhile has still to be
 * read. That is no silence of theirs. */
static void look_for_silence(struct store *store, uint64_t now_us, uint64_t late_us)
{
    uint64_t patience_us = (uint64_t)store->opt.election_timeout_ms * 1000;
    uint32_t cursor = 0;
    struct neighbour *n;
    while ((n = map_next(&store->pulses.neighbours, &cursor, NULL)) != NULL) {
        n->heard_us = MIN(n->heard_us + late_us, now_us);
        if (n->is_silent || now_us - n->heard_us < patience_us)
            continue;
        n->is_silent = true;
        LOG_INFO(store->logger, "silent", "store=%llu boot=%llu", (unsigned long long)n->store_id,
                 (unsigned long long)n->boot);
        if (!PLANTED(silence_not_heeded))
            sleep_on_lost(store, n->store_id, SLEEP_WOKEN_BY_SILENCE);
    }
}

static void timer_due(struct env_timer *timer)
{
    struct store *store = timer->data;
    uint64_t now_us = env_now_us(store->env);
    uint64_t every_us = (uint64_t)pulse_ms(store) * 1000;
    const struct book_entry *e;
    for (uint32_t i = 0; (e = book_at(&store->book, i)) != NULL; i++) {
        const struct net_peer *peer = e->is_removed || e->store_id == store->opt.store_id
                                          ? NULL
                                          : net_peer_find(store->net, e->store_id);
        struct neighbour *n = pulse_reaches(peer) ? neighbour_get(store, e->store_id) : NULL;
        /* What went out with heartbeats a moment ago was one, too. */
        if (n != NULL && now_us - n->sent_us >= every_us / 2)
            send_now(store, n);
    }
    look_for_silence(store, now_us, now_us - MIN(timer->due_us, now_us));
    env_timer_start(timer, every_us);
}

void pulse_init(struct store *store)
{
    struct pulses *p = &store->pulses;
    map_init(&p->neighbours);
    list_init(&p->due);
    env_task_init(&p->task, task_due, store);
    env_timer_init(&p->timer, store->env, timer_due, store);
}

void pulse_start(struct store *store)
{
    if (!env_timer_is_active(&store->pulses.timer))
        env_timer_start(&store->pulses.timer, 0);
}

void pulse_free(struct store *store)
{
    struct pulses *p = &store->pulses;
    uint32_t cursor = 0;
    struct neighbour *n;
    env_timer_stop(&p->timer);
    while ((n = map_next(&p->neighbours, &cursor, NULL)) != NULL) {
        buf_fini(&n->items);
        free(n);
    }
    map_fini(&p->neighbours);
}
