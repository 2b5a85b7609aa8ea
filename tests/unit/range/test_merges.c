/* SPDX-License-Identifier: Apache-2.0 */
/* What a range remembers of merges: as bytes, at its bounds, united. */
#include "support/check.h"

#include "range/range.h"

static struct merge_outcome outcome(uint64_t attempt, bool is_committed)
{
    struct merge_outcome o = {
        .attempt = attempt, .right_range = attempt + 1000, .is_committed = is_committed};
    if (is_committed) {
        o.into_range = 2;
        o.span_epoch = attempt + 5;
        o.count = RANGE_REPLICAS_MAX;
        for (uint32_t i = 0; i < o.count; i++)
            o.right[i] = (struct range_place){.store_id = i + 1, .replica_id = UINT64_MAX - i};
    }
    return o;
}

static void add(struct merges *m, uint64_t attempt, bool is_committed)
{
    struct merge_outcome o = outcome(attempt, is_committed);
    assert_int_equal(merges_add(m, &o), 0);
    merges_check(m);
}

static void fill(struct merges *m)
{
    merges_init(m);
    m->frozen = (struct merge_frozen){
        .attempt = UINT64_MAX,
        .left_range = 3,
        .left = {.conf = 4, .span = 5},
        .index = 6,
        .term = 7,
        .history_hash = 8,
    };
    for (uint64_t i = 1; i <= MERGES_COMMITTED_MAX; i++)
        add(m, i, true);
    for (uint64_t i = 1; i <= MERGES_ABORTED_MAX; i++)
        add(m, 100 + i, false);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct merges m, got, copy;
    struct buf raw;
    fill(&m);
    buf_init(&raw, MERGES_LEN_MAX);
    merges_encode(&m, &raw);
    assert_false(raw.failed);
    assert_int_equal(merges_decode(buf_slice(&raw), &got, NULL), 0);
    assert_int_equal(merges_copy(&copy, &got), 0);
    merges_fini(&got);
    assert_memory_equal(&copy.frozen, &m.frozen, sizeof m.frozen);
    assert_int_equal(copy.count, MERGES_MAX);
    for (uint32_t i = 0; i < m.count; i++)
        assert_memory_equal(&copy.outcomes[i], &m.outcomes[i], sizeof m.outcomes[i]);
    for (size_t len = 0; len < raw.len; len++)
        assert_int_equal(merges_decode(slice_of(raw.data, len), &got, NULL), ERR_CORRUPT);
    merges_fini(&copy);
    merges_fini(&m);
    buf_fini(&raw);
}

/* Well formed, and of no meaning. */
static void test_damage(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *raw;
        size_t len;
        int want;
    } rows[] = {
        {"nothing", "\0\0", 2, 0},
        {"bytes behind it", "\0\0\0", 3, ERR_CORRUPT},
        {"frozen or not?", "\2\0", 2, ERR_CORRUPT},
        {"an attempt without a number", "\0\1\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 19, ERR_CORRUPT},
        {"aborted", "\0\1\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 19, 0},
        {"committed or not?", "\0\1\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2", 19, ERR_CORRUPT},
        {"twice", "\0\2\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 36,
         ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct merges m;
        struct err err = {0};
        merges_init(&m);
        int rv = merges_decode(slice_of(rows[i].raw, rows[i].len), &m, &err);
        if (rv != rows[i].want)
            fail_msg("%s: %s (%s)", rows[i].name, err_name(rv), err.msg);
        merges_fini(&m);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct merges m;
    fill(&m);
    add(&m, 200, false); /* the oldest aborted one makes room */
    assert_null(merges_find(&m, 101));
    assert_non_null(merges_find(&m, 102));
    assert_non_null(merges_find(&m, 200));
    assert_non_null(merges_ended(&m, 1001));
    assert_null(merges_ended(&m, 1200)); /* aborted: it is not over */
    assert_int_equal(merges_committed(&m), MERGES_COMMITTED_MAX);
    merges_forget(&m, 1);
    merges_forget(&m, 1);
    assert_null(merges_find(&m, 1));
    assert_null(merges_ended(&m, 1001));
    assert_int_equal(merges_committed(&m), MERGES_COMMITTED_MAX - 1);
    merges_check(&m);
    merges_fini(&m);
    assert_true(merges_is_empty(&m));
}

static void test_unite(void **state)
{
    (void)state;
    struct merges a, b;
    merges_init(&a);
    merges_init(&b);
    add(&a, 1, true);
    add(&a, 2, false);
    add(&b, 1, true); /* both know of it: a copy, since a split */
    add(&b, 3, true);
    b.frozen.attempt = 9;
    assert_int_equal(merges_unite(&a, &b), 0);
    merges_check(&a);
    assert_int_equal(a.count, 3);
    assert_true(a.frozen.attempt == 0); /* that it is frozen is its own */
    assert_non_null(merges_find(&a, 3));
    merges_fini(&a);
    merges_fini(&b);
}

/* A meta without merges stays as older versions wrote it. */
static void test_in_the_meta(void **state)
{
    (void)state;
    static const struct range_replica one[] = {{11, 1, RANGE_ROLE_VOTER}};
    struct range_meta m, got;
    struct buf raw;
    range_meta_init(&m);
    range_meta_init(&got);
    m.applied_index = m.applied_term = 9;
    assert_int_equal(range_descriptor_init(&m.descriptor, 2, (struct range_epoch){1, 1},
                                           range_span_all(), one, 1, NULL),
                     0);
    buf_init(&raw, RANGE_META_MAX);
    range_meta_encode(&m, &raw);
    assert_int_equal(raw.data[0], 1);
    buf_clear(&raw);
    fill(&m.merges);
    range_meta_encode(&m, &raw);
    assert_int_equal(raw.data[0], 2);
    assert_int_equal(range_meta_decode(buf_slice(&raw), &got, NULL), 0);
    assert_int_equal(got.merges.count, MERGES_MAX);
    range_meta_fini(&got);
    range_meta_init(&got);
    raw.data[raw.len - 1 - (MERGES_ABORTED_MAX - 1) * 17] = 9; /* an outcome of no kind */
    assert_int_equal(range_meta_decode(buf_slice(&raw), &got, NULL), ERR_CORRUPT);
    range_meta_fini(&m);
    buf_fini(&raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_damage),
        cmocka_unit_test(test_bounds),      cmocka_unit_test(test_unite),
        cmocka_unit_test(test_in_the_meta),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
