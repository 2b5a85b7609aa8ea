/* SPDX-License-Identifier: Apache-2.0
 *
 * rouse — sleepers that have lost their leader are woken a few at a time, and of the stores
 * that have one of them, one begins.
 *
 *   asleep ──its leader's store is lost, or this process has just begun──▶ in line
 *     ▲                                                            │ its turn; or at once:
 *     └── that store was only late, and lives ─────────────────────┤ it is asked for
 *                                                                  ▼
 *                 done ◀── somebody leads, or ROUSE_TIMEOUTS ── going: awake, it stands
 *
 *  - Who is first: of the living voters one, by the range's id, the same wherever that is
 *    asked. It stands at once. The others come later, in case it does not, and are woken by
 *    the request for their vote in most cases.
 *  - A leader asleep with a member on a lost store has a turn, too: placement must hear of it.
 *  - Whose voters are not heard of by majority waits: it could only stand in vain.
 *  - At most ROUSE_MAX go at a time. Elections that nobody waits for are then in nobody's way,
 *    however slow the machine and however many ranges there are.
 *  - Work overtakes all of it: a request for one in line has it woken in that turn.
 *  - After a start (dormant): a range has no consensus before it is woken. Heartbeats of who
 *    leads it wake ROUSE_MAX in a tick; the others are let fall, for they come again.
 *
 * Threads    loop only.
 * Invariants (U1) who is in line is asleep. (U2) who goes is awake. (U3) count and going_count
 *            are those of the lists.
 * Limits     ROUSE_MAX, ROUSE_LOOKS_MAX.
 */
#ifndef STORE_ROUSE_H_
#define STORE_ROUSE_H_

#include "base/list.h"
#include "env/env.h"

struct store;
struct replica;

enum {
    ROUSE_MAX = 64,        /* that go at a time, and dormant ones that heartbeats wake in a tick */
    ROUSE_LOOKS_MAX = 256, /* in each line, in one tick */
    ROUSE_TIMEOUTS = 2,    /* election time-outs: then it goes on by itself */
    ROUSE_STUCK_MS = 100,  /* until the next look when nobody could win */
};

/* Why a sleeper woke. */
enum sleep_end {
    SLEEP_WOKEN_BY_WORK,    /* here, or what a member sent */
    SLEEP_WOKEN_BY_SILENCE, /* of a store */
    SLEEP_WOKEN_BY_BOOT,    /* of a store */
    SLEEP_WOKEN_BY_DOUBT,   /* the leader is none, as somebody said; a member is in trouble */
    SLEEP_WOKEN_BY_START,   /* of this process: it was dormant */
    SLEEP_END_NR,
};

/* Of a replica. */
struct roused {
    struct list in_line; /* first, later or going */
    uint64_t since_us;
    bool is_going;
    uint8_t why;
};

/* Of a store. */
struct rousing {
    struct list first; /* who is to stand here, and who leads */
    struct list later;
    struct list going;
    uint32_t count; /* of those in line */
    uint32_t going_count;
    uint32_t beats; /* dormant ones woken by heartbeats since … */
    uint64_t beats_us;
    struct env_timer timer;
};

void rouse_init(struct store *store);

/* After env_stop(). */
void rouse_free(struct store *store);

/* Into line, if it is not there. */
void rouse_put(struct replica *r, enum sleep_end why);

/* Somebody waits for it: wake it now, and let it stand. */
void rouse_at_once(struct replica *r, enum sleep_end why);

/* It is awake, or ends; or its leader lives after all. */
void rouse_forget(struct replica *r);

/* Somebody leads it. */
void rouse_on_led(struct replica *r);

/* A store lives that was silent: who is in line for its silence alone sleeps on. */
void rouse_on_alive(struct store *store);

/* A heartbeat for one that is dormant: is there room for it now? */
bool rouse_takes_beat(struct store *store);

/* Assert the invariants. */
void rouse_check(const struct store *store);

#endif
