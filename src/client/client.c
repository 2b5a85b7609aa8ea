/* SPDX-License-Identifier: Apache-2.0 */
#include "client/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/client_internal.h"
#include "wire/command.h"

enum {
    IN_FLIGHT_DEFAULT = 8192,
    BYTES_DEFAULT = 64 << 20,
    CONNECT_MS_DEFAULT = 1000,
    STALL_MS_DEFAULT = 1500,
    BACKOFF_MIN_MS_DEFAULT = 10,
    BACKOFF_MAX_MS_DEFAULT = 500,
    LATE_US = 10 * 1000,          /* from then on a timer is late, and … */
    GRANT_US = 1000,              /* … so long are deadlines put off, once */
    OP_OVERHEAD = 256,            /* bytes that an op costs beside its keys and values */
    REQUEST_BYTES_MAX = 17 << 20, /* of keys and values in one request */
    SLOT_BITS = 20,
};

/* ---- states of an op ------------------------------------------------------- */

static const uint32_t op_next[CLIENT_OP_STATE_NR] = {
    [CLIENT_OP_IDLE] = BIT(CLIENT_OP_QUEUED),
    [CLIENT_OP_QUEUED] = BIT(CLIENT_OP_QUEUED) | BIT(CLIENT_OP_SENT) | BIT(CLIENT_OP_IDLE),
    [CLIENT_OP_SENT] = BIT(CLIENT_OP_QUEUED) | BIT(CLIENT_OP_IDLE),
};

/* The only place that writes op->state. */
static void op_move(struct client_op *op, enum client_op_state to)
{
    ASSERT(op_next[op->state] & BIT(to));
    struct client *client = op->client;
    if (op->state == CLIENT_OP_SENT) {
        ASSERT(client->sent_count > 0);
        client->sent_count--;
        list_remove(&op->in_queue);
        op->peer->sent_count--;
        op->peer->load -= op_is_load(op);
        op->peer->fresh_count -= !op->is_stuck;
        op->peer->fresh_bytes -= op->is_stuck ? 0 : op->bytes;
        peer_freed(op->peer);
        op->peer = NULL;
    }
    peer_unhold(op);
    if (to == CLIENT_OP_SENT)
        client->sent_count++;
    list_remove(&op->in_queue);
    op->state = to;
}

static void op_unstick(struct client_op *op)
{
    struct client *client = op->client;
    if (!op->is_stuck)
        return;
    ASSERT(client->stuck_count > 0 && client->stuck_bytes >= op->bytes);
    client->stuck_count--;
    client->stuck_bytes -= op->bytes;
    op->is_stuck = false;
}

void op_queue(struct client_op *op, struct list *to_list)
{
    op_move(op, CLIENT_OP_QUEUED);
    list_push_back(to_list, &op->in_queue);
}

void op_mark_sent(struct client_op *op, struct client_peer *peer)
{
    ASSERT(op->state == CLIENT_OP_QUEUED);
    if (!op_is_load(op))
        op_unstick(op); /* it has come there; that no answer comes yet says nothing */
    op_move(op, CLIENT_OP_SENT);
    op->peer = peer;
    op->sent_to = peer;
    peer->used_us = env_turn_us(op->client->env);
    peer->sent_count++;
    peer->load += op_is_load(op);
    peer->fresh_count += !op->is_stuck;
    peer->fresh_bytes += op->is_stuck ? 0 : op->bytes;
    op->sendings++;
    op->sent_us = peer->used_us;
    list_push_back(&peer->sent, &op->in_queue);
}

static void slot_give(struct client *client, uint32_t slot)
{
    ASSERT(client->slots[slot].op != NULL);
    client->slots[slot].op = NULL;
    client->slots[slot].next_free = client->slot_free;
    client->slot_free = slot;
}

/* May it have been done, as far as is known here? */
static bool op_may_be_done(const struct client_op *op)
{
    return !op_is_read_only(op) && (op->state == CLIENT_OP_SENT || op->is_ambiguous);
}

/* Back to IDLE, with everything that it held given back. */
static void op_release(struct client_op *op)
{
    struct client *client = op->client;
    ASSERT(op->state != CLIENT_OP_IDLE);
    multi_free(op);
    env_timer_stop(&op->deadline);
    env_timer_stop(&op->retry);
    op_move(op, CLIENT_OP_IDLE);
    op_unstick(op);
    if (op->only != NULL)
        op->only->aims--;
    slot_give(client, op->slot);
    if (!op->is_internal) {
        ASSERT(client->op_count > 0 && client->op_bytes >= op->bytes);
        client->op_count--;
        client->op_bytes -= op->bytes;
    }
    if (client->sent_count == 0)
        env_timer_stop(&client->tick);
}

