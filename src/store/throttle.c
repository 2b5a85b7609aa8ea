/* SPDX-License-Identifier: Apache-2.0 */
#include "store/throttle.h"

enum {
    FIRST_PART = 4,  /* of the greatest rate: where it begins */
    FAR_PART = 16,   /* … it grows by, far below the knee … */
    NEAR_PART = 128, /* … and near it or above */
    SPARSE = 10,    /* a tick with fewer syncs counts as so many in time: some write now and then */
    REST_PART = 64, /* rest_us follows by so much of itself in a tick at most … */
    DRIFT_PART = 1024, /* … and, at the floor, upwards alone */
};

void throttle_init(struct throttle *t, uint64_t most)
{
    ASSERT(most > 0);
    *t = (struct throttle){.most = most, .calm = THROTTLE_CALM_TICKS};
    t->rate = MAX(most / FIRST_PART, throttle_floor(t, false));
}

uint64_t throttle_floor(const struct throttle *t, bool is_needed)
{
    uint64_t part = t->most / (is_needed ? THROTTLE_NEED_PART : THROTTLE_FLOOR_PART);
    return MIN(MAX(part, (uint64_t)THROTTLE_FLOOR_MIN), t->most);
}

static bool is_at_rest(const struct throttle *t)
{
    return t->calm >= THROTTLE_CALM_TICKS;
}

uint64_t throttle_late_us(const struct throttle *t)
{
    uint64_t rest_us = MAX(t->rest_us, (uint64_t)THROTTLE_REST_MIN_US);
    return is_at_rest(t) ? t->rest_us : rest_us + rest_us / 2;
}

/* So many late ones too many; below 0: fewer than may be. */
static int64_t excess(const struct throttle_tick *tick)
{
    return (int64_t)(tick->late * THROTTLE_ONE_IN) - (int64_t)tick->count;
}

static void follow_rest(struct throttle *t, const struct throttle_tick *tick)
{
    if (tick->count == 0)
        return;
    if (t->rest_us == 0) {
        t->rest_us = MAX(2 * tick->sum_us / tick->count, UINT64_C(1));
        return;
    }
    int64_t part = MAX(MIN(excess(tick), (int64_t)THROTTLE_ONE_IN), -(int64_t)THROTTLE_ONE_IN);
    int64_t step = (int64_t)t->rest_us * part / (THROTTLE_ONE_IN * REST_PART);
    t->rest_us = (uint64_t)MAX((int64_t)t->rest_us + step + (part > 0), INT64_C(1));
}

static void fall(struct throttle *t, const struct throttle_tick *tick, uint64_t floor)
{
    bool is_bad = excess(tick) > 3 * (int64_t)tick->count + THROTTLE_ONE_IN;
    t->knee = t->rate;
    t->rate = MAX(is_bad ? t->rate / 2 : t->rate - t->rate / 4, floor);
    t->score = 0;
}

static void grow(struct throttle *t)
{
    bool is_far = t->knee == 0 || t->rate < t->knee - t->knee / 4;
    uint64_t step = t->most / (is_far ? FAR_PART : NEAR_PART);
    t->rate = MIN(t->rate + MAX(step, UINT64_C(1)), t->most);
    t->score = 0;
}

static void judge(struct throttle *t, const struct throttle_tick *tick)
{
    uint64_t floor = throttle_floor(t, tick->is_needed);
    bool was_at_floor = t->rate <= floor;
    t->rate = MAX(t->rate, floor);
    t->score += excess(tick);
    if (tick->count < SPARSE)
        t->score -= (int64_t)(SPARSE - tick->count);
    if (t->score >= THROTTLE_ONE_IN) {
        fall(t, tick, floor);
        if (was_at_floor)
            t->rest_us += t->rest_us / DRIFT_PART + 1;
    } else if (tick->count == 0) {
        t->knee = 0; /* whoever was in the way is gone */
        grow(t);
    } else if (t->score <= -THROTTLE_ONE_IN) {
        grow(t);
    }
}

void throttle_note(struct throttle *t, const struct throttle_tick *tick)
{
    bool was_at_rest = is_at_rest(t);
    ASSERT(tick->late <= tick->count);
    if (tick->is_moving)
        t->calm = 0;
    else if (!was_at_rest)
        t->calm++;
    if ((t->rest_us == 0 && tick->count > 0) || (was_at_rest && !tick->is_moving))
        follow_rest(t, tick);
    else if (tick->is_moving && !was_at_rest) /* else late was said of a tick at rest */
        judge(t, tick);
    if (is_at_rest(t))
        t->score = 0;
}

uint64_t throttle_take(const struct throttle *t, uint64_t free_us, uint64_t now_us, size_t bytes)
{
    uint64_t from_us = now_us < THROTTLE_LAG_US ? 0 : now_us - THROTTLE_LAG_US;
    return MAX(free_us, from_us) + (uint64_t)bytes * 1000000 / t->rate;
}
