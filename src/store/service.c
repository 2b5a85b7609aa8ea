/* SPDX-License-Identifier: Apache-2.0 */
#include "store/service.h"

#include <stdlib.h>

#include "base/pages.h"
#include "base/plant.h"
#include "net/net_client.h"
#include "store/merge.h"
#include "store/store_internal.h"
#include "store/watch.h"
#include "wire/frame.h"

enum {
    ROWS_ALONE = 32 << 10, /* bytes of rows for which the room of an answer is made at once … */
    AROUND_ROWS = 256,     /* … with what stands around them: a cursor, if any, makes it grow */
    RESULT_KEPT = 4096,    /* bytes of the buffer that results are encoded in */
};

/* ---- answers ------------------------------------------------------------------- */

static void fill_leader(const struct store *store, uint64_t range_id, struct leader_hint *ret)
{
    const struct replica *r = replicas_of_range(&store->replicas, range_id);
    uint64_t store_id = 0;
    uint64_t leader = 0;
    if (r != NULL)
        leader = sleep_leader(r, &store_id);
    if (leader == 0 && range_id == RANGE_ID_SYSTEM) { /* by hearsay, then */
        store_id = beats_leader(store);
        leader = STORE_SYSTEM_REPLICA_ID;
    }
    const struct book_entry *e = book_find(&store->book, store_id);
    if (leader == 0 || e == NULL)
        return;
    *ret = (struct leader_hint){
        .replica_id = leader,
        .store_id = e->store_id,
        .address = slice_str(store_where(store, e)),
    };
}

/* Those that are over at once where all is well. */
static bool is_of_a_moment(enum request_kind kind)
{
    return kind == REQUEST_WRITE || kind == REQUEST_GET || kind == REQUEST_MULTI_GET ||
           kind == REQUEST_SCAN;
}

/* What took long is told with the trace id by which its client knows it, too: so many lines in a
 * second, and how many there would have been more. */
static void tell_slow(struct store *store, const struct answer_to *to, int status)
{
    uint64_t untold;
    if (store->opt.slow_request_ms == 0 || !is_of_a_moment(to->kind))
        return;
    uint64_t now_us = env_turn_us(store->env);
    uint64_t took_ms = (now_us - to->began_us) / 1000;
    if (took_ms < store->opt.slow_request_ms)
        return;
    bool may_tell = lines_take(&store->slow_lines, now_us, &untold);
    if (untold > 0)
        LOG_WARN(store->logger, "slow_requests_untold", "count=%llu", (unsigned long long)untold);
    if (!may_tell)
        return;
    LOG_WARN(store->logger, "slow_request", "trace=%016llx kind=%s range=%llu took_ms=%llu code=%s",
             (unsigned long long)to->trace_id, request_kind_name(to->kind),
             (unsigned long long)to->range_id, (unsigned long long)took_ms, err_name(status));
}

/* What was read for somebody took its time, whether it can be told or not. */
static size_t bytes_of_rows(const struct response *response)
{
    switch (response->kind) {
    case REQUEST_GET:
    case REQUEST_MULTI_GET:
    case REQUEST_SCAN:
        return response->rows.rows.raw.len;
    default:
        return 0;
    }
}

/* Counted is what was copied: the frame may be compressed. */
static void note_answered(struct store *store, size_t rows_len, size_t bytes)
{
    size_t cost = MAX(bytes, rows_len);
    store->answered_bytes += cost;
    store->large.answered += cost > FAIR_QUANTUM ? cost : 0;
}

void service_answer(struct store *store, const struct answer_to *to, struct response *response)
{
    struct net_reply reply;
    response->id = to->request_id;
    response->trace_id = to->trace_id;
    admit_answered(store, to);
    if (to->inner != NULL) {
        to->inner->cb(to->inner, response);
        return;
    }
    tell_slow(store, to, response->status);
    if (response->status == ERR_NOT_LEADER || response->kind == REQUEST_STATUS)
        fill_leader(store, to->range_id, &response->leader);
    if (net_client_reply_begin(store->net, to->client, &reply) != 0) {
        note_answered(store, bytes_of_rows(response), 0); /* it is gone: fine */
        return;
    }
    if (bytes_of_rows(response) >= ROWS_ALONE) /* at once, and no more: large memory is dear */
        buf_reserve(reply.out, bytes_of_rows(response) + AROUND_ROWS);
    size_t start = frame_begin(reply.out);
    response_encode(reply.out, response);
    frame_end(reply.out, start, true);
    note_answered(store, bytes_of_rows(response), net_client_reply_end(&reply));
}

