/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections.
 *
 *   env_conn_write() ─▶ out (chunks) ─▶ end of turn: one try_write of all of them
 *                                       ─▶ what the kernel did not take: uv_write
 *                                       ─▶ nothing left: on_drain
 *
 * A connection ends in one of two ways: real_conn_fail() tells the owner,
 * real_conn_drop() (the owner's own close, and env_stop()) does not. Either frees
 * what waits to be sent and hands the handle to libuv; the memory goes in
 * real_conn_on_closed(), so code that just called an owner may still look at the
 * state of its connection.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "env/uv/real_internal.h"

enum {
    CHUNKS_PER_WRITE_MAX = 256, /* buffers of one writev */
    CHUNKS_CAP_MIN = 8,
    UNSENT_MAX = 256 << 10, /* bytes that the kernel holds and may not send yet */
};

static struct real_conn *conn_of(struct env_conn *base)
{
    return container_of(base, struct real_conn, base);
}

static struct real_world *world_of(const struct real_conn *conn)
{
    return real_world_of(conn->base.env);
}

/* ---- chunks ---------------------------------------------------------------- */

static bool chunks_push(struct real_chunks *out, uint8_t *bytes, size_t len)
{
    if (out->first + out->count == out->cap && out->first > 0) {
        memmove(out->at, out->at + out->first, out->count * sizeof out->at[0]);
        out->first = 0;
    }
    if (out->first + out->count == out->cap) {
        size_t cap = MAX(out->cap * 2, (size_t)CHUNKS_CAP_MIN);
        struct real_chunk *at = realloc(out->at, cap * sizeof *at);
        if (at == NULL)
            return false;
        out->at = at;
        out->cap = cap;
    }
    out->at[out->first + out->count++] = (struct real_chunk){.bytes = bytes, .len = len};
    out->len += len;
    return true;
}

/* The first `len` bytes left: free the chunks that are through. */
static void chunks_consume(struct real_chunks *out, size_t len)
{
    ASSERT(len <= out->len);
    out->len -= len;
    while (len > 0) {
        struct real_chunk *chunk = &out->at[out->first];
        ASSERT(out->count > 0);
        size_t left = chunk->len - out->skip;
        if (len < left) {
            out->skip += len;
            return;
        }
        len -= left;
        free(chunk->bytes);
        out->skip = 0;
        out->first++;
        out->count--;
    }
    if (out->count == 0)
        out->first = 0;
}

static void chunks_fini(struct real_chunks *out)
{
    for (size_t i = 0; i < out->count; i++)
        free(out->at[out->first + i].bytes);
    free(out->at);
    *out = (struct real_chunks){0};
}

/* As many as one writev takes; returns how many and their bytes. */
static unsigned chunks_bufs(const struct real_chunks *out, uv_buf_t bufs[CHUNKS_PER_WRITE_MAX],
                            size_t *ret_len)
{
    unsigned count = (unsigned)MIN(out->count, (size_t)CHUNKS_PER_WRITE_MAX);
    size_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct real_chunk *chunk = &out->at[out->first + i];
        size_t skip = i == 0 ? out->skip : 0;
        ASSERT(skip < chunk->len);
        bufs[i] = uv_buf_init((char *)chunk->bytes + skip, (unsigned)(chunk->len - skip));
        len += chunk->len - skip;
    }
    *ret_len = len;
    return count;
}

/* ---- ends ------------------------------------------------------------------ */

void real_conn_on_closed(uv_handle_t *handle)
{
    struct real_conn *conn = handle->data;
    if (conn->state == REAL_CONN_REDIALLING) {
        real_dial_again(conn);
        return;
    }
    ASSERT(conn->state == REAL_CONN_CLOSED);
    chunks_fini(&conn->out); /* libuv borrowed them until now */
    free(conn);
}

void real_conn_drop(struct real_conn *conn)
{
    ASSERT(conn->state != REAL_CONN_CLOSED);
    bool is_closing = conn->state == REAL_CONN_REDIALLING;
    conn->state = REAL_CONN_CLOSED;
    conn->handler = (struct env_conn_handler){0};
    list_remove(&conn->in_conns);
    list_remove(&conn->in_flush);
    real_dial_clear(conn);
    if (!is_closing)
        uv_close((uv_handle_t *)&conn->tcp, real_conn_on_closed);
}

