/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cluster.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "consensus/consensus.h"
#include "range/range.h"

enum { CLUSTER_PORT = 7000, BOOTSTRAP_LIMIT_US = 30 * 1000 * 1000 };

void cluster_fail(struct cluster *c, const char *fmt, ...)
{
    if (c->is_failed)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, args);
    va_end(args);
    c->is_failed = true;
}

/* ---- stores ---------------------------------------------------------------------- */

static void log_line(void *data, enum log_level level, const char *line)
{
    struct cluster_node *n = data;
    n->cluster->snapshots += strstr(line, "snapshot_installed") != NULL;
    n->cluster->fetches += strstr(line, "log_fetch") != NULL;
    if (!n->cluster->opt.is_verbose)
        return;
    printf("%12.6f %s %-5s %s\n", (double)sim_now_us(n->cluster->sim) / 1e6, n->host,
           log_level_name(level), line);
}

static void node_options(struct cluster_node *n, struct store_options *o)
{
    struct cluster *c = n->cluster;
    cluster_knobs(&c->opt, o);
    o->data_dir = "data";
    o->listen = n->address;
    o->store_id = (uint64_t)(n - c->nodes) + 1;
    o->secret = slice_str("a secret of the simulated cluster");
    o->logger = &n->logger;
    o->peer_count = c->opt.nodes;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        o->peers[i].store_id = i + 1;
        snprintf(o->peers[i].address, sizeof o->peers[i].address, "%s", c->nodes[i].address);
    }
}

static void node_down(struct cluster_node *n, enum sim_crash how, uint64_t restart_us)
{
    sim_node_crash(n->node, how);
    store_free(n->store);
    n->store = NULL;
    n->restart_us = restart_us;
    n->is_draining = n->is_drained = false;
}

/* Its disk was spoiled, and it has found out: from here on it must not serve. */
static void node_lost(struct cluster_node *n, const char *how)
{
    struct cluster *c = n->cluster;
    if (c->opt.is_verbose && !n->is_lost)
        printf("%12.6f %s lost: %s\n", (double)sim_now_us(c->sim) / 1e6, n->host, how);
    if (!n->is_rotten && !n->is_wiped)
        cluster_fail(c, "%s thinks its sound disk is damaged: %s", n->host, how);
    n->is_lost = true;
}

static bool is_device_error(int rv)
{
    return rv == ERR_IO || rv == ERR_NO_SPACE || rv == ERR_NOMEM;
}

static void open_failed(struct cluster_node *n, int rv, const struct err *err)
{
    struct cluster *c = n->cluster;
    uint64_t now = sim_now_us(c->sim);
    if (c->opt.is_verbose)
        printf("%12.6f %s open failed: %s %s\n", (double)now / 1e6, n->host, err->msg,
               sim_node_fatal_message(n->node));
    n->opens_failed++;
    node_down(n, SIM_CRASH_KILL, now + rng_between(&c->rng, 100000, 2000000));
    bool is_clock = rv == ERR_STATE && (c->opt.faults & (FAULT_CLOCK | FAULT_HOURS));
    if (n->is_rotten && rv != 0 && !is_device_error(rv) && !is_clock)
        node_lost(n, err->msg);
    if (n->is_rotten || rv == 0 || is_clock)
        return;
    if (!is_device_error(rv) || !(c->opt.faults & (FAULT_DISK | FAULT_SPACE)))
        cluster_fail(c, "%s cannot open: %s", n->host, err->msg);
}

static void flip_bits(struct cluster_node *n)
{
    struct cluster *c = n->cluster;
    for (; n->flip_count > 0; n->flip_count--) {
        const struct cluster_flip *f = &n->flips[n->flip_count - 1];
        if (sim_disk_flip_bit(sim_node_disk(n->node), f->path, f->bit) != 0)
            continue;
        n->is_rotten = true;
        if (c->opt.is_verbose)
            printf("%12.6f %s bit %llu of %s flipped\n", (double)sim_now_us(c->sim) / 1e6, n->host,
                   (unsigned long long)f->bit, f->path);
    }
}

static void node_up(struct cluster_node *n)
{
    struct store_options options;
    struct err err = {0};
    ASSERT(n->store == NULL);
    flip_bits(n);
    sim_node_restart(n->node);
    node_options(n, &options);
    int rv = store_open(&n->store, sim_node_env(n->node), &options, &err);
    if (rv == 0 && !sim_node_is_dead(n->node))
        n->restart_us = 0;
    else
        open_failed(n, rv, &err);
}

void cluster_crash(struct cluster *c, uint32_t i, enum sim_crash how, uint64_t restart_us)
{
    struct cluster_node *n = &c->nodes[i];
    ASSERT(i < c->opt.nodes);
    if (n->store == NULL)
        return;
    c->crashes++;
    node_down(n, how, restart_us);
}

