/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "store/watermark.h"

static const struct watermark_limits limits = {
    .no_replicas_bytes = 800, .no_puts_bytes = 400, .read_only_bytes = 80};

static const struct {
    const char *name;
    enum watermark now;
    uint64_t free_bytes;
    enum watermark want;
} rows[] = {
    {"plenty", WATERMARK_OK, 10000, WATERMARK_OK},
    {"at the first", WATERMARK_OK, 800, WATERMARK_OK},
    {"below the first", WATERMARK_OK, 799, WATERMARK_NO_REPLICAS},
    {"straight to puts", WATERMARK_OK, 399, WATERMARK_NO_PUTS},
    {"half of the reserve", WATERMARK_OK, 40, WATERMARK_READ_ONLY},
    {"less than half of it", WATERMARK_OK, 39, WATERMARK_FULL},
    {"nothing left", WATERMARK_OK, 0, WATERMARK_FULL},
    {"full holds on", WATERMARK_FULL, 44, WATERMARK_FULL},
    {"just back is not enough", WATERMARK_NO_PUTS, 449, WATERMARK_NO_PUTS},
    {"an eighth above is", WATERMARK_NO_PUTS, 450, WATERMARK_NO_REPLICAS},
    {"clears at once", WATERMARK_READ_ONLY, 900, WATERMARK_OK},
    {"read-only holds on", WATERMARK_READ_ONLY, 85, WATERMARK_READ_ONLY},
};

static void test_marks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum watermark got = watermark_next(rows[i].now, rows[i].free_bytes, &limits);
        if (got != rows[i].want)
            fail_msg("%s: got %s, want %s", rows[i].name, watermark_name(got),
                     watermark_name(rows[i].want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks),
    };
    return cmocka_run_group_tests_name("watermark", tests, NULL, NULL);
}
