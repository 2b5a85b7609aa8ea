/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshot streams, from both ends: a link each, a window for what waits, and a
 * pause for who takes in.
 */
#include <stdlib.h>

#include "net/net_internal.h"

struct net_stream {
    struct net_link *link;
    struct net_stream_handler handler; /* zeroes until it is accepted */
    void *data;
    struct net_identity who;
    uint64_t store_id; /* who must answer */
    bool is_up;        /* accepted by both */
    bool was_full;     /* a send was refused: on_room is due */
    struct list in_streams;
};

static void stream_free(struct net_stream *stream)
{
    if (!stream->link->is_dialled)
        stream->link->net->stats.streams--;
    list_remove(&stream->in_streams);
    free(stream);
}

static struct net_stream *stream_new(struct net *net)
{
    struct net_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    list_init(&stream->in_streams);
    list_push_back(&net->streams, &stream->in_streams);
    return stream;
}

/* ---- handlers ----------------------------------------------------------------------- */

static int on_frame(struct net_link *link, uint32_t kind, struct slice body, struct err *err)
{
    struct net_stream *stream = link->data;
    if (kind == MSG_PONG)
        return 0;
    if (kind < MSG_SNAPSHOT_BEGIN || kind > MSG_SNAPSHOT_RESUME)
        return err_set(err, ERR_UNSUPPORTED, "message %u (%s) in a snapshot stream", kind,
                       msg_kind_name(kind));
    return stream->handler.on_frame(stream->data, kind, body, err);
}

static void on_drain(struct net_link *link)
{
    struct net_stream *stream = link->data;
    if (!stream->is_up || !stream->was_full)
        return;
    stream->was_full = false;
    if (stream->handler.on_room != NULL)
        stream->handler.on_room(stream->data);
}

static void on_end(struct net_link *link, int status, const char *reason)
{
    struct net_stream *stream = link->data;
    struct net_stream_handler handler = stream->handler;
    void *data = stream->data;
    ASSERT(stream->link == link);
    if (!link->is_dialled && status != ERR_EOF)
        net_refused(link->net, link->address, reason);
    stream_free(stream);
    handler.on_close(data, status, reason);
}

static const struct net_link_handler STREAM_HANDLER = {
    .on_frame = on_frame, .on_drain = on_drain, .on_end = on_end};

/* ---- who opens ------------------------------------------------------------------------ */

static void on_dial_open(struct net_link *link)
{
    net_greet_hello(link, HELLO_SNAPSHOT);
}

static int on_dial_frame(struct net_link *link, uint32_t kind, struct slice body, struct err *err)
{
    struct net_stream *stream = link->data;
    if (!link->is_standing)
        return net_greet_answer(link, stream->store_id, kind, body, &stream->who, err);
    if (kind != MSG_PONG)
        return err_set(err, ERR_UNSUPPORTED, "%s instead of pong", msg_kind_name(kind));
    stream->is_up = true;
    net_link_hand_over(link, &STREAM_HANDLER, stream);
    stream->handler.on_open(stream->data, &stream->who);
    return 0;
}

static const struct net_link_handler DIAL_HANDLER = {
    .on_open = on_dial_open, .on_frame = on_dial_frame, .on_end = on_end};

int net_stream_open(struct net *net, uint64_t store_id, const char *address,
                    const struct net_stream_handler *handler, void *data,
                    struct net_stream **ret_stream, struct err *err)
{
    ASSERT(handler->on_open != NULL && handler->on_frame != NULL && handler->on_close != NULL);
    struct net_stream *stream = stream_new(net);
    if (stream == NULL)
        return err_set(err, ERR_NOMEM, "open a stream to %s: out of memory", address);
    stream->handler = *handler;
    stream->data = data;
    stream->store_id = store_id;
    int code = net_link_dial(net, address, &DIAL_HANDLER, stream, &stream->link, err);
    if (code != 0) {
        list_remove(&stream->in_streams);
        free(stream);
        return code;
    }
    *ret_stream = stream;
    return 0;
}

/* ---- who accepts ------------------------------------------------------------------------ */

int net_stream_begin(struct net_link *link, const struct net_identity *who, struct err *err)
{
    struct net *net = link->net;
    if (net->stats.streams >= net->limits.streams_max)
        return err_set(err, ERR_BUSY, "%u snapshot streams already", net->stats.streams);
    struct net_stream *stream = stream_new(net);
    if (stream == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    net->stats.streams++;
    stream->link = link;
    stream->who = *who;
    stream->is_up = true;
    int code = net->hooks.on_stream(net->data, stream, &stream->who, err);
    if (code != 0) {
        stream_free(stream);
        return code;
    }
    ASSERT(stream->handler.on_frame != NULL); /* net_stream_accept() was called */
    net_link_hand_over(link, &STREAM_HANDLER, stream);
    return 0;
}

void net_stream_accept(struct net_stream *stream, const struct net_stream_handler *handler,
                       void *data)
{
    ASSERT(handler->on_frame != NULL && handler->on_close != NULL);
    ASSERT(stream->handler.on_frame == NULL);
    stream->handler = *handler;
    stream->data = data;
}

void net_stream_pass_on(struct net_stream *stream, void *data)
{
    ASSERT(stream->handler.on_frame != NULL);
    stream->data = data;
}

/* ---- calls -------------------------------------------------------------------------------- */

size_t net_stream_room(const struct net_stream *stream)
{
    size_t window = stream->link->net->limits.stream_window;
    size_t waiting = net_link_pending(stream->link);
    bool can_send = stream->is_up && stream->link->state == LINK_OPEN;
    return can_send && waiting < window ? window - waiting : 0;
}

/* One frame above the window passes while nothing waits. */
int net_stream_send(struct net_stream *stream, struct slice frames)
{
    if (!stream->is_up || stream->link->state != LINK_OPEN)
        return ERR_UNAVAILABLE;
    if (frames.len > net_stream_room(stream) && net_link_pending(stream->link) > 0) {
        stream->was_full = true;
        return ERR_BUSY;
    }
    return net_link_send(stream->link, frames) == 0 ? 0 : ERR_UNAVAILABLE;
}

void net_stream_pause(struct net_stream *stream)
{
    net_link_pause(stream->link);
}

void net_stream_resume(struct net_stream *stream)
{
    net_link_resume(stream->link);
}

void net_stream_close(struct net_stream *stream, int status, const char *reason)
{
    ASSERT(status <= 0);
    if (stream == NULL)
        return;
    struct net_link *link = stream->link;
    stream_free(stream);
    net_link_close(link, status, reason);
}

void net_streams_sweep(struct net *net, uint64_t now_us)
{
    LIST_FOREACH(it, &net->streams)
    {
        struct net_stream *stream = list_entry(it, struct net_stream, in_streams);
        struct net_link *link = stream->link;
        if (link->state != LINK_OPEN || !link->is_standing)
            continue;
        bool is_sending = net_link_pending(link) > 0;
        uint64_t alive_us = MAX(link->heard_us, link->drained_us);
        if (!link->is_paused && net_is_over(net, alive_us, NET_STREAM_STUCK_MS, now_us))
            net_link_doom(link, ERR_TIMEOUT, "no progress in %d ms", NET_STREAM_STUCK_MS);
        else if (stream->is_up && link->is_dialled && !is_sending &&
                 now_us - link->pinged_us > (uint64_t)net->limits.silence_ms * 1000)
            net_link_ping(link);
    }
}

void net_streams_free(struct net *net)
{
    struct list *link;
    while ((link = list_pop_front(&net->streams)) != NULL)
        free(list_entry(link, struct net_stream, in_streams));
}
