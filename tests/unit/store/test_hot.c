/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a busy range is cut: what is asked for lies on both sides of the key, or there is none.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"

#include "store/hot.h"

static const struct range_span all = {.start = {(const uint8_t *)"\x02", 1},
                                      .end = {(const uint8_t *)"\x03", 1}};

static void note(struct hot *hot, const char *prefix, unsigned n)
{
    char key[32];
    snprintf(key, sizeof key, "\x02%s%02u", prefix, n);
    hot_note(hot, slice_str(key));
}

static void assert_choice(const struct hot *hot, struct range_span span, const char *want)
{
    struct buf key;
    buf_init(&key, 4096);
    bool is_found = hot_choose(hot, span, &key);
    if (is_found != (want != NULL) || (is_found && !slice_equal(buf_slice(&key), slice_str(want))))
        fail_msg("chosen: %.*s, wanted %s", (int)key.len, (const char *)key.data,
                 want == NULL ? "none" : want);
    buf_fini(&key);
}

static void test_even(void **state)
{
    (void)state;
    struct hot *hot = hot_new();
    for (unsigned i = 0; i < HOT_KEYS; i++)
        note(hot, "k", (i * 37) % HOT_KEYS);
    assert_choice(hot, all, "\x02k32");
    struct range_span part = {.start = slice_str("\x02k40"), .end = all.end};
    assert_choice(hot, part, "\x02k41"); /* what else is asked for was asked before a split */
    free(hot);
}

/* By the requests, however the bytes lie: most are for a few keys at the end. */
static void test_skewed(void **state)
{
    (void)state;
    struct hot *hot = hot_new();
    for (unsigned i = 0; i < HOT_KEYS; i++)
        note(hot, i % 4 == 0 ? "a" : "z", i % 8);
    assert_choice(hot, all, "\x02z03");
    for (unsigned i = 0; i < 10 * HOT_KEYS; i++) /* the oldest are forgotten */
        note(hot, i % 2 == 0 ? "a" : "b", i % 2);
    assert_choice(hot, all,
                  "\x02"
                  "b01");
    free(hot);
}

static void test_none(void **state)
{
    (void)state;
    struct hot *hot = hot_new();
    assert_choice(NULL, all, NULL);
    for (unsigned i = 0; i < HOT_KEYS - 1; i++)
        note(hot, "k", i);
    assert_choice(hot, all, NULL); /* too little is known */
    note(hot, "k", 99);
    assert_choice(hot, all, "\x02k32");
    for (unsigned i = 0; i < HOT_KEYS; i++)
        note(hot, "one", 0);
    assert_choice(hot, all, NULL); /* a single key */
    free(hot);
}

/* One in HOT_EVERY, and no more of a key than there is room for. */
static void test_bounds(void **state)
{
    (void)state;
    struct hot *hot = hot_new();
    unsigned wanted = 0;
    uint8_t longest[4096];
    for (unsigned i = 0; i < 10 * HOT_EVERY; i++)
        wanted += hot_wants(hot);
    assert_int_equal(wanted, 10);
    memset(longest, 'x', sizeof longest);
    for (unsigned i = 0; i < HOT_KEYS; i++) {
        longest[0] = (uint8_t)(2 + i % 2);
        hot_note(hot, slice_of(longest, sizeof longest));
    }
    struct buf key;
    buf_init(&key, 4096);
    struct range_span wide = {.start = all.start, .end = slice_str("\x04")};
    assert_true(hot_choose(hot, wide, &key));
    assert_int_equal(key.len, HOT_KEY_MAX);
    assert_int_equal(key.data[0], 3);
    buf_fini(&key);
    free(hot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_even),
        cmocka_unit_test(test_skewed),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests_name("hot", tests, NULL, NULL);
}
