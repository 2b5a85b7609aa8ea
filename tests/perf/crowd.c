/* SPDX-License-Identifier: Apache-2.0
 *
 * crowd — thousands of clients on one store, each with a connection of its own, some of them
 * stuck: is the latency of the others what it was without them?
 *
 *   crowd HOST:PORT [--clients N] [--stuck N] [--seconds N] [--think-ms N]
 *         [--every-ms N] [--ratio-max PERCENT] [--starved-max N]
 *
 * Each client asks for a key, or puts one (a tenth), waits for the answer, thinks (evenly
 * between nothing and twice think-ms), and goes on. A stuck one has sent half a request, or it asks
 * for large values again and again and reads nothing. Two rounds on the same connections: all of
 * them sound, then `stuck` of them stuck. Printed are the figures of those that are sound in each,
 * and the ratio of their 99th percentiles; with --every-ms those of each part of a round, too.
 * Exit status 1: that is more than --ratio-max (150), or more than one answer in a hundred of the
 * second round was an error (0: neither counts), or more than --starved-max (0) of the sound were
 * not answered once there or lost their connection.
 * The store must lead the first range, on loopback.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/args.h"
#include "base/hist.h"
#include "base/rng.h"
#include "wire/command.h"
#include "wire/frame.h"
#include "wire/hello.h"
#include "wire/request.h"
#include "wire/response.h"

enum {
    CLIENTS_MAX = 19000,
    KEYS = 1000,
    LARGE = 256 << 10, /* bytes of the value that those ask for who do not read … */
    UNREAD = 128,      /* … so often */
    EVENTS = 512,
    PUT_PERCENT = 10,
    READ_MAX = 64 << 10,
};

enum state { GREETING, IDLE, ASKED, STUCK };

struct client {
    int fd;
    enum state state;
    struct frame_reader reader;
    uint64_t due_us;  /* IDLE: to ask */
    uint64_t answers; /* in this round */
    uint64_t asked_us;
};

struct crowd {
    uint64_t count, stuck, seconds, think_ms, starved_max, ratio_max; /* percent */
    struct client *clients;
    struct rng rng;
    int poll;
    struct hist *hist;  /* of this round */
    struct hist *slice; /* of this part of it, … */
    uint64_t every_ms;  /* … which is so long; 0: none are printed */
    uint64_t slice_us;  /* when it began */
    uint64_t measure_us;
    uint64_t next_id;
    uint64_t ended; /* connections that the store has closed */
    uint64_t greeted;
    uint64_t by_status[64];
};

static struct crowd crowd;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- saying -------------------------------------------------------------------------- */

