/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of ours, without which the group breaks, stalls or wastes: a case for each.
 */
#include <raft.h>
#include <stdlib.h>

#include "cases.h"
#include "consensus/consensus_internal.h"
#include "support/check.h"

static struct cons_status status_of(const struct rig *r)
{
    struct cons_status st;
    consensus_status(r->m.c, &st);
    return st;
}

static int change(struct rig *r, enum cons_change_kind kind, uint64_t id)
{
    uint64_t index = 0;
    return consensus_propose_change(r->m.c, r->now, kind, id, 100 + id, &index, NULL);
}

static uint32_t entries_sent(const struct rig *r, uint64_t to)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n_sent; i++) {
        if (r->sent[i].type == CONS_MSG_APPEND && r->sent[i].to == to)
            n += r->sent[i].append.n;
    }
    return n;
}

/* --- after each step */

/* A message is filled from our own log: the entries must stand there by then. */
static bool case_filled_from_log(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, NULL);
    rig_propose(r, 3);
    return entries_sent(r, 2) == 3;
}

/* Entries that do not fit one message follow in others: the library believes that all
 * have left. */
static bool case_all_entries_leave(struct rig *r, uint64_t off)
{
    uint64_t next = 11;
    rig_init(r, 1, off);
    r->m.opts.append_bytes_max = 4; /* of one byte each */
    struct cons_base base = {
        .index = 10, .term = 5, .config_index = 10, .config = rig_config("1V 2V 3V")};
    member_bear(&r->m, &base, 5, 0);
    member_start(&r->m, r->now);
    rig_lead(r, 2);
    rig_settle(r, 2);
    rig_clear(r);
    rig_propose(r, 10);
    for (uint32_t i = 0; i < r->n_sent; i++) {
        const struct cons_msg *m = &r->sent[i];
        if (m->type != CONS_MSG_APPEND || m->to != 2)
            continue;
        assert_true(m->append.prev_index == next && m->append.n <= 4);
        next += m->append.n;
    }
    return next == 21;
}

/* Both followers have it, our own disk has not: committed, and not to be applied. */
static bool case_apply_before_durable(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, NULL);
    rig_propose(r, 1);
    rig_append_result(r, 2, 6, 0, 12);
    rig_append_result(r, 3, 6, 0, 12);
    assert_int_equal(consensus_commit(r->m.c), 12);
    return consensus_apply_limit(r->m.c) == 11;
}

/* The library must hear of a committed CHANGE, or it takes no other. */
static bool case_committed_change_stepped(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, NULL);
    assert_int_equal(change(r, CONS_ADD_LEARNER, 4), 0);
    rig_settle(r, 2);
    rig_append_result(r, 3, 6, 0, 12);
    rig_append_result(r, 4, 6, 0, 12);
    return change(r, CONS_PROMOTE, 4) == 0;
}

static bool case_clock_falls(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, NULL);
    consensus_tick(r->m.c, r->now - 50);
    return status_of(r).members[1].is_live;
}

/* A loop that comes late finds the next time-out in the future all the same. */
static bool case_timer_in_past(struct rig *r, uint64_t off)
{
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    return consensus_next_timeout(r->m.c, r->now + 100000) > r->now + 100000;
}

static bool is_heap_short;

static void *short_malloc(void *data, size_t size)
{
    (void)data;
    return is_heap_short ? NULL : malloc(size);
}

static void short_free(void *data, void *ptr)
{
    (void)data;
    free(ptr);
}

static void *short_calloc(void *data, size_t n, size_t size)
{
    (void)data;
    return is_heap_short ? NULL : calloc(n, size);
}

static void *short_realloc(void *data, void *ptr, size_t size)
{
    (void)data;
    return is_heap_short ? NULL : realloc(ptr, size);
}

static bool case_steps_after_failure(struct rig *r, uint64_t off)
{
    static struct raft_heap heap = {.malloc = short_malloc,
                                    .free = short_free,
                                    .calloc = short_calloc,
                                    .realloc = short_realloc};
    static const struct rig_entry es[] = {{6, NULL}};
    struct cons_msg again;
    rig_open(r, 2, off, NULL, 6, 0, 0, 0);
    raft_heap_set(&heap);
    is_heap_short = true;
    rig_append(r, 1, 6, 10, 5, 10, es, 1);
    is_heap_short = false;
    assert_true(consensus_needs_reopen(r->m.c, NULL));
    again = rig_msg(r, CONS_MSG_APPEND, 1, 6);
    again.append.prev_index = 10;
    again.append.prev_term = 5;
    return consensus_receive(r->m.c, r->now, &again, NULL) == ERR_STATE;
}

