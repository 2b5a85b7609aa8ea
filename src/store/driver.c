/* SPDX-License-Identifier: Apache-2.0 */
#include "store/driver.h"

#include <stdlib.h>

#include "base/plant.h"
#include "store/driver_internal.h"
#include "store/service.h"
#include "wire/command.h"

enum {
    DRIVER_TICK_MS = 200,
    DRIVER_TIMEOUT_MS = 20000,
    DRIVER_HEARS_US = 2 * 1000 * 1000, /* all stores that are up; two of their beats */
    DRIVER_AGAIN_US = 500 * 1000,      /* after a write that failed: the next may, too */
    DRIVER_PAGE_BYTES = 1 << 20,
    DRIVER_PAGE_KEYS = 4096,
    WORDS_MAX = 64,
    /* What the cluster was born with: store 1, ranges 1 and 2, replicas 1 and 2. */
    FIRST_STORE = 2,
    FIRST_RANGE = 3,
    FIRST_REPLICA = 3,
};

/* ---- an operator's word -------------------------------------------------------------- */

/* It is answered when what it asked is durable. */
struct word_op {
    struct list in_words;
    struct answer_to to;
};

bool driver_has_room(const struct driver *d)
{
    return d->word_count < WORDS_MAX;
}

void driver_answer_durable(struct driver *d, const struct answer_to *to)
{
    struct word_op *op = placement_is_durable(d->placement) ? NULL : malloc(sizeof *op);
    if (op == NULL) {
        bool is_done = placement_is_durable(d->placement);
        service_answer_status(d->store, to, is_done ? 0 : ERR_UNDETERMINED,
                              is_done ? NULL : "out of memory for the answer");
        return;
    }
    op->to = *to;
    list_init(&op->in_words);
    list_push_back(&d->words, &op->in_words);
    d->word_count++;
}

/* Those whose time is over at `until_us`. */
static void answer_words(struct driver *d, uint64_t until_us, int status, const char *text)
{
    LIST_FOREACH(it, &d->words)
    {
        struct word_op *op = list_entry(it, struct word_op, in_words);
        if (op->to.deadline_us > until_us)
            continue;
        list_remove(&op->in_words);
        d->word_count--;
        service_answer_status(d->store, &op->to, status, text);
        free(op);
    }
}

/* ---- stopping ------------------------------------------------------------------------ */

/* What is on its way comes back to nobody. */
static void driver_stop(struct driver *d, const char *why)
{
    if (d->state == DRIVER_OFF)
        return;
    LOG_INFO(d->store->logger, "driver", "state=off term=%llu reason=\"%s\"",
             (unsigned long long)d->term, why);
    const struct replica *r = replicas_of_range(&d->store->replicas, RANGE_ID_SYSTEM);
    if (d->is_probing && r != NULL && r->cons != NULL && d->probe.state != CONS_READ_IDLE)
        consensus_read_cancel(r->cons, &d->probe);
    placement_free(d->placement);
    d->placement = NULL;
    d->state = DRIVER_OFF;
    d->generation++;
    d->is_probing = d->is_confirmed = d->is_page_due = d->is_write_due = false;
    buf_clear(&d->cursor);
    uint32_t cursor = 0;
    struct driver_store *s;
    while ((s = map_next(&d->stores, &cursor, NULL)) != NULL)
        free(s);
    map_fini(&d->stores);
    answer_words(d, UINT64_MAX, ERR_UNDETERMINED, "placement has moved");
}

void driver_before_consensus_ends(struct store *store)
{
    if (store->driver != NULL)
        driver_stop(store->driver, "consensus of range 1 ends");
}

/* ---- asking range 1 --------------------------------------------------------------------- */

static struct driver_call *call_new(struct driver *d, inner_cb cb)
{
    struct driver_call *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->driver = d;
    c->generation = d->generation;
    c->call = (struct inner_call){.data = c, .cb = cb};
    list_init(&c->in_calls);
    list_push_back(&d->calls, &c->in_calls);
    return c;
}

/* The durable limits of what was given out. */
static bool is_of_ids(struct slice key)
{
    return slice_has_prefix(key, slice_str("placement/ids/"));
}

static void take_rows(struct driver *d, const struct response_rows *rows, struct err *err)
{
    struct unpack u = unpack_of(rows->rows.raw);
    for (uint32_t i = 0; i < rows->rows.count && err->code == 0; i++) {
        struct row row;
        row_next(&u, &row);
        if (PLANTED(ids_given_twice) && is_of_ids(row.key))
            continue;
        placement_load(d->placement, row.key, row.value, err);
    }
    buf_clear(&d->cursor);
    if (rows->has_more)
        buf_append_slice(&d->cursor, rows->cursor);
    if (err->code == 0 && d->cursor.failed)
        err_set(err, ERR_NOMEM, "load placement");
}

