/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of membership beside a voter that lives and takes nothing.
 */
#include "consensus/consensus.h"

#include "rig.h"
#include "support/check.h"

enum { PATIENCE_MS = 10 * RIG_ET, STUCK_AT = 11 };

static struct rig r; /* large; one test at a time */

static int change(enum cons_change_kind kind, uint64_t id)
{
    uint64_t index = 0;
    return consensus_propose_change(r.m.c, r.now, kind, id, 100 + id, &index, NULL);
}

/* All have everything but those from `stuck` on up to 3, who say that they live. */
static void answer(uint64_t stuck)
{
    rig_persist(&r);
    for (uint32_t i = 0; i < r.m.config.n; i++) {
        uint64_t id = r.m.config.members[i].replica_id;
        bool is_stuck = id >= stuck && id <= 3;
        if (id != 1)
            rig_append_result(&r, id, 6, 0, is_stuck ? STUCK_AT : consensus_last_index(r.m.c));
    }
    member_apply(&r.m, r.now);
    rig_clear(&r);
}

static void pass(uint64_t ms, uint64_t stuck)
{
    for (uint64_t i = 0; i < ms; i += RIG_HB) {
        rig_tick(&r, RIG_HB);
        answer(stuck);
    }
}

/* One more than a range has places for would be committed, and could be applied nowhere. */
static void test_members_have_a_limit(void **state)
{
    (void)state;
    struct err err = {0};
    uint64_t index = 0;
    rig_open_leader(&r, 0, NULL);
    for (uint64_t id = 4; id <= 16; id++) {
        assert_int_equal(change(CONS_ADD_LEARNER, id), 0);
        answer(4);
    }
    assert_int_equal(r.m.config.n, 16);
    assert_int_equal(
        consensus_propose_change(r.m.c, r.now, CONS_ADD_LEARNER, 17, 117, &index, &err),
        ERR_INVALID);
    assert_string_equal(err.msg, "16 members already, the limit");
    assert_int_equal(r.m.config.n, 16);
    assert_int_equal(change(CONS_REMOVE, 16), 0);
    answer(4);
    assert_int_equal(change(CONS_ADD_LEARNER, 17), 0);
    rig_close(&r);
}

/* It is waited for, and then it is replaced. */
static void test_stuck_voter_is_replaced(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    assert_int_equal(change(CONS_ADD_LEARNER, 4), 0);
    answer(3);
    assert_int_equal(change(CONS_PROMOTE, 4), ERR_BUSY);
    assert_int_equal(change(CONS_REMOVE, 3), ERR_BUSY);
    pass(PATIENCE_MS - RIG_HB, 3);
    assert_int_equal(change(CONS_PROMOTE, 4), ERR_BUSY);
    pass(RIG_HB, 3);
    assert_int_equal(change(CONS_PROMOTE, 4), 0);
    answer(3);
    assert_int_equal(change(CONS_REMOVE, 3), ERR_BUSY); /* so it is with each change */
    pass(PATIENCE_MS, 3);
    assert_int_equal(change(CONS_REMOVE, 3), 0);
    answer(3);
    assert_int_equal(cons_config_voters(&r.m.config), 3);
    assert_null(cons_config_find(&r.m.config, 3));
    rig_close(&r);
}

/* What is no majority without it waits on. */
static void test_stuck_voters_do_not_count(void **state)
{
    (void)state;
    rig_open(&r, 1, 0, "1V 2V 3V", 5, 0, 0, 0);
    rig_lead(&r, 2);
    rig_settle(&r, 2);
    rig_append_result(&r, 3, 6, 0, STUCK_AT);
    assert_int_equal(change(CONS_ADD_LEARNER, 4), 0);
    answer(3);
    pass(PATIENCE_MS, 3);
    assert_int_equal(change(CONS_REMOVE, 2), ERR_BUSY); /* 1 and 3 would be left */
    pass(PATIENCE_MS, 3);
    assert_int_equal(change(CONS_REMOVE, 2), ERR_BUSY);
    answer(4); /* now it has it */
    assert_int_equal(change(CONS_REMOVE, 2), 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_have_a_limit),
        cmocka_unit_test(test_stuck_voter_is_replaced),
        cmocka_unit_test(test_stuck_voters_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
