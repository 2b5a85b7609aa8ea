/* SPDX-License-Identifier: Apache-2.0
 *
 * What the schedulers do, that they stop, and what an operator may command.
 */
#include "support/check.h"

#include <stdio.h>

#include "rig.h"

static struct rig rig;

#define STORES(...) ((const uint64_t[]){__VA_ARGS__})

static char keys[RIG_RANGES_MAX + 1][7];

/* `count` neighbours from "kkkkkA" on, each of `bytes`, all on stores 1 to 3, led by 1. */
static void begin(uint32_t stores, uint32_t count, uint64_t bytes)
{
    rig_init(&rig);
    for (uint32_t i = 0; i < stores; i++)
        rig_join(&rig, "");
    for (uint32_t i = 0; i <= count; i++)
        snprintf(keys[i], sizeof keys[i], "kkkkk%c", (char)('A' + i));
    for (uint32_t i = 0; i < count; i++)
        rig_range(&rig, 2 + i, keys[i], keys[i + 1], STORES(1, 2, 3), 3)->bytes = bytes;
}

static uint32_t leads(uint64_t store)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < rig.range_count; i++) {
        const struct rig_range *r = &rig.ranges[i];
        for (uint32_t k = 0; k < r->d.member_count && !r->is_gone; k++)
            n += r->d.members[k].replica_id == r->leader && r->d.members[k].store_id == store;
    }
    return n;
}

static uint32_t replicas(uint64_t store)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < rig.range_count; i++)
        n += !rig.ranges[i].is_gone && rig_has(&rig.ranges[i], store);
    return n;
}

static uint32_t living(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < rig.range_count; i++)
        n += !rig.ranges[i].is_gone;
    return n;
}

static void set(const char *name, const char *value)
{
    struct err err = {0};
    if (placement_set(rig.p, slice_str(name), slice_str(value), &err) != 0)
        fail_msg("set: %s", err.msg);
}

static void test_balances_and_stops(void **state)
{
    (void)state;
    begin(5, 20, 64 << 20);
    rig_run(&rig, 300);
    for (uint64_t s = 1; s <= 5; s++) {
        assert_int_equal(replicas(s), 12);
        assert_int_equal(leads(s), 4);
    }
    uint32_t steps = rig.steps;
    rig_run(&rig, 600);
    assert_int_equal(rig.steps, steps);
    rig_fini(&rig);
}

/* Two stores of a node share small ranges that come slowly. While a learner catches up it counts
 * once: or its store would seem to have more than the other, and they would send replicas to and
 * fro for ever. */
static void test_balances_slowly_and_stops(void **state)
{
    (void)state;
    static const char *const labels[] = {"node=1", "node=1", "node=2", "node=2",
                                         "node=2", "node=3", "node=3", "node=3"};
    struct placement_counts counts;
    rig_init(&rig);
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        rig_join(&rig, labels[i]);
    for (uint32_t i = 0; i < 9; i++) {
        char start[] = {(char)('a' + i), 0};
        char end[] = {(char)('a' + i), 'z', 0}; /* no neighbours: none are merged */
        uint64_t first = i < 5 ? 1 : 2;
        struct rig_range *r =
            rig_range(&rig, 2 + i, start, end, STORES(first, 3 + i % 3, 6 + i % 3), 3);
        r->learns_ms = 20000;
        r->bytes = i == 0 ? 200 << 10 : 1 << 10; /* five against four differ enough for a move */
    }
    rig_run(&rig, 600);
    assert_in_range(replicas(1), 4, 5);
    assert_int_equal(replicas(1) + replicas(2), 9);
    placement_counts(rig.p, &counts);
    uint64_t started = counts.operators_started;
    rig_run(&rig, 600);
    placement_counts(rig.p, &counts);
    assert_true(counts.operators_started == started);
    rig_fini(&rig);
}

static void test_balances_by_capacity(void **state)
{
    (void)state;
    begin(4, 40, 64 << 20);
    rig.stores[3].capacity *= 3;
    rig.stores[3].free_bytes *= 3;
    rig_run(&rig, 600);
    /* one of six parts each, and half for the large one; but no two on a store */
    assert_int_equal(replicas(4), 40);
    assert_in_range(replicas(1), 26, 28);
    rig_fini(&rig);
}

