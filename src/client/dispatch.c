/* SPDX-License-Identifier: Apache-2.0
 *
 * Where an op goes next. The happy path:
 *  - the pump, at the end of a turn, takes each fresh op and finds its peer: the one
 *    it names, the leader of its key's span, or any;
 *  - the peer is connected and not full: the request joins the frames of this turn;
 *  - all frames of a peer leave in one write;
 *  - the answer ends the op.
 * What may happen instead: no route or leader (parked, a lookup starts), the peer not
 * connected yet or full (parked), push-back (pausing), a definite refusal (fresh
 * again, or pausing when they repeat), a lost connection (what can be repeated is fresh
 * again, a change of no session is over: undetermined).
 */
#include <stdio.h>

#include "base/plant.h"
#include "client/client_internal.h"

enum {
    REFUSALS_AT_ONCE = 2,   /* so many times a refusal is followed without a pause */
    BACKOFF_SHIFT_MAX = 10, /* pauses double at most so often */
};

uint64_t backoff_us(struct client *client, uint32_t refusals)
{
    const struct client_options *o = &client->options;
    uint64_t ms = (uint64_t)o->backoff_min_ms << MIN(refusals, (uint32_t)BACKOFF_SHIFT_MAX);
    uint64_t us = MIN(ms, (uint64_t)o->backoff_max_ms) * 1000;
    ASSERT(us > 0);
    return us / 2 + env_random(client->env) % (us / 2 + 1);
}

void client_poke(struct client *client)
{
    env_task_post(client->env, &client->pump);
}

void client_wake(struct client *client)
{
    if (list_is_empty(&client->parked))
        return;
    while (!list_is_empty(&client->parked)) {
        struct list *link = list_pop_front(&client->parked);
        list_push_back(&client->fresh, link);
    }
    client_poke(client);
}

/* ---- choosing --------------------------------------------------------------- */

/* Will any replica of the range do? */
static bool op_takes_any_replica(const struct client_op *op)
{
    const struct request *r = &op->request;
    const struct request_read *how = NULL;
    if (r->kind == REQUEST_GET)
        how = &r->get.read;
    else if (r->kind == REQUEST_MULTI_GET)
        how = &r->multi_get.read;
    else if (r->kind == REQUEST_SCAN)
        how = &r->scan.read;
    return how != NULL && !op->wants_leader && (how->any_replica || how->consistency == READ_STALE);
}

/* Must the leader answer this, or will any store do? */
static bool op_needs_leader(const struct client_op *op)
{
    switch (op->request.kind) {
    case REQUEST_GET:
    case REQUEST_MULTI_GET:
    case REQUEST_SCAN:
    case REQUEST_WRITE:
    case REQUEST_WATCH:
    case REQUEST_TRANSFER_LEADER:
    case REQUEST_CHANGE_MEMBER:
    case REQUEST_CHECK_START:
    case REQUEST_SPLIT:
    case REQUEST_MERGE:
    case REQUEST_RETAIN:
        return true;
    default:
        return false;
    }
}

/* The key that tells the range: the first one, or where a scan begins. */
static struct slice op_key(const struct client_op *op, uint32_t *ret_keyspace)
{
    const struct request *r = &op->request;
    struct unpack u;
    switch (r->kind) {
    case REQUEST_WRITE:
        *ret_keyspace = op->keyspace;
        return op->key;
    case REQUEST_GET:
        *ret_keyspace = r->get.read.keyspace;
        return r->get.key;
    case REQUEST_MULTI_GET:
        *ret_keyspace = r->multi_get.read.keyspace;
        u = unpack_of(r->multi_get.keys.raw);
        return request_key_next(&u);
    case REQUEST_SCAN:
        *ret_keyspace = r->scan.read.keyspace;
        return r->scan.is_reverse ? r->scan.end : r->scan.start;
    case REQUEST_WATCH:
        *ret_keyspace = r->watch.keyspace;
        return r->watch.start;
    default:
        *ret_keyspace = 0;
        return (struct slice){0};
    }
}

