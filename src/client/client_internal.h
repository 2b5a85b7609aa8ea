/* SPDX-License-Identifier: Apache-2.0
 *
 * client_internal — what the files of the client share.
 *
 *   client.c    ops: submit, their states, deadlines, the final word
 *   dispatch.c  where an op goes next: the pump, refusals, pauses
 *   peer.c      one connection to one store
 *   answer.c    does an answer fit its request?
 *   lookup.c    asking who leads
 *   session.c   stamps for changes, and what was answered
 *
 *   peer   IDLE ──▶ CONNECTING ──▶ READY
 *            ▲          │            │ closed, refused, not understood
 *            └── COOLING ◀───────────┘ until its timer
 */
#ifndef CLIENT_CLIENT_INTERNAL_H_
#define CLIENT_CLIENT_INTERNAL_H_

#include "client/bounds.h"
#include "client/budget.h"
#include "client/client.h"
#include "client/route.h"
#include "wire/frame.h"

enum {
    CLIENT_LOOKUPS_MAX = 8,
    CLIENT_PARTS_MAX = 256, /* of gets of several ranges, in flight */
    CLIENT_NAME_MAX = 63,
    CLIENT_TEXT_MAX = 96,
    CLIENT_STAMP_BYTES = 64,
};

/* A session that changes are stamped with; id 0: none, one is drawn when it is needed. */
struct client_session {
    uint64_t id;
    uint64_t next;                                 /* the sequence to be given */
    uint64_t lowest;                               /* not answered yet, or next */
    uint64_t answered[CLIENT_SESSION_WINDOW / 64]; /* of lowest … , by sequence modulo window */
};

enum peer_state { PEER_IDLE, PEER_CONNECTING, PEER_READY, PEER_COOLING, PEER_STATE_NR };

struct client_peer {
    struct client *client;
    char address[ADDRESS_MAX + 1];
    enum peer_state state;
    struct env_conn *conn; /* the env's; NULL unless CONNECTING or READY */
    struct frame_reader reader;
    struct buf out;         /* frames of this turn */
    size_t out_last;        /* bytes of the last turn that had some */
    struct list sent;       /* ops that wait for its answer, oldest first */
    uint32_t sent_count;    /* … how many … */
    uint32_t load;          /* … those of them that count in the window: all but watches … */
    uint32_t fresh_count;   /* those of them that were not stuck before … */
    size_t fresh_bytes;     /* … and their bytes */
    uint32_t window;        /* so many at a time: less where it pushes back */
    uint32_t window_max;    /* the client's bound, or what the store reads of one connection */
    uint32_t served;        /* answers since the window last grew */
    struct list waiting;    /* ops that the window holds back … */
    uint32_t waiting_count; /* … and how many */
    struct budget repeats;
    uint64_t shrunk_us;     /* when the window last shrank */
    uint64_t took_us;       /* how long its answers take, as of late */
    uint64_t least_us;      /* how long the quickest took; 0: none came yet */
    uint64_t used_us;       /* when it was last asked, or learned of */
    uint32_t aims;          /* ops that name it */
    bool is_given;          /* one of the endpoints of client_new() */
    bool is_pinned;         /* somebody on the stack goes on with it after a cb */
    struct env_timer timer; /* CONNECTING: until the hello is answered; COOLING: its end */
    uint64_t heard_us;      /* last bytes from it */
    uint64_t pinged_us;     /* last ping since then; 0: none */
    uint64_t hold_until_us; /* it asked not to be asked before */
    uint32_t failures;      /* in a row */
    bool is_suspect;        /* silent for too long with questions open */
    bool is_full;           /* met CLIENT_CONN_BYTES_MAX; until it drained */
    int last_error;
    char last_text[CLIENT_TEXT_MAX];
};

struct client_slot {
    struct client_op *op; /* NULL: free */
    uint32_t generation;  /* of sendings through this slot */
    uint32_t next_free;
};

struct client_lookup {
    struct client_op op;
    bool is_active;
    size_t key_len;
    uint8_t key[ROUTE_KEY_PREFIX + KEY_WIRE_MAX]; /* whose range is asked for */
};

/* Where a lookup stands in the order in which they have their turns: the start of its range,
 * where that is known, else its key. */
struct lost_order {
    size_t len;
    uint8_t place[ROUTE_KEY_PREFIX + KEY_WIRE_MAX];
};

