/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-sim — whole clusters in a simulated world, one seed a run.
 *
 *   holdfast-sim --seed 7 --verbose        one run, with the stores' logs
 *   holdfast-sim --seeds 1..2000 --jobs 2  many; the last line is "N passed, M failed"
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

#include "sim/cluster.h"

enum {
    SETTLE_US = 60 * 1000 * 1000,
    DRAIN_US = 20 * 1000 * 1000,
    RECOVER_US = 5 * 1000 * 1000, /* a full disk is looked at again now and then */
};

struct sim_args {
    uint64_t first;
    uint64_t last;
    uint32_t nodes; /* 0: drawn, 3 or 5 */
    uint32_t faults;
    uint64_t seconds;
    uint32_t jobs;
    bool is_verbose;
    bool is_twice;
};

struct outcome {
    bool passed;
    uint64_t hash;
    uint64_t done;
    uint64_t crashes;
    uint64_t events;
    uint64_t virtual_us;
    char why[CLUSTER_WHY_MAX];
};

static uint32_t draw_faults(const struct sim_args *args, struct rng *rng)
{
    uint32_t faults = args->faults;
    for (uint32_t bit = 0; bit < 8; bit++) {
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
    if (!(c->opt.faults & FAULT_NET)) {
        world.spike_ppm = world.reset_ppm = world.connect_error_ppm = 0;
        world.fault_site_ppm = 0;
    }
    if (!(c->opt.faults & FAULT_CLOCK))
        world.drift_ppm_max = 0;
    world.wall_skew_ms_max = 0;
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
    else if (!workload_final_ops(w))
        cluster_fail(c, "no service after the faults stopped");
    else
        cluster_settle(c, SETTLE_US);
}

static void run_seed(const struct sim_args *args, uint64_t seed, struct outcome *ret)
{
    struct rng rng;
    struct history history;
    struct cluster c;
    rng_init(&rng, seed);
    struct cluster_options opt = {
        .seed = seed,
        .nodes = args->nodes != 0         ? args->nodes
                 : rng_chance(&rng, 1, 4) ? 5
                                          : 3,
        .processes = (uint32_t)rng_between(&rng, 2, 12),
        .keys = (uint32_t)rng_between(&rng, 1, 8),
        .duration_us = args->seconds * 1000000,
        .faults = draw_faults(args, &rng),
        .is_verbose = args->is_verbose,
    };
    history_init(&history);
    cluster_open(&c, &opt);
    struct workload *w = workload_new(&c, &history);
    if (!c.is_failed)
        run_phases(&c, w);
    if (!c.is_failed && !history_check(&history, c.why, sizeof c.why))
        c.is_failed = true;
    *ret = (struct outcome){
        .passed = !c.is_failed,
        .hash = sim_hash(c.sim),
        .done = workload_done(w),
        .crashes = c.crashes,
        .events = sim_events(c.sim),
        .virtual_us = sim_now_us(c.sim),
    };
    memcpy(ret->why, c.why, sizeof ret->why);
    cluster_close(&c);
    workload_free(w);
    history_fini(&history);
}

static bool run_and_report(const struct sim_args *args, uint64_t seed)
{
    struct outcome a;
    struct outcome b;
    run_seed(args, seed, &a);
    if (args->is_twice && a.passed) {
        run_seed(args, seed, &b);
        if (a.hash != b.hash) {
            a.passed = false;
            snprintf(a.why, sizeof a.why, "not deterministic: hash %016" PRIx64 " then %016" PRIx64,
                     a.hash, b.hash);
        }
    }
    printf("seed %" PRIu64 " hash %016" PRIx64 " %s ops %" PRIu64 " crashes %" PRIu64
           " events %" PRIu64 " virtual %.1f s\n",
           seed, a.hash, a.passed ? "ok" : "FAILED", a.done, a.crashes, a.events,
           (double)a.virtual_us / 1e6);
    if (!a.passed)
        printf("  broken: %s\n  repeat: holdfast-sim --seed %" PRIu64 " --nodes %u --faults %u "
               "--seconds %" PRIu64 " --verbose\n",
               a.why, seed, args->nodes, args->faults, args->seconds);
    fflush(stdout);
    return a.passed;
}

/* Seeds are dealt out in turn, a process each share; a seed that crashes its process
 * counts as failed, and the rest of the share goes on in a new one. */
struct share {
    uint64_t next;
    uint64_t step;
};

static uint64_t run_share(const struct sim_args *args, struct share share, uint64_t *ret_passed)
{
    uint64_t failed = 0;
    for (uint64_t seed = share.next; seed <= args->last; seed += share.step) {
        pid_t pid = args->first == args->last ? 0 : fork();
        if (args->first == args->last) {
            if (run_and_report(args, seed))
                (*ret_passed)++;
            else
                failed++;
            continue;
        }
        if (pid == 0) {
            bool ok = run_and_report(args, seed);
            fflush(stdout);
            exit(ok ? 0 : 1);
        }
        int status = 0;
        waitpid(pid, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            (*ret_passed)++;
            continue;
        }
        failed++;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
            printf("seed %" PRIu64 " hash - CRASHED (status %d)\n", seed, status);
        fflush(stdout);
    }
    return failed;
}

struct tally {
    uint64_t passed;
    uint64_t failed;
};

static struct tally run_all(const struct sim_args *args)
{
    struct tally sum = {0};
    int fds[2];
    if (args->jobs <= 1) {
        sum.failed = run_share(args, (struct share){args->first, 1}, &sum.passed);
        return sum;
    }
    if (pipe(fds) != 0)
        return (struct tally){.failed = 1};
    for (uint32_t j = 0; j < args->jobs; j++) {
        if (fork() != 0)
            continue;
        struct tally t = {0};
        t.failed = run_share(args, (struct share){args->first + j, args->jobs}, &t.passed);
        ssize_t n = write(fds[1], &t, sizeof t);
        _exit(n == (ssize_t)sizeof t ? 0 : 1);
    }
    close(fds[1]);
    struct tally t;
    while (read(fds[0], &t, sizeof t) == (ssize_t)sizeof t) {
        sum.passed += t.passed;
        sum.failed += t.failed;
    }
    while (wait(NULL) > 0)
        continue;
    uint64_t total = args->last - args->first + 1;
    sum.failed = total - sum.passed; /* a share that died counts as failed */
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
    {"hours", FAULT_HOURS},
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

static int usage(FILE *out)
{
    fprintf(out, "usage: holdfast-sim [--seed S | --seeds A..B] [--nodes N] [--seconds S]\n"
                 "                    [--faults all|none|kill,power,pause,partition,net,disk,"
                 "clock,space,hours]\n"
                 "                    [--jobs N] [--twice] [--verbose]\n"
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
        else
            ok = false;
        if (!ok)
            return 2;
    }
    return args->nodes <= CLUSTER_NODES_MAX && args->jobs <= 64 && args->seconds > 0 ? 0 : 2;
}

int main(int argc, char **argv)
{
    struct sim_args args = {.first = 1, .last = 1, .faults = FAULT_ALL, .seconds = 20, .jobs = 1};
    int rv = parse_args(argc, argv, &args);
    if (rv != 0)
        return usage(rv == 1 ? stdout : stderr);
    struct tally tally = run_all(&args);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", tally.passed, tally.failed);
    return tally.failed == 0 ? 0 : 1;
}
