/* SPDX-License-Identifier: Apache-2.0
 *
 * torture — clients that write while a test breaks things, and remember exactly what
 * was promised to them.
 *
 *   torture run --endpoints E --clients N --seconds S --out FILE [--reads PERCENT]
 *               [--rate N] [--prefix P --keys N] [--slow TIME]
 *   torture verify --endpoints E FILE
 *   torture hold --endpoints E --clients N KEY
 *
 * Each client owns a key and puts 1, 2, 3 … there, one operation at a time. After a
 * write whose outcome is unknown it moves on to a fresh key, because that write may
 * still happen. So of each key is known: the last value acknowledged, the last one
 * sent, and nobody else writes it:
 *   - a read of a key whose last write was acknowledged must give exactly that value;
 *   - at the end, every key must be within [acknowledged, sent].
 * The file has a line for each key: "KEY ACKED SENT". run prints one JSON object with
 * figures, with wrong reads among them, and how much was done in each tenth of a second;
 * exit 1 if there was any wrong read. verify: exit 1 if a promise was broken.
 *
 * SIGTERM ends the run as the end of its time would. With --rate the clients share so many
 * operations a second, each in its turn and never more than one at a time. With --prefix
 * the clients' keys lie between the keys P000000000000 to P + N that bench writes, evenly,
 * so that each range of them has its clients. Operations that took longer than --slow are
 * listed: when they began (milliseconds of the monotonic clock), how long, and the number of
 * the key of bench that they stand behind.
 *
 * hold is for readers that talk to a node which sleeps: N clients connect and read KEY
 * once; "ready"; a line of standard input says which value was acknowledged meanwhile;
 * each sends HOLD_READS reads; "sent"; the answers are counted: the value, another one
 * (wrong, exit 1), or none.
 *
 * Threads  everything of a client happens on the library's thread; main waits.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/args.h"
#include "base/base.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/text.h"
#include "holdfast.h"

enum {
    KEY_MAX = 64,
    PREFIX_MAX = 8,
    SLOW_MAX = 1 << 20, /* that are listed */
    TICK_US = 1000,     /* with --rate, who is due is looked for so often */
    CLIENTS_MAX = 4096,
    PAD_MAX = 1 << 16,
    BUCKET_US = 100000,
    BUCKETS_MAX = 36000
};
enum { HOLD_CLIENTS_MAX = 64, HOLD_READS = 16 };

struct torture;

struct client {
    struct torture *t;
    unsigned number;
    unsigned generation; /* of its key; grows after an unknown outcome */
    uint64_t acked;
    uint64_t sent;
    bool is_reading;
    bool is_idle;    /* under lock, as the next; with --rate alone */
    uint64_t due_us; /* its next operation */
    uint64_t began_us;
    struct rng rng;
};

struct slow {
    uint64_t began_us;
    uint64_t took_us;
    uint64_t key;
};

struct torture {
    const char *endpoints;
    const char *out_path;
    uint64_t clients;
    uint64_t seconds;
    uint64_t reads_percent;
    uint64_t timeout_us;
    uint64_t seed;
    uint64_t pad;  /* bytes that every value has at least */
    uint64_t rate; /* operations a second of all; 0: as fast as they can */
    const char *prefix;
    uint64_t keys;
    uint64_t slow_us;
    struct hf_client *hf;
    FILE *out;
    uint64_t until_us;
    /* figures, of the library's thread */
    uint64_t acked;
    uint64_t reads;
    uint64_t undetermined;
    uint64_t refused;
    uint64_t wrong;
    uint64_t last_good_us;
    uint64_t longest_gap_us;
    uint64_t longest_op_us;
    uint64_t began_us;
    uint32_t *buckets; /* operations that went well, by tenth of a second */
    struct slow *slow;
    uint32_t slow_count;
    pthread_mutex_t lock;
    pthread_cond_t is_over;
    uint64_t active; /* under lock */
};

static volatile sig_atomic_t is_told_to_end;