struct client {
    struct env *env;               /* borrowed */
    struct client_options options; /* no endpoints, no name */
    char name[CLIENT_NAME_MAX + 1];

    struct client_peer *peers[CLIENT_PEERS_MAX]; /* owned; no order */
    uint32_t peer_count;
    uint32_t peer_next; /* rotates where any will do */
    struct route_cache routes;
    struct client_peer *driver; /* who hosts placement, as somebody said; NULL: not known */
    uint64_t cluster_id;

    struct client_slot *slots; /* owned */
    uint32_t slot_count;
    uint32_t slot_free; /* head of the free ones; slot_count: none */
    uint32_t op_count;  /* the caller's ops that are not idle */
    size_t op_bytes;
    uint32_t stuck_count; /* of them, those that once had to wait for a route or a connection */
    size_t stuck_bytes;

    struct client_session sessions[CLIENT_SESSIONS]; /* as many windows as may be in flight */
    uint32_t session_at;                             /* the one that stamps; full: another does */
    uint64_t time_ms; /* the cluster's, as told at time_at_us; 0: not told yet */
    uint64_t time_at_us;
    struct buf stamped; /* scratch: the begin of a change's command, with its stamp */

    struct list fresh;   /* to be looked at by the pump */
    struct list parked;  /* wait for a route or a peer */
    struct list pausing; /* wait for their retry timer */
    struct list fanned;  /* wait for their parts (multi.c) */
    uint32_t parts_active;
    bool wants_parts; /* there may be parts to start */
    struct env_task pump;
    struct env_timer tick; /* active while anything is sent: finds silent peers */
    uint32_t sent_count;

    struct client_lookup lookups[CLIENT_LOOKUPS_MAX];
    uint32_t lookups_active;
    uint32_t lookup_rounds; /* in a row without a leader; they set the pause */
    struct env_timer lookup_pause;
    bool wants_lookup;
    bool is_lost_below;  /* the keys below it are meant */
    uint64_t lost_range; /* the range of an op that is for it, 0 for one that goes by its key */
    struct lost_order lost_order; /* of what is to be asked for … */
    struct lost_order asked;      /* … and what was asked for last */
    size_t lost_key_len;          /* on-disk key of an op that found no route */
    uint8_t lost_key[ROUTE_KEY_PREFIX + KEY_WIRE_MAX];

    int last_error; /* why no store could be asked, for those who wait */
    char last_text[CLIENT_TEXT_MAX];
    struct client_stats stats;
};

/* ---- client.c -------------------------------------------------------------- */

/* Submit on behalf of the client itself: no bound but that of its slots. */
int client_submit_internal(struct client *client, struct client_op *op);

/* Move between lists and states; `to_list` is where it waits next. */
void op_queue(struct client_op *op, struct list *to_list);
void op_mark_sent(struct client_op *op, struct client_peer *peer);

/* The final word: everything is released, then the cb runs; `op` is not touched
 * after. */
void op_finish(struct client_op *op, const struct client_result *result);
void op_fail(struct client_op *op, int status, const char *text);

/* Is there room for one more of so many bytes? (bounds.h) */
bool client_has_room(const struct client *client, size_t bytes);

/* Note why the last try came to nothing. */
void op_note(struct client_op *op, int error, struct slice text);

/* The op that this id was given to, NULL if nobody waits for it any more. */
struct client_op *client_op_by_id(struct client *client, uint64_t id);
bool op_is_read_only(const struct client_op *op);

/* Does the store work for it until it answers? A watch only waits there for changes. */
static inline bool op_is_load(const struct client_op *op)
{
    return op->request.kind != REQUEST_WATCH;
}

/* A fresh id for the next sending of the op in that slot. */
uint64_t client_next_id(struct client *client, uint32_t slot);

/* ---- dispatch.c ------------------------------------------------------------ */

/* Run the pump at the end of this turn. */
void client_poke(struct client *client);

/* All that is parked gets another look. */
void client_wake(struct client *client);

/* An answer to a sending of `op`. */
void dispatch_on_response(struct client_op *op, const struct response *response);

/* The connection that it was sent on is gone. */
void dispatch_on_lost(struct client_op *op, int error, const char *text);

/* Where it belongs, NULL if that is not known. */
struct route *dispatch_route(struct client_op *op);

