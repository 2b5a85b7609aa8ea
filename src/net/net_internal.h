/* SPDX-License-Identifier: Apache-2.0
 *
 * net_internal — what the files of this room share.
 *
 *   env_conn ◀─▶ net_link: frames in, frames of a turn out, goodbyes (net_link.c)
 *                   │ handler
 *        ┌──────────┼──────────────┬──────────────┬───────────────┐
 *     greeting   net_incoming   net_client     net_stream      net_peer
 *   (net_greet.c) (net_greet.c) (net_client.c) (net_stream.c) (net_peer.c)
 *
 * Ownership  net owns all of it. A link that ended is freed at the end of the turn
 *            (net_reap()), so that code on the way out of a callback may still look
 *            at its state.
 * Invariants (L1) a link's handler hears on_end() once, and nothing after it.
 *            (L2) link->conn is NULL exactly when the env has let go of it.
 */
#ifndef NET_NET_INTERNAL_H_
#define NET_NET_INTERNAL_H_

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "net/net.h"
#include "net/net_client.h"
#include "net/net_peer.h"
#include "net/net_stream.h"
#include "wire/frame.h"

enum {
    NET_SWEEP_MS = 250,          /* how often time-outs are looked at */
    NET_LINGER_MS = 1000,        /* the other side may read a goodbye so long */
    NET_ENDING_MS = 30000,       /* to send what waits when a link ends */
    NET_STREAM_STUCK_MS = 60000, /* a stream without any progress */
    NET_TELL_MAX = 1 << 20,      /* who reads that little behind is told why it ends */
    NET_HELD_MAX = 1 << 20,      /* input not looked at while paused */
    NET_PONGS_MAX = 64 << 10,    /* bytes waiting from which pings are not answered */
    NET_OUT_MAX = 256 << 20,     /* of a link's buffer; all users stay far below */
    NET_OUT_AHEAD = 64 << 10,    /* of it, taken at once where the last turn needed so much */
    NET_TURN_REQUESTS = 2048,    /* of clients in a turn: then peers are heard again, and … */
    NET_TURN_SHARE = 64,         /* … whoever had so many has the rest in the next */
    NET_REASON_MAX = 256,
};

/* ---- links ------------------------------------------------------------------ */

struct net_link;

struct net_link_handler {
    /* The connection that we dialled stands. NULL for accepted ones. */
    void (*on_open)(struct net_link *link);
    /* One message; ping and error are handled below. A negative code refuses. */
    int (*on_frame)(struct net_link *link, uint32_t kind, struct slice body, struct err *err);
    /* After what was queued went to the env, at the end of a turn. NULL is fine. */
    void (*on_flush)(struct net_link *link);
    /* All that was written left. NULL is fine. */
    void (*on_drain)(struct net_link *link);
    /* After a read and its frames. NULL is fine. */
    void (*on_read)(struct net_link *link);
    void (*on_end)(struct net_link *link, int status, const char *reason);
};

/*   OPEN ─▶ DOOMED ─▶ ENDING ─▶ CLOSED
 *     └─────────────────┴─────────▲        (the other side may end it anywhere) */
enum net_link_state {
    LINK_OPEN,
    LINK_DOOMED, /* fails at the end of this turn, with `status` and `reason` */
    LINK_ENDING, /* the handler is done with it; what waits leaves, input is dropped */
    LINK_CLOSED, /* to be reaped */
};

/* Both hellos: what a proof covers. */
struct net_greet {
    struct hello hello;
    struct hello_ack ack;
    char name[HELLO_NAME_MAX];
    char address[HELLO_ADDRESS_MAX];
    uint32_t protocol;      /* dialled: the version that both speak */
    bool is_secret_foreign; /* dialled: it could not prove our secret */
};

struct net_link {
    struct net *net;
    struct env_conn *conn; /* borrowed from env; NULL once gone */
    const struct net_link_handler *handler;
    void *data; /* the handler's */
    bool is_dialled;
    char address[ENV_ADDRESS_MAX]; /* of the other side */

