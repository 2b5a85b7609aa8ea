/* SPDX-License-Identifier: Apache-2.0 */
#include "net_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"
#include "wire/pack.h"
#include "wire/peer_msg.h"
#include "wire/request.h"
#include "wire/snapshot_msg.h"

/* ---- messages ------------------------------------------------------------------- */

void rig_frame(struct buf *buf, uint32_t kind, uint64_t seq, size_t len)
{
    size_t start = frame_begin(buf);
    pack_map(buf, 3);
    pack_uint(buf, 0);
    pack_uint(buf, kind);
    pack_uint(buf, 1);
    pack_uint(buf, seq);
    pack_uint(buf, 2);
    uint8_t *bytes = calloc(1, len + 1);
    assert_non_null(bytes);
    pack_bin(buf, slice_of(bytes, len));
    free(bytes);
    frame_end(buf, start, false);
    assert_false(buf->failed);
}

int rig_send(struct net_peer *peer, enum net_class class, uint32_t kind, uint64_t seq, size_t len)
{
    struct buf buf;
    buf_init(&buf, (size_t)64 << 20);
    rig_frame(&buf, kind, seq, len);
    int code = net_peer_send(peer, class, buf_slice(&buf));
    buf_fini(&buf);
    return code;
}

int rig_send_off(struct net_peer *peer, enum net_class class, uint32_t kind, uint64_t seq,
                 size_t len, bool *ret_is_taken)
{
    struct buf buf;
    buf_init(&buf, (size_t)64 << 20);
    buf_reserve(&buf, len + 100);
    rig_frame(&buf, kind, seq, len);
    int code = net_peer_send_off(peer, class, &buf);
    *ret_is_taken = buf.data == NULL;
    buf_fini(&buf);
    return code;
}

/* The number of a message made by rig_frame(); 0 for others. */
static uint64_t seq_of(struct slice body)
{
    struct unpack u = unpack_of(body);
    if (unpack_map(&u) != 3)
        return 0;
    unpack_uint(&u);
    unpack_uint(&u);
    unpack_uint(&u);
    uint64_t seq = unpack_uint(&u);
    return u.bad ? 0 : seq;
}

static void note(struct rig_seen *seen, size_t max, size_t *count, uint64_t from, uint32_t kind,
                 struct slice body)
{
    if (*count < max)
        seen[*count] =
            (struct rig_seen){.from = from, .kind = kind, .seq = seq_of(body), .len = body.len};
    ++*count;
}

static int decode_peer(uint32_t kind, struct slice body, struct err *err)
{
    struct peer_entry entries[16];
    struct peer_msg msg;
    if (!peer_msg_is_kind(kind))
        return err_set(err, ERR_UNSUPPORTED, "message %u from a peer", kind);
    return peer_msg_decode(body, entries, ARRAY_LEN(entries), &msg, err);
}

static int decode_stream(uint32_t kind, struct slice body, struct err *err)
{
    struct snapshot_begin begin;
    struct snapshot_chunk chunk;
    struct snapshot_end end;
    struct snapshot_ack ack;
    switch (kind) {
    case MSG_SNAPSHOT_BEGIN:
        return snapshot_begin_decode(body, &begin, err);
    case MSG_SNAPSHOT_CHUNK:
        return snapshot_chunk_decode(body, &chunk, err);
    case MSG_SNAPSHOT_END:
        return snapshot_end_decode(body, &end, err);
    default:
        return snapshot_ack_decode(body, &ack, err);
    }
}

/* ---- stores ---------------------------------------------------------------------- */

static int check_peer(void *data, const struct net_identity *who, struct err *err)
{
    struct rig_store *store = data;
    (void)who;
    net_peer_remove(store->remove);
    store->remove = NULL;
    if (store->check_code != 0)
        return err_set(err, store->check_code, "this store was wiped");
    return 0;
}

static void on_peer_up(void *data, const struct net_identity *who)
{
    struct rig_store *store = data;
    store->ups++;
    store->up_who = *who;
}

static void on_peer_down(void *data, uint64_t store_id, bool was_up, int status, const char *reason)
{
    struct rig_store *store = data;
    assert_true(store_id >= 1 && store_id <= RIG_STORES);
    if (was_up)
        store->downs++;
    else
        store->attempts_failed++;
    store->down_status = status;
    snprintf(store->down_reason, sizeof store->down_reason, "%s", reason);
}

