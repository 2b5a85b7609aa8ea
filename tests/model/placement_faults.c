/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes wrong in the model, and what its operators do meanwhile.
 */
#include "placement_world.h"

#include "base/coding.h"

static struct w_store *pick_store(struct world *w, bool is_alive)
{
    for (int tries = 0; tries < 20; tries++) {
        struct w_store *s = &w->stores[rng_below(&w->rng, w->store_count)];
        if (s->id != 0 && !s->is_gone && s->is_alive == is_alive)
            return s;
    }
    return NULL;
}

static struct w_range *pick_range(struct world *w)
{
    for (int tries = 0; tries < 20; tries++) {
        struct w_range *r = w->ranges[rng_below(&w->rng, w->range_count)];
        if (!r->is_ended)
            return r;
    }
    return w->ranges[0];
}

static void crash(struct world *w)
{
    struct w_store *s = pick_store(w, true);
    if (s == NULL)
        return;
    s->is_alive = false;
    s->died_ms = w->now_ms;
    w->n_crashes++;
    w_say(w, "store %llu dies", (unsigned long long)s->id);
}

static void revive(struct world *w, struct w_store *s)
{
    uint32_t store = (uint32_t)(s - w->stores);
    s->is_alive = true;
    s->revived_ms = w->now_ms;
    s->boot++;
    s->seen_term = MAX(s->seen_term, 1); /* it is durable */
    w_say(w, "store %llu is back", (unsigned long long)s->id);
    for (uint32_t i = 0; i < w->range_count; i++) {
        struct w_range *r = w->ranges[i];
        for (uint32_t k = 0; k < r->member_count && !r->is_ended; k++) {
            struct w_member *m = &r->members[k];
            if (m->store != store)
                continue;
            m->is_caught_up = true; /* its stream goes on, or begins anew */
            world_beat_soon(w, r);
        }
    }
}

/* One voter of three or more that all live rots. */
static void damage(struct world *w)
{
    struct w_range *r = pick_range(w);
    uint32_t voters = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        voters += r->members[i].is_voter;
        if (!w_member_lives(w, &r->members[i]))
            return;
    }
    struct w_member *m = &r->members[rng_below(&w->rng, r->member_count)];
    if (voters < 3)
        return;
    m->is_damaged = true;
    m->damaged_ms = w->now_ms;
    r->is_asleep = false;
    w_say(w, "replica %llu of range %llu is damaged", (unsigned long long)m->replica_id,
          (unsigned long long)r->id);
}

static void change_load(struct world *w)
{
    struct w_range *r = pick_range(w);
    uint64_t second = w->knobs.split_bytes / 100;
    r->grows = 0;
    r->qps = r->write_bytes_s = 0;
    switch (rng_below(&w->rng, 5)) {
    case 0:
        r->grows = (int64_t)rng_below(&w->rng, second);
        r->write_bytes_s = (uint32_t)MIN(r->grows, UINT32_MAX);
        break;
    case 1:
        r->grows = -(int64_t)rng_below(&w->rng, second);
        break;
    case 2:
        r->qps = (uint32_t)rng_below(&w->rng, 60000);
        break;
    case 3:
        r->write_bytes_s = (uint32_t)rng_below(&w->rng, 20 << 20);
        break;
    default:
        break;
    }
    if (r->id == 1)
        r->grows = 0;
    world_beat_soon(w, r);
}

static void wish(struct world *w, struct w_store *s, enum placement_store_wish what)
{
    if (s == NULL || s->id == 0)
        return;
    if (placement_wish(w->drivers[0].p, s->id, what, NULL) == 0)
        s->is_leaving = what == PLACEMENT_WISH_DECOMMISSION || s->is_leaving;
    w_say(w, "wish %d for store %llu", what, (unsigned long long)s->id);
}

static uint32_t staying(const struct world *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->store_count; i++)
        n += w->stores[i].id != 0 && !w->stores[i].is_gone && !w->stores[i].is_leaving;
    return n;
}

