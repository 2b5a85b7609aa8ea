/* SPDX-License-Identifier: Apache-2.0
 *
 * The apply pump: committed entries to the state machine, in order, a bounded
 * number a turn. See the picture in replica.h.
 */
#include <stdlib.h>

#include "range/admin.h"
#include "store/check.h"
#include "store/service.h"
#include "store/store_internal.h"
#include "store/watch.h"

_Static_assert((int)CONS_MEMBERS_MAX == (int)RANGE_REPLICAS_MAX,
               "what the group takes for members, a range has places for");

enum {
    APPLY_ENTRIES_MAX = 1024,   /* in one run of the pump */
    APPLY_BYTES_MAX = 4 << 20,  /* of them */
    APPLY_READ_BYTES = 1 << 20, /* of one read from disk */
    APPLY_READ_ENTRIES = 4096,
    APPLY_RETRY_US = 10 * 1000,
    APPLY_PUT_OFF_MAX = 4, /* entries */
};

static uint64_t apply_limit(const struct replica *r)
{
    switch (r->state) {
    case REPLICA_REPLAYING:
        return r->replay_to;
    case REPLICA_RUNNING:
        return r->cons == NULL ? 0 : consensus_apply_limit(r->cons);
    case REPLICA_ABSORBED:
        return r->absorbed.to_index;
    default:
        return 0;
    }
}

static uint64_t applied_index(const struct replica *r)
{
    return r->range == NULL ? 0 : range_meta(r->range)->applied_index;
}

static void on_result(void *data, uint32_t position, const struct command_result *result)
{
    struct proposal *p = data;
    ASSERT(position < p->count);
    struct write_op *op = p->by_position[position];
    if (op == NULL)
        return; /* answered as undetermined when its deadline passed */
    p->by_position[position] = NULL;
    replica_write_answer_result(p->replica, op, result);
}

static int apply_command(struct replica *r, uint64_t index, const struct raftlog_entry *e,
                         struct err *err)
{
    struct proposal *p = replica_proposal_at(r, index, e->term);
    struct range_sink sink = {.data = p, .on_result = on_result};
    int rv = range_apply(r->range, index, e->term, e->data, p == NULL ? NULL : &sink, err);
    if (rv == 0 && range_wants_digest(r->range))
        check_begin(r);
    if (rv == 0 && p != NULL)
        replica_proposal_done(r, p);
    return rv;
}

/* Whom the new configuration does not name any more; its id is 0 if it names all. */
static struct range_replica removed_by(const struct replica *r, const struct cons_config *config)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (cons_config_find(config, d->replicas[i].replica_id) == NULL)
            return d->replicas[i];
    }
    return (struct range_replica){0};
}

static int apply_change(struct replica *r, uint64_t index, const struct raftlog_entry *e,
                        struct proposal *p, struct err *err)
{
    struct cons_config config;
    struct range_replica replicas[RANGE_REPLICAS_MAX];
    int rv = cons_config_decode(e->data, &config, err);
    if (rv != 0)
        return rv;
    ASSERT(config.n <= RANGE_REPLICAS_MAX);
    for (uint32_t i = 0; i < config.n; i++) {
        replicas[i] = (struct range_replica){
            .replica_id = config.members[i].replica_id,
            .store_id = config.members[i].store_id,
            .role = config.members[i].role == CONS_VOTER ? RANGE_ROLE_VOTER : RANGE_ROLE_LEARNER,
        };
    }
    struct range_replica removed = removed_by(r, &config);
    rv = range_apply_change(r->range, index, e->term, e->data, replicas, config.n, err);
    if (rv != 0)
        return rv;
    if (removed.replica_id != 0 && removed.replica_id != r->replica_id && replica_is_leader(r))
        strangers_tell_gone(r, removed.replica_id, removed.store_id);
    r->is_no_member = range_descriptor_find(range_descriptor(r->range), r->replica_id) == NULL;
    if (p != NULL)
        replica_admin_done(r, p, 0, NULL);
    return 0;
}

