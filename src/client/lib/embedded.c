/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/embedded.h"

#include <stdio.h>
#include <stdlib.h>

#include "env/uv/env_uv.h"
#include "server/config.h"
#include "server/options.h"
#include "store/store.h"

#define SCHEME "embedded:"
#define NO_NAME "@no-name-yet:1"

struct embedded {
    /* fixed before the thread runs */
    struct config config;
    bool is_private; /* no address to listen on was given */
    struct logger logger;
    log_sink sink;
    void *data;

    struct env_uv_mutex lock;
    struct env_uv_cond changed;
    bool is_started; /* guarded: the store is open, or has failed */
    int start_error; /* guarded */
    struct err err;  /* of the start; the thread's until is_started */
    char address[ENV_ADDRESS_MAX];

    struct env_uv_thread *thread;
    struct env *env;
    struct store *store;
};

bool embedded_is_meant(const char *endpoints)
{
    return strncmp(endpoints, SCHEME, strlen(SCHEME)) == 0;
}

const char *embedded_address(const struct embedded *e)
{
    return e->address;
}

bool embedded_is_own_thread(const struct embedded *e)
{
    return e != NULL && e->thread != NULL && env_uv_thread_is_self(e->thread);
}

/* ---- what is asked for ------------------------------------------------------------ */

/* Keys of a process, or of a store among others: here they would say nothing. */
static bool is_no_use(struct slice key)
{
    static const char *const keys[] = {"data_dir",   "advertise", "join", "cluster_secret_file",
                                       "log_format", "labels",    "wait", "stores"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (slice_equal(key, slice_str(keys[i])))
            return true;
    }
    return false;
}

/* One "key=value" of those behind the '?'. */
static int set_pair(struct config *config, struct slice pair, struct err *err)
{
    const uint8_t *sign = pair.len == 0 ? NULL : memchr(pair.data, '=', pair.len);
    if (sign == NULL)
        return err_set(err, ERR_INVALID, "'%.*s' is no key=value", (int)MIN(pair.len, (size_t)64),
                       (const char *)pair.data);
    struct slice key = slice_of(pair.data, (size_t)(sign - pair.data));
    struct slice value = slice_of(sign + 1, pair.len - key.len - 1);
    if (is_no_use(key))
        return err_set(err, ERR_INVALID, "%.*s is of no use to an embedded store", (int)key.len,
                       (const char *)key.data);
    return config_set(config, key, value, err);
}

static int config_read(struct embedded *e, const char *place, struct err *err)
{
    struct config *config = &e->config;
    const char *question = strchr(place, '?');
    size_t dir_len = question == NULL ? strlen(place) : (size_t)(question - place);
    config_init(config);
    if (dir_len == 0)
        return err_set(err, ERR_INVALID, "no folder is named");
    int rv = config_set(config, slice_str("data_dir"), slice_of(place, dir_len), err);
    const char *at = question == NULL ? "" : question + 1;
    while (rv == 0 && (question != NULL || *at != 0)) {
        size_t len = strcspn(at, "&");
        rv = set_pair(config, slice_of(at, len), err);
        question = at[len] == '&' ? at : NULL; /* one more must follow */
        at += len + (at[len] == '&');
    }
    if (rv != 0)
        return rv;
    e->is_private = config->listen[0] == 0;
    if (e->is_private) /* its name is drawn on the thread; this is only not that of a daemon */
        memcpy(config->listen, NO_NAME, sizeof NO_NAME);
    return config_finish(config, err);
}

/* ---- the thread -------------------------------------------------------------------- */

static void on_line(void *data, enum log_level level, const char *line)
{
    struct embedded *e = data;
    if (e->sink != NULL)
        e->sink(e->data, level, line);
}

/* The process is about to end: whoever reads the log, and whoever started the program. */
static void on_fatal(void *data, const char *message)
{
    on_line(data, LOG_LEVEL_ERROR, message);
    fprintf(stderr, "libholdfast: fatal: %s\n", message);
    fflush(stderr);
}

static void draw_name(struct embedded *e)
{
    uint64_t name[2];
    env_random_bytes(e->env, name, sizeof name);
    snprintf(e->config.listen, sizeof e->config.listen, "@%016llx%016llx:1",
             (unsigned long long)name[0], (unsigned long long)name[1]);
}

