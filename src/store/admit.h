/* SPDX-License-Identifier: Apache-2.0
 *
 * admit — who of the clients is served next, and who is told to come later.
 *
 *   request ─▶ room? ──no──▶ BUSY, with the time until there will be
 *                │ yes: it is held until it is answered
 *                ├─ little came in this turn ─▶ served at once
 *                └─ else it waits, in line with those of its connection (fair.h)
 *                      └─ end of the turn: ADMIT_TURN_MAX of them, round robin over the
 *                         connections ─▶ served; too late for its deadline: told so, unseen
 *
 * So a connection that floods waits behind itself; and what could not be done before its
 * deadline is refused when it comes, while that is still of use. Requests about stores and
 * members, watches, and those of the store itself are not held up.
 *
 * The hint. Who is refused gets a time of his own, when by the present pace his turn would
 * be: those who obey it come back one after another, as they can be served. Who would not
 * wait so long takes no place. What waits until its client reads again is no part of that pace:
 * or a few that never read would have the store think that it can do no more than it is asked.
 *
 * Units      microseconds; bytes of requests as they came.
 * Ownership  part of the store.
 * Threads    loop only.
 * Invariants (D1) held_count and held_bytes are those of all connections.
 *            (D2) what waits in line is held. (D3) what is aside is held, and in no line.
 * Limits     store options requests_held_max and requests_bytes_max in all; of what is free
 *            one connection takes no more than it leaves, and the last quarter is for those
 *            that hold little: however many there are that flood, they do not fill it all. A
 *            quarter of the requests may be aside.
 */
#ifndef STORE_ADMIT_H_
#define STORE_ADMIT_H_

#include "env/env.h"
#include "store/fair.h"
#include "store/rate.h"
#include "wire/request.h"

struct store;
struct answer_to;

enum {
    ADMIT_TURN_MAX = 256,      /* requests served before others are looked at again */
    ADMIT_MODEST = 4,          /* who holds fewer has room kept for him */
    ADMIT_ASIDE_PART = 4,      /* of all may be aside, one in so many */
    ADMIT_HINT_MS_MAX = 2000,  /* nobody is told to wait longer: much may change */
    ADMIT_EARLY_AHEAD_MIN = 64 /* fewer ahead of it, and nobody is refused for his deadline */
};

struct admit_stats {
    uint64_t waited;       /* served, but not at once */
    uint64_t refused;      /* BUSY: a bound was met */
    uint64_t refused_late; /* BUSY: it could not be done before its deadline */
    uint64_t dropped;      /* in line until it was too late for its deadline */
};

struct admit {
    uint32_t held_max;
    size_t bytes_max;
    /* state */
    uint32_t held_count; /* accepted, not answered yet … */
    uint32_t aside;      /* … and so many of them in nobody's way */
    size_t held_bytes;
    struct map holders;  /* client → what it holds */
    uint32_t active;     /* clients that hold anything that is not aside */
    struct fair waiting; /* in line */
    uint32_t turn_left;  /* requests that this turn still serves */
    struct rate done;    /* held ones answered */
    uint64_t hinted_us;  /* the time that was last given to somebody to come again */
    struct admit_stats stats;
    struct env_task task;
};

void admit_init(struct store *store);
void admit_free(struct store *store);

/* A client's request that was decoded from `body`: true if it is to be served now. Else it
 * waits, or was answered. */
bool admit_request(struct store *store, struct answer_to *to, const struct request *request,
                   struct slice body);

/* What was held for it is given back: once for each request, from the one place that answers. */
void admit_answered(struct store *store, const struct answer_to *to);

/* `count` more are done; is nothing left? The time of a turn is that of its beginning: with the
 * last of many, which may end a window, what the turn itself took for them counts too, or what one
 * turn did would have taken no time at all. */
void admit_note_done(const struct store *store, struct rate *rate, uint32_t count, bool is_empty);

/* It cannot be answered, however fast the store is, for its client does not read: it keeps its
 * room, but nobody waits for it, and the time until it is taken up again is not the store's. */
void admit_set_aside(struct store *store, struct answer_to *to);
void admit_take_up(struct store *store, struct answer_to *to);

/* Is there room for it among those that are aside? Of that, too, a client takes no more than it
 * leaves. Where there is none it is better refused: those who never read would keep all others who
 * ask for several things at a time from what they wait for. */
bool admit_has_room_aside(const struct store *store, const struct answer_to *to);

/* Is any request of that client aside? */
bool admit_has_aside(const struct store *store, uint64_t client);

/* Is it of a client that holds little (this request counts), so that room is kept for it? */
bool admit_is_modest(const struct store *store, const struct answer_to *to);

/* What it has in line is dropped. */
void admit_on_client_gone(struct store *store, uint64_t client);

/* When one should come again who was refused behind `ahead` others that leave at that rate;
 * `deadline_us` is his. */
uint32_t admit_hint_ms(struct store *store, const struct rate *rate, uint64_t ahead,
                       uint64_t deadline_us);

/* Would one who comes now, behind `ahead` others, be too late? With as much to spare: the pace
 * of the next moment may be half of this one's, and the answer has a way to go, too. */
bool admit_is_too_late(const struct store *store, const struct rate *rate, uint64_t ahead,
                       uint64_t deadline_us);

void admit_check(const struct store *store);

#endif
