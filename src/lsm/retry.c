/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "lsm/lsm_internal.h"

static void on_timer(struct env_timer *timer)
{
    struct retry *retry = container_of(timer, struct retry, timer);
    retry->again(retry->lsm);
}

void retry_init(struct retry *retry, struct lsm *lsm, void (*again)(struct lsm *lsm))
{
    *retry = (struct retry){.lsm = lsm, .again = again};
    env_timer_init(&retry->timer, lsm->env, on_timer, NULL);
}

void retry_later(struct retry *retry, int status, const struct err *err)
{
    struct lsm *lsm = retry->lsm;
    ASSERT(status < 0);
    ASSERT(!retry_is_waiting(retry));
    uint64_t delay = MAX(retry->delay_us, lsm->options.retry_us_min);
    retry->delay_us = MIN(delay * 2, lsm->options.retry_us_max);
    lsm->stats.retries++;
    lsm->stats.retry_status = status;
    snprintf(lsm->stats.retry_text, sizeof lsm->stats.retry_text, "%s", err->msg);
    env_timer_start(&retry->timer, delay);
}

void retry_clear(struct retry *retry)
{
    struct lsm *lsm = retry->lsm;
    retry->delay_us = 0;
    env_timer_stop(&retry->timer);
    if (lsm->step_retry.delay_us == 0 && lsm->commit_retry.delay_us == 0 &&
        lsm->compact_retry.delay_us == 0) {
        lsm->stats.retry_status = 0;
        lsm->stats.retry_text[0] = 0;
    }
}
