/* SPDX-License-Identifier: Apache-2.0
 *
 * Proposals that wait for their index to be applied, of several terms in which one replica led:
 * each write hears what became of it, whichever entry stands there in the end.
 */
#include <stdio.h>

#include "consensus/consensus.h"
#include "range/range.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

enum { AHEAD = 6, PATIENCE_MS = 60000 };

static struct rig rig;

static struct replica *first_range(size_t at)
{
    return replicas_of_range(&rig.stores[at]->replicas, STORE_FIRST_RANGE_ID);
}

static void cut_off(size_t at)
{
    for (size_t i = 0; i < rig.count; i++) {
        if (i != at)
            sim_net_partition(rig.sim, rig.nodes[at], rig.nodes[i], false);
    }
}

/* An entry each. */
static void put_each(size_t at, const char *prefix, size_t n, struct rig_answer **answers)
{
    for (size_t i = 0; i < n; i++) {
        char key[8];
        snprintf(key, sizeof key, "%s%zu", prefix, i);
        answers[i] = rig_put(&rig, at, key, "v", PATIENCE_MS);
        rig_run(&rig, 2 * RIG_MS);
    }
}

static void assert_answered(struct rig_answer *const *answers, size_t n, int status)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(answers[i]->count, 1);
        assert_int_equal(answers[i]->status, status);
    }
}

static void assert_value(size_t at, const char *key, const char *want)
{
    struct rig_answer *get = rig_get(&rig, at, key, 2000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(get->status, 0);
    assert_string_equal(get->value, want);
}

static void lead_at(size_t at)
{
    for (int tries = 0; tries < 50 && rig_leader(&rig) != at; tries++) {
        size_t now = rig_leader(&rig);
        if (now < rig.count)
            consensus_transfer(first_range(now)->cons, replica_now_ms(first_range(now)),
                               first_range(at)->replica_id);
        rig_run(&rig, 100 * RIG_MS);
    }
    assert_int_equal(rig_leader(&rig), at);
    rig_run(&rig, 300 * RIG_MS);
}

static size_t open_with_leader(void)
{
    rig_open(&rig, 3);
    rig.options.hibernate_after_ms = 0;
    return rig_start_cluster(&rig);
}

/* Entries far ahead of the commit are overwritten, and who proposed them leads again before the log
 * has come to their indexes: those of the new term stand among the old ones, each at its index. */
static void test_old_ones_ahead(void **state)
{
    (void)state;
    struct rig_answer *old[AHEAD], *new[AHEAD];
    size_t at = open_with_leader();
    cut_off(at);
    put_each(at, "old", AHEAD, old);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(old[AHEAD - 1]->count, 0); /* it may be committed yet */
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 1000 * RIG_MS);
    lead_at(at);
    assert_int_equal(old[AHEAD - 1]->count, 0); /* what stands there is not known yet */
    put_each(at, "new", AHEAD, new);
    rig_run(&rig, 1000 * RIG_MS);
    assert_answered(old, AHEAD, ERR_NOT_LEADER);
    assert_answered(new, AHEAD, 0);
    assert_true(list_is_empty(&first_range(at)->proposals));
    assert_value(at, "old5", "");
    assert_value(at, "new5", "v");
    rig_close(&rig);
}

/* Two at one index, the later one put there by hand: it takes five stores, and three leaders who
 * reach just the right ones, for the older of two to be committed. */
static void two_at_one_index(bool is_first_committed)
{
    struct rig_answer *puts[2];
    size_t at = open_with_leader();
    struct replica *r = first_range(at);
    cut_off(at);
    put_each(at, "k", 2, puts);
    assert_int_equal(r->proposal_count, 2);
    struct proposal *one = list_first(&r->proposals, struct proposal, in_proposals);
    struct proposal *two = list_entry(one->in_proposals.next, struct proposal, in_proposals);
    assert_true(one->index + 1 == two->index && one->term == two->term);
    if (is_first_committed) {
        two->index--;
        two->term++;
    } else {
        one->index++;
        one->term--;
    }
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 400 * RIG_MS);
    assert_int_equal(rig_leader(&rig), at);
    assert_answered(&puts[is_first_committed ? 0 : 1], 1, 0);
    assert_answered(&puts[is_first_committed ? 1 : 0], 1, ERR_NOT_LEADER);
    assert_true(list_is_empty(&r->proposals));
    assert_int_equal(r->proposal_count, 0);
    rig_close(&rig);
}

static void test_the_older_is_committed(void **state)
{
    (void)state;
    two_at_one_index(true);
}

static void test_the_younger_is_committed(void **state)
{
    (void)state;
    two_at_one_index(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_ones_ahead),
        cmocka_unit_test(test_the_older_is_committed),
        cmocka_unit_test(test_the_younger_is_committed),
    };
    return cmocka_run_group_tests_name("proposals", tests, NULL, NULL);
}
