/* SPDX-License-Identifier: Apache-2.0
 *
 * sim_internal — the parts of the world, for the files of this room.
 *
 *   sim            time, the queue of events, random streams, links, listeners
 *   sim_node       a machine: its disk, its address, its clocks' errors
 *   sim_env        one incarnation of a process there; an env to the code above
 *
 * An item in the queue names its target by pointer; targets outlive their
 * items: envs live until sim_free(), wires count references.
 */
#ifndef ENV_SIM_SIM_INTERNAL_H_
#define ENV_SIM_SIM_INTERNAL_H_

#include "base/list.h"
#include "base/rng.h"
#include "env/env_ops.h"
#include "env/sim/disk_internal.h"
#include "env/sim/sim.h"

enum {
    SIM_LANE_WIDTH_MAX = 4,   /* threads of the widest lane */
    SIM_TURN_EVENTS_MAX = 64, /* events of one node at one time in one turn */
};

/* What an entry in the queue means. */
enum sim_item_kind {
    SIM_ITEM_WAKE,     /* env: its first timer may be due */
    SIM_ITEM_TASKS,    /* env: tasks left over from the last turn */
    SIM_ITEM_EXECUTE,  /* env, arg lane */
    SIM_ITEM_COMPLETE, /* env, arg lane and slot */
    SIM_ITEM_WIRE,     /* wire; arg is an enum sim_wire_op and a side */
    SIM_ITEM_CALL,     /* sim_call */
};

struct sim_item {
    uint64_t time_us;
    uint64_t tie; /* random, then the order of pushing */
    enum sim_item_kind kind;
    uint32_t arg;
    void *target;
};

/* A 4-ary heap by (time, tie). */
struct sim_queue {
    struct sim_item *items;
    size_t count;
    size_t cap;
};

void sim_queue_push(struct sim_queue *queue, const struct sim_item *item);
bool sim_queue_pop(struct sim_queue *queue, struct sim_item *ret_item);
void sim_queue_fini(struct sim_queue *queue);

/* One background lane of an env. */
struct sim_lane {
    struct list queued;                           /* env_work.in_lane, in order of submission */
    struct env_work *running[SIM_LANE_WIDTH_MAX]; /* executed, not completed */
    uint32_t width;
    uint32_t starting; /* EXECUTE items under way */
};

struct sim_env {
    struct env env; /* first: the door */
    struct sim *sim;
    struct sim_node *node;
    struct sim_disk *disk; /* the node's at the start of this incarnation */
    struct list in_node;   /* all incarnations, newest first */
    bool is_stopped;       /* env_stop(): nothing is delivered any more */
    bool is_dead;          /* and files fail too */
    uint32_t open_handles; /* files and locks not given back */
    struct list locks;
    struct rng rng; /* env_random() */

    /* clock: local = clock_local + (now - clock_from) * (1e6 + drift) / 1e6 */
    uint64_t clock_from_us;
    uint64_t clock_local_us;
    int32_t drift_ppm;

    struct env_timer **timers; /* binary heap by (due_us, order), from 1 */
    size_t timer_count;
    size_t timer_cap;
    uint64_t timer_order;
    uint64_t wake_us; /* world time of the earliest WAKE queued; UINT64_MAX: none */

    struct list tasks;
    struct list late;    /* tasks for when all was flushed */
    struct list round;   /* those of the round that runs */
    bool has_tasks_item; /* a TASKS item is queued */

    struct sim_lane lanes[ENV_LANE_NR];

    struct list conns; /* sim_end.in_env */
    struct list flush; /* sim_end.in_flush: written in this turn */
    struct list listeners;
    uint16_t next_port;
};

/* The way from one node to another. */
struct sim_link {
    uint64_t base_us; /* latency; 0: not drawn yet */
    uint64_t extra_us;
    uint64_t bytes_per_s; /* 0: as many as come */
    uint64_t free_us;     /* what departs before then waits until then */
    bool is_cut;
};

