/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fake_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "wire/hello.h"

enum {
    RESULT_KEPT_MAX = 256,
    WATCH_WAIT_MS = 20,
    OPS_MAX = 64,     /* of a command whose range is asked for */
    PLACE_PREFIX = 5, /* in front of a user key on disk */
};

struct fake_conn {
    struct fake_store *store;
    struct env_conn *conn;
    struct frame_reader reader;
    struct list in_conns;
    bool is_greeted;
    bool is_closed; /* by us; freed when its handler returns */
};

/* An answer that waits for its time; dropped if its connection went first. */
struct fake_late {
    struct fake_conn *conn;
    struct env_timer timer;
    struct list in_late;
    uint8_t *bytes;
    size_t len;
};

/* ---- data ---------------------------------------------------------------------- */

static struct slice entry_key(const struct fake_entry *e)
{
    return slice_of(e->key, e->key_len);
}

static struct slice entry_value(const struct fake_entry *e)
{
    return slice_of(e->key + e->key_len, e->value_len);
}

static size_t seek(const struct fake_cluster *cluster, struct slice key)
{
    size_t i = 0;
    while (i < cluster->count && slice_compare(entry_key(&cluster->entries[i]), key) < 0)
        i++;
    return i;
}

static struct fake_entry *find(struct fake_cluster *cluster, struct slice key)
{
    size_t i = seek(cluster, key);
    if (i < cluster->count && slice_equal(entry_key(&cluster->entries[i]), key))
        return &cluster->entries[i];
    return NULL;
}

struct slice fake_cluster_get(struct fake_cluster *cluster, struct slice key)
{
    struct fake_entry *e = find(cluster, key);
    return e != NULL ? entry_value(e) : (struct slice){0};
}

static void drop(struct fake_cluster *cluster, struct slice key)
{
    struct fake_entry *e = find(cluster, key);
    if (e == NULL)
        return;
    size_t i = (size_t)(e - cluster->entries);
    free(e->key);
    memmove(e, e + 1, (cluster->count - i - 1) * sizeof *e);
    cluster->count--;
}

static void store_value(struct fake_cluster *cluster, struct slice key, struct slice value)
{
    uint8_t *bytes = malloc(key.len + value.len + 1);
    ASSERT(bytes != NULL);
    memcpy(bytes, key.data, key.len);
    if (value.len > 0)
        memcpy(bytes + key.len, value.data, value.len);
    drop(cluster, key);
    if (cluster->count == cluster->cap) {
        cluster->cap = MAX(cluster->cap * 2, (size_t)16);
        cluster->entries = realloc(cluster->entries, cluster->cap * sizeof *cluster->entries);
        ASSERT(cluster->entries != NULL);
    }
    struct slice copy = slice_of(bytes, key.len);
    size_t i = seek(cluster, copy);
    memmove(&cluster->entries[i + 1], &cluster->entries[i],
            (cluster->count - i) * sizeof *cluster->entries);
    cluster->entries[i] = (struct fake_entry){
        .key = bytes, .key_len = key.len, .value_len = value.len, .version = cluster->version};
    cluster->count++;
}

void fake_cluster_put(struct fake_cluster *cluster, struct slice key, struct slice value)
{
    cluster->version += 1 << 20;
    store_value(cluster, key, value);
}

/* ---- commands -------------------------------------------------------------------- */

static bool cond_holds(const struct op *op, const struct fake_entry *e)
{
    switch (op->cond) {
    case COND_ABSENT:
        return e == NULL;
    case COND_PRESENT:
        return e != NULL;
    case COND_VERSION:
        return e != NULL && e->version == op->cond_version;
    case COND_VALUE:
        return e != NULL && slice_equal(entry_value(e), op->cond_value);
    default:
        return true;
    }
}