static bool is_last_alloc;

static void *last_malloc(void *data, size_t size)
{
    (void)data;
    return is_last_alloc ? NULL : malloc(size);
}

/* Told that memory is out, the library frees pointers twice at the end: it must never be
 * told. */
static bool case_out_of_memory(struct rig *r, uint64_t off)
{
    static struct raft_heap heap = {.malloc = last_malloc,
                                    .free = short_free,
                                    .calloc = short_calloc,
                                    .realloc = short_realloc};
    raft_heap_set(&heap);
    rig_open(r, 2, off, NULL, 5, 0, 3, 5);
    is_last_alloc = true;
    void *p = raft_malloc(1);
    is_last_alloc = false;
    raft_free(p);
    return p != NULL;
}

/* Asleep for a minute: with the real clock the leader believes that all have left it. */
static bool case_frozen_leader(struct rig *r, uint64_t off)
{
    struct cons_rest rest;
    rig_open_leader(r, off, NULL);
    for (int i = 0; i < 10; i++) { /* the last heartbeat is not answered yet */
        rig_append_result(r, 2, 6, 0, 11);
        rig_append_result(r, 3, 6, 0, 11);
        rig_tick(r, RIG_HB);
    }
    assert_true(consensus_rest(r->m.c, &rest));
    assert_int_equal(consensus_sleep(r->m.c, r->now, &rest), 0);
    r->now += 60000;
    consensus_wake(r->m.c, r->now);
    rig_tick(r, 1);
    return consensus_is_leader(r->m.c);
}

/* --- settings of the library */

static bool case_tracer(struct rig *r, uint64_t off)
{
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    return r->m.c->raft.tracer == NULL;
}

static bool case_seed(struct rig *r, uint64_t off)
{
    uint64_t first = 0;
    bool has_differed = false;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct cons_base base = {
            .index = 10, .term = 5, .config_index = 10, .config = rig_config("1V 2V 3V")};
        rig_init(r, 1, off);
        r->m.opts.seed = seed;
        member_bear(&r->m, &base, 5, 0);
        member_start(&r->m, r->now);
        uint64_t due = consensus_next_timeout(r->m.c, r->now);
        has_differed = has_differed || (seed > 1 && due != first);
        first = seed == 1 ? due : first;
        if (seed < 8)
            rig_close(r);
    }
    return has_differed;
}

static bool case_window(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, NULL);
    rig_propose(r, 40);
    return entries_sent(r, 2) == 40;
}

/* Cut off from the others it asks and asks, and must not come back with a term that
 * throws the leader out. */
static bool case_lonely_candidate(struct rig *r, uint64_t off)
{
    struct cons_base base = {
        .index = 10, .term = 5, .config_index = 10, .config = rig_config("1V 2V 3V")};
    rig_init(r, 1, off);
    r->m.opts.no_pre_vote = false;
    member_bear(&r->m, &base, 5, 0);
    member_start(&r->m, r->now);
    for (int i = 0; i < 20; i++) {
        rig_tick(r, RIG_ET * 2);
        rig_persist(r);
    }
    assert_true(rig_count(r, CONS_MSG_VOTE) > 0);
    return consensus_term(r->m.c) == 5;
}

/* --- messages */

static bool is_foreign; /* entries left that do not stand in the log */

static void watch_entries(void *data, struct member *m, const struct cons_msg *msg)
{
    (void)data;
    for (uint32_t i = 0; msg->type == CONS_MSG_APPEND && i < msg->append.n; i++) {
        const struct mentry *e = mlog_get(&m->log, msg->append.prev_index + 1 + i);
        is_foreign = is_foreign || e == NULL || e->term != msg->append.entries[i].term;
    }
}

static bool nothing_cached(void *data, struct member *m, uint64_t index)
{
    (void)data;
    (void)m;
    (void)index;
    return false;
}

/* 12^6 is being read for a follower; meanwhile another leader has replaced it by 12^7,
 * and we lead again. */
