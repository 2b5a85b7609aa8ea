/* SPDX-License-Identifier: Apache-2.0
 *
 * From when on how much of a table is garbage: by its notes, and back from the disk.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/rng.h"
#include "lsm/stale.h"
#include "support/check.h"

static void test_nothing_ever(void **state)
{
    struct stale_notes *notes = calloc(1, sizeof *notes);
    struct stale stale;
    (void)state;
    assert_non_null(notes);
    stale_init(&stale);
    assert_int_equal(stale_share(&stale, UINT64_MAX, UINT64_MAX), 0);
    stale_of(notes, 1000, &stale);
    assert_int_equal(stale_share(&stale, UINT64_MAX, UINT64_MAX), 0);
    assert_true(stale_safe_at(&stale, 200) == STALE_NEVER);
    assert_true(stale_ms_at(&stale, 1) == STALE_NEVER);
    free(notes);
}

/* Exact while all of them are in the sample. */
static void test_few(void **state)
{
    struct stale_notes *notes = calloc(1, sizeof *notes);
    struct stale stale = {0};
    (void)state;
    assert_non_null(notes);
    for (uint64_t i = 0; i < 30; i++)
        stale_note_hidden(notes, 130 - i); /* 101 … 130 */
    for (uint64_t i = 0; i < 25; i++)
        stale_note_expiring(notes, 1001 + i); /* 1,001 … 1,025 */
    stale_of(notes, 100, &stale);
    assert_int_equal(stale_safe_at(&stale, 100), 110);
    assert_int_equal(stale_safe_at(&stale, 101), 120);
    assert_int_equal(stale_safe_at(&stale, 300), 130);
    assert_true(stale_safe_at(&stale, 301) == STALE_NEVER);
    assert_int_equal(stale_ms_at(&stale, 200), 1020);
    assert_true(stale_ms_at(&stale, 300) == STALE_NEVER);
    assert_int_equal(stale_share(&stale, 109, 1009), 0);
    assert_int_equal(stale_share(&stale, 110, 1009), 100);
    assert_int_equal(stale_share(&stale, 110, 1010), 200);
    assert_int_equal(stale_share(&stale, 130, 1025), 500);
    free(notes);
}

/* What was so when the table was made has not become it since. */
static void test_since_it_was_made(void **state)
{
    struct stale stale;
    (void)state;
    stale_init(&stale);
    for (uint64_t i = 0; i < STALE_PARTS; i++)
        stale.hidden[i] = 10 * (i + 1);
    stale.expired[0] = 500;
    stale.made_safe = 35;
    assert_int_equal(stale_share(&stale, 35, 0), 0);
    assert_int_equal(stale_share(&stale, 20, 0), 0);
    assert_int_equal(stale_share(&stale, 59, 0), 200);
    assert_int_equal(stale_safe_at(&stale, 200), 50);
    assert_int_equal(stale_safe_at(&stale, 700), 100);
    assert_true(stale_safe_at(&stale, 800) == STALE_NEVER);
    stale.made_ms = 500;
    assert_int_equal(stale_share(&stale, 0, 501), 0);
    assert_true(stale_ms_at(&stale, 100) == STALE_NEVER);
}

/* Those of every second key expire much later: a sample of every second one would see only one
 * kind. Whatever the order, a tenth is a tenth by some hundredths. */
static void test_many(void **state)
{
    enum { RECORDS = 300000 };
    struct stale_notes *notes = calloc(1, sizeof *notes);
    struct stale stale = {0};
    struct rng rng;
    (void)state;
    assert_non_null(notes);
    rng_init(&rng, 7);
    for (uint64_t i = 0; i < RECORDS; i++) {
        stale_note_expiring(notes, i % 2 == 0 ? rng_between(&rng, 1, 1000) : 1000000);
        assert_in_range(notes->expired.count, 1, STALE_SAMPLE);
    }
    stale_of(notes, RECORDS, &stale);
    for (uint64_t tenth = 1; tenth <= 4; tenth++) {
        uint64_t at = stale_ms_at(&stale, tenth * 100);
        assert_in_range(at, 200 * tenth - 120, 200 * tenth + 120);
    }
    assert_int_equal(stale_ms_at(&stale, 700), 1000000);
    free(notes);
}

static void test_on_disk(void **state)
{
    struct stale stale, back;
    struct buf raw;
    (void)state;
    stale_init(&stale);
    for (uint64_t i = 0; i < 4; i++) {
        stale.hidden[i] = (i + 1) << 40;
        stale.expired[i] = i;
    }
    stale.made_safe = 99;
    stale.made_ms = 3;
    buf_init(&raw, 4096);
    stale_encode(&stale, &raw);
    assert_int_equal(stale_decode(buf_slice(&raw), &back), 0);
    assert_memory_equal(&stale, &back, sizeof back);
    for (size_t len = 0; len < raw.len; len++)
        assert_int_equal(stale_decode(slice_of(raw.data, len), &back), ERR_CORRUPT);
    buf_append_u8(&raw, 0); /* of a later build */
    assert_int_equal(stale_decode(buf_slice(&raw), &back), 0);
    assert_memory_equal(&stale, &back, sizeof back);
    raw.data[0]++; /* another format, too */
    assert_int_equal(stale_decode(buf_slice(&raw), &back), 0);
    assert_int_equal(stale_share(&back, UINT64_MAX, UINT64_MAX), 0);
    buf_fini(&raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_ever),      cmocka_unit_test(test_few),
        cmocka_unit_test(test_since_it_was_made), cmocka_unit_test(test_many),
        cmocka_unit_test(test_on_disk),
    };
    return cmocka_run_group_tests_name("stale", tests, NULL, NULL);
}