/* `keep` holds copies of previous values until the result is encoded. */
static void op_apply(struct fake_cluster *cluster, const struct op *op, struct op_result *result,
                     struct buf *keep)
{
    struct fake_entry *e = find(cluster, op->key);
    *result = (struct op_result){.version = cluster->version};
    if (e != NULL && (op->kind == OP_GET_AND_SET || (op->flags & OP_RETURN_PREVIOUS))) {
        size_t at = keep->len;
        ASSERT(buf_reserve(keep, e->value_len) == 0 && at + e->value_len <= keep->cap);
        buf_append_slice(keep, entry_value(e));
        result->has_value = true;
        result->value = slice_of(keep->data + at, e->value_len);
    }
    struct buf made;
    buf_init(&made, 1 << 24);
    switch (op->kind) {
    case OP_PUT:
    case OP_GET_AND_SET:
        store_value(cluster, op->key, op->value);
        break;
    case OP_DELETE:
        drop(cluster, op->key);
        break;
    case OP_APPEND:
        buf_append_slice(&made, e != NULL ? entry_value(e) : (struct slice){0});
        buf_append_slice(&made, op->value);
        store_value(cluster, op->key, buf_slice(&made));
        break;
    case OP_INCREMENT:
        if (e != NULL)
            buf_append_slice(&made, entry_value(e));
        buf_append_u8(&made, 0);
        result->number = strtoll((const char *)made.data, NULL, 10) + op->delta;
        buf_clear(&made);
        buf_printf(&made, "%lld", (long long)result->number);
        store_value(cluster, op->key, buf_slice(&made));
        break;
    default:
        break;
    }
    if (op->kind != OP_CHECK && op->kind != OP_FENCE)
        fake_changes_add(cluster, op, fake_cluster_get(cluster, op->key));
    buf_fini(&made);
}

static struct fake_result *result_of(struct fake_cluster *cluster, const struct command *command)
{
    for (size_t i = 0; i < cluster->result_count; i++) {
        struct fake_result *r = &cluster->results[i];
        if (r->session == command->session && r->sequence == command->sequence)
            return r;
    }
    return NULL;
}

/* As a range does, of a long one no more than what came of it. */
static void result_keep(struct fake_cluster *cluster, const struct command *command,
                        const struct command_result *result, struct slice encoded)
{
    struct fake_result *r;
    struct buf brief;
    buf_init(&brief, RESULT_KEPT_MAX);
    if (encoded.len > RESULT_KEPT_MAX) {
        command_result_encode(&brief, &(struct command_result){.status = result->status,
                                                               .version = result->version,
                                                               .failed_op = result->failed_op});
        encoded = buf_slice(&brief);
    }
    if (cluster->result_count == cluster->result_cap) {
        cluster->result_cap = MAX(2 * cluster->result_cap, (size_t)16);
        cluster->results = realloc(cluster->results, cluster->result_cap * sizeof *r);
        ASSERT(cluster->results != NULL);
    }
    r = &cluster->results[cluster->result_count++];
    *r =
        (struct fake_result){command->session, command->sequence, malloc(encoded.len), encoded.len};
    ASSERT(r->bytes != NULL);
    memcpy(r->bytes, encoded.data, encoded.len);
    buf_fini(&brief);
}

/* A command of a session that was done before, or is too old: its status, else 1. */
static int session_judge(struct fake_cluster *cluster, const struct command *command,
                         struct buf *out)
{
    struct op_result ops[256];
    struct command_result result;
    cluster->last = *command;
    cluster->last.ops = NULL;
    if (command->session == 0)
        return 1;
    const struct fake_result *r = result_of(cluster, command);
    if (r != NULL) {
        cluster->repeats++;
        buf_append(out, r->bytes, r->len);
        ASSERT(command_result_decode(buf_slice(out), ops, ARRAY_LEN(ops), &result, NULL) == 0);
        return result.status;
    }
    if (command->first_sent_ms > cluster->floor_ms)
        return 1;
    command_result_encode(out, &(struct command_result){.status = ERR_SESSION_EXPIRED});
    return ERR_SESSION_EXPIRED;
}

