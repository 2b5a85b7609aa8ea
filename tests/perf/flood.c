/* SPDX-License-Identifier: Apache-2.0
 *
 * flood — many clients ask for ten times what a cluster can do: what is left of it?
 *
 *   flood HOST:PORT,… [--handles N] [--seconds N] [--times N] [--timeout-ms N] [--reads]
 *         [--pid PID] [--keep-min PERCENT]
 *
 * Three rounds through libholdfast, each handle with a connection and a loop of its own:
 *   capacity   every handle has some operations in flight and begins one for each that ends
 *   flood      operations come evenly, `times` as many a second as were done before, whatever
 *              becomes of those under way; each has a deadline of timeout-ms
 *   after      as the first: what the flood has left behind
 * Told are what was done a second, how the others ended, how many requests were sent for it and
 * how many of them a store refused, how many heard of it only after their deadline (and LATE_MS),
 * and, with the leader's --pid, what each done operation cost of its CPU. Cores that the clients
 * share with the stores are lost to these: flooded.py gives the stores a share that leaves the
 * clients theirs. With --keep-min this fails when less than that share of the capacity before
 * was done in the flood, when fewer came than that share of what was to come,
 * when one heard late, or when more than one in a hundred did not hear whether it was done.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/args.h"
#include "base/base.h"
#include "holdfast.h"

enum {
    HANDLES_MAX = 256,
    IN_FLIGHT = 64, /* of a handle, in a closed loop */
    KEYS = 100000,
    VALUE = 100,
    LATE_MS = 100,
    STEP_MS = 1,
    PATIENT_MS = 30000, /* deadline in a closed loop: it tells what can be done, not how fast */
    CODES = 32,
};

struct flood;

struct handle {
    struct flood *flood;
    struct hf_client *client;
    uint64_t seed;
};

struct op {
    struct handle *handle;
    uint64_t began_us;
};

struct flood {
    const char *endpoints;
    uint64_t count, seconds, times, timeout_ms, pid, keep_min;
    double came;         /* operations that ended in the flood, a second … */
    double undetermined; /* … and those of them of which nobody knows what came of them */
    bool reads;
    struct handle handles[HANDLES_MAX];
    atomic_bool is_closed_loop; /* who ends begins anew */
    atomic_uint_fast64_t under_way;
    atomic_uint_fast64_t by_code[CODES];
    atomic_uint_fast64_t late;
    atomic_uint_fast64_t max_us;
    struct hf_client_stats before;
};

static struct flood flood;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* CPU of the leader so far, in microseconds; 0: nobody asked. */
static uint64_t leader_cpu_us(void)
{
    char path[64];
    unsigned long user = 0, sys = 0;
    if (flood.pid == 0)
        return 0;
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/stat", flood.pid);
    FILE *file = fopen(path, "r");
    bool is_read = file != NULL &&
                   fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                          &user, &sys) == 2;
    if (file != NULL)
        fclose(file);
    if (!is_read) {
        fprintf(stderr, "flood: no process %" PRIu64 "\n", flood.pid);
        exit(1);
    }
    return (user + sys) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

static void begin(struct handle *h, struct op *op);

static void on_done(void *data, int code, struct hf_result *result)
{
    struct op *op = data;
    uint64_t took_us = now_us() - op->began_us;
    hf_result_free(result);
    code = code == HF_ERR_NOT_FOUND ? HF_OK : code;
    atomic_fetch_add(&flood.by_code[MIN(-code, CODES - 1)], 1);
    bool is_closed_loop = atomic_load(&flood.is_closed_loop);
    if (!is_closed_loop && took_us > (flood.timeout_ms + LATE_MS) * 1000)
        atomic_fetch_add(&flood.late, 1);
    if (took_us > atomic_load(&flood.max_us))
        atomic_store(&flood.max_us, took_us);
    if (is_closed_loop) {
        begin(op->handle, op);
        return;
    }
    free(op);
    atomic_fetch_sub(&flood.under_way, 1);
}

static uint64_t draw(struct handle *h)
{
    h->seed = h->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return h->seed >> 33;
}

