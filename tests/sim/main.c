/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-sim — whole clusters in a simulated world, one seed a run.
 *
 *   holdfast-sim --seed 7 --verbose        one run, with the stores' logs
 *   holdfast-sim --seeds 1..5000 --minutes 1 --jobs 2 --state FILE
 *                                          many; the last line is "N passed, M failed"
 *   holdfast-sim --seed 7 --shrink         look for a smaller run that fails as well
 *   holdfast-sim --list tests/sim/seeds    the runs that once failed
 *
 * docs/SIMULATION.md is the manual.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/plant.h"
#include "sim/batch.h"
#include "sim/scenario.h"
#include "sim/shrink.h"

enum {
    VOID_PERCENT_MAX = 5, /* of all runs */
    LINE_MAX_LEN = 512,
    SECONDS_DEFAULT = 60,
    SECONDS_MAX = 24 * 3600,
};

struct sim_args {
    struct batch_options batch;
    const char *list; /* file of runs */
    bool wants_shrink;
    bool wants_cover; /* something expected that never happened fails the command */
};

static const struct sim_args defaults = {
    .batch = {.first = 1,
              .last = 1,
              .jobs = 1,
              .run = {.faults = FAULT_ALL, .duration_us = SECONDS_DEFAULT * UINT64_C(1000000)}},
};

static int usage(FILE *out)
{
    fprintf(
        out,
        "usage: holdfast-sim [--seed S | --seeds A..B] [options]\n"
        "       holdfast-sim --list FILE\n"
        "Runs whole clusters in a simulated world, a seed a run, and checks all that they did.\n"
        "\n"
        "  --minutes M | --seconds S   of trouble in each run, virtual; 1 minute\n"
        "  --nodes N           1 to 9; drawn\n"
        "  --clients N         1 to 64; drawn\n"
        "  --keys N            registers, 1 to 16; drawn\n"
        "  --faults LIST       all, none, or some of kill,power,pause,partition,net,disk,\n"
        "                      clock,space,admin,rot,hours (hours is never part of all);\n"
        "                      each run takes a random subset\n"
        "  --exact             each run takes all of them\n"
        "  --workload NAME     see below; drawn\n"
        "  --timeout MS        of a client's request; 3000. From 10000 on `undetermined` is "
        "judged\n"
        "  --jobs N            runs at once\n"
        "  --state FILE        what is done is kept there; the same command goes on with it\n"
        "  --fail-fast         no new seed after the first that fails\n"
        "  --twice             each seed twice; the hashes must be the same\n"
        "  --cover             fail if something expected never happened in all these seeds\n"
        "  --quiet             print failures, void runs and the summary only\n"
        "  --progress          a progress line on stderr, though that is no terminal\n"
        "with one seed:\n"
        "  --verbose           every event that matters and the stores' logs on stdout\n"
        "  --trace FILE        the same into a file\n"
        "  --shrink            look for a smaller run that breaks the same rule\n"
        "in a planted build (cmake --preset planted):\n"
        "  --plant NAME        with this bug; --plants lists them\n"
        "workloads:\n");
    for (size_t i = 0; mix_at(i) != NULL; i++)
        fprintf(out, "  %-10s %s\n", mix_at(i)->name, mix_at(i)->text);
    fprintf(out, "Exit status 0 only if no seed failed; 2: bad usage.\n");
    return out == stdout ? 0 : 2;
}

#ifdef HOLDFAST_PLANTED
static bool choose_plant(const char *name)
{
    return plant_choose(name) == 0;
}

static int list_plants(void)
{
    for (unsigned i = 0; plant_name(i) != NULL; i++)
        printf("%s\t%s\t%s\n", plant_name(i), plant_harness(i), plant_text(i));
    return 0;
}
#else
static bool choose_plant(const char *name)
{
    fprintf(stderr, "holdfast-sim: no '%s' in this build: cmake --preset planted\n", name);
    return false;
}

static int list_plants(void)
{
    fprintf(stderr, "holdfast-sim: no bugs in this build: cmake --preset planted\n");
    return 2;
}
#endif

/* ---- arguments -------------------------------------------------------------------------- */

static bool parse_number(const char *text, uint64_t lo, uint64_t hi, uint64_t *ret)
{
    char *end = NULL;
    errno = 0;
    if (text[0] < '0' || text[0] > '9')
        return false;
    *ret = strtoull(text, &end, 10);
    return errno == 0 && *end == 0 && *ret >= lo && *ret <= hi;
}

