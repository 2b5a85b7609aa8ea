/* SPDX-License-Identifier: Apache-2.0 */
#include "store/large.h"
#include "store/store_internal.h"

enum {
    LARGE_NEXT_TURN_US = 1000,
    LARGE_OTHERS_PART = 7, /* so many times as long as a turn with large ones others are heard
                              alone, if there are any … */
    LARGE_PAUSE_MAX_US = 20 * 1000, /* … or for so long */
};

static uint64_t others_answered(const struct store *store)
{
    return store->answered_bytes - store->large.answered;
}

static void open_turn(struct store *store, uint64_t turn_us)
{
    struct large_reads *large = &store->large;
    large->turn_us = turn_us;
    large->until = large->answered + LARGE_TURN_BYTES;
    if (env_timer_is_active(&large->next))
        return; /* another part of a turn that was used up */
    large->opened_us = turn_us;
    large->others = others_answered(store);
}

/* Those who want little are heard alone once a turn with large ones is over: it took the loop from
 * them, and such turns one after another would keep it busy for as long as there is much to be
 * read. It ends as soon as a while as long as that turn has brought none of them. */
static void pause_for_others(struct store *store)
{
    struct large_reads *large = &store->large;
    uint64_t now_us = env_turn_us(store->env);
    if (large->paused_us == 0) {
        large->took_us = now_us - large->opened_us;
        large->paused_us =
            now_us + MIN(LARGE_OTHERS_PART * large->took_us, (uint64_t)LARGE_PAUSE_MAX_US);
    }
    large->others = others_answered(store);
    env_timer_start(&large->next, MIN(large->took_us, large->paused_us - now_us));
}

static void wake_first(struct store *store)
{
    if (!list_is_empty(&store->large.short_of))
        replica_wake(list_first(&store->large.short_of, struct replica, in_short));
}

/* They go on, or the others do alone for a while. */
static void on_next_turn(struct env_timer *timer)
{
    struct store *store = timer->data;
    struct large_reads *large = &store->large;
    uint64_t now_us = env_turn_us(store->env);
    bool is_over = large->paused_us == 0 ? now_us == large->opened_us : now_us >= large->paused_us;
    if (!is_over && others_answered(store) != large->others) {
        pause_for_others(store);
        return;
    }
    large->paused_us = 0;
    if (large->aside == 0)
        large->batch = 0;
    open_turn(store, now_us);
    wake_first(store);
}

void large_init(struct store *store)
{
    list_init(&store->large.short_of);
    env_timer_init(&store->large.next, store->env, on_next_turn, store);
}

bool large_is_used_up(struct store *store)
{
    struct large_reads *large = &store->large;
    uint64_t turn_us = env_turn_us(store->env);
    ASSERT(large->batch < LARGE_TURN_BYTES || large->aside > 0 ||
           env_timer_is_active(&large->next));
    if (large->paused_us > 0 || large->batch >= LARGE_TURN_BYTES)
        return true;
    if (turn_us != large->turn_us)
        open_turn(store, turn_us);
    return large->answered >= large->until;
}

/* Due since a moment: the loop looks at its sockets once and does not wait for them. */
static void await_next_turn(struct store *store)
{
    if (!env_timer_is_active(&store->large.next))
        env_timer_start_at(&store->large.next, env_now_us(store->env) - LARGE_NEXT_TURN_US);
}

bool large_is_turn_of(const struct replica *r)
{
    const struct list *line = &r->store->large.short_of;
    return list_is_empty(line) || list_first(line, struct replica, in_short) == r;
}

void large_settle(struct replica *r, size_t taken)
{
    struct store *store = r->store;
    struct large_reads *large = &store->large;
    if (r->large.count == 0 && !list_is_linked(&r->in_short))
        return;
    if (r->large.count == 0 || taken > 0)
        list_remove(&r->in_short);
    if (r->large.count > 0 && !list_is_linked(&r->in_short))
        list_push_back(&large->short_of, &r->in_short);
    ASSERT(list_is_linked(&r->in_short) == (r->large.count > 0));
    if (list_is_empty(&large->short_of))
        return;
    if (!large_is_used_up(store) && taken < LARGE_TURN_BYTES)
        wake_first(store);
    else if (large->batch < LARGE_TURN_BYTES) /* else the end of the last of those does, or did */
        await_next_turn(store);
}

/* What is copied off the loop takes the processor from others, if not the loop: as much of it as
 * a turn has is a turn of its own, that ends with the last of them. */
void large_begin_aside(struct store *store, size_t cost)
{
    struct large_reads *large = &store->large;
    large->in_lane++;
    if (cost == 0)
        return; /* it is on disk, or of many */
    if (large->batch == 0) {
        large->batch_us = env_turn_us(store->env);
        large->batch_others = others_answered(store);
    }
    large->batch += cost;
    large->aside += cost;
}

void large_end_aside(struct store *store, size_t cost)
{
    struct large_reads *large = &store->large;
    ASSERT(large->in_lane > 0);
    ASSERT(large->aside >= cost && large->batch >= large->aside);
    large->in_lane--;
    large->aside -= cost;
    if (cost == 0 || large->aside > 0)
        return;
    bool is_turn = large->batch >= LARGE_TURN_BYTES;
    if (is_turn && large->paused_us == 0) {
        large->turn_us = env_turn_us(store->env);
        large->until = large->answered;
        large->opened_us = large->batch_us;
        large->others = large->batch_others;
    }
    bool are_others = !list_is_empty(&large->short_of);
    if (are_others)
        await_next_turn(store);
    else
        large->batch = 0;
}