/* `op` is begun, or counted as what it was refused for. */
static void begin(struct handle *h, struct op *op)
{
    static const uint8_t value[VALUE];
    char key[32];
    struct hf_call call;
    struct hf_then then = {.callback = on_done, .data = op};
    hf_call_init(&call);
    bool is_patient = atomic_load(&flood.is_closed_loop);
    call.timeout_ms = is_patient ? PATIENT_MS : (uint32_t)flood.timeout_ms;
    snprintf(key, sizeof key, "flood:%06u", (unsigned)(draw(h) % KEYS));
    op->handle = h;
    op->began_us = now_us();
    int rv = flood.reads
                 ? hf_get_async(h->client, hf_str(key), &call, &then)
                 : hf_put_async(h->client, hf_str(key), hf_bytes(value, VALUE), NULL, &call, &then);
    if (rv == HF_OK)
        return;
    atomic_fetch_add(&flood.by_code[MIN(-rv, CODES - 1)], 1);
    free(op);
    atomic_fetch_sub(&flood.under_way, 1);
}

static void begin_new(struct handle *h)
{
    struct op *op = malloc(sizeof *op);
    if (op == NULL)
        abort();
    atomic_fetch_add(&flood.under_way, 1);
    begin(h, op);
}

/* The pace of an open loop; nothing is waited for by it. */
static void pass_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

/* Of all handles together. */
static struct hf_client_stats stats_now(void)
{
    struct hf_client_stats sum = {0};
    for (uint64_t i = 0; i < flood.count; i++) {
        struct hf_client_stats one = {.size = sizeof one};
        hf_client_stats(flood.handles[i].client, &one);
        sum.sendings += one.sendings;
        sum.pushed_back += one.pushed_back;
        sum.in_flight += one.in_flight;
    }
    return sum;
}

static void forget_counts(void)
{
    flood.before = stats_now();
    for (int i = 0; i < CODES; i++)
        atomic_store(&flood.by_code[i], 0);
    atomic_store(&flood.late, 0);
    atomic_store(&flood.max_us, 0);
}

static double ended(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < CODES; i++)
        sum += atomic_load(&flood.by_code[i]);
    return (double)sum;
}

/* What was done a second in the round that ends here. */
static double tell(const char *what, uint64_t began_us, uint64_t cpu_us)
{
    double seconds = (double)(now_us() - began_us) / 1e6;
    uint64_t done = atomic_load(&flood.by_code[0]);
    printf("%-9s %9.0f done/s", what, (double)done / seconds);
    if (flood.pid != 0)
        printf(", %6.2f us of the leader each, its CPU %3.0f %%",
               (double)(leader_cpu_us() - cpu_us) / (double)MAX(done, UINT64_C(1)),
               (double)(leader_cpu_us() - cpu_us) / seconds / 1e4);
    for (int i = 1; i < CODES; i++) {
        uint64_t n = atomic_load(&flood.by_code[i]);
        if (n > 0)
            printf(", %s %.0f/s", hf_code_name(-i), (double)n / seconds);
    }
    struct hf_client_stats now = stats_now();
    printf(", sent %.0f/s, pushed back %.0f/s, in flight %" PRIu64,
           (double)(now.sendings - flood.before.sendings) / seconds,
           (double)(now.pushed_back - flood.before.pushed_back) / seconds, (uint64_t)now.in_flight);
    printf(", slowest %.1f ms, late %" PRIu64 "\n", (double)atomic_load(&flood.max_us) / 1e3,
           (uint64_t)atomic_load(&flood.late));
    fflush(stdout);
    return (double)done / seconds;
}

static void wait_for_all(void)
{
    atomic_store(&flood.is_closed_loop, false);
    while (atomic_load(&flood.under_way) > 0)
        pass_ms(1);
}

static double run_closed(const char *what)
{
    atomic_store(&flood.is_closed_loop, true);
    for (uint64_t i = 0; i < flood.count; i++)
        for (int k = 0; k < IN_FLIGHT; k++)
            begin_new(&flood.handles[i]);
    pass_ms(1000);
    forget_counts();
    uint64_t began_us = now_us(), cpu_us = leader_cpu_us();
    pass_ms((int)flood.seconds * 1000);
    double rate = tell(what, began_us, cpu_us);
    wait_for_all();
    return rate;
}

