/* SPDX-License-Identifier: Apache-2.0
 *
 * What a person is told: each text names what is wrong, why, and what to do.
 */
#include "support/check.h"

#include "placement/explain.h"
#include "rig.h"

static struct rig rig;
static struct buf text;

#define STORES(...) ((const uint64_t[]){__VA_ARGS__})

static void begin(uint32_t stores)
{
    rig_init(&rig);
    buf_init(&text, 1 << 20);
    for (uint32_t i = 0; i < stores; i++)
        rig_join(&rig, "");
}

static void end(void)
{
    rig_fini(&rig);
    buf_fini(&text);
}

static void want(const char *part)
{
    buf_append_u8(&text, 0);
    if (strstr((const char *)text.data, part) == NULL)
        fail_msg("'%s' is not in:\n%s", part, (const char *)text.data);
    text.len--;
}

static void explain(uint64_t range_id)
{
    buf_clear(&text);
    assert_int_equal(placement_explain(rig.p, rig.now_ms, range_id, &text, NULL), 0);
}

static void why_not(uint64_t store_id)
{
    buf_clear(&text);
    assert_int_equal(placement_why_not(rig.p, rig.now_ms, store_id, &text, NULL), 0);
}

static void plan(struct placement_if what_if)
{
    struct err err = {0};
    buf_clear(&text);
    if (placement_plan(rig.p, rig.now_ms, &what_if, &text, &err) != 0)
        fail_msg("plan: %s", err.msg);
}

static void test_explains_a_range(void **state)
{
    (void)state;
    begin(3);
    rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    explain(2);
    want("3 of 3 voters healthy, should have 3");
    want("nothing is wrong with it");
    want("store 1 has a replica of range 2");
    rig.stores[2].is_silent = true;
    rig_run(&rig, 700);
    explain(2);
    want("2 of 3 voters healthy");
    want("needed (repair): its replica on store 3 is lost: the store is down");
    want("no store may take the replica");
    uint64_t d = rig_join(&rig, "");
    rig.stores[3].free_bytes = 0;
    rig_run(&rig, 5);
    explain(2);
    want("store 4 has too little disk");
    rig.stores[3].free_bytes = rig.stores[3].capacity;
    rig_run(&rig, 60);
    explain(2);
    want("nothing is wrong with it");
    want("operator ");
    want("(repair) done");
    assert_true(rig_has(rig_find(&rig, 2), d));
    end();
}

static void never(const char *part)
{
    buf_append_u8(&text, 0);
    if (strstr((const char *)text.data, part) != NULL)
        fail_msg("'%s' is in:\n%s", part, (const char *)text.data);
    text.len--;
}

/* A store that is silent, before its time is over: since when, until when, and what then. */
static void test_explains_silence(void **state)
{
    (void)state;
    begin(3);
    rig_range(&rig, 2, "\x02", "\x03", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    explain(2);
    want("range 2 [first key, last key)");
    rig.stores[2].is_silent = true;
    rig_run(&rig, 100);
    explain(2);
    never("nothing is wrong with it");
    want("on store 3 (suspect, silent for 1 min 40 s): voter, not heard of now");
    want(
        "store 3 is silent: if it does not come back within 8 min 20 s (setting store-down-after), "
        "its replica is made anew as soon as another store may take it");
    why_not(3);
    want("if none comes within 8 min 20 s it is down");
    want("leaders: none come, because it is suspect");
    rig_join(&rig, "");
    rig_run(&rig, 3);
    explain(2);
    want("its replica is made anew on another store");
    rig_run(&rig, 500);
    why_not(3);
    want("start it again; if it is lost for good: holdfast node remove 3");
    end();
}

/* A replica that does not answer, though its store does: where another one comes, what to do. */
static void test_explains_a_mute_replica(void **state)
{
    (void)state;
    begin(3);
    struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 70);
    r->mute = r->d.members[2].replica_id;
    r->mute_ms = 100000;
    rig_run(&rig, 5);
    explain(2);
    want("its replica on store 3 is silent: if it does not come back within 8 min 20 s");
    want("made anew in its place, as no other store may take it");
    rig_join(&rig, "");
    rig.stores[3].free_bytes = 0;
    r->mute_ms = 700000;
    rig_run(&rig, 5);
    explain(2);
    want("needed (repair): its replica on store 3 is lost: the store is up, but");
    want("no store may take the replica");
    never("bring store 3 back");
    end();
}

