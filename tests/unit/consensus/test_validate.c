/* SPDX-License-Identifier: Apache-2.0
 *
 * What a peer may say: a table of damages to messages that would be good, each refused
 * with nothing changed; and streams of random ones.
 */
#include "base/rng.h"
#include "rig.h"
#include "support/check.h"

enum { FUZZ_STREAMS = 200, FUZZ_MESSAGES = 150 };

/* A good message of each type for a follower of term 6 with entries 11..15 of term 5, of
 * which 13 are committed; `entries` is where an append's go. */
static struct cons_msg good_msg(struct rig *r, enum cons_msg_type type, struct cons_entry *entries)
{
    struct cons_msg msg = rig_msg(r, type, 1, 6);
    switch (type) {
    case CONS_MSG_APPEND:
        for (uint32_t i = 0; i < 3; i++)
            entries[i] = (struct cons_entry){
                .term = i == 2 ? 6 : 5, .type = CONS_COMMAND, .data = slice_str("v")};
        msg.append = (struct cons_msg_append){
            .prev_index = 12, .prev_term = 5, .commit = 13, .entries = entries, .n = 3};
        break;
    case CONS_MSG_APPEND_RESULT:
        msg.append_result.last_index = 15;
        break;
    case CONS_MSG_VOTE:
        msg.vote.last_index = 20;
        msg.vote.last_term = 5;
        break;
    case CONS_MSG_VOTE_RESULT:
        msg.vote_result.granted = true;
        break;
    case CONS_MSG_SNAPSHOT:
        msg.snapshot = (struct cons_base){
            .index = 40, .term = 6, .config_index = 10, .config = rig_config("1V 2V 3V")};
        break;
    case CONS_MSG_TIMEOUT_NOW:
        msg.timeout_now.last_index = 15;
        msg.timeout_now.last_term = 5;
        break;
    default:
        break;
    }
    return msg;
}

typedef void (*damage_fn)(struct cons_msg *msg, struct cons_entry *entries);

#define DAMAGE(name, statement)                                                                    \
    static void name(struct cons_msg *m, struct cons_entry *e)                                     \
    {                                                                                              \
        (void)m;                                                                                   \
        (void)e;                                                                                   \
        statement;                                                                                 \
    }

DAMAGE(none, (void)0)
DAMAGE(other_group, m->group_id++)
DAMAGE(other_replica, m->to = 9)
DAMAGE(from_nobody, m->from = 0)
DAMAGE(from_far, m->from = CONS_ID_MAX + 1)
DAMAGE(from_self, m->from = 2)
DAMAGE(term_zero, m->term = 0)
DAMAGE(term_far, m->term = CONS_ID_MAX + 1)
DAMAGE(term_last, m->term = CONS_ID_MAX)
DAMAGE(term_ahead, m->term += (UINT64_C(1) << 32) - 2)
DAMAGE(term_too_far_ahead, m->term += (UINT64_C(1) << 32) + 1)
DAMAGE(type_zero, m->type = (enum cons_msg_type)0)
DAMAGE(type_far, m->type = CONS_MSG_TYPE_NR)
DAMAGE(prev_far, m->append.prev_index = CONS_ID_MAX + 1)
DAMAGE(prev_no_term, m->append.prev_term = 0)
DAMAGE(prev_no_index, m->append.prev_index = 0)
DAMAGE(prev_future, m->append.prev_term = 7)
DAMAGE(prev_conflict, m->append.prev_term = 4)
DAMAGE(commit_far, m->append.commit = CONS_ID_MAX + 1)
DAMAGE(from_the_start, m->append.prev_index = m->append.prev_term = 0)
DAMAGE(entries_missing, m->append.entries = NULL)
DAMAGE(entries_many, m->append.n = CONS_APPEND_ENTRIES_MAX + 1)
DAMAGE(entry_no_term, e[0].term = 0)
DAMAGE(entry_falls, e[2].term = 4)
DAMAGE(entry_future, e[2].term = 7)
DAMAGE(entry_type_zero, e[0].type = (enum cons_entry_type)0)
DAMAGE(entry_type_far, e[0].type = (enum cons_entry_type)4)
DAMAGE(entry_no_bytes, e[0].data = slice_of(NULL, 5))
DAMAGE(entry_conflict, e[0].term = e[1].term = e[2].term = 6)
DAMAGE(entry_not_config, e[2].type = CONS_CHANGE)
DAMAGE(result_far, m->append_result.last_index = CONS_ID_MAX + 1)
DAMAGE(rejected_far, m->append_result.rejected = CONS_ID_MAX + 1)
DAMAGE(vote_far, m->vote.last_index = CONS_ID_MAX + 1)
DAMAGE(vote_future, m->vote.last_term = 7)
DAMAGE(version_old, m->version = 1)
DAMAGE(granted_future, m->term = 8)
DAMAGE(snapshot_zero, m->snapshot.index = 0)
DAMAGE(snapshot_one, m->snapshot.index = m->snapshot.config_index = 1)
DAMAGE(snapshot_far, m->snapshot.index = CONS_ID_MAX + 1)
DAMAGE(snapshot_last, m->snapshot.index = CONS_ID_MAX)
DAMAGE(snapshot_no_term, m->snapshot.term = 0)
DAMAGE(snapshot_future, m->snapshot.term = 7)
DAMAGE(snapshot_no_config, m->snapshot.config.n = 0)
DAMAGE(snapshot_many, m->snapshot.config.n = CONS_MEMBERS_MAX + 1)
DAMAGE(snapshot_twice, m->snapshot.config.members[1].replica_id = 1)
DAMAGE(snapshot_role, m->snapshot.config.members[1].role = (enum cons_role)2)
DAMAGE(snapshot_config_far, m->snapshot.config_index = 41)
DAMAGE(snapshot_config_zero, m->snapshot.config_index = 0)
DAMAGE(snapshot_conflict, m->snapshot.index = 12)
DAMAGE(told_far, m->timeout_now.last_index = CONS_ID_MAX + 1)
DAMAGE(read_index, m->read.index = 40)
DAMAGE(read_zero, m->read.index = 0)
DAMAGE(read_far, m->read.index = CONS_ID_MAX + 1)
DAMAGE(told_future, m->timeout_now.last_term = 7)

