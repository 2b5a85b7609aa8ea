/* SPDX-License-Identifier: Apache-2.0
 *
 * client — how a program talks to a cluster: finds the leader, keeps a connection
 * for each store it needs, sends many requests at once, and tries again where
 * that is safe. libholdfast, the gateways and the CLI stand on it; it runs on one
 * loop of any env, in the simulator too.
 *
 *   client_submit() ─▶ fresh ─▶ pump (end of the turn) ─▶ encoded, one write a peer
 *                        ▲          │ no route, no connection, pushed back
 *                        └──────────┴─▶ parked, until a route, a peer or a timer
 *   response ─▶ by its id to the op ─▶ done: cb │ refused: leader noted, fresh again
 *
 *   op   IDLE ──▶ QUEUED ──▶ SENT ──▶ IDLE (cb)
 *                   ▲ ◀───────┘  refused for certain; or lost, and it can be repeated
 *
 * Outcome    status 0: done. ERR_UNDETERMINED: a change that left, and the deadline came
 *            before anybody could tell what became of it. Every other error is definite: it
 *            did not and will not take effect. Reads, and changes of a session, are sent
 *            again as long as the deadline allows; a change of none only after a refusal.
 * Sessions   each change is stamped at its first sending: session, sequence, lowest sequence
 *            unanswered, and the cluster's time as the stores' hellos tell it. Repeats carry
 *            the same stamp, and the range does it once (range/sessions.h). A session that
 *            left something undetermined is given up, so that its rows stay for whoever
 *            resolves that: CLIENT_SESSION_WINDOW bounds what can be open between the lowest
 *            and the newest sequence; beyond, another session goes on, one that was used before
 *            if there is room in it, for each takes memory of the ranges for a while.
 * Units      *_ms are milliseconds; deadlines are env time.
 * Ownership  an op is the caller's memory and stays in place until its cb runs, and
 *            so do the bytes that its request points to. A result is borrowed until
 *            the cb returns. The client borrows env.
 * Threads    all on the env's loop.
 * Errors     client_submit(): when it returns an error, the cb is never called; else
 *            exactly once, never from inside the call. The op may be submitted again
 *            or freed from inside its cb; client_stop() may not be called there.
 * Routing    by on-disk key (0x02 | keyspace | key) through a cache of spans; the
 *            leader of a span is learned from refusals and by asking every known
 *            store for its status at once.
 * Invariants (C1) a change of no session is in flight on at most one connection, and at
 *            most once.
 *            (C2) an answer counts only for the very sending that it answers: each
 *            sending has a fresh id.
 *            (C3) ops in flight and their bytes are within the options' bounds.
 * Limits     in_flight_max ops, bytes_max bytes of requests, and half as much again while some
 *            of them are stuck (client/bounds.h); CLIENT_PEERS_MAX stores;
 *            CLIENT_CONN_BYTES_MAX unsent bytes a connection, then ops wait.
 */
#ifndef CLIENT_CLIENT_H_
#define CLIENT_CLIENT_H_

#include "base/log.h"
#include "env/env.h"
#include "wire/command.h"
#include "wire/request.h"
#include "wire/response.h"

struct client;
struct client_op;
struct client_peer;

enum {
    CLIENT_PEERS_MAX = 64,
    CLIENT_IN_FLIGHT_MAX = 65536, /* the most that in_flight_max may say */
    CLIENT_CONN_BYTES_MAX = 4 << 20,
    CLIENT_TIMEOUT_MS = 5000, /* default */
    CLIENT_SESSION_WINDOW = 2048,
    CLIENT_SESSIONS = CLIENT_IN_FLIGHT_MAX / CLIENT_SESSION_WINDOW + 1,
};

struct client_options {
    const struct logger *logger;  /* borrowed, outlives the client; NULL: none */
    const char *const *endpoints; /* "host:port", borrowed during client_new() */
    size_t endpoint_count;        /* 1 … CLIENT_PEERS_MAX / 2 */
    const char *name;             /* for the server's log; NULL: none */
    uint64_t cluster_id;          /* 0: that of the first store which answers */
    uint32_t in_flight_max;       /* 0: 8192 */
    size_t bytes_max;             /* 0: 64 MiB */
    uint32_t connect_timeout_ms;  /* until the hello is answered; 0: 1000 */
    uint32_t stall_ms;            /* silence after which a peer is suspect; 0: 1500 */
    uint32_t backoff_min_ms;      /* first pause before trying again; 0: 10 */
    uint32_t backoff_max_ms;      /* pauses double up to this; 0: 500 */
    bool has_no_sessions;         /* a change that was lost is not sent again */
};

struct client_result {
    int status;                      /* 0 or a negative ERR_* */
    struct slice text;               /* why, for people; may be empty */
    const struct response *response; /* NULL: no store gave the final word */
};

typedef void (*client_cb)(struct client_op *op, const struct client_result *result);

enum client_op_state { CLIENT_OP_IDLE, CLIENT_OP_QUEUED, CLIENT_OP_SENT, CLIENT_OP_STATE_NR };

