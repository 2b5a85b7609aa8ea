/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfastd — one node: reads its configuration, opens its stores, serves until it is
 * told to stop (SIGTERM or SIGINT: hand over, flush, exit 0; a second one: at once).
 * The first store has the main thread, each other one a thread of its own.
 * Exit status: 0 stopped in order, 1 an error (one line on standard error), 2 usage.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "env/uv/env_uv.h"
#include "server/config.h"
#include "server/log_line.h"
#include "server/options.h"
#include "server/stores.h"
#include "store/store.h"

#define HOLDFAST_VERSION "0.1.0"
_Static_assert((int)LOG_LINE_OUT_MAX <= (int)ENV_UV_LINE_MAX, "a line is written whole");
enum { RETRY_PAUSE_MS = 100, HELP_MAX = 1 << 16, FILES_BESIDE = 1280 };

/* The process: what all its stores read, and whether it is ending. */
struct node {
    struct config config;
    uint8_t secret[STORE_SECRET_MAX];
    size_t secret_len;
    atomic_bool is_stopping; /* a signal came */
    atomic_bool has_failed;  /* a store could not be opened */
    struct env_uv_mutex log_mutex;
    uint64_t lines_dropped; /* under log_mutex: standard error did not take them */
};

/* One store; all of it is its thread's own. */
struct server {
    struct node *node;
    struct config config; /* of this store */
    struct logger logger;
    struct env *env;
    struct store *store;
    bool is_stopping;
    struct env_uv_thread *thread; /* NULL: the main one */
    bool is_recovering;
    struct store_recover recover;
    int recover_status;
};

/* ---- log lines ----------------------------------------------------------------- */

static void format_time(char *out, size_t size)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, size - n, ".%03ldZ", now.tv_nsec / 1000000);
}

/* Its id in the cluster; 0 before it has one. */
static uint64_t own_id(const struct server *s)
{
    return s->store == NULL ? 0 : store_identity(s->store)->store_id;
}

static bool write_line(const struct server *s, enum log_level level, const char *text)
{
    char time[40];
    char out[LOG_LINE_OUT_MAX];
    format_time(time, sizeof time);
    struct log_line line = {.time = time, .level = level, .store_id = own_id(s), .text = text};
    size_t len = log_line_format(s->config.log_format, &line, out);
    return len > 0 && env_uv_write_line(STDERR_FILENO, out, len, 0);
}

/* A log that cannot be written, or that nobody reads, must not stop the store: lines are dropped,
 * and the next one that is taken is preceded by how many were. */
static void log_sink_stderr(void *data, enum log_level level, const char *line)
{
    const struct server *s = data;
    struct node *node = s->node;
    env_uv_mutex_lock(&node->log_mutex);
    if (node->lines_dropped > 0) {
        char text[64];
        snprintf(text, sizeof text, "log_lines_dropped count=%llu",
                 (unsigned long long)node->lines_dropped);
        if (write_line(s, LOG_LEVEL_WARN, text))
            node->lines_dropped = 0;
    }
    if (node->lines_dropped > 0 || !write_line(s, level, line))
        node->lines_dropped++;
    env_uv_mutex_unlock(&node->log_mutex);
}

/* ---- configuration ---------------------------------------------------------------- */

static int fail(const struct err *err)
{
    char line[ERR_MSG_MAX + 16];
    int n = snprintf(line, sizeof line, "holdfastd: %s\n", err->msg);
    env_uv_write_line(STDERR_FILENO, line, (size_t)n, ENV_UV_LAST_WORDS_MS);
    return 1;
}

static int read_file(const char *path, uint8_t *out, size_t max, size_t *ret_len, struct err *err)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return err_set_errno(err, errno, "open '%s'", path);
    size_t len = fread(out, 1, max, file);
    bool is_bad = ferror(file) != 0;
    bool is_long = !is_bad && len == max && fgetc(file) != EOF;
    fclose(file);
    if (is_bad)
        return err_set(err, ERR_IO, "cannot read '%s'", path);
    if (is_long)
        return err_set(err, ERR_TOO_LARGE, "'%s' is longer than %zu bytes", path, max);
    *ret_len = len;
    return 0;
}

static int read_config(struct node *s, const struct config_command *command, struct err *err)
{
    static uint8_t text[CONFIG_TEXT_MAX]; /* the main's own */
    size_t len = 0;
    int rv = 0;
    config_init(&s->config);
    if (command->file != NULL)
        rv = read_file(command->file, text, sizeof text, &len, err);
    if (rv == 0)
        rv = config_parse(&s->config, slice_of(text, len),
                          command->file == NULL ? "" : command->file, err);
    if (rv == 0)
        rv = config_apply(&s->config, command, err);
    return rv == 0 ? config_finish(&s->config, err) : rv;
}

