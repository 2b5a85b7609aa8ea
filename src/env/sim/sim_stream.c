/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes between two ends: windows, latency, blocking, loss of the peer.
 */
#include <stdlib.h>

#include "env/sim/wire_internal.h"

struct sim_seg *sim_seg_new(enum sim_mark mark, uint8_t *bytes, size_t len)
{
    ASSERT((mark == SIM_MARK_NONE) == (len > 0));
    struct sim_seg *seg = sim_alloc(sizeof *seg);
    seg->mark = mark;
    seg->bytes = bytes;
    seg->len = len;
    list_init(&seg->in_queue);
    return seg;
}

static void seg_free(struct sim_seg *seg)
{
    list_remove(&seg->in_queue);
    free(seg->bytes);
    free(seg);
}

void sim_segs_free(struct list *segs)
{
    while (!list_is_empty(segs))
        seg_free(list_first(segs, struct sim_seg, in_queue));
}

/* Put `seg` on its way to `end`, behind all that is. */
static void seg_depart(struct sim_end *end, struct sim_seg *seg)
{
    struct sim *sim = end->wire->sim;
    struct sim_end *from = sim_end_peer(end);
    uint64_t depart_us = sim_link_depart(sim, from->node, end->node, seg->len - seg->pos);
    uint64_t arrive_us = depart_us + sim_link_delay(sim, from->node, end->node);
    seg->arrive_us = MAX(arrive_us, end->last_arrive_us);
    end->last_arrive_us = seg->arrive_us;
    end->inflight_bytes += seg->len - seg->pos;
    list_push_back(&end->inflight, &seg->in_queue);
    if (end->has_arrive_item || end->is_arrive_blocked)
        return;
    end->has_arrive_item = true;
    sim_wire_push(end, SIM_WIRE_ARRIVE, seg->arrive_us - sim->now_us);
}

void sim_end_mark(struct sim_end *end, enum sim_mark mark)
{
    if (end->state == SIM_END_GONE)
        return;
    seg_depart(end, sim_seg_new(mark, NULL, 0));
}

void sim_end_reset(struct sim_end *end)
{
    struct rng *rng = &end->wire->sim->rng_net;
    size_t keep = (size_t)rng_between(rng, 0, end->inflight_bytes);
    end->wire->sim->counts[SIM_COUNT_RESET]++;
    end->wire->sim->counts[SIM_COUNT_RESET_IN_FRAME] += keep < end->inflight_bytes;
    LIST_FOREACH(it, &end->inflight)
    {
        struct sim_seg *seg = list_entry(it, struct sim_seg, in_queue);
        size_t len = seg->len - seg->pos;
        if (keep < len || seg->mark != SIM_MARK_NONE) {
            size_t cut = len - MIN(keep, len);
            end->inflight_bytes -= cut;
            seg->len -= cut;
            if (seg->len == seg->pos)
                seg_free(seg);
            keep = 0;
            continue;
        }
        keep -= len;
    }
    sim_end_mark(end, SIM_MARK_RST);
}

/* Bytes sent that the peer's kernel is not known to have. */
static size_t end_unacked(struct sim_end *end)
{
    return sim_end_peer(end)->inflight_bytes + end->unconfirmed;
}

/* How often a sender looks if it gets anywhere: the time-out comes at most so much late. */
static uint64_t stall_period(const struct sim *sim)
{
    return sim->options.stall_timeout_us / 4 + 1;
}

static void stall_watch(struct sim_end *end)
{
    struct sim *sim = end->wire->sim;
    if (end_unacked(end) == 0)
        end->progress_us = sim->now_us;
    if (end->has_stall_item)
        return;
    end->has_stall_item = true;
    sim_wire_push(end, SIM_WIRE_STALL, stall_period(sim));
}

/* The first of sendq, or the part of it that `room` allows. */
static struct sim_seg *sendq_take(struct sim_end *end, size_t room)
{
    struct sim_seg *seg = list_first(&end->sendq, struct sim_seg, in_queue);
    size_t len = seg->len - seg->pos;
    ASSERT(room > 0);
    ASSERT(len <= end->pending);
    if (len <= room) {
        list_remove(&seg->in_queue);
        end->pending -= len;
        return seg;
    }
    uint8_t *part = malloc(room);
    ASSERT(part != NULL);
    memcpy(part, seg->bytes + seg->pos, room);
    seg->pos += room;
    end->pending -= room;
    return sim_seg_new(SIM_MARK_NONE, part, room);
}

