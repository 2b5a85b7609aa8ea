/* SPDX-License-Identifier: Apache-2.0
 *
 * The library's defects (R1 …), one case each, and the guard that it takes.
 */
#include <malloc.h>
#include <raft.h>

#include "cases.h"
#include "support/check.h"

/* Fill the stack below with bytes that an uninitialised field would show. */
static void __attribute__((noinline)) stack_dirty(void)
{
    volatile uint8_t junk[8192];
    for (size_t i = 0; i < sizeof junk; i++)
        junk[i] = 0x7f;
}

/* The answer to a stale InstallSnapshot must not look like a success at some index. */
static bool case_stale_answer(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, NULL, 20, 0, 0, 0);
    bool is_safe = true;
    for (int i = 0; i < 50; i++) {
        rig_clear(r);
        stack_dirty();
        if (i % 2 == 0)
            rig_snapshot(r, 1, 18, 50, 18, "1V 2V 3V");
        else
            rig_append(r, 1, 18, 0, 0, 0, NULL, 0);
        const struct cons_msg *m = rig_last(r, CONS_MSG_APPEND_RESULT, 1);
        assert_non_null(m); /* the higher term must travel */
        assert_true(m->term == 20);
        is_safe = is_safe && m->append_result.rejected == 0 && m->append_result.last_index == 0;
    }
    return is_safe;
}

/* A CHANGE that is not the first of its message: noted at the wrong index, it counts as
 * uncommitted for ever. */
static bool case_change_in_batch(struct rig *r, uint64_t off)
{
    static const struct rig_entry entries[] = {{6, NULL}, {6, NULL}, {6, "1V 2V 3V 4L"}, {6, NULL}};
    rig_open(r, 2, off, NULL, 5, 0, 0, 0);
    rig_append(r, 1, 6, 10, 5, 10, entries, 4);
    rig_persist(r);
    rig_append(r, 1, 6, 14, 6, 14, NULL, 0);
    rig_persist(r);
    member_apply(&r->m, r->now);
    rig_tick(r, 300);
    rig_persist(r);
    rig_vote_result(r, 1, 7, true);
    rig_persist(r);
    rig_append_result(r, 1, 7, 0, 15);
    rig_append_result(r, 3, 7, 0, 15);
    rig_append_result(r, 4, 7, 0, 15);
    member_apply(&r->m, r->now);
    uint64_t index = 0;
    return consensus_propose_change(r->m.c, r->now, CONS_PROMOTE, 4, 0, &index, NULL) == 0;
}

/* What the present configuration is after C2 at 12 was rolled back to C1 at 11. */
static bool is_rolled_back_to_c1(struct rig *r)
{
    static const struct rig_entry other[] = {{7, NULL}};
    struct cons_config want = rig_config("1V 2V 3V 4V");
    rig_append(r, 3, 7, 11, 6, 10, other, 1); /* asserts that the library agrees */
    rig_persist(r);
    return cons_config_equal(consensus_config(r->m.c, NULL), &want);
}

/* A new leader, whose commit index is still behind both, sends C1 (committed) and C2;
 * then C2 is overwritten. */
static bool case_rollback(struct rig *r, uint64_t off)
{
    static const struct rig_entry c1[] = {{6, "1V 2V 3V 4V"}};
    static const struct rig_entry c2[] = {{6, "1V 2V 3V 4V 5V"}};
    rig_open(r, 2, off, NULL, 5, 0, 0, 0);
    rig_append(r, 1, 6, 10, 5, 10, c1, 1);
    rig_append(r, 1, 6, 11, 6, 10, c2, 1);
    rig_persist(r);
    return is_rolled_back_to_c1(r);
}

/* The library's own account of it: C2 comes with the news that C1 is committed. */
static bool case_rollback_told(struct rig *r, uint64_t off)
{
    static const struct rig_entry c1[] = {{6, "1V 2V 3V 4V"}};
    static const struct rig_entry c2[] = {{6, "1V 2V 3V 4V 5V"}};
    rig_open(r, 2, off, NULL, 5, 0, 0, 0);
    rig_append(r, 1, 6, 10, 5, 10, c1, 1);
    rig_persist(r);
    rig_append(r, 1, 6, 11, 6, 11, c2, 1);
    rig_persist(r);
    return is_rolled_back_to_c1(r);
}

