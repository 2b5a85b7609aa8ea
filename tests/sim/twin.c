/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/twin.h"

#include "sim/workload_internal.h"

enum {
    BYTES_MAX = 1 << 20,
    TIMEOUT_MS = 2000,
    NOT_SENT_YET_US = 20000,
    RESULTS_MAX = 16,
};

static void twin_end(struct twin *t)
{
    env_timer_stop(&t->timer);
    t->state = TWIN_IDLE;
}

static struct twin_result result_of(const struct client_result *result)
{
    struct op_result ops[RESULTS_MAX];
    struct command_result cmd;
    if (result->response == NULL || result->response->kind != REQUEST_WRITE)
        return (struct twin_result){.status = result->status};
    struct slice raw = result->response->write.result;
    int rv = command_result_decode(raw, ops, ARRAY_LEN(ops), &cmd, NULL);
    ASSERT(rv == 0);
    return (struct twin_result){
        .is_known = true,
        .status = cmd.status,
        .version = cmd.version,
        .count = cmd.result_count,
        .number = cmd.result_count > 0 ? ops[0].number : 0,
    };
}

/* Told by the range, but not of what the change came to. */
static bool is_refusal(const struct twin_result *r)
{
    return r->status == ERR_SESSION_EXPIRED || r->status == ERR_BUSY ||
           r->status == ERR_RANGE_CHANGED;
}

/* Both are over. */
static void compare(struct twin *t)
{
    struct twin_counts *counts = &t->p->w->twins;
    const struct twin_result *a = &t->first;
    const struct twin_result *b = &t->second;
    if ((a->is_known && is_refusal(a)) || (b->is_known && is_refusal(b))) {
        counts->expired++;
    } else if (!a->is_known || !b->is_known) {
        counts->alone += !b->is_known;
        counts->decided += b->is_known;
    } else if (a->status != b->status || a->version != b->version ||
               (a->count > 0 && b->count > 0 && a->number != b->number)) {
        cluster_fail(t->p->w->c,
                     "session %llx, sequence %llu: %s at version %llu, and, sent again, %s at "
                     "version %llu",
                     (unsigned long long)t->stamp.session, (unsigned long long)t->stamp.sequence,
                     err_name(a->status), (unsigned long long)a->version, err_name(b->status),
                     (unsigned long long)b->version);
    } else {
        counts->same++;
    }
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    struct twin *t = op->data;
    t->second = result_of(result);
    twin_end(t);
    if (t->is_over)
        compare(t);
}

/* Through another client than the change, where there is one. */
static struct client *other_client(const struct twin *t)
{
    const struct cluster *c = t->p->w->c;
    uint32_t own = (uint32_t)(t->p->at_client - c->clients);
    return c->clients[(own + 1) % c->opt.instances].client;
}

static void twin_send(struct twin *t)
{
    int rv = 0;
    buf_clear(&t->stamped);
    rv = command_restamp(&t->stamped, buf_slice(&t->plain), &t->stamp);
    ASSERT(rv == 0 && !t->stamped.failed);
    t->op.request.kind = REQUEST_WRITE;
    t->op.request.trace_id = 0;
    t->op.request.write.command = buf_slice(&t->stamped);
    t->op.key = buf_slice(&t->key);
    t->op.is_stamped = true;
    t->op.stamped_ms = t->stamp.first_sent_ms;
    t->op.timeout_ms = TIMEOUT_MS;
    t->op.data = t;
    t->op.cb = on_done;
    t->second = (struct twin_result){0};
    rv = client_submit(other_client(t), &t->op);
    ASSERT(rv == 0 || rv == ERR_BUSY);
    t->state = rv == 0 ? TWIN_SENT : TWIN_IDLE;
    t->is_early = rv == 0 && !t->is_over;
    t->p->w->twins.early += t->is_early;
}

static void on_timer(struct env_timer *timer)
{
    struct twin *t = timer->data;
    ASSERT(t->state == TWIN_WAITING);
    if (!t->is_over)
        t->stamp = t->p->op.stamp;
    if (t->stamp.session != 0)
        twin_send(t);
    else
        env_timer_start(&t->timer, NOT_SENT_YET_US);
}

void twin_init(struct twin *twin, struct process *p)
{
    *twin = (struct twin){.p = p};
    buf_init(&twin->plain, BYTES_MAX);
    buf_init(&twin->stamped, BYTES_MAX);
    buf_init(&twin->key, BYTES_MAX);
    env_timer_init(&twin->timer, sim_node_env(p->at_client->node), on_timer, twin);
}

void twin_fini(struct twin *twin)
{
    buf_fini(&twin->plain);
    buf_fini(&twin->stamped);
    buf_fini(&twin->key);
}

static uint64_t draw_delay_us(struct workload *w)
{
    switch (rng_below(&w->rng, 4)) {
    case 0:
        return rng_below(&w->rng, 3000000);
    case 1:
        return rng_below(&w->rng, 500000);
    default:
        return rng_below(&w->rng, 20000);
    }
}

void twin_draw(struct twin *twin)
{
    struct process *p = twin->p;
    struct workload *w = p->w;
    if (twin->state != TWIN_IDLE || p->op_count == 0 || w->is_stopped)
        return;
    if (!w->mix->all_twins && !rng_chance(&w->rng, 1, 3))
        return;
    twin->state = TWIN_WAITING;
    twin->is_over = false;
    twin->is_early = false;
    twin->at = p->at;
    twin->stamp = (struct command_stamp){0};
    buf_clear(&twin->plain);
    buf_clear(&twin->key);
    buf_append_slice(&twin->plain, buf_slice(&p->command));
    buf_append_slice(&twin->key, p->op.key);
    ASSERT(!twin->plain.failed && !twin->key.failed);
    /* A stamp that was refused for the clock's sake is given up by the change, and would be
     * fine a little later: no copy of it is about but a twin sent early. */
    if ((w->c->opt.faults & (FAULT_CLOCK | FAULT_HOURS)) == 0)
        env_timer_start(&twin->timer, draw_delay_us(w));
}

/* Is it that of the change which ends now? */
static bool is_of(const struct twin *t)
{
    bool is_begun = t->state != TWIN_IDLE || t->is_early;
    return is_begun && !t->is_over && t->at == t->p->at && t->p->op_count > 0;
}

bool twin_may_do(const struct twin *twin)
{
    return is_of(twin) && twin->is_early;
}

void twin_note(struct twin *twin, const struct client_result *result)
{
    struct twin_result first = result_of(result);
    if (!is_of(twin))
        return;
    twin->is_over = true;
    twin->first = first;
    if (twin->state == TWIN_IDLE) {
        compare(twin);
        return;
    }
    if (twin->state == TWIN_SENT)
        return;
    twin->stamp = twin->p->op.stamp;
    bool is_open = result->status == ERR_UNDETERMINED;
    if (twin->stamp.session == 0 || (!first.is_known && !is_open) || twin->p->w->is_stopped)
        twin_end(twin); /* it was never sent, or refused: a repeat would be a first */
    else if (!env_timer_is_active(&twin->timer))
        env_timer_start(&twin->timer, draw_delay_us(twin->p->w));
}

void twin_stop(struct twin *twin)
{
    if (twin->state == TWIN_WAITING)
        twin_end(twin);
}