/* Both ends hear that the connection broke; the peer may first get a part. */
static void pump_reset(struct sim_end *end)
{
    sim_end_reset(sim_end_peer(end));
    sim_end_break(end, 0, ERR_IO, "connection reset");
}

void sim_end_pump(struct sim_end *end)
{
    struct sim *sim = end->wire->sim;
    struct sim_end *peer = sim_end_peer(end);
    if (end->state != SIM_END_OPEN || list_is_empty(&end->sendq))
        return;
    size_t piece;
    size_t window = sim_link_window(sim, end->node, peer->node, &piece);
    stall_watch(end);
    while (!list_is_empty(&end->sendq) && end->uncredited < window) {
        struct sim_seg *seg = sendq_take(end, MIN(piece, window - end->uncredited));
        end->uncredited += seg->len - seg->pos;
        seg_depart(peer, seg);
        uint32_t ppm = sim->options.reset_ppm;
        if (ppm != 0 && rng_chance(&sim->rng_net, ppm, 1000000)) {
            pump_reset(end);
            return;
        }
    }
    if (!list_is_empty(&end->sendq)) {
        sim_end_credit(peer, 0); /* the window is shut: have it opened */
    } else if (end->handler.on_drain != NULL && !end->has_drain_item) {
        end->has_drain_item = true;
        sim_wire_push(end, SIM_WIRE_DRAIN, 0);
    }
}

void sim_end_credit(struct sim_end *end, size_t len)
{
    struct sim_end *peer = sim_end_peer(end);
    struct sim *sim = end->wire->sim;
    end->consumed += len;
    if (end->consumed == 0 || end->has_credit_item || end->is_credit_blocked)
        return;
    /* As long as the peer has room enough, an item of its own would change nothing. */
    if (list_is_empty(&peer->sendq))
        return;
    end->has_credit_item = true;
    sim_wire_push(end, SIM_WIRE_CREDIT, sim_link_delay(sim, end->node, peer->node));
}

void sim_stream_credit(struct sim_end *end)
{
    struct sim_end *peer = sim_end_peer(end);
    end->has_credit_item = false;
    if (sim_link_is_cut(end->node, peer->node)) {
        end->is_credit_blocked = true;
        return;
    }
    sim_note(end->wire->sim, NULL, SIM_EVENT_NET, end->consumed);
    ASSERT(end->consumed <= peer->uncredited || peer->state == SIM_END_GONE);
    peer->uncredited -= MIN(end->consumed, peer->uncredited);
    end->consumed = 0;
    sim_end_pump(peer);
}

/* Does nothing come to `end` from its peer now? */
static bool end_is_deaf(struct sim_end *end)
{
    return end->node->is_dark || sim_link_is_cut(sim_end_peer(end)->node, end->node);
}

/* Nobody holds `end`: its kernel answers whatever comes with a reset. */
static void arrive_at_nobody(struct sim_end *end)
{
    struct sim_end *peer = sim_end_peer(end);
    sim_note(end->wire->sim, NULL, SIM_EVENT_NET, end->inflight_bytes);
    bool has_bytes = end->inflight_bytes > 0;
    sim_segs_free(&end->inflight);
    end->inflight_bytes = 0;
    if (has_bytes)
        sim_end_mark(peer, SIM_MARK_RST);
}

/* Take in what has come by now. True if a RST is among it. */
static bool arrive_take(struct sim_end *end)
{
    struct sim *sim = end->wire->sim;
    struct sim_end *peer = sim_end_peer(end);
    bool is_reset = false;
    size_t bytes = 0;
    LIST_FOREACH(it, &end->inflight)
    {
        struct sim_seg *seg = list_entry(it, struct sim_seg, in_queue);
        if (seg->arrive_us > sim->now_us)
            break;
        bytes += seg->len - seg->pos;
        is_reset |= seg->mark == SIM_MARK_RST;
        list_remove(&seg->in_queue);
        list_push_back(&end->received, &seg->in_queue);
    }
    ASSERT(bytes <= end->inflight_bytes);
    end->inflight_bytes -= bytes;
    if (sim_link_is_cut(end->node, peer->node))
        peer->unconfirmed += bytes;
    else
        peer->progress_us = sim->now_us;
    return is_reset;
}