/* What fits into the socket; those who matter have never more than a frame on its way. */
static void say(struct client *c, struct buf *frame, size_t len)
{
    must(!frame->failed, "memory");
    ssize_t n = send(c->fd, frame->data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    must(n == (ssize_t)len || c->state == STUCK || errno == EPIPE || errno == ECONNRESET, "send");
    buf_fini(frame);
}

static void say_hello(struct client *c)
{
    struct hello hello = {.protocol_min = PROTOCOL_VERSION_MIN,
                          .protocol_max = PROTOCOL_VERSION_MAX,
                          .purpose = HELLO_CLIENT,
                          .name = slice_str("crowd")};
    struct buf frame;
    buf_init(&frame, FRAME_BODY_MAX_HELLO + FRAME_PREFIX_LEN);
    size_t start = frame_begin(&frame);
    hello_encode(&frame, &hello);
    frame_end(&frame, start, false);
    say(c, &frame, frame.len);
}

/* The frame of a get, or a put if there is a value. */
static void frame_request(struct buf *frame, const char *key, struct slice value)
{
    struct request request = {.id = ++crowd.next_id, .timeout_ms = 5000};
    struct buf command;
    buf_init(frame, FRAME_BODY_MAX);
    buf_init(&command, FRAME_BODY_MAX);
    if (value.len > 0) {
        struct op op = {.kind = OP_PUT, .key = slice_str(key), .value = value};
        command_encode(&command, &(struct command){.op_count = 1, .ops = &op});
        request.kind = REQUEST_WRITE;
        request.write.command = buf_slice(&command);
    } else {
        request.kind = REQUEST_GET;
        request.get.key = slice_str(key);
    }
    size_t start = frame_begin(frame);
    request_encode(frame, &request);
    frame_end(frame, start, false);
    buf_fini(&command);
}

static void ask(struct client *c)
{
    static uint8_t value[100];
    char key[32];
    struct buf frame;
    bool is_put = rng_chance(&crowd.rng, PUT_PERCENT, 100);
    snprintf(key, sizeof key, "crowd:%03u", (unsigned)rng_below(&crowd.rng, KEYS));
    frame_request(&frame, key, is_put ? slice_of(value, sizeof value) : (struct slice){0});
    c->state = ASKED;
    c->asked_us = now_us();
    say(c, &frame, frame.len);
}

/* Half of them send half a request, the others read nothing of much. */
static void get_stuck(struct client *c, bool reads_not)
{
    struct buf frame;
    c->state = STUCK;
    must(epoll_ctl(crowd.poll, EPOLL_CTL_DEL, c->fd, NULL) == 0, "epoll");
    for (int i = 0; i < (reads_not ? UNREAD : 1); i++) {
        frame_request(&frame, "crowd:large", (struct slice){0});
        say(c, &frame, reads_not ? frame.len : frame.len / 2);
    }
}

/* ---- hearing --------------------------------------------------------------------------- */

static void on_answer(struct client *c, struct slice body)
{
    struct response response;
    uint64_t now = now_us();
    must(response_decode(body, &response, NULL) == 0, "a response");
    int status = response.status == ERR_NOT_FOUND ? 0 : response.status;
    crowd.by_status[MIN(-status, 63)]++;
    c->answers++; /* also if it says that another one leads */
    if (c->asked_us >= crowd.measure_us && status == 0)
        hist_add(crowd.hist, now - c->asked_us);
    hist_add(crowd.slice, now - c->asked_us);
    c->state = IDLE;
    c->due_us = now + rng_below(&crowd.rng, 2 * crowd.think_ms * 1000 + 1);
}

static void on_ended(struct client *c)
{
    crowd.ended++;
    close(c->fd);
    c->fd = -1;
    c->state = c->state == STUCK ? STUCK : ASKED; /* nobody will answer it any more */
}

static void on_body(struct client *c, struct slice body)
{
    uint32_t kind = 0;
    must(msg_kind(body, &kind, NULL) == 0, "a message");
    if (kind == MSG_HELLO_ACK) {
        frame_reader_limit(&c->reader, FRAME_BODY_MAX);
        crowd.greeted++;
        c->state = IDLE;
        c->due_us = now_us() + rng_below(&crowd.rng, 2 * crowd.think_ms * 1000 + 1);
    } else if (kind == MSG_RESPONSE) {
        on_answer(c, body);
    }
}

static void on_readable(struct client *c)
{
    static uint8_t bytes[READ_MAX];
    struct slice body;
    ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        on_ended(c);
        return;
    }
    frame_reader_feed(&c->reader, slice_of(bytes, (size_t)n));
    while (frame_reader_next(&c->reader, &body, NULL) == 0)
        on_body(c, body);
}

/* ---- rounds ------------------------------------------------------------------------------ */

static void poll_once(int wait_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(crowd.poll, events, EVENTS, wait_ms);
    must(n >= 0 || errno == EINTR, "epoll_wait");
    for (int i = 0; i < n; i++)
        on_readable(&crowd.clients[events[i].data.u64]);
}

static void tell_slice(uint64_t now)
{
    const struct hist *h = crowd.slice;
    if (crowd.every_ms == 0 || now - crowd.slice_us < crowd.every_ms * 1000)
        return;
    printf("  %+7.2f s %7" PRIu64 " answers  p50 %6" PRIu64 "  p99 %6" PRIu64 "  max %7" PRIu64
           " us\n",
           ((double)crowd.slice_us - (double)crowd.measure_us) / 1e6, h->count,
           hist_permille(h, 500), hist_permille(h, 990), h->max);
    hist_init(crowd.slice);
    crowd.slice_us = now;
}