static int command_do(struct fake_cluster *cluster, struct slice raw, struct buf *out)
{
    static const size_t room = 256;
    struct op *ops = calloc(room, sizeof *ops);
    struct op_result *results = calloc(room, sizeof *results);
    struct command command;
    struct command_result result = {0};
    struct buf keep;
    buf_init(&keep, 1 << 24);
    ASSERT(buf_reserve(&keep, 1 << 16) == 0); /* previous values must not move */
    int rv = command_decode(raw, &command_limits_default, ops, room, &command, NULL);
    int judged = rv == 0 ? session_judge(cluster, &command, out) : 1;
    if (judged != 1) {
        buf_fini(&keep);
        free(ops);
        free(results);
        return judged;
    }
    if (rv == 0 && ops[0].kind == OP_FENCE) {
        rv = ERR_FENCED;
        result.result_count = 1;
        results[0].status = rv;
    }
    for (uint32_t i = 0; rv == 0 && i < command.op_count; i++) {
        struct fake_entry *e = find(cluster, ops[i].key);
        if (cond_holds(&ops[i], e))
            continue;
        rv = ERR_CONDITION_FAILED;
        result.failed_op = i;
        result.result_count = 1;
        results[0] = (struct op_result){.status = rv, .has_value = e != NULL};
        if (e != NULL) {
            results[0].value = entry_value(e);
            results[0].version = e->version;
        }
    }
    if (rv == 0) {
        result.version = cluster->version += 1 << 20;
        for (uint32_t i = 0; i < command.op_count; i++)
            op_apply(cluster, &ops[i], &results[i], &keep);
        result.result_count = command.op_count;
        cluster->applied++;
    }
    result.status = rv;
    result.results = results;
    command_result_encode(out, &result);
    if (command.session != 0)
        result_keep(cluster, &command, &result, buf_slice(out));
    buf_fini(&keep);
    free(ops);
    free(results);
    return rv;
}

/* ---- answers ------------------------------------------------------------------------ */

static uint8_t *frame_of(void (*encode)(struct buf *, const void *), const void *what,
                         size_t *ret_len)
{
    struct buf buf;
    buf_init(&buf, FRAME_BODY_MAX);
    size_t start = frame_begin(&buf);
    encode(&buf, what);
    frame_end(&buf, start, true);
    ASSERT(!buf.failed);
    return buf_take(&buf, ret_len);
}

static void say(struct fake_conn *c, void (*encode)(struct buf *, const void *), const void *what)
{
    size_t len;
    uint8_t *bytes = frame_of(encode, what, &len);
    env_conn_write(c->conn, bytes, len);
}

/* In one piece of input. */
static void say_twice(struct fake_conn *c, void (*encode)(struct buf *, const void *),
                      const void *what)
{
    size_t len;
    uint8_t *bytes = frame_of(encode, what, &len);
    bytes = realloc(bytes, 2 * len);
    ASSERT(bytes != NULL);
    memcpy(bytes + len, bytes, len);
    env_conn_write(c->conn, bytes, 2 * len);
}

static void late_free(struct fake_late *late)
{
    env_timer_stop(&late->timer);
    list_remove(&late->in_late);
    free(late->bytes);
    free(late);
}

static void on_late(struct env_timer *timer)
{
    struct fake_late *late = timer->data;
    env_conn_write(late->conn->conn, late->bytes, late->len);
    late->bytes = NULL;
    late_free(late);
}

static void say_late(struct fake_conn *c, const struct response *response,
                     void (*encode)(struct buf *, const void *), uint32_t late_ms)
{
    struct fake_late *late = calloc(1, sizeof *late);
    ASSERT(late != NULL);
    late->conn = c;
    late->bytes = frame_of(encode, response, &late->len);
    list_init(&late->in_late);
    list_push_back(&c->store->late, &late->in_late);
    env_timer_init(&late->timer, c->store->env, on_late, late);
    env_timer_start(&late->timer, (uint64_t)late_ms * 1000);
}

static void encode_response(struct buf *buf, const void *what)
{
    response_encode(buf, what);
}

static void encode_ack(struct buf *buf, const void *what)
{
    hello_ack_encode(buf, what);
}

