/* SPDX-License-Identifier: Apache-2.0
 *
 * table — a table for people: columns padded to the widest cell.
 *
 *   cli_table_init(heads) ─▶ cli_table_cell() for each cell, row by row ─▶ cli_table_print()
 *
 * Ownership  cells are copied; who prints it frees it.
 * Errors     one that has too many cells, or none in memory, is not printed, not even a part: the
 *            output has failed instead.
 * Limits     CLI_TABLE_COLUMNS_MAX columns, CLI_TABLE_CELL_MAX bytes of a cell (longer ones are
 *            cut), CLI_TABLE_BYTES_MAX bytes of cells: 200,000 ranges between long keys.
 */
#ifndef TOOLS_HOLDFAST_TABLE_H_
#define TOOLS_HOLDFAST_TABLE_H_

#include "base/base.h"
#include "base/buf.h"

enum {
    CLI_TABLE_COLUMNS_MAX = 32,
    CLI_TABLE_CELL_MAX = 511,
    CLI_TABLE_BYTES_MAX = 256 << 20,
};

struct cli_table {
    size_t columns;
    struct buf cells; /* NUL-terminated, row by row */
};

/* One with these heads and no rows. */
void cli_table_init(struct cli_table *table, const char *const *heads, size_t columns);

/* One cell more. */
void cli_table_cell(struct cli_table *table, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Append it to `out`, all its rows being full, and free it. */
void cli_table_print(struct cli_table *table, struct buf *out);

#endif
