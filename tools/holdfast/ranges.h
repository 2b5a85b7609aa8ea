/* SPDX-License-Identifier: Apache-2.0
 *
 * ranges — the ranges of a cluster, one after the other, for commands that are about them.
 */
#ifndef TOOLS_HOLDFAST_RANGES_H_
#define TOOLS_HOLDFAST_RANGES_H_

#include "cli.h"

/* Returns an exit code; anything but EXIT_DONE ends the walk. `info` is borrowed. */
typedef int (*ranges_each)(void *data, const struct hf_info *info);

/* All ranges of users' keys in their order, each as its leader sees it. For who takes long with
 * each (`is_at_once`) it is handed on when it is found, and the next is looked for when that is
 * done; else some are held back, so that none overlap. Returns an exit code. */
int ranges_walk(struct cli *cli, struct hf_client *client, bool is_at_once, ranges_each each,
                void *data);

/* Range 1, which no walk meets: the cluster's own data. Returns what `each` did, or why there is
 * nothing to hand to it. */
int ranges_system(struct cli *cli, struct hf_client *client, ranges_each each, void *data);

/* The range with this id, as its leader sees it if there is one. Returns an exit code; the
 * caller frees *ret_result. */
int ranges_one(struct cli *cli, struct hf_client *client, uint64_t range_id,
               struct hf_result **ret_result);

/* Does placement know that the range was merged into another one? */
bool ranges_merged_into(struct cli *cli, uint64_t range_id, uint64_t *ret_into);

/* range recover (recover.c). */
int range_recover_run(struct cli *cli, int argc, const char *const *argv);

#endif