static const struct {
    const char *name;
    enum cons_msg_type type;
    damage_fn apply;
    int want;
} damages[] = {
    {"append", CONS_MSG_APPEND, none, 0},
    {"append_result", CONS_MSG_APPEND_RESULT, none, 0},
    {"vote", CONS_MSG_VOTE, none, 0},
    {"vote_result", CONS_MSG_VOTE_RESULT, none, 0},
    {"snapshot", CONS_MSG_SNAPSHOT, none, 0},
    {"timeout_now", CONS_MSG_TIMEOUT_NOW, none, 0},
    {"probe", CONS_MSG_PROBE, none, 0},
    {"probe_result", CONS_MSG_PROBE_RESULT, none, 0},
    {"read_ask", CONS_MSG_READ_ASK, none, 0},
    {"read_answer", CONS_MSG_READ_ANSWER, read_index, 0},
    {"read_answer of nothing", CONS_MSG_READ_ANSWER, read_zero, ERR_INVALID},
    {"read_answer out of range", CONS_MSG_READ_ANSWER, read_far, ERR_INVALID},
    {"other group", CONS_MSG_PROBE, other_group, ERR_INVALID},
    {"other replica", CONS_MSG_PROBE, other_replica, ERR_INVALID},
    {"from nobody", CONS_MSG_PROBE, from_nobody, ERR_INVALID},
    {"from out of range", CONS_MSG_PROBE, from_far, ERR_INVALID},
    {"from ourselves", CONS_MSG_PROBE, from_self, ERR_INVALID},
    {"term zero", CONS_MSG_APPEND, term_zero, ERR_INVALID},
    {"term out of range", CONS_MSG_APPEND, term_far, ERR_INVALID},
    {"the last term that a message can carry", CONS_MSG_PROBE, term_last, ERR_INVALID},
    {"term of a long absence", CONS_MSG_PROBE, term_ahead, 0},
    {"term that nobody reaches", CONS_MSG_PROBE, term_too_far_ahead, ERR_INVALID},
    {"the last term, in a vote", CONS_MSG_VOTE, term_last, ERR_INVALID},
    {"type zero", CONS_MSG_PROBE, type_zero, ERR_INVALID},
    {"type unknown", CONS_MSG_PROBE, type_far, ERR_INVALID},
    {"previous index out of range", CONS_MSG_APPEND, prev_far, ERR_INVALID},
    {"previous index without term", CONS_MSG_APPEND, prev_no_term, ERR_INVALID},
    {"previous term without index", CONS_MSG_APPEND, prev_no_index, ERR_INVALID},
    {"previous term in the future", CONS_MSG_APPEND, prev_future, ERR_INVALID},
    {"previous contradicts a commit", CONS_MSG_APPEND, prev_conflict, ERR_INVALID},
    {"commit out of range", CONS_MSG_APPEND, commit_far, ERR_INVALID},
    {"entries from index 1", CONS_MSG_APPEND, from_the_start, ERR_INVALID},
    {"entries missing", CONS_MSG_APPEND, entries_missing, ERR_INVALID},
    {"too many entries", CONS_MSG_APPEND, entries_many, ERR_INVALID},
    {"entry of term zero", CONS_MSG_APPEND, entry_no_term, ERR_INVALID},
    {"terms fall", CONS_MSG_APPEND, entry_falls, ERR_INVALID},
    {"entry of the future", CONS_MSG_APPEND, entry_future, ERR_INVALID},
    {"entry type zero", CONS_MSG_APPEND, entry_type_zero, ERR_INVALID},
    {"entry type unknown", CONS_MSG_APPEND, entry_type_far, ERR_INVALID},
    {"entry without bytes", CONS_MSG_APPEND, entry_no_bytes, ERR_INVALID},
    {"entry contradicts a commit", CONS_MSG_APPEND, entry_conflict, ERR_INVALID},
    {"change that is no configuration", CONS_MSG_APPEND, entry_not_config, ERR_INVALID},
    {"result out of range", CONS_MSG_APPEND_RESULT, result_far, ERR_INVALID},
    {"rejected out of range", CONS_MSG_APPEND_RESULT, rejected_far, ERR_INVALID},
    {"vote: index out of range", CONS_MSG_VOTE, vote_far, ERR_INVALID},
    {"vote: last term in the future", CONS_MSG_VOTE, vote_future, ERR_INVALID},
    {"vote: old version", CONS_MSG_VOTE, version_old, ERR_INVALID},
    {"vote_result: old version", CONS_MSG_VOTE_RESULT, version_old, ERR_INVALID},
    {"vote granted for the future", CONS_MSG_VOTE_RESULT, granted_future, ERR_INVALID},
    {"snapshot at 0", CONS_MSG_SNAPSHOT, snapshot_zero, ERR_INVALID},
    {"snapshot at 1", CONS_MSG_SNAPSHOT, snapshot_one, ERR_INVALID},
    {"snapshot out of range", CONS_MSG_SNAPSHOT, snapshot_far, ERR_INVALID},
    {"snapshot at the last index that a message can carry", CONS_MSG_SNAPSHOT, snapshot_last,
     ERR_INVALID},
    {"snapshot of term zero", CONS_MSG_SNAPSHOT, snapshot_no_term, ERR_INVALID},
    {"snapshot of the future", CONS_MSG_SNAPSHOT, snapshot_future, ERR_INVALID},
    {"snapshot without members", CONS_MSG_SNAPSHOT, snapshot_no_config, ERR_INVALID},
    {"snapshot with too many members", CONS_MSG_SNAPSHOT, snapshot_many, ERR_INVALID},
    {"snapshot with one member twice", CONS_MSG_SNAPSHOT, snapshot_twice, ERR_INVALID},
    {"snapshot with a spare", CONS_MSG_SNAPSHOT, snapshot_role, ERR_INVALID},
    {"snapshot: configuration above it", CONS_MSG_SNAPSHOT, snapshot_config_far, ERR_INVALID},
    {"snapshot: configuration at 0", CONS_MSG_SNAPSHOT, snapshot_config_zero, ERR_INVALID},
    {"snapshot contradicts a commit", CONS_MSG_SNAPSHOT, snapshot_conflict, ERR_INVALID},
    {"timeout_now out of range", CONS_MSG_TIMEOUT_NOW, told_far, ERR_INVALID},
    {"timeout_now of the future", CONS_MSG_TIMEOUT_NOW, told_future, ERR_INVALID},
};

