/* SPDX-License-Identifier: Apache-2.0
 *
 * redis — SET, GET and MSET in RESP2, as redis-benchmark sends them: a connection for each
 * client, or fewer, over which several clients' commands are pipelined. Redis answers a
 * connection's commands in order.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { LINE_BYTES = 512 << 10, NUMBER_MAX = 24 };

/* What is on its way over one connection, oldest first, and the answer that arrives. */
struct line {
    struct load_client **waiting; /* ring of clients_count */
    uint64_t first, count;
    uint8_t *in;
    size_t in_len, in_size;
};

static struct line *lines;

static void redis_open(struct load *load)
{
    lines = calloc(load->conns_count, sizeof *lines);
    if (lines == NULL)
        load_die("out of memory");
    for (uint64_t i = 0; i < load->conns_count; i++) {
        lines[i].waiting = calloc(load->clients_count, sizeof(struct load_client *));
        lines[i].in_size = load->value_size + LINE_BYTES;
        lines[i].in = malloc(lines[i].in_size);
        if (lines[i].in == NULL || lines[i].waiting == NULL)
            load_die("out of memory");
    }
}

static void queue_number(struct load_conn *conn, char kind, uint64_t number)
{
    char text[NUMBER_MAX];
    int n = snprintf(text, sizeof text, "%c%" PRIu64 "\r\n", kind, number);
    load_queue(conn, text, (size_t)n);
}

static void queue_bulk(struct load_conn *conn, const void *data, size_t len)
{
    queue_number(conn, '$', len);
    load_queue(conn, data, len);
    load_queue(conn, "\r\n", 2);
}

static void redis_start(struct load *load, struct load_client *client)
{
    uint64_t number = (uint64_t)(client - load->clients) % load->conns_count;
    struct load_conn *conn = &load->conns[number];
    struct line *line = &lines[number];
    const char *verb = client->op == LOAD_GET ? "GET" : client->op == LOAD_PUT ? "SET" : "MSET";
    if (client->op == LOAD_SCAN)
        load_die("Redis has no scan in the order of keys");
    queue_number(conn, '*', client->op == LOAD_GET ? 2 : 1 + 2 * client->count);
    queue_bulk(conn, verb, strlen(verb));
    for (uint64_t i = 0; i < client->count; i++) {
        char key[LOAD_KEY];
        queue_bulk(conn, key, load_key(client->first + i, key));
        if (client->op != LOAD_GET)
            queue_bulk(conn, load_value(client), load->value_size);
    }
    line->waiting[(line->first + line->count++) % load->clients_count] = client;
}

/* Bytes of the answer at `data`, 0 if not all is there; *ret_good if it is no error and
 * no missing value. */
static size_t answer_len(const uint8_t *data, size_t len, bool *ret_good)
{
    const uint8_t *end = memchr(data, '\n', len);
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - data) + 1;
    *ret_good = data[0] == '+' || (data[0] == '$' && data[1] != '-');
    if (data[0] == '-')
        load_die("redis says %.*s", (int)head, (const char *)data);
    if (data[0] != '$' || data[1] == '-')
        return head;
    size_t body = strtoul((const char *)data + 1, NULL, 10) + 2;
    return len - head < body ? 0 : head + body;
}

static void redis_bytes(struct load *load, struct load_conn *conn, const uint8_t *data, size_t len)
{
    struct line *line = &lines[conn->number];
    size_t at = 0, n;
    bool is_good;
    if (line->in_size - line->in_len < len)
        load_die("an answer is too long");
    memcpy(line->in + line->in_len, data, len);
    line->in_len += len;
    while ((n = answer_len(line->in + at, line->in_len - at, &is_good)) > 0) {
        if (line->count == 0)
            load_die("an answer to nothing");
        struct load_client *client = line->waiting[line->first];
        line->first = (line->first + 1) % load->clients_count;
        line->count--;
        at += n;
        load_done(client, is_good);
    }
    memmove(line->in, line->in + at, line->in_len - at);
    line->in_len -= at;
}

const struct load_peer load_redis = {
    .name = "redis",
    .open = redis_open,
    .start = redis_start,
    .on_bytes = redis_bytes,
};
