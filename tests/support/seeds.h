/* SPDX-License-Identifier: Apache-2.0
 *
 * seeds — a test program that runs one scenario on many seeds.
 *
 *   PROGRAM --seed S | --seeds A..B  [--jobs N] [--steps N] [--verbose] [--twice]
 *           [--list FILE] [--plant NAME] [--expect-failure]
 *
 * Each job is a child process, so what ends a run (an assertion, a failed check, a loop
 * without end) is a failure of its seed alone. Each run prints "seed S hash H", a failing
 * one the command that repeats it; the last line is "N passed, M failed", and the exit
 * status 0 only if none failed (with --expect-failure: only if one did; for the test of
 * the tests). --twice runs each seed twice and compares the hashes. --list takes the
 * seeds from a file, one a line, "#" begins a comment.
 */
#ifndef TESTS_SUPPORT_SEEDS_H_
#define TESTS_SUPPORT_SEEDS_H_

#include "base/base.h"

struct seeds_run {
    uint64_t seed;
    uint32_t steps;
    bool is_verbose;
    const char *plant; /* name of the bug to plant; NULL: none */
};

struct seeds_program {
    const char *name;
    uint32_t steps;     /* of a run, unless --steps */
    uint32_t timeout_s; /* of a run; beyond it is a failure */
    /* Run one seed: a hash over all that happened. What is violated ends the process. */
    uint64_t (*run)(const struct seeds_run *run);
    const char *const *plants; /* names for --plant, NULL at the end */
};

int seeds_main(const struct seeds_program *program, int argc, char **argv);

#endif
