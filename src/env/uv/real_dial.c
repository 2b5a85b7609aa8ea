/* SPDX-License-Identifier: Apache-2.0
 *
 * Connecting: a literal address goes straight to the kernel, a name first to the
 * name service (libuv's pool: the one thing it is used for), then one address
 * after the other, all within ENV_UV_CONNECT_MS.
 *
 *   RESOLVING ─▶ DIALLING ─▶ OPEN
 *                  │   ▲
 *                  ▼   │ (socket closed)
 *               REDIALLING
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "env/uv/real_internal.h"

/* Outlives its connection when that is closed before the answer. */
struct real_resolve {
    uv_getaddrinfo_t req;
    struct real_conn *conn; /* NULL once nobody waits */
};

void real_dial_clear(struct real_conn *conn)
{
    env_timer_stop(&conn->connect_timer);
    if (conn->resolve != NULL) {
        conn->resolve->conn = NULL;
        uv_cancel((uv_req_t *)&conn->resolve->req);
        conn->resolve = NULL;
    }
    if (conn->addrs != NULL)
        uv_freeaddrinfo(conn->addrs);
    conn->addrs = conn->addr_next = NULL;
}

static void on_connect_timeout(struct env_timer *timer)
{
    struct real_conn *conn = timer->data;
    ASSERT(conn->state != REAL_CONN_OPEN && conn->state != REAL_CONN_CLOSED);
    real_conn_fail(conn, ERR_TIMEOUT, "connect to %s: no answer in %d ms", conn->address,
                   ENV_UV_CONNECT_MS);
}

/* An address failed, at once or later: the next one gets a socket of its own, for this one is of
 * the address family that failed. */
static void dial_failed(struct real_conn *conn, int status)
{
    ASSERT(conn->state == REAL_CONN_DIALLING);
    if (conn->addr_next == NULL) {
        real_conn_fail(conn, ERR_IO, "connect to %s: %s", conn->address, uv_strerror(status));
        return;
    }
    conn->state = REAL_CONN_REDIALLING;
    uv_close((uv_handle_t *)&conn->tcp, real_conn_on_closed);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct real_conn *conn = req->data;
    if (conn->state != REAL_CONN_DIALLING)
        return;
    if (status == 0)
        real_conn_opened(conn);
    else
        dial_failed(conn, status);
}

/* 0 when the kernel is at it. */
static int dial_one(struct real_conn *conn, const struct sockaddr *addr)
{
    conn->state = REAL_CONN_DIALLING;
    return uv_tcp_connect(&conn->connect_req, &conn->tcp, addr, on_connect);
}

static void dial_next(struct real_conn *conn)
{
    const struct addrinfo *addr = conn->addr_next;
    conn->addr_next = addr->ai_next;
    int status = dial_one(conn, addr->ai_addr);
    if (status != 0)
        dial_failed(conn, status);
}

void real_dial_again(struct real_conn *conn)
{
    ASSERT(conn->state == REAL_CONN_REDIALLING);
    ASSERT(conn->addr_next != NULL);
    uv_tcp_init(conn->tcp.loop, &conn->tcp);
    dial_next(conn);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addrs)
{
    struct real_resolve *resolve = container_of(req, struct real_resolve, req);
    struct real_conn *conn = resolve->conn;
    free(resolve);
    if (conn == NULL) {
        uv_freeaddrinfo(addrs);
        return;
    }
    ASSERT(conn->state == REAL_CONN_RESOLVING);
    conn->resolve = NULL;
    if (status != 0) {
        uv_freeaddrinfo(addrs);
        real_conn_fail(conn, ERR_IO, "find host of %s: %s", conn->address, uv_strerror(status));
        return;
    }
    ASSERT(addrs != NULL);
    conn->addrs = conn->addr_next = addrs;
    dial_next(conn);
}

/* 0 or libuv's error. */
static int dial_resolve(struct real_conn *conn, const struct real_host_port *parts)
{
    struct real_resolve *resolve = malloc(sizeof *resolve);
    if (resolve == NULL)
        return UV_ENOMEM;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    resolve->conn = conn;
    int status = uv_getaddrinfo(conn->tcp.loop, &resolve->req, on_resolved, parts->host,
                                parts->port, &hints);
    if (status != 0) {
        free(resolve);
        return status;
    }
    conn->resolve = resolve;
    return 0;
}

static void on_private_open(struct env_timer *timer)
{
    real_conn_opened(timer->data);
}

/* To this very process: it stands at once, which is told from the loop, or not at all. 0 or
 * -errno. */
static int dial_private(struct real_conn *conn, const struct sockaddr_un *addr, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int status = connect(fd, (const struct sockaddr *)addr, len) == 0 ? 0 : -errno;
    if (status == 0 && !real_private_is_own(fd))
        status = -EPERM;
    if (status == 0)
        status = uv_tcp_open(&conn->tcp, fd);
    if (status != 0) {
        close(fd);
        return status;
    }
    conn->state = REAL_CONN_DIALLING;
    env_timer_init(&conn->connect_timer, conn->base.env, on_private_open, conn);
    env_timer_start(&conn->connect_timer, 0);
    return 0;
}

/* 0 or libuv's error. */
static int dial(struct real_conn *conn, const struct real_host_port *parts)
{
    struct sockaddr_un private;
    socklen_t len;
    if (real_address_private(parts, &private, &len))
        return dial_private(conn, &private, len);
    struct sockaddr_storage addr;
    int status = real_address_numeric(parts, &addr) ? dial_one(conn, (struct sockaddr *)&addr)
                                                    : dial_resolve(conn, parts);
    if (status == 0)
        env_timer_start(&conn->connect_timer, (uint64_t)ENV_UV_CONNECT_MS * 1000);
    return status;
}

static int op_connect(struct env *env, const char *address, const struct env_conn_handler *handler,
                      void *data, struct env_conn **ret_conn, struct err *err)
{
    struct real_world *world = real_world_of(env);
    ASSERT(handler->on_read != NULL && handler->on_close != NULL);
    struct real_host_port parts;
    int code = real_address_split(address, false, &parts, err);
    if (code != 0)
        return code;
    if (world->is_stopped)
        return err_set(err, ERR_CANCELED, "connect to %s: stopped", address);
    struct real_conn *conn = real_conn_new(world, REAL_CONN_RESOLVING);
    if (conn == NULL)
        return err_set(err, ERR_NOMEM, "connect to %s: out of memory", address);
    conn->handler = *handler;
    conn->data = data;
    snprintf(conn->address, sizeof conn->address, "%s", address);
    env_timer_init(&conn->connect_timer, env, on_connect_timeout, conn);

    int status = dial(conn, &parts);
    if (status != 0) {
        real_conn_drop(conn);
        return err_set(err, ERR_IO, "connect to %s: %s", address, uv_strerror(status));
    }
    *ret_conn = &conn->base;
    return 0;
}

void real_dial_fill(struct env_ops *ops)
{
    ops->connect = op_connect;
}
