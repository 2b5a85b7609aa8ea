/* SPDX-License-Identifier: Apache-2.0
 *
 * A client in holdfast-ranges-sim that fills a span of the hashed keyspace with keys of its own,
 * beside those that others write, and deletes the span step by step, over and over, while the
 * ranges that its slots lie in are split, merged and moved. Each key that was put goes once, or
 * its deletion is undetermined; when the last step is done none is left; and what others wrote
 * stays, as they see by themselves.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/sweep.h"
#include "ranges.h"
#include "wire/keyspace.h"

enum {
    SWEPT_KEYS = 6,
    SWEEP_TIMEOUT_MS = 5000,
    SWEEP_THINK_US = 100 * 1000,
    STORED_MAX = 16,
    CLOCK_SLACK_MS = 100, /* a client's clock is not the world's */
};

enum sweep_state { SWEEP_IDLE, SWEEP_PUTTING, SWEEP_DELETING, SWEEP_LOOKING };

struct ranges_sweep {
    struct sim_node *node;
    struct client *client;
    struct client_op op;
    struct client_sweep sweep;
    struct buf command;
    uint8_t cursor[STORED_MAX];
    uint8_t key[STORED_MAX];
    enum sweep_state state;
    bool is_busy;
    bool is_unsure; /* a put or a step was undetermined: from then on nobody can say how many go,
                       nor when, until all is calm */
    bool was_unsure;
    bool is_last;  /* all is calm: what was undetermined is done by now, or never will be */
    uint32_t next; /* to be put, or looked for */
    uint32_t put;
    uint64_t deleted;
    uint64_t asked_us;
    uint64_t next_us;
    uint64_t rounds, steps;
};

static struct slice swept_key(uint32_t number, uint8_t raw[STORED_MAX])
{
    char name[8];
    snprintf(name, sizeof name, "t%02u", number);
    keyspace_put_slot(raw, keyspace_slot(slice_str(name), run.slots));
    memcpy(raw + KEYSPACE_SLOT_LEN, name, strlen(name));
    return slice_of(raw, KEYSPACE_SLOT_LEN + strlen(name));
}

static void think(struct ranges_sweep *s)
{
    s->is_busy = false;
    s->next_us = sim_now_us(run.rig.sim) + below(SWEEP_THINK_US);
}

/* Whatever becomes of ranges, leaders and connections: nobody hears before the deadline that it
 * cannot be told what came of a change, unless its range has forgotten when it was sent first. */
static void judge_undetermined(const struct ranges_sweep *s, const struct client_result *result,
                               bool is_forgotten)
{
    uint64_t waited_us = sim_now_us(run.rig.sim) - s->asked_us;
    if (result->status != ERR_UNDETERMINED || is_forgotten)
        return;
    ranges_met("a change of the library undetermined");
    if (waited_us + CLOCK_SLACK_MS * RIG_MS < SWEEP_TIMEOUT_MS * RIG_MS)
        die("a change is undetermined before its deadline");
}

/* ---- putting ------------------------------------------------------------------------------- */

static void on_put(struct client_op *op, const struct client_result *result)
{
    struct ranges_sweep *s = op->data;
    bool is_forgotten = result->response != NULL && result->response->status == ERR_SESSION_EXPIRED;
    think(s);
    judge_undetermined(s, result, is_forgotten);
    s->is_unsure = s->is_unsure || result->status == ERR_UNDETERMINED;
    s->put += result->status == 0;
    s->next++;
    if (s->next < SWEPT_KEYS)
        return;
    s->state = SWEEP_DELETING;
    s->sweep.from = (struct slice){0};
}

static void put_next(struct ranges_sweep *s)
{
    struct op op = {
        .kind = OP_PUT, .key = swept_key(s->next, s->key), .value = slice_str("to be deleted")};
    struct command command = {.keyspace = run.hashed, .op_count = 1, .ops = &op};
    buf_clear(&s->command);
    command_encode(&s->command, &command);
    s->op = (struct client_op){.data = s,
                               .timeout_ms = SWEEP_TIMEOUT_MS,
                               .cb = on_put,
                               .keyspace = run.hashed,
                               .key = op.key,
                               .request = {.kind = REQUEST_WRITE}};
    s->op.request.write.command = buf_slice(&s->command);
    s->asked_us = sim_now_us(run.rig.sim);
    s->is_busy = client_submit(s->client, &s->op) == 0;
}

/* ---- deleting ------------------------------------------------------------------------------ */