static int on_peer_message(void *data, uint64_t from, uint32_t kind, struct slice body,
                           struct err *err)
{
    struct rig_store *store = data;
    note(store->seen, RIG_SEEN_MAX, &store->seen_count, from, kind, body);
    if (store->message_code != 0)
        return err_set(err, store->message_code, "not a message for me");
    return store->must_decode ? decode_peer(kind, body, err) : 0;
}

static int on_request(void *data, uint64_t client, struct slice body, struct err *err)
{
    struct rig_store *store = data;
    note(store->seen, RIG_SEEN_MAX, &store->seen_count, client, MSG_REQUEST, body);
    if (store->message_code != 0)
        return err_set(err, store->message_code, "not a request for me");
    struct request request;
    int code = store->must_decode ? request_decode(body, &request, err) : 0;
    if (code != 0)
        return code;
    if (store->must_reply) {
        struct buf buf;
        buf_init(&buf, (size_t)64 << 20);
        rig_frame(&buf, MSG_RESPONSE, seq_of(body), store->reply_len);
        net_client_reply(store->net, client, buf_slice(&buf));
        buf_fini(&buf);
    }
    return 0;
}

static void on_client_gone(void *data, uint64_t client)
{
    struct rig_store *store = data;
    store->gone++;
    assert_int_equal(net_client_reply(store->net, client, slice_str("x")), ERR_NOT_FOUND);
}

static int on_stream_frame(void *data, uint32_t kind, struct slice body, struct err *err)
{
    struct rig_store *store = data;
    note(store->seen, RIG_SEEN_MAX, &store->seen_count, 0, kind, body);
    if (store->must_pause)
        net_stream_pause(store->stream);
    if (store->message_code != 0)
        return err_set(err, store->message_code, "not a chunk for me");
    return store->must_decode ? decode_stream(kind, body, err) : 0;
}

static void on_stream_close(void *data, int status, const char *reason)
{
    struct rig_store *store = data;
    store->stream = NULL;
    store->stream_status = status;
    snprintf(store->stream_reason, sizeof store->stream_reason, "%s", reason);
}

static int on_stream(void *data, struct net_stream *stream, const struct net_identity *from,
                     struct err *err)
{
    static const struct net_stream_handler HANDLER = {.on_frame = on_stream_frame,
                                                      .on_close = on_stream_close};
    struct rig_store *store = data;
    if (store->message_code != 0)
        return err_set(err, store->message_code, "no stream for me");
    assert_true(from->store_id > 0);
    store->stream = stream;
    net_stream_accept(stream, &HANDLER, store);
    return 0;
}

static void on_refused(void *data, const char *address, const char *reason)
{
    struct rig_store *store = data;
    assert_true(address[0] != '\0');
    store->refused++;
    snprintf(store->refused_reason, sizeof store->refused_reason, "%s", reason);
}

static const struct net_hooks HOOKS = {.check_peer = check_peer,
                                       .on_peer_up = on_peer_up,
                                       .on_peer_down = on_peer_down,
                                       .on_peer_message = on_peer_message,
                                       .on_request = on_request,
                                       .on_client_gone = on_client_gone,
                                       .on_stream = on_stream,
                                       .on_refused = on_refused};

static const char *const NAMES[RIG_STORES] = {"a", "b", "c"};
static const char *const ADDRESSES[RIG_STORES] = {"a:7000", "b:7000", "c:7000"};

struct rig *rig_new(uint64_t seed)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->sim = sim_new(NULL, seed);
    for (size_t i = 0; i < RIG_STORES; i++) {
        struct rig_store *store = &rig->stores[i];
        store->rig = rig;
        store->node = sim_node_new(rig->sim, NAMES[i]);
        store->options = (struct net_options){
            .address = ADDRESSES[i],
            .name = "rig",
            .self = {.cluster_id = RIG_CLUSTER, .store_id = i + 1, .boot = 1},
            .secret = slice_str("a secret"),
            .hooks = HOOKS,
            .data = store,
        };
        memset(store->options.self.store_uuid, (int)i + 1, STORE_UUID_LEN);
    }
    rig->outside = sim_node_new(rig->sim, "outside");
    return rig;
}

void rig_start(struct rig *rig, size_t i)
{
    struct rig_store *store = &rig->stores[i];
    struct err err = {0};
    if (!sim_node_is_up(store->node))
        sim_node_restart(store->node);
    if (net_new(sim_node_env(store->node), &store->options, &store->net, &err) != 0)
        fail_msg("%s", err.msg);
}

void rig_kill(struct rig *rig, size_t i)
{
    struct rig_store *store = &rig->stores[i];
    sim_node_crash(store->node, SIM_CRASH_KILL);
    net_free(store->net);
    store->net = NULL;
    store->stream = NULL;
}

