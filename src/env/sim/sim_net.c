/* SPDX-License-Identifier: Apache-2.0
 *
 * Hosts, ports and links; dials and their answers; what goes wrong between nodes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "env/sim/wire_internal.h"

enum {
    LOOPBACK_US = 20,       /* latency inside one node */
    LINK_PIECES_PER_S = 50, /* what a narrow link carries comes bit by bit */
};

static struct sim_link *link_of(const struct sim_node *from, const struct sim_node *to)
{
    return &((struct sim_node *)from)->links[to->id - 1];
}

bool sim_link_is_cut(const struct sim_node *from, const struct sim_node *to)
{
    return link_of(from, to)->is_cut;
}

uint64_t sim_link_delay(struct sim *sim, struct sim_node *from, struct sim_node *to)
{
    const struct sim_options *options = &sim->options;
    struct sim_link *link = link_of(from, to);
    if (link->base_us == 0) {
        uint64_t base_us = from == to ? LOOPBACK_US
                                      : sim_draw_delay(&sim->rng_net, options->latency_us_min,
                                                       options->latency_us_max, 0);
        link->base_us = MAX(base_us, UINT64_C(1));
    }
    uint64_t base_us = link->base_us;
    uint64_t delay_us =
        sim_draw_delay(&sim->rng_net, base_us, base_us + base_us / 4, options->spike_ppm);
    sim->counts[SIM_COUNT_SPIKE] += delay_us > base_us + base_us / 4;
    delay_us += link->extra_us;
    uint64_t quantum_us = MAX(options->quantum_us, UINT64_C(1));
    uint64_t arrive_us = sim->now_us + delay_us;
    return (arrive_us + quantum_us - 1) / quantum_us * quantum_us - sim->now_us;
}

uint64_t sim_link_depart(struct sim *sim, struct sim_node *from, struct sim_node *to, size_t len)
{
    struct sim_link *link = link_of(from, to);
    if (link->bytes_per_s == 0 || len == 0)
        return sim->now_us;
    uint64_t begin_us = MAX(sim->now_us, link->free_us);
    link->free_us = begin_us + (uint64_t)len * 1000000 / link->bytes_per_s;
    return link->free_us;
}

size_t sim_link_window(const struct sim *sim, const struct sim_node *from,
                       const struct sim_node *to, size_t *ret_piece)
{
    uint64_t rate = link_of(from, to)->bytes_per_s;
    *ret_piece = sim->options.window_max;
    if (rate == 0)
        return sim->options.window_max;
    *ret_piece = (size_t)MAX(rate / LINK_PIECES_PER_S, UINT64_C(1));
    return (size_t)MIN(MAX(rate / 2, UINT64_C(1)), (uint64_t)sim->options.window_max);
}

/* ---- addresses ---- */

/* Cut "host:port": 0, or ERR_INVALID. `host` has ENV_ADDRESS_MAX bytes. */
static int address_parse(const char *text, bool may_be_zero, char *host, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    if (colon == NULL || strlen(text) >= ENV_ADDRESS_MAX)
        return ERR_INVALID;
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    char *end = NULL;
    unsigned long port = colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 0;
    if (len == 0 || end == NULL || *end != '\0' || port > 65535 || (port == 0 && !may_be_zero))
        return ERR_INVALID;
    memcpy(host, text, len);
    host[len] = '\0';
    *ret_port = (uint16_t)port;
    return 0;
}

static bool host_is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
           strcmp(host, "::1") == 0;
}

static bool host_is_any(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "*") == 0;
}

static struct sim_node *host_find(struct sim_node *self, const char *host)
{
    struct sim *sim = self->sim;
    if (host_is_loopback(host))
        return self;
    for (size_t i = 0; i < sim->node_count; i++)
        if (strcmp(sim->nodes[i]->address, host) == 0)
            return sim->nodes[i];
    return NULL;
}

/* ---- listeners ---- */

static struct sim_listener *port_find(const struct sim_node *node, uint16_t port)
{
    const struct sim_env *env = node->env;
    LIST_FOREACH(it, &env->listeners)
    {
        struct sim_listener *listener = list_entry(it, struct sim_listener, in_env);
        if (listener->port == port)
            return listener;
    }
    return NULL;
}