static void encode_error(struct buf *buf, const void *what)
{
    error_msg_encode(buf, what);
}

static void encode_pong(struct buf *buf, const void *what)
{
    pong_encode(buf, what);
}

/* Of the two ranges: does the key of a user, or on disk, belong to the second? */
static bool is_behind_split(const struct fake_cluster *cluster, struct slice key)
{
    return cluster->split != NULL && slice_compare(key, slice_str(cluster->split)) >= 0;
}

/* Which range a request is for; false: its keys are of both. */
static bool range_of(const struct fake_cluster *cluster, const struct request *r, bool *ret_second)
{
    struct op ops[OPS_MAX];
    struct command command;
    struct unpack u;
    struct slice key = {0};
    *ret_second = false;
    if (cluster->split == NULL)
        return true;
    switch (r->kind) {
    case REQUEST_WRITE:
        ASSERT(command_decode(r->write.command, &command_limits_default, ops, ARRAY_LEN(ops),
                              &command, NULL) == 0);
        key = ops[0].key;
        *ret_second = is_behind_split(cluster, key);
        for (uint32_t i = 1; i < command.op_count; i++)
            if (is_behind_split(cluster, ops[i].key) != *ret_second)
                return false;
        return true;
    case REQUEST_GET:
        key = r->get.key;
        break;
    case REQUEST_MULTI_GET:
        u = unpack_of(r->multi_get.keys.raw);
        *ret_second = is_behind_split(cluster, request_key_next(&u));
        for (uint32_t i = 1; i < r->multi_get.keys.count; i++)
            if (is_behind_split(cluster, request_key_next(&u)) != *ret_second)
                return false;
        return true;
    case REQUEST_SCAN:
        key = r->scan.start;
        break;
    case REQUEST_WATCH:
        key = r->watch.start;
        break;
    case REQUEST_STATUS:
        if (r->status.key.len > PLACE_PREFIX)
            key = slice_of(r->status.key.data + PLACE_PREFIX, r->status.key.len - PLACE_PREFIX);
        break;
    default:
        break;
    }
    *ret_second = is_behind_split(cluster, key);
    return true;
}

static struct leader_hint hint_of(const struct fake_store *store, bool is_second)
{
    const struct fake_store *leader =
        is_second ? store->cluster->split_leader : store->cluster->leader;
    if (leader == NULL || store->is_ignorant)
        return (struct leader_hint){0};
    return (struct leader_hint){
        .replica_id = leader->id, .store_id = leader->id, .address = slice_str(leader->address)};
}

static void row_of(struct fake_cluster *cluster, struct slice key, struct buf *rows, bool has_key)
{
    struct fake_entry *e = find(cluster, key);
    struct row row = {.status = e != NULL ? 0 : ERR_NOT_FOUND};
    if (has_key)
        row.key = key;
    if (e != NULL) {
        row.value = entry_value(e);
        row.version = e->version;
    }
    row_append(rows, &row);
}

static void scan_rows(struct fake_cluster *cluster, const struct request_scan *scan,
                      struct response_rows *to, struct buf *rows)
{
    uint32_t limit = scan->limit_keys > 0 ? scan->limit_keys : 1000;
    size_t lo = seek(cluster, scan->start);
    size_t hi = scan->end.len > 0 ? seek(cluster, scan->end) : cluster->count;
    bool is_cut = !scan->is_reverse && cluster->split != NULL &&
                  !is_behind_split(cluster, scan->start) &&
                  (scan->end.len == 0 || slice_compare(scan->end, slice_str(cluster->split)) > 0);
    if (is_cut)
        hi = seek(cluster, slice_str(cluster->split));
    for (size_t n = 0; lo + n < hi; n++) {
        struct fake_entry *e =
            scan->is_reverse ? &cluster->entries[hi - 1 - n] : &cluster->entries[lo + n];
        if (to->rows.count == limit) {
            to->has_more = true;
            to->cursor = scan->is_reverse ? entry_key(e + 1) : entry_key(e);
            return;
        }
        row_append(rows,
                   &(struct row){.key = entry_key(e),
                                 .value = scan->is_keys_only ? (struct slice){0} : entry_value(e),
                                 .version = e->version});
        to->rows.count++;
    }
    to->has_more = to->is_range_end = is_cut;
    if (is_cut)
        to->cursor = slice_str(cluster->split);
}

