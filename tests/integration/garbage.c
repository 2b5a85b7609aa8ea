/* SPDX-License-Identifier: Apache-2.0
 *
 * garbage — what a hostile or broken client and a hostile peer send: random bytes,
 * frames cut short, headers that promise too much, valid checksums over mutated
 * messages, expansion bombs, and now and then a request that is well formed.
 *
 *   garbage ADDRESS --frames N --seed S
 *   garbage ADDRESS --hog KEY
 *
 * The hog asks for KEY as fast as it can and never reads an answer, until the other
 * side closes the connection; exit 1 if that does not happen within HOG_MS.
 *
 * Half of the connections say hello as a client, a quarter as a peer (who cannot prove
 * the secret), a quarter not at all. Administrative requests that mutation happens to
 * make are not sent: bootstrap and membership would do what they say. Prints how many
 * frames left and how many connections the other side closed; exit 1 if it could not
 * connect any more.
 */
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/args.h"
#include "base/buf.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/rng.h"
#include "wire/command.h"
#include "wire/frame.h"
#include "wire/hello.h"
#include "wire/peer_msg.h"
#include "wire/request.h"

enum { SEND_MAX = 1 << 16, BURST = 16, IO_MS = 2000, CONNECT_TRIES = 50, HOG_MS = 60000 };

struct garbage {
    struct rng rng;
    struct addrinfo *address;
    struct buf out;         /* frames to send */
    struct buf body;        /* a message before mutation */
    struct frame_reader in; /* what the other side says on this connection */
    uint64_t frames;
    uint64_t connections;
    uint64_t closed_by_peer;
};

/* ---- what is sent ----------------------------------------------------------- */

static void make_hello(struct garbage *g, struct buf *buf, enum hello_purpose purpose)
{
    struct hello hello = {.protocol_min = PROTOCOL_VERSION_MIN,
                          .protocol_max = PROTOCOL_VERSION_MAX,
                          .purpose = purpose,
                          .name = slice_str("garbage"),
                          .store_id = purpose == HELLO_CLIENT ? 0 : rng_between(&g->rng, 1, 4),
                          .boot = rng_u64(&g->rng) >> 4};
    rng_fill(&g->rng, hello.nonce, sizeof hello.nonce);
    hello_encode(buf, &hello);
}

static void make_write(struct garbage *g, struct buf *buf, struct request *request)
{
    static const struct op ops[] = {
        {.kind = OP_PUT,
         .key = {(const uint8_t *)"garbage:a", 9},
         .value = {(const uint8_t *)"v", 1}},
        {.kind = OP_INCREMENT, .key = {(const uint8_t *)"garbage:n", 9}, .delta = 1},
    };
    struct buf command;
    buf_init(&command, 4096);
    command_encode(&command,
                   &(struct command){.op_count = (uint32_t)rng_between(&g->rng, 1, 2), .ops = ops});
    request->kind = REQUEST_WRITE;
    request->write.command = buf_slice(&command);
    request_encode(buf, request);
    buf_fini(&command);
}

static void make_request(struct garbage *g, struct buf *buf)
{
    struct request request = {.id = rng_between(&g->rng, 1, 1000),
                              .timeout_ms = (uint32_t)rng_between(&g->rng, 1, 2000)};
    switch (rng_below(&g->rng, 4)) {
    case 0:
        make_write(g, buf, &request);
        return;
    case 1:
        request.kind = REQUEST_GET;
        request.get.key = slice_str("garbage:a");
        break;
    case 2:
        request.kind = REQUEST_SCAN;
        request.scan.limit_keys = (uint32_t)rng_below(&g->rng, 20);
        break;
    default:
        request.kind = rng_chance(&g->rng, 1, 2) ? REQUEST_STATUS : REQUEST_STATS;
    }
    request_encode(buf, &request);
}

static void make_peer_msg(struct garbage *g, struct buf *buf)
{
    struct peer_entry entry = {.term = 1, .type = PEER_ENTRY_COMMAND, .data = slice_str("x")};
    struct peer_msg msg = {
        .kind = MSG_APPEND_ENTRIES, .group = 1, .from_replica = 1, .to_replica = 2};
    if (rng_chance(&g->rng, 1, 2)) {
        msg.append_entries =
            (struct append_entries){.term = 1, .entry_count = 1, .entries = &entry};
    } else {
        msg.kind = MSG_REQUEST_VOTE;
        msg.request_vote = (struct request_vote){.term = UINT32_MAX, .candidate_id = 1};
    }
    peer_msg_encode(buf, &msg);
}

