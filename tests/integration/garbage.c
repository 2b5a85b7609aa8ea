/* SPDX-License-Identifier: Apache-2.0
 *
 * garbage — a hostile or broken client or peer: connections that send what
 * garbage_frames.h makes, before and after their hello.
 *
 *   garbage ADDRESS --frames N --seed S
 *   garbage ADDRESS --frames N --seed S --as OTHER --secret TEXT --group G --term T …
 *   garbage ADDRESS --hog KEY
 *
 * The hog asks for KEY as fast as it can and never reads an answer, until the other
 * side closes the connection; exit 1 if that does not happen within HOG_MS.
 *
 * Without --as, connections say hello as a client, as a peer or as the sender of a
 * snapshot (who cannot prove the secret), or not at all. With it, they take the place of
 * the store that listens at OTHER, know the secret, and know enough of the group to come
 * near to what is acted on: a peer gone mad, against a cluster that is thrown away.
 * Prints how many frames left, how many connections there were and how many of them the
 * other side closed, by purpose; exit 1 if it could not connect any more.
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
#include "base/err.h"
#include "garbage_frames.h"
#include "wire/frame.h"
#include "wire/request.h"

enum {
    SEND_MAX = 1 << 16,
    BURST = 16,
    IO_MS = 2000,
    CONNECT_TRIES = 50,
    HOG_MS = 60000,
    PURPOSES = 4,
    CLAIMS = 10, /* connections that begin with one: the true peer's may take a place meanwhile */
};

struct garbage {
    struct rng rng;
    struct addrinfo *address;
    struct buf out; /* frames to send */
    struct garbage_maker maker;
    struct frame_reader in; /* what the other side says on this connection */
    uint64_t frames;
    uint64_t unanswered; /* times that neither pong nor close came within IO_MS */
    uint64_t connections[PURPOSES];
    uint64_t closed[PURPOSES]; /* of them, by the other side */
    /* with --as */
    const char *as;
    const char *secret;
    struct hello_ack other; /* who listens there */
    uint64_t boot;
};

/* By enum hello_purpose; 0 says no hello. */
static const char *const purpose_names[PURPOSES] = {"silent", "client", "peer", "snapshot"};

/* ---- connections --------------------------------------------------------------- */

static int dial(const struct addrinfo *address)
{
    for (int i = 0; i < CONNECT_TRIES; i++) {
        int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
            return fd;
        close(fd);
        (void)poll(NULL, 0, 100);
    }
    return -1;
}

enum said { SAID_LITTLE, SAID_PONG, SAID_OVER };

/* What the other side said: that it is about to close, that it has seen our ping, or
 * something else. */
static enum said listen_to(struct garbage *g, struct slice bytes)
{
    struct slice body;
    uint32_t kind;
    enum said said = SAID_LITTLE;
    frame_reader_feed(&g->in, bytes);
    for (;;) {
        int rv = frame_reader_next(&g->in, &body, NULL);
        if (rv == ERR_SHORT)
            return said;
        if (rv != 0 || msg_kind(body, &kind, NULL) != 0 || kind == MSG_ERROR)
            return SAID_OVER;
        if (kind == MSG_PONG || kind == MSG_HELLO_ACK)
            said = SAID_PONG;
    }
}

/* Send all of g->out and read what comes meanwhile, and if it `wants_answer`, until a
 * pong (or an answer to hello) came. True while the other side holds on. */
static bool exchange(struct garbage *g, int fd, bool wants_answer)
{
    size_t sent = 0;
    uint8_t sink[SEND_MAX];
    while (sent < g->out.len || wants_answer) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (sent < g->out.len)
            p.events |= POLLOUT;
        if (poll(&p, 1, IO_MS) <= 0) {
            g->unanswered += wants_answer;
            return sent == g->out.len;
        }
        if (p.revents & (POLLIN | POLLERR | POLLHUP)) {
            ssize_t n = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
            enum said said = n <= 0 ? SAID_OVER : listen_to(g, slice_of(sink, (size_t)n));
            if (said == SAID_OVER)
                return false;
            wants_answer = wants_answer && said != SAID_PONG;
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

/* Nothing more comes from us: the other side must close. */
static bool finish(struct garbage *g, int fd)
{
    uint8_t sink[SEND_MAX];
    buf_clear(&g->out);
    if (shutdown(fd, SHUT_WR) != 0)
        return false;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, IO_MS) <= 0) {
            g->unanswered++;
            return true;
        }
        if (recv(fd, sink, sizeof sink, 0) <= 0)
            return false;
    }
}

