/* SPDX-License-Identifier: Apache-2.0
 *
 * What there is no room for on the way to a follower is owed, not dropped; and a row of
 * rejections is one.
 */
#include "consensus/consensus.h"

#include "rig.h"
#include "support/check.h"

static struct rig r; /* large; one test at a time */
static size_t room;  /* on the way to 2 */

static void keep(void *data, struct member *m, const struct cons_msg *msg)
{
    (void)data;
    (void)m;
    assert_true(r.n_sent < RIG_SENT_MAX);
    r.sent[r.n_sent++] = *msg;
    if (msg->type != CONS_MSG_APPEND || msg->to != 2)
        return;
    for (uint32_t i = 0; i < msg->append.n; i++)
        room -= MIN(room, msg->append.entries[i].data.len); /* most are of one byte each */
}

static size_t room_of(void *data, struct member *m, uint64_t peer)
{
    (void)data;
    (void)m;
    return peer == 2 ? room : SIZE_MAX;
}

static const struct member_host narrow = {.send = keep, .room = room_of};

/* Entries to 2 in all that was kept, which must follow each other from `first` on. */
static uint64_t follows(uint64_t first)
{
    for (uint32_t i = 0; i < r.n_sent; i++) {
        const struct cons_msg *m = &r.sent[i];
        if (m->type != CONS_MSG_APPEND || m->to != 2)
            continue;
        if (m->append.n > 0)
            assert_int_equal(m->append.prev_index + 1, first);
        else
            assert_true(m->append.prev_index < first); /* a heartbeat does not run ahead */
        first += m->append.n;
    }
    return first;
}

static void open_narrow(size_t bytes)
{
    rig_open_leader(&r, 0, NULL);
    r.m.host = &narrow;
    room = bytes;
}

static void test_owed_goes_with_room(void **state)
{
    (void)state;
    open_narrow(2);
    rig_propose(&r, 2); /* 12, 13 */
    assert_int_equal(follows(12), 14);
    rig_propose(&r, 2); /* have no room … */
    rig_propose(&r, 1); /* … so this waits, too */
    assert_int_equal(follows(12), 14);
    rig_persist(&r);
    rig_append_result(&r, 2, 6, 0, 13); /* an answer, and still no room */
    rig_tick(&r, RIG_HB);
    assert_int_equal(follows(12), 14);
    room = 10;
    rig_append_result(&r, 2, 6, 0, 13);
    assert_int_equal(follows(12), 17);
    assert_int_equal(rig_count(&r, CONS_MSG_SNAPSHOT), 0);
    rig_append_result(&r, 2, 6, 0, 16);
    assert_int_equal(consensus_commit(r.m.c), 16);
    rig_close(&r);
}

/* Other groups take what comes free, but for a little: an entry that is larger than that goes all
 * the same, and so does a message of several. */
static void test_large_goes_with_little_room(void **state)
{
    enum { LARGE = 5 << 20, LITTLE = 100 };
    static uint8_t bytes[LARGE];
    struct slice several[] = {slice_of(bytes, LITTLE), slice_of(bytes, LITTLE)};
    struct slice large = slice_of(bytes, LARGE);
    uint64_t first = 0;
    (void)state;
    open_narrow(LITTLE);
    assert_int_equal(consensus_propose(r.m.c, r.now, &large, 1, &first), 0);
    rig_persist(&r);
    assert_int_equal(follows(12), 13);
    assert_int_equal(room, 0);
    assert_int_equal(consensus_propose(r.m.c, r.now, several, 2, &first), 0);
    rig_persist(&r);
    rig_append_result(&r, 2, 6, 0, 12);
    assert_int_equal(follows(12), 13);
    room = LITTLE;
    rig_tick(&r, RIG_HB);
    assert_int_equal(follows(12), 15);
    rig_close(&r);
}

static void test_owed_goes_at_a_tick(void **state)
{
    (void)state;
    open_narrow(0);
    rig_propose(&r, 3);
    rig_persist(&r);
    assert_int_equal(follows(12), 12);
    room = 10;
    rig_tick(&r, RIG_HB);
    assert_int_equal(follows(12), 15);
    rig_close(&r);
}

static bool is_old(void *data, struct member *m, uint64_t index)
{
    (void)data;
    (void)m;
    return index < 12;
}

static const struct member_host far = {.send = keep, .room = room_of, .is_cached = is_old};

