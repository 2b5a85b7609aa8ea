/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-sim — whole clusters in a simulated world, one seed a run.
 *
 *   holdfast-sim --seed 7 --verbose        one run, with the stores' logs
 *   holdfast-sim --seeds 1..2000 --jobs 2  many; the last line is "N passed, M failed"
 *   holdfast-sim --list tests/sim/seeds    the runs that once failed
 *
 * A run: bootstrap; clients and faults for a while; then the faults stop, everything
 * heals, and the cluster must become one again, with every acknowledged write, and
 * a linearizable history. Two runs of one seed must have the same hash.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/plant.h"
#include "sim/cluster.h"

enum {
    SETTLE_US = 60 * 1000 * 1000,
    DRAIN_US = 20 * 1000 * 1000,
    RECOVER_US = 5 * 1000 * 1000, /* a full disk is looked at again now and then */
    WRITES_FLOOR = 5,             /* a run with fewer is void: it has shown nothing */
    VOID_PERCENT_MAX = 5,         /* of all runs */
    LINE_MAX_LEN = 512,
    SLOW_SYNC_US_MAX = 500 * 1000,
    SLOW_PPM_MAX = 30 * 1000,
};

struct sim_args {
    uint64_t first;
    uint64_t last;
    uint32_t nodes; /* 0: drawn, 3 or 5 */
    uint32_t faults;
    uint64_t seconds;
    uint32_t jobs;
    const char *list; /* file of runs */
    bool is_verbose;
    bool is_twice;
};

/* What happened, of one run or summed over many: a test that does not bite shows. */
struct tally {
    uint64_t passed;
    uint64_t failed;
    uint64_t voids; /* of those passed */
    uint64_t done;
    uint64_t crashes;
    uint64_t snapshots;
    uint64_t fetches;
    uint64_t digests;
    uint64_t spoiled;
    uint64_t lost;
    uint64_t unknown;
};

struct outcome {
    bool passed;
    uint64_t hash;
    struct tally tally;
    uint64_t events;
    uint64_t virtual_us;
    char why[CLUSTER_WHY_MAX];
};

static uint32_t draw_faults(const struct sim_args *args, struct rng *rng)
{
    uint32_t faults = args->faults;
    for (uint32_t bit = 0; bit < FAULT_KINDS; bit++) {
        if (rng_chance(rng, 1, 3))
            faults &= ~BIT(bit); /* swarm: each run has its own subset */
    }
    return faults;
}

static void set_world(struct cluster *c)
{
    struct sim_options world;
    sim_options_swarm(&world, c->opt.seed);
    if (!(c->opt.faults & FAULT_DISK))
        world.disk = (struct sim_disk_options){.sync_us = 100};
    if (!(c->opt.faults & FAULT_NET))
        world.spike_ppm = world.reset_ppm = world.connect_error_ppm = 0;
    if (!(c->opt.faults & (FAULT_NET | FAULT_DISK)))
        world.fault_site_ppm = 0;
    if (!(c->opt.faults & FAULT_CLOCK))
        world.drift_ppm_max = 0;
    world.wall_skew_ms_max = 0;
    if (c->opt.faults & FAULT_KILL) {
        static const uint32_t percents[] = {0, 0, 15, 60};
        c->strike_percent = percents[rng_below(&c->rng, ARRAY_LEN(percents))];
    }
    if (c->opt.faults & FAULT_DISK) { /* as often as a run can bear: each ends a process */
        static const uint32_t often[] = {0, 20, 200, 2000};
        world.disk.sync_error_ppm = often[rng_below(&c->rng, ARRAY_LEN(often))];
        world.disk.read_error_ppm = often[rng_below(&c->rng, ARRAY_LEN(often))];
    }
    /* Trouble, but not so that no election can ever succeed: such a run shows nothing. */
    world.disk.slow_sync_us = MIN(world.disk.slow_sync_us, SLOW_SYNC_US_MAX);
    world.disk.slow_sync_ppm = MIN(world.disk.slow_sync_ppm, (uint32_t)SLOW_PPM_MAX);
    world.work_spike_ppm = MIN(world.work_spike_ppm, (uint32_t)SLOW_PPM_MAX);
    sim_set_options(c->sim, &world);
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        sim_disk_set_options(sim_node_disk(c->nodes[i].node), &world.disk);
}