static void status_fill(struct fake_store *store, bool is_second, struct response *to,
                        struct buf *stats)
{
    struct fake_cluster *cluster = store->cluster;
    stat_append_number(stats, "applied", cluster->applied);
    stat_append_text(stats, "role", slice_str(cluster->leader == store ? "leader" : "follower"));
    to->status_of = (struct response_status){.cluster_id = store->cluster_id,
                                             .store_id = store->id,
                                             .replica_id = store->id,
                                             .term = cluster->term};
    struct descriptor *d = &to->status_of.descriptor;
    *d = (struct descriptor){.range_id = 1,
                             .start = {(const uint8_t *)"\x02", 1},
                             .end = {(const uint8_t *)"\x03", 1},
                             .conf_epoch = 1,
                             .span_epoch = 1};
    if (cluster->split != NULL) {
        static uint8_t place[PLACE_PREFIX + 64] = {2};
        size_t len = strlen(cluster->split);
        ASSERT(len <= 64);
        memcpy(place + PLACE_PREFIX, cluster->split, len);
        *(is_second ? &d->start : &d->end) = slice_of(place, PLACE_PREFIX + len);
        d->range_id = is_second ? 2 : 1;
    }
    for (uint32_t i = 0; i < cluster->store_count; i++)
        d->members[d->member_count++] =
            (struct member){.replica_id = cluster->stores[i]->id,
                            .store_id = cluster->stores[i]->id,
                            .role = MEMBER_VOTER,
                            .address = slice_str(cluster->stores[i]->address)};
}

/* A check that is done: two parts, of one key each. */
static void check_fill(const struct fake_store *store, const struct request *request,
                       struct response *to, struct buf *raw)
{
    to->check = (struct response_check){
        .range_id = 2, .replica_id = store->id, .index = 7, .term = 5, .state = CHECK_STARTED};
    if (request->kind == REQUEST_CHECK_START)
        return;
    struct check_part part = {.last = slice_of("\2\0\0\1\0m", 6), .keys = 1, .sum = {1}};
    check_part_append(raw, &part);
    part.last = (struct slice){0};
    check_part_append(raw, &part);
    to->check.state = CHECK_DONE;
    to->check.index = request->check.index;
    to->check.keys = 2;
    to->check.sum[0] = 2;
    to->check.sum[8] = 3;
    to->check.why = slice_str("no reason");
    to->check.parts = (struct pack_list){.count = 2, .raw = buf_slice(raw)};
}

/* Keyspace "ks7" has number 65536 + 7, and no slots; "ks7-16" has 16. */
static void placement_fill(const struct request *request, struct response *to, struct buf *raw)
{
    static const char *const columns[] = {"#keyspace", "name", "#slots"};
    char name[16], number[16], slot_count[16];
    unsigned n = 0, slots = 0;
    snprintf(name, sizeof name, "%.*s", (int)request->placement.name.len,
             (const char *)request->placement.name.data);
    if (sscanf(name, "ks%u-%u", &n, &slots) < 1) {
        to->status = ERR_NOT_FOUND;
        return;
    }
    snprintf(number, sizeof number, "%u", 65536 + n);
    snprintf(slot_count, sizeof slot_count, "%u", slots);
    buf_reserve(raw, 100); /* slices point into it: it must not move */
    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        pack_str(raw, slice_str(columns[i]));
    size_t heads = raw->len;
    pack_str(raw, slice_str(number));
    pack_str(raw, request->placement.name);
    pack_str(raw, slice_str(slot_count));
    ASSERT(!raw->failed && raw->len <= 100);
    to->placement.columns = (struct pack_list){.count = 3, .raw = slice_of(raw->data, heads)};
    to->placement.cells =
        (struct pack_list){.count = 3, .raw = slice_of(raw->data + heads, raw->len - heads)};
}

