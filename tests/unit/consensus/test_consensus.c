/* SPDX-License-Identifier: Apache-2.0
 *
 * What an owner relies on: order and bounds of the table's calls, proposals, reads,
 * hand-over, membership, snapshots, entries from disk, starting.
 */
#include <stdlib.h>

#include "consensus/consensus.h"

#include "rig.h"
#include "support/check.h"

static struct rig r; /* large; one test at a time */

static struct cons_status status(void)
{
    struct cons_status st;
    consensus_status(r.m.c, &st);
    return st;
}

/* --- proposals */

static void test_propose(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    assert_int_equal(rig_propose(&r, 3), 12);
    assert_int_equal(consensus_last_index(r.m.c), 14);
    assert_int_equal(consensus_commit(r.m.c), 11);
    const struct cons_msg *m = rig_last(&r, CONS_MSG_APPEND, 2);
    assert_non_null(m);
    assert_int_equal(m->append.prev_index, 11);
    assert_int_equal(m->append.n, 3);
    rig_append_result(&r, 2, 6, 0, 14); /* one follower has it, our own disk not yet */
    assert_int_equal(consensus_commit(r.m.c), 11);
    rig_persist(&r);
    assert_int_equal(consensus_commit(r.m.c), 14);
    assert_int_equal(consensus_apply_limit(r.m.c), 14);
    rig_close(&r);
}

static void test_propose_refused(void **state)
{
    (void)state;
    rig_open(&r, 2, 0, NULL, 5, 0, 0, 0);
    uint64_t first = 99;
    struct slice data = slice_str("x");
    assert_int_equal(consensus_propose(r.m.c, r.now, &data, 1, &first), ERR_NOT_LEADER);
    assert_int_equal(first, 99);
    rig_close(&r);
}

/* The bound on writes under way is met, heard of, and left again. */
static void test_propose_bound(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    uint32_t n = 0;
    while (rig_propose(&r, 1) != 0) {
        rig_clear(&r);
        assert_true(++n <= CONS_WRITES_MAX);
    }
    assert_int_equal(n, CONS_WRITES_MAX);
    uint64_t first = 0;
    struct slice data = slice_str("x");
    assert_int_equal(consensus_propose(r.m.c, r.now, &data, 1, &first), ERR_BUSY);
    rig_persist(&r);
    assert_true(rig_propose(&r, 1) != 0);
    rig_close(&r);
}

/* With a full window the library emits an empty message for each proposal: dropped, but
 * for heartbeats. */
static void test_full_window(void **state)
{
    (void)state;
    rig_init(&r, 1, 0);
    struct cons_base base = {
        .index = 10, .term = 5, .config_index = 10, .config = rig_config("1V 2V 3V")};
    r.m.opts.max_inflight_entries = 8;
    member_bear(&r.m, &base, 5, 0);
    member_start(&r.m, r.now);
    rig_lead(&r, 2);
    rig_settle(&r, 2);
    rig_clear(&r);
    for (int i = 0; i < 100; i++)
        rig_propose(&r, 1);
    uint32_t empty = 0;
    uint32_t full = 0;
    for (uint32_t i = 0; i < r.n_sent; i++) {
        if (r.sent[i].type == CONS_MSG_APPEND && r.sent[i].to == 2)
            *(r.sent[i].append.n > 0 ? &full : &empty) += 1;
    }
    assert_int_equal(full, 8);
    assert_int_equal(empty, 0);
    rig_clear(&r);
    rig_tick(&r, RIG_HB);
    assert_non_null(rig_last(&r, CONS_MSG_APPEND, 2));
    rig_close(&r);
}

/* --- durability */

/* A step that changes the term and appends gives one write with both. */
static struct cons_write last_write;

static void keep_write(void *data, struct member *m, const struct cons_write *write)
{
    (void)data;
    (void)m;
    last_write = *write;
}

static void test_one_write(void **state)
{
    (void)state;
    static const struct member_host host = {.wrote = keep_write};
    static const struct rig_entry es[] = {{6, NULL}, {6, NULL}};
    rig_open(&r, 2, 0, NULL, 5, 0, 0, 0);
    r.m.host = &host;
    rig_append(&r, 1, 6, 10, 5, 10, es, 2);
    assert_int_equal(r.m.n_writes, 1);
    assert_true(last_write.has_hard_state);
    assert_int_equal(last_write.term, 6);
    assert_int_equal(last_write.first_index, 11);
    assert_int_equal(last_write.n, 2);
    assert_true(last_write.commit_hint <= 12);
    rig_close(&r);
}

/* Every kind of message waits for the term in it; a bounded number does. */
static void test_held(void **state)
{
    (void)state;
    rig_open(&r, 2, 0, NULL, 5, 0, 0, 0);
    rig_append(&r, 1, 6, 10, 5, 10, NULL, 0);
    assert_int_equal(r.n_sent, 0);
    for (int i = 0; i < CONS_HELD_MAX + 50; i++)
        rig_append(&r, 1, 6, 10, 5, 10, NULL, 0);
    assert_int_equal(status().messages_held, CONS_HELD_MAX);
    assert_int_equal(status().messages_dropped, 51);
    rig_persist(&r);
    assert_int_equal(status().messages_held, 0);
    assert_int_equal(rig_count(&r, CONS_MSG_APPEND_RESULT), CONS_HELD_MAX);
    rig_close(&r);
}

