/* SPDX-License-Identifier: Apache-2.0
 *
 * net_peer — the one connection that we dial to a peer store, for the messages of
 * all groups, kept alive and dialled again for ever.
 *
 *   net_peer_send() ─▶ urgent ─┐
 *                      bulk   ─┴▶ end of turn: urgent first, then bulk while less
 *                                 than NET_PEER_WINDOW waits in the env ─▶ one write
 *
 *   WAITING ─▶ DIALLING ─▶ GREETING (hello, ack, auth, ping) ─▶ UP
 *      ▲____________|__________|_________________________________|
 *
 * Raft resends: a message that does not fit, or was queued when the connection
 * ended, is gone, and the sender is told only the former. Messages of one class keep
 * their order; urgent ones overtake bulk.
 *
 * Limits     net_limits.peer_bulk_max, peer_urgent_max; NET_PEERS_MAX peers.
 */
#ifndef NET_NET_PEER_H_
#define NET_NET_PEER_H_

#include "net/net.h"

enum {
    NET_PEERS_MAX = 1024,
    NET_PEER_WINDOW = 256 << 10,  /* bulk in the env, where nothing can overtake it */
    NET_CLOCK_RTT_MAX_MS = 2000,  /* a pong that took longer says too little of a clock */
    NET_CLOCK_AGE_MAX_MS = 10000, /* an older one is forgotten */
};

enum net_class {
    NET_URGENT, /* votes, probes, heartbeats, results */
    NET_BULK,   /* entries */
};

/* Begin to dial `address`, where store `store_id` should answer: any other is
 * refused. ERR_EXISTS, ERR_INVALID, ERR_BUSY (NET_PEERS_MAX), ERR_NOMEM. */
int net_peer_add(struct net *net, uint64_t store_id, const char *address,
                 struct net_peer **ret_peer, struct err *err);

/* The peer with that id; NULL if none. */
struct net_peer *net_peer_find(const struct net *net, uint64_t store_id);

/* It moved: dial there from now on. Nothing happens if it is the same. */
int net_peer_set_address(struct net_peer *peer, const char *address, struct err *err);

/* Hang up for good and free it; incoming connections of that store end too. NULL
 * is fine. on_peer_down() is not called. */
void net_peer_remove(struct net_peer *peer);

/* Whose, and where. */
uint64_t net_peer_store_id(const struct net_peer *peer);
const char *net_peer_address(const struct net_peer *peer);

/* Queue whole frames (copied). ERR_UNAVAILABLE: not connected, dropped. ERR_BUSY:
 * the bound of its class is met, dropped. Bulk may reach beyond it with one message, so that
 * a large one is not kept off by small ones; an urgent one passes above the bound while
 * nothing else of its class waits. */
int net_peer_send(struct net_peer *peer, enum net_class class, struct slice frames);

/* The same, for frames that the caller is through with: instead of a copy of many bytes their
 * memory goes, if they fill it by half or more, and `frames` is empty then. */
int net_peer_send_off(struct net_peer *peer, enum net_class class, struct buf *frames);

/* Bytes of bulk up to its bound (SIZE_MAX while none waits). While it is not 0, net_peer_send()
 * takes another message. */
size_t net_peer_room(const struct net_peer *peer);

/* Does the connection stand, accepted by the other side? */
bool net_peer_is_up(const struct net_peer *peer);

/* The version of the protocol that both ends speak on it; 0 while it is not up. */
uint32_t net_peer_protocol(const struct net_peer *peer);

/* Did our last connection to it end because its cluster secret is not ours, or only one
 * of us has one? */
bool net_peer_has_other_secret(const struct net_peer *peer);

/* When anything last came from that store, on either connection; 0 for never. */
uint64_t net_peer_heard_us(const struct net_peer *peer);

/* Bytes queued here and in the env. */
size_t net_peer_pending(const struct net_peer *peer);

/* Round trip of the last ping; 0 while unknown. */
uint64_t net_peer_rtt_us(const struct net_peer *peer);

/* How far the peer's wall clock is ahead of ours (negative: behind), estimated from
 * its last pong that came quickly: right to half of that round trip. A step of our own
 * clock shows at once, one of the peer's with its next pong. False, and nothing
 * written, while there is no such pong younger than NET_CLOCK_AGE_MAX_MS. */
bool net_peer_clock_offset_ms(const struct net_peer *peer, int64_t *ret_offset_ms);

/* What it last said of its disk (net_set_disk()); 0 while it is not up, or has said nothing. It
 * is as old as its last pong: a ping interval and a round trip. */
uint32_t net_peer_disk(const struct net_peer *peer);

/* It is known that now is a good time: dial at once instead of waiting. */
void net_peer_dial_now(struct net_peer *peer);

#endif
