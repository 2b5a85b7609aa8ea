/* SPDX-License-Identifier: Apache-2.0
 *
 * watch — every change of the keys of a span, from a version on: each once, those of a key
 * in order, whatever becomes of connections, leaders and ranges meanwhile.
 *
 *   pump ─▶ a piece of the span that nobody asks for (progress.h) ─▶ client_submit(WATCH)
 *     ▲                                                                  │ a page
 *     └──────── the piece has moved on ◀── page_cb ◀─────────────────────┘
 *
 * Each piece is asked for by itself and waits at its range's leader, so changes come as
 * they happen; those of different keys of different ranges in no order. As every request
 * says how far the piece has come, a lost answer is asked for again and nothing is told
 * twice.
 *
 * Units      versions; *_ms milliseconds.
 * Ownership  the watch borrows the client, and is freed by client_watch_close(). What a
 *            page points to is borrowed until page_cb returns.
 * Threads    all on the client's loop.
 * Errors     a page with a status is the last: ERR_VERSION_GONE (the watcher was too slow,
 *            or away for too long: `version` is the least `after` that can still be asked
 *            for there), ERR_INVALID, ERR_TOO_LARGE, ERR_UNSUPPORTED, ERR_UNAUTHORIZED,
 *            ERR_CORRUPT (an answer that makes no sense), ERR_NOMEM. Everything else is
 *            tried again for as long as the watch is open, and is trouble meanwhile: trouble_cb.
 * Limits     `polls_max` pieces are asked for at a time, others in turn; each for a page of
 *            page_bytes, or of one larger change. PROGRESS_PIECES_MAX pieces.
 */
#ifndef CLIENT_WATCH_H_
#define CLIENT_WATCH_H_

#include "client/client.h"
#include "client/progress.h"

enum {
    CLIENT_WATCH_POLLS_MAX = 256, /* the most that polls_max may say */
    CLIENT_WATCH_PAGE_MIN = 4096,
};

struct client_watch;

struct client_watch_page {
    int status;         /* 0; else the watch is over and the rest is empty … */
    struct slice text;  /* … but for why … */
    uint64_t version;   /* … and this, with ERR_VERSION_GONE */
    struct slice start; /* what was asked for */
    struct slice end;
    const struct response_watch *page; /* what came */
    uint64_t mark;                     /* progress_mark() with this page */
};

typedef void (*client_watch_cb)(struct client_watch *watch, void *data,
                                const struct client_watch_page *page);

/* A part of the span of which nobody tells: a request for it came to nothing, and so did those
 * after it. It goes on being asked for. */
struct client_watch_trouble {
    int status;        /* of the last request that failed; 0: no part is without an answer */
    uint64_t since_us; /* when the first of them was sent; 0 with status 0 */
    const char *text;  /* why it failed; valid until the loop goes on */
};

typedef void (*client_watch_trouble_cb)(struct client_watch *watch, void *data,
                                        const struct client_watch_trouble *trouble);

struct client_watch_options {
    uint32_t keyspace;
    struct slice start; /* user keys; the end is excluded, empty: to the last key */
    struct slice end;
    uint64_t from_version; /* changes of this version and later; 0: from now on */
    struct slice token;    /* go on from there: then none of the above counts, but what is
                              below from_version is given up (it may be gone) */
    uint32_t polls_max;    /* 0: 32 */
    uint32_t page_bytes;   /* 0: 64 KiB */
    uint32_t wait_ms;      /* how long a request waits for a change; 0: 10 s */
    uint32_t spare_ms;     /* for it to find the leader, and for the way: what takes longer is
                              trouble, and has twice as much the next time, up to 16 times;
                              0: 5 s */
    client_watch_cb page_cb;
    client_watch_trouble_cb trouble_cb; /* it began, changed or ended; NULL: untold. It may not
                                           close the watch */
    void *data;                         /* caller's */
};

struct client_watch_stats {
    uint64_t pages; /* with changes or without */
    uint64_t changes;
    uint64_t failures; /* requests that came to nothing, and were sent again */
    uint64_t pieces;   /* now */
    uint64_t asking;   /* now */
};

/* Begin. ERR_INVALID, ERR_TOO_LARGE: the span; ERR_CORRUPT, ERR_UNSUPPORTED: the token;
 * ERR_NOMEM. */
int client_watch_open(struct client *client, const struct client_watch_options *options,
                      struct client_watch **ret_watch, struct err *err);

/* End: no page_cb follows. Not from inside one. NULL is fine. */
void client_watch_close(struct client_watch *watch);

/* Ask for nothing more until client_watch_resume(); what was asked for still comes. */
void client_watch_pause(struct client_watch *watch);
void client_watch_resume(struct client_watch *watch);

/* How far it is. Borrowed until the loop goes on. */
const struct progress *client_watch_progress(const struct client_watch *watch);

void client_watch_stats_get(const struct client_watch *watch, struct client_watch_stats *ret_stats);

/* Why the last request that failed did, whether or not that is over; "" if none has. Valid until
 * the loop goes on. */
const char *client_watch_trouble(const struct client_watch *watch);

/* Assert the invariants; for tests. */
void client_watch_check(const struct client_watch *watch);

#endif
