/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "client/bounds.h"
#include "client/lib/embedded.h"
#include "client/lib/lib_internal.h"

/* Memory that goes from one call to the next would hide from a sanitizer who still uses that of a
 * call which is over, or does so on another thread. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEPS_SPARE false
#elif defined(__has_feature)
#define KEEPS_SPARE !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define KEEPS_SPARE true
#endif

enum { CALL_OVERHEAD = 256, KEYS_MAX = 16 << 10, DATA_MAX = 17 << 20 };

bool client_is_own_thread(const struct hf_client *client)
{
    return env_uv_thread_is_self(client->thread) || embedded_is_own_thread(client->embedded);
}

int call_set_read(struct request_read *read, const struct hf_call *options, struct err *err)
{
    if (options == NULL)
        return 0;
    if (options->consistency < HF_LINEARIZABLE || options->consistency > HF_AT)
        return err_set(err, HF_ERR_INVALID, "there is no consistency %d", options->consistency);
    if ((options->at_version > 0) != (options->consistency == HF_AT))
        return err_set(err, HF_ERR_INVALID, "at_version is for HF_AT, and that wants one");
    if ((options->max_age_ms > 0) != (options->consistency == HF_STALE))
        return err_set(err, HF_ERR_INVALID, "max_age_ms is for HF_STALE, and that wants one");
    *read = (struct request_read){
        .keyspace = options->keyspace,
        .consistency = (enum consistency)options->consistency,
        .max_age_ms = options->max_age_ms,
        .at_version = options->at_version,
        .any_replica = options->any_replica != 0,
    };
    return 0;
}

/* ---- their memory --------------------------------------------------------------- */

/* Memory of a call that is over, or new one; NULL: there is none. Only its bufs mean anything. */
static struct call *call_take(struct hf_client *client)
{
    env_uv_mutex_lock(&client->lock);
    struct list *link = list_pop_front(&client->spare);
    client->spare_count -= link != NULL;
    env_uv_mutex_unlock(&client->lock);
    if (link != NULL)
        return list_entry(link, struct call, in_list);
    struct call *call = malloc(sizeof *call);
    if (call == NULL)
        return NULL;
    list_init(&call->in_list);
    buf_init(&call->data, DATA_MAX);
    buf_init(&call->keys, KEYS_MAX);
    return call;
}

static void call_clear(struct call *call, struct hf_client *client, enum request_kind kind)
{
    ASSERT(!list_is_linked(&call->in_list));
    ASSERT(call->data.len == 0 && call->keys.len == 0);
    client_op_init(&call->op, kind);
    call->client = client;
    call->then = (struct hf_then){0};
    call->waiter = NULL;
    call->opens_keyspace = false;
    call->slots = 0;
    call->op_count = 0;
    call->bytes = 0;
    call->sweep = NULL;
    call->page = (struct page){0};
    call->figures_kind = figures_kind_of_request(kind);
    call->began_us = 0;
}

static void buf_empty(struct buf *buf)
{
    if (buf->cap > CALL_SPARE_BYTES)
        buf_fini(buf);
    buf_clear(buf);
}

/* It is over: nothing of what it was for is left. */
static void call_empty(struct call *call)
{
    ASSERT(!list_is_linked(&call->in_list));
    ASSERT(call->op.state == CLIENT_OP_IDLE);
    buf_empty(&call->data);
    buf_empty(&call->keys);
    if (call->sweep != NULL)
        client_sweep_fini(call->sweep);
    free(call->sweep);
    call->sweep = NULL;
}

/* Keep an empty one for another; false: there are enough. The client's lock is held. */
static bool call_keep_spare(struct hf_client *client, struct call *call)
{
    if (!KEEPS_SPARE || client->spare_count == CALL_SPARE_MAX)
        return false;
    client->spare_count++;
    list_push_front(&client->spare, &call->in_list);
    return true;
}

