/* SPDX-License-Identifier: Apache-2.0
 *
 * When a leader may answer without asking: promises of a majority, shortened by drift and a
 * tick, and none of it once a hand-over was begun. RIG_ET is the promise's length.
 */
#include "rig.h"
#include "support/check.h"

enum { TICK_MS = 10, DRIFT_PPM = 10000 };

struct seen {
    struct cons_read read;
    uint32_t calls;
    int status;
};

static void on_read(struct cons_read *read, int status, uint64_t index)
{
    struct seen *seen = container_of(read, struct seen, read);
    (void)index;
    seen->calls++;
    seen->status = status;
}

/* A leader that answers by lease, with an entry of its own term committed. */
static void lead(struct rig *r, const char *config)
{
    rig_open(r, 1, 0, config, 5, 0, 0, 0);
    member_crash(&r->m, 0);
    r->m.opts.lease_ms = RIG_ET;
    r->m.opts.drift_ppm = DRIFT_PPM;
    assert_int_equal(member_start(&r->m, r->now), 0);
    consensus_campaign(r->m.c, r->now);
    rig_persist(r);
    for (uint64_t id = 2; id <= 3; id++)
        rig_vote_result(r, id, 6, true);
    assert_true(consensus_is_leader(r->m.c));
    rig_settle(r, 2);
    rig_settle(r, 3);
}

/* Read by lease: true if that took no question. The read is withdrawn otherwise. */
static bool reads_at_once(struct rig *r)
{
    struct seen seen = {.read = {.cb = on_read, .deadline_ms = UINT64_MAX, .by_lease = true}};
    assert_int_equal(consensus_read(r->m.c, &seen.read), 0);
    consensus_flush(r->m.c, r->now);
    if (seen.calls > 0)
        assert_int_equal(seen.status, 0);
    else
        consensus_read_cancel(r->m.c, &seen.read);
    return seen.calls > 0;
}

static void promise(struct rig *r, uint64_t from, uint64_t number, uint32_t ms)
{
    struct cons_msg msg = rig_msg(r, CONS_MSG_PROBE_RESULT, from, 6);
    msg.probe = (struct cons_msg_probe){.number = number, .promise_ms = ms};
    assert_int_equal(rig_receive(r, &msg), 0);
}

/* The number of the last probe, which asked for a promise. */
static uint64_t asked(struct rig *r)
{
    const struct cons_msg *probe = rig_last(r, CONS_MSG_PROBE, 2);
    assert_non_null(probe);
    assert_int_equal(probe->probe.promise_ms, RIG_ET);
    return probe->probe.number;
}

static const struct {
    const char *name;
    const char *config;
    uint64_t from[3]; /* who promises */
    uint32_t ms;
    uint32_t later; /* the read comes so long after the probe was sent */
    bool want;
} rows[] = {
    {"one of two others", "1V 2V 3V", {2}, RIG_ET, 0, true},
    {"nobody", "1V 2V 3V", {0}, RIG_ET, 0, false},
    {"a learner", "1V 2V 3V 4L", {4}, RIG_ET, 0, false},
    {"one of four others", "1V 2V 3V 4V 5V", {2}, RIG_ET, 0, false},
    {"two of four others", "1V 2V 3V 4V 5V", {2, 4}, RIG_ET, 0, true},
    {"no promise", "1V 2V 3V", {2}, 0, 0, false},
    {"just before its end", "1V 2V 3V", {2}, RIG_ET, RIG_ET - TICK_MS - RIG_ET / 50 - 1, true},
    {"at its end", "1V 2V 3V", {2}, RIG_ET, RIG_ET - TICK_MS - RIG_ET / 50, false},
    {"more than was asked", "1V 2V 3V", {2}, 9 * RIG_ET, RIG_ET - TICK_MS - RIG_ET / 50, false},
    {"less than was asked", "1V 2V 3V", {2}, RIG_ET / 2, RIG_ET / 2, false},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        lead(&r, rows[i].config);
        assert_false(reads_at_once(&r));
        uint64_t number = asked(&r);
        for (size_t k = 0; k < ARRAY_LEN(rows[i].from) && rows[i].from[k] != 0; k++)
            promise(&r, rows[i].from[k], number, rows[i].ms);
        r.now += rows[i].later;
        if (reads_at_once(&r) != rows[i].want)
            fail_msg("%s: want %d", rows[i].name, rows[i].want);
        rig_close(&r);
    }
}

