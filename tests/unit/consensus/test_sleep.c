/* SPDX-License-Identifier: Apache-2.0
 *
 * Sleep: who may, what wakes, that no time passes; parked members; the store's budget of
 * bytes in flight.
 */
#include <stdlib.h>

#include "rig.h"
#include "support/check.h"

static struct rig r; /* large; one test at a time */

enum { LONG_MS = 60000 };

/* Leader of term 6 over {1, 2, 3}, everything to 11 everywhere. */
static struct cons_rest open_leader(void)
{
    struct cons_rest rest = {0};
    rig_open_leader(&r, 0, NULL);
    assert_true(consensus_rest(r.m.c, &rest));
    assert_true(rest.leader == 1 && rest.term == 6 && rest.index == 11);
    return rest;
}

/* Follower of 1 in term 6 with 11..12, committed and applied if `commit` says so. */
static struct cons_rest open_follower(uint64_t commit)
{
    static const struct rig_entry es[] = {{6, NULL}, {6, NULL}};
    rig_open(&r, 2, 0, NULL, 6, 0, 0, 0);
    rig_append(&r, 1, 6, 10, 5, 10, es, 2);
    rig_persist(&r);
    rig_append(&r, 1, 6, 12, 6, commit, NULL, 0);
    member_apply(&r.m, r.now);
    rig_clear(&r);
    return (struct cons_rest){.leader = 1, .term = 6, .index = 12};
}

static void test_leader_rests(void **state)
{
    (void)state;
    struct cons_rest rest = open_leader();
    struct cons_rest none;
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    assert_true(consensus_is_asleep(r.m.c));
    assert_true(consensus_next_timeout(r.m.c, r.now) == UINT64_MAX);
    rig_tick(&r, LONG_MS);
    consensus_flush(r.m.c, r.now);
    assert_int_equal(r.n_sent, 0);
    assert_true(consensus_is_asleep(r.m.c));
    assert_true(rig_propose(&r, 1) == 12); /* work wakes it */
    assert_false(consensus_is_asleep(r.m.c));
    assert_true(consensus_is_leader(r.m.c));
    assert_false(consensus_rest(r.m.c, &none));
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), ERR_BUSY);
    rig_close(&r);
}

/* A leader that somebody does not follow closely has no rest. */
static void test_leader_has_work(void **state)
{
    (void)state;
    struct cons_rest rest;
    uint64_t index = 0;
    rig_open(&r, 1, 0, "1V 2V 3V 4L", 5, 0, 0, 0);
    rig_lead(&r, 2);
    assert_false(consensus_rest(r.m.c, &rest)); /* nothing of its term is committed */
    rig_settle(&r, 2);
    rig_append_result(&r, 3, 6, 0, 11);
    assert_false(consensus_rest(r.m.c, &rest)); /* the learner lags */
    rig_append_result(&r, 4, 6, 0, 11);
    assert_true(consensus_rest(r.m.c, &rest));
    assert_int_equal(consensus_transfer(r.m.c, r.now, 2), 0);
    assert_false(consensus_rest(r.m.c, &rest)); /* a hand-over */
    for (int i = 0; i < 8; i++) {
        rig_tick(&r, RIG_HB);
        for (uint64_t id = 2; id <= 4; id++)
            rig_append_result(&r, id, 6, 0, 11);
    }
    assert_true(consensus_rest(r.m.c, &rest));
    assert_int_equal(consensus_propose_change(r.m.c, r.now, CONS_PROMOTE, 4, 0, &index, NULL), 0);
    assert_false(consensus_rest(r.m.c, &rest)); /* a change */
    rig_persist(&r);
    for (uint64_t id = 2; id <= 4; id++)
        rig_append_result(&r, id, 6, 0, 12);
    assert_false(consensus_rest(r.m.c, &rest)); /* not applied */
    member_apply(&r.m, r.now);
    assert_true(consensus_rest(r.m.c, &rest));
    r.now += RIG_ET;
    consensus_tick(r.m.c, r.now);
    rig_append_result(&r, 2, 6, 0, 12);
    assert_false(consensus_rest(r.m.c, &rest)); /* 3 and 4 are silent */
    rig_close(&r);
}

