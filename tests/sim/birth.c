/* SPDX-License-Identifier: Apache-2.0
 *
 * A cluster is built, bootstrapped in a calm world, and taken down.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/scenario.h"

enum { CLUSTER_PORT = 7000, BOOTSTRAP_LIMIT_US = 30 * 1000 * 1000 };

static void log_line(void *data, enum log_level level, const char *line)
{
    struct cluster_node *n = data;
    struct cluster *c = n->cluster;
    char name[COVER_NAME_MAX];
    snprintf(name, sizeof name, "says: %.*s", (int)strcspn(line, " "), line);
    cover_add(&c->cover, name, 1);
    if (level >= LOG_LEVEL_INFO)
        cluster_note(c, n, "%s: %s", log_level_name(level), line);
    else
        trace_detail(&c->opt.trace, sim_now_us(c->sim), n->host, "%s: %s", log_level_name(level),
                     line);
}

/* In an eighth of the clusters an upgrade is going on, and taken back, and begun anew: each
 * start of a store is of the older build or the newer one. Numbers of its own, so that the
 * other clusters are what they were. */
static bool is_older(const struct cluster_node *n)
{
    const struct cluster *c = n->cluster;
    struct rng own;
    rng_init(&own, c->opt.seed * 131 + 21);
    if (!rng_chance(&own, 1, 8))
        return false;
    rng_init(&own, c->opt.seed * 137 + (uint64_t)(n - c->nodes) + sim_now_us(c->sim) * 7);
    return rng_chance(&own, 1, 2);
}

void cluster_node_options(struct cluster_node *n, struct store_options *o)
{
    struct cluster *c = n->cluster;
    cluster_knobs(&c->opt, o);
    o->data_dir = "data";
    o->listen = n->address;
    o->store_id = (uint64_t)(n - c->nodes) + 1;
    o->secret = slice_str("a secret of the simulated cluster");
    o->logger = &n->logger;
    if (is_older(n))
        o->protocol_max = PROTOCOL_PULSE - 1;
    o->peer_count = c->opt.nodes;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        o->peers[i].store_id = i + 1;
        snprintf(o->peers[i].address, sizeof o->peers[i].address, "%s", c->nodes[i].address);
    }
}

struct boot {
    struct cluster *c;
    struct client_op ops[CLUSTER_NODES_MAX];
    struct member members[CLUSTER_NODES_MAX];
    uint32_t done;
    uint32_t failed;
};

static void on_identified(struct client_op *op, const struct client_result *result)
{
    struct boot *b = op->data;
    size_t i = (size_t)(op - b->ops);
    b->done++;
    if (result->status != 0 || result->response == NULL) {
        b->failed++;
        return;
    }
    b->members[i] = (struct member){
        .replica_id = i + 1,
        .store_id = result->response->identify.store_id,
        .role = MEMBER_VOTER,
        .address = slice_str(b->c->nodes[i].address),
    };
    memcpy(b->members[i].store_uuid, result->response->identify.store_uuid, STORE_UUID_LEN);
}

static void on_bootstrapped(struct client_op *op, const struct client_result *result)
{
    struct boot *b = op->data;
    b->done++;
    b->failed += result->status != 0;
    if (result->status != 0)
        cluster_note(b->c, NULL, "bootstrap: %s %.*s", err_name(result->status),
                     (int)result->text.len, (const char *)result->text.data);
}

static bool boot_waits(void *data)
{
    struct boot *b = data;
    return b->done < b->c->opt.nodes;
}

