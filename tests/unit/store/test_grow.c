/* SPDX-License-Identifier: Apache-2.0
 *
 * Clusters that grow from one store: founding, joining, addresses, replicas that spread by
 * themselves, and whoever must be refused.
 */
#include <stdio.h>
#include <stdlib.h>

#include "consensus/consensus.h"
#include "net/net_peer.h"
#include "range/range.h"
#include "store/identity.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

static uint32_t voters_of(const struct rig *rig, size_t i, uint64_t range_id)
{
    struct cons_status s;
    uint32_t voters = 0;
    if (rig->stores[i] == NULL || !store_cons_status(rig->stores[i], range_id, &s) ||
        s.state != CONS_LEADER)
        return 0;
    for (uint32_t k = 0; k < s.n_members; k++)
        voters += s.members[k].role == CONS_VOTER;
    return voters;
}

/* Whoever leads the range says that it has so many voters. */
static bool has_voters(const struct rig *rig, uint64_t range_id, uint32_t want)
{
    for (size_t i = 0; i < rig->count; i++) {
        if (voters_of(rig, i, range_id) == want)
            return true;
    }
    return false;
}

static void wait_voters(struct rig *rig, uint32_t want)
{
    for (int tries = 0; tries < 300; tries++) {
        if (has_voters(rig, RANGE_ID_SYSTEM, want) && has_voters(rig, STORE_FIRST_RANGE_ID, want))
            return;
        rig_run(rig, 100 * RIG_MS);
    }
    fail_msg("the ranges do not have %u voters", want);
}

static void put_get(struct rig *rig, const char *value)
{
    size_t leader = rig_leader(rig);
    assert_true(leader < rig->count);
    rig_reconnect(rig, leader);
    struct rig_answer *put = rig_put(rig, leader, "k", value, 5000);
    rig_run(rig, 1000 * RIG_MS);
    assert_int_equal(put->status, 0);
    struct rig_answer *get = rig_get(rig, leader, "k", 5000);
    rig_run(rig, 1000 * RIG_MS);
    assert_string_equal(get->value, value);
}

static void test_one_store_is_a_cluster(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 1);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    const struct identity *id = store_identity(rig.stores[0]);
    assert_int_equal(id->store_id, 1);
    assert_true(id->cluster_id != 0);
    assert_true(id->is_founder && id->is_born);
    put_get(&rig, "one");
    assert_int_equal(rig_driver(&rig), 0);
    uint64_t cluster = id->cluster_id;
    rig_crash(&rig, 0, SIM_CRASH_POWER);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(store_identity(rig.stores[0])->cluster_id, cluster);
    put_get(&rig, "two");
    rig_close(&rig);
}