static void open_follower(struct rig *r)
{
    rig_open(r, 2, 0, NULL, 6, 0, 5, 5);
    assert_int_equal(rig_append(r, 1, 6, 15, 5, 13, NULL, 0), 0);
    rig_persist(r);
    rig_clear(r);
}

static void test_damages(void **state)
{
    (void)state;
    static struct rig r;
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        struct cons_entry entries[3] = {0};
        struct cons_status before;
        struct cons_status after;
        struct err err = {0};

        open_follower(&r);
        consensus_status(r.m.c, &before);
        struct cons_msg msg = good_msg(&r, damages[i].type, entries);
        damages[i].apply(&msg, entries);
        int rv = consensus_receive(r.m.c, r.now, &msg, &err);
        consensus_check(r.m.c);
        if (rv != damages[i].want)
            fail_msg("%s: got %d (%s)", damages[i].name, rv, err.msg);
        consensus_status(r.m.c, &after);
        if (rv != 0) {
            if (err.msg[0] == 0 || r.n_sent != 0 || r.m.n_writes != 0)
                fail_msg("%s: refused without a reason, or with effects", damages[i].name);
            assert_true(after.messages_invalid == before.messages_invalid + 1);
            assert_true(after.term == before.term && after.vote == before.vote);
            assert_true(after.last_index == before.last_index);
            assert_true(after.last_stored == before.last_stored);
            assert_true(after.commit == before.commit && after.leader == before.leader);
            assert_true(after.config_index == before.config_index);
            assert_true(after.state == before.state && !after.is_installing);
        }
        rig_close(&r);
    }
}