/* A scan downwards begins at the keys below its end. */
static bool op_goes_down(const struct client_op *op)
{
    return op->request.kind == REQUEST_SCAN && op->request.scan.is_reverse;
}

/* The on-disk key of where it begins; empty for a list of keys that is none. */
static struct slice op_place(const struct client_op *op, uint8_t *raw)
{
    uint32_t keyspace;
    struct slice key = op_key(op, &keyspace);
    if (key.len > KEY_WIRE_MAX)
        return (struct slice){0};
    if (!op_goes_down(op) || key.len > 0)
        return route_key(keyspace, key, raw);
    if (keyspace < UINT32_MAX)
        return route_key(keyspace + 1, key, raw);
    route_key(keyspace, key, raw);
    raw[0]++; /* behind the last keyspace */
    return slice_of(raw, 1);
}

struct route *dispatch_route(struct client_op *op)
{
    if (op->range_id != 0)
        return route_find_range(&op->client->routes, op->range_id);
    if (op->request.kind == REQUEST_STATUS)
        return NULL; /* its place is told, or none: it is how routes are found */
    uint8_t raw[ROUTE_KEY_PREFIX + KEY_WIRE_MAX];
    struct slice place = op_place(op, raw);
    if (place.len == 0)
        return NULL;
    return op_goes_down(op) ? route_find_below(&op->client->routes, place)
                            : route_find(&op->client->routes, place);
}

/* Ranges without a leader have their turns in the order of their places, or else one that has
 * none for long would be asked for again and again, and others never. */
static bool is_next_turn(const struct client *client, struct slice place)
{
    struct slice best = slice_of(client->lost_order.place, client->lost_order.len);
    struct slice asked = slice_of(client->asked.place, client->asked.len);
    bool is_behind = slice_compare(place, asked) > 0;
    bool was_behind = slice_compare(best, asked) > 0;
    if (is_behind != was_behind)
        return is_behind;
    return slice_compare(place, best) < 0;
}

void dispatch_lost(struct client_op *op)
{
    struct client *client = op->client;
    uint8_t raw[ROUTE_KEY_PREFIX + KEY_WIRE_MAX];
    const struct route *route = dispatch_route(op);
    struct slice order =
        route != NULL ? slice_of(route->start, route->start_len) : op_place(op, raw);
    if (client->wants_lookup && !is_next_turn(client, order))
        return;
    client->lost_order.len = MIN(order.len, sizeof client->lost_order.place);
    if (order.len > 0)
        memcpy(client->lost_order.place, order.data, client->lost_order.len);
    client->wants_lookup = true;
    client->lost_range = op->range_id;
    struct slice place = op_place(op, raw);
    client->lost_key_len = place.len;
    if (place.len > 0)
        memcpy(client->lost_key, place.data, place.len);
    client->is_lost_below = op_goes_down(op);
}

/* The next peer in turn that can be used, or else one that may be connected. Those that are
 * connected may be the very ones that do not have what it asks for: after a refusal the others
 * are connected, and so have their turn. */
static struct client_peer *any_peer(const struct client_op *op)
{
    struct client *client = op->client;
    struct client_peer *second = NULL;
    for (uint32_t i = 0; i < client->peer_count && op->refusals > 0; i++) {
        if (client->peers[i]->state == PEER_IDLE)
            peer_connect(client->peers[i]);
    }
    for (uint32_t i = 0; i < client->peer_count; i++) {
        struct client_peer *peer = client->peers[(client->peer_next + i) % client->peer_count];
        if (peer->state == PEER_READY && !peer->is_suspect) {
            client->peer_next = (client->peer_next + i + 1) % client->peer_count;
            return peer;
        }
        if (second == NULL && (peer->state == PEER_IDLE || peer->state == PEER_CONNECTING))
            second = peer;
    }
    return second;
}

/* The next member in turn that is connected, or else one that may be. The others are connected
 * on the way, so that the load spreads. */
