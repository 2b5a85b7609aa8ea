/* SPDX-License-Identifier: Apache-2.0
 *
 * watchers — clients that watch the workload's keys while everything fails: from now on or
 * from the beginning; one key, some, or all. They are slow at times, and die and go on from
 * a token; one that was too slow and is told so goes on from where history is still kept.
 *
 * What a watcher is told must be (judged here)
 *  - each change once, those of a key in order of version, none outside of what it watches;
 *  - every change that was acknowledged, or that anybody saw: as far as it says to have come;
 *  - the same as what every other watcher was told;
 * and each change becomes an operation of the history: a read of the key as of that version,
 * so that a change from nowhere, or one that a later read does not know, is found there.
 */
#ifndef TESTS_SIM_WATCHERS_H_
#define TESTS_SIM_WATCHERS_H_

#include "sim/cluster.h"

struct watchers;
struct workload;

struct watchers *watchers_new(struct cluster *c, struct workload *w, struct history *history);
void watchers_free(struct watchers *watchers);

/* All is healed and quiet: each must come as far as the range is, within a bound. */
bool watchers_catch_up(struct watchers *watchers);

/* After history_check(), by what that found out of writes of unknown outcome. */
void watchers_judge(struct watchers *watchers);

/* What they have been through, into the cover. */
void watchers_count(const struct watchers *watchers, struct cover *cover);

#endif
