/* SPDX-License-Identifier: Apache-2.0
 *
 * world_internal — what the files of the randomised cluster share.
 *
 *   queue.c   events in order of time, reports    hosts.c    network, disks, members' lives
 *   chaos.c   what goes wrong, and operators      clients.c  writes, reads and their check
 *   pace.c    the last phase          world.c   one event, the other phases
 */
#ifndef TESTS_CONSENSUS_WORLD_INTERNAL_H_
#define TESTS_CONSENSUS_WORLD_INTERNAL_H_

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "consensus/history.h"
#include "consensus/member.h"
#include "consensus/world.h"

enum {
    WORLD_MEMBERS_MAX = 24,
    GROUP_MEMBERS_MAX = 7,
    BORN_INDEX = 10,
    BORN_TERM = 5,
    GROUP_ID = 77,
    LIVE_TIMEOUTS = 100, /* election timeouts that the healed cluster is given */
};

enum event_kind {
    EVENT_DELIVER,
    EVENT_PERSIST,
    EVENT_TIMER,
    EVENT_APPLY,
    EVENT_STREAM,
    EVENT_FETCH,
    EVENT_INSTALL,
    EVENT_RESTART,
    EVENT_REST,
    EVENT_CHAOS,
    EVENT_CLIENT,
    EVENT_READ,
    EVENT_WRITE,
    EVENT_USURP,
    EVENT_STRIKE,
    EVENT_LINK,
};

struct netmsg {
    struct cons_msg msg;
    struct blob **blobs;
    struct cons_entry entries[];
};

struct event {
    uint64_t time;
    uint64_t seq;
    enum event_kind kind;
    uint32_t member; /* slot */
    uint32_t life;   /* of the member when it was scheduled */
    union {
        struct netmsg *net;
        struct {
            uint64_t target;
            struct mstate state;
        } * stream;
        struct mrequest *fetch;
        struct cons_rest rest;
    };
};

struct slot {
    struct member m;
    bool is_used;
    bool is_destroyed; /* for ever */
    bool is_dead;      /* destroyed while it was a member */
    uint64_t paused_until;
    uint32_t life; /* grows at each crash */
    uint64_t timer_at;
    bool is_persisting;
    bool is_apply_due;
};

struct knobs {
    uint32_t et;
    uint32_t hb;
    uint32_t lease_ms;
    uint32_t delay_max;
    uint32_t probe_late;  /* percent of a probe's answers that come election time-outs later */
    uint32_t reject_late; /* percent of rejections that come once more, so late */
    uint32_t drop;        /* per mille */
    uint32_t duplicate;   /* per mille */
    uint32_t disk_max;
    uint32_t stall;      /* per mille of writes that take election timeouts */
    uint32_t apply_late; /* percent */
    uint32_t crash;      /* weights of chaos */
    uint32_t partition;
    uint32_t flush;
    uint32_t membership;
    uint32_t transfer;
    uint32_t pause;
    uint32_t damage;
    uint32_t sleep;
    uint32_t campaign;
    uint32_t strike; /* percent of new leaders that die or are cut off at once */
    uint32_t trailing;
    uint32_t cached; /* entries in memory */
    uint32_t batch_max;
    uint32_t payload_max;
    uint32_t window;
    uint32_t chaos_ms;
    uint32_t client_ms;
    uint32_t usurp; /* per mille of chaos, drawn apart: what was found without it stays */
};

struct sim_read {
    struct cons_read read;
    struct world *w;
    struct sim_read *next;
    struct sim_read **prev;
    uint32_t slot;
    uint32_t life;
    uint64_t floor;
};

struct world {
    struct rng rng;
    struct rng own; /* of what is drawn apart */
    uint64_t now;
    uint64_t seq;
    uint64_t guards_off;
    bool is_verbose;
    bool is_healed;
    bool is_pacing;  /* clients write nothing any more */
    uint32_t struck; /* slot of the leader that was cut off last */
    struct knobs k;
    struct event *heap;
    uint32_t n_heap;
    uint32_t cap_heap;
    struct slot slots[WORLD_MEMBERS_MAX];
    uint32_t n_slots;
    bool cut[WORLD_MEMBERS_MAX][WORLD_MEMBERS_MAX];
    struct history history;
    uint64_t floor; /* every later read must see this index */
    uint32_t n_dead;
    struct sim_read *reads;
    uint64_t live_index;
    uint64_t live_term;
    uint64_t live_reads;
    uint64_t sent_last[WORLD_MEMBERS_MAX]; /* of the entries that were sent to each slot last */
    struct world_report report;
};

#define TRACE(w, ...)                                                                              \
    do {                                                                                           \
        if ((w)->is_verbose)                                                                       \
            fprintf(stderr, __VA_ARGS__);                                                          \
    } while (0)

/* --- queue.c */

void world_fail(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void world_judge(struct world *w, const char *violation); /* NULL is fine */
void world_hash(struct world *w, uint64_t v);

/* The event is the caller's to fill until the next push. */
struct event *world_push(struct world *w, uint64_t time, enum event_kind kind, uint32_t slot);
struct event world_pop(struct world *w);
void event_free(struct event *e);

/* Keep it until its member runs again. */
void event_defer(struct world *w, const struct event *e, uint64_t time);

int slot_of(const struct world *w, uint64_t replica_id); /* -1: none */
uint32_t slot_index(const struct world *w, const struct member *m);
bool slot_is_up(const struct slot *s);

/* Up, and not paused. */
bool slot_is_running(const struct world *w, const struct slot *s);

/* --- hosts.c */

uint64_t world_delay(struct world *w);

/* After each call into a member: its wishes, timer and checks. */
void settle(struct world *w, uint32_t slot);
void slot_start(struct world *w, uint32_t slot);
/* Put a sleeping member away, if it may be: slot_start() brings it back. */
void slot_park(struct world *w, uint32_t slot);
void slot_crash(struct world *w, uint32_t slot);

/* Crash it; it is back within a few election timeouts. */
void slot_fall(struct world *w, uint32_t slot);
uint32_t world_add_slot(struct world *w);

/* --- world.c */

/* Let time pass. */
void world_until(struct world *w, uint64_t time);

/* --- pace.c */

/* The last phase; w->report.is_failed if it goes wrong. */
void world_pace(struct world *w);

/* --- clients.c */

void world_client(struct world *w);

/* A read, if the member there leads or thinks so. */
void world_read(struct world *w, uint32_t slot);
/* Likewise a write. */
void world_write(struct world *w, uint32_t slot);
void world_forget_reads(struct world *w, uint32_t slot);

/* --- chaos.c */

void world_knobs(struct world *w);
void world_chaos(struct world *w);

/* The member there has just begun to lead. */
void world_strike(struct world *w, uint32_t slot);

/* The leader there has just read by its lease. */
void world_usurp(struct world *w, uint32_t slot);

/* Its links carry again. */
void world_link(struct world *w, uint32_t slot);

/* After all is healed: the dead are replaced. */
void world_operate(struct world *w);

#endif
