/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>

#include "client/route.h"

/* Peers are only compared here. */
static struct client_peer *peer(uintptr_t n)
{
    return (struct client_peer *)n;
}

static struct route *put(struct route_cache *cache, uint64_t id, const char *start, const char *end,
                         uint64_t span_epoch)
{
    struct descriptor d = {.range_id = id,
                           .start = slice_str(start),
                           .end = slice_str(end),
                           .conf_epoch = 1,
                           .span_epoch = span_epoch};
    return route_put(cache, &d);
}

/* The range that holds each of these keys, 0 for none: "a1 b1 c2 m0". */
static void check_map(struct route_cache *cache, const char *want)
{
    route_cache_check(cache);
    for (const char *p = want; *p != 0; p += p[2] == 0 ? 2 : 3) {
        const struct route *route = route_find(cache, slice_of(p, 1));
        uint64_t id = route != NULL ? route->range_id : 0;
        if (id != (uint64_t)(p[1] - '0'))
            fail_msg("%s: key %c is in %llu", want, p[0], (unsigned long long)id);
    }
}

static void test_split_and_merge(void **state)
{
    (void)state;
    struct route_cache cache = {0};
    check_map(&cache, "a0 z0");
    assert_non_null(put(&cache, 1, "", "", 1));
    check_map(&cache, "a1 m1 z1");
    assert_non_null(put(&cache, 1, "", "m", 2)); /* a split: the rest is not known */
    check_map(&cache, "a1 l1 m0 z0");
    assert_non_null(put(&cache, 2, "m", "", 2));
    check_map(&cache, "a1 l1 m2 z2");
    assert_null(put(&cache, 1, "", "", 1)); /* old news change nothing */
    check_map(&cache, "a1 l1 m2 z2");
    assert_non_null(put(&cache, 1, "", "", 3)); /* merged */
    check_map(&cache, "a1 m1 z1");
    assert_int_equal(cache.count, 1);
    route_cache_fini(&cache);
    check_map(&cache, "a0");
}

/* A peer that goes is named nowhere any more. */
static void test_forget(void **state)
{
    (void)state;
    struct route_cache cache = {0};
    struct route *left = put(&cache, 1, "", "m", 2);
    left->leader = peer(1);
    left->members[0] = peer(1);
    left->members[1] = peer(2);
    left->member_count = 2;
    struct route *right = put(&cache, 2, "m", "", 2);
    right->leader = peer(2);
    assert_true(route_names(&cache, peer(1)));
    assert_false(route_names(&cache, peer(3)));
    route_forget(&cache, peer(1));
    assert_false(route_names(&cache, peer(1)));
    const struct route *found = route_find(&cache, slice_str("a"));
    assert_int_equal(found->member_count, 1);
    assert_ptr_equal(found->members[0], peer(2));
    assert_ptr_equal(route_find(&cache, slice_str("z"))->leader, peer(2));
    route_cache_fini(&cache);
}

/* A store that has not heard of a merge yet: its range was at a lower epoch. */
static void test_merged_away(void **state)
{
    (void)state;
    struct route_cache cache = {0};
    put(&cache, 1, "", "m", 2);
    put(&cache, 2, "m", "", 2);
    assert_non_null(put(&cache, 1, "", "", 3)); /* 2 is no more */
    assert_null(put(&cache, 2, "m", "", 2));
    check_map(&cache, "a1 m1 z1");
    assert_non_null(put(&cache, 3, "p", "", 4)); /* cut again since */
    assert_null(put(&cache, 1, "", "", 3));
    check_map(&cache, "p3 z3");
    assert_null(route_find_range(&cache, 2));
    assert_ptr_equal(route_find_range(&cache, 3), route_find(&cache, slice_str("p")));
    route_cache_fini(&cache);
}

static void test_overlaps(void **state)
{
    (void)state;
    struct route_cache cache = {0};
    put(&cache, 1, "b", "d", 1);
    put(&cache, 2, "d", "f", 1);
    put(&cache, 3, "f", "h", 1);
    check_map(&cache, "a0 b1 c1 d2 e2 f3 g3 h0");
    put(&cache, 4, "c", "g", 1); /* touches all three */
    check_map(&cache, "a0 b0 c4 f4 g0 h0");
    put(&cache, 5, "a", "c", 1); /* touches none */
    check_map(&cache, "a5 b5 c4 f4 g0");
    assert_int_equal(cache.count, 2);
    route_cache_fini(&cache);
}