static void test_three_have_three_replicas(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    wait_voters(&rig, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(store_identity(rig.stores[i])->store_id, i + 1);
    put_get(&rig, "three");
    /* Any one may die now; and who hosts placement is replaced within seconds. */
    size_t driver = rig_driver(&rig);
    assert_true(driver < 3);
    uint64_t term = store_placement_term(rig.stores[driver]);
    rig_crash(&rig, driver, SIM_CRASH_KILL);
    rig_run(&rig, 8000 * RIG_MS);
    size_t next = rig_driver(&rig);
    assert_true(next < 3 && next != driver);
    assert_true(store_placement_term(rig.stores[next]) > term);
    put_get(&rig, "two of three");
    rig_close(&rig);
}

/* The data of a range goes to two new members, no faster than it may, and not before its turn. */
static void test_snapshots_keep_their_rate(void **state)
{
    enum { VALUES = 64, VALUE_LEN = 32 << 10, RATE = 256 << 10 };
    struct rig rig;
    char key[16];
    char *value = calloc(1, VALUE_LEN + 1);
    (void)state;
    assert_non_null(value);
    memset(value, 'v', VALUE_LEN);
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    rig.options.snapshot_bytes_per_s = RATE;
    rig.options.log_kept_bytes = 0;
    assert_int_equal(rig_start(&rig, 0, NULL), 0);
    rig_run(&rig, 3000 * RIG_MS);
    for (int i = 0; i < VALUES; i++) {
        snprintf(key, sizeof key, "k%d", i);
        struct rig_answer *put = rig_put(&rig, 0, key, value, 5000);
        rig_run(&rig, 50 * RIG_MS);
        assert_int_equal(put->status, 0);
    }
    assert_int_equal(rig_start(&rig, 1, NULL), 0);
    assert_int_equal(rig_start(&rig, 2, NULL), 0);
    uint32_t passed_ms = 0;
    while (!has_voters(&rig, STORE_FIRST_RANGE_ID, 3) && passed_ms < 120000) {
        rig_run(&rig, 10 * RIG_MS);
        passed_ms += 10;
        assert_true(rig.stores[0]->snapshots_out <= STORE_SNAPSHOTS_OUT_MAX);
    }
    assert_true(has_voters(&rig, STORE_FIRST_RANGE_ID, 3));
    assert_true(passed_ms >= 2 * 1000 * (uint64_t)VALUES * VALUE_LEN / RATE);
    rig_run(&rig, 20000 * RIG_MS);
    assert_int_equal(rig.stores[0]->snapshots_out, 0);
    assert_true(list_is_empty(&rig.stores[0]->snapshots_waiting));
    rig_close(&rig);
    free(value);
}

/* All of them down, then up again: they find each other by their books. */
static void test_all_restart(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    wait_voters(&rig, 3);
    put_get(&rig, "before");
    rig_run(&rig, 3000 * RIG_MS);
    for (size_t i = 0; i < 3; i++)
        rig_crash(&rig, i, SIM_CRASH_POWER);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(rig_start(&rig, i, &err), 0);
    rig_run(&rig, 8000 * RIG_MS);
    put_get(&rig, "after");
    assert_true(rig_driver(&rig) < 3);
    rig_close(&rig);
}

/* A crash while joining: the same uuid gets the same id. */
static void test_a_join_may_be_repeated(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 2);
    rig_grow_begin(&rig);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    rig_run(&rig, 2000 * RIG_MS);
    for (uint64_t ms = 1; ms < 300; ms += ms < 40 ? 6 : 40) {
        if (rig_start(&rig, 1, &err) != 0)
            continue; /* it was killed before its folder was there */
        rig_run(&rig, ms * RIG_MS);
        rig_crash(&rig, 1, SIM_CRASH_POWER);
        sim_node_restart(rig.nodes[1]);
    }
    assert_int_equal(rig_start(&rig, 1, &err), 0);
    rig_run(&rig, 8000 * RIG_MS);
    assert_int_equal(store_state(rig.stores[1]), STORE_RUNNING);
    assert_int_equal(store_identity(rig.stores[1])->store_id, 2);
    rig_close(&rig);
}

