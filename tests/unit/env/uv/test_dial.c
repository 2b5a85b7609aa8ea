/* SPDX-License-Identifier: Apache-2.0
 *
 * Names with several addresses. The name service is this file's (the linker puts it there,
 * CMakeLists.txt).
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "env/uv/env_uv.h"
#include "support/check.h"

/* After base.h: it brings another MIN and MAX, and only this order is silent. */
#include <uv.h>

enum { ADDRS_MAX = 4 };

/* ---- the name service ------------------------------------------------------- */

int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
                          const char *node, const char *service, const struct addrinfo *hints);
void __wrap_uv_freeaddrinfo(struct addrinfo *addrs);

/* What the name stands for, in this order. */
struct names {
    struct addrinfo infos[ADDRS_MAX];
    struct sockaddr_storage addrs[ADDRS_MAX];
    size_t count;
    uv_getaddrinfo_t *asked;
    uv_getaddrinfo_cb answer;
    int freed;
};

static struct names names;

int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
                          const char *node, const char *service, const struct addrinfo *hints)
{
    (void)loop;
    (void)service;
    (void)hints;
    assert_string_equal(node, "many.test");
    names.asked = req;
    names.answer = cb;
    return 0;
}

void __wrap_uv_freeaddrinfo(struct addrinfo *addrs)
{
    assert_ptr_equal(addrs, names.infos);
    names.freed++;
}

static void names_add(const char *host, uint16_t port)
{
    assert_true(names.count < ADDRS_MAX);
    size_t i = names.count++;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&names.addrs[i];
    struct sockaddr_in *four = (struct sockaddr_in *)&names.addrs[i];
    if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
    } else {
        assert_int_equal(inet_pton(AF_INET, host, &four->sin_addr), 1);
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
    }
    names.infos[i].ai_addr = (struct sockaddr *)&names.addrs[i];
    if (i > 0)
        names.infos[i - 1].ai_next = &names.infos[i];
}

/* ---- one dial --------------------------------------------------------------- */

/* What TCP refuses at once: addresses of many, which no one answers for. */
#define NO_ROUTE_V6 "ff02::1"
#define NO_ROUTE_V4 "224.0.0.1"

struct fixture {
    struct env *env;
    struct env_listener *listener;
    struct env_conn *conn;
    struct env_timer timer;
    uint16_t port;
    int opens;
    int accepts;
    int status;
    char reason[128];
};

static void on_open(void *data)
{
    struct fixture *f = data;
    f->opens++;
    env_uv_quit(f->env);
}

static void on_read(void *data, struct slice bytes)
{
    (void)data;
    (void)bytes;
}

static void on_close(void *data, int status, const char *reason)
{
    struct fixture *f = data;
    assert_int_equal(f->status, 0); /* once */
    f->status = status;
    f->conn = NULL;
    snprintf(f->reason, sizeof f->reason, "%s", reason);
    env_uv_quit(f->env);
}

static const struct env_conn_handler HANDLER = {
    .on_open = on_open, .on_read = on_read, .on_close = on_close};

static void on_peer_close(void *data, int status, const char *reason)
{
    (void)data;
    (void)status;
    (void)reason;
}

static const struct env_conn_handler PEER = {.on_read = on_read, .on_close = on_peer_close};

static void on_accept(void *data, struct env_conn *conn, const char *peer)
{
    struct fixture *f = data;
    (void)peer;
    f->accepts++;
    env_conn_accept(conn, &PEER, NULL);
}

static void on_deadline(struct env_timer *timer)
{
    (void)timer;
    fail_msg("neither open nor closed");
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    memset(&names, 0, sizeof names);
    assert_int_equal(env_uv_new(NULL, &f->env, NULL), 0);
    assert_int_equal(env_listen(f->env, "127.0.0.1:0", on_accept, f, &f->listener, NULL), 0);
    f->port = (uint16_t)strtoul(strrchr(env_listener_address(f->listener), ':') + 1, NULL, 10);
    env_timer_init(&f->timer, f->env, on_deadline, f);
    env_timer_start(&f->timer, 60 * 1000 * 1000);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    env_stop(f->env);
    env_uv_free(f->env);
    free(f);
    assert_int_equal(names.freed, 1);
    return 0;
}

static void dial(struct fixture *f)
{
    assert_int_equal(env_connect(f->env, "many.test:1", &HANDLER, f, &f->conn, NULL), 0);
    assert_non_null(names.asked);
    names.answer(names.asked, 0, names.infos);
}

static bool has_v6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void test_past_an_address_that_fails_at_once(void **state)
{
    struct fixture *f = *state;
    names_add(NO_ROUTE_V4, 1);
    names_add("127.0.0.1", f->port);
    dial(f);
    env_uv_run(f->env);
    assert_int_equal(f->status, 0);
    assert_int_equal(f->opens, 1);
}

/* Its socket is of the other family, so it cannot serve the next address. Where the kernel has no
 * IPv6 at all, there is no such socket either. */
static void test_past_an_address_of_the_other_family(void **state)
{
    struct fixture *f = *state;
    names_add(NO_ROUTE_V6, 1);
    names_add(NO_ROUTE_V6, 2);
    names_add("127.0.0.1", f->port);
    dial(f);
    env_uv_run(f->env);
    assert_string_equal(f->reason, "");
    assert_int_equal(f->opens, 1);
}

static void test_the_last_address_tells_why(void **state)
{
    struct fixture *f = *state;
    names_add("127.0.0.1", 1);
    names_add(has_v6() ? NO_ROUTE_V6 : NO_ROUTE_V4, 1);
    dial(f);
    env_uv_run(f->env);
    assert_int_equal(f->opens, 0);
    assert_int_equal(f->status, ERR_IO);
    assert_non_null(strstr(f->reason, "network is unreachable"));
}

static void on_late(struct env_timer *timer)
{
    struct fixture *f = timer->data;
    env_uv_quit(f->env);
}

/* By its owner, while the socket of the first is being closed. */
static void test_closed_between_two_addresses(void **state)
{
    struct fixture *f = *state;
    names_add(NO_ROUTE_V4, 1);
    names_add("127.0.0.1", f->port);
    dial(f);
    env_conn_close(f->conn);
    struct env_timer late;
    env_timer_init(&late, f->env, on_late, f);
    env_timer_start(&late, 10 * 1000);
    env_uv_run(f->env);
    assert_int_equal(f->opens, 0);
    assert_int_equal(f->accepts, 0);
    assert_int_equal(f->status, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_past_an_address_that_fails_at_once),
        TEST(test_past_an_address_of_the_other_family),
        TEST(test_the_last_address_tells_why),
        TEST(test_closed_between_two_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
