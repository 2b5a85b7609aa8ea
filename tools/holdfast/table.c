/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void cli_table_init(struct cli_table *table, const char *const *heads, size_t columns)
{
    ASSERT(columns <= CLI_TABLE_COLUMNS_MAX);
    table->columns = columns;
    buf_init(&table->cells, CLI_TABLE_BYTES_MAX);
    for (size_t i = 0; i < columns; i++)
        cli_table_cell(table, "%s", heads[i]);
}

void cli_table_cell(struct cli_table *table, const char *fmt, ...)
{
    char text[CLI_TABLE_CELL_MAX + 1];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_append(&table->cells, text, strlen(text) + 1);
}

static void print(const struct cli_table *table, struct buf *out)
{
    size_t widths[CLI_TABLE_COLUMNS_MAX] = {0};
    const char *end = (const char *)table->cells.data + table->cells.len;
    size_t column = 0;
    for (const char *p = (const char *)table->cells.data; p != end; p += strlen(p) + 1) {
        widths[column] = MAX(widths[column], strlen(p));
        column = (column + 1) % table->columns;
    }
    ASSERT(column == 0);
    for (const char *p = (const char *)table->cells.data; p != end; p += strlen(p) + 1) {
        bool is_last = column + 1 == table->columns;
        if (is_last)
            buf_printf(out, "%s\n", p);
        else
            buf_printf(out, "%-*s  ", (int)widths[column], p);
        column = is_last ? 0 : column + 1;
    }
}

void cli_table_print(struct cli_table *table, struct buf *out)
{
    if (table->cells.failed)
        out->failed = true;
    else if (table->columns > 0)
        print(table, out);
    buf_fini(&table->cells);
}