/* A folder that was emptied is a new store, and no other's. */
static void remove_folder(struct env *env, const char *path)
{
    char **names;
    size_t count;
    assert_int_equal(env_dir_list(env, path, &names, &count, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        char file[ENV_PATH_MAX];
        uint64_t size;
        bool is_dir;
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        assert_int_equal(env_file_stat(env, file, &size, &is_dir, NULL), 0);
        if (is_dir)
            remove_folder(env, file);
        else
            assert_int_equal(env_file_unlink(env, file, NULL), 0);
    }
    free(names);
    assert_int_equal(env_dir_remove(env, path, NULL), 0);
}

static void test_a_wiped_folder_does_not_come_back(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    wait_voters(&rig, 3);
    rig_crash(&rig, 2, SIM_CRASH_KILL);
    sim_node_restart(rig.nodes[2]);
    remove_folder(sim_node_env(rig.nodes[2]), "data");
    assert_int_equal(rig_start(&rig, 2, &err), 0);
    rig_run(&rig, 8000 * RIG_MS);
    /* Its address is another store's as yet: it is told so, and ends. */
    bool is_refused = sim_node_is_dead(rig.nodes[2]);
    if (!is_refused)
        assert_int_not_equal(store_identity(rig.stores[2])->store_id, 3);
    else
        assert_non_null(
            strstr(sim_node_fatal_message(rig.nodes[2]), "does not let this store join"));
    put_get(&rig, "without it");
    rig_close(&rig);
}

static void copy_file(struct env *from, struct env *to, const char *path, uint64_t size)
{
    struct env_file *in, *out;
    size_t len = 0;
    uint8_t *raw = malloc(size + 1);
    assert_non_null(raw);
    assert_int_equal(env_file_open(from, path, ENV_OPEN_READ, &in, NULL), 0);
    assert_int_equal(
        env_file_open(to, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &out, NULL),
        0);
    if (size > 0)
        assert_int_equal(env_file_read(in, 0, raw, size, &len, NULL), 0);
    assert_int_equal(env_file_write(out, 0, raw, len, NULL), 0);
    assert_int_equal(env_file_sync(out, NULL), 0);
    env_file_close(in);
    env_file_close(out);
    free(raw);
}

static void copy_folder(struct env *from, struct env *to, const char *path)
{
    char **names;
    size_t count;
    assert_int_equal(env_dir_list(from, path, &names, &count, NULL), 0);
    assert_int_equal(env_dir_make(to, path, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        char file[ENV_PATH_MAX];
        uint64_t size;
        bool is_dir;
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        assert_int_equal(env_file_stat(from, file, &size, &is_dir, NULL), 0);
        if (is_dir)
            copy_folder(from, to, file);
        else
            copy_file(from, to, file, size);
    }
    free(names);
}

/* A copy hears what it is when it asks where everybody is, which it does when it has been silent
 * for a while: every twelve seconds, of one store after the other, the first time in vain. */
enum { COPY_ASKS_MS = 12000, COPY_ASKS_MAX = 8 };

/* A folder was copied while its store stood, and both are started: the copy ends, and who was
 * here first goes on, even if placement moves meanwhile. */
static void copy_ends(size_t of, uint32_t boots, bool has_new_driver)
{
    struct rig rig;
    struct err err = {0};
    rig_open(&rig, 4);
    rig_grow_begin(&rig);
    rig.count = 3;
    rig_grow(&rig);
    wait_voters(&rig, 3);
    rig_crash(&rig, of, SIM_CRASH_KILL);
    sim_node_restart(rig.nodes[of]);
    copy_folder(sim_node_env(rig.nodes[of]), sim_node_env(rig.nodes[3]), "data");
    assert_int_equal(rig_start(&rig, of, &err), 0);
    rig_run(&rig, 10000 * RIG_MS);
    size_t driver = rig_driver(&rig);
    rig.count = of == 0 ? 0 : 4; /* of a founder: without seeds */
    for (uint32_t i = 0; i < boots; i++) {
        rig_crash(&rig, 3, SIM_CRASH_KILL);
        assert_int_equal(rig_start(&rig, 3, &err), 0);
    }
    rig.count = 4;
    rig_run(&rig, 500 * RIG_MS);
    if (has_new_driver) {
        assert_true(driver < 3 && driver != of);
        rig_crash(&rig, driver, SIM_CRASH_KILL);
        assert_int_equal(rig_start(&rig, driver, &err), 0);
    }
    for (int i = 0; i < COPY_ASKS_MAX && !sim_node_is_dead(rig.nodes[3]); i++)
        rig_run(&rig, COPY_ASKS_MS * RIG_MS);
    assert_true(sim_node_is_dead(rig.nodes[3]));
    assert_non_null(strstr(sim_node_fatal_message(rig.nodes[3]), "this folder is a copy"));
    rig_run(&rig, 20000 * RIG_MS);
    assert_false(sim_node_is_dead(rig.nodes[of]));
    rig_close(&rig);
}

static void test_a_copy_ends(void **state)
{
    (void)state;
    copy_ends(2, 1, false); /* they even count their boots alike */
    copy_ends(2, 2, false);
    copy_ends(2, 1, true);
    copy_ends(0, 1, false); /* that of the founder, who knows no seeds */
}

static struct rig_answer *ask_placement(struct rig *rig, size_t i, enum placement_verb verb)
{
    struct request request = {
        .kind = REQUEST_PLACEMENT, .timeout_ms = 60000, .placement = {.verb = verb}};
    return rig_ask(rig, i, &request);
}

static void slow_disk(struct rig *rig, size_t i, uint64_t sync_us)
{
    struct sim_disk_options options = {.sync_us = sync_us};
    sim_disk_set_options(sim_node_disk(rig->nodes[i]), &options);
}

/* A write of placement whose time is over is durable in the end: who hosts placement then
 * knows of it, though it is the same term. */
static void test_a_late_write_is_not_overlooked(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    rig_run(&rig, 3000 * RIG_MS);
    uint64_t term = store_placement_term(rig.stores[0]);
    slow_disk(&rig, 0, 30000 * RIG_MS);
    ask_placement(&rig, 0, VERB_PAUSE);
    rig_run(&rig, 25000 * RIG_MS);
    slow_disk(&rig, 0, 0);
    rig_run(&rig, 40000 * RIG_MS);
    rig_reconnect(&rig, 0);
    struct rig_answer *status = ask_placement(&rig, 0, VERB_STATUS);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(store_placement_term(rig.stores[0]), term);
    assert_non_null(strstr(status->value, "paused 1 "));
    rig_close(&rig);
}

/* The founder's own row may take its time: it does not take itself for a store that was
 * removed. */
static void test_a_founder_waits_for_its_row(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 1);
    rig_grow_begin(&rig);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    while (store_state(rig.stores[0]) != STORE_RUNNING)
        rig_run(&rig, RIG_MS);
    slow_disk(&rig, 0, 12000 * RIG_MS);
    rig_run(&rig, 90000 * RIG_MS);
    if (sim_node_is_dead(rig.nodes[0]))
        fail_msg("%s", sim_node_fatal_message(rig.nodes[0]));
    slow_disk(&rig, 0, 0);
    rig_run(&rig, 20000 * RIG_MS);
    assert_int_equal(rig_driver(&rig), 0);
    rig_close(&rig);
}

/* What an operator hears was done outlives who hosts placement. */
static void test_a_word_is_durable_when_answered(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    wait_voters(&rig, 3);
    rig_run(&rig, 3000 * RIG_MS);
    size_t driver = rig_driver(&rig);
    assert_true(driver < 3);
    rig_reconnect(&rig, driver);
    sim_net_partition(rig.sim, rig.nodes[driver], rig.nodes[(driver + 1) % 3], false);
    sim_net_partition(rig.sim, rig.nodes[driver], rig.nodes[(driver + 2) % 3], false);
    struct rig_answer *lost = ask_placement(&rig, driver, VERB_PAUSE);
    rig_run(&rig, 8000 * RIG_MS);
    assert_true(lost->count == 0 || lost->status != 0);
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 25000 * RIG_MS);
    assert_int_equal(lost->count, 1);
    assert_int_equal(lost->status, ERR_UNDETERMINED);
    driver = rig_driver(&rig);
    assert_true(driver < 3);
    rig_reconnect(&rig, driver);
    struct rig_answer *kept = ask_placement(&rig, driver, VERB_PAUSE);
    while (kept->count == 0)
        rig_run(&rig, RIG_MS);
    assert_int_equal(kept->status, 0);
    rig_crash(&rig, driver, SIM_CRASH_POWER);
    assert_int_equal(rig_start(&rig, driver, &err), 0);
    rig_run(&rig, 8000 * RIG_MS);
    driver = rig_driver(&rig);
    assert_true(driver < 3);
    rig_reconnect(&rig, driver);
    struct rig_answer *status = ask_placement(&rig, driver, VERB_STATUS);
    rig_run(&rig, 1000 * RIG_MS);
    assert_non_null(strstr(status->value, "paused 1 "));
    rig_close(&rig);
}