struct sim_node {
    struct sim *sim;
    uint32_t id; /* from 1, in order of creation */
    char *address;
    struct sim_disk *disk; /* owned */
    struct list envs;
    struct sim_env *env; /* the newest */
    bool is_up;
    bool is_dark; /* down by loss of power: does not even refuse connections */
    bool is_paused;
    char fatal[ERR_MSG_MAX];
    int64_t wall_skew_ms;
    struct sim_item *deferred; /* while paused */
    size_t deferred_count;
    size_t deferred_cap;
    struct sim_link links[SIM_NODES_MAX]; /* to node id - 1 */
};

struct sim_site {
    char *name;
    uint32_t ppm; /* chance to fire; 0: off */
    uint64_t count;
};

struct sim {
    struct sim_options options;
    uint64_t seed;
    uint64_t now_us;
    struct sim_queue queue;
    uint64_t order;                /* items pushed so far */
    uint64_t events;               /* delivered so far */
    uint64_t counts[SIM_COUNT_NR]; /* of disks: of those that were thrown away */
    uint64_t hash;
    uint64_t next_wire_id;
    struct sim_env *running; /* whose callback is on the stack; NULL: none */
    bool is_stepping;
    struct sim_node *stepped; /* by the last step; NULL: none */
    struct rng rng;           /* the author's */
    struct rng rng_sched;     /* ties, lanes, turns */
    struct rng rng_net;
    struct rng rng_fault;
    uint64_t seeds_drawn; /* of nodes and disks */
    struct sim_node *nodes[SIM_NODES_MAX];
    size_t node_count;
    struct sim_site *sites;
    size_t site_count;
    size_t site_cap;
    bool sites_forced;
    struct list wires; /* sim_wire.in_wires */
};

struct sim_call {
    void (*cb)(void *data);
    void *data;
};

static inline struct sim_env *sim_env_of(struct env *env)
{
    return container_of(env, struct sim_env, env);
}

/* ---- world (sim.c) ---- */

/* Queue an item `delay_us` from now. */
void sim_push(struct sim *sim, uint64_t delay_us, enum sim_item_kind kind, uint32_t arg,
              void *target);

/* Account for a delivered event: hash, count, trace. `node` may be NULL. */
void sim_note(struct sim *sim, const struct sim_node *node, enum sim_event_kind kind,
              uint64_t size);

/* Give back what an item holds that will not be delivered. */
void sim_item_drop(const struct sim_item *item);

/* A fresh seed for a part of the world. */
uint64_t sim_draw_seed(struct sim *sim);

/* Between lo and hi, and with `spike_ppm` up to 100 times that. */
uint64_t sim_draw_delay(struct rng *rng, uint64_t lo, uint64_t hi, uint32_t spike_ppm);

/* ---- incarnations (sim_env.c, sim_node.c) ---- */

extern const struct env_ops sim_env_ops;

struct sim_env *sim_env_new(struct sim_node *node);
void sim_env_free(struct sim_env *env);
void sim_env_stop(struct sim_env *env);

/* Mark as dead and tell the run's author, once. */
void sim_env_die(struct sim_env *env, const char *message);

/* Is there nothing more to deliver here? */
static inline bool sim_env_is_silent(const struct sim_env *env)
{
    return env->is_stopped || env->is_dead;
}

uint64_t sim_env_local_us(const struct sim_env *env);
void sim_env_set_drift(struct sim_env *env, int32_t ppm);

/* Items of the queue. */
void sim_env_wake(struct sim_env *env);
void sim_env_turn_end(struct sim_env *env);

/* Something waits for the end of a turn: see to it that there is one. */
void sim_env_turn_later(struct sim_env *env);

/* env_ops */
void sim_op_timer_start(struct env *env, struct env_timer *timer);
void sim_op_timer_stop(struct env *env, struct env_timer *timer);
void sim_timers_drop(struct sim_env *env);

void sim_node_free(struct sim_node *node);

/* Put the item off until the node wakes up. */
void sim_node_defer(struct sim_node *node, const struct sim_item *item);

/* ---- fault points (sim_fault.c) ---- */

bool sim_fault_draw(struct sim *sim, const char *site);
void sim_sites_free(struct sim *sim);

/* ---- background work (sim_work.c) ---- */

void sim_lanes_init(struct sim_env *env);
void sim_lanes_drop(struct sim_env *env);
void sim_op_work_submit(struct env *env, struct env_work *work);
void sim_lane_execute(struct sim_env *env, uint32_t lane);
void sim_lane_complete(struct sim_env *env, uint32_t arg);

