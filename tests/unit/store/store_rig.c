/* SPDX-License-Identifier: Apache-2.0 */
#include "store_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "consensus/consensus.h"
#include "range/range.h"
#include "support/check.h"
#include "wire/hello.h"

static const char *const HOSTS[RIG_STORES_MAX] = {"a", "b", "c", "d", "e"};
static const char *const ADDRESSES[RIG_STORES_MAX] = {"a:7000", "b:7000", "c:7000", "d:7000",
                                                      "e:7000"};

/* ---- the client ---------------------------------------------------------------- */

static void take_changes(struct rig_answer *a, const struct response_watch *watch)
{
    struct unpack cursor = unpack_of(watch->changes.raw);
    size_t at = 0;
    a->watch = *watch;
    a->value[0] = 0;
    for (uint32_t i = 0; i < watch->changes.count && at < sizeof a->value; i++) {
        struct change c;
        change_next(&cursor, &c);
        at += (size_t)snprintf(a->value + at, sizeof a->value - at, "%.*s%s%.*s ", (int)c.key.len,
                               (const char *)c.key.data, c.kind == CHANGE_PUT ? "=" : "-",
                               (int)c.value.len, (const char *)c.value.data);
    }
    snprintf(a->why, sizeof a->why, "%.*s", (int)watch->cursor.len,
             (const char *)watch->cursor.data);
}

static void take_written(struct rig_answer *a, struct slice raw)
{
    struct op_result first;
    struct command_result result;
    a->written = command_result_version(raw);
    if (raw.len == 0 || command_result_count(raw) != 1 ||
        command_result_decode(raw, &first, 1, &result, NULL) != 0)
        return;
    a->expiry_ms = first.expiry_ms;
    a->number = first.number;
}

static void take_response(struct rig *rig, struct slice body)
{
    struct response r;
    struct err err = {0};
    if (response_decode(body, &r, &err) != 0)
        fail_msg("%s", err.msg);
    assert_in_range(r.id, 1, rig->asked);
    struct rig_answer *a = &rig->answers[r.id];
    a->count++;
    a->status = r.status;
    a->retry_after_ms = r.retry_after_ms;
    a->time_ms = r.time_ms;
    a->leader_store = r.leader.store_id;
    snprintf(a->text, sizeof a->text, "%.*s", (int)r.text.len, (const char *)r.text.data);
    if (r.kind == REQUEST_WATCH)
        take_changes(a, &r.watch);
    if (r.kind == REQUEST_WRITE)
        take_written(a, r.write.result);
    if (r.kind == REQUEST_IDENTIFY)
        a->identify = r.identify;
    if (r.kind == REQUEST_CHECK_START || r.kind == REQUEST_CHECK_RESULT) {
        a->check = r.check;
        snprintf(a->why, sizeof a->why, "%.*s", (int)r.check.why.len,
                 (const char *)r.check.why.data);
    }
    struct unpack cells = unpack_of(r.placement.cells.raw);
    for (uint32_t i = 0; r.kind == REQUEST_PLACEMENT && i < r.placement.cells.count; i++) {
        struct slice cell = cell_next(&cells);
        size_t len = strlen(a->value);
        snprintf(a->value + len, sizeof a->value - len, "%.*s ", (int)cell.len,
                 (const char *)cell.data);
    }
    if (r.kind == REQUEST_GET && r.rows.rows.count == 1) {
        struct unpack cursor = unpack_of(r.rows.rows.raw);
        struct row row;
        row_next(&cursor, &row);
        snprintf(a->value, sizeof a->value, "%.*s", (int)row.value.len,
                 (const char *)row.value.data);
    }
    if (r.kind == REQUEST_GET || r.kind == REQUEST_SCAN) {
        a->version = r.rows.version;
        a->has_more = r.rows.has_more && !r.rows.is_range_end;
    }
}

static void on_read(void *data, struct slice bytes)
{
    struct rig_conn *c = data;
    struct slice body;
    uint32_t kind = 0;
    frame_reader_feed(&c->reader, bytes);
    while (frame_reader_next(&c->reader, &body, NULL) == 0) {
        assert_int_equal(msg_kind(body, &kind, NULL), 0);
        if (kind != MSG_RESPONSE)
            continue;
        c->answers++;
        take_response(c->rig, body);
    }
}

static void on_close(void *data, int status, const char *reason)
{
    struct rig_conn *c = data;
    (void)status;
    (void)reason;
    c->conn = NULL;
}

