/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/rng.h"
#include "env/uv/env_uv.h"
#include "support/check.h"

enum { TIMERS = 500 };

struct fixture {
    struct env *env;
    struct env_timer timers[TIMERS];
    size_t order[TIMERS * 2]; /* which fired, in order */
    size_t fired;
    size_t wanted;
    size_t repeats_left;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(env_uv_new(NULL, &f->env, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    env_stop(f->env);
    env_uv_free(f->env);
    free(f);
    return 0;
}

static void on_timer(struct env_timer *timer)
{
    struct fixture *f = timer->data;
    assert_false(env_timer_is_active(timer));
    assert_true(env_now_us(f->env) >= timer->due_us);
    f->order[f->fired++] = (size_t)(timer - f->timers);
    if (f->fired == f->wanted)
        env_uv_quit(f->env);
}

static void test_fire_in_order_of_due_time_then_of_start(void **state)
{
    struct fixture *f = *state;
    uint64_t base_us = env_now_us(f->env) + 1000;
    struct rng rng;
    rng_init(&rng, 7);
    for (size_t i = 0; i < TIMERS; i++) {
        env_timer_init(&f->timers[i], f->env, on_timer, f);
        env_timer_start_at(&f->timers[i], base_us + rng_below(&rng, 40) * 250);
    }
    f->wanted = TIMERS;
    env_uv_run(f->env);
    for (size_t i = 1; i < TIMERS; i++) {
        const struct env_timer *a = &f->timers[f->order[i - 1]];
        const struct env_timer *b = &f->timers[f->order[i]];
        assert_true(a->due_us < b->due_us || (a->due_us == b->due_us && a < b));
    }
}

static void test_stopped_and_restarted_timers_do_as_told(void **state)
{
    struct fixture *f = *state;
    struct rng rng;
    rng_init(&rng, 11);
    for (size_t i = 0; i < TIMERS; i++) {
        env_timer_init(&f->timers[i], f->env, on_timer, f);
        env_timer_start(&f->timers[i], rng_below(&rng, 10000));
    }
    for (size_t i = 0; i < TIMERS; i++) {
        if (i % 3 == 0) {
            env_timer_stop(&f->timers[i]);
            assert_false(env_timer_is_active(&f->timers[i]));
            env_timer_stop(&f->timers[i]); /* harmless */
        } else if (i % 3 == 1) {
            env_timer_start(&f->timers[i], rng_below(&rng, 10000));
        } else {
            f->wanted++;
        }
        f->wanted += i % 3 == 1;
    }
    env_uv_run(f->env);
    assert_int_equal(f->fired, f->wanted);
    for (size_t i = 0; i < f->fired; i++)
        assert_int_not_equal(f->order[i] % 3, 0);
}

static void on_repeat(struct env_timer *timer)
{
    struct fixture *f = timer->data;
    f->fired++;
    if (f->repeats_left-- > 0)
        env_timer_start(timer, 0);
    else
        env_uv_quit(f->env);
}

static void test_restart_from_the_callback_fires_in_a_later_turn(void **state)
{
    struct fixture *f = *state;
    f->repeats_left = 20;
    env_timer_init(&f->timers[0], f->env, on_repeat, f);
    env_timer_start(&f->timers[0], 0);
    env_uv_run(f->env);
    assert_int_equal(f->fired, 21);
}

static void on_stop_other(struct env_timer *timer)
{
    struct fixture *f = timer->data;
    env_timer_stop(&f->timers[1]);
    f->fired++;
}

static void test_a_timer_can_stop_another_that_is_due_too(void **state)
{
    struct fixture *f = *state;
    uint64_t due_us = env_now_us(f->env);
    env_timer_init(&f->timers[0], f->env, on_stop_other, f);
    env_timer_init(&f->timers[1], f->env, on_timer, f);
    env_timer_init(&f->timers[2], f->env, on_timer, f);
    env_timer_start_at(&f->timers[0], due_us);
    env_timer_start_at(&f->timers[1], due_us);
    env_timer_start_at(&f->timers[2], due_us + 2000);
    f->wanted = 2;
    env_uv_run(f->env);
    assert_int_equal(f->order[1], 2);
}

static void test_after_stop_nothing_fires_and_calls_are_harmless(void **state)
{
    struct fixture *f = *state;
    env_timer_init(&f->timers[0], f->env, on_timer, f);
    env_timer_start(&f->timers[0], 0);
    env_stop(f->env);
    assert_false(env_timer_is_active(&f->timers[0]));
    env_timer_start(&f->timers[0], 0);
    env_timer_stop(&f->timers[0]);
    assert_int_equal(f->fired, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fire_in_order_of_due_time_then_of_start, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_stopped_and_restarted_timers_do_as_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_restart_from_the_callback_fires_in_a_later_turn, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_timer_can_stop_another_that_is_due_too, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_after_stop_nothing_fires_and_calls_are_harmless, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
