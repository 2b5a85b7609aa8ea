/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim/state.h"

enum { JOBS_MAX = 64, PROGRESS_MS = 500, STATE_SAVE_MS = 5000 };

struct slot {
    pid_t pid; /* 0: free */
    uint64_t seed;
    int fd; /* the child's outcome comes here */
    size_t len;
    struct outcome outcome;
    struct trace_ring *ring;
};

struct batch {
    const struct batch_options *opt;
    struct tally *sum;
    struct state state;
    struct slot slots[JOBS_MAX];
    uint64_t next; /* seed to begin */
    uint64_t finished;
    bool is_stopped;
    uint64_t begin_ms;
    uint64_t shown_ms;
    uint64_t saved_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- children ------------------------------------------------------------------------------ */

static void child(const struct run_options *run, bool is_twice, struct trace_ring *ring, int out)
{
    struct outcome *o = malloc(sizeof *o);
    ASSERT(o != NULL);
    if (is_twice)
        run_twice(run, ring, o);
    else
        run_seed(run, ring, o);
    for (size_t at = 0; at < sizeof *o;) {
        ssize_t n = write(out, (const char *)o + at, sizeof *o - at);
        if (n <= 0)
            exit(2);
        at += (size_t)n;
    }
    free(o);
    exit(0);
}

static void slot_start(struct slot *s, const struct run_options *run, bool is_twice)
{
    int fds[2];
    if (s->ring == NULL)
        s->ring = trace_ring_new();
    s->ring->count = 0;
    s->len = 0;
    s->seed = run->seed;
    int rv = pipe(fds);
    ASSERT(rv == 0);
    fflush(stdout);
    s->pid = fork();
    ASSERT(s->pid >= 0);
    if (s->pid == 0) {
        close(fds[0]);
        child(run, is_twice, s->ring, fds[1]);
    }
    close(fds[1]);
    s->fd = fds[0];
}

/* Take in what came. True: it was the last. */
static bool slot_read(struct slot *s)
{
    ssize_t n = read(s->fd, (char *)&s->outcome + s->len, sizeof s->outcome - s->len);
    if (n < 0 && errno == EINTR)
        return false;
    s->len += n > 0 ? (size_t)n : 0;
    return n <= 0 || s->len == sizeof s->outcome;
}

/* The child is gone: its outcome, or that it crashed. */
static void slot_end(struct slot *s, const struct run_options *run)
{
    int status = 0;
    close(s->fd);
    waitpid(s->pid, &status, 0);
    s->pid = 0;
    bool is_whole = s->len == sizeof s->outcome && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (is_whole)
        return;
    struct outcome *o = &s->outcome;
    memset(o, 0, sizeof *o);
    run_resolve(run, &o->drawn);
    o->tally.failed = 1;
    cover_init(&o->tally.cover);
    snprintf(o->why, sizeof o->why, "the process of the run %s %d (its message is above)",
             WIFSIGNALED(status) ? "died of signal" : "ended with status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

bool batch_one(const struct run_options *run, struct trace_ring *ring, struct outcome *ret)
{
    struct slot *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->ring = ring;
    slot_start(s, run, false);
    while (!slot_read(s))
        continue;
    slot_end(s, run);
    *ret = s->outcome;
    bool is_whole = s->len == sizeof s->outcome;
    free(s);
    return is_whole;
}

/* ---- the many ------------------------------------------------------------------------------- */

static void show_progress(struct batch *b, bool is_last)
{
    uint64_t now = now_ms();
    if (!b->opt->has_progress || (!is_last && now - b->shown_ms < PROGRESS_MS))
        return;
    double s = (double)MAX(now - b->begin_ms, UINT64_C(1)) / 1e3;
    b->shown_ms = now;
    fprintf(stderr,
            "\r%" PRIu64 "/%" PRIu64 " seeds, %.2f seeds/s, %.0f s virtual, %" PRIu64 " failed %s",
            b->state.done_count, b->opt->last - b->opt->first + 1, (double)b->finished / s,
            (double)b->sum->virtual_us / 1e6, b->sum->failed, is_last ? "\n" : "");
}

static void save_state(struct batch *b, bool is_last)
{
    uint64_t now = now_ms();
    if (b->opt->state == NULL || (!is_last && now - b->saved_ms < STATE_SAVE_MS))
        return;
    b->saved_ms = now;
    state_save(&b->state, b->opt->state, b->sum);
}

static struct run_options options_of(const struct batch *b, uint64_t seed)
{
    struct run_options run = b->opt->run;
    run.seed = seed;
    return run;
}

static void finish(struct batch *b, struct slot *s)
{
    struct run_options run = options_of(b, s->seed);
    slot_end(s, &run);
    const struct outcome *o = &s->outcome;
    if (!b->opt->is_quiet || o->tally.failed || o->tally.voids)
        run_print(&run, o, s->ring, stdout);
    fflush(stdout);
    tally_add(b->sum, &o->tally);
    state_note(&b->state, s->seed, o->tally.failed != 0);
    b->finished++;
    b->is_stopped |= b->opt->is_fail_fast && o->tally.failed != 0;
    show_progress(b, false);
    save_state(b, false);
}

/* Give every free slot a seed. Returns how many are at work. */
static uint32_t fill_slots(struct batch *b)
{
    uint32_t busy = 0;
    for (uint32_t j = 0; j < b->opt->jobs; j++) {
        struct slot *s = &b->slots[j];
        while (b->next <= b->opt->last && state_has(&b->state, b->next))
            b->next++;
        if (s->pid == 0 && b->next <= b->opt->last && !b->is_stopped) {
            struct run_options run = options_of(b, b->next++);
            slot_start(s, &run, b->opt->is_twice);
        }
        busy += s->pid != 0;
    }
    return busy;
}

static void wait_for_some(struct batch *b)
{
    struct pollfd fds[JOBS_MAX];
    struct slot *slots[JOBS_MAX];
    nfds_t n = 0;
    for (uint32_t j = 0; j < b->opt->jobs; j++) {
        if (b->slots[j].pid == 0)
            continue;
        slots[n] = &b->slots[j];
        fds[n++] = (struct pollfd){.fd = b->slots[j].fd, .events = POLLIN};
    }
    poll(fds, n, PROGRESS_MS);
    for (nfds_t i = 0; i < n; i++)
        if ((fds[i].revents & (POLLIN | POLLHUP)) && slot_read(slots[i]))
            finish(b, slots[i]);
    show_progress(b, false);
}

int batch_run(const struct batch_options *options, struct tally *sum)
{
    ASSERT(options->jobs >= 1 && options->jobs <= JOBS_MAX);
    struct batch *b = calloc(1, sizeof *b);
    ASSERT(b != NULL);
    b->opt = options;
    b->sum = sum;
    b->next = options->first;
    b->begin_ms = b->saved_ms = now_ms();
    char args[512];
    struct run_options run = options_of(b, 0);
    run_command(&run, args, sizeof args);
    state_init(&b->state, options->first, options->last, args);
    int rv = options->state == NULL ? 0 : state_load(&b->state, options->state, sum);
    while (rv == 0 && fill_slots(b) > 0)
        wait_for_some(b);
    if (rv == 0) {
        show_progress(b, true);
        save_state(b, true);
    }
    for (uint32_t j = 0; j < JOBS_MAX; j++)
        if (b->slots[j].ring != NULL)
            trace_ring_free(b->slots[j].ring);
    state_fini(&b->state);
    free(b);
    return rv;
}