static bool parse_u32(const char *text, uint64_t lo, uint64_t hi, uint32_t *ret)
{
    uint64_t value;
    if (!parse_number(text, lo, hi, &value))
        return false;
    *ret = (uint32_t)value;
    return true;
}

static bool parse_seeds(const char *text, struct batch_options *b)
{
    char first[32];
    const char *dots = strstr(text, "..");
    size_t len = dots == NULL ? strlen(text) : (size_t)(dots - text);
    if (len >= sizeof first)
        return false;
    memcpy(first, text, len);
    first[len] = 0;
    if (!parse_number(first, 0, UINT64_MAX - 1, &b->first))
        return false;
    b->last = b->first;
    return dots == NULL || (parse_number(dots + 2, b->first, UINT64_MAX - 1, &b->last) &&
                            b->last - b->first < 50 * 1000 * 1000);
}

static bool parse_time(const char *text, uint64_t unit_s, uint64_t *ret_us)
{
    uint64_t value;
    if (!parse_number(text, 1, SECONDS_MAX / unit_s, &value))
        return false;
    *ret_us = value * unit_s * 1000000;
    return true;
}

/* A flag without a value. False: it is none. */
static bool take_switch(const char *flag, struct sim_args *args)
{
    const struct {
        const char *name;
        bool *to;
    } switches[] = {
        {"--verbose", &args->batch.run.is_verbose}, {"--twice", &args->batch.is_twice},
        {"--exact", &args->batch.run.is_exact},     {"--fail-fast", &args->batch.is_fail_fast},
        {"--quiet", &args->batch.is_quiet},         {"--progress", &args->batch.has_progress},
        {"--shrink", &args->wants_shrink},          {"--cover", &args->wants_cover},
    };
    for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
        if (strcmp(flag, switches[i].name) == 0) {
            *switches[i].to = true;
            return true;
        }
    }
    return false;
}

static bool take_value(const char *flag, const char *value, struct sim_args *args)
{
    struct batch_options *b = &args->batch;
    struct run_options *r = &b->run;
    if (strcmp(flag, "--seed") == 0 || strcmp(flag, "--seeds") == 0)
        return parse_seeds(value, b);
    if (strcmp(flag, "--minutes") == 0)
        return parse_time(value, 60, &r->duration_us);
    if (strcmp(flag, "--seconds") == 0)
        return parse_time(value, 1, &r->duration_us);
    if (strcmp(flag, "--nodes") == 0)
        return parse_u32(value, 1, CLUSTER_NODES_MAX, &r->nodes);
    if (strcmp(flag, "--clients") == 0)
        return parse_u32(value, 1, 64, &r->clients);
    if (strcmp(flag, "--keys") == 0)
        return parse_u32(value, 1, KEYS_OF_CLASS_MAX, &r->keys);
    if (strcmp(flag, "--timeout") == 0)
        return parse_u32(value, 100, 15000, &r->timeout_ms);
    if (strcmp(flag, "--jobs") == 0)
        return parse_u32(value, 1, 64, &b->jobs);
    if (strcmp(flag, "--faults") == 0)
        return faults_parse(value, &r->faults);
    if (strcmp(flag, "--workload") == 0)
        return (r->mix = mix_by_name(value)) != NULL;
    if (strcmp(flag, "--trace") == 0)
        return (r->trace_path = value) != NULL;
    if (strcmp(flag, "--state") == 0)
        return (b->state = value) != NULL;
    if (strcmp(flag, "--plant") == 0)
        return choose_plant(value);
    if (strcmp(flag, "--list") == 0)
        return (args->list = value) != NULL;
    fprintf(stderr, "holdfast-sim: no such option: %s\n", flag);
    return false;
}

/* 0; 1: --help; 2: not understood, and said why. */
static int parse_args(int argc, char **argv, struct sim_args *args)
{
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i];
        if (strcmp(flag, "--help") == 0)
            return 1;
        if (take_switch(flag, args))
            continue;
        if (i + 1 == argc) {
            fprintf(stderr, "holdfast-sim: %s: no such option, or its value is missing\n", flag);
            return 2;
        }
        if (!take_value(flag, argv[++i], args)) {
            fprintf(stderr, "holdfast-sim: %s %s: not a value that it takes\n", flag, argv[i]);
            return 2;
        }
    }
    bool is_one = args->batch.first == args->batch.last;
    if ((args->wants_shrink || args->batch.run.trace_path != NULL) && !is_one) {
        fprintf(stderr, "holdfast-sim: --shrink and --trace are for one seed\n");
        return 2;
    }
    return 0;
}

