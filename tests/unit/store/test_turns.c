/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose turn it is to be sent a snapshot, where one store has more of them to send than go at a
 * time and connections are lost.
 */
#include <stdio.h>
#include <stdlib.h>

#include "consensus/consensus.h"
#include "range/range.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

enum {
    RANGES = STORE_SNAPSHOTS_OUT_MAX + 3,
    PIECES = 16, /* of each; a few chunks together */
    PIECE_LEN = 60000,
    RANGE_FIRST = 70,
    LEARNER_FIRST = 1000,
};

static struct rig rig;

static uint64_t range_at(uint64_t n)
{
    return n == 0 ? STORE_FIRST_RANGE_ID : RANGE_FIRST + n;
}

static void must_answer(struct rig_answer *answer)
{
    for (int i = 0; i < 2000 && answer->count == 0; i++)
        rig_run(&rig, RIG_MS);
    if (answer->count != 1 || answer->status != 0)
        fail_msg("%s: %s", err_name(answer->status), answer->text);
}

static struct rig_answer *change(size_t at, uint64_t range_id, enum member_change action,
                                 uint64_t replica_id, size_t on)
{
    static const char *const addresses[] = {"a:7000", "b:7000", "c:7000"};
    struct request request = {
        .kind = REQUEST_CHANGE_MEMBER,
        .range_id = range_id,
        .change_member = {.action = action, .replica_id = replica_id},
    };
    if (action == MEMBER_ADD_LEARNER) {
        struct member *m = &request.change_member.member;
        request.change_member.replica_id = 0;
        *m = (struct member){.replica_id = replica_id,
                             .store_id = on + 1,
                             .role = MEMBER_LEARNER,
                             .address = slice_str(addresses[on])};
        memcpy(m->store_uuid, store_identity(rig.stores[on])->uuid, sizeof m->store_uuid);
    }
    return rig_ask(&rig, at, &request);
}

/* The two that are to be fed. */
static size_t fed_by(size_t at, uint32_t which)
{
    return (at + 1 + which) % rig.count;
}

static void must_leave(size_t at, size_t gone)
{
    must_answer(change(at, STORE_FIRST_RANGE_ID, MEMBER_REMOVE, gone + 1, 0));
    for (int i = 0; i < 400 && store_range_at(rig.stores[gone], 0) != 0; i++)
        rig_run(&rig, 50 * RIG_MS);
    assert_true(store_range_at(rig.stores[gone], 0) == 0);
}

/* Ranges of some data each, which one store alone has: its place. */
static size_t open_with_ranges(void)
{
    char *value = calloc(1, PIECE_LEN + 1);
    char key[16];
    rig_open(&rig, 3);
    rig.options.snapshot_bytes_per_s = 512 << 10;
    rig.options.hibernate_after_ms = 0;
    size_t at = rig_start_cluster(&rig);
    for (uint32_t i = 0; i < 2; i++)
        must_leave(at, fed_by(at, i));
    memset(value, 'v', PIECE_LEN);
    for (int i = 0; i < RANGES * PIECES; i++) {
        snprintf(key, sizeof key, "%c%02d", 'a' + i / PIECES, i % PIECES);
        must_answer(rig_put(&rig, at, key, value, 0));
    }
    free(value);
    for (uint64_t n = 1; n < RANGES; n++) {
        snprintf(key, sizeof key, "%c", (char)('a' + n));
        must_answer(rig_split(&rig, at, key, range_at(n - 1), range_at(n)));
        rig_run(&rig, 300 * RIG_MS); /* it is led */
    }
    return at;
}

static uint32_t waiting_at(size_t at)
{
    uint32_t n = 0;
    LIST_FOREACH(it, &rig.stores[at]->snapshots_waiting)
    n++;
    return n;
}

static void want(size_t at, uint64_t n, size_t on)
{
    must_answer(change(at, range_at(n), MEMBER_ADD_LEARNER, LEARNER_FIRST + n, on));
    uint32_t behind = (uint32_t)n + 1 - MIN((uint32_t)n + 1, (uint32_t)STORE_SNAPSHOTS_OUT_MAX);
    for (int i = 0; i < 1000 && rig.stores[at]->snapshots_out + waiting_at(at) <= n; i++)
        rig_run(&rig, RIG_MS / 10);
    assert_int_equal(waiting_at(at), behind);
}

/* All ranges but the last one shall be on the first of those who are fed, that one on the second.
 * In this order: as many as may be are on their way then, and the others wait. */
static void want_all(size_t at)
{
    for (uint64_t n = 0; n < RANGES; n++)
        want(at, n, fed_by(at, n == RANGES - 1));
    assert_int_equal(rig.stores[at]->snapshots_out, STORE_SNAPSHOTS_OUT_MAX);
}

/* Who waits after those that are on their way were cut, and others took their places: one that was
 * cut, or the last one, which has waited all the time? Runs until one of them goes. */
static bool goes_on_before_the_last(size_t at)
{
    const struct store *first = rig.stores[fed_by(at, 0)];
    const struct store *second = rig.stores[fed_by(at, 1)];
    assert_int_equal(first->snapshots_begun, STORE_SNAPSHOTS_OUT_MAX);
    assert_int_equal(first->snapshots_resumed + second->snapshots_begun, 0);
    sim_net_reset(rig.sim, rig.nodes[at], rig.nodes[fed_by(at, 0)]);
    for (int i = 0; i < 10000 && first->snapshots_resumed + second->snapshots_begun == 0; i++)
        rig_run(&rig, RIG_MS);
    assert_int_equal(first->snapshots_begun, RANGES - 1);
    assert_int_equal(first->snapshots_resumed + second->snapshots_begun, 1);
    return first->snapshots_resumed == 1;
}

static void must_all_come(size_t at)
{
    const struct store *first = rig.stores[fed_by(at, 0)];
    const struct store *second = rig.stores[fed_by(at, 1)];
    for (int i = 0; i < 1000; i++)
        rig_run(&rig, 20 * RIG_MS);
    assert_true(store_range_at(first, RANGES - 2) != 0);
    assert_true(store_range_at(second, 0) != 0);
    assert_int_equal(first->snapshots_begun, RANGES - 1); /* no one twice */
    assert_int_equal(first->snapshots_resumed, STORE_SNAPSHOTS_OUT_MAX);
    rig_close(&rig);
}

/* What is there of one that was cut is not kept for ever. */
static void test_what_got_on_goes_first(void **state)
{
    (void)state;
    size_t at = open_with_ranges();
    want_all(at);
    rig_run(&rig, 2500 * RIG_MS); /* a chunk or two of each */
    assert_true(goes_on_before_the_last(at));
    must_all_come(at);
}

/* One of which nothing is there has nothing to lose: if such went first, streams that break again
 * and again would keep all others away. */
static void test_what_got_nowhere_goes_last(void **state)
{
    (void)state;
    size_t at = open_with_ranges();
    want_all(at);
    assert_false(goes_on_before_the_last(at));
    must_all_come(at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_got_on_goes_first),
        cmocka_unit_test(test_what_got_nowhere_goes_last),
    };
    return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
