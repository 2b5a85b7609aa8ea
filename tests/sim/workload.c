/* SPDX-License-Identifier: Apache-2.0
 *
 * Client processes: each does one request at a time on a few hot keys, thinks a
 * little, and goes on.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/workload_internal.h"

enum {
    FINAL_LIMIT_S = 60,
    BUFFER_MAX = 1 << 20,
    FINAL_TRIES = 5,
    REST_EVERY_US = 3000 * 1000,
    REST_US = 1500 * 1000,
    CLOCK_SLACK_US = 100 * 1000, /* a client's clock is not the world's */
};

/* All clients rest now and then, so that ranges fall asleep. */
static uint64_t rest_us(const struct workload *w)
{
    uint64_t at = sim_now_us(w->c->sim) % REST_EVERY_US;
    return w->c->opt.is_sleepy && at < REST_US ? REST_US - at : 0;
}

static void think(struct process *p)
{
    p->is_busy = false;
    if (!p->w->is_stopped)
        env_timer_start(&p->think, rest_us(p->w) + rng_below(&p->w->rng, p->w->c->opt.think_us));
}

/* Nobody could tell what became of it. That is for the end of the deadline, unless a range has
 * forgotten the time of its first sending; and only if there was nobody to ask. */
static void judge_undetermined(const struct process *p, const struct client_result *result)
{
    struct cluster *c = p->w->c;
    uint64_t waited_us = sim_now_us(c->sim) - p->invoke_us;
    if (result->response != NULL && result->response->status == ERR_SESSION_EXPIRED)
        return;
    if (waited_us + CLOCK_SLACK_US < (uint64_t)p->op.timeout_ms * 1000)
        cluster_fail(c, "undetermined before the deadline: client %u gave up after %llu ms", p->id,
                     (unsigned long long)waited_us / 1000);
    uint32_t at = (uint32_t)(p->at_client - c->clients);
    uint64_t reached_us = reach_longest(c, at, p->invoke_us);
    if (reached_us >= REACH_ENOUGH_US)
        cluster_fail(c,
                     "undetermined without need: client %u reached a majority for %llu ms on end",
                     p->id, (unsigned long long)reached_us / 1000);
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    struct process *p = op->data;
    struct workload *w = p->w;
    trace_detail(&w->c->opt.trace, sim_now_us(w->c->sim), "client",
                 "%u.%u %s after %llu us: %s %.*s", p->id, w->next_request,
                 request_kind_name(p->op.request.kind),
                 (unsigned long long)(sim_now_us(w->c->sim) - p->invoke_us),
                 result->status == 0 ? "ok" : err_name(result->status), (int)result->text.len,
                 (const char *)result->text.data);
    if (result->status < 0 && -result->status < (int)ARRAY_LEN(w->statuses))
        w->statuses[-result->status]++;
    if (result->status == ERR_UNDETERMINED)
        judge_undetermined(p, result);
    if (request_note(p, result))
        w->done++;
    else if (w->is_stopped)
        w->final_failed++;
    twin_note(&p->twin, result);
    think(p);
}

static void on_swept(struct client_sweep *sweep, const struct client_result *result)
{
    struct process *p = sweep->data;
    struct workload *w = p->w;
    trace_detail(&w->c->opt.trace, sim_now_us(w->c->sim), "client", "%u.%u sweep: %s, %llu keys",
                 p->id, w->next_request, result->status == 0 ? "ok" : err_name(result->status),
                 (unsigned long long)sweep->deleted);
    if (result->status < 0 && -result->status < (int)ARRAY_LEN(w->statuses))
        w->statuses[-result->status]++;
    if (request_note_sweep(p, result))
        w->done++;
    think(p);
}

static int submit_sweep(struct process *p)
{
    p->sweep.data = p;
    p->sweep.cb = on_swept;
    p->op.timeout_ms = p->w->c->opt.timeout_ms;
    return client_sweep_start(p->at_client->client, &p->sweep);
}

static void submit(struct process *p)
{
    if (p->is_sweep) {
        int rv = submit_sweep(p);
        p->is_busy = rv == 0;
        if (rv != 0) {
            request_note_sweep(p, &(struct client_result){.status = rv});
            think(p);
        }
        return;
    }
    p->op.data = p;
    p->op.cb = on_done;
    p->op.timeout_ms = p->w->c->opt.timeout_ms;
    twin_draw(&p->twin);
    int rv = client_submit(p->at_client->client, &p->op);
    ASSERT(rv == 0 || rv == ERR_BUSY);
    if (rv != 0) {
        request_refused(p);
        twin_stop(&p->twin);
        think(p);
        return;
    }
    p->is_busy = true;
}

static void on_think(struct env_timer *timer)
{
    struct process *p = timer->data;
    request_draw(p);
    submit(p);
}