/* The token of the one fetch for 2 that is asked for; 0 without any. */
static uint64_t fetch_for_2(uint64_t first, uint32_t n)
{
    uint64_t token = 0;
    for (uint32_t i = 0; i < r.m.n_requests; i++) {
        const struct mrequest *q = &r.m.requests[i];
        if (q->kind != REQUEST_FETCH || q->peer != 2)
            continue;
        assert_int_equal(token, 0);
        assert_int_equal(q->first, first);
        assert_int_equal(q->n, n);
        token = q->token;
    }
    r.m.n_requests = 0;
    return token;
}

/* What was read: as the rig proposes them. */
static void fill(struct cons_entry *es, size_t n)
{
    for (size_t i = 0; i < n; i++)
        es[i] = (struct cons_entry){.term = 6, .type = CONS_COMMAND, .data = slice_str("z")};
}

/* What had to be read goes as far as there is room, the rest is owed; without any it is not
 * even read. */
static void test_what_was_read_needs_room_too(void **state)
{
    (void)state;
    struct cons_entry es[3];
    fill(es, ARRAY_LEN(es));
    open_narrow(10);
    r.m.host = &far;
    rig_propose(&r, 3); /* 12 to 14 */
    rig_persist(&r);
    uint64_t token = fetch_for_2(12, 3);
    assert_true(token != 0);
    room = 2; /* others have taken it meanwhile */
    consensus_on_fetched(r.m.c, r.now, token, 0, es, 3);
    assert_int_equal(follows(12), 14);
    assert_int_equal(room, 0);
    assert_int_equal(fetch_for_2(14, 1), 0);
    room = 10;
    rig_append_result(&r, 2, 6, 0, 13);
    token = fetch_for_2(14, 1);
    assert_true(token != 0);
    room = 0;
    consensus_on_fetched(r.m.c, r.now, token, 0, es, 1);
    assert_int_equal(follows(12), 14);
    room = 1;
    rig_tick(&r, RIG_HB);
    consensus_on_fetched(r.m.c, r.now, fetch_for_2(14, 1), 0, es, 1);
    assert_int_equal(follows(12), 15);
    rig_close(&r);
}

/* … however large the first of it is. */
static void test_large_that_was_read_goes_with_little_room(void **state)
{
    enum { LARGE = 5 << 20, LITTLE = 100 };
    static uint8_t bytes[LARGE];
    struct slice two[] = {slice_of(bytes, LARGE), slice_of(bytes, LITTLE)};
    struct cons_entry es[2];
    uint64_t first = 0;
    (void)state;
    fill(es, ARRAY_LEN(es));
    es[0].data = two[0];
    es[1].data = two[1];
    open_narrow(LITTLE);
    r.m.host = &far;
    assert_int_equal(consensus_propose(r.m.c, r.now, two, 2, &first), 0);
    rig_persist(&r);
    consensus_on_fetched(r.m.c, r.now, fetch_for_2(12, 2), 0, es, 2);
    assert_int_equal(follows(12), 13);
    assert_int_equal(room, 0);
    room = LITTLE;
    rig_tick(&r, RIG_HB);
    consensus_on_fetched(r.m.c, r.now, fetch_for_2(13, 1), 0, es + 1, 1);
    assert_int_equal(follows(12), 14);
    rig_close(&r);
}

/* While the library probes it asks for the same with each heartbeat: a disk that takes longer than
 * that is asked once, and its answer goes out. */
static void test_slow_read_is_not_asked_again(void **state)
{
    (void)state;
    struct cons_entry es[3];
    fill(es, ARRAY_LEN(es));
    open_narrow(100);
    r.m.host = &far;
    rig_propose(&r, 3); /* 12 to 14 */
    rig_settle(&r, 3);
    uint64_t token = fetch_for_2(12, 3);
    consensus_on_fetched(r.m.c, r.now, token, 0, es, 3);
    for (int i = 0; i < 10; i++) { /* all of it is lost, and nothing is heard of 2 */
        rig_tick(&r, RIG_HB);
        rig_append_result(&r, 3, 6, 0, 14);
    }
    rig_clear(&r);
    r.m.n_requests = 0;
    const struct cons_msg *m = NULL;
    for (int i = 0; i < 5; i++) { /* it is back, and says what it has */
        rig_tick(&r, RIG_HB);
        rig_append_result(&r, 3, 6, 0, 14);
        m = rig_last(&r, CONS_MSG_APPEND, 2);
        assert_non_null(m);
        assert_int_equal(m->append.prev_index, 11);
        assert_int_equal(m->append.n, 0);
        rig_append_result(&r, 2, 6, 0, 11);
    }
    uint32_t asked = 0;
    for (uint32_t i = 0; i < r.m.n_requests; i++) {
        const struct mrequest *q = &r.m.requests[i];
        token = q->peer == 2 ? q->token : token;
        asked += q->peer == 2;
    }
    assert_int_equal(asked, 1);
    rig_clear(&r);
    consensus_on_fetched(r.m.c, r.now, token, 0, es, 3);
    assert_int_equal(follows(12), 15);
    rig_close(&r);
}