static struct client_peer *member_peer(struct client *client, const struct route *route)
{
    struct client_peer *second = NULL;
    uint32_t first = client->peer_next++;
    for (uint32_t i = 0; i < route->member_count; i++) {
        struct client_peer *peer = route->members[(first + i) % route->member_count];
        if (peer->state == PEER_READY && !peer->is_suspect && !peer->is_full)
            return peer;
        if (peer->state == PEER_IDLE)
            peer_connect(peer);
        if (second == NULL && (peer->state == PEER_IDLE || peer->state == PEER_CONNECTING))
            second = peer;
    }
    return second;
}

/* Whom to ask; NULL: nobody is known, a lookup is needed. */
static struct client_peer *op_peer(struct client_op *op)
{
    struct client *client = op->client;
    if (op->only != NULL)
        return op->only;
    struct client_peer *driver = client->driver;
    if (op->request.kind == REQUEST_PLACEMENT && driver != NULL && !driver->is_suspect &&
        driver->state != PEER_COOLING)
        return driver;
    if (!op_needs_leader(op))
        return any_peer(op);
    struct route *route = dispatch_route(op);
    struct client_peer *member = NULL;
    if (route != NULL && op_takes_any_replica(op))
        member = member_peer(client, route);
    if (member != NULL)
        return member;
    if (route == NULL || route->leader == NULL)
        return NULL;
    if (route->leader->is_suspect || route->leader->state == PEER_COOLING) {
        route->leader = NULL;
        return NULL;
    }
    return route->leader;
}

/* ---- the pump ---------------------------------------------------------------- */

static void op_park(struct client_op *op)
{
    op_queue(op, &op->client->parked);
}

/* What comes on top of the bound is for stores that can be asked, and answer. */
static bool op_is_too_much(const struct client_op *op)
{
    const struct client *client = op->client;
    return !op->is_stuck && op->sendings == 0 && !op->is_internal &&
           client->op_count > client->options.in_flight_max;
}

/* Is it silent, or has it yet to answer what was stuck before? */
static bool peer_is_slow(const struct client_peer *peer)
{
    return peer->pinged_us != 0 || peer->sent_count > peer->fresh_count;
}

static const char *const too_much = "too many operations wait for stores that cannot be asked";

/* Its store keeps it waiting: room is kept for those of others. Not while it is sent. */
static void op_stick(struct client_op *op)
{
    struct client *client = op->client;
    ASSERT(op->state == CLIENT_OP_QUEUED);
    if (op->is_stuck)
        return;
    op->is_stuck = true;
    client->stuck_count++;
    client->stuck_bytes += op->bytes;
}

/* Nobody can be asked for now. */
static void op_park_stuck(struct client_op *op)
{
    if (op_is_too_much(op)) {
        op_fail(op, ERR_BUSY, too_much);
        return;
    }
    op_stick(op);
    op_park(op);
}

static void op_pause(struct client_op *op, uint64_t until_us)
{
    op_queue(op, &op->client->pausing);
    env_timer_start_at(&op->retry, until_us);
}

void op_retry_timer(struct env_timer *timer)
{
    struct client_op *op = timer->data;
    ASSERT(op->state == CLIENT_OP_QUEUED);
    op_queue(op, &op->client->fresh);
    client_poke(op->client);
}

/* It would not be answered before its deadline, by how long others took and half as much again:
 * to ask would only make those behind it late, too. While nothing is under way one goes, or
 * nobody would hear that the store is faster by now. */
static bool op_is_hopeless(const struct client_op *op, const struct client_peer *peer,
                           uint64_t wait_us, uint64_t now_us)
{
    return peer->load > 0 && op_is_load(op) && !op->is_ambiguous &&
           now_us + wait_us + wait_us / 2 > op->deadline_us;
}

static const char *const hopeless = "the store has too much to do, and would not answer in time";