/* A stale rejection in probe state: the follower gets nothing more. */
static bool case_stale_rejection(struct rig *r, uint64_t off)
{
    uint32_t entries = 0;
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_propose(r, 4);
    rig_persist(r);
    r->now++;
    rig_append_result(r, 2, 6, 0, 11);
    rig_append_result(r, 2, 6, 13, 11);
    rig_append_result(r, 2, 6, 11, 10); /* a duplicate of an old one */
    for (int i = 0; i < 50; i++) {
        rig_clear(r);
        rig_append_result(r, 2, 6, 0, 10);
        rig_tick(r, RIG_HB);
        for (uint32_t k = 0; k < r->n_sent; k++) {
            if (r->sent[k].type == CONS_MSG_APPEND && r->sent[k].to == 2)
                entries += r->sent[k].append.n;
        }
    }
    return entries > 0;
}

/* A lower term with more log, a higher with less: refused pre-votes must tell terms. */
static bool case_pre_vote_deadlock(struct rig *r, uint64_t off)
{
    static struct rig other;
    struct rig *both[] = {r, &other};
    bool is_elected;

    struct cons_base base = {
        .index = RIG_BORN, .term = 3, .config_index = RIG_BORN, .config = rig_config("1V 2V 3V")};
    rig_init(r, 1, off);
    rig_init(&other, 2, off);
    r->m.opts.no_pre_vote = other.m.opts.no_pre_vote = false;
    member_bear(&r->m, &base, 3, 0);
    member_bear(&other.m, &base, 10, 0);
    for (int i = 0; i < 5; i++)
        member_disk_append(&r->m, 3, CONS_COMMAND, slice_str("x"));
    member_start(&r->m, r->now);
    member_start(&other.m, other.now);
    is_elected = rig_elect(both, 2, 20000);
    rig_close(&other);
    return is_elected;
}

/* Entries that reach below our own snapshot. */
static bool case_below_snapshot(struct rig *r, uint64_t off)
{
    static const struct rig_entry es[] = {{5, NULL}, {5, NULL}, {5, NULL}, {6, NULL}, {6, NULL}};
    rig_open(r, 2, off, NULL, 6, 0, 0, 0);
    rig_append(r, 1, 6, 7, 5, 10, es, 5); /* 8..12, we are born at 10 */
    return consensus_last_index(r->m.c) == 12;
}

/* All of them stand below it: no more than a heartbeat, which must not be refused. */
static bool case_all_below_snapshot(struct rig *r, uint64_t off)
{
    static const struct rig_entry es[] = {{5, NULL}, {5, NULL}};
    rig_open(r, 2, off, NULL, 6, 0, 0, 0);
    rig_append(r, 1, 6, 7, 5, 10, es, 2); /* 8..9 */
    const struct cons_msg *m = rig_last(r, CONS_MSG_APPEND_RESULT, 1);
    return m != NULL && m->append_result.rejected == 0 && m->append_result.last_index == 10 &&
           consensus_last_index(r->m.c) == 10;
}

/* From the very beginning: no leader has that, and the library corrupts its trail. */
static bool case_from_zero(struct rig *r, uint64_t off)
{
    static const struct rig_entry es[] = {{6, NULL}, {6, NULL}, {6, NULL}};
    rig_open(r, 2, off, NULL, 6, 0, 0, 0);
    rig_append(r, 1, 6, 0, 0, 10, es, 3);
    return consensus_last_index(r->m.c) == 10 && r->m.n_writes == 0;
}

