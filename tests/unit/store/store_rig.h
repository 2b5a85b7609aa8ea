/* SPDX-License-Identifier: Apache-2.0
 *
 * store_rig — whole stores in a simulated world, and a client that says exactly what
 * it is told and counts the answers: one for each request, never two.
 */
#ifndef TESTS_UNIT_STORE_STORE_RIG_H_
#define TESTS_UNIT_STORE_STORE_RIG_H_

#include "env/sim/sim.h"
#include "store/store.h"
#include "wire/command.h"
#include "wire/frame.h"
#include "wire/request.h"
#include "wire/response.h"

enum { RIG_STORES_MAX = 5, RIG_ASKED_MAX = 16384, RIG_TEXT_MAX = 256 };
#define RIG_MS UINT64_C(1000)
#define RIG_CLUSTER UINT64_C(0xc1)

struct rig_answer {
    int count;
    int status;
    uint32_t retry_after_ms;
    uint64_t leader_store;
    uint64_t time_ms;
    char text[RIG_TEXT_MAX];
    char value[RIG_TEXT_MAX];    /* of a GET's row; the cells of a table of placement's */
    uint64_t version;            /* at which a GET or a SCAN was read */
    bool has_more;               /* of a SCAN's page, in its range */
    uint64_t written;            /* the version that a WRITE gave; of one with one operation … */
    int64_t number;              /* … what an increment came to */
    uint64_t expiry_ms;          /* of a WRITE's first key, in range time; 0: none */
    struct response_watch watch; /* its slices are not kept, but: the changes as "k=v k- "
                                    in `value`, the cursor in `why` */
    struct response_identify identify;
    struct response_check check; /* its slices are not kept */
    char why[RIG_TEXT_MAX];      /* but this one */
};

struct rig;

struct rig_conn {
    struct rig *rig;
    struct env_conn *conn; /* NULL: not there */
    struct frame_reader reader;
    uint64_t number;  /* of this connection among all */
    uint64_t answers; /* that came by it */
};

struct rig {
    struct sim *sim;
    struct sim_node *nodes[RIG_STORES_MAX];
    struct store *stores[RIG_STORES_MAX]; /* NULL while down */
    struct store_options options;         /* of all; id and address are set at the start */
    struct sim_node *outside;
    struct rig_conn conns[RIG_STORES_MAX];
    struct rig_answer *answers; /* by request id; RIG_ASKED_MAX of them */
    uint64_t asked;
    uint64_t connected; /* connections so far */
    size_t count;
    bool is_grown; /* the first store founds a cluster, the others join it; else members are
                      told by BOOTSTRAP */
    int drained;
};

/* A world with `count` stores; nothing runs. Change options before rig_start(). */
void rig_open(struct rig *rig, size_t count);

/* The same, of a world with another seed. */
void rig_open_seeded(struct rig *rig, size_t count, uint64_t seed);
void rig_close(struct rig *rig);

/* Open store `i` and connect to it; what store_open() said. */
int rig_start(struct rig *rig, size_t i, struct err *err);
void rig_crash(struct rig *rig, size_t i, enum sim_crash how);

/* Connect to store `i` anew if the connection has ended. */
void rig_reconnect(struct rig *rig, size_t i);

/* One more client: as `i`, at least rig->count, requests go to that store by a connection of
 * their own. */
void rig_connect_too(struct rig *rig, size_t i, size_t store);
void rig_run(struct rig *rig, uint64_t us);

/* Start all, bootstrap them, and wait for a leader: its place. */
size_t rig_start_cluster(struct rig *rig);

/* The same of a cluster that grows: start the first, then the others, which join. Returns
 * the place of who leads the first data range. rig_grow_begin() after rig_open() instead of
 * options for BOOTSTRAP. */
void rig_grow_begin(struct rig *rig);
size_t rig_grow(struct rig *rig);

/* The store that hosts placement now; `count` if none does. */
size_t rig_driver(const struct rig *rig);

/* The store that leads now; `count` if none does. */
size_t rig_leader(const struct rig *rig);

/* Send to store `i`; its id is set. Returns where the answer will be. */
struct rig_answer *rig_ask(struct rig *rig, size_t i, struct request *request);
struct rig_answer *rig_put(struct rig *rig, size_t i, const char *key, const char *value,
                           uint32_t timeout_ms);
struct rig_answer *rig_delete(struct rig *rig, size_t i, const char *key);
/* One operation, in that keyspace; its key as it is stored. */
struct rig_answer *rig_write(struct rig *rig, size_t i, uint32_t keyspace, const struct op *op,
                             uint32_t timeout_ms);
struct rig_answer *rig_read(struct rig *rig, size_t i, const char *key,
                            const struct request_read *how, uint32_t timeout_ms);
/* The same of a key as it is stored, in the keyspace that `how` names. */
struct rig_answer *rig_read_key(struct rig *rig, size_t i, struct slice key,
                                const struct request_read *how, uint32_t timeout_ms);
struct rig_answer *rig_get(struct rig *rig, size_t i, const char *key, uint32_t timeout_ms);
/* A page of what begins at `start`, of that many keys at most: one second. */
struct rig_answer *rig_scan(struct rig *rig, size_t i, const char *start, uint32_t limit_keys,
                            const struct request_read *how);
/* A watch of [start, end) ("": no bound); after 0: from now on. */
struct rig_answer *rig_watch(struct rig *rig, size_t i, const char *start, const char *end,
                             uint64_t after, uint32_t wait_ms);
struct rig_answer *rig_simple(struct rig *rig, size_t i, enum request_kind kind);

/* The request that cuts the range at that key, as store `at` knows it; new replicas get the ids
 * new_range_id * 100 and so on. `raw` holds the key. */
void rig_fill_split(const struct rig *rig, size_t at, const char *key, uint64_t range_id,
                    uint64_t new_range_id, uint8_t raw[RIG_TEXT_MAX], struct request *request);
struct rig_answer *rig_split(struct rig *rig, size_t at, const char *key, uint64_t range_id,
                             uint64_t new_range_id);

/* The bootstrap request that names all stores as they say they are. */
void rig_bootstrap_request(struct rig *rig, struct request *request);

/* Everything asked has been answered once. */
void rig_assert_answered(const struct rig *rig);

void rig_drain(struct rig *rig, size_t i, uint32_t timeout_ms);

#endif
