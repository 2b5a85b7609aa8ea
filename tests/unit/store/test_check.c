/* SPDX-License-Identifier: Apache-2.0
 *
 * `range check` on whole stores: who takes part, who does not and says so, and that
 * what differs is seen.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "range/digest.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"
#include "wire/command.h"

static struct rig_answer *start_check(struct rig *rig, size_t i)
{
    struct request request = {.kind = REQUEST_CHECK_START};
    return rig_ask(rig, i, &request);
}

static struct rig_answer *result_of_check(struct rig *rig, size_t i, uint64_t index)
{
    struct request request = {.kind = REQUEST_CHECK_RESULT, .check = {.index = index}};
    struct rig_answer *a = rig_ask(rig, i, &request);
    rig_run(rig, 50 * RIG_MS);
    assert_int_equal(a->count, 1);
    return a;
}

static void put_some(struct rig *rig, size_t leader, int from, int to)
{
    for (int i = from; i < to; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%04d", i);
        rig_put(rig, leader, key, "value", 2000);
    }
    rig_run(rig, 500 * RIG_MS);
}

/* Start a check and let it end: its index. */
static uint64_t check_now(struct rig *rig, size_t leader)
{
    struct rig_answer *a = start_check(rig, leader);
    rig_run(rig, 500 * RIG_MS);
    assert_int_equal(a->status, 0);
    assert_int_equal(a->check.state, CHECK_STARTED);
    assert_true(a->check.index > 0 && a->check.term > 0);
    assert_int_equal(a->check.replica_id, leader + 1);
    return a->check.index;
}

