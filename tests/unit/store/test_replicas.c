/* SPDX-License-Identifier: Apache-2.0 */
/* Which replica holds a key, and what a set of them refuses. */
#include <stdio.h>
#include <stdlib.h>

#include "env/sim/sim.h"
#include "lsm/lsm.h"
#include "range/range.h"
#include "store/replica.h"
#include "store/replicas.h"
#include "support/check.h"

enum { MADE_MAX = 16 };

struct world {
    struct sim *sim;
    struct lsm *lsm;
    struct env *env;
    struct replicas set;
    struct replica made[MADE_MAX];
    size_t count;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct lsm_options options;
    struct err err = {0};
    w->sim = sim_new(NULL, 1);
    w->env = sim_node_env(sim_node_new(w->sim, "a"));
    lsm_options_init(&options);
    if (lsm_open(&w->lsm, w->env, "db", &options, &err) != 0)
        fail_msg("%s", err.msg);
    replicas_init(&w->set);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    replicas_check(&w->set);
    replicas_fini(&w->set);
    env_stop(w->env);
    for (size_t i = 0; i < w->count; i++)
        range_free(w->made[i].range);
    lsm_free(w->lsm);
    sim_free(w->sim);
    free(w);
    return 0;
}

static struct replica *make(struct world *w, uint64_t replica_id, uint64_t range_id,
                            const char *start, const char *end)
{
    assert_true(w->count < MADE_MAX);
    struct replica *r = &w->made[w->count++];
    struct range_replica member = {
        .replica_id = replica_id, .store_id = 1, .role = RANGE_ROLE_VOTER};
    struct range_birth birth = {
        .range_id = range_id,
        .epoch = {.conf = 1, .span = 1},
        .span = {.start = slice_str(start), .end = slice_str(end)},
        .replicas = &member,
        .replica_count = 1,
        .index = 10,
        .term = 5,
        .conf = slice_str("conf"),
    };
    struct range_meta meta;
    range_meta_init(&meta);
    assert_int_equal(range_birth_meta(&birth, &meta, NULL), 0);
    assert_int_equal(range_new(w->env, w->lsm, replica_id, &meta, &r->range, NULL), 0);
    range_meta_fini(&meta);
    r->replica_id = replica_id;
    r->range_id = range_id;
    return r;
}

static int add(struct world *w, uint64_t replica_id, uint64_t range_id, const char *start,
               const char *end)
{
    return replicas_add(&w->set, make(w, replica_id, range_id, start, end), NULL);
}

static void test_a_key_finds_its_range(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *key;
        uint64_t want;       /* range whose span holds it; 0: none */
        uint64_t want_below; /* range that holds the keys just below it */
    } rows[] = {
        {"a", 0, 0}, {"b", 3, 0}, {"c", 3, 3},  {"d", 1, 3}, {"dd", 1, 1}, {"e", 0, 1},
        {"f", 0, 0}, {"g", 2, 0}, {"gz", 2, 2}, {"h", 0, 2}, {"i", 0, 0},
    };
    assert_int_equal(add(w, 11, 1, "d", "e"), 0);
    assert_int_equal(add(w, 12, 2, "g", "h"), 0);
    assert_int_equal(add(w, 13, 3, "b", "d"), 0);
    replicas_check(&w->set);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct replica *at = replicas_at_key(&w->set, slice_str(rows[i].key));
        const struct replica *below = replicas_below_key(&w->set, slice_str(rows[i].key));
        if ((at == NULL ? 0 : at->range_id) != rows[i].want ||
            (below == NULL ? 0 : below->range_id) != rows[i].want_below)
            fail_msg("key '%s'", rows[i].key);
    }
    assert_int_equal(replicas_get(&w->set, 13)->range_id, 3);
    assert_int_equal(replicas_of_range(&w->set, 2)->replica_id, 12);
    assert_null(replicas_get(&w->set, 1));
    assert_null(replicas_of_range(&w->set, 11));
    assert_int_equal(replicas_by_span(&w->set, 0)->range_id, 3);
    assert_null(replicas_by_span(&w->set, 3));
}

static void test_what_is_refused_changes_nothing(void **state)
{
    struct world *w = *state;
    assert_int_equal(add(w, 11, 1, "d", "f"), 0);
    assert_int_equal(add(w, 11, 2, "x", "y"), ERR_EXISTS); /* its id */
    assert_int_equal(add(w, 12, 1, "x", "y"), ERR_EXISTS); /* its range */
    assert_int_equal(add(w, 12, 2, "c", "da"), ERR_EXISTS);
    assert_int_equal(add(w, 12, 2, "e", "g"), ERR_EXISTS);
    assert_int_equal(add(w, 12, 2, "da", "e"), ERR_EXISTS);
    assert_int_equal(add(w, 12, 2, "a", "z"), ERR_EXISTS);
    assert_int_equal(replicas_count(&w->set), 1);
    assert_int_equal(add(w, 12, 2, "f", "g"), 0); /* beside it is fine */
    assert_int_equal(add(w, 13, 3, "a", "d"), 0);
}

static void test_removed_and_added_again(void **state)
{
    struct world *w = *state;
    uint32_t cursor = 0;
    uint64_t sum = 0;
    struct replica *r;
    for (uint64_t i = 1; i <= 6; i++) {
        char start[2] = {(char)('a' + (i * 5) % 7), 0};
        char end[2] = {(char)(start[0] + 1), 0};
        assert_int_equal(add(w, 10 + i, i, start, end), 0);
    }
    while ((r = replicas_each(&w->set, &cursor)) != NULL) {
        sum += r->range_id;
        if (r->range_id % 2 == 0)
            replicas_remove(&w->set, r);
    }
    assert_int_equal(sum, 21);
    assert_int_equal(replicas_count(&w->set), 3);
    assert_null(replicas_of_range(&w->set, 4));
    assert_int_equal(replicas_add(&w->set, &w->made[3], NULL), 0);
    assert_ptr_equal(replicas_of_range(&w->set, 4), &w->made[3]);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_key_finds_its_range),
        TEST(test_what_is_refused_changes_nothing),
        TEST(test_removed_and_added_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
