/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/map.h"

#include "base/rng.h"

enum { MODEL_KEYS = 64 };

/* A model that keeps the order of insertion in an array. */
struct model {
    uint64_t keys[MODEL_KEYS];
    void *values[MODEL_KEYS];
    size_t count;
};

static size_t model_find(const struct model *m, uint64_t key)
{
    size_t i = 0;
    while (i < m->count && m->keys[i] != key)
        i++;
    return i;
}

static void model_put(struct model *m, uint64_t key, void *value)
{
    size_t i = model_find(m, key);
    m->keys[i] = key;
    m->values[i] = value;
    m->count = MAX(m->count, i + 1);
}

static void *model_remove(struct model *m, uint64_t key)
{
    size_t i = model_find(m, key);
    if (i == m->count)
        return NULL;
    void *value = m->values[i];
    m->count--;
    memmove(&m->keys[i], &m->keys[i + 1], (m->count - i) * sizeof m->keys[0]);
    memmove(&m->values[i], &m->values[i + 1], (m->count - i) * sizeof m->values[0]);
    return value;
}

static void same(const struct map *map, const struct model *m)
{
    map_check(map);
    assert_int_equal(map->count, m->count);
    uint32_t cursor = 0;
    for (size_t i = 0; i < m->count; i++) {
        uint64_t key = 0;
        assert_ptr_equal(map_next(map, &cursor, &key), m->values[i]);
        assert_true(key == m->keys[i]);
        assert_ptr_equal(map_get(map, key), m->values[i]);
    }
    assert_null(map_next(map, &cursor, NULL));
}

static void test_against_model(void **state)
{
    (void)state;
    static char pool[256];
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct map map;
        struct model model = {0};
        struct rng rng;
        rng_init(&rng, seed);
        map_init(&map);
        for (int step = 0; step < 600; step++) {
            /* some keys far apart, some equal in their low bits */
            uint64_t key = rng_below(&rng, MODEL_KEYS) << (seed % 3 * 20);
            void *value = &pool[rng_below(&rng, sizeof pool)];
            if (rng_chance(&rng, 1, 2)) {
                assert_int_equal(map_put(&map, key, value), 0);
                model_put(&model, key, value);
            } else {
                assert_ptr_equal(map_remove(&map, key), model_remove(&model, key));
            }
            assert_null(map_get(&map, UINT64_MAX));
            if (step % 16 == 0)
                same(&map, &model);
        }
        same(&map, &model);
        map_fini(&map);
        map_fini(&map);
    }
}

static void test_remove_while_iterating(void **state)
{
    (void)state;
    struct map map;
    int value = 0;
    map_init(&map);
    for (uint64_t key = 0; key < 1000; key++)
        assert_int_equal(map_put(&map, key, &value), 0);
    uint32_t cursor = 0;
    uint64_t key = 0, want = 0;
    while (map_next(&map, &cursor, &key) != NULL) {
        assert_true(key == want++);
        assert_ptr_equal(map_remove(&map, key), &value);
    }
    assert_true(want == 1000);
    assert_int_equal(map.count, 0);
    map_check(&map);
    map_fini(&map);
}

/* Insert and remove for ever must not grow the arrays. */
static void test_churn_is_bounded(void **state)
{
    (void)state;
    struct map map;
    int value = 0;
    map_init(&map);
    for (uint64_t key = 0; key < 10000; key++) {
        assert_int_equal(map_put(&map, key, &value), 0);
        if (key >= 5)
            assert_non_null(map_remove(&map, key - 5));
    }
    assert_int_equal(map.count, 5);
    assert_in_range(map.cap, 5, 32);
    map_check(&map);
    map_fini(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_remove_while_iterating),
        cmocka_unit_test(test_churn_is_bounded),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
