/* SPDX-License-Identifier: Apache-2.0
 *
 * What the checkers do: growth from one store, lost, draining and leaving stores, places.
 */
#include "support/check.h"

#include "rig.h"

static struct rig rig; /* too large for a stack */

#define STORES(...) ((const uint64_t[]){__VA_ARGS__})

static void test_grows_from_one(void **state)
{
    (void)state;
    rig_init(&rig);
    uint64_t a = rig_join(&rig, "");
    struct rig_range *r1 = rig_range(&rig, 1, "", "k", STORES(a), 1);
    struct rig_range *r2 = rig_range(&rig, 2, "k", "", STORES(a), 1);
    rig_run(&rig, 30);
    assert_true(rig_is_on(r1, STORES(a), 1));
    uint64_t b = rig_join(&rig, "");
    rig_run(&rig, 30);
    /* two are no place to rest */
    assert_true(rig_is_on(r2, STORES(a), 1));
    uint64_t c = rig_join(&rig, "");
    rig_run(&rig, 60);
    assert_true(rig_is_on(r1, STORES(a, b, c), 3));
    assert_true(rig_is_on(r2, STORES(a, b, c), 3));
    /* from five nodes on range 1 has five, the others three */
    rig_join(&rig, "");
    rig_run(&rig, 30);
    assert_int_equal(rig_voters(r1), 3);
    rig_join(&rig, "");
    rig_run(&rig, 60);
    assert_int_equal(rig_voters(r1), 5);
    assert_int_equal(rig_voters(r2), 3);
    struct placement_counts counts;
    placement_counts(rig.p, &counts);
    assert_int_equal(counts.operators, 0);
    rig_fini(&rig);
}

static void make_five(struct rig_range **ret_range)
{
    rig_init(&rig);
    for (int i = 0; i < 5; i++)
        rig_join(&rig, "");
    *ret_range = rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 30);
    assert_true(rig_is_on(*ret_range, STORES(1, 2, 3), 3));
}

static void test_replaces_what_is_down(void **state)
{
    struct rig_range *r;
    (void)state;
    make_five(&r);
    rig.stores[2].is_silent = true;
    rig_run(&rig, 590);
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3)); /* not yet: it may come back */
    rig_run(&rig, 60);
    assert_false(rig_has(r, 3));
    assert_int_equal(rig_voters(r), 3);
    assert_int_equal(r->d.member_count, 3);
    rig_fini(&rig);
}

/* A restart within store-down-after costs nothing. */
static void test_waits_for_a_restart(void **state)
{
    struct rig_range *r;
    (void)state;
    make_five(&r);
    rig.stores[2].is_silent = true;
    rig_run(&rig, 300);
    rig.stores[2].is_silent = false;
    uint32_t steps = rig.steps;
    rig_run(&rig, 900);
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3));
    assert_int_equal(rig.steps, steps);
    rig_fini(&rig);
}

/* Three voters stay three when there is nowhere to go. */
static void test_keeps_three_behind_a_loss(void **state)
{
    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 3; i++)
        rig_join(&rig, "");
    struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 10);
    rig.stores[2].is_silent = true;
    rig_run(&rig, 1000);
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3));
    rig_fini(&rig);
}

static void test_drains_and_decommissions(void **state)
{
    struct rig_range *r;
    struct placement_store_status status;
    (void)state;
    make_five(&r);
    assert_int_equal(placement_wish(rig.p, 1, PLACEMENT_WISH_DRAIN, NULL), 0);
    rig_run(&rig, 20);
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3));
    assert_true(r->leader != r->d.members[0].replica_id);
    assert_int_equal(placement_wish(rig.p, 1, PLACEMENT_WISH_DECOMMISSION, NULL), 0);
    rig_run(&rig, 60);
    assert_false(rig_has(r, 1));
    assert_int_equal(rig_voters(r), 3);
    /* … and then it is not of the cluster any more */
    assert_true(placement_store_at(rig.p, 0, &status));
    assert_int_equal(status.store_id, 2);
    assert_int_equal(placement_wish(rig.p, 1, PLACEMENT_WISH_NONE, NULL), ERR_NOT_FOUND);
    rig_fini(&rig);
}

