/* SPDX-License-Identifier: Apache-2.0
 *
 * net — a store's voice: one listening address for peers, snapshot streams and
 * clients, told apart by their hello; one outgoing connection per peer store.
 *
 *   accepted:  hello ─▶ ack ─▶ [auth] ─▶ peer      ─▶ on_peer_message()
 *                                        snapshot  ─▶ on_stream() (net/net_stream.h)
 *                                        client    ─▶ on_request() (net/net_client.h)
 *                                        join      ─▶ the same, once the secret is proven
 *   dialled:   net_peer_send() ─▶ the one connection to that store (net/net_peer.h)
 *              net_call_new()  ─▶ one question to an address (net/net_call.h)
 *
 * A store's messages to a peer travel on the connection that it dialled; what the
 * peer sends travels on the one that the peer dialled. So there is exactly one
 * connection per ordered pair of stores for all their groups, each end knows which
 * one it repairs, and no two crossing dials have to agree on a survivor.
 *
 * Who is refused gets an error message with the reason before the connection
 * closes, and on_refused() hears it. A peer proves the cluster's secret by HMAC over
 * both hellos (wire/hello.h), both ways; without a secret peers come from loopback
 * only.
 *
 * Units      times are microseconds of env_now_us() or named _ms; sizes bytes.
 * Ownership  net borrows env, and copies its options. Bodies and texts handed to a
 *            hook are borrowed until it returns.
 * Threads    everything on the env's loop. No hook is called from inside a call of
 *            this room, but for what is said at the call.
 * Errors     0 or a negative ERR_*; a struct err * may be NULL.
 * Teardown   env_stop(), then net_free(): it frees peers, clients and streams too.
 * Invariants (N1) at most one live incoming connection per peer store: a newer one
 *                 takes the place of the older.
 *            (N2) nothing but hello and auth is decoded before a connection stands.
 *            (N3) every queue has a bound; what happens at it is said beside it.
 * Limits     struct net_limits; a first frame of FRAME_BODY_MAX_HELLO; all others of
 *            FRAME_BODY_MAX.
 */
#ifndef NET_NET_H_
#define NET_NET_H_

#include "env/env.h"
#include "wire/hello.h"

struct net;
struct net_peer;
struct net_stream;

/* Who a store says, and proves, to be. */
struct net_identity {
    uint64_t cluster_id; /* 0: not born yet */
    uint64_t store_id;
    uint64_t boot;
    uint8_t store_uuid[STORE_UUID_LEN];
    struct slice address; /* what others dial, by what it says; empty: not told. Of oneself:
                             empty for the one that is listened on; outlives net. To a hook:
                             until it returns */
};

/* Connections beyond connections_max that are no clients. Those that are not greeted yet, or end,
 * count in the sum, too, and the oldest of them gives its place to whoever comes. */
enum { NET_BESIDE_MAX = 256 };

/* Zero stands for the default in brackets. */
struct net_limits {
    uint32_t hello_ms;         /* [5000] to say hello, and again to prove the secret */
    uint32_t frame_ms;         /* [60000] a frame that has begun must end in it */
    uint32_t idle_ms;          /* [900000] a client without requests is let go */
    uint32_t connections_max;  /* [4096] of clients */
    uint32_t requests_max;     /* [4096] in flight per client; then it is not read */
    uint32_t streams_max;      /* [8] incoming snapshot streams; then refused as busy */
    size_t replies_pause;      /* [8 MiB] waiting for one client: it is not read … */
    uint32_t replies_stuck_ms; /* [30000] … and after so long it is closed; and so is one that
                                  takes nothing of what waits, be it ever so little */
    size_t replies_max;        /* [64 MiB] waiting for one client: it is closed */
    size_t memory_max;         /* [512 MiB] held for all clients: the greediest is closed */
    size_t peer_bulk_max;      /* [4 MiB] entries waiting for one peer, but for the last message,
                                  which may reach beyond it; then ERR_BUSY */
    size_t peer_urgent_max;    /* [1 MiB] the rest, likewise */
    size_t stream_window;      /* [4 MiB] waiting in one outgoing stream; then ERR_BUSY */
    uint32_t ping_ms;          /* [1000] silence towards a peer before a ping */
    uint32_t silence_ms;       /* [5000] silence of a peer before its connection is cut; not
                                  counted, for up to frame_ms, while a ping waits behind a large
                                  message that leaves slowly */
    uint32_t redial_ms_min;    /* [50] first wait after a failure, doubled each time … */
    uint32_t redial_ms_max;    /* [2000] … up to this; half of each wait is random */
    uint32_t protocol_max;     /* [PROTOCOL_VERSION_MAX] the newest version that is spoken;
                                  less: as an older build does */
};