static void test_leader(void **state)
{
    (void)state;
    struct route_cache cache = {0};
    struct route *route = put(&cache, 1, "", "m", 1);
    route->leader = peer(1);
    route->term = 7;
    put(&cache, 2, "m", "", 1)->leader = peer(2);
    route = put(&cache, 1, "", "k", 2); /* the same range, smaller: still its leader */
    assert_ptr_equal(route->leader, peer(1));
    assert_int_equal(route->term, 7);
    route_forget_leader(&cache, peer(2));
    assert_null(route_find(&cache, slice_str("z"))->leader);
    assert_ptr_equal(route_find(&cache, slice_str("a"))->leader, peer(1));
    route_cache_fini(&cache);
}

static void test_keys(void **state)
{
    (void)state;
    uint8_t out[16];
    struct slice key = route_key(0x01020304, slice_str("ab"), out);
    assert_int_equal(key.len, 7);
    assert_memory_equal(key.data,
                        "\x02\x01\x02\x03\x04"
                        "ab",
                        7);
    key = route_key(0, (struct slice){0}, out);
    assert_int_equal(key.len, ROUTE_KEY_PREFIX);
}

/* Downwards it is the range of the keys below. Where ranges meet behind more bytes than a key can
 * have, there are none between the bound and the next place that can be asked for. */
static void test_below(void **state)
{
    (void)state;
    static uint8_t bound[DESCRIPTOR_CUT_MAX + 2], next[DESCRIPTOR_CUT_MAX];
    struct route_cache cache = {0};
    memset(bound, 'k', sizeof bound);
    memset(next, 'k', sizeof next);
    next[sizeof next - 1]++;
    struct descriptor left = {.range_id = 2,
                              .start = slice_str("d"),
                              .end = slice_of(bound, sizeof bound),
                              .conf_epoch = 1,
                              .span_epoch = 1};
    struct descriptor right = left;
    right.range_id = 3;
    right.start = left.end;
    right.end = slice_str("x");
    put(&cache, 1, "b", "d", 1);
    assert_non_null(route_put(&cache, &left));
    assert_int_equal(route_find_below(&cache, slice_of(next, sizeof next))->range_id, 2);
    assert_non_null(route_put(&cache, &right));
    static const struct {
        const char *key;
        uint64_t want; /* 0: none */
    } rows[] = {{"b", 0}, {"b\1", 1}, {"d", 1}, {"e", 2}, {"l", 3}, {"x", 3}, {"x\1", 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct route *route = route_find_below(&cache, slice_str(rows[i].key));
        if ((route != NULL ? route->range_id : 0) != rows[i].want)
            fail_msg("below key '%s'", rows[i].key);
    }
    assert_int_equal(route_find_below(&cache, slice_of(next, sizeof next))->range_id, 2);
    assert_int_equal(route_find(&cache, slice_of(next, sizeof next))->range_id, 3);
    route_cache_fini(&cache);
}

/* Thousands of spans in disorder; the bound is kept, and all answers are right. */
static void test_many(void **state)
{
    (void)state;
    struct route_cache cache = {0};
    for (int i = 0; i < ROUTE_MAX + 500; i++) {
        char start[8];
        char end[8];
        unsigned at = (unsigned)(i * 4099) % 8192; /* each once, in disorder */
        snprintf(start, sizeof start, "%05u", at);
        snprintf(end, sizeof end, "%05u", at + 1);
        assert_non_null(put(&cache, at + 1, start, end, 1));
        const struct route *route = route_find(&cache, slice_str(start));
        assert_int_equal(route->range_id, at + 1);
        assert_true(cache.count <= ROUTE_MAX);
    }
    route_cache_check(&cache);
    route_cache_fini(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forget),      cmocka_unit_test(test_split_and_merge),
        cmocka_unit_test(test_merged_away), cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_leader),      cmocka_unit_test(test_keys),
        cmocka_unit_test(test_below),       cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