static int apply_entry(struct replica *r, uint64_t index, const struct raftlog_entry *e,
                       struct err *err)
{
    ASSERT(index == applied_index(r) + 1);
    if (e->type == CONS_COMMAND && range_admin_is(e->data))
        return replica_apply_admin(r, index, e->term, e->data, err);
    if (e->type == CONS_COMMAND)
        return apply_command(r, index, e, err);
    struct proposal *p = replica_proposal_at(r, index, e->term);
    if (e->type == CONS_CHANGE)
        return apply_change(r, index, e, p, err);
    ASSERT(p == NULL);
    range_apply_barrier(r->range, index, e->term);
    return 0;
}

static void on_prefetched(void *data, int status, const struct err *err)
{
    struct replica *r = data;
    ASSERT(r->apply == APPLY_PREFETCH);
    r->apply = APPLY_IDLE;
    if (status != 0 && status != ERR_NOMEM) {
        replica_damage(r, "read for apply", err);
        return;
    }
    replica_apply_wake(r);
}

void replica_apply_stall(struct replica *r)
{
    r->apply = APPLY_STALLED;
    env_timer_start(&r->apply_retry, APPLY_RETRY_US);
}

/* The entry could not be applied: arrange for another try, or give the replica up. */
static void handle_apply_error(struct replica *r, int rv, const struct err *err)
{
    switch (rv) {
    case ERR_WOULD_BLOCK:
        r->apply = APPLY_PREFETCH;
        if (range_prefetch(r->range, on_prefetched, r) != 0)
            replica_apply_stall(r);
        return;
    case ERR_BUSY:
    case ERR_NOMEM:
        replica_apply_stall(r);
        return;
    default: {
        struct err note = *err;
        err_wrap(&note, rv, "entry %llu", (unsigned long long)applied_index(r) + 1);
        replica_damage(r, "apply", &note);
    }
    }
}

static void on_log_read(struct raftlog_read *op)
{
    struct replica *r = op->data;
    ASSERT(r->apply == APPLY_LOG_READ);
    r->apply = APPLY_IDLE;
    if (op->status == ERR_NOMEM) {
        raftlog_read_fini(op);
        replica_apply_stall(r);
        return;
    }
    if (op->status != 0) {
        replica_damage(r, "read the log", &op->err);
        return;
    }
    r->has_apply_read = true;
    replica_apply_wake(r);
}

void replica_apply_shrink(struct replica *r)
{
    if (r->apply_read != NULL)
        raftlog_read_fini(r->apply_read);
    free(r->apply_read);
    r->apply_read = NULL;
    r->has_apply_read = false;
}

static void start_log_read(struct replica *r, uint64_t first, uint64_t limit)
{
    ASSERT(first <= limit);
    replica_apply_shrink(r);
    r->apply_read = malloc(sizeof *r->apply_read);
    if (r->apply_read == NULL) {
        handle_apply_error(r, ERR_NOMEM, NULL);
        return;
    }
    *r->apply_read = (struct raftlog_read){
        .data = r,
        .group = r->replica_id,
        .first = first,
        .last = MIN(limit, first + APPLY_READ_ENTRIES - 1),
        .bytes_max = APPLY_READ_BYTES,
        .cb = on_log_read,
    };
    int rv = raftlog_read(r->store->log, r->apply_read);
    if (rv == 0) {
        r->apply = APPLY_LOG_READ;
        return;
    }
    struct err err = {0};
    err_set(&err, rv, "entry %llu is not in the log", (unsigned long long)first);
    handle_apply_error(r, rv == ERR_NOMEM ? ERR_NOMEM : ERR_CORRUPT, &err);
}

/* The next entry, from what was read from disk or from the cache. False: wait. */
static bool next_entry(struct replica *r, uint64_t index, uint64_t limit, struct raftlog_entry *ret)
{
    const struct raftlog_read *read = r->apply_read;
    if (r->has_apply_read && index >= read->first && index - read->first < read->n) {
        *ret = read->entries[index - read->first];
        return true;
    }
    int rv = raftlog_get(r->store->log, r->replica_id, index, ret);
    if (rv == 0)
        return true;
    start_log_read(r, index, limit);
    return false;
}