/* A first_sent that the range would take for that of a first sending: its own time where that
 * is ahead of the clock, and behind its floor whatever the time. */
static uint64_t time_for_stamps(const struct store *store, const struct replica *r)
{
    uint64_t wall_ms = env_turn_wall_ms(store->env);
    if (r == NULL || r->range == NULL)
        return wall_ms;
    const struct range_meta *meta = range_meta(r->range);
    return MAX(wall_ms, MAX(meta->time_ms, meta->floor_ms + 1));
}

void service_answer_status(struct store *store, const struct answer_to *to, int status,
                           const char *text)
{
    struct response response;
    response_init(&response, status == 0 ? to->kind : 0);
    response.status = status;
    if (text != NULL)
        response.text = slice_of(text, MIN(strlen(text), (size_t)TEXT_MAX));
    if (status == ERR_BUSY)
        response.retry_after_ms = STORE_RETRY_MS;
    if (status == ERR_SESSION_EXPIRED)
        response.time_ms =
            time_for_stamps(store, replicas_of_range(&store->replicas, to->range_id));
    service_answer(store, to, &response);
}

void service_answer_busy(struct store *store, const struct answer_to *to, uint32_t retry_after_ms,
                         const char *text)
{
    struct response response = {
        .status = ERR_BUSY, .text = slice_str(text), .retry_after_ms = retry_after_ms};
    service_answer(store, to, &response);
}

void service_answer_write(struct store *store, const struct answer_to *to,
                          const struct command_result *result)
{
    struct buf raw = store->result; /* ours until it is put back: an answer may lead to another */
    buf_init(&store->result, FRAME_BODY_MAX - RESPONSE_AROUND_MAX);
    command_result_encode(&raw, result);
    struct response response;
    response_init(&response, REQUEST_WRITE);
    response.status = raw.failed ? ERR_NOMEM : result->status;
    response.write.result = buf_slice(&raw);
    if (response.status == ERR_SESSION_EXPIRED)
        response.time_ms =
            time_for_stamps(store, replicas_of_range(&store->replicas, to->range_id));
    if (raw.failed) /* it is applied: without its result, all that can be said is this */
        service_answer_status(store, to, ERR_UNDETERMINED, "out of memory for the result");
    else
        service_answer(store, to, &response);
    if (raw.failed || raw.cap > RESULT_KEPT || store->result.cap > 0) {
        buf_fini(&raw);
        return;
    }
    buf_clear(&raw);
    store->result = raw;
}

void service_answer_stored(struct store *store, const struct answer_to *to, struct slice result)
{
    struct op_result ops[SESSION_RESULT_MAX];
    struct command_result decoded;
    if (command_result_decode(result, ops, ARRAY_LEN(ops), &decoded, NULL) != 0) {
        service_answer_status(store, to, ERR_CORRUPT, "the stored result of this session");
        return;
    }
    struct response response = {
        .status = decoded.status, .kind = REQUEST_WRITE, .write = {.result = result}};
    service_answer(store, to, &response);
}

static void fill_rows(struct response *response, enum request_kind kind,
                      const struct range_read *read)
{
    response_init(response, kind);
    response->rows = (struct response_rows){
        .rows = {.count = read->row_count, .raw = buf_slice(&read->rows)},
        .version = read->version,
        .has_more = read->has_more,
        .cursor = buf_slice(&read->cursor),
        .is_range_end = read->is_range_end,
    };
}

void service_answer_read(struct store *store, const struct answer_to *to, enum request_kind kind,
                         const struct range_read *read)
{
    struct response response;
    fill_rows(&response, kind, read);
    service_answer(store, to, &response);
}

int service_make_read(struct buf *out, const struct answer_to *to, enum request_kind kind,
                      const struct range_read *read)
{
    struct response response;
    ASSERT(to->inner == NULL && out->cap == 0);
    fill_rows(&response, kind, read);
    response.id = to->request_id;
    response.trace_id = to->trace_id;
    buf_init(out, FRAME_PREFIX_LEN + 2 * (size_t)FRAME_BODY_MAX); /* while it is compressed */
    buf_reserve(out, read->rows.len + read->cursor.len + AROUND_ROWS);
    size_t start = frame_begin(out);
    response_encode(out, &response);
    frame_end(out, start, true);
    if (out->failed)
        return ERR_NOMEM;
    if (out->len <= out->cap / 2)
        buf_fit(out); /* what waits for a client is counted by its length */
    return 0;
}