/* Completions of an instance that is gone, or of ids never given, change nothing. */
static void test_unknown_write(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    rig_propose(&r, 1);
    consensus_on_persisted(r.m.c, r.now, 1);
    consensus_on_persisted(r.m.c, r.now, UINT64_MAX);
    assert_int_equal(status().last_stored, 11);
    rig_close(&r);
}

/* --- reads */

struct seen {
    struct cons_read read;
    int calls;
    int status;
    uint64_t index;
};

static void seen_cb(struct cons_read *read, int rv, uint64_t index)
{
    struct seen *s = container_of(read, struct seen, read);
    s->calls++;
    s->status = rv;
    s->index = index;
}

static void read_start(struct seen *s, uint64_t deadline_ms)
{
    *s = (struct seen){.read = {.cb = seen_cb, .deadline_ms = deadline_ms}};
    assert_int_equal(consensus_read(r.m.c, &s->read), 0);
}

static uint64_t probe_number(void)
{
    const struct cons_msg *m = rig_last(&r, CONS_MSG_PROBE, 2);
    assert_non_null(m);
    return m->probe.number;
}

/* Reads of one turn share a probe; those that come meanwhile wait for the next. */
static void test_read_rounds(void **state)
{
    (void)state;
    struct seen a;
    struct seen b;
    struct seen late;
    rig_open_leader(&r, 0, NULL);
    read_start(&a, UINT64_MAX);
    read_start(&b, UINT64_MAX);
    assert_int_equal(rig_count(&r, CONS_MSG_PROBE), 0);
    consensus_flush(r.m.c, r.now);
    assert_int_equal(rig_count(&r, CONS_MSG_PROBE), 2); /* to 2 and to 3 */
    uint64_t first = probe_number();
    read_start(&late, UINT64_MAX);
    consensus_flush(r.m.c, r.now);
    assert_int_equal(rig_count(&r, CONS_MSG_PROBE), 2);
    rig_probe_result(&r, 3, 6, first);
    assert_int_equal(a.calls + b.calls, 2);
    assert_int_equal(a.status, 0);
    assert_int_equal(a.index, 11);
    assert_int_equal(late.calls, 0);
    assert_true(probe_number() > first); /* its own probe left at once */
    rig_probe_result(&r, 2, 6, probe_number());
    assert_int_equal(late.calls, 1);
    rig_close(&r);
}

/* Round trips longer than a heartbeat: attempts become longer until one lives to see its
 * answers. */
static void test_read_far_away(void **state)
{
    (void)state;
    struct seen s;
    uint64_t waited_ms = 0;
    uint64_t round_trip_ms = 5 * RIG_HB;
    rig_open_leader(&r, 0, NULL);
    read_start(&s, UINT64_MAX);
    consensus_flush(r.m.c, r.now);
    while (s.calls == 0 && waited_ms < 40 * RIG_HB) {
        uint64_t number = probe_number();
        for (uint64_t ms = 0; ms < round_trip_ms; ms++)
            rig_tick(&r, 1);
        waited_ms += round_trip_ms;
        rig_append_result(&r, 2, 6, 0, 11); /* it is there */
        rig_probe_result(&r, 2, 6, number);
    }
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.status, 0);
    rig_close(&r);
}

static void test_read_waits_for_apply(void **state)
{
    (void)state;
    struct seen s;
    rig_open_leader(&r, 0, NULL);
    rig_propose(&r, 2);
    rig_persist(&r);
    rig_append_result(&r, 2, 6, 0, 13);
    read_start(&s, UINT64_MAX);
    consensus_flush(r.m.c, r.now);
    rig_probe_result(&r, 2, 6, probe_number());
    assert_int_equal(s.calls, 0);
    member_apply(&r.m, r.now);
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.index, 13);
    rig_close(&r);
}

/* Only voters of the latest configuration count, each once. */
static void test_read_counts_voters(void **state)
{
    (void)state;
    struct seen s;
    rig_open(&r, 1, 0, "1V 2V 3V 4V 5V 6L", 5, 0, 0, 0);
    consensus_campaign(r.m.c, r.now);
    rig_persist(&r);
    rig_vote_result(&r, 2, 6, true);
    rig_vote_result(&r, 3, 6, true);
    rig_persist(&r);
    rig_append_result(&r, 2, 6, 0, 11);
    rig_append_result(&r, 3, 6, 0, 11);
    member_apply(&r.m, r.now);
    read_start(&s, UINT64_MAX);
    consensus_flush(r.m.c, r.now);
    uint64_t n = probe_number();
    rig_probe_result(&r, 2, 6, n);
    rig_probe_result(&r, 2, 6, n);
    rig_probe_result(&r, 6, 6, n); /* a learner */
    rig_probe_result(&r, 9, 6, n); /* a stranger */
    rig_probe_result(&r, 4, 5, n); /* another term */
    assert_int_equal(s.calls, 0);
    rig_probe_result(&r, 5, 6, n);
    assert_int_equal(s.calls, 1);
    rig_close(&r);
}