static void run_phases(struct cluster *c, struct workload *w)
{
    uint64_t end = sim_now_us(c->sim) + c->opt.duration_us;
    uint64_t next = sim_now_us(c->sim) + 500000;
    set_world(c);
    while (sim_now_us(c->sim) < end) {
        if (!cluster_run_until(c, MIN(next, end)))
            return;
        if (sim_now_us(c->sim) >= next)
            next = nemesis_step(c);
    }
    nemesis_heal(c);
    workload_stop(w);
    uint64_t patience = sim_now_us(c->sim) + DRAIN_US;
    while (!workload_is_idle(w) && sim_now_us(c->sim) < patience) {
        if (!cluster_run_until(c, sim_now_us(c->sim) + 100000))
            return;
    }
    if (!workload_is_idle(w))
        cluster_fail(c, "a client was never answered");
    else if (!cluster_run_until(c, sim_now_us(c->sim) + RECOVER_US))
        return;
    else if (!cluster_settle(c, SETTLE_US)) /* before anything is written over */
        return;
    else if (!workload_final_ops(w))
        cluster_fail(c, "no service after the faults stopped");
    else
        cluster_settle(c, SETTLE_US);
}

static uint32_t draw_nodes(const struct sim_args *args, struct rng *rng)
{
    static const uint32_t sizes[] = {1, 3, 3, 3, 3, 3, 3, 5, 5, 5};
    uint32_t nodes = sizes[rng_below(rng, ARRAY_LEN(sizes))];
    return args->nodes != 0 ? args->nodes : nodes;
}

/* The verdict over what the clients saw. */
static void judge(struct cluster *c, struct history *h)
{
    if (!c->is_failed && !history_check(h, c->why, sizeof c->why))
        c->is_failed = true;
    if (!c->is_failed && !history_search(h, c->why, sizeof c->why))
        c->is_failed = true;
}

static struct tally sum_up(const struct cluster *c, const struct workload *w,
                           const struct history *h)
{
    struct tally t = {
        .passed = !c->is_failed,
        .failed = c->is_failed,
        .voids = !c->is_failed && workload_writes_done(w) < WRITES_FLOOR + c->opt.keys,
        .done = workload_done(w),
        .crashes = c->crashes,
        .snapshots = c->snapshots,
        .fetches = c->fetches,
        .digests = c->digests_compared,
        .spoiled = c->spoiled,
        .unknown = h->unknown,
    };
    for (uint32_t i = 0; i < c->opt.nodes; i++)
        t.lost += c->nodes[i].is_lost;
    return t;
}

static void run_seed(const struct sim_args *args, uint64_t seed, struct outcome *ret)
{
    static const uint32_t value_sizes[] = {300, 300, 3000, 3000, 1 << 16};
    static const uint32_t paces[] = {100, 500, 2000, 6000}; /* frantic to slow */
    struct rng rng;
    struct history history;
    struct cluster c;
    rng_init(&rng, seed);
    struct cluster_options opt = {
        .seed = seed,
        .nodes = draw_nodes(args, &rng),
        .processes = (uint32_t)rng_between(&rng, 2, 12),
        .keys = (uint32_t)rng_between(&rng, 1, 8),
        .duration_us = args->seconds * 1000000,
        .value_max = value_sizes[rng_below(&rng, ARRAY_LEN(value_sizes))],
        .pace_ms = paces[rng_below(&rng, ARRAY_LEN(paces))],
        .faults = draw_faults(args, &rng),
        .is_verbose = args->is_verbose,
    };
    history_init(&history);
    cluster_open(&c, &opt);
    struct workload *w = workload_new(&c, &history);
    if (!c.is_failed)
        run_phases(&c, w);
    judge(&c, &history);
    *ret = (struct outcome){
        .passed = !c.is_failed,
        .hash = sim_hash(c.sim),
        .tally = sum_up(&c, w, &history),
        .events = sim_events(c.sim),
        .virtual_us = sim_now_us(c.sim),
    };
    memcpy(ret->why, c.why, sizeof ret->why);
    cluster_close(&c);
    workload_free(w);
    history_fini(&history);
}

