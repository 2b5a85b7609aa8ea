/* SPDX-License-Identifier: Apache-2.0
 *
 * Linearizable reads: one case for each rule of reads.c.
 */
#include "cases.h"
#include "support/check.h"

struct read_seen {
    struct cons_read read;
    uint32_t calls;
    int status;
};

static void read_seen_cb(struct cons_read *read, int status, uint64_t index)
{
    struct read_seen *seen = container_of(read, struct read_seen, read);
    (void)index;
    seen->calls++;
    seen->status = status;
}

static uint32_t read_start(struct rig *r, struct read_seen *seen)
{
    *seen = (struct read_seen){.read = {.cb = read_seen_cb, .deadline_ms = UINT64_MAX}};
    assert_int_equal(consensus_read(r->m.c, &seen->read), 0);
    consensus_flush(r->m.c, r->now);
    return seen->calls;
}

/* No answer without a majority. */
static bool case_read_unconfirmed(struct rig *r, uint64_t off)
{
    struct read_seen seen;
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    bool is_early = read_start(r, &seen) > 0;
    const struct cons_msg *m = rig_last(r, CONS_MSG_PROBE, 2);
    if (m != NULL)
        rig_probe_result(r, 2, 6, m->probe.number);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.status, 0);
    return !is_early;
}

/* An answer to an attempt that was given up confirms nothing. */
static bool case_read_old_answer(struct rig *r, uint64_t off)
{
    struct read_seen seen;
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    read_start(r, &seen);
    uint64_t old = rig_last(r, CONS_MSG_PROBE, 2)->probe.number;
    rig_tick(r, RIG_HB + 1);
    uint64_t fresh = rig_last(r, CONS_MSG_PROBE, 2)->probe.number;
    assert_true(fresh != old);
    rig_probe_result(r, 2, 6, old);
    bool is_early = seen.calls > 0;
    rig_probe_result(r, 2, 6, fresh);
    assert_int_equal(seen.calls, 1);
    return !is_early;
}

/* A new leader does not know yet what is committed. */
static bool case_read_too_early(struct rig *r, uint64_t off)
{
    struct read_seen seen;
    rig_open(r, 1, off, NULL, 5, 0, 3, 5);
    rig_lead(r, 2);
    read_start(r, &seen);
    const struct cons_msg *m = rig_last(r, CONS_MSG_PROBE, 2);
    if (m != NULL)
        rig_probe_result(r, 2, 6, m->probe.number);
    bool is_early = seen.calls > 0;
    if (!is_early) { /* and it is answered once the barrier at 14 commits */
        rig_settle(r, 2);
        rig_probe_result(r, 2, 6, rig_last(r, CONS_MSG_PROBE, 2)->probe.number);
        assert_int_equal(seen.calls, 1);
    }
    return !is_early;
}

/* We have promised a higher term to another: the old leader must not be confirmed. */
static bool case_probe_of_old_term(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, NULL, 6, 0, 0, 0);
    rig_vote(r, 3, 7, 11, 6);
    rig_persist(r);
    struct cons_msg probe = rig_msg(r, CONS_MSG_PROBE, 1, 6);
    probe.probe.number = 1;
    rig_receive(r, &probe);
    return rig_last(r, CONS_MSG_PROBE_RESULT, 1) == NULL;
}

/* A promotion not yet committed acts already: four voters, and two of them are no
 * majority. */
