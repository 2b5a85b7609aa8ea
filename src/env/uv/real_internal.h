/* SPDX-License-Identifier: Apache-2.0
 *
 * real_internal — what the files of this room share: the world's struct and
 * the functions by which its parts are put together.
 *
 * Threads    fields are the loop's, except struct real_inbox, struct real_lane
 *            and struct real_locks, which their own locks guard, and the atomics.
 * Invariants (U1) a handle given to libuv is freed or reused only from its close
 *                 callback.
 *            (U2) after env_stop() no callback of an owner is called: every
 *                 place that calls one is behind a list or a state that stop
 *                 empties.
 *            (U3) a lane's queue and the inbox are touched under their lock only.
 */
#ifndef ENV_UV_REAL_INTERNAL_H_
#define ENV_UV_REAL_INTERNAL_H_

#include "base/rng.h"
#include "env/env_ops.h"
#include "env/uv/env_uv.h"

/* After base.h: it brings another MIN and MAX, and only this order is silent. */
#include <libaio.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

enum {
    REAL_READ_BUFFER_SIZE = 128 << 10, /* one for all connections of a loop */
    REAL_ACCEPT_BURST = 64,            /* connections taken per wake-up of a listener */
    REAL_ACCEPT_RETRY_MS = 100,        /* when descriptors ran out */
    REAL_KEEPALIVE_S = 30,
};

/* ---- timers (real_timers.c) ------------------------------------------------ */

/* A binary min-heap by (due_us, order); slot 0 is unused. */
struct real_timers {
    struct env_timer **heap;
    size_t count;
    size_t cap;
    uint64_t order;    /* of the next timer started */
    uint64_t armed_us; /* what `handle` is set to; UINT64_MAX: not set */
    uv_timer_t handle;
};

/* Each part puts its operations into the table. */
void real_timers_fill(struct env_ops *ops);

/* ERR_NOMEM; then fini is harmless. */
int real_timers_init(struct real_timers *timers, uv_loop_t *loop);

/* None is active any more; the handle begins to close. */
void real_timers_stop(struct real_timers *timers);

/* When the loop is through with the handle. */
void real_timers_fini(struct real_timers *timers);

/* Set the one libuv timer for the first of ours. Before each poll. */
void real_timers_arm(struct real_timers *timers);

/* ---- lanes (real_lanes.c) -------------------------------------------------- */

struct real_world;

struct real_lane {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct list queue; /* env_work.in_lane */
    unsigned idle;     /* threads that wait on `cond` */
    bool is_stopping;
    /* the loop's */
    struct real_world *world;
    unsigned threads_max;
    unsigned thread_count;
    pthread_t threads[ENV_UV_LANE_THREADS_MAX];
};

/* Operations into the table. */
void real_lanes_fill(struct env_ops *ops);

/* No thread is started yet. 0 threads is the default number. */
void real_lanes_init(struct real_world *world, unsigned read_threads, unsigned compact_threads);

/* Wait for what runs, drop what waits, end the threads. */
void real_lanes_stop(struct real_world *world);

/* After stop. */
void real_lanes_fini(struct real_world *world);

/* ---- the inbox: what other threads send to the loop (real_inbox.c) ---------- */

struct real_inbox {
    pthread_mutex_t mutex;
    struct list completions; /* env_work.in_lane */
    struct list posts;       /* real_post.in_posts */
    bool is_signalled;       /* the loop was woken, or is about to be, and did not look yet */
    bool is_stopped;
    atomic_uint wakers; /* threads between their announcement and the write to `fd` */
    int fd;             /* eventfd that wakes the loop */
    uv_poll_t poll;
};

/* ERR_IO when there is no descriptor for it. */
int real_inbox_init(struct real_inbox *inbox, uv_loop_t *loop);

/* Set *is_quitting, which the loop looks at after each turn of the inbox, and make it
 * turn. Any thread. Both under the lock: a loop that sees the flag early, and frees the
 * world, must still wait for this call to let go. */