/* The follower says that it has less than was thought: all from there on, in order. */
static void test_rejection_takes_its_place(void **state)
{
    (void)state;
    open_narrow(4);
    rig_propose(&r, 4);
    rig_propose(&r, 2); /* owed: 16, 17 */
    assert_int_equal(follows(12), 16);
    rig_persist(&r);
    rig_clear(&r);
    room = 10;
    rig_append_result(&r, 2, 6, 13, 12);
    rig_append_result(&r, 2, 6, 0, 12);
    assert_int_equal(follows(12), 18);
    rig_close(&r);
}

/* Four messages behind a gap are refused: what follows the gap is sent once. */
static void test_one_rejection_of_many_counts(void **state)
{
    (void)state;
    open_narrow(1000);
    for (int i = 0; i < 5; i++)
        rig_propose(&r, 1); /* 12 to 16, a message each */
    rig_persist(&r);
    assert_int_equal(follows(12), 17);
    rig_clear(&r);
    for (uint64_t prev = 12; prev < 16; prev++)
        rig_append_result(&r, 2, 6, prev, 11); /* 12 was lost */
    uint64_t sent = follows(12) - 12;
    assert_true(sent >= 1);
    for (uint64_t last = 12; last < 17; last++)
        rig_append_result(&r, 2, 6, 0, last);
    assert_int_equal(follows(12), 17);
    rig_close(&r);
}

/* But if what was sent anew is lost as well, it goes once more: a heartbeat is refused, too. */
static void test_later_rejection_counts(void **state)
{
    (void)state;
    open_narrow(1000);
    for (int i = 0; i < 5; i++)
        rig_propose(&r, 1);
    rig_persist(&r);
    rig_append_result(&r, 2, 6, 12, 11);
    rig_tick(&r, 2 * RIG_HB);
    rig_clear(&r);
    rig_append_result(&r, 2, 6, 13, 11);
    rig_tick(&r, 2 * RIG_HB);
    assert_true(follows(12) > 12);
    rig_close(&r);
}

static struct cons_budget budget;

/* So many bytes may be on the way to a store; 3 has all up to 11. */
static void open_with_budget(uint64_t bytes)
{
    struct cons_base base = {.index = RIG_BORN,
                             .term = RIG_TERM,
                             .config_index = RIG_BORN,
                             .config = rig_config("1V 2V 3V")};
    cons_budget_init(&budget, bytes);
    rig_init(&r, 1, 0);
    r.m.opts.inflight = &budget;
    member_bear(&r.m, &base, 5, 0);
    assert_int_equal(member_start(&r.m, r.now), 0);
    rig_persist(&r);
    rig_lead(&r, 2);
    rig_settle(&r, 2);
    rig_append_result(&r, 3, 6, 0, 11);
}

/* A follower dies with as much on the way as there may be, and comes back without it when the log
 * has been cut. What it is owed begins behind what it has: it refuses that, and gets a snapshot. */
static void test_owed_to_one_that_lost_it(void **state)
{
    enum { MAX = 10, TRIES = 20 };
    (void)state;
    open_with_budget(MAX);
    assert_int_equal(rig_propose(&r, MAX), 12); /* 12 to 21 are on their way … */
    rig_settle(&r, 2);
    rig_propose(&r, MAX / 5); /* … and these are owed */
    rig_settle(&r, 2);
    assert_int_equal(consensus_commit(r.m.c), 23);
    struct mstate s = member_state(&r.m);
    assert_int_equal(consensus_compact(r.m.c, r.now, &s.base, 0), 0);
    assert_int_equal(consensus_log_floor(r.m.c), 23);
    for (int i = 0; i < TRIES; i++) { /* nothing is heard of 3 */
        rig_settle(&r, 2);
        rig_tick(&r, RIG_HB);
    }
    r.m.n_requests = 0;
    for (int i = 0; i < TRIES && r.m.n_requests == 0; i++) {
        rig_clear(&r);
        rig_append_result(&r, 2, 6, 0, 23);
        rig_tick(&r, RIG_HB);
        const struct cons_msg *m = rig_last(&r, CONS_MSG_APPEND, 3);
        if (m != NULL)
            rig_append_result(&r, 3, 6, m->append.prev_index, 11);
    }
    assert_int_equal(r.m.n_requests, 1);
    assert_int_equal(r.m.requests[0].kind, REQUEST_STREAM);
    rig_close(&r);
    cons_budget_fini(&budget);
}