static void loaded(struct driver *d)
{
    placement_loaded(d->placement, driver_now_ms(d));
    d->state = DRIVER_RUNNING;
    d->running_us = env_now_us(d->store->env);
    LOG_INFO(d->store->logger, "driver", "state=running term=%llu", (unsigned long long)d->term);
    driver_fill_book(d);
    driver_adopt_self(d);
    driver_flush_later(d);
}

bool driver_is_informed(const struct driver *d)
{
    ASSERT(d->state == DRIVER_RUNNING);
    return placement_has_heard_all(d->placement) ||
           env_now_us(d->store->env) - d->running_us >= DRIVER_HEARS_US;
}

static void on_page(struct inner_call *call, const struct response *response)
{
    struct driver_call *c = call->data;
    struct driver *d = c->driver;
    bool is_mine = c->generation == d->generation;
    struct err err = {0};
    list_remove(&c->in_calls);
    free(c);
    if (!is_mine)
        return;
    if (response->status != 0) {
        driver_stop(d, "its rows cannot be read");
        return;
    }
    take_rows(d, &response->rows, &err);
    if (err.code == ERR_CORRUPT) {
        store_fail(d->store, "load the cluster map", &err);
        return;
    }
    if (err.code != 0) {
        driver_stop(d, err.msg);
        return;
    }
    if (response->rows.has_more) {
        d->is_page_due = true;
        env_task_post(d->store->env, &d->task);
    } else {
        loaded(d);
    }
}

static void ask_page(struct driver *d)
{
    struct request request = {
        .kind = REQUEST_SCAN,
        .range_id = RANGE_ID_SYSTEM,
        .timeout_ms = DRIVER_TIMEOUT_MS,
        .scan = {.read = {.keyspace = RANGE_KEYSPACE_SYSTEM},
                 .start = buf_slice(&d->cursor),
                 .limit_keys = DRIVER_PAGE_KEYS,
                 .limit_bytes = DRIVER_PAGE_BYTES},
    };
    struct driver_call *c = call_new(d, on_page);
    d->is_page_due = false;
    if (c == NULL) {
        driver_stop(d, "out of memory");
        return;
    }
    inner_ask(d->store, &c->call, &request);
}

/* ---- making durable ----------------------------------------------------------------------- */

static void on_written(struct inner_call *call, const struct response *response)
{
    struct driver_call *c = call->data;
    struct driver *d = c->driver;
    uint64_t write_id = c->write_id;
    bool is_mine = c->generation == d->generation;
    list_remove(&c->in_calls);
    free(c);
    if (!is_mine)
        return;
    int status = response->status;
    if (status != 0 && status != d->write_status)
        LOG_WARN(d->store->logger, "driver_write", "term=%llu status=%s reason=\"%.*s\"",
                 (unsigned long long)d->term, err_name(status), (int)response->text.len,
                 (const char *)response->text.data);
    d->write_status = status;
    if (status == ERR_NO_SPACE) /* it was not proposed: a driver that began anew would not, too */
        status = ERR_BUSY;
    placement_written(d->placement, write_id, status);
    if (placement_is_durable(d->placement))
        answer_words(d, UINT64_MAX, 0, NULL);
    if (status != ERR_BUSY) /* then the next tick tries again */
        driver_flush_later(d);
}

static void ask_write(struct driver *d, const struct placement_write *write)
{
    struct op ops[PLACEMENT_WRITE_ROWS_MAX];
    struct buf raw;
    ASSERT(write->term == d->term);
    ASSERT(write->row_count > 0 && write->row_count <= PLACEMENT_WRITE_ROWS_MAX);
    for (uint32_t i = 0; i < write->row_count; i++) {
        const struct placement_row *row = &write->rows[i];
        ops[i] = (struct op){.kind = row->is_delete ? OP_DELETE : OP_PUT,
                             .key = row->key,
                             .value = row->is_delete ? (struct slice){0} : row->value};
    }
    struct command command = {
        .keyspace = RANGE_KEYSPACE_SYSTEM, .op_count = write->row_count, .ops = ops};
    buf_init(&raw, FRAME_BODY_MAX / 2);
    command_encode(&raw, &command);
    struct driver_call *c = raw.failed ? NULL : call_new(d, on_written);
    if (c == NULL) {
        buf_fini(&raw);
        placement_written(d->placement, write->id, ERR_BUSY);
        return;
    }
    c->write_id = write->id;
    c->call.only_term = d->term;
    struct request request = {.kind = REQUEST_WRITE,
                              .range_id = RANGE_ID_SYSTEM,
                              .timeout_ms = DRIVER_TIMEOUT_MS,
                              .write = {.command = buf_slice(&raw)}};
    inner_ask(d->store, &c->call, &request);
    buf_fini(&raw);
}