/* An older heartbeat takes the library's commit index back. */
static bool case_commit_falls(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, NULL, 5, 0, 20, 5);
    rig_append(r, 1, 6, 30, 5, 25, NULL, 0);
    uint64_t before = consensus_commit(r->m.c);
    consensus_receive(r->m.c, r->now, &(struct cons_msg){0}, NULL); /* changes nothing */
    struct cons_msg late = rig_msg(r, CONS_MSG_APPEND, 1, 6);
    late.append.prev_index = 12;
    late.append.prev_term = 5;
    late.append.commit = 28;
    consensus_receive(r->m.c, r->now, &late, NULL);
    return before == 25 && consensus_commit(r->m.c) >= 25;
}

/* While a snapshot is installed, commit may name what is not there. */
static bool case_apply_while_installing(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, NULL, 5, 0, 0, 0);
    rig_snapshot(r, 1, 6, 50, 6, "1V 2V 3V");
    rig_append(r, 1, 6, 50, 6, 60, NULL, 0);
    bool is_safe = consensus_apply_limit(r->m.c) == RIG_BORN;
    if (is_safe) {
        member_install(&r->m, r->now);
        rig_persist(r);
        is_safe = consensus_apply_limit(r->m.c) == 50;
    }
    return is_safe;
}

/* Ongaro 2015: no change before something of the own term has committed. */
static bool case_early_change(struct rig *r, uint64_t off)
{
    uint64_t index = 0;
    rig_open(r, 1, off, "1V 2V 3V 4V", 5, 0, 2, 5);
    consensus_campaign(r->m.c, r->now);
    rig_persist(r);
    rig_vote_result(r, 2, 6, true);
    rig_vote_result(r, 3, 6, true);
    rig_persist(r);
    rig_append_result(r, 2, 6, 0, 12); /* live, but the barrier at 13 is uncommitted */
    rig_append_result(r, 3, 6, 0, 12);
    return consensus_propose_change(r->m.c, r->now, CONS_REMOVE, 4, 0, &index, NULL) == ERR_BUSY;
}

/* 11..15 under way, 13..14 of another term replace: an answer for the first write says
 * nothing about 13 and above. */
static bool case_overwritten_write(struct rig *r, uint64_t off)
{
    static const struct rig_entry a[] = {{6, NULL}, {6, NULL}, {6, NULL}, {6, NULL}, {6, NULL}};
    static const struct rig_entry b[] = {{7, NULL}, {7, NULL}};
    rig_open(r, 2, off, NULL, 7, 0, 0, 0);
    member_persist_all(&r->m, r->now);
    /* Terms 6 then 7 both arrive in term 7's leader's name, so no hard state is needed. */
    rig_append(r, 3, 7, 10, 5, 10, a, 5);
    uint64_t first = r->m.writes->id;
    rig_append(r, 3, 7, 12, 6, 10, b, 2);
    member_persist(&r->m, r->now, first);
    struct cons_status st;
    consensus_status(r->m.c, &st);
    return st.last_stored <= 12;
}

/* AppendEntries of our own term while we lead: leader state and follower state share
 * memory. */
static bool case_append_at_leader(struct rig *r, uint64_t off)
{
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_append(r, 2, 6, 10, 5, 10, NULL, 0);
    rig_append_result(r, 2, 6, 0, 11);
    rig_tick(r, RIG_HB);
    return consensus_is_leader(r->m.c) && consensus_commit(r->m.c) == 11;
}

static bool case_snapshot_at_leader(struct rig *r, uint64_t off)
{
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_snapshot(r, 2, 6, 50, 6, "1V 2V 3V");
    rig_append_result(r, 2, 6, 0, 11);
    rig_tick(r, RIG_HB);
    return consensus_is_leader(r->m.c) && consensus_commit(r->m.c) == 11;
}

/* An allocator for the library whose small blocks lie where byte 1 of the address is 0:
 * one address in 256 does. */
static _Alignas(1 << 16) uint8_t low_block[64];

static void *low_malloc(void *data, size_t size)
{
    (void)data;
    return size == sizeof "peer" ? low_block : malloc(size);
}

static void low_free(void *data, void *ptr)
{
    (void)data;
    if (ptr != low_block)
        free(ptr);
}

static void *low_calloc(void *data, size_t n, size_t size)
{
    (void)data;
    return calloc(n, size);
}

