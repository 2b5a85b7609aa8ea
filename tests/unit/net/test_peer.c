/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "net_rig.h"
#include "support/check.h"

static int setup(void **state)
{
    *state = rig_new(5);
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static struct net_peer *connect_ab(struct rig *rig)
{
    rig_start(rig, 0);
    rig_start(rig, 1);
    struct net_peer *peer = rig_dial(rig, 0, 1);
    rig_run(rig, RIG_SECOND);
    assert_true(net_peer_is_up(peer));
    return peer;
}

/* So many peers and no more; what is refused leaves nothing behind. */
static void test_peers_are_bounded(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, 0);
    struct net *net = rig->stores[0].net;
    struct net_peer *peer = NULL;
    struct err err = {0};
    for (uint64_t id = 2; id < NET_PEERS_MAX + 2; id++)
        assert_int_equal(net_peer_add(net, id, "127.0.0.1:9", &peer, &err), 0);
    assert_int_equal(net_peer_add(net, NET_PEERS_MAX + 2, "127.0.0.1:9", &peer, &err), ERR_BUSY);
    assert_null(net_peer_find(net, NET_PEERS_MAX + 2));
    net_peer_remove(net_peer_find(net, 2));
    assert_int_equal(net_peer_add(net, NET_PEERS_MAX + 2, "127.0.0.1:9", &peer, &err), 0);
}

static void test_messages_arrive_from_a_proven_store(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, 0);
    rig_start(rig, 1);
    struct net_peer *peer = rig_dial(rig, 0, 1);
    assert_int_equal(rig_send(peer, NET_URGENT, MSG_PROBE, 1, 10), ERR_UNAVAILABLE);
    assert_int_equal(net_peer_heard_us(peer), 0);
    rig_run(rig, 3 * RIG_SECOND);

    struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
    assert_int_equal(a->ups, 1);
    assert_int_equal(a->up_who.store_id, 2);
    assert_int_equal(a->up_who.store_uuid[0], 2);
    assert_int_equal(a->up_who.cluster_id, RIG_CLUSTER);
    assert_true(net_peer_rtt_us(peer) > 0);
    assert_true(net_peer_heard_us(peer) > 0);
    for (uint64_t seq = 1; seq <= 100; seq++)
        assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, seq, 50), 0);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(b->seen_count, 100);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(b->seen[i].from, 1);
        assert_int_equal(b->seen[i].kind, MSG_APPEND_ENTRIES);
        assert_int_equal(b->seen[i].seq, i + 1);
    }
    assert_int_equal(net_peer_pending(peer), 0);
    assert_int_equal(a->refused + b->refused + a->downs + b->downs, 0);
    assert_ptr_equal(net_peer_find(a->net, 2), peer);
    assert_null(net_peer_find(a->net, 3));
}

static void test_urgent_overtakes_bulk(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *b = &rig->stores[1];
    for (uint64_t seq = 1; seq <= 30; seq++)
        assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, seq, 100000), 0);
    assert_int_equal(rig_send(peer, NET_URGENT, MSG_REQUEST_VOTE, 1, 10), 0);
    rig_run(rig, 200);
    assert_int_equal(rig_send(peer, NET_URGENT, MSG_REQUEST_VOTE, 2, 10), 0);
    rig_run(rig, 10 * RIG_SECOND);
    assert_int_equal(b->seen_count, 32);
    size_t second = 0;
    uint64_t bulk = 0;
    for (size_t i = 0; i < 32; i++) {
        if (b->seen[i].kind == MSG_APPEND_ENTRIES)
            assert_int_equal(b->seen[i].seq, ++bulk); /* in order */
        else if (b->seen[i].seq == 2)
            second = i;
    }
    assert_int_equal(b->seen[0].kind, MSG_REQUEST_VOTE); /* same turn: before all bulk */
    assert_true(second < 16);                            /* later: before most of it */
}

static void test_full_queues_are_busy_and_free_themselves(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    static const struct {
        enum net_class class;
        size_t max;
    } CASES[] = {{NET_BULK, 4 << 20}, {NET_URGENT, 1 << 20}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        size_t sent = 0, before = rig->stores[1].seen_count;
        while (rig_send(peer, CASES[i].class, MSG_PROBE, sent, 50000) == 0)
            sent++;
        assert_int_equal(rig_send(peer, CASES[i].class, MSG_PROBE, sent, 50000), ERR_BUSY);
        assert_in_range(sent * 50000, CASES[i].max - 100000, CASES[i].max + NET_PEER_WINDOW);
        rig_run(rig, 20 * RIG_SECOND);
        assert_int_equal(rig->stores[1].seen_count - before, sent);
        assert_int_equal(rig_send(peer, CASES[i].class, MSG_PROBE, 0, 50000), 0);
        rig_run(rig, RIG_SECOND);
    }
}