static void test_read_ends(void **state)
{
    (void)state;
    struct seen timed;
    struct seen lost;
    struct seen gone;
    rig_open_leader(&r, 0, NULL);
    read_start(&timed, r.now + 30);
    read_start(&lost, UINT64_MAX);
    read_start(&gone, UINT64_MAX);
    consensus_read_cancel(r.m.c, &gone.read);
    consensus_flush(r.m.c, r.now);
    rig_tick(&r, 31);
    assert_int_equal(timed.calls, 1);
    assert_int_equal(timed.status, ERR_TIMEOUT);
    rig_append_result(&r, 2, 9, 0, 0); /* a higher term */
    assert_int_equal(lost.calls, 1);
    assert_int_equal(lost.status, ERR_NOT_LEADER);
    assert_int_equal(gone.calls, 0);
    assert_int_equal(consensus_read(r.m.c, &lost.read), ERR_NOT_LEADER);
    rig_close(&r);
}

/* So many may wait and not one more; one that is given up makes room. */
static void test_read_bound(void **state)
{
    (void)state;
    struct seen *all = calloc(CONS_READS_MAX + 1, sizeof *all);
    assert_non_null(all);
    rig_open_leader(&r, 0, NULL);
    for (uint32_t i = 0; i < CONS_READS_MAX; i++)
        read_start(&all[i], UINT64_MAX);
    struct seen *over = &all[CONS_READS_MAX];
    *over = (struct seen){.read = {.cb = seen_cb, .deadline_ms = UINT64_MAX}};
    assert_int_equal(consensus_read(r.m.c, &over->read), ERR_BUSY);
    consensus_read_cancel(r.m.c, &all[7].read);
    assert_int_equal(consensus_read(r.m.c, &over->read), 0);
    rig_append_result(&r, 2, 9, 0, 0); /* a higher term: all of them hear */
    for (uint32_t i = 0; i <= CONS_READS_MAX; i++)
        assert_int_equal(all[i].calls, i == 7 ? 0 : 1);
    assert_int_equal(over->calls, 1);
    assert_int_equal(over->status, ERR_NOT_LEADER);
    rig_close(&r);
    free(all);
}

static struct seen *again;

static void again_cb(struct cons_read *read, int rv, uint64_t index)
{
    (void)index;
    assert_int_equal(rv, 0);
    if (++again->calls < 3)
        assert_int_equal(consensus_read(r.m.c, read), 0);
}

/* A lone voter confirms itself; a read may be started again from its callback. */
static void test_read_alone(void **state)
{
    (void)state;
    struct seen s = {.read = {.cb = again_cb, .deadline_ms = UINT64_MAX}};
    again = &s;
    rig_open(&r, 1, 0, "1V", 5, 0, 0, 0);
    rig_persist(&r);
    member_apply(&r.m, r.now);
    assert_int_equal(consensus_read(r.m.c, &s.read), 0);
    assert_int_equal(s.calls, 0);
    for (int i = 0; i < 3; i++)
        consensus_flush(r.m.c, r.now);
    assert_int_equal(s.calls, 3);
    rig_close(&r);
}

/* --- membership and hand-over */

static int change(enum cons_change_kind kind, uint64_t id)
{
    uint64_t index = 0;
    return consensus_propose_change(r.m.c, r.now, kind, id, 100 + id, &index, NULL);
}

/* Everyone in the configuration has everything; committed and applied. */
static void all_caught_up(void)
{
    rig_persist(&r);
    for (uint32_t i = 0; i < r.m.config.n; i++) {
        uint64_t id = r.m.config.members[i].replica_id;
        if (id != 1)
            rig_append_result(&r, id, 6, 0, consensus_last_index(r.m.c));
    }
    member_apply(&r.m, r.now);
    rig_clear(&r);
}

static void test_membership(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    assert_int_equal(change(CONS_ADD_LEARNER, 3), ERR_EXISTS);
    assert_int_equal(change(CONS_PROMOTE, 4), ERR_NOT_FOUND);
    assert_int_equal(change(CONS_REMOVE, 4), ERR_NOT_FOUND);
    assert_int_equal(change(CONS_REMOVE, 1), ERR_BUSY); /* ourselves: hand over first */
    assert_int_equal(change(CONS_ADD_LEARNER, 4), 0);
    assert_int_equal(change(CONS_ADD_LEARNER, 5), ERR_BUSY); /* one at a time */
    assert_int_equal(change(CONS_PROMOTE, 4), ERR_BUSY);
    assert_int_equal(r.m.config.n, 4); /* it acts at once */
    all_caught_up();
    assert_true(consensus_is_admin_ready(r.m.c));
    for (int i = 0; i < 6; i++)
        rig_propose(&r, 50);
    rig_persist(&r);
    rig_append_result(&r, 2, 6, 0, consensus_last_index(r.m.c));
    member_apply(&r.m, r.now);
    assert_int_equal(change(CONS_PROMOTE, 4), ERR_BUSY); /* 300 entries behind */
    all_caught_up();
    assert_int_equal(change(CONS_PROMOTE, 4), 0);
    assert_int_equal(cons_config_voters(&r.m.config), 4);
    all_caught_up();
    assert_int_equal(change(CONS_PROMOTE, 4), ERR_EXISTS);
    assert_int_equal(change(CONS_REMOVE, 3), 0);
    all_caught_up();
    assert_int_equal(r.m.config.n, 3);
    assert_null(cons_config_find(&r.m.config, 3));
    rig_close(&r);
}