static void *low_realloc(void *data, void *ptr, size_t size)
{
    (void)data;
    return realloc(ptr, size);
}

/* A vote result at a follower: the library reads a byte of the pointer to its leader's
 * address, and on some addresses takes the term. */
static bool case_vote_result_at_follower(struct rig *r, uint64_t off)
{
    static struct raft_heap heap = {
        .malloc = low_malloc, .free = low_free, .calloc = low_calloc, .realloc = low_realloc};
    rig_open(r, 2, off, NULL, 6, 0, 0, 0);
    raft_heap_set(&heap);
    rig_append(r, 1, 6, 10, 5, 10, NULL, 0);
    rig_vote_result(r, 3, 9, false);
    return consensus_term(r->m.c) == 6;
}

/* The promotion that made us a voter stands only in the asker's log. */
static bool case_stale_learner_votes(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, "1V 2L", 5, 0, 0, 0);
    rig_vote(r, 1, 6, 11, 5);
    rig_persist(r);
    const struct cons_msg *m = rig_last(r, CONS_MSG_VOTE_RESULT, 1);
    return m != NULL && m->vote_result.granted;
}

/* A learner must forget a leader that fell silent, or it never votes. */
static bool case_learner_forgets(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, "1V 2L 3V", 6, 0, 0, 0);
    rig_append(r, 1, 6, 10, 5, 10, NULL, 0);
    rig_tick(r, RIG_ET * 3);
    rig_vote(r, 3, 7, 11, 6);
    rig_persist(r);
    const struct cons_msg *m = rig_last(r, CONS_MSG_VOTE_RESULT, 3);
    return m != NULL && m->vote_result.granted;
}

/* Told to take over, three elections lost: the permission to disrupt must not stick. */
static bool case_sticky_disrupt(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, NULL, 5, 0, 0, 0);
    rig_append(r, 1, 6, 10, 5, 10, NULL, 0);
    rig_persist(r);
    rig_timeout_now(r, 1, 6, 10, 5);
    rig_persist(r);
    const struct cons_msg *m = rig_last(r, CONS_MSG_VOTE, 1);
    assert_non_null(m);
    assert_true(m->vote.disrupt_leader);
    rig_tick(r, 250);
    rig_persist(r);
    rig_tick(r, 250);
    rig_persist(r);
    return !rig_last(r, CONS_MSG_VOTE, 1)->vote.disrupt_leader;
}

/* A voter made spare: the library's next timeout stays in the past. */
static bool case_spare(struct rig *r, uint64_t off)
{
    struct cons_config spare = rig_config("1V 2V 3S");
    uint32_t ticks = 0;
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    rig_append_result(r, 3, 6, 0, 11);
    if (consensus_test_submit_change(r->m.c, r->now, &spare) == ERR_INVALID)
        return true;
    rig_settle(r, 2);
    for (uint32_t i = 0; i < 1000; i++) {
        r->now++;
        rig_append_result(r, 2, 6, 0, consensus_last_index(r->m.c));
        if (consensus_next_timeout(r->m.c, r->now - 1) == r->now) {
            consensus_tick(r->m.c, r->now);
            ticks++;
        }
        rig_clear(r);
    }
    return ticks < 200; /* a heartbeat each 20 ms: 50 */
}

/* And what a peer sends with a spare in it is refused. */
static bool case_spare_received(struct rig *r, uint64_t off)
{
    static const struct rig_entry spare[] = {{6, "1V 2V 3S"}};
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    return rig_append(r, 2, 6, 10, 5, 10, spare, 1) == ERR_INVALID;
}

/* A refused CHANGE leaves entries in the library's log that nobody wrote. */
static bool case_phantom(struct rig *r, uint64_t off)
{
    struct cons_config one = rig_config("1V 2V 3V 4L");
    struct cons_config two = rig_config("1V 2V 3V 4V");
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    int rv = consensus_test_submit_change(r->m.c, r->now, &one);
    assert_int_equal(rv, 0);
    uint64_t before = consensus_last_index(r->m.c);
    rv = consensus_test_submit_change(r->m.c, r->now, &two);
    return rv == ERR_BUSY && consensus_last_index(r->m.c) == before;
}

