/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting the log: what goes, what is kept for members that lag, and how often those that
 * lag further are sent all.
 */
#include "consensus/consensus.h"

#include "rig.h"
#include "support/check.h"

static struct rig r; /* large; one test at a time */

static void test_compact(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    for (int i = 0; i < 5; i++)
        rig_propose(&r, 50);
    rig_settle(&r, 2);
    rig_append_result(&r, 3, 6, 0, 261);
    assert_int_equal(consensus_log_floor(r.m.c), 10);
    struct mstate s = member_state(&r.m);
    assert_int_equal(consensus_compact(r.m.c, r.now, &s.base, 20), 0);
    struct cons_status st;
    consensus_status(r.m.c, &st);
    assert_int_equal(st.snapshot_index, 261);
    assert_int_equal(consensus_log_floor(r.m.c), 241);
    assert_int_equal(consensus_compact(r.m.c, r.now, &s.base, 0), 0); /* not newer: nothing */
    assert_int_equal(consensus_log_floor(r.m.c), 241);
    rig_close(&r);
}

/* 3 refuses what the leader sends, until that begins where its log ends. */
static void refuse_behind(uint64_t last)
{
    for (int i = 0; i < 10; i++) {
        rig_clear(&r);
        rig_tick(&r, RIG_HB);
        rig_append_result(&r, 2, 6, 0, consensus_last_index(r.m.c));
        const struct cons_msg *m = rig_last(&r, CONS_MSG_APPEND, 3);
        if (m == NULL || m->append.prev_index <= last)
            continue;
        uint64_t refused = m->append.prev_index;
        rig_clear(&r);
        rig_append_result(&r, 3, 6, refused, last);
        return;
    }
}

/* A compaction that would cut nothing leaves who is at the log's beginning to the log: a
 * sibling of a split whose store was late needs two entries, not all the data. */
static void test_compact_whole(void **state)
{
    (void)state;
    rig_open(&r, 1, 0, NULL, 5, 0, 0, 0);
    rig_lead(&r, 2);
    rig_propose(&r, 3);
    rig_settle(&r, 2); /* 3 has not been heard of */
    struct mstate s = member_state(&r.m);
    assert_int_equal(consensus_compact(r.m.c, r.now, &s.base, 1000), 0);
    assert_int_equal(consensus_log_floor(r.m.c), RIG_BORN);
    refuse_behind(RIG_BORN);
    assert_int_equal(r.m.n_requests, 0);
    const struct cons_msg *m = rig_last(&r, CONS_MSG_APPEND, 3);
    assert_non_null(m);
    assert_int_equal(m->append.prev_index, RIG_BORN);
    rig_close(&r);
}

/* Of a live member that lags, the last entry that it has is kept too: the next message begins
 * with its term. */
static void test_compact_at_match(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    for (int i = 0; i < 8; i++)
        rig_propose(&r, 50);
    rig_settle(&r, 2);
    rig_append_result(&r, 3, 6, 0, 30);
    struct mstate s = member_state(&r.m);
    assert_int_equal(consensus_compact(r.m.c, r.now, &s.base, 1000), 0);
    assert_int_equal(consensus_log_floor(r.m.c), 29);
    refuse_behind(30);
    assert_int_equal(r.m.n_requests, 0);
    rig_close(&r);
}

/* So many streams to 3 are asked for in that time, of which each is refused at once. */
static uint32_t refused_streams(uint64_t ms, bool is_refused)
{
    uint32_t count = 0;
    for (uint64_t end = r.now + ms; r.now < end;) {
        r.m.n_requests = 0;
        rig_tick(&r, RIG_HB);
        rig_append_result(&r, 2, 6, 0, consensus_last_index(r.m.c));
        rig_append_result(&r, 3, 6, 211, 11); /* it has nothing yet, it says */
        count += r.m.n_requests;
        if (r.m.n_requests > 0)
            consensus_snapshot_failed(r.m.c, 3, is_refused);
    }
    return count;
}

/* Who refuses streams is asked less and less often, once a second in the end; once one was taken
 * in, or has broken after it had begun, with each heartbeat as at first. */
static void test_refused_streams(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    for (int i = 0; i < 4; i++)
        rig_propose(&r, 50);
    rig_settle(&r, 2);
    struct mstate s = member_state(&r.m);
    consensus_compact(r.m.c, r.now, &s.base, 0);
    uint32_t at_once = refused_streams(10000, false);
    assert_true(at_once > 100);
    assert_in_range(refused_streams(10000, true), 10, 20);
    assert_in_range(refused_streams(10000, true), 9, 11);
    r.m.n_requests = 0;
    for (int i = 0; i < 30 && r.m.n_requests == 0; i++) {
        rig_tick(&r, RIG_HB);
        rig_append_result(&r, 3, 6, 211, 11);
    }
    assert_int_equal(r.m.n_requests, 1);
    consensus_snapshot_failed(r.m.c, 3, false);
    assert_int_equal(refused_streams(10000, false), at_once);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compact),
        cmocka_unit_test(test_compact_whole),
        cmocka_unit_test(test_compact_at_match),
        cmocka_unit_test(test_refused_streams),
    };
    return cmocka_run_group_tests_name("compact", tests, NULL, NULL);
}