/* A learner that fell silent is not promoted. */
static void test_promote_silent(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    assert_int_equal(change(CONS_ADD_LEARNER, 4), 0);
    all_caught_up();
    for (int i = 0; i < 6; i++) {
        rig_tick(&r, RIG_HB);
        rig_append_result(&r, 2, 6, 0, consensus_last_index(r.m.c));
    }
    assert_int_equal(change(CONS_PROMOTE, 4), ERR_BUSY);
    rig_append_result(&r, 4, 6, 0, consensus_last_index(r.m.c));
    assert_int_equal(change(CONS_PROMOTE, 4), 0);
    rig_close(&r);
}

/* The log of a new range is short: a learner that has nothing is near its end, and yet waits for
 * the snapshot below it. As a voter it would only be in the way of a majority. */
static void test_promote_blank(void **state)
{
    (void)state;
    rig_open(&r, 1, 0, "1V 2V 3V 4L", 5, 0, 0, 0);
    rig_lead(&r, 2);
    rig_settle(&r, 2);
    rig_append_result(&r, 3, 6, 0, 11);
    rig_append_result(&r, 4, 6, 1, 0); /* it lives, and misses what is before the log */
    assert_true(consensus_last_index(r.m.c) < CONS_PROMOTE_LAG_MAX);
    assert_int_equal(change(CONS_PROMOTE, 4), ERR_BUSY);
    rig_append_result(&r, 4, 6, 0, 11);
    assert_int_equal(change(CONS_PROMOTE, 4), 0);
    rig_close(&r);
}

static void test_last_voter(void **state)
{
    (void)state;
    rig_open(&r, 1, 0, "1V", 5, 0, 0, 0);
    rig_persist(&r);
    member_apply(&r.m, r.now);
    assert_int_equal(change(CONS_REMOVE, 1), ERR_INVALID);
    assert_int_equal(change(CONS_ADD_LEARNER, 2), 0);
    rig_close(&r);
}

/* Proposals stop, the target catches up, is told, and leads; or it takes too long. */
static void test_transfer(void **state)
{
    (void)state;
    uint64_t first = 0;
    struct slice data = slice_str("x");
    rig_open_leader(&r, 0, NULL);
    assert_int_equal(consensus_transfer(r.m.c, r.now, 9), ERR_NOT_FOUND);
    assert_int_equal(consensus_transfer(r.m.c, r.now, 1), ERR_NOT_FOUND);
    rig_propose(&r, 1);
    rig_persist(&r);
    assert_true(consensus_may_propose(r.m.c));
    assert_int_equal(consensus_transfer(r.m.c, r.now, 2), 0);
    assert_false(consensus_may_propose(r.m.c));
    assert_int_equal(consensus_transfer(r.m.c, r.now, 3), ERR_BUSY);
    assert_int_equal(consensus_propose(r.m.c, r.now, &data, 1, &first), ERR_BUSY);
    assert_null(rig_last(&r, CONS_MSG_TIMEOUT_NOW, 0));
    rig_append_result(&r, 2, 6, 0, 12);
    assert_non_null(rig_last(&r, CONS_MSG_TIMEOUT_NOW, 2));
    for (int i = 0; i < 8; i++) { /* it never comes */
        rig_tick(&r, RIG_HB);
        rig_append_result(&r, 2, 6, 0, 12);
        rig_append_result(&r, 3, 6, 0, 12);
    }
    assert_true(rig_propose(&r, 1) != 0);
    assert_int_equal(consensus_transfer(r.m.c, r.now, 0), 0); /* any; both lag by one */
    rig_tick(&r, RIG_ET + 1);
    assert_int_equal(status().transferee, 0);
    rig_close(&r);
}

/* One who abstains asks for no votes and takes no hand-over, but votes: it does not go
 * on believing in a leader that is gone. */
static void test_abstain(void **state)
{
    (void)state;
    rig_open(&r, 2, 0, NULL, 6, 0, 0, 0);
    consensus_set_candidacy(r.m.c, false);
    rig_append(&r, 1, 6, 10, 5, 10, NULL, 0);
    assert_true(consensus_leader(r.m.c, NULL) == 1);
    rig_timeout_now(&r, 1, 6, 10, 5);
    for (int i = 0; i < 10; i++)
        rig_tick(&r, RIG_ET);
    consensus_campaign(r.m.c, r.now);
    rig_persist(&r);
    assert_null(rig_last(&r, CONS_MSG_VOTE, 0));
    assert_true(consensus_leader(r.m.c, NULL) == 0);

    uint64_t term = consensus_term(r.m.c) + 1;
    rig_vote(&r, 3, term, 10, 5);
    rig_persist(&r);
    const struct cons_msg *m = rig_last(&r, CONS_MSG_VOTE_RESULT, 3);
    assert_non_null(m);
    assert_true(m->vote_result.granted && m->term == term);

    consensus_set_candidacy(r.m.c, true);
    for (int i = 0; i < 10; i++)
        rig_tick(&r, RIG_ET);
    rig_persist(&r);
    assert_non_null(rig_last(&r, CONS_MSG_VOTE, 3));
    rig_close(&r);
}

/* --- snapshots */