static void test_follower_rests(void **state)
{
    (void)state;
    struct cons_rest rest = open_follower(12);
    struct cons_rest other = rest;
    other.term = 5;
    assert_int_equal(consensus_sleep(r.m.c, r.now, &other), ERR_BUSY);
    other = rest;
    other.index = 13;
    assert_int_equal(consensus_sleep(r.m.c, r.now, &other), ERR_BUSY);
    other = rest;
    other.leader = 3;
    assert_int_equal(consensus_sleep(r.m.c, r.now, &other), ERR_BUSY);
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    rig_tick(&r, LONG_MS);
    assert_int_equal(r.n_sent, 0);
    rig_append(&r, 1, 6, 12, 6, 12, NULL, 0); /* a heartbeat wakes it */
    assert_false(consensus_is_asleep(r.m.c));
    assert_int_equal(rig_count(&r, CONS_MSG_APPEND_RESULT), 1);
    rig_close(&r);
}

/* It does not know yet that all is committed: if it slept, it might never apply it. */
static void test_follower_does_not_know(void **state)
{
    (void)state;
    struct cons_rest rest = open_follower(11);
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), ERR_BUSY);
    rig_close(&r);
}

/* Everybody woke at once after an hour: nobody stands for election, and who asks is
 * refused by the others as before. */
static void test_follower_wakes_calmly(void **state)
{
    (void)state;
    struct cons_rest rest = open_follower(12);
    uint64_t due = consensus_next_timeout(r.m.c, r.now) - r.now;
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    r.now += LONG_MS;
    consensus_wake(r.m.c, r.now);
    assert_int_equal(consensus_next_timeout(r.m.c, r.now) - r.now, due);
    rig_tick(&r, 1);
    assert_int_equal(rig_count(&r, CONS_MSG_VOTE), 0);
    rig_vote(&r, 3, 7, 12, 6);
    rig_persist(&r);
    assert_false(rig_last(&r, CONS_MSG_VOTE_RESULT, 3)->vote_result.granted);
    consensus_campaign(r.m.c, r.now); /* if the leader is known to be dead */
    rig_persist(&r);
    assert_true(rig_count(&r, CONS_MSG_VOTE) > 0);
    rig_close(&r);
}

/* The loop stood still, and what was said meanwhile is read only now. */
static void test_follower_stood_still(void **state)
{
    (void)state;
    open_follower(12);
    uint64_t due = consensus_next_timeout(r.m.c, r.now) - r.now;
    r.now += LONG_MS;
    consensus_hold_back(r.m.c, r.now, LONG_MS);
    rig_tick(&r, 0);
    assert_int_equal(rig_count(&r, CONS_MSG_VOTE), 0);
    assert_int_equal(consensus_next_timeout(r.m.c, r.now) - r.now, due);
    rig_tick(&r, due);
    rig_persist(&r);
    assert_true(rig_count(&r, CONS_MSG_VOTE) > 0);
    rig_close(&r);
}

/* Late each time, and no leader to be heard: it is noticed all the same. */
static void test_follower_always_late(void **state)
{
    enum { LATE_MS = 5 * RIG_ET, PASSED_MS = 2, BOUND_MS = 2 * LATE_MS + RIG_ET + 4 * RIG_ET };
    (void)state;
    open_follower(12);
    uint64_t begin = r.now;
    while (rig_count(&r, CONS_MSG_VOTE) == 0 && r.now < begin + 2 * BOUND_MS) {
        r.now += LATE_MS + PASSED_MS;
        consensus_hold_back(r.m.c, r.now, LATE_MS);
        rig_tick(&r, 0);
        rig_persist(&r);
    }
    assert_true(r.now - begin > LATE_MS + PASSED_MS); /* once is excused */
    assert_true(r.now - begin <= BOUND_MS);
    rig_close(&r);
}

