/* SPDX-License-Identifier: Apache-2.0
 *
 * A link: frames over one connection.
 *
 *   in:   on_read ─▶ frame by frame ─▶ handler, until it pauses: the rest is held
 *         and goes on from the link's task after net_link_resume()
 *   out:  frames are appended to `out` during a turn; the link's task hands them
 *         to the env in one piece at its end
 *   end:  whoever is to hear a reason gets an error message; then the link waits
 *         until that has left and the other side has hung up (NET_LINGER_MS at
 *         most), because closing with unread input would destroy it on its way
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/net_internal.h"

static void link_set_state(struct net_link *link, enum net_link_state state)
{
    ASSERT(state > link->state);
    link->state = state;
    link->since_us = env_now_us(link->net->env);
    if (state >= LINK_ENDING)
        list_remove(&link->in_spare);
    if (state == LINK_ENDING && !link->is_dialled)
        list_push_back(&link->net->ending, &link->in_spare);
    if (state != LINK_CLOSED)
        return;
    ASSERT(link->conn == NULL);
    list_push_back(&link->net->dead, &link->in_dead);
    if (!link->is_dialled)
        link->net->stats.connections--;
    net_reap_later(link->net);
}

static void link_hang_up(struct net_link *link)
{
    env_conn_close(link->conn);
    link->conn = NULL;
    link_set_state(link, LINK_CLOSED);
}

/* ---- ends --------------------------------------------------------------------- */

static void link_tell(struct net_link *link, int status, const char *reason)
{
    struct error_msg error = {.code = status, .text = slice_str(reason)};
    size_t start = frame_begin(&link->out);
    error_msg_encode(&link->out, &error);
    frame_end(&link->out, start, false);
}

/* The handler is out. What waits may leave. */
static void link_wind_up(struct net_link *link, int status, const char *reason)
{
    link_set_state(link, LINK_ENDING);
    if (status < 0)
        link_tell(link, status, reason);
    buf_fini(&link->held);
    env_conn_resume(link->conn); /* to hear the other side hang up */
    link->is_paused = false;
    if (net_link_pending(link) == 0)
        link->drained_us = link->since_us;
    env_task_post(link->net->env, &link->task);
}

void net_link_close(struct net_link *link, int status, const char *reason)
{
    ASSERT(link->state == LINK_OPEN || link->state == LINK_DOOMED);
    if (link->conn == NULL)
        link_set_state(link, LINK_CLOSED);
    else if (!link->is_standing && link->is_dialled)
        link_hang_up(link); /* nobody to tell, maybe nobody there */
    else
        link_wind_up(link, status, reason);
}

static void link_end(struct net_link *link, int status, bool must_tell, const char *reason)
{
    const struct net_link_handler *handler = link->handler;
    ASSERT(status < 0);
    ASSERT(link->state == LINK_OPEN || link->state == LINK_DOOMED);
    if (link->conn == NULL)
        link_set_state(link, LINK_CLOSED);
    else if (must_tell && net_link_pending(link) <= NET_TELL_MAX)
        link_wind_up(link, status, reason);
    else
        link_hang_up(link);
    handler->on_end(link, status, reason);
}