/* --- random streams */

static uint64_t near(struct rng *rng, uint64_t v)
{
    switch (rng_below(rng, 8)) {
    case 0:
        return 0;
    case 1:
        return rng_u64(rng);
    case 2:
        return CONS_ID_MAX - rng_below(rng, 2);
    default:
        return v + rng_below(rng, 5) - MIN(v, (uint64_t)2);
    }
}

static struct cons_msg random_msg(struct rig *r, struct rng *rng, struct cons_entry *entries)
{
    static uint8_t config[CONS_CONFIG_LEN_MAX];
    struct cons_config members = rig_config("1V 2V 3V 4L");
    uint64_t term = consensus_term(r->m.c);
    uint64_t last = consensus_last_index(r->m.c);
    struct cons_msg msg =
        good_msg(r, (enum cons_msg_type)rng_below(rng, CONS_MSG_TYPE_NR + 1), entries);
    msg.from = rng_chance(rng, 1, 20) ? near(rng, 2) : 1 + 2 * rng_below(rng, 2);
    msg.term = near(rng, term);
    if (msg.type == CONS_MSG_APPEND) {
        msg.append.prev_index = near(rng, last);
        msg.append.prev_term = near(rng, term);
        msg.append.commit = near(rng, last);
        msg.append.n = (uint32_t)rng_below(rng, 4);
        for (uint32_t i = 0; i < msg.append.n; i++)
            entries[i].term = near(rng, term);
        if (msg.append.n > 0 && rng_chance(rng, 1, 3)) {
            size_t len = cons_config_encode(&members, config);
            if (rng_chance(rng, 1, 2))
                config[rng_below(rng, len)] ^= (uint8_t)(1 + rng_below(rng, 255));
            entries[0].type = CONS_CHANGE;
            entries[0].data = slice_of(config, rng_chance(rng, 1, 4) ? rng_below(rng, len) : len);
        }
    } else if (msg.type == CONS_MSG_APPEND_RESULT) {
        msg.append_result.rejected = rng_chance(rng, 1, 2) ? 0 : near(rng, last);
        msg.append_result.last_index = near(rng, last);
    } else if (msg.type == CONS_MSG_VOTE || msg.type == CONS_MSG_TIMEOUT_NOW) {
        msg.vote.last_index = near(rng, last); /* the two begin alike */
        msg.vote.last_term = near(rng, term);
    } else if (msg.type == CONS_MSG_SNAPSHOT) {
        msg.snapshot.index = near(rng, last);
        msg.snapshot.term = near(rng, term);
    }
    return msg;
}

/* Whatever arrives: no crash, no leak, no broken library, all invariants. A message that
 * is forged well enough to count may of course commit or elect what it likes. */
static void test_random_streams(void **state)
{
    (void)state;
    static struct rig r;
    uint64_t refused = 0;
    for (uint64_t seed = 1; seed <= FUZZ_STREAMS; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        open_follower(&r);
        for (uint32_t i = 0; i < FUZZ_MESSAGES; i++) {
            struct cons_entry entries[3] = {0};
            struct cons_msg msg = random_msg(&r, &rng, entries);
            if (msg.type == CONS_MSG_SNAPSHOT && !r.m.is_installing)
                r.m.staged = (struct mstate){.base = msg.snapshot, .chain = msg.snapshot.index};
            refused += consensus_receive(r.m.c, r.now, &msg, NULL) == ERR_INVALID;
            r.m.n_requests = 0;
            if (r.m.is_installing && rng_chance(&rng, 1, 3))
                member_install(&r.m, r.now);
            if (rng_chance(&rng, 1, 2))
                rig_persist(&r);
            if (rng_chance(&rng, 1, 10))
                rig_tick(&r, rng_below(&rng, 150));
            rig_clear(&r);
            consensus_check(r.m.c);
            assert_false(consensus_needs_reopen(r.m.c, NULL));
        }
        rig_close(&r);
    }
    assert_true(refused > FUZZ_STREAMS); /* and most of it was refused */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damages),
        cmocka_unit_test(test_random_streams),
    };
    return cmocka_run_group_tests_name("validate", tests, NULL, NULL);
}