static void mutate(struct garbage *g, struct buf *body)
{
    for (uint64_t n = rng_between(&g->rng, 1, 4); n > 0 && body->len > 0; n--) {
        size_t at = rng_below(&g->rng, body->len);
        switch (rng_below(&g->rng, 4)) {
        case 0:
            body->data[at] = (uint8_t)rng_u64(&g->rng);
            break;
        case 1:
            body->data[at] ^= (uint8_t)(1u << rng_below(&g->rng, 8));
            break;
        case 2: /* the largest counts and lengths of msgpack */
            body->data[at] = "\xdd\xdf\xc6\xdb\xdc\xde"[rng_below(&g->rng, 6)];
            break;
        default:
            body->len = at;
        }
    }
}

/* Would it change who is a member, or who leads? Then it is not sent. */
static bool is_administrative(struct slice body)
{
    struct request request;
    if (request_decode(body, &request, NULL) != 0)
        return false;
    return request.kind == REQUEST_BOOTSTRAP || request.kind == REQUEST_CHANGE_MEMBER ||
           request.kind == REQUEST_TRANSFER_LEADER;
}

static void append_frame(struct garbage *g, struct slice body, bool is_lz4)
{
    size_t start = frame_begin(&g->out);
    buf_append_slice(&g->out, body);
    frame_end(&g->out, start, false);
    if (!is_lz4 || g->out.failed)
        return;
    /* rubbish that claims to be compressed, with a checksum that is right */
    uint8_t *flags = g->out.data + start + FRAME_HEADER_LEN;
    *flags = FRAME_LZ4;
    put_u32(g->out.data + start + 4, crc32c(0, flags, 1 + body.len));
}

static void make_random(struct garbage *g)
{
    uint8_t raw[200];
    size_t len = rng_between(&g->rng, 1, sizeof raw);
    rng_fill(&g->rng, raw, len);
    if (rng_chance(&g->rng, 1, 2)) { /* a header that promises anything up to 4 GiB */
        raw[3] = (uint8_t)(rng_chance(&g->rng, 1, 2) ? 0xff : 0);
        raw[2] = 0;
    }
    buf_append(&g->out, raw, len);
}

/* One frame of some kind behind what is in g->out. */
static void make_frame(struct garbage *g)
{
    buf_clear(&g->body);
    uint64_t kind = rng_below(&g->rng, 10);
    if (kind == 0) {
        make_random(g);
        return;
    }
    if (kind <= 5)
        make_request(g, &g->body);
    else if (kind <= 7)
        make_peer_msg(g, &g->body);
    else
        make_hello(g, &g->body, HELLO_CLIENT);
    if (rng_chance(&g->rng, 3, 4))
        mutate(g, &g->body);
    if (is_administrative(buf_slice(&g->body)))
        return;
    append_frame(g, buf_slice(&g->body), rng_chance(&g->rng, 1, 8));
    if (rng_chance(&g->rng, 1, 20) && g->out.len > 10) /* torn, and something else after it */
        g->out.len -= rng_between(&g->rng, 1, 9);
}

/* ---- connections --------------------------------------------------------------- */

static int dial(const struct garbage *g)
{
    for (int i = 0; i < CONNECT_TRIES; i++) {
        int fd = socket(g->address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        if (connect(fd, g->address->ai_addr, g->address->ai_addrlen) == 0)
            return fd;
        close(fd);
        (void)poll(NULL, 0, 100);
    }
    return -1;
}

/* Did the other side say that it is about to close? */
static bool has_said_error(struct garbage *g, struct slice bytes)
{
    struct slice body;
    uint32_t kind;
    frame_reader_feed(&g->in, bytes);
    for (;;) {
        int rv = frame_reader_next(&g->in, &body, NULL);
        if (rv == ERR_SHORT)
            return false;
        if (rv != 0 || (msg_kind(body, &kind, NULL) == 0 && kind == MSG_ERROR))
            return true;
    }
}

/* Send all of g->out and read what comes meanwhile, and one answer more if it
 * `wants_answer`. True while the other side holds on. */
static bool exchange(struct garbage *g, int fd, bool wants_answer)
{
    size_t sent = 0;
    uint8_t sink[SEND_MAX];
    while (sent < g->out.len || wants_answer) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (sent < g->out.len)
            p.events |= POLLOUT;
        if (poll(&p, 1, IO_MS) <= 0)
            return sent == g->out.len;
        if (p.revents & (POLLIN | POLLERR | POLLHUP)) {
            ssize_t n = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
            if (n <= 0 || has_said_error(g, slice_of(sink, (size_t)n)))
                return false;
            wants_answer = false;
        }
        if (sent < g->out.len && (p.revents & POLLOUT)) {
            ssize_t n =
                send(fd, g->out.data + sent, g->out.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0)
                return false;
            sent += (size_t)n;
        }
    }
    return true;
}

