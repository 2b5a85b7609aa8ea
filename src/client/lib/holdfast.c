/* SPDX-License-Identifier: Apache-2.0
 *
 * Open and close; the thread between them. The loop's world is made, run and freed
 * on that thread alone; hf_open() waits until it stands or has failed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/lib/embedded.h"
#include "client/lib/lib_internal.h"

enum { IN_FLIGHT_DEFAULT = 8192, BYTES_DEFAULT = 64 << 20 };

/* The two lists of codes are one. */
_Static_assert((int)HF_ERR_NOMEM == (int)ERR_NOMEM, "code");
_Static_assert((int)HF_ERR_INVALID == (int)ERR_INVALID, "code");
_Static_assert((int)HF_ERR_NOT_FOUND == (int)ERR_NOT_FOUND, "code");
_Static_assert((int)HF_ERR_EXISTS == (int)ERR_EXISTS, "code");
_Static_assert((int)HF_ERR_CORRUPT == (int)ERR_CORRUPT, "code");
_Static_assert((int)HF_ERR_IO == (int)ERR_IO, "code");
_Static_assert((int)HF_ERR_NO_SPACE == (int)ERR_NO_SPACE, "code");
_Static_assert((int)HF_ERR_BUSY == (int)ERR_BUSY, "code");
_Static_assert((int)HF_ERR_TIMEOUT == (int)ERR_TIMEOUT, "code");
_Static_assert((int)HF_ERR_CANCELED == (int)ERR_CANCELED, "code");
_Static_assert((int)HF_ERR_NOT_LEADER == (int)ERR_NOT_LEADER, "code");
_Static_assert((int)HF_ERR_RANGE_CHANGED == (int)ERR_RANGE_CHANGED, "code");
_Static_assert((int)HF_ERR_CONDITION_FAILED == (int)ERR_CONDITION_FAILED, "code");
_Static_assert((int)HF_ERR_TOO_LARGE == (int)ERR_TOO_LARGE, "code");
_Static_assert((int)HF_ERR_UNDETERMINED == (int)ERR_UNDETERMINED, "code");
_Static_assert((int)HF_ERR_UNAVAILABLE == (int)ERR_UNAVAILABLE, "code");
_Static_assert((int)HF_ERR_UNAUTHORIZED == (int)ERR_UNAUTHORIZED, "code");
_Static_assert((int)HF_ERR_VERSION_GONE == (int)ERR_VERSION_GONE, "code");
_Static_assert((int)HF_ERR_UNSUPPORTED == (int)ERR_UNSUPPORTED, "code");
_Static_assert((int)HF_ERR_LOCKED == (int)ERR_LOCKED, "code");
_Static_assert((int)HF_ERR_OVERFLOW == (int)ERR_OVERFLOW, "code");
_Static_assert((int)HF_ERR_NOT_NUMBER == (int)ERR_NOT_NUMBER, "code");
_Static_assert((int)HF_ERR_STATE == (int)ERR_STATE, "code");
_Static_assert((int)HF_ERR_SESSION_EXPIRED == (int)ERR_SESSION_EXPIRED, "code");
_Static_assert((int)HF_ERR_FENCED == (int)ERR_FENCED, "code");
_Static_assert((int)HF_ERR_TOO_OLD == (int)ERR_TOO_OLD, "code");

const char *hf_version(void)
{
    return HOLDFAST_VERSION;
}

const char *hf_code_name(int code)
{
    return err_name(code);
}