/* The answer's detail; `raw` holds what it points to. */
static void answer_fill(struct fake_store *store, const struct request *request,
                        struct response *to, struct buf *raw)
{
    struct fake_cluster *cluster = store->cluster;
    struct unpack u;
    bool is_second;
    to->kind = request->kind;
    switch (request->kind) {
    case REQUEST_WRITE:
        to->status = command_do(cluster, request->write.command, raw);
        to->write.result = buf_slice(raw);
        if (to->status == ERR_SESSION_EXPIRED)
            to->time_ms = cluster->floor_ms + 1000;
        break;
    case REQUEST_GET:
        row_of(cluster, request->get.key, raw, false);
        to->rows = (struct response_rows){.rows = {1, buf_slice(raw)}, .version = cluster->version};
        break;
    case REQUEST_MULTI_GET:
        u = unpack_of(request->multi_get.keys.raw);
        for (uint32_t i = 0; i < request->multi_get.keys.count; i++)
            row_of(cluster, request_key_next(&u), raw, false);
        to->rows = (struct response_rows){.rows = {request->multi_get.keys.count, buf_slice(raw)},
                                          .version = cluster->version};
        break;
    case REQUEST_SCAN:
        to->rows = (struct response_rows){.version = cluster->version};
        if (request->scan.read.at_version > 0 &&
            request->scan.read.at_version < cluster->least_version) {
            to->status = ERR_VERSION_GONE;
            to->rows.is_range_end = cluster->is_merged;
            break;
        }
        scan_rows(cluster, &request->scan, &to->rows, raw);
        to->rows.rows.raw = buf_slice(raw);
        break;
    case REQUEST_WATCH:
        fake_changes_page(cluster, &request->watch, to, raw);
        break;
    case REQUEST_STATUS:
        range_of(cluster, request, &is_second);
        status_fill(store, is_second, to, raw);
        to->status_of.stats = (struct pack_list){.count = 2, .raw = buf_slice(raw)};
        break;
    case REQUEST_IDENTIFY:
        to->identify = (struct response_identify){
            .cluster_id = FAKE_CLUSTER_ID, .store_id = store->id, .is_born = true};
        break;
    case REQUEST_BOOTSTRAP:
        to->status = ERR_EXISTS;
        break;
    case REQUEST_PLACEMENT:
        placement_fill(request, to, raw);
        break;
    case REQUEST_CHECK_START:
    case REQUEST_CHECK_RESULT:
        check_fill(store, request, to, raw);
        break;
    default:
        break;
    }
}

static void conn_close(struct fake_conn *c)
{
    env_conn_close(c->conn);
    c->is_closed = true;
}

/* Does a mood answer for it? False: serve it. */
static bool mood_handles(struct fake_conn *c, const struct request *request, struct response *to,
                         struct buf *raw)
{
    struct fake_store *store = c->store;
    enum fake_mood mood = store->mood;
    if (mood == FAKE_SERVE)
        return false;
    if (store->moods_left > 0 && --store->moods_left == 0)
        store->mood = FAKE_SERVE;
    switch (mood) {
    case FAKE_SWALLOW:
        return true;
    case FAKE_DO_RESET:
        answer_fill(store, request, to, raw);
        conn_close(c);
        return true;
    case FAKE_RESET:
        conn_close(c);
        return true;
    case FAKE_LATE:
        answer_fill(store, request, to, raw);
        say_late(c, to, encode_response, store->busy_ms);
        return true;
    case FAKE_BUSY:
        to->status = ERR_BUSY;
        to->retry_after_ms = store->busy_ms;
        break;
    case FAKE_UNDECIDED:
        to->status = ERR_UNDETERMINED;
        break;
    case FAKE_EARLY:
        to->status = ERR_SESSION_EXPIRED;
        to->time_ms = 1;
        break;
    case FAKE_FULL:
        to->status = ERR_NO_SPACE;
        break;
    case FAKE_STRANGE:
        to->status = -77;
        break;
    default:
        to->status = ERR_UNAVAILABLE;
        break;
    }
    say(c, encode_response, to);
    return true;
}

