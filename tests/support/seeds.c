/* SPDX-License-Identifier: Apache-2.0 */
#include "support/seeds.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MAX = 64, LIST_MAX = 10000 };

struct options {
    const struct seeds_program *program;
    uint64_t *list; /* owned; NULL: first … last */
    uint64_t first;
    uint64_t last; /* with a list: places in it */
    uint32_t jobs;
    uint32_t steps;
    const char *plant;
    bool is_verbose;
    bool is_twice;
    bool is_failure_wanted;
};

/* Shared between the parent and one worker. */
struct progress {
    uint64_t at; /* running, or about to */
    uint64_t passed;
    uint64_t failed;
};

static uint64_t seed_at(const struct options *o, uint64_t at)
{
    return o->list != NULL ? o->list[at] : at;
}

static void report_failure(const struct options *o, uint64_t seed, const char *why)
{
    printf("seed %" PRIu64 " FAILED: %s\n  repeat: %s --seed %" PRIu64
           " --steps %u%s%s --verbose\n",
           seed, why, o->program->name, seed, o->steps, o->plant != NULL ? " --plant " : "",
           o->plant != NULL ? o->plant : "");
    fflush(stdout);
}

static void run_seed(const struct options *o, struct progress *p)
{
    struct seeds_run run = {
        .seed = seed_at(o, p->at),
        .steps = o->steps,
        .is_verbose = o->is_verbose,
        .plant = o->plant,
    };
    alarm(o->program->timeout_s);
    uint64_t hash = o->program->run(&run);
    if (o->is_twice && o->program->run(&run) != hash) {
        report_failure(o, run.seed, "two runs differ");
        p->failed++;
        return;
    }
    alarm(0);
    printf("seed %" PRIu64 " hash %016" PRIx64 "\n", run.seed, hash);
    p->passed++;
}

/* Worker `job` runs every jobs-th seed from p->at on. */
static void worker(const struct options *o, struct progress *p)
{
    while (p->at <= o->last) {
        run_seed(o, p);
        fflush(stdout); /* a later run may end this process without it */
        p->at += o->jobs;
        if (o->is_failure_wanted && p->failed > 0)
            break;
    }
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

/* A worker ended. True if its seed failed and the next one is to be run. */
static bool worker_ended(const struct options *o, struct progress *p, int status)
{
    char why[64];
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(why, sizeof why, "no end within %u s", o->program->timeout_s);
    else if (WIFSIGNALED(status))
        snprintf(why, sizeof why, "killed by signal %d", WTERMSIG(status));
    else
        snprintf(why, sizeof why, "exit status %d", WEXITSTATUS(status));
    p->failed++;
    report_failure(o, seed_at(o, MIN(p->at, o->last)), why);
    p->at += o->jobs;
    return !o->is_failure_wanted && p->at <= o->last;
}

static void run_all(const struct options *o, struct progress *p)
{
    pid_t pids[JOBS_MAX];
    uint32_t running = o->jobs;

    for (uint32_t i = 0; i < o->jobs; i++) {
        p[i].at = o->first + i;
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
        if (worker_ended(o, &p[i], status))
            pids[i] = worker_start(o, &p[i]);
        else
            running--;
    }
}

/* ---- the command line -------------------------------------------------------------- */

static int usage(const struct seeds_program *program)
{
    fprintf(stderr,
            "usage: %s --seed S | --seeds A..B | --list FILE [--jobs N] [--steps N]\n"
            "       [--verbose] [--twice] [--plant NAME] [--expect-failure]\n",
            program->name);
    if (program->plants != NULL) {
        fprintf(stderr, "bugs to plant:");
        for (const char *const *name = program->plants; *name != NULL; name++)
            fprintf(stderr, " %s", *name);
        fprintf(stderr, "\n");
    }
    return 2;
}

static bool parse_number(const char *text, uint64_t *ret)
{
    char *end;
    if (text == NULL || *text < '0' || *text > '9')
        return false;
    *ret = strtoull(text, &end, 10);
    return *end == 0;
}

static bool parse_range(const char *text, struct options *o)
{
    int used = 0;
    return text != NULL &&
           sscanf(text, "%" SCNu64 "..%" SCNu64 "%n", &o->first, &o->last, &used) == 2 &&
           text[used] == 0;
}

static bool parse_list(const char *path, struct options *o)
{
    FILE *file = path != NULL ? fopen(path, "r") : NULL;
    char line[512];
    uint64_t count = 0;
    if (file == NULL)
        return false;
    free(o->list);
    o->list = calloc(LIST_MAX, sizeof *o->list);
    while (o->list != NULL && count < LIST_MAX && fgets(line, sizeof line, file) != NULL)
        count += sscanf(line, "%" SCNu64, &o->list[count]) == 1;
    fclose(file);
    o->first = 0;
    o->last = count - 1;
    return count > 0;
}

static bool parse_plant(const char *text, struct options *o)
{
    const char *const *name = o->program->plants;
    while (name != NULL && text != NULL && *name != NULL && strcmp(*name, text) != 0)
        name++;
    o->plant = text;
    return name != NULL && text != NULL && *name != NULL;
}

/* An option with a value: true if both are good. */
static bool parse_valued(const char *option, const char *value, struct options *o)
{
    uint64_t n = 0;
    if (strcmp(option, "--seed") == 0) {
        bool ok = parse_number(value, &o->first);
        o->last = o->first;
        return ok;
    }
    if (strcmp(option, "--seeds") == 0)
        return parse_range(value, o);
    if (strcmp(option, "--list") == 0)
        return parse_list(value, o);
    if (strcmp(option, "--plant") == 0)
        return parse_plant(value, o);
    bool is_jobs = strcmp(option, "--jobs") == 0;
    if ((!is_jobs && strcmp(option, "--steps") != 0) || !parse_number(value, &n) || n == 0)
        return false;
    if (is_jobs)
        o->jobs = (uint32_t)MIN(n, (uint64_t)JOBS_MAX);
    else
        o->steps = (uint32_t)MIN(n, (uint64_t)UINT32_MAX);
    return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            o->is_verbose = true;
        else if (strcmp(argv[i], "--twice") == 0)
            o->is_twice = true;
        else if (strcmp(argv[i], "--expect-failure") == 0)
            o->is_failure_wanted = true;
        else if (parse_valued(argv[i], i + 1 < argc ? argv[i + 1] : NULL, o))
            i++;
        else
            return false;
    }
    return o->first <= o->last;
}

int seeds_main(const struct seeds_program *program, int argc, char **argv)
{
    struct options o = {
        .program = program, .first = 1, .last = 100, .jobs = 1, .steps = program->steps};
    uint64_t passed = 0, failed = 0;
    if (!parse(argc, argv, &o)) {
        free(o.list);
        return usage(program);
    }
    struct progress *p =
        mmap(NULL, JOBS_MAX * sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    run_all(&o, p);
    for (uint32_t i = 0; i < o.jobs; i++) {
        passed += p[i].passed;
        failed += p[i].failed;
    }
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    free(o.list);
    munmap(p, JOBS_MAX * sizeof *p);
    return (failed == 0) == !o.is_failure_wanted ? 0 : 1;
}
