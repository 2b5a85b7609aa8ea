/* SPDX-License-Identifier: Apache-2.0
 *
 * Wires and their ends: birth, the process's side of them, death.
 */
#include <stdlib.h>

#include "env/sim/wire_internal.h"

enum { COALESCE_MAX = 64 << 10 }; /* bytes of one on_read() made of several segments */

static void end_init(struct sim_end *end, struct sim_wire *wire, struct sim_node *node)
{
    end->wire = wire;
    end->node = node;
    list_init(&end->in_env);
    list_init(&end->in_flush);
    list_init(&end->sendq);
    list_init(&end->inflight);
    list_init(&end->received);
}

struct sim_wire *sim_wire_new(struct sim *sim, struct sim_node *client, struct sim_node *server)
{
    struct sim_wire *wire = sim_alloc(sizeof *wire);
    wire->sim = sim;
    wire->id = sim->next_wire_id++;
    end_init(&wire->ends[0], wire, client);
    end_init(&wire->ends[1], wire, server);
    wire->ends[0].state = SIM_END_CONNECTING;
    wire->ends[1].state = SIM_END_GONE; /* until the dial arrives */
    list_init(&wire->in_wires);
    list_push_back(&sim->wires, &wire->in_wires);
    return wire;
}

void sim_wire_push(struct sim_end *end, enum sim_wire_op op, uint64_t delay_us)
{
    end->wire->refs++;
    sim_push(end->wire->sim, delay_us, SIM_ITEM_WIRE, op * 2 + sim_end_side(end), end->wire);
}

void sim_wire_reap(struct sim_wire *wire)
{
    if (wire->refs > 0)
        return;
    for (size_t i = 0; i < 2; i++)
        if (wire->ends[i].state != SIM_END_GONE)
            return;
    for (size_t i = 0; i < 2; i++) {
        sim_segs_free(&wire->ends[i].sendq);
        sim_segs_free(&wire->ends[i].inflight);
        sim_segs_free(&wire->ends[i].received);
    }
    list_remove(&wire->in_wires);
    free(wire);
}

struct sim_conn *sim_end_adopt(struct sim_end *end, struct sim_env *env)
{
    ASSERT(end->conn == NULL);
    struct sim_conn *conn = sim_alloc(sizeof *conn);
    conn->conn.env = &env->env;
    conn->end = end;
    end->conn = conn;
    return conn;
}

void sim_end_leave(struct sim_end *end, enum sim_mark mark)
{
    if (end->state == SIM_END_GONE)
        return;
    if (end->state == SIM_END_CONNECTING && mark == SIM_MARK_FIN)
        mark = SIM_MARK_RST;
    end->state = SIM_END_GONE;
    end->env = NULL;
    free(end->conn);
    end->conn = NULL;
    list_remove(&end->in_env);
    list_remove(&end->in_flush);
    sim_segs_free(&end->sendq);
    sim_segs_free(&end->received);
    end->pending = 0;
    if (mark != SIM_MARK_NONE)
        sim_end_mark(sim_end_peer(end), mark);
    /* The kernel answers what is still coming, though the process's own item for
     * it may be lost with the process. */
    if (!list_is_empty(&end->inflight) && !end->is_arrive_blocked) {
        end->has_arrive_item = true;
        uint64_t now_us = end->wire->sim->now_us;
        sim_wire_push(end, SIM_WIRE_ARRIVE, MAX(end->last_arrive_us, now_us) - now_us);
    } else {
        end->has_arrive_item = false;
    }
    sim_wire_reap(end->wire);
}

void sim_end_break(struct sim_end *end, uint64_t delay_us, int status, const char *reason)
{
    ASSERT(status < 0);
    if (end->state == SIM_END_GONE || end->state == SIM_END_BROKEN)
        return;
    if (end->conn == NULL) { /* nobody ever heard of it */
        sim_end_leave(end, SIM_MARK_NONE);
        return;
    }
    end->state = SIM_END_BROKEN;
    end->close_status = status;
    end->close_reason = reason;
    sim_wire_push(end, SIM_WIRE_CLOSE, delay_us);
}

void sim_end_finish(struct sim_end *end, int status, const char *reason)
{
    ASSERT(end->conn != NULL);
    ASSERT(!end->conn->in_close);
    sim_note(end->wire->sim, end->node, SIM_EVENT_CLOSE, (uint64_t)-status);
    void (*on_close)(void *, int, const char *) = end->handler.on_close;
    end->state = SIM_END_BROKEN;
    end->conn->in_close = true;
    if (on_close != NULL)
        on_close(end->data, status, reason);
    sim_end_leave(end, SIM_MARK_NONE);
}

/* May the process hear of bytes now? */
static bool end_is_readable(const struct sim_end *end)
{
    return end->state == SIM_END_OPEN && end->has_handler && !end->is_read_paused &&
           !sim_env_is_silent(end->env);
}