static void forget_routes(void)
{
    for (uint32_t i = 0; i < rig.row_count; i++)
        rig.rows[i].is_gone |= strncmp(rig.rows[i].key, "placement/route/", 16) == 0;
}

/* What no row tells of yet a store may hold all the same: in a new term it is not taken for empty
 * before all have said what they hold. One that is down is not waited for. */
static void test_removes_what_surely_is_empty(void **state)
{
    struct rig_range *r;
    (void)state;
    make_five(&r);
    rig.stores[4].is_silent = true;
    rig_run(&rig, 1000);
    forget_routes();
    rig_fail_over(&rig);
    assert_int_equal(placement_remove_store(rig.p, 3, NULL), ERR_BUSY);
    assert_int_equal(placement_remove_store(rig.p, 4, NULL), ERR_BUSY);
    assert_int_equal(placement_remove_store(rig.p, 5, NULL), 0);
    rig_run(&rig, 10);
    assert_int_equal(placement_remove_store(rig.p, 3, NULL), ERR_STATE);
    assert_int_equal(placement_remove_store(rig.p, 4, NULL), 0);
    rig_fini(&rig);
}

/* A removed store is not there any more, but that is certain only once it is written. */
static void test_a_removal_may_be_lost(void **state)
{
    struct rig_range *r;
    struct placement_write write;
    (void)state;
    make_five(&r);
    assert_true(placement_removals_are_durable(rig.p));
    assert_int_equal(placement_remove_store(rig.p, 5, NULL), 0);
    assert_int_equal(placement_wish(rig.p, 5, PLACEMENT_WISH_DRAIN, NULL), ERR_NOT_FOUND);
    assert_false(placement_removals_are_durable(rig.p));
    assert_true(placement_next_write(rig.p, &write));
    assert_false(placement_removals_are_durable(rig.p));
    placement_written(rig.p, write.id, ERR_BUSY);
    assert_false(placement_removals_are_durable(rig.p));
    rig_fail_over(&rig);
    rig_run(&rig, 10);
    assert_int_equal(placement_wish(rig.p, 5, PLACEMENT_WISH_DRAIN, NULL), 0);
    assert_true(placement_removals_are_durable(rig.p)); /* another word is none */
    assert_int_equal(placement_remove_store(rig.p, 5, NULL), 0);
    rig_run(&rig, 1);
    assert_true(placement_removals_are_durable(rig.p));
    rig_fini(&rig);
}

/* Leaders leave although a voter is lost and nobody can take its place. */
static void test_drains_beside_a_loss(void **state)
{
    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 3; i++)
        rig_join(&rig, "");
    struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 10);
    rig.stores[2].is_silent = true;
    rig_run(&rig, 700);
    assert_int_equal(r->leader, r->d.members[0].replica_id);
    assert_int_equal(placement_wish(rig.p, 1, PLACEMENT_WISH_DRAIN, NULL), 0);
    rig_run(&rig, 30);
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3));
    assert_int_equal(r->leader, r->d.members[1].replica_id);
    rig_fini(&rig);
}

/* Without a fourth node nothing is given up. */
static void test_decommission_waits_for_a_place(void **state)
{
    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 3; i++)
        rig_join(&rig, "");
    struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 10);
    assert_int_equal(placement_wish(rig.p, 2, PLACEMENT_WISH_DECOMMISSION, NULL), 0);
    rig_run(&rig, 100);
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3));
    uint64_t d = rig_join(&rig, "");
    rig_run(&rig, 60);
    assert_true(rig_is_on(r, STORES(1, 3, d), 3));
    rig_fini(&rig);
}

/* A label that no store has takes nothing away: as many voters as there were stay. */
static void test_a_slip_takes_nothing(void **state)
{
    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 5; i++)
        rig_join(&rig, "disk=hdd");
    struct rig_range *r1 = rig_range(&rig, 1, "", "a", STORES(1, 2, 3, 4, 5), 5);
    struct rig_range *r2 = rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 30);
    assert_int_equal(placement_set(rig.p, slice_str("require"), slice_str("disk=ssd"), NULL), 0);
    rig_run(&rig, 100);
    assert_true(rig_is_on(r1, STORES(1, 2, 3, 4, 5), 5));
    assert_true(rig_is_on(r2, STORES(1, 2, 3), 3));
    rig_fini(&rig);
}

