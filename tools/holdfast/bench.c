/* SPDX-License-Identifier: Apache-2.0
 *
 * bench put, get, mixed, scan: load over one connection handle.
 *
 * Closed loop: each of N clients has one operation at a time.
 *
 *   start ──▶ op ──callback──▶ record, next op … until the time is over ──▶ idle
 *
 * Open loop (--rate): operations are due at fixed times, whatever the answers. The main
 * thread begins them; when all N clients are busy they wait, and whose operation ends
 * takes the next that is overdue. Latency is from the time when one was due, so what
 * a pause holds up is counted, not hidden (Tene's "coordinated omission").
 *
 * All counting happens in callbacks, that is on the library's one thread; the main
 * thread reads the figures at the end. Errors are counted, never hidden.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/hist.h"
#include "base/rng.h"
#include "commands.h"
#include "env/uv/env_uv.h"

enum {
    CLIENTS_MAX = 20000,
    VALUE_POOL = 1 << 20, /* random bytes that values are cut from */
    LOAD_BATCH = 500,
    SECONDS_MAX = 86400,
    RATE_MAX = 10000000, /* operations a second */
    OPEN_CLIENTS = 1000,
    TICK_US = 100, /* an open loop looks this often what is due */
    KEY_TEXT = 32,
    KEY_DIGITS = 12, /* of a key's number at least, … */
};
#define KEY_DIGITS_COVER UINT64_C(1000000000000) /* … which stand for so many */

enum bench_kind { BENCH_PUT, BENCH_GET, BENCH_MIXED, BENCH_SCAN };
enum { BENCH_SINGLE = BENCH_GET + 1 }; /* kinds that a mixed load is of */

struct bench;

/* One simulated client: one operation at a time. */
struct bench_client {
    struct bench *bench;
    struct rng rng;
    enum bench_kind kind; /* of its operation: never BENCH_MIXED */
    uint64_t began_us;    /* open loop: when it was due */
    struct bench_client *next_idle;
};

struct bench {
    struct cli *cli;
    enum bench_kind kind;
    /* flags */
    uint64_t clients;
    uint64_t duration_us;
    uint64_t warmup_us;
    uint64_t value_size;
    uint64_t keys;
    uint64_t page;
    uint64_t reads_percent;
    uint64_t seed;
    uint64_t rate; /* operations a second; 0: closed loop */
    const char *prefix;
    bool is_no_load;
    bool has_no_sessions;
    bool has_progress;
    /* the run */
    struct hf_client *client;
    struct bench_client *all;
    uint8_t *pool;
    struct hf_call call;
    uint64_t measure_us; /* figures count from here … */
    uint64_t until_us;   /* … to here */
    /* figures: the library's thread writes, the main thread reads at the end; the two
     * counters that the progress line shows are atomic */
    struct hist *hist;
    struct hist *by_kind; /* mixed: BENCH_SINGLE of them; else NULL */
    uint64_t errors_by_code[32];
    uint64_t errors;
    uint64_t undetermined;
    uint64_t last_good_us;
    uint64_t longest_gap_us;
    uint64_t answers;      /* of all operations, those that do not count too */
    uint64_t done_total;   /* atomic */
    uint64_t errors_total; /* atomic */
    struct {
        uint64_t second, done, errors;
    } shown; /* by the progress line */
    /* who begins what, and the end */
    pthread_mutex_t lock;
    pthread_cond_t is_over;
    uint64_t active;           /* under lock, as all below */
    bool is_closed;            /* nobody takes from `idle` any more */
    uint64_t begun;            /* open loop: operations taken off the schedule */
    uint64_t from_us;          /* when the first was due */
    struct bench_client *idle; /* open loop */
};

/* By hand: printf() would take a tenth of what the whole client does for an operation. */
static size_t key_text(const struct bench *b, uint64_t index, char ret_key[KEY_TEXT * 4])
{
    size_t prefix_len = strlen(b->prefix);
    size_t digits = KEY_DIGITS;
    for (uint64_t rest = index / KEY_DIGITS_COVER; rest > 0; rest /= 10)
        digits++;
    ASSERT(prefix_len + digits < KEY_TEXT * 4);
    memcpy(ret_key, b->prefix, prefix_len);
    for (size_t i = digits; i-- > 0; index /= 10)
        ret_key[prefix_len + i] = (char)('0' + index % 10);
    return prefix_len + digits;
}

