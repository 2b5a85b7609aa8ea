/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_internal — simulated connections. A wire joins two ends; each end has a kernel's part
 * (here) and, while its process holds it, a handle that the process knows as env_conn.
 *
 *   write ─▶ sendq ─(end of turn, window)─▶ peer's inflight ─(latency)─▶ received ─▶ on_read
 *                         ▲                                                   │
 *                         └──────────── credit, over the way back ◀───────────┘
 *
 * A cut link or a dark host blocks what would arrive; a heal or a boot kicks it. The end of
 * a stream (FIN) or its breaking (RST) is a mark in the stream itself.
 *
 *   CONNECTING ──▶ OPEN ──▶ BROKEN (on_close is due) ──▶ GONE
 *        └───────────┴────────────────────────────────────▲   own close, process end
 *
 * Ownership  a wire lives while one end is not GONE or an item of the queue names it (refs).
 * Invariants (N1) a handle exists exactly while its end is not GONE and was accepted or dialled.
 *            (N2) an end that is GONE has no env and an empty sendq.
 */
#ifndef ENV_SIM_WIRE_INTERNAL_H_
#define ENV_SIM_WIRE_INTERNAL_H_

#include "env/sim/sim_internal.h"

struct sim_listener {
    struct env_listener listener;
    struct sim_env *env;
    char *address; /* owned; "host:port" as others reach it */
    uint16_t port;
    env_accept_cb cb;
    void *data;
    struct list in_env;
};

enum sim_mark { SIM_MARK_NONE, SIM_MARK_FIN, SIM_MARK_RST };

/* Bytes, or the mark of an end. */
struct sim_seg {
    struct list in_queue;
    uint64_t arrive_us;
    enum sim_mark mark;
    uint8_t *bytes; /* owned, from malloc */
    size_t len;
    size_t pos; /* bytes before it are gone */
};

enum sim_end_state { SIM_END_CONNECTING, SIM_END_OPEN, SIM_END_BROKEN, SIM_END_GONE };

struct sim_end;

/* What the process holds. */
struct sim_conn {
    struct env_conn conn;
    struct sim_end *end;
    bool in_close; /* on_close is running */
};

struct sim_end {
    enum sim_end_state state;
    struct sim_wire *wire;
    struct sim_node *node;
    struct sim_env *env;   /* NULL once GONE */
    struct sim_conn *conn; /* owned; NULL before accept and once GONE */
    struct env_conn_handler handler;
    bool has_handler; /* dialled and open, or accepted */
    void *data;
    struct list in_env;   /* sim_env.conns */
    struct list in_flush; /* sim_env.flush */

    /* out */
    struct list sendq;
    size_t pending;     /* bytes in sendq */
    size_t uncredited;  /* bytes sent and not yet credited by the reader */
    size_t unconfirmed; /* bytes that arrived while the way back was cut */
    uint64_t progress_us;
    bool has_stall_item;
    bool has_drain_item;

    /* in */
    struct list inflight;
    size_t inflight_bytes;
    uint64_t last_arrive_us;
    bool has_arrive_item;
    bool is_arrive_blocked;
    struct list received;
    size_t consumed; /* read by the process and not yet credited to the peer */
    bool has_credit_item;
    bool is_credit_blocked;
    bool has_read_item;
    bool is_read_paused;

    int close_status; /* BROKEN: what on_close will hear */
    const char *close_reason;
};

struct sim_wire {
    struct sim *sim;
    uint64_t id;
    uint32_t refs;          /* items of the queue */
    struct sim_end ends[2]; /* 0 dialled, 1 accepts */
    uint16_t server_port;
    uint16_t client_port;
    bool is_syn_blocked;
    bool is_open_blocked; /* the answer to the dialler */
    struct list in_wires;
};

