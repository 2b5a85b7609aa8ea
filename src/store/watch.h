/* SPDX-License-Identifier: Apache-2.0
 *
 * watch — requests for the next changes of a span (range/changes.h). A request that finds
 * some is answered at once; one that finds none waits at the leader until something is
 * applied, or until its time is over, and is then answered with how far it has come.
 *
 *   request ─▶ READING ── changes, or the end of the range ──▶ answered
 *                ▲  └──── nothing yet ──▶ WAITING ── its time is over ──▶ answered
 *                └───── applied ────────────┘ │ the range or its leader changed ──▶ refused
 *
 * The store keeps nothing of a watch between two requests, so a watcher that is slow to
 * ask costs no memory here: it falls behind the feed, then reads old versions from the
 * engine, and is refused (ERR_VERSION_GONE) once these are gone. A request is good for at
 * most one page, which is not made while much is still on its way to that client.
 *
 * Leadership is asked for, not confirmed: what a leader of yesterday tells is committed
 * all the same (changes.h), a request ends with its time, and the next one finds the
 * leader of then. Only a watch "from now" is confirmed by a majority first (replica_read.c),
 * for it must not begin before what its caller knows to be written.
 *
 * Before a watch "from now" is answered, and while somebody waits, an entry without commands
 * moves range time on if it is old, and with it what watchers of an idle range know to be complete:
 * so that their place in history does not age out of it.
 *
 * Threads    loop.
 * Invariants (W1) a request is answered once. (W2) what it says to be complete was told
 *            to that client, in this answer or in those before.
 * Limits     STORE_WATCHES_MAX requests in a store, STORE_CLIENT_WATCHES_MAX of a client;
 *            beyond, ERR_BUSY. STORE_FEED_BYTES of feeds, STORE_FEED_RANGE_BYTES of one.
 */
#ifndef STORE_WATCH_H_
#define STORE_WATCH_H_

#include "base/map.h"
#include "range/changes.h"
#include "store/replica.h"

enum {
    STORE_WATCHES_MAX = 16384,
    STORE_CLIENT_WATCHES_MAX = 1024,
    STORE_FEED_BYTES = 64 << 20,
    STORE_FEED_RANGE_BYTES = 1 << 20,
    STORE_WATCH_WAIT_MAX_MS = 60000,
    STORE_WATCH_PAGE_MAX = 1 << 20,  /* bytes of a page */
    STORE_FEED_KEPT_MS = 60000,      /* after the last request */
    STORE_WATCH_STAMP_MS = 60000,    /* range time is moved so often at least … */
    STORE_WATCH_STAMP_PART = 4,      /* … or after this part of the retention, if sooner … */
    STORE_WATCH_STAMP_MIN_MS = 1000, /* … but never sooner than this */
};

/* Of a store. */
struct watches {
    uint32_t count;
    struct map by_client; /* how many each has; nobody is there with none */
    struct feed_budget feeds;
    struct list replicas; /* with requests or with a feed */
};

void watches_init(struct watches *watches);
void watches_fini(struct watches *watches);

/* Take a request (decoded) that the replica may answer; `to` hears of it once. */
void watch_on_request(struct replica *r, const struct answer_to *to, const struct request *request);

/* A watch "from now" is confirmed: answer it. */
void watch_answer_now(struct replica *r, const struct answer_to *to,
                      const struct request_watch *request);

/* Is range time so far behind the clock that a watch should not begin, or go on, there? */
bool watch_time_is_old(const struct replica *r, uint64_t wall_ms);

/* From the turn: look again, if something was applied. */
void watch_turn(struct replica *r);
void watch_tick(struct replica *r, uint64_t now_us);

/* Something was applied. */
static inline void watch_on_applied(struct replica *r)
{
    r->watches.is_moved = r->watches.count > 0;
}

/* Nobody waits here any more. Those that are being read end with their reads. */
void watch_fail_all(struct replica *r, int status);

/* net_hooks.on_client_gone; data is the store. */
void watch_on_client_gone(void *data, uint64_t client);

void watch_init(struct replica *r);

/* After env_stop(), or once nothing is being read; answers nobody. */
void watch_free(struct replica *r);

#endif