/* A member that the log does not reach: one stream, then the description. */
static void test_stream(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    for (int i = 0; i < 4; i++)
        rig_propose(&r, 50);
    all_caught_up();
    member_flush(&r.m, r.now, 0);
    assert_int_equal(change(CONS_ADD_LEARNER, 4), 0);
    rig_persist(&r);
    for (int i = 0; i < 10; i++) { /* 4 is blank */
        rig_tick(&r, RIG_HB);
        rig_append_result(&r, 2, 6, 0, consensus_last_index(r.m.c));
        const struct cons_msg *m = rig_last(&r, CONS_MSG_APPEND, 4);
        if (m != NULL)
            rig_append_result(&r, 4, 6, m->append.prev_index, 0);
    }
    assert_int_equal(r.m.n_requests, 1); /* asked once, however often it was refused */
    assert_int_equal(r.m.requests[0].kind, REQUEST_STREAM);
    assert_int_equal(r.m.requests[0].peer, 4);
    r.m.n_requests = 0;
    rig_clear(&r);
    struct mstate s = member_state(&r.m);
    consensus_snapshot_started(r.m.c, 4, s.base.index);
    assert_true(status().members[3].is_streaming);
    consensus_snapshot_sent(r.m.c, r.now, 4, &s.base);
    const struct cons_msg *m = rig_last(&r, CONS_MSG_SNAPSHOT, 4);
    assert_non_null(m);
    assert_int_equal(m->snapshot.index, s.base.index);
    assert_int_equal(m->snapshot.config.n, s.base.config.n);
    rig_append_result(&r, 4, 6, 0, s.base.index);
    assert_int_equal(status().members[3].match, s.base.index);
    rig_close(&r);
}

/* A member holds the whole of a stream until there is a place for it, and refuses others meanwhile:
 * while one of those begins, too, the log is kept above the first one. */
static void test_log_above_a_held_stream(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    for (int i = 0; i < 4; i++)
        rig_propose(&r, 50);
    rig_settle(&r, 2);
    struct mstate s = member_state(&r.m);
    consensus_compact(r.m.c, r.now, &s.base, 0);
    uint64_t held = s.base.index;
    rig_append_result(&r, 3, 6, 211, 11);
    assert_int_equal(r.m.n_requests, 1);
    consensus_snapshot_started(r.m.c, 3, held);
    consensus_snapshot_sent(r.m.c, r.now, 3, &s.base);
    for (int i = 0; i < 8; i++)
        rig_propose(&r, 50);
    rig_settle(&r, 2);
    s = member_state(&r.m);
    assert_true(s.base.index > held + 2);
    for (int i = 0; i < 100 && r.m.n_requests < 2; i++) { /* it has nothing yet, it says */
        rig_tick(&r, RIG_HB);
        rig_append_result(&r, 2, 6, 0, consensus_last_index(r.m.c));
        rig_append_result(&r, 3, 6, 211 + i, 11);
    }
    assert_int_equal(r.m.n_requests, 2);
    consensus_snapshot_started(r.m.c, 3, s.base.index);
    consensus_compact(r.m.c, r.now, &s.base, 1000);
    assert_true(consensus_log_floor(r.m.c) <= held);
    consensus_snapshot_failed(r.m.c, 3, true);
    rig_append_result(&r, 3, 6, 0, held); /* its place is free now */
    assert_int_equal(status().members[2].match, held);
    consensus_compact(r.m.c, r.now, &s.base, 1000);
    assert_true(consensus_log_floor(r.m.c) <= held);
    rig_close(&r);
}

static void test_install(void **state)
{
    (void)state;
    rig_init(&r, 4, 0);
    assert_int_equal(member_start(&r.m, r.now), 0); /* blank */
    rig_append(&r, 1, 6, 40, 6, 40, NULL, 0);
    rig_persist(&r);
    assert_int_equal(rig_last(&r, CONS_MSG_APPEND_RESULT, 1)->append_result.last_index, 0);
    rig_snapshot(&r, 1, 6, 40, 6, "1V 2V 4L");
    assert_true(r.m.is_installing);
    assert_true(status().is_installing);
    rig_clear(&r);
    member_install(&r.m, r.now);
    assert_int_equal(status().applied, 40);
    assert_int_equal(status().last_stored, 40);
    assert_int_equal(status().config_index, 10);
    assert_int_equal(r.m.config.n, 3);
    assert_int_equal(rig_last(&r, CONS_MSG_APPEND_RESULT, 1)->append_result.last_index, 40);
    rig_close(&r);
}

/* Old entries reach the disk while a snapshot is installed in their place: nothing is
 * acknowledged before that is durable. */
static void test_write_during_install(void **state)
{
    (void)state;
    struct rig_entry es[10];
    for (uint32_t i = 0; i < ARRAY_LEN(es); i++)
        es[i] = (struct rig_entry){.term = 6};
    rig_open(&r, 2, 0, NULL, 7, 0, 0, 0);
    rig_append(&r, 1, 7, 10, 5, 10, es, ARRAY_LEN(es));
    rig_snapshot(&r, 1, 7, 20, 7, "1V 2V 3V");
    assert_true(r.m.is_installing);
    rig_clear(&r);
    member_persist_all(&r.m, r.now);
    assert_true(status().last_stored < 20);
    assert_null(rig_last(&r, CONS_MSG_APPEND_RESULT, 0));
    member_install(&r.m, r.now);
    assert_int_equal(status().last_stored, 20);
    assert_int_equal(rig_last(&r, CONS_MSG_APPEND_RESULT, 1)->append_result.last_index, 20);
    rig_close(&r);
}