static void test_one_message_above_the_bound_passes_alone(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, 1, 16 << 20), 0);
    assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, 2, 10), ERR_BUSY);
    rig_run(rig, 60 * RIG_SECOND);
    assert_int_equal(rig->stores[1].seen_count, 1);
    assert_int_equal(rig->stores[1].seen[0].len > 16 << 20, 1);
}

/* Behind others, too: it need not wait for a moment in which none of them waits. */
static void test_one_message_reaches_beyond_the_bound(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    size_t max = 4 << 20, len = 50000;
    uint64_t seq = 0;
    while (net_peer_pending(peer) + 2 * len < max)
        assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, ++seq, len), 0);
    assert_in_range(net_peer_room(peer), 1, 2 * len);
    assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, ++seq, 16 << 20), 0);
    assert_int_equal(net_peer_room(peer), 0);
    assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, 99, 10), ERR_BUSY);
    assert_in_range(net_peer_pending(peer), 16 << 20, max + (16 << 20) + len);
    rig_run(rig, 60 * RIG_SECOND);
    assert_int_equal(rig->stores[1].seen_count, seq);
    assert_true(rig->stores[1].seen[seq - 1].len >= 16 << 20);
    assert_true(net_peer_room(peer) == SIZE_MAX);
}

/* Sent off or copied, small or large, all come whole and in order; what is refused stays. */
static void test_memory_goes_with_what_is_large(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    static const size_t LENS[] = {10, 100, 40000, 10, 200000, 70000, 30000, 10};
    bool is_taken;
    uint64_t seq = 0;
    for (size_t i = 0; i < ARRAY_LEN(LENS); i++) {
        assert_int_equal(
            rig_send_off(peer, NET_BULK, MSG_APPEND_ENTRIES, ++seq, LENS[i], &is_taken), 0);
        assert_int_equal(is_taken, LENS[i] >= 40000);
        assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, ++seq, LENS[i]), 0);
    }
    assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, ++seq, 4 << 20), 0);
    assert_int_equal(rig_send_off(peer, NET_BULK, MSG_APPEND_ENTRIES, 99, 8 << 20, &is_taken),
                     ERR_BUSY);
    assert_false(is_taken);
    rig_run(rig, 10 * RIG_SECOND);
    assert_int_equal(rig_send_off(peer, NET_URGENT, MSG_PROBE, ++seq, 50000, &is_taken), 0);
    assert_false(is_taken);
    rig_run(rig, RIG_SECOND);
    const struct rig_store *b = &rig->stores[1];
    assert_int_equal(b->seen_count, seq);
    for (size_t i = 0; i < seq; i++)
        assert_int_equal(b->seen[i].seq, i + 1);
    for (size_t i = 0; i < 2 * ARRAY_LEN(LENS); i++)
        assert_true(b->seen[i].len >= LENS[i / 2]);
    assert_int_equal(net_peer_pending(peer), 0);
}

static void test_it_dials_again_after_reset_and_restart(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *a = &rig->stores[0];
    assert_int_equal(rig_send(peer, NET_BULK, MSG_PROBE, 1, 3 << 20), 0);
    sim_net_reset(rig->sim, a->node, rig->stores[1].node);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(a->downs, 1);
    assert_int_equal(a->down_status, ERR_IO);
    assert_true(net_peer_is_up(peer));
    assert_int_equal(a->ups, 2);
    assert_int_equal(net_peer_pending(peer), 0); /* what was queued is gone */

    rig_kill(rig, 1);
    rig_run(rig, 30 * RIG_SECOND);
    assert_false(net_peer_is_up(peer));
    assert_int_equal(rig_send(peer, NET_URGENT, MSG_PROBE, 1, 10), ERR_UNAVAILABLE);
    /* 50 ms doubled up to 2 s, at least half of each: not a storm, not asleep. */
    assert_in_range(a->attempts_failed, 10, 45);
    rig->stores[1].options.self.boot++;
    rig_start(rig, 1);
    rig_run(rig, 3 * RIG_SECOND);
    assert_true(net_peer_is_up(peer));
    assert_int_equal(a->up_who.boot, 2);
    assert_int_equal(rig_send(peer, NET_URGENT, MSG_PROBE, 7, 10), 0);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(rig->stores[1].seen[rig->stores[1].seen_count - 1].seq, 7);
}

