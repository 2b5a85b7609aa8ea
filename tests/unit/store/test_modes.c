/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads at replicas that do not lead, reads that may be old, of the past, and by lease.
 */
#include <stdio.h>

#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

struct modes {
    struct rig rig;
    size_t leader;
    size_t other;
};

static const struct request_read anywhere = {.any_replica = true};
static const struct request_read by_lease = {.consistency = READ_LEASE};

static struct request_read stale(uint64_t max_age_ms)
{
    return (struct request_read){.consistency = READ_STALE, .max_age_ms = max_age_ms};
}

static void open(struct modes *m, bool has_leases)
{
    rig_open(&m->rig, 3);
    m->rig.options.has_leases = has_leases;
    m->leader = rig_start_cluster(&m->rig);
    m->other = (m->leader + 1) % 3;
    rig_put(&m->rig, m->leader, "k", "one", 1000);
    rig_run(&m->rig, 200 * RIG_MS);
}

static void close(struct modes *m)
{
    rig_assert_answered(&m->rig);
    rig_close(&m->rig);
}

/* Cut `i` off from its peers; the client still reaches it. */
static void isolate(struct modes *m, size_t i)
{
    for (size_t k = 0; k < m->rig.count; k++) {
        if (k != i)
            sim_net_partition(m->rig.sim, m->rig.nodes[i], m->rig.nodes[k], false);
    }
}

static struct rig_answer *read_at(struct modes *m, size_t i, const struct request_read *how)
{
    struct rig_answer *answer = rig_read(&m->rig, i, "k", how, 3000);
    rig_run(&m->rig, 50 * RIG_MS);
    return answer;
}

static void want(const struct rig_answer *answer, int status, const char *value)
{
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, status);
    if (value != NULL)
        assert_string_equal(answer->value, value);
}

static void test_anywhere(void **state)
{
    struct modes m;
    (void)state;
    open(&m, false);
    want(read_at(&m, m.other, &anywhere), 0, "one");
    want(read_at(&m, m.leader, &anywhere), 0, "one");
    want(read_at(&m, m.other, &(struct request_read){0}), ERR_NOT_LEADER, NULL);
    isolate(&m, m.other); /* nobody confirms it: then it is not answered */
    struct rig_answer *alone = read_at(&m, m.other, &anywhere);
    assert_int_equal(alone->count, 0);
    rig_run(&m.rig, 3000 * RIG_MS);
    want(alone, ERR_TIMEOUT, NULL);
    close(&m);
}

/* It was asked before the partition, and answered when the leader is there again. */
static void test_anywhere_waits(void **state)
{
    struct modes m;
    (void)state;
    open(&m, false);
    isolate(&m, m.other);
    struct rig_answer *put = rig_put(&m.rig, m.leader, "k", "two", 1000);
    struct rig_answer *read = read_at(&m, m.other, &anywhere);
    want(put, 0, NULL);
    assert_int_equal(read->count, 0);
    sim_net_heal(m.rig.sim, NULL, NULL);
    rig_run(&m.rig, 2500 * RIG_MS);
    want(read, 0, "two");
    close(&m);
}

/* The age counts from when the leader was asked: what was confirmed then may be served for
 * so long, and no longer. */
static void test_stale(void **state)
{
    struct modes m;
    (void)state;
    open(&m, false);
    struct request_read second = stale(1000), long_ago = stale(60000);
    want(read_at(&m, m.other, &second), 0, "one");
    isolate(&m, m.other);
    rig_put(&m.rig, m.leader, "k", "two", 1000);
    rig_run(&m.rig, 500 * RIG_MS);
    want(read_at(&m, m.other, &second), 0, "one");
    rig_run(&m.rig, 500 * RIG_MS);
    struct rig_answer *late = read_at(&m, m.other, &second);
    rig_run(&m.rig, 1000 * RIG_MS); /* it asked its leader first, for a while */
    want(late, ERR_TOO_OLD, NULL);
    assert_non_null(strstr(late->text, "asked for was 1000 ms"));
    want(read_at(&m, m.other, &long_ago), 0, "one");
    sim_net_heal(m.rig.sim, NULL, NULL);
    rig_run(&m.rig, 2000 * RIG_MS);
    want(read_at(&m, m.other, &second), 0, "two");
    want(read_at(&m, m.other, &(struct request_read){.consistency = READ_STALE}), ERR_INVALID,
         NULL);
    close(&m);
}

