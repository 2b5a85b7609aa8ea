/* SPDX-License-Identifier: Apache-2.0
 *
 * What a store tells placement: of ranges that sleep once, and again if that may have been lost;
 * whether it should lead.
 */
#include "support/check.h"

#include "base/rng.h"
#include "net/net_peer.h"
#include "placement/placement_internal.h"
#include "store/beats.h"
#include "store/driver_internal.h"
#include "store_rig.h"
#include "wire/driver_msg.h"

enum { HELD = 512, HELD_KEY = 4000, WAIT_MS = 60000 };

static struct rig rig;

static struct replica *replica_at(size_t i)
{
    return replicas_of_range(&rig.stores[i]->replicas, STORE_FIRST_RANGE_ID);
}

/* Does the replica there lead, parked? */
static bool leads_asleep(size_t i)
{
    const struct replica *r = replica_at(i);
    return r != NULL && r->nap.parked != NULL && sleep_is_parked_leader(r);
}

static struct pl_range *known(void)
{
    size_t driver = rig_driver(&rig);
    assert_true(driver < rig.count);
    return pl_range_get(rig.stores[driver]->driver->placement, STORE_FIRST_RANGE_ID);
}

static bool is_known_asleep(void)
{
    const struct pl_range *r = known();
    return r != NULL && r->has_heartbeat && r->is_asleep;
}

/* As if what it was told of the range had never come. */
static void forget(void)
{
    assert_true(is_known_asleep());
    known()->has_heartbeat = known()->is_asleep = false;
}

/* Three stores; the range has three voters, sleeps, and is not led where placement is, which has
 * heard of that. The store that leads it. */
static size_t open_asleep(void)
{
    rig_open(&rig, 3);
    rig.options.hibernate_after_ms = 300;
    rig.options.hibernate_check_ms = 3600 * 1000;
    rig_grow_begin(&rig);
    rig_grow(&rig);
    for (int ms = 0; ms < WAIT_MS; ms += 100) {
        rig_run(&rig, 100 * RIG_MS);
        size_t driver = rig_driver(&rig);
        for (size_t i = 0; driver < rig.count && i < rig.count; i++) {
            const struct pl_range *r = known();
            if (i != driver && leads_asleep(i) && r != NULL && r->member_count == 3 &&
                r->op == NULL && is_known_asleep())
                return i;
        }
    }
    fail_msg("the range does not fall asleep away from placement");
    return 0;
}

/* It heard of it again, and nobody woke. */
static void assert_heard_again(size_t led, uint64_t slept)
{
    rig_run(&rig, 3000 * RIG_MS);
    assert_true(is_known_asleep());
    struct store_sleep_stats stats;
    store_sleep_stats(rig.stores[led], &stats);
    assert_true(stats.slept == slept && leads_asleep(led));
}

static uint64_t slept_at(size_t led)
{
    struct store_sleep_stats stats;
    store_sleep_stats(rig.stores[led], &stats);
    return stats.slept;
}

/* The connection ended, and what was on its way with it. */
static void test_connection_lost(void **state)
{
    (void)state;
    size_t led = open_asleep();
    uint64_t slept = slept_at(led);
    forget();
    sim_net_reset(rig.sim, rig.nodes[led], rig.nodes[rig_driver(&rig)]);
    assert_heard_again(led, slept);
    rig_close(&rig);
}

/* Somebody else was taken for who hosts placement, and told of it. */
static void test_told_somebody_else(void **state)
{
    (void)state;
    size_t led = open_asleep();
    uint64_t slept = slept_at(led);
    forget();
    rig.stores[led]->beats.told = 99;
    assert_heard_again(led, slept);
    rig_close(&rig);
}

/* A message that means nothing to placement: of so many ranges with keys of that length. */
static int tell_nothing(struct store *store, uint64_t to_store, uint32_t count, uint32_t key_len)
{
    static char start[HELD_KEY], end[HELD_KEY];
    struct range_beat beat = {.term = 1, .is_report = true};
    struct range_state range = {
        .range_id = 1000,
        .start = slice_of(start, key_len),
        .end = slice_of(end, key_len),
        .conf_epoch = 1,
        .span_epoch = 1,
        .replica_id = 1000,
        .member_count = 1,
        .members = {{.replica_id = 1000, .store_id = 9, .role = MEMBER_VOTER}},
    };
    struct rng rng;
    struct buf raw;
    struct buf body;
    rng_init(&rng, 1);
    buf_init(&raw, FRAME_BODY_MAX);
    buf_init(&body, FRAME_BODY_MAX);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < key_len; k++) /* no compression makes it short */
            start[k] = end[k] = (char)rng_below(&rng, 255);
        end[0]++;
        range_state_append(&raw, &range);
    }
    beat.ranges = (struct pack_list){.raw = buf_slice(&raw), .count = count};
    range_beat_encode(&body, &beat);
    int rv = store_tell(store, to_store, NET_BULK, &body);
    buf_fini(&body);
    buf_fini(&raw);
    return rv;
}

