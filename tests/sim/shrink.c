/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/shrink.h"

#include <stdio.h>
#include <stdlib.h>

#include "sim/batch.h"

enum { RUNS_MAX = 400, SEEDS_EACH = 5, SECOND_US = 1000000 };

struct search {
    struct run_options best;
    struct outcome *outcome; /* of the best */
    struct trace_ring *ring;
    uint32_t runs;
};

/* The rule, without where and when: what is in front of the first colon. */
static bool is_same_rule(const char *a, const char *b)
{
    size_t len = strcspn(a, ":");
    return len == strcspn(b, ":") && memcmp(a, b, len) == 0;
}

static bool try_one(struct search *s, const struct run_options *smaller)
{
    struct outcome *o = malloc(sizeof *o);
    ASSERT(o != NULL);
    char command[512];
    s->runs++;
    batch_one(smaller, s->ring, o);
    bool is_good = o->tally.failed != 0 && is_same_rule(o->why, s->outcome->why);
    if (is_good) {
        s->best = *smaller;
        *s->outcome = *o;
        run_command(&s->best, command, sizeof command);
        printf("smaller: %s\n", command);
        fflush(stdout);
    }
    free(o);
    return is_good;
}

/* With its own seed, and then with some others. */
static bool try_smaller(struct search *s, struct run_options smaller)
{
    for (uint64_t i = 0; i < SEEDS_EACH && s->runs < RUNS_MAX; i++) {
        if (try_one(s, &smaller))
            return true;
        smaller.seed += 1000003;
    }
    return false;
}

static bool shorten(struct search *s)
{
    uint64_t failed_us = s->outcome->failed_us / SECOND_US * SECOND_US;
    uint64_t now = s->best.duration_us;
    const uint64_t tries[] = {failed_us, now / 4, now / 2, now * 3 / 4, now - SECOND_US};
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        struct run_options smaller = s->best;
        smaller.duration_us = tries[i] / SECOND_US * SECOND_US;
        if (smaller.duration_us >= SECOND_US && smaller.duration_us < now &&
            try_smaller(s, smaller))
            return true;
    }
    return false;
}

static bool drop_a_fault(struct search *s)
{
    for (uint32_t bit = 0; bit < 32; bit++) {
        struct run_options smaller = s->best;
        smaller.faults &= (uint32_t)~BIT(bit);
        if (smaller.faults != s->best.faults && try_smaller(s, smaller))
            return true;
    }
    return false;
}

static bool fewer(struct search *s, uint32_t *(*field)(struct run_options *o), uint32_t step)
{
    uint32_t now = *field(&s->best);
    const uint32_t tries[] = {1, now / 2, now > step ? now - step : 0};
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        struct run_options smaller = s->best;
        *field(&smaller) = tries[i];
        bool is_odd = step != 2 || tries[i] % 2 == 1; /* clusters have odd sizes */
        if (tries[i] >= 1 && tries[i] < now && is_odd && try_smaller(s, smaller))
            return true;
    }
    return false;
}

static uint32_t *nodes_of(struct run_options *o)
{
    return &o->nodes;
}

static uint32_t *clients_of(struct run_options *o)
{
    return &o->clients;
}

static uint32_t *keys_of(struct run_options *o)
{
    return &o->keys;
}

bool shrink(const struct run_options *options)
{
    struct search s = {.ring = trace_ring_new(), .outcome = malloc(sizeof *s.outcome)};
    ASSERT(s.outcome != NULL);
    batch_one(options, s.ring, s.outcome);
    bool has_failed = s.outcome->tally.failed != 0;
    s.best = s.outcome->drawn;
    while (has_failed && s.runs < RUNS_MAX) {
        bool is_smaller = shorten(&s);
        is_smaller |= drop_a_fault(&s);
        is_smaller |= fewer(&s, nodes_of, 2);
        is_smaller |= fewer(&s, clients_of, 1);
        is_smaller |= fewer(&s, keys_of, 1);
        if (!is_smaller)
            break;
    }
    if (has_failed)
        batch_one(&s.best, s.ring, s.outcome); /* its last events */
    run_print(&s.best, s.outcome, s.ring, stdout);
    printf("%u smaller runs tried\n", s.runs);
    trace_ring_free(s.ring);
    free(s.outcome);
    return has_failed;
}