/* Restarted as the only voter after voting for another in this term. */
static bool case_solo_start(struct rig *r, uint64_t off)
{
    rig_open(r, 1, off, "1V 3L", 5, 2, 0, 0);
    return consensus_is_leader(r->m.c) && consensus_term(r->m.c) == 6 && r->m.disk.term == 6 &&
           r->m.disk.vote == 1;
}

/* The CHANGE that leaves us alone is in the log, and not known to be committed. */
static bool case_solo_uncommitted(struct rig *r, uint64_t off)
{
    static const struct rig_entry alone[] = {{5, "1V"}};
    rig_open(r, 1, off, "1V 2V", 5, 2, 0, 0);
    rig_append(r, 2, 5, 10, 5, 10, alone, 1);
    rig_persist(r);
    member_crash(&r->m, 0);
    member_start(&r->m, r->now);
    rig_persist(r);
    rig_tick(r, RIG_ET * 2);
    rig_persist(r);
    return consensus_is_leader(r->m.c) && consensus_term(r->m.c) == 6 && r->m.disk.vote == 1;
}

/* The same without a restart: the other voter removed itself. */
static bool case_solo_timeout(struct rig *r, uint64_t off)
{
    static const struct rig_entry alone[] = {{5, "1V"}};
    rig_open(r, 1, off, "1V 2V", 5, 2, 0, 0);
    rig_append(r, 2, 5, 10, 5, 10, alone, 1);
    rig_persist(r);
    rig_append(r, 2, 5, 11, 5, 11, NULL, 0);
    rig_tick(r, 300);
    rig_persist(r);
    return consensus_is_leader(r->m.c) && consensus_term(r->m.c) == 6;
}

/* And when the leader that removed itself tells us to take over. */
static bool case_solo_told(struct rig *r, uint64_t off)
{
    static const struct rig_entry alone[] = {{5, "1V"}};
    rig_open(r, 1, off, "1V 2V", 5, 2, 0, 0);
    rig_append(r, 2, 5, 10, 5, 10, alone, 1);
    rig_persist(r);
    rig_timeout_now(r, 2, 5, 11, 5);
    rig_persist(r);
    return !consensus_is_leader(r->m.c) || consensus_term(r->m.c) == 6;
}

/* A leader appends its own removal, which reaches nobody, and steps down. Its log is now
 * the only electable one, and it may not stand. */