static void flush_write(struct driver *d)
{
    struct placement_write write;
    d->is_write_due = false;
    if (driver_is_running(d) && placement_next_write(d->placement, &write))
        ask_write(d, &write);
}

void driver_flush_later(struct driver *d)
{
    d->is_write_due = true;
    env_task_post(d->store->env, &d->task);
}

/* ---- rounds --------------------------------------------------------------------------------- */

/* From inside consensus: the work is the task's. */
static void on_confirmed(struct cons_read *read, int status, uint64_t index)
{
    struct driver *d = read->data;
    (void)index;
    d->is_probing = false;
    d->is_confirmed = status == 0;
    env_task_post(d->store->env, &d->task);
}

static void begin_round(struct driver *d, struct replica *r)
{
    if (d->is_probing || d->is_confirmed)
        return;
    d->probe = (struct cons_read){.data = d,
                                  .deadline_ms = store_now_ms(d->store) +
                                                 2 * d->store->opt.election_timeout_ms,
                                  .confirm_only = true,
                                  .cb = on_confirmed};
    d->is_probing = consensus_read(r->cons, &d->probe) == 0;
    replica_wake(r);
}

static void run_round(struct driver *d)
{
    struct placement_step step;
    d->is_confirmed = false;
    placement_tick(d->placement, driver_now_ms(d));
    driver_clear_book(d);
    while (placement_next_step(d->placement, &step))
        driver_send_step(d, &step);
    d->is_write_due = true;
}

/* ---- who leads range 1? --------------------------------------------------------------------- */

static struct replica *leading(const struct driver *d, uint64_t *ret_term)
{
    const struct store *store = d->store;
    struct replica *r = replicas_of_range(&store->replicas, RANGE_ID_SYSTEM);
    struct cons_status s;
    if (r == NULL || store->state != STORE_RUNNING || !replica_is_leader(r))
        return NULL;
    consensus_status(r->cons, &s);
    *ret_term = s.term;
    return s.is_ready ? r : NULL;
}

/* A write of an earlier driver of the same term may wait in the log still, though its time is
 * over: whoever read the rows before it is applied would not know of it. */
static bool is_settled(const struct replica *r)
{
    struct cons_status s;
    consensus_status(r->cons, &s);
    return range_meta(r->range)->applied_index >= s.last_index;
}

static void driver_begin(struct driver *d, const struct replica *r, uint64_t term)
{
    struct placement_options options = {.term = term,
                                        .now_ms = driver_now_ms(d),
                                        .seed = env_random(d->store->env),
                                        .retention_ms = range_meta(r->range)->retention_ms,
                                        .first_id = {
                                            [PLACEMENT_IDS_STORE] = FIRST_STORE,
                                            [PLACEMENT_IDS_RANGE] = FIRST_RANGE,
                                            [PLACEMENT_IDS_REPLICA] = FIRST_REPLICA,
                                            [PLACEMENT_IDS_OPERATOR] = 1,
                                        }};
    ASSERT(d->state == DRIVER_OFF && d->placement == NULL);
    d->placement = placement_new(&options);
    if (d->placement == NULL)
        return; /* out of memory: the next tick tries again */
    d->term = term;
    d->state = DRIVER_LOADING;
    d->is_page_due = true;
    LOG_INFO(d->store->logger, "driver", "state=loading term=%llu", (unsigned long long)term);
}

/* False: it does not lead. */
static bool driver_follow(struct driver *d, struct replica **ret_replica)
{
    uint64_t term = 0;
    struct replica *r = leading(d, &term);
    if (d->state != DRIVER_OFF && (r == NULL || term != d->term))
        driver_stop(d, r == NULL ? "it leads range 1 no more" : "it leads in another term");
    if (d->state == DRIVER_RUNNING && placement_is_broken(d->placement)) {
        driver_stop(d, "a write of its own failed");
        d->begin_us = env_now_us(d->store->env) + DRIVER_AGAIN_US;
    }
    if (d->state == DRIVER_OFF && r != NULL && is_settled(r) &&
        env_now_us(d->store->env) >= d->begin_us)
        driver_begin(d, r, term);
    *ret_replica = r;
    return r != NULL && d->state != DRIVER_OFF;
}

