/* SPDX-License-Identifier: Apache-2.0
 *
 * net_call — one question to whoever listens at an address, before anybody knows which
 * store that is: how a new store asks to join.
 *
 *   net_call_new() ─▶ dial, hello (purpose JOIN), proofs both ways ─▶ the request
 *        ─▶ the response ─▶ cb, and the connection ends
 *
 * The one who is asked serves it like a client's request, but knows that the asker has
 * proven the cluster's secret (net_client_is_proven()).
 *
 * Ownership  net owns the call until its callback runs or it is cancelled.
 * Errors     a call that was begun ends in exactly one callback, never from inside
 *            net_call_new().
 * Limits     NET_CALLS_MAX at a time.
 */
#ifndef NET_NET_CALL_H_
#define NET_NET_CALL_H_

#include "net/net.h"

enum { NET_CALLS_MAX = 16 };

struct net_call;

/* `status` 0: `body` is a message of kind MSG_RESPONSE, borrowed until return. Else why
 * not, with a reason for people. */
typedef void (*net_call_cb)(void *data, int status, const char *reason, struct slice body);

/* Ask at `address`. `frame` is a whole frame with a MSG_REQUEST (copied). ERR_BUSY
 * (NET_CALLS_MAX), ERR_NOMEM, or what dialling says: then there is no callback. */
int net_call_new(struct net *net, const char *address, struct slice frame, uint32_t timeout_ms,
                 net_call_cb cb, void *data, struct net_call **ret_call, struct err *err);

/* Hang up; no callback follows. */
void net_call_cancel(struct net_call *call);

#endif