static struct rig_answer *ask_keyspace(struct rig *rig, size_t i, enum placement_verb verb)
{
    struct request request = {
        .kind = REQUEST_PLACEMENT,
        .timeout_ms = 5000,
        .placement = {.verb = verb, .name = slice_str("k"), .value = slice_str("retention=1h")}};
    return rig_ask(rig, i, &request);
}

/* Nor does anybody hear of what another asked for before it is durable: it may be lost yet. */
static void test_a_word_is_durable_when_told_of(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    wait_voters(&rig, 3);
    rig_run(&rig, 3000 * RIG_MS);
    size_t driver = rig_driver(&rig);
    assert_true(driver < 3);
    rig_reconnect(&rig, driver);
    for (size_t i = 1; i < 3; i++)
        sim_net_partition(rig.sim, rig.nodes[driver], rig.nodes[(driver + i) % 3], false);
    struct rig_answer *lost = ask_keyspace(&rig, driver, VERB_KEYSPACE_CREATE);
    rig_run(&rig, 20 * RIG_MS);
    assert_int_equal(lost->count, 0);
    static const enum placement_verb others[] = {VERB_KEYSPACE_CREATE, VERB_KEYSPACE_ALTER,
                                                 VERB_KEYSPACE_FORGET, VERB_KEYSPACES};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct rig_answer *other = ask_keyspace(&rig, driver, others[i]);
        rig_run(&rig, 20 * RIG_MS);
        assert_true(other->count == 0 || other->status == ERR_BUSY);
    }
    rig_run(&rig, 8000 * RIG_MS);
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 25000 * RIG_MS);
    driver = rig_driver(&rig);
    assert_true(driver < 3);
    rig_reconnect(&rig, driver);
    struct rig_answer *made = ask_keyspace(&rig, driver, VERB_KEYSPACE_CREATE);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(made->count, 1);
    assert_int_equal(made->status, 0); /* what the other one asked for is lost */
    struct rig_answer *again = ask_keyspace(&rig, driver, VERB_KEYSPACE_CREATE);
    struct rig_answer *shown = ask_keyspace(&rig, driver, VERB_KEYSPACES);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(again->status, ERR_EXISTS);
    assert_int_equal(shown->status, 0);
    assert_non_null(strstr(shown->value, "k "));
    rig_close(&rig);
}