/* … but as long as the leader is heard between, each is. */
static void test_follower_late_and_led(void **state)
{
    (void)state;
    open_follower(12);
    for (int i = 0; i < 20; i++) {
        r.now += LONG_MS;
        consensus_hold_back(r.m.c, r.now, LONG_MS);
        rig_tick(&r, 0);
        rig_append(&r, 1, 6, 12, 6, 12, NULL, 0);
    }
    assert_int_equal(rig_count(&r, CONS_MSG_VOTE), 0);
    rig_close(&r);
}

/* An answer was read before it heard that it had stood still: its heartbeats go on. */
static void test_leader_stood_still(void **state)
{
    enum { STALL_MS = RIG_ET - RIG_HB };
    (void)state;
    open_leader();
    r.now += STALL_MS;
    rig_append_result(&r, 2, 6, 0, 11);
    consensus_hold_back(r.m.c, r.now, STALL_MS);
    rig_tick(&r, 0);
    rig_clear(&r);
    rig_tick(&r, RIG_HB + 1);
    assert_int_equal(rig_count(&r, CONS_MSG_APPEND), 2);
    assert_true(consensus_is_leader(r.m.c));
    rig_close(&r);
}

struct seen {
    struct cons_read read;
    int calls;
    int status;
};

static void seen_cb(struct cons_read *read, int status, uint64_t index)
{
    struct seen *s = container_of(read, struct seen, read);
    (void)index;
    s->calls++;
    s->status = status;
}

static void test_read_wakes(void **state)
{
    (void)state;
    struct cons_rest rest = open_leader();
    struct seen s = {.read = {.cb = seen_cb, .deadline_ms = UINT64_MAX}};
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    r.now += LONG_MS;
    assert_int_equal(consensus_read(r.m.c, &s.read), 0);
    consensus_flush(r.m.c, r.now);
    assert_false(consensus_is_asleep(r.m.c));
    rig_probe_result(&r, 2, 6, rig_last(&r, CONS_MSG_PROBE, 2)->probe.number);
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.status, 0);
    rig_close(&r);
}

/* Compaction needs no clock. */
static void test_compact_asleep(void **state)
{
    (void)state;
    struct cons_rest rest = open_leader();
    struct mstate st = member_state(&r.m);
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    r.now += LONG_MS;
    assert_int_equal(consensus_compact(r.m.c, r.now, &st.base, 0), 0);
    assert_true(consensus_is_asleep(r.m.c));
    assert_int_equal(consensus_log_floor(r.m.c), 11);
    consensus_wake(r.m.c, r.now);
    assert_true(consensus_is_leader(r.m.c));
    rig_close(&r);
}

static void test_park(void **state)
{
    (void)state;
    static const struct rig_entry es[] = {{6, NULL}};
    struct cons_parked *parked = NULL;
    struct cons_rest rest = open_follower(12);
    assert_int_equal(consensus_park(r.m.c, &parked), ERR_BUSY); /* awake */
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    assert_int_equal(consensus_park(r.m.c, &parked), 0);
    r.m.c = NULL;
    assert_true(sizeof *parked + parked->n_members * sizeof parked->members[0] <= 200);
    r.now += LONG_MS;
    struct cons_options opts = r.m.opts;
    assert_int_equal(consensus_unpark(&r.m.c, &opts, r.now, parked, NULL), 0);
    free(parked);
    struct cons_status st;
    consensus_status(r.m.c, &st);
    assert_true(st.term == 6 && st.commit == 12 && st.applied == 12 && st.last_index == 12);
    assert_int_equal(st.n_members, 3);
    assert_true(consensus_next_timeout(r.m.c, r.now) >= r.now + RIG_ET);
    rig_append(&r, 1, 6, 12, 6, 12, es, 1); /* and goes on where it was */
    rig_persist(&r);
    assert_int_equal(consensus_last_index(r.m.c), 13);
    const struct cons_msg *m = rig_last(&r, CONS_MSG_APPEND_RESULT, 1);
    assert_true(m != NULL && m->append_result.rejected == 0 && m->append_result.last_index == 13);
    rig_close(&r);
}