static void stats_count(struct client_stats *stats, int status)
{
    if (status == 0)
        stats->done++;
    else if (status == ERR_UNDETERMINED)
        stats->undetermined++;
    else
        stats->failed++;
}

/* The only place that calls a cb. Nothing of `op` is touched after. */
void op_finish(struct client_op *op, const struct client_result *result)
{
    struct client *client = op->client;
    client_cb cb = op->cb;
    ASSERT(cb != NULL);
    ASSERT(result->status <= 0);
    if (!op->is_internal)
        stats_count(&client->stats, result->status);
    session_op_over(op, result->status != ERR_UNDETERMINED);
    bool was_apart = op->multi != NULL;
    op_release(op);
    if (was_apart) /* its parts have made room for others' */
        multi_wake(client);
    cb(op, result);
}

void op_fail(struct client_op *op, int status, const char *text)
{
    ASSERT(status < 0);
    char copy[CLIENT_TEXT_MAX + ADDRESS_MAX + 64];
    snprintf(copy, sizeof copy, "%s", text); /* may lie in the op, which the cb may free */
    struct client_result result = {.status = status, .text = slice_str(copy)};
    op_finish(op, &result);
}

void op_note(struct client_op *op, int error, struct slice text)
{
    ASSERT(error < 0);
    op->last_error = error;
    size_t len = MIN(text.len, sizeof op->last_text - 1);
    if (len > 0)
        memcpy(op->last_text, text.data, len);
    op->last_text[len] = 0;
}

bool op_is_read_only(const struct client_op *op)
{
    return request_is_read_only(&op->request);
}

/* ---- deadlines ------------------------------------------------------------- */

/* What to call an op that ran out of time. A change that has left may have taken
 * effect; all else has not. */
static int deadline_status(const struct client_op *op)
{
    if (op_may_be_done(op))
        return ERR_UNDETERMINED;
    int error = op->last_error != 0 ? op->last_error : op->client->last_error;
    switch (error) {
    case ERR_BUSY:
    case ERR_UNAUTHORIZED:
    case ERR_UNSUPPORTED:
    case ERR_NO_SPACE:
    case ERR_STATE:
    case ERR_TOO_OLD:
        return error;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* Where the loop itself comes late, by much other work or because the process stood still, the
 * answer may be here, unread: it has its turn first. */
static void op_deadline_timer(struct env_timer *timer)
{
    struct client_op *op = timer->data;
    ASSERT(op->state != CLIENT_OP_IDLE);
    uint64_t now_us = env_now_us(op->client->env);
    const struct client_op *last = multi_last_open(op);
    if (last->state == CLIENT_OP_SENT && !op->is_granted && now_us > op->deadline_us + LATE_US) {
        op->is_granted = true;
        env_timer_start_at(timer, now_us + GRANT_US);
        return;
    }
    if (last->state == CLIENT_OP_SENT && op_is_load(last))
        peer_overdue(last->peer, last, now_us);
    int status = deadline_status(last);
    char text[CLIENT_TEXT_MAX + ADDRESS_MAX + 64];
    if (last->state == CLIENT_OP_SENT)
        snprintf(text, sizeof text, "no answer from %s within the deadline", last->peer->address);
    else if (last->last_error != 0)
        snprintf(text, sizeof text, "%s", last->last_text);
    else if (op->client->last_error != 0)
        snprintf(text, sizeof text, "%s", op->client->last_text);
    else
        snprintf(text, sizeof text, "no leader was found within the deadline");
    op_fail(op, status, text);
}

static void client_tick_timer(struct env_timer *timer)
{
    struct client *client = timer->data;
    uint64_t now = env_now_us(client->env);
    for (uint32_t i = 0; i < client->peer_count; i++)
        peer_tick(client->peers[i], now);
    if (client->sent_count > 0)
        env_timer_start(timer, (uint64_t)client->options.stall_ms * 1000 / 4);
}

/* ---- life ------------------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value == 0 ? standard : value;
}

static void options_take(struct client *client, const struct client_options *options)
{
    struct client_options *o = &client->options;
    *o = *options;
    o->endpoints = NULL;
    o->name = NULL;
    o->in_flight_max =
        MIN(or_default(o->in_flight_max, IN_FLIGHT_DEFAULT), (uint32_t)CLIENT_IN_FLIGHT_MAX);
    if (o->bytes_max == 0)
        o->bytes_max = BYTES_DEFAULT;
    o->bytes_max = MIN(o->bytes_max, SIZE_MAX / 4);
    o->connect_timeout_ms = or_default(o->connect_timeout_ms, CONNECT_MS_DEFAULT);
    o->stall_ms = or_default(o->stall_ms, STALL_MS_DEFAULT);
    o->backoff_min_ms = or_default(o->backoff_min_ms, BACKOFF_MIN_MS_DEFAULT);
    o->backoff_max_ms =
        MAX(or_default(o->backoff_max_ms, BACKOFF_MAX_MS_DEFAULT), o->backoff_min_ms);
    snprintf(client->name, sizeof client->name, "%s", options->name != NULL ? options->name : "");
    client->cluster_id = o->cluster_id;
}

static int slots_init(struct client *client)
{
    client->slot_count =
        bounds_spare(client->options.in_flight_max) + CLIENT_LOOKUPS_MAX + CLIENT_PARTS_MAX;
    ASSERT(client->slot_count < (UINT32_C(1) << SLOT_BITS));
    client->slots = calloc(client->slot_count, sizeof *client->slots);
    if (client->slots == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < client->slot_count; i++)
        client->slots[i].next_free = i + 1;
    return 0;
}

/* "host:port" by its looks; whether it leads anywhere is for env_connect(). */
static bool address_is_plausible(const char *address)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address || strlen(address) > ADDRESS_MAX)
        return false;
    unsigned port = 0;
    for (const char *p = colon + 1; *p != 0; p++) {
        if (*p < '0' || *p > '9' || port > 65535)
            return false;
        port = port * 10 + (unsigned)(*p - '0');
    }
    return port >= 1 && port <= 65535;
}