static bool case_late_fetch(struct rig *r, uint64_t off)
{
    static const struct member_host host = {.send = watch_entries, .is_cached = nothing_cached};
    static const struct rig_entry other[] = {{7, NULL}};
    struct cons_entry old = {.term = 6, .type = CONS_COMMAND, .data = slice_str("z")};
    rig_open_leader(r, off, NULL);
    r->m.host = &host;
    is_foreign = false;
    rig_propose(r, 1);
    rig_persist(r);
    assert_true(r->m.n_requests > 0 && r->m.requests[0].kind == REQUEST_FETCH);
    uint64_t token = r->m.requests[0].token;
    rig_append(r, 3, 7, 11, 6, 11, other, 1);
    rig_persist(r);
    rig_lead(r, 2);
    consensus_on_fetched(r->m.c, r->now, token, 0, &old, 1);
    return !is_foreign;
}

/* A follower that says nothing has a bounded number of bytes on the way to it. */
static bool case_inflight(struct rig *r, uint64_t off)
{
    enum { N = 20, BYTES = 64 };
    static const uint8_t bytes[BYTES];
    struct slice data[N];
    uint64_t first = 0;
    struct cons_base base = {
        .index = 10, .term = 5, .config_index = 10, .config = rig_config("1V 2V 3V")};
    rig_init(r, 1, off);
    r->m.opts.append_bytes_max = BYTES;
    r->m.opts.inflight_bytes_max = 2 * BYTES;
    member_bear(&r->m, &base, 5, 0);
    member_start(&r->m, r->now);
    rig_lead(r, 2);
    rig_settle(r, 2);
    rig_clear(r);
    for (uint32_t i = 0; i < N; i++)
        data[i] = slice_of(bytes, BYTES);
    assert_int_equal(consensus_propose(r->m.c, r->now, data, N, &first), 0);
    return entries_sent(r, 2) == 2;
}

static uint32_t reads_of_log;

static bool count_reads(void *data, struct member *m, uint64_t index)
{
    (void)data;
    (void)m;
    (void)index;
    reads_of_log++;
    return true;
}

static bool never_ready(void *data, struct member *m, uint64_t peer)
{
    (void)data;
    (void)m;
    (void)peer;
    return false;
}

/* In probe state the library would send the whole window at each heartbeat. */
static bool case_dead_connection(struct rig *r, uint64_t off)
{
    static const struct member_host host = {.is_cached = count_reads, .is_ready = never_ready};
    rig_open_leader(r, off, NULL);
    r->m.host = &host;
    reads_of_log = 0;
    rig_propose(r, 10);
    rig_tick(r, RIG_HB);
    return reads_of_log == 0;
}

static bool case_empty_messages(struct rig *r, uint64_t off)
{
    struct cons_base base = {
        .index = 10, .term = 5, .config_index = 10, .config = rig_config("1V 2V 3V")};
    uint32_t empty = 0;
    rig_init(r, 1, off);
    r->m.opts.max_inflight_entries = 8;
    member_bear(&r->m, &base, 5, 0);
    member_start(&r->m, r->now);
    rig_lead(r, 2);
    rig_settle(r, 2);
    rig_clear(r);
    for (int i = 0; i < 100; i++)
        rig_propose(r, 1);
    for (uint32_t i = 0; i < r->n_sent; i++)
        empty += r->sent[i].type == CONS_MSG_APPEND && r->sent[i].append.n == 0;
    return empty == 0;
}

/* Followers that answer everything, and one that does not, whose heartbeats are due at other
 * times: what is proposed leaves at once all the same. */
static bool case_other_heartbeats(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, "1V 2V 3V 4L");
    rig_tick(r, 10);
    rig_propose(r, 1); /* 4 is probed: its heartbeats stay where they are */
    rig_settle(r, 2);
    rig_append_result(r, 3, 6, 0, 12);
    for (uint32_t ms = 0; ms < 2 * RIG_ET; ms++) {
        rig_clear(r);
        rig_tick(r, 1);
        for (uint64_t id = 2; id <= 3; id++) {
            if (rig_last(r, CONS_MSG_APPEND, id) != NULL)
                rig_append_result(r, id, 6, 0, 12);
        }
    }
    rig_clear(r);
    rig_propose(r, 1);
    return entries_sent(r, 2) == 1 && entries_sent(r, 3) == 1;
}

/* Not even a stranger's term counts. */
static bool case_strangers_result(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, NULL);
    rig_append_result(r, 9, 99, 0, 0);
    return consensus_is_leader(r->m.c);
}

static bool case_strangers_vote(struct rig *r, uint64_t off)
{
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_tick(r, RIG_ET * 2);
    rig_persist(r);
    assert_int_equal(status_of(r).state, CONS_CANDIDATE);
    rig_vote_result(r, 9, 99, false);
    return consensus_term(r->m.c) == 6;
}