static void on_swept(struct client_sweep *sweep, const struct client_result *result)
{
    struct ranges_sweep *s = sweep->data;
    think(s);
    judge_undetermined(s, result, sweep->is_forgotten);
    if (result->status == ERR_UNDETERMINED)
        s->is_unsure = true;
    if (result->status != 0)
        return; /* the same step again */
    s->steps++;
    s->deleted += sweep->deleted;
    if (sweep->cursor.len > sizeof s->cursor)
        die("a sweep's cursor is no key");
    if (sweep->cursor.len > 0)
        memcpy(s->cursor, sweep->cursor.data, sweep->cursor.len);
    sweep->from = slice_of(s->cursor, sweep->cursor.len);
    if (sweep->has_more)
        return;
    if (!s->is_unsure && s->deleted != s->put) {
        printf("%u keys were put, %llu deleted\n", s->put, (unsigned long long)s->deleted);
        die("a sweep has not deleted each key once");
    }
    s->state = SWEEP_LOOKING;
    s->next = 0;
}

static void sweep_on(struct ranges_sweep *s)
{
    s->op = (struct client_op){.timeout_ms = SWEEP_TIMEOUT_MS};
    s->sweep.data = s;
    s->sweep.op = &s->op;
    s->sweep.cb = on_swept;
    s->sweep.keyspace = run.hashed;
    s->sweep.slots = run.slots;
    s->sweep.start = slice_str("t");
    s->sweep.end = slice_str("u");
    s->sweep.limit_keys = 1 + (uint32_t)below(4);
    s->asked_us = sim_now_us(run.rig.sim);
    int rv = client_sweep_start(s->client, &s->sweep);
    if (rv != 0 && rv != ERR_BUSY)
        die("a sweep cannot go on at its cursor");
    s->is_busy = rv == 0;
}

/* ---- looking ------------------------------------------------------------------------------- */

static void on_look(struct client_op *op, const struct client_result *result)
{
    struct ranges_sweep *s = op->data;
    think(s);
    if (result->status != 0)
        return;
    struct unpack cursor = unpack_of(result->response->rows.rows.raw);
    struct row row;
    row_next(&cursor, &row);
    if (row.status == 0 && (!s->is_unsure || s->is_last))
        die("a key is there that a sweep had to delete");
    if (++s->next < SWEPT_KEYS)
        return;
    s->rounds++;
    s->put = s->next = 0;
    s->deleted = 0;
    s->state = SWEEP_IDLE;
}

static void look(struct ranges_sweep *s)
{
    s->op = (struct client_op){
        .data = s, .timeout_ms = SWEEP_TIMEOUT_MS, .cb = on_look, .request = {.kind = REQUEST_GET}};
    s->op.request.get.read.keyspace = run.hashed;
    s->op.request.get.key = swept_key(s->next, s->key);
    s->is_busy = client_submit(s->client, &s->op) == 0;
}

/* ---- all of it ----------------------------------------------------------------------------- */

struct ranges_sweep *ranges_sweep_new(const char *const *endpoints, size_t count)
{
    struct ranges_sweep *s = calloc(1, sizeof *s);
    struct client_options options = {.endpoints = endpoints, .endpoint_count = count};
    ASSERT(s != NULL);
    s->node = sim_node_new(run.rig.sim, "sweep");
    if (client_new(sim_node_env(s->node), &options, &s->client, NULL) != 0)
        die("no client");
    buf_init(&s->command, 1 << 10);
    return s;
}

void ranges_sweep_act(struct ranges_sweep *s)
{
    if (s->is_busy || sim_now_us(run.rig.sim) < s->next_us)
        return;
    switch (s->state) {
    case SWEEP_IDLE:
        s->state = SWEEP_PUTTING;
        put_next(s);
        break;
    case SWEEP_PUTTING:
        put_next(s);
        break;
    case SWEEP_DELETING:
        sweep_on(s);
        break;
    case SWEEP_LOOKING:
        look(s);
        break;
    }
}

void ranges_sweep_finish(struct ranges_sweep *s)
{
    for (int i = 0; i < 200 && s->is_busy; i++)
        rig_run(&run.rig, 100 * RIG_MS);
    if (s->is_busy)
        die("a sweep does not end");
    s->was_unsure = s->is_unsure;
    s->is_unsure = s->is_last = true;
    s->state = SWEEP_DELETING;
    s->sweep.from = (struct slice){0};
    for (int i = 0; i < 1200 && s->state != SWEEP_IDLE; i++) {
        ranges_sweep_act(s);
        rig_run(&run.rig, 100 * RIG_MS);
    }
    if (s->state != SWEEP_IDLE)
        die("a sweep does not come to an end, though all is calm");
    client_check(s->client);
}

void ranges_sweep_free(struct ranges_sweep *s)
{
    /* The last is of the end. */
    cover_add(&run.cover, "sweep: a hashed span deleted", MAX(s->rounds, 1) - 1);
    cover_add(&run.cover, "sweep: unsure", s->was_unsure);
    env_stop(sim_node_env(s->node));
    client_sweep_fini(&s->sweep);
    client_free(s->client);
    buf_fini(&s->command);
    free(s);
}