void net_link_fail(struct net_link *link, int status, bool must_tell, const char *fmt, ...)
{
    char reason[NET_REASON_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    link_end(link, status, must_tell, reason);
}

void net_link_doom(struct net_link *link, int status, const char *fmt, ...)
{
    ASSERT(status < 0);
    if (link->state != LINK_OPEN)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(link->reason, sizeof link->reason, fmt, args);
    va_end(args);
    link->status = status;
    link_set_state(link, LINK_DOOMED);
    env_task_post(link->net->env, &link->task);
}

/* ---- in ------------------------------------------------------------------------ */

/* The other side says why it ends. Its text goes to a log line: no controls. */
static int link_take_error(struct net_link *link, struct slice body, struct err *err)
{
    struct error_msg error;
    char text[NET_REASON_MAX];
    int code = error_msg_decode(body, &error, err);
    if (code != 0)
        return code;
    size_t len = MIN(error.text.len, sizeof text - 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = error.text.data[i];
        text[i] = (char)(c < ' ' || c == 0x7f ? '?' : c);
    }
    text[len] = '\0';
    net_link_fail(link, err_from_wire(error.code), false, "%s says: %s", link->address, text);
    return 0;
}

/* What every link does by itself; anything else is the handler's. */
static int link_take_frame(struct net_link *link, struct slice body, struct err *err)
{
    uint32_t kind;
    int code = msg_kind(body, &kind, err);
    if (code != 0)
        return code;
    link->net->stats.frames_in++;
    if (kind == MSG_PING && link->is_standing) {
        struct ping ping;
        code = ping_decode(body, &ping, err);
        if (code != 0 || net_link_pending(link) > NET_PONGS_MAX)
            return code;
        ping.wall_ms = env_wall_ms(link->net->env);
        ping.disk = link->net->disk;
        size_t start = frame_begin(&link->out);
        pong_encode(&link->out, &ping);
        frame_end(&link->out, start, false);
        return net_link_sent(link);
    }
    if (kind == MSG_ERROR && (link->is_standing || link->is_dialled))
        return link_take_error(link, body, err);
    return link->handler->on_frame(link, kind, body, err);
}

/* When did the frame begin that is incomplete now? */
static void link_note_partial(struct net_link *link, bool has_completed)
{
    if (frame_reader_held(&link->reader) == 0)
        link->frame_us = 0;
    else if (link->frame_us == 0 || has_completed)
        link->frame_us = link->heard_us;
}

/* Frame by frame, until the bytes are used up or nobody wants more of them. */
static void link_consume(struct net_link *link, struct slice bytes)
{
    struct err err = {0};
    struct slice body;
    bool has_completed = false;
    bool is_used_up = false; /* said by the reader: of a handler, ERR_SHORT is an error as any */
    int code = 0;
    frame_reader_feed(&link->reader, bytes);
    while (link->state == LINK_OPEN && !link->is_paused) {
        code = frame_reader_next(&link->reader, &body, &err);
        is_used_up = code == ERR_SHORT;
        if (code != 0)
            break;
        has_completed = true;
        code = link_take_frame(link, body, &err);
        if (code != 0)
            break;
    }
    struct slice rest = frame_reader_take_back(&link->reader);
    if (link->state != LINK_OPEN)
        return;
    if (code != 0 && !is_used_up) {
        net_link_fail(link, code, true, "%s", err.msg[0] != '\0' ? err.msg : err_name(code));
        return;
    }
    buf_append_slice(&link->held, rest);
    if (link->held.failed)
        net_link_fail(link, ERR_NOMEM, true, "out of memory");
    else
        link_note_partial(link, has_completed);
}

static uint8_t *on_room(void *data, size_t *ret_len)
{
    struct net_link *link = data;
    bool is_wanted = link->state == LINK_OPEN && !link->is_paused && link->held.len == 0;
    return is_wanted ? frame_reader_room(&link->reader, ret_len) : NULL;
}

static void on_read(void *data, struct slice bytes)
{
    struct net_link *link = data;
    if (link->state != LINK_OPEN)
        return;
    link->heard_us = env_now_us(link->net->env);
    link->net->stats.bytes_in += bytes.len;
    if (!link->is_paused && link->held.len == 0) {
        link_consume(link, bytes);
    } else {
        buf_append_slice(&link->held, bytes);
        if (link->held.failed)
            net_link_fail(link, ERR_NOMEM, true, "out of memory");
    }
    if (link->state == LINK_OPEN && link->handler->on_read != NULL)
        link->handler->on_read(link);
}

/* After a pause, what had come before it. */
static void link_go_on(struct net_link *link)
{
    struct buf held = link->held;
    buf_init(&link->held, NET_HELD_MAX);
    link_consume(link, buf_slice(&held));
    buf_fini(&held);
    if (link->state != LINK_OPEN)
        return;
    if (link->handler->on_read != NULL)
        link->handler->on_read(link);
    if (link->state == LINK_OPEN && !link->is_paused)
        env_conn_resume(link->conn);
}

void net_link_pause(struct net_link *link)
{
    if (link->is_paused || link->state != LINK_OPEN)
        return;
    link->is_paused = true;
    env_conn_pause(link->conn);
}

void net_link_resume(struct net_link *link)
{
    if (!link->is_paused || link->state != LINK_OPEN)
        return;
    link->is_paused = false;
    link->heard_us = env_now_us(link->net->env); /* its silence was ours … */
    if (link->frame_us != 0)
        link->frame_us = link->heard_us; /* … and that its frame did not get on */
    if (link->held.len > 0)
        env_task_post(link->net->env, &link->task);
    else
        env_conn_resume(link->conn);
}

/* ---- out ----------------------------------------------------------------------- */

struct buf *net_link_out(struct net_link *link)
{
    ASSERT(link->conn != NULL);
    if (link->out.cap == 0 && link->out_last > 0)
        buf_reserve(&link->out, MIN(link->out_last, (size_t)NET_OUT_AHEAD));
    return &link->out;
}

int net_link_sent(struct net_link *link)
{
    if (link->out.failed) {
        buf_clear(&link->out); /* half a frame in it, perhaps */
        net_link_doom(link, ERR_NOMEM, "out of memory");
        return ERR_NOMEM;
    }
    env_task_post(link->net->env, &link->task);
    return 0;
}

int net_link_send(struct net_link *link, struct slice frames)
{
    ASSERT(frames.len > 0);
    buf_append_slice(net_link_out(link), frames);
    return net_link_sent(link);
}

void net_link_write(struct net_link *link, uint8_t *bytes, size_t len)
{
    ASSERT(link->conn != NULL);
    ASSERT(link->out.len == 0); /* else it would overtake */
    link->net->stats.bytes_out += len;
    link->written += len;
    env_conn_write(link->conn, bytes, len);
}

/* Bytes that the system took, and perhaps the other side. */
static uint64_t link_left(const struct net_link *link)
{
    size_t waiting = env_conn_pending(link->conn);
    ASSERT(waiting <= link->written);
    return link->written - waiting;
}

void net_link_ping(struct net_link *link)
{
    link->pinged_us = env_now_us(link->net->env);
    struct ping ping = {.token = link->pinged_us};
    size_t start = frame_begin(&link->out);
    ping_encode(&link->out, &ping);
    frame_end(&link->out, start, false);
    if (link->ping_at <= link_left(link))
        link->ping_at = link->written + link->out.len;
    net_link_sent(link);
}

/* Only while a ping waits: once all have left, that bytes leave shows no more than that the system
 * has room for them, which it has for a while when nobody is there. */
uint64_t net_link_alive_us(struct net_link *link, uint64_t now_us)
{
    uint64_t left = link_left(link);
    if (left > link->left && left < link->ping_at)
        link->left_us = now_us;
    link->left = left;
    uint64_t most_us = link->heard_us + (uint64_t)link->net->limits.frame_ms * 1000;
    return MAX(link->heard_us, MIN(link->left_us, most_us));
}

size_t net_link_pending(const struct net_link *link)
{
    return link->conn == NULL ? 0 : link->out.len + env_conn_pending(link->conn);
}

void net_link_flush_out(struct net_link *link)
{
    size_t len;
    if (link->out.failed)
        buf_clear(&link->out);
    if (link->out.len == 0)
        return;
    uint8_t *bytes = buf_take(&link->out, &len);
    link->out_last = len;
    net_link_write(link, bytes, len);
}

static void link_flush(struct net_link *link)
{
    net_link_flush_out(link);
    if (link->state == LINK_OPEN && link->handler->on_flush != NULL)
        link->handler->on_flush(link);
}

static void on_drain(void *data)
{
    struct net_link *link = data;
    link->drained_us = env_now_us(link->net->env);
    if (link->state == LINK_OPEN && link->handler->on_drain != NULL)
        link->handler->on_drain(link);
}

/* The end of a turn. */
static void on_task(struct env_task *task)
{
    struct net_link *link = task->data;
    if (link->state == LINK_OPEN && !link->is_paused && link->held.len > 0)
        link_go_on(link);
    if (link->state == LINK_DOOMED)
        link_end(link, link->status, link->is_standing || !link->is_dialled, link->reason);
    if (link->state != LINK_CLOSED)
        link_flush(link);
}

/* ---- life ---------------------------------------------------------------------- */

static void on_open(void *data)
{
    struct net_link *link = data;
    if (link->state != LINK_OPEN)
        return;
    link->since_us = link->heard_us = link->drained_us = env_now_us(link->net->env);
    link->handler->on_open(link);
}

static void on_close(void *data, int status, const char *reason)
{
    struct net_link *link = data;
    link->conn = NULL;
    if (link->state == LINK_OPEN || link->state == LINK_DOOMED)
        link_end(link, status, false, reason);
    else
        link_set_state(link, LINK_CLOSED);
}

static const struct env_conn_handler CONN_HANDLER = {
    .on_open = on_open,
    .on_room = on_room,
    .on_read = on_read,
    .on_drain = on_drain,
    .on_close = on_close,
};

static struct net_link *link_new(struct net *net, const char *address,
                                 const struct net_link_handler *handler, void *data)
{
    struct net_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    link->net = net;
    link->handler = handler;
    link->data = data;
    snprintf(link->address, sizeof link->address, "%s", address);
    frame_reader_init(&link->reader, FRAME_BODY_MAX_HELLO);
    buf_init(&link->held, NET_HELD_MAX);
    buf_init(&link->out, NET_OUT_MAX);
    link->since_us = link->heard_us = link->drained_us = env_now_us(net->env);
    env_task_init(&link->task, on_task, link);
    list_init(&link->in_links);
    list_init(&link->in_spare);
    list_init(&link->in_dead);
    list_push_back(&net->links, &link->in_links);
    return link;
}

struct net_link *net_link_accept(struct net *net, struct env_conn *conn, const char *address,
                                 const struct net_link_handler *handler)
{
    struct net_link *link = link_new(net, address, handler, NULL);
    if (link == NULL)
        return NULL;
    link->conn = conn;
    net->stats.connections++;
    list_push_back(&net->greeting, &link->in_spare);
    env_conn_accept(conn, &CONN_HANDLER, link);
    return link;
}

int net_link_dial(struct net *net, const char *address, const struct net_link_handler *handler,
                  void *data, struct net_link **ret_link, struct err *err)
{
    ASSERT(handler->on_open != NULL);
    struct net_link *link = link_new(net, address, handler, data);
    if (link == NULL)
        return err_set(err, ERR_NOMEM, "connect to %s: out of memory", address);
    link->is_dialled = true;
    int code = env_connect(net->env, address, &CONN_HANDLER, link, &link->conn, err);
    if (code != 0) {
        link->conn = NULL;
        link_set_state(link, LINK_CLOSED);
        return code;
    }
    *ret_link = link;
    return 0;
}

void net_link_stand(struct net_link *link)
{
    ASSERT(!link->is_standing);
    link->is_standing = true;
    list_remove(&link->in_spare);
    frame_reader_limit(&link->reader, FRAME_BODY_MAX);
}

void net_link_hand_over(struct net_link *link, const struct net_link_handler *handler, void *data)
{
    ASSERT(link->state == LINK_OPEN);
    link->handler = handler;
    link->data = data;
}

void net_link_displace(struct net_link *link)
{
    ASSERT(list_is_linked(&link->in_spare));
    if (link->state == LINK_ENDING)
        link_hang_up(link);
    else
        net_link_fail(link, ERR_BUSY, false, "too many connections, and it is not greeted yet");
}

void net_link_sweep(struct net_link *link, uint64_t now_us)
{
    const struct net_limits *limits = &link->net->limits;
    if (link->state == LINK_ENDING) {
        bool has_drained = net_link_pending(link) == 0;
        uint64_t since_us = has_drained ? MAX(link->since_us, link->drained_us) : link->since_us;
        if (net_is_over(link->net, since_us, has_drained ? NET_LINGER_MS : NET_ENDING_MS, now_us))
            link_hang_up(link);
    } else if (link->state == LINK_OPEN && !link->is_standing) {
        if (net_is_over(link->net, link->since_us, limits->hello_ms, now_us))
            net_link_fail(link, ERR_TIMEOUT, !link->is_dialled, "no greeting in %u ms",
                          limits->hello_ms);
    } else if (link->state == LINK_OPEN && link->frame_us != 0 && !link->is_paused) {
        if (net_is_over(link->net, link->frame_us, limits->frame_ms, now_us))
            net_link_fail(link, ERR_TIMEOUT, true, "a frame that did not end in %u ms",
                          limits->frame_ms);
    }
}

void net_link_free(struct net_link *link)
{
    env_task_cancel(&link->task);
    list_remove(&link->in_links);
    list_remove(&link->in_spare);
    list_remove(&link->in_dead);
    frame_reader_fini(&link->reader);
    buf_fini(&link->held);
    buf_fini(&link->out);
    free(link);
}