static bool case_remove_self(struct rig *r, uint64_t off)
{
    static struct rig other;
    struct rig *both[] = {r, &other};
    uint64_t index = 0;

    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_open(&other, 2, off, NULL, 6, 1, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    rig_append_result(r, 3, 6, 0, 11);
    consensus_propose_change(r->m.c, r->now, CONS_REMOVE, 1, 0, &index, NULL);
    rig_persist(r);
    rig_append_result(r, 3, 7, 0, 0); /* somebody is ahead */
    rig_persist(r);
    rig_clear(r);
    bool is_elected = rig_elect(both, 2, 20000);
    rig_close(&other);
    return is_elected;
}

/* Replacing a member in one step: the newcomer inherits the other's match index. */
static bool case_replace(struct rig *r, uint64_t off)
{
    struct cons_config to = rig_config("1V 2V 4V");
    struct cons_status st;
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_propose(r, 3);
    rig_settle(r, 3);
    if (consensus_test_submit_change(r->m.c, r->now, &to) == ERR_INVALID)
        return true;
    consensus_status(r->m.c, &st);
    return st.members[2].match == 0;
}

static size_t heap_used(void)
{
    return mallinfo2().uordblks;
}

/* InstallSnapshot again and again while one is installed. */
static bool case_install_twice(struct rig *r, uint64_t off)
{
    rig_init(r, 4, off);
    member_start(&r->m, r->now);
    size_t before = 0;
    for (int i = 0; i < 1001; i++) {
        rig_snapshot(r, 1, 6, 50, 6, "1V 2V 4L");
        rig_clear(r);
        r->m.n_requests = 0;
        if (i == 0)
            before = heap_used();
    }
    return heap_used() < before + 20000; /* or the leak checker says so */
}

/* Bytes that are no configuration, inside a CHANGE. */
static bool case_bad_config(struct rig *r, uint64_t off)
{
    struct cons_config config = rig_config("1V 2V 3V");
    uint8_t bytes[CONS_CONFIG_LEN_MAX];
    struct cons_entry e = {.term = 6, .type = CONS_CHANGE};
    struct cons_msg msg;

    rig_open(r, 2, off, NULL, 5, 0, 0, 0);
    e.data = slice_of(bytes, cons_config_encode(&config, bytes));
    bytes[e.data.len - 1] = 77; /* a role */
    msg = rig_msg(r, CONS_MSG_APPEND, 1, 6);
    msg.append = (struct cons_msg_append){
        .prev_index = 10, .prev_term = 5, .commit = 10, .entries = &e, .n = 1};
    int rv = consensus_receive(r->m.c, r->now, &msg, NULL);
    return rv == ERR_INVALID && !consensus_needs_reopen(r->m.c, NULL);
}

/* The same in our own log, at the start. */
static bool case_bad_config_at_start(struct rig *r, uint64_t off)
{
    struct cons_config config = rig_config("1V 2V 3V");
    struct cons_base base = {.index = 10, .term = 5, .config_index = 10, .config = config};
    uint8_t bytes[CONS_CONFIG_LEN_MAX];
    size_t len = cons_config_encode(&config, bytes);
    bytes[len - 1] = 77; /* a role */
    rig_init(r, 2, off);
    member_bear(&r->m, &base, 5, 0);
    member_disk_append(&r->m, 5, CONS_CHANGE, slice_of(bytes, len));
    return member_start(&r->m, r->now) == ERR_CORRUPT;
}

/* Handing over to a follower that lags: told too early, never again. */
static bool case_early_transfer(struct rig *r, uint64_t off)
{
    rig_init(r, 1, off);
    struct cons_base base = {
        .index = 10, .term = 5, .config_index = 10, .config = rig_config("1V 2V 3V")};
    r->m.opts.max_inflight_entries = 2;
    member_bear(&r->m, &base, 5, 0);
    member_start(&r->m, r->now);
    rig_lead(r, 2);
    rig_propose(r, 9);
    rig_persist(r);
    r->now++;
    rig_append_result(r, 2, 6, 0, 10);
    rig_append_result(r, 2, 6, 0, 11);
    consensus_transfer(r->m.c, r->now, 2);
    rig_append_result(r, 2, 6, 0, 13);
    rig_clear(r);
    rig_append_result(r, 2, 6, 0, 20);
    const struct cons_msg *m = rig_last(r, CONS_MSG_TIMEOUT_NOW, 2);
    return m != NULL && m->timeout_now.last_index == 20;
}

/* Compacting twice at one index divides by zero. */
static bool case_same_snapshot(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, NULL, 5, 0, 0, 0);
    struct mstate state = member_state(&r->m);
    consensus_compact(r->m.c, r->now, &state.base, 0);
    return consensus_compact(r->m.c, r->now, &state.base, 0) == 0;
}

/* A vote leaves only when it is durable. */
static bool case_vote_held(struct rig *r, uint64_t off)
{
    rig_open(r, 2, off, NULL, 5, 0, 0, 0);
    rig_vote(r, 1, 6, 10, 5);
    bool is_early = rig_last(r, CONS_MSG_VOTE_RESULT, 1) != NULL;
    rig_persist(r);
    assert_non_null(rig_last(r, CONS_MSG_VOTE_RESULT, 1));
    return !is_early;
}

/* An entry that contradicts what is committed. */
static bool case_contradiction(struct rig *r, uint64_t off)
{
    static const struct rig_entry other[] = {{6, NULL}};
    rig_open(r, 2, off, NULL, 6, 0, 5, 5);
    rig_append(r, 1, 6, 15, 5, 15, NULL, 0);
    int rv = rig_append(r, 1, 6, 11, 5, 15, other, 1);
    return rv == ERR_INVALID && !consensus_needs_reopen(r->m.c, NULL);
}