static void call_destroy(struct call *call)
{
    buf_fini(&call->data);
    buf_fini(&call->keys);
    free(call);
}

void call_spare_free(struct hf_client *client)
{
    struct list *link;
    while ((link = list_pop_front(&client->spare)) != NULL)
        call_destroy(list_entry(link, struct call, in_list));
    client->spare_count = 0;
}

void call_free(struct call *call)
{
    if (call == NULL)
        return;
    struct hf_client *client = call->client;
    call_empty(call);
    env_uv_mutex_lock(&client->lock);
    bool is_kept = call_keep_spare(client, call);
    env_uv_mutex_unlock(&client->lock);
    if (!is_kept)
        call_destroy(call);
}

/* ---- one call -------------------------------------------------------------------- */

int call_new(struct hf_client *client, enum request_kind kind, const struct hf_call *options,
             struct call **ret_call, struct err *err)
{
    if (client == NULL)
        return err_set(err, HF_ERR_INVALID, "the client is NULL");
    if (options != NULL && options->size < sizeof *options)
        return err_set(err, HF_ERR_INVALID, "struct hf_call: no size; see hf_call_init()");
    struct call *call = call_take(client);
    if (call == NULL)
        return HF_ERR_NOMEM;
    call_clear(call, client, kind);
    call->op.timeout_ms = client->timeout_ms;
    if (options != NULL) {
        call->op.request.trace_id = options->trace_id;
        call->op.keyspace = options->keyspace;
        call->slots = client_slots(client, options->keyspace);
        if (options->timeout_ms > 0)
            call->op.timeout_ms = options->timeout_ms;
    }
    *ret_call = call;
    return 0;
}

int call_refuse(struct call *call, int code, const struct err *err, struct hf_result **ret_result)
{
    bool has_words = err != NULL && err->msg[0] != 0;
    ASSERT(code < 0);
    call_free(call);
    if (ret_result != NULL)
        *ret_result = result_plain(code, has_words ? err->msg : hf_strerror(code));
    return code;
}

int call_keep(struct call *call, struct hf_bytes bytes, struct err *err)
{
    if (bytes.len > KEY_WIRE_MAX)
        return err_set(err, HF_ERR_TOO_LARGE, "a key of %zu bytes, limit %d", bytes.len,
                       KEY_WIRE_MAX);
    int rv = bytes_check(bytes, "the key", err);
    if (rv != 0)
        return rv;
    buf_append(&call->keys, bytes.data, bytes.len);
    return call->keys.failed ? HF_ERR_NOMEM : 0;
}

/* ---- the way out --------------------------------------------------------------- */

/* For those on other threads who ask for room, and for the log of an embedded store, which may ask
 * for figures where nothing may be waited for. The client's lock is held. */
static void note_core(struct hf_client *client)
{
    client_stuck(client->core, &client->stuck_count, &client->stuck_bytes);
    if (client->embedded != NULL)
        client_stats_get(client->core, &client->seen_stats);
}

/* The end of a call: out of the counts, to whoever wants the result. The client's lock
 * is not held. */
static void call_deliver(struct call *call, int code, struct hf_result *result)
{
    struct hf_client *client = call->client;
    struct hf_then then = call->then;
    struct waiter *waiter = call->waiter;
    size_t bytes = call->bytes;
    call_empty(call);
    env_uv_mutex_lock(&client->lock);
    ASSERT(client->call_count > 0 && client->call_bytes >= bytes);
    client->call_count--;
    client->call_bytes -= bytes;
    figures_note(client, call, code);
    bool is_kept = call_keep_spare(client, call);
    note_core(client);
    if (waiter != NULL) {
        waiter->code = code;
        waiter->result = result;
        waiter->is_done = true;
        env_uv_cond_signal(&waiter->cond); /* under the lock: it may be gone right after */
    }
    env_uv_mutex_unlock(&client->lock);
    if (!is_kept)
        call_destroy(call);
    if (waiter != NULL)
        return;
    if (then.queue != NULL)
        queue_push(then.queue, then.data, code, result);
    else
        then.callback(then.data, code, result);
}

