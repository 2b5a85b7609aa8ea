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

/* As a removal does: in memory first, then in the edit. */
static void bury(struct tombstones *t, struct lsm_batch *batch, uint64_t range_id, uint64_t least)
{
    assert_int_equal(tombstones_raise(t, range_id, least), 0);
    tombstone_put(batch, t, range_id);
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
    tombstones_init(&t);
    bury(&t, &batch, 7, 100);
    bury(&t, &batch, UINT64_MAX, 3);
    tombstone_put_gone(&batch, 99);
    write_batch(&w, &batch);
    bury(&t, &batch, 7, 140); /* it came back under 139, and left again */
    tombstone_put_gone(&batch, 139);
    write_batch(&w, &batch);
    world_flush(&w);
    world_crash(&w, SIM_CRASH_POWER);
    tombstones_fini(&t);
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

/* A range that was merged away leaves word of where it went, and no id of it lives on. */
static void test_ended(void **state)
{
    (void)state;
    struct world w;
    struct tombstones t;
    struct lsm_batch batch;
    uint32_t cursor = 0;
    uint64_t range_id = 0;
    world_open(&w, &(struct world_options){.seed = 1, .replica_id = 21});
    lsm_batch_init(&batch);
    tombstones_init(&t);
    bury(&t, &batch, 7, 100);
    bury(&t, &batch, 8, 3);
    write_batch(&w, &batch);
    assert_int_equal(tombstones_end(&t, 7, 5, 44), 0);
    tombstone_put(&batch, &t, 7);
    write_batch(&w, &batch);
    world_flush(&w);
    world_crash(&w, SIM_CRASH_POWER);
    tombstones_fini(&t);
    tombstones_init(&t);
    assert_int_equal(tombstones_load(&t, w.lsm, NULL), 0);
    assert_true(tombstones_least(&t, 7) == TOMBSTONE_ENDED);
    assert_true(tombstones_get(&t, 7)->into_range == 5);
    assert_true(tombstones_get(&t, 7)->span_epoch == 44);
    assert_true(tombstones_get(&t, 8)->into_range == 0);
    assert_null(tombstones_get(&t, 9));
    assert_int_equal(tombstones_raise(&t, 7, 200), 0); /* it stays over */
    assert_true(tombstones_least(&t, 7) == TOMBSTONE_ENDED);
    assert_non_null(tombstones_next_ended(&t, &cursor, &range_id));
    assert_true(range_id == 7);
    assert_null(tombstones_next_ended(&t, &cursor, &range_id));
    tombstones_fini(&t);
    lsm_batch_fini(&batch);
    world_close(&w);
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
        {"a later format", "\x03\x05\0\0\0\0\0\0\0", 9},
        {"ended, cut", "\x02\x05\0\0\0\0\0\0\0", 9},
        {"ended into nothing", "\x02\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0", 25},
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
        cmocka_unit_test(test_ended),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