void real_inbox_quit(struct real_inbox *inbox, atomic_bool *is_quitting);

/* From a lane's thread: complete() is due. */
void real_inbox_complete(struct real_inbox *inbox, struct env_work *work);

/* Drop what is there and refuse what comes. After the lanes have stopped. */
void real_inbox_stop(struct real_inbox *inbox);

/* When the loop is through with the handle. Waits for threads that still wake it; none
 * posts any more. */
void real_inbox_fini(struct real_inbox *inbox);

/* ---- writes that no thread waits for (real_writes.c) --------------------------- */

enum { REAL_WRITES_MAX = 8 }; /* at a time */

struct real_writes {
    io_context_t context;
    struct list active; /* env_write.in_writes */
    unsigned count;     /* of them */
    bool is_ready;      /* `context` is there */
    bool is_refused;    /* there is none to be had */
};

void real_writes_init(struct real_writes *writes);

/* The world runs, there is room for one more, and the kernel has such writes for us. */
bool real_writes_can_start(struct real_world *world);

/* By `fd`, which is for direct I/O, once it can. ERR_UNSUPPORTED: nothing was begun. */
int real_writes_start(struct real_world *world, int fd, struct env_write *write);

/* Complete those that are done. A callback may stop the world. */
void real_writes_reap(struct real_world *world);

/* Wait for those that are under way; none completes any more. */
void real_writes_stop(struct real_writes *writes);

/* What became of a write that the kernel says `res` of: bytes written, or -errno (real_files.c). */
int real_file_wrote(struct env_write *write, int64_t res);

/* ---- files (real_files.c, real_folders.c, real_locks.c) ----------------------- */

struct real_locks {
    pthread_mutex_t mutex;
    struct list held; /* real_lock.in_held */
};

/* Operations into the table. */
void real_files_fill(struct env_ops *ops);

/* Operations into the table. */
void real_folders_fill(struct env_ops *ops);

/* Operations into the table. */
void real_locks_fill(struct env_ops *ops);

void real_locks_init(struct real_world *world);

/* None is held any more. */
void real_locks_fini(struct real_world *world);

/* ERR_IO if `path` is a folder that this world locked, or in one, that is no longer the one at
 * its path. Before each operation by path that opens, changes or syncs; a person who replaces a
 * folder between the check and the operation is not seen. Any thread. */
int real_locks_check(struct real_world *world, const char *path, struct err *err);

/* ---- addresses (real_address.c) --------------------------------------------- */

struct real_host_port {
    char host[ENV_ADDRESS_MAX]; /* without brackets */
    char port[6];
};

/* "host:port", "[v6]:port". ERR_INVALID with a message. Port 0 only if allowed. */
int real_address_split(const char *address, bool is_zero_allowed, struct real_host_port *ret_parts,
                       struct err *err);

/* True and *ret_addr when the host is a literal address. */
bool real_address_numeric(const struct real_host_port *parts, struct sockaddr_storage *ret_addr);

/* Is it "@NAME:PORT", a socket that only this process can reach? Then *ret_addr and *ret_len
 * are its name in the kernel. */
bool real_address_private(const struct real_host_port *parts, struct sockaddr_un *ret_addr,
                          socklen_t *ret_len);

/* Is the other end of a private socket this very process? */
bool real_private_is_own(int fd);

/* "1.2.3.4:5" or "[::1]:5". */
void real_address_format(const struct sockaddr *addr, char text[ENV_ADDRESS_MAX]);

/* 127.0.0.0/8, ::1, or the former inside the latter; and a private socket. */
bool real_address_is_loopback(const struct sockaddr *addr);

/* ---- connections (real_conns.c, real_dial.c, real_listen.c) --------------------- */

