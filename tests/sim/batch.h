/* SPDX-License-Identifier: Apache-2.0
 *
 * batch — many seeds, each in a process of its own, so that one that crashes fails alone
 * and no run can leave anything behind for the next.
 */
#ifndef TESTS_SIM_BATCH_H_
#define TESTS_SIM_BATCH_H_

#include "sim/run.h"

struct batch_options {
    struct run_options run; /* its seed is not looked at */
    uint64_t first;
    uint64_t last;
    uint32_t jobs;
    bool is_twice;
    bool is_fail_fast; /* no new seed after the first failure */
    bool is_quiet;     /* print failures and void runs only */
    bool has_progress; /* a line on stderr, twice a second */
    const char *state; /* file; NULL: none. What it says is done is not done again */
};

/* Run them and add to `sum`. 0, or 2: the state file is no good. */
int batch_run(const struct batch_options *options, struct tally *sum);

/* One run in a process of its own. True: it came back with an outcome; else it crashed,
 * `ret` says so, and the ring has its last words. `text` gets what run_print() says. */
bool batch_one(const struct run_options *options, struct trace_ring *ring, struct outcome *ret);

#endif