/* Each hint is one that fits: a store that leaves is taken back, a lost one brought back. */
static void test_explains_want_of_a_place(void **state)
{
    (void)state;
    begin(3);
    rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    placement_wish(rig.p, 1, PLACEMENT_WISH_DECOMMISSION, NULL);
    rig_run(&rig, 20);
    explain(2);
    want("needed (decommission): store 1 is decommissioning");
    want("or take it back: holdfast node undrain 1");
    why_not(1);
    want("leaving: it leads nothing any more");
    want("leaving: 1 of its replicas have nowhere to go");
    assert_true(rig_find(&rig, 2)->leader != 1);
    placement_wish(rig.p, 1, PLACEMENT_WISH_NONE, NULL);
    /* a label that nobody has is a slip, one that some have is a place */
    assert_int_equal(placement_set(rig.p, slice_str("require"), slice_str("disk=ssd"), NULL), 0);
    rig_run(&rig, 20);
    explain(2);
    want("no store has the label disk=ssd that the setting 'require' asks for");
    want("nothing is wrong with it");
    why_not(2);
    want("give it the label");
    uint64_t ssd = rig_join(&rig, "disk=ssd");
    rig_run(&rig, 60);
    assert_true(rig_has(rig_find(&rig, 2), ssd));
    explain(2);
    want("needed (require): store ");
    want("or change the setting 'require'");
    end();
}

static void test_explains_load(void **state)
{
    (void)state;
    begin(3);
    struct rig_range *r = rig_range(&rig, 2, "aaaaaa", "bbbbbb", STORES(1, 2, 3), 3);
    placement_set(rig.p, slice_str("split"), slice_str("off"), NULL);
    rig_range(&rig, 3, "bbbbbb", "cccccc", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    explain(2);
    want(
        "small, like its right neighbour 3: they are merged if both stay so, and cold, for 9 min ");
    r->qps = 90000;
    rig_run(&rig, 12);
    explain(2);
    want("hot: asked 90000 times a second, more than 25000 (setting split-qps), for ");
    want("splitting is switched off (setting split)");
    placement_set(rig.p, slice_str("split"), slice_str("on"), NULL);
    explain(2);
    want("it is split if that lasts for 15 s");
    end();
}

/* A learner that does not catch up: what it waits for, and how long. */
static void test_explains_a_stuck_learner(void **state)
{
    (void)state;
    struct placement_command move = {
        .kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 2, .to_store = 4};
    begin(4);
    rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    rig.stores[3].is_silent = true;
    assert_int_equal(rig_command(&rig, move, NULL), 0);
    rig_run(&rig, 10);
    explain(2);
    want("now  promote on store 4");
    want("last heard: waits until the learner has caught up");
    want("given up in 5");
    want("holdfast placement cancel ");
    want("stores for one more replica:");
    end();
}

/* A drain that waits for somebody to catch up; a plan takes it that they do. */
static void test_explains_a_lagging_heir(void **state)
{
    (void)state;
    begin(3);
    rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3)->is_lagging = true;
    rig_run(&rig, 10);
    placement_wish(rig.p, 1, PLACEMENT_WISH_DRAIN, NULL);
    rig_run(&rig, 2);
    explain(2);
    want("voter, healthy, 1000 entries behind");
    want("needed (drain): its leader is on store 1, which is draining");
    want("it waits until one of the other voters has caught up, but not for ever");
    plan((struct placement_if){0});
    want("range 2: transfer-leader ");
    want("and 1 leaders move");
    end();
}