void sim_stream_arrive(struct sim_end *end)
{
    end->has_arrive_item = false;
    if (end_is_deaf(end)) {
        end->wire->sim->counts[SIM_COUNT_BLOCKED]++;
        end->is_arrive_blocked = true;
        return;
    }
    if (end->state == SIM_END_GONE) {
        arrive_at_nobody(end);
        return;
    }
    bool is_reset = arrive_take(end);
    if (!list_is_empty(&end->inflight)) {
        struct sim_seg *next = list_first(&end->inflight, struct sim_seg, in_queue);
        end->has_arrive_item = true;
        sim_wire_push(end, SIM_WIRE_ARRIVE, next->arrive_us - end->wire->sim->now_us);
    }
    sim_end_read(end);
    if (is_reset)
        sim_end_break(end, 0, ERR_IO, "connection reset by peer");
}

void sim_stream_stall(struct sim_end *end)
{
    struct sim *sim = end->wire->sim;
    struct sim_end *peer = sim_end_peer(end);
    uint64_t limit_us = sim->options.stall_timeout_us;
    end->has_stall_item = false;
    if (end->state != SIM_END_OPEN || (end_unacked(end) == 0 && list_is_empty(&end->sendq)))
        return;
    bool is_stuck = end_is_deaf(peer) || sim_link_is_cut(peer->node, end->node);
    if (!is_stuck)
        end->progress_us = sim->now_us;
    if (sim->now_us - end->progress_us >= limit_us) {
        sim->counts[SIM_COUNT_STALL]++;
        sim_end_break(end, 0, ERR_TIMEOUT, "no acknowledgement from the peer");
        return;
    }
    end->has_stall_item = true;
    sim_wire_push(end, SIM_WIRE_STALL, stall_period(sim));
}

/* Bytes in a list of segments. */
static size_t segs_bytes(const struct list *segs)
{
    size_t bytes = 0;
    LIST_FOREACH(it, segs)
    {
        const struct sim_seg *seg = list_entry(it, struct sim_seg, in_queue);
        ASSERT(seg->pos <= seg->len);
        bytes += seg->len - seg->pos;
    }
    return bytes;
}

void sim_stream_check(const struct sim_end *end)
{
    ASSERT(end->pending == segs_bytes(&end->sendq));
    ASSERT(end->inflight_bytes == segs_bytes(&end->inflight));
    if (end->state == SIM_END_GONE) {
        ASSERT(end->env == NULL);
        ASSERT(end->conn == NULL);
        ASSERT(end->pending == 0);
        return;
    }
    ASSERT(end->env != NULL);
    ASSERT(!end->env->is_stopped);
    ASSERT(!end->has_handler || end->conn != NULL);
    ASSERT(list_is_empty(&end->inflight) || end->has_arrive_item || end->is_arrive_blocked);
}

void sim_stream_kick(struct sim_end *end)
{
    struct sim *sim = end->wire->sim;
    struct sim_end *peer = sim_end_peer(end);
    if (end->is_arrive_blocked && !end_is_deaf(end)) {
        end->is_arrive_blocked = false;
        end->has_arrive_item = true;
        uint64_t delay_us = sim_link_delay(sim, peer->node, end->node);
        /* What left later arrives no earlier. */
        uint64_t last_us = end->last_arrive_us;
        end->last_arrive_us = MAX(last_us, sim->now_us + delay_us);
        sim_wire_push(end, SIM_WIRE_ARRIVE, delay_us);
    }
    if (sim_link_is_cut(end->node, peer->node))
        return;
    if (peer->unconfirmed > 0) {
        peer->unconfirmed = 0;
        peer->progress_us = sim->now_us;
    }
    if (end->is_credit_blocked) {
        end->is_credit_blocked = false;
        sim_end_credit(end, 0);
    }
}
