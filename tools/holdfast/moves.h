/* SPDX-License-Identifier: Apache-2.0
 *
 * moves — commands about a range that placement carries out.
 */
#ifndef TOOLS_HOLDFAST_MOVES_H_
#define TOOLS_HOLDFAST_MOVES_H_

#include "cli.h"

struct moves_word {
    const char *name; /* "move", "merge", … as placement knows it */
    uint64_t range_id;
    uint64_t from_store; /* 0: none */
    uint64_t to_store;   /* 0: the best */
    uint64_t right_id;   /* of a merge: who should be taken in */
    bool is_begun_enough;
};

/* Tell placement, wait until its operator has ended (--timeout bounds that), and say what
 * came of it. Where placement has moved meanwhile, the range itself is asked. Returns the exit
 * code: 4 if it still runs, or nobody knows. Ctrl-C in the shell ends the waiting alone. */
int moves_command(struct cli *cli, const struct moves_word *word);

/* holdfast range move, add-replica, remove-replica, scatter */
int range_move_run(struct cli *cli, int argc, const char *const *argv);
int range_add_replica_run(struct cli *cli, int argc, const char *const *argv);
int range_remove_replica_run(struct cli *cli, int argc, const char *const *argv);
int range_scatter_run(struct cli *cli, int argc, const char *const *argv);

#endif
