/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection to one store: hello and its answer, frames out, frames in, and what
 * to do when it is silent or gone.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/answer.h"
#include "client/client_internal.h"
#include "wire/hello.h"

enum {
    COOLING_MIN_MS = 50,
    COOLING_SHIFT_MAX = 4,         /* up to 800 ms */
    HOLD_US_MAX = 5000 * 1000,     /* no hint keeps us away for longer */
    OF_LATE_US = 10 * 1000 * 1000, /* a store that has pushed back is thought to do so still */
    REPEATS_MIN = 16,              /* of the budget, however little may be in flight */
    WINDOW_FIRST = 512,            /* until it has pushed back, twice as many for each … */
    WINDOW_GROWS = 8,              /* … and then by this part of it for each window of answers */
    WINDOW_LATE_MIN = 64, /* no fewer because answers are slow: nobody waits for many then */
    SLOW_TIMES = 4,       /* the quickest answer took a part in so many, or sooner */
    OUT_MAX = FRAME_BODY_MAX + CLIENT_CONN_BYTES_MAX,
    OUT_AHEAD = 320 << 10, /* of it, taken at once where the last turn needed so much */
    OUT_PIECE = 256 << 10, /* handed over when there is so much: it need not grow and be copied */
};

static const uint32_t peer_next_states[PEER_STATE_NR] = {
    [PEER_IDLE] = BIT(PEER_CONNECTING) | BIT(PEER_COOLING),
    [PEER_CONNECTING] = BIT(PEER_READY) | BIT(PEER_COOLING),
    [PEER_READY] = BIT(PEER_COOLING),
    [PEER_COOLING] = BIT(PEER_IDLE),
};

/* The only place that writes peer->state. */
static void peer_move(struct client_peer *peer, enum peer_state to)
{
    ASSERT(peer_next_states[peer->state] & BIT(to));
    peer->state = to;
    peer_check(peer);
}

void peer_check(const struct client_peer *peer)
{
    ASSERT(peer->state < PEER_STATE_NR);
    bool has_conn = peer->state == PEER_CONNECTING || peer->state == PEER_READY;
    ASSERT(has_conn || list_is_empty(&peer->sent));
    ASSERT(peer->window >= 1 && peer->window <= peer->window_max);
    ASSERT(peer->conn == NULL || has_conn);
    ASSERT(peer->out.len == 0 || has_conn);
}

bool peer_is_usable(const struct client_peer *peer)
{
    return peer->state == PEER_READY && !peer->is_suspect && !peer->is_full;
}

/* ---- how much at a time ---------------------------------------------------------- */

void peer_hold(struct client_peer *peer, struct client_op *op)
{
    op_queue(op, &peer->waiting);
    op->held_by = peer;
    peer->waiting_count++;
}

void peer_unhold(struct client_op *op)
{
    if (op->held_by == NULL)
        return;
    ASSERT(op->held_by->waiting_count > 0);
    op->held_by->waiting_count--;
    op->held_by = NULL;
}

static void peer_let_one_go(struct client_peer *peer)
{
    struct client_op *op = list_first(&peer->waiting, struct client_op, in_queue);
    peer_unhold(op);
    list_remove(&op->in_queue);
    list_push_back(&peer->client->fresh, &op->in_queue);
}

void peer_freed(struct client_peer *peer)
{
    if (list_is_empty(&peer->waiting) || peer->load >= peer->window)
        return;
    peer_let_one_go(peer);
    client_poke(peer->client);
}

void peer_let_go(struct client_peer *peer)
{
    while (!list_is_empty(&peer->waiting))
        peer_let_one_go(peer);
    client_poke(peer->client);
}

/* Not each op that was let go is sent: some end first, or go elsewhere. */
void peer_refill(struct client_peer *peer, uint64_t now_us)
{
    if (list_is_empty(&peer->waiting))
        return;
    if (peer->hold_until_us > now_us) {
        peer_let_go(peer); /* until then they wait each for itself */
        return;
    }
    uint32_t room = peer->window - MIN(peer->load, peer->window);
    if (room == 0)
        return;
    for (; room > 0 && !list_is_empty(&peer->waiting); room--)
        peer_let_one_go(peer);
    client_poke(peer->client);
}

uint64_t peer_wait_us(const struct client_peer *peer, bool behind)
{
    uint64_t ahead = behind ? peer->waiting_count : 0;
    return peer->took_us + ahead * peer->took_us / peer->window;
}