/* Its route and leader are to be looked up. */
void dispatch_lost(struct client_op *op);
void client_pump_task(struct env_task *task);
void op_retry_timer(struct env_timer *timer);

/* Pause that grows with each refusal: between half of it and all. */
uint64_t backoff_us(struct client *client, uint32_t refusals);

/* ---- multi.c ---------------------------------------------------------------- */

/* If the op gets keys of several ranges: it is taken apart, and waits. */
bool multi_dispatch(struct client_op *op);

/* Start the parts that can be, of all. */
void multi_step_all(struct client *client);

/* Of the parts that are open the one that tells most of why: one that is sent, else one that was
 * refused; `op` itself, if it has no such. */
const struct client_op *multi_last_open(const struct client_op *op);

/* In the next round. */
void multi_wake(struct client *client);

/* The op is over: so are its parts. */
void multi_free(struct client_op *op);

/* ---- peer.c ---------------------------------------------------------------- */

/* The peer of that address. It is made where there is none; if there are CLIENT_PEERS_MAX, the one
 * that was not asked for longest makes room: none that was given, or that an op waits for, and
 * one of no route before others. NULL: there is no such, or no memory. */
struct client_peer *peer_get(struct client *client, struct slice address);
void peer_free(struct client_peer *peer);

/* Close its connection and be still; only peer_free() may follow. */
void peer_stop(struct client_peer *peer);
void peer_connect(struct client_peer *peer);

/* Put the request of `op` among the frames of this turn. 0; ERR_BUSY: the
 * connection is full, wait; ERR_NOMEM. */
int peer_send(struct client_peer *peer, struct client_op *op);
void peer_flush(struct client_peer *peer);

/* Give up the connection; what was sent on it is lost. */
void peer_fail(struct client_peer *peer, int error, const char *text);
void peer_tick(struct client_peer *peer, uint64_t now_us);

/* An op has left `sent`: another one may go. */
void peer_freed(struct client_peer *peer);

/* The window holds it back, until it is let go or moved elsewhere: peer_unhold(). */
void peer_hold(struct client_peer *peer, struct client_op *op);
void peer_unhold(struct client_op *op);

/* How long one more would wait for its answer, by how long others took; `behind`: after those
 * that the window holds back. 0: nobody knows. */
uint64_t peer_wait_us(const struct client_peer *peer, bool behind);

/* At the end of a turn: ops wait for the window only while it is full, so that one comes back
 * from it for whom they wait. */
void peer_refill(struct client_peer *peer, uint64_t now_us);

/* It answered, or pushed back: the window follows. Not of watches: what waits for changes is no
 * load, and tells neither how much nor how fast it can. */
void peer_served(struct client_peer *peer, const struct client_op *op);
void peer_overdue(struct client_peer *peer, const struct client_op *op, uint64_t now_us);
void peer_pushed_back(struct client_peer *peer, uint64_t hint_us, uint64_t sent_us);

/* Has it pushed back of late? */
bool peer_is_pushing_back(const struct client_peer *peer, uint64_t now_us);

/* What its window holds back is looked at again. */
void peer_let_go(struct client_peer *peer);
bool peer_is_usable(const struct client_peer *peer);
void peer_check(const struct client_peer *peer);

/* ---- session.c -------------------------------------------------------------- */

/* The cluster's time is `time_ms` now. */
void session_set_time(struct client *client, uint64_t time_ms);

/* Give a change its stamp, unless it has one or there can be none. */
void session_stamp(struct client_op *op);

/* Its stamp is of no use any more, and nothing was done with it: the next sending gets
 * another. */
void session_unstamp(struct client_op *op);

/* The end of an op: answered for good, or not. */
void session_op_over(struct client_op *op, bool is_answered);

/* Can it be sent again though an earlier sending may have been done? */
bool op_is_repeatable(const struct client_op *op);

/* The command of an op that has a stamp, with that in it; valid until the next call. 0,
 * ERR_NOMEM, ERR_INVALID: it is no command. */
int session_command(struct client_op *op, struct request_write *ret_write);
void session_check(const struct client *client);

/* ---- lookup.c -------------------------------------------------------------- */

/* Ask all stores who leads, but for those whose answer is awaited; at most once a
 * pause. */
void lookup_start(struct client *client);
void lookup_pause_timer(struct env_timer *timer);

#endif
