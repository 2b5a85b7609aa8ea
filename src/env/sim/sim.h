/* SPDX-License-Identifier: Apache-2.0
 *
 * sim — a simulated world behind env.h: virtual time, N nodes (processes) with
 * disks, a network, and faults, all from one seed. Same seed, same binary, same
 * calls: the same run, to the byte.
 *
 *   sim_new ─▶ sim_node_new ─▶ sim_node_env ─▶ (start the real code on it)
 *                                   │
 *   sim_step: the next event ──▶ one callback ──▶ the tasks that it posted
 *                                   │
 *   sim_node_crash ─▶ owner x_free()s its objects ─▶ sim_node_restart ─▶ new env
 *
 * A minimal world for code that needs only files and background work:
 *
 *     struct sim *sim = sim_new(NULL, seed);
 *     struct sim_node *node = sim_node_new(sim, "n1");
 *     thing_open(sim_node_env(node), …);          // real code
 *     sim_run_until(sim, sim_now_us(sim) + 1000000);
 *     sim_node_crash(node, SIM_CRASH_POWER);      // nothing is delivered any more
 *     thing_free(…);                              // the owner frees
 *     sim_node_restart(node);                     // same disk, new env
 *     …
 *     sim_node_crash(node, SIM_CRASH_KILL); thing_free(…);
 *     sim_free(sim);
 *
 * Units      virtual microseconds since the world began; probabilities are parts
 *            per million (_ppm). A node's own clocks (env_now_us, env_wall_ms) have
 *            an offset and a drift of their own.
 * Ownership  the sim owns nodes, disks and envs. Everything that code on a node
 *            got from its env (files, locks) must be given back before sim_free().
 * Threads    one thread; several sims may live on several threads.
 * Errors     those of env.h; a call that the run's author got wrong asserts.
 * Invariants (S1) after sim_node_crash() or env_stop() no callback of that env.
 *            (S2) bytes of a connection arrive in order, without gap, or not at all.
 *            (S3) works of a lane with one thread execute and complete in order.
 *            (S4) time never goes back; no callback from inside the call that
 *                 asked for it.
 * Limits     SIM_NODES_MAX.
 */
#ifndef ENV_SIM_SIM_H_
#define ENV_SIM_SIM_H_

#include "base/base.h"
#include "env/env.h"
#include "env/sim/sim_disk.h"

enum { SIM_NODES_MAX = 64 };

struct sim;
struct sim_node;

/* What a delivered event was, for traces and the hash. */
enum sim_event_kind {
    SIM_EVENT_NONE,
    SIM_EVENT_TIMER,    /* a timer fired */
    SIM_EVENT_TASK,     /* a task ran; not counted as an event of its own by sim_step() */
    SIM_EVENT_EXECUTE,  /* background work ran; size is the lane */
    SIM_EVENT_COMPLETE, /* its completion; size is the lane */
    SIM_EVENT_ACCEPT,   /* a connection came in */
    SIM_EVENT_OPEN,     /* a connection asked for stands */
    SIM_EVENT_READ,     /* size is the bytes handed over */
    SIM_EVENT_DRAIN,    /* all written bytes left */
    SIM_EVENT_CLOSE,    /* a connection ended */
    SIM_EVENT_NET,      /* inside the network; size is bytes */
    SIM_EVENT_CALL,     /* sim_call_at() */
    SIM_EVENT_FATAL,    /* env_fatal(), or a crash point was reached */
    SIM_EVENT_NR,
};

/* "timer", "execute" … */
const char *sim_event_name(enum sim_event_kind kind);

struct sim_trace_event {
    uint64_t time_us;
    const char *node; /* its address; "" for the world's own events */
    enum sim_event_kind kind;
    uint64_t size;
};

/* How a world behaves. sim_options_init() gives a calm one; sim_options_swarm()
 * draws a random subset of troubles at random strengths. */
struct sim_options {
    /* network */
    uint64_t latency_us_min; /* one way; each link draws its own base between them */
    uint64_t latency_us_max;
    uint32_t spike_ppm;          /* a segment takes up to 100 times as long */
    uint32_t segment_ppm;        /* a read is cut at a random byte */
    uint32_t reset_ppm;          /* a segment sent resets its connection, a part of it arrived */
    uint32_t connect_error_ppm;  /* env_connect() ends in ERR_IO though all is well */
    uint64_t quantum_us;         /* arrivals are rounded up to this: several in one turn */
    size_t window_max;           /* bytes in flight and unread, each way */
    uint64_t stall_timeout_us;   /* unacknowledged bytes for so long: ERR_TIMEOUT */
    uint64_t connect_timeout_us; /* no answer to a connect for so long: ERR_TIMEOUT */