/* Put the sleeping leader away and start it again, LONG_MS later. */
static void park_and_lead_on(void)
{
    struct cons_parked *parked = NULL;
    assert_int_equal(consensus_park(r.m.c, &parked), 0);
    r.m.c = NULL;
    assert_true(parked->leader == 1 && parked->vote == 1);
    r.now += LONG_MS;
    rig_clear(&r);
    uint64_t writes = r.m.next_write_id;
    struct cons_options opts = r.m.opts;
    opts.seed += 1;
    assert_int_equal(consensus_unpark(&r.m.c, &opts, r.now, parked, NULL), 0);
    free(parked);
    consensus_check(r.m.c);
    assert_true(r.m.next_write_id == writes && r.m.n_writes == 0); /* nothing is new on disk */
}

static void test_leader_leads_on(void **state)
{
    (void)state;
    struct cons_parked *parked = NULL;
    struct cons_status st;
    struct cons_rest again;
    struct cons_rest rest = open_leader();
    assert_int_equal(consensus_park(r.m.c, &parked), ERR_BUSY); /* awake */
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    park_and_lead_on();
    consensus_status(r.m.c, &st);
    assert_true(st.state == CONS_LEADER && st.is_ready && st.term == 6 && st.vote == 1);
    assert_true(st.commit == 11 && st.applied == 11 && st.last_index == 11);
    assert_int_equal(st.n_members, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(st.members[i].match == 11 && st.members[i].is_live &&
                    st.members[i].role == CONS_VOTER);
    assert_int_equal(rig_count(&r, CONS_MSG_VOTE), 0);
    assert_true(consensus_rest(r.m.c, &again));
    assert_true(again.index == rest.index && again.term == rest.term);
    /* A majority of the voters that there are counts, not of those that the library began with. */
    assert_true(rig_propose(&r, 1) == 12);
    rig_persist(&r);
    assert_int_equal(consensus_commit(r.m.c), 11);
    const struct cons_msg *m = rig_last(&r, CONS_MSG_APPEND, 2);
    assert_true(m != NULL && m->append.prev_index == 11 && m->append.prev_term == 6 &&
                m->append.n == 1);
    rig_append_result(&r, 2, 6, 0, 12);
    assert_int_equal(consensus_commit(r.m.c), 12);
    consensus_check(r.m.c);
    rig_close(&r);
}

/* Unheard for an election time-out it steps down, like any leader. */
static void test_leader_that_led_on_is_left(void **state)
{
    (void)state;
    struct cons_rest rest = open_leader();
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    park_and_lead_on();
    for (uint32_t i = 0; i < 3 * RIG_ET / RIG_HB; i++)
        rig_tick(&r, RIG_HB);
    assert_true(rig_count(&r, CONS_MSG_APPEND) > 0);
    assert_false(consensus_is_leader(r.m.c));
    rig_close(&r);
}

/* What was asked before counts no more; a lease begins anew, and not where it was given up. */
static void test_leader_parked_has_no_lease(void **state)
{
    (void)state;
    for (int gives_up = 0; gives_up < 2; gives_up++) {
        struct seen s = {.read = {.cb = seen_cb, .deadline_ms = UINT64_MAX}};
        struct cons_rest rest = open_leader();
        r.m.opts.lease_ms = RIG_ET;
        if (gives_up)
            consensus_give_up_lease(r.m.c);
        assert_int_equal(consensus_read(r.m.c, &s.read), 0);
        consensus_flush(r.m.c, r.now);
        uint64_t number = rig_last(&r, CONS_MSG_PROBE, 2)->probe.number;
        rig_probe_result(&r, 2, 6, number);
        assert_int_equal(s.calls, 1);
        assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
        park_and_lead_on();
        s = (struct seen){.read = {.cb = seen_cb, .deadline_ms = UINT64_MAX, .by_lease = true}};
        assert_int_equal(consensus_read(r.m.c, &s.read), 0);
        consensus_flush(r.m.c, r.now);
        rig_probe_result(&r, 2, 6, number); /* an old answer */
        assert_int_equal(s.calls, 0);
        struct cons_msg m = rig_msg(&r, CONS_MSG_PROBE_RESULT, 2, 6);
        m.probe.number = rig_last(&r, CONS_MSG_PROBE, 2)->probe.number;
        m.probe.promise_ms = RIG_ET;
        assert_int_equal(rig_receive(&r, &m), 0);
        assert_int_equal(s.calls, 1);
        struct seen t = {.read = {.cb = seen_cb, .deadline_ms = UINT64_MAX, .by_lease = true}};
        assert_int_equal(consensus_read(r.m.c, &t.read), 0);
        consensus_flush(r.m.c, r.now);
        assert_int_equal(t.calls, !gives_up);
        consensus_read_cancel(r.m.c, &t.read);
        rig_close(&r);
    }
}

/* Learners are learners, and one that leads alone stays in its term. */
static void test_leader_leads_on_alone(void **state)
{
    (void)state;
    struct cons_status st;
    struct cons_rest rest;
    rig_open(&r, 1, 0, "1V 2L", 5, 0, 0, 0);
    rig_persist(&r);
    member_apply(&r.m, r.now);
    rig_append_result(&r, 2, 6, 0, 11);
    assert_true(consensus_rest(r.m.c, &rest));
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    park_and_lead_on();
    consensus_status(r.m.c, &st);
    assert_true(st.state == CONS_LEADER && st.is_ready && st.term == rest.term);
    assert_true(st.members[1].role == CONS_LEARNER && st.members[1].match == rest.index);
    assert_true(rig_propose(&r, 1) == rest.index + 1);
    rig_persist(&r);
    assert_int_equal(consensus_commit(r.m.c), rest.index + 1);
    rig_close(&r);
}

static int remove_member(uint64_t id)
{
    uint64_t index = 0;
    return consensus_propose_change(r.m.c, r.now, CONS_REMOVE, id, 0, &index, NULL);
}

/* Is a CHANGE of who sleeps, or slept, refused until a majority of those that it leaves has
 * answered, heartbeat or probe? */
static void check_change_waits(void)
{
    assert_int_equal(remove_member(2), ERR_BUSY); /* 3 may be dead: it would be needed for ever */
    assert_int_equal(remove_member(3), ERR_BUSY);
    rig_tick(&r, RIG_ET - 1); /* it still counts as live for the rest */
    assert_int_equal(remove_member(2), ERR_BUSY);
    assert_int_equal(consensus_last_index(r.m.c), 11);
    rig_append_result(&r, 3, 6, 0, 11);
    assert_int_equal(remove_member(3), ERR_BUSY);
    assert_int_equal(remove_member(2), 0);
}

static void test_change_after_sleep(void **state)
{
    (void)state;
    struct cons_rest rest = open_leader();
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    r.now += LONG_MS;
    check_change_waits();
    rig_close(&r);
}

static void test_change_after_park(void **state)
{
    (void)state;
    struct cons_rest rest = open_leader();
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    park_and_lead_on();
    check_change_waits();
    rig_close(&r);
}

/* Who has answered between two sleeps may have died in the second. */
static void test_change_after_two_sleeps(void **state)
{
    (void)state;
    struct cons_rest rest = open_leader();
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    r.now += LONG_MS;
    rig_append_result(&r, 3, 6, 0, 11);
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    r.now += LONG_MS;
    check_change_waits();
    rig_close(&r);
}

/* A learner, too, must have said that it is still there. */
static void test_promote_after_sleep(void **state)
{
    (void)state;
    struct cons_rest rest;
    uint64_t index = 0;
    rig_open(&r, 1, 0, "1V 2L", 5, 0, 0, 0);
    rig_persist(&r);
    member_apply(&r.m, r.now);
    rig_append_result(&r, 2, 6, 0, 11);
    assert_true(consensus_rest(r.m.c, &rest));
    assert_int_equal(consensus_sleep(r.m.c, r.now, &rest), 0);
    r.now += LONG_MS;
    assert_int_equal(consensus_propose_change(r.m.c, r.now, CONS_PROMOTE, 2, 0, &index, NULL),
                     ERR_BUSY);
    rig_append_result(&r, 2, 6, 0, rest.index);
    assert_int_equal(consensus_propose_change(r.m.c, r.now, CONS_PROMOTE, 2, 0, &index, NULL), 0);
    rig_close(&r);
}

static uint32_t entries_sent(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r.n_sent; i++)
        n += r.sent[i].type == CONS_MSG_APPEND ? r.sent[i].append.n : 0;
    return n;
}