/* Two must leave, and for the first there is no place: the second does not wait for it. */
static void leaves_where_it_can(bool is_decommission)
{
    static const char *const labels[] = {"node=a", "node=b", "node=b,disk=ssd", "node=c,disk=ssd"};
    rig_init(&rig);
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        rig_join(&rig, labels[i]);
    placement_set(rig.p, slice_str("balance"), slice_str("off"), NULL);
    struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1, 2, 4), 3);
    rig_run(&rig, 30);
    if (is_decommission) {
        placement_wish(rig.p, 1, PLACEMENT_WISH_DECOMMISSION, NULL);
        placement_wish(rig.p, 2, PLACEMENT_WISH_DECOMMISSION, NULL);
    } else {
        placement_set(rig.p, slice_str("require"), slice_str("disk=ssd"), NULL);
    }
    rig_run(&rig, 100);
    assert_true(rig_is_on(r, STORES(1, 3, 4), 3));
    rig_fini(&rig);
}

static void test_leaves_where_it_can(void **state)
{
    (void)state;
    leaves_where_it_can(true);
    leaves_where_it_can(false);
}

/* Fewer are wanted, and a label: those without it go, not others that would be missed next. And
 * no learner becomes a voter where it could not stay. */
static void test_spares_what_must_leave(void **state)
{
    static const char *const labels[] = {"", "disk=ssd", "disk=ssd", "", "disk=ssd"};
    (void)state;
    rig_init(&rig);
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        rig_join(&rig, labels[i]);
    placement_set(rig.p, slice_str("replicas"), slice_str("5"), NULL);
    placement_set(rig.p, slice_str("balance"), slice_str("off"), NULL);
    struct rig_range *five = rig_range(&rig, 2, "a", "b", STORES(2, 3, 1, 4, 5), 5);
    rig_run(&rig, 30);
    uint32_t steps = rig.steps;
    placement_set(rig.p, slice_str("require"), slice_str("disk=ssd"), NULL);
    placement_set(rig.p, slice_str("replicas"), slice_str("3"), NULL);
    struct rig_range *two = rig_range(&rig, 3, "b", "c", STORES(2, 3), 2);
    two->d.members[2] = (struct member){
        .replica_id = 900, .store_id = 1, .role = MEMBER_LEARNER, .address = slice_str("a:1")};
    two->d.member_count = 3;
    rig_run(&rig, 60);
    assert_true(rig_is_on(five, STORES(2, 3, 5), 3));
    assert_true(rig_is_on(two, STORES(2, 3, 5), 3));
    assert_int_equal(rig.steps - steps, 2 + 3); /* two go; one comes and is promoted, one goes */
    rig_fini(&rig);
}

static void test_spreads_over_places(void **state)
{
    (void)state;
    rig_init(&rig);
    static const char *const labels[] = {"zone=a", "zone=a", "zone=a", "zone=b", "zone=c"};
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        rig_join(&rig, labels[i]);
    struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 120);
    assert_true(rig_has(r, 4));
    assert_true(rig_has(r, 5));
    assert_int_equal(r->d.member_count, 3);
    rig_fini(&rig);
}

/* Two stores of one process are one node. */
static void test_never_two_on_a_node(void **state)
{
    (void)state;
    rig_init(&rig);
    static const char *const labels[] = {"node=1", "node=1", "node=1", "node=2"};
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        rig_join(&rig, labels[i]);
    struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1), 1);
    rig_run(&rig, 60);
    assert_int_equal(r->d.member_count, 1);
    uint64_t other = rig_join(&rig, "node=3");
    rig_run(&rig, 60);
    assert_int_equal(rig_voters(r), 3);
    assert_true(rig_has(r, 4) && rig_has(r, other));
    rig_fini(&rig);
}