static struct rig_answer *ask_store(struct rig *rig, enum placement_verb verb, uint64_t store_id)
{
    struct request request = {.kind = REQUEST_PLACEMENT,
                              .timeout_ms = 60000,
                              .placement = {.verb = verb, .id = store_id}};
    return rig_ask(rig, 0, &request);
}

/* A removal that may be lost yet is no reason to say that there is no such store. */
static void test_a_removal_is_durable_when_told_of(void **state)
{
    static const enum placement_verb others[] = {VERB_REMOVE_STORE, VERB_DRAIN, VERB_UNDRAIN,
                                                 VERB_DECOMMISSION};
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 2);
    rig_grow_begin(&rig);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    rig_run(&rig, 3000 * RIG_MS);
    ask_placement(&rig, 0, VERB_PAUSE); /* nothing comes to the other */
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(rig_start(&rig, 1, &err), 0);
    rig_run(&rig, 5000 * RIG_MS);
    assert_int_equal(store_state(rig.stores[1]), STORE_RUNNING);
    slow_disk(&rig, 0, 1000 * RIG_MS);
    struct rig_answer *removed = ask_store(&rig, VERB_REMOVE_STORE, 2);
    rig_run(&rig, 20 * RIG_MS);
    assert_int_equal(removed->count, 0);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct rig_answer *other = ask_store(&rig, others[i], 2);
        rig_run(&rig, 20 * RIG_MS);
        assert_int_equal(other->count, 1);
        assert_int_equal(other->status, ERR_BUSY);
    }
    assert_int_equal(removed->count, 0);
    slow_disk(&rig, 0, 0);
    rig_run(&rig, 5000 * RIG_MS);
    assert_int_equal(removed->status, 0);
    struct rig_answer *again = ask_store(&rig, VERB_REMOVE_STORE, 2);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(again->status, ERR_NOT_FOUND);
    rig_close(&rig);
}

/* All books are lost at once, while nobody runs: the members of range 1 find each other by what
 * they have of it, and the others by them. */
static void test_all_books_are_lost(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 4);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    wait_voters(&rig, 3);
    put_get(&rig, "before");
    rig_run(&rig, 5000 * RIG_MS);
    for (size_t i = 0; i < 4; i++)
        rig_crash(&rig, i, SIM_CRASH_POWER);
    for (size_t i = 0; i < 4; i++) {
        sim_node_restart(rig.nodes[i]);
        assert_int_equal(env_file_unlink(sim_node_env(rig.nodes[i]), "data/BOOK", &err), 0);
        assert_int_equal(rig_start(&rig, i, &err), 0);
    }
    for (int s = 0; rig_driver(&rig) == 4; s++) {
        assert_true(s < 60);
        rig_run(&rig, 1000 * RIG_MS);
    }
    rig_run(&rig, 15000 * RIG_MS);
    put_get(&rig, "after");
    rig_close(&rig);
}