static void conn_write(struct rig_conn *c, const struct buf *buf)
{
    assert_false(buf->failed);
    assert_non_null(c->conn);
    uint8_t *bytes = malloc(buf->len);
    assert_non_null(bytes);
    memcpy(bytes, buf->data, buf->len);
    env_conn_write(c->conn, bytes, buf->len);
}

static void conn_close(struct rig_conn *c)
{
    if (c->conn != NULL)
        env_conn_close(c->conn);
    c->conn = NULL;
    frame_reader_fini(&c->reader);
}

static void conn_open(struct rig *rig, size_t i, size_t store)
{
    static const struct env_conn_handler HANDLER = {.on_read = on_read, .on_close = on_close};
    struct rig_conn *c = &rig->conns[i];
    struct env *env = sim_node_env(rig->outside);
    struct hello hello = {.protocol_min = PROTOCOL_VERSION_MIN,
                          .protocol_max = PROTOCOL_VERSION_MAX,
                          .purpose = HELLO_CLIENT,
                          .name = slice_str("rig")};
    struct buf buf;
    conn_close(c);
    c->rig = rig;
    c->number = ++rig->connected;
    c->answers = 0;
    frame_reader_init(&c->reader, FRAME_BODY_MAX);
    assert_int_equal(env_connect(env, ADDRESSES[store], &HANDLER, c, &c->conn, NULL), 0);
    buf_init(&buf, 4096);
    size_t start = frame_begin(&buf);
    hello_encode(&buf, &hello);
    frame_end(&buf, start, false);
    conn_write(c, &buf);
    buf_fini(&buf);
}

void rig_reconnect(struct rig *rig, size_t i)
{
    if (rig->conns[i].conn == NULL)
        conn_open(rig, i, i);
}

void rig_connect_too(struct rig *rig, size_t i, size_t store)
{
    assert_in_range(i, rig->count, RIG_STORES_MAX - 1);
    conn_open(rig, i, store);
}

struct rig_answer *rig_ask(struct rig *rig, size_t i, struct request *request)
{
    struct buf buf;
    assert_true(rig->asked + 1 < RIG_ASKED_MAX);
    request->id = ++rig->asked;
    if (request->timeout_ms == 0)
        request->timeout_ms = 5000;
    buf_init(&buf, FRAME_BODY_MAX);
    size_t start = frame_begin(&buf);
    request_encode(&buf, request);
    frame_end(&buf, start, false);
    conn_write(&rig->conns[i], &buf);
    buf_fini(&buf);
    return &rig->answers[request->id];
}

struct rig_answer *rig_write(struct rig *rig, size_t i, uint32_t keyspace, const struct op *op,
                             uint32_t timeout_ms)
{
    struct command command = {.keyspace = keyspace, .op_count = 1, .ops = op};
    struct buf raw;
    buf_init(&raw, FRAME_BODY_MAX);
    command_encode(&raw, &command);
    struct request request = {
        .kind = REQUEST_WRITE, .timeout_ms = timeout_ms, .write = {.command = buf_slice(&raw)}};
    struct rig_answer *answer = rig_ask(rig, i, &request);
    buf_fini(&raw);
    return answer;
}

struct rig_answer *rig_put(struct rig *rig, size_t i, const char *key, const char *value,
                           uint32_t timeout_ms)
{
    struct op op = {.kind = OP_PUT, .key = slice_str(key), .value = slice_str(value)};
    return rig_write(rig, i, 0, &op, timeout_ms);
}

struct rig_answer *rig_delete(struct rig *rig, size_t i, const char *key)
{
    struct op op = {.kind = OP_DELETE, .key = slice_str(key)};
    return rig_write(rig, i, 0, &op, 0);
}

struct rig_answer *rig_read_key(struct rig *rig, size_t i, struct slice key,
                                const struct request_read *how, uint32_t timeout_ms)
{
    struct request request = {
        .kind = REQUEST_GET, .timeout_ms = timeout_ms, .get = {.read = *how, .key = key}};
    return rig_ask(rig, i, &request);
}

struct rig_answer *rig_read(struct rig *rig, size_t i, const char *key,
                            const struct request_read *how, uint32_t timeout_ms)
{
    return rig_read_key(rig, i, slice_str(key), how, timeout_ms);
}

struct rig_answer *rig_get(struct rig *rig, size_t i, const char *key, uint32_t timeout_ms)
{
    return rig_read(rig, i, key, &(struct request_read){0}, timeout_ms);
}