static void peer_note_took(struct client_peer *peer, uint64_t took_us)
{
    if (took_us < peer->took_us) /* what is over is forgotten sooner than learned */
        peer->took_us = (peer->took_us + took_us) / 2;
    else
        peer->took_us += (took_us - peer->took_us) / 8;
}

/* What was sent before the last time says nothing new. */
static void window_shrink(struct client_peer *peer, uint32_t to, uint64_t sent_us)
{
    if (sent_us < peer->shrunk_us)
        return;
    peer->window = MAX(to, UINT32_C(1));
    peer->served = 0;
    peer->shrunk_us = env_turn_us(peer->client->env);
}

/* What took more than half of the time that there was for it, and far more than the store needs,
 * stood in a line. The store may not see that line, for what it has not read it cannot refuse, and
 * what is sent now would be too late. So many fit as would take half of the time. True if it was
 * so. */
static bool heeds_long_line(struct client_peer *peer, const struct client_op *op, uint64_t took_us)
{
    uint64_t fair_us = (op->deadline_us - MIN(op->deadline_us, op->sent_us)) / 2;
    uint32_t has = MIN(peer->window, peer->load);
    bool is_slow = took_us > fair_us && took_us / SLOW_TIMES > peer->least_us;
    if (!is_slow || peer->least_us == 0 || has <= WINDOW_LATE_MIN)
        return false;
    uint32_t fits = (uint32_t)(has * fair_us / took_us);
    fits = MIN(MAX(fits, has / 2), has - has / WINDOW_GROWS);
    window_shrink(peer, MAX(fits, (uint32_t)WINDOW_LATE_MIN), op->sent_us);
    return true;
}

void peer_overdue(struct client_peer *peer, const struct client_op *op, uint64_t now_us)
{
    uint64_t took_us = now_us - op->sent_us;
    if (took_us > peer->took_us)
        peer_note_took(peer, took_us);
    heeds_long_line(peer, op, took_us);
}

void peer_served(struct client_peer *peer, const struct client_op *op)
{
    uint64_t took_us = MAX(env_turn_us(peer->client->env) - op->sent_us, UINT64_C(1));
    peer_note_took(peer, took_us);
    peer->least_us = peer->least_us == 0 ? took_us : MIN(peer->least_us, took_us);
    if (heeds_long_line(peer, op, took_us))
        return;
    bool is_used = peer->load >= peer->window / 2; /* else it does not show that more would fit */
    if (peer->window >= peer->window_max || !is_used || ++peer->served < peer->window)
        return;
    peer->served = 0;
    uint32_t more = peer->shrunk_us == 0 ? peer->window : peer->window / WINDOW_GROWS + 1;
    peer->window = MIN(peer->window + more, peer->window_max);
    peer_freed(peer);
}

/* What it still has of us it serves: so much, and a little less, is what it can take. If it
 * has nothing, it is left alone for as long as it wishes. */
void peer_pushed_back(struct client_peer *peer, uint64_t hint_us, uint64_t sent_us)
{
    uint64_t now_us = env_turn_us(peer->client->env);
    uint32_t fits = MIN(peer->window, peer->load);
    window_shrink(peer, fits - fits / WINDOW_GROWS, sent_us);
    if (peer->load == 0 && hint_us > 0)
        peer->hold_until_us =
            MAX(peer->hold_until_us, now_us + MIN(hint_us, (uint64_t)HOLD_US_MAX));
}

bool peer_is_pushing_back(const struct client_peer *peer, uint64_t now_us)
{
    return peer->shrunk_us > 0 && now_us < peer->shrunk_us + OF_LATE_US;
}

/* ---- writing ------------------------------------------------------------------ */

void peer_flush(struct client_peer *peer)
{
    if (peer->out.len == 0)
        return;
    ASSERT(peer->conn != NULL && !peer->out.failed);
    size_t len;
    uint8_t *bytes = buf_take(&peer->out, &len);
    peer->out_last = len;
    peer->client->stats.writes++;
    peer->client->stats.bytes_out += len;
    env_conn_write(peer->conn, bytes, len);
}

/* Undo a frame that did not fit into memory. */
static void out_rewind(struct client_peer *peer, size_t start)
{
    peer->out.len = start;
    peer->out.failed = false;
}

/* How long it may wait for a change. Where it is sent again, as when another one leads by now, some
 * of its time is gone, and the answer that there was none has to come before its deadline. */
