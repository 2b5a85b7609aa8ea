/* SPDX-License-Identifier: Apache-2.0
 *
 * crash_points — the disk-crash enumerator: for every mutating call of a scenario, and
 * for each of them several random subsets of un-synced sectors and names, hand out the
 * disk that a crash at this point might leave (the method of ALICE, OSDI '14).
 *
 *   struct crash_points points = {.images = 4, .verify = my_verify, .data = me};
 *   crash_points_start(&points, sim_node_disk(node), seed);
 *   … run the scenario; verify() is called from inside the disk's calls …
 *   crash_points_stop(&points);
 *
 * Ownership  verify() gets the image for good: give it to a node of a world of its own
 *            (sim_node_new_on()), or free it.
 * Threads    one. verify() must not call into the world that is being watched; reading
 *            the model of what was acknowledged so far is what it is for.
 */
#ifndef TESTS_SUPPORT_CRASH_POINTS_H_
#define TESTS_SUPPORT_CRASH_POINTS_H_

#include "base/rng.h"
#include "env/sim/sim_disk.h"

struct crash_point {
    uint64_t number; /* of the mutating call since the start, from 1 */
    const char *op;
    const char *path;
    bool is_kill; /* the page cache is all there: kill -9 instead of loss of power */
    struct rng *rng;
};

typedef void (*crash_points_cb)(void *data, const struct crash_point *point,
                                struct sim_disk *image);

struct crash_points {
    uint32_t images; /* losses of power for each call; one kill is added */
    uint32_t every;  /* look at every n-th call only; 0 and 1: all */
    crash_points_cb verify;
    void *data;
    /* private */
    struct sim_disk *disk;
    struct rng rng;
    uint64_t calls;
    uint64_t n_images; /* handed out so far */
};

void crash_points_start(struct crash_points *points, struct sim_disk *disk, uint64_t seed);
void crash_points_stop(struct crash_points *points);

#endif
