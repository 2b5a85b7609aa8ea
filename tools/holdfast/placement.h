/* SPDX-License-Identifier: Apache-2.0
 *
 * placement — asking placement, and showing what it answers, for all families of commands
 * that do so.
 */
#ifndef TOOLS_HOLDFAST_PLACEMENT_H_
#define TOOLS_HOLDFAST_PLACEMENT_H_

#include "cli.h"

/* Ask, and show what comes: a table, a text, or OK; `name` is what rows are, for JSON. An exit
 * code. */
int placement_ask(struct cli *cli, struct hf_placement_ask *ask, const char *name);

/* What stands in a row of a table under a column ("#bytes"); "" if there is none. */
const char *placement_cell(const struct hf_table *table, size_t row, const char *column);

#endif
