/* SPDX-License-Identifier: Apache-2.0
 *
 * terminal — what the shell gives to a person: lines that can be edited and found again
 * (libedit), commands and keys completed by TAB, long output in a pager.
 *
 * The history is a file of one line each, for its owner alone (0600): HOLDFAST_HISTORY, else
 * ~/.holdfast_history; an empty HOLDFAST_HISTORY keeps none. What begins with a blank is not
 * kept. Of a file that has grown to twice HISTORY_MAX lines the last HISTORY_MAX stay.
 *
 * Threads    one; libedit's state is the process's, so there is one terminal at a time.
 * Errors     a history that cannot be read or written is said once, and done without.
 * Limits     HISTORY_MAX lines of HISTORY_LINE_MAX bytes; TERMINAL_KEYS_MAX keys are shown, found
 *            within TERMINAL_KEYS_MS.
 */
#ifndef TOOLS_HOLDFAST_TERMINAL_H_
#define TOOLS_HOLDFAST_TERMINAL_H_

#include "cli.h"

enum {
    HISTORY_MAX = 1000,
    HISTORY_LINE_MAX = 4096,
    TERMINAL_KEYS_MAX = 64,
    TERMINAL_KEYS_MS = 500,
};

/* Complete the words of `table`'s commands, and keys where they want one. */
void terminal_begin(struct cli *cli, const struct cli_command *table);

/* The next line, which the caller frees; NULL at the end. It is in the history. Ctrl-C gives up the
 * line that is being typed, and while a command runs it sets *cli->interrupted. */
char *terminal_line(const char *prompt);

void terminal_end(void);

/* From here to terminal_page_end() what cli writes goes to a pager once it is longer than the
 * terminal is high; nothing if standard output is none. PAGER names it; empty: there is none. */
void terminal_page_begin(struct cli *cli);
void terminal_page_end(struct cli *cli);

#endif
