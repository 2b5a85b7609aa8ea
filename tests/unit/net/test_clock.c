/* SPDX-License-Identifier: Apache-2.0
 *
 * How far is the peer's wall clock ahead of ours?
 */
#include <stdlib.h>

#include "net_rig.h"
#include "support/check.h"

enum { HOUR_MS = 3600 * 1000 };

static int setup(void **state)
{
    *state = rig_new(11);
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

/* Right to half a round trip: here, to a few milliseconds. */
static void assert_offset(const struct net_peer *peer, int64_t want_ms)
{
    int64_t got_ms = INT64_MAX;
    assert_true(net_peer_clock_offset_ms(peer, &got_ms));
    if (llabs(got_ms - want_ms) > 50)
        fail_msg("offset %lld ms, want %lld", (long long)got_ms, (long long)want_ms);
}

static struct net_peer *connect_ab(struct rig *rig)
{
    rig_start(rig, 0);
    rig_start(rig, 1);
    struct net_peer *peer = rig_dial(rig, 0, 1);
    int64_t untouched = 42;
    assert_false(net_peer_clock_offset_ms(peer, &untouched));
    assert_int_equal(untouched, 42);
    rig_run(rig, RIG_SECOND);
    assert_true(net_peer_is_up(peer));
    return peer;
}

static void test_offsets(void **state)
{
    static const int64_t skews[] = {0, 1500, -1500, HOUR_MS, -HOUR_MS, 20000LL * HOUR_MS};
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    for (size_t i = 0; i < ARRAY_LEN(skews); i++) {
        sim_node_set_wall_skew(rig->stores[1].node, skews[i]);
        rig_run(rig, 3 * RIG_SECOND);
        assert_offset(peer, skews[i]);
    }
}

/* A step of our own clock shows without waiting for another pong. */
static void test_own_step(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    assert_offset(peer, 0);
    sim_node_set_wall_skew(rig->stores[0].node, HOUR_MS);
    assert_offset(peer, -HOUR_MS);
    sim_node_set_wall_skew(rig->stores[0].node, 0);
    assert_offset(peer, 0);
}

/* What was heard long ago is no longer known; it is again when it comes back. */
static void test_forgotten(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    int64_t offset = 0;
    rig_kill(rig, 1);
    rig_run(rig, (uint64_t)NET_CLOCK_AGE_MAX_MS * 1000 / 2);
    assert_true(net_peer_clock_offset_ms(peer, &offset));
    rig_run(rig, (uint64_t)NET_CLOCK_AGE_MAX_MS * 1000);
    assert_false(net_peer_clock_offset_ms(peer, &offset));
    rig_start(rig, 1);
    rig_run(rig, 5 * RIG_SECOND);
    assert_offset(peer, 0);
}

/* A pong that was long on its way could be wrong by as much: it does not count. */
static void test_slow_pongs(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    sim_net_slow(rig->sim, rig->stores[0].node, rig->stores[1].node,
                 (uint64_t)NET_CLOCK_RTT_MAX_MS * 1000 * 3 / 4);
    rig_run(rig, 5 * RIG_SECOND); /* pongs of before have come */
    sim_node_set_wall_skew(rig->stores[1].node, HOUR_MS);
    rig_run(rig, 4 * RIG_SECOND);
    assert_offset(peer, 0);
    sim_net_heal(rig->sim, NULL, NULL);
    rig_run(rig, 10 * RIG_SECOND);
    assert_offset(peer, HOUR_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_offsets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_pongs, setup, teardown),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
