/* SPDX-License-Identifier: Apache-2.0
 *
 * load — a closed loop of N clients against a system that we compare with: the twin of
 * `holdfast bench`, with its keys, values, choices and figures. One thread, one epoll; all
 * that a turn of the loop began leaves at its end. Built by tools/compare, which installs
 * what it needs; no part of the project's own build.
 *
 *   load_run ──▶ peer->start ─ ─ answer ─ ─▶ load_done ──▶ peer->start … until the time is over
 *
 * Errors  whatever breaks a measurement ends the program with a message: load_die().
 */
#ifndef TOOLS_PEERS_LOAD_H_
#define TOOLS_PEERS_LOAD_H_

#include <sys/types.h>

#include "base/hist.h"
#include "base/rng.h"

enum { LOAD_KEY = 32, LOAD_POOL = 1 << 20, LOAD_FILL_BATCH = 100, LOAD_CLIENTS_MAX = 4096 };

enum load_kind { LOAD_PUT, LOAD_GET, LOAD_MIXED, LOAD_SCAN, LOAD_FILL };

struct load;

/* One simulated client: one operation at a time. */
struct load_client {
    struct load *load;
    struct rng rng;
    uint64_t began_us;
    enum load_kind op; /* of the operation that runs: never LOAD_MIXED */
    uint64_t first;    /* key's number; LOAD_FILL: of the first of `count` keys */
    uint64_t count;
};

/* One TCP connection, non-blocking, whose event is told to peer->on_ready. */
struct load_conn {
    int fd;
    uint64_t number;
    uint8_t *out; /* what the socket did not take yet */
    size_t out_len, out_size;
    bool is_blocked; /* waits for EPOLLOUT */
};

/* A system that we compare with. */
struct load_peer {
    const char *name;
    /* Make what the connections need; load->conns are connected already. */
    void (*open)(struct load *load);
    /* Begin the client's operation; the answer comes as load_done(). */
    void (*start)(struct load *load, struct load_client *client);
    /* Bytes came. */
    void (*on_bytes)(struct load *load, struct load_conn *conn, const uint8_t *data, size_t len);
    /* The end of a turn: the last moment to queue what was begun. NULL is fine. */
    void (*on_turn)(struct load *load);
};

extern const struct load_peer load_etcd, load_redis;

struct load {
    const struct load_peer *peer;
    const char *address;
    enum load_kind kind;
    uint64_t clients_count, conns_count, value_size, keys, page, reads_percent, seed;
    uint64_t duration_us, warmup_us;
    struct load_client *clients;
    struct load_conn *conns;
    uint8_t *pool;
    int epoll;
    uint64_t measure_us, until_us; /* figures count from the one to the other */
    uint64_t active, filled, total, errors;
    struct hist hist;
};

/* The client's operation is over. Begins its next one. */
void load_done(struct load_client *client, bool is_good);

/* Write the key of this number; its length. */
size_t load_key(uint64_t number, char ret_key[LOAD_KEY]);

/* value_size random bytes, of this client's choice. */
const uint8_t *load_value(struct load_client *client);

/* Queue bytes; they leave at the end of the turn. */
void load_queue(struct load_conn *conn, const void *data, size_t len);

/* Say why and end the program. */
_Noreturn void load_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