/* The secret is asked for before anything else. */
static void test_a_wrong_secret(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 2);
    rig_grow_begin(&rig);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    rig_run(&rig, 2000 * RIG_MS);
    rig.options.secret = slice_str("another secret");
    assert_int_equal(rig_start(&rig, 1, &err), 0);
    rig_run(&rig, 3000 * RIG_MS);
    assert_true(sim_node_is_dead(rig.nodes[1]));
    assert_non_null(strstr(sim_node_fatal_message(rig.nodes[1]), "secret"));
    rig_close(&rig);
}

/* Clients may neither read nor write what placement keeps, nor join. */
static void test_clients_stay_out(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 1);
    rig_grow_begin(&rig);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    rig_run(&rig, 2000 * RIG_MS);
    struct request scan = {.kind = REQUEST_SCAN,
                           .scan = {.read = {.keyspace = RANGE_KEYSPACE_SYSTEM}}};
    struct request get = {
        .kind = REQUEST_GET,
        .get = {.read = {.keyspace = RANGE_KEYSPACE_SYSTEM}, .key = slice_str("placement/x")}};
    struct request join = {.kind = REQUEST_JOIN, .join = {.address = slice_str("b:1")}};
    struct request split = {.kind = REQUEST_SPLIT,
                            .range_id = RANGE_ID_SYSTEM,
                            .span_epoch = 1,
                            .split = {.key = slice_str("\x01"
                                                       "x"),
                                      .conf_epoch = 1,
                                      .new_range_id = 9,
                                      .child_count = 1,
                                      .children = {{1, 9}}}};
    /* Nor does a client give ids to ranges and replicas: placement would give them again. */
    struct request own_ids = split;
    own_ids.range_id = 2;
    own_ids.split.key = slice_str("\x02"
                                  "x");
    struct rig_answer *answers[] = {rig_ask(&rig, 0, &scan), rig_ask(&rig, 0, &get),
                                    rig_ask(&rig, 0, &join), rig_ask(&rig, 0, &split),
                                    rig_ask(&rig, 0, &own_ids)};
    static const int want[] = {ERR_INVALID, ERR_INVALID, ERR_UNAUTHORIZED, ERR_INVALID,
                               ERR_INVALID};
    rig_run(&rig, 1000 * RIG_MS);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        assert_int_equal(answers[i]->count, 1);
        assert_int_equal(answers[i]->status, want[i]);
    }
    rig_close(&rig);
}

/* The founder dies before its book tells of who has joined: its cluster map does. */
static void test_who_joined_is_recalled(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    rig_crash(&rig, 0, SIM_CRASH_KILL);
    sim_node_restart(rig.nodes[0]);
    assert_int_equal(env_file_unlink(sim_node_env(rig.nodes[0]), "data/BOOK", NULL), 0);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    wait_voters(&rig, 3);
    put_get(&rig, "all are here");
    rig_close(&rig);
}

/* The founder has no seeds, and its book is lost while another leads range 1: whoever dials it
 * tells where to ask. */
static void test_a_lost_book_is_told_again(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    wait_voters(&rig, 3);
    rig_run(&rig, 3000 * RIG_MS);
    rig_crash(&rig, 0, SIM_CRASH_KILL);
    rig_run(&rig, 5000 * RIG_MS);
    assert_true(rig_driver(&rig) == 1 || rig_driver(&rig) == 2);
    sim_node_restart(rig.nodes[0]);
    assert_int_equal(env_file_unlink(sim_node_env(rig.nodes[0]), "data/BOOK", NULL), 0);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    rig_run(&rig, 10000 * RIG_MS);
    assert_non_null(book_find(&rig.stores[0]->book, 2));
    assert_non_null(book_find(&rig.stores[0]->book, 3));
    /* It is needed again, and serves. */
    rig_crash(&rig, rig_driver(&rig), SIM_CRASH_KILL);
    rig_run(&rig, 5000 * RIG_MS);
    size_t leader = rig_leader(&rig);
    assert_true(leader < 3);
    rig_reconnect(&rig, leader);
    struct rig_answer *put = rig_put(&rig, leader, "k", "v", 2000);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(put->status, 0);
    rig_close(&rig);
}