static uint16_t port_draw(struct sim_env *env)
{
    do
        env->next_port = env->next_port == 65535 ? 40000 : env->next_port + 1;
    while (port_find(env->node, env->next_port) != NULL);
    return env->next_port;
}

int sim_op_listen(struct env *base, const char *address, env_accept_cb cb, void *data,
                  struct env_listener **ret_listener, struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    char host[ENV_ADDRESS_MAX];
    uint16_t port = 0;
    ASSERT(cb != NULL);
    if (address_parse(address, true, host, &port) != 0)
        return err_set(err, ERR_INVALID, "listen on '%s': not an address", address);
    if (sim_env_is_silent(env))
        return err_set(err, ERR_CANCELED, "listen on %s: stopped", address);
    if (!host_is_any(host) && host_find(env->node, host) != env->node)
        return err_set(err, ERR_IO, "listen on %s: not an address of this host", address);
    if (port == 0)
        port = port_draw(env);
    else if (port_find(env->node, port) != NULL)
        return err_set(err, ERR_IO, "listen on %s: address already in use", address);
    struct sim_listener *listener = sim_alloc(sizeof *listener);
    char text[ENV_ADDRESS_MAX + 8];
    snprintf(text, sizeof text, "%s:%u", host_is_any(host) ? env->node->address : host, port);
    listener->listener.env = base;
    listener->env = env;
    listener->address = sim_strdup(text);
    listener->port = port;
    listener->cb = cb;
    listener->data = data;
    list_init(&listener->in_env);
    list_push_back(&env->listeners, &listener->in_env);
    *ret_listener = &listener->listener;
    return 0;
}

const char *sim_op_listener_address(const struct env_listener *handle)
{
    return container_of(handle, struct sim_listener, listener)->address;
}

void sim_op_listener_close(struct env_listener *handle)
{
    struct sim_listener *listener = container_of(handle, struct sim_listener, listener);
    list_remove(&listener->in_env);
    free(listener->address);
    free(listener);
}

/* ---- dials ---- */

/* The dial goes out. A name that nobody has, and bad luck, end it at once. */
static void dial_start(struct sim_end *end, bool is_known)
{
    struct sim *sim = end->wire->sim;
    uint32_t ppm = sim->options.connect_error_ppm;
    if (!is_known) {
        sim_end_break(end, 0, ERR_IO, "host not found");
        return;
    }
    if (ppm != 0 && rng_chance(&sim->rng_net, ppm, 1000000)) {
        sim->counts[SIM_COUNT_DIAL_REFUSED]++;
        sim_end_break(end, rng_below(&sim->rng_net, 1000), ERR_IO, "connection refused");
        return;
    }
    struct sim_end *server = sim_end_peer(end);
    sim_wire_push(server, SIM_WIRE_SYN, sim_link_delay(sim, end->node, server->node));
    sim_wire_push(end, SIM_WIRE_TIMEOUT, sim->options.connect_timeout_us);
}

int sim_op_connect(struct env *base, const char *address, const struct env_conn_handler *handler,
                   void *data, struct env_conn **ret_conn, struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    char host[ENV_ADDRESS_MAX];
    uint16_t port = 0;
    ASSERT(handler->on_read != NULL && handler->on_close != NULL);
    if (address_parse(address, false, host, &port) != 0)
        return err_set(err, ERR_INVALID, "connect to '%s': not an address", address);
    if (sim_env_is_silent(env))
        return err_set(err, ERR_CANCELED, "connect to %s: stopped", address);
    struct sim_node *server = host_find(env->node, host);
    struct sim_wire *wire = sim_wire_new(env->sim, env->node, server != NULL ? server : env->node);
    struct sim_end *end = &wire->ends[0];
    wire->server_port = port;
    wire->client_port = port_draw(env);
    end->handler = *handler;
    end->data = data;
    end->env = env;
    list_push_back(&env->conns, &end->in_env);
    *ret_conn = &sim_end_adopt(end, env)->conn;
    dial_start(end, server != NULL);
    return 0;
}