static bool case_read_uncommitted_config(struct rig *r, uint64_t off)
{
    struct read_seen seen;
    uint64_t index = 0;
    rig_open(r, 1, off, "1V 2V 3V 4L", 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    rig_append_result(r, 4, 6, 0, 11);
    assert_int_equal(consensus_propose_change(r->m.c, r->now, CONS_PROMOTE, 4, 0, &index, NULL), 0);
    read_start(r, &seen);
    uint64_t number = rig_last(r, CONS_MSG_PROBE, 2)->probe.number;
    rig_probe_result(r, 2, 6, number);
    bool is_early = seen.calls > 0;
    rig_probe_result(r, 4, 6, number);
    assert_int_equal(seen.calls, 1);
    return !is_early;
}

/* A leader that its own uncommitted CHANGE has removed is no voter any more. */
static bool case_read_not_a_voter(struct rig *r, uint64_t off)
{
    struct read_seen seen;
    struct cons_config rest = rig_config("2V 3V");
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    assert_int_equal(consensus_test_submit_change(r->m.c, r->now, &rest), 0);
    read_start(r, &seen);
    uint64_t number = rig_last(r, CONS_MSG_PROBE, 2)->probe.number;
    rig_probe_result(r, 2, 6, number);
    bool is_early = seen.calls > 0;
    rig_probe_result(r, 3, 6, number);
    assert_int_equal(seen.calls, 1);
    return !is_early;
}

/* The probe under way left before this read came: its answers say nothing for it. */
static bool case_read_joins_round(struct rig *r, uint64_t off)
{
    struct read_seen first;
    struct read_seen late;
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    read_start(r, &first);
    uint64_t number = rig_last(r, CONS_MSG_PROBE, 2)->probe.number;
    read_start(r, &late);
    rig_probe_result(r, 2, 6, number);
    assert_int_equal(first.calls, 1);
    bool is_early = late.calls > 0;
    rig_probe_result(r, 3, 6, rig_last(r, CONS_MSG_PROBE, 3)->probe.number);
    assert_int_equal(late.calls, 1);
    return !is_early;
}

/* What was acknowledged is committed, but not in our state yet. */
static bool case_read_before_apply(struct rig *r, uint64_t off)
{
    struct read_seen seen;
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    rig_propose(r, 2);
    rig_persist(r);
    rig_append_result(r, 2, 6, 0, 13);
    read_start(r, &seen);
    rig_probe_result(r, 2, 6, rig_last(r, CONS_MSG_PROBE, 2)->probe.number);
    bool is_early = seen.calls > 0;
    member_apply(&r->m, r->now);
    assert_int_equal(seen.calls, 1);
    return !is_early;
}

/* A follower's leader of term 6. */
static void follow(struct rig *r, uint64_t leader)
{
    assert_int_equal(rig_append(r, leader, 6, 10, RIG_TERM, 10, NULL, 0), 0);
    rig_persist(r);
}

/* An answer to a question that was given up says nothing of what was acknowledged since. */
static bool case_asked_before(struct rig *r, uint64_t off)
{
    struct read_seen seen = {
        .read = {.cb = read_seen_cb, .deadline_ms = UINT64_MAX, .is_anywhere = true}};
    rig_open(r, 2, off, NULL, 6, 0, 0, 0);
    follow(r, 1);
    assert_int_equal(consensus_read(r->m.c, &seen.read), 0);
    consensus_flush(r->m.c, r->now);
    struct cons_msg answer = rig_msg(r, CONS_MSG_READ_ANSWER, 1, 6);
    answer.read = rig_last(r, CONS_MSG_READ_ASK, 1)->read;
    answer.read.index = 10;
    rig_tick(r, RIG_HB + 1);
    uint64_t fresh = rig_last(r, CONS_MSG_READ_ASK, 1)->read.number;
    assert_true(fresh != answer.read.number);
    rig_receive(r, &answer);
    bool is_early = seen.calls > 0;
    answer.read.number = fresh;
    rig_receive(r, &answer);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.status, 0);
    return !is_early;
}

/* Who has promised its leader to elect nobody does not stand, whoever asks it to; and after a
 * stop it does not know what it has promised. */
static bool case_promise(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, NULL, 6, 0, 0, 0);
    member_crash(&r->m, 0);
    r->m.opts.lease_ms = r->m.opts.hold_ms = RIG_ET;
    assert_int_equal(member_start(&r->m, r->now), 0);
    rig_vote(r, 3, 7, 10, RIG_TERM);
    rig_persist(r);
    const struct cons_msg *vote = rig_last(r, CONS_MSG_VOTE_RESULT, 3);
    bool is_kept = vote == NULL || !vote->vote_result.granted;
    rig_tick(r, RIG_ET / 2); /* what it was held for ends before the promise does */
    if (is_kept)
        follow(r, 1);
    struct cons_msg probe = rig_msg(r, CONS_MSG_PROBE, 1, 6);
    probe.probe = (struct cons_msg_probe){.number = 1, .promise_ms = RIG_ET};
    rig_receive(r, &probe);
    rig_tick(r, RIG_ET * 3 / 4);
    rig_clear(r);
    consensus_campaign(r->m.c, r->now);
    rig_persist(r);
    is_kept = is_kept && rig_count(r, CONS_MSG_VOTE) == 0;
    rig_tick(r, RIG_ET / 4 + 1);
    rig_persist(r);
    if (is_kept) /* and then it stands */
        assert_int_equal(rig_count(r, CONS_MSG_VOTE), 2);
    return is_kept;
}

const struct guard_row read_rows[] = {
    {"question asked before", BIT64(GUARD_READ_ASKED), case_asked_before},
    {"promise to a leader", BIT64(GUARD_PROMISE), case_promise},
    {"read without a majority", BIT64(GUARD_READ_PROBE), case_read_unconfirmed},
    {"read by an old answer", BIT64(GUARD_READ_NUMBER), case_read_old_answer},
    {"read before the first commit", BIT64(GUARD_READ_READY), case_read_too_early},
    {"probe of an old term", BIT64(GUARD_READ_TERM), case_probe_of_old_term},
    {"read by the old configuration", BIT64(GUARD_READ_CONFIG), case_read_uncommitted_config},
    {"read by a leader that is no voter", BIT64(GUARD_READ_SELF), case_read_not_a_voter},
    {"read joins a probe under way", BIT64(GUARD_READ_ROUND), case_read_joins_round},
    {"read before apply", BIT64(GUARD_READ_APPLY), case_read_before_apply},
};

const size_t read_rows_n = ARRAY_LEN(read_rows);
