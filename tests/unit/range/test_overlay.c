/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>

#include "base/err.h"
#include "base/rng.h"
#include "range/overlay.h"

static const uint64_t seed[2] = {1, 2};

static int put(struct overlay *o, const char *key, uint64_t version, bool is_delete)
{
    struct overlay_record r = {.key = slice_str(key), .version = version, .is_delete = is_delete};
    return overlay_put(o, &r);
}

static void test_find_newest(void **state)
{
    (void)state;
    struct overlay o;
    overlay_init(&o, seed);
    assert_null(overlay_find(&o, slice_str("a")));
    overlay_begin(&o);
    assert_int_equal(put(&o, "a", 1, false), 0);
    overlay_begin(&o);
    assert_int_equal(put(&o, "a", 2, true), 0);
    assert_int_equal(put(&o, "b", 2, false), 0);
    assert_int_equal(o.count, 3);
    assert_true(overlay_find(&o, slice_str("a"))->version == 2);
    assert_true(overlay_find(&o, slice_str("a"))->is_delete);
    overlay_check(&o);
    overlay_rollback(&o);
    assert_int_equal(o.count, 1);
    assert_true(overlay_find(&o, slice_str("a"))->version == 1);
    assert_null(overlay_find(&o, slice_str("b")));
    overlay_clear(&o);
    assert_null(overlay_find(&o, slice_str("a")));
    overlay_fini(&o);
}

/* Within a command a key stands once; the last write wins. */
static void test_fold(void **state)
{
    (void)state;
    struct overlay o;
    overlay_init(&o, seed);
    overlay_begin(&o);
    assert_int_equal(put(&o, "a", 5, false), 0);
    assert_int_equal(put(&o, "a", 5, true), 0);
    assert_int_equal(o.count, 1);
    assert_true(o.records[0].is_delete);
    assert_true(overlay_is_own(&o, &o.records[0]));
    overlay_begin(&o);
    assert_false(overlay_is_own(&o, overlay_find(&o, slice_str("a"))));
    overlay_check(&o);
    overlay_fini(&o);
}

enum { KEYS = 40, MODEL_MAX = 4096 };

/* Against a plain array that is searched from behind. */
static void test_model(void **state)
{
    (void)state;
    static char names[KEYS][16];
    struct overlay o;
    struct rng rng;
    int model[MODEL_MAX]; /* index of the key */
    uint32_t count = 0, mark = 0;
    rng_init(&rng, 7);
    overlay_init(&o, seed);
    for (int i = 0; i < KEYS; i++)
        snprintf(names[i], sizeof names[i], "key%d", i);
    for (uint64_t version = 1; version < 3000; version++) {
        overlay_begin(&o);
        mark = count;
        for (uint64_t n = rng_below(&rng, 4); n > 0 && count < MODEL_MAX; n--) {
            int k = (int)rng_below(&rng, KEYS);
            bool is_new = true;
            for (uint32_t j = mark; j < count; j++)
                is_new = is_new && model[j] != k;
            if (is_new)
                model[count++] = k;
            assert_int_equal(put(&o, names[k], version, false), 0);
        }
        if (rng_chance(&rng, 1, 4)) {
            overlay_rollback(&o);
            count = mark;
        }
        if (rng_chance(&rng, 1, 500)) {
            overlay_clear(&o);
            count = 0;
        }
        assert_int_equal(o.count, count);
        int k = (int)rng_below(&rng, KEYS);
        int at = (int)count - 1;
        while (at >= 0 && model[at] != k)
            at--;
        const struct overlay_record *r = overlay_find(&o, slice_str(names[k]));
        assert_true(r == (at < 0 ? NULL : &o.records[at]));
    }
    overlay_check(&o);
    overlay_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_newest),
        cmocka_unit_test(test_fold),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests_name("overlay", tests, NULL, NULL);
}