/* A follower that takes all that there may be on the way to its store, and whose disk hangs: the
 * others of the group go on without it. */
static void test_hung_follower_starves_nobody(void **state)
{
    enum { MAX = 10, WRITES = 3 * MAX };
    (void)state;
    open_with_budget(MAX);
    uint32_t hung = 0;
    for (uint64_t last = 12; last < 12 + WRITES; last++) {
        rig_clear(&r);
        assert_int_equal(rig_propose(&r, 1), last);
        rig_persist(&r);
        rig_append_result(&r, 2, 6, 0, last);
        assert_int_equal(consensus_commit(r.m.c), last);
        const struct cons_msg *sent = rig_last(&r, CONS_MSG_APPEND, 3);
        hung += sent == NULL ? 0 : sent->append.n;
    }
    assert_int_equal(hung, MAX);
    rig_close(&r);
    cons_budget_fini(&budget);
}

/* A follower that says nothing at all, as one that is damaged on a store that is up, is sent
 * entries for an election timeout, and keeps nothing of what its store may have on the way after
 * that. Once it speaks it gets what it lacks. */
static void test_silent_follower_gets_heartbeats(void **state)
{
    enum { MAX = 10, BEATS = 2 * RIG_ET / RIG_HB };
    (void)state;
    open_with_budget(MAX);
    rig_propose(&r, MAX);
    rig_settle(&r, 2);
    assert_int_equal(*cons_budget_used(&budget, 103), MAX);
    for (int i = 0; i < BEATS; i++) {
        rig_tick(&r, RIG_HB);
        rig_settle(&r, 2);
    }
    assert_int_equal(*cons_budget_used(&budget, 103), 0);
    rig_clear(&r);
    for (int i = 0; i < BEATS; i++) {
        rig_propose(&r, 1);
        rig_tick(&r, RIG_HB);
        rig_settle(&r, 2);
    }
    uint32_t beats = 0;
    for (uint32_t i = 0; i < r.n_sent; i++) {
        const struct cons_msg *m = &r.sent[i];
        if (m->type != CONS_MSG_APPEND || m->to != 3)
            continue;
        assert_int_equal(m->append.n, 0);
        beats++;
    }
    assert_in_range(beats, BEATS - 2, BEATS + 2);
    rig_clear(&r);
    for (int i = 0; i < 3 && (rig_last(&r, CONS_MSG_APPEND, 3) == NULL ||
                              rig_last(&r, CONS_MSG_APPEND, 3)->append.n == 0);
         i++) {
        rig_append_result(&r, 3, 6, 0, 11);
        rig_tick(&r, RIG_HB);
        rig_settle(&r, 2);
    }
    const struct cons_msg *m = rig_last(&r, CONS_MSG_APPEND, 3);
    assert_non_null(m);
    assert_int_equal(m->append.n, MAX + BEATS);
    assert_int_equal(m->append.prev_index, 11);
    rig_close(&r);
    cons_budget_fini(&budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent_follower_gets_heartbeats),
        cmocka_unit_test(test_owed_goes_with_room),
        cmocka_unit_test(test_large_goes_with_little_room),
        cmocka_unit_test(test_owed_goes_at_a_tick),
        cmocka_unit_test(test_what_was_read_needs_room_too),
        cmocka_unit_test(test_large_that_was_read_goes_with_little_room),
        cmocka_unit_test(test_slow_read_is_not_asked_again),
        cmocka_unit_test(test_rejection_takes_its_place),
        cmocka_unit_test(test_one_rejection_of_many_counts),
        cmocka_unit_test(test_later_rejection_counts),
        cmocka_unit_test(test_owed_to_one_that_lost_it),
        cmocka_unit_test(test_hung_follower_starves_nobody),
    };
    return cmocka_run_group_tests_name("owed", tests, NULL, NULL);
}