struct workload *workload_new(struct cluster *c, struct history *history)
{
    struct workload *w = calloc(1, sizeof *w);
    ASSERT(w != NULL);
    w->c = c;
    w->history = history;
    history->wall_begin_ms =
        env_wall_ms(sim_node_env(c->clients[0].node)) - sim_now_us(c->sim) / 1000;
    history->has_true_clocks = !(c->opt.faults & (FAULT_CLOCK | FAULT_HOURS));
    w->mix = c->opt.mix;
    for (int class = 0; class < KEY_CLASS_NR; class ++) {
        uint32_t keys = class == KEY_REGISTER ? c->opt.keys : 2;
        w->keys[class] = w->mix->keys_of[class] == 0 ? keys : w->mix->keys_of[class];
    }
    request_names(w);
    rng_init(&w->rng, c->opt.seed * 1000003 + 11);
    struct store_options options;
    cluster_knobs(&c->opt, &options);
    w->has_leases = options.has_leases;
    w->delete_percent = rng_chance(&w->rng, 1, 3) ? 45 : 8;
    w->processes = calloc(c->opt.processes, sizeof *w->processes);
    ASSERT(w->processes != NULL);
    for (uint32_t i = 0; i < c->opt.processes; i++) {
        struct process *p = &w->processes[i];
        p->w = w;
        p->id = i;
        p->at_client = &c->clients[i % c->opt.instances];
        buf_init(&p->command, BUFFER_MAX);
        buf_init(&p->keys_raw, BUFFER_MAX);
        buf_init(&p->last_bytes, BUFFER_MAX);
        buf_init(&p->cursor, BUFFER_MAX);
        for (uint32_t j = 0; j < BATCH_MAX; j++)
            buf_init(&p->values[j], BUFFER_MAX);
        twin_init(&p->twin, p);
        env_timer_init(&p->think, sim_node_env(p->at_client->node), on_think, p);
        env_timer_start(&p->think, rng_below(&w->rng, c->opt.think_us));
    }
    return w;
}

void workload_free(struct workload *w)
{
    for (uint32_t i = 0; i < w->c->opt.processes; i++) {
        struct process *p = &w->processes[i];
        buf_fini(&p->command);
        buf_fini(&p->keys_raw);
        buf_fini(&p->last_bytes);
        buf_fini(&p->cursor);
        twin_fini(&p->twin);
        client_sweep_fini(&p->sweep);
        for (uint32_t j = 0; j < BATCH_MAX; j++)
            buf_fini(&p->values[j]);
    }
    free(w->processes);
    free(w);
}

void workload_stop(struct workload *w)
{
    w->is_stopped = true;
    for (uint32_t i = 0; i < w->c->opt.processes; i++)
        env_timer_stop(&w->processes[i].think);
    for (uint32_t i = 0; i < w->c->opt.processes; i++)
        twin_stop(&w->processes[i].twin);
}

bool workload_is_idle(const struct workload *w)
{
    for (uint32_t i = 0; i < w->c->opt.processes; i++) {
        if (w->processes[i].is_busy || !twin_is_idle(&w->processes[i].twin))
            return false;
    }
    return true;
}

uint64_t workload_done(const struct workload *w)
{
    return w->done;
}

uint64_t workload_writes_done(const struct workload *w)
{
    return w->writes_done;
}

/* The request that process 0 has drawn is answered; false if it cannot be done. */
static bool final_try(struct workload *w)
{
    struct process *p = &w->processes[0];
    uint64_t limit = sim_now_us(w->c->sim) + (uint64_t)FINAL_LIMIT_S * 1000000;
    w->final_failed = 0;
    submit(p);
    while (p->is_busy && sim_now_us(w->c->sim) < limit) {
        if (!cluster_run_until(w->c, sim_now_us(w->c->sim) + 1000))
            return false;
    }
    return !p->is_busy && w->final_failed == 0;
}

enum final_step { FINAL_GET, FINAL_PUT, FINAL_SCAN };

/* A leader may meet damage at this very request, and the first answer be of that. */
static bool final_op(struct workload *w, enum final_step step, uint32_t key)
{
    struct process *p = &w->processes[0];
    for (int tries = 0; tries < FINAL_TRIES; tries++) {
        if (step == FINAL_GET)
            request_get_one(p, key);
        else if (step == FINAL_PUT)
            request_put_one(p, key);
        else
            request_scan_all(p);
        if (final_try(w))
            return true;
        if (p->is_busy || w->c->spoiled == 0)
            return false;
    }
    return false;
}

/* Somebody must be found who serves: each try may end at one who is cut off. */
static bool find_service(struct workload *w, uint64_t patience_us)
{
    uint64_t until = sim_now_us(w->c->sim) + patience_us;
    struct process *p = &w->processes[0];
    while (sim_now_us(w->c->sim) < until) {
        request_put_one(p, 0);
        if (final_try(w))
            return true;
        if (p->is_busy || w->c->is_failed)
            return false;
        if (!cluster_run_until(w->c, sim_now_us(w->c->sim) + 50000))
            return false;
    }
    return false;
}

bool workload_final_ops(struct workload *w, uint64_t patience_us)
{
    if (patience_us > 0 && !find_service(w, patience_us))
        return false;
    for (uint32_t key = 0; key < w->keys[KEY_REGISTER]; key++) {
        if (!final_op(w, FINAL_GET, key) || !final_op(w, FINAL_PUT, key))
            return false;
    }
    return final_op(w, FINAL_SCAN, 0);
}

void workload_count(const struct workload *w, struct cover *cover)
{
    for (int status = 1; status < (int)ARRAY_LEN(w->statuses); status++) {
        char name[COVER_NAME_MAX];
        if (w->statuses[status] == 0)
            continue;
        snprintf(name, sizeof name, "client: %s", err_name(-status));
        cover_add(cover, name, w->statuses[status]);
    }
    static const char *const ways[WAY_NR] = {"read: at the leader", "read: any replica",
                                             "read: by lease", "read: stale", "read: of the past"};
    for (size_t i = 0; i < WAY_NR; i++)
        cover_add(cover, ways[i], w->ways[i]);
    cover_add(cover, "read: of a past that is gone", w->gone);
    cover_add(cover, "sweep: key deleted", w->swept);
    cover_add(cover, "twin: same result", w->twins.same);
    cover_add(cover, "twin: too late to tell", w->twins.expired);
    cover_add(cover, "twin: one without a result", w->twins.alone);
    cover_add(cover, "twin: told what the first could not", w->twins.decided);
    cover_add(cover, "twin: sent while the first was open", w->twins.early);
}
