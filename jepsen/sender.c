/* SPDX-License-Identifier: Apache-2.0
 *
 * jepsen-sender — changes under a stamp that comes from outside, in the words of the protocol
 * and without the client library: so the same (session, sequence) can be sent by several
 * processes, at once or one long after the other. A line of JSON in, one out, as jepsen-client:
 *
 *   {"f":"time","timeout_ms":500}                      {"type":"ok","now_ms":…}
 *   {"f":"add","key":"a","value":"7 ","session":5,"sequence":1,"lowest":1,"first_sent":…,
 *    "timeout_ms":500}
 *
 * f           value                        answer
 * time                                     "now_ms": what a store took for the time when it was
 *                                          greeted last, and how long ago that was: a first_sent
 * write       text
 * delete
 * cas         [expected or null, after]    or "mismatch" and, if it is still known, "seen"
 * increment   number                       "number", unless it is not known any more
 * add         text at the end
 * swap        text                         "seen", likewise
 *
 * Each change that took effect has "change", its version, too. "ok" and a mismatch are results
 * of the range; every other "fail" is one of this sending alone. One that is refused for its
 * first_sent (SESSION_EXPIRED) has "time_ms": one that the range would take.
 *
 *   store 1 ── not the leader, lost, silent, pushed back ──▶ the next, or whom it names … until
 *   the deadline
 *
 *   jepsen-sender --endpoints host:port,…              until standard input ends
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "wire/command.h"
#include "wire/frame.h"
#include "wire/hello.h"
#include "wire/request.h"
#include "wire/response.h"

enum {
    DOORS_MAX = 32,
    ADDRESS_ROOM = ADDRESS_MAX + 1,
    NODES_MAX = 64,
    TEXTS_MAX = 1 << 20,
    SILENCE_MS = 1200, /* then the next store is asked */
    PAUSE_MS = 15,
    PAUSE_MAX_MS = 200,
    READ_MAX = 1 << 16,
};

/* A store, and the connection to it if there is one. */
struct door {
    char address[ADDRESS_ROOM];
    int fd; /* -1: none */
    struct frame_reader reader;
    uint64_t asked; /* the id of the last request */
    uint8_t bytes[READ_MAX];
};

static struct sender {
    struct door doors[DOORS_MAX];
    size_t count;
    size_t at;           /* the one to ask next */
    uint64_t time_ms;    /* the last store's that was greeted, … */
    uint64_t time_at_ms; /* … at this of ours; 0: none was yet */
} sender;