/* A replica that starts knows nothing of what it missed. */
static void test_stale_after_start(void **state)
{
    struct modes m;
    struct request_read old = stale(60000);
    (void)state;
    open(&m, false);
    want(read_at(&m, m.other, &old), 0, "one");
    rig_crash(&m.rig, m.other, SIM_CRASH_KILL);
    rig_put(&m.rig, m.leader, "k", "two", 1000);
    rig_run(&m.rig, 100 * RIG_MS);
    assert_int_equal(rig_start(&m.rig, m.other, NULL), 0);
    isolate(&m, m.other);
    rig_run(&m.rig, 500 * RIG_MS);
    struct rig_answer *answer = read_at(&m, m.other, &old);
    rig_run(&m.rig, 1000 * RIG_MS);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, ERR_TOO_OLD);
    close(&m);
}

/* What is below the last version that was applied is the same everywhere, whoever leads. */
static void test_at_version(void **state)
{
    struct modes m;
    (void)state;
    open(&m, false);
    struct rig_answer *first = read_at(&m, m.leader, &(struct request_read){0});
    assert_true(first->version > 0);
    rig_put(&m.rig, m.leader, "k", "two", 1000);
    rig_run(&m.rig, 200 * RIG_MS);
    isolate(&m, m.other);
    struct request_read then = {
        .consistency = READ_AT, .at_version = first->version, .any_replica = true};
    want(read_at(&m, m.other, &then), 0, "one");
    want(read_at(&m, m.leader, &then), 0, "one");
    then.at_version = UINT64_MAX;
    want(read_at(&m, m.leader, &then), ERR_INVALID, NULL);
    close(&m);
}

/* By lease the leader answers though it has just been cut off; once the promises are over it
 * does not. */
static void test_lease(void **state)
{
    struct modes m;
    (void)state;
    open(&m, true);
    want(read_at(&m, m.leader, &by_lease), 0, "one");
    want(read_at(&m, m.other, &by_lease), ERR_NOT_LEADER, NULL);
    isolate(&m, m.leader);
    want(read_at(&m, m.leader, &by_lease), 0, "one");
    rig_run(&m.rig, 600 * RIG_MS);
    struct rig_answer *late = read_at(&m, m.leader, &by_lease);
    rig_run(&m.rig, 3000 * RIG_MS); /* it asks its voters, or has stepped down by now */
    assert_true(late->count == 1 && late->status != 0);
    close(&m);
}

/* What has expired by the clock, but not in range time, waits for an entry: that only who leads
 * makes, so who follows waits for none, nor wants one for ever. */
static void test_expired_elsewhere(void **state)
{
    struct modes m;
    struct op op = {
        .kind = OP_PUT, .key = slice_str("k"), .value = slice_str("two"), .ttl_ms = 300};
    (void)state;
    open(&m, false);
    rig_write(&m.rig, m.leader, 0, &op, 1000);
    rig_run(&m.rig, 100 * RIG_MS);
    want(read_at(&m, m.other, &anywhere), 0, "two");
    rig_run(&m.rig, 1000 * RIG_MS);
    want(read_at(&m, m.other, &anywhere), ERR_NOT_LEADER, NULL);
    const struct replica *r =
        replicas_of_range(&m.rig.stores[m.other]->replicas, STORE_FIRST_RANGE_ID);
    assert_true(r != NULL && !r->needs_stamp && r->read_count == 0);
    want(read_at(&m, m.leader, &anywhere), 0, "");
    rig_run(&m.rig, 100 * RIG_MS);
    want(read_at(&m, m.other, &anywhere), 0, "");
    close(&m);
}

static struct rig_answer *scan_at(struct modes *m, size_t i, const char *start,
                                  const struct request_read *how)
{
    struct rig_answer *answer = rig_scan(&m->rig, i, start, 1, how);
    rig_run(&m->rig, 100 * RIG_MS);
    assert_int_equal(answer->count, 1);
    return answer;
}

/* Where nobody has written for longer than is retained, a scan's pages are of the present all the
 * same: what is written meanwhile does not end it. */
