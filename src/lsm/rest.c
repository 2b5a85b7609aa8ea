/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/rest.h"

#include "base/base.h"

enum { LOOK_US = 100 * 1000 }; /* without a look at how urgent it has become */

static void go_on(struct rest *rest)
{
    uint64_t us = rest->is_urgent(rest) ? 0 : MIN(rest->left_us, (uint64_t)LOOK_US);
    rest->left_us -= us;
    if (us > 0)
        env_timer_start(&rest->timer, us);
    else
        rest->go_on(rest);
}

static void on_timer(struct env_timer *timer)
{
    go_on(timer->data);
}

void rest_init(struct rest *rest, struct env *env, bool (*is_urgent)(const struct rest *rest),
               void (*on_over)(struct rest *rest))
{
    *rest = (struct rest){.env = env, .is_urgent = is_urgent, .go_on = on_over};
    env_timer_init(&rest->timer, env, on_timer, rest);
}

void rest_begin_slice(struct rest *rest, uint64_t bytes_in)
{
    ASSERT(!rest_is_on(rest));
    rest->slice_us = env_now_us(rest->env);
    rest->slice_bytes = bytes_in;
}

uint64_t rest_slice_us(const struct rest *rest)
{
    return env_now_us(rest->env) - rest->slice_us;
}

uint64_t rest_slice_bytes(const struct rest *rest, uint64_t bytes_in)
{
    ASSERT(bytes_in >= rest->slice_bytes);
    return bytes_in - rest->slice_bytes;
}

void rest_take(struct rest *rest, uint64_t us)
{
    ASSERT(!rest_is_on(rest));
    rest->left_us = us - MIN(us, rest_slice_us(rest));
    go_on(rest);
}

bool rest_is_on(const struct rest *rest)
{
    return env_timer_is_active(&rest->timer);
}

void rest_stop(struct rest *rest)
{
    env_timer_stop(&rest->timer);
}