static void run_until(uint64_t until_us)
{
    uint64_t now;
    while ((now = now_us()) < until_us) {
        poll_once(1);
        tell_slice(now);
        for (uint64_t i = 0; i < crowd.count; i++) {
            struct client *c = &crowd.clients[i];
            if (c->state == IDLE && c->due_us <= now)
                ask(c);
        }
    }
}

static uint64_t run_round(const char *what)
{
    hist_init(crowd.hist);
    hist_init(crowd.slice);
    crowd.slice_us = now_us();
    memset(crowd.by_status, 0, sizeof crowd.by_status);
    for (uint64_t i = 0; i < crowd.count; i++)
        crowd.clients[i].answers = 0;
    crowd.measure_us = now_us() + 1000000;
    run_until(crowd.measure_us + crowd.seconds * 1000000);
    const struct hist *h = crowd.hist;
    uint64_t p99 = hist_permille(h, 990);
    printf("%-28s %8.0f/s  p50 %6" PRIu64 "  p99 %6" PRIu64 "  p99.9 %6" PRIu64 "  max %7" PRIu64
           " us, closed %" PRIu64 "\n",
           what, (double)h->count / (double)crowd.seconds, hist_permille(h, 500), p99,
           hist_permille(h, 999), h->max, crowd.ended);
    for (int i = 1; i < 64; i++) {
        if (crowd.by_status[i] > 0)
            printf("  %s: %" PRIu64 "\n", err_name(-i), crowd.by_status[i]);
    }
    fflush(stdout);
    return p99;
}

