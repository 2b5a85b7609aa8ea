/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdio.h>

#include "lsm/lsm_internal.h"
#include "support/check.h"

static struct lsm_options o;

/* The defaults with one other value, and what is said of it; NULL: nothing. */
static const struct {
    size_t *size;
    unsigned *number;
    uint64_t value;
    const char *want;
} rows[] = {
    {&o.block_bytes, NULL, 0, "block_bytes"},
    {&o.block_bytes, NULL, 1, NULL},
    {&o.block_bytes, NULL, LSM_BLOCK_MAX, NULL},
    {&o.block_bytes, NULL, LSM_BLOCK_MAX + 1, "block_bytes of the engine is 1048577: from 1 to "},
    {&o.memory_bytes, NULL, LSM_MEMORY_MIN, NULL},
    {&o.memory_bytes, NULL, LSM_MEMORY_MIN - 1, "memory_bytes"},
    {&o.memtable_bytes, NULL, 0, "memtable_bytes"},
    {&o.table_bytes, NULL, 0, "table_bytes"},
    {&o.level_base_bytes, NULL, 0, "level_base_bytes"},
    {NULL, &o.memtables_max, 0, "memtables_max"},
    {NULL, &o.restart_every, 0, "restart_every"},
    {NULL, &o.filter_bits, 0, NULL},
    {NULL, &o.filter_bits, 31, "filter_bits"},
    {NULL, &o.l0_compact, 0, "l0_compact"},
    {NULL, &o.l0_stop, 0, "l0_stop"},
    {NULL, &o.level_ratio, 1, "level_ratio"},
    {NULL, &o.compact_shares, 0, "compact_shares"},
    {NULL, &o.value_garbage_percent, 0, "value_garbage_percent"},
    {NULL, &o.value_garbage_percent, 101, "value_garbage_percent"},
};

static void test_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        lsm_options_init(&o);
        if (rows[i].size != NULL)
            *rows[i].size = rows[i].value;
        else
            *rows[i].number = (unsigned)rows[i].value;
        int rv = options_check(&o, &err);
        bool is_named = rows[i].want != NULL && strstr(err.msg, rows[i].want) == err.msg;
        if (rv != (rows[i].want == NULL ? 0 : ERR_INVALID) || (rv != 0 && !is_named))
            fail_msg("row %zu: %d %s", i, rv, err.msg);
    }
}

static void test_pauses(void **state)
{
    (void)state;
    struct err err = {0};
    lsm_options_init(&o);
    o.retry_us_max = o.retry_us_min;
    assert_int_equal(options_check(&o, &err), 0);
    o.retry_us_max--;
    assert_int_equal(options_check(&o, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "retry_us_min"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_pauses),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
