/* SPDX-License-Identifier: Apache-2.0
 *
 * shrink — from a run that fails to a smaller one that breaks the same rule: shorter,
 * with fewer faults, nodes, clients, keys. Greedy; of each smaller run a few seeds are
 * tried, for what is left out changes all that follows.
 */
#ifndef TESTS_SIM_SHRINK_H_
#define TESTS_SIM_SHRINK_H_

#include "sim/run.h"

/* Prints each smaller run that was found, and the last one in full with its command.
 * True: `options` failed at all. */
bool shrink(const struct run_options *options);

#endif
