/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <string.h>

#include "base/pages.h"
#include "env/sim/sim.h"
#include "lsm/lsm_internal.h"
#include "support/check.h"

/* What is given back is taken again, no more than so many are kept, and a new limit lets go. */
static void test_give_and_take(void **state)
{
    (void)state;
    enum { MAX_KEPT = 2, COUNT = 4 };
    struct stock *stock = stock_new(MAX_KEPT);
    void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = stock_take(stock);
        assert_non_null(blocks[i]);
        memset(blocks[i], i, PAGES_LARGE);
        assert_int_equal(stock_count(stock), 0);
    }
    stock_give(stock, NULL);
    for (size_t i = 0; i < COUNT; i++) {
        stock_give(stock, blocks[i]);
        assert_int_equal(stock_count(stock), MIN(i + 1, (size_t)MAX_KEPT));
    }
    void *again = stock_take(stock);
    assert_true(again == blocks[0] || again == blocks[1]);
    stock_give(stock, again);
    stock_limit(stock, 1);
    assert_int_equal(stock_count(stock), 1);
    stock_limit(stock, 5);
    assert_int_equal(stock_count(stock), 1);
    again = stock_take(stock);
    stock_limit(stock, 0);
    stock_give(stock, again);
    assert_int_equal(stock_count(stock), 0);
    stock_limit(stock, 1);
    stock_give(stock, stock_take(stock));
    assert_int_equal(stock_count(stock), 1);
    stock_ref(stock);
    stock_unref(stock);
    assert_int_equal(stock_count(stock), 1);
    stock_unref(stock); /* frees what is kept: the leak checker looks */
    stock_unref(NULL);
}

/* A memtable's memory goes to the next one, which sees none of what was in it. */
static void test_memtables_hand_on(void **state)
{
    (void)state;
    enum { BYTES = 64 << 20, VALUE = 1 << 20, COUNT = 16 };
    static uint8_t value[VALUE];
    struct stock *stock = stock_new(BYTES / PAGES_LARGE);
    size_t kept = 0;
    for (int round = 0; round < 3; round++) {
        struct memtable *mem = memtable_new(BYTES, stock);
        memset(value, 'a' + round, sizeof value);
        for (uint32_t i = 0; i < COUNT; i++) {
            uint8_t key[4] = {(uint8_t)(i * 7 % COUNT), 1, 2, (uint8_t)round};
            struct entry e = {.key = slice_of(key, sizeof key),
                              .version = i + 1,
                              .value = slice_of(value, sizeof value)};
            assert_int_equal(memtable_reserve(mem, 1, sizeof key + sizeof value), 0);
            memtable_write_begin(mem);
            memtable_add(mem, &e, 1);
        }
        memtable_check(mem);
        assert_int_equal(memtable_count(mem), COUNT);
        for (int i = 0; i < COUNT; i++) {
            uint8_t key[4] = {(uint8_t)i, 1, 2, (uint8_t)round};
            struct entry found;
            assert_true(
                memtable_get(mem, slice_of(key, sizeof key), UINT64_MAX, UINT32_MAX, &found));
            assert_memory_equal(found.value.data, value, sizeof value);
            key[3] = (uint8_t)(round + 1);
            assert_false(
                memtable_get(mem, slice_of(key, sizeof key), UINT64_MAX, UINT32_MAX, &found));
        }
        memtable_unref(mem);
        assert_true(round == 0 || stock_count(stock) == kept);
        kept = stock_count(stock);
        assert_true(kept >= COUNT / 2);
    }
    stock_unref(stock);
}

static void *take_and_give(void *data)
{
    struct stock *stock = data;
    for (int i = 0; i < 300; i++) {
        uint8_t *a = stock_take(stock), *b = stock_take(stock);
        a[0] = 1;
        b[PAGES_LARGE - 1] = 2;
        stock_give(stock, a);
        if (i % 7 == 0)
            stock_limit(stock, i % 2 == 0 ? 1 : 3);
        stock_give(stock, b);
    }
    stock_unref(stock);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct stock *stock = stock_new(3);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, stock_ref(stock)), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(stock_count(stock) <= 3);
    stock_unref(stock);
}

/* ---- in an engine -------------------------------------------------------------------------- */

enum { LARGE = 1 << 20 };

static void write_some(struct lsm *lsm, uint64_t version)
{
    static uint8_t value[LARGE];
    for (uint8_t i = 0; i < 8; i++) {
        struct lsm_batch batch;
        lsm_batch_init(&batch);
        lsm_batch_put(&batch, slice_of(&i, 1), version, slice_of(value, sizeof value), 0);
        assert_int_equal(lsm_write(lsm, &batch), 0);
        lsm_batch_fini(&batch);
    }
}

static void flush_cb(struct lsm_flush_op *op, int status)
{
    assert_int_equal(status, 0);
    *(bool *)op->data = true;
}

static bool is_busy(void *data)
{
    return !*(bool *)data;
}

static void flush(struct sim *sim, struct lsm *lsm)
{
    bool is_done = false;
    struct lsm_flush_op op = {.data = &is_done};
    assert_int_equal(lsm_flush(lsm, &op, flush_cb), 0);
    sim_run_while(sim, is_busy, &is_done, sim_now_us(sim) + 60 * UINT64_C(1000000));
    assert_true(is_done);
}

/* What a flush leaves is kept for a while, and never what a view lets go of after that. */
static void test_idle_engine_keeps_none(void **state)
{
    (void)state;
    struct sim *sim = sim_new(NULL, 1);
    struct sim_node *node = sim_node_new(sim, "n1");
    struct lsm_options options;
    struct lsm *lsm;
    lsm_options_init(&options);
    options.memtable_bytes = 32 << 20;
    options.no_auto_compaction = true;
    assert_int_equal(lsm_open(&lsm, sim_node_env(node), "db", &options, NULL), 0);
    for (uint64_t round = 1; round <= 4; round++) {
        bool is_held = round % 2 == 0;
        write_some(lsm, round);
        struct lsm_view *view = is_held ? lsm_view_take(lsm) : NULL;
        flush(sim, lsm);
        assert_true(is_held || stock_count(lsm->stock) > 0);
        sim_run_until(sim, sim_now_us(sim) + 11 * UINT64_C(1000000));
        assert_int_equal(stock_count(lsm->stock), 0);
        lsm_view_unref(view);
        assert_int_equal(stock_count(lsm->stock), 0);
    }
    sim_node_crash(node, SIM_CRASH_KILL);
    lsm_free(lsm);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_give_and_take),
        cmocka_unit_test(test_memtables_hand_on),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_idle_engine_keeps_none),
    };
    return cmocka_run_group_tests_name("stock", tests, NULL, NULL);
}