/* Leaders of busy ranges part; numbers stay even. */
static void test_balances_load(void **state)
{
    (void)state;
    begin(3, 12, 64 << 20);
    rig_run(&rig, 120);
    assert_int_equal(leads(1), 4);
    uint32_t hot = 0;
    for (uint32_t i = 0; i < rig.range_count && hot < 3; i++) {
        struct rig_range *r = &rig.ranges[i];
        for (uint32_t k = 0; k < 3; k++) {
            if (r->d.members[k].store_id == 1 && r->d.members[k].replica_id == r->leader) {
                r->qps = 20000;
                hot++;
            }
        }
    }
    rig_run(&rig, 900);
    for (uint64_t s = 1; s <= 3; s++) {
        uint32_t qps = 0;
        for (uint32_t i = 0; i < rig.range_count; i++) {
            struct rig_range *r = &rig.ranges[i];
            for (uint32_t k = 0; k < 3; k++)
                qps += r->d.members[k].store_id == s && r->d.members[k].replica_id == r->leader
                           ? r->qps
                           : 0;
        }
        assert_int_equal(qps, 20000);
        assert_in_range(leads(s), 3, 5);
    }
    rig_fini(&rig);
}

static void test_splits_by_size_and_load(void **state)
{
    (void)state;
    begin(3, 2, 30 << 20);
    rig_run(&rig, 30);
    assert_int_equal(living(), 2);
    rig.ranges[0].bytes = 100 << 20;
    rig_run(&rig, 30);
    assert_int_equal(living(), 3);
    rig.ranges[1].qps = 40000;
    rig_run(&rig, 10); /* a short while is nothing */
    assert_int_equal(living(), 3);
    rig_run(&rig, 30);
    assert_int_equal(living(), 4);
    rig_fini(&rig);
}

static uint64_t splits_refused(void)
{
    struct placement_operator_status s;
    uint64_t count = 0;
    for (uint32_t i = 0; placement_history_at(rig.p, rig.now_ms, i, &s); i++)
        count += s.outcome == PLACEMENT_REFUSED && s.kinds[0] == PLACEMENT_SPLIT;
    return count;
}

/* Nothing keeps that waiting: it is done within seconds. */
static void drain_its_leader(struct rig_range *r)
{
    uint64_t leader = r->leader;
    for (uint32_t i = 0; i < 3; i++) {
        if (r->d.members[i].replica_id == leader)
            placement_wish(rig.p, r->d.members[i].store_id, PLACEMENT_WISH_DRAIN, NULL);
    }
    rig_run(&rig, 10);
    assert_true(r->leader != leader);
}

/* A leader that finds no key is not asked again for a while, and nothing else waits for that,
 * however often it was asked. */
static void test_no_key_for_a_while(void **state)
{
    (void)state;
    begin(3, 2, 30 << 20);
    rig_run(&rig, 30);
    struct rig_range *r = &rig.ranges[1];
    rig.refuse = ERR_NOT_FOUND;
    r->qps = 40000;
    for (int i = 0; i < 60 && splits_refused() == 0; i++)
        rig_run(&rig, 1);
    assert_int_equal(splits_refused(), 1);
    rig_run(&rig, 595);
    assert_int_equal(splits_refused(), 1);
    for (uint64_t n = 2; n <= 10; n++) {
        rig_run(&rig, 600);
        assert_int_equal(splits_refused(), n);
    }
    for (int i = 0; i < 20 && splits_refused() == 10; i++)
        rig_run(&rig, 1);
    assert_int_equal(splits_refused(), 11);
    rig.refuse = 0;
    drain_its_leader(r);
    rig_run(&rig, 602);
    assert_int_equal(living(), 3);
    rig_fini(&rig);
}