/* Three nodes of two stores each have a replica of the range each: one may be moved within its
 * node. A fourth node joins before that has begun, and the move is not begun any more. */
static void test_no_second_on_a_node_by_then(void **state)
{
    (void)state;
    static const char *const labels[] = {"node=1", "node=2", "node=3", "node=1"};
    struct placement_operator_status status;
    for (int has_another = 0; has_another < 2; has_another++) {
        rig_init(&rig);
        for (size_t i = 0; i < ARRAY_LEN(labels); i++)
            rig_join(&rig, labels[i]);
        struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
        rig_run(&rig, 10);
        struct placement_command move = {
            .kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 1, .to_store = 4};
        assert_int_equal(rig_command(&rig, move, NULL), 0);
        assert_true(placement_operator_at(rig.p, rig.now_ms, 0, &status));
        rig.refuse = ERR_BUSY; /* the other node is there before the step is done */
        if (has_another)
            rig_join(&rig, "node=4");
        rig_run(&rig, 5);
        rig.refuse = 0;
        rig_run(&rig, 30);
        assert_true(placement_operator_status(rig.p, rig.now_ms, status.id, &status));
        assert_int_equal(status.outcome, has_another ? PLACEMENT_CANCELLED : PLACEMENT_DONE);
        assert_true(!has_another || strstr(status.said, "its node") != NULL);
        assert_int_equal(rig_has(r, 4), !has_another);
        rig_fini(&rig);
    }
}

/* Of one voter on a node with two stores one is moved within it, and then other nodes come: three
 * are wanted, and the move, which would take one, does not stand in their way. */
static void overtaken_move(bool is_promoted)
{
    struct placement_operator_status status;
    rig_init(&rig);
    rig_join(&rig, "node=1");
    rig_join(&rig, "node=1");
    struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1), 1);
    rig_run(&rig, 10);
    struct placement_command move = {
        .kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 1, .to_store = 2};
    assert_int_equal(rig_command(&rig, move, NULL), 0);
    assert_true(placement_operator_at(rig.p, rig.now_ms, 0, &status));
    uint64_t id = status.id;
    for (int i = 0; i < 5 && r->d.member_count == 1; i++)
        rig_run(&rig, 1);
    assert_int_equal(r->d.member_count, 2);
    r->stuck = is_promoted ? 0 : r->d.members[1].replica_id;
    for (int i = 0; i < 5 && is_promoted && rig_voters(r) == 1; i++)
        rig_run(&rig, 1);
    assert_int_equal(rig_voters(r), is_promoted ? 2 : 1);
    rig.refuse = ERR_BUSY; /* the other stores are there before the next step is done */
    rig_join(&rig, "node=2");
    rig_join(&rig, "node=3");
    rig_run(&rig, 3);
    assert_true(placement_operator_status(rig.p, rig.now_ms, id, &status));
    assert_int_equal(status.outcome, PLACEMENT_CANCELLED);
    assert_non_null(strstr(status.said, "3 voters"));
    assert_int_equal(r->d.member_count, 2); /* what it brought */
    rig.refuse = 0;
    r->stuck = 0;
    rig_run(&rig, 20);
    assert_int_equal(rig_voters(r), 3);
    assert_int_equal(r->d.member_count, 3);
    assert_true(rig_has(r, 3) && rig_has(r, 4));
    rig_fini(&rig);
}

static void test_overtaken_move(void **state)
{
    (void)state;
    overtaken_move(false);
    overtaken_move(true);
}

/* One voter is moved while a third node joins, or is down: there are two on the way, which are not
 * on the way to three. */
static void test_moves_one_of_two_nodes(void **state)
{
    (void)state;
    static const struct placement_command move = {
        .kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 1, .to_store = 2};
    for (int is_joining = 0; is_joining < 2; is_joining++) {
        rig_init(&rig);
        for (int i = 0; i < 3; i++)
            rig_join(&rig, "");
        rig.stores[2].is_silent = is_joining;
        rig_run(&rig, 10);
        rig.stores[2].is_silent = true;
        rig_run(&rig, is_joining ? 1 : 700);
        struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1), 1);
        rig_run(&rig, 10);
        assert_true(rig_is_on(r, STORES(1), 1));
        assert_int_equal(rig_command(&rig, move, NULL), 0);
        rig_run(&rig, 20);
        assert_true(rig_is_on(r, STORES(2), 1));
        rig.stores[2].is_silent = false;
        rig_run(&rig, 20);
        assert_int_equal(rig_voters(r), 3);
        rig_fini(&rig);
    }
}