static int read_secret(struct node *s, struct err *err)
{
    size_t len = 0;
    if (s->config.cluster_secret_file[0] == 0)
        return 0;
    int rv = read_file(s->config.cluster_secret_file, s->secret, sizeof s->secret, &len, err);
    if (rv != 0)
        return err_wrap(err, rv, "cluster secret");
    while (len > 0 && (s->secret[len - 1] == '\n' || s->secret[len - 1] == '\r'))
        len--;
    if (len == 0)
        return err_set(err, ERR_INVALID, "the cluster secret in '%s' is empty",
                       s->config.cluster_secret_file);
    s->secret_len = len;
    return 0;
}

/* ---- life ---------------------------------------------------------------------------- */

static void on_drained(void *data)
{
    struct server *s = data;
    env_uv_quit(s->env);
}

static void begin_stop(struct server *s)
{
    s->is_stopping = true;
    store_drain(s->store, (uint32_t)(s->config.stop_us / 1000), on_drained, s);
}

static void on_signal(void *data, int signum)
{
    struct server *s = data;
    LOG_INFO(&s->logger, "signal", "number=%d", signum);
    atomic_store(&s->node->is_stopping, true);
    if (s->is_recovering) /* it serves nobody, and is begun anew as if it had not been */
        s->recover_status = ERR_CANCELED;
    if (s->is_stopping || s->is_recovering) {
        env_uv_quit(s->env);
        return;
    }
    begin_stop(s);
}

static void close_all(struct server *s)
{
    if (s->env == NULL)
        return;
    env_stop(s->env);
    store_free(s->store);
    env_uv_free(s->env);
    s->store = NULL;
    s->env = NULL;
}

static int open_once(struct server *s, struct err *err)
{
    struct store_options options;
    struct env_uv_options env_options = {
        .read_threads = (unsigned)s->config.read_threads,
        .compact_threads = (unsigned)s->config.compaction_threads,
    };
    int rv = env_uv_new(&env_options, &s->env, err);
    if (rv != 0)
        return rv;
    options_of_config(&s->config, slice_of(s->node->secret, s->node->secret_len), &s->logger,
                      &options);
    if (s->is_recovering)
        options.recover = &s->recover;
    rv = store_open(&s->store, s->env, &options, err);
    if (rv == 0)
        rv = env_uv_on_signal(s->env, SIGTERM, on_signal, s, err);
    if (rv == 0)
        rv = env_uv_on_signal(s->env, SIGINT, on_signal, s, err);
    return rv;
}

static uint64_t monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A folder that is locked, or a port in use, may come free within the wait that the
 * operator allows (a supervisor that restarts quickly). */
