/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    assert_int_equal(pages_in_use(), 0);
}

#if !defined(__SANITIZE_ADDRESS__)
static size_t resident(void)
{
    unsigned long all = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &all, &pages), 2);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Given up in one order and asked for in another, between other blocks: memory comes back. */
static void test_no_holes(void **state)
{
    (void)state;
    enum { COUNT = 16, ROUNDS = 30 };
    void *blocks[COUNT], *others[ROUNDS];
    size_t before = resident();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < COUNT; i++) {
            blocks[i] = pages_alloc();
            assert_non_null(blocks[i]);
            memset(blocks[i], 1, PAGES_LARGE);
        }
        others[round] = malloc(100000);
        assert_non_null(others[round]);
        for (int i = 0; i < COUNT; i++)
            pages_free(blocks[(i * 5 + round) % COUNT]);
    }
    size_t after = resident();
    for (int round = 0; round < ROUNDS; round++)
        free(others[round]);
    if (after > before + 4 * PAGES_LARGE)
        fail_msg("%zu bytes are still here", after - before);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_apart),
#if !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(test_no_holes),
#endif
    };
    return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