/* Until not even the shortest message finds room. */
static void fill_queue(struct store *store, uint64_t to_store)
{
    static const struct {
        uint32_t count;
        uint32_t key_len;
    } sizes[] = {{HELD, HELD_KEY}, {16, HELD_KEY}, {1, HELD_KEY}, {1, 500}, {1, 50}, {1, 1}};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        int rv = 0;
        for (int n = 0; n < 64 && rv == 0; n++)
            rv = tell_nothing(store, to_store, sizes[i].count, sizes[i].key_len);
        assert_int_equal(rv, ERR_BUSY);
    }
}

/* There is no room on the connection: it is told later, and not forgotten. */
static void test_no_room(void **state)
{
    (void)state;
    size_t led = open_asleep();
    size_t driver = rig_driver(&rig);
    struct store *store = rig.stores[led];
    uint64_t slept = slept_at(led);
    forget();
    sim_net_partition(rig.sim, rig.nodes[led], rig.nodes[driver], false);
    fill_queue(store, store_identity(rig.stores[driver])->store_id);
    rig_run(&rig, RIG_MS); /* some of it leaves for the system */
    fill_queue(store, store_identity(rig.stores[driver])->store_id);
    beats_on_asleep(replica_at(led));
    rig_run(&rig, 100 * RIG_MS);
    assert_true(list_is_linked(&replica_at(led)->in_news));
    assert_false(is_known_asleep());
    sim_net_heal(rig.sim, NULL, NULL);
    assert_heard_again(led, slept);
    assert_false(list_is_linked(&replica_at(led)->in_news));
    rig_close(&rig);
}

/* Does placement know that of the store? */
static bool is_known_to_lead(size_t i, enum placement_lead want)
{
    size_t driver = rig_driver(&rig);
    if (driver == rig.count)
        return false;
    const struct placement *p = rig.stores[driver]->driver->placement;
    const struct pl_store *s = pl_store_get(p, store_identity(rig.stores[i])->store_id);
    return s != NULL && s->state == PLACEMENT_STORE_UP && s->last.lead == want;
}

/* Meanwhile there is something to sync. */
static void wait_lead(size_t i, enum placement_lead want)
{
    struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v")};
    for (int ms = 0; ms < WAIT_MS && !is_known_to_lead(i, want); ms += 500) {
        if (rig_leader(&rig) < rig.count)
            rig_write(&rig, rig_leader(&rig), 0, &op, 10000);
        rig_run(&rig, 500 * RIG_MS);
    }
    assert_true(is_known_to_lead(i, want));
}

/* Placement sees no clock and no disk: each store tells it whether it should lead. */
static void test_tells_who_should_lead(void **state)
{
    struct sim_disk_options slow = {.sync_us = 2000 * RIG_MS};
    struct sim_disk_options good = {.sync_us = RIG_MS};
    (void)state;
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    for (size_t i = 0; i < rig.count; i++)
        wait_lead(i, PLACEMENT_LEAD_GLADLY);
    size_t other = (rig_driver(&rig) + 1) % rig.count;
    sim_node_set_wall_skew(rig.nodes[other], 3600 * 1000);
    wait_lead(other, PLACEMENT_LEAD_NEVER);
    sim_node_set_wall_skew(rig.nodes[other], 0);
    wait_lead(other, PLACEMENT_LEAD_GLADLY);
    sim_disk_set_options(sim_node_disk(rig.nodes[other]), &slow);
    wait_lead(other, PLACEMENT_LEAD_LAST);
    sim_disk_set_options(sim_node_disk(rig.nodes[other]), &good);
    wait_lead(other, PLACEMENT_LEAD_GLADLY);
    for (size_t i = 0; i < rig.count; i++)
        assert_true(is_known_to_lead(i, PLACEMENT_LEAD_GLADLY));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connection_lost),
        cmocka_unit_test(test_told_somebody_else),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_tells_who_should_lead),
    };
    return cmocka_run_group_tests_name("beats", tests, NULL, NULL);
}