static struct hf_bytes value_of(struct bench *b, struct rng *rng)
{
    uint64_t from = rng_below(rng, VALUE_POOL);
    return hf_bytes(b->pool + from, b->value_size);
}

/* ---- the loop ------------------------------------------------------------------- */

static void on_done(void *data, int code, struct hf_result *result);

/* Begin the client's next operation, which was due at `due_us`: an hf_code. */
static int start_op(struct bench_client *c, uint64_t due_us)
{
    struct bench *b = c->bench;
    char text[KEY_TEXT * 4];
    struct hf_bytes key = hf_bytes(text, key_text(b, rng_below(&c->rng, b->keys), text));
    struct hf_then then = {.callback = on_done, .data = c};
    enum bench_kind kind = b->kind;
    if (kind == BENCH_MIXED)
        kind = rng_chance(&c->rng, b->reads_percent, 100) ? BENCH_GET : BENCH_PUT;
    c->kind = kind;
    c->began_us = due_us;
    if (kind == BENCH_PUT)
        return hf_put_async(b->client, key, value_of(b, &c->rng), NULL, &b->call, &then);
    if (kind == BENCH_GET)
        return hf_get_async(b->client, key, &b->call, &then);
    struct hf_span span;
    hf_span_init(&span);
    span.start = key;
    span.limit_keys = (uint32_t)b->page;
    return hf_scan_page_async(b->client, &span, &b->call, &then);
}

static void client_ends(struct bench *b)
{
    pthread_mutex_lock(&b->lock);
    ASSERT(b->active > 0);
    b->active--;
    if (b->active == 0)
        pthread_cond_signal(&b->is_over);
    pthread_mutex_unlock(&b->lock);
}

/* Open loop: take the next operation off the schedule if it is due by now. Under lock. */
static bool schedule_take(struct bench *b, uint64_t now_us, uint64_t *ret_due_us)
{
    uint64_t due_us = b->from_us + b->begun * 1000000 / b->rate;
    if (due_us > now_us || due_us >= b->until_us || now_us >= b->until_us)
        return false;
    b->begun++;
    *ret_due_us = due_us;
    return true;
}

/* What a client does whose operation ended: the next one, or nothing. */
static bool next_is_due(struct bench *b, struct bench_client *c, uint64_t now_us,
                        uint64_t *ret_due_us)
{
    bool is_due = now_us < b->until_us;
    *ret_due_us = now_us;
    if (b->rate > 0) {
        pthread_mutex_lock(&b->lock);
        is_due = schedule_take(b, now_us, ret_due_us);
        bool is_idle = !is_due && now_us < b->until_us && !b->is_closed;
        if (is_idle) {
            c->next_idle = b->idle;
            b->idle = c;
        }
        pthread_mutex_unlock(&b->lock);
        if (is_idle)
            return false;
    }
    if (!is_due)
        client_ends(b);
    return is_due;
}

static void count_failure(struct bench *b, int code)
{
    b->errors++;
    if (code == HF_ERR_UNDETERMINED)
        b->undetermined++;
    if (code < 0 && (size_t)-code < ARRAY_LEN(b->errors_by_code))
        b->errors_by_code[-code]++;
    __atomic_fetch_add(&b->errors_total, 1, __ATOMIC_RELAXED);
}

static void count_done(struct bench *b, const struct bench_client *c, uint64_t now_us)
{
    if (now_us < b->measure_us || now_us > b->until_us)
        return;
    hist_add(b->hist, now_us - c->began_us);
    if (b->by_kind != NULL)
        hist_add(&b->by_kind[c->kind], now_us - c->began_us);
    b->longest_gap_us = MAX(b->longest_gap_us, now_us - MIN(b->last_good_us, now_us));
    b->last_good_us = now_us;
    __atomic_fetch_add(&b->done_total, 1, __ATOMIC_RELAXED);
}

static void on_done(void *data, int code, struct hf_result *result)
{
    struct bench_client *c = data;
    struct bench *b = c->bench;
    uint64_t now_us = cli_now_us(), due_us;
    hf_result_free(result);
    bool is_good = code == HF_OK || (code == HF_ERR_NOT_FOUND && b->kind != BENCH_PUT);
    b->answers++;
    if (is_good)
        count_done(b, c, now_us);
    else
        count_failure(b, code);
    if (!next_is_due(b, c, now_us, &due_us))
        return;
    int rv = start_op(c, due_us);
    if (rv != HF_OK) {
        count_failure(b, rv);
        client_ends(b);
    }
}

