/* SPDX-License-Identifier: Apache-2.0
 *
 * pulse — the heartbeat between two stores, which stands for all ranges that they share.
 *
 *   every store_pulse_ms(), and at the end of a turn in which a replica had something small
 *   to say ─▶ one message to each store: this life of ours, and all that was said
 *   ◀── one from each: it lives
 *
 * What is small: heartbeats and their answers, and the words about sleep. They wait for the
 * end of the turn only, so nothing is slower for it; the timers of leaders are due together
 * (replica.c), so the heartbeats of many ranges are one message.
 *
 * A store that is silent for an election time-out, or whose boot number has changed, is told
 * to sleep.h: ranges that sleep rely on it.
 *
 * Time in which our own loop did not run is nobody's silence.
 *
 * Invariants (L1) of a store that is silent here no range sleeps here but those that are in
 *                 line to be woken (rouse.h).
 *            (L2) what an earlier life of a store has said of sleep counts no more.
 * Limits     PULSE_ITEMS_MAX items in a message; beyond, another one follows at once.
 */
#ifndef STORE_PULSE_H_
#define STORE_PULSE_H_

#include "base/buf.h"
#include "base/map.h"
#include "env/env.h"

struct err;
struct store;
struct replica;
struct cons_msg;
struct net_peer;
struct pulse_item;

enum { PULSE_MS = 200 };

/* Another store, as far as its pulse tells. */
struct neighbour {
    uint64_t store_id;
    uint64_t boot;      /* the greatest that it has told of */
    uint64_t heard_us;  /* its last pulse */
    bool is_silent;     /* for an election time-out, or never heard of */
    uint64_t sent_us;   /* our last pulse to it */
    struct buf items;   /* for the next */
    uint32_t count;     /* of them */
    struct list in_due; /* there are some */
};

struct pulses {
    struct map neighbours; /* by store id; owned */
    struct list due;
    struct env_task task;
    struct env_timer timer;
    uint64_t sent;     /* messages */
    uint64_t items;    /* in them */
    uint64_t received; /* messages */
};

void pulse_init(struct store *store);

/* The store has a cluster, and runs: begin. Harmless when it goes on already. */
void pulse_start(struct store *store);

/* After env_stop(). */
void pulse_free(struct store *store);

/* How often a store must be heard of: PULSE_MS, or less where elections are quick. */
uint32_t pulse_ms(const struct store *store);

/* Has that store heard of pulses, and is it up? An older one has not: it gets what would go
 * with a pulse by itself, is silent for us, and so lets no range sleep. */
bool pulse_reaches(const struct net_peer *peer);

/* Is it so small that it goes with the pulse? */
bool pulse_takes(const struct cons_msg *msg);

/* Say it to `peer`, which pulses reach, at the end of the turn. */
void pulse_send(struct store *store, struct net_peer *peer, const struct cons_msg *msg,
                bool is_rest);
void pulse_send_item(struct store *store, uint64_t to_store, const struct pulse_item *item);

/* From peers: MSG_PULSE. */
int pulse_on_message(struct store *store, uint64_t from_store, struct slice body, struct err *err);

/* NULL: it has never been heard of. */
const struct neighbour *pulse_of(const struct store *store, uint64_t store_id);

/* Is it alive, in that life? 0: in any. */
bool pulse_is_alive(const struct store *store, uint64_t store_id, uint64_t boot);

#endif