static void on_request(struct fake_conn *c, struct slice body)
{
    struct fake_store *store = c->store;
    struct request request;
    struct err err = {0};
    if (request_decode(body, &request, &err) != 0)
        base_assert_fail(__FILE__, __LINE__, __func__, err.msg);
    bool is_second;
    bool is_of_one = range_of(store->cluster, &request, &is_second);
    struct response response = {
        .id = request.id, .trace_id = request.trace_id, .leader = hint_of(store, is_second)};
    bool is_data = request.kind <= REQUEST_SCAN || request.kind == REQUEST_TRANSFER_LEADER ||
                   request.kind == REQUEST_CHECK_START || request.kind == REQUEST_WATCH;
    struct buf raw;
    buf_init(&raw, FRAME_BODY_MAX);
    store->requests += request.kind != REQUEST_STATUS;
    store->statuses += request.kind == REQUEST_STATUS;
    store->last_timeout_ms = request.timeout_ms;
    if (is_data && store->mood != FAKE_SERVE && mood_handles(c, &request, &response, &raw)) {
        buf_fini(&raw);
        return;
    }
    if (!is_data && store->mood == FAKE_SWALLOW) {
        buf_fini(&raw);
        return;
    }
    if (request.kind == REQUEST_PLACEMENT && store->asks_lost > 0) {
        store->asks_lost--;
        conn_close(c);
        buf_fini(&raw);
        return;
    }
    struct fake_store *leader = is_second ? store->cluster->split_leader : store->cluster->leader;
    if (!is_of_one && request.kind == REQUEST_WRITE)
        response.status = ERR_UNSUPPORTED;
    else if (is_data && (!is_of_one || (request.range_id > 0 && store->cluster->split != NULL &&
                                        request.range_id != (is_second ? 2 : 1))))
        response.status = ERR_RANGE_CHANGED;
    else if (is_data && leader != store)
        response.status = ERR_NOT_LEADER;
    else if (store->has_no_range && request.kind == REQUEST_STATUS)
        response.status = ERR_STATE;
    else
        answer_fill(store, &request, &response, &raw);
    if (store->twist != NULL && response.status == 0 && request.kind != REQUEST_STATUS)
        store->twist(store, &request, &response, &raw);
    bool waits = response.kind == REQUEST_WATCH && response.status == 0 &&
                 response.watch.changes.count == 0 && !response.watch.has_more &&
                 request.watch.wait_ms > 0;
    uint32_t wait_max_ms = store->cluster->watch_wait_max_ms;
    wait_max_ms = wait_max_ms == 0 ? WATCH_WAIT_MS : wait_max_ms;
    if (waits)
        say_late(c, &response, encode_response, MIN(request.watch.wait_ms, wait_max_ms));
    else
        say(c, encode_response, &response);
    buf_fini(&raw);
}

/* ---- connections ------------------------------------------------------------------------ */

static uint64_t clock_of(const struct fake_store *store)
{
    uint64_t start_ms = store->cluster->clock_ms;
    return start_ms == 0 ? 0 : start_ms + env_now_us(store->env) / 1000;
}

static void on_body(struct fake_conn *c, struct slice body, uint64_t *batch)
{
    struct fake_store *store = c->store;
    struct hello hello;
    struct ping ping;
    uint32_t kind = 0;
    ASSERT(msg_kind(body, &kind, NULL) == 0);
    if (kind == MSG_HELLO) {
        ASSERT(hello_decode(body, &hello, NULL) == 0);
        ASSERT(!c->is_greeted && hello.purpose == HELLO_CLIENT);
        c->is_greeted = true;
        store->hellos++;
        if (store->hello_error != 0)
            say_twice(
                c, encode_error,
                &(struct error_msg){.code = store->hello_error, .text = slice_str("strange")});
        else if (!store->is_deaf)
            say(c, encode_ack,
                &(struct hello_ack){.protocol = 1,
                                    .cluster_id = store->was_unborn ? 0 : store->cluster_id,
                                    .store_id = store->id,
                                    .wall_ms = clock_of(store),
                                    .requests_max = store->requests_max});
    } else if (kind == MSG_PING) {
        ASSERT(ping_decode(body, &ping, NULL) == 0);
        if (store->mood != FAKE_SWALLOW)
            say(c, encode_pong, &ping);
    } else {
        ASSERT(kind == MSG_REQUEST && c->is_greeted);
        ++*batch;
        on_request(c, body);
    }
}