static void test_silence_cuts_the_connection_and_healing_mends_it(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
    rig_run(rig, 60 * RIG_SECOND);
    assert_int_equal(a->downs, 0); /* idle is not silent */
    sim_net_partition(rig->sim, a->node, b->node, false);
    rig_run(rig, 4 * RIG_SECOND);
    assert_true(net_peer_is_up(peer));
    rig_run(rig, 2 * RIG_SECOND);
    assert_false(net_peer_is_up(peer));
    assert_int_equal(a->down_status, ERR_TIMEOUT);
    assert_non_null(strstr(a->down_reason, "silent"));
    rig_run(rig, 8 * RIG_SECOND);
    struct net_stats stats;
    net_stats(b->net, &stats);
    assert_int_equal(stats.connections, 0); /* the accepting end gave up too */
    sim_net_heal(rig->sim, NULL, NULL);
    rig_run(rig, 20 * RIG_SECOND);
    assert_true(net_peer_is_up(peer));
}

/* Over a slow link to b so much takes some ten seconds, and pings wait behind it. */
enum { LARGE = 16 << 20, SLOW_US = 150000 };

static void test_a_large_message_over_a_slow_link_is_no_silence(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
    sim_net_slow(rig->sim, a->node, b->node, SLOW_US);
    assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, 1, LARGE), 0);
    rig_run(rig, 8 * RIG_SECOND);
    assert_int_equal(b->seen_count, 0);
    assert_int_equal(rig_send(peer, NET_URGENT, MSG_PROBE, 2, 10), 0);
    rig_run(rig, 7 * RIG_SECOND);
    assert_int_equal(b->seen_count, 2);
    rig_run(rig, 20 * RIG_SECOND);
    assert_int_equal(a->downs + b->refused, 0);
    assert_true(net_peer_is_up(peer));
}

/* Nothing leaves any more in the middle of one. */
static void test_a_large_message_that_gets_stuck_is_silence(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
    sim_net_slow(rig->sim, a->node, b->node, SLOW_US);
    assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, 1, LARGE), 0);
    rig_run(rig, 7 * RIG_SECOND);
    assert_int_equal(a->downs, 0);
    sim_net_partition(rig->sim, a->node, b->node, false);
    rig_run(rig, 4 * RIG_SECOND);
    assert_int_equal(a->downs, 0);
    rig_run(rig, 2 * RIG_SECOND);
    assert_int_equal(a->downs, 1);
    assert_non_null(strstr(a->down_reason, "silent"));
}

/* Its pings have left, and so does what follows them, into a system that has room for it. */
static void test_small_messages_to_nobody_are_no_life(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
    rig_run(rig, 5 * RIG_SECOND);
    sim_net_partition(rig->sim, a->node, b->node, false);
    for (uint64_t seq = 1; seq <= 240 && net_peer_is_up(peer); seq++) {
        assert_int_equal(rig_send(peer, NET_URGENT, MSG_PROBE, seq, 10), 0);
        rig_run(rig, RIG_SECOND / 40);
    }
    assert_false(net_peer_is_up(peer));
    assert_int_equal(a->down_status, ERR_TIMEOUT);
}

/* It may take as long as a frame may, and no longer, without a word from the other side. */
static void test_a_slow_link_has_a_frame_s_time(void **state)
{
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
    a->options.limits.frame_ms = 20000;
    struct net_peer *peer = connect_ab(rig);
    sim_net_slow(rig->sim, a->node, b->node, 10 * SLOW_US);
    assert_int_equal(rig_send(peer, NET_BULK, MSG_APPEND_ENTRIES, 1, LARGE), 0);
    rig_run(rig, 19 * RIG_SECOND);
    assert_int_equal(a->downs, 0);
    rig_run(rig, 7 * RIG_SECOND);
    assert_int_equal(a->downs, 1);
    assert_non_null(strstr(a->down_reason, "silent"));
}

static void test_our_own_pause_is_not_their_silence(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *a = &rig->stores[0];
    rig_run(rig, 5 * RIG_SECOND);
    sim_node_pause(a->node);
    rig_run(rig, 8 * RIG_SECOND); /* b waits twice as long before it gives up on us */
    sim_node_resume(a->node);
    rig_run(rig, 3 * RIG_SECOND);
    assert_int_equal(a->downs, 0);
    assert_true(net_peer_is_up(peer));
}