/* It died of its own: a failed sync, a crash point, or somebody refused it. */
static void node_died(struct cluster_node *n)
{
    struct cluster *c = n->cluster;
    uint64_t now = sim_now_us(c->sim);
    const char *message = sim_node_fatal_message(n->node);
    if (c->opt.is_verbose)
        printf("%12.6f %s died: %s\n", (double)now / 1e6, n->host, message);
    if (n->is_wiped && strstr(message, "refuses us") != NULL)
        node_lost(n, message);
    else if (!n->is_rotten && !(c->opt.faults & (FAULT_DISK | FAULT_SPACE)))
        cluster_fail(c, "%s died without a disk fault: %s", n->host, message);
    enum sim_crash how = rng_chance(&c->rng, 1, 2) ? SIM_CRASH_KILL : SIM_CRASH_POWER;
    cluster_crash(c, (uint32_t)(n - c->nodes), how, now + rng_between(&c->rng, 100000, 2000000));
}

/* A spoiled store may find out, or never meet the spoiled place; what it must not do
 * is to serve after it has. */
static void check_spoiled(struct cluster_node *n)
{
    enum store_state state = store_state(n->store);
    if (state == STORE_DAMAGED)
        node_lost(n, "damaged");
    if ((n->is_lost || n->is_wiped) && (state == STORE_RUNNING || state == STORE_REPLAYING))
        cluster_fail(n->cluster, "%s is spoiled and serves again", n->host);
}

/* Nodes that died, those that drained, and those whose time has come. */
static void tend_nodes(struct cluster *c)
{
    uint64_t now = sim_now_us(c->sim);
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        if (n->store != NULL && sim_node_is_dead(n->node))
            node_died(n);
        else if (n->store != NULL)
            check_spoiled(n);
        if (n->store != NULL && n->is_drained)
            node_down(n, SIM_CRASH_KILL, now + rng_between(&c->rng, 1000, 500000));
        if (n->store == NULL && n->restart_us <= now)
            node_up(n);
    }
    if (c->new_leader != 0 && c->strike_percent != 0)
        nemesis_on_election(c, c->new_leader - 1);
    c->new_leader = 0;
}

/* ---- invariants ---------------------------------------------------------------------- */

static uint64_t *slot_at(uint64_t **array, uint64_t *cap, uint64_t index)
{
    if (index >= *cap) {
        uint64_t next = MAX(index + 1, *cap == 0 ? 4096 : *cap * 2);
        *array = realloc(*array, next * sizeof **array);
        ASSERT(*array != NULL);
        memset(*array + *cap, 0, (next - *cap) * sizeof **array);
        *cap = next;
    }
    return *array + index;
}

/* A clock that is hours ahead of the majority's never stamps: range time would stay
 * there for ever. */
static void check_time(struct cluster *c, const struct cluster_node *n,
                       const struct range_meta *meta)
{
    uint64_t true_ms = env_wall_ms(sim_node_env(c->client_node));
    if (meta->time_ms > true_ms + 3600 * 1000 / 2)
        cluster_fail(c, "range time on %s is %llu s ahead", n->host,
                     (unsigned long long)((meta->time_ms - true_ms) / 1000));
}

static void check_one(struct cluster *c, struct cluster_node *n)
{
    const struct consensus *cons = store_consensus(n->store);
    struct range *range = store_range(n->store);
    if (range != NULL) {
        const struct range_meta *meta = range_meta(range);
        uint64_t *hash = slot_at(&c->hash_at, &c->hash_cap, meta->applied_index);
        if (*hash == 0)
            *hash = meta->history_hash;
        if (*hash != meta->history_hash)
            cluster_fail(c, "replicas differ at index %llu (%s)",
                         (unsigned long long)meta->applied_index, n->host);
        if (c->opt.faults & FAULT_HOURS)
            check_time(c, n, meta);
    }
    if (cons != NULL && consensus_is_leader(cons)) {
        uint64_t *leader = slot_at(&c->leader_of, &c->leader_cap, consensus_term(cons));
        uint64_t id = (uint64_t)(n - c->nodes) + 1;
        if (*leader == 0) {
            *leader = id;
            c->new_leader = (uint32_t)id;
        }
        if (*leader != id)
            cluster_fail(c, "two leaders in term %llu: %llu and %llu",
                         (unsigned long long)consensus_term(cons), (unsigned long long)*leader,
                         (unsigned long long)id);
    }
}

static void check_all(struct cluster *c)
{
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        if (n->store != NULL && !sim_node_is_dead(n->node))
            check_one(c, n);
    }
}

static void check_deep(struct cluster *c)
{
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        if (n->store != NULL && !sim_node_is_dead(n->node))
            store_check(n->store);
    }
    cluster_compare_digests(c);
}

bool cluster_run_until(struct cluster *c, uint64_t time_us)
{
    while (!c->is_failed && sim_now_us(c->sim) < time_us) {
        uint64_t next = time_us;
        tend_nodes(c);
        for (uint32_t i = 0; i < c->opt.nodes; i++) {
            if (c->nodes[i].store == NULL)
                next = MIN(next, c->nodes[i].restart_us);
        }
        for (int steps = 0; steps < 4096 && !c->is_failed && sim_now_us(c->sim) < next; steps++) {
            if (!sim_step(c->sim))
                sim_run_until(c->sim, next);
            check_all(c);
            tend_nodes(c);
        }
        check_deep(c);
    }
    return !c->is_failed;
}