/* The store has pushed back: not now. */
static void op_hold_back(struct client_op *op, struct client_peer *peer, uint64_t now_us)
{
    bool is_left_alone = peer->hold_until_us > now_us;
    op->client->stats.held_back++;
    op_note(op, ERR_BUSY,
            slice_str(is_left_alone ? "the store has asked to be left alone"
                                    : "too many wait for answers of the store"));
    if (op_is_too_much(op) ||
        (is_left_alone && peer->hold_until_us >= op->deadline_us && !op->is_ambiguous)) {
        op_fail(op, ERR_BUSY, op->last_text);
        return;
    }
    if (!is_left_alone && op_is_hopeless(op, peer, peer_wait_us(peer, true), now_us)) {
        op_fail(op, ERR_BUSY, hopeless);
        return;
    }
    op_stick(op);
    if (is_left_alone)
        op_pause(op, peer->hold_until_us);
    else
        peer_hold(peer, op);
}

/* May it be sent now? If not, it waits, or has ended: the store has pushed back, or is asked the
 * same too often. */
static bool op_may_go(struct client_op *op, struct client_peer *peer, uint64_t now_us)
{
    struct client *client = op->client;
    bool is_repeat = op->sent_to == peer;
    if (peer->hold_until_us > now_us || peer->load >= peer->window) {
        op_hold_back(op, peer, now_us);
    } else if (peer_is_pushing_back(peer, now_us) &&
               op_is_hopeless(op, peer, peer_wait_us(peer, false), now_us)) {
        op_fail(op, ERR_BUSY, hopeless);
    } else if (is_repeat && !budget_spend(&peer->repeats, now_us)) {
        client->stats.paced++;
        op_pause(op, now_us + BUDGET_WAIT_US);
    } else {
        if (!is_repeat)
            budget_earn(&peer->repeats);
        return true;
    }
    return false;
}

/* One op that can be sent to a peer that is connected. */
static void op_send(struct client_op *op, struct client_peer *peer)
{
    struct client *client = op->client;
    uint64_t now = env_turn_us(client->env);
    if (op->only == NULL && !op_may_go(op, peer, now))
        return;
    if (op->cluster_id != 0 && client->cluster_id != 0 && op->cluster_id != client->cluster_id) {
        op_fail(op, ERR_UNAUTHORIZED, "it is of another cluster");
        return;
    }
    int rv = peer_send(peer, op);
    if (rv == ERR_BUSY)
        op_park(op);
    else if (rv != 0)
        op_fail(op, op->is_ambiguous ? ERR_UNDETERMINED : rv,
                rv == ERR_INVALID ? "not a command" : "out of memory");
    else if (!env_timer_is_active(&client->tick))
        env_timer_start(&client->tick, (uint64_t)client->options.stall_ms * 1000 / 4);
}

static void op_dispatch(struct client_op *op)
{
    if (multi_dispatch(op))
        return;
    struct client_peer *peer = op_peer(op);
    if (peer == NULL) {
        dispatch_lost(op); /* one key a round: who is still lost asks in the next */
        op_park_stuck(op);
        return;
    }
    switch (peer->state) {
    case PEER_READY:
        if (peer_is_slow(peer) && op_is_too_much(op))
            op_fail(op, ERR_BUSY, too_much);
        else
            op_send(op, peer);
        return;
    case PEER_IDLE:
        peer->is_pinned = true;
        op_park_stuck(op); /* it may be over */
        peer->is_pinned = false;
        peer_connect(peer);
        return;
    case PEER_CONNECTING:
        op_park_stuck(op);
        return;
    case PEER_COOLING: /* only where it is the one that was asked for */
        ASSERT(op->only == peer);
        ASSERT(!op->is_ambiguous);
        op_fail(op, ERR_UNAVAILABLE, peer->last_text);
        return;
    case PEER_STATE_NR:
        break;
    }
    ASSERT(false);
}

void client_pump_task(struct env_task *task)
{
    struct client *client = task->data;
    struct list batch; /* what comes in meanwhile has its turn in the next round */
    list_init(&batch);
    struct list *link;
    while ((link = list_pop_front(&client->fresh)) != NULL)
        list_push_back(&batch, link);
    while (!list_is_empty(&batch)) {
        struct client_op *op = list_first(&batch, struct client_op, in_queue);
        op_dispatch(op);
    }
    if (client->wants_parts)
        multi_step_all(client);
    uint64_t now_us = env_turn_us(client->env);
    for (uint32_t i = 0; i < client->peer_count; i++) {
        peer_refill(client->peers[i], now_us);
        peer_flush(client->peers[i]);
    }
    if (client->wants_lookup)
        lookup_start(client);
}

