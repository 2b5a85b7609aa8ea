/* SPDX-License-Identifier: Apache-2.0
 *
 *   load etcd|redis HOST:PORT put|get|mixed|scan|fill [FLAGS]
 *
 * prints one JSON object with the names of `holdfast bench --json`.
 */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/args.h"
#include "base/err.h"

enum { EVENTS = 512, READ_BYTES = 256 << 10 };

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

_Noreturn void load_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

size_t load_key(uint64_t number, char ret_key[LOAD_KEY])
{
    return (size_t)snprintf(ret_key, LOAD_KEY, "bench:%012" PRIu64, number);
}

const uint8_t *load_value(struct load_client *client)
{
    return client->load->pool + rng_below(&client->rng, LOAD_POOL);
}

/* ---- connections ------------------------------------------------------------------ */

static void conn_watch(struct load *load, struct load_conn *conn, int how)
{
    struct epoll_event event = {
        .events = EPOLLIN | (conn->is_blocked ? (uint32_t)EPOLLOUT : 0),
        .data.u64 = conn->number,
    };
    if (epoll_ctl(load->epoll, how, conn->fd, &event) != 0)
        load_die("epoll_ctl: %s", strerror(errno));
}

static void conn_flush(struct load *load, struct load_conn *conn)
{
    size_t at = 0;
    bool was_blocked = conn->is_blocked;
    conn->is_blocked = false;
    while (at < conn->out_len && !conn->is_blocked) {
        ssize_t n = send(conn->fd, conn->out + at, conn->out_len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            at += (size_t)n;
        else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            conn->is_blocked = true;
        else if (n < 0 && errno != EINTR)
            load_die("send: %s", strerror(errno));
    }
    memmove(conn->out, conn->out + at, conn->out_len - at);
    conn->out_len -= at;
    if (conn->is_blocked != was_blocked)
        conn_watch(load, conn, EPOLL_CTL_MOD);
}

void load_queue(struct load_conn *conn, const void *data, size_t len)
{
    if (conn->out_size - conn->out_len < len) {
        conn->out_size = MAX(2 * conn->out_size, conn->out_len + len);
        conn->out = realloc(conn->out, conn->out_size);
        if (conn->out == NULL)
            load_die("out of memory");
    }
    memcpy(conn->out + conn->out_len, data, len);
    conn->out_len += len;
}

static void connect_all(struct load *load)
{
    char host[128];
    const char *colon = strrchr(load->address, ':');
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int one = 1;
    if (colon == NULL || (size_t)(colon - load->address) >= sizeof host)
        load_die("'%s' is no HOST:PORT", load->address);
    memcpy(host, load->address, (size_t)(colon - load->address));
    host[colon - load->address] = 0;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        load_die("'%s' is unknown", load->address);
    for (uint64_t i = 0; i < load->conns_count; i++) {
        struct load_conn *conn = &load->conns[i];
        conn->number = i;
        conn->fd = socket(found->ai_family, SOCK_STREAM, 0);
        if (conn->fd < 0 || connect(conn->fd, found->ai_addr, found->ai_addrlen) != 0)
            load_die("connect to %s: %s", load->address, strerror(errno));
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conn_watch(load, conn, EPOLL_CTL_ADD);
    }
    freeaddrinfo(found);
}

static void conn_read(struct load *load, struct load_conn *conn, uint8_t *buf)
{
    ssize_t n = recv(conn->fd, buf, READ_BYTES, MSG_DONTWAIT);
    if (n == 0)
        load_die("%s hung up", load->peer->name);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        load_die("recv: %s", strerror(errno));
    if (n > 0)
        load->peer->on_bytes(load, conn, buf, (size_t)n);
}

/* What the turn began leaves. */
static void turn_end(struct load *load)
{
    if (load->peer->on_turn != NULL)
        load->peer->on_turn(load);
    for (uint64_t i = 0; i < load->conns_count; i++)
        if (load->conns[i].out_len > 0 && !load->conns[i].is_blocked)
            conn_flush(load, &load->conns[i]);
}

/* ---- the loop --------------------------------------------------------------------- */

/* Begin the client's next operation, or let it end. */
static void client_next(struct load_client *c, uint64_t now)
{
    struct load *load = c->load;
    c->op = load->kind;
    c->count = 1;
    if (load->kind == LOAD_FILL) {
        c->first = load->filled;
        c->count = MIN(load->keys - load->filled, (uint64_t)LOAD_FILL_BATCH);
        load->filled += c->count;
    } else {
        c->first = rng_below(&c->rng, load->keys);
    }
    if (load->kind == LOAD_MIXED)
        c->op = rng_chance(&c->rng, load->reads_percent, 100) ? LOAD_GET : LOAD_PUT;
    if (c->count == 0 || (load->kind != LOAD_FILL && now >= load->until_us)) {
        load->active--;
        return;
    }
    c->began_us = now;
    load->peer->start(load, c);
}

void load_done(struct load_client *c, bool is_good)
{
    struct load *load = c->load;
    uint64_t now = now_us();
    load->total++;
    if (!is_good)
        load->errors++;
    else if (load->kind == LOAD_FILL || (now >= load->measure_us && now <= load->until_us))
        hist_add(&load->hist, now - c->began_us);
    client_next(c, now);
}

static void load_run(struct load *load)
{
    struct epoll_event events[EVENTS];
    uint8_t *buf = malloc(READ_BYTES);
    if (buf == NULL)
        load_die("out of memory");
    load->measure_us = now_us() + load->warmup_us;
    load->until_us = load->measure_us + load->duration_us;
    load->active = load->clients_count;
    for (uint64_t i = 0; i < load->clients_count; i++) {
        load->clients[i].load = load;
        rng_init(&load->clients[i].rng, load->seed + i);
    }
    for (uint64_t i = 0; i < load->clients_count; i++)
        client_next(&load->clients[i], now_us());
    turn_end(load);
    while (load->active > 0) {
        int n = epoll_wait(load->epoll, events, EVENTS, 10000);
        if (n == 0)
            load_die("no answer for 10 s");
        for (int i = 0; i < n; i++) {
            struct load_conn *conn = &load->conns[events[i].data.u64];
            if (events[i].events & EPOLLOUT)
                conn_flush(load, conn);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                conn_read(load, conn, buf);
        }
        turn_end(load);
    }
    free(buf);
}

/* ---- flags and figures ------------------------------------------------------------ */

static const char *const kind_names[] = {"put", "get", "mixed", "scan", "fill"};

static void parse(struct load *load, int argc, const char *const *argv)
{
    const struct args_flag flags[] = {
        {"clients", 'c', ARGS_U64, &load->clients_count, NULL, "N", "at a time (64)"},
        {"conns", 0, ARGS_U64, &load->conns_count, NULL, "N", "connections"},
        {"seconds", 's', ARGS_U64, &load->duration_us, NULL, "N", "how long (10)"},
        {"warmup", 0, ARGS_DURATION, &load->warmup_us, NULL, "TIME", "not counted, before (0)"},
        {"value-size", 'v', ARGS_SIZE, &load->value_size, NULL, "SIZE", "of a value (100)"},
        {"keys", 'k', ARGS_U64, &load->keys, NULL, "N", "different keys (100000)"},
        {"page", 0, ARGS_U64, &load->page, NULL, "N", "scan: keys of a page (100)"},
        {"reads", 0, ARGS_U64, &load->reads_percent, NULL, "PERCENT", "mixed: reads (95)"},
        {"seed", 0, ARGS_U64, &load->seed, NULL, "N", "of the choice of keys (1)"},
    };
    const char *words[3];
    size_t count;
    struct err err = {0};
    if (args_parse(flags, ARRAY_LEN(flags), argc - 1, argv + 1, words, 3, &count, &err) != 0)
        load_die("%s", err.msg);
    if (count != 3)
        load_die("usage: load etcd|redis HOST:PORT put|get|mixed|scan|fill [FLAGS]");
    load->peer = strcmp(words[0], "etcd") == 0 ? &load_etcd : &load_redis;
    load->address = words[1];
    load->kind = LOAD_FILL;
    for (size_t i = 0; i < ARRAY_LEN(kind_names); i++)
        if (strcmp(words[2], kind_names[i]) == 0)
            load->kind = (enum load_kind)i;
    load->duration_us *= 1000000;
    if (load->conns_count == 0)
        load->conns_count = load->clients_count;
    if (load->clients_count < 1 || load->clients_count > LOAD_CLIENTS_MAX || load->keys < 1 ||
        load->conns_count > load->clients_count || load->value_size > LOAD_POOL)
        load_die("clients 1 to %d, conns at most as many, values up to 1MiB", LOAD_CLIENTS_MAX);
}

static void print_figures(const struct load *load)
{
    const struct hist *h = &load->hist;
    printf("{\"op\": \"%s\", \"ops_per_sec\": %.1f, \"ops\": %" PRIu64 ", \"ops_in_all\": %" PRIu64
           ", \"errors\": %" PRIu64 ", \"p50_us\": %" PRIu64 ", \"p90_us\": %" PRIu64
           ", \"p99_us\": %" PRIu64 ", \"p999_us\": %" PRIu64 ", \"max_us\": %" PRIu64 "}\n",
           kind_names[load->kind], (double)h->count / ((double)load->duration_us / 1e6), h->count,
           load->total, load->errors, hist_permille(h, 500), hist_permille(h, 900),
           hist_permille(h, 990), hist_permille(h, 999), h->max);
}

int main(int argc, char **argv)
{
    static struct load load = {
        .clients_count = 64,
        .value_size = 100,
        .keys = 100000,
        .page = 100,
        .reads_percent = 95,
        .seed = 1,
        .duration_us = 10,
    };
    struct rng rng;
    parse(&load, argc, (const char *const *)argv);
    load.clients = calloc(load.clients_count, sizeof *load.clients);
    load.conns = calloc(load.conns_count, sizeof *load.conns);
    load.pool = malloc(2 * LOAD_POOL);
    load.epoll = epoll_create1(0);
    if (load.clients == NULL || load.conns == NULL || load.pool == NULL || load.epoll < 0)
        load_die("out of memory");
    rng_init(&rng, load.seed ^ 0x5eed);
    rng_fill(&rng, load.pool, 2 * LOAD_POOL);
    hist_init(&load.hist);
    connect_all(&load);
    load.peer->open(&load);
    load_run(&load);
    print_figures(&load);
    return load.errors == 0 && load.hist.count > 0 ? 0 : 1;
}