/* The store is back before its replacement was begun anywhere: nobody needs that any more. */
static void test_back_before_it_is_replaced(void **state)
{
    struct rig_range *r;
    (void)state;
    make_five(&r);
    rig.stores[2].is_silent = true;
    rig.refuse = ERR_BUSY;
    rig_run(&rig, 620);
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3));
    struct placement_counts counts;
    placement_counts(rig.p, &counts);
    assert_int_equal(counts.operators, 1);
    rig.stores[2].is_silent = false;
    rig_run(&rig, 5);
    uint32_t steps = rig.steps;
    rig.refuse = 0;
    rig_run(&rig, 60);
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3));
    assert_int_equal(rig.steps, steps);
    rig_fini(&rig);
}

/* … however often that happens: nothing has failed, so what the range needs next is done at once,
 * and not after a rest. */
static void test_no_rest_as_it_is_back(void **state)
{
    struct rig_range *r;
    struct placement_counts counts;
    (void)state;
    make_five(&r);
    rig.refuse = ERR_BUSY;
    for (int times = 0; times < 4; times++) {
        rig.stores[2].is_silent = true;
        rig_run(&rig, 620);
        placement_counts(rig.p, &counts);
        assert_int_equal(counts.operators, 1);
        rig.stores[2].is_silent = false;
        for (int s = 0; s < 10 && counts.operators > 0; s++) {
            rig_run(&rig, 1);
            placement_counts(rig.p, &counts);
        }
        assert_int_equal(counts.operators, 0);
    }
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3));
    rig.refuse = 0;
    assert_int_equal(placement_wish(rig.p, 2, PLACEMENT_WISH_DECOMMISSION, NULL), 0);
    uint32_t steps = rig.steps;
    rig_run(&rig, 2);
    assert_true(rig.steps > steps);
    rig_run(&rig, 60);
    assert_false(rig_has(r, 2));
    assert_int_equal(rig_voters(r), 3);
    rig_fini(&rig);
}

/* Who insists on one voter less, while placement is paused, gets it, whoever leads. */
static void test_insists(void **state)
{
    struct rig_range *r;
    (void)state;
    make_five(&r);
    struct placement_command remove = {
        .kind = PLACEMENT_CMD_REMOVE_REPLICA, .range_id = 2, .from_store = 1};
    assert_int_equal(rig_command(&rig, remove, NULL), ERR_STATE);
    placement_pause(rig.p, true);
    assert_int_equal(rig_command(&rig, remove, NULL), 0);
    rig_run(&rig, 10);
    assert_true(rig_is_on(r, STORES(2, 3), 2));
    placement_pause(rig.p, false);
    rig_run(&rig, 30);
    assert_int_equal(rig_voters(r), 3);
    rig_fini(&rig);
}

/* The operator is lost with its driver: the learner that it left becomes what it was for. */
static void test_learner_left_behind(void **state)
{
    struct rig_range *r;
    (void)state;
    make_five(&r);
    r->d.members[3] = (struct member){
        .replica_id = 900, .store_id = 4, .role = MEMBER_LEARNER, .address = slice_str("a:1")};
    r->d.member_count = 4;
    r->d.conf_epoch++;
    rig_fail_over(&rig);
    rig_run(&rig, 30);
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3));
    rig_fini(&rig);
}

/* Between two and three voters a third node is lost: two copies stay two until it is said that it
 * does not come back. */