static void conn_free(struct fake_conn *c)
{
    LIST_FOREACH(it, &c->store->late)
    {
        struct fake_late *late = list_entry(it, struct fake_late, in_late);
        if (late->conn == c)
            late_free(late);
    }
    list_remove(&c->in_conns);
    frame_reader_fini(&c->reader);
    free(c);
}

static void on_read(void *data, struct slice bytes)
{
    struct fake_conn *c = data;
    struct slice body;
    uint64_t batch = 0;
    frame_reader_feed(&c->reader, bytes);
    while (!c->is_closed && frame_reader_next(&c->reader, &body, NULL) == 0)
        on_body(c, body, &batch);
    c->store->batch_max = MAX(c->store->batch_max, batch);
    if (c->is_closed)
        conn_free(c);
}

static void on_close(void *data, int status, const char *reason)
{
    (void)status;
    (void)reason;
    conn_free(data);
}

static const struct env_conn_handler handler = {.on_read = on_read, .on_close = on_close};

static void on_accept(void *data, struct env_conn *conn, const char *peer)
{
    (void)peer;
    struct fake_store *store = data;
    struct fake_conn *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    c->store = store;
    c->conn = conn;
    frame_reader_init(&c->reader, FRAME_BODY_MAX);
    list_init(&c->in_conns);
    list_push_back(&store->conns, &c->in_conns);
    env_conn_accept(conn, &handler, c);
}

void fake_store_disconnect(struct fake_store *store)
{
    while (!list_is_empty(&store->conns)) {
        struct fake_conn *c = list_first(&store->conns, struct fake_conn, in_conns);
        env_conn_close(c->conn);
        conn_free(c);
    }
}

/* ---- life --------------------------------------------------------------------------------- */

void fake_cluster_init(struct fake_cluster *cluster)
{
    *cluster = (struct fake_cluster){.version = (uint64_t)1000 << 20, .term = 1};
}

struct fake_store *fake_store_new(struct fake_cluster *cluster, struct env *env,
                                  const char *address)
{
    struct fake_store *store = calloc(1, sizeof *store);
    struct err err = {0};
    ASSERT(store != NULL && cluster->store_count < FAKE_STORES_MAX);
    store->cluster = cluster;
    store->env = env;
    store->cluster_id = FAKE_CLUSTER_ID;
    list_init(&store->conns);
    list_init(&store->late);
    if (env_listen(env, address, on_accept, store, &store->listener, &err) != 0)
        base_assert_fail(__FILE__, __LINE__, __func__, err.msg);
    snprintf(store->address, sizeof store->address, "%s", env_listener_address(store->listener));
    cluster->stores[cluster->store_count++] = store;
    store->id = cluster->store_count;
    return store;
}

void fake_cluster_fini(struct fake_cluster *cluster)
{
    fake_changes_fini(cluster);
    for (uint32_t i = 0; i < cluster->store_count; i++) {
        struct fake_store *store = cluster->stores[i];
        while (!list_is_empty(&store->conns))
            conn_free(list_first(&store->conns, struct fake_conn, in_conns));
        free(store);
    }
    for (size_t i = 0; i < cluster->count; i++)
        free(cluster->entries[i].key);
    free(cluster->entries);
    for (size_t i = 0; i < cluster->result_count; i++)
        free(cluster->results[i].bytes);
    free(cluster->results);
}
