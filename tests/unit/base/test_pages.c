/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/pages.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

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

/* Of any size, and with free() and realloc() as other memory is. */
static void test_what_may_be_large(void **state)
{
    (void)state;
    const size_t sizes[] = {1, 1000, PAGES_LARGE - 1, PAGES_LARGE, PAGES_LARGE + 1, 9000001};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        unsigned char *p = pages_malloc(sizes[i]);
        assert_non_null(p);
        assert_true(sizes[i] < PAGES_LARGE || (uintptr_t)p % PAGES_LARGE == 0);
        memset(p, 7, sizes[i]);
        p = realloc(p, sizes[i] + PAGES_LARGE);
        assert_non_null(p);
        assert_true(p[0] == 7 && p[sizes[i] - 1] == 7);
        memset(p, 8, sizes[i] + PAGES_LARGE);
        p = realloc(p, 1);
        assert_true(p != NULL && p[0] == 8);
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_apart),
        cmocka_unit_test(test_what_may_be_large),
    };
    return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
