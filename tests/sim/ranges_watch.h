/* SPDX-License-Identifier: Apache-2.0
 *
 * ranges_watch — watchers in holdfast-ranges-sim: one of all plain keys, one of some, one of a
 * hashed keyspace, over ranges that are split while their members come and go; they pause, die,
 * and go on from tokens.
 * Each value is written once and begins with a number of its own.
 *
 * What is checked: a value is told at most once, under its key, in order of version; what
 * was refused never; and by the end all that was acknowledged. Where nobody watches it is
 * NULL, which is fine for all calls but ranges_watch_is_ready().
 */
#ifndef TESTS_SIM_RANGES_WATCH_H_
#define TESTS_SIM_RANGES_WATCH_H_

#include "env/sim/sim.h"

struct ranges_watch;

/* Begin to watch "from now"; nothing may be written before ranges_watch_is_ready(). `hashed`:
 * the keyspace whose keys stand behind slots. */
struct ranges_watch *ranges_watch_new(struct sim *sim, const char *const *endpoints, size_t count,
                                      uint64_t seed, uint32_t hashed);

/* After the stores are closed too; its node ends here. */
void ranges_watch_free(struct ranges_watch *watch);
bool ranges_watch_is_ready(const struct ranges_watch *watch);

/* Value `number` is being written to `key` (copied; without its slot) of that keyspace. */
void ranges_watch_asked(struct ranges_watch *watch, uint64_t number, uint32_t keyspace,
                        const char *key);

/* It is there; or it never will be. */
void ranges_watch_acked(struct ranges_watch *watch, uint64_t number);
void ranges_watch_refused(struct ranges_watch *watch, uint64_t number);

/* The faults are over: no more pauses. */
void ranges_watch_calm(struct ranges_watch *watch);

/* Has everybody been told of all that was acknowledged? */
bool ranges_watch_is_complete(const struct ranges_watch *watch);

/* What is wrong; NULL: nothing so far. */
const char *ranges_watch_verdict(const struct ranges_watch *watch);

/* Changes told, most pieces at a time. */
void ranges_watch_figures(const struct ranges_watch *watch, uint64_t *ret_told,
                          uint64_t *ret_pieces);

#endif
