/* SPDX-License-Identifier: Apache-2.0
 *
 * run — one seed from its first event to the verdict.
 */
#ifndef TESTS_SIM_RUN_H_
#define TESTS_SIM_RUN_H_

#include "sim/cluster.h"

/* What the caller fixes; 0 or NULL: drawn from the seed. */
struct run_options {
    uint64_t seed;
    uint32_t nodes;
    uint32_t clients;
    uint32_t keys;
    const struct mix *mix;
    uint32_t faults;
    bool is_exact;        /* take all of `faults`; else each run takes a subset */
    uint64_t duration_us; /* of the trouble */
    uint32_t timeout_ms;  /* of a request; 0: TIMEOUT_MS */
    bool is_verbose;
    const char *trace_path; /* NULL: none */
};

/* What happened, of one run or summed over many. Plain memory. */
struct tally {
    uint64_t passed;
    uint64_t failed;
    uint64_t voids; /* of those passed: too few writes to prove anything */
    uint64_t requests;
    uint64_t crashes;
    uint64_t spoiled;
    uint64_t lost;    /* … and found it out */
    uint64_t unknown; /* searches given up */
    uint64_t events;
    uint64_t virtual_us;
    struct cover cover;
};

struct outcome {
    struct tally tally;
    uint64_t hash;
    struct run_options drawn; /* as it was run: with what was drawn filled in */
    uint64_t failed_us;       /* when the rule broke; 0: passed */
    char why[CLUSTER_WHY_MAX];
};

/* Fill in what a run draws. */
void run_resolve(const struct run_options *options, struct run_options *ret);

void run_seed(const struct run_options *options, struct trace_ring *ring, struct outcome *ret);

/* Twice, and the hashes compared. */
void run_twice(const struct run_options *options, struct trace_ring *ring, struct outcome *ret);

/* "seed S hash H ok …" and, of a failure, what broke; into `out`. */
void run_print(const struct run_options *options, const struct outcome *outcome,
               const struct trace_ring *ring, FILE *out);

/* The command that repeats a run. */
void run_command(const struct run_options *options, char *out, size_t size);

void tally_add(struct tally *sum, const struct tally *one);

/* faults.c: "kill,power" … and back. */
bool faults_parse(const char *text, uint32_t *ret);
void faults_print(uint32_t faults, char *out, size_t size);

#endif