struct rig_answer *rig_scan(struct rig *rig, size_t i, const char *start, uint32_t limit_keys,
                            const struct request_read *how)
{
    struct request request = {
        .kind = REQUEST_SCAN,
        .timeout_ms = 1000,
        .scan = {.read = *how, .start = slice_str(start), .limit_keys = limit_keys}};
    return rig_ask(rig, i, &request);
}

struct rig_answer *rig_watch(struct rig *rig, size_t i, const char *start, const char *end,
                             uint64_t after, uint32_t wait_ms)
{
    struct request request = {.kind = REQUEST_WATCH, .timeout_ms = wait_ms + 1000};
    request.watch = (struct request_watch){
        .start = slice_str(start),
        .end = slice_str(end),
        .is_from_now = after == 0,
        .after = after,
        .wait_ms = wait_ms,
    };
    return rig_ask(rig, i, &request);
}

struct rig_answer *rig_simple(struct rig *rig, size_t i, enum request_kind kind)
{
    struct request request = {.kind = kind};
    return rig_ask(rig, i, &request);
}

void rig_assert_answered(const struct rig *rig)
{
    for (uint64_t id = 1; id <= rig->asked; id++) {
        if (rig->answers[id].count != 1)
            fail_msg("request %llu has %d answers", (unsigned long long)id, rig->answers[id].count);
    }
}

/* ---- the stores ------------------------------------------------------------------- */

void rig_open(struct rig *rig, size_t count)
{
    rig_open_seeded(rig, count, 7);
}

void rig_open_seeded(struct rig *rig, size_t count, uint64_t seed)
{
    memset(rig, 0, sizeof *rig);
    assert_true(count <= RIG_STORES_MAX);
    rig->count = count;
    rig->answers = calloc(RIG_ASKED_MAX, sizeof *rig->answers);
    assert_non_null(rig->answers);
    rig->sim = sim_new(NULL, seed);
    rig->outside = sim_node_new(rig->sim, "outside");
    for (size_t i = 0; i < count; i++)
        rig->nodes[i] = sim_node_new(rig->sim, HOSTS[i]);
    store_options_init(&rig->options);
    rig->options.secret = slice_str("a secret of the rig");
    rig->options.log.segment_bytes = 1 << 20;
    rig->options.log.budget_bytes = 16 << 20;
    rig->options.log.limit_bytes = 32 << 20;
    rig->options.peer_count = count;
    for (size_t i = 0; i < count; i++) {
        struct store_peer *peer = &rig->options.peers[i];
        peer->store_id = i + 1;
        snprintf(peer->address, sizeof peer->address, "%s", ADDRESSES[i]);
    }
}

void rig_crash(struct rig *rig, size_t i, enum sim_crash how)
{
    sim_node_crash(rig->nodes[i], how);
    store_free(rig->stores[i]);
    rig->stores[i] = NULL;
}

void rig_close(struct rig *rig)
{
    for (size_t i = 0; i < rig->count; i++) {
        if (rig->stores[i] != NULL && !sim_node_is_dead(rig->nodes[i]))
            store_check(rig->stores[i]);
        rig_crash(rig, i, SIM_CRASH_KILL);
    }
    for (size_t i = 0; i < RIG_STORES_MAX; i++)
        conn_close(&rig->conns[i]);
    sim_free(rig->sim);
    free(rig->answers);
}

void rig_run(struct rig *rig, uint64_t us)
{
    sim_run_until(rig->sim, sim_now_us(rig->sim) + us);
}

int rig_start(struct rig *rig, size_t i, struct err *err)
{
    struct store_options options = rig->options;
    assert_null(rig->stores[i]);
    if (!sim_node_is_up(rig->nodes[i]))
        sim_node_restart(rig->nodes[i]);
    options.data_dir = "data";
    options.listen = ADDRESSES[i];
    options.store_id = rig->is_grown ? 0 : i + 1;
    for (size_t k = 0; rig->is_grown && i > 0 && k < rig->count; k++) {
        if (k != i)
            snprintf(options.seeds[options.seed_count++], sizeof options.seeds[0], "%s",
                     ADDRESSES[k]);
    }
    int rv = store_open(&rig->stores[i], sim_node_env(rig->nodes[i]), &options, err);
    if (rv != 0)
        rig_crash(rig, i, SIM_CRASH_KILL);
    else
        conn_open(rig, i, i);
    return rv;
}

