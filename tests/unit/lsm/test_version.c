/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/version.h"

#include <stdlib.h>

#include "base/rng.h"
#include "support/check.h"

static struct piece *piece(uint64_t id, const char *lo, const char *hi, uint64_t order)
{
    struct piece *p = piece_new(slice_str(lo), slice_str(hi));
    assert_non_null(p);
    p->id = p->file = id;
    p->order = order;
    p->file_size = 1000 + id;
    p->file_crc = 0xdeadbeef;
    p->bytes = 77;
    p->records = 5;
    p->deletes = 2;
    return p;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct edit edit = {.next_number = 100, .next_order = UINT64_MAX}, got = {0};
    struct buf raw;
    struct err err = {0};
    buf_init(&raw, 1 << 20);
    assert_int_equal(edit_drop(&edit, 6, 12), 0);
    assert_int_equal(edit_add(&edit, 3, piece(13, "a", "b", 4)), 0);
    struct piece *cut = piece(14, "", "zz", 5);
    cut->is_cut = true;
    assert_int_equal(edit_add(&edit, 0, cut), 0);
    edit_encode(&edit, &raw);
    assert_int_equal(edit_decode(buf_slice(&raw), &got, &err), 0);
    assert_int_equal(got.next_number, 100);
    assert_true(got.next_order == UINT64_MAX);
    assert_int_equal(got.drop_count, 1);
    assert_int_equal(got.drops[0].level, 6);
    assert_int_equal(got.drops[0].id, 12);
    assert_int_equal(got.add_count, 2);
    const struct piece *p = got.adds[0].piece;
    assert_int_equal(got.adds[0].level, 3);
    assert_true(slice_equal(p->lo, slice_str("a")) && slice_equal(p->hi, slice_str("b")));
    assert_int_equal(p->file_size, 1013);
    assert_true(p->file_crc == 0xdeadbeef && p->bytes == 77 && p->records == 5 && p->deletes == 2);
    assert_false(p->is_cut);
    assert_true(got.adds[1].piece->is_cut);
    assert_int_equal(got.adds[1].piece->lo.len, 0);
    edit_fini(&got);
    edit_fini(&edit);
    buf_fini(&raw);
}

/* Cut anywhere or changed anywhere: an error or a sane edit, and no byte beyond. */
static void test_damage(void **state)
{
    (void)state;
    struct edit edit = {.next_number = 100, .next_order = 7};
    struct buf raw;
    struct rng rng;
    unsigned refused = 0;
    rng_init(&rng, 5);
    buf_init(&raw, 1 << 20);
    assert_int_equal(edit_drop(&edit, 2, 12), 0);
    assert_int_equal(edit_add(&edit, 3, piece(13, "apple", "banana", 4)), 0);
    edit_encode(&edit, &raw);
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = round < raw.len ? round : raw.len;
        uint8_t *bad = malloc(MAX(len, (size_t)1));
        struct edit got = {0};
        assert_non_null(bad);
        memcpy(bad, raw.data, len);
        if (round >= raw.len) {
            for (uint64_t n = rng_between(&rng, 1, 3); n > 0; n--)
                bad[rng_below(&rng, len)] = (uint8_t)rng_u64(&rng);
        }
        int rv = edit_decode(slice_of(bad, len), &got, NULL);
        refused += rv == ERR_CORRUPT;
        assert_true(rv == 0 || rv == ERR_CORRUPT);
        for (size_t i = 0; rv == 0 && i < got.add_count; i++)
            assert_true(slice_compare(got.adds[i].piece->lo, got.adds[i].piece->hi) < 0);
        edit_fini(&got);
        free(bad);
    }
    assert_true(refused > 1000);
    edit_fini(&edit);
    buf_fini(&raw);
}

static struct version *apply(const struct version *v, struct edit *edit, int want)
{
    struct version *next = NULL;
    struct err err = {0};
    int rv = version_apply(v, edit, &next, &err);
    if (rv != want)
        fail_msg("apply: %d (%s)", rv, err.msg);
    edit_fini(edit);
    return next;
}

static void test_apply(void **state)
{
    (void)state;
    struct version *v0 = version_new();
    struct edit edit = {0};
    edit_add(&edit, 0, piece(1, "a", "m", 1));
    edit_add(&edit, 0, piece(2, "c", "z", 2));
    edit_add(&edit, 1, piece(4, "m", "z", 0));
    edit_add(&edit, 1, piece(3, "a", "m", 0));
    struct version *v1 = apply(v0, &edit, 0);
    assert_int_equal(v1->at[0][0]->id, 2); /* newest first */
    assert_int_equal(v1->at[1][0]->id, 3); /* by key */
    assert_int_equal(version_find(v1, 1, slice_str("a")), 0);
    assert_int_equal(version_find(v1, 1, slice_str("m")), 1);
    assert_int_equal(version_find(v1, 1, slice_str("zz")), 2);
    assert_true(version_overlaps(v1, 1, slice_str("y"), slice_str("")));
    assert_false(version_overlaps(v1, 1, slice_str("z"), slice_str("")));
    assert_false(version_overlaps(v1, 0, slice_str("0"), slice_str("a")));

    edit_add(&edit, 1, piece(5, "k", "n", 0)); /* overlaps */
    apply(v1, &edit, ERR_CORRUPT);
    edit_drop(&edit, 1, 99); /* is not there */
    apply(v1, &edit, ERR_CORRUPT);
    edit_drop(&edit, 2, 3); /* is in another level */
    apply(v1, &edit, ERR_CORRUPT);
    edit_add(&edit, 0, piece(6, "d", "e", 2)); /* two tables of one order */
    apply(v1, &edit, ERR_CORRUPT);

    edit_drop(&edit, 1, 3);
    edit_add(&edit, 1, piece(5, "k", "m", 0));
    struct version *v2 = apply(v1, &edit, 0);
    assert_int_equal(v2->count[1], 2);
    assert_int_equal(v2->at[1][0]->id, 5);
    version_unref(v0);
    version_unref(v1);
    version_unref(v2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_apply),
    };
    return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