/* So it is with one that is large, and is one key. */
static void test_no_key_in_a_large_one(void **state)
{
    (void)state;
    begin(3, 2, 30 << 20);
    rig_run(&rig, 30);
    rig.refuse = ERR_NOT_FOUND;
    struct rig_range *r = &rig.ranges[1];
    r->bytes = UINT64_C(150) << 20;
    for (int i = 0; i < 60 && splits_refused() == 0; i++)
        rig_run(&rig, 1);
    assert_int_equal(splits_refused(), 1);
    rig_run(&rig, 290);
    assert_int_equal(splits_refused(), 1);
    for (uint64_t n = 2; n <= 6; n++) {
        for (int i = 0; i < 310 && splits_refused() < n; i++)
            rig_run(&rig, 1);
        assert_int_equal(splits_refused(), n);
    }
    rig.refuse = 0;
    drain_its_leader(r);
    rig_run(&rig, 302);
    assert_int_equal(living(), 3);
    rig_fini(&rig);
}

/* One that refuses for another reason is asked again soon, but seldom, if that goes on. */
static void test_refused_for_another_reason(void **state)
{
    (void)state;
    begin(3, 2, 30 << 20);
    rig_run(&rig, 30);
    rig.refuse = ERR_EXISTS;
    rig.ranges[1].qps = 40000;
    rig_run(&rig, 300);
    assert_in_range(splits_refused(), 3, 10);
    rig.refuse = 0;
    rig_run(&rig, 300);
    assert_int_equal(living(), 3);
    rig_fini(&rig);
}

/* A member that is away is waited for, but not for ever. */
static void test_splits_without_a_member(void **state)
{
    (void)state;
    begin(3, 2, 30 << 20);
    rig_run(&rig, 30);
    for (size_t i = 0; i < 3; i++) {
        if (rig.stores[i].id == 3)
            rig.stores[i].is_silent = true;
    }
    rig_run(&rig, 10);
    rig.ranges[0].bytes = 150 << 20;
    rig_run(&rig, 60);
    assert_int_equal(living(), 2);
    rig.ranges[0].bytes = 200 << 20;
    rig_run(&rig, 60);
    assert_int_equal(living(), 3);
    rig_fini(&rig);
}

/* The half that stays hot is looked at for as long as a new range would be, before it is split
 * again. */
static void test_splits_for_load_one_by_one(void **state)
{
    (void)state;
    begin(3, 2, 30 << 20);
    rig_run(&rig, 30);
    rig.ranges[1].qps = 100000;
    rig_run(&rig, 22);
    assert_int_equal(living(), 3);
    rig.ranges[1].qps = 100000;
    rig_run(&rig, 6);
    assert_int_equal(living(), 3);
    rig_run(&rig, 20);
    assert_true(living() > 3);
    rig_fini(&rig);
}

static void test_merges_what_is_small_and_cold(void **state)
{
    (void)state;
    begin(3, 3, 5 << 20);
    rig.ranges[2].bytes = 30 << 20;
    rig_run(&rig, 500);
    assert_int_equal(living(), 3);
    rig_run(&rig, 200);
    assert_int_equal(living(), 2);
    assert_string_equal(rig_find(&rig, 2)->end, rig.ranges[2].start);
    uint64_t into = 0;
    uint64_t epoch = 0;
    assert_true(placement_range_ended(rig.p, 3, &into, &epoch) && into == 2 && epoch == 2);
    /* what was just merged is not split at once */
    rig_find(&rig, 2)->bytes = 100 << 20;
    rig_run(&rig, 100);
    assert_int_equal(living(), 2);
    rig_run(&rig, 800);
    assert_int_equal(living(), 3);
    rig_fini(&rig);
}

/* The right one is brought to the stores of the left one first. */
static void test_merges_from_other_stores(void **state)
{
    (void)state;
    begin(6, 1, 5 << 20);
    struct rig_range *right = rig_range(&rig, 9, keys[1], "kkkkkZ", STORES(4, 5, 6), 3);
    right->bytes = 5 << 20;
    set("balance", "off");
    rig_run(&rig, 30);
    struct placement_command merge = {.kind = PLACEMENT_CMD_MERGE, .range_id = 2};
    assert_int_equal(rig_command(&rig, merge, NULL), 0);
    rig_run(&rig, 60);
    assert_true(right->is_gone);
    assert_true(rig_is_on(rig_find(&rig, 2), STORES(1, 2, 3), 3));
    rig_fini(&rig);
}

