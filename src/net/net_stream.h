/* SPDX-License-Identifier: Apache-2.0
 *
 * net_stream — a connection of its own for one snapshot, with flow control: the
 * sender stops at a window of bytes that wait, the receiver pauses while it is busy.
 *
 *   sender:    net_stream_open ─▶ on_open ─▶ net_stream_send … ERR_BUSY
 *              … on_room ─▶ net_stream_send … net_stream_close(0)
 *   receiver:  hooks.on_stream ─▶ net_stream_accept ─▶ on_frame …
 *
 * Either side may send and either may close. Raft's own state is not touched here.
 *
 * Ownership  the stream is net's; it is gone when on_close returns, or after
 *            net_stream_close().
 * Limits     net_limits.stream_window bytes wait; streams_max come in.
 */
#ifndef NET_NET_STREAM_H_
#define NET_NET_STREAM_H_

#include "net/net.h"

struct net_stream_handler {
    /* Only for the side that opened: it stands, send away. `who` answered. */
    void (*on_open)(void *data, const struct net_identity *who);
    /* One frame of the other side; a negative code refuses and closes (on_close
     * follows). */
    int (*on_frame)(void *data, uint32_t kind, struct slice body, struct err *err);
    /* Nothing waits any more: the window is open. NULL is fine. */
    void (*on_room)(void *data);
    /* It ended, or never came to stand. The code and text of the other side where it
     * gave some; ERR_EOF if it just ended. Once, last; not after net_stream_close(). */
    void (*on_close)(void *data, int status, const char *reason);
};

/* Dial `address`, where store `store_id` should answer. `handler` is copied. */
int net_stream_open(struct net *net, uint64_t store_id, const char *address,
                    const struct net_stream_handler *handler, void *data,
                    struct net_stream **ret_stream, struct err *err);

/* From hooks.on_stream only. */
void net_stream_accept(struct net_stream *stream, const struct net_stream_handler *handler,
                       void *data);

/* The handler's calls bring `data` from now on. From inside one of them, too. */
void net_stream_pass_on(struct net_stream *stream, void *data);

/* Whole frames, copied. ERR_BUSY: the window is full, wait for on_room;
 * ERR_UNAVAILABLE: it does not stand (yet). */
int net_stream_send(struct net_stream *stream, struct slice frames);

/* Bytes that net_stream_send() would take now. */
size_t net_stream_room(const struct net_stream *stream);

/* Take in no more frames for now, and go on: the other side is held back. */
void net_stream_pause(struct net_stream *stream);
void net_stream_resume(struct net_stream *stream);

/* Send what waits, then end: with 0 silently, otherwise telling `status` and
 * `reason`. NULL is fine. */
void net_stream_close(struct net_stream *stream, int status, const char *reason);

#endif