void service_answer_made(struct store *store, const struct answer_to *to, struct buf *made,
                         size_t rows_len)
{
    ASSERT(to->inner == NULL && made->len > 0);
    admit_answered(store, to);
    tell_slow(store, to, 0);
    note_answered(store, rows_len, net_client_reply_take(store->net, to->client, made));
}

void service_answer_gone(struct store *store, const struct answer_to *to, enum request_kind kind,
                         const struct range_read *read)
{
    struct response response = {
        .status = ERR_VERSION_GONE,
        .text = slice_str(read->err.msg),
        .kind = kind,
        .rows = {.version = read->version, .is_range_end = read->is_range_end},
    };
    service_answer(store, to, &response);
}

/* ---- requests --------------------------------------------------------------------- */

/* Does the store serve data now? If not, the answer is on its way. Of a damaged one those that are
 * whole do (is_out()), until they have handed over (care.c). */
static bool is_serving(struct store *store, const struct answer_to *to)
{
    switch (store->state) {
    case STORE_UNBORN:
        service_answer_status(store, to, ERR_STATE, "this store is not bootstrapped");
        return false;
    case STORE_REPLAYING:
        service_answer_status(store, to, ERR_NOT_LEADER, "this store is starting");
        return false;
    default:
        break;
    }
    if (store->drain.is_closing)
        service_answer_status(store, to, ERR_NOT_LEADER, "this store is stopping");
    return !store->drain.is_closing;
}

/* Where a request begins that does not name its range: a user key, of which there may be
 * none (the first or, downwards, the last of the keyspace). */
struct place {
    uint32_t keyspace;
    struct slice key;
    bool is_below; /* at the keys below it */
};

static struct replica *replica_at(const struct store *store, const struct place *place)
{
    uint8_t raw[DESCRIPTOR_CUT_MAX], below[DESCRIPTOR_CUT_MAX];
    bool is_at_end = place->is_below && place->key.len == 0;
    if (place->key.len > KEY_WIRE_MAX)
        return NULL;
    /* The end of a keyspace is the start of the next; there is none behind the last. */
    size_t len = range_user_key(place->keyspace, place->key, raw);
    if (is_at_end)
        len = range_keyspace_end(place->keyspace, raw);
    struct slice key = slice_of(raw, len);
    if (place->is_below)
        key = descriptor_key_below(key, below);
    return replicas_at_key(&store->replicas, key);
}

/* The replica that the request names, or where it begins; NULL: not here. */
static struct replica *named_replica(const struct store *store, const struct request *request,
                                     const struct place *place)
{
    if (request->range_id != 0)
        return replicas_of_range(&store->replicas, request->range_id);
    return replica_at(store, place);
}

/* Damaged, or of a damaged store, and not one of those that are whole? */
static bool is_out(const struct store *store, const struct replica *r)
{
    return (r != NULL && r->state == REPLICA_DAMAGED) ||
           (store->state == STORE_DAMAGED && (r == NULL || r->state != REPLICA_RUNNING));
}

static void note_key(struct replica *r, const struct place *place)
{
    uint8_t raw[RANGE_USER_KEY_PREFIX + KEY_WIRE_MAX];
    if (place->key.len == 0 || place->key.len > KEY_WIRE_MAX || !replica_wants_key(r))
        return;
    replica_note_key(r, slice_of(raw, range_user_key(place->keyspace, place->key, raw)));
}

/* The replica that may answer for data, or NULL and the answer is on its way. `may_follow`:
 * it need not lead. */
static struct replica *data_replica(struct store *store, struct answer_to *to,
                                    const struct request *request, const struct place *place,
                                    bool may_follow)
{
    struct replica *r = named_replica(store, request, place);
    if (is_out(store, r)) {
        service_answer_status(store, to, ERR_UNAVAILABLE, "this store is damaged");
        return NULL;
    }
    if (r == NULL || r->range == NULL) {
        service_answer_status(store, to, ERR_RANGE_CHANGED, NULL);
        return NULL;
    }
    to->range_id = r->range_id;
    if (request->span_epoch != 0 && request->span_epoch != range_descriptor(r->range)->epoch.span) {
        service_answer_status(store, to, ERR_RANGE_CHANGED, NULL);
        return NULL;
    }
    if (!(may_follow && r->state == REPLICA_RUNNING) && !replica_leads(r)) {
        service_answer_status(store, to, ERR_NOT_LEADER, NULL);
        sleep_on_asked(r);
        return NULL;
    }
    bool is_lease_read = PLANTED(lease_over_merge) && request->kind == REQUEST_GET &&
                         request->get.read.consistency == READ_LEASE;
    if (merge_is_freezing(r) && !is_lease_read) {
        service_answer_status(store, to, ERR_RANGE_CHANGED, "the range is being merged");
        return NULL;
    }
    replica_note_request(r);
    note_key(r, place);
    return r;
}