    enum net_link_state state;
    bool is_standing; /* greeted: larger frames, pings */
    bool is_paused;   /* the handler takes no more frames for now */
    int status;       /* while DOOMED */
    char reason[NET_REASON_MAX];
    struct frame_reader reader;
    struct buf held; /* input that arrived before the pause and was not looked at */
    struct buf out;  /* frames of this turn */
    size_t out_last; /* bytes of the last turn that had some */
    struct net_greet greet;
    uint64_t since_us;   /* of this stage: greeting, ending */
    uint64_t heard_us;   /* last input; when it was opened, to begin with */
    uint64_t frame_us;   /* since when a frame is incomplete; 0: none is */
    uint64_t drained_us; /* last time that nothing waited */
    uint64_t pinged_us;
    uint64_t written; /* bytes, ever, to the env … */
    uint64_t left;    /* … and of those, when it was looked at last, no longer here */
    uint64_t left_us; /* some left, and a ping waited behind them */
    uint64_t ping_at; /* of the bytes to be written, the end of a ping that waits, or waited last */

    struct env_task task;
    struct list in_links; /* until it is freed */
    struct list in_spare; /* it came in, and greets or is ENDING */
    struct list in_dead;  /* once CLOSED */
};

/* A connection that came in; NULL without memory. */
struct net_link *net_link_accept(struct net *net, struct env_conn *conn, const char *address,
                                 const struct net_link_handler *handler);

/* Dial. Errors of env_connect() and ERR_NOMEM; then there is no link and no end. */
int net_link_dial(struct net *net, const char *address, const struct net_link_handler *handler,
                  void *data, struct net_link **ret_link, struct err *err);

/* The greeting is over: frames of full size from now on. */
void net_link_stand(struct net_link *link);

/* Give it to another handler. */
void net_link_hand_over(struct net_link *link, const struct net_link_handler *handler, void *data);

/* Where to append frames; net_link_sent() after. */
struct buf *net_link_out(struct net_link *link);

/* Frames were appended: they leave at the end of the turn. ERR_NOMEM dooms the link. */
int net_link_sent(struct net_link *link);

/* Queue whole frames, copied. ERR_NOMEM dooms the link. */
int net_link_send(struct net_link *link, struct slice frames);

/* What was queued leaves before anything that is not. */
void net_link_flush_out(struct net_link *link);

/* Behind net_link_flush_out(), or from on_flush: bytes of malloc(), straight to the env. */
void net_link_write(struct net_link *link, uint8_t *bytes, size_t len);

/* Queue a ping whose token is the time. */
void net_link_ping(struct net_link *link);

/* Since when is nothing heard that was to be? As heard_us; but as long as bytes leave and a ping
 * waits behind them nothing can come, for up to a frame's time. Called by each sweep. */
uint64_t net_link_alive_us(struct net_link *link, uint64_t now_us);

/* Bytes queued here and in the env. */
size_t net_link_pending(const struct net_link *link);

/* Hand out no more frames. */
void net_link_pause(struct net_link *link);

/* Go on, at the end of this turn. */
void net_link_resume(struct net_link *link);

/* From the env's callbacks and the sweep: on_end() now; then, if `must_tell`, an
 * error message; then the end. */