/* 11..30^6 are on their way to the disk when a snapshot at 20^7 takes their place: that
 * they arrive says nothing of the log that comes after. */
static bool case_write_after_install(struct rig *r, uint64_t off)
{
    static const struct rig_entry es[] = {{7, NULL}, {7, NULL}};
    struct rig_entry before[20];
    for (uint32_t i = 0; i < ARRAY_LEN(before); i++)
        before[i] = (struct rig_entry){.term = 6};
    rig_open(r, 2, off, NULL, 7, 0, 0, 0);
    rig_append(r, 1, 7, 10, 5, 10, before, ARRAY_LEN(before));
    rig_snapshot(r, 1, 7, 20, 7, "1V 2V 3V");
    uint64_t old = r->m.writes->id;
    member_install(&r->m, r->now);
    rig_append(r, 1, 7, 20, 7, 20, es, 2);
    member_persist(&r->m, r->now, old);
    return status_of(r).last_stored == 20;
}

/* --- the log behind a snapshot */

static bool case_kept_for_lagging(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, NULL);
    for (int i = 0; i < 8; i++)
        rig_propose(r, 50);
    rig_settle(r, 2);
    rig_append_result(r, 3, 6, 0, 30); /* live, and far behind */
    struct mstate s = member_state(&r->m);
    consensus_compact(r->m.c, r->now, &s.base, 1000);
    return consensus_log_floor(r->m.c) <= 30;
}

static bool case_kept_for_stream(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, NULL);
    for (int i = 0; i < 4; i++)
        rig_propose(r, 50);
    rig_settle(r, 2);
    struct mstate s = member_state(&r->m);
    consensus_compact(r->m.c, r->now, &s.base, 0);
    rig_append_result(r, 3, 6, 211, 11); /* it lacks what is gone: a stream */
    assert_true(r->m.n_requests == 1 && r->m.requests[0].kind == REQUEST_STREAM);
    consensus_snapshot_started(r->m.c, 3, s.base.index);
    uint64_t from = s.base.index;
    for (int i = 0; i < 8; i++)
        rig_propose(r, 50);
    rig_settle(r, 2);
    r->now += RIG_ET * 2; /* 3 takes the stream in and says nothing */
    rig_append_result(r, 2, 6, 0, consensus_last_index(r->m.c));
    s = member_state(&r->m);
    consensus_compact(r->m.c, r->now, &s.base, 1000);
    return consensus_log_floor(r->m.c) <= from;
}

static bool case_compact_while_installing(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, NULL, 6, 0, 3, 5);
    rig_append(r, 1, 6, 13, 5, 13, NULL, 0);
    member_apply(&r->m, r->now);
    struct mstate s = member_state(&r->m);
    assert_int_equal(s.base.index, 13);
    rig_snapshot(r, 1, 6, 50, 6, "1V 2V 3V");
    return consensus_compact(r->m.c, r->now, &s.base, 0) == ERR_BUSY;
}

/* --- membership */

static bool case_change_not_applied(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, NULL);
    assert_int_equal(change(r, CONS_ADD_LEARNER, 4), 0);
    rig_persist(r);
    rig_append_result(r, 2, 6, 0, 12);
    rig_append_result(r, 3, 6, 0, 12);
    assert_int_equal(consensus_commit(r->m.c), 12);
    return change(r, CONS_ADD_LEARNER, 5) == ERR_BUSY;
}

static bool case_barrier_not_applied(struct rig *r, uint64_t off)
{
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_persist(r);
    rig_append_result(r, 2, 6, 0, 11);
    rig_append_result(r, 3, 6, 0, 11);
    assert_int_equal(consensus_commit(r->m.c), 11);
    return change(r, CONS_ADD_LEARNER, 4) == ERR_BUSY;
}

/* Replica 3 lives, and does not hold the last CHANGE. */
static bool case_voter_lacks_change(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, NULL);
    assert_int_equal(change(r, CONS_ADD_LEARNER, 4), 0);
    rig_settle(r, 2);
    rig_append_result(r, 3, 6, 0, 11);
    return change(r, CONS_ADD_LEARNER, 5) == ERR_BUSY;
}

static bool case_promote_lagging(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, "1V 2V 3V 4L");
    for (int i = 0; i < 6; i++)
        rig_propose(r, 50);
    rig_settle(r, 2);
    rig_append_result(r, 3, 6, 0, consensus_last_index(r->m.c));
    rig_append_result(r, 4, 6, 0, 20);
    return change(r, CONS_PROMOTE, 4) == ERR_BUSY;
}