/* ---- a list of runs ------------------------------------------------------------------------ */

/* A line is the arguments of one run; what follows # is for people. */
static bool run_line(char *line, const struct sim_args *outer, struct tally *sum)
{
    struct sim_args args = defaults;
    char *argv[32] = {line};
    int argc = 1;
    line[strcspn(line, "#\n")] = 0;
    for (char *at = line + strspn(line, " "); *at != 0 && argc < 31; at += strspn(at, " ")) {
        argv[argc++] = at;
        at += strcspn(at, " ");
        if (*at != 0)
            *at++ = 0;
    }
    if (argc == 1)
        return true;
    if (parse_args(argc, argv, &args) != 0)
        return false;
    args.batch.is_quiet = outer->batch.is_quiet;
    args.batch.jobs = outer->batch.jobs;
    return batch_run(&args.batch, sum) == 0;
}

static int run_list(const struct sim_args *args, struct tally *sum)
{
    char line[LINE_MAX_LEN];
    FILE *file = fopen(args->list, "r");
    if (file == NULL) {
        fprintf(stderr, "holdfast-sim: cannot open %s\n", args->list);
        return 2;
    }
    setvbuf(file, NULL, _IONBF, 0); /* children that end would set back what they share */
    int rv = 0;
    while (rv == 0 && fgets(line, sizeof line, file) != NULL)
        rv = run_line(line, args, sum) ? 0 : 2;
    fclose(file);
    return rv;
}

/* ---- the end --------------------------------------------------------------------------------- */

static double cpu_seconds(void)
{
    struct rusage r;
    getrusage(RUSAGE_CHILDREN, &r);
    return (double)r.ru_utime.tv_sec + (double)r.ru_utime.tv_usec / 1e6 +
           (double)r.ru_stime.tv_sec + (double)r.ru_stime.tv_usec / 1e6;
}

static int report(const struct sim_args *args, const struct tally *t)
{
    uint64_t all = t->passed + t->failed;
    bool is_void = t->voids > 1 && t->voids * 100 > all * VOID_PERCENT_MAX;
    bool is_many = all > 1;
    uint32_t never = 0;
    if (is_many) {
        printf("what was met:\n");
        never = cover_print(&t->cover, stdout);
    }
    double cpu = cpu_seconds();
    printf("requests done %" PRIu64 ", crashes %" PRIu64 ", disks spoiled %" PRIu64
           ", found out %" PRIu64 ", searches given up %" PRIu64 ", void runs %" PRIu64 "%s\n",
           t->requests, t->crashes, t->spoiled, t->lost, t->unknown, t->voids,
           is_void ? ": TOO MANY" : "");
    printf("virtual time %.0f s in %.0f s of one core: %.0f times as fast\n",
           (double)t->virtual_us / 1e6, cpu, cpu > 0 ? (double)t->virtual_us / 1e6 / cpu : 0);
    if (args->wants_cover && never > 0)
        printf("not everything was met\n");
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", t->passed, t->failed);
    bool is_good = t->failed == 0 && !is_void && all > 0 && !(args->wants_cover && never > 0);
    return is_good ? 0 : 1;
}

/* Actions count themselves; hours are never drawn, only asked for. */
static void expect_actions(struct cover *cover)
{
    size_t count;
    const struct action *actions = scenario_actions(&count);
    for (size_t i = 0; i < count; i++) {
        char name[COVER_NAME_MAX];
        snprintf(name, sizeof name, "did %s", actions[i].name);
        if (actions[i].fault != FAULT_HOURS)
            cover_expect(cover, name);
    }
}

static int run(const struct sim_args *args)
{
    struct tally *sum = calloc(1, sizeof *sum);
    ASSERT(sum != NULL);
    cover_init(&sum->cover);
    expect_actions(&sum->cover);
    int rv = args->list != NULL ? run_list(args, sum) : batch_run(&args->batch, sum);
    if (rv == 0)
        rv = report(args, sum);
    free(sum);
    return rv;
}

int main(int argc, char **argv)
{
    struct sim_args args = defaults;
    args.batch.has_progress = isatty(STDERR_FILENO) != 0;
    if (argc == 2 && strcmp(argv[1], "--plants") == 0)
        return list_plants();
    int rv = parse_args(argc, argv, &args);
    if (rv != 0)
        return usage(rv == 1 ? stdout : stderr);
    args.batch.run.seed = args.batch.first;
    if (args.wants_shrink)
        return shrink(&args.batch.run) ? 1 : 0;
    return run(&args);
}