static void test_two_stay_two(void **state)
{
    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 3; i++)
        rig_join(&rig, "");
    struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    rig_run(&rig, 10);
    struct placement_command remove = {
        .kind = PLACEMENT_CMD_REMOVE_REPLICA, .range_id = 2, .from_store = 3};
    placement_pause(rig.p, true);
    assert_int_equal(rig_command(&rig, remove, NULL), 0);
    rig_run(&rig, 10);
    rig.stores[2].is_silent = true;
    rig_run(&rig, 10);
    placement_pause(rig.p, false);
    rig_run(&rig, 1000);
    assert_true(rig_is_on(r, STORES(1, 2), 2));
    assert_int_equal(placement_wish(rig.p, 3, PLACEMENT_WISH_DECOMMISSION, NULL), 0);
    rig_run(&rig, 60);
    assert_int_equal(rig_voters(r), 1); /* two are no place to rest */
    rig_fini(&rig);
}

/* The disk of the store that is to replace a lost one fills up before the learner has anything:
 * another store has room. */
static void test_full_learner(void **state)
{
    struct rig_range *r;
    (void)state;
    make_five(&r);
    rig.stores[2].is_silent = true;
    for (int i = 0; i < 1000 && r->d.member_count == 3; i++)
        rig_run(&rig, 1);
    assert_int_equal(r->d.member_count, 4);
    uint64_t full = r->d.members[3].store_id;
    assert_true(full == 4 || full == 5);
    r->stuck = r->d.members[3].replica_id;
    rig.stores[full - 1].space = PLACEMENT_SPACE_FULL;
    rig_run(&rig, 200);
    assert_true(rig_is_on(r, STORES(1, 2, 9 - full), 3));
    rig_fini(&rig);
}

/* One that replaces a dead voter is not waited for once its own store is down: another comes long
 * before the time of the step is over. */
static void test_lost_learner(void **state)
{
    struct rig_range *r;
    struct placement_operator_status status;
    (void)state;
    make_five(&r);
    assert_int_equal(placement_set(rig.p, slice_str("split"), slice_str("off"), NULL), 0);
    r->bytes = UINT64_C(8) << 30;
    rig_run(&rig, 5);
    rig.stores[2].is_silent = true;
    for (int i = 0; i < 1000 && r->d.member_count == 3; i++)
        rig_run(&rig, 1);
    assert_int_equal(r->d.member_count, 4);
    uint64_t lost = r->d.members[3].store_id;
    assert_true(lost == 4 || lost == 5);
    r->stuck = r->d.members[3].replica_id;
    assert_true(placement_operator_at(rig.p, rig.now_ms, 0, &status));
    rig.stores[lost - 1].is_silent = true;
    rig_run(&rig, 1200);
    assert_true(placement_operator_status(rig.p, rig.now_ms, status.id, &status));
    assert_int_equal(status.outcome, PLACEMENT_CANCELLED);
    assert_non_null(strstr(status.said, "store is down"));
    assert_true(rig_is_on(r, STORES(1, 2, 9 - lost), 3));
    rig_fini(&rig);
}

/* A learner that never catches up: the operator's time is over, and what it left goes. That the
 * log of a range which was just made is short does not make up for its data. */
static void stuck_learner(bool is_young)
{
    struct rig_range *r;
    struct placement_operator_status status;
    make_five(&r);
    r->is_young = is_young;
    struct placement_command move = {
        .kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = 3, .to_store = 5};
    assert_int_equal(rig_command(&rig, move, NULL), 0);
    assert_true(placement_operator_at(rig.p, rig.now_ms, 0, &status));
    rig_run(&rig, 1);
    r->stuck = r->d.members[3].replica_id;
    rig_run(&rig, 50);
    assert_int_equal(r->d.member_count, 4);
    assert_int_equal(rig_voters(r), 3);
    rig_run(&rig, 60);
    assert_true(rig_is_on(r, STORES(1, 2, 3), 3));
    assert_true(placement_history_at(rig.p, rig.now_ms, 1, &status));
    assert_int_equal(status.outcome, PLACEMENT_TIMED_OUT);
    rig_fini(&rig);
}

static void test_stuck_learner(void **state)
{
    (void)state;
    stuck_learner(false);
    stuck_learner(true);
}