    /* background work */
    uint64_t work_us_min; /* from submit to execute, and from execute to complete */
    uint64_t work_us_max;
    uint32_t work_spike_ppm;  /* takes up to 100 times as long */
    uint32_t compact_threads; /* of ENV_LANE_COMPACT of new incarnations, up to 4 */

    /* disks of new nodes */
    struct sim_disk_options disk;

    /* clocks of new incarnations */
    uint32_t drift_ppm_max;    /* monotonic clock fast or slow by up to this */
    uint64_t wall_skew_ms_max; /* wall clock off by up to this */

    /* env_fault(): chance that a site is on in this run; 0 switches all off */
    uint32_t fault_site_ppm;

    /* hooks; NULL is fine. `data` is handed to both. */
    void *data;
    /* The node called env_fatal() or met its crash point; it is dead from here on. Do
     * not crash or free it here: note it, and do so after sim_step() returned. */
    void (*on_fatal)(void *data, struct sim_node *node, const char *message);
    void (*trace)(void *data, const struct sim_trace_event *event);
};

/* A calm world: LAN latencies, whole reads, no faults, no drift. */
void sim_options_init(struct sim_options *options);

/* A world with a random subset of troubles, all drawn from `seed`. Hooks are
 * cleared. Crashes, partitions and the like are the caller's to inflict. */
void sim_options_swarm(struct sim_options *options, uint64_t seed);

/* `options` NULL is a calm world. Aborts when out of memory, as all of sim does:
 * it is a test tool. */
struct sim *sim_new(const struct sim_options *options, uint64_t seed);

/* NULL is fine. Crashes every node still up first (SIM_CRASH_KILL): then their
 * owners must have given back all files and locks already. */
void sim_free(struct sim *sim);

/* Change the appetites from now on (disks: those of new nodes; see
 * sim_disk_set_options()). */
void sim_set_options(struct sim *sim, const struct sim_options *options);
const struct sim_options *sim_get_options(const struct sim *sim);

uint64_t sim_now_us(const struct sim *sim);
uint64_t sim_seed(const struct sim *sim);

/* For the author of the run: one stream apart from all the world's own. */
struct rng *sim_rng(struct sim *sim);

/* ---- running ------------------------------------------------------------ */

/* Deliver the next event with the tasks that follow it; false when nothing is
 * left to happen. Time jumps to the event. Not from inside a callback. */
bool sim_step(struct sim *sim);

/* The node whose turn the last sim_step() was; NULL: nobody's. */
struct sim_node *sim_stepped(const struct sim *sim);

/* Deliver all events up to `time_us` and let time be exactly that. */
void sim_run_until(struct sim *sim, uint64_t time_us);

/* Step while `cond(data)` holds and time is not past `limit_us`. True if it
 * ended because `cond` became false. */
bool sim_run_while(struct sim *sim, bool (*cond)(void *data), void *data, uint64_t limit_us);

/* Run `cb` at `time_us` (now, if that is past), outside of any node: for
 * scripted faults. It may crash and restart nodes. */
void sim_call_at(struct sim *sim, uint64_t time_us, void (*cb)(void *data), void *data);

/* Events delivered so far, and a hash over all of them (time, node, kind, size). */
uint64_t sim_events(const struct sim *sim);
uint64_t sim_hash(const struct sim *sim);

/* How often a trouble came so far, on all disks and links. */
uint64_t sim_count(const struct sim *sim, enum sim_count count);

/* Mix a fact of the author's into the hash (say, a reply that a client saw). */
void sim_hash_add(struct sim *sim, uint64_t value);

/* Assert all invariants of the world, its disks and its connections. Slow: now and then. */
void sim_check(const struct sim *sim);

/* ---- nodes --------------------------------------------------------------- */

enum sim_crash {
    SIM_CRASH_KILL,  /* kill -9: the page cache survives, peers soon hear */
    SIM_CRASH_POWER, /* loss of power: un-synced data and names go in part, peers hear nothing */
};

/* A node that is up, on a disk of its own. `address` is its host name (no port),
 * copied: others reach it as "address:port". */
struct sim_node *sim_node_new(struct sim *sim, const char *address);

/* The same on a given disk, which the sim owns from now on. */
struct sim_node *sim_node_new_on(struct sim *sim, const char *address, struct sim_disk *disk);