struct ids {
    uint64_t operator_id;
    uint64_t replica_id;
};

/* The next of each kind, by a move. */
static struct ids next_ids(struct rig_range *r, uint64_t from, uint64_t to)
{
    struct placement_operator_status op;
    struct ids ids = {0};
    struct placement_command move = {
        .kind = PLACEMENT_CMD_MOVE, .range_id = r->d.range_id, .from_store = from, .to_store = to};
    assert_int_equal(rig_command(&rig, move, NULL), 0);
    assert_true(placement_operator_at(rig.p, rig.now_ms, 0, &op));
    ids.operator_id = op.id;
    rig_run(&rig, 20);
    for (uint32_t i = 0; i < r->d.member_count; i++) {
        if (r->d.members[i].store_id == to)
            ids.replica_id = r->d.members[i].replica_id;
    }
    return ids;
}

/* Two of the right one's replicas could come, but the third could not: that is looked at each
 * second, and uses up no ids. */
static void test_pairs_none_without_need(void **state)
{
    (void)state;
    begin(6, 1, 5 << 20);
    struct rig_range *right = rig_range(&rig, 9, keys[1], "kkkkkZ", STORES(4, 5, 6), 3);
    struct rig_range *other = rig_range(&rig, 20, "x", "y", STORES(4, 5, 6), 3);
    right->bytes = 5 << 20;
    other->bytes = 30 << 20;
    set("balance", "off");
    rig.stores[2].space = PLACEMENT_SPACE_LOW;
    rig_run(&rig, 30);
    struct ids before = next_ids(other, 4, 1);
    rig_run(&rig, 1000);
    assert_false(right->is_gone);
    struct ids after = next_ids(other, 5, 2);
    assert_true(after.operator_id == before.operator_id + 1);
    assert_true(after.replica_id == before.replica_id + 1);
    rig.stores[2].space = PLACEMENT_SPACE_OK;
    rig_run(&rig, 60);
    assert_true(right->is_gone);
    rig_fini(&rig);
}

/* The first range of data begins before the first keyspace does: what was cut off it may come
 * back. Where a keyspace begins, the cut stays. */
static void test_merges_into_the_first(void **state)
{
    (void)state;
    begin(3, 0, 0);
    rig_range(&rig, 2, "k", "kkkkk", STORES(1, 2, 3), 3)->bytes = 5 << 20;
    rig_range(&rig, 3, "kkkkk", "kkkkkM", STORES(1, 2, 3), 3)->bytes = 5 << 20;
    rig_range(&rig, 4, "kkkkkM", "", STORES(1, 2, 3), 3)->bytes = 5 << 20;
    rig_run(&rig, 30);
    struct placement_command merge = {.kind = PLACEMENT_CMD_MERGE, .range_id = 2};
    assert_int_equal(rig_command(&rig, merge, NULL), ERR_INVALID);
    merge.range_id = 3;
    assert_int_equal(rig_command(&rig, merge, NULL), 0);
    rig_run(&rig, 30);
    assert_int_equal(living(), 2);
    rig_fini(&rig);

    begin(3, 0, 0);
    rig_range(&rig, 2, "k", "kkkkkM", STORES(1, 2, 3), 3)->bytes = 5 << 20;
    rig_range(&rig, 3, "kkkkkM", "", STORES(1, 2, 3), 3)->bytes = 5 << 20;
    rig_run(&rig, 700);
    assert_int_equal(living(), 1);
    rig_fini(&rig);
}

/* A move adds one and takes one: of two voters that are to be three it would take a needed one. */
static void test_too_few_to_be_moved(void **state)
{
    (void)state;
    begin(5, 0, 0);
    placement_pause(rig.p, true);
    rig_range(&rig, 2, "kkkkk", "", STORES(1, 2), 2);
    rig_run(&rig, 30);
    struct placement_command move = {
        .kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 2, .to_store = 5};
    struct placement_command scatter = {.kind = PLACEMENT_CMD_SCATTER, .range_id = 2};
    assert_int_equal(rig_command(&rig, move, NULL), ERR_STATE);
    assert_int_equal(rig_command(&rig, scatter, NULL), ERR_STATE);
    placement_pause(rig.p, false);
    rig_run(&rig, 60);
    assert_int_equal(rig_command(&rig, move, NULL), 0);
    rig_fini(&rig);
}