static bool one_connection(struct garbage *g)
{
    int fd = dial(g);
    if (fd < 0)
        return false;
    g->connections++;
    frame_reader_init(&g->in, FRAME_BODY_MAX);
    bool is_open = true;
    uint64_t greeting = rng_below(&g->rng, 4);
    if (greeting < 3) {
        buf_clear(&g->out);
        size_t start = frame_begin(&g->out);
        make_hello(g, &g->out, greeting == 2 ? HELLO_PEER : HELLO_CLIENT);
        frame_end(&g->out, start, false);
        is_open = exchange(g, fd, true);
    }
    for (int i = 0; i < BURST && is_open; i++) {
        buf_clear(&g->out);
        uint64_t frames = rng_between(&g->rng, 1, 8);
        for (uint64_t k = 0; k < frames; k++)
            make_frame(g);
        g->frames += frames;
        is_open = exchange(g, fd, false);
    }
    g->closed_by_peer += !is_open;
    frame_reader_fini(&g->in);
    close(fd);
    return true;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Requests for `key`, without end and without reading. True when it was closed. */
static bool hog(struct garbage *g, int fd, const char *key, uint64_t *ret_requests)
{
    uint64_t until_ms = now_ms() + HOG_MS;
    size_t sent = 0;
    buf_clear(&g->out);
    while (now_ms() < until_ms) {
        if (sent == g->out.len) {
            struct request request = {.id = ++*ret_requests, .timeout_ms = 60000};
            request.kind = REQUEST_GET;
            request.get.key = slice_str(key);
            sent = 0;
            buf_clear(&g->out);
            size_t start = frame_begin(&g->out);
            request_encode(&g->out, &request);
            frame_end(&g->out, start, false);
        }
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (poll(&p, 1, 1000) == 0)
            continue; /* pushed back */
        ssize_t n = send(fd, g->out.data + sent, g->out.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return true;
        sent += n > 0 ? (size_t)n : 0;
    }
    return false;
}

static int run_hog(struct garbage *g, const char *key)
{
    uint64_t requests = 0;
    int fd = dial(g);
    if (fd < 0)
        return 1;
    frame_reader_init(&g->in, FRAME_BODY_MAX);
    size_t start = frame_begin(&g->out);
    make_hello(g, &g->out, HELLO_CLIENT);
    frame_end(&g->out, start, false);
    bool is_closed = exchange(g, fd, true) && hog(g, fd, key, &requests);
    printf("{\"requests\":%" PRIu64 ",\"closed\":%s}\n", requests, is_closed ? "true" : "false");
    frame_reader_fini(&g->in);
    close(fd);
    return is_closed ? 0 : 1;
}

static struct addrinfo *resolve(const char *address)
{
    char host[128];
    const char *colon = strrchr(address, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (colon == NULL || (size_t)(colon - address) >= sizeof host)
        return NULL;
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = 0;
    return getaddrinfo(host, colon + 1, &hints, &found) == 0 ? found : NULL;
}

static int run_frames(struct garbage *g, uint64_t frames)
{
    bool is_good = true;
    while (g->frames < frames && is_good)
        is_good = one_connection(g);
    printf("{\"frames\":%" PRIu64 ",\"connections\":%" PRIu64 ",\"closed\":%" PRIu64 "}\n",
           g->frames, g->connections, g->closed_by_peer);
    return is_good ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t frames = 1000, seed = 1;
    const char *hog_key = NULL;
    const struct args_flag flags[] = {
        {"frames", 0, ARGS_U64, &frames, NULL, "N", "at least so many"},
        {"seed", 0, ARGS_U64, &seed, NULL, "N", ""},
        {"hog", 0, ARGS_TEXT, &hog_key, NULL, "KEY", "ask for it and never read"},
    };
    const char *words[1];
    size_t count = 0;
    struct garbage g = {0};
    int rv = args_parse(flags, ARRAY_LEN(flags), argc - 1, (const char *const *)(argv + 1), words,
                        1, &count, NULL);
    if (rv == 0 && count == 1)
        g.address = resolve(words[0]);
    if (g.address == NULL) {
        fprintf(stderr, "usage: garbage HOST:PORT [--frames N] [--seed S] [--hog KEY]\n");
        return 2;
    }
    rng_init(&g.rng, seed);
    buf_init(&g.out, 1 << 20);
    buf_init(&g.body, 1 << 16);
    rv = hog_key != NULL ? run_hog(&g, hog_key) : run_frames(&g, frames);
    freeaddrinfo(g.address);
    buf_fini(&g.out);
    buf_fini(&g.body);
    return rv;
}