/* Nodes 1 and 2 hear of nobody but each other. */
static void cut_off_two(struct rig *rig, bool is_cut)
{
    for (size_t k = 0; k < rig->count; k++) {
        for (size_t i = 1; i <= 2 && (k < 1 || k > 2); i++) {
            if (is_cut)
                sim_net_partition(rig->sim, rig->nodes[i], rig->nodes[k], false);
            else
                sim_net_heal(rig->sim, rig->nodes[i], rig->nodes[k]);
        }
    }
}

/* A store's book is lost that has nothing of range 1, and who dials it first knows but a part of
 * the cluster, and remains alone: whoever dials later is asked, too. */
static void test_a_stale_book_is_not_the_last_word(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 5);
    rig_grow_begin(&rig);
    for (size_t i = 0; i <= 2; i++) {
        assert_int_equal(rig_start(&rig, i, &err), 0);
        rig_run(&rig, 300 * RIG_MS);
        while (store_state(rig.stores[i]) != STORE_RUNNING)
            rig_run(&rig, RIG_MS);
        assert_int_equal(store_identity(rig.stores[i])->store_id, i + 1);
        if (i == 0)
            rig_run(&rig, 2000 * RIG_MS);
    }
    while (book_find(&rig.stores[2]->book, 2) == NULL)
        rig_run(&rig, RIG_MS);
    for (size_t i = 1; i <= 2; i++)
        rig_crash(&rig, i, SIM_CRASH_KILL);
    rig_run(&rig, 10000 * RIG_MS); /* nothing is placed there */
    for (size_t i = 3; i < rig.count; i++) {
        assert_int_equal(rig_start(&rig, i, &err), 0);
        rig_run(&rig, 2000 * RIG_MS);
    }
    wait_voters(&rig, 3);
    rig_run(&rig, 3000 * RIG_MS);
    cut_off_two(&rig, true);
    sim_node_restart(rig.nodes[1]);
    assert_int_equal(env_file_unlink(sim_node_env(rig.nodes[1]), "data/BOOK", NULL), 0);
    assert_int_equal(rig_start(&rig, 1, &err), 0);
    assert_int_equal(rig_start(&rig, 2, &err), 0);
    rig_run(&rig, 15000 * RIG_MS);
    assert_null(replicas_of_range(&rig.stores[1]->replicas, RANGE_ID_SYSTEM));
    assert_non_null(book_find(&rig.stores[1]->book, 3));
    assert_null(book_find(&rig.stores[1]->book, 4));
    cut_off_two(&rig, false);
    rig_run(&rig, 30000 * RIG_MS);
    for (uint64_t store_id = 3; store_id <= rig.count; store_id++)
        assert_non_null(book_find(&rig.stores[1]->book, store_id));
    rig_close(&rig);
}

/* The disk is full: placement waits for room, and does not begin again and again. */
static void test_it_waits_for_room(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 2);
    rig_grow_begin(&rig);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(rig_driver(&rig), 0);
    struct sim_disk *disk = sim_node_disk(rig.nodes[0]);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + ((uint64_t)64 << 20));
    rig_run(&rig, 600 * RIG_MS);
    assert_int_equal(rig_start(&rig, 1, &err), 0);
    for (int i = 0; i < 300; i++) {
        rig_run(&rig, 10 * RIG_MS);
        assert_int_equal(rig_driver(&rig), 0);
    }
    assert_int_not_equal(store_state(rig.stores[1]), STORE_RUNNING);
    sim_disk_set_capacity(disk, SIM_DISK_CAPACITY_DEFAULT);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(store_state(rig.stores[1]), STORE_RUNNING);
    rig_close(&rig);
}