/* What an item for a wire means; its arg is op * 2 + side. */
enum sim_wire_op {
    SIM_WIRE_SYN,     /* network: the dial reaches the server's host */
    SIM_WIRE_ACCEPT,  /* side 1's process: take it */
    SIM_WIRE_OPEN,    /* side 0's process: it stands */
    SIM_WIRE_ARRIVE,  /* side's process or, without one, its kernel */
    SIM_WIRE_READ,    /* side's process: more of what was received */
    SIM_WIRE_DRAIN,   /* side's process */
    SIM_WIRE_CREDIT,  /* network: the reader at side has room again */
    SIM_WIRE_CLOSE,   /* side's process: on_close */
    SIM_WIRE_STALL,   /* network: is side getting anywhere? */
    SIM_WIRE_TIMEOUT, /* network: did the dial get an answer? */
};

static inline unsigned sim_end_side(const struct sim_end *end)
{
    return end == &end->wire->ends[1];
}

static inline struct sim_end *sim_end_peer(struct sim_end *end)
{
    return &end->wire->ends[1 - sim_end_side(end)];
}

/* ---- sim_wire.c: wires, ends and what reaches the process ---- */

struct sim_wire *sim_wire_new(struct sim *sim, struct sim_node *client, struct sim_node *server);

/* Queue an item for `end`. */
void sim_wire_push(struct sim_end *end, enum sim_wire_op op, uint64_t delay_us);

/* Free the wire if nobody is left. */
void sim_wire_reap(struct sim_wire *wire);

/* Give the end to a process, which then holds `conn`. */
struct sim_conn *sim_end_adopt(struct sim_end *end, struct sim_env *env);

/* The process lets go, or is gone. `mark` is what the peer will find in the stream;
 * NONE: nothing, ever. */
void sim_end_leave(struct sim_end *end, enum sim_mark mark);

/* on_close is due after `delay_us`, unless the end is past that. `reason` is a constant. */
void sim_end_break(struct sim_end *end, uint64_t delay_us, int status, const char *reason);

/* Call on_close and leave. */
void sim_end_finish(struct sim_end *end, int status, const char *reason);

/* Hand received bytes to the process as far as it wants them. */
void sim_end_read(struct sim_end *end);

/* ---- sim_stream.c: bytes on their way ---- */

struct sim_seg *sim_seg_new(enum sim_mark mark, uint8_t *bytes, size_t len);
void sim_segs_free(struct list *segs);

/* Move what the window allows from sendq to the peer's inflight. */
void sim_end_pump(struct sim_end *end);

/* Put `mark` behind what is in flight to `end`. */
void sim_end_mark(struct sim_end *end, enum sim_mark mark);

/* Cut what is in flight to `end` at a random byte, and put a RST there. */
void sim_end_reset(struct sim_end *end);

/* The process read `len` bytes: give the peer credit when it matters. */
void sim_end_credit(struct sim_end *end, size_t len);

void sim_stream_arrive(struct sim_end *end);
void sim_stream_credit(struct sim_end *end);
void sim_stream_stall(struct sim_end *end);

/* Assert all invariants of an end. */
void sim_stream_check(const struct sim_end *end);

/* Something healed or booted: what waited at this end may go on. */
void sim_stream_kick(struct sim_end *end);

/* ---- sim_net.c: hosts and links ---- */

/* Time for one segment, drawn; rounded so that it arrives on the quantum. */
uint64_t sim_link_delay(struct sim *sim, struct sim_node *from, struct sim_node *to);
bool sim_link_is_cut(const struct sim_node *from, const struct sim_node *to);

/* When do `len` bytes that are sent now have left, behind what waits for that link? */
uint64_t sim_link_depart(struct sim *sim, struct sim_node *from, struct sim_node *to, size_t len);

/* Bytes that may be on their way there, and as many as arrive together at most. */
size_t sim_link_window(const struct sim *sim, const struct sim_node *from,
                       const struct sim_node *to, size_t *ret_piece);

void sim_net_syn(struct sim_wire *wire);
void sim_net_accept(struct sim_end *end);
void sim_net_open(struct sim_end *end);
void sim_net_timeout(struct sim_end *end);

#endif
