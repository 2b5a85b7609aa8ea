/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection that we dial to a peer store.
 *
 * Urgent frames go to the link's buffer, bulk ones wait here in chunks. At the end
 * of a turn the link hands over its buffer, then on_flush() adds chunks while less
 * than NET_PEER_WINDOW waits in the env: what the kernel has not taken cannot be
 * overtaken any more, so little is put there.
 *
 * Every failure waits longer than the one before; a pong, which comes only from a
 * store that has accepted us, begins anew.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/pages.h"
#include "net/net_internal.h"

enum { CHUNK_MIN = 32 << 10 }; /* small frames share one */

struct chunk {
    struct list in_bulk;
    uint8_t *bytes; /* owned */
    size_t len;
    size_t cap;
};

enum peer_state {
    PEER_WAITING,  /* for the timer */
    PEER_DIALLING, /* and greeting, until the first pong */
    PEER_UP,
};

struct net_peer {
    struct net *net;
    uint64_t store_id;
    char address[ENV_ADDRESS_MAX];

    enum peer_state state;
    struct net_link *link; /* NULL while WAITING */
    struct net_identity who;
    struct list bulk; /* chunk.in_bulk */
    size_t bulk_len;
    size_t urgent_len; /* at most so much of what waits in the link is urgent */
    uint32_t failures; /* in a row */
    bool has_other_secret;
    uint64_t heard_us; /* on connections that are gone, or that it dialled */
    uint64_t rtt_us;
    uint64_t clock_ms; /* its wall clock … */
    uint64_t clock_us; /* … at this time of ours; 0: not known */
    uint32_t disk;     /* as it said last */
    struct env_timer redial;
};

/* ---- the queue ----------------------------------------------------------------------- */

static void chunk_free(struct chunk *chunk)
{
    free(chunk->bytes);
    free(chunk);
}

/* An empty one at the end of the queue, still without memory for bytes. */
static struct chunk *chunk_add(struct net_peer *peer)
{
    struct chunk *chunk = calloc(1, sizeof *chunk);
    if (chunk == NULL)
        return NULL;
    list_init(&chunk->in_bulk);
    list_push_back(&peer->bulk, &chunk->in_bulk);
    return chunk;
}

static struct chunk *chunk_with_room(struct net_peer *peer, size_t len)
{
    struct chunk *last =
        list_is_empty(&peer->bulk) ? NULL : list_entry(peer->bulk.prev, struct chunk, in_bulk);
    if (last != NULL && len <= last->cap - last->len)
        return last;
    size_t cap = MAX(len, (size_t)CHUNK_MIN);
    uint8_t *bytes = pages_malloc(cap);
    struct chunk *chunk = bytes == NULL ? NULL : chunk_add(peer);
    if (chunk == NULL) {
        free(bytes);
        return NULL;
    }
    chunk->bytes = bytes;
    chunk->cap = cap;
    return chunk;
}

/* Copied behind others, or with the memory that they stand in. */
static int bulk_push(struct net_peer *peer, struct slice frames, struct buf *owner)
{
    bool is_taken = owner != NULL && frames.len >= CHUNK_MIN && owner->cap / 2 <= frames.len;
    struct chunk *chunk = is_taken ? chunk_add(peer) : chunk_with_room(peer, frames.len);
    if (chunk == NULL)
        return ERR_BUSY;
    if (is_taken)
        chunk->bytes = buf_take(owner, &chunk->cap);
    else
        memcpy(chunk->bytes + chunk->len, frames.data, frames.len);
    chunk->len += frames.len;
    peer->bulk_len += frames.len;
    return 0;
}

static struct chunk *bulk_pop(struct net_peer *peer)
{
    struct list *link = list_pop_front(&peer->bulk);
    if (link == NULL)
        return NULL;
    struct chunk *chunk = list_entry(link, struct chunk, in_bulk);
    ASSERT(peer->bulk_len >= chunk->len);
    peer->bulk_len -= chunk->len;
    return chunk;
}

static void bulk_clear(struct net_peer *peer)
{
    struct chunk *chunk;
    while ((chunk = bulk_pop(peer)) != NULL)
        chunk_free(chunk);
    ASSERT(peer->bulk_len == 0);
    peer->urgent_len = 0;
}