static uint32_t watch_wait_ms(const struct client_op *op)
{
    uint32_t wait_ms = op->request.watch.wait_ms;
    uint32_t all_ms = op->timeout_ms == 0 ? (uint32_t)CLIENT_TIMEOUT_MS : op->timeout_ms;
    uint32_t spare_ms = all_ms - MIN(all_ms, wait_ms);
    uint32_t left_ms = op->request.timeout_ms;
    return MIN(wait_ms, left_ms - MIN(left_ms, spare_ms / 2));
}

/* The request as it leaves: a change with the stamp of its session in it, and one that waits with
 * what is left for that. */
static int request_write_out(struct client_peer *peer, struct client_op *op)
{
    struct request *request = &op->request;
    if (request->kind == REQUEST_WATCH) {
        uint32_t wait_ms = request->watch.wait_ms;
        request->watch.wait_ms = watch_wait_ms(op);
        request_encode(&peer->out, request);
        request->watch.wait_ms = wait_ms;
        return 0;
    }
    if (op->stamp.session == 0) {
        request_encode(&peer->out, request);
        return 0;
    }
    struct request_write plain = request->write;
    int rv = session_command(op, &request->write);
    if (rv == 0)
        request_encode(&peer->out, request);
    request->write = plain;
    return rv;
}

int peer_send(struct client_peer *peer, struct client_op *op)
{
    ASSERT(peer->state == PEER_READY);
    struct client *client = peer->client;
    if (peer->out.len + env_conn_pending(peer->conn) >= CLIENT_CONN_BYTES_MAX) {
        peer->is_full = true;
        peer_flush(peer); /* so that there is something whose end is told */
        return ERR_BUSY;
    }
    uint64_t now = env_turn_us(client->env);
    struct route *route = op->only == NULL ? dispatch_route(op) : NULL;
    op->request.id = client_next_id(client, op->slot);
    op->request.timeout_ms =
        op->deadline_us > now + 1000 ? (uint32_t)((op->deadline_us - now) / 1000) : 1;
    op->request.range_id = route != NULL ? route->range_id : op->range_id;
    op->request.span_epoch = route != NULL ? route->span_epoch : 0;
    if (op->range_id != 0) /* at the epoch that the caller means, or none */
        op->request.span_epoch = op->span_epoch;
    session_stamp(op);
    if (peer->out.cap == 0 && peer->out_last > 0)
        buf_reserve(&peer->out, MIN(peer->out_last, (size_t)OUT_AHEAD));
    size_t start = frame_begin(&peer->out);
    int rv = request_write_out(peer, op);
    if (rv == 0)
        frame_end(&peer->out, start, true);
    if (rv != 0 || peer->out.failed) {
        out_rewind(peer, start);
        return rv != 0 ? rv : ERR_NOMEM;
    }
    op->sent_id = op->request.id;
    client->stats.sendings++;
    op_mark_sent(op, peer);
    if (peer->out.len >= OUT_PIECE)
        peer_flush(peer);
    return 0;
}

static void peer_say(struct client_peer *peer, void (*encode)(struct buf *, const struct ping *),
                     uint64_t token)
{
    size_t start = frame_begin(&peer->out);
    encode(&peer->out, &(struct ping){.token = token});
    frame_end(&peer->out, start, false);
    if (peer->out.failed)
        out_rewind(peer, start);
    client_poke(peer->client);
}

/* ---- the end of a connection ----------------------------------------------------- */

/* Drop what the connection had; its ops are told. */
static void peer_drop(struct client_peer *peer, int error, const char *text)
{
    struct client *client = peer->client;
    bool was_pinned = peer->is_pinned;
    peer->is_pinned = true;
    client->stats.disconnects++;
    peer->conn = NULL;
    peer->failures++;
    peer->is_suspect = false;
    peer->is_full = false;
    peer->hold_until_us = 0;
    peer->last_error = error;
    snprintf(peer->last_text, sizeof peer->last_text, "%s: %s", peer->address, text);
    LOG_WARN(client->options.logger, "store_lost", "address=%s failures=%u reason=\"%s\"",
             peer->address, peer->failures, text);
    buf_fini(&peer->out);
    frame_reader_fini(&peer->reader);
    env_timer_stop(&peer->timer);
    route_forget_leader(&client->routes, peer);

    struct list lost;
    list_init(&lost);
    struct list *link;
    while ((link = list_pop_front(&peer->sent)) != NULL)
        list_push_back(&lost, link);
    peer_move(peer, PEER_COOLING);
    peer_let_go(peer);
    uint64_t ms = (uint64_t)COOLING_MIN_MS << MIN(peer->failures - 1, (uint32_t)COOLING_SHIFT_MAX);
    env_timer_start(&peer->timer, ms * 500 + env_random(client->env) % (ms * 500 + 1));
    while (!list_is_empty(&lost)) {
        struct client_op *op = list_first(&lost, struct client_op, in_queue);
        dispatch_on_lost(op, error, peer->last_text);
    }
    client->last_error = error;
    snprintf(client->last_text, sizeof client->last_text, "%s", peer->last_text);
    client_wake(client);
    peer->is_pinned = was_pinned;
}