/* While it takes a snapshot in, a member answers its leader: else it would count as dead,
 * and the log that it needs next would be cut. */
static void test_alive_while_installing(void **state)
{
    (void)state;
    rig_open(&r, 2, 0, NULL, 6, 0, 0, 0);
    rig_snapshot(&r, 1, 6, 50, 6, "1V 2V 3V");
    assert_true(r.m.is_installing);
    for (int i = 0; i < 20; i++) {
        rig_clear(&r);
        rig_append(&r, 1, 6, 60, 6, 60, NULL, 0);
        rig_tick(&r, RIG_HB);
        assert_non_null(rig_last(&r, CONS_MSG_APPEND_RESULT, 1));
    }
    assert_int_equal(status().state, CONS_FOLLOWER);
    rig_close(&r);
}

/* --- entries from disk */

static bool not_cached(void *data, struct member *m, uint64_t index)
{
    (void)data;
    (void)m;
    (void)index;
    return false;
}

static void host_keep(void *data, struct member *m, const struct cons_msg *msg)
{
    struct rig *rig = data;
    (void)m;
    rig->sent[rig->n_sent++] = *msg;
}

static void test_fetch(void **state)
{
    (void)state;
    static const struct member_host host = {.send = host_keep, .is_cached = not_cached};
    rig_open_leader(&r, 0, NULL);
    r.m.host = &host;
    rig_propose(&r, 2);
    rig_propose(&r, 1);                  /* extends what is being read */
    assert_int_equal(r.m.n_requests, 2); /* one for each follower */
    assert_int_equal(r.m.requests[0].kind, REQUEST_FETCH);
    struct mrequest q = r.m.requests[0];
    assert_int_equal(q.first, 12);
    assert_int_equal(q.n, 2);
    rig_tick(&r, RIG_HB);
    const struct cons_msg *m = rig_last(&r, CONS_MSG_APPEND, q.peer);
    assert_non_null(m); /* a heartbeat, not beyond what it has */
    assert_int_equal(m->append.n, 0);
    assert_int_equal(m->append.prev_index, 11);
    rig_clear(&r);
    r.m.n_requests = 0;
    struct cons_entry es[2] = {{.term = 6, .type = CONS_COMMAND, .data = slice_str("z")},
                               {.term = 6, .type = CONS_COMMAND, .data = slice_str("z")}};
    consensus_on_fetched(r.m.c, r.now, q.token, 0, es, 2);
    m = rig_last(&r, CONS_MSG_APPEND, q.peer);
    assert_non_null(m);
    assert_int_equal(m->append.n, 2);
    assert_int_equal(r.m.n_requests, 1); /* and the third entry is asked for */
    assert_int_equal(r.m.requests[0].first, 14);
    rig_clear(&r);
    consensus_on_fetched(r.m.c, r.now, q.token, 0, es, 2); /* twice: ignored */
    assert_int_equal(r.n_sent, 0);
    uint64_t token = r.m.requests[0].token;
    rig_append_result(&r, 2, 9, 0, 0); /* we lead no more */
    rig_clear(&r);
    consensus_on_fetched(r.m.c, r.now, token, 0, es, 1);
    assert_int_equal(rig_count(&r, CONS_MSG_APPEND), 0);
    rig_close(&r);
}

/* --- starting */

static const struct {
    const char *name;
    uint64_t term;
    uint64_t base_index;
    uint64_t base_term;
    uint64_t config_index;
    uint64_t first;
    uint64_t last;
    int want;
} starts[] = {
    {"born", 5, 10, 5, 10, 11, 10, 0},
    {"blank", 0, 0, 0, 0, 1, 0, 0},
    {"blank with a term", 7, 0, 0, 0, 1, 0, 0},
    {"log without a base", 5, 0, 0, 0, 11, 13, ERR_CORRUPT},
    {"base at 1", 5, 1, 5, 1, 2, 1, ERR_CORRUPT},
    {"base without a term", 5, 10, 0, 10, 11, 10, ERR_CORRUPT},
    {"base of the future", 5, 10, 6, 10, 11, 10, ERR_CORRUPT},
    {"configuration above the base", 5, 10, 5, 11, 11, 10, ERR_CORRUPT},
    {"configuration at 0", 5, 10, 5, 0, 11, 10, ERR_CORRUPT},
    {"gap", 5, 10, 5, 10, 12, 13, ERR_CORRUPT},
    {"log ends below the base", 5, 14, 5, 10, 11, 13, ERR_CORRUPT},
    {"log reaches the base", 5, 13, 5, 10, 11, 13, 0},
    {"log and base disagree", 6, 13, 6, 10, 11, 13, ERR_CORRUPT},
    {"log of the future", 4, 10, 4, 10, 11, 13, ERR_CORRUPT},
    {"hole at the end", 5, 10, 5, 10, 11, 15, ERR_CORRUPT},
    {"term out of range", UINT64_MAX, 10, 5, 10, 11, 10, ERR_CORRUPT},
};