static void connect_all(const char *address)
{
    char host[64];
    unsigned port = 0;
    must(sscanf(address, "%63[0-9.]:%u", host, &port) == 2, "HOST:PORT");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    must(inet_pton(AF_INET, host, &to.sin_addr) == 1 && (ntohl(to.sin_addr.s_addr) >> 24) == 127,
         "an address on loopback");
    crowd.poll = epoll_create1(0);
    must(crowd.poll >= 0, "epoll_create1");
    for (uint64_t i = 0; i < crowd.count; i++) {
        struct client *c = &crowd.clients[i];
        int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        must(c->fd >= 0 && connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        must(epoll_ctl(crowd.poll, EPOLL_CTL_ADD, c->fd, &event) == 0, "epoll_ctl");
        frame_reader_init(&c->reader, FRAME_BODY_MAX_HELLO);
        say_hello(c);
        if (i % 64 == 63)
            poll_once(0);
    }
    uint64_t until_us = now_us() + 20000000;
    while (crowd.greeted < crowd.count && crowd.ended == 0 && now_us() < until_us)
        poll_once(10);
    if (crowd.greeted < crowd.count) {
        fprintf(stderr, "crowd: %" PRIu64 " of %" PRIu64 " clients were let in\n", crowd.greeted,
                crowd.count);
        exit(1);
    }
}

/* The value that those ask for who do not read. */
static void put_large(void)
{
    struct client *c = &crowd.clients[0];
    struct buf frame;
    uint8_t *value = malloc(LARGE);
    must(value != NULL, "malloc");
    rng_fill(&crowd.rng, value, LARGE);
    frame_request(&frame, "crowd:large", slice_of(value, LARGE));
    for (size_t done = 0; done < frame.len;) {
        ssize_t n = send(c->fd, frame.data + done, frame.len - done, MSG_NOSIGNAL);
        must(n > 0, "send");
        done += (size_t)n;
    }
    buf_fini(&frame);
    free(value);
    c->state = ASKED;
    while (c->state == ASKED)
        poll_once(10);
    must(crowd.by_status[0] == 1, "the large value was not put: does the store lead?");
}

static bool parse(int argc, char **argv, const char **ret_address)
{
    const struct args_flag flags[] = {
        {"clients", 0, ARGS_U64, &crowd.count, NULL, "N", "connections"},
        {"stuck", 0, ARGS_U64, &crowd.stuck, NULL, "N", "of them, in the second round"},
        {"seconds", 0, ARGS_U64, &crowd.seconds, NULL, "N", "of each round"},
        {"think-ms", 0, ARGS_U64, &crowd.think_ms, NULL, "N", "between two requests, on average"},
        {"starved-max", 0, ARGS_U64, &crowd.starved_max, NULL, "N",
         "sound clients without an answer in the second round"},
        {"every-ms", 0, ARGS_U64, &crowd.every_ms, NULL, "N", "print those of each part, too"},
        {"ratio-max", 0, ARGS_U64, &crowd.ratio_max, NULL, "PERCENT",
         "of the second p99 to the first"},
    };
    const char *words[1];
    size_t count = 0;
    int rv = args_parse(flags, ARRAY_LEN(flags), argc - 1, (const char *const *)(argv + 1), words,
                        1, &count, NULL);
    if (rv != 0 || count != 1 || crowd.count < 1 || crowd.count > CLIENTS_MAX ||
        crowd.stuck >= crowd.count || crowd.seconds < 1 || crowd.think_ms < 1)
        return false;
    *ret_address = words[0];
    return true;
}

/* Says what became of the sound in the second round, and whether that will do. */
static bool is_fine(uint64_t before_us, uint64_t after_us)
{
    double ratio = (double)after_us / (double)MAX(before_us, UINT64_C(1));
    uint64_t starved = 0, lost = 0, answers = 0, errors = 0;
    for (uint64_t i = 0; i < crowd.count; i++) {
        const struct client *c = &crowd.clients[i];
        starved += c->state != STUCK && (c->answers == 0 || c->fd < 0);
        lost += c->state != STUCK && c->fd < 0;
    }
    for (int i = 0; i < 64; i++)
        answers += crowd.by_status[i];
    errors = answers - crowd.by_status[0];
    printf("p99 %.2f times as long; of the sound %" PRIu64 " were not answered (%" PRIu64
           " lost their connection); %" PRIu64 " of %" PRIu64 " answers were errors\n",
           ratio, starved, lost, errors, answers);
    bool is_as_before = ratio * 100 <= (double)crowd.ratio_max && errors * 100 <= answers;
    return (crowd.ratio_max == 0 || is_as_before) && starved <= crowd.starved_max;
}

int main(int argc, char **argv)
{
    const char *address = NULL;
    crowd.count = 10000;
    crowd.stuck = 1000;
    crowd.seconds = 10;
    crowd.think_ms = 1000;
    crowd.ratio_max = 150;
    if (!parse(argc, argv, &address)) {
        fprintf(stderr, "usage: crowd HOST:PORT [--clients N] [--stuck N] [--seconds N] "
                        "[--think-ms N] [--every-ms N] [--ratio-max PERCENT] "
                        "[--starved-max N]\n");
        return 2;
    }
    struct rlimit files;
    must(getrlimit(RLIMIT_NOFILE, &files) == 0, "getrlimit");
    files.rlim_cur = files.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &files) == 0, "setrlimit");
    rng_init(&crowd.rng, 1);
    crowd.clients = calloc(crowd.count, sizeof *crowd.clients);
    crowd.hist = malloc(sizeof *crowd.hist);
    crowd.slice = malloc(sizeof *crowd.slice);
    must(crowd.clients != NULL && crowd.hist != NULL && crowd.slice != NULL, "malloc");
    hist_init(crowd.hist);
    hist_init(crowd.slice);
    connect_all(address);
    put_large();
    uint64_t before = run_round("all sound");
    for (uint64_t i = 0; i < crowd.stuck; i++) {
        struct client *c = &crowd.clients[i * crowd.count / crowd.stuck];
        while (c->fd >= 0 && c->state == ASKED)
            poll_once(10);
        if (c->state == IDLE)
            get_stuck(c, i % 2 == 0);
    }
    uint64_t after = run_round("some stuck");
    return is_fine(before, after) ? 0 : 1;
}