/* All groups of a store share what is on its way to another; what is acknowledged comes back. */
static void test_budget(void **state)
{
    (void)state;
    struct cons_budget budget;
    uint64_t *used[2]; /* to the stores of 2 and 3 */
    static const uint8_t bytes[60];
    struct slice data = slice_of(bytes, sizeof bytes);
    uint64_t first = 0;
    struct cons_base base = {
        .index = 10, .term = 5, .config_index = 10, .config = rig_config("1V 2V 3V")};
    cons_budget_init(&budget, 100);
    used[0] = cons_budget_used(&budget, base.config.members[1].store_id);
    used[1] = cons_budget_used(&budget, base.config.members[2].store_id);
    rig_init(&r, 1, 0);
    r.m.opts.inflight = &budget;
    member_bear(&r.m, &base, 5, 0);
    member_start(&r.m, r.now);
    rig_lead(&r, 2);
    rig_settle(&r, 2);
    rig_append_result(&r, 3, 6, 0, 11);
    rig_clear(&r);
    *used[0] = *used[1] = 100; /* by others */
    assert_int_equal(consensus_propose(r.m.c, r.now, &data, 1, &first), 0);
    assert_int_equal(entries_sent(), 0);
    assert_true(*used[0] == 100 && *used[1] == 100);
    *used[0] = *used[1] = 0;
    rig_append_result(&r, 2, 6, 13, 11); /* refused: what was dropped is asked for */
    rig_append_result(&r, 3, 6, 13, 11);
    rig_tick(&r, RIG_HB);
    assert_true(entries_sent() > 0);
    assert_true(*used[0] == 60 && *used[1] == 60);
    rig_append_result(&r, 2, 6, 0, 12);
    rig_append_result(&r, 3, 6, 0, 12);
    assert_true(*used[0] == 0 && *used[1] == 0);
    assert_int_equal(consensus_propose(r.m.c, r.now, &data, 1, &first), 0);
    assert_true(*used[0] > 0 && *used[1] > 0);
    rig_append_result(&r, 2, 9, 0, 0); /* leadership is lost */
    assert_true(*used[0] == 0 && *used[1] == 0);
    rig_close(&r);
    cons_budget_fini(&budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leader_rests),
        cmocka_unit_test(test_leader_has_work),
        cmocka_unit_test(test_follower_rests),
        cmocka_unit_test(test_follower_does_not_know),
        cmocka_unit_test(test_follower_wakes_calmly),
        cmocka_unit_test(test_follower_stood_still),
        cmocka_unit_test(test_follower_always_late),
        cmocka_unit_test(test_follower_late_and_led),
        cmocka_unit_test(test_leader_stood_still),
        cmocka_unit_test(test_read_wakes),
        cmocka_unit_test(test_compact_asleep),
        cmocka_unit_test(test_park),
        cmocka_unit_test(test_leader_leads_on),
        cmocka_unit_test(test_leader_that_led_on_is_left),
        cmocka_unit_test(test_leader_parked_has_no_lease),
        cmocka_unit_test(test_leader_leads_on_alone),
        cmocka_unit_test(test_change_after_sleep),
        cmocka_unit_test(test_change_after_park),
        cmocka_unit_test(test_change_after_two_sleeps),
        cmocka_unit_test(test_promote_after_sleep),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests_name("sleep", tests, NULL, NULL);
}