/* The rig's log holds 11..13 of term 5. */
static void test_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        rig_open(&r, 2, 0, NULL, 5, 0, 3, 5);
        struct consensus *c = NULL;
        struct err err = {0};
        struct cons_start s = {
            .term = starts[i].term,
            .base = {.index = starts[i].base_index,
                     .term = starts[i].base_term,
                     .config_index = starts[i].config_index},
            .first_index = starts[i].first,
            .last_index = starts[i].last,
        };
        if (starts[i].base_index != 0)
            s.base.config = rig_config("1V 2V 3V");
        assert_int_equal(consensus_new(&c, &r.m.opts, NULL), 0);
        int rv = consensus_start(c, r.now, &s, &err);
        if (rv != starts[i].want || (rv != 0) != (err.msg[0] != 0))
            fail_msg("%s: got %d (%s)", starts[i].name, rv, err.msg);
        consensus_free(c);
        rig_close(&r);
    }
}

/* Restarted with two changes in the log, of which the second is rolled back. */
static void test_start_with_changes(void **state)
{
    (void)state;
    static const struct rig_entry both[] = {{6, "1V 2V 3V 4V"}, {6, "1V 2V 3V 4V 5V"}};
    static const struct rig_entry other[] = {{7, NULL}};
    rig_open(&r, 2, 0, NULL, 5, 0, 0, 0);
    rig_append(&r, 1, 6, 10, 5, 10, both, 2);
    rig_persist(&r);
    member_crash(&r.m, 0);
    assert_int_equal(member_start(&r.m, r.now), 0);
    assert_int_equal(consensus_config(r.m.c, NULL)->n, 5);
    rig_append(&r, 3, 7, 11, 6, 10, other, 1);
    rig_persist(&r);
    assert_int_equal(r.m.config.n, 4);
    uint64_t index = 0;
    assert_int_equal(consensus_config_at(r.m.c, 10, &index)->n, 3);
    assert_int_equal(index, 10);
    assert_int_equal(consensus_config_at(r.m.c, 12, &index)->n, 4);
    assert_int_equal(index, 11);
    rig_close(&r);
}

/* The log still holds a CHANGE that the applied state is past: it is no pending one. */
static void test_start_behind_change(void **state)
{
    (void)state;
    static const struct rig_entry es[] = {{6, NULL}, {6, "2V 3V 1V 4L"}, {6, NULL}};
    rig_open(&r, 1, 0, "2V 3V 1V", 5, 0, 0, 0);
    rig_append(&r, 2, 6, 10, 5, 13, es, 3);
    rig_persist(&r);
    rig_append(&r, 2, 6, 13, 6, 13, NULL, 0);
    member_apply(&r.m, r.now);
    assert_int_equal(r.m.state.base.index, 13);
    r.m.disk.state = r.m.state; /* flushed; nothing was cut */
    member_crash(&r.m, 0);
    assert_int_equal(member_start(&r.m, r.now), 0);
    assert_int_equal(status().config_index, 12);
    assert_int_equal(consensus_config(r.m.c, NULL)->n, 4);
    rig_lead(&r, 2);
    rig_settle(&r, 2);
    rig_append_result(&r, 3, 7, 0, 14);
    rig_append_result(&r, 4, 7, 0, 14);
    assert_true(consensus_is_admin_ready(r.m.c));
    assert_int_equal(change(CONS_PROMOTE, 4), 0);
    rig_close(&r);
}

static void test_options(void **state)
{
    (void)state;
    rig_init(&r, 1, 0);
    struct consensus *c = NULL;
    struct cons_options bad[5];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = r.m.opts;
    bad[0].replica_id = 0;
    bad[1].store_id = CONS_ID_MAX + 1;
    bad[2].heartbeat_ms = 0;
    bad[3].election_timeout_ms = bad[3].heartbeat_ms;
    bad[4].max_inflight_entries = CONS_APPEND_ENTRIES_MAX + 1;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(consensus_new(&c, &bad[i], NULL), ERR_INVALID);
    assert_null(c);
    consensus_free(NULL);
    rig_close(&r);
}

/* A disk that is far behind: entries are not taken on, but the leader is heard. */
static void test_writes_full(void **state)
{
    (void)state;
    static const struct rig_entry es[] = {{6, NULL}};
    rig_open(&r, 2, 0, NULL, 6, 0, 0, 0);
    for (uint64_t i = 0; i < CONS_WRITES_MAX; i++)
        rig_append(&r, 1, 6, 10 + i, i == 0 ? 5 : 6, 10, es, 1);
    uint64_t last = consensus_last_index(r.m.c);
    assert_int_equal(last, 10 + CONS_WRITES_MAX);
    rig_clear(&r);
    for (int i = 0; i < 20; i++) {
        rig_append(&r, 1, 6, last, 6, 10, es, 1);
        rig_tick(&r, RIG_HB);
    }
    assert_int_equal(consensus_last_index(r.m.c), last);
    assert_int_equal(status().state, CONS_FOLLOWER);
    assert_int_equal(consensus_term(r.m.c), 6);
    rig_persist(&r);
    rig_append(&r, 1, 6, last, 6, 10, es, 1);
    assert_int_equal(consensus_last_index(r.m.c), last + 1);
    rig_close(&r);
}