static int open_store(struct server *s, struct err *err)
{
    uint64_t until_us = monotonic_us() + s->config.wait_us;
    for (;;) {
        int rv = open_once(s, err);
        if (rv == 0)
            return 0;
        close_all(s);
        if (atomic_load(&s->node->is_stopping))
            return rv;
        bool may_clear = rv == ERR_LOCKED || rv == ERR_IO || rv == ERR_BUSY;
        if (!may_clear || monotonic_us() >= until_us)
            return rv;
        struct timespec pause = {.tv_nsec = RETRY_PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
}

/* Each connection takes a descriptor, and so does each table that is open. What the system
 * allows is taken; where that is less than wanted, it is said. */
static void raise_limits(const struct server *s, uint64_t stores)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 || getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    uint64_t wanted = stores * (s->config.connections_max + FILES_BESIDE);
    if (files.rlim_cur < wanted)
        LOG_WARN(&s->logger, "few_descriptors", "limit=%llu wanted=%llu",
                 (unsigned long long)files.rlim_cur, (unsigned long long)wanted);
}

/* From open to closed, on the store's own thread. */
static int serve(struct server *s)
{
    LOG_INFO(&s->logger, "listening", "address=%s version=%s", store_address(s->store),
             HOLDFAST_VERSION);
    if (atomic_load(&s->node->is_stopping) && !s->is_stopping)
        begin_stop(s); /* the signal came before this store listened for it */
    env_uv_run(s->env);
    LOG_INFO(&s->logger, "stopped", "in order");
    close_all(s);
    return 0;
}

/* A node serves with all of its stores or not at all. */
static void store_thread(void *data)
{
    struct server *s = data;
    struct err err = {0};
    if (open_store(s, &err) == 0) {
        serve(s);
        return;
    }
    if (atomic_load(&s->node->is_stopping))
        return;
    fail(&err);
    atomic_store(&s->node->has_failed, true);
    kill(getpid(), SIGTERM);
}

static int start_threads(struct server *servers, uint32_t count, struct err *err)
{
    for (uint32_t k = 1; k < count; k++) {
        char name[16];
        snprintf(name, sizeof name, "store-%u", k + 1);
        int rv = env_uv_thread_start(name, store_thread, &servers[k], &servers[k].thread, err);
        if (rv != 0)
            return rv;
    }
    return 0;
}

/* The last store that the folder has; 1 if it has no more than one. */
static uint32_t stores_in_folder(const struct config *config)
{
    char path[CONFIG_PATH_MAX + 32];
    for (uint32_t k = STORES_MAX; k > 1; k--) {
        snprintf(path, sizeof path, "%s/store-%u/STORE", config->data_dir, k);
        if (access(path, F_OK) == 0)
            return k;
    }
    return 1;
}

/* A store that the node was served with before, and is to be left out now, would be missed by
 * its ranges: rebuilt elsewhere after a while, and without a majority at worst. */
static int check_left_out(const struct config *config, struct err *err)
{
    uint32_t last = stores_in_folder(config);
    if (last <= config->stores)
        return 0;
    return err_set(err, ERR_STATE,
                   "'%s/store-%u' is a store of this node, too, and stores = %llu leaves it "
                   "out: start with --stores %u; if it is to go, decommission it first, "
                   "then move its folder away",
                   config->data_dir, last, (unsigned long long)config->stores, last);
}

/* How many it is to serve with: what is asked for as the number that it means here and now. */
static uint64_t count_stores(const struct config *config)
{
    if (config->stores != CONFIG_STORES_CORES)
        return config->stores;
    return MAX(MIN(env_uv_cores(), (uint32_t)STORES_MAX), stores_in_folder(config));
}

/* The first store is opened before the others: they join it, in folders below its own. */
static int run_stores(struct node *node, struct server *servers, uint32_t count)
{
    struct err err = {0};
    if (check_left_out(&node->config, &err) != 0)
        return fail(&err);
    raise_limits(&servers[0], count);
    if (read_secret(node, &err) != 0 || open_store(&servers[0], &err) != 0)
        return fail(&err);
    if (start_threads(servers, count, &err) != 0) {
        fail(&err);
        atomic_store(&node->has_failed, true);
        kill(getpid(), SIGTERM);
    }
    serve(&servers[0]);
    for (uint32_t k = 1; k < count; k++)
        env_uv_thread_join(servers[k].thread);
    return atomic_load(&node->has_failed) ? 1 : 0;
}

static int make_servers(struct node *node, struct server *servers, struct err *err)
{
    for (uint32_t k = 0; k < node->config.stores; k++) {
        struct server *s = &servers[k];
        int rv = stores_config(&node->config, k + 1, &s->config, err);
        if (rv != 0)
            return rv;
        s->node = node;
        s->logger =
            (struct logger){.level = s->config.log_level, .sink = log_sink_stderr, .data = s};
    }
    return 0;
}

/* ---- unsafe recovery ------------------------------------------------------------------ */

static void on_recover_line(void *data, const char *line)
{
    (void)data;
    printf("%s\n", line);
}

static void on_recovered(void *data, int status, const char *text)
{
    struct server *s = data;
    s->recover_status = status;
    if (status == 0)
        printf("%s\n", text);
    else
        fprintf(stderr, "holdfastd: %s\n", text);
    env_uv_quit(s->env);
}

static int recover(struct server *s, const struct config_command *command)
{
    struct err err = {0};
    if (s->config.stores > 1) {
        err_set(&err, ERR_INVALID, "--recover: one store at a time, by --stores 1 and its folder");
        return fail(&err);
    }
    s->is_recovering = true;
    s->recover = (struct store_recover){
        .is_plan = command->is_plan, .say = on_recover_line, .done = on_recovered, .data = s};
    s->config.wait_us = 0; /* a folder whose store runs is not to be waited for */
    if (config_parse_lost(command->recover, s->recover.lost, STORE_LOST_MAX, &s->recover.lost_count,
                          &err) != 0)
        return fail(&err);
    if (open_store(s, &err) != 0) {
        close_all(s);
        return fail(&err);
    }
    env_uv_run(s->env);
    close_all(s);
    return s->recover_status == 0 && fflush(stdout) == 0 ? 0 : 1;
}

static int print_buf(struct buf *buf)
{
    size_t n = fwrite(buf->data, 1, buf->len, stdout);
    bool ok = n == buf->len && !buf->failed && fflush(stdout) == 0;
    buf_fini(buf);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct node node; /* these are the main's own */
    static struct server servers[STORES_MAX];
    struct config_command command;
    struct err err = {0};
    struct buf out;
    env_uv_tune_memory();
    env_uv_mutex_init(&node.log_mutex);
    buf_init(&out, HELP_MAX);
    if (config_command_parse(&command, argc - 1, (const char *const *)argv + 1, &err) != 0) {
        fprintf(stderr, "holdfastd: %s (see holdfastd --help)\n", err.msg);
        return 2;
    }
    if (command.is_help) {
        config_help(&out);
        return print_buf(&out);
    }
    if (command.is_version) {
        buf_printf(&out, "holdfastd %s\n", HOLDFAST_VERSION);
        return print_buf(&out);
    }
    if (read_config(&node, &command, &err) != 0)
        return fail(&err);
    if (command.is_check)
        config_print(&node.config, &out);
    node.config.stores = count_stores(&node.config);
    if (make_servers(&node, servers, &err) != 0)
        return fail(&err);
    if (command.is_check)
        return print_buf(&out);
    if (command.recover != NULL)
        return recover(&servers[0], &command);
    return run_stores(&node, servers, (uint32_t)node.config.stores);
}
