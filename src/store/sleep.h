/* SPDX-License-Identifier: Apache-2.0
 *
 * sleep — ranges that have nothing to do stand still (ranges.md, Many ranges on one store).
 *
 *   leader: AWAKE ──idle for hibernate_after_ms, all members have everything──▶ ASKING
 *             ▲  ▲──── somebody does not sleep within half an election time-out ────┤
 *             │                                                                      │
 *             └── work, a message, a store that is lost ── ASLEEP ◀── all members ───┘
 *                                                                     sleep
 *
 *   follower, learner: AWAKE ──heartbeat with "rest", it is at rest there──▶ ASLEEP, parked
 *             ▲── any other message, a store that is lost, an operator ──────┘
 *
 *  - While it asks, each heartbeat of the leader is a PULSE_REST: who has the same last
 *    entry, committed and applied, sleeps and says so (PULSE_RESTED); who sleeps already
 *    answers asleep. The leader sleeps last. If it does not, its ordinary heartbeats go on
 *    and wake everybody.
 *  - Awake under a sleeping leader (a message came late): a voter's timer runs out, it asks
 *    for pre-votes, which wakes the leader, whose heartbeat ends it. A learner asks whether
 *    it is a member (strangers.c), with the same effect.
 *  - A store that falls silent or comes back with another boot number wakes what it led, with
 *    clocks set forward, and what is led here and has a member there: a few at a time (rouse.h).
 *  - At a start a replica with nothing left to replay is dormant: parked under nobody, without
 *    a consensus yet, and in line to be woken.
 *  - Who sleeps is parked: its consensus is put away in some 100 bytes. Read probes are
 *    answered without it. Where it is looked for, r->cons is NULL; who wants something of a
 *    leader calls replica_leads(), which wakes it.
 *  - A follower that refuses a client asks its leader, too: the client may have been refused
 *    there before.
 *  - Now and then each sleeper is looked at (SLEEP_CHECK_MS): a leader tells placement again,
 *    a follower asks its leader whether both are still what they were; one whose leader is
 *    not heard of asks all stores whether it is a member still.
 *  - A damaged replica says so to its group until it is gone: nobody sleeps meanwhile.
 *  - A leader that would sleep, but that a member's store is lost, is calm: its heartbeats are
 *    as rare as they may be. While a node is away that is what most of its ranges cost.
 *
 * Never asleep: range 1; a range that is frozen, merges, is watched, or whose members do not
 * all live; anything here while the store drains or its clock is off.
 *
 * Threads    loop only.
 * Invariants (Z1) a replica is in exactly one of the lists awake and asleep of its store.
 *            (Z2) parked ⇒ asleep, no consensus, nothing waits in it or is on its way.
 *            (Z3) what is applied at a sleeper is all of its log.
 *            (Z4) asleep ⇒ RUNNING, or DAMAGED and about to have the turn that ends it.
 */
#ifndef STORE_SLEEP_H_
#define STORE_SLEEP_H_

#include "base/list.h"
#include "consensus/consensus.h"
#include "store/rouse.h"

struct store;
struct replica;
struct pulse_item;

enum {
    SLEEP_AFTER_MS = 2000,    /* default of store_options.hibernate_after_ms */
    SLEEP_CHECK_MS = 300000,  /* default of store_options.hibernate_check_ms */
    SLEEP_CHECKS_MAX = 1024,  /* sleepers looked at in one turn */
    SLEEP_DOUBT_MS = 500,     /* a leader is asked for clients' sake, that often */
    SLEEP_TRIM_MIN = 500,     /* so many fell asleep since memory was last given back … */
    SLEEP_TRIM_MS = 2000,     /* … and none since then: it is time */
    SLEEP_COMPLAIN_MS = 1000, /* a damaged replica says so, that often */
    SLEEP_PUT_OFF_MS = 10000, /* a leader stays awake for what it had to put off: a few times
                               * what placement waits before it asks again */
};

