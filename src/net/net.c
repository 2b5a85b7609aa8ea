/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole: its options, its listener, the sweep that looks at every time-out,
 * and the reaping of links that ended.
 */
#include "net/net.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/net_internal.h"

static void on_accept(void *data, struct env_conn *conn, const char *address)
{
    net_greet_accept(data, conn, address);
}

void net_refused(struct net *net, const char *address, const char *reason)
{
    net->stats.refused++;
    if (net->hooks.on_refused != NULL)
        net->hooks.on_refused(net->data, address, reason);
}

/* ---- the sweep ---------------------------------------------------------------------- */

static void links_sweep(struct net *net, uint64_t now_us)
{
    LIST_FOREACH(it, &net->links)
    {
        struct net_link *link = list_entry(it, struct net_link, in_links);
        net_link_sweep(link, now_us);
    }
}

/* A connection that a peer dialled and whose pings stopped. */
static void incoming_sweep(struct net *net, uint64_t now_us)
{
    struct net_incoming *incoming;
    uint32_t cursor = 0;
    while ((incoming = map_next(&net->incoming, &cursor, NULL)) != NULL) {
        struct net_link *link = incoming->link;
        if (net_is_over(net, link->heard_us, net->limits.silence_ms * 2, now_us))
            net_link_doom(link, ERR_TIMEOUT, "silent for %u ms", net->limits.silence_ms * 2);
    }
}

/* When we were late ourselves (stopped, starved), the silence was ours: whoever is
 * judged by it is judged from now on. */
static void on_sweep(struct env_timer *timer)
{
    struct net *net = timer->data;
    uint64_t now_us = env_now_us(net->env);
    uint64_t late_us = (uint64_t)(net->limits.ping_ms + NET_SWEEP_MS) * 1000;
    if (now_us - net->swept_us > late_us)
        net->awake_us = now_us;
    net->swept_us = now_us;
    env_timer_start(&net->sweep, (uint64_t)NET_SWEEP_MS * 1000);
    net_peers_sweep(net, now_us);
    incoming_sweep(net, now_us);
    net_clients_sweep(net, now_us);
    net_streams_sweep(net, now_us);
    links_sweep(net, now_us);
}

/* ---- reaping ------------------------------------------------------------------------- */

static void on_reap(struct env_task *task)
{
    struct net *net = task->data;
    struct list *link;
    while ((link = list_pop_front(&net->dead)) != NULL)
        net_link_free(list_entry(link, struct net_link, in_dead));
}

void net_reap_later(struct net *net)
{
    env_task_post(net->env, &net->reap);
}

/* ---- life ----------------------------------------------------------------------------- */

static void default_u32(uint32_t *value, uint32_t standard)
{
    if (*value == 0)
        *value = standard;
}

static void default_size(size_t *value, size_t standard)
{
    if (*value == 0)
        *value = standard;
}

static void limits_complete(struct net_limits *limits)
{
    const size_t mib = (size_t)1 << 20;
    default_u32(&limits->hello_ms, 5000);
    default_u32(&limits->frame_ms, 60000);
    default_u32(&limits->idle_ms, 900000);
    default_u32(&limits->connections_max, 4096);
    default_u32(&limits->requests_max, 4096);
    default_u32(&limits->streams_max, 8);
    default_size(&limits->replies_pause, 8 * mib);
    default_u32(&limits->replies_stuck_ms, 30000);
    default_size(&limits->replies_max, 64 * mib);
    default_size(&limits->memory_max, 512 * mib);
    default_size(&limits->peer_bulk_max, 4 * mib);
    default_size(&limits->peer_urgent_max, mib);
    default_size(&limits->stream_window, 4 * mib);
    default_u32(&limits->ping_ms, 1000);
    default_u32(&limits->silence_ms, 5000);
    default_u32(&limits->redial_ms_min, 50);
    default_u32(&limits->redial_ms_max, 2000);
    default_u32(&limits->protocol_max, PROTOCOL_VERSION_MAX);
}

static int options_check(const struct net_options *options, struct err *err)
{
    ASSERT(options->hooks.on_peer_message != NULL);
    ASSERT(options->hooks.on_request != NULL);
    ASSERT(options->hooks.on_stream != NULL);
    if (strlen(options->address) >= ENV_ADDRESS_MAX)
        return err_set(err, ERR_INVALID, "address '%.40s…' is too long", options->address);
    return 0;
}