/* ---- dialling ------------------------------------------------------------------------- */

/* Exponential, half of it random, so that the stores of a cluster that came back
 * do not all knock at once. */
static uint64_t redial_delay_us(struct net_peer *peer)
{
    const struct net_limits *limits = &peer->net->limits;
    uint64_t wait_ms = limits->redial_ms_min;
    for (uint32_t i = 0; i < peer->failures && wait_ms < limits->redial_ms_max; i++)
        wait_ms *= 2;
    uint64_t wait_us = MIN(wait_ms, (uint64_t)limits->redial_ms_max) * 1000;
    return wait_us / 2 + env_random(peer->net->env) % (wait_us / 2 + 1);
}

static void peer_wait(struct net_peer *peer)
{
    peer->state = PEER_WAITING;
    peer->link = NULL;
    bulk_clear(peer);
    env_timer_start(&peer->redial, redial_delay_us(peer));
    if (peer->failures < UINT32_MAX)
        peer->failures++;
}

static void peer_note_down(struct net_peer *peer, int status, const char *reason)
{
    struct net *net = peer->net;
    uint64_t store_id = peer->store_id;
    bool was_up = peer->state == PEER_UP;
    peer_wait(peer);
    if (net->hooks.on_peer_down != NULL)
        net->hooks.on_peer_down(net->data, store_id, was_up, status, reason);
}

static void on_open(struct net_link *link)
{
    net_greet_hello(link, HELLO_PEER);
}

/* It read its clock half a round trip ago, give or take that half. */
static void note_clock(struct net_peer *peer, uint64_t wall_ms, uint64_t now_us)
{
    if (wall_ms == 0 || wall_ms > INT64_MAX)
        return;
    if (peer->rtt_us > (uint64_t)NET_CLOCK_RTT_MAX_MS * 1000)
        return;
    ASSERT(peer->rtt_us <= now_us);
    peer->clock_ms = wall_ms;
    peer->clock_us = now_us - peer->rtt_us / 2;
}

static int on_pong(struct net_link *link, struct slice body, struct err *err)
{
    struct net_peer *peer = link->data;
    struct net *net = peer->net;
    struct ping pong;
    int code = ping_decode(body, &pong, err);
    if (code != 0)
        return code;
    if (pong.token == link->pinged_us) {
        peer->rtt_us = link->heard_us - pong.token;
        note_clock(peer, pong.wall_ms, link->heard_us);
    }
    peer->failures = 0;
    peer->disk = pong.disk;
    if (peer->state == PEER_UP)
        return 0;
    ASSERT(peer->state == PEER_DIALLING);
    peer->state = PEER_UP;
    if (net->hooks.on_peer_up != NULL)
        net->hooks.on_peer_up(net->data, &peer->who);
    return 0;
}

static int on_frame(struct net_link *link, uint32_t kind, struct slice body, struct err *err)
{
    struct net_peer *peer = link->data;
    if (!link->is_standing)
        return net_greet_answer(link, peer->store_id, kind, body, &peer->who, err);
    if (kind == MSG_PONG)
        return on_pong(link, body, err);
    return err_set(err, ERR_UNSUPPORTED, "message %u (%s) against the stream", kind,
                   msg_kind_name(kind));
}

static void on_flush(struct net_link *link)
{
    struct net_peer *peer = link->data;
    while (env_conn_pending(link->conn) < NET_PEER_WINDOW) {
        struct chunk *chunk = bulk_pop(peer);
        if (chunk == NULL)
            return;
        net_link_write(link, chunk->bytes, chunk->len);
        free(chunk);
    }
}

static void on_drain(struct net_link *link)
{
    struct net_peer *peer = link->data;
    peer->urgent_len = MIN(peer->urgent_len, net_link_pending(link));
    if (!list_is_empty(&peer->bulk))
        env_task_post(peer->net->env, &link->task);
}

static void on_end(struct net_link *link, int status, const char *reason)
{
    struct net_peer *peer = link->data;
    ASSERT(peer->link == link);
    peer->heard_us = MAX(peer->heard_us, link->is_standing ? link->heard_us : 0);
    peer->has_other_secret = link->greet.is_secret_foreign;
    peer_note_down(peer, status, reason);
}