static void test_pause(void **state)
{
    (void)state;
    begin(5, 10, 64 << 20);
    placement_pause(rig.p, true);
    rig_run(&rig, 60);
    assert_int_equal(rig.steps, 0);
    struct placement_command move = {
        .kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 3, .to_store = 5};
    assert_int_equal(rig_command(&rig, move, NULL), 0); /* but commands are carried out */
    rig_run(&rig, 10);
    assert_true(rig_is_on(rig_find(&rig, 2), STORES(1, 2, 5), 3));
    placement_pause(rig.p, false);
    rig_run(&rig, 300);
    assert_int_equal(replicas(4), 6);
    rig_fini(&rig);
}

static const uint8_t long_place[DESCRIPTOR_CUT_MAX + 1] = "zzzzz";

static const struct {
    const char *name;
    struct placement_command command;
    int want;
    const char *says;
} commands[] = {
    {"no range", {.kind = PLACEMENT_CMD_MOVE, .range_id = 99}, ERR_NOT_FOUND, "no range 99"},
    {"not there",
     {.kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 4},
     ERR_NOT_FOUND,
     "has no replica on store 4"},
    {"has one",
     {.kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 1, .to_store = 2},
     ERR_STATE,
     "store 2 has a replica of range 2"},
    {"no store",
     {.kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 1, .to_store = 77},
     ERR_NOT_FOUND,
     "no store 77"},
    {"too many", {.kind = PLACEMENT_CMD_ADD_REPLICA, .range_id = 2}, ERR_STATE, "has its 3 voters"},
    {"too few",
     {.kind = PLACEMENT_CMD_REMOVE_REPLICA, .range_id = 2, .from_store = 3},
     ERR_STATE,
     "needs its 3 voters"},
    {"leads",
     {.kind = PLACEMENT_CMD_TRANSFER, .range_id = 2, .to_store = 1},
     ERR_EXISTS,
     "store 1 leads"},
    {"no member",
     {.kind = PLACEMENT_CMD_TRANSFER, .range_id = 2, .to_store = 4},
     ERR_NOT_FOUND,
     "no replica"},
    {"key outside",
     {.kind = PLACEMENT_CMD_SPLIT, .range_id = 2, .key = {(const uint8_t *)"zzzzz", 5}},
     ERR_INVALID,
     "not inside"},
    {"no place for a user key",
     {.kind = PLACEMENT_CMD_SPLIT, .range_id = 2, .key = {(const uint8_t *)"zzzz", 4}},
     ERR_INVALID,
     "begins with the keyspace"},
    {"no key is so long",
     {.kind = PLACEMENT_CMD_SPLIT, .range_id = 2, .key = {long_place, sizeof long_place}},
     ERR_TOO_LARGE,
     "4097 bytes to cut at, limit 4096"},
    {"the last one",
     {.kind = PLACEMENT_CMD_MERGE, .range_id = 3},
     ERR_INVALID,
     "no right neighbour"},
    {"no operator",
     {.kind = PLACEMENT_CMD_CANCEL, .operator_id = 7},
     ERR_NOT_FOUND,
     "no operator 7"},
    {"no command", {.kind = 99, .range_id = 2}, ERR_UNSUPPORTED, "no such command"},
    {"transfer", {.kind = PLACEMENT_CMD_TRANSFER, .range_id = 2, .to_store = 2}, 0, NULL},
    {"one at a time", {.kind = PLACEMENT_CMD_SCATTER, .range_id = 2}, ERR_BUSY, "runs for range 2"},
};