/* Not even deletes go on; but another store joins, is given replicas, and leads. */
static void test_a_full_cluster_grows(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 3);
    rig_grow_begin(&rig);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    rig_run(&rig, 3000 * RIG_MS);
    struct sim_disk *disk = sim_node_disk(rig.nodes[0]);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + ((uint64_t)240 << 20));
    rig_run(&rig, 600 * RIG_MS);
    struct rig_answer *del = rig_delete(&rig, 0, "k");
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(del->status, ERR_NO_SPACE);
    assert_int_equal(rig_start(&rig, 1, &err), 0);
    assert_int_equal(rig_start(&rig, 2, &err), 0);
    wait_voters(&rig, 3);
    rig_run(&rig, 15000 * RIG_MS);
    assert_int_not_equal(rig_leader(&rig), 0);
    put_get(&rig, "on those that have room");
    rig_close(&rig);
}

/* Whoever was removed hears of it, ends, and is nobody's peer any more. */
static void test_the_removed_is_forgotten(void **state)
{
    struct rig rig;
    struct err err = {0};
    (void)state;
    rig_open(&rig, 4);
    rig_grow_begin(&rig);
    rig_grow(&rig);
    wait_voters(&rig, 3);
    rig_run(&rig, 3000 * RIG_MS);
    size_t gone = 3;
    uint64_t store_id = store_identity(rig.stores[gone])->store_id;
    size_t driver = rig_driver(&rig);
    struct request request = {.kind = REQUEST_PLACEMENT,
                              .placement = {.verb = VERB_DECOMMISSION, .id = store_id}};
    assert_true(driver < rig.count);
    rig_reconnect(&rig, driver);
    struct rig_answer *word = rig_ask(&rig, driver, &request);
    for (int tries = 0; tries < 600 && !sim_node_is_dead(rig.nodes[gone]); tries++)
        rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(word->status, 0);
    assert_true(sim_node_is_dead(rig.nodes[gone]));
    assert_non_null(strstr(sim_node_fatal_message(rig.nodes[gone]), "it was removed"));
    rig_run(&rig, 8000 * RIG_MS);
    for (size_t i = 0; i < rig.count; i++) {
        if (i == gone)
            continue;
        assert_true(book_find(&rig.stores[i]->book, store_id)->is_removed);
        assert_null(net_peer_find(rig.stores[i]->net, store_id));
    }
    /* It is started once more: whom it asks where everybody is tells it. */
    rig_crash(&rig, gone, SIM_CRASH_KILL);
    assert_int_equal(rig_start(&rig, gone, &err), 0);
    rig_run(&rig, 20000 * RIG_MS);
    assert_true(sim_node_is_dead(rig.nodes[gone]));
    assert_non_null(strstr(sim_node_fatal_message(rig.nodes[gone]), "removed from this cluster"));
    put_get(&rig, "without it");
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_store_is_a_cluster),
        cmocka_unit_test(test_three_have_three_replicas),
        cmocka_unit_test(test_snapshots_keep_their_rate),
        cmocka_unit_test(test_all_restart),
        cmocka_unit_test(test_a_join_may_be_repeated),
        cmocka_unit_test(test_a_wiped_folder_does_not_come_back),
        cmocka_unit_test(test_a_copy_ends),
        cmocka_unit_test(test_a_late_write_is_not_overlooked),
        cmocka_unit_test(test_a_founder_waits_for_its_row),
        cmocka_unit_test(test_a_word_is_durable_when_answered),
        cmocka_unit_test(test_a_word_is_durable_when_told_of),
        cmocka_unit_test(test_a_removal_is_durable_when_told_of),
        cmocka_unit_test(test_all_books_are_lost),
        cmocka_unit_test(test_who_joined_is_recalled),
        cmocka_unit_test(test_a_lost_book_is_told_again),
        cmocka_unit_test(test_a_stale_book_is_not_the_last_word),
        cmocka_unit_test(test_it_waits_for_room),
        cmocka_unit_test(test_a_full_cluster_grows),
        cmocka_unit_test(test_the_removed_is_forgotten),
        cmocka_unit_test(test_a_wrong_secret),
        cmocka_unit_test(test_clients_stay_out),
    };
    return cmocka_run_group_tests_name("grow", tests, NULL, NULL);
}