enum real_conn_state {
    REAL_CONN_OFFERED,    /* accepted by the kernel, not yet by the owner */
    REAL_CONN_RESOLVING,  /* waiting for the name service */
    REAL_CONN_DIALLING,   /* waiting for one address to answer */
    REAL_CONN_REDIALLING, /* that address failed; its socket is being closed */
    REAL_CONN_OPEN,
    REAL_CONN_CLOSED, /* waiting for libuv to let go of the handle */
};

struct real_chunk {
    uint8_t *bytes; /* owned */
    size_t len;
};

/* Bytes on their way out: `count` chunks from `first` on, of the first of which
 * `skip` bytes left already. */
struct real_chunks {
    struct real_chunk *at;
    size_t first;
    size_t count;
    size_t cap;
    size_t skip;
    size_t len; /* bytes that have not left */
};

struct real_resolve;

struct real_conn {
    struct env_conn base;
    struct env_conn_handler handler;
    void *data;

    enum real_conn_state state;
    bool is_reading;       /* what the owner wants */
    bool is_drain_due;     /* something was written since the last on_drain */
    bool is_out_of_memory; /* a write was lost: fails at the end of the turn */
    struct real_chunks out;
    size_t sending_len; /* bytes at the front of `out` that `write_req` borrows */

    uv_tcp_t tcp;
    uv_connect_t connect_req;
    uv_write_t write_req;
    struct env_timer connect_timer;
    struct real_resolve *resolve; /* while RESOLVING */
    struct addrinfo *addrs;       /* owned while dialling */
    struct addrinfo *addr_next;   /* to be tried after the present one */
    struct list in_conns;
    struct list in_flush;
    char address[ENV_ADDRESS_MAX]; /* the peer's, for messages */
};

/* Operations into the table. */
void real_conns_fill(struct env_ops *ops);

/* Operations into the table. */
void real_dial_fill(struct env_ops *ops);

/* Operations into the table. */
void real_listeners_fill(struct env_ops *ops);

/* A connection in state `state` whose handle is ready for a socket. */
struct real_conn *real_conn_new(struct real_world *world, enum real_conn_state state);

/* OFFERED or DIALLING → OPEN: begin to read and to write. */
void real_conn_opened(struct real_conn *conn);

/* It ended: tell the owner, once, and let it go. Any state but CLOSED. */
void real_conn_fail(struct real_conn *conn, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Let go of it without telling. Any state but CLOSED. */
void real_conn_drop(struct real_conn *conn);

/* libuv let go of the handle: free the connection, or dial again. */
void real_conn_on_closed(uv_handle_t *handle);

/* Send what this turn wrote. */
void real_conns_flush(struct real_world *world);

/* Drop them all. */
void real_conns_stop(struct real_world *world);

/* Forget an unfinished dial's resources (resolver, address list, timer). */
void real_dial_clear(struct real_conn *conn);

/* The socket of a failed address is gone: try the next one. */
void real_dial_again(struct real_conn *conn);

/* Close them all. */
void real_listeners_stop(struct real_world *world);

/* ---- the world (env_uv.c) ------------------------------------------------- */

struct real_world {
    struct env base;
    struct env_ops ops;
    struct env_uv_options options;

    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active while the next poll must not wait */
    struct list tasks;
    struct list late; /* tasks for when `flush` is empty */
    struct list signals;
    struct list conns;
    struct list flush; /* connections with something queued */
    struct list listeners;
    struct real_timers timers;
    struct real_inbox inbox;
    struct real_writes writes;
    struct real_locks locks;
    struct real_lane lanes[ENV_LANE_NR];
    struct rng rng;
    uint64_t turn_us;      /* both clocks as this part of the turn sees them; … */
    uint64_t turn_wall_ms; /* … 0: not read yet */
    atomic_bool is_quitting;
    bool is_running;
    bool is_stopped;
    uint8_t read_buffer[REAL_READ_BUFFER_SIZE];
};

static inline struct real_world *real_world_of(struct env *env)
{
    return container_of(env, struct real_world, base);
}

#endif