static const struct net_link_handler PEER_HANDLER = {.on_open = on_open,
                                                     .on_frame = on_frame,
                                                     .on_flush = on_flush,
                                                     .on_drain = on_drain,
                                                     .on_end = on_end};

static void on_redial(struct env_timer *timer)
{
    struct net_peer *peer = timer->data;
    struct err err = {0};
    ASSERT(peer->state == PEER_WAITING);
    peer->state = PEER_DIALLING;
    int code = net_link_dial(peer->net, peer->address, &PEER_HANDLER, peer, &peer->link, &err);
    if (code != 0)
        peer_note_down(peer, code, err.msg);
}

void net_peer_dial_now(struct net_peer *peer)
{
    if (peer->state == PEER_WAITING)
        env_timer_start(&peer->redial, 0);
}

/* Called with ping_ms and silence_ms of every peer in mind: a pong is due after each
 * ping that has left, and nothing else flows towards us here. */
void net_peers_sweep(struct net *net, uint64_t now_us)
{
    const struct net_limits *limits = &net->limits;
    struct net_peer *peer;
    uint32_t cursor = 0;
    while ((peer = map_next(&net->peers, &cursor, NULL)) != NULL) {
        struct net_link *link = peer->link;
        if (link == NULL || !link->is_standing || link->state != LINK_OPEN)
            continue;
        if (net_is_over(net, net_link_alive_us(link, now_us), limits->silence_ms, now_us))
            net_link_doom(link, ERR_TIMEOUT, "silent for %u ms", limits->silence_ms);
        else if (now_us - link->pinged_us >= (uint64_t)limits->ping_ms * 1000)
            net_link_ping(link);
    }
}

/* ---- calls ------------------------------------------------------------------------------ */

static bool is_address(const char *address)
{
    size_t len = strlen(address);
    return len > 0 && len < ENV_ADDRESS_MAX && strchr(address, ':') != NULL;
}

int net_peer_add(struct net *net, uint64_t store_id, const char *address,
                 struct net_peer **ret_peer, struct err *err)
{
    if (store_id == 0 || store_id == net->self.store_id || !is_address(address))
        return err_set(err, ERR_INVALID, "store %llu at '%s' cannot be a peer",
                       (unsigned long long)store_id, address);
    if (map_get(&net->peers, store_id) != NULL)
        return err_set(err, ERR_EXISTS, "store %llu is a peer already",
                       (unsigned long long)store_id);
    if (net->peers.count >= NET_PEERS_MAX)
        return err_set(err, ERR_BUSY, "more than %d peers", NET_PEERS_MAX);
    struct net_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL || map_put(&net->peers, store_id, peer) != 0) {
        free(peer);
        return err_set(err, ERR_NOMEM, "add peer: out of memory");
    }
    peer->net = net;
    peer->store_id = store_id;
    snprintf(peer->address, sizeof peer->address, "%s", address);
    list_init(&peer->bulk);
    env_timer_init(&peer->redial, net->env, on_redial, peer);
    env_timer_start(&peer->redial, 0);
    *ret_peer = peer;
    return 0;
}

struct net_peer *net_peer_find(const struct net *net, uint64_t store_id)
{
    return map_get(&net->peers, store_id);
}

int net_peer_set_address(struct net_peer *peer, const char *address, struct err *err)
{
    if (!is_address(address))
        return err_set(err, ERR_INVALID, "'%s' is no address of a peer", address);
    if (strcmp(peer->address, address) == 0)
        return 0;
    snprintf(peer->address, sizeof peer->address, "%s", address);
    peer->failures = 0;
    if (peer->link != NULL)
        net_link_doom(peer->link, ERR_CANCELED, "it moved to %s", address);
    else
        net_peer_dial_now(peer);
    return 0;
}

static void peer_free(struct net_peer *peer)
{
    env_timer_stop(&peer->redial);
    bulk_clear(peer);
    free(peer);
}

void net_peer_remove(struct net_peer *peer)
{
    if (peer == NULL)
        return;
    struct net *net = peer->net;
    map_remove(&net->peers, peer->store_id);
    net_incoming_close(net, peer->store_id, "this store is a peer no more");
    if (peer->link != NULL)
        net_link_close(peer->link, 0, "");
    peer_free(peer);
}

uint64_t net_peer_store_id(const struct net_peer *peer)
{
    return peer->store_id;
}

