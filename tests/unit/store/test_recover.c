/* SPDX-License-Identifier: Apache-2.0
 *
 * Unsafe recovery: one folder of three is left.
 */
#include <stdio.h>
#include <stdlib.h>

#include "consensus/consensus.h"
#include "range/range.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

static struct rig rig;

static size_t at; /* the node whose folder it is */

static struct {
    int calls;
    int status;
    int lines;
    int recovered;   /* of the lines */
    int ahead;       /* replicas that applied more than is known to be committed */
    int behind;      /* … and those that have more in their logs */
    uint64_t new_id; /* the first that was given */
    char text[RIG_TEXT_MAX];
} got;

static void on_line(void *data, const char *line)
{
    (void)data;
    const char *id = strstr(line, "under the new id ");
    if (id != NULL && got.new_id == 0)
        got.new_id = strtoull(id + strlen("under the new id "), NULL, 10);
    got.lines++;
    got.recovered += strstr(line, "goes on with replica") != NULL;
}

static void on_done(void *data, int status, const char *text)
{
    (void)data;
    const struct store *store = rig.stores[at];
    const struct replica *r;
    for (uint32_t i = 0; (r = replicas_by_span(&store->replicas, i)) != NULL; i++) {
        struct raftlog_group_state log;
        uint64_t applied = range_meta(r->range)->applied_index;
        assert_int_equal(raftlog_group_state(store->log, r->replica_id, &log), 0);
        got.ahead += applied > log.hint;
        got.behind += applied < log.last_index;
    }
    got.calls++;
    got.status = status;
    snprintf(got.text, sizeof got.text, "%s", text);
}

static struct store_recover asked = {
    .lost = {2, 3}, .lost_count = 2, .say = on_line, .done = on_done};

/* What store_open() said, or its outcome. -1: it died before. */
static int recover(bool is_plan, uint64_t dies_after)
{
    struct err err = {0};
    memset(&got, 0, sizeof got);
    asked.is_plan = is_plan;
    rig.options.recover = &asked;
    sim_node_restart(rig.nodes[at]);
    sim_node_crash_after(rig.nodes[at], dies_after);
    int rv = rig_start(&rig, at, &err);
    for (int i = 0; rv == 0 && i < 1000 && got.calls == 0 && !sim_node_is_dead(rig.nodes[at]); i++)
        rig_run(&rig, 10 * RIG_MS);
    bool is_dead = rv == 0 && sim_node_is_dead(rig.nodes[at]);
    if (rv == 0)
        rig_crash(&rig, at, SIM_CRASH_POWER);
    rig.options.recover = NULL;
    if (got.calls == 0)
        snprintf(got.text, sizeof got.text, "%s", err.msg);
    return rv != 0 ? rv : is_dead ? -1 : got.status;
}

/* Three stores with two ranges; each key acknowledged, the last ones flushed nowhere. Then all
 * are killed. */
static void open_lost(void)
{
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    size_t leader = rig_grow(&rig);
    rig_run(&rig, 15000 * RIG_MS);
    leader = rig_leader(&rig);
    rig_reconnect(&rig, leader);
    for (int i = 0; i < 20; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%02d", i);
        struct rig_answer *put = rig_put(&rig, leader, key, "kept", 5000);
        rig_run(&rig, 300 * RIG_MS);
        assert_int_equal(put->status, 0);
    }
    for (size_t i = 0; i < 3; i++)
        rig_crash(&rig, i, SIM_CRASH_POWER);
}

static void assert_serves(void)
{
    struct err err = {0};
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    for (int i = 0; i < 100 && rig_leader(&rig) != 0; i++)
        rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(rig_leader(&rig), 0);
    rig_run(&rig, 3000 * RIG_MS);
    struct rig_answer *first = rig_get(&rig, 0, "k00", 5000);
    struct rig_answer *last = rig_get(&rig, 0, "k19", 5000);
    struct rig_answer *put = rig_put(&rig, 0, "new", "life", 5000);
    rig_run(&rig, 1000 * RIG_MS);
    assert_string_equal(first->value, "kept");
    assert_string_equal(last->value, "kept");
    assert_int_equal(put->status, 0);
    assert_int_equal(rig_driver(&rig), 0);
    store_check(rig.stores[0]);
}