/* One request. Zeroed, then filled by the caller. */
struct client_op {
    void *data;             /* caller's */
    struct request request; /* kind and detail; 0 for trace_id draws one. The client sets
                               id, range, epoch and time-out. Bytes borrowed until cb. WRITE:
                               the whole command stands in write.command, and is trusted to be
                               one (no decoder looks at it here); write.rest is the client's
                               own, for what it sends, and empty (else ERR_INVALID) */
    struct slice key;       /* WRITE: the command's first key, which tells the range; borrowed
                               until cb. Reads have theirs in the request */
    uint32_t keyspace;      /* WRITE: the command's */
    uint32_t timeout_ms;    /* 0: CLIENT_TIMEOUT_MS */
    uint64_t range_id;      /* ask the leader of this very range, whatever the key; 0: by the key */
    uint64_t span_epoch;    /* of that range, as the caller knows it; 0: not known */
    const char *endpoint;   /* ask this store and no other (borrowed until cb); NULL:
                               whoever should know. If it cannot be reached, it fails at
                               once with ERR_UNAVAILABLE */
    client_cb cb;
    uint64_t cluster_id; /* for this cluster alone, else ERR_UNAUTHORIZED; 0: whichever */
    bool is_stamped;     /* WRITE: the command is of a session by itself, and can be repeated; it
                            was first sent at … */
    uint64_t stamped_ms; /* … this time of the cluster */
    /* the client's; what cb finds in them stays until the next submit */
    struct command_stamp stamp; /* session 0: none was given */
    uint64_t stamp_ms;          /* the range asked for a first_sent of then; 0: it did not */
    /* private */
    enum client_op_state state;
    struct client *client;       /* borrowed */
    struct client_peer *only;    /* the one of `endpoint`, or NULL */
    struct client_peer *peer;    /* SENT: where to */
    const void *sent_to;         /* the peer of the last sending */
    struct client_peer *held_by; /* the peer whose window holds it back, or NULL */
    bool is_stuck;               /* it had to wait for a route or a connection */
    struct list in_queue;        /* client's fresh, parked or pausing, or its peer's sent */
    struct env_timer deadline;   /* active from submit to cb; a part's is its whole's */
    struct env_timer retry;      /* active while it pauses */
    uint64_t deadline_us;
    uint64_t sent_us;
    uint64_t sent_id; /* of the last sending */
    size_t bytes;     /* counted against bytes_max */
    uint32_t slot;
    uint32_t sendings;
    uint32_t refusals;          /* in a row; they set the pause */
    struct client_multi *multi; /* it was taken apart; owned */
    bool is_part;               /* of such a one */
    bool is_granted;            /* its deadline was put off, because the loop was late */
    bool is_ambiguous;          /* a sending of it was lost: it may have been done */
    bool wants_leader;          /* another replica said that only the leader can answer */
    bool is_internal;           /* the client's own */
    int last_error;             /* of the last try; 0: none yet */
    char last_text[96];         /* why, for people */
};

/* An op of that kind as if its memory were zeroed, but for what the kind does not have: most of a
 * request is of the others. */
static inline void client_op_init(struct client_op *op, enum request_kind kind)
{
    size_t behind = offsetof(struct client_op, key);
    _Static_assert(offsetof(struct client_op, request) < offsetof(struct client_op, key), "order");
    op->data = NULL;
    request_init(&op->request, kind);
    memset((uint8_t *)op + behind, 0, sizeof *op - behind);
}

struct client_stats {
    uint64_t submitted;
    uint64_t done;   /* status 0 */
    uint64_t failed; /* definite errors */
    uint64_t undetermined;
    uint64_t busy;         /* refused by client_submit(): a bound was met */
    uint64_t sendings;     /* requests sent; more than ops where they were tried again */
    uint64_t not_leader;   /* refusals of that kind */
    uint64_t pushed_back;  /* refusals with ERR_BUSY */
    uint64_t connects;     /* connections that came to stand */
    uint64_t disconnects;  /* that ended, or never came to stand */
    uint64_t held_back;    /* ops that had to wait because their store had pushed back */
    uint64_t paced;        /* repeats that had to wait: too many went to their store */
    uint64_t late_answers; /* to sendings that nobody waits for any more */
    uint64_t writes;       /* calls of env_conn_write() */
    uint64_t bytes_out;
    uint64_t bytes_in;
    uint64_t in_flight; /* now */
};

/* Connects when there is something to send. ERR_INVALID: no or too many endpoints,
 * or one that is no address; ERR_NOMEM. */
int client_new(struct env *env, const struct client_options *options, struct client **ret_client,
               struct err *err);

/* Close all connections and be still while the env goes on: no callback follows, and
 * only client_free() may. Not from inside a cb. */
void client_stop(struct client *client);

/* After env_stop() or client_stop(). Frees at once, whatever is in flight: ops are the
 * caller's again and must still be in place. NULL is fine. */
void client_free(struct client *client);

/* ERR_BUSY: a bound was met. ERR_INVALID, ERR_TOO_LARGE: not a request that could be
 * sent. ERR_NOMEM. */
int client_submit(struct client *client, struct client_op *op);

/* Forget it: no callback follows, the op is the caller's again. False if it may have
 * left and may take effect. */
bool client_cancel(struct client_op *op);

/* Of the ops in flight, those that wait for stores which cannot be asked or do not answer. */
void client_stuck(const struct client *client, uint32_t *ret_count, size_t *ret_bytes);

void client_stats_get(const struct client *client, struct client_stats *ret_stats);

/* The cluster's id as learned or given; 0 while unknown. */
uint64_t client_cluster_id(const struct client *client);

/* Assert the invariants; for tests. */
void client_check(const struct client *client);

#endif