void rig_bootstrap_request(struct rig *rig, struct request *request)
{
    *request = (struct request){.kind = REQUEST_BOOTSTRAP};
    request->bootstrap.cluster_id = RIG_CLUSTER;
    request->bootstrap.member_count = (uint32_t)rig->count;
    for (size_t i = 0; i < rig->count; i++) {
        struct member *m = &request->bootstrap.members[i];
        *m = (struct member){.replica_id = i + 1,
                             .store_id = i + 1,
                             .role = MEMBER_VOTER,
                             .address = slice_str(ADDRESSES[i])};
        memcpy(m->store_uuid, store_identity(rig->stores[i])->uuid, sizeof m->store_uuid);
    }
}

size_t rig_leader(const struct rig *rig)
{
    for (size_t i = 0; i < rig->count; i++) {
        struct cons_status s;
        if (rig->stores[i] != NULL && store_cons_status(rig->stores[i], STORE_FIRST_RANGE_ID, &s) &&
            s.state == CONS_LEADER)
            return i;
    }
    return rig->count;
}

size_t rig_start_cluster(struct rig *rig)
{
    struct request request;
    struct err err = {0};
    for (size_t i = 0; i < rig->count; i++) {
        if (rig_start(rig, i, &err) != 0)
            fail_msg("%s", err.msg);
    }
    rig_bootstrap_request(rig, &request);
    for (size_t i = 0; i < rig->count; i++)
        assert_int_equal(rig_ask(rig, i, &request)->status, 0);
    for (int tries = 0; tries < 100 && rig_leader(rig) == rig->count; tries++)
        rig_run(rig, 100 * RIG_MS);
    rig_run(rig, 500 * RIG_MS); /* its first entry is applied everywhere */
    size_t leader = rig_leader(rig);
    assert_true(leader < rig->count);
    rig_assert_answered(rig);
    return leader;
}

void rig_fill_split(const struct rig *rig, size_t at, const char *key, uint64_t range_id,
                    uint64_t new_range_id, uint8_t raw[RIG_TEXT_MAX], struct request *request)
{
    const struct range_descriptor *d = range_descriptor(store_range_of(rig->stores[at], range_id));
    assert_in_range(strlen(key), 1, RIG_TEXT_MAX - RANGE_USER_KEY_PREFIX);
    *request = (struct request){
        .kind = REQUEST_SPLIT,
        .range_id = range_id,
        .span_epoch = d->epoch.span,
        .split = {.key = slice_of(raw, range_user_key(0, slice_str(key), raw)),
                  .conf_epoch = d->epoch.conf,
                  .new_range_id = new_range_id,
                  .child_count = d->replica_count},
    };
    for (uint32_t i = 0; i < d->replica_count; i++) {
        request->split.children[i].store_id = d->replicas[i].store_id;
        request->split.children[i].replica_id = new_range_id * 100 + i;
    }
}

struct rig_answer *rig_split(struct rig *rig, size_t at, const char *key, uint64_t range_id,
                             uint64_t new_range_id)
{
    struct request request;
    uint8_t raw[RIG_TEXT_MAX];
    rig_fill_split(rig, at, key, range_id, new_range_id, raw, &request);
    return rig_ask(rig, at, &request);
}

void rig_grow_begin(struct rig *rig)
{
    rig->is_grown = true;
    rig->options.peer_count = 0;
}

size_t rig_driver(const struct rig *rig)
{
    for (size_t i = 0; i < rig->count; i++) {
        if (rig->stores[i] != NULL && !sim_node_is_dead(rig->nodes[i]) &&
            store_placement_term(rig->stores[i]) != 0)
            return i;
    }
    return rig->count;
}

size_t rig_grow(struct rig *rig)
{
    struct err err = {0};
    for (size_t i = 0; i < rig->count; i++) {
        if (rig_start(rig, i, &err) != 0)
            fail_msg("%s", err.msg);
        for (int tries = 0; tries < 100 && store_state(rig->stores[i]) != STORE_RUNNING; tries++)
            rig_run(rig, 50 * RIG_MS);
        assert_int_equal(store_state(rig->stores[i]), STORE_RUNNING);
    }
    for (int tries = 0; tries < 100 && rig_leader(rig) == rig->count; tries++)
        rig_run(rig, 100 * RIG_MS);
    size_t leader = rig_leader(rig);
    assert_true(leader < rig->count);
    return leader;
}

static void on_drained(void *data)
{
    struct rig *rig = data;
    rig->drained++;
}

void rig_drain(struct rig *rig, size_t i, uint32_t timeout_ms)
{
    store_drain(rig->stores[i], timeout_ms, on_drained, rig);
}