/* It is open, but is it to be served? */
static int check_store(struct embedded *e, struct err *err)
{
    if (store_state(e->store) == STORE_DAMAGED) {
        int rv = identity_check_damage(e->env, e->config.data_dir, err);
        return rv != 0 ? rv : err_set(err, ERR_CORRUPT, "folder is damaged");
    }
    uint32_t others = store_others(e->store);
    if (others > 0 && e->is_private)
        return err_set(err, ERR_STATE,
                       "it is of a cluster with %u other store%s: serve it with holdfastd, or give "
                       "an address at which they reach it (listen)",
                       others, others == 1 ? "" : "s");
    return 0;
}

static int start(struct embedded *e, struct err *err)
{
    struct env_uv_options world = {
        .read_threads = (unsigned)e->config.read_threads,
        .compact_threads = (unsigned)e->config.compaction_threads,
        .on_fatal = on_fatal,
        .data = e,
    };
    struct store_options options;
    int rv = env_uv_new(&world, &e->env, err);
    if (rv != 0)
        return rv;
    if (e->is_private)
        draw_name(e);
    options_of_config(&e->config, (struct slice){0}, &e->logger, &options);
    if (e->is_private)
        options.advertise = NULL; /* as it listens */
    rv = store_open(&e->store, e->env, &options, err);
    if (rv == 0)
        rv = check_store(e, err);
    if (rv == 0)
        snprintf(e->address, sizeof e->address, "%s", store_address(e->store));
    return rv;
}

static void serve(void *data)
{
    struct embedded *e = data;
    int rv = start(e, &e->err);
    env_uv_mutex_lock(&e->lock);
    e->is_started = true;
    e->start_error = rv;
    env_uv_cond_broadcast(&e->changed);
    env_uv_mutex_unlock(&e->lock);
    if (rv == 0)
        env_uv_run(e->env);
    if (e->env == NULL)
        return;
    env_stop(e->env);
    store_free(e->store);
    env_uv_free(e->env);
}

static void on_drained(void *data)
{
    struct embedded *e = data;
    env_uv_quit(e->env);
}

static void begin_drain(void *data)
{
    struct embedded *e = data;
    store_drain(e->store, (uint32_t)(e->config.stop_us / 1000), on_drained, e);
}

/* ---- open and close ------------------------------------------------------------------ */

static void embedded_free(struct embedded *e)
{
    env_uv_cond_fini(&e->changed);
    env_uv_mutex_fini(&e->lock);
    free(e);
}

static int wait_for_start(struct embedded *e, struct err *err)
{
    env_uv_mutex_lock(&e->lock);
    while (!e->is_started)
        env_uv_cond_wait(&e->changed, &e->lock);
    int rv = e->start_error;
    env_uv_mutex_unlock(&e->lock);
    if (rv != 0) {
        env_uv_thread_join(e->thread);
        *err = e->err;
    }
    return rv;
}

int embedded_open(const char *endpoints, log_sink sink, void *data, struct embedded **ret_embedded,
                  struct err *err)
{
    ASSERT(embedded_is_meant(endpoints));
    struct embedded *e = calloc(1, sizeof *e);
    if (e == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    env_uv_mutex_init(&e->lock);
    env_uv_cond_init(&e->changed);
    e->sink = sink;
    e->data = data;
    int rv = config_read(e, endpoints + strlen(SCHEME), err);
    if (rv == 0) {
        e->logger = (struct logger){.level = e->config.log_level, .sink = on_line, .data = e};
        rv = env_uv_thread_start("holdfast-store", serve, e, &e->thread, err);
    }
    if (rv == 0)
        rv = wait_for_start(e, err);
    if (rv != 0) {
        const char *place = endpoints + strlen(SCHEME);
        err_wrap(err, rv, "embedded store in '%.*s'", (int)strcspn(place, "?"), place);
        embedded_free(e);
        return rv;
    }
    *ret_embedded = e;
    return 0;
}

void embedded_close(struct embedded *e)
{
    if (e == NULL)
        return;
    ASSERT(!embedded_is_own_thread(e));
    if (env_uv_post(e->env, begin_drain, e) != 0)
        env_uv_quit(e->env); /* no memory: what is acknowledged is in the log */
    env_uv_thread_join(e->thread);
    embedded_free(e);
}