/* ---- birth -------------------------------------------------------------------------------- */

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
    if (result->status != 0 && b->c->opt.is_verbose)
        printf("bootstrap: %s %.*s\n", err_name(result->status), (int)result->text.len,
               (const char *)result->text.data);
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
        int rv = client_submit(c->client, op);
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

static void open_client(struct cluster *c)
{
    const char *endpoints[CLUSTER_NODES_MAX];
    struct err err = {0};
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        endpoints[i] = c->nodes[i].address;
    struct client_options options = {
        .endpoints = endpoints,
        .endpoint_count = c->opt.nodes,
        .name = "sim",
        .connect_timeout_ms = 500,
        .stall_ms = 500,
    };
    int rv = client_new(sim_node_env(c->client_node), &options, &c->client, &err);
    if (rv != 0)
        cluster_fail(c, "client: %s", err.msg);
}

void cluster_open(struct cluster *c, const struct cluster_options *opt)
{
    struct sim_options calm;
    ASSERT(opt->nodes >= 1 && opt->nodes <= CLUSTER_NODES_MAX);
    *c = (struct cluster){.opt = *opt};
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
        node_options(&c->nodes[i], &options);
        int rv = store_open(&c->nodes[i].store, sim_node_env(c->nodes[i].node), &options, &err);
        if (rv != 0)
            cluster_fail(c, "first open: %s", err.msg);
    }
    c->client_node = sim_node_new(c->sim, "client");
    open_client(c);
    if (!c->is_failed)
        bootstrap(c);
}

void cluster_close(struct cluster *c)
{
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        if (c->nodes[i].store != NULL)
            node_down(&c->nodes[i], SIM_CRASH_KILL, 0);
    }
    sim_node_crash(c->client_node, SIM_CRASH_KILL);
    client_free(c->client);
    sim_free(c->sim);
    free(c->hash_at);
    free(c->leader_of);
}

/* ---- the end ------------------------------------------------------------- */

/* Every node runs and all have applied the same. */
static bool is_settled(const struct cluster *c)
{
    uint64_t applied = 0;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        const struct cluster_node *n = &c->nodes[i];
        if (n->is_lost)
            continue;
        if (n->is_wiped)
            return false; /* it has not been refused yet */
        if (n->store == NULL || store_state(n->store) != STORE_RUNNING)
            return false;
        uint64_t at = range_meta(store_range(n->store))->applied_index;
        if (applied != 0 && at != applied)
            return false;
        applied = at;
    }
    return applied != 0;
}

static void compare_states(struct cluster *c)
{
    uint64_t first = 0;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        struct err err = {0};
        uint64_t hash = 0;
        if (n->is_lost)
            continue;
        int rv = range_hash(store_range(n->store), &hash, &err);
        if (n->is_rotten && rv != 0)
            continue; /* nobody had looked there yet */
        if (rv != 0)
            cluster_fail(c, "%s: hash of the state: %s", n->host, err.msg);
        else if (first != 0 && hash != first)
            cluster_fail(c, "%s: its state differs from the others", n->host);
        first = hash;
        sim_hash_add(c->sim, hash);
    }
}

/* Where everybody stands, for the report of a failure. */
static void describe(const struct cluster *c, char *out, size_t size)
{
    size_t at = 0;
    for (uint32_t i = 0; i < c->opt.nodes && at < size; i++) {
        const struct cluster_node *n = &c->nodes[i];
        struct cons_status s = {0};
        if (n->store == NULL || store_consensus(n->store) == NULL) {
            at += (size_t)snprintf(out + at, size - at, " %s %s;", n->host,
                                   n->store == NULL ? "down"
                                                    : store_state_name(store_state(n->store)));
            continue;
        }
        consensus_status(store_consensus(n->store), &s);
        at += (size_t)snprintf(
            out + at, size - at,
            " %s state %d term %llu commit %llu last %llu stored %llu applied %llu/%llu;", n->host,
            (int)s.state, (unsigned long long)s.term, (unsigned long long)s.commit,
            (unsigned long long)s.last_index, (unsigned long long)s.last_stored,
            (unsigned long long)s.applied,
            (unsigned long long)range_meta(store_range(n->store))->applied_index);
    }
}

bool cluster_settle(struct cluster *c, uint64_t limit_us)
{
    char where[CLUSTER_WHY_MAX - 64];
    uint64_t until = sim_now_us(c->sim) + limit_us;
    while (!c->is_failed && !is_settled(c) && sim_now_us(c->sim) < until)
        cluster_run_until(c, sim_now_us(c->sim) + 100000);
    if (!c->is_failed && !is_settled(c)) {
        describe(c, where, sizeof where);
        cluster_fail(c, "not settled:%s", where);
    }
    if (!c->is_failed)
        compare_states(c);
    return !c->is_failed;
}
