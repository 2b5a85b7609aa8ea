/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients: requests in, replies out, and the push back when one of them asks for
 * more than it takes.
 *
 *   request ─▶ in_flight + 1 ─▶ on_request() … net_client_reply() ─▶ in_flight - 1
 *
 *   not read while   in_flight, less what is parked, has met requests_max, until half is done
 *              or    waiting replies have met replies_pause, until half has left
 *              or    it had NET_TURN_SHARE of the NET_TURN_REQUESTS of a turn, until the next
 *   closed when      the latter lasts replies_stuck_ms, or it takes nothing at all of what
 *                    waits for so long, or replies_max is met, or it is the greediest
 *                    when memory_max is met, or it was idle
 */
#include <stdlib.h>

#include "net/net_internal.h"

struct net_client {
    struct net_link *link; /* owned by net, as this */
    uint64_t number;
    bool is_proven; /* a store that knows the cluster's secret */
    uint32_t in_flight;
    uint32_t parked; /* of them */
    bool is_full;    /* requests_max was met */
    bool is_stuck;   /* replies_pause was met */
    bool is_resting; /* the turn had enough of it */
    bool is_paused;  /* for one of these */
    uint64_t turn;   /* in which it had … */
    uint32_t turn_requests;
    struct list in_resting;
    uint64_t stuck_us;  /* since then */
    uint64_t active_us; /* last request or reply */
    uint64_t pushed;    /* bytes of replies, ever … */
    int64_t taken;      /* … and of those, when it was looked at last, no longer here */
    uint64_t taken_us;  /* it took some, or nothing waited */
    size_t memory;      /* what it counts for in stats.clients_memory */
};

static struct net_client *client_find(const struct net *net, uint64_t number)
{
    struct net_client *client = map_get(&net->clients, number);
    if (client == NULL || client->link->state != LINK_OPEN)
        return NULL;
    return client;
}

/* ---- bounds ------------------------------------------------------------------------ */

static struct net_client *clients_greediest(const struct net *net)
{
    struct net_client *greediest = NULL, *client;
    uint32_t cursor = 0;
    while ((client = map_next(&net->clients, &cursor, NULL)) != NULL) {
        if (client->link->state == LINK_OPEN &&
            (greediest == NULL || client->memory > greediest->memory))
            greediest = client;
    }
    return greediest;
}

static void client_set_memory(struct net_client *client, size_t memory)
{
    struct net_stats *stats = &client->link->net->stats;
    ASSERT(stats->clients_memory >= client->memory);
    stats->clients_memory += memory - client->memory;
    client->memory = memory;
}

static void client_doom(struct net_client *client, const char *why, size_t limit)
{
    net_link_doom(client->link, ERR_BUSY, "%s: limit %zu bytes", why, limit);
    client_set_memory(client, 0);
}

/* What is held for it, and for all. */
static void client_account(struct net_client *client)
{
    struct net_link *link = client->link;
    const struct net_limits *limits = &link->net->limits;
    if (link->state != LINK_OPEN)
        return;
    client_set_memory(client,
                      net_link_pending(link) + link->held.cap + frame_reader_memory(&link->reader));
    if (net_link_pending(link) > limits->replies_max)
        client_doom(client, "too many replies wait for it", limits->replies_max);
    while (link->net->stats.clients_memory > limits->memory_max) {
        struct net_client *greediest = clients_greediest(link->net);
        if (greediest == NULL)
            return; /* those who hold it are on their way out */
        client_doom(greediest, "it holds most of the clients' memory", limits->memory_max);
    }
}

/* All reasons not to read it, with hysteresis; and whether that changed. */
static void client_push_back(struct net_client *client)
{
    struct net_link *link = client->link;
    struct net *net = link->net;
    const struct net_limits *limits = &net->limits;
    if (link->state != LINK_OPEN)
        return;
    size_t waiting = net_link_pending(link);
    uint32_t in_flight = client->in_flight - client->parked;
    client->is_full =
        client->is_full ? in_flight > limits->requests_max / 2 : in_flight >= limits->requests_max;
    bool is_stuck =
        client->is_stuck ? waiting > limits->replies_pause / 2 : waiting > limits->replies_pause;
    if (is_stuck && !client->is_stuck)
        client->stuck_us = env_now_us(net->env);
    client->is_stuck = is_stuck;
    bool is_paused = client->is_full || client->is_stuck || client->is_resting;
    if (is_paused == client->is_paused)
        return;
    client->is_paused = is_paused;
    if (is_paused) {
        net->stats.clients_paused++;
        net_link_pause(link);
    } else {
        net->stats.clients_paused--;
        net_link_resume(link);
    }
}

/* A turn that reads all that a flood has sent leaves no time for peers: votes, heartbeats and
 * acknowledgements come late, and the flood ends in an election. */