/* R24: the library knows its leader until its own timer fires, however late, and after a
 * restart it knows none. So a timer that is due must be run, and a vote may be given at
 * once by one that has just started: no lease rests on it. */
static void test_knowledge_without_clock(void **state)
{
    (void)state;
    rig_open(&r, 2, 0, NULL, 6, 0, 0, 0);
    rig_append(&r, 1, 6, 10, 5, 10, NULL, 0);
    r.now += 100000;
    rig_vote(&r, 3, 7, 50, 6);
    rig_persist(&r);
    assert_false(rig_last(&r, CONS_MSG_VOTE_RESULT, 3)->vote_result.granted);
    rig_tick(&r, 0);
    rig_persist(&r);
    rig_vote(&r, 3, consensus_term(r.m.c) + 1, 50, 6);
    rig_persist(&r);
    assert_true(rig_last(&r, CONS_MSG_VOTE_RESULT, 3)->vote_result.granted);

    rig_close(&r);
    rig_open(&r, 2, 0, NULL, 6, 0, 0, 0);
    rig_append(&r, 1, 6, 10, 5, 10, NULL, 0);
    member_crash(&r.m, 0);
    assert_int_equal(member_start(&r.m, r.now), 0);
    rig_vote(&r, 3, 7, 50, 6);
    rig_persist(&r);
    assert_true(rig_last(&r, CONS_MSG_VOTE_RESULT, 3)->vote_result.granted);
    rig_close(&r);
}

/* R13: the library's own catch-up of a learner that has everything never ends; ours looks
 * at its match index. */
static void test_learner_promoted_at_once(void **state)
{
    (void)state;
    rig_open(&r, 1, 0, "1V 2V 4L", 5, 0, 0, 0);
    rig_lead(&r, 2);
    rig_settle(&r, 2);
    rig_append_result(&r, 4, 6, 0, 11);
    assert_int_equal(change(CONS_PROMOTE, 4), 0);
    rig_close(&r);
}

/* Who is silent for an election time-out is sent heartbeats alone; and a leader that hears of no
 * majority for as long steps down. */
static void test_silence(void **state)
{
    (void)state;
    rig_open_leader(&r, 0, NULL);
    for (uint32_t ms = 0; ms < RIG_ET + RIG_HB; ms++) {
        rig_clear(&r);
        rig_tick(&r, 1);
        if (rig_last(&r, CONS_MSG_APPEND, 2) != NULL)
            rig_append_result(&r, 2, 6, 0, 11);
    }
    rig_clear(&r);
    rig_propose(&r, 1);
    const struct cons_msg *sent = rig_last(&r, CONS_MSG_APPEND, 2);
    assert_true(sent != NULL && sent->append.n == 1);
    assert_null(rig_last(&r, CONS_MSG_APPEND, 3));
    for (uint32_t ms = 0; ms < RIG_ET - RIG_HB; ms++)
        rig_tick(&r, 1);
    assert_true(consensus_is_leader(r.m.c));
    for (uint32_t ms = 0; ms < 2 * RIG_HB; ms++)
        rig_tick(&r, 1);
    assert_false(consensus_is_leader(r.m.c));
    rig_close(&r);
}

/* The timer is always in the future, and a campaign does not wait for it. */
static void test_time(void **state)
{
    (void)state;
    rig_open(&r, 1, 0, NULL, 5, 0, 0, 0);
    uint64_t due = consensus_next_timeout(r.m.c, r.now);
    assert_true(due >= r.now + RIG_ET && due <= r.now + 2 * RIG_ET);
    rig_tick(&r, 1);
    assert_int_equal(status().state, CONS_FOLLOWER);
    consensus_campaign(r.m.c, r.now);
    assert_int_equal(status().state, CONS_CANDIDATE);
    assert_true(consensus_next_timeout(r.m.c, r.now) > r.now);
    assert_true(consensus_next_timeout(r.m.c, r.now + 100000) > r.now + 100000);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_propose),
        cmocka_unit_test(test_propose_refused),
        cmocka_unit_test(test_propose_bound),
        cmocka_unit_test(test_full_window),
        cmocka_unit_test(test_one_write),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_unknown_write),
        cmocka_unit_test(test_read_rounds),
        cmocka_unit_test(test_read_far_away),
        cmocka_unit_test(test_read_waits_for_apply),
        cmocka_unit_test(test_read_counts_voters),
        cmocka_unit_test(test_read_ends),
        cmocka_unit_test(test_read_bound),
        cmocka_unit_test(test_read_alone),
        cmocka_unit_test(test_membership),
        cmocka_unit_test(test_promote_silent),
        cmocka_unit_test(test_promote_blank),
        cmocka_unit_test(test_last_voter),
        cmocka_unit_test(test_transfer),
        cmocka_unit_test(test_abstain),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_log_above_a_held_stream),
        cmocka_unit_test(test_install),
        cmocka_unit_test(test_write_during_install),
        cmocka_unit_test(test_alive_while_installing),
        cmocka_unit_test(test_fetch),
        cmocka_unit_test(test_writes_full),
        cmocka_unit_test(test_knowledge_without_clock),
        cmocka_unit_test(test_learner_promoted_at_once),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_start_with_changes),
        cmocka_unit_test(test_start_behind_change),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests_name("consensus", tests, NULL, NULL);
}
