/* SPDX-License-Identifier: Apache-2.0
 *
 * What expired values and old versions take comes back where nobody writes any more.
 */
#include <stdio.h>

#include "support/check.h"

#include "lsm/lsm.h"
#include "range/range.h"
#include "store/store_internal.h"
#include "store_rig.h"

enum {
    KEYS = 600,
    LASTING = 60, /* of them */
    VALUE_LEN = 250,
    TTL_MS = 30 * 1000,
    RETENTION_MS = 60 * 1000,
    LOOKED_AT_MS = 15 * 1000, /* two flushes, and what they lead to */
};

static size_t open_with_small_files(struct rig *rig)
{
    rig_open(rig, 3);
    rig->options.retention_ms = RETENTION_MS;
    rig->options.garbage_pass_ms = 200;
    rig->options.hibernate_after_ms = 1000;
    rig->options.lsm.memtable_bytes = 64 << 10;
    rig->options.lsm.table_bytes = 64 << 10;
    rig->options.lsm.level_base_bytes = 64 << 10;
    rig->options.lsm.l0_compact = 2;
    return rig_start_cluster(rig);
}

static void write_all(struct rig *rig, size_t leader, const char *letter, uint64_t ttl_ms)
{
    char value[VALUE_LEN + 1];
    memset(value, letter[0], VALUE_LEN);
    value[VALUE_LEN] = 0;
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%04d", i);
        struct op op = {.kind = OP_PUT, .key = slice_str(key), .value = slice_str(value)};
        op.ttl_ms = i % (KEYS / LASTING) == 0 ? 0 : ttl_ms;
        struct rig_answer *answer = rig_write(rig, leader, 0, &op, 5000);
        rig_run(rig, 4 * RIG_MS);
        assert_int_equal(answer->status, 0);
    }
}

/* Below L0, where whole files are. */
static uint64_t records_of(const struct store *store)
{
    struct lsm_stats stats;
    uint64_t records = 0;
    lsm_stats(store->lsm, &stats);
    for (unsigned level = 1; level < LSM_LEVELS; level++)
        records += stats.levels[level].records;
    return records;
}

/* … but for what nobody has, of the last memtable. */
static void assert_gone(struct rig *rig)
{
    for (size_t i = 0; i < rig->count; i++) {
        printf("store %zu: %llu records below L0\n", i,
               (unsigned long long)records_of(rig->stores[i]));
        assert_in_range(records_of(rig->stores[i]), 1, KEYS / 3);
        assert_in_range(rig->stores[i]->garbage.stats.flushes, 1, 4);
        store_check(rig->stores[i]);
    }
}

static void assert_there(struct rig *rig)
{
    for (size_t i = 0; i < rig->count; i++)
        assert_in_range(records_of(rig->stores[i]), KEYS / 2, 4 * KEYS);
}

static uint64_t moved(const struct rig *rig)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < rig->count; i++)
        sum += rig->stores[i]->garbage.stats.moved;
    return sum;
}

static void test_expired(void **state)
{
    struct rig rig;
    (void)state;
    size_t leader = open_with_small_files(&rig);
    write_all(&rig, leader, "a", TTL_MS);
    rig_run(&rig, TTL_MS * RIG_MS / 2);
    assert_there(&rig);
    rig_run(&rig, (TTL_MS + RETENTION_MS + LOOKED_AT_MS) * RIG_MS);
    assert_gone(&rig);
    uint64_t before = moved(&rig);
    assert_in_range(before, 1, 10);
    rig_run(&rig, 3600 * 1000 * RIG_MS); /* then there is nothing more to be had */
    assert_int_equal(moved(&rig), before);
    rig_reconnect(&rig, leader); /* it was idle for too long */
    rig_run(&rig, 1000 * RIG_MS);
    struct rig_answer *answer = rig_get(&rig, leader, "key-0010", 5000);
    rig_run(&rig, 1000 * RIG_MS);
    assert_true(answer->status == 0 && answer->value[0] == 'a');
    rig_close(&rig);
}

/* Each was written three times. */
static void test_old_versions(void **state)
{
    struct rig rig;
    (void)state;
    size_t leader = open_with_small_files(&rig);
    for (int i = 0; i < 3; i++)
        write_all(&rig, leader, "a", 0);
    assert_there(&rig);
    rig_run(&rig, (RETENTION_MS + LOOKED_AT_MS) * RIG_MS);
    for (size_t i = 0; i < rig.count; i++) {
        printf("store %zu: %llu records below L0\n", i,
               (unsigned long long)records_of(rig.stores[i]));
        assert_in_range(records_of(rig.stores[i]), 1, KEYS + KEYS / 4);
    }
    assert_in_range(moved(&rig), 1, 10);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expired),
        cmocka_unit_test(test_old_versions),
    };
    return cmocka_run_group_tests_name("garbage", tests, NULL, NULL);
}
