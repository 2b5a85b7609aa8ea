/* SPDX-License-Identifier: Apache-2.0
 *
 * repeat — what is shown again each second (--watch), until it is stopped: on a terminal in
 * its place, else one below the other, with --json a line each time.
 *
 *   do exit_code = show(cli); while (repeat_again(cli, &repeat));
 *
 * Errors     what cannot be shown now is said and tried again: a cluster that is being watched
 *            is often one that has trouble.
 */
#ifndef TOOLS_HOLDFAST_REPEAT_H_
#define TOOLS_HOLDFAST_REPEAT_H_

#include "cli.h"

enum { REPEAT_FLAGS = 2 };

struct repeat {
    bool is_on;
    bool is_times_given;
    uint64_t times; /* 0: until it is stopped */
    uint64_t shown;
};

/* Its flags, for cli_parse(). */
void repeat_flags(struct repeat *repeat, struct args_flag ret_flags[REPEAT_FLAGS]);

/* Do its flags fit together? False after saying what does not. */
bool repeat_check(struct cli *cli, const struct repeat *repeat, int *ret_exit);

/* Before the first time: the terminal is cleared, if that is asked for. */
void repeat_begin(struct cli *cli, const struct repeat *repeat);

/* After each time: write it out and wait; false: that was all, or the person has had enough. */
bool repeat_again(struct cli *cli, struct repeat *repeat);

#endif
