/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-consensus-sim — run a randomised cluster of group members on many seeds.
 *
 *   holdfast-consensus-sim --seeds A..B [--guards-off T1,T2] [--jobs N] [--verbose]
 *                          [--trace] [--verify] [--expect-failure]
 *
 * Each seed runs in a child process, so an assertion is a failure of its seed alone.
 * Ends with "N passed, M failed"; exit 1 if any failed. --verify runs each seed twice
 * and compares the hashes. --trace prints what happens in each run. --expect-failure is
 * for the test of the tests: stop at the first seed that fails; exit 1 if none does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/plant.h"
#include "consensus/guards.h"
#include "consensus/world.h"

enum { JOBS_MAX = 64, SEED_ALARM_S = 60, VOID_SEEDS = 200 };

struct options {
    uint64_t first;
    uint64_t last;
    uint64_t guards_off;
    const char *guards_text;
    uint32_t jobs;
    bool is_verbose;
    bool is_trace;
    bool is_verify;
    bool is_failure_wanted;
};

/* Shared between the parent and one worker. */
struct progress {
    uint64_t seed; /* running, or about to */
    uint64_t passed;
    uint64_t failed;
    struct world_report sum;
};

static void report_failure(const struct options *o, uint64_t seed, const char *why)
{
    printf("seed %" PRIu64 " FAILED: %s\n", seed, why);
    printf("  repeat: holdfast-consensus-sim --seeds %" PRIu64 "..%" PRIu64 "%s%s --trace\n", seed,
           seed, o->guards_text != NULL ? " --guards-off " : "",
           o->guards_text != NULL ? o->guards_text : "");
    fflush(stdout);
}

static void sum_add(struct world_report *sum, const struct world_report *r)
{
    sum->events += r->events;
    sum->commits += r->commits;
    sum->reads += r->reads;
    sum->follower_reads += r->follower_reads;
    sum->lease_reads += r->lease_reads;
    sum->crashes += r->crashes;
    sum->installs += r->installs;
    sum->changes += r->changes;
    sum->elections += r->elections;
    sum->transfers += r->transfers;
    sum->pauses += r->pauses;
    sum->losses += r->losses;
    sum->sleeps += r->sleeps;
    sum->parks += r->parks;
    sum->leader_parks += r->leader_parks;
    sum->strikes += r->strikes;
    sum->late_answers += r->late_answers;
    sum->late_rejections += r->late_rejections;
    sum->usurped += r->usurped;
    sum->born_learners += r->born_learners;
    sum->paced += r->paced;
}

static void run_seed(const struct options *o, uint64_t seed, struct progress *p)
{
    struct world_report r = {0};
    struct world_report again = {0};

    world_run(seed, o->guards_off, o->is_trace, &r);
    if (o->is_verify && !r.is_failed) {
        world_run(seed, o->guards_off, false, &again);
        if (again.hash != r.hash) {
            r.is_failed = true;
            snprintf(r.why, sizeof r.why, "two runs differ");
        }
    }
    sum_add(&p->sum, &r);
    if (o->is_verbose)
        printf("seed %" PRIu64 " hash %016" PRIx64 " events %" PRIu64 " commits %" PRIu64
               " reads %" PRIu64 "\n",
               seed, r.hash, r.events, r.commits, r.reads);
    if (r.is_failed) {
        p->failed++;
        report_failure(o, seed, r.why);
    } else {
        p->passed++;
    }
}

/* Worker `job` runs every jobs-th seed from p->seed on. */
static void worker(const struct options *o, struct progress *p)
{
    while (p->seed <= o->last) {
        alarm(SEED_ALARM_S); /* a loop without end is a failure too */
        run_seed(o, p->seed, p);
        p->seed += o->jobs;
        if (o->is_failure_wanted && p->failed > 0)
            break;
    }
    fflush(stdout);
    exit(0); /* leaks are looked for here */
}

static pid_t worker_start(const struct options *o, struct progress *p)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    if (pid == 0)
        worker(o, p);
    return pid;
}

/* Start a worker again behind the seed that killed it. */
static void run_all(const struct options *o, struct progress *p)
{
    pid_t pids[JOBS_MAX];
    uint32_t running = o->jobs;

    for (uint32_t i = 0; i < o->jobs; i++) {
        p[i].seed = o->first + i;
        pids[i] = worker_start(o, &p[i]);
    }
    while (running > 0) {
        int status = 0;
        pid_t pid = wait(&status);
        uint32_t i = 0;
        while (i < o->jobs && pids[i] != pid)
            i++;
        if (i == o->jobs)
            continue;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            running--;
            continue;
        }
        char why[64];
        if (WIFSIGNALED(status))
            snprintf(why, sizeof why, "killed by signal %d", WTERMSIG(status));
        else
            snprintf(why, sizeof why, "exit status %d", WEXITSTATUS(status));
        p[i].failed++;
        report_failure(o, p[i].seed, why);
        p[i].seed += o->jobs;
        if (o->is_failure_wanted)
            p[i].seed = o->last + 1;
        pids[i] = worker_start(o, &p[i]);
    }
}