static void command(struct world *w)
{
    uint8_t key[13];
    struct w_range *r = pick_range(w);
    struct err err = {0};
    uint64_t id = 0;
    const struct w_store *a = pick_store(w, true);
    const struct w_store *b = &w->stores[r->members[rng_below(&w->rng, r->member_count)].store];
    struct placement_command c = {
        .kind = (enum placement_command_kind)rng_between(&w->rng, PLACEMENT_CMD_MOVE,
                                                         PLACEMENT_CMD_SCATTER),
        .range_id = r->id,
        .from_store = b->id,
        .to_store = a == NULL || rng_chance(&w->rng, 1, 3) ? 0 : a->id,
    };
    if (c.kind == PLACEMENT_CMD_SPLIT && rng_chance(&w->rng, 1, 2)) {
        key[0] = 0x02;
        put_u32be(key + 1, 1);
        put_u64be(key + 5, rng_between(&w->rng, r->lo, r->hi));
        c.key = slice_of(key, sizeof key);
    }
    int rv = placement_command(w->drivers[0].p, w->now_ms, &c, &id, &err);
    w->n_commands += rv == 0;
    w_say(w, "command %d for range %llu: %s", c.kind, (unsigned long long)r->id,
          rv == 0 ? "begun" : err.msg);
}

void world_nemesis(struct world *w)
{
    switch (rng_below(&w->rng, 16)) {
    case 0:
    case 1:
        crash(w);
        break;
    case 2:
    case 3:
    case 4: {
        struct w_store *s = pick_store(w, false);
        if (s != NULL)
            revive(w, s);
        break;
    }
    case 5:
    case 6:
        world_fail_over(w);
        break;
    case 7:
        damage(w);
        break;
    case 8:
        if (w->store_count < w->knobs.stores + w->knobs.spare_stores)
            world_add_store(w);
        break;
    case 9:
        if (staying(w) > 3)
            wish(w, pick_store(w, true), PLACEMENT_WISH_DECOMMISSION);
        break;
    case 10:
        wish(w, pick_store(w, true),
             rng_chance(&w->rng, 1, 2) ? PLACEMENT_WISH_DRAIN : PLACEMENT_WISH_NONE);
        break;
    case 11:
    case 12:
        command(w);
        break;
    default:
        change_load(w);
    }
}

static bool is_any_lost(struct world *w)
{
    for (uint32_t i = 0; i < w->range_count; i++) {
        if (!w->ranges[i]->is_ended && !w_has_majority(w, w->ranges[i]))
            return true;
    }
    return false;
}

/* From now on nothing new goes wrong. Some stores stay dead, as long as every range has its
 * majority; loads do not change any more. */
void world_heal(struct world *w)
{
    w->is_troubled = false;
    w->knobs.drop_permille = w->knobs.twice_permille = 0;
    w->knobs.refuse_permille = w->knobs.stuck_permille = 0;
    for (uint32_t i = 0; i < w->store_count; i++) {
        struct w_store *s = &w->stores[i];
        if (!s->is_alive && !s->is_gone && (s->id == 0 || rng_chance(&w->rng, 2, 3)))
            revive(w, s);
    }
    for (uint32_t i = 0; i < w->store_count && is_any_lost(w); i++) {
        if (!w->stores[i].is_alive && !w->stores[i].is_gone)
            revive(w, &w->stores[i]);
    }
    for (uint32_t i = 0; i < w->range_count; i++) {
        struct w_range *r = w->ranges[i];
        r->grows = 0; /* but what is asked goes on */
        world_beat_soon(w, r);
    }
    for (uint32_t i = 0; i < w->store_count; i++) {
        struct w_store *s = &w->stores[i];
        if (s->id != 0 && !s->is_gone)
            placement_wish(w->drivers[0].p, s->id,
                           s->is_leaving ? PLACEMENT_WISH_DECOMMISSION : PLACEMENT_WISH_NONE, NULL);
    }
}