static void on_signal(int number)
{
    (void)number;
    is_told_to_end = 1;
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The key of bench that the client's own stands behind. */
static uint64_t client_place(const struct client *c)
{
    return c->number * c->t->keys / c->t->clients;
}

static struct hf_bytes client_key(const struct client *c, char text[KEY_MAX])
{
    int n = 0;
    if (c->t->prefix != NULL)
        n = snprintf(text, KEY_MAX, "%s%012" PRIu64 ":", c->t->prefix, client_place(c));
    n += snprintf(text + n, (size_t)(KEY_MAX - n), "torture:%" PRIu64 ":%04u:%06u", c->t->seed,
                  c->number, c->generation);
    ASSERT(n < KEY_MAX);
    return hf_bytes(text, (size_t)n);
}

/* What is known of the present key, for verify. */
static void write_down(struct client *c)
{
    char key[KEY_MAX];
    client_key(c, key);
    if (c->sent > 0)
        fprintf(c->t->out, "%s %" PRIu64 " %" PRIu64 "\n", key, c->acked, c->sent);
}

static void client_ends(struct client *c)
{
    struct torture *t = c->t;
    pthread_mutex_lock(&t->lock);
    write_down(c);
    ASSERT(t->active > 0);
    if (--t->active == 0)
        pthread_cond_signal(&t->is_over);
    pthread_mutex_unlock(&t->lock);
}

static void on_done(void *data, int code, struct hf_result *result);

static int start_op(struct client *c)
{
    struct torture *t = c->t;
    char key_text[KEY_MAX], value[PAD_MAX];
    struct hf_bytes key = client_key(c, key_text);
    struct hf_then then = {.callback = on_done, .data = c};
    struct hf_call call;
    hf_call_init(&call);
    call.timeout_ms = (uint32_t)(t->timeout_us / 1000);
    c->began_us = now_us();
    /* only a key whose last write was acknowledged can be judged */
    c->is_reading = c->acked > 0 && rng_chance(&c->rng, t->reads_percent, 100);
    if (c->is_reading)
        return hf_get_async(t->hf, key, &call, &then);
    c->sent++;
    int n = snprintf(value, sizeof value, "%-*" PRIu64, (int)t->pad, c->sent);
    return hf_put_async(t->hf, key, hf_bytes(value, (size_t)n), NULL, &call, &then);
}

static bool value_is(const struct hf_result *result, uint64_t want)
{
    uint64_t got = 0;
    struct hf_bytes v = result->items[0].value;
    return text_parse_u64(text_trim(slice_of(v.data, v.len)), &got) == 0 && got == want;
}

static void on_read(struct client *c, int code, const struct hf_result *result)
{
    struct torture *t = c->t;
    char key[KEY_MAX];
    if (code == HF_OK && value_is(result, c->acked)) {
        t->reads++;
        return;
    }
    if (code != HF_OK && code != HF_ERR_NOT_FOUND) {
        t->refused++;
        return;
    }
    client_key(c, key);
    t->wrong++;
    fprintf(stderr, "WRONG READ: %s must be %" PRIu64 " and is '%.*s' (%s)\n", key, c->acked,
            code == HF_OK ? (int)result->items[0].value.len : 0,
            code == HF_OK ? (const char *)result->items[0].value.data : "", hf_code_name(code));
}

static void on_write(struct client *c, int code)
{
    struct torture *t = c->t;
    if (code == HF_OK) {
        c->acked = c->sent;
        t->acked++;
    } else if (code == HF_ERR_UNDETERMINED) {
        t->undetermined++;
        write_down(c);
        c->generation++;
        c->acked = c->sent = 0;
    } else {
        t->refused++; /* definite: the value never was and never will be there */
        c->sent--;
    }
}

static void note_slow(struct client *c, uint64_t took_us)
{
    struct torture *t = c->t;
    t->longest_op_us = MAX(t->longest_op_us, took_us);
    if (t->slow_us > 0 && took_us >= t->slow_us && t->slow_count < SLOW_MAX)
        t->slow[t->slow_count++] = (struct slow){c->began_us, took_us, client_place(c)};
}

/* With --rate: its next operation is begun by pace(). */
static void client_waits(struct client *c, uint64_t now)
{
    struct torture *t = c->t;
    pthread_mutex_lock(&t->lock);
    c->due_us = MAX(c->due_us + t->clients * 1000000 / t->rate, now);
    c->is_idle = true;
    pthread_mutex_unlock(&t->lock);
}

static void on_done(void *data, int code, struct hf_result *result)
{
    struct client *c = data;
    struct torture *t = c->t;
    uint64_t now = now_us();
    note_slow(c, now - c->began_us);
    if (c->is_reading)
        on_read(c, code, result);
    else
        on_write(c, code);
    hf_result_free(result);
    if (code == HF_OK) {
        t->longest_gap_us = MAX(t->longest_gap_us, now - t->last_good_us);
        t->last_good_us = now;
        t->buckets[MIN((now - t->began_us) / BUCKET_US, (uint64_t)BUCKETS_MAX - 1)]++;
    }
    if (t->rate > 0)
        client_waits(c, now);
    else if (is_told_to_end || now >= t->until_us || start_op(c) != HF_OK)
        client_ends(c);
}

/* Take an idle client that is due, or any idle one once time is over. */
static struct client *take_idle(struct torture *t, struct client *all, uint64_t *at, bool is_over)
{
    struct client *found = NULL;
    uint64_t now = now_us();
    pthread_mutex_lock(&t->lock);
    for (; *at < t->clients && found == NULL; (*at)++) {
        struct client *c = &all[*at];
        if (!c->is_idle || (!is_over && c->due_us > now))
            continue;
        c->is_idle = false;
        found = c;
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

/* For the next tick, or until a client has ended. */
static void wait_tick(struct torture *t)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += TICK_US * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&t->lock);
    if (t->active > 0)
        (void)pthread_cond_timedwait(&t->is_over, &t->lock, &until);
    pthread_mutex_unlock(&t->lock);
}

/* With --rate: begin what is due, until time is over and every client has ended. */
static void pace(struct torture *t, struct client *all)
{
    uint64_t left = t->clients;
    while (left > 0) {
        bool is_over = is_told_to_end || now_us() >= t->until_us;
        uint64_t at = 0;
        for (struct client *c; (c = take_idle(t, all, &at, is_over)) != NULL;) {
            if (!is_over && start_op(c) == HF_OK)
                continue;
            client_ends(c);
            left--;
        }
        wait_tick(t);
    }
}

static void print_figures(const struct torture *t)
{
    printf("{\"acked\":%" PRIu64 ",\"reads\":%" PRIu64 ",\"undetermined\":%" PRIu64
           ",\"refused\":%" PRIu64 ",\"wrong\":%" PRIu64 ",\"longest_gap_ms\":%" PRIu64
           ",\"longest_op_ms\":%" PRIu64 ",\"buckets\":[",
           t->acked, t->reads, t->undetermined, t->refused, t->wrong, t->longest_gap_us / 1000,
           t->longest_op_us / 1000);
    for (uint64_t i = 0; i < t->seconds * (1000000 / BUCKET_US); i++)
        printf("%s%" PRIu32, i > 0 ? "," : "", t->buckets[i]);
    printf("],\"slow\":[");
    for (uint32_t i = 0; i < t->slow_count; i++)
        printf("%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", i > 0 ? "," : "",
               t->slow[i].began_us / 1000, t->slow[i].took_us / 1000, t->slow[i].key);
    printf("]}\n");
}

static int run(struct torture *t)
{
    struct client *all = calloc(t->clients, sizeof *all);
    t->buckets = calloc(BUCKETS_MAX, sizeof *t->buckets);
    t->slow = calloc(SLOW_MAX, sizeof *t->slow);
    ASSERT(t->buckets != NULL && t->slow != NULL);
    t->out = fopen(t->out_path, "w");
    if (all == NULL || t->out == NULL) {
        fprintf(stderr, "cannot write '%s'\n", t->out_path);
        free(all);
        free(t->buckets);
        free(t->slow);
        return 2;
    }
    t->last_good_us = t->began_us = now_us();
    t->until_us = t->last_good_us + t->seconds * 1000000;
    t->active = t->clients;
    for (unsigned i = 0; i < t->clients; i++) {
        all[i] = (struct client){.t = t, .number = i, .is_idle = t->rate > 0};
        all[i].due_us = t->began_us + (t->rate > 0 ? i * 1000000 / t->rate : 0);
        rng_init(&all[i].rng, t->seed * CLIENTS_MAX + i);
    }
    for (unsigned i = 0; i < t->clients && t->rate == 0; i++) {
        if (start_op(&all[i]) != HF_OK)
            client_ends(&all[i]);
    }
    if (t->rate > 0)
        pace(t, all);
    pthread_mutex_lock(&t->lock);
    while (t->active > 0)
        pthread_cond_wait(&t->is_over, &t->lock);
    pthread_mutex_unlock(&t->lock);
    bool is_written = fclose(t->out) == 0;
    print_figures(t);
    free(t->buckets);
    free(t->slow);
    free(all);
    return t->wrong == 0 && is_written ? 0 : 1;
}

/* ---- verify --------------------------------------------------------------------- */

/* 0 fine, 1 a broken promise, -1 cannot tell. */
static int check_key(struct hf_client *hf, const char *key, uint64_t acked, uint64_t sent)
{
    struct hf_result *result = NULL;
    struct hf_call call;
    hf_call_init(&call);
    call.timeout_ms = 20000;
    int code = hf_get(hf, hf_str(key), &call, &result);
    uint64_t got = 0;
    int rv = 0;
    if (code == HF_OK) {
        struct hf_bytes v = result->items[0].value;
        if (text_parse_u64(text_trim(slice_of(v.data, v.len)), &got) != 0)
            got = UINT64_MAX;
    }
    if (code != HF_OK && code != HF_ERR_NOT_FOUND) {
        fprintf(stderr, "cannot read %s: %s\n", key, hf_code_name(code));
        rv = -1;
    } else if (got < acked || got > sent) {
        fprintf(stderr, "LOST: %s is %" PRIu64 ", acknowledged %" PRIu64 ", sent %" PRIu64 "\n",
                key, got, acked, sent);
        rv = 1;
    }
    hf_result_free(result);
    return rv;
}

static int verify(struct hf_client *hf, const char *path)
{
    FILE *in = fopen(path, "r");
    if (in == NULL) {
        fprintf(stderr, "cannot read '%s'\n", path);
        return 2;
    }
    char key[KEY_MAX];
    uint64_t acked, sent, keys = 0, writes = 0, lost = 0, unknown = 0;
    while (fscanf(in, "%63s %" SCNu64 " %" SCNu64, key, &acked, &sent) == 3) {
        int rv = check_key(hf, key, acked, sent);
        keys++;
        writes += acked;
        lost += rv > 0;
        unknown += rv < 0;
    }
    fclose(in);
    printf("{\"keys\":%" PRIu64 ",\"acked\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"unknown\":%" PRIu64
           "}\n",
           keys, writes, lost, unknown);
    return lost == 0 && unknown == 0 ? 0 : 1;
}

/* ---- hold ------------------------------------------------------------------------ */

struct hold {
    char want[KEY_MAX];
    pthread_mutex_t lock;
    pthread_cond_t is_over;
    unsigned active, right, wrong, none; /* under lock */
};

static void on_held(void *data, int code, struct hf_result *result)
{
    struct hold *hold = data;
    pthread_mutex_lock(&hold->lock);
    if (code == HF_OK) {
        struct hf_bytes v = result->items[0].value;
        bool is_right = slice_equal(slice_of(v.data, v.len), slice_str(hold->want));
        hold->right += is_right;
        hold->wrong += !is_right;
        if (!is_right)
            fprintf(stderr, "OLD VALUE: '%.*s', must be '%s'\n", (int)v.len, (const char *)v.data,
                    hold->want);
    } else {
        hold->wrong += code == HF_ERR_NOT_FOUND;
        hold->none += code != HF_ERR_NOT_FOUND;
    }
    if (--hold->active == 0)
        pthread_cond_signal(&hold->is_over);
    pthread_mutex_unlock(&hold->lock);
    hf_result_free(result);
}

static bool hold_open(const struct torture *t, const char *key, struct hf_client **ret_hf)
{
    struct hf_options options;
    struct hf_result *result = NULL;
    hf_options_init(&options);
    options.endpoints = t->endpoints;
    if (hf_open(&options, ret_hf) != HF_OK)
        return false;
    int code = hf_get(*ret_hf, hf_str(key), NULL, &result);
    hf_result_free(result);
    if (code != HF_OK)
        fprintf(stderr, "the first read: %s\n", hf_code_name(code));
    return code == HF_OK;
}

static int hold_read(const struct torture *t, struct hold *hold, struct hf_client **hf,
                     const char *key)
{
    struct hf_then then = {.callback = on_held, .data = hold};
    struct hf_call call;
    hf_call_init(&call);
    call.timeout_ms = (uint32_t)(t->timeout_us / 1000);
    hold->active = (unsigned)t->clients * HOLD_READS;
    for (unsigned i = 0; i < t->clients * HOLD_READS; i++) {
        int code = hf_get_async(hf[i % t->clients], hf_str(key), &call, &then);
        ASSERT(code == HF_OK);
    }
    printf("sent\n");
    fflush(stdout);
    pthread_mutex_lock(&hold->lock);
    while (hold->active > 0)
        pthread_cond_wait(&hold->is_over, &hold->lock);
    pthread_mutex_unlock(&hold->lock);
    printf("{\"right\":%u,\"wrong\":%u,\"none\":%u}\n", hold->right, hold->wrong, hold->none);
    return hold->wrong == 0 ? 0 : 1;
}

static int hold(const struct torture *t, const char *key)
{
    struct hf_client *hf[HOLD_CLIENTS_MAX] = {0};
    struct hold hold = {0};
    int rv = 0;
    pthread_mutex_init(&hold.lock, NULL);
    pthread_cond_init(&hold.is_over, NULL);
    for (unsigned i = 0; i < t->clients && rv == 0; i++)
        rv = hold_open(t, key, &hf[i]) ? 0 : 2;
    if (rv == 0) {
        printf("ready\n");
        fflush(stdout);
        rv = fgets(hold.want, sizeof hold.want, stdin) != NULL ? 0 : 2;
        hold.want[strcspn(hold.want, "\n")] = 0;
    }
    if (rv == 0)
        rv = hold_read(t, &hold, hf, key);
    for (unsigned i = 0; i < t->clients; i++)
        hf_close(hf[i]);
    return rv;
}

int main(int argc, char **argv)
{
    struct torture t = {.clients = 64, .seconds = 5, .timeout_us = 5000000, .seed = 1};
    const struct args_flag flags[] = {
        {"endpoints", 0, ARGS_TEXT, &t.endpoints, NULL, "LIST", "the cluster"},
        {"clients", 0, ARGS_U64, &t.clients, NULL, "N", "at a time"},
        {"seconds", 0, ARGS_U64, &t.seconds, NULL, "N", "how long"},
        {"reads", 0, ARGS_U64, &t.reads_percent, NULL, "PERCENT", "share of reads"},
        {"timeout", 0, ARGS_DURATION, &t.timeout_us, NULL, "TIME", "of an operation"},
        {"pad", 0, ARGS_SIZE, &t.pad, NULL, "SIZE", "of a value at least"},
        {"rate", 0, ARGS_U64, &t.rate, NULL, "N", "operations a second of all clients"},
        {"prefix", 0, ARGS_TEXT, &t.prefix, NULL, "P", "keys lie between those of bench with it"},
        {"keys", 0, ARGS_U64, &t.keys, NULL, "N", "of bench"},
        {"slow", 0, ARGS_DURATION, &t.slow_us, NULL, "TIME", "list what takes longer"},
        {"seed", 0, ARGS_U64, &t.seed, NULL, "N", "names the keys, too"},
        {"out", 0, ARGS_TEXT, &t.out_path, NULL, "FILE", "what was promised"},
    };
    const char *words[2];
    size_t count = 0;
    struct err err = {0};
    int rv = args_parse(flags, ARRAY_LEN(flags), argc - 1, (const char *const *)(argv + 1), words,
                        2, &count, &err);
    bool is_run = count == 1 && strcmp(words[0], "run") == 0 && t.out_path != NULL;
    bool is_verify = count == 2 && strcmp(words[0], "verify") == 0;
    bool is_hold = count == 2 && strcmp(words[0], "hold") == 0;
    if (rv != 0 || (!is_run && !is_verify && !is_hold) || t.clients < 1 ||
        t.clients > (is_hold ? HOLD_CLIENTS_MAX : CLIENTS_MAX) || t.pad >= PAD_MAX ||
        (t.prefix != NULL && strlen(t.prefix) > PREFIX_MAX) || t.keys > UINT32_MAX ||
        t.seconds > BUCKETS_MAX / (1000000 / BUCKET_US)) {
        fprintf(stderr, "usage: torture run --out FILE | verify FILE | hold KEY (%s)\n", err.msg);
        return 2;
    }
    if (is_hold)
        return hold(&t, words[1]);
    struct hf_options options;
    hf_options_init(&options);
    options.endpoints = t.endpoints;
    options.name = "torture";
    if (hf_open(&options, &t.hf) != HF_OK) {
        fprintf(stderr, "bad endpoints\n");
        return 2;
    }
    pthread_mutex_init(&t.lock, NULL);
    pthread_cond_init(&t.is_over, NULL);
    if (is_run)
        signal(SIGTERM, on_signal);
    rv = is_run ? run(&t) : verify(t.hf, words[1]);
    hf_close(t.hf);
    return rv;
}