void peer_fail(struct client_peer *peer, int error, const char *text)
{
    ASSERT(peer->state == PEER_CONNECTING || peer->state == PEER_READY);
    env_conn_close(peer->conn);
    peer_drop(peer, error, text);
}

static void peer_timer(struct env_timer *timer)
{
    struct client_peer *peer = timer->data;
    if (peer->state == PEER_CONNECTING) {
        peer_fail(peer, ERR_TIMEOUT, "no answer to the hello");
        return;
    }
    ASSERT(peer->state == PEER_COOLING);
    peer_move(peer, PEER_IDLE);
}

/* ---- reading ---------------------------------------------------------------------- */

/* What it does not read would grow old on its way, and the store would not know. With as many as
 * requests_max it reads no more until half of them are answered: so one fewer. */
static void peer_set_window_max(struct client_peer *peer, uint32_t requests_max)
{
    uint32_t most = peer->client->options.in_flight_max;
    uint32_t is_read = MAX(requests_max, UINT32_C(2)) - 1;
    peer->window_max = requests_max == 0 ? most : MIN(most, is_read);
    peer->window = MIN(peer->window, peer->window_max);
}

/* The store says that it belongs to that cluster; 0: to none yet. The first one counts. */
static int check_cluster(struct client *client, uint64_t cluster_id, struct err *err)
{
    if (client->cluster_id == 0)
        client->cluster_id = cluster_id;
    if (cluster_id == 0 || cluster_id == client->cluster_id)
        return 0;
    return err_set(err, ERR_UNAUTHORIZED, "belongs to another cluster (%016llx, not %016llx)",
                   (unsigned long long)cluster_id, (unsigned long long)client->cluster_id);
}

static int on_hello_ack(struct client_peer *peer, struct slice body, struct err *err)
{
    struct client *client = peer->client;
    struct hello_ack ack;
    int rv = hello_ack_decode(body, &ack, err);
    if (rv != 0)
        return rv;
    if (ack.protocol < PROTOCOL_VERSION_MIN || ack.protocol > PROTOCOL_VERSION_MAX)
        return err_set(err, ERR_UNSUPPORTED, "speaks protocol version %u", ack.protocol);
    rv = check_cluster(client, ack.cluster_id, err);
    if (rv != 0)
        return rv;
    session_set_time(client, ack.wall_ms);
    peer_set_window_max(peer, ack.requests_max);
    env_timer_stop(&peer->timer);
    frame_reader_limit(&peer->reader, FRAME_BODY_MAX);
    peer->failures = 0;
    client->stats.connects++;
    peer_move(peer, PEER_READY);
    LOG_DEBUG(client->options.logger, "store_connected", "address=%s store=%llu", peer->address,
              (unsigned long long)ack.store_id);
    client_wake(client);
    return 0;
}

static int on_error_msg(struct slice body, struct err *err)
{
    struct error_msg error;
    int rv = error_msg_decode(body, &error, err);
    if (rv != 0)
        return rv;
    return err_set(err, err_from_wire(error.code), "%.*s", (int)error.text.len,
                   (const char *)error.text.data);
}

static int on_response(struct client_peer *peer, struct slice body, struct err *err)
{
    struct response response;
    int rv = response_decode(body, &response, err);
    if (rv != 0)
        return rv;
    struct client_op *op = client_op_by_id(peer->client, response.id);
    if (op == NULL || op->peer != peer) {
        peer->client->stats.late_answers++;
        return 0;
    }
    rv = answer_check(&op->request, &response, err);
    if (rv != 0)
        return rv;
    if (response.kind == REQUEST_STATUS) { /* since the hello it may have been born, elsewhere */
        rv = check_cluster(peer->client, response.status_of.cluster_id, err);
        if (rv != 0)
            return rv;
    }
    dispatch_on_response(op, &response);
    return 0;
}