void rig_free(struct rig *rig)
{
    for (size_t i = 0; i < RIG_STORES; i++)
        rig_kill(rig, i);
    sim_node_crash(rig->outside, SIM_CRASH_KILL);
    sim_free(rig->sim);
    free(rig);
}

struct net_peer *rig_dial(struct rig *rig, size_t i, size_t j)
{
    struct net_peer *peer = NULL;
    assert_int_equal(net_peer_add(rig->stores[i].net, j + 1, ADDRESSES[j], &peer, NULL), 0);
    return peer;
}

void rig_run(struct rig *rig, uint64_t us)
{
    sim_run_until(rig->sim, sim_now_us(rig->sim) + us);
    for (size_t i = 0; i < RIG_STORES; i++) {
        if (rig->stores[i].net != NULL)
            net_check(rig->stores[i].net);
    }
}

/* ---- clients ---------------------------------------------------------------------- */

static void client_take(struct rig_client *client, struct slice body)
{
    uint32_t kind = 0;
    struct error_msg error;
    assert_int_equal(msg_kind(body, &kind, NULL), 0);
    if (kind == MSG_ERROR && error_msg_decode(body, &error, NULL) == 0) {
        client->error_code = error.code;
        snprintf(client->error_text, sizeof client->error_text, "%.*s", (int)error.text.len,
                 (const char *)error.text.data);
    }
    note(client->seen, ARRAY_LEN(client->seen), &client->seen_count, 0, kind, body);
}

static void on_client_read(void *data, struct slice bytes)
{
    struct rig_client *client = data;
    struct slice body;
    client->reads++;
    client->bytes += bytes.len;
    if (client->is_broken)
        return;
    frame_reader_feed(&client->reader, bytes);
    int code;
    while ((code = frame_reader_next(&client->reader, &body, NULL)) == 0)
        client_take(client, body);
    client->is_broken = code != ERR_SHORT;
}

static void on_client_close(void *data, int status, const char *reason)
{
    struct rig_client *client = data;
    (void)reason;
    client->conn = NULL;
    client->status = status;
}

void rig_client_open(struct rig_client *client, struct rig *rig, struct sim_node *from, size_t j)
{
    static const struct env_conn_handler HANDLER = {.on_read = on_client_read,
                                                    .on_close = on_client_close};
    *client = (struct rig_client){.rig = rig};
    frame_reader_init(&client->reader, FRAME_BODY_MAX);
    assert_int_equal(
        env_connect(sim_node_env(from), ADDRESSES[j], &HANDLER, client, &client->conn, NULL), 0);
}

void rig_client_write(struct rig_client *client, const struct buf *buf)
{
    if (client->conn == NULL)
        return;
    uint8_t *bytes = malloc(buf->len);
    assert_non_null(bytes);
    memcpy(bytes, buf->data, buf->len);
    env_conn_write(client->conn, bytes, buf->len);
}

void rig_hello(struct buf *buf, enum hello_purpose purpose, uint64_t cluster, uint64_t id)
{
    struct hello hello = {.protocol_min = PROTOCOL_VERSION_MIN,
                          .protocol_max = PROTOCOL_VERSION_MAX,
                          .purpose = purpose,
                          .cluster_id = cluster,
                          .name = slice_str("raw"),
                          .store_id = id,
                          .boot = id == 0 ? 0 : 1};
    size_t start = frame_begin(buf);
    hello_encode(buf, &hello);
    frame_end(buf, start, false);
}

void rig_client_greet(struct rig_client *client, struct rig *rig, size_t j)
{
    rig_client_open(client, rig, rig->outside, j);
    struct buf buf;
    buf_init(&buf, 4096);
    rig_hello(&buf, HELLO_CLIENT, 0, 0);
    rig_client_write(client, &buf);
    buf_fini(&buf);
    rig_run(rig, RIG_SECOND / 10);
    assert_int_equal(client->seen_count, 1);
    assert_int_equal(client->seen[0].kind, MSG_HELLO_ACK);
    client->seen_count = 0;
    client->reads = 0;
    client->bytes = 0;
}

void rig_client_request(struct rig_client *client, uint64_t seq, size_t len)
{
    struct buf buf;
    buf_init(&buf, (size_t)64 << 20);
    rig_frame(&buf, MSG_REQUEST, seq, len);
    rig_client_write(client, &buf);
    buf_fini(&buf);
}

void rig_client_close(struct rig_client *client)
{
    if (client->conn != NULL)
        env_conn_close(client->conn);
    client->conn = NULL;
    frame_reader_fini(&client->reader);
}