/* An answer to an older probe would count from the newer one's moment. */
static void test_late_answer(void **state)
{
    struct rig r;
    struct seen seen = {.read = {.cb = on_read, .deadline_ms = UINT64_MAX, .by_lease = true}};
    (void)state;
    lead(&r, "1V 2V 3V");
    assert_int_equal(consensus_read(r.m.c, &seen.read), 0);
    consensus_flush(r.m.c, r.now);
    uint64_t old = asked(&r);
    rig_tick(&r, RIG_HB + 1);
    assert_true(asked(&r) != old);
    promise(&r, 2, old, RIG_ET);
    assert_int_equal(seen.calls, 0);
    consensus_read_cancel(r.m.c, &seen.read);
    assert_false(reads_at_once(&r));
    rig_close(&r);
}

/* TIMEOUT_NOW makes its receiver stand, and all vote for it whatever they have promised. */
static void test_hand_over(void **state)
{
    struct rig r;
    (void)state;
    lead(&r, "1V 2V 3V");
    assert_false(reads_at_once(&r));
    promise(&r, 2, asked(&r), RIG_ET);
    assert_true(reads_at_once(&r));
    assert_int_equal(consensus_transfer(r.m.c, r.now, 2), 0);
    assert_false(reads_at_once(&r));
    for (uint32_t i = 0; i < 2 * RIG_ET / RIG_HB; i++) { /* it came to nothing */
        rig_tick(&r, RIG_HB);
        rig_append_result(&r, 2, 6, 0, consensus_last_index(r.m.c));
    }
    assert_true(consensus_is_leader(r.m.c));
    assert_false(reads_at_once(&r));
    promise(&r, 2, asked(&r), RIG_ET);
    assert_false(reads_at_once(&r)); /* not in this term any more */
    rig_close(&r);
}

/* What another member may have applied is committed: the lease must see it, too. */
static void test_sees_commits(void **state)
{
    struct rig r;
    struct seen seen = {.read = {.cb = on_read, .deadline_ms = UINT64_MAX, .by_lease = true}};
    (void)state;
    lead(&r, "1V 2V 3V");
    assert_false(reads_at_once(&r));
    promise(&r, 2, asked(&r), RIG_ET);
    rig_propose(&r, 1);
    rig_persist(&r);
    rig_append_result(&r, 2, 6, 0, consensus_last_index(r.m.c));
    assert_int_equal(consensus_read(r.m.c, &seen.read), 0);
    consensus_flush(r.m.c, r.now);
    assert_int_equal(seen.calls, 0); /* committed, not applied here */
    member_apply(&r.m, r.now);
    assert_int_equal(seen.calls, 1);
    rig_close(&r);
}

/* A lease that is used is prolonged before it ends. */
static void test_renewal(void **state)
{
    struct rig r;
    (void)state;
    lead(&r, "1V 2V 3V");
    assert_false(reads_at_once(&r));
    uint64_t first = asked(&r);
    promise(&r, 2, first, RIG_ET);
    r.now += RIG_ET / 2;
    assert_true(reads_at_once(&r));
    uint64_t second = asked(&r);
    assert_true(second != first);
    promise(&r, 2, second, RIG_ET);
    r.now += RIG_ET / 2;
    assert_true(reads_at_once(&r));
    rig_close(&r);
}

/* The leader's side of a follower's question. */
static void test_asked_by_follower(void **state)
{
    struct rig r;
    (void)state;
    lead(&r, "1V 2V 3V");
    struct cons_msg ask = rig_msg(&r, CONS_MSG_READ_ASK, 3, 6);
    ask.read.number = 77;
    assert_int_equal(rig_receive(&r, &ask), 0);
    assert_int_equal(rig_count(&r, CONS_MSG_READ_ANSWER), 0); /* not confirmed yet */
    uint64_t number = rig_last(&r, CONS_MSG_PROBE, 2)->probe.number;
    ask.read.number = 78; /* it asks again: the first is forgotten */
    assert_int_equal(rig_receive(&r, &ask), 0);
    rig_probe_result(&r, 2, 6, number);
    assert_int_equal(rig_count(&r, CONS_MSG_READ_ANSWER), 0);
    rig_probe_result(&r, 2, 6, rig_last(&r, CONS_MSG_PROBE, 2)->probe.number);
    assert_int_equal(rig_count(&r, CONS_MSG_READ_ANSWER), 1);
    const struct cons_msg *answer = rig_last(&r, CONS_MSG_READ_ANSWER, 3);
    assert_int_equal(answer->read.number, 78);
    assert_int_equal(answer->read.index, consensus_commit(r.m.c));
    ask.from = 9; /* no member */
    assert_int_equal(rig_receive(&r, &ask), 0);
    consensus_flush(r.m.c, r.now);
    assert_true(rig_last(&r, CONS_MSG_PROBE, 2)->probe.number == number + 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_late_answer),
        cmocka_unit_test(test_hand_over), cmocka_unit_test(test_sees_commits),
        cmocka_unit_test(test_renewal),   cmocka_unit_test(test_asked_by_follower),
    };
    return cmocka_run_group_tests_name("consensus_lease", tests, NULL, NULL);
}