static void test_commands(void **state)
{
    (void)state;
    begin(5, 2, 64 << 20);
    set("balance", "off");
    rig_run(&rig, 30);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct err err = {0};
        int rv = rig_command(&rig, commands[i].command, &err);
        if (rv != commands[i].want || (rv != 0 && strstr(err.msg, commands[i].says) == NULL))
            fail_msg("%s: got %d (%s)", commands[i].name, rv, err.msg);
    }
    rig_run(&rig, 10);
    assert_int_equal(leads(2), 1);
    struct placement_command scatter = {.kind = PLACEMENT_CMD_SCATTER, .range_id = 2};
    assert_int_equal(rig_command(&rig, scatter, NULL), 0);
    rig_run(&rig, 20);
    assert_false(rig_is_on(rig_find(&rig, 2), STORES(1, 2, 3), 3));
    struct placement_command split = {
        .kind = PLACEMENT_CMD_SPLIT, .range_id = 3, .key = slice_str("kkkkkBx")};
    assert_int_equal(rig_command(&rig, split, NULL), 0);
    rig_run(&rig, 10);
    assert_string_equal(rig_find(&rig, 3)->end, "kkkkkBx");
    rig_fini(&rig);
}

static void test_cancel(void **state)
{
    (void)state;
    begin(5, 1, 64 << 20);
    set("balance", "off");
    rig_run(&rig, 30);
    struct placement_command move = {
        .kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 3, .to_store = 5};
    assert_int_equal(rig_command(&rig, move, NULL), 0);
    struct placement_operator_status op;
    assert_true(placement_operator_at(rig.p, rig.now_ms, 0, &op));
    assert_string_equal(op.scheduler, "command");
    assert_int_equal(op.step_count, 3);
    struct placement_command cancel = {.kind = PLACEMENT_CMD_CANCEL, .operator_id = op.id};
    assert_int_equal(rig_command(&rig, cancel, NULL), 0);
    rig_run(&rig, 20);
    assert_true(rig_is_on(rig_find(&rig, 2), STORES(1, 2, 3), 3));
    rig_fini(&rig);
}

static void test_settings(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *value;
        const char *says; /* NULL: it is taken */
    } rows[] = {
        {"replicas", "5", NULL},
        {"replicas", "4", "an odd number from 1 to 7"},
        {"replicas", "9", "an odd number"},
        {"split-bytes", "128MiB", NULL},
        {"split-bytes", "much", "a size (64MiB)"},
        {"store-down-after", "5m", NULL},
        {"store-down-after", "1s", "a duration (10m) from 5s"},
        {"balance", "off", NULL},
        {"balance", "maybe", "on or off"},
        {"spread", "zone,host", NULL},
        {"spread", "zone host", "names of labels"},
        {"require", "disk=ssd", NULL},
        {"require", "", NULL},
        {"require", "ssd", "one label"},
    };
    begin(1, 1, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        int rv = placement_set(rig.p, slice_str(rows[i].name), slice_str(rows[i].value), &err);
        bool is_fine = rows[i].says == NULL
                           ? rv == 0
                           : rv == ERR_INVALID && strstr(err.msg, rows[i].says) != NULL;
        if (!is_fine)
            fail_msg("%s=%s: got %d (%s)", rows[i].name, rows[i].value, rv, err.msg);
    }
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_balances_and_stops),
        cmocka_unit_test(test_balances_slowly_and_stops),
        cmocka_unit_test(test_balances_by_capacity),
        cmocka_unit_test(test_balances_load),
        cmocka_unit_test(test_splits_by_size_and_load),
        cmocka_unit_test(test_no_key_for_a_while),
        cmocka_unit_test(test_no_key_in_a_large_one),
        cmocka_unit_test(test_refused_for_another_reason),
        cmocka_unit_test(test_splits_without_a_member),
        cmocka_unit_test(test_splits_for_load_one_by_one),
        cmocka_unit_test(test_merges_what_is_small_and_cold),
        cmocka_unit_test(test_merges_from_other_stores),
        cmocka_unit_test(test_pairs_none_without_need),
        cmocka_unit_test(test_merges_into_the_first),
        cmocka_unit_test(test_too_few_to_be_moved),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests_name("comfort", tests, NULL, NULL);
}
