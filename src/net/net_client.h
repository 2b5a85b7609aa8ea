/* SPDX-License-Identifier: Apache-2.0
 *
 * net_client — answering clients.
 *
 * A client is named by a number that is never used again, so that a reply that is
 * late finds nobody instead of somebody else. The replies of a turn leave in one
 * write. Back-pressure: at net_limits.requests_max requests in flight, or
 * replies_pause bytes of replies waiting, its connection is not read until half of
 * that is gone. A request that waits for something to happen is parked, and does not count:
 * or those that wait would keep all others of their connection from being read.
 *
 * Limits     replies_stuck_ms, replies_max, memory_max: the client is closed and
 *            on_refused() says which.
 */
#ifndef NET_NET_CLIENT_H_
#define NET_NET_CLIENT_H_

#include "net/net.h"

/* The one reply to one request: whole frames, copied. ERR_NOT_FOUND: the client
 * is gone; nothing to be done. */
int net_client_reply(struct net *net, uint64_t client, struct slice frames);

/* The same without a copy: between the two calls, with none of net in between, the caller appends
 * whole frames to reply.out. ERR_NOT_FOUND: the client is gone, and there is no second call. If
 * memory runs out meanwhile (out->failed), the client is closed. Returns the bytes appended. */
struct net_client;
struct net_reply {
    struct buf *out;
    /* private */
    struct net_client *client;
    size_t start;
};
int net_client_reply_begin(struct net *net, uint64_t client, struct net_reply *ret_reply);
size_t net_client_reply_end(struct net_reply *reply);

/* The same with frames that were made before: `frames` is empty then, its memory is the
 * connection's. Its bytes, or 0 if the client is gone. */
size_t net_client_reply_take(struct net *net, uint64_t client, struct buf *frames);

/* Frames that answer no request; otherwise as above. */
int net_client_push(struct net *net, uint64_t client, struct slice frames);

/* A request of that client waits for something to happen, and for how many that may be so is the
 * caller's to bound. Its reply follows net_client_unpark() at once, or never comes. Harmless if
 * the client is gone. */
void net_client_park(struct net *net, uint64_t client);
void net_client_unpark(struct net *net, uint64_t client);

/* Bytes of replies that wait for it; 0 if it is gone. Look here before making
 * another large one. */
size_t net_client_pending(const struct net *net, uint64_t client);

/* The same, and false if it is gone: there is nobody to make an answer for. */
bool net_client_is_there(const struct net *net, uint64_t client, size_t *ret_pending);

/* Its address in text, "" if it is gone; valid until the next call on the loop. */
const char *net_client_address(const struct net *net, uint64_t client);

/* Is it a store that has proven the cluster's secret (or needs none, from loopback)? False
 * if it is gone. */
bool net_client_is_proven(const struct net *net, uint64_t client);

/* Tell it why, then close. Harmless if it is gone. on_client_gone() follows. */
void net_client_close(struct net *net, uint64_t client, int status, const char *reason);

#endif