static bool command_grows(const struct command *command)
{
    for (uint32_t i = 0; i < command->op_count; i++) {
        enum op_kind kind = command->ops[i].kind;
        if (kind != OP_DELETE && kind != OP_CHECK && kind != OP_FENCE)
            return true;
    }
    return false;
}

/* Is there room on this disk, and on those of a majority? Deletes go on longer than puts. */
static int check_space(const struct replica *r, const struct command *command, size_t len,
                       bool is_inner)
{
    struct store *store = r->store;
    enum watermark mark = MAX(store->mark, r->space);
    /* Range 1 is small, and what placement does there is the way out. */
    if (mark >= (is_inner ? WATERMARK_FULL : WATERMARK_READ_ONLY))
        return ERR_NO_SPACE;
    if (mark >= WATERMARK_NO_PUTS && command_grows(command) && !is_inner)
        return ERR_NO_SPACE;
    uint64_t queued = r->writes.bytes + len;
    if (!raftlog_is_starved(store->log))
        return 0; /* if the log's next file is not ready yet, writes wait in the queue */
    return raftlog_has_room(store->log, raftlog_append_cost(1, queued)) ? 0 : ERR_NO_SPACE;
}

static int space_refusal(const struct replica *r, int status, struct err *err)
{
    const struct store *store = r->store;
    if (r->space <= store->mark)
        return err_set(err, status, "the disk of store %llu is full",
                       (unsigned long long)store->opt.store_id);
    return err_set(err, status, "the disks of too many stores of the range are full");
}

/* Each range bounds its own table, and a store has many. Who is known goes on. */
static int check_session(const struct store *store, const struct replica *r,
                         const struct command *command, struct err *err)
{
    if (command->session == 0 || store->session_bytes < store->opt.sessions_bytes_max ||
        sessions_knows(&range_meta(r->range)->sessions, command->session))
        return 0;
    return err_set(err, ERR_BUSY,
                   "store %llu remembers as many sessions of clients as it may, %llu MiB: those "
                   "that nobody uses are forgotten in %d min",
                   (unsigned long long)store->opt.store_id,
                   (unsigned long long)(store->opt.sessions_bytes_max >> 20),
                   SESSION_KEEP_MS / 60000);
}

/* What would be refused at apply is refused here already, as a courtesy. */
static int check_write(struct store *store, struct replica *r, const struct command *command,
                       size_t len, bool is_inner, struct err *err)
{
    if (store->state == STORE_DRAINING)
        return ERR_NOT_LEADER;
    bool is_reserved = command->keyspace == RANGE_KEYSPACE_RESERVED ||
                       (command->keyspace == RANGE_KEYSPACE_SYSTEM && !is_inner);
    if (is_reserved)
        return err_set(err, ERR_INVALID, "keyspace %u is reserved", command->keyspace);
    uint64_t newest_ms = env_turn_wall_ms(store->env) + store->opt.max_clock_offset_ms;
    if (command->first_sent_ms > MAX(newest_ms, time_for_stamps(store, r)))
        return err_set(err, ERR_SESSION_EXPIRED, "first_sent is ahead of this store's clock");
    for (uint32_t i = 0; i < command->op_count; i++) {
        int rv = range_check_key(r->range, command->keyspace, command->ops[i].key);
        if (rv == 0)
            continue;
        if (i == 0)
            return rv;
        return err_set(err, ERR_UNSUPPORTED,
                       "the keys of this batch are in different ranges, which takes a "
                       "transaction: this version has none");
    }
    int rv = check_space(r, command, len, is_inner);
    if (rv != 0)
        return space_refusal(r, rv, err);
    return check_session(store, r, command, err);
}

/* A command of a session that was done here before is answered with what came of it, before
 * anybody looks at span, epoch or leader: it may have been done under older ones. */
static bool answer_repeat(struct store *store, const struct answer_to *to, const struct replica *r,
                          const struct command *command)
{
    struct slice stored;
    if (command->session == 0 || r == NULL || r->range == NULL || is_out(store, r) ||
        !range_find_session(r->range, command->session, command->sequence, &stored))
        return false;
    service_answer_stored(store, to, stored);
    return true;
}