static struct tally run_and_report(const struct sim_args *args, uint64_t seed)
{
    struct outcome a;
    struct outcome b;
    run_seed(args, seed, &a);
    if (args->is_twice && a.passed) {
        run_seed(args, seed, &b);
        if (a.hash != b.hash) {
            a.passed = false;
            a.tally.passed = 0;
            a.tally.failed = 1;
            snprintf(a.why, sizeof a.why, "not deterministic: hash %016" PRIx64 " then %016" PRIx64,
                     a.hash, b.hash);
        }
    }
    const struct tally *t = &a.tally;
    printf("seed %" PRIu64 " hash %016" PRIx64 " %s ops %" PRIu64 " crashes %" PRIu64
           " snapshots %" PRIu64 " lost %" PRIu64 " events %" PRIu64 " virtual %.1f s\n",
           seed, a.hash,
           !a.passed  ? "FAILED"
           : t->voids ? "void"
                      : "ok",
           t->done, t->crashes, t->snapshots, t->lost, a.events, (double)a.virtual_us / 1e6);
    if (!a.passed)
        printf("  broken: %s\n  repeat: holdfast-sim --seed %" PRIu64 " --nodes %u --faults %u "
               "--seconds %" PRIu64 " --verbose\n",
               a.why, seed, args->nodes, args->faults, args->seconds);
    fflush(stdout);
    return a.tally;
}

static void tally_add(struct tally *sum, const struct tally *t)
{
    sum->passed += t->passed;
    sum->failed += t->failed;
    sum->voids += t->voids;
    sum->done += t->done;
    sum->crashes += t->crashes;
    sum->snapshots += t->snapshots;
    sum->fetches += t->fetches;
    sum->digests += t->digests;
    sum->spoiled += t->spoiled;
    sum->lost += t->lost;
    sum->unknown += t->unknown;
}

/* Each seed has a process of its own, so that one that crashes fails alone. It writes
 * its tally into the pipe that all share. */
static void run_share(const struct sim_args *args, uint64_t first, int out)
{
    for (uint64_t seed = first; seed <= args->last; seed += args->jobs) {
        pid_t pid = fork();
        if (pid == 0) {
            struct tally t = run_and_report(args, seed);
            ssize_t n = write(out, &t, sizeof t);
            exit(n == (ssize_t)sizeof t ? 0 : 2);
        }
        int status = 0;
        waitpid(pid, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            printf("seed %" PRIu64
                   " hash - CRASHED (status %d)\n  repeat: holdfast-sim --seed %" PRIu64
                   " --nodes %u --faults %u --seconds %" PRIu64 " --verbose\n",
                   seed, status, seed, args->nodes, args->faults, args->seconds);
        fflush(stdout);
    }
}

static struct tally run_all(const struct sim_args *args)
{
    struct tally sum = {0};
    int fds[2];
    if (args->first == args->last)
        return run_and_report(args, args->first);
    if (pipe(fds) != 0)
        return (struct tally){.failed = 1};
    for (uint32_t j = 0; j < args->jobs; j++) {
        if (fork() == 0) {
            close(fds[0]);
            run_share(args, args->first + j, fds[1]);
            _exit(0);
        }
    }
    close(fds[1]);
    struct tally t;
    while (read(fds[0], &t, sizeof t) == (ssize_t)sizeof t)
        tally_add(&sum, &t);
    close(fds[0]);
    while (wait(NULL) > 0)
        continue;
    sum.failed = args->last - args->first + 1 - sum.passed; /* crashed ones too */
    return sum;
}

static const struct {
    const char *name;
    uint32_t bit;
} fault_names[] = {
    {"all", FAULT_ALL},     {"none", 0},
    {"kill", FAULT_KILL},   {"power", FAULT_POWER},
    {"pause", FAULT_PAUSE}, {"partition", FAULT_PARTITION},
    {"net", FAULT_NET},     {"disk", FAULT_DISK},
    {"clock", FAULT_CLOCK}, {"space", FAULT_SPACE},
    {"hours", FAULT_HOURS}, {"admin", FAULT_ADMIN},
    {"rot", FAULT_ROT},
};

static bool parse_faults(const char *text, uint32_t *ret)
{
    *ret = 0;
    while (*text != 0) {
        size_t len = strcspn(text, ",");
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(fault_names); i++) {
            if (strlen(fault_names[i].name) == len && memcmp(fault_names[i].name, text, len) == 0) {
                *ret |= fault_names[i].bit;
                found = true;
            }
        }
        if (!found) {
            char *end = NULL;
            *ret |= (uint32_t)strtoul(text, &end, 10);
            if (end != text + len || len == 0)
                return false;
        }
        text += len + (text[len] == ',');
    }
    return true;
}