const char *net_peer_address(const struct net_peer *peer)
{
    return peer->address;
}

static int send_urgent(struct net_peer *peer, struct slice frames)
{
    peer->urgent_len = MIN(peer->urgent_len, net_link_pending(peer->link));
    if (peer->urgent_len > 0 &&
        frames.len > peer->net->limits.peer_urgent_max -
                         MIN(peer->urgent_len, peer->net->limits.peer_urgent_max))
        return ERR_BUSY;
    if (net_link_send(peer->link, frames) != 0)
        return ERR_UNAVAILABLE;
    peer->urgent_len += frames.len;
    return 0;
}

size_t net_peer_room(const struct net_peer *peer)
{
    size_t max = peer->net->limits.peer_bulk_max;
    if (!net_peer_is_up(peer))
        return 0;
    return peer->bulk_len == 0 ? SIZE_MAX : max - MIN(peer->bulk_len, max);
}

static int send_bulk(struct net_peer *peer, struct slice frames, struct buf *owner)
{
    if (net_peer_room(peer) == 0)
        return ERR_BUSY;
    int code = bulk_push(peer, frames, owner);
    if (code == 0)
        env_task_post(peer->net->env, &peer->link->task);
    return code;
}

static int send_any(struct net_peer *peer, enum net_class class, struct slice frames,
                    struct buf *owner)
{
    ASSERT(frames.len >= FRAME_PREFIX_LEN);
    if (!net_peer_is_up(peer))
        return ERR_UNAVAILABLE;
    return class == NET_URGENT ? send_urgent(peer, frames) : send_bulk(peer, frames, owner);
}

int net_peer_send(struct net_peer *peer, enum net_class class, struct slice frames)
{
    return send_any(peer, class, frames, NULL);
}

int net_peer_send_off(struct net_peer *peer, enum net_class class, struct buf *frames)
{
    ASSERT(!frames->failed);
    return send_any(peer, class, buf_slice(frames), frames);
}

bool net_peer_is_up(const struct net_peer *peer)
{
    return peer->state == PEER_UP && peer->link->state == LINK_OPEN;
}

uint32_t net_peer_protocol(const struct net_peer *peer)
{
    return peer->state == PEER_UP ? peer->link->greet.protocol : 0;
}

bool net_peer_has_other_secret(const struct net_peer *peer)
{
    return peer->has_other_secret;
}

void net_peer_note_heard(struct net *net, uint64_t store_id, uint64_t now_us)
{
    struct net_peer *peer = map_get(&net->peers, store_id);
    if (peer != NULL)
        peer->heard_us = MAX(peer->heard_us, now_us);
}

uint64_t net_peer_heard_us(const struct net_peer *peer)
{
    bool has_link = peer->link != NULL && peer->link->is_standing;
    return MAX(peer->heard_us, has_link ? peer->link->heard_us : 0);
}

size_t net_peer_pending(const struct net_peer *peer)
{
    return peer->bulk_len + (peer->link == NULL ? 0 : net_link_pending(peer->link));
}

uint64_t net_peer_rtt_us(const struct net_peer *peer)
{
    return peer->rtt_us;
}

uint32_t net_peer_disk(const struct net_peer *peer)
{
    return peer->state == PEER_UP ? peer->disk : 0;
}

bool net_peer_clock_offset_ms(const struct net_peer *peer, int64_t *ret_offset_ms)
{
    struct env *env = peer->net->env;
    uint64_t now_us = env_now_us(env);
    ASSERT(now_us >= peer->clock_us);
    uint64_t age_ms = (now_us - peer->clock_us) / 1000;
    if (peer->clock_us == 0 || age_ms > NET_CLOCK_AGE_MAX_MS)
        return false;
    uint64_t own_ms = MIN(env_wall_ms(env), (uint64_t)INT64_MAX);
    uint64_t its_ms = MIN(peer->clock_ms + age_ms, (uint64_t)INT64_MAX);
    *ret_offset_ms = (int64_t)its_ms - (int64_t)own_ms;
    return true;
}

void net_peers_free(struct net *net)
{
    struct net_peer *peer;
    uint32_t cursor = 0;
    while ((peer = map_next(&net->peers, &cursor, NULL)) != NULL)
        peer_free(peer);
    map_fini(&net->peers);
}