/* Orders that cannot be carried out: each with the reason, and what is in the way. */
static void test_refuses_with_reasons(void **state)
{
    (void)state;
    static const struct {
        struct placement_command c;
        int want;
        const char *said;
    } rows[] = {
        {{.kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 1},
         ERR_STATE,
         "no store may take it: store 3 is suspect, store 4 is draining"},
        {{.kind = PLACEMENT_CMD_TRANSFER, .range_id = 2, .to_store = 4},
         ERR_NOT_FOUND,
         "range 2 has no replica on store 4"},
        {{.kind = PLACEMENT_CMD_TRANSFER, .range_id = 2, .to_store = 1},
         ERR_EXISTS,
         "store 1 leads range 2 already"},
        {{.kind = PLACEMENT_CMD_TRANSFER, .range_id = 2, .to_store = 3},
         ERR_STATE,
         "not heard of: the store is suspect"},
        {{.kind = PLACEMENT_CMD_MERGE, .range_id = 2},
         ERR_STATE,
         "range 2 has 2 healthy replicas of 3, range 3 2 of 3"},
    };
    begin(4);
    placement_set(rig.p, slice_str("balance"), slice_str("off"), NULL);
    rig_range(&rig, 2, "aaaaaa", "bbbbbb", STORES(1, 2, 3), 3);
    rig_range(&rig, 3, "bbbbbb", "cccccc", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    placement_wish(rig.p, 4, PLACEMENT_WISH_DRAIN, NULL);
    rig.stores[2].is_silent = true;
    rig_run(&rig, 10);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        int rv = rig_command(&rig, rows[i].c, &err);
        if (rv != rows[i].want || strstr(err.msg, rows[i].said) == NULL)
            fail_msg("row %zu: %d, %s", i, rv, err.msg);
    }
    end();
}

static void test_restart_safe(void **state)
{
    (void)state;
    struct err err = {0};
    begin(3);
    rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    buf_clear(&text);
    assert_int_equal(placement_restart_safe(rig.p, rig.now_ms, 2, &text, &err), 0);
    want("safe: each of its 1 ranges keeps a majority without store 2");
    rig.stores[2].is_silent = true;
    rig_run(&rig, 10);
    assert_int_equal(placement_restart_safe(rig.p, rig.now_ms, 2, &text, &err), ERR_STATE);
    assert_non_null(strstr(err.msg, "not safe: without store 2, 1 of its 1 ranges"));
    assert_int_equal(placement_restart_safe(rig.p, rig.now_ms, 3, &text, &err), 0);
    assert_int_equal(placement_restart_safe(rig.p, rig.now_ms, 9, &text, &err), ERR_NOT_FOUND);
    end();
}

static void test_explains_obstacles(void **state)
{
    struct err err = {0};
    (void)state;
    begin(3);
    rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    placement_pause(rig.p, true);
    explain(2);
    want("placement is paused");
    plan((struct placement_if){.down_store = 2});
    want("placement is paused: this is what would be done after holdfast placement resume");
    placement_pause(rig.p, false);
    rig.stores[1].is_silent = rig.stores[2].is_silent = true;
    rig_run(&rig, 20);
    explain(2);
    want("it has lost its majority");
    want("until 1 more of its voters are back\n  start again: store 2 (suspect, silent for 20 s), "
         "store 3 (suspect, silent for 20 s)");
    want("holdfast range recover --unsafe");
    assert_int_equal(placement_explain(rig.p, rig.now_ms, 77, &text, &err), ERR_NOT_FOUND);
    end();
}

static void test_why_not(void **state)
{
    struct err err = {0};
    (void)state;
    begin(5);
    rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 20);
    placement_wish(rig.p, 4, PLACEMENT_WISH_DRAIN, NULL);
    why_not(4);
    want("store 4 (s4:1) is draining");
    want("replicas: none come, because it is draining: nothing comes to it");
    want("holdfast node undrain");
    why_not(5);
    want("of its part (by capacity)");
    want("leaders: it leads 0");
    why_not(1);
    want("leads 1");
    assert_int_equal(placement_why_not(rig.p, rig.now_ms, 99, &text, &err), ERR_NOT_FOUND);
    end();
}