/* Who differs how, what the dialler hears, what the other end logs. */
struct refusal {
    const char *name;
    void (*prepare)(struct rig_store *a, struct rig_store *b);
    int want_status;          /* at the dialler */
    const char *want_down;    /* part of its reason */
    const char *want_refused; /* part of the reason at the other end; NULL: none */
};

static void other_secret(struct rig_store *a, struct rig_store *b)
{
    (void)b;
    a->options.secret = slice_str("another secret");
}

static void no_secret_here(struct rig_store *a, struct rig_store *b)
{
    (void)b;
    a->options.secret = (struct slice){0};
}

static void no_secret_there(struct rig_store *a, struct rig_store *b)
{
    (void)a;
    b->options.secret = (struct slice){0};
}

static void other_cluster(struct rig_store *a, struct rig_store *b)
{
    (void)b;
    a->options.self.cluster_id++;
}

static void other_store(struct rig_store *a, struct rig_store *b)
{
    (void)a;
    b->options.self.store_id = 3;
}

static void same_store(struct rig_store *a, struct rig_store *b)
{
    (void)b;
    a->options.self.store_id = 2;
}

static void refused_there(struct rig_store *a, struct rig_store *b)
{
    (void)a;
    b->check_code = ERR_STATE;
}

static void refused_here(struct rig_store *a, struct rig_store *b)
{
    (void)b;
    a->check_code = ERR_STATE;
}

static const struct refusal REFUSALS[] = {
    {"another secret", other_secret, ERR_UNAUTHORIZED, "secret", "says: its cluster secret"},
    {"no secret here", no_secret_here, ERR_UNAUTHORIZED, "secret", "secret"},
    {"no secret there", no_secret_there, ERR_UNAUTHORIZED, "loopback", "loopback"},
    {"another cluster", other_cluster, ERR_UNAUTHORIZED, "cluster id", "cluster id"},
    {"another store", other_store, ERR_UNAUTHORIZED, "store 3 answers", NULL},
    {"refused there", refused_there, ERR_STATE, "wiped", "wiped"},
    {"refused here", refused_here, ERR_STATE, "wiped", NULL},
};

static void test_strangers_are_refused_with_a_reason_at_both_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(REFUSALS); i++) {
        const struct refusal *r = &REFUSALS[i];
        struct rig *rig = rig_new(i);
        struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
        r->prepare(a, b);
        rig_start(rig, 0);
        rig_start(rig, 1);
        struct net_peer *peer = rig_dial(rig, 0, 1);
        rig_run(rig, 20 * RIG_SECOND);
        if (net_peer_is_up(peer) || a->ups > 0 || b->seen_count > 0)
            fail_msg("%s: came in", r->name);
        if (a->down_status != r->want_status || strstr(a->down_reason, r->want_down) == NULL)
            fail_msg("%s: dialler heard %s '%s'", r->name, err_name(a->down_status),
                     a->down_reason);
        /* It backs off even though the handshake got far. */
        assert_in_range(a->attempts_failed, 5, 40);
        if (r->want_refused != NULL)
            assert_true(b->refused > 0);
        rig_free(rig);
    }
    struct rig *rig = rig_new(1);
    same_store(&rig->stores[0], &rig->stores[1]);
    rig_start(rig, 0);
    struct net_peer *peer;
    assert_int_equal(net_peer_add(rig->stores[0].net, 2, "b:7000", &peer, NULL), ERR_INVALID);
    assert_int_equal(net_peer_add(rig->stores[0].net, 0, "b:7000", &peer, NULL), ERR_INVALID);
    assert_int_equal(net_peer_add(rig->stores[0].net, 3, "nonsense", &peer, NULL), ERR_INVALID);
    assert_int_equal(net_peer_add(rig->stores[0].net, 3, "c:7000", &peer, NULL), 0);
    assert_int_equal(net_peer_add(rig->stores[0].net, 3, "c:7000", &peer, NULL), ERR_EXISTS);
    rig_free(rig);
}

static void test_without_a_secret_loopback_may_come_in(void **state)
{
    struct rig *rig = *state;
    for (size_t i = 0; i < 2; i++)
        rig->stores[i].options.secret = (struct slice){0};
    /* Two stores of one machine: b's net on a's node. */
    rig_start(rig, 0);
    struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
    b->options.address = "a:7001";
    struct net *second = NULL;
    assert_int_equal(net_new(sim_node_env(a->node), &b->options, &second, NULL), 0);
    b->net = second;
    struct net_peer *peer;
    assert_int_equal(net_peer_add(a->net, 2, "127.0.0.1:7001", &peer, NULL), 0);
    rig_run(rig, RIG_SECOND);
    assert_true(net_peer_is_up(peer));
    sim_node_crash(a->node, SIM_CRASH_KILL);
    net_free(second);
    b->net = NULL;
}