static void end_deliver(struct sim_end *end, const uint8_t *bytes, size_t len)
{
    sim_note(end->wire->sim, end->node, SIM_EVENT_READ, len);
    sim_end_credit(end, len);
    size_t room_len = 0;
    uint8_t *room = NULL;
    if (end->handler.on_room != NULL)
        room = end->handler.on_room(end->data, &room_len);
    if (room != NULL && room_len >= len) {
        memcpy(room, bytes, len);
        bytes = room;
    }
    end->handler.on_read(end->data, slice_of(bytes, len));
}

/* The first segment, or a part of it. */
static void read_one(struct sim_end *end, size_t len)
{
    struct sim_seg *seg = list_first(&end->received, struct sim_seg, in_queue);
    ASSERT(len <= seg->len - seg->pos);
    /* Out of the queue first: the process may close the connection from inside. */
    uint8_t *bytes = seg->bytes;
    size_t pos = seg->pos;
    seg->pos += len;
    if (seg->pos < seg->len) {
        uint8_t *copy = malloc(len);
        ASSERT(copy != NULL);
        memcpy(copy, bytes + pos, len);
        end_deliver(end, copy, len);
        free(copy);
        return;
    }
    list_remove(&seg->in_queue);
    free(seg);
    end_deliver(end, bytes + pos, len);
    free(bytes);
}

/* Several segments as one run of bytes. */
static void read_many(struct sim_end *end, size_t total)
{
    uint8_t *run = malloc(total);
    ASSERT(run != NULL);
    size_t len = 0;
    while (len < total) {
        struct sim_seg *seg = list_first(&end->received, struct sim_seg, in_queue);
        size_t n = MIN(seg->len - seg->pos, total - len);
        memcpy(run + len, seg->bytes + seg->pos, n);
        len += n;
        seg->pos += n;
        if (seg->pos < seg->len)
            break;
        list_remove(&seg->in_queue);
        free(seg->bytes);
        free(seg);
    }
    ASSERT(len == total);
    end_deliver(end, run, len);
    free(run);
}

/* Bytes received up to a mark, at most COALESCE_MAX. */
static size_t received_bytes(const struct sim_end *end)
{
    size_t bytes = 0;
    LIST_FOREACH(it, &end->received)
    {
        const struct sim_seg *seg = list_entry(it, struct sim_seg, in_queue);
        if (seg->mark != SIM_MARK_NONE || bytes >= COALESCE_MAX)
            break;
        bytes += seg->len - seg->pos;
    }
    return bytes;
}

static void read_later(struct sim_end *end, uint64_t delay_us)
{
    if (end->has_read_item)
        return;
    end->has_read_item = true;
    sim_wire_push(end, SIM_WIRE_READ, delay_us);
}

void sim_end_read(struct sim_end *end)
{
    struct sim *sim = end->wire->sim;
    end->wire->refs++; /* the process may let go of it inside */
    while (end_is_readable(end) && !list_is_empty(&end->received)) {
        struct sim_seg *seg = list_first(&end->received, struct sim_seg, in_queue);
        if (seg->mark == SIM_MARK_FIN) {
            sim_end_finish(end, ERR_EOF, "closed by the peer");
            break;
        }
        if (seg->mark == SIM_MARK_RST) {
            sim_end_finish(end, ERR_IO, "connection reset by peer");
            break;
        }
        size_t len = seg->len - seg->pos;
        uint32_t ppm = sim->options.segment_ppm;
        if (ppm != 0 && rng_chance(&sim->rng_net, ppm, 1000000)) {
            sim->counts[SIM_COUNT_SPLIT_READ]++;
            read_one(end, (size_t)rng_between(&sim->rng_net, 1, len));
            if (end->state == SIM_END_OPEN && !list_is_empty(&end->received))
                read_later(end, rng_below(&sim->rng_net, 1000));
            break;
        }
        size_t total = received_bytes(end);
        if (total == len)
            read_one(end, len);
        else
            read_many(end, total);
    }
    end->wire->refs--;
}

/* ---- env_ops ---- */

static struct sim_end *end_of(const struct env_conn *handle)
{
    return container_of(handle, struct sim_conn, conn)->end;
}

void sim_op_conn_accept(struct env_conn *conn, const struct env_conn_handler *handler, void *data)
{
    struct sim_end *end = end_of(conn);
    ASSERT(!end->has_handler);
    ASSERT(handler->on_read != NULL && handler->on_close != NULL);
    end->handler = *handler;
    end->data = data;
    end->has_handler = true;
    if (!list_is_empty(&end->received))
        read_later(end, 0);
}

void sim_op_conn_write(struct env_conn *conn, uint8_t *bytes, size_t len)
{
    struct sim_end *end = end_of(conn);
    bool is_useless = end->state == SIM_END_BROKEN || sim_env_is_silent(end->env);
    if (len == 0 || is_useless) {
        free(bytes);
        return;
    }
    list_push_back(&end->sendq, &sim_seg_new(SIM_MARK_NONE, bytes, len)->in_queue);
    end->pending += len;
    sim_env_flush_later(end->env, &end->in_flush);
}