/* ---- what came back -------------------------------------------------------------- */

/* Once more: at once the first times, then after a pause that grows. */
static void op_again(struct client_op *op)
{
    struct client *client = op->client;
    op->refusals++;
    if (op->refusals <= REFUSALS_AT_ONCE) {
        op_queue(op, &client->fresh);
        client_poke(client);
    } else {
        uint64_t pause = backoff_us(client, op->refusals - REFUSALS_AT_ONCE);
        op_pause(op, env_turn_us(client->env) + pause);
    }
}

/* It said that another one leads: believe it, unless we know better. */
static void note_leader(struct client_op *op, struct client_peer *from,
                        const struct leader_hint *hint)
{
    if (op->request.kind == REQUEST_PLACEMENT) {
        struct client_peer *driver =
            hint->address.len == 0 ? NULL : peer_get(op->client, hint->address);
        op->client->driver = driver == from ? NULL : driver;
        return;
    }
    struct route *route = dispatch_route(op);
    if (route == NULL)
        return;
    if (route->leader == from)
        route->leader = NULL;
    if (hint->replica_id == 0 || hint->address.len == 0)
        return;
    struct client_peer *leader = peer_get(op->client, hint->address);
    if (leader != NULL && leader != from && !leader->is_suspect && leader->state != PEER_COOLING)
        route->leader = leader;
}

/* It is not as we think it is: who asks next, be it for any replica, has it looked up. */
static void forget_place(struct route *route)
{
    route->leader = NULL;
    route->member_count = 0;
}

/* The store pushed back: nobody bothers it before the time that it asked for. */
static void on_busy(struct client_op *op, struct client_peer *from, const struct response *response)
{
    struct client *client = op->client;
    uint64_t now = env_turn_us(client->env);
    uint64_t hint_us = (uint64_t)response->retry_after_ms * 1000;
    client->stats.pushed_back++;
    op->refusals++;
    uint64_t until = now + MAX(hint_us, backoff_us(client, op->refusals));
    op_queue(op, &client->pausing); /* it is not there any more */
    op_stick(op);
    if (op_is_load(op))
        peer_pushed_back(from, hint_us, op->sent_us);
    if (until >= op->deadline_us && !op->is_ambiguous) {
        struct client_result result = {
            .status = ERR_BUSY, .text = response->text, .response = response};
        op_finish(op, &result);
        return;
    }
    op_pause(op, until); /* if it is past the deadline, that comes first */
}

/* Is it certain that nothing was done, and worth another try? */
static bool is_refusal(const struct client_op *op, int status)
{
    switch (status) {
    case ERR_NOT_LEADER:
        return true;
    case ERR_RANGE_CHANGED: /* of a change of the range it is the answer; a part is cut anew */
        return op->request.kind != REQUEST_SPLIT && op->request.kind != REQUEST_MERGE &&
               op->request.kind != REQUEST_RETAIN &&
               (!op->is_part || op->request.multi_get.keys.count == 1);
    case ERR_TOO_OLD: /* another replica may be in touch */
    case ERR_UNAVAILABLE:
    case ERR_STATE: /* not bootstrapped, or wiped: another store may be of use */
        return true;
    case ERR_UNDETERMINED:
        return op_is_repeatable(op);
    case ERR_IO:
        return op_is_read_only(op);
    default:
        return false;
    }
}

/* The range cannot tell whether this is a repeat: first_sent is too old for it, or too far
 * ahead of the store's clock. If nothing of it can have been done, and the stamp is ours, it gets
 * another; else the clock may come so far. */