static bool parse_seeds(const char *text, struct sim_args *args)
{
    char *end = NULL;
    args->first = args->last = strtoull(text, &end, 10);
    if (end[0] == '.' && end[1] == '.')
        args->last = strtoull(end + 2, &end, 10);
    return *end == 0 && args->first <= args->last;
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

static int usage(FILE *out)
{
    fprintf(out, "usage: holdfast-sim [--seed S | --seeds A..B] [--nodes N] [--seconds S]\n"
                 "                    [--faults all|none|kill,power,pause,partition,net,disk,"
                 "clock,space,admin,rot,hours]\n"
                 "                    [--jobs N] [--twice] [--verbose]\n"
                 "       holdfast-sim --list FILE\n"
                 "       holdfast-sim --plant NAME … | --plants   (in a planted build only)\n"
                 "Runs whole clusters in a simulated world; --twice runs each seed twice and\n"
                 "compares the hashes. Exit status 0 only if no seed failed.\n");
    return out == stdout ? 0 : 2;
}

static int parse_args(int argc, char **argv, struct sim_args *args)
{
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool ok = true;
        if (strcmp(flag, "--help") == 0)
            return 1;
        if (strcmp(flag, "--verbose") == 0) {
            args->is_verbose = true;
            continue;
        }
        if (strcmp(flag, "--twice") == 0) {
            args->is_twice = true;
            continue;
        }
        if (value == NULL)
            return 2;
        i++;
        if (strcmp(flag, "--seed") == 0 || strcmp(flag, "--seeds") == 0)
            ok = parse_seeds(value, args);
        else if (strcmp(flag, "--nodes") == 0)
            args->nodes = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--seconds") == 0)
            args->seconds = strtoull(value, NULL, 10);
        else if (strcmp(flag, "--jobs") == 0)
            args->jobs = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--faults") == 0)
            ok = parse_faults(value, &args->faults);
        else if (strcmp(flag, "--list") == 0)
            args->list = value;
        else if (strcmp(flag, "--plant") == 0)
            ok = choose_plant(value);
        else
            ok = false;
        if (!ok)
            return 2;
    }
    return args->nodes <= CLUSTER_NODES_MAX && args->jobs >= 1 && args->jobs <= 64 &&
                   args->seconds > 0
               ? 0
               : 2;
}

/* A line of the list is the arguments of one run; what follows # is for people. */
static bool run_line(char *line, struct tally *sum)
{
    struct sim_args args = {.first = 1, .last = 1, .faults = FAULT_ALL, .seconds = 20, .jobs = 1};
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
    struct tally t = run_all(&args);
    tally_add(sum, &t);
    return true;
}

static int run_list(const char *path, struct tally *sum)
{
    char line[LINE_MAX_LEN];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "holdfast-sim: cannot open %s\n", path);
        return 2;
    }
    int rv = 0;
    while (rv == 0 && fgets(line, sizeof line, file) != NULL)
        rv = run_line(line, sum) ? 0 : usage(stderr);
    fclose(file);
    return rv;
}

int main(int argc, char **argv)
{
    struct sim_args args = {.first = 1, .last = 1, .faults = FAULT_ALL, .seconds = 20, .jobs = 1};
    struct tally t = {0};
    if (argc == 2 && strcmp(argv[1], "--plants") == 0)
        return list_plants();
    int rv = parse_args(argc, argv, &args);
    if (rv != 0)
        return usage(rv == 1 ? stdout : stderr);
    if (args.list == NULL)
        t = run_all(&args);
    else if (run_list(args.list, &t) != 0)
        return 2;
    uint64_t all = t.passed + t.failed;
    bool is_void = t.voids > 1 && t.voids * 100 > all * VOID_PERCENT_MAX;
    printf("requests done %" PRIu64 ", crashes %" PRIu64 ", snapshots taken in %" PRIu64
           ", reads of old log %" PRIu64 ", disks spoiled %" PRIu64 ", found out %" PRIu64
           ", searches given up %" PRIu64 ", digests compared %" PRIu64 ", void runs %" PRIu64
           "%s\n",
           t.done, t.crashes, t.snapshots, t.fetches, t.spoiled, t.lost, t.unknown, t.digests,
           t.voids, is_void ? ": TOO MANY" : "");
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", t.passed, t.failed);
    return t.failed == 0 && !is_void && all > 0 ? 0 : 1;
}