/* What is to be sent, and what is known of it. */
struct sending {
    const struct json_node *nodes;
    struct buf texts; /* reserved once, so that slices into it stay */
    struct buf command;
    uint64_t until_ms;
    bool is_ambiguous; /* it has left, and no answer came */
    struct json_writer out;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t now_ms(void)
{
    return now_ns() / 1000000;
}

/* ---- a connection ------------------------------------------------------------------ */

static void door_close(struct door *door)
{
    if (door->fd < 0)
        return;
    close(door->fd);
    door->fd = -1;
    frame_reader_fini(&door->reader);
}

/* Wait for what poll calls `events`. False: not before `until_ms`. */
static bool door_wait(const struct door *door, short events, uint64_t until_ms)
{
    struct pollfd want = {.fd = door->fd, .events = events};
    for (;;) {
        uint64_t now = now_ms();
        int left = until_ms > now ? (int)(until_ms - now) : 0;
        int rv = poll(&want, 1, left);
        if (rv != 0 && !(rv < 0 && errno == EINTR))
            return rv > 0;
        if (rv == 0 && left == 0)
            return false;
    }
}

static int door_write(struct door *door, struct slice bytes, uint64_t until_ms)
{
    while (bytes.len > 0) {
        ssize_t n = send(door->fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
            continue;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return ERR_IO;
        if (!door_wait(door, POLLOUT, until_ms))
            return ERR_TIMEOUT;
    }
    return 0;
}

/* The next body, borrowed until the next call. */
static int door_read(struct door *door, struct slice *ret_body, uint64_t until_ms)
{
    int rv;
    while ((rv = frame_reader_next(&door->reader, ret_body, NULL)) == ERR_SHORT) {
        if (!door_wait(door, POLLIN, until_ms))
            return ERR_TIMEOUT;
        ssize_t n = recv(door->fd, door->bytes, sizeof door->bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return ERR_EOF;
        if (n > 0)
            frame_reader_feed(&door->reader, slice_of(door->bytes, (size_t)n));
    }
    return rv;
}

static int dial(const char *address, uint64_t until_ms, struct door *door)
{
    char host[ADDRESS_ROOM];
    snprintf(host, sizeof host, "%s", address);
    char *port = strrchr(host, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int one = 1, failure = 0;
    socklen_t len = sizeof failure;
    if (port == NULL)
        return ERR_INVALID;
    *port++ = '\0';
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return ERR_UNAVAILABLE;
    door->fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rv = door->fd < 0 ? ERR_IO : 0;
    if (rv == 0 && connect(door->fd, found->ai_addr, found->ai_addrlen) != 0 &&
        (errno != EINPROGRESS || !door_wait(door, POLLOUT, until_ms)))
        rv = ERR_UNAVAILABLE;
    freeaddrinfo(found);
    if (rv == 0 &&
        (getsockopt(door->fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0 || failure != 0 ||
         setsockopt(door->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0))
        rv = ERR_UNAVAILABLE;
    if (rv != 0 && door->fd >= 0) {
        close(door->fd);
        door->fd = -1;
    }
    return rv;
}

static void take_time(uint64_t time_ms)
{
    if (time_ms == 0)
        return;
    sender.time_ms = time_ms;
    sender.time_at_ms = now_ms();
}

/* Connect, and greet each other. */
static int door_open(struct door *door, uint64_t until_ms)
{
    struct hello hello = {.protocol_min = PROTOCOL_VERSION_MIN,
                          .protocol_max = PROTOCOL_VERSION_MAX,
                          .purpose = HELLO_CLIENT,
                          .name = slice_str("jepsen-sender")};
    struct hello_ack ack;
    struct slice body;
    struct buf frame;
    if (door->fd >= 0)
        return 0;
    int rv = dial(door->address, until_ms, door);
    if (rv != 0)
        return rv;
    frame_reader_init(&door->reader, FRAME_BODY_MAX);
    if (getrandom(hello.nonce, sizeof hello.nonce, 0) != (ssize_t)sizeof hello.nonce)
        rv = ERR_IO;
    buf_init(&frame, FRAME_BODY_MAX_HELLO);
    size_t start = frame_begin(&frame);
    hello_encode(&frame, &hello);
    frame_end(&frame, start, false);
    if (rv == 0)
        rv = frame.failed ? ERR_NOMEM : door_write(door, buf_slice(&frame), until_ms);
    if (rv == 0)
        rv = door_read(door, &body, until_ms);
    if (rv == 0)
        rv = hello_ack_decode(body, &ack, NULL);
    buf_fini(&frame);
    if (rv == 0)
        take_time(ack.wall_ms);
    else
        door_close(door);
    return rv;
}

static int answer_ping(struct door *door, struct slice body, uint64_t until_ms)
{
    struct ping ping;
    struct buf frame;
    int rv = ping_decode(body, &ping, NULL);
    if (rv != 0)
        return rv;
    buf_init(&frame, FRAME_BODY_MAX_HELLO);
    size_t start = frame_begin(&frame);
    pong_encode(&frame, &(struct ping){.token = ping.token});
    frame_end(&frame, start, false);
    rv = frame.failed ? ERR_NOMEM : door_write(door, buf_slice(&frame), until_ms);
    buf_fini(&frame);
    return rv;
}

/* Wait for the answer to what was asked last; those to earlier requests came too late. */
static int door_hear(struct door *door, struct response *ret_response, uint64_t until_ms)
{
    for (;;) {
        struct slice body;
        uint32_t kind = 0;
        int rv = door_read(door, &body, until_ms);
        if (rv == 0)
            rv = msg_kind(body, &kind, NULL);
        if (rv == 0 && kind == MSG_PING)
            rv = answer_ping(door, body, until_ms);
        else if (rv == 0 && kind != MSG_RESPONSE)
            rv = ERR_EOF; /* it says that it is about to close */
        else if (rv == 0)
            rv = response_decode(body, ret_response, NULL);
        if (rv != 0 || (kind == MSG_RESPONSE && ret_response->id == door->asked))
            return rv;
    }
}

/* ---- stores ---------------------------------------------------------------------------- */

static void next_door(void)
{
    sender.at = (sender.at + 1) % sender.count;
}

/* Whom a store named, if it did; else the next. */
static void follow(struct slice address)
{
    size_t i = 0;
    if (address.len == 0 || address.len > ADDRESS_MAX) {
        next_door();
        return;
    }
    while (i < sender.count && !slice_equal(slice_str(sender.doors[i].address), address))
        i++;
    if (i == DOORS_MAX || i == sender.at) {
        next_door();
        return;
    }
    if (i == sender.count) {
        memcpy(sender.doors[i].address, address.data, address.len);
        sender.doors[i].fd = -1;
        sender.count++;
    }
    sender.at = i;
}

static bool add_endpoints(const char *endpoints)
{
    char text[DOORS_MAX * ADDRESS_ROOM], *state = NULL;
    if (strlen(endpoints) >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%s", endpoints);
    for (char *one = strtok_r(text, ",", &state); one != NULL; one = strtok_r(NULL, ",", &state)) {
        if (sender.count == DOORS_MAX || strlen(one) > ADDRESS_MAX)
            return false;
        sender.doors[sender.count].fd = -1;
        snprintf(sender.doors[sender.count++].address, ADDRESS_ROOM, "%s", one);
    }
    return sender.count > 0;
}

/* ---- what is asked ----------------------------------------------------------------------- */

static struct slice text_of(struct sending *s, const struct json_node *node)
{
    size_t from = s->texts.len;
    if (node == NULL || node->type != JSON_STRING || json_node_string(node, &s->texts) != 0)
        return slice_of(NULL, 0);
    return slice_of(s->texts.data + from, s->texts.len - from);
}

static bool number_of(const struct sending *s, const char *name, uint64_t *ret)
{
    const struct json_node *node = json_member(s->nodes, 0, name);
    return node != NULL && json_node_u64(node, ret) == 0;
}

static int fill_cas(struct sending *s, const struct json_node *value, struct op *op)
{
    if (value == NULL || value->type != JSON_ARRAY || value->child_count != 2)
        return ERR_INVALID;
    const struct json_node *expected = value + 1, *after = &s->nodes[expected->next];
    op->cond = expected->type == JSON_NULL ? COND_ABSENT : COND_VALUE;
    if (op->cond == COND_VALUE)
        op->cond_value = text_of(s, expected);
    op->value = text_of(s, after);
    return 0;
}

static int fill_op(struct sending *s, struct op *op)
{
    static const struct {
        const char *f;
        enum op_kind kind;
    } kinds[] = {{"write", OP_PUT},           {"delete", OP_DELETE}, {"cas", OP_PUT},
                 {"increment", OP_INCREMENT}, {"add", OP_APPEND},    {"swap", OP_GET_AND_SET}};
    const struct json_node *f = json_member(s->nodes, 0, "f");
    const struct json_node *value = json_member(s->nodes, 0, "value");
    size_t k = 0;
    while (k < ARRAY_LEN(kinds) && (f == NULL || !slice_equal(f->raw, slice_str(kinds[k].f))))
        k++;
    if (k == ARRAY_LEN(kinds))
        return ERR_INVALID;
    *op = (struct op){.kind = kinds[k].kind, .key = text_of(s, json_member(s->nodes, 0, "key"))};
    if (slice_equal(f->raw, slice_str("cas")))
        return fill_cas(s, value, op);
    if (op->kind == OP_APPEND) /* its result grows beyond what a range keeps of one */
        op->flags = OP_RETURN_PREVIOUS;
    if (op->kind == OP_INCREMENT)
        return value == NULL ? ERR_INVALID : json_node_i64(value, &op->delta);
    if (op->kind != OP_DELETE)
        op->value = text_of(s, value);
    return 0;
}

static int fill_command(struct sending *s)
{
    struct op op;
    struct command command = {.op_count = 1, .ops = &op};
    int rv = fill_op(s, &op);
    if (rv == 0 && (!number_of(s, "session", &command.session) ||
                    !number_of(s, "sequence", &command.sequence) ||
                    !number_of(s, "lowest", &command.lowest_unanswered) ||
                    !number_of(s, "first_sent", &command.first_sent_ms)))
        rv = ERR_INVALID;
    if (rv == 0)
        rv = command_check(&command, &command_limits_default, NULL);
    if (rv == 0)
        command_encode(&s->command, &command);
    return rv;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void put_type(struct sending *s, const char *type, int status)
{
    json_key(&s->out, "type");
    json_text(&s->out, type);
    if (status == 0)
        return;
    json_key(&s->out, "error");
    json_text(&s->out, err_name(status));
}

static void put_number(struct sending *s, const char *name, uint64_t number)
{
    if (number == 0)
        return;
    json_key(&s->out, name);
    json_u64(&s->out, number);
}

static void put_seen(struct sending *s, const struct op_result *result)
{
    json_key(&s->out, "seen");
    if (result->has_value)
        json_string(&s->out, result->value);
    else
        json_null(&s->out);
}

/* The word of the range, as the first sending that came there got it. */
static int put_result(struct sending *s, const struct response *response)
{
    struct op_result results[4];
    struct command_result cmd;
    const struct json_node *f = json_member(s->nodes, 0, "f");
    int rv = command_result_decode(response->write.result, results, ARRAY_LEN(results), &cmd, NULL);
    if (rv != 0)
        return rv;
    bool is_mismatch = cmd.status == ERR_CONDITION_FAILED;
    put_type(s, cmd.status == 0 ? "ok" : "fail", cmd.status);
    put_number(s, "change", cmd.version);
    if (cmd.status == 0 && !slice_equal(f->raw, slice_str("delete")))
        put_number(s, "version", cmd.version);
    if (is_mismatch) {
        json_key(&s->out, "mismatch");
        json_bool(&s->out, true);
    }
    if (cmd.result_count == 0)
        return 0;
    if (is_mismatch)
        put_number(s, "version", results[0].version);
    if (is_mismatch || slice_equal(f->raw, slice_str("swap")))
        put_seen(s, &results[0]);
    if (cmd.status == 0 && slice_equal(f->raw, slice_str("increment"))) {
        json_key(&s->out, "number");
        json_i64(&s->out, results[0].number);
    }
    if (cmd.status == 0 && slice_equal(f->raw, slice_str("add")))
        put_seen(s, &results[0]);
    return 0;
}

/* ---- sending -----------------------------------------------------------------------------------
 */

static int door_ask(struct door *door, const struct sending *s, struct response *ret_response,
                    uint64_t until_ms)
{
    uint64_t now = now_ms();
    struct buf frame;
    struct request request = {
        .id = ++door->asked,
        .timeout_ms = (uint32_t)(s->until_ms > now ? s->until_ms - now : 1),
        .kind = REQUEST_WRITE,
        .write = {.command = buf_slice(&s->command)},
    };
    buf_init(&frame, FRAME_BODY_MAX);
    size_t start = frame_begin(&frame);
    request_encode(&frame, &request);
    frame_end(&frame, start, true);
    int rv = frame.failed ? ERR_NOMEM : door_write(door, buf_slice(&frame), until_ms);
    buf_fini(&frame);
    return rv != 0 ? rv : door_hear(door, ret_response, until_ms);
}

static void pause_ms(uint64_t ms, uint64_t until_ms)
{
    uint64_t now = now_ms();
    uint64_t left = until_ms > now ? until_ms - now : 0;
    (void)poll(NULL, 0, (int)MIN(ms, left));
}

/* Told for good? Else another store, or the same, is to be asked: also where the range refused
 * it as it was applied, for that says nothing of a sending that was lost. */
static bool is_over(struct sending *s, const struct response *response, int *ret_rv)
{
    switch (response->status) {
    case ERR_NOT_LEADER:
    case ERR_RANGE_CHANGED:
    case ERR_UNAVAILABLE:
    case ERR_STATE:
        follow(response->leader.address);
        return false;
    case ERR_BUSY:
        pause_ms(MIN(response->retry_after_ms, (uint32_t)PAUSE_MAX_MS), s->until_ms);
        return false;
    case ERR_UNDETERMINED:
        s->is_ambiguous = true;
        next_door();
        return false;
    default:
        break;
    }
    bool is_result = response->kind == REQUEST_WRITE && response->write.result.len > 0 &&
                     response->status != ERR_SESSION_EXPIRED;
    if (is_result) {
        *ret_rv = put_result(s, response);
        return true;
    }
    put_type(s, s->is_ambiguous ? "info" : "fail", response->status);
    put_number(s, "time_ms", response->time_ms); /* of this range: others may be hours off */
    return true;
}

static int send_change(struct sending *s)
{
    uint64_t pause = PAUSE_MS;
    int rv = fill_command(s);
    if (rv != 0)
        return rv;
    while (now_ms() < s->until_ms) {
        struct door *door = &sender.doors[sender.at];
        struct response response = {0};
        uint64_t until_ms = MIN(s->until_ms, now_ms() + SILENCE_MS);
        if (door_open(door, until_ms) != 0) {
            next_door();
        } else if (door_ask(door, s, &response, until_ms) != 0) {
            s->is_ambiguous = true;
            door_close(door);
            next_door();
        } else if (is_over(s, &response, &rv)) {
            return rv;
        }
        pause_ms(pause, s->until_ms);
        pause = MIN(pause * 2, (uint64_t)PAUSE_MAX_MS);
    }
    put_type(s, s->is_ambiguous ? "info" : "fail",
             s->is_ambiguous ? ERR_UNDETERMINED : ERR_TIMEOUT);
    return 0;
}

static void tell_time(struct sending *s)
{
    for (size_t i = 0; i < sender.count && sender.time_at_ms == 0; i++, next_door())
        if (door_open(&sender.doors[sender.at], MIN(s->until_ms, now_ms() + SILENCE_MS)) == 0)
            break;
    bool is_known = sender.time_at_ms != 0;
    put_type(s, is_known ? "ok" : "fail", is_known ? 0 : ERR_UNAVAILABLE);
    if (is_known)
        put_number(s, "now_ms", sender.time_ms + (now_ms() - sender.time_at_ms));
}

/* ---- a line
 * --------------------------------------------------------------------------------------- */

static int answer_line(struct slice line)
{
    static struct json_node nodes[NODES_MAX];
    struct sending s = {.nodes = nodes};
    struct buf out;
    uint64_t timeout_ms = 0;
    size_t count = 0;
    buf_init(&s.texts, TEXTS_MAX);
    buf_init(&s.command, FRAME_BODY_MAX);
    buf_init(&out, TEXTS_MAX);
    json_begin(&s.out, &out);
    int rv = buf_reserve(&s.texts, TEXTS_MAX);
    if (rv == 0)
        rv = json_parse(line, nodes, NODES_MAX, &count, NULL);
    if (rv == 0 && (nodes[0].type != JSON_OBJECT || !number_of(&s, "timeout_ms", &timeout_ms)))
        rv = ERR_INVALID;
    if (rv == 0) {
        const struct json_node *f = json_member(nodes, 0, "f");
        uint64_t began = now_ns();
        s.until_ms = now_ms() + timeout_ms;
        json_object_begin(&s.out);
        if (f != NULL && slice_equal(f->raw, slice_str("time")))
            tell_time(&s);
        else
            rv = send_change(&s);
        put_number(&s, "t0", began);
        put_number(&s, "t1", now_ns());
        json_object_end(&s.out);
    }
    if (rv != 0 || out.failed)
        fprintf(stderr, "jepsen-sender: not understood: %.*s", (int)line.len, (char *)line.data);
    else
        printf("%.*s\n", (int)out.len, (char *)out.data);
    fflush(stdout);
    bool is_fine = rv == 0 && !out.failed;
    buf_fini(&s.texts);
    buf_fini(&s.command);
    buf_fini(&out);
    return is_fine ? 0 : -1;
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int rv = 0;
    if (argc != 3 || strcmp(argv[1], "--endpoints") != 0 || !add_endpoints(argv[2])) {
        fprintf(stderr, "usage: jepsen-sender --endpoints host:port,…\n");
        return 2;
    }
    while (rv == 0 && (len = getline(&line, &cap, stdin)) > 0)
        rv = answer_line(slice_of((uint8_t *)line, (size_t)len));
    free(line);
    for (size_t i = 0; i < sender.count; i++)
        door_close(&sender.doors[i]);
    return rv == 0 ? 0 : 1;
}
