/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <string.h>

#include "../tools/holdfast/table.h"

static const char *const heads[] = {"RANGE", "START"};

static void test_print(void **state)
{
    struct cli_table table;
    struct buf out;
    (void)state;
    buf_init(&out, 1 << 16);
    cli_table_init(&table, heads, ARRAY_LEN(heads));
    for (int i = 9; i < 11; i++) {
        cli_table_cell(&table, "%d", i);
        cli_table_cell(&table, "%s", i == 9 ? "" : "'a longer one'");
    }
    cli_table_print(&table, &out);
    static const char want[] = "RANGE  START\n"
                               "9      \n"
                               "10     'a longer one'\n";
    assert_true(slice_equal(buf_slice(&out), slice_str(want)));
    buf_fini(&out);
}

/* Ten long cells where `fitting` fit: nothing is shown of such a table, wherever it broke off, and
 * the output says so. */
static void overflow(size_t fitting)
{
    struct cli_table table;
    struct buf out;
    char text[CLI_TABLE_CELL_MAX];
    memset(text, 'k', sizeof text);
    buf_init(&out, 1 << 16);
    cli_table_init(&table, heads, ARRAY_LEN(heads));
    table.cells.max = table.cells.len + fitting * (CLI_TABLE_CELL_MAX + 1);
    for (int i = 0; i < 10; i++)
        cli_table_cell(&table, "%.*s", CLI_TABLE_CELL_MAX, text);
    cli_table_print(&table, &out);
    assert_int_equal(out.failed, fitting < 10);
    assert_int_equal(out.len == 0, fitting < 10);
    assert_null(table.cells.data);
    buf_fini(&out);
}

static void test_too_long(void **state)
{
    (void)state;
    overflow(6); /* whole rows */
    overflow(7);
    overflow(10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