static void boot_ask_all(struct boot *b, enum request_kind kind, client_cb cb)
{
    struct cluster *c = b->c;
    b->done = 0;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct client_op *op = &b->ops[i];
        memset(op, 0, sizeof *op);
        op->data = b;
        op->endpoint = c->nodes[i].address;
        op->timeout_ms = 20000;
        op->cb = cb;
        op->request.kind = kind;
        if (kind == REQUEST_BOOTSTRAP) {
            op->request.bootstrap.cluster_id = 0xc1;
            op->request.bootstrap.member_count = c->opt.nodes;
            memcpy(op->request.bootstrap.members, b->members, c->opt.nodes * sizeof b->members[0]);
        }
        int rv = client_submit(c->clients[0].client, op);
        ASSERT(rv == 0);
    }
    sim_run_while(c->sim, boot_waits, b, sim_now_us(c->sim) + BOOTSTRAP_LIMIT_US);
}

static void bootstrap(struct cluster *c)
{
    struct boot *b = calloc(1, sizeof *b);
    ASSERT(b != NULL);
    b->c = c;
    boot_ask_all(b, REQUEST_IDENTIFY, on_identified);
    if (b->failed == 0 && b->done == c->opt.nodes)
        boot_ask_all(b, REQUEST_BOOTSTRAP, on_bootstrapped);
    if (b->failed != 0 || b->done != c->opt.nodes)
        cluster_fail(c, "bootstrap: %u of %u answered, %u failed", b->done, c->opt.nodes,
                     b->failed);
    else
        free(b);
}

static void open_client(struct cluster *c, struct cluster_client *one)
{
    const char *endpoints[CLUSTER_NODES_MAX];
    struct err err = {0};
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        endpoints[i] = c->nodes[i].address;
    struct client_options options = {
        .endpoints = endpoints,
        .endpoint_count = c->opt.nodes,
        .name = one->host,
        .connect_timeout_ms = 500,
        .stall_ms = 500,
    };
    int rv = client_new(sim_node_env(one->node), &options, &one->client, &err);
    if (rv != 0)
        cluster_fail(c, "client: %s", err.msg);
}

void cluster_open(struct cluster *c, const struct cluster_options *opt)
{
    struct sim_options calm;
    ASSERT(opt->nodes >= 1 && opt->nodes <= CLUSTER_NODES_MAX);
    ASSERT(opt->instances >= 1 && opt->instances <= CLUSTER_CLIENTS_MAX);
    *c = (struct cluster){.opt = *opt};
    cover_init(&c->cover);
    rng_init(&c->rng, opt->seed ^ UINT64_C(0x5eed0fc105e7));
    sim_options_init(&calm);
    c->sim = sim_new(&calm, opt->seed);
    for (uint32_t i = 0; i < opt->nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        n->cluster = c;
        snprintf(n->host, sizeof n->host, "n%u", i + 1);
        snprintf(n->address, sizeof n->address, "n%u:%d", i + 1, CLUSTER_PORT);
        n->logger = (struct logger){.level = LOG_LEVEL_DEBUG, .sink = log_line, .data = n};
        n->node = sim_node_new(c->sim, n->host);
    }
    for (uint32_t i = 0; i < opt->nodes; i++) {
        struct store_options options;
        struct err err = {0};
        cluster_node_options(&c->nodes[i], &options);
        int rv = store_open(&c->nodes[i].store, sim_node_env(c->nodes[i].node), &options, &err);
        if (rv != 0)
            cluster_fail(c, "first open: %s", err.msg);
    }
    for (uint32_t i = 0; i < opt->instances; i++) {
        struct cluster_client *one = &c->clients[i];
        snprintf(one->host, sizeof one->host, "client%u", i + 1);
        one->node = sim_node_new(c->sim, one->host);
        open_client(c, one);
    }
    if (!c->is_failed)
        bootstrap(c);
}

void cluster_close(struct cluster *c)
{
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        if (c->nodes[i].store != NULL)
            cluster_down(&c->nodes[i], SIM_CRASH_KILL, 0);
    }
    for (uint32_t i = 0; i < c->opt.instances; i++) {
        sim_node_crash(c->clients[i].node, SIM_CRASH_KILL);
        client_free(c->clients[i].client);
    }
    sim_free(c->sim);
    free(c->hash_at);
    free(c->leader_of);
}