static void on_write(struct store *store, struct answer_to *to, const struct request *request)
{
    struct slice raw = request->write.command;
    struct command command;
    struct err err;
    err_init(&err);
    if (!is_serving(store, to))
        return;
    int rv = command_decode(raw, &store->opt.limits, store->ops, COMMAND_OPS_MAX, &command, &err);
    if (rv != 0) { /* a malformed request is the client's mistake, not damage */
        service_answer_status(store, to, rv == ERR_CORRUPT ? ERR_INVALID : rv, err.msg);
        return;
    }
    struct place place = {.keyspace = command.keyspace, .key = command.ops[0].key};
    if (answer_repeat(store, to, named_replica(store, request, &place), &command))
        return;
    struct replica *r = data_replica(store, to, request, &place, false);
    if (r == NULL)
        return;
    r->load.requests++;
    r->load.write_bytes += raw.len;
    rv = check_write(store, r, &command, raw.len, to->inner != NULL, &err);
    struct write_op *op = rv == 0 ? pages_malloc(sizeof *op + raw.len) : NULL;
    if (rv == 0 && op == NULL)
        rv = ERR_BUSY;
    if (rv != 0) {
        service_answer_status(store, to, rv, err.code != 0 ? err.msg : NULL);
        return;
    }
    *op = (struct write_op){.to = *to, .first_sent_ms = command.first_sent_ms, .len = raw.len};
    op->only_term = to->inner == NULL ? 0 : to->inner->only_term;
    fair_item_init(&op->in_queue);
    list_init(&op->in_writes);
    memcpy(op->command, raw.data, raw.len);
    replica_write(r, op);
}

static int check_consistency(const struct store *store, const struct request_read *how,
                             struct err *err)
{
    if (how->consistency == READ_LEASE && !store->opt.has_leases)
        return err_set(err, ERR_UNSUPPORTED,
                       "lease reads are not enabled in this cluster (lease_reads)");
    if (how->consistency == READ_STALE && how->max_age_ms == 0)
        return err_set(err, ERR_INVALID, "a stale read says how old the data may be (max_age)");
    if (how->consistency == READ_AT && how->at_version == 0)
        return err_set(err, ERR_INVALID, "a read of the past says at which version");
    return 0;
}

static const struct request_read *how_to_read(const struct request *request)
{
    switch (request->kind) {
    case REQUEST_GET:
        return &request->get.read;
    case REQUEST_MULTI_GET:
        return &request->multi_get.read;
    default:
        ASSERT(request->kind == REQUEST_SCAN);
        return &request->scan.read;
    }
}

/* 0 stands for the most that is allowed. */
static uint32_t bounded(uint32_t asked, uint32_t most)
{
    return asked == 0 ? most : MIN(asked, most);
}

static void bound_page(const struct store *store, struct request_scan *scan)
{
    scan->limit_keys = bounded(scan->limit_keys, store->opt.scan_keys_max);
    scan->limit_bytes = bounded(scan->limit_bytes, store->opt.scan_bytes_max);
}

static struct place where_to_read(const struct request *request)
{
    struct place place = {.keyspace = how_to_read(request)->keyspace};
    if (request->kind == REQUEST_GET)
        place.key = request->get.key;
    if (request->kind == REQUEST_MULTI_GET && request->multi_get.keys.count > 0) {
        struct unpack cursor = unpack_of(request->multi_get.keys.raw);
        place.key = request_key_next(&cursor);
    }
    if (request->kind == REQUEST_SCAN) {
        place.is_below = request->scan.is_reverse;
        place.key = place.is_below ? request->scan.end : request->scan.start;
    }
    return place;
}

static void start_read(struct store *store, const struct answer_to *to, struct replica *r,
                       const struct request *request, struct slice body)
{
    struct read_op *op = pages_malloc(sizeof *op + body.len);
    if (op == NULL) {
        service_answer_status(store, to, ERR_BUSY, NULL);
        return;
    }
    op->to = *to;
    request_copy(&op->request, request);
    memcpy(op->body, body.data, body.len);
    request_rebase(&op->request, body.data, op->body);
    if (op->request.kind == REQUEST_SCAN)
        bound_page(store, &op->request.scan);
    replica_read(r, op);
}

