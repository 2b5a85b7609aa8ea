/* SPDX-License-Identifier: Apache-2.0
 *
 * Listeners. The accept loop is our own, on a polled socket: when descriptors
 * run out it rests for REAL_ACCEPT_RETRY_MS, while those who wait stay in the
 * kernel's backlog, instead of spinning or shutting the door on them.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "env/uv/real_internal.h"

struct real_listener {
    struct env_listener base;
    env_accept_cb cb;
    void *data;
    int fd; /* -1 once closed */
    bool is_private;
    uv_poll_t poll;
    struct env_timer retry;
    struct list in_listeners;
    char address[ENV_ADDRESS_MAX];
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void on_retry(struct env_timer *timer)
{
    struct real_listener *listener = timer->data;
    uv_poll_start(&listener->poll, UV_READABLE, on_poll);
}

static bool is_shortage(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOBUFS || errnum == ENOMEM;
}

static void listener_rest(struct real_listener *listener)
{
    uv_poll_stop(&listener->poll);
    env_timer_start(&listener->retry, (uint64_t)REAL_ACCEPT_RETRY_MS * 1000);
}

static void listener_offer(struct real_listener *listener, int fd, const struct sockaddr *addr)
{
    struct real_world *world = real_world_of(listener->base.env);
    struct real_conn *conn = real_conn_new(world, REAL_CONN_OFFERED);
    if (conn == NULL) {
        close(fd);
        return;
    }
    real_address_format(addr, conn->address);
    env_timer_init(&conn->connect_timer, &world->base, on_retry, NULL); /* never started */
    if (uv_tcp_open(&conn->tcp, fd) != 0) {
        close(fd);
        real_conn_drop(conn);
        return;
    }
    listener->cb(listener->data, &conn->base, conn->address);
    ASSERT(conn->state != REAL_CONN_OFFERED); /* freed after this turn at the earliest */
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct real_listener *listener = poll->data;
    (void)status; /* accept4() tells */
    (void)events;
    for (int i = 0; i < REAL_ACCEPT_BURST && listener->fd >= 0; i++) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        int fd =
            accept4(listener->fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && listener->is_private && !real_private_is_own(fd)) {
            close(fd); /* who guessed its name is still nobody */
        } else if (fd >= 0) {
            listener_offer(listener, fd, (const struct sockaddr *)&addr);
        } else if (errno == EAGAIN) {
            return;
        } else if (is_shortage(errno)) {
            listener_rest(listener);
            return;
        } /* else: that connection died on its way here */
    }
}

/* A bound, listening socket, or -errno. */
static int socket_listen(const struct sockaddr *addr, socklen_t len)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int one = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, addr, len) != 0 || listen(fd, ENV_UV_BACKLOG) != 0) {
        int status = -errno;
        close(fd);
        return status;
    }
    return fd;
}

/* Names are looked up here and now: this is for starting up. */
static int address_listen(const char *address, int *ret_fd, bool *ret_is_private, struct err *err)
{
    struct real_host_port parts;
    struct sockaddr_un private;
    socklen_t len;
    int code = real_address_split(address, true, &parts, err);
    if (code != 0)
        return code;
    *ret_is_private = real_address_private(&parts, &private, &len);
    if (*ret_is_private) {
        *ret_fd = socket_listen((const struct sockaddr *)&private, len);
        return *ret_fd >= 0 ? 0 : err_set_errno(err, -*ret_fd, "listen on %s", address);
    }
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *addrs;
    int status = getaddrinfo(parts.host, parts.port, &hints, &addrs);
    if (status != 0)
        return err_set(err, ERR_IO, "listen on %s: %s", address, gai_strerror(status));
    int fd = socket_listen(addrs->ai_addr, addrs->ai_addrlen);
    freeaddrinfo(addrs);
    if (fd < 0)
        return err_set_errno(err, -fd, "listen on %s", address);
    *ret_fd = fd;
    return 0;
}

static int op_listen(struct env *env, const char *address, env_accept_cb cb, void *data,
                     struct env_listener **ret_listener, struct err *err)
{
    struct real_world *world = real_world_of(env);
    ASSERT(cb != NULL);
    ASSERT(!world->is_stopped);
    struct real_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return err_set(err, ERR_NOMEM, "listen on %s: out of memory", address);
    int code = address_listen(address, &listener->fd, &listener->is_private, err);
    if (code != 0) {
        free(listener);
        return code;
    }
    int status = uv_poll_init(&world->loop, &listener->poll, listener->fd);
    if (status != 0) {
        close(listener->fd);
        free(listener);
        return err_set(err, ERR_IO, "listen on %s: %s", address, uv_strerror(status));
    }
    listener->base.env = env;
    listener->cb = cb;
    listener->data = data;
    listener->poll.data = listener;
    env_timer_init(&listener->retry, env, on_retry, listener);
    list_init(&listener->in_listeners);
    list_push_back(&world->listeners, &listener->in_listeners);
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    getsockname(listener->fd, (struct sockaddr *)&addr, &len);
    if (listener->is_private)
        snprintf(listener->address, sizeof listener->address, "%s", address);
    else
        real_address_format((const struct sockaddr *)&addr, listener->address);
    uv_poll_start(&listener->poll, UV_READABLE, on_poll);
    *ret_listener = &listener->base;
    return 0;
}

static const char *op_listener_address(const struct env_listener *base)
{
    return container_of(base, const struct real_listener, base)->address;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* The port is free when this returns. */
static void op_listener_close(struct env_listener *base)
{
    struct real_listener *listener = container_of(base, struct real_listener, base);
    ASSERT(listener->fd >= 0);
    env_timer_stop(&listener->retry);
    list_remove(&listener->in_listeners);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    close(listener->fd);
    listener->fd = -1;
}

void real_listeners_stop(struct real_world *world)
{
    while (!list_is_empty(&world->listeners)) {
        struct real_listener *listener =
            list_first(&world->listeners, struct real_listener, in_listeners);
        op_listener_close(&listener->base);
    }
}

void real_listeners_fill(struct env_ops *ops)
{
    ops->listen = op_listen;
    ops->listener_address = op_listener_address;
    ops->listener_close = op_listener_close;
}