static void confirm_applied(struct replica *r, uint64_t before)
{
    uint64_t now_applied = applied_index(r);
    if (r->state != REPLICA_RUNNING || r->cons == NULL || now_applied <= before)
        return;
    consensus_on_applied(r->cons, replica_now_ms(r), now_applied);
}

static void finish_replay(struct replica *r)
{
    if (r->state == REPLICA_REPLAYING && r->apply == APPLY_IDLE && applied_index(r) >= r->replay_to)
        replica_on_replayed(r);
}

/* It is where its new owner wants it, or a step nearer. */
static void wake_absorber(struct replica *r)
{
    struct replica *by = replicas_of_range(&r->store->replicas, r->absorbed.by_range);
    replica_wake(r);
    if (by != NULL && r->apply == APPLY_IDLE)
        replica_on_stall(by);
}

/* The leader and its clients wait for a follower to have an entry in its log, and for nobody to
 * apply it. So while one is on its way to the disk, few are left for later: the acknowledgement
 * finds the loop idle, and apply has the time in which the others are busy. */
static bool may_put_off(const struct replica *r, uint64_t limit)
{
    return r->state == REPLICA_RUNNING && !replica_is_leader(r) && r->read_count == 0 &&
           !list_is_empty(&r->log_writes) && limit - applied_index(r) <= APPLY_PUT_OFF_MAX;
}

static void pump_run(struct env_task *task)
{
    struct replica *r = task->data;
    uint64_t limit = apply_limit(r);
    uint64_t before = applied_index(r);
    if (limit > before && may_put_off(r, limit))
        limit = before; /* log_write_done() comes back here */
    size_t bytes = 0;
    for (int n = 0; r->apply == APPLY_IDLE && applied_index(r) < limit; n++) {
        struct raftlog_entry e;
        struct err err = {0};
        uint64_t index = applied_index(r) + 1;
        if (n == APPLY_ENTRIES_MAX || bytes >= APPLY_BYTES_MAX) {
            replica_apply_wake(r);
            break;
        }
        if (!next_entry(r, index, limit, &e))
            break;
        int rv = apply_entry(r, index, &e, &err);
        if (rv != 0) {
            handle_apply_error(r, rv, &err);
            break;
        }
        bytes += e.data.len;
    }
    if (r->state == REPLICA_ABSORBED)
        wake_absorber(r);
    if (r->state == REPLICA_DAMAGED || r->state == REPLICA_REMOVING || r->state == REPLICA_ABSORBED)
        return;
    if (applied_index(r) > before)
        watch_on_applied(r);
    confirm_applied(r, before);
    finish_replay(r);
    snapshot_in_on_quiet(r);
    replica_wake(r);
}

static void retry_fired(struct env_timer *timer)
{
    struct replica *r = timer->data;
    if (r->apply == APPLY_STALLED)
        r->apply = APPLY_IDLE;
    replica_apply_wake(r);
}

void replica_on_stall(struct replica *r)
{
    if (r->apply == APPLY_STALLED) {
        env_timer_stop(&r->apply_retry);
        r->apply = APPLY_IDLE;
    }
    replica_apply_wake(r);
}

void replica_apply_wake(struct replica *r)
{
    if (r->state != REPLICA_DAMAGED && r->state != REPLICA_REMOVING && r->state != REPLICA_MERGED)
        env_task_post_late(r->store->env, &r->pump);
}

void replica_apply_init(struct replica *r)
{
    env_task_init(&r->pump, pump_run, r);
    env_timer_init(&r->apply_retry, r->store->env, retry_fired, r);
}

void replica_apply_free(struct replica *r)
{
    env_task_cancel(&r->pump); /* the world may go on without this replica */
    env_timer_stop(&r->apply_retry);
    replica_apply_shrink(r);
}
