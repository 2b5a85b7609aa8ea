/* SPDX-License-Identifier: Apache-2.0 */
#include "store/watch.h"

#include <stdlib.h>

#include "net/net_client.h"
#include "store/service.h"
#include "store/store_internal.h"

/* One allocation with its keys. */
struct watch_op {
    struct list in_ops; /* the replica's, waiting or reading */
    struct replica *replica;
    struct answer_to to;
    uint64_t until_us;
    uint64_t span_epoch; /* of the range when it came */
    bool is_held;        /* there was something to tell, and its client did not read */
    struct range_changes changes;
    uint8_t keys[]; /* start, end */
};

void watches_init(struct watches *watches)
{
    *watches = (struct watches){
        .feeds = {.bytes_max = STORE_FEED_BYTES, .range_bytes_max = STORE_FEED_RANGE_BYTES},
    };
    map_init(&watches->by_client);
    list_init(&watches->replicas);
}

void watches_fini(struct watches *watches)
{
    ASSERT(watches->count == 0);
    map_fini(&watches->by_client);
}

void watch_init(struct replica *r)
{
    list_init(&r->watches.in_watched);
    list_init(&r->watches.waiting);
    list_init(&r->watches.reading);
}

/* ---- counting ------------------------------------------------------------------------- */

static uintptr_t count_of(const struct watches *watches, uint64_t client)
{
    return (uintptr_t)map_get(&watches->by_client, client);
}

/* One that waits here is not among those for which its connection is not read. */
static int count_in(struct replica *r, uint64_t client)
{
    struct watches *watches = &r->store->watches;
    uintptr_t count = count_of(watches, client);
    if (watches->count >= STORE_WATCHES_MAX || count >= STORE_CLIENT_WATCHES_MAX)
        return ERR_BUSY;
    int rv = map_put(&watches->by_client, client, (void *)(count + 1));
    if (rv != 0)
        return rv;
    watches->count++;
    r->watches.count++;
    net_client_park(r->store->net, client);
    return 0;
}

static void count_out(struct replica *r, uint64_t client)
{
    struct watches *watches = &r->store->watches;
    uintptr_t count = count_of(watches, client);
    ASSERT(count > 0 && watches->count > 0 && r->watches.count > 0);
    if (count == 1)
        map_remove(&watches->by_client, client);
    else
        map_put(&watches->by_client, client, (void *)(count - 1)); /* it has its place */
    watches->count--;
    r->watches.count--;
}

/* ---- the way out ------------------------------------------------------------------------- */

static void op_free(struct watch_op *op)
{
    ASSERT(!list_is_linked(&op->in_ops));
    range_changes_fini(&op->changes);
    free(op);
}

/* Nobody is there to be answered. */
static void op_drop(struct watch_op *op)
{
    count_out(op->replica, op->to.client);
    op_free(op);
}

static void answer_page(struct store *store, const struct answer_to *to, uint64_t range_id,
                        int status, const struct range_changes *changes)
{
    struct response response = {
        .status = status,
        .kind = REQUEST_WATCH,
        .watch = {.version = changes->version, .range_id = range_id},
    };
    if (status == ERR_VERSION_GONE) {
        response.text = slice_str("changes from before that version are not kept any more");
    } else {
        response.watch.changes =
            (struct pack_list){.count = changes->count, .raw = buf_slice(&changes->changes)};
        response.watch.has_more = changes->has_more;
        response.watch.cursor = buf_slice(&changes->cursor);
        response.watch.cursor_version = changes->cursor_version;
        response.watch.is_range_end = changes->is_range_end;
    }
    service_answer(store, to, &response);
}

static void op_finish(struct watch_op *op, int status, const char *text)
{
    struct replica *r = op->replica;
    count_out(r, op->to.client);
    net_client_unpark(r->store->net, op->to.client);
    if (status == 0 || status == ERR_VERSION_GONE)
        answer_page(r->store, &op->to, r->range_id, status, &op->changes);
    else
        service_answer_status(r->store, &op->to, status, text);
    op_free(op);
}

/* ---- looking ------------------------------------------------------------------------------ */

/* Is there something to tell, or a reason not to wait for it? */
static bool is_worth_telling(const struct watch_op *op, uint64_t now_us)
{
    const struct range_changes *c = &op->changes;
    return c->count > 0 || c->has_more || (c->upto > 0 && c->version >= c->upto) ||
           now_us >= op->until_us;
}

