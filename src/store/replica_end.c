/* SPDX-License-Identifier: Apache-2.0
 *
 * A replica leaves its store:
 *
 *   QUIESCE ── nothing on its way ──▶ EDITING ── durable ──▶ gone
 *      ▲──────── the engine refused: again ─────┘
 *
 *  - everybody who waits is told, consensus ends, streams are closed;
 *  - what is on its way to or from the disk comes back first;
 *  - ONE edit takes its span and its local records out and puts the tombstone in;
 *  - then its log is forgotten. A crash between the two leaves a record that says so,
 *    and the next start forgets the log.
 */
#include <stdlib.h>

#include "store/absorb.h"
#include "store/check.h"
#include "store/service.h"
#include "store/store_internal.h"

enum removal_state { REMOVAL_QUIESCE, REMOVAL_EDITING };

struct replica_removal {
    enum removal_state state;
    struct lsm_edit_op edit;
};

bool replica_is_ended(const struct replica *r)
{
    return r->removal != NULL && r->removal->state == REMOVAL_EDITING;
}

void replica_removal_free(struct replica *r)
{
    free(r->removal);
    r->removal = NULL;
}

/* Not while an install or a merge has it: that ends first, and whoever asks asks again. */
static bool may_remove(const struct replica *r)
{
    return r->state != REPLICA_REMOVING && r->state != REPLICA_INSTALLING &&
           r->state != REPLICA_ABSORBED && r->state != REPLICA_MERGED &&
           !snapshot_in_is_bound(r); /* damaged in the middle of it */
}

/* The tombstone is raised already. Out of memory: whoever asks for this asks again. */
static void begin_removal(struct replica *r)
{
    struct store *store = r->store;
    struct replica_removal *removal = calloc(1, sizeof *removal);
    if (removal == NULL)
        return;
    r->removal = removal;
    LOG_INFO(store->logger, "removing", "range=%llu replica=%llu", (unsigned long long)r->range_id,
             (unsigned long long)r->replica_id);
    replica_move(r, REPLICA_REMOVING);
    env_timer_stop(&r->apply_retry);
    if (r->apply == APPLY_STALLED)
        r->apply = APPLY_IDLE;
    replica_end(r);
    snapshot_in_drop(r);
    absorb_release(r);
    replica_wake(r);
}

void replica_remove(struct replica *r, uint64_t least_id)
{
    ASSERT(least_id > r->replica_id);
    if (may_remove(r) && tombstones_raise(&r->store->tombstones, r->range_id, least_id) == 0)
        begin_removal(r);
}

void replica_remove_ended(struct replica *r, uint64_t into_range, uint64_t span_epoch)
{
    struct tombstones *t = &r->store->tombstones;
    if (may_remove(r) && tombstones_end(t, r->range_id, into_range, span_epoch) == 0)
        begin_removal(r);
}

bool replica_is_quiet(const struct replica *r)
{
    return r->apply == APPLY_IDLE && r->in == NULL && list_is_empty(&r->log_writes) &&
           !replica_log_is_reading(r) && list_is_empty(&r->streams) &&
           list_is_empty(&r->dropped_streams) && !check_is_running(r) &&
           list_is_empty(&r->dropped_checks) && r->read_count == 0 && r->watches.count == 0 &&
           (r->range == NULL || !range_is_busy(r->range));
}

static void on_edited(struct lsm_edit_op *op, int status)
{
    struct replica *r = op->data;
    struct store *store = r->store;
    if (status != 0) {
        LOG_WARN(store->logger, "not_removed", "range=%llu replica=%llu status=%s",
                 (unsigned long long)r->range_id, (unsigned long long)r->replica_id,
                 err_name(status));
        r->removal->state = REMOVAL_QUIESCE;
        replica_wake(r);
        return;
    }
    LOG_INFO(store->logger, "removed", "range=%llu replica=%llu", (unsigned long long)r->range_id,
             (unsigned long long)r->replica_id);
    raftlog_remove_group(store->log, r->replica_id);
    replicas_remove(&store->replicas, r);
    store_on_replica_gone(store);
    replica_free(r);
}

static void begin_edit(struct replica *r)
{
    struct replica_removal *removal = r->removal;
    uint8_t local[2 * RANGE_LOCAL_KEY_LEN];
    struct lsm_span excise[2];
    struct lsm_batch puts;
    size_t count = 0;
    struct range_span span = range_local_span(r->replica_id, local);
    excise[count++] = (struct lsm_span){span.start, span.end};
    if (r->range != NULL) {
        span = range_descriptor_span(range_descriptor(r->range));
        excise[count++] = (struct lsm_span){span.start, span.end};
    }
    lsm_batch_init(&puts);
    tombstone_put(&puts, &r->store->tombstones, r->range_id);
    tombstone_put_gone(&puts, r->replica_id);
    removal->edit = (struct lsm_edit_op){
        .data = r,
        .excise = excise,
        .excise_count = count,
        .puts = &puts,
        .freeze = true, /* its own meta may be unflushed */
        .cb = on_edited,
    };
    int rv = lsm_edit(r->store->lsm, &removal->edit);
    if (rv == 0)
        removal->state = REMOVAL_EDITING;
    lsm_batch_fini(&puts);
}

void replica_removal_turn(struct replica *r)
{
    ASSERT(r->state == REPLICA_REMOVING);
    ASSERT(r->removal != NULL);
    replica_end(r); /* whoever came to wait since, too */
    if (r->removal->state == REMOVAL_EDITING)
        return;
    if (replica_is_quiet(r))
        begin_edit(r);
    if (r->removal->state == REMOVAL_QUIESCE)
        env_timer_start(&r->timer, (uint64_t)STORE_TICK_MS * 1000);
}