static int endpoints_add(struct client *client, const struct client_options *options,
                         struct err *err)
{
    if (options->endpoint_count == 0 || options->endpoint_count > CLIENT_PEERS_MAX / 2)
        return err_set(err, ERR_INVALID, "%zu endpoints, want 1 to %d", options->endpoint_count,
                       CLIENT_PEERS_MAX / 2);
    for (size_t i = 0; i < options->endpoint_count; i++) {
        const char *endpoint = options->endpoints[i];
        if (!address_is_plausible(endpoint))
            return err_set(err, ERR_INVALID, "endpoint '%s' is not host:port", endpoint);
        struct client_peer *peer = peer_get(client, slice_str(endpoint));
        if (peer == NULL)
            return err_set(err, ERR_NOMEM, "endpoint '%s'", endpoint);
        peer->is_given = true;
    }
    return 0;
}

int client_new(struct env *env, const struct client_options *options, struct client **ret_client,
               struct err *err)
{
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return err_set(err, ERR_NOMEM, "client");
    client->env = env;
    buf_init(&client->stamped, REQUEST_BYTES_MAX);
    options_take(client, options);
    list_init(&client->fresh);
    list_init(&client->parked);
    list_init(&client->pausing);
    list_init(&client->fanned);
    env_task_init(&client->pump, client_pump_task, client);
    env_timer_init(&client->tick, env, client_tick_timer, client);
    env_timer_init(&client->lookup_pause, env, lookup_pause_timer, client);
    int rv = slots_init(client);
    if (rv == 0)
        rv = endpoints_add(client, options, err);
    else
        err_set(err, rv, "client with %u operations", client->slot_count);
    if (rv != 0) {
        client_free(client);
        return rv;
    }
    /* Different clients begin with different stores. */
    client->peer_next = (uint32_t)(env_random(env) % client->peer_count);
    *ret_client = client;
    return 0;
}

static void list_abandon(struct list *list)
{
    while (!list_is_empty(list)) {
        struct client_op *op = list_first(list, struct client_op, in_queue);
        op_release(op);
    }
}

void client_stop(struct client *client)
{
    for (uint32_t i = 0; i < client->peer_count; i++)
        peer_stop(client->peers[i]);
    for (uint32_t i = 0; i < client->slot_count; i++) {
        struct client_op *op = client->slots[i].op;
        if (op == NULL)
            continue;
        env_timer_stop(&op->deadline);
        env_timer_stop(&op->retry);
    }
    env_task_cancel(&client->pump);
    env_timer_stop(&client->tick);
    env_timer_stop(&client->lookup_pause);
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    list_abandon(&client->fanned); /* first: its parts are in the others */
    list_abandon(&client->fresh);
    list_abandon(&client->parked);
    list_abandon(&client->pausing);
    for (uint32_t i = 0; i < client->peer_count; i++) {
        list_abandon(&client->peers[i]->waiting); /* first: none moves up */
        list_abandon(&client->peers[i]->sent);
        peer_free(client->peers[i]);
    }
    env_task_cancel(&client->pump);
    env_timer_stop(&client->tick);
    env_timer_stop(&client->lookup_pause);
    route_cache_fini(&client->routes);
    buf_fini(&client->stamped);
    free(client->slots);
    free(client);
}

