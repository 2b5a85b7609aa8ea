/* SPDX-License-Identifier: Apache-2.0
 *
 * Stamps for changes. A session's sequences are given in order and answered in any; the lowest
 * that is not answered goes along with each change, so that ranges forget the results below. One
 * stamps until its window is full, then another one that has room; only if none has is one more
 * begun, because ranges keep what they know of a session until its next change or for minutes. It
 * is given up when something of it stays undetermined; ops that still carry its stamp go on with
 * it.
 */
#include "base/plant.h"
#include "client/client_internal.h"

void session_set_time(struct client *client, uint64_t time_ms)
{
    if (time_ms == 0)
        return;
    client->time_ms = time_ms;
    client->time_at_us = env_turn_us(client->env);
}

static uint64_t cluster_time(const struct client *client)
{
    ASSERT(client->time_ms != 0);
    return client->time_ms + (env_turn_us(client->env) - client->time_at_us) / 1000;
}

static uint64_t *answered_word(struct client_session *s, uint64_t sequence)
{
    return &s->answered[sequence % CLIENT_SESSION_WINDOW / 64];
}

static struct client_session *session_begin(struct client *client, uint32_t at)
{
    struct client_session *s = &client->sessions[at];
    uint64_t id;
    do {
        env_random_bytes(client->env, &id, sizeof id);
    } while (id == 0);
    *s = (struct client_session){.id = id, .next = 1, .lowest = 1};
    client->session_at = at;
    return s;
}

static uint64_t session_room(const struct client_session *s)
{
    ASSERT(s->next - s->lowest <= CLIENT_SESSION_WINDOW);
    return s->id == 0 ? 0 : CLIENT_SESSION_WINDOW - (s->next - s->lowest);
}

/* The one that stamps next. Where all are full, each by one that stays open for long, the one after
 * the present one is given up. */
static struct client_session *session_take(struct client *client)
{
    uint32_t best = client->session_at, unused = CLIENT_SESSIONS;
    if (session_room(&client->sessions[best]) > 0)
        return &client->sessions[best];
    for (uint32_t i = 0; i < CLIENT_SESSIONS; i++) {
        const struct client_session *s = &client->sessions[i];
        if (session_room(s) > session_room(&client->sessions[best]))
            best = i;
        if (s->id == 0)
            unused = MIN(unused, i);
    }
    if (session_room(&client->sessions[best]) == 0)
        return session_begin(
            client, unused < CLIENT_SESSIONS ? unused : (client->session_at + 1) % CLIENT_SESSIONS);
    client->session_at = best;
    return &client->sessions[best];
}

/* NULL: it is given up. */
static struct client_session *session_of(struct client *client, uint64_t id)
{
    ASSERT(id != 0);
    for (uint32_t i = 0; i < CLIENT_SESSIONS; i++) {
        struct client_session *s = &client->sessions[(client->session_at + i) % CLIENT_SESSIONS];
        if (s->id == id)
            return s;
    }
    return NULL;
}

void session_stamp(struct client_op *op)
{
    struct client *client = op->client;
    if (op->request.kind != REQUEST_WRITE || op->is_stamped || op->stamp.session != 0 ||
        client->options.has_no_sessions || client->time_ms == 0)
        return;
    struct client_session *s = session_take(client);
    op->stamp = (struct command_stamp){
        .session = s->id,
        .sequence = s->next,
        .lowest_unanswered = s->lowest,
        .first_sent_ms = op->stamp_ms != 0 ? op->stamp_ms : cluster_time(client),
    };
    *answered_word(s, s->next) &= ~(UINT64_C(1) << s->next % 64);
    s->next++;
    ASSERT(op->stamp.lowest_unanswered <= op->stamp.sequence);
}

static void session_answered(struct client_session *s, uint64_t sequence)
{
    ASSERT(sequence >= s->lowest && sequence < s->next);
    *answered_word(s, sequence) |= UINT64_C(1) << sequence % 64;
    while (s->lowest < s->next && (*answered_word(s, s->lowest) >> s->lowest % 64 & 1) != 0)
        s->lowest++;
}

void session_op_over(struct client_op *op, bool is_answered)
{
    struct client_session *s =
        op->stamp.session == 0 ? NULL : session_of(op->client, op->stamp.session);
    if (s == NULL)
        return;
    if (is_answered)
        session_answered(s, op->stamp.sequence);
    else
        s->id = 0; /* its lowest must not pass what may yet be asked for */
}

void session_unstamp(struct client_op *op)
{
    ASSERT(!op->is_ambiguous);
    session_op_over(op, true);
    op->stamp = (struct command_stamp){0};
}

bool op_is_repeatable(const struct client_op *op)
{
    return op_is_read_only(op) || op->stamp.session != 0 || op->is_stamped;
}

int session_command(struct client_op *op, struct request_write *ret_write)
{
    struct buf *out = &op->client->stamped;
    struct slice rest;
    ASSERT(op->stamp.session != 0 && op->request.kind == REQUEST_WRITE);
    buf_clear(out);
    if (command_restamp_head(out, op->request.write.command, &op->stamp, &rest) != 0)
        return ERR_INVALID;
    if (out->failed)
        return ERR_NOMEM;
    *ret_write = (struct request_write){.command = buf_slice(out), .rest = rest};
    return 0;
}

void session_check(const struct client *client)
{
    ASSERT(client->session_at < CLIENT_SESSIONS);
    for (uint32_t i = 0; i < CLIENT_SESSIONS; i++) {
        const struct client_session *s = &client->sessions[i];
        ASSERT(s->lowest <= s->next);
        ASSERT(s->next - s->lowest <= CLIENT_SESSION_WINDOW);
    }
}