static void client_note_turn(struct net_client *client)
{
    struct net *net = client->link->net;
    if (net->turn_requests++ == 0)
        env_task_post(net->env, &net->turn_end);
    if (client->turn != net->turn) {
        client->turn = net->turn;
        client->turn_requests = 0;
    }
    client->turn_requests++;
    if (client->is_resting || net->turn_requests <= NET_TURN_REQUESTS ||
        client->turn_requests <= NET_TURN_SHARE)
        return;
    client->is_resting = true;
    list_push_back(&net->resting, &client->in_resting);
    if (!env_timer_is_active(&net->next_turn))
        env_timer_start(&net->next_turn, 0);
}

void net_clients_turn_end(struct env_task *task)
{
    struct net *net = task->data;
    net->turn++;
    net->turn_requests = 0;
}

void net_clients_next_turn(struct env_timer *timer)
{
    struct net *net = timer->data;
    struct list *link;
    while ((link = list_pop_front(&net->resting)) != NULL) {
        struct net_client *client = list_entry(link, struct net_client, in_resting);
        client->is_resting = false;
        client_push_back(client);
    }
}

/* ---- the link's handler --------------------------------------------------------------- */

static int on_frame(struct net_link *link, uint32_t kind, struct slice body, struct err *err)
{
    struct net_client *client = link->data;
    struct net *net = link->net;
    if (kind == MSG_PONG)
        return 0;
    if (kind != MSG_REQUEST)
        return err_set(err, ERR_UNSUPPORTED, "message %u (%s) from a client", kind,
                       msg_kind_name(kind));
    client->in_flight++;
    client->active_us = link->heard_us;
    client_note_turn(client);
    int code = net->hooks.on_request(net->data, client->number, body, err);
    ASSERT(code <= 0);
    if (code == 0)
        client_push_back(client);
    return code;
}

/* Where memory gets short nothing is kept for the next frame: nobody is to go for that. */
static void on_read(struct net_link *link)
{
    const struct net *net = link->net;
    if (net->stats.clients_memory > net->limits.memory_max / 2)
        frame_reader_trim(&link->reader);
    client_account(link->data);
}

static void on_drain(struct net_link *link)
{
    struct net *net = link->net;
    struct net_client *client = link->data;
    client_account(client);
    client_push_back(client);
    if (link->state == LINK_OPEN && net->hooks.on_client_drained != NULL)
        net->hooks.on_client_drained(net->data, client->number);
}

static void on_end(struct net_link *link, int status, const char *reason)
{
    struct net_client *client = link->data;
    struct net *net = link->net;
    uint64_t number = client->number;
    ASSERT(client->link == link);
    client_set_memory(client, 0);
    net->stats.clients_paused -= client->is_paused;
    list_remove(&client->in_resting);
    map_remove(&net->clients, number);
    net->stats.clients--;
    free(client);
    if (status != ERR_EOF)
        net_refused(net, link->address, reason);
    if (net->hooks.on_client_gone != NULL)
        net->hooks.on_client_gone(net->data, number);
}

static const struct net_link_handler CLIENT_HANDLER = {
    .on_frame = on_frame, .on_drain = on_drain, .on_read = on_read, .on_end = on_end};