void real_conn_fail(struct real_conn *conn, int status, const char *fmt, ...)
{
    char reason[ERR_MSG_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    ASSERT(status < 0);
    struct env_conn_handler handler = conn->handler;
    real_conn_drop(conn);
    if (handler.on_close != NULL)
        handler.on_close(conn->data, status, reason);
}

/* ---- reading --------------------------------------------------------------- */

/* One buffer for all, where the owner has no better place: on_read gets its bytes before the next
 * read begins. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)suggested;
    struct real_conn *conn = handle->data;
    struct real_world *world = world_of(conn);
    size_t len = 0;
    uint8_t *room = NULL;
    if (conn->state == REAL_CONN_OPEN && conn->handler.on_room != NULL)
        room = conn->handler.on_room(conn->data, &len);
    if (room != NULL) {
        ASSERT(len > 0 && len <= UINT32_MAX);
        *ret_buf = uv_buf_init((char *)room, (unsigned)len);
        return;
    }
    *ret_buf = uv_buf_init((char *)world->read_buffer, sizeof world->read_buffer);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct real_conn *conn = stream->data;
    if (conn->state != REAL_CONN_OPEN || nread == 0)
        return;
    if (nread > 0)
        conn->handler.on_read(conn->data, slice_of(buf->base, (size_t)nread));
    else if (nread == UV_EOF)
        real_conn_fail(conn, ERR_EOF, "%s closed the connection", conn->address);
    else
        real_conn_fail(conn, ERR_IO, "read from %s: %s", conn->address, uv_strerror((int)nread));
}

static void conn_read_start(struct real_conn *conn)
{
    int status = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    ASSERT(status == 0 || status == UV_EALREADY);
}

static void op_conn_pause(struct env_conn *base)
{
    struct real_conn *conn = conn_of(base);
    conn->is_reading = false;
    if (conn->state == REAL_CONN_OPEN)
        uv_read_stop((uv_stream_t *)&conn->tcp);
}

static void op_conn_resume(struct env_conn *base)
{
    struct real_conn *conn = conn_of(base);
    conn->is_reading = true;
    if (conn->state == REAL_CONN_OPEN)
        conn_read_start(conn);
}

/* ---- writing --------------------------------------------------------------- */

static void conn_note_drained(struct real_conn *conn)
{
    ASSERT(conn->out.len == 0);
    ASSERT(conn->state == REAL_CONN_OPEN);
    if (!conn->is_drain_due)
        return;
    conn->is_drain_due = false;
    if (conn->handler.on_drain != NULL)
        conn->handler.on_drain(conn->data);
}

static void on_write(uv_write_t *req, int status)
{
    struct real_conn *conn = req->data;
    if (conn->state == REAL_CONN_CLOSED)
        return;
    size_t len = conn->sending_len;
    ASSERT(len > 0);
    conn->sending_len = 0;
    if (status != 0) {
        real_conn_fail(conn, ERR_IO, "write to %s: %s", conn->address, uv_strerror(status));
        return;
    }
    chunks_consume(&conn->out, len);
    if (conn->out.len == 0)
        conn_note_drained(conn);
    else if (!list_is_linked(&conn->in_flush)) /* written to since the loop looked at its sockets */
        list_push_back(&world_of(conn)->flush, &conn->in_flush);
}

/* What the kernel does not take at once waits in libuv. */
static void conn_send_rest(struct real_conn *conn)
{
    uv_buf_t bufs[CHUNKS_PER_WRITE_MAX];
    unsigned count = chunks_bufs(&conn->out, bufs, &conn->sending_len);
    ASSERT(conn->sending_len > 0);
    int status = uv_write(&conn->write_req, (uv_stream_t *)&conn->tcp, bufs, count, on_write);
    if (status == 0)
        return;
    conn->sending_len = 0;
    real_conn_fail(conn, ERR_IO, "write to %s: %s", conn->address, uv_strerror(status));
}

static void conn_flush(struct real_conn *conn)
{
    ASSERT(conn->state == REAL_CONN_OPEN);
    if (conn->is_out_of_memory) {
        real_conn_fail(conn, ERR_NOMEM, "write to %s: out of memory", conn->address);
        return;
    }
    if (conn->sending_len > 0)
        return; /* on_write comes back here */
    while (conn->out.len > 0) {
        uv_buf_t bufs[CHUNKS_PER_WRITE_MAX];
        size_t len;
        unsigned count = chunks_bufs(&conn->out, bufs, &len);
        int n = uv_try_write((uv_stream_t *)&conn->tcp, bufs, count);
        if (n < 0 && n != UV_EAGAIN) {
            real_conn_fail(conn, ERR_IO, "write to %s: %s", conn->address, uv_strerror(n));
            return;
        }
        if (n > 0)
            chunks_consume(&conn->out, (size_t)n);
        if (n < 0 || (size_t)n < len) {
            conn_send_rest(conn);
            return;
        }
    }
    conn_note_drained(conn);
}

/* Those that a callback writes to while this runs wait for the next round. */
void real_conns_flush(struct real_world *world)
{
    struct list round, *link;
    list_init(&round);
    while ((link = list_pop_front(&world->flush)) != NULL)
        list_push_back(&round, link);
    while ((link = list_pop_front(&round)) != NULL)
        conn_flush(list_entry(link, struct real_conn, in_flush));
}

static void op_conn_write(struct env_conn *base, uint8_t *bytes, size_t len)
{
    struct real_conn *conn = conn_of(base);
    ASSERT(conn->state != REAL_CONN_OFFERED);
    if (conn->state == REAL_CONN_CLOSED || len == 0) {
        free(bytes);
        return;
    }
    ASSERT(bytes != NULL);
    ASSERT(len <= UINT32_MAX); /* libuv's buffers; frames are far smaller */
    if (!chunks_push(&conn->out, bytes, len)) {
        free(bytes);
        conn->is_out_of_memory = true;
    }
    conn->is_drain_due = true;
    if (conn->state == REAL_CONN_OPEN && !list_is_linked(&conn->in_flush))
        list_push_back(&world_of(conn)->flush, &conn->in_flush);
}

static size_t op_conn_pending(const struct env_conn *base)
{
    const struct real_conn *conn = container_of(base, const struct real_conn, base);
    if (conn->sending_len == 0)
        return conn->out.len;
    size_t waiting = uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp);
    ASSERT(waiting <= conn->sending_len);
    return conn->out.len - (conn->sending_len - waiting);
}

