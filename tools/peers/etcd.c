/* SPDX-License-Identifier: Apache-2.0
 *
 * etcd — Put, Range and Txn of etcdserverpb.KV: gRPC, that is protobuf messages over HTTP/2,
 * by libnghttp2. Debian has etcd's Go client and gRPC for C++ and Python; this takes less of
 * the CPU that it shares with the servers than any of them, so etcd looks its best. Several
 * clients' calls share a connection as streams, as in etcd's own client.
 */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { GRPC_HEAD = 5, WINDOW = 1 << 30, LEN_MAX = 10 };

/* One client's call: a stream of its connection. */
struct call {
    struct load_client *client;
    uint8_t *body;
    size_t body_len, body_at, body_size;
    size_t answer_len;
    bool is_ok; /* grpc-status 0 came */
};

static struct call *calls;
static nghttp2_session **sessions;

/* ---- messages --------------------------------------------------------------------- */

static void body_put(struct call *call, const void *data, size_t len)
{
    if (call->body_size - call->body_len < len) {
        call->body_size = MAX(2 * call->body_size, call->body_len + len);
        call->body = realloc(call->body, call->body_size);
        if (call->body == NULL)
            load_die("out of memory");
    }
    memcpy(call->body + call->body_len, data, len);
    call->body_len += len;
}

static size_t varint(uint8_t out[LEN_MAX], uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

/* A field of wire type 2: bytes, or a message of which `len` bytes follow. */
static void field_bytes(struct call *call, unsigned field, const void *data, size_t len)
{
    uint8_t head[1 + LEN_MAX];
    head[0] = (uint8_t)(field << 3 | 2);
    body_put(call, head, 1 + varint(head + 1, len));
    if (data != NULL)
        body_put(call, data, len);
}

static size_t field_size(size_t len)
{
    uint8_t out[LEN_MAX];
    return 1 + varint(out, len) + len;
}

/* PutRequest { key = 1, value = 2 } */
static void put_message(struct call *call, uint64_t number)
{
    char key[LOAD_KEY];
    size_t len = load_key(number, key);
    field_bytes(call, 1, key, len);
    field_bytes(call, 2, load_value(call->client), call->client->load->value_size);
}

/* RangeRequest { key = 1, range_end = 2, limit = 3 }; not serializable, so linearizable. */
static void range_message(struct call *call)
{
    const struct load_client *client = call->client;
    char key[LOAD_KEY];
    field_bytes(call, 1, key, load_key(client->first, key));
    if (client->op != LOAD_SCAN)
        return;
    uint8_t limit[1 + LEN_MAX] = {3 << 3};
    field_bytes(call, 2, "bench;", 6);
    body_put(call, limit, 1 + varint(limit + 1, client->load->page));
}

/* TxnRequest { success = 2: RequestOp { request_put = 2: PutRequest } … } */
static void txn_message(struct call *call)
{
    const struct load_client *client = call->client;
    char key[LOAD_KEY];
    for (uint64_t i = 0; i < client->count; i++) {
        size_t len = load_key(client->first + i, key);
        size_t put = field_size(len) + field_size(client->load->value_size);
        field_bytes(call, 2, NULL, field_size(put));
        field_bytes(call, 2, NULL, put);
        put_message(call, client->first + i);
    }
}

/* ---- HTTP/2 ----------------------------------------------------------------------- */

static ssize_t on_body(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t len,
                       uint32_t *flags, nghttp2_data_source *source, void *data)
{
    struct call *call = source->ptr;
    size_t n = MIN(len, call->body_len - call->body_at);
    (void)session, (void)stream, (void)data;
    memcpy(buf, call->body + call->body_at, n);
    call->body_at += n;
    if (call->body_at == call->body_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *data)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)flags, (void)data;
    if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0 && call != NULL)
        call->is_ok = len == 1 && value[0] == '0';
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
                   size_t len, void *data)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, stream);
    (void)flags, (void)bytes, (void)data;
    if (call != NULL)
        call->answer_len += len;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *data)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, stream);
    (void)data;
    if (call == NULL)
        return 0;
    struct load_client *client = call->client;
    bool is_found = client->op == LOAD_PUT || client->op == LOAD_FILL ||
                    call->answer_len > client->load->value_size;
    load_done(client, error == NGHTTP2_NO_ERROR && call->is_ok && is_found);
    return 0;
}

