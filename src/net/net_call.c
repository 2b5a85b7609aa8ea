/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net_call.h"

#include <stdlib.h>

#include "net/net_internal.h"

struct net_call {
    struct net_link *link;
    struct list in_calls;
    struct env_timer timeout;
    struct net_identity who; /* who answers */
    struct buf frame;
    net_call_cb cb;
    void *data;
};

static void call_free(struct net_call *call)
{
    struct net *net = call->link->net;
    ASSERT(net->call_count > 0);
    net->call_count--;
    list_remove(&call->in_calls);
    env_timer_stop(&call->timeout);
    buf_fini(&call->frame);
    free(call);
}

static void call_done(struct net_call *call, int status, const char *reason, struct slice body)
{
    net_call_cb cb = call->cb;
    void *data = call->data;
    call_free(call);
    cb(data, status, reason, body);
}

static void on_open(struct net_link *link)
{
    net_greet_hello(link, HELLO_JOIN);
}

static int on_frame(struct net_link *link, uint32_t kind, struct slice body, struct err *err)
{
    struct net_call *call = link->data;
    if (!link->is_standing) {
        int code = net_greet_answer(link, 0, kind, body, &call->who, err);
        return code == 0 ? net_link_send(link, buf_slice(&call->frame)) : code;
    }
    if (kind == MSG_PONG)
        return 0;
    if (kind != MSG_RESPONSE)
        return err_set(err, ERR_UNSUPPORTED, "%s instead of a response", msg_kind_name(kind));
    net_link_close(link, 0, "");
    call_done(call, 0, "", body);
    return 0;
}

static void on_end(struct net_link *link, int status, const char *reason)
{
    call_done(link->data, status, reason, (struct slice){0});
}

static const struct net_link_handler CALL_HANDLER = {
    .on_open = on_open, .on_frame = on_frame, .on_end = on_end};

static void on_timeout(struct env_timer *timer)
{
    struct net_call *call = timer->data;
    net_link_close(call->link, 0, "");
    call_done(call, ERR_TIMEOUT, "no answer in time", (struct slice){0});
}

int net_call_new(struct net *net, const char *address, struct slice frame, uint32_t timeout_ms,
                 net_call_cb cb, void *data, struct net_call **ret_call, struct err *err)
{
    if (net->call_count >= NET_CALLS_MAX)
        return err_set(err, ERR_BUSY, "more than %d questions at a time", NET_CALLS_MAX);
    struct net_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return err_set(err, ERR_NOMEM, "ask %s: out of memory", address);
    buf_init(&call->frame, frame.len);
    buf_append_slice(&call->frame, frame);
    int code = call->frame.failed ? err_set(err, ERR_NOMEM, "ask %s: out of memory", address) : 0;
    if (code == 0)
        code = net_link_dial(net, address, &CALL_HANDLER, call, &call->link, err);
    if (code != 0) {
        buf_fini(&call->frame);
        free(call);
        return code;
    }
    call->cb = cb;
    call->data = data;
    list_init(&call->in_calls);
    list_push_back(&net->calls, &call->in_calls);
    net->call_count++;
    env_timer_init(&call->timeout, net->env, on_timeout, call);
    env_timer_start(&call->timeout, (uint64_t)timeout_ms * 1000);
    *ret_call = call;
    return 0;
}

void net_call_cancel(struct net_call *call)
{
    net_link_close(call->link, 0, "");
    call_free(call);
}

void net_calls_free(struct net *net)
{
    struct list *it;
    while ((it = list_pop_front(&net->calls)) != NULL)
        call_free(list_entry(it, struct net_call, in_calls));
}