/* ---- submitting -------------------------------------------------------------- */

static bool key_is_fine(struct slice key)
{
    return key.len > 0 && key.len <= KEY_WIRE_MAX;
}

/* Bytes that a change's command may have here: the store's bound is for the stamped one. */
static size_t command_room(const struct client *client, const struct client_op *op)
{
    bool is_left_alone = client->options.has_no_sessions || op->is_stamped;
    return command_limits_default.command_max - (is_left_alone ? 0 : CLIENT_STAMP_BYTES);
}

/* Bytes that the request takes: 0 and *ret_bytes, or why it cannot be sent. */
static int request_measure(const struct client *client, const struct client_op *op,
                           size_t *ret_bytes)
{
    const struct request *r = &op->request;
    size_t bytes = 0;
    switch (r->kind) {
    case REQUEST_WRITE:
        if (r->write.command.len == 0 || r->write.rest.len > 0 || !key_is_fine(op->key))
            return ERR_INVALID;
        if (r->write.command.len > command_room(client, op))
            return ERR_TOO_LARGE;
        bytes = r->write.command.len;
        break;
    case REQUEST_GET:
        if (r->get.key.len == 0)
            return ERR_INVALID;
        bytes = r->get.key.len;
        break;
    case REQUEST_MULTI_GET:
        if (r->multi_get.keys.count == 0)
            return ERR_INVALID;
        bytes = r->multi_get.keys.raw.len;
        break;
    case REQUEST_SCAN:
        bytes = MAX(r->scan.start.len, r->scan.end.len);
        break;
    case REQUEST_WATCH:
        bytes = MAX(r->watch.start.len, r->watch.end.len);
        break;
    default:
        if ((unsigned)r->kind == 0 || r->kind > REQUEST_KIND_LAST)
            return ERR_INVALID;
        break;
    }
    bool is_key = r->kind == REQUEST_GET || r->kind == REQUEST_SCAN || r->kind == REQUEST_WATCH;
    if ((is_key && bytes > KEY_WIRE_MAX) || bytes > REQUEST_BYTES_MAX ||
        (r->kind == REQUEST_MULTI_GET && r->multi_get.keys.count > REQUEST_KEYS_MAX))
        return ERR_TOO_LARGE;
    *ret_bytes = bytes + OP_OVERHEAD;
    return 0;
}

/* Take it in: a slot, its timers, the queue. All bounds were tested. */
static void op_start(struct client *client, struct client_op *op, size_t bytes)
{
    ASSERT(client->slot_free < client->slot_count);
    op->client = client;
    op->bytes = bytes;
    if (op->only != NULL)
        op->only->aims++;
    op->slot = client->slot_free;
    client->slot_free = client->slots[op->slot].next_free;
    client->slots[op->slot].op = op;
    op->peer = NULL;
    op->sent_to = NULL;
    op->held_by = NULL;
    op->multi = NULL;
    op->is_stuck = false;
    op->is_granted = false;
    op->sendings = 0;
    op->is_ambiguous = false;
    op->wants_leader = false;
    op->stamp = (struct command_stamp){0};
    op->stamp_ms = 0;
    op->refusals = 0;
    op->last_error = 0;
    op->last_text[0] = 0;
    op->sent_id = 0;
    if (op->request.trace_id == 0)
        op->request.trace_id = env_random(client->env) | 1;
    uint32_t timeout_ms = or_default(op->timeout_ms, CLIENT_TIMEOUT_MS);
    op->deadline_us = env_turn_us(client->env) + (uint64_t)timeout_ms * 1000;
    env_timer_init(&op->deadline, client->env, op_deadline_timer, op);
    env_timer_init(&op->retry, client->env, op_retry_timer, op);
    env_timer_start_at(&op->deadline, op->deadline_us);
    list_init(&op->in_queue);
    op_queue(op, &client->fresh);
    client_poke(client);
}

/* Find the store that it must go to, if it names one. */
static int op_aim(struct client *client, struct client_op *op)
{
    op->only = NULL;
    if (op->endpoint == NULL)
        return 0;
    if (!address_is_plausible(op->endpoint))
        return ERR_INVALID;
    op->only = peer_get(client, slice_str(op->endpoint));
    return op->only != NULL ? 0 : ERR_BUSY;
}