static int on_ping(struct client_peer *peer, struct slice body, struct err *err)
{
    struct ping ping;
    int rv = ping_decode(body, &ping, err);
    if (rv == 0)
        peer_say(peer, pong_encode, ping.token);
    return rv;
}

static int on_body(struct client_peer *peer, struct slice body, struct err *err)
{
    uint32_t kind;
    int rv = msg_kind(body, &kind, err);
    if (rv != 0)
        return rv;
    if (kind == MSG_ERROR)
        return on_error_msg(body, err);
    if (peer->state == PEER_CONNECTING && kind == MSG_HELLO_ACK)
        return on_hello_ack(peer, body, err);
    if (peer->state == PEER_READY && kind == MSG_RESPONSE)
        return on_response(peer, body, err);
    if (peer->state == PEER_READY && kind == MSG_PING)
        return on_ping(peer, body, err);
    if (peer->state == PEER_READY && kind == MSG_PONG)
        return 0;
    return err_set(err, ERR_UNSUPPORTED, "unexpected message %s (%u)", msg_kind_name(kind), kind);
}

static uint8_t *on_room(void *data, size_t *ret_len)
{
    struct client_peer *peer = data;
    return frame_reader_room(&peer->reader, ret_len);
}

static void on_read(void *data, struct slice bytes)
{
    struct client_peer *peer = data;
    struct client *client = peer->client;
    struct err err = {0};
    struct slice body;
    client->stats.bytes_in += bytes.len;
    peer->heard_us = env_turn_us(client->env);
    peer->pinged_us = 0;
    if (peer->is_suspect) {
        peer->is_suspect = false;
        client_wake(client);
    }
    frame_reader_feed(&peer->reader, bytes);
    peer->is_pinned = true;
    int rv = 0, next = 0;
    while (rv == 0 && (next = frame_reader_next(&peer->reader, &body, &err)) == 0)
        rv = on_body(peer, body, &err);
    if (rv == 0 && next != ERR_SHORT)
        rv = next;
    if (rv != 0)
        peer_fail(peer, rv, err.msg);
    peer->is_pinned = false;
}

static void on_drain(void *data)
{
    struct client_peer *peer = data;
    if (!peer->is_full)
        return;
    peer->is_full = false;
    client_wake(peer->client);
}

static void on_close(void *data, int status, const char *reason)
{
    struct client_peer *peer = data;
    ASSERT(status < 0);
    peer_drop(peer, status, reason != NULL ? reason : err_name(status));
}

/* ---- life --------------------------------------------------------------------------- */

static const struct env_conn_handler peer_handler = {
    .on_room = on_room,
    .on_read = on_read,
    .on_drain = on_drain,
    .on_close = on_close,
};

static void hello_say(struct client_peer *peer)
{
    struct client *client = peer->client;
    struct hello hello = {
        .protocol_min = PROTOCOL_VERSION_MIN,
        .protocol_max = PROTOCOL_VERSION_MAX,
        .purpose = HELLO_CLIENT,
        .cluster_id = client->cluster_id,
        .name = slice_str(client->name),
    };
    env_random_bytes(client->env, hello.nonce, sizeof hello.nonce);
    size_t start = frame_begin(&peer->out);
    hello_encode(&peer->out, &hello);
    frame_end(&peer->out, start, false);
    if (peer->out.failed)
        out_rewind(peer, start); /* no hello, no answer: the timer ends it */
    peer_flush(peer);
}

void peer_connect(struct client_peer *peer)
{
    ASSERT(peer->state == PEER_IDLE);
    struct client *client = peer->client;
    struct err err = {0};
    buf_init(&peer->out, OUT_MAX);
    frame_reader_init(&peer->reader, FRAME_BODY_MAX_HELLO);
    int rv = env_connect(client->env, peer->address, &peer_handler, peer, &peer->conn, &err);
    if (rv != 0) {
        peer_drop(peer, rv, err.msg);
        return;
    }
    peer_move(peer, PEER_CONNECTING);
    peer->heard_us = env_turn_us(client->env);
    env_timer_start(&peer->timer, (uint64_t)client->options.connect_timeout_ms * 1000);
    hello_say(peer);
}

static struct client_peer *peer_new(struct client *client, struct slice address)
{
    struct client_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    peer->client = client;
    memcpy(peer->address, address.data, address.len);
    list_init(&peer->sent);
    list_init(&peer->waiting);
    peer->window_max = client->options.in_flight_max;
    peer->window = MIN(peer->window_max, (uint32_t)WINDOW_FIRST);
    peer->used_us = env_turn_us(client->env);
    budget_init(&peer->repeats, MAX(client->options.in_flight_max, (uint32_t)REPEATS_MIN),
                peer->used_us);
    env_timer_init(&peer->timer, client->env, peer_timer, peer);
    return peer;
}