/* A line about the last second. */
static void show_progress(struct bench *b)
{
    uint64_t done = __atomic_load_n(&b->done_total, __ATOMIC_RELAXED);
    uint64_t errors = __atomic_load_n(&b->errors_total, __ATOMIC_RELAXED);
    fprintf(stderr, "%4" PRIu64 " s  %8" PRIu64 " ops/s  %6" PRIu64 " errors\n", ++b->shown.second,
            done - b->shown.done, errors - b->shown.errors);
    b->shown.done = done;
    b->shown.errors = errors;
}

/* An idle client and an operation that is due by `now_us`; NULL if there is none of both. */
static struct bench_client *pace_take(struct bench *b, uint64_t now_us, uint64_t *ret_due_us)
{
    struct bench_client *c = NULL;
    pthread_mutex_lock(&b->lock);
    if (b->idle != NULL && schedule_take(b, now_us, ret_due_us)) {
        c = b->idle;
        b->idle = c->next_idle;
    }
    pthread_mutex_unlock(&b->lock);
    return c;
}

static void begin_what_is_due(struct bench *b)
{
    struct bench_client *c;
    uint64_t due_us;
    for (;;) {
        uint64_t now_us = cli_now_us();
        c = pace_take(b, MIN(now_us, b->until_us - 1), &due_us);
        if (c == NULL)
            return;
        int rv = start_op(c, due_us);
        if (rv == HF_OK)
            continue;
        __atomic_fetch_add(&b->errors_total, 1, __ATOMIC_RELAXED);
        client_ends(b);
    }
}

/* Open loop: begin what is due until the time is over, then let the idle clients end. */
static void pace(struct bench *b)
{
    uint64_t second_us = b->from_us + 1000000;
    while (cli_now_us() < b->until_us) {
        begin_what_is_due(b);
        const struct timespec tick = {.tv_nsec = TICK_US * 1000};
        (void)nanosleep(&tick, NULL);
        if (b->has_progress && cli_now_us() >= second_us) {
            show_progress(b);
            second_us += 1000000;
        }
    }
    begin_what_is_due(b); /* in the last tick */
    pthread_mutex_lock(&b->lock);
    b->is_closed = true; /* whoever looked at the clock before that and comes now ends, too */
    while (b->idle != NULL) {
        b->idle = b->idle->next_idle;
        b->active--;
    }
    pthread_mutex_unlock(&b->lock);
}

static void wait_for_end(struct bench *b)
{
    pthread_mutex_lock(&b->lock);
    while (b->active > 0) {
        struct timespec when;
        clock_gettime(CLOCK_REALTIME, &when);
        when.tv_sec++;
        (void)pthread_cond_timedwait(&b->is_over, &b->lock, &when);
        if (b->has_progress && b->active > 0)
            show_progress(b);
    }
    pthread_mutex_unlock(&b->lock);
}

static void run_loop(struct bench *b)
{
    uint64_t now_us = cli_now_us();
    b->measure_us = now_us + b->warmup_us;
    b->until_us = b->measure_us + b->duration_us;
    b->last_good_us = b->measure_us;
    b->active = b->clients;
    b->from_us = now_us;
    for (uint64_t i = 0; i < b->clients; i++) {
        struct bench_client *c = &b->all[i];
        c->bench = b;
        rng_init(&c->rng, b->seed + i);
    }
    for (uint64_t i = 0; b->rate > 0 && i < b->clients; i++) {
        b->all[i].next_idle = b->idle;
        b->idle = &b->all[i];
    }
    if (b->rate > 0)
        pace(b);
    for (uint64_t i = 0; b->rate == 0 && i < b->clients; i++) {
        int rv = start_op(&b->all[i], cli_now_us());
        if (rv == HF_OK)
            continue;
        __atomic_fetch_add(&b->errors_total, 1, __ATOMIC_RELAXED);
        client_ends(b);
    }
    wait_for_end(b);
    b->longest_gap_us = MAX(b->longest_gap_us, b->until_us - MIN(b->last_good_us, b->until_us));
}

/* ---- before and after --------------------------------------------------------------- */