static void call_done(struct call *call, const struct client_result *answer)
{
    int code;
    atomic_store_explicit(&call->client->cluster_id, client_cluster_id(call->client->core),
                          memory_order_relaxed);
    struct hf_result *result = result_of(call, answer, &code);
    if (call->opens_keyspace)
        code = keyspace_take(call, code, result);
    list_remove(&call->in_list);
    call_deliver(call, code, result);
}

static void on_swept(struct client_sweep *sweep, const struct client_result *answer)
{
    call_done(sweep->data, answer);
}

static void call_deliver_code(struct call *call, int code, const char *message)
{
    call_deliver(call, code, result_plain(code, message));
}

/* Once more, within the same deadline; `op` says what by now. */
static void call_submit_again(struct call *call)
{
    struct client_op *op = &call->op;
    uint64_t now_us = env_now_us(call->client->env);
    uint64_t left_ms = (op->deadline_us - MIN(op->deadline_us, now_us)) / 1000;
    op->timeout_ms = (uint32_t)MIN(MAX(left_ms, UINT64_C(1)), (uint64_t)op->timeout_ms);
    int rv = client_submit(call->client->core, op);
    if (rv == 0)
        return;
    list_remove(&call->in_list);
    call_deliver_code(call, rv, hf_strerror(rv));
}

static void on_done(struct client_op *op, const struct client_result *answer)
{
    struct call *call = op->data;
    if (page_begins_anew(call, answer))
        call_submit_again(call);
    else
        call_done(call, answer);
}

/* ---- the way in ------------------------------------------------------------------ */

static void call_submit(struct call *call)
{
    struct hf_client *client = call->client;
    list_push_back(&client->calls, &call->in_list);
    int rv;
    if (call->sweep != NULL) {
        call->sweep->data = call;
        call->sweep->cb = on_swept;
        rv = client_sweep_start(client->core, call->sweep);
    } else {
        call->op.data = call;
        call->op.cb = on_done;
        rv = client_submit(client->core, &call->op);
    }
    if (rv == 0)
        return;
    list_remove(&call->in_list);
    call_deliver_code(call, rv,
                      rv == HF_ERR_INVALID ? "not a request that can be sent" : hf_strerror(rv));
}

void call_inbox_run(void *data)
{
    struct hf_client *client = data;
    struct list batch;
    struct list *link;
    list_init(&batch);
    env_uv_mutex_lock(&client->lock);
    note_core(client);
    client->is_posted = false;
    while ((link = list_pop_front(&client->inbox)) != NULL)
        list_push_back(&batch, link);
    env_uv_mutex_unlock(&client->lock);
    while ((link = list_pop_front(&batch)) != NULL)
        call_submit(list_entry(link, struct call, in_list));
}

void call_drain(struct hf_client *client)
{
    struct list *link;
    while ((link = list_pop_front(&client->calls)) != NULL) {
        struct call *call = list_entry(link, struct call, in_list);
        struct client_result answer = {
            .status = client_cancel(&call->op) ? HF_ERR_CANCELED : HF_ERR_UNDETERMINED,
            .text = slice_str("the client was closed"),
        };
        int code;
        struct hf_result *result = result_of(call, &answer, &code);
        call_deliver(call, code, result);
    }
    for (;;) { /* a callback may have started more: none is accepted any more */
        env_uv_mutex_lock(&client->lock);
        ASSERT(client->is_closing);
        link = list_pop_front(&client->inbox);
        env_uv_mutex_unlock(&client->lock);
        if (link == NULL)
            return;
        call_deliver_code(list_entry(link, struct call, in_list), HF_ERR_CANCELED,
                          "the client was closed");
    }
}

static void inbox_due(struct env_task *task)
{
    call_inbox_run(task->data);
}

void call_inbox_init(struct hf_client *client)
{
    env_task_init(&client->inbox_task, inbox_due, client);
}

