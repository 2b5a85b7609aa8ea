/* SPDX-License-Identifier: Apache-2.0
 *
 * beats — the store's side of placement: it tells how it is and what it leads, hears what
 * to do, and does it.
 *
 *   each second ─▶ store_beat, range_beat ─▶ who leads range 1 (maybe we ourselves)
 *   driver_word ─▶ addresses into the book, a report if it is wanted, steps ─▶ inner calls
 *        ─▶ step_done
 *
 * Whom to tell: the one who answered last; else who a replica of range 1 here believes in;
 * else the stores of the book in turn, who know or pass it on (driver_at).
 *
 * Invariants (H1) what bears a lower placement term than the greatest that was heard is
 *            refused. (H2) of a range one step is carried out at a time. (H3) a step is
 *            proposed at exactly the epochs that it was planned for.
 * Limits     STEPS_MAX steps at a time; others are answered BUSY.
 */
#ifndef STORE_BEATS_H_
#define STORE_BEATS_H_

#include "base/list.h"
#include "env/env.h"

struct err;
struct store;
struct replica;

enum {
    BEAT_MS = 1000,        /* how often a store tells of itself */
    BEAT_RANGE_MS = 10000, /* how often a leader tells of a range that has not changed */
    BEAT_SILENT_MAX = 3,   /* unanswered beats after which somebody else is asked */
    BEAT_MESSAGES_MAX = 8, /* about ranges, in one beat; what is left is told first in the next */
    STEPS_MAX = 64,
    RANGE_CONTACTS_MAX = 16, /* members of a range */
};

struct beats {
    struct env_timer timer;
    bool is_started;
    bool is_due;       /* a range has changed: do not wait for the second to end */
    uint64_t seq;      /* of the last beat */
    uint64_t term;     /* the greatest of placement that was heard of */
    uint64_t leader;   /* the store that leads range 1, as far as is known; 0: not */
    uint32_t silent;   /* beats since it last spoke */
    uint32_t refusals; /* answers in a row that we are not of the cluster */
    uint32_t hops;     /* hints followed since the last beat */
    uint32_t ask_at;   /* place in the book of whom to ask next */
    uint64_t beat_us;
    bool is_draining; /* placement wants no leaders here */
    struct list news; /* replicas that lead asleep, of which it has not heard that */
    uint64_t told;    /* the store that was told of ranges last; 0: none yet */
    struct list steps;
    uint32_t step_count;
};

/* What a replica's leader told of it last, and what it was asked. */
struct range_load {
    uint64_t requests; /* since `since_us` */
    uint64_t write_bytes;
    uint64_t since_us;
    uint64_t requests_s; /* smoothed */
    uint64_t write_bytes_s;
    uint64_t told_us; /* 0: never */
    uint64_t told_sum;
    uint64_t term; /* in which the following were seen */
    struct range_contact {
        uint64_t replica_id;
        uint64_t heard_us; /* when it was last seen alive, or first looked at */
    } * contacts;          /* RANGE_CONTACTS_MAX; owned; NULL: none yet */
    uint32_t contact_count;
};

/* Nothing is told before beats_start(). */
void beats_init(struct store *store);

/* The store has a cluster, and runs: begin. Harmless when it goes on already. */
void beats_start(struct store *store);

/* A range here has changed: tell it soon. */
void beats_poke(struct store *store);

/* Its range sleeps, and is led here: placement hears of that, and then no more of it, unless that
 * may have been lost. */
void beats_on_asleep(struct replica *r);

/* A connection to that store stands: what was on its way to it is lost with an earlier one. */
void beats_on_peer_up(struct store *store, uint64_t store_id);

/* From peers. */
int beats_on_word(struct store *store, uint64_t from_store, struct slice body, struct err *err);
int beats_on_at(struct store *store, uint64_t from_store, struct slice body, struct err *err);

/* Who leads range 1, as far as is known here; 0: nobody knows. */
uint64_t beats_leader(const struct store *store);

/* After env_stop(): steps in flight go, too. */
void beats_free(struct store *store);

#endif