const char *hf_strerror(int code)
{
    switch (code) {
    case HF_OK:
        return "done";
    case HF_ERR_NOMEM:
        return "out of memory";
    case HF_ERR_INVALID:
        return "an argument is not acceptable";
    case HF_ERR_NOT_FOUND:
        return "no such key";
    case HF_ERR_EXISTS:
        return "it is there already";
    case HF_ERR_CORRUPT:
        return "damaged data or a message that makes no sense";
    case HF_ERR_IO:
        return "a device or the network failed";
    case HF_ERR_NO_SPACE:
        return "the store's disk is full";
    case HF_ERR_BUSY:
        return "too much at once; try again later";
    case HF_ERR_TIMEOUT:
        return "the deadline passed before anything took effect";
    case HF_ERR_CANCELED:
        return "canceled before it was sent";
    case HF_ERR_NOT_LEADER:
        return "that store does not lead";
    case HF_ERR_RANGE_CHANGED:
        return "the key belongs to another range";
    case HF_ERR_CONDITION_FAILED:
        return "the condition was not met";
    case HF_ERR_TOO_LARGE:
        return "over a limit: 4 KiB for a key, 8 MiB for a value, 16 MiB and 10,000 operations for "
               "a "
               "batch, 256 MiB for an answer";
    case HF_ERR_UNDETERMINED:
        return "it may or may not have taken effect";
    case HF_ERR_UNAVAILABLE:
        return "no leader or no majority within the deadline";
    case HF_ERR_UNAUTHORIZED:
        return "another cluster, or not allowed";
    case HF_ERR_VERSION_GONE:
        return "that version is not kept any more";
    case HF_ERR_UNSUPPORTED:
        return "not supported by this version";
    case HF_ERR_LOCKED:
        return "the folder is open already";
    case HF_ERR_OVERFLOW:
        return "the number left its range";
    case HF_ERR_NOT_NUMBER:
        return "the value is no number";
    case HF_ERR_STATE:
        return "not possible now";
    case HF_ERR_SESSION_EXPIRED:
        return "too long ago: nobody can tell any more";
    case HF_ERR_TOO_OLD:
        return "no replica was in touch with its leader recently enough";
    case HF_ERR_FENCED:
        return "it was not done, and never will be";
    default:
        return "unknown error";
    }
}

struct hf_bytes hf_bytes(const void *data, size_t len)
{
    return (struct hf_bytes){.data = data, .len = len};
}

struct hf_bytes hf_str(const char *text)
{
    return (struct hf_bytes){.data = text, .len = text == NULL ? 0 : strlen(text)};
}

void hf_options_init(struct hf_options *options)
{
    *options = (struct hf_options){.size = sizeof *options};
}

void hf_call_init(struct hf_call *call)
{
    *call = (struct hf_call){.size = sizeof *call};
}

/* ---- the thread ------------------------------------------------------------------ */

static void on_log(void *data, enum log_level level, const char *line)
{
    struct hf_client *client = data;
    env_uv_mutex_lock(&client->log_lock);
    client->log(client->log_data, (int)level, line);
    env_uv_mutex_unlock(&client->log_lock);
}

static void tell_started(struct hf_client *client, int error)
{
    env_uv_mutex_lock(&client->lock);
    client->is_started = true;
    client->start_error = error;
    client->is_closing = error != 0; /* nobody has the client: nothing can come in */
    env_uv_cond_broadcast(&client->changed);
    env_uv_mutex_unlock(&client->lock);
}

static void thread_main(void *data)
{
    struct hf_client *client = data;
    int rv = env_uv_new(NULL, &client->env, &client->start_err);
    if (rv != 0) {
        tell_started(client, rv);
        return;
    }
    rv = client_new(client->env, &client->core_options, &client->core, &client->start_err);
    tell_started(client, rv);
    if (rv == 0)
        env_uv_run(client->env);
    env_stop(client->env);
    watches_end(client);
    call_drain(client);
    client_free(client->core);
    /* Until the store is at rest its lines come, and who gets them may look at the handle. */
    embedded_close(client->embedded);
    client->embedded = NULL;
    env_uv_free(client->env);
}

/* ---- open -------------------------------------------------------------------------- */