/* Data comes slower than the first limit allows: each try is given longer, whatever goes well in
 * between, and the last one is long enough. */
static void test_slow_learner(void **state)
{
    enum { BYTES = 64 << 20, FIRST_MS = 60000 + BYTES / 1024 };
    struct rig_range *r;
    struct placement_operator_status status;
    struct placement_command hand_over = {.kind = PLACEMENT_CMD_TRANSFER, .range_id = 2};
    (void)state;
    make_five(&r);
    r->bytes = BYTES;
    r->learns_ms = 3 * FIRST_MS;
    assert_int_equal(placement_wish(rig.p, 1, PLACEMENT_WISH_DECOMMISSION, NULL), 0);
    uint32_t tries = 0;
    for (uint64_t came_ms = r->learner_ms; rig_has(r, 1) && tries < 10; came_ms = r->learner_ms) {
        rig_run(&rig, 1);
        tries += r->learner_ms != came_ms;
        hand_over.to_store = r->leader == r->d.members[1].replica_id ? 3 : 2;
        if (!placement_operator_at(rig.p, rig.now_ms, 0, &status) && rig_has(r, 1))
            assert_int_equal(rig_command(&rig, hand_over, NULL), 0);
    }
    assert_false(rig_has(r, 1));
    assert_int_equal(rig_voters(r), 3);
    assert_in_range(tries, 4, 6);
    rig_run(&rig, 10);
    /* one that comes soon: the next is given as long as the first was */
    uint64_t from = 0;
    uint64_t to = 0;
    for (uint64_t id = 2; id <= 5; id++)
        *(rig_has(r, id) ? &from : &to) = id;
    struct placement_command move = {
        .kind = PLACEMENT_CMD_MOVE, .range_id = 2, .from_store = from, .to_store = to};
    r->learns_ms = 0;
    assert_int_equal(rig_command(&rig, move, NULL), 0);
    rig_run(&rig, 10);
    assert_true(rig_has(r, to) && !rig_has(r, from));
    r->learns_ms = 3 * (uint64_t)FIRST_MS;
    move.from_store = to;
    move.to_store = from;
    assert_int_equal(rig_command(&rig, move, NULL), 0);
    rig_run(&rig, FIRST_MS / 1000 - 5);
    assert_true(placement_operator_at(rig.p, rig.now_ms, 0, &status));
    rig_run(&rig, 10);
    assert_true(placement_operator_status(rig.p, rig.now_ms, status.id, &status));
    assert_int_equal(status.outcome, PLACEMENT_TIMED_OUT);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_from_one),
        cmocka_unit_test(test_replaces_what_is_down),
        cmocka_unit_test(test_waits_for_a_restart),
        cmocka_unit_test(test_keeps_three_behind_a_loss),
        cmocka_unit_test(test_drains_and_decommissions),
        cmocka_unit_test(test_removes_what_surely_is_empty),
        cmocka_unit_test(test_a_removal_may_be_lost),
        cmocka_unit_test(test_drains_beside_a_loss),
        cmocka_unit_test(test_decommission_waits_for_a_place),
        cmocka_unit_test(test_a_slip_takes_nothing),
        cmocka_unit_test(test_leaves_where_it_can),
        cmocka_unit_test(test_spares_what_must_leave),
        cmocka_unit_test(test_spreads_over_places),
        cmocka_unit_test(test_never_two_on_a_node),
        cmocka_unit_test(test_no_second_on_a_node_by_then),
        cmocka_unit_test(test_overtaken_move),
        cmocka_unit_test(test_moves_one_of_two_nodes),
        cmocka_unit_test(test_back_before_it_is_replaced),
        cmocka_unit_test(test_no_rest_as_it_is_back),
        cmocka_unit_test(test_insists),
        cmocka_unit_test(test_learner_left_behind),
        cmocka_unit_test(test_two_stay_two),
        cmocka_unit_test(test_full_learner),
        cmocka_unit_test(test_lost_learner),
        cmocka_unit_test(test_stuck_learner),
        cmocka_unit_test(test_slow_learner),
    };
    return cmocka_run_group_tests_name("repair", tests, NULL, NULL);
}
