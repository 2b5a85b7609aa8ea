/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/pages.h"

#include <string.h>

/* Blocks are aligned, apart from each other, and whole. */
static void test_blocks_are_apart(void **state)
{
    (void)state;
    enum { COUNT = 3 };
    unsigned char *blocks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = pages_alloc();
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % PAGES_LARGE, 0);
        memset(blocks[i], i + 1, PAGES_LARGE);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(blocks[i][0], i + 1);
        assert_int_equal(blocks[i][PAGES_LARGE - 1], i + 1);
        pages_free(blocks[i]);
    }
    pages_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_apart),
    };
    return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