static void make_hello(struct garbage *g, struct hello *hello, enum hello_purpose purpose)
{
    *hello = (struct hello){.protocol_min = PROTOCOL_VERSION_MIN,
                            .protocol_max = PROTOCOL_VERSION_MAX,
                            .purpose = purpose,
                            .name = slice_str("garbage")};
    rng_fill(&g->rng, hello->nonce, sizeof hello->nonce);
    if (purpose == HELLO_CLIENT)
        return;
    hello->store_id = rng_between(&g->rng, 1, 4);
    hello->boot = rng_u64(&g->rng) >> 4;
    if (g->as == NULL)
        return;
    hello->cluster_id = g->other.cluster_id;
    hello->store_id = g->other.store_id;
    hello->boot = ++g->boot;
    memcpy(hello->store_uuid, g->other.store_uuid, sizeof hello->store_uuid);
}

/* The other side's answer to our hello. */
static bool read_ack(int fd, struct hello_ack *ret_ack)
{
    struct frame_reader in;
    struct slice body;
    uint8_t bytes[FRAME_BODY_MAX_HELLO];
    int rv = ERR_SHORT;
    frame_reader_init(&in, FRAME_BODY_MAX_HELLO);
    while (rv == ERR_SHORT) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, IO_MS) > 0 ? recv(fd, bytes, sizeof bytes, 0) : 0;
        if (n <= 0)
            break;
        frame_reader_feed(&in, slice_of(bytes, (size_t)n));
        rv = frame_reader_next(&in, &body, NULL);
        if (rv == 0)
            rv = hello_ack_decode(body, ret_ack, NULL);
    }
    frame_reader_fini(&in);
    return rv == 0;
}

/* Say hello and, knowing the secret, prove it. False when the connection is over. */
static bool greet(struct garbage *g, int fd, enum hello_purpose purpose)
{
    struct hello hello;
    struct hello_ack ack;
    struct auth auth;
    make_hello(g, &hello, purpose);
    buf_clear(&g->out);
    size_t start = frame_begin(&g->out);
    hello_encode(&g->out, &hello);
    frame_end(&g->out, start, false);
    if (g->as == NULL || purpose == HELLO_CLIENT)
        return exchange(g, fd, true);
    if (!exchange(g, fd, false) || !read_ack(fd, &ack))
        return false;
    if (hello_proof(slice_str(g->secret), HELLO_CONNECTED, &hello, &ack, auth.proof) != 0)
        return false;
    buf_clear(&g->out);
    start = frame_begin(&g->out);
    auth_encode(&g->out, &auth);
    frame_end(&g->out, start, false);
    return exchange(g, fd, false);
}

/* Some frames, and then a ping, so that we know when they have been judged; on a snapshot
 * stream, which answers none, and behind a torn frame, the end. */
static bool one_burst(struct garbage *g, int fd, enum hello_purpose purpose)
{
    bool is_last = purpose == HELLO_SNAPSHOT;
    buf_clear(&g->out);
    for (uint64_t k = rng_between(&g->rng, 1, is_last ? 8 : 2); k > 0; k--) {
        enum garbage_made made = garbage_make(&g->maker, purpose, &g->out);
        g->frames += made != GARBAGE_NOTHING;
        is_last = is_last || made == GARBAGE_TORN;
    }
    if (is_last)
        return exchange(g, fd, false) && finish(g, fd);
    size_t start = frame_begin(&g->out);
    ping_encode(&g->out, &(struct ping){.token = 1});
    frame_end(&g->out, start, false);
    return exchange(g, fd, true);
}