/* The env of the present incarnation (the last one, while the node is down). It stays
 * valid memory until sim_free(). */
struct env *sim_node_env(struct sim_node *node);
struct sim_disk *sim_node_disk(struct sim_node *node);
const char *sim_node_address(const struct sim_node *node);

/* The node that an env belongs to. */
struct sim_node *sim_node_of(struct env *env);

/* Up: started and not crashed (it may be paused). Dead: env_fatal() was called or
 * the crash point was reached, and sim_node_crash() not yet. */
bool sim_node_is_up(const struct sim_node *node);
bool sim_node_is_dead(const struct sim_node *node);
const char *sim_node_fatal_message(const struct sim_node *node); /* "" if none */

/* End the incarnation now: env_stop() semantics, every file call fails from here
 * on, locks are released. Then the owner frees its objects. Not from inside a callback of
 * this node. Harmless on a node that is down; SIM_CRASH_POWER then still loses the page
 * cache. */
void sim_node_crash(struct sim_node *node, enum sim_crash how);

/* After a crash, and after the owner freed: a new incarnation on the same disk, with a
 * fresh monotonic clock. */
void sim_node_restart(struct sim_node *node);

/* While down: throw the disk away and put in an empty one, or a given one. */
void sim_node_wipe(struct sim_node *node);
void sim_node_set_disk(struct sim_node *node, struct sim_disk *disk);

/* SIGSTOP and SIGCONT: nothing is delivered, time goes on, the kernel still
 * acknowledges bytes and connections. */
void sim_node_pause(struct sim_node *node);
void sim_node_resume(struct sim_node *node);
bool sim_node_is_paused(const struct sim_node *node);

/* The wall clock is off by `skew_ms` from now on. It survives restarts. */
void sim_node_set_wall_skew(struct sim_node *node, int64_t skew_ms);

/* The monotonic clock runs faster (slower, if negative) by `ppm` from now on. */
void sim_node_set_drift(struct sim_node *node, int32_t ppm);

/* The node dies at its `n`-th mutating file call from now (sim_disk.h). 0 disarms. */
void sim_node_crash_after(struct sim_node *node, uint64_t n);

/* ---- network -------------------------------------------------------------- */

/* Nothing passes from `a` to `b`, and unless `one_way` from `b` to `a`: bytes wait,
 * connects hang until their time-out. A NULL stands for every other node. */
void sim_net_partition(struct sim *sim, struct sim_node *a, struct sim_node *b, bool one_way);

/* Undo partitions, slowness and narrowness between `a` and `b`, both ways; NULL as above, so
 * sim_net_heal(sim, NULL, NULL) heals everything. What waited goes on. */
void sim_net_heal(struct sim *sim, struct sim_node *a, struct sim_node *b);

/* Each segment from `a` to `b` takes `extra_us` longer; 0 for normal. */
void sim_net_slow(struct sim *sim, struct sim_node *a, struct sim_node *b, uint64_t extra_us);

/* No more than so many bytes a second pass from `a` to `b`, those of all connections together; of
 * each half a second's wait in the network for their turn. 0 for as many as come. NULL as above. */
void sim_net_narrow(struct sim *sim, struct sim_node *a, struct sim_node *b, uint64_t bytes_per_s);

/* Reset every connection between the two: bytes in flight are cut anywhere, and
 * both ends hear ERR_IO. NULL as above. */
void sim_net_reset(struct sim *sim, struct sim_node *a, struct sim_node *b);

/* Of every connection between the two one end breaks and the other hears nothing: it finds
 * out when it writes. NULL as above. */
void sim_net_half_open(struct sim *sim, struct sim_node *a, struct sim_node *b);

bool sim_net_is_cut(const struct sim *sim, const struct sim_node *from, const struct sim_node *to);

/* ---- fault points ---------------------------------------------------------- */

/* Force `site` to fire with probability `ppm` in this run (0: never), whatever was
 * drawn for it. */
void sim_fault_set(struct sim *sim, const char *site, uint32_t ppm);

/* How often it fired in this run. */
uint64_t sim_fault_count(const struct sim *sim, const char *site);

/* Each site met so far, in the order of first use, and how often it fired. */
void sim_fault_each(const struct sim *sim, void (*cb)(void *data, const char *site, uint64_t count),
                    void *data);

/* Forget what was drawn and forced: all sites off (the liveness phase). */
void sim_fault_stop(struct sim *sim);

#endif