size_t sim_op_conn_pending(const struct env_conn *conn)
{
    return end_of(conn)->pending;
}

void sim_op_conn_pause(struct env_conn *conn)
{
    end_of(conn)->is_read_paused = true;
}

void sim_op_conn_resume(struct env_conn *conn)
{
    struct sim_end *end = end_of(conn);
    end->is_read_paused = false;
    if (!list_is_empty(&end->received))
        read_later(end, 0);
}

void sim_op_conn_close(struct env_conn *handle)
{
    struct sim_conn *conn = container_of(handle, struct sim_conn, conn);
    struct sim_end *end = conn->end;
    struct rng *rng = &end->wire->sim->rng_net;
    if (conn->in_close)
        return; /* it is ending already */
    /* What still waits to be sent may leave first, or never. */
    if (rng_chance(rng, 1, 2))
        sim_end_pump(end);
    bool has_unread = !list_is_empty(&end->received);
    sim_end_leave(end, has_unread ? SIM_MARK_RST : SIM_MARK_FIN);
}

bool sim_op_conn_is_loopback(const struct env_conn *conn)
{
    struct sim_end *end = end_of(conn);
    return end->node == sim_end_peer(end)->node;
}

void sim_conns_drop(struct sim_env *env, bool is_silent)
{
    struct rng *rng = &env->sim->rng_net;
    while (!list_is_empty(&env->listeners)) {
        struct list *first = env->listeners.next;
        sim_op_listener_close(&list_entry(first, struct sim_listener, in_env)->listener);
    }
    while (!list_is_empty(&env->conns)) {
        struct sim_end *end = list_first(&env->conns, struct sim_end, in_env);
        enum sim_mark mark = rng_chance(rng, 1, 2) ? SIM_MARK_RST : SIM_MARK_FIN;
        sim_end_leave(end, is_silent ? SIM_MARK_NONE : mark);
    }
}

/* ---- items of the queue ---- */

static struct sim_end *item_end(const struct sim_item *item)
{
    struct sim_wire *wire = item->target;
    return &wire->ends[item->arg % 2];
}

struct sim_env *sim_wire_env(const struct sim_item *item)
{
    switch ((enum sim_wire_op)(item->arg / 2)) {
    case SIM_WIRE_ACCEPT:
    case SIM_WIRE_OPEN:
    case SIM_WIRE_ARRIVE:
    case SIM_WIRE_READ:
    case SIM_WIRE_DRAIN:
    case SIM_WIRE_CLOSE:
        return item_end(item)->env;
    default:
        return NULL;
    }
}

static void end_drain(struct sim_end *end)
{
    end->has_drain_item = false;
    if (end->state != SIM_END_OPEN || end->pending > 0)
        return;
    sim_note(end->wire->sim, end->node, SIM_EVENT_DRAIN, 0);
    end->handler.on_drain(end->data);
}

static void end_item(struct sim_end *end, enum sim_wire_op op)
{
    switch (op) {
    case SIM_WIRE_SYN:
        sim_net_syn(end->wire);
        break;
    case SIM_WIRE_ACCEPT:
        sim_net_accept(end);
        break;
    case SIM_WIRE_OPEN:
        sim_net_open(end);
        break;
    case SIM_WIRE_ARRIVE:
        sim_stream_arrive(end);
        break;
    case SIM_WIRE_READ:
        end->has_read_item = false;
        sim_end_read(end);
        break;
    case SIM_WIRE_DRAIN:
        end_drain(end);
        break;
    case SIM_WIRE_CREDIT:
        sim_stream_credit(end);
        break;
    case SIM_WIRE_CLOSE:
        if (end->state == SIM_END_BROKEN)
            sim_end_finish(end, end->close_status, end->close_reason);
        break;
    case SIM_WIRE_STALL:
        sim_stream_stall(end);
        break;
    case SIM_WIRE_TIMEOUT:
        sim_net_timeout(end);
        break;
    }
}

void sim_wire_item(const struct sim_item *item)
{
    end_item(item_end(item), (enum sim_wire_op)(item->arg / 2));
    sim_wire_item_drop(item);
}

void sim_wire_item_drop(const struct sim_item *item)
{
    struct sim_wire *wire = item->target;
    ASSERT(wire->refs > 0);
    wire->refs--;
    sim_wire_reap(wire);
}

void sim_env_flush_later(struct sim_env *env, struct list *in_flush)
{
    if (!list_is_linked(in_flush))
        list_push_back(&env->flush, in_flush);
    sim_env_turn_later(env);
}

void sim_env_flush(struct sim_env *env)
{
    struct list *link;
    while (!sim_env_is_silent(env) && (link = list_pop_front(&env->flush)) != NULL)
        sim_end_pump(list_entry(link, struct sim_end, in_flush));
}
