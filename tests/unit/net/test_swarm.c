/* SPDX-License-Identifier: Apache-2.0 */
/* Three stores that talk all the time in a world full of trouble. While it lasts,
 * messages may be lost but never come twice, out of order or from a stranger; when
 * it is over, all are connected again; and the same seed gives the same run. */
#include <stdlib.h>

#include "base/rng.h"
#include "net_rig.h"
#include "support/check.h"

enum { SEEDS = 40, STEPS = 300, CLASSES = 2 };

static const uint32_t KINDS[CLASSES] = {MSG_REQUEST_VOTE, MSG_APPEND_ENTRIES};

struct run {
    struct rig *rig;
    struct rng rng;
    uint64_t seq; /* of the next message of anybody */
    uint64_t sent, received;
};

static void dial_all(struct run *run, size_t i)
{
    for (size_t j = 0; j < RIG_STORES; j++) {
        if (j != i)
            rig_dial(run->rig, i, j);
    }
}

static void restart(struct run *run, size_t i)
{
    rig_kill(run->rig, i);
    run->rig->stores[i].options.self.boot++;
    rig_start(run->rig, i);
    dial_all(run, i);
}

static void send_some(struct run *run)
{
    for (size_t i = 0; i < RIG_STORES; i++) {
        struct rig_store *store = &run->rig->stores[i];
        for (uint64_t j = 1; j <= RIG_STORES; j++) {
            struct net_peer *peer = net_peer_find(store->net, j);
            enum net_class class = rng_chance(&run->rng, 1, 2) ? NET_URGENT : NET_BULK;
            size_t len = rng_chance(&run->rng, 1, 20) ? 200000 : rng_below(&run->rng, 2000);
            if (peer == NULL || sim_node_is_paused(store->node))
                continue;
            run->sent += rig_send(peer, class, KINDS[class], ++run->seq, len) == 0;
        }
    }
}

/* What each store saw since last time: numbers grow, per sender and class. */
static void check_seen(struct run *run)
{
    for (size_t i = 0; i < RIG_STORES; i++) {
        struct rig_store *store = &run->rig->stores[i];
        assert_true(store->seen_count <= RIG_SEEN_MAX);
        for (size_t n = 0; n < store->seen_count; n++) {
            const struct rig_seen *seen = &store->seen[n];
            assert_true(seen->from >= 1 && seen->from <= RIG_STORES && seen->from != i + 1);
            assert_true(seen->kind == KINDS[0] || seen->kind == KINDS[1]);
            uint64_t *last = &store->last_seq[seen->from - 1][seen->kind == KINDS[1]];
            assert_true(seen->seq > *last);
            *last = seen->seq;
        }
        run->received += store->seen_count;
        store->seen_count = 0;
    }
}

static void trouble(struct run *run)
{
    struct sim *sim = run->rig->sim;
    size_t i = rng_below(&run->rng, RIG_STORES);
    size_t j = (i + rng_between(&run->rng, 1, RIG_STORES - 1)) % RIG_STORES;
    struct sim_node *a = run->rig->stores[i].node, *b = run->rig->stores[j].node;
    switch (rng_below(&run->rng, 12)) {
    case 0:
        sim_net_partition(sim, a, b, rng_chance(&run->rng, 1, 2));
        break;
    case 1:
        sim_net_heal(sim, NULL, NULL);
        break;
    case 2:
        sim_net_reset(sim, a, b);
        break;
    case 3:
        restart(run, i);
        break;
    case 4:
        sim_node_pause(a);
        break;
    case 5:
        sim_node_resume(a);
        break;
    default:
        break;
    }
}

static void recover(struct run *run)
{
    struct sim_options calm;
    sim_options_init(&calm);
    sim_set_options(run->rig->sim, &calm);
    sim_net_heal(run->rig->sim, NULL, NULL);
    for (size_t i = 0; i < RIG_STORES; i++)
        sim_node_resume(run->rig->stores[i].node);
    rig_run(run->rig, 60 * RIG_SECOND);
    check_seen(run);
    for (size_t i = 0; i < RIG_STORES; i++) {
        for (size_t j = 0; j < RIG_STORES; j++) {
            if (i != j)
                assert_true(net_peer_is_up(net_peer_find(run->rig->stores[i].net, j + 1)));
        }
    }
}

static uint64_t run_seed(uint64_t seed, uint64_t *ret_received)
{
    struct run run = {.rig = rig_new(seed)};
    struct sim_options options;
    rng_init(&run.rng, seed);
    sim_options_swarm(&options, seed);
    options.fault_site_ppm = 0;
    sim_set_options(run.rig->sim, &options);
    for (size_t i = 0; i < RIG_STORES; i++) {
        rig_start(run.rig, i);
        dial_all(&run, i);
    }
    for (int step = 0; step < STEPS; step++) {
        send_some(&run);
        rig_run(run.rig, rng_below(&run.rng, 2 * RIG_SECOND / 10));
        check_seen(&run);
        trouble(&run);
    }
    recover(&run);
    assert_true(run.received <= run.sent);
    uint64_t hash = sim_hash(run.rig->sim);
    *ret_received = run.received;
    rig_free(run.rig);
    return hash;
}

static void test_trouble_loses_messages_but_breaks_nothing(void **state)
{
    (void)state;
    uint64_t received = 0, all = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed, &received);
        all += received;
    }
    assert_true(all > (uint64_t)SEEDS * STEPS); /* most of it did get through */
}

static void test_the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    uint64_t first, second;
    for (uint64_t seed = 100; seed < 105; seed++) {
        assert_int_equal(run_seed(seed, &first), run_seed(seed, &second));
        assert_int_equal(first, second);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trouble_loses_messages_but_breaks_nothing),
        cmocka_unit_test(test_the_same_seed_gives_the_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