/* Cut the list at its commas; blanks around a piece do not count. */
static int endpoints_cut(struct hf_client *client)
{
    char *rest = client->endpoints;
    size_t count = 0;
    while (rest != NULL) {
        char *piece = strsep(&rest, ",");
        piece += strspn(piece, " \t");
        size_t len = strcspn(piece, " \t");
        if (piece[len + strspn(piece + len, " \t")] != 0 || len == 0)
            return HF_ERR_INVALID;
        piece[len] = 0;
        if (count == ARRAY_LEN(client->pieces))
            return HF_ERR_INVALID;
        client->pieces[count++] = piece;
    }
    client->core_options.endpoints = client->pieces;
    client->core_options.endpoint_count = count;
    return 0;
}

/* Endpoints as they were given, or that of the store that starts here. */
static int endpoints_take(struct hf_client *client, const char *endpoints, struct err *err)
{
    if (embedded_is_meant(endpoints)) {
        int rv = embedded_open(endpoints, client->log != NULL ? on_log : NULL, client,
                               &client->embedded, err);
        if (rv != 0)
            return rv;
        endpoints = embedded_address(client->embedded);
    }
    client->endpoints = strdup(endpoints);
    if (client->endpoints == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rv = endpoints_cut(client);
    return rv == 0 ? 0 : err_set(err, rv, "endpoints must be host:port,host:port");
}

static int options_take(struct hf_client *client, const struct hf_options *options, struct err *err)
{
    client->name = strdup(options->name != NULL ? options->name : "libholdfast");
    if (client->name == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    client->timeout_ms =
        options->timeout_ms > 0 ? options->timeout_ms : (uint32_t)CLIENT_TIMEOUT_MS;
    client->log = options->log;
    client->log_data = options->log_data;
    client->logger = (struct logger){.level = LOG_LEVEL_DEBUG, .sink = on_log, .data = client};
    struct client_options *limits = &client->limits;
    limits->in_flight_max = options->in_flight_max > 0 ? options->in_flight_max : IN_FLIGHT_DEFAULT;
    limits->in_flight_max = MIN(limits->in_flight_max, (uint32_t)CLIENT_IN_FLIGHT_MAX);
    limits->bytes_max = options->bytes_max > 0 ? options->bytes_max : (size_t)BYTES_DEFAULT;
    limits->bytes_max = MIN(limits->bytes_max, SIZE_MAX / 4);
    /* The bounds are kept here, where the caller can be told; the core's are wider. */
    client->core_options = (struct client_options){
        .logger = options->log != NULL ? &client->logger : NULL,
        .name = client->name,
        .cluster_id = options->cluster_id,
        .in_flight_max = limits->in_flight_max,
        .bytes_max = SIZE_MAX,
        .has_no_sessions = options->no_sessions != 0,
    };
    return endpoints_take(client, options->endpoints, err);
}

static void client_destroy(struct hf_client *client)
{
    embedded_close(client->embedded); /* the thread did, unless it never ran */
    figures_fini(client);
    call_spare_free(client);
    env_uv_mutex_fini(&client->log_lock);
    env_uv_cond_fini(&client->changed);
    env_uv_mutex_fini(&client->lock);
    free(client->endpoints);
    free(client->name);
    free(client);
}

static int wait_for_start(struct hf_client *client, struct err *err)
{
    env_uv_mutex_lock(&client->lock);
    while (!client->is_started)
        env_uv_cond_wait(&client->changed, &client->lock);
    int rv = client->start_error;
    env_uv_mutex_unlock(&client->lock);
    if (rv == 0)
        return 0;
    env_uv_thread_join(client->thread);
    *err = client->start_err;
    return rv;
}

static int client_open(const struct hf_options *options, struct hf_client **ret_client,
                       struct err *err)
{
    struct hf_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    env_uv_mutex_init(&client->log_lock);
    env_uv_mutex_init(&client->lock);
    env_uv_cond_init(&client->changed);
    list_init(&client->inbox);
    list_init(&client->spare);
    call_inbox_init(client);
    list_init(&client->calls);
    list_init(&client->watches);
    int rv = options_take(client, options, err);
    if (rv == 0)
        rv = env_uv_thread_start("holdfast", thread_main, client, &client->thread, err);
    if (rv == 0)
        rv = wait_for_start(client, err);
    if (rv != 0) {
        client_destroy(client);
        return rv;
    }
    *ret_client = client;
    return HF_OK;
}

int hf_open(const struct hf_options *options, struct hf_client **ret_client)
{
    if (options == NULL || options->size < sizeof *options)
        return HF_ERR_INVALID;
    struct err err = {0};
    int rv = options->endpoints == NULL || ret_client == NULL
                 ? err_set(&err, ERR_INVALID, "no endpoints, or no place for the client")
                 : client_open(options, ret_client, &err);
    if (options->message != NULL && options->message_size > 0)
        snprintf(options->message, options->message_size, "%s", rv == 0 ? "" : err.msg);
    return rv;
}

int hf_close(struct hf_client *client)
{
    if (client == NULL)
        return HF_OK;
    if (client_is_own_thread(client))
        return HF_ERR_STATE;
    env_uv_mutex_lock(&client->lock);
    ASSERT(!client->is_closing);
    client->is_closing = true;
    env_uv_mutex_unlock(&client->lock);
    env_uv_quit(client->env);
    env_uv_thread_join(client->thread);
    ASSERT(client->call_count == 0 && list_is_empty(&client->inbox));
    client_destroy(client);
    return HF_OK;
}

/* ---- figures ------------------------------------------------------------------------- */

/* Somebody waits for a copy of the core's counters. */
struct stats_wish {
    struct hf_client *client;
    struct waiter waiter;
    struct client_stats stats;
};

static void stats_copy(void *data)
{
    struct stats_wish *wish = data;
    struct hf_client *client = wish->client;
    client_stats_get(client->core, &wish->stats);
    env_uv_mutex_lock(&client->lock);
    wish->waiter.is_done = true;
    env_uv_cond_signal(&wish->waiter.cond);
    env_uv_mutex_unlock(&client->lock);
}

static void stats_fetch(struct hf_client *client, struct stats_wish *wish)
{
    if (env_uv_thread_is_self(client->thread)) {
        client_stats_get(client->core, &wish->stats);
        return;
    }
    if (client_is_own_thread(client)) { /* the store's: it may not look, nor wait */
        env_uv_mutex_lock(&client->lock);
        wish->stats = client->seen_stats;
        env_uv_mutex_unlock(&client->lock);
        return;
    }
    env_uv_cond_init(&wish->waiter.cond);
    if (env_uv_post(client->env, stats_copy, wish) == 0) {
        env_uv_mutex_lock(&client->lock);
        while (!wish->waiter.is_done)
            env_uv_cond_wait(&wish->waiter.cond, &client->lock);
        env_uv_mutex_unlock(&client->lock);
    }
    env_uv_cond_fini(&wish->waiter.cond);
}

void hf_client_stats(struct hf_client *client, struct hf_client_stats *ret_stats)
{
    struct stats_wish wish = {.client = client};
    if (ret_stats == NULL)
        return;
    if (client == NULL) {
        size_t room = MIN(ret_stats->size, sizeof *ret_stats);
        memset(ret_stats, 0, room);
        ret_stats->size = room;
        return;
    }
    stats_fetch(client, &wish);
    const struct client_stats *s = &wish.stats;
    struct hf_client_stats stats = {
        .size = sizeof stats,
        .submitted = s->submitted,
        .done = s->done,
        .failed = s->failed,
        .undetermined = s->undetermined,
        .sendings = s->sendings,
        .not_leader = s->not_leader,
        .pushed_back = s->pushed_back,
        .connects = s->connects,
        .disconnects = s->disconnects,
        .bytes_out = s->bytes_out,
        .bytes_in = s->bytes_in,
    };
    env_uv_mutex_lock(&client->lock);
    stats.busy = s->busy + client->busy;
    stats.in_flight = client->call_count;
    env_uv_mutex_unlock(&client->lock);
    size_t size = MIN(ret_stats->size, sizeof stats);
    memcpy(ret_stats, &stats, size);
    ret_stats->size = size;
}