static bool case_promote_silent(struct rig *r, uint64_t off)
{
    rig_open_leader(r, off, "1V 2V 3V 4L");
    rig_append_result(r, 4, 6, 0, 11);
    for (int i = 0; i < 6; i++) {
        rig_tick(r, RIG_HB);
        rig_append_result(r, 2, 6, 0, 11);
        rig_append_result(r, 3, 6, 0, 11);
    }
    return change(r, CONS_PROMOTE, 4) == ERR_BUSY;
}

/* More than one member, another order, a role taken back: none is a change. */
static bool case_shape(struct rig *r, uint64_t off, const char *to)
{
    struct cons_config config = rig_config(to);
    rig_open_leader(r, off, NULL);
    return consensus_test_submit_change(r->m.c, r->now, &config) == ERR_INVALID;
}

static bool case_demotion(struct rig *r, uint64_t off)
{
    return case_shape(r, off, "1V 2V 3L");
}

static bool case_other_order(struct rig *r, uint64_t off)
{
    return case_shape(r, off, "2V 1V 3V 4L");
}

static bool case_new_in_front(struct rig *r, uint64_t off)
{
    return case_shape(r, off, "4L 1V 2V 3V");
}

static bool case_two_at_once(struct rig *r, uint64_t off)
{
    return case_shape(r, off, "1V 2V 3V 4L 5L");
}

const struct guard_row rule_rows[] = {
    {"messages are filled from our log", BIT64(GUARD_ORDER), case_filled_from_log},
    {"all entries leave", BIT64(GUARD_SPLIT), case_all_entries_leave},
    {"apply before it is durable here", BIT64(GUARD_T7), case_apply_before_durable},
    {"committed change is stepped", BIT64(GUARD_CONFIG_STEP), case_committed_change_stepped},
    {"clock goes back", BIT64(GUARD_CLOCK), case_clock_falls},
    {"time-out in the past", BIT64(GUARD_TIMER), case_timer_in_past},
    {"steps after a failure", BIT64(GUARD_BREAK), case_steps_after_failure},
    {"R23: no time passes asleep", BIT64(GUARD_FREEZE), case_frozen_leader},
    {"out of memory", BIT64(GUARD_HEAP), case_out_of_memory},
    {"tracer", BIT64(GUARD_TRACER), case_tracer},
    {"seed", BIT64(GUARD_SEED), case_seed},
    {"window", BIT64(GUARD_WINDOW), case_window},
    {"lonely candidate", BIT64(GUARD_PRE_VOTE), case_lonely_candidate},
    {"entries read for an earlier leadership", BIT64(GUARD_FETCH), case_late_fetch},
    {"bytes in flight", BIT64(GUARD_INFLIGHT), case_inflight},
    {"dead connection", BIT64(GUARD_READY), case_dead_connection},
    {"R22: empty messages", BIT64(GUARD_EMPTY), case_empty_messages},
    {"R27: heartbeats at other times", BIT64(GUARD_CONTACT), case_other_heartbeats},
    {"a stranger's result", BIT64(GUARD_MEMBER), case_strangers_result},
    {"a stranger's vote", BIT64(GUARD_MEMBER), case_strangers_vote},
    {"write of before an install", BIT64(GUARD_T8), case_write_after_install},
    {"log kept for who lags", BIT64(GUARD_TRAILING), case_kept_for_lagging},
    {"log kept for a stream", BIT64(GUARD_TRAILING), case_kept_for_stream},
    {"compaction while installing", BIT64(GUARD_R18), case_compact_while_installing},
    {"change not applied", BIT64(GUARD_ADMIN), case_change_not_applied},
    {"own term not applied", BIT64(GUARD_T7B), case_barrier_not_applied},
    {"live voter lacks the last change", BIT64(GUARD_LIVE), case_voter_lacks_change},
    {"promotion of one who lags", BIT64(GUARD_LIVE), case_promote_lagging},
    {"promotion of one who is silent", BIT64(GUARD_LIVE), case_promote_silent},
    {"demotion", BIT64(GUARD_TSIZE), case_demotion},
    {"another order", BIT64(GUARD_TSIZE), case_other_order},
    {"new member in front", BIT64(GUARD_TSIZE), case_new_in_front},
    {"two at once", BIT64(GUARD_TSIZE), case_two_at_once},
};

const size_t rule_rows_n = ARRAY_LEN(rule_rows);