static bool one_connection(struct garbage *g)
{
    int fd = dial(g->address);
    if (fd < 0)
        return false;
    uint64_t purpose = rng_below(&g->rng, PURPOSES);
    if (g->as != NULL)
        purpose = rng_chance(&g->rng, 4, 5) ? HELLO_PEER : HELLO_SNAPSHOT;
    g->connections[purpose]++;
    g->maker.in_stream = 0;
    g->maker.claims = g->as != NULL && g->connections[HELLO_PEER] <= CLAIMS;
    frame_reader_init(&g->in, FRAME_BODY_MAX);
    bool is_open = purpose == 0 || greet(g, fd, (enum hello_purpose)purpose);
    for (int i = 0; i < BURST && is_open; i++)
        is_open = one_burst(g, fd, (enum hello_purpose)purpose);
    g->closed[purpose] += !is_open;
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
    int fd = dial(g->address);
    if (fd < 0)
        return 1;
    frame_reader_init(&g->in, FRAME_BODY_MAX);
    bool is_closed = greet(g, fd, HELLO_CLIENT) && hog(g, fd, key, &requests);
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

/* Who is it that listens at --as? */
static bool ask_other(struct garbage *g)
{
    struct addrinfo *address = resolve(g->as);
    struct hello hello;
    int fd = address != NULL ? dial(address) : -1;
    if (address != NULL)
        freeaddrinfo(address);
    if (fd < 0)
        return false;
    make_hello(g, &hello, HELLO_CLIENT);
    size_t start = frame_begin(&g->out);
    hello_encode(&g->out, &hello);
    frame_end(&g->out, start, false);
    bool is_known = exchange(g, fd, false) && read_ack(fd, &g->other);
    close(fd);
    g->boot = g->other.boot + 1000;
    return is_known;
}

static int run_frames(struct garbage *g, uint64_t frames)
{
    bool is_good = g->as == NULL || ask_other(g);
    while (g->frames < frames && is_good)
        is_good = one_connection(g);
    printf("{\"frames\":%" PRIu64 ",\"unanswered\":%" PRIu64, g->frames, g->unanswered);
    for (size_t i = 0; i < PURPOSES; i++)
        printf(",\"%s\":{\"connections\":%" PRIu64 ",\"closed\":%" PRIu64 "}", purpose_names[i],
               g->connections[i], g->closed[i]);
    printf("}\n");
    return is_good ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t frames = 1000, seed = 1;
    const char *hog_key = NULL;
    struct garbage g = {.secret = ""};
    struct garbage_truth truth = {
        .group = 1, .term = 1, .last_index = 1, .from_replica = 1, .to_replica = 2};
    const struct args_flag flags[] = {
        {"frames", 0, ARGS_U64, &frames, NULL, "N", "at least so many"},
        {"seed", 0, ARGS_U64, &seed, NULL, "N", ""},
        {"as", 0, ARGS_TEXT, &g.as, NULL, "HOST:PORT", "in the place of the store that is there"},
        {"secret", 0, ARGS_TEXT, &g.secret, NULL, "TEXT", "of the cluster"},
        {"group", 0, ARGS_U64, &truth.group, NULL, "N", "range id"},
        {"term", 0, ARGS_U64, &truth.term, NULL, "N", "the group's"},
        {"index", 0, ARGS_U64, &truth.last_index, NULL, "N", "the last of its log"},
        {"from", 0, ARGS_U64, &truth.from_replica, NULL, "N", "replica of that store"},
        {"to", 0, ARGS_U64, &truth.to_replica, NULL, "N", "replica of ADDRESS"},
        {"hog", 0, ARGS_TEXT, &hog_key, NULL, "KEY", "ask for it and never read"},
    };
    const char *words[1];
    size_t count = 0;
    int rv = args_parse(flags, ARRAY_LEN(flags), argc - 1, (const char *const *)(argv + 1), words,
                        1, &count, NULL);
    if (rv == 0 && count == 1)
        g.address = resolve(words[0]);
    if (g.address == NULL) {
        fprintf(stderr, "usage: garbage HOST:PORT [--frames N] [--seed S] [--as HOST:PORT "
                        "--secret TEXT --group N --term N --index N --from N --to N] "
                        "[--hog KEY]\n");
        return 2;
    }
    rng_init(&g.rng, seed);
    buf_init(&g.out, 4 << 20);
    garbage_maker_init(&g.maker, &g.rng);
    g.maker.truth = truth;
    rv = hog_key != NULL ? run_hog(&g, hog_key) : run_frames(&g, frames);
    freeaddrinfo(g.address);
    buf_fini(&g.out);
    garbage_maker_fini(&g.maker);
    return rv;
}