void net_link_fail(struct net_link *link, int status, bool must_tell, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* The same at the end of the turn, with telling: for calls from above. */
void net_link_doom(struct net_link *link, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The handler's own end, without on_end(). status 0: nothing is told. */
void net_link_close(struct net_link *link, int status, const char *reason);

/* It gives its place to another: one of net.greeting or net.ending. */
void net_link_displace(struct net_link *link);

/* Time-outs that all links have. */
void net_link_sweep(struct net_link *link, uint64_t now_us);

/* Memory only. */
void net_link_free(struct net_link *link);

/* ---- greetings ---------------------------------------------------------------- */

/* A connection came in: whoever it is. */
void net_greet_accept(struct net *net, struct env_conn *conn, const char *address);

/* Say hello on a link that we dialled. */
void net_greet_hello(struct net_link *link, enum hello_purpose purpose);

/* Judge the answer (it must come from `store_id`; 0: from anybody but ourselves), prove ourselves,
 * and ping: the pong says that we were accepted. */
int net_greet_answer(struct net_link *link, uint64_t store_id, uint32_t kind, struct slice body,
                     struct net_identity *ret_who, struct err *err);

/* ---- incoming peers ------------------------------------------------------------- */

struct net_incoming {
    struct net_link *link;
    struct net_identity who;
};

/* The greeting is over: take the link, or refuse. */
int net_incoming_begin(struct net_link *link, const struct net_identity *who, struct err *err);

/* Close what came in from that store, if anything. */
void net_incoming_close(struct net *net, uint64_t store_id, const char *reason);

/* ---- clients, streams, peers ------------------------------------------------------ */

/* The greeting is over. */
int net_client_begin(struct net_link *link, bool is_proven, struct err *err);

/* Another turn of the loop; those who had the rest of their requests put off go on. */
void net_clients_turn_end(struct env_task *task);
void net_clients_next_turn(struct env_timer *timer);

/* Time-outs of all clients. */
void net_clients_sweep(struct net *net, uint64_t now_us);

/* The greeting is over: offer it to the hook. */
int net_stream_begin(struct net_link *link, const struct net_identity *who, struct err *err);

/* Time-outs of all streams. */
void net_streams_sweep(struct net *net, uint64_t now_us);

/* Memory only. */
void net_streams_free(struct net *net);

/* Pings and time-outs of all peers. */
void net_peers_sweep(struct net *net, uint64_t now_us);

/* Memory only. */
void net_peers_free(struct net *net);

/* Memory only. */
void net_calls_free(struct net *net);

/* Something came from that store on the connection that it dialled. */
void net_peer_note_heard(struct net *net, uint64_t store_id, uint64_t now_us);

/* ---- the whole ------------------------------------------------------------------------ */

struct net {
    /* configuration */
    struct env *env; /* borrowed */
    struct net_identity self;
    struct net_limits limits;
    struct net_hooks hooks;
    void *data;
    char name[HELLO_NAME_MAX + 1];
    uint8_t *secret; /* owned */
    size_t secret_len;
    uint32_t disk; /* told in every pong */

    /* state */
    struct env_listener *listener;
    char address[ENV_ADDRESS_MAX];
    struct list links;    /* net_link.in_links, in order of birth */
    struct list greeting; /* net_link.in_spare, the oldest first: came in and do not stand … */
    struct list ending;   /* … or are through, and what waits is to leave */
    struct list dead;     /* net_link.in_dead: to be freed */
    struct map peers;     /* store id → net_peer */
    struct map incoming;  /* store id → net_incoming */
    struct map clients;   /* client number → net_client */
    struct list streams;  /* net_stream.in_streams */
    struct list calls;    /* net_call.in_calls */
    uint32_t call_count;
    uint64_t client_next;   /* number of the next client */
    uint64_t turn;          /* grows with the loop's */
    uint32_t turn_requests; /* of clients, in this one */
    struct list resting;    /* net_client.in_resting: go on in the next one */
    uint64_t swept_us;      /* last sweep */
    uint64_t awake_us;      /* when we last came back after being late ourselves */
    struct net_stats stats;

    struct env_timer sweep;
    struct env_timer next_turn;
    struct env_task turn_end;
    struct env_task reap;
};

static inline struct slice net_secret(const struct net *net)
{
    return slice_of(net->secret, net->secret_len);
}

/* Have more than `ms` passed since `since_us`, at all of which we were awake? */
static inline bool net_is_over(const struct net *net, uint64_t since_us, uint64_t ms,
                               uint64_t now_us)
{
    uint64_t from_us = MAX(since_us, net->awake_us);
    return now_us > from_us && now_us - from_us > ms * 1000;
}

/* Report to the hook and count. */
void net_refused(struct net *net, const char *address, const char *reason);

/* Free links that are closed, at the end of this turn. */
void net_reap_later(struct net *net);

#endif