/* All but on_peer_message, on_request and on_stream may be NULL. A hook that
 * returns a negative code refuses: the other side is told `err` and the connection
 * ends. A hook may call anything of this room but net_free(). */
struct net_hooks {
    /* A store has proven the secret, as one who dialled us or was dialled: do we
     * talk to it? The place to compare the uuid with the one known for that id, and
     * the cluster id (two ids that are both known and differ were refused already). */
    int (*check_peer)(void *data, const struct net_identity *who, struct err *err);

    /* The connection that we dialled stands and the other side has accepted us. */
    void (*on_peer_up)(void *data, const struct net_identity *who);

    /* It ended (`was_up`), or an attempt failed. ERR_UNAUTHORIZED and
     * ERR_UNSUPPORTED do not mend by themselves. A new attempt follows anyway. */
    void (*on_peer_down)(void *data, uint64_t store_id, bool was_up, int status,
                         const char *reason);

    /* One message of `kind` (any but those of wire/hello.h) from a proven store. A
     * kind or body that cannot be right: ERR_UNSUPPORTED, ERR_CORRUPT. */
    int (*on_peer_message)(void *data, uint64_t from_store, uint32_t kind, struct slice body,
                           struct err *err);

    /* A body of kind MSG_REQUEST from a client: 0 promises exactly one
     * net_client_reply(client), now or later. */
    int (*on_request)(void *data, uint64_t client, struct slice body, struct err *err);

    /* Nothing waits for a client any more: it has read, or its system has for it. */
    void (*on_client_drained)(void *data, uint64_t client);

    /* A client is gone: what is in flight for it may be dropped; replies to it are
     * harmless. */
    void (*on_client_gone)(void *data, uint64_t client);

    /* A proven store opened a snapshot stream: net_stream_accept() it before
     * returning 0. */
    int (*on_stream)(void *data, struct net_stream *stream, const struct net_identity *from,
                     struct err *err);

    /* For the log: an incoming connection was refused, broke a rule or met a bound. */
    void (*on_refused)(void *data, const char *address, const char *reason);
};

struct net_options {
    const char *address;      /* to listen on; "host:port" */
    const char *name;         /* of this program, for people */
    struct net_identity self; /* store_id 0: it has none yet, and no peers */
    struct slice secret;      /* empty: none */
    struct net_limits limits;
    struct net_hooks hooks;
    void *data; /* for the hooks; borrowed, outlives this */
};

struct net_stats {
    uint64_t bytes_in, bytes_out; /* of frames */
    uint64_t frames_in;
    uint64_t accepted;    /* connections, ever */
    uint64_t refused;     /* of them */
    uint32_t connections; /* accepted ones that stand now, of all kinds */
    uint32_t clients;
    uint32_t clients_paused; /* not read because of a bound */
    uint32_t streams;        /* incoming */
    size_t clients_memory;   /* bytes held for clients */
};

/* Listen and serve. Hooks come from the loop, never from here. ERR_INVALID,
 * ERR_NOMEM; ERR_IO names the address (say, a port in use). */
int net_new(struct env *env, const struct net_options *options, struct net **ret_net,
            struct err *err);

/* After env_stop(); frees peers, clients and streams too. NULL is fine. */
void net_free(struct net *net);

/* The address that it listens on, with the port that was picked for port 0. */
const char *net_address(const struct net *net);

/* The cluster was born, or joined: hellos carry its id and ours from now on, and what
 * stands is left as it is. An id of ours that was known stays. */
void net_set_cluster(struct net *net, uint64_t cluster_id, uint64_t store_id);

/* For a graceful stop: take no new connections. What stands is served on. */
void net_stop_listening(struct net *net);

/* What to tell every peer of our disk from now on, with each pong: a number that stores
 * understand (net_peer_disk()); 0 for nothing. */
void net_set_disk(struct net *net, uint32_t disk);

/* Copied at the call. */
void net_stats(const struct net *net, struct net_stats *ret_stats);

/* Assert all invariants. */
void net_check(const struct net *net);

#endif