static void op_looked(struct watch_op *op, int status)
{
    struct replica *r = op->replica;
    struct range_changes *c = &op->changes;
    if (status != 0 && status != ERR_VERSION_GONE) {
        if (status == ERR_CORRUPT || status == ERR_IO)
            LOG_ERROR(r->store->logger, "watch_failed", "range=%llu error=\"%s\"",
                      (unsigned long long)r->range_id, c->err.msg);
        op_finish(op, status, c->err.code != 0 ? c->err.msg : NULL);
        return;
    }
    if (status != 0 || is_worth_telling(op, env_now_us(r->store->env))) {
        op_finish(op, status, NULL);
        return;
    }
    if (!replica_is_leader(r)) {
        op_finish(op, ERR_NOT_LEADER, NULL);
        return;
    }
    ASSERT(c->version >= c->after);
    c->after = c->version; /* there was nothing: it is known up to here */
    list_push_back(&r->watches.waiting, &op->in_ops);
}

static void on_changes(struct range_changes *changes, int status)
{
    struct watch_op *op = changes->data;
    struct replica *r = op->replica;
    list_remove(&op->in_ops);
    if (status == ERR_CORRUPT && r->cons != NULL &&
        cons_config_voters(consensus_config(r->cons, NULL)) > 1)
        replica_damage(r, "read of changes", &changes->err);
    op_looked(op, status);
    watch_on_applied(r); /* meanwhile, perhaps */
    replica_wake(r);
}

/* Does so much wait for this client already that a page would only pile up? */
static bool is_clogged(const struct watch_op *op)
{
    const struct store *store = op->replica->store;
    return net_client_pending(store->net, op->to.client) > store->opt.reply_bytes_max / 2;
}

static void op_look(struct watch_op *op)
{
    struct replica *r = op->replica;
    if (!replica_is_leader(r)) {
        op_finish(op, ERR_NOT_LEADER, NULL);
        return;
    }
    if (range_descriptor(r->range)->epoch.span != op->span_epoch) {
        op_finish(op, ERR_RANGE_CHANGED, NULL);
        return;
    }
    op->is_held = is_clogged(op);
    if (op->is_held) {
        list_push_back(&r->watches.waiting, &op->in_ops);
        return;
    }
    range_feed_open(r->range, &r->store->watches.feeds); /* without, the engine is read */
    int rv = range_changes_start(r->range, &op->changes);
    if (rv == ERR_WOULD_BLOCK)
        list_push_back(&r->watches.reading, &op->in_ops);
    else
        op_looked(op, rv);
}

/* ---- the way in ---------------------------------------------------------------------------- */

static void fill(struct watch_op *op, const struct request_watch *w)
{
    struct range_changes *c = &op->changes;
    range_changes_init(c);
    c->data = op;
    c->cb = on_changes;
    c->keyspace = w->keyspace;
    if (w->start.len > 0)
        memcpy(op->keys, w->start.data, w->start.len);
    if (w->end.len > 0)
        memcpy(op->keys + w->start.len, w->end.data, w->end.len);
    c->start = slice_of(op->keys, w->start.len);
    c->end = slice_of(op->keys + w->start.len, w->end.len);
    c->after = w->after;
    c->upto = w->upto;
    c->limit_bytes = MIN(w->limit_bytes, (uint32_t)STORE_WATCH_PAGE_MAX);
    if (c->limit_bytes == 0)
        c->limit_bytes = STORE_WATCH_PAGE_MAX;
}

static void note_asked(struct replica *r)
{
    r->watches.asked_us = env_now_us(r->store->env);
    if (!list_is_linked(&r->watches.in_watched))
        list_push_back(&r->store->watches.replicas, &r->watches.in_watched);
}

void watch_on_request(struct replica *r, const struct answer_to *to, const struct request *request)
{
    const struct request_watch *w = &request->watch;
    struct store *store = r->store;
    uint64_t wait_ms = MIN(w->wait_ms, (uint32_t)STORE_WATCH_WAIT_MAX_MS);
    struct watch_op *op = calloc(1, sizeof *op + w->start.len + w->end.len);
    int rv = op == NULL ? ERR_BUSY : count_in(r, to->client);
    if (rv != 0) {
        free(op);
        service_answer_status(store, to, ERR_BUSY, "too many watches are waiting here");
        return;
    }
    op->replica = r;
    op->to = *to;
    op->until_us = MIN(env_now_us(store->env) + wait_ms * 1000, to->deadline_us);
    op->span_epoch = range_descriptor(r->range)->epoch.span;
    list_init(&op->in_ops);
    fill(op, w);
    note_asked(r);
    op_look(op);
    replica_wake(r); /* its timer */
}