static void test_pages_of_an_idle_range(void **state)
{
    struct modes m;
    struct request_read latest = {0}, minute = stale(60000);
    (void)state;
    rig_open(&m.rig, 3);
    m.rig.options.retention_ms = 4000;
    m.leader = rig_start_cluster(&m.rig);
    m.other = (m.leader + 1) % 3;
    rig_put(&m.rig, m.leader, "a", "one", 1000);
    struct rig_answer *put = rig_put(&m.rig, m.leader, "b", "one", 1000);
    rig_run(&m.rig, 20000 * RIG_MS);
    /* nothing follows the last key, which is one page, and who follows moves no time */
    assert_int_equal(scan_at(&m, m.leader, "b", &latest)->version, put->written);
    assert_int_equal(scan_at(&m, m.other, "a", &anywhere)->status, ERR_NOT_LEADER);
    struct rig_answer *old = scan_at(&m, m.other, "a", &minute);
    assert_true(old->status == 0 && old->has_more && old->version == put->written);

    struct rig_answer *first = scan_at(&m, m.leader, "a", &latest);
    assert_true(first->status == 0 && first->has_more && first->version > put->written);
    rig_put(&m.rig, m.leader, "b", "two", 1000);
    rig_run(&m.rig, 1000 * RIG_MS);
    struct request_read then = {.consistency = READ_AT, .at_version = first->version};
    struct rig_answer *second = scan_at(&m, m.leader, "b", &then);
    assert_true(second->status == 0 && second->version == first->version);
    struct rig_answer *again = scan_at(&m, m.other, "a", &anywhere);
    assert_true(again->status == 0 && again->has_more);
    then.at_version = put->written;
    assert_int_equal(scan_at(&m, m.leader, "b", &then)->status, ERR_VERSION_GONE);
    close(&m);
}

/* The page of before it waited was made off the loop, with its answer: that one is not sent. */
static void test_large_page_of_an_idle_range(void **state)
{
    enum { KEYS = 300, PAGE = 200 };
    struct modes m;
    struct rig_answer *put = NULL;
    (void)state;
    rig_open(&m.rig, 3);
    m.rig.options.retention_ms = 4000;
    m.rig.options.read_aside_bytes = 256;
    m.leader = rig_start_cluster(&m.rig);
    for (int i = 0; i < KEYS; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%03d", i);
        put = rig_put(&m.rig, m.leader, key, "one", 1000);
        rig_run(&m.rig, 20 * RIG_MS);
    }
    rig_run(&m.rig, 20000 * RIG_MS);
    struct rig_answer *page = rig_scan(&m.rig, m.leader, "", PAGE, &(struct request_read){0});
    rig_run(&m.rig, 500 * RIG_MS);
    assert_int_equal(page->count, 1);
    assert_int_equal(page->status, 0);
    assert_true(page->has_more && page->version > put->written);
    close(&m);
}

/* No entry is written for a scan where the disk is full: its page is of then. */
static void test_page_of_a_full_disk(void **state)
{
    struct modes m;
    (void)state;
    rig_open(&m.rig, 3);
    m.rig.options.retention_ms = 4000;
    m.leader = rig_start_cluster(&m.rig);
    rig_put(&m.rig, m.leader, "a", "one", 1000);
    struct rig_answer *put = rig_put(&m.rig, m.leader, "b", "one", 1000);
    rig_run(&m.rig, 20000 * RIG_MS);
    m.rig.stores[m.leader]->mark = WATERMARK_READ_ONLY;
    struct rig_answer *page = scan_at(&m, m.leader, "a", &(struct request_read){0});
    assert_true(page->status == 0 && page->has_more && page->version == put->written);
    close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anywhere),
        cmocka_unit_test(test_anywhere_waits),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_stale_after_start),
        cmocka_unit_test(test_at_version),
        cmocka_unit_test(test_lease),
        cmocka_unit_test(test_expired_elsewhere),
        cmocka_unit_test(test_pages_of_an_idle_range),
        cmocka_unit_test(test_large_page_of_an_idle_range),
        cmocka_unit_test(test_page_of_a_full_disk),
    };
    return cmocka_run_group_tests_name("store_modes", tests, NULL, NULL);
}