/* The keys of a batch that would cross from one range to another, one by one. */
static int load_singly(struct bench *b, uint64_t first, uint64_t last, struct rng *rng)
{
    int rv = HF_OK;
    for (uint64_t i = first; rv == HF_OK && i <= last; i++) {
        char text[KEY_TEXT * 4];
        struct hf_bytes key = hf_bytes(text, key_text(b, i, text));
        rv = hf_put(b->client, key, value_of(b, rng), NULL, &b->call, NULL);
    }
    return rv;
}

/* Put every key once, so that reads find something. */
static int load_keys(struct bench *b)
{
    struct hf_batch *batch = NULL;
    struct rng rng;
    int exit_code = EXIT_DONE;
    rng_init(&rng, b->seed);
    if (hf_batch_new(&batch) != HF_OK)
        return cli_error(b->cli, "out of memory");
    for (uint64_t i = 0; i < b->keys && exit_code == EXIT_DONE; i++) {
        char text[KEY_TEXT * 4];
        struct hf_bytes key = hf_bytes(text, key_text(b, i, text));
        int rv = hf_batch_put(batch, key, value_of(b, &rng), NULL);
        size_t count = hf_batch_count(batch);
        bool is_full = count == LOAD_BATCH || count * (b->value_size + KEY_TEXT) > 1 << 20;
        struct hf_result *result = NULL;
        if (rv == HF_OK && (is_full || i + 1 == b->keys)) {
            rv = hf_batch_commit(b->client, batch, &b->call, &result);
            if (rv == HF_ERR_UNSUPPORTED)
                rv = load_singly(b, i + 1 - count, i, &rng);
            hf_batch_clear(batch);
        }
        if (rv != HF_OK)
            exit_code = cli_fail(b->cli, rv, result);
        hf_result_free(result);
    }
    hf_batch_free(batch);
    return exit_code;
}

static const char *const kind_names[] = {"put", "get", "mixed", "scan"};

/* Open loop: how many were due and could not begin, because all clients were busy. */
static uint64_t never_begun(const struct bench *b)
{
    uint64_t due = b->rate * ((b->until_us - b->from_us) / 1000) / 1000;
    return due > b->begun ? due - b->begun : 0;
}

static void json_number(struct json_writer *w, const char *name, uint64_t value)
{
    json_key(w, name);
    json_u64(w, value);
}

static void json_latencies(struct json_writer *w, const struct hist *h)
{
    json_number(w, "p50_us", hist_permille(h, 500));
    json_number(w, "p90_us", hist_permille(h, 900));
    json_number(w, "p99_us", hist_permille(h, 990));
    json_number(w, "p999_us", hist_permille(h, 999));
    json_number(w, "max_us", h->max);
    json_number(w, "mean_us", hist_mean(h));
}

static void json_details(struct json_writer *w, const struct bench *b)
{
    json_key(w, "errors_by_code");
    json_object_begin(w);
    for (size_t i = 0; i < ARRAY_LEN(b->errors_by_code); i++) {
        if (b->errors_by_code[i] > 0)
            json_number(w, hf_code_name(-(int)i), b->errors_by_code[i]);
    }
    json_object_end(w);
    for (size_t i = 0; i < BENCH_SINGLE && b->by_kind != NULL; i++) {
        json_key(w, kind_names[i]);
        json_object_begin(w);
        json_number(w, "ops", b->by_kind[i].count);
        json_latencies(w, &b->by_kind[i]);
        json_object_end(w);
    }
}

static void print_json(struct bench *b, double rate)
{
    struct json_writer w;
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {
        {"ops", b->hist->count},
        {"ops_in_all", b->answers},
        {"rate", b->rate},
        {"never_begun", never_begun(b)},
        {"errors", b->errors_total},
        {"undetermined", b->undetermined},
        {"longest_gap_ms", b->longest_gap_us / 1000},
        {"clients", b->clients},
        {"value_size", b->value_size},
        {"keys", b->keys},
    };
    json_begin(&w, &b->cli->out);
    json_object_begin(&w);
    json_key(&w, "ok");
    json_bool(&w, b->hist->count > 0);
    json_key(&w, "op");
    json_text(&w, kind_names[b->kind]);
    json_key(&w, "ops_per_sec");
    json_double(&w, rate);
    json_key(&w, "seconds");
    json_double(&w, (double)b->duration_us / 1e6);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        json_number(&w, figures[i].name, figures[i].value);
    json_latencies(&w, b->hist);
    json_details(&w, b);
    json_object_end(&w);
    buf_append_str(&b->cli->out, "\n");
}