/* ---- files (sim_file.c): env_ops ---- */

int sim_op_file_open(struct env *env, const char *path, int flags, struct env_file **ret_file,
                     struct err *err);
void sim_op_file_close(struct env_file *file);
int sim_op_file_read(struct env_file *file, uint64_t offset, void *data, size_t len,
                     size_t *ret_len, struct err *err);
int sim_op_file_write(struct env_file *file, uint64_t offset, const void *data, size_t len,
                      struct err *err);
int sim_op_file_write_past(struct env_file *file, uint64_t offset, const void *data, size_t len,
                           struct err *err);
int sim_op_file_write_start(struct env_file *file, struct env_write *write);
int sim_op_file_write_through(struct env_file *file, uint64_t offset, const struct slice *parts,
                              size_t count, struct err *err);
int sim_op_file_sync(struct env_file *file, struct err *err);
int sim_op_file_write_back(struct env_file *file, uint64_t offset, size_t len, struct err *err);
int sim_op_file_size(struct env_file *file, uint64_t *ret_size, struct err *err);
int sim_op_file_truncate(struct env_file *file, uint64_t size, struct err *err);
int sim_op_file_rename(struct env *env, const char *from, const char *to, struct err *err);
int sim_op_file_unlink(struct env *env, const char *path, struct err *err);
int sim_op_file_link(struct env *env, const char *from, const char *to, struct err *err);
int sim_op_file_stat(struct env *env, const char *path, uint64_t *ret_size, bool *ret_is_dir,
                     struct err *err);
int sim_op_dir_make(struct env *env, const char *path, struct err *err);
int sim_op_dir_remove(struct env *env, const char *path, struct err *err);
int sim_op_dir_sync(struct env *env, const char *path, struct err *err);
int sim_op_dir_list(struct env *env, const char *path, char ***ret_names, size_t *ret_count,
                    struct err *err);
int sim_op_dir_lock(struct env *env, const char *path, struct env_lock **ret_lock, struct err *err);
void sim_op_dir_unlock(struct env_lock *lock);
int sim_op_disk_space(struct env *env, const char *path, uint64_t *ret_free, uint64_t *ret_total,
                      struct err *err);
void sim_locks_drop(struct sim_env *env);

/* ---- network (sim_net.c, sim_wire.c, sim_stream.c): env_ops and items ---- */

int sim_op_listen(struct env *env, const char *address, env_accept_cb cb, void *data,
                  struct env_listener **ret_listener, struct err *err);
const char *sim_op_listener_address(const struct env_listener *listener);
void sim_op_listener_close(struct env_listener *listener);
int sim_op_connect(struct env *env, const char *address, const struct env_conn_handler *handler,
                   void *data, struct env_conn **ret_conn, struct err *err);
void sim_op_conn_accept(struct env_conn *conn, const struct env_conn_handler *handler, void *data);
void sim_op_conn_write(struct env_conn *conn, uint8_t *bytes, size_t len);
size_t sim_op_conn_pending(const struct env_conn *conn);
void sim_op_conn_pause(struct env_conn *conn);
void sim_op_conn_resume(struct env_conn *conn);
void sim_op_conn_close(struct env_conn *conn);
bool sim_op_conn_is_loopback(const struct env_conn *conn);

/* The process is gone: its kernel ends its connections, or never will (`is_silent`). */
void sim_conns_drop(struct sim_env *env, bool is_silent);

/* What waited for a link or a host looks again. */
void sim_wires_kick(struct sim *sim);

void sim_wires_check(const struct sim *sim);

/* An item of the queue for a wire. */
void sim_wire_item(const struct sim_item *item);

/* The process to which it would be delivered; NULL: the network itself. */
struct sim_env *sim_wire_env(const struct sim_item *item);

/* Give back the reference that an item held. */
void sim_wire_item_drop(const struct sim_item *item);

/* Have `in_flush` of an end sent at the end of this turn, or of one to come. */
void sim_env_flush_later(struct sim_env *env, struct list *in_flush);
void sim_env_flush(struct sim_env *env);

#endif
