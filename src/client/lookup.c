/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking who leads: a STATUS to every store at once, for one of them may be the very
 * one that is paused or cut off. The first answer that names a leader wakes those who
 * wait: who then still looks for another one asks at once. When none does, the next round
 * follows after a pause.
 */
#include <stdio.h>

#include "client/client_internal.h"

enum { LOOKUP_TIMEOUT_MS = 1000, LOOKUP_ROUNDS_MAX = 4 };

static void learn_members(struct client *client, struct route *route, const struct descriptor *d)
{
    route->member_count = 0;
    for (uint32_t i = 0; i < d->member_count && route->member_count < ROUTE_MEMBERS_MAX; i++) {
        struct client_peer *peer = peer_get(client, d->members[i].address);
        if (peer != NULL)
            route->members[route->member_count++] = peer;
    }
}

/* Take in the range and, unless it is old news, its leader. True if there is one. */
static bool lookup_learn(struct client *client, const struct response *response)
{
    const struct response_status *status = &response->status_of;
    const struct descriptor *d = &status->descriptor;
    for (uint32_t i = 0; i < d->member_count; i++)
        peer_get(client, d->members[i].address);
    struct route *route = route_put(&client->routes, d);
    if (route == NULL)
        return false;
    learn_members(client, route, d);
    const struct leader_hint *hint = &response->leader;
    if (hint->replica_id == 0 || hint->address.len == 0 || status->term < route->term)
        return route->leader != NULL;
    struct client_peer *leader = peer_get(client, hint->address);
    if (leader == NULL || leader->is_suspect || leader->state == PEER_COOLING)
        return route->leader != NULL;
    if (route->leader != leader)
        LOG_DEBUG(client->options.logger, "leader_found", "range=%llu term=%llu address=%s",
                  (unsigned long long)route->range_id, (unsigned long long)status->term,
                  leader->address);
    route->leader = leader;
    route->term = status->term;
    return true;
}

/* Is there a leader of what was asked for? */
static bool is_found(struct client *client, const struct client_lookup *lookup)
{
    const struct route *route = NULL;
    if (lookup->op.range_id != 0)
        route = route_find_range(&client->routes, lookup->op.range_id);
    else if (lookup->key_len > 0)
        route = route_find(&client->routes, slice_of(lookup->key, lookup->key_len));
    return route != NULL && route->leader != NULL;
}

static void lookup_done(struct client_op *op, const struct client_result *result)
{
    struct client_lookup *lookup = op->data;
    struct client *client = op->client;
    ASSERT(lookup->is_active && client->lookups_active > 0);
    lookup->is_active = false;
    client->lookups_active--;
    bool was_found = is_found(client, lookup);
    if (result->status == 0 && result->response != NULL && lookup_learn(client, result->response)) {
        client->lookup_rounds = 0;
        client->last_error = 0;
        if (!was_found && is_found(client, lookup))
            env_timer_stop(&client->lookup_pause); /* who is next has his turn at once */
        client_wake(client);
    } else if (result->response != NULL && result->response->leader.address.len > 0) {
        /* It has no such range, but knows who may: that one is asked in the next round. */
        peer_get(client, result->response->leader.address);
    } else if (result->status != 0 && (result->response != NULL || client->last_error == 0)) {
        client->last_error = result->status;
        snprintf(client->last_text, sizeof client->last_text, "%.*s", (int)result->text.len,
                 (const char *)result->text.data);
    }
}

void lookup_pause_timer(struct env_timer *timer)
{
    struct client *client = timer->data;
    client_wake(client); /* those who still find no leader will want a lookup */
}

/* The key to ask for: `lost_key`, or the greatest one below it. */
static size_t lost_place(const struct client *client, uint8_t *out)
{
    struct slice key = slice_of(client->lost_key, client->lost_key_len);
    if (client->is_lost_below)
        return descriptor_key_below(key, out).len;
    memcpy(out, key.data, key.len);
    return key.len;
}

/* Ask one peer, unless it is known to be of no use now. */
static void lookup_ask(struct client *client, struct client_lookup *lookup,
                       struct client_peer *peer)
{
    if (peer->state == PEER_COOLING)
        return;
    if (peer->is_suspect && list_is_empty(&peer->sent))
        peer_fail(peer, ERR_TIMEOUT, "silent for too long");
    if (peer->state == PEER_COOLING || peer->is_suspect)
        return;
    lookup->key_len = lost_place(client, lookup->key);
    lookup->op = (struct client_op){
        .data = lookup,
        .request = {.kind = REQUEST_STATUS,
                    .status = {.key = slice_of(lookup->key, lookup->key_len)}},
        .range_id = client->lost_range,
        .timeout_ms = LOOKUP_TIMEOUT_MS,
        .endpoint = peer->address,
        .cb = lookup_done,
    };
    if (client_submit_internal(client, &lookup->op) != 0)
        return;
    lookup->is_active = true;
    client->lookups_active++;
}

/* A free lookup, or NULL: none is, or this peer's answer is awaited. */
static struct client_lookup *lookup_for(struct client *client, const struct client_peer *peer)
{
    struct client_lookup *found = NULL;
    for (uint32_t i = 0; i < CLIENT_LOOKUPS_MAX; i++) {
        struct client_lookup *lookup = &client->lookups[i];
        if (!lookup->is_active)
            found = lookup;
        else if (lookup->op.only == peer)
            return NULL;
    }
    return found;
}

void lookup_start(struct client *client)
{
    client->wants_lookup = false;
    if (env_timer_is_active(&client->lookup_pause))
        return;
    client->asked = client->lost_order;
    for (uint32_t i = 0; i < client->peer_count; i++) {
        struct client_peer *peer = client->peers[(client->peer_next + i) % client->peer_count];
        struct client_lookup *lookup = lookup_for(client, peer);
        if (lookup != NULL)
            lookup_ask(client, lookup, peer);
    }
    client->peer_next = (client->peer_next + 1) % client->peer_count;
    /* Whatever comes of it: look again after a pause, if somebody still waits. */
    env_timer_start(&client->lookup_pause, backoff_us(client, client->lookup_rounds));
    client->lookup_rounds = MIN(client->lookup_rounds + 1, (uint32_t)LOOKUP_ROUNDS_MAX);
}