#define HEADER(name, value)                                                                        \
    {                                                                                              \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, strlen(value),                    \
            NGHTTP2_NV_FLAG_NO_COPY_NAME                                                           \
    }

static void etcd_start(struct load *load, struct load_client *client)
{
    uint64_t number = (uint64_t)(client - load->clients);
    struct call *call = &calls[number];
    uint8_t head[GRPC_HEAD] = {0};
    const char *path = client->op == LOAD_PUT    ? "/etcdserverpb.KV/Put"
                       : client->op == LOAD_FILL ? "/etcdserverpb.KV/Txn"
                                                 : "/etcdserverpb.KV/Range";
    call->client = client;
    call->body_len = call->body_at = call->answer_len = 0;
    call->is_ok = false;
    body_put(call, head, sizeof head);
    if (client->op == LOAD_PUT)
        put_message(call, client->first);
    else if (client->op == LOAD_FILL)
        txn_message(call);
    else
        range_message(call);
    for (size_t i = 0, len = call->body_len - GRPC_HEAD; i < 4; i++)
        call->body[1 + i] = (uint8_t)(len >> (24 - 8 * i));
    nghttp2_nv headers[] = {
        HEADER(":method", "POST"),
        HEADER(":scheme", "http"),
        HEADER(":path", path),
        HEADER(":authority", load->address),
        HEADER("content-type", "application/grpc"),
        HEADER("te", "trailers"),
    };
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = on_body};
    nghttp2_session *session = sessions[number % load->conns_count];
    if (nghttp2_submit_request(session, NULL, headers, ARRAY_LEN(headers), &body, call) < 0)
        load_die("nghttp2_submit_request failed");
}

static void etcd_bytes(struct load *load, struct load_conn *conn, const uint8_t *data, size_t len)
{
    (void)load;
    ssize_t n = nghttp2_session_mem_recv(sessions[conn->number], data, len);
    if (n < 0 || (size_t)n != len)
        load_die("etcd: %s", nghttp2_strerror((int)n));
}

static void etcd_turn(struct load *load)
{
    for (uint64_t i = 0; i < load->conns_count; i++) {
        const uint8_t *data;
        ssize_t n;
        while ((n = nghttp2_session_mem_send(sessions[i], &data)) > 0)
            load_queue(&load->conns[i], data, (size_t)n);
        if (n < 0)
            load_die("etcd: %s", nghttp2_strerror((int)n));
    }
}

static void etcd_open(struct load *load)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
    calls = calloc(load->clients_count, sizeof *calls);
    sessions = calloc(load->conns_count, sizeof(nghttp2_session *));
    if (calls == NULL || sessions == NULL || nghttp2_session_callbacks_new(&callbacks) != 0)
        load_die("out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    for (uint64_t i = 0; i < load->conns_count; i++) {
        if (nghttp2_session_client_new(&sessions[i], callbacks, load) != 0 ||
            nghttp2_submit_settings(sessions[i], NGHTTP2_FLAG_NONE, settings, 1) != 0 ||
            nghttp2_session_set_local_window_size(sessions[i], NGHTTP2_FLAG_NONE, 0, WINDOW) != 0)
            load_die("nghttp2 failed");
    }
    nghttp2_session_callbacks_del(callbacks);
}

const struct load_peer load_etcd = {
    .name = "etcd",
    .open = etcd_open,
    .start = etcd_start,
    .on_bytes = etcd_bytes,
    .on_turn = etcd_turn,
};