/* ---- room for others ----------------------------------------------------------------- */

static bool peer_is_in_use(const struct client_peer *peer)
{
    return peer->is_given || peer->is_pinned || peer->aims > 0 || peer->sent_count > 0 ||
           !list_is_empty(&peer->waiting) || peer->state == PEER_CONNECTING || peer->is_full ||
           peer == peer->client->driver;
}

/* Forget the one that can be spared best. */
static bool peer_make_room(struct client *client)
{
    uint32_t best = CLIENT_PEERS_MAX;
    bool is_best_routed = false;
    for (uint32_t i = 0; i < client->peer_count; i++) {
        const struct client_peer *peer = client->peers[i];
        if (peer_is_in_use(peer))
            continue;
        bool is_routed = route_names(&client->routes, peer);
        bool is_better =
            best == CLIENT_PEERS_MAX || (is_best_routed && !is_routed) ||
            (is_best_routed == is_routed && peer->used_us < client->peers[best]->used_us);
        if (!is_better)
            continue;
        best = i;
        is_best_routed = is_routed;
    }
    if (best == CLIENT_PEERS_MAX)
        return false;
    struct client_peer *peer = client->peers[best];
    LOG_DEBUG(client->options.logger, "store_forgotten", "address=%s", peer->address);
    route_forget(&client->routes, peer);
    peer_stop(peer);
    peer_free(peer);
    client->peers[best] = client->peers[--client->peer_count];
    return true;
}

struct client_peer *peer_get(struct client *client, struct slice address)
{
    for (uint32_t i = 0; i < client->peer_count; i++) {
        struct client_peer *peer = client->peers[i];
        if (!slice_equal(slice_str(peer->address), address))
            continue;
        peer->used_us = env_turn_us(client->env);
        return peer;
    }
    if (address.len == 0 || address.len > ADDRESS_MAX)
        return NULL;
    if (client->peer_count == CLIENT_PEERS_MAX && !peer_make_room(client))
        return NULL;
    struct client_peer *peer = peer_new(client, address);
    if (peer != NULL)
        client->peers[client->peer_count++] = peer;
    return peer;
}

void peer_free(struct client_peer *peer)
{
    ASSERT(list_is_empty(&peer->sent) && list_is_empty(&peer->waiting));
    env_timer_stop(&peer->timer);
    buf_fini(&peer->out);
    frame_reader_fini(&peer->reader);
    free(peer); /* not the connection: the env's, and gone by now */
}

void peer_stop(struct client_peer *peer)
{
    if (peer->conn != NULL)
        env_conn_close(peer->conn);
    peer->conn = NULL;
    env_timer_stop(&peer->timer);
}

/* ---- silence -------------------------------------------------------------------------- */

/* Do not wait for it any more: what can be repeated goes elsewhere. Changes of no session
 * stay: sending them again could do them twice. */
static void peer_suspect(struct client_peer *peer)
{
    struct client *client = peer->client;
    peer->is_suspect = true;
    LOG_WARN(client->options.logger, "store_silent", "address=%s", peer->address);
    route_forget_leader(&client->routes, peer);
    LIST_FOREACH(it, &peer->sent)
    {
        struct client_op *op = list_entry(it, struct client_op, in_queue);
        if (op_is_repeatable(op) && op->only == NULL) {
            op->is_ambiguous = !op_is_read_only(op);
            op_note(op, ERR_UNAVAILABLE, slice_str("the store does not answer"));
            op_queue(op, &client->fresh);
        }
    }
    peer_let_go(peer);
    client_wake(client);
}

void peer_tick(struct client_peer *peer, uint64_t now_us)
{
    if (peer->state != PEER_READY || list_is_empty(&peer->sent) || peer->is_suspect)
        return;
    const struct client_op *oldest = list_first(&peer->sent, struct client_op, in_queue);
    uint64_t since = MAX(peer->heard_us, oldest->sent_us);
    uint64_t quiet = now_us > since ? now_us - since : 0;
    uint64_t stall = (uint64_t)peer->client->options.stall_ms * 1000;
    if (quiet >= stall) {
        peer_suspect(peer);
    } else if (quiet >= stall / 3 && peer->pinged_us == 0) {
        peer->pinged_us = now_us;
        peer_say(peer, ping_encode, now_us);
    }
}