static void print_latencies(struct buf *out, const char *what, const struct hist *h)
{
    buf_printf(out,
               "  %s: p50 %" PRIu64 "  p90 %" PRIu64 "  p99 %" PRIu64 "  p99.9 %" PRIu64
               "  max %" PRIu64 "\n",
               what, hist_permille(h, 500), hist_permille(h, 900), hist_permille(h, 990),
               hist_permille(h, 999), h->max);
}

static void print_text(struct bench *b, double rate)
{
    struct buf *out = &b->cli->out;
    buf_printf(
        out, "%s: %" PRIu64 " clients, %.1f s, values of %" PRIu64 " bytes, %" PRIu64 " keys\n",
        kind_names[b->kind], b->clients, (double)b->duration_us / 1e6, b->value_size, b->keys);
    buf_printf(out, "  %.0f ops/s\n", rate);
    print_latencies(out, "latency us", b->hist);
    if (b->by_kind != NULL) {
        print_latencies(out, "  of gets", &b->by_kind[BENCH_GET]);
        print_latencies(out, "  of puts", &b->by_kind[BENCH_PUT]);
    }
    buf_printf(out, "  longest time without a success: %" PRIu64 " ms\n", b->longest_gap_us / 1000);
    if (b->rate > 0)
        buf_printf(out, "  due and never begun, because all clients were busy: %" PRIu64 "\n",
                   never_begun(b));
    buf_printf(out, "  errors: %" PRIu64 "\n", b->errors_total);
    for (size_t i = 0; i < ARRAY_LEN(b->errors_by_code); i++) {
        if (b->errors_by_code[i] > 0)
            buf_printf(out, "    %s: %" PRIu64 "\n", hf_code_name(-(int)i), b->errors_by_code[i]);
    }
}

static bool parse_flags(struct bench *b, int argc, const char *const *argv, int *ret_exit)
{
    bool is_clients_given = false;
    const struct args_flag flags[] = {
        {"clients", 'c', ARGS_U64, &b->clients, &is_clients_given, "N",
         "at a time, each one operation (64; with --rate 1000)"},
        {"seconds", 's', ARGS_U64, &b->duration_us, NULL, "N", "how long (10)"},
        {"warmup", 0, ARGS_DURATION, &b->warmup_us, NULL, "TIME", "not counted, before (0)"},
        {"value-size", 'v', ARGS_SIZE, &b->value_size, NULL, "SIZE", "bytes of a value (100)"},
        {"keys", 'k', ARGS_U64, &b->keys, NULL, "N", "different keys (100000)"},
        {"page", 0, ARGS_U64, &b->page, NULL, "N", "scan: keys of a page (100)"},
        {"reads", 0, ARGS_U64, &b->reads_percent, NULL, "PERCENT", "mixed: share of reads (90)"},
        {"prefix", 0, ARGS_TEXT, &b->prefix, NULL, "P", "in front of every key (bench:)"},
        {"seed", 0, ARGS_U64, &b->seed, NULL, "N", "of the choice of keys (1)"},
        {"rate", 'r', ARGS_U64, &b->rate, NULL, "N",
         "open loop: N a second are due, whatever the answers; latency counts from then"},
        {"no-load", 0, ARGS_SWITCH, &b->is_no_load, NULL, NULL,
         "do not put all keys before reading"},
        {"no-sessions", 0, ARGS_SWITCH, &b->has_no_sessions, NULL, NULL,
         "changes that could not be repeated safely: what sessions cost"},
        {"progress", 0, ARGS_SWITCH, &b->has_progress, NULL, NULL,
         "a line each second on standard error"},
    };
    struct cli_words words;
    if (!cli_parse(b->cli, argc, argv, flags, ARRAY_LEN(flags), 0, 0, &words, ret_exit))
        return false;
    if (b->rate > 0 && !is_clients_given)
        b->clients = OPEN_CLIENTS;
    if (b->rate > RATE_MAX || b->clients < 1 || b->clients > CLIENTS_MAX || b->duration_us < 1 ||
        b->duration_us > SECONDS_MAX || b->keys < 1 || b->value_size > VALUE_POOL ||
        b->reads_percent > 100 || b->page < 1 || b->page > 10000 || strlen(b->prefix) > KEY_TEXT) {
        *ret_exit = cli_usage(b->cli,
                              "clients 1 to %d, seconds 1 to %d, values up to 1MiB, page 1 "
                              "to 10000, reads 0 to 100, prefix up to %d bytes, rate up to %d",
                              CLIENTS_MAX, SECONDS_MAX, KEY_TEXT, RATE_MAX);
        return false;
    }
    b->duration_us *= 1000000;
    b->call = cli_call(b->cli);
    return true;
}