static void test_all_alike(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    put_some(&rig, leader, 0, 100);
    uint64_t index = check_now(&rig, leader);
    put_some(&rig, leader, 50, 120); /* what comes later does not matter */
    struct response_check first = {0};
    for (size_t i = 0; i < 3; i++) {
        struct rig_answer *a = result_of_check(&rig, i, index);
        assert_int_equal(a->status, 0);
        assert_int_equal(a->check.state, CHECK_DONE);
        assert_int_equal(a->check.keys, 100);
        assert_int_equal(a->check.replica_id, i + 1);
        if (i == 0)
            first = a->check;
        assert_memory_equal(a->check.sum, first.sum, sizeof first.sum);
        assert_true(a->check.meta_hash == first.meta_hash);
        assert_true(a->check.history_hash == first.history_hash);
        assert_true(a->check.term == first.term);
        assert_true(store_check_sums(rig.stores[i], STORE_FIRST_RANGE_ID, 0)->index == index);
        assert_null(store_check_sums(rig.stores[i], STORE_FIRST_RANGE_ID, 1));
    }
    assert_int_equal(check_now(&rig, leader) > index, 1);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Who may be asked, and for what. */
static void test_refusals(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    assert_int_equal(rig_start(&rig, 0, NULL), 0);
    struct rig_answer *unborn = start_check(&rig, 0);
    rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(unborn->status, ERR_STATE);
    rig_crash(&rig, 0, SIM_CRASH_KILL);

    size_t leader = rig_start_cluster(&rig);
    struct rig_answer *follower = start_check(&rig, (leader + 1) % 3);
    struct request other = {.kind = REQUEST_CHECK_START, .check = {.range_id = 99}};
    struct rig_answer *unknown = rig_ask(&rig, leader, &other);
    rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(follower->status, ERR_NOT_LEADER);
    assert_int_equal(follower->leader_store, leader + 1);
    assert_int_equal(unknown->status, ERR_NOT_FOUND);

    struct rig_answer *never = result_of_check(&rig, leader, 11);
    assert_int_equal(never->check.state, CHECK_MISSING);
    assert_non_null(strstr(never->why, "no check at this index"));
    struct rig_answer *future = result_of_check(&rig, leader, UINT64_C(1) << 40);
    assert_int_equal(future->check.state, CHECK_BEHIND);

    /* The keyspace of the entry that asks is not for clients. */
    struct op op = {.kind = OP_PUT, .key = slice_str("digest")};
    struct command command = {.keyspace = UINT32_MAX, .op_count = 1, .ops = &op};
    struct buf raw;
    buf_init(&raw, 256);
    command_encode(&raw, &command);
    struct request write = {.kind = REQUEST_WRITE, .write = {.command = buf_slice(&raw)}};
    struct rig_answer *reserved = rig_ask(&rig, leader, &write);
    rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(reserved->status, ERR_INVALID);
    assert_non_null(strstr(reserved->text, "reserved"));
    buf_fini(&raw);
    rig_close(&rig);
}

/* About 2.5 MiB: three steps. */
static void put_large(struct rig *rig, size_t leader)
{
    enum { LEN = 256 << 10 };
    char *value = malloc(LEN + 1);
    assert_non_null(value);
    memset(value, 'v', LEN);
    value[LEN] = 0;
    for (int i = 0; i < 10; i++) {
        char key[16];
        snprintf(key, sizeof key, "large%d", i);
        rig_put(rig, leader, key, value, 2000);
    }
    rig_run(rig, 500 * RIG_MS);
    free(value);
}

/* One at a time; read at a bounded rate; the next is welcome after. */
static void test_rate_and_busy(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    rig.options.check_bytes_per_s = 1 << 20;
    size_t leader = rig_start_cluster(&rig);
    put_large(&rig, leader);
    struct rig_answer *a = start_check(&rig, leader);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(a->status, 0);
    struct rig_answer *running = result_of_check(&rig, leader, a->check.index);
    assert_int_equal(running->check.state, CHECK_RUNNING);
    assert_true(running->check.bytes > 0);
    struct rig_answer *second = start_check(&rig, leader);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(second->status, ERR_BUSY);
    rig_run(&rig, 2500 * RIG_MS);
    assert_int_equal(result_of_check(&rig, leader, a->check.index)->check.state, CHECK_DONE);
    struct rig_answer *third = start_check(&rig, leader);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(third->status, 0);
    assert_int_equal(result_of_check(&rig, leader, third->check.index)->check.state, CHECK_DONE);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static uint64_t read_so_far(struct rig *rig, size_t i, uint64_t range_id, uint64_t index)
{
    struct request request = {.kind = REQUEST_CHECK_RESULT,
                              .check = {.range_id = range_id, .index = index}};
    struct rig_answer *a = rig_ask(rig, i, &request);
    rig_run(rig, RIG_MS);
    assert_int_equal(a->count, 1);
    assert_int_equal(a->check.state, CHECK_RUNNING);
    return a->check.bytes;
}

/* The rate is the store's, however many ranges are checked, and what reading takes is no time on
 * top of it. */
static void test_rate_of_two(void **state)
{
    enum { OTHER = 77, RATE = 512 << 10 };
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    rig.options.check_bytes_per_s = RATE;
    rig_start_cluster(&rig);
    put_large(&rig, 0);
    struct rig_answer *answer = rig_split(&rig, 0, "large5", STORE_FIRST_RANGE_ID, OTHER);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(answer->status, 0);
    struct request first = {.kind = REQUEST_CHECK_START,
                            .check = {.range_id = STORE_FIRST_RANGE_ID}};
    struct request second = {.kind = REQUEST_CHECK_START, .check = {.range_id = OTHER}};
    struct rig_answer *a = rig_ask(&rig, 0, &first);
    struct rig_answer *b = rig_ask(&rig, 0, &second);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(a->status, 0);
    assert_int_equal(b->status, 0);
    uint64_t bytes = read_so_far(&rig, 0, STORE_FIRST_RANGE_ID, a->check.index) +
                     read_so_far(&rig, 0, OTHER, b->check.index);
    assert_in_range(bytes, 2 * RATE * 3 / 4, 2 * RATE + 2 * (257 << 10));
    rig_run(&rig, 6000 * RIG_MS);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* The index of the last check that is done. */
static uint64_t last_sum(const struct store *store)
{
    const struct range_digest_sums *sums;
    uint64_t index = 0;
    for (size_t i = 0; (sums = store_check_sums(store, STORE_FIRST_RANGE_ID, i)) != NULL; i++)
        index = sums->index;
    return index;
}

/* A check that is over at once has read something, too: many small ranges, one after another, are
 * checked no faster than the rate. */
static void test_rate_of_many_small(void **state)
{
    enum { CHECKS = 20, VALUE = 30000, RATE = 1 << 20 };
    static char value[VALUE + 1];
    struct rig rig;
    struct rng rng;
    (void)state;
    rng_init(&rng, 1);
    for (size_t i = 0; i < VALUE; i++)
        value[i] = (char)rng_between(&rng, 1, UINT8_MAX);
    rig_open(&rig, 1);
    rig.options.check_bytes_per_s = RATE;
    rig_start_cluster(&rig);
    rig_put(&rig, 0, "k", value, 2000);
    rig_run(&rig, 500 * RIG_MS);
    uint64_t began_us = sim_now_us(rig.sim);
    for (int i = 0; i < CHECKS; i++) {
        struct rig_answer *a = start_check(&rig, 0);
        for (int k = 0; k < 1000 && a->count == 0; k++)
            rig_run(&rig, RIG_MS);
        assert_int_equal(a->status, 0);
        for (int k = 0; k < 1000 && last_sum(rig.stores[0]) < a->check.index; k++)
            rig_run(&rig, RIG_MS);
    }
    uint64_t least_us = (uint64_t)(CHECKS - 1) * VALUE * 1000 * 1000 / RATE;
    assert_in_range(sim_now_us(rig.sim) - began_us, least_us, 4 * least_us);
    rig_close(&rig);
}

/* A store that was down catches up and takes part; one that restarts after it took part
 * knows of nothing. */
static void test_behind_and_restarted(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    size_t late = (leader + 1) % 3;
    size_t forgetful = (leader + 2) % 3;
    put_some(&rig, leader, 0, 20);
    rig_crash(&rig, late, SIM_CRASH_POWER);
    uint64_t index = check_now(&rig, leader);
    assert_int_equal(rig_start(&rig, late, NULL), 0);
    rig_run(&rig, 5 * RIG_MS);
    rig_run(&rig, 3000 * RIG_MS);
    struct rig_answer *caught_up = result_of_check(&rig, late, index);
    struct rig_answer *lead = result_of_check(&rig, leader, index);
    assert_int_equal(caught_up->check.state, CHECK_DONE);
    assert_memory_equal(caught_up->check.sum, lead->check.sum, CHECK_SUM_LEN);
    assert_int_equal(result_of_check(&rig, forgetful, index)->check.state, CHECK_DONE);
    rig_simple(&rig, forgetful, REQUEST_FLUSH); /* the index is behind its next start */
    rig_run(&rig, 500 * RIG_MS);
    rig_crash(&rig, forgetful, SIM_CRASH_KILL);
    assert_int_equal(rig_start(&rig, forgetful, NULL), 0);
    rig_run(&rig, 3000 * RIG_MS);
    struct rig_answer *gone = result_of_check(&rig, forgetful, index);
    assert_int_equal(gone->check.state, CHECK_MISSING);
    assert_non_null(strstr(gone->why, "restarted"));
    rig_close(&rig);
}

/* The last few are kept, in order; older ones are gone. */
static void test_kept(void **state)
{
    struct rig rig;
    uint64_t indexes[6];
    (void)state;
    rig_open(&rig, 1);
    rig_start_cluster(&rig);
    for (size_t i = 0; i < ARRAY_LEN(indexes); i++)
        indexes[i] = check_now(&rig, 0);
    assert_int_equal(result_of_check(&rig, 0, indexes[1])->check.state, CHECK_MISSING);
    for (size_t i = 2; i < ARRAY_LEN(indexes); i++) {
        assert_int_equal(result_of_check(&rig, 0, indexes[i])->check.state, CHECK_DONE);
        assert_true(store_check_sums(rig.stores[0], STORE_FIRST_RANGE_ID, i - 2)->index ==
                    indexes[i]);
    }
    rig_close(&rig);
}

/* What is kept of a check that is over keeps no range from sleeping, nor its replica from leaving.
 */
static void test_over_is_quiet(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    put_some(&rig, leader, 0, 10);
    check_now(&rig, leader);
    rig_run(&rig, 10000 * RIG_MS);
    for (size_t i = 0; i < 3; i++) {
        struct replica *r = replicas_of_range(&rig.stores[i]->replicas, STORE_FIRST_RANGE_ID);
        assert_false(list_is_empty(&r->checks));
        assert_true(replica_is_quiet(r));
        assert_true(r->nap.is_asleep);
    }
    rig_close(&rig);
}

/* A crash and a damaged store in the middle of a check. */
static void test_ends_with_the_replica(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    rig.options.check_bytes_per_s = 64 << 10;
    size_t leader = rig_start_cluster(&rig);
    put_large(&rig, leader);
    start_check(&rig, leader);
    rig_run(&rig, 20 * RIG_MS);
    rig_crash(&rig, leader, SIM_CRASH_POWER);
    assert_int_equal(rig_start(&rig, leader, NULL), 0);
    rig_run(&rig, 5000 * RIG_MS);
    size_t now = rig_leader(&rig);
    assert_true(now < 3);
    put_some(&rig, now, 0, 10);
    rig_drain(&rig, now, 1000);
    rig_run(&rig, 2000 * RIG_MS);
    rig_close(&rig);
}

struct largest {
    char path[ENV_PATH_MAX];
    uint64_t size;
};

static void find_largest(void *data, const char *path, uint64_t size)
{
    struct largest *largest = data;
    if (strstr(path, ".tbl") == NULL || size <= largest->size)
        return;
    snprintf(largest->path, sizeof largest->path, "%s", path);
    largest->size = size;
}

/* What is rotten is found by the check that reads it, and ends the store's service. */
static void test_meets_rot(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    size_t odd = (leader + 1) % 3;
    struct sim_disk *disk = sim_node_disk(rig.nodes[odd]);
    struct largest users = {.size =
                                0}; /* a table; what the store reads at its start is in another */
    put_large(&rig, leader);
    rig_simple(&rig, odd, REQUEST_FLUSH);
    rig_run(&rig, 1000 * RIG_MS);
    rig_crash(&rig, odd, SIM_CRASH_KILL); /* its blocks are in no cache */
    sim_disk_each_file(disk, find_largest, &users);
    sim_disk_flip_bit(disk, users.path, 8 * (users.size / 4));
    assert_int_equal(rig_start(&rig, odd, NULL), 0);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(result_of_check(&rig, odd, 11)->status, 0); /* nobody has read it yet */
    uint64_t index = check_now(&rig, leader);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(result_of_check(&rig, leader, index)->check.state, CHECK_DONE);
    struct rig_answer *a = result_of_check(&rig, odd, index);
    assert_int_equal(a->status, ERR_UNAVAILABLE);
    assert_string_equal(a->text, "this store is damaged");
    rig_close(&rig);
}

static void on_written(struct lsm_flush_op *op, int status)
{
    *(int *)op->data = status;
}

/* One record differs on one store, and every checksum at rest is right. */
static void test_a_difference_shows(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    size_t odd = (leader + 1) % 3;
    put_some(&rig, leader, 0, 100);
    struct lsm *lsm = store_lsm(rig.stores[odd]);
    struct lsm_batch batch;
    struct lsm_view *view = lsm_view_take(lsm);
    struct lsm_value was = {0};
    struct slice key = slice_of("\2\0\0\0\0k0042", 10);
    assert_int_equal(lsm_get(view, key, UINT64_MAX, 0, &was, NULL), 0);
    lsm_batch_init(&batch);
    lsm_batch_put(&batch, key, was.version + 1, slice_str("eulav"), 0);
    assert_int_equal(lsm_write(lsm, &batch), 0);
    lsm_batch_fini(&batch);
    lsm_value_fini(&was);
    lsm_view_unref(view);
    int flushed = 1;
    struct lsm_flush_op flush = {.data = &flushed};
    assert_int_equal(lsm_flush(lsm, &flush, on_written), 0);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(flushed, 0);
    uint64_t index = check_now(&rig, leader);
    struct rig_answer *a = result_of_check(&rig, leader, index);
    struct rig_answer *b = result_of_check(&rig, odd, index);
    struct rig_answer *c = result_of_check(&rig, 3 - leader - odd, index);
    assert_memory_equal(a->check.sum, c->check.sum, CHECK_SUM_LEN);
    assert_memory_not_equal(a->check.sum, b->check.sum, CHECK_SUM_LEN);
    assert_true(a->check.history_hash == b->check.history_hash);
    assert_int_equal(b->check.keys, 100);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_alike),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_rate_and_busy),
        cmocka_unit_test(test_behind_and_restarted),
        cmocka_unit_test(test_rate_of_two),
        cmocka_unit_test(test_rate_of_many_small),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_over_is_quiet),
        cmocka_unit_test(test_ends_with_the_replica),
        cmocka_unit_test(test_meets_rot),
        cmocka_unit_test(test_a_difference_shows),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