static void task_due(struct env_task *task)
{
    struct driver *d = task->data;
    struct replica *r;
    if (!driver_follow(d, &r))
        return;
    if (d->is_page_due)
        ask_page(d);
    if (d->state == DRIVER_RUNNING && d->is_confirmed)
        run_round(d);
    if (d->state == DRIVER_RUNNING && d->is_write_due)
        flush_write(d);
}

static void timer_due(struct env_timer *timer)
{
    struct driver *d = timer->data;
    struct replica *r;
    answer_words(d, env_now_us(d->store->env), ERR_UNDETERMINED, "it is not durable yet");
    if (driver_follow(d, &r) && d->state == DRIVER_RUNNING)
        begin_round(d, r);
    d->is_write_due = true;
    env_task_post(d->store->env, &d->task);
    /* Without a replica of range 1 there is nothing to look for. */
    if (replicas_of_range(&d->store->replicas, RANGE_ID_SYSTEM) != NULL)
        env_timer_start(timer, (uint64_t)DRIVER_TICK_MS * 1000);
}

void driver_poke(struct store *store)
{
    struct driver *d = store->driver;
    if (d == NULL || !d->is_started)
        return;
    env_task_post(store->env, &d->task);
    if (!env_timer_is_active(&d->timer))
        env_timer_start(&d->timer, 0);
}

/* ---- life ------------------------------------------------------------------------------------ */

int driver_new(struct store *store, struct err *err)
{
    struct driver *d = calloc(1, sizeof *d);
    if (d == NULL)
        return err_set(err, ERR_NOMEM, "driver of %zu bytes", sizeof *d);
    d->store = store;
    list_init(&d->calls);
    list_init(&d->words);
    map_init(&d->stores);
    buf_init(&d->cursor, RANGE_KEY_MAX);
    env_timer_init(&d->timer, store->env, timer_due, d);
    env_task_init(&d->task, task_due, d);
    store->driver = d;
    return 0;
}

void driver_start(struct store *store)
{
    if (store_is_static(store) || !identity_is_bootstrapped(&store->identity))
        return;
    store->driver->is_started = true;
    driver_poke(store);
    beats_start(store);
}

void driver_free(struct store *store)
{
    struct driver *d = store->driver;
    struct list *link;
    if (d == NULL)
        return;
    env_timer_stop(&d->timer);
    env_task_cancel(&d->task);
    while ((link = list_pop_front(&d->calls)) != NULL)
        free(list_entry(link, struct driver_call, in_calls));
    while ((link = list_pop_front(&d->words)) != NULL)
        free(list_entry(link, struct word_op, in_words));
    placement_free(d->placement);
    range_read_fini(&d->recall);
    uint32_t cursor = 0;
    struct driver_store *s;
    while ((s = map_next(&d->stores, &cursor, NULL)) != NULL)
        free(s);
    map_fini(&d->stores);
    buf_fini(&d->cursor);
    free(d);
    store->driver = NULL;
}

uint64_t driver_term(const struct store *store)
{
    const struct driver *d = store->driver;
    return d != NULL && d->state == DRIVER_RUNNING ? d->term : 0;
}

uint64_t driver_route(const struct store *store, struct slice key)
{
    const struct driver *d = store->driver;
    struct placement_route route;
    uint8_t first[RANGE_USER_KEY_PREFIX];
    if (d == NULL || d->state != DRIVER_RUNNING)
        return 0;
    if (key.len == 0)
        key = slice_of(first, range_user_key(0, key, first));
    if (!placement_route_at(d->placement, key, &route))
        return 0;
    for (uint32_t i = 0; i < route.descriptor.member_count; i++) {
        if (route.descriptor.members[i].replica_id == route.leader_replica)
            return route.descriptor.members[i].store_id;
    }
    return route.descriptor.member_count == 0 ? 0 : route.descriptor.members[0].store_id;
}

struct driver_store *driver_store_get(struct driver *d, uint64_t store_id)
{
    struct driver_store *s = map_get(&d->stores, store_id);
    if (s != NULL)
        return s;
    s = calloc(1, sizeof *s);
    if (s == NULL || map_put(&d->stores, store_id, s) != 0) {
        free(s);
        return NULL;
    }
    s->store_id = store_id;
    return s;
}