static void test_a_store_not_yet_born_is_for_check_peer_to_judge(void **state)
{
    struct rig *rig = *state;
    rig->stores[0].options.self.cluster_id = 0;
    rig_start(rig, 0);
    rig_start(rig, 1);
    struct net_peer *peer = rig_dial(rig, 0, 1);
    rig_run(rig, RIG_SECOND);
    assert_true(net_peer_is_up(peer));
    assert_int_equal(rig->stores[0].up_who.cluster_id, RIG_CLUSTER);
    net_set_cluster(rig->stores[0].net, RIG_CLUSTER, rig->stores[0].options.self.store_id);
    sim_net_reset(rig->sim, NULL, NULL);
    rig_run(rig, RIG_SECOND);
    assert_true(net_peer_is_up(peer));
}

static void test_a_newer_incoming_connection_replaces_the_older(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
    struct net_stats stats;
    /* a forgets its connection without b hearing of it, and comes again. */
    sim_net_partition(rig->sim, a->node, b->node, false);
    rig_kill(rig, 0);
    sim_net_heal(rig->sim, NULL, NULL);
    rig_start(rig, 0);
    peer = rig_dial(rig, 0, 1);
    rig_run(rig, 2 * RIG_SECOND);
    assert_true(net_peer_is_up(peer));
    net_stats(b->net, &stats);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(rig_send(peer, NET_URGENT, MSG_PROBE, 9, 1), 0);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(b->seen_count, 1);
}

static void test_a_peer_can_be_removed_and_moved(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *a = &rig->stores[0], *c = &rig->stores[2];
    struct net_stats stats;
    c->options.self.store_id = 2; /* b's new home */
    rig_start(rig, 2);
    assert_int_equal(net_peer_set_address(peer, "c:7000", NULL), 0);
    assert_int_equal(net_peer_set_address(peer, "c", NULL), ERR_INVALID);
    rig_run(rig, 3 * RIG_SECOND);
    assert_true(net_peer_is_up(peer));
    assert_string_equal(net_peer_address(peer), "c:7000");
    assert_int_equal(net_peer_store_id(peer), 2);
    assert_int_equal(a->up_who.store_uuid[0], 3);
    assert_int_equal(rig_send(peer, NET_URGENT, MSG_PROBE, 1, 100), 0);
    net_peer_remove(peer);
    net_peer_remove(NULL);
    rig_run(rig, 5 * RIG_SECOND);
    assert_null(net_peer_find(a->net, 2));
    net_stats(c->net, &stats);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(c->seen_count, 1); /* what the link had still left */
}

static void test_check_peer_may_remove_the_peer_that_it_judges(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, 0);
    rig_start(rig, 1);
    rig->stores[0].remove = rig_dial(rig, 0, 1);
    rig_run(rig, 5 * RIG_SECOND);
    assert_null(net_peer_find(rig->stores[0].net, 2));
    assert_int_equal(rig->stores[0].ups, 0);
}

static void test_a_message_that_the_store_refuses_ends_the_connection(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
    b->message_code = ERR_CORRUPT;
    assert_int_equal(rig_send(peer, NET_URGENT, MSG_PROBE, 1, 10), 0);
    rig_run(rig, RIG_SECOND / 10);
    assert_int_equal(a->downs, 1);
    assert_int_equal(a->down_status, ERR_CORRUPT);
    assert_non_null(strstr(a->down_reason, "not a message for me"));
    assert_non_null(strstr(b->refused_reason, "not a message for me"));
    b->message_code = 0;
    rig_run(rig, 3 * RIG_SECOND);
    assert_true(net_peer_is_up(peer));
}

/* Whatever it refuses with, though the frame reader uses the word for what is well. */
static void test_a_refusal_is_not_the_end_of_the_input(void **state)
{
    struct rig *rig = *state;
    struct net_peer *peer = connect_ab(rig);
    struct rig_store *a = &rig->stores[0], *b = &rig->stores[1];
    b->message_code = ERR_SHORT;
    for (uint64_t seq = 1; seq <= 2; seq++)
        assert_int_equal(rig_send(peer, NET_URGENT, MSG_PROBE, seq, 10), 0);
    rig_run(rig, RIG_SECOND / 10);
    assert_int_equal(b->seen_count, 1);
    assert_int_equal(a->downs, 1);
    assert_non_null(strstr(a->down_reason, "not a message for me"));
}