static bool open_client(struct bench *b)
{
    struct hf_options options;
    hf_options_init(&options);
    options.name = "holdfast-bench";
    options.no_sessions = b->has_no_sessions;
    options.in_flight_max = (uint32_t)(b->clients + 64);
    options.bytes_max = (b->value_size + 256) * (b->clients + 64) + (8 << 20);
    if (!cli_open(b->cli, &options, &b->client))
        return false;
    b->call.keyspace = b->cli->keyspace_id;
    return true;
}

static int run_bench(struct bench *b)
{
    struct rng rng;
    int exit_code = EXIT_DONE;
    env_uv_tune_memory(); /* as holdfastd: not fresh pages for each message */
    rng_init(&rng, b->seed ^ 0x5eed);
    rng_fill(&rng, b->pool, 2 * VALUE_POOL);
    hist_init(b->hist);
    for (size_t i = 0; i < BENCH_SINGLE && b->by_kind != NULL; i++)
        hist_init(&b->by_kind[i]);
    if (!open_client(b))
        return EXIT_USAGE;
    if (b->kind != BENCH_PUT && !b->is_no_load)
        exit_code = load_keys(b);
    if (exit_code == EXIT_DONE) {
        run_loop(b);
        double rate = (double)b->hist->count / ((double)b->duration_us / 1e6);
        if (b->cli->is_json)
            print_json(b, rate);
        else
            print_text(b, rate);
        exit_code = b->hist->count > 0 ? EXIT_DONE : EXIT_ERROR;
    }
    hf_close(b->client);
    return exit_code;
}

static int run_kind(struct cli *cli, int argc, const char *const *argv, enum bench_kind kind)
{
    struct bench b = {
        .cli = cli,
        .kind = kind,
        .clients = 64,
        .duration_us = 10,
        .value_size = 100,
        .keys = 100000,
        .page = 100,
        .reads_percent = 90,
        .seed = 1,
        .prefix = "bench:",
    };
    int exit_code;
    if (!parse_flags(&b, argc, argv, &exit_code))
        return exit_code;
    b.all = calloc(b.clients, sizeof *b.all);
    b.pool = malloc(2 * VALUE_POOL);
    b.hist = malloc(sizeof *b.hist);
    if (kind == BENCH_MIXED)
        b.by_kind = calloc(BENCH_SINGLE, sizeof *b.by_kind);
    pthread_mutex_init(&b.lock, NULL);
    pthread_cond_init(&b.is_over, NULL);
    if (b.all == NULL || b.pool == NULL || b.hist == NULL ||
        (kind == BENCH_MIXED && b.by_kind == NULL))
        exit_code = cli_error(cli, "out of memory");
    else
        exit_code = run_bench(&b);
    pthread_cond_destroy(&b.is_over);
    pthread_mutex_destroy(&b.lock);
    free(b.by_kind);
    free(b.hist);
    free(b.pool);
    free(b.all);
    return exit_code;
}

static int run_put(struct cli *cli, int argc, const char *const *argv)
{
    return run_kind(cli, argc, argv, BENCH_PUT);
}

static int run_get(struct cli *cli, int argc, const char *const *argv)
{
    return run_kind(cli, argc, argv, BENCH_GET);
}

static int run_mixed(struct cli *cli, int argc, const char *const *argv)
{
    return run_kind(cli, argc, argv, BENCH_MIXED);
}

static int run_scan(struct cli *cli, int argc, const char *const *argv)
{
    return run_kind(cli, argc, argv, BENCH_SCAN);
}

const struct cli_command bench_commands[] = {
    {"put", run_put, NULL, NULL, "write random keys",
     "  holdfast bench put --clients 64 --seconds 10\n  holdfast bench put --json --progress\n"
     "  holdfast bench put --rate 10000 --seconds 600"},
    {"get", run_get, NULL, NULL, "read random keys, linearizably",
     "  holdfast bench get --clients 64 --keys 10000"},
    {"mixed", run_mixed, NULL, NULL, "reads and writes", "  holdfast bench mixed --reads 50"},
    {"scan", run_scan, NULL, NULL, "read pages from random keys on",
     "  holdfast bench scan --page 100 --clients 8"},
    {0},
};