/* Copy the options; ERR_NOMEM. */
static int net_configure(struct net *net, const struct net_options *options)
{
    net->self = options->self;
    net->limits = options->limits;
    limits_complete(&net->limits);
    net->hooks = options->hooks;
    net->data = options->data;
    snprintf(net->name, sizeof net->name, "%s", options->name == NULL ? "" : options->name);
    if (options->secret.len == 0)
        return 0;
    net->secret = malloc(options->secret.len);
    if (net->secret == NULL)
        return ERR_NOMEM;
    memcpy(net->secret, options->secret.data, options->secret.len);
    net->secret_len = options->secret.len;
    return 0;
}

int net_new(struct env *env, const struct net_options *options, struct net **ret_net,
            struct err *err)
{
    int code = options_check(options, err);
    if (code != 0)
        return code;
    struct net *net = calloc(1, sizeof *net);
    if (net == NULL)
        return err_set(err, ERR_NOMEM, "listen on %s: out of memory", options->address);
    net->env = env;
    net->client_next = 1;
    list_init(&net->links);
    list_init(&net->greeting);
    list_init(&net->ending);
    list_init(&net->dead);
    list_init(&net->streams);
    list_init(&net->calls);
    map_init(&net->peers);
    map_init(&net->incoming);
    map_init(&net->clients);
    env_timer_init(&net->sweep, env, on_sweep, net);
    list_init(&net->resting);
    env_timer_init(&net->next_turn, env, net_clients_next_turn, net);
    env_task_init(&net->turn_end, net_clients_turn_end, net);
    env_task_init(&net->reap, on_reap, net);
    code = net_configure(net, options);
    if (code != 0)
        err_set(err, code, "listen on %s: out of memory", options->address);
    else
        code = env_listen(env, options->address, on_accept, net, &net->listener, err);
    if (code != 0) {
        net_free(net);
        return code;
    }
    snprintf(net->address, sizeof net->address, "%s", env_listener_address(net->listener));
    net->swept_us = env_now_us(env);
    env_timer_start(&net->sweep, (uint64_t)NET_SWEEP_MS * 1000);
    *ret_net = net;
    return 0;
}

static void maps_free(struct net *net)
{
    struct map *maps[] = {&net->incoming, &net->clients};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        uint32_t cursor = 0;
        void *value;
        while ((value = map_next(maps[i], &cursor, NULL)) != NULL)
            free(value);
        map_fini(maps[i]);
    }
}

void net_free(struct net *net)
{
    if (net == NULL)
        return;
    env_timer_stop(&net->sweep);
    env_timer_stop(&net->next_turn);
    env_task_cancel(&net->turn_end);
    env_task_cancel(&net->reap);
    net_peers_free(net);
    net_streams_free(net);
    net_calls_free(net);
    maps_free(net);
    while (!list_is_empty(&net->links))
        net_link_free(list_first(&net->links, struct net_link, in_links));
    ASSERT(list_is_empty(&net->dead));
    free(net->secret);
    free(net);
}

const char *net_address(const struct net *net)
{
    return net->address;
}

void net_set_cluster(struct net *net, uint64_t cluster_id, uint64_t store_id)
{
    ASSERT(cluster_id != 0);
    ASSERT(store_id != 0);
    ASSERT(net->self.store_id == 0 || net->self.store_id == store_id);
    net->self.cluster_id = cluster_id;
    net->self.store_id = store_id;
}

void net_set_disk(struct net *net, uint32_t disk)
{
    net->disk = disk;
}

void net_stop_listening(struct net *net)
{
    env_listener_close(net->listener);
    net->listener = NULL;
}

void net_stats(const struct net *net, struct net_stats *ret_stats)
{
    *ret_stats = net->stats;
}

void net_check(const struct net *net)
{
    uint32_t accepted = 0;
    LIST_FOREACH(it, &net->links)
    {
        const struct net_link *link = list_entry(it, struct net_link, in_links);
        accepted += !link->is_dialled && link->state != LINK_CLOSED;
        bool is_spare = link->state < LINK_ENDING ? !link->is_standing : link->state == LINK_ENDING;
        ASSERT((link->state == LINK_CLOSED) == list_is_linked(&link->in_dead));
        ASSERT((!link->is_dialled && is_spare) == list_is_linked(&link->in_spare));
        ASSERT(link->state != LINK_CLOSED || link->conn == NULL);
    }
    ASSERT(accepted == net->stats.connections);
    ASSERT(accepted <= net->limits.connections_max + NET_BESIDE_MAX);
    ASSERT(net->clients.count == net->stats.clients);
    ASSERT(net->stats.clients_paused <= net->stats.clients);
    ASSERT(net->stats.streams <= net->limits.streams_max);
    map_check(&net->clients);
    map_check(&net->incoming);
    map_check(&net->peers);
}