/* Removing a live voter while another is dead would leave no majority. */
static bool case_dead_majority(struct rig *r, uint64_t off)
{
    uint64_t index = 0;
    rig_open(r, 1, off, NULL, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    return consensus_propose_change(r->m.c, r->now, CONS_REMOVE, 2, 0, &index, NULL) == ERR_BUSY;
}

const struct guard_row library_rows[] = {
    {"R1, R1b: answer to a stale term", BIT64(GUARD_T1), case_stale_answer},
    {"R2: change inside a batch", BIT64(GUARD_T2), case_change_in_batch},
    {"R2b: rollback below a committed change", BIT64(GUARD_T2B), case_rollback},
    {"R2b: rollback, told of the commit", BIT64(GUARD_T2) | BIT64(GUARD_T2B), case_rollback_told},
    {"R3: sole voter at start", BIT64(GUARD_TSOLO), case_solo_start},
    {"R3: sole voter by an uncommitted change", BIT64(GUARD_TSOLO), case_solo_uncommitted},
    {"R3: sole voter at its timer", BIT64(GUARD_TSOLO), case_solo_timeout},
    {"R3: sole voter told to take over", BIT64(GUARD_TSOLO), case_solo_told},
    {"R4: pre-vote deadlock", BIT64(GUARD_T4), case_pre_vote_deadlock},
    {"R5: promoted, not knowing it", BIT64(GUARD_T11), case_stale_learner_votes},
    {"R5: learner with a dead leader", BIT64(GUARD_T11), case_learner_forgets},
    {"R6: stale rejection", BIT64(GUARD_T3), case_stale_rejection},
    {"R7: entries below the snapshot", BIT64(GUARD_T5), case_below_snapshot},
    {"R7: all entries below the snapshot", BIT64(GUARD_T5), case_all_below_snapshot},
    {"R7: entries from zero", BIT64(GUARD_T5) | BIT64(GUARD_VALIDATE), case_from_zero},
    {"R8: vote result at a follower", BIT64(GUARD_T10), case_vote_result_at_follower},
    {"R9: phantom entry", BIT64(GUARD_T15), case_phantom},
    {"R10: spare", BIT64(GUARD_T14), case_spare},
    {"R10: spare from a peer", BIT64(GUARD_T14), case_spare_received},
    {"R11: same-size change", BIT64(GUARD_TSIZE), case_replace},
    {"R12: snapshot during install", BIT64(GUARD_R12), case_install_twice},
    {"R14: commit falls", BIT64(GUARD_T6), case_commit_falls},
    {"T7: apply during install", BIT64(GUARD_T7), case_apply_while_installing},
    {"R15: malformed configuration", BIT64(GUARD_R15), case_bad_config},
    {"R15: malformed configuration at start", BIT64(GUARD_R15), case_bad_config_at_start},
    {"R16: hand over too early", BIT64(GUARD_R16), case_early_transfer},
    {"R17: append at a leader", BIT64(GUARD_T9), case_append_at_leader},
    {"R17: snapshot at a leader", BIT64(GUARD_T9), case_snapshot_at_leader},
    {"R18: two snapshots at one index", BIT64(GUARD_R18), case_same_snapshot},
    {"R19: overwritten write", BIT64(GUARD_T8), case_overwritten_write},
    {"R21: sticky disrupt flag", BIT64(GUARD_T12), case_sticky_disrupt},
    {"R26: early change", BIT64(GUARD_T7B), case_early_change},
    {"T-self: leader removes itself", BIT64(GUARD_TSELF), case_remove_self},
    {"live majority", BIT64(GUARD_LIVE), case_dead_majority},
    {"vote before it is durable", BIT64(GUARD_HOLD), case_vote_held},
    {"contradiction of a committed entry", BIT64(GUARD_VALIDATE), case_contradiction},
};

const size_t library_rows_n = ARRAY_LEN(library_rows);
