/* SPDX-License-Identifier: Apache-2.0
 *
 * ranges — the ranges of a cluster, one after the other, for commands that are about them.
 */
#ifndef TOOLS_HOLDFAST_RANGES_H_
#define TOOLS_HOLDFAST_RANGES_H_

#include "cli.h"

struct buf;

enum {
    RANGES_PREFIX_LEN = 5, /* RANGES_USER_PREFIX and the keyspace, before a user's key … */
    RANGES_USER_PREFIX = 0x02,
    RANGES_PLACE_MAX = 4096 + 64, /* … which make a place */
};

/* Returns an exit code; anything but EXIT_DONE ends the walk. `info` is borrowed. */
typedef int (*ranges_each)(void *data, const struct hf_info *info);

/* All ranges of users' keys in their order, each as its leader sees it. For who takes long with
 * each (`is_at_once`) it is handed on when it is found, and the next is looked for when that is
 * done; else some are held back, so that none overlap. Where stores contradict each other they
 * are asked again; it ends with an error when it has come no farther for the time of one
 * operation. Returns an exit code; what was handed on before an error is no whole. */
int ranges_walk(struct cli *cli, struct hf_client *client, bool is_at_once, ranges_each each,
                void *data);

/* Range 1, which no walk meets: the cluster's own data. Returns what `each` did, or why there is
 * nothing to hand to it. */
int ranges_system(struct cli *cli, struct hf_client *client, ranges_each each, void *data);

/* The range with this id, as its leader sees it if there is one. Returns an exit code; the
 * caller frees *ret_result. */
int ranges_one(struct cli *cli, struct hf_client *client, uint64_t range_id,
               struct hf_result **ret_result);

/* The range with this id (0: that has `place`), as its leader sees it if that answers. A store
 * that is behind may name a range that does not hold the place any more: its leader knows better,
 * and soon that store will, too. Returns the library's code; the caller frees *ret_result. */
int ranges_ask(struct cli *cli, struct hf_client *client, uint64_t range_id, struct hf_bytes place,
               struct hf_result **ret_result);

/* A place for people: 'key', with its keyspace before it unless that is 0; "-" for none. */
void ranges_append_place(struct buf *out, struct hf_bytes place);

/* RANGE as an operator writes it. Returns an exit code. */
int ranges_parse_id(struct cli *cli, const char *word, uint64_t *ret_id);

/* Does placement know that the range was merged into another one? */
bool ranges_merged_into(struct cli *cli, uint64_t range_id, uint64_t *ret_into);

/* range split and merge (shape.c), and recover (recover.c). */
int range_split_run(struct cli *cli, int argc, const char *const *argv);
int range_merge_run(struct cli *cli, int argc, const char *const *argv);
int range_recover_run(struct cli *cli, int argc, const char *const *argv);

#endif