static bool on_expired(struct client_op *op, const struct response *response)
{
    uint64_t first_sent_ms = op->is_stamped ? op->stamped_ms : op->stamp.first_sent_ms;
    if ((op->stamp.session == 0 && !op->is_stamped) || response->time_ms == 0)
        return false;
    if (!op->is_ambiguous && !op->is_stamped) {
        session_set_time(op->client, response->time_ms);
        session_unstamp(op);
        op->stamp_ms = response->time_ms; /* other ranges may think otherwise meanwhile */
    } else if (response->time_ms > first_sent_ms) {
        return false; /* nobody can tell any more */
    }
    op_again(op);
    return true;
}

/* A refusal of this sending says nothing of one before that was lost. */
static bool is_of_all_sendings(const struct client_op *op, const struct response *response)
{
    return !op->is_ambiguous || response->kind != 0;
}

/* In words, should this be the last that is heard before the deadline. */
static struct slice refusal_text(const struct client_op *op, const struct response *response)
{
    if (response->text.len > 0)
        return response->text;
    if (response->status != ERR_NOT_LEADER)
        return slice_str(err_name(response->status));
    return slice_str(op->request.kind == REQUEST_PLACEMENT
                         ? "no store that answers leads range 1, where placement is: are most of "
                           "its stores up?"
                         : "no store that answers leads the range: are most of its stores up?");
}

void dispatch_on_response(struct client_op *op, const struct response *response)
{
    struct client *client = op->client;
    struct client_peer *from = op->peer;
    ASSERT(op->state == CLIENT_OP_SENT && from != NULL);
    int status = response->status;
    struct slice text = response->text;
    if (status != 0)
        op_note(op, status, refusal_text(op, response));
    if (op->only == NULL && status == ERR_BUSY) {
        on_busy(op, from, response);
        return;
    }
    if (op_is_load(op))
        peer_served(from, op);
    if (op->only == NULL && status == ERR_SESSION_EXPIRED) {
        if (on_expired(op, response))
            return;
        if (op->is_ambiguous && op->stamp.session != 0) {
            status = ERR_UNDETERMINED;
            text = slice_str("the range has forgotten the time of the first sending, and cannot "
                             "tell any more whether it was done");
        }
    } else if (op->only == NULL && !is_refusal(op, status) && !is_of_all_sendings(op, response)) {
        op_again(op);
        return;
    }
    if (op->only != NULL || !is_refusal(op, status) || response->status == ERR_SESSION_EXPIRED) {
        struct route *route =
            op->is_part && status == ERR_RANGE_CHANGED ? dispatch_route(op) : NULL;
        if (route != NULL)
            forget_place(route);
        struct client_result result = {.status = status, .text = text, .response = response};
        op_finish(op, &result);
        return;
    }
    if (status == ERR_NOT_LEADER) {
        client->stats.not_leader++;
        op->wants_leader = op_takes_any_replica(op);
        note_leader(op, from, &response->leader);
    } else if (status != ERR_TOO_OLD) {
        if (response->leader.address.len > 0)
            peer_get(client, response->leader.address); /* it may know more */
        struct route *route = dispatch_route(op);
        if (route != NULL && status == ERR_RANGE_CHANGED)
            forget_place(route);
        else if (route != NULL && route->leader == from)
            route->leader = NULL; /* found again by asking for the key */
    }
    if (status == ERR_UNDETERMINED && !op_is_read_only(op))
        op->is_ambiguous = true;
    op_again(op);
}

void dispatch_on_lost(struct client_op *op, int error, const char *text)
{
    ASSERT(op->state == CLIENT_OP_SENT);
    bool is_change = !op_is_read_only(op);
    if (is_change && (!op_is_repeatable(op) || op->only != NULL || PLANTED(gives_up_lost))) {
        op_fail(op, ERR_UNDETERMINED, text);
    } else if (op->only != NULL) {
        op_fail(op, ERR_UNAVAILABLE, text);
    } else {
        if (PLANTED(retry_undetermined) && is_change)
            session_unstamp(op);
        else
            op->is_ambiguous |= is_change;
        op_note(op, error, slice_str(text));
        op_again(op);
    }
}
