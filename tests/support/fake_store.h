/* SPDX-License-Identifier: Apache-2.0
 *
 * fake_store — stores that speak the client's protocol, on any env, and behave as
 * badly as they are told: for tests of the client without a cluster. All stores of a
 * fake cluster share one sorted map: what one applied, the others know.
 */
#ifndef TESTS_SUPPORT_FAKE_STORE_H_
#define TESTS_SUPPORT_FAKE_STORE_H_

#include "env/env.h"
#include "wire/command.h"
#include "wire/frame.h"
#include "wire/request.h"
#include "wire/response.h"

enum { FAKE_STORES_MAX = 5, FAKE_CLUSTER_ID = 77 };

struct fake_entry {
    uint8_t *key; /* owned, with the value behind it */
    size_t key_len;
    size_t value_len;
    uint64_t version;
};

/* What watchers are told of. */
struct fake_change {
    uint8_t *key; /* owned, with the value behind it */
    size_t key_len;
    size_t value_len;
    uint64_t version;
    bool is_delete;
};

enum { FAKE_SEAMS_MAX = 4 };

/* What a command of a session came to. */
struct fake_result {
    uint64_t session;
    uint64_t sequence;
    uint8_t *bytes; /* owned; encoded */
    size_t len;
};

struct fake_store;

struct fake_cluster {
    struct fake_entry *entries; /* owned; sorted by key */
    size_t count;
    size_t cap;
    uint64_t version;
    uint64_t term;
    struct fake_store *leader; /* NULL: nobody leads */
    /* Keys from this one on are another range, with a leader of its own; NULL: there is one
     * range. */
    const char *split;
    struct fake_store *split_leader;
    struct fake_store *stores[FAKE_STORES_MAX];
    uint32_t store_count;
    uint64_t applied;            /* commands that were done */
    uint64_t clock_ms;           /* its time at the world's start; 0: its hellos tell none */
    uint64_t floor_ms;           /* commands of sessions first sent by then are expired */
    struct fake_result *results; /* owned; of sessions */
    size_t result_count;
    size_t result_cap;
    struct fake_change *changes; /* owned; all that ever were, in order */
    size_t change_count;
    /* To watchers the keys look cut into ranges at these keys (NULL: no more), whose ids begin
     * with range_base. */
    const char *seams[FAKE_SEAMS_MAX];
    uint64_t range_base;
    uint64_t gone_version; /* changes up to it are not kept */
    /* Scans at a version below it are refused: for their age … */
    uint64_t least_version;
    bool is_merged;       /* … or as of keys that came from another range since */
    uint32_t watch_limit; /* changes in a page; 0: 1000 */
    /* A request for changes that finds none waits as long as it says, but no longer than this; 0:
     * 20 ms. What comes meanwhile the next one sees. */
    uint32_t watch_wait_max_ms;
    uint64_t watched;    /* requests for changes; they say by turns what an engine would,
                            key by key, and what a feed would, by version */
    uint64_t repeats;    /* commands of sessions that had been done */
    struct command last; /* head of the last command; no ops */
};

/* What a store does with requests that read or change data. */
enum fake_mood {
    FAKE_SERVE,
    FAKE_SWALLOW,     /* reads and never answers; pings neither */
    FAKE_RESET,       /* closes the connection, nothing done */
    FAKE_DO_RESET,    /* does it, then closes the connection without an answer */
    FAKE_BUSY,        /* pushes back with busy_ms */
    FAKE_LATE,        /* does it and answers after busy_ms */
    FAKE_UNDECIDED,   /* says so: undetermined, and does it not */
    FAKE_EARLY,       /* says that its clock is far behind the command's first sending */
    FAKE_FULL,        /* says that its disk is full */
    FAKE_NO_MAJORITY, /* says unavailable */
    FAKE_STRANGE      /* says what nobody here knows, as a newer store may */
};

/* Make a lie of an answer; `raw` holds what it points to. */
typedef void (*fake_twist)(struct fake_store *store, const struct request *request,
                           struct response *to, struct buf *raw);

struct fake_store {
    struct fake_cluster *cluster; /* borrowed */
    struct env *env;              /* borrowed */
    struct env_listener *listener;
    char address[ENV_ADDRESS_MAX];
    uint64_t id; /* store and replica */
    enum fake_mood mood;
    uint32_t busy_ms;
    uint32_t moods_left;   /* requests that `mood` is for; 0: all. Then it serves */
    uint64_t cluster_id;   /* in its hello_ack and its status */
    bool was_unborn;       /* its hello_ack tells of no cluster yet */
    uint32_t requests_max; /* likewise */
    bool is_ignorant;      /* as a follower, it names no leader */
    bool has_no_range;     /* so it says when asked for the status of one */
    bool is_deaf;          /* does not even answer the hello */
    int hello_error;       /* it answers the hello with two errors of this code; 0: none */
    uint32_t asks_lost;    /* so many questions to placement it ends with the connection */
    fake_twist twist;      /* for all but STATUS, until it is NULL again */
    struct list conns;
    struct list late; /* answers that wait for their time */
    /* seen so far */
    uint64_t hellos;
    uint64_t requests; /* but STATUS */
    uint64_t statuses;
    uint64_t batch_max; /* most requests in one piece of input */
    uint64_t last_timeout_ms;
};

void fake_cluster_init(struct fake_cluster *cluster);

/* After env_stop() of all its envs: frees stores and data. */
void fake_cluster_fini(struct fake_cluster *cluster);

/* One more store, listening at `address`. */
struct fake_store *fake_store_new(struct fake_cluster *cluster, struct env *env,
                                  const char *address);

/* Close all its connections now. */
void fake_store_disconnect(struct fake_store *store);

/* fake_watch.c: note what the command of cluster->version did to a key. */
void fake_changes_add(struct fake_cluster *cluster, const struct op *op, struct slice value);

/* Fill in the page that is asked for; `raw` gets what it points to. */
void fake_changes_page(struct fake_cluster *cluster, const struct request_watch *watch,
                       struct response *to, struct buf *raw);
void fake_changes_fini(struct fake_cluster *cluster);

/* Somebody else puts a key. */
void fake_cluster_put(struct fake_cluster *cluster, struct slice key, struct slice value);

/* The value of `key` as the cluster has it; NULL data if absent. */
struct slice fake_cluster_get(struct fake_cluster *cluster, struct slice key);

#endif