/* What is out of its band and cannot come nearer is not said to be on its way. */
static void test_why_not_of_what_rests(void **state)
{
    (void)state;
    begin(3);
    rig.stores[0].capacity = rig.stores[0].free_bytes = UINT64_C(1) << 36;
    for (uint64_t i = 0; i < 7; i++) {
        char start[8] = {(char)('a' + i)};
        char last[8] = {(char)('b' + i)};
        rig_range(&rig, 2 + i, start, last, STORES(1, 2, 3), 3)->bytes = 40 << 20;
    }
    rig_run(&rig, 100);
    for (uint64_t store = 1; store <= 3; store++) {
        why_not(store);
        want("outside of the band, but no replica is small enough, or has the place");
        never("replicas leave it");
        never("replicas come to it");
        never("some are handed over");
        never("some come");
        want("the mean is 2.3");
    }
    end();
}

/* Of a split that failed, and of small ranges that are not cold. */
static void test_explains_what_waits(void **state)
{
    (void)state;
    begin(3);
    placement_set(rig.p, slice_str("merge-after"), slice_str("60s"), NULL);
    struct rig_range *r = rig_range(&rig, 2, "aaaaaa", "bbbbbb", STORES(1, 2, 3), 3);
    rig_range(&rig, 3, "bbbbbb", "cccccc", STORES(1, 2, 3), 3);
    r->qps = 1000;
    rig_run(&rig, 100);
    explain(2);
    want("they are merged once neither is asked more than 312 times a second");
    rig.refuse = ERR_INVALID;
    r->bytes = 200 << 20;
    rig_run(&rig, 10);
    explain(2);
    want("large: it has 200.0 MiB; ");
    never("once all of its voters are there");
    want("it rests after what failed");
    end();
}

static void test_plans(void **state)
{
    (void)state;
    struct placement_counts before, after;
    begin(4);
    for (uint64_t i = 0; i < 8; i++) {
        char start[8] = {(char)('a' + i)};
        char last[8] = {(char)('b' + i)};
        rig_range(&rig, 2 + i, start, last, STORES(1 + i % 4, 1 + (i + 1) % 4, 1 + (i + 2) % 4), 3)
            ->bytes = 64 << 20;
    }
    rig_run(&rig, 60);
    plan((struct placement_if){0});
    want("nothing is to be done");
    plan((struct placement_if){.down_store = 2});
    want("because its replica on store 2 is lost: the store is down (repair)");
    want("6 replicas");
    plan((struct placement_if){.gone_store = 3});
    want("because store 3 is decommissioning (decommission)");
    plan((struct placement_if){.add_bytes = UINT64_C(1) << 40});
    want("(balance-bytes)");
    plan((struct placement_if){.add_bytes = UINT64_C(1) << 40, .add_labels = slice_str("zone=b")});
    want("can stand further apart (spread=zone,rack,host): store ");
    want("then: stores carry");
    want("if there were a new store, called ");
    want(" here, of 1024.0 GiB with zone=b:");
    /* it was only asked */
    placement_counts(rig.p, &before);
    rig_run(&rig, 60);
    placement_counts(rig.p, &after);
    assert_true(before.operators_started == after.operators_started);
    /* three stores down: nothing is promised that cannot be */
    rig.stores[2].is_silent = true;
    rig_run(&rig, 10);
    plan((struct placement_if){.down_store = 2});
    want("WITHOUT A MAJORITY");
    want("if store 2 were lost:");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explains_a_range),
        cmocka_unit_test(test_explains_silence),
        cmocka_unit_test(test_explains_a_mute_replica),
        cmocka_unit_test(test_explains_want_of_a_place),
        cmocka_unit_test(test_explains_load),
        cmocka_unit_test(test_explains_a_stuck_learner),
        cmocka_unit_test(test_explains_a_lagging_heir),
        cmocka_unit_test(test_refuses_with_reasons),
        cmocka_unit_test(test_restart_safe),
        cmocka_unit_test(test_explains_obstacles),
        cmocka_unit_test(test_why_not),
        cmocka_unit_test(test_why_not_of_what_rests),
        cmocka_unit_test(test_explains_what_waits),
        cmocka_unit_test(test_plans),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