static void test_one_is_left(void **state)
{
    (void)state;
    open_lost();
    assert_int_equal(recover(true, 0), 0);
    assert_int_equal(got.recovered, 2); /* range 1, too */
    assert_int_equal(recover(false, 0), 0);
    assert_int_equal(got.recovered, 2);
    assert_int_equal(recover(false, 0), ERR_STATE); /* they have a majority now */
    assert_int_equal(got.recovered, 0);
    assert_serves();
    rig_close(&rig);
}

/* What it is told must be so: nothing is done for a wrong word. */
static void test_refused(void **state)
{
    (void)state;
    open_lost();
    asked.lost_count = 1;
    assert_int_equal(recover(false, 0), ERR_STATE);
    assert_int_equal(got.recovered, 0);
    assert_int_equal(got.ahead, 0); /* its majority may have decided otherwise */
    assert_true(got.behind > 0);
    asked.lost[0] = 1;
    assert_int_equal(recover(false, 0), ERR_INVALID);
    asked.lost[0] = 2;
    asked.lost_count = 2;
    struct err err = {0};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(rig_start(&rig, i, &err), 0);
    rig_run(&rig, 5000 * RIG_MS);
    assert_true(rig_leader(&rig) < 3); /* nothing was changed */
    rig_close(&rig);
}

/* It dies at each of its file calls, and is asked for again. */
static void test_power_is_lost(void **state)
{
    (void)state;
    bool has_ended = false;
    for (uint64_t n = 1; !has_ended; n++) {
        open_lost();
        int rv = recover(false, n);
        has_ended = rv == 0;
        if (!has_ended) {
            rv = recover(false, 0);
            if (rv == ERR_STATE)
                assert_non_null(strstr(got.text, "no range"));
            else
                assert_int_equal(rv, 0);
        }
        assert_serves();
        rig_close(&rig);
        assert_true(n < 200);
    }
}

/* Replica ids are unique in the cluster, whoever is recovered from which folder. */
static void test_other_folder(void **state)
{
    (void)state;
    open_lost();
    assert_int_equal(recover(true, 0), 0);
    uint64_t first = got.new_id;
    at = 1;
    asked.lost[0] = 1;
    assert_int_equal(recover(true, 0), 0);
    assert_int_equal(got.recovered, 2);
    assert_true(first > got.new_id + 1 || first + 1 < got.new_id);
    at = 0;
    asked.lost[0] = 2;
    rig_close(&rig);
}

static void on_log(struct raftlog_write *op)
{
    (void)op;
}

/* It was asked for other lost stores, and killed: the log that it made for an id is there, of a
 * range whose term was greater. */
static void test_asked_otherwise(void **state)
{
    (void)state;
    struct err err = {0};
    struct raftlog_write log = {
        .has_hard_state = true, .term = UINT64_C(1) << 40, .has_reset = true, .cb = on_log};
    open_lost();
    assert_int_equal(recover(true, 0), 0);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    log.group = got.new_id;
    log.base_index = log.base_term = log.term;
    raftlog_append(rig.stores[0]->log, &log);
    rig_run(&rig, 1000 * RIG_MS);
    rig_crash(&rig, 0, SIM_CRASH_POWER);
    assert_int_equal(recover(false, 0), 0);
    assert_int_equal(got.recovered, 2);
    assert_serves();
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_is_left),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_power_is_lost),   cmocka_unit_test(test_other_folder),
        cmocka_unit_test(test_asked_otherwise),
    };
    return cmocka_run_group_tests_name("recover", tests, NULL, NULL);
}