/* Make the thread look. What a callback starts goes with the turn that the callback is of:
 * no way through the kernel, and no turn of its own. The client's lock is held. */
static int inbox_announce(struct hf_client *client)
{
    if (client->is_posted)
        return 0;
    int rv = 0;
    if (env_uv_thread_is_self(client->thread))
        env_task_post(client->env, &client->inbox_task);
    else
        rv = env_uv_post(client->env, call_inbox_run, client);
    client->is_posted = rv == 0;
    return rv;
}

/* Into the inbox, if the bounds allow. */
static int inbox_add(struct call *call, struct err *err)
{
    struct hf_client *client = call->client;
    int rv = 0;
    env_uv_mutex_lock(&client->lock);
    struct bounds_load load = {.count = client->call_count,
                               .bytes = client->call_bytes,
                               .stuck = client->stuck_count,
                               .stuck_bytes = client->stuck_bytes};
    if (client->is_closing) {
        rv = err_set(err, HF_ERR_STATE, "the client is being closed");
    } else if (!bounds_allow(&load, client->limits.in_flight_max, client->limits.bytes_max,
                             call->bytes)) {
        client->busy++;
        rv = err_set(err, HF_ERR_BUSY,
                     "%u calls with %zu bytes are in flight of at most %u with %zu", load.count,
                     load.bytes, client->limits.in_flight_max, client->limits.bytes_max);
        (void)inbox_announce(client); /* what is stuck is counted anew for the next who asks */
    } else {
        rv = figures_begin(client, call);
        if (rv == 0)
            rv = inbox_announce(client);
    }
    if (rv == 0) {
        client->call_count++;
        client->call_bytes += call->bytes;
        list_push_back(&client->inbox, &call->in_list);
    }
    env_uv_mutex_unlock(&client->lock);
    return rv;
}

static int call_accept(struct call *call, struct err *err)
{
    call->bytes = call->data.len + call->keys.len + CALL_OVERHEAD;
    struct hf_queue *queue = call->then.queue;
    int rv = queue != NULL ? queue_begin(queue) : 0;
    if (rv != 0)
        return rv;
    rv = inbox_add(call, err); /* where it succeeds, the call may be gone by now */
    if (rv != 0 && queue != NULL)
        queue_abandon(queue);
    return rv;
}

int call_start(struct call *call, const struct hf_then *then)
{
    int rv = HF_ERR_INVALID;
    if (then != NULL && (then->callback != NULL || then->queue != NULL) && then->reserved[0] == 0 &&
        then->reserved[1] == 0) {
        call->then = *then;
        rv = call_accept(call, NULL);
    }
    if (rv != 0)
        call_free(call);
    return rv;
}

int call_wait(struct call *call, struct hf_result **ret_result)
{
    struct hf_client *client = call->client;
    struct err err;
    err_init(&err);
    if (client_is_own_thread(client)) {
        err_set(&err, HF_ERR_STATE, "a blocking call inside a callback would wait for itself");
        return call_refuse(call, HF_ERR_STATE, &err, ret_result);
    }
    struct waiter waiter = {0};
    env_uv_cond_init(&waiter.cond);
    call->waiter = &waiter;
    int code = call_accept(call, &err);
    if (code != 0) {
        call_refuse(call, code, &err, ret_result);
    } else {
        env_uv_mutex_lock(&client->lock);
        while (!waiter.is_done)
            env_uv_cond_wait(&waiter.cond, &client->lock);
        env_uv_mutex_unlock(&client->lock);
        code = waiter.code;
        if (ret_result != NULL)
            *ret_result = waiter.result;
        else
            hf_result_free(waiter.result);
    }
    env_uv_cond_fini(&waiter.cond);
    return code;
}

int call_go(struct call *call, const struct hf_then *then, struct hf_result **ret_result)
{
    return then != NULL ? call_start(call, then) : call_wait(call, ret_result);
}
