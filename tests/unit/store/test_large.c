/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranges of one store that all have more large values to read than a turn copies.
 */
#include "base/rng.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

enum { RIGHT = 77, LARGE = 200 << 10, HEAVY_FROM = 1, HEAVY_TO = 4, UNDER_WAY = 8, OTHER = 4 };

static struct rig rig;

/* Two ranges on one store, cut at "m", with large values "a" and "x"; `aside_bytes`: as large ones
 * are copied off the loop. */
static void open_two(size_t aside_bytes)
{
    static char value[LARGE + 1];
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < LARGE; i++)
        value[i] = (char)(1 + rng_below(&rng, 255));
    rig_open(&rig, 1);
    rig.options.read_aside_bytes = aside_bytes;
    rig_start_cluster(&rig);
    struct rig_answer *a = rig_put(&rig, 0, "a", value, 5000);
    struct rig_answer *x = rig_put(&rig, 0, "x", value, 5000);
    rig_run(&rig, 500 * RIG_MS);
    struct rig_answer *split = rig_split(&rig, 0, "m", STORE_FIRST_RANGE_ID, RIGHT);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(a->status + x->status + split->status, 0);
    for (size_t c = HEAVY_FROM; c <= OTHER; c++)
        rig_connect_too(&rig, c, 0);
    rig_run(&rig, 20 * RIG_MS);
}

/* Three ask for the left one's again and again, one then for a few of the right one's: he is told
 * them in turn. Returns how many of the left's were answered meanwhile. */
static size_t few_beside_many(size_t few_count)
{
    enum { STEP_US = 200, STEPS = 20000, FEW_MAX = 8 };
    struct rig_answer *many[HEAVY_TO][UNDER_WAY] = {{NULL}}, *few[FEW_MAX];
    size_t answered = 0, left = few_count;
    assert_in_range(few_count, 1, FEW_MAX);
    for (int step = 0; left > 0; step++) {
        assert_in_range(step, 0, STEPS);
        for (size_t c = HEAVY_FROM; c < HEAVY_TO; c++) {
            for (size_t i = 0; i < UNDER_WAY; i++) {
                if (many[c][i] != NULL && many[c][i]->count == 0)
                    continue;
                assert_true(many[c][i] == NULL || many[c][i]->status == 0);
                answered += many[c][i] != NULL && step > UNDER_WAY;
                many[c][i] = rig_get(&rig, c, "a", 60000);
            }
        }
        for (size_t i = 0; step == UNDER_WAY && i < few_count; i++)
            few[i] = rig_get(&rig, OTHER, "x", 1000);
        rig_run(&rig, STEP_US);
        left = few_count;
        for (size_t i = 0; step >= UNDER_WAY && i < few_count; i++) {
            assert_true(few[i]->count == 0 || few[i]->status == 0);
            left -= (size_t)few[i]->count;
        }
    }
    return answered;
}

static void assert_in_turn(size_t aside_bytes)
{
    enum { FEW = 4, A_TURN = 2, ON_THEIR_WAY = 8, TURN_US = 2000 }; /* answers */
    open_two(aside_bytes);
    struct sim_options options = *sim_get_options(rig.sim);
    options.work_us_min = options.work_us_max = options.quantum_us = TURN_US;
    sim_set_options(rig.sim, &options);
    size_t many = few_beside_many(FEW);
    print_message("%zu of the one range beside %u of the other\n", many, (unsigned)FEW);
    assert_in_range(many, 1, (FEW + 1) * A_TURN + ON_THEIR_WAY);
    rig_run(&rig, 5000 * RIG_MS);
    rig_assert_answered(&rig);
    assert_true(list_is_empty(&rig.stores[0]->large.short_of));
    store_check(rig.stores[0]);
    rig_close(&rig);
}

static void test_ranges_in_turn(void **state)
{
    (void)state;
    assert_in_turn(SIZE_MAX);
}

static void test_ranges_in_turn_beside_the_loop(void **state)
{
    (void)state;
    assert_in_turn(LARGE);
}

/* Who is first in line has no more to read, for nobody waits for it any longer: the next one goes
 * on. */
static void test_first_has_none_left(void **state)
{
    enum { SOON_MS = 30, COUNT = 64 };
    struct rig_answer *first[COUNT], *second[COUNT];
    (void)state;
    open_two(LARGE);
    struct sim_options options = *sim_get_options(rig.sim);
    options.work_us_min = options.work_us_max = 20 * 1000;
    sim_set_options(rig.sim, &options);
    size_t done = 0, late = 0;
    for (size_t i = 0; i < COUNT; i++)
        first[i] = rig_get(&rig, HEAVY_FROM, "a", SOON_MS);
    rig_run(&rig, RIG_MS);
    for (size_t i = 0; i < COUNT / 4; i++)
        second[i] = rig_get(&rig, OTHER, "x", 5000);
    rig_run(&rig, 3000 * RIG_MS);
    for (size_t i = 0; i < COUNT; i++)
        late += first[i]->status == ERR_TIMEOUT;
    for (size_t i = 0; i < COUNT / 4; i++)
        done += second[i]->count == 1 && second[i]->status == 0;
    assert_in_range(late, 1, COUNT);
    assert_int_equal(done, COUNT / 4);
    assert_true(list_is_empty(&rig.stores[0]->large.short_of));
    rig_assert_answered(&rig);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_in_turn),
        cmocka_unit_test(test_ranges_in_turn_beside_the_loop),
        cmocka_unit_test(test_first_has_none_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