static int parse_guards(const char *text, uint64_t *ret_mask)
{
    char copy[256];
    uint64_t mask = 0;
    if (strlen(text) >= sizeof copy)
        return -1;
    memcpy(copy, text, strlen(text) + 1);
    for (char *save, *t = strtok_r(copy, ",", &save); t != NULL; t = strtok_r(NULL, ",", &save)) {
        int g = 0;
        while (g < GUARD_NR && strcmp(guard_name((enum cons_guard)g), t) != 0)
            g++;
        if (g == GUARD_NR)
            return -1;
        mask |= UINT64_C(1) << g;
    }
    *ret_mask = mask;
    return 0;
}

#ifdef HOLDFAST_PLANTED
static bool choose_plant(const char *name)
{
    return plant_choose(name) == 0;
}
#else
static bool choose_plant(const char *name)
{
    fprintf(stderr, "no '%s' in this build: cmake --preset planted\n", name);
    return false;
}
#endif

static int usage(void)
{
    fprintf(stderr, "usage: holdfast-consensus-sim --seeds A..B [--guards-off T1,T2] [--jobs N] "
                    "[--verbose] [--trace] [--verify] [--expect-failure]\n"
                    "                              [--plant NAME]  (in a planted build only)\n");
    return 2;
}

static int parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--verbose") == 0) {
            o->is_verbose = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            o->is_trace = true;
        } else if (strcmp(argv[i], "--verify") == 0) {
            o->is_verify = true;
        } else if (strcmp(argv[i], "--expect-failure") == 0) {
            o->is_failure_wanted = true;
        } else if (strcmp(argv[i], "--seeds") == 0 && value != NULL) {
            if (sscanf(value, "%" SCNu64 "..%" SCNu64, &o->first, &o->last) != 2)
                return usage();
            i++;
        } else if (strcmp(argv[i], "--jobs") == 0 && value != NULL) {
            o->jobs = (uint32_t)strtoul(value, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--plant") == 0 && value != NULL) {
            if (!choose_plant(value))
                return usage();
            i++;
        } else if (strcmp(argv[i], "--guards-off") == 0 && value != NULL) {
            o->guards_text = value;
            if (parse_guards(value, &o->guards_off) != 0)
                return usage();
            i++;
        } else {
            return usage();
        }
    }
    if (o->last < o->first || o->jobs == 0 || o->jobs > JOBS_MAX)
        return usage();
    return 0;
}

/* Say what happened. True if something never did in many seeds: then they prove little. */
static bool report_sum(const struct options *o, const struct world_report *r)
{
    const struct {
        const char *name;
        uint64_t n;
    } rows[] = {
        {"events", r->events},
        {"commits", r->commits},
        {"reads", r->reads},
        {"follower_reads", r->follower_reads},
        {"lease_reads", r->lease_reads},
        {"crashes", r->crashes},
        {"installs", r->installs},
        {"changes", r->changes},
        {"elections", r->elections},
        {"transfers", r->transfers},
        {"pauses", r->pauses},
        {"losses", r->losses},
        {"sleeps", r->sleeps},
        {"parks", r->parks},
        {"leader_parks", r->leader_parks},
        {"strikes", r->strikes},
        {"late_answers", r->late_answers},
        {"late_rejections", r->late_rejections},
        {"usurped", r->usurped},
        {"born_learners", r->born_learners},
        {"paced", r->paced},
    };
    bool is_void = false;
    bool is_many = o->last - o->first >= VOID_SEEDS && o->guards_off == 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        printf("%s%s %" PRIu64, i > 0 ? " " : "", rows[i].name, rows[i].n);
        is_void = is_void || (is_many && rows[i].n == 0);
    }
    printf("\n%s", is_void ? "void: something above never happened\n" : "");
    return is_void;
}

int main(int argc, char **argv)
{
    struct options o = {.first = 1, .last = 100, .jobs = 1};
    struct progress sum = {0};

    if (parse(argc, argv, &o) != 0)
        return 2;
    struct progress *p =
        mmap(NULL, JOBS_MAX * sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    run_all(&o, p);
    for (uint32_t i = 0; i < o.jobs; i++) {
        sum.passed += p[i].passed;
        sum.failed += p[i].failed;
        sum_add(&sum.sum, &p[i].sum);
    }
    bool is_void = report_sum(&o, &sum.sum);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", sum.passed, sum.failed);
    return (sum.failed == 0) == !o.is_failure_wanted && !is_void ? 0 : 1;
}