/* They have all places there are, and each that is closed is opened again. */
static void stay_silent(struct rig *rig, struct rig_client *clients, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (clients[i].conn != NULL)
            continue;
        rig_client_close(&clients[i]);
        rig_client_open(&clients[i], rig, rig->outside, 0);
    }
}

/* … or say what is wrong, and do not hang up when they are told. */
static void talk_nonsense(struct rig *rig, struct rig_client *clients, size_t count)
{
    struct buf buf;
    buf_init(&buf, 4096);
    rig_frame(&buf, MSG_PROBE, 1, 10);
    for (size_t i = 0; i < count; i++) {
        if (clients[i].conn != NULL)
            continue;
        rig_client_close(&clients[i]);
        rig_client_open(&clients[i], rig, rig->outside, 0);
        rig_client_write(&clients[i], &buf);
    }
    buf_fini(&buf);
}

static void test_strangers_keep_no_store_out(void **state)
{
    enum { CLIENTS = 4, STRANGERS = CLIENTS + NET_BESIDE_MAX + 20 };
    static void (*const floods[])(struct rig *, struct rig_client *, size_t) = {stay_silent,
                                                                                talk_nonsense};
    static struct rig_client strangers[STRANGERS];
    struct rig *rig = *state;
    struct rig_store *a = &rig->stores[0];
    struct rig_client clients[CLIENTS];
    struct net_stats stats;
    a->options.limits.connections_max = CLIENTS;
    rig_start(rig, 0);
    for (size_t i = 0; i < CLIENTS; i++)
        rig_client_greet(&clients[i], rig, 0);
    rig_start(rig, 1);
    for (size_t k = 0; k < ARRAY_LEN(floods); k++) {
        memset(strangers, 0, sizeof strangers);
        floods[k](rig, strangers, STRANGERS);
        rig_run(rig, RIG_SECOND / 100);
        net_stats(a->net, &stats);
        assert_int_equal(stats.connections, CLIENTS + NET_BESIDE_MAX);
        struct net_peer *peer = rig_dial(rig, 1, 0);
        rig_run(rig, RIG_SECOND / 10);
        assert_true(net_peer_is_up(peer));
        for (int i = 0; i < 20; i++) { /* who stands is not touched */
            floods[k](rig, strangers, STRANGERS);
            rig_run(rig, RIG_SECOND / 2);
        }
        assert_true(net_peer_is_up(peer));
        assert_int_equal(rig->stores[1].downs, 0);
        net_peer_remove(peer);
        for (size_t i = 0; i < STRANGERS; i++)
            rig_client_close(&strangers[i]);
        rig_run(rig, 2 * RIG_SECOND);
    }
    net_stats(a->net, &stats);
    assert_int_equal(stats.clients, CLIENTS);
    assert_int_equal(stats.connections, CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++)
        rig_client_close(&clients[i]);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_peers_are_bounded),
        TEST(test_messages_arrive_from_a_proven_store),
        TEST(test_urgent_overtakes_bulk),
        TEST(test_full_queues_are_busy_and_free_themselves),
        TEST(test_one_message_above_the_bound_passes_alone),
        TEST(test_one_message_reaches_beyond_the_bound),
        TEST(test_memory_goes_with_what_is_large),
        TEST(test_it_dials_again_after_reset_and_restart),
        TEST(test_silence_cuts_the_connection_and_healing_mends_it),
        TEST(test_a_large_message_over_a_slow_link_is_no_silence),
        TEST(test_a_large_message_that_gets_stuck_is_silence),
        TEST(test_small_messages_to_nobody_are_no_life),
        TEST(test_a_slow_link_has_a_frame_s_time),
        TEST(test_our_own_pause_is_not_their_silence),
        cmocka_unit_test(test_strangers_are_refused_with_a_reason_at_both_ends),
        TEST(test_without_a_secret_loopback_may_come_in),
        TEST(test_a_store_not_yet_born_is_for_check_peer_to_judge),
        TEST(test_a_newer_incoming_connection_replaces_the_older),
        TEST(test_a_peer_can_be_removed_and_moved),
        TEST(test_check_peer_may_remove_the_peer_that_it_judges),
        TEST(test_a_message_that_the_store_refuses_ends_the_connection),
        TEST(test_a_refusal_is_not_the_end_of_the_input),
        TEST(test_strangers_keep_no_store_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