static void on_read(struct store *store, struct answer_to *to, const struct request *request,
                    struct slice body)
{
    struct err err;
    struct place place = where_to_read(request);
    err_init(&err);
    if (!is_serving(store, to))
        return;
    const struct request_read *how = how_to_read(request);
    int rv = check_consistency(store, how, &err); /* the same on every store */
    if (rv == 0 && place.keyspace == RANGE_KEYSPACE_SYSTEM && to->inner == NULL)
        rv = err_set(&err, ERR_INVALID, "keyspace %u is reserved", place.keyspace);
    if (rv != 0) {
        service_answer_status(store, to, rv, err.msg);
        return;
    }
    bool may_follow = how->any_replica || how->consistency == READ_STALE;
    struct replica *r = data_replica(store, to, request, &place, may_follow);
    if (r == NULL)
        return;
    r->load.requests++;
    start_read(store, to, r, request, body);
}

static void on_watch(struct store *store, struct answer_to *to, const struct request *request,
                     struct slice body)
{
    const struct request_watch *watch = &request->watch;
    struct place place = {.keyspace = watch->keyspace, .key = watch->start};
    if (!is_serving(store, to))
        return;
    if (watch->keyspace == RANGE_KEYSPACE_SYSTEM && to->inner == NULL) {
        service_answer_status(store, to, ERR_INVALID, "this keyspace is reserved");
        return;
    }
    struct replica *r = data_replica(store, to, request, &place, false);
    if (r == NULL)
        return;
    if (watch->is_from_now)
        start_read(store, to, r, request, body);
    else
        watch_on_request(r, to, request);
}

static void describe(const struct store *store, struct answer_to *to, const struct request *request)
{
    to->request_id = request->id;
    to->trace_id = request->trace_id;
    to->kind = request->kind;
    to->began_us = env_turn_us(store->env);
    to->deadline_us = to->began_us + (uint64_t)request->timeout_ms * 1000;
}

/* Whoever asks: the answer comes once, now or later. */
void service_serve(struct store *store, struct answer_to *to, const struct request *request,
                   struct slice body)
{
    switch (request->kind) {
    case REQUEST_WRITE:
        on_write(store, to, request);
        break;
    case REQUEST_GET:
    case REQUEST_MULTI_GET:
    case REQUEST_SCAN:
        on_read(store, to, request, body);
        break;
    case REQUEST_WATCH:
        on_watch(store, to, request, body);
        break;
    default:
        admin_on_request(store, to, request);
        break;
    }
}

/* Of a later version, perhaps: it alone is refused, for there are others on its connection. What
 * has no id cannot be answered, and ends that. */
static int refuse_unread(struct store *store, uint64_t client, struct slice body, int rv,
                         struct err *err)
{
    struct request_head head;
    if (!request_head_decode(body, &head))
        return rv;
    struct answer_to to = {.client = client, .request_id = head.id, .trace_id = head.trace_id};
    if (request_kind_is_known(head.kind))
        service_answer_status(store, &to, ERR_INVALID, err->msg);
    else
        service_answer_status(store, &to, ERR_UNSUPPORTED, "no such kind of request is known here");
    err_init(err);
    return 0;
}

int service_on_request(void *data, uint64_t client, struct slice body, struct err *err)
{
    struct store *store = data;
    struct request request;
    int rv = request_decode(body, &request, err);
    if (rv != 0)
        return refuse_unread(store, client, body, rv, err);
    struct answer_to to = {.client = client};
    describe(store, &to, &request);
    if (admit_request(store, &to, &request, body))
        service_serve(store, &to, &request, body);
    return 0;
}

void service_on_client_drained(void *data, uint64_t client)
{
    replica_read_drained(data, client);
}

void service_on_client_gone(void *data, uint64_t client)
{
    watch_on_client_gone(data, client);
    admit_on_client_gone(data, client);
}

void inner_ask(struct store *store, struct inner_call *call, struct request *request)
{
    struct answer_to to = {.inner = call};
    struct request decoded;
    struct err err = {0};
    struct buf body;
    request->id = 1;
    buf_init(&body, FRAME_BODY_MAX);
    request_encode(&body, request);
    int rv = body.failed ? ERR_BUSY : request_decode(buf_slice(&body), &decoded, &err);
    if (rv == 0) {
        describe(store, &to, &decoded);
        service_serve(store, &to, &decoded, buf_slice(&body));
    } else {
        struct response response = {.id = 1, .status = rv, .text = slice_str(err.msg)};
        call->cb(call, &response);
    }
    buf_fini(&body);
}