/* ---- life ------------------------------------------------------------------ */

struct real_conn *real_conn_new(struct real_world *world, enum real_conn_state state)
{
    struct real_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return NULL;
    conn->base.env = &world->base;
    conn->state = state;
    conn->is_reading = true;
    conn->connect_req.data = conn;
    conn->write_req.data = conn;
    list_init(&conn->in_flush);
    list_init(&conn->in_conns);
    list_push_back(&world->conns, &conn->in_conns);
    uv_tcp_init(&world->loop, &conn->tcp);
    conn->tcp.data = conn;
    return conn;
}

/* Of who does not read the kernel would hold some 4 MiB, and with hundreds of them all that TCP
 * may have in memory: then packets of others are dropped. What is on its way has no bound here, so
 * far ends lose no speed. */
static void conn_bound_unsent(struct real_conn *conn)
{
    int fd = -1;
    int most = UNSENT_MAX;
    if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0) /* a private address has no such bound */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof most);
}

void real_conn_opened(struct real_conn *conn)
{
    ASSERT(conn->state == REAL_CONN_OFFERED || conn->state == REAL_CONN_DIALLING);
    real_dial_clear(conn);
    conn->state = REAL_CONN_OPEN;
    uv_tcp_nodelay(&conn->tcp, 1);
    uv_tcp_keepalive(&conn->tcp, 1, REAL_KEEPALIVE_S);
    conn_bound_unsent(conn);
    if (conn->is_reading)
        conn_read_start(conn);
    if (conn->out.count > 0 || conn->is_out_of_memory)
        list_push_back(&world_of(conn)->flush, &conn->in_flush);
    if (conn->handler.on_open != NULL)
        conn->handler.on_open(conn->data);
}

static void op_conn_accept(struct env_conn *base, const struct env_conn_handler *handler,
                           void *data)
{
    struct real_conn *conn = conn_of(base);
    ASSERT(conn->state == REAL_CONN_OFFERED);
    ASSERT(handler->on_read != NULL && handler->on_close != NULL);
    conn->handler = *handler;
    conn->handler.on_open = NULL; /* only for those who connect */
    conn->data = data;
    real_conn_opened(conn);
}

static void op_conn_close(struct env_conn *base)
{
    struct real_conn *conn = conn_of(base);
    if (conn->state != REAL_CONN_CLOSED)
        real_conn_drop(conn);
}

static bool op_conn_is_loopback(const struct env_conn *base)
{
    const struct real_conn *conn = container_of(base, const struct real_conn, base);
    struct sockaddr_storage addr;
    int len = sizeof addr;
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&addr, &len) != 0)
        return false;
    return real_address_is_loopback((const struct sockaddr *)&addr);
}

void real_conns_stop(struct real_world *world)
{
    while (!list_is_empty(&world->conns))
        real_conn_drop(list_first(&world->conns, struct real_conn, in_conns));
    ASSERT(list_is_empty(&world->flush));
}

void real_conns_fill(struct env_ops *ops)
{
    ops->conn_accept = op_conn_accept;
    ops->conn_write = op_conn_write;
    ops->conn_pending = op_conn_pending;
    ops->conn_pause = op_conn_pause;
    ops->conn_resume = op_conn_resume;
    ops->conn_close = op_conn_close;
    ops->conn_is_loopback = op_conn_is_loopback;
}
