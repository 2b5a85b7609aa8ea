/* SPDX-License-Identifier: Apache-2.0
 *
 * driver_internal — what driver.c, driver_io.c and driver_admin.c share.
 */
#ifndef STORE_DRIVER_INTERNAL_H_
#define STORE_DRIVER_INTERNAL_H_

#include "consensus/consensus.h"
#include "placement/placement.h"
#include "range/read.h"
#include "store/driver.h"
#include "store/inner.h"
#include "store/store_internal.h"

enum driver_state { DRIVER_OFF, DRIVER_LOADING, DRIVER_RUNNING };

/* What the driver knows of a store beside what placement does. */
struct driver_store {
    uint64_t store_id;
    uint64_t boot; /* of the process that is taken for the store */
    char address[ENV_ADDRESS_MAX];
    uint64_t heard_us;
    uint64_t told;           /* revision of the book up to which it was told */
    uint64_t told_us;        /* all of it */
    uint64_t rival_boot;     /* another process that says that it is this store; 0: none */
    uint64_t rival_us;       /* since then */
    uint64_t refused_us;     /* when it was last told that it is no store of the cluster */
    uint64_t route_revision; /* not used yet by stores */
};

/* One request of the driver to range 1, on its way. */
struct driver_call {
    struct list in_calls;
    struct driver *driver;
    struct inner_call call;
    uint64_t generation; /* of the driver when it was asked */
    uint64_t write_id;   /* of placement; 0: a page of rows is read */
};

struct driver {
    struct store *store;
    enum driver_state state;
    uint64_t term;
    uint64_t generation; /* grows whenever it stops */
    struct placement *placement;
    struct env_timer timer;
    struct env_task task;
    bool is_started;
    struct list calls;
    struct buf cursor; /* LOADING: the next page's start */
    bool is_page_due;
    bool is_write_due;
    int write_status;    /* of the last one */
    uint64_t begin_us;   /* not before */
    uint64_t running_us; /* since then, in this term */
    struct cons_read probe;
    bool is_probing;
    bool is_confirmed;
    struct map stores; /* id → driver_store */
    struct list words; /* word_op: answered when what they asked is durable */
    uint32_t word_count;
    struct range_read recall; /* driver_recall.c */
};

/* A store as the driver knows it, made if it is not known; NULL: out of memory. */
struct driver_store *driver_store_get(struct driver *d, uint64_t store_id);

/* Milliseconds for placement. */
static inline uint64_t driver_now_ms(const struct driver *d)
{
    return env_now_us(d->store->env) / 1000;
}

/* Has it heard what there is to hear, as far as a question or a command leans on it? Soon
 * after it begins it knows where things are, not how they are. */
bool driver_is_informed(const struct driver *d);

static inline bool driver_is_running(const struct driver *d)
{
    return d->state == DRIVER_RUNNING && !placement_is_broken(d->placement);
}

/* driver.c: propose what is to become durable, soon. */
void driver_flush_later(struct driver *d);

/* driver.c: may another word of an operator be taken? */
bool driver_has_room(const struct driver *d);

/* driver.c: it was done; the answer comes when it is durable. */
void driver_answer_durable(struct driver *d, const struct answer_to *to);

/* driver_io.c: a step to who leads the range. */
void driver_send_step(struct driver *d, const struct placement_step *step);

/* A store that the cluster was born with. */
void driver_adopt_self(struct driver *d);

/* All stores that range 1 knows of into the book, which may have been lost; or one. */
void driver_fill_book(struct driver *d);
void driver_learn_store(struct store *store, const struct placement_store_status *s);

/* Stores that were removed are marked in the book, and so lose their places in everybody's. */
void driver_clear_book(struct driver *d);

#endif