int net_client_begin(struct net_link *link, bool is_proven, struct err *err)
{
    struct net *net = link->net;
    struct net_client *client = calloc(1, sizeof *client);
    uint64_t number = net->client_next++;
    if (client == NULL || map_put(&net->clients, number, client) != 0) {
        free(client);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    list_init(&client->in_resting);
    client->link = link;
    client->number = number;
    client->is_proven = is_proven;
    client->active_us = link->heard_us;
    net->stats.clients++;
    net_link_hand_over(link, &CLIENT_HANDLER, client);
    return 0;
}

/* Little may wait for a client that reads nothing at all: whoever answers it stops early. */
static bool takes_nothing(struct net_client *client, uint64_t now_us)
{
    const struct net *net = client->link->net;
    size_t waiting = net_link_pending(client->link);
    int64_t taken = (int64_t)client->pushed - (int64_t)waiting;
    if (waiting == 0 || taken > client->taken || client->taken_us == 0)
        client->taken_us = now_us;
    client->taken = taken;
    return net_is_over(net, client->taken_us, net->limits.replies_stuck_ms, now_us);
}

void net_clients_sweep(struct net *net, uint64_t now_us)
{
    const struct net_limits *limits = &net->limits;
    struct net_client *client;
    uint32_t cursor = 0;
    while ((client = map_next(&net->clients, &cursor, NULL)) != NULL) {
        struct net_link *link = client->link;
        if (link->state == LINK_OPEN) /* who is idle keeps nothing */
            frame_reader_trim(&link->reader);
        client_account(client);
        client_push_back(client); /* on_drain comes late: when nothing waits at all */
        if (link->state != LINK_OPEN)
            continue;
        bool is_idle_reader = takes_nothing(client, now_us);
        if (is_idle_reader || (client->is_stuck && net_is_over(net, client->stuck_us,
                                                               limits->replies_stuck_ms, now_us)))
            net_link_doom(link, ERR_BUSY, "replies wait for it since %u ms",
                          limits->replies_stuck_ms);
        else if (client->in_flight == 0 &&
                 net_is_over(net, client->active_us, limits->idle_ms, now_us) &&
                 net_is_over(net, link->heard_us, limits->idle_ms, now_us))
            net_link_doom(link, ERR_TIMEOUT, "idle since %u ms", limits->idle_ms);
    }
}

/* ---- calls ------------------------------------------------------------------------------ */

bool net_client_is_proven(const struct net *net, uint64_t number)
{
    const struct net_client *client = client_find(net, number);
    return client != NULL && client->is_proven;
}

/* Frames of so many bytes were appended to its link. */
static int client_pushed(struct net_client *client, size_t len)
{
    if (net_link_sent(client->link) != 0)
        return ERR_NOT_FOUND;
    client->pushed += len;
    client_account(client);
    client_push_back(client);
    return 0;
}

int net_client_push(struct net *net, uint64_t number, struct slice frames)
{
    struct net_client *client = client_find(net, number);
    if (client == NULL)
        return ERR_NOT_FOUND;
    ASSERT(frames.len > 0);
    buf_append_slice(net_link_out(client->link), frames);
    return client_pushed(client, frames.len);
}

int net_client_reply_begin(struct net *net, uint64_t number, struct net_reply *ret_reply)
{
    struct net_client *client = client_find(net, number);
    if (client == NULL)
        return ERR_NOT_FOUND;
    struct buf *out = net_link_out(client->link);
    *ret_reply = (struct net_reply){.out = out, .client = client, .start = out->len};
    return 0;
}

static int client_replied(struct net_client *client, size_t len)
{
    ASSERT(client->in_flight > client->parked);
    client->in_flight--;
    client->active_us = env_turn_us(client->link->net->env);
    return client_pushed(client, len);
}

static int reply_end(struct net_reply *reply, size_t *ret_len)
{
    struct net_client *client = reply->client;
    ASSERT(reply->out == &client->link->out && reply->out->len >= reply->start);
    *ret_len = reply->out->len - reply->start;
    return client_replied(client, *ret_len);
}

size_t net_client_reply_take(struct net *net, uint64_t number, struct buf *frames)
{
    struct net_client *client = client_find(net, number);
    ASSERT(frames->len > 0 && !frames->failed);
    if (client == NULL)
        return 0;
    size_t len = 0;
    if (client->link->out.failed) { /* it is closed for that */
        client_replied(client, len);
        return len;
    }
    net_link_flush_out(client->link); /* what was said before */
    uint8_t *bytes = buf_take(frames, &len);
    net_link_write(client->link, bytes, len);
    client_replied(client, len);
    return len;
}

size_t net_client_reply_end(struct net_reply *reply)
{
    size_t len = 0;
    reply_end(reply, &len);
    return len;
}

int net_client_reply(struct net *net, uint64_t number, struct slice frames)
{
    struct net_reply reply;
    int rv = net_client_reply_begin(net, number, &reply);
    if (rv != 0)
        return rv;
    size_t len;
    buf_append_slice(reply.out, frames);
    return reply_end(&reply, &len);
}

void net_client_park(struct net *net, uint64_t number)
{
    struct net_client *client = client_find(net, number);
    if (client == NULL)
        return;
    ASSERT(client->parked < client->in_flight);
    client->parked++;
    client_push_back(client);
}

void net_client_unpark(struct net *net, uint64_t number)
{
    struct net_client *client = client_find(net, number);
    if (client == NULL)
        return;
    ASSERT(client->parked > 0);
    client->parked--; /* pushes back with its reply: by itself it may be one too many */
}

size_t net_client_pending(const struct net *net, uint64_t number)
{
    const struct net_client *client = client_find(net, number);
    return client == NULL ? 0 : net_link_pending(client->link);
}

bool net_client_is_there(const struct net *net, uint64_t number, size_t *ret_pending)
{
    const struct net_client *client = client_find(net, number);
    if (client == NULL)
        return false;
    *ret_pending = net_link_pending(client->link);
    return true;
}

const char *net_client_address(const struct net *net, uint64_t number)
{
    const struct net_client *client = client_find(net, number);
    return client == NULL ? "" : client->link->address;
}

void net_client_close(struct net *net, uint64_t number, int status, const char *reason)
{
    struct net_client *client = client_find(net, number);
    ASSERT(status < 0);
    if (client != NULL)
        net_link_doom(client->link, status, "%s", reason);
}