void client_stuck(const struct client *client, uint32_t *ret_count, size_t *ret_bytes)
{
    *ret_count = client->stuck_count;
    *ret_bytes = client->stuck_bytes;
    for (uint32_t i = 0; i < client->peer_count; i++) {
        const struct client_peer *peer = client->peers[i];
        if (peer->pinged_us == 0 && !peer->is_suspect)
            continue;
        *ret_count += peer->fresh_count;
        *ret_bytes += peer->fresh_bytes;
    }
}

bool client_has_room(const struct client *client, size_t bytes)
{
    struct bounds_load load = {.count = client->op_count, .bytes = client->op_bytes};
    client_stuck(client, &load.stuck, &load.stuck_bytes);
    return bounds_allow(&load, client->options.in_flight_max, client->options.bytes_max, bytes);
}

int client_submit(struct client *client, struct client_op *op)
{
    ASSERT(op->state == CLIENT_OP_IDLE);
    ASSERT(op->cb != NULL);
    size_t bytes = 0;
    int rv = request_measure(client, op, &bytes);
    if (rv == 0)
        rv = op_aim(client, op);
    if (rv == 0 && !client_has_room(client, bytes))
        rv = ERR_BUSY;
    if (rv != 0) {
        client->stats.busy += rv == ERR_BUSY;
        return rv;
    }
    op->is_internal = false;
    client->stats.submitted++;
    client->op_count++;
    client->op_bytes += bytes;
    op_start(client, op, bytes);
    return 0;
}

int client_submit_internal(struct client *client, struct client_op *op)
{
    ASSERT(op->state == CLIENT_OP_IDLE);
    int rv = op_aim(client, op);
    if (rv != 0)
        return rv;
    op->is_internal = true;
    op_start(client, op, 0);
    return 0;
}

bool client_cancel(struct client_op *op)
{
    if (op->state == CLIENT_OP_IDLE)
        return true;
    bool is_safe = !op_may_be_done(op);
    session_op_over(op, is_safe);
    op_release(op);
    return is_safe;
}

struct client_op *client_op_by_id(struct client *client, uint64_t id)
{
    uint64_t slot = (id & ((UINT64_C(1) << SLOT_BITS) - 1)) - 1;
    if (slot >= client->slot_count)
        return NULL;
    struct client_op *op = client->slots[slot].op;
    if (op == NULL || op->state != CLIENT_OP_SENT || op->sent_id != id)
        return NULL;
    return op;
}

uint64_t client_next_id(struct client *client, uint32_t slot)
{
    ASSERT(slot < client->slot_count);
    uint64_t generation = ++client->slots[slot].generation;
    return generation << SLOT_BITS | (slot + 1);
}

/* ---- looking in ---------------------------------------------------------------- */

void client_stats_get(const struct client *client, struct client_stats *ret_stats)
{
    *ret_stats = client->stats;
    ret_stats->in_flight = client->op_count;
}

uint64_t client_cluster_id(const struct client *client)
{
    return client->cluster_id;
}

static uint32_t list_count(const struct list *list)
{
    uint32_t n = 0;
    for (const struct list *it = list->next; it != list; it = it->next)
        n++;
    return n;
}

void client_check(const struct client *client)
{
    uint32_t queued = list_count(&client->fresh) + list_count(&client->parked) +
                      list_count(&client->pausing) + list_count(&client->fanned);
    uint32_t sent = 0;
    uint32_t slots = 0;
    for (uint32_t i = 0; i < client->peer_count; i++) {
        peer_check(client->peers[i]);
        ASSERT(list_count(&client->peers[i]->sent) == client->peers[i]->sent_count);
        ASSERT(client->peers[i]->load <= client->peers[i]->sent_count);
        sent += client->peers[i]->sent_count;
        ASSERT(list_count(&client->peers[i]->waiting) == client->peers[i]->waiting_count);
        queued += client->peers[i]->waiting_count;
    }
    for (uint32_t i = 0; i < client->slot_count; i++)
        slots += client->slots[i].op != NULL;
    ASSERT(sent == client->sent_count);
    ASSERT(slots == queued + sent);
    ASSERT(slots == client->op_count + client->lookups_active + client->parts_active);
    ASSERT(client->op_count <= bounds_spare(client->options.in_flight_max));
    ASSERT(client->op_bytes <= bounds_spare(client->options.bytes_max));
    ASSERT(client->stuck_count <= client->op_count + client->lookups_active + client->parts_active);
    route_cache_check(&client->routes);
    session_check(client);
}