/* `rate` a second come, for a second that does not count and `seconds` that do. */
static double run_flood(double rate)
{
    uint64_t start_us = now_us(), began_us = start_us, cpu_us = 0, sent = 0, next = 0;
    bool counts = false;
    for (uint64_t now = start_us; now < start_us + (flood.seconds + 1) * 1000000; now = now_us()) {
        if (!counts && now >= start_us + 1000000) {
            counts = true;
            forget_counts();
            began_us = now;
            cpu_us = leader_cpu_us();
            sent = (uint64_t)((double)(now - start_us) / 1e6 * rate);
        }
        uint64_t due = (uint64_t)((double)(now - start_us) / 1e6 * rate);
        for (; sent < due; sent++)
            begin_new(&flood.handles[next++ % flood.count]);
        pass_ms(STEP_MS);
    }
    double done = tell("flood", began_us, cpu_us);
    double seconds = (double)(now_us() - began_us) / 1e6;
    flood.came = ended() / seconds;
    flood.undetermined = (double)atomic_load(&flood.by_code[-HF_ERR_UNDETERMINED]) / seconds;
    wait_for_all();
    return done;
}

static void open_all(void)
{
    for (uint64_t i = 0; i < flood.count; i++) {
        struct hf_options options;
        hf_options_init(&options);
        options.endpoints = flood.endpoints;
        options.name = "flood";
        flood.handles[i] = (struct handle){.flood = &flood, .seed = i + 1};
        int rv = hf_open(&options, &flood.handles[i].client);
        if (rv == HF_OK && i == 0)
            rv = hf_put(flood.handles[0].client, hf_str("flood:0"), hf_str("x"), NULL, NULL, NULL);
        if (rv != HF_OK) {
            fprintf(stderr, "flood: %s: %s\n", flood.endpoints, hf_strerror(rv));
            exit(1);
        }
    }
}

/* Is it as --keep-min wants it? If not, it is told why. */
static bool is_fine(double capacity, double kept, uint64_t late)
{
    double least = (double)flood.keep_min / 100;
    const char *why = NULL;
    if (flood.came < capacity * (double)flood.times * least)
        why = "the clients could not ask for as much: give them more CPU, or the stores less";
    else if (kept < capacity * least)
        why = "less was done than before it";
    else if (late > 0)
        why = "some heard late";
    else if (flood.undetermined > flood.came / 100)
        why = "too many did not hear whether it was done";
    if (flood.keep_min > 0 && why != NULL)
        fprintf(stderr, "flood: %s\n", why);
    return flood.keep_min == 0 || why == NULL;
}

int main(int argc, char **argv)
{
    const struct args_flag flags[] = {
        {"handles", 0, ARGS_U64, &flood.count, NULL, "N", "clients"},
        {"seconds", 0, ARGS_U64, &flood.seconds, NULL, "N", "of each round"},
        {"times", 0, ARGS_U64, &flood.times, NULL, "N", "the capacity in the flood"},
        {"timeout-ms", 0, ARGS_U64, &flood.timeout_ms, NULL, "N", "deadline of an operation"},
        {"pid", 0, ARGS_U64, &flood.pid, NULL, "PID", "of the leader"},
        {"reads", 0, ARGS_SWITCH, &flood.reads, NULL, NULL, "gets, not puts"},
        {"keep-min", 0, ARGS_U64, &flood.keep_min, NULL, "PERCENT", "fail below that"},
    };
    size_t count = 0;
    flood.count = 16;
    flood.seconds = 5;
    flood.times = 10;
    flood.timeout_ms = 1000;
    if (args_parse(flags, ARRAY_LEN(flags), argc - 1, (const char *const *)(argv + 1),
                   &flood.endpoints, 1, &count, NULL) != 0 ||
        count != 1 || flood.count < 1 || flood.count > HANDLES_MAX || flood.seconds < 1 ||
        flood.seconds > 600 || flood.times < 1 || flood.times > 100 || flood.timeout_ms < 1) {
        fprintf(stderr, "usage: flood HOST:PORT,… [--handles N] [--seconds N] [--times N] "
                        "[--timeout-ms N] [--reads] [--pid PID] [--keep-min PERCENT]\n");
        return 2;
    }
    open_all();
    double before = run_closed("capacity");
    double kept = run_flood(before * (double)flood.times);
    uint64_t late = atomic_load(&flood.late);
    double after = run_closed("after");
    printf("kept %.0f %% of capacity before, %.0f %% of that after, asked for %.1f times that "
           "before\n",
           kept * 100 / before, kept * 100 / after, flood.came / before);
    for (uint64_t i = 0; i < flood.count; i++)
        hf_close(flood.handles[i].client);
    return is_fine(before, kept, late) ? 0 : 1;
}