/* Of a replica. */
struct nap {
    bool is_asleep;
    bool is_dormant;            /* not woken since the process began: parked, under nobody */
    bool is_unparking;          /* its consensus begins, and has no news */
    struct roused roused;       /* rouse.h */
    struct cons_parked *parked; /* owned; NULL: it has its consensus */
    struct cons_rest rest;      /* where it sleeps; leader: where it asks to */
    uint64_t leader_store;      /* asleep */
    uint8_t version;            /* of its leader's heartbeats */
    uint64_t busy_us;           /* leader: when there was something to do */
    bool is_quick;              /* woken for nobody's sake: it rests as soon as it can */
    bool is_calm;               /* leader: idle, but a member's store is lost */
    uint64_t awake_until_us;    /* leader: at least */
    uint64_t seen_index;        /* leader: its last entry when it was looked at */
    uint64_t asked_us;          /* leader: it asks since then; 0: it does not */
    uint64_t not_before_us;     /* leader: it asks again */
    uint64_t doubted_us;        /* asleep: when its leader was last asked for a client's sake */
    uint32_t agreed;            /* members that sleep, bits by place in the configuration */
};

/* Of a store. */
struct sleepers {
    struct list awake;
    struct list asleep; /* who was looked at longest ago first */
    uint32_t count;     /* of those asleep */
    uint32_t parked;
    uint64_t check_credit_us; /* until the next is due */
    uint64_t checked_us;
    uint64_t slept;         /* ever */
    uint64_t trimmed_slept; /* of them, when memory was last given back … */
    uint64_t seen_slept;    /* … and when it was last looked at */
    uint64_t seen_us;
    uint64_t woken[SLEEP_END_NR];
    uint64_t told_asleep; /* heartbeats and probes that nobody had to wake for */
};

/* A new replica is awake; before it is freed. */
void sleep_init(struct replica *r);
void sleep_fini(struct replica *r);

/* Its consensus ends, for whatever reason: it is awake. */
void sleep_forget(struct replica *r);

/* Its turn begins: something has come for it, or woken it. */
void sleep_begin_turn(struct replica *r);

/* … and ends: may it sleep? */
void sleep_turn(struct replica *r);

/* Its log is replayed. May it be dormant, instead of beginning its consensus? Done if so. */
bool sleep_from_start(struct replica *r);

/* From consensus: it has been woken. */
void sleep_on_woken(void *ctx);

static inline bool sleep_is_asleep(const struct nap *nap)
{
    return nap->is_asleep;
}

/* Does it lead, parked? */
bool sleep_is_parked_leader(const struct replica *r);

/* Wake it, if it sleeps; what it waits for comes from its leader. It has its consensus then,
 * unless that could not begin. */
void sleep_wake(struct replica *r, enum sleep_end why);

/* The same where the leader is believed to be gone. */
void sleep_wake_orphan(struct replica *r, enum sleep_end why);

/* All that lead here asleep. */
void sleep_wake_leaders(struct store *store, enum sleep_end why);

/* A client's request for data: it is busy. */
void sleep_note_work(struct replica *r);

/* A change of its members was put off. It will be asked for again, and a leader that woke for it
 * must have heard of them by then: it stays awake, however soon it would sleep. */
void sleep_note_put_off(struct replica *r);

/* A message for it, which sleeps. True if it is done with and everybody sleeps on; `boot` not
 * 0: the heartbeat is a PULSE_REST of that life of its store. */
bool sleep_takes(struct replica *r, const struct cons_msg *msg, uint64_t boot);

/* It has received a heartbeat that is a PULSE_REST: sleep, if it may. */
void sleep_on_rest(struct replica *r, const struct cons_msg *msg, uint64_t from_store,
                   uint64_t boot);

/* Is this heartbeat of ours to be a PULSE_REST? */
bool sleep_is_rest(const struct replica *r, const struct cons_msg *msg);

/* PULSE_RESTED, PULSE_WAKE. */
void sleep_on_word(struct store *store, uint64_t from_store, uint64_t boot,
                   const struct pulse_item *item);

/* That store is silent, or has begun another life: what was said there counts no more. */
void sleep_on_lost(struct store *store, uint64_t store_id, enum sleep_end why);

/* A client was sent on to the leader that it sleeps under, and may come back from there: is
 * that one still what it was? Without one to be asked it stands itself. */
void sleep_on_asked(struct replica *r);

/* That leader does not lead, says its store. */
void sleep_on_denied(struct replica *r, uint64_t store_id);

/* It is damaged: its group must know. */
void sleep_complain(struct replica *r);

/* Who leads, as far as is known here; *ret_store_id (may be NULL) where. */
uint64_t sleep_leader(const struct replica *r, uint64_t *ret_store_id);

/* Now and then. */
void sleep_check_some(struct store *store);

/* Assert the invariants. */
void sleep_check_replica(const struct replica *r);

#endif