void watch_answer_now(struct replica *r, const struct answer_to *to,
                      const struct request_watch *request)
{
    struct range_changes changes;
    range_feed_open(r->range, &r->store->watches.feeds); /* the next request is not far */
    note_asked(r);
    range_changes_init(&changes);
    changes.keyspace = request->keyspace;
    changes.start = request->start;
    changes.end = request->end;
    int rv = range_changes_now(r->range, &changes);
    if (rv == 0)
        answer_page(r->store, to, r->range_id, 0, &changes);
    else
        service_answer_status(r->store, to, rv, changes.err.code != 0 ? changes.err.msg : NULL);
    range_changes_fini(&changes);
}

/* ---- time --------------------------------------------------------------------------------- */

static void look_at_all(struct replica *r)
{
    struct list again;
    struct list *link;
    list_init(&again);
    while ((link = list_pop_front(&r->watches.waiting)) != NULL)
        list_push_back(&again, link);
    while ((link = list_pop_front(&again)) != NULL)
        op_look(list_entry(link, struct watch_op, in_ops));
}

void watch_turn(struct replica *r)
{
    if (!r->watches.is_moved)
        return;
    r->watches.is_moved = false;
    look_at_all(r);
}

/* Range time stands still where nobody writes: move it, before the place that watchers
 * have reached falls behind the safe point of the next write. */
bool watch_time_is_old(const struct replica *r, uint64_t wall_ms)
{
    const struct range_meta *meta = range_meta(r->range);
    uint64_t after_ms =
        MIN(meta->retention_ms / STORE_WATCH_STAMP_PART, (uint64_t)STORE_WATCH_STAMP_MS);
    return wall_ms > meta->time_ms + MAX(after_ms, (uint64_t)STORE_WATCH_STAMP_MIN_MS);
}

static void move_time(struct replica *r)
{
    uint64_t wall_ms = env_wall_ms(r->store->env);
    if (r->proposal_count > 0 || !watch_time_is_old(r, wall_ms))
        return;
    r->needs_stamp = true;
    r->stamp_ms = MAX(r->stamp_ms, wall_ms);
    replica_wake(r);
}

void watch_tick(struct replica *r, uint64_t now_us)
{
    if (!list_is_linked(&r->watches.in_watched))
        return;
    bool is_due = false;
    LIST_FOREACH(it, &r->watches.waiting)
    {
        const struct watch_op *op = list_entry(it, struct watch_op, in_ops);
        is_due = is_due || op->until_us <= now_us || (op->is_held && !is_clogged(op));
    }
    if (is_due)
        look_at_all(r);
    if (r->watches.count > 0 && replica_is_leader(r))
        move_time(r);
    bool is_over = now_us > r->watches.asked_us + (uint64_t)STORE_FEED_KEPT_MS * 1000;
    if (r->watches.count > 0 || (!is_over && replica_is_leader(r)))
        return;
    if (r->range != NULL)
        range_feed_close(r->range);
    list_remove(&r->watches.in_watched);
}

/* ---- the end ------------------------------------------------------------------------------- */

void watch_fail_all(struct replica *r, int status)
{
    struct list *link;
    while ((link = list_pop_front(&r->watches.waiting)) != NULL)
        op_finish(list_entry(link, struct watch_op, in_ops), status, NULL);
}

void watch_on_client_gone(void *data, uint64_t client)
{
    struct store *store = data;
    if (count_of(&store->watches, client) == 0)
        return;
    LIST_FOREACH(it, &store->watches.replicas)
    {
        struct replica_watches *w = list_entry(it, struct replica_watches, in_watched);
        LIST_FOREACH(at, &w->waiting)
        {
            struct watch_op *op = list_entry(at, struct watch_op, in_ops);
            if (op->to.client != client)
                continue;
            list_remove(&op->in_ops);
            op_drop(op);
        }
    }
}

void watch_free(struct replica *r)
{
    struct list *link;
    while ((link = list_pop_front(&r->watches.waiting)) != NULL ||
           (link = list_pop_front(&r->watches.reading)) != NULL)
        op_drop(list_entry(link, struct watch_op, in_ops));
    list_remove(&r->watches.in_watched);
}