void sim_net_syn(struct sim_wire *wire)
{
    struct sim *sim = wire->sim;
    struct sim_end *client = &wire->ends[0];
    struct sim_end *server = &wire->ends[1];
    if (client->state != SIM_END_CONNECTING)
        return;
    if (server->node->is_dark || sim_link_is_cut(client->node, server->node)) {
        wire->is_syn_blocked = true;
        return;
    }
    sim_note(sim, NULL, SIM_EVENT_NET, 0);
    uint64_t delay_us = sim_link_delay(sim, server->node, client->node);
    struct sim_listener *listener = port_find(server->node, wire->server_port);
    if (listener == NULL) {
        if (!sim_link_is_cut(server->node, client->node))
            sim_end_break(client, delay_us, ERR_IO, "connection refused");
        return;
    }
    server->state = SIM_END_OPEN;
    server->env = listener->env;
    list_push_back(&server->env->conns, &server->in_env);
    sim_wire_push(server, SIM_WIRE_ACCEPT, 0);
    sim_wire_push(client, SIM_WIRE_OPEN, delay_us);
}

void sim_net_accept(struct sim_end *end)
{
    if (end->state != SIM_END_OPEN)
        return;
    struct sim_wire *wire = end->wire;
    struct sim_listener *listener = port_find(end->node, wire->server_port);
    if (listener == NULL || listener->env != end->env) {
        sim_end_leave(end, SIM_MARK_RST);
        return;
    }
    char peer[ENV_ADDRESS_MAX + 8];
    const char *host = wire->ends[0].node == end->node ? "127.0.0.1" : wire->ends[0].node->address;
    snprintf(peer, sizeof peer, "%s:%u", host, wire->client_port);
    struct sim_conn *conn = sim_end_adopt(end, end->env);
    sim_note(wire->sim, end->node, SIM_EVENT_ACCEPT, 0);
    listener->cb(listener->data, &conn->conn, peer);
    ASSERT(end->has_handler || end->state == SIM_END_GONE); /* taken or closed */
}

void sim_net_open(struct sim_end *end)
{
    struct sim *sim = end->wire->sim;
    if (end->state != SIM_END_CONNECTING)
        return;
    if (sim_link_is_cut(sim_end_peer(end)->node, end->node)) {
        end->wire->is_open_blocked = true;
        return;
    }
    sim_note(sim, end->node, SIM_EVENT_OPEN, 0);
    end->state = SIM_END_OPEN;
    end->has_handler = true;
    if (end->handler.on_open != NULL)
        end->handler.on_open(end->data);
    if (end->state != SIM_END_OPEN)
        return;
    sim_end_pump(end); /* what was written before */
    sim_end_read(end);
}

void sim_net_timeout(struct sim_end *end)
{
    if (end->state != SIM_END_CONNECTING)
        return;
    end->wire->sim->counts[SIM_COUNT_DIAL_LOST]++;
    sim_end_break(end, 0, ERR_TIMEOUT, "no answer");
}

/* ---- troubles ---- */

static void wire_kick(struct sim_wire *wire)
{
    struct sim *sim = wire->sim;
    struct sim_end *client = &wire->ends[0];
    struct sim_end *server = &wire->ends[1];
    bool is_out_cut = sim_link_is_cut(client->node, server->node);
    bool is_back_cut = sim_link_is_cut(server->node, client->node);
    if (wire->is_syn_blocked && !is_out_cut && !server->node->is_dark) {
        wire->is_syn_blocked = false;
        sim_wire_push(server, SIM_WIRE_SYN, sim_link_delay(sim, client->node, server->node));
    }
    if (wire->is_open_blocked && !is_back_cut) {
        wire->is_open_blocked = false;
        sim_wire_push(client, SIM_WIRE_OPEN, sim_link_delay(sim, server->node, client->node));
    }
    sim_stream_kick(client);
    sim_stream_kick(server);
}

void sim_wires_check(const struct sim *sim)
{
    LIST_FOREACH(it, &sim->wires)
    {
        const struct sim_wire *wire = list_entry(it, struct sim_wire, in_wires);
        ASSERT(wire->refs > 0 || wire->ends[0].env != NULL || wire->ends[1].env != NULL);
        sim_stream_check(&wire->ends[0]);
        sim_stream_check(&wire->ends[1]);
    }
}

