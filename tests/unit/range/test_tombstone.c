/* SPDX-License-Identifier: Apache-2.0 */
/* What a store remembers of ranges that left it: through flush, crash and damage. */
#include "support/check.h"

#include <stdlib.h>

#include "range/tombstone.h"
#include "range_world.h"

static void write_batch(struct world *w, struct lsm_batch *batch)
{
    assert_int_equal(lsm_write(w->lsm, batch), 0);
    lsm_batch_clear(batch);
}

static void test_remembered(void **state)
{
    (void)state;
    struct world w;
    struct tombstones t;
    struct lsm_batch batch;
    uint64_t *gone = NULL;
    size_t count = 0;
    world_open(&w, &(struct world_options){.seed = 1, .replica_id = 21});
    lsm_batch_init(&batch);
    tombstone_put(&batch, 7, 100);
    tombstone_put(&batch, UINT64_MAX, 3);
    tombstone_put_gone(&batch, 99);
    write_batch(&w, &batch);
    tombstone_put(&batch, 7, 140); /* it came back under 139, and left again */
    tombstone_put_gone(&batch, 139);
    write_batch(&w, &batch);
    world_flush(&w);
    world_crash(&w, SIM_CRASH_POWER);
    tombstones_init(&t);
    assert_int_equal(tombstones_load(&t, w.lsm, NULL), 0);
    assert_int_equal(tombstones_least(&t, 7), 140);
    assert_true(tombstones_least(&t, 8) == 0);
    assert_int_equal(range_list_gone(w.lsm, &gone, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_true(gone[0] == 99 && gone[1] == 139);
    free(gone);
    tombstones_fini(&t);
    lsm_batch_fini(&batch);
    world_close(&w);
}

static void test_it_only_grows(void **state)
{
    (void)state;
    struct tombstones t;
    tombstones_init(&t);
    assert_int_equal(tombstones_raise(&t, 7, 10), 0);
    assert_int_equal(tombstones_raise(&t, 7, 5), 0);
    assert_int_equal(tombstones_least(&t, 7), 10);
    assert_int_equal(tombstones_raise(&t, 7, 11), 0);
    assert_int_equal(tombstones_least(&t, 7), 11);
    tombstones_fini(&t);
}

/* A record that cannot be read is damage, never forgotten. */
static void test_damage(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *value;
        size_t len;
    } rows[] = {
        {"empty", "", 0},
        {"cut", "\x01\x05\0\0\0\0\0\0", 8},
        {"a later format", "\x02\x05\0\0\0\0\0\0\0", 9},
        {"least id 0", "\x01\0\0\0\0\0\0\0\0", 9},
    };
    static const uint8_t key[18] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 't', 0, 0, 0, 0, 0, 0, 0, 9};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        struct tombstones t;
        struct lsm_batch batch;
        world_open(&w, &(struct world_options){.seed = 1, .replica_id = 21});
        lsm_batch_init(&batch);
        lsm_batch_put(&batch, slice_of(key, sizeof key), 5, slice_of(rows[i].value, rows[i].len),
                      0);
        write_batch(&w, &batch);
        tombstones_init(&t);
        if (tombstones_load(&t, w.lsm, NULL) != ERR_CORRUPT)
            fail_msg("%s", rows[i].name);
        tombstones_fini(&t);
        lsm_batch_fini(&batch);
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remembered),
        cmocka_unit_test(test_it_only_grows),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
