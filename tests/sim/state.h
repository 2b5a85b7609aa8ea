/* SPDX-License-Identifier: Apache-2.0
 *
 * state — which seeds of a long command are done and what they summed up to, in a file,
 * so that it can be stopped at any time and goes on where it was.
 *
 * The file is text: a header, the arguments of the runs, ranges of seeds done, failed
 * ones, the sums. It is replaced as a whole.
 */
#ifndef TESTS_SIM_STATE_H_
#define TESTS_SIM_STATE_H_

#include "sim/run.h"

struct state {
    uint64_t first, last;
    uint64_t done_count;
    uint8_t *done; /* owned: 1 done, 2 and failed; by seed - first */
    char args[512];
};

void state_init(struct state *s, uint64_t first, uint64_t last, const char *args);
void state_fini(struct state *s);

bool state_has(const struct state *s, uint64_t seed);
void state_note(struct state *s, uint64_t seed, bool is_failed);

/* 0: loaded into `s` and `sum`, or there is no such file yet. 2: it is of another command
 * or damaged (said on stderr). */
int state_load(struct state *s, const char *path, struct tally *sum);

/* Exits with a message when it cannot be written. */
void state_save(const struct state *s, const char *path, const struct tally *sum);

#endif