void sim_wires_kick(struct sim *sim)
{
    LIST_FOREACH(it, &sim->wires)
    wire_kick(list_entry(it, struct sim_wire, in_wires));
}

/* Call for every ordered pair (x, y) of different nodes that {a, b} stands for. */
static void each_pair(struct sim *sim, struct sim_node *a, struct sim_node *b, bool both_ways,
                      void (*cb)(struct sim_link *link, uint64_t value), uint64_t value)
{
    for (size_t i = 0; i < sim->node_count; i++) {
        for (size_t j = 0; j < sim->node_count; j++) {
            struct sim_node *x = sim->nodes[i];
            struct sim_node *y = sim->nodes[j];
            bool is_there = (a == NULL || a == x) && (b == NULL || b == y);
            bool is_back = both_ways && (a == NULL || a == y) && (b == NULL || b == x);
            if (x != y && (is_there || is_back))
                cb(link_of(x, y), value);
        }
    }
}

static void link_cut(struct sim_link *link, uint64_t value)
{
    link->is_cut = value != 0;
}

static void link_slow(struct sim_link *link, uint64_t value)
{
    link->extra_us = value;
}

static void link_narrow(struct sim_link *link, uint64_t value)
{
    link->bytes_per_s = value;
    link->free_us = 0;
}

void sim_net_partition(struct sim *sim, struct sim_node *a, struct sim_node *b, bool one_way)
{
    each_pair(sim, a, b, !one_way, link_cut, 1);
}

void sim_net_heal(struct sim *sim, struct sim_node *a, struct sim_node *b)
{
    each_pair(sim, a, b, true, link_cut, 0);
    each_pair(sim, a, b, true, link_slow, 0);
    each_pair(sim, a, b, true, link_narrow, 0);
    sim_wires_kick(sim);
}

void sim_net_slow(struct sim *sim, struct sim_node *a, struct sim_node *b, uint64_t extra_us)
{
    each_pair(sim, a, b, false, link_slow, extra_us);
}

void sim_net_narrow(struct sim *sim, struct sim_node *a, struct sim_node *b, uint64_t bytes_per_s)
{
    each_pair(sim, a, b, false, link_narrow, bytes_per_s);
}

static bool pair_matches(const struct sim_node *x, const struct sim_node *y,
                         const struct sim_node *a, const struct sim_node *b)
{
    return (a == NULL || a == x) && (b == NULL || b == y);
}

void sim_net_reset(struct sim *sim, struct sim_node *a, struct sim_node *b)
{
    LIST_FOREACH(it, &sim->wires)
    {
        struct sim_wire *wire = list_entry(it, struct sim_wire, in_wires);
        struct sim_node *x = wire->ends[0].node;
        struct sim_node *y = wire->ends[1].node;
        if (x == y || (!pair_matches(x, y, a, b) && !pair_matches(y, x, a, b)))
            continue;
        sim_end_reset(&wire->ends[0]);
        sim_end_reset(&wire->ends[1]);
    }
}

void sim_net_half_open(struct sim *sim, struct sim_node *a, struct sim_node *b)
{
    LIST_FOREACH(it, &sim->wires)
    {
        struct sim_wire *wire = list_entry(it, struct sim_wire, in_wires);
        struct sim_node *x = wire->ends[0].node;
        struct sim_node *y = wire->ends[1].node;
        if (x == y || (!pair_matches(x, y, a, b) && !pair_matches(y, x, a, b)))
            continue;
        struct sim_end *end = &wire->ends[rng_below(&sim->rng_net, 2)];
        if (end->state != SIM_END_OPEN || sim_end_peer(end)->state != SIM_END_OPEN)
            continue;
        sim->counts[SIM_COUNT_HALF_OPEN]++;
        sim_end_break(end, 0, ERR_IO, "connection aborted");
    }
}

bool sim_net_is_cut(const struct sim *sim, const struct sim_node *from, const struct sim_node *to)
{
    ASSERT(from->sim == sim);
    return sim_link_is_cut(from, to);
}
